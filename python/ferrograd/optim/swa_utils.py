"""Averages of parameters over the steps of a training: stochastic weight averaging and exponential moving averages."""

import itertools
import math
from copy import deepcopy

import ferrograd
from ferrograd import Tensor
from ferrograd.nn.modules.module import Module
from ferrograd.optim._schedule import _for_groups, _Formula

__all__ = [
    "AveragedModel",
    "update_bn",
    "SWALR",
    "get_ema_multi_avg_fn",
    "get_swa_multi_avg_fn",
    "get_ema_avg_fn",
    "get_swa_avg_fn",
]


def _check_decay(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay=0.999):
    """A function for `AveragedModel`: the average is decay times itself and 1 - decay times the new value."""
    _check_decay(decay)

    @ferrograd.no_grad()
    def ema_update(ema_param, current_param, num_averaged):
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_ema_multi_avg_fn(decay=0.999):
    """`get_ema_avg_fn` for lists of parameters, which change in place."""
    _check_decay(decay)

    @ferrograd.no_grad()
    def ema_update(ema_param_list, current_param_list, _):
        for average, value in zip(ema_param_list, current_param_list, strict=True):
            if average.is_floating_point() or average.is_complex():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(average * decay + value * (1 - decay))

    return ema_update


def get_swa_avg_fn():
    """A function for `AveragedModel`: the average of all values, each with the same weight."""

    @ferrograd.no_grad()
    def swa_update(averaged_param, current_param, num_averaged):
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_swa_multi_avg_fn():
    """`get_swa_avg_fn` for lists of parameters, which change in place."""

    @ferrograd.no_grad()
    def swa_update(averaged_param_list, current_param_list, num_averaged):
        for average, value in zip(averaged_param_list, current_param_list, strict=True):
            if average.is_floating_point() or average.is_complex():
                average.lerp_(value, 1 / (num_averaged + 1))
            elif isinstance(num_averaged, Tensor):
                average.addcdiv_(value - average, num_averaged + 1)
            else:
                average.add_(value - average, alpha=1.0 / (num_averaged + 1))

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages over the calls of `update_parameters`, the first of which copies.

    `avg_fn(average, value, count)` answers the new average, `multi_avg_fn(averages, values, count)` changes lists in place; without
    them all values weigh the same. Buffers are copied, or with `use_buffers` averaged, too.
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", ferrograd.tensor(0, dtype=ferrograd.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        """What the averaged model answers."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Takes the present parameters of `model` into the average."""

        def all_of(module):
            return itertools.chain(module.parameters(), module.buffers()) if self.use_buffers else module.parameters()

        pairs = [(average.detach(), value.detach()) for average, value in zip(all_of(self.module), all_of(model))]
        if self.n_averaged == 0:
            for average, value in pairs:
                average.copy_(value)
        elif self.multi_avg_fn is not None:
            # Lists of one dtype each.
            pairs.sort(key=lambda pair: str(pair[0].dtype))
            for _, some in itertools.groupby(pairs, key=lambda pair: pair[0].dtype):
                self.multi_avg_fn(*map(list, zip(*some)), self.n_averaged)
        else:
            avg_fn = self.avg_fn or get_swa_avg_fn()
            for average, value in pairs:
                average.copy_(avg_fn(average, value, self.n_averaged))
        if not self.use_buffers:
            for average, value in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(value.detach())
        self.n_averaged += 1


@ferrograd.no_grad()
def update_bn(loader, model, device=None):
    """Computes the running statistics of all batch normalizations of `model` anew, by a pass over the batches of `loader`.

    A batch is a tensor, or a list whose first element is one.
    """
    from ferrograd.nn.modules.batchnorm import _BatchNorm

    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        # The average of all batches, each with the same weight.
        module.momentum = None
    for batch in loader:
        if isinstance(batch, (list, tuple)):
            batch = batch[0]
        model(batch if device is None else batch.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(_Formula):
    """From the present rate to `swa_lr` in `anneal_epochs` epochs, along half a wave of the cosine or a line."""

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for swa_lr, group in zip(_for_groups("swa_lr", optimizer, swa_lr), optimizer.param_groups):
            group["swa_lr"] = swa_lr
        if anneal_strategy not in ["cos", "linear"]:
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t):
        """How far the rate has come at a part `t` of the way."""
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def _rates(self):
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (self.anneal_func(max(0, min(1, t / max(1, self.anneal_epochs)))) for t in (step - 1, step))
        rates = []
        for group in self.optimizer.param_groups:
            lr, swa_lr = group["lr"], group["swa_lr"]
            first = swa_lr if before == 1 else (lr - before * swa_lr) / (1 - before)
            rates.append(swa_lr * now + first * (1 - now))
        return rates
