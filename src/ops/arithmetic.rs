//! Sums, differences, products, quotients and remainders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use super::arguments::{Operand, warn_of_factors_first};
use super::kernel::{promoted, promoted_float};
use crate::dtype::{DType, Number, Scalar};
use crate::error::{Error, Result};
use crate::kernels::complex;
use crate::kernels::quotient::{NearQuotient, Quotient};
use crate::runtime_error;
use crate::tape::held::Role;
use crate::tape::mode::{has_tangents, is_forward};
use crate::tape::numbers::One;
use crate::tape::record::joint;
use crate::tape::{Node, Recorder, is_recording, without_recording};
use crate::tensor::Tensor;
use crate::vjp;

/// y = a.f(b, a.rest(b)), with f a method of [`Quotient`]; integers must not be divided by zero.
macro_rules! quotient_map {
    ($op:expr, $a:expr, $b:expr, $f:ident) => {
        if $a.dtype().is_float() {
            crate::dispatch_floats!($a.dtype(), $op, T => super::kernel::binary_near::<T>(
                $op,
                &$a,
                &$b,
                #[inline(always)] |u: T, v: T| u.is_near(v),
                #[inline(always)] |u: T, v: T| u.$f(v, u.rest_near(v)),
                #[inline(always)] |u: T, v: T| u.$f(v, u.rest(v)),
            ))
        } else {
            let by_zero = AtomicBool::new(false);
            let seen = &by_zero;
            let y = real_zip_map!($op, $a, $b, |u: T, v: T| {
                if T::EXACT && v == T::ZERO {
                    seen.store(true, Ordering::Relaxed);
                    return v;
                }
                u.$f(v, u.rest(v))
            });
            unless_by_zero(y, by_zero)
        }
    };
}

impl Tensor {
    /// `self + other`, for Rust callers.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        let y = zip_map!("add", a, b, |u, v| u.add(v), or number)?;
        vjp!("add", y, { a: |g| Ok(g.clone()), b: |g| Ok(g.clone()) }, saves { alpha: One })
    }

    /// `self - other`, for Rust callers.
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        check_difference(self, other)?;
        let (a, b) = promoted(self, other)?;
        vjp!("sub", a.minus(&b)?, { a: |g| Ok(g.clone()), b: |g| g.neg() }, saves { alpha: One })
    }

    /// Its values.
    fn minus(&self, other: &Tensor) -> Result<Tensor> {
        number_zip_map!("sub", self, other, |u, v| u.sub(v), or number)
    }

    /// The same for operators: a number is no input of the node.
    pub(crate) fn sub_or_rsub(&self, other: &Tensor) -> Result<Tensor> {
        if !self.is_number() {
            return self.sub(other);
        }
        check_difference(self, other)?;
        let (a, b) = promoted(self, other)?;
        vjp!("rsub.1", a.minus(&b)?, { b: |g| g.neg() }, saves { alpha: One })
    }

    /// `self * other`, for Rust callers.
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        let y = zip_map!("mul", a, b, |u, v| u.mul(v), or number)?;
        vjp!("mul", y, { a: |g| g * b.conj(), b: |g| g * a.conj() })
    }

    /// `self + term` as torch's formulas have it: to its node the term is no tensor.
    pub(crate) fn plus(&self, term: Scalar) -> Result<Tensor> {
        let number = Operand::Number(term).beside(self)?;
        let (a, b) = promoted(self, &number)?;
        let y = zip_map!("add", a, b, |u, v| u.add(v), or number)?;
        vjp!("add.1", y, { a: |g| Ok(g.clone()) })
    }

    /// The same for `self - term`.
    pub(crate) fn less(&self, term: Scalar) -> Result<Tensor> {
        let number = Operand::Number(term).beside(self)?;
        check_difference(self, &number)?;
        let (a, b) = promoted(self, &number)?;
        vjp!("sub.1", a.minus(&b)?, { a: |g| Ok(g.clone()) })
    }

    /// The same for `self * factor`.
    pub(crate) fn times(&self, factor: Scalar) -> Result<Tensor> {
        let number = Operand::Number(factor).beside(self)?;
        let (a, b) = promoted(self, &number)?;
        let y = zip_map!("mul", a, b, |u, v| u.mul(v), or number)?;
        vjp!("mul.1", y, { a: |g| g * factor.conj() }, saves { other: factor })
    }

    /// The same for `self / divisor`.
    pub(crate) fn over(&self, divisor: Scalar) -> Result<Tensor> {
        let number = Operand::Number(divisor).beside(self)?;
        let (a, b) = promoted_float(self, &number)?;
        let y = float_zip_map!("div", a, b, |u, v| u / v, or number, complex complex::quotient)?;
        vjp!("div.1", y, { a: |g| g / divisor.conj() }, saves { other: divisor })
    }

    /// `self / other`, for Rust callers.
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted_float(self, other)?;
        let y = float_zip_map!("div", a, b, |u, v| u / v, or number, complex complex::quotient)?;
        if has_tangents() && is_recording() && a.requires_grad() && b.requires_grad() {
            return quotient_of_duals(y, &a, &b);
        }
        vjp!("div", y, { a: |g| g / b.conj(), b: |g| -&(g * ((&a / &b)? / &b)?.conj())? })
    }

    /// `self += other`, not recorded.
    pub(crate) fn add_in_place(&self, other: &Tensor) -> Result<()> {
        crate::tape::view::in_place("add_", self, other.requires_grad(), |x| x.add(other))
    }

    /// The quotient rounded down, without a derivative of its own. Integers: not by zero.
    pub(crate) fn quotient_floor(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        quotient_map!("div_floor", a, b, floor_div)
    }

    /// The quotient rounded towards zero, without a derivative of its own. Integers: not by zero.
    pub(crate) fn quotient_trunc(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        quotient_map!("div_trunc", a, b, trunc_div)
    }
}

/// The rule of a quotient both of whose operands may carry tangents: these are put together before the division, as one of them
/// alone may be infinite.
fn quotient_of_duals(y: Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut recorder = Recorder::new("div");
    recorder.input(a);
    recorder.input(b);
    let (a, b) = (a.save_input(Role::Operand(0)), b.save_input(Role::Operand(1)));
    let rule = move |grads: &[Option<Tensor>], _: &[bool], _: &Arc<Node>| {
        let Some(Some(g)) = grads.first() else { return Ok(vec![None, None]) };
        let of_a = (g / b.conj())?;
        let quotient = (&*a / &*b)?;
        let of_b = if is_forward() { &of_a * quotient.conj() } else { g * (quotient / &*b)?.conj() };
        Ok(vec![Some(of_a), Some(of_b?.neg()?)])
    };
    let [y] = <[Tensor; 1]>::try_from(recorder.finish_joint(vec![y], joint(rule), true)?)
        .map_err(|_| Error::Runtime("div: lost an output".into()))?;
    Ok(y)
}

/// `input + term`, recorded as in torch's losses.
#[pyfunction]
pub fn _plus(input: &Tensor, term: Scalar) -> Result<Tensor> {
    input.plus(term)
}

/// `input - term`, recorded as in torch's losses.
#[pyfunction]
pub fn _minus(input: &Tensor, term: Scalar) -> Result<Tensor> {
    input.less(term)
}

/// `input * factor`, recorded as in torch's losses.
#[pyfunction]
pub fn _times(input: &Tensor, factor: Scalar) -> Result<Tensor> {
    input.times(factor)
}

/// `input / divisor`, recorded as in torch's losses.
#[pyfunction]
pub fn _over(input: &Tensor, divisor: Scalar) -> Result<Tensor> {
    input.over(divisor)
}

/// `number - input`, recorded as in torch's losses.
#[pyfunction]
pub fn _minus_from(input: &Tensor, number: Scalar) -> Result<Tensor> {
    Operand::Number(number).beside(input)?.sub(input)
}

#[pymethods]
impl Tensor {
    /// Sum of two tensors, the second times `alpha`.
    ///
    /// Shape: broadcast. Dtype: any; promotes.
    /// Raises: RuntimeError if `alpha` is of a higher kind (bool, int, float) than the result.
    #[pyo3(name = "add", signature = (other, second=None, *, alpha=Scalar::Int(1)))]
    pub fn add_scaled(&self, other: Operand, second: Option<Operand>, alpha: Scalar) -> Result<Tensor> {
        let (other, alpha) = term("add", other, second, alpha)?;
        let b = other.beside(self)?;
        if alpha == Scalar::Int(1) {
            return self.add(&b);
        }
        let (a, b) = promoted(self, &b)?;
        check_alpha("add", alpha, a.dtype())?;
        let y = match a.dtype() {
            DType::F32 | DType::F64 => fused("add", &a, &b, alpha.to_f64()),
            dtype => crate::dispatch_all!(dtype, "add", T => {
                let factor: T = alpha.to();
                super::kernel::binary::<T, T, T>("add", &a, &b, #[inline(always)] move |u, v| u.add(factor.mul(v)))
            }),
        }?;
        vjp!("add", y, { a: |g| Ok(g.clone()), b: |g| g * alpha.conj() }, saves { alpha })
    }

    /// Difference of two tensors, the second times `alpha`.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Raises: RuntimeError for a bool, and if `alpha` is of a higher kind than the result.
    #[pyo3(name = "sub", signature = (other, second=None, *, alpha=Scalar::Int(1)))]
    pub fn sub_scaled(&self, other: Operand, second: Option<Operand>, alpha: Scalar) -> Result<Tensor> {
        let (other, alpha) = term("sub", other, second, alpha)?;
        let b = other.beside(self)?;
        if alpha == Scalar::Int(1) {
            return self.sub(&b);
        }
        check_difference(self, &b)?;
        let (a, b) = promoted(self, &b)?;
        check_alpha("sub", alpha, a.dtype())?;
        let y = match a.dtype() {
            DType::F32 | DType::F64 => fused("sub", &a, &b, -alpha.to_f64()),
            dtype => crate::dispatch_numbers!(dtype, "sub", T => {
                let factor: T = alpha.to();
                super::kernel::binary::<T, T, T>("sub", &a, &b, #[inline(always)] move |u, v| u.sub(factor.mul(v)))
            }),
        }?;
        vjp!("sub", y, { a: |g| Ok(g.clone()), b: |g| g * -alpha.conj() }, saves { alpha })
    }

    /// `other - alpha * self`; see `sub`.
    #[pyo3(signature = (other, second=None, *, alpha=Scalar::Int(1)))]
    pub fn rsub(&self, other: Operand, second: Option<Operand>, alpha: Scalar) -> Result<Tensor> {
        let (other, alpha) = term("rsub", other, second, alpha)?;
        let is_number = matches!(other, Operand::Number(_));
        let (a, b) = (self, &other.beside(self)?);
        let y = without_recording(|| b.sub_scaled(a.into(), None, alpha))?;
        if is_number {
            vjp!("rsub.1", y, { a: |g| g * -alpha.conj() }, saves { alpha })
        } else {
            vjp!("rsub", y, { a: |g| g * -alpha.conj(), b: |g| Ok(g.clone()) }, saves { alpha })
        }
    }

    /// Product of two tensors.
    ///
    /// Shape: broadcast. Dtype: any; promotes. Bools multiply as "and".
    #[pyo3(name = "mul", signature = (other))]
    pub fn mul_operand(&self, other: Operand) -> Result<Tensor> {
        self.mul(&other.beside(self)?)
    }

    /// Quotient of two tensors, rounded as `rounding_mode` says.
    ///
    /// None: not rounded, integers promote to the default float. "trunc": towards zero. "floor": towards minus infinity.
    ///
    /// Shape: broadcast. Dtype: any; promotes.
    /// Derivative: 0 if rounded.
    /// Raises: RuntimeError for a rounded quotient of integers by 0, and for another `rounding_mode`.
    #[pyo3(name = "div", signature = (other, *, rounding_mode=None))]
    pub fn div_rounded(&self, other: Operand, rounding_mode: Option<&str>) -> Result<Tensor> {
        if rounding_mode.is_none() {
            return self.true_divide(other);
        }
        let (a, b) = (self, other.beside(self)?);
        let (y, mode) = match rounding_mode {
            Some("floor") => (a.quotient_floor(&b)?, "floor"),
            Some("trunc") => (a.quotient_trunc(&b)?, "trunc"),
            mode => {
                let mode = mode.unwrap_or_default();
                return runtime_error!("div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'");
            }
        };
        Ok(vjp!("div.2", y, { a: |g| g.as_zeros(), b: |g| g.as_zeros() }, saves { rounding_mode: mode })?
            .watching(&[a, &b][!b.requires_grad() as usize..]))
    }

    /// Quotient of two tensors; see `div`.
    #[pyo3(signature = (other))]
    pub fn true_divide(&self, other: Operand) -> Result<Tensor> {
        self.div(&other.into_float().beside(self)?)
    }

    /// The quotient rounded towards minus infinity.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Derivative: none, as in torch; `div` with `rounding_mode="floor"` has one, 0.
    /// Raises: RuntimeError for integers by 0.
    #[pyo3(signature = (other))]
    pub fn floor_divide(&self, other: Operand) -> Result<Tensor> {
        let (a, b) = (self, other.beside(self)?);
        let y = a.quotient_floor(&b)?;
        let none = || Err(Error::NoDerivative { op: "floor_divide" });
        vjp!("=NotImplemented", y, { a: |_g| none(), b: |_g| none() })
    }

    /// What `floor_divide` leaves: it has the sign of the divisor.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Derivative: 1 for the dividend, minus the rounded quotient for the divisor.
    /// Raises: RuntimeError for integers by 0.
    #[pyo3(signature = (other))]
    pub fn remainder(&self, other: Operand) -> Result<Tensor> {
        let other = other.beside(self)?;
        let (a, b) = promoted(self, &other)?;
        let y = quotient_map!("remainder", a, b, remainder)?;
        if other.is_number() {
            return vjp!("remainder", y, { a: |g| Ok(g.clone()) });
        }
        vjp!("remainder.1", y, { a: |g| Ok(g.clone()), b: |g| {
            -&(g * a.quotient_floor(&b))?.flat_in("div", &a)?.flat_in("div", &b)?
        } })
    }

    /// What division rounded towards zero leaves: it has the sign of the dividend.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Derivative: 1 for the dividend, minus the rounded quotient for the divisor.
    /// Raises: RuntimeError for integers by 0.
    #[pyo3(signature = (other))]
    pub fn fmod(&self, other: Operand) -> Result<Tensor> {
        let other = other.beside(self)?;
        let (a, b) = promoted(self, &other)?;
        let y = quotient_map!("fmod", a, b, fmod)?;
        if other.is_number() {
            return vjp!("fmod", y, { a: |g| Ok(g.clone()) });
        }
        vjp!("fmod.1", y, { a: |g| Ok(g.clone()), b: |g| {
            -&(g * a.quotient_trunc(&b))?.flat_in("div", &a)?.flat_in("div", &b)?
        } })
    }

    /// Opposite of each element.
    ///
    /// Shape: any, kept. Dtype: any but bool.
    pub fn neg(&self) -> Result<Tensor> {
        let x = self;
        if x.dtype() == DType::Bool {
            return runtime_error!(
                "neg: the `-` operator on a bool tensor is not supported. Use the `~` or `logical_not()` operator instead."
            );
        }
        let y = number_map!("neg", x, |v| v.opposite())?;
        vjp!("neg", y, { x: |g| g.neg() })
    }

    /// The tensor itself.
    ///
    /// Raises: RuntimeError for bools.
    pub fn positive(slf: Bound<'_, Self>) -> Result<Bound<'_, Self>> {
        if slf.borrow().dtype() == DType::Bool {
            return runtime_error!("positive: the `+` operator on a bool tensor is not supported");
        }
        Ok(slf)
    }
}

in_place! {
    /// `self += alpha * other`; see `add`.
    add_(other, second=None, *, alpha=Scalar::Int(1))(other: Operand, second: Option<Operand>, alpha: Scalar) [other, second]
        |x| x.add_scaled(other, second, alpha);
    /// `self -= alpha * other`; see `sub`.
    sub_(other, second=None, *, alpha=Scalar::Int(1))(other: Operand, second: Option<Operand>, alpha: Scalar) [other, second]
        |x| x.sub_scaled(other, second, alpha);
    /// `self *= other`; see `mul`.
    mul_(other)(other: Operand) [other] |x| x.mul(&other.beside(x)?);
    /// `self /= other`; see `div`.
    div_(other, *, rounding_mode=None)(other: Operand, rounding_mode: Option<&str>) [other]
        |x| x.div_rounded(other, rounding_mode);
    /// `self /= other`; see `div`.
    true_divide_(other)(other: Operand) [other] |x| x.div(&other.beside(x)?);
    /// `self //= other`; see `floor_divide`.
    floor_divide_(other)(other: Operand) [other] |x| x.floor_divide(other);
    /// `self %= other`; see `remainder`.
    remainder_(other)(other: Operand) [other] |x| x.remainder(other);
    /// In place; see `fmod`.
    fmod_(other)(other: Operand) [other] |x| x.fmod(other);
}

in_place! { neg_ neg }

/// a + factor b of floats, rounded once, as in torch.
fn fused(op: &'static str, a: &Tensor, b: &Tensor, factor: f64) -> Result<Tensor> {
    float_zip_map!(op, a, b, move |u: T, v: T| v.mul_add(factor as T, u))
}

/// Differences of bools have no meaning that torch would give them.
fn check_difference(a: &Tensor, b: &Tensor) -> Result<()> {
    match (a.dtype(), b.dtype()) {
        (DType::Bool, DType::Bool) => runtime_error!(
            "sub: the `-` operator with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead."
        ),
        (DType::Bool, _) | (_, DType::Bool) => runtime_error!(
            "sub: the `-` operator with a bool tensor is not supported. To invert a mask, use the `~` or `logical_not()` operator."
        ),
        _ => Ok(()),
    }
}

/// What is added, and times what. Two numbers are the operand and its factor; a number and a tensor, in the manner of old, the
/// factor and the operand.
fn term(op: &'static str, other: Operand, second: Option<Operand>, alpha: Scalar) -> Result<(Operand, Scalar)> {
    match (other, second) {
        (other, None) => Ok((other, alpha)),
        (other @ Operand::Number(_), Some(Operand::Number(factor))) => Ok((other, factor)),
        (Operand::Number(factor), Some(other)) => {
            warn_of_factors_first(op)?;
            Ok((other, factor))
        }
        (Operand::Tensor(_), Some(_)) => Err(Error::Type(format!("{op}: takes one tensor; its factor is the keyword alpha"))),
    }
}

/// `alpha` must be a number of the result's kind: no bool unless the result is, no float unless the result is.
pub(crate) fn check_alpha(op: &'static str, alpha: Scalar, dtype: DType) -> Result<()> {
    match alpha {
        Scalar::Bool(_) if dtype != DType::Bool => {
            runtime_error!("{op}: alpha is a bool, which is only supported for bool results, but the result is of dtype {dtype}")
        }
        Scalar::Float(value) if !dtype.is_inexact() => runtime_error!(
            "{op}: for integral input tensors, argument alpha must not be a floating point number, but it is {value} for dtype {dtype}"
        ),
        Scalar::Complex(value) if !dtype.is_complex() => {
            runtime_error!("{op}: for non-complex input tensors, argument alpha must not be a complex number, but it is {value}")
        }
        alpha if dtype != DType::Bool => super::power::check_in_range(alpha, dtype),
        _ => Ok(()),
    }
}

/// The answer of a division kernel, unless an integer was divided by zero.
fn unless_by_zero(y: Result<Tensor>, by_zero: AtomicBool) -> Result<Tensor> {
    // The word that torch says.
    if by_zero.into_inner() { runtime_error!("ZeroDivisionError") } else { y }
}
