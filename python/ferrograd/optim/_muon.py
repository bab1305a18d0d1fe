"""Muon."""

import math

import ferrograd
from ferrograd.optim.optimizer import _ByLists, _check_lr, _check_not_negative, _number, _scalar

__all__ = ["Muon", "muon"]


def muon(
    params,
    grads,
    muon_momentum_bufs,
    *,
    foreach=None,
    lr,
    weight_decay,
    momentum,
    nesterov,
    ns_coefficients,
    ns_steps,
    eps,
    adjust_lr_fn,
    has_complex=False,
):
    """A step for matrices with these gradients and momentum buffers, all of which are lists."""
    if foreach:
        raise RuntimeError("Foreach is not supported for Muon yet")
    if has_complex:
        raise ValueError("Complex parameters are not supported")
    lr = _scalar(lr)
    for p, g, buffer in zip(params, grads, muon_momentum_bufs, strict=True):
        if g.dim() != 2:
            raise ValueError("Param gradient must be a 2D matrix")
        buffer.lerp_(g, 1 - momentum)
        update = _orthogonal(g.lerp(buffer, momentum) if nesterov else buffer, ns_coefficients, ns_steps, eps)
        rows, columns = p.shape
        if adjust_lr_fn == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        else:
            ratio = math.sqrt(max(1, rows / columns))
        p.mul_(1 - lr * weight_decay)
        p.add_(update, alpha=_number(-lr * ratio))


def _orthogonal(g, coefficients, steps, eps):
    """A matrix with the singular vectors of `g` and singular values near 1, computed with the precision of bfloat16."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = g.size(0) > g.size(1)
    x = _rounded(g.T if tall else g)
    x = _rounded(x / _rounded(_rounded(x.norm()).clamp(min=eps)))
    for _ in range(steps):
        gram = _rounded(x @ x.T)
        x = _rounded(ferrograd.addmm(x, _rounded(ferrograd.addmm(gram, gram, gram, beta=b, alpha=c)), x, beta=a))
    return x.T if tall else x


def _rounded(x):
    """`x` in float32, with the 8 bits of bfloat16: rounded to the nearest, ties to even."""
    bits = x.float().contiguous().view(ferrograd.int32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1) & -0x10000
    return ferrograd.where(x.isfinite(), rounded.view(ferrograd.float32), x.float())


class Muon(_ByLists):
    """Muon (Jordan et al., 2024): steps by the momentum of a matrix, made nearly orthogonal. Parameters are matrices.

    b = momentum b + (1 - momentum) g, u = b, or with `nesterov` momentum b + (1 - momentum) g;
    p = (1 - lr weight_decay) p - lr' orthogonal(u). `ns_steps` steps of Newton and Schulz, X = a X + (b X Xᵀ + c (X Xᵀ)²) X with
    `ns_coefficients` a, b, c, in bfloat16 precision, pull the singular values of u towards 1.
    `adjust_lr_fn`: lr' is lr sqrt(max(1, rows / columns)), or with "match_rms_adamw" 0.2 lr sqrt(max(rows, columns)).
    """

    _change = staticmethod(muon)
    _lists = ("momentum_buffer",)
    _kept = ("differentiable",)

    def __init__(
        self,
        params,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.775, 2.0315),
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
    ):
        _check_lr(lr)
        _check_not_negative(momentum=momentum, weight_decay=weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        options = dict(lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov)
        how = dict(ns_coefficients=ns_coefficients, eps=eps, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn)
        super().__init__(params, options | how)
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}")

    def _begin(self, p, group):
        if p.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": ferrograd.zeros_like(p.grad)}
