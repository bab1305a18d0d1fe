"""Adam with Nesterov's momentum."""

from ferrograd import zeros_like
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

__all__ = ["NAdam", "nadam"]


def nadam(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    mu_products,
    state_steps,
    decoupled_weight_decay=False,
    foreach=None,
    capturable=False,
    differentiable=False,
    has_complex=False,
    maximize=False,
    *,
    beta1,
    beta2,
    lr,
    weight_decay,
    momentum_decay,
    eps,
):
    """A step for parameters with these gradients and this state, all of which are lists."""
    _check_step(params, state_steps, foreach, capturable, differentiable)
    lr = _scalar(lr)
    lists = params, grads, state_steps, exp_avgs, exp_avg_sqs, mu_products
    coupled = 0 if decoupled_weight_decay else weight_decay
    for p, g, step, exp_avg, exp_avg_sq, mu_product in _each(*lists, maximize=maximize, weight_decay=coupled):
        if weight_decay != 0 and decoupled_weight_decay:
            p.mul_(1 - lr * weight_decay)
        count = step.item()
        mu, mu_next = (beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay)) for t in (count, count + 1))
        mu_product *= mu
        exp_avg.lerp_(g, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        denom = exp_avg_sq.div(1 - beta2**count).sqrt()
        if differentiable:
            denom = denom.add(eps)
            p.addcdiv_(g * (-lr * (1.0 - mu) / (1.0 - mu_product)), denom)
            p.addcdiv_(exp_avg * (-lr * mu_next / (1.0 - mu_product * mu_next)), denom)
        else:
            denom.add_(eps)
            product = mu_product.item()
            p.addcdiv_(g, denom, value=_number(-lr * (1.0 - mu) / (1.0 - product)))
            p.addcdiv_(exp_avg, denom, value=_number(-lr * mu_next / (1.0 - product * mu_next)))


class NAdam(_ByLists):
    """Adam that looks a step ahead (Dozat, 2016).

    g = gradient + weight_decay p; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g²;
    p = p - lr ((1 - mu_t) g / (1 - M_t) + mu_(t+1) m / (1 - M_(t+1))) / (sqrt(v / (1 - beta2^t)) + eps) at step t, where
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and M_t = mu_1 ... mu_t.
    `decoupled_weight_decay` shrinks p by lr weight_decay p instead.
    """

    _change = staticmethod(nadam)
    _lists = ("exp_avg", "exp_avg_sq", "mu_product", "step")

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        _check_lr(lr)
        _check_betas(betas)
        _check_not_negative(epsilon=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        options = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        how = dict(maximize=maximize, foreach=foreach, capturable=capturable, differentiable=differentiable)
        super().__init__(params, options | dict(decoupled_weight_decay=decoupled_weight_decay) | how)

    def _begin(self, p, group):
        averages = {"exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}
        return {"step": _count(0.0), "mu_product": _count(1.0)} | averages
