"""Rectified Adam."""

from ferrograd import zeros_like
from ferrograd.optim.optimizer import _ByLists, _check_betas, _check_lr, _check_not_negative, _check_step, _count, _each, _scalar

__all__ = ["RAdam", "radam"]


def radam(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    state_steps,
    decoupled_weight_decay=False,
    foreach=None,
    differentiable=False,
    capturable=False,
    has_complex=False,
    maximize=False,
    *,
    beta1,
    beta2,
    lr,
    weight_decay,
    eps,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    _check_step(params, state_steps, foreach, capturable, differentiable)
    lr = _scalar(lr)
    lists = params, grads, state_steps, exp_avgs, exp_avg_sqs
    coupled = 0 if decoupled_weight_decay else weight_decay
    for p, g, step, exp_avg, exp_avg_sq in _each(*lists, maximize=maximize, weight_decay=coupled):
        if weight_decay != 0 and decoupled_weight_decay:
            p.mul_(1 - lr * weight_decay)
        exp_avg.lerp_(g, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        count = step.item()
        correction2 = 1 - beta2**count
        change = exp_avg / (1 - beta1**count) * lr
        r_inf = 2 / (1 - beta2) - 1
        r = r_inf - 2 * count * beta2**count / correction2
        if r > 5.0:
            std = exp_avg_sq.sqrt()
            std = std.add(eps) if differentiable else std.add_(eps)
            change = change * (correction2**0.5 / std) * ((r - 4) * (r - 2) * r_inf / ((r_inf - 4) * (r_inf - 2) * r)) ** 0.5
        p.add_(change, alpha=-1.0)


class RAdam(_ByLists):
    """Adam that adapts its rate as far as the average of the squares is known (Liu et al., 2019).

    g, m' and v' as for `Adam`; r = r_inf - 2 t beta2^t / (1 - beta2^t) at step t, with r_inf = 2 / (1 - beta2) - 1.
    If r > 5: p = p - lr m' sqrt((r - 4) (r - 2) r_inf / ((r_inf - 4) (r_inf - 2) r)) / sqrt(v'); else p = p - lr m'.
    `decoupled_weight_decay` shrinks p by lr weight_decay p instead of adding to g.
    """

    _change = staticmethod(radam)
    _lists = ("exp_avg", "exp_avg_sq", "step")

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        _check_lr(lr)
        _check_betas(betas)
        _check_not_negative(epsilon=eps, weight_decay=weight_decay)
        options = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize, foreach=foreach)
        how = dict(capturable=capturable, decoupled_weight_decay=decoupled_weight_decay, differentiable=differentiable)
        super().__init__(params, options | how)

    def _begin(self, p, group):
        return {"step": _count(0.0), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}
