"""`repr` of tensors and `set_printoptions`: the text is torch's."""

import pytest

import ferrograd as torch


@pytest.fixture(autouse=True)
def default_options():
    yield
    torch.set_printoptions(profile="default")


CASES = [
    (lambda: torch.tensor(3), "tensor(3)"),
    (lambda: torch.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
    (lambda: torch.tensor([1.0, float("nan"), float("inf")]), "tensor([1., nan, inf])"),
    (lambda: torch.tensor([[1, -2], [30, 4]]), "tensor([[ 1, -2],\n        [30,  4]])"),
    (lambda: torch.tensor([True, False]), "tensor([ True, False])"),
    (lambda: torch.ones(2, dtype=torch.float64), "tensor([1., 1.], dtype=torch.float64)"),
    (lambda: torch.ones(2, dtype=torch.int8), "tensor([1, 1], dtype=torch.int8)"),
    (lambda: torch.zeros(2, 0), "tensor([], size=(2, 0))"),
    (lambda: torch.zeros(0, dtype=torch.int64), "tensor([], dtype=torch.int64)"),
    (lambda: torch.tensor([1.23456, 1e10]), "tensor([1.2346e+00, 1.0000e+10])"),
    (lambda: torch.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    (lambda: torch.ones(1, requires_grad=True), "tensor([1.], requires_grad=True)"),
    (lambda: torch.ones(1, requires_grad=True) * 2, "tensor([2.], grad_fn=<MulBackward0>)"),
    (lambda: torch.ones(1, requires_grad=True) - 2, "tensor([-1.], grad_fn=<SubBackward0>)"),
    (lambda: 2 - torch.ones(1, requires_grad=True), "tensor([1.], grad_fn=<RsubBackward1>)"),
    (lambda: torch.float32, "torch.float32"),
    (lambda: torch.strided, "torch.strided"),
    (lambda: torch.channels_last, "torch.channels_last"),
    (lambda: torch.FloatTensor, "<class 'torch.FloatTensor'>"),
]


@pytest.mark.parametrize(("make", "text"), CASES)
def test_text(make, text):
    assert repr(make()) == text


def test_print_options():
    x = torch.tensor([1.23456])
    torch.set_printoptions(precision=2)
    assert repr(x) == "tensor([1.23])"
    torch.set_printoptions(sci_mode=True)
    assert repr(x) == "tensor([1.23e+00])"
    torch.set_printoptions(threshold=5, edgeitems=1)
    assert repr(torch.arange(6)) == "tensor([0,  ..., 5])"
    torch.set_printoptions(threshold=float("inf"))
    assert "..." not in repr(torch.arange(2000))


def test_a_view_that_must_not_be_used_says_so():
    base = torch.ones(2, requires_grad=True) * 2
    with torch.no_grad():
        view = base[:1]
    base.mul_(2)
    assert repr(view) == "tensor([4.], grad_fn=<Invalid>)"
