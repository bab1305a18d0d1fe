"""Complex tensors: values against numpy, derivatives against differences, and what has no meaning for them."""

import math
import pickle

import numpy as np
import pytest

import ferrograd as fg

STEP = 1e-5


def sample(shape=(3,), seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.3, 1.2, shape) * np.exp(1j * rng.uniform(-1.2, 1.2, shape))


# Functions of one complex tensor of shape (3, 3), and what numpy makes of them if it knows them.
SMOOTH = {
    "add": (lambda x: x + (2 - 1j), lambda x: x + (2 - 1j)),
    "sub_alpha": (lambda x: x.sub(x * x, alpha=2j), lambda x: x - 2j * x * x),
    "mul": (lambda x: x * x.t(), lambda x: x * x.T),
    "div": (lambda x: x / x.t(), lambda x: x / x.T),
    "rdiv": (lambda x: 1j / x, lambda x: 1j / x),
    "neg": (lambda x: -x, lambda x: -x),
    "reciprocal": (lambda x: x.reciprocal(), lambda x: 1 / x),
    "square": (lambda x: x.square(), np.square),
    "pow_int": (lambda x: x**3, lambda x: x**3),
    "pow_complex": (lambda x: x ** (1.5 - 0.5j), lambda x: x ** (1.5 - 0.5j)),
    "pow_tensor": (lambda x: x**x.t(), lambda x: x**x.T),
    "sqrt": (lambda x: x.sqrt(), np.sqrt),
    "rsqrt": (lambda x: x.rsqrt(), lambda x: 1 / np.sqrt(x)),
    **{name: (lambda x, name=name: getattr(x, name)(), getattr(np, name)) for name in "exp exp2 expm1 log log2 log10 log1p".split()},
    **{name: (lambda x, name=name: getattr(x, name)(), getattr(np, name)) for name in "sin cos tan sinh cosh tanh".split()},
    **{name: (lambda x, name=name: getattr(x, name)(), getattr(np, "arc" + name[1:])) for name in "asin acos atan".split()},
    **{name: (lambda x, name=name: getattr(x, name)(), getattr(np, "arc" + name[1:])) for name in "asinh acosh atanh".split()},
    "sigmoid": (lambda x: x.sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    "sinc": (lambda x: x.sinc(), np.sinc),
    "abs": (lambda x: x.abs(), np.abs),
    "angle": (lambda x: x.angle(), np.angle),
    "sgn": (lambda x: x.sgn(), lambda x: x / np.abs(x)),
    "conj": (lambda x: x.conj() * x.t(), lambda x: x.conj() * x.T),
    "conj_physical": (lambda x: x.conj_physical(), np.conj),
    "real": (lambda x: x.real * x.imag, lambda x: x.real * x.imag),
    "view_as_real": (lambda x: fg.view_as_real(x) ** 2, lambda x: np.stack([x.real, x.imag], -1) ** 2),
    "view_as_complex": (lambda x: fg.view_as_complex(fg.view_as_real(x) ** 3), lambda x: x.real**3 + 1j * x.imag**3),
    "complex": (lambda x: fg.complex(x.imag, x.abs()), lambda x: x.imag + 1j * np.abs(x)),
    "polar": (lambda x: fg.polar(x.abs(), x.real), lambda x: np.abs(x) * np.exp(1j * x.real)),
    "sum": (lambda x: x.sum(1) * x.sum(), lambda x: x.sum(1) * x.sum()),
    "mean": (lambda x: x.mean(0) ** 2, lambda x: x.mean(0) ** 2),
    "prod": (lambda x: x.prod(1), lambda x: x.prod(1)),
    "cumsum": (lambda x: x.cumsum(0) ** 2, lambda x: x.cumsum(0) ** 2),
    "cumprod": (lambda x: x.cumprod(1), lambda x: x.cumprod(1)),
    "mm": (lambda x: x @ (x + 1j), lambda x: x @ (x + 1j)),
    "mv": (lambda x: x @ x[0], lambda x: x @ x[0]),
    "vdot": (lambda x: x[0].vdot(x[1]), lambda x: np.vdot(x[0], x[1])),
    "adjoint": (lambda x: x.mH @ x, lambda x: x.conj().T @ x),
    "addmm": (lambda x: x.addmm(x, x, alpha=1j, beta=2 - 1j), lambda x: (2 - 1j) * x + 1j * x @ x),
    "addcmul": (lambda x: x.addcmul(x, x, value=1j), lambda x: x + 1j * x * x),
    "addcdiv": (lambda x: x.addcdiv(x.t(), x, value=1j), lambda x: x + 1j * x.T / x),
    "lerp": (lambda x: x.lerp(x * x, x.t()), lambda x: x + x.T * (x * x - x)),
    "ldexp": (lambda x: x.ldexp(x.t()), lambda x: x * 2**x.T),
    "logaddexp": (lambda x: x.logaddexp(x * x), lambda x: np.log(np.exp(x) + np.exp(x * x))),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: np.log(np.exp(x).sum(1))),
    "var": (lambda x: x.var(0), lambda x: x.var(0, ddof=1)),
    "std": (lambda x: x.std(0), lambda x: x.std(0, ddof=1)),
    "var_mean": (lambda x: fg.stack(fg.var_mean(x, 0)), lambda x: np.stack([x.var(0, ddof=1), x.mean(0)])),
    "norm": (lambda x: x.norm(3, dim=0), lambda x: (np.abs(x) ** 3).sum(0) ** (1 / 3)),
    "dist": (lambda x: x.dist(x * x), lambda x: np.linalg.norm(x - x * x)),
    "renorm": (lambda x: x.renorm(2, 0, 0.5), lambda x: 0.5 * x / np.linalg.norm(x, axis=1, keepdims=True)),
    "where": (lambda x: fg.where(x.real > 0.5, x * x, 1j), lambda x: np.where(x.real > 0.5, x * x, 1j)),
    "masked_fill": (lambda x: (x * x).masked_fill(x.real > 0.5, 2j), lambda x: np.where(x.real > 0.5, 2j, x * x)),
    "index": (lambda x: x[[0, 2, 0]] ** 2, lambda x: x[[0, 2, 0]] ** 2),
    "cat": (lambda x: fg.cat([x, x * x]), lambda x: np.concatenate([x, x * x])),
    "gather": (lambda x: x.gather(1, fg.tensor([[0], [2], [2]])) ** 2, lambda x: x[[0, 1, 2], [0, 2, 2]][:, None] ** 2),
    "real_with_complex": (lambda x: x.real * x, lambda x: x.real * x),
}


def project(y, seed):
    """A real number that depends on every part of y."""
    rng = np.random.default_rng(seed)
    weights = fg.tensor(np.asarray(rng.normal(size=tuple(y.shape)) + 1j * rng.normal(size=tuple(y.shape))))
    return (y * weights).real.sum()


def inner(a, b):
    return float((np.conj(a) * b).real.sum())


@pytest.mark.parametrize("name", SMOOTH)
def test_values(name):
    f, reference = SMOOTH[name]
    for dtype, tolerance in [(np.complex64, 3e-5), (np.complex128, 1e-12)]:
        x = sample((3, 3)).astype(dtype)
        got, wanted = f(fg.tensor(x)).numpy(), reference(x)
        assert got.dtype == (np.float32 if dtype == np.complex64 else np.float64) or got.dtype == dtype
        # What is added to a norm by `renorm` is seen in double precision.
        slack = 1e-6 if name == "renorm" else 0
        np.testing.assert_allclose(got, wanted, rtol=tolerance + slack, atol=tolerance)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name):
    f = SMOOTH[name][0]
    start, first, second = (sample((3, 3), seed) for seed in range(3))

    def gradient(x):
        x = fg.tensor(x).requires_grad_()
        total = project(f(x), 7)
        return x, total, fg.autograd.grad(total, x, create_graph=True)[0]

    x, _, g = gradient(start)
    moved = [gradient(start + sign * STEP * first)[1].item() for sign in (1, -1)]
    np.testing.assert_allclose(inner(g.detach().numpy(), first), (moved[0] - moved[1]) / (2 * STEP), rtol=1e-6, atol=1e-7)
    if not g.requires_grad:
        return
    twice = fg.autograd.grad(project(g, 8), x, allow_unused=True)[0]
    twice = np.zeros((3, 3)) if twice is None else twice.numpy()
    moved = [project(gradient(start + sign * STEP * second)[2].detach(), 8).item() for sign in (1, -1)]
    np.testing.assert_allclose(inner(twice, second), (moved[0] - moved[1]) / (2 * STEP), rtol=1e-5, atol=1e-6)


def test_kinks():
    x = fg.zeros(2, dtype=fg.complex64).requires_grad_()
    for f in (lambda x: x.abs(), lambda x: x.angle(), lambda x: x.sgn().real):
        assert fg.autograd.grad(f(x).sum(), x)[0].tolist() == [0j, 0j]


def test_a_real_input_gets_a_real_gradient():
    x = fg.tensor([1.0, 2.0]).requires_grad_()
    (x * (1 + 2j)).real.sum().backward()
    assert x.grad.dtype == fg.float32 and x.grad.tolist() == [1.0, 1.0]


def test_infinities_and_nan():
    inf, nan = float("inf"), float("nan")
    x = fg.tensor([complex(nan, 1), complex(2, -inf), 0j, 3 + 1j])
    assert x.isnan().tolist() == [True, False, False, False]
    assert x.isinf().tolist() == [False, True, False, False] and x.isfinite().tolist() == [False, False, True, True]
    assert x.nan_to_num(posinf=7.0, neginf=-7.0).tolist() == [1j, 2 - 7j, 0j, 3 + 1j]
    assert x[1:3].reciprocal()[0] == 0 and x[1].atan().tolist() == pytest.approx(np.pi / 2)
    assert x.isreal().tolist() == [False, False, True, False] and x[2:].logical_not().tolist() == [True, False]
    zero = fg.tensor([0j])
    assert (zero ** (1 + 1j)).tolist() == [0j] and (zero**0).tolist() == [1 + 0j] and (zero**-1).isinf().all()
    assert fg.tensor([800 + 1j, -800 + 1j]).tanh().tolist() == [1, -1]


def test_empty_tensors():
    x = fg.zeros((0, 3), dtype=fg.complex64)
    assert x.imag.shape == x.angle().shape == fg.complex(x.real, x.imag).shape == x.isfinite().shape == x.bool().shape == (0, 3)
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert x.var(1).shape == (0,)
    assert x.sum().item() == 0 and fg.complex(x.real, x.imag).cdouble().dtype == fg.complex128


def test_promotion():
    single, double, integer = fg.ones(1), fg.ones(1, dtype=fg.float64), fg.ones(1, dtype=fg.int64)
    assert (single * 1j).dtype == (integer * 1j).dtype == fg.complex64
    assert (double * 1j).dtype == (double * fg.ones(1, dtype=fg.complex64)).dtype == fg.complex128
    assert (single * fg.tensor(1j, dtype=fg.complex128)).dtype == fg.complex64
    assert fg.promote_types(fg.float64, fg.cfloat) == fg.cdouble and not fg.can_cast(fg.complex64, fg.float64)
    assert fg.tensor([1, 2.0, 1j]).dtype == fg.complex64 and fg.full((1,), 1j).dtype == fg.complex64
    assert fg.complex64.is_complex and not fg.complex64.is_floating_point and fg.complex64.to_real() == fg.float32
    fg.set_default_dtype(fg.float64)
    try:
        assert fg.tensor(1j).dtype == (integer * 1j).dtype == fg.complex128
    finally:
        fg.set_default_dtype(fg.float32)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_memory_is_shared_and_copied(dtype):
    array = sample((2, 3)).astype(dtype)
    x = fg.from_numpy(array)
    x[0, 1] = 5 - 1j
    assert array[0, 1] == 5 - 1j and x.numpy()[0, 1] == 5 - 1j and np.from_dlpack(fg.from_dlpack(x))[0, 1] == 5 - 1j
    assert pickle.loads(pickle.dumps(x.t())).tolist() == x.t().tolist() == array.T.tolist()
    assert x.item == x.item and complex(x[0, 1]) == x[0, 1].item() == 5 - 1j
    assert x.flip(0).contiguous().t().contiguous().tolist() == array[::-1].T.tolist()
    big = fg.arange(90.0 * 70).reshape(90, 70).to(x.dtype) * 1j
    assert (big.t().contiguous().numpy() == big.numpy().T).all()


def test_creation():
    single = {"dtype": fg.complex64}
    assert fg.linspace(0, 2j, 3).tolist() == [0j, 1j, 2j] and fg.linspace(0, 1, 2, **single).tolist() == [0j, 1 + 0j]
    np.testing.assert_allclose(fg.logspace(0, 1j, 3).numpy(), 10.0 ** np.linspace(0, 1j, 3), rtol=1e-6)
    assert fg.eye(2, **single).tolist() == [[1, 0], [0, 1]] and fg.ones(1, **single).tolist() == [1]
    assert fg.tensor([True]).fill_(1j).tolist() == [True] and fg.tensor([1j]).new_full((1,), 2j).dtype == fg.complex64
    fg.manual_seed(0)
    x = fg.randn(20000, dtype=fg.complex128)
    assert abs(x.var().item() - 1) < 0.05 and abs(x.real.var().item() - 0.5) < 0.05 and x.mean().abs().item() < 0.05
    fg.manual_seed(0)
    assert fg.view_as_real(fg.rand(3, **single)).reshape(6).tolist() == (fg.manual_seed(0), fg.rand(6))[1].tolist()


def test_casts(warn_always):
    x = fg.tensor([1 + 2j, 3j, 0j])
    with pytest.warns(UserWarning, match="discards the imaginary part"):
        assert x.to(fg.float64).tolist() == [1.0, 0.0, 0.0]
    assert x.bool().tolist() == [True, True, False]
    assert x.cdouble().cfloat().tolist() == fg.tensor([1 + 2j, 3j, 0j]).tolist()
    assert fg.tensor([1, 2]).cfloat().tolist() == [1, 2]


def test_parts_are_views():
    x = fg.zeros(3, dtype=fg.complex64)
    x.real = fg.arange(3.0)
    x.imag[1] = 5
    fg.view_as_real(x)[2, 1] = -1
    assert x.tolist() == [0j, 1 + 5j, 2 - 1j]
    a = fg.tensor([1.0, 2.0]).requires_grad_()
    w = fg.complex(a, 2 * a).clone()
    w.real.mul_(3)
    assert w.grad_fn.name() == "torch::autograd::CopySlices" and w.tolist() == [3 + 2j, 6 + 4j]
    assert fg.autograd.grad((w * w.conj()).real.sum(), a)[0].tolist() == [26.0, 52.0]
    pairs = (a.reshape(1, 2) * 1).clone()
    fg.view_as_complex(pairs).mul_(2j)
    assert fg.autograd.grad((pairs * fg.tensor([3.0, 5.0])).sum(), a)[0].tolist() == [10.0, -6.0]


def test_text():
    assert repr(fg.tensor([1.5 + 2j, -1j])) == "tensor([1.5000+2.j, -0.0000-1.j])"
    assert repr(fg.tensor(1j, dtype=fg.complex128)) == "tensor(0.+1.j, dtype=torch.complex128)"
    assert repr(fg.zeros(0, dtype=fg.complex64)) == "tensor([], dtype=torch.complex64)"


@pytest.mark.parametrize(
    "call",
    [
        *(lambda x, name=name: getattr(x, name)(x) for name in "lt le gt ge maximum minimum atan2 remainder fmod hypot".split()),
        *(lambda x, name=name: getattr(x, name)() for name in "max min argmax sort median floor round sign erf relu".split()),
        lambda x: x.clamp(min=0),
        lambda x: x.real.imag,
        lambda x: fg.view_as_real(x.real),
        lambda x: fg.view_as_complex(x.real),
        lambda x: x.abs_(),
        lambda x: x.real.add_(1j),
        lambda x: x.real.fill_(1j),
        lambda x: x.real.masked_fill(x.real > 0, 1j),
        lambda x: x.real.masked_fill(x.real > 0, x[0]),
        lambda x: x.nansum(),
        lambda x: x.requires_grad_().nan_to_num(),
        lambda x: x.real.vdot(x),
        lambda x: float(x[0]),
        lambda x: fg.complex(x.real, x.real.double()),
        lambda x: x.requires_grad_().sum().backward(),
        lambda x: fg.full((2,), 1j, dtype=fg.float32),
        lambda x: fg.linspace(0, 1j, 3, dtype=fg.float32),
        lambda x: fg.arange(0, 3, 1j),
        lambda x: fg.arange(3, dtype=fg.complex64),
        lambda x: fg.randperm(3, dtype=fg.complex64),
        lambda x: x.real.index_fill(0, fg.tensor([0]), 1j),
        lambda x: x.real.scatter(0, fg.tensor([0]), 1j),
        lambda x: x.real.addcmul(x.real, x.real, value=1j),
        lambda x: x.real.add(x.real, alpha=1j),
        lambda x: x.norm(1j),
    ],
)
def test_refusals(call):
    with pytest.raises(RuntimeError):
        call(fg.tensor(sample().astype(np.complex64)))


class Square(fg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x.conj()


class SquareForwards(Square):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_forward(x)
        return Square.forward(ctx, x)

    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return tangent * 2 * x


def test_custom_functions_and_checks():
    x = fg.tensor(sample()).requires_grad_()
    assert fg.autograd.gradcheck(SquareForwards.apply, (x,), check_forward_ad=True)
    with pytest.raises(NotImplementedError, match="jvp"):
        fg.autograd.gradcheck(Square.apply, (x,), check_forward_ad=True)
    assert fg.autograd.gradcheck(lambda x: x.abs() * x, (x,), fast_mode=True) and fg.autograd.gradgradcheck(Square.apply, (x,))
    a = fg.tensor(np.arange(1.0, 4.0)).requires_grad_()
    assert fg.autograd.gradcheck(lambda a, x: fg.complex(a, a * a) * x, (a, x))

    class Wrong(Square):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    with pytest.raises(RuntimeError):
        fg.autograd.gradcheck(Wrong.apply, (x,))


def test_forward_mode():
    x, direction = fg.tensor(sample()), fg.tensor(sample(seed=1))
    y, tangent = fg.func.jvp(lambda x: x.abs() * x.conj(), (x,), (direction,))
    moved = [(x + sign * STEP * direction) for sign in (1, -1)]
    wanted = (moved[0].abs() * moved[0].conj() - moved[1].abs() * moved[1].conj()) / (2 * STEP)
    assert tangent.allclose(wanted, rtol=1e-7)


def test_gradients_to_start_from_must_have_the_dtype():
    x = fg.tensor(sample()).requires_grad_()
    for y, g in [(x * x, fg.ones(3)), ((x * x).real, fg.ones(3, dtype=fg.complex64))]:
        with pytest.raises(RuntimeError, match="same dtype"):
            fg.autograd.grad(y, x, g)


def test_signs_of_zeros_and_values_at_infinity():
    # Those of the C standard, appendix G, as torch's.
    inf, nan = math.inf, math.nan
    z = lambda re, im: fg.tensor(complex(re, im), dtype=fg.complex128)  # noqa: E731
    for call, argument, want in (
        ("atan", (0.5, 0.0), (math.atan(0.5), 0.0)),
        ("atan", (0.5, -0.0), (math.atan(0.5), -0.0)),
        ("atan", (nan, 0.0), (nan, 0.0)),
        ("atanh", (-0.0, 2.0), (-0.0, math.atan(2.0))),
        ("atanh", (inf, nan), (0.0, nan)),
        ("sqrt", (nan, inf), (inf, inf)),
        ("sqrt", (inf, 2.0), (inf, 0.0)),
        ("sqrt", (-inf, -2.0), (0.0, -inf)),
        ("exp2", (inf, 0.0), (inf, 0.0)),
        ("exp2", (-inf, 1.0), (0.0, 0.0)),
        ("tanh", (inf, nan), (1.0, 0.0)),
        ("tanh", (-0.0, inf), (-0.0, nan)),
        ("tanh", (nan, -0.0), (nan, -0.0)),
    ):
        y = getattr(z(*argument), call)().item()
        for got, expected in zip((y.real, y.imag), want):
            assert str(got) == str(expected) or got == pytest.approx(expected, rel=1e-15, abs=0.0), (call, argument, y)
    assert fg.logsumexp(fg.ones(2, 0, dtype=fg.complex128), 1).real.tolist() == [-inf, -inf]


def test_the_derivative_of_polar_at_and_below_0():
    size = fg.tensor([2.0, 0.0, -2.0], requires_grad=True)
    angle = fg.tensor([0.0, 0.0, 0.0], requires_grad=True)
    fg.polar(size, angle).backward(fg.tensor([1 + 3j, 1 + 3j, 1 + 3j]))
    # That of the magnitude of the result, which does not know of a sign before.
    assert size.grad.tolist() == [1.0, 0.0, -1.0] and angle.grad.tolist() == [6.0, 0.0, -6.0]


@pytest.mark.parametrize("name", ["asin", "acos", "asinh", "acosh", "atan", "atanh"])
def test_branch_cuts_keep_the_signs_of_zeros(name):
    numbers = [complex(a, b) for a in (2.0, -2.0, 0.5, -0.5) for b in (0.0, -0.0)]
    z = np.array(numbers + [complex(-z.imag, z.real) for z in numbers])
    y, wanted = getattr(fg, name)(fg.from_numpy(z)).numpy(), getattr(np, "arc" + name[1:])(z)
    np.testing.assert_allclose(y, wanted, rtol=1e-14, atol=1e-15)
    assert (np.signbit(y.real) == np.signbit(wanted.real)).all() and (np.signbit(y.imag) == np.signbit(wanted.imag)).all()


@pytest.mark.parametrize("name", ["asin", "acos", "asinh", "acosh"])
def test_inverse_functions_at_infinity(name):
    parts = [-np.inf, -2.0, -0.0, 0.0, 2.0, np.inf]
    z = np.array([complex(a, b) for a in parts for b in parts if np.isinf(a) or np.isinf(b)])
    y, wanted = getattr(fg, name)(fg.from_numpy(z)).numpy(), getattr(np, "arc" + name[1:])(z)
    np.testing.assert_allclose(y, wanted, rtol=1e-14)


@pytest.mark.parametrize("name", ["exp", "sinh", "cosh", "sin", "cos"])
def test_what_overflows_on_an_axis_stays_on_it(name):
    numbers = [complex(sign * 1e20, zero) for sign in (1, -1) for zero in (0.0, -0.0)]
    z = np.array([complex(z.imag, z.real) if name in ("sin", "cos") else z for z in numbers])
    with np.errstate(over="ignore"):
        y, wanted = getattr(fg, name)(fg.from_numpy(z)).numpy(), getattr(np, name)(z)
    assert (y == wanted).all() and not np.isnan(y).any()
    assert (np.signbit(y.real) == np.signbit(wanted.real)).all() and (np.signbit(y.imag) == np.signbit(wanted.imag)).all()


@pytest.mark.parametrize("dtype", [fg.complex64, fg.complex128])
def test_logcumsumexp(dtype):
    z = fg.tensor(sample((2, 3)), dtype=dtype, requires_grad=True)
    for dim in (0, 1):
        np.testing.assert_allclose(
            z.logcumsumexp(dim).detach().numpy(), np.log(np.cumsum(np.exp(z.detach().numpy()), dim)), rtol=1e-6
        )
    if dtype == fg.complex128:
        assert fg.autograd.gradcheck(lambda z: z.logcumsumexp(1), (z,)) and fg.autograd.gradgradcheck(lambda z: z.logcumsumexp(1), (z,))
    # The turns of the largest number are kept.
    big = fg.tensor([1 + 9j, 60 - 8j, -60], dtype=dtype).logcumsumexp(0).tolist()
    assert big == pytest.approx([1 + 9j, 60 - 8j, 60 - 8j])
    least = fg.tensor([complex(-np.inf, 1), 2 + 1j, -np.inf], dtype=dtype).logcumsumexp(0).tolist()
    assert least == [complex(-np.inf, 0), 2 + 1j, 2 + 1j]
    assert np.isnan(fg.tensor([complex(np.nan, 1), 2], dtype=dtype).logcumsumexp(0).numpy()).all()


def test_complex_numbers_as_bools():
    assert fg.tensor([1j, 0j, 2]).to(fg.bool).tolist() == fg.tensor([1j, 0j, 2], dtype=fg.bool).tolist() == [True, False, True]
    with pytest.raises(TypeError):
        fg.tensor([1j], dtype=fg.int64)


def test_a_mask_takes_numbers_that_fit(warn_always):
    """Also from a tensor without dims; of one that is written without a mask the imaginary part is left out."""
    x = fg.zeros(2, 2)
    with pytest.raises(RuntimeError, match="cannot be converted"):
        x[x > -1] = fg.tensor(1 + 1j)
    with pytest.raises(RuntimeError, match="cannot be converted"):
        x.byte()[x > -1] = fg.tensor(300.0)
    for key in (0, (slice(None), 1), ()):
        with pytest.warns(UserWarning, match="discards the imaginary part"):
            x[key] = fg.tensor(3 + 1j)
    assert x.tolist() == [[3, 3], [3, 3]]
