"""Layers as functions."""

from ferrograd._C._nn import linear, log_softmax, one_hot, softmax, softmin

__all__ = ["linear", "log_softmax", "one_hot", "softmax", "softmin"]
