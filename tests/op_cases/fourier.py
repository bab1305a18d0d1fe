"""Discrete Fourier transforms: squares of the parts of what they answer, so that second derivatives are not 0."""

import numpy as np

import ferrograd
from ferrograd import fft

from .case import Input, case, not_differentiable

REAL = {"rfft", "ihfft"}


def squares(y):
    return (ferrograd.view_as_real(y) if y.is_complex() else y).square()


def squares_of_array(y):
    return np.square(np.stack([y.real, y.imag], -1) if np.iscomplexobj(y) else y)


def to_complex(x):
    return ferrograd.complex(x[..., 0], x[..., 1])


def several_hermitian(name):
    """numpy has `hfft` and `ihfft` of one dim only."""

    def hfft(x, s=None, axes=None, norm=None):
        axes = list(range(x.ndim)) if axes is None else axes
        s = s or [*(x.shape[d] for d in axes[:-1]), 2 * (x.shape[axes[-1]] - 1)]
        y = np.fft.fftn(x, s[:-1], axes[:-1], norm) if len(axes) > 1 else x
        return np.fft.hfft(y, s[-1], axes[-1], norm)

    def ihfft(x, s=None, axes=None, norm=None):
        axes = list(range(x.ndim)) if axes is None else axes
        s = s or [x.shape[d] for d in axes]
        y = np.fft.ihfft(x, s[-1], axes[-1], norm)
        return np.fft.ifftn(y, s[:-1], axes[:-1], norm) if len(axes) > 1 else y

    return hfft if name == "hfft" else ihfft


def transform(name, *inputs, keywords, numpy, label):
    """A function of `fft` on real inputs, and on complex ones if it takes them."""
    dim = "axes" if name[-1] in "2n" else "axis"
    arguments = {dim if key == "dim" else key: value for key, value in keywords.items()}
    function = getattr(fft, name)
    case(name, lambda x: squares(function(x, **keywords)), *inputs, numpy=lambda x: squares_of_array(numpy(x, **arguments)), label=label)
    if name.rstrip("2n") not in REAL:
        pairs = [Input((*i, 2)) for i in inputs]
        case(
            name,
            lambda x: squares(function(to_complex(x), **keywords)),
            *pairs,
            numpy=lambda x: squares_of_array(numpy(x[..., 0] + 1j * x[..., 1], **arguments)),
            label=f"{label}_complex",
        )


for kind in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    for norm, n in ((None, 4), (None, 7), ("ortho", 5), ("forward", 5)):
        transform(kind, (2, 5), keywords={"n": n, "norm": norm}, numpy=getattr(np.fft, kind), label=f"{norm}_{n}")
    transform(kind, (3, 1, 2), keywords={"dim": 0}, numpy=getattr(np.fft, kind), label="dim0")
    transform(kind, (0, 3), keywords={}, numpy=getattr(np.fft, kind), label="empty")
    case(kind, lambda x, kind=kind: squares(getattr(fft, kind)(x)), Input((3, 4), transposed=True), label="transposed")
    for dims in ("2", "n"):
        of_several = several_hermitian(kind) if kind.endswith("hfft") else getattr(np.fft, f"{kind}n")
        pair = (-2, -1)
        for norm, s in ((None, [4, 3]), ("ortho", [2, 6])):
            keywords = {"s": s, "dim": pair, "norm": norm}
            transform(f"{kind}{dims}", (3, 4), keywords=keywords, numpy=of_several, label=norm)
        transform(f"{kind}{dims}", (3, 2, 4), keywords={"dim": (2, 0)}, numpy=of_several, label="order")
    transform(f"{kind}n", (3, 2, 4), keywords={}, numpy=of_several, label="all")

for name in ("fftshift", "ifftshift"):
    for shape, dim in (((5,), None), ((3, 4), None), ((3, 4), 1), ((3, 4), (0, -1)), ((0, 3), None)):
        numpy = getattr(np.fft, name)
        case(
            name,
            lambda x, name=name, dim=dim: getattr(fft, name)(x, dim).square(),
            shape,
            numpy=lambda x, numpy=numpy, dim=dim: np.square(numpy(x, dim)),
            label=f"{shape}_{dim}",
        )

not_differentiable("makes tensors of numbers", "fftfreq", "rfftfreq")


def windows(x, n, hop, window, center=True):
    """The windows of a signal, by numpy."""
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(n // 2, n // 2)], mode="reflect") if center else x
    left = (n - len(window)) // 2
    window = np.pad(window, (left, n - len(window) - left))
    return np.stack([x[..., start : start + n] * window for start in range(0, x.shape[-1] - n + 1, hop)], -1)


def overlapped(parts, hop, window, trim):
    """The sum of windows in their places, divided by that of the squares."""
    n, count = parts.shape[-2:]
    total, squares = np.zeros(parts.shape[:-2] + (n + hop * (count - 1),)), np.zeros(n + hop * (count - 1))
    for t in range(count):
        total[..., t * hop : t * hop + n] += parts[..., t] * window
        squares[t * hop : t * hop + n] += window**2
    return (total / squares)[..., trim : total.shape[-1] - trim]


for shape in ((20,), (2, 17)):
    case(
        "stft",
        lambda x, window: squares(x.stft(8, 3, 6, window, return_complex=True)),
        shape,
        Input((6,), ((0.2, 1.0),)),
        numpy=lambda x, window: squares_of_array(np.fft.rfft(windows(x, 8, 3, window), axis=-2)),
    )
    case(
        "stft",
        lambda x, window: squares(x.stft(6, 4, None, window, center=False, onesided=False, normalized=True, return_complex=True)),
        shape,
        Input((6,), ((0.2, 1.0),)),
        numpy=lambda x, window: squares_of_array(np.fft.fft(windows(x, 6, 4, window, center=False), axis=-2, norm="ortho")),
        label=f"{shape}_plain",
    )
for shape in ((4, 5, 2), (2, 4, 3, 2)):
    for trim, keywords in ((3, {}), (0, {"center": False, "normalized": True})):
        case(
            "istft",
            lambda x, window, keywords=keywords: to_complex(x).istft(6, 2, None, window, **keywords).square(),
            shape,
            Input((6,), ((0.5, 1.0),)),
            numpy=lambda x, window, trim=trim: np.square(
                overlapped(np.fft.irfft(x[..., 0] + 1j * x[..., 1], 6, axis=-2, norm=None if trim else "ortho"), 2, window, trim)
            ),
            label=f"{shape}_{trim}",
        )
