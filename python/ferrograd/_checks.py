"""What functions written in Python ask of their arguments."""

import warnings

from ferrograd._C import Tensor, _function_form, is_warn_always_enabled
from ferrograd._C import _overridable as overridable


def typename(x):
    """The name of the class of `x` in messages: of a tensor by its dtype, else with its module."""
    if isinstance(x, Tensor):
        return x.type()
    cls = type(x)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_warned = set()


def warn_once(text):
    """Warns the caller's caller, but once only in a program."""
    if text not in _warned or is_warn_always_enabled():
        _warned.add(text)
        warnings.warn(text, stacklevel=4)


def check_tensor(op, name, value):
    """Fails unless an argument is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}(): argument '{name}' must be Tensor, not {type(value).__name__}")


def check_tensors(op, values):
    """Fails unless an argument is a sequence of tensors."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{op}(): argument 'tensors' must be tuple of Tensors, not {type(values).__name__}")
    for i, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}(): expected Tensor as element {i}, but got {type(value).__name__}")


def with_out(out="same", first="any"):
    """A function that also takes `out`: of the dtype of the result ("same"), or one that it can be cast to ("castable")."""
    return lambda function: _function_form(function, first=first, out=out)
