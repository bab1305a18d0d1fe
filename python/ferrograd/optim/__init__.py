"""Optimizers with torch's names: each step is one pass over each parameter, with the bits that torch's steps give."""

from ferrograd.optim import adam as adam, adamw as adamw, lr_scheduler as lr_scheduler, optimizer as optimizer, sgd as sgd
from ferrograd.optim.adam import Adam
from ferrograd.optim.adamw import AdamW
from ferrograd.optim.optimizer import Optimizer
from ferrograd.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
