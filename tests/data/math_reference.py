"""Writes math_f64.bin, the correctly rounded values that src/kernels/math/tests.rs measures float64 against.

Needs gmpy2 (GNU MPFR). Usage: python math_reference.py OUT [POINTS_PER_FUNCTION]

Little endian, one block per function: the name in 8 bytes padded with zeros, u32 number of arguments, u32 number
of records; a record is the arguments (f64 each), the rounded value (f64), and (exact - rounded) in units in the
last place of the rounded value, times 2^15 (i16).
"""

import math
import random
import struct
import sys

import gmpy2
from gmpy2 import mpfr

gmpy2.get_context().precision = 2200  # enough for sin(1e308) and for 1 - tanh(20)


def uniform(a, b):
    return lambda: random.uniform(a, b)


def powers(a, b, sign=True):
    """2^u with u uniform, of either sign."""
    return lambda: math.ldexp(random.uniform(1, 2), random.randint(a, b)) * (random.choice((-1, 1)) if sign else 1)


def near(centre, a=-52, b=-2):
    return lambda: centre + powers(a, b)()


def near_multiples(step, limit):
    """Numbers next to multiples of `step`, where a reduction loses most."""

    def draw():
        n = random.randint(1, random.choice((10, 1000, limit)))
        x = float(n * step)
        return x + random.randint(-1, 1) * math.ulp(x)

    return draw


HALF_PI = gmpy2.const_pi() / 2
ALL = powers(-1074, 1023)
POSITIVE = powers(-1074, 1023, sign=False)
ANGLES = [uniform(-10, 10), powers(-30, 10), powers(10, 60), near_multiples(HALF_PI, 1 << 40), ALL]
UNIT = [uniform(-1, 1), powers(-30, -1), near(1, -52, -2), near(-1, -52, -2), powers(-1074, -1)]
LOGS = [uniform(0.5, 2), near(1), powers(-20, 20, sign=False), POSITIVE]
WIDE = [uniform(-3, 3), uniform(-25, 25), powers(-60, 4), powers(-1074, 9)]

FUNCTIONS = {
    "exp": (gmpy2.exp, [uniform(-1, 1), uniform(-745.2, 709.8), powers(-60, 4), uniform(-745.2, -708)]),
    "exp2": (gmpy2.exp2, [uniform(-1, 1), uniform(-1075, 1024), powers(-60, 4), uniform(-1075, -1020)]),
    "expm1": (gmpy2.expm1, [uniform(-1, 1), uniform(-40, 709.8), powers(-60, 4), powers(-1074, 2)]),
    "sigmoid": (lambda x: 1 / (1 + gmpy2.exp(-x)), [uniform(-10, 10), uniform(-745.2, 40), powers(-60, 4)]),
    "tanh": (gmpy2.tanh, [uniform(-1, 1), uniform(-20, 20), powers(-60, 4), powers(-1074, 4)]),
    "ln": (gmpy2.log, LOGS),
    "log2": (gmpy2.log2, LOGS),
    "log10": (gmpy2.log10, LOGS),
    "log1p": (gmpy2.log1p, [uniform(-1, 1), near(-1), powers(-60, 4), powers(-1074, -1), POSITIVE]),
    "sin": (gmpy2.sin, ANGLES),
    "cos": (gmpy2.cos, ANGLES),
    "tan": (gmpy2.tan, ANGLES),
    "erf": (gmpy2.erf, [uniform(-1.2, 1.2), uniform(-6, 6), powers(-30, 2), powers(-1074, 2)]),
    "erfc": (gmpy2.erfc, [uniform(-6, 6), uniform(-1, 27.3), powers(-30, 2), uniform(26, 27.3)]),
    "sinh": (gmpy2.sinh, WIDE),
    "cosh": (gmpy2.cosh, WIDE),
    "asinh": (gmpy2.asinh, [uniform(-1, 1), powers(-30, 10), ALL]),
    "acosh": (gmpy2.acosh, [uniform(1, 3), lambda: 1 + powers(-52, 2, sign=False)(), powers(1, 1023, sign=False)]),
    "atanh": (gmpy2.atanh, UNIT),
    "asin": (gmpy2.asin, UNIT),
    "acos": (gmpy2.acos, UNIT),
    "atan": (gmpy2.atan, [uniform(-1, 1), uniform(-5, 5), powers(-30, 10), ALL]),
    "softplus": (lambda x: gmpy2.log1p(gmpy2.exp(x)), [uniform(-10, 10), uniform(-745.2, 40), powers(-60, 4)]),
    "rsqrt": (lambda x: 1 / gmpy2.sqrt(x), [POSITIVE]),
    "pow": (
        lambda x, y: gmpy2.exp(y * gmpy2.log(x)),
        [
            lambda: (random.uniform(0.1, 10), random.uniform(-100, 100)),
            lambda: (near(1)(), powers(-5, 30)()),
            lambda: (POSITIVE(), random.uniform(-3, 3)),
            lambda: (x := POSITIVE(), random.uniform(-1075, 1024) / math.log2(x)),
            lambda: (x := random.uniform(0.3, 3), random.uniform(-1075, 1024) / math.log2(x)),
        ],
    ),
    "atan2": (gmpy2.atan2, [lambda: (powers(-30, 30)(), powers(-30, 30)()), lambda: (ALL(), ALL())]),
}


def record(f, args):
    if any(math.isnan(v) or math.isinf(v) for v in args):
        return None
    exact = f(*(mpfr(v) for v in args))
    if gmpy2.is_nan(exact) or gmpy2.is_infinite(exact):
        return None
    try:
        rounded = float(exact)
    except OverflowError:
        rounded = math.copysign(math.inf, exact)
    if math.isinf(rounded) or rounded == 0:
        part = 0
    else:
        part = int(round(float((exact - mpfr(rounded)) / mpfr(math.ulp(rounded))) * 32768))
    return struct.pack(f"<{len(args)}ddh", *args, rounded, max(-32768, min(32767, part)))


def main():
    random.seed(2026)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    only = sys.argv[3:] or list(FUNCTIONS)
    with open(sys.argv[1], "wb") as out:
        for name in only:
            f, draws = FUNCTIONS[name]
            records, arity = [], 1
            for i in range(count):
                args = draws[i % len(draws)]()
                args = args if isinstance(args, tuple) else (args,)
                arity = len(args)
                one = record(f, args)
                if one:
                    records.append(one)
            out.write(struct.pack("<8sII", name.encode(), arity, len(records)) + b"".join(records))


main()
