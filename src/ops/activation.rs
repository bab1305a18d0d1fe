//! Activation functions.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use pyo3::prelude::*;

use crate::dtype::{DType, Number, Scalar};
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

/// Two ways to compute `gelu`.
#[derive(Clone, Copy, PartialEq)]
enum Normal {
    /// By the error function.
    Exact,
    /// By a hyperbolic tangent.
    Tanh,
}

/// 1 / sqrt(2 pi).
const DENSITY: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0;
/// The tangent's argument is SLOPE (x + CUBIC x³).
const SLOPE: f64 = SQRT_2 * FRAC_2_SQRT_PI / 2.0;
const CUBIC: f64 = 0.044715;

/// Each element times the probability that a normal variable is below it.
///
/// `approximate`: "none", by the error function, or "tanh", x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³))).
///
/// Shape: any, kept. Dtype: float, kept.
/// Raises: RuntimeError for other dtypes and for another `approximate`.
/// Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
#[pyfunction]
#[pyo3(signature = (input, *, approximate="none"))]
pub fn gelu(input: &Tensor, approximate: &str) -> Result<Tensor> {
    let x = input;
    let normal = match approximate {
        "none" => Normal::Exact,
        "tanh" => Normal::Tanh,
        _ => return runtime_error!("gelu: approximate argument must be either none or tanh, but it is {approximate}"),
    };
    let y = crate::dispatch_floats!(x.dtype(), "gelu", T => match normal {
        Normal::Exact => super::kernel::unary::<T, T>("gelu", x, #[inline(always)] |v: T| v * 0.5 * (1.0 + math::erf(v * FRAC_1_SQRT_2 as T))),
        Normal::Tanh => super::kernel::unary::<T, T>("gelu", x, #[inline(always)] |v: T| {
            0.5 * v * (1.0 + math::tanh(SLOPE as T * (v + CUBIC as T * (v * v * v))))
        }),
    })?;
    vjp!("gelu", y, { x: |g| gelu_backward(g, &x, normal) })
}

/// g times the derivative of `gelu` at x, in one pass.
fn gelu_backward(g: &Tensor, x: &Tensor, normal: Normal) -> Result<Tensor> {
    let z = match normal {
        Normal::Exact => float_zip_map!("gelu_backward", g, x, |g: T, x: T| {
            let below = 0.5 * (1.0 + math::erf(x * FRAC_1_SQRT_2 as T));
            g * (below + x * (DENSITY as T * math::exp(x * x * -0.5)))
        }),
        Normal::Tanh => float_zip_map!("gelu_backward", g, x, |g: T, x: T| {
            let square = x * x;
            let t = math::tanh(SLOPE as T * (x + CUBIC as T * (square * x)));
            let slope = SLOPE as T * (1.0 + 3.0 * CUBIC as T * square);
            g * (0.5 * (1.0 + t) + 0.5 * x * ((1.0 - t * t) * slope))
        }),
    }?;
    vjp!("gelu_backward", z, { g: |h| gelu_backward(h, &x, normal), x: |h| (h * &g)? * gelu_curvature(&x, normal)? })
}

/// The second derivative of `gelu`.
fn gelu_curvature(x: &Tensor, normal: Normal) -> Result<Tensor> {
    let square = (x * x)?;
    if normal == Normal::Exact {
        return ((&square * -0.5)?.exp()? * DENSITY)? * (2.0 - &square);
    }
    let t = ((x + &((&square * x)? * CUBIC)?)? * SLOPE)?.tanh()?;
    let slope = (((&square * (3.0 * CUBIC))? + 1.0)? * SLOPE)?;
    let bend = ((x * (3.0 * CUBIC * SLOPE))? - ((&t * &slope)? * &slope)?)?;
    (1.0 - &(&t * &t)?)? * (slope + (x * &bend)?)?
}

/// ln(1 + e^(beta x)) / beta, a smooth `relu`; x itself where beta x is above `threshold`.
///
/// Shape: any, kept. Dtype: float, kept.
/// Derivative: 1 above the threshold.
/// Raises: RuntimeError for other dtypes.
#[pyfunction]
#[pyo3(signature = (input, beta=Scalar::Int(1), threshold=Scalar::Int(20)))]
pub fn softplus(input: &Tensor, beta: Scalar, threshold: Scalar) -> Result<Tensor> {
    let x = input;
    let (beta, threshold) = (beta.to_f64(), threshold.to_f64());
    let y = crate::dispatch_floats!(x.dtype(), "softplus", T => {
        let (beta, threshold) = (beta as T, threshold as T);
        super::kernel::unary::<T, T>("softplus", x, #[inline(always)] move |v: T| {
            let y = math::softplus(v * beta) / beta;
            if v * beta > threshold { v } else { y }
        })
    })?;
    vjp!("softplus", y, { x: |g| softplus_backward(g, &x, beta, threshold) })
}

/// g times the derivative of `softplus` at x, in one pass.
fn softplus_backward(g: &Tensor, x: &Tensor, beta: f64, threshold: f64) -> Result<Tensor> {
    let z = float_zip_map!("softplus_backward", g, x, move |g: T, x: T| {
        let u = x * beta as T;
        let slope = g * math::sigmoid(u);
        if u > threshold as T { g } else { slope }
    })?;
    vjp!("softplus_backward", z, {
        g: |h| softplus_backward(h, &x, beta, threshold),
        x: |h| {
            let u = (&x * beta)?;
            let s = u.sigmoid()?;
            let bend = ((&s * (1.0 - &s)?)? * beta)?;
            let flat = u.gt(Scalar::Float(threshold).into())?;
            flat.logical_not()?.choose(&((h * &g)? * bend)?, 0.0)
        }
    })
}
