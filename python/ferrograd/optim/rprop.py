"""Resilient backpropagation."""

from ferrograd import full_like, zeros_like
from ferrograd.optim.optimizer import _ByLists, _check_lr, _check_step, _count, _each

__all__ = ["Rprop", "rprop"]


def rprop(
    params,
    grads,
    prevs,
    step_sizes,
    state_steps,
    foreach=None,
    capturable=False,
    maximize=False,
    differentiable=False,
    has_complex=False,
    *,
    step_size_min,
    step_size_max,
    etaminus,
    etaplus,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    _check_step(params, state_steps, foreach, capturable, differentiable)
    for p, g, _, prev, step_size in _each(params, grads, state_steps, prevs, step_sizes, maximize=maximize):
        sign = g.mul(prev.clone() if differentiable else prev).sign()
        shrinks = sign.lt(0)
        factor = sign.masked_fill(sign.gt(0), etaplus).masked_fill_(shrinks, etaminus).masked_fill_(sign.eq(0), 1)
        step_size.mul_(factor).clamp_(step_size_min, step_size_max)
        g = g.masked_fill(shrinks, 0)
        p.addcmul_(g.sign(), step_size, value=-1)
        prev.copy_(g)


class Rprop(_ByLists):
    """Resilient backpropagation (Riedmiller and Braun, 1993): steps of a size that only the signs of the gradient change.

    The step of an element, `lr` at first, grows by etas[1] as long as the sign stays, up to step_sizes[1]. It shrinks by etas[0],
    down to step_sizes[0], where the sign changes; there the gradient counts as 0.
    """

    _change = staticmethod(rprop)
    _lists = ("prev", "step_size", "step")
    _kept = ("lr",)
    _pairs = {"etas": ("etaminus", "etaplus"), "step_sizes": ("step_size_min", "step_size_max")}

    def __init__(
        self,
        params,
        lr=1e-2,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50),
        *,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        _check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        options = dict(lr=lr, etas=etas, step_sizes=step_sizes)
        how = dict(foreach=foreach, maximize=maximize, differentiable=differentiable, capturable=capturable)
        super().__init__(params, options | how)

    def _begin(self, p, group):
        lr = float(group["lr"])
        return {"step": _count(0.0), "prev": zeros_like(p), "step_size": full_like(p.grad, complex(lr, lr) if p.is_complex() else lr)}
