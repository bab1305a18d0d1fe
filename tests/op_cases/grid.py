"""Images sampled at places that a tensor names."""

import numpy as np

import ferrograd
from ferrograd.nn import functional

from .case import Input, case
from .resize import keys, tent


def inside(at, size, padding, corners):
    """Places for those beyond the border."""
    if padding == "reflection":
        low, high = (0, size - 1) if corners else (-0.5, size - 0.5)
        span = high - low
        at = (at - low) % (2 * span) if span else at * 0
        at = low + np.minimum(at, 2 * span - at) if span else at
    return at if padding == "zeros" else np.clip(at, 0, size - 1)


def weights(coordinates, size, mode, padding, corners):
    """The part that each of `size` elements has in the samples at some coordinates."""
    at = (coordinates + 1) * (size - 1) / 2 if corners else ((coordinates + 1) * size - 1) / 2
    if mode == "bicubic":
        beyond = np.arange(-30, size + 30)
        places = np.round(inside(beyond.astype(float), size, padding, corners))
        return keys(-0.75)(at[..., None] - beyond) @ (places[:, None] == np.arange(size))
    at = inside(at, size, padding, corners)
    return tent((np.round(at) if mode == "nearest" else at)[..., None] - np.arange(size))


def sampled(x, grid, mode, padding, corners):
    letters = "hij"[: x.ndim - 2]
    parts = [weights(grid[..., -1 - d], x.shape[2 + d], mode, padding, corners) for d in range(x.ndim - 2)]
    points = "pqr"[: x.ndim - 2]
    terms = [f"n{points}{letter}" for letter in letters]
    return np.einsum(f"nc{letters},{','.join(terms)}->nc{points}", x, *parts)


for shape, places in (((2, 3, 4, 3), (2, 3, 2, 2)), ((1, 2, 3, 2, 4), (1, 2, 1, 3, 3))):
    for mode in ("bilinear", "nearest") + ("bicubic",) * (len(shape) == 4):
        for padding in ("zeros", "border", "reflection"):
            for corners in (False, True):
                how = (mode, padding, corners)
                case(
                    "grid_sample",
                    lambda x, grid, how=how: functional.grid_sample(x, grid, *how),
                    shape,
                    Input(places, ((-1.7, 1.7),)),
                    numpy=lambda x, grid, how=how: sampled(x, grid, *how),
                    label=f"{len(shape) - 2}d-{mode}-{padding}-{corners}",
                )
for op, shape, places in (("grid_sampler_2d", (1, 1, 3, 2), (1, 2, 2, 2)), ("grid_sampler_3d", (1, 1, 2, 3, 2), (1, 1, 2, 2, 3))):
    for name in (op, "grid_sampler"):
        case(
            name,
            lambda x, grid, name=name: getattr(ferrograd, name)(x, grid, 0, 1, False),
            Input(shape, transposed=True),
            Input(places, ((-1.2, 1.2),), transposed=True),
            numpy=lambda x, grid: sampled(x, grid, "bilinear", "border", False),
            label=op,
        )


def affine(theta, sizes, corners):
    axes = [np.linspace(-1, 1, n) * (1 if corners else (n - 1) / n) if n > 1 else np.zeros(1) for n in sizes]
    places = np.stack(list(np.meshgrid(*axes, indexing="ij"))[::-1] + [np.ones(sizes)], -1)
    return np.einsum("...j,nij->n...i", places, theta)


for sizes in ((3, 2), (1, 4), (2, 3, 2)):
    for corners in (False, True):
        case(
            "affine_grid_generator",
            lambda x, sizes=sizes, corners=corners: ferrograd.affine_grid_generator(x, (2, 1) + sizes, corners),
            (2, len(sizes), len(sizes) + 1),
            numpy=lambda x, sizes=sizes, corners=corners: affine(x, sizes, corners),
            label=f"{sizes}-{corners}",
        )
