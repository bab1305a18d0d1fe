"""Activations at their limits. Values and derivatives are in op_cases."""

import math

import numpy as np
import pytest

import ferrograd
from ferrograd import ops
from ferrograd.nn import functional as F
from ferrograd.nn.functional import gelu, softplus

INF = float("inf")


def test_gelu_far_from_zero():
    x = ferrograd.tensor([-300.0, -0.0, 300.0, INF], requires_grad=True)
    for how in ("none", "tanh"):
        y = gelu(x, approximate=how)
        assert y.tolist() == [0, 0, 300, INF] and y.grad_fn.name() == "GeluBackward0"
        assert ferrograd.autograd.grad(y[:3].sum(), x)[0][:3].tolist() == [0, 0.5, 1]
    assert gelu(ferrograd.tensor(-INF)).isnan()


def test_softplus_above_its_threshold_is_the_identity():
    x = ferrograd.tensor([-300.0, 0.0, 20.5, 300.0, -INF], requires_grad=True)
    y = softplus(x)
    assert y[[0, 2, 3, 4]].tolist() == [0, 20.5, 300, 0]
    assert softplus(x).grad_fn.name() == "SoftplusBackward0"
    (g,) = ferrograd.autograd.grad(softplus(x).sum(), x, create_graph=True)
    assert g.tolist() == [0, 0.5, 1, 1, 0]
    (h,) = ferrograd.autograd.grad(g.sum(), x)
    assert h.tolist() == [0, 0.25, 0, 0, 0]
    assert softplus(x, beta=2, threshold=-1)[1].item() == 0


def test_what_is_refused():
    x = ferrograd.ones(2)
    for call in (lambda: gelu(x.long()), lambda: gelu(x, approximate="no"), lambda: softplus(x.long())):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(TypeError):
        gelu(x, "tanh")


def test_safe_softmax_of_nothing_is_zero():
    x = ferrograd.tensor([[-INF, -INF], [0.0, -INF], [1.0, 1.0]], requires_grad=True)
    y = ops.aten._safe_softmax.default(x, dim=1)
    assert y.tolist() == [[0, 0], [1, 0], [0.5, 0.5]] and y.grad_fn.name() == "SafeSoftmaxBackward0"
    (g,) = ferrograd.autograd.grad(y[:, 0].sum(), x, create_graph=True)
    assert g.tolist() == [[0, 0], [0, 0], [0.25, -0.25]]
    assert ferrograd.autograd.grad(g.sum(), x)[0].tolist() == [[0, 0]] * 3


def test_internal_operators():
    g, y = ferrograd.tensor([1.0, 0.0]), ferrograd.tensor([0.25, 0.75])
    assert ops.aten._softmax_backward_data(g, y, 0, ferrograd.float32).tolist() == [0.1875, -0.1875]
    assert ops.aten.native_dropout_backward.default(g, g.bool(), 2.0).tolist() == [2, 0]
    for bad in ((g, y[:1], 0, g.dtype), (g, y.double(), 0, g.dtype), (g, y, 0, ferrograd.float64), (g.long(), y.long(), 0, ferrograd.int64)):
        with pytest.raises(RuntimeError):
            ops.aten._log_softmax_backward_data(*bad)
    with pytest.raises(IndexError):
        ops.aten._softmax_backward_data(g, y, 1, g.dtype)
    with pytest.raises(AttributeError):
        ops.aten.no_such_operator


NAN = float("nan")
# Values and derivatives at -infinity, -300, a kink, 300, infinity and what is no number.
LIMITS = {
    "relu": (F.relu, 0, [0, 0, 0, 300, INF, NAN], [0, 0, 0, 1, 1, 1]),
    "relu6": (F.relu6, 6, [0, 0, 6, 6, 6, NAN], [0, 0, 0, 0, 0, 0]),
    "hardtanh": (F.hardtanh, -1, [-1, -1, -1, 1, 1, NAN], [0, 0, 0, 0, 0, 0]),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.5), 0, [-INF, -150, 0, 300, INF, NAN], [0.5, 0.5, 0.5, 1, 1, 0.5]),
    "prelu": (lambda x: F.prelu(x, ferrograd.tensor(0.5)), 0, [-INF, -150, 0, 300, INF, NAN], [0.5, 0.5, 0.5, 1, 1, 0.5]),
    "rrelu": (lambda x: F.rrelu(x, 0.25, 0.75), 0, [-INF, -150, 0, 300, INF, NAN], [0.5, 0.5, 0.5, 1, 1, 0.5]),
    "threshold": (lambda x: F.threshold(x, 2, 7), 2, [7, 7, 7, 300, INF, NAN], [0, 0, 0, 1, 1, 1]),
    "hardsigmoid": (F.hardsigmoid, -3, [0, 0, 0, 1, 1, NAN], [0] * 6),
    "hardswish": (F.hardswish, 3, [NAN, 0, 3, 300, INF, NAN], [0, 0, 1, 1, 1, NAN]),
    "hardshrink": (F.hardshrink, -0.5, [-INF, -300, 0, 300, INF, NAN], [1, 1, 0, 1, 1, 1]),
    "softshrink": (F.softshrink, 0.5, [-INF, -299.5, 0, 299.5, INF, NAN], [1, 1, 0, 1, 1, 1]),
    "elu": (lambda x: F.elu(x, 2), 0, [-2, -2, 0, 300, INF, NAN], [0, 0, 2, 1, 1, NAN]),
    "celu": (lambda x: F.celu(x, 2), 0, [-2, -2, 0, 300, INF, NAN], [0, 0, 1, 1, 1, NAN]),
    "silu": (F.silu, 0, [NAN, 0, 0, 300, INF, NAN], [NAN, 0, 0.5, 1, NAN, NAN]),
    "mish": (F.mish, 0, [NAN, 0, 0, 300, INF, NAN], [NAN, 0, 0.6, 1, NAN, NAN]),
    "logsigmoid": (F.logsigmoid, 0, [-INF, -300, -math.log(2), 0, 0, NAN], [1, 1, 0.5, 0, 0, NAN]),
}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_limits(name, dtype):
    function, kink, values, slopes = LIMITS[name]
    x = ferrograd.tensor([-INF, -300, kink, 300, INF, NAN], dtype=getattr(ferrograd, dtype), requires_grad=True)
    if name == "prelu":
        function = lambda x: F.prelu(x, ferrograd.tensor(0.5, dtype=x.dtype))
    y = function(x)
    np.testing.assert_allclose(y.detach().numpy(), values, rtol=1e-6, atol=1e-30)
    (g,) = ferrograd.autograd.grad(y, x, ferrograd.ones_like(x))
    # Of what is no number, torch's derivatives of straight pieces depend on where it stands.
    np.testing.assert_allclose(g.numpy()[:-1], slopes[:-1], rtol=1e-6, atol=1e-30)
    assert np.isnan(slopes[-1]) == np.isnan(g.numpy()[-1])


IN_PLACE = ["relu", "relu6", "elu", "selu", "celu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "rrelu"]


SELU = 1.0507009873554805
# Exponential units: the factor of what is below 0, that of what is above, and minus their limit.
UNITS = {"elu": (1, 1, 1), "celu": (1, 1, 1), "selu": (1, SELU, SELU * 1.6732632423543772)}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    function = getattr(F, name)
    x = ferrograd.linspace(-4, 7, 12, requires_grad=True)
    want = function(x)
    z = (x * 1).view(3, 4)
    assert function(z.t(), inplace=True)._base is not None
    assert z.flatten().equal(want) and z.requires_grad
    if name in UNITS:
        # By the result: torch keeps no operand then.
        factor, scale, limit = UNITS[name]
        slope = ferrograd.where(want <= 0, factor * (want + limit), ferrograd.full_like(want, scale))
        assert ferrograd.autograd.grad(z.sum(), x)[0].equal(slope.detach())
    else:
        assert ferrograd.autograd.grad(z.sum(), x)[0].equal(ferrograd.autograd.grad(want.sum(), x)[0])
    plain = x.detach().clone()
    assert function(plain, inplace=True) is plain and plain.equal(want)
    if hasattr(F, name + "_"):
        plain = x.detach().clone()
        assert getattr(F, name + "_")(plain) is plain and plain.equal(want)


def test_exponential_units_in_place_far_below_zero_and_turned_upwards():
    x = ferrograd.tensor([-500.0, -1.0, 2.0], dtype=ferrograd.float64, requires_grad=True)
    for function in (F.elu, F.selu, F.celu):
        grad = ferrograd.autograd.grad(function(x * 1, inplace=True).sum(), x, create_graph=True)[0]
        assert grad[0] == 0 and grad[2] > 0
        assert ferrograd.autograd.grad(function(x).sum(), x)[0][0] > 0
        first, second = (ferrograd.autograd.grad(ferrograd.autograd.grad(function(z, inplace=i).sum(), x, create_graph=True)[0].sum(), x)[0]
                         for z, i in ((x * 1, True), (x, False)))
        np.testing.assert_allclose(first, second, atol=1e-12)
    for function in (F.elu, F.celu):
        y = function(x * 1, -1.0, inplace=True)
        with pytest.raises(RuntimeError, match="In-place elu backward calculation is triggered with a negative slope"):
            y.sum().backward()


def test_nodes_of_in_place_forms():
    x = ferrograd.ones(2, requires_grad=True)
    names = {"elu": "Elu", "selu": "Elu", "celu": "Celu", "leaky_relu": "LeakyRelu", "rrelu": "RreluWithNoise"}
    for name, node in names.items():
        assert getattr(F, name)(x).grad_fn.name() == node + "Backward0"
        assert getattr(F, name)(x * 1, inplace=True).grad_fn.name() == node + "Backward1"


def test_integers():
    x = ferrograd.tensor([-9, 2, 9])
    assert F.hardtanh(ferrograd.tensor([-7, 2, 7]) * 2**60, -(2**60) - 1, 2**60 + 1).tolist() == [-(2**60) - 1, 2**60 + 1, 2**60 + 1]
    assert F.relu6(x).tolist() == [0, 2, 6] and F.hardtanh(x, -1.9, 2.9).tolist() == [-1, 2, 2]
    assert F.threshold(x, 2.5, 7.9).tolist() == [7, 7, 9] and F.threshold(x.to(ferrograd.uint8), 3, -1).tolist() == [247, 255, 9]
    assert F.softsign(x).dtype == F.tanhshrink(x).dtype == ferrograd.float32
    for name in ("elu", "selu", "celu", "silu", "mish", "hardswish", "hardsigmoid", "hardshrink", "softshrink", "leaky_relu", "logsigmoid", "rrelu"):
        with pytest.raises(NotImplementedError):
            getattr(F, name)(x)


def test_silu_of_complex_numbers():
    z = ferrograd.tensor([1 + 2j, -0.5j])
    want = z.numpy() / (1 + np.exp(-z.numpy()))
    np.testing.assert_allclose(F.silu(z).numpy(), want, rtol=1e-6)
    with pytest.raises(RuntimeError):
        F.silu(z.requires_grad_())


X = ferrograd.ones(2, 4)


@pytest.mark.parametrize(
    "error, call",
    [
        (ValueError, lambda: F.hardtanh(X, 2, 1)),
        (RuntimeError, lambda: F.hardtanh(X.bool())),
        (RuntimeError, lambda: F.hardtanh(X.to(ferrograd.uint8))),
        (RuntimeError, lambda: F.celu(X, 0)),
        (RuntimeError, lambda: F.elu(X, 1 + 2j)),
        (TypeError, lambda: F.elu(X, "a")),
        (TypeError, lambda: F.relu(3.0)),
        (RuntimeError, lambda: F.softshrink(X, -1)),
        (RuntimeError, lambda: F.softshrink(X, NAN)),
        (RuntimeError, lambda: F.prelu(X, ferrograd.ones(3))),
        (RuntimeError, lambda: F.prelu(X, ferrograd.ones(1, 4))),
        (RuntimeError, lambda: F.prelu(X, ferrograd.ones(1).double())),
        (RuntimeError, lambda: F.prelu(X[0], ferrograd.ones(4))),
        (RuntimeError, lambda: F.glu(X[:, :3])),
        (RuntimeError, lambda: F.glu(X[0, 0])),
        (IndexError, lambda: F.glu(X, 2)),
        (RuntimeError, lambda: F.rrelu(X, 0.5, 0.1)),
        (RuntimeError, lambda: F.rrelu(X, 0.5, INF)),
        (TypeError, lambda: ferrograd.rrelu(X, generator=3)),
        (RuntimeError, lambda: F.elu_(X.expand(2, 2, 4))),
        (RuntimeError, lambda: F.elu_(ferrograd.ones(2, requires_grad=True))),
        (ValueError, lambda: F.dropout(X, 1.5)),
        (RuntimeError, lambda: ferrograd.dropout(X, -0.5, False)),
        (RuntimeError, lambda: F.dropout(X, NAN)),
        (RuntimeError, lambda: F.dropout(X.long())),
        (NotImplementedError, lambda: F.dropout(X.to(ferrograd.complex64))),
        (RuntimeError, lambda: ferrograd.native_dropout(X, 2.0, True)),
        (RuntimeError, lambda: ferrograd.feature_dropout(X[0], 0.5, True)),
        (RuntimeError, lambda: F.dropout1d(X[0])),
        (RuntimeError, lambda: F.gumbel_softmax(X.long())),
        (IndexError, lambda: F.gumbel_softmax(X, hard=True, dim=3)),
        (RuntimeError, lambda: ferrograd.hardshrink(X, out=ferrograd.empty(0, dtype=ferrograd.float64))),
        (TypeError, lambda: ferrograd.prelu(X, X[0, 0], out=X)),
        (RuntimeError, lambda: F.logsigmoid(X, out=ferrograd.empty(0, dtype=ferrograd.float64))),
    ],
)
def test_what_else_is_refused(error, call):
    with pytest.raises(error):
        call()


def uniforms(seed, count):
    """Torch's float64 uniforms: 53 bits of two words of the Mersenne Twister, the high one first."""
    words = np.random.RandomState(seed).randint(0, 2**32, 2 * count, dtype=np.uint64).reshape(-1, 2)
    return ((words[:, 0] << np.uint64(32) | words[:, 1]) & np.uint64(2**53 - 1)).astype(float) * 2.0**-53


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_dropout_keeps(dtype):
    x = np.linspace(1, 2, 24).reshape(2, 3, 4).astype(dtype)
    keep = (uniforms(7, 24) < 1 - 0.3).reshape(x.shape)
    scale = np.asarray(1, dtype) / np.asarray(1 - 0.3, dtype)
    of_channels = (uniforms(7, 6) < 1 - 0.3).reshape(2, 3, 1)
    for call, want in (
        (lambda: F.dropout(ferrograd.from_numpy(x), 0.3), x * (keep * scale)),
        (lambda: F.dropout1d(ferrograd.from_numpy(x), 0.3), x * (of_channels * scale)),
        (lambda: F.dropout2d(ferrograd.from_numpy(x[..., None]), 0.3)[..., 0], x * (of_channels * scale)),
        (lambda: F.dropout3d(ferrograd.from_numpy(x[..., None, None]), 0.3)[..., 0, 0], x * (of_channels * scale)),
        (lambda: ferrograd.native_dropout(ferrograd.from_numpy(x), 0.3, None)[1].to(getattr(ferrograd, dtype)), keep),
    ):
        ferrograd.manual_seed(7)
        assert (call().numpy() == want).all()
    ferrograd.manual_seed(7)
    # Along the memory.
    assert (F.dropout(ferrograd.from_numpy(x).transpose(0, 2), 0.3).numpy() == (x * (keep * scale)).T).all()


def test_what_alpha_dropout_keeps():
    x = np.linspace(-1, 2, 12).reshape(3, 4)
    limit = 1.0507009873554804934193349852946 * 1.6732632423543772848170429916717
    a = 1 / math.sqrt((limit**2 * 0.3 + 1) * (1 - 0.3))
    for call, keep in (
        (F.alpha_dropout, (uniforms(7, 12) < 0.7).reshape(3, 4)),
        (lambda x, *rest: F.feature_alpha_dropout(x.reshape(3, 2, 2), *rest).reshape(3, 4), np.repeat(uniforms(7, 6) < 0.7, 2).reshape(3, 4)),
    ):
        ferrograd.manual_seed(7)
        y = call(ferrograd.from_numpy(x), 0.3, True)
        np.testing.assert_allclose(y.numpy(), a * np.where(keep, x, -limit) + a * limit * 0.3, rtol=1e-12)


def test_slopes_of_rrelu():
    # What is no number draws none.
    x = ferrograd.tensor([-1.0, 2.0, NAN, -3.0, 0.0], dtype=ferrograd.float64, requires_grad=True)
    ferrograd.manual_seed(7)
    slopes = np.ones(5)
    slopes[[0, 3, 4]] = 0.2 + 0.6 * uniforms(7, 3)
    y = F.rrelu(x, 0.2, 0.8, training=True)
    np.testing.assert_allclose(y.detach().numpy(), slopes * x.detach().numpy(), rtol=1e-15)
    np.testing.assert_allclose(ferrograd.autograd.grad(y.sum(), x)[0].numpy(), slopes, rtol=1e-15)
    generator = ferrograd.Generator().manual_seed(7)
    assert ferrograd.rrelu(x, 0.2, 0.8, True, generator).nan_to_num().equal(y.nan_to_num())


def test_gumbel_softmax():
    x = ferrograd.tensor([[1.0, 2.0, -1.0]], dtype=ferrograd.float64, requires_grad=True)
    ferrograd.manual_seed(7)
    noise = -np.log(-np.log1p(-uniforms(7, 3)))
    e = np.exp((x.detach().numpy() + noise) / 0.5)
    soft = F.gumbel_softmax(x, 0.5)
    np.testing.assert_allclose(soft.detach().numpy(), e / e.sum(), rtol=1e-12)
    ferrograd.manual_seed(7)
    hard = F.gumbel_softmax(x, 0.5, hard=True)
    np.testing.assert_allclose(hard.detach().numpy(), e == e.max(), atol=1e-15)
    of_soft, of_hard = (ferrograd.autograd.grad(y[0, 0], x)[0] for y in (soft, hard))
    assert of_soft.allclose(of_hard)
    with pytest.warns(UserWarning, match="eps"):
        F.gumbel_softmax(x, eps=1e-3)


def test_dropout_of_nothing():
    x = ferrograd.ones(2, 3, requires_grad=True)
    assert F.dropout(x, training=False) is x and F.dropout(x, 0.0) is x and F.alpha_dropout(x) is x
    y = F.dropout(x, 1.0)
    assert not y.any() and y.grad_fn.name() == "MulBackward0"
    assert not F.dropout(ferrograd.ones(2, dtype=ferrograd.int64), 1.0).any()
    assert [part.numel() for part in ferrograd.native_dropout(x[:0], 0.5, True)] == [0, 0]
    before = ferrograd.get_rng_state()
    F.dropout(x, 1.0), F.dropout(x, 0.0), F.dropout(x[:0])
    assert ferrograd.get_rng_state().equal(before)


def test_dropout_of_few_dims_warns():
    for call, shape in ((F.dropout2d, (2, 3)), (F.dropout2d, (2, 3, 4)), (F.dropout3d, (2, 3))):
        with pytest.warns(UserWarning, match="dropout"):
            call(ferrograd.ones(shape))


def test_dropout_under_vmap():
    x = ferrograd.ones(8, 50)
    same = ferrograd.func.vmap(F.dropout, randomness="same")(x)
    different = ferrograd.func.vmap(F.dropout, randomness="different")(x)
    assert (same == same[0]).all() and not (different == different[0]).all()
    with pytest.raises(RuntimeError):
        ferrograd.func.vmap(F.dropout)(x)


@pytest.mark.parametrize("shape, dim", [((3,), 0), ((40, 100), 1), ((3, 200), -1), ((70, 3), 1), ((3, 4, 70), 1), ((2, 40, 130), 1), ((), 0), ((2, 0), 1)])
@pytest.mark.parametrize("log", [False, True])
def test_derivatives_of_softmax_along_lines_of_all_lengths(shape, dim, log):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=shape), ferrograd.from_numpy(np.asarray(rng.normal(size=shape)))
    x = ferrograd.from_numpy(np.asarray(x)).requires_grad_()
    found = ferrograd.autograd.grad(x.log_softmax(dim) if log else x.softmax(dim), x, g)[0]
    y = x.detach().softmax(dim)
    want = g - y * g.sum(dim, keepdim=True) if log else y * (g - (g * y).sum(dim, keepdim=True))
    np.testing.assert_allclose(found.numpy(), want.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.relu(),
        lambda x: x.clone().relu_(),
        F.relu6,
        F.leaky_relu,
        F.hardtanh,
        F.hardshrink,
        F.softshrink,
        F.hardsigmoid,
        F.rrelu,
        lambda x: F.threshold(x, 1.0, 0.0),
        lambda x: F.prelu(x, ferrograd.tensor([0.25], dtype=ferrograd.float64)),
    ],
)
def test_second_derivatives_of_straight_pieces_are_zeros(f):
    x = ferrograd.tensor([-2.0, 0.7, 3.0], dtype=ferrograd.float64, requires_grad=True)
    (g,) = ferrograd.autograd.grad(f(x).sum(), x, create_graph=True)
    assert g.requires_grad
    assert ferrograd.autograd.grad(g.sum(), x)[0].tolist() == [0.0, 0.0, 0.0]


def test_gradient_penalties_reach_what_is_before_a_rectifier():
    model = ferrograd.nn.Sequential(ferrograd.nn.Linear(3, 4), ferrograd.nn.ReLU(), ferrograd.nn.Linear(4, 1))
    for parameter in model.parameters():
        ferrograd.nn.init.constant_(parameter, 0.5)
    x = ferrograd.ones(2, 3, requires_grad=True)
    (g,) = ferrograd.autograd.grad(model(x).sum(), x, create_graph=True)
    assert ferrograd.autograd.grad(g[0, 0], x, retain_graph=True)[0].tolist() == [[0.0] * 3] * 2
    g.norm().backward()
    first, last = model[0], model[2]
    assert first.bias.grad.tolist() == [0.0] * 4 and last.bias.grad is None and first.weight.grad.abs().sum() > 0
