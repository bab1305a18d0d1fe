//! Activation functions.

use pyo3::prelude::*;

use crate::dtype::{DType, Number};
use crate::error::Result;
use crate::kernels::{complex, math};
use crate::runtime_error;
use crate::tensor::Tensor;
use crate::vjp;

#[pymethods]
impl Tensor {
    /// Each element, or 0 if it is below. NaN stays.
    ///
    /// Shape: any, kept. Dtype: any but bool, kept.
    /// Derivative: 0 at 0.
    /// Raises: RuntimeError for bools.
    #[allow(clippy::absurd_extreme_comparisons)] // of unsigned integers
    pub fn relu(&self) -> Result<Tensor> {
        let x = self;
        if x.dtype() == DType::Bool {
            return runtime_error!("relu: bool inputs are not supported");
        }
        let y = crate::dispatch_reals!(x.dtype(), "relu", T =>
            super::kernel::unary::<T, T>("relu", x, #[inline(always)] |v| if v < T::ZERO { T::ZERO } else { v }))?;
        vjp!("relu", y, { x: |g, y| threshold_backward(g, y, 0.0) })
    }

    /// The logistic function, 1 / (1 + e^-x).
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn sigmoid(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("sigmoid", x, |v| math::sigmoid(v), complex complex::sigmoid)?;
        vjp!("sigmoid", y, { x: |g, y| sigmoid_backward(g, y) })
    }
}

in_place! { relu_ relu, sigmoid_ sigmoid }

/// g where x is above a threshold, else 0, in one pass. The threshold itself has derivative 0.
pub(crate) fn threshold_backward(g: &Tensor, x: &Tensor, threshold: f64) -> Result<Tensor> {
    let (g, x) = super::kernel::promoted(g, x)?;
    let z = float_zip_map!("threshold_backward", g, x, move |g: T, x: T| if x <= threshold as T { 0.0 } else { g })?;
    let x = x.save();
    vjp!("threshold_backward", z, { g: |h| threshold_backward(h, &x, threshold) })
}

/// g y (1 - y), the derivative of the logistic function, in one pass.
pub(crate) fn sigmoid_backward(g: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (g, y) = super::kernel::promoted(g, y)?;
    let z =
        float_zip_map!("sigmoid_backward", g, y, |g: T, y: T| g * (1.0 - y) * y, complex | g, y | g * ((1.0 - y) * y).conj())?;
    vjp!("sigmoid_backward", z, {
       g: |h| sigmoid_backward(h, &y.conj()?),
       y: |h| (h.conj()? * &g)? * (1.0 - &(y.conj()? * 2.0)?)
    })
}
