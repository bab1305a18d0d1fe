"""Activations and dropout: formulas, changes in place, training and evaluation."""

import math

import numpy as np
import pytest
from nn_values import array, close, draw

import ferrograd
from ferrograd import nn

FORMULAS = {
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
    nn.GELU(): lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
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
    nn.GLU(0): lambda x: x[:2] / (1 + np.exp(-x[2:])),
    nn.GLU(1): lambda x: x[:, :3] / (1 + np.exp(-x[:, 3:])),
    nn.Softmax(0): lambda x: np.exp(x) / np.exp(x).sum(0),
    nn.Softmin(0): lambda x: np.exp(-x) / np.exp(-x).sum(0),
    nn.LogSoftmax(1): lambda x: x - np.log(np.exp(x).sum(1, keepdims=True)),
}


@pytest.mark.parametrize("layer", FORMULAS, ids=repr)
def test_formulas(layer):
    # Large enough to pass the bounds of those that have some.
    x = 4 * draw(4, 6)
    close(layer.double()(x), FORMULAS[layer](array(x)))


def test_softmax_of_channels():
    for shape in ((2, 3, 2, 2), (3, 2, 2)):
        x = draw(*shape)
        exp = np.exp(array(x))
        close(nn.Softmax2d()(x), exp / exp.sum(-3, keepdims=True))


def test_a_dim_that_is_not_given_is_warned_of_where_the_call_stands():
    F = nn.functional
    for name, opposite, values in (("softmax", 1, np.exp), ("log_softmax", 1, lambda x: x), ("softmin", -1, np.exp)):
        for shape, dim in (((3,), 0), ((2, 3), 1), ((2, 3, 2), 0), ((1, 3, 1, 1), 1)):
            x = draw(*shape)
            with pytest.warns(UserWarning, match=f"Implicit dimension choice for {name} has been deprecated") as seen:
                y = getattr(F, name)(x)
            assert [w.filename for w in seen] == [__file__]
            log_sum = np.log(np.exp(opposite * array(x)).sum(dim, keepdims=True))
            close(y, values(opposite * array(x) - log_sum))


def test_old_names_of_bounds():
    with pytest.warns(FutureWarning):
        assert nn.Hardtanh(min_value=-3).min_val == -3


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "Hardtanh", "ELU", "CELU", "SELU", "SiLU", "Mish", "Hardswish", "LeakyReLU",
                                  "RReLU", "Hardsigmoid", "Dropout"])  # fmt: skip
def test_in_place(name):
    cls, x = getattr(nn, name), draw(5)
    ferrograd.manual_seed(0)
    expected = cls()(x)
    ferrograd.manual_seed(0)
    layer = cls(inplace=True)
    assert layer.inplace and layer(x) is x and ferrograd.equal(x, expected)


DROPOUTS = {
    nn.Dropout: (20, 50),
    nn.Dropout1d: (20, 50, 3),
    nn.Dropout2d: (20, 50, 3, 2),
    nn.Dropout3d: (20, 50, 3, 2, 2),
    nn.AlphaDropout: (20, 50),
    nn.FeatureAlphaDropout: (20, 50, 3, 2, 2),
}


@pytest.mark.parametrize("cls", DROPOUTS)
def test_dropout_only_in_training(cls):
    """A quarter of the elements, or of the channels, is dropped."""
    x = ferrograd.ones(DROPOUTS[cls])
    layer = cls(0.25)
    channels = array(layer(x)).reshape(1000, -1)
    low, high = np.unique(channels)
    assert (channels == channels[:, :1]).all() and 180 < (channels[:, 0] == low).sum() < 320
    assert ferrograd.equal(layer.eval()(x), x)
    if "Alpha" not in cls.__name__:
        assert low == 0 and high == np.float32(4 / 3) and (cls(1.0)(x) == 0).all()


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "ELU", "SELU", "CELU", "SiLU", "Mish", "Hardtanh", "LeakyReLU", "RReLU"])
def test_inplace_may_be_anything_that_is_true_or_not(name):
    x = ferrograd.tensor([-1.0, 2.0])
    for flag in (1, "yes"):
        m, y = getattr(nn, name)(inplace=flag), x.clone()
        assert m(y) is y and repr(m).endswith("inplace=True)")
    for flag in (0, None):
        m, y = getattr(nn, name)(inplace=flag), x.clone()
        assert m(y) is not y and y.equal(x) and "inplace" not in repr(m)
