"""RMSprop."""

from ferrograd import zeros_like
from ferrograd.optim.optimizer import _ByLists, _check_lr, _check_not_negative, _check_step, _count, _each, _number

__all__ = ["RMSprop", "rmsprop"]


def rmsprop(
    params,
    grads,
    square_avgs,
    grad_avgs,
    momentum_buffer_list,
    state_steps,
    foreach=None,
    maximize=False,
    differentiable=False,
    capturable=False,
    has_complex=False,
    *,
    lr,
    alpha,
    eps,
    weight_decay,
    momentum,
    centered,
):
    """A step for parameters with these gradients and this state, all of which are lists, empty if not used."""
    _check_step(params, state_steps, foreach, capturable, differentiable)
    lists = params, grads, state_steps, square_avgs, grad_avgs, momentum_buffer_list
    for p, g, _, square_avg, grad_avg, buffer in _each(*lists, maximize=maximize, weight_decay=weight_decay):
        square_avg.mul_(alpha).addcmul_(g, g, value=1 - alpha)
        if centered:
            grad_avg.lerp_(g, 1 - alpha)
            std = square_avg.addcmul(grad_avg, grad_avg, value=-1).sqrt_()
        else:
            std = square_avg.sqrt()
        std = std.add(eps) if differentiable else std.add_(eps)
        if momentum > 0:
            p.add_(buffer.mul_(momentum).addcdiv_(g, std), alpha=_number(-lr))
        else:
            p.addcdiv_(g, std, value=_number(-lr))


class RMSprop(_ByLists):
    """RMSprop (Hinton, 2012): steps by the gradient over the root of the average of its square.

    g = gradient + weight_decay p; v = alpha v + (1 - alpha) g²; d = g / (sqrt(v) + eps); p = p - lr d,
    or b = momentum b + d, p = p - lr b. `centered` takes the square of the average of g away from v.
    """

    _change = staticmethod(rmsprop)
    _lists = ("square_avg", "grad_avg", "momentum_buffer", "step")

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        _check_lr(lr)
        _check_not_negative(epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        options = dict(lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered, weight_decay=weight_decay)
        how = dict(capturable=capturable, foreach=foreach, maximize=maximize, differentiable=differentiable)
        super().__init__(params, options | how)

    def _begin(self, p, group):
        state = {"step": _count(0.0), "square_avg": zeros_like(p)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = zeros_like(p)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0)
