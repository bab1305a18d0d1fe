"""Images sampled at places that a tensor names."""

import warnings

from ferrograd._C import Tensor, affine_grid_generator, grid_sampler
from ferrograd._checks import overridable

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _corners(align_corners):
    """Whether corners are aligned: if it was not said, as torch does since its version 1.3."""
    if align_corners is None:
        warnings.warn(
            "align_corners is not given: it is False since version 1.3.0 of torch; programs that are older want True.",
            stacklevel=3,
        )
    return bool(align_corners)


@overridable
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """An image, or a volume, sampled at the places in `grid`, where -1 and 1 are its borders.

    `mode` is "bilinear" (also for volumes), "nearest" or, for images, "bicubic"; beyond the borders there are "zeros", the
    "border", or what lies inside, mirrored ("reflection"). Borders are the centers of the outermost elements if
    `align_corners`, else their outer edges.

    Shape: (n, c, h, w) and (n, *, 2) to (n, c, *); (n, c, d, h, w) and (n, *, 3) to (n, c, *). The last dim of the grid names
    the place in the last dim of the image first. Dtype: float.
    Derivative: see `grid_sampler`.
    Raises: ValueError for another mode or padding, RuntimeError for shapes and dtypes that do not fit together.
    """
    if mode not in _MODES:
        raise ValueError(f"grid_sample: expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: {mode!r}")
    if padding_mode not in _PADDINGS:
        raise ValueError(f"grid_sample: expected padding_mode to be 'zeros', 'border' or 'reflection', but got: {padding_mode!r}")
    return grid_sampler(input, grid, _MODES.index(mode), _PADDINGS.index(padding_mode), _corners(align_corners))


@overridable
def affine_grid(theta, size, align_corners=None):
    """The places that affine maps take the elements of images, or volumes, to: a grid for `grid_sample`.

    Shape: (n, 2, 3) and a `size` (n, c, h, w) to (n, h, w, 2); (n, 3, 4) and (n, c, d, h, w) to (n, d, h, w, 3). Dtype: float.
    Raises: ValueError or NotImplementedError for shapes and dtypes that do not fit together.
    """
    align_corners = _corners(align_corners)
    if not isinstance(theta, Tensor):
        raise TypeError(f"affine_grid: argument 'theta' must be Tensor, not {type(theta).__name__}")
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms. Got size {size}.")
    rank = len(size) - 2
    if theta.dim() != 3 or theta.shape[1:] != (rank, rank + 1):
        raise ValueError(f"Expected a batch of affine matrices of shape Nx{rank}x{rank + 1} for size {size}. Got {theta.shape}.")
    if align_corners and min(size[2:]) == 1:
        warnings.warn(
            "affine_grid: a unit-size grid with align_corners=True has its only place in the middle, since version 1.3.0 of torch.",
            stacklevel=2,
        )
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    return affine_grid_generator(theta, size, align_corners)
