"""Functions of each element: arithmetic, elementary functions, comparisons, conversions, updates in place."""

from ..registry import finished, need, workload

SIZES = {"1K": 1 << 10, "64K": 1 << 16, "1M": 1 << 20, "16M": 1 << 24}
FLOATS = ["float32", "float64"]

BINARY = {
    "add": lambda lib, a, b: a + b,
    "sub": lambda lib, a, b: a - b,
    "mul": lambda lib, a, b: a * b,
    "div": lambda lib, a, b: a / b,
    "maximum": lambda lib, a, b: lib.maximum(a, b),
    "minimum": lambda lib, a, b: lib.minimum(a, b),
    "pow": lambda lib, a, b: abs(a) ** b,
    "floor_divide": lambda lib, a, b: a // b,
    "remainder": lambda lib, a, b: a % b,
    "lt": lambda lib, a, b: a < b,
    "eq": lambda lib, a, b: a == b,
}
NUMBER = {
    "add": lambda x: x + 1.5,
    "mul": lambda x: x * 1.5,
    "pow 2": lambda x: x**2,
    "pow 3": lambda x: x**3,
    "pow 0.5": lambda x: abs(x) ** 0.5,
    "pow 2.5": lambda x: abs(x) ** 2.5,
    "lt": lambda x: x < 0.5,
}
NAMED = ["sqrt", "exp", "log", "log1p", "expm1", "tanh", "sigmoid", "relu", "abs", "neg", "sin", "cos", "erf", "gelu", "softplus"]
POSITIVE = {"sqrt", "log", "log1p"}
NUMPY_NAMES = {"neg": "negative"}
CASTS = [
    ("float32", "float64"),
    ("float64", "float32"),
    ("int64", "float32"),
    ("float32", "int64"),
    ("bool", "float32"),
    ("uint8", "float32"),
    ("int64", "int32"),
]


def two(lib, size, dtype):
    return lib.array(SIZES[size], dtype=dtype), lib.array(SIZES[size], seed=1, dtype=dtype)


def timed(lib, f, *operands):
    """A call of the function, compiled where that is the library's way."""
    f = lib.compile(f)
    return lambda: finished(lib, f(*operands))


@workload("{op} {size} {dtype}", op=BINARY, size=SIZES, dtype=FLOATS)
def binary(lib, op, size, dtype):
    return timed(lib, lambda a, b: BINARY[op](lib, a, b), *two(lib, size, dtype))


@workload("{op} number {size} {dtype}", op=NUMBER, size=SIZES, dtype=FLOATS)
def with_number(lib, op, size, dtype):
    return timed(lib, NUMBER[op], two(lib, size, dtype)[0])


@workload("{op} {size} {dtype}", op=NAMED, size=SIZES, dtype=FLOATS)
def unary(lib, op, size, dtype):
    x, _ = two(lib, size, dtype)
    f = lib.function(NUMPY_NAMES.get(op, op) if lib.gradients != "tape" else op)
    return timed(lib, f, abs(x) + 0.01 if op in POSITIVE else x)


@workload("clamp {size} {dtype}", size=SIZES, dtype=FLOATS)
def clamp(lib, size, dtype):
    f = lib.function("clamp" if lib.gradients == "tape" else "clip")
    return timed(lib, lambda x: f(x, -0.5, 0.5), two(lib, size, dtype)[0])


@workload("where {size} {dtype}", size=SIZES, dtype=FLOATS)
def where(lib, size, dtype):
    a, b = two(lib, size, dtype)
    return timed(lib, lib.where, a > 0, a, b)


@workload("add {which} {size} {dtype}", which=["row", "column"], size=SIZES, dtype=FLOATS)
def broadcast(lib, which, size, dtype):
    side = int(SIZES[size] ** 0.5)
    a, b = lib.array(side, side, dtype=dtype), lib.array(*((side,) if which == "row" else (side, 1)), seed=1, dtype=dtype)
    return timed(lib, lambda a, b: a + b, a, b)


@workload("in-place {op} {size} {dtype}", op=["sub", "sub scaled", "add alpha", "mul number", "copy"], size=SIZES, dtype=FLOATS)
def in_place(lib, op, size, dtype):
    """Updates of memory, by so little that the numbers stay what they are."""
    need(lib.gradients == "tape", "no in-place ops")
    x, y = two(lib, size, dtype)
    y = y * 1e-20

    def sub():
        nonlocal x
        x -= y
        return x

    def sub_scaled():
        nonlocal x
        x -= 0.01 * y
        return x

    calls = {
        "sub": sub,
        "sub scaled": sub_scaled,
        "add alpha": lambda: x.add_(y, alpha=-0.01),
        "mul number": lambda: x.mul_(1.0),
        "copy": lambda: x.copy_(y),
    }
    return calls[op]


@workload("clone {size} {dtype}", size=SIZES, dtype=FLOATS)
def clone(lib, size, dtype):
    need(lib.gradients == "tape", "no clone")
    x, _ = two(lib, size, dtype)
    return lambda: x.clone()


@workload("transposed copy {size} {dtype}", size=SIZES, dtype=FLOATS)
def transposed_copy(lib, size, dtype):
    need(lib.gradients == "tape", "no contiguous")
    side = int(SIZES[size] ** 0.5)
    x = lib.array(side, side, dtype=dtype).T
    return lambda: x.contiguous()


@workload("cast {pair[0]} to {pair[1]} {size}", pair=CASTS, size=SIZES)
def cast(lib, pair, size):
    source, target = pair
    x = lib.from_array((lib.numbers(SIZES[size]) * 3).clip(0 if source == "uint8" else None, None).astype(source))
    if lib.gradients == "tape":
        dtype = getattr(lib, target)
        return lambda: x.to(dtype)
    return timed(lib, lambda x: x.astype(target), x)


@workload("{op} {size} int64", op=["add", "mul"], size=SIZES)
def integers(lib, op, size):
    a, b = (lib.from_array((lib.numbers(SIZES[size], seed=seed) * 1000).astype("int64")) for seed in (0, 1))
    return timed(lib, lambda a, b: BINARY[op](lib, a, b), a, b)


@workload("{op} {size} bool", op=["and", "or"], size=SIZES)
def bools(lib, op, size):
    a, b = (lib.from_array(lib.numbers(SIZES[size], seed=seed) > 0) for seed in (0, 1))
    return timed(lib, (lambda a, b: a & b) if op == "and" else (lambda a, b: a | b), a, b)
