"""Pooling: which of equal elements, NaN and infinities, places, formats, random windows, and what is refused."""

import numpy as np
import pytest

import ferrograd
from ferrograd.nn import functional


def tensor(array):
    return ferrograd.from_numpy(np.asarray(array))


def random(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_the_first_of_equal_elements():
    x = ferrograd.zeros(1, 1, 4, requires_grad=True)
    y, places = functional.max_pool1d(x, 2, return_indices=True)
    assert places.tolist() == [[[0, 2]]]
    y.sum().backward()
    assert x.grad.tolist() == [[[1, 0, 1, 0]]]


def test_nan_and_infinities():
    nan, inf = np.nan, np.inf
    x = tensor([[[1.0, nan, nan, 2.0, -inf, -inf]]])
    y, places = functional.max_pool1d(x, 3, return_indices=True)
    assert np.isnan(y.numpy()[0, 0, 0]) and y.numpy()[0, 0, 1] == 2.0
    assert places.tolist() == [[[2, 3]]]
    y, places = functional.max_pool1d(x[..., 4:], 2, return_indices=True)
    assert y.tolist() == [[[-inf]]] and places.tolist() == [[[0]]]


def test_places_are_those_of_the_plane():
    x = random(2, 3, 4, 5, 6)
    y, places = functional.max_pool3d(tensor(x), 2, return_indices=True)
    flat = np.take_along_axis(x.reshape(2, 3, -1), places.numpy().reshape(2, 3, -1), 2)
    np.testing.assert_array_equal(flat.reshape(y.shape), y.numpy())


def test_a_window_that_reaches_no_place():
    """One place, padding on both sides, and windows that step over it."""
    x = tensor(np.ones((1, 1, 1, 3))).requires_grad_()
    y, places = functional.max_pool2d(x, (1, 2), 1, (0, 1), (1, 2), return_indices=True)
    assert y.tolist() == [[[[1, 1, 1]]]]
    y, places = functional.max_pool2d(x[..., :1], (1, 2), 1, (0, 1), (1, 2), return_indices=True)
    assert y.tolist() == [[[[-np.inf]]]] and places.tolist() == [[[[0]]]]
    y.sum().backward()


def test_whole_numbers():
    x = ferrograd.arange(-4, 12).reshape(1, 4, 4)
    for dtype in (ferrograd.int64, ferrograd.int32, ferrograd.int16, ferrograd.int8):
        y = functional.max_pool2d(x.to(dtype), 2)
        assert y.dtype == dtype and y.tolist() == [[[1, 3], [9, 11]]]
    assert functional.avg_pool2d(x, 2).tolist() == [[[-1, 0], [6, 8]]]
    for call in (
        lambda: functional.max_pool1d(x[0], 2),
        lambda: functional.avg_pool2d(x.int(), 2),
        lambda: functional.max_pool2d(x.bool(), 2),
        lambda: functional.adaptive_avg_pool2d(x, 2),
        lambda: functional.adaptive_max_pool3d(x[None], 2),
        lambda: functional.avg_pool3d(x[None].cfloat(), 1),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_what_padding_counts_for():
    x = ferrograd.ones(1, 1, 3)
    assert functional.avg_pool1d(x, 2, padding=1).tolist() == [[[0.5, 1.0]]]
    assert functional.avg_pool1d(x, 2, padding=1, count_include_pad=False).tolist() == [[[1.0, 1.0]]]
    # The last window, which is cut off, begins within the line.
    assert functional.avg_pool1d(x, 2, ceil_mode=True).tolist() == [[[1.0, 1.0]]]
    assert functional.avg_pool2d(x, (1, 2), divisor_override=-4).tolist() == [[[-0.5]]]


def test_sizes_that_are_none():
    x = tensor(random(1, 2, 4, 6))
    assert functional.adaptive_avg_pool2d(x, (None, 3)).shape == (1, 2, 4, 3)
    y, places = functional.adaptive_max_pool2d(x, (2, None), return_indices=True)
    assert y.shape == places.shape == (1, 2, 2, 6)
    assert functional.adaptive_avg_pool3d(x, (None, 1, 1)).shape == (1, 2, 1, 1)
    assert functional.adaptive_avg_pool2d(x, (0, 2)).shape == (1, 2, 0, 2)


def test_channels_last():
    x = random(2, 4, 6, 6)
    last = tensor(x).to(memory_format=ferrograd.channels_last)
    for f in (
        lambda x: functional.max_pool2d(x, 2),
        lambda x: functional.max_pool2d(x, 2, return_indices=True)[1],
        lambda x: functional.avg_pool2d(x, 2),
        lambda x: functional.adaptive_max_pool2d(x, 2),
        lambda x: functional.adaptive_avg_pool2d(x, 2),
    ):
        assert f(last).is_contiguous(memory_format=ferrograd.channels_last) and not f(last).is_contiguous()
        np.testing.assert_array_equal(f(last).numpy(), f(tensor(x)).numpy())
    leaf = last.clone().requires_grad_()
    functional.max_pool2d(leaf, 2).sum().backward()
    assert leaf.grad.sum().item() == 2 * 4 * 9


def test_unpooling_puts_back():
    x = tensor(random(2, 3, 6, 4))
    y, places = functional.max_pool2d(x, 2, return_indices=True)
    back = functional.max_unpool2d(y, places, 2)
    assert back.shape == x.shape
    np.testing.assert_array_equal(functional.max_pool2d(back.abs(), 2).numpy(), y.abs().numpy())
    assert functional.max_unpool2d(y, places, 2, output_size=(7, 5)).shape == (2, 3, 7, 5)
    line, places = functional.max_pool1d(x[0], 2, return_indices=True)
    assert functional.max_unpool1d(line, places, 2, output_size=(3, 6, 4)).shape == (3, 6, 4)
    # The last of two elements with one place stays.
    both = functional.max_unpool1d(tensor([[1.0, 2.0]]), tensor([[3, 3]]), 2)
    assert both.tolist() == [[0, 0, 0, 2]]


def test_no_random_windows():
    for n, pool in ((2, functional.fractional_max_pool2d), (3, functional.fractional_max_pool3d)):
        x = ferrograd.ones(2, 3, *[4] * n, requires_grad=True)
        y = pool(x, 2, 0)
        assert y.shape == (2, 3, *[0] * n)
        y.sum().backward()
        assert not x.grad.any()
        assert pool(ferrograd.ones(0, *[4] * n), 2, 2).shape == (0, *[2] * n)
        with pytest.raises(RuntimeError, match="non-zero size"):
            pool(ferrograd.ones(2, 0, *[4] * n), 2, 2)


def test_random_windows():
    """They lie where the samples say, which are those that `rand` draws."""
    x = tensor(random(2, 3, 7, 6))
    ferrograd.manual_seed(5)
    y = functional.fractional_max_pool2d(x, 2, (3, 4))
    ferrograd.manual_seed(5)
    samples = ferrograd.rand(2, 3, 2, dtype=ferrograd.float64)
    np.testing.assert_array_equal(functional.fractional_max_pool2d(x, 2, (3, 4), _random_samples=samples).numpy(), y.numpy())

    def starts(sample, size, results, kernel):
        alpha = (size - kernel) / (results - 1)
        return [int((i + sample) * alpha) - int(sample * alpha) for i in range(results - 1)] + [size - kernel]

    for n in range(2):
        for c in range(3):
            width, height = samples[n, c].tolist()
            for i, top in enumerate(starts(height, 7, 3, 2)):
                for j, left in enumerate(starts(width, 6, 4, 2)):
                    assert y[n, c, i, j].item() == x[n, c, top : top + 2, left : left + 2].max().item()


def test_long_lines_need_no_tables():
    x = ferrograd.arange(100_001, dtype=ferrograd.float64)[None]
    y = functional.max_pool1d(x, 3, 2)
    assert y.shape == (1, 50_000) and y[0, -1].item() == 100_000
    assert functional.avg_pool1d(x, 100_001).item() == 50_000


def test_names_of_nodes():
    x = tensor(random(1, 2, 4, 4)).requires_grad_()
    line, box = x[0], x[None]
    for y, name in (
        (functional.max_pool1d(line, 2), "SqueezeBackward1"),
        (functional.max_pool2d(x, 2), "MaxPool2DWithIndicesBackward0"),
        (functional.max_pool3d(box, (1, 2, 2)), "MaxPool3DWithIndicesBackward0"),
        (functional.avg_pool2d(x, 2), "AvgPool2DBackward0"),
        (functional.avg_pool3d(x, 1), "AvgPool3DBackward0"),
        (functional.adaptive_avg_pool2d(x, 2), "AdaptiveAvgPool2DBackward0"),
        (functional.adaptive_avg_pool2d(x, 1), "MeanBackward1"),
        (functional.adaptive_max_pool3d(x, 2), "AdaptiveMaxPool3DBackward0"),
        (functional.fractional_max_pool2d(x, 2, 2), "FractionalMaxPool2DBackward0"),
        (functional.lp_pool2d(x, 2, 2), "PowBackward0"),
        (functional.max_unpool2d(x, ferrograd.zeros(1, 2, 4, 4, dtype=ferrograd.int64), 2), "MaxUnpool2DBackward0"),
        (functional.local_response_norm(x, 2), "DivBackward0"),
    ):
        assert y.grad_fn.name() == name


def test_places_that_were_written_to():
    x = tensor(random(1, 1, 4)).requires_grad_()
    y, places = functional.max_pool1d(x, 2, return_indices=True)
    places.fill_(1000)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


LARGE = 2**62
X = ferrograd.ones(1, 2, 4, 4)
PLACES = ferrograd.zeros(1, 2, 4, 4, dtype=ferrograd.int64)
SAMPLES = ferrograd.full((1, 2, 2), 0.5)


@pytest.mark.parametrize(
    "error, call",
    [
        (RuntimeError, lambda: functional.max_pool2d(X, 0)),
        (RuntimeError, lambda: functional.max_pool2d(X, -2)),
        (RuntimeError, lambda: functional.max_pool2d(X, 2, 0)),
        (RuntimeError, lambda: functional.max_pool2d(X, 2, 1, -1)),
        (RuntimeError, lambda: functional.max_pool2d(X, 2, 1, 2)),
        (RuntimeError, lambda: functional.max_pool2d(X, 2, 1, 0, 0)),
        (RuntimeError, lambda: functional.max_pool2d(X, 5)),
        (RuntimeError, lambda: functional.max_pool2d(X, LARGE)),
        (RuntimeError, lambda: functional.max_pool2d(X, LARGE, LARGE, 0, LARGE)),
        (RuntimeError, lambda: functional.max_pool2d(X, 2, 1, 0, LARGE)),
        (RuntimeError, lambda: functional.max_pool2d(X, (2, 2, 2))),
        (RuntimeError, lambda: functional.max_pool2d(X, 2, (1, 1, 1))),
        (RuntimeError, lambda: functional.max_pool2d(X[0, 0], 2)),
        (RuntimeError, lambda: functional.max_pool2d(X[:, :0], 2)),
        (RuntimeError, lambda: functional.max_pool1d(X, 2)),
        (RuntimeError, lambda: functional.max_pool3d(X[0], 2)),
        (RuntimeError, lambda: functional.max_pool3d(X.expand(2, 2, 4, 4).to(memory_format=ferrograd.channels_last), 2)),
        (RuntimeError, lambda: functional.avg_pool1d(X, 2)),
        (RuntimeError, lambda: functional.avg_pool2d(X, 2, divisor_override=0)),
        (RuntimeError, lambda: functional.avg_pool2d(X, 2, padding=2)),
        (IndexError, lambda: functional.avg_pool2d(X[0, 0], 2)),
        (RuntimeError, lambda: functional.avg_pool3d(X, 3, padding=1)),
        (RuntimeError, lambda: functional.avg_pool3d(X, LARGE)),
        (TypeError, lambda: functional.avg_pool2d(X, 1.5)),
        (RuntimeError, lambda: functional.adaptive_avg_pool2d(X, -1)),
        (RuntimeError, lambda: functional.adaptive_avg_pool2d(X, (2, 2, 2))),
        (ValueError, lambda: functional.adaptive_avg_pool2d(ferrograd.ones(4), (2, 2))),
        (RuntimeError, lambda: functional.adaptive_avg_pool2d(X, LARGE)),
        (RuntimeError, lambda: functional.adaptive_max_pool2d(X, -1)),
        (RuntimeError, lambda: functional.adaptive_max_pool2d(X, (LARGE, 2))),
        (RuntimeError, lambda: functional.adaptive_max_pool1d(X, 2)),
        (RuntimeError, lambda: functional.adaptive_max_pool1d(X[0], ())),
        (ValueError, lambda: functional.fractional_max_pool2d(X, 2)),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, 2, 4)),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, 0, 2)),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, LARGE, LARGE)),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, 2, 2, _random_samples=SAMPLES.double())),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, 2, 2, _random_samples=SAMPLES[0])),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, 2, 2, _random_samples=SAMPLES[:, :1])),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, 2, 3, _random_samples=SAMPLES * 1e30)),
        (RuntimeError, lambda: functional.fractional_max_pool2d(X, 2, 3, _random_samples=SAMPLES * np.nan)),
        (RuntimeError, lambda: functional.max_unpool2d(X, PLACES.int(), 2)),
        (RuntimeError, lambda: functional.max_unpool2d(X, PLACES[0], 2)),
        (RuntimeError, lambda: functional.max_unpool2d(X, PLACES + 64, 2)),
        (RuntimeError, lambda: functional.max_unpool2d(X, PLACES - 1, 2)),
        (ValueError, lambda: functional.max_unpool2d(X, PLACES, 2, output_size=(10, 8))),
        (ValueError, lambda: functional.max_unpool2d(X, PLACES, 2, output_size=(8,))),
        (ValueError, lambda: functional.max_unpool2d(X, PLACES, LARGE)),
        (RuntimeError, lambda: functional.max_unpool3d(X, PLACES, 2, 0)),
        (NotImplementedError, lambda: functional.max_unpool2d(X.long(), PLACES, 2)),
        (ValueError, lambda: functional.local_response_norm(X[0, 0], 2)),
    ],
)
def test_refused(error, call):
    with pytest.raises(error):
        call()
