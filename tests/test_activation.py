"""Activations at their limits. Values and derivatives are in op_cases."""

import pytest

import ferrograd
from ferrograd import ops
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
