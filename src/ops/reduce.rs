//! Sums, products and truth over dims, and what all reductions share.

use std::borrow::Cow;

use pyo3::prelude::*;
use smallvec::SmallVec;

use super::along::Target;
use super::arguments::{Dims, DimsGiven};
use crate::dtype::{Bool, C128, DType, Element, Number};
use crate::error::Result;
use crate::kernels::folds::{All, Any, CountNonzero, NanSum, Sum};
use crate::kernels::reduce::{self as kernels, Erased, Fold, Loop, Put};
use crate::kernels::without_interpreter;
use crate::layout::{Layout, Shape, Strides};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::numbers::Named;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// Which dims of a shape are reduced, and whether they stay with size 1.
#[derive(Clone)]
pub struct Reduction {
    /// The reduced dims, ascending.
    pub dims: SmallVec<[usize; 5]>,
    /// Whether they stay.
    pub keepdim: bool,
    /// The shape before.
    pub full: Shape,
}

impl Reduction {
    /// Over the dims given; over all for `None` and an empty list.
    pub fn new(op: &'static str, x: &Tensor, dims: Option<&[isize]>, keepdim: bool) -> Result<Reduction> {
        Ok(Reduction { dims: x.layout().dims(op, dims)?, keepdim, full: x.shape().into() })
    }

    /// Over the dims given, over all for `None`, and over none for an empty list.
    pub fn literal(op: &'static str, x: &Tensor, dims: Option<&[isize]>, keepdim: bool) -> Result<Reduction> {
        let mut reduction = Reduction::new(op, x, dims, keepdim)?;
        if dims.is_some_and(<[isize]>::is_empty) {
            reduction.dims.clear();
        }
        Ok(reduction)
    }

    /// How many elements become one.
    pub fn count(&self) -> usize {
        self.dims.iter().map(|&d| self.full[d]).product()
    }

    /// A fresh result, which has the reduced dims with size 1, in the shape that was asked for. Not recorded.
    pub fn finish(&self, y: Tensor) -> Tensor {
        if self.keepdim || self.dims.is_empty() {
            return y;
        }
        if self.dims.len() == y.rank() {
            return y.into_layout(Layout::contiguous(&[]));
        }
        let kept = || (0..y.rank()).filter(|d| !self.dims.contains(d));
        let layout = Layout {
            shape: kept().map(|d| y.shape()[d]).collect(),
            strides: kept().map(|d| y.strides()[d]).collect(),
            offset: y.layout().offset,
        };
        y.into_layout(layout)
    }

    /// A result or its gradient with the reduced dims at size 1, or without dims, so that it broadcasts to the shape before.
    pub fn restore(&self, g: &Tensor) -> Result<Tensor> {
        if self.keepdim || g.rank() == 0 { Ok(g.clone()) } else { g.view_as_shape(&reduced_shape(&self.full, &self.dims)) }
    }

    /// The gradient of a result, spread over the shape before.
    pub fn spread(&self, g: &Tensor) -> Result<Tensor> {
        self.restore(g)?.expand_to("expand", &self.full)
    }
}

/// Dims as the user has given them.
type Given<'a> = Option<&'a [isize]>;

/// What a sum or a mean saves: nothing if it is over everything.
fn over(name: &'static str, dims: Given<'_>, keepdim: bool) -> impl Fn() -> Named + Clone + Send + Sync + use<> {
    let dims = dims.map(Strides::from_slice);
    move || match name {
        "sum" | "mean" => Named::new(),
        _ => saves! { dim: dims.clone(), keepdim }(),
    }
}

/// Folds the reduced dims of `x`; the result keeps them with size 1. `finish` turns a partial result into an element.
pub fn fold<F: Fold, U: Element>(
    op: &'static str,
    x: &Tensor,
    dims: &[usize],
    fold: F,
    finish: impl Fn(F::Acc) -> U + Sync,
) -> Result<Tensor> {
    let y = Tensor::uninitialized(op, &reduced_shape(x.shape(), dims), U::DTYPE)?;
    let to = Target::<U>::of(&y);
    fold_into(x, dims, &fold, &[&y], &|acc, first, places| {
        for i in 0..places.size {
            // SAFETY: as many results as places, each of which is written once.
            unsafe { to.set(first + i * places.to, finish(acc.cast::<F::Acc>().add(i).read())) }
        }
    })?;
    Ok(y)
}

/// The same with two outputs.
pub fn fold_pair<F: Fold, U: Element, V: Element>(
    op: &'static str,
    x: &Tensor,
    dims: &[usize],
    fold: F,
    finish: impl Fn(F::Acc) -> (U, V) + Sync,
) -> Result<(Tensor, Tensor)> {
    let shape = reduced_shape(x.shape(), dims);
    let (y, z) = (Tensor::uninitialized(op, &shape, U::DTYPE)?, Tensor::uninitialized(op, &shape, V::DTYPE)?);
    let (first_to, second_to) = (Target::<U>::of(&y), Target::<V>::of(&z));
    fold_into(x, dims, &fold, &[&y, &z], &|acc, first, places| {
        for i in 0..places.size {
            // SAFETY: as above.
            unsafe {
                let (u, v) = finish(acc.cast::<F::Acc>().add(i).read());
                first_to.set(first + i * places.to, u);
                second_to.set(first + i * places.to, v);
            }
        }
    })?;
    Ok((y, z))
}

/// The shape with the reduced dims at size 1.
pub fn reduced_shape(shape: &[usize], dims: &[usize]) -> Shape {
    let mut reduced = Shape::from_slice(shape);
    dims.iter().for_each(|&d| reduced[d] = 1);
    reduced
}

/// Folds into fresh contiguous outputs, to which `put` writes; `x` must be of the dtype that is folded.
fn fold_into(x: &Tensor, dims: &[usize], fold: &dyn Erased, outputs: &[&Tensor], put: Put<'_>) -> Result<()> {
    x.check_saved()?;
    outputs.iter().for_each(|y| y.note_sample_of(x.sample_of()));
    let steps = outputs[0].strides();
    let (mut kept, mut reduced) = (SmallVec::<[Loop; 5]>::new(), SmallVec::<[Loop; 5]>::new());
    if dims.len() == x.rank() && x.is_contiguous() {
        reduced.push(Loop { size: x.numel(), from: fold.unit(), to: 0 });
    } else {
        for (d, (&size, &stride)) in x.shape().iter().zip(x.strides()).enumerate() {
            let from = stride * fold.unit();
            if dims.contains(&d) {
                reduced.push(Loop { size, from, to: 0 });
            } else {
                kept.push(Loop { size, from, to: steps[d] as usize });
            }
        }
    }
    let mut written = [outputs[0].storage(); 2];
    outputs.iter().zip(&mut written).for_each(|(y, place)| *place = y.storage());
    let _access = Access::new(&[x.storage()], &written[..outputs.len()]);
    // SAFETY: x is locked for reading and valid for its layout; places are those of the outputs' elements.
    without_interpreter(x.numel(), || unsafe { kernels::reduce(x.byte_ptr(), &kept, &reduced, fold, put) });
    Ok(())
}

impl Tensor {
    /// The sum of a reduction in a dtype that is the input's own, or int64 for integers.
    fn sum_of(&self, r: &Reduction, name: &'static str, dims: Given<'_>) -> Result<Tensor> {
        let x = self;
        let wide = x.wide()?;
        let y = if x.dtype().is_float() {
            crate::dispatch_floats!(x.dtype(), "sum", T => fold("sum", x, &r.dims, Sum::<T, T>::default(), |acc| acc))?
        } else if x.dtype().is_complex() {
            fold("sum", &wide, &r.dims, Sum::<C128, C128>::default(), |acc| acc)?.to_dtype(x.dtype())?
        } else {
            crate::dispatch!(wide.dtype(), "sum", T in [i64, Bool] => fold("sum", &wide, &r.dims, Sum::<T, i64>::default(), |acc| acc))?
        };
        let r = r.clone();
        vjp!(name, r.finish(y), { x: |g| r.spread(g) }, saves { ..over(name, dims, r.keepdim) })
    }

    /// Sum over the dims by which this shape is larger than `shape`, which must broadcast to it.
    pub fn sum_to_shape(&self, shape: &[usize]) -> Result<Tensor> {
        let lead = self.rank().saturating_sub(shape.len());
        let dims: SmallVec<[usize; 5]> =
            (0..self.rank()).filter(|&d| d < lead || (shape[d - lead] == 1 && self.shape()[d] != 1)).collect();
        if dims.is_empty() {
            return Ok(self.clone());
        }
        if shape.is_empty() {
            return self.sum(None, false, None);
        }
        let given: Strides = dims.iter().map(|&dim| dim as isize).collect();
        let r = Reduction { dims, keepdim: true, full: self.shape().into() };
        self.sum_of(&r, "sum.1", Some(&given))?.view_as_shape(shape)
    }

    /// The answer of "all" or "any": bytes stay bytes.
    fn truth(&self, y: Tensor) -> Result<Tensor> {
        if self.dtype() == DType::U8 { y.to_dtype(DType::U8) } else { Ok(y) }
    }

    /// This tensor with zeros where the mask, a bool of the same shape, is true.
    pub(crate) fn zeroed_where(&self, mask: &Tensor) -> Result<Tensor> {
        let x = self;
        let y = crate::dispatch_inexact!(x.dtype(), "masked_fill", T =>
            super::kernel::binary::<T, Bool, T>("masked_fill", x, mask, #[inline(always)] |v, m| if m.get() { T::ZERO } else { v }))?;
        let mask = mask.detached(false);
        vjp!("masked_fill", y, { x: |g| g.zeroed_where(&mask) })
    }

    /// See `sum_method`.
    pub fn sum(&self, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        let r = Reduction::new("sum", self, dim.as_deref(), keepdim)?;
        let name = if dim.is_none() && !keepdim { "sum" } else { "sum.1" };
        let given = dim.as_deref();
        match dtype {
            Some(dtype) if !dtype.is_inexact() => self.sum_of_ints(&r, dtype),
            Some(dtype) if dtype != self.dtype() => {
                let x = self;
                let y = without_recording(|| x.to_dtype(dtype)?.sum_of(&r, name, None))?;
                vjp!(name, y, { x: |g| r.spread(g) }, saves { ..over(name, given, keepdim) })
            }
            _ => self.sum_of(&r, name, given),
        }
    }

    /// See `mean_method`.
    pub fn mean(&self, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        check_float("mean", if dtype.is_some() { "Optional" } else { "Input" }, dtype.unwrap_or(self.dtype()))?;
        let x = self;
        let wide = match dtype {
            Some(dtype) if dtype != x.dtype() => without_recording(|| x.to_dtype(dtype))?,
            _ => x.clone(),
        };
        let r = Reduction::new("mean", x, dim.as_deref(), keepdim)?;
        let count = r.count() as f64;
        let y = if wide.dtype().is_complex() {
            fold("mean", &*wide.wide()?, &r.dims, Sum::<C128, C128>::default(), move |acc| acc / count)?.to_dtype(wide.dtype())?
        } else {
            crate::dispatch_floats!(wide.dtype(), "mean", T =>
                fold("mean", &wide, &r.dims, Sum::<T, T>::default(), move |acc| acc / count as T))?
        };
        let name = if dim.is_none() && !keepdim { "mean" } else { "mean.1" };
        let given = dim.as_deref();
        vjp!(name, r.finish(y), { x: |g| r.spread(&(g / count)?) }, saves { ..over(name, given, keepdim) })
    }
}

/// The mean of integers has no dtype.
pub(crate) fn check_float(op: &str, what: &str, dtype: DType) -> Result<()> {
    if dtype.is_inexact() {
        return Ok(());
    }
    runtime_error!(
        "{op}(): could not infer output dtype. {what} dtype must be either a floating point or complex dtype. Got: {}",
        dtype.type_word()
    )
}

#[pymethods]
impl Tensor {
    /// Sum over `dim`, over everything if None.
    ///
    /// Dtype: integers and bools are summed as int64, unless `dtype` says otherwise.
    /// Raises: IndexError if a dim is out of range.
    #[pyo3(name = "sum", signature = (dim=DimsGiven(None), keepdim=None, *, dtype=None))]
    fn sum_method(&self, dim: DimsGiven, keepdim: Option<bool>, dtype: Option<DType>) -> Result<Tensor> {
        self.sum(dim.needed_by("sum", keepdim)?, keepdim.unwrap_or(false), dtype)
    }

    /// Arithmetic mean over `dim`, over everything if None; NaN for no elements.
    ///
    /// Dtype: float, or any with a float `dtype`, in which it is then computed.
    /// Raises: RuntimeError for integers without a float `dtype`.
    #[pyo3(name = "mean", signature = (dim=DimsGiven(None), keepdim=None, *, dtype=None))]
    fn mean_method(&self, dim: DimsGiven, keepdim: Option<bool>, dtype: Option<DType>) -> Result<Tensor> {
        self.mean(dim.needed_by("mean", keepdim)?, keepdim.unwrap_or(false), dtype)
    }

    /// Sum over `dim` with NaN as zero, over everything if None.
    ///
    /// Dtype: as `sum`. Derivative: 0 where the input is NaN.
    #[pyo3(signature = (dim=None, keepdim=false, *, dtype=None))]
    pub fn nansum(&self, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        self.only_real_for("nansum")?;
        if !self.dtype().is_float() {
            return self.sum(dim, keepdim, dtype);
        }
        let x = self.to_dtype(dtype.unwrap_or(self.dtype()))?;
        let r = Reduction::new("nansum", &x, dim.as_deref(), keepdim)?;
        if !x.dtype().is_float() {
            return x.sum_of_ints(&r, x.dtype());
        }
        let y =
            crate::dispatch_floats!(x.dtype(), "nansum", T => fold("nansum", &x, &r.dims, NanSum::<T, T>::default(), |acc| acc))?;
        let given = dim.map(|dims| dims.0);
        vjp!("nansum", r.finish(y), { x: |g| r.spread(g)?.zeroed_where(&x.nan_mask()?) }, saves { dim: given, keepdim })
    }

    /// Mean over `dim` of what is not NaN, over everything if None.
    ///
    /// Dtype: float.
    #[pyo3(signature = (dim=None, keepdim=false, *, dtype=None))]
    pub fn nanmean(&self, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        self.only_real_for("nanmean")?;
        if !self.dtype().is_float() {
            return runtime_error!(
                "nanmean(): expected input to have floating point or complex dtype but got {}",
                self.dtype().type_word()
            );
        }
        let count = self.detached(false).nan_mask()?.is_zero()?.sum(dim.clone(), keepdim, None)?;
        self.nansum(dim, keepdim, dtype)? / count
    }

    /// Whether all elements are true (not zero) over `dim`, over everything if None.
    ///
    /// Dtype: bool; uint8 for uint8.
    #[pyo3(signature = (dim=None, keepdim=false))]
    pub fn all(&self, dim: Option<Dims>, keepdim: bool) -> Result<Tensor> {
        let r = Reduction::literal("all", self, dim.as_deref(), keepdim)?;
        let truths = self.truths()?;
        self.truth(r.finish(fold("all", &truths, &r.dims, All::<Bool>::default(), Bool::from)?))
    }

    /// Whether an element is true (not zero) over `dim`, over everything if None.
    ///
    /// Dtype: bool; uint8 for uint8.
    #[pyo3(signature = (dim=None, keepdim=false))]
    pub fn any(&self, dim: Option<Dims>, keepdim: bool) -> Result<Tensor> {
        let r = Reduction::literal("any", self, dim.as_deref(), keepdim)?;
        let truths = self.truths()?;
        self.truth(r.finish(fold("any", &truths, &r.dims, Any::<Bool>::default(), Bool::from)?))
    }

    /// Sum over the dims by which this shape is larger than a shape that broadcasts to it; the tensor itself if there are none.
    ///
    /// Raises: RuntimeError if `size` does not broadcast to the shape.
    #[pyo3(signature = (*size))]
    fn sum_to_size<'py>(slf: Bound<'py, Self>, size: Dims) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        let shape: Shape = size.iter().map(|&n| n.max(0) as usize).collect();
        let broadcasts = shape.len() <= x.rank() && size.iter().all(|&n| n >= 0);
        if !broadcasts || !crate::layout::broadcast_shapes("sum_to_size", &shape, x.shape()).is_ok_and(|s| *s == *x.shape()) {
            runtime_error!("sum_to_size: size {:?} is not expandable to size {:?}", &*size, x.shape())?;
        }
        match &*shape {
            // Here no dims at all are a sum also of a single number.
            [] => Bound::new(slf.py(), x.sum(None, false, None)?),
            same if same == x.shape() => Ok(slf),
            smaller => Bound::new(slf.py(), x.sum_to_shape(smaller)?),
        }
    }

    /// How many elements are not zero over `dim`, over everything if None.
    ///
    /// Dtype: int64.
    #[pyo3(signature = (dim=None))]
    pub fn count_nonzero(&self, dim: Option<Dims>) -> Result<Tensor> {
        let x = self;
        let r = Reduction::new("count_nonzero", x, dim.as_deref(), false)?;
        let wide = x.wide()?;
        let y = crate::dispatch_wide!(wide.dtype(), "count_nonzero", T =>
            fold("count_nonzero", &wide, &r.dims, CountNonzero::<T>::default(), |acc| acc))?;
        Ok(r.finish(y))
    }
}

impl Tensor {
    /// A sum in an integer dtype, which has no derivative.
    fn sum_of_ints(&self, r: &Reduction, dtype: DType) -> Result<Tensor> {
        let x = self.detached(false).to_dtype(dtype)?;
        if dtype == DType::Bool {
            return Ok(r.finish(fold("sum", &x, &r.dims, Any::<Bool>::default(), Bool::from)?));
        }
        // Sums that wrap in 64 bits have the right lower bits.
        x.sum_of(r, "sum", None)?.to_dtype(dtype)
    }

    /// Where the elements are NaN, off the tape.
    pub(crate) fn nan_mask(&self) -> Result<Tensor> {
        if !self.dtype().is_inexact() {
            return self.same_throughout("isnan", false);
        }
        crate::dispatch_inexact!(self.dtype(), "isnan", T =>
            super::kernel::unary::<T, Bool>("isnan", self, #[inline(always)] |v: T| Bool::from(v.is_nan())))
    }

    /// Where the elements are not zero, off the tape.
    fn truths(&self) -> Result<Cow<'_, Tensor>> {
        if self.dtype() == DType::Bool {
            return Ok(Cow::Borrowed(self));
        }
        self.detached_read()?.to_dtype(DType::Bool).map(Cow::Owned)
    }

    /// Where the elements are zero, off the tape.
    pub(crate) fn is_zero(&self) -> Result<Tensor> {
        crate::dispatch_all!(self.dtype(), "eq", T =>
            super::kernel::unary::<T, Bool>("eq", self, #[inline(always)] |v: T| Bool::from(!v.truth())))
    }
}
