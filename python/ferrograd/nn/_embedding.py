"""Rows of a table: `embedding` and `embedding_bag`."""

import warnings

import ferrograd
from ferrograd import _C
from ferrograd._C._autograd import _values
from ferrograd._checks import overridable


@overridable
def embedding_renorm_(input, indices, max_norm, norm_type):
    """Shrinks in place the rows of `input` that `indices` name to a norm of `max_norm`, where it is larger."""
    named = indices.reshape(-1).long().sort()[0]
    # Each once.
    rows = named[_values(named.diff(prepend=named[:1] - 1) != 0)]
    kept = input.index_select(0, rows)
    norms = ferrograd.linalg.vector_norm(kept, norm_type, 1, keepdim=True)
    # The factor is found in double precision, as in torch.
    factors = (max_norm / (norms.double() + 1e-7)).to(kept.dtype)
    return input.index_copy_(0, rows, ferrograd.where(norms > max_norm, kept * factors, kept))


def _shrink(weight, input, max_norm, norm_type):
    with ferrograd.no_grad():
        embedding_renorm_(weight.detach(), input, max_norm, norm_type)


@overridable
def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """The rows of `weight` that `input` names, after those longer than `max_norm` have been shrunk in place.

    Shape: (*) and (rows, d) to (*, d). Dtype: that of `weight`; `input` is int64 or int32.
    Derivative: none for the row `padding_idx`; with `scale_grad_by_freq` that of a row is divided by how often it is named.
    Raises: IndexError for rows out of range, AssertionError if `padding_idx` is, NotImplementedError if the gradient would be `sparse`.
    """
    if padding_idx is None:
        padding_idx = -1
    else:
        if not -weight.size(0) <= padding_idx < max(weight.size(0), 1):
            raise AssertionError("embedding: padding_idx must be within num_embeddings")
        if padding_idx < 0:
            padding_idx += weight.size(0)
    if max_norm is not None:
        input = input.contiguous()
        _shrink(weight, input, max_norm, norm_type)
    return _C.embedding(weight, input, padding_idx, scale_grad_by_freq, sparse)


_MODES = {"sum": 0, "mean": 1, "max": 2}


def _bags(input, offsets, per_sample_weights, include_last_offset):
    """Indices, offsets and weights as vectors; the rows of a matrix of indices are bags."""
    if input.dim() == 1:
        if offsets is None or offsets.dim() != 1:
            raise ValueError(f"embedding_bag: offsets has to be a 1-d Tensor, but got {offsets}")
        return input, offsets, per_sample_weights, include_last_offset
    if input.dim() != 2:
        raise ValueError(f"embedding_bag: input has to be a 1-d or 2-d Tensor, but got {input.dim()} dims")
    if offsets is not None:
        raise ValueError("embedding_bag: if input is 2-d, then offsets has to be None, as its rows are the bags")
    offsets = ferrograd.arange(0, input.numel(), input.size(1), dtype=input.dtype)
    weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    return input.reshape(-1), offsets, weights, False


@overridable
def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """Sums, means or maxima of rows of `weight` that `input` names, in bags: its rows, or what begins at `offsets`; 0 of no rows.

    Sums may be weighted by `per_sample_weights`. See `embedding` for `max_norm` and `scale_grad_by_freq`.
    Shape: (bags, n), or (n) with offsets (bags), and (rows, d) to (bags, d); with `include_last_offset` there is one more offset,
    where the last bag ends.
    Derivative: none for the row `padding_idx`, which is in no bag.
    Raises: RuntimeError for rows out of range or offsets that do not grow from 0, ValueError if dims or sizes do not fit.
    """
    if weight.dtype == ferrograd.long and input.is_floating_point():
        warnings.warn("embedding_bag: weight and input have changed places: use embedding_bag(input, weight)", stacklevel=2)
        weight, input = input, weight
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: per_sample_weights of {per_sample_weights.shape} must have the shape of the input, {input.shape}"
        )
    if weight.dim() != 2:
        raise ValueError(f"embedding_bag: weight has to be a 2-d Tensor, but got {weight.dim()} dims")
    input, offsets, per_sample_weights, include_last_offset = _bags(input, offsets, per_sample_weights, include_last_offset)
    if mode not in _MODES:
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, but got {mode!r}")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError("embedding_bag: max mode supports neither scale_grad_by_freq nor sparse")
    if max_norm is not None:
        _shrink(weight, input, max_norm, norm_type)
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(f"embedding_bag: per_sample_weights is only supported for mode='sum', got mode={mode!r}")
    return _C.embedding_bag(
        weight, input, offsets, scale_grad_by_freq, _MODES[mode], sparse, per_sample_weights, include_last_offset, padding_idx
    )[0]
