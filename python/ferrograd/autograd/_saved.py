"""Tensors that a custom function saves for its backward, and the hooks that may keep them elsewhere."""

from _thread import _local

from ferrograd._C import _autograd, is_tensor
from ferrograd.autograd.grad_mode import no_grad


class _Settings(_local):
    """What else there is to know of hooks on this thread: why none may be set, and whether saved tensors may be written to."""

    def __init__(self):
        self.disabled = None
        self.mutation_allowed = False


SETTINGS = _Settings()


def save(tensor, output, node):
    """Saves a tensor; `output` says which output of its own node it is, None if none."""
    if tensor is None:
        return None
    if tensor.is_inference():
        # Raises: such a tensor must not be saved.
        _autograd._check_saved(tensor, 0)
    saved = Saved(tensor, output, node)
    hooks = _autograd._saved_hooks()
    if hooks is not None:
        saved.put_away(*hooks)
    return saved


class Saved:
    """A tensor, and the version it must still have when it is read; or what hooks keep of it, and its place on the tape."""

    __slots__ = ("tensor", "version", "output", "node", "leaf", "packed", "unpack_hook")

    def __init__(self, tensor, output, node):
        # An output is kept off the tape: its own node holds this.
        self.tensor = tensor if output is None else tensor.detach()
        self.version = tensor._version
        self.output = output
        self.node = node
        self.unpack_hook = None

    def put_away(self, pack_hook, unpack_hook, detached=False):
        """Has hooks keep the tensor, which they see as it is or detached."""
        if self.unpack_hook is not None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of hooks is "
                "allowed at a time."
            )
        tensor = self.tensor
        version = tensor._version
        with no_grad():
            packed = pack_hook(tensor.detach() if detached else tensor)
        if tensor._version != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place: what is saved must stay as it is."
            )
        self.leaf = tensor if tensor.is_leaf and tensor.requires_grad else None
        before = tensor.grad_fn
        if before is not None:
            self.output, self.node = tensor.output_nr, lambda: before
        self.packed, self.unpack_hook, self.tensor = packed, unpack_hook, None

    def unpack(self):
        node = self.node() if self.output is not None else None
        if self.unpack_hook is None:
            tensor = self.tensor if node is None else _autograd._as_output(self.tensor, node, self.output)
            _autograd._check_saved(tensor, self.version)
            return tensor
        tensor = self.unpack_hook(self.packed)
        if not is_tensor(tensor):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(tensor).__name__}"
            )
        if self.leaf is not None:
            return _autograd._as_leaf(tensor, self.leaf)
        return tensor if node is None else _autograd._as_output(tensor, node, self.output)
