"""Special functions."""

from ferrograd._C._special import *  # noqa: F403
