//! Variance and standard deviation.

use std::ffi::CString;

use pyo3::prelude::*;

use super::arguments::DimsOrFlag;
use super::linalg::{Backward, record_saving};
use super::reduce::{Reduction, fold_pair};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::kernels::folds::{Moments, Spread};
use crate::layout::Strides;
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tape::{engine, is_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// What is wanted of the elements' squared deviations from their mean.
#[derive(Clone)]
struct Deviation {
    op: &'static str,
    r: Reduction,
    /// What the number of elements is lessened by before it divides.
    correction: f64,
    /// The dims, if they were named.
    dims: Option<Strides>,
    /// The correction, if it was given.
    given: Option<Scalar>,
    root: bool,
}

impl Deviation {
    /// From the arguments that `var` and its relatives share.
    fn new(
        op: &'static str,
        x: &Tensor,
        dim: Option<DimsOrFlag>,
        unbiased: Option<bool>,
        keepdim: bool,
        correction: Option<Scalar>,
    ) -> Result<Deviation> {
        if !x.dtype().is_inexact() {
            return runtime_error!("std and var only support floating point and complex dtypes, got {}", x.dtype());
        }
        let (dims, unbiased) = match (dim, unbiased) {
            (Some(DimsOrFlag::Flag(flag)), None) => (None, Some(flag)),
            (Some(DimsOrFlag::Dims(dims)), unbiased) => (Some(dims), unbiased),
            (None, unbiased) => (None, unbiased),
            (Some(DimsOrFlag::Flag(_)), Some(_)) => return Err(Error::Type(format!("{op}(): unbiased was given twice"))),
        };
        let given = match (unbiased, correction) {
            (Some(_), Some(_)) => return Err(Error::Type(format!("{op}() takes unbiased or correction, not both"))),
            (Some(unbiased), None) => Some(Scalar::Int(unbiased.into())),
            (None, correction) => correction,
        };
        let correction = given.map_or(1.0, Scalar::to_f64);
        // As torch's function of dims has it.
        let given = given.or(dims.as_ref().map(|_| Scalar::Int(1)));
        let r = Reduction::new(op, x, dims.as_deref(), keepdim)?;
        let no_results = (0..x.rank()).any(|d| !r.dims.contains(&d) && x.shape()[d] == 0);
        let count = if no_results { 0 } else { r.count() };
        if count as f64 <= correction {
            let text = format!(
                "{op}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor (input numel divided \
                 by output numel)."
            );
            crate::interpreter::warn(&CString::new(text).unwrap_or_default())?;
        }
        Ok(Deviation { op, r, correction, dims: dims.map(|dims| dims.0), given, root: op.starts_with("std") })
    }

    fn of(&self, spread: Spread) -> f64 {
        let variance = spread.squares / (self.r.count() as f64 - self.correction).max(0.0);
        if self.root { variance.sqrt() } else { variance }
    }

    /// Both results, not recorded: variance (or its root) and mean.
    fn compute(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        if x.dtype().is_complex() {
            // The variance of complex numbers is that of their parts, added.
            let of_parts = Deviation { root: false, ..self.clone() };
            let ((a, real), (b, imag)) = (of_parts.compute(&x.part(0))?, of_parts.compute(&x.part(1))?);
            let y = (a + b)?;
            return Ok((if self.root { y.sqrt()? } else { y }, super::complex::complex_of(&real, &imag)?));
        }
        let empty = self.r.count() == 0;
        let (y, mean) = crate::dispatch_floats!(x.dtype(), self.op, T => {
            fold_pair(self.op, x, &self.r.dims, Moments::<T>::default(), |spread| {
                (self.of(spread) as T, if empty { T::NAN } else { spread.mean as T })
            })
        })?;
        Ok((self.r.finish(y), self.r.finish(mean)))
    }

    fn numbers(&self) -> impl Fn() -> Named + Clone + Send + Sync + 'static {
        saves! { dim: self.dims.clone(), correction: self.given, keepdim: self.r.keepdim }
    }

    fn record(&self, x: &Tensor, y: Tensor) -> Result<Tensor> {
        let it = self.clone();
        if self.root {
            vjp!(self.op, y, { x: |g, y| it.rule(g, &x, y) }, saves { ..self.numbers() })
        } else {
            vjp!(self.op, y, { x: |g| it.variance_rule(g, &x) }, saves { ..self.numbers() })
        }
    }

    /// From the gradient of the result `y` to that of the input.
    fn rule(&self, g: &Tensor, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        if !self.root {
            return self.variance_rule(g, x);
        }
        let zero = y.detached_read()?.is_zero()?;
        self.variance_rule(&zero.zero_or_product(g, &(y * 2.0)?.reciprocal()?)?, x)
    }

    /// From the gradient of the variance to that of the input: 2/(n - correction) g (x - mean).
    fn variance_rule(&self, g: &Tensor, x: &Tensor) -> Result<Tensor> {
        let dims = super::arguments::Dims(self.r.dims.iter().map(|&d| d as isize).collect());
        let deviation = (x - x.mean(Some(dims), true, None)?)?;
        let degrees = self.r.count() as f64 - self.correction;
        let g = self.r.restore(g)?;
        if degrees <= 0.0 && x.dtype().is_complex() {
            return (&g * f64::INFINITY)? * deviation;
        }
        if degrees <= 0.0 && (self.dims.is_none() || x.rank() == 0) {
            let slope = crate::dispatch_floats!(deviation.dtype(), self.op, T => super::kernel::unary::<T, T>(
                self.op, &deviation.detached(false), #[inline(always)] |d: T| if d == 0.0 { T::NAN } else { T::INFINITY }))?;
            return &g * slope;
        }
        (&g * (2.0 / degrees))? * deviation
    }
}

impl Tensor {
    fn deviation(
        &self,
        op: &'static str,
        dim: Option<DimsOrFlag>,
        unbiased: Option<bool>,
        keepdim: bool,
        correction: Option<Scalar>,
    ) -> Result<Tensor> {
        let deviation = Deviation::new(op, self, dim, unbiased, keepdim, correction)?;
        let (y, _) = deviation.compute(&self.detached_read()?)?;
        deviation.record(self, y)
    }

    fn deviation_and_mean(
        &self,
        op: &'static str,
        dim: Option<DimsOrFlag>,
        unbiased: Option<bool>,
        keepdim: bool,
        correction: Option<Scalar>,
    ) -> Result<(Tensor, Tensor)> {
        let x = self;
        let deviation = Deviation::new(op, x, dim, unbiased, keepdim, correction)?;
        let (y, mean) = deviation.compute(&x.detached_read()?)?;
        let numbers = deviation.numbers();
        let rule = move |it: Backward<'_>| {
            let x = &it.saved[0];
            let of_deviation = it.g[0].as_ref().map(|g| deviation.rule(g, x, &it.y[0])).transpose()?;
            let of_mean = it.g[1].as_ref().map(|g| deviation.r.spread(&(g / deviation.r.count() as f64)?)).transpose()?;
            Ok(vec![engine::sum(of_deviation, of_mean, is_recording())?])
        };
        let [y, mean] = record_saving(op, &[x], &[x], [y, mean], numbers, rule)?;
        Ok((y, mean))
    }
}

/// The four ops, which take the same arguments: `name -> result by method;`
macro_rules! deviations {
    ($($(#[$doc:meta])* $name:ident -> $result:ty, by $method:ident;)+) => {$(
        #[pymethods]
        impl Tensor {
            $(#[$doc])*
            #[pyo3(signature = (dim=None, unbiased=None, keepdim=false, *, correction=None))]
            pub fn $name(
                &self,
                dim: Option<DimsOrFlag>,
                unbiased: Option<bool>,
                keepdim: bool,
                correction: Option<Scalar>,
            ) -> Result<$result> {
                self.$method(stringify!($name), dim, unbiased, keepdim, correction)
            }
        }
    )+};
}

deviations! {
    /// Variance over `dim`, over everything if None: the sum of squared deviations from the mean, divided by their
    /// number less `correction` (1, or 0 if not `unbiased`).
    ///
    /// Dtype: float. No degrees of freedom give NaN or infinity, and a warning.
    /// Source: Chan, Golub, LeVeque 1983, for the pairwise combination.
    var -> Tensor, by deviation;
    /// Standard deviation over `dim`, over everything if None: the square root of `var`.
    ///
    /// Dtype: float. Derivative: 0 where the result is 0.
    std -> Tensor, by deviation;
    /// Variance and mean, from one pass; see `var`.
    var_mean -> (Tensor, Tensor), by deviation_and_mean;
    /// Standard deviation and mean, from one pass; see `std`.
    std_mean -> (Tensor, Tensor), by deviation_and_mean;
}
