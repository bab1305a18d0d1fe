"""Handles of hooks."""

from ferrograd._C._autograd import RemovableHandle

__all__ = ["RemovableHandle"]
