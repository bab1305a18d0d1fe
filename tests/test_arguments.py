"""Arguments at the edge of their types: large integers, bools for integers, `out`, numbers with a factor."""

import math

import pytest

import ferrograd

X = ferrograd.tensor([[3.0, 2.0, 1.0], [1.0, 4.0, 0.0]])
I = ferrograd.tensor([1, 2])


def test_integers_beyond_int64_as_data():
    assert ferrograd.tensor([2**63, 1.5]).tolist() == [2.0**63, 1.5]
    assert ferrograd.tensor(-(2**64), dtype=ferrograd.float64).item() == -(2.0**64)
    assert ferrograd.tensor([2**70], dtype=ferrograd.bool).item() is True
    assert X.new_tensor(2**64).item() == 2.0**64
    for data, options in ((2**63, {}), ([1, 2**64], {}), (-(2**63) - 1, {}), (2**63, {"dtype": ferrograd.uint8}), (10**400, {})):
        with pytest.raises(ValueError):
            ferrograd.tensor(data, **options)
    with pytest.raises(ValueError):
        X.clone()[0, 0] = 2**63


def test_integers_beyond_int64_as_operands():
    f = ferrograd.tensor([1.0])
    assert (f * 2**63).item() == 2.0**63 and (2**64 - 1 + f).item() == 2.0**64
    assert (f == 2**63).item() is False and (f < 2**63).item() is True
    # Among integers they wrap, but not in a quotient.
    assert (I + 2**63).tolist() == [1 - 2**63, 2 - 2**63] and (I & 2**63).tolist() == [0, 0]
    assert (I / 2**63)[0].item() == 2.0**-63 and I.div(2**63)[0].item() == 2.0**-63
    assert ferrograd.remainder(2**63, ferrograd.tensor([3.0])).item() == 2.0
    for call in (lambda: f * 2**64, lambda: f == 2**64, lambda: f + (-(2**63) - 1), lambda: 2**64 - f, lambda: f.add(2**64)):
        with pytest.raises(OverflowError):
            call()
    for call in (lambda: I.bool() + 2**63, lambda: I**2**63, lambda: I.clamp(max=2**63), lambda: I.add(I, alpha=2**63)):
        with pytest.raises(RuntimeError):
            call()


def test_integers_beyond_int64_as_values():
    assert ferrograd.full((1,), 2**63, dtype=ferrograd.float32).item() == 2.0**63
    assert X.clone().fill_(2**63)[0, 0].item() == 2.0**63
    for call in (
        lambda: ferrograd.full((1,), 2**63),
        lambda: I.clone().fill_(2**63),
        lambda: I.scatter(0, ferrograd.tensor([0]), 2**63),
        lambda: I.index_fill(0, ferrograd.tensor([0]), 2**63),
        lambda: ferrograd.arange(2**63, 2**63 + 2),
    ):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(OverflowError):
        ferrograd.full((1,), 2**64)


@pytest.mark.parametrize(
    "call",
    [
        lambda: X.argmin(True),
        lambda: ferrograd.argmin(X, True),
        lambda: X.argmin(dim=False),
        lambda: ferrograd.unsqueeze(X, dim=True),
        lambda: X.transpose(0, True),
        lambda: X.topk(True),
        lambda: X.chunk(True),
        lambda: X.narrow(0, False, 1),
        lambda: X.tril(True),
        lambda: ferrograd.tril(X, diagonal=True),
    ],
)
def test_a_bool_is_no_dim(call):
    with pytest.raises(TypeError):
        call()


def test_a_bool_where_one_belongs():
    assert X.var(False).item() == X.var(unbiased=False).item() and X.sum(0, True).shape == (1, 3)


@pytest.mark.filterwarnings("ignore:This overload of")
def test_numbers_times_a_factor():
    assert X.add(2, 3).equal(X + 6) and ferrograd.sub(X, 2, 3).equal(X - 6) and ferrograd.rsub(X, 2, 3).equal(2 - X * 3)
    assert X.add(2, X).equal(X * 3) and X.clone().sub_(2, X).equal(-X)
    with pytest.raises(TypeError):
        X.add(X, 2)


@pytest.mark.parametrize("name", ["relu", "t", "clone", "flatten", "numel", "abs_", "sum", "median", "argsort", "isnan", "trace"])
def test_functions_without_out(name):
    with pytest.raises(TypeError):
        getattr(ferrograd, name)(X.clone(), out=None)


@pytest.mark.parametrize("name", ["exp", "abs", "amax", "std", "nonzero", "t_copy", "where", "all"])
def test_functions_with_out(name):
    getattr(ferrograd, name)(X.bool() if name == "where" else X, out=None)


def test_out_beside_a_dim():
    assert ferrograd.sum(X, 0, out=None).equal(X.sum(0)) and ferrograd.median(X, 0, out=None)[0].equal(X.median(0)[0])


def test_the_dtype_of_out():
    def empty(dtype):
        return ferrograd.empty(0, dtype=dtype)

    assert ferrograd.sum(X, 0, out=empty(ferrograd.int64)).tolist() == [4, 6, 1]
    assert ferrograd.exp(X, out=empty(ferrograd.float64)).dtype == ferrograd.float64
    for call in (
        lambda out: ferrograd.abs(X, out=out),
        lambda out: ferrograd.mm(X, X.t(), out=out),
        lambda out: ferrograd.amax(X, 0, out=out),
        lambda out: ferrograd.sum(X, 0, dtype=ferrograd.float32, out=out),
        lambda out: ferrograd.where(X > 1, X, X, out=out),
        lambda out: ferrograd.linalg.norm(X, out=out),
        lambda out: ferrograd.t_copy(X, out=out),
    ):
        assert call(empty(ferrograd.float32)).dtype == ferrograd.float32
        with pytest.raises(RuntimeError):
            call(empty(ferrograd.float64))
    with pytest.raises(TypeError):
        ferrograd.cat([X, X], out=empty(ferrograd.int64))


def test_out_takes_the_order_in_memory():
    assert ferrograd.exp(X.t(), out=ferrograd.empty(0)).stride() == (1, 3)


def test_order_in_memory():
    assert X.t().sort()[0].stride() == (1, 3) and X.t().argsort().stride() == (1, 3) and X.t().topk(1)[0].stride() == (1, 1)
    assert X.t().flip(0).stride() == (1, 3) and X.rot90().stride() == (1, 3) and X.rot90(0).stride() == (3, 1)
    assert X.nonzero().stride() == (1, 5) and X.diag(1).stride() == (1,)
    assert ferrograd.t_copy(X).stride() == (2, 1) and ferrograd.expand_copy(X[:1], (4, 3)).stride() == (3, 1)
    two = ferrograd.complex(X, X)
    assert ferrograd.view_as_real_copy(two).stride() == (6, 2, 1) and not ferrograd.view_as_real_copy(two)._is_view()
    assert ferrograd.view_as_complex_copy(ferrograd.view_as_real(two)).equal(two)
    assert X.t().sort()[0].tolist() == [[1.0, 3.0], [2.0, 4.0], [0.0, 1.0]]
    assert X.nonzero().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]


def test_names_of_norms():
    assert ferrograd.linalg.norm(input=X).equal(X.norm()) and ferrograd.linalg.vector_norm(x=X).equal(X.norm())
    with pytest.raises(TypeError):
        ferrograd.linalg.matrix_norm(A=X)


def test_limits_of_random_():
    x = ferrograd.zeros(100, dtype=ferrograd.int64)
    assert x.random_(5).max() < 5 and x.random_(2, 5).min() >= 2 and x.random_(to=3).max() < 3 and x.random_(2, None).min() >= 2
    assert x.random_(**{"from": 2, "to": 5}).min() >= 2
    for args, named in (((None,), {}), ((None, 5), {}), ((), {"from": 2}), ((), {"to": None}), ((1,), {"from": 0}), ((1, 2, 3), {})):
        with pytest.raises(TypeError):
            x.random_(*args, **named)


def test_none_for_an_argument():
    assert X.roll(1, None).equal(X.roll(1)) and ferrograd.roll(X, 1, dims=None).equal(X.roll(1))
    assert X.clone(memory_format=None).equal(X)
    for call in (lambda: ferrograd.cat([X, X], None), lambda: ferrograd.stack([X, X], dim=None)):
        with pytest.raises(TypeError):
            call()


def test_names_of_the_model_of_a_new_tensor():
    assert ferrograd.full_like(a=X, fill_value=2).equal(X * 0 + 2) and ferrograd.zeros_like(x=X).equal(X * 0)
    assert ferrograd.ones_like(input=X).shape == ferrograd.rand_like(a=X).shape == X.shape
    with pytest.raises(TypeError):
        ferrograd.zeros_like([1.0])


@pytest.mark.parametrize("name", ["logical_and_", "logical_or_", "logical_xor_"])
def test_truth_in_place_is_not_recorded(name):
    leaf = ferrograd.tensor([0.5, 0.0], requires_grad=True)
    other = ferrograd.ones(2, requires_grad=True)
    plain = ferrograd.zeros(2)
    assert not getattr(plain, name)(other).requires_grad
    getattr(leaf, name)(other)
    assert leaf.requires_grad and leaf.is_leaf and leaf.tolist() == {"x": [0.0, 1.0], "a": [1.0, 0.0], "o": [1.0, 1.0]}[name[8]]
    assert ferrograd.tensor([0.5, 0.0], requires_grad=True).logical_not_().tolist() == [0.0, 1.0]


def test_a_list_that_does_not_fit_in_memory():
    with pytest.raises(MemoryError):
        ferrograd.zeros(1).expand(2**40).tolist()


@pytest.mark.parametrize("name", ["block_diag", "broadcast_tensors", "cartesian_prod"])
def test_tensors_one_by_one(name):
    x = ferrograd.tensor([1.0, 2.0])
    getattr(ferrograd, name)(x, x)
    with pytest.raises(TypeError):
        getattr(ferrograd, name)([x, x])


def test_complex_numbers_are_not_counted():
    with pytest.raises(NotImplementedError):
        ferrograd.tensor([1 + 2j]).bincount()


@pytest.mark.parametrize("name", ["cummax", "cummin", "mode"])
def test_one_complex_number_needs_no_order(name):
    values, indices = getattr(ferrograd.tensor(1 + 2j), name)(-1)
    assert values.item() == 1 + 2j and indices.item() == 0 and indices.dtype == ferrograd.int64
    with pytest.raises(RuntimeError):
        getattr(ferrograd.tensor([1 + 2j]), name)(0)


def test_dtypes_that_do_not_fit():
    for name in ("cumsum_", "cumprod_"):
        assert getattr(X.clone(), name)(0, dtype=X.dtype).dtype == X.dtype
        with pytest.raises(RuntimeError):
            getattr(X.clone(), name)(0, dtype=ferrograd.float64)
    with pytest.raises(TypeError):
        X.type(3)
    with pytest.raises(ValueError):
        X.type(int)


def test_floats_beyond_float32_are_refused_where_a_number_is_converted():
    # An operand is promoted, and data of new tensors become infinite.
    x, mask = ferrograd.ones(2), ferrograd.tensor([True, False])
    assert (x + 1e300).tolist() == [math.inf] * 2 and ferrograd.tensor([1e300]).tolist() == [math.inf]
    assert ferrograd.full((1,), math.inf).item() == math.inf and math.isnan(ferrograd.full((1,), math.nan).item())
    for call in (
        lambda: x.fill_(1e300),
        lambda: x.__setitem__(0, -1e300),
        lambda: x.masked_fill(mask, 1e300),
        lambda: x.clamp(max=1e300),
        lambda: x.add(x, alpha=1e300),
        lambda: ferrograd.full((2,), 1e300),
        lambda: ferrograd.full((2,), 1e300j, dtype=ferrograd.complex64),
        lambda: ferrograd.linspace(0, 1e300, 3),
        lambda: ferrograd.logspace(0, 1e300, 3),
    ):
        with pytest.raises(RuntimeError, match="without overflow"):
            call()
    assert x.tolist() == [1.0, 1.0] and ferrograd.linspace(0, 1e300, 1).tolist() == [0.0]


def test_ends_of_integer_ranges_must_fit():
    for low, high, dtype in ((0, 300, ferrograd.uint8), (-1.5, 10, ferrograd.uint8), (0, 1e10, ferrograd.int32), (0, math.nan, ferrograd.int8)):
        with pytest.raises(RuntimeError, match="without overflow"):
            ferrograd.linspace(low, high, 3, dtype=dtype)
    # Of one step the power is rounded, of several the exponents.
    assert ferrograd.logspace(0.5, 3, 1, dtype=ferrograd.int32).tolist() == [3]
    assert ferrograd.logspace(2.5, 3.7, 3, dtype=ferrograd.int32).tolist() == [100, 316, 1000]


def test_two_numbers_where_torch_wants_a_tensor():
    for name in ("bitwise_and", "bitwise_left_shift", "float_power", "pow", "remainder", "xlogy"):
        with pytest.raises(TypeError):
            getattr(ferrograd, name)(2, 3)
        getattr(ferrograd, name)(2, I)
    assert ferrograd.add(2, 3).item() == 5 and ferrograd.sub(2, 3).item() == -1


@pytest.mark.parametrize("name", ["maximum", "minimum", "fmax", "fmin", "heaviside"])
def test_complex_numbers_have_no_order(name):
    z = ferrograd.ones(2, dtype=ferrograd.complex64)
    with pytest.raises(RuntimeError) as info:
        getattr(ferrograd, name)(z, z)
    assert type(info.value) is RuntimeError


def test_complex_numbers_have_no_extremes():
    z = ferrograd.ones(2, dtype=ferrograd.complex64)
    for call in (lambda: z.max(0), lambda: z.min(0), lambda: z.argmax(), lambda: z.argmin(0), lambda: z.aminmax(dim=0), lambda: z.random_(3)):
        with pytest.raises(RuntimeError) as info:
            call()
        assert type(info.value) is RuntimeError
    with pytest.raises(RuntimeError, match="non-complex"):
        ferrograd.normal(ferrograd.ones(2), z)


def test_dtypes_that_ops_refuse():
    mask = ferrograd.tensor([True, False])
    calls = (
        lambda: ferrograd.searchsorted(mask, mask),
        lambda: ferrograd.bucketize(mask, mask),
        lambda: ferrograd.ones(2, 2, dtype=ferrograd.bool).trace(),
        lambda: ferrograd.round(I, decimals=0),
        lambda: ferrograd.tril_indices(2, 2, dtype=ferrograd.float32),
        lambda: ferrograd.triu_indices(0, 2, dtype=ferrograd.uint8),
    )
    for call in calls:
        with pytest.raises(NotImplementedError):
            call()
    for name in ("trapezoid", "cumulative_trapezoid"):
        for y, x in ((mask, None), (ferrograd.ones(2), mask)):
            with pytest.raises(RuntimeError, match="bool"):
                getattr(ferrograd, name)(y, x)
    with pytest.raises(TypeError, match="integer"):
        ferrograd.unravel_index(ferrograd.ones(2, dtype=ferrograd.complex64), (2, 3))
    with pytest.raises(RuntimeError, match="Boolean"):
        ferrograd.addr(ferrograd.ones(2, 2), ferrograd.ones(2), ferrograd.ones(2), beta=True)


def test_errors_of_dtypes_name_dtypes():
    with pytest.raises(NotImplementedError, match=r"expected one of float32, float64, int64, .*uint8.*\)") as info:
        ferrograd.ones(2, 2, dtype=ferrograd.bool).mm(ferrograd.ones(2, 2, dtype=ferrograd.bool))
    assert "::" not in str(info.value) and "$" not in str(info.value)


def test_parts_of_complex_numbers_are_written_to_out():
    a, b = ferrograd.tensor([3.0, 0.0]), ferrograd.tensor([0.0, 1.0])
    out = ferrograd.empty(2, dtype=ferrograd.complex64)
    assert ferrograd.complex(a, b, out=out) is out and out.tolist() == [3, 1j]
    assert ferrograd.polar(a, b, out=out) is out and out.tolist() == [3, 0]
    with pytest.raises(RuntimeError):
        ferrograd.complex(a, b, out=ferrograd.empty(2, dtype=ferrograd.complex128))


def test_dtypes_of_sums_to_a_size_and_of_coordinates():
    assert ferrograd.tensor(3, dtype=ferrograd.int32).sum_to_size(()).dtype == ferrograd.int64
    assert ferrograd.ones(3, dtype=ferrograd.int32).sum_to_size(3).dtype == ferrograd.int32
    rows, columns = ferrograd.unravel_index(ferrograd.tensor([[5, 0, 7]], dtype=ferrograd.int8), (2, 4))
    assert rows.dtype == ferrograd.int64 and (rows.tolist(), columns.tolist()) == ([[1, 0, 1]], [[1, 0, 3]])
    assert rows.stride() == (6, 2)


def test_one_value_for_a_mask_may_have_dims():
    x = ferrograd.zeros(3)
    y = ferrograd.index_put(x, (ferrograd.tensor([True, False, True]),), ferrograd.ones(1, 1))
    assert y.tolist() == [1.0, 0.0, 1.0]


def test_clamp_takes_two_tensors_or_two_numbers():
    x = ferrograd.tensor([1.0, 2.0, 3.0])
    for bounds in ((x, 2), (1, x), (x, 2.0)):
        for call in (x.clamp, x.clone().clamp_, x.clip):
            with pytest.raises(TypeError):
                call(*bounds)
    # A tensor without dims counts as a number.
    assert x.clamp(ferrograd.tensor(1.5), 2).tolist() == [1.5, 2.0, 2.0] and x.clamp(None, x).equal(x)


def test_places_out_of_range_have_torchs_classes():
    x = ferrograd.ones(2, 3, 2)
    for dim, error in ((0, IndexError), (1, RuntimeError), (2, IndexError)):
        with pytest.raises(error) as info:
            x.index_select(dim, ferrograd.tensor([7]))
        assert info.type is error
    for name in ("unique", "unique_consecutive"):
        with pytest.raises(IndexError):
            getattr(ferrograd.tensor(1.0), name)(dim=0)


@pytest.mark.parametrize("name", ["clamp", "clamp_min", "clamp_max", "clip"])
def test_out_of_clamp_with_numbers_has_the_dtype_of_the_result(name):
    x, out = ferrograd.tensor([1.0, 2.0, 3.0]), ferrograd.empty(3, dtype=ferrograd.float64)
    with pytest.raises(RuntimeError, match="dtype"):
        getattr(ferrograd, name)(x, 2, out=out)
    assert getattr(ferrograd, name)(x, x, out=out).tolist() == [1.0, 2.0, 3.0]


def test_sources_of_index_add_and_index_reduce():
    number, one, place = ferrograd.tensor(1.0), ferrograd.tensor([1.0]), ferrograd.tensor([0])
    for x, source in ((number, one), (one, number)):
        for call in (lambda: x.index_add(0, place, source), lambda: x.index_reduce(0, place, source, "amax")):
            with pytest.raises(RuntimeError, match="shape"):
                call()
    assert number.index_add(0, place, number).item() == 2.0
    mask = ferrograd.tensor([True, False])
    for call in (
        lambda: mask.index_reduce(0, place, mask[:1], "amax"),
        lambda: mask.scatter_reduce(0, ferrograd.tensor([0, 1]), mask, "mean"),
    ):
        with pytest.raises(NotImplementedError):
            call()
    assert mask.scatter_reduce(0, ferrograd.tensor([1, 1]), mask, "amax").tolist() == [True, True]


@pytest.mark.parametrize("name", ["max", "min", "median", "nanmedian", "prod"])
def test_keepdim_may_not_be_none(name):
    with pytest.raises(TypeError):
        getattr(X, name)(0, keepdim=None)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ferrograd.cat([X, X], True),
        lambda: ferrograd.cat([X, X], dim=True),
        lambda: ferrograd.stack([X, X], dim=True),
        lambda: ferrograd.softmax(X, True),
        lambda: ferrograd.eye(True),
        lambda: ferrograd.eye(2, True),
        lambda: ferrograd.randperm(True),
        lambda: ferrograd.randint(True, (2,)),
        lambda: ferrograd.randint(0, True, (2,)),
        lambda: ferrograd.randint(3, (True,)),
        lambda: ferrograd.zeros(True, 2),
        lambda: ferrograd.zeros([True]),
        lambda: X.sum((True, 0)),
    ],
)
def test_a_bool_is_no_size(call):
    with pytest.raises(TypeError):
        call()


def test_bools_after_the_first_size_count():
    assert ferrograd.zeros(2, True).shape == ferrograd.zeros([2, True]).shape == ferrograd.randint(3, (2, True)).shape == (2, 1)
    assert X.sum((0, True)).equal(X.sum()) and X.permute(0, True).equal(X) and X.reshape(X.numel(), True).shape[1] == 1


def test_weights_of_lerp_are_in_range():
    for call in (lambda: X.lerp(X, 1e300), lambda: ferrograd.lerp(X, X, 1e300), lambda: X.clone().lerp_(X, 1e300)):
        with pytest.raises(RuntimeError, match="without overflow"):
            call()
    assert X.double().lerp(X.double(), 1e300).isfinite().all()
