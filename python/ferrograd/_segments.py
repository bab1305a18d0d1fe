"""Parts of tensors: reduced one by one, cut into chunks, picked and written where a mask says so."""

import operator
from math import inf, prod

from ferrograd import _C
from ferrograd._C import _autograd
from ferrograd._C._autograd import _values
from ferrograd._checks import check_tensor, check_tensors, with_out

# What a segment without elements has.
_STARTS = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -inf, "min": inf}
_NAMES = {"amax": "max", "amin": "min"}
# How `scatter_reduce` calls it.
_AT_ONCE = {"sum": "sum", "prod": "prod", "max": "amax", "min": "amin"}


def _lengths(op, data, lengths, offsets, axis, unsafe):
    """How long the segments are."""
    given = lengths if lengths is not None else offsets
    check_tensor(op, "lengths" if lengths is not None else "offsets", given)
    if given.dtype not in (_C.int32, _C.int64):
        raise NotImplementedError(f"{op}: not implemented for lengths or offsets of dtype {given.dtype}")
    if given.dim() == 0 or given.dim() > data.dim():
        raise RuntimeError(f"{op}: expected lengths or offsets of 1 to {data.dim()} dims, got {given.dim()}")
    if axis != given.dim() - 1:
        raise RuntimeError(f"{op}: Expected axis to be the last dimension of lengths or offsets but got {axis}.")
    if given.shape[:axis] != data.shape[:axis]:
        raise RuntimeError(f"{op}: expected lengths or offsets to begin with the sizes {list(data.shape[:axis])}, got {list(given.shape)}")
    size = data.shape[axis]
    given = given.to(_C.int64)
    if lengths is None:
        if given.shape[axis] == 0 or given.numel() and not _values((given >= 0) & (given <= size)).all():
            raise RuntimeError(f"{op}: expected one offset or more, from 0 to {size}")
        starts, given = given.narrow(axis, 0, given.shape[axis] - 1), given.diff()
    else:
        starts = given.cumsum(axis) - given
    if given.numel() and _values(given < 0).any():
        raise RuntimeError(f"{op}: lengths contains negative value!")
    # Longer ones would leave the range of their sums.
    if given.numel() and _values(given > size).any():
        raise RuntimeError(f"{op}: expected lengths of at most {size}, the size of dim {axis}")
    sums = given.sum(axis)
    if lengths is not None and sums.numel() and not _values((sums <= size) if unsafe else (sums == size)).all():
        raise RuntimeError(f"{op}: Expected all rows of lengths along axis to sum to {size}, the size of that dim")
    return starts, given


def segment_reduce(data, reduce, *, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None):
    """The sum, mean, product, largest or smallest element of each of several segments that lie behind each other in dim `axis`.

    `lengths` says how long they are, for each place in the dims before, or `offsets` where each begins and the last ends. `reduce`: "sum",
    "mean", "prod", "max" or "min". `initial` is one more element of each; of a mean it adds to the sum alone. `unsafe`: lengths may leave a rest.

    Dtype: float. Derivative: of the largest and smallest, shared evenly among equal elements.
    Raises: RuntimeError for lengths and offsets that do not fit.
    """
    op = "segment_reduce"
    check_tensor(op, "data", data)
    kind = _NAMES.get(reduce, reduce)
    if kind not in _STARTS:
        raise RuntimeError(f"{op}: reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    rank = max(data.dim(), 1)
    if not -rank <= operator.index(axis) < rank:
        raise IndexError(f"{op}: dim {axis} is out of range (expected {-rank}..={rank - 1})")
    if indices is not None:
        raise RuntimeError(f"{op}: indices based reduction is not supported yet.")
    if lengths is None and offsets is None:
        raise RuntimeError(f"{op}: Either lengths or offsets must be defined.")
    if not data.is_floating_point():
        raise NotImplementedError(f"{op}: not implemented for dtype {data.dtype} (expected float32 or float64)")
    axis %= rank
    given = lengths if lengths is not None else offsets
    y = _reduced(data, kind, *_lengths(op, data, lengths, offsets, axis, unsafe), axis, initial)
    return _autograd._saving(y, [data, given])


def _reduced(data, kind, starts, lengths, axis, initial):
    count, size = lengths.shape[axis], data.shape[axis]
    rest = data.shape[axis + 1 :]
    # The segment that each place belongs to; those that belong to none have one of their own, which is left out.
    places = _C.arange(size).expand(*data.shape[:axis], size).contiguous()
    owners = _C.searchsorted((starts + lengths).contiguous(), places, right=True) if count else places * 0
    owners = owners.view(*data.shape[: axis + 1], *[1] * len(rest)).expand(data.shape)
    start = initial if kind in ("sum", "prod") and initial is not None else _STARTS[kind]
    values = data.new_full([*data.shape[:axis], count + 1, *rest], start)
    if kind == "mean":
        sums = data.new_full(values.shape, 0.0 if initial is None else initial).scatter_add(axis, owners, data)
        y = sums.narrow(axis, 0, count)
        number = lengths.view(*lengths.shape, *[1] * len(rest))
        # Without elements a mean is NaN, or what it began with.
        return y / (number if initial is None else number.clamp(min=1))
    y = values.scatter_reduce(axis, owners, data, _AT_ONCE[kind], include_self=kind in ("sum", "prod")).narrow(axis, 0, count).contiguous()
    if initial is None or kind in ("sum", "prod"):
        return y
    return y.where(y.isnan() | ((y >= initial) if kind == "max" else (y <= initial)), initial)


@with_out("castable")
def _chunk_cat(tensors, dim, num_chunks):
    """Each tensor cut into `num_chunks` chunks of dim `dim`, filled up with zeros, and flattened from there on; chunks of all side by side.

    Raises: RuntimeError for shapes and dtypes that do not fit together.
    """
    op = "_chunk_cat"
    check_tensors(op, tensors)
    dim, num_chunks = operator.index(dim), operator.index(num_chunks)
    if not tensors:
        raise RuntimeError(f"{op} expects a non-empty input tensor list")
    if num_chunks < 1:
        raise RuntimeError(f"{op} expects positive num_chunks, got {num_chunks}")
    first = tensors[0]
    dim = dim + first.dim() if dim < 0 else dim
    for x in tensors:
        if x.dtype != first.dtype:
            raise RuntimeError(f"{op} expects all input tensors with the same dtype, got {first.dtype} and {x.dtype}")
        if x.numel() == 0:
            raise RuntimeError(f"{op} expects non-empty tensor")
        if not 0 <= dim < x.dim():
            raise RuntimeError(f"{op} expects all tensors to have more than {dim} dims, got {x.dim()}")
        if x.shape[:dim] != first.shape[:dim]:
            raise RuntimeError(f"{op} expects same sizes of 0,...,dim-1 dimensions for all tensors")
    chunks = []
    for x in tensors:
        missing = -x.shape[dim] % num_chunks
        if missing:
            x = _C.cat([x, x.new_zeros([*x.shape[:dim], missing, *x.shape[dim + 1 :]])], dim)
        chunks.append(x.reshape(*x.shape[:dim], num_chunks, prod(x.shape[dim:]) // num_chunks))
    return _C.cat(chunks, dim + 1)


def _within(x, mask, indices):
    """Indices moved into the tensor where they lie outside."""
    check_tensor("_unsafe_masked_index", "input", x)
    check_tensor("_unsafe_masked_index", "mask", mask)
    if mask.dtype != _C.bool:
        raise IndexError("tensors used as masks must be bool tensors")
    picked = []
    for index, size in zip(indices, x.shape):
        if index is not None and index.dtype not in (_C.int64, _C.int32):
            raise IndexError("tensors used as indices must be long or int tensors")
        picked.append(slice(None) if index is None else index.clamp(-size, size - 1))
    if len(indices) > x.dim():
        raise IndexError(f"too many indices for tensor of dimension {x.dim()} (got {len(indices)})")
    return tuple(picked)


def _unsafe_masked_index(input, mask, indices, fill):
    """The elements at `indices` where `mask` is true, `fill` elsewhere; there the indices may lie outside."""
    picked = _within(input, mask, indices)
    if input.numel() == 0:
        shape = _C.broadcast_shapes(*(index.shape for index in indices if index is not None))
        return input.new_full([*shape, *input.shape[len(indices) :]], fill)
    y = input[picked].masked_fill(mask.logical_not(), fill)
    return _autograd._saving(y, [mask, *(index for index in indices if index is not None)], False)


def _unsafe_masked_index_put_accumulate(input, mask, indices, values):
    """This tensor with `values` added at `indices` where `mask` is true; elsewhere the indices may lie outside."""
    picked = _within(input, mask, indices)
    if input.numel() == 0:
        return input.clone()
    values = values.masked_fill(mask.logical_not(), 0)
    # The places that are picked, by their numbers in the flat tensor.
    places = _C.arange(input.numel()).view(input.shape)[picked]
    added = input.new_zeros(input.numel()).index_add(0, places.flatten(), values.expand(places.shape).flatten())
    y = input + added.view(input.shape)
    return _autograd._saving(y, [*[mask][: values.requires_grad], *(index for index in indices if index is not None)], False)
