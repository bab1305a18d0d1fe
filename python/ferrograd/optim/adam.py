"""Adam."""

import ferrograd
from ferrograd import Tensor, view_as_real, zeros_like
from ferrograd._C import _optim
from ferrograd.optim.optimizer import (
    _ByLists,
    _check_betas,
    _check_fused,
    _check_implementation,
    _check_lr,
    _check_not_negative,
    _check_step,
    _count,
    _number,
    _scalar,
)

__all__ = ["Adam", "adam"]


def adam(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    max_exp_avg_sqs,
    state_steps,
    foreach=None,
    capturable=False,
    differentiable=False,
    fused=None,
    grad_scale=None,
    found_inf=None,
    has_complex=False,
    decoupled_weight_decay=False,
    *,
    amsgrad,
    beta1,
    beta2,
    lr,
    weight_decay,
    eps,
    maximize,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    if grad_scale is not None or found_inf is not None:
        raise RuntimeError("adam: scaled gradients are not supported")
    _check_step(params, state_steps, foreach, capturable, differentiable)
    lists = params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs if amsgrad else [], state_steps
    if True in map(Tensor.is_complex, params):
        lists = [[view_as_real(x) if x.is_complex() else x for x in some] for some in lists]
    tensors = isinstance(lr, Tensor) or isinstance(beta1, Tensor) or isinstance(weight_decay, Tensor)
    if not (differentiable or tensors):
        numbers = float(lr), (beta1, beta2), float(eps), float(weight_decay)
        _optim.adam(*lists, *numbers, bool(decoupled_weight_decay), bool(maximize))
        return
    if foreach and isinstance(lr, Tensor):
        raise RuntimeError("lr as a Tensor is not supported for capturable=False and foreach=True")
    if differentiable and any(step.requires_grad for step in state_steps):
        raise RuntimeError("`requires_grad` is not supported for `step` in differentiable mode")
    numbers = dict(lr=_scalar(lr), beta1=_scalar(beta1), beta2=_scalar(beta2), weight_decay=weight_decay, eps=eps)
    with ferrograd.set_grad_enabled(differentiable):
        _by_ops(lists, differentiable, amsgrad=amsgrad, maximize=maximize, decoupled=decoupled_weight_decay, **numbers)


def _by_ops(lists, differentiable, *, amsgrad, beta1, beta2, lr, weight_decay, eps, maximize, decoupled):
    """The same in ops, which are recorded if `differentiable`."""
    params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps = lists
    for i, (p, g, m, v, step) in enumerate(zip(params, grads, exp_avgs, exp_avg_sqs, steps)):
        g = -g if maximize else g
        step += 1
        if weight_decay != 0:
            if decoupled:
                p.mul_(1 - lr * weight_decay)
            elif differentiable and isinstance(weight_decay, Tensor) and weight_decay.requires_grad:
                g = g.addcmul_(p.clone(), weight_decay)
            else:
                g = g.add(p, alpha=_number(weight_decay))
        b1 = beta1.to(p.dtype) if isinstance(beta1, Tensor) else beta1
        m.lerp_(g, 1 - b1)
        if differentiable and isinstance(beta2, Tensor) and beta2.requires_grad:
            v.lerp_(g.square(), 1 - beta2)
        else:
            v.mul_(beta2).addcmul_(g, g, value=_number(1 - beta2))
        highest = max_exp_avg_sqs[i] if amsgrad else None
        if differentiable:
            _recorded_change(p, m, v, highest, step.clone(), lr, beta1, beta2, eps)
            continue
        count = step.item()
        step_size = lr / (1 - beta1**count)
        if amsgrad:
            v = highest.copy_(ferrograd.maximum(highest, v))
        p.addcdiv_(m, (v.sqrt() / (1 - beta2**count) ** 0.5).add_(eps), value=_number(-step_size))


def _recorded_change(p, m, v, highest, step, lr, beta1, beta2, eps):
    """The end of a step in which the number of the step is a tensor, too."""
    step_size_neg = (lr / (1 - beta1**step)).neg()
    correction2_sqrt = (1 - beta2**step).sqrt()
    if highest is not None:
        v = highest.copy_(ferrograd.maximum(highest.clone(), v))
    p.addcdiv_(m.clone(), (v.sqrt() / (correction2_sqrt * step_size_neg)).add_(eps / step_size_neg))


class Adam(_ByLists):
    """Adam (Kingma and Ba, 2014): steps by the average of the gradient over the root of the average of its square.

    g = gradient + weight_decay p; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g²;
    p = p - lr m' / (sqrt(v') + eps), where m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) at step t.
    `decoupled_weight_decay` shrinks p by lr weight_decay p instead. `amsgrad` takes the largest v so far.
    `maximize` turns the gradient around.

    `differentiable` records the step; `foreach` and `fused` make no difference, but for what they refuse.
    """

    _change = staticmethod(adam)
    _lists = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step")

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
        fused=None,
        decoupled_weight_decay=False,
    ):
        _check_options(lr, betas, eps, weight_decay, foreach and not capturable)
        options = dict(lr=lr, betas=tuple(map(_scalar, betas)), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)
        how = dict(maximize=maximize, foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused)
        super().__init__(params, options | how | dict(decoupled_weight_decay=decoupled_weight_decay))
        _check_implementation(fused, foreach, differentiable)

    def _begin(self, p, group):
        if group["fused"]:
            _check_fused(p)
        state = {"step": _count(0.0, group["fused"]), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}
        return state | {"max_exp_avg_sq": zeros_like(p)} if group["amsgrad"] else state


def _check_options(lr, betas, eps, weight_decay, only_numbers):
    if only_numbers and isinstance(lr, Tensor):
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
    _check_lr(lr)
    _check_not_negative(epsilon=eps, weight_decay=weight_decay)
    _check_betas(betas)
    if not any(isinstance(betas[0], kind) and isinstance(betas[1], kind) for kind in (float, Tensor)):
        raise ValueError("betas must be either both floats or both Tensors")
    for i in range(2):
        if isinstance(betas[i], Tensor):
            if only_numbers:
                raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
            if betas[i].numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")
