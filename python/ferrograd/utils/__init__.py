"""Helpers for programs that train; each module is imported when it is first named."""

import importlib

__all__ = ["checkpoint", "dlpack", "graph", "hooks", "swap_tensors"]

MODULES = ("checkpoint", "dlpack", "graph", "hooks", "_pytree")


def swap_tensors(t1, t2):
    """Exchanges two tensors: each Python object is from now on what the other was, with its class and attributes.

    Raises: RuntimeError if there are weak references to one of them.
    """
    from ferrograd._C import _autograd

    _autograd._exchange(t1, t2)
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    t1.__dict__, t2.__dict__ = t2.__dict__, t1.__dict__


def __getattr__(name):
    if name in MODULES:
        return importlib.import_module(f"ferrograd.utils.{name}")
    raise AttributeError(f"module 'ferrograd.utils' has no attribute '{name}'")
