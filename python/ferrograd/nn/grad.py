"""Gradients of convolutions by name: of what they take, from that of their result."""

from ferrograd import _C
from ferrograd._C import _autograd
from ferrograd.autograd.grad_mode import enable_grad
from ferrograd.nn import functional as F

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _of_input(convolution):
    def gradient(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
        x = _C.zeros(input_size, dtype=grad_output.dtype)
        return _gradient(x, grad_output, lambda x: convolution(x, weight, None, stride, padding, dilation, groups))

    return _named(gradient, convolution, "input")


def _of_weight(convolution):
    def gradient(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
        w = _C.zeros(weight_size, dtype=grad_output.dtype)
        return _gradient(w, grad_output, lambda w: convolution(input, w, None, stride, padding, dilation, groups))

    return _named(gradient, convolution, "weight")


def _named(gradient, convolution, what):
    gradient.__name__ = gradient.__qualname__ = f"{convolution.__name__}_{what}"
    gradient.__doc__ = f"The gradient of the {what} of ``{convolution.__name__}``, whose values do not matter, only its size."
    return gradient


def _gradient(x, grad_output, f):
    """That of `x`. It can be differentiated itself where gradients are on."""
    recording = _autograd.is_grad_enabled()
    with enable_grad():
        x.requires_grad_()
        return _autograd.grad([f(x)], [x], [grad_output], create_graph=recording)[0]


conv1d_input, conv2d_input, conv3d_input = map(_of_input, (F.conv1d, F.conv2d, F.conv3d))
conv1d_weight, conv2d_weight, conv3d_weight = map(_of_weight, (F.conv1d, F.conv2d, F.conv3d))
