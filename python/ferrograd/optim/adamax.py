"""Adamax."""

from ferrograd import amax, cat, maximum, zeros_like
from ferrograd.optim.optimizer import (
    _ByLists,
    _check_betas,
    _check_lr,
    _check_not_negative,
    _check_step,
    _count,
    _each,
    _number,
    _scalar,
)

__all__ = ["Adamax", "adamax"]


def adamax(
    params,
    grads,
    exp_avgs,
    exp_infs,
    state_steps,
    foreach=None,
    maximize=False,
    differentiable=False,
    capturable=False,
    has_complex=False,
    *,
    eps,
    beta1,
    beta2,
    lr,
    weight_decay,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    _check_step(params, state_steps, foreach, capturable, differentiable)
    lr = _scalar(lr)
    lists = params, grads, state_steps, exp_avgs, exp_infs
    for p, g, step, exp_avg, exp_inf in _each(*lists, maximize=maximize, weight_decay=weight_decay):
        exp_avg.lerp_(g, 1 - beta1)
        last, new = exp_inf.mul_(beta2), g.abs().add_(eps)
        if differentiable:
            # A maximum would keep `exp_inf`, which changes.
            exp_inf.copy_(amax(cat([last.unsqueeze(0), new.unsqueeze(0)]), 0))
        else:
            maximum(last, new, out=exp_inf)
        p.addcdiv_(exp_avg, exp_inf, value=_number(-lr / (1 - beta1 ** step.item())))


class Adamax(_ByLists):
    """Adamax (Kingma and Ba, 2014): Adam with the largest gradient so far in place of the average of the squares.

    g = gradient + weight_decay p; m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps);
    p = p - lr m / ((1 - beta1^t) u) at step t.
    """

    _change = staticmethod(adamax)
    _lists = ("exp_avg", "exp_inf", "step")

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        _check_lr(lr)
        _check_not_negative(epsilon=eps, weight_decay=weight_decay)
        _check_betas(betas)
        options = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        how = dict(foreach=foreach, maximize=maximize, differentiable=differentiable, capturable=capturable)
        super().__init__(params, options | how)

    def _begin(self, p, group):
        return {"step": _count(0.0), "exp_avg": zeros_like(p), "exp_inf": zeros_like(p)}
