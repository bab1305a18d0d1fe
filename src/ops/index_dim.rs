//! A list of places along one dim (or of the flattened tensor): `index_select`, `index_add`, `take` and their kin.

use pyo3::prelude::*;

use super::arguments::{Operand, Tensors};
use super::expanded::{write_at_places, write_where};
use super::index::{check_indices, is_one_mask};
use super::places::{Places, checked_places};
use super::scatter::{Along, Reduce, at_least_1d};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::layout::normalize_dim;
use crate::runtime_error;
use crate::tape::sample::made_of;
use crate::tensor::Tensor;

impl Tensor {
    /// The places of a dim that a 0-d or 1-d index names.
    pub(crate) fn index_select_at(&self, dim: usize, index: &Tensor) -> Result<Tensor> {
        self.index_select_as(dim, dim as isize, index)
    }

    /// The same; the user has `given` the dim so.
    fn index_select_as(&self, dim: usize, given: isize, index: &Tensor) -> Result<Tensor> {
        // Torch's loop for the second dim raises another class than those for the others, as it does where there is nothing.
        let error = if dim == 1 || self.shape()[dim] == 0 { Error::Runtime } else { Error::Index };
        let places = self.places_along("index_select", dim, index, error)?.of_dim(given);
        self.taken("index_select", &places)
    }

    /// Checks an index of at most one dim; places must not be negative. A 0-d tensor has one.
    fn places_along(&self, op: &str, dim: usize, index: &Tensor, error: fn(String) -> Error) -> Result<Places> {
        let size = at_least_1d(self.shape())[dim];
        let list = checked_places(op, dim, size, index).map_err(|e| error(e.to_string()))?;
        let mut places = self.no_places();
        let _of = made_of([index]);
        places.add_integers(dim, size, &Tensor::from_slice(&[list.len()], &list)?)?;
        Ok(places.read_from(index))
    }

    /// For places of a dim, which a 0-d tensor does not have.
    fn no_places(&self) -> Places {
        if self.rank() == 0 { Places::flat() } else { Places::default() }
    }

    /// The dim, after the checks that `index_add`, `index_copy` and `index_reduce` share.
    fn dim_for_source(&self, op: &str, dim: isize, index: &Tensor, source: &Tensor) -> Result<usize> {
        let d = normalize_dim("index_add", dim, self.rank())?;
        index.check_index(op)?;
        if index.rank() > 1 {
            return Err(Error::Index(format!("{op}: Index is supposed to be a vector, but got dim: {}", index.rank())));
        }
        if self.dtype() != source.dtype() {
            return runtime_error!(
                "{op}: self ({}) and source ({}) must have the same scalar type",
                self.dtype().type_word(),
                source.dtype().type_word()
            );
        }
        Ok(d)
    }

    /// Fails unless `source` has this shape, but as many places in `dim` as there are indices.
    fn check_source(&self, op: &str, dim: usize, index: &Tensor, source: &Tensor, error: fn(String) -> Error) -> Result<()> {
        let (own, source) = (at_least_1d(self.shape()), at_least_1d(source.shape()));
        if source.get(dim) != Some(&index.numel()) && source.len() == own.len() {
            return Err(error(format!(
                "{op}: Number of indices ({}) should be equal to source.size(dim) of source {source:?} for dim {dim}",
                index.numel()
            )));
        }
        let mut wanted = own.clone();
        wanted[dim] = index.numel();
        if source != wanted {
            let error = if source.len() == own.len() { Error::Runtime } else { error };
            return Err(error(format!(
                "{op}: source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = {own:?} \
                 source.shape = {source:?}"
            )));
        }
        Ok(())
    }

    /// A checked index for the flattened tensor.
    fn flat_places(&self, op: &'static str, index: &Tensor) -> Result<Places> {
        if index.dtype() != DType::I64 {
            return runtime_error!("{op}: Expected a long tensor for index, but got {}", index.dtype().type_word());
        }
        let numel = self.numel();
        if numel == 0 && index.numel() > 0 {
            return Err(Error::Index(format!("{op}: tried to take from an empty tensor")));
        }
        let mut places = Places::flat();
        places.add_integers(0, numel, index).map_err(|error| match error {
            Error::Index(text) => Error::Index(format!("{op}: out of range: {text}")),
            other => other,
        })?;
        Ok(places)
    }
}

#[pymethods]
impl Tensor {
    /// The places of `dim` that `index` names, in its order.
    ///
    /// Raises: IndexError for places out of range (negative ones are), for those of dim 1 RuntimeError, as torch; RuntimeError
    /// unless `index` is of int32 or int64.
    pub fn index_select(&self, dim: isize, index: &Tensor) -> Result<Tensor> {
        let d = normalize_dim("index_select", dim, self.rank())?;
        if index.rank() > 1 {
            return Err(Error::Index("index_select: Index is supposed to be a vector".into()));
        }
        index.check_index("index_select")?;
        if self.rank() == 0 {
            if index.numel() != 1 {
                return runtime_error!("index_select: Index to scalar can have only 1 value, got {} value(s)", index.numel());
            }
            // The result is 0-d too.
            let list = checked_places("index_select", 0, 1, index).map_err(|e| Error::Index(e.to_string()))?;
            let mut places = Places::flat();
            let _of = made_of([index]);
            places.add_integers(0, 1, &Tensor::from_slice(&[], &list)?)?;
            return self.taken("index_select", &places.read_from(index).of_dim(dim));
        }
        self.index_select_as(d, dim, index)
    }

    /// A copy with `alpha * source` added at the places of `dim` that `index` names.
    ///
    /// Raises: RuntimeError for places out of range, or if shapes or dtypes do not match; IndexError unless `index` is a vector.
    #[pyo3(signature = (dim, index, source, *, alpha=Scalar::Int(1)))]
    pub fn index_add(&self, dim: isize, index: &Tensor, source: &Tensor, alpha: Scalar) -> Result<Tensor> {
        if (self.rank() == 0) != (source.rank() == 0) {
            return runtime_error!(
                "index_add: source tensor shape must match self tensor shape, got {:?} for {:?}",
                source.shape(),
                self.shape()
            );
        }
        let d = self.dim_for_source("index_add", dim, index, source)?;
        self.check_source("index_add", d, index, source, Error::Runtime)?;
        super::arithmetic::check_alpha("index_add", alpha, self.dtype())?;
        let places = self.places_along("index_add", d, index, Error::Runtime)?.of_dim(dim);
        self.with_multiple_at(&places, source, alpha)
    }

    /// A copy with `source` at the places of `dim` that `index` names.
    ///
    /// Raises: IndexError for places out of range, or if shapes do not match.
    pub fn index_copy(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        if index.dtype() != DType::I64 {
            return Err(Error::Runtime(format!(
                "index_copy: Expected a long tensor for index, but got {}",
                index.dtype().type_word()
            )));
        }
        let d = self.dim_for_source("index_copy", dim, index, source)?;
        self.check_source("index_copy", d, index, source, Error::Index)?;
        let places = self.places_along("index_copy", d, index, Error::Index)?.of_dim(dim);
        self.with_places("index_copy", &places, source, false)
    }

    /// A copy with `value`, a number or a 0-d tensor, at the places of `dim` that `index` names; negative ones count from the end.
    ///
    /// Raises: IndexError for places out of range, RuntimeError if `value` has dims.
    pub fn index_fill(&self, dim: isize, index: &Tensor, value: Operand) -> Result<Tensor> {
        let d = normalize_dim("index_fill", dim, self.rank())?;
        if index.dtype() != DType::I64 {
            return Err(Error::Index("index_fill: Expected dtype int64 for index.".into()));
        }
        if index.rank() > 1 {
            return runtime_error!("index_fill: Index has to be a vector/scalar");
        }
        let (op, value) = match value {
            Operand::Number(value) => {
                ("index_fill", Tensor::from_scalar(value.for_use_with("index_fill", self.dtype())?, self.dtype())?)
            }
            Operand::Tensor(value) if value.rank() > 0 => {
                return runtime_error!(
                    "index_fill: only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
                    value.rank()
                );
            }
            Operand::Tensor(value) if value.dtype().is_complex() && !self.dtype().is_complex() => {
                return runtime_error!("index_fill: Converting complex Scalar to non-complex type is not supported");
            }
            Operand::Tensor(value) => ("index_fill.1", value.to_dtype(self.dtype())?),
        };
        let size = at_least_1d(self.shape())[d];
        let mut places = self.no_places();
        // A place named twice is filled once, so that the value's derivative counts it once.
        let wrap = |place: i64| if place < 0 { place + size as i64 } else { place };
        let mut list: Vec<i64> = index.to_vec::<i64>()?.into_iter().map(wrap).collect();
        list.sort_unstable();
        list.dedup();
        let _of = made_of([index]);
        places.add_integers(d, size, &Tensor::from_slice(&[list.len()], &list)?)?;
        self.with_places(op, &places.read_from(index).of_dim(dim), &value, false)
    }

    /// Writes `value`, which may be one of its own elements, at places of `dim`; see `index_fill`.
    fn index_fill_<'py>(slf: Bound<'py, Self>, dim: isize, index: &Tensor, value: Operand) -> PyResult<Bound<'py, Self>> {
        index.check_apart(&slf.borrow())?;
        let x = &slf.borrow();
        let value = value.apart_from(x)?;
        write_at_places("index_fill_", x, value.requires_grad(), |x| x.index_fill(dim, index, value.clone()))?;
        Ok(slf)
    }

    /// A copy with `source` joined by `reduce` ("prod", "mean", "amax" or "amin") to what is at the places of `dim` that
    /// `index` names; without `include_self` what was there does not count.
    #[pyo3(signature = (dim, index, source, reduce, *, include_self=true))]
    pub fn index_reduce(&self, dim: isize, index: &Tensor, source: &Tensor, reduce: &str, include_self: bool) -> Result<Tensor> {
        static BETA: Once = Once::new(c"index_reduce() is in beta and the API may change at any time.");
        BETA.warn()?;
        if reduce == "sum" {
            return runtime_error!("index_reduce: Expected reduce to be one of prod, mean, amax or amin but got sum.");
        }
        let reduce = Reduce::parse("index_reduce", reduce)?;
        if (self.rank() == 0) != (source.rank() == 0) {
            return runtime_error!(
                "index_reduce: source tensor shape must match self tensor shape, got {:?} for {:?}",
                source.shape(),
                self.shape()
            );
        }
        if self.dtype() == DType::Bool && source.numel() > 0 {
            return Err(Error::NotImplemented("index_reduce: not implemented for 'Bool'".into()));
        }
        let d = self.dim_for_source("index_reduce", dim, index, source)?;
        self.check_source("index_reduce", d, index, source, Error::Runtime)?;
        let size = at_least_1d(self.shape())[d];
        let list = checked_places("index_reduce", d, size, index).map_err(|e| Error::Index(e.to_string()))?;
        let along = Along::vector(d, dim, &list, &at_least_1d(source.shape()), index);
        let _of = made_of([index]);
        self.reduced_along("index_reduce", &along, source, reduce, include_self)
    }

    /// A copy with `values` (which broadcast) at the places that a tuple of indices names, or added there; see brackets.
    #[pyo3(signature = (indices, values, accumulate=false))]
    pub fn index_put(&self, indices: Tensors, values: &Tensor, accumulate: bool) -> Result<Tensor> {
        self.put_items(&indices.0, values, accumulate)
    }

    /// Writes `values` at the places that a tuple of indices names, or adds them; see `index_put`.
    #[pyo3(signature = (indices, values, accumulate=false))]
    fn index_put_<'py>(slf: Bound<'py, Self>, indices: Tensors, values: &Tensor, accumulate: bool) -> PyResult<Bound<'py, Self>> {
        values.check_apart(&slf.borrow())?;
        check_indices(&slf.borrow(), &indices.0, is_one_mask(&indices.0, values, accumulate))?;
        let write = |x: &Tensor, values: &Tensor| x.put_items(&indices.0, values, accumulate);
        if is_one_mask(&indices.0, values, accumulate) {
            write_where("index_put_", &slf.borrow(), &values.clone().into(), |x, value| write(x, &value.tensor()?))?;
        } else {
            write_at_places("index_put_", &slf.borrow(), values.requires_grad(), |x| write(x, values))?;
        }
        Ok(slf)
    }

    /// The elements of the flattened tensor at the places that `index` names; negative ones count from the end.
    ///
    /// Raises: IndexError for places out of range, RuntimeError unless `index` is of int64.
    pub fn take(&self, index: &Tensor) -> Result<Tensor> {
        let places = self.flat_places("take", index)?;
        Ok(self.taken("take", &places)?.watching(&[self]))
    }

    /// A copy with `source` at the places of the flattened tensor that `index` names, or added there.
    #[pyo3(signature = (index, source, accumulate=false))]
    pub fn put(&self, index: &Tensor, source: &Tensor, accumulate: bool) -> Result<Tensor> {
        if self.dtype() != source.dtype() {
            return runtime_error!(
                "put: self and source expected to have the same dtype, but got self.dtype = {} and source.dtype = {}",
                self.dtype().type_word(),
                source.dtype().type_word()
            );
        }
        if source.numel() != index.numel() {
            return Err(Error::Index(format!(
                "put: Expected source and index to have the same number of elements, but got source.numel() = {}, index.numel() = {}",
                source.numel(),
                index.numel()
            )));
        }
        let places = self.flat_places("put", index)?;
        self.with_places("put", &places, source, accumulate)
    }
}

in_place! {
    /// Adds `alpha * source` at places of `dim`; see `index_add`.
    index_add_(dim, index, source, *, alpha=Scalar::Int(1))(dim: isize, index: &Tensor, source: &Tensor, alpha: Scalar)
        [index none, source none] |x| x.index_add(dim, index, source, alpha);
    /// Writes `source` at places of `dim`; see `index_copy`.
    index_copy_(dim, index, source)(dim: isize, index: &Tensor, source: &Tensor)
        [index none, source none] |x| x.index_copy(dim, index, source);
    /// Joins `source` to what is at places of `dim`; see `index_reduce`.
    index_reduce_(dim, index, source, reduce, *, include_self=true)
        (dim: isize, index: &Tensor, source: &Tensor, reduce: &str, include_self: bool)
        [index none, source none] |x| x.index_reduce(dim, index, source, reduce, include_self);
    /// Writes `source` at places of the flattened tensor, or adds it; see `put`.
    put_(index, source, accumulate=false)(index: &Tensor, source: &Tensor, accumulate: bool)
        [index none, source none] |x| x.put(index, source, accumulate);
}
