"""Linear algebra."""

from ferrograd._C._linalg import matrix_norm, norm, vector_norm

__all__ = ["matrix_norm", "norm", "vector_norm"]
