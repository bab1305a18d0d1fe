"""Tensors, parallel CPU kernels and reverse-mode autograd with torch's names."""

from ferrograd._C import *  # noqa: F403
from ferrograd._C import Tensor
from ferrograd import autograd
from ferrograd.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
