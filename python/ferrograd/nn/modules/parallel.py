"""Modules that torch spreads over accelerators, of which there are none here."""

from ferrograd.nn.modules.module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """Calls the module: with nothing but the CPU torch does no more. Names in its state begin with ``module.``."""

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.module = module
        self.device_ids = []

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)
