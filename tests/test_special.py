"""ferrograd.special: values against those of mpmath in 40 digits, torch's conventions at borders, dtypes, and missing derivatives."""

import math

import numpy as np
import pytest

import ferrograd
from ferrograd import special

INF, NAN = math.inf, math.nan

# Arguments, and the values there.
UNARY = {
    'airy_ai': (
        [-40.0, -9.0, -7.9, -1.0, 0.0, 1.9, 2.1, 30.0],
        [-0.04593392343795725, -0.022133721547341403, 0.041701883617386706, 0.5355608832923521, 0.3550280538878172, 0.0405944200315295, 0.029952602115866523, 3.2082175915504954e-49],
    ),
    'bessel_j0': (
        [-4.0, 0.0, 0.5, 5.5, 30.0],
        [-0.39714980986384735, 1.0, 0.9384698072408129, -0.006843869417819197, -0.08636798358104021],
    ),
    'bessel_j1': (
        [-4.0, 0.0, 0.5, 5.5, 30.0],
        [0.06604332802354913, 0.0, 0.2422684576748739, -0.34143821542904335, -0.11875106261662294],
    ),
    'bessel_y0': (
        [0.5, 5.5, 30.0],
        [-0.44451873350670656, -0.339480592881911, -0.11729573168666403],
    ),
    'bessel_y1': (
        [0.5, 5.5, 30.0],
        [-1.471472392670243, -0.023758238956389618, 0.08442557066174723],
    ),
    'modified_bessel_i0': (
        [-4.0, 0.0, 7.9, 8.1, 300.0],
        [11.30192195213633, 1.0, 389.406283282158, 469.5006067101215, 4.475847367935052e+128],
    ),
    'modified_bessel_i1': (
        [-4.0, 0.0, 7.9, 8.1, 300.0],
        [-9.75946515370445, 0.0, 363.8539440845084, 439.48430891035844, 4.468381385036955e+128],
    ),
    'modified_bessel_k0': (
        [0.01, 1.9, 2.1, 300.0],
        [4.721244730161095, 0.1288459792760475, 0.10078374088996693, 3.7236948548891435e-132],
    ),
    'modified_bessel_k1': (
        [0.01, 1.9, 2.1, 300.0],
        [99.97389411829624, 0.15966015303266762, 0.12274641153350789, 3.7298958583323724e-132],
    ),
    'scaled_modified_bessel_k0': (
        [0.01, 1.9, 2.1, 1000.0],
        [4.768694028544462, 0.8614506167517558, 0.8230171525316621, 0.03962832160075422],
    ),
    'scaled_modified_bessel_k1': (
        [0.01, 1.9, 2.1, 1000.0],
        [100.97864845824004, 1.0674709298145701, 1.0023680527405792, 0.03964813081296021],
    ),
    'spherical_bessel_j0': (
        [-4.0, 0.0, 1e-05, 0.5, 300.0],
        [-0.18920062382698205, 1.0, 0.9999999999833333, 0.958851077208406, -0.003332519466337165],
    ),
    'i0': (
        [-300.0, -8.1, 0.0, 0.5, 300.0],
        [4.475847367935052e+128, 469.5006067101215, 1.0, 1.0634833707413236, 4.475847367935052e+128],
    ),
    'i0e': (
        [-300.0, -8.1, 0.0, 0.5, 1000.0],
        [0.02304255841508546, 0.14251180948829528, 1.0, 0.6450352704491501, 0.012617240455891257],
    ),
    'i1': (
        [-300.0, -8.1, 0.0, 0.5, 300.0],
        [-4.468381385036955e+128, -439.48430891035844, 0.0, 0.2578943053908963, 4.468381385036955e+128],
    ),
    'i1e': (
        [-300.0, -8.1, 0.0, 0.5, 1000.0],
        [-0.02300412204026895, -0.13340068832583662, 0.0, 0.1564208031848717, 0.012610930256928629],
    ),
    'erfcx': (
        [-20.0, -1.0, 0.0, 0.5, 24.0, 26.0, 49.0, 51.0, 300.0, 100000000.0],
        [1.0442939379528289e+174, 5.008980080762283, 1.0, 0.6156903441929259, 0.02348754606368264, 0.021683584850562907, 0.011511676863882964, 0.01106041548532772, 0.0018806214973780646, 5.641895835477562e-09],
    ),
    'log_ndtr': (
        [-300.0, -40.0, -2.0, -0.9, 0.0, 3.0],
        [-45006.62273211866, -804.6084420137538, -3.783184333682032, -1.6924928065613383, -0.6931471805599453, -0.0013508099647481938],
    ),
    'ndtr': (
        [-1.0, 0.0, 0.5, 5.0],
        [0.15865525393145705, 0.5, 0.6914624612740131, 0.9999997133484281],
    ),
    'ndtri': (
        [1e-300, 1e-20, 0.01, 0.099, 0.3, 0.6, 0.89, 0.95],
        [-37.0470962993612, -9.262340089798407, -2.326347874040841, -1.2872705631079415, -0.5244005127080408, 0.2533471031357997, 1.22652812003661, 1.6448536269514722],
    ),
    'psi': (
        [0.3, 1.5, 30.0],
        [-3.502524222200133, 0.03648997397857652, 3.384438132685525],
    ),
    'gammaln': (
        [0.3, 1.5, 30.0],
        [1.0957979948180756, -0.12078223763524522, 71.25703896716801],
    ),
    'expit': (
        [-3.0, 0.5],
        [0.04742587317756678, 0.6224593312018546],
    ),
}
BINARY = {
    'gammainc': (
        [(0.01, 1.0), (0.5, 0.1), (0.5, 3.0), (3.0, 0.2), (15.0, 14.0), (25.0, 20.0), (25.0, 30.0), (150.0, 100.0), (10000.0, 9900.0), (1000000.0, 1000000.0), (30.0, 80.0)],
        [0.997783765376772, 0.345279153981423, 0.9856941215645704, 0.0011484812448621325, 0.4295632871726278, 0.15677262182623772, 0.8427579727616084, 1.88421046603867e-06, 0.15865119219356466, 0.5001329807608725, 0.9999999999509677],
    ),
    'gammaincc': (
        [(0.01, 1.0), (0.5, 0.1), (0.5, 3.0), (3.0, 9.0), (15.0, 14.0), (25.0, 20.0), (25.0, 30.0), (150.0, 200.0), (10000.0, 10100.0), (1000000.0, 1000000.0), (30.0, 80.0)],
        [0.00221623462322799, 0.654720846018577, 0.01430587843542964, 0.006232195106377317, 0.5704367128273722, 0.8432273781737623, 0.1572420272383916, 9.678621994933577e-05, 0.15865124955282037, 0.4998670192391274, 4.903229555810753e-11],
    ),
    'zeta': (
        [(1.1, 1.0), (2.0, 0.5), (3.5, 7.0), (30.0, 0.1)],
        [10.584448464950801, 4.934802200544679, 0.003681929219641926, 9.999999999999983e+29],
    ),
    'xlog1py': (
        [(2.0, 1e-10), (0.0, 3.0), (-1.5, 0.5)],
        [1.9999999999000001e-10, 0.0, -0.6081976621622466],
    ),
    'chebyshev_polynomial_t': (
        [(0.3, 5.0), (0.3, 30.0), (-1.2, 6.0), (1.0, 9.0), (-1.0, 9.0)],
        [0.99888, 0.9599427952716779, 20.938687999999992, 1.0, -1.0],
    ),
    'chebyshev_polynomial_u': (
        [(0.3, 5.0), (0.3, 30.0), (-1.2, 6.0), (1.0, 9.0), (-1.0, 9.0)],
        [1.01376, 1.0480603783204168, 58.77497599999998, 10.0, -10.0],
    ),
    'chebyshev_polynomial_v': (
        [(0.3, 5.0), (0.3, 30.0), (-1.2, 6.0), (1.0, 9.0), (-1.0, 9.0)],
        [0.9641599999999999, 0.7543351014912874, 90.30521599999997, 1.0, -19.0],
    ),
    'chebyshev_polynomial_w': (
        [(0.3, 5.0), (0.3, 30.0), (-1.2, 6.0), (1.0, 9.0), (-1.0, 9.0)],
        [1.06336, 1.3417856551495464, 27.24473599999999, 19.0, -1.0],
    ),
    'shifted_chebyshev_polynomial_t': (
        [(0.3, 5.0), (0.3, 30.0), (1.2, 6.0), (0.0, 9.0)],
        [-0.88384, -0.975708264736359, 90.82835199999995, -1.0],
    ),
    'shifted_chebyshev_polynomial_u': (
        [(0.3, 5.0), (0.3, 30.0), (1.2, 6.0), (0.0, 9.0)],
        [-0.6796799999999998, -1.0713199616947813, 220.6023039999999, -10.0],
    ),
    'shifted_chebyshev_polynomial_v': (
        [(0.3, 5.0), (0.3, 30.0), (1.2, 6.0), (0.0, 9.0)],
        [-0.16927999999999976, -1.3103492040908375, 127.90662399999992, -19.0],
    ),
    'shifted_chebyshev_polynomial_w': (
        [(0.3, 5.0), (0.3, 30.0), (1.2, 6.0), (0.0, 9.0)],
        [-1.19008, -0.8322907192987252, 313.2979839999999, -1.0],
    ),
    'hermite_polynomial_h': (
        [(0.3, 1.0), (0.3, 5.0), (-2.0, 20.0)],
        [0.6, 31.757759999999998, 5080118660096.0],
    ),
    'hermite_polynomial_he': (
        [(0.3, 1.0), (0.3, 5.0), (-2.0, 20.0)],
        [0.3, 4.23243, -1628815029.0],
    ),
    'laguerre_polynomial_l': (
        [(0.3, 1.0), (0.3, 5.0), (-2.0, 20.0), (0.0, 7.0)],
        [0.7, -0.09333274999999998, 15818.225424870654, 1.0],
    ),
    'legendre_polynomial_p': (
        [(0.3, 1.0), (0.3, 5.0), (-0.7, 20.0), (1.0, 9.0), (-1.0, 9.0), (1.5, 4.0)],
        [0.3, 0.34538625, -0.20457394463834164, 1.0, -1.0, 14.0859375],
    ),
}

WITHOUT_DERIVATIVE = [name for name in special.__all__ if "bessel" in name or "polynomial" in name or "airy" in name]


def double(values):
    return ferrograd.tensor(values, dtype=ferrograd.float64)


def check(got, want, tolerance):
    np.testing.assert_allclose(got.numpy(), want, rtol=tolerance, atol=tolerance * 1e-3)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one(name):
    x, want = UNARY[name]
    check(getattr(special, name)(double(x)), want, 2e-13)
    with np.errstate(over="ignore"):
        y = np.array(want, np.float32)
    finite = np.isfinite(y) & (np.array(x, np.float32) == x)
    check(getattr(special, name)(ferrograd.tensor(x))[finite], y[finite], 5e-5)


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two(name):
    pairs, want = BINARY[name]
    a, b = np.array(pairs).T
    check(getattr(special, name)(double(a), double(b)), want, 3e-13)
    check(getattr(special, name)(double(a).float(), double(b).float())[:3], want[:3], 2e-5)


def test_every_name_of_torchs_is_there():
    others = "digamma entr erf erfc erfinv exp2 expm1 log1p log_softmax logit logsumexp multigammaln polygamma round sinc softmax xlogy"
    assert {*UNARY, *BINARY, *others.split()} == set(special.__all__) and len(special.__all__) == 56
    assert special.expit is ferrograd.sigmoid and special.gammainc is ferrograd.igamma and special.multigammaln is ferrograd.mvlgamma


BORDERS = [
    ("airy_ai", [INF, -INF, NAN, 104.0], [NAN, NAN, NAN, 0.0]),
    ("bessel_j0", [INF, -INF, NAN], [NAN] * 3),
    ("bessel_j1", [INF, -INF, NAN], [NAN] * 3),
    ("bessel_y0", [0.0, -1.0, INF, NAN], [-INF, NAN, NAN, NAN]),
    ("bessel_y1", [0.0, -1.0, INF, NAN], [-INF, NAN, NAN, NAN]),
    ("modified_bessel_i0", [1000.0, -1000.0, INF, NAN], [INF, INF, NAN, NAN]),
    ("modified_bessel_i1", [1000.0, -1000.0, INF, NAN], [INF, -INF, NAN, NAN]),
    ("modified_bessel_k0", [0.0, -1.0, 1e300, INF, NAN], [INF, NAN, 0.0, 0.0, NAN]),
    ("scaled_modified_bessel_k1", [0.0, -1.0, INF, NAN], [INF, NAN, 0.0, NAN]),
    ("spherical_bessel_j0", [0.0, INF, -INF, NAN], [1.0, 0.0, 0.0, NAN]),
    ("i0e", [INF, -INF, NAN], [0.0, 0.0, NAN]),
    ("entr", [0.0, -1.0, INF, NAN], [0.0, -INF, -INF, NAN]),
    ("erfcx", [INF, -INF, -300.0, NAN], [0.0, INF, INF, NAN]),
    ("log_ndtr", [300.0, INF, NAN], [0.0, 0.0, NAN]),
    ("ndtri", [0.0, 1.0, 0.5, -0.1, 1.1, NAN], [-INF, INF, 0.0, NAN, NAN, NAN]),
]


@pytest.mark.parametrize("dtype", [ferrograd.float32, ferrograd.float64])
@pytest.mark.parametrize("name, x, want", BORDERS)
def test_borders(name, x, want, dtype):
    y = getattr(special, name)(ferrograd.tensor(x, dtype=dtype))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), want)


def test_borders_of_functions_of_two():
    def table(f, first, second):
        return f(double(first)[:, None], double(second)).tolist()

    np.testing.assert_equal(table(ferrograd.igamma, [0, 2, INF, -1], [0, 1e9, INF, -1]), [[NAN, 1, 1, NAN], [0, 1, 1, NAN], [0, 0, NAN, NAN], [NAN] * 4])
    np.testing.assert_equal(table(ferrograd.igammac, [0, 2, INF, -1], [0, 1e9, INF, -1]), [[NAN, 0, 0, NAN], [1, 0, 0, NAN], [1, 1, NAN, NAN], [NAN] * 4])
    np.testing.assert_equal(table(special.zeta, [1, 0.5, 2.5, 2], [-1, -0.5]), [[INF, INF], [NAN, NAN], [INF, NAN], [INF, math.pi**2 / 2 + 4]])
    np.testing.assert_equal(table(special.xlog1py, [0, 1, NAN], [NAN, -1]), [[NAN, 0], [NAN, -INF], [NAN, NAN]])


@pytest.mark.parametrize("name", [name for name in BINARY if "polynomial" in name])
def test_degrees(name):
    f = getattr(special, name)
    x = double([0.3, 1.7])
    assert f(x, 0).tolist() == [1, 1] and f(x, 0.9).tolist() == [1, 1]
    for n in (-1, NAN, INF, -INF):
        assert f(x, n).tolist() == [0, 0]
    assert f(x, 3).equal(f(x, 3.9)) and f(x, True).equal(f(x, 1)) and f(x, n=2).equal(f(x, 2))
    number_first = f(2, ferrograd.tensor([0, 1, 2]))
    assert number_first.dtype == ferrograd.float32 and number_first.equal(f(ferrograd.full((3,), 2.0), ferrograd.tensor([0.0, 1.0, 2.0])))
    assert f(x[:, None], ferrograd.tensor([0, 1, 2])).shape == (2, 3)
    with pytest.raises(TypeError):
        f(2, 3)
    with pytest.raises(TypeError):
        f(x, "a")


def test_degrees_that_would_take_for_ever():
    assert special.laguerre_polynomial_l(double([0.5]), 1e15).isnan().item()
    assert special.zeta(double([2.0]), -1e14 + 0.5).isfinite().item()
    assert ferrograd.igamma(double([1e14]), double([1.1e14])).item() == 1


@pytest.mark.parametrize("name", [*UNARY, "entr"])
def test_dtypes(name):
    f = getattr(special, name)
    for dtype in (ferrograd.bool, ferrograd.uint8, ferrograd.int64):
        x = ferrograd.tensor([1, 0], dtype=dtype)
        y = f(x)
        assert y.dtype == ferrograd.float32
        np.testing.assert_array_equal(y.numpy(), f(x.float()).numpy())
    if name != "expit":
        with pytest.raises(NotImplementedError):
            f(ferrograd.tensor([1j]))
    with pytest.raises(TypeError):
        f(1.0)


def test_out():
    x, out = double([0.5, 0.7]), ferrograd.empty(2)
    assert special.airy_ai(x, out=out) is out and out.equal(special.airy_ai(x).float())
    assert special.zeta(2, x, out=out) is out and out.equal(special.zeta(2, x).float())
    with pytest.raises(RuntimeError):
        special.i1(x, out=ferrograd.empty(2, dtype=ferrograd.int64))


@pytest.mark.parametrize("name", WITHOUT_DERIVATIVE)
def test_results_without_a_derivative_are_off_the_tape(name):
    f = getattr(special, name)
    x = double([0.5, 0.7]).requires_grad_()
    assert not (f(x, 2) if "polynomial" in name else f(x)).requires_grad


def test_derivatives_that_are_missing():
    x = double([1.5]).requires_grad_()
    for y, what in (
        (special.zeta(x, 2), "zeta"),
        (ferrograd.igamma(x, x), "igamma: input"),
        (ferrograd.igammac(x, x), "igammac: input"),
    ):
        with pytest.raises(NotImplementedError, match=f"the derivative for '{what}' is not implemented"):
            y.backward()


def test_derivatives_at_borders():
    def gradient(f, *x):
        x = double(x).requires_grad_()
        (g,) = ferrograd.autograd.grad(f(x).sum(), x, create_graph=True)
        return g.tolist(), ferrograd.autograd.grad(g.sum(), x)[0].tolist()

    assert gradient(special.i1, 0.0) == ([0.5], [0.0])
    assert gradient(special.i1e, 0.0) == ([0.5], [0.0])
    assert gradient(special.i0e, 0.0) == ([0.0], [0.5])
    assert gradient(special.entr, 0.0) == ([INF], [-INF])
    assert gradient(special.ndtri, 0.5)[0] == [math.sqrt(2 * math.pi)]
    a, b = double([0.0]).requires_grad_(), double([-1.0])
    special.xlog1py(a, b).backward()
    assert a.grad.item() == 0
    for f, x in ((special.log_ndtr, -300.0), (special.log_ndtr, 300.0), (special.erfcx, 300.0)):
        assert np.isfinite(gradient(f, x)).all()


def test_mvlgamma():
    x = double([[2.0, 3.5], [10.0, 1.6]])
    for p in (1, 2, 4):
        want = p * (p - 1) / 4 * math.log(math.pi) + sum(np.vectorize(math.lgamma)(x.numpy() - i / 2) for i in range(p))
        check(x.mvlgamma(p), want, 1e-13)
    assert x.t().mvlgamma(2).equal(x.mvlgamma(2).t()) and x.clone().mvlgamma_(2).equal(special.multigammaln(x, p=2))
    assert ferrograd.tensor([3, 4]).mvlgamma(2).dtype == ferrograd.float32 and ferrograd.empty(0, 2).mvlgamma(2).shape == (0, 2)
    for p, error in ((0, RuntimeError), (-3, RuntimeError), (True, TypeError), (1.0, TypeError)):
        with pytest.raises(error):
            x.mvlgamma(p)
    with pytest.raises(RuntimeError):
        ferrograd.tensor([True]).mvlgamma(1)


def test_gamma_functions_take_floats_and_tensors():
    x, n = double([0.5, 2.0]), ferrograd.tensor([1, 2])
    assert x.igamma(n).equal(x.igamma(n.double())) and n.igamma(x).dtype == ferrograd.float64
    assert ferrograd.tensor([1.0, 2.0]).igamma_(x).dtype == ferrograd.float32
    for call in (lambda: n.igamma(n), lambda: n.igammac(n), lambda: x.igamma(x.to(ferrograd.complex128))):
        with pytest.raises(NotImplementedError):
            call()
    for call in (lambda: x.igamma(2.0), lambda: ferrograd.igammac(2.0, x)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(RuntimeError):
        n.igamma_(x)


def test_single_precision_of_large_arguments_is_that_of_the_angle():
    # The angle x - π/4 is rounded to a multiple of 2^-9 beyond 2^14, as torch rounds it.
    x = np.float32(13437.7)
    angle = np.float64(np.float32(x - np.float32(np.pi / 4)))
    want = math.sqrt(2 / (math.pi * float(x))) * math.cos(angle)
    assert abs(special.bessel_j0(ferrograd.tensor(float(x))).item() - want) < 1e-6
