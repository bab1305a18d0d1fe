"""Adadelta."""

from ferrograd import zeros_like
from ferrograd.optim.optimizer import _ByLists, _check_lr, _check_not_negative, _check_step, _count, _each, _number

__all__ = ["Adadelta", "adadelta"]


def adadelta(
    params,
    grads,
    square_avgs,
    acc_deltas,
    state_steps,
    capturable=False,
    foreach=None,
    differentiable=False,
    has_complex=False,
    *,
    lr,
    rho,
    eps,
    weight_decay,
    maximize,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    _check_step(params, state_steps, foreach, capturable, differentiable)
    lists = params, grads, state_steps, square_avgs, acc_deltas
    for p, g, _, square_avg, acc_delta in _each(*lists, maximize=maximize, weight_decay=weight_decay):
        square_avg.mul_(rho).addcmul_(g, g, value=1 - rho)
        std = square_avg.add(eps).sqrt_()
        delta = acc_delta.add(eps).sqrt_()
        if differentiable:
            delta = delta.clone()
        delta.div_(std).mul_(g)
        acc_delta.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        p.add_(delta, alpha=_number(-lr))


class Adadelta(_ByLists):
    """Adadelta (Zeiler, 2012): steps by the gradient over the root of the average of its square, times that of the last steps.

    g = gradient + weight_decay p; v = rho v + (1 - rho) g²; d = g sqrt(u + eps) / sqrt(v + eps);
    u = rho u + (1 - rho) d²; p = p - lr d.
    """

    _change = staticmethod(adadelta)
    _lists = ("square_avg", "acc_delta", "step")

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        foreach=None,
        *,
        capturable=False,
        maximize=False,
        differentiable=False,
    ):
        _check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        _check_not_negative(epsilon=eps, weight_decay=weight_decay)
        options = dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)
        how = dict(maximize=maximize, capturable=capturable, foreach=foreach, differentiable=differentiable)
        super().__init__(params, options | how)

    def _begin(self, p, group):
        return {"step": _count(0.0), "square_avg": zeros_like(p), "acc_delta": zeros_like(p)}
