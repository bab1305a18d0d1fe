//! Exponentials, logarithms and special functions of one element at a time.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10, PI};

use pyo3::prelude::*;

use crate::error::Result;
use crate::kernels::{complex, math, special};
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tensor::Tensor;
use crate::vjp;

#[pymethods]
impl Tensor {
    /// Natural exponential of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn exp(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("exp", x, |v| math::exp(v), complex complex::exp)?;
        vjp!("exp", y, { x: |g, y| g * y.conj() })
    }

    /// 2 to the power of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn exp2(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("exp2", x, long |v| math::exp2(v), complex complex::exp2)?;
        vjp!("exp2", y, { x: |g, y| (g * y.conj())? * LN_2 })
    }

    /// e^x - 1, precise near 0.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn expm1(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("expm1", x, long |v| math::expm1(v), complex complex::expm1)?;
        vjp!("expm1", y, { x: |g, y| g * (y.conj()? + 1.0) })
    }

    /// Natural logarithm: -inf at 0, NaN below.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn log(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("log", x, |v| math::ln(v), complex | z | z.ln())?;
        vjp!("log", y, { x: |g| g / x.conj() })
    }

    /// Logarithm with base 2.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn log2(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("log2", x, long | v | math::log2(v), complex | z | z.ln() / LN_2)?;
        vjp!("log2", y, { x: |g| g / (x.conj()? * LN_2) })
    }

    /// Logarithm with base 10.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn log10(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("log10", x, long | v | math::log10(v), complex | z | z.ln() / LN_10)?;
        vjp!("log10", y, { x: |g| g / (x.conj()? * LN_10) })
    }

    /// log(1 + x), precise near 0.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (-0.8, 4)
    pub fn log1p(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("log1p", x, long |v| math::log1p(v), complex complex::log1p)?;
        vjp!("log1p", y, { x: |g| g / (x.conj()? + 1.0) })
    }

    /// The error function, 2/√π ∫ e^-t² from 0 to x.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn erf(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("erf", x, |v| math::erf(v))?;
        vjp!("erf", y, { x: |g| g * (bell(&x)? * FRAC_2_SQRT_PI) })
    }

    /// 1 - erf(x), precise where that is small.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn erfc(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("erfc", x, long | v | math::erfc(v))?;
        vjp!("erfc", y, { x: |g| g * (bell(&x)? * -FRAC_2_SQRT_PI) })
    }

    /// The inverse of `erf`: NaN outside [-1, 1], infinite at the ends.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (-0.9, 0.9)
    pub fn erfinv(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("erfinv", x, long |v: T| special::erfinv(v))?;
        vjp!("erfinv", y, { x: |g| {
            let y = x.erfinv()?;
            g * ((&y * &y)?.exp()? * (0.5 * PI.sqrt()))
        } })
    }

    /// Logarithm of the absolute value of the gamma function.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn lgamma(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("lgamma", x, |v: T| special::Special::lgamma(v))?;
        vjp!("lgamma", y, { x: |g| g * x.digamma() })
    }

    /// Derivative of `lgamma`: NaN at negative integers, infinite at 0.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn digamma(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("digamma", x, |v: T| special::digamma(v))?;
        vjp!("digamma", y, { x: |g| g * x.polygamma_of(1) })
    }

    /// Logarithm of the odds, log(x / (1 - x)), of `x` clamped to [eps, 1 - eps] if `eps` is given.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.1, 0.9)
    /// Derivative: 0 where clamped; NaN outside [0, 1] if nothing is.
    #[pyo3(signature = (eps=None))]
    pub fn logit(&self, eps: Option<f64>) -> Result<Tensor> {
        let x = self;
        let (low, high) = eps.map_or((f64::NEG_INFINITY, f64::INFINITY), |eps| (eps, 1.0 - eps));
        let y = float_map!("logit", x, long move |v: T| {
            let v = if v < low as T {
                low as T
            } else if v > high as T {
                high as T
            } else {
                v
            };
            math::ln(v / (1.0 - v))
        })?;
        let (low, high, outside) = eps.map_or((0.0, 1.0, f64::NAN), |eps| (eps, 1.0 - eps, 0.0));
        vjp!("logit", y, { x: |g| {
            let x = x.to_float()?.into_owned();
            let inside = x.between(low, high)?;
            let product = (&x * (1.0 - &x)?)?;
            if is_forward() { g * inside.choose(&product.reciprocal()?, outside)? } else { inside.choose(&(g / product)?, outside) }
        } }, saves { eps })
    }

    /// sin(πx) / (πx), and 1 at 0.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn sinc(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("sinc", x, long |v: T| {
            let angle = PI as T * v;
            if v == 0.0 { 1.0 } else { math::sin(angle) / angle }
        }, complex complex::sinc)?;
        vjp!("sinc", y, { x: |g| {
            let angle = (&x * PI)?;
            let square = (&angle * &x)?;
            let slope = (((&angle * angle.cos())? - angle.sin())? / &square)?;
            // 0 also where the square vanishes.
            g * square.equals(0.0)?.choose_or(0.0, &slope.conj()?)
        } })
    }

    /// Degrees to radians.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn deg2rad(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("deg2rad", x.only_real_for("deg2rad")?, |v: T| v * (PI / 180.0) as T)?;
        vjp!("deg2rad", y, { x: |g| g * (PI / 180.0) })
    }

    /// Radians to degrees.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn rad2deg(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("rad2deg", x.only_real_for("rad2deg")?, |v: T| v * (180.0 / PI) as T)?;
        vjp!("rad2deg", y, { x: |g| g * (180.0 / PI) })
    }
}

impl Tensor {
    /// The n-th derivative of `digamma`.
    pub fn polygamma_of(&self, n: i64) -> Result<Tensor> {
        self.polygamma_as("polygamma", n)
    }

    fn polygamma_as(&self, op: &'static str, n: i64) -> Result<Tensor> {
        let x = self;
        if n == 0 {
            return x.digamma();
        }
        if n < 0 {
            return runtime_error!("polygamma: n must not be negative, got {n}");
        }
        let y = float_map!("polygamma", x, move |v: T| special::polygamma(n, v))?;
        vjp!(op, y, { x: |g| g * x.polygamma_of(n + 1) }, saves { n })
    }
}

#[pymethods]
impl Tensor {
    /// The n-th derivative of `digamma`; `ferrograd.polygamma` takes `n` first.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    #[pyo3(name = "polygamma", signature = (n))]
    fn polygamma_method(&self, n: i64) -> Result<Tensor> {
        self.polygamma_of(n)
    }
}

/// The n-th derivative of `digamma`.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float.
#[pyfunction]
#[pyo3(signature = (n, input))]
pub fn polygamma(n: i64, input: &Tensor) -> Result<Tensor> {
    input.polygamma_of(n)
}

/// e^-x².
fn bell(x: &Tensor) -> Result<Tensor> {
    (x * x)?.neg()?.exp()
}

in_place! {
    exp_ exp, exp2_ exp2, expm1_ expm1, log_ log, log2_ log2, log10_ log10, log1p_ log1p,
    erf_ erf, erfc_ erfc, erfinv_ erfinv, lgamma_ lgamma, digamma_ digamma, sinc_ sinc,
    deg2rad_ deg2rad, rad2deg_ rad2deg,
}

in_place! {
    /// In place; see `logit`.
    logit_(eps=None)(eps: Option<f64>) [] |x| x.logit(eps);
    /// In place; see `polygamma`.
    polygamma_(n)(n: i64) [] |x| x.polygamma_as("polygamma.1", n);
}
