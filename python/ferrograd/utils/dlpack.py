"""Exchange of memory with other libraries through DLPack capsules, by the old names."""

from ferrograd._C import Tensor, from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor):
    """A capsule that lends the memory of `tensor`; each can be read once."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"to_dlpack: expected a Tensor, got {type(tensor)}")
    return tensor.__dlpack__()
