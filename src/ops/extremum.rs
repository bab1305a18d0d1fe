//! Largest and smallest elements, and where they are.

use pyo3::prelude::*;

use super::arguments::{DimOrTensor, Dims, Extremum, Given, Pair};
use super::linalg::{Backward, record_saving};
use super::reduce::{Reduction, fold, fold_pair};
use crate::dtype::{Bool, DType, Element};
use crate::error::{Error, Result};
use crate::kernels::folds::{Best, Extreme, Largest, Order, Smallest};
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tape::{engine, is_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// A reduction that needs at least one element for each result.
fn check_not_empty(op: &str, r: &Reduction, dims_given: bool) -> Result<()> {
    if !dims_given && r.full.contains(&0) {
        return runtime_error!(
            "{op}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
        );
    }
    check_dims_not_empty(op, r)
}

pub(crate) fn check_dims_not_empty(op: &str, r: &Reduction) -> Result<()> {
    match r.dims.iter().find(|&&d| r.full[d] == 0) {
        Some(d) => Err(Error::Index(format!("{op}(): Expected reduction dim {d} to have non-zero size."))),
        None => Ok(()),
    }
}

impl Tensor {
    fn extreme<O: Order + 'static>(&self, op: &'static str, r: &Reduction) -> Result<Tensor> {
        crate::dispatch_ordered!(self.dtype(), op, T => fold(op, self, &r.dims, Extreme::<T, O>::default(), |acc| acc))
    }

    /// `amax` or `amin`: the gradient is shared evenly among the elements equal to the result.
    fn extreme_over<O: Order + 'static>(&self, op: &'static str, dim: &Dims, keepdim: bool) -> Result<Tensor> {
        let x = self;
        let r = Reduction::new(op, x, Some(dim), keepdim)?;
        check_not_empty(op, &r, !dim.is_empty())?;
        let y = r.finish(x.extreme::<O>(op, &r)?);
        let given = dim.0.clone();
        vjp!(op, y, { x: |g, y| share_in_dims(g, &x, y, &r) }, saves { dim: given, keepdim })
    }

    /// `max()` or `min()`.
    fn extreme_of_all<O: Order + 'static>(&self, op: &'static str, name: &'static str) -> Result<Tensor> {
        let x = self;
        let r = Reduction::new(op, x, None, false)?;
        check_not_empty(op, &r, false)?;
        let y = r.finish(x.extreme::<O>(op, &r)?);
        vjp!(name, y, { x: |g, y| g.share_evenly(&x, y) })
    }

    /// Value and number of the extreme element along a dim.
    fn extreme_along<O: Order + 'static>(&self, op: &'static str, dim: isize, keepdim: bool) -> Result<Pair> {
        let x = self.only_real_for(op)?;
        let r = Reduction::new(op, x, Some(&[dim]), keepdim)?;
        check_dims_not_empty(op, &r)?;
        let wide = x.wide()?;
        let (values, indices) = crate::dispatch_wide_ordered!(wide.dtype(), op, T =>
            fold_pair(op, &wide, &r.dims, Best::<T, O>::default(), |best| (best.value, best.number)))?;
        let (values, indices) = (r.finish(values.to_dtype(x.dtype())?), r.finish(indices));
        let (given, dim) = (dim, x.layout().dim(op, dim)?);
        let numbers = indices.save();
        let values = vjp!(op, values, { x: |g| g.unselect(dim, &numbers, &r.full, r.keepdim) }, saves {
            dim: given, keepdim
        })?;
        Ok(Pair::new(op, values, indices))
    }

    fn place_of_extreme<O: Order + 'static>(&self, op: &'static str, dim: Option<isize>, keepdim: bool) -> Result<Tensor> {
        let x = self.only_real_for(op)?;
        if x.dtype() == DType::Bool {
            return runtime_error!("{op}(): does not support bool input");
        }
        let dims = dim.map(|dim| Dims(smallvec::smallvec![dim]));
        let r = Reduction::new(op, x, dims.as_deref(), keepdim)?;
        if dim.is_none() && x.numel() == 0 {
            return Err(Error::Index(format!("{op}(): Expected reduction dim to be specified for input.numel() == 0.")));
        }
        check_dims_not_empty(op, &r)?;
        let wide = x.wide()?;
        let y = crate::dispatch_wide_ordered!(wide.dtype(), op, T => fold(op, &wide, &r.dims, Best::<T, O>::default(), |best| best.number))?;
        Ok(r.finish(y))
    }

    /// The gradient of a value that stands at several places, shared evenly among these; NaN counts as equal to NaN, but along tangents
    /// the derivative of NaN is NaN.
    pub(crate) fn share_evenly(&self, x: &Tensor, value: &Tensor) -> Result<Tensor> {
        let mask = equal_mask(x, value, !is_forward())?;
        let count = mask.sum(None, false, None)?;
        let share = (self / count)?.expand_to("expand", x.shape())?;
        if is_forward() { share * mask } else { share.zeroed_where(&mask.is_zero()?) }
    }
}

/// Where `x` equals `y`, which broadcasts to it, off the tape.
pub(crate) fn equal_mask(x: &Tensor, y: &Tensor, nan_equals_nan: bool) -> Result<Tensor> {
    let (x, y) = (x.detached_read()?, y.detached_read()?);
    crate::dispatch_all!(x.dtype(), "eq", T =>
    super::kernel::binary::<T, T, Bool>("eq", &x, &y, #[inline(always)] move |u: T, v: T| {
        Bool::from(u == v || (nan_equals_nan && u.is_nan() && v.is_nan()))
    }))
}

/// The gradient of extremes over dims; it is NaN where the result is.
fn share_in_dims(g: &Tensor, x: &Tensor, y: &Tensor, r: &Reduction) -> Result<Tensor> {
    let mask = equal_mask(x, &r.restore(y)?, false)?;
    let dims = Dims(r.dims.iter().map(|&d| d as isize).collect());
    let count = if dims.is_empty() { mask.clone() } else { mask.sum(Some(dims), true, None)? };
    (r.restore(g)? * &mask)? / count
}

/// The binary form, or the reduction.
#[allow(clippy::too_many_arguments)] // what Python was called with, and the three forms
fn max_or_min(
    x: &Tensor,
    op: &'static str,
    dim: Option<DimOrTensor>,
    keepdim: Option<bool>,
    other: Option<DimOrTensor>,
    all: impl Fn() -> Result<Tensor>,
    along: impl Fn(isize, bool) -> Result<Pair>,
    binary: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Extremum> {
    match (dim, keepdim, other) {
        (None, None, None) => all().map(Extremum::One),
        (Some(DimOrTensor::Dim(dim)), keepdim, None) => along(dim, keepdim.unwrap_or(false)).map(Extremum::Two),
        (Some(DimOrTensor::Tensor(other)), None, None) | (None, None, Some(DimOrTensor::Tensor(other))) => {
            binary(x, &other).map(Extremum::One)
        }
        _ => Err(Error::Type(format!("{op}() takes no arguments, or a dim (and keepdim), or another tensor"))),
    }
}

#[pymethods]
impl Tensor {
    /// Largest element; or, over a `dim`, the largest ones as a pair (values, indices); or, with another tensor, `maximum`.
    ///
    /// NaN counts as larger than any number. Indices are those of the first largest element.
    /// Derivative: without `dim` shared evenly among equal elements, with `dim` that of the element at the index.
    /// Raises: RuntimeError, or IndexError with `dim`, if there is no element.
    #[pyo3(signature = (dim=Given(None), keepdim=Given(None), *, other=None))]
    pub fn max(&self, dim: Given<DimOrTensor>, keepdim: Given<bool>, other: Option<DimOrTensor>) -> Result<Extremum> {
        let x = self;
        let all = || x.extreme_of_all::<Largest>("max", "max.1");
        max_or_min(
            x,
            "max",
            dim.0,
            keepdim.0,
            other,
            all,
            |dim, keepdim| x.extreme_along::<Largest>("max", dim, keepdim),
            Tensor::maximum,
        )
    }

    /// Smallest element; or, over a `dim`, the smallest ones as a pair (values, indices); or, with another tensor, `minimum`.
    ///
    /// NaN counts as smaller than any number. Indices are those of the first smallest element.
    /// Derivative: without `dim` shared evenly among equal elements, with `dim` that of the element at the index.
    /// Raises: RuntimeError, or IndexError with `dim`, if there is no element.
    #[pyo3(signature = (dim=Given(None), keepdim=Given(None), *, other=None))]
    pub fn min(&self, dim: Given<DimOrTensor>, keepdim: Given<bool>, other: Option<DimOrTensor>) -> Result<Extremum> {
        let x = self;
        let all = || x.extreme_of_all::<Smallest>("min", "min.1");
        max_or_min(
            x,
            "min",
            dim.0,
            keepdim.0,
            other,
            all,
            |dim, keepdim| x.extreme_along::<Smallest>("min", dim, keepdim),
            Tensor::minimum,
        )
    }

    /// Largest elements over dims, over everything if there are none; NaN if there is one.
    ///
    /// Derivative: shared evenly among equal elements.
    /// Raises: RuntimeError, or IndexError with `dim`, if there is no element.
    #[pyo3(name = "amax", signature = (dim=None, keepdim=false))]
    fn amax_method(&self, dim: Option<Dims>, keepdim: bool) -> Result<Tensor> {
        self.amax(dim.unwrap_or_default(), keepdim)
    }

    /// Smallest elements over dims, over everything if there are none; NaN if there is one.
    ///
    /// Derivative: shared evenly among equal elements.
    /// Raises: RuntimeError, or IndexError with `dim`, if there is no element.
    #[pyo3(name = "amin", signature = (dim=None, keepdim=false))]
    fn amin_method(&self, dim: Option<Dims>, keepdim: bool) -> Result<Tensor> {
        self.amin(dim.unwrap_or_default(), keepdim)
    }

    /// Number of the first largest element along `dim`; in the flattened tensor if None. The first NaN, if there is one.
    ///
    /// Raises: IndexError if there is no element, RuntimeError for bool.
    #[pyo3(signature = (dim=None, keepdim=false))]
    pub fn argmax(&self, dim: Option<isize>, keepdim: bool) -> Result<Tensor> {
        self.place_of_extreme::<Largest>("argmax", dim, keepdim)
    }

    /// Number of the first smallest element along `dim`; in the flattened tensor if None. The first NaN, if there is one.
    ///
    /// Raises: IndexError if there is no element, RuntimeError for bool.
    #[pyo3(signature = (dim=None, keepdim=false))]
    pub fn argmin(&self, dim: Option<isize>, keepdim: bool) -> Result<Tensor> {
        self.place_of_extreme::<Smallest>("argmin", dim, keepdim)
    }

    /// Smallest and largest elements, over `dim` or over everything, as a pair (min, max).
    ///
    /// Derivative: shared evenly among equal elements.
    /// Raises: RuntimeError, or IndexError with `dim`, if there is no element.
    #[pyo3(signature = (*, dim=None, keepdim=false))]
    pub fn aminmax(&self, dim: Option<isize>, keepdim: bool) -> Result<Pair> {
        let x = self.only_real_for("aminmax")?;
        let dims = dim.map(|dim| Dims(smallvec::smallvec![dim]));
        let r = Reduction::new("aminmax", x, dims.as_deref(), keepdim)?;
        if dim.is_none() && x.numel() == 0 {
            return runtime_error!("aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.");
        }
        check_dims_not_empty("aminmax", &r)?;
        let (low, high) = (x.extreme::<Smallest>("aminmax", &r)?, x.extreme::<Largest>("aminmax", &r)?);
        let outputs = [r.finish(low), r.finish(high)];
        let [first, second] = record_saving("aminmax", &[x], &[x], outputs, saves! { dim, keepdim }, move |it: Backward<'_>| {
            let of = |i: usize| it.g(i).map(|g| share_in_dims(g, &it.saved[0], &it.y[i], &r)).transpose();
            Ok(vec![engine::sum(of(0)?, of(1)?, is_recording())?])
        })?;
        Ok(Pair { name: "aminmax", first, second })
    }
}

impl Tensor {
    /// See `amax_method`.
    pub fn amax(&self, dim: Dims, keepdim: bool) -> Result<Tensor> {
        self.extreme_over::<Largest>("amax", &dim, keepdim)
    }
}

impl Tensor {
    /// See `amin_method`.
    pub fn amin(&self, dim: Dims, keepdim: bool) -> Result<Tensor> {
        self.extreme_over::<Smallest>("amin", &dim, keepdim)
    }
}
