"""Layers as functions."""

from ferrograd._C._nn import linear

__all__ = ["linear"]
