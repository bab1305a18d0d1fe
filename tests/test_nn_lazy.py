"""Layers that learn their sizes from the first input."""

import pytest
from nn_values import draw

import ferrograd
from ferrograd import nn


@pytest.mark.parametrize(
    ("lazy", "plain", "shape"),
    [
        (lambda: nn.LazyLinear(4), lambda: nn.Linear(3, 4), (2, 3)),
        (lambda: nn.LazyLinear(4, bias=False), lambda: nn.Linear(3, 4, bias=False), (3,)),
        (lambda: nn.LazyConv1d(4, 2, stride=2), lambda: nn.Conv1d(3, 4, 2, stride=2), (3, 5)),
        (lambda: nn.LazyConv3d(4, 2, groups=2), lambda: nn.Conv3d(2, 4, 2, groups=2), (1, 2, 3, 3, 3)),
        (lambda: nn.LazyConvTranspose2d(4, 2), lambda: nn.ConvTranspose2d(3, 4, 2), (1, 3, 4, 4)),
        (lambda: nn.LazyConvTranspose2d(4, 2, bias=False), lambda: nn.ConvTranspose2d(3, 4, 2, bias=False), (1, 3, 4, 4)),
        (lambda: nn.LazyBatchNorm1d(), lambda: nn.BatchNorm1d(3), (5, 3)),
        (lambda: nn.LazyBatchNorm2d(), lambda: nn.BatchNorm2d(3), (2, 3, 4, 4)),
        (lambda: nn.LazyBatchNorm2d(affine=False), lambda: nn.BatchNorm2d(3, affine=False), (2, 3, 4, 4)),
        (lambda: nn.LazyInstanceNorm1d(), lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), (2, 3, 4)),
    ],
)
def test_lazy_layers_become_what_they_stand_for(lazy, plain, shape):
    x = draw(*shape).float()
    ferrograd.manual_seed(0)
    layer = lazy()
    assert layer.has_uninitialized_params()
    for p in layer.parameters():
        assert isinstance(p, nn.UninitializedParameter)
        with pytest.raises((RuntimeError, ValueError)):
            p.sum()
    y = layer(x)
    ferrograd.manual_seed(0)
    other = plain()
    assert type(layer) is type(other) and repr(layer) == repr(other) and not layer._forward_pre_hooks
    assert y.equal(other(x))
    state = layer.state_dict()
    assert list(state) == list(other.state_dict())
    assert all(ferrograd.equal(state[k], v) for k, v in other.state_dict().items())
    loaded = lazy()
    loaded.load_state_dict(state)
    assert not loaded.has_uninitialized_params()
    if isinstance(other, nn.InstanceNorm1d):
        # As in torch, the state does not say how many features there are.
        with pytest.raises(ValueError):
            loaded(x)
    else:
        assert loaded.eval()(x).equal(layer.eval()(x)) and type(loaded) is type(other)


def test_lazy_layers_are_converted_before_they_have_shapes():
    for layer in (nn.LazyLinear(2), nn.LazyBatchNorm1d()):
        layer.double()(draw(4, 3))
        assert {v.dtype for v in layer.state_dict().values()} <= {ferrograd.float64, ferrograd.int64}
        assert layer.weight.dtype == ferrograd.float64


def test_lazy_layers_refuse():
    with pytest.raises(ValueError):
        nn.LazyConv2d(4, 2, groups=2)(ferrograd.ones(1, 3, 4, 4))
    for layer, shape in ((nn.LazyConv1d(2, 3), (4,)), (nn.LazyConv2d(4, 2), (3, 4))):
        with pytest.raises(RuntimeError):
            layer(ferrograd.ones(shape))
    loaded = nn.LazyLinear(4)
    loaded.load_state_dict(nn.Linear(3, 4).state_dict())
    with pytest.raises(AssertionError):
        loaded(ferrograd.ones(2, 2))


@pytest.mark.parametrize("kind", [nn.UninitializedParameter, nn.UninitializedBuffer])
def test_functions_refuse_what_has_no_shape(kind):
    x, u = ferrograd.ones(2), kind()
    for call in (
        lambda: ferrograd.add(u, u),
        lambda: ferrograd.mul(x, u),
        lambda: ferrograd.sum(u),
        lambda: ferrograd.matmul(x, u),
        lambda: ferrograd.cat([x, u]),
        lambda: ferrograd.stack((u, u)),
        lambda: u == u,
        lambda: bool(u),
        lambda: nn.functional.relu(u),
        lambda: nn.functional.linear(ferrograd.ones(2, 3), u),
        lambda: nn.functional.linear(ferrograd.ones(2, 3), ferrograd.ones(2, 3), u),
        lambda: nn.functional.conv1d(ferrograd.ones(1, 1, 3), u),
        lambda: nn.functional.embedding(ferrograd.tensor([0]), u),
        lambda: nn.functional.layer_norm(x, (2,), u),
        lambda: ferrograd.zeros_like(u),
        lambda: ferrograd.rand_like(u),
        lambda: x.clone().add_(u),
    ):
        with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter in "):
            call()
    assert kind.__hash__ is ferrograd.Tensor.__hash__ and u in {u}
