"""Channels in another order."""

from ferrograd.nn import functional as F
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import options

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """The channels of (n, c, *) as a table of `groups` rows, read by columns."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self):
        return options(self, "groups")
