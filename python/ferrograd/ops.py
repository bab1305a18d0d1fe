"""`ferrograd.ops.aten`: torch's internal operators by name. Each is called itself or by the name of an overload (`.default`)."""

import builtins
from types import SimpleNamespace

from ferrograd import _C
from ferrograd._C import _nn
from ferrograd._checks import check_tensor


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


def slice(input, dim=0, start=None, end=None, step=1):
    """Every `step`-th place of a dim from `start` up to, but without, `end`: a view.

    Raises: IndexError if `dim` is out of range, RuntimeError if `step` is below 1.
    """
    check_tensor("slice", "input", input)
    if input.dim() == 0:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    if not -input.dim() <= dim < input.dim():
        raise IndexError(f"slice: dim {dim} is out of range (expected {-input.dim()}..={input.dim() - 1})")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    return input[(builtins.slice(None),) * (dim % input.dim()) + (builtins.slice(start, end, step),)]


def _upsample_bilinear2d_aa(input, output_size, align_corners, scales_h=None, scales_w=None, *, scale_factors=None):
    """`interpolate` of images with the mode "bilinear" and `antialias`, to a size, or by `scale_factors` if that is None.

    Raises: RuntimeError for sizes below 1, and another number of dims.
    """
    return _nn._upsample(input, "bilinear2d_aa", output_size, align_corners, scale_factors or [scales_h, scales_w])


aten = SimpleNamespace(
    _batch_norm_with_update=_Operator(_C._batch_norm_with_update),
    _log_softmax_backward_data=_Operator(_nn._log_softmax_backward_data),
    _safe_softmax=_Operator(_nn._safe_softmax),
    _softmax_backward_data=_Operator(_nn._softmax_backward_data),
    _upsample_bilinear2d_aa=_Operator(_upsample_bilinear2d_aa, "default", "vec"),
    native_dropout_backward=_Operator(native_dropout_backward),
    slice=_Operator(slice, "Tensor"),
)
