"""Dropout of elements and of channels."""

import warnings

from ferrograd import _C
from ferrograd._checks import overridable


def _check_probability(p):
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _drop(op, input, p, training, inplace):
    _check_probability(p)
    return getattr(_C, op + "_" if inplace else op)(input, p, training)


@overridable
def dropout(input, p=0.5, training=True, inplace=False):
    """In `training`, each element 0 with probability `p`, else times 1 / (1 - p)."""
    return _drop("dropout", input, p, training, inplace)


@overridable
def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """In `training`, each element the limit of `selu` with probability `p`, all scaled and moved so that mean and variance stay."""
    return _drop("alpha_dropout", input, p, training, inplace)


@overridable
def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """`alpha_dropout` of whole channels, which are the second dim."""
    return _drop("feature_alpha_dropout", input, p, training, inplace)


def _drop_channels(input, p, training, inplace, batch):
    """Drops whole channels; without a `batch` they are the first dim."""
    if batch:
        return _drop("feature_dropout", input, p, training, inplace)
    if not inplace:
        return _drop("feature_dropout", input.unsqueeze(0), p, training, False).squeeze(0)
    return _drop("feature_dropout", input.unsqueeze_(0), p, training, True).squeeze_(0)


@overridable
def dropout1d(input, p=0.5, training=True, inplace=False):
    """In `training`, each channel of (n, c, l) or (c, l) 0 with probability `p`, else times 1 / (1 - p)."""
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d: expected 2-d or 3-d input, but received a {input.dim()}-d input")
    return _drop_channels(input, p, training, inplace, input.dim() == 3)


@overridable
def dropout2d(input, p=0.5, training=True, inplace=False):
    """In `training`, each channel of (n, c, h, w) 0 with probability `p`, else times 1 / (1 - p).

    Of 3 dims the second are the channels, too, with a warning.
    """
    _check_probability(p)
    if input.dim() not in (3, 4):
        warnings.warn(f"dropout2d: received a {input.dim()}-d input, which is deprecated; use dropout instead", stacklevel=2)
    if input.dim() == 3:
        warnings.warn("dropout2d: of a 3-d input the second dim are taken as channels; use dropout1d for that", stacklevel=2)
    return _drop_channels(input, p, training, inplace, True)


@overridable
def dropout3d(input, p=0.5, training=True, inplace=False):
    """In `training`, each channel of (n, c, d, h, w) or (c, d, h, w) 0 with probability `p`, else times 1 / (1 - p)."""
    _check_probability(p)
    if input.dim() not in (4, 5):
        warnings.warn(f"dropout3d: received a {input.dim()}-d input, which is deprecated; use dropout instead", stacklevel=2)
    return _drop_channels(input, p, training, inplace, input.dim() == 5)
