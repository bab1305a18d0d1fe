"""Products against numpy: shapes, strides, dtypes, errors, and the same bits for any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferrograd as fg

DTYPES = [np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def array(rng, shape, dtype):
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def assert_close(got, want, dtype, terms):
    assert got.numpy().dtype == dtype
    assert tuple(got.shape) == want.shape
    if np.issubdtype(dtype, np.integer):
        np.testing.assert_array_equal(got.numpy(), want)
    else:
        np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=TOLERANCE[dtype] * max(terms, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (3, 4, 5), (64, 100, 10), (0, 3, 2), (3, 0, 2), (17, 33, 65), (128, 300, 70)])
def test_mm_of_every_dtype(dtype, m, k, n):
    rng = np.random.default_rng(m * 1000 + k * 10 + n)
    a, b = array(rng, (m, k), dtype), array(rng, (k, n), dtype)
    assert_close(fg.from_numpy(a).mm(fg.from_numpy(b)), a @ b, dtype, k)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_mm_of_any_strides(data):
    m, k, n = (data.draw(st.integers(1, 20)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))

    def operand(rows, columns):
        step_r, step_c = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
        if data.draw(st.booleans()):
            whole = rng.standard_normal((columns * step_c, rows * step_r))
            return fg.from_numpy(whole)[::step_c, ::step_r].t(), whole[::step_c, ::step_r].T
        whole = rng.standard_normal((rows * step_r, columns * step_c))
        return fg.from_numpy(whole)[::step_r, ::step_c], whole[::step_r, ::step_c]

    (a, want_a), (b, want_b) = operand(m, k), operand(k, n)
    assert_close(a.mm(b), want_a @ want_b, np.float64, k)


def test_expanded_operands():
    row = fg.tensor([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(row.expand(4, 3).mm(row.t()).numpy(), np.full((4, 1), 14.0, np.float32))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_matmul_broadcasts_batches(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    m, k, n = (data.draw(st.integers(1, 5)) for _ in range(3))
    lead = [data.draw(st.integers(1, 3)) for _ in range(data.draw(st.integers(0, 3)))]

    def some(matrix):
        kept = lead[data.draw(st.integers(0, len(lead))) :]
        return rng.standard_normal([1 if data.draw(st.booleans()) else size for size in kept] + matrix)

    a = rng.standard_normal(k) if data.draw(st.booleans()) else some([m, k])
    b = rng.standard_normal(k) if data.draw(st.booleans()) else some([k, n])
    want = np.asarray(a @ b)
    assert_close(fg.from_numpy(a) @ fg.from_numpy(b), want, np.float64, k)


def test_products_with_an_addend():
    rng = np.random.default_rng(0)
    a, b, x = rng.standard_normal((3, 4)), rng.standard_normal((4, 5)), rng.standard_normal(5)
    got = fg.addmm(fg.from_numpy(x), fg.from_numpy(a), fg.from_numpy(b), beta=0.5, alpha=-2)
    assert_close(got, 0.5 * x - 2 * (a @ b), np.float64, 4)
    nan = fg.full((5,), float("nan"), dtype=fg.float64)
    assert not fg.addmm(nan, fg.from_numpy(a), fg.from_numpy(b), beta=0).isnan().any()
    batch = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 4, 5))
    tensors = [fg.from_numpy(part) for part in batch]
    assert_close(fg.baddbmm(fg.from_numpy(x), *tensors), x + batch[0] @ batch[1], np.float64, 4)
    assert_close(fg.addbmm(fg.from_numpy(x), *tensors), x + (batch[0] @ batch[1]).sum(0), np.float64, 8)
    assert_close(fg.addmv(fg.from_numpy(x[:3]), tensors[0][0], tensors[1][0][:, 0]), x[:3] + batch[0][0] @ batch[1][0][:, 0], np.float64, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_do_not_change_the_bits(dtype):
    rng = np.random.default_rng(1)
    before = fg.get_num_threads()
    try:
        for m, k, n in [(64, 1000, 100), (1000, 64, 100), (300, 301, 302), (1, 5000, 3), (5000, 3, 1)]:
            a, b = fg.from_numpy(array(rng, (m, k), dtype)), fg.from_numpy(array(rng, (k, n), dtype))
            results = []
            for threads in (1, 2, 3):
                fg.set_num_threads(threads)
                results.append(a.mm(b).numpy().tobytes())
            assert len(set(results)) == 1, (m, k, n)
    finally:
        fg.set_num_threads(before)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fg.ones(2, 3).mm(fg.ones(2, 3)), r"mm: mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
        (lambda: fg.ones(3).mm(fg.ones(3, 3)), r"mm: the first operand must be a 2-d tensor, got a tensor of shape \[3\]"),
        (lambda: fg.ones(2, 3).mm(fg.ones(3, 2).double()), "mm: expected both operands to have the same dtype"),
        (lambda: fg.ones(2, 2, 3).bmm(fg.ones(3, 3, 2)), "bmm: batches of shapes"),
        (lambda: fg.ones(3).dot(fg.ones(4)), "dot: inconsistent tensor size"),
        (lambda: fg.ones(()).matmul(fg.ones(3)), "matmul: both operands need to be at least 1D"),
        (
            lambda: fg.ones(2, 2, dtype=fg.bool).mm(fg.ones(2, 2, dtype=fg.bool)),
            r"mm: not implemented for dtype bool \(expected one of float32, .*, complex128\)",
        ),
        (lambda: fg.ones(2, 2, 3).matmul(fg.ones(3, 3, 2)), "matmul"),
        (lambda: fg.nn.functional.linear(fg.ones(3), fg.ones(2, 3, 2)), "linear: expected a weight of at most 2 dimensions"),
        (lambda: fg.addmm(fg.ones(7), fg.ones(2, 3), fg.ones(3, 2)), r"addmm: shapes \[7\] and \[2, 2\]"),
    ],
)
def test_errors_name_the_shapes(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_the_second_operand_by_name():
    x = fg.ones(2, 2)
    assert x.matmul(other=x).tolist() == fg.matmul(input=x, other=x).tolist() == [[2.0, 2.0]] * 2


def test_products_of_batches_are_no_views():
    a, b = fg.ones(2, 3, 4, requires_grad=True), fg.ones(2, 4, 5)
    for y in (a @ b, a @ b[0], a @ b[0, :, 0], a[None] @ b):
        assert not y._is_view() and y.grad_fn.name() == "UnsafeViewBackward0"
        y.sum().backward()
        assert y.detach_().is_leaf
    assert a.grad.sum().item() == 24 * (5 + 5 + 1 + 5)


def test_a_row_times_a_matrix_is_named_as_in_torch():
    v, a = fg.ones(3, requires_grad=True), fg.ones(3, 2)
    for y in (v @ a, fg.nn.functional.linear(v, a.t())):
        assert y.grad_fn.name() == "SqueezeBackward4" and not y._is_view()
    y.sum().backward()
    assert v.grad.tolist() == [2.0] * 3
