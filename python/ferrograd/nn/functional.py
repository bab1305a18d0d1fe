"""Layers as functions."""

from ferrograd._C._nn import *  # noqa: F403
from ferrograd._losses import cosine_similarity, pairwise_distance  # noqa: F401
from ferrograd.nn._losses import *  # noqa: F403
from ferrograd.nn._resize import interpolate, upsample, upsample_bilinear, upsample_nearest
