"""`ferrograd.ops.aten`: torch's internal operators by name. Each is called itself or by the name of an overload (`.default`)."""

from types import SimpleNamespace

from ferrograd._C import _nn


class _Operator:
    """A function, also under the names of its overloads."""

    def __init__(self, function, *overloads):
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self._function = function
        for overload in overloads or ("default",):
            setattr(self, overload, function)

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def __repr__(self):
        return f"<operator 'aten.{self.__name__}'>"


def native_dropout_backward(grad_output, mask, scale):
    """The gradient of `native_dropout`: what the mask has kept, times `scale`."""
    return grad_output * mask * scale


aten = SimpleNamespace(
    _log_softmax_backward_data=_Operator(_nn._log_softmax_backward_data),
    _safe_softmax=_Operator(_nn._safe_softmax),
    _softmax_backward_data=_Operator(_nn._softmax_backward_data),
    native_dropout_backward=_Operator(native_dropout_backward),
)
