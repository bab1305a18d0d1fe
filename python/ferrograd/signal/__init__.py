"""Signal processing: `ferrograd.signal.windows`."""

from ferrograd.signal import windows

__all__ = ["windows"]
