//! An index for each element along one dim: `gather`, `scatter` and the reductions into places.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments::Operand;
use super::kernel::binary;
use super::places::{by_size, checked_places};
use crate::dtype::{DType, Element, Number, Ordered, Scalar};
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::kernels::{gather, without_interpreter};
use crate::layout::{Shape, normalize_dim};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::mode::is_forward;
use crate::tape::sample::made_of;
use crate::tape::view::in_place;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// A checked index along a dim.
#[derive(Clone)]
pub(crate) struct Along {
    dim: usize,
    /// The shape of the index, with as many dims as the tensor (at least one).
    shape: Shape,
    places: Arc<[i64]>,
    /// The dim as the user has given it.
    given: isize,
    /// The user's tensor that they were read from.
    source: Tensor,
}

/// How values that come to the same place are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduce {
    Sum,
    Prod,
    Mean,
    Max,
    Min,
}

impl Reduce {
    pub(crate) fn parse(op: &str, name: &str) -> Result<Reduce> {
        Ok(match name {
            "sum" => Reduce::Sum,
            "prod" => Reduce::Prod,
            "mean" => Reduce::Mean,
            "amax" => Reduce::Max,
            "amin" => Reduce::Min,
            _ => return runtime_error!("{op}: reduce argument must be either sum, prod, mean, amax or amin, got {name}"),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Reduce::Sum => "sum",
            Reduce::Prod => "prod",
            Reduce::Mean => "mean",
            Reduce::Max => "amax",
            Reduce::Min => "amin",
        }
    }

    fn start<T: Ordered>(self) -> T {
        match self {
            Reduce::Sum | Reduce::Mean => T::ZERO,
            Reduce::Prod => T::ONE,
            Reduce::Max => T::LOWEST,
            Reduce::Min => T::HIGHEST,
        }
    }
}

impl Along {
    /// Checks an index for `gather` and `scatter` against the tensor's shape.
    fn new(op: &str, x: &Tensor, dim: isize, index: &Tensor) -> Result<Along> {
        let (given, dim) = (dim, normalize_dim("gather", dim, x.rank())?);
        if index.numel() == 0 {
            return Ok(Along { dim, shape: Shape::from_slice(&[0]), places: Arc::new([]), given, source: index.kept() });
        }
        index.check_index(op)?;
        if index.rank().max(1) != x.rank().max(1) {
            return runtime_error!("{op}: Index tensor must have the same number of dimensions as input tensor");
        }
        let (sizes, shape) = (at_least_1d(x.shape()), at_least_1d(index.shape()));
        if let Some(d) = (0..shape.len()).find(|&d| d != dim && shape[d] > sizes[d]) {
            return runtime_error!(
                "{op}: Size does not match at dimension {d} expected index {shape:?} to be no larger than self {sizes:?} apart from \
                 dimension {dim}"
            );
        }
        Ok(Along { dim, places: checked_places(op, dim, sizes[dim], index)?.into(), shape, given, source: index.kept() })
    }

    /// One index vector, which was read from `source`, the same everywhere else.
    pub(crate) fn vector(dim: usize, given: isize, places: &[i64], shape: &[usize], source: &Tensor) -> Along {
        let inner: usize = shape[dim + 1..].iter().product();
        let outer: usize = shape[..dim].iter().product();
        let block = places.iter().flat_map(|&place| std::iter::repeat_n(place, inner));
        let places = (0..outer).flat_map(|_| block.clone()).collect();
        Along { dim, shape: shape.into(), places, given, source: source.kept() }
    }

    /// For a rule, which must fail if the index has been written to meanwhile.
    fn save(&self) -> Along {
        Along { source: self.source.save(), ..self.clone() }
    }
}

/// A shape, with one dim at least.
pub(crate) fn at_least_1d(shape: &[usize]) -> Shape {
    if shape.is_empty() { Shape::from_slice(&[1]) } else { shape.into() }
}

impl Tensor {
    /// With one dim at least.
    fn at_least_1d(&self) -> Result<Tensor> {
        if self.rank() == 0 { self.view_as_shape(&[1]) } else { Ok(self.clone()) }
    }

    /// A 0-d tensor counts as one of one place.
    fn byte_strides(&self) -> Vec<isize> {
        if self.rank() == 0 {
            return vec![0];
        }
        self.strides().iter().map(|&stride| stride * self.dtype().size() as isize).collect()
    }

    /// What a checked index names.
    fn gathered_along(&self, along: &Along) -> Result<Tensor> {
        let x = self;
        x.check_saved()?;
        along.source.check_saved()?;
        let y = Tensor::uninitialized("gather", &along.shape, x.dtype())?;
        {
            let strides = x.byte_strides();
            let kernel = gather::Along { shape: &along.shape, dim: along.dim, strides: &strides, index: &along.places };
            let _access = Access::new(&[x.storage()], &[]);
            let (from, to) = (x.byte_ptr() as usize, y.byte_ptr() as usize);
            // SAFETY: x is locked, y fresh and of the index's shape; the index has been checked.
            without_interpreter(y.numel(), || unsafe {
                by_size!(x.dtype(), W => gather::take_along::<W>(to as *mut W, from as *const W, &kernel));
            });
        }
        let (along, shape, given) = (along.save(), Shape::from_slice(x.shape()), along.given);
        let dtype = x.dtype();
        let y = vjp!("gather", y, { x: |g| {
            Tensor::zeroed("gather", &shape, dtype)?.scattered_along("scatter_add", &along, g, true)
        } }, saves { dim: given, sparse_grad: false })?;
        Ok(y.watching(&[x]))
    }

    /// Runs `f(old, value)` over the places of this memory that a checked index names.
    fn put_along<T: Number>(&self, along: &Along, values: &Tensor, f: impl Fn(T, T) -> T + Send) -> Result<()> {
        let y = self;
        let values = without_recording(|| {
            let values = values.detached(false).to_dtype(y.dtype())?.expand_to("scatter", &along.shape)?;
            if values.storage().same(y.storage()) { values.contiguous()?.copied() } else { values.contiguous() }
        })?;
        let strides = y.byte_strides();
        let kernel = gather::Along { shape: &along.shape, dim: along.dim, strides: &strides, index: &along.places };
        let _access = Access::new(&[values.storage()], &[y.storage()]);
        let (to, from) = (y.byte_ptr() as usize, values.byte_ptr() as usize);
        // SAFETY: both are locked and different memory; the index has been checked.
        without_interpreter(values.numel(), || unsafe {
            gather::put_along::<T>(to as *mut T, from as *const T, &kernel, f);
        });
        Ok(())
    }

    /// A copy with values, of the index's shape or 0-d, at the places of a checked index, or added to what is there.
    fn scattered_along(&self, op: &'static str, along: &Along, values: &Tensor, add: bool) -> Result<Tensor> {
        let x = self;
        along.source.check_saved()?;
        let y = x.own_contiguous_copy()?;
        crate::dispatch_all!(y.dtype(), op, T => if add {
            y.put_along::<T>(along, values, |old, value| old.add(value))
        } else {
            y.put_along::<T>(along, values, |_, value| value)
        })?;
        let (given, along) = (along.given, along.save());
        if add {
            return vjp!(op, y, { x: |g| Ok(g.clone()), values: |g| g.gathered_along(&along) }, saves { dim: given });
        }
        let (along2, dtype) = (along.clone(), x.dtype());
        vjp!(op, y, {
            x: |g| g.scattered_along(op, &along, &Tensor::zeroed(op, &[], dtype)?, false),
            values: |g| {
                let part = g.gathered_along(&along2)?;
                // Along tangents a place has but the value written last.
                if !is_forward() {
                    return Ok(part);
                }
                part.where_last(|numbers| {
                    let y = Tensor::zeroed(op, g.shape(), DType::I64)?;
                    y.scattered_along(op, &along2, numbers, false)?.gathered_along(&along2)
                })
            }
        }, saves { dim: given })
    }

    /// A copy with values of the index's shape joined to what is at the places of a checked index.
    pub(crate) fn reduced_along(
        &self,
        op: &'static str,
        along: &Along,
        values: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<Tensor> {
        let x = self;
        if x.dtype() == DType::Bool && reduce == Reduce::Mean && values.numel() > 0 {
            return Err(Error::NotImplemented(format!("{op}: mean is not implemented for 'Bool'")));
        }
        let y = x.own_contiguous_copy()?;
        if y.dtype().is_complex() && op == "scatter_reduce" {
            if crate::tape::is_recording() && (x.requires_grad() || values.requires_grad()) {
                return runtime_error!("{op} does not support automatic differentiation for outputs with complex dtype.");
            }
            return y.complex_reduced(op, along, values, reduce, include_self);
        }
        let y = crate::dispatch_ordered!(y.dtype(), op, T => y.reduce_into::<T>(along, values, reduce, include_self))?;
        let (given, along) = (along.given, along.save());
        let along2 = along.clone();
        vjp!(op, y, {
            x: |g, y| {
                let grad = reduced_backward(g, y, &x, &values, &along, reduce, include_self)?.0;
                let zero = Tensor::zeroed(op, &[], g.dtype())?;
                if include_self { Ok(grad) } else { grad.scattered_along("scatter", &along, &zero, false) }
            },
            values: |g, y| Ok(reduced_backward(g, y, &x, &values, &along2, reduce, include_self)?.1)
        }, saves { dim: given, reduce: reduce.name(), include_self })
        .map(|y| y.watching(&[x, values]).watching_itself())
    }

    /// The work of [`Tensor::reduced_along`] on this memory, of complex numbers.
    fn complex_reduced(
        &self,
        op: &'static str,
        along: &Along,
        values: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<Tensor> {
        let y = self;
        let product = match reduce {
            Reduce::Sum | Reduce::Mean => false,
            Reduce::Prod => true,
            Reduce::Max | Reduce::Min => return Err(Error::NotImplemented(format!("{op}: complex numbers have no order"))),
        };
        crate::dispatch_all!(y.dtype(), op, T => {
            if !include_self {
                let start = T::from_i64(i64::from(product));
                y.put_along::<T>(along, values, move |_, _| start)?;
            }
            y.put_along::<T>(along, values, move |old, value| if product { old.mul(value) } else { old.add(value) })
        })?;
        if reduce != Reduce::Mean {
            return Ok(y.clone());
        }
        let counts = Tensor::from_scalar(Scalar::Int(i64::from(include_self)), y.dtype())?.expand_to(op, y.shape())?.copied()?;
        let one = Tensor::from_scalar(Scalar::Int(1), y.dtype())?;
        let counts = counts.scattered_along("scatter_add", along, &one.expand_to(op, &along.shape)?, true)?;
        // Of places to which nothing comes, the value stays.
        y.div(&counts.filled_where(op, &counts.eq(Scalar::Int(0).into())?, &one)?)
    }

    /// The work of [`Tensor::reduced_along`] on this memory.
    fn reduce_into<T: Ordered>(&self, along: &Along, values: &Tensor, reduce: Reduce, include_self: bool) -> Result<Tensor> {
        let y = self;
        if !include_self {
            y.put_along::<T>(along, values, move |_, _| reduce.start())?;
        }
        y.put_along::<T>(along, values, move |old, value| match reduce {
            Reduce::Sum | Reduce::Mean => old.add(value),
            Reduce::Prod => old.mul(value),
            Reduce::Max => old.max(value),
            Reduce::Min => old.min(value),
        })?;
        if reduce != Reduce::Mean {
            return Ok(y.clone());
        }
        let counts = Tensor::zeroed("scatter_reduce", y.shape(), DType::I64)?;
        let ones = Tensor::from_scalar(Scalar::Int(1), DType::I64)?;
        counts.put_along::<i64>(along, &ones, |old, value| old + value)?;
        let extra = i64::from(include_self);
        binary::<T, i64, T>(
            "scatter_reduce",
            y,
            &counts,
            #[inline(always)]
            move |sum, count| {
                let count = Ord::max(count + extra, 1);
                if T::DTYPE.is_float() {
                    T::from_f64(sum.to_f64() / count as f64)
                } else {
                    T::from_i64(sum.to_i64().div_euclid(count))
                }
            },
        )
    }

    /// One where the elements of both are equal, else zero, in this dtype.
    fn same_as(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self.detached(false), other.detached(false));
        crate::dispatch_floats!(a.dtype(), "eq", T => binary::<T, T, T>("eq", &a, &b, #[inline(always)] |u, v| if u == v { 1.0 } else { 0.0 }))
    }

    /// With a constant where `mask` is one.
    fn but_where(&self, mask: &Tensor, constant: f64) -> Result<Tensor> {
        let mask = mask.to_dtype(DType::Bool)?;
        self.filled_where("masked_fill", &mask, &Tensor::from_scalar(Scalar::Float(constant), self.dtype())?)
    }
}

/// The gradients of `reduced_along` for the tensor (before places that are overwritten are cleared) and for the values.
fn reduced_backward(
    g: &Tensor,
    y: &Tensor,
    x: &Tensor,
    values: &Tensor,
    along: &Along,
    reduce: Reduce,
    include_self: bool,
) -> Result<(Tensor, Tensor)> {
    along.source.check_saved()?;
    let values = &values.at_least_1d()?;
    let zeros = || Tensor::zeroed("scatter_reduce", x.shape(), x.dtype());
    let ones = || Tensor::from_scalar(Scalar::Float(1.0), x.dtype());
    let none = Tensor::from_scalar(Scalar::Float(0.0), x.dtype())?;
    match reduce {
        Reduce::Sum => Ok((g.clone(), g.gathered_along(along)?)),
        Reduce::Mean => {
            let start = if include_self { ones()?.expand_to("scatter_reduce", x.shape())? } else { zeros()? };
            let count = start.scattered_along("scatter_add", along, &ones()?.expand_to("scatter_reduce", &along.shape)?, true)?;
            let count = count.but_where(&count.same_as(&none)?, 1.0)?;
            let share = (g / &count)?;
            Ok((share.clone(), share.gathered_along(along)?))
        }
        Reduce::Max | Reduce::Min => {
            let (own, theirs) = (x.same_as(y)?, values.same_as(&y.gathered_along(along)?)?);
            let mut count = own.scattered_along("scatter_add", along, &theirs, true)?;
            if is_forward() && !include_self {
                // Along tangents, what does not count is no tie.
                let rest = own.scattered_along("scatter", along, &none, false)?;
                count = rest.scattered_along("scatter_add", along, &theirs, true)?;
            }
            // Ties share the gradient; nothing is equal where the result is NaN.
            let share = (g / &count)?;
            Ok(((&own * &share)?, (&theirs * share.gathered_along(along))?))
        }
        Reduce::Prod => {
            let nonzero = x.but_where(&x.same_as(&none)?, 1.0)?;
            let rest = nonzero.reduced_along("scatter_reduce", along, values, reduce, include_self)?;
            let of_self = ((g * &rest)? / &nonzero)?;
            let is_zero = values.same_as(&none)?;
            let zero_count = zeros()?.scattered_along("scatter_add", along, &is_zero, true)?.gathered_along(along)?;
            // Where just one value is zero, its derivative is the product of the others.
            let alone = (&is_zero * &zero_count.same_as(&ones()?)?)?;
            let without = x.reduced_along("scatter_reduce", along, &values.but_where(&alone, 1.0)?, reduce, include_self)?;
            let if_alone = (g * &without)?.gathered_along(along)?;
            let usual = ((g * y)?.gathered_along(along)? / &values.but_where(&is_zero, 1.0)?)?;
            let others = usual.but_where(&alone, 0.0)?;
            Ok((of_self, (&others + &(&if_alone * &alone)?)?))
        }
    }
}

impl Tensor {
    /// The leading part of each dim, as large as an index.
    fn shrunk_to(&self, op: &str, shape: &[usize]) -> Result<Tensor> {
        let sizes = at_least_1d(self.shape());
        if sizes.len() != shape.len() || sizes.iter().zip(shape).any(|(have, want)| have < want) {
            return runtime_error!("{op}: Expected index {shape:?} to be no larger size than src {:?}", self.shape());
        }
        let mut x = self.clone();
        for (d, &size) in shape.iter().enumerate() {
            if sizes[d] != size {
                x = x.slice_at(d, 0, size, 1)?;
            }
        }
        Ok(x)
    }

    /// What all kinds of `scatter` share: empty indices, sources that are too large.
    fn scatter_by(
        &self,
        op: &'static str,
        dim: isize,
        index: &Tensor,
        src: &Operand,
        f: impl FnOnce(&Tensor, &Along, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if let Operand::Tensor(src) = src
            && src.dtype() != self.dtype()
        {
            return runtime_error!("{op}: Expected self.dtype to be equal to src.dtype");
        }
        let _of = made_of([index]);
        let along = Along::new(op, self, dim, index)?;
        if along.places.is_empty() {
            return self.clone_in(super::arguments::MemoryFormat::Preserve);
        }
        let values = match src {
            Operand::Number(value) => Tensor::from_scalar(value.for_use_with("scatter", self.dtype())?, self.dtype())?,
            Operand::Tensor(src) => src.shrunk_to(op, &along.shape)?,
        };
        f(self, &along, &values)
    }
}

#[pymethods]
impl Tensor {
    /// For each element of `index`, what is at that place of `dim`: `y[i, j] = x[index[i, j], j]` for `dim=0`.
    ///
    /// Shape: that of `index`, which must not be larger than this tensor but in `dim`.
    /// Raises: RuntimeError for places out of range (negative ones are).
    #[pyo3(signature = (dim, index, *, sparse_grad=false))]
    pub fn gather(&self, dim: isize, index: &Tensor, sparse_grad: bool) -> Result<Tensor> {
        if sparse_grad {
            return Err(Error::NotImplemented("gather: sparse gradients are not supported".into()));
        }
        let _of = made_of([index]);
        let along = Along::new("gather", self, dim, index)?;
        if along.places.is_empty() {
            let y = Tensor::uninitialized("gather", index.shape(), self.dtype())?;
            let x = self;
            let (shape, dtype): (Shape, DType) = (x.shape().into(), x.dtype());
            let along = along.save();
            return vjp!("gather", y, { x: |_g| {
                along.source.check_saved()?;
                Tensor::zeroed("gather", &shape, dtype)
            } }, saves { dim, sparse_grad })
            .map(|y| y.watching(&[x]));
        }
        if self.rank() > 0 {
            return self.gathered_along(&along)?.reshape_to(index.shape());
        }
        let x = self;
        let y = crate::tape::without_recording(|| {
            x.at_least_1d()?.gathered_along(&along)?.unseen(|y| y.view_as_shape(index.shape()))
        })?;
        let along = along.save();
        vjp!("gather", y.without_meta(), { x: |g| {
            along.source.check_saved()?;
            g.sum(None, false, None)
        } }, saves { dim, sparse_grad })
        .map(|y| y.watching(&[x]))
    }

    /// A copy with `src` (a tensor, or a number for all) at the places that `index` names along `dim`:
    /// `y[index[i, j], j] = src[i, j]` for `dim=0`. With `reduce` "add" or "multiply": joined to what is there.
    ///
    /// Where places coincide, the last counts. Raises: RuntimeError for places out of range, or if dtypes differ.
    #[pyo3(signature = (dim, index, src=None, *, value=None, reduce=None))]
    pub fn scatter(
        &self,
        dim: isize,
        index: &Tensor,
        src: Option<Operand>,
        value: Option<Scalar>,
        reduce: Option<&str>,
    ) -> Result<Tensor> {
        let src =
            src.or(value.map(Operand::Number)).ok_or_else(|| Error::Type("scatter: missing argument 'src' or 'value'".into()))?;
        let op = if matches!(src, Operand::Number(_)) { "scatter.1" } else { "scatter" };
        let reduce = match reduce {
            None => return self.scatter_by(op, dim, index, &src, |x, along, values| x.scattered_along(op, along, values, false)),
            Some("add") => Reduce::Sum,
            Some("multiply") => Reduce::Prod,
            Some(_) => return runtime_error!("scatter: reduce argument must be either add or multiply."),
        };
        static OLD: Once = Once::new(
            c"The reduce argument of torch.scatter with Tensor src is deprecated. Use torch.scatter_reduce, which has a derivative.",
        );
        if matches!(src, Operand::Tensor(_)) {
            OLD.warn()?;
        }
        let none = || Err(Error::NoDerivative { op: "scatter" });
        self.scatter_by(op, dim, index, &src, |x, along, values| {
            let y = without_recording(|| {
                let wide = values.expand_to("scatter", &along.shape)?;
                x.reduced_along("scatter_reduce", along, &wide, reduce, true)
            })?;
            vjp!("=NotImplemented", y, { x: |_g| none(), values: |_g| none() })
        })
    }

    /// A copy with `src` added at the places that `index` names along `dim`; see `scatter`.
    pub fn scatter_add(&self, dim: isize, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        self.scatter_by("scatter_add", dim, index, &src.into(), |x, along, values| {
            x.scattered_along("scatter_add", along, values, true)
        })
    }

    /// A copy with `src` joined by `reduce` ("sum", "prod", "mean", "amax" or "amin") to what is at the places that `index`
    /// names along `dim`; without `include_self` what was there does not count.
    ///
    /// Derivative: ties of "amax" and "amin" share it.
    #[pyo3(signature = (dim, index, src, reduce, *, include_self=true))]
    pub fn scatter_reduce(&self, dim: isize, index: &Tensor, src: &Tensor, reduce: &str, include_self: bool) -> Result<Tensor> {
        let reduce = Reduce::parse("scatter_reduce", reduce)?;
        self.scatter_by("scatter_reduce", dim, index, &src.into(), |x, along, values| {
            x.reduced_along("scatter_reduce", along, values, reduce, include_self)
        })
    }

    /// Elements by places along `dim`, negative ones from the end; `indices` and the other dims broadcast. Without `dim`: `gather` from
    /// the flattened tensor.
    #[pyo3(signature = (indices, dim=None))]
    pub fn take_along_dim(&self, indices: &Tensor, dim: Option<isize>) -> Result<Tensor> {
        if indices.dtype() != DType::I64 {
            return runtime_error!("take_along_dim: dtype of indices should be Long but got {}", indices.dtype().type_word());
        }
        let Some(dim) = dim else {
            let flat = self.reshape_to(&[self.numel()])?;
            return flat.gather(0, &indices.reshape_to(&[indices.numel()])?, false);
        };
        if indices.rank() != self.rank() {
            return runtime_error!(
                "take_along_dim: input and indices should have the same number of dimensions, but got {} dimensions for input, \
                 and {} dimensions for indices",
                self.rank(),
                indices.rank()
            );
        }
        let d = normalize_dim("take_along_dim", dim, self.rank())?;
        let with = |shape: &[usize], size: usize| {
            let mut shape = Shape::from_slice(shape);
            if let Some(slot) = shape.get_mut(d) {
                *slot = size;
            }
            shape
        };
        let size = self.shape().get(d).copied().unwrap_or(1);
        let count = indices.shape().get(d).copied().unwrap_or(1);
        let common = crate::layout::broadcast_shapes("take_along_dim", &with(self.shape(), 1), &with(indices.shape(), 1))?;
        let x = self.expand_to("take_along_dim", &with(&common, size))?;
        let wrap = |place: i64| if size == 0 { place } else { place.rem_euclid(size as i64) };
        let places: Vec<i64> = indices.to_vec::<i64>()?.into_iter().map(wrap).collect();
        let _of = made_of([indices]);
        let index = Tensor::from_slice(indices.shape(), &places)?.expand_to("take_along_dim", &with(&common, count))?;
        x.gather(dim, &index, false)
    }
}

#[pymethods]
impl Tensor {
    /// Writes `src` at the places that `index` names along `dim`; see `scatter`.
    #[pyo3(signature = (dim, index, src=None, *, value=None, reduce=None))]
    fn scatter_<'py>(
        slf: Bound<'py, Self>,
        dim: isize,
        index: &Tensor,
        src: Option<Operand>,
        value: Option<Scalar>,
        reduce: Option<&str>,
    ) -> PyResult<Bound<'py, Self>> {
        let on_tape = src.as_ref().is_some_and(Operand::requires_grad);
        index.check_apart(&slf.borrow())?;
        if let Some(Operand::Tensor(src)) = &src {
            src.check_apart(&slf.borrow())?;
        }
        in_place("scatter_", &slf.borrow(), on_tape, |x| x.scatter(dim, index, src, value, reduce))?;
        Ok(slf)
    }
}

in_place! {
    /// Adds `src` at the places that `index` names along `dim`; see `scatter_add`.
    scatter_add_(dim, index, src)(dim: isize, index: &Tensor, src: &Tensor)
        [index none, src none] |x| x.scatter_add(dim, index, src);
    /// Joins `src` to what is at the places that `index` names along `dim`; see `scatter_reduce`.
    scatter_reduce_(dim, index, src, reduce, *, include_self=true)
        (dim: isize, index: &Tensor, src: &Tensor, reduce: &str, include_self: bool)
        [index none, src none] |x| x.scatter_reduce(dim, index, src, reduce, include_self);
}
