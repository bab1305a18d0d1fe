//! Masks: filling, choosing and writing where a condition holds, and where it does.

use pyo3::prelude::*;

use super::arguments::{OneOrSeveral, Operand, Several};
use super::expanded::write_where;
use super::kernel::ternary;
use super::sample_values::check_shape;
use crate::dtype::{Bool, DType, Element};
use crate::error::{Error, Result};
use crate::layout::{Layout, Shape, Strides, broadcast_shapes};
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tape::sample::made_of;
use crate::tensor::Tensor;
use crate::{saves, vjp};

impl Tensor {
    /// `value`, 0-d and of the same dtype, where `mask` is true.
    pub(crate) fn filled_where(&self, op: &'static str, mask: &Tensor, value: &Tensor) -> Result<Tensor> {
        let x = self;
        let y = crate::dispatch_all!(x.dtype(), op, T => ternary::<T, Bool, T, T>(op, x, mask, value, #[inline(always)] |old, m, new| {
            if m.get() { new } else { old }
        }))?;
        let (mask, dtype) = (mask.save(), x.dtype());
        let mask2 = mask.clone();
        vjp!(op, y, {
            x: |g| g.filled_where(op, &mask, &Tensor::zeroed(op, &[], dtype)?),
            value: |g| g.kept_where(&mask2)
        }, saves { ..move || match op {
            "index_put" => saves! { accumulate: false }(),
            _ => Named::new(),
        } })
    }

    /// Zero where `mask`, of a shape that broadcasts to this one, is false.
    pub(crate) fn kept_where(&self, mask: &Tensor) -> Result<Tensor> {
        let x = self;
        let zero = Tensor::zeroed("where", &[], x.dtype())?;
        let y = crate::dispatch_all!(x.dtype(), "where", T => ternary::<T, Bool, T, T>("where", x, mask, &zero, #[inline(always)] |old, m, new| {
            if m.get() { old } else { new }
        }))?;
        let mask = mask.save();
        vjp!("where", y, { x: |g| g.kept_where(&mask) })
    }

    fn check_bool(&self, op: &str) -> Result<()> {
        if self.dtype() == DType::Bool {
            Ok(())
        } else {
            runtime_error!("{op}: only supports boolean masks, but got mask with dtype {}", self.dtype())
        }
    }

    /// The numbers, in row-major order, of the elements that are not zero.
    fn true_places(&self) -> Result<Vec<i64>> {
        fn places<T: Element>(values: &[T]) -> Vec<i64> {
            values.iter().enumerate().filter(|(_, v)| v.truth()).map(|(place, _)| place as i64).collect()
        }
        let x = self.detached(false).contiguous()?;
        let _access = crate::storage::Access::new(&[x.storage()], &[]);
        // SAFETY: contiguous, of this dtype, and locked for reading.
        crate::dispatch_all!(x.dtype(), "nonzero", T => Ok(places::<T>(unsafe { x.slice::<T>() })))
    }

    /// The coordinates in each dim of elements given by number.
    fn coordinates(&self, places: &[i64]) -> Vec<Vec<i64>> {
        let strides = crate::layout::contiguous_strides(self.shape());
        let coordinate = |d: usize| {
            let (size, stride) = (self.shape()[d] as i64, strides[d] as i64);
            places.iter().map(|place| place / stride % size).collect()
        };
        (0..self.rank()).map(coordinate).collect()
    }

    /// The coordinates of all elements that are not zero: one 1-d tensor for each dim.
    pub(crate) fn true_coordinates(&self) -> Result<Vec<Tensor>> {
        if self.rank() == 0 {
            return self.view_as_shape(&[1])?.true_coordinates();
        }
        let _of = made_of([self]);
        let places = self.true_places()?;
        self.coordinates(&places).iter().map(|list| Tensor::from_slice(&[places.len()], list)).collect()
    }

    /// The elements of this 1-d tensor in turn where `mask` is true, zero elsewhere.
    fn spread(&self, mask: &Tensor) -> Result<Tensor> {
        Tensor::zeroed("masked_select_backward", mask.shape(), self.dtype())?.masked_scatter(mask, self)
    }
}

#[pymethods]
impl Tensor {
    /// A copy with `value`, a number or a 0-d tensor, where `mask` is true; both broadcast.
    ///
    /// Raises: RuntimeError unless `mask` is of bools, and if `value` has dims.
    pub fn masked_fill(&self, mask: &Tensor, value: Operand) -> Result<Tensor> {
        mask.check_bool("masked_fill")?;
        let op = match &value {
            Operand::Number(_) => "masked_fill",
            Operand::Tensor(value) if value.rank() > 0 => {
                return runtime_error!(
                    "masked_fill: only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
                    value.rank()
                );
            }
            Operand::Tensor(_) => "masked_fill.1",
        };
        let value = match value {
            Operand::Number(value) => {
                super::power::check_in_range(value, self.dtype())?;
                Tensor::from_scalar(value, self.dtype())?
            }
            Operand::Tensor(value) => {
                super::power::check_in_range(value.scalar()?, self.dtype())?;
                value.to_dtype(self.dtype())?
            }
        };
        let y = self.filled_where(op, mask, &value)?;
        if y.is_contiguous() || self.is_reusable() {
            return Ok(y);
        }
        Ok(crate::tape::without_recording(|| y.detached(false).contiguous())?.with_meta_of(&y))
    }

    /// Writes `value`, which may be one of its own elements, where `mask` is true; see `masked_fill`.
    fn masked_fill_<'py>(slf: Bound<'py, Self>, mask: &Tensor, value: Operand) -> PyResult<Bound<'py, Self>> {
        mask.check_overlap(&slf.borrow())?;
        write_where("masked_fill_", &slf.borrow(), &value, |x, value| x.masked_fill(mask, value))?;
        Ok(slf)
    }

    /// The elements where `mask` is true, as a 1-d tensor; both broadcast.
    ///
    /// Raises: RuntimeError unless `mask` is of bools.
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        check_shape("masked_select", mask)?;
        self.where_true(mask)
    }

    /// A copy with the elements of `source`, in turn, where `mask` (which broadcasts) is true.
    ///
    /// Raises: RuntimeError if there are too few, if dtypes differ, and unless `mask` is of bools.
    pub fn masked_scatter(&self, mask: &Tensor, source: &Tensor) -> Result<Tensor> {
        mask.check_bool("masked_scatter")?;
        if self.dtype() != source.dtype() {
            return runtime_error!(
                "masked_scatter: expected self and source to have same dtypes but got {} and {}",
                self.dtype().type_word(),
                source.dtype().type_word()
            );
        }
        let shape = broadcast_shapes("masked_scatter", self.shape(), mask.shape())?;
        let wide = self.expand_to("masked_scatter", &shape)?;
        let given = mask;
        let mask = crate::tape::without_recording(|| mask.expand_to("masked_scatter", &shape)?.contiguous())?;
        let mut places = super::places::Places::default();
        places.add_mask(0, &mask)?;
        let count = places.count();
        if count > source.numel() {
            return Err(Error::Places(format!(
                "masked_scatter: Number of elements of source < number of ones in mask ({} < {count})",
                source.numel()
            )));
        }
        let values =
            crate::tape::without_recording(|| source.contiguous()?.view_as_shape(&[source.numel()])?.slice_at(0, 0, count, 1))?;
        let target = if wide.is_reusable() { wide.clone() } else { crate::tape::without_recording(|| wide.contiguous())? };
        let y = crate::tape::without_recording(|| target.with_places("masked_scatter", &places, &values.detached(false), false))?;
        let (given, dtype) = (given.save(), self.dtype());
        let (given2, mask2) = (given.clone(), mask.clone());
        let sizes: Shape = source.shape().into();
        vjp!("masked_scatter", y.without_meta(), {
            wide: |g| {
                given.check_saved()?;
                g.filled_where("masked_fill", &mask, &Tensor::zeroed("masked_fill", &[], dtype)?)
            },
            source: |g| {
                given2.check_saved()?;
                g.where_true(&mask2)?.padded_to(&sizes)
            }
        })
    }

    /// The coordinates of the elements that are not zero: a row each, or (`as_tuple`) a tensor for each dim.
    #[pyo3(signature = (*, as_tuple=false))]
    pub fn nonzero(&self, as_tuple: bool) -> Result<OneOrSeveral> {
        check_shape("nonzero", self)?;
        if as_tuple {
            Ok(OneOrSeveral::Several(Several(self.true_coordinates()?)))
        } else {
            self.argwhere().map(OneOrSeveral::One)
        }
    }

    /// The coordinates of the elements that are not zero, a row each.
    pub fn argwhere(&self) -> Result<Tensor> {
        let _of = made_of([self]);
        let places = self.true_places()?;
        let rank = self.rank();
        // In memory the coordinates lie dim by dim.
        let by_dim: Vec<i64> = self.coordinates(&places).into_iter().flatten().collect();
        let y = Tensor::from_slice(&[rank, places.len()], &by_dim)?;
        let layout = Layout {
            shape: Shape::from_slice(&[places.len(), rank]),
            strides: Strides::from_slice(&[1, places.len() as isize]),
            offset: 0,
        };
        Ok(y.with_layout(layout))
    }

    /// As `nonzero`, but always `size` rows: surplus ones are left out, missing ones are `fill_value`.
    #[pyo3(signature = (*, size, fill_value=-1))]
    pub fn nonzero_static(&self, size: isize, fill_value: i64) -> Result<Tensor> {
        if size < 0 {
            return runtime_error!("nonzero_static: 'size' must be an non-negative integer, got {size}");
        }
        let _of = made_of([self]);
        let mut rows = self.argwhere()?.to_vec::<i64>()?;
        rows.resize(size as usize * self.rank(), fill_value);
        Tensor::from_slice(&[size as usize, self.rank()], &rows)
    }
}

impl Tensor {
    /// See `masked_select`.
    pub(crate) fn where_true(&self, mask: &Tensor) -> Result<Tensor> {
        mask.check_bool("masked_select")?;
        let shape = broadcast_shapes("masked_select", self.shape(), mask.shape())?;
        let given = mask;
        let mask = crate::tape::without_recording(|| mask.expand_to("masked_select", &shape)?.contiguous())?;
        let mut places = super::places::Places::default();
        places.add_mask(0, &mask)?;
        let x = self;
        let y = crate::tape::without_recording(|| x.expand_to("masked_select", &shape)?.taken("masked_select", &places))?;
        // The mask of all elements may be a copy: the user writes to the other.
        let given = given.save();
        vjp!("masked_select", y.without_meta(), { x: |g| {
            given.check_saved()?;
            g.spread(&mask)
        } })
        .map(|y| y.watching(&[x]))
    }

    /// This 1-d tensor with zeros after it, in a shape.
    fn padded_to(&self, shape: &[usize]) -> Result<Tensor> {
        let total: usize = shape.iter().product();
        let own = self.numel();
        self.embedded("constant_pad_nd", &[total], move |z| z.slice_at(0, 0, own, 1))?.reshape_to(shape)
    }
}

in_place! {
    /// Writes the elements of `source`, in turn, where `mask` is true; see `masked_scatter`.
    masked_scatter_(mask, source)(mask: &Tensor, source: &Tensor) [source any] |x| x.masked_scatter(mask, source);
}
