"""Singular values, and the norms of matrices made of them. Derivatives are also in op_cases."""

import numpy as np
import pytest

import ferrograd
from ferrograd.linalg import LinAlgError, matrix_norm, norm, svdvals


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 5), (30, 30), (2, 3, 4, 3), (0, 3, 2), (3, 0), (2, 0, 2)])
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_singular_values_are_numpys(shape, dtype, tolerance):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    s = svdvals(ferrograd.from_numpy(x))
    want = np.linalg.svd(x, compute_uv=False)
    assert s.numpy().dtype == dtype and s.numpy().shape == want.shape
    np.testing.assert_allclose(s.numpy(), want, rtol=tolerance, atol=tolerance)


def test_singular_values_of_any_strides_and_many_matrices():
    x = np.random.default_rng(1).standard_normal((200, 4, 3))
    t = ferrograd.from_numpy(x)
    for view, array in ((t.mT, x.swapaxes(1, 2)), (t.permute(1, 0, 2), x.transpose(1, 0, 2)), (t[::2, 1:], x[::2, 1:])):
        np.testing.assert_allclose(svdvals(view).numpy(), np.linalg.svd(array, compute_uv=False), rtol=1e-12)


@pytest.mark.parametrize("order", ["nuc", 2, -2])
@pytest.mark.parametrize("dims", [(0, 1), (1, 0), (2, 0), (-2, -1)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_norms_over_any_two_dims(order, dims, keepdim):
    x = np.random.default_rng(2).standard_normal((3, 4, 5))
    y = matrix_norm(ferrograd.from_numpy(x), order, dims, keepdim)
    np.testing.assert_allclose(y.numpy(), np.linalg.norm(x, order, dims, keepdim), rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3), (3, 2)])
def test_subgradients_at_zero_are_torchs(shape):
    x = ferrograd.zeros(shape, requires_grad=True)
    for order, scale in (("nuc", 1), (2, 1 / min(shape)), (-2, 1 / min(shape))):
        (g,) = ferrograd.autograd.grad(matrix_norm(x, order), x)
        np.testing.assert_allclose(g.numpy(), np.eye(*shape) * scale, rtol=1e-6)


def test_the_history_is_torchs():
    x = ferrograd.randn(3, 2, requires_grad=True)
    y = x.norm("nuc")
    assert y.grad_fn.name() == "SumBackward1" and y.grad_fn.next_functions[0][0].name() == "LinalgSvdBackward0"
    assert matrix_norm(x, 2).grad_fn.name() == "AmaxBackward0"
    # The values are saved, not the matrix: it may change.
    z = x * 1
    y = svdvals(z).sum()
    z.zero_()
    y.backward()
    assert x.grad.abs().sum() > 1


def test_equal_values_have_a_gradient_but_no_second():
    x = ferrograd.eye(2, dtype=ferrograd.float64).requires_grad_()
    (g,) = ferrograd.autograd.grad(svdvals(x).sum(), x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), np.eye(2))
    (h,) = ferrograd.autograd.grad(g[0, 1], x)
    assert not np.isfinite(h.numpy()).all()


def test_no_elements():
    for shape in ((0, 3), (3, 0), (0, 0)):
        x = ferrograd.zeros(shape)
        assert x.norm("nuc").item() == 0 and matrix_norm(x, 2).item() == 0
        assert norm(x, 2, (0, 1), True).shape == (1, 1)
        with pytest.raises(IndexError):
            matrix_norm(x, -2)
    assert matrix_norm(ferrograd.zeros(0, 3, 3), -2).shape == (0,)


def test_values_that_are_not_finite():
    x = ferrograd.ones(2, 2, 2)
    x[1, 0, 0] = float("inf")
    s = svdvals(x)
    assert s[0].isfinite().all() and s[1].isnan().all()
    x[1, 0, 0] = float("nan")
    with pytest.raises(LinAlgError, match="element 1"):
        svdvals(x)
    assert issubclass(LinAlgError, RuntimeError)


def test_what_is_refused():
    x = ferrograd.randn(2, 3, 4)
    calls = [
        lambda: x.norm("nuc"),
        lambda: x[0, 0].norm("nuc"),
        lambda: x[0].norm("nuc", dim=0),
        lambda: x.norm("nuc", dim=(0, 0)),
        lambda: x[0].long().norm("nuc"),
        lambda: matrix_norm(x, 3),
        lambda: matrix_norm(x, "no"),
        lambda: matrix_norm(x.double(), 2, dtype=ferrograd.float32),
        lambda: matrix_norm(x, 2, dtype=ferrograd.int64),
        lambda: matrix_norm(x[0, 0], 2),
        lambda: svdvals(x[0, 0]),
        lambda: svdvals(x.long()),
        lambda: svdvals(x, driver="gesvd"),
        lambda: norm(x, 2),
    ]
    for call in calls:
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(IndexError):
        matrix_norm(x, 2, (0, 3))
    assert x.norm("nuc", (0, 2), dtype=ferrograd.float64).dtype == ferrograd.float64


def test_a_matrix_of_one_number_is_its_determinant():
    x = ferrograd.tensor([[[0.0]], [[2.0]]], dtype=ferrograd.float64, requires_grad=True)
    for create_graph in (False, True):
        (grad,) = ferrograd.autograd.grad((x.det() * ferrograd.tensor([3.0, 4.0])).sum(), x, create_graph=create_graph)
        assert grad.tolist() == [[[3.0]], [[4.0]]]


@pytest.mark.parametrize("name", ["eig", "lstsq", "matrix_rank", "solve", "symeig"])
def test_removed_functions_say_what_took_their_place(name):
    x = ferrograd.eye(2)
    operands = (x, x)[: 2 if name in ("lstsq", "solve") else 1]
    for call in [getattr(ferrograd, name)] + ([] if name == "matrix_rank" else [getattr(ferrograd.Tensor, name)]):
        with pytest.raises(RuntimeError, match="^This function was deprecated since version 1.9 and is now removed. Use linalg"):
            call(*operands)
        with pytest.raises(TypeError, match=rf"^{name}\(\)"):
            call(*operands, other=1)
    assert hasattr(x, name) == (name != "matrix_rank")
