"""Tensors, parallel CPU kernels and reverse-mode autograd with torch's names."""

from ferrograd._C import *  # noqa: F403
from ferrograd._C import Tensor
