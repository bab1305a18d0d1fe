"""Linear and bilinear layers, convolutions and their transposes: first values, formulas, padding, sizes."""

import math

import numpy as np
import pytest
from nn_values import DIMS, array, close, draw

import ferrograd
from ferrograd import nn
from ferrograd.nn import functional as F


@pytest.mark.parametrize(
    "make, fan_in",
    [
        (lambda: nn.Linear(16, 400), 16),
        (lambda: nn.Conv2d(4, 40, (2, 3)), 24),
        (lambda: nn.Conv2d(4, 40, 2, groups=2), 8),
        (lambda: nn.ConvTranspose1d(40, 4, 5), 20),
        (lambda: nn.Bilinear(9, 5, 40), 9),
    ],
)
def test_first_values(make, fan_in):
    """Uniform within 1 / sqrt(fan_in), the weight before the bias."""
    ferrograd.manual_seed(3)
    layer = make()
    bound = 1 / math.sqrt(fan_in)
    assert 0.95 * bound < layer.weight.abs().max() <= bound and layer.bias.abs().max() <= bound
    ferrograd.manual_seed(3)
    for p in (layer.weight, layer.bias):
        close(p, ferrograd.empty(p.shape).uniform_(-bound, bound), 1e-6)
    assert [k for k, _ in layer.named_parameters()] == ["weight", "bias"]
    before = layer.weight.clone()
    layer.reset_parameters()
    assert not ferrograd.equal(layer.weight, before)
    ferrograd.manual_seed(3)
    layer.reset_parameters()
    assert ferrograd.equal(layer.weight, before)


def test_linear():
    x = draw(5, 3)
    layer = nn.Linear(3, 2, dtype=ferrograd.float64)
    y = layer(x)
    close(y, array(x) @ array(layer.weight).T + array(layer.bias))
    close(layer(x[0]), y[0])
    y.sum().backward()
    close(layer.weight.grad, np.tile(array(x).sum(0), (2, 1)))
    assert layer.bias.grad.tolist() == [5, 5]


@pytest.mark.parametrize("shape", [(3,), (4, 5, 3), (2, 4, 5, 3), (0, 4, 3)])
def test_linear_takes_all_rows_of_a_batch_in_one_product(shape):
    layer = nn.Linear(3, 2, dtype=ferrograd.float64)
    x = draw(*shape)
    y = layer(x)
    close(y, array(x) @ array(layer.weight).T + array(layer.bias))
    product = y.grad_fn.next_functions[0][0]
    assert (y.grad_fn.name(), product.name()) == ("ViewBackward0", "AddmmBackward0")
    y.sum().backward()
    close(layer.weight.grad, np.tile(array(x).reshape(-1, 3).sum(0), (2, 1)))
    # Not if that would copy it.
    if y.numel() > 2:
        assert layer(draw(3, *shape[1:-1], shape[0]).transpose(0, -1)).grad_fn.name() == "AddBackward0"


def test_linear_of_vectors():
    x, w = draw(3), draw(3, seed=1)
    with pytest.raises(RuntimeError, match="must be a 2-d tensor"):
        nn.functional.linear(x, w, draw(1))
    y = nn.functional.linear(x, w.requires_grad_())
    assert y.grad_fn.next_functions[-1][0].name() == "TBackward0"
    close(y, array(x) @ array(w))


def test_bilinear():
    x, y = draw(5, 3), draw(5, 4, seed=1)
    layer = nn.Bilinear(3, 4, 2, dtype=ferrograd.float64)
    products = np.einsum("ni,kij,nj->nk", array(x), array(layer.weight), array(y))
    close(layer(x, y), products + array(layer.bias))
    without = nn.Bilinear(3, 4, 2, bias=False, dtype=ferrograd.float64)
    without.load_state_dict({"weight": layer.weight})
    close(without(x, y), products)
    assert without.bias is None and list(without.state_dict()) == ["weight"]


def convolved(x, weight):
    windows = np.stack([x[:, i : i + weight.shape[2]] for i in range(x.shape[1] - weight.shape[2] + 1)])
    return np.einsum("lik,oik->ol", windows, weight)


@pytest.mark.parametrize("mode, pad", [("zeros", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_padding_of_convolutions(mode, pad):
    x = draw(2, 2, 7)
    for padding, sides in ((2, (2, 2)), ("same", (1, 2)), ("valid", (0, 0))):
        layer = nn.Conv1d(2, 3, 4, padding=padding, padding_mode=mode, dtype=ferrograd.float64)
        y = layer(x)
        for sample, result in zip(x, y):
            padded = np.pad(array(sample), ((0, 0), sides), pad)
            close(result, convolved(padded, array(layer.weight)) + array(layer.bias)[:, None])
        close(layer(x[0]), y[0])
    layer = nn.Conv2d(2, 2, (2, 5), padding="same", padding_mode=mode)
    assert layer(ferrograd.ones(2, 6, 7)).shape == (2, 6, 7)


@pytest.mark.parametrize("n", DIMS)
def test_transposed_convolutions(n):
    """<conv(x), y> = <x, transposed(y)>, for each size of x that leads to that of y."""
    options = dict(stride=3, bias=False, dtype=ferrograd.float64)
    forth = getattr(nn, f"Conv{n}d")(3, 2, 4, **options)
    back = getattr(nn, f"ConvTranspose{n}d")(2, 3, 4, **options)
    back.load_state_dict(forth.state_dict())
    y = draw(1, 2, *[3] * n)
    assert back(y).shape == (1, 3, *[10] * n) and back.weight.shape == (2, 3, *[4] * n)
    for size in (10, 11, 12):
        x = draw(1, 3, *[size] * n, seed=1)
        for wanted in ([size] * n, (1, 3, *[size] * n)):
            close((forth(x) * y).sum(), (back(y, wanted) * x).sum(), 1e-12)
    for wrong in ([9] * n, [13] * n, [10] * (n + 1)):
        with pytest.raises(ValueError):
            back(y, output_size=wrong)


def test_the_bias_of_a_transposed_convolution():
    layer, y = nn.ConvTranspose1d(2, 3, 3, stride=2, dtype=ferrograd.float64), draw(1, 2, 4)
    bias = array(layer.bias)[:, None]
    close(layer(y) - F.conv_transpose1d(y, layer.weight, stride=2), np.broadcast_to(bias, (1, 3, 9)))


def test_a_subclass_convolves_with_another_weight():
    class Scaled(nn.Conv2d):
        def forward(self, input):
            return self._conv_forward(input, 2 * self.weight, None)

    x = ferrograd.randn(1, 2, 4, 4)
    layer = Scaled(2, 3, 3, padding=1)
    assert layer(x).allclose(2 * F.conv2d(x, layer.weight, padding=1), atol=1e-6)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_of_convolutions_by_name(dims):
    convolve = getattr(F, f"conv{dims}d")
    x, w = draw(2, 4, *[5] * dims).requires_grad_(), draw(6, 2, *[3] * dims, seed=1).requires_grad_()
    options = {"stride": 2, "padding": 1, "dilation": 1, "groups": 2}
    y = convolve(x, w, None, **options)
    g = draw(*y.shape, seed=2).requires_grad_()
    want = ferrograd.autograd.grad(y, (x, w), g, create_graph=True)
    got_x = getattr(nn.grad, f"conv{dims}d_input")(x.shape, w, g, **options)
    got_w = getattr(nn.grad, f"conv{dims}d_weight")(x, w.shape, g, **options)
    close(got_x, array(want[0]))
    close(got_w, array(want[1]))
    for a, b in zip((got_x, got_w), want):
        close(ferrograd.autograd.grad(a.sum(), g)[0], array(ferrograd.autograd.grad(b.sum(), g, retain_graph=True)[0]))
    with ferrograd.no_grad():
        assert not getattr(nn.grad, f"conv{dims}d_input")(x.shape, w, g, **options).requires_grad
