//! Softmax, its logarithm, and the logarithm of sums of exponentials.

use std::ffi::CString;

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;

use super::arguments::Dims;
use super::reduce::{Reduction, fold};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::folds::{Extreme, Largest, Sum};
use crate::kernels::lines::Lines;
use crate::kernels::{math, softmax as kernel, without_interpreter};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

impl Tensor {
    fn softmax_values(&self, op: &'static str, dim: usize, log: bool) -> Result<Tensor> {
        let x = self.detached_read()?.contiguous()?;
        let y = Tensor::uninitialized(op, x.shape(), x.dtype())?;
        if x.numel() == 0 {
            return Ok(y);
        }
        let lines = Lines::new(x.shape(), dim);
        crate::dispatch_floats!(x.dtype(), op, T => {
            let _access = Access::new(&[x.storage()], &[]);
            let (from, to) = (x.ptr::<T>() as usize, y.ptr::<T>() as usize);
            // SAFETY: both are contiguous with all elements of the lines; x is locked, y is fresh.
            without_interpreter(x.numel() * 4, || unsafe { kernel::softmax(from as *const T, to as *mut T, lines, log) });
            Ok(())
        })?;
        Ok(y)
    }

    fn softmax_input(&self, kernel: &str, dtype: Option<DType>) -> Result<Tensor> {
        let x = self.to_dtype(dtype.unwrap_or(self.dtype()))?;
        // As in torch, nothing is computed of no elements, and so any dtype will do.
        if x.dtype().is_float() || x.numel() == 0 {
            return Ok(x);
        }
        Err(Error::NotImplemented(format!("\"{kernel}\" not implemented for '{}'", x.dtype().type_word())))
    }
}

#[pymethods]
impl Tensor {
    /// exp(x) divided by its sum along `dim`.
    ///
    /// Dtype: float, or any with a float `dtype`, in which it is then computed.
    #[pyo3(signature = (dim, dtype=None))]
    pub fn softmax(&self, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
        let place = self.layout().dim("softmax", dim)?;
        let x = self.softmax_input("softmax_kernel_impl", dtype)?;
        let y = x.softmax_values("softmax", place, false)?;
        vjp!("softmax", y, { x: |g, y| softmax_backward(g, y, dim) }, saves { dim })
    }

    /// The logarithm of `softmax`, without its rounding: x - logsumexp(x).
    ///
    /// Dtype: float, or any with a float `dtype`, in which it is then computed.
    #[pyo3(signature = (dim, dtype=None))]
    pub fn log_softmax(&self, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
        let place = self.layout().dim("log_softmax", dim)?;
        let x = self.softmax_input("log_softmax_kernel_impl", dtype)?;
        let y = x.softmax_values("log_softmax", place, true)?;
        vjp!("log_softmax", y, { x: |g, y| log_softmax_backward(g, y, dim) }, saves { dim })
    }

    /// Logarithm of the sum of exponentials over `dim`, computed without overflow.
    ///
    /// Dtype: float; integers promote to the default float. The result for no elements is minus infinity.
    /// Source: Blanchard, Higham, Higham 2021 for the shift by the largest element.
    #[pyo3(signature = (dim, keepdim=false))]
    pub fn logsumexp(&self, dim: Dims, keepdim: bool) -> Result<Tensor> {
        let x = self.to_float()?;
        if x.dtype().is_complex() {
            if x.numel() == 0 {
                return x.exp()?.sum(Some(dim), keepdim, None)?.log();
            }
            let shift = x.part(0).amax(dim.clone(), true)?;
            let shift = shift.isfinite()?.choose(&shift, 0.0)?;
            let kept = if keepdim { shift.clone() } else { shift.sum(Some(dim.clone()), false, None)? };
            return (&*x - shift)?.exp()?.sum(Some(dim), keepdim, None)?.log()? + kept;
        }
        if dim.is_empty() && !keepdim && x.rank() > 0 && x.numel() > 0 {
            return runtime_error!("logsumexp: no dims are given for a {}-d tensor, which needs keepdim=True", x.rank());
        }
        let r = Reduction::new("logsumexp", &x, Some(&dim), keepdim)?;
        let y = crate::dispatch_floats!(x.dtype(), "logsumexp", T => {
            // Infinite shifts would make differences of infinities.
            let shift = fold("logsumexp", &x, &r.dims, Extreme::<T, Largest>::default(), |m| if m.is_infinite() { 0.0 } else { m })?;
            let terms = super::kernel::binary::<T, T, T>("logsumexp", &x.detached_read()?, &shift, #[inline(always)] |v, m| math::exp(v - m))?;
            let sum = fold("logsumexp", &terms, &r.dims, Sum::<T, T>::default(), |sum| sum)?;
            super::kernel::binary::<T, T, T>("logsumexp", &sum, &shift, #[inline(always)] |sum, m| math::ln(sum) + m)
        })?;
        vjp!("logsumexp", r.finish(y), { x: |g, y| r.restore(g)? * (&x - r.restore(y)?)?.exp()? }, saves {
            dim: dim.0, keepdim
        })
    }
}

/// The dim that torch takes, with a warning, if none is given: the first for 0, 1 and 3 dims, else the second. `stack_level` is 3
/// for the line that has called `op`.
fn default_dim(py: Python<'_>, op: &str, input: &Tensor, dim: Option<isize>, stack_level: i32) -> PyResult<isize> {
    if let Some(dim) = dim {
        return Ok(dim);
    }
    let text =
        format!("Implicit dimension choice for {op} has been deprecated. Change the call to include dim=X as an argument.");
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(text)?, (stack_level - 2).max(1))?;
    Ok(if matches!(input.rank(), 0 | 1 | 3) { 0 } else { 1 })
}

/// exp(x) divided by its sum along `dim`; see `Tensor.softmax`.
#[pyfunction]
#[pyo3(signature = (input, dim=None, _stacklevel=3, dtype=None))]
pub fn softmax(py: Python<'_>, input: &Tensor, dim: Option<isize>, _stacklevel: i32, dtype: Option<DType>) -> PyResult<Tensor> {
    let dim = default_dim(py, "softmax", input, dim, _stacklevel)?;
    Ok(input.softmax(dim, dtype)?)
}

/// The logarithm of `softmax`, without its rounding; see `Tensor.log_softmax`.
#[pyfunction]
#[pyo3(signature = (input, dim=None, _stacklevel=3, dtype=None))]
pub fn log_softmax(
    py: Python<'_>,
    input: &Tensor,
    dim: Option<isize>,
    _stacklevel: i32,
    dtype: Option<DType>,
) -> PyResult<Tensor> {
    let dim = default_dim(py, "log_softmax", input, dim, _stacklevel)?;
    Ok(input.log_softmax(dim, dtype)?)
}

/// `softmax` of the opposite.
#[pyfunction]
#[pyo3(signature = (input, dim=None, _stacklevel=3, dtype=None))]
pub fn softmin(py: Python<'_>, input: &Tensor, dim: Option<isize>, _stacklevel: i32, dtype: Option<DType>) -> PyResult<Tensor> {
    let dim = default_dim(py, "softmin", input, dim, _stacklevel)?;
    Ok(input.neg()?.softmax(dim, dtype)?)
}

/// Sums along a dim, which is kept.
fn sum_along(x: &Tensor, dim: isize) -> Result<Tensor> {
    x.sum(Some(Dims(smallvec::smallvec![dim])), true, None)
}

/// The values of the two functions below, in one pass.
fn gradient(op: &'static str, g: &Tensor, y: &Tensor, dim: isize, log: bool) -> Result<Tensor> {
    let dtype = super::kernel::result_type(&[g, y]);
    let part = |x: &Tensor| x.detached_read()?.to_dtype(dtype)?.contiguous();
    let (g, y) = (part(g)?, part(y)?);
    let z = Tensor::uninitialized(op, y.shape(), dtype)?;
    let lines = Lines::new(y.shape(), y.layout().dim(op, dim)?);
    if y.numel() == 0 {
        return Ok(z);
    }
    crate::dispatch_floats!(dtype, op, T => {
        let _access = Access::new(&[g.storage(), y.storage()], &[]);
        let (g, y, to) = (g.ptr::<T>() as usize, y.ptr::<T>() as usize, z.ptr::<T>() as usize);
        // SAFETY: all are contiguous with all elements of the lines; g and y are locked, z is fresh.
        without_interpreter(z.numel() * 2, || unsafe { kernel::gradient(g as *const T, y as *const T, to as *mut T, lines, log) });
        Ok(())
    })?;
    Ok(z)
}

/// y (g - sum(g y)), the derivative of `softmax` along `dim`.
pub(crate) fn softmax_backward(g: &Tensor, y: &Tensor, dim: isize) -> Result<Tensor> {
    let z = gradient("softmax_backward_data", g, y, dim, false)?;
    vjp!("softmax_backward_data", z, {
        g: |h| softmax_backward(h, &y, dim),
        y: |h| ((h * &g)? - (h * sum_along(&(&y * &g)?, dim)?)?)? - (&g * sum_along(&(&y * h)?, dim)?)?
    }, saves { dim })
}

/// g - exp(y) sum(g), the derivative of `log_softmax` along `dim`.
fn log_softmax_backward(g: &Tensor, y: &Tensor, dim: isize) -> Result<Tensor> {
    let z = gradient("log_softmax_backward_data", g, y, dim, true)?;
    vjp!("log_softmax_backward_data", z, {
        g: |h| h - sum_along(&(h * y.exp()?)?, dim)?,
        y: |h| (sum_along(&g, dim)?.neg()? * y.exp()?)? * h
    }, saves { dim })
}

/// The arguments of the operators below, checked.
fn check_backward(op: &'static str, g: &Tensor, y: &Tensor, dim: isize, input_dtype: DType) -> Result<()> {
    y.layout().dim(op, dim)?;
    if g.shape() != y.shape() {
        return runtime_error!("{op}: grad_output of shape {:?} does not fit the output of shape {:?}", g.shape(), y.shape());
    }
    for got in [y.dtype(), input_dtype] {
        if got != g.dtype() {
            return runtime_error!("{op}: expected input and grad types to match, got {got} and {}", g.dtype());
        }
    }
    if g.dtype().is_float() {
        return Ok(());
    }
    Err(Error::NotImplemented(format!("{op}: not implemented for '{}'", g.dtype().type_word())))
}

/// The gradient of `softmax` along `dim`, whose answer was `output`, from that of its output.
///
/// Dtype: float, and all the same.
#[pyfunction]
pub fn _softmax_backward_data(grad_output: &Tensor, output: &Tensor, dim: isize, input_dtype: DType) -> Result<Tensor> {
    check_backward("_softmax_backward_data", grad_output, output, dim, input_dtype)?;
    Ok(softmax_backward(grad_output, output, dim)?.watching(&[grad_output, output]))
}

/// The gradient of `log_softmax` along `dim`, whose answer was `output`, from that of its output.
///
/// Dtype: float, and all the same.
#[pyfunction]
pub fn _log_softmax_backward_data(grad_output: &Tensor, output: &Tensor, dim: isize, input_dtype: DType) -> Result<Tensor> {
    check_backward("_log_softmax_backward_data", grad_output, output, dim, input_dtype)?;
    Ok(log_softmax_backward(grad_output, output, dim)?.watching(&[grad_output, output]))
}

/// `softmax` along `dim` that is 0 where everything is minus infinity.
///
/// Derivative: 0 there.
#[pyfunction]
#[pyo3(signature = (input, dim, dtype=None))]
pub fn _safe_softmax(input: &Tensor, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
    let x = input;
    let y = without_recording(|| {
        let y = x.softmax(dim, dtype)?;
        let masked = x.isneginf()?.all(Some(Dims(smallvec::smallvec![dim])), true)?;
        masked.choose_or(0.0, &y)
    })?;
    vjp!("_safe_softmax", y, { x: |g, y| softmax_backward(g, y, dim) }, saves { dim })
}
