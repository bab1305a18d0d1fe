"""Writes between an op and its backward: refused where torch saves what was written to, and nowhere else."""

import gc
import weakref

import numpy as np
import pytest

import ferrograd
from ferrograd import masked
from ferrograd.nn import functional as F

linalg, aten = ferrograd.linalg, ferrograd.ops.aten


def real(*shape, grad=True):
    return (ferrograd.rand(*shape, dtype=ferrograd.float64) + 0.5).requires_grad_(grad)


def whole(*values):
    return ferrograd.tensor(values)


def lower():
    return (ferrograd.eye(3, dtype=ferrograd.float64) + ferrograd.tril(real(3, 3, grad=False))).requires_grad_()


M, V = (lambda: real(3, 3)), (lambda: real(3))
IMAGE = lambda *size: lambda: real(1, 2, *size)  # noqa: E731
CONSTANT = lambda: real(3, grad=False)  # noqa: E731
NUMBERS = lambda: whole(1, 2, 3)  # noqa: E731

RNN_CELL = lambda x, h, w, v: ferrograd.rnn_tanh_cell(x, h, w, v)  # noqa: E731

# A call, its tensors, and which of these (or "y", the result) must not be written to. Rules here need less than torch's.
REFUSED = {
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), [IMAGE(4)], [0]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [IMAGE(4, 4)], [0]),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), [IMAGE(2, 2, 2)], [0]),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 2), [IMAGE(4)], [0]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), [IMAGE(4, 4)], [0]),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2), [IMAGE(2, 2, 2)], [0]),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, 2), [IMAGE(4, 4)], [0]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 2), [IMAGE(4, 4)], [0]),
    "fractional_max_pool2d": (lambda x: F.fractional_max_pool2d(x, 2, output_size=2), [IMAGE(4, 4)], [0]),
    "area": (lambda x: F.interpolate(x, 2, mode="area"), [IMAGE(4, 4)], [0]),
    "reflect": (lambda x: F.pad(x, (1, 1), mode="reflect"), [IMAGE(4)], [0]),
    "replicate": (lambda x: F.pad(x, (1, 1), mode="replicate"), [IMAGE(4)], [0]),
    "nll_loss": (lambda x, t: F.nll_loss(x, t), [M, lambda: whole(0, 1, 2)], [0, 1]),
    "multilabel_margin_loss": (lambda x, t: F.multilabel_margin_loss(x, t), [V, lambda: whole(0, -1, 1)], [0, 1]),
    "conv of a constant kernel": (F.conv1d, [IMAGE(4), lambda: real(2, 2, 2, grad=False)], [0, 1]),
    "conv of constants": (F.conv1d, [lambda: real(1, 2, 4, grad=False), lambda: real(2, 2, 2)], [0, 1]),
    "conv_transpose": (F.conv_transpose1d, [IMAGE(4), lambda: real(2, 2, 2, grad=False)], [0, 1]),
    "integers": (lambda x, n: x * n, [V, NUMBERS], [1]),
    "integers below": (lambda x, n: x / n, [V, NUMBERS], [1]),
    "float32": (lambda x, w: x * w, [lambda: ferrograd.rand(3, requires_grad=True), V], [0, 1]),
    "exponents": (lambda x, n: x**n, [V, NUMBERS], [0, 1, "y"]),
    "a constant exponent": (lambda x, w: x**w, [V, CONSTANT], [0, 1, "y"]),
    "addcmul": (lambda x, n: ferrograd.addcmul(x, x, n), [V, NUMBERS], [1]),
    "clamp": (lambda x, n: x.clamp(n), [V, NUMBERS], [0, 1]),
    "sgn": (lambda x: x.sgn(), [V], [0, "y"]),
    "angle": (lambda x: x.angle(), [V], [0]),
    "complex": (ferrograd.complex, [V, V], [0, 1]),
    "copysign": (lambda x, w: x.copysign(w), [V, V], [0, "y"]),
    "prod": (lambda x: x.prod(), [lambda: ferrograd.tensor([0.0, 1, 2], requires_grad=True)], [0, "y"]),
    "prod of one": (lambda x: x.prod(), [lambda: ferrograd.tensor(2.0, requires_grad=True)], [0, "y"]),
    "norm of 0": (lambda x: linalg.vector_norm(x, 0), [V], [0, "y"]),
    "norm of 1": (lambda x: linalg.vector_norm(x, 1), [V], [0, "y"]),
    "dist": (lambda x, w: ferrograd.dist(x, w), [V, V], [0, 1, "y"]),
    "pdist": (lambda x: ferrograd.pdist(x), [M], [0, "y"]),
    "cummax": (lambda x: x.cummax(0)[0], [V], [0]),
    "gather": (lambda x, i: x.gather(0, i), [V, lambda: whole(0, 1)], [0, 1]),
    "take": (lambda x, i: x.take(i), [M, lambda: whole(0, 1)], [0, 1]),
    "masked_select": (lambda x, m: x.masked_select(m), [V, lambda: whole(True, False, True)], [0, 1]),
    "index_add": (lambda x, i, s: x.index_add(0, i, s), [V, lambda: whole(0, 1), lambda: real(2)], [1, 2]),
    "index_add alpha": (lambda x, i, s: x.index_add(0, i, s, alpha=2), [V, lambda: whole(0, 1), lambda: real(2)], [1, 2]),
    "index_copy": (lambda x, i, s: x.index_copy(0, i, s), [V, lambda: whole(0, 1), lambda: real(2)], [1, 2]),
    "put": (lambda x, i, s: x.put(i, s), [V, lambda: whole(0, 1), lambda: real(2)], [1, 2]),
    "scatter_reduce": (lambda x, i, s: x.scatter_reduce(0, i, s, "sum"), [V, lambda: whole(0, 1), lambda: real(2)], [0, 1, 2, "y"]),
    "div floor": (lambda x, w: x.div(w, rounding_mode="floor"), [V, V], [0, 1]),
    "fft": (lambda x: ferrograd.fft.rfft(x), [V], [0]),
    "grid_sample": (lambda x, grid: F.grid_sample(x, grid, align_corners=False), [IMAGE(2, 2), lambda: real(1, 2, 2, 2, grad=False)], [0, 1]),
    "addbmm": (lambda x, a, b: x.addbmm(a, b), [M, lambda: real(2, 3, 3), lambda: real(2, 3, 3)], [1, 2]),
    "solve": (lambda a, b: linalg.solve(a, b), [lambda: lower().detach(), M], [0, "y"]),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b, upper=False), [lambda: lower().detach(), M], [0, "y"]),
    "cholesky_solve": (lambda b, a: b.cholesky_solve(a), [M, lower], [0, 1, "y"]),
    "slogdet": (lambda a: linalg.slogdet(a)[1], [lower], [0]),
    "eigvalsh": (lambda a: linalg.eigvalsh(a), [lower], ["y"]),
    "svdvals": (lambda a: linalg.svdvals(a), [lower], ["y"]),
    "householder_product": (lambda a, t: linalg.householder_product(a, t), [M, V], [0, 1, "y"]),
    "ldexp": (lambda x, e: x.ldexp(e), [V, NUMBERS], [1, "y"]),
    "ldexp by exponents": (lambda x, e: x.ldexp(e), [CONSTANT, V], ["y"]),
    "ldexp of both": (lambda x, e: x.ldexp(e), [V, V], [1, "y"]),
    "nextafter": (lambda x, w: x.nextafter(w), [V, CONSTANT], [0, 1]),
    "nextafter to": (lambda x, w: x.nextafter(w), [CONSTANT, V], []),
    "rdiv": (lambda x, w: x.__rdiv__(w), [V, V], [1]),
    "lerp of a constant": (lambda x, w, s: x.lerp(w, s), [CONSTANT, CONSTANT, V], [0, 1, 2]),
    "lerp by a constant": (lambda x, w, s: x.lerp(w, s), [V, V, CONSTANT], [2]),
    "gather of none": (lambda x, i: x.gather(0, i), [V, lambda: whole().long()], [0, 1]),
    "gather of one": (lambda x, i: x.gather(0, i), [lambda: ferrograd.tensor(2.0, requires_grad=True), lambda: whole(0)], [0, 1]),
    "combinations": (lambda x: ferrograd.combinations(x), [V], [0]),
    "softmax_backward": (lambda g, y: aten._softmax_backward_data(g, y, 0, g.dtype), [V, CONSTANT], [0, 1]),
    "log_softmax_backward": (lambda g, y: aten._log_softmax_backward_data(g, y, 0, g.dtype), [V, CONSTANT], [0, 1]),
    "native_dropout_backward": (
        lambda g, m: aten.native_dropout_backward(g, m, 2.0),
        [V, lambda: whole(True, False, True)],
        [0, 1],
    ),
    "segment_reduce": (lambda x, n: ferrograd.segment_reduce(x, "sum", lengths=n), [V, lambda: whole(1, 2)], [0, 1, "y"]),
    "masked_index": (
        lambda x, m, i: ferrograd._unsafe_masked_index(x, m, [i], 0),
        [V, lambda: whole(True, False), lambda: whole(0, 9)],
        [1, 2],
    ),
    "masked_index_put": (
        lambda x, m, i, s: ferrograd._unsafe_masked_index_put_accumulate(x, m, [i], s),
        [V, lambda: whole(True, False), lambda: whole(0, 9), lambda: real(2)],
        [1, 2],
    ),
    "masked_index_put of constants": (
        lambda x, m, i, s: ferrograd._unsafe_masked_index_put_accumulate(x, m, [i], s),
        [V, lambda: whole(True, False), lambda: whole(0, 9), lambda: real(2, grad=False)],
        [2],
    ),
    # A copy of what is not in order is saved: all batches are one matrix. Both are to be in order if the product is one number.
    "matmul of a matrix": (lambda a, b: a @ b, [lambda: real(2, 3), lambda: real(4, 3, 2)], [0]),
    "matmul of a vector": (lambda a, b: a @ b, [V, lambda: real(4, 3, 2)], [0]),
    "matmul of a constant matrix": (lambda a, b: a @ b, [lambda: real(2, 3, grad=False), lambda: real(4, 3, 2)], [0]),
    "tensordot": (lambda a, b: ferrograd.tensordot(a, b, ([0, 1], [2, 0])), [lambda: real(2, 3), lambda: real(3, 1, 2)], [0, 1]),
    "tensordot to vectors": (lambda a, b: ferrograd.tensordot(a, b, ([0, 1], [2, 0])), [lambda: real(2, 3), lambda: real(3, 2, 2)], [0]),
    # Of three the first two, if that is as much work.
    "multi_dot": (lambda a, b, c: linalg.multi_dot([a, b, c]), [M, lambda: M().detach(), lambda: M().detach()], [1, 2]),
    "addmv": (lambda x, a, b: x.addmv(a, b), [V, M, V], [1, 2]),
    "leaky_relu_": (lambda x: F.leaky_relu_(x * 1), [V], ["y"]),
    "elu_": (lambda x: F.elu_(x * 1), [V], ["y"]),
    "selu_": (lambda x: F.selu_(x * 1), [V], ["y"]),
    "sgn_": (lambda x: (x * 1).sgn_(), [V], ["y"]),
    "cross_entropy": (F.cross_entropy, [M, lambda: whole(0, 1, 2)], [1]),
    "cross_entropy smoothed": (lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), [M, lambda: whole(0, 1, 2)], [1]),
    "binary_cross_entropy of constants": (F.binary_cross_entropy, [lambda: real(3, grad=False) / 2, V], [0, 1]),
    "logits that are constants": (F.binary_cross_entropy_with_logits, [CONSTANT, V], [0, 1]),
    "ctc_loss": (lambda x: F.ctc_loss(x, whole(1, 2), whole(3), whole(2), reduction="none"), [lambda: real(3, 1, 3)], [0, "y"]),
    "prelu of a constant": (F.prelu, [CONSTANT, lambda: real(1)], [0, 1]),
    "embedding_bag": (
        lambda x, w: F.embedding_bag(whole(0, 1, 2), x, whole(0, 2), mode="sum", per_sample_weights=w),
        [lambda: real(3, 3, grad=False), V],
        [0, 1],
    ),
    "batch_norm": (lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, True), [M, CONSTANT, CONSTANT, V, V], [0, 1, 2, 3]),
    "batch_norm in evaluation": (F.batch_norm, [M, CONSTANT, CONSTANT, V, V], [0, 1, 2, 3]),
    "instance_norm": (lambda x, m, v: F.instance_norm(x, m, v), [lambda: real(2, 3, 4), CONSTANT, CONSTANT], [0]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (3,), w, b), [M, V, V], [0, 1, 2]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 1, w, b), [M, V, V], [0, 1]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), [M, V], [0, 1]),
    "rms_norm of a constant": (lambda x, w: F.rms_norm(x, (3,), w), [lambda: real(3, 3, grad=False), V], []),
    "bilinear": (F.bilinear, [M, M, lambda: real(2, 3, 3), lambda: real(2)], [0, 1, 2]),
    "bilinear of a constant": (F.bilinear, [lambda: real(3, 3, grad=False), M, lambda: real(2, 3, 3, grad=False)], [0, 2]),
    "attention": (F.scaled_dot_product_attention, [IMAGE(3, 4)] * 3 + [lambda: real(3, 3, grad=False)], [0, 1, 2, 3, "y"]),
    "attention in steps": (F.scaled_dot_product_attention, [M, M, M, M], [2]),
    "attention with a step": (F.scaled_dot_product_attention, [IMAGE(3, 4)] * 3 + [M], [2]),
    "rrelu": (lambda x: F.rrelu(x, training=True), [V], [0]),
    "rrelu of a copy": (lambda x: F.rrelu(x.t()), [M], [0]),
    "logsigmoid of a copy": (lambda x: F.logsigmoid(x.t()), [M], [0]),
    "conv_tbc": (
        lambda x, w, b: F.conv_tbc(x, w, b),
        [lambda: real(3, 1, 2), lambda: real(2, 2, 2, grad=False), lambda: real(2)],
        [0, 1, 2],
    ),
    "pdist of a copy": (lambda x: ferrograd.pdist(x.t()), [M], ["y"]),
    "group_norm of a copy": (lambda x, w: F.group_norm(x.t(), 1, w[::2]), [M, lambda: real(6)], []),
    "nll_loss of a copy": (lambda x, t: F.nll_loss(x.mT, t.mT), [lambda: real(2, 2, 3), lambda: whole([0, 1], [2, 1])], []),
    "embedding_bag of copies": (
        lambda x, i, o: F.embedding_bag(i[::2], x, o[::2]),
        [M, lambda: whole(0, 0, 1, 1), lambda: whole(0, 0, 1, 1)],
        [],
    ),
    "rnn_cell": (RNN_CELL, [M, M, M, M], [0, 1, 2, 3, "y"]),
    "rnn_cell, constant weights": (RNN_CELL, [M, M, lambda: real(3, 3, grad=False), lambda: real(3, 3, grad=False)], [2, 3, "y"]),
    "rnn_cell of a constant state": (RNN_CELL, [M, lambda: real(3, 3, grad=False), M, lambda: real(3, 3, grad=False)], [0, 2, "y"]),
    "gru_cell of a constant state": (
        lambda x, h, w, v: ferrograd.gru_cell(x, h, w.repeat(3, 1), v.repeat(3, 1)),
        [M, lambda: real(3, 3, grad=False), M, lambda: real(3, 3, grad=False)],
        [0],
    ),
    "masked of its shape": (lambda x, m: masked.sum(x, mask=m), [V, lambda: whole(True, False, True)], [1]),
    "masked": (lambda x, m: masked.sum(x, mask=m), [M, lambda: whole(True, False, True)], []),
}


def write(x):
    with ferrograd.no_grad():
        if x.dtype == ferrograd.bool:
            x.logical_not_()
        else:
            x.add_(0)


@pytest.mark.parametrize("name, place", [(name, place) for name in REFUSED for place in (None, *range(len(REFUSED[name][1])), "y")])
def test_what_is_refused(name, place):
    call, makers, refused = REFUSED[name]
    tensors = [make() for make in makers]
    y = call(*tensors)
    gradient = ferrograd.ones_like(y)
    if place is not None:
        write(y if place == "y" else tensors[place])
    if place in refused:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward(gradient)
    else:
        y.backward(gradient)


def test_memory_that_is_gone_was_not_written_to():
    x = real(1, 1, 4, 4)
    y = F.max_pool2d(x * 1, 2)
    y.sum().backward()
    assert x.grad.sum() == 4


@pytest.mark.parametrize("op, keeps", [(lambda h: h.take(whole(0)), False), (lambda h: h * h, True)])
def test_what_is_watched_is_not_kept(op, keeps):
    """Taking holds places, not its input, whose memory is the array's here."""
    array = np.ones((1, 1, 4, 4))
    h, alive = ferrograd.from_numpy(array), weakref.ref(array)
    h += real(1)
    y = op(h)
    del h, array
    gc.collect()
    assert (alive() is not None) == keeps and y.requires_grad


def test_views_of_a_written_base_that_are_roots():
    """Outputs of ops with several views are of no more use once their memory has been written to, also as where backward begins."""
    for split in (lambda x: x.split(2), lambda x: x.chunk(2), lambda x: x.view(2, 2).unbind()):
        x = real(4)
        a, _ = split(x)
        write(x)
        for run in (lambda: ferrograd.autograd.grad(a, x, ferrograd.ones(2)), lambda: a.backward(ferrograd.ones(2))):
            with pytest.raises(RuntimeError, match="is a view and its base or another view of its base has been modified inplace"):
                run()


@pytest.mark.parametrize("shape, target", [((3, 4), (0, 3, 1)), ((40,), 7), ((2, 3, 70), [[1] * 70, [2] * 70])])
def test_cross_entropy_is_of_what_it_saw(shape, target):
    """Its derivative, once and again, is that at the input before it was written to."""
    target = ferrograd.tensor(target)
    x = real(*shape)
    softmax = x.detach().softmax(min(len(shape) - 1, 1))
    loss = F.cross_entropy(x, target, reduction="sum")
    with ferrograd.no_grad():
        x.mul_(3).sub_(1)
    (g,) = ferrograd.autograd.grad(loss, x, create_graph=True)
    right = F.one_hot(target, softmax.shape[min(len(shape) - 1, 1)])
    expected = softmax - (right.movedim(-1, 1) if len(shape) == 3 else right)
    assert ferrograd.allclose(g, expected)
    assert ferrograd.equal(ferrograd.autograd.grad(loss, x, retain_graph=True)[0], g.detach())
    # The gradient of sum(g v) is p v - p sum(p v).
    v = ferrograd.rand_like(g)
    (twice,) = ferrograd.autograd.grad(g, x, v)
    dim = min(len(shape) - 1, 1)
    assert ferrograd.allclose(twice, softmax * v - softmax * (softmax * v).sum(dim, keepdim=True))


def test_later_batches_do_not_spoil_earlier_ones():
    """Batch normalization moves its averages without counting it, as torch does."""
    norm = ferrograd.nn.BatchNorm1d(3)
    before = norm.running_mean._version
    first, second = norm(ferrograd.rand(4, 3, requires_grad=True)), norm(ferrograd.rand(4, 3, requires_grad=True))
    assert norm.running_mean._version == before
    (first + second).sum().backward()


def test_writes_that_kron_does_not_notice():
    """As in torch, it reads what is there when backward runs."""
    a, b = real(2, 2), real(2, 3)
    y = ferrograd.kron(a, b)
    with ferrograd.no_grad():
        a.fill_(2)
        b.fill_(3)
    da, db = ferrograd.autograd.grad(y.sum(), (a, b))
    assert da.tolist() == [[18, 18]] * 2 and db.tolist() == [[8, 8, 8]] * 2


def test_values_are_those_that_were_copied():
    """One matrix times a batch: the batch is copied as one matrix."""
    a, b = real(2, 3), real(4, 3, 2)
    y, wanted = a @ b, b.detach().sum((0, 2)).expand(2, 3)
    b.detach().add_(1)
    np.testing.assert_allclose(ferrograd.autograd.grad(y.sum(), a)[0].numpy(), wanted.numpy(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_states_that_constant_weights_have_seen(kind):
    """The first states may be written to if the weights are constant; the gradients are those of what was seen."""
    cell = getattr(ferrograd.nn, kind + "Cell")(3, 4).double().requires_grad_(False)
    layer = getattr(ferrograd.nn, kind)(3, 4).double().requires_grad_(False)
    for module, x, shape in ((cell, real(2, 3), (2, 4)), (layer, real(5, 2, 3), (1, 2, 4))):
        states = [real(*shape) for _ in range(1 + (kind == "LSTM"))]

        def run(written):
            y = module(x, tuple(states) if kind == "LSTM" else states[0])
            y = y[0] if isinstance(y, tuple) else y
            with ferrograd.no_grad():
                states[0].add_(written)
            found = ferrograd.autograd.grad(y.sum(), (x, *states))
            with ferrograd.no_grad():
                states[0].sub_(written)
            return found

        assert all(ferrograd.allclose(a, b) for a, b in zip(run(0), run(1)))
