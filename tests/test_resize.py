"""Images in other sizes: what the cases over all ops do not show."""

import numpy as np
import pytest

import ferrograd
from ferrograd.nn import functional
from ferrograd.ops import aten


def image(*shape, dtype=np.float32):
    return ferrograd.from_numpy(np.random.default_rng(0).integers(0, 255, shape).astype(dtype))


def test_channels_last_stays():
    x = image(2, 3, 4, 5)
    for mode in ("nearest", "bilinear"):
        y = functional.interpolate(x.contiguous(memory_format=ferrograd.channels_last), (6, 3), mode=mode)
        assert y.is_contiguous(memory_format=ferrograd.channels_last)
        assert (y == functional.interpolate(x, (6, 3), mode=mode)).all()


def test_bytes_are_rounded_after_each_dim():
    x = image(1, 1, 2, 2, dtype=np.uint8) * 0 + ferrograd.tensor([[0, 255], [100, 7]], dtype=ferrograd.uint8)
    across = [[0, 64, 191, 255], [100, 77, 30, 7]]
    want = [[(a * (3 - k) + b * k + 1.5) // 3 for a, b in zip(*across)] for k in range(4)]
    assert functional.interpolate(x, (4, 4), mode="bilinear", align_corners=False)[0, 0, [0, 3]].tolist() == across
    assert functional.interpolate(x, (2, 4), mode="bilinear", antialias=True)[0, 0].tolist() == across
    down = functional.interpolate(functional.interpolate(x, (2, 4), mode="bilinear"), (4, 4), mode="bilinear", align_corners=True)
    assert down[0, 0].tolist() == want
    assert functional.interpolate(x, (3, 3), mode="bicubic").max() == 255


def test_gradients_of_the_nearest_go_by_the_sizes():
    """Torch's output depends on the factor; its gradient does not where one size is the other, or twice the other."""
    x = ferrograd.arange(6.0).reshape(1, 1, 6).requires_grad_()
    y = functional.interpolate(x, scale_factor=1.1)
    assert y.tolist() == [[[0, 0, 1, 2, 3, 4]]]
    y.backward(ferrograd.arange(6.0).reshape(1, 1, 6))
    assert x.grad.tolist() == [[[0, 1, 2, 3, 4, 5]]]


@pytest.mark.parametrize(
    "shape, last, by_sizes",
    [
        ((1, 1, 4), False, False),
        ((1, 2, 4, 4), False, True),
        ((1, 3, 4, 60), False, True),
        ((1, 3, 4, 61), False, False),
        ((1, 3, 4, 61), True, False),
        ((1, 4, 4, 61), True, True),
        ((1, 4, 4, 61), False, False),
        ((1, 1, 2, 2, 4), False, False),
        ((1, 4, 2, 2, 4), True, True),
    ],
)
def test_the_nearest_of_small_images_go_by_the_sizes(shape, last, by_sizes):
    """And those of more than 3 channels that lie last: they are doubled whatever the factor was."""
    x = image(*shape)
    if last:
        x = x.contiguous(memory_format=ferrograd.channels_last if len(shape) == 4 else ferrograd.channels_last_3d)
    x = x.requires_grad_()
    scale = 2.24 if shape[-1] == 4 else 2.01
    y = functional.interpolate(x, scale_factor=scale)
    places = [np.arange(int(n * scale)) for n in shape[2:]]
    places = [k // 2 if by_sizes and len(k) == 2 * n else (k / np.float32(scale)).astype(int) for k, n in zip(places, shape[2:])]
    assert (y.detach().numpy() == array_at(x.detach().numpy(), places)).all()


def array_at(values, places):
    for dim, k in enumerate(places, 2):
        values = values.take(k, dim)
    return values


def test_gradients_of_a_cubic_to_the_same_size_are_copies():
    """Whatever the factor was, as in torch."""
    x = ferrograd.rand(1, 1, 10, 12, dtype=ferrograd.float64, requires_grad=True)
    y = functional.interpolate(x, scale_factor=1.04, mode="bicubic")
    assert y.shape == x.shape and not ferrograd.allclose(x, y)
    h = ferrograd.rand(*y.shape, dtype=y.dtype, requires_grad=True)
    (g,) = ferrograd.autograd.grad(y, x, h, create_graph=True)
    assert g.equal(h)
    (back,) = ferrograd.autograd.grad(g, h, x.detach())
    assert back.equal(y)


def test_dtypes():
    x = image(1, 2, 3, 3, dtype=np.uint8)
    assert functional.interpolate(x, 6).numpy().tolist() == x.numpy().repeat(2, 2).repeat(2, 3).tolist()
    for dtype in (np.int64, np.bool_, np.complex64):
        for mode in ("nearest", "bilinear", "bicubic"):
            with pytest.raises(NotImplementedError):
                functional.interpolate(image(1, 2, 3, 3, dtype=dtype), 6, mode=mode)


@pytest.mark.parametrize(
    "shape, arguments, error",
    [
        ((1, 1, 4), dict(), ValueError),
        ((1, 1, 4), dict(size=2, scale_factor=2), ValueError),
        ((1, 1, 4), dict(size=(2, 2)), ValueError),
        ((1, 1, 4), dict(scale_factor=(2, 2)), ValueError),
        ((1, 1, 4), dict(size=2.5), TypeError),
        ((1, 1, 4), dict(size="a"), TypeError),
        ((1, 1, 4), dict(size=2, align_corners=True), ValueError),
        ((1, 1, 4), dict(size=2, recompute_scale_factor=True), ValueError),
        ((1, 1, 4), dict(size=2, antialias=True), ValueError),
        ((1, 1, 4), dict(size=2, mode="bilinear"), NotImplementedError),
        ((1, 1, 4), dict(size=2, mode="none"), NotImplementedError),
        ((1, 4), dict(size=2), NotImplementedError),
        ((1, 1, 4, 4), dict(size=2, mode="lanczos"), ValueError),
        ((1, 1, 4), dict(size=0), RuntimeError),
        ((1, 1, 4), dict(size=-3), RuntimeError),
        ((1, 1, 0), dict(size=2), RuntimeError),
        ((1, 0, 4), dict(size=2), RuntimeError),
        ((1, 1, 4), dict(scale_factor=0.1), RuntimeError),
        ((1, 1, 4), dict(size=2**61), RuntimeError),
        ((1, 1, 4), dict(size=2**50), MemoryError),
        ((1, 1, 4), dict(scale_factor=float("nan")), (RuntimeError, ValueError)),
    ],
    ids=str,
)
def test_bad_arguments(shape, arguments, error):
    with pytest.raises(error):
        functional.interpolate(image(*shape), **arguments)


def test_no_images_at_all():
    assert functional.interpolate(image(0, 2, 4), 6).shape == (0, 2, 6)
    # As many places as no table has room for.
    assert functional.interpolate(image(0, 2, 4), 2**40).shape == (0, 2, 2**40)


def test_factors_of_any_size():
    x = image(1, 1, 4, 4)
    for scale in (1e-300, 1e300, float("inf"), float("nan"), -1.0, 0.0):
        assert aten._upsample_bilinear2d_aa(x, [3, 3], False, scale, scale).shape == (1, 1, 3, 3)
        assert ferrograd._C._nn._upsample(x, "bicubic2d", [3, 3], False, [scale, scale]).shape == (1, 1, 3, 3)
        assert ferrograd._C._nn._upsample(x, "nearest2d", [3, 3], False, [scale, scale]).shape == (1, 1, 3, 3)


def test_other_names():
    x = image(1, 1, 4, 4)
    for name, arguments in (("upsample", {}), ("upsample_nearest", {}), ("upsample_bilinear", dict(mode="bilinear", align_corners=True))):
        with pytest.warns(UserWarning, match="deprecated"):
            y = getattr(functional, name)(x, 6)
        assert (y == functional.interpolate(x, 6, **arguments)).all()


def test_nodes():
    x = image(1, 1, 4, 4).requires_grad_()
    y = functional.interpolate(x, 6, mode="bicubic", antialias=True)
    assert type(y.grad_fn).__name__ == "UpsampleBicubic2DAaBackward0" or y.grad_fn.name() == "UpsampleBicubic2DAaBackward0"
    g, = ferrograd.autograd.grad((y * y).sum(), x, create_graph=True)
    assert g.grad_fn.name() == "UpsampleBicubic2DAaBackwardBackward0"


def test_slice():
    x = image(3, 4)
    assert (aten.slice(x, 1, 1, 4, 2) == x[:, 1:4:2]).all()
    assert (aten.slice.Tensor(x, -2, None, -1) == x[:-1]).all()
    with pytest.raises(IndexError):
        aten.slice(x, 2)
    for step in (0, -1):
        with pytest.raises(RuntimeError):
            aten.slice(x, 0, None, None, step)
    with pytest.raises(RuntimeError):
        aten.slice(image())
