"""Forward mode: tangents carried by dual tensors."""

import gc
import threading
import warnings
import weakref
import zlib

import numpy as np
import pytest

import ferrograd
from ferrograd.autograd import forward_ad
from op_cases import CASES


def tensor(*values, grad=False):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=grad)


X, V = tensor(1.0, 2.0), tensor(0.5, -1.0)


def test_tangents():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        primal, tangent = forward_ad.unpack_dual(x)
        assert primal.tolist() == X.tolist() and tangent is V
        primal, tangent = forward_ad.unpack_dual(x.exp() * x)
        assert tangent.allclose((X + 1) * X.exp() * V) and not tangent.requires_grad and not primal.requires_grad
        assert forward_ad.unpack_dual(X * 2).tangent is None
    assert forward_ad.unpack_dual(x).tangent is None


def test_forward_over_reverse_and_reverse_over_forward():
    w = tensor(3.0, 4.0, grad=True)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(w, V)
        tangent = forward_ad.unpack_dual(dual**3).tangent
        assert ferrograd.autograd.grad(tangent.sum(), w)[0].allclose(6 * w.detach() * V)
        x = forward_ad.make_dual(X, V)
        (g,) = ferrograd.autograd.grad((x**2 * w**2).sum(), w, create_graph=True)
        assert forward_ad.unpack_dual(g).tangent.allclose(4 * X * w.detach() * V)


def test_levels():
    with pytest.raises(RuntimeError, match="no level exists"):
        forward_ad.make_dual(X, V)
    with forward_ad.dual_level():
        with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
            forward_ad.enter_dual_level()
        with pytest.raises(RuntimeError, match="different size"):
            forward_ad.make_dual(X, V[:1])
        with pytest.raises(ValueError, match="Expected primal to be floating point or complex, but got"):
            forward_ad.make_dual(X.long(), V)
        with pytest.raises(RuntimeError, match="exit a forward AD level"):
            forward_ad.exit_dual_level(level=1)
        for transform in (lambda: ferrograd.func.jvp(ferrograd.exp, (X,), (V,)), lambda: ferrograd.func.jacfwd(ferrograd.exp)(X)):
            with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
                transform()
        assert forward_ad._current_level == 0
    assert forward_ad._current_level == -1
    with pytest.raises(RuntimeError, match="Dual level must be a positive number"):
        forward_ad.exit_dual_level()
    with pytest.raises(RuntimeError, match="not created or is already deleted"):
        forward_ad.make_dual(X, V, level=0)
    with ferrograd.no_grad():
        with forward_ad.dual_level():
            assert forward_ad.unpack_dual(forward_ad.make_dual(X, V) ** 2).tangent.allclose(2 * X * V)
        assert not ferrograd.is_grad_enabled()


class Product(ferrograd.autograd.Function):
    """Knows its derivative along tangents only."""

    @staticmethod
    def forward(ctx, x, w, k):
        y = x * w * k
        ctx.save_for_forward(x, w, y)
        ctx.k = k
        return y, x + 1

    @staticmethod
    def jvp(ctx, by_x, by_w, by_k):
        x, w, y = ctx.saved_tensors
        assert by_k is None and y.tolist() == (x * w * ctx.k).tolist()
        along = by_x * w * ctx.k
        return along if by_w is None else along + by_w * x * ctx.k, by_x * 1


def test_each_thread_has_a_level_of_its_own():
    """Both are within a level at the same time, each with its own tangents."""
    inside, derivatives = threading.Barrier(2), {}

    def differentiate(factor):
        with forward_ad.dual_level():
            x = forward_ad.make_dual(ferrograd.tensor([2.0]), ferrograd.tensor([factor]))
            inside.wait(60)
            derivatives[factor] = forward_ad.unpack_dual(x * x).tangent.tolist()
            inside.wait(60)

    threads = [threading.Thread(target=differentiate, args=(factor,)) for factor in (1.0, 10.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert derivatives == {1.0: [4.0], 10.0: [40.0]}


def test_functions_that_have_a_jvp_only():
    x, w = ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0])
    with forward_ad.dual_level():
        dx, dw = forward_ad.make_dual(x, ferrograd.ones(2)), forward_ad.make_dual(w, ferrograd.full((2,), 2.0))
        y, z = Product.apply(dx, dw, 5)
        assert forward_ad.unpack_dual(y).tangent.tolist() == [25, 40] and forward_ad.unpack_dual(z).tangent.tolist() == [1, 1]
        y, _ = Product.apply(dx, w, 5)
        assert forward_ad.unpack_dual(y).tangent.tolist() == [15, 20]
    with pytest.raises(NotImplementedError, match="either the backward or vjp method"):
        Product.apply(x.requires_grad_(), w, 5)[0].sum().backward()


def test_what_is_saved_for_forward_does_not_leak():
    class Both(ferrograd.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 1
            ctx.save_for_forward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g

    x = ferrograd.ones(1, requires_grad=True)
    for make in (lambda: Both.apply(x), lambda: Product.apply(x, ferrograd.ones(1), 3)[0]):
        y = make()
        gone = weakref.ref(y)
        del y
        gc.collect()
        assert gone() is None


def test_dual_tensors_are_written_to():
    for primal in (X, tensor(1.0, 2.0, grad=True) * 1):
        with forward_ad.dual_level():
            memory = primal.clone()
            x = forward_ad.make_dual(memory, V)
            x.mul_(3).mul_(x.clone())
            assert forward_ad.unpack_dual(x).tangent.allclose(18 * X * V)
            assert memory.allclose(9 * X * X)
            y = ferrograd.zeros_like(X)
            y[1:] = forward_ad.make_dual(X, V)[1:]
            assert forward_ad.unpack_dual(y).tangent.tolist() == [0, -1]


def test_a_derivative_that_is_zero_is_no_missing_one():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        for y in (x.round(), (x * 1).fill_(2.0), x * 0):
            assert forward_ad.unpack_dual(y).tangent.tolist() == [0, 0]
        for y in (x.detach(), X * 2, x > 1):
            assert forward_ad.unpack_dual(y).tangent is None


def test_what_is_dual_is_not_made_so_again():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        for y in (x, x * 2):
            with pytest.raises(RuntimeError, match="already has a forward gradient at the same level"):
                forward_ad.make_dual(y, V)
        forward_ad.make_dual(x.detach(), V)
        for call in (lambda: forward_ad.make_dual(X, V, level=3), lambda: forward_ad.unpack_dual(x, level=3)):
            with pytest.raises(RuntimeError, match="Invalid level given"):
                call()


def dual_of(function, x=X, v=V):
    """The tangent of what a function answers for a dual copy."""
    with forward_ad.dual_level():
        y = function(forward_ad.make_dual(x.clone(), v).clone())
        return [forward_ad.unpack_dual(y).tangent for y in (y if isinstance(y, tuple) else (y,))]


def written_between(use, *writes):
    """The tangents of ``use(dual, w)`` before and after each write to `w`, all computed at the end, and what they should be."""
    w = tensor(2.0, 3.0)
    with forward_ad.dual_level():
        x, results, expected = forward_ad.make_dual(X, V), [], []
        for write in (*writes, lambda w: None):
            results.append(use(x, w))
            expected.append(use(x, w.clone()))
            write(w)
        return [forward_ad.unpack_dual(y).tangent for y in results], [forward_ad.unpack_dual(y).tangent for y in expected]


def test_what_tangents_are_computed_from_may_be_written_to():
    def step(w):
        w = ferrograd.nn.Parameter(w.detach())
        (w * w).sum().backward()
        ferrograd.optim.Adam([w]).step()

    def data(w):
        w.data = tensor(5.0, 7.0)

    writes = (
        lambda w: w.mul_(2),
        lambda w: w.__setitem__(0, 9.0),
        lambda w: w[1:].exp_(),
        lambda w: w.copy_(X),
        lambda w: w.fill_(3),
        lambda w: w.uniform_(),
        lambda w: ferrograd.exp(X, out=w),
        lambda w: w.data.add_(1),
        step,
        data,
        lambda w: w.set_(tensor(1.0, 5.0)),
    )
    for use in (lambda x, w: x * w, lambda x, w: (x * w).sin() * w, lambda x, w: x @ ferrograd.outer(w, w), lambda x, w: x**w):
        found, expected = written_between(use, *writes)
        assert all(a.equal(b) for a, b in zip(found, expected)) and len({tuple(a.tolist()) for a in found}) == len(found)


def tangents_of(case, write):
    """Those of an op's results; if wanted, its arguments are written to before these are asked for."""
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    inputs = [ferrograd.from_numpy(np.array(i.sample(rng))).clone() for i in case.inputs]
    directions = [ferrograd.from_numpy(rng.standard_normal(x.shape)).to(x.dtype) for x in inputs]
    ferrograd.manual_seed(0)
    with forward_ad.dual_level():
        outputs = case.call(*map(forward_ad.make_dual, inputs, directions))
        outputs = [y for y in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)) if y.is_floating_point()]
        if write:
            for x in inputs:
                x.fill_(float("nan"))
        return [forward_ad.unpack_dual(y).tangent for y in outputs]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_arguments_of_an_op_may_be_written_to(case):
    for expected, found in zip(tangents_of(case, False), tangents_of(case, True)):
        assert (expected is None) == (found is None) and (expected is None or expected.allclose(found, equal_nan=True))


@pytest.mark.parametrize("case", [case for case in CASES if case.second], ids=str)
def test_tangents_of_gradients_are_gradients_of_tangents(case):
    """The product of the second derivatives with a direction, forward over reverse and reverse over reverse."""
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    inputs = [ferrograd.from_numpy(np.array(i.sample(rng))).requires_grad_() for i in case.inputs]
    directions = [ferrograd.from_numpy(np.array(rng.standard_normal(x.shape))) for x in inputs]

    def gradients(xs, create_graph):
        ferrograd.manual_seed(0)
        outputs = case.call(*xs)
        outputs = [y for y in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)) if y.is_floating_point()]
        total = sum((y * ferrograd.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).view(y.shape)).sum() for y in outputs)
        total = total + sum((x**3).sum() for x in xs)
        return ferrograd.autograd.grad(total, xs, create_graph=create_graph)

    product = sum((g * v).sum() for g, v in zip(gradients(inputs, True), directions))
    wanted = ferrograd.autograd.grad(product, inputs)
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x, v) for x, v in zip(inputs, directions)]
        found = [forward_ad.unpack_dual(g).tangent for g in gradients(duals, False)]
    for w, f in zip(wanted, found):
        scale = w.abs().max().item() if w.numel() else 0.0
        assert f.allclose(w, rtol=1e-6, atol=1e-8 * max(1.0, scale))


def test_results_that_are_written_to_have_led_to_tangents_before():
    with forward_ad.dual_level():
        memory = X.clone()
        x = forward_ad.make_dual(memory, V)
        y = x.exp()
        z = y * y
        y.add_(x)
        memory.zero_()
        last = x.sin()
        found = [forward_ad.unpack_dual(t).tangent for t in (z, y, last)]
    e = X.exp()
    for t, expected in zip(found, (2 * e * e * V, (e + 1) * V, V)):
        assert t.allclose(expected)
    assert dual_of(lambda x: x.sin_().exp_().mul_(x))[0].allclose(2 * X.cos() * (2 * X.sin()).exp() * V)
    assert dual_of(lambda x: (x * x).detach_())[0] is None


def test_a_loop_writes_to_its_state():
    def rollout(x):
        state, total = x.clone(), 0
        for _ in range(4):
            state.mul_(x)
            total = total + state.sin()
        return total

    def derivative(x):
        return sum(n * x ** (n - 1) * (x**n).cos() for n in range(2, 6))

    assert ferrograd.func.jvp(rollout, (X,), (V,))[1].allclose(derivative(X) * V)
    assert ferrograd.func.jacfwd(rollout)(X).allclose(derivative(X).diag())
    twice = ferrograd.func.jvp(lambda x: ferrograd.func.jvp(rollout, (x,), (V,))[1], (X,), (V,))[1]
    assert twice.allclose(ferrograd.func.jvp(derivative, (X,), (V,))[1] * V)


def test_what_tangents_do_not_mind_gradients_do():
    """A write to what backward needs is found out, also if tangents have been computed from before."""
    for write_first in (True, False):
        a, w = X.clone(), tensor(1.0, 2.0, grad=True)
        with forward_ad.dual_level():
            x = forward_ad.make_dual(w, V)
            y = x * x * a
            if write_first:
                a.add_(1)
            tangent = forward_ad.unpack_dual(y).tangent
            if not write_first:
                a.add_(1)
            assert tangent.allclose(2 * X * V * X)
            for z in (y, tangent):
                with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                    z.sum().backward()


def test_what_is_unpacked():
    w = tensor(1.0, 2.0, grad=True)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(w, V)
        y = x * x
        primal, tangent = forward_ad.unpack_dual(y)
        assert primal.requires_grad and primal is not y and primal.data_ptr() == y.data_ptr()
        assert forward_ad.unpack_dual(primal).tangent is None and forward_ad.unpack_dual(primal * x).tangent.equal(y.detach() * V)
        assert ferrograd.autograd.grad(primal.sum(), w, retain_graph=True)[0].equal(2 * w)
        assert forward_ad.unpack_dual(y).tangent is tangent
        again = forward_ad.unpack_dual(forward_ad.make_dual(primal, V) * 3)
        assert again.tangent.equal(3 * V) and again.primal.requires_grad
    square = ferrograd.arange(6.0).view(2, 3)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(square.t(), ferrograd.ones(3, 2))
        for y in (x, x + 1, x * 1, x.contiguous(), x.sum() + ferrograd.zeros(4, 5), x.exp().t(), x[1:]):
            primal, tangent = forward_ad.unpack_dual(y)
            assert tangent.stride() == primal.stride()
        x = forward_ad.make_dual(X, V)
        for y in (x + 1, 1 + x, x - 1, x.clone(), x + X):
            assert forward_ad.unpack_dual(y).tangent.add_(1).equal(V + 1) and V.tolist() == [0.5, -1.0]
        for y in (x.view(2, 1), x[1:], x.expand(3, 2)):
            tangent = forward_ad.unpack_dual(y).tangent
            assert tangent.untyped_storage().data_ptr() == V.untyped_storage().data_ptr() and tangent.stride() == y.stride()


def test_without_gradients_there_are_tangents():
    w, leaf = tensor(1.0, 2.0, grad=True) * 1, tensor(1.0, 2.0, grad=True)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(w, V)
        with ferrograd.no_grad():
            y = x * w
        (g,) = ferrograd.autograd.grad((x**3).sum(), w)
        for z, expected in ((y, w * V), (g, 6 * w * V)):
            primal, tangent = forward_ad.unpack_dual(z)
            assert tangent.allclose(expected) and not tangent.requires_grad and not primal.requires_grad
        x = forward_ad.make_dual(X, leaf)
        with ferrograd.no_grad():
            y, z = x * 2, x.clone()
            z.mul_(3)
        assert not any(forward_ad.unpack_dual(t).tangent.requires_grad for t in (y, z))
        assert forward_ad.unpack_dual(x * 2).tangent.requires_grad
        for primal in (w.clone(), leaf):
            x = forward_ad.make_dual(primal, V)
            y = x.exp()
            with ferrograd.no_grad():
                x.mul_(3)
                x[1:].add_(x[:1])
            assert forward_ad.unpack_dual(x).tangent.allclose(3 * (V + tensor(0.0, 1.0) * V[0]))
            assert forward_ad.unpack_dual(y).tangent.allclose(y.detach() * V)
            # To gradients nothing has happened.
            assert ferrograd.autograd.grad(x.sum(), primal)[0].tolist() == [1, 1]
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
            forward_ad.make_dual(leaf, V).mul_(2)


def test_what_has_no_derivative_has_no_tangent():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        with pytest.raises(NotImplementedError, match="forward AD with heaviside that does not support it"):
            forward_ad.unpack_dual(x.heaviside(X))


def test_private_names():
    assert ferrograd._C._is_fwd_grad_enabled()
    with forward_ad.dual_level():
        x = ferrograd._make_dual(X, V, level=0)
        assert ferrograd._unpack_dual(x * 2, level=0)[1].equal(2 * V)
        try:
            assert ferrograd._C._set_fwd_grad_enabled(False) is None
            assert not forward_ad._is_fwd_grad_enabled() and forward_ad.unpack_dual(x).tangent is None
            with forward_ad._set_fwd_grad_enabled(True):
                assert forward_ad.unpack_dual(x).tangent is V
            assert not ferrograd._C._is_fwd_grad_enabled()
        finally:
            ferrograd._C._set_fwd_grad_enabled(True)
        assert forward_ad.unpack_dual(x).tangent is V


def made(forward, jvp):
    """A function of one's own."""
    members = {"forward": staticmethod(forward), "jvp": staticmethod(jvp)}
    return type("Made", (ferrograd.autograd.Function,), members).apply


def doubled(ctx, x):
    ctx.mark_dirty(x)
    return x.mul_(2)


def test_a_function_writes_to_a_view():
    double = made(doubled, lambda ctx, t: t.mul_(2))
    with forward_ad.dual_level():
        t = V.clone()
        x = forward_ad.make_dual(X.clone(), t)
        part, before = x[1:], x * x
        y = double(part)
        assert t.equal(V * tensor(1.0, 2.0)) and forward_ad.unpack_dual(before).tangent.equal(2 * X * V)
        for z, expected in ((y, 2 * V[1:]), (part, 2 * V[1:]), (x, V * tensor(1.0, 2.0)), (x * x, 2 * X * V * tensor(1.0, 4.0))):
            assert forward_ad.unpack_dual(z).tangent.allclose(expected)


def test_a_function_writes_to_a_view_and_answers_more():
    both = made(lambda ctx, x: (doubled(ctx, x), x * 3), lambda ctx, t: (t.mul_(2), t * 3))
    with forward_ad.dual_level():
        part = forward_ad.make_dual(X.clone(), V.clone())[1:]
        for y, wanted in zip(both(part), (2 * V[1:], 6 * V[1:])):
            assert forward_ad.unpack_dual(y).tangent.equal(wanted)
        part = forward_ad.make_dual(tensor(1.0, 2.0, grad=True).clone(), V.clone())[1:]
        with pytest.raises(RuntimeError, match="cannot return more than one Tensor|is a view of another Tensor"):
            both(part)


def test_a_jvp_may_write_to_the_tangents():
    (t,) = dual_of(made(lambda ctx, x: x * 2, lambda ctx, t: t.mul_(2)))
    assert t.equal(2 * V)
    (t,) = dual_of(made(doubled, lambda ctx, t: t.mul_(2)))
    assert t.equal(2 * V)
    for jvp, words in (
        (lambda ctx, t: t * 2, "not modifying the forward mode gradients inplace"),
        (lambda ctx, t: None, "not modifying the forward mode gradients inplace"),
        (lambda ctx, t: t, "not modifying the forward mode gradients inplace"),
    ):
        with pytest.raises(RuntimeError, match=words):
            dual_of(made(doubled, jvp))
    other = made(lambda ctx, x, y: doubled(ctx, x), lambda ctx, t, u: u.mul_(2))
    with pytest.raises(RuntimeError, match="not returning the forward mode gradients as-is"):
        dual_of(lambda x: other(x, x * 1))


def test_a_jvp_has_the_very_tangent():
    double = made(doubled, lambda ctx, t: t.mul_(2))
    for x in (X.clone(), tensor(1.0, 2.0, grad=True).clone()):
        with forward_ad.dual_level():
            t = V.clone()
            dual = forward_ad.make_dual(x, t)
            # Its tangent is looked for after the write.
            before = dual * dual
            y = double(dual)
            assert y is dual and forward_ad.unpack_dual(y).tangent is t and t.equal(2 * V)
            assert forward_ad.unpack_dual(before).tangent.equal(2 * X * V)
            assert forward_ad.unpack_dual(y * y).tangent.equal(8 * X * V)
    with forward_ad.dual_level():
        t = V.clone()
        x, other = forward_ad.make_dual(X.clone(), t), forward_ad.make_dual(X, t[:])
        double(x)
        assert forward_ad.unpack_dual(x).tangent.equal(2 * V) and forward_ad.unpack_dual(other * 1).tangent.equal(V)
    shown = made(lambda ctx, x, y: (x + y, x), lambda ctx, x_t, y_t: (x_t + y_t, x_t.view_as(x_t)))
    with forward_ad.dual_level():
        t = V.clone()
        y = shown(forward_ad.make_dual(X, t), X)
        assert forward_ad.unpack_dual(y[1]).tangent._base is t and forward_ad.unpack_dual(y[0]).tangent.equal(V)


def test_a_jvp_shows_what_the_forward_shows():
    for forward, jvp in ((lambda ctx, x: x[:1], lambda ctx, t: t[:1]), (lambda ctx, x: x, lambda ctx, t: t.view_as(t))):
        (t,) = dual_of(made(forward, jvp))
        assert t.equal(V[: len(t)])
    (t,) = dual_of(made(lambda ctx, x: x * 1, lambda ctx, t: t))
    assert t.equal(V)
    # The tangent of a view is one already.
    (t,) = dual_of(lambda x: made(lambda ctx, x: x, lambda ctx, t: t)(forward_ad.make_dual(X.clone(), V)[1:]))
    assert t.equal(V[1:])
    for forward, jvp, words in (
        (lambda ctx, x: x[:1], lambda ctx, t: t[:1].clone(), "jvp is not returning a view"),
        (lambda ctx, x: x[:1], lambda ctx, t: t[:1].clone().view(1), "not returning a view of the given grad input"),
        (lambda ctx, x: x, lambda ctx, t: t, "jvp is not returning a view"),
    ):
        with pytest.raises(RuntimeError, match=words):
            dual_of(made(forward, jvp))


def test_a_jvp_answers_one_tangent_for_each_output():
    def with_constant(ctx, x):
        y = x.clone()
        ctx.mark_non_differentiable(y)
        return x * 2, y

    assert dual_of(made(with_constant, lambda ctx, t: (t, None)))[1] is None
    twice = lambda ctx, x: x * 2
    for forward, jvp, words in (
        (twice, lambda ctx, t: (t, t), r"expected 1 but got 2"),
        (lambda ctx, x: (x * 2, x * 3), lambda ctx, t: t, "expected 2 but got 1"),
        (twice, lambda ctx, t: t[:1], "forward gradient that has a different size"),
        (twice, lambda ctx, t: 3.0, "expected Variable or None"),
        (with_constant, lambda ctx, t: (t, t.clone()), "should return None at that position"),
    ):
        with pytest.raises(RuntimeError, match=words):
            dual_of(made(forward, jvp))


def test_inputs_without_a_tangent_have_zeros():
    seen = []

    def product(ctx, x, y):
        ctx.set_materialize_grads(materialize)
        return x * y

    for materialize in (True, False):
        function = made(product, lambda ctx, t, u: (seen.append(u), t * 2)[1])
        for y in (ferrograd.ones(2), ferrograd.ones(2, dtype=ferrograd.int64), 2.0):
            (t,) = dual_of(lambda x: function(x, y))
            assert t.equal(2 * V)
    assert seen[0].tolist() == [0, 0] and seen[1:] == [None] * 5


def test_a_tangent_stays_until_the_dual_tensor_is_written_to():
    x = X.clone()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, V)
        x.add_(1)
        assert forward_ad.unpack_dual(dual).tangent is V
        dual.detach_()
        assert forward_ad.unpack_dual(dual).tangent is None
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, V)
        with pytest.raises(RuntimeError, match="itself has a forward gradient"):
            forward_ad.make_dual(X, dual)


def test_nothing_is_dual_in_inference_mode():
    with ferrograd.inference_mode(), forward_ad.dual_level():
        for x in (X, X.clone()):
            dual = forward_ad.make_dual(x, V)
            assert dual.data_ptr() == x.data_ptr() and not dual._is_view()
            assert forward_ad.unpack_dual(dual * 2).tangent is None


def test_a_tangent_is_no_graph_that_the_user_sees():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        y = x * x
        for z in (x, y):
            assert not z.requires_grad and z.is_leaf and z.grad_fn is None and z.numpy() is not None
            with pytest.raises(RuntimeError, match="does not require grad"):
                z.sum().backward()
            with pytest.raises(RuntimeError, match="doesn't require gradient"):
                z.register_hook(print)
        w = tensor(3.0, 4.0, grad=True)
        (x * w).sum().backward()
        assert w.grad.tolist() == X.tolist() and (x * w).grad_fn is not None
        with pytest.raises(NotImplementedError, match="it is an out= function"):
            ferrograd.mul(x, 2, out=tensor(0.0, 0.0))
    assert not (y * 2).requires_grad and y.requires_grad_() is y and y.is_leaf


def test_a_tangent_is_followed_under_no_grad():
    w = tensor(3.0, 4.0, grad=True)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        with ferrograd.no_grad():
            y = x * w
            assert not y.requires_grad and forward_ad.unpack_dual(forward_ad.make_dual(w, V) * 2).tangent.equal(2 * V)
            z = ferrograd.zeros_like(X)
            view = z[1:]
            view.copy_(x[1:])
        assert forward_ad.unpack_dual(y).tangent.equal(V * w.detach())
        with ferrograd.no_grad():
            w.mul_(2)
        assert w.is_leaf and w.requires_grad
        assert forward_ad.unpack_dual(z).tangent.tolist() == [0, -1] and forward_ad.unpack_dual(view).tangent.tolist() == [-1]


def test_a_dual_tensor_may_become_a_leaf():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V).requires_grad_()
        assert x.is_leaf and x.requires_grad and x.grad_fn is None
        (x**3).sum().backward()
        assert x.grad.equal(3 * X**2) and forward_ad.unpack_dual(x.grad).tangent is None
        (g,) = ferrograd.autograd.grad((x**3).sum(), x)
        assert not g.requires_grad and forward_ad.unpack_dual(g).tangent.equal(6 * X * V)
        x.requires_grad_(False)
        assert not (x * 2).requires_grad and forward_ad.unpack_dual(x * 2).tangent.equal(2 * V)


def test_the_text_of_a_dual_tensor_shows_its_tangent():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0]))
        assert repr(x * 2) == "tensor([2., 4.], tangent=tensor([6., 8.]))"
        assert repr(forward_ad.make_dual(ferrograd.tensor(1.0), ferrograd.tensor(2.0))) == "tensor(1., tangent=2.0)"
    assert repr(x) == "tensor([1., 2.])"


def test_a_tangent_lies_in_memory_as_its_tensor_does():
    matrix = ferrograd.arange(6.0).view(2, 3)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(forward_ad.make_dual(ferrograd.ones(3, 2).t(), matrix)).tangent
        assert tangent is not matrix and tangent.stride() == (1, 2) and tangent.equal(matrix)
        assert forward_ad.unpack_dual(forward_ad.make_dual(ferrograd.ones(2, 3), matrix)).tangent is matrix


def test_the_tangent_of_a_view_is_a_view_of_the_tangent():
    t, z = V.clone(), ferrograd.tensor([1.0 + 2.0j, 3.0])
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, t)
        for y, wanted in ((x[1:], V[1:]), (x.view(2, 1).t()[0], V), (x.expand(3, 2), V.expand(3, 2))):
            tangent = forward_ad.unpack_dual(y).tangent
            assert tangent._base is t and tangent.equal(wanted) and tangent.stride() == y.stride()
        assert forward_ad.unpack_dual(x * 1).tangent._base is None
        part = forward_ad.unpack_dual(forward_ad.make_dual(z, z).conj()[1:]).tangent
        assert part.tolist() == z.conj()[1:].tolist()
        assert forward_ad.unpack_dual(forward_ad.make_dual(z, z).imag).tangent.tolist() == z.imag.tolist()


def test_tangents_switched_off():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        with forward_ad._set_fwd_grad_enabled(False):
            y, z = x * 2, forward_ad.make_dual(X, V)
            assert not forward_ad._is_fwd_grad_enabled() and forward_ad.unpack_dual(x).tangent is None
        assert forward_ad.unpack_dual(y).tangent is None and forward_ad.unpack_dual(z).tangent is V
        with ferrograd.inference_mode():
            assert forward_ad.unpack_dual(x).tangent is None


def test_inference_tensors_may_be_dual_outside():
    with ferrograd.inference_mode():
        x = X.clone()
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(forward_ad.make_dual(x, V) * 2).tangent.equal(2 * V)


def test_hooks_see_no_tangents():
    seen = []
    w = tensor(1.0, 2.0, grad=True)
    with forward_ad.dual_level():
        y = forward_ad.make_dual(w, V) * 3
        y.register_hook(seen.append)
        y.grad_fn.register_prehook(lambda grads: seen.append(grads))
        assert forward_ad.unpack_dual(y.exp()).tangent is not None and not seen


def test_a_jvp_is_called_once_by_apply_with_the_tangents():
    seen = []

    def jvp(ctx, t):
        seen.append(t.tolist())
        assert forward_ad.unpack_dual(ctx.saved_tensors[0]).tangent is None
        return t * 2 + 1

    function = made(lambda ctx, x: (ctx.save_for_forward(x), x * 2)[1], jvp)
    with forward_ad.dual_level():
        y = function(forward_ad.make_dual(X, V))
        assert seen == [V.tolist()]
        for z, expected in ((y, 2 * V + 1), (y * 3, 6 * V + 3), (function(y), 4 * V + 3)):
            assert forward_ad.unpack_dual(z).tangent.equal(expected)
    with forward_ad.dual_level(), ferrograd.no_grad():
        assert forward_ad.unpack_dual(function(forward_ad.make_dual(X, V))).tangent.equal(2 * V + 1)
    bad = made(lambda ctx, x: x * 2, lambda ctx, t: t[:1])
    for function, error in ((bad, "different size"), (made(lambda ctx, x: x * 2, lambda ctx, t: None), "floating point or complex")):
        with forward_ad.dual_level(), pytest.raises(RuntimeError, match=error):
            function(forward_ad.make_dual(X, V))


def test_the_level_as_a_decorator():
    @forward_ad.dual_level()
    def tangent():
        return forward_ad.unpack_dual(forward_ad.make_dual(X, V) * 2).tangent

    assert tangent().equal(2 * V)


def along(function, x, v):
    """The derivative of a function at a point, along a tangent."""
    return dual_of(function, tensor(*x), tensor(*v))[0].tolist()


def test_derivatives_along_tangents_at_kinks():
    """Torch has formulas for them, with the masks where they act on the result: what they hide need not be finite."""
    for function in (ferrograd.std, lambda x: x.std(correction=0), lambda x: ferrograd.std_mean(x)[0]):
        assert along(function, (1.0, 1.0), (1.0, 2.0)) == 0
    assert along(lambda x: x**x, (0.0, 1.0), (1.0, 1.0)) == [0, 1]
    for p in (0.5, 1, 1.5, 2, 3, -1, float("inf")):
        assert along(lambda x: x.norm(p), (0.0, 0.0), (1.0, 2.0)) == 0
        assert p < 0 or along(lambda x: x.norm(p), (0.0, 2.0), (1.0, 2.0)) == pytest.approx(2)
    nan = float("nan")
    assert np.isnan(along(lambda x: ferrograd.atan2(x, x), (0.0,), (1.0,))).all()
    assert along(lambda x: ferrograd.fmax(x, tensor(1.0, nan, 0.0)), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)) == [0, 1, 1]
    assert along(lambda x: ferrograd.nn.functional.prelu(x, tensor(0.5)), (0.0, -1.0, 1.0), (1.0, 1.0, 1.0)) == [1, 0.5, 1]
    assert np.isnan(along(lambda x: x.logit(), (2.0,), (1.0,))).all() and along(lambda x: x.logit(0.1), (2.0,), (1.0,)) == [0]
    assert along(lambda x: x.logcumsumexp(0), (0.0, 0.0), (1.0, 3.0)) == pytest.approx([1, 2])
    assert along(lambda x: x.logcumsumexp(0), (-np.inf, 0.0, 0.0), (1.0, 1.0, 3.0)) == pytest.approx([0, 1, 2])
    assert along(lambda x: x.logcumsumexp(0), (-99.0, 0.0), (1.0, 1.0)) == pytest.approx([0, 1])
    assert along(lambda x: ferrograd.linalg.det(x.diag()), (0.0, 2.0), (1.0, 1.0)) == 0
    z = ferrograd.zeros(1, dtype=ferrograd.complex128)
    assert dual_of(ferrograd.angle, z, z + 1)[0].tolist() == [0]


def test_tangents_that_a_triangle_does_not_show():
    """Torch's formula of a Cholesky factor takes them as they are: L tril(L⁻¹ A' L⁻ᵀ), with half the diagonal."""
    a = ferrograd.tensor([[4.0, 2.0], [2.0, 5.0]], dtype=ferrograd.float64)
    v = ferrograd.tensor([[1.0, 3.0], [-2.0, 1.0]], dtype=ferrograd.float64)
    l = np.linalg.cholesky(a.numpy())
    inner = np.tril(np.linalg.inv(l) @ v.numpy() @ np.linalg.inv(l).T)
    (t,) = dual_of(ferrograd.linalg.cholesky, a, v)
    assert np.allclose(t.numpy(), l @ (inner - np.diag(np.diag(inner)) / 2))


def test_ties_padding_and_poles_along_tangents():
    assert along(lambda x: x.clamp(min=x * 0 + 1), (1.0, 2.0), (3.0, 3.0)) == [0, 3]
    functional = ferrograd.nn.functional
    table = ferrograd.tensor([[1.0], [2.0]], dtype=ferrograd.float64)
    (t,) = dual_of(lambda w: functional.embedding(ferrograd.tensor([0, 1]), w, padding_idx=1), table, 3 * table)
    assert t.tolist() == [[3], [6]]
    zeros, places = ferrograd.zeros(1, dtype=ferrograd.float64), ferrograd.tensor([0, 0])
    for include, expected in ((False, 2), (True, 4 / 3)):
        amax = lambda x, include=include: zeros.scatter_reduce(0, places, x, "amax", include_self=include)
        assert along(amax, (0.0, 0.0), (1.0, 3.0)) == pytest.approx([expected])
    whole = ferrograd.zeros(2, 2, dtype=ferrograd.float64)
    (t,) = dual_of(lambda x: x.as_strided_scatter(x[0] * 2, (2,), (1,), 0), whole, whole + 1)
    assert t.tolist() == [[2, 2], [1, 1]]
    entropy = lambda x: functional.binary_cross_entropy(x, tensor(0.0, 1.0), reduction="none")
    assert along(entropy, (0.5, 0.5), (1.0, 1.0)) == [2, -2] and np.isnan(along(entropy, (0.0, 1.0), (1.0, 1.0))).all()


def test_a_captured_view_is_written_to_under_vmap():
    def function(x):
        memory = ferrograd.zeros_like(X)
        view = memory[1:]
        return ferrograd.vmap(lambda a: (view.add_(x[1:]), a * view.sum())[1])(X), memory

    values, tangents = ferrograd.func.jvp(function, (X,), (V,))
    assert [y.tolist() for y in values] == [[2, 4], [0, 2]] and [t.tolist() for t in tangents] == [[-1, -2], [0, -1]]
    assert ferrograd.func.jacfwd(function)(X)[0].tolist() == [[0, 1], [0, 2]]


def of_numbers(function, *pairs):
    """The tangent of what a function answers for numbers with tangents."""
    with forward_ad.dual_level():
        y = function(*(forward_ad.make_dual(tensor(x), tensor(t)) for x, t in pairs))
        return forward_ad.unpack_dual(y).tangent.tolist()


def test_beside_nan():
    """Torch's formulas give the tangent of one of the operands, and NaN to the largest of all."""
    nan, inf = float("nan"), float("inf")
    for larger in (ferrograd.maximum, ferrograd.minimum):
        assert of_numbers(larger, (nan, 2.0), (1.0, 3.0)) == of_numbers(larger, (1.0, 2.0), (nan, 3.0)) == [3]
        assert of_numbers(larger, (1.0, 2.0), (1.0, 3.0)) == [2.5]
    for bound in ("min", "max"):
        def clamp(x, b):
            return x.clamp(**{bound: b})

        assert of_numbers(clamp, (nan, 2.0), (1.0, 3.0)) == of_numbers(clamp, (1.0, 2.0), (nan, 3.0)) == [3]
        assert of_numbers(lambda x, b: getattr(x, "clamp_" + bound)(b), (nan, 2.0), (1.0, 3.0)) == [3]
    assert of_numbers(ferrograd.clamp, (nan, 2.0), (0.0, 3.0), (1.0, 4.0)) == [2]
    assert of_numbers(ferrograd.clamp, (0.0, 2.0), (1.0, 3.0), (1.0, 4.0)) == [3]
    assert of_numbers(ferrograd.clamp, (0.0, 2.0), (2.0, 3.0), (1.0, 4.0)) == [4]
    with forward_ad.dual_level():
        x = forward_ad.make_dual(tensor(1.0, nan, 3.0), tensor(1.0, 1.0, 1.0))
        for y in (x.max(), x.min(), x.median()):
            assert forward_ad.unpack_dual(y).tangent.isnan()
    # Of both operands at once: infinite, not infinity minus infinity.
    assert of_numbers(ferrograd.div, (1.0, 1.0), (0.0, 2.0)) == [-inf]
    assert of_numbers(ferrograd.div, (6.0, 1.0), (2.0, 3.0)) == [(1 - 3 * 3) / 2]


def test_shrinking_has_no_slope_beside_nan():
    for shrink in (ferrograd.nn.functional.hardshrink, ferrograd.nn.functional.softshrink):
        x = tensor(float("nan"), 2.0, 0.1, grad=True)
        shrink(x).sum().backward()
        assert x.grad.tolist() == [0, 1, 0]


def test_polar_at_zero():
    with forward_ad.dual_level():
        size, angle = forward_ad.make_dual(tensor(0.0, -1.0), tensor(2.0, 3.0)), forward_ad.make_dual(tensor(0.5, 0.5), tensor(5.0, 7.0))
        found = forward_ad.unpack_dual(ferrograd.polar(size, angle)).tangent
    turn = np.exp(0.5j)
    np.testing.assert_allclose(found.numpy(), [2 * turn, 3 * turn - 7j * turn])


def test_unpooled_elements_that_did_not_stay():
    x, places = ferrograd.arange(1.0, 7.0).view(1, 1, 6), ferrograd.tensor([[[3, 1, 3, 0, 1, 5]]])
    with forward_ad.dual_level():
        y = ferrograd.nn.functional.max_unpool1d(forward_ad.make_dual(x, 10 * x), places, 2, output_size=(1, 1, 12))
        primal, tangent = forward_ad.unpack_dual(y)
        assert tangent.equal(10 * primal) and primal.flatten()[:6].tolist() == [4, 5, 0, 3, 0, 6]


def test_tangents_that_are_zero():
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        matrix = forward_ad.make_dual(ferrograd.eye(2) * 3, ferrograd.ones(2, 2))
        for y in (x.norm(0), ferrograd.linalg.vector_norm(x, 0), matrix.slogdet()[0]):
            primal, tangent = forward_ad.unpack_dual(y)
            assert tangent.tolist() == 0 and tangent.shape == primal.shape
    w = tensor(1.0, 2.0, grad=True)
    assert ferrograd.autograd.grad(w.norm(0), w, allow_unused=True) == (None,)


def test_a_level_lets_go_of_what_nothing_leads_to():
    tangents, results = [], []
    with forward_ad.dual_level():
        for i in range(100):
            tangent = V * i
            tangents.append(weakref.ref(tangent))
            y = forward_ad.make_dual(X.clone().requires_grad_(i % 3 == 0), tangent).exp()
            del tangent
            if i % 10 == 0:
                results.append((i, y))
        assert sum(tangent() is not None for tangent in tangents) < 50
        for i, y in results:
            assert forward_ad.unpack_dual(y).tangent.allclose(X.exp() * V * i)


def test_errors_name_what_jacobians_are_made_of():
    for transform, name in ((ferrograd.func.jacfwd, "jvp(f, primals, tangents)"), (ferrograd.func.jacrev, "vjp(f, *primals)")):
        for result, text in ((1, "to return only tensors"), (None, "non-empty output")):
            with pytest.raises(RuntimeError, match=text) as error:
                transform(lambda x, result=result: result)(X)
            assert str(error.value).startswith(name + ":")
        with pytest.raises(RuntimeError, match="^Expected tensors, got unsupported type <class 'int'>"):
            transform(lambda x: (x, 1), has_aux=True)(X)


def test_leaves_are_written_to_by_what_carries_a_tangent():
    """Two steps of gradient descent, and their derivatives along the step size: p - r g, with g = 2 p, which carries no tangent."""
    p, q = tensor(1.0, 2.0, grad=True), tensor(3.0, 4.0, grad=True)
    before = p.detach().clone()
    with forward_ad.dual_level():
        rate = forward_ad.make_dual(tensor(0.1)[0], tensor(1.0)[0])
        for step in (1, 2):
            (p**2).sum().backward()
            with ferrograd.no_grad():
                p.sub_(rate * p.grad)
                q[:1].mul_(rate)
            p.grad = None
            assert p.is_leaf and p.requires_grad and p.grad_fn is None
            tangent = forward_ad.unpack_dual(p).tangent
            assert tangent.allclose(before * (-2 if step == 1 else -2 - 2 * 0.8))
            assert forward_ad.unpack_dual(q).tangent.allclose(3 * step * tensor(1.0 if step == 1 else 0.1, 0.0))
        square = forward_ad.unpack_dual((p**2).sum())
        assert square.tangent.allclose(2 * (p.detach() * tangent).sum())
        (p * 3).sum().backward()
        assert p.grad.tolist() == [3, 3]
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
            p.mul_(2)
        y = p * 2
    assert p.is_leaf and p.requires_grad
    y.sum().backward()
    assert p.grad.tolist() == [5, 5]
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(p * q).tangent is None
        with ferrograd.no_grad():
            p.copy_(forward_ad.make_dual(X, V))
        p.requires_grad_(False)
        assert forward_ad.unpack_dual(p * 2).tangent.equal(2 * V)
    assert not p.requires_grad


def test_leaves_that_carried_a_tangent_are_let_go_of():
    with forward_ad.dual_level():
        w, value = tensor(1.0, 2.0, grad=True), tensor(1.0, 1.0)
        w.grad = value
        with ferrograd.no_grad():
            w.mul_(forward_ad.make_dual(X, V))
        gone = weakref.ref(value)
        del w, value
    gc.collect()
    assert gone() is None


def test_gradients_that_are_added_up_carry_tangents():
    w = tensor(1.0, 2.0, grad=True)
    w.grad = tensor(0.0, 0.0)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V)
        for count in (1, 2):
            (x**2 * w).sum().backward()
            assert forward_ad.unpack_dual(w.grad).tangent.allclose(count * 2 * X * V)
        assert not w.grad.requires_grad and w.grad.allclose(2 * X**2)


def test_a_tangent_carries_none():
    w = tensor(1.0, 2.0, grad=True)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(forward_ad.make_dual(w, V) ** 2).tangent
        assert tangent.requires_grad and forward_ad.unpack_dual(tangent).tangent is None
        assert forward_ad.unpack_dual(tangent * 3).tangent is None
        assert ferrograd.autograd.grad(tangent.sum(), w)[0].equal(2 * V)


def written_to(x, op, *args):
    """A copy of `x` that an op in place has written to."""
    x = x.clone()
    getattr(x, op)(*args)
    return x


def row_written_to(x, op, *args):
    """A copy of `x`, a row of which an op in place has written to."""
    x = x.clone()
    getattr(x[0], op)(*args)
    return x


# Ops of two matrices, and whose values their tangents along the first are computed from.
READ = [
    (lambda x, w: x @ w, "xw"),
    (lambda x, w: x * w, "xw"),
    (lambda x, w: x / w, "xw"),
    (lambda x, w: x * 2 + w, "x"),
    (lambda x, w: x.exp() + w, "x"),
    (lambda x, w: w.addmm(x, w.detach()), "x"),
    (lambda x, w: ferrograd.nn.functional.linear(x, w, w[0].detach()), "xw"),
    (lambda x, w: ferrograd.nn.functional.linear(x, w.detach(), w[0]), "x"),
    (lambda x, w: (x.sum() * w).t(), "xw"),
    (lambda x, w: (x @ w.detach()).sum(0).reshape(1, 2)[:, 1:] + w, "x"),
    (lambda x, w: written_to(x, "mul_", w), "xw"),
    (lambda x, w: row_written_to(x, "mul_", w[1]), "xw"),
    (lambda x, w: row_written_to(x, "exp_") + w, "x"),
    (lambda x, w: x + w, ""),
    (lambda x, w: x - 3 * w, ""),
    (lambda x, w: x.sum() + w.mean(), ""),
    (lambda x, w: x.t().reshape(-1)[1:].cumsum(0) + w.sum(), ""),
    (lambda x, w: ferrograd.cat([x, w * 2]), ""),
    (lambda x, w: ferrograd.where(x > w, x, w), ""),
    (lambda x, w: ferrograd.maximum(x, w), ""),
    (lambda x, w: x.amax(0) + w.sort()[0], ""),
    (lambda x, w: written_to(x, "add_", w), ""),
    (lambda x, w: row_written_to(x, "copy_", w[1]), ""),
    (lambda x, w: row_written_to(x, "add_", w[1]), ""),
    (lambda x, w: x.var_mean()[1] + w, ""),
]


@pytest.mark.parametrize(("op", "read"), READ)
@pytest.mark.parametrize("wanted", "xw")
def test_a_tangent_requires_a_gradient_if_a_value_does_that_it_is_computed_from(op, read, wanted):
    x, w = (tensor([0.5, 1.5], [2.5, 3.5], grad=name == wanted) for name in "xw")
    v = tensor([1.0, -1.0], [2.0, 3.0])
    leaf = x if wanted == "x" else w

    def tangent_for(value):
        with forward_ad.dual_level():
            a, b = (value, w.detach()) if wanted == "x" else (x.detach(), value)
            return forward_ad.unpack_dual(op(forward_ad.make_dual(a, v), b)).tangent

    tangent = tangent_for(leaf)
    assert tangent.requires_grad == (wanted in read)
    if tangent.requires_grad:
        tangent.sum().backward()
        # Zeros where the value is only read in a product with a tangent of zeros.
        values, step = leaf.detach(), 1e-5
        for place in range(4):
            unit = ferrograd.zeros(4, dtype=values.dtype)
            unit[place] = step
            unit = unit.view(2, 2)
            slope = (tangent_for(values + unit).sum() - tangent_for(values - unit).sum()) / (2 * step)
            assert abs(leaf.grad.flatten()[place] - slope) < 1e-6


def test_a_tangent_of_which_nothing_is_recorded_requires_no_gradient():
    w, u = tensor(1.0, 2.0, grad=True), tensor([3.0, 4.0], [5.0, 6.0])
    with forward_ad.dual_level():
        x = forward_ad.make_dual(w, V)
        with ferrograd.no_grad():
            y = x @ u
        assert not forward_ad.unpack_dual(y).tangent.requires_grad
        assert not forward_ad.unpack_dual(y.sum()).tangent.requires_grad
        assert not forward_ad.unpack_dual(x.detach() @ u + x.sum()).tangent.requires_grad
        # Of the operands that a product after it reads, one is w.
        tangent = forward_ad.unpack_dual(x * ferrograd.ones_like(y)).tangent
        assert tangent.requires_grad and tangent.equal(V)


def test_what_was_computed_under_no_grad_has_a_tangent_without_history():
    w, v = tensor(3.0, 4.0, grad=True), V
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, v)
        with ferrograd.no_grad():
            y = x * w
            z = x.clone()
            z.mul_(w)
        # The tangent is (v w) w, whose first factor is a constant.
        for product in (y * w, z * w):
            tangent = forward_ad.unpack_dual(product).tangent
            assert tangent.equal(v * w.detach() ** 2)
            assert ferrograd.autograd.grad(tangent.sum(), w)[0].equal(v * w.detach())
        assert not forward_ad.unpack_dual(y + z.sum()).tangent.requires_grad


def test_zeros_flow_from_a_tangent_to_all_that_was_read():
    w, u = tensor(1.0, 2.0, grad=True), tensor([3.0, 4.0], [5.0, 6.0])
    seen = []
    w.register_hook(lambda g: seen.append(g.tolist()))
    with forward_ad.dual_level():
        between = w * 3
        x = forward_ad.make_dual(between, V)
        tangent = forward_ad.unpack_dual((x @ u) @ u).tangent
        assert tangent.equal(V @ u @ u) and tangent.grad_fn is not None
        assert [g.tolist() for g in ferrograd.autograd.grad(tangent.sum(), (between, w), retain_graph=True)] == [[0, 0], [0, 0]]
        # The gradients are on the tape as others are, and are zeros at any order.
        (g,) = ferrograd.autograd.grad((tangent**2).sum(), w, create_graph=True)
        assert g.requires_grad and ferrograd.autograd.grad(g.sum(), w, retain_graph=True)[0].tolist() == [0, 0]
        tangent.sum().backward()
    assert w.grad.tolist() == [0, 0] and seen == [[0, 0]] * 4

    # A leaf that became one as a dual tensor, and a tangent that requires a gradient itself.
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, V).requires_grad_()
        forward_ad.unpack_dual(x @ u).tangent.sum().backward()
        assert x.grad.tolist() == [0, 0]
        w, v = X.clone().requires_grad_(), V.clone().requires_grad_()
        forward_ad.unpack_dual(forward_ad.make_dual(w, v) @ u).tangent.sum().backward()
        assert w.grad.tolist() == [0, 0] and v.grad.tolist() == [7, 11]


def test_the_tangent_of_a_gradient_requires_one_if_a_value_does_that_it_reads():
    u = tensor(3.0, 4.0)
    with forward_ad.dual_level():
        # g = 2 x u^2, whose tangent 2 v u^2 is a product of which x was the other factor.
        w = X.clone().requires_grad_()
        (g,) = ferrograd.autograd.grad(((forward_ad.make_dual(w, V) * u) ** 2).sum(), w, create_graph=True)
        tangent = forward_ad.unpack_dual(g).tangent
        assert tangent.equal(2 * V * u**2) and tangent.requires_grad
        assert ferrograd.autograd.grad(tangent.sum(), w)[0].tolist() == [0, 0]


def test_operands_are_found_without_recursion():
    w = tensor(1.0, 1.0, grad=True)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(w, V) * 1
        for _ in range(5000):
            x = x + 0
        tangent = forward_ad.unpack_dual(x).tangent
        assert ferrograd.autograd.grad(tangent.sum(), w)[0].tolist() == [0, 0]


def test_places_named_twice_have_the_tangent_written_last():
    index = ferrograd.tensor([0, 0, 1])
    x, values = ferrograd.arange(4.0), ferrograd.tensor([10.0, 11.0, 12.0])
    tangents = ferrograd.tensor([100.0, 101.0, 102.0, 103.0]), ferrograd.tensor([200.0, 201.0, 202.0])
    writes = {
        "index_put": lambda x, v: x.index_put([index], v),
        "index_put_": lambda x, v: (x * 1).index_put_([index], v),
        "index_copy": lambda x, v: x.index_copy(0, index, v),
        "put": lambda x, v: x.put(index, v),
        "scatter": lambda x, v: x.scatter(0, index, v),
    }
    for write in writes.values():
        value, tangent = ferrograd.func.jvp(write, (x, values), tangents)
        assert value.tolist() == [11, 12, 2, 3] and tangent.tolist() == [201, 202, 102, 103]
    summed = ferrograd.func.jvp(lambda x, v: x.scatter_add(0, index, v), (x, values), tangents)[1]
    assert summed.tolist() == [501, 303, 102, 103]


def test_tangents_written_to_places_that_coincide_are_refused():
    x, index = ferrograd.arange(4.0), ferrograd.tensor([0, 1])
    for view in (lambda x: x.expand(3, 4), lambda x: x.unfold(0, 2, 1)):
        with pytest.raises(RuntimeError, match="refers to a single memory location"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ferrograd.func.jvp(lambda x: view(x * 1).index_put_([index], x[:1]), (x,), (x,))
        primal, tangent = ferrograd.func.jvp(lambda x: view(x * 1).fill_(3), (x,), (x,))
        assert primal.eq(3).all() and tangent.eq(0).all()


@pytest.mark.parametrize(
    "write, gradient, tangent",
    [
        (lambda x, y, d: d.mul_(5), [15, 15], [2.5, -5]),
        (lambda x, y, d: y.mul_(5), [15, 15], [0.5, -1]),
        (lambda x, y, d: y.mul_(5) + d.mul_(2), [30, 30], [1, -2]),
        (lambda x, y, d: d.mul_(5) + y.mul_(2), [30, 30], [2.5, -5]),
        (lambda x, y, d: d[0].mul_(5), [15, 3], [2.5, -1]),
        (lambda x, y, d: y[0].mul_(5), [15, 3], [0.5, -1]),
        (lambda x, y, d: d.copy_(x * 7), [7, 7], [0, 0]),
        (lambda x, y, d: y.copy_(x * 7), [7, 7], [0.5, -1]),
        (lambda x, y, d: y.zero_(), [0, 0], [0.5, -1]),
    ],
)
@pytest.mark.parametrize("of", ["result", "view"])
def test_a_result_and_its_dual_tensor_have_the_same_gradients_after_a_write(write, gradient, tangent, of):
    x = tensor(1.0, 2.0, grad=True)
    with forward_ad.dual_level():
        y = x * 3 if of == "result" else ferrograd.cat([tensor(9.0), x * 3])[1:]
        dual = forward_ad.make_dual(y, V)
        part, part_of_dual = y[1:], dual[1:]
        assert dual._is_view() and (dual._base is y) == (of == "result")
        write(x, y, dual)
        found = forward_ad.unpack_dual(dual)
        assert found.primal.equal(y) and found.tangent.tolist() == tangent
        assert forward_ad.unpack_dual(part_of_dual).tangent.tolist() == tangent[1:]
        assert forward_ad.unpack_dual(y).tangent is None and forward_ad.unpack_dual(part).tangent is None
        for z in (y, dual):
            assert forward_ad.unpack_dual(ferrograd.autograd.grad(z.sum(), x, retain_graph=True)[0]).primal.tolist() == gradient
        for z in (part, part_of_dual):
            assert forward_ad.unpack_dual(ferrograd.autograd.grad(z.sum(), x, retain_graph=True)[0]).primal.tolist()[1] == gradient[1]


def tangent_of(function, *args):
    """The tangent of what a function answers, of arguments that are pairs of a tensor and its tangent, which may be None."""
    with forward_ad.dual_level():
        args = [x if t is None else forward_ad.make_dual(x, t) for x, t in args]
        return forward_ad.unpack_dual(function(*args)).tangent


def test_operands_that_tangents_do_not_depend_on():
    y, w = tensor(-3.0, 1.0), tensor(1.0, 1.0)
    for op in (ferrograd.copysign, ferrograd.nextafter):
        assert tangent_of(op, (X, None), (y, w)) is None
        alone = tangent_of(op, (X, V), (y, None))
        assert alone.equal(tangent_of(op, (X, V), (y, w))) and alone.abs().equal(V.abs())
        with forward_ad.dual_level():
            other = tensor(-3.0, 1.0, grad=True)
            z = op(X, forward_ad.make_dual(other, w))
            assert forward_ad.unpack_dual(z).tangent is None
            (g,) = ferrograd.autograd.grad(z.sum(), other)
            assert g.tolist() == [0.0, 0.0] and not g.requires_grad


def test_tangents_of_what_is_empty_or_constant_are_zeros():
    linalg = ferrograd.linalg
    for shape in ((3, 3), (3, 0)):
        a, tau = ferrograd.ones(*shape, dtype=ferrograd.float64), tensor()
        for pair in (((a, a), (tau, None)), ((a, None), (tau, tau))):
            assert tangent_of(linalg.householder_product, *pair).equal(ferrograd.zeros_like(a))
    a, b = tensor(1.0, 2.0, 3.0, 5.0).view(2, 2), tensor(1.0, 1.0).view(2, 1)
    for pair in (((a, a), (b, None)), ((a, None), (b, b))):
        assert tangent_of(lambda a, b: linalg.lstsq(a, b).residuals, *pair).shape == (0,)


def test_weights_of_losses_carry_no_tangents():
    F = ferrograd.nn.functional
    x, t, w = tensor(0.25, 0.75), tensor(0.5, 1.0), tensor(2.0, 3.0)
    losses = (
        lambda x, t, w: F.binary_cross_entropy(x, t, w),
        lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, w),
        lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, pos_weight=w),
    )
    for loss in losses:
        assert tangent_of(loss, (x, None), (t, None), (w, V)) is None
        for pair in (((x, V), (t, None)), ((x, None), (t, V))):
            with pytest.raises(RuntimeError, match="itself has a forward gradient"):
                tangent_of(loss, *pair, (w, V))
        with pytest.raises(RuntimeError, match="not differentiable with respect to argument"), forward_ad.dual_level():
            loss(x, t, forward_ad.make_dual(tensor(2.0, 3.0, grad=True), V))
    index = ferrograd.tensor([1, 0])
    x = ferrograd.stack([x, t])
    direction = ferrograd.stack([V, 2 * V])
    for loss in (F.nll_loss, F.cross_entropy):
        run = lambda x, w, loss=loss: loss(x, index, w)
        assert tangent_of(run, (x, None), (w, V)) is None
        assert tangent_of(run, (x, direction), (w, V)).equal(tangent_of(run, (x, direction), (w, None)))
    # Only what labels are smoothed by depends on the weights.
    found = tangent_of(lambda w: F.cross_entropy(x, index, w, reduction="sum", label_smoothing=0.5), (w, V))
    assert found.allclose(-0.25 * (x.log_softmax(1) * V).sum())


def test_running_averages_carry_no_tangents():
    x, direction = ferrograd.stack([X, 3 * X, X - 1]), ferrograd.stack([V, -V, 2 * V])
    for norm, x, direction in (
        (ferrograd.nn.functional.batch_norm, x, direction),
        (ferrograd.nn.functional.instance_norm, x.t()[None], direction.t()[None]),
    ):
        for training in (False, True):
            run = lambda x, mean, variance: norm(x, mean, variance, None, None, training)
            averages = lambda of_mean, of_variance: ((X.clone(), of_mean), (X.clone(), of_variance))
            alone = tangent_of(run, (x, direction), *averages(None, None))
            for directions in ((V, None), (None, V), (V, V)):
                assert tangent_of(run, (x, None), *averages(*directions)) is None
                if training:
                    assert tangent_of(run, (x, direction), *averages(*directions)).equal(alone)
                    continue
                with pytest.raises(RuntimeError, match="not differentiable wrt running_mean and running_var"):
                    tangent_of(run, (x, direction), *averages(*directions))


def test_tangents_where_zero_times_infinity_is_torchs():
    x, t, one = tensor(0.0, 1.0), tensor(0.0, 0.0), tensor(1.0, 1.0)
    loss = lambda x, t: ferrograd.nn.functional.binary_cross_entropy(x, t, reduction="none")
    # A target without a tangent has zeros, which are multiplied by the infinite logit.
    assert tangent_of(loss, (x, one), (t, None)).isnan().all()
    for of_x in (None, one):
        assert tangent_of(loss, (x, of_x), (t, one)).tolist() == [np.inf, -np.inf]
    # Nothing is equal to what is not a number, so nothing counts: 0 / 0.
    index = ferrograd.tensor([0, 2])
    for reduce in ("amax", "amin"):
        run = lambda x, src: x.scatter_reduce(0, index, src, reduce, include_self=False)
        found = tangent_of(run, (tensor(1.0, np.nan, 2.0), tensor(1.0, 1.0, 1.0)), (tensor(np.nan, 5.0), V))
        assert found.isnan().tolist() == [True, True, False] and found[2] == -1
