//! Views: the same elements with another shape or extent, sharing memory.
//!
//! The functions for Rust callers take normalized arguments and return the tensor itself where nothing changes;
//! the methods for Python always answer a new view, as torch does.

use pyo3::prelude::*;

use super::arguments::{Dims, Given, Sizes, ViewAs};
use super::{batch_order, samples};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::{Layout, Shape, Strides, broadcast_shapes, checked_numel, infer_shape, normalize_dim, product};
use crate::runtime_error;
use crate::tape::mode::ModeGuard;
use crate::tape::numbers::Named;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

impl Tensor {
    /// A view with this shape; the strides must allow it.
    pub(crate) fn view_as_shape(&self, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape { Ok(self.clone()) } else { self.viewed("view", shape) }
    }

    /// What `f` makes of a result that nobody else sees: to the user it is no view.
    pub(crate) fn unseen(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let _unseen = ModeGuard::without_views();
        f(self)
    }

    /// A new view with this shape, even if it is the one there is.
    pub(crate) fn viewed(&self, op: &'static str, shape: &[usize]) -> Result<Tensor> {
        let x = self;
        if x.numel() != product(shape) {
            return runtime_error!("{op}: shape {shape:?} is invalid for input of size {}", x.numel());
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
        let y = vjp!(op, y, { x: |g| g.reshape_to(&old) })?;
        Ok(self.as_base_of(y, None))
    }

    /// The same memory in another shape, to the user a tensor of its own: writes to the one are not seen at the other, as in torch.
    pub(crate) fn unsafe_view(&self, shape: &[usize]) -> Result<Tensor> {
        let x = self;
        let y = without_recording(|| x.viewed("unsafe_view", shape))?.detached(true);
        let old: Shape = x.shape().into();
        vjp!("unsafe_view", y, { x: |g| g.reshape_to(&old) })
    }

    /// A view if the strides allow it, else a copy; the tensor itself if it has the shape.
    pub(crate) fn reshape_to(&self, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape { Ok(self.clone()) } else { self.reshaped(shape) }
    }

    /// A new view if the strides allow it, else a copy.
    pub(crate) fn reshaped(&self, shape: &[usize]) -> Result<Tensor> {
        if self.layout().view_strides(shape).is_some() && !batch_order::is_apart(self, shape) {
            return self.viewed(if self.is_contiguous() { "view" } else { "reshape_alias" }, shape);
        }
        let x = self;
        let y = Tensor::uninitialized("reshape", x.shape(), x.dtype())?;
        y.write(x)?;
        let old: Shape = x.shape().into();
        // The copy is nobody else's, so this is no view to the tape.
        vjp!("unsafe_view", y.with_layout(Layout::contiguous(shape)), { x: |g| g.reshape_to(&old) })
    }

    /// Broadcast to a shape; the tensor itself if it has it.
    pub fn expand_to(&self, op: &'static str, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        if broadcast_shapes(op, self.shape(), shape)?.as_slice() != shape {
            return Err(Error::Broadcast { op, lhs: self.shape().to_vec(), rhs: shape.to_vec() });
        }
        self.expanded(shape)
    }

    /// A new view with a shape that this one's broadcasts to.
    fn expanded(&self, shape: &[usize]) -> Result<Tensor> {
        let x = self;
        checked_numel("expand", shape)?;
        let layout = |strides| Layout { shape: shape.into(), strides, offset: x.layout().offset };
        let y = match batch_order::expanded(x, shape) {
            None => x.with_layout(layout(x.layout().expanded_strides(shape))),
            Some((strides, samples)) => x.with_layout(layout(strides)).with_samples(samples),
        };
        // The engine sums the gradient to the input's shape.
        let y = vjp!("expand", y, { x: |g| Ok(g.clone()) })?;
        Ok(self.as_base_of(y, None))
    }

    /// Without these dims, which have size 1.
    pub(crate) fn squeeze_dims(&self, dims: &[usize]) -> Result<Tensor> {
        self.squeezed("squeeze.1", dims, dims.iter().map(|&dim| dim as isize).collect())
    }

    /// The same as an op with this name; the user has `given` the dims so.
    pub(crate) fn squeezed(&self, op: &'static str, dims: &[usize], given: Strides) -> Result<Tensor> {
        let x = self;
        let kept = || (0..x.rank()).filter(|d| !dims.contains(d));
        let layout = Layout {
            shape: kept().map(|d| x.shape()[d]).collect(),
            strides: kept().map(|d| x.strides()[d]).collect(),
            offset: x.layout().offset,
        };
        let old: Shape = x.shape().into();
        let y = vjp!(op, x.with_layout(layout), { x: |g| g.reshape_to(&old) }, saves { ..move || match op {
            "squeeze" | "squeeze.3" => Named::new(),
            "squeeze.1" | "squeeze.4" => saves! { dim: given.first().copied() }(),
            _ => saves! { dim: given.clone() }(),
        } })?;
        Ok(self.as_base_of(y, None))
    }

    /// Without some dims, as an op with one of these names: without any dim, with one, and with several.
    pub(crate) fn squeezed_as(&self, ops: [&'static str; 3], dim: &Given<Dims>) -> Result<Tensor> {
        let op = match &dim.0 {
            None => ops[0],
            Some(dims) if dims.len() == 1 => ops[1],
            Some(_) => ops[2],
        };
        let given = dim.0.as_ref().map_or_else(Strides::new, |dims| dims.0.clone());
        self.squeezed(op, &self.dims_of_size_1(dim)?, given)
    }

    /// Those of these dims, or of all, that have size 1.
    pub(crate) fn dims_of_size_1(&self, dim: &Given<Dims>) -> Result<Shape> {
        if let Some(dims) = &dim.0
            && let [dim] = dims[..]
            && self.rank() == 0
            && !(-1..=0).contains(&dim)
            && samples::are_any_mapped([self])
        {
            return runtime_error!("squeeze: Dimension is out of range (expected to be in range of [-1, 0], but got {dim})");
        }
        let of_size_1 = |d: &usize| self.shape().get(*d) == Some(&1);
        Ok(match &dim.0 {
            None => (0..self.rank()).filter(of_size_1).collect(),
            Some(dims) => crate::layout::normalize_dims("squeeze", dims, self.rank())?.into_iter().filter(of_size_1).collect(),
        })
    }

    /// With a dim of size 1 inserted at `dim`.
    pub(crate) fn unsqueeze_at(&self, dim: usize) -> Result<Tensor> {
        self.unsqueezed("unsqueeze", dim, dim as isize)
    }

    /// The same as an op with this name; the user has `given` the dim so.
    pub(crate) fn unsqueezed(&self, op: &'static str, dim: usize, given: isize) -> Result<Tensor> {
        let x = self;
        let mut layout = x.layout().clone();
        let stride = if dim < x.rank() { x.strides()[dim] * x.shape()[dim] as isize } else { 1 };
        layout.shape.insert(dim, 1);
        layout.strides.insert(dim, stride);
        let y = vjp!(op, x.with_layout(layout), { x: |g| g.squeeze_dims(&[dim]) }, saves { dim: given })?;
        Ok(self.as_base_of(y, None))
    }

    /// The sizes that `expand` asks for, with -1 replaced by the size there is.
    fn expand_sizes(&self, sizes: &[isize]) -> Result<Shape> {
        let Some(lead) = sizes.len().checked_sub(self.rank()) else {
            return runtime_error!(
                "expand: the number of sizes provided ({}) must be greater or equal to the number of dimensions in the tensor ({})",
                sizes.len(),
                self.rank()
            );
        };
        let size_of = |(d, &wanted): (usize, &isize)| -> Result<usize> {
            let size = d.checked_sub(lead).map(|d| self.shape()[d]);
            match (size, wanted) {
                (Some(size), -1) => Ok(size),
                (Some(1) | None, wanted) if wanted >= 0 => Ok(wanted as usize),
                (Some(size), wanted) if wanted == size as isize => Ok(size),
                (None, _) => runtime_error!(
                    "expand: the expanded size of the tensor ({wanted}) isn't allowed in a leading, non-existing dimension {d}"
                ),
                (Some(size), _) => runtime_error!(
                    "expand: the expanded size of the tensor ({wanted}) must match the existing size ({size}) at non-singleton \
                     dimension {d}. Target sizes: {sizes:?}. Tensor sizes: {:?}",
                    self.shape()
                ),
            }
        };
        sizes.iter().enumerate().map(size_of).collect()
    }
}

#[pymethods]
impl Tensor {
    /// The same elements with another shape, sharing memory; one size may be -1. With a dtype: the same bytes read as
    /// elements of that dtype, the last dim growing or shrinking with the element size.
    ///
    /// Raises: RuntimeError if the strides do not allow it.
    #[pyo3(signature = (*shape, dtype=None, size=None))]
    pub fn view(&self, shape: ViewAs, dtype: Option<DType>, size: Option<Dims>) -> Result<Tensor> {
        match (shape, dtype, size) {
            (ViewAs::DType(dtype), None, None) | (ViewAs::Nothing, Some(dtype), None) => self.view_as_dtype(dtype),
            (ViewAs::Shape(sizes), None, None) | (ViewAs::Nothing, None, Some(sizes)) => {
                self.viewed("view", &infer_shape("view", &sizes, self.numel())?)
            }
            _ => Err(Error::Type("view: expected either a shape or a dtype".into())),
        }
    }

    /// A view with the shape of `other`; see `view`.
    pub fn view_as(&self, other: &Tensor) -> Result<Tensor> {
        self.viewed("view", &infer_shape("view_as", &sizes_of(other), self.numel())?)
    }

    /// The same elements with another shape: a view if the strides allow it, else a copy. One size may be -1.
    #[pyo3(signature = (*sizes, shape=None))]
    pub fn reshape(&self, sizes: Sizes, shape: Option<Dims>) -> Result<Tensor> {
        self.reshaped(&infer_shape("reshape", &sizes.or(shape, "reshape", "shape")?, self.numel())?)
    }

    /// The same elements with the shape of `other`; see `reshape`.
    pub fn reshape_as(&self, other: &Tensor) -> Result<Tensor> {
        self.reshaped(&infer_shape("reshape_as", &sizes_of(other), self.numel())?)
    }

    /// Dims `start_dim` to `end_dim` made one, the tensor itself if they are; a 0-d tensor gets one dim.
    ///
    /// Raises: IndexError if a dim is out of range, RuntimeError if they are in the wrong order.
    #[pyo3(name = "flatten", signature = (start_dim=0, end_dim=-1))]
    fn flatten_method<'py>(slf: &Bound<'py, Self>, start_dim: isize, end_dim: isize) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        let y = x.flatten(start_dim, end_dim)?;
        if x.rank() > 0 && y.rank() == x.rank() { Ok(slf.clone()) } else { Bound::new(slf.py(), y) }
    }

    /// All dims made one: a view of a contiguous tensor, else a copy.
    pub fn ravel(&self) -> Result<Tensor> {
        self.contiguous()?.viewed("view", &[self.numel()])
    }

    /// One dim made several; one of the sizes may be -1.
    ///
    /// Raises: RuntimeError if the sizes do not multiply to the dim's.
    pub fn unflatten(&self, dim: isize, sizes: Dims) -> Result<Tensor> {
        let d = normalize_dim("unflatten", dim, self.rank())?;
        if sizes.is_empty() {
            return runtime_error!("unflatten: sizes must be non-empty");
        }
        let size = self.shape().get(d).copied().unwrap_or(1);
        let Ok(inner) = infer_shape("unflatten", &sizes, size) else {
            return runtime_error!(
                "unflatten: Provided sizes {:?} don't multiply up to the size of dim {d} ({size}) in the input tensor",
                &*sizes
            );
        };
        let mut shape = Shape::from_slice(&self.shape()[..d.min(self.rank())]);
        shape.extend_from_slice(&inner);
        shape.extend_from_slice(self.shape().get(d + 1..).unwrap_or_default());
        self.viewed("view", &shape)
    }

    /// Broadcast to the given sizes without copying; -1 keeps a size. New dims come in front.
    ///
    /// Derivative: the gradient is summed over the expanded dims.
    /// Raises: RuntimeError if a dim of another size than 1 would have to change.
    #[pyo3(signature = (*sizes, size=None, implicit=false))]
    pub fn expand(&self, sizes: Sizes, size: Option<Dims>, implicit: bool) -> Result<Tensor> {
        let _ = implicit; // Torch's, without effect on the result.
        self.expanded(&self.expand_sizes(&sizes.or(size, "expand", "size")?)?)
    }

    /// Broadcast to the shape of `other`; see `expand`.
    pub fn expand_as(&self, other: &Tensor) -> Result<Tensor> {
        self.expanded(&self.expand_sizes(&sizes_of(other))?)
    }

    /// Broadcast to `size`, given one by one or as a sequence; see `expand`.
    #[pyo3(signature = (*sizes, size=None))]
    pub fn broadcast_to(&self, sizes: Sizes, size: Option<Dims>) -> Result<Tensor> {
        self.expanded(&self.expand_sizes(&sizes.or(size, "broadcast_to", "size")?)?)
    }

    /// Without the dims of size 1: all of them, or those of the given ones that have size 1.
    ///
    /// Raises: IndexError if a dim is out of range.
    #[pyo3(signature = (*dims, dim=Given(None)))]
    pub fn squeeze(&self, dims: Sizes, dim: Given<Dims>) -> Result<Tensor> {
        let dim = dims.or_given(&dim, "squeeze")?;
        self.squeezed_as(["squeeze", "squeeze.1", "squeeze.2"], &dim)
    }

    /// With a dim of size 1 inserted at `dim`.
    ///
    /// Raises: IndexError if `dim` is out of range.
    pub fn unsqueeze(&self, dim: isize) -> Result<Tensor> {
        self.unsqueezed("unsqueeze", normalize_dim("unsqueeze", dim, self.rank() + 1)?, dim)
    }
}

impl Tensor {
    /// `flatten`, for Rust callers.
    pub fn flatten(&self, start_dim: isize, end_dim: isize) -> Result<Tensor> {
        let first = normalize_dim("flatten", start_dim, self.rank())?;
        let last = normalize_dim("flatten", end_dim, self.rank())?;
        if first > last {
            return runtime_error!("flatten: start_dim {start_dim} cannot come after end_dim {end_dim}");
        }
        if self.rank() == 0 {
            return self.reshaped(&[1]);
        }
        if first == last {
            return Ok(self.clone());
        }
        let mut shape = Shape::from_slice(&self.shape()[..first]);
        shape.push(self.shape()[first..=last].iter().product());
        shape.extend_from_slice(&self.shape()[last + 1..]);
        self.reshaped(&shape)
    }

    /// The same bytes as elements of another dtype.
    fn view_as_dtype(&self, dtype: DType) -> Result<Tensor> {
        let (old, new) = (self.dtype().size(), dtype.size());
        if self.dtype() == dtype {
            return self.viewed("view", self.shape());
        }
        let mut layout = self.layout().clone();
        if old != new {
            layout = resized_elements(layout, old, new)?;
        }
        Ok(self.as_base_of(self.reinterpreted(layout, dtype), None))
    }
}

/// The layout of the same bytes with elements of another size.
fn resized_elements(mut layout: Layout, old: usize, new: usize) -> Result<Layout> {
    let Some(last) = layout.rank().checked_sub(1) else {
        return runtime_error!("view: self.dim() cannot be 0 to view a dtype of {old} bytes as one of {new} bytes");
    };
    if layout.strides[last] != 1 {
        return runtime_error!("view: self.stride(-1) must be 1 to view a dtype of {old} bytes as one of {new} bytes");
    }
    let scale = |strides: &mut Strides, f: &dyn Fn(isize) -> isize| strides[..last].iter_mut().for_each(|s| *s = f(*s));
    if old > new {
        let ratio = old / new;
        layout.shape[last] *= ratio;
        layout.offset *= ratio;
        scale(&mut layout.strides, &|s| s * ratio as isize);
    } else {
        let ratio = new / old;
        let fits = |n: usize| n.is_multiple_of(ratio);
        let strides_fit = layout.strides[..last].iter().all(|&s| fits(s.unsigned_abs()));
        if !fits(layout.shape[last]) || !fits(layout.offset) || !strides_fit {
            return runtime_error!(
                "view: the last size ({}), the strides ({:?}) and the offset ({}) must be divisible by {ratio} to view a dtype of \
                 {old} bytes as one of {new} bytes",
                layout.shape[last],
                layout.strides,
                layout.offset
            );
        }
        layout.shape[last] /= ratio;
        layout.offset /= ratio;
        scale(&mut layout.strides, &|s| s / ratio as isize);
    }
    Ok(layout)
}

fn sizes_of(x: &Tensor) -> Vec<isize> {
    x.shape().iter().map(|&size| size as isize).collect()
}
