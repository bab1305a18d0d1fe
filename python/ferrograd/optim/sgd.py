"""Stochastic gradient descent."""

import ferrograd
from ferrograd import Tensor
from ferrograd._C import _optim
from ferrograd.optim.optimizer import Optimizer, _check_fused, _check_implementation, _closure_loss, _number, _scalar

__all__ = ["SGD", "sgd"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    g = gradient + weight_decay p; b = momentum b + (1 - dampening) g, at first g; p = p - lr b,
    or p - lr (g + momentum b) with `nesterov`. `maximize` turns the gradient around.

    `differentiable` records the step; `foreach` and `fused` make no difference.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
        foreach=None,
        differentiable=False,
        fused=None,
    ):
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        options = dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
        how = dict(maximize=maximize, foreach=foreach, differentiable=differentiable, fused=fused)
        super().__init__(params, options | how)
        _check_implementation(fused, foreach, differentiable)

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("nesterov", "maximize", "differentiable", "fused"):
                group.setdefault(name, False)
            group.setdefault("foreach", None)

    def step(self, closure=None):
        """Changes the parameters by their gradients. `closure` computes the loss and its gradients again, and returns the loss."""
        loss = _closure_loss(closure)
        differentiable = self.defaults["differentiable"]
        for group in self.param_groups:
            params, grads, momentum = [], [], group["momentum"]
            for p in group["params"]:
                grad = p.grad
                if grad is not None:
                    params.append(p)
                    grads.append(grad)
            if group["fused"]:
                for p in params:
                    _check_fused(p)
            buffers = [self.state[p].get("momentum_buffer") for p in params] if momentum != 0 else []
            options = {key: group[key] for key in ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")}
            if differentiable or isinstance(group["weight_decay"], Tensor) or True in map(Tensor.is_complex, params):
                with ferrograd.set_grad_enabled(differentiable):
                    _by_ops(params, grads, buffers, **options)
            else:
                sgd(params, grads, buffers, **options)
            for p, buffer in zip(params, buffers):
                self.state[p]["momentum_buffer"] = buffer
        return loss


def sgd(
    params,
    d_p_list,
    momentum_buffer_list,
    has_sparse_grad=False,
    foreach=None,
    fused=None,
    grad_scale=None,
    found_inf=None,
    *,
    weight_decay,
    momentum,
    lr,
    dampening,
    nesterov,
    maximize,
):
    """A step for parameters with these gradients. Where a momentum buffer is None, it becomes the gradient."""
    if has_sparse_grad or grad_scale is not None or found_inf is not None:
        raise RuntimeError("sgd: sparse gradients and scaled gradients are not supported")
    numbers = float(lr), float(momentum), float(dampening), float(weight_decay), bool(nesterov), bool(maximize)
    new = [i for i, buffer in enumerate(momentum_buffer_list) if buffer is None]
    if not new:
        _optim.sgd(params, d_p_list, momentum_buffer_list, *numbers, False)
        return
    for i in new:
        momentum_buffer_list[i] = ferrograd.empty_like(d_p_list[i])
    old = [i for i in range(len(params)) if i not in set(new)]
    for some, first in ((old, False), (new, True)):
        lists = [[items[i] for i in some] for items in (params, d_p_list, momentum_buffer_list)]
        _optim.sgd(*lists, *numbers, first)


def _by_ops(params, grads, buffers, *, weight_decay, momentum, lr, dampening, nesterov, maximize):
    """The same in ops, which are recorded if gradients are on."""
    lr = _scalar(lr)
    for i, (p, g) in enumerate(zip(params, grads)):
        g = -g if maximize else g
        if weight_decay != 0:
            if isinstance(weight_decay, Tensor) and weight_decay.requires_grad:
                g = g.addcmul_(p.clone(), weight_decay)
            else:
                g = g.add(p, alpha=_number(weight_decay))
        if momentum != 0:
            if buffers[i] is None:
                buffers[i] = g.detach().clone()
            else:
                buffers[i].mul_(momentum).add_(g, alpha=1 - dampening)
            g = g.add(buffers[i], alpha=momentum) if nesterov else buffers[i]
        if isinstance(lr, Tensor) and lr.requires_grad:
            p.addcmul_(g, lr, value=-1)
        else:
            p.add_(g, alpha=_number(-lr))

