"""Window functions, the weights of a signal's samples.

All have 1 as their largest value, take the number of samples `M` and are symmetric, for filters; with `sym=False` they are periodic, for
spectra: one of `M + 1` samples without the last. The result is computed from evenly spaced numbers, on the tape if `requires_grad`.

Raises: ValueError for a negative `M`, a dtype that is not float32 or float64, or another layout.
"""

import math
from collections.abc import Iterable

import ferrograd

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


def _options(name, M, dtype, layout, device, requires_grad):
    """The keywords of constructors, checked."""
    dtype = ferrograd.get_default_dtype() if dtype is None else dtype
    if M < 0:
        raise ValueError(f"{name}: requires a non-negative window length, got M={M}")
    if layout is not ferrograd.strided:
        raise ValueError(f"{name}: is implemented for strided tensors only, got {layout}")
    if dtype not in (ferrograd.float32, ferrograd.float64):
        raise ValueError(f"{name}: expects float32 or float64, got {dtype}")
    return {"dtype": dtype, "device": device, "requires_grad": requires_grad}


def _spaced(start, step, M, options):
    """`M` numbers from `start` by `step`."""
    return ferrograd.linspace(start * step, (start + (M - 1)) * step, M, **options)


def exponential(M, *, center=None, tau=1.0, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """e^(-|n - center| / tau), also called Poisson's window. The centre is in the middle; another one only if not symmetric.

    Raises: ValueError if `tau` is not positive, or for a centre of a symmetric window.
    """
    options = _options("exponential", M, dtype, layout, device, requires_grad)
    if tau <= 0:
        raise ValueError(f"exponential: tau must be positive, got {tau}")
    if sym and center is not None:
        raise ValueError("exponential: center must be None for symmetric windows")
    if M == 0:
        return ferrograd.empty(0, **options)
    if center is None:
        center = _middle(M, sym)
    return ferrograd.exp(-ferrograd.abs(_spaced(-center, 1 / tau, M, options)))


def _middle(M, sym):
    return (M if not sym and M > 1 else M - 1) / 2.0


def cosine(M, *, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """sin(π (n + 1/2) / M), also called the sine window."""
    options = _options("cosine", M, dtype, layout, device, requires_grad)
    if M == 0:
        return ferrograd.empty(0, **options)
    return ferrograd.sin(_spaced(0.5, math.pi / (M + 1 if not sym and M > 1 else M), M, options))


def gaussian(M, *, std=1.0, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """e^(-(n / std)² / 2), n counted from the middle.

    Raises: ValueError if `std` is not positive.
    """
    options = _options("gaussian", M, dtype, layout, device, requires_grad)
    if std <= 0:
        raise ValueError(f"gaussian: the standard deviation must be positive, got {std}")
    if M == 0:
        return ferrograd.empty(0, **options)
    return ferrograd.exp(-(_spaced(-_middle(M, sym), 1 / (std * math.sqrt(2)), M, options) ** 2))


def kaiser(M, *, beta=12.0, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """I0(beta √(1 - t²)) / I0(beta), t from -1 to 1, where I0 is `ferrograd.i0`.

    Raises: ValueError if `beta` is negative.
    """
    options = _options("kaiser", M, dtype, layout, device, requires_grad)
    if beta < 0:
        raise ValueError(f"kaiser: beta must be non-negative, got {beta}")
    if M < 2:
        return ferrograd.ones(M, **options)
    # In the dtype of the result: else rounding could make the root that of a negative number.
    beta = ferrograd.tensor(beta, dtype=options["dtype"])
    end = ferrograd.minimum(beta, -beta + (M - 1) * (2.0 * beta / (M - 1 if sym else M)))
    k = ferrograd.linspace(-beta, end, M, **options)
    return ferrograd.i0(ferrograd.sqrt(beta * beta - k**2)) / ferrograd.i0(beta)


def bartlett(M, *, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """1 - |t|, t from -1 to 1: a triangle."""
    options = _options("bartlett", M, dtype, layout, device, requires_grad)
    if M < 2:
        return ferrograd.ones(M, **options)
    step = 2 / (M - 1 if sym else M)
    return 1 - ferrograd.abs(ferrograd.linspace(-1, -1 + (M - 1) * step, M, **options))


def general_cosine(M, *, a, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """a[0] - a[1] cos(t) + a[2] cos(2t) - ..., t from 0 to 2π.

    Raises: TypeError if `a` is no sequence, ValueError if it is empty.
    """
    options = _options("general_cosine", M, dtype, layout, device, requires_grad)
    if M < 2:
        return ferrograd.ones(M, **options)
    if not isinstance(a, Iterable):
        raise TypeError(f"general_cosine: coefficients must be a list or tuple, got {type(a).__name__}")
    if not a:
        raise ValueError("general_cosine: coefficients cannot be empty")
    t = _spaced(0, 2 * math.pi / (M - 1 if sym else M), M, options)
    weights = ferrograd.tensor([(-1) ** i * weight for i, weight in enumerate(a)], **options)
    multiples = ferrograd.arange(weights.shape[0], **options)
    return (weights.unsqueeze(-1) * ferrograd.cos(multiples.unsqueeze(-1) * t)).sum(0)


def general_hamming(M, *, alpha=0.54, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """alpha - (1 - alpha) cos(t), t from 0 to 2π."""
    a = [alpha, 1.0 - alpha]
    return general_cosine(M, a=a, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hamming(M, *, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """0.54 - 0.46 cos(t), t from 0 to 2π."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(M, *, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """(1 - cos(t)) / 2, t from 0 to 2π."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def blackman(M, *, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """0.42 - 0.5 cos(t) + 0.08 cos(2t), t from 0 to 2π."""
    a = [0.42, 0.5, 0.08]
    return general_cosine(M, a=a, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def nuttall(M, *, sym=True, dtype=None, layout=ferrograd.strided, device=None, requires_grad=False):
    """The minimum 4-term window of Nuttall, "Some windows with very good sidelobe behavior", 1981."""
    a = [0.3635819, 0.4891775, 0.1365995, 0.0106411]
    return general_cosine(M, a=a, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)
