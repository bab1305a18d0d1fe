//! Views: the same elements with another shape, order or extent.

use pyo3::prelude::*;

use super::arguments::Dims;
use crate::error::{Error, Result};
use crate::layout::{Layout, Shape, Strides, broadcast_shapes, infer_shape};
use crate::runtime_error;
use crate::tensor::Tensor;
use crate::vjp;

impl Tensor {
    /// A view with this shape; the strides must allow it.
    pub(crate) fn view_as_shape(&self, shape: &[usize]) -> Result<Tensor> {
        let x = self;
        if x.shape() == shape {
            return Ok(x.clone());
        }
        let Some(strides) = x.layout().view_strides(shape) else {
            return runtime_error!(
                "view: size {shape:?} is not compatible with the input's size {:?} and strides {:?} (at least one dimension spans \
                 across two contiguous subspaces). Use .reshape(...) instead.",
                x.shape(),
                x.strides()
            );
        };
        let y = x.with_layout(Layout { shape: shape.into(), strides, offset: x.layout().offset });
        let old: Shape = x.shape().into();
        let y = vjp!("view", y, { x: |g| g.reshape_to(&old) })?;
        Ok(self.as_base_of(y, None))
    }

    /// A view if the strides allow it, else a copy.
    pub(crate) fn reshape_to(&self, shape: &[usize]) -> Result<Tensor> {
        if self.layout().view_strides(shape).is_some() {
            self.view_as_shape(shape)
        } else {
            self.contiguous()?.view_as_shape(shape)
        }
    }

    /// Broadcast to a shape.
    pub fn expand_to(&self, op: &'static str, shape: &[usize]) -> Result<Tensor> {
        let x = self;
        if x.shape() == shape {
            return Ok(x.clone());
        }
        if broadcast_shapes(op, x.shape(), shape)?.as_slice() != shape {
            return Err(Error::Broadcast { op, lhs: x.shape().to_vec(), rhs: shape.to_vec() });
        }
        let strides = x.layout().expand_strides(shape);
        let y = x.with_layout(Layout { shape: shape.into(), strides, offset: x.layout().offset });
        // The engine sums the gradient to the input's shape.
        let y = vjp!("expand", y, { x: |g| Ok(g.clone()) })?;
        Ok(self.as_base_of(y, None))
    }

    /// Without these dims, which have size 1.
    pub(crate) fn squeeze_dims(&self, dims: &[usize]) -> Result<Tensor> {
        let x = self;
        let kept = || (0..x.rank()).filter(|d| !dims.contains(d));
        let layout = Layout {
            shape: kept().map(|d| x.shape()[d]).collect(),
            strides: kept().map(|d| x.strides()[d]).collect(),
            offset: x.layout().offset,
        };
        let old: Shape = x.shape().into();
        let y = vjp!("squeeze", x.with_layout(layout), { x: |g| g.reshape_to(&old) })?;
        Ok(self.as_base_of(y, None))
    }
}

#[pymethods]
impl Tensor {
    /// The same elements with another shape, sharing memory; one size may be -1.
    ///
    /// Raises: RuntimeError if the strides do not allow it.
    #[pyo3(signature = (*shape))]
    pub fn view(&self, shape: Dims) -> Result<Tensor> {
        self.view_as_shape(&infer_shape("view", &shape, self.numel())?)
    }

    /// The dims in another order.
    ///
    /// Raises: RuntimeError if a dim is missing or appears twice.
    #[pyo3(signature = (*dims))]
    pub fn permute(&self, dims: Dims) -> Result<Tensor> {
        let x = self;
        let dims = crate::layout::normalize_dims("permute", &dims, x.rank())?;
        if dims.len() != x.rank() {
            return runtime_error!("permute: {} dims were given for a {}-d tensor", dims.len(), x.rank());
        }
        let shape: Shape = dims.iter().map(|&d| x.shape()[d]).collect();
        let strides: Strides = dims.iter().map(|&d| x.strides()[d]).collect();
        let y = x.with_layout(Layout { shape, strides, offset: x.layout().offset });
        let mut inverse = Dims(smallvec::smallvec![0; dims.len()]);
        dims.iter().enumerate().for_each(|(i, &d)| inverse.0[d] = i as isize);
        let y = vjp!("permute", y, { x: |g| g.permute(inverse.clone()) })?;
        Ok(self.as_base_of(y, None))
    }

    /// The tensor itself if its elements lie in row-major order, else a copy that does.
    pub fn contiguous(&self) -> Result<Tensor> {
        let x = self;
        if x.is_contiguous() {
            return Ok(x.clone());
        }
        let y = Tensor::uninitialized("contiguous", x.shape(), x.dtype())?;
        y.write(x)?;
        vjp!("clone", y, { x: |g| Ok(g.clone()) })
    }
}
