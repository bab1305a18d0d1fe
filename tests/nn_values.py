"""What the tests of layers share: numbers to try, and the comparison with numpy."""

import numpy as np

import ferrograd

DIMS = (1, 2, 3)


def draw(*shape, seed=0):
    """Normal numbers in float64."""
    return ferrograd.tensor(np.random.default_rng(seed).standard_normal(shape))


def array(x):
    return x.detach().numpy()


def close(x, y, tolerance=1e-10):
    expected = array(y) if isinstance(y, ferrograd.Tensor) else np.asarray(y)
    np.testing.assert_allclose(array(x), expected, atol=tolerance, rtol=tolerance)
