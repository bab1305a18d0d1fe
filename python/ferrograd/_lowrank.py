"""A few singular values or eigenvalues of matrices, and their vectors."""

from ferrograd import linalg
from ferrograd._C import Tensor, get_default_dtype, randn
from ferrograd._checks import overridable

__all__ = ["lobpcg", "pca_lowrank", "svd_lowrank"]


def _as_float(A):
    return A if A.is_floating_point() or A.is_complex() else A.to(get_default_dtype())


def _basis(A, q, niter, M):
    """q orthonormal columns that span nearly what A - M does, by subspace iterations from random columns (Halko, Martinsson and
    Tropp 2011, "Finding structure with randomness", algorithm 4.4)."""

    def rest(x, adjoint=False):
        product = (A.mH if adjoint else A).matmul(x)
        return product if M is None else product - (M.mH if adjoint else M).matmul(x)

    Q = linalg.qr(rest(randn(A.shape[-1], q, dtype=A.dtype))).Q
    for _ in range(niter):
        Q = linalg.qr(rest(Q, adjoint=True)).Q
        Q = linalg.qr(rest(Q)).Q
    return Q


@overridable
def svd_lowrank(A, q=6, niter=2, M=None):
    """U, S and V of the `q` largest singular values of A, or of A - M, nearly: by `niter` iterations from random columns.

    Shape: (*, m, n) to (*, m, q), (*, q) and (*, n, q). Dtype: float or complex.
    Source: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 5.1.
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    if M is not None:
        M = M.broadcast_to(A.shape)
    wide = A.shape[-2] < A.shape[-1]
    if wide:
        A, M = A.mH, M if M is None else M.mH
    A = _as_float(A)
    Q = _basis(A, q, niter, M)
    B = Q.mH.matmul(A) if M is None else Q.mH.matmul(A) - Q.mH.matmul(M)
    U, S, Vh = linalg.svd(B, full_matrices=False)
    U, V = Q.matmul(U), Vh.mH
    return (V, S, U) if wide else (U, S, V)


@overridable
def pca_lowrank(A, q=None, center=True, niter=2):
    """The `q` (None: at most 6) principal components of the rows of A: `svd_lowrank` of A less, if `center` is true, the mean row.

    Raises: ValueError if q or `niter` is negative, or q more than the rows or columns.
    """
    most = min(A.shape[-2:])
    q = min(6, most) if q is None else q
    if not 0 <= q <= most:
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={most}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    A = _as_float(A)
    return svd_lowrank(A - A.mean(dim=(-2,), keepdim=True) if center else A, q, niter)


def _whitened(A, B):
    """A Hermitian matrix with the eigenvalues of A x = λ B x, and what takes its eigenvectors to those x."""
    L = linalg.cholesky(B)
    half = linalg.solve_triangular(L, A, upper=False)
    return linalg.solve_triangular(L, half.mH, upper=False), L.mH


@overridable
def lobpcg(
    A,
    k=None,
    B=None,
    X=None,
    n=None,
    iK=None,
    niter=None,
    tol=None,
    largest=None,
    method=None,
    tracker=None,
    ortho_iparams=None,
    ortho_fparams=None,
    ortho_bparams=None,
):
    """The k largest (`largest` false: smallest) eigenvalues of A x = λ B x for symmetric A and positive-definite B, and the x.

    They are computed directly, to the last digit: what steers the iterations of torch's function (X, n, iK, niter, tol, method and
    the ortho_ parameters) makes no difference. Shape: (*, m, m) to (*, k) and (*, m, k). `tracker` must be None.
    Raises: ValueError if there are less than 3 k rows, as torch does.
    """
    if tracker is not None:
        raise NotImplementedError("lobpcg: tracker is not supported, as there are no iterations to be tracked")
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"lobpcg: method must be 'basic' or 'ortho', got {method!r}")
    if not isinstance(A, Tensor) or A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError("lobpcg: A must be a square matrix, or a batch of square matrices")
    m = A.shape[-1]
    k = (1 if X is None else X.shape[-1]) if k is None else k
    n = (k if n is None else n) if X is None else X.shape[-1]
    if m < 3 * n:
        raise ValueError(
            f"LPBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of requested eigen pairs (={n})"
        )
    A = _as_float(A)
    if X is None:
        # The draws that torch's function makes.
        randn(*A.shape[:-2], m, n, dtype=A.dtype)
    matrix, back = (A, None) if B is None else _whitened(A, B)
    values, vectors = linalg.eigh((matrix + matrix.mH) / 2)
    if largest is None or largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    values, vectors = values[..., :k], vectors[..., :k]
    return values, vectors if back is None else linalg.solve_triangular(back, vectors, upper=True)
