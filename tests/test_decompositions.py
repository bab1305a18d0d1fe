"""Decompositions of matrices: what their cases in op_cases do not say."""

import numpy as np
import pytest

import ferrograd
from ferrograd import linalg


def random(*shape, dtype=np.float64, seed=0):
    """A tensor of random numbers, complex if the dtype is, and the array."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.standard_normal(shape)
    x = x.astype(dtype)
    return ferrograd.from_numpy(x), x


@pytest.mark.parametrize("call", [lambda x: x.geqrf()[0], lambda x: linalg.ldl_factor(x).LD, lambda x: linalg.ldl_factor_ex(x).LD])
def test_derivatives_that_do_not_exist(call):
    x, _ = random(3, 3)
    with pytest.raises(NotImplementedError, match="not implemented"):
        call(x.requires_grad_()).sum().backward()


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("n", [1, 3, 40, 100])
def test_large_matrices_in_blocks(dtype, n):
    a, x = random(n, n, dtype=dtype)
    b, y = random(n, 7, dtype=dtype, seed=1)
    np.testing.assert_allclose(linalg.solve(a, b).numpy(), np.linalg.solve(x, y), rtol=1e-8, atol=1e-9)
    p, lower, upper = linalg.lu(a)
    np.testing.assert_allclose((p @ lower @ upper).numpy(), x, atol=1e-12)
    q, r = linalg.qr(a)
    np.testing.assert_allclose((q @ r).numpy(), x, atol=1e-12)
    np.testing.assert_allclose((q.mH @ q).numpy(), np.eye(n), atol=1e-12)
    positive = x @ x.conj().T + np.eye(n)
    np.testing.assert_allclose(linalg.cholesky(ferrograd.from_numpy(positive)).numpy(), np.linalg.cholesky(positive), atol=1e-9)
    w, v = linalg.eigh(ferrograd.from_numpy(positive))
    np.testing.assert_allclose(w.numpy(), np.linalg.eigvalsh(positive), rtol=1e-10)
    np.testing.assert_allclose((v * w @ v.mH).numpy(), positive, atol=1e-10)
    w, v = linalg.eig(a)
    np.testing.assert_allclose((a.to(v.dtype) @ v).numpy(), (v * w).numpy(), atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(v.numpy(), axis=0), 1)


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("n", [1, 2, 3, 6, 20])
def test_indefinite_systems(dtype, n, hermitian):
    a, x = random(3, n, n, dtype=dtype)
    b, y = random(3, n, 2, dtype=dtype, seed=1)
    x = x + (x.conj() if hermitian else x).swapaxes(-1, -2)
    # Zeros on the diagonal call for blocks of two.
    x[:, range(n), range(n)] *= np.arange(n) % 2 if n > 1 else 1
    ld, pivots, info = linalg.ldl_factor_ex(ferrograd.from_numpy(x), hermitian=hermitian)
    assert not info.any() and (n < 3 or (pivots < 0).any())
    got = linalg.ldl_solve(ld, pivots, b, hermitian=hermitian)
    np.testing.assert_allclose(got.numpy(), np.linalg.solve(x, y), rtol=1e-9, atol=1e-9)
