"""Images in other sizes."""

import numpy as np

from ferrograd.nn import functional

from .case import Input, case


def tent(x):
    return np.maximum(1 - np.abs(x), 0)


def keys(a):
    def weight(x):
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    return weight


def lanczos(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def matrix(n, m, mode, align_corners=False, antialias=False, scale=None):
    """How m outputs are made of n inputs, as a matrix, from the definition."""
    step = n / m if scale is None else 1 / scale
    k, places = np.arange(m), np.arange(n)
    if align_corners:
        step = (n - 1) / (m - 1) if m > 1 else 0
    if mode.startswith("nearest"):
        picked = np.floor(step * k) if mode == "nearest" else np.floor(step * (k + 0.5))
        return np.eye(n)[np.minimum(picked, n - 1).astype(int)]
    if mode == "area":
        begin, end = k * n // m, -(-(k + 1) * n // m)
        return np.stack([(places >= b) & (places < e) for b, e in zip(begin, end)]) / (end - begin)[:, None]
    if antialias:
        width = max(step, 1)
        weight, reach = {"bilinear": (tent, 1), "bicubic": (keys(-0.5), 2), "lanczos": (lanczos, 3)}[mode]
        center = step * (k + 0.5)
        begin, end = (np.trunc(np.maximum(center + sign * reach * width + 0.5, 0)) for sign in (-1, 1))
        weights = weight((places - center[:, None] + 0.5) / width)
        weights = np.where((places >= begin[:, None]) & (places < end[:, None]), weights, 0)
        return weights / weights.sum(1, keepdims=True)
    at = step * k if align_corners else step * (k + 0.5) - 0.5
    if mode != "bicubic":
        at = np.clip(at, 0, n - 1)
    # Places beyond the border have the value of the border.
    beyond = np.arange(-4, n + 4)
    weights = (keys(-0.75) if mode == "bicubic" else tent)(at[:, None] - beyond)
    return weights @ np.eye(n)[np.clip(beyond, 0, n - 1)]


def resized(x, sizes, mode, **options):
    for dim, size in enumerate(sizes, start=2):
        x = np.moveaxis(np.moveaxis(x, dim, -1) @ matrix(x.shape[dim], size, mode, **options).T, -1, dim)
    return x


MODES = {1: ("nearest", "nearest-exact", "linear"), 2: ("nearest", "nearest-exact", "bilinear", "bicubic"), 3: ("nearest", "nearest-exact", "trilinear")}
SIZES = {1: ((7,), (1,), (2,)), 2: ((7, 2), (3, 4), (1, 1)), 3: ((3, 1, 5),)}
for rank, modes in MODES.items():
    for mode in modes:
        for sizes in SIZES[rank]:
            for corners in (None,) if "nearest" in mode else (False, True):
                case(
                    "interpolate",
                    lambda x, sizes=sizes, mode=mode, corners=corners: functional.interpolate(x, sizes, mode=mode, align_corners=corners),
                    (2, 2) + (3, 4, 2)[:rank],
                    numpy=lambda x, sizes=sizes, mode=mode, corners=corners: resized(x, sizes, mode, align_corners=corners or False),
                    label=f"{mode}{rank}-{sizes}-{corners}",
                )
for mode in ("bilinear", "bicubic", "lanczos"):
    for sizes in ((2, 3), (9, 2)):
        case(
            "interpolate",
            lambda x, sizes=sizes, mode=mode: functional.interpolate(x, sizes, mode=mode, antialias=True),
            Input((1, 2, 7, 8), transposed=True),
            numpy=lambda x, sizes=sizes, mode=mode: resized(x, sizes, mode, antialias=True),
            label=f"{mode}-{sizes}-antialias",
        )
for recompute in (None, True):
    case(
        "interpolate",
        lambda x, recompute=recompute: functional.interpolate(x, scale_factor=1.7, mode="linear", recompute_scale_factor=recompute),
        (1, 2, 4),
        numpy=lambda x, recompute=recompute: resized(x, (6,), "linear", scale=None if recompute else 1.7),
        label=f"factor-{recompute}",
    )
