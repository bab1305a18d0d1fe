"""Helpers for programs that train; each module is imported when it is first named."""

import importlib

__all__ = ["checkpoint", "dlpack", "graph", "hooks"]


def __getattr__(name):
    if name in __all__ or name == "_pytree":
        return importlib.import_module(f"ferrograd.utils.{name}")
    raise AttributeError(f"module 'ferrograd.utils' has no attribute '{name}'")
