"""Activation functions, softmax and dropout."""

import numpy as np

from ferrograd import ops

from .case import Input, case


def _softmax(x, dim):
    e = np.exp(x - x.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


for dim in (0, -1):
    case("_safe_softmax", lambda x, dim=dim: ops.aten._safe_softmax(x, dim), (3, 2), numpy=lambda x, dim=dim: _softmax(x, dim))
    case(
        "_softmax_backward_data",
        lambda g, y, dim=dim: ops.aten._softmax_backward_data(g, y, dim, g.dtype),
        (3, 2),
        (3, 2),
        numpy=lambda g, y, dim=dim: y * (g - (g * y).sum(dim, keepdims=True)),
    )
    case(
        "_log_softmax_backward_data",
        lambda g, y, dim=dim: ops.aten._log_softmax_backward_data(g, y, dim, g.dtype),
        Input((2, 3), transposed=True),
        (2, 3),
        numpy=lambda g, y, dim=dim: g - np.exp(y) * g.sum(dim, keepdims=True),
    )
