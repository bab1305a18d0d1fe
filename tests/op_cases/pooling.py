"""Pooling, against sliding windows of numpy."""

import math

import numpy as np

import ferrograd
from ferrograd.nn import functional

from .case import Input, case


def windows(x, kernel, stride, padding=0, dilation=1, fill=0.0):
    """The elements of the windows over as many last dims as `kernel` has, as a new last dim."""
    dims = len(kernel)
    padding, dilation, stride = ([v] * dims if isinstance(v, int) else v for v in (padding, dilation, stride))
    x = np.pad(x, [(0, 0)] * (x.ndim - dims) + [(p, p) for p in padding], constant_values=fill)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    axes = tuple(range(x.ndim - dims, x.ndim))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=axes)
    picked = (..., *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))
    view = view[picked]
    return view.reshape(*view.shape[:-dims], math.prod(view.shape[-dims:]))


def largest(x, *args):
    return windows(x, *args, fill=-np.inf).max(-1)


def average(x, *args):
    return windows(x, *args).mean(-1)


# The same seeds give the same elements, which differ: a maximum has a derivative.
PLANES = {1: [(2, 9), (2, 3, 8)], 2: [(2, 6, 5), (1, 2, 5, 6)], 3: [(1, 4, 3, 5), (1, 2, 4, 5, 4)]}
MAX = {1: ferrograd.max_pool1d, 2: ferrograd.max_pool2d, 3: ferrograd.max_pool3d}
AVG = {1: ferrograd.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
WITH_INDICES = {
    1: ferrograd.max_pool1d_with_indices,
    2: functional.max_pool2d_with_indices,
    3: functional.max_pool3d_with_indices,
}
SLIDES = [(2, None, 0, 1), (3, 1, 1, 1), (2, 3, 0, 1), (2, 1, 1, 2)]

for dims, shapes in PLANES.items():
    for shape in shapes:
        for kernel, stride, padding, dilation in SLIDES:
            label = f"{'x'.join(map(str, shape))}-{kernel}-{stride}-{padding}-{dilation}"
            sizes = ((kernel,) * dims, (stride or kernel,) * dims, padding, dilation)
            call = lambda x, f=MAX[dims], a=(kernel, stride, padding, dilation): f(x, *a)  # noqa: E731
            case(f"max_pool{dims}d", call, shape, numpy=lambda x, a=sizes: largest(x, *a), label=label)
            call = lambda x, f=WITH_INDICES[dims], a=(kernel, stride, padding, dilation): f(x, *a)  # noqa: E731
            case(f"max_pool{dims}d_with_indices", call, shape, label=label)
            if dilation == 1 and not (dims == 3 and kernel > min(shape[-3:])):
                call = lambda x, f=AVG[dims], a=(kernel, stride, padding): f(x, *a)  # noqa: E731
                case(f"avg_pool{dims}d", call, shape, numpy=lambda x, a=sizes[:3]: average(x, *a), label=label)
    case(f"max_pool{dims}d", lambda x, f=MAX[dims]: f(x, 2, ceil_mode=True), PLANES[dims][1], label="ceil")
    case(f"avg_pool{dims}d", lambda x, f=AVG[dims]: f(x, 3, 2, 1, True, False), (1, 2, *[5] * dims), label="ceil_without_pad")
    empty = (0, 2, *[4] * dims)
    case(f"max_pool{dims}d", lambda x, f=MAX[dims]: f(x, 2), empty, numpy=lambda x, n=dims: largest(x, (2,) * n, (2,) * n), label="empty")
    case(f"avg_pool{dims}d", lambda x, f=AVG[dims]: f(x, 2), empty, numpy=lambda x, n=dims: average(x, (2,) * n, (2,) * n), label="empty")
case("avg_pool2d", lambda x: functional.avg_pool2d(x, 2, divisor_override=3), (1, 2, 4, 4), numpy=lambda x: average(x, (2, 2), (2, 2)) * 4 / 3)
case("avg_pool2d", lambda x: functional.avg_pool2d(x[None], 2), Input((4, 6), transposed=True), label="transposed")
case("max_pool2d", lambda x: functional.max_pool2d(x[None], 2), Input((4, 6), transposed=True), label="transposed")


def adaptive(reduce, sizes):
    """`reduce` of the windows that share out the last dims."""

    def of(x):
        for axis, size in enumerate(sizes, x.ndim - len(sizes)):
            length = x.shape[axis]
            parts = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
            x = np.stack([reduce(np.take(x, range(*part), axis), axis) for part in parts], axis)
        return x

    return of


ADAPTIVE_AVG = {1: ferrograd.adaptive_avg_pool1d, 2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}
ADAPTIVE_MAX = {1: functional.adaptive_max_pool1d, 2: functional.adaptive_max_pool2d, 3: functional.adaptive_max_pool3d}
for dims, shapes in PLANES.items():
    for shape, sizes in ((shapes[0], (2, 3, 4)), (shapes[1], (3, 2, 5)), (shapes[1], (1, 1, 1)), (shapes[1], (7, 6, 3))):
        sizes = sizes[:dims]
        label = f"{'x'.join(map(str, shape))}-{sizes}"
        call = lambda x, f=ADAPTIVE_AVG[dims], n=sizes: f(x, n)  # noqa: E731
        case(f"adaptive_avg_pool{dims}d", call, shape, numpy=adaptive(np.mean, sizes), label=label)
        call = lambda x, f=ADAPTIVE_MAX[dims], n=sizes: f(x, n, True)  # noqa: E731
        case(f"adaptive_max_pool{dims}d", call, shape, label=label)
        call = lambda x, f=ADAPTIVE_MAX[dims], n=sizes: f(x, n)  # noqa: E731
        case(f"adaptive_max_pool{dims}d", call, shape, numpy=adaptive(np.max, sizes), label=f"{label}-values")

SAMPLES = np.array([[[0.1, 0.7, 0.4], [0.9, 0.3, 0.0]]])


def samples(like, dims):
    return ferrograd.from_numpy(SAMPLES[..., :dims].copy()).to(like.dtype)


case("fractional_max_pool2d", lambda x: functional.fractional_max_pool2d(x, 2, (3, 2), _random_samples=samples(x, 2)), (1, 2, 6, 5))
case("fractional_max_pool2d", lambda x: functional.fractional_max_pool2d(x, (2, 3), output_ratio=(0.5, 0.5), _random_samples=samples(x, 2)), (2, 6, 5))
case("fractional_max_pool3d", lambda x: functional.fractional_max_pool3d(x, 2, (2, 3, 2), _random_samples=samples(x, 3)), (1, 2, 5, 6, 5))


def places(*shape):
    """Every other place of planes of twice the size in each dim."""
    planes, size = math.prod(shape[:2]), math.prod(shape[2:])
    return ferrograd.arange(size).mul(2).repeat(planes, 1).reshape(shape)


for dims, shape in ((1, (2, 3, 4)), (2, (1, 2, 3, 2)), (3, (1, 2, 2, 2, 3))):
    unpool = getattr(functional, f"max_unpool{dims}d")
    case(f"max_unpool{max(dims, 2)}d", lambda x, f=unpool, s=shape: f(x, places(*s), 2), shape, label=f"{dims}d")


def lp(p, kernel):
    return lambda x: ((windows(x, kernel, kernel) ** p).sum(-1)) ** (1 / p)


for dims, shapes in PLANES.items():
    pool = getattr(functional, f"lp_pool{dims}d")
    case(f"lp_pool{dims}d", lambda x, f=pool: f(x, 3, 2), shapes[1], numpy=lp(3, (2,) * dims), domain=(0.3, 2.0))


def response(x, size, alpha, beta, k):
    squares = np.pad(x**2, [(0, 0), (size // 2, (size - 1) // 2)] + [(0, 0)] * (x.ndim - 2))
    means = np.lib.stride_tricks.sliding_window_view(squares, size, axis=1).mean(-1)
    return x / (k + alpha * means) ** beta


for shape, size in (((2, 5, 3), 2), ((1, 4, 2, 3), 3), ((1, 3, 2, 2, 1), 4)):
    call = lambda x, n=size: functional.local_response_norm(x, n, 0.5, 0.7, 1.2)  # noqa: E731
    case("local_response_norm", call, shape, numpy=lambda x, n=size: response(x, n, 0.5, 0.7, 1.2))
