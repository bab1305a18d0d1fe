"""Layers as functions."""

from ferrograd._C._nn import *  # noqa: F403
