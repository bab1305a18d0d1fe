"""The classes of torch.nn. Each file names its own in `__all__`."""

from ferrograd.nn.modules.container import *  # noqa: F403
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.rnn import *  # noqa: F403

__all__ = sorted(name for name, value in globals().items() if isinstance(value, type))
