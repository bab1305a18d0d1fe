"""Adafactor."""

import ferrograd
from ferrograd import zeros_like
from ferrograd.optim.optimizer import _ByLists, _check_lr, _check_step, _count, _each, _number, _scalar

__all__ = ["Adafactor", "adafactor"]


def adafactor(
    params,
    grads,
    row_vars,
    col_vars,
    variances,
    state_steps,
    foreach=None,
    grad_scale=None,
    found_inf=None,
    has_complex=False,
    *,
    d,
    lr,
    beta2_decay,
    weight_decay,
    eps1,
    eps2,
    maximize,
):
    """A step for parameters with these gradients and this state, all of which are lists, with None where there is none."""
    if grad_scale is not None or found_inf is not None:
        raise AssertionError("Grad scaling should occur outside of optimizer.step()")
    _check_step(params, state_steps)
    lr = _scalar(lr)
    lists = params, grads, state_steps, row_vars, col_vars, variances
    for p, g, step, row_var, col_var, variance in _each(*lists, maximize=maximize):
        if eps1 is None:
            eps1 = ferrograd.finfo(p.dtype).eps
        count = step.item()
        weight = count**beta2_decay
        alpha = max(eps2, p.norm(2).item() / p.numel() ** 0.5) * min(lr, 1 / count**0.5)
        if weight_decay != 0:
            p.mul_(1 - lr * weight_decay)
        if g.dim() > 1:
            for var, dim in ((row_var, -1), (col_var, -2)):
                var.lerp_(g.norm(dim=dim, keepdim=True).square_().div_(g.size(dim)), weight)
            estimate = (row_var @ col_var).div_(row_var.mean(dim=-2, keepdim=True).clamp_(min=eps1))
        else:
            estimate = variance.lerp_(g * g, weight).clone()
        update = estimate.clamp_(min=eps1 * eps1).rsqrt_().mul_(g)
        p.add_(update, alpha=_number(-alpha / max(1.0, update.norm(2).item() / (update.numel() ** 0.5 * d))))


class Adafactor(_ByLists):
    """Adafactor (Shazeer and Stern, 2018): keeps averages of the squares' rows and columns only, and bounds the step.

    At step t: b = t^beta2_decay; of each matrix R = (1 - b) R + b rowmean(g²), C = (1 - b) C + b colmean(g²),
    V = R C / max(mean(R), eps[0]); of a vector V = (1 - b) V + b g². u = g / max(sqrt(V), eps[0]);
    p = p - max(eps[1], rms(p)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / d), after p has shrunk by lr weight_decay p.
    eps[0] None is the epsilon of the dtype.
    """

    _change = staticmethod(adafactor)
    _lists = ("row_var", "col_var", "variance", "step")
    _kept = ("differentiable",)
    _pairs = {"eps": ("eps1", "eps2")}

    def __init__(
        self, params, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, *, foreach=None, maximize=False
    ):
        _check_lr(lr)
        for wrong, what in [
            (not beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}"),
            (eps[0] is not None and not 0.0 <= eps[0], f"epsilon1 should be >= 0 but is: {eps[0]}"),
            (not 0.0 <= eps[1], f"epsilon2 should be >= 0 but is: {eps[1]}"),
            (not 1.0 <= d, f"Clipping threshold d should be >= 1 but is: {d}"),
            (not 0.0 <= weight_decay, f"weight_decay should be >= 0 but is: {weight_decay}"),
        ]:
            if wrong:
                raise ValueError(what)
        options = dict(lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay)
        super().__init__(params, options | dict(foreach=foreach, maximize=maximize))

    def _begin(self, p, group):
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        if p.dim() < 2:
            return {"step": _count(0.0), "variance": zeros_like(p)}
        *rest, rows, columns = p.shape
        return {"step": _count(0.0), "row_var": p.new_zeros([*rest, rows, 1]), "col_var": p.new_zeros([*rest, 1, columns])}
