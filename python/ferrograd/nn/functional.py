"""Layers as functions."""

from ferrograd._C._nn import gelu, linear, log_softmax, one_hot, softmax, softmin, softplus

__all__ = ["gelu", "linear", "log_softmax", "one_hot", "softmax", "softmin", "softplus"]
