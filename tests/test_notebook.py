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


def by_hand(x, y, w1, w2, dtype, rate=1e-6, steps=500):
    """The losses of the same training, differentiated by hand, in numpy."""
    x, y, w1, w2 = (a.astype(dtype) for a in (x, y, w1, w2))
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
    return np.array(losses, np.float64)


def relative_error(losses, exact):
    return np.abs(losses / exact - 1)


def tolerance_of_single_precision(start, exact):
    """How far a training in single precision may be from the exact one at each step, relatively.

    1e-4, for as long as single precision can: the network differentiated by hand in numpy keeps to that until the loss has fallen
    from 3e7 to about 1. From there on the loss is the square of differences between predictions and targets, both about 1, that
    are as small as the rounding errors of the predictions, which are sums of 100 terms of about 30: 1e-4. Two orders of summation
    do not share these, and training does not average them out, as steps become smaller than the last digit of the weights. What
    can be asked for is an error of the same size as numpy's own, up to then.
    """
    by_numpy = relative_error(by_hand(**start, dtype=np.float32), exact)
    return np.maximum(1e-4, 4 * np.maximum.accumulate(by_numpy))


@pytest.mark.parametrize("dtype", ["FloatTensor", "DoubleTensor"])
def test_the_notebook_trains(monkeypatch, dtype):
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
    exact = by_hand(**from_here, dtype=np.float64)
    tolerance = tolerance_of_single_precision(from_here, exact) if dtype == "FloatTensor" else 1e-9
    assert (relative_error(losses, exact) <= tolerance).all()
    # The greater part of the way is at 1e-4 in both.
    assert (np.broadcast_to(tolerance, 500)[exact > 100] <= 1e-4).all()
    assert losses[-1] < 1e-3
    for w in (names["w1"], names["w2"]):
        assert isinstance(w.grad, names["Variable"]) and isinstance(w.data, ferrograd.Tensor)
