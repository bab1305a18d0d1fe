"""Activation functions, softmax and dropout."""

import numpy as np

import ferrograd
from ferrograd import ops
from ferrograd.nn import functional

from .case import APART, Input, case, domain_of


def _softmax(x, dim):
    e = np.exp(x - x.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


for dim in (0, -1):
    case("_safe_softmax", lambda x, dim=dim: ops.aten._safe_softmax(x, dim), (3, 2), numpy=lambda x, dim=dim: _softmax(x, dim))
    case(
        "_softmax_backward_data",
        lambda g, y, dim=dim: ops.aten._softmax_backward_data(g, y, dim, g.dtype),
        (3, 2),
        (3, 2),
        numpy=lambda g, y, dim=dim: y * (g - (g * y).sum(dim, keepdims=True)),
    )
    case(
        "_log_softmax_backward_data",
        lambda g, y, dim=dim: ops.aten._log_softmax_backward_data(g, y, dim, g.dtype),
        Input((2, 3), transposed=True),
        (2, 3),
        numpy=lambda g, y, dim=dim: g - np.exp(y) * g.sum(dim, keepdims=True),
    )


def activation(name, numpy, *arguments, domain=(-2.0, 2.0)):
    """A function of each element, in nn.functional."""
    for shape in [(), (3,), (2, 0, 3), Input((3, 4), domain_of(domain), transposed=True)]:
        case(name, lambda x: getattr(functional, name)(x, *arguments), shape, numpy=lambda x: numpy(x, *arguments), domain=domain)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    return scale * np.where(x < 0, alpha * np.expm1(input_scale * x), x)


def _hardsigmoid(x):
    return np.clip(x / 6 + 0.5, 0, 1)


SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946)
# Away from the kinks at 3 and 6, and at 1/2.
WIDE = ((-4.0, -3.1), (-2.9, -0.1), (0.1, 2.9), (3.1, 5.9), (6.1, 7.0))
HALVES = ((-2.0, -0.6), (-0.4, 0.4), (0.6, 2.0))

activation("relu6", lambda x: np.clip(x, 0, 6), domain=WIDE)
activation("hardtanh", lambda x, low=-1.0, high=1.0: np.clip(x, low, high), domain=HALVES)
activation("hardtanh", np.clip, -0.5, 0.5, domain=HALVES)
activation("leaky_relu", lambda x, slope=0.01: np.where(x > 0, x, slope * x), domain=APART)
activation("leaky_relu", lambda x, slope: np.where(x > 0, x, slope * x), -0.7, domain=APART)
activation("threshold", lambda x, t, value: np.where(x > t, x, value), 0.5, -3.0, domain=HALVES)
activation("hardsigmoid", _hardsigmoid, domain=WIDE)
activation("hardswish", lambda x: x * _hardsigmoid(x), domain=WIDE)
activation("hardshrink", lambda x, l=0.5: np.where(np.abs(x) > l, x, 0), domain=HALVES)
activation("softshrink", lambda x, l=0.5: np.sign(x) * np.maximum(np.abs(x) - l, 0), domain=HALVES)
activation("rrelu", lambda x, low=1 / 8, high=1 / 3: np.where(x > 0, x, (low + high) / 2 * x), domain=APART)
activation("rrelu", lambda x, low, high: np.where(x > 0, x, (low + high) / 2 * x), 0.2, 0.8, domain=APART)
activation("elu", _elu, domain=APART)
activation("elu", _elu, 1.5, domain=APART)
activation("celu", lambda x, alpha=1.0: _elu(x, alpha, 1.0, 1 / alpha), domain=APART)
activation("celu", lambda x, alpha: _elu(x, alpha, 1.0, 1 / alpha), 1.5, domain=APART)
activation("selu", lambda x: _elu(x, *SELU), domain=APART)
activation("silu", lambda x: x * _sigmoid(x))
activation("mish", lambda x: x * np.tanh(np.log1p(np.exp(x))))
activation("logsigmoid", lambda x: np.log(_sigmoid(x)))
activation("softsign", lambda x: x / (1 + np.abs(x)), domain=APART)
activation("tanhshrink", lambda x: x - np.tanh(x))
activation("sigmoid", _sigmoid)
activation("tanh", np.tanh)

for dim, shape in ((0, (4,)), (1, (3, 4)), (-2, (2, 3)), (-1, (0, 2))):
    half = shape[dim] // 2
    case(
        "glu",
        lambda x, dim=dim: functional.glu(x, dim),
        shape,
        numpy=lambda x, dim=dim: np.multiply(*[f(part) for f, part in zip((np.array, _sigmoid), np.split(x, 2, dim))]),
    )

for shape, weight in (((2, 3, 4), (3,)), ((2, 3), (1,)), ((4,), (1,)), ((), ()), ((0, 2), (2,))):
    column = (-1,) + (1,) * (len(shape) - 2) if weight == (3,) else weight
    case(
        "prelu",
        lambda x, w: x.prelu(w),
        Input(shape, APART),
        weight,
        numpy=lambda x, w, column=column: np.where(x > 0, x, x * w.reshape(column)),
    )


def drawn(name, *arguments, module=ferrograd):
    """A random function with the same numbers each time."""

    def call(x):
        ferrograd.manual_seed(3)
        y = getattr(module, name)(x, *arguments)
        return y[0] if isinstance(y, tuple) else y

    case(name, call, Input((3, 2, 4), APART), label="drawn")
    case(name, call, Input((4, 3), APART), label="drawn")


for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout"):
    drawn(name, 0.4, True)
drawn("rrelu", 0.1, 0.9, True)
drawn("gumbel_softmax", 0.7, module=functional)
