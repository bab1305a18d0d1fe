"""Schedules of the learning rate: against their closed forms, state, order of steps, and what they refuse."""

import copy
import math
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import optim
from ferrograd.optim import lr_scheduler as schedules


def make(optimizer=optim.SGD, lr=0.1, **options):
    a, b = (ferrograd.zeros(1, requires_grad=True) for _ in range(2))
    return optimizer([{"params": [a]}, {"params": [b], "lr": 0.02}], lr=lr, **options)


def rates(optimizer, scheduler, count=30, *args):
    out = []
    for _ in range(count):
        out.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step(*args)
    return np.array(out)


BASES = np.array([0.1, 0.02])
# What makes a schedule, and the factor of the initial rate at an epoch.
FACTORS = [
    (lambda o: schedules.LambdaLR(o, lambda e: 1 / (e + 1)), lambda e: 1 / (e + 1)),
    (lambda o: schedules.MultiplicativeLR(o, lambda e: 0.9), lambda e: 0.9**e),
    (lambda o: schedules.StepLR(o, 4, 0.5), lambda e: 0.5 ** (e // 4)),
    (lambda o: schedules.MultiStepLR(o, [3, 9, 9], 0.5), lambda e: 0.5 ** ((e >= 3) + 2 * (e >= 9))),
    (lambda o: schedules.ConstantLR(o, 0.25, 7), lambda e: 0.25 if e < 7 else 1),
    (lambda o: schedules.LinearLR(o, 0.2, 0.8, 6), lambda e: 0.2 + 0.6 * min(e, 6) / 6),
    (lambda o: schedules.ExponentialLR(o, 0.8), lambda e: 0.8**e),
    (lambda o: schedules.PolynomialLR(o, 12, 2.0), lambda e: (1 - min(e, 12) / 12) ** 2),
    (lambda o: schedules.CosineAnnealingLR(o, 8), lambda e: (1 + math.cos(math.pi * e / 8)) / 2),
    (lambda o: schedules.CosineAnnealingWarmRestarts(o, 5), lambda e: (1 + math.cos(math.pi * (e % 5) / 5)) / 2),
    (
        lambda o: schedules.ChainedScheduler([schedules.ExponentialLR(o, 0.8), schedules.StepLR(o, 4, 0.5)]),
        lambda e: 0.8**e * 0.5 ** (e // 4),
    ),
    (
        lambda o: schedules.SequentialLR(o, [schedules.ConstantLR(o, 0.5, 99), schedules.ExponentialLR(o, 0.8)], [6]),
        lambda e: 0.5 if e < 6 else 0.8 ** (e - 6),
    ),
]


@pytest.mark.parametrize("make_scheduler, factor", FACTORS)
def test_rates(make_scheduler, factor):
    optimizer = make()
    scheduler = make_scheduler(optimizer)
    got = rates(optimizer, scheduler)
    np.testing.assert_allclose(got, [factor(e) * BASES for e in range(30)], rtol=1e-9, atol=1e-12)
    assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("make_scheduler", [f[0] for f in FACTORS])
def test_state_continues(make_scheduler):
    whole = make()
    want = rates(whole, make_scheduler(whole))
    first = make()
    scheduler = make_scheduler(first)
    start = rates(first, scheduler, 11)
    saved = pickle.loads(pickle.dumps((first.state_dict(), scheduler.state_dict())))
    second = make()
    scheduler = make_scheduler(second)
    second.load_state_dict(saved[0])
    before = copy.deepcopy(saved[1])
    scheduler.load_state_dict(saved[1])
    assert saved[1] == before
    assert (np.concatenate([start, rates(second, scheduler, 19)]) == want).all()


@pytest.mark.parametrize("make_scheduler, factor", [f for f in FACTORS[2:9]])
def test_closed_forms(make_scheduler, factor):
    optimizer = make()
    scheduler = make_scheduler(optimizer)
    optimizer.step()
    with pytest.warns(UserWarning, match="epoch"):
        scheduler.step(9)
    np.testing.assert_allclose(scheduler.get_last_lr(), factor(9) * BASES, rtol=1e-12)


def test_schedules_continue_at_an_epoch():
    optimizer = make()
    with pytest.raises(KeyError, match="initial_lr"):
        schedules.StepLR(optimizer, 2, last_epoch=4)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    assert schedules.StepLR(optimizer, 2, last_epoch=4).last_epoch == 5
    optimizer = make()
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    schedules.CosineAnnealingLR(optimizer, 8, eta_min=0.01, last_epoch=2)
    assert [group["lr"] for group in optimizer.param_groups] == BASES.tolist()


def test_lowest_rates_of_cosines():
    optimizer = make()
    got = rates(optimizer, schedules.CosineAnnealingLR(optimizer, 4, eta_min=0.01))
    np.testing.assert_allclose(got[[0, 4, 8, 12]], [BASES, [0.01] * 2, BASES, [0.01] * 2], rtol=1e-9)


def test_warm_restarts_take_fractions_and_grow():
    optimizer = make()
    scheduler = schedules.CosineAnnealingWarmRestarts(optimizer, 2, T_mult=3)
    scheduler.step(5.0)
    assert (scheduler.T_cur, scheduler.T_i, scheduler.last_epoch) == (3.0, 6, 5)
    scheduler.step(0.5)
    np.testing.assert_allclose(scheduler.get_last_lr(), BASES * (1 + math.cos(math.pi / 4)) / 2)
    scheduler.step(9.0)
    assert (scheduler.T_cur, scheduler.T_i) == (1.0, 18)
    with pytest.raises(ValueError, match="non-negative"):
        scheduler.step(-1)
    optimizer = make()
    got = rates(optimizer, schedules.CosineAnnealingWarmRestarts(optimizer, 4, eta_min=0.01), 5)[:, 0]
    np.testing.assert_allclose(got[[0, 2, 4]], [0.1, 0.055, 0.1])


def test_reduction_on_a_plateau():
    optimizer = make()
    scheduler = schedules.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.015)
    seen = []
    for metric in [1.0, 0.9, 0.89999, 0.9, 0.9, 0.9, 0.9, 0.5]:
        scheduler.step(ferrograd.tensor(metric))
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]
    assert scheduler.last_epoch == 8
    assert optimizer.param_groups[1]["lr"] == 0.015 and scheduler.best == 0.5 and scheduler.in_cooldown is False
    other = schedules.ReduceLROnPlateau(make(), mode="max")
    other.load_state_dict(scheduler.state_dict())
    assert (other.mode, other.mode_worse, other.best) == ("min", math.inf, 0.5)
    optimizer.add_param_group({"params": ferrograd.zeros(1, requires_grad=True)})
    for _ in range(3):
        scheduler.step(0.5)
    assert len(scheduler.min_lrs) == 3 and scheduler.get_last_lr()[2] == 0.05
    for mode, threshold_mode, better, worse in [("max", "rel", 1.11, 1.1), ("max", "abs", 1.11, 1.1), ("min", "abs", 0.89, 0.9)]:
        scheduler = schedules.ReduceLROnPlateau(make(), mode, threshold=0.1, threshold_mode=threshold_mode)
        scheduler.step(1.0)
        scheduler.step(worse)
        assert scheduler.num_bad_epochs == 1
        scheduler.step(better)
        assert scheduler.num_bad_epochs == 0


@pytest.mark.parametrize("optimizer, momentum", [(optim.SGD, lambda g: g["momentum"]), (optim.Adam, lambda g: g["betas"][0])])
def test_cycles(optimizer, momentum):
    for mode, heights in [("triangular", [1, 1]), ("triangular2", [1, 0.5]), ("exp_range", [0.9**4, 0.9**12])]:
        o = make(optimizer)
        scheduler = schedules.CyclicLR(o, [0.01, 0.02], 0.11, 4, mode=mode, gamma=0.9)
        at = {}
        for step in range(17):
            at[step] = o.param_groups[0]["lr"], momentum(o.param_groups[0])
            o.step()
            scheduler.step()
        np.testing.assert_allclose(at[0], (0.01, 0.9))
        np.testing.assert_allclose(at[4], (0.01 + 0.1 * heights[0], 0.9 - 0.1 * heights[0]))
        np.testing.assert_allclose(at[12], (0.01 + 0.1 * heights[1], 0.9 - 0.1 * heights[1]))
        np.testing.assert_allclose(at[16], (0.01, 0.9))


def test_cycles_that_fall_slower_than_they_rise():
    o = make()
    got = rates(o, schedules.CyclicLR(o, 0.1, 0.5, 2, 4, cycle_momentum=False), 13)[:, 0]
    np.testing.assert_allclose(got, [0.1, 0.3, 0.5, 0.4, 0.3, 0.2] * 2 + [0.1])


def test_what_is_allowed_at_the_edge():
    o = make(lr=0.0)
    assert rates(o, schedules.ConstantLR(o, 0, 5), 2).tolist() == [[0, 0]] * 2
    o = make()
    scheduler = schedules.SequentialLR(o, [schedules.ExponentialLR(o, 0.5)], [])
    np.testing.assert_allclose(rates(o, scheduler, 3)[:, 0], [0.1, 0.05, 0.025])


class Scale:
    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        return self.k * x


def test_state_of_functions():
    o = make()
    scheduler = schedules.CyclicLR(o, 0.1, 0.2, scale_fn=Scale(0.5), cycle_momentum=False)
    saved = scheduler.state_dict()
    assert saved["_scale_fn_custom"] == {"k": 0.5} and "optimizer" not in saved
    other = schedules.CyclicLR(make(), 0.1, 0.2, scale_fn=Scale(7), cycle_momentum=False)
    other.load_state_dict(saved)
    assert other.scale_fn(1) == 0.5
    first = schedules.LambdaLR(make(), [lambda e: 1.0, (scale := Scale(3))])
    assert first.state_dict()["lr_lambdas"] == [None, {"k": 3}]
    scale.k = 5
    second = schedules.LambdaLR(make(), [lambda e: 1.0, Scale(4)])
    second.load_state_dict(first.state_dict())
    assert second.lr_lambdas[1].k == 5


def test_one_cycle():
    for three_phase, end in [(False, 20), (True, 11)]:
        o = make(momentum=0.5)
        scheduler = schedules.OneCycleLR(o, 0.5, total_steps=20, three_phase=three_phase, anneal_strategy="linear")
        got = rates(o, scheduler, 5)
        assert o.param_groups[0]["momentum"] == pytest.approx(0.85)
        got = np.concatenate([got, rates(o, scheduler, 15)])[:, 0]
        np.testing.assert_allclose(got[[0, 5, 19]], [0.02, 0.5, 0.02 / 1e4], rtol=1e-9)
        assert np.diff(got[:6]).min() > 0 > np.diff(got[5:end]).max()
        scheduler.last_epoch = 20
        with pytest.raises(ValueError, match="total steps"):
            scheduler.step()
    o = make(optim.Adam)
    scheduler = schedules.OneCycleLR(o, [0.5, 0.1], epochs=4, steps_per_epoch=5)
    rates(o, scheduler, 5)
    assert o.param_groups[1]["betas"] == (pytest.approx(0.85), 0.999) and scheduler.total_steps == 20


def test_one_cycle_along_a_cosine():
    o = make()
    scheduler = schedules.OneCycleLR(o, 0.5, total_steps=20, pct_start=0.25, cycle_momentum=False)
    got = rates(o, scheduler, 12)[:, 0]
    np.testing.assert_allclose(got[[0, 2, 4]], [0.02, 0.26, 0.5])
    np.testing.assert_allclose(got[9], 2e-6 + (0.5 - 2e-6) * (1 + math.cos(math.pi / 3)) / 2)


def test_small_reductions_are_not_made():
    o = make(lr=1e-8)
    scheduler = schedules.ReduceLROnPlateau(o, patience=0)
    scheduler.step(1.0)
    scheduler.step(1.0)
    np.testing.assert_allclose([group["lr"] for group in o.param_groups], [1e-8, 0.002])


def test_rates_that_are_tensors_change_in_place():
    lr = ferrograd.tensor(0.1)
    o = optim.SGD([ferrograd.zeros(1, requires_grad=True)], lr=lr)
    scheduler = schedules.ExponentialLR(o, 0.5)
    o.step()
    scheduler.step()
    assert o.param_groups[0]["lr"] is lr and lr.item() == pytest.approx(0.05)
    assert scheduler.base_lrs[0].item() == pytest.approx(0.1)


def test_order_of_steps():
    o = make()
    scheduler = schedules.StepLR(o, 2)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    o = make()
    scheduler = schedules.StepLR(o, 2)
    o.step = lambda: None
    with pytest.warns(UserWarning, match="replaced"):
        scheduler.step()
    o = make()
    scheduler = schedules.StepLR(o, 2)
    o.step()
    scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    assert pickle.loads(pickle.dumps(o)).param_groups[0]["lr"] == copy.deepcopy(scheduler).optimizer.param_groups[0]["lr"]


def test_schedules_of_ones_own():
    class Half(schedules.LRScheduler):
        def get_lr(self):
            return [base * 0.5**self.last_epoch for base in self.base_lrs]

    o = make()
    np.testing.assert_allclose(rates(o, Half(o), 3)[:, 0], [0.1, 0.05, 0.025])
    assert issubclass(schedules._LRScheduler, schedules.LRScheduler)


def test_what_is_refused():
    o, s = make(), schedules
    for error, call in [
        (TypeError, lambda: s.StepLR(3, 2)),
        (NotImplementedError, lambda: s.LRScheduler(o)),
        (ValueError, lambda: s.LambdaLR(o, [len])),
        (TypeError, lambda: s.MultiplicativeLR(o, 3)),
        (ValueError, lambda: s.ConstantLR(o, 2.0)),
        (ValueError, lambda: s.LinearLR(o, 0.0)),
        (ValueError, lambda: s.LinearLR(o, end_factor=1.5)),
        (ValueError, lambda: s.CosineAnnealingWarmRestarts(o, 0)),
        (ValueError, lambda: s.CosineAnnealingWarmRestarts(o, 3, 0)),
        (ValueError, lambda: s.CosineAnnealingWarmRestarts(o, 3, eta_min="0")),
        (ValueError, lambda: s.SequentialLR(o, [], [])),
        (ValueError, lambda: s.SequentialLR(o, [s.StepLR(o, 2)], [1])),
        (TypeError, lambda: s.SequentialLR(o, [3], [])),
        (ValueError, lambda: s.ChainedScheduler([])),
        (ValueError, lambda: s.ChainedScheduler([s.ReduceLROnPlateau(o)])),
        (ValueError, lambda: s.ChainedScheduler([s.StepLR(o, 2), s.StepLR(make(), 2)])),
        (ValueError, lambda: s.ReduceLROnPlateau(o, factor=1.0)),
        (ValueError, lambda: s.ReduceLROnPlateau(o, mode="best")),
        (ValueError, lambda: s.ReduceLROnPlateau(o, threshold_mode="best")),
        (ValueError, lambda: s.ReduceLROnPlateau(o, min_lr=[0.1])),
        (ValueError, lambda: s.CyclicLR(o, 0.1, 0.2, mode="square")),
        (ValueError, lambda: s.CyclicLR(o, [0.1], 0.2)),
        (ValueError, lambda: s.OneCycleLR(o, 0.1)),
        (ValueError, lambda: s.OneCycleLR(o, 0.1, total_steps=0)),
        (ValueError, lambda: s.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=1.5)),
        (ValueError, lambda: s.OneCycleLR(o, 0.1, 10, pct_start=2.0)),
        (ValueError, lambda: s.OneCycleLR(o, 0.1, 10, anneal_strategy="square")),
    ]:
        with pytest.raises(error):
            call()
