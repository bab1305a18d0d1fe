"""The classes of torch.nn. Each file names its own in `__all__`."""

from ferrograd.nn.modules.activation import *  # noqa: F403
from ferrograd.nn.modules.adaptive import *  # noqa: F403
from ferrograd.nn.modules.batchnorm import *  # noqa: F403
from ferrograd.nn.modules.channelshuffle import *  # noqa: F403
from ferrograd.nn.modules.container import *  # noqa: F403
from ferrograd.nn.modules.conv import *  # noqa: F403
from ferrograd.nn.modules.distance import *  # noqa: F403
from ferrograd.nn.modules.dropout import *  # noqa: F403
from ferrograd.nn.modules.flatten import *  # noqa: F403
from ferrograd.nn.modules.fold import *  # noqa: F403
from ferrograd.nn.modules.instancenorm import *  # noqa: F403
from ferrograd.nn.modules.linear import *  # noqa: F403
from ferrograd.nn.modules.loss import *  # noqa: F403
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.normalization import *  # noqa: F403
from ferrograd.nn.modules.padding import *  # noqa: F403
from ferrograd.nn.modules.pixelshuffle import *  # noqa: F403
from ferrograd.nn.modules.pooling import *  # noqa: F403
from ferrograd.nn.modules.rnn import *  # noqa: F403
from ferrograd.nn.modules.sparse import *  # noqa: F403
from ferrograd.nn.modules.upsampling import *  # noqa: F403

# What few programs need, imported when it is first named.
_LAZY = {
    "DataParallel": "parallel",
    "MultiheadAttention": "attention",
    **dict.fromkeys(
        ("Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"),
        "transformer",
    ),
}

__all__ = sorted([*(name for name, value in globals().items() if isinstance(value, type)), *_LAZY])


def __getattr__(name):
    import importlib

    if name not in _LAZY:
        raise AttributeError(f"module 'ferrograd.nn.modules' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"ferrograd.nn.modules.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
