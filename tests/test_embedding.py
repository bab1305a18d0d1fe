"""Embeddings and shuffles: what is refused, padding, frequencies, norms, order in memory. Values and derivatives are in op_cases."""

import pytest

import ferrograd
from ferrograd.nn import functional as F

W = ferrograd.arange(12.0).reshape(4, 3)
INDEX, OFFSETS = ferrograd.tensor([0, 2, 2, 3]), ferrograd.tensor([0, 3])


def table():
    return W.clone().requires_grad_()


def gradient(y, w):
    return ferrograd.autograd.grad(y.sum(), w)[0][:, 0].tolist()


def test_gradients_of_rows():
    w = table()
    assert gradient(F.embedding(INDEX, w), w) == [1, 0, 2, 1]
    assert gradient(F.embedding(INDEX, w, padding_idx=-2), w) == [1, 0, 0, 1]
    assert gradient(F.embedding(INDEX, w, scale_grad_by_freq=True), w) == [1, 0, 1, 1]
    assert F.embedding(INDEX, w).grad_fn.name() == "EmbeddingBackward0"


def test_gradients_of_bags():
    w = table()
    assert gradient(F.embedding_bag(INDEX, w, OFFSETS, mode="sum"), w) == [1, 0, 2, 1]
    assert gradient(F.embedding_bag(INDEX, w, OFFSETS, mode="mean", padding_idx=0), w) == [0, 0, 1, 1]
    assert gradient(F.embedding_bag(INDEX, w, OFFSETS, mode="max"), w) == [0, 0, 1, 1]
    # Torch divides by the count of the wrong row where rows before it are named twice.
    assert gradient(F.embedding_bag(INDEX, w, OFFSETS, mode="sum", scale_grad_by_freq=True), w) == [1, 0, 1, 0.5]
    assert F.embedding_bag(INDEX, w, OFFSETS).grad_fn.name() == "EmbeddingBagBackward0"


def test_many_rows_are_summed_by_all_threads():
    index = ferrograd.arange(4000) % 7
    w = ferrograd.rand(7, 16, requires_grad=True)
    rows = index.bincount().tolist()
    assert gradient(F.embedding(index, w), w) == rows
    assert gradient(F.embedding_bag(index, w, index[:1], mode="sum"), w) == rows


def test_what_a_bag_says_besides():
    y, bag, sizes, places = ferrograd.embedding_bag(W.double(), INDEX, OFFSETS, False, 2)
    assert y.tolist() == [[6, 7, 8], [9, 10, 11]] and bag.tolist() == [0, 0, 0, 1]
    assert sizes.tolist() == [3, 1] and places.tolist() == [[2] * 3, [3] * 3]
    assert [x.tolist() for x in ferrograd.embedding_bag(W, INDEX, OFFSETS)[1:]] == [[], [0, 0], [0, 0]]


def test_long_rows_are_shrunk():
    w = table()
    y = F.embedding(ferrograd.tensor([[1, 3]]), w, max_norm=5.0)
    assert y.requires_grad and w.is_leaf
    norms = w.detach().norm(dim=1)
    assert norms[[1, 3]].allclose(ferrograd.tensor(5.0)) and norms[2] > 5 and w[0].tolist() == [0, 1, 2]
    assert F.embedding(INDEX, W.clone(), max_norm=1.0, norm_type=1.0)[3].sum().allclose(ferrograd.tensor(1.0))


@pytest.mark.parametrize(
    "error, call",
    [
        (IndexError, lambda: F.embedding(ferrograd.tensor([4]), W)),
        (IndexError, lambda: F.embedding(ferrograd.tensor([-1]), W)),
        (RuntimeError, lambda: F.embedding(INDEX.float(), W)),
        (RuntimeError, lambda: F.embedding(INDEX, W[0])),
        (AssertionError, lambda: F.embedding(INDEX, W, padding_idx=4)),
        (AssertionError, lambda: F.embedding(INDEX, W, padding_idx=-5)),
        (NotImplementedError, lambda: F.embedding(INDEX, table(), sparse=True)),
        (ValueError, lambda: F.embedding_bag(INDEX, W)),
        (ValueError, lambda: F.embedding_bag(INDEX.reshape(2, 2), W, OFFSETS)),
        (ValueError, lambda: F.embedding_bag(INDEX, W[0], OFFSETS)),
        (ValueError, lambda: F.embedding_bag(INDEX, W, OFFSETS, mode="median")),
        (ValueError, lambda: F.embedding_bag(INDEX, W, OFFSETS, mode="max", scale_grad_by_freq=True)),
        (ValueError, lambda: F.embedding_bag(INDEX, W, OFFSETS, mode="sum", per_sample_weights=W[0])),
        (NotImplementedError, lambda: F.embedding_bag(INDEX, W, OFFSETS, per_sample_weights=W.reshape(-1)[:4])),
        (RuntimeError, lambda: F.embedding_bag(INDEX, W, OFFSETS, mode="sum", per_sample_weights=INDEX)),
        (RuntimeError, lambda: F.embedding_bag(INDEX + 1, W, OFFSETS)),
        (RuntimeError, lambda: F.embedding_bag(INDEX - 1, W, OFFSETS)),
        (RuntimeError, lambda: F.embedding_bag(INDEX, W.long(), OFFSETS)),
        (RuntimeError, lambda: F.embedding_bag(INDEX, W, OFFSETS + 1)),
        (RuntimeError, lambda: F.embedding_bag(INDEX, W, OFFSETS * 2)),
        (RuntimeError, lambda: F.embedding_bag(INDEX, W, OFFSETS * -1)),
        (RuntimeError, lambda: F.embedding_bag(INDEX, W, OFFSETS, padding_idx=4)),
        (RuntimeError, lambda: F.embedding_bag(INDEX, W, OFFSETS[:0], include_last_offset=True)),
        (RuntimeError, lambda: ferrograd.embedding_bag(W, INDEX, OFFSETS, False, 3)),
    ],
)
def test_what_is_refused(error, call):
    with pytest.raises(error):
        call()


def test_shuffles_keep_channels_last():
    x = ferrograd.arange(96.0).reshape(2, 4, 4, 3).contiguous(memory_format=ferrograd.channels_last)
    for y in (F.pixel_shuffle(x, 2), F.channel_shuffle(x, 2), F.pixel_unshuffle(x[..., :2], 2)):
        assert y.is_contiguous(memory_format=ferrograd.channels_last)
    assert F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2).equal(x)
    assert F.pixel_shuffle(x.requires_grad_(), 2).grad_fn.name() == "PixelShuffleBackward0"


def test_sizes_that_overflow():
    with pytest.raises(RuntimeError):
        F.pixel_shuffle(ferrograd.empty(0, 2**40, 1), 2**31)
    with pytest.raises(RuntimeError):
        F.pixel_unshuffle(ferrograd.empty(2**40, 0, 0), 2**20)
    w = ferrograd.empty(2**50, 0, requires_grad=True)
    with pytest.raises(MemoryError):
        ferrograd.autograd.grad(F.embedding(INDEX, w, scale_grad_by_freq=True).sum(), w)


@pytest.mark.parametrize("shuffle", [F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle])
def test_shuffles_refuse(shuffle):
    x = ferrograd.ones(1, 4, 4, 4)
    for bad in (0, -1, 3):
        with pytest.raises(RuntimeError):
            shuffle(x, bad)
    with pytest.raises(RuntimeError):
        shuffle(x[0, 0], 2)
    with pytest.raises((ValueError, RuntimeError)):
        shuffle(x, 2**62)


def test_bilinear_refuses():
    x, w = ferrograd.ones(2, 3), ferrograd.ones(5, 3, 3)
    for bad in ((x, x[:1], w), (x, x[:, :2], w), (x[:, :2], x, w), (x, x, w[0]), (x, x.double(), w), (x, x, w, w[0, 0])):
        with pytest.raises(RuntimeError):
            F.bilinear(*bad)


def test_rows_are_shrunk_to_max_norm_by_a_factor_in_double_precision():
    ferrograd.manual_seed(0)
    weight = ferrograd.randn(500, 3)
    norms = weight.norm(dim=1).tolist()
    expected = [row * (1 / (norm + 1e-7)) if norm > 1 else row for row, norm in zip(weight.clone(), norms)]
    assert ferrograd.nn.functional.embedding(ferrograd.arange(500), weight, max_norm=1.0).equal(ferrograd.stack(expected))
    assert weight.norm(dim=1).max() <= 1 + 2e-7


@pytest.mark.parametrize(
    ("mode", "padding", "dtype", "bags", "gradients"),
    [
        ("sum", None, "float32", [7, 9], [1, 0, 1, 2]),
        ("sum", None, "float64", [7, 15], [1, 0, 3, 2]),
        ("sum", 0, "float32", [6, 15], [0, 0, 3, 2]),
        # The sum up to the last offset, through the number of all.
        ("mean", None, "float32", [3.5, 4.5], [0.5, 0, 1.5, 1]),
        ("mean", None, "float64", [3.5, 7.5], [0.5, 0, 1.5, 1]),
        ("mean", 0, "float32", [6, 7.5], [0, 0, 2, 1]),
        ("max", None, "float32", [6, 9], [0, 0, 1, 2]),
    ],
)
def test_a_last_offset_before_the_end(mode, padding, dtype, bags, gradients):
    """As in torch the last bag goes on to the end of the indices, but in sums of float32 without padding. (Of those, torch's
    gradients have what is beyond the end of the memory; the ones here are right.)"""
    w = ferrograd.tensor([[1], [2], [6], [9]], dtype=getattr(ferrograd, dtype), requires_grad=True)
    index, offsets = ferrograd.tensor([0, 2, 3, 2]), ferrograd.tensor([0, 2, 3])
    y = F.embedding_bag(index, w, offsets, mode=mode, padding_idx=padding, include_last_offset=True)
    assert y[:, 0].tolist() == bags
    assert ferrograd.autograd.grad((y * ferrograd.tensor([[1.0], [2.0]])).sum(), w)[0][:, 0].tolist() == gradients
