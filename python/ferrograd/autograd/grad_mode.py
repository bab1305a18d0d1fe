"""Whether operations are recorded: context managers that are decorators, too."""

import functools
import sys
import warnings
from _thread import _local
from types import FunctionType

from ferrograd._C import Tensor, _autograd
from ferrograd._C._autograd import _mode, _set_grad_layout, _set_mode, _set_recording

__all__ = ["enable_grad", "enforce_grad_layout_policy", "inference_mode", "no_grad", "set_grad_enabled", "set_multithreading_enabled"]

# As in `inspect`.
_CO_GENERATOR = 0x20


def _decorate(make_context, function):
    """``function``, each call of it (and each step, if it is a generator) run in a context of its own."""
    if _is_generator_function(function):
        return _decorate_generator(make_context, function)

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        with make_context():
            return function(*args, **kwargs)

    return decorated


def _is_generator_function(function):
    if type(function) is FunctionType:
        return bool(function.__code__.co_flags & _CO_GENERATOR)
    import inspect  # slow to import, and seldom needed

    return inspect.isgeneratorfunction(function)


def _decorate_generator(make_context, function):
    @functools.wraps(function)
    def decorated(*args, **kwargs):
        generator = function(*args, **kwargs)
        # The context is left at each yield, so that the caller's mode is its own.
        try:
            with make_context():
                response = generator.send(None)
            while True:
                try:
                    request = yield response
                except GeneratorExit:
                    with make_context():
                        generator.close()
                    raise
                except BaseException:
                    with make_context():
                        response = generator.throw(sys.exc_info()[1])
                else:
                    with make_context():
                        response = generator.send(request)
        except StopIteration as stop:
            return stop.value

    return decorated


class _ModeContext:
    """Sets (recording, inference) on entering, restores it on leaving. May be entered again, also while inside."""

    def __init__(self):
        self._before = []

    def _target(self, grad, inference):
        """The mode inside, given the one outside."""
        raise NotImplementedError

    def __enter__(self):
        self._before.append(_set_mode(*self._target(*_mode())))

    def __exit__(self, *exception):
        _set_mode(*self._before.pop())

    def clone(self):
        return type(self)()

    def __call__(self, function):
        if isinstance(function, type):
            warnings.warn(
                "Decorating classes is deprecated: decorate functions or methods. What the decorated class does is what its decorated "
                "`__init__` alone would do.",
                FutureWarning,
                stacklevel=2,
            )
        return _decorate(self.clone, function)


class _PlainContext(_ModeContext):
    """A context without arguments: also a decorator without parentheses."""

    def __new__(cls, function=None):
        context = super().__new__(cls)
        if function is None:
            return context
        context.__init__()
        return context(function)

    def __init__(self, function=None):
        super().__init__()


class no_grad(_PlainContext):
    """Switches recording off, as a context manager or decorator.

    >>> x = ferrograd.ones(2, requires_grad=True)
    >>> with ferrograd.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def _target(self, grad, inference):
        return False, inference


class enable_grad(_PlainContext):
    """Switches recording on, as a context manager or decorator."""

    def _target(self, grad, inference):
        return True, inference


class recording:
    """For what differentiates functions: switches recording on, in inference mode, too. May be entered again, also while inside."""

    def __init__(self):
        self._before = []

    def __enter__(self):
        self._before.append(_set_recording(True, True))

    def __exit__(self, *exception):
        _set_recording(*self._before.pop())


class inference_mode(_ModeContext):
    """Like ``no_grad``, and tensors made inside can never take part in a recording.

    ``inference_mode(False)`` switches it off, also within another.
    """

    def __new__(cls, mode=True):
        if isinstance(mode, bool):
            return super().__new__(cls)
        return cls()(mode)

    def __init__(self, mode=True):
        super().__init__()
        self.mode = mode

    def _target(self, grad, inference):
        return not self.mode, self.mode

    def clone(self):
        return type(self)(self.mode)


class set_grad_enabled(_ModeContext):
    """Switches recording on or off: as a function at once, as a context manager until it is left."""

    def __init__(self, mode):
        super().__init__()
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}")
        self.mode = mode
        grad, inference = _mode()
        self._outside = (grad, inference)
        _set_mode(mode, inference)

    def __enter__(self):
        # The switch has been made already.
        self._before.append(self._outside)
        _set_mode(self.mode, _mode()[1])

    def __call__(self, function):
        # As a decorator it must not have switched anything here.
        _set_mode(*self._outside)
        return super().__call__(function)

    def clone(self):
        return type(self)(self.mode)

    def __str__(self):
        return f"ferrograd.autograd.grad_mode.set_grad_enabled(mode={self.mode})"

    __repr__ = __str__


class _Multithreading(_local):
    """What `set_multithreading_enabled` says on this thread."""

    enabled = True


_MULTITHREADING = _Multithreading()


class _Switch:
    """Switches something at once, and back when it is left as a context."""

    def __init__(self, mode):
        self.mode, self.prev = mode, self._switch(mode)

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        self._switch(self.prev)

    def __call__(self, function):
        # As a decorator it must not have switched anything here.
        self._switch(self.prev)
        return _decorate(self.clone, function)

    def clone(self):
        return type(self)(self.mode)


class set_multithreading_enabled(_Switch):
    """Says whether backward may use threads of its own, as a function or as a context.

    It only does for passes deep within each other, for which one stack has no room, and then in any case.
    """

    @staticmethod
    def _switch(mode):
        before, _MULTITHREADING.enabled = _MULTITHREADING.enabled, mode
        return before


class enforce_grad_layout_policy(_Switch):
    """Says whether the first gradient of a leaf is copied if it does not lie in memory as the leaf does, as a function or as a context.

    If not, it is taken over as it is where nobody else holds it.
    """

    _switch = staticmethod(_set_grad_layout)

    def __init__(self, enable=True):
        super().__init__(enable)


def is_multithreading_enabled():
    """What `set_multithreading_enabled` has said."""
    return _MULTITHREADING.enabled


class _unsafe_preserve_version_counter:
    """A context after which the tensors have the counts of in-place writes that they had when it was made: backward does not notice
    what has been written within. Torch's own code and programs that shard parameters know it; gradients may be wrong."""

    def __init__(self, tensors):
        self.tensors = (tensors,) if isinstance(tensors, Tensor) else tensors
        if not isinstance(self.tensors, tuple):
            raise AssertionError(f"expected a tensor or a tuple of tensors, got {type(tensors).__name__}")
        self.versions = [x._version for x in self.tensors]

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        for x, version in zip(self.tensors, self.versions):
            _autograd._set_version(x, version)
