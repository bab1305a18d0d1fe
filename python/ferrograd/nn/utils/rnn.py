"""Sequences of different lengths side by side: padded to the longest, or packed, which leaves the padding out."""

from collections import namedtuple
from collections.abc import Iterable

from ferrograd import _C
from ferrograd._C import Tensor, arange, as_tensor, stack
from ferrograd._checks import overridable

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(namedtuple("PackedSequence", ("data", "batch_sizes", "sorted_indices", "unsorted_indices"))):
    """The elements of sequences step by step, the longest sequence first: made by `pack_padded_sequence` and `pack_sequence`.

    `batch_sizes` says how many sequences each step has. `sorted_indices` says which of the sequences that were packed comes where,
    `unsorted_indices` where each of them is; None if they have not been moved.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("PackedSequence: expected data and batch_sizes")
            data, batch_sizes = data
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with(self, data):
        return self if data is self.data else type(self)(data, *self[1:])

    def to(self, *args, **kwargs):
        """Converts `data` as `Tensor.to`; itself if that changes nothing."""
        return self._with(self.data.to(*args, **kwargs))

    def cpu(self):
        """Itself: there is no other device."""
        return self._with(self.data.cpu())

    def cuda(self, *args, **kwargs):
        """Fails as `Tensor.cuda`."""
        return self._with(self.data.cuda(*args, **kwargs))

    def pin_memory(self):
        """As `Tensor.pin_memory`."""
        return self._with(self.data.pin_memory())

    def is_pinned(self):
        """As `Tensor.is_pinned`."""
        return self.data.is_pinned()

    @property
    def is_cuda(self):
        """Whether `data` is on a GPU."""
        return self.data.is_cuda


def _conversion(name):
    def convert(self):
        return self._with(getattr(self.data, name)())

    convert.__name__, convert.__qualname__ = name, f"PackedSequence.{name}"
    convert.__doc__ = f"Converts `data` as `Tensor.{name}`."
    return convert


for _name in ("byte", "char", "double", "float", "int", "long", "short"):
    setattr(PackedSequence, _name, _conversion(_name))


def invert_permutation(permutation):
    """Where each place has gone: the permutation that undoes another. None stays None."""
    if permutation is None:
        return None
    return _C.empty_like(permutation).scatter_(0, permutation, arange(permutation.numel()))


def _pack_padded_sequence(input, lengths, batch_first):
    """The elements within their lengths, step by step, and how many each step has."""
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if batch_first:
        input = input.transpose(0, 1)
    times, batch = input.shape[0], input.shape[1]
    if tuple(lengths.shape) != (batch,):
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {lengths.numel()} (batch_size={batch})")
    given = lengths.tolist()
    if min(given) <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    if any(length < following for length, following in zip(given, given[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True; with enforce_sorted=False they are "
            "sorted here."
        )
    if given[0] > times:
        raise RuntimeError(f"pack_padded_sequence: a sequence of length {given[0]} does not fit an input of {times} steps")
    within = arange(given[0]).unsqueeze(1) < lengths
    places = within.flatten().nonzero().squeeze(1)
    return input.flatten(0, 1).index_select(0, places), within.sum(1)


def _pad_packed_sequence(data, batch_sizes, batch_first, padding_value, total_length):
    """Undoes `_pack_padded_sequence`; the padded sequences and their lengths."""
    if data.dim() < 1 or batch_sizes.dim() != 1 or batch_sizes.numel() == 0:
        raise RuntimeError("pad_packed_sequence: expected packed data and how many sequences each step has")
    batch = int(batch_sizes[0])
    within = arange(batch) < batch_sizes.unsqueeze(1)
    places = within.flatten().nonzero().squeeze(1)
    padded = data.new_full((total_length * batch, *data.shape[1:]), padding_value).index_copy(0, places, data)
    padded = padded.unflatten(0, (total_length, batch))
    return padded.transpose(0, 1) if batch_first else padded, within.sum(0)


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Packs sequences that have been padded, without what is beyond their `lengths`.

    They must come the longest first, unless `enforce_sorted` is False: then they are sorted.
    Shape: (t, n, *), or (n, t, *) if `batch_first`; lengths (n,), at least 1 each.
    """
    lengths = lengths.to(_C.int64) if isinstance(lengths, Tensor) else as_tensor(lengths, dtype=_C.int64)
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = lengths.sort(descending=True)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    return PackedSequence(*_pack_padded_sequence(input, lengths, batch_first), sorted_indices)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The sequences of a `PackedSequence` in the order they were packed in, padded with `padding_value`; and their lengths.

    Shape: (t, n, *), or (n, t, *) if `batch_first`, where t is `total_length`, or else the longest length.
    """
    longest = sequence.batch_sizes.size(0)
    if total_length is None:
        total_length = longest
    elif total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}"
        )
    padded, lengths = _pad_packed_sequence(sequence.data, sequence.batch_sizes, batch_first, padding_value, total_length)
    order = sequence.unsorted_indices
    if order is None:
        return padded, lengths
    return padded.index_select(0 if batch_first else 1, order), lengths[order]


@overridable
def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Sequences side by side, padded with `padding_value` on one side ("right" or "left") to the longest.

    Shape: (l, *) each, to (t, n, *), or (n, t, *) if `batch_first`. Dtype: that of the first.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}")
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(sequence.size(0) for sequence in sequences)

    def padded(x):
        missing = longest - x.size(0)
        around = [0, missing] if padding_side == "right" else [missing, 0]
        x = x.to(sequences[0].dtype)
        return _C.constant_pad_nd(x, [0, 0] * (x.dim() - 1) + around, padding_value) if missing else x

    return stack([padded(x) for x in sequences], 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The sequences that `pad_sequence` has padded, as a list.

    As in torch, `padded_sequences` itself is transposed in place unless `batch_first`.
    """
    if not batch_first:
        padded_sequences.transpose_(0, 1)
    steps = arange(padded_sequences.shape[1])
    return [sequence[steps < length] for sequence, length in zip(padded_sequences, lengths, strict=True)]


def pack_sequence(sequences, enforce_sorted=True):
    """Packs a list of sequences; see `pack_padded_sequence`."""
    lengths = as_tensor([sequence.size(0) for sequence in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The sequences of a `PackedSequence`, as a list."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
