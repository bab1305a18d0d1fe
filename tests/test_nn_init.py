"""First values of parameters: ranges, moments, structure and errors."""

import math

import numpy as np
import pytest

import ferrograd
from ferrograd import nn
from ferrograd.nn import init


def param(*shape):
    ferrograd.manual_seed(0)
    return nn.Parameter(ferrograd.empty(shape, dtype=ferrograd.float64))


@pytest.mark.parametrize(
    "fill, mean, std",
    [
        (lambda x: init.uniform_(x, -1, 3), 1, 4 / math.sqrt(12)),
        (lambda x: init.normal_(x, 2, 0.5), 2, 0.5),
        (init.xavier_uniform_, 0, math.sqrt(2 / 300)),
        (lambda x: init.xavier_normal_(x, gain=3.0), 0, 3 * math.sqrt(2 / 300)),
        (lambda x: init.kaiming_uniform_(x, nonlinearity="relu"), 0, math.sqrt(2 / 100)),
        (lambda x: init.kaiming_normal_(x, mode="fan_out", nonlinearity="linear"), 0, math.sqrt(1 / 200)),
        (lambda x: init.trunc_normal_(x, std=0.1), 0, 0.1),
        # Where the normal distribution is nearly linear.
        (lambda x: init.trunc_normal_(x, mean=0, std=1, a=2, b=2.5), 2.209, 0.1408),
    ],
)
def test_moments(fill, mean, std):
    x = param(200, 100)
    assert fill(x) is x and x.requires_grad and x.grad_fn is None
    x = x.detach().numpy()
    np.testing.assert_allclose(x.mean(), mean, atol=0.03 * max(std, mean))
    np.testing.assert_allclose(x.std(), std, rtol=0.05)


def test_bounds():
    for a, b in ((-0.5, 0.7), (2, 3), (-2, -1)):
        x = init.trunc_normal_(param(1000), a=a, b=b)
        assert x.min() >= a and x.max() <= b
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(param(3), mean=5, a=-1, b=1)


def test_structure():
    assert init.eye_(param(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert init.constant_(param(2), 3).tolist() == [3, 3] and init.ones_(param(1)).item() == 1 and init.zeros_(param(1)).item() == 0
    x = ferrograd.randn(1, 2, 5, dtype=ferrograd.float64)
    assert ferrograd.equal(nn.functional.conv1d(x, init.dirac_(param(2, 2, 3)), padding=1), x)
    assert init.dirac_(param(4, 2, 3, 3), groups=2)[:, :, 1, 1].tolist() == [[1, 0], [0, 1]] * 2
    for shape in ((5, 3), (3, 5), (4, 2, 3)):
        q = init.orthogonal_(param(*shape), gain=2).detach().reshape(shape[0], -1).numpy()
        q = q if len(q) < q.shape[1] else q.T
        np.testing.assert_allclose(q @ q.T, 4 * np.eye(len(q)), atol=1e-12)
    assert (init.sparse_(param(10, 4), 0.25) == 0).sum(0).tolist() == [3] * 4


def test_gains():
    assert [init.calculate_gain(n) for n in ("linear", "conv2d", "sigmoid", "tanh", "selu")] == [1, 1, 1, 5 / 3, 0.75]
    assert init.calculate_gain("relu") == math.sqrt(2) and init.calculate_gain("leaky_relu", 2) == math.sqrt(2 / 5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: init.calculate_gain("leaky_relu", True),
        lambda: init.calculate_gain("no"),
        lambda: init.xavier_uniform_(param(3)),
        lambda: init.kaiming_uniform_(param(3, 3), mode="no"),
        lambda: init.eye_(param(3)),
        lambda: init.dirac_(param(3, 3)),
        lambda: init.dirac_(param(3, 3, 3), groups=2),
        lambda: init.orthogonal_(param(3)),
        lambda: init.sparse_(param(3), 0.1),
    ],
)
def test_errors(wrong):
    with pytest.raises(ValueError):
        wrong()


def test_warnings():
    with pytest.warns(UserWarning, match="no-op"):
        init.kaiming_normal_(param(0, 3))
    with pytest.warns(FutureWarning, match="nn.init.uniform_"):
        init.uniform(param(2))
