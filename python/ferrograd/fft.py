"""Discrete Fourier transforms.

A transform is multiplied with what `norm` says: "backward", the default, multiplies the inverse with 1/n, "forward" the forward
one, "ortho" both with 1/√n.
"""

from ferrograd import _C
from ferrograd._C._fft import fftfreq, rfftfreq

_TRANSFORMS = [f"{kind}{dims}" for kind in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft") for dims in ("", "2", "n")]

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq", *_TRANSFORMS]

globals().update({name: _C._function_form(getattr(_C._fft, name), out="same kind") for name in _TRANSFORMS})
fftshift = _C._function_form(_C._fft.fftshift)
ifftshift = _C._function_form(_C._fft.ifftshift)
