"""Operations of the elements that a mask selects, against numpy on just these."""

import math

import numpy as np
import pytest

import ferrograd
from ferrograd import masked

RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((4, 5))
# A row that is left out as a whole, one that is in.
MASK = RNG.random((4, 5)) > 0.4
MASK[1], MASK[2] = False, True

REDUCTIONS = {
    "sum": (np.sum, 0.0),
    "prod": (np.prod, 1.0),
    "amax": (np.max, -math.inf),
    "amin": (np.min, math.inf),
    "mean": (np.mean, math.nan),
    "var": (lambda x: np.var(x, ddof=1) if x.size > 1 else math.nan, math.nan),
    "std": (lambda x: np.std(x, ddof=1) if x.size > 1 else math.nan, math.nan),
    "norm": (np.linalg.norm, 0.0),
    "logsumexp": (lambda x: np.log(np.sum(np.exp(x))), -math.inf),
    "median": (lambda x: np.sort(x)[(x.size - 1) // 2], math.nan),
}


def tensor(array):
    return ferrograd.from_numpy(np.array(array))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    f, of_nothing = REDUCTIONS[name]
    want = [f(row[mask]) if mask.any() else of_nothing for row, mask in zip(VALUES, MASK)]
    reduce = getattr(masked, name)
    np.testing.assert_allclose(reduce(tensor(VALUES), dim=1, mask=tensor(MASK)).numpy(), want, rtol=1e-12)
    assert reduce(tensor(VALUES), dim=-1, keepdim=True, mask=tensor(MASK)).shape == (4, 1)
    np.testing.assert_allclose(reduce(tensor(VALUES), dim=1).numpy(), [f(row) for row in VALUES], rtol=1e-12)
    if name != "median":
        for dim in (None, (), (0, 1)):
            np.testing.assert_allclose(reduce(tensor(VALUES), dim=dim, mask=tensor(MASK)).item(), f(VALUES[MASK]), rtol=1e-12)
    # A mask that broadcasts, and is not of bools.
    row = np.array([1, 0, 2, 0, 3])
    np.testing.assert_allclose(reduce(tensor(VALUES), dim=1, mask=tensor(row)).numpy(), [f(v[row != 0]) for v in VALUES], rtol=1e-12)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_what_is_left_out_gets_no_gradient(name):
    x, mask = tensor(VALUES).requires_grad_(), tensor(MASK)
    getattr(masked, name)(x, dim=1, mask=mask)[ferrograd.tensor([0, 2, 3])].sum().backward()
    assert not x.grad[~mask].nan_to_num().any() and x.grad[2].any()


def test_places_of_extremes():
    x = tensor([[3.0, 1.0, 2.0], [1.0, 5.0, 4.0]])
    mask = tensor([[False, True, True], [True, False, True]])
    assert masked.argmax(x, 1, mask=mask).tolist() == [2, 2] and masked.argmin(x, 1, mask=mask).tolist() == [1, 0]
    assert masked.argmax(x, mask=mask).item() == 5 and masked.argmax(x, 0, dtype=ferrograd.int64).dtype == ferrograd.int64


def test_scans_and_normalizations():
    x, mask = tensor(VALUES), tensor(MASK)
    kept = np.where(MASK, VALUES, 0)
    np.testing.assert_allclose(masked.cumsum(x, 1, mask=mask).numpy(), kept.cumsum(1))
    np.testing.assert_allclose(masked.cumprod(x, 1, mask=mask).numpy(), np.where(MASK, VALUES, 1).cumprod(1))
    for name, sign in (("softmax", 1), ("softmin", -1)):
        y = getattr(masked, name)(x, 1, mask=mask).numpy()
        weights = np.where(MASK, np.exp(sign * VALUES), 0)
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(y, weights / weights.sum(1, keepdims=True))
    np.testing.assert_allclose(masked.log_softmax(x, 1, mask=mask)[2].exp().sum().item(), 1)
    lengths = np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(masked.normalize(x, 2.0, 1, mask=mask).numpy(), kept / lengths)


def test_logaddexp():
    a, b = tensor([1.0, 2.0, 3.0]), tensor([3.0, 2.0, 1.0])
    y = masked.logaddexp(a, b, input_mask=tensor([True, False, False]), other_mask=tensor([True, True, False]))
    np.testing.assert_allclose(y.numpy(), [np.logaddexp(1, 3), 2, -math.inf])


def test_spread():
    x, mask = tensor(VALUES), tensor(MASK)
    kept = VALUES[MASK]
    for correction in (0, 1, 2.5):
        want = ((kept - kept.mean()) ** 2).sum() / (kept.size - correction)
        np.testing.assert_allclose(masked.var(x, correction=correction, mask=mask).item(), want)
    assert masked.var(x, None, False, mask=mask).equal(masked.var(x, correction=0, mask=mask))
    z = ferrograd.complex(x, -x)
    np.testing.assert_allclose(masked.var(z, mask=mask).real.item(), 2 * np.var(kept, ddof=1))
    with pytest.raises(AssertionError):
        masked.var(x, unbiased=True, correction=1)


def test_dtypes():
    small = ferrograd.tensor([[1, 2], [3, 4]], dtype=ferrograd.int8)
    mask = tensor([True, False])
    assert masked.sum(small, mask=mask).dtype == ferrograd.int64 and masked.prod(small, 0, mask=mask).tolist() == [3, 1]
    assert masked.amax(small, 0, mask=mask).tolist() == [3, -128] and masked.amin(small, 0, mask=mask).tolist() == [1, 127]
    assert masked.amax(small, 0, mask=mask).dtype == ferrograd.int8
    assert masked.sum(small, dtype=ferrograd.float64).dtype == ferrograd.float64
    assert masked.var(small, mask=mask).dtype == ferrograd.float32 and masked.median(small, 0).dtype == ferrograd.int8
    for call, error in (
        (lambda: masked.mean(small), ValueError),
        (lambda: masked.median(small, 0, mask=mask), ValueError),
        (lambda: masked.amax(small.bool(), mask=mask), NotImplementedError),
        (lambda: masked.amax(small.to(ferrograd.complex64), mask=mask), TypeError),
        (lambda: masked.norm(small), RuntimeError),
    ):
        with pytest.raises(error):
            call()


@pytest.mark.parametrize("name", masked.__all__)
def test_masks_that_do_not_fit(name):
    x, f = tensor(VALUES), getattr(masked, name)
    if name == "logaddexp":
        call = lambda mask: f(x, x, input_mask=mask)  # noqa: E731
    else:
        first = (2.0,) if name in ("norm", "normalize") else ()
        call = lambda mask: f(x, *first, dim=0, mask=mask)  # noqa: E731
        for dim in (2, -3):
            with pytest.raises(IndexError):
                f(x, *first, dim=dim)
    with pytest.raises(IndexError):
        call(tensor(MASK[None]))
    with pytest.raises(RuntimeError):
        call(tensor(MASK[:, :3]))


def test_second_derivatives():
    x, mask = tensor(VALUES).requires_grad_(), tensor(MASK)
    for f in (masked.var, masked.logsumexp, masked.norm, masked.prod):
        (g,) = ferrograd.autograd.grad(f(x[2:], mask=mask[2:]), x, create_graph=True)
        (h,) = ferrograd.autograd.grad((g**3).sum(), x)
        assert h.isfinite().all() and h[2].any() and not h[~mask].any()


def test_under_vmap():
    x, mask = tensor(VALUES), tensor(MASK)
    for name in ("sum", "softmax", "amax"):
        f = getattr(masked, name)
        y = ferrograd.vmap(lambda row, chosen: f(row, 0, mask=chosen))(x, mask)
        np.testing.assert_array_equal(y.numpy(), f(x, 1, mask=mask).numpy())
