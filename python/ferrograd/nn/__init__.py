"""Layers and what they are made of."""

from ferrograd.nn import functional

__all__ = ["functional"]
