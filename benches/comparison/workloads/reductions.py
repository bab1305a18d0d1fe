"""Results over dims: sums, extremes, deviations, running sums, softmax."""

import numpy as np

from ..registry import need, workload
from .elementwise import FLOATS, SIZES, timed

NAMES = ["sum", "mean", "amax", "amin", "argmax", "prod", "var", "std", "norm", "all", "any"]
# How numpy's kind of library calls them.
OTHER_NAMES = {"amax": "max", "amin": "min"}
OVER = {"all": None, "last dim": 1, "first dim": 0}


def function(lib, op):
    """The reduction as a function of an array and a dim (or None)."""
    if lib.gradients == "tape":
        f = getattr(lib, op)
        return lambda x, dim: f(x) if dim is None else f(x, dim=dim)
    if op == "norm":
        return lambda x, dim: (x * x).sum() ** 0.5 if dim is None else (x * x).sum(axis=dim) ** 0.5
    options = {"ddof": 1} if op in ("var", "std") else {}
    f = lib.function(OTHER_NAMES.get(op, op))
    return lambda x, dim: f(x, axis=dim, **options)


def square(lib, size, op, dtype):
    side = int(SIZES[size] ** 0.5)
    if op == "prod":
        return lib.from_array(np.sign(lib.numbers(side, side, dtype=dtype)))
    x = lib.array(side, side, dtype=dtype)
    if op in ("all", "any"):
        x = x > (5 if op == "any" else -9)
    return x


@workload("{op} over {over} {size} {dtype}", op=NAMES[:-2], over=OVER, size=SIZES, dtype=FLOATS)
def over_dims(lib, op, over, size, dtype):
    f = function(lib, op)
    return timed(lib, lambda x: f(x, OVER[over]), square(lib, size, op, dtype))


@workload("{op} of transposed over {over} {size} {dtype}", op=["sum", "amax", "var"], over=OVER, size=SIZES, dtype=FLOATS)
def of_transposed(lib, op, over, size, dtype):
    f = function(lib, op)
    return timed(lib, lambda x: f(x, OVER[over]), square(lib, size, op, dtype).T)


@workload("{op} over {over} {size} bool", op=["all", "any", "sum"], over=OVER, size=SIZES)
def of_bools(lib, op, over, size):
    f = function(lib, op)
    return timed(lib, lambda x: f(x, OVER[over]), square(lib, size, "any" if op == "sum" else op, "float32"))


@workload("sum over {over} {size} int64", over=OVER, size=SIZES)
def of_integers(lib, over, size):
    side = int(SIZES[size] ** 0.5)
    x = lib.from_array((lib.numbers(side, side) * 1000).astype("int64"))
    f = function(lib, "sum")
    return timed(lib, lambda x: f(x, OVER[over]), x)


@workload("{op} 64x{columns} over {over} float32", op=["sum", "amax", "argmax"], columns=[10, 100, 1000], over=OVER)
def of_a_batch(lib, op, columns, over):
    f = function(lib, op)
    return timed(lib, lambda x: f(x, OVER[over]), lib.array(64, columns))


@workload("cumsum over {over} {size} {dtype}", over=["last dim", "first dim"], size=SIZES, dtype=FLOATS)
def cumsum(lib, over, size, dtype):
    dim = OVER[over]
    return timed(lib, lambda x: lib.cumsum(x, dim), square(lib, size, "cumsum", dtype))


@workload("{op} {shape} {dtype}", op=["softmax", "log_softmax"], shape=["64x10", "128x10", "1024x1024", "4096x4096"], dtype=FLOATS)
def softmax(lib, op, shape, dtype):
    need(lib.gradients == "tape", "no softmax in its core")
    x = lib.array(*map(int, shape.split("x")), dtype=dtype)
    f = getattr(lib, op)
    return lambda: f(x, 1)
