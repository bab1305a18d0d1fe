"""Special functions. What numpy has no function for is compared with known values in test_special.py; here are the derivatives."""

import math

import numpy as np

import ferrograd
from ferrograd import special

from .case import Input, case, domain_of, not_differentiable

SHAPES = ((), (3,), (2, 3), (2, 0, 3))


def _unary(op, call, numpy=None, domain=(-2.0, 2.0)):
    for x in (*(Input(shape, domain_of(domain)) for shape in SHAPES), Input((3, 4), domain_of(domain), transposed=True)):
        case(op, call, x, numpy=numpy)


def _binary(op, call, numpy=None, a=(-2.0, 2.0), b=(-2.0, 2.0)):
    for left, right in [((2, 3), (2, 3)), ((2, 1), (1, 3)), ((), (3,)), ((), ()), ((0, 3), (1, 3))]:
        case(op, call, Input(left, domain_of(a)), Input(right, domain_of(b)), numpy=numpy)
    case(op, call, Input((3, 4), domain_of(a), True), Input((3, 4), domain_of(b)), numpy=numpy)


erfc = np.vectorize(math.erfc, otypes=[float])
_unary("i0", lambda x: x.i0(), np.i0)
_unary("i0", lambda x: x.i0(), np.i0, domain=((-30.0, -9.0), (9.0, 30.0)))
_unary("i0e", special.i0e, lambda x: np.i0(x) * np.exp(-np.abs(x)), domain=((-2.0, -0.3), (0.3, 12.0)))
_unary("i1", special.i1)
_unary("i1e", special.i1e, domain=((-2.0, -0.3), (0.3, 12.0)))
_unary("entr", special.entr, lambda x: -x * np.log(x), domain=(0.1, 2.0))
_unary("erfcx", special.erfcx, lambda x: np.exp(x * x) * erfc(x))
_unary("ndtr", special.ndtr, lambda x: erfc(-x / math.sqrt(2)) / 2)
_unary("log_ndtr", special.log_ndtr, lambda x: np.log(erfc(-x / math.sqrt(2)) / 2))
_unary("ndtri", special.ndtri, domain=((0.02, 0.09), (0.11, 0.89), (0.91, 0.98)))
_unary("mvlgamma", lambda x: x.mvlgamma(3), domain=(1.5, 4.0))
_binary("xlog1py", special.xlog1py, lambda a, b: a * np.log1p(b), b=(-0.6, 2.0))
case("xlog1py", lambda x: special.xlog1py(x, 0.5), (2, 3), numpy=lambda x: x * np.log1p(0.5), label="number")
case("xlog1py", lambda x: special.xlog1py(0.5, x), (2, 3), numpy=lambda x: 0.5 * np.log1p(x), domain=(-0.6, 2.0), label="number_first")


def _constant(*shape):
    """What torch has no derivative for."""
    return ferrograd.from_numpy(np.linspace(1.5, 3.5, int(np.prod(shape))).reshape(shape))


# The upper one for whole numbers: e^-x Σ x^k / k!.
def _upper(a, x):
    return math.exp(-x) * sum(x**k / math.factorial(k) for k in range(a))


for op, scale, offset in (("igamma", -1, 1), ("igammac", 1, 0)):

    def of_three(x, scale=scale, offset=offset):
        return np.vectorize(lambda v: offset + scale * _upper(3, v), otypes=[float])(x)

    for shape in SHAPES:
        case(op, lambda x, op=op: getattr(ferrograd.tensor(3.0, dtype=x.dtype), op)(x), shape, numpy=of_three, domain=(0.3, 4.0))
    case(op, lambda x, op=op: getattr(_constant(2, 1), op)(x), (2, 3), domain=(0.3, 4.0), label="broadcast")
for shape in SHAPES:
    case("zeta", lambda q: special.zeta(2.5, q), shape, domain=(0.5, 4.0))
case("zeta", lambda q: special.zeta(_constant(2, 1), q), (2, 3), domain=(0.5, 4.0), label="broadcast")

not_differentiable(
    "has no derivative in torch: its result is off the tape; see test_special.py",
    *("airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "spherical_bessel_j0"),
    *(f"modified_bessel_{kind}" for kind in ("i0", "i1", "k0", "k1")),
    *(f"scaled_modified_bessel_{kind}" for kind in ("k0", "k1")),
    *(f"{shifted}chebyshev_polynomial_{kind}" for shifted in ("", "shifted_") for kind in "tuvw"),
    *("hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p"),
)
