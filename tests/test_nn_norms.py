"""Normalizations: formulas, running statistics, their state and that of old files, conversion."""

import numpy as np
import pytest
from nn_values import array, close, draw

import ferrograd
from ferrograd import nn


def test_first_values():
    for layer in (nn.BatchNorm1d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3, affine=True)):
        assert layer.weight.tolist() == [1, 1, 1] and layer.bias.tolist() == [0, 0, 0]
        with ferrograd.no_grad():
            layer.weight.fill_(5)
        layer.reset_parameters()
        assert layer.weight.tolist() == [1, 1, 1]
    assert nn.RMSNorm(2).weight.tolist() == [1, 1]


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4)], ids=str)
def test_batch_norm(shape, momentum):
    norm = nn.BatchNorm1d(3, momentum=momentum, dtype=ferrograd.float64)
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert norm.num_batches_tracked.dtype == ferrograd.int64 and norm.num_batches_tracked.shape == ()
    axes = (0, 2)[: len(shape) - 1]

    def normalized(x, mean, var):
        # The channels last, where numpy broadcasts them.
        return np.moveaxis((np.moveaxis(x, 1, -1) - mean) / np.sqrt(var + 1e-5), -1, 1)

    mean, var = np.zeros(3), np.ones(3)
    for i in range(1, 4):
        x = np.random.default_rng(i).normal(i, i, shape)
        close(norm(ferrograd.tensor(x)), normalized(x, x.mean(axes), x.var(axes)))
        rate = 1 / i if momentum is None else momentum
        mean, var = (1 - rate) * mean + rate * x.mean(axes), (1 - rate) * var + rate * x.var(axes, ddof=1)
    close(norm.running_mean, mean)
    close(norm.running_var, var)
    state = {k: v.tolist() for k, v in norm.state_dict().items()}
    close(norm.eval()(ferrograd.tensor(x)), normalized(x, mean, var))
    assert norm.num_batches_tracked == 3 and {k: v.tolist() for k, v in norm.state_dict().items()} == state
    norm.reset_running_stats()
    assert norm.num_batches_tracked == 0 and norm.running_var.tolist() == [1, 1, 1]
    with pytest.raises(ValueError):
        norm.train()(ferrograd.ones(1, 3, dtype=ferrograd.float64))


def test_batch_norm_without_parameters_or_statistics():
    x = ferrograd.randn(6, 3)
    norm = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert not norm.state_dict() and norm.weight is None and norm.running_mean is None
    close(norm.eval()(x), nn.BatchNorm1d(3)(x), 1e-6)
    assert dict(nn.BatchNorm1d(3, bias=False).named_parameters()).keys() == {"weight"}
    norm = nn.BatchNorm1d(3)
    norm.track_running_stats = False
    norm(x)
    assert norm.running_mean.tolist() == [0, 0, 0] and norm.num_batches_tracked == 0


def test_states_of_old_files():
    """Those of the first version have no count of batches; older ones may have statistics that are not kept."""
    layer = nn.BatchNorm1d(2)
    layer(ferrograd.randn(4, 2))
    state = layer.state_dict()
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        layer.load_state_dict(state)
    state._metadata[""]["version"] = 1
    assert layer.load_state_dict(state) == ([], [])
    del state._metadata
    assert layer.load_state_dict(state) == ([], []) and layer.num_batches_tracked == 1
    state = nn.InstanceNorm1d(2, track_running_stats=True).state_dict()
    del state._metadata
    with pytest.raises(RuntimeError, match="running stats"):
        nn.InstanceNorm1d(2).load_state_dict(state)


def test_conversion_to_sync_batch_norm():
    model = nn.Sequential(
        nn.BatchNorm2d(3, momentum=0.3), nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.InstanceNorm1d(2)), nn.ReLU()
    ).eval()
    first, names = model[0], list(model.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert converted is model and list(model.state_dict()) == names
    classes = [type(m) for m in (model[0], *model[1], model[2])]
    assert classes == [nn.SyncBatchNorm, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.ReLU]
    assert model[0].weight is first.weight and model[0].running_var is first.running_var
    assert model[0].momentum == 0.3 and not model[0].training and not model[1][0].affine
    x = ferrograd.randn(2, 3, 4, 5)
    assert (model[0].train()(x) == first.train()(x)).all()


def test_norms_of_samples():
    x, images = draw(4, 6, 5), draw(2, 3, 4, 5)
    values = array(x)

    def normal(v, dims):
        return (v - v.mean(dims, keepdims=True)) / np.sqrt(v.var(dims, keepdims=True) + 1e-5)

    kind = {"dtype": ferrograd.float64}
    close(nn.LayerNorm(5, **kind)(x), normal(values, (2,)))
    close(nn.LayerNorm((6, 5), **kind)(x), normal(values, (1, 2)))
    close(nn.GroupNorm(2, 6, **kind)(x), normal(values.reshape(4, 2, 15), (2,)).reshape(4, 6, 5))
    close(nn.RMSNorm(5, eps=0.1, **kind)(x), values / np.sqrt((values**2).mean(2, keepdims=True) + 0.1))
    close(nn.InstanceNorm1d(6)(x), normal(values, (2,)))
    close(nn.InstanceNorm1d(6).eval()(x[0]), normal(values[0], (1,)))
    close(nn.InstanceNorm2d(3)(images), normal(array(images), (2, 3)))
    close(nn.InstanceNorm2d(3)(images[0]), normal(array(images)[0], (1, 2)))
    assert not nn.InstanceNorm1d(3).state_dict() and list(nn.RMSNorm(5).state_dict()) == ["weight"]
    with pytest.warns(UserWarning, match="num_features"):
        nn.InstanceNorm1d(9)(x)


def test_cross_map_norm():
    x = draw(1, 6, 2, 2).requires_grad_()
    layer = nn.CrossMapLRN2d(3, alpha=0.5, beta=0.75, k=2)
    y = layer(x)
    # As in torch, the first channel stays in all windows; those of the derivative end where they should have their middle.
    windows = [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 2, 3, 4], [0, 3, 4, 5], [0, 4, 5]
    scale = np.stack([2 + 0.5 / 3 * (array(x) ** 2)[:, window].sum(1) for window in windows], 1)
    close(y, array(x) * scale**-0.75)
    (grad,) = ferrograd.autograd.grad(y.sum(), x, create_graph=True)
    parts = array(y) / scale
    sums = np.stack([parts[:, max(0, c - 2) : c + 1].sum(1) for c in range(6)], 1)
    close(grad, scale**-0.75 - 2 * 0.5 * 0.75 / 3 * array(x) * sums)
    with pytest.raises(RuntimeError):
        grad.sum().backward()
    with pytest.raises(RuntimeError):
        nn.CrossMapLRN2d(1)(x).sum().backward()


def test_a_subclass_says_which_dims_it_takes():
    class AnyDims(nn.modules.batchnorm._BatchNorm):
        def _check_input_dim(self, input):
            pass

    assert AnyDims(3)(ferrograd.randn(2, 3, 1, 1, 1, 2)).shape == (2, 3, 1, 1, 1, 2)
    with pytest.raises(NotImplementedError):
        nn.modules.batchnorm._BatchNorm(3)(ferrograd.randn(1, 2, 4, 4))
