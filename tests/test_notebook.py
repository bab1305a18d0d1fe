"""The notebook that this library reproduces: a network of two layers, trained with torch's old names."""

import contextlib
import io
import sys

import numpy as np
import pytest

import ferrograd

SETUP = '''
import numpy as np
N, D_in, H, D_out = 64, 1000, 100, 10
learning_rate = 1e-6
import torch
from torch.autograd import Variable
dtype = torch.FloatTensor
x = Variable(torch.randn(N, D_in).type(dtype), requires_grad=False)
y = Variable(torch.randn(N, D_out).type(dtype), requires_grad=False)
w1 = Variable(torch.randn(D_in, H).type(dtype), requires_grad=True)
w2 = Variable(torch.randn(H, D_out).type(dtype), requires_grad=True)
'''

TRAIN = '''
for t in range(500):
    y_pred = x.mm(w1).clamp(min=0).mm(w2)
    loss = (y_pred - y).pow(2).sum()
    print(t, loss.data[0])
    loss.backward()
    w1.data -= learning_rate * w1.grad.data
    w2.data -= learning_rate * w2.grad.data
    w1.grad.data.zero_()
    w2.grad.data.zero_()
'''


def by_hand(x, y, w1, w2, rate=1e-6, steps=500):
    """The losses of the same training, differentiated by hand, in float64."""
    x, y, w1, w2 = (a.astype(np.float64) for a in (x, y, w1, w2))
    losses = []
    for _ in range(steps):
        h = x @ w1
        h_relu = np.maximum(h, 0)
        error = h_relu @ w2 - y
        losses.append(np.square(error).sum())
        grad_w2 = h_relu.T @ (2 * error)
        grad_w1 = x.T @ (2 * error @ w2.T * (h > 0))
        w1 -= rate * grad_w1
        w2 -= rate * grad_w2
    return np.array(losses)


@pytest.mark.parametrize(
    "dtype, tolerance",
    [
        # As the notebook has it. What is left of the loss at the end, below 1e-3, is the rounding of
        # single precision, which two orders of summation do not share.
        ("FloatTensor", {"rtol": 1e-4, "atol": 1e-3}),
        ("DoubleTensor", {"rtol": 1e-9}),
    ],
)
def test_the_notebook_trains(monkeypatch, dtype, tolerance):
    monkeypatch.setitem(sys.modules, "torch", ferrograd)
    monkeypatch.setitem(sys.modules, "torch.autograd", ferrograd.autograd)
    ferrograd.manual_seed(0)
    names = {}
    exec(SETUP.replace("FloatTensor", dtype), names)
    from_here = {name: names[name].detach().numpy().copy() for name in ("x", "y", "w1", "w2")}
    assert all(array.dtype == (np.float32 if dtype == "FloatTensor" else np.float64) for array in from_here.values())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(TRAIN, names)
    lines = [line.split() for line in printed.getvalue().splitlines()]
    assert [int(step) for step, _ in lines] == list(range(500))
    losses = np.array([float(loss) for _, loss in lines])
    np.testing.assert_allclose(losses, by_hand(**from_here), **tolerance)
    assert losses[-1] < 1e-3
    for w in (names["w1"], names["w2"]):
        assert isinstance(w.grad, names["Variable"]) and isinstance(w.data, ferrograd.Tensor)
