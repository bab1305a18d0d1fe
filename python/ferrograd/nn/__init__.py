"""Layers and what they are made of."""

from ferrograd.nn import functional
from ferrograd.nn._vectors import PairwiseDistance

__all__ = ["PairwiseDistance", "functional"]
