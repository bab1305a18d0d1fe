"""Gradients that are too large, scaled or cut."""

import types
import warnings

import ferrograd
from ferrograd._C import Tensor

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _list(tensors):
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _grads(parameters):
    return [p.grad for p in _list(parameters) if p.grad is not None]


# `foreach` chooses between two implementations in torch; here there is one, with the same results.


@ferrograd.no_grad()
def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of several tensors as if they were one vector. `foreach` makes no difference."""
    tensors, norm_type = _list(tensors), float(norm_type)
    if not tensors:
        return ferrograd.tensor(0.0)
    norms = [ferrograd.linalg.vector_norm(x, norm_type) for x in tensors]
    total = ferrograd.linalg.vector_norm(ferrograd.stack(norms), norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. To scale the "
            "gradients by it anyway, set `error_if_nonfinite=False`"
        )
    return total


@ferrograd.no_grad()
def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Multiplies all gradients by max_norm / (total_norm + 1e-6), if that is less than 1."""
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for grad in _grads(parameters):
        grad.mul_(factor)


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales all gradients so that their norm, as if they were one vector, is `max_norm` at most; answers the norm before."""
    is_generator = isinstance(parameters, types.GeneratorType)
    parameters = _list(parameters)
    if is_generator and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    total = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The old name of `clip_grad_norm_`."""
    warnings.warn("`nn.utils.clip_grad_norm` is deprecated in favor of `nn.utils.clip_grad_norm_`.", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@ferrograd.no_grad()
def clip_grad_value_(parameters, clip_value, foreach=None):
    """Cuts each element of all gradients off to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    for grad in _grads(parameters):
        grad.clamp_(-clip_value, clip_value)
