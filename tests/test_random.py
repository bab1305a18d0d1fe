"""Random numbers: every expected value is what torch 2.13 gives for the same seed."""

import copy
import pickle

import pytest

import ferrograd as torch

f64 = torch.float64

STREAMS = {
    "rand": (lambda: torch.rand(3), [0.5349225401878357, 0.19880318641662598, 0.6592116951942444]),
    "rand double": (lambda: torch.rand(2, dtype=f64), [0.279380429906404, 0.27369371365176565]),
    "randn short": (lambda: torch.randn(3), [-0.1467950940132141, 0.7861412763595581, 0.9468216300010681]),
    "randn long": (lambda: torch.randn(17)[:3], [-0.8201345205307007, -0.32456663250923157, 1.9263681173324585]),
    "randn tail": (lambda: torch.randn(17)[-2:], [-1.3597689867019653, -0.866701602935791]),
    "randn double": (lambda: torch.randn(17, dtype=f64)[1:3], [-0.29104147095938915, 0.45801695358702993]),
    "uniform_": (lambda: torch.empty(3).uniform_(-1, 1), [0.06984508037567139, -0.602393627166748, 0.31842339038848877]),
    "along memory": (
        lambda: torch.empty(2, 2).t().uniform_(),
        [[0.5349225401878357, 0.6592116951942444], [0.19880318641662598, 0.6568902730941772]],
    ),
    "exponential_": (lambda: torch.empty(3).exponential_(2.0), [0.1638219654560089, 0.159891739487648, 0.9905877113342285]),
    "cauchy_": (lambda: torch.empty(3).cauchy_(1.0, 2.0), [-0.6611115336418152, -0.7224060893058777, 5.323784351348877]),
    "log_normal_": (lambda: torch.empty(3).log_normal_(0.5, 0.25), [1.589311957359314, 2.0067877769470215, 2.0890417098999023]),
    "geometric_": (lambda: torch.empty(4).geometric_(0.3), [4.0, 4.0, 1.0, 2.0]),
    "bernoulli_": (lambda: torch.empty(5).bernoulli_(0.3), [1.0, 1.0, 0.0, 0.0, 0.0]),
    "bernoulli": (lambda: torch.bernoulli(torch.tensor([0.1, 0.5, 0.9, 0.5])), [0.0, 1.0, 1.0, 0.0]),
    "randint": (lambda: torch.randint(10, (5,)), [5, 2, 1, 6, 3]),
    "randint wide": (lambda: torch.randint(-5, 2**40, (2,)), [752589289487, 108678733351]),
    "randperm": (lambda: torch.randperm(6), [3, 0, 1, 5, 2, 4]),
    "random_": (lambda: torch.empty(2).random_(), [8974492.0, 3335306.0]),
    "random_ int64": (lambda: torch.empty(2, dtype=torch.int64).random_(), [1407639518939636932, 5163590386780219894]),
    "random_ uint8": (lambda: torch.empty(3, dtype=torch.uint8).random_(), [175, 196, 25]),
    "normal tensors": (
        lambda: torch.normal(torch.arange(3.0), torch.tensor([1.0, 2.0, 3.0])),
        [-0.1467950940132141, 2.572282552719116, 4.8404645919799805],
    ),
    "normal numbers": (lambda: torch.normal(1.0, 2.0, (3,)), [0.7064098119735718, 2.572282552719116, 2.8936431407928467]),
    "multinomial": (lambda: torch.multinomial(torch.tensor([0.1, 0.2, 0.3, 0.4]), 3), [1, 3, 0]),
    "multinomial replacing": (
        lambda: torch.multinomial(torch.tensor([0.1, 0.2, 0.3, 0.4]), 6, replacement=True),
        [1, 1, 3, 3, 3, 3],
    ),
    "poisson": (lambda: torch.poisson(torch.tensor([0.0, 3.0, 30.0])), [0.0, 3.0, 26.0]),
    "rand_like": (
        lambda: torch.rand_like(torch.empty(2, 3).t()),
        [
            [0.5349225401878357, 0.6568902730941772],
            [0.19880318641662598, 0.23276156187057495],
            [0.6592116951942444, 0.4250614047050476],
        ],
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_torchs(name):
    draw, expected = STREAMS[name]
    torch.manual_seed(7)
    assert draw().tolist() == expected


def test_a_large_draw():
    torch.manual_seed(0)
    x = torch.randn(64, 1000)
    assert x[0, :3].tolist() == [-1.1258398294448853, -1.152360200881958, -0.2505785822868347]
    assert x[-1, -3:].tolist() == [0.4879833459854126, 1.4502661228179932, 2.1563920974731445]


def test_states_bring_back_the_stream():
    torch.manual_seed(3)
    torch.randn(3)  # leaves half a pair behind
    state = torch.get_rng_state()
    assert state.dtype is torch.uint8 and state.shape == (5056,)
    first = torch.randn(4).tolist()
    torch.set_rng_state(state)
    assert torch.randn(4).tolist() == first
    with torch.random.fork_rng():
        torch.manual_seed(1)
    torch.set_rng_state(state)
    with torch.random.fork_rng():
        torch.rand(100)
    assert torch.randn(4).tolist() == first
    torch.set_rng_state(state)
    with torch.random.fork_rng(devices=[], enabled=True, device_type="cpu"):
        torch.rand(100)
    assert torch.randn(4).tolist() == first


def test_generators_are_streams_of_their_own():
    g = torch.Generator()
    assert g.initial_seed() == 67280421310721
    assert g.manual_seed(-3) is g and g.initial_seed() == 2**64 - 3
    g.manual_seed(7)
    assert torch.rand(3, generator=g).tolist() == STREAMS["rand"][1]
    for copied in [copy.copy(g), copy.deepcopy(g), pickle.loads(pickle.dumps(g)), g.clone_state()]:
        assert torch.rand(2, generator=copied).tolist() == [0.6568902730941772, 0.23276156187057495]
    assert torch.manual_seed(5).initial_seed() == 5 == torch.initial_seed()


def test_random_numbers_in_place_of_recorded_ones_have_no_derivative():
    x = torch.ones(3, requires_grad=True)
    y = (x * 2).uniform_()
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(RuntimeError):
        x.uniform_()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: torch.rand(2, dtype=torch.int64), NotImplementedError),
        (lambda: torch.ones(2).uniform_(1, 0), RuntimeError),
        (lambda: torch.ones(2).uniform_(float("nan"), 0), RuntimeError),
        (lambda: torch.ones(2).normal_(0, -1), RuntimeError),
        (lambda: torch.normal(torch.zeros(2), torch.tensor([-1.0, 1.0])), RuntimeError),
        (lambda: torch.normal(0.0, 1.0), TypeError),
        (lambda: torch.randint(0, (2,)), RuntimeError),
        (lambda: torch.randint(5, 2), TypeError),
        (lambda: torch.randint(5.0, (2,)), TypeError),
        (lambda: torch.randint(2, 500, (2,), dtype=torch.uint8), RuntimeError),
        (lambda: torch.randperm(-1), RuntimeError),
        (lambda: torch.randperm(300, dtype=torch.uint8), RuntimeError),
        (lambda: torch.bernoulli(torch.tensor([2.0])), RuntimeError),
        (lambda: torch.bernoulli(torch.tensor([1])), NotImplementedError),
        (lambda: torch.ones(2).exponential_(0), RuntimeError),
        (lambda: torch.ones(2).cauchy_(0, 0), RuntimeError),
        (lambda: torch.ones(2).geometric_(1), RuntimeError),
        (lambda: torch.ones(2).log_normal_(0, 0), RuntimeError),
        (lambda: torch.ones(1).expand(3).normal_(), RuntimeError),
        (lambda: torch.multinomial(torch.ones(3), 4), RuntimeError),
        (lambda: torch.multinomial(torch.zeros(2), 1), RuntimeError),
        (lambda: torch.multinomial(torch.ones(3), 2, out=torch.empty(0)), RuntimeError),
        (lambda: torch.poisson(torch.tensor([-1.0])), RuntimeError),
        (lambda: torch.manual_seed("a"), ValueError),
        (lambda: torch.manual_seed(2**64), ValueError),
        (lambda: torch.set_rng_state(torch.zeros(3)), TypeError),
        (lambda: torch.set_rng_state(torch.zeros(3, dtype=torch.uint8)), RuntimeError),
        (lambda: torch.rand(2, generator=3), TypeError),
    ],
)
def test_bad_arguments_raise(call, error):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(
    "dtype, low, want",
    [
        # Torch's numbers after manual_seed(0).
        (torch.float32, 3, [8326087, 12888928, 1484774, 2215539]),
        (torch.float64, 3, [8737460674933496, 6375474555115571, 4137753702980770, 8293357854230048]),
        (torch.float64, -3, [8737460674926752, 6375474555106781, 4137753702973360, 8293357854223352]),
        (torch.uint8, 3, [68, 76, 191, 105]),
        (torch.int8, -128, [44, -81, -11, 64]),
        (torch.int32, 5, [347804968, 2130988450, 1656050655, 1271669062]),
        (torch.int64, -5, [900450186894289445, 3969543146641149110, 1895649597198586609, 827948490035658077]),
        (torch.int64, -(2**63), [-8322921849960486353, -5253828890213626688, -7327722439656189189, -8395423546819117721]),
        (torch.int64, 2**63 - 1, [2**63 - 1] * 4),
        (torch.bool, 0, [False, True, True, False]),
    ],
)
def test_random_without_an_upper_bound(dtype, low, want):
    torch.manual_seed(0)
    assert torch.zeros(4, dtype=dtype).random_(low, None).tolist() == want


def test_random_refuses_bounds_out_of_range():
    for dtype, low in ((torch.float32, 2**24), (torch.uint8, 256), (torch.uint8, -1), (torch.int8, -129), (torch.bool, 2)):
        with pytest.raises(RuntimeError):
            torch.zeros(4, dtype=dtype).random_(low, None)


def test_normal_takes_tensors_of_no_dims_for_numbers():
    torch.manual_seed(0)
    wanted = torch.normal(1.0, 2.0, (3,))
    for mean, std in ((torch.tensor(1), 2), (1, torch.tensor(2)), (torch.tensor(1.0), torch.tensor(2.0))):
        torch.manual_seed(0)
        assert torch.equal(torch.normal(mean, std, (3,)), wanted)
    with pytest.raises(TypeError):
        torch.normal(torch.zeros(1), 2.0, (3,))
    with pytest.raises(TypeError):
        torch.normal(0, 1j, (3,))
    with pytest.raises(RuntimeError, match="non-complex"):
        torch.normal(torch.zeros(2), torch.ones(2, dtype=torch.complex64))


def test_multinomial_draws_in_the_order_of_memory():
    """As torch: of transposed weights, column by column."""
    weights = (torch.arange(12.0) * 7 % 11 + 1).reshape(4, 3).t()
    torch.manual_seed(3)
    assert weights.multinomial(1).flatten().tolist() == [1, 3, 2]
    assert weights.multinomial(2).flatten().tolist() == [1, 3, 3, 1, 1, 3]
    torch.manual_seed(3)
    rows = weights.contiguous().multinomial(1)
    assert rows.flatten().tolist() == [3, 2, 2]
    torch.manual_seed(3)
    assert weights[:, ::2].multinomial(1).shape == (3, 1)


def test_parameters_of_fills_are_numbers():
    """Or 0-d tensors that need no gradient."""
    x, one = torch.zeros(3), torch.tensor(1.0)
    torch.manual_seed(3)
    wanted = x.normal_(1.0, 2.0).clone()
    torch.manual_seed(3)
    assert x.normal_(one, std=torch.tensor(2)).equal(wanted)
    for fill in ("normal_", "log_normal_", "uniform_", "exponential_", "cauchy_", "geometric_"):
        for wrong in (one.clone().requires_grad_(), one.view(1), torch.zeros(3), "1", 1j):
            with pytest.raises(TypeError, match="must be (float|real number), not"):
                getattr(x, fill)(wrong)
    assert x.equal(wanted)


@pytest.mark.parametrize(
    "dtype, low, high, wanted",
    [
        (torch.float32, 0, 2**31, [38989420.0, 773721280.0]),
        (torch.float32, -(2**33) - 1, 2**25, [-3132008704.0, -6271795200.0]),
        (torch.float64, 0, 2**60, [1.6545230519666352e17, 6.666531346244095e17]),
        (torch.float32, -(2**62), 2**63 - 1, [8.235902842972406e18, 6.666531413740749e17]),
    ],
)
def test_bounds_that_floats_do_not_hold_are_moved_inwards(dtype, low, high, wanted):
    torch.manual_seed(123)
    assert torch.randint(low, high, (2,), dtype=dtype).tolist() == wanted
    torch.manual_seed(123)
    assert torch.empty(2, dtype=dtype).random_(low, high).tolist() == wanted
    # Above 2^25 every fourth whole number is a float.
    x = torch.empty(1000).random_(2**26 - 8, 2**26)
    assert x.max() < 2**26 and x.min() >= 2**26 - 8
