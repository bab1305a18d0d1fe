"""Averages of parameters: equal and falling weights, buffers, statistics of batches, and the schedule to their rate."""

import copy
import math
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import nn, optim
from ferrograd.optim import swa_utils


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(ferrograd.tensor([1.0, 2.0]))
        self.v = nn.Parameter(ferrograd.tensor(3.0, dtype=ferrograd.float64))
        self.register_buffer("count", ferrograd.tensor(0))
        self.register_buffer("mean", ferrograd.zeros(2))

    def forward(self, x):
        return (self.w * x).sum()


def train(average, model, steps=4):
    """Values of the first parameter after each step."""
    values = []
    for i in range(steps):
        with ferrograd.no_grad():
            model.w.add_(i * i)
            model.v.mul_(1.5)
            model.mean.add_(i)
            model.count.add_(2)
        values.append(model.w.tolist())
        average.update_parameters(model)
    return np.array(values)


def falling(values, decay):
    out = values[0]
    for value in values[1:]:
        out = decay * out + (1 - decay) * value
    return out


@pytest.mark.parametrize("options", [{}, {"avg_fn": swa_utils.get_swa_avg_fn()}, {"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}])
def test_equal_weights(options):
    model = Model()
    average = swa_utils.AveragedModel(model, **options)
    values = train(average, model)
    np.testing.assert_allclose(average.module.w.tolist(), values.mean(0), rtol=1e-6)
    # As in torch, the weight of lists is of single precision.
    np.testing.assert_allclose(average.module.v.item(), np.mean(3 * 1.5 ** np.arange(1, 5)), rtol=1e-7)
    assert average.n_averaged == 4 and list(average.state_dict())[0] == "n_averaged"
    assert average.module.count == 8 and average.module.mean.tolist() == [6, 6]
    assert average(ferrograd.ones(2)).item() == average.module.w.sum().item()


@pytest.mark.parametrize("options", [{"avg_fn": swa_utils.get_ema_avg_fn(0.9)}, {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)}])
def test_falling_weights(options):
    model = Model()
    average = swa_utils.AveragedModel(model, use_buffers=True, device="cpu", **options)
    values = train(average, model)
    np.testing.assert_allclose(average.module.w.tolist(), falling(values, 0.9), rtol=1e-6)
    np.testing.assert_allclose(average.module.mean[0].item(), falling([0, 1, 3, 6], 0.9), rtol=1e-6)
    # Integers are rounded down each time.
    assert average.module.count == 2


def test_averages_of_integers():
    average, value = ferrograd.tensor([4]), ferrograd.tensor([10])
    swa_utils.get_swa_multi_avg_fn()([averages := ferrograd.tensor([4.0])], [value.float()], 1)
    assert averages.item() == 7
    with pytest.raises(RuntimeError):
        swa_utils.get_swa_multi_avg_fn()([ferrograd.tensor([4])], [value], 1)
    swa_utils.get_ema_multi_avg_fn(0.5)([average], [value], None)
    assert average.item() == 7


def test_copies():
    model = Model()
    average = swa_utils.AveragedModel(model)
    train(average, model)
    twin = copy.deepcopy(average)
    other = swa_utils.AveragedModel(Model())
    other.load_state_dict(pickle.loads(pickle.dumps(average.state_dict())))
    for one in (twin, other):
        one.update_parameters(model)
        assert one.n_averaged == 5 and one.module.w.tolist() != average.module.w.tolist()
    assert twin.module.w.tolist() == other.module.w.tolist()


def test_statistics_of_batches():
    norm = nn.BatchNorm1d(2)
    model = nn.Sequential(norm).eval()
    batches = [ferrograd.tensor([[1.0, 2.0], [3.0, 6.0]]), ferrograd.tensor([[5.0, 2.0], [9.0, 2.0]])]
    for loader in (batches, [(batch, None) for batch in batches]):
        swa_utils.update_bn(loader, model, device="cpu")
        np.testing.assert_allclose(norm.running_mean.tolist(), [4.5, 3.0], rtol=1e-6)
        np.testing.assert_allclose(norm.running_var.tolist(), [5.0, 4.0], rtol=1e-6)
    assert norm.momentum == 0.1 and not model.training
    swa_utils.update_bn(None, nn.Sequential())


@pytest.mark.parametrize("strategy, way", [("linear", lambda t: t), ("cos", lambda t: (1 - math.cos(math.pi * t)) / 2)])
@pytest.mark.parametrize("epochs", [0, 1, 4])
def test_schedule(strategy, way, epochs):
    optimizer = optim.SGD(Model().parameters(), lr=0.1)
    schedule = swa_utils.SWALR(optimizer, swa_lr=0.01, anneal_epochs=epochs, anneal_strategy=strategy)
    for epoch in range(7):
        part = way(min(1, epoch / epochs)) if epochs else 1
        np.testing.assert_allclose(optimizer.param_groups[0]["lr"], 0.1 + (0.01 - 0.1) * part, rtol=1e-12)
        optimizer.step()
        schedule.step()
        schedule.load_state_dict(pickle.loads(pickle.dumps(schedule.state_dict())))


def test_what_is_refused():
    optimizer = optim.SGD(Model().parameters(), lr=0.1)
    for error, call in [
        (ValueError, lambda: swa_utils.get_ema_avg_fn(1.5)),
        (ValueError, lambda: swa_utils.get_ema_multi_avg_fn(-0.5)),
        (AssertionError, lambda: swa_utils.AveragedModel(Model(), avg_fn=max, multi_avg_fn=max)),
        (ValueError, lambda: swa_utils.SWALR(optimizer, [0.1, 0.1])),
        (ValueError, lambda: swa_utils.SWALR(optimizer, 0.1, anneal_strategy="square")),
        (ValueError, lambda: swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)),
        (AttributeError, lambda: optim.swa),
    ]:
        with pytest.raises(error):
            call()
