"""Optimizers: their steps against plain numpy, groups, state, hooks, and what they refuse."""

import copy
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import optim

RNG = np.random.default_rng(0)


def problem(dtype=np.float64, shapes=((4, 3), (3,), (), (0, 2), (40, 50))):
    """Parameters of several shapes, one of them transposed, and gradients for three steps."""
    values = [RNG.standard_normal(shape).astype(dtype) for shape in shapes]
    grads = [[RNG.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(3)]
    params = [ferrograd.from_numpy(v.copy()) for v in values]
    params[0] = ferrograd.from_numpy(values[0].T.copy()).t().detach()
    return values, grads, [p.requires_grad_() for p in params]


def steps(optimizer, params, grads):
    for each in grads:
        for p, g in zip(params, each):
            p.grad = ferrograd.from_numpy(g.copy())
        optimizer.step()


def sgd_in_numpy(p, grads, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    buffer = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        p = p - lr * g
    return p


def adam_in_numpy(
    p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, maximize=False, decoupled_weight_decay=False
):
    m = v = highest = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        highest = np.maximum(highest, v) if amsgrad else v
        p = p - lr * m / (1 - betas[0] ** t) / (np.sqrt(highest / (1 - betas[1] ** t)) + eps)
    return p


SGD_OPTIONS = [
    {},
    {"lr": 0.1, "weight_decay": 0.5},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "maximize": True},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
]
ADAM_OPTIONS = [
    {},
    {"lr": 0.1, "betas": (0.3, 0.6), "eps": 1e-3},
    {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True},
    {"lr": 0.1, "weight_decay": 0.1, "maximize": True, "decoupled_weight_decay": True},
]
ALL = [(optim.SGD, sgd_in_numpy, o) for o in SGD_OPTIONS] + [(optim.Adam, adam_in_numpy, o) for o in ADAM_OPTIONS]


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("optimizer, reference, options", ALL)
def test_steps(optimizer, reference, options, dtype, tolerance):
    values, grads, params = problem(dtype)
    steps(optimizer(params, **options), params, grads)
    for i, (p, value) in enumerate(zip(params, values)):
        want = reference(value.astype(np.float64), [each[i].astype(np.float64) for each in grads], **options)
        assert p.dtype == getattr(ferrograd, np.dtype(dtype).name)
        np.testing.assert_allclose(p.detach().numpy(), want, rtol=tolerance, atol=tolerance)


def test_adamw_is_adam_with_decoupled_weight_decay():
    values, grads, params = problem()
    steps(optim.AdamW(params), params, grads)
    want = adam_in_numpy(values[4], [each[4] for each in grads], weight_decay=0.01, decoupled_weight_decay=True)
    np.testing.assert_allclose(params[4].detach().numpy(), want, rtol=1e-13)


@pytest.mark.parametrize("optimizer, reference, options", ALL)
def test_recorded_steps_give_the_same(optimizer, reference, options):
    values, grads, params = problem(shapes=((4, 3), (5,)))
    _, _, leaves = problem(shapes=((4, 3), (5,)))
    for leaf, value in zip(leaves, values):
        leaf.data.copy_(ferrograd.from_numpy(value))
    changed = [leaf.clone() for leaf in leaves]
    steps(optimizer(params, **options), params, grads)
    steps(optimizer(changed, differentiable=True, **options), changed, grads)
    # As for torch, the count of steps, and with it a recorded correction, is of single precision.
    tolerance = 1e-13 if optimizer is optim.SGD else 1e-3
    for p, c, leaf in zip(params, changed, leaves):
        np.testing.assert_allclose(c.detach().numpy(), p.detach().numpy(), rtol=tolerance, atol=tolerance)
        if options.get("amsgrad"):
            # As in torch: the highest average was computed of one that has changed since.
            with pytest.raises(RuntimeError, match="inplace"):
                ferrograd.autograd.grad(c.sum(), leaf)
            continue
        (g,) = ferrograd.autograd.grad(c.sum(), leaf)
        assert g.shape == leaf.shape and (g > 0).all()


def test_a_recorded_step_can_be_differentiated_by_its_rate():
    lr = ferrograd.tensor(0.1, dtype=ferrograd.float64, requires_grad=True)
    p = ferrograd.ones(3, dtype=ferrograd.float64, requires_grad=True).clone()
    p.grad = ferrograd.full((3,), 2.0, dtype=ferrograd.float64)
    optim.SGD([p], lr=lr, differentiable=True).step()
    (g,) = ferrograd.autograd.grad(p.sum(), lr)
    assert g.item() == -6


def test_rates_as_tensors():
    for optimizer in (optim.SGD, optim.Adam):
        _, grads, params = problem(shapes=((3,),))
        twin = params[0].detach().clone().requires_grad_()
        steps(optimizer(params, lr=ferrograd.tensor([0.25])), params, grads)
        steps(optimizer([twin], lr=0.25), [twin], grads)
        np.testing.assert_allclose(params[0].detach().numpy(), twin.detach().numpy(), rtol=1e-6)
    betas = ferrograd.tensor(0.5), ferrograd.tensor([0.75])
    optimizer = optim.Adam(params, betas=betas)
    assert optimizer.defaults["betas"][1].shape == ()
    steps(optimizer, params, grads)


def test_steps_use_memory_that_is_shared_and_strided():
    memory = ferrograd.arange(12.0).reshape(2, 6)
    p, g = memory[0], memory[1]
    p.requires_grad_()
    p.grad = g
    optim.SGD([p], lr=1.0).step()
    assert memory[0].tolist() == [-6.0] * 6 and memory[1].tolist() == [6.0, 7, 8, 9, 10, 11]
    column = ferrograd.zeros(3, 2)[:, 0].requires_grad_()
    column.grad = ferrograd.ones(3)
    optim.Adam([column], lr=0.5).step()
    np.testing.assert_allclose(column.detach().numpy(), [-0.5] * 3, rtol=1e-6)


def test_writes_are_counted_as_torch_counts_them():
    p = ferrograd.ones(2, requires_grad=True)
    p.grad = ferrograd.ones(2)
    optimizer = optim.AdamW([p], amsgrad=True)
    optimizer.step()
    assert p._version == 2
    assert {k: v._version for k, v in optimizer.state[p].items()} == {"step": 1, "exp_avg": 1, "exp_avg_sq": 2, "max_exp_avg_sq": 1}
    y = p * p
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_parameters_without_gradients_stay():
    p, q = (ferrograd.ones(2, requires_grad=True) for _ in range(2))
    q.grad = ferrograd.ones(2)
    for optimizer in (optim.SGD([p, q], lr=1, momentum=0.5), optim.Adam([p, q], lr=1)):
        optimizer.step()
        assert p.tolist() == [1, 1] and list(optimizer.state) == [q]
    with pytest.raises(TypeError):
        optimizer.step(1)


def test_groups_have_options_of_their_own():
    p, q = (ferrograd.zeros(2, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": p}, {"params": [q], "lr": 10.0}], lr=1.0)
    r = ferrograd.zeros(1, requires_grad=True)
    optimizer.add_param_group({"params": (x for x in [r])})
    for x in (p, q, r):
        x.grad = ferrograd.ones_like(x)
    optimizer.step()
    assert (p.tolist(), q.tolist(), r.tolist()) == ([-1, -1], [-10, -10], [-1])
    optimizer.param_groups[0]["lr"] = 2.0
    optimizer.step()
    assert p.tolist() == [-3, -3]
    named = optim.SGD([("a", p), ("b", q)])
    assert named.param_groups[0]["param_names"] == ["a", "b"]
    with pytest.raises(ValueError, match="without names"):
        named.add_param_group({"params": [r]})


def test_zero_grad():
    p = ferrograd.ones(2, requires_grad=True)
    optimizer = optim.SGD([p])
    (p * p).sum().backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0] and not p.grad.requires_grad
    optimizer.zero_grad()
    assert p.grad is None


def test_closures():
    p = ferrograd.ones(2, requires_grad=True)
    optimizer = optim.Adam([p])

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with ferrograd.no_grad():
        assert optimizer.step(closure).item() == 2
    assert optimizer.step() is None


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1, amsgrad=True)])
def test_state_is_saved_and_loaded(make):
    _, grads, params = problem(np.float32)
    first = make(params)
    steps(first, params, grads[:2])
    twins = [p.detach().double().requires_grad_() for p in params]
    second = make(twins)
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    assert saved["param_groups"][0]["params"] == [0, 1, 2, 3, 4]
    second.load_state_dict(saved)
    for p, q in zip(params, twins):
        for key, value in first.state[p].items():
            loaded = second.state[q][key]
            assert loaded.dtype == (ferrograd.float32 if key == "step" else ferrograd.float64) and (loaded == value).all()
    steps(first, params, grads[2:])
    steps(second, twins, [[g.astype(np.float64) for g in grads[2]]])
    for p, q in zip(params, twins):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_state_that_does_not_fit():
    p, q = (ferrograd.ones(2, requires_grad=True) for _ in range(2))
    saved = optim.SGD([p]).state_dict()
    with pytest.raises(ValueError, match="different number"):
        optim.SGD([{"params": p}, {"params": q}]).load_state_dict(saved)
    with pytest.raises(ValueError, match="match the size"):
        optim.SGD([p, q]).load_state_dict(saved)
    optimizer = optim.Adam([p])
    p.grad = ferrograd.ones(2)
    optimizer.step()
    optimizer.state[p]["exp_avg"] = ferrograd.ones(3)
    with pytest.raises(RuntimeError, match="like the parameter"):
        optimizer.step()


def test_optimizers_can_be_copied_and_pickled():
    p = ferrograd.ones(2, requires_grad=True)
    p.grad = ferrograd.ones(2)
    optimizer = optim.Adam([p], lr=0.5)
    optimizer.step()
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (q,) = twin.param_groups[0]["params"]
        q.grad = ferrograd.ones(2)
        twin.step()
        assert twin.state[q]["step"].item() == 2 and q.tolist() != p.tolist()


def test_hooks():
    p = ferrograd.ones(1, requires_grad=True)
    p.grad = ferrograd.ones(1)
    optimizer, seen = optim.SGD([p], lr=1.0), []
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("pre")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("post")),
        optim.optimizer.register_optimizer_step_pre_hook(lambda o, args, kwargs: seen.append("any")),
        optimizer.register_state_dict_pre_hook(lambda o: seen.append("save")),
        optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1}),
        optimizer.register_load_state_dict_pre_hook(lambda o, state: seen.append(state["more"])),
        optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded")),
    ]
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == ["any", "pre", "post", "save", 1, "loaded"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 6 and "more" not in optimizer.state_dict()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 1)
    with pytest.raises(RuntimeError, match="tuple"):
        optimizer.step()


def test_text():
    text = repr(optim.SGD([ferrograd.ones(1, requires_grad=True)], lr=0.1))
    assert text == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n    lr: 0.1\n"
        "    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )
    groups = [{"params": ferrograd.ones(1, requires_grad=True), "lr": lr} for lr in (0.1, 0.2)]
    assert "    weight_decay: 0\n\nParameter Group 1\n    dampening: 0\n" in repr(optim.SGD(groups))


def test_what_is_refused():
    p = ferrograd.ones(2, requires_grad=True)
    q = ferrograd.ones(2, requires_grad=True)
    p.grad = ferrograd.ones(2)
    tensor = ferrograd.tensor
    for error, call in [
        (ValueError, lambda: optim.SGD([])),
        (TypeError, lambda: optim.SGD(p)),
        (TypeError, lambda: optim.SGD([1.0])),
        (TypeError, lambda: optim.SGD([{"params": {p, q}}])),
        (ValueError, lambda: optim.SGD([p * 2])),
        (ValueError, lambda: optim.SGD([{"params": p}, {"params": p}])),
        (ValueError, lambda: optim.SGD([("a", p), q])),
        (TypeError, lambda: optim.SGD([p]).add_param_group([q])),
        (ValueError, lambda: optim.SGD([p], lr=-1)),
        (ValueError, lambda: optim.SGD([p], lr=tensor([1.0, 2.0]))),
        (ValueError, lambda: optim.SGD([p], momentum=-1)),
        (ValueError, lambda: optim.SGD([p], weight_decay=-1)),
        (ValueError, lambda: optim.SGD([p], nesterov=True)),
        (RuntimeError, lambda: optim.SGD([p], fused=True, foreach=True)),
        (RuntimeError, lambda: optim.Adam([p], fused=True, differentiable=True)),
        (ValueError, lambda: optim.Adam([p], lr=-1)),
        (ValueError, lambda: optim.Adam([p], betas=(1.0, 0.5))),
        (ValueError, lambda: optim.Adam([p], betas=(0, 0.5))),
        (ValueError, lambda: optim.Adam([p], betas=(0.5, tensor(0.5)))),
        (ValueError, lambda: optim.Adam([p], eps=-1)),
        (ValueError, lambda: optim.Adam([p], lr=tensor(0.1), foreach=True)),
        (AssertionError, lambda: optim.Adam([p], capturable=True).step()),
        (NotImplementedError, lambda: optim.Optimizer([p], {}).step()),
        (ValueError, lambda: optim.Optimizer([p], {"lr": optim.optimizer.required})),
    ]:
        with pytest.raises(error):
            call()
    with pytest.warns(UserWarning, match="duplicate"):
        optim.SGD([q, q])


@pytest.mark.parametrize("cls", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Rprop, optim.Adadelta])
def test_programs_may_keep_defaults_of_their_own(cls):
    def changed(own):
        p = ferrograd.tensor([1.0, -2.0], requires_grad=True)
        optimizer = cls([p], lr=0.1)
        if own:
            optimizer.defaults.update(alpha_of_wrapper=0.5)
            optimizer.param_groups[0]["alpha_of_wrapper"] = 0.5
            optimizer.defaults.update(only_here=1)
        for _ in range(2):
            optimizer.zero_grad()
            p.square().sum().backward()
            optimizer.step()
        return p

    assert changed(True).equal(changed(False))
