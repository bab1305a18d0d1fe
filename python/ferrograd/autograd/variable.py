"""The old name of a tensor that takes part in differentiation."""

import warnings

from ferrograd._C import Tensor
from ferrograd._C._autograd import queue_callback


class _VariableMeta(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor)

    def __subclasscheck__(cls, subclass):
        return issubclass(subclass, Tensor)


class _Engine:
    """What programs that gather gradients ask for by the name of ``Variable._execution_engine``."""

    queue_callback = staticmethod(queue_callback)


class Variable(metaclass=_VariableMeta):
    """``Variable(x, requires_grad=True)`` is a new leaf with the memory of ``x``; every tensor is a Variable."""

    _execution_engine = _Engine()

    def __new__(cls, data=None, requires_grad=False, volatile=None):
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        if volatile is not None:
            warnings.warn(
                "volatile was removed (Variable.volatile is always False); use `with no_grad():` instead",
                UserWarning,
                stacklevel=2,
            )
        return data.data.requires_grad_(bool(requires_grad))
