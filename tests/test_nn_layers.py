"""What all layers have: copies, documentation, dtypes, text, shapes, errors of their arguments."""

import copy
import pickle
import warnings

import pytest
from nn_values import DIMS, draw

import ferrograd
from ferrograd import nn, optim
from ferrograd.nn import functional as F

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
    "DataParallel": (nn.Linear(4, 5),),
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


# Each layer with its text, the shapes of its inputs and that of its output, where it is called.
TEXTS = [
    (nn.Identity(3, a=1), "Identity()", [(2, 3)], (2, 3)),
    (nn.Linear(3, 4), "Linear(in_features=3, out_features=4, bias=True)", [(2, 5, 3)], (2, 5, 4)),
    (nn.Linear(2, 3, bias=False), "Linear(in_features=2, out_features=3, bias=False)", [(2,)], (3,)),
    (nn.Bilinear(2, 3, 4), "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=True)", [(2,), (3,)], (4,)),
    (nn.Bilinear(3, 4, 2, bias=False), "Bilinear(in1_features=3, in2_features=4, out_features=2, bias=False)", [(5, 3), (5, 4)], (5, 2)),
    (nn.LazyLinear(3), "LazyLinear(in_features=0, out_features=3, bias=True)", [(2, 4)], (2, 3)),
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
    (nn.LPPool2d(2, 3), "LPPool2d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)", [(1, 4, 4)], (1, 1, 1)),
    (nn.AdaptiveAvgPool2d((None, 2)), "AdaptiveAvgPool2d(output_size=(None, 2))", [(1, 5, 4)], (1, 5, 2)),
    (nn.AdaptiveMaxPool1d(3), "AdaptiveMaxPool1d(output_size=3)", [(1, 7)], (1, 3)),
    (nn.FractionalMaxPool2d(2, output_ratio=0.5), "FractionalMaxPool2d()", [(2, 3, 8, 8)], (2, 3, 4, 4)),
    (nn.BatchNorm1d(3), "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)", [(2, 3)], (2, 3)),
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
    (nn.LayerNorm([2, 3]), "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=True)", [(2, 3)], (2, 3)),
    (nn.LayerNorm([3, 4], bias=False), "LayerNorm((3, 4), eps=1e-05, elementwise_affine=True, bias=False)", [(2, 3, 4)], (2, 3, 4)),
    (nn.RMSNorm(4), "RMSNorm((4,), eps=None, elementwise_affine=True)", [(2, 4)], (2, 4)),
    (nn.GroupNorm(2, 4), "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)", [(2, 4)], (2, 4)),
    (nn.GroupNorm(2, 4, affine=False), "GroupNorm(2, 4, eps=1e-05, affine=False, bias=False)", [(2, 4, 3)], (2, 4, 3)),
    (nn.LocalResponseNorm(3), "LocalResponseNorm(3, alpha=0.0001, beta=0.75, k=1.0)", [(2, 4, 3)], (2, 4, 3)),
    (nn.Threshold(0.1, 20, True), "Threshold(threshold=0.1, value=20, inplace=True)", [], None),
    (nn.ReLU(), "ReLU()", [(2,)], (2,)),
    (nn.ReLU(True), "ReLU(inplace=True)", [], None),
    (nn.ReLU6(), "ReLU6()", [(2,)], (2,)),
    (nn.Hardtanh(), "Hardtanh(min_val=-1.0, max_val=1.0)", [(2,)], (2,)),
    (nn.Hardswish(True), "Hardswish()", [], None),
    (nn.ELU(0.5), "ELU(alpha=0.5)", [(2,)], (2,)),
    (nn.GELU("tanh"), "GELU(approximate='tanh')", [(2,)], (2,)),
    (nn.Softshrink(), "Softshrink(0.5)", [(2,)], (2,)),
    (nn.Softplus(2), "Softplus(beta=2, threshold=20.0)", [(2,)], (2,)),
    (nn.PReLU(3), "PReLU(num_parameters=3)", [(2, 3)], (2, 3)),
    (nn.RReLU(), "RReLU(lower=0.125, upper=0.3333333333333333)", [(2,)], (2,)),
    (nn.GLU(0), "GLU(dim=0)", [(4, 3)], (2, 3)),
    (nn.Softmax(), "Softmax(dim=None)", [], None),
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
    (nn.Embedding(4, 3, 0, max_norm=1.0, sparse=True), "Embedding(4, 3, padding_idx=0, max_norm=1.0, sparse=True)", [], None),
    (nn.EmbeddingBag(5, 3), "EmbeddingBag(5, 3, mode='mean')", [], None),
    (nn.EmbeddingBag(4, 3, mode="sum", padding_idx=-1), "EmbeddingBag(4, 3, mode='sum', padding_idx=3)", [], None),
    (
        nn.EmbeddingBag(5, 3, 1.0, 1.0, True, padding_idx=0),
        "EmbeddingBag(5, 3, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True, mode='mean', padding_idx=0)",
        [],
        None,
    ),
]


@pytest.mark.parametrize("layer, text, inputs, output", TEXTS, ids=[text.partition("(")[0] for _, text, _, _ in TEXTS])
def test_text_and_shape(layer, text, inputs, output):
    assert repr(layer) == text
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == text
    if inputs:
        assert layer.double()(*(draw(*shape) for shape in inputs)).shape == output


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
    (AssertionError, lambda: nn.Hardtanh(1.0, 1.0)),
    (TypeError, lambda: nn.ReLU(slope=1)),
    (TypeError, lambda: nn.Unflatten(1, 4)),
    (TypeError, lambda: nn.Unflatten(1, (2, 2.0))),
    (ValueError, lambda: nn.FractionalMaxPool2d(2)),
    (ValueError, lambda: nn.FractionalMaxPool2d(2, 3, 0.5)),
    (ValueError, lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5)),
    (ValueError, lambda: nn.FractionalMaxPool2d(2, output_ratio=1.0)),
    (ValueError, lambda: nn.FractionalMaxPool3d(0, 3)),
    (AssertionError, lambda: nn.Embedding(5, 3, padding_idx=5)),
    (AssertionError, lambda: nn.EmbeddingBag(5, 3, padding_idx=-6)),
    (AssertionError, lambda: nn.Embedding(5, 3, _weight=ferrograd.ones(3, 5))),
    (AssertionError, lambda: nn.Embedding.from_pretrained(ferrograd.ones(3))),
    (TypeError, lambda: nn.HuberLoss(delta="1")),
    (ValueError, lambda: nn.MultiMarginLoss(p=3)),
    (ValueError, lambda: nn.TripletMarginLoss(margin=0)),
    (ValueError, lambda: nn.TripletMarginWithDistanceLoss(margin=-1)),
    (RuntimeError, lambda: nn.LinearCrossEntropyLoss(4, 3, label_smoothing=2)),
    (RuntimeError, lambda: nn.LinearCrossEntropyLoss(4, 3, weight=ferrograd.ones(2))),
    (ValueError, lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [])),
    (ValueError, lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [6, 3])),
    (ValueError, lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 10])),
    (ValueError, lambda: nn.Softmax2d()(ferrograd.ones(2, 2))),
    (ValueError, lambda: nn.CircularPad1d(1)(ferrograd.ones(2))),
    (ValueError, lambda: nn.CircularPad2d(1)(ferrograd.ones(2, 2))),
    (ValueError, lambda: nn.BatchNorm1d(3)(ferrograd.ones(3))),
    (ValueError, lambda: nn.BatchNorm2d(2)(ferrograd.ones(2, 2))),
    (ValueError, lambda: nn.BatchNorm2d(3)(ferrograd.ones(2, 3, 4))),
    (ValueError, lambda: nn.SyncBatchNorm(2)(ferrograd.ones(2))),
    (ValueError, lambda: nn.InstanceNorm1d(3, affine=True)(ferrograd.ones(2, 2, 4))),
    (ValueError, lambda: nn.InstanceNorm3d(3)(ferrograd.ones(3, 2, 2))),
    (ValueError, lambda: nn.CrossMapLRN2d(2)(ferrograd.ones(2, 2, 4))),
    (RuntimeError, lambda: nn.Linear(2, 3)(ferrograd.ones(4))),
]


@pytest.mark.parametrize("error, call", REFUSED)
def test_what_is_refused(error, call):
    with pytest.raises(error) as info:
        call()
    assert str(info.value)


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
