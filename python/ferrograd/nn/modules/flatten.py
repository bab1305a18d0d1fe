"""Several dims as one, and one as several."""

from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import options

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """The dims from `start_dim` to `end_dim` as one; by default all but the batch."""

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input):
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self):
        return options(self, "start_dim", "end_dim")


class Unflatten(Module):
    """`dim` as dims of these sizes, one of which may be -1."""

    def __init__(self, dim, unflattened_size):
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(f"unflattened_size must be a tuple of ints, but found type {type(unflattened_size).__name__}")
        for i, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                raise TypeError(
                    f"unflattened_size must be tuple of ints, but found element of type {type(size).__name__} at pos {i}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input):
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self):
        return options(self, "dim", "unflattened_size")
