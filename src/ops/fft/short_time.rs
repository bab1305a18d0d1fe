//! Transforms of windows that slide along a signal, and the signal that belongs to such transforms.

use pyo3::prelude::*;

use super::Norm;
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::interpreter::{Once, warn};
use crate::ops::arguments::{Dims, IntList, Operand};
use crate::ops::pad::pad;
use crate::ops::window::resolve_slice;
use crate::runtime_error;
use crate::tensor::Tensor;

/// The sizes of a transform: of what is transformed, from window to window, and of the window.
struct Sizes {
    n: usize,
    hop: usize,
    window: usize,
}

impl Sizes {
    fn of(op: &str, n: isize, hop: Option<isize>, window: Option<isize>) -> Result<Sizes> {
        let (hop, window) = (hop.unwrap_or(n.div_euclid(4)), window.unwrap_or(n));
        if n <= 0 {
            return runtime_error!("{op}: expected n_fft > 0, but got n_fft={n}");
        }
        if hop <= 0 {
            return runtime_error!("{op}: expected hop_length > 0, but got hop_length={hop}");
        }
        if !(1..=n).contains(&window) {
            return runtime_error!("{op}: expected 0 < win_length <= n_fft, but got win_length={window} and n_fft={n}");
        }
        Ok(Sizes { n: n as usize, hop: hop as usize, window: window as usize })
    }

    /// The window in the middle of as many numbers as are transformed; of ones if none is given. None if it changes nothing.
    fn centered(&self, op: &str, window: Option<&Tensor>, dtype: DType) -> Result<Option<Tensor>> {
        if let Some(window) = window
            && window.shape() != [self.window]
        {
            return runtime_error!(
                "{op}: expected a 1D window tensor of size equal to win_length={}, but got window with size {:?}",
                self.window,
                window.shape()
            );
        }
        if window.is_none() {
            // One for stft, and one for istft.
            static RECTANGULAR: [Once; 2] = [const {
                Once::new(
                    c"A window was not provided: it is rectangular, torch.ones(n_fft), which spreads each frequency over others \
                       (spectral leakage). Others, such as torch.hann_window, do so less.",
                )
            }; 2];
            RECTANGULAR[usize::from(op == "istft")].warn()?;
        }
        let window = match window {
            Some(window) => window.clone(),
            None if self.window == self.n => return Ok(None),
            None => Tensor::full("ones", &[self.window], Scalar::Int(1), dtype)?,
        };
        let left = (self.n - self.window) / 2;
        window.padded(left, self.n - self.window - left).map(Some)
    }
}

impl Tensor {
    /// With zeros before and behind along the last dim.
    fn padded(&self, left: usize, right: usize) -> Result<Tensor> {
        let (Some(&size), last) = (self.shape().last(), self.rank().saturating_sub(1)) else { return Ok(self.clone()) };
        if left + right == 0 {
            return Ok(self.clone());
        }
        let mut shape = self.layout().shape.clone();
        shape[last] = size.saturating_add(left).saturating_add(right);
        self.embedded("constant_pad_nd", &shape, move |z| z.slice_at(last, left, size, 1))
    }

    /// The windows of a signal of shape (batch, length), as one more dim. If `aligned`, the first begins where the signal does.
    fn windows(&self, sizes: &Sizes, window: Option<&Tensor>, aligned: bool) -> Result<Tensor> {
        let length = self.shape()[1];
        if sizes.n > length {
            return runtime_error!("stft: expected 0 < n_fft < {length}, but got n_fft={}", sizes.n);
        }
        let window = sizes.centered("stft", window, self.dtype())?;
        let (beside, width) = if aligned { ((sizes.n - sizes.window) / 2, sizes.window) } else { (0, sizes.n) };
        let windows = self.padded(beside, beside)?.unfolded(1, sizes.n, sizes.hop)?;
        // As in torch, there may be one too few if the window is not exactly in the middle.
        let count = 1 + (length - width) / sizes.hop;
        if windows.shape()[1] < count {
            return runtime_error!("stft: {count} windows of {width} do not fit in a signal of {length} with zeros beside them");
        }
        match window {
            Some(window) => windows.mul_operand(Operand::Tensor(window)),
            None => Ok(windows),
        }
    }
}

#[pymethods]
impl Tensor {
    /// The transforms of windows of a signal, `hop_length` (n_fft // 4) apart: y_kt = Σ_j window_j x_{j + t hop} exp(-2πi jk / n_fft).
    ///
    /// Shape: (*, T) to (*, K, windows) with at most one dim before; K is n_fft, or n_fft // 2 + 1 if `onesided`, which real signals
    /// are by default. `window` of `win_length` (n_fft) numbers is in the middle of n_fft. If `center`, window t has its middle at
    /// t hop, and the signal is continued on either side as `pad_mode` says: "reflect", "replicate", "circular" or "constant". If
    /// instead `align_to_window`, the first window, without the zeros beside it, begins where the signal does.
    /// Dtype: float or complex; the result is complex, or, if `return_complex` is false, which is deprecated, pairs of floats.
    /// Raises: RuntimeError if sizes do not fit.
    #[pyo3(signature = (n_fft, hop_length=None, win_length=None, window=None, center=true, pad_mode="reflect", normalized=false,
        onesided=None, return_complex=None, align_to_window=None))]
    #[allow(clippy::too_many_arguments)]
    pub fn stft(
        &self,
        n_fft: isize,
        hop_length: Option<isize>,
        win_length: Option<isize>,
        window: Option<PyRef<'_, Tensor>>,
        center: bool,
        pad_mode: &str,
        normalized: bool,
        onesided: Option<bool>,
        return_complex: Option<bool>,
        align_to_window: Option<bool>,
    ) -> Result<Tensor> {
        const OP: &str = "stft";
        let (x, window) = (self, window.as_deref());
        if center && align_to_window.is_some() {
            return runtime_error!("{OP}: align_to_window should only be set when center = false");
        }
        if !matches!(x.rank(), 1 | 2) {
            return runtime_error!("{OP}: expected a 1D or 2D tensor, but got {:?}", x.shape());
        }
        let sizes = Sizes::of(OP, n_fft, hop_length, win_length)?;
        let signal = if x.rank() == 1 { x.unsqueeze_at(0)? } else { x.clone() };
        let signal = if center {
            let half = (sizes.n / 2) as isize;
            pad(&signal, IntList(Dims(smallvec::smallvec![half, half])), pad_mode, None)?
        } else {
            signal
        };
        if !x.dtype().is_inexact() {
            return runtime_error!("{OP}: expected a tensor of floating point or complex values, but got {}", x.dtype());
        }
        let complex = x.dtype().is_complex() || window.is_some_and(|window| window.dtype().is_complex());
        let as_complex = return_complex.unwrap_or(complex);
        if !as_complex && return_complex.is_none() {
            return runtime_error!("{OP} requires the return_complex parameter be given for real inputs");
        }
        let windows = signal.windows(&sizes, window, align_to_window == Some(true))?;
        if !as_complex {
            static PARTS: Once = Once::new(
                c"stft with return_complex=False is deprecated. Call torch.view_as_real on the complex output to recover the old \
                   return format.",
            );
            PARTS.warn()?;
        }
        let norm = if normalized { Norm::Root } else { Norm::One };
        let y = if windows.dtype().is_complex() {
            if onesided == Some(true) {
                return runtime_error!("{OP}: Cannot have onesided output if window or input is complex");
            }
            windows.fft_c2c(&[2], norm, true)?
        } else {
            windows.fft_r2c(&[2], norm, onesided.unwrap_or(true))?
        };
        // As in torch, named like the forms in place.
        let y = y.transposed("transpose.1", 1, 2)?;
        let y = if x.rank() == 1 { y.squeezed("squeeze.4", &[0], smallvec::smallvec![0])? } else { y };
        if as_complex { Ok(y) } else { y.view_as_real() }
    }

    /// The signal whose `stft` is nearest to this: the windows are transformed back, multiplied with the window again, and added in
    /// their places; the sum is divided by that of the squares of the windows.
    ///
    /// Shape: (*, K, windows) to (*, T) with at most one dim before; T is `length` if it is given. Arguments are those of `stft`;
    /// `onesided` is the default unless K is n_fft.
    /// Dtype: complex; the result is real, unless `return_complex`.
    /// Raises: RuntimeError if sizes do not fit, or where the squares of the windows add to less than 1e-11.
    #[pyo3(signature = (n_fft, hop_length=None, win_length=None, window=None, center=true, normalized=false, onesided=None,
        length=None, return_complex=false))]
    #[allow(clippy::too_many_arguments)]
    pub fn istft(
        &self,
        n_fft: isize,
        hop_length: Option<isize>,
        win_length: Option<isize>,
        window: Option<PyRef<'_, Tensor>>,
        center: bool,
        normalized: bool,
        onesided: Option<bool>,
        length: Option<isize>,
        return_complex: bool,
    ) -> Result<Tensor> {
        const OP: &str = "istft";
        let (x, window) = (self, window.as_deref());
        if !x.dtype().is_complex() {
            return runtime_error!("{OP} requires a complex-valued input tensor, but got {}", x.dtype());
        }
        if x.numel() == 0 || !matches!(x.rank(), 2 | 3) {
            return runtime_error!("{OP}: expected a tensor with 2 or 3 dimensions that is not empty, but got {:?}", x.shape());
        }
        let sizes = Sizes::of(OP, n_fft, hop_length, win_length)?;
        if sizes.hop > sizes.window {
            return runtime_error!("{OP}: expected 0 < hop_length <= win_length, but got {} and {}", sizes.hop, sizes.window);
        }
        let given = x.shape()[x.rank() - 2];
        let onesided = onesided.unwrap_or(given != sizes.n);
        let expected = if onesided { sizes.n / 2 + 1 } else { sizes.n };
        if given != expected {
            return runtime_error!(
                "{OP}: expected {expected} frequencies for n_fft={n_fft} and onesided={onesided}, but got {given}"
            );
        }
        let window = match sizes.centered(OP, window, x.dtype().to_real())? {
            Some(window) => window,
            None => Tensor::full("ones", &[sizes.n], Scalar::Int(1), x.dtype().to_real())?,
        };
        let channels = if x.rank() == 2 { x.unsqueeze_at(0)? } else { x.clone() };
        let frames = channels.transposed("transpose", 1, 2)?;
        let norm = if normalized { Norm::Root } else { Norm::Size };
        let parts = if return_complex {
            if onesided {
                return runtime_error!("{OP}: Expected onesided=False since return_complex=True");
            }
            frames.fft_c2c(&[2], norm, false)?
        } else {
            if window.dtype().is_complex() {
                return runtime_error!("{OP}: Complex windows are incompatible with return_complex=False");
            }
            frames.slice_at(2, 0, sizes.n / 2 + 1, 1)?.fft_c2r(&[2], norm, sizes.n)?
        };
        let (batch, count) = (parts.shape()[0], parts.shape()[1]);
        let total = sizes.n + sizes.hop * (count - 1);
        let sum = (parts * &window)?.unfold_backward(&[batch, total], 1, sizes.n, sizes.hop)?;
        let squares =
            window.square()?.expand_to(OP, &[1, count, sizes.n])?.unfold_backward(&[1, total], 1, sizes.n, sizes.hop)?;
        let start = if center { sizes.n / 2 } else { 0 };
        let end = match length {
            Some(length) => length.saturating_add_unsigned(start),
            None if center => -(start as isize),
            None => total as isize,
        };
        let (first, len) = resolve_slice(Some(start as isize), Some(end), 1, total)?;
        let squares = squares.slice_at(1, first, len, 1)?;
        if len == 0 {
            return runtime_error!("{OP}: there is nothing left of {total} numbers from {start} to {end}");
        }
        let least = squares.abs()?.amin(Dims::default(), false)?.scalar()?.to_f64();
        if least < 1e-11 {
            return runtime_error!("{OP}: the squares of overlapping windows add to {least} only at some place");
        }
        let y = (sum.slice_at(1, first, len, 1)? / squares)?;
        let y = if x.rank() == 2 { y.squeeze_dims(&[0])? } else { y };
        if end <= total as isize {
            return Ok(y);
        }
        warn(
            c"The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail. Please \
               check your center and hop_length settings.",
        )?;
        y.padded(0, end as usize - total)
    }
}
