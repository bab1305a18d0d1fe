"""Layers: what they compute, their first values, text, state, copies and errors."""

import copy
import math
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import nn
from ferrograd.nn import functional as F


def draw(*shape, seed=0):
    return ferrograd.tensor(np.random.default_rng(seed).standard_normal(shape))


def array(x):
    return x.detach().numpy()


def close(x, y, tolerance=1e-10):
    np.testing.assert_allclose(array(x), y if isinstance(y, np.ndarray) else np.asarray(y), atol=tolerance, rtol=tolerance)


# Each layer with its text, the shapes of its inputs and that of its output.
LAYERS = [
    (nn.Identity(3, a=1), "Identity()", [(2, 3)], (2, 3)),
    (nn.Linear(3, 4), "Linear(in_features=3, out_features=4, bias=True)", [(2, 5, 3)], (2, 5, 4)),
    (nn.Bilinear(3, 4, 2, bias=False), "Bilinear(in1_features=3, in2_features=4, out_features=2, bias=False)", [(5, 3), (5, 4)], (5, 2)),
    (nn.Conv1d(2, 4, 3, padding="same", groups=2), "Conv1d(2, 4, kernel_size=(3,), stride=(1,), padding=same, groups=2)", [(2, 6)], (4, 6)),
    (
        nn.Conv2d(2, 4, (3, 2), stride=2, padding=(1, 0), dilation=2, bias=False, padding_mode="reflect"),
        "Conv2d(2, 4, kernel_size=(3, 2), stride=(2, 2), padding=(1, 0), dilation=(2, 2), bias=False, padding_mode=reflect)",
        [(1, 2, 6, 7)],
        (1, 4, 2, 3),
    ),
    (nn.Conv3d(1, 2, 2), "Conv3d(1, 2, kernel_size=(2, 2, 2), stride=(1, 1, 1))", [(1, 1, 3, 4, 5)], (1, 2, 2, 3, 4)),
    (
        nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1),
        "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1))",
        [(1, 2, 3, 4)],
        (1, 4, 8, 10),
    ),
    (nn.MaxPool2d(3, ceil_mode=True), "MaxPool2d(kernel_size=3, stride=3, padding=0, dilation=1, ceil_mode=True)", [(1, 4, 4)], (1, 2, 2)),
    (nn.MaxUnpool1d(2), "MaxUnpool1d(kernel_size=(2,), stride=(2,), padding=(0,))", [], None),
    (nn.AvgPool1d(2, 1), "AvgPool1d(kernel_size=(2,), stride=(1,), padding=(0,))", [(1, 4)], (1, 3)),
    (nn.AvgPool3d(2, padding=1), "AvgPool3d(kernel_size=2, stride=2, padding=1)", [(1, 4, 4, 4)], (1, 3, 3, 3)),
    (nn.LPPool2d(2, 2), "LPPool2d(norm_type=2, kernel_size=2, stride=None, ceil_mode=False)", [(1, 4, 4)], (1, 2, 2)),
    (nn.AdaptiveAvgPool2d((None, 2)), "AdaptiveAvgPool2d(output_size=(None, 2))", [(1, 5, 4)], (1, 5, 2)),
    (nn.AdaptiveMaxPool1d(3), "AdaptiveMaxPool1d(output_size=3)", [(1, 7)], (1, 3)),
    (nn.FractionalMaxPool2d(2, output_ratio=0.5), "FractionalMaxPool2d()", [(2, 3, 8, 8)], (2, 3, 4, 4)),
    (
        nn.BatchNorm2d(3, momentum=None, bias=False),
        "BatchNorm2d(3, eps=1e-05, momentum=None, affine=True, bias=False, track_running_stats=True)",
        [(2, 3, 4, 5)],
        (2, 3, 4, 5),
    ),
    (
        nn.InstanceNorm1d(3),
        "InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)",
        [(3, 4)],
        (3, 4),
    ),
    (nn.LayerNorm([3, 4], bias=False), "LayerNorm((3, 4), eps=1e-05, elementwise_affine=True, bias=False)", [(2, 3, 4)], (2, 3, 4)),
    (nn.RMSNorm(4), "RMSNorm((4,), eps=None, elementwise_affine=True)", [(2, 4)], (2, 4)),
    (nn.GroupNorm(2, 4, affine=False), "GroupNorm(2, 4, eps=1e-05, affine=False, bias=False)", [(2, 4, 3)], (2, 4, 3)),
    (nn.LocalResponseNorm(3), "LocalResponseNorm(3, alpha=0.0001, beta=0.75, k=1.0)", [(2, 4, 3)], (2, 4, 3)),
    (nn.Threshold(0.1, 20, True), "Threshold(threshold=0.1, value=20, inplace=True)", [], None),
    (nn.ReLU(True), "ReLU(inplace=True)", [], None),
    (nn.ReLU6(), "ReLU6()", [(2,)], (2,)),
    (nn.Hardswish(True), "Hardswish()", [], None),
    (nn.ELU(0.5), "ELU(alpha=0.5)", [(2,)], (2,)),
    (nn.GELU("tanh"), "GELU(approximate='tanh')", [(2,)], (2,)),
    (nn.Softshrink(), "Softshrink(0.5)", [(2,)], (2,)),
    (nn.Softplus(2), "Softplus(beta=2, threshold=20.0)", [(2,)], (2,)),
    (nn.PReLU(3), "PReLU(num_parameters=3)", [(2, 3)], (2, 3)),
    (nn.RReLU(), "RReLU(lower=0.125, upper=0.3333333333333333)", [(2,)], (2,)),
    (nn.GLU(0), "GLU(dim=0)", [(4, 3)], (2, 3)),
    (nn.LogSoftmax(1), "LogSoftmax(dim=1)", [(2, 3)], (2, 3)),
    (nn.Dropout2d(0.2, True), "Dropout2d(p=0.2, inplace=True)", [], None),
    (nn.CircularPad1d(1), "CircularPad1d((1, 1))", [(2, 3)], (2, 5)),
    (nn.ZeroPad2d((1, 0, 2, 0)), "ZeroPad2d((1, 0, 2, 0))", [(1, 3, 3)], (1, 5, 4)),
    (nn.ConstantPad3d(1, 2.5), "ConstantPad3d(padding=(1, 1, 1, 1, 1, 1), value=2.5)", [(1, 1, 1, 1)], (1, 3, 3, 3)),
    (nn.Upsample(scale_factor=2), "Upsample(scale_factor=2.0, mode='nearest')", [(1, 2, 3)], (1, 2, 6)),
    (nn.UpsamplingBilinear2d((4, 5)), "UpsamplingBilinear2d(size=(4, 5), mode='bilinear')", [(1, 1, 2, 3)], (1, 1, 4, 5)),
    (nn.PixelShuffle(2), "PixelShuffle(upscale_factor=2)", [(4, 2, 3)], (1, 4, 6)),
    (nn.PixelUnshuffle(2), "PixelUnshuffle(downscale_factor=2)", [(1, 4, 6)], (4, 2, 3)),
    (nn.ChannelShuffle(2), "ChannelShuffle(groups=2)", [(1, 4, 3)], (1, 4, 3)),
    (nn.Unfold(2), "Unfold(kernel_size=2, dilation=1, padding=0, stride=1)", [(1, 2, 3, 4)], (1, 8, 6)),
    (nn.Fold((3, 4), 2), "Fold(output_size=(3, 4), kernel_size=2, dilation=1, padding=0, stride=1)", [(1, 8, 6)], (1, 2, 3, 4)),
    (nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)", [(2, 3, 4)], (2, 12)),
    (nn.Unflatten(1, (2, 3)), "Unflatten(dim=1, unflattened_size=(2, 3))", [(4, 6)], (4, 2, 3)),
    (nn.PairwiseDistance(keepdim=True), "PairwiseDistance()", [(3, 4), (3, 4)], (3, 1)),
    (nn.CosineSimilarity(), "CosineSimilarity()", [(3, 4), (3, 4)], (3,)),
    (nn.MultiMarginLoss(2), "MultiMarginLoss()", [], None),
    (nn.EmbeddingBag(4, 3, mode="sum", padding_idx=-1), "EmbeddingBag(4, 3, mode='sum', padding_idx=3)", [], None),
    (nn.Embedding(4, 3, 0, max_norm=1.0, sparse=True), "Embedding(4, 3, padding_idx=0, max_norm=1.0, sparse=True)", [], None),
]


@pytest.mark.parametrize(("layer", "text", "inputs", "output"), LAYERS, ids=[type(layer[0]).__name__ for layer in LAYERS])
def test_text_shape_and_copies(layer, text, inputs, output):
    assert repr(layer) == text
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(copied) == text and type(copied) is type(layer)
        assert {k: v.tolist() for k, v in copied.state_dict().items()} == {k: v.tolist() for k, v in layer.state_dict().items()}
    if inputs:
        layer = copy.deepcopy(layer).double()
        assert tuple(layer(*(draw(*shape) for shape in inputs)).shape) == output


def test_linear_and_bilinear_formulas():
    x, y = draw(5, 3), draw(5, 4, seed=1)
    linear = nn.Linear(3, 2, dtype=ferrograd.float64)
    close(linear(x), array(x) @ array(linear.weight).T + array(linear.bias))
    linear(x).sum().backward()
    close(linear.weight.grad, np.tile(array(x).sum(0), (2, 1)))
    assert linear.bias.grad.tolist() == [5, 5]
    bilinear = nn.Bilinear(3, 4, 2, dtype=ferrograd.float64)
    close(bilinear(x, y), np.einsum("ni,kij,nj->nk", array(x), array(bilinear.weight), array(y)) + array(bilinear.bias))


@pytest.mark.parametrize(
    ("make", "fan_in"),
    [
        (lambda: nn.Linear(25, 300), 25),
        (lambda: nn.Conv2d(4, 60, 3, groups=2), 18),
        (lambda: nn.ConvTranspose1d(40, 6, 5), 30),
        (lambda: nn.Bilinear(30, 4, 5), 30),
    ],
)
def test_first_values_are_uniform_within_the_root_of_the_inputs(make, fan_in):
    ferrograd.manual_seed(0)
    layer = make()
    bound = 1 / math.sqrt(fan_in)
    weight = layer.weight.abs().max().item()
    assert 0.95 * bound < weight <= bound and layer.bias.abs().max().item() <= bound
    before = layer.weight.tolist()
    ferrograd.manual_seed(0)
    layer.reset_parameters()
    assert layer.weight.tolist() == before


def test_other_first_values():
    for layer in (nn.BatchNorm1d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3, affine=True)):
        assert layer.weight.tolist() == [1, 1, 1] and layer.bias.tolist() == [0, 0, 0]
        with ferrograd.no_grad():
            layer.weight.fill_(5)
        layer.reset_parameters()
        assert layer.weight.tolist() == [1, 1, 1]
    assert nn.PReLU(2, 0.5).weight.tolist() == [0.5, 0.5] and nn.RMSNorm(2).weight.tolist() == [1, 1]
    table = nn.Embedding(50, 40, padding_idx=-2).weight
    assert table[48].eq(0).all() and abs(table.std().item() - 1) < 0.1


def convolved(x, weight, stride=1):
    out = (x.shape[1] - weight.shape[2]) // stride + 1
    windows = np.stack([x[:, i * stride : i * stride + weight.shape[2]] for i in range(out)])
    return np.einsum("lik,oik->ol", windows, weight)


@pytest.mark.parametrize(("mode", "pad"), [("zeros", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_convolution_pads_in_each_mode(mode, pad):
    x = draw(2, 7)
    for padding, sides in ((2, (2, 2)), ("same", (1, 2)), ("valid", (0, 0))):
        layer = nn.Conv1d(2, 3, 4, padding=padding, padding_mode=mode, dtype=ferrograd.float64)
        padded = np.pad(array(x), ((0, 0), sides), pad)
        close(layer(x), convolved(padded, array(layer.weight)) + array(layer.bias)[:, None])
    layer = nn.Conv2d(2, 2, (2, 5), padding="same", padding_mode=mode)
    assert layer(ferrograd.ones(2, 6, 7)).shape == (2, 6, 7)


def test_transposed_convolution_is_the_transpose_and_takes_a_size():
    forth = nn.Conv1d(3, 2, 3, stride=3, bias=False, dtype=ferrograd.float64)
    back = nn.ConvTranspose1d(2, 3, 3, stride=3, bias=False, dtype=ferrograd.float64)
    back.load_state_dict(forth.state_dict())
    for size in (9, 10, 11):
        x, y = draw(1, 3, size), draw(1, 2, 3, seed=1)
        for wanted in ([size], (1, 3, size)):
            assert abs((forth(x) * y).sum().item() - (back(y, wanted) * x).sum().item()) < 1e-12
    for wrong in ([8], [12], [9, 9]):
        with pytest.raises(ValueError):
            back(y, wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(groups=0),
        dict(groups=2),
        dict(padding="some"),
        dict(padding="same", stride=2),
        dict(padding_mode="mirror"),
    ],
)
def test_convolution_refuses(arguments):
    with pytest.raises(ValueError):
        nn.Conv2d(3, 4, 3, **arguments)


def test_other_constructors_refuse():
    for make in (
        lambda: nn.ConvTranspose1d(2, 2, 2, padding_mode="reflect"),
        lambda: nn.Bilinear(0, 2, 2),
        lambda: nn.GroupNorm(2, 3),
        lambda: nn.Dropout(1.5),
        lambda: nn.FractionalMaxPool2d(2),
        lambda: nn.FractionalMaxPool2d(2, output_size=2, output_ratio=0.5),
        lambda: nn.FractionalMaxPool2d(2, output_ratio=1.0),
        lambda: nn.FractionalMaxPool3d(0, output_size=2),
        lambda: nn.TripletMarginLoss(0),
        lambda: nn.MultiMarginLoss(3),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 6, []),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 6, [3, 2]),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 6, [6]),
    ):
        with pytest.raises(ValueError):
            make()
    for make in (
        lambda: nn.Embedding(3, 2, padding_idx=3),
        lambda: nn.EmbeddingBag(3, 2, padding_idx=-4),
        lambda: nn.Embedding(3, 2, _weight=ferrograd.ones(2, 2)),
        lambda: nn.Embedding.from_pretrained(ferrograd.ones(2)),
        lambda: nn.Hardtanh(1, 1),
    ):
        with pytest.raises(AssertionError):
            make()
    for make in (lambda: nn.Unflatten(1, 3), lambda: nn.Unflatten(1, (2, 1.5)), lambda: nn.HuberLoss(delta="1"), lambda: nn.ReLU(slope=1)):
        with pytest.raises(TypeError):
            make()
    for make in (
        lambda: nn.Linear(2, 2, device="cuda"),
        lambda: nn.LinearCrossEntropyLoss(2, 3, weight=ferrograd.ones(2)),
        lambda: nn.LinearCrossEntropyLoss(2, 3, label_smoothing=2),
    ):
        with pytest.raises(RuntimeError):
            make()


def test_forward_refuses_other_numbers_of_dims():
    for layer, shape in (
        (nn.BatchNorm1d(3), (3,)),
        (nn.BatchNorm2d(3), (2, 3, 4)),
        (nn.InstanceNorm3d(3), (3, 2, 2)),
        (nn.InstanceNorm1d(4, affine=True), (2, 3, 5)),
        (nn.SyncBatchNorm(3), (3,)),
        (nn.CircularPad2d(1), (2, 2)),
        (nn.Softmax2d(), (2, 2)),
        (nn.CrossMapLRN2d(3), (2, 3, 4)),
    ):
        with pytest.raises(ValueError):
            layer(ferrograd.ones(shape))


def test_unpooling_puts_back_what_pooling_found():
    x = draw(1, 2, 6, 6)
    values, places = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(values, places)
    assert (back == ferrograd.where(back != 0, x, 0)).all() and (back != 0).sum() == 2 * 9
    assert nn.MaxUnpool2d(2)(values, places, output_size=[7, 7]).shape == (1, 2, 7, 7)
    values, places = nn.MaxPool1d(3, 2, 1, return_indices=True)(draw(1, 9))
    assert nn.MaxUnpool1d(3, 2, 1)(values, places).shape == (1, 9)


def test_batch_norm_keeps_running_statistics():
    x = draw(6, 3, 4)
    values = array(x)
    mean, var = values.mean((0, 2)), values.var((0, 2))
    layer = nn.BatchNorm1d(3, momentum=0.2, dtype=ferrograd.float64)
    close(layer(x), (values - mean[:, None]) / np.sqrt(var + 1e-5)[:, None])
    close(layer.running_mean, 0.2 * mean)
    close(layer.running_var, 0.8 + 0.2 * values.var((0, 2), ddof=1))
    assert layer.num_batches_tracked.item() == 1 and layer.num_batches_tracked.dtype == ferrograd.int64
    layer.eval()
    state = {k: v.tolist() for k, v in layer.state_dict().items()}
    running_mean, running_var = array(layer.running_mean)[:, None], array(layer.running_var)[:, None]
    close(layer(x), (values - running_mean) / np.sqrt(running_var + 1e-5))
    assert state == {k: v.tolist() for k, v in layer.state_dict().items()}
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1, 1, 1] and layer.num_batches_tracked.item() == 0


def test_batch_norm_without_momentum_or_statistics():
    x, y = draw(5, 3), draw(5, 3, seed=1)
    layer = nn.BatchNorm1d(3, momentum=None, dtype=ferrograd.float64)
    layer(x), layer(y)
    close(layer.running_mean, (array(x).mean(0) + array(y).mean(0)) / 2)
    layer = nn.BatchNorm1d(3, track_running_stats=False, affine=False).eval()
    assert list(layer.state_dict()) == [] and layer.running_mean is None
    close(layer(x).mean(0), np.zeros(3))
    layer = nn.BatchNorm1d(3)
    layer.track_running_stats = False
    layer(x.float())
    assert layer.running_mean.tolist() == [0, 0, 0] and layer.num_batches_tracked.item() == 0


def test_old_states_of_batch_norm_have_no_count():
    layer = nn.BatchNorm1d(2)
    layer(ferrograd.randn(4, 2))
    state = layer.state_dict()
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        layer.load_state_dict(state)
    state._metadata[""]["version"] = 1
    layer.load_state_dict(state)
    del state._metadata
    layer.load_state_dict(state)
    assert layer.num_batches_tracked.item() == 1
    state = nn.InstanceNorm1d(2, track_running_stats=True).state_dict()
    del state._metadata
    with pytest.raises(RuntimeError, match="running stats"):
        nn.InstanceNorm1d(2).load_state_dict(state)


def test_batch_norms_are_converted():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.InstanceNorm1d(2))).eval()
    first = net[0]
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert converted is net and type(net[0]) is nn.SyncBatchNorm is type(net[1][0]) and type(net[1][1]) is nn.InstanceNorm1d
    assert net[0].weight is first.weight and net[0].running_var is first.running_var and not net[0].training
    x = ferrograd.randn(2, 3, 4, 5)
    assert (net[0].train()(x) == first.train()(x)).all()


def test_norms_of_samples():
    x = draw(4, 6, 5)
    values = array(x)

    def normal(v, dims):
        return (v - v.mean(dims, keepdims=True)) / np.sqrt(v.var(dims, keepdims=True) + 1e-5)

    kind = {"dtype": ferrograd.float64}
    close(nn.LayerNorm(5, **kind)(x), normal(values, (2,)))
    close(nn.LayerNorm((6, 5), **kind)(x), normal(values, (1, 2)))
    close(nn.GroupNorm(2, 6, **kind)(x), normal(values.reshape(4, 2, 15), (2,)).reshape(4, 6, 5))
    close(nn.InstanceNorm1d(6)(x), normal(values, (2,)))
    close(nn.InstanceNorm1d(6).eval()(x[0]), normal(values[0], (1,)))
    close(nn.RMSNorm(5, eps=0.1, **kind)(x), values / np.sqrt((values**2).mean(2, keepdims=True) + 0.1))
    with pytest.warns(UserWarning, match="num_features"):
        nn.InstanceNorm1d(9)(x)


def test_cross_map_norm():
    x = draw(1, 6, 2, 2).requires_grad_()
    layer = nn.CrossMapLRN2d(3, alpha=0.5, beta=0.75, k=2)
    y = layer(x)
    squares = array(x) ** 2
    for c, window in enumerate(([0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 2, 3, 4], [0, 3, 4, 5], [0, 4, 5])):
        # The first channel stays in all windows, as it does in torch.
        close(y[:, c], array(x)[:, c] * (2 + 0.5 / 3 * squares[:, window].sum(1)) ** -0.75)
    (grad,) = ferrograd.autograd.grad(y.sum(), x, create_graph=True)
    assert grad.shape == x.shape
    with pytest.raises(RuntimeError):
        grad.sum().backward()
    with pytest.raises(RuntimeError):
        nn.CrossMapLRN2d(1)(x).sum().backward()


ACTIVATIONS = {
    nn.ReLU(): lambda x: np.maximum(x, 0),
    nn.ReLU6(): lambda x: np.clip(x, 0, 6),
    nn.Hardtanh(-0.5, 0.2): lambda x: np.clip(x, -0.5, 0.2),
    nn.Threshold(0.3, 9): lambda x: np.where(x > 0.3, x, 9),
    nn.Sigmoid(): lambda x: 1 / (1 + np.exp(-x)),
    nn.Tanh(): np.tanh,
    nn.SiLU(): lambda x: x / (1 + np.exp(-x)),
    nn.Mish(): lambda x: x * np.tanh(np.log1p(np.exp(x))),
    nn.Hardsigmoid(): lambda x: np.clip(x / 6 + 0.5, 0, 1),
    nn.Hardswish(): lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    nn.ELU(0.5): lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)),
    nn.CELU(0.5): lambda x: np.where(x > 0, x, 0.5 * np.expm1(x / 0.5)),
    nn.SELU(): lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    nn.GELU("tanh"): lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    nn.Hardshrink(0.4): lambda x: np.where(abs(x) > 0.4, x, 0),
    nn.Softshrink(0.4): lambda x: np.sign(x) * np.maximum(abs(x) - 0.4, 0),
    nn.LeakyReLU(0.2): lambda x: np.where(x > 0, x, 0.2 * x),
    nn.PReLU(init=0.5): lambda x: np.where(x > 0, x, 0.5 * x),
    nn.RReLU(0.1, 0.3).eval(): lambda x: np.where(x > 0, x, 0.2 * x),
    nn.LogSigmoid(): lambda x: -np.log1p(np.exp(-x)),
    nn.Softplus(2.0): lambda x: np.log1p(np.exp(2 * x)) / 2,
    nn.Softsign(): lambda x: x / (1 + abs(x)),
    nn.Tanhshrink(): lambda x: x - np.tanh(x),
    nn.GLU(1): lambda x: x[:, :3] / (1 + np.exp(-x[:, 3:])),
    nn.Softmax(0): lambda x: np.exp(x) / np.exp(x).sum(0),
    nn.Softmin(0): lambda x: np.exp(-x) / np.exp(-x).sum(0),
    nn.LogSoftmax(1): lambda x: x - np.log(np.exp(x).sum(1, keepdims=True)),
}


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_activation_formulas(layer):
    x = draw(4, 6)
    close(layer.double()(x), ACTIVATIONS[layer](array(x)), 1e-7)


def test_activations_in_place_and_softmax_of_channels():
    for cls in (nn.ReLU, nn.SiLU, nn.ELU, nn.Hardtanh, nn.LeakyReLU, nn.Mish, nn.SELU, nn.Hardswish, nn.Hardsigmoid, nn.CELU):
        x = draw(5)
        expected = cls()(x).tolist()
        assert cls(inplace=True)(x) is x and x.tolist() == expected
    close(nn.Softmax2d()(draw(2, 3, 2, 2)).sum(1), np.ones((2, 2, 2)))
    close(nn.Softmax2d()(draw(3, 2, 2)).sum(0), np.ones((2, 2)))
    with pytest.warns(FutureWarning):
        assert nn.Hardtanh(min_value=-3).min_val == -3


@pytest.mark.parametrize("cls", [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_dropout_only_in_training(cls):
    x = ferrograd.ones({nn.Dropout1d: (4, 50, 3), nn.Dropout2d: (4, 50, 3, 2)}.get(cls, (4, 50, 3, 2, 2)))
    layer = cls(0.25)
    y = layer(x)
    assert len(set(y.reshape(-1).tolist())) == 2 and layer.eval()(x).equal(x)
    if cls in (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout):
        channels = y.flatten(2)
        assert (channels == channels[..., :1]).all()
    if cls in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):
        assert abs((y == 0).float().mean().item() - 0.25) < 0.1 and y.max().item() == pytest.approx(4 / 3)
        assert (cls(1.0)(x) == 0).all()


def test_embeddings_of_given_rows():
    rows = draw(4, 3)
    table = nn.Embedding.from_pretrained(rows, padding_idx=-1)
    assert not table.weight.requires_grad and table.padding_idx == 3 and table.weight.data_ptr() == rows.data_ptr()
    close(table(ferrograd.tensor([[2, 0]])), array(rows)[[[2, 0]]])
    bags = nn.EmbeddingBag.from_pretrained(rows, freeze=False, mode="sum")
    assert bags.weight.requires_grad
    close(bags(ferrograd.tensor([1, 2, 3]), ferrograd.tensor([0, 2])), [array(rows)[1:3].sum(0), array(rows)[3]])
    trained = nn.Embedding(3, 2, padding_idx=1)
    trained(ferrograd.tensor([0, 1, 0])).sum().backward()
    assert trained.weight.grad.tolist() == [[2, 2], [0, 0], [0, 0]]


def test_losses_pass_their_options_on():
    x, y = draw(4, 3), draw(4, 3, seed=1)
    chances, classes = ferrograd.sigmoid(y), ferrograd.tensor([0, 2, 1, 2])
    signs, weight = ferrograd.tensor([1.0, -1.0, 1.0, -1.0]).double(), ferrograd.tensor([1.0, 2.0, 3.0]).double()
    a, b, c = array(x), array(y), array(chances)
    d = abs(a - b)
    log_softmax = a - np.log(np.exp(a).sum(1, keepdims=True))
    picked = -log_softmax[range(4), [0, 2, 1, 2]]
    w = array(weight)
    logits = -(w * (c * np.log(1 / (1 + np.exp(-a))) * 2 + (1 - c) * np.log(1 / (1 + np.exp(a)))))
    cosine = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    positive = np.array([True, False, True, False])
    near, far = np.sqrt(((a - b + 1e-6) ** 2).sum(1)), np.sqrt(((a - 2 * b + 1e-6) ** 2).sum(1))
    none = {"reduction": "none"}
    two = ferrograd.tensor(2.0).double()
    for loss, inputs, expected in (
        (nn.L1Loss(**none), (x, y), d),
        (nn.MSELoss(**none), (x, y), d**2),
        (nn.SmoothL1Loss(beta=0.5, **none), (x, y), np.where(d < 0.5, d**2, d - 0.25)),
        (nn.HuberLoss(delta=0.5, **none), (x, y), np.where(d < 0.5, d**2 / 2, 0.5 * (d - 0.25))),
        (nn.NLLLoss(**none), (x.log_softmax(1), classes), picked),
        (nn.CrossEntropyLoss(ignore_index=1, **none), (x, classes), picked * [1, 1, 0, 1]),
        (nn.CrossEntropyLoss(weight), (x, classes), (picked * w[[0, 2, 1, 2]]).sum() / w[[0, 2, 1, 2]].sum()),
        (nn.CrossEntropyLoss(label_smoothing=0.3, **none), (x, classes), 0.7 * picked - 0.1 * log_softmax.sum(1)),
        (nn.BCELoss(weight, **none), (chances, chances), -(w * (c * np.log(c) + (1 - c) * np.log(1 - c)))),
        (nn.BCEWithLogitsLoss(weight, pos_weight=two, **none), (x, chances), logits),
        (nn.KLDivLoss(log_target=True, **none), (x, y), np.exp(b) * (b - a)),
        (nn.PoissonNLLLoss(log_input=False, eps=0.1, **none), (chances, chances), c - c * np.log(c + 0.1)),
        (nn.GaussianNLLLoss(full=True, **none), (x, y, chances), (np.log(c) + d**2 / c + math.log(2 * math.pi)) / 2),
        (nn.SoftMarginLoss(**none), (x[:, 0], signs), np.log1p(np.exp(-a[:, 0] * array(signs)))),
        (nn.HingeEmbeddingLoss(0.3, **none), (x[:, 0], signs), np.where(positive, a[:, 0], np.maximum(0, 0.3 - a[:, 0]))),
        (nn.CosineEmbeddingLoss(0.2, **none), (x, y, signs), np.where(positive, 1 - cosine, np.maximum(0, cosine - 0.2))),
        (nn.MarginRankingLoss(0.2, **none), (x[:, 0], y[:, 0], signs), np.maximum(0, -array(signs) * (a - b)[:, 0] + 0.2)),
        (nn.TripletMarginLoss(2.0, **none), (x, y, 2 * y), np.maximum(0, near - far + 2)),
        (nn.TripletMarginWithDistanceLoss(margin=2.0, **none), (x, y, 2 * y), np.maximum(0, near - far + 2)),
        (
            nn.TripletMarginWithDistanceLoss(distance_function=lambda u, v: (u - v).abs().sum(-1), **none),
            (x, y, 2 * y),
            np.maximum(0, d.sum(1) - abs(a - 2 * b).sum(1) + 1),
        ),
    ):
        close(loss(*inputs), expected)
    assert nn.MSELoss(reduction="sum")(x, y).item() == pytest.approx((d**2).sum())
    assert list(nn.BCEWithLogitsLoss(weight, pos_weight=two).state_dict()) == ["weight", "pos_weight"]
    with pytest.warns(UserWarning, match="size_average"):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(FutureWarning):
        nn.NLLLoss2d()


def test_other_losses_agree_with_their_functions():
    x, classes = draw(3, 4), ferrograd.tensor([0, 3, 1])
    weight = ferrograd.tensor([1.0, 2.0, 3.0, 4.0]).double()
    labels = ferrograd.tensor([[1, 2, -1, 0]] * 3)
    assert nn.MultiMarginLoss(2, 0.5, weight)(x, classes).equal(F.multi_margin_loss(x, classes, 2, 0.5, weight))
    assert nn.MultiLabelMarginLoss(reduction="sum")(x, labels).equal(F.multilabel_margin_loss(x, labels, reduction="sum"))
    chances = x.sigmoid()
    assert nn.MultiLabelSoftMarginLoss(weight)(x, chances).equal(F.multilabel_soft_margin_loss(x, chances, weight))
    # One way through two steps of two labels: no blank has time.
    steps = draw(2, 1, 3).log_softmax(2)
    loss = nn.CTCLoss(blank=2, reduction="none")(steps, ferrograd.tensor([[0, 1]]), ferrograd.tensor([2]), ferrograd.tensor([2]))
    close(loss, -(array(steps)[0, :, 0] + array(steps)[1, :, 1]))
    late = (steps[:1], ferrograd.tensor([[0, 1]]), ferrograd.tensor([1]), ferrograd.tensor([2]))
    assert nn.CTCLoss(blank=2)(*late).item() == math.inf and nn.CTCLoss(blank=2, zero_infinity=True)(*late).item() == 0
    layer = nn.LinearCrossEntropyLoss(4, 5, bias=True, label_smoothing=0.1, dtype=ferrograd.float64)
    assert list(layer.state_dict()) == ["linear.weight", "linear.bias"]
    close(layer(x, classes), array(F.cross_entropy(layer.linear(x), classes, label_smoothing=0.1)))


def test_adaptive_softmax():
    ferrograd.manual_seed(0)
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 10, [2, 5], div_value=2.0, dtype=ferrograd.float64)
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {
        "head.weight": (4, 8), "tail.0.0.weight": (4, 8), "tail.0.1.weight": (3, 4), "tail.1.0.weight": (2, 8), "tail.1.1.weight": (5, 2),
    }  # fmt: skip
    x = draw(20, 8)
    targets = ferrograd.arange(20) % 10
    log_probs = layer.log_prob(x)
    close(log_probs.exp().sum(1), np.ones(20))
    output, loss = layer(x, targets)
    close(output, array(log_probs)[range(20), targets.tolist()])
    assert loss.item() == pytest.approx(-output.mean().item())
    assert layer.predict(x).tolist() == array(log_probs).argmax(1).tolist()
    one = layer(x[7], targets[7])
    assert one.output.shape == () and one.output.item() == pytest.approx(output[7].item())
    loss.backward()
    assert all(p.grad is not None for p in layer.parameters())
    for inputs, wrong in (
        (x[:2], [0, 10]), (x[:2], [0, -1]), (x[:2], [0]), (x[0], [0]), (x[:2], 3), (x[:2], [[0], [1]]),
    ):  # fmt: skip
        with pytest.raises(RuntimeError):
            layer(inputs, ferrograd.tensor(wrong))


@pytest.mark.parametrize(
    ("lazy", "plain", "shape"),
    [
        (lambda: nn.LazyLinear(4), lambda: nn.Linear(3, 4), (2, 3)),
        (lambda: nn.LazyLinear(4, bias=False), lambda: nn.Linear(3, 4, bias=False), (3,)),
        (lambda: nn.LazyConv1d(4, 2, stride=2), lambda: nn.Conv1d(3, 4, 2, stride=2), (3, 5)),
        (lambda: nn.LazyConv3d(4, 2, groups=2), lambda: nn.Conv3d(2, 4, 2, groups=2), (1, 2, 3, 3, 3)),
        (lambda: nn.LazyConvTranspose2d(4, 2, bias=False), lambda: nn.ConvTranspose2d(3, 4, 2, bias=False), (1, 3, 4, 4)),
        (lambda: nn.LazyBatchNorm1d(), lambda: nn.BatchNorm1d(3), (5, 3)),
        (lambda: nn.LazyBatchNorm2d(affine=False), lambda: nn.BatchNorm2d(3, affine=False), (2, 3, 4, 4)),
        (lambda: nn.LazyInstanceNorm1d(), lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), (2, 3, 4)),
    ],
)
def test_lazy_layers_become_what_they_stand_for(lazy, plain, shape):
    x = draw(*shape).float()
    ferrograd.manual_seed(0)
    layer = lazy()
    y = layer(x)
    ferrograd.manual_seed(0)
    other = plain()
    assert type(layer) is type(other) and repr(layer) == repr(other) and not layer._forward_pre_hooks
    assert y.equal(other(x))
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == {k: v.tolist() for k, v in other.state_dict().items()}
    loaded = lazy()
    loaded.load_state_dict(layer.state_dict())
    assert not any(nn.parameter.is_lazy(p) for p in loaded.parameters())
    # As in torch, the state does not say how many features there are, which instance normalization checks.
    if not isinstance(other, nn.InstanceNorm1d):
        assert loaded.eval()(x).equal(layer.eval()(x)) and type(loaded) is type(other)
    assert type(pickle.loads(pickle.dumps(lazy()))) is type(copy.deepcopy(lazy())) is type(lazy())


def test_lazy_layers_are_converted_before_they_have_shapes():
    for layer in (nn.LazyLinear(2), nn.LazyBatchNorm1d()):
        layer.double()(draw(4, 3))
        assert {v.dtype for v in layer.state_dict().values()} <= {ferrograd.float64, ferrograd.int64}
        assert layer.weight.dtype == ferrograd.float64


def test_lazy_layers_refuse():
    with pytest.raises(ValueError):
        nn.LazyConv2d(4, 2, groups=2)(ferrograd.ones(1, 3, 4, 4))
    with pytest.raises(RuntimeError):
        nn.LazyConv2d(4, 2)(ferrograd.ones(3, 4))
    loaded = nn.LazyLinear(4)
    loaded.load_state_dict(nn.Linear(3, 4).state_dict())
    with pytest.raises(AssertionError):
        loaded(ferrograd.ones(2, 2))


def test_prefixes_of_states():
    state = nn.Sequential(nn.Linear(1, 1)).state_dict()
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "0.")
    assert list(state) == ["weight", "bias"] and list(state._metadata) == [""]
    nn.Linear(1, 1).load_state_dict(state)


def test_subclasses_use_what_the_base_offers():
    class Scaled(nn.Conv2d):
        def forward(self, input):
            return self._conv_forward(input, 2 * self.weight, None)

    class AnyDims(nn.modules.batchnorm._BatchNorm):
        def _check_input_dim(self, input):
            pass

    x = ferrograd.randn(1, 2, 4, 4)
    layer = Scaled(2, 3, 3, padding=1)
    assert layer(x).allclose(2 * F.conv2d(x, layer.weight, padding=1), atol=1e-6)
    assert AnyDims(3)(ferrograd.randn(2, 3, 1, 1, 1, 2)).shape == (2, 3, 1, 1, 1, 2)
    with pytest.raises(NotImplementedError):
        nn.modules.batchnorm._BatchNorm(3)(x)
