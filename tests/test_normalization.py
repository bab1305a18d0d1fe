"""The normalizing layers: running averages, statistics, sizes at which loops change, and what is refused."""

import numpy as np
import pytest

import ferrograd
from ferrograd.nn import functional

EPS = 1e-5


def tensor(array):
    return ferrograd.from_numpy(np.asarray(array))


def random(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def standardized(x, axes, eps=EPS):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axes, keepdims=True) + eps)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize(
    "shape", [(40, 3), (3000, 5), (2, 3, 1500), (70, 2, 17), (3, 4, 9, 11), (1, 1, 4000)], ids=lambda shape: "x".join(map(str, shape))
)
def test_long_channels(shape, dtype, tolerance):
    """Sizes around those of the lanes and stretches of the kernel, and enough work for several threads."""
    x = random(*shape, dtype=dtype) * 3 + 50
    axes = (0, *range(2, x.ndim))
    y = functional.batch_norm(tensor(x), None, None, training=True)
    np.testing.assert_allclose(y.numpy(), standardized(x.astype(float), axes), atol=tolerance)
    rows = functional.layer_norm(tensor(x), shape[1:])
    np.testing.assert_allclose(rows.numpy(), standardized(x.astype(float), tuple(range(1, x.ndim))), atol=tolerance)


@pytest.mark.parametrize("shape", [(90, 7), (5, 4, 600), (33, 6, 5)])
def test_gradients_of_many(shape):
    """The fused derivative against what the ops that it stands for give."""
    leaves = [tensor(random(*size, seed=i)).requires_grad_() for i, size in enumerate((shape, shape[1:2], shape[1:2]))]
    g = tensor(random(*shape, seed=9))

    def composed(x, weight, bias):
        axes = (0, *range(2, x.dim()))
        wide = (1, -1, *[1] * (x.dim() - 2))
        mean = x.mean(axes, keepdim=True)
        deviation = ((x - mean).square().mean(axes, keepdim=True) + EPS).sqrt()
        return (x - mean) / deviation * weight.view(wide) + bias.view(wide)

    def composed_group(x, weight, bias):
        wide = (1, -1, *[1] * (x.dim() - 2))
        parts = x.reshape(x.size(0), -1)
        mean = parts.mean(1, keepdim=True)
        deviation = ((parts - mean).square().mean(1, keepdim=True) + EPS).sqrt()
        return ((parts - mean) / deviation).reshape(x.shape) * weight.view(wide) + bias.view(wide)

    for fused, plain in [
        (lambda x, w, b: functional.batch_norm(x, None, None, w, b, training=True), composed),
        (lambda x, w, b: functional.group_norm(x, 1, w, b), composed_group),
    ]:
        got, want = (ferrograd.autograd.grad(f(*leaves), leaves, g) for f in (fused, plain))
        for a, b in zip(got, want):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-10)


def test_answers_do_not_depend_on_threads():
    x, w, g = (tensor(random(*shape, seed=i, dtype=np.float32)) for i, shape in enumerate(((64, 32, 20), (32,), (64, 32, 20))))

    def answers():
        leaves = [x.clone().requires_grad_(), w.clone().requires_grad_()]
        results = []
        for y in (functional.batch_norm(leaves[0], None, None, leaves[1], training=True), functional.group_norm(leaves[0], 4, leaves[1])):
            results += [y, *ferrograd.autograd.grad(y, leaves, g)]
        return [y.detach().numpy() for y in results]

    threads = ferrograd.get_num_threads()
    try:
        ferrograd.set_num_threads(1)
        alone = answers()
        ferrograd.set_num_threads(4)
        assert all((a == b).all() for a, b in zip(alone, answers()))
    finally:
        ferrograd.set_num_threads(threads)


def test_running_averages():
    x = random(4, 3, 5)
    mean, variance = tensor(np.full(3, 0.5)), tensor(np.full(3, 2.0))
    functional.batch_norm(tensor(x), mean, variance, training=True, momentum=0.25)
    axes = (0, 2)
    np.testing.assert_allclose(mean.numpy(), 0.75 * 0.5 + 0.25 * x.mean(axes))
    np.testing.assert_allclose(variance.numpy(), 0.75 * 2.0 + 0.25 * x.var(axes, ddof=1))
    before = mean.numpy().copy(), variance.numpy().copy()
    y = functional.batch_norm(tensor(x), mean, variance)
    assert (mean.numpy() == before[0]).all() and (variance.numpy() == before[1]).all()
    wide = (1, 3, 1)
    np.testing.assert_allclose(y.numpy(), (x - before[0].reshape(wide)) / np.sqrt(before[1].reshape(wide) + EPS))


def test_running_averages_of_instances():
    x = random(4, 3, 5)
    mean, variance = tensor(np.zeros(3)), tensor(np.ones(3))
    functional.instance_norm(tensor(x), mean, variance, momentum=0.5)
    np.testing.assert_allclose(mean.numpy(), 0.5 * x.mean(2).mean(0))
    np.testing.assert_allclose(variance.numpy(), 0.5 + 0.5 * x.var(2, ddof=1).mean(0))


def test_a_later_batch_does_not_change_a_derivative():
    x = tensor(random(4, 3)).requires_grad_()
    mean, variance = tensor(np.zeros(3)), tensor(np.ones(3))
    y = functional.batch_norm(x, mean, variance)
    functional.batch_norm(x.detach(), mean, variance, training=True, momentum=1.0)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / np.sqrt(1 + EPS))


def test_statistics_of_native_forms():
    x = random(4, 6, 5)
    y, mean, rstd = ferrograd.native_batch_norm(tensor(x), None, None, None, None, True, 0.1, EPS)
    np.testing.assert_allclose(mean.numpy(), x.mean((0, 2)))
    np.testing.assert_allclose(rstd.numpy(), 1 / np.sqrt(x.var((0, 2)) + EPS))
    assert [s.shape for s in ferrograd.native_batch_norm(tensor(x), None, None, mean, rstd, False, 0.1, EPS)[1:]] == [(0,), (0,)]
    y, mean, rstd = ferrograd.native_layer_norm(tensor(x), (5,), None, None, EPS)
    np.testing.assert_allclose(mean.numpy(), x.mean(2, keepdims=True))
    np.testing.assert_allclose(rstd.numpy(), 1 / np.sqrt(x.var(2, keepdims=True) + EPS))
    y, mean, rstd = ferrograd.native_group_norm(tensor(x), None, None, 4, 6, 5, 2, EPS)
    np.testing.assert_allclose(mean.numpy(), x.reshape(4, 2, 15).mean(2))
    np.testing.assert_allclose(rstd.numpy(), 1 / np.sqrt(x.reshape(4, 2, 15).var(2) + EPS))


def test_legit_takes_averages_or_none():
    x, mean, variance = tensor(random(4, 3)), tensor(np.zeros(3)), tensor(np.ones(3))
    want = functional.batch_norm(x, None, None, training=True).numpy()
    legit = ferrograd._native_batch_norm_legit
    for y, *_ in (
        legit(x, None, None, True, 0.1, EPS),
        legit(x, None, None, training=True, momentum=0.1, eps=EPS),
        legit(x, None, None, mean, variance, True, 0.1, EPS),
    ):
        np.testing.assert_array_equal(y.numpy(), want)
    assert mean.numpy().any()
    *_, reserve = ferrograd.ops.aten._batch_norm_with_update(x, None, None, mean, variance, 0.1, EPS)
    assert reserve.dtype == ferrograd.uint8 and reserve.shape == (0,)


def test_names_of_nodes():
    x = tensor(random(2, 4, 3)).requires_grad_()
    for y, name in (
        (functional.batch_norm(x, None, None, training=True), "NativeBatchNormBackward0"),
        (functional.layer_norm(x, (3,)), "NativeLayerNormBackward0"),
        (functional.group_norm(x, 2), "NativeGroupNormBackward0"),
        (functional.instance_norm(x), "ViewBackward0"),
        (functional.rms_norm(x, (3,)), "MulBackward0"),
    ):
        assert y.grad_fn.name() == name


def test_equal_elements():
    """Without eps, torch makes zeros of the equal elements of a channel, and NaN of those of a row."""
    x = ferrograd.ones(3, 2, dtype=ferrograd.float64)
    assert (ferrograd.batch_norm(x, None, None, None, None, True, 0.1, 0.0, False).numpy() == 0).all()
    assert np.isnan(functional.layer_norm(x, (2,), eps=0.0).numpy()).all()
    assert (functional.rms_norm(ferrograd.zeros(2, 3), (3,)).numpy() == 0).all()


def test_the_default_eps_of_rms_norm():
    for dtype in (np.float32, np.float64):
        x = np.full((1, 2), 1e-4, dtype)
        want = 1e-4 / np.sqrt(1e-8 + np.finfo(dtype).eps)
        np.testing.assert_allclose(functional.rms_norm(tensor(x), (2,)).numpy(), want, rtol=1e-5)


def test_rms_norm_of_other_dtypes():
    z = random(2, 3) + 1j * random(2, 3, seed=1)
    want = z / np.sqrt((z * z).mean(1, keepdims=True) + EPS)
    np.testing.assert_allclose(functional.rms_norm(tensor(z), (3,), eps=EPS).numpy(), want)
    x, weight = random(2, 3, dtype=np.float32), random(3, seed=1)
    y = functional.rms_norm(tensor(x), (3,), tensor(weight), EPS)
    assert y.dtype == ferrograd.float32
    np.testing.assert_allclose(y.numpy(), x / np.sqrt((x**2).mean(1, keepdims=True) + EPS) * weight, rtol=1e-5)


def test_channels_last():
    x = random(2, 4, 3, 5)
    last = tensor(x).to(memory_format=ferrograd.channels_last)
    for f in (lambda x: functional.batch_norm(x, None, None, training=True), lambda x: functional.group_norm(x, 2)):
        np.testing.assert_allclose(f(last).numpy(), f(tensor(x)).numpy())
        assert f(last).stride() == last.stride()
    assert functional.layer_norm(last, (3, 5)).is_contiguous()


def test_no_elements():
    x, weight = ferrograd.zeros(0, 3, 2, requires_grad=True), ferrograd.ones(3, requires_grad=True)
    for f in (
        lambda: functional.batch_norm(x, None, None, weight, training=True),
        lambda: functional.group_norm(x, 3, weight),
        lambda: functional.layer_norm(x, (3, 2), weight.unsqueeze(1).expand(3, 2)),
    ):
        y = f()
        assert y.shape == (0, 3, 2)
        assert all(g.numpy().sum() == 0 for g in ferrograd.autograd.grad(y.sum(), (x, weight)))


def test_transforms():
    x, weight = tensor(random(4, 3)), tensor(random(3, seed=1))

    def loss(weight, x):
        return (functional.layer_norm(x, (3,), weight) ** 3).sum()

    together = ferrograd.func.grad(loss)(weight, x)
    apart = ferrograd.vmap(ferrograd.func.grad(loss), in_dims=(None, 0))(weight, x)
    np.testing.assert_allclose(apart.sum(0).numpy(), together.numpy())
    tangent = tensor(random(3, seed=2))
    _, slope = ferrograd.func.jvp(lambda w: loss(w, x), (weight,), (tangent,))
    np.testing.assert_allclose(slope.item(), (together * tangent).sum().item())


X = ferrograd.ones(2, 4, 3)
ZEROS, ONES = ferrograd.zeros(4), ferrograd.ones(4)


@pytest.mark.parametrize(
    "error, call",
    [
        (RuntimeError, lambda: functional.batch_norm(X, None, None)),
        (RuntimeError, lambda: functional.batch_norm(X, ZEROS, None)),
        (ValueError, lambda: functional.batch_norm(X, ZEROS, None, training=True)),
        (RuntimeError, lambda: functional.batch_norm(X, ferrograd.zeros(3), ONES)),
        (RuntimeError, lambda: functional.batch_norm(X, ZEROS, ONES, ferrograd.ones(5))),
        (RuntimeError, lambda: functional.batch_norm(X, ZEROS.double(), ONES.double())),
        (RuntimeError, lambda: functional.batch_norm(X, ZEROS.clone().requires_grad_(), ONES, training=True)),
        (RuntimeError, lambda: functional.batch_norm(X, ferrograd.zeros(1).expand(4), ONES.clone(), training=True)),
        (NotImplementedError, lambda: functional.batch_norm(X.long(), None, None, training=True)),
        (ValueError, lambda: functional.batch_norm(ferrograd.ones(1, 4), None, None, training=True)),
        (ValueError, lambda: functional.batch_norm(X, None, None, training=True, eps=0)),
        (ValueError, lambda: functional.batch_norm(X, ZEROS, ONES, eps=-1.0)),
        (IndexError, lambda: functional.batch_norm(ferrograd.ones(4), None, None, training=True)),
        (TypeError, lambda: functional.batch_norm(X, None, None, training=True, momentum=None)),
        (RuntimeError, lambda: ferrograd.native_batch_norm(X[:0], None, None, None, None, True, 0.1, EPS)),
        (ValueError, lambda: functional.instance_norm(ferrograd.ones(2, 4, 1))),
        (RuntimeError, lambda: functional.instance_norm(X, use_input_stats=False)),
        (RuntimeError, lambda: functional.layer_norm(X, ())),
        (TypeError, lambda: functional.layer_norm(X, 3)),
        (RuntimeError, lambda: functional.layer_norm(X, (4,))),
        (RuntimeError, lambda: functional.layer_norm(X, (3,), ferrograd.ones(1, 3))),
        (RuntimeError, lambda: functional.layer_norm(X, (3,), ferrograd.ones(3).double())),
        (NotImplementedError, lambda: functional.layer_norm(X.long(), (3,))),
        (NotImplementedError, lambda: functional.rms_norm(X.bool(), (3,))),
        (RuntimeError, lambda: functional.rms_norm(X, (-1,))),
        (RuntimeError, lambda: functional.group_norm(X, 3)),
        (RuntimeError, lambda: functional.group_norm(X, -1)),
        (ZeroDivisionError, lambda: functional.group_norm(X, 0)),
        (RuntimeError, lambda: ferrograd.group_norm(X, 0)),
        (RuntimeError, lambda: functional.group_norm(ferrograd.ones(4), 1)),
        (RuntimeError, lambda: functional.group_norm(X, 2, ferrograd.ones(2))),
        (RuntimeError, lambda: ferrograd.native_group_norm(X, None, None, 2, 4, 2**62, 2, EPS)),
        (OverflowError, lambda: ferrograd.native_group_norm(X, None, None, -2, 4, 3, 2, EPS)),
    ],
)
def test_refused(error, call):
    with pytest.raises(error):
        call()


def test_a_changed_input_is_noticed():
    x = ferrograd.ones(3, 2, requires_grad=True)
    inner = x * 1
    y = functional.layer_norm(inner, (2,))
    inner.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
