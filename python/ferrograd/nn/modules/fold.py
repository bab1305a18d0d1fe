"""Windows of images as columns, and back."""

from ferrograd.nn import functional as F
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import options

__all__ = ["Fold", "Unfold"]


class Fold(Module):
    """Images of `output_size` from columns, (n, c kh kw, windows) to (n, c, h, w): sums where windows overlap."""

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        return options(self, "output_size", "kernel_size", "dilation", "padding", "stride")


class Unfold(Module):
    """The windows of images as columns: (n, c, h, w) to (n, c kh kw, windows)."""

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        return options(self, "kernel_size", "dilation", "padding", "stride")
