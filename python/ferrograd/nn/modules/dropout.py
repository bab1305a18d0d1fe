"""Layers that drop elements or channels at random in training, and do nothing in evaluation."""

from ferrograd.nn import functional as F
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import options

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _DropoutNd(Module):
    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self):
        return options(self, "p", "inplace")


class Dropout(_DropoutNd):
    """Each element 0 with probability `p`, else times 1 / (1 - p)."""

    def forward(self, input):
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Each channel of (n, c, l) or (c, l) 0 with probability `p`, else times 1 / (1 - p)."""

    def forward(self, input):
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Each channel of (n, c, h, w) 0 with probability `p`, else times 1 / (1 - p)."""

    def forward(self, input):
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Each channel of (n, c, d, h, w) or (c, d, h, w) 0 with probability `p`, else times 1 / (1 - p)."""

    def forward(self, input):
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance of what `SELU` gives; `inplace` has no effect."""

    def forward(self, input):
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """`AlphaDropout` of whole channels, which are the second dim; `inplace` has no effect."""

    def forward(self, input):
        return F.feature_alpha_dropout(input, self.p, self.training)
