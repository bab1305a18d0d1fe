"""`ferrograd.ops.aten`: torch's operators by name. Each is called itself or by the name of an overload (`aten.mm.default`)."""

import builtins
from types import SimpleNamespace

import ferrograd
from ferrograd import _C
from ferrograd._C import _autograd, _nn
from ferrograd._checks import check_tensor


class OpOverload:
    """An operator as it is called with arguments of certain kinds: all of them call the same function."""

    namespace = "aten"

    def __init__(self, packet, name):
        self.overloadpacket = packet
        self._overloadname = name
        self.__name__ = f"{packet.__name__}.{name}"
        self.__doc__ = packet.__doc__

    def __call__(self, *args, **kwargs):
        return self.overloadpacket(*args, **kwargs)

    def name(self):
        """Torch's name in its schemas."""
        return str(self.overloadpacket).replace(".", "::") + ("" if self._overloadname == "default" else f".{self._overloadname}")

    def __str__(self):
        return f"aten.{self.__name__}"

    def __repr__(self):
        return f"<OpOverload(op='{self.overloadpacket}', overload='{self._overloadname}')>"


class OpOverloadPacket:
    """A function, also under the names of its overloads."""

    def __init__(self, function, *overloads, name=None):
        self.__name__ = name or function.__name__
        self.__doc__ = function.__doc__
        self._function = function
        self._overloads = overloads or ("default",)
        for overload in self._overloads:
            setattr(self, overload, OpOverload(self, overload))

    def overloads(self):
        """The names of its overloads."""
        return list(self._overloads)

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def __getattr__(self, name):
        raise AttributeError(f"The underlying op of '{self}' has no overload name '{name}'")

    def __str__(self):
        return f"aten.{self.__name__}"

    def __repr__(self):
        return f"<OpOverloadPacket(op='{self}')>"


def native_dropout_backward(grad_output, mask, scale):
    """The gradient of `native_dropout`: what the mask has kept, times `scale`."""
    return _autograd._saving(grad_output * mask * scale, [grad_output], False)


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


# Overloads of functions that have others than `default`.
_OVERLOADS = {
    **dict.fromkeys(("add", "div", "mul", "sub"), ("Tensor", "Scalar")),
    **dict.fromkeys(("max", "min"), ("default", "dim", "other")),
    **dict.fromkeys(("select", "transpose"), ("int",)),
    "mean": ("default", "dim"),
    "pow": ("Tensor_Scalar", "Tensor_Tensor", "Scalar"),
    "sum": ("default", "dim_IntList"),
}


class _Namespace(SimpleNamespace):
    """The operators below, and the functions of the top level."""

    def __getattr__(self, name):
        function = None if name.startswith("_") else getattr(ferrograd, name, None)
        if not callable(function) or isinstance(function, type):
            raise AttributeError(f"'_OpNamespace' 'aten' object has no attribute '{name}'")
        packet = OpOverloadPacket(function, *_OVERLOADS.get(name, ()), name=name)
        setattr(self, name, packet)
        return packet


aten = _Namespace(
    _batch_norm_with_update=OpOverloadPacket(_C._batch_norm_with_update),
    _log_softmax_backward_data=OpOverloadPacket(_nn._log_softmax_backward_data),
    _safe_softmax=OpOverloadPacket(_nn._safe_softmax),
    _softmax_backward_data=OpOverloadPacket(_nn._softmax_backward_data),
    _upsample_bilinear2d_aa=OpOverloadPacket(_upsample_bilinear2d_aa, "default", "vec"),
    native_dropout_backward=OpOverloadPacket(native_dropout_backward),
    slice=OpOverloadPacket(slice, "Tensor"),
)
