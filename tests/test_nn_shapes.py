"""Layers that pool, pad, resize, fold, shuffle or reshape: what their call is the same as."""

import numpy as np
import pytest
from nn_values import DIMS, draw

import ferrograd
from ferrograd import nn
from ferrograd.nn import functional as F

# Class, arguments, shape of the input, what the call is the same as.
CALLS = [
    ("Identity", (1, "ignored"), (2, 3), lambda x: x),
    ("Flatten", (), (2, 3, 4), lambda x: x.reshape(2, 12)),
    ("Flatten", (0, 1), (2, 3, 4), lambda x: x.reshape(6, 4)),
    ("Unflatten", (1, (2, -1)), (3, 6), lambda x: x.reshape(3, 2, 3)),
    ("ChannelShuffle", (2,), (1, 4, 2, 2), lambda x: x[:, [0, 2, 1, 3]]),
    ("PixelShuffle", (2,), (1, 4, 2, 3), lambda x: x.reshape(2, 2, 2, 3).permute(2, 0, 3, 1).reshape(1, 1, 4, 6)),
    ("PixelUnshuffle", (2,), (1, 1, 4, 6), lambda x: F.pixel_unshuffle(x, 2)),
    ("Unfold", (2,), (1, 2, 3, 4), lambda x: F.unfold(x, 2)),
    ("Fold", ((3, 4), 2), (1, 8, 6), lambda x: F.fold(x, (3, 4), 2)),
    *((f"{a}Pool{n}d", (2,), (1, 3, *[5] * n), lambda x, f=getattr(F, f"{b}_pool{n}d"): f(x, 2)) for n in DIMS
      for a, b in (("Max", "max"), ("Avg", "avg"), ("AdaptiveMax", "adaptive_max"), ("AdaptiveAvg", "adaptive_avg"))),
    *((f"{a}Pool{n}d", (2,), (3, *[5] * n), lambda x, f=getattr(F, f"{b}_pool{n}d"): f(x[None], 2)[0]) for n in DIMS
      for a, b in (("Max", "max"), ("Avg", "avg"), ("AdaptiveMax", "adaptive_max"), ("AdaptiveAvg", "adaptive_avg"))),
    *((f"LPPool{n}d", (3, 2), (1, 3, *[5] * n), lambda x, f=getattr(F, f"lp_pool{n}d"): f(x, 3.0, 2)) for n in DIMS),
    *((f"{a}Pad{n}d", (1,), (1, 2, *[3] * n), lambda x, n=n, b=b: F.pad(x, (1,) * 2 * n, b)) for n in DIMS
      for a, b in (("Circular", "circular"), ("Reflection", "reflect"), ("Replication", "replicate"), ("Zero", "constant"))),
    *((f"ConstantPad{n}d", (tuple(range(2 * n)), 2.5), (2, *[3] * n), lambda x, n=n: F.pad(x, tuple(range(2 * n)), value=2.5))
      for n in DIMS),
    ("Upsample", (4,), (1, 2, 3), lambda x: F.interpolate(x, 4)),
    ("Upsample", (None, 2), (1, 2, 3), lambda x: x.repeat_interleave(2, 2)),
    ("Upsample", (None, 1.5, "linear", False), (1, 2, 4), lambda x: F.interpolate(x, scale_factor=1.5, mode="linear")),
    ("UpsamplingNearest2d", (None, 2), (1, 2, 3, 2), lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ("UpsamplingBilinear2d", (5,), (1, 2, 3, 2), lambda x: F.interpolate(x, 5, mode="bilinear", align_corners=True)),
    ("LocalResponseNorm", (2, 0.1), (1, 4, 3), lambda x: F.local_response_norm(x, 2, 0.1)),
]  # fmt: skip


@pytest.mark.parametrize("name, arguments, shape, same", CALLS, ids=[call[0] for call in CALLS])
def test_calls(name, arguments, shape, same):
    x = draw(*shape)
    np.testing.assert_allclose(getattr(nn, name)(*arguments)(x).numpy(), same(x).numpy(), rtol=1e-9)


@pytest.mark.parametrize("n", DIMS)
def test_unpooling_puts_back_what_pooling_found(n):
    x = draw(1, 2, *[6] * n)
    values, places = getattr(nn, f"MaxPool{n}d")(2, return_indices=True)(x)
    assert ferrograd.equal(x.flatten(2).gather(2, places.flatten(2)), values.flatten(2))
    unpool = getattr(nn, f"MaxUnpool{n}d")(2)
    back = unpool(values, places)
    assert ferrograd.equal(back, ferrograd.where(back != 0, x, 0.0)) and (back != 0).sum() == 2 * 3**n
    for size in ([7] * n, [1, 2, *[7] * n]):
        assert unpool(values, places, output_size=size).shape == (1, 2, *[7] * n)
    values, places = getattr(nn, f"AdaptiveMaxPool{n}d")(1, return_indices=True)(x)
    assert values.shape == places.shape == (1, 2, *[1] * n)
    assert ferrograd.equal(places.flatten(), x.flatten(2).argmax(2).flatten())


def test_unpooling_of_padded_windows():
    values, places = nn.MaxPool1d(3, 2, 1, return_indices=True)(draw(1, 9))
    assert nn.MaxUnpool1d(3, 2, 1)(values, places).shape == (1, 9)


@pytest.mark.parametrize("n", (2, 3))
def test_fractional_pooling(n):
    x = ferrograd.rand(2, 3, *[8] * n)
    layer = getattr(nn, f"FractionalMaxPool{n}d")(2, output_ratio=0.5)
    ferrograd.manual_seed(0)
    y = layer(x)
    ferrograd.manual_seed(0)
    assert y.shape == (2, 3, *[4] * n) and ferrograd.equal(layer(x), y)
    samples = ferrograd.rand(2, 3, n)
    fixed = getattr(nn, f"FractionalMaxPool{n}d")(2, 4, _random_samples=samples)
    assert ferrograd.equal(fixed(x), fixed(x)) and list(fixed.state_dict()) == ["_random_samples"]
