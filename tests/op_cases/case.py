"""How the cases of op_cases are made."""

from collections import deque
from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np

import ferrograd

CASES = []
# Names without a derivative, and why.
NOT_DIFFERENTIABLE = {}

# The last index tensors that cases made, for a test that writes to them.
MADE = deque(maxlen=8)

# Domains that keep away from 0, and from whole numbers and halves.
APART = ((-2.0, -0.3), (0.3, 2.0))
STEPS = ((-1.8, -1.2), (-0.8, -0.2), (0.2, 0.8), (1.2, 1.8))


@dataclass(frozen=True)
class Input:
    """A random tensor: its shape, and the intervals its elements are drawn from."""

    shape: tuple
    domain: tuple = ((-2.0, 2.0),)
    transposed: bool = False

    def sample(self, rng):
        shape = self.shape[::-1] if self.transposed else self.shape
        picks = rng.integers(len(self.domain), size=shape)
        low, high = (np.array([interval[end] for interval in self.domain])[picks] for end in (0, 1))
        values = np.asarray(low + (high - low) * rng.random(shape))
        return values.T if self.transposed else values


@dataclass(frozen=True)
class Case:
    """A call of an op on tensors, and the same on numpy arrays."""

    op: str
    label: str
    call: Callable
    inputs: tuple
    numpy: Optional[Callable] = None
    # For ops whose second derivative is not to be had by differences (it is 0 or does not exist).
    second: bool = True

    def __str__(self):
        return f"{self.op}-{self.label}"


def domain_of(domain):
    return (domain,) if isinstance(domain[0], (int, float)) else tuple(domain)


def case(op, call, *inputs, numpy=None, label=None, domain=(-2.0, 2.0), second=True):
    """One case. Inputs are shapes or Inputs."""
    inputs = tuple(i if isinstance(i, Input) else Input(i, domain_of(domain)) for i in inputs)
    label = label or "_".join("x".join(map(str, i.shape)) or "0d" for i in inputs) + ("t" if inputs[0].transposed else "")
    number = sum(c.op == op and c.label.split("#")[0] == label for c in CASES)
    CASES.append(Case(op, f"{label}#{number}" if number else label, call, inputs, numpy, second))


def method(op):
    return lambda x, *others: getattr(x, op)(*others)


def unary(*ops, domain=(-2.0, 2.0), numpy=None, second=True):
    """Functions of each element; `numpy` defaults to the function of the same name."""
    for op in ops:
        reference = numpy or getattr(np, op, None)
        for shape in [(), (3,), (2, 3), (2, 0, 3)]:
            case(op, method(op), shape, numpy=reference, domain=domain, second=second)
        case(op, method(op), Input((3, 4), domain_of(domain), transposed=True), numpy=reference, second=second)


def binary(*ops, domain=(-2.0, 2.0), other=None, numpy=None, second=True):
    """Functions of pairs of elements, which broadcast."""
    a, b = domain_of(domain), domain_of(other or domain)
    for op in ops:
        reference = numpy or getattr(np, op, None)
        for left, right in [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (3,)), ((3,), ()), ((), ()), ((0, 3), (1, 3))]:
            case(op, method(op), Input(left, a), Input(right, b), numpy=reference, second=second)
        case(op, method(op), Input((3, 4), a, True), Input((3, 4), b), numpy=reference, second=second)


def reduction(*ops, domain=(-2.0, 2.0), numpy=None, empty=True, whole=True):
    """Ops over dims, with `dim` and `keepdim`."""
    for op in ops:
        reference = numpy or getattr(np, op, None)

        def against(reference=reference, **kwargs):
            return None if reference is None else lambda x: reference(x, **kwargs)

        if whole:
            for shape in [(), (3,), (2, 3)]:
                case(op, method(op), shape, numpy=against(), domain=domain)
        case(op, lambda x, op=op: getattr(x, op)(0), (3, 2), numpy=against(axis=0), domain=domain, label="dim0")
        case(op, lambda x, op=op: getattr(x, op)(-1, keepdim=True), (2, 3), numpy=against(axis=-1, keepdims=True), domain=domain, label="keep")
        transposed = Input((4, 3), domain_of(domain), transposed=True)
        case(op, lambda x, op=op: getattr(x, op)(1), transposed, numpy=against(axis=1), label="transposed")
        if empty:
            case(op, lambda x, op=op: getattr(x, op)(1), (0, 3), numpy=against(axis=1), label="empty", domain=domain)


def places(values):
    """Indices, or a mask, as a tensor."""
    MADE.append(ferrograd.from_numpy(np.array(values)))
    return MADE[-1]


def shaped(op, *arguments, numpy=None, shape=(2, 3), **keywords):
    """A method with constant arguments, on a contiguous and on a transposed tensor."""
    label = "_".join(str(a).replace(" ", "") for a in arguments if isinstance(a, (int, float, tuple, str))) or "plain"
    label += "".join(f"_{key}{value}" for key, value in keywords.items())
    for transposed in (False, True):
        # Arguments that are functions make tensors, when the case runs.
        def call(x, op=op):
            return getattr(x, op)(*[a() if callable(a) else a for a in arguments], **keywords)

        case(op, call, Input(shape, transposed=transposed), numpy=numpy, label=label + "t" * transposed)


def function(op, call, *inputs, numpy=None, label=None):
    """A function of several tensors."""
    case(op, lambda *tensors: getattr(ferrograd, op)(*call(*tensors)), *inputs, numpy=numpy, label=label)


def not_differentiable(reason, *names):
    """Names without a derivative, and why."""
    NOT_DIFFERENTIABLE.update(dict.fromkeys(names, reason))
