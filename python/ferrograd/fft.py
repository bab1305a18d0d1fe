"""Discrete Fourier transforms."""

from ferrograd._C._fft import *  # noqa: F403
