"""ferrograd.func: derivatives as functions, nested in each other, over trees, and batches of samples."""

import itertools
import math
import zlib
from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest
from op_cases import CASES

import ferrograd
from ferrograd.func import functional_call, grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize
from ferrograd.func import replace_all_batch_norm_modules_, stack_module_state, vjp, vmap
from ferrograd.utils import _pytree


def tensor(*values, grad=False):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=grad)


def number(value):
    return ferrograd.tensor(value, dtype=ferrograd.float64)


X, Y = tensor(1.0, 2.0, 3.0), tensor(0.5, 0.25, 2.0)
BATCH = tensor(*range(6)).view(2, 3)


def close(a, b):
    assert a.shape == b.shape and a.allclose(b), (a, b)


# Gradients.


def test_grad_nests():
    f = ferrograd.sin
    for order in range(4):
        want = math.sin(0.5 + order * math.pi / 2)
        assert f(number(0.5)).item() == pytest.approx(want), order
        f = grad(f)


def test_grad_of_what_is_not_the_result():
    assert not grad(lambda x: x**2)(number(3.0)).requires_grad
    w = tensor(1.0, 2.0, grad=True)
    g = grad(lambda x: (x**2 * w).sum())(tensor(1.0, 1.0))
    close(ferrograd.autograd.grad(g.sum(), w)[0], tensor(2.0, 2.0))
    with ferrograd.no_grad():
        assert not grad(lambda x: (x**2 * w).sum())(tensor(1.0, 1.0)).requires_grad
    x = tensor(1.0, 2.0, grad=True)
    g = grad(lambda x: (x**3).sum())(x)
    close(ferrograd.autograd.grad(g.sum(), x)[0], 6 * x.detach())
    assert x.grad is None and w.grad is None


def test_a_leaf_that_the_function_makes_is_its_own():
    def f(x):
        return (ferrograd.ones(3, dtype=ferrograd.float64, requires_grad=True) * x**2).sum()

    results = [grad(f)(X), vjp(f, X)[0], vjp(f, X)[1](number(1.0))[0], *jvp(f, (X,), (X,)), jacrev(f)(X), jacfwd(f)(X), hessian(f)(X)]
    assert not any(result.requires_grad for result in results)
    leaf = tensor(1.0, 1.0, 1.0, grad=True)
    assert grad(lambda x: f(x) * leaf.sum())(X).requires_grad


def test_a_captured_tensor_is_a_constant():
    x = tensor(1.0, 2.0, grad=True)
    close(grad(lambda a: (a * x).sum())(x).detach(), x.detach())
    close(grad(lambda a: (a * a.detach()).sum())(X), X)
    # Perturbations are not confused (Siskind and Pearlmutter 2005).
    assert grad(lambda x: x * grad(lambda y: x + y)(number(1.0)))(number(1.0)).item() == 1


def test_recording_in_the_function_is_its_own():
    def f(x):
        with ferrograd.no_grad():
            c = x**2
        return (x * c).sum()

    close(grad(f)(X), X**2)


def test_argnums_trees_and_aux():
    a, b = grad(lambda x, y: (x * y).sum(), argnums=(0, -1))(X, Y)
    close(a, Y), close(b, X)
    g = grad(lambda p, k=1: (p["a"] * p["b"][0]).sum() * k)({"a": X, "b": [Y]}, k=2)
    close(g["a"], 2 * Y), close(g["b"][0], 2 * X)
    g, aux = grad(lambda x: (x.sum(), {"double": x * 2}), has_aux=True)(X)
    close(aux["double"], 2 * X)
    assert not aux["double"].requires_grad
    g, (value, aux) = grad_and_value(lambda x: ((x**2).sum(), [x, (X,)]), has_aux=True)(X)
    close(g, 2 * X)
    assert value.item() == 14 and not value.requires_grad and aux[1][0] is X
    close(grad(lambda x, y: x.sum(), argnums=1)(X, Y), ferrograd.zeros_like(Y))


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: grad(lambda x: x)(X), "to return a scalar Tensor, got tensor with 1 dims"),
        (lambda: grad(lambda x: 3)(X), "Expected f\\(\\*args\\) to return a Tensor, got <class 'int'>"),
        (lambda: grad(lambda x: x.sum(), argnums=2)(X), "Got argnum=2, but only 1 positional inputs"),
        (lambda: grad(lambda x, y: x.sum(), argnums=(0, 0))(X, X), "argnums elements must be unique"),
        (lambda: grad(lambda x: x.sum(), argnums=())(X), "argnums must be non-empty"),
        (lambda: grad(lambda x: x.sum(), argnums="x")(X), "argnums must be int or Tuple"),
        (lambda: grad(lambda x: x.sum(), has_aux=True)(X), "should be a tuple: \\(output, aux\\)"),
        (lambda: grad(lambda x: (x.sum(), "note"), has_aux=True)(X), "Expected tensors, got unsupported type <class 'str'>"),
        (lambda: vjp(lambda x: (x, [x, None]), X, has_aux=True), "Expected tensors"),
        (lambda: jvp(lambda x: (x, 3), (X,), (X,), has_aux=True), "Expected tensors"),
        (lambda: jacrev(lambda x: (x, 3), has_aux=True)(X), "Expected tensors"),
        (lambda: jacfwd(lambda x: (x, 3), has_aux=True)(X), "Expected tensors"),
        (lambda: grad(lambda x: x.sum())(ferrograd.arange(3)), "only Tensors of floating point"),
        (lambda: vjp(lambda x: (x, x), X)[1](X), "Expected pytree structure of cotangents"),
        (lambda: vjp(lambda x: x.long(), X), "must be floating-point or complex Tensors"),
        (lambda: vjp(lambda x: None, X), "non-empty output"),
        (lambda: jvp(lambda x: x, X, X), "Expected primals to be a tuple"),
        (lambda: jvp(lambda x: x, (X,), (X, X)), "same python structure"),
        (lambda: jvp(lambda x: X, (X,), (X,), strict=True), "independent of the inputs"),
    ],
)
def test_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call()


def test_vjp():
    output, pull = vjp(lambda x, y: {"product": x * y, "sines": x.sin().sum()}, X, Y)
    close(output["product"], X * Y)
    assert not output["product"].requires_grad
    for _ in range(2):
        a, b = pull({"product": X, "sines": number(2.0)})
        close(a, X * Y + 2 * X.cos()), close(b, X * X)
        assert not a.requires_grad
    w = tensor(1.0, 1.0, 1.0, grad=True)
    assert vjp(ferrograd.exp, X)[1](w)[0].requires_grad


def test_jvp():
    output, tangent = jvp(lambda x, y: (x * y, x.sum()), (X, Y), (Y, X))
    close(output[0], X * Y), close(tangent[0], Y * Y + X * X), close(tangent[1], Y.sum())
    assert not tangent[0].requires_grad
    close(jvp(lambda x: X, (X,), (Y,))[1], ferrograd.zeros_like(X))
    close(grad(lambda x: jvp(ferrograd.exp, (x,), (Y,))[1].sum())(X), X.exp() * Y)
    close(jvp(lambda x: jvp(lambda z: z**3, (x,), (Y,))[1], (X,), (Y,))[1], 6 * X * Y * Y)
    output, push = linearize(ferrograd.sin, X)
    close(push(Y), X.cos() * Y), close(push(X), X.cos() * X)
    with pytest.raises(RuntimeError, match="tangent:0 with shape"):
        push(tensor(1.0))


def test_jacobians():
    for jacobian in (jacrev, jacfwd):
        close(jacobian(ferrograd.exp)(X), X.exp().diag_embed())
        assert not jacobian(ferrograd.exp)(X).requires_grad
        product, rest = jacobian(lambda x, y: (x * y, {"sum": x.sum()}), argnums=(0, 1))(X, Y)
        close(product[0], Y.diag_embed()), close(product[1], X.diag_embed())
        close(rest["sum"][0], ferrograd.ones_like(X)), close(rest["sum"][1], ferrograd.zeros_like(X))
        J, aux = jacobian(lambda x: (x.exp(), x), has_aux=True)(X)
        close(aux, X)
        w = tensor(1.0, 2.0, 3.0, grad=True)
        J = jacobian(lambda x: x * w)(X)
        close(ferrograd.autograd.grad(J.sum(), w)[0], ferrograd.ones_like(X))
        assert jacobian(lambda x: x.sum(0))(BATCH).shape == (3, 2, 3)
    with pytest.raises(ValueError, match="chunk_size"):
        jacrev(ferrograd.exp, chunk_size=0)


def test_hessians():
    f = lambda x: (x**3).sum() * x[0]  # noqa: E731
    want = jacrev(jacrev(f))(X)
    for other in (hessian(f), jacfwd(jacfwd(f)), jacrev(jacfwd(f))):
        close(other(X), want)
    (xx, xy), (yx, yy) = hessian(lambda x, y: (x**2 * y).sum(), argnums=(0, 1))(X, Y)
    close(xx, (2 * Y).diag_embed()), close(xy, (2 * X).diag_embed()), close(yx, xy.T), close(yy, yy * 0)


# Batches.


def test_vmap():
    close(vmap(ferrograd.dot)(BATCH, BATCH), (BATCH * BATCH).sum(1))
    close(vmap(lambda x: x * 2, in_dims=1, out_dims=1)(BATCH), BATCH * 2)
    close(vmap(lambda x: x.sum(), in_dims=-1)(BATCH), BATCH.sum(0))
    close(vmap(lambda x, y: x * y, in_dims=(0, None))(BATCH, X), BATCH * X)
    close(vmap(vmap(ferrograd.sin))(BATCH), BATCH.sin())
    close(vmap(lambda x: X)(BATCH), X.expand(2, 3))
    close(ferrograd.vmap(lambda x, k=1: x * k)(BATCH, k=2), BATCH * 2)
    assert vmap(lambda x: x.sum().reshape(1))(BATCH[:0]).shape == (0, 1)


# What as_strided reads is the memory of the whole batch (README), not that of a sample; torch does not map rrelu. Random numbers
# are drawn along the memory.
@pytest.mark.parametrize("case", [c for c in CASES if c.op not in ("as_strided", "rrelu") and "drawn" not in c.label], ids=str)
def test_vmap_of_every_op(case):
    """As a loop over the samples, whichever dims hold the batch, and so are the gradients of each sample.

    Up to rounding: the strides of a sample decide the order of sums.
    """
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    samples = [[ferrograd.from_numpy(np.array(i.sample(rng))) for i in case.inputs] for _ in range(3)]
    in_dims = tuple((-1, 0)[i % 2] for i in range(len(case.inputs)))
    batch = [ferrograd.stack(xs, dim) for xs, dim in zip(zip(*samples), in_dims)]

    def call(*xs):
        outputs = case.call(*xs)
        return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)

    def total(*xs):
        return sum(y.sum() for y in call(*xs) if y.is_floating_point())

    expected = [ferrograd.stack(ys, -1) for ys in zip(*(call(*xs) for xs in samples))]
    found = vmap(call, in_dims=in_dims, out_dims=-1)(*batch)
    assert len(found) == len(expected)
    for y, z in zip(found, expected):
        assert y.dtype == z.dtype
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-12, atol=1e-14)
    xs = [x.clone().requires_grad_() for x in samples[1]]
    loss = total(*xs)
    if isinstance(loss, ferrograd.Tensor) and loss.requires_grad:
        everywhere = tuple(range(len(xs)))
        of_each = vmap(grad(total, argnums=everywhere), in_dims=in_dims)(*batch)
        alone = ferrograd.autograd.grad(loss, xs, allow_unused=True, materialize_grads=True)
        for y, z in zip(of_each, alone):
            np.testing.assert_allclose(y[1].numpy(), z.numpy(), rtol=1e-12, atol=1e-14)


def test_vmap_of_trees():
    out = vmap(lambda d: {"sum": d["x"] + d["y"], "pair": (d["x"], 3)}, in_dims=({"x": 0, "y": None},), out_dims={"sum": 0, "pair": (1, None)})(
        {"x": BATCH, "y": X}
    )
    close(out["sum"], BATCH + X), close(out["pair"][0], BATCH.T)
    assert out["pair"][1] == 3


def test_vmap_and_derivatives():
    close(vmap(grad(lambda x: (x**2).sum()))(BATCH), 2 * BATCH)
    close(vmap(grad(lambda w, x: (w * x).sum() ** 2), in_dims=(None, 0))(X, BATCH), 2 * (BATCH * X).sum(1, keepdim=True) * BATCH)
    close(grad(lambda z: vmap(ferrograd.dot)(z, z).sum())(BATCH), 2 * BATCH)
    x = BATCH.clone().requires_grad_()
    vmap(lambda row: row.exp().sum())(x).sum().backward()
    close(x.grad, BATCH.exp())
    close(vmap(jacrev(ferrograd.sin))(BATCH), BATCH.cos().diag_embed())


def test_vmap_writes_in_place():
    x = BATCH.clone()
    vmap(lambda row: row.mul_(2))(x)
    close(x, BATCH * 2)


def test_vmap_and_random_numbers():
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        vmap(lambda x: x + ferrograd.rand(3))(BATCH)
    a, b = vmap(lambda x: ferrograd.rand(3), randomness="same")(BATCH)
    assert a.equal(b)
    a, b = vmap(lambda x: ferrograd.rand(3), randomness="different")(BATCH)
    assert not a.equal(b)


def randoms(x, parameters=None):
    """Random numbers of several ops, in a certain order."""
    parameters = x if parameters is None else parameters
    return (
        ferrograd.randn(7),
        ferrograd.rand_like(x),
        ferrograd.randint(0, 100, (4,)),
        ferrograd.bernoulli(ferrograd.full((3,), 0.3)),
        ferrograd.randn(3, dtype=ferrograd.complex64),
        x.clone().normal_(1, 2),
        x.clone().exponential_(),
        x.clone().log_normal_(),
        x.clone().random_(10),
        x.clone().geometric_(0.5),
        ferrograd.normal(parameters, 2.0),
        ferrograd.multinomial(parameters + 1, 2),
        ferrograd.multinomial(parameters + 1, 4, replacement=True),
        ferrograd.randn(()),
    )


def batched_randoms(xs):
    """The same ops for a batch."""
    size = len(xs)
    return (
        ferrograd.randn(size, 7),
        ferrograd.rand_like(xs),
        ferrograd.randint(0, 100, (size, 4)),
        ferrograd.bernoulli(ferrograd.full((size, 3), 0.3)),
        ferrograd.randn(size, 3, dtype=ferrograd.complex64),
        xs.clone().normal_(1, 2),
        xs.clone().exponential_(),
        xs.clone().log_normal_(),
        xs.clone().random_(10),
        xs.clone().geometric_(0.5),
        ferrograd.normal(xs, 2.0),
        ferrograd.multinomial(xs + 1, 2),
        ferrograd.multinomial(xs + 1, 4, replacement=True),
        ferrograd.randn(size),
    )


@pytest.mark.parametrize("size", [1, 2, 40])
def test_vmap_draws_for_all_samples_at_once(size):
    """Each random op draws what it draws for a batch, so the order of the numbers is that of the ops, not of the samples."""
    xs = ferrograd.arange(5.0 * size).view(size, 5)
    for chunk_size in (None, 1, 3):
        step = chunk_size or size
        ferrograd.manual_seed(1)
        want = [batched_randoms(xs[i : i + step]) for i in range(0, size, step)]
        want = [ferrograd.cat(parts) for parts in zip(*want)]
        state = ferrograd.get_rng_state()
        ferrograd.manual_seed(1)
        got = vmap(randoms, randomness="different", chunk_size=chunk_size)(xs)
        assert ferrograd.get_rng_state().equal(state)
        for a, b in zip(got, want):
            assert a.equal(b)


def test_vmap_draws_the_same_for_all_samples():
    xs = ferrograd.ones(3, 5)
    ferrograd.manual_seed(1)
    want = randoms(xs[0])
    state = ferrograd.get_rng_state()
    for chunk_size in (None, 2):
        ferrograd.manual_seed(1)
        got = vmap(lambda x: randoms(x, xs[0]), randomness="same", chunk_size=chunk_size)(xs)
        assert ferrograd.get_rng_state().equal(state)
        for a, b in zip(got, want):
            assert a.equal(b.expand_as(a))


@pytest.mark.parametrize(
    "draw",
    [
        lambda p: ferrograd.bernoulli(p),
        lambda p: ferrograd.bernoulli(p, 0.5),
        lambda p: ferrograd.zeros_like(p).bernoulli_(p),
        lambda p: ferrograd.normal(p, 1.0),
        lambda p: ferrograd.normal(0.0, p * 2),
        lambda p: ferrograd.poisson(p[1:]),
        lambda p: ferrograd.multinomial(p, 2),
    ],
)
def test_the_same_numbers_are_not_drawn_for_parameters_of_samples(draw):
    xs = ferrograd.full((2, 5), 0.5)
    with pytest.raises(RuntimeError, match="does not currently support same randomness with a batched tensor input"):
        vmap(draw, randomness="same")(xs)
    assert vmap(draw, randomness="different")(xs).shape[0] == 2
    assert vmap(lambda x: draw(xs[0]), randomness="same")(xs).shape[0] == 2


def test_the_same_numbers_lie_in_memory_of_their_own():
    xs = ferrograd.zeros(2, 8, 6)
    for draw in (lambda x: x.uniform_(), lambda x: x.normal_()):
        ferrograd.manual_seed(1)
        want = draw(ferrograd.zeros(6, 8))
        ferrograd.manual_seed(1)
        got = vmap(lambda x: draw(x.clone().t()), randomness="same")(xs)
        assert got[0].equal(want) and got[1].equal(want)


def test_random_numbers_of_vmap_within_vmap():
    xs = ferrograd.arange(30.0).view(3, 2, 5)
    for outer in ("same", "different"):
        for inner in ("same", "different"):
            shape = (3 if outer == "different" else 1, 2 if inner == "different" else 1)
            ferrograd.manual_seed(1)
            numbers = ferrograd.randn(*shape, 4), ferrograd.randint(0, 50, (*shape, 3)), ferrograd.rand(*shape)
            # A permutation of the inner map is a call for each sample, which the outer one sees.
            orders = [[ferrograd.randperm(5) for _ in range(shape[0])] for _ in range(shape[1])]
            orders = ferrograd.stack([ferrograd.stack(row) for row in orders], 1)
            state = ferrograd.get_rng_state()
            ferrograd.manual_seed(1)
            got = vmap(
                vmap(
                    lambda x: (ferrograd.randn(4), ferrograd.randint(0, 50, (3,)), ferrograd.rand(()), ferrograd.randperm(5)),
                    randomness=inner,
                ),
                randomness=outer,
            )(xs)
            assert ferrograd.get_rng_state().equal(state)
            for a, b in zip(got, (*numbers, orders)):
                assert a.equal(b.expand_as(a)), (outer, inner)


def test_random_numbers_in_a_mode_of_errors():
    state = ferrograd.get_rng_state()
    for outer, inner in (("error", "different"), ("different", "error"), ("error", "same")):
        with pytest.raises(RuntimeError, match="randomness error mode"):
            vmap(vmap(lambda x: ferrograd.rand(3), randomness=inner), randomness=outer)(BATCH.view(1, 2, 3))
    for draw in (ferrograd.bernoulli, ferrograd.poisson, lambda x: ferrograd.multinomial(x + 1, 1), lambda x: ferrograd.randperm(2)):
        with pytest.raises(RuntimeError, match="randomness error mode"):
            vmap(draw)(BATCH / 10)
    assert ferrograd.get_rng_state().equal(state)


def test_samples_that_draw_otherwise_than_the_first():
    """They draw for themselves: what they ask for is what they get."""
    samples = itertools.count()

    def f(x):
        first = next(samples) % 2 == 0
        a = ferrograd.rand(3) if first else ferrograd.rand(3) + 5
        return a, ferrograd.poisson(x), ferrograd.randint(0, 10, (2,) if first else (1,)).sum()

    (a, b), p, n = vmap(f, randomness="different")(BATCH)
    assert (a < 1).all() and (b >= 5).all() and p.shape == BATCH.shape and n.shape == (2,)


IN_BATCHES = {
    "uniform_": lambda x: x.uniform_(),
    "normal_": lambda x: x.normal_(),
    "of a part": lambda x: x[..., 1:].normal_(),
    "rand_like": ferrograd.rand_like,
    "randn_like": ferrograd.randn_like,
    "like a sum": lambda x: ferrograd.randint_like(x + x, 50),
    "like a function": lambda x: ferrograd.rand_like(x.sin().transpose(-1, -2)),
    "a copy": lambda x: x.clone().exponential_(),
    "zeros": lambda x: ferrograd.zeros_like(x).normal_(),
    "given probabilities": lambda x: x.clone().bernoulli_(x / 100),
    "bernoulli": lambda x: ferrograd.bernoulli(x / 100),
    "contiguous": lambda x: x.contiguous().uniform_(),
    "indexed": lambda x: x[..., ferrograd.tensor([2, 0])].uniform_(),
    "added in turn": lambda x: ferrograd.rand_like(x + x.sum(-1, keepdim=True)),
}


@pytest.mark.parametrize("draw", IN_BATCHES.values(), ids=IN_BATCHES.keys())
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_random_numbers_of_a_batch_lie_in_the_order_of_its_memory(draw, dim):
    batch = ferrograd.arange(84.0).view(3, 4, 7)
    ferrograd.manual_seed(1)
    want = draw(batch.clone().movedim(dim, 0))
    state = ferrograd.get_rng_state()
    ferrograd.manual_seed(1)
    got = vmap(draw, in_dims=dim, randomness="different")(batch.clone())
    assert got.equal(want) and ferrograd.get_rng_state().equal(state)


@pytest.mark.parametrize("outer, inner", [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)])
def test_random_numbers_of_batches_of_batches_lie_in_the_order_of_their_memory(outer, inner):
    batch = ferrograd.arange(120.0).view(2, 3, 4, 5)
    for draw in (ferrograd.rand_like, lambda x: ferrograd.rand_like(x + x), lambda x: ferrograd.rand_like(x.sin().t())):
        ferrograd.manual_seed(1)
        numbers = ferrograd.rand_like(batch).movedim(outer, 0).movedim(inner + 1, 1)
        want = numbers if draw(batch[0, 0]).shape == batch.shape[2:] else numbers.transpose(-1, -2)
        ferrograd.manual_seed(1)
        got = vmap(vmap(draw, in_dims=inner, randomness="different"), in_dims=outer, randomness="different")(batch)
        assert got.equal(want)


def test_dropout_of_a_batch_draws_in_the_order_of_its_dims():
    batch = ferrograd.ones(3, 4, 7)
    for dim in range(3):
        ferrograd.manual_seed(1)
        want = ferrograd.nn.functional.dropout(batch.movedim(dim, 0).contiguous().transpose(1, 2).contiguous())
        ferrograd.manual_seed(1)
        got = vmap(lambda x: ferrograd.nn.functional.dropout(x.t()), in_dims=dim, randomness="different")(batch)
        assert got.equal(want)


VIEWS = {
    "itself": (lambda x: x, lambda xs: xs),
    "written to": (lambda x: x.mul_(2), lambda xs: xs.mul_(2)),
    "select": (lambda x: x[1], lambda xs: xs[:, 1]),
    "slice": (lambda x: x[1:, ::2], lambda xs: xs[:, 1:, ::2]),
    "transpose": (lambda x: x.t(), lambda xs: xs.transpose(1, 2)),
    "diagonal": (lambda x: x.diagonal(), lambda xs: xs.diagonal(dim1=1, dim2=2)),
    "expand": (lambda x: x[:1].expand(4, -1), lambda xs: xs[:, :1].expand(-1, 4, -1)),
    "unsqueeze": (lambda x: x.unsqueeze(-1), lambda xs: xs.unsqueeze(-1)),
    "detach": (lambda x: x.detach()[0], lambda xs: xs.detach()[:, 0]),
}


@pytest.mark.parametrize("function, of_batch", VIEWS.values(), ids=VIEWS.keys())
@pytest.mark.parametrize("in_dim", [0, 1, 2])
@pytest.mark.parametrize("out_dim", [0, -1])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_vmap_of_views_answers_views(function, of_batch, in_dim, out_dim, requires_grad):
    """What is written to the answer is written to the batch, and derivatives see it."""

    def written(answer):
        leaf = ferrograd.arange(24.0).view(2, 3, 4).requires_grad_(requires_grad)
        batch = leaf * 1
        y = answer(batch)
        layout = y.shape, y.stride(), y.storage_offset(), y.requires_grad
        if 0 not in y.stride():
            y.mul_(3)
        gradient = ferrograd.autograd.grad((batch * batch).sum(), leaf)[0] if requires_grad else batch
        return layout, batch, gradient

    got = written(vmap(function, in_dims=in_dim, out_dims=out_dim))
    want = written(lambda batch: of_batch(batch.movedim(in_dim, 0)).movedim(0, out_dim))
    assert got[0] == want[0] and got[1].equal(want[1]) and got[2].equal(want[2])


def test_vmap_of_the_parts_of_complex_numbers_answers_views():
    x = ferrograd.complex(ferrograd.ones(2, 3), ferrograd.zeros(2, 3)).requires_grad_()
    batch = x * 1
    vmap(lambda x: x.imag, in_dims=1)(batch).add_(2)
    assert batch.imag.eq(2).all() and ferrograd.autograd.grad(batch.real.sum(), x)[0].eq(1).all()
    assert vmap(lambda x: x[1:].real)(batch.detach()).stride() == (6, 2)


def test_as_strided_counts_from_the_first_sample():
    memory = ferrograd.arange(60.0)
    batch = memory[12:].view(2, 3, 8)
    for in_dim in range(3):
        y = vmap(lambda x: x.as_strided([2, 2], [1, 2], 15), in_dims=in_dim)(batch)
        want = memory.as_strided([batch.shape[in_dim], 2, 2], [batch.stride(in_dim), 1, 2], 15)
        assert y.equal(want) and y.stride() == want.stride() and y.data_ptr() == want.data_ptr()
        parts = vmap(lambda x: x[0].as_strided([2], [3], 14), in_dims=in_dim)(batch)
        assert parts.equal(memory.as_strided([batch.shape[in_dim], 2], [batch.stride(in_dim), 3], 14))
    y = vmap(vmap(lambda x: x.as_strided([2], [2], 12)))(batch)
    assert y.equal(batch[:, :, :3:2])
    # Of memory of its own a sample knows the start.
    assert vmap(lambda x: x.sin().as_strided([2], [1], 0), in_dims=1)(batch[0]).equal(batch[0].t()[:, :2].sin())
    captured = ferrograd.arange(5.0)
    assert vmap(lambda x: captured.as_strided([2], [1], 1) + x)(batch[0, 0]).equal(captured[1:3] + batch[0, 0][:, None])


def test_vmap_answers_an_argument_itself():
    x = ferrograd.ones(2, 3, 4)
    assert vmap(lambda x: x)(x) is x
    assert vmap(lambda x: x.add_(1), in_dims=1, out_dims=1)(x) is x
    assert vmap(vmap(lambda x: x))(x) is x
    assert vmap(lambda x: x.view(4, 3))(x)._base is x
    assert vmap(lambda x: x, out_dims=1)(x)._base is x
    pairs = ferrograd.arange(24.0).view(3, 4, 2)
    for dim in (0, 1):
        y = vmap(ferrograd.view_as_complex, in_dims=dim)(pairs)
        assert y.equal(ferrograd.view_as_complex(pairs).movedim(dim, 0)) and y.data_ptr() == pairs.data_ptr()
    copy = vmap(lambda x: x, chunk_size=2)(x)
    assert copy.equal(x) and copy.data_ptr() != x.data_ptr()


def test_vmap_answers_arguments_with_the_dims_that_they_were_given_in_place():
    functions = {
        (2, 1, 3, 4): lambda x: x.unsqueeze_(0),
        (2, 3, 4, 1): lambda x: x.unsqueeze_(-1),
        (2, 4, 3): lambda x: x.t_(),
    }
    for shape, function in functions.items():
        x = ferrograd.arange(24.0).view(2, 3, 4)
        y = vmap(function)(x)
        assert y.shape == shape and y is x
        assert y.flatten().sort().values.equal(ferrograd.arange(24.0))


@pytest.mark.parametrize("write", [ferrograd.Tensor.exp_, ferrograd.Tensor.sqrt_, ferrograd.Tensor.tanh_])
def test_samples_written_to_keep_what_others_have_saved(write):
    """Each sample counts the writes to itself; for the batch those of all samples count once."""

    def gradient(function):
        x = ferrograd.arange(1.0, 7.0).view(2, 3).requires_grad_()
        batch = x * 1
        y = function(batch)
        return ferrograd.autograd.grad((y * y).sum() + batch.sum(), x)[0]

    assert gradient(vmap(write)).equal(gradient(write))
    assert gradient(vmap(vmap(write))).equal(gradient(write))
    assert gradient(vmap(write, in_dims=1, out_dims=1)).equal(gradient(write))
    factor = ferrograd.ones(3, requires_grad=True)
    xs = ferrograd.arange(6.0).view(2, 3)
    y = vmap(lambda x: x.mul_(2) * factor)(xs)
    y.sum().backward()
    assert factor.grad.equal(xs.sum(0)) and xs._version == 1


def test_a_batch_that_was_written_to_is_not_what_was_saved():
    x = ferrograd.ones(2, 3, requires_grad=True)
    batch = x * 1
    y = batch.exp() * batch
    vmap(lambda x: x.add_(1))(batch)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_vmap_keeps_the_backward_of_functions_that_answer_views():
    class Tripled(ferrograd.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.view_as(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 3

    x = ferrograd.ones(2, 3, requires_grad=True)
    (gradient,) = ferrograd.autograd.grad(vmap(Tripled.apply)(x).sum(), x)
    assert gradient.eq(3).all()


def test_vmap_expands_what_is_the_same_for_all_samples():
    captured = ferrograd.arange(3.0).requires_grad_()
    for function in (lambda x: captured, lambda x: ferrograd.zeros(3), lambda x: captured * 2):
        y = vmap(function)(BATCH)
        assert y.shape == (2, 3) and y.stride() == (0, 1) and y[1].equal(function(None))
    y = vmap(lambda x: captured, out_dims=1)(BATCH)
    assert y.shape == (3, 2) and y.stride() == (1, 0) and y._base is captured
    y.sum().backward()
    assert captured.grad.eq(2).all()
    # What is made of numbers that are not the same for all is not, either.
    numbers = iter([3.0, 4.0])
    assert vmap(lambda x: ferrograd.tensor(next(numbers)))(BATCH).tolist() == [3, 4]


def test_vmap_does_not_answer_one_tensor_for_what_depends_on_samples():
    number = ferrograd.tensor(2.0)
    assert vmap(lambda x: number, out_dims=None)(BATCH) is number
    with pytest.raises(ValueError, match="can not return a BatchedTensor when out_dim is None"):
        vmap(lambda x: x * 0, out_dims=None)(BATCH)


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("count, replacement", [(1, False), (2, False), (3, True)])
def test_multinomial_of_a_batch_draws_as_for_a_matrix(dim, count, replacement):
    """Without replacement each category takes a number, in the order of the matrix's memory."""
    batch = ferrograd.arange(1.0, 61.0).sin().abs().view(3, 4, 5) + 0.1
    functions = {
        "rows": (lambda x: x[1], lambda xs: xs[:, 1]),
        "columns": (lambda x: x[:, 1], lambda xs: xs[:, :, 1]),
        "new rows": (lambda x: x[1] * 2, lambda xs: xs[:, 1] * 2),
        "matrices": (lambda x: x, lambda xs: xs.reshape(-1, xs.shape[2])),
        "transposed": (lambda x: x.t(), lambda xs: xs.transpose(1, 2).reshape(-1, xs.shape[1])),
        "transposed new ones": (lambda x: (x * 2).t(), lambda xs: (xs * 2).transpose(1, 2).reshape(-1, xs.shape[1])),
    }
    for name, (of_sample, of_batch) in functions.items():
        ferrograd.manual_seed(1)
        want = of_batch(batch.movedim(dim, 0)).multinomial(count, replacement)
        state = ferrograd.get_rng_state()
        ferrograd.manual_seed(1)
        got = vmap(lambda x: of_sample(x).multinomial(count, replacement), in_dims=dim, randomness="different")(batch)
        assert got.flatten().equal(want.flatten()) and ferrograd.get_rng_state().equal(state), name
    ferrograd.manual_seed(1)
    want = batch.movedim(dim, 0).reshape(-1, batch.movedim(dim, 0).shape[2]).multinomial(count, replacement)
    ferrograd.manual_seed(1)
    draw = vmap(lambda x: x.multinomial(count, replacement), randomness="different")
    got = vmap(draw, in_dims=dim, randomness="different")(batch)
    assert got.flatten().equal(want.flatten())


# Shapes, dims that are mapped over (from outside in), what is made of a sample, and torch's order of the numbers in it: those of
# batches lie in their own order even where the dims of samples are of size 1, or copied.
ORDERS = [
    ((3, 3), (1,), lambda x: x.clone().contiguous() + 1, range(9)),
    ((3, 2, 2), (1,), lambda x: x.mul(1).reshape(-1)[::2].clone(), range(6)),
    ((3, 2, 1), (1,), lambda x: x[0].expand(2).unsqueeze(1) + 1, range(4)),
    ((2, 2), (1,), lambda x: x[None][:, 1].expand(2).unsqueeze(1) + 1, range(4)),
    ((2, 2, 3, 2), (2,), lambda x: x.clone().flatten(0, 1).contiguous() + 1, range(24)),
    ((2, 3, 2), (2,), lambda x: x.reshape(1, 2, 3).add(0).flatten(1, 2).contiguous() + 1, range(12)),
    ((3, 2, 3), (2,), lambda x: x[None][:, 1], [0, 3, 1, 4, 2, 5]),
    ((2, 1, 2, 3), (3, 0), lambda x: x.expand(2, 2)[None][:, :, 0].unsqueeze(2) + 1, [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]),
    ((1, 3, 2), (2, 0), lambda x: ferrograd.zeros_like(x[None][:, 1].expand(2).unsqueeze(1)), range(4)),
    ((2, 2, 2), (1, 1), lambda x: x[::2].narrow(0, 0, 1).expand(2).unsqueeze(1).clone(), range(8)),
    ((2, 1, 1), (2,), lambda x: ferrograd.zeros_like(x.expand(2, 2).permute(1, 0)), range(4)),
    ((1, 1, 1, 3), (3,), lambda x: x.expand(1, 2, 1) + 1, [0, 3, 1, 4, 2, 5]),
    ((1, 2, 1), (2,), lambda x: x.expand(2, 2).reshape(2, 2, 1).squeeze(2) + 1, range(4)),
    ((2, 2, 1), (1, 1), lambda x: ferrograd.zeros_like(x.unsqueeze(0).expand(2, 2)), [0, 4, 2, 6, 1, 5, 3, 7]),
]


@pytest.mark.parametrize("shape, dims, make, order", ORDERS)
def test_the_order_of_numbers_drawn_in_place(shape, dims, make, order):
    def draw(x):
        return make(x).uniform_()

    for dim in reversed(dims):
        draw = vmap(draw, in_dims=dim, randomness="different")
    ferrograd.manual_seed(1)
    got = draw(ferrograd.zeros(shape))
    ferrograd.manual_seed(1)
    assert got.flatten().equal(ferrograd.rand(got.numel())[ferrograd.tensor(list(order))])


def test_normal_numbers_in_batches_in_order():
    """Torch draws normal numbers in two ways: into memory in order, and into other memory."""
    def draw(x):
        return ferrograd.zeros_like(x[None][:, :, 1].movedim(1, 0)).normal_()

    ferrograd.manual_seed(5)
    got = vmap(vmap(draw, randomness="different"), in_dims=1, randomness="different")(ferrograd.zeros(3, 2, 3, 2))
    ferrograd.manual_seed(5)
    assert got.movedim(0, 1).flatten().equal(ferrograd.empty(got.numel(), 2)[:, 0].normal_())


def test_random_numbers_that_depend_on_the_values_of_all_samples():
    """How much `poisson` draws depends on the rates, so those of all samples must be known before one goes on."""

    def f(x):
        return ferrograd.poisson(x), ferrograd.rand(x.shape), ferrograd.poisson(x * 2), ferrograd.rand(x.shape)

    xs = ferrograd.arange(40.0).view(8, 5)
    for chunk_size in (None, 1, 3):
        step = chunk_size or 8
        ferrograd.manual_seed(1)
        want = [ferrograd.cat(parts) for parts in zip(*(f(xs[i : i + step]) for i in range(0, 8, step)))]
        state = ferrograd.get_rng_state()
        ferrograd.manual_seed(1)
        got = vmap(f, randomness="different", chunk_size=chunk_size)(xs)
        assert ferrograd.get_rng_state().equal(state)
        assert all(a.equal(b) for a, b in zip(got, want))
    ferrograd.manual_seed(1)
    want = f(xs.view(4, 2, 5))
    for outer, inner in ((0, 0), (1, 0)):
        ferrograd.manual_seed(1)
        nested = vmap(vmap(f, in_dims=inner, randomness="different"), in_dims=outer, randomness="different")
        got = nested(xs.view(4, 2, 5).movedim(0, outer))
        assert all(a.equal(b) for a, b in zip(got, want))


def test_rates_that_are_the_same_for_all_samples():
    rates, xs = ferrograd.arange(5.0), ferrograd.zeros(3, 5)
    ferrograd.manual_seed(1)
    want = ferrograd.poisson(rates.expand(3, 5))
    ferrograd.manual_seed(1)
    assert vmap(lambda x: x + ferrograd.poisson(rates), randomness="different")(xs).equal(want)
    ferrograd.manual_seed(1)
    want = ferrograd.poisson(rates)
    ferrograd.manual_seed(1)
    assert vmap(lambda x: x + ferrograd.poisson(rates), randomness="same")(xs).equal(want.expand(3, 5))


def test_what_samples_do_before_they_are_gone_through_again_is_undone():
    captured, calls = ferrograd.zeros(()), []

    def f(x):
        calls.append(1)
        captured.add_(1)
        x.mul_(2)
        return ferrograd.poisson(x) * 0 + x

    xs = ferrograd.arange(6.0).view(3, 2)
    want = xs * 2
    version = xs._version
    assert vmap(f, randomness="different")(xs).equal(want) and xs.equal(want) and captured.item() == 1
    assert len(calls) > 3 and xs._version <= version + 3

    leaf = ferrograd.arange(6.0).view(3, 2).requires_grad_()
    ys = leaf * 1
    vmap(f, randomness="different")(ys).sum().backward()
    close(leaf.grad, ferrograd.full((3, 2), 2.0))


def test_an_exception_while_samples_wait_for_others():
    samples = itertools.count()

    def f(x):
        y = ferrograd.poisson(x)
        if next(samples):
            raise ValueError("a sample")
        return y

    with pytest.raises(ValueError, match="a sample"):
        vmap(f, randomness="different")(BATCH.abs() + 1)
    xs, samples = ferrograd.tensor([0.0, 1.0]), itertools.count()
    with pytest.raises(RuntimeError, match="all must come to the same calls"):
        vmap(lambda x: ferrograd.poisson(x) if next(samples) % 2 else x, randomness="different")(xs)
    dtypes = itertools.cycle([ferrograd.float32, ferrograd.float64])
    for other in (lambda x: ferrograd.ones(next(samples)), lambda x: x.to(next(dtypes))):
        with pytest.raises(RuntimeError, match="poisson: expected the same of all samples"):
            vmap(lambda x: ferrograd.poisson(other(x)).sum(), randomness="different")(xs)
    assert vmap(ferrograd.poisson, randomness="different")(xs).shape == (2,)


CAPTURED = ferrograd.zeros(3)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: ferrograd.zeros(3),
        lambda x: ferrograd.empty(3),
        lambda x: ferrograd.tensor([1.0, 2.0, 3.0]),
        lambda x: ferrograd.arange(3.0),
        lambda x: ferrograd.zeros(2, 3)[0],
        lambda x: ferrograd.ones_like(ferrograd.zeros(3)),
        lambda x: CAPTURED,
        lambda x: CAPTURED.view(3),
    ],
)
def test_different_numbers_need_a_tensor_that_depends_on_the_sample(make):
    for draw in (lambda x: x.normal_(), lambda x: x.bernoulli_(0.5), lambda x: x.random_()):
        with pytest.raises(RuntimeError, match="Cannot ask for different inplace randomness on an unbatched tensor"):
            vmap(lambda x: (draw(make(x)), x)[1], randomness="different")(BATCH)
        assert vmap(lambda x: (draw(make(x)), x)[1], randomness="same")(BATCH).equal(BATCH)
        for like in (ferrograd.zeros_like, lambda x: x.new_empty(3), lambda x: ferrograd.rand(3), lambda x: make(x) + x):
            assert vmap(lambda x: draw(like(x)), randomness="different")(BATCH).shape == (2, 3)


def test_random_numbers_of_a_generator_of_ones_own():
    generator = ferrograd.Generator()
    want = ferrograd.randn(2, 3, generator=generator.manual_seed(4)), ferrograd.rand(2, 2, generator=generator)
    state = ferrograd.get_rng_state()
    generator.manual_seed(4)
    got = vmap(lambda x: (ferrograd.randn(3, generator=generator), ferrograd.rand(2, generator=generator)), randomness="different")(BATCH)
    assert got[0].equal(want[0]) and got[1].equal(want[1]) and ferrograd.get_rng_state().equal(state)


@pytest.mark.parametrize(
    "options, args, text",
    [
        ({"in_dims": "a"}, (BATCH,), "expected `in_dims` to be int or a"),
        ({"in_dims": (0, 0)}, (BATCH,), "in_dims is not compatible with the structure of `inputs`"),
        ({"in_dims": (0.5,)}, (BATCH,), "in_dim must be either an integer dimension or None"),
        ({"in_dims": 5}, (BATCH,), "so expected in_dim to satisfy -2 <= in_dim < 2"),
        ({"in_dims": (None,)}, (BATCH,), "Expected at least one Tensor to vmap over"),
        ({"out_dims": (0, 0)}, (BATCH,), "out_dims is not compatible with the structure of `outputs`"),
        ({"out_dims": "x"}, (BATCH,), "`out_dims` must be an int, None"),
        ({"out_dims": None}, (BATCH,), "can not return a BatchedTensor when out_dim is None"),
        ({}, (), "got no inputs"),
        ({}, (BATCH, 3), "Got in_dim=0 for an input but the input is of type <class 'int'>"),
        ({}, (BATCH, X), "Expected all tensors to have the same size"),
    ],
)
def test_vmap_errors(options, args, text):
    with pytest.raises(ValueError, match=text):
        vmap(lambda *args: args[0], **options)(*args)


def test_vmap_answers_tensors():
    with pytest.raises(ValueError, match="must only return Tensors, got type <class 'int'>"):
        vmap(lambda x: 3)(BATCH)
    with pytest.raises(RuntimeError, match="Only allowed values for randomness"):
        vmap(lambda x: x, randomness="some")


# Calls with other parameters.


class Linear:
    """What `functional_call` needs of a module."""

    training = True

    def __init__(self, weight, shift):
        self._parameters = {"weight": weight}
        self.shift = shift

    @property
    def weight(self):
        return self._parameters["weight"]

    def named_parameters(self, remove_duplicate=True):
        return self._parameters.items()

    def named_buffers(self, remove_duplicate=True):
        return [("shift", self.shift)]

    def __call__(self, x, scale=1):
        return (x * self.weight + self.shift) * scale


class Net:
    def __init__(self, inner):
        self.inner = inner

    def named_parameters(self, remove_duplicate=True):
        return [(f"inner.{name}", x) for name, x in self.inner.named_parameters()]

    def __call__(self, x):
        return self.inner(x).sum()


def test_functional_call():
    layer = Linear(X, Y)
    close(functional_call(layer, {"weight": Y}, (X,)), X * Y + Y)
    close(functional_call(layer, ({"weight": Y}, {"shift": X}), X, {"scale": 2}), (X * Y + X) * 2)
    assert layer.weight is X and layer.shift is Y
    net = Net(layer)
    close(grad(lambda p: functional_call(net, p, (X,)))({"inner.weight": Y})["inner.weight"], X)
    with pytest.raises(TypeError):
        functional_call(layer, {"weight": Y}, ())
    assert layer.weight is X
    with pytest.raises(RuntimeError, match="missing keys \\['shift'\\], unexpected keys \\['other'\\]"):
        functional_call(layer, {"weight": X, "other": X}, (X,), strict=True)
    with pytest.raises(ValueError, match="appears in multiple dictionaries"):
        functional_call(layer, ({"weight": X}, {"weight": X}), (X,))
    with pytest.raises(ValueError, match="Expected parameter_and_buffer_dicts to be a dict"):
        functional_call(layer, 3, (X,))


def test_tied_parameters_are_replaced_together():
    layer = Linear(X, X)
    close(functional_call(layer, {"weight": Y}, (X,)), X * Y + Y)
    close(functional_call(layer, {"weight": Y}, (X,), tie_weights=False), X * Y + X)
    with pytest.raises(ValueError, match="tied"):
        functional_call(layer, {"weight": Y, "shift": Y * 1}, (X,))


def test_stacked_modules():
    parameters, buffers = stack_module_state([Linear(X, Y), Linear(Y, X)])
    close(parameters["weight"], ferrograd.stack([X, Y])), close(buffers["shift"], ferrograd.stack([Y, X]))
    layer = Linear(X, X * 1)
    out = vmap(lambda p, b, x: functional_call(layer, (p, b), (x,)), in_dims=(0, 0, None))(parameters, buffers, X)
    close(out, ferrograd.stack([X * X + Y, X * Y + X]))
    with pytest.raises(RuntimeError, match="at least one model"):
        stack_module_state([])


# Trees.


def test_trees():
    from collections import OrderedDict, namedtuple

    Point = namedtuple("Point", "x y")
    tree = {"a": [1, (2, None)], "b": Point(3, OrderedDict(c=4))}
    leaves, spec = _pytree.tree_flatten(tree)
    assert leaves == [1, 2, None, 3, 4] and spec.num_leaves == 5
    assert _pytree.tree_unflatten(leaves, spec) == tree
    assert _pytree.tree_map(lambda a, b: (a, b), (1, 2), (3, 4)) == ((1, 3), (2, 4))
    assert _pytree.tree_structure((1, [2])) == _pytree.tree_structure((3, [4])) != _pytree.tree_structure((1, (2,)))
    with pytest.raises(ValueError, match="has length 1 but the spec refers to a pytree that holds 5 items"):
        _pytree.tree_unflatten([1], spec)


def test_trees_of_less_usual_kinds():
    tree = defaultdict(list, a=deque([X, Y], maxlen=3))
    leaves, spec = _pytree.tree_flatten(tree)
    again = _pytree.tree_unflatten(leaves, spec)
    assert type(again) is defaultdict and again.default_factory is list
    assert type(again["a"]) is deque and again["a"].maxlen == 3 and len(leaves) == 2
    assert spec != _pytree.tree_structure(defaultdict(list, a=deque([X, Y])))
    gradient = grad(lambda t: (t["a"][0] * t["a"][1]).sum())(tree)
    close(gradient["a"][1], X)
    # Results of ops that have several.
    largest = vmap(lambda row: row.max(0))(BATCH)
    assert type(largest) is ferrograd.return_types.max and largest.values.equal(BATCH.max(1).values)
    close(vmap(lambda row: row.topk(2), out_dims=1)(BATCH)[0], BATCH.topk(2).values.T)
    with pytest.raises(ValueError, match="out_dims is not compatible"):
        vmap(lambda row: row.topk(2), out_dims=(1, 0))(BATCH)
    close(vmap(lambda result: result.values * 2)(BATCH.sort()), BATCH * 2)


def test_dims_of_dicts():
    want = (BATCH * Y).sum(1)
    for dims in ({"a": 0, "b": None}, OrderedDict(a=0, b=None)):
        close(vmap(lambda d: (d["a"] * d["b"]).sum(), in_dims=(dims,))({"a": BATCH, "b": Y}), want)
    for dims in ({"a": 0}, {"a": 0, "c": None}, {"b": None, "a": 0}):
        with pytest.raises(ValueError, match="in_dims is not compatible"):
            vmap(lambda d: d["a"], in_dims=(dims,))({"a": BATCH, "b": Y})


def test_jacfwd_and_random_numbers():
    x = ferrograd.ones(2)
    func = ferrograd.func

    def noisy(x):
        return x * ferrograd.rand(2)

    state = ferrograd.get_rng_state()
    for call, text in (
        (lambda: func.jacfwd(noisy)(x), "called random operation while in randomness error mode"),
        (lambda: func.hessian(lambda x: noisy(x).sum())(x), "called random operation while in randomness error mode"),
        (lambda: func.vmap(noisy)(ferrograd.ones(3, 2)), "called random operation while in randomness error mode"),
        (lambda: func.jacfwd(lambda x: x, randomness="some")(x), "Only allowed values for randomness"),
    ):
        with pytest.raises(RuntimeError, match=text):
            call()
        assert ferrograd.get_rng_state().equal(state)
    ferrograd.manual_seed(0)
    numbers = ferrograd.rand(2, 2)  # Of each column.
    ferrograd.manual_seed(0)
    assert func.jacfwd(noisy, randomness="different")(x).equal(numbers.diagonal().diag_embed())
    jacobians, aux = func.jacfwd(lambda a, b: ({"y": a["x"] * b}, a), (0, 1), True, randomness="different")({"x": X}, Y)
    close(jacobians["y"][0]["x"], Y.diag())
    close(jacobians["y"][1], X.diag())
    close(aux["x"], X)
    ferrograd.manual_seed(0)
    numbers = ferrograd.rand(2).tolist()
    ferrograd.manual_seed(0)
    assert func.jacfwd(noisy, randomness="same")(x).diagonal().tolist() == numbers


def test_functionalize_and_unwrap():
    def f(x):
        y = x.clone()
        y.add_(1)
        return y

    x = ferrograd.ones(2)
    assert ferrograd.func.functionalize(f)(x).tolist() == [2, 2] and x.tolist() == [1, 1]
    assert ferrograd.func.functionalize(f, remove="mutations_and_views")(x).tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="received invalid argument for remove=views"):
        ferrograd.func.functionalize(f, remove="views")
    assert ferrograd.func.debug_unwrap(x) is x


def test_what_jacobians_refuse():
    z = ferrograd.tensor([1 + 2j])
    for transform, options in ((jacrev, {}), (jacfwd, {}), (jacfwd, {"randomness": "different"})):
        with pytest.raises(RuntimeError, match="Expected all inputs to be real but received complex tensor at flattened input idx: 1"):
            transform(lambda x, z: x, **options)(X, z)
        with pytest.raises(RuntimeError, match="Expected all outputs to be real but received complex tensor at flattened input idx: 0"):
            transform(lambda x: x * 1j, **options)(X)
    with pytest.raises(RuntimeError, match="All outputs of f must be floating-point or complex"):
        jacrev(lambda x: x.long())(X)


def test_tangents_that_do_not_fit():
    count = ferrograd.tensor([1, 2, 3])
    with pytest.raises(ValueError, match="Expected primal to be floating point or complex, but got: torch.int64"):
        jvp(lambda x: x * 1.0, (count,), (X,))
    with pytest.raises(ValueError, match="Expected tangent to be floating point or complex, but got: torch.int64"):
        jvp(lambda x: x * 1.0, (X,), (count,))
    with pytest.raises(RuntimeError, match="forward gradient that has a different size"):
        jvp(lambda x: x * 1.0, (X,), (number(1.0),))


def test_a_cotangent_may_be_left_out():
    _, pull = vjp(lambda x, y: (x * y, (x + y).sum()), X, Y)
    close(pull((Y, None))[0], Y * Y + 1)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        pull((None, number(1.0)))


def test_saved_tensor_hooks_are_refused_by_what_differentiates_backwards():
    hooks = ferrograd.autograd.graph.saved_tensors_hooks
    calls = {
        "grad": lambda f: grad(f)(X),
        "vjp": lambda f: vjp(f, X),
        "jacrev": lambda f: jacrev(f)(X),
        "hessian": lambda f: hessian(f)(X),
    }

    def square(x):
        return (x * x).sum()

    def hooked(f):
        def wrapped(*args):
            with hooks(lambda t: t, lambda t: t):
                return f(*args)

        return wrapped

    for call in calls.values():
        for refused in (lambda: call(hooked(square)), hooked(lambda: call(square))):
            with pytest.raises(RuntimeError, match="don't yet support saved tensor hooks"):
                refused()
        call(square)
    close(jvp(hooked(square), (X,), (X,))[0], square(X))


def test_jacobians_take_no_keywords():
    for jacobian in (jacrev, jacfwd, hessian):
        with pytest.raises(TypeError, match="unexpected keyword"):
            jacobian(lambda x, k=1: (x * k).sum())(X, k=2)


def test_functional_call_without_a_name():
    with pytest.raises(KeyError, match="empty string"):
        functional_call(ferrograd.nn.Linear(2, 1), {"": ferrograd.zeros(1)}, ferrograd.ones(2))


def test_batch_norms_without_running_statistics():
    nn = ferrograd.nn
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2)), nn.BatchNorm1d(2, track_running_stats=False))
    assert replace_all_batch_norm_modules_(model) is model
    norm = model[1][0]
    assert norm.running_mean is norm.running_var is norm.num_batches_tracked is None and not norm.track_running_stats
    x = ferrograd.rand(4, 2)
    assert ferrograd.equal(model.eval()(x), model.train()(x)) and not list(model.buffers())


def test_transforms_in_inference_mode():
    x = tensor(1.0, 2.0)
    with ferrograd.inference_mode():
        inside = ferrograd.ones(2, dtype=ferrograd.float64)
        assert grad(lambda x: (x**2).sum())(x).tolist() == [2.0, 4.0]
        assert grad(lambda x: (x * 3).sum())(inside).tolist() == [3.0, 3.0]
        assert vjp(lambda x: x**2, x)[1](x)[0].tolist() == [2.0, 8.0]
        assert jvp(lambda x: x**2, (x,), (x,))[1].tolist() == [2.0, 8.0]
        assert jacrev(lambda x: x**2)(x).tolist() == jacfwd(lambda x: x**2)(x).tolist() == [[2.0, 0.0], [0.0, 4.0]]
        assert hessian(lambda x: (x**3).sum())(x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
        leaf = ferrograd.ones(2, dtype=ferrograd.float64, requires_grad=True)
    # What was made there may be differentiated by elsewhere, too.
    for x in (inside, leaf):
        assert grad(lambda x: x.exp().sum() + (x**2).sum())(x).tolist() == [math.e + 2] * 2
        assert jvp(lambda x: x**2, (x,), (tensor(1.0, 2.0),))[1].tolist() == [2.0, 4.0]
        assert hessian(lambda x: (x**3).sum())(x).tolist() == [[6.0, 0.0], [0.0, 6.0]]


def test_other_arguments_may_be_written_to():
    """Those that a function is not differentiated by, as long as they are its own: not what an outer one has captured."""

    def product(x, y):
        y.copy_(x * 2)
        return y * x

    total = lambda x, y: product(x, y).sum()
    x = ferrograd.tensor([1.0, 2.0, 3.0])
    for call, want in (
        (lambda y: grad(total)(x, y), 4 * x),
        (lambda y: grad(lambda x, d: total(x, d["y"]))(x, {"y": y}), 4 * x),
        (lambda y: ferrograd.func.jacrev(product)(x, y).diag(), 4 * x),
        (lambda y: ferrograd.func.jacfwd(product)(x, y).diag(), 4 * x),
        (lambda y: ferrograd.func.hessian(total)(x, y).diag(), ferrograd.full((3,), 4.0)),
        (lambda y: vmap(grad(total))(x[:, None], y[:, None])[:, 0], 4 * x),
    ):
        y = ferrograd.zeros(3)
        assert call(y).equal(want) and y.equal(2 * x)
    y = ferrograd.zeros(3)
    for call in (
        lambda: grad(lambda x: grad(total)(x, y).sum())(x),
        lambda: vmap(grad(total), in_dims=(0, None))(x[:, None], y[:1]),
        lambda: grad(total)(x, ferrograd.zeros(3, requires_grad=True)),
    ):
        with pytest.raises(RuntimeError):
            call()
        assert y.tolist() == [0, 0, 0]


def test_bernoulli_by_a_number_for_samples_along_another_dim():
    """The result lies in memory with the samples in front, whatever the tensor."""
    x = ferrograd.zeros(3, 5, 4)
    ferrograd.manual_seed(5)
    y = vmap(lambda t: ferrograd.bernoulli(t, 0.5), in_dims=-1, randomness="different")(x)
    ferrograd.manual_seed(5)
    assert y.equal(ferrograd.bernoulli(x.movedim(-1, 0), 0.5))


def physical(method, *dims):
    return lambda x: getattr(x, method)(*dims)


@pytest.mark.parametrize(
    "in_place, dim, want",
    [
        (physical("t_"), 0, physical("transpose", 1, 2)),
        (physical("t_"), 1, physical("transpose", 0, 2)),
        (physical("t_"), -1, physical("transpose", 0, 1)),
        (physical("transpose_", -1, 0), 1, physical("transpose", 0, 2)),
        (physical("swapaxes_", 0, 1), 0, physical("transpose", 1, 2)),
        (physical("swapdims_", 1, 0), 2, physical("transpose", 0, 1)),
        (physical("unsqueeze_", 0), 0, physical("unsqueeze", 1)),
        (physical("unsqueeze_", 0), 1, physical("unsqueeze", 0)),
        (physical("unsqueeze_", 1), 1, physical("unsqueeze", 2)),
        (physical("unsqueeze_", -1), 1, physical("unsqueeze", 3)),
        (lambda x: x.unsqueeze_(0).squeeze_(0).t_(), 1, physical("transpose", 0, 2)),
        (lambda x: x.unsqueeze_(0).transpose_(0, 2), 1, lambda x: x.unsqueeze(0).transpose(0, 3)),
    ],
)
def test_views_in_place_of_samples_are_those_of_the_batch(in_place, dim, want):
    def base():
        return ferrograd.arange(24.0).view(2, 3, 4)

    x, like = base(), want(base())
    y = vmap(lambda x: (in_place(x), x.sum())[1], in_dims=dim)(x)
    assert y.equal(base().movedim(dim, 0).sum((1, 2)))
    assert x.shape == like.shape and x.stride() == like.stride() and x.equal(like)
    # Not where there are several batches.
    x = base()
    vmap(in_place, in_dims=dim, chunk_size=1)(x)
    assert x.equal(base())


def test_views_in_place_of_samples():
    x = ferrograd.arange(6.0).view(2, 1, 3)
    y = vmap(lambda x: x.squeeze_())(x)
    assert y is x and x.tolist() == [[0, 1, 2], [3, 4, 5]]
    x = ferrograd.arange(6.0).view(1, 2, 1, 3)
    assert vmap(lambda x: x.squeeze_((0, 1)), in_dims=1, out_dims=1)(x).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    x = ferrograd.zeros(0, 3, 4)
    assert vmap(lambda x: x.t_())(x).shape == x.shape == (0, 4, 3)
    # In maps within maps, and recorded.
    x = ferrograd.arange(24.0).view(2, 3, 4, 1)
    want = x.transpose(0, 2)
    y = vmap(vmap(lambda x: x.t_(), in_dims=2), in_dims=1)(x)
    assert x.equal(want) and y.equal(want.permute(1, 3, 0, 2))
    leaf = ferrograd.ones(2, 3, 4, requires_grad=True)
    x, w = leaf * 2, ferrograd.arange(24.0).view(2, 4, 3)
    assert vmap(lambda x: x.t_())(x) is x
    (x * w).sum().backward()
    assert leaf.grad.equal(2 * w.mT)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        vmap(lambda x: x.t_())(leaf)


def test_answers_lie_in_memory_as_torch_lays_them():
    """In the order of the batch's dims, whichever of them is mapped: `view` finds them there."""
    x = ferrograd.arange(24.0).view(2, 3, 4)
    strides = {
        (0, 0): (12, 4, 1),
        (0, 1): (4, 12, 1),
        (0, 2): (4, 1, 12),
        (1, 0): (4, 12, 1),
        (1, 1): (12, 4, 1),
        (2, 0): (1, 12, 4),
        (2, 2): (12, 4, 1),
    }
    for (in_dim, out_dim), want in strides.items():
        for f in (ferrograd.sin, lambda x: x + 1, lambda x: x * x, lambda x: x.clone()):
            y = vmap(f, in_dim, out_dim)(x)
            assert y.equal(f(x).movedim(in_dim, out_dim)) and y.stride() == want, (in_dim, out_dim)
    y = vmap(lambda x: (x * 2).t())(x)
    assert y.stride() == (12, 1, 4) and y.equal(2 * x.mT)
    assert vmap(lambda x: x.t().sin())(x).stride() == (12, 1, 4)
    assert vmap(vmap(ferrograd.sin, 1, 1), 2, 2)(x).is_contiguous()
    assert vmap(vmap(ferrograd.sin, 1), 1)(x).stride() == (4, 1, 12)
    assert vmap(ferrograd.sin, out_dims=1, chunk_size=1)(x).is_contiguous()
    # They are tensors of their own, recorded and written to as such.
    leaf = x.clone().requires_grad_()
    y = vmap(ferrograd.exp, in_dims=1, out_dims=2)(leaf)
    assert not y._is_view() and y.stride() == (12, 1, 4)
    y.mul_(2).sum().backward()
    assert leaf.grad.equal(2 * x.exp())


def test_the_same_numbers_whatever_dim_is_mapped():
    x = ferrograd.zeros(3, 4, 5, 6)
    for draw in (ferrograd.randn_like, ferrograd.rand_like, lambda x: (x * 1).normal_(), lambda x: ferrograd.nn.functional.dropout(x + 1)):
        for dim in range(4):
            ferrograd.manual_seed(0)
            want = draw(x.select(dim, 0).contiguous())
            ferrograd.manual_seed(0)
            y = vmap(draw, in_dims=dim, randomness="same")(x)
            assert all(part.equal(want) for part in y), dim
    # In maps within maps only those that find "different" numbers count.
    for outer, inner, shape in (("same", "different", (3, 5, 6)), ("different", "same", (4, 5, 6))):
        ferrograd.manual_seed(0)
        want = ferrograd.randn(shape)
        ferrograd.manual_seed(0)
        y = vmap(vmap(ferrograd.randn_like, randomness=inner), in_dims=1, randomness=outer)(x)
        assert all(part.equal(want) for part in y.unbind(0 if outer == "same" else 1)), outer


def test_an_empty_batch_is_mapped_by_ops_that_need_more_than_zeros():
    x = ferrograd.zeros(0, 3, 3)
    for op in (ferrograd.linalg.inv, ferrograd.linalg.cholesky, ferrograd.linalg.eigvalsh, lambda x: x.multinomial(2)):
        y = vmap(op, randomness="different")(x)
        assert y.shape[0] == 0 and y.dim() == op(ferrograd.eye(3) + 1).dim() + 1
    assert vmap(lambda x: ferrograd.linalg.solve(x, x))(ferrograd.zeros(2, 0, 2, 2).movedim(1, 0)).shape == (0, 2, 2, 2)
    # Places are zeros, divisors are not.
    i = ferrograd.zeros(0, 3).long()
    for op in (lambda i: 7 // i, lambda i: i % i, lambda i: ferrograd.eye(3)[i] + (1 % (i + 1)), lambda i: ferrograd.ones(1)[i[:1]]):
        assert vmap(op)(i).shape[0] == 0
    lu = ferrograd.eye(3).expand(0, 3, 3)
    assert vmap(lambda lu, p: ferrograd.lu_unpack(lu, p)[0])(lu, i.int()).shape == (0, 3, 3)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        vmap(lambda i: 1 // (i - i))(i)
    assert vmap(lambda x: x.sum(), in_dims=1)(ferrograd.zeros(0, 0)).shape == vmap(ferrograd.sin)(ferrograd.zeros(0)).shape == (0,)


def test_batch_norm_moves_averages_that_are_captured():
    """As in torch, where the op does not say that it writes to them."""
    x, mean, var = ferrograd.arange(12.0).view(4, 3), ferrograd.zeros(3), ferrograd.ones(3)

    def total(x):
        return (ferrograd.nn.functional.batch_norm(x, mean, var, training=True) ** 3).sum()

    for transform in (grad, jacrev, lambda f: lambda x: jvp(f, (x,), (x,)), lambda f: lambda x: vjp(f, x)):
        before = mean.clone()
        transform(total)(x)
        assert mean.allclose(0.9 * before + 0.1 * x.mean(0))
    before = mean.clone()
    grad(lambda x: ferrograd.nn.functional.instance_norm(x.t()[None], mean, var).sum())(x)
    assert mean.allclose(0.9 * before + 0.1 * x.mean(0))
    mean.copy_(before)
    with pytest.raises(RuntimeError):
        vmap(total)(ferrograd.stack([x, x + 1]))
    assert mean.allclose(x.mean(0) * (1 - 0.9**4))


def test_forward_mode_of_ops_that_have_no_derivative():
    x = tensor(1.0, 2.0)
    for f in (lambda x: x.floor_divide(2), lambda x: x.heaviside(x)):
        with pytest.raises(NotImplementedError, match="Trying to use forward AD with"):
            jvp(f, (x,), (x,))
        with pytest.raises(RuntimeError, match="derivative for aten::.* is not implemented"):
            vjp(f, x)[1](x)


def test_as_strided_scatter_of_samples():
    x, src = ferrograd.arange(6.0).view(2, 3), ferrograd.tensor([7.0, 8.0])
    y = vmap(lambda x: x.as_strided_scatter(src, [2], [1], 1))(x)
    assert y.tolist() == [[0, 7, 8], [3, 7, 8]]
    # A cotangent that is a part of a batch.
    _, pull = vjp(lambda x, src: x.as_strided_scatter(src, [2], [1], 1), x[0].clone(), src)
    gx, gsrc = vmap(pull)(x)
    assert gsrc.tolist() == [[1, 2], [4, 5]] and gx.tolist() == [[0, 1, 2], [0, 4, 5]]
    assert pull(x[1])[1].tolist() == [4, 5]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weights_of_logits_have_gradients_within_transforms(reduction):
    ferrograd.manual_seed(0)
    x, t, w, p = (ferrograd.rand(2, 3, dtype=ferrograd.float64) + 0.1 for _ in range(4))

    def loss(w, p):
        return ferrograd.nn.functional.binary_cross_entropy_with_logits(x, t, weight=w, pos_weight=p, reduction=reduction).sum()

    with pytest.raises(RuntimeError, match="not differentiable with respect to argument 'weight'"):
        loss(w.clone().requires_grad_(), p)
    step = 1e-6
    for place, found in enumerate(grad(loss, argnums=(0, 1))(w, p)):
        for i in range(x.numel()):
            ends = []
            for sign in (1, -1):
                moved = [w.clone(), p.clone()]
                moved[place].view(-1)[i] += sign * step
                ends.append(loss(*moved).item())
            assert found.view(-1)[i].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)
    # Along the tangents as by the gradients.
    _, along = jvp(loss, (w, p), (t, x))
    by_gradients = sum((g * v).sum() for g, v in zip(grad(loss, argnums=(0, 1))(w, p), (t, x)))
    assert along.item() == pytest.approx(by_gradients.item(), rel=1e-12)


def test_derivatives_of_linear_functions_require_a_gradient_where_their_formulas_read_values():
    """As torch's formula of ``x * w`` reads x, also where what it is multiplied with is zero."""
    x, v = ferrograd.tensor([1.0, 2.0], requires_grad=True), ferrograd.tensor([3.0, 4.0])
    for f, reads in ((lambda a: a * v, True), (lambda a: a / v, True), (lambda a: a * 2, True), (lambda a: a.flip(0) + v, False)):
        results = [jvp(f, (x,), (v,))[1], jacfwd(f)(x), linearize(f, x)[1](v)]
        assert [y.requires_grad for y in results[:2]] == [reads, reads]
        plain = [jvp(f, (x.detach(),), (v,))[1], jacfwd(f)(x.detach()), linearize(f, x.detach())[1](v)]
        assert all(y.equal(z) and not z.requires_grad for y, z in zip(results, plain))
        if reads:
            assert [ferrograd.autograd.grad(y.sum(), x)[0].tolist() for y in results[:2]] == [[0, 0]] * 2
    assert hessian(lambda a: (a * a).sum())(x).requires_grad
