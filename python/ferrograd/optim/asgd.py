"""Averaged stochastic gradient descent."""

from ferrograd import as_tensor, zeros_like
from ferrograd.optim.optimizer import _ByLists, _check_lr, _check_not_negative, _check_step, _count, _each, _scalar

__all__ = ["ASGD", "asgd"]


def asgd(
    params,
    grads,
    axs,
    mus,
    etas,
    state_steps,
    foreach=None,
    maximize=False,
    differentiable=False,
    capturable=False,
    has_complex=False,
    *,
    lambd,
    lr,
    t0,
    alpha,
    weight_decay,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    _check_step(params, state_steps, foreach, capturable, differentiable)
    lr = _scalar(lr)
    lists = params, grads, state_steps, axs, mus, etas
    for p, g, step, ax, mu, eta in _each(*lists, maximize=maximize, weight_decay=weight_decay):
        count = step.item()
        if foreach:
            # In another order, and the next rate in single precision, as in torch.
            p.addcmul_(g.add(p, alpha=lambd), eta, value=-1)
            ax.addcmul_(p.sub(ax), mu)
            eta.copy_(as_tensor(lr / (1 + lambd * lr * step) ** alpha))
        else:
            rate = eta.item()
            p.mul_(1 - lambd * rate).add_(g, alpha=-rate)
            if mu.item() == 1:
                ax.copy_(p)
            else:
                ax.add_(p.sub(ax).mul_(mu))
            eta.copy_(as_tensor(lr / (1 + lambd * lr * count) ** alpha))
        mu.copy_(as_tensor(1 / max(1, count - t0)))


class ASGD(_ByLists):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992). The average is `ax` of the state.

    g = gradient + weight_decay p; p = (1 - lambd eta) p - eta g; ax = ax + mu (p - ax); and after step t
    eta = lr / (1 + lambd lr t)^alpha, mu = 1 / max(1, t - t0).
    """

    _change = staticmethod(asgd)
    _lists = ("ax", "mu", "eta", "step")

    def __init__(
        self,
        params,
        lr=1e-2,
        lambd=1e-4,
        alpha=0.75,
        t0=1e6,
        weight_decay=0,
        foreach=None,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        _check_lr(lr)
        _check_not_negative(weight_decay=weight_decay)
        options = dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay)
        how = dict(foreach=foreach, maximize=maximize, differentiable=differentiable, capturable=capturable)
        super().__init__(params, options | how)

    def _begin(self, p, group):
        return {"step": _count(0.0), "eta": _count(float(group["lr"])), "mu": _count(1.0), "ax": zeros_like(p)}
