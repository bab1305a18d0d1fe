//! Running results along a dim: cumulative sums, products, extremes.
//!
//! The rules for products divide by nothing: they are made of [`Tensor::shifted`] and [`Tensor::unrolled`], a pair
//! that is closed under differentiation, so zeros are as good as any number, in every order.

// Conversions are no-ops for one of the types a kernel is compiled for.
#![allow(clippy::unnecessary_cast)]

use pyo3::prelude::*;
use smallvec::smallvec;

use super::along::Target;
use super::arguments::{Dims, Given, MemoryFormat, Pair};
use crate::dtype::{C64, C128, DType, Element, Number, Scalar};
use crate::error::{Error, Result};
use crate::kernels::folds::{Largest, Order, Smallest};
use crate::kernels::lines::{Lines, scan};
use crate::kernels::{complex, math, without_interpreter};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::mode::is_forward;
use crate::tape::numbers::Named;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// A type in which running results are kept: doubles for floats, 64 bits for integers, as torch.
trait Wide: Number {
    type Type: Number;
}

macro_rules! wide {
    ($($ty:ty => $wide:ty),+) => { $(impl Wide for $ty { type Type = $wide; })+ };
}
wide!(f32 => f64, f64 => f64, i64 => i64, crate::dtype::Bool => crate::dtype::Bool, C64 => C128, C128 => C128);

/// A fresh contiguous tensor filled along `dim` by a running state: `step(state, element, number)` gives the next one,
/// `out(state)` the element of the result.
fn running<T: Element, U: Element, S: Copy + Send + Sync>(
    op: &'static str,
    x: &Tensor,
    dim: usize,
    reverse: bool,
    start: S,
    step: impl Fn(S, T, usize) -> S + Sync + Copy + Send,
    out: impl Fn(S) -> U + Sync + Copy + Send,
) -> Result<Tensor> {
    let x = x.detached_read()?.contiguous()?;
    let y = Tensor::uninitialized(op, x.shape(), U::DTYPE)?;
    let _access = Access::new(&[x.storage()], &[]);
    let (from, to) = (Target::<T>::of(&x), Target::<U>::of(&y));
    let lines = Lines::new(x.shape(), dim);
    without_interpreter(x.numel(), || {
        scan(
            lines,
            reverse,
            start,
            #[inline(always)]
            move |state, place, number| {
                // SAFETY: places are within the tensors, each visited once.
                unsafe {
                    let state = step(state, from.get(place), number);
                    to.set(place, out(state));
                    state
                }
            },
        )
    });
    Ok(y)
}

impl Tensor {
    /// Running sum from the start of a dim, or from its end.
    pub(crate) fn cumsum_along(&self, dim: usize, reverse: bool) -> Result<Tensor> {
        self.cumsum_as(dim, dim as isize, reverse)
    }

    /// The same; the user has `given` the dim so.
    fn cumsum_as(&self, dim: usize, given: isize, reverse: bool) -> Result<Tensor> {
        let x = self;
        let wide = x.wide()?;
        let y = crate::dispatch_wide!(wide.dtype(), "cumsum", T => running::<T, T, _>(
            "cumsum", &wide, dim, reverse, <T as Wide>::Type::ZERO, |sum, v, _| sum.add(v.cast()), |sum| sum.cast()))?
        .to_dtype(x.dtype())?;
        vjp!("cumsum", y, { x: |g| g.cumsum_along(dim, !reverse) }, saves { dim: given })
    }

    /// Running product from the start of a dim, or from its end.
    ///
    /// With L_k the product before k, and S_k = g_k + x_{k+1} S_{k+1}, the derivative is L S.
    pub(crate) fn cumprod_along(&self, dim: usize, reverse: bool) -> Result<Tensor> {
        self.cumprod_as(dim, dim as isize, reverse)
    }

    /// The same; the user has `given` the dim so.
    fn cumprod_as(&self, dim: usize, given: isize, reverse: bool) -> Result<Tensor> {
        let x = self;
        let wide = x.wide()?;
        let y = crate::dispatch_wide!(wide.dtype(), "cumprod", T => running::<T, T, _>(
            "cumprod", &wide, dim, reverse, <T as Wide>::Type::ONE, |product, v, _| product.mul(v.cast()), |product| product.cast()))?.to_dtype(x.dtype())?;
        vjp!("cumprod", y, { x: |g, y| y.conj()?.shifted(dim, reverse, 1.0)? * x.conj()?.unrolled(g, dim, !reverse, false)? }, saves {
            dim: given
        })
    }

    /// The elements moved by one place along a dim, up (or down, if `reverse`), with `fill` where nothing comes from.
    pub(crate) fn shifted(&self, dim: usize, reverse: bool, fill: f64) -> Result<Tensor> {
        let x = self;
        let y = crate::dispatch_inexact!(x.dtype(), "shift", T => running::<T, T, _>(
            "shift", x, dim, reverse, (T::from_f64(fill), T::from_f64(fill)), |(_, last), v, _| (last, v), |(before, _)| before))?;
        vjp!("shift", y, { x: |g| g.shifted(dim, !reverse, 0.0) })
    }

    /// The linear recurrence s_k = b_k + a s_{k-1} along a dim (s_{k+1} if `reverse`), with self as a: its element k if
    /// `own`, else that at the place that s comes from.
    pub(crate) fn unrolled(&self, b: &Tensor, dim: usize, reverse: bool, own: bool) -> Result<Tensor> {
        let (a, b) = (self, b);
        let y = crate::dispatch_inexact!(a.dtype(), "recurrence", T => {
            type W = <T as Wide>::Type;
            let (a, b) = (a.detached_read()?.contiguous()?, b.detached_read()?.contiguous()?);
            let y = Tensor::uninitialized("recurrence", a.shape(), a.dtype())?;
            let _access = Access::new(&[a.storage(), b.storage()], &[]);
            let (factors, terms, to) = (Target::<T>::of(&a), Target::<T>::of(&b), Target::<T>::of(&y));
            let lines = Lines::new(a.shape(), dim);
            without_interpreter(a.numel(), || {
                scan(lines, reverse, (W::ZERO, W::ZERO), #[inline(always)] move |(sum, before), place, _| {
                    // SAFETY: places are within the tensors, each visited once.
                    unsafe {
                        let factor: W = factors.get(place).cast();
                        let sum = terms.get(place).cast::<W>().add(if own { factor } else { before }.mul(sum));
                        to.set(place, sum.cast());
                        (sum, factor)
                    }
                })
            });
            Ok(y)
        })?;
        vjp!("recurrence", y, {
            a: |g, s| {
                let (t, s) = (a.conj()?.unrolled(g, dim, !reverse, !own)?, s.conj()?);
                if own { t * s.shifted(dim, reverse, 0.0)? } else { t.shifted(dim, !reverse, 0.0)? * s }
            },
            b: |g| a.conj()?.unrolled(g, dim, !reverse, !own)
        })
    }

    /// Running log of the sum of exponentials, from the start of a dim or from its end. `nested` in its own derivative.
    fn logcumsumexp_along(&self, dim: usize, given: isize, reverse: bool, nested: bool) -> Result<Tensor> {
        let x = self;
        if x.dtype().is_complex() {
            return x.complex_logcumsumexp_along(dim, given, reverse);
        }
        let y = crate::dispatch_floats!(x.dtype(), "logcumsumexp", T => running::<T, T, _>(
            "logcumsumexp", x, dim, reverse, f64::NEG_INFINITY, |sum, v, _| log_add_exp(sum, v as f64), |sum| sum as T))?;
        // dx_k = exp(x_k) sum_{i>=k} g_i exp(-y_i), with the sums of positive and negative g in logarithms.
        vjp!("logcumsumexp", y, { x: |g, y| {
            if x.rank() == 0 {
                return Ok(g.clone());
            }
            if is_forward() && !nested && x.numel() > 0 {
                // Torch's formula, in which what is far below the largest element is lost.
                let parts = (&x - x.amax(Dims(smallvec![dim as isize]), true)?)?.exp()?;
                let sums = (parts.cumsum_along(dim, reverse)? + 1e-13)?;
                return parts * (g / sums)?.cumsum_along(dim, !reverse)?;
            }
            let part = |g: &Tensor| -> Result<Tensor> {
                // Where nothing flows nothing is added, also where y is minus infinity.
                let lowest = Tensor::from_scalar(Scalar::Float(f64::NEG_INFINITY), g.dtype())?;
                let logs = (g.log_or_lowest()? - y)?.filled_where("masked_fill", &g.not_positive()?, &lowest)?;
                (logs.logcumsumexp_along(dim, given, !reverse, true)? + &x)?.exp()
            };
            part(g)? - part(&g.neg()?)?
        } }, saves { dim: given })
    }

    /// The same of complex numbers, whose logarithms need no sign.
    fn complex_logcumsumexp_along(&self, dim: usize, given: isize, reverse: bool) -> Result<Tensor> {
        let x = self;
        let y = crate::dispatch!(x.dtype(), "logcumsumexp", T in [C64, C128] => {
            let lowest = C128::new(f64::NEG_INFINITY, 0.0);
            running::<T, T, C128>("logcumsumexp", x, dim, reverse, lowest, |sum, v, _| complex_log_add_exp(sum, v.cast()), |sum| sum.cast())
        })?;
        vjp!("logcumsumexp", y, { x: |g, y| {
            if x.rank() == 0 {
                return Ok(g.clone());
            }
            ((g.conj()?.log()? - y)?.complex_logcumsumexp_along(dim, given, !reverse)? + &x)?.exp()?.conj()
        } }, saves { dim: given })
    }

    /// The logarithm; the lowest finite number for what is not positive, there with derivative 0.
    fn log_or_lowest(&self) -> Result<Tensor> {
        let x = self;
        let y = crate::dispatch_floats!(x.dtype(), "log", T => super::kernel::long_unary::<T>(
            "log", x, #[inline(always)] |v| if v > 0.0 { math::ln(v) } else { T::MIN }))?;
        vjp!("log", y, { x: |g| (g / &x)?.zeroed_where(&x.not_positive()?) })
    }

    fn not_positive(&self) -> Result<Tensor> {
        let x = self;
        crate::dispatch_floats!(x.dtype(), "le", T => super::kernel::unary::<T, crate::dtype::Bool>("le", x, #[inline(always)] |v| (v <= 0.0).into()))
    }

    fn cumulative_extreme<O: Order + 'static>(&self, op: &'static str, dim: isize) -> Result<Pair> {
        let x = self;
        let (given, dim) = (dim, x.layout().dim(op, dim)?);
        if x.rank() == 0 && x.dtype().is_complex() {
            // One number needs no order.
            return Ok(Pair::new(op, x.clone_in(MemoryFormat::Preserve)?, Tensor::zeroed(op, &[], DType::I64)?));
        }
        let wide = x.wide()?;
        let (values, indices) = crate::dispatch_wide_ordered!(wide.dtype(), op, T => {
            let x = wide.detached_read()?.contiguous()?;
            let (values, indices) = (Tensor::uninitialized(op, x.shape(), T::DTYPE)?, Tensor::uninitialized(op, x.shape(), DType::I64)?);
            let _access = Access::new(&[x.storage()], &[]);
            let (from, to, numbers) = (Target::<T>::of(&x), Target::<T>::of(&values), Target::<i64>::of(&indices));
            let lines = Lines::new(x.shape(), dim);
            without_interpreter(x.numel(), || {
                scan(lines, false, (O::worst::<T>(), -1i64), move |(best, at), place, number| {
                    // SAFETY: places are within the tensors, each visited once.
                    unsafe {
                        let v = from.get(place);
                        // Of equal elements the last one counts, as in torch.
                        let (best, at) = if at < 0 || !O::better(best, v) { (v, number as i64) } else { (best, at) };
                        to.set(place, best);
                        numbers.set(place, at);
                        (best, at)
                    }
                })
            });
            Ok((values, indices))
        })?;
        let numbers = indices.save();
        let size = x.shape().get(dim).copied().unwrap_or(1);
        let values = values.to_dtype(x.dtype())?;
        let values = vjp!(op, values, { x: |g| g.add_along(dim, &numbers, size) }, saves { dim: given })?.watching(&[x]);
        Ok(Pair::new(op, values, indices))
    }

    /// The input of a running sum or product: integers become int64, unless a dtype is asked for.
    fn to_running(&self, dtype: Option<DType>) -> Result<Tensor> {
        self.to_dtype(dtype.unwrap_or(if self.dtype().is_inexact() { self.dtype() } else { DType::I64 }))
    }

    /// The product of a reduction over one dim or all, in the dtype of the input.
    fn product(&self, name: &'static str, dim: Option<isize>, keepdim: bool) -> Result<Tensor> {
        use super::reduce::{Reduction, fold};
        let x = self;
        let dims = dim.map(|dim| super::arguments::Dims(smallvec::smallvec![dim]));
        let r = Reduction::new("prod", x, dims.as_deref(), keepdim)?;
        let wide = x.wide()?;
        let y = crate::dispatch_wide!(wide.dtype(), "prod", T =>
            fold("prod", &wide, &r.dims, crate::kernels::folds::Product::<T, T>::default(), |acc| acc))?
        .to_dtype(x.dtype())?;
        vjp!(name, r.finish(y), { x: |g, y| {
            x.check_saved()?;
            y.check_saved()?;
            let g = r.spread(g)?;
            if x.rank() == 0 {
                return Ok(g);
            }
            let zeros = x.detached_read()?.is_zero()?.any(None, false)?;
            if zeros.scalar()? == crate::dtype::Scalar::Bool(false) {
                return g * (r.restore(y)? / &x)?.conj();
            }
            // The product of all others, without a division.
            let flat = match dim {
                Some(_) => x.kept(),
                None => x.reshape_to(&[x.numel()])?,
            };
            let along = r.dims[0] * dim.is_some() as usize;
            let before = flat.cumprod_along(along, false)?.shifted(along, false, 1.0)?;
            let after = flat.cumprod_along(along, true)?.shifted(along, true, 1.0)?;
            g * (before * after)?.view_as_shape(x.shape())?.conj()
        } }, saves { ..move || dim.map_or_else(Named::new, |dim| saves! { dim, keepdim }()) })
    }
}

in_place! {
    /// Running sum along `dim`, in place; see `cumsum`.
    cumsum_(dim, *, dtype=None)(dim: isize, dtype: Option<DType>) [] |x| x.cumsum(dim, own_dtype("cumsum_", x, dtype)?);
    /// Running product along `dim`, in place; see `cumprod`.
    cumprod_(dim, *, dtype=None)(dim: isize, dtype: Option<DType>) [] |x| x.cumprod(dim, own_dtype("cumprod_", x, dtype)?);
}

/// The dtype in which something is computed in place: that of the tensor.
fn own_dtype(op: &str, x: &Tensor, given: Option<DType>) -> Result<Option<DType>> {
    match given {
        Some(given) if given != x.dtype() => runtime_error!("{op}: the dtype {given} is not that of the tensor, {}", x.dtype()),
        _ => Ok(Some(x.dtype())),
    }
}

fn check_not_bool(op: &str, dtype: Option<DType>) -> Result<()> {
    match dtype {
        Some(DType::Bool) => Err(Error::NotImplemented(format!("\"{op}_out_cpu\" not implemented for 'Bool'"))),
        _ => Ok(()),
    }
}

/// log(exp(a) + exp(b)).
fn log_add_exp(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b || b.is_nan() { (a, b) } else { (b, a) };
    if low.is_nan() || high.is_nan() {
        f64::NAN
    } else if low != high || low.is_finite() {
        high + math::log1p(math::exp(low - high))
    } else {
        high
    }
}

/// log(exp(a) + exp(b)) of complex numbers, counted from the turn of the larger one: of b if both are as large.
fn complex_log_add_exp(a: C128, b: C128) -> C128 {
    let (low, high) = if a.re > b.re { (b, a) } else { (a, b) };
    if a.is_nan() || b.is_nan() {
        C128::new(f64::NAN, f64::NAN)
    } else if high.re == f64::NEG_INFINITY {
        C128::new(high.re, 0.0)
    } else if low.re == f64::NEG_INFINITY || (high.re == f64::INFINITY && low.re < high.re) {
        high
    } else if low.re == f64::INFINITY {
        C128::new(low.re, f64::NAN)
    } else {
        high + complex::log1p(complex::exp(low - high))
    }
}

#[pymethods]
impl Tensor {
    /// Running sum along `dim`.
    ///
    /// Dtype: integers and bools are summed as int64, unless `dtype`, which may not be bool, says otherwise.
    #[pyo3(signature = (dim, *, dtype=None))]
    pub fn cumsum(&self, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
        let place = self.layout().dim("cumsum", dim)?;
        check_not_bool("cumsum", dtype)?;
        self.to_running(dtype)?.cumsum_as(place, dim, false)
    }

    /// Running product along `dim`.
    ///
    /// Dtype: integers and bools are multiplied as int64, unless `dtype` says otherwise.
    /// Derivative: exact with zeros in the input, too.
    #[pyo3(signature = (dim, *, dtype=None))]
    pub fn cumprod(&self, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
        let place = self.layout().dim("cumprod", dim)?;
        check_not_bool("cumprod", dtype)?;
        self.to_running(dtype)?.cumprod_as(place, dim, false)
    }

    /// Logarithm of the running sum of exponentials along `dim`.
    ///
    /// Dtype: float or complex.
    pub fn logcumsumexp(&self, dim: isize) -> Result<Tensor> {
        let place = self.layout().dim("logcumsumexp", dim)?;
        if !self.dtype().is_inexact() {
            return Err(Error::NotImplemented(format!("logcumsumexp: not implemented for '{}'", self.dtype().type_word())));
        }
        self.logcumsumexp_along(place, dim, false, false)
    }

    /// Largest element so far along `dim`, and the number of the last one that has it: a pair (values, indices).
    ///
    /// From a NaN on, all is NaN. Derivative: that of the element at the index.
    pub fn cummax(&self, dim: isize) -> Result<Pair> {
        self.cumulative_extreme::<Largest>("cummax", dim)
    }

    /// Smallest element so far along `dim`, and the number of the last one that has it: a pair (values, indices).
    ///
    /// From a NaN on, all is NaN. Derivative: that of the element at the index.
    pub fn cummin(&self, dim: isize) -> Result<Pair> {
        self.cumulative_extreme::<Smallest>("cummin", dim)
    }

    /// Product over `dim`, over everything if None.
    ///
    /// Dtype: integers and bools are multiplied as int64, unless `dtype` says otherwise.
    /// Derivative: exact with zeros in the input, too.
    #[pyo3(signature = (dim=Given(None), keepdim=Given(None), *, dtype=None))]
    pub fn prod(&self, dim: Given<isize>, keepdim: Given<bool>, dtype: Option<DType>) -> Result<Tensor> {
        let (dim, keepdim) = (dim.0, keepdim.0);
        if dim.is_none() && keepdim.is_some() {
            return Err(Error::Type("prod() takes keepdim only with a dim".into()));
        }
        let name = if dim.is_none() { "prod" } else { "prod.1" };
        self.to_running(dtype)?.product(name, dim, keepdim.unwrap_or(false))
    }
}
