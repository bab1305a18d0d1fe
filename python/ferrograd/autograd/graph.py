"""Nodes of the recorded graph, places in it, and hooks that watch several tensors."""

import abc
import weakref
from collections import namedtuple
from contextlib import contextmanager

from ferrograd._C import _autograd
from ferrograd._C._autograd import increment_version, queue_callback

from ferrograd.autograd._saved import SETTINGS
from ferrograd.autograd.function import BackwardCFunction

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "queue_callback",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
    "set_warn_on_accumulate_grad_stream_mismatch",
]


class Node(abc.ABC):
    """What all nodes are instances of, and the contexts of functions of the user's."""

    @abc.abstractmethod
    def name(self):
        """Torch's name of the op."""

    @property
    @abc.abstractmethod
    def next_functions(self):
        """For each input of the op, the node that its gradient goes to (None if none is wanted) and which of its outputs."""

    @abc.abstractmethod
    def metadata(self):
        """A dict for what the user wants to keep with the op."""

    @abc.abstractmethod
    def register_hook(self, fn):
        """Registers a function that is called with the gradients of the op's inputs and of its outputs, after it."""

    @abc.abstractmethod
    def register_prehook(self, fn):
        """Registers a function that is called with the gradients of the op's outputs, before it."""


Node.register(_autograd.Node)
Node.register(BackwardCFunction)


class saved_tensors_hooks:
    """A context in which tensors that ops save for backward are kept by functions of the user's.

    `pack_hook(tensor)` answers whatever it wants to keep, and `unpack_hook` of that gives the tensor back, of the same shape,
    each time that backward needs it. The check that nobody writes to saved tensors is off.
    """

    def __init__(self, pack_hook, unpack_hook):
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self):
        if SETTINGS.disabled is not None:
            raise RuntimeError(SETTINGS.disabled)
        for name, hook in (("pack_hook", self.pack_hook), ("unpack_hook", self.unpack_hook)):
            if not callable(hook):
                raise TypeError(f"saved_tensors_hooks: {name} must be callable, got {type(hook).__name__}")
        _autograd._push_saved_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exception):
        _autograd._pop_saved_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Keeps saved tensors in the memory of the processor, where they are already. `pin_memory` is about accelerators."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda tensor: tensor, lambda packed: packed)


class _Copy:
    """What a saved tensor was; None when it has been freed."""

    __slots__ = ("tensor", "__weakref__")

    def __init__(self, tensor):
        self.tensor = tensor

    def unpack(self):
        if self.tensor is None:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was originally "
                "recorded."
            )
        return self.tensor


class allow_mutation_on_saved_tensors(saved_tensors_hooks):
    """A context in which saved tensors may be written to: backward, within the context, uses copies of what they were."""

    def __init__(self):
        self._copies = weakref.WeakSet()
        super().__init__(self._copied, _Copy.unpack)

    def _copied(self, tensor):
        copy = _Copy(tensor.clone())
        self._copies.add(copy)
        return copy

    def __enter__(self):
        if SETTINGS.mutation_allowed:
            raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
        super().__enter__()
        SETTINGS.mutation_allowed = True
        return self

    def __exit__(self, *exception):
        super().__exit__(*exception)
        SETTINGS.mutation_allowed = False
        self.clear()

    def clear(self):
        """Frees the copies: the graph cannot be run any more."""
        for copy in list(self._copies):
            copy.tensor = None
        self._copies.clear()


@contextmanager
def disable_saved_tensors_hooks(error_message):
    """A context in which ``saved_tensors_hooks`` raises a RuntimeError with this message."""
    if _autograd._saved_hooks() is not None:
        raise RuntimeError(error_message)
    before, SETTINGS.disabled = SETTINGS.disabled, error_message
    try:
        yield
    finally:
        SETTINGS.disabled = before


class GradientEdge(namedtuple("GradientEdge", "node output_nr ownership_token", defaults=(None,))):
    """An output of a node: `backward` and `grad` take it in place of the tensor that it was made from."""

    _tensor = None


def get_gradient_edge(tensor):
    """Where gradients of the tensor flow to. It stays that place when the tensor is written to."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    node = tensor.grad_fn
    if node is None:
        node = _autograd._end_of_leaf(tensor)
        place = tensor
    else:
        place = _autograd._as_output(tensor.detach(), node, tensor.output_nr)
    edge = GradientEdge(node, tensor.output_nr)
    edge._tensor = place
    return edge


class _MultiHandle:
    """Removes several hooks together."""

    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self):
        for handle in self.handles:
            handle.remove()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Calls `fn` when backward has come to all of the tensors that it comes to, with their gradients (None for the others).

    With `mode` "any", it is called with the first gradient only. Answers a handle, whose `remove()` takes the hook away.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = tuple(tensors)
    for x in tensors:
        if not x.requires_grad:
            raise AssertionError("Expected gradient function to be set")
    watch = _All(tensors, fn) if mode == "all" else _Any(tensors, fn)
    return _MultiHandle([x.register_hook(watch.hook(i)) for i, x in enumerate(tensors)])


class _All:
    """Collects the gradients of each run, of which there may be several at a time; knows from the graph which will come."""

    def __init__(self, tensors, fn):
        self.places = [(x.grad_fn or _autograd._end_of_leaf(x), x.output_nr) for x in tensors]
        self.fn = fn
        self.runs = {}

    def hook(self, i):
        def collect(grad):
            number, will_come = _autograd._current_run(self.places)
            grads, calls = self.runs.pop(number, ([None] * len(self.places), 0))
            grads[i] = grad
            if calls + 1 < sum(will_come):
                self.runs[number] = (grads, calls + 1)
            else:
                self.fn(grads)

        return collect


class _Any:
    """Calls the function once in a run."""

    def __init__(self, tensors, fn):
        self.fn = fn
        self.called = set()

    def hook(self, i):
        def first(grad):
            number, _ = _autograd._current_run([])
            if number not in self.called:
                self.called.add(number)
                self.fn(grad)

        return first


def set_warn_on_accumulate_grad_stream_mismatch(enabled):
    """There is nothing to warn of: processors have no streams."""
