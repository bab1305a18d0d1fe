"""The normalizing layers."""

import numpy as np

import ferrograd
from ferrograd.nn import functional

from .case import Input, case

EPS = 1e-5


def standardized(x, axes, center=True):
    """The elements less their mean over their deviation."""
    mean = x.mean(axes, keepdims=True) if center else 0.0
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + EPS)


def by_channel(parameter, x):
    """Numbers of channels, as they broadcast with a batch."""
    return parameter.reshape((1, -1) + (1,) * (x.ndim - 2))


def batch(x, weight, bias):
    axes = (0, *range(2, x.ndim))
    return standardized(x, axes) * by_channel(weight, x) + by_channel(bias, x)


def grouped(x, groups, weight, bias):
    parts = x.reshape(x.shape[0], groups, -1)
    return standardized(parts, 2).reshape(x.shape) * by_channel(weight, x) + by_channel(bias, x)


MEAN, VARIANCE = np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.5, 2.5])


def running(like):
    return [ferrograd.from_numpy(values).to(like.dtype) for values in (MEAN, VARIANCE)]


def from_running(x, weight, bias):
    return (x - by_channel(MEAN, x)) / np.sqrt(by_channel(VARIANCE, x) + EPS) * by_channel(weight, x) + by_channel(bias, x)


for shape in [(4, 3), (2, 3, 5), (2, 3, 3, 2), (1, 3, 20)]:
    case("batch_norm", lambda x, w, b: ferrograd.batch_norm(x, w, b, None, None, True, 0.1, EPS, True), shape, (3,), (3,), numpy=batch)
    case("native_batch_norm", lambda x, w, b: ferrograd.native_batch_norm(x, w, b, None, None, True, 0.1, EPS)[0], shape, (3,), (3,), numpy=batch)
    case(
        "batch_norm",
        lambda x, w, b: ferrograd.batch_norm(x, w, b, *running(x), False, 0.1, EPS, True),
        shape,
        (3,),
        (3,),
        numpy=from_running,
        label=f"running{len(shape)}",
    )
case("batch_norm", lambda x: functional.batch_norm(x, None, None, training=True), Input((4, 3), transposed=True), label="plain")
case("batch_norm", lambda x: functional.batch_norm(x, *running(x)), (4, 3, 2), label="running_plain")
case("batch_norm", lambda x, w: functional.batch_norm(x, None, None, w, training=True), (0, 3), (3,), label="empty")
case(
    "_batch_norm_with_update",
    # Averages that are new for each sample of x, as they are written to.
    lambda x, w, b: ferrograd.ops.aten._batch_norm_with_update(x, w, b, *(x.new_zeros(3) + r for r in running(x)), 0.1, EPS)[0],
    (2, 3, 4),
    (3,),
    (3,),
    numpy=batch,
)

for shape in [(2, 3, 5), (2, 3, 2, 2)]:
    call = lambda x, w, b: ferrograd.instance_norm(x, w, b, None, None, True, 0.1, EPS, True)  # noqa: E731
    case("instance_norm", call, shape, (3,), (3,), numpy=lambda x, w, b: grouped(x, 3, w, b))
case("instance_norm", lambda x, w: functional.instance_norm(x, *running(x), w, use_input_stats=False), (2, 3, 4), (3,), label="running")

for shape, last in [((3, 4), (4,)), ((2, 3, 40), (40,)), ((2, 3, 4), (3, 4)), ((5,), (5,)), ((0, 3), (3,))]:
    axes = tuple(range(-len(last), 0))
    reference = lambda x, w, b, axes=axes: standardized(x, axes) * w + b  # noqa: E731
    case("layer_norm", lambda x, w, b, last=last: ferrograd.layer_norm(x, last, w, b), shape, last, last, numpy=reference)
    case("native_layer_norm", lambda x, w, b, last=last: ferrograd.native_layer_norm(x, last, w, b, EPS)[0], shape, last, last, numpy=reference)
    reference = lambda x, w, axes=axes: standardized(x, axes, center=False) * w  # noqa: E731
    case("rms_norm", lambda x, w, last=last: ferrograd.rms_norm(x, last, w, EPS), shape, last, numpy=reference)
case("layer_norm", lambda x: functional.layer_norm(x, (3,)), Input((4, 3), transposed=True), label="plain")
case("layer_norm", lambda x: functional.layer_norm(x, (0,)), (2, 0), label="of_nothing")
case("rms_norm", lambda x: functional.rms_norm(x, (3,)), Input((4, 3), transposed=True), label="plain")

for shape, groups in [((2, 6), 2), ((2, 6, 3), 3), ((2, 6, 2, 2), 1), ((40, 4, 3), 2), ((0, 4, 2), 2)]:
    reference = lambda x, w, b, n=groups: grouped(x, n, w, b) if x.size else x  # noqa: E731
    case("group_norm", lambda x, w, b, n=groups: ferrograd.group_norm(x, n, w, b), shape, shape[1:2], shape[1:2], numpy=reference)
case("group_norm", lambda x: functional.group_norm(x, 2), Input((4, 6), transposed=True), label="plain")
case("native_group_norm", lambda x, w, b: ferrograd.native_group_norm(x, w, b, 2, 6, 4, 3, EPS), (2, 6, 4), (6,), (6,))
case("native_group_norm", lambda x: ferrograd.native_group_norm(x, None, None, 2, 6, 4, 3, EPS)[1:], (2, 6, 4), label="statistics")
case("native_group_norm", lambda x: ferrograd.native_group_norm(x, None, None, 2, 0, 4, 3, EPS)[:2], (2, 0, 4), label="no_channels")
