"""Functions made of methods: the names of their arguments, and arguments that may not be None."""

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
