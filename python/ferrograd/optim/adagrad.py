"""Adagrad."""

from ferrograd import full_like
from ferrograd.optim.optimizer import (
    _ByLists,
    _check_fused,
    _check_implementation,
    _check_lr,
    _check_not_negative,
    _check_step,
    _count,
    _each,
    _number,
    _scalar,
)

__all__ = ["Adagrad", "adagrad"]


def adagrad(
    params,
    grads,
    state_sums,
    state_steps,
    fused=None,
    grad_scale=None,
    found_inf=None,
    has_sparse_grad=False,
    foreach=None,
    differentiable=False,
    has_complex=False,
    *,
    lr,
    weight_decay,
    lr_decay,
    eps,
    maximize,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    if has_sparse_grad or grad_scale is not None or found_inf is not None:
        raise RuntimeError("adagrad: sparse gradients and scaled gradients are not supported")
    _check_step(params, state_steps, foreach, differentiable=differentiable)
    if fused:
        for p in params:
            _check_fused(p)
    lr = _scalar(lr)
    lists = params, grads, state_steps, state_sums
    for p, g, step, state_sum in _each(*lists, maximize=maximize, weight_decay=weight_decay):
        rate = lr / (1 + (step.item() - 1) * lr_decay)
        state_sum.addcmul_(g, g, value=1)
        std = state_sum.sqrt()
        std = std + eps if differentiable else std.add_(eps)
        p.addcdiv_(g, std, value=_number(-rate))


class Adagrad(_ByLists):
    """Adagrad (Duchi, Hazan and Singer, 2011): steps by the gradient over the root of the sum of its squares.

    g = gradient + weight_decay p; s = s + g², from `initial_accumulator_value`; p = p - lr' g / (sqrt(s) + eps), where
    lr' = lr / (1 + (t - 1) lr_decay) at step t.
    """

    _change = staticmethod(adagrad)
    _lists = ("sum", "step")
    _kept = ("initial_accumulator_value",)

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        fused=None,
    ):
        _check_lr(lr)
        _check_not_negative(lr_decay=lr_decay, weight_decay=weight_decay)
        _check_not_negative(initial_accumulator_value=initial_accumulator_value, epsilon=eps)
        options = dict(lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay)
        how = dict(foreach=foreach, maximize=maximize, differentiable=differentiable, fused=fused)
        super().__init__(params, options | dict(initial_accumulator_value=initial_accumulator_value) | how)
        _check_implementation(fused, foreach, differentiable)
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].update(self._begin(p, group))

    def share_memory(self):
        """Puts the sums into memory that processes share: not supported."""
        raise RuntimeError("Adagrad.share_memory: memory that processes share is not supported")

    def _begin(self, p, group):
        value = self.defaults["initial_accumulator_value"]
        return {"step": _count(0.0, group["fused"]), "sum": full_like(p, complex(value, value) if p.is_complex() else value)}
