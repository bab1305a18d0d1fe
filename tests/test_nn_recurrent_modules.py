"""Modules of recurrent layers and cells."""

import copy
import math
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import nn
from ferrograd.nn.utils.rnn import pack_sequence, pad_packed_sequence

LAYERS = {"RNN": 1, "LSTM": 4, "GRU": 3}


def flat(output):
    states, last = output
    return [states, *(last if isinstance(last, tuple) else (last,))]


@pytest.mark.parametrize("name", LAYERS)
def test_parameters_and_repr(name):
    layer = getattr(nn, name)(3, 4, 2, bidirectional=True, batch_first=True)
    shapes = {key: tuple(value.shape) for key, value in layer.state_dict().items()}
    assert list(shapes)[:4] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    rows = 4 * LAYERS[name]
    assert shapes["weight_ih_l0_reverse"] == (rows, 3) and shapes["weight_ih_l1"] == (rows, 8)
    assert shapes["weight_hh_l1_reverse"] == (rows, 4) and shapes["bias_hh_l1_reverse"] == (rows,)
    assert repr(layer) == f"{name}(3, 4, num_layers=2, batch_first=True, bidirectional=True)"
    assert repr(getattr(nn, name)(3, 4, bias=False)) == f"{name}(3, 4, bias=False)"
    assert [len(names) for names in layer.all_weights] == [4] * 4
    assert all(parameter.abs().max() <= 0.5 for parameter in layer.parameters())
    assert getattr(nn, name)(3, 4, dtype=ferrograd.float64).weight_ih_l0.dtype == ferrograd.float64


@pytest.mark.parametrize("name", LAYERS)
def test_the_weights_are_drawn_in_order(name):
    ferrograd.manual_seed(3)
    layer = getattr(nn, name)(3, 4)
    ferrograd.manual_seed(3)
    for parameter in layer.parameters():
        assert ferrograd.equal(parameter.detach(), ferrograd.empty(parameter.shape).uniform_(-0.5, 0.5))


@pytest.mark.parametrize("name", LAYERS)
def test_layouts_agree(name):
    """Without a batch, the batch first, packed, with the first states given: the same numbers."""
    layer = getattr(nn, name)(3, 4, 2, bidirectional=True)
    first = getattr(nn, name)(3, 4, 2, bidirectional=True, batch_first=True)
    first.load_state_dict(layer.state_dict())
    x, state = ferrograd.randn(5, 2, 3), ferrograd.randn(4, 2, 4)
    hx = (state, -state) if name == "LSTM" else state
    expected = flat(layer(x, hx))
    got = flat(first(x.transpose(0, 1), hx))
    got[0] = got[0].transpose(0, 1)
    hx_of_one = (state[:, 1], -state[:, 1]) if name == "LSTM" else state[:, 1]
    for a, b, one in zip(expected, got, flat(layer(x[:, 1], hx_of_one))):
        assert ferrograd.allclose(a, b, atol=1e-6) and ferrograd.allclose(a[:, 1], one, atol=1e-6)
    packed, *last = flat(layer(pack_sequence([x[:3, 0], x[:, 1]], enforce_sorted=False), hx))
    padded, lengths = pad_packed_sequence(packed)
    assert lengths.tolist() == [3, 5]
    assert ferrograd.allclose(padded[:, 1], expected[0][:, 1], atol=1e-6)
    assert ferrograd.allclose(padded[:3, :1], layer(x[:3, :1], tuple(s[:, :1] for s in hx) if name == "LSTM" else hx[:, :1])[0], atol=1e-6)
    for a, b in zip(last, expected[1:]):
        assert ferrograd.allclose(a[:, 1], b[:, 1], atol=1e-6)
    zeros = flat(layer(x))
    none = (ferrograd.zeros(4, 2, 4),) * 2 if name == "LSTM" else ferrograd.zeros(4, 2, 4)
    assert all(ferrograd.equal(a, b) for a, b in zip(zeros, flat(layer(x, none))))


@pytest.mark.parametrize("name", LAYERS)
def test_a_cell_is_a_step_of_a_layer(name):
    layer, cell = getattr(nn, name)(3, 4), getattr(nn, name + "Cell")(3, 4)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in layer.state_dict().items()})
    x, hx = ferrograd.randn(5, 2, 3), None
    states, last = layer(x)
    for t in range(5):
        hx = cell(x[t], hx)
        assert ferrograd.allclose(hx[0] if name == "LSTM" else hx, states[t], atol=1e-6)
    assert ferrograd.allclose(hx[1], last[1][0], atol=1e-6) if name == "LSTM" else True
    one = cell(x[0, 0])
    assert (one[0] if name == "LSTM" else one).shape == (4,)
    assert repr(cell) == f"{name}Cell(3, 4)"


def test_kinds_of_rnn():
    x = ferrograd.randn(5, 2, 3)
    layer = nn.RNN(3, 4, 1, "relu")
    assert layer.mode == "RNN_RELU" and layer.nonlinearity == "relu" and (layer(x)[0] >= 0).all()
    assert repr(nn.RNNCell(3, 4, bias=False, nonlinearity="relu")) == "RNNCell(3, 4, bias=False, nonlinearity=relu)"
    with pytest.raises(ValueError, match="nonlinearity"):
        nn.RNN(3, 4, nonlinearity="sine")
    with pytest.raises(RuntimeError, match="nonlinearity"):
        nn.RNNCell(3, 4, nonlinearity="sine")(x[0])


def test_projection():
    layer = nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True)
    assert layer.weight_hr_l0.shape == (2, 4) and layer.weight_ih_l1.shape == (16, 4)
    y, (h, c) = layer(ferrograd.randn(5, 2, 3))
    assert y.shape == (5, 2, 4) and h.shape == (4, 2, 2) and c.shape == (4, 2, 4)
    for kind in (nn.RNN, nn.GRU):
        with pytest.raises(ValueError, match="proj_size"):
            kind(3, 4, proj_size=2)


def test_training_step_and_copies():
    layer = nn.LSTM(3, 4, 2, dropout=0.5)
    x = ferrograd.randn(5, 2, 3)
    ferrograd.manual_seed(0)
    expected = layer(x)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        ferrograd.manual_seed(0)
        assert ferrograd.equal(other(x)[0], expected)
        assert other.weight_ih_l0 is not layer.weight_ih_l0
    expected.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    layer.weight_hh_l1 = nn.Parameter(ferrograd.zeros(16, 4))
    assert not ferrograd.equal(layer.eval()(x)[0], other.eval()(x)[0])
    assert layer.double()(x.double())[0].dtype == ferrograd.float64


@pytest.mark.parametrize(
    "error, arguments",
    [
        (ValueError, {"hidden_size": 0}),
        (ValueError, {"num_layers": 0}),
        (ValueError, {"dropout": 2}),
        (ValueError, {"dropout": True}),
        (ValueError, {"proj_size": 4}),
        (TypeError, {"bias": 1}),
        (TypeError, {"input_size": 3.0}),
        (RuntimeError, {"device": "cuda"}),
    ],
)
def test_arguments_that_do_not_fit(error, arguments):
    with pytest.raises(error):
        nn.LSTM(**{"input_size": 3, "hidden_size": 4, **arguments})


def test_inputs_that_do_not_fit():
    x, state = ferrograd.randn(5, 2, 3), ferrograd.zeros(1, 2, 4)
    gru, lstm = nn.GRU(3, 4), nn.LSTM(3, 4)
    for error, call in (
        (ValueError, lambda: gru(x[0, 0])),
        (ValueError, lambda: gru(x.double())),
        (RuntimeError, lambda: gru(x[..., :2])),
        (RuntimeError, lambda: gru(x, state[:, :1])),
        (RuntimeError, lambda: gru(x, state[0])),
        (RuntimeError, lambda: lstm(x, (state, state[..., :3]))),
        (ValueError, lambda: nn.GRUCell(3, 4)(x)),
        (RuntimeError, lambda: nn.GRUCell(3, 4)(x[0], state[0, :1])),
    ):
        with pytest.raises(error):
            call()
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(3, 4, dropout=0.1)


def test_learns_to_remember():
    """The first of five numbers, long after it was seen."""
    ferrograd.manual_seed(0)
    layer, head = nn.GRU(1, 8), ferrograd.zeros(8, requires_grad=True)
    parameters = [*layer.parameters(), head]
    optimizer = ferrograd.optim.Adam(parameters, lr=0.03)
    x = ferrograd.randn(5, 64, 1)
    losses = []
    for _ in range(120):
        optimizer.zero_grad()
        loss = ((layer(x)[1][0] @ head - x[0, :, 0]) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10 and not math.isnan(losses[-1]) and np.isfinite(losses).all()
