"""Reductions, running results, ranks: values against numpy over shapes and dtypes, ties, NaN, empties, errors, threads."""

import itertools

import numpy as np
import pytest

import ferrograd

DTYPES = [np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]
SHAPES = [(), (1,), (7,), (3, 4), (2, 3, 5), (40, 9), (9, 300), (70000,), (300, 301)]


def sample(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 7, size=shape) if np.dtype(dtype).kind != "f" else rng.standard_normal(shape)
    return np.asarray(values).astype(dtype)


def views(shape, dtype):
    """The same shape, contiguous, transposed and with gaps."""
    x = sample(shape, dtype)
    yield x
    if x.ndim > 1:
        yield sample(shape[::-1], dtype).T
        yield sample((*shape[:-1], 2 * shape[-1]), dtype)[..., ::2]


def dims_of(rank):
    choices = [dims for k in range(1, rank + 1) for dims in itertools.combinations(range(rank), k)]
    return [None, *choices]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_and_extremes_equal_numpy(shape, dtype):
    for x in views(shape, dtype):
        t = ferrograd.from_numpy(x)
        for dims in dims_of(x.ndim):
            for keepdim in (False, True):
                want = np.sum(x, axis=dims, keepdims=keepdim, dtype=x.dtype if x.dtype.kind == "f" else np.int64)
                got = t.sum(dims, keepdim).numpy()
                assert got.dtype == want.dtype and got.shape == want.shape
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4 if dtype == np.float32 else 1e-9)
                for op, f in (("amax", np.amax), ("amin", np.amin)):
                    np.testing.assert_array_equal(getattr(t, op)(dims or (), keepdim).numpy(), f(x, axis=dims, keepdims=keepdim))
                for op, f in (("all", np.all), ("any", np.any)):
                    got = getattr(t, op)(dims, keepdim)
                    assert got.dtype == (ferrograd.uint8 if dtype == np.uint8 else ferrograd.bool)
                    np.testing.assert_array_equal(got.numpy().astype(bool), f(x, axis=dims, keepdims=keepdim))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s])
def test_places_are_the_first(shape, dtype):
    for x in views(shape, dtype):
        t = ferrograd.from_numpy(x)
        assert t.argmax().item() == x.argmax() and t.argmin().item() == x.argmin()
        for dim in range(x.ndim):
            np.testing.assert_array_equal(t.argmax(dim).numpy(), x.argmax(dim))
            values, indices = t.min(dim)
            np.testing.assert_array_equal(values.numpy(), x.min(dim))
            np.testing.assert_array_equal(indices.numpy(), x.argmin(dim))


@pytest.mark.parametrize("dtype,tolerance", [(np.float32, 1e-5), (np.float64, 1e-11)])
@pytest.mark.parametrize("shape", [s for s in SHAPES if np.prod(s) > 1])
def test_variance_equals_numpy(shape, dtype, tolerance):
    for x in views(shape, dtype):
        x = x + 1000
        t = ferrograd.from_numpy(x)
        for dims in dims_of(x.ndim):
            for correction in (0, 1, 0.5):
                n = x.size if dims is None else np.prod([x.shape[d] for d in dims])
                if n <= correction:
                    continue
                want = np.var(x.astype(np.float64), axis=dims) * n / (n - correction)
                variance, mean = t.var_mean(dims, correction=correction)
                np.testing.assert_allclose(variance.numpy(), want, rtol=tolerance)
                np.testing.assert_allclose(mean.numpy(), np.mean(x.astype(np.float64), axis=dims), rtol=tolerance)
                np.testing.assert_allclose(t.std(dims, correction=correction).numpy(), np.sqrt(want), rtol=tolerance)


def test_bits_do_not_depend_on_the_number_of_threads():
    before = ferrograd.get_num_threads()
    x = ferrograd.from_numpy(sample((700, 613), np.float32))
    calls = [lambda x, d=d, op=op: getattr(x, op)(d) for op in ("sum", "mean", "var", "norm_", "softmax_") for d in (0, 1, (0, 1)) if not op.endswith("_")]
    calls += [lambda x: x.norm(), lambda x: x.softmax(1), lambda x: x.softmax(0), lambda x: x.cumsum(0), lambda x: x.cumsum(1), lambda x: x.view(-1).sum(0)]
    try:
        results = []
        for threads in (1, 2, 5):
            ferrograd.set_num_threads(threads)
            results.append([call(x).numpy().tobytes() for call in calls])
    finally:
        ferrograd.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_gradients_of_ties():
    x = ferrograd.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0]], requires_grad=True)

    def grad(y):
        return ferrograd.autograd.grad(y.sum(), x)[0].tolist()

    assert grad(x.max()) == [[0, 0.5, 0.5], [0, 0, 0]]
    assert grad(x.amax(1)) == [[0, 0.5, 0.5], [0.5, 0.5, 0]]
    assert grad(x.max(1).values) == [[0, 1, 0], [1, 0, 0]]
    assert grad(x.norm(float("inf"), 1)) == [[0, 0.5, 0.5], [0.5, 0.5, 0]]
    assert grad(x.cummax(1).values) == [[1, 1, 1], [1, 2, 0]]
    assert grad(x.median(1).values) == [[0, 1, 0], [1, 0, 0]]


def test_gradients_at_zero():
    x = ferrograd.tensor([0.0, 0.0, 2.0], requires_grad=True)
    assert ferrograd.autograd.grad((x * 0).norm(), x)[0].tolist() == [0, 0, 0]
    assert ferrograd.autograd.grad(x[:2].std(), x)[0].tolist() == [0, 0, 0]
    assert ferrograd.autograd.grad(x.prod(), x)[0].tolist() == [0, 0, 0]
    assert ferrograd.autograd.grad(x[1:].prod(), x)[0].tolist() == [0, 2, 0]
    assert ferrograd.autograd.grad(x.cumprod(0).sum(), x)[0].tolist() == [1, 0, 0]


def test_nan_wins():
    x = np.array([[1.0, np.nan, 3.0, np.nan], [4.0, 5.0, 6.0, 7.0]])
    t = ferrograd.from_numpy(x)
    assert np.isnan(t.max().item()) and np.isnan(t.amin().item()) and t.argmin().item() == 1
    values, indices = t.max(1)
    np.testing.assert_array_equal(values.numpy(), [np.nan, 7.0])
    assert indices.tolist() == [1, 3]
    assert t.median(1).indices.tolist() == [1, 1] and t.nanmedian(1).values.tolist() == [1, 5]
    assert t.sort(1).indices.tolist() == [[0, 2, 1, 3], [0, 1, 2, 3]]
    assert t.sort(1, True).indices.tolist() == [[1, 3, 2, 0], [3, 2, 1, 0]]
    assert t.topk(2).indices.tolist()[0] == [1, 3]
    assert t.nansum(1).tolist() == [4, 22] and t.nanmean(1).tolist() == [2, 5.5]
    assert t.cummax(1).indices.tolist() == [[0, 1, 1, 3], [0, 1, 2, 3]]


def test_nothing_to_reduce():
    e = ferrograd.from_numpy(np.zeros((2, 0)))
    assert e.sum().item() == 0 and e.prod().item() == 1 and np.isnan(e.mean().item())
    assert e.sum(1).tolist() == [0, 0] and tuple(e.sum(0).shape) == (0,)
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert np.isnan(e.var().item())
    assert e.logsumexp(1).tolist() == [-np.inf, -np.inf]
    assert tuple(e.amax(0).shape) == (0,) and e.norm().item() == 0
    for call in (e.max, e.amax, e.aminmax, lambda: e.norm(float("inf"))):
        with pytest.raises(RuntimeError):
            call()
    for call in (lambda: e.max(1), lambda: e.amax(1), e.argmax, lambda: e.argmin(1), lambda: e.median(1), e.mode):
        with pytest.raises(IndexError):
            call()


def test_errors_are_those_of_torch():
    x, i = ferrograd.from_numpy(np.zeros((2, 3))), ferrograd.from_numpy(np.zeros((2, 3), np.int64))
    for call in (lambda: x.sum(2), lambda: x.max(-3), lambda: x.softmax(2), lambda: x.cumsum(5), lambda: x.sort(2)):
        with pytest.raises(IndexError):
            call()
    for call in (i.mean, i.var, i.norm, lambda: x.sum((0, 0)), lambda: x.topk(4), lambda: x.kthvalue(0), lambda: x.quantile(2.0)):
        with pytest.raises(RuntimeError):
            call()
    for call in (lambda: i.softmax(0), lambda: i.logcumsumexp(0), lambda: i.bool().median()):
        with pytest.raises(NotImplementedError):
            call()
    for call in (lambda: x.var(0, True, correction=1), lambda: x.max(keepdim=True), lambda: x.sum("a"), lambda: x.argmax((0, 1))):
        with pytest.raises(TypeError):
            call()


def test_results_have_names():
    x = ferrograd.tensor([[1.0, 2.0], [4.0, 3.0]])
    result = x.max(1)
    assert result.values is result[0] and result.indices is result[1] and len(result) == 2
    assert repr(result) == "torch.return_types.max(\nvalues=tensor([2., 4.]),\nindices=tensor([1, 0]))"
    low, high = x.aminmax()
    assert (low.item(), high.item()) == (1, 4) and x.aminmax(dim=0).max.tolist() == [4, 3]
    assert type(result)(result) == result and type(result).__name__ == "max"


@pytest.mark.parametrize("n", [5, 40, 1000])
def test_ranks_agree_with_sorting(n):
    x = sample((3, n), np.float32, seed=n)
    x[1] = np.round(x[1])
    t = ferrograd.from_numpy(x)
    ranked = np.sort(x, 1)
    values, indices = t.sort(stable=True)
    np.testing.assert_array_equal(values.numpy(), ranked)
    np.testing.assert_array_equal(t.sort().values.numpy(), ranked)
    np.testing.assert_array_equal(indices.numpy(), np.argsort(x, 1, kind="stable"))
    for k in (1, n // 2, n):
        value, place = t.kthvalue(k)
        np.testing.assert_array_equal(value.numpy(), ranked[:, k - 1])
        np.testing.assert_array_equal(np.take_along_axis(x, place.numpy()[:, None], 1)[:, 0], value.numpy())
        top, places = t.topk(k)
        np.testing.assert_array_equal(top.numpy(), ranked[:, ::-1][:, :k])
        np.testing.assert_array_equal(np.take_along_axis(x, places.numpy(), 1), top.numpy())
        assert all(len(set(row)) == k for row in places.tolist())


def test_numpys_names_of_arguments():
    x = ferrograd.arange(6.0).view(2, 3)
    for call in (
        lambda: x.sum(axis=0, keepdims=True),
        lambda: ferrograd.sum(x, axis=0, keepdims=True),
        lambda: ferrograd.Tensor.sum(x, axis=(0,), keepdims=True),
    ):
        assert call().tolist() == [[3, 5, 7]]
    assert x.max(axis=1).indices.tolist() == [2, 2] and x.max(0, keepdims=True).values.shape == (1, 3)
    assert x.unsqueeze(axis=0).shape == (1, 2, 3) and len(x.unbind(axis=1)) == 3 and x.softmax(axis=0).shape == (2, 3)
    assert x.cumsum(axis=1).tolist() == [[0, 1, 3], [3, 7, 12]] and x.argmax(axis=0, keepdims=True).tolist() == [[1, 1, 1]]
    assert ferrograd.stack([x, x], axis=1).shape == (2, 2, 3)
    for call in (
        lambda: x.sum(dim=0, axis=0),
        lambda: x.sum(0, axis=0),
        lambda: x.norm(axis=0),
        lambda: x.split(1, axis=0),
        lambda: x.flip(axis=0),
        lambda: x.sum(axes=0),
        lambda: x.exp(axis=0),
    ):
        with pytest.raises(TypeError):
            call()


def test_methods_that_know_numpys_names_are_methods():
    import inspect

    x = ferrograd.ones(2, 3)
    bound = x.sum
    assert bound(axis=0).tolist() == [2, 2, 2] and bound.__name__ == "sum" and "Sum over" in ferrograd.Tensor.sum.__doc__
    assert "method 'sum'" in repr(ferrograd.Tensor.sum) and list(inspect.signature(ferrograd.Tensor.sum).parameters)[1] == "dim"
    assert inspect.isroutine(ferrograd.Tensor.sum)

    class Mine(ferrograd.Tensor):
        def sum(self, **options):
            return super().sum(axis=1, **options)

    mine = x.as_subclass(Mine)
    assert mine.sum(keepdims=True).shape == (2, 1)
    with pytest.raises(TypeError):
        ferrograd.Tensor.sum(axis=0)
    with pytest.raises(TypeError):
        ferrograd.Tensor.sum(3, axis=0)


def test_keepdim_alone_needs_a_dim_where_torch_does():
    x = ferrograd.ones(2, 3)
    for call in (lambda: x.sum(keepdim=True), lambda: x.mean(keepdim=False), lambda: ferrograd.sum(x, keepdims=True)):
        with pytest.raises(TypeError):
            call()
    for y in (x.sum(None, True), x.mean(dim=None, keepdim=True), x.std(keepdim=True), x.sum((), True)):
        assert y.shape == (1, 1)


def test_running_sums_have_no_bools():
    x = ferrograd.tensor([True, False])
    for call in (
        lambda: x.cumsum(0, dtype=ferrograd.bool),
        lambda: x.cumprod(0, dtype=ferrograd.bool),
        lambda: x.cumsum_(0),
        lambda: ferrograd.ones(2).cumsum(0, dtype=ferrograd.bool),
    ):
        with pytest.raises(NotImplementedError):
            call()
    assert x.cumsum(0).tolist() == [1, 1] and ferrograd.tensor([1, 2]).cumsum_(0).tolist() == [1, 3]


def test_out_of_named_results():
    x = ferrograd.arange(6.0).view(2, 3)
    values, indices = ferrograd.empty(0), ferrograd.empty(0, dtype=ferrograd.int64)
    for out in ((values, indices), [values, indices], ferrograd.max(x, 0)):
        result = ferrograd.max(x, 0, out=out)
        assert result.values is out[0] and result[1] is out[1] and out[0].tolist() == [3, 4, 5] and out[0]._version >= 1
    for wrong in ((values, values), (values.double(), indices), (values, indices.int()), (values,), values):
        with pytest.raises((RuntimeError, TypeError)):
            ferrograd.sort(x, out=wrong)


def test_amax_over_none_is_over_all():
    x = ferrograd.arange(6.0).view(2, 3)
    assert x.amax(None).item() == 5 and x.amin(dim=None, keepdim=True).tolist() == [[0]]
    with pytest.raises(TypeError):
        x.dist(2)


@pytest.mark.parametrize("values", [[0, 0, 0, 0, 0], [1, 1, 2, 2, 0], [-3, 4, 4, -3, 4], [2, 2, 1, 1, 1, 0, 0, 3], [5.0, 1, 5, 1, 5] * 9])
def test_the_index_of_a_median_is_that_of_a_stable_sort(values):
    x, middle = ferrograd.tensor(values), (len(values) - 1) // 2
    place = sorted(range(len(values)), key=values.__getitem__)[middle]
    assert x.median(0).indices.item() == x.nanmedian(0).indices.item() == place


def test_equal_elements_come_in_the_order_of_an_introspective_sort():
    """The order of torch, whose lines of more than 16 are stable on request only, or if of many integers."""
    x = ferrograd.arange(20) * 7 % 3
    up = [18, 3, 15, 6, 12, 9, 0, 10, 19, 16, 13, 7, 4, 1, 11, 8, 14, 5, 17, 2]
    down = [2, 17, 5, 14, 8, 11, 10, 19, 16, 13, 7, 4, 1, 0, 9, 12, 6, 15, 3, 18]
    stable = [0, 3, 6, 9, 12, 15, 18, 1, 4, 7, 10, 13, 16, 19, 2, 5, 8, 11, 14, 17]
    assert x.sort()[1].tolist() == x.argsort(stable=False).tolist() == up
    assert x.double().sort(descending=True)[1].tolist() == down
    assert ferrograd.stack([x, x], 1).argsort(0)[:, 1].tolist() == up
    assert x.argsort(stable=True).tolist() == x.sort(stable=True)[1].tolist() == stable
    assert x[:16].argsort().tolist() == x[:16].argsort(stable=True).tolist()
    many = ferrograd.arange(1 << 15) % 7
    for line, is_stable in ((many, True), (many[1:], False), (many.view(1, -1), False), (many.float(), False)):
        assert ferrograd.equal(line.argsort(), line.argsort(stable=True)) == is_stable
    assert not ferrograd.equal(many.argsort(descending=True), many.argsort(descending=True, stable=True))
    z = x.double().requires_grad_()
    z.sort()[0][0].backward()
    assert z.grad.nonzero().tolist() == [[18]]


def test_the_median_of_nothing_but_nan():
    places = [ferrograd.full((n,), float("nan")).nanmedian(0).indices.item() for n in (1, 2, 3, 4, 5, 6, 10, 100, 1000)]
    assert places == [0, 0, 0, 2, 2, 3, 8, 67, 666]


def test_products_with_numbers_keep_no_tensor():
    x = ferrograd.ones(4, requires_grad=True)
    for y in (ferrograd.trapezoid(x, dx=3.0), ferrograd.cumulative_trapezoid(x, dx=3.0)):
        # So they are differentiated as often as one likes.
        y.sum().backward()
        y.sum().backward()
    assert ferrograd.trapezoid(x, dx=3.0).grad_fn.name() == "MulBackward1"


def test_the_trapezoidal_rule_at_even_distances_halves_the_ends():
    inf = float("inf")
    assert np.isnan(ferrograd.trapezoid(ferrograd.tensor([inf, 1.0, 2.0])).item())
    assert ferrograd.trapezoid(ferrograd.tensor([1.0, inf, 2.0])).item() == inf
    # The sum of the ends wraps, that of all does not.
    assert ferrograd.trapezoid(ferrograd.tensor([100, 100, 100], dtype=ferrograd.int8)).item() == 300 + 28
    y = ferrograd.trapezoid(ferrograd.ones(0, dtype=ferrograd.int32))
    assert y.dtype == ferrograd.int32 and y.item() == 0


@pytest.mark.parametrize("name", ["std", "var", "std_mean", "var_mean"])
def test_no_degrees_of_freedom_are_warned_of(name):
    f = getattr(ferrograd, name)
    ones = ferrograd.ones
    for call in (
        lambda: f(ones(1)),
        lambda: f(ones(2, 1), 1),
        lambda: f(ones(0), correction=0),
        lambda: f(ones(3), correction=5),
        lambda: f(ones(0, 1), dim=1),
        lambda: f(ones(2, 2), dim=(0, 1), correction=4),
    ):
        with pytest.warns(UserWarning, match=rf"^{name}\(\): degrees of freedom is <= 0"):
            call()
    f(ones(1), unbiased=False)
    f(ones(2, 2), dim=0)


@pytest.mark.parametrize("name", ["std", "var"])
def test_both_results_are_of_one_node(name):
    x = ferrograd.rand(3, 4, dtype=ferrograd.float64, requires_grad=True)
    for options in ({}, {"dim": 0}, {"correction": 0, "dim": (0, 1), "keepdim": True}):
        both, alone = getattr(ferrograd, name + "_mean"), getattr(ferrograd, name)
        y, mean = both(x, **options)
        node = y.grad_fn
        assert node is mean.grad_fn and (y.output_nr, mean.output_nr) == (0, 1)
        assert node.name() == f"{name.capitalize()}MeanBackward0" and len(node.next_functions) == 1
        node.register_prehook(lambda grads: tuple(None if g is None else g * 2 for g in grads))
        parts = (alone(x, **options).sum(), x.mean(options.get("dim")).sum())
        for got, want in ((y.sum() + mean.sum(), sum(parts)), (y.sum(), parts[0]), (mean.sum(), parts[1])):
            got, want = (ferrograd.autograd.grad(z, x, retain_graph=True)[0] for z in (got, want * 2))
            assert ferrograd.allclose(got, want)
    assert ferrograd.autograd.gradgradcheck(lambda x: both(x, 1), x)


def test_softmax_of_no_elements_takes_any_dtype():
    for dtype in (ferrograd.int64, ferrograd.bool):
        for f in (ferrograd.softmax, ferrograd.log_softmax):
            y = f(ferrograd.empty(2, 0, dtype=dtype), 1)
            assert y.shape == (2, 0) and y.dtype == dtype
            with pytest.raises(NotImplementedError):
                f(ferrograd.ones(2, dtype=dtype), 0)


def test_renorm_leaves_rows_that_are_not_numbers():
    x = ferrograd.tensor([[3.0, 4.0], [float("nan"), 2.0]])
    y = x.renorm(2, 0, 1.0)
    np.testing.assert_allclose(y.numpy(), [[0.6, 0.8], [np.nan, 2.0]], rtol=1e-6)


def test_gradients_where_nothing_is_finite():
    # Nothing equals an extreme that is no number.
    for dim in (None, 0):
        x = ferrograd.tensor([float("nan"), 1.0], requires_grad=True)
        sum(ferrograd.aminmax(x, dim=dim)).backward()
        assert x.grad.isnan().all()
    # One number is its own sum.
    x = ferrograd.tensor(-float("inf"), requires_grad=True)
    x.logcumsumexp(0).backward()
    assert x.grad.item() == 1
