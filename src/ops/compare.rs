//! Comparisons, tests and truth: results are bools, and have no derivative.

use pyo3::prelude::*;

use super::arguments::{MemoryFormat, Operand};
use super::kernel::promoted;
use super::sample_values::check_comparison;
use crate::dtype::{Bool, C64, C128, DType, Element, Scalar};
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::view::in_place;
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// A comparison as a method, and its in-place form.
macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $in_place:ident $map:ident $test:expr;)+) => {$(
        #[pymethods]
        impl Tensor {
            $(#[$doc])*
            ///
            /// Shape: broadcast. Dtype: any; promotes; the result is bool.
            #[pyo3(signature = (other))]
            pub fn $name(&self, other: Operand) -> Result<Tensor> {
                let other = other.beside(self)?;
                let (a, b) = promoted(self, &other)?;
                $map!(stringify!($name), a, b, $test)
            }
        }

        in_place! {
            /// In place, as 1 and 0.
            $in_place(other)(other: Operand) [other] |x| x.$name(other);
        }
    )+};
}

comparisons! {
    /// Whether elements are equal. NaN equals nothing.
    eq eq_ compare_map |u, v| u == v;
    /// Whether elements differ. NaN differs from everything.
    ne ne_ compare_map |u, v| u != v;
    /// Whether elements of the first are less.
    lt lt_ order_map |u, v| u < v;
    /// Whether elements of the first are less or equal.
    le le_ order_map |u, v| u <= v;
    /// Whether elements of the first are greater.
    gt gt_ order_map |u, v| u > v;
    /// Whether elements of the first are greater or equal.
    ge ge_ order_map |u, v| u >= v;
}

/// A function of truth values (what is not zero is true) as a method, and its in-place form.
macro_rules! truth_functions {
    ($($(#[$doc:meta])* $name:ident $in_place:ident $f:expr;)+) => {$(
        #[pymethods]
        impl Tensor {
            $(#[$doc])*
            ///
            /// Shape: broadcast. Dtype: any; what is not 0 counts as true; the result is bool.
            #[pyo3(signature = (other))]
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                let (a, b) = (self.as_truth()?, other.as_truth()?);
                let f = $f;
                super::kernel::binary::<Bool, Bool, Bool>(stringify!($name), &a, &b, #[inline(always)] move |u, v| f(u.get(), v.get()).into())
            }
        }

        #[pymethods]
        impl Tensor {
            /// In place, as 1 and 0.
            ///
            /// Derivative: none, and none is recorded: a leaf that requires a gradient may be written to, as in torch.
            #[pyo3(signature = (other))]
            fn $in_place<'py>(slf: Bound<'py, Self>, other: &Tensor) -> PyResult<Bound<'py, Self>> {
                other.check_overlap(&slf.borrow())?;
                without_recording(|| in_place(stringify!($in_place), &slf.borrow(), false, |x| x.$name(other)))?;
                Ok(slf)
            }
        }
    )+};
}

truth_functions! {
    /// Whether both are true.
    logical_and logical_and_ |u: bool, v: bool| u & v;
    /// Whether one or both are true.
    logical_or logical_or_ |u: bool, v: bool| u | v;
    /// Whether just one is true.
    logical_xor logical_xor_ |u: bool, v: bool| u ^ v;
}

#[pymethods]
impl Tensor {
    /// Whether an element is 0.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn logical_not(&self) -> Result<Tensor> {
        test_map!("logical_not", self, |v: T| !v.truth())
    }

    /// Whether an element is NaN.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn isnan(&self) -> Result<Tensor> {
        self.nan_mask()
    }

    /// Whether an element is infinite.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn isinf(&self) -> Result<Tensor> {
        self.test_of_parts(|x| x.float_test("isinf", f64::is_infinite, false), Tensor::logical_or)
    }

    /// Whether an element is neither infinite nor NaN.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn isfinite(&self) -> Result<Tensor> {
        self.test_of_parts(|x| x.float_test("isfinite", f64::is_finite, true), Tensor::logical_and)
    }

    /// Whether an element is infinity.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn isposinf(&self) -> Result<Tensor> {
        self.only_real_for("isposinf")?.float_test("isposinf", |v| v == f64::INFINITY, false)
    }

    /// Whether an element is minus infinity.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn isneginf(&self) -> Result<Tensor> {
        self.only_real_for("isneginf")?.float_test("isneginf", |v| v == f64::NEG_INFINITY, false)
    }

    /// Whether an element has no imaginary part.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn isreal(&self) -> Result<Tensor> {
        if self.dtype().is_complex() {
            return self.part(1).is_zero();
        }
        self.same_throughout("isreal", true)
    }

    /// Whether an element has its sign bit set: -0.0 has.
    ///
    /// Shape: any, kept. Dtype: any; the result is bool.
    pub fn signbit(&self) -> Result<Tensor> {
        if self.dtype().is_inexact() {
            self.only_real("signbit")?.float_test("signbit", f64::is_sign_negative, false)
        } else {
            self.lt(Scalar::Int(0).into())
        }
    }

    /// Whether |self - other| ≤ atol + rtol |other|. NaNs are close if `equal_nan`.
    ///
    /// Shape: broadcast. Dtype: any, but the same for both; the result is bool.
    /// Raises: RuntimeError for different dtypes and for tolerances below 0.
    #[pyo3(signature = (other, rtol=1e-5, atol=1e-8, equal_nan=false))]
    pub fn isclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<Tensor> {
        if self.dtype() != other.dtype() {
            return runtime_error!("isclose: the dtypes {} and {} do not match", self.dtype(), other.dtype());
        }
        for (name, tolerance) in [("rtol", rtol), ("atol", atol)] {
            if tolerance.is_nan() || tolerance < 0.0 {
                return runtime_error!("isclose: {name} must be greater than or equal to zero, but got {tolerance}");
            }
        }
        if rtol == 0.0 && atol == 0.0 && !self.dtype().is_float() {
            return self.eq(other.into());
        }
        let (a, b) = (self.to_float()?, other.to_float()?);
        if a.dtype().is_complex() {
            return a.complex_isclose(&b, rtol, atol, equal_nan);
        }
        crate::dispatch_floats!(a.dtype(), "isclose", T => {
            let (rtol, atol) = (rtol as T, atol as T);
            super::kernel::binary::<T, T, Bool>("isclose", &a, &b, #[inline(always)] move |u, v| {
                let difference = (u - v).abs();
                let near = difference.is_finite() & (difference <= atol + (rtol * v).abs());
                (near | (u == v) | (equal_nan & u.is_nan() & v.is_nan())).into()
            })
        })
    }

    /// Whether `isclose` holds for all elements.
    ///
    /// Raises: RuntimeError for different dtypes and for tolerances below 0.
    #[pyo3(signature = (other, rtol=1e-5, atol=1e-8, equal_nan=false))]
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<bool> {
        check_comparison("allclose", self, other)?;
        self.isclose(other, rtol, atol, equal_nan)?.is_true_throughout()
    }

    /// Whether shapes and all elements are equal.
    #[pyo3(signature = (other))]
    pub fn equal(&self, other: &Tensor) -> Result<bool> {
        check_comparison("equal", self, other)?;
        self.equals_throughout(other)
    }
}

#[pymethods]
impl Tensor {
    /// In place, as 1 and 0; see `logical_not`.
    ///
    /// Derivative: none, and none is recorded.
    fn logical_not_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        without_recording(|| in_place("logical_not_", &slf.borrow(), false, Tensor::logical_not))?;
        Ok(slf)
    }
}

impl Tensor {
    /// A test of a real tensor, or of both parts of a complex one, joined.
    fn test_of_parts(
        &self,
        test: impl Fn(&Tensor) -> Result<Tensor>,
        join: fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if self.dtype().is_complex() { join(&test(&self.part(0))?, &test(&self.part(1))?) } else { test(self) }
    }

    /// Itself, for ops that torch does not implement for complex tensors.
    pub(crate) fn only_real(&self, op: &'static str) -> Result<&Tensor> {
        match self.dtype() {
            got if got.is_complex() => Err(Error::DType { op, got, expected: "the real dtypes".into() }),
            _ => Ok(self),
        }
    }

    /// Itself, for ops that torch refuses complex tensors for.
    pub(crate) fn only_real_for(&self, op: &str) -> Result<&Tensor> {
        if self.dtype().is_complex() { runtime_error!("{op}: does not support complex inputs") } else { Ok(self) }
    }

    /// A test that integers all pass or all fail.
    fn float_test(&self, op: &'static str, test: fn(f64) -> bool, of_integers: bool) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return self.same_throughout(op, of_integers);
        }
        crate::dispatch_floats!(self.dtype(), op, T =>
            super::kernel::unary::<T, Bool>(op, self, #[inline(always)] move |v| test(v.to_f64()).into()))
    }

    /// One truth value for all elements.
    pub(crate) fn same_throughout(&self, op: &'static str, value: bool) -> Result<Tensor> {
        self.check_saved()?;
        self.full_like(op, Scalar::Bool(value), DType::Bool, MemoryFormat::Preserve)
    }

    /// This tensor as truth values.
    fn as_truth(&self) -> Result<Tensor> {
        if self.dtype() == DType::Bool { Ok(self.clone()) } else { self.ne(Scalar::Int(0).into()) }
    }

    fn complex_isclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<Tensor> {
        let test = move |u: C128, v: C128| {
            let difference = (u - v).norm();
            let near = difference.is_finite() & (difference <= atol + (v * rtol).norm());
            near | (u == v) | (equal_nan & u.is_nan() & v.is_nan())
        };
        let (a, b) = (self, other);
        crate::dispatch!(a.dtype(), "isclose", T in [C64, C128] =>
            super::kernel::binary::<T, T, Bool>("isclose", a, b, move |u, v| test(u.to_c128(), v.to_c128()).into()))
    }

    /// Whether all elements of a bool tensor are true.
    pub(crate) fn is_true_throughout(&self) -> Result<bool> {
        let x = self.contiguous()?;
        let _access = Access::new(&[x.storage()], &[]);
        // SAFETY: contiguous, of this dtype, and locked for reading.
        Ok(unsafe { x.slice::<Bool>() }.iter().all(|v| v.get()))
    }

    /// See `equal`.
    pub(crate) fn equals_throughout(&self, other: &Tensor) -> Result<bool> {
        Ok(self.shape() == other.shape() && self.eq(other.into())?.is_true_throughout()?)
    }

    /// Whether elements equal a number.
    pub(crate) fn equals(&self, number: f64) -> Result<Tensor> {
        self.eq(number.into())
    }

    /// Whether low ≤ x ≤ high.
    pub(crate) fn between(&self, low: f64, high: f64) -> Result<Tensor> {
        crate::dispatch_floats!(self.dtype(), "between", T => {
            let (low, high) = (low as T, high as T);
            super::kernel::unary::<T, Bool>("between", self, #[inline(always)] move |v| ((v >= low) & (v <= high)).into())
        })
    }
}
