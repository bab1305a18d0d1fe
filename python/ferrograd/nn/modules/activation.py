"""Activation functions as layers."""

import warnings

import ferrograd
from ferrograd.nn import functional as F
from ferrograd.nn import init as _init
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import register_parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "LogSoftmax",
    "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink",
    "Softsign", "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip


class _Activation(Module):
    # The options that the text names.
    _shown = ()

    def extra_repr(self):
        # Of `inplace` it is shown only that it is true.
        texts = [f"{name}={getattr(self, name)}" for name in self._shown if name != "inplace"]
        return ", ".join([*texts, "inplace=True"] if "inplace" in self._shown and self.inplace else texts)


class _InPlace(_Activation):
    _shown = ("inplace",)

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace


class _AlongDim(_Activation):
    _shown = ("dim",)

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim


class Threshold(_Activation):
    """x where it is above `threshold`, else `value`."""

    _shown = ("threshold", "value", "inplace")

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value, self.inplace)


class ReLU(_InPlace):
    """max(0, x)."""

    def forward(self, input):
        return F.relu(input, self.inplace)


class RReLU(_Activation):
    """x, or a x if negative: in training `a` is drawn from [lower, upper] for each element, else it is their mean."""

    _shown = ("lower", "upper", "inplace")

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(_Activation):
    """x, at least `min_val` and at most `max_val`."""

    _shown = ("min_val", "max_val", "inplace")

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None):
        super().__init__()
        if min_value is not None:
            warnings.warn("keyword argument `min_value` is deprecated and renamed to `min_val`", FutureWarning, stacklevel=2)
            min_val = min_value
        if max_value is not None:
            warnings.warn("keyword argument `max_value` is deprecated and renamed to `max_val`", FutureWarning, stacklevel=2)
            max_val = max_value
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace
        if max_val <= min_val:
            raise AssertionError(f"max_val ({max_val}) must be greater than min_val ({min_val})")

    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """x, at least 0 and at most 6."""

    _shown = ("inplace",)

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, input):
        return ferrograd.sigmoid(input)


class Hardsigmoid(_InPlace):
    """x / 6 + 1/2, at least 0 and at most 1."""

    _shown = ()

    def forward(self, input):
        return F.hardsigmoid(input, self.inplace)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, input):
        return ferrograd.tanh(input)


class SiLU(_InPlace):
    """x sigmoid(x)."""

    def forward(self, input):
        return F.silu(input, self.inplace)


class Mish(_InPlace):
    """x tanh(softplus(x))."""

    def forward(self, input):
        return F.mish(input, self.inplace)


class Hardswish(_InPlace):
    """x hardsigmoid(x)."""

    _shown = ()

    def forward(self, input):
        return F.hardswish(input, self.inplace)


class _Alpha(_Activation):
    _shown = ("alpha", "inplace")

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace


class ELU(_Alpha):
    """x, or alpha (e^x - 1) if negative."""

    def forward(self, input):
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Alpha):
    """x, or alpha (e^(x / alpha) - 1) if negative."""

    def forward(self, input):
        return F.celu(input, self.alpha, self.inplace)


class SELU(_InPlace):
    """A scaled `ELU`, whose constants keep mean 0 and variance 1 (Klambauer et al. 2017)."""

    def forward(self, input):
        return F.selu(input, self.inplace)


class GLU(_AlongDim):
    """a sigmoid(b), with the two halves of the input along `dim`."""

    def __init__(self, dim=-1):
        super().__init__(dim)

    def forward(self, input):
        return F.glu(input, self.dim)


class GELU(Module):
    """x Φ(x) with the normal distribution's Φ, or its approximation by "tanh"."""

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class _Shrink(Module):
    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def extra_repr(self):
        return str(self.lambd)


class Hardshrink(_Shrink):
    """x, or 0 between -lambd and lambd."""

    def forward(self, input):
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """x moved towards 0 by `lambd`, but not past it."""

    def forward(self, input):
        return F.softshrink(input, self.lambd)


class LeakyReLU(_Activation):
    """x, or negative_slope x if negative."""

    _shown = ("negative_slope", "inplace")

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class LogSigmoid(Module):
    """log(sigmoid(x))."""

    def forward(self, input):
        return F.logsigmoid(input)


class Softplus(_Activation):
    """log(1 + e^(beta x)) / beta, or x where beta x is above `threshold`."""

    _shown = ("beta", "threshold")

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)


class PReLU(_Activation):
    """x, or a x if negative, with learned `weight` a: one, or one for each channel (dim 1)."""

    _shown = ("num_parameters",)

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        register_parameter(self, "weight", num_parameters, True, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        _init.constant_(self.weight, self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, input):
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input):
        return F.tanhshrink(input)


class Softmin(_AlongDim):
    """softmax(-x) along `dim`."""

    def forward(self, input):
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax(_AlongDim):
    """e^x, divided by its sum along `dim`."""

    def forward(self, input):
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """`Softmax` over the channels of images: (n, c, h, w) or (c, h, w)."""

    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3, _stacklevel=5)


class LogSoftmax(_AlongDim):
    """log(softmax(x)) along `dim`."""

    def forward(self, input):
        return F.log_softmax(input, self.dim, _stacklevel=5)


def __getattr__(name):
    # torch's file names it, too.
    if name == "MultiheadAttention":
        from ferrograd.nn.modules.attention import MultiheadAttention

        return MultiheadAttention
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
