//! Signs, magnitudes and rounding.

use pyo3::prelude::*;

use crate::dtype::{DType, Element, Number};
use crate::error::{Error, Result};
use crate::kernels::integer::Integer;
use crate::tensor::Tensor;
use crate::vjp;

/// A rounding function as a method: integers are copied.
macro_rules! roundings {
    ($($(#[$doc:meta])* $name:ident $round:ident;)+) => {
        #[pymethods]
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// Shape: any, kept. Dtype: any but bool, kept.
            /// Derivative: 0.
            pub fn $name(&self) -> Result<Tensor> {
                let x = self;
                if let Some(copy) = x.copied_if_integer(stringify!($name))? {
                    return Ok(copy);
                }
                let y = float_map!(stringify!($name), x, |v: T| v.$round())?;
                vjp!(stringify!($name), y, { x: |g| g.as_zeros() })
            }
        )+}
    };
}

roundings! {
    /// The next integer that is not less.
    ceil ceil;
    /// The next integer that is not greater.
    floor floor;
    /// Rounded towards zero.
    trunc trunc;
}

impl Tensor {
    fn copied_if_integer(&self, op: &'static str) -> Result<Option<Tensor>> {
        match self.dtype() {
            got @ (DType::Bool | DType::C64 | DType::C128) => Err(Error::DType { op, got, expected: "the real numbers".into() }),
            dtype if dtype.is_float() => Ok(None),
            _ => Ok(Some(self.copied()?)),
        }
    }
}

#[pymethods]
impl Tensor {
    /// The nearest integer, or the nearest number with so many `decimals`; halves go to the even neighbour.
    ///
    /// Shape: any, kept. Dtype: any but bool, kept; with decimals, float.
    /// Derivative: 0.
    #[pyo3(signature = (*, decimals=None))]
    pub fn round(&self, decimals: Option<i64>) -> Result<Tensor> {
        let x = self;
        let Some(decimals) = decimals else {
            if let Some(copy) = x.copied_if_integer("round")? {
                return Ok(copy);
            }
            let y = float_map!("round", x, |v: T| v.round_ties_even())?;
            return vjp!("round", y, { x: |g| g.as_zeros() });
        };
        if !x.dtype().is_float() {
            return Err(Error::DType { op: "round", got: x.dtype(), expected: "the floats if decimals are given".into() });
        }
        let places = 10f64.powi(decimals.unsigned_abs().min(1000) as i32);
        let y = float_map!("round", x, move |v: T| {
            let places = places as T;
            if decimals > 0 { (v * places).round_ties_even() / places } else { (v / places).round_ties_even() * places }
        })?;
        vjp!("round.1", y, { x: |g| g.as_zeros() })
    }

    /// What `trunc` takes away.
    ///
    /// Shape: any, kept. Dtype: float.
    pub fn frac(&self) -> Result<Tensor> {
        let x = self;
        let y = crate::dispatch_floats!(x.dtype(), "frac", T => super::kernel::unary::<T, T>("frac", x, #[inline(always)] |v| v - v.trunc()))?;
        vjp!("frac", y, { x: |g| Ok(g.clone()) })
    }

    /// Absolute value.
    ///
    /// Shape: any, kept. Dtype: any but bool, kept.
    /// Derivative: 0 at 0.
    pub fn abs(&self) -> Result<Tensor> {
        let x = self;
        let y = if x.dtype().is_complex() {
            super::kernel::complex_to_real("abs", x, |z| z.norm())
        } else if x.dtype().is_float() {
            float_map!("abs", x, |v: T| v.abs())
        } else {
            crate::dispatch_ints!(x.dtype(), "abs", T => super::kernel::unary::<T, T>("abs", x, #[inline(always)] |v| v.magnitude()))
        }?;
        vjp!("abs", y, { x: |g| g * x.sgn() })
    }

    /// 1 above 0, -1 below, 0 for 0 and NaN.
    ///
    /// Shape: any, kept. Dtype: any, kept.
    /// Derivative: 0.
    pub fn sign(&self) -> Result<Tensor> {
        let x = self;
        let y = sign(x)?;
        vjp!("sign", y, { x: |g| g.as_zeros() })
    }

    /// The same as `sign` for reals; z / |z| of complex numbers, and 0 at 0.
    pub fn sgn(&self) -> Result<Tensor> {
        let x = self;
        if x.dtype().is_complex() {
            return x.complex_sign();
        }
        let y = sign(x)?;
        Ok(vjp!("sgn", y, { x: |g| g.as_zeros() })?.watching(&[x]).watching_itself())
    }
}

#[allow(clippy::absurd_extreme_comparisons)] // of unsigned integers
fn sign(x: &Tensor) -> Result<Tensor> {
    crate::dispatch_ordered!(x.dtype(), "sign", T => super::kernel::unary::<T, T>("sign", x, #[inline(always)] |v| {
        let (above, below) = (v > T::ZERO, v < T::ZERO);
        T::from_i64(above as i64 - below as i64)
    }))
}

in_place! {
    ceil_ ceil, floor_ floor, trunc_ trunc, frac_ frac, sign_ sign, sgn_ sgn,
}

in_place! {
    /// In place, for real tensors; see `abs`.
    abs_()() [] |x| {
        if x.dtype().is_complex() {
            return crate::runtime_error!("In-place abs is not supported for complex tensors.");
        }
        x.abs()
    };
    /// In place; see `round`.
    round_(*, decimals=None)(decimals: Option<i64>) [] |x| x.round(decimals);
}
