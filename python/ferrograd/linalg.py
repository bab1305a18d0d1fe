"""Linear algebra."""

from ferrograd import _C
from ferrograd._C import _linalg
from ferrograd._C._linalg import LinAlgError
from ferrograd._contract import diagonal, linalg_vander as vander, multi_dot, vecdot

_NAMES = (
    "cholesky cholesky_ex det eig eigh eigvals eigvalsh householder_product inv inv_ex ldl_factor ldl_factor_ex ldl_solve "
    "lu lu_factor lu_factor_ex lu_solve matrix_exp qr slogdet solve solve_ex solve_triangular svdvals"
)
# Functions of Rust's whose first argument is called A, and which take `out`.
globals().update(
    {name: _C._function_form(getattr(_linalg, name), first="any", out="same") for name in _NAMES.split()}
)

cross = _C._function_form(_linalg.cross, out="same")
matrix_norm = _C._function_form(_linalg.matrix_norm, out="same")
norm = _C._function_form(_linalg.norm, out="same")
vector_norm = _C._function_form(_linalg.vector_norm, out="same")

__all__ = ["LinAlgError", "cross", "diagonal", "matrix_norm", "multi_dot", "norm", "vander", "vecdot", "vector_norm", *_NAMES.split()]
