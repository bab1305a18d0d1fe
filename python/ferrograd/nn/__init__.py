"""Layers and what they are made of."""

from ferrograd.nn import functional
from ferrograd.nn._vectors import PairwiseDistance

# Packages and modules of this one, imported when they are first named.
_MODULES = ("init", "modules", "parameter", "utils")
_PARAMETERS = ("Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter")

__all__ = ["PairwiseDistance", "functional", *_MODULES, *_PARAMETERS]


def __getattr__(name):
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"ferrograd.nn.{name}")
    if name in _PARAMETERS:
        value = getattr(importlib.import_module("ferrograd.nn.parameter"), name)
    elif not name.startswith("_") and name in importlib.import_module("ferrograd.nn.modules").__all__:
        value = getattr(importlib.import_module("ferrograd.nn.modules"), name)
    else:
        raise AttributeError(f"module 'ferrograd.nn' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__():
    from ferrograd.nn import modules

    return sorted({*globals(), *__all__, *modules.__all__})
