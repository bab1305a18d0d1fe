"""Normalization of samples, and of neighbouring channels."""

import numbers

import ferrograd
from ferrograd.autograd import Function
from ferrograd.autograd.function import once_differentiable
from ferrograd.nn import functional as F
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import options, register_parameter, reset_scale_and_shift

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class _ResponseNorm(Module):
    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def extra_repr(self):
        return f"{self.size}, {options(self, 'alpha', 'beta', 'k')}"


class LocalResponseNorm(_ResponseNorm):
    """x / (k + alpha * mean of x² over `size` neighbouring channels)^beta. Shape: (n, c, *), kept."""

    def forward(self, input):
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class _CrossMap(Function):
    # torch's sums over channels, which are not quite the windows that were meant: forward, the first channel never leaves them;
    # backward, they are moved by one.

    @staticmethod
    def forward(ctx, input, size, alpha, beta, k):
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        ahead = int((size - 1) / 2)
        here, other = _channels(input)
        scale = _window_sums(((here - other).abs() <= ahead) | (other == 0), input * input) * (alpha / size) + k
        output = input * scale**-beta
        ctx.options = size, alpha, beta
        ctx.save_for_backward(input, scale, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        input, scale, output = ctx.saved_tensors
        size, alpha, beta = ctx.options
        if size < 2:
            raise RuntimeError("CrossMapLRN2d: no derivative with a size of 1")
        here, other = _channels(input)
        first = here - int(size - (size - 1) / 2)
        sums = _window_sums((first <= other) & (other < first + size), grad * output / scale)
        return grad * scale**-beta - (2 * alpha * beta / size) * input * sums, None, None, None, None


def _channels(input):
    numbers = ferrograd.arange(input.size(1))
    return numbers[:, None], numbers[None, :]


def _window_sums(window, x):
    """For each channel the sum of those that are in its row of `window`."""
    return (window.to(x.dtype) @ x.flatten(2)).reshape(x.shape)


class CrossMapLRN2d(_ResponseNorm):
    """The older form of `LocalResponseNorm`, of images (n, c, h, w)."""

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1):
        super().__init__(size, alpha, beta, k)

    def forward(self, input):
        return _CrossMap.apply(input, self.size, self.alpha, self.beta, self.k)


def _shape(normalized_shape):
    return (normalized_shape,) if isinstance(normalized_shape, numbers.Integral) else tuple(normalized_shape)


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias, over the last dims, which are `normalized_shape`. Shape: kept."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        register_parameter(self, "weight", self.normalized_shape, elementwise_affine, device, dtype)
        register_parameter(self, "bias", self.normalized_shape, elementwise_affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        if self.elementwise_affine:
            reset_scale_and_shift(self)

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, {options(self, 'eps', 'elementwise_affine')}, bias={self.bias is not None}"


class GroupNorm(Module):
    """(x - mean) / sqrt(var + eps) over each of `num_groups` groups of channels of each sample, * weight + bias by channel.

    Shape: (n, num_channels, *), kept.
    """

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *, bias=True):
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        register_parameter(self, "weight", num_channels, affine, device, dtype)
        register_parameter(self, "bias", num_channels, affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        if self.affine:
            reset_scale_and_shift(self)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.num_groups}, {self.num_channels}, {options(self, 'eps', 'affine')}, bias={self.bias is not None}"


class RMSNorm(Module):
    """x / sqrt(mean of x² + eps) * weight, over the last dims, which are `normalized_shape`; `eps` None is the dtype's epsilon."""

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        register_parameter(self, "weight", self.normalized_shape, elementwise_affine, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        if self.elementwise_affine:
            reset_scale_and_shift(self)

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, {options(self, 'eps', 'elementwise_affine')}"
