"""Discrete Fourier transforms beyond values and derivatives (which op_cases has): lengths, dtypes, strides, `out`, errors."""

import numpy as np
import pytest

import ferrograd
from ferrograd import fft

COMPLEX = np.random.default_rng(0).standard_normal((3, 4, 5)) + 1j * np.random.default_rng(1).standard_normal((3, 4, 5))
KINDS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")


def tensor(array):
    return ferrograd.from_numpy(np.array(array))


@pytest.mark.parametrize("n", [1, 2, 3, 17, 64, 97, 3**7, 5**4, 7**4, 31**2, 37**2, 480, 1009, 1024, 3 * 5 * 7 * 11, 30011, 1 << 17])
def test_every_length_is_transformed(n):
    x = np.random.default_rng(n).standard_normal((2, n))
    z = x + 1j * x[:, ::-1]
    scale = np.abs(np.fft.fft(z)).max()
    assert np.abs(fft.fft(tensor(z)).numpy() - np.fft.fft(z)).max() < 1e-14 * scale * np.log2(n + 1)
    assert np.abs(fft.ifft(fft.fft(tensor(z))).numpy() - z).max() < 1e-13
    assert np.abs(fft.fft(tensor(x)).numpy() - np.fft.fft(x)).max() < 1e-14 * scale * np.log2(n + 1)
    assert np.abs(fft.irfft(fft.rfft(tensor(x)), n).numpy() - x).max() < 1e-13


def test_many_lengths_one_after_the_other_and_again():
    for _ in range(2):
        for n in range(1, 80):
            x = np.arange(n) % 7 - 1j
            np.testing.assert_allclose(fft.fft(tensor(x)).numpy(), np.fft.fft(x), atol=1e-11)


def test_dtypes():
    for dtype in (ferrograd.bool, ferrograd.uint8, ferrograd.int64, ferrograd.float32, ferrograd.complex64):
        x = ferrograd.ones(4).to(dtype)
        assert fft.fft(x).dtype == ferrograd.complex64
        assert fft.irfft(x).dtype == ferrograd.float32
    assert fft.fft(ferrograd.ones(4, dtype=ferrograd.float64)).dtype == ferrograd.complex128
    assert fft.hfft(ferrograd.ones(4, dtype=ferrograd.complex128)).dtype == ferrograd.float64
    ferrograd.set_default_dtype(ferrograd.float64)
    try:
        assert fft.rfftn(ferrograd.ones(4, dtype=ferrograd.int32)).dtype == ferrograd.complex128
    finally:
        ferrograd.set_default_dtype(ferrograd.float32)


def test_single_precision_is_computed_in_double_precision():
    x = np.random.default_rng(0).standard_normal(1 << 16).astype(np.float32)
    got, want = fft.rfft(tensor(x)).numpy(), np.fft.rfft(x.astype(np.float64))
    assert np.abs(got - want).max() < 1e-7 * np.abs(want).max()


def test_the_transform_of_real_numbers_is_symmetric():
    y = fft.fft(tensor(COMPLEX.real)).numpy()
    np.testing.assert_array_equal(y[..., 1:], np.conj(y[..., :0:-1]))


def test_imaginary_parts_that_real_numbers_do_not_have_are_not_read():
    x = np.ones(3, complex)
    for value in (5j, np.nan * 1j):
        other = x.copy()
        other.imag[0] = other.imag[2] = value.imag
        np.testing.assert_array_equal(fft.irfft(tensor(other)).numpy(), fft.irfft(tensor(x)).numpy())


def test_numbers_that_are_not_finite_stay_in_their_line():
    x = np.ones((3, 4))
    x[1, 2] = np.nan
    y = fft.rfft(tensor(x)).numpy()
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


def test_transformed_dims_are_innermost():
    x = tensor(COMPLEX)
    assert fft.fft(x, dim=0).stride() == (1, 15, 3)
    assert fft.fft(x, dim=1).stride() == (20, 1, 4)
    assert fft.rfft(x.real, dim=1).stride() == (15, 1, 3)
    assert fft.fftn(x, dim=(0, 2)).stride() == (5, 15, 1)
    assert fft.fftn(x.transpose(0, 2)).stride() == (1, 5, 20)
    assert fft.ihfftn(x.real).stride() == (4, 1, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_views(kind):
    x = tensor(COMPLEX.real if kind in ("rfft", "ihfft") else COMPLEX)
    for view in (x.transpose(0, 2), x[:, ::2], x[:1].expand(3, 4, 5), x[..., 1:]):
        for dim in range(3):
            np.testing.assert_array_equal(
                getattr(fft, kind)(view, dim=dim).numpy(), getattr(fft, kind)(view.contiguous(), dim=dim).numpy()
            )


def test_the_number_of_threads_changes_nothing():
    x = ferrograd.randn(64, 1000)
    threads = ferrograd.get_num_threads()
    try:
        ferrograd.set_num_threads(1)
        alone = [fft.fft(x), fft.fft2(x), fft.rfft(x, dim=0)]
        ferrograd.set_num_threads(4)
        assert all(a.equal(b) for a, b in zip(alone, [fft.fft(x), fft.fft2(x), fft.rfft(x, dim=0)]))
    finally:
        ferrograd.set_num_threads(threads)


def test_nothing_to_transform():
    assert fft.fft(ferrograd.ones(0, 3)).shape == (0, 3)
    assert fft.rfft2(ferrograd.ones(2, 0, 3, 4)).shape == (2, 0, 3, 3)
    x = ferrograd.randn(2, 3, requires_grad=True)
    y = fft.fftn(x, dim=())
    assert y.real.equal(x) and y.grad_fn.name() == "FftC2CBackward0"
    assert fft.fftn(ferrograd.tensor(2.0)).item() == 2
    with pytest.raises(RuntimeError, match="number of data points"):
        fft.fft(ferrograd.ones(3, 0))
    assert fft.fft(ferrograd.ones(3, 0), n=2).equal(ferrograd.zeros(3, 2, dtype=ferrograd.complex64))


def test_names_of_nodes():
    x = ferrograd.randn(4, requires_grad=True)
    assert [fft.fft(x).grad_fn.name(), fft.irfft(x).grad_fn.name()] == ["FftR2CBackward0", "FftC2RBackward0"]


def test_out():
    x = tensor(COMPLEX)
    out = ferrograd.empty(0, dtype=ferrograd.complex64)
    assert fft.fft(x, dim=0, out=out) is out
    assert out.stride() == (20, 5, 1)
    np.testing.assert_allclose(out.numpy(), np.fft.fft(COMPLEX, axis=0), rtol=1e-5)
    for function, dtype in ((fft.fft, ferrograd.float64), (fft.irfft, ferrograd.complex128), (fft.hfftn, ferrograd.int64)):
        with pytest.raises(RuntimeError, match="expected out tensor to have a dtype like"):
            function(x, out=ferrograd.empty(0, dtype=dtype))


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda x: fft.fft(x, 0), RuntimeError, "number of data points"),
        (lambda x: fft.fft(x, -1), RuntimeError, "number of data points"),
        (lambda x: fft.fft(x, 2.5), TypeError, None),
        (lambda x: fft.fft(x, True), TypeError, None),
        (lambda x: fft.fft(x, 10**14), MemoryError, None),
        (lambda x: fft.fft(x, dim=3), IndexError, "out of range"),
        (lambda x: fft.fft(x[0, 0, 0]), IndexError, "0-d tensor"),
        (lambda x: fft.fft(x, norm="unit"), RuntimeError, "normalization mode"),
        (lambda x: fft.fft(x, norm=1), TypeError, None),
        (lambda x: fft.rfft(x), RuntimeError, "expects a real input tensor"),
        (lambda x: fft.ihfftn(x), RuntimeError, "expects a real input tensor"),
        (lambda x: fft.irfft(x[..., :1]), RuntimeError, "number of data points"),
        (lambda x: fft.irfftn(x, dim=()), RuntimeError, "at least one axis"),
        (lambda x: fft.rfftn(x.real, dim=()), RuntimeError, "at least one axis"),
        (lambda x: fft.fftn(x, dim=(0, -3)), RuntimeError, "unique"),
        (lambda x: fft.fftn(x, s=(2, 2), dim=(0,)), RuntimeError, "same length"),
        (lambda x: fft.fftn(x, s=(2, 2, 2, 2)), RuntimeError, "only has 3 dimensions"),
        (lambda x: fft.fftn(x, s=(2, -2)), RuntimeError, "number of data points"),
        (lambda x: fft.fft2(x[0, 0]), IndexError, "out of range"),
        (lambda x: fft.fft2(x, dim=None), TypeError, None),
        (lambda x: fft.fftshift(x, 3), IndexError, "out of range"),
        (lambda x: fft.fftshift(x[0, 0, 0], 0), IndexError, None),
        (lambda x: fft.fftfreq(-1), RuntimeError, "negative dimension"),
        (lambda x: fft.fftfreq(2.0), TypeError, None),
        (lambda x: fft.fftfreq(True), TypeError, None),
        (lambda x: fft.fftfreq(3, dtype=ferrograd.int64), RuntimeError, "requires a floating point"),
        (lambda x: fft.fftfreq(3, dtype=ferrograd.complex64), NotImplementedError, None),
        (lambda x: fft.fftfreq(10**14), MemoryError, None),
        (lambda x: fft.rfftfreq(-4), RuntimeError, "negative dimension"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(tensor(COMPLEX))


def test_sizes_of_minus_one_are_those_of_the_input():
    x = tensor(COMPLEX)
    assert fft.fftn(x, s=(-1, 2)).shape == (3, 4, 2)
    assert fft.irfftn(x, s=(2, -1)).shape == (3, 2, 8)
    assert fft.fftn(x, s=2).shape == (3, 4, 2)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_frequencies(n):
    for name in ("fftfreq", "rfftfreq"):
        for d in (1.0, 0.3):
            want = getattr(np.fft, name)(n, d) if n else np.zeros(int(name == "rfftfreq"))
            got = getattr(fft, name)(n, d, dtype=ferrograd.float64)
            if n:
                np.testing.assert_allclose(got.numpy(), want, rtol=1e-15)
            assert got.shape == want.shape
    assert fft.fftfreq(5, requires_grad=True).requires_grad
    out = ferrograd.empty(5)
    assert fft.fftfreq(5, d=0.5, out=out) is out and out.tolist() == pytest.approx([0, 0.4, 0.8, -0.8, -0.4])
    assert fft.fftfreq(3, 0.0).tolist()[1:] == [np.inf, -np.inf]


SIGNAL = ferrograd.arange(20, dtype=ferrograd.float64).sin() + 0.3


def ones(n):
    return ferrograd.ones(n, dtype=ferrograd.float64)


@pytest.mark.parametrize("mode, numpy_mode", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap"), ("constant", "constant")])
def test_a_signal_is_continued(mode, numpy_mode):
    got = SIGNAL.stft(8, 4, window=ones(8), pad_mode=mode, return_complex=True)
    continued = np.pad(SIGNAL.numpy(), 4, mode=numpy_mode)
    np.testing.assert_allclose(got.numpy(), tensor(continued).stft(8, 4, window=ones(8), center=False, return_complex=True).numpy(), atol=1e-14)


def test_the_first_window_may_begin_with_the_signal():
    got = SIGNAL.stft(8, 4, 4, ones(4), center=False, return_complex=True, align_to_window=True)
    np.testing.assert_allclose(got[0].numpy(), [SIGNAL[i : i + 4].sum().item() for i in range(0, 17, 4)], atol=1e-14)
    with pytest.raises(RuntimeError, match="do not fit"):
        ferrograd.ones(20).stft(7, 2, 4, ferrograd.ones(4), center=False, return_complex=True, align_to_window=True)
    with pytest.raises(RuntimeError, match="center = false"):
        SIGNAL.stft(8, window=ones(8), return_complex=True, align_to_window=True)


def test_back_and_forth():
    window = ferrograd.hann_window(8, dtype=ferrograd.float64) if hasattr(ferrograd, "hann_window") else tensor(np.hanning(9)[:8])
    for x in (SIGNAL, ferrograd.stack([SIGNAL, SIGNAL.flip(0)])):
        y = ferrograd.stft(x, 8, 2, window=window, return_complex=True)
        assert y.shape == (*x.shape[:-1], 5, 11) and y.dtype == ferrograd.complex128
        np.testing.assert_allclose(ferrograd.istft(y, 8, 2, window=window).numpy(), x.numpy(), atol=1e-14)
        np.testing.assert_allclose(ferrograd.istft(y, 8, 2, window=window, length=15).numpy(), x.numpy()[..., :15], atol=1e-14)
        z = ferrograd.complex(x, x.flip(-1))
        y = ferrograd.stft(z, 8, 2, window=window)
        assert y.shape == (*x.shape[:-1], 8, 11)
        np.testing.assert_allclose(y.istft(8, 2, window=window, return_complex=True).numpy(), z.numpy(), atol=1e-14)


def test_what_short_transforms_warn_of(warn_always):
    with pytest.warns(UserWarning, match="window was not provided"):
        y = SIGNAL.stft(8, return_complex=True)
    assert y.equal(SIGNAL.stft(8, window=ones(8), return_complex=True))
    with pytest.warns(UserWarning, match="padded with zeros"):
        x = y.istft(8, window=ones(8), length=30)
    assert x.shape == (30,) and x[25:].abs().max() == 0
    with pytest.warns(UserWarning, match="deprecated"):
        assert SIGNAL.stft(8, window=ones(8), return_complex=False).equal(ferrograd.view_as_real(y))
    # Without a window, one of ones is in the middle.
    with pytest.warns(UserWarning, match="window was not provided"):
        assert SIGNAL.stft(8, win_length=5, return_complex=True).equal(SIGNAL.stft(8, win_length=5, window=ones(5), return_complex=True))


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda x: x.stft(8, window=ones(8)), RuntimeError),
        (lambda x: x.stft(0, window=ones(8), return_complex=True), RuntimeError),
        (lambda x: x.stft(8, 0, window=ones(8), return_complex=True), RuntimeError),
        (lambda x: x.stft(3, return_complex=True), RuntimeError),
        (lambda x: x.stft(8, 2, 9, window=ones(9), return_complex=True), RuntimeError),
        (lambda x: x.stft(8, 2, window=ones(7), return_complex=True), RuntimeError),
        (lambda x: x.stft(64, 2, window=ones(64), return_complex=True), RuntimeError),
        (lambda x: x.stft(64, 2, window=ones(64), return_complex=True, center=False), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True, pad_mode="mirror"), NotImplementedError),
        (lambda x: x.stft(2**62, 1, 4, ones(4), return_complex=True, pad_mode="replicate"), RuntimeError),
        (lambda x: x.stft(2**45, 1, 4, ones(4), return_complex=True, pad_mode="replicate"), MemoryError),
        (lambda x: x.stft(2**63 - 1, 1, 4, ones(4), return_complex=True, pad_mode="constant"), RuntimeError),
        (lambda x: x.to(ferrograd.complex128).stft(8, window=ones(8), onesided=True), RuntimeError),
        (lambda x: x.long().stft(8, window=ones(8), return_complex=True), RuntimeError),
        (lambda x: x[0].stft(8, window=ones(8), return_complex=True), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True)[:4].istft(8, window=ones(8)), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True).istft(8, 9, window=ones(8)), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True).istft(8, window=ones(8), return_complex=True), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True)[:, :0].istft(8, window=ones(8)), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True).istft(8, window=0 * ones(8)), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True).istft(8, window=ones(8), length=0), RuntimeError),
        (lambda x: x.stft(8, window=ones(8), return_complex=True).istft(8, window=ones(8), length=2**63 - 1), RuntimeError),
        (lambda x: x.istft(8, window=ones(8)), RuntimeError),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_errors_of_short_transforms(call, error):
    with pytest.raises(error):
        call(SIGNAL)
