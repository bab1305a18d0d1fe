"""Warnings that come once in a program."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import ferrograd
from ferrograd import ones

A = ferrograd.tensor([[4.0, 1.0], [1.0, 3.0]])
V = ones(3)
PLACES = ferrograd.tensor([0, 1, 0])
BYTES = ferrograd.tensor([1, 0, 1], dtype=ferrograd.uint8)


def read_only():
    array = np.ones(3)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: A.qr(), "torch.qr is deprecated in favor of torch.linalg.qr"),
        (lambda: A.cholesky(), "torch.cholesky is deprecated in favor of torch.linalg.cholesky"),
        (lambda: ferrograd.lu(A), "torch.lu is deprecated in favor of torch.linalg.lu_factor"),
        (lambda: A.lu_solve(*ferrograd.linalg.lu_factor(A)), "torch.lu_solve is deprecated in favor of torch.linalg.lu_solve"),
        (lambda: A.triangular_solve(A), "torch.triangular_solve is deprecated in favor of torch.linalg.solve_triangular"),
        (lambda: ferrograd.chain_matmul(A, A), "torch.chain_matmul is deprecated"),
        (lambda: V.cross(V), "Using torch.cross without specifying the dim arg is deprecated"),
        (lambda: ferrograd.meshgrid(V, V), "it will be required to pass the indexing argument"),
        (lambda: V.clone().index_reduce_(0, PLACES, V, "prod"), r"index_reduce\(\) is in beta"),
        (lambda: V.scatter(0, PLACES, V, reduce="add"), "The reduce argument of torch.scatter with Tensor src is deprecated"),
        (lambda: V.T, "The use of `x.T` on tensors of dimension other than 2"),
        (lambda: V.amax().T, "Tensor.T is deprecated on 0-D tensors"),
        (lambda: V.amax().mT, "Tensor.mT is deprecated on 0-D tensors"),
        (lambda: V.amax().mH, "Tensor.mH is deprecated on 0-D tensors"),
        (lambda: V.amax().H, "Tensor.H is deprecated on 0-D tensors"),
        (lambda: V.amax().adjoint(), r"adjoint\(\) is deprecated on 0-D tensors"),
        (lambda: ferrograd.bucketize(ones(3, 4).t(), V), "input value tensor is non-contiguous"),
        (lambda: ferrograd.bucketize(V, ones(6)[::2]), "boundary tensor is non-contiguous"),
        (lambda: ferrograd.where(BYTES, V, V), "where received a uint8 condition tensor"),
        (lambda: ferrograd.tensor([np.ones(2), [1.0, 2.0]]), "Creating a tensor from a list of numpy.ndarrays is extremely slow"),
        (lambda: ferrograd.from_numpy(read_only()), "The given NumPy array is not writable"),
        (lambda: ferrograd.set_default_tensor_type("torch.FloatTensor"), "set_default_tensor_type.* is deprecated"),
        (lambda: V.storage(), "TypedStorage is deprecated"),
        (lambda: ferrograd.nn.functional.conv1d(ones(1, 1, 5), ones(1, 1, 2), padding="same"), "Using padding='same' with even"),
        (lambda: float(ones(1, requires_grad=True)), "Converting a tensor"),
    ],
)
def test_what_is_warned_of(call, text, warn_always):
    for _ in range(2):
        with pytest.warns(UserWarning, match=text) as seen:
            call()
        assert len(seen) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: ferrograd.linalg.qr(A),
        lambda: ferrograd.linalg.lu_factor(A),
        lambda: V.cross(V, dim=0),
        lambda: ferrograd.meshgrid(V, V, indexing="ij"),
        lambda: ferrograd.cartesian_prod(V, V),
        lambda: V.scatter(0, PLACES, 2.0, reduce="add"),
        lambda: V.scatter_reduce(0, PLACES, V, "sum"),
        lambda: (A.T, A.mT, A.H, A.adjoint()),
        lambda: ferrograd.where(BYTES.bool(), V, V),
        lambda: ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]),
        lambda: ferrograd.nn.functional.conv1d(ones(1, 1, 5), ones(1, 1, 3), padding="same"),
    ],
)
def test_what_is_not(call, warn_always):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call()


def test_once_in_a_program():
    program = """
import warnings
import ferrograd as torch

def count(call):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        call()
    return len(seen)

x = torch.ones(2, 2) + torch.eye(2)
calls = [lambda: x.qr(), lambda: torch.chain_matmul(x, x), lambda: torch.ones(1, dtype=torch.cfloat).float()]
assert [count(call) for call in calls] == [1, 1, 1]
assert [count(call) for call in calls] == [0, 0, 0]
assert not torch.is_warn_always_enabled()
torch.set_warn_always(True)
assert torch.is_warn_always_enabled() and [count(call) for call in calls] == [1, 1, 1]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    with pytest.raises(RuntimeError, match="expects a bool"):
        ferrograd.set_warn_always(1)
