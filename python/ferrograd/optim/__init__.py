"""Optimizers with torch's names, whose steps give torch's results; schedules of their rates; averages of parameters."""

import importlib

from ferrograd.optim._adafactor import Adafactor
from ferrograd.optim._muon import Muon
from ferrograd.optim._stateless import swap_in_optimizer_params_and_state
from ferrograd.optim.adadelta import Adadelta
from ferrograd.optim.adagrad import Adagrad
from ferrograd.optim.adam import Adam
from ferrograd.optim.adamax import Adamax
from ferrograd.optim.adamw import AdamW
from ferrograd.optim.asgd import ASGD
from ferrograd.optim.lbfgs import LBFGS
from ferrograd.optim.nadam import NAdam
from ferrograd.optim.optimizer import Optimizer
from ferrograd.optim.radam import RAdam
from ferrograd.optim.rmsprop import RMSprop
from ferrograd.optim.rprop import Rprop
from ferrograd.optim.sgd import SGD
from ferrograd.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "lr_scheduler",
    "swa_utils",
    "swap_in_optimizer_params_and_state",
]


for _moved in (Adafactor, Muon, swap_in_optimizer_params_and_state):
    _moved.__module__ = "ferrograd.optim"


def __getattr__(name):
    # What many programs do without is imported when it is first named.
    if name in ("lr_scheduler", "swa_utils"):
        return importlib.import_module(f"ferrograd.optim.{name}")
    raise AttributeError(f"module 'ferrograd.optim' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *__all__})
