"""Every op of the library: values against numpy, first and second derivatives against central differences.

Differences are taken of a random projection of the outputs, along a random direction of one input at a time, so that
swapped inputs show. Half the sum of squares of the inputs is added, so that a lost accumulation shows, too.
"""

import inspect
import zlib

import numpy as np
import pytest

import ferrograd
from op_cases import CASES, NOT_DIFFERENTIABLE

STEP = 1e-5
ALWAYS_FLOAT64 = {"float_power"}


def rng_of(case):
    return np.random.default_rng(zlib.crc32(str(case).encode()))


def tensor(array):
    """A tensor with the array's strides."""
    return ferrograd.from_numpy(np.asarray(array))


def outputs_of(case, tensors):
    """The outputs of a call that are floating point."""
    outputs = case.call(*tensors)
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [y for y in outputs if y.is_floating_point()]


def projected(case, tensors, weights):
    """A number that depends on all outputs, and twice on all inputs."""
    total = None
    terms = [(y * w).sum() for y, w in zip(outputs_of(case, tensors), weights)]
    for term in terms + [(x * x).sum() * 0.5 for x in tensors]:
        total = term if total is None else total + term
    return total


def gradients(case, arrays, weights):
    tensors = [tensor(array).requires_grad_() for array in arrays]
    total = projected(case, tensors, weights)
    return [g.numpy() for g in ferrograd.autograd.grad(total, tensors)]


def projected_gradient(case, tensors, weights, directions):
    """<gradient, directions>, on the tape."""
    total = projected(case, tensors, weights)
    grads = ferrograd.autograd.grad(total, tensors, create_graph=True)
    terms = [(g * u).sum() for g, u in zip(grads, directions)]
    return sum(terms[1:], terms[0])


def close(analytic, numeric, scale):
    assert np.isfinite(analytic) and np.isfinite(numeric), (analytic, numeric)
    assert abs(analytic - numeric) <= 1e-6 * max(1.0, scale), f"derivative {analytic}, difference {numeric}"


def sample(case):
    rng = rng_of(case)
    arrays = [i.sample(rng) for i in case.inputs]
    with ferrograd.no_grad():
        outputs = outputs_of(case, [tensor(array) for array in arrays])
    weights = [tensor(np.asarray(rng.uniform(0.5, 1.5, size=tuple(y.shape)))) for y in outputs]
    return rng, arrays, weights


@pytest.mark.parametrize("case", [case for case in CASES if case.numpy], ids=str)
def test_values(case):
    arrays = [i.sample(rng_of(case)) for i in case.inputs]
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
        typed = [array.astype(dtype) for array in arrays]
        got = case.call(*[tensor(array) for array in typed]).numpy()
        want = np.asarray(case.numpy(*[array.astype(np.float64) for array in typed]))
        assert got.dtype == (np.float64 if case.op in ALWAYS_FLOAT64 else dtype)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_first_derivative(case):
    rng, arrays, weights = sample(case)
    grads = gradients(case, arrays, weights)
    for i, (array, grad) in enumerate(zip(arrays, grads)):
        assert grad.shape == array.shape
        direction = np.asarray(rng.uniform(-1.0, 1.0, size=array.shape))

        def moved(step):
            shifted = [a + step * direction if j == i else a for j, a in enumerate(arrays)]
            with ferrograd.no_grad():
                return projected(case, [tensor(a) for a in shifted], weights).item()

        numeric = (moved(STEP) - moved(-STEP)) / (2 * STEP)
        close(float((grad * direction).sum()), numeric, np.abs(grad).sum())


@pytest.mark.parametrize("case", [case for case in CASES if case.second], ids=str)
def test_second_derivative(case):
    rng, arrays, weights = sample(case)
    projections = [tensor(np.asarray(rng.uniform(-1.0, 1.0, size=array.shape))) for array in arrays]
    tensors = [tensor(array).requires_grad_() for array in arrays]
    total = projected_gradient(case, tensors, weights, projections)
    seconds = [g.numpy() for g in ferrograd.autograd.grad(total, tensors)]
    for i, (array, second) in enumerate(zip(arrays, seconds)):
        direction = np.asarray(rng.uniform(-1.0, 1.0, size=array.shape))

        def moved(step):
            shifted = [a + step * direction if j == i else a for j, a in enumerate(arrays)]
            return projected_gradient(case, [tensor(a).requires_grad_() for a in shifted], weights, projections).item()

        numeric = (moved(STEP) - moved(-STEP)) / (2 * STEP)
        close(float((second * direction).sum()), numeric, np.abs(second).sum())


def test_refused_derivatives():
    for op in ("floor_divide", "heaviside"):
        x, y = tensor(np.ones(3)).requires_grad_(), tensor(np.ones(3))
        with pytest.raises((RuntimeError, NotImplementedError), match="derivative"):
            getattr(x, op)(y).sum().backward()
    x = tensor(np.ones(3)).requires_grad_()
    for name, node, call in [
        ("_unique2", "Unique2Backward0", lambda: x.unique(return_counts=True)),
        ("unique_dim", "UniqueDimBackward0", lambda: ferrograd.unique(x, dim=0, return_inverse=True)),
        ("unique_consecutive", "UniqueConsecutiveBackward0", lambda: x.unique_consecutive(return_counts=True)),
    ]:
        y, numbers = call()
        assert y.requires_grad and y.grad_fn.name() == node and not numbers.requires_grad
        with pytest.raises(NotImplementedError, match=f"the derivative for '{name}' is not implemented"):
            y.sum().backward()


# Submodules of Rust's whose functions are no ops.
NOT_OPS = {"_autograd", "_optim"}


def public_ops():
    """The names of functions and methods that Rust exports; in-place forms count as the op they are a form of."""
    methods = {name for name in dir(ferrograd.Tensor) if callable(getattr(ferrograd.Tensor, name))}
    modules = [ferrograd._C] + [module for name, module in inspect.getmembers(ferrograd._C, inspect.ismodule) if name not in NOT_OPS]
    functions = {name for module in modules for name, _ in inspect.getmembers(module, inspect.isbuiltin)}
    return {name for name in methods | functions if not name.startswith("_")}


def test_every_op_is_covered():
    tested = {case.op for case in CASES}
    known = tested | set(NOT_DIFFERENTIABLE)
    missing = {name for name in public_ops() if name not in known and name.removesuffix("_") not in known}
    assert not missing, f"no cases in op_cases for {sorted(missing)}"


def test_no_op_is_both_tested_and_excused():
    assert not {case.op for case in CASES} & set(NOT_DIFFERENTIABLE)
