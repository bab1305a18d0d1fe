"""Products of tensors summed over dims: errors, dtypes, names of nodes."""

import numpy as np
import pytest

import ferrograd
from ferrograd import linalg

ones = ferrograd.ones


@pytest.mark.parametrize(
    "arguments, error",
    [
        (("i1", ones(2, 2)), RuntimeError),
        (("ijk", ones(2, 2)), RuntimeError),
        (("ij->ik", ones(2, 2)), RuntimeError),
        (("ij->ii", ones(2, 2)), RuntimeError),
        (("ij,", ones(2, 2)), RuntimeError),
        (("ij", ones(2, 2), ones(2, 2)), RuntimeError),
        (("i..j", ones(2, 2)), RuntimeError),
        (("......", ones(2, 2)), RuntimeError),
        (("ij->ij->i", ones(2, 2)), RuntimeError),
        (("ii", ones(2, 3)), RuntimeError),
        (("ij,jk", ones(2, 3), ones(4, 2)), RuntimeError),
        (("ij,jk", ones(2, 3), ones(3, 2, dtype=ferrograd.float64)), RuntimeError),
        (("ij,jk", ones(2, 2, dtype=ferrograd.bool), ones(2, 2, dtype=ferrograd.bool)), NotImplementedError),
        (("ij",), ValueError),
        ((), ValueError),
        ((5, ones(2)), TypeError),
        (("i", [1.0]), TypeError),
        ((ones(2), [60]), ValueError),
        ((ones(2), [-1]), ValueError),
        ((ones(2), [0.5]), TypeError),
    ],
    ids=lambda value: str(value)[:20],
)
def test_equations_that_are_none(arguments, error):
    with pytest.raises(error):
        ferrograd.einsum(*arguments)


def test_einsum_of_integers_and_complex_numbers():
    a = np.arange(6).reshape(2, 3)
    for dtype in (np.int64, np.int32, np.complex64):
        x = ferrograd.from_numpy(a.astype(dtype))
        y = ferrograd.einsum("ij,kj->ik", x, x)
        assert y.numpy().dtype == dtype and (y.numpy() == a @ a.T).all()
    assert ferrograd.einsum(" i j -> j i ", [x]).stride() == (1, 3)


def test_nodes():
    x, y = ones(2, 3, requires_grad=True), ones(3, 2)
    for equation, operands, node in (
        ("ij,jk->ik", (x, y), "ViewBackward0"),
        ("ij->ji", (x,), "PermuteBackward0"),
        ("ij->i", (x,), "SumBackward1"),
        ("ij,ij->ij", (x, x), "MulBackward0"),
    ):
        assert ferrograd.einsum(equation, *operands).grad_fn.name() == node
    assert ferrograd.cross(x, x).grad_fn.name() == "LinalgCrossBackward0"


@pytest.mark.parametrize(
    "dims, error",
    [
        (-1, RuntimeError),
        (3, RuntimeError),
        (([0, 1], [0]), RuntimeError),
        (([0, 0], [0, 0]), RuntimeError),
        (([5], [0]), IndexError),
        (([1], [1]), RuntimeError),
        (1.5, RuntimeError),
        ((1, 0), TypeError),
    ],
    ids=str,
)
def test_tensordot_refuses(dims, error):
    with pytest.raises(error):
        ferrograd.tensordot(ones(2, 3), ones(2, 2), dims)


def test_tensordot():
    a, b = ones(2, 3), ones(2, 3)
    assert ferrograd.tensordot(a, b, ferrograd.tensor([[0], [0]])).shape == (3, 3)
    assert ferrograd.tensordot(a, b).shape == ()
    out = ferrograd.empty(0)
    assert ferrograd.tensordot(a, b, ([0], [0]), out=out) is out and out.shape == (3, 3)
    with pytest.raises(RuntimeError, match="same dtype"):
        ferrograd.tensordot(a, b.double())


def test_products_refuse():
    a = ones(2, 3)
    for call, error in (
        (lambda: linalg.multi_dot([a]), RuntimeError),
        (lambda: linalg.multi_dot([a, ones(2, 2)]), RuntimeError),
        (lambda: linalg.multi_dot([a, ones(3), a]), RuntimeError),
        (lambda: linalg.multi_dot([a, ones(3, 2, 2)]), RuntimeError),
        (lambda: linalg.multi_dot([a, ones(3, 2).double()]), RuntimeError),
        (lambda: linalg.multi_dot(a), TypeError),
        (lambda: ferrograd.chain_matmul(), RuntimeError),
        (lambda: ferrograd.chain_matmul(a, ones(3)), RuntimeError),
        (lambda: linalg.vecdot(a, ones(3).double()), RuntimeError),
        (lambda: linalg.vecdot(a.long(), a.long()), RuntimeError),
        (lambda: linalg.vecdot(a, a, dim=4), IndexError),
        (lambda: linalg.vander(ones(3), N=1), RuntimeError),
        (lambda: linalg.vander(ones(3, dtype=ferrograd.bool)), RuntimeError),
        (lambda: ferrograd.vander(a), RuntimeError),
        (lambda: ferrograd.vander(ones(3), -1), RuntimeError),
        (lambda: linalg.diagonal(a, dim2=5), IndexError),
        (lambda: linalg.diagonal(a, dim1=1, dim2=1), RuntimeError),
        (lambda: linalg.cross(ones(3), a), RuntimeError),
        (lambda: linalg.cross(ones(3, 2), ones(3, 2)), RuntimeError),
        (lambda: linalg.cross(a, a, dim=3), IndexError),
        (lambda: linalg.cross(a, a.double()), RuntimeError),
        (lambda: linalg.cross(a.bool(), a.bool()), NotImplementedError),
        (lambda: ferrograd.cross(ones(2, 2), ones(2, 2)), RuntimeError),
    ):
        with pytest.raises(error):
            call()


def test_dtypes_of_powers():
    assert ferrograd.vander(ferrograd.tensor([True, False])).tolist() == [[1, 1], [0, 1]]
    assert ferrograd.vander(ones(3), 0).shape == (3, 0)
    assert linalg.vander(ferrograd.tensor([2, 3]), N=3).tolist() == [[1, 2, 4], [1, 3, 9]]


def test_conjugates():
    z = ferrograd.tensor([1 + 2j, 3 - 1j])
    assert linalg.vecdot(z, z).item() == 15
    assert linalg.vecdot(z.reshape(1, 2), z.reshape(1, 2)).tolist() == [15]


def test_out():
    a = ferrograd.tensor([1.0, 2.0, 3.0])
    out = ferrograd.empty(3)
    assert linalg.cross(a, a, out=out) is out and out.tolist() == [0, 0, 0]
    assert ferrograd.cross(a, a.flip(0), out=out) is out and out.tolist() == [-4, 8, -4]
    out = ferrograd.empty(())
    assert linalg.vecdot(a, a, out=out) is out and out.item() == 14
    assert linalg.multi_dot([a, a], out=out) is out
