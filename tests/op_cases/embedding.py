"""Embeddings, shuffles of channels and pixels, bilinear forms."""

import numpy as np

from ferrograd.nn import functional

from .case import Input, case, places

INDEX = [[0, 2, 2], [4, 0, 1]]

for index in (INDEX, [3], 1, np.zeros((0, 2), dtype=np.int64)):
    case("embedding", lambda w, i=index: functional.embedding(places(i), w), (5, 2), numpy=lambda w, i=index: w[i])
case("embedding", lambda w: functional.embedding(places(INDEX), w), Input((5, 2), transposed=True), numpy=lambda w: w[INDEX])

FLAT, OFFSETS = [0, 2, 2, 4, 0, 1], [0, 3, 3, 5]
BAGS = [slice(0, 3), slice(3, 3), slice(3, 5), slice(5, 6)]


def _bags(w, reduce, scales=None, padding=None):
    rows = w[FLAT] * (1 if scales is None else scales[:, None])
    kept = np.array([i != padding for i in FLAT])
    return np.array([reduce(rows[bag][kept[bag]]) if kept[bag].any() else 0 * w[0] for bag in BAGS])


for mode in ("sum", "mean", "max"):
    reduce = lambda rows, mode=mode: getattr(rows, mode)(0)
    for padding in (None, 2):
        case(
            "embedding_bag",
            lambda w, mode=mode, padding=padding: functional.embedding_bag(places(FLAT), w, places(OFFSETS), mode=mode, padding_idx=padding),
            (5, 3),
            numpy=lambda w, reduce=reduce, padding=padding: _bags(w, reduce, padding=padding),
            label=f"{mode}_{padding}",
        )
for padding in (None, 2):
    case(
        "embedding_bag",
        lambda w, s, padding=padding: functional.embedding_bag(
            places(FLAT), w, places(OFFSETS + [6]), mode="sum", per_sample_weights=s, padding_idx=padding, include_last_offset=True
        ),
        (5, 3),
        (6,),
        numpy=lambda w, s, padding=padding: _bags(w, lambda rows: rows.sum(0), s, padding),
    )


def _pixel_shuffle(x, r):
    *batch, c, h, w = x.shape
    y = x.reshape(*batch, c // r**2, r, r, h, w)
    b = len(batch)
    return y.transpose(*range(b), b, b + 3, b + 1, b + 4, b + 2).reshape(*batch, c // r**2, h * r, w * r)


def _pixel_unshuffle(x, r):
    *batch, c, h, w = x.shape
    y = x.reshape(*batch, c, h // r, r, w // r, r)
    b = len(batch)
    return y.transpose(*range(b), b, b + 2, b + 4, b + 1, b + 3).reshape(*batch, c * r**2, h // r, w // r)


def _channel_shuffle(x, groups):
    n, c, *rest = x.shape
    return x.reshape(n, groups, c // groups, *rest).swapaxes(1, 2).reshape(x.shape)


for shape in ((4, 2, 3), (2, 8, 2, 1), (2, 0, 4, 1, 2), Input((1, 4, 3, 2), transposed=True)):
    case("pixel_shuffle", lambda x: functional.pixel_shuffle(x, 2), shape, numpy=lambda x: _pixel_shuffle(x, 2))
for shape in ((2, 4, 6), (2, 3, 2, 4), (0, 1, 2, 2), Input((1, 4, 6, 2), transposed=True)):
    case("pixel_unshuffle", lambda x: functional.pixel_unshuffle(x, 2), shape, numpy=lambda x: _pixel_unshuffle(x, 2))
for name in ("channel_shuffle", "native_channel_shuffle"):
    for shape in ((2, 6, 2), (1, 3, 2, 2), (2, 0, 3)):
        case(name, lambda x, name=name: getattr(functional, name)(x, 3), shape, numpy=lambda x: _channel_shuffle(x, 3))

for shapes in (((2, 3), (2, 4), (5, 3, 4), (5,)), ((3,), (2,), (1, 3, 2), (1,)), ((0, 3), (0, 2), (2, 3, 2), (2,)), ((2, 1, 3), (2, 1, 2), (4, 3, 2), (4,))):
    case("bilinear", functional.bilinear, *shapes, numpy=lambda x, y, w, b: np.einsum("...i,kij,...j->...k", x, w, y) + b)
