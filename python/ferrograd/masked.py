"""Reductions, scans and normalizations of the elements where a mask is true.

`mask` broadcasts to the input and may not have more dims; what it leaves out takes no part, and gets no gradient. The result of a reduction
of nothing is the neutral element: 0 for `sum`, 1 for `prod`, the least number for `amax`; NaN for `mean`, `var` and `std`. Scans and
normalizations answer elements for what was left out, too, which mean nothing. Without a mask all elements take part.

`dtype` is that of the result. `dim` of reductions may be None or (), for all dims.
Raises: IndexError for a mask of too many dims or a `dim` out of range, RuntimeError for a mask that does not broadcast.
"""

import ferrograd
from ferrograd._C._autograd import _values
from ferrograd.nn import functional

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]

_SMALL_INTEGERS = (ferrograd.bool, ferrograd.uint8, ferrograd.int8, ferrograd.int16, ferrograd.int32)
_PARTS = {ferrograd.complex64: ferrograd.float32, ferrograd.complex128: ferrograd.float64}


def _least(dtype):
    return -ferrograd.inf if dtype.is_floating_point else ferrograd.iinfo(_ordered(dtype)).min


def _largest(dtype):
    return ferrograd.inf if dtype.is_floating_point else ferrograd.iinfo(_ordered(dtype)).max


def _ordered(dtype):
    if dtype == ferrograd.bool:
        raise NotImplementedError("masked: bools have no neutral element of this operation")
    return dtype


def _dims(dim, rank):
    """Dims as a sorted tuple from 0 on; all of them for None and ()."""
    if dim is None or dim == ():
        return tuple(range(rank))
    reach = max(rank, 1)
    dims = []
    for d in (dim,) if isinstance(dim, int) else dim:
        if d in dims:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -reach <= d < reach:
            raise IndexError(f"dim {d} is out of range (expected {-reach}..={reach - 1} for a {rank}-d tensor)")
        dims.append(d % reach)
    return tuple(sorted(dims))


def _full_mask(input, mask):
    """The mask as bools, of the input's shape. One of another shape may be written to later, as in torch."""
    if mask.shape != input.shape:
        if mask.ndim > input.ndim:
            raise IndexError(f"masked: the mask has {mask.ndim} dims, more than the input, which has {input.ndim}")
        mask = mask.clone().broadcast_to(input.shape)
    return mask.to(dtype=ferrograd.bool)


def _filled(input, mask, neutral):
    """The input, with a number where the mask is false; `neutral` makes it of the dtype, where there is a mask."""
    if mask is None:
        return input
    mask = _full_mask(input, mask)
    return ferrograd.where(mask, input, ferrograd.tensor(neutral(input.dtype), dtype=input.dtype))


def _zero(dtype):
    return 0


def _one(dtype):
    return 1


def _sum_dtype(input, dtype):
    if dtype is not None:
        return dtype
    return ferrograd.int64 if input.dtype in _SMALL_INTEGERS else input.dtype


def sum(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The sum. Small integers and bools become int64."""
    dims = _dims(dim, input.ndim)
    return ferrograd.sum(_filled(input, mask, _zero), dims, bool(keepdim), dtype=_sum_dtype(input, dtype))


def prod(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The product. Small integers and bools become int64."""
    dims = _dims(dim, input.ndim)
    result = _filled(input, mask, _one).to(dtype=_sum_dtype(input, dtype))
    for d in reversed(dims):
        result = result.prod(dim=d, keepdim=bool(keepdim))
    return result


def cumsum(input, dim, *, dtype=None, mask=None):
    """Sums up to each element along `dim`."""
    dtype = input.dtype if dtype is None else dtype
    return ferrograd.cumsum(_filled(input, mask, _zero), _dims(dim, input.ndim)[0], dtype=dtype).to(dtype=dtype)


def cumprod(input, dim, *, dtype=None, mask=None):
    """Products up to each element along `dim`."""
    dtype = input.dtype if dtype is None else dtype
    return ferrograd.cumprod(_filled(input, mask, _one), _dims(dim, input.ndim)[0], dtype=dtype).to(dtype=dtype)


def amax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The largest element."""
    filled = _filled(input, mask, _least)
    return ferrograd.amax(filled, _dims(dim, input.ndim), bool(keepdim)).to(dtype=dtype or input.dtype)


def amin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The least element."""
    filled = _filled(input, mask, _largest)
    return ferrograd.amin(filled, _dims(dim, input.ndim), bool(keepdim)).to(dtype=dtype or input.dtype)


def argmax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The index of the largest element, in the input's dtype unless another one is given."""
    return ferrograd.argmax(_filled(input, mask, _least), dim, bool(keepdim)).to(dtype=dtype or input.dtype)


def argmin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The index of the least element, in the input's dtype unless another one is given."""
    return ferrograd.argmin(_filled(input, mask, _largest), dim, bool(keepdim)).to(dtype=dtype or input.dtype)


def _count(input, dim, keepdim, mask):
    """How many elements take part, and their mask."""
    if mask is None:
        return sum(ferrograd.ones(input.shape, dtype=ferrograd.int64), dim, keepdim=keepdim), None
    mask = _full_mask(input, mask)
    return mask.sum(dim=dim, keepdim=bool(keepdim)), mask


def mean(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The mean.

    Raises: ValueError for a dtype that is not floating point or complex.
    """
    dtype = input.dtype if dtype is None else dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(f"mean: the dtype must be floating point or complex, got {dtype}")
    count, mask = _count(input, dim, keepdim, mask)
    return sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask) / count


def median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    """The median along one dim, the lower of two. Integers are compared as floats.

    Raises: ValueError if no element of a row of integers takes part.
    """
    (d, *_) = _dims(dim, input.ndim)
    x = input if input.is_floating_point() else input.to(dtype=ferrograd.float32)
    result = ferrograd.nanmedian(_filled(x, mask, lambda dtype: ferrograd.nan), d, keepdim).values
    if input.is_floating_point():
        return result
    if _values(result).isnan().any():
        raise ValueError("median: expected no fully masked out rows if the dtype is not floating point")
    return result.to(dtype=dtype or input.dtype)


def logsumexp(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The logarithm of the sum of exponentials."""
    filled = _filled(input, mask, lambda dtype: complex(-ferrograd.inf, 0) if dtype.is_complex else _least(dtype))
    return ferrograd.logsumexp(filled, _dims(dim, input.ndim), keepdim=keepdim).to(dtype=dtype or input.dtype)


def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """The logarithm of the sum of the exponentials of two elements, each with a mask of its own."""
    a, b = _filled(input, input_mask, _least), _filled(other, other_mask, _least)
    return ferrograd.logaddexp(a, b).to(dtype=dtype or input.dtype)


def norm(input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The norm of exponent `ord`."""
    if ord == -ferrograd.inf and mask is not None and not input.is_floating_point():
        raise AssertionError(f"norm: the input must be floating point, got {input.dtype}")
    filled = _filled(input, mask, _largest if ord == -ferrograd.inf else _zero)
    dims = _dims(dim, input.ndim)
    return ferrograd.linalg.vector_norm(filled, ord, dims, bool(keepdim), dtype=dtype or input.dtype)


def var(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The variance: of squares from the mean the sum, over their number less `correction` (1; 0 if not `unbiased`)."""
    if unbiased is not None and correction is not None:
        raise AssertionError("only one of unbiased and correction may be given")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    if dtype is None:
        dtype = input.dtype if input.is_floating_point() or input.is_complex() else ferrograd.float32
    wide = dtype if dtype.is_floating_point or dtype.is_complex else ferrograd.float32
    count, mask = _count(input, dim, True, mask)
    x = input - sum(input, dim, keepdim=True, dtype=dtype, mask=mask) / count
    total = sum(x * x.conj(), dim, keepdim=keepdim, dtype=wide, mask=mask)
    if not keepdim:
        count = count.reshape(total.shape)
    if correction != 0:
        count = count.to(_PARTS.get(wide, wide)) - float(correction)
        count = ferrograd.maximum(count, count.new_zeros([]))
    return (total / count).to(dtype=dtype)


def std(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The root of the variance; see `var`."""
    return ferrograd.sqrt(var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask))


def softmax(input, dim, *, dtype=None, mask=None):
    """Softmax along `dim`."""
    return functional.softmax(_filled(input, mask, _least), _dims(dim, input.ndim)[0], dtype=dtype or input.dtype)


def log_softmax(input, dim, *, dtype=None, mask=None):
    """The logarithm of softmax along `dim`."""
    return functional.log_softmax(_filled(input, mask, _least), _dims(dim, input.ndim)[0], dtype=dtype or input.dtype)


def softmin(input, dim, *, dtype=None, mask=None):
    """Softmax of the negated input along `dim`."""
    return functional.softmin(_filled(input, mask, _largest), _dims(dim, input.ndim)[0], dtype=dtype or input.dtype)


def normalize(input, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    """The input over its norm of exponent `ord` along `dim`, or over `eps` if that is larger."""
    length = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled(input, mask, _zero) / ferrograd.maximum(length, length.new_full([], eps))
