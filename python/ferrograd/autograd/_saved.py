"""Tensors that a custom function saves for its backward, and the hooks that may keep them elsewhere."""

from _thread import _local

from ferrograd._C import _autograd
from ferrograd.autograd.grad_mode import no_grad


class _Hooks(_local):
    """The hooks that are set on this thread, and why none may be set."""

    def __init__(self):
        self.stack = []
        self.disabled = None
        self.mutation_allowed = False


HOOKS = _Hooks()


def save(tensor, output, node):
    """Saves a tensor; `output` says which output of its own node it is, None if none."""
    if tensor is None:
        return None
    if tensor.is_inference():
        # Raises: such a tensor must not be saved.
        _autograd._check_saved(tensor, 0)
    return _Packed(tensor, output, node, *HOOKS.stack[-1]) if HOOKS.stack else _Saved(tensor, output, node)


class _Saved:
    """A tensor, and the version it must still have when it is read."""

    __slots__ = ("tensor", "version", "output", "node")

    def __init__(self, tensor, output, node):
        # An output is kept off the tape: its own node holds this.
        self.tensor = tensor if output is None else tensor.detach()
        self.version = tensor._version
        self.output = output
        self.node = node

    def unpack(self):
        node = self.node() if self.output is not None else None
        tensor = self.tensor if node is None else _autograd._as_output(self.tensor, node, self.output)
        _autograd._check_saved(tensor, self.version)
        return tensor


class _Packed:
    """A tensor that hooks keep, and its place on the tape."""

    __slots__ = ("packed", "unpack_hook", "leaf", "output", "node")

    def __init__(self, tensor, output, node, pack_hook, unpack_hook):
        with no_grad():
            self.packed = pack_hook(tensor.detach())
        self.unpack_hook = unpack_hook
        self.leaf = tensor if tensor.is_leaf and tensor.requires_grad else None
        self.output, self.node = output, node
        if output is None and tensor.grad_fn is not None:
            before = tensor.grad_fn
            self.output, self.node = tensor.output_nr, lambda: before

    def unpack(self):
        if self.leaf is not None:
            return self.leaf
        tensor = self.unpack_hook(self.packed)
        node = self.node() if self.output is not None else None
        return tensor if node is None else _autograd._as_output(tensor, node, self.output)


# What `save` answers for tensors.
KINDS = (_Saved, _Packed)
