"""The optimizers whose steps are written in ops: against their formulas in numpy, by finite differences, state and errors."""

import copy
import math
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import optim

RNG = np.random.default_rng(0)


def adadelta(p, grads, lr=1.0, rho=0.9, eps=1e-6):
    v = u = np.zeros_like(p)
    for g in grads:
        v = rho * v + (1 - rho) * g**2
        d = g * np.sqrt(u + eps) / np.sqrt(v + eps)
        u = rho * u + (1 - rho) * d**2
        p = p - lr * d
    return p


def adafactor(p, grads, lr=1e-2, beta2_decay=-0.8, eps=(2.0**-52, 1e-3), d=1.0, decay=0.0):
    def rms(x):
        return np.sqrt((x**2).mean())

    r = c = v = 0
    for t, g in enumerate(grads, 1):
        b = t**beta2_decay
        if p.ndim > 1:
            r = (1 - b) * r + b * (g**2).mean(-1, keepdims=True)
            c = (1 - b) * c + b * (g**2).mean(-2, keepdims=True)
            estimate = r * c / r.mean(-2, keepdims=True)
        else:
            estimate = v = (1 - b) * v + b * g**2
        u = g / np.sqrt(estimate)
        alpha = max(eps[1], rms(p)) * min(lr, 1 / math.sqrt(t))
        p = p * (1 - lr * decay) - alpha * u / max(1, rms(u) / d)
    return p


def adagrad(p, grads, lr=1e-2, lr_decay=0, initial_accumulator_value=0, eps=1e-10):
    s = np.full_like(p, initial_accumulator_value)
    for t, g in enumerate(grads):
        s = s + g**2
        p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(s) + eps)
    return p


def adamax(p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8):
    m = u = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        u = np.maximum(betas[1] * u, abs(g) + eps)
        p = p - lr / (1 - betas[0] ** t) * m / u
    return p


def asgd(p, grads, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6):
    eta = lr
    for t, g in enumerate(grads, 1):
        p = p * (1 - lambd * eta) - eta * g
        eta = float(np.float32(lr / (1 + lambd * lr * t) ** alpha))
    return p


def muon(p, grads, lr=1e-3, momentum=0.95, decay=0.1, steps=5):
    b = np.zeros_like(p)
    for g in grads:
        b = momentum * b + (1 - momentum) * g
        x = momentum * b + (1 - momentum) * g
        x = x / np.linalg.norm(x)
        for _ in range(steps):
            a = x @ x.T
            x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
        p = p * (1 - lr * decay) - lr * math.sqrt(max(1, p.shape[0] / p.shape[1])) * x
    return p


def nadam(p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, momentum_decay=4e-3, decay=0):
    def mu(t):
        return betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    m = v = np.zeros_like(p)
    product = 1.0
    for t, g in enumerate(grads, 1):
        p = p * (1 - lr * decay)
        product *= mu(t)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        ahead = (1 - mu(t)) * g / (1 - product) + mu(t + 1) * m / (1 - product * mu(t + 1))
        p = p - lr * ahead / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def radam(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, decay=0):
    m = v = np.zeros_like(p)
    last = 2 / (1 - betas[1]) - 1
    for t, g in enumerate(grads, 1):
        p = p * (1 - lr * decay)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        r = last - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        step = lr * m / (1 - betas[0] ** t)
        if r > 5:
            factor = math.sqrt((r - 4) * (r - 2) * last / ((last - 4) * (last - 2) * r))
            step = step * factor * math.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)
        p = p - step
    return p


def rmsprop(p, grads, lr=1e-2, alpha=0.99, eps=1e-8, momentum=0, centered=False):
    v = m = b = np.zeros_like(p)
    for g in grads:
        v = alpha * v + (1 - alpha) * g**2
        m = alpha * m + (1 - alpha) * g
        d = g / (np.sqrt(v - m**2 if centered else v) + eps)
        b = momentum * b + d
        p = p - lr * b
    return p


def rprop(p, grads, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    size, last = np.full_like(p, lr), np.zeros_like(p)
    for g in grads:
        turn = np.sign(g * last)
        size = np.clip(size * np.where(turn > 0, etas[1], np.where(turn < 0, etas[0], 1)), *step_sizes)
        last = np.where(turn < 0, 0, g)
        p = p - np.sign(last) * size
    return p


CASES = [
    (optim.Adadelta, adadelta, {}, {}),
    (optim.Adadelta, adadelta, dict(lr=0.5, rho=0.5, eps=1e-3), {}),
    (optim.Adafactor, adafactor, {}, {}),
    (optim.Adafactor, adafactor, dict(lr=0.1, d=1.5, eps=(1e-10, 0.01), beta2_decay=-0.5), {}),
    (optim.Adafactor, adafactor, dict(weight_decay=0.1), dict(decay=0.1)),
    (optim.Adagrad, adagrad, {}, {}),
    (optim.Adagrad, adagrad, dict(lr=0.1, lr_decay=0.5, initial_accumulator_value=0.3, eps=1e-3), {}),
    (optim.Adamax, adamax, {}, {}),
    (optim.Adamax, adamax, dict(lr=0.1, betas=(0.5, 0.7), eps=1e-3), {}),
    (optim.ASGD, asgd, {}, {}),
    (optim.ASGD, asgd, dict(lr=0.1, lambd=0.1, alpha=0.5, t0=2), {}),
    (optim.NAdam, nadam, {}, {}),
    (optim.NAdam, nadam, dict(lr=0.1, betas=(0.5, 0.7), momentum_decay=0.1, eps=1e-2), {}),
    (optim.NAdam, nadam, dict(weight_decay=0.1, decoupled_weight_decay=True), dict(decay=0.1)),
    (optim.RAdam, radam, {}, {}),
    (optim.RAdam, radam, dict(lr=0.1, betas=(0.5, 0.99), eps=1e-3), {}),
    (optim.RAdam, radam, dict(weight_decay=0.1, decoupled_weight_decay=True), dict(decay=0.1)),
    (optim.RMSprop, rmsprop, {}, {}),
    (optim.RMSprop, rmsprop, dict(lr=0.1, alpha=0.5, momentum=0.5), {}),
    (optim.RMSprop, rmsprop, dict(centered=True, eps=1e-3), {}),
    (optim.Rprop, rprop, {}, {}),
    (optim.Rprop, rprop, dict(lr=0.1, etas=(0.4, 1.3), step_sizes=(0.05, 0.12)), {}),
]
CLASSES = sorted({case[0] for case in CASES}, key=lambda cls: cls.__name__) + [optim.Muon]
COUPLED = [optim.Adadelta, optim.Adagrad, optim.Adamax, optim.ASGD, optim.NAdam, optim.RAdam, optim.RMSprop]


def values(shape, count=8):
    return RNG.standard_normal(shape), [RNG.standard_normal(shape) for _ in range(count)]


def run(optimizer, p, grads):
    for g in grads:
        p.grad = ferrograd.from_numpy(np.array(g))
        optimizer.step()
    return p.detach().numpy()


def parameter(value):
    return ferrograd.from_numpy(np.array(value)).requires_grad_()


@pytest.mark.parametrize("shape", [(4, 3), (5,), (), (2, 3, 2)])
@pytest.mark.parametrize("optimizer, formula, options, others", CASES)
def test_steps(optimizer, formula, options, others, shape):
    value, grads = values(shape)
    p = parameter(value)
    options_of_formula = others or options
    got = run(optimizer([p], **options), p, grads)
    np.testing.assert_allclose(got, formula(value, grads, **options_of_formula), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (1, 1)])
def test_muon(shape):
    value, grads = values(shape, 3)
    p = parameter(value)
    # The direction is computed with 8 bits.
    np.testing.assert_allclose(run(optim.Muon([p], lr=0.1), p, grads), muon(value, grads, lr=0.1), atol=0.02)
    p, q = parameter(value), parameter(value)
    run(optim.Muon([p], weight_decay=0), p, grads[:1])
    run(optim.Muon([q], weight_decay=0, adjust_lr_fn="match_rms_adamw"), q, grads[:1])
    ratio = 0.2 * math.sqrt(max(shape)) / math.sqrt(max(1, shape[0] / shape[1]))
    np.testing.assert_allclose((q.detach().numpy() - value), (p.detach().numpy() - value) * ratio, rtol=1e-6)


@pytest.mark.parametrize("optimizer", COUPLED)
def test_weight_decay_is_part_of_the_gradient(optimizer):
    value, grads = values((3,))
    p, q = parameter(value), parameter(value)
    decaying, plain = optimizer([p], weight_decay=0.5), optimizer([q])
    for g in grads:
        p.grad = ferrograd.from_numpy(np.array(g))
        q.grad = ferrograd.from_numpy(np.array(g)) + 0.5 * q.detach()
        decaying.step()
        plain.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("optimizer", [cls for cls in CLASSES if cls is not optim.Muon])
def test_maximize(optimizer):
    value, grads = values((3, 2))
    p, q = parameter(value), parameter(value)
    up = run(optimizer([p], maximize=True), p, grads)
    assert (up == run(optimizer([q]), q, [-g for g in grads])).all() and (up != value).all()


@pytest.mark.parametrize("optimizer", COUPLED + [optim.Rprop, optim.Adam, optim.SGD])
def test_complex_numbers_are_pairs(optimizer):
    value, grads = values((3, 2))
    p, q = parameter(value), ferrograd.view_as_complex(parameter(value).detach()).clone().requires_grad_()
    want = run(optimizer([p], lr=0.1), p, grads)
    run(one := optimizer([q], lr=0.1), q, [g[:, 0] + 1j * g[:, 1] for g in grads])
    if optimizer is optim.Adagrad:
        assert one.state[q]["sum"].dtype == ferrograd.complex128
    np.testing.assert_allclose(np.stack([q.detach().numpy().real, q.detach().numpy().imag], 1), want, rtol=1e-12)


@pytest.mark.parametrize("optimizer", COUPLED + [optim.Rprop])
def test_recorded_steps(optimizer):
    value, grads = values((3,), 4)
    leaf, scale = parameter(value), parameter(np.ones(3))
    changed = leaf.clone()
    one = optimizer([changed], differentiable=True, lr=0.01)
    for g in grads:
        changed.grad = ferrograd.from_numpy(g) * scale
        one.step()

    def end(factor):
        q = parameter(value)
        return run(optimizer([q], lr=0.01), q, [g * factor for g in grads]).sum()

    np.testing.assert_allclose(changed.sum().item(), end(1.0), rtol=1e-6)
    if optimizer in (optim.Adamax, optim.Rprop):
        # As in torch, the second step changes what the first has kept.
        with pytest.raises(RuntimeError, match="inplace"):
            ferrograd.autograd.grad(changed.sum(), [leaf, scale])
        return
    d_leaf, d_scale = ferrograd.autograd.grad(changed.sum(), [leaf, scale])
    np.testing.assert_allclose(d_leaf.numpy(), 1, rtol=1e-5)
    want = (end(1 + 1e-6) - end(1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(d_scale.sum().item(), want, rtol=1e-4, atol=1e-6)


def test_recorded_steps_by_the_rate():
    p, lr = parameter(np.ones(3)).clone(), parameter(np.array(0.5))
    p.grad = ferrograd.full((3,), 2.0, dtype=ferrograd.float64)
    optim.RAdam([p], lr=lr, differentiable=True).step()
    (g,) = ferrograd.autograd.grad(p.sum(), lr)
    np.testing.assert_allclose(g.item(), -6)
    with pytest.raises(TypeError, match="require grad"):
        optim.RMSprop([p], lr=lr, differentiable=True).step()


@pytest.mark.parametrize("optimizer", CLASSES)
def test_state_continues(optimizer):
    value, grads = values((3, 2))
    p, q = parameter(value), parameter(value)
    want = run(optimizer([p]), p, grads)
    first = optimizer([q])
    run(first, q, grads[:3])
    for copied in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        (r,) = copied.param_groups[0]["params"]
        assert (run(copied, r, grads[3:]) == want).all()
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    second = optimizer([q])
    second.load_state_dict(saved)
    np.testing.assert_allclose(run(second, q, grads[3:]), want, rtol=1e-7)
    # Older states count steps by numbers, and lack options.
    if "step" in saved["state"][0]:
        saved["state"][0]["step"] = 3
        for name in {"foreach", "momentum"} - ({"momentum"} if optimizer is optim.Muon else set()):
            saved["param_groups"][0].pop(name, None)
        second.load_state_dict(saved)
        state = second.state_dict()
        assert state["state"][0]["step"].dtype == ferrograd.float32 and state["param_groups"][0]["foreach"] is None


def test_names_of_state():
    names = {
        optim.Adadelta: ["step", "square_avg", "acc_delta"],
        optim.Adagrad: ["step", "sum"],
        optim.Adamax: ["step", "exp_avg", "exp_inf"],
        optim.ASGD: ["step", "eta", "mu", "ax"],
        optim.Adafactor: ["step", "row_var", "col_var"],
        optim.Muon: ["momentum_buffer"],
        optim.NAdam: ["step", "mu_product", "exp_avg", "exp_avg_sq"],
        optim.RAdam: ["step", "exp_avg", "exp_avg_sq"],
        optim.RMSprop: ["step", "square_avg"],
        optim.Rprop: ["step", "prev", "step_size"],
    }
    for optimizer, want in names.items():
        value, grads = values((3, 2), 1)
        p, unused = parameter(value), parameter(value)
        one = optimizer([p, unused])
        run(one, p, grads)
        state = one.state_dict()["state"]
        assert list(state[0]) == want, optimizer
        assert (1 in state) == (optimizer is optim.Adagrad)
        assert (unused.detach().numpy() == value).all()


@pytest.mark.parametrize("optimizer", CLASSES)
def test_rates_as_tensors(optimizer):
    value, grads = values((3, 2))
    p, q = parameter(value), parameter(value)
    got = run(optimizer([p], lr=ferrograd.tensor([0.25])), p, grads)
    np.testing.assert_allclose(got, run(optimizer([q], lr=0.25), q, grads), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("foreach", [False, True])
def test_averages_of_asgd(foreach):
    value, grads = values((3,))
    p = parameter(value)
    options = dict(lr=0.5, lambd=0.2, alpha=0.6)
    optimizer = optim.ASGD([p], t0=3, foreach=foreach, **options)
    seen = []
    for g in grads:
        seen.append(run(optimizer, p, [g]).copy())
    np.testing.assert_allclose(seen[-1], asgd(value, grads, **options), rtol=1e-6)
    # Up to step t0 + 1 the average is the newest value; from then on, all weigh the same.
    np.testing.assert_allclose(optimizer.state[p]["ax"].numpy(), np.mean(seen[4:], 0), rtol=1e-6)
    np.testing.assert_allclose(optimizer.state[p]["mu"].item(), 1 / 5)


def test_rates_may_be_0():
    p = parameter(np.ones(2))
    assert (run(optim.RMSprop([p], lr=0), p, [np.ones(2)]) == 1).all()


def test_functions_of_lists():
    value, grads = values((3,))
    p, q = parameter(value), parameter(value)
    want = run(optim.RMSprop([p]), p, grads)
    average, step = ferrograd.zeros_like(q), ferrograd.tensor(0.0)
    options = dict(lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False)
    with ferrograd.no_grad():
        for g in grads:
            optim.rmsprop.rmsprop([q], [ferrograd.from_numpy(g)], [average.detach()], [], [], [step], **options)
    assert (q.detach().numpy() == want).all() and step == len(grads)
    with pytest.raises(RuntimeError, match="state_steps"):
        optim.rmsprop.rmsprop([q], [q], [average], [], [], [1], **options)


def test_other_parameters_and_state_for_a_while():
    value, grads = values((3,))
    p, q = parameter(value), parameter(value)
    optimizer, other = (optim.RMSprop([x], momentum=0.9) for x in (p, q))
    want = run(other, q, grads[:4]).copy()
    run(optimizer, p, grads[:2])
    before, groups, saved = p.tolist(), repr(optimizer), copy.deepcopy(optimizer.state_dict())
    r = parameter(before)
    with optim.swap_in_optimizer_params_and_state(optimizer, {"w": r}, saved):
        assert (run(optimizer, r, grads[2:4]) == want).all()
    assert p.tolist() == before and repr(optimizer) == groups and optimizer.param_groups[0]["params"] == [p]
    assert optimizer.state[p]["step"] == 2
    for broken in [[], {"state": [], "param_groups": []}, saved | {"param_groups": []}, saved | {"state": {7: {}}}]:
        with pytest.raises(RuntimeError, match="requires"):
            with optim.swap_in_optimizer_params_and_state(optimizer, {"w": r}, broken):
                pass
    with pytest.raises(RuntimeError, match="as many parameters"):
        with optim.swap_in_optimizer_params_and_state(optimizer, {}, saved):
            pass


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def test_the_lowest_point_of_a_cubic():
    def point(t):
        # 2 t³ - 3 t² - 36 t + 5, whose slope is 6 (t - 3) (t + 2).
        slope = ferrograd.tensor(6 * (t - 3) * (t + 2.0), dtype=ferrograd.float64)
        return optim.lbfgs._Point(t, 2 * t**3 - 3 * t**2 - 36 * t + 5, None, slope)

    for a, b in [(0.0, 4.0), (5.0, 1.0), (-1.0, 2.0)]:
        got = optim.lbfgs._lowest(point(a), point(b), (-9, 9))
        np.testing.assert_allclose(float(got), 3, rtol=1e-9)
    assert optim.lbfgs._lowest(point(-1.0), point(2.0)) == 2 and optim.lbfgs._lowest(point(6.0), point(4.0)) == 4
    down = ferrograd.tensor(-1.0)
    no_minimum = optim.lbfgs._Point(0.0, 0.0, None, down), optim.lbfgs._Point(1.0, -0.7, None, down)
    assert optim.lbfgs._lowest(*no_minimum) == 0.5


@pytest.mark.parametrize(
    "loss", [lambda t: (t - 3) ** 2, lambda t: t**4 - 7 * t, lambda t: -t * math.exp(-t / 2), lambda t: math.cos(t + 0.5) + t / 9]
)
@pytest.mark.parametrize("first", [0.01, 1.0, 40.0])
def test_points_of_a_line_search(loss, first):
    def evaluate(t):
        t = float(t)
        slope = (loss(t + 1e-6) - loss(t - 1e-6)) / 2e-6
        seen.append(t)
        return optim.lbfgs._Point(t, loss(t), None, ferrograd.tensor(slope, dtype=ferrograd.float64))

    seen = []
    start, d = evaluate(0), ferrograd.ones(1, dtype=ferrograd.float64)
    seen.clear()
    for c2 in (0.9, 0.1):
        seen.clear()
        best, count = optim.lbfgs._strong_wolfe(evaluate, first, d, start, 25, c2=c2)
        assert best.loss <= start.loss + 1e-4 * best.t * start.slope and abs(best.slope) <= -c2 * start.slope
        assert count == len(seen) <= 14
    seen.clear()
    assert optim.lbfgs._strong_wolfe(evaluate, first, d, start, 0)[1] == 1 == len(seen)


@pytest.mark.parametrize("options", [dict(line_search_fn="strong_wolfe"), dict(lr=0.2, max_iter=2000, max_eval=9999)])
def test_lbfgs_finds_a_minimum(options):
    x = ferrograd.tensor([-1.2, 1.0], dtype=ferrograd.float64, requires_grad=True)
    optimizer = optim.LBFGS([x], **options)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        calls.append(loss.item())
        return loss

    with ferrograd.no_grad():
        assert optimizer.step(closure).item() == pytest.approx(24.2)
        for _ in range(8):
            optimizer.step(closure)
    np.testing.assert_allclose(x.tolist(), [1, 1], rtol=1e-4)
    state = optimizer.state[x]
    assert state["func_evals"] == len(calls) and len(state["old_dirs"]) == len(state["ro"]) <= 100
    twin = pickle.loads(pickle.dumps(optimizer))
    assert twin._params == twin.param_groups[0]["params"]
    twin.load_state_dict(optimizer.state_dict())


def test_lbfgs_on_a_quadratic_form_of_several_parameters():
    a = ferrograd.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=ferrograd.float64)
    x, y = (ferrograd.ones(n, dtype=ferrograd.float64, requires_grad=True) for n in (2, 1))
    unused = ferrograd.ones(2, dtype=ferrograd.float64, requires_grad=True)
    z = ferrograd.tensor([1 + 2j], dtype=ferrograd.complex128, requires_grad=True)
    optimizer = optim.LBFGS([x, y, unused, z], history_size=3, line_search_fn="strong_wolfe", max_iter=40)

    def closure():
        optimizer.zero_grad()
        loss = x @ a @ x + (y - 3).square().sum() + (z - 1j).abs().square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(x.tolist() + y.tolist(), [0, 0, 3], atol=1e-5)
    np.testing.assert_allclose(z.detach().numpy(), [1j], atol=1e-5)
    assert unused.tolist() == [1, 1]
    assert len(optimizer.state[x]["old_dirs"]) <= 3
    at_the_minimum = x.tolist()
    optimizer.param_groups[0]["tolerance_grad"] = 1.0
    optimizer.step(closure)
    assert x.tolist() == at_the_minimum
    optimizer.param_groups[0].update(tolerance_grad=0, line_search_fn="wolfe")
    x.data.fill_(5.0)
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        optimizer.step(closure)
    with pytest.raises(TypeError):
        optimizer.step()
    optim.LBFGS([x], max_iter=0).step(closure)


def test_sparse_adam_steps_on_sparse_gradients_only():
    p = ferrograd.ones(2, requires_grad=True)
    optimizer = optim.SparseAdam([p], maximize=True)
    assert optimizer.step(lambda: 3) == 3 and optimizer.defaults["eps"] == 1e-8
    p.grad = ferrograd.ones(2)
    with pytest.raises(RuntimeError, match="dense gradients"):
        optimizer.step()


def test_what_is_refused():
    p = ferrograd.ones(2, 2, requires_grad=True)
    z = ferrograd.ones(2, 2, dtype=ferrograd.complex64, requires_grad=True)
    for x in (p, z):
        x.grad = ferrograd.ones_like(x)
    for error, call in [
        *((ValueError, lambda cls=cls: cls([p], lr=-1.0)) for cls in [*CLASSES, optim.LBFGS, optim.SparseAdam]),
        *((ValueError, lambda cls=cls: cls([p], lr=ferrograd.ones(2))) for cls in [*CLASSES, optim.LBFGS]),
        *((ValueError, lambda cls=cls: cls([p], weight_decay=-1.0)) for cls in [*COUPLED, optim.Muon, optim.Adafactor]),
        *((ValueError, lambda cls=cls: cls([p], betas=(0.5, 1.0))) for cls in [optim.Adamax, optim.NAdam, optim.SparseAdam]),
        *((AssertionError, lambda cls=cls: cls([p], capturable=True).step()) for cls in COUPLED if cls is not optim.Adagrad),
        *((AssertionError, lambda cls=cls: cls([p], foreach=True, differentiable=True).step()) for cls in COUPLED),
        (ValueError, lambda: optim.Adadelta([p], rho=1.5)),
        (ValueError, lambda: optim.Adagrad([p], lr_decay=-1)),
        (ValueError, lambda: optim.Adagrad([p], initial_accumulator_value=-1)),
        (RuntimeError, lambda: optim.Adagrad([p], fused=True, foreach=True)),
        (RuntimeError, lambda: optim.Adagrad([z], fused=True).step()),
        (RuntimeError, lambda: optim.Adagrad([p]).share_memory()),
        (ValueError, lambda: optim.Adafactor([p], d=0.5)),
        (ValueError, lambda: optim.Adafactor([p], eps=(-1.0, 0.1))),
        (ValueError, lambda: optim.Adafactor([p], beta2_decay=0.5)),
        (RuntimeError, lambda: optim.Adafactor([z]).step()),
        (RuntimeError, lambda: optim.Muon([z]).step()),
        (ValueError, lambda: optim.Muon([ferrograd.ones(3, requires_grad=True)])),
        (ValueError, lambda: optim.Muon([p], adjust_lr_fn="no")),
        (ValueError, lambda: optim.Muon([p], ns_steps=100).step()),
        (ValueError, lambda: optim.Muon([p], ns_coefficients=(1.0, 2.0)).step()),
        (ValueError, lambda: optim.RMSprop([p], momentum=-1)),
        (ValueError, lambda: optim.NAdam([p], momentum_decay=-1)),
        (ValueError, lambda: optim.Rprop([p], etas=(0.5, 0.9))),
        (ValueError, lambda: optim.LBFGS([{"params": p}, {"params": z}])),
        (ValueError, lambda: optim.SparseAdam([p], lr=0.0)),
        (ValueError, lambda: optim.SparseAdam([z])),
    ]:
        with pytest.raises(error):
            call()
