"""Differences, covariances, histograms, segments, and floats taken apart: errors, dtypes, special values."""

import numpy as np
import pytest

import ferrograd

ones, tensor = ferrograd.ones, ferrograd.tensor


def test_diff():
    assert tensor([True, False, False]).diff().tolist() == [True, False]
    assert tensor([3, 1, 2]).diff(prepend=tensor([0])).tolist() == [3, -2, 1]
    assert ferrograd.diff(ones(2, 3), 9).shape == (2, 0)
    for call, error in (
        (lambda: ones(()).diff(), RuntimeError),
        (lambda: ones(3).diff(-1), RuntimeError),
        (lambda: ones(3).diff(1, 2), IndexError),
        (lambda: ones(2, 3).diff(prepend=ones(3)), RuntimeError),
        (lambda: ones(2, 3).diff(append=ones(3, 1)), RuntimeError),
    ):
        with pytest.raises(error):
            call()


@pytest.mark.parametrize(
    "options, error",
    [
        (dict(edge_order=3), RuntimeError),
        (dict(spacing=[1.0, 2.0, 3.0]), RuntimeError),
        (dict(spacing=[1.0], dim=(0, 1)), RuntimeError),
        (dict(dim=(0, 0)), RuntimeError),
        (dict(dim=2), IndexError),
        (dict(spacing="a"), TypeError),
        (dict(spacing=ones(3)), TypeError),
        (dict(spacing=[ones(3, 1), ones(3)]), RuntimeError),
        (dict(spacing=[ones(3), ones(2)]), RuntimeError),
    ],
    ids=str,
)
def test_gradient_refuses(options, error):
    with pytest.raises(error):
        ferrograd.gradient(ones(3, 3), **options)


def test_gradient():
    assert ferrograd.gradient(tensor([1, 2, 4]))[0].tolist() == [1, 1.5, 2]
    assert ferrograd.gradient(ones(3, 3), dim=()) == ()
    for x in (ones(1), ones(3, dtype=ferrograd.uint8), ones(3, dtype=ferrograd.bool)):
        with pytest.raises(RuntimeError):
            ferrograd.gradient(x)


def test_gradient_is_made_of_torchs_ops():
    """Quotients with numbers, whose tangents require no gradient; values as of torch 2.13."""
    x = tensor([1.3, 2.7, 4.1, 9.9])
    (y,) = ferrograd.gradient(x, spacing=0.3, edge_order=2)
    assert y.tolist() == tensor([4.666667461395264, 4.666666507720947, 11.999999046325684, 26.666664123535156]).tolist()
    x.requires_grad_()
    parts = [node for node, _ in ferrograd.gradient(x)[0].grad_fn.next_functions]
    assert [node.name() for node in parts] == ["DivBackward1"] * 3
    (end, _), *_ = ferrograd.gradient(x, spacing=(tensor([0.0, 1, 3, 4]),), edge_order=2)[0].grad_fn.next_functions
    assert end.name() == "AddBackward0"


def test_cov():
    x = ones(2, 4)
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert ones(2, 1).cov().isnan().all()
    for options, error in (
        (dict(fweights=ones(4)), RuntimeError),
        (dict(fweights=tensor([1, 1, 1, -1])), RuntimeError),
        (dict(fweights=tensor([0, 0, 0, 0])), RuntimeError),
        (dict(fweights=tensor([1, 2])), RuntimeError),
        (dict(aweights=tensor([1, 1, 1, 1])), RuntimeError),
        (dict(aweights=ones(2, 2)), RuntimeError),
        (dict(correction=0.5), TypeError),
        (dict(aweights=[1.0]), TypeError),
    ):
        with pytest.raises(error):
            x.cov(**options)
    for bad in (ones(2, 2, 2), ones(2, dtype=ferrograd.bool)):
        with pytest.raises(RuntimeError):
            bad.cov()
    with pytest.raises(RuntimeError):
        ones(2, 2, 2).corrcoef()
    z = tensor([[1 + 1j, 2.0, 3j], [2.0, 1j, 1.0]])
    np.testing.assert_allclose(z.cov().numpy(), np.cov(z.numpy()), rtol=1e-5)
    np.testing.assert_allclose(z.corrcoef().numpy(), np.corrcoef(z.numpy()), rtol=1e-5)


def test_isin():
    x = tensor([[1, 2], [3, 4]])
    assert ferrograd.isin(x, tensor([4, 1, 9])).tolist() == [[True, False], [False, True]]
    assert ferrograd.isin(x, 3, invert=True).tolist() == [[True, True], [False, True]]
    assert ferrograd.isin(3, x).item() is True and ferrograd.isin(x, 2.5).any().item() is False
    assert ferrograd.isin(x, ferrograd.empty(0)).any().item() is False
    assert ferrograd.isin(ferrograd.empty(0), x).shape == (0,)
    assert ferrograd.isin(tensor([np.nan, -0.0]), tensor([np.nan, 0.0])).tolist() == [False, True]
    assert ferrograd.isin(tensor([np.nan]), ferrograd.empty(0)).tolist() == [False]
    with pytest.raises(TypeError):
        ferrograd.isin(1, 2)
    with pytest.raises(TypeError):
        ferrograd.isin(x, [1])
    for dtype in (ferrograd.bool, ferrograd.complex64):
        with pytest.raises(RuntimeError):
            ferrograd.isin(ones(2, dtype=dtype), ones(2))


def test_frexp():
    values = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-42, -5.0, 3.4e38, 0.5, 1.0], np.float32)
    for dtype in (np.float32, np.float64):
        x = values.astype(dtype)
        m, e = ferrograd.frexp(ferrograd.from_numpy(x))
        mantissa, exponent = np.frexp(x)
        np.testing.assert_array_equal(m.numpy(), mantissa)
        np.testing.assert_array_equal(np.signbit(m.numpy()), np.signbit(mantissa))
        assert e.numpy().dtype == np.int32 and e.numpy().tolist() == exponent.tolist()
    tiny = np.array([5e-324, 2.3e-308, -1.7e308])
    assert [part.tolist() for part in ferrograd.from_numpy(tiny).frexp()] == [part.tolist() for part in np.frexp(tiny)]
    result = ones(2).frexp()
    assert result.mantissa is result[0] and result.exponent is result[1]
    for dtype in (ferrograd.int64, ferrograd.complex64):
        with pytest.raises(RuntimeError):
            ones(2, dtype=dtype).frexp()


def test_nextafter():
    a = np.array([1.0, 0.0, -0.0, np.inf, np.nan, 5e-324, 2.0, 3.0], np.float64)
    b = np.array([2.0, -1.0, 1.0, 0.0, 1.0, 0.0, 2.0, np.nan], np.float64)
    for dtype in (np.float32, np.float64):
        x, y = a.astype(dtype), b.astype(dtype)
        got = ferrograd.from_numpy(x).nextafter(ferrograd.from_numpy(y)).numpy()
        np.testing.assert_array_equal(got, np.nextafter(x, y))
    x, y = tensor([1.0, 2.0], requires_grad=True), tensor([2.0, 2.0], requires_grad=True)
    g, h = ferrograd.autograd.grad(x.nextafter(y).sum(), (x, y))
    assert g.tolist() == [1, 0] and h.tolist() == [0, 0]
    z = ones(2)
    assert z.nextafter_(tensor([2.0, 0.0])) is z and z.tolist() == [1.0 + 2**-23, 1.0 - 2**-24]
    with pytest.raises(NotImplementedError):
        tensor([1]).nextafter(tensor([1]))
    with pytest.raises(TypeError):
        ones(2).nextafter(2)


def test_fill():
    assert ferrograd.fill(tensor([1, 2]), 2.7).tolist() == [2, 2]
    assert ferrograd.fill(ones(4, 3).t(), 1).stride() == (1, 3)
    x, v = ones(2, requires_grad=True), tensor(3.0, requires_grad=True)
    y = ferrograd.fill(x, v)
    assert y.tolist() == [3, 3] and y.grad_fn.name() == "FillBackward1" and ferrograd.fill(x, 1).grad_fn.name() == "FillBackward0"
    for value in (ones(2), 2j):
        with pytest.raises(RuntimeError):
            ferrograd.fill(ones(2), value)


def test_histc():
    x = tensor([0.0, 1.0, 2.5, 4.0, -1.0, np.nan])
    assert x.histc(4, 0, 4).tolist() == [1, 1, 1, 1]
    assert ferrograd.histc(tensor([1.0, 1.0]), 4).tolist() == [0, 0, 2, 0]
    assert ferrograd.histc(ferrograd.empty(0), 5).tolist() == [0] * 5
    assert ones(3).histc().shape == (100,)
    for call in (lambda: ones(3).histc(0), lambda: ones(3).histc(5, 3, 1), lambda: x.histc(5), lambda: ones(3).histc(4, 0, np.inf)):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(NotImplementedError):
        tensor([1]).histc(4)


def test_histogram():
    x = np.random.default_rng(0).normal(size=(5, 4))
    w = np.abs(x) + 1
    for options in (dict(), dict(density=True), dict(range=(-1.0, 1.5)), dict(weight=ferrograd.from_numpy(w))):
        hist, edges = ferrograd.from_numpy(x).histogram(4, **options)
        reference = {**options, **({"weights": w} if "weight" in options else {})}
        reference.pop("weight", None)
        want, want_edges = np.histogram(x, 4, **reference)
        np.testing.assert_allclose(hist.numpy(), want)
        np.testing.assert_allclose(edges.numpy(), want_edges)
    edges = np.array([-1.0, -0.5, 0.5, 0.5, 2.0])
    result = ferrograd.histogram(ferrograd.from_numpy(x), ferrograd.from_numpy(edges))
    np.testing.assert_array_equal(result.hist.numpy(), np.histogram(x, edges)[0])
    assert (result.bin_edges.numpy() == edges).all()
    for call, error in (
        (lambda: ones(3).histogram(0), RuntimeError),
        (lambda: ones(3).histogram(4, range=(3.0, 2.0)), RuntimeError),
        (lambda: ones(3).histogram(4, range=(3.0,)), RuntimeError),
        (lambda: ones(3).histogram(4, weight=ones(2)), RuntimeError),
        (lambda: ones(3).histogram(4, weight=ones(3).double()), RuntimeError),
        (lambda: ones(3).histogram(ones(3, 2)), RuntimeError),
        (lambda: ones(3).histogram(ones(3).double()), RuntimeError),
        (lambda: tensor([np.nan]).histogram(4), RuntimeError),
        (lambda: tensor([1]).histogram(4), NotImplementedError),
        (lambda: ones(3).histogram("auto"), TypeError),
    ):
        with pytest.raises(error):
            call()


def test_histogramdd():
    x = np.random.default_rng(1).normal(size=(30, 3))
    for bins, options in (([2, 3, 4], {}), (3, dict(density=True)), ([2, 2, 2], dict(range=[-1.0, 1.0, 0.0, 2.0, -3.0, 3.0]))):
        hist, edges = ferrograd.histogramdd(ferrograd.from_numpy(x), bins, **options)
        if "range" in options:
            options = dict(range=np.reshape(options["range"], (3, 2)))
        want, want_edges = np.histogramdd(x, bins, **options)
        np.testing.assert_allclose(hist.numpy(), want)
        assert all(np.allclose(a.numpy(), b) for a, b in zip(edges, want_edges))
    points = ones(3, 2)
    for call in (
        lambda: ferrograd.histogramdd(ones(3), 2),
        lambda: ferrograd.histogramdd(points, [2]),
        lambda: ferrograd.histogramdd(points, 2, range=(0.0, 1.0)),
        lambda: ferrograd.histogramdd(points, 2, weight=ones(3, 2)),
    ):
        with pytest.raises(RuntimeError):
            call()


def test_segments_without_elements():
    x, lengths = tensor([1.0, 2.0]), tensor([2, 0])
    want = {"sum": [3, 0], "prod": [2, 1], "max": [2, -np.inf], "min": [1, np.inf]}
    for reduce, values in want.items():
        assert ferrograd.segment_reduce(x, reduce, lengths=lengths).tolist() == values
    assert ferrograd.segment_reduce(x, "mean", lengths=lengths).isnan().tolist() == [False, True]
    started = {"sum": [4.5, 1.5], "prod": [3, 1.5], "max": [2, 1.5], "min": [1, 1.5], "mean": [2.25, 1.5]}
    for reduce, values in started.items():
        assert ferrograd.segment_reduce(x, reduce, lengths=lengths, initial=1.5).tolist() == values


def test_segments_refuse():
    x, lengths = ferrograd.arange(6.0), tensor([2, 0, 4])
    for options, error in (
        (dict(lengths=tensor([2, 1])), RuntimeError),
        (dict(lengths=tensor([2, -1, 5])), RuntimeError),
        (dict(), RuntimeError),
        (dict(lengths=lengths, indices=lengths), RuntimeError),
        (dict(lengths=lengths, axis=1), IndexError),
        (dict(lengths=lengths.float()), NotImplementedError),
        (dict(lengths=tensor([[2, 4]])), RuntimeError),
        (dict(lengths=[2, 4]), TypeError),
        (dict(offsets=tensor([0, 3, 2, 6])), RuntimeError),
        (dict(offsets=tensor([0, 7])), RuntimeError),
        (dict(lengths=tensor([2, 9]), unsafe=True), RuntimeError),
        (dict(lengths=tensor([2**62] * 4 + [6])), RuntimeError),
    ):
        with pytest.raises(error):
            ferrograd.segment_reduce(x, "sum", **options)
    with pytest.raises(RuntimeError):
        ferrograd.segment_reduce(x, "median", lengths=lengths)
    with pytest.raises(NotImplementedError):
        ferrograd.segment_reduce(x.long(), "sum", lengths=lengths)
    assert ferrograd.segment_reduce(x, "sum", lengths=tensor([2, 1]), unsafe=True).tolist() == [1, 2]


def test_chunks_refuse():
    for tensors, dim, chunks in (
        ([], 0, 2),
        ([ferrograd.empty(0)], 0, 2),
        ([ones(3), ones(3).double()], 0, 2),
        ([ones(3, 2), ones(4, 3)], 1, 2),
        ([ones(3), ones(3)], 1, 2),
        ([ones(3)], 0, 0),
        ([ones(())], 0, 1),
    ):
        with pytest.raises(RuntimeError):
            ferrograd._chunk_cat(tensors, dim, chunks)


def test_masked_indices_refuse():
    x, mask = ones(3), tensor([True, False])
    for indices, mask in (([tensor([0.0, 1.0])], mask), ([tensor([0, 1])], mask.long()), ([tensor([0, 1])] * 2, mask)):
        with pytest.raises(IndexError):
            ferrograd._unsafe_masked_index(x, mask, indices, 0)
    assert ferrograd._unsafe_masked_index(ones(0, 2), tensor([False, False]), [tensor([5, 6])], 3).tolist() == [[3, 3], [3, 3]]


def test_a_histogram_has_a_hundred_bins():
    hist, edges = ferrograd.histogram(ferrograd.tensor([0.0, 1.0]))
    assert hist.shape == (100,) and edges.shape == (101,) and hist.sum().item() == 2


def test_no_degrees_of_freedom_are_none_below_zero():
    with pytest.warns(UserWarning, match="degrees of freedom"):
        y = ferrograd.cov(tensor([1.0, 2.0, 4.0]), correction=5, aweights=ones(3))
    assert y.item() == float("inf")


def test_nothing_is_counted_not_weighed():
    y = ferrograd.bincount(tensor([], dtype=ferrograd.int64), ones(0), minlength=2)
    assert y.tolist() == [0, 0] and y.dtype == ferrograd.int64
