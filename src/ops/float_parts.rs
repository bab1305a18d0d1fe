//! Floats taken apart, and the numbers beside them.

use pyo3::prelude::*;

use super::arguments::{Operand, Pair};
use super::kernel::{promoted, rare_unary, unary};
use super::power::check_in_range;
use crate::dtype::Element;
use crate::error::Result;
use crate::runtime_error;
use crate::tensor::Tensor;
use crate::vjp;

/// The power of 2 in v = m 2^e, where |m| is at least 1/2 and below 1; 0 for zeros and what is not finite.
fn exponent(v: f64) -> i32 {
    if v == 0.0 || !v.is_finite() {
        return 0;
    }
    // Subnormal numbers are read as normal ones, larger by 2^64.
    let (v, shift) = if v.abs() < f64::MIN_POSITIVE { (v * 2f64.powi(64), 64) } else { (v, 0) };
    ((v.to_bits() >> 52) & 0x7ff) as i32 - 1022 - shift
}

/// The m of `exponent`.
fn mantissa(v: f64) -> f64 {
    let e = exponent(v);
    // In two steps, as 2^-e may be too large for one.
    v * 2f64.powi(-e / 2) * 2f64.powi(-e - -e / 2)
}

/// The number after `a` on the way to `b`, of floats as integers that grow with their size.
macro_rules! next_after {
    ($a:ident, $b:ident) => {
        if $a.is_nan() || $b.is_nan() {
            $a + $b
        } else if $a == $b {
            $b
        } else if $b > $a {
            $a.next_up()
        } else {
            $a.next_down()
        }
    };
}

#[pymethods]
impl Tensor {
    /// Each element as a mantissa, at least 1/2 and below 1 in size, and the exponent of the power of 2 that it is multiplied with.
    ///
    /// Shape: any, kept. Dtype: float, of the mantissa; the exponent is int32.
    /// Derivative: of the mantissa, 2 to minus the exponent.
    /// Raises: RuntimeError for other dtypes.
    pub fn frexp(&self) -> Result<Pair> {
        let x = self;
        if !x.dtype().is_float() {
            return runtime_error!("frexp: only supports floating-point dtypes, got {}", x.dtype());
        }
        let y = rare_unary("frexp", x, mantissa)?;
        let e = crate::dispatch_floats!(x.dtype(), "frexp", T => unary::<T, i32>("frexp", &x.detached_read()?, |v: T| exponent(v.to_f64())))?;
        let power = e.save();
        let y = vjp!("frexp", y, { x: |g| g / power.exp2()? })?;
        Ok(Pair { name: "frexp", first: y, second: e })
    }

    /// The next number that the dtype has after each element, on the way to those of `other`.
    ///
    /// Shape: any, broadcast. Dtype: float.
    /// Derivative: 1 for this tensor, 0 where both are equal; zeros for `other`, which has no tangent.
    pub fn nextafter(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        let y = crate::dispatch!(a.dtype(), "nextafter", T in [f32, f64] =>
            super::kernel::binary::<T, T, T>("nextafter", &a, &b, |a: T, b: T| next_after!(a, b)))?;
        let equal = a.detached_read()?.eq(Operand::Tensor(b.detached_read()?))?;
        let b = b.without_tangent();
        let y = vjp!("nextafter", y, { a: |g| g.zeroed_where(&equal), b: |g| g.as_zeros() })?;
        Ok(if a.requires_grad() { y.watching(&[&a, &b]) } else { y })
    }
}

in_place! {
    /// In place; see `nextafter`.
    nextafter_(other)(other: &Tensor) [other] |x| x.nextafter(other);
}

/// A tensor of the shape and dtype of `input` with `value`, a number or a 0-d tensor, in every place.
///
/// Derivative: 0 for `input`, the sum of the gradient for `value`.
/// Raises: RuntimeError for a tensor of more dims, or a number that does not fit the dtype.
#[pyfunction]
pub fn fill(input: &Tensor, value: Operand) -> Result<Tensor> {
    let x = input;
    let y = x.detached_read()?.copied()?;
    let value = match value {
        Operand::Number(value) => {
            check_in_range(value, y.dtype())?;
            y.fill(value)?;
            return vjp!("fill", y, { x: |g| g * 0.0 });
        }
        Operand::Tensor(value) => value,
    };
    if value.rank() > 0 {
        return runtime_error!("fill only supports 0-dimension value tensor but got tensor with {} dimensions.", value.rank());
    }
    y.write(&value.detached_read()?)?;
    vjp!("fill.1", y, { x: |g| g * 0.0, value: |g| g.sum(None, false, None) })
}
