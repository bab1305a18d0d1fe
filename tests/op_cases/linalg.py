"""Linear algebra. Inputs that must be regular, or positive-definite, are made so by adding to the diagonal."""

import math

import numpy as np

import ferrograd
from ferrograd import linalg

from .case import Input, case, not_differentiable

SMALL = (-0.5, 0.5)


def _regular(x):
    """Away from singular matrices, with distinct eigenvalues and pivots that stay where they are."""
    n = min(x.shape[-2:])
    return x + ferrograd.diag_embed(ferrograd.arange(3, n + 3, dtype=x.dtype))[..., : x.shape[-2], : x.shape[-1]] if x.shape[-2] == x.shape[-1] else _regular_part(x, n)


def _regular_part(x, n):
    diagonal = ferrograd.zeros(x.shape[-2:], dtype=x.dtype)
    diagonal.diagonal().copy_(ferrograd.arange(3, n + 3, dtype=x.dtype))
    return x + diagonal


def _np_regular(x):
    diagonal = np.zeros(x.shape[-2:])
    np.fill_diagonal(diagonal, np.arange(3, min(x.shape[-2:]) + 3))
    return x + diagonal


def _positive(x):
    return _regular(x + x.mT)


def _np_positive(x):
    return _np_regular(x + x.swapaxes(-1, -2))


def matrices(op, call, reference=None, shapes=((3, 3), (2, 3, 3), (0, 3, 3), (0, 0)), prepare=_regular, np_prepare=_np_regular, **keywords):
    """A function of matrices, also transposed ones."""
    numpy = None if reference is None else lambda x: reference(np_prepare(x))
    for shape in shapes:
        case(op, lambda x: call(prepare(x)), shape, numpy=numpy, domain=SMALL, **keywords)
    last = Input(shapes[0], (SMALL,), transposed=True)
    case(op, lambda x: call(prepare(x)), last, numpy=numpy, **keywords)


def positive(op, call, reference=None):
    matrices(op, call, reference, prepare=_positive, np_prepare=_np_positive)


def systems(op, call, reference, shapes, np_prepare=_np_regular, prepare=_regular):
    for a, b in shapes:
        case(op, lambda a, b: call(prepare(a), b), a, b, numpy=lambda a, b: reference(np_prepare(a), b), domain=SMALL)


def _upper(x):
    return np.triu(x)


for op, call in (("cholesky", linalg.cholesky), ("cholesky_ex", lambda x: linalg.cholesky_ex(x)[0]), ("cholesky", lambda x: x.cholesky())):
    positive(op, call, np.linalg.cholesky)
positive("cholesky", lambda x: linalg.cholesky(x, upper=True), lambda x: np.linalg.cholesky(x).swapaxes(-1, -2))
# The derivatives are torch's only where the triangle that is not read is zero.
matrices("cholesky_inverse", lambda x: x.tril().cholesky_inverse(), lambda x: np.linalg.inv(np.tril(x) @ np.tril(x).swapaxes(-1, -2)))
matrices("cholesky_inverse", lambda x: x.triu().cholesky_inverse(True), lambda x: np.linalg.inv(_upper(x).swapaxes(-1, -2) @ _upper(x)))
SYSTEMS = (((3, 3), (3, 2)), ((2, 3, 3), (3, 1)), ((3, 3), (2, 3, 2)), ((0, 3, 3), (3, 2)), ((0, 0), (0, 2)))
systems("cholesky_solve", lambda a, b: b.cholesky_solve(a.tril()), lambda a, b: np.linalg.solve(np.tril(a) @ np.tril(a).swapaxes(-1, -2), b), SYSTEMS)
systems("cholesky_solve", lambda a, b: b.cholesky_solve(a.triu(), upper=True), lambda a, b: np.linalg.solve(_upper(a).swapaxes(-1, -2) @ _upper(a), b), SYSTEMS[:1])

matrices("inv", linalg.inv, np.linalg.inv)
matrices("inv_ex", lambda x: linalg.inv_ex(x).inverse, np.linalg.inv)
matrices("inverse", lambda x: x.inverse(), np.linalg.inv)
matrices("det", linalg.det, np.linalg.det)
matrices("det", lambda x: x.det(), np.linalg.det)
matrices("slogdet", lambda x: linalg.slogdet(x).logabsdet, lambda x: np.linalg.slogdet(x)[1])
matrices("slogdet", lambda x: x.slogdet().logabsdet, lambda x: np.linalg.slogdet(x)[1])
matrices("logdet", lambda x: x.logdet(), lambda x: np.log(np.linalg.det(x)))

for op, call in (("solve", linalg.solve), ("solve_ex", lambda a, b: linalg.solve_ex(a, b).result)):
    systems(op, call, np.linalg.solve, SYSTEMS)
systems("solve", linalg.solve, lambda a, b: np.linalg.solve(a, b[..., None])[..., 0], (((3, 3), (3,)), ((2, 3, 3), (2, 3))))
systems("solve", lambda a, b: linalg.solve(a, b.mT, left=False), lambda a, b: (np.linalg.inv(a).swapaxes(-1, -2) @ b).swapaxes(-1, -2), SYSTEMS[:3])
for upper, triangle in ((True, np.triu), (False, np.tril)):
    systems("solve_triangular", lambda a, b, up=upper: linalg.solve_triangular(a, b, upper=up), lambda a, b, f=triangle: np.linalg.solve(f(a), b), SYSTEMS)
    systems("triangular_solve", lambda a, b, up=upper: b.triangular_solve(a, up).solution, lambda a, b, f=triangle: np.linalg.solve(f(a), b), SYSTEMS)
    systems("triangular_solve", lambda a, b, up=upper: b.triangular_solve(a, up, True).solution, lambda a, b, f=triangle: np.linalg.solve(f(a).swapaxes(-1, -2), b), SYSTEMS[:1])
    systems(
        "solve_triangular",
        lambda a, b, up=upper: linalg.solve_triangular(a, b.mT, upper=up, left=False, unitriangular=True),
        lambda a, b, f=triangle: (np.linalg.inv(f(a, 2 * (f is np.triu) - 1) + np.eye(3)).swapaxes(-1, -2) @ b).swapaxes(-1, -2),
        SYSTEMS[:3],
    )


def _lu(x):
    return linalg.lu_factor(x)


SHAPES = ((3, 3), (2, 4, 3), (2, 3, 4), (0, 3, 3), (0, 0))
for op, call in (("lu_factor", lambda x: _lu(x).LU), ("lu_factor_ex", lambda x: linalg.lu_factor_ex(x).LU)):
    matrices(op, call, shapes=SHAPES)
matrices("lu", lambda x: linalg.lu(x)[1:], shapes=SHAPES)
matrices("lu", lambda x: linalg.lu(x).P @ linalg.lu(x).L @ linalg.lu(x).U, lambda x: x, shapes=SHAPES)
matrices("lu_unpack", lambda x: ferrograd.lu_unpack(x, _lu(x.detach()).pivots)[1:], shapes=SHAPES)
for left in (True, False):
    for adjoint in (True, False):
        for a, b in SYSTEMS:
            case(
                "lu_solve",
                lambda a, b, left=left, adjoint=adjoint: linalg.lu_solve(a, _lu(a.detach()).pivots, b if left else b.mT, left=left, adjoint=adjoint),
                Input(a, ((1.0, 2.0),)),
                b,
            )
systems("lu_solve", lambda a, b: b.lu_solve(*_lu(a)), np.linalg.solve, SYSTEMS)

for shape in ((4, 3), (2, 3, 3), (2, 4), (0, 3), (3, 0)):
    case("qr", lambda x: linalg.qr(_regular(x)), shape, domain=SMALL)
    case("qr", lambda x: _regular(x).qr().R, shape, domain=SMALL, label=f"{shape}-R")
case("qr", lambda x: linalg.qr(x, "complete"), (3, 4), label="complete")
case("householder_product", lambda v, t: linalg.householder_product(v, t), (4, 3), (2,))
case("householder_product", lambda v, t: linalg.householder_product(v, t), (2, 3, 3), (2, 3))
case("orgqr", lambda v, t: v.orgqr(t), (4, 3), (3,))
for left in (True, False):
    for transpose in (True, False):
        case("ormqr", lambda v, t, c, a=left, b=transpose: v.ormqr(t, c, a, b), (3, 3), (3,), (3, 3))
        case("ormqr", lambda v, t, c, a=left, b=transpose: v.ormqr(t, c if a else c.mT, a, b), (2, 4, 2), (2, 2), (2, 4, 3))

for op, call in (("eigvalsh", linalg.eigvalsh), ("eigh", lambda x: linalg.eigh(x)[0])):
    positive(op, call, np.linalg.eigvalsh)
positive("eigh", lambda x: linalg.eigh(x, "U").eigenvectors.square())
matrices("eigvals", lambda x: ferrograd.view_as_real(linalg.eigvals(x)), shapes=((3, 3), (2, 3, 3)))
matrices("eig", lambda x: linalg.eig(x).eigenvectors.abs(), shapes=((3, 3), (2, 3, 3)))


def _exp(x):
    """The exponential of matrices by its series."""
    total = term = np.broadcast_to(np.eye(x.shape[-1]), x.shape)
    for k in range(1, 60):
        term = term @ x / k
        total = total + term
    return total


matrices("matrix_exp", linalg.matrix_exp, _exp, prepare=lambda x: x, np_prepare=lambda x: x)
matrices("matrix_exp", lambda x: x.matrix_exp(), _exp)

for shape in ((3, 3), (2, 4, 3), (2, 3, 4), (0, 3, 3), (3, 0)):
    case("svd", lambda x: linalg.svd(_regular(x)).S, shape, domain=SMALL)
    case("svd", lambda x: linalg.svd(_regular(x), full_matrices=False)[:2][0].square(), shape, domain=SMALL, label=f"{shape}-U")
    case("svd", lambda x: linalg.svd(_regular(x), full_matrices=False).Vh.square(), shape, domain=SMALL, label=f"{shape}-V")
    case("svd", lambda x: _regular(x).svd()[2].square(), shape, domain=SMALL, label=f"{shape}-method")
    case("pinverse", lambda x: _regular(x).pinverse(), shape, domain=SMALL, numpy=lambda x: np.linalg.pinv(_np_regular(x)))
    case("pinverse", lambda x: linalg.pinv(_regular(x)), shape, domain=SMALL, numpy=lambda x: np.linalg.pinv(_np_regular(x)))
case("pinverse", lambda x, y: linalg.pinv(x @ y), (4, 2), (2, 3), numpy=lambda x, y: np.linalg.pinv(x @ y, 1e-6), second=False, label="singular")
positive("pinverse", lambda x: linalg.pinv(x, hermitian=True), np.linalg.pinv)
for driver in ("gels", "gelsy", "gelsd", "gelss"):
    for a, b in (((3, 3), (3, 2)), ((2, 4, 3), (4, 2)), ((2, 3, 4), (2, 3, 2)), ((2, 3, 3), (2, 3))):
        case("lstsq", lambda a, b, d=driver: linalg.lstsq(_regular(a), b, driver=d)[:2], a, b, domain=SMALL, label=f"{driver}-{a}-{b}")
for n in (-2, -1, 0, 1, 2, 5):
    matrices("matrix_power", lambda x, n=n: x.matrix_power(n), lambda x, n=n: np.linalg.matrix_power(x, n))
for p in (None, 1, -1, 2, -2, math.inf, "fro", "nuc"):
    matrices("norm", lambda x, p=p: linalg.cond(x, p), lambda x, p=p: np.linalg.cond(x, p), shapes=((3, 3), (2, 3, 3)), label=f"cond-{p}")
case("inv", lambda x: linalg.tensorinv(_regular(x).reshape(2, 2, 4)), (4, 4), domain=SMALL, label="tensorinv", numpy=lambda x: np.linalg.tensorinv(_np_regular(x).reshape(2, 2, 4)))
case("solve", lambda x, y: linalg.tensorsolve(_regular(x).reshape(2, 3, 6), y), (6, 6), (2, 3), domain=SMALL, label="tensorsolve", numpy=lambda x, y: np.linalg.tensorsolve(_np_regular(x).reshape(2, 3, 6), y))

not_differentiable("has no derivative in torch; see test_decompositions.py", "geqrf", "ldl_factor", "ldl_factor_ex", "ldl_solve")
