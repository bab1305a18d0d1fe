"""Pooling as ``nn.functional`` has it: with `return_indices`, sizes that are None, and what is composed of other ops."""

import math

import ferrograd
from ferrograd import _C
from ferrograd._C import _nn
from ferrograd._checks import overridable

__all__ = [
    f"{kind}_pool{dims}d{ending}"
    for kind, endings in (
        ("adaptive_avg", [""]),
        ("adaptive_max", ["", "_with_indices"]),
        ("avg", [""]),
        ("fractional_max", ["", "_with_indices"]),
        ("lp", [""]),
        ("max", ["", "_with_indices"]),
    )
    for dims in (1, 2, 3)
    for ending in endings
    if (kind, dims) != ("fractional_max", 1)
] + ["local_response_norm", "max_unpool1d", "max_unpool2d", "max_unpool3d"]

_MAX_POOL = {
    1: (_C.max_pool1d, _C.max_pool1d_with_indices),
    2: (_C.max_pool2d, _nn.max_pool2d_with_indices),
    3: (_C.max_pool3d, _nn.max_pool3d_with_indices),
}
_ADAPTIVE_MAX = {1: _C.adaptive_max_pool1d, 2: _nn.adaptive_max_pool2d, 3: _nn.adaptive_max_pool3d}
_FRACTIONAL = {2: _nn.fractional_max_pool2d, 3: _nn.fractional_max_pool3d}

avg_pool1d = _C.avg_pool1d
avg_pool2d = _nn.avg_pool2d
avg_pool3d = _nn.avg_pool3d
adaptive_avg_pool1d = _C.adaptive_avg_pool1d


def _each(value, dims):
    """A number for each dim."""
    return (value,) * dims if isinstance(value, (int, float)) else tuple(value)


def _sizes(output_size, input):
    """The sizes of a result, where None stands for that of the input."""
    if isinstance(output_size, int):
        return output_size
    if input.dim() <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
    sizes = zip(output_size, input.size()[-len(output_size) :]) if output_size else ()
    return [here if size is None else size for size, here in sizes]


def _named(function, name, doc):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _max_pool(dims):
    plain, with_indices = _MAX_POOL[dims]

    def indices(
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    ):
        return with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)

    def pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        function = with_indices if return_indices else plain
        return function(input, kernel_size, stride, padding, dilation, ceil_mode)

    name = f"max_pool{dims}d"
    return (
        _named(pool, name, f"{plain.__doc__}\n\nWith `return_indices` their places, too."),
        _named(indices, f"{name}_with_indices", with_indices.__doc__),
    )


max_pool1d, max_pool1d_with_indices = _max_pool(1)
max_pool2d, max_pool2d_with_indices = _max_pool(2)
max_pool3d, max_pool3d_with_indices = _max_pool(3)


@overridable
def adaptive_avg_pool2d(input, output_size):
    """The averages of windows that share out planes evenly; None in `output_size` keeps a size."""
    return _nn.adaptive_avg_pool2d(input, _sizes(output_size, input))


@overridable
def adaptive_avg_pool3d(input, output_size):
    """The averages of windows that share out planes of three dims evenly; None in `output_size` keeps a size."""
    return _nn.adaptive_avg_pool3d(input, _sizes(output_size, input))


def _adaptive_max_pool(dims):
    def indices(input, output_size, return_indices=False):
        return _ADAPTIVE_MAX[dims](input, output_size if dims == 1 else _sizes(output_size, input))

    def pool(input, output_size, return_indices=False):
        results = indices(input, output_size)
        return results if return_indices else results[0]

    name, doc = f"adaptive_max_pool{dims}d", _ADAPTIVE_MAX[dims].__doc__
    return _named(pool, name, doc), _named(indices, f"{name}_with_indices", doc)


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive_max_pool(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive_max_pool(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive_max_pool(3)


def _fractional_max_pool(dims):
    name = f"fractional_max_pool{dims}d"

    def indices(
        input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
    ):
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
        if output_size is None:
            if dims == 2 and len(output_ratio) > 2:
                raise ValueError(f"{name} requires output_ratio to either be a single Int or tuple of Ints.")
            ratios = _each(output_ratio, dims)
            output_size = [int(input.size(d - dims) * ratios[d]) for d in range(dims)]
        if _random_samples is None:
            batch = 1 if input.dim() == dims + 1 else input.size(0)
            _random_samples = ferrograd.rand(batch, input.size(-dims - 1), dims, dtype=input.dtype)
        return _FRACTIONAL[dims](input, kernel_size, output_size, _random_samples)

    def pool(input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        results = indices(input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
        return results if return_indices else results[0]

    doc = _FRACTIONAL[dims].__doc__
    return _named(pool, name, doc), _named(indices, f"{name}_with_indices", doc)


fractional_max_pool2d, fractional_max_pool2d_with_indices = _fractional_max_pool(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _fractional_max_pool(3)


def _lp_pool(dims):
    def pool(input, norm_type, kernel_size, stride=None, ceil_mode=False):
        if dims > 1:
            kernel_size = _each(kernel_size, dims)
            if len(kernel_size) != dims:
                raise ValueError(f"lp_pool{dims}d: kernel_size must be an int or {dims} of them, got {kernel_size}")
        if isinstance(norm_type, (int, float)) and norm_type in (ferrograd.inf, -ferrograd.inf):
            if norm_type > 0:
                return max_pools[dims](input.abs(), kernel_size, stride, 0, 1, ceil_mode)
            return -max_pools[dims](-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        average = averages[dims](input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        size = kernel_size if dims == 1 else math.prod(kernel_size)
        return (average.sign() * average.abs().relu()).mul(size).pow(1.0 / norm_type)

    max_pools = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}
    averages = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}
    return _named(
        pool, f"lp_pool{dims}d", "The `norm_type`-th root of the sum of each window's elements to that power; see ``avg_pool1d``."
    )


lp_pool1d = _lp_pool(1)
lp_pool2d = _lp_pool(2)
lp_pool3d = _lp_pool(3)


def _unpool_size(input, kernel_size, stride, padding, output_size):
    """The size that pooling may have begun with."""
    dims = len(kernel_size)
    least = [
        (input.size(d - dims) - 1) * stride[d] + kernel_size[d] - 2 * padding[d] for d in range(dims)
    ]
    if output_size is None:
        output_size = least
    else:
        if len(output_size) == dims + 2:
            output_size = output_size[2:]
        if len(output_size) != dims:
            raise ValueError(
                f"output_size should be a sequence containing {dims} or {dims + 2} elements, but it has a length of "
                f"'{len(output_size)}'"
            )
        for d, size in enumerate(output_size):
            low, high = least[d] - stride[d], least[d] + stride[d]
            if not low < size < high:
                raise ValueError(f'invalid output_size "{output_size}" (dim {d} must be between {low} and {high})')
    for d, size in enumerate(output_size):
        if size < 0:
            raise ValueError(f"max_unpool: output_size must not be negative, but got output_size[{d}]={size}")
    return tuple(output_size)


def _unpool(dims, input, indices, kernel_size, stride, padding, output_size):
    kernel_size, padding = _each(kernel_size, dims), _each(padding, dims)
    stride = kernel_size if stride is None else _each(stride, dims)
    size = _unpool_size(input, kernel_size, stride, padding, output_size)
    if dims == 1:
        return _nn.max_unpool2d(input.unsqueeze(-1), indices.unsqueeze(-1), (*size, 1)).squeeze(-1)
    return _nn.max_unpool2d(input, indices, size) if dims == 2 else _nn.max_unpool3d(input, indices, size, stride, padding)


@overridable
def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The inverse of ``max_pool1d``: elements at their places, zeros elsewhere."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@overridable
def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The inverse of ``max_pool2d``: elements at their places, zeros elsewhere."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@overridable
def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The inverse of ``max_pool3d``: elements at their places, zeros elsewhere."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


@overridable
def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """The input over (k + alpha times the mean square of `size` neighbouring channels) to the power of `beta`."""
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if input.numel() == 0:
        return input
    batch, channels = input.size(0), input.size(1)
    squares = (input * input).reshape(batch, 1, channels, -1)
    # Half of them are before the channel; of an even number, padding makes one window more.
    means = avg_pool2d(squares, (size, 1), 1, (size // 2, 0)).narrow(2, 0, channels).reshape(input.size())
    return input / (means * alpha + k).pow(beta)
