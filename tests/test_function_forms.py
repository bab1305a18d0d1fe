"""Functions made of methods: the names of their arguments, and arguments that may not be None."""

import subprocess
import sys

import pytest

import ferrograd

X = ferrograd.tensor([[3.0, 2.0], [1.0, 4.0]])


def test_names_of_operands():
    assert ferrograd.add(input=X, other=X, alpha=2).equal(X * 3)
    assert ferrograd.add(other=X, input=X).equal(X * 2)
    assert ferrograd.add(x1=X, x2=X).equal(X * 2) and ferrograd.sub(X, x2=X).equal(X - X)
    assert ferrograd.exp(x=X).equal(X.exp()) and ferrograd.exp(a=X).equal(X.exp())
    assert ferrograd.sum(a=X, axis=0, keepdims=True).equal(X.sum(0, True))
    for call in (
        lambda: ferrograd.add(self=X, other=X),
        lambda: ferrograd.add(X, y=X),
        lambda: ferrograd.add(a=X, b=X),
        lambda: ferrograd.add(input=X, x=X, other=X),
        lambda: ferrograd.sum(X, dim=0, axis=0),
        lambda: ferrograd.sum(X, axis=0, dim=0),
        lambda: ferrograd.norm(X, axis=0),
        lambda: ferrograd.norm(X, dim=0, keepdims=True),
        lambda: ferrograd.exp(),
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize(
    "name, x, tensors",
    [
        ("addcmul", X, (X, X)),
        ("addcdiv", X, (X, X)),
        ("addmm", X, (X, X)),
        ("addmv", X[0], (X, X[1])),
        ("addr", X, (X[0], X[1])),
        ("addbmm", X, (X[None], X[None])),
        ("baddbmm", X[None], (X[None], X[None])),
    ],
)
@pytest.mark.filterwarnings("ignore:This overload of")
def test_factors_before_the_tensors(name, x, tensors):
    """As in torch's first years: `p.data.addcdiv_(-step, a, b)`, and `addmm(beta, x, alpha, a, b)`."""
    names = ["value"] if name.startswith("addc") else ["beta", "alpha"]
    for count in range(1, len(names) + 1):
        factors = (0.5, 3)[:count]
        want = getattr(x, name)(*tensors, **dict(zip(names, factors)))
        assert getattr(x, name)(*factors, *tensors).equal(want)
        y = x.clone()
        assert getattr(y, name + "_")(*factors, *tensors) is y and y.equal(want)
        form = getattr(ferrograd, name)
        if names == ["value"]:
            assert form(x, *factors, *tensors).equal(want)
            assert form(x, *factors, *tensors, out=ferrograd.empty(0)).equal(want)
        else:
            first, *others = factors
            assert form(first, x, *others, *tensors).equal(want)
            with pytest.raises(TypeError, match="come first of all"):
                form(x, *factors, *tensors)
    for wrong in (
        lambda: getattr(x, name)(1, 2, 3, *tensors),
        lambda: getattr(x, name)(x, *tensors),
        lambda: getattr(x, name)(1, *tensors, **{names[0]: 2}),
        lambda: getattr(x, name)("1", *tensors),
        lambda: getattr(ferrograd, name)(2, *tensors) if names == ["value"] else getattr(ferrograd, name)(2, 2, *tensors),
    ):
        with pytest.raises(TypeError):
            wrong()


def test_factors_before_the_tensors_are_warned_of_once():
    code = """
import warnings
import ferrograd
x = ferrograd.ones(2)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    x.addcmul(x, x, value=2), x.add(x, alpha=2)
    assert not seen
    x.addcdiv_(2, x, x), x.addcmul(2, x, x), x.add(2, x)
assert [w.category for w in seen] == [UserWarning] and "This overload of addcdiv_ is deprecated" in str(seen[0].message)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["prod", "max", "min", "squeeze", "median", "nanmedian"])
def test_a_dim_that_may_be_left_out_but_not_be_none(name):
    for call in (lambda: getattr(X, name)(None), lambda: getattr(X, name)(dim=None), lambda: getattr(ferrograd, name)(X, dim=None)):
        with pytest.raises(TypeError):
            call()
    getattr(X, name)()
    getattr(X, name)(0)


@pytest.mark.parametrize("name", ["sum", "mean", "argmax", "all", "std", "count_nonzero"])
def test_a_dim_that_may_be_none(name):
    method = getattr(X.bool() if name == "all" else X, name)
    assert method(dim=None).equal(method())


def test_logsumexp_over_no_dims():
    assert X.logsumexp((), keepdim=True).shape == (1, 1) and ferrograd.tensor(1.0).logsumexp(()).item() == 1
    with pytest.raises(RuntimeError):
        X.logsumexp(())


def test_scaled_sums_are_rounded_once():
    # 1 + 2^-23 times 1 - 2^-23 is 1 - 2^-46, which alone rounds to 1.
    x, y = ferrograd.tensor([1 + 2**-23]), ferrograd.tensor([-1.0])
    assert y.add(x, alpha=1 - 2**-23).item() == -(2**-46)
    assert (-y).sub(x, alpha=1 - 2**-23).item() == 2**-46


OVERLAP = "some elements of the input tensor and the written-to tensor refer to a single memory location"


@pytest.mark.parametrize(
    "call, apart, partly, wholly",
    [
        # Read element by element: the same place is no harm.
        (lambda x, y, out: ferrograd.exp(x, out=out), True, False, True),
        (lambda x, y, out: ferrograd.add(y, x, out=out), True, False, True),
        (lambda x, y, out: ferrograd.add(y, other=x, out=out), True, False, True),
        (lambda x, y, out: ferrograd.addcmul(y, y, x, out=out), True, False, True),
        (lambda x, y, out: ferrograd.where(y > 0, y, x, out=out), True, False, True),
        (lambda x, y, out: ferrograd.cumsum(x, 0, out=out), True, False, True),
        (lambda x, y, out: ferrograd.special.entr(x, out=out), True, False, True),
        # Read in another order.
        (lambda x, y, out: ferrograd.gather(x, 0, ferrograd.arange(4), out=out), True, False, False),
        (lambda x, y, out: ferrograd.cat([y[:2], x[:2]], out=out), True, False, False),
        (lambda x, y, out: ferrograd.cat([x], out=out), True, False, False),
        (lambda x, y, out: ferrograd.index_select(x, 0, ferrograd.arange(4), out=out), True, False, False),
        # The operands after the first.
        (lambda x, y, out: ferrograd.addmv(x, y[None] * y[:, None], y, out=out), True, False, True),
        (lambda x, y, out: ferrograd.addmv(y, y[None] * y[:, None], x, out=out), True, True, True),
        (lambda x, y, out: ferrograd.scatter(x, 0, ferrograd.arange(4), y, out=out), True, False, True),
        (lambda x, y, out: ferrograd.scatter(y, 0, ferrograd.arange(4), x, out=out), True, False, False),
        # Written when all has been read.
        (lambda x, y, out: ferrograd.sum(x[:, None], 1, out=out), True, True, True),
        (lambda x, y, out: ferrograd.softmax(x, 0, out=out), True, True, True),
        (lambda x, y, out: ferrograd.matmul(y[None] * y[:, None], x, out=out), True, True, True),
        # Several results.
        (lambda x, y, out: ferrograd.max(x.view(2, 2), 1, out=(out[:2], ferrograd.zeros(2).long())), True, False, False),
        (lambda x, y, out: ferrograd.sort(x, out=(out, ferrograd.zeros(4).long())), True, False, True),
    ],
)
def test_out_that_overlaps(call, apart, partly, wholly):
    for allowed, start in ((apart, 8), (partly, 1), (wholly, 0)):
        memory, y = ferrograd.arange(12.0), ferrograd.arange(1.0, 5)
        wanted = call(memory[:4].clone(), y, ferrograd.zeros(4))
        out = memory[start : start + 4]
        if allowed:
            found = call(memory[:4], y, out)
            assert all(a.equal(b) for a, b in zip(found, wanted))
        else:
            with pytest.raises(RuntimeError, match=OVERLAP):
                call(memory[:4], y, out)
            assert memory.equal(ferrograd.arange(12.0))


def test_dims_to_squeeze_come_one_by_one_or_as_a_sequence():
    x = ferrograd.zeros(1, 2, 1)
    for call in (lambda x: x.squeeze(0, 2), lambda x: x.squeeze((0, 2)), lambda x: x.squeeze(dim=[0, 2]), lambda x: x.squeeze()):
        assert call(x).shape == (2,)
    assert x.clone().squeeze_(0, 2).shape == x.clone().squeeze_((0, 2)).shape == x.clone().squeeze_().shape == (2,)
    for wrong in (lambda: x.squeeze(0, dim=1), lambda: x.squeeze(None), lambda: x.squeeze_(0, dim=1)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(IndexError):
        x.squeeze(0, 3)
