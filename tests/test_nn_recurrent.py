"""Recurrent layers and cells as functions, against numpy formulas and finite differences."""

import numpy as np
import pytest

import ferrograd
from ferrograd import autograd
from ferrograd.autograd import gradcheck, gradgradcheck

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
KINDS = list(GATES)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(kind, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None):
    """The next state and cell."""
    a, b = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
    if kind == "lstm":
        i, f, g, o = np.split(a + b, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h if w_hr is None else h @ w_hr.T), c
    if kind == "gru":
        (r, z, n), (s, y, m) = np.split(a, 3, -1), np.split(b, 3, -1)
        n = np.tanh(n + sigmoid(r + s) * m)
        return (1 - sigmoid(z + y)) * n + sigmoid(z + y) * h, c
    return (np.tanh(a + b) if kind == "rnn_tanh" else np.maximum(a + b, 0)), c


def network(kind, rng, layers=1, directions=1, inputs=3, size=5, projected=None, biases=True, dtype="float64"):
    """Parameters, in the order of the functions."""
    out, rows, params = projected or size, GATES[kind] * size, []
    for layer in range(layers):
        for _ in range(directions):
            shapes = [(rows, inputs if layer == 0 else out * directions), (rows, out)]
            shapes += [(rows,)] * 2 if biases else []
            shapes += [(projected, size)] if projected else []
            params += [ferrograd.tensor(rng.normal(size=shape).astype(dtype) / 2, requires_grad=True) for shape in shapes]
    return params


def expected(kind, x, lengths, h, c, params, directions, each):
    """States of the last layer (t, n, p) with zeros after the ends, and the last ones of all layers."""
    layers = len(params) // each // directions
    h, c = h.copy(), c.copy()
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            i = layer * directions + direction
            own = [p.detach().numpy() for p in params[i * each : (i + 1) * each]]
            if each < 4:
                own[2:2] = [0, 0]
            states = np.zeros((*x.shape[:2], h.shape[-1]))
            for n, length in enumerate(lengths):
                times = range(length)[::-1] if direction else range(length)
                for t in times:
                    h[i, n], c[i, n] = step(kind, x[t, n], h[i, n], c[i, n], *own)
                    states[t, n] = h[i, n]
            outputs.append(states)
        x = np.concatenate(outputs, -1)
    return x, h, c


@pytest.mark.parametrize(
    "kind, layers, directions, biases, projected",
    [(kind, *rest, None) for kind in KINDS for rest in ((1, 1, True), (2, 2, False))] + [("lstm", 2, 1, True, 2)],
)
def test_states(kind, layers, directions, biases, projected):
    rng = np.random.default_rng(3)
    params = network(kind, rng, layers, directions, size=19, projected=projected, biases=biases)
    each = 2 + 2 * biases + (projected is not None)
    count, out = layers * directions, projected or 19
    x, h, c = rng.normal(size=(4, 6, 3)), rng.normal(size=(count, 6, out)), rng.normal(size=(count, 6, 19))
    hx = (ferrograd.tensor(h), ferrograd.tensor(c)) if kind == "lstm" else ferrograd.tensor(h)
    function = getattr(ferrograd, kind)
    rest = params, biases, layers, 0.0, False, directions == 2
    y, *last = function(ferrograd.tensor(x), hx, *rest, False)
    wanted, *wanted_last = expected(kind, x, [4] * 6, h, c, params, directions, each)
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-10, atol=1e-12)
    for got, value in zip(last, wanted_last):
        np.testing.assert_allclose(got.detach().numpy(), value, rtol=1e-10, atol=1e-12)
    turned = function(ferrograd.tensor(x.transpose(1, 0, 2).copy()), hx, *rest, True)[0]
    assert ferrograd.equal(turned.transpose(0, 1), y)

    lengths = [4, 3, 3, 2, 1, 1]
    sizes = [sum(length > t for length in lengths) for t in range(4)]
    data = np.concatenate([x[t, :n] for t, n in enumerate(sizes)])
    y, *last = function(ferrograd.tensor(data), ferrograd.tensor(sizes), hx, *rest)
    wanted, *wanted_last = expected(kind, x, lengths, h, c, params, directions, each)
    np.testing.assert_allclose(y.detach().numpy(), np.concatenate([wanted[t, :n] for t, n in enumerate(sizes)]), atol=1e-12)
    for got, value in zip(last, wanted_last):
        np.testing.assert_allclose(got.detach().numpy(), value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "kind, packed, directions, projected",
    [(kind, packed, 1 + packed, None) for kind in KINDS for packed in (False, True)] + [("lstm", True, 1, 2)],
)
def test_gradients(kind, packed, directions, projected):
    rng = np.random.default_rng(5)
    params = network(kind, rng, 1, directions, inputs=2, size=3, projected=projected)
    sizes = [3, 2, 1]
    shape = (sum(sizes), 2) if packed else (3, 2, 2)
    count = sizes[0] if packed else 2

    def leaf(*shape):
        return ferrograd.tensor(rng.normal(size=shape), requires_grad=True)

    states = [leaf(directions, count, projected or 3)] + [leaf(directions, count, 3)] * (kind == "lstm")

    def function(x, *rest):
        hx, weights = rest[: len(states)], rest[len(states) :]
        hx = hx if kind == "lstm" else hx[0]
        if packed:
            return getattr(ferrograd, kind)(x, ferrograd.tensor(sizes), hx, weights, True, 1, 0.0, True, directions == 2)
        return getattr(ferrograd, kind)(x, hx, weights, True, 1, 0.0, True, directions == 2, False)

    inputs = leaf(*shape), *states, *params
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_cells(kind):
    rng = np.random.default_rng(7)
    w_ih, w_hh, b_ih, b_hh = network(kind, rng)
    x, h, c = rng.normal(size=(2, 3)), rng.normal(size=(2, 5)), rng.normal(size=(2, 5))
    hx = (ferrograd.tensor(h), ferrograd.tensor(c)) if kind == "lstm" else ferrograd.tensor(h)
    function = getattr(ferrograd, f"{kind}_cell")
    for biases in ((b_ih, b_hh), (), (b_ih,), (None, b_hh)):
        got = function(ferrograd.tensor(x), hx, w_ih, w_hh, *biases)
        b = [0 if b is None else b.detach().numpy() for b in (*biases, None, None)[:2]]
        wanted = step(kind, x, h, c, w_ih.detach().numpy(), w_hh.detach().numpy(), *b)
        for one, value in zip(got if kind == "lstm" else (got,), wanted):
            np.testing.assert_allclose(one.detach().numpy(), value, rtol=1e-12, atol=1e-14)


def test_only_what_is_wanted():
    """Frozen weights get nothing, and a gradient of the last states alone reaches all else."""
    params = network("lstm", np.random.default_rng(1))
    params[1].requires_grad_(False)
    x = ferrograd.randn(4, 2, 3, dtype=ferrograd.float64, requires_grad=True)
    zeros = ferrograd.zeros(1, 2, 5, dtype=ferrograd.float64)
    _, _, c = ferrograd.lstm(x, (zeros, zeros), params, True, 1, 0.0, True, False, False)
    c.sum().backward()
    assert params[1].grad is None and zeros.grad is None
    assert all(p.grad.abs().sum() > 0 for p in (x, params[0], params[2], params[3]))
    assert ferrograd.equal(params[2].grad, params[3].grad)


def test_states_may_be_written_to():
    params = network("rnn_tanh", np.random.default_rng(1))
    x, h = ferrograd.randn(4, 2, 3, dtype=ferrograd.float64), ferrograd.zeros(1, 2, 5, dtype=ferrograd.float64)
    y, _ = ferrograd.rnn_tanh(x, h, params, True, 1, 0.0, True, False, False)
    y.mul_(2).sum().backward()
    grads = [p.grad for p in params]
    y, _ = ferrograd.rnn_tanh(x, h, params, True, 1, 0.0, True, False, False)
    for grad, again in zip(grads, autograd.grad((2 * y).sum(), params)):
        assert ferrograd.equal(grad, again)


def test_hooks_run_once_under_create_graph():
    params = network("gru", np.random.default_rng(1))
    x, h = ferrograd.randn(4, 2, 3, dtype=ferrograd.float64), ferrograd.zeros(1, 2, 5, dtype=ferrograd.float64)
    calls = []
    params[0].register_hook(calls.append)
    y, _ = ferrograd.gru(x, h, params, True, 1, 0.0, True, False, False)
    (grad,) = autograd.grad(y.sum(), params[:1], create_graph=True)
    assert len(calls) == 1 and grad.requires_grad


def test_dropout_between_layers():
    params = network("gru", np.random.default_rng(2), layers=2)
    x, h = ferrograd.randn(4, 2, 3, dtype=ferrograd.float64), ferrograd.zeros(2, 2, 5, dtype=ferrograd.float64)
    ferrograd.manual_seed(4)
    y, _ = ferrograd.gru(x, h, params, True, 2, 0.5, True, False, False)
    first, _ = ferrograd.gru(x, h[:1], params[:4], True, 1, 0.0, True, False, False)
    ferrograd.manual_seed(4)
    dropped = ferrograd.dropout(first, 0.5, True)
    assert ferrograd.equal(ferrograd.gru(dropped, h[1:], params[4:], True, 1, 0.0, True, False, False)[0], y)


def test_errors():
    params = network("lstm", np.random.default_rng(1))
    x, zeros = ferrograd.zeros(4, 2, 3, dtype=ferrograd.float64), ferrograd.zeros(1, 2, 5, dtype=ferrograd.float64)
    rest = True, 1, 0.0, True, False
    wrong = [
        (x, (zeros,), params, *rest, False),
        (x, (zeros, zeros[:, :1]), params, *rest, False),
        (x, (zeros, zeros), params[:3], *rest, False),
        (x[..., :2], (zeros, zeros), params, *rest, False),
        (x.float(), (zeros, zeros), params, *rest, False),
        (x[:0], (zeros, zeros), params, *rest, False),
        (x[0], (zeros, zeros), params, *rest, False),
        (x[0], ferrograd.tensor([1, 2]), (zeros, zeros), params, *rest),
        (x[0], ferrograd.tensor([2, 1]), (zeros, zeros), params, *rest),
        (x[0], ferrograd.tensor([2, 2**62, 2**62]), (zeros, zeros), params, *rest),
    ]
    for args in wrong:
        with pytest.raises(RuntimeError):
            ferrograd.lstm(*args)
    with pytest.raises(RuntimeError):
        ferrograd.lstm_cell(x[0], (zeros, zeros), *params)


def test_no_sequences():
    params = network("gru", np.random.default_rng(1))
    y, h = ferrograd.gru(
        ferrograd.zeros(4, 0, 3, dtype=ferrograd.float64), ferrograd.zeros(1, 0, 5, dtype=ferrograd.float64),
        params, True, 1, 0.0, True, False, False,
    )  # fmt: skip
    assert y.shape == (4, 0, 5) and h.shape == (1, 0, 5)
    (y.sum() + h.sum()).backward()
    assert all((p.grad == 0).all() for p in params)
