"""Images in other sizes and at other places."""

import operator
import warnings

from ferrograd._C import Tensor, _nn
from ferrograd._checks import overridable

# The kinds of ops by mode and number of dims that are resized.
_KINDS = {
    ("nearest", 1): "nearest1d",
    ("nearest", 2): "nearest2d",
    ("nearest", 3): "nearest3d",
    ("nearest-exact", 1): "nearest_exact1d",
    ("nearest-exact", 2): "nearest_exact2d",
    ("nearest-exact", 3): "nearest_exact3d",
    ("linear", 1): "linear1d",
    ("bilinear", 2): "bilinear2d",
    ("trilinear", 3): "trilinear3d",
    ("bicubic", 2): "bicubic2d",
    ("lanczos", 2): "lanczos2d",
}
_WITHOUT_CORNERS = ("nearest", "area", "nearest-exact")


def _is_integer(value):
    if isinstance(value, Tensor):
        return not value.is_floating_point()
    return hasattr(value, "__index__")


def _for_each_dim(name, value, input):
    """The value for each dim that is resized."""
    count = input.dim() - 2
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"interpolate: expected one {name} for each dim of the input after the second, {list(input.shape[2:])}, got {value}"
        )
    return list(value)


@overridable
def interpolate(
    input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False
):
    """A signal (n, c, w), an image (n, c, h, w) or a volume (n, c, d, h, w) in another size.

    Either `size` or `scale_factor`, each a number or one for each dim. `mode` is "nearest", "nearest-exact" or "area", or
    "linear" for signals, "bilinear" or "bicubic" for images, "trilinear" for volumes, where `align_corners` puts the corner
    values of input and output at the same places; with `antialias` (images only; also "lanczos") an output is made of all that it covers.
    Unless `recompute_scale_factor`, places are computed with the factor as given, not with the quotient of the sizes.

    Dtype: float; also uint8 for the nearest and for images. Derivative: linear in the input.
    Raises: ValueError, TypeError or NotImplementedError for arguments that do not fit together, RuntimeError for empty sizes.
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"interpolate: argument 'input' must be Tensor, not {type(input).__name__}")
    if mode in _WITHOUT_CORNERS and align_corners is not None:
        raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: either size or scale_factor should be defined, and only one of them")
    if size is not None and recompute_scale_factor:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    sizes = scales = None
    if size is None:
        scales = _for_each_dim("scale_factor", scale_factor, input)
        if recompute_scale_factor or mode == "area":
            sizes, scales = [int(n * scale) for n, scale in zip(input.shape[2:], scales)], None
    else:
        sizes = _for_each_dim("size", size, input)
        if not all(map(_is_integer, sizes)):
            raise TypeError(f"interpolate: expected size to be one or several ints, got {size}")
        sizes = [operator.index(n) for n in sizes]
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        raise ValueError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input")
    return _resized(input, mode, sizes, scales, align_corners, antialias)


def _resized(input, mode, sizes, scales, align_corners, antialias):
    count = input.dim() - 2
    if mode == "area" and count in (1, 2, 3):
        from ferrograd.nn import functional

        return getattr(functional, f"adaptive_avg_pool{count}d")(input, sizes)
    kind = _KINDS.get((mode, count))
    if kind is None:
        raise NotImplementedError(
            f"interpolate: got an input of {input.dim()} dims for the mode {mode} (expected 3 to 5 for nearest, nearest-exact and "
            "area, 3 for linear, 4 for bilinear, bicubic and lanczos, 5 for trilinear)"
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("Lanczos mode requires antialias=True and does not support align_corners=True")
    kind += "_aa" * bool(antialias)
    return _nn._upsample(input, kind, sizes, bool(align_corners), scales)


def _deprecated(name):
    warnings.warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=3)


@overridable
def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """Another name of `interpolate`. Deprecated."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@overridable
def upsample_nearest(input, size=None, scale_factor=None):
    """`interpolate` with the mode "nearest". Deprecated."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


@overridable
def upsample_bilinear(input, size=None, scale_factor=None):
    """`interpolate` with the mode "bilinear", and aligned corners. Deprecated."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
