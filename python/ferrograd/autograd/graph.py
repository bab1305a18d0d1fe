"""Nodes of the recorded graph."""

from ferrograd._C._autograd import Node

__all__ = ["Node"]
