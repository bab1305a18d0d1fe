"""Layers and what they are made of."""

from ferrograd.nn import functional

# What is imported when it is first named: modules, the names of `parameter`, and the classes of `modules`.
_MODULES = ("attention", "grad", "init", "modules", "parameter", "utils")
_PARAMETERS = ("Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter")


def __getattr__(name):
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"ferrograd.nn.{name}")
    if name in _PARAMETERS:
        value = getattr(importlib.import_module("ferrograd.nn.parameter"), name)
    elif name == "__all__":
        # For `from ferrograd.nn import *`.
        value = ["functional", *_MODULES, *_PARAMETERS, *importlib.import_module("ferrograd.nn.modules").__all__]
    elif not name.startswith("_") and name in importlib.import_module("ferrograd.nn.modules").__all__:
        value = getattr(importlib.import_module("ferrograd.nn.modules"), name)
    else:
        raise AttributeError(f"module 'ferrograd.nn' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__getattr__("__all__")})
