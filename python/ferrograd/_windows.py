"""The window functions of the top level: `ferrograd.hann_window` and its like. Those of `ferrograd.signal.windows` are more, and symmetric.

All take the number of samples, `window_length`, and are `periodic`: one of `window_length + 1` samples without the last, for spectra. The
keywords are those of other constructors; the result is a leaf if `requires_grad`.

Raises: RuntimeError for a negative length or a dtype that is no float, TypeError for a length or `periodic` of another type.
"""

import math
from operator import index

import ferrograd

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]


def _window(name, length, periodic, shape, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False):
    """`shape` of the numbers of the samples and the number of the last one; windows of one sample are 1."""
    if isinstance(length, bool):
        raise TypeError(f"{name}: argument 'window_length' must be int, not bool")
    length = index(length)
    if not isinstance(periodic, bool):
        raise TypeError(f"{name}: argument 'periodic' must be bool, not {type(periodic).__name__}")
    if length < 0:
        raise RuntimeError(f"{name}: requires non-negative window_length, got window_length={length}")
    window = ferrograd.ones(min(length, 1), dtype=dtype, layout=layout, device=device, pin_memory=pin_memory)
    if not (window.is_floating_point() or window.is_complex()):
        raise RuntimeError(f"{name}: expects floating point dtypes, got {window.dtype}")
    if length > 1:
        window = shape(ferrograd.arange(length, dtype=window.dtype), length - 1 + periodic)
    return window.requires_grad_(requires_grad)


def hann_window(window_length, periodic=True, **options):
    """(1 - cos(t)) / 2, t from 0 to 2π."""
    return _window("hann_window", window_length, periodic, lambda n, last: _raised_cosine(n, last, 0.5, 0.5), **options)


def hamming_window(window_length, periodic=True, alpha=0.54, beta=0.46, **options):
    """alpha - beta cos(t), t from 0 to 2π."""
    return _window("hamming_window", window_length, periodic, lambda n, last: _raised_cosine(n, last, alpha, beta), **options)


def _raised_cosine(n, last, alpha, beta):
    return (n * (2.0 * math.pi / last)).cos() * -beta + alpha


def blackman_window(window_length, periodic=True, **options):
    """0.42 - 0.5 cos(t) + 0.08 cos(2t), t from 0 to 2π."""

    def shape(n, last):
        half = n * (math.pi / last)
        return (half * 4).cos() * 0.08 - (half * 2).cos() * 0.5 + 0.42

    return _window("blackman_window", window_length, periodic, shape, **options)


def bartlett_window(window_length, periodic=True, **options):
    """1 - |t|, t from -1 to 1: a triangle."""

    def shape(n, last):
        rising = n * (2.0 / last)
        return ferrograd.where(n <= last // 2, rising, 2 - rising)

    return _window("bartlett_window", window_length, periodic, shape, **options)


def kaiser_window(window_length, periodic=True, beta=12.0, **options):
    """I0(beta √(1 - t²)) / I0(beta), t from -1 to 1, where I0 is `ferrograd.i0`."""

    def shape(n, last):
        t = (n - last / 2) / (last / 2)
        return (beta * (1 - t * t).sqrt()).i0() / ferrograd.tensor(float(beta), dtype=n.dtype).i0()

    return _window("kaiser_window", window_length, periodic, shape, **options)
