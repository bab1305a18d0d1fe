//! Trigonometric and hyperbolic functions and their inverses. Angles are in radians.

use pyo3::prelude::*;

use super::kernel::promoted_float;
use crate::error::{Error, Result};
use crate::kernels::{complex, map, math};
use crate::tape::mode::is_forward;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

#[pymethods]
impl Tensor {
    /// Sine of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Units: radians.
    pub fn sin(&self) -> Result<Tensor> {
        let x = self;
        let y = float_stretches!("sin", x, map::sin, complex complex::sin)?;
        vjp!("sin", y, { x: |g| g * x.cos()?.conj() })
    }

    /// Cosine of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Units: radians.
    pub fn cos(&self) -> Result<Tensor> {
        let x = self;
        let y = float_stretches!("cos", x, map::cos, complex complex::cos)?;
        vjp!("cos", y, { x: |g| g * (-&x.sin()?)?.conj() })
    }

    /// Tangent of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Units: radians. Domain: (-1.2, 1.2)
    pub fn tan(&self) -> Result<Tensor> {
        let x = self;
        let y = float_stretches!("tan", x, map::tan, complex complex::tan)?;
        vjp!("tan", y, { x: |g, y| g * ((y * y)? + 1.0)?.conj() })
    }

    /// The angle in [-π/2, π/2] with this sine; NaN outside [-1, 1].
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (-0.9, 0.9)
    pub fn asin(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("asin", x, long |v| math::asin(v), complex complex::asin)?;
        vjp!("asin", y, { x: |g| g * (1.0 - &(&x * &x)?)?.rsqrt()?.conj() })
    }

    /// The angle in [0, π] with this cosine; NaN outside [-1, 1].
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (-0.9, 0.9)
    pub fn acos(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("acos", x, long |v| math::acos(v), complex complex::acos)?;
        vjp!("acos", y, { x: |g| g * (-&(1.0 - &(&x * &x)?)?.rsqrt()?)?.conj() })
    }

    /// The angle in (-π/2, π/2) with this tangent.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn atan(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("atan", x, long |v| math::atan(v), complex complex::atan)?;
        vjp!("atan", y, { x: |g| g / ((&x * &x)? + 1.0)?.conj() })
    }

    /// Hyperbolic sine of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn sinh(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("sinh", x, long | v | math::sinh(v), complex complex::sinh)?;
        vjp!("sinh", y, { x: |g| g * x.cosh()?.conj() })
    }

    /// Hyperbolic cosine of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn cosh(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("cosh", x, long | v | math::cosh(v), complex complex::cosh)?;
        vjp!("cosh", y, { x: |g| g * x.sinh()?.conj() })
    }

    /// Hyperbolic tangent of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn tanh(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("tanh", x, |v| math::tanh(v), complex complex::tanh)?;
        vjp!("tanh", y, { x: |g, y| tanh_backward(g, y) })
    }

    /// The number with this hyperbolic sine.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn asinh(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("asinh", x, long |v| math::asinh(v), complex complex::asinh)?;
        vjp!("asinh", y, { x: |g| g * ((&x * &x)? + 1.0)?.rsqrt()?.conj() })
    }

    /// The number of at least 0 with this hyperbolic cosine; NaN below 1.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (1.2, 4)
    pub fn acosh(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("acosh", x, long |v| math::acosh(v), complex complex::acosh)?;
        vjp!("acosh", y, { x: |g| g * acosh_slope(&x)?.conj() })
    }

    /// The number with this hyperbolic tangent; NaN outside [-1, 1], infinite at the ends.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (-0.9, 0.9)
    pub fn atanh(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("atanh", x, long |v| math::atanh(v), complex complex::atanh)?;
        vjp!("atanh", y, { x: |g| g / (1.0 - &(&x * &x)?)?.conj() })
    }

    /// The angle in [-π, π] of the point (`other`, self), minding the quadrant.
    ///
    /// Shape: broadcast. Dtype: float; integers promote to the default float.
    /// Derivative: 0 at the origin; along tangents NaN.
    #[pyo3(signature = (other))]
    pub fn atan2(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted_float(self, other)?;
        let y = float_zip_map!("atan2", a, b, long | u, v | math::atan2(u, v))?;
        vjp!("atan2", y, {
            a: |g| g * (&b * inverse_square(&a, &b)),
            b: |g| g * (a.neg()? * inverse_square(&a, &b)),
        })
    }

    /// √(self² + other²), without overflow in between.
    ///
    /// Shape: broadcast. Dtype: float.
    /// Derivative: NaN at the origin.
    #[pyo3(signature = (other))]
    pub fn hypot(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = super::kernel::promoted(self, other)?;
        let y = float_zip_map!("hypot", a, b, |u: T, v: T| u.hypot(v))?;
        vjp!("hypot", y, { a: |g, y| g * (&a / y), b: |g, y| g * (&b / y) })
    }
}

/// g (1 - y²), the derivative of tanh, in one pass.
pub(crate) fn tanh_backward(g: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (g, y) = super::kernel::promoted(g, y)?;
    let z = float_zip_map!("tanh_backward", g, y, |g: T, y: T| g * (1.0 - y * y), complex | g, y | g * (1.0 - y * y).conj())?;
    vjp!("tanh_backward", z, { g: |h| tanh_backward(h, &y.conj()?), y: |h| (h.conj()? * &g)? * (y.conj()? * -2.0) })
}

/// An op in place as `node`, which fails to run.
fn undifferentiated(x: &Tensor, op: &'static str, node: &'static str, f: fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let y = without_recording(|| f(x))?;
    let text = format!("the derivative for 'inplace version of {op}' is not implemented.");
    vjp!(node, y, { x: |_g| Err(Error::NotImplemented(text.clone())) })
}

/// 1 / √(x² - 1); of complex numbers on the branch of `acosh`.
fn acosh_slope(x: &Tensor) -> Result<Tensor> {
    if x.dtype().is_complex() { (x + 1.0)?.rsqrt()? * (x - 1.0)?.rsqrt() } else { ((x * x)? - 1.0)?.rsqrt() }
}

/// 1 / (a² + b²), and 0 at the origin.
fn inverse_square(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let square = ((a * a)? + (b * b))?;
    if is_forward() {
        return square.reciprocal();
    }
    square.equals(0.0)?.choose_or(0.0, &square.reciprocal()?)
}

in_place! {
    sin_ sin, cos_ cos, tan_ tan, asin_ asin, acos_ acos, atan_ atan,
    sinh_ sinh, cosh_ cosh, tanh_ tanh,
}

in_place! {
    /// In place; see `asinh`. Derivative: none, as in torch.
    asinh_()() [] |x| undifferentiated(x, "asinh", "asinh.1", Tensor::asinh);
    /// In place; see `acosh`. Derivative: none, as in torch.
    acosh_()() [] |x| undifferentiated(x, "acosh", "acosh.1", Tensor::acosh);
    /// In place; see `atanh`. Derivative: none, as in torch.
    atanh_()() [] |x| undifferentiated(x, "atanh", "atanh.1", Tensor::atanh);
}

in_place! {
    /// In place; see `atan2`.
    atan2_(other)(other: &Tensor) [other] |x| x.atan2(other);
    /// In place; see `hypot`.
    hypot_(other)(other: &Tensor) [other] |x| x.hypot(other);
}
