"""Linear algebra."""

from ferrograd import _C
from ferrograd._C._linalg import LinAlgError

__all__ = ["LinAlgError", "matrix_norm", "norm", "svdvals", "vector_norm"]

matrix_norm = _C._function_form(_C._linalg.matrix_norm, out="same")
norm = _C._function_form(_C._linalg.norm, out="same")
svdvals = _C._function_form(_C._linalg.svdvals, first="any", out="same")
vector_norm = _C._function_form(_C._linalg.vector_norm, out="same")
