"""Windows of signals, against their formulas."""

import math

import numpy as np
import pytest

import ferrograd
from ferrograd.signal import windows

COSINES = {
    "hann": [0.5, 0.5],
    "hamming": [0.54, 0.46],
    "blackman": [0.42, 0.5, 0.08],
    "nuttall": [0.3635819, 0.4891775, 0.1365995, 0.0106411],
}


def formula(name, n, last):
    """The window at sample n, where that of the greatest number is `last`."""
    t = 2 * n / last - 1
    if name in COSINES:
        return sum((-1) ** k * a * np.cos(k * math.pi * (t + 1)) for k, a in enumerate(COSINES[name]))
    return {
        "bartlett": lambda: 1 - np.abs(t),
        "cosine": lambda: np.sin(math.pi * (n + 0.5) / (last + 1)),
        "exponential": lambda: np.exp(-np.abs(n - last / 2)),
        "gaussian": lambda: np.exp(-((n - last / 2) ** 2) / 2),
        "kaiser": lambda: np.i0(12 * np.sqrt(1 - t * t)) / np.i0(12.0),
    }[name]()


@pytest.mark.parametrize("name", [*COSINES, "bartlett", "cosine", "exponential", "gaussian", "kaiser"])
def test_signal_windows(name):
    window = getattr(windows, name)
    for M in (2, 3, 8, 51):
        n = np.arange(M)
        for sym in (True, False):
            y = window(M, sym=sym, dtype=ferrograd.float64)
            np.testing.assert_allclose(y.numpy(), formula(name, n, M - 1 if sym else M), rtol=1e-12, atol=1e-14)
    assert window(0).shape == (0,) and window(5).dtype == ferrograd.float32
    np.testing.assert_allclose(window(1, dtype=ferrograd.float64).numpy(), [1.0])
    for arguments, error in (((-1,), ValueError), ((2.5,), TypeError), ((5, True), TypeError)):
        with pytest.raises(error):
            window(*arguments)
    for options in ({"dtype": ferrograd.int64}, {"dtype": ferrograd.complex64}, {"layout": "sparse"}):
        with pytest.raises(ValueError):
            window(5, **options)


def test_parameters_of_signal_windows():
    double = {"dtype": ferrograd.float64}
    n = np.arange(6)
    np.testing.assert_allclose(windows.gaussian(6, std=2.0, **double).numpy(), np.exp(-((n - 2.5) ** 2) / 8))
    np.testing.assert_allclose(windows.exponential(6, tau=3.0, center=1.0, sym=False, **double).numpy(), np.exp(-np.abs(n - 1) / 3))
    np.testing.assert_allclose(windows.general_hamming(6, alpha=0.7, **double).numpy(), 0.7 - 0.3 * np.cos(2 * np.pi * n / 5))
    np.testing.assert_allclose(windows.general_cosine(6, a=(1, 2), **double).numpy(), 1 - 2 * np.cos(2 * np.pi * n / 5))
    assert windows.kaiser(6, beta=0).equal(ferrograd.ones(6))
    for call in (
        lambda: windows.gaussian(5, std=0),
        lambda: windows.exponential(5, tau=-1),
        lambda: windows.exponential(5, center=1.0),
        lambda: windows.kaiser(5, beta=-1),
        lambda: windows.general_cosine(5, a=[]),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError):
        windows.general_cosine(5, a=3)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows_of_the_top_level(name):
    window = getattr(ferrograd, f"{name}_window")
    for length in (2, 5, 50):
        for periodic in (True, False):
            y = window(length, periodic, dtype=ferrograd.float64)
            want = formula(name, np.arange(length), length - 1 + periodic)
            np.testing.assert_allclose(y.numpy(), want, rtol=1e-12, atol=1e-14)
    assert window(0).shape == (0,) and window(1).tolist() == [1.0] and window(window_length=3, periodic=False)[1].item() == pytest.approx(1)
    leaf = window(4, requires_grad=True)
    assert leaf.is_leaf and leaf.requires_grad and not window(4).requires_grad
    for arguments in ((2.0,), (True,), (None,), (5, 1), (5, None), (5, True, "a")):
        with pytest.raises(TypeError):
            window(*arguments)
    for call in (lambda: window(-1), lambda: window(5, dtype=ferrograd.int64), lambda: window(0, dtype=ferrograd.int64)):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(TypeError):
        window(5, out=ferrograd.empty(5))


def test_parameters_of_windows_of_the_top_level():
    np.testing.assert_allclose(ferrograd.hamming_window(4, True, 0.7, 0.2).numpy(), 0.7 - 0.2 * np.cos(np.pi / 2 * np.arange(4)), atol=1e-6)
    t = np.arange(5) / 2 - 1
    np.testing.assert_allclose(ferrograd.kaiser_window(5, False, 3.0).numpy(), np.i0(3 * np.sqrt(1 - t * t)) / np.i0(3.0), rtol=1e-6)
