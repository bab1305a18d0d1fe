"""Layers as functions."""

from ferrograd._C._nn import linear, one_hot

__all__ = ["linear", "one_hot"]
