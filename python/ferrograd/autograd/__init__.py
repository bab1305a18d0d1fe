"""Differentiation: gradients of recorded operations, and what is recorded."""

from ferrograd._C import _autograd
from ferrograd._C._autograd import SavedTensor, backward
from ferrograd._checks import overridable
from ferrograd.autograd import anomaly_mode, function, grad_mode, graph
from ferrograd.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from ferrograd.autograd.function import Function
from ferrograd.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from ferrograd.autograd.grad_mode import (
    _unsafe_preserve_version_counter,
    enable_grad,
    enforce_grad_layout_policy,
    inference_mode,
    is_multithreading_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from ferrograd.autograd.variable import Variable


def variable(*args, **kwargs):
    """Torch's name of long ago; raises RuntimeError."""
    raise RuntimeError("torch.autograd.variable(...) is deprecated, use torch.tensor(...) instead")


grad = overridable(_autograd.grad)
is_grad_enabled = _autograd.is_grad_enabled
is_inference_mode_enabled = _autograd.is_inference_mode_enabled

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "anomaly_mode",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "enforce_grad_layout_policy",
    "function",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_multithreading_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]

# What few programs need, imported when it is first named.
_LAZY = {
    "forward_ad": "forward_ad",
    "functional": "functional",
}


def __getattr__(name):
    import importlib

    if name not in _LAZY:
        raise AttributeError(f"module 'ferrograd.autograd' has no attribute '{name}'")
    module = importlib.import_module(f"ferrograd.autograd.{_LAZY[name]}")
    # As in torch, `gradcheck` is the function, not the module that it is in.
    value = getattr(module, name, module)
    globals()[name] = value
    return value
