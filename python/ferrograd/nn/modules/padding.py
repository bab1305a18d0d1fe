"""Padding of the last one, two or three dims, as layers. `padding` is a number, or two for each dim, the last dim first."""

from ferrograd.nn import functional as F
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import _ntuple, check_input_dim, options

__all__ = [f"{kind}Pad{n}d" for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero") for n in (1, 2, 3)]


class _PadNd(Module):
    def __init__(self, padding):
        super().__init__()
        self.padding = _ntuple(2 * self._dims)(padding)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def forward(self, input):
        check_input_dim(input, (self._dims + 1, self._dims + 2))
        return F.pad(input, self.padding, self._mode)


class CircularPad1d(_CircularPadNd):
    """Pads lines with what is at their other end."""

    _dims = 1


class CircularPad2d(_CircularPadNd):
    """Pads images with what is at their other end."""

    _dims = 2


class CircularPad3d(_CircularPadNd):
    """Pads volumes with what is at their other end."""

    _dims = 3


class _ConstantPadNd(_PadNd):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return options(self, "padding", "value")


class ConstantPad1d(_ConstantPadNd):
    """Pads lines with `value`."""

    _dims = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads images with `value`."""

    _dims = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads volumes with `value`."""

    _dims = 3


class ReflectionPad1d(_PadNd):
    """Pads lines with their reflection at the first and last element."""

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_PadNd):
    """Pads images with their reflection at the first and last row and column."""

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_PadNd):
    """Pads volumes with their reflection at their faces."""

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_PadNd):
    """Pads lines with their first and last element."""

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_PadNd):
    """Pads images with their border."""

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_PadNd):
    """Pads volumes with their border."""

    _dims = 3
    _mode = "replicate"


class _ZeroPad:
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad, ConstantPad1d):
    """Pads lines with 0."""


class ZeroPad2d(_ZeroPad, ConstantPad2d):
    """Pads images with 0."""


class ZeroPad3d(_ZeroPad, ConstantPad3d):
    """Pads volumes with 0."""
