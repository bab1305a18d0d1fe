"""gradcheck and gradgradcheck: right derivatives pass, wrong ones of every kind fail; every op of op_cases passes."""

import zlib

import numpy as np
import pytest

import ferrograd
from ferrograd.autograd import Function, GradcheckError, gradcheck, gradgradcheck
from ferrograd.autograd.gradcheck import get_analytical_jacobian, get_numerical_jacobian
from op_cases import CASES


def leaf(*values):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=True)


X, Y = leaf(0.5, 1.0, 2.0), leaf(-1.0, 0.25, 3.0)


def own(backward, forward=lambda x: x**2):
    class Own(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

    Own.backward = staticmethod(lambda ctx, g: backward(ctx.saved_tensors[0], g))
    return Own.apply


@pytest.mark.parametrize("fast", [False, True])
def test_right_derivatives_pass(fast):
    before = X.tolist()
    assert gradcheck(lambda x, y: (x * y, (x.exp() + y).sum()), (X, Y), fast_mode=fast) is True
    assert gradcheck(lambda x: x.exp(), X, fast_mode=fast, check_forward_ad=True, check_batched_grad=True)
    assert gradcheck(lambda x: x.exp(), X, fast_mode=fast, masked=True)
    assert gradgradcheck(lambda x, y: (x * y**3, x.sin().sum()), (X, Y), fast_mode=fast) is True
    assert gradgradcheck(lambda x: x.exp(), X, fast_mode=fast, check_fwd_over_rev=True, gen_non_contig_grad_outputs=True)
    assert X.tolist() == before and X.grad is None


@pytest.mark.parametrize("fast", [False, True])
def test_a_wrong_factor_fails(fast):
    wrong = own(lambda x, g: g * x)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0,\nnumerical:") as error:
        gradcheck(wrong, X, fast_mode=fast)
    # Fast mode compares one number, and says what slow mode would have found.
    assert fast == ("All their elements, as in slow mode" in str(error.value))
    assert "[0.5000, 0.0000, 0.0000]" in str(error.value)
    assert gradcheck(wrong, X, raise_exception=False, fast_mode=fast) is False


def test_a_wrong_second_derivative_fails():
    half = own(lambda x, g: g * 2 * x.detach())
    assert gradcheck(half, X)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradgradcheck(half, X)


def test_other_faults():
    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(own(lambda x, g: 2 * x, forward=lambda x: (x**2).sum()), X)
    noise = iter(range(1000))
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(own(lambda x, g: g * (2 * x + 1e-8 * next(noise))), X)
    noise = iter(range(1000))
    assert gradcheck(own(lambda x, g: g * (2 * x + 1e-9 * next(noise))), X, nondet_tol=1e-5)
    with pytest.raises(GradcheckError, match="Numerical gradient for function expected to be zero"):
        gradcheck(lambda x: x.detach() * 2, X)
    assert gradcheck(lambda x: x.detach().sign(), X)

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, a, b):
            return a + b * 2

    with pytest.raises((GradcheckError, TypeError)):
        gradcheck(Two.apply, X)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="expects at least one input tensor to require gradient"):
        gradcheck(lambda x: x, X.detach())
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(lambda x: x, X[0].expand(3))
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        gradcheck(lambda x: x * 2, X.detach().float().requires_grad_(), atol=1e-1, eps=1e-2)
    for options in ({"check_undefined_grad": True}, {"check_undefined_grad": False, "check_batched_grad": True}):
        with pytest.raises(AssertionError, match="requires check_rev_over_rev to be True"):
            gradgradcheck(lambda x: x.exp(), X, check_fwd_over_rev=True, check_rev_over_rev=False, **options)
    with pytest.raises(AssertionError, match="at least one of check_forward_ad or check_backward_ad"):
        gradcheck(lambda x: x, X, check_backward_ad=False)
    for other in (lambda x: 3, lambda x: (x * 2, None)):
        with pytest.raises(AttributeError, match="expects the function to answer tensors, but output . is"):
            gradcheck(other, X)


def test_gradients_that_are_not_expected_to_be_none():
    def refuse(g):
        if g is None:
            raise RuntimeError("there is no gradient")

    def f(x):
        y = x.clone()
        y.register_hook(refuse)
        return y

    with pytest.warns(UserWarning, match="New undefined gradient support checking feature is enabled by default"):
        with pytest.raises(RuntimeError, match="Expected backward function to handle undefined output grads"):
            gradcheck(f, X)
    assert gradcheck(f, X, check_undefined_grad=False)


def tensors_of(case):
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    # Cloned, as the strides of numpy's empty arrays are 0, which gradcheck refuses as torch's does.
    arrays = [ferrograd.from_numpy(np.array(i.sample(rng))) for i in case.inputs]
    return tuple(x.clone(memory_format=ferrograd.contiguous_format).requires_grad_() for x in arrays)


def floats_of(case):
    def call(*tensors):
        outputs = case.call(*tensors)
        return tuple(y for y in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)) if y.is_floating_point())

    return call


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_op_passes(case):
    """As the finite differences of test_ops_gradients.py, by another road."""
    inputs = tensors_of(case)
    ferrograd.manual_seed(0)
    assert gradcheck(floats_of(case), inputs, fast_mode=True, atol=1e-4)
    if case.second and any(y.requires_grad for y in floats_of(case)(*inputs)):
        assert gradgradcheck(floats_of(case), inputs, fast_mode=True, atol=1e-4)


# Batched gradients.


def test_batched_gradients():
    eye = ferrograd.eye(3, dtype=ferrograd.float64)
    (rows,) = ferrograd.autograd.grad(X**2, X, eye, is_grads_batched=True)
    assert rows.tolist() == (2 * X).diag_embed().tolist()
    rows, none = ferrograd.autograd.grad(X**2, (X, Y), eye, is_grads_batched=True, allow_unused=True)
    assert none is None
    rows, none = ferrograd.autograd.grad(X**2, (X, Y), eye, is_grads_batched=True, materialize_grads=True)
    assert none.tolist() == [0, 0, 0]
    y = X**2
    ferrograd.autograd.grad(y, X, eye, is_grads_batched=True, retain_graph=True)
    ferrograd.autograd.grad(y, X, eye, is_grads_batched=True)
    with pytest.raises(RuntimeError, match="a second time"):
        ferrograd.autograd.grad(y, X, eye, is_grads_batched=True)
    with pytest.raises(RuntimeError, match="we interpret the first dimension of each grad_output as the batch"):
        ferrograd.autograd.grad(X**2, X, eye[0], is_grads_batched=True)


def test_forward_mode_alone():
    assert gradcheck(lambda x: x.sin(), X, check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize("jvp, text", [(lambda ctx, t: t * 4, "[4., 0.]"), (lambda ctx, t: t * 2 + 2, "[4., 2.]")])
def test_a_wrong_jvp_is_found(jvp, text):
    members = {"forward": lambda ctx, x: x * 2, "backward": lambda ctx, g: g * 2, "jvp": jvp}
    function = type("Double", (ferrograd.autograd.Function,), {name: staticmethod(f) for name, f in members.items()}).apply
    x = ferrograd.tensor([1.0, 2.0], dtype=ferrograd.float64, requires_grad=True)
    assert gradcheck(function, (x,))
    for fast in (False, True):
        with pytest.raises(GradcheckError, match="computed with forward mode mismatch") as error:
            gradcheck(function, (x,), check_forward_ad=True, fast_mode=fast)
        assert text in str(error.value) and fast == ("The max per-element difference (slow mode) is: 2." in str(error.value))


def test_batched_tangents():
    options = {"check_forward_ad": True, "check_batched_forward_grad": True}
    for fast in (False, True):
        assert gradcheck(lambda x, y: (x * y, x.sum(), y.detach()), (X, Y), fast_mode=fast, **options)
    double = {"forward": lambda ctx, x: x * 2, "backward": lambda ctx, g: g * 2, "jvp": lambda ctx, t: t * 2}
    double = type("Double", (ferrograd.autograd.Function,), {name: staticmethod(f) for name, f in double.items()}).apply
    assert gradcheck(lambda x: double(x), X, **options)
    calls = 0

    def changing(x):
        nonlocal calls
        calls += 1
        return x * (2 if calls < last else 3)

    # The last calls are those under vmap.
    last = 1000
    assert gradcheck(changing, X, check_backward_ad=False, **options)
    calls, last = 0, calls
    with pytest.raises(GradcheckError, match="For output 0 and input 0:"):
        gradcheck(changing, X, check_backward_ad=False, **options)
    with pytest.raises(GradcheckError, match="While computing batched gradients, got: "):
        gradcheck(lambda x: x * 2 + ferrograd.rand(3) * 0, X, **options)


def test_forward_mode_calls_with_inputs_that_require_no_gradient():
    x, y = leaf(2.0), leaf(3.0)
    seen = []

    def jvp(ctx, x_t, y_t):
        seen.append(tuple(t is not None and t.item() != 0 for t in (x_t, y_t)))
        return x_t, y_t

    def forward(x, y):
        if ferrograd.autograd.forward_ad._current_level >= 0:
            assert not x.requires_grad and not y.requires_grad
        return x.clone(), y.clone()

    members = {"forward": forward, "setup_context": lambda ctx, inputs, output: None, "jvp": jvp}
    function = type("Both", (Function,), {name: staticmethod(f) for name, f in members.items()}).apply
    only = {"check_forward_ad": True, "check_backward_ad": False}
    for fast in (False, True):
        seen.clear()
        assert gradcheck(function, (x, y), fast_mode=fast, check_undefined_grad=False, **only)
        assert seen == [(True, False), (False, True)]
        seen.clear()
        assert gradcheck(function, (x, y), fast_mode=fast, **only)
        # For each input its tangent is zeros, and then there is none.
        assert seen[2:] == [(False, True)] * 2 + [(True, False)] * 2
    seen.clear()
    assert gradcheck(function, (x, y.detach()), **only) and seen == [(True, False), (False, False)]


def test_an_input_without_a_tangent_is_as_one_with_zeros():
    class Odd(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.set_materialize_grads(False)
            return x + y

        @staticmethod
        def jvp(ctx, x_t, y_t):
            return y_t * 2 if x_t is None else x_t if y_t is None else x_t + y_t

    only = {"check_forward_ad": True, "check_backward_ad": False}
    assert gradcheck(Odd.apply, (leaf(2.0), leaf(3.0)), check_undefined_grad=False, **only)
    with pytest.raises(GradcheckError, match="Mismatch in tangent values for output with index"):
        gradcheck(Odd.apply, (leaf(2.0), leaf(3.0)), **only)


def test_second_derivatives_forward_over_reverse():
    assert gradgradcheck(lambda x, y: x.sin() * y, (leaf(2.0, 1.0), leaf(3.0, 0.5)), check_fwd_over_rev=True)


@pytest.mark.parametrize("dtype", [ferrograd.float64, ferrograd.complex128])
def test_checks_draw_random_numbers_as_torch_does(dtype):
    """For `gradgradcheck` the gradients of outputs; for batches two of each output; else none."""
    x = ferrograd.tensor([[0.1, 0.2, 0.3]], dtype=dtype, requires_grad=True)

    def following(f):
        ferrograd.manual_seed(0)
        f()
        return ferrograd.rand(3).tolist()

    def drawn(*shape):
        return ferrograd.empty(*shape, *[2] * dtype.is_complex, dtype=ferrograd.float64).uniform_(-1, 1)

    square = ferrograd.square
    assert following(lambda: gradcheck(square, x, check_forward_ad=True)) == following(lambda: None)
    assert following(lambda: gradcheck(square, x, fast_mode=True)) == following(lambda: None)
    batches = following(lambda: [ferrograd.randn_like(x) for _ in range(2)])
    assert following(lambda: gradcheck(square, x, check_batched_grad=True)) == batches
    assert following(lambda: gradgradcheck(square, x)) == following(lambda: drawn(1, 3))
    assert following(lambda: gradgradcheck(square, x, gen_non_contig_grad_outputs=True)) == following(lambda: drawn(1, 6))


@pytest.mark.filterwarnings("ignore:.*private API:FutureWarning")
def test_jacobians_of_the_two_kinds():
    a = ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=ferrograd.float64, requires_grad=True)
    b = ferrograd.tensor([2.0, 5.0], dtype=ferrograd.float64, requires_grad=True)
    z = ferrograd.tensor([3 + 4j, 4 - 3j], requires_grad=True)
    numerical = get_numerical_jacobian(lambda inputs: (inputs[0] @ inputs[1], inputs[0]), (a, b), eps=1e-4)
    analytical, *same = get_analytical_jacobian((a, b), a @ b)
    assert same == [True, True, True] and [j.shape for j in analytical] == [(4, 2), (2, 2)]
    for found, wanted in zip(numerical, analytical):
        assert found.allclose(wanted)
    assert numerical[1].allclose(a.t())
    (modulus,) = get_numerical_jacobian(lambda inputs: inputs[0].abs(), [z])
    assert modulus.diagonal().allclose(z / 5, atol=1e-3)
    (captured,) = get_numerical_jacobian(lambda inputs: inputs[0] @ b, (a,), target=(b,))
    assert captured.allclose(a.t())
    for call in (lambda: get_analytical_jacobian((a,), a * 1j), lambda: get_numerical_jacobian(lambda x: x[0] * 1j, (a,))):
        with pytest.raises(ValueError, match="non-complex"):
            call()
    with pytest.raises(ValueError, match="grad_out to be 1.0"):
        get_numerical_jacobian(lambda x: x, (a,), grad_out=2.0)
    with pytest.warns(FutureWarning, match="get_analytical_jacobian"):
        get_analytical_jacobian((a,), a.sum())


@pytest.mark.filterwarnings("ignore:.*private API:FutureWarning")
def test_an_analytical_jacobian_that_changes():
    calls = []

    class Own(ferrograd.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            calls.append(g)
            return g * len(calls)

    x = ferrograd.ones(2, requires_grad=True)
    assert get_analytical_jacobian((x,), Own.apply(x))[1:] == (False, True, True)
    assert get_analytical_jacobian((x,), Own.apply(x), nondet_tol=3.0)[1:] == (True, True, True)
