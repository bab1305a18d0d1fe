"""Layers as functions."""

from ferrograd._C._nn import *  # noqa: F403
from ferrograd._C import pdist  # noqa: F401
from ferrograd._losses import cosine_similarity, pairwise_distance  # noqa: F401
from ferrograd.nn._attention import *  # noqa: F403
from ferrograd.nn._losses import *  # noqa: F403
from ferrograd.nn._normalization import *  # noqa: F403
from ferrograd.nn._vectors import *  # noqa: F403
from ferrograd.nn._grid import affine_grid, grid_sample
from ferrograd.nn._pooling import *  # noqa: F403
from ferrograd.nn._resize import interpolate, upsample, upsample_bilinear, upsample_nearest
from ferrograd.nn._activation import (
    gelu,
    gumbel_softmax,
    hardshrink,
    logsigmoid,
    prelu,
    sigmoid,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
)
from ferrograd._C import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle
from ferrograd.nn._bilinear import bilinear
from ferrograd.nn._embedding import embedding, embedding_bag
from ferrograd.nn._dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
