"""Methods of tensors and functions of the top level."""

import math

import numpy as np

import ferrograd
from ferrograd import linalg
from ferrograd.nn import functional

from .case import APART, STEPS, Input, binary, case, function, method, not_differentiable, places, reduction, shaped, unary

# Functions of each element.
unary("exp", "exp2", "expm1", "sin", "cos", "sinh", "cosh", "tanh", "square")
unary("negative", "neg", numpy=np.negative)
unary("positive", numpy=np.positive)
unary("abs", "absolute", domain=APART, numpy=np.abs)
unary("asin", "arcsin", domain=(-0.9, 0.9), numpy=np.arcsin)
unary("acos", "arccos", domain=(-0.9, 0.9), numpy=np.arccos)
unary("atan", "arctan", numpy=np.arctan)
unary("asinh", "arcsinh", numpy=np.arcsinh)
unary("acosh", "arccosh", domain=(1.2, 4.0), numpy=np.arccosh)
unary("atanh", "arctanh", domain=(-0.9, 0.9), numpy=np.arctanh)
unary("tan", domain=(-1.2, 1.2))
unary("log", "log2", "log10", "sqrt", domain=(0.2, 4.0))
unary("log1p", domain=(-0.6, 3.0))
unary("rsqrt", domain=(0.2, 4.0), numpy=lambda x: 1 / np.sqrt(x))
unary("reciprocal", domain=APART)
unary("ceil", "floor", "trunc", "round", "sign", domain=STEPS)
unary("fix", domain=STEPS, numpy=np.trunc)
unary("sgn", domain=STEPS, numpy=np.sign)
unary("frac", domain=STEPS, numpy=lambda x: x - np.trunc(x))
unary("deg2rad", "rad2deg")
unary("sigmoid", numpy=lambda x: 1 / (1 + np.exp(-x)))
unary("relu", domain=APART, numpy=lambda x: np.maximum(x, 0))
unary("logit", domain=(0.1, 0.9), numpy=lambda x: np.log(x / (1 - x)))
unary("sinc", domain=APART)
unary("erf", "erfc")
unary("erfinv", domain=(-0.9, 0.9))
unary("lgamma", "digamma", domain=(0.5, 4.0))
case("polygamma", lambda x: x.polygamma(1), (2, 3), domain=(0.5, 4.0))
unary("nan_to_num")

# Functions of two.
binary("add", numpy=np.add)
binary("sub", "subtract", numpy=np.subtract)
binary("mul", "multiply", numpy=np.multiply)
binary("div", "divide", "true_divide", other=APART, numpy=np.divide)
binary("pow", domain=(0.3, 2.0), other=(-2.0, 2.0), numpy=np.power)
binary("atan2", "arctan2", domain=APART, numpy=np.arctan2)
binary("hypot", domain=APART)
binary("maximum", "minimum", "fmax", "fmin")
binary("max", numpy=np.maximum)
binary("min", numpy=np.minimum)
binary("fmod", "remainder", domain=(2.2, 2.8), other=(0.95, 1.05))
binary("copysign", domain=APART, other=APART)
binary("logaddexp", "logaddexp2")
binary("rsub", numpy=lambda a, b: b - a)
binary("xlogy", domain=(0.3, 2.0), numpy=lambda a, b: a * np.log(b))

for exponent in (2.0, -1.5):
    case("float_power", lambda x, n=exponent: x.float_power(n), (2, 3), domain=(0.3, 2.0), label=f"{exponent}")
case("float_power", lambda a, b: a.float_power(b), Input((2, 3), ((0.3, 2.0),)), (3,))

case("add", lambda a, b: a.add(b, alpha=0.5), (2, 3), (3,), numpy=lambda a, b: a + 0.5 * b, label="alpha")
case("sub", lambda a, b: a.sub(b, alpha=0.5), (2, 3), (3,), numpy=lambda a, b: a - 0.5 * b, label="alpha")
case("pow", lambda x: x.pow(3), (2, 3), numpy=lambda x: x**3, label="cube")
case("pow", lambda x: x.pow(2), (2, 3), numpy=lambda x: x**2, label="square")
case("pow", lambda x: x.pow(-1.5), (2, 3), numpy=lambda x: x**-1.5, domain=(0.3, 2.0), label="power")

BOUNDED = ((-2.0, -1.1), (-0.9, 0.4), (0.6, 2.0))
for op in ("clamp", "clip"):
    case(op, lambda x, op=op: getattr(x, op)(-1.0, 0.5), (3, 4), numpy=lambda x: np.clip(x, -1.0, 0.5), domain=BOUNDED)
    case(op, lambda x, op=op: getattr(x, op)(min=0.5), (3, 4), numpy=lambda x: np.maximum(x, 0.5), domain=BOUNDED, label="min")
    case(op, lambda x, op=op: getattr(x, op)(max=0.5), (3, 4), numpy=lambda x: np.minimum(x, 0.5), domain=BOUNDED, label="max")
case("clamp_min", lambda x: x.clamp_min(0.5), (3, 4), numpy=lambda x: np.maximum(x, 0.5), domain=BOUNDED)
case("clamp_max", lambda x: x.clamp_max(0.5), (3, 4), numpy=lambda x: np.minimum(x, 0.5), domain=BOUNDED)
case("lerp", lambda a, b, w: a.lerp(b, w), (2, 3), (2, 3), (3,), numpy=lambda a, b, w: a + w * (b - a))
case("lerp", lambda a, b: a.lerp(b, 0.3), (2, 3), (2, 3), numpy=lambda a, b: a + 0.3 * (b - a))
case("addcmul", lambda a, b, c: a.addcmul(b, c, value=0.5), (2, 3), (2, 3), (3,), numpy=lambda a, b, c: a + 0.5 * b * c)
case("addcdiv", lambda a, b, c: a.addcdiv(b, c, value=0.5), (2, 3), (2, 3), Input((3,), APART), numpy=lambda a, b, c: a + 0.5 * b / c)

for op in ("clamp", "clip"):
    case(op, lambda x, a, b, op=op: getattr(x, op)(a, b), Input((3, 4), BOUNDED), Input((4,), ((-1.05, -0.95),)), Input((3, 1), ((0.45, 0.55),)), numpy=np.clip, label="tensors")
case("clamp_min", lambda x, a: x.clamp_min(a), (3, 4), (4,), numpy=np.maximum, label="tensor")
case("clamp_max", lambda x, a: x.clamp_max(a), (3, 4), (4,), numpy=np.minimum, label="tensor")
case("div", lambda a, b: a.div(b, rounding_mode="floor"), Input((2, 3), ((2.2, 2.8),)), Input((3,), ((0.95, 1.05),)), numpy=np.floor_divide, label="floor")
case("div", lambda a, b: a.div(b, rounding_mode="trunc"), Input((2, 3), ((-2.8, -2.2),)), Input((3,), ((0.95, 1.05),)), numpy=lambda a, b: np.trunc(a / b), label="trunc")
case("pow", lambda x: ferrograd.pow(2.5, x), (2, 3), numpy=lambda x: 2.5**x, label="number_base")
case("rsub", lambda x: x.rsub(2.0, alpha=0.5), (2, 3), numpy=lambda x: 2 - 0.5 * x, label="alpha")
case("round", lambda x: x.round(decimals=1), (2, 3), domain=((0.11, 0.14), (0.56, 0.59)), numpy=lambda x: np.round(x, 1), label="decimals")
case("logit", lambda x: x.logit(0.2), (2, 3), domain=((0.05, 0.15), (0.3, 0.7), (0.85, 0.95)), numpy=lambda x: np.log(np.clip(x, 0.2, 0.8) / (1 - np.clip(x, 0.2, 0.8))), label="eps")
case("polygamma", lambda x: ferrograd.polygamma(2, x), (2, 3), domain=(0.5, 4.0), label="function")
binary("ldexp", numpy=lambda a, b: a * 2**b)
case("where", lambda a, b: ferrograd.where(ferrograd.tensor([True, False, True]), a, b), (2, 3), (3,), numpy=lambda a, b: np.where([True, False, True], a, b))
case("where", lambda a: a.where(ferrograd.tensor([True, False, True]), 0.5), (2, 3), numpy=lambda a: np.where([True, False, True], a, 0.5), label="number")

# Reductions.
reduction("sum", "mean", "prod", numpy=None)
reduction("nansum", "nanmean")
reduction("amax", "amin", whole=False)
reduction("var", numpy=lambda x, **kw: np.var(x, ddof=1, **kw), whole=False, empty=False)  # which is warned of: test_reduce.py
reduction("std", numpy=lambda x, **kw: np.std(x, ddof=1, **kw), whole=False, empty=False)
reduction("logsumexp", numpy=lambda x, **kw: np.log(np.sum(np.exp(x), **kw)), whole=False)

case("sum", lambda x: x.sum((0, 2)), (2, 3, 4), numpy=lambda x: x.sum((0, 2)), label="dims")
case("mean", lambda x: x.mean((0, -1), keepdim=True), (2, 3, 4), numpy=lambda x: x.mean((0, -1), keepdims=True), label="dims")
case("var", lambda x: x.var((0, 1), correction=0), (2, 3), numpy=np.var, label="correction")
case("std", lambda x: x.std(correction=0), (2, 3), numpy=np.std, label="correction")
case("var_mean", lambda x: x.var_mean(1), (2, 3))
case("std_mean", lambda x: x.std_mean(1), (2, 3))
for op in ("cumsum", "cumprod"):
    for shape, dim in [((3,), 0), ((2, 3), 0), ((2, 3), -1), ((2, 0), 0)]:
        reference = getattr(np, op)
        case(op, lambda x, op=op, dim=dim: getattr(x, op)(dim), shape, numpy=lambda x, f=reference, dim=dim: f(x, axis=dim), label=f"{shape}-{dim}")
case("cumprod", lambda x: x.cumprod(0), (3,), numpy=np.cumprod, domain=(0.0, 0.0), label="zeros")
case("logcumsumexp", lambda x: x.logcumsumexp(1), (2, 3), numpy=lambda x: np.log(np.cumsum(np.exp(x), axis=1)))
for op, ufunc in (("cummax", np.maximum), ("cummin", np.minimum)):
    case(op, lambda x, op=op: getattr(x, op)(1)[0], (2, 4), numpy=lambda x, f=ufunc: f.accumulate(x, axis=1))
for op, reference in (("max", np.max), ("min", np.min)):
    case(op, lambda x, op=op: getattr(x, op)(), (2, 4), numpy=reference)
    case(op, lambda x, op=op: getattr(x, op)(1)[0], (2, 4), numpy=lambda x, f=reference: f(x, axis=1), label="dim")
case("aminmax", lambda x: x.aminmax(dim=1), (2, 4))
case("prod", lambda x: x.prod(), (4,), numpy=np.prod, domain=(0.0, 0.0), label="zeros")

# Softmax and norms.
def _gelu(x, approximate):
    if approximate == "tanh":
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * np.vectorize(lambda v: (1 + math.erf(v / math.sqrt(2))) / 2)(x)


def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


for shape, dim in [((3,), 0), ((2, 3), 0), ((2, 3), -1), ((2, 40), 1), ((2, 3, 2), 1)]:
    case("softmax", lambda x, dim=dim: x.softmax(dim), shape, numpy=lambda x, dim=dim: _softmax(x, dim), label=f"{shape}-{dim}")
    case("log_softmax", lambda x, dim=dim: x.log_softmax(dim), shape, numpy=lambda x, dim=dim: np.log(_softmax(x, dim)), label=f"{shape}-{dim}")
case("softmin", lambda x: functional.softmin(x, 1), (2, 3), numpy=lambda x: _softmax(-x, 1))
case("softmax", lambda x: x.softmax(0), (), numpy=lambda x: np.ones(()))
case("softmax", lambda x: x.softmax(1), (2, 0), numpy=lambda x: x)
for approximate in ("none", "tanh"):
    case(
        "gelu",
        lambda x, how=approximate: functional.gelu(x, approximate=how),
        (3, 2),
        numpy=lambda x, how=approximate: _gelu(x, how),
        label=approximate,
    )
case("softplus", functional.softplus, (3, 2), numpy=lambda x: np.log1p(np.exp(x)))
case("softplus", lambda x: functional.softplus(x, 2, 1.5), (3, 2), numpy=lambda x: np.where(2 * x > 1.5, x, np.log1p(np.exp(2 * x)) / 2), domain=((-2.0, 0.7), (0.8, 2.0)), label="beta")
for p in (1, 2, 3, 0.5, 1.5, -1, float("inf"), -float("inf")):
    case("norm", lambda x, p=p: x.norm(p, 1), (2, 3), numpy=lambda x, p=p: np.linalg.norm(x, p, axis=1), domain=APART, label=f"p={p}")
case("norm", lambda x: x.norm(), (2, 3), numpy=np.linalg.norm, domain=APART)
case("dist", lambda x, y: x.dist(y, 3), (2, 3), (3,), numpy=lambda x, y: (np.abs(x - y) ** 3).sum() ** (1 / 3), domain=(0.0, 1.0))
case("renorm", lambda x: x.renorm(2, 0, 0.5), (2, 3), domain=APART)
case("trapezoid", lambda y: ferrograd.trapezoid(y, dim=0), (3, 2), numpy=lambda y: (y[1:] + y[:-1]).sum(0) / 2)
case("trapezoid", ferrograd.trapezoid, (2, 3), (3,), numpy=lambda y, x: ((y[:, 1:] + y[:, :-1]) * np.diff(x) / 2).sum(1))
case("trapz", lambda y: ferrograd.trapz(y, dx=0.5), (2, 3), numpy=lambda y: (y[:, 1:] + y[:, :-1]).sum(1) / 4)
case("cumulative_trapezoid", ferrograd.cumulative_trapezoid, (2, 3), numpy=lambda y: np.cumsum((y[:, 1:] + y[:, :-1]) / 2, 1))
case("sum_to_size", lambda x: x.sum_to_size(1, 3), (2, 2, 3), numpy=lambda x: x.sum((0, 1)).reshape(1, 3))

# Order and rank.
case("sort", lambda x: x.sort(0)[0], (3, 2), numpy=lambda x: np.sort(x, 0))
case("sort", lambda x: x.sort(descending=True)[0], (2, 3), numpy=lambda x: -np.sort(-x), label="descending")
case("msort", method("msort"), (3, 2), numpy=lambda x: np.sort(x, 0))
case("topk", lambda x: x.topk(2)[0], (2, 4), numpy=lambda x: -np.sort(-x)[:, :2])
case("kthvalue", lambda x: x.kthvalue(2, 0)[0], (3, 2), numpy=lambda x: np.sort(x, 0)[1])
case("median", lambda x: x.median(), (5,), numpy=np.median)
case("median", lambda x: x.median(1, True)[0], (2, 3), numpy=lambda x: np.median(x, 1, keepdims=True), label="dim")
case("nanmedian", lambda x: x.nanmedian(), (5,), numpy=np.median)
case("nanmedian", lambda x: x.nanmedian(1)[0], (2, 3), numpy=lambda x: np.median(x, 1), label="dim")
case("mode", lambda x: x.mode(0)[0], (3, 2), numpy=lambda x: x.min(0))
for op, reference in (("quantile", np.quantile), ("nanquantile", np.nanquantile)):
    case(op, lambda x, op=op: getattr(x, op)(0.3), (2, 5), numpy=lambda x, f=reference: f(x, 0.3))
    case(op, lambda x, op=op: getattr(x, op)(0.6, 1), (2, 5), numpy=lambda x, f=reference: f(x, 0.6, axis=1), label="dim")
    case(op, lambda x, q, op=op: getattr(x, op)(q, 0), (5, 2), Input((3,), ((0.1, 0.15), (0.6, 0.65))), numpy=lambda x, q, f=reference: f(x, q, axis=0), label="several")

# Products of matrices.
case("mm", method("mm"), (2, 3), (3, 4), numpy=np.matmul)
case("mm", method("mm"), Input((3, 2), transposed=True), (2, 4), numpy=np.matmul)
case("mm", method("mm"), (2, 0), (0, 4), numpy=np.matmul)
case("mv", method("mv"), (2, 3), (3,), numpy=np.matmul)
case("dot", method("dot"), (3,), (3,), numpy=np.dot)
case("vdot", method("vdot"), (3,), (3,), numpy=np.dot)
case("inner", method("inner"), (2, 3), (4, 3), numpy=np.inner)
case("outer", method("outer"), (2,), (3,), numpy=np.outer)
case("ger", method("ger"), (2,), (3,), numpy=np.outer)
case("bmm", method("bmm"), (2, 2, 3), (2, 3, 4), numpy=np.matmul)
for left, right in [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((2, 1, 2, 3), (4, 3, 2)), ((2, 2, 3), (3,))]:
    case("matmul", method("matmul"), left, right, numpy=np.matmul)
case("addmm", lambda c, a, b: c.addmm(a, b, beta=0.5, alpha=2.0), (4,), (2, 3), (3, 4), numpy=lambda c, a, b: 0.5 * c + 2 * a @ b)
case("addmv", lambda c, a, b: c.addmv(a, b, beta=0.5, alpha=2.0), (2,), (2, 3), (3,), numpy=lambda c, a, b: 0.5 * c + 2 * a @ b)
case("addr", lambda c, a, b: c.addr(a, b, beta=0.5, alpha=2.0), (2, 3), (2,), (3,), numpy=lambda c, a, b: 0.5 * c + 2 * np.outer(a, b))
case("addbmm", lambda c, a, b: c.addbmm(a, b, beta=0.5), (2, 4), (3, 2, 3), (3, 3, 4), numpy=lambda c, a, b: 0.5 * c + (a @ b).sum(0))
case("baddbmm", lambda c, a, b: c.baddbmm(a, b, beta=0.5), (3, 2, 4), (3, 2, 3), (3, 3, 4), numpy=lambda c, a, b: 0.5 * c + a @ b)

for bias in (None, "bias"):
    inputs = [(2, 3), (4, 3)] + [(4,)] * (bias is not None)
    case("linear", functional.linear, *inputs, numpy=lambda x, w, b=0: x @ w.T + b)
case("linear", functional.linear, (2, 2, 3), (4, 3), (4,), numpy=lambda x, w, b: x @ w.T + b)

# Norms of vectors and matrices.
case("vector_norm", lambda x: linalg.vector_norm(x, 3, 1), (2, 3), numpy=lambda x: np.linalg.norm(x, 3, axis=1), domain=APART)
case("svdvals", linalg.svdvals, (2, 3, 4), numpy=lambda x: np.linalg.svd(x, compute_uv=False))
for order in ("fro", "nuc", 2, -2, 1, -1, float("inf"), -float("inf")):
    case("matrix_norm", lambda x, order=order: linalg.matrix_norm(x, order), (3, 4), numpy=lambda x, order=order: np.linalg.norm(x, order), domain=APART, label=f"{order}")

# Views and copies.
case("view", lambda x: x.view(3, 2), (2, 3), numpy=lambda x: x.reshape(3, 2))
case("view", lambda x: x.view(-1), (2, 0, 3), numpy=lambda x: x.reshape(0), label="empty")
case("view_as", lambda x, y: x.view_as(y), (2, 3), (6,), numpy=lambda x, y: x.reshape(6))
case("contiguous", lambda x: x.contiguous(), Input((3, 4), transposed=True), numpy=lambda x: x)
shaped("permute", 2, 0, 1, shape=(2, 3, 4), numpy=lambda x: x.transpose(2, 0, 1))
shaped("reshape", 3, 2, numpy=lambda x: x.reshape(3, 2))
shaped("reshape", (2, 3), shape=(6,), numpy=lambda x: x.reshape(2, 3))
case("reshape_as", lambda x, y: x.reshape_as(y), (2, 3), (6,), numpy=lambda x, y: x.reshape(6))
for op in ("flatten", "ravel"):
    shaped(op, numpy=np.ravel)
shaped("unflatten", 1, (2, 2), shape=(3, 4), numpy=lambda x: x.reshape(3, 2, 2))
for op in ("transpose", "swapaxes", "swapdims"):
    shaped(op, 0, -1, shape=(2, 3, 4), numpy=lambda x: x.swapaxes(0, -1))
for op in ("movedim", "moveaxis"):
    shaped(op, 0, 2, shape=(2, 3, 4), numpy=lambda x: np.moveaxis(x, 0, 2))
for op in ("t", "adjoint"):
    shaped(op, numpy=np.transpose)
shaped("squeeze", shape=(2, 1, 3), numpy=np.squeeze)
shaped("squeeze", 1, shape=(2, 1, 3), numpy=lambda x: x.squeeze(1))
shaped("unsqueeze", 1, numpy=lambda x: x[:, None])
shaped("expand", 4, 2, 3, numpy=lambda x: np.broadcast_to(x, (4, 2, 3)))
shaped("expand", -1, 3, shape=(2, 1), numpy=lambda x: np.broadcast_to(x, (2, 3)))
shaped("broadcast_to", (2, 2, 3), numpy=lambda x: np.broadcast_to(x, (2, 2, 3)))
case("expand_as", lambda x, y: x.expand_as(y), (3,), (2, 3), numpy=lambda x, y: np.broadcast_to(x, (2, 3)))
shaped("select", 1, -1, numpy=lambda x: x[:, -1])
shaped("narrow", 1, 1, 2, numpy=lambda x: x[:, 1:3])
case("narrow_copy", lambda x: ferrograd.narrow_copy(x, 1, 1, 2), (2, 3), numpy=lambda x: x[:, 1:3])
case("alias_copy", lambda x: ferrograd.alias_copy(x), (2, 3), numpy=np.positive)
shaped("unfold", 0, 3, 2, shape=(7, 2))
shaped("as_strided", (2, 2), (1, 1), shape=(4,), numpy=lambda x: x[[[0, 1], [1, 2]]])
shaped("diagonal", numpy=np.diagonal)
shaped("diagonal", 1, 0, 2, shape=(2, 3, 4), numpy=lambda x: np.diagonal(x, 1, 0, 2))
shaped("diag", numpy=np.diag)
shaped("diag", 1, shape=(3,), numpy=lambda x: np.diag(x, 1))
shaped("diag_embed", shape=(2, 3))
shaped("diagflat", 1, numpy=lambda x: np.diagflat(x, 1))
shaped("tril", -1, shape=(3, 3), numpy=lambda x: np.tril(x, -1))
shaped("triu", 1, shape=(2, 3, 3), numpy=lambda x: np.triu(x, 1))
shaped("trace", shape=(3, 4), numpy=np.trace)
shaped("flip", (0, 1), numpy=lambda x: np.flip(x, (0, 1)))
shaped("fliplr", numpy=np.fliplr)
shaped("flipud", numpy=np.flipud)
shaped("rot90", numpy=lambda x: np.rot90(x))
shaped("roll", 1, 1, numpy=lambda x: np.roll(x, 1, 1))
shaped("roll", 4, numpy=lambda x: np.roll(x, 4))
shaped("repeat", 2, 3, 1, numpy=lambda x: np.tile(x, (2, 3, 1)))
shaped("tile", 2, 2, numpy=lambda x: np.tile(x, (2, 2)))
shaped("repeat_interleave", 2, dim=1, numpy=lambda x: np.repeat(x, 2, 1))
for op in ("clone", "positive", "conj", "resolve_conj", "resolve_neg", "conj_physical"):
    shaped(op, numpy=np.positive)
for op in ("split", "unsafe_split"):
    shaped(op, 2, 1, shape=(2, 5))
for op in ("split_with_sizes", "unsafe_split_with_sizes"):
    shaped(op, (2, 3), 1, shape=(2, 5))
for op in ("chunk", "unsafe_chunk", "tensor_split"):
    shaped(op, 2, 1, shape=(2, 5))
shaped("unbind", 1)
shaped("hsplit", 2, shape=(2, 4))
shaped("vsplit", 2, shape=(4, 3))
shaped("dsplit", 2, shape=(2, 3, 4))
for op in ("atleast_1d", "atleast_2d", "atleast_3d"):
    function(op, lambda x: (x,), (), numpy=getattr(np, op))
    function(op, lambda x: (x,), (3,), numpy=getattr(np, op) if op != "atleast_3d" else None)

# Joining.
for op in ("cat", "concat", "concatenate"):
    function(op, lambda a, b: ([a, b], 1), (2, 3), (2, 2), numpy=lambda a, b: np.concatenate([a, b], 1))
    function(op, lambda a, b: ([a, b, a],), (0, 3), (2, 3), numpy=lambda a, b: np.concatenate([a, b, a]))
function("stack", lambda a, b: ([a, b], -1), (2, 3), (2, 3), numpy=lambda a, b: np.stack([a, b], -1))
for op, reference in (("hstack", np.hstack), ("vstack", np.vstack), ("row_stack", np.vstack), ("dstack", np.dstack)):
    function(op, lambda a, b: ([a, b],), (2, 3), (2, 3), numpy=lambda a, b, f=reference: f([a, b]))
function("column_stack", lambda a, b: ([a, b],), (2,), (2, 3), numpy=lambda a, b: np.column_stack([a, b]))
function("block_diag", lambda a, b: (a, b), (2, 3), (1, 2))
function("broadcast_tensors", lambda a, b: (a, b), (2, 1), (3,))
function("meshgrid", lambda a, b: (a, b), (2,), (3,))
function("cartesian_prod", lambda a, b: (a, b), (2,), (3,))
function("combinations", lambda a: (a,), (4,))

# Places picked by tensors.
shaped("index_select", 1, lambda: places([2, 0, 2]), numpy=lambda x: x[:, [2, 0, 2]])
shaped("gather", 1, lambda: places([[0, 0], [2, 1]]), numpy=lambda x: np.take_along_axis(x, np.array([[0, 0], [2, 1]]), 1))
shaped("take_along_dim", lambda: places([[0, 0], [2, 1]]), 1, numpy=lambda x: np.take_along_axis(x, np.array([[0, 0], [2, 1]]), 1))
shaped("take", lambda: places([5, 0, 5]), numpy=lambda x: x.ravel()[[5, 0, 5]])
shaped("masked_select", lambda: places([[True, False, True], [False, True, True]]))
shaped("masked_fill", lambda: places([True, False, True]), 0.5)
case("masked_fill", lambda x, v: x.masked_fill(places([True, False, True]), v), (2, 3), ())
case("masked_scatter", lambda x, v: x.masked_scatter(places([True, False, True]), v), (2, 3), (5,))
case("where", lambda x, y: ferrograd.where(places([True, False, True]), x, y), (2, 3), (2, 1), numpy=lambda x, y: np.where([True, False, True], x, y))
case("scatter", lambda x, v: x.scatter(1, places([[2, 0], [1, 2]]), v), (2, 3), (2, 2))
case("scatter", lambda x: x.scatter(1, places([[2, 0], [1, 2]]), 0.5), (2, 3))
case("scatter_add", lambda x, v: x.scatter_add(1, places([[2, 2], [1, 2]]), v), (2, 3), (2, 2))
for reduce in ("sum", "prod", "mean", "amax", "amin"):
    case("scatter_reduce", lambda x, v, r=reduce: x.scatter_reduce(1, places([[2, 2], [1, 2]]), v, r), (2, 3), (2, 2), label=reduce)
    if reduce != "sum":
        case("index_reduce", lambda x, v, r=reduce: x.index_reduce(1, places([2, 2]), v, r), (2, 3), (2, 2), label=reduce)
case("index_add", lambda x, v: x.index_add(1, places([2, 2]), v, alpha=0.5), (2, 3), (2, 2))
case("index_copy", lambda x, v: x.index_copy(1, places([2, 0]), v), (2, 3), (2, 2))
case("index_fill", lambda x: x.index_fill(1, places([2, 0]), 0.5), (2, 3))
case("index_put", lambda x, v: x.index_put((places([1, 0]), places([2, 0])), v), (2, 3), (2,))
case("index_put", lambda x, v: x.index_put((places([1, 1]), places([2, 2])), v, accumulate=True), (2, 3), (2,), label="accumulate")
case("put", lambda x, v: x.put(places([4, 0]), v), (2, 3), (2,))
case("select_scatter", lambda x, v: x.select_scatter(v, 1, 2), (2, 3), (2,))
case("slice_scatter", lambda x, v: x.slice_scatter(v, 1, 0, 3, 2), (2, 3), (2, 2))
case("diagonal_scatter", lambda x, v: x.diagonal_scatter(v), (2, 3), (2,))

# Parts that overlap, repeat, or are not all used.
case("as_strided", lambda x: x.as_strided((3, 3), (1, 2), 1), (3, 4), label="overlapping")
case("split", lambda x: x.split(2)[1], (5, 2), numpy=lambda x: x[2:4], label="one_used")
case("unbind", lambda x: x.unbind()[2], (3, 2), numpy=lambda x: x[2], label="one_used")
case("cat", lambda a, b: ferrograd.cat([a, b]), (0,), (2, 3), numpy=lambda a, b: b, label="empty_left_out")
case("repeat_interleave", lambda x: x.repeat_interleave(places([2, 0, 1]), 0), (3, 2), numpy=lambda x: x.repeat([2, 0, 1], 0), label="each")
case("__getitem__", lambda x: x[1:, None, ::2, -1], (3, 4, 2), numpy=lambda x: x[1:, None, ::2, -1])
case("__getitem__", lambda x: x[[0, 2, 0], :, [1, 1, 0]], (3, 2, 2), numpy=lambda x: x[[0, 2, 0], :, [1, 1, 0]], label="repeated")
case("__getitem__", lambda x: x[..., places([True, False, True])], (2, 3), numpy=lambda x: x[:, [0, 2]], label="mask")
case("index_fill", lambda x, v: x.index_fill(1, places([2, 0, 2]), v), (2, 3), (), label="repeated")
for reduce in ("sum", "prod", "mean", "amax", "amin"):
    case("scatter_reduce", lambda x, v, r=reduce: x.scatter_reduce(1, places([[2, 2], [1, 2]]), v, r, include_self=False), (2, 3), (2, 2), label=f"{reduce}_alone")

# Order, softmax, norms.
for op in ("sort", "msort"):
    case(op, lambda x, op=op: getattr(x, op)()[0] if op == "sort" else x.msort(), (4,), numpy=np.sort)
case("topk", lambda x: x.topk(2, 1)[0], (2, 4))
case("kthvalue", lambda x: x.kthvalue(2, 1)[0], (2, 4))
case("mode", lambda x: x.mode(1)[0], (2, 4))
for op in ("median", "nanmedian"):
    case(op, lambda x, op=op: getattr(x, op)(), (5,), numpy=np.median)
    case(op, lambda x, op=op: getattr(x, op)(1)[0], (2, 5), numpy=lambda x: np.median(x, 1), label="dim")
for op in ("quantile", "nanquantile"):
    case(op, lambda x, op=op: getattr(x, op)(0.4, dim=1), (2, 4), numpy=lambda x: np.quantile(x, 0.4, axis=1))
for op in ("softmax", "log_softmax"):
    for shape, dim in [((3,), 0), ((2, 3), 0), ((2, 3), -1), ((0, 3), 1)]:
        shaped(op, dim, shape=shape)
case("norm", lambda x: x.norm(), (2, 3), numpy=np.linalg.norm, domain=APART)
case("norm", lambda x: x.norm(3, 1), (2, 3), numpy=lambda x: np.linalg.norm(x, 3, 1), domain=APART, label="p3")
case("norm", lambda x: x.norm("nuc", (0, 2)), (3, 2, 2), numpy=lambda x: np.linalg.norm(x, "nuc", (0, 2)), label="nuclear")
for shape in ((4, 3), (3, 3), (2, 4), (2, 3, 2)):
    for order in ("nuc", 2, -2):
        case(
            "norm",
            lambda x, p=order: ferrograd.linalg.matrix_norm(x, p),
            shape,
            numpy=lambda x, p=order: np.linalg.norm(x, p, (-2, -1)),
            label=f"matrix {order}",
        )
case("dist", lambda x, y: x.dist(y, 3), (2, 3), (2, 3))
case("renorm", lambda x: x.renorm(2, 0, 1.0), (2, 3), domain=APART)
case("trapezoid", lambda x: ferrograd.trapezoid(x), (2, 4))

# Conversions. Those to other dtypes lose what differences would show.
case("to", lambda x: x.to(ferrograd.float64), (2, 3))
case("double", lambda x: x.double(), (2, 3))
case("type", lambda x: x.type(ferrograd.float64), (2, 3))
case("type_as", lambda x, y: x.type_as(y), (2, 3), (2, 3))
case("cpu", lambda x: x.cpu(), (2, 3))
case("kron", lambda x, y: x.kron(y), (2, 3), (2, 2), numpy=np.kron)
case("ldexp", lambda x: x.ldexp(places([1, 2, 3])), (2, 3), numpy=lambda x: np.ldexp(x, [1, 2, 3]))

# Not to be differentiated by the tests over all ops; each with the reason.
not_differentiable(
    "answers bools",
    *("eq", "ne", "lt", "le", "gt", "ge", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("allclose", "isclose", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal", "signbit", "is_contiguous", "is_tensor"),
    *("logical_and", "logical_not", "logical_or", "logical_xor", "can_cast"),
)
not_differentiable(
    "answers integers",
    *("argsort", "argwhere", "nonzero", "nonzero_static", "bincount", "bucketize", "searchsorted", "unravel_index", "gcd", "lcm"),
    *("bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift"),
)
not_differentiable("has a derivative in torch that is not the true one; see test_as_strided_scatter in test_views.py", "as_strided_scatter")
not_differentiable("has no derivative in torch; see test_refused_derivatives", "floor_divide", "heaviside", "unique", "unique_consecutive")
not_differentiable("only says what took its place", "symeig")
not_differentiable("loses precision that differences would need", "float", "bool", "byte", "char", "short", "int", "long")
not_differentiable(
    "makes new tensors",
    *("arange", "as_tensor", "asarray", "empty", "empty_like", "empty_permuted", "empty_strided", "eye", "full", "full_like"),
    *("linspace", "logspace", "ones", "ones_like", "range", "scalar_tensor", "tril_indices", "triu_indices", "zeros", "zeros_like"),
    *("new", "new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros", "from_dlpack", "frombuffer"),
)
not_differentiable(
    "random",
    *("bernoulli", "cauchy_", "exponential_", "geometric_", "log_normal_", "multinomial", "normal", "normal_", "poisson"),
    *("rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random_", "randperm", "uniform_"),
)
not_differentiable(
    "reads or sets the library's state, or what is known of dtypes and shapes",
    *("broadcast_shapes", "get_default_dtype", "get_num_threads", "get_rng_state", "initial_seed", "manual_seed"),
    *("promote_types", "result_type", "seed", "set_default_dtype", "set_default_tensor_type", "set_num_threads"),
    *("set_printoptions", "set_rng_state", "set_warn_always", "is_warn_always_enabled", "as_subclass"),
)
not_differentiable("about memory, or hardware that is not supported", "cuda", "is_pinned", "is_set_to", "is_shared", "pin_memory", "share_memory_")
not_differentiable("answers bools", "all", "any", "is_complex", "is_floating_point", "is_signed", "is_inference", "is_nonzero")
not_differentiable("answers bools", "eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal")
not_differentiable("answers bools", "logical_and", "logical_or", "logical_xor", "logical_not", "isclose", "allclose", "equal")
not_differentiable("answers bools", "isnan", "isinf", "isfinite", "isposinf", "isneginf", "isreal", "signbit")
not_differentiable("takes integers", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "bitwise_left_shift", "bitwise_right_shift", "gcd", "lcm")
not_differentiable("answers integers", "one_hot", "count_nonzero", "argmax", "argmin", "argsort")
not_differentiable("describes the tensor", "is_same_size", "dim", "ndimension", "element_size", "nelement", "numel", "size", "stride", "storage_offset", "data_ptr", "get_device")
not_differentiable("answers Python or numpy values", "item", "numpy", "tolist")
not_differentiable("hands out the memory; see test_views.py", "storage", "untyped_storage")
not_differentiable("drives differentiation itself", "backward", "detach", "detach_", "register_hook", "register_post_accumulate_grad_hook", "requires_grad_", "retain_grad")
not_differentiable("deprecated; see test_names_of_old in test_autograd.py", "resize", "resize_as")
not_differentiable("calls back; see test_inplace.py", "apply_", "map_", "map2_")
not_differentiable("overwrites; see test_inplace.py", "copy_", "fill_", "fill_diagonal_", "zero_", "resize_", "resize_as_", "set_")
not_differentiable("makes new tensors", "from_numpy", "tensor")
not_differentiable("of complex numbers; see test_complex.py", "angle", "complex", "conj_physical_", "imag", "polar", "real", "view_as_complex", "view_as_real")
not_differentiable("of complex numbers; see test_complex.py", "cdouble", "cfloat", "is_conj", "is_neg")
