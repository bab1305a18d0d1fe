"""Tensors that a custom function saves for its backward."""

from ferrograd._C import _autograd


def save(tensor, output, node):
    """Saves a tensor; `output` says which output of its own node it is, None if none."""
    return None if tensor is None else _Saved(tensor, output, node)


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
