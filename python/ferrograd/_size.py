"""The tuple of a tensor's sizes."""

from operator import index


class Size(tuple):
    """Sizes of a tensor's dims: a tuple of ints."""

    __slots__ = ()

    def __new__(cls, sizes=()):
        numbers = []
        for i, size in enumerate(sizes):
            try:
                numbers.append(int(index(size)))
            except TypeError:
                raise TypeError(f"torch.Size() takes an iterable of 'int' (item {i} is '{type(size).__name__}')") from None
        return tuple.__new__(cls, numbers)

    def numel(self):
        """The number of elements of a tensor of this size."""
        product = 1
        for size in self:
            product *= size
        return product

    def __repr__(self):
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __getitem__(self, index):
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other))) if isinstance(other, tuple) else NotImplemented

    def __radd__(self, other):
        return Size(tuple.__add__(tuple(other), self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times):
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self):
        return (Size, (tuple(self),))


Size.__module__ = "ferrograd"
