"""All layers: copies, the functionals behind them, parameters and buffers, text, types, errors of their arguments."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import ferrograd
from ferrograd import nn
from ferrograd.nn import functional as F

DIMS = (1, 2, 3)

# Arguments of the constructors; classes that are not here take none.
ARGUMENTS = {
    "Linear": (4, 3),
    "Bilinear": (2, 3, 4),
    "LazyLinear": (3,),
    **{f"Conv{n}d": (4, 6, 3) for n in DIMS},
    **{f"ConvTranspose{n}d": (4, 6, 3) for n in DIMS},
    **{f"LazyConv{n}d": (6, 3) for n in DIMS},
    **{f"LazyConvTranspose{n}d": (6, 3) for n in DIMS},
    **{f"BatchNorm{n}d": (4,) for n in DIMS},
    **{f"InstanceNorm{n}d": (4, 1e-5, 0.1, True, True) for n in DIMS},
    "SyncBatchNorm": (4,),
    "LayerNorm": (4,),
    "RMSNorm": (4,),
    "GroupNorm": (2, 4),
    "LocalResponseNorm": (2,),
    "CrossMapLRN2d": (2,),
    "Threshold": (0.1, 20),
    **{f"{kind}Pool{n}d": (2,) for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for n in DIMS},
    **{f"LPPool{n}d": (2, 2) for n in DIMS},
    **{f"MaxUnpool{n}d": (2,) for n in DIMS},
    **{f"FractionalMaxPool{n}d": (2, 3) for n in (2, 3)},
    **{f"{kind}Pad{n}d": (1,) for kind in ("Circular", "Reflection", "Replication", "Zero") for n in DIMS},
    **{f"ConstantPad{n}d": (1, 2.5) for n in DIMS},
    "Embedding": (5, 3),
    "EmbeddingBag": (5, 3),
    "Upsample": (6,),
    "UpsamplingNearest2d": (6,),
    "UpsamplingBilinear2d": (6,),
    "PixelShuffle": (2,),
    "PixelUnshuffle": (2,),
    "ChannelShuffle": (2,),
    "Fold": ((4, 5), 2),
    "Unfold": (2,),
    "Unflatten": (1, (2, 2)),
    "LinearCrossEntropyLoss": (4, 3),
    "AdaptiveLogSoftmaxWithLoss": (16, 10, [3, 6]),
    **{name: (4, 5) for name in ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")},
    "RNNBase": ("GRU", 4, 5),
    "RNNCellBase": (4, 5, True, 3),
    "MultiheadAttention": (4, 2),
    "Transformer": (4, 2, 1, 1, 8, 0.1, F.relu, None, None, 1e-5, True),
    "TransformerEncoderLayer": (4, 2, 8),
    "TransformerDecoderLayer": (4, 2, 8),
    "TransformerEncoder": (nn.TransformerEncoderLayer(4, 2, 8), 2),
    "TransformerDecoder": (nn.TransformerDecoderLayer(4, 2, 8), 2),
    "ParameterList": ([ferrograd.ones(2)],),
    "ParameterDict": ({"a": ferrograd.ones(2)},),
}


def make(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(nn, name)(*ARGUMENTS.get(name, ()))


def is_lazy(name):
    return name.startswith("Lazy")


@pytest.mark.parametrize("name", nn.modules.__all__)
def test_copies(name):
    """Deep copies and pickles have the same class, text, state and mode, and values of their own."""
    module = make(name).eval()
    assert type(module).__module__.startswith("ferrograd.nn.modules.") and getattr(nn.modules, name) is type(module)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(twin) is type(module) and repr(twin) == repr(module) and not twin.training
        assert list(twin.state_dict()) == list(module.state_dict())
        if is_lazy(name):
            assert twin.has_uninitialized_params()
            continue
        for key, value in module.state_dict().items():
            assert ferrograd.equal(twin.state_dict()[key], value)
        assert twin.load_state_dict(module.state_dict()) == ([], [])
        for mine, other in zip(module.parameters(), twin.parameters()):
            assert type(other) is type(mine) and other.data_ptr() != mine.data_ptr()


@pytest.mark.parametrize("name", sorted(n for n in ARGUMENTS if "dtype" in getattr(nn, n).__init__.__code__.co_varnames))
def test_device_and_dtype(name):
    module = getattr(nn, name)(*ARGUMENTS[name], device="cpu", dtype=ferrograd.float64)
    tensors = [*module.parameters(), *(b for k, b in module.named_buffers() if k != "num_batches_tracked")]
    assert all(t.dtype == ferrograd.float64 and t.device == ferrograd.device("cpu") for t in tensors)
    for device in ("cuda", "meta"):
        with pytest.raises(RuntimeError):
            getattr(nn, name)(*ARGUMENTS[name], device=device)


@pytest.mark.parametrize("name", sorted(nn.modules.__all__))
def test_documentation(name):
    assert getattr(nn, name).__doc__


# Class, arguments, shape of the input, what the call is the same as.
FUNCTIONS = [
    ("Threshold", (0.1, 20.0), (2, 3), lambda x: F.threshold(x, 0.1, 20.0)),
    ("ReLU", (), (2, 3), F.relu),
    ("ReLU6", (), (2, 3), F.relu6),
    ("Hardtanh", (-0.5, 0.7), (2, 3), lambda x: x.clamp(-0.5, 0.7)),
    ("Sigmoid", (), (2, 3), lambda x: 1 / (1 + (-x).exp())),
    ("Tanh", (), (2, 3), ferrograd.tanh),
    ("Hardsigmoid", (), (2, 3), F.hardsigmoid),
    ("Hardswish", (), (2, 3), F.hardswish),
    ("SiLU", (), (2, 3), lambda x: x * x.sigmoid()),
    ("Mish", (), (2, 3), F.mish),
    ("ELU", (0.5,), (2, 3), lambda x: F.elu(x, 0.5)),
    ("CELU", (0.5,), (2, 3), lambda x: F.celu(x, 0.5)),
    ("SELU", (), (2, 3), F.selu),
    ("GLU", (0,), (4, 3), lambda x: x[:2] * x[2:].sigmoid()),
    ("GELU", (), (2, 3), F.gelu),
    ("GELU", ("tanh",), (2, 3), lambda x: F.gelu(x, approximate="tanh")),
    ("Hardshrink", (0.3,), (2, 3), lambda x: F.hardshrink(x, 0.3)),
    ("Softshrink", (0.3,), (2, 3), lambda x: F.softshrink(x, 0.3)),
    ("LeakyReLU", (0.2,), (2, 3), lambda x: F.leaky_relu(x, 0.2)),
    ("LogSigmoid", (), (2, 3), lambda x: x.sigmoid().log()),
    ("Softplus", (2.0,), (2, 3), lambda x: F.softplus(x, 2.0)),
    ("Softsign", (), (2, 3), lambda x: x / (1 + x.abs())),
    ("Tanhshrink", (), (2, 3), lambda x: x - x.tanh()),
    ("Softmax", (0,), (2, 3), lambda x: x.exp() / x.exp().sum(0)),
    ("Softmin", (0,), (2, 3), lambda x: F.softmax(-x, 0)),
    ("LogSoftmax", (1,), (2, 3), lambda x: F.softmax(x, 1).log()),
    ("Softmax2d", (), (2, 3, 2, 2), lambda x: F.softmax(x, 1)),
    ("Softmax2d", (), (3, 2, 2), lambda x: F.softmax(x, 0)),
    ("Identity", (1, "ignored"), (2, 3), lambda x: x),
    ("Flatten", (), (2, 3, 4), lambda x: x.reshape(2, 12)),
    ("Flatten", (0, 1), (2, 3, 4), lambda x: x.reshape(6, 4)),
    ("Unflatten", (1, (2, -1)), (3, 6), lambda x: x.reshape(3, 2, 3)),
    ("ChannelShuffle", (2,), (1, 4, 2, 2), lambda x: x[:, [0, 2, 1, 3]]),
    ("PixelShuffle", (2,), (1, 4, 2, 3), lambda x: x.reshape(2, 2, 2, 3).permute(2, 0, 3, 1).reshape(1, 1, 4, 6)),
    ("PixelUnshuffle", (2,), (1, 1, 4, 6), lambda x: F.pixel_unshuffle(x, 2)),
    ("Unfold", (2,), (1, 2, 3, 4), lambda x: F.unfold(x, 2)),
    ("Fold", ((3, 4), 2), (1, 8, 6), lambda x: F.fold(x, (3, 4), 2)),
    *((f"{a}Pool{n}d", (2,), (1, 3, *[5] * n), lambda x, f=getattr(F, f"{b}_pool{n}d"): f(x, 2)) for n in DIMS
      for a, b in (("Max", "max"), ("Avg", "avg"), ("AdaptiveMax", "adaptive_max"), ("AdaptiveAvg", "adaptive_avg"))),
    *((f"{a}Pool{n}d", (2,), (3, *[5] * n), lambda x, f=getattr(F, f"{b}_pool{n}d"): f(x[None], 2)[0]) for n in DIMS
      for a, b in (("Max", "max"), ("Avg", "avg"), ("AdaptiveMax", "adaptive_max"), ("AdaptiveAvg", "adaptive_avg"))),
    *((f"LPPool{n}d", (3, 2), (1, 3, *[5] * n), lambda x, f=getattr(F, f"lp_pool{n}d"): f(x, 3.0, 2)) for n in DIMS),
    *((f"{a}Pad{n}d", (1,), (1, 2, *[3] * n), lambda x, n=n, b=b: F.pad(x, (1,) * 2 * n, b)) for n in DIMS
      for a, b in (("Circular", "circular"), ("Reflection", "reflect"), ("Replication", "replicate"), ("Zero", "constant"))),
    *((f"ConstantPad{n}d", (tuple(range(2 * n)), 2.5), (2, *[3] * n), lambda x, n=n: F.pad(x, tuple(range(2 * n)), value=2.5))
      for n in DIMS),
    ("Upsample", (4,), (1, 2, 3), lambda x: F.interpolate(x, 4)),
    ("Upsample", (None, 2), (1, 2, 3), lambda x: x.repeat_interleave(2, 2)),
    ("Upsample", (None, 1.5, "linear", False), (1, 2, 4), lambda x: F.interpolate(x, scale_factor=1.5, mode="linear")),
    ("UpsamplingNearest2d", (None, 2), (1, 2, 3, 2), lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ("UpsamplingBilinear2d", (5,), (1, 2, 3, 2), lambda x: F.interpolate(x, 5, mode="bilinear", align_corners=True)),
    ("LocalResponseNorm", (2, 0.1), (1, 4, 3), lambda x: F.local_response_norm(x, 2, 0.1)),
]  # fmt: skip


@pytest.mark.parametrize("name, arguments, shape, same", FUNCTIONS, ids=[f[0] for f in FUNCTIONS])
def test_functions(name, arguments, shape, same):
    x = ferrograd.tensor(np.random.default_rng(0).normal(size=shape))
    np.testing.assert_allclose(getattr(nn, name)(*arguments)(x).numpy(), same(x).numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "Hardtanh", "ELU", "CELU", "SELU", "SiLU", "Mish", "Hardswish", "LeakyReLU",
                                  "RReLU", "Hardsigmoid", "Dropout"])  # fmt: skip
def test_in_place(name):
    x = ferrograd.tensor([-3.0, 1.0])
    layer = getattr(nn, name)(inplace=True)
    assert layer.inplace and layer(x) is x


def test_layers_with_places_of_the_largest():
    x = ferrograd.tensor(np.random.default_rng(1).permutation(32).reshape(2, 2, 8).astype(float))
    values, places = nn.MaxPool1d(2, return_indices=True)(x)
    assert ferrograd.equal(x.gather(2, places), values)
    back = nn.MaxUnpool1d(2)(values, places)
    assert ferrograd.equal(back, ferrograd.where(back != 0, x, 0.0)) and (back != 0).sum() >= 7
    assert nn.MaxUnpool1d(2)(values, places, output_size=[2, 2, 9]).shape == (2, 2, 9)
    for n in DIMS:
        values, places = getattr(nn, f"AdaptiveMaxPool{n}d")(1, return_indices=True)(x.reshape(1, 4, *[2] * n, -1).flatten(n + 1))
        assert values.shape == places.shape == (1, 4, *[1] * n)


@pytest.mark.parametrize("n", (2, 3))
def test_fractional_pooling(n):
    x = ferrograd.rand(2, 3, *[8] * n)
    layer = getattr(nn, f"FractionalMaxPool{n}d")(2, output_ratio=0.5)
    ferrograd.manual_seed(0)
    y = layer(x)
    ferrograd.manual_seed(0)
    assert y.shape == (2, 3, *[4] * n) and ferrograd.equal(layer(x), y)
    samples = ferrograd.rand(2, 3, n)
    fixed = getattr(nn, f"FractionalMaxPool{n}d")(2, 4, _random_samples=samples)
    assert ferrograd.equal(fixed(x), fixed(x)) and list(fixed.state_dict()) == ["_random_samples"]


TEXTS = [
    (nn.Linear(2, 3, bias=False), "Linear(in_features=2, out_features=3, bias=False)"),
    (nn.Bilinear(2, 3, 4), "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=True)"),
    (nn.LazyLinear(3), "LazyLinear(in_features=0, out_features=3, bias=True)"),
    (nn.Conv2d(2, 4, 3), "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1))"),
    (
        nn.Conv1d(2, 4, 3, padding="same", dilation=2, groups=2, bias=False, padding_mode="circular"),
        "Conv1d(2, 4, kernel_size=(3,), stride=(1,), padding=same, dilation=(2,), groups=2, bias=False, padding_mode=circular)",
    ),
    (
        nn.ConvTranspose1d(2, 4, 3, 2, output_padding=1),
        "ConvTranspose1d(2, 4, kernel_size=(3,), stride=(2,), output_padding=(1,))",
    ),
    (
        nn.BatchNorm2d(3, momentum=None),
        "BatchNorm2d(3, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True)",
    ),
    (nn.LayerNorm([2, 3]), "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=True)"),
    (nn.RMSNorm(4), "RMSNorm((4,), eps=None, elementwise_affine=True)"),
    (nn.GroupNorm(2, 4), "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"),
    (nn.LocalResponseNorm(2), "LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1.0)"),
    (nn.ReLU(), "ReLU()"),
    (nn.ReLU(True), "ReLU(inplace=True)"),
    (nn.Threshold(0.1, 20), "Threshold(threshold=0.1, value=20)"),
    (nn.Hardtanh(), "Hardtanh(min_val=-1.0, max_val=1.0)"),
    (nn.GELU(), "GELU(approximate='none')"),
    (nn.Softshrink(), "Softshrink(0.5)"),
    (nn.Softmax(), "Softmax(dim=None)"),
    (nn.PReLU(3), "PReLU(num_parameters=3)"),
    (nn.MaxPool2d(2), "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"),
    (nn.AvgPool1d(2), "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"),
    (nn.LPPool1d(2, 3), "LPPool1d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)"),
    (nn.MaxUnpool2d(2), "MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))"),
    (nn.AdaptiveAvgPool2d((None, 3)), "AdaptiveAvgPool2d(output_size=(None, 3))"),
    (nn.ZeroPad2d(1), "ZeroPad2d((1, 1, 1, 1))"),
    (nn.ConstantPad1d(1, 2.5), "ConstantPad1d(padding=(1, 1), value=2.5)"),
    (nn.Dropout(0.3, True), "Dropout(p=0.3, inplace=True)"),
    (nn.Embedding(5, 3, -1, 1.0), "Embedding(5, 3, padding_idx=4, max_norm=1.0)"),
    (nn.EmbeddingBag(5, 3), "EmbeddingBag(5, 3, mode='mean')"),
    (
        nn.EmbeddingBag(5, 3, 1.0, 1.0, True, padding_idx=0),
        "EmbeddingBag(5, 3, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True, mode='mean', padding_idx=0)",
    ),
    (nn.Upsample(None, 2), "Upsample(scale_factor=2.0, mode='nearest')"),
    (nn.PixelShuffle(2), "PixelShuffle(upscale_factor=2)"),
    (nn.Fold(4, 2), "Fold(output_size=4, kernel_size=2, dilation=1, padding=0, stride=1)"),
    (nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
    (nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
]


@pytest.mark.parametrize("module, text", TEXTS, ids=[text.partition("(")[0] for _, text in TEXTS])
def test_text(module, text):
    assert repr(module) == text


REFUSED = [
    (ValueError, lambda: nn.Bilinear(0, 3, 4)),
    (ValueError, lambda: nn.Conv1d(4, 4, 3, groups=0)),
    (ValueError, lambda: nn.Conv1d(3, 4, 3, groups=2)),
    (ValueError, lambda: nn.Conv1d(4, 3, 3, groups=2)),
    (ValueError, lambda: nn.Conv1d(4, 4, 3, padding="full")),
    (ValueError, lambda: nn.Conv1d(4, 4, 3, stride=2, padding="same")),
    (ValueError, lambda: nn.Conv1d(4, 4, 3, padding_mode="mirror")),
    (ValueError, lambda: nn.ConvTranspose1d(4, 4, 3, padding_mode="circular")),
    (ValueError, lambda: nn.GroupNorm(3, 4)),
    (ValueError, lambda: nn.Dropout(1.5)),
    (ValueError, lambda: nn.AlphaDropout(-0.5)),
    (AssertionError, lambda: nn.Hardtanh(1.0, 0.0)),
    (TypeError, lambda: nn.Unflatten(1, 4)),
    (TypeError, lambda: nn.Unflatten(1, (2, 2.0))),
    (ValueError, lambda: nn.FractionalMaxPool2d(2)),
    (ValueError, lambda: nn.FractionalMaxPool2d(2, 3, 0.5)),
    (ValueError, lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5)),
    (ValueError, lambda: nn.FractionalMaxPool3d(0, 3)),
    (AssertionError, lambda: nn.Embedding(5, 3, padding_idx=5)),
    (AssertionError, lambda: nn.Embedding(5, 3, _weight=ferrograd.ones(3, 5))),
    (AssertionError, lambda: nn.Embedding.from_pretrained(ferrograd.ones(3))),
    (TypeError, lambda: nn.HuberLoss(delta="1")),
    (ValueError, lambda: nn.MultiMarginLoss(p=3)),
    (ValueError, lambda: nn.TripletMarginLoss(margin=0)),
    (ValueError, lambda: nn.TripletMarginWithDistanceLoss(margin=-1)),
    (RuntimeError, lambda: nn.LinearCrossEntropyLoss(4, 3, label_smoothing=2)),
    (ValueError, lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [])),
    (ValueError, lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [6, 3])),
    (ValueError, lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 10])),
    (ValueError, lambda: nn.Softmax2d()(ferrograd.ones(2, 2))),
    (ValueError, lambda: nn.CircularPad1d(1)(ferrograd.ones(2))),
    (ValueError, lambda: nn.BatchNorm2d(2)(ferrograd.ones(2, 2))),
    (ValueError, lambda: nn.SyncBatchNorm(2)(ferrograd.ones(2))),
    (ValueError, lambda: nn.InstanceNorm1d(3, affine=True)(ferrograd.ones(2, 2, 4))),
    (ValueError, lambda: nn.CrossMapLRN2d(2)(ferrograd.ones(2, 2, 4))),
    (RuntimeError, lambda: nn.LazyConv1d(2, 3)(ferrograd.ones(4))),
    (RuntimeError, lambda: nn.Linear(2, 3)(ferrograd.ones(4))),
]


@pytest.mark.parametrize("error, call", REFUSED)
def test_what_is_refused(error, call):
    with pytest.raises(error) as info:
        call()
    assert str(info.value)
