"""What classes and modes with a `__torch_function__` may override, and helps for functions that let them.

A class with ``__torch_function__(cls, func, types, args, kwargs)`` is asked what becomes of a call that one of its objects is an
argument of: of any function, method, operator or attribute of tensors. `types` are the classes that are asked, derived ones first;
one that answers NotImplemented leaves it to the next. Tensors' own, which derived classes inherit, makes the results objects of the
class. A `TorchFunctionMode` is asked about every call within a ``with`` block.
"""

import functools
import inspect

import ferrograd
from ferrograd._C import Tensor, _ask, _asks_only_modes, _is_overridden, _pop_mode, _push_mode

__all__ = [
    "BaseTorchFunctionMode",
    "TorchFunctionMode",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]


class TorchFunctionMode:
    """Is asked about every call of a function within a ``with`` block, on this thread; the innermost mode first.

    While its `__torch_function__` runs it is not asked itself.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError

    def __enter__(self):
        _push_mode(self)
        return self

    def __exit__(self, *error):
        _pop_mode()


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that changes nothing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def has_torch_function(relevant_args):
    """Whether one of these has a class that overrides, or a mode is entered."""
    return _is_overridden(list(relevant_args))


def has_torch_function_unary(tensor):
    """Whether this has a class that overrides, or a mode is entered."""
    return _is_overridden([tensor])


def has_torch_function_variadic(*args):
    """Whether one of these has a class that overrides, or a mode is entered."""
    return _is_overridden(list(args))


def handle_torch_function(public_api, relevant_args, /, *args, **kwargs):
    """What those who override say that ``public_api(*args, **kwargs)`` gives; the classes of `relevant_args` are asked.

    Raises: TypeError if nobody answers.
    """
    return _ask(public_api, list(relevant_args), args, kwargs)


def wrap_torch_function(dispatcher):
    """A decorator of functions that may be overridden: `dispatcher` answers the arguments whose classes are asked."""

    def decorated(func):
        @functools.wraps(func)
        def asking(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(asking, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return asking

    return decorated


def is_tensor_like(inp):
    """Whether this is a tensor, or has a class with a `__torch_function__`."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


# What asks, by the classes of its descriptors.
_ASKING = tuple({type(x) for x in (ferrograd.add, ferrograd.cat, Tensor.numel, Tensor.sum, Tensor.addmm)})
_PROPERTY = type(Tensor.shape)
# Operators ask themselves: these are all of those that the class defines in place of Python's.
_OPERATOR = type(Tensor.__add__)


def _namespaces():
    """Modules and classes with functions, by their names."""
    parts = "linalg fft special nn.functional".split()
    modules = {f"torch.{part}": functools.reduce(getattr, part.split("."), ferrograd) for part in parts}
    return {"torch": ferrograd, **modules, "torch.Tensor": Tensor}


def _functions(namespace):
    """Name, function, and whether it asks, of all that a namespace has."""
    for name, value in sorted(vars(namespace).items()):
        if isinstance(value, _PROPERTY):
            yield f"{name}.__get__", value.__get__, True
            yield f"{name}.__set__", value.__set__, True
        elif isinstance(value, _ASKING):
            yield name, value, not _asks_only_modes(value)
        elif isinstance(value, _OPERATOR) and name not in ("__hash__", "__delitem__"):
            yield name, value, True
        elif callable(value) and not isinstance(value, type):
            yield name, value, False


@functools.cache
def get_overridable_functions():
    """For each namespace the functions in it that may be overridden."""
    return {space: [f for _, f, asks in _functions(space) if asks] for space in _namespaces().values()}


@functools.cache
def get_ignored_functions():
    """Functions in the same namespaces that may not."""
    return {f for space in _namespaces().values() for _, f, asks in _functions(space) if not asks}


def _dummy(function):
    def dummy(*args, **kwargs):
        return -1

    try:
        dummy.__signature__ = inspect.signature(function)
    except (TypeError, ValueError):
        pass
    return dummy


@functools.cache
def get_testing_overrides():
    """For each function that may be overridden one that takes the same arguments and answers -1."""
    return {f: _dummy(f) for functions in get_overridable_functions().values() for f in functions}


@functools.cache
def _names():
    return {f: f"{path}.{name}" for path, space in reversed(_namespaces().items()) for name, f, _ in _functions(space)}


def resolve_name(f):
    """The full name of a function, as ``"torch.Tensor.add"``; that of anything else is None."""
    try:
        return _names().get(f)
    except TypeError:
        return None


def is_tensor_method_or_property(func):
    """Whether a function that `__torch_function__` was given is a method of tensors or gets or sets an attribute."""
    return func in get_overridable_functions()[Tensor]
