"""Linear algebra."""

from ferrograd._C._linalg import LinAlgError, matrix_norm, norm, svdvals, vector_norm

__all__ = ["LinAlgError", "matrix_norm", "norm", "svdvals", "vector_norm"]
