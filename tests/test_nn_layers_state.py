"""First values of layers, training and evaluation, convolutions' padding and sizes, lazy layers, losses, tables."""

import math

import numpy as np
import pytest

import ferrograd
from ferrograd import nn, optim
from ferrograd.nn import functional as F


def same(x, y, tolerance=1e-6):
    expected = y.detach().numpy() if isinstance(y, ferrograd.Tensor) else y
    np.testing.assert_allclose(x.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "make, fan_in",
    [
        (lambda: nn.Linear(16, 400), 16),
        (lambda: nn.Conv2d(4, 40, (2, 3)), 24),
        (lambda: nn.Conv2d(4, 40, 2, groups=2), 8),
        (lambda: nn.ConvTranspose1d(40, 4, 5), 20),
        (lambda: nn.Bilinear(9, 5, 40), 9),
    ],
)
def test_first_values(make, fan_in):
    """Uniform within 1 / sqrt(fan_in), the weight before the bias."""
    ferrograd.manual_seed(3)
    layer = make()
    bound = 1 / math.sqrt(fan_in)
    assert 0.9 * bound < layer.weight.abs().max() <= bound and layer.bias.abs().max() <= bound
    ferrograd.manual_seed(3)
    for p in (layer.weight, layer.bias):
        same(p, ferrograd.empty(p.shape).uniform_(-bound, bound))
    assert [k for k, _ in layer.named_parameters()] == ["weight", "bias"]
    before = layer.weight.clone()
    layer.reset_parameters()
    assert not ferrograd.equal(layer.weight, before)


def test_maps():
    x, z = ferrograd.randn(5, 3), ferrograd.randn(5, 2)
    linear, bilinear = nn.Linear(3, 4), nn.Bilinear(3, 2, 4, bias=False)
    same(linear(x), x.numpy() @ linear.weight.detach().numpy().T + linear.bias.detach().numpy())
    same(linear(x[0]), linear(x)[0])
    same(bilinear(x, z), np.einsum("ni,oij,nj->no", x.numpy(), bilinear.weight.detach().numpy(), z.numpy()))
    assert bilinear.bias is None and list(bilinear.state_dict()) == ["weight"]


@pytest.mark.parametrize("mode, pad", [("zeros", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
@pytest.mark.parametrize("padding, sides", [(2, (2, 2)), ("same", (1, 2)), ("valid", (0, 0))])
def test_padding_of_convolutions(mode, pad, padding, sides):
    layer = nn.Conv1d(2, 3, 4, padding=padding, padding_mode=mode)
    x = ferrograd.randn(2, 2, 7)
    padded = ferrograd.tensor(np.pad(x.numpy(), ((0, 0), (0, 0), sides), pad))
    same(layer(x), F.conv1d(padded, layer.weight, layer.bias), 1e-5)
    same(layer(x[0]), layer(x)[0], 1e-5)


@pytest.mark.parametrize("n", (1, 2, 3))
def test_transposed_convolutions(n):
    layer = getattr(nn, f"ConvTranspose{n}d")(2, 3, 3, stride=2)
    x = ferrograd.randn(1, 2, *[4] * n)
    assert layer(x).shape == (1, 3, *[9] * n) and layer.weight.shape == (2, 3, *[3] * n)
    for size in ([10] * n, [1, 3, *[10] * n]):
        assert layer(x, output_size=size).shape == (1, 3, *[10] * n)
    for size in ([11] * n, [8] * n, [10] * (n + 1)):
        with pytest.raises(ValueError):
            layer(x, output_size=size)
    # It is the transpose: <conv(u), v> = <u, transposed(v)>.
    u = ferrograd.randn(1, 3, *[9] * n)
    straight = getattr(F, f"conv{n}d")(u, layer.weight, stride=2)
    layer.bias.data.zero_()
    same((straight * x).sum(), (u * layer(x)).sum(), 1e-4)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_batch_norm(momentum):
    norm = nn.BatchNorm1d(3, momentum=momentum, dtype=ferrograd.float64)
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert norm.num_batches_tracked.dtype == ferrograd.int64 and norm.num_batches_tracked.shape == ()
    mean, var = np.zeros(3), np.ones(3)
    for i in range(1, 4):
        x = np.random.default_rng(i).normal(i, i, (6, 3))
        same(norm(ferrograd.tensor(x)), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5))
        rate = 1 / i if momentum is None else momentum
        mean, var = (1 - rate) * mean + rate * x.mean(0), (1 - rate) * var + rate * x.var(0, ddof=1)
    same(norm.running_mean, mean)
    same(norm.running_var, var)
    same(norm.eval()(ferrograd.tensor(x)), (x - mean) / np.sqrt(var + 1e-5))
    assert norm.num_batches_tracked == 3
    norm.reset_running_stats()
    assert norm.num_batches_tracked == 0 and norm.running_var.tolist() == [1, 1, 1]
    with pytest.raises(ValueError):
        norm.train()(ferrograd.ones(1, 3, dtype=ferrograd.float64))


def test_batch_norm_without_statistics():
    x = ferrograd.randn(6, 3)
    norm = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert not norm.state_dict() and norm.weight is None and norm.running_mean is None
    same(norm.eval()(x), nn.BatchNorm1d(3)(x))
    assert dict(nn.BatchNorm1d(3, bias=False).named_parameters()).keys() == {"weight"}


def test_batch_norm_of_an_old_file():
    """State of the first version has no count of batches."""
    norm = nn.BatchNorm1d(2)
    state = dict(norm.state_dict())
    del state["num_batches_tracked"]
    assert norm.load_state_dict(state) == ([], [])


def test_normalization_of_samples():
    x = ferrograd.randn(2, 4, 3, 5) * 3 + 1

    def normalized(a, axes):
        return (a - a.mean(axes, keepdims=True)) / np.sqrt(a.var(axes, keepdims=True) + 1e-5)

    a = x.numpy()
    same(nn.LayerNorm((3, 5))(x), normalized(a, (2, 3)), 1e-4)
    same(nn.GroupNorm(2, 4)(x), normalized(a.reshape(2, 2, -1), 2).reshape(a.shape), 1e-4)
    same(nn.InstanceNorm2d(4)(x), normalized(a, (2, 3)), 1e-4)
    same(nn.InstanceNorm2d(4)(x[0]), normalized(a[0], (1, 2)), 1e-4)
    same(nn.RMSNorm(5, eps=1e-5)(x), a / np.sqrt((a * a).mean(-1, keepdims=True) + 1e-5), 1e-4)
    assert not nn.InstanceNorm1d(3).state_dict() and list(nn.RMSNorm(5).state_dict()) == ["weight"]
    with pytest.warns(UserWarning):
        nn.InstanceNorm2d(3)(x)


@pytest.mark.parametrize("name, shape", [("Dropout", (1000,)), ("Dropout1d", (1000, 1, 2)), ("Dropout2d", (1000, 1, 2, 1))])
def test_dropout(name, shape):
    layer = getattr(nn, name)(0.25)
    y = layer(ferrograd.ones(shape)).numpy().reshape(1000, -1)
    assert set(np.unique(y)) == {np.float32(0), np.float32(4 / 3)} and 180 < (y[:, 0] == 0).sum() < 320
    assert (y == y[:, :1]).all()
    x = ferrograd.ones(shape)
    assert ferrograd.equal(layer.eval()(x), x)


@pytest.mark.parametrize(
    "lazy, full, x",
    [
        (lambda: nn.LazyLinear(3), lambda: nn.Linear(4, 3), (2, 4)),
        (lambda: nn.LazyConv1d(3, 2), lambda: nn.Conv1d(4, 3, 2), (2, 4, 5)),
        (lambda: nn.LazyConvTranspose2d(3, 2), lambda: nn.ConvTranspose2d(4, 3, 2), (2, 4, 5, 5)),
        (lambda: nn.LazyBatchNorm2d(), lambda: nn.BatchNorm2d(4), (2, 4, 5, 5)),
        (lambda: nn.LazyInstanceNorm1d(), lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True), (2, 4, 5)),
    ],
)
def test_lazy_layers(lazy, full, x):
    x = ferrograd.randn(x)
    ferrograd.manual_seed(1)
    learned = lazy()
    assert learned.has_uninitialized_params() and isinstance(next(learned.parameters()), nn.UninitializedParameter)
    y = learned(x)
    ferrograd.manual_seed(1)
    model = full()
    assert type(learned) is type(model) and repr(learned) == repr(model)
    assert list(learned.state_dict()) == list(model.state_dict())
    same(y, model(x))
    loaded = lazy()
    loaded.load_state_dict(model.state_dict())
    if isinstance(model, nn.InstanceNorm1d):
        # As in torch, `num_features` does not come with the state.
        with pytest.raises(ValueError):
            loaded(x)
    else:
        same(loaded.eval()(x), model.eval()(x))
    with pytest.raises((RuntimeError, ValueError)):
        lazy().weight.sum()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    classes, weight = np.array([0, 2, 1, 1, 0]), np.array([0.5, 1.0, 2.0])
    reduce = {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction]
    T = ferrograd.tensor
    same(nn.MSELoss(reduction=reduction)(T(x), T(y)), reduce((x - y) ** 2))
    same(nn.L1Loss(reduction=reduction)(T(x), T(y)), reduce(abs(x - y)))
    log_probs = x - np.log(np.exp(x).sum(1, keepdims=True))
    each = -weight[classes] * log_probs[range(5), classes]
    expected = each.sum() / weight[classes].sum() if reduction == "mean" else reduce(each)
    same(nn.CrossEntropyLoss(T(weight), reduction=reduction)(T(x), T(classes)), expected)
    same(nn.NLLLoss(T(weight), reduction=reduction)(T(log_probs), T(classes)), expected)
    target = (y > 0) * 1.0
    each = -(weight * target * np.log(1 / (1 + np.exp(-x))) + (1 - target) * np.log(1 / (1 + np.exp(x))))
    same(nn.BCEWithLogitsLoss(pos_weight=T(weight), reduction=reduction)(T(x), T(target)), reduce(each))
    d = abs(x - y)
    same(nn.HuberLoss(reduction, 0.7)(T(x), T(y)), reduce(np.where(d < 0.7, d * d / 2, 0.7 * (d - 0.35))))
    each = np.where(target == 1, x, np.maximum(0, 1 - x))
    same(nn.HingeEmbeddingLoss(reduction=reduction)(T(x), T(2 * target - 1)), reduce(each))


def test_state_of_losses():
    assert list(nn.CrossEntropyLoss(ferrograd.ones(3)).state_dict()) == ["weight"]
    assert not nn.CrossEntropyLoss().state_dict()
    with pytest.warns(UserWarning):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.raises(ValueError):
        nn.MSELoss(reduction="x")(ferrograd.ones(2), ferrograd.ones(2))


def test_tables():
    ferrograd.manual_seed(0)
    table = nn.Embedding(5, 3, padding_idx=-2)
    ferrograd.manual_seed(0)
    expected = ferrograd.randn(5, 3)
    expected[3] = 0
    same(table.weight, expected)
    table(ferrograd.tensor([3, 1, 1])).sum().backward()
    assert table.weight.grad[:, 0].tolist() == [0, 2, 0, 0, 0]
    rows = ferrograd.arange(6.0).reshape(3, 2)
    fixed = nn.Embedding.from_pretrained(rows)
    assert not fixed.weight.requires_grad and fixed.weight.data_ptr() == rows.data_ptr()
    assert fixed(ferrograd.tensor([[2, 0]])).tolist() == [[[4, 5], [0, 1]]]
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode):
    rows = ferrograd.randn(6, 2)
    bag = nn.EmbeddingBag.from_pretrained(rows, mode=mode)
    places = np.array([[0, 3], [5, 5], [1, 2]])
    expected = getattr(rows.numpy()[places], mode)(1)
    same(bag(ferrograd.tensor(places)), expected)
    same(bag(ferrograd.tensor(places.ravel()), ferrograd.tensor([0, 2, 4])), expected)
    assert not bag.weight.requires_grad


def test_adaptive_softmax():
    model = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0, dtype=ferrograd.float64)
    assert list(model.state_dict()) == ["head.weight", *(f"tail.{i}.{j}.weight" for i in (0, 1) for j in (0, 1))]
    x, target = ferrograd.randn(5, 8, dtype=ferrograd.float64), ferrograd.tensor([0, 5, 11, 3, 2])
    log_probs = model.log_prob(x)
    same(log_probs.exp().sum(1), np.ones(5))
    output, loss = model(x, target)
    same(output, log_probs[range(5), target.tolist()])
    same(loss, -output.mean())
    assert model.predict(x).tolist() == log_probs.argmax(1).tolist()
    same(model(x[1], target[1]).output, output[1])
    for refused in (ferrograd.tensor([0, 1, 2, 3, 12]), ferrograd.tensor([-1, 1, 2, 3, 4]), ferrograd.tensor([0, 1])):
        with pytest.raises(RuntimeError):
            model(x, refused)


def test_conversion_to_sync_batch_norm():
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=0.3), nn.Sequential(nn.BatchNorm2d(3, affine=False)), nn.ReLU()).eval()
    weight, state = model[0].weight, dict(model.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert [type(m).__name__ for m in (converted[0], converted[1][0], converted[2])] == ["SyncBatchNorm"] * 2 + ["ReLU"]
    assert converted[0].weight is weight and list(converted.state_dict()) == list(state)
    assert converted[0].momentum == 0.3 and not converted[0].training and not converted[1][0].affine


def test_attention_by_torch_s_file():
    assert nn.modules.activation.MultiheadAttention is nn.MultiheadAttention


def test_training():
    """A small network learns, and its state says all that another needs."""
    ferrograd.manual_seed(0)

    def network():
        return nn.Sequential(nn.Linear(2, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))

    model, loss_of = network(), nn.CrossEntropyLoss()
    x = ferrograd.randn(200, 2)
    target = (x[:, 0] * x[:, 1] > 0).long()
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss_of(model(x), target).backward()
        optimizer.step()
    model.eval()
    assert loss_of(model(x), target) < 0.15
    twin = network().eval()
    assert loss_of(twin(x), target) > 0.3
    assert twin.load_state_dict(model.state_dict()) == ([], [])
    assert ferrograd.equal(twin(x), model(x))
