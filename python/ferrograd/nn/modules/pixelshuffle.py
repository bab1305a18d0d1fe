"""Channels to pixels and back."""

from ferrograd.nn import functional as F
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import options

__all__ = ["PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """(*, c r², h, w) to (*, c, h r, w r), with r = `upscale_factor`."""

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        return options(self, "upscale_factor")


class PixelUnshuffle(Module):
    """(*, c, h r, w r) to (*, c r², h, w), with r = `downscale_factor`."""

    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        return options(self, "downscale_factor")
