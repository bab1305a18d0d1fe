//! Powers and roots.

use std::f64::consts::LN_2;

use pyo3::prelude::*;

use super::arguments::Operand;
use super::kernel::{binary, complex_binary, promoted, rare_binary, result_type_with, unary};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::kernels::integer::Integer;
use crate::kernels::{complex, math};
use crate::runtime_error;
use crate::tape::mode::is_recording;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

impl Tensor {
    /// Powers with one exponent for all elements. Squares, roots and the like have their own loops.
    fn power_of_number(&self, exponent: Scalar) -> Result<Tensor> {
        let x = self.as_operand(result_type_with(self, [exponent]))?;
        if x.dtype() == DType::Bool {
            // Both are bools, for which torch has these two only.
            let one = Scalar::Bool(true);
            return if exponent == one { x.copied() } else { x.logical_or(&Tensor::from_scalar(one, DType::Bool)?) };
        }
        let y = if x.dtype().is_complex() {
            complex_binary("pow", &x, &Tensor::from_scalar(exponent, x.dtype())?, complex::pow)?
        } else if x.dtype().is_float() {
            let n = exponent.to_f64();
            crate::dispatch_floats!(x.dtype(), "pow", T => match n {
                2.0 => unary::<T, T>("pow", &x, #[inline(always)] |v| v * v),
                3.0 => unary::<T, T>("pow", &x, #[inline(always)] |v| v * v * v),
                0.5 => unary::<T, T>("pow", &x, #[inline(always)] |v| v.sqrt()),
                -0.5 => unary::<T, T>("pow", &x, #[inline(always)] |v| 1.0 / v.sqrt()),
                -1.0 => unary::<T, T>("pow", &x, #[inline(always)] |v| 1.0 / v),
                -2.0 => unary::<T, T>("pow", &x, #[inline(always)] |v| 1.0 / (v * v)),
                n => powers(&x, n),
            })?
        } else {
            if matches!(exponent, Scalar::Int(n) if n < 0) {
                return runtime_error!("pow: integers to negative integer powers are not allowed, got the exponent {exponent}");
            }
            check_in_range(exponent, x.dtype())?;
            integer_power(&x, &Tensor::from_scalar(exponent, x.dtype())?)?
        };
        let (n, less) = match exponent {
            Scalar::Complex(n) => (exponent, Scalar::Complex(n - 1.0)),
            real => (Scalar::Float(real.to_f64()), Scalar::Float(real.to_f64() - 1.0)),
        };
        vjp!("pow", y, { x: |g| match n {
            Scalar::Float(2.0) => square_backward(g, &x),
            n if n.truth() => g * (x.power_of_number(less)? * n)?.conj(),
            _ => g.as_zeros(),
        } }, saves { exponent })
    }

    /// Powers, element by element.
    fn power_of_tensor(&self, exponent: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, exponent)?;
        let y = if a.dtype().is_inexact() {
            float_zip_map!("pow", a, b, long |u, v| math::pow(u, v), complex complex::pow)
        } else {
            integer_power(&a, &b)
        }?;
        if self.is_number() {
            let a = a.save();
            return vjp!("pow.2", y, { b: |g, y| power_backward_exponent(g, &a, &b, y) });
        }
        vjp!("pow.1", y, {
            a: |g| b.equals(0.0)?.zero_or_product(g, &(a.power_of_tensor(&(&b - 1.0)?)? * &b)?.conj()?),
            b: |g, y| power_backward_exponent(g, &a, &b, y),
        })
        .map(|y| if b.requires_grad() { y } else { y.watching_itself() })
    }
}

/// The gradient of b for y = a^b.
fn power_backward_exponent(g: &Tensor, a: &Tensor, b: &Tensor, y: &Tensor) -> Result<Tensor> {
    let flat = a.equals(0.0)?.logical_and(&is_not_below_zero(b)?)?;
    g * flat.choose_or(0.0, &(y * a.log())?.conj()?)
}

/// Whether numbers are real and not below zero.
fn is_not_below_zero(x: &Tensor) -> Result<Tensor> {
    if x.dtype().is_complex() { x.isreal()?.logical_and(&x.part(0).ge(0.0.into())?) } else { x.ge(0.0.into()) }
}

/// Real floats to a power, not recorded.
pub(crate) fn powers(x: &Tensor, n: f64) -> Result<Tensor> {
    crate::dispatch_floats!(x.dtype(), "pow", T => unary::<T, T>("pow", x, #[inline(always)] move |v| math::pow(v, n as T)))
}

/// 2 g x, the derivative of the square, in one pass.
fn square_backward(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    let z = float_zip_map!("square_backward", g, x, |g: T, x: T| g * (x + x), complex | g, x | g * (x + x).conj())?;
    vjp!("mul", z, { g: |h| square_backward(h, &x.conj()?), x: |h| {
        let twice = ((h.conj()? * &g)? * 2.0)?;
        // As in torch, the third derivative is zeros, rather than missing.
        if is_recording() { twice * x.power_of_number(Scalar::Float(0.0))? } else { Ok(twice) }
    } })
}

fn integer_power(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    crate::dispatch_ints!(a.dtype(), "pow", T => binary::<T, T, T>("pow", a, b, #[inline(always)] |u, v| u.power(v)))
}

/// A number must fit a dtype; torch lets negative ones wrap to unsigned.
pub(crate) fn check_in_range(value: Scalar, dtype: DType) -> Result<()> {
    if value.converts_to(dtype) {
        Ok(())
    } else {
        runtime_error!("the value {value} cannot be converted to {dtype} without overflow")
    }
}

#[pymethods]
impl Tensor {
    /// Each element to a power.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Derivative: 0 for the base if the exponent is 0, and for the exponent if the base is 0 and the exponent is not below.
    /// Domain: (0.2, 3) for the base.
    /// Raises: RuntimeError for integers to a negative number.
    #[pyo3(signature = (exponent))]
    pub fn pow(&self, exponent: Operand) -> Result<Tensor> {
        match exponent {
            Operand::Number(exponent) => self.power_of_number(exponent),
            Operand::Tensor(exponent) => self.power_of_tensor(&exponent),
        }
    }

    /// Each element to a power, in float64, or complex128 if one of both is complex.
    ///
    /// Shape: broadcast. Dtype: any. Domain: (0.2, 3) for the base.
    #[pyo3(signature = (exponent))]
    pub fn float_power(&self, exponent: Operand) -> Result<Tensor> {
        let complex = self.dtype().is_complex() || exponent.is_complex();
        let dtype = if complex { DType::C128 } else { DType::F64 };
        let x = self.to_dtype(dtype)?;
        match exponent {
            Operand::Number(exponent) if complex => x.power_of_number(Scalar::Complex(exponent.to_c128())),
            Operand::Number(exponent) => x.power_of_number(Scalar::Float(exponent.to_f64())),
            Operand::Tensor(exponent) => x.power_of_tensor(&exponent.to_dtype(dtype)?),
        }
    }

    /// Square of each element.
    ///
    /// Shape: any, kept. Dtype: any; bools become int64.
    pub fn square(&self) -> Result<Tensor> {
        self.power_of_number(Scalar::Int(2))
    }

    /// Square root of each element; NaN below 0.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn sqrt(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("sqrt", x, |v: T| v.sqrt(), complex crate::kernels::complex::sqrt)?;
        vjp!("sqrt", y, { x: |g, y| g / (y.conj()? * 2.0) })
    }

    /// 1 / √x; NaN below 0.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn rsqrt(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("rsqrt", x, |v: T| 1.0 / v.sqrt(), complex complex::rsqrt)?;
        vjp!("rsqrt", y, { x: |g, y| (g * -0.5)? * y.power_of_number(Scalar::Int(3))?.conj() })
    }

    /// 1 / x.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.2, 4)
    pub fn reciprocal(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("reciprocal", x, |v: T| 1.0 / v, complex complex::reciprocal)?;
        vjp!("reciprocal", y, { x: |g, y| (-g)? * (y * y)?.conj() })
    }

    /// self · 2^other.
    ///
    /// Shape: broadcast. Dtype: float; integers promote to the default float.
    #[pyo3(signature = (other))]
    pub fn ldexp(&self, other: &Tensor) -> Result<Tensor> {
        let (x, e) = (self, other);
        if e.dtype() == DType::Bool && x.dtype().is_float() {
            return Err(Error::DType { op: "ldexp", got: DType::Bool, expected: "the numbers, for the exponent".into() });
        }
        let y = without_recording(|| {
            if e.dtype().is_inexact() || !x.dtype().is_float() {
                return x.mul(&Tensor::from_number(Scalar::Float(2.0))?.power_of_tensor(e)?);
            }
            // Rounded once. Torch reads exponents as int32.
            rare_binary("ldexp", x, &e.to_dtype(DType::I32)?, |v, e| libm::scalbn(v, e as i32))
        })?;
        // The power is of integers if the exponents are, as in torch: 0 for those below zero.
        vjp!("ldexp", y, {
            x: |g| g * Tensor::from_number(Scalar::Int(2))?.power_of_tensor(&e)?.conj(),
            e: |g, y| (g * y.conj()?)? * LN_2,
        })
        .map(|y| if e.requires_grad() { y } else { y.watching_itself() })
    }
}

in_place! { square_ square, sqrt_ sqrt, rsqrt_ rsqrt, reciprocal_ reciprocal }

in_place! {
    /// In place; see `pow`.
    pow_(exponent)(exponent: Operand) [exponent] |x| x.pow(exponent);
    /// In place, for float64 only; see `float_power`.
    float_power_(exponent)(exponent: Operand) [exponent] |x| {
        let wanted = if x.dtype().is_complex() || exponent.is_complex() { DType::C128 } else { DType::F64 };
        if x.dtype() != wanted {
            return runtime_error!("float_power_: the base has dtype {} but the operation's result requires dtype {wanted}", x.dtype());
        }
        x.float_power(exponent)
    };
    /// In place; see `ldexp`.
    ldexp_(other)(other: &Tensor) [other any] |x| x.ldexp(other);
}
