"""Functions that torch has removed: they are there to say what took their place."""

from ferrograd._C import Tensor

_REMOVED = "This function was deprecated since version 1.9 and is now removed. "
_USE = {
    "eig": "Use linalg.eig, which answers complex numbers, or linalg.eigvals for eigenvalues alone.",
    "lstsq": "Use linalg.lstsq, which takes (A, B) in this order and answers the solution without what is left of B.",
    "matrix_rank": "Use linalg.matrix_rank, to which `symmetric` is `hermitian`.",
    "solve": "Use linalg.solve, which takes (A, B) in this order and answers the solution without the LU factors of A.",
    "symeig": "Use linalg.eigh, or linalg.eigvalsh for eigenvalues alone. They read the lower triangle of the matrix unless told "
    'UPLO="U", where symeig read the upper one.',
}


def _refuse(name):
    raise RuntimeError(_REMOVED + _USE[name])


def eig(self, eigenvectors=False, *, e=None, v=None):
    """Removed: see linalg.eig."""
    _refuse("eig")


def lstsq(input, A, *, out=None):
    """Removed: see linalg.lstsq."""
    _refuse("lstsq")


def matrix_rank(input, tol=None, symmetric=False, *, out=None):
    """Removed: see linalg.matrix_rank."""
    _refuse("matrix_rank")


def solve(input, A, *, out=None):
    """Removed: see linalg.solve."""
    _refuse("solve")


def symeig(input, eigenvectors=False, upper=True, *, out=None):
    """Removed: see linalg.eigh."""
    _refuse("symeig")


def _method(function):
    def method(self, *args, **kwargs):
        return function(self, *args, **kwargs)

    method.__name__, method.__doc__ = function.__name__, function.__doc__
    method.__qualname__ = f"Tensor.{function.__name__}"
    return method


for _function in (eig, lstsq, solve, symeig):
    setattr(Tensor, _function.__name__, _method(_function))
