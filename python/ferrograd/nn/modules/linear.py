"""Affine and bilinear maps."""

import math

import ferrograd
from ferrograd.nn import functional as F
from ferrograd.nn import init
from ferrograd.nn.modules.lazy import LazyLayer
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import options, register_parameter

__all__ = ["Bilinear", "Identity", "LazyLinear", "Linear"]


def reset_by_fan_in(weight, bias):
    """Weights and biases uniform within 1 / sqrt(inputs of an output)."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init._calculate_fan_in_and_fan_out(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
        init.uniform_(bias, -bound, bound)


class Identity(Module):
    """Its input, unchanged; takes and ignores any options."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class Linear(Module):
    """y = x Aᵀ + b, with `weight` A and `bias` b uniform within 1 / sqrt(in_features) at first.

    Shape: (*, in_features) to (*, out_features).
    """

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        register_parameter(self, "weight", (out_features, in_features), True, device, dtype)
        register_parameter(self, "bias", out_features, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        reset_by_fan_in(self.weight, self.bias)

    def forward(self, input):
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self):
        return f"{options(self, 'in_features', 'out_features')}, bias={self.bias is not None}"


class NonDynamicallyQuantizableLinear(Linear):
    """A `Linear` that quantization leaves alone."""


class Bilinear(Module):
    """y_k = x1ᵀ A_k x2 + b_k, with `weight` A and `bias` b uniform within 1 / sqrt(in1_features) at first.

    Shape: (*, in1_features) and (*, in2_features) to (*, out_features).
    """

    def __init__(self, in1_features, in2_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        register_parameter(self, "weight", (out_features, in1_features, in2_features), True, device, dtype)
        register_parameter(self, "bias", out_features, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        if self.in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got (in1_features={self.in1_features})")
        bound = 1 / math.sqrt(self.weight.size(1))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1, input2):
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        return f"{options(self, 'in1_features', 'in2_features', 'out_features')}, bias={self.bias is not None}"


class LazyLinear(LazyLayer, Linear):
    """A `Linear` whose `in_features` are those of the first input."""

    cls_to_become = Linear
    _learned_size = "in_features"

    def __init__(self, out_features, bias=True, device=None, dtype=None):
        # Sizes of 0 draw no random numbers.
        super().__init__(0, 0, False)
        self.out_features = out_features
        self._forget_parameters(bias, device, dtype)

    def initialize_parameters(self, input):
        if self.has_uninitialized_params():
            with ferrograd.no_grad():
                self.in_features = input.shape[-1]
                self.weight.materialize((self.out_features, self.in_features))
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))
                self.reset_parameters()
        if self.in_features == 0:
            # The weights came from a state_dict.
            if input.shape[-1] != self.weight.shape[-1]:
                raise AssertionError(f"expected an input of {self.weight.shape[-1]} features, but got {input.shape[-1]}")
            self.in_features = input.shape[-1]
