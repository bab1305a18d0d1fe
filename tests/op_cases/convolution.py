"""Convolution, its transpose, windows of images, padding."""

import itertools

import numpy as np

import ferrograd
from ferrograd.nn import functional

from .case import Input, case


def spread(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


def windows(kernel, stride, dilation, places):
    """For each element of a window, the part of an image that the windows show there."""
    for k in itertools.product(*map(range, kernel)):
        yield k, tuple(slice(i * d, i * d + (n - 1) * s + 1, s) for i, d, n, s in zip(k, dilation, places, stride))


def convolved(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """Element of the window by element of the window."""
    rank = w.ndim - 2
    stride, padding, dilation = (spread(value, rank) for value in (stride, padding, dilation))
    x = np.pad(x, [(0, 0)] * (x.ndim - rank) + [(p, p) for p in padding])
    batched = x if x.ndim == rank + 2 else x[None]
    kernel = w.shape[2:]
    places = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(batched.shape[2:], kernel, stride, dilation)]
    outputs, inputs = w.shape[0] // groups, w.shape[1]
    y = np.zeros((batched.shape[0], w.shape[0], *places))
    for g in range(groups):
        part = batched[:, g * inputs : (g + 1) * inputs]
        of = slice(g * outputs, (g + 1) * outputs)
        for k, window in windows(kernel, stride, dilation, places):
            y[:, of] += np.einsum("nc...,oc->no...", part[(slice(None), slice(None), *window)], w[(of, slice(None), *k)])
    if b is not None:
        y += b.reshape(-1, *[1] * rank)
    return y if x.ndim == rank + 2 else y[0]


def transposed(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    rank = w.ndim - 2
    stride, padding, more, dilation = (spread(value, rank) for value in (stride, padding, output_padding, dilation))
    batched = x if x.ndim == rank + 2 else x[None]
    kernel = w.shape[2:]
    places = batched.shape[2:]
    full = [(n - 1) * s + d * (k - 1) + 1 + m for n, s, d, k, m in zip(places, stride, dilation, kernel, more)]
    inputs, outputs = w.shape[0] // groups, w.shape[1]
    y = np.zeros((batched.shape[0], outputs * groups, *full))
    for g in range(groups):
        part = batched[:, g * inputs : (g + 1) * inputs]
        of = slice(g * outputs, (g + 1) * outputs)
        for k, window in windows(kernel, stride, dilation, places):
            y[(slice(None), of, *window)] += np.einsum("nc...,co->no...", part, w[(slice(g * inputs, (g + 1) * inputs), slice(None), *k)])
    y = y[(slice(None), slice(None), *(slice(p, n - p) for p, n in zip(padding, full)))]
    if b is not None:
        y = y + b.reshape(-1, *[1] * rank)
    return y if x.ndim == rank + 2 else y[0]


def cases_of(op, reference, *shapes, label, **options):
    inputs = [Input(shape) if isinstance(shape, tuple) else shape for shape in shapes]
    case(op, lambda *tensors: getattr(functional, op)(*tensors, **options), *inputs, numpy=lambda *a: reference(*a, **options), label=label)


def convolution(op, *shapes, label, **options):
    cases_of(op, convolved, *shapes, label=label, **options)


def transposed_convolution(op, *shapes, label, **options):
    cases_of(op, transposed, *shapes, label=label, **options)


convolution("conv1d", (2, 3, 7), (4, 3, 3), (4,), label="plain")
convolution("conv1d", (4, 9), (4, 2, 3), (4,), label="all", stride=2, padding=3, dilation=2, groups=2)
convolution("conv1d", (2, 3, 8), (6, 1, 3), (6,), label="each_channel", groups=3, padding=1)
convolution("conv1d", (2, 3, 5), (2, 3, 1), label="one")
convolution("conv1d", (0, 3, 5), (2, 3, 2), (2,), label="no_samples")
convolution("conv2d", (2, 3, 5, 6), (4, 3, 3, 2), (4,), label="plain")
convolution("conv2d", (2, 4, 6, 7), (6, 2, 2, 3), (6,), label="all", stride=(2, 3), padding=(1, 2), dilation=(2, 1), groups=2)
convolution("conv2d", Input((4, 6, 5), transposed=True), Input((2, 4, 3, 3), transposed=True), label="transposed", padding=1)
convolution("conv2d", (2, 3, 6, 7), (3, 1, 3, 2), (3,), label="each_channel", groups=3, padding=1, stride=(1, 2))
convolution("conv2d", (2, 2, 7, 6), (4, 1, 2, 3), label="twice_each_channel", groups=2, padding=(0, 3), dilation=(2, 2))
convolution("conv2d", (1, 4, 10, 11), (6, 2, 1, 1), (6,), label="one", groups=2)
convolution("conv2d", (2, 2, 4, 4), (3, 2, 1, 1), (3,), label="one_strided", stride=2)
convolution("conv2d", (2, 2, 3, 1), (3, 2, 2, 3), label="mostly_padding", padding=(1, 4), dilation=(1, 2))
transposed_convolution("conv_transpose2d", (2, 2, 3, 1), (2, 3, 2, 3), label="mostly_padding", dilation=2)
convolution("conv3d", (1, 2, 3, 4, 5), (3, 2, 2, 2, 3), (3,), label="plain", padding=(1, 0, 1))
convolution("conv3d", (2, 3, 4, 4), (4, 1, 2, 1, 3), (4,), label="all", stride=(2, 1, 2), padding=1, dilation=(1, 2, 1), groups=2)

for rank, op in enumerate(["conv1d", "conv2d", "conv3d"], 1):
    x, w = (1, 2, *[5, 4, 3][:rank]), (2, 2, *[3, 2, 1][:rank])
    for padding in ("valid", "same"):

        def reference(a, b, padding=padding, rank=rank):
            if padding == "same":
                more = [k - 1 for k in b.shape[2:]]
                a = np.pad(a, [(0, 0), (0, 0)] + [(m // 2, m - m // 2) for m in more])
            return convolved(a, b)

        case(op, lambda a, b, op=op, padding=padding: getattr(ferrograd, op)(a, b, padding=padding), x, w, numpy=reference, label=padding)

transposed_convolution("conv_transpose1d", (2, 3, 5), (3, 4, 3), (4,), label="plain")
transposed_convolution("conv_transpose1d", (4, 5), (4, 2, 3), (4,), label="all", stride=3, padding=2, output_padding=2, groups=2, dilation=2)
transposed_convolution("conv_transpose2d", (2, 3, 4, 3), (3, 2, 2, 3), (2,), label="plain", padding=1)
transposed_convolution("conv_transpose2d", (2, 4, 3, 2), (4, 1, 3, 2), (2,), label="all", stride=(2, 1), padding=(1, 0), output_padding=(1, 1), groups=2, dilation=(1, 2))
transposed_convolution("conv_transpose2d", (2, 3, 4, 3), (3, 1, 3, 3), (3,), label="each_channel", groups=3, stride=2, padding=1)
transposed_convolution("conv_transpose2d", (1, 4, 10, 11), (4, 3, 1, 1), (6,), label="one", groups=2)
transposed_convolution("conv_transpose3d", (1, 2, 2, 3, 2), (2, 2, 2, 1, 3), (2,), label="plain", stride=(1, 2, 1))

for op, turned, shapes in [
    ("convolution", False, [(2, 4, 6, 5), (2, 2, 3, 2), (2,)]),
    ("convolution", True, [(2, 4, 3, 2), (4, 1, 3, 2), (2,)]),
]:
    case(
        op,
        lambda x, w, b, turned=turned: ferrograd.convolution(x, w, b, (2, 1), (1, 0), (1, 1), turned, (1, 0), 2),
        *shapes,
        numpy=lambda x, w, b, turned=turned: transposed(x, w, b, (2, 1), (1, 0), (1, 0), 2) if turned else convolved(x, w, b, (2, 1), (1, 0), 1, 2),
        label=f"turned{turned}",
    )

case(
    "conv_tbc",
    lambda x, w, b: ferrograd.conv_tbc(x, w, b, 1),
    (5, 2, 3),
    (3, 3, 4),
    (4,),
    numpy=lambda x, w, b: convolved(x.transpose(1, 2, 0), w.transpose(2, 1, 0), b, padding=1).transpose(2, 0, 1),
)


def unfolded(x, kernel, dilation=1, padding=0, stride=1):
    kernel, dilation, padding, stride = (spread(value, 2) for value in (kernel, dilation, padding, stride))
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding])
    places = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[-2:], kernel, stride, dilation)]
    parts = [x[(..., *window)] for _, window in windows(kernel, stride, dilation, places)]
    columns = np.stack(parts, axis=-3)
    return columns.reshape(*x.shape[:-3], x.shape[-3] * kernel[0] * kernel[1], places[0] * places[1])


def folded(columns, size, kernel, dilation=1, padding=0, stride=1):
    """By the matrix that unfolds."""
    count = columns.shape[-2] // np.prod(spread(kernel, 2))
    eye = np.eye(count * size[0] * size[1]).reshape(-1, count, *size)
    matrix = unfolded(eye, kernel, dilation, padding, stride).reshape(eye.shape[0], -1)
    return (columns.reshape(*columns.shape[:-2], matrix.shape[1]) @ matrix.T).reshape(*columns.shape[:-2], count, *size)


for kernel, options in [(2, {}), ((2, 3), {"dilation": (2, 1), "padding": (1, 2), "stride": (1, 2)})]:
    for shape in [(2, 2, 5, 6), (2, 5, 6), (0, 2, 5, 6)]:
        case("unfold", lambda x, k=kernel, o=options: functional.unfold(x, k, **o), shape, numpy=lambda x, k=kernel, o=options: unfolded(x, k, **o), label=f"{len(options)}_{len(shape)}_{shape[0]}")
        columns = unfolded(np.zeros(shape), kernel, **options).shape
        case("fold", lambda x, k=kernel, o=options: functional.fold(x, (5, 6), k, **o), columns, numpy=lambda x, k=kernel, o=options: folded(x, (5, 6), k, **o), label=f"{len(options)}_{len(shape)}_{shape[0]}")

MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def padded(x, pad, mode, value=None):
    """numpy's, after what is negative has been cut off: in reflect, the image of what is left."""
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.shape))]
    more = [(max(a, 0), max(b, 0)) for a, b in pairs]
    return np.pad(x, more, constant_values=value or 0.0) if mode == "constant" else np.pad(x, more, mode=MODES[mode])


for mode in ("constant", *MODES):
    for shape, pad in [((2, 4), (1, 2)), ((1, 2, 4), (3, 0)), ((2, 3, 4), (2, 1, 1, 0)), ((1, 2, 3, 4), (2, 1, 0, 2)), ((2, 2, 3, 4), (1, 2, 1, 1, 1, 0)), ((1, 2, 4), (-1, 2))]:
        case("pad", lambda x, p=pad, mode=mode: functional.pad(x, p, mode), shape, numpy=lambda x, p=pad, mode=mode: padded(x, p, mode), label=f"{mode}_{len(shape)}_{pad}".replace(" ", ""))
case("pad", lambda x: functional.pad(x, (1, 2), "reflect"), Input((4, 3), transposed=True), numpy=lambda x: padded(x, (1, 2), "reflect"), label="transposed")
case("constant_pad_nd", lambda x: ferrograd.constant_pad_nd(x, (1, -1, 2, 0), 0.5), (2, 3, 4), numpy=lambda x: padded(x, (1, -1, 2, 0), "constant", 0.5))
case("constant_pad_nd", lambda x: ferrograd.constant_pad_nd(x, (-1, -1)), (2, 3, 4), numpy=lambda x: x[:, :, 1:3], label="cut")
case("constant_pad_nd", lambda x: ferrograd.constant_pad_nd(x, ()), (), numpy=lambda x: x, label="nothing")
case("constant_pad_nd", lambda x: ferrograd.constant_pad_nd(x, (1, 1)), (0, 2), numpy=lambda x: np.zeros((0, 4)), label="empty")
