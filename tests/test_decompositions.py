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
    x = np.asarray(x).astype(dtype)
    return ferrograd.from_numpy(x), x


def ldl_solve(x):
    return linalg.ldl_solve(x, ferrograd.arange(1, 4), x)


@pytest.mark.parametrize(
    ("call", "error", "node"),
    [
        (lambda x: x.geqrf()[0], NotImplementedError, "GeqrfBackward0"),
        (lambda x: linalg.ldl_factor(x).LD, RuntimeError, "NotImplemented"),
        (lambda x: linalg.ldl_factor_ex(x).LD, RuntimeError, "NotImplemented"),
        (ldl_solve, RuntimeError, "NotImplemented"),
    ],
)
def test_derivatives_that_do_not_exist(call, error, node):
    x, _ = random(3, 3)
    y = call(x.requires_grad_())
    assert type(y.grad_fn).__name__ == node
    with pytest.raises(error, match="not implemented") as caught:
        y.sum().backward()
    assert caught.type is error


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


REAL_AND_COMPLEX = [np.float32, np.float64, np.complex64, np.complex128]


@pytest.mark.parametrize("dtype", REAL_AND_COMPLEX)
@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3), (2, 3, 4), (0, 3, 2), (3, 0), (0, 0)])
def test_factors_multiply_to_the_matrix(dtype, shape):
    a, x = random(*shape, dtype=dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype in (np.float32, np.complex64) else {"rtol": 1e-10, "atol": 1e-12}
    k = min(shape[-2:])
    for full in (False, True):
        u, s, vh = linalg.svd(a, full_matrices=full)
        assert u.dtype == a.dtype and s.dtype == a.real.dtype and u.shape[-1] == (shape[-2] if full else k)
        np.testing.assert_allclose(((u[..., :k] * s[..., None, :]) @ vh[..., :k, :]).numpy(), x, **tolerance)
        np.testing.assert_allclose((u.mH @ u - ferrograd.eye(u.shape[-1])).abs().numpy(), 0, **tolerance)
        np.testing.assert_allclose((vh @ vh.mH - ferrograd.eye(vh.shape[-2])).abs().numpy(), 0, **tolerance)
    for mode in ("reduced", "complete"):
        q, r = linalg.qr(a, mode)
        assert q.shape[-1] == (k if mode == "reduced" else shape[-2])
        np.testing.assert_allclose((q @ r).numpy(), x, **tolerance)
    np.testing.assert_allclose(linalg.qr(a, "r").R.numpy(), linalg.qr(a).R.numpy())
    p, lower, upper = linalg.lu(a)
    np.testing.assert_allclose((p @ lower @ upper).numpy(), x, **tolerance)
    for got, want in zip(ferrograd.lu_unpack(*linalg.lu_factor_ex(a)[:2]), (p, lower, upper)):
        np.testing.assert_allclose(got.numpy(), want.numpy(), **tolerance)
    reflections, taus = a.geqrf()
    np.testing.assert_allclose(reflections.orgqr(taus)[..., :k].numpy()[..., : shape[-2], :], linalg.qr(a).Q.numpy(), **tolerance) if shape[
        -2
    ] >= shape[-1] else None


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
def test_products_of_reflections(left, transpose):
    a, _ = random(2, 4, 4, dtype=np.complex128)
    c, y = random(2, 4, 4, dtype=np.complex128, seed=1)
    reflections, taus = a.geqrf()
    q = reflections.orgqr(taus).numpy()
    q = q.conj().swapaxes(-1, -2) if transpose else q
    np.testing.assert_allclose(reflections.ormqr(taus, c, left, transpose).numpy(), q @ y if left else y @ q, atol=1e-12)


def test_first_derivatives_of_complex_functions():
    """Against differences along a random direction, real and imaginary."""

    def hermitian(x):
        return x @ x.mH + 3 * ferrograd.eye(3)

    def product(u, s, vh):
        return u[:, :1] @ vh[:1]

    functions = {
        "cholesky": lambda x: linalg.cholesky(hermitian(x)),
        "inv": linalg.inv,
        "det": linalg.det,
        "slogdet": lambda x: linalg.slogdet(x)[0] + linalg.slogdet(x)[1],
        "solve": lambda x: linalg.solve(x, x * x),
        "lu": lambda x: linalg.lu(x)[1] + linalg.lu(x)[2],
        "lu_solve": lambda x: linalg.lu_solve(*linalg.lu_factor(x), x * x, left=False, adjoint=True),
        "triangular": lambda x: linalg.solve_triangular(x, x * x, upper=True, left=False),
        "qr": lambda x: sum(linalg.qr(x)),
        "eigh": lambda x: linalg.eigh(hermitian(x))[1].abs(),
        "eig": lambda x: linalg.eig(x)[0] + linalg.eig(x)[1].abs(),
        "svd": lambda x: linalg.svd(x)[0].abs() + linalg.svd(x)[1],
        "svd_product": lambda x: product(*linalg.svd(x)),
        "pinv": lambda x: linalg.pinv(x[:, :2]),
        "lstsq": lambda x: linalg.lstsq(x[:, :2], x)[0],
        "matrix_exp": linalg.matrix_exp,
        "householder": lambda x: linalg.householder_product(x, x[0]),
        "ormqr": lambda x: x.ormqr(x[0], x * x, False, True),
    }
    x, array = random(3, 3, dtype=np.complex128, seed=5)
    _, direction = random(3, 3, dtype=np.complex128, seed=6)
    for name, function in functions.items():
        leaf = ferrograd.from_numpy(array.copy()).requires_grad_()
        y = function(leaf)
        weights = np.asarray(random(*y.shape, dtype=np.complex128, seed=7)[1])
        weights = weights if y.is_complex() else weights.real.copy()
        loss = lambda y: float((y.detach().numpy() * weights.conj()).real.sum())  # noqa: E731
        (g,) = ferrograd.autograd.grad(y, leaf, ferrograd.from_numpy(weights))
        moved = [function(ferrograd.from_numpy(array + step * direction)) for step in (1e-6, -1e-6)]
        numeric = (loss(moved[0]) - loss(moved[1])) / 2e-6
        analytic = float((g.numpy().conj() * direction).real.sum())
        assert abs(analytic - numeric) < 1e-6 * max(1, abs(numeric)), (name, analytic, numeric)


def test_losses_that_depend_on_what_is_a_matter_of_choice():
    x, _ = random(4, 3, dtype=np.complex128)
    x.requires_grad_()
    for call in (lambda: linalg.svd(x).U, lambda: linalg.eigh(x @ x.mH).eigenvectors, lambda: linalg.eig(x[:3]).eigenvectors):
        with pytest.raises(RuntimeError, match="ill-defined"):
            call().imag.sum().backward()
    with pytest.raises(RuntimeError, match="mode='r'"):
        linalg.qr(x, "r").R.real.sum().backward()
    with pytest.raises(RuntimeError, match="nrows > ncols"):
        linalg.qr(x, "complete").R.real.sum().backward()


def test_signs_and_order_of_eigenvectors_are_lapacks():
    """By hand: `steqr` on (2, 1; 1, 2) answers vectors of one sign each; `hqr` finds the last eigenvalue first."""
    v = linalg.eigh(ferrograd.tensor([[2.0, 1.0], [1.0, 2.0]])).eigenvectors
    np.testing.assert_allclose(v.numpy(), np.array([[-1, 1], [1, 1]]) / np.sqrt(2), rtol=1e-6)
    w = linalg.eigvals(ferrograd.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    assert w.tolist() == [1j, -1j]
    assert linalg.eigvals(ferrograd.diag(ferrograd.tensor([3.0, 1.0, 2.0]))).tolist() == [3, 1, 2]
    v = linalg.eig(random(5, 5)[0]).eigenvectors
    pairs = v.imag.abs().sum(0) > 0
    largest = v[v.abs().argmax(0), range(5)]
    assert not largest.imag.any() and (v.real.square().sum(0) + v.imag.square().sum(0) - 1).abs().max() < 1e-12
    assert pairs.any() and not pairs.all()


def test_the_upper_triangle_is_read_alone():
    a, x = random(2, 4, 4, dtype=np.complex128)
    upper = np.triu(x) + np.triu(x, 1).conj().swapaxes(-1, -2)
    upper[:, range(4), range(4)] = x.real[:, range(4), range(4)]
    w, v = linalg.eigh(a, "U")
    np.testing.assert_allclose(w.numpy(), np.linalg.eigvalsh(upper), atol=1e-12)
    np.testing.assert_allclose((v * w[:, None, :] @ v.mH).numpy(), upper, atol=1e-12)


def test_matrices_that_do_not_have_what_is_asked_for():
    zero, eye = ferrograd.zeros(2, 3, 3), ferrograd.eye(3)
    for call in (
        lambda: linalg.inv(zero),
        lambda: linalg.inv_ex(zero, check_errors=True),
        lambda: linalg.solve(zero, eye),
        lambda: linalg.solve_ex(zero, eye, check_errors=True),
        lambda: linalg.cholesky(zero),
        lambda: linalg.cholesky_ex(zero, check_errors=True),
        lambda: zero.cholesky_inverse(),
        lambda: linalg.ldl_factor(zero),
        lambda: linalg.lstsq(zero + 1, eye, driver="gels"),
    ):
        with pytest.raises(linalg.LinAlgError):
            call()
    with pytest.raises(linalg.LinAlgError, match="element 1"):
        linalg.inv(ferrograd.stack([eye, zero[0]]))
    with pytest.raises(RuntimeError, match=r"U\[1,1\] is zero"):
        linalg.lu_factor(zero)
    assert linalg.inv_ex(zero).info.tolist() == [1, 1] and linalg.cholesky_ex(-eye).info.item() == 1
    assert linalg.det(zero).tolist() == [0, 0] and linalg.slogdet(zero).logabsdet.tolist() == [-np.inf, -np.inf]
    assert (-eye).logdet().isnan() and linalg.cond(zero[0], 1).item() == np.inf
    assert linalg.matrix_rank(zero).tolist() == [0, 0] and not linalg.pinv(zero).any()


def test_gels_of_zeros():
    """As LAPACK's, which refuses other matrices without full rank."""
    (a, _), (b, _) = random(2, 3, 2), random(2, 3, 1)
    a[0] = 0
    x, residuals, *_ = linalg.lstsq(a, b, driver="gels")
    assert not x[0].any() and residuals[0].tolist() == [0]
    expected = np.linalg.lstsq(a[1].numpy(), b[1].numpy(), rcond=None)
    np.testing.assert_allclose(x[1].numpy(), expected[0])
    np.testing.assert_allclose(residuals[1].numpy(), expected[1])


def test_derivatives_at_singular_matrices():
    """As torch, the true ones only where they are to be differentiated again."""
    x = ferrograd.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=ferrograd.float64).requires_grad_()
    (g,) = ferrograd.autograd.grad(linalg.det(x), x)
    np.testing.assert_allclose(g.numpy(), 0, atol=1e-12)
    (g,) = ferrograd.autograd.grad(linalg.det(x), x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), [[4, -2], [-2, 1]], atol=1e-12)
    (h,) = ferrograd.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), [[1, -1], [-1, 1]], atol=1e-12)


def test_values_that_are_not_finite():
    nan, inf = ferrograd.full((2, 2), np.nan), ferrograd.full((2, 2), np.inf)
    for call in (linalg.eigh, linalg.eigvalsh, linalg.svd, linalg.pinv):
        with pytest.raises(linalg.LinAlgError):
            call(nan)
    for x in (nan, inf):
        assert linalg.eigvals(x).isnan().all() and linalg.matrix_exp(x).isnan().all()
        with pytest.raises(RuntimeError, match="infs or NaNs"):
            linalg.eig(x)
        assert linalg.det(x).isnan()
    assert linalg.eigvalsh(inf).isnan().all()


def test_what_is_refused():
    x, i = ferrograd.ones(2, 3), ferrograd.ones(3, 3, dtype=ferrograd.int64)
    eye, pivots = ferrograd.eye(3), ferrograd.tensor([1, 2, 3], dtype=ferrograd.int32)
    square = "cholesky cholesky_ex det eig eigh eigvals eigvalsh inv inv_ex ldl_factor ldl_factor_ex matrix_exp slogdet".split()
    calls = [lambda name=name: getattr(linalg, name)(x) for name in square]
    calls += [lambda name=name: getattr(linalg, name)(i) for name in [*square, "qr", "svd", "lu", "lu_factor", "pinv", "matrix_rank"]]
    calls += [lambda name=name: getattr(linalg, name)(x[0]) for name in [*square, "qr", "svd", "lu", "pinv", "cond", "matrix_rank"]]
    calls += [
        lambda: linalg.solve(eye, x),
        lambda: linalg.solve(eye, eye.double()),
        lambda: linalg.solve(eye, eye[0], left=False),
        lambda: linalg.solve_triangular(eye, x, upper=True),
        lambda: linalg.lu(eye, pivot=False),
        lambda: linalg.lu_solve(eye, pivots + 1, eye),
        lambda: linalg.lu_solve(eye, pivots[:2], eye),
        lambda: linalg.lu_solve(eye, pivots.long(), eye),
        lambda: ferrograd.lu_unpack(eye, pivots - 1),
        lambda: linalg.ldl_solve(eye, pivots * 0, eye),
        lambda: linalg.qr(eye, "no"),
        lambda: linalg.eigh(eye, "X"),
        lambda: linalg.lstsq(eye, eye, driver="no"),
        lambda: linalg.cond(eye, 3),
        lambda: linalg.householder_product(x, x[0]),
        lambda: eye.ormqr(eye[0], x),
        lambda: linalg.tensorinv(eye, 0),
        lambda: linalg.tensorsolve(x, eye),
        lambda: linalg.pinv(eye, atol=ferrograd.tensor(1j)),
        lambda: linalg.inv(eye, out=ferrograd.empty(0, dtype=ferrograd.float64)),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(RuntimeError):
            call()
            pytest.fail(f"call {number} was not refused")
    with pytest.raises(TypeError):
        linalg.solve_triangular(eye, eye)


@pytest.mark.parametrize("dtype", REAL_AND_COMPLEX)
def test_exponentials_of_large_and_small_matrices(dtype):
    zero = ferrograd.zeros(2, 3, 3, dtype=ferrograd.from_numpy(np.zeros(1, dtype)).dtype)
    assert (linalg.matrix_exp(zero) == ferrograd.eye(3)).all()
    scales = np.array([1e-3, 1.0, 50.0])
    values = np.array([[1.0, -0.5, 0.25]]) * scales[:, None]
    _, v = np.linalg.eigh(np.ones((3, 3)) + np.diag([1, 2, 4]))
    x = (v * values[:, None, :]) @ v.T
    want = (v * np.exp(values)[:, None, :]) @ v.T
    got = linalg.matrix_exp(ferrograd.from_numpy(x.astype(dtype))).numpy()
    for i in range(3):
        scale = np.abs(want[i]).max()
        np.testing.assert_allclose(got[i] / scale, want[i] / scale, atol=1e-4 if dtype in (np.float32, np.complex64) else 1e-11)


def test_results_have_names_and_go_where_they_are_wanted():
    a, x = random(4, 3)
    out = tuple(ferrograd.empty(0, dtype=ferrograd.float64) for _ in range(3))
    result = linalg.svd(a, full_matrices=False, out=out)
    assert result.U is out[0] and result.Vh is out[2] and type(result).__name__ == "linalg_svd"
    np.testing.assert_allclose((out[0] * out[1] @ out[2]).numpy(), x, atol=1e-12)
    inverse = ferrograd.empty(3, 3, dtype=ferrograd.float64)
    assert linalg.inv(a[:3], out=inverse) is inverse
    np.testing.assert_allclose(inverse.numpy(), np.linalg.inv(x[:3]), rtol=1e-9)
    assert linalg.matrix_rank(a, out=ferrograd.empty(0)).item() == 3
    with pytest.raises(TypeError):
        ferrograd.det(a[:3], out=inverse)


@pytest.mark.parametrize("shape", [(8, 6), (6, 8), (2, 8, 6)])
def test_low_rank_approximations(shape):
    ferrograd.manual_seed(0)
    left, right = random(*shape[:-1], 2)[0], random(*shape[:-2], 2, shape[-1], seed=1)[0]
    a = left @ right
    u, s, v = ferrograd.svd_lowrank(a, q=3)
    np.testing.assert_allclose(((u * s[..., None, :]) @ v.mT).numpy(), a.numpy(), atol=1e-10)
    np.testing.assert_allclose(s.numpy(), linalg.svdvals(a)[..., :3].numpy(), atol=1e-10)
    u, s, v = ferrograd.pca_lowrank(a, q=2)
    centered = a - a.mean(-2, keepdim=True)
    np.testing.assert_allclose(((u * s[..., None, :]) @ v.mT).numpy(), centered.numpy(), atol=1e-10)
    assert ferrograd.svd_lowrank(a, q=3, M=a)[1].abs().max() < 1e-9
    with pytest.raises(ValueError):
        ferrograd.pca_lowrank(a, q=9)
    with pytest.raises(ValueError):
        ferrograd.pca_lowrank(a, niter=-1)


@pytest.mark.parametrize("largest", [True, False, None])
@pytest.mark.parametrize("generalized", [True, False])
def test_a_few_eigenvalues(largest, generalized):
    _, x = random(2, 9, 9)
    a = ferrograd.from_numpy(x + x.swapaxes(-1, -2)).requires_grad_()
    b = ferrograd.from_numpy(x @ x.swapaxes(-1, -2) + np.eye(9)) if generalized else None
    w, v = ferrograd.lobpcg(a, k=2, B=b, largest=largest)
    right = v if b is None else b @ v
    np.testing.assert_allclose((a @ v).detach().numpy(), (right * w[:, None, :]).detach().numpy(), atol=1e-9)
    want = np.linalg.eigvalsh(x + x.swapaxes(-1, -2) if b is None else np.linalg.inv(np.linalg.cholesky(b)) @ (x + x.swapaxes(-1, -2)) @ np.linalg.inv(np.linalg.cholesky(b)).swapaxes(-1, -2))
    np.testing.assert_allclose(w.detach().numpy(), want[:, :2] if largest is False else want[:, ::-1][:, :2], atol=1e-9)
    w.sum().backward()
    assert a.grad.isfinite().all()
    with pytest.raises(ValueError):
        ferrograd.lobpcg(a, k=4)
    with pytest.raises(NotImplementedError):
        ferrograd.lobpcg(a, k=1, tracker=print)


def test_functions_of_batches():
    a, x = random(4, 3, 3)
    np.testing.assert_allclose(ferrograd.vmap(linalg.inv)(a).numpy(), np.linalg.inv(x), rtol=1e-9)
    np.testing.assert_allclose(ferrograd.func.grad(linalg.det)(a[0]).numpy(), np.linalg.det(x[0]) * np.linalg.inv(x[0]).T, rtol=1e-9)
