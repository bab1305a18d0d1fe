"""Linear algebra."""

import math

from ferrograd import _C
from ferrograd._C import Tensor, _autograd, _linalg, finfo, zeros
from ferrograd._C._linalg import LinAlgError
from ferrograd._contract import diagonal, linalg_vander as vander, multi_dot, vecdot

# Functions of Rust's, by what their first argument is called: `A` or `input`. All take `out`.
_OF_A = "det inv inv_ex lu lu_factor lu_factor_ex qr slogdet solve solve_ex svd svdvals"
_OF_INPUT = (
    "cholesky cholesky_ex cross eig eigh eigvals eigvalsh householder_product ldl_factor ldl_factor_ex lstsq matrix_norm norm "
    "solve_triangular vector_norm"
)
_OF_FACTORS = "ldl_solve lu_solve"


def _forms(names, first, out="same"):
    overlap = lambda name: "none" if name == "cross" else "any"  # noqa: E731
    return {name: _C._function_form(getattr(_linalg, name), first=first, out=out, overlap=overlap(name)) for name in names.split()}


globals().update(_forms(f"{_OF_A} {_OF_FACTORS}", "any"), **_forms(_OF_INPUT, "tensor"), **_forms("matrix_exp", "tensor", None))


def _check_matrices(op, A):
    if A.dim() < 2:
        raise RuntimeError(f"{op}: The input tensor A must have at least 2 dimensions.")
    if not (A.is_floating_point() or A.is_complex()):
        raise RuntimeError(f"{op}: Expected a floating point or complex tensor as input. Got {A.dtype}")


def _real(A):
    """The dtype of the absolute values of A."""
    return A.abs().dtype if A.is_complex() else A.dtype


def _tolerances(op, A, atol, rtol):
    """Both as tensors; what is not given is 0, or what rounding errors make of zeros if neither is."""
    rounding = finfo(A.dtype).eps * max(A.shape[-2:])
    if any(isinstance(t, Tensor) and t.is_complex() for t in (atol, rtol)):
        raise RuntimeError(f"{op}: atol and rtol tensors of complex type are not supported.")
    if rtol is None:
        if isinstance(atol, Tensor):
            rtol = _C.where(atol > 0, 0.0, rounding)
        else:
            rtol = 0.0 if atol is not None and atol > 0 else rounding
    atol = 0.0 if atol is None else atol
    return [t if isinstance(t, Tensor) else _C.full((), t, dtype=_real(A)) for t in (atol, rtol)]


def cond(input, p=None):
    """The condition number of matrices in the norm `p` (see `matrix_norm`; None: 2): ‖A‖ ‖A⁻¹‖, inf for singular ones.

    Shape: (*, m, n) for 2 and -2, else (*, n, n), to (*). Dtype: float or complex; the result is real.
    """
    A = input
    if A.dim() < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    p = 2 if p is None else p
    if p not in (("fro", "nuc") if isinstance(p, str) else (1, -1, 2, -2, math.inf, -math.inf)):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if A.numel() == 0:
        return zeros(A.shape[:-2], dtype=_real(A))
    if p not in (2, -2) and A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"linalg.cond(ord={p}): A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        )
    if p == "nuc":
        values = svdvals(A)
        return values.sum(-1) * values.reciprocal().sum(-1)
    if p in (2, -2):
        values = svdvals(A)
        largest, smallest = values.narrow(-1, 0, 1), values.narrow(-1, -1, 1)
        return (largest / smallest if p == 2 else smallest / largest).squeeze(-1)
    inverse, info = inv_ex(A)
    inverse = inverse.masked_fill(info[..., None, None] > 0, math.inf)
    return (matrix_norm(A, p) * matrix_norm(inverse, p)).nan_to_num(math.inf, math.inf, -math.inf)


def matrix_power(input, n):
    """The n-th power of square matrices: that of the inverse if n is negative, the identity if it is 0.

    Shape: (*, n, n), kept.
    """
    return input.matrix_power(n)


def matrix_rank(input, tol=None, hermitian=False, *, atol=None, rtol=None):
    """The number of singular values (`hermitian`: absolute values of eigenvalues) above max(atol, rtol times the largest one).

    Shape: (*, m, n) to (*). Dtype: float or complex; int64. `tol` is an old name of `atol`, beside which `rtol` is 0.
    """
    A = input
    _check_matrices("torch.linalg.matrix_rank", A)
    if tol is not None:
        atol, rtol = tol, 0.0
    atol, rtol = _tolerances("torch.linalg.matrix_rank", A, atol, rtol)
    if A.numel() == 0:
        return zeros(A.shape[:-2], dtype=_C.int64)
    A = A.detach()
    values = eigvalsh(A).abs() if hermitian else svdvals(A)
    least = (rtol[..., None] * values.amax(-1, keepdim=True)).maximum(atol[..., None])
    return (values > least).sum(-1)


def pinv(input, rcond=None, hermitian=False, *, atol=None, rtol=None):
    """The pseudoinverse of matrices, where singular values up to max(atol, rtol times the largest one) count as 0.

    Shape: (*, m, n) to (*, n, m). Dtype: float or complex. `rcond` is an old name of `rtol`. Derivative: as long as the rank stays.
    """
    A = input
    _check_matrices("linalg.pinv", A)
    if rcond is not None:
        atol, rtol = 0.0, rcond
    return _linalg._pinv(A, *_tolerances("torch.linalg.pinv", A, atol, rtol), hermitian)


def tensorinv(input, ind=2):
    """The inverse of a tensor as a map from its last dims to its first `ind` ones.

    Raises: RuntimeError unless there are equally many elements on both sides, or if it is singular.
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    first, last = input.shape[:ind], input.shape[ind:]
    if math.prod(first) != math.prod(last):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), "
            f"but got {math.prod(last)} != {math.prod(first)}"
        )
    inverse, info = inv_ex(input.reshape(math.prod(last), math.prod(first)))
    if _autograd._values(info).item() != 0:
        raise LinAlgError("Failed to invert the input tensor, because it is singular.")
    return inverse.reshape(*last, *first)


def tensorsolve(input, other, dims=None):
    """X with tensordot(A, X, X.dim()) = other, after the `dims` of A have been moved to its end.

    Raises: RuntimeError unless there are equally many elements on both sides, or if A is singular.
    """
    A = input
    if not isinstance(other, Tensor):
        raise TypeError(f"tensorsolve(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    if dims is not None:
        A = A.movedim(dims, tuple(range(A.dim() - len(dims), A.dim())))
    shape = A.shape[other.dim() :]
    if math.prod(shape) != math.prod(A.shape[: other.dim()]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {math.prod(shape)} != {math.prod(A.shape[: other.dim()])}"
        )
    return solve(A.reshape(math.prod(shape), math.prod(shape)), other.flatten()).reshape(shape)


_COMPOSED = "cond matrix_power matrix_rank pinv tensorinv tensorsolve"
_CASTING = ("cond", "matrix_rank", "pinv")
globals().update(
    {
        name: _C._function_form(globals()[name], out="castable" if name in _CASTING else "same")
        for name in _COMPOSED.split()
    }
)

__all__ = ["LinAlgError", "diagonal", "matrix_exp", "multi_dot", "vander", "vecdot", *f"{_OF_A} {_OF_INPUT} {_OF_FACTORS} {_COMPOSED}".split()]
