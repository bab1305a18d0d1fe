"""Convolution, windows of images and padding: sizes, dtypes, errors, edges. Values and derivatives are in op_cases/convolution.py."""

import numpy as np
import pytest

import ferrograd
from ferrograd.nn import functional as F
from op_cases.convolution import convolved, folded, spread, transposed, unfolded


def tensor(*shape, dtype=np.float64, seed=0):
    return ferrograd.from_numpy(np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype))


# More channels, windows and samples than one block of columns holds, so that parts are put together. Whole numbers: sums are exact.
LARGE = {
    "channels": ((2, 70, 9, 8), (40, 70, 3, 3), {"padding": 1}),
    "windows": ((1, 3, 90, 80), (5, 3, 3, 2), {"stride": (1, 2)}),
    "samples": ((300, 3, 4, 4), (4, 3, 2, 2), {}),
    "kernel": ((1, 1, 30, 31), (2, 1, 24, 25), {}),
    "one": ((2, 50, 12, 13), (60, 50, 1, 1), {}),
    "groups": ((3, 12, 20, 20), (18, 4, 3, 3), {"groups": 3, "dilation": 2}),
    "each_channel": ((3, 40, 33, 50), (40, 1, 3, 5), {"groups": 40, "padding": (1, 2)}),
    "each_channel_strided": ((2, 6, 21, 70), (12, 1, 4, 3), {"groups": 6, "padding": (5, 0), "stride": (2, 3), "dilation": (1, 2)}),
}


@pytest.mark.parametrize("name", LARGE)
def test_large(name):
    x_shape, w_shape, options = LARGE[name]
    x, w, b = tensor(*x_shape), tensor(*w_shape, seed=1), tensor(w_shape[0], seed=2)
    for t in (x, w, b):
        t.requires_grad_()
    y = F.conv2d(x, w, b, **options)
    want = convolved(x.detach().numpy(), w.detach().numpy(), b.detach().numpy(), **options)
    assert np.array_equal(y.detach().numpy(), want)
    # <g, conv(x, w)> is linear in x and in w: a gradient times its tensor is that sum again.
    g = tensor(*want.shape, seed=3)
    sum_without_bias = float((g.numpy() * (want - b.detach().numpy().reshape(-1, 1, 1))).sum())
    of_x, of_w, of_b = ferrograd.autograd.grad(y, (x, w, b), g)
    assert (of_x * x).sum().item() == (of_w * w).sum().item() == sum_without_bias
    assert np.array_equal(of_b.numpy(), g.numpy().sum((0, 2, 3)))
    # The gradient of x is a transposed convolution; elements of that of w are products with the convolution by a single one.
    step, around, apart = (spread(options.get(name, default), 2) for name, default in [("stride", 1), ("padding", 0), ("dilation", 1)])
    reach = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(want.shape[2:], step, around, apart, w_shape[2:])]
    left = tuple(n - r for n, r in zip(x_shape[2:], reach))
    assert np.array_equal(of_x.numpy(), transposed(g.numpy(), w.detach().numpy(), output_padding=left, **options))
    for place in [(0, 0, 0, 0), tuple(n - 1 for n in w_shape), tuple(n // 2 for n in w_shape)]:
        one = np.zeros(w_shape)
        one[place] = 1
        assert of_w.numpy()[place] == (convolved(x.detach().numpy(), one, **options) * g.numpy()).sum()


@pytest.mark.parametrize("name", LARGE)
def test_threads_do_not_change_a_bit(name):
    x_shape, w_shape, options = LARGE[name]
    rng = np.random.default_rng(0)
    x, w = (ferrograd.from_numpy(rng.standard_normal(shape).astype(np.float32)).requires_grad_() for shape in (x_shape, w_shape))
    threads = ferrograd.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            ferrograd.set_num_threads(count)
            y = F.conv2d(x, w, **options)
            results.append([t.detach().numpy().tobytes() for t in (y, *ferrograd.autograd.grad(y.square().sum(), (x, w)))])
    finally:
        ferrograd.set_num_threads(threads)
    assert results[0] == results[1] == results[2]


def test_transposed_is_the_gradient():
    x, w = tensor(2, 6, 5, 4), tensor(6, 2, 3, 2, seed=1)
    options = {"stride": (3, 2), "padding": (1, 0), "groups": 3}
    big = tensor(2, 6, 14, 9, seed=2).requires_grad_()
    (g,) = ferrograd.autograd.grad(F.conv2d(big, w, **options), big, x)
    assert F.conv_transpose2d(x, w, output_padding=(1, 1), **options).equal(g)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "complex64", "complex128"])
def test_dtypes(dtype):
    x, w = (tensor(*shape, seed=i).to(getattr(ferrograd, dtype)) for i, shape in enumerate([(2, 2, 5, 4), (3, 2, 2, 3)]))
    y = F.conv2d(x, w)
    assert y.dtype == x.dtype
    assert np.array_equal(y.numpy(), convolved(*(t.numpy().astype(np.float64) for t in (x.real, w.real))).astype(dtype))
    if dtype in ("int64", "complex64", "complex128"):
        assert F.conv2d(x, w, dilation=(2, 1)).dtype == F.conv_transpose2d(x, w[:2]).dtype == x.dtype
        return
    for call in (lambda: F.conv2d(x, w, dilation=(2, 1)), lambda: F.conv_transpose2d(x, w[:2])):
        with pytest.raises(NotImplementedError, match="not implemented for"):
            call()


def test_complex_gradients_conjugate():
    x, w = (tensor(*shape, seed=i) + 1j * tensor(*shape, seed=i + 9) for i, shape in enumerate([(1, 2, 5), (3, 2, 2)]))
    x.requires_grad_(), w.requires_grad_()
    y = F.conv1d(x, w)
    g = y.detach() * 0 + (1 + 2j)
    of_x, of_w = ferrograd.autograd.grad(y, (x, w), g)
    assert of_x.equal(F.conv_transpose1d(g, w.detach().conj()))
    for places in [(0, 0, 0), (2, 1, 1)]:
        moved = x.detach()[0, places[1], places[2] : places[2] + 4]
        assert of_w[places].item() == (g[0, places[0]] * moved.conj()).sum().item()


def test_bool_is_refused():
    x = ferrograd.ones(1, 1, 3, dtype=ferrograd.bool)
    with pytest.raises(NotImplementedError, match="not implemented for 'Bool'"):
        F.conv1d(x, x)


X, W = tensor(2, 4, 6, 6), tensor(8, 2, 3, 3)
HUGE = 2**62


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.conv2d(X, W, stride=0), RuntimeError, "non-positive stride"),
        (lambda: F.conv2d(X, W, padding=-1), RuntimeError, "negative padding"),
        (lambda: F.conv2d(X, W, dilation=0), RuntimeError, "non-positive dilation"),
        (lambda: F.conv2d(X, W, groups=0), RuntimeError, "non-positive groups"),
        (lambda: F.conv2d(X, W, groups=3), RuntimeError, "divisible by 3"),
        (lambda: F.conv2d(X, W, groups=16), RuntimeError, "at least 16"),
        (lambda: F.conv2d(X, W), RuntimeError, "to have 2 channels, but got 4"),
        (lambda: F.conv2d(X, W, tensor(7), groups=2), RuntimeError, "bias to be 1-dimensional with 8"),
        (lambda: F.conv2d(X, W, stride=(1, 1, 1), groups=2), RuntimeError, "list of 2 values"),
        (lambda: F.conv2d(X, W, stride=(), groups=2), RuntimeError, "list of 2 values"),
        (lambda: F.conv2d(X, tensor(8, 2, 3), groups=2), RuntimeError, "4-dimensional"),
        (lambda: F.conv2d(X[0, 0], W, groups=2), RuntimeError, r"Expected 3D \(unbatched\) or 4D"),
        (lambda: F.conv2d(X, tensor(8, 2, 7, 3), groups=2), RuntimeError, "can't be greater"),
        (lambda: F.conv2d(X, tensor(8, 2, 0, 3), groups=2), RuntimeError, "without elements"),
        (lambda: F.conv2d(X[:, :, :0], W, groups=2, padding=2), RuntimeError, "Only zero batch"),
        (lambda: F.conv2d(X, W.float(), groups=2), RuntimeError, "should be the same"),
        (lambda: F.conv2d(X, W, tensor(8).float(), groups=2), RuntimeError, "should be the same"),
        (lambda: F.conv2d(X, W, stride=2, padding="same", groups=2), RuntimeError, "strided"),
        (lambda: F.conv2d(X, W, padding="some", groups=2), RuntimeError, "Invalid padding string: 'some'"),
        (lambda: F.conv2d(X, W, stride=1.5, groups=2), TypeError, "int"),
        (lambda: F.conv2d(X, W, stride=True, groups=2), TypeError, "int"),
        (lambda: F.conv2d(3, W), TypeError, "input"),
        (lambda: F.conv2d(X, W, padding=HUGE, groups=2), RuntimeError, "too large"),
        (lambda: F.conv2d(X, W, dilation=HUGE, groups=2), RuntimeError, "too large"),
        (lambda: F.conv2d(X, W, dilation=HUGE, padding="same", groups=2), RuntimeError, "too large"),
        (lambda: F.conv_transpose2d(X, W[:4], stride=HUGE), RuntimeError, "too large"),
        (lambda: F.conv_transpose2d(X, W[:4], stride=2, output_padding=2), RuntimeError, "must be smaller"),
        (lambda: F.conv_transpose2d(X, W[:4], output_padding=-1), RuntimeError, "negative output_padding"),
        (lambda: F.conv_transpose2d(X, W[:4], padding=5), RuntimeError, "too small"),
        (lambda: F.conv_transpose2d(X, W[:3]), RuntimeError, "to have 3 channels"),
        (lambda: F.conv_transpose2d(X, W[:4], padding="same"), TypeError, "int"),
        (lambda: ferrograd.convolution(X, W, None, 1, [0], [1], False, [0], 2), TypeError, "tuple of ints"),
        (lambda: ferrograd.convolution(X[0], W, None, [1], [0], [1], False, [0], 2), RuntimeError, "4-dimensional"),
        (lambda: ferrograd.conv_tbc(X, W, tensor(3)), RuntimeError, "3 dims"),
        (lambda: ferrograd.conv_tbc(X[0], W[:, 0], tensor(3)), RuntimeError, "do not fit"),
        (lambda: ferrograd.conv_tbc(X[0], tensor(9, 6, 2), tensor(2), 1), RuntimeError, "do not fit a kernel of 9"),
        (lambda: F.unfold(X, 0), RuntimeError, "kernel_size should be at least 1"),
        (lambda: F.unfold(X, (3,)), RuntimeError, "equals to 2, but got size 1"),
        (lambda: F.unfold(X, 9), RuntimeError, "sliding blocks"),
        (lambda: F.unfold(X, 2, padding=HUGE), RuntimeError, "too many"),
        (lambda: F.unfold(X[:0], 1, padding=2**40), RuntimeError, "more elements than memory can hold"),
        (lambda: F.fold(X[0], (2**40, 2**40), 1), RuntimeError, "more elements than memory can hold"),
        (lambda: F.unfold(X[0, 0], 2), IndexError, "out of range"),
        (lambda: F.unfold(X[:, :0], 2), RuntimeError, "non-zero dimensions"),
        (lambda: F.unfold(X.long(), 2), NotImplementedError, "not implemented for 'Long'"),
        (lambda: F.unfold(X, 2.5), TypeError, "int"),
        (lambda: F.fold(X[0], (3, 3), (5, 1)), RuntimeError, "divisible"),
        (lambda: F.fold(X[0], (3, 3), (2, 1), stride=2), RuntimeError, "to match the calculated number"),
        (lambda: F.fold(X[0], (0, 3), (2, 1)), RuntimeError, "positive output_size"),
        (lambda: F.fold(X, (3, 3), 2), RuntimeError, "2D or 3D"),
        (lambda: F.pad(X, (1,)), RuntimeError, "divisible by 2"),
        (lambda: F.pad(X, (1,) * 10), RuntimeError, "two times the input dimension"),
        (lambda: F.pad(X, (-4, -3)), RuntimeError, "too small"),
        (lambda: F.pad(X, (HUGE, HUGE)), RuntimeError, "too small|memory"),
        (lambda: F.pad(X, (2**44, 2**44, 0, 0), mode="replicate"), MemoryError, "memory"),
        (lambda: F.pad(X, 1), TypeError, "tuple of ints"),
        (lambda: F.pad(X, (1.0, 1)), TypeError, "int"),
        (lambda: F.pad(X, (1, 1), value=1j), TypeError, "float|real"),
        (lambda: F.pad(X.to(ferrograd.uint8), (1, 1), value=300), RuntimeError, "overflow"),
        (lambda: F.pad(X, (1, 1), "reflect"), NotImplementedError, "Padding size 2 is not supported for 4D"),
        (lambda: F.pad(X[0], (1, 1), "some"), NotImplementedError, "Unrecognised"),
        (lambda: F.pad(X[0], (1, 1), "reflect", 2.0), RuntimeError, "doesn't take in value"),
        (lambda: F.pad(X[0], (6, 0), "reflect"), RuntimeError, "should be less than"),
        (lambda: F.pad(X[0], (7, 0), "circular"), RuntimeError, "more than once"),
        (lambda: F.pad(X[0], (-7, 2), "circular"), RuntimeError, "nothing"),
        (lambda: F.pad(X[0], (-3, -3), "replicate"), RuntimeError, "too small"),
        (lambda: F.pad(X[0][:, :, :0], (1, 1), "replicate"), RuntimeError, "non-zero dimensions"),
        (lambda: F.pad(X[0].bool(), (1, 1), "replicate"), NotImplementedError, "replication_pad1d"),
        (lambda: ferrograd.constant_pad_nd(X, (1, 1), None), TypeError, "number"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_steps_may_be_huge():
    """Where nothing is so far away, nothing of the kind is allocated."""
    x, w = tensor(1, 2, 3, 3), tensor(2, 2, 2, 2)
    assert F.conv2d(x, w, stride=HUGE).equal(F.conv2d(x, w)[:, :, :1, :1])
    each = F.conv2d(x, w[:, :1], groups=2, stride=2**40, padding=2**40)
    assert each.shape == (1, 2, 3, 3) and each[:, :, 1, 1].equal((x[0, :, :2, :2] * w[:, 0]).sum((1, 2))[None])
    x.requires_grad_()
    F.conv2d(x, w[:, :1], groups=2, stride=2**40, padding=2**40).sum().backward()
    assert x.grad[0, :, :2, :2].equal(w[:, 0])


def test_channels_last_stays():
    x = X.contiguous(memory_format=ferrograd.channels_last).requires_grad_()
    y = F.conv2d(x, W, groups=2)
    assert y.stride() == (128, 1, 32, 8) and y.equal(F.conv2d(X, W, groups=2))
    assert F.pad(x, (1, 1)).stride() == F.pad(x, (1, 1, 0, 0), "reflect").stride() == (192, 1, 32, 4)
    (g,) = ferrograd.autograd.grad(y.sum(), x)
    assert g.stride() == x.stride()


def test_names():
    x, w = X.clone().requires_grad_(), W.clone().requires_grad_()
    names = {
        "ConvolutionBackward0": F.conv2d(x, w, groups=2),
        "SqueezeBackward1": F.conv2d(x[0], w, groups=2),
        "Im2ColBackward0": F.unfold(x, 2),
        "Col2ImBackward0": F.fold(x[0, :, :, 0], (2, 3), 1),
        "ConstantPadNdBackward0": F.pad(x, (1, 1)),
        "ReflectionPad2DBackward0": F.pad(x, (1, 1, 1, 1), "reflect"),
        "ReplicationPad1DBackward0": F.pad(x[0], (1, 1), "replicate"),
    }
    assert {name: y.grad_fn.name() for name, y in names.items()} == {name: name for name in names}
    (g,) = ferrograd.autograd.grad(F.conv2d(x, w, groups=2).sum(), x, create_graph=True)
    assert g.grad_fn.name() == "ConvolutionBackwardBackward0"


def test_sizes_of_nothing_may_be_huge():
    x, w = tensor(0, 3, 4, 7), tensor(3, 3, 2, 2).requires_grad_()
    y = F.conv_transpose2d(x, w, dilation=2**40)
    assert y.shape == (0, 3, 2**40 + 4, 2**40 + 7)
    assert not ferrograd.autograd.grad(y, w, ferrograd.empty(y.shape, dtype=y.dtype))[0].any()


def test_no_channels_give_none():
    x, w = tensor(2, 0, 5), tensor(3, 0, 2).requires_grad_()
    y = F.conv1d(x, w)
    assert y.shape == (2, 0, 4)
    assert ferrograd.autograd.grad(y.sum(), w)[0].shape == (3, 0, 2)


def test_no_samples():
    w, b = tensor(3, 2, 2).requires_grad_(), tensor(3).requires_grad_()
    of_w, of_b = ferrograd.autograd.grad(F.conv1d(tensor(0, 2, 5), w, b).sum(), (w, b))
    assert not of_w.any() and not of_b.any() and of_w.shape == w.shape


def test_sequences_of_nothing_are_the_bias():
    b = tensor(3)
    assert ferrograd.conv_tbc(tensor(4, 2, 0), tensor(2, 0, 3), b).equal(b.expand(3, 2, 3))


def test_folds_of_truth_values():
    x = tensor(2, 4, 4) > 0
    assert F.unfold(x, 2).numpy().tolist() == unfolded(x.numpy(), 2).tolist()
    columns = tensor(8, 9) > 1
    assert F.fold(columns, (4, 4), 2).numpy().tolist() == (folded(columns.numpy().astype(float), (4, 4), 2) > 0).tolist()


def test_padding_takes_the_dtypes_values():
    x = ferrograd.tensor([1, 2, 3])
    assert F.pad(x, (1, 2), value=2.7).tolist() == [2, 1, 2, 3, 2, 2]
    assert F.pad(x.bool(), (0, 1), value=0.5).tolist() == [True, True, True, True]
    assert F.pad(x.double(), (1, 0), value=float("nan")).isnan().tolist() == [True, False, False, False]
    assert ferrograd.constant_pad_nd(x + 0j, (1, 0), 2j).tolist() == [2j, 1, 2, 3]


@pytest.mark.parametrize(
    ("pad", "mode", "want"),
    [
        ((-1, 2), "reflect", [1, 2, 3, 4, 5, 4, 3]),
        ((3, -3), "reflect", [3, 2, 1, 0, 1, 2]),
        ((3, -3), "replicate", [0, 0, 0, 0, 1, 2]),
        ((3, -3), "circular", [0, 1, 2, 0, 1, 2]),
        ((-3, 3), "circular", [3, 4, 5, 3, 4, 5]),
        ((-3, 3), "reflect", [3, 4, 5, 4, 3, 2]),
    ],
)
def test_ends_may_be_cut_off(pad, mode, want):
    assert F.pad(ferrograd.arange(6.0).reshape(1, 6), pad, mode)[0].tolist() == want


def test_padding_makes_a_copy():
    x = ferrograd.ones(2, 3)
    for pad in ((), (0, 0), (-1, 0)):
        y = F.pad(x, pad)
        y.zero_()
    assert x.sum() == 6
