"""The memory of tensors: as bytes (``Tensor.untyped_storage``) or as elements (``Tensor.storage``)."""


class _Storage:
    """All of a memory, which several tensors may share. Writes to it are seen by all of them."""

    def __init__(self, elements):
        self._elements = elements

    @property
    def device(self):
        """Where the memory is."""
        return self._elements.device

    @property
    def is_cuda(self):
        """Whether the memory is a CUDA device's: never."""
        return False

    @property
    def _cdata(self):
        return self.data_ptr()

    def data_ptr(self):
        """The address of the first byte; 0 if there is none."""
        return self._elements.data_ptr()

    def nbytes(self):
        """The size in bytes."""
        return self._elements.nbytes

    def size(self):
        """The number of elements."""
        return len(self._elements)

    def element_size(self):
        """The size of one element in bytes."""
        return self._elements.element_size()

    def is_shared(self):
        """Whether other processes share the memory: never."""
        return False

    def is_pinned(self):
        """Whether the memory is pinned for an accelerator: never."""
        return False

    def tolist(self):
        """The elements as Python numbers."""
        return self._elements.tolist()

    def fill_(self, value):
        """Sets all elements to a number."""
        self._elements.fill_(value)
        return self

    def clone(self):
        """A copy in other memory."""
        return type(self)(self._elements.clone())

    def cpu(self):
        """Itself: the memory is the CPU's."""
        return self

    def resize_(self, size):
        """Raises RuntimeError unless it has that size: the size of a memory is fixed."""
        if size != self.size():
            raise RuntimeError(f"resize_: the size of a storage is fixed, got {size}, expected {self.size()}")
        return self

    def __len__(self):
        return self.size()

    def __getitem__(self, place):
        return self._elements[place].item()

    def __setitem__(self, place, value):
        self._elements[place] = value

    def __iter__(self):
        return iter(self.tolist())

    def __eq__(self, other):
        same_kind = type(self) is type(other)
        return (self.data_ptr(), self.nbytes()) == (other.data_ptr(), other.nbytes()) if same_kind else NotImplemented

    def __hash__(self):
        return hash((self.data_ptr(), self.nbytes()))

    def __repr__(self):
        lines = "\n".join(f" {value}" for value in self.tolist())
        return f"{lines}\n[{self._name()} of size {self.size()}]"


class UntypedStorage(_Storage):
    """A memory as bytes."""

    def untyped(self):
        """Itself."""
        return self

    def __getitem__(self, place):
        if isinstance(place, slice):
            return UntypedStorage(self._elements[place])
        return super().__getitem__(place)

    def _name(self):
        return f"torch.storage.UntypedStorage(device={self.device})"


class TypedStorage(_Storage):
    """A memory as elements of a dtype."""

    @property
    def dtype(self):
        """The dtype of the elements."""
        return self._elements.dtype

    def untyped(self):
        """The same memory as bytes."""
        return self._elements.untyped_storage()

    def __getitem__(self, place):
        if isinstance(place, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return super().__getitem__(place)

    def _name(self):
        return f"torch.storage.TypedStorage(dtype={self.dtype}, device={self.device})"
