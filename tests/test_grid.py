"""Images sampled at places that a tensor names: what the cases over all ops do not show."""

from fractions import Fraction

import numpy as np
import pytest

import ferrograd
from ferrograd.nn import functional

ones = ferrograd.ones


@pytest.mark.parametrize(
    "image, grid, modes, error",
    [
        (ones(1, 1, 3, 3), ones(1, 2, 2, 2, dtype=ferrograd.float64), (0, 0), RuntimeError),
        (ones(1, 1, 3, 3, dtype=ferrograd.int64), ones(1, 2, 2, 2, dtype=ferrograd.int64), (0, 0), NotImplementedError),
        (ones(1, 1, 3, 3), ones(2, 2, 2, 2), (0, 0), RuntimeError),
        (ones(1, 1, 3, 3), ones(1, 2, 2, 3), (0, 0), RuntimeError),
        (ones(1, 1, 3, 3), ones(1, 2, 2, 2), (7, 0), RuntimeError),
        (ones(1, 1, 3, 3), ones(1, 2, 2, 2), (0, -1), RuntimeError),
        (ones(1, 1, 3, 3, 3), ones(1, 2, 2, 2, 3), (2, 0), RuntimeError),
        (ones(1, 1, 3), ones(1, 2, 1), (0, 0), RuntimeError),
        (ones(()), ones(()), (0, 0), RuntimeError),
        (ones(1, 1, 0, 3), ones(1, 2, 2, 2), (0, 0), RuntimeError),
    ],
)
def test_bad_arguments(image, grid, modes, error):
    with pytest.raises(error):
        ferrograd.grid_sampler(image, grid, *modes, False)


def test_rank_of_the_named_forms():
    with pytest.raises(RuntimeError, match="4D"):
        ferrograd.grid_sampler_2d(ones(1, 1, 3, 3, 3), ones(1, 2, 2, 2, 3), 0, 0, False)
    with pytest.raises(RuntimeError, match="5D"):
        ferrograd.grid_sampler_3d(ones(1, 1, 3, 3), ones(1, 2, 2, 2), 0, 0, False)


def test_names_of_modes():
    for names in (("linear", "zeros"), ("bilinear", "mirror")):
        with pytest.raises(ValueError):
            functional.grid_sample(ones(1, 1, 3, 3), ones(1, 2, 2, 2), *names, align_corners=False)


def test_places_that_are_no_numbers_or_far_away():
    x = ferrograd.arange(9.0).reshape(1, 1, 3, 3).requires_grad_()
    for value in (np.nan, np.inf, -np.inf, 1e38, -1e38):
        grid = ferrograd.tensor([[[[value, 0.0]]]], requires_grad=True)
        for mode in range(3):
            for padding in range(3):
                y = ferrograd.grid_sampler(x, grid, mode, padding, False)
                ferrograd.autograd.grad(y.sum(), (x, grid))
                assert y.shape == (1, 1, 1, 1)


def test_nothing_to_sample():
    assert ferrograd.grid_sampler(ones(1, 0, 3, 3), ones(1, 2, 2, 2), 0, 0, False).shape == (1, 0, 2, 2)
    assert ferrograd.grid_sampler(ones(0, 1, 3, 3), ones(0, 2, 2, 2), 0, 0, False).shape == (0, 1, 2, 2)
    x, grid = ones(1, 1, 3, 3, requires_grad=True), ones(1, 0, 2, 2, requires_grad=True)
    g, h = ferrograd.autograd.grad(ferrograd.grid_sampler(x, grid, 0, 0, False).sum(), (x, grid))
    assert (g == 0).all() and h.shape == grid.shape


def test_derivatives_at_kinks():
    """In the middle of an element the derivative is that to the right; at a padded border it is 0."""
    x = ferrograd.tensor([[[[0.0, 1.0, 5.0]]]])
    grid = ferrograd.tensor([[[[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]]], requires_grad=True)

    def slope(padding):
        (g,) = ferrograd.autograd.grad(ferrograd.grid_sampler(x, grid, 0, padding, True).sum(), grid)
        return g[0, 0, :, 0].tolist()

    assert slope(1) == [4.0, 0.0, 0.0]
    assert slope(0) == [4.0, -5.0, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_identity_samples_each_element_beside_itself(dtype):
    """Its grid lies on the elements but for rounding, which decides between the two derivatives there."""
    for n in (5, 7, 28, 30):
        theta = ferrograd.from_numpy(np.eye(2, 3, dtype=dtype)[None])
        grid = functional.affine_grid(theta, (1, 1, 1, n), align_corners=False)
        row = grid[0, 0, :, 0].numpy()
        np.testing.assert_array_equal(row, ferrograd.linspace(-1, 1, n, dtype=theta.dtype).numpy() * dtype(n - 1) / dtype(n))
        image = np.random.default_rng(n).normal(size=n).astype(dtype)
        grid.requires_grad_()
        y = functional.grid_sample(ferrograd.from_numpy(image).view(1, 1, 1, n), grid, align_corners=False)
        y.sum().backward()
        # (x + 1) n / 2 - 1 / 2, rounded only after the addition in parentheses and at the end.
        places = [dtype(float(Fraction(float(x + dtype(1))) * n / 2 - Fraction(1, 2))) for x in row]
        first = np.floor(places).astype(int)
        padded = np.concatenate([[0], image, [0]])
        wanted = (padded[first + 2] - padded[first + 1]) * n / 2
        np.testing.assert_allclose(grid.grad[0, 0, :, 0].numpy(), wanted, rtol=1e-4)


def test_affine_grid():
    theta = ones(1, 2, 3)
    with pytest.warns(UserWarning, match="1.3.0"):
        functional.affine_grid(theta, (1, 1, 2, 2))
    with pytest.warns(UserWarning, match="unit-size"):
        functional.affine_grid(theta, (1, 1, 1, 2), True)
    for bad, size, error in (
        (theta, (1, 1, 0, 2), ValueError),
        (theta, (1, 2, 2), NotImplementedError),
        (theta, (1, 1, 2, 2, 2), ValueError),
        (theta.to(ferrograd.int64), (1, 1, 2, 2), ValueError),
        ([1.0], (1, 1, 2, 2), TypeError),
        (theta, (3, 1, 2, 2), RuntimeError),
        (theta, (1, 1, 2**40, 2**40), RuntimeError),
    ):
        with pytest.raises(error):
            functional.affine_grid(bad, size, align_corners=False)


def test_an_affine_grid_saves_nothing():
    theta = ferrograd.rand(2, 2, 3, requires_grad=True)
    grid = functional.affine_grid(theta, (2, 1, 3, 4), align_corners=False)
    weights = ferrograd.rand(*grid.shape)
    grid.backward(weights)
    once = theta.grad.clone()
    grid.backward(weights)
    assert theta.grad.equal(2 * once)
