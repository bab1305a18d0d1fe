"""Covariances, histograms, derivatives on a grid, sets of elements."""

import builtins
import operator
import warnings
from math import isfinite, prod

from ferrograd import _C
from ferrograd._C import Tensor
from ferrograd._C._autograd import _values
from ferrograd._checks import check_tensor, overridable, with_out
from ferrograd.return_types import histogram as _histogram, histogramdd as _histogramdd


def _weights(name, w, count):
    """Fails unless these can be the weights of so many observations."""
    check_tensor("cov", name, w)
    kind = "integral" if name == "fweights" else "floating point"
    if w.dim() > 1:
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with {w.dim()} dimensions")
    if w.is_complex() or w.dtype == _C.bool or w.is_floating_point() != (name == "aweights"):
        raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {name} with {w.dtype}")
    if w.numel() != count:
        raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations, {count}, but got {w.numel()}")
    if count > 0 and not _values(w >= 0).all():
        raise RuntimeError(f"cov(): {name} cannot be negative")


def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariances of variables, the rows of a matrix, over their observations, its columns.

    `fweights` says how often each observation was made, `aweights` how much it counts. The sum of squares is divided by the number
    of observations less `correction`.

    Shape: (n, m) to (n, n); (m) to a number. Dtype: any but bool; integers become the default float.
    Raises: RuntimeError for more dims, and weights that do not fit.
    """
    check_tensor("cov", "input", input)
    if isinstance(correction, bool) or not hasattr(correction, "__index__"):
        raise TypeError(f"cov(): argument 'correction' must be int, not {type(correction).__name__}")
    if input.dim() > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions")
    if input.dtype == _C.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.view(1, -1) if input.dim() < 2 else input
    count = x.shape[1]
    w = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            _weights(name, given, count)
            w = given if w is None else w * given
    total = _C.tensor(count) if w is None else w.sum()
    if w is not None and _values(total) == 0:
        raise RuntimeError("cov(): weights sum to zero, can't be normalized")
    mean = (x if w is None else x * w).sum(1) / total
    factor = total
    if correction != 0:
        factor = total - (correction if aweights is None else _C._nn._times((w * aweights).sum(), correction) / total)
    if _values(factor) <= 0:
        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.", stacklevel=2
        )
        factor = (factor * 0).abs()
    x = x - mean.unsqueeze(1)
    return (x.mm((x if w is None else x * w).t().conj()) / factor).squeeze()


def corrcoef(input):
    """The correlations of variables, the rows of a matrix, over their observations, its columns: covariances over both deviations.

    Shape: (n, m) to (n, n); (m) to a number. Dtype: any but bool; integers become the default float.
    Raises: RuntimeError for more dims.
    """
    check_tensor("corrcoef", "input", input)
    if input.dim() > 2:
        raise RuntimeError(f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions")
    c = cov(input)
    if c.dim() == 0:
        return c / c
    variance = c.diagonal()
    deviation = (_C.real(variance) if variance.is_complex() else variance).sqrt()
    c = c / deviation.view(-1, 1) / deviation.view(1, -1)
    if c.is_complex():
        return _C.complex(_C.real(c).clamp(-1, 1), _C.imag(c).clamp(-1, 1))
    return c.clamp(-1, 1)


def _places(op, dims, rank):
    """Dims counted from the start, of which none comes twice."""
    for dim in dims:
        if not -max(rank, 1) <= dim < max(rank, 1):
            raise IndexError(f"{op}: dim {dim} is out of range for a tensor of {rank} dims")
    dims = [dim % max(rank, 1) for dim in dims]
    for dim in dims:
        if dims.count(dim) > 1:
            raise RuntimeError(f"{op}: dim {dim} appears multiple times in the list of dims")
    return dims


def _along(x, dim, spacing, edge_order):
    """The derivative along one dim, of places that are `spacing` apart, or at `spacing` if that is a tensor."""
    n = x.shape[dim]

    def at(place, length=1):
        return x.narrow(dim, place % n, length)

    before, center, after = at(0, n - 2), at(1, n - 2), at(2, n - 2)
    if not isinstance(spacing, Tensor):
        times, over = _C._nn._times, _C._nn._over
        if edge_order == 1:
            first, last = at(1) - at(0), at(-1) - at(-2)
        else:
            first = times(at(0), -1.5) + times(at(1), 2) - times(at(2), 0.5)
            last = times(at(-1), 1.5) - times(at(-2), 2) + times(at(-3), 0.5)
        return _C.cat([over(first, spacing), over(over(after - before, spacing), 2), over(last, spacing)], dim)
    steps = spacing.diff()
    shape = [-1 if d == dim else 1 for d in range(x.dim())]
    left, right = steps[:-1].view(shape), steps[1:].view(shape)
    inner = (
        before * (-right / (left * (left + right)))
        + center * ((right - left) / (left * right))
        + after * (left / (right * (left + right)))
    )
    if edge_order == 1:
        ends = (at(1) - at(0)) / steps[0], (at(-1) - at(-2)) / steps[-1]
    else:

        def weights(near, far):
            both = near + far
            return -(2 * near + far) / (near * both), both / (near * far), -near / (far * both)

        (u, v, w), (r, s, t) = weights(steps[0], steps[1]), weights(steps[-1], steps[-2])
        ends = at(0) * u + at(1) * v + at(2) * w, at(-3) * -t + at(-2) * -s + at(-1) * -r
    return _C.cat([ends[0], inner, ends[1]], dim)


@overridable
def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """The derivatives of a function of which `input` has the values on a grid, along each dim, or those in `dim`.

    `spacing`: how far apart places are, a number for all dims or one for each; or the places themselves, a vector for each dim. Inside,
    differences are those to both neighbours; at the ends those to the next one, or the next two if `edge_order` is 2.

    Returns: a tuple. Dtype: any but uint8 and bool; integers become the default float.
    Raises: RuntimeError for arguments that do not fit together.
    """
    op = "gradient"
    check_tensor(op, "input", input)
    spacing = 1 if spacing is None else spacing
    several = isinstance(spacing, (list, tuple))
    for step in spacing if several else (spacing,):
        if not isinstance(step, (int, float, complex)) and not (isinstance(step, Tensor) and (several or step.dim() == 0)):
            raise TypeError(f"{op}(): expected spacing to be a number, or several numbers or Tensors, got {type(step).__name__}")
    if input.dtype == _C.uint8:
        raise RuntimeError(f"{op}: uint8 input is not supported.")
    if dim is None:
        dims = list(range(input.dim()))
    else:
        dims = [operator.index(d) for d in dim] if isinstance(dim, (list, tuple)) else [operator.index(dim)]
    if several and len(spacing) != len(dims):
        raise RuntimeError(f"{op}: expected spacing to be a scalar, or one for each of {len(dims)} dims, but got {len(spacing)}")
    if edge_order not in (1, 2):
        raise RuntimeError(f"{op}: only edge_order=1 and edge_order=2 are supported, got {edge_order}.")
    dims = _places(op, dims, input.dim())
    steps = list(spacing) if several else [spacing] * len(dims)
    for d, step in zip(dims, steps):
        if input.dim() == 0 or input.shape[d] < edge_order + 1:
            raise RuntimeError(f"{op}: expected each dimension size to be at least {edge_order + 1}, got shape {list(input.shape)}")
        if several and isinstance(step, Tensor):
            if step.dim() != 1:
                raise RuntimeError(f"{op}: expected each element of spacing to have one dimension, but got one with {step.dim()}")
            if len(step) != input.shape[d]:
                raise RuntimeError(f"{op}: expected {input.shape[d]} places in dim {d}, but got {len(step)}")
    steps = [step.item() if isinstance(step, Tensor) and step.dim() == 0 else step for step in steps]
    return tuple(_along(input, d, step, edge_order) for d, step in zip(dims, steps))


@with_out()
def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """Whether each of `elements` is among `test_elements`; whether it is not, if `invert`. One of both may be a number.

    `assume_unique` makes no difference here. Shape: of `elements`. Dtype: real numbers, promoted; the result is bool.
    Raises: RuntimeError for bools and complex numbers.
    """
    if not isinstance(elements, Tensor):
        check_tensor("isin", "test_elements", test_elements)
    dtype = _C.result_type(elements, test_elements)
    for values in (elements, test_elements):
        if isinstance(values, Tensor) and (values.dtype == _C.bool or values.is_complex()):
            raise RuntimeError(f"isin: not supported for dtype {values.dtype}")
        if not isinstance(values, (Tensor, int, float)):
            raise TypeError(f"isin(): expected Tensors or numbers, got {type(values).__name__}")
    elements, tests = (
        x.detach().to(dtype) if isinstance(x, Tensor) else _C.scalar_tensor(x, dtype=dtype) for x in (elements, test_elements)
    )
    # NaN is equal to nothing, and has no place in an order.
    ordered = tests[_values(tests == tests)].sort()[0]
    if len(ordered) == 0:
        found = _C.zeros(elements.shape, dtype=_C.bool)
    else:
        places = _C.searchsorted(ordered, elements.contiguous()).clamp(max=len(ordered) - 1)
        found = ordered.take(places) == elements
    return found.logical_not() if invert else found


def _real_float(op, x):
    if not x.is_floating_point():
        raise NotImplementedError(f"{op}: not implemented for dtype {x.dtype} (expected float32 or float64)")


def _range(op, x, low, high):
    """The ends of bins: those given, or else those of the values, with some room if these are all the same."""
    if low == high and x.numel() > 0:
        low, high = (end.item() for end in _values(x).aminmax())
    if not (isfinite(low) and isfinite(high)):
        raise RuntimeError(f"{op}: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{op}: max must be larger than min, but got min {low} max {high}")
    return (low - 0.5, high + 0.5) if op != "histc" and low == high else (low - 1, high + 1) if low == high else (low, high)


def _counts(places, weight, count, dtype):
    """How many of the places, which are numbers below `count`, are each of these; or the sum of their weights."""
    if weight is None:
        return places.bincount(minlength=count).to(dtype)
    return _C.zeros(count, dtype=dtype).index_add(0, places, weight)


def histc(input, bins=100, min=0, max=0):
    """How many elements lie in each of `bins` bins of equal width from `min` to `max`; these are those of the elements if they are equal.

    The last bin has its upper end, too. Dtype: float, kept.
    Raises: RuntimeError for ends that are not finite or the wrong way round, and fewer than one bin.
    """
    check_tensor("histc", "input", input)
    bins = operator.index(bins)
    _real_float("histc", input)
    if bins <= 0:
        raise RuntimeError(f"histc: bins must be > 0, but got {bins}")
    x = input.detach().flatten()
    low, high = _range("histc", x, min, max)
    ends = x.new_tensor([low, high])
    inside = x[_values((x >= ends[0]) & (x <= ends[1]))]
    places = ((inside - ends[0]) * bins / (ends[1] - ends[0])).to(_C.int64).clamp(max=bins - 1)
    return _counts(places, None, bins, input.dtype)


def _edges(op, x, bins, ends):
    """The edges of the bins in one dim."""
    if isinstance(bins, Tensor):
        if bins.dim() != 1:
            raise RuntimeError(f"{op}: bins tensor should have one dimension, but got {bins.dim()}")
        if bins.dtype != x.dtype:
            raise RuntimeError(f"{op}: input tensor and bins tensors should have the same dtype, but got {x.dtype} and {bins.dtype}")
        if len(bins) == 0:
            raise RuntimeError(f"{op}: bins tensor should have at least one element, but got none")
        return bins.detach().clone()
    if bins <= 0:
        raise RuntimeError(f"{op}: bins must be > 0, but got {bins}")
    if ends is None:
        low, high = (end.item() for end in _values(x).aminmax()) if x.numel() > 0 else (0.0, 1.0)
    else:
        low, high = ends
    if not (isfinite(low) and isfinite(high)):
        raise RuntimeError(f"{op}: range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{op}: min should not exceed max, but got min {low} max {high}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    return _C.linspace(low, high, bins + 1, dtype=x.dtype)


def _histogram_of(op, points, bins, range, weight, density):
    """The histogram of points, the rows of a matrix, and the edges of the bins in each dim."""
    count = points.shape[1]
    if range is not None and len(range) != 2 * count:
        raise RuntimeError(f"{op}: for a {count}-dimensional histogram range should have {2 * count} elements, but got {len(range)}")
    pairs = [None] * count if range is None else list(zip(range[::2], range[1::2]))
    columns = [points[:, d].contiguous() for d in builtins.range(count)]
    edges = [_edges(op, x, b, ends) for x, b, ends in zip(columns, bins, pairs)]
    shape = [len(e) - 1 for e in edges]
    inside, places = None, 0
    for x, e in zip(columns, edges):
        within = (x >= e[0]) & (x <= e[-1])
        inside = within if inside is None else inside & within
        # The last bin has its upper edge, too.
        place = (_C.searchsorted(e, x, right=True) - 1).clamp(max=len(e) - 2)
        places = places * (len(e) - 1) + place
    inside, total = _values(inside), prod(shape)
    if total == 0:
        hist = points.new_zeros(shape)
    else:
        hist = _counts(places[inside], None if weight is None else weight[inside], total, points.dtype).view(shape)
    if density:
        hist = hist / hist.sum()
        for d, e in enumerate(edges):
            hist = hist / e.diff().view([-1 if i == d else 1 for i in builtins.range(count)])
    return hist, tuple(edges)


def _weight_of(op, weight, shape, dtype):
    if weight is None:
        return None
    check_tensor(op, "weight", weight)
    if list(weight.shape) != list(shape):
        raise RuntimeError(
            f"{op}: if weight tensor is provided it should have the same shape as the input tensor excluding its innermost dimension, "
            f"{list(shape)}, but got {list(weight.shape)}"
        )
    if weight.dtype != dtype:
        raise RuntimeError(f"{op}: input tensor and weight tensor should have the same dtype, but got {dtype} and {weight.dtype}")
    return weight.detach().flatten()


def histogram(input, bins=100, *, range=None, weight=None, density=False):
    """How many elements lie in each bin, and the edges of the bins.

    `bins`: how many bins of equal width there are in `range`, or between the smallest and the largest element; or the edges themselves,
    growing. The last bin has its upper edge, too. With `weight` each element counts as much as that says; `density` divides
    by the total and the widths, so that the integral is 1.

    Dtype: float; the same in all. Has no derivative.
    Raises: RuntimeError for arguments that do not fit together.
    """
    op = "histogram"
    check_tensor(op, "input", input)
    if isinstance(bins, Tensor) and range is not None:
        raise TypeError(f"{op}(): received an invalid combination of arguments: a range beside edges of bins")
    if not isinstance(bins, Tensor) or bins.dtype == input.dtype:
        _real_float(op, input)
    weight = _weight_of(op, weight, input.shape, input.dtype)
    bins = bins if isinstance(bins, Tensor) else operator.index(bins)
    hist, (edges,) = _histogram_of(op, input.detach().reshape(-1, 1), [bins], range, weight, density)
    return _histogram((hist, edges))


@overridable
def histogramdd(input, bins, range=None, weight=None, density=False):
    """How many points lie in each bin of a grid, and the edges of the bins in each dim; see `histogram`.

    Points are the vectors in the last dim. `bins` has a number of bins, or their edges, for each of its places; one number is for all.
    `range` has both ends for each.

    Dtype: float; the same in all. Has no derivative.
    Raises: RuntimeError for arguments that do not fit together.
    """
    op = "histogramdd"
    check_tensor(op, "input", input)
    if input.dim() < 2:
        raise RuntimeError(f"{op}: input tensor should have at least 2 dimensions, got {input.dim()}")
    _real_float(op, input)
    count = input.shape[-1]
    bins = list(bins) if isinstance(bins, (list, tuple)) else [bins] * count
    bins = [b if isinstance(b, Tensor) else operator.index(b) for b in bins]
    if len(bins) != count:
        raise RuntimeError(f"{op}: The size of bins must be equal to the innermost dimension of the input, {count}, but got {len(bins)}")
    weight = _weight_of(op, weight, input.shape[:-1], input.dtype)
    return _histogramdd(_histogram_of(op, input.detach().reshape(-1, count), bins, range, weight, density))


# Methods, too; as functions these also take `out`.
for _method in (corrcoef, cov, histc, histogram):
    setattr(Tensor, _method.__name__, overridable(_method, binds=True))
histc, histogram = (with_out(first="tensor")(_method) for _method in (histc, histogram))
