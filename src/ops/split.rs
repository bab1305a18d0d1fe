//! Cutting a tensor into views along a dim.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments::{IntOrInts, Several};
use crate::error::{Error, Result};
use crate::layout::{Shape, normalize_dim};
use crate::runtime_error;
use crate::saves;
use crate::storage::check_room;
use crate::tape::frozen::ONE_OF_SEVERAL;
use crate::tape::numbers::Named;
use crate::tape::record::joint_saving;
use crate::tape::{Node, Recorder, is_recording};
use crate::tensor::Tensor;

use super::window::Step;

/// A dim to cut along.
#[derive(Clone, Copy)]
struct Cut {
    dim: usize,
    /// As the user has given it.
    given: isize,
}

impl Tensor {
    /// Views of the given lengths, one after the other; `op` names their common node.
    fn cut(
        &self,
        op: &'static str,
        dim: usize,
        lengths: &[usize],
        safe: bool,
        numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
    ) -> Result<Vec<Tensor>> {
        let x = self;
        let part = |(start, len)| {
            let mut steps = super::window::Steps::from_elem(Step::Keep, dim);
            steps.push(Step::Range { start, len, step: 1 });
            let part = x.with_layout(x.layout().stepped(&steps));
            // Nobody looks after writes to such parts.
            if safe { part } else { part.detached(true) }
        };
        let starts = lengths.iter().scan(0, |end, &len| {
            *end += len;
            Some(*end - len)
        });
        let parts: Vec<Tensor> = starts.zip(lengths.iter().copied()).map(part).collect();
        let (full, dtype, lengths): (Shape, _, Shape) = (x.shape().into(), x.dtype(), lengths.into());
        let rule = move |grads: &[Option<Tensor>], _: &[bool], _: &Arc<Node>| {
            let piece = |(grad, &len): (&Option<Tensor>, &usize)| match grad {
                Some(grad) => Ok(grad.clone()),
                None => {
                    let mut shape = full.clone();
                    shape[dim] = len;
                    Tensor::zeroed(op, &shape, dtype)
                }
            };
            if let [Some(only)] = grads.iter().filter(|g| g.is_some()).collect::<Vec<_>>()[..] {
                let at = grads.iter().position(Option::is_some).unwrap_or(0);
                let (start, len) = (lengths[..at].iter().sum(), lengths[at]);
                let grad = only.embedded("slice_backward", &full, move |z| z.slice_at(dim, start, len, 1))?;
                return Ok(vec![Some(grad)]);
            }
            let pieces = grads.iter().zip(&lengths).map(piece).collect::<Result<Vec<_>>>()?;
            Ok(vec![Some(Tensor::joined("cat", &pieces, dim)?)])
        };
        self.views_of(op, parts, joint_saving(rule, numbers), safe)
    }

    /// Records several views of this tensor as the outputs of one node.
    fn views_of(
        &self,
        op: &'static str,
        views: Vec<Tensor>,
        rule: crate::tape::record::JointRule,
        safe: bool,
    ) -> Result<Vec<Tensor>> {
        let views = if is_recording() && self.dtype().is_inexact() && self.requires_grad() {
            let mut recorder = Recorder::new(op);
            recorder.input(self);
            recorder.finish_joint(views, rule, false)?
        } else {
            views
        };
        if !safe {
            return Ok(views);
        }
        Ok(views.into_iter().map(|view| self.as_base_of(view, Some(ONE_OF_SEVERAL))).collect())
    }

    fn dim_to_cut(&self, op: &'static str, dim: isize) -> Result<Cut> {
        if self.rank() == 0 {
            return runtime_error!("{op}: expects at least a 1-dimensional tensor");
        }
        Ok(Cut { dim: normalize_dim(op, dim, self.rank())?, given: dim })
    }

    fn split_evenly(&self, op: &'static str, size: isize, cut: Cut, safe: bool) -> Result<Vec<Tensor>> {
        let Cut { dim, given } = cut;
        let full = self.shape()[dim];
        if size < 0 {
            return runtime_error!("split: expects split_size be non-negative, but got split_size={size}");
        }
        if size == 0 && full != 0 {
            return runtime_error!("split: split_size can only be 0 if dimension size is 0, but got dimension size of {full}");
        }
        let numbers = saves! { dim: given, split_size: size };
        let size = (size as usize).max(1);
        let count = full.div_ceil(size).max(1);
        check_room::<Tensor>(count)?;
        let lengths: Shape = (0..count).map(|i| size.min(full - i * size)).collect();
        self.cut(op, dim, &lengths, safe, numbers)
    }

    fn split_by(&self, op: &'static str, sizes: &[isize], cut: Cut, safe: bool) -> Result<Vec<Tensor>> {
        let Cut { dim, given } = cut;
        if sizes.iter().any(|&size| size < 0) {
            return runtime_error!("split_with_sizes: expects split_sizes have only non-negative entries, but got {sizes:?}");
        }
        let full = self.shape()[dim];
        let total = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size as usize));
        if total != Some(full) {
            return runtime_error!(
                "split_with_sizes: expects split_sizes to sum exactly to {full} (input tensor's size at dimension {dim}), but got \
                 split_sizes={sizes:?}"
            );
        }
        let lengths: Shape = sizes.iter().map(|&size| size as usize).collect();
        let split_sizes = lengths.clone();
        self.cut(op, dim, &lengths, safe, saves! { dim: given, split_sizes })
    }

    fn cut_in_chunks(&self, chunks: isize, dim: isize, safe: bool) -> Result<Several> {
        let cut = self.dim_to_cut("chunk", dim)?;
        if chunks <= 0 {
            return runtime_error!("chunk: expects `chunks` to be greater than 0, got: {chunks}");
        }
        let (split, with_sizes) = if safe { ("split", "split_with_sizes") } else { ("unsafe_split", "unsafe_split_with_sizes") };
        let full = self.shape()[cut.dim];
        if full == 0 {
            return Ok(Several(self.split_by(with_sizes, &vec![0; chunks as usize], cut, safe)?));
        }
        Ok(Several(self.split_evenly(split, full.div_ceil(chunks as usize) as isize, cut, safe)?))
    }

    /// Slices that end at `indices`, and the rest.
    fn split_at(&self, indices: &[isize], dim: usize) -> Result<Several> {
        let size = self.shape()[dim];
        let mut start = 0;
        let ends = indices.iter().map(|&end| Some(end)).chain([None]);
        let mut slice = |end: Option<isize>| {
            let (first, len) = super::window::resolve_slice(Some(start), end, 1, size)?;
            start = end.unwrap_or(0);
            self.slice_at(dim, first, len, 1)
        };
        Ok(Several(ends.map(&mut slice).collect::<Result<_>>()?))
    }

    fn split_in_sections(&self, sections: isize, dim: usize) -> Result<Several> {
        if sections <= 0 {
            return runtime_error!("tensor_split: number of sections must be larger than 0, got {sections}");
        }
        let (full, sections) = (self.shape()[dim], sections as usize);
        let (length, longer) = (full / sections, full % sections);
        let slice = |i: usize| self.slice_at(dim, i * length + i.min(longer), length + usize::from(i < longer), 1);
        Ok(Several((0..sections).map(slice).collect::<Result<_>>()?))
    }

    fn split_along(&self, op: &'static str, least: usize, dim: usize, how: IntOrInts) -> Result<Several> {
        if self.rank() < least {
            return runtime_error!(
                "{op}: requires a tensor with at least {least} dimension, but got a tensor with {} dimensions!",
                self.rank()
            );
        }
        match how {
            IntOrInts::Int(n) if n <= 0 || !self.shape()[dim].is_multiple_of(n as usize) => runtime_error!(
                "{op}: attempted to split along dimension {dim}, but the size of the dimension {} is not divisible by the \
                 split_size {n}!",
                self.shape()[dim]
            ),
            IntOrInts::Int(n) => self.split_in_sections(n, dim),
            IntOrInts::Ints(indices) => self.split_at(&indices, dim),
        }
    }
}

#[pymethods]
impl Tensor {
    /// Views of `split_size` places of a dim each, the last maybe shorter; or of the sizes in a list, which must sum to the dim's.
    #[pyo3(signature = (split_size=None, dim=0, *, split_size_or_sections=None))]
    pub fn split(&self, split_size: Option<IntOrInts>, dim: isize, split_size_or_sections: Option<IntOrInts>) -> Result<Several> {
        let how = match (split_size, split_size_or_sections) {
            (Some(how), None) | (None, Some(how)) => how,
            _ => return Err(Error::Type("split: expected the sizes, once".into())),
        };
        let dim = self.dim_to_cut("split", dim)?;
        Ok(Several(match how {
            IntOrInts::Int(size) => self.split_evenly("split", size, dim, true)?,
            IntOrInts::Ints(sizes) => self.split_by("split_with_sizes", &sizes, dim, true)?,
        }))
    }

    /// Views of the given sizes along a dim.
    #[pyo3(signature = (split_sizes, dim=0))]
    pub fn split_with_sizes(&self, split_sizes: super::arguments::Dims, dim: isize) -> Result<Several> {
        let dim = self.dim_to_cut("split_with_sizes", dim)?;
        Ok(Several(self.split_by("split_with_sizes", &split_sizes, dim, true)?))
    }

    /// At most `chunks` views of equal size, the last maybe shorter.
    #[pyo3(signature = (chunks, dim=0))]
    pub fn chunk(&self, chunks: isize, dim: isize) -> Result<Several> {
        self.cut_in_chunks(chunks, dim, true)
    }

    /// As `chunk`; writing to the parts is the caller's own affair.
    #[pyo3(signature = (chunks, dim=0))]
    pub fn unsafe_chunk(&self, chunks: isize, dim: isize) -> Result<Several> {
        self.cut_in_chunks(chunks, dim, false)
    }

    /// As `split`; writing to the parts is the caller's own affair.
    #[pyo3(signature = (split_size, dim=0))]
    pub fn unsafe_split(&self, split_size: isize, dim: isize) -> Result<Several> {
        let dim = self.dim_to_cut("split", dim)?;
        Ok(Several(self.split_evenly("unsafe_split", split_size, dim, false)?))
    }

    /// As `split_with_sizes`; writing to the parts is the caller's own affair.
    #[pyo3(signature = (split_sizes, dim=0))]
    pub fn unsafe_split_with_sizes(&self, split_sizes: super::arguments::Dims, dim: isize) -> Result<Several> {
        let dim = self.dim_to_cut("split_with_sizes", dim)?;
        Ok(Several(self.split_by("unsafe_split_with_sizes", &split_sizes, dim, false)?))
    }

    /// Views cut at the given places of a dim, or so many views of (nearly) equal size.
    #[pyo3(signature = (indices_or_sections=None, dim=0, *, indices=None, sections=None))]
    pub fn tensor_split(
        &self,
        indices_or_sections: Option<IntOrInts>,
        dim: isize,
        indices: Option<IntOrInts>,
        sections: Option<IntOrInts>,
    ) -> Result<Several> {
        let dim = self.dim_to_cut("tensor_split", dim)?.dim;
        match indices_or_sections.or(indices).or(sections) {
            Some(IntOrInts::Int(sections)) => self.split_in_sections(sections, dim),
            Some(IntOrInts::Ints(indices)) => self.split_at(&indices, dim),
            None => Err(Error::Type("tensor_split: missing argument 'indices_or_sections'".into())),
        }
    }

    /// Views along the second dim (the first of a 1-d tensor); see `tensor_split`.
    pub fn hsplit(&self, indices_or_sections: IntOrInts) -> Result<Several> {
        self.split_along("hsplit", 1, usize::from(self.rank() > 1), indices_or_sections)
    }

    /// Views along the first dim; see `tensor_split`.
    pub fn vsplit(&self, indices_or_sections: IntOrInts) -> Result<Several> {
        self.split_along("vsplit", 2, 0, indices_or_sections)
    }

    /// Views along the third dim; see `tensor_split`.
    pub fn dsplit(&self, indices_or_sections: IntOrInts) -> Result<Several> {
        self.split_along("dsplit", 3, 2, indices_or_sections)
    }

    /// A view of each place of a dim.
    ///
    /// Raises: IndexError if the tensor has no such dim.
    #[pyo3(signature = (dim=0))]
    pub fn unbind(&self, dim: isize) -> Result<Several> {
        let x = self;
        if x.rank() == 0 {
            return Err(Error::Index(format!("unbind: dimension specified as {dim} but tensor has no dimensions")));
        }
        let (given, dim) = (dim, normalize_dim("unbind", dim, x.rank())?);
        let mut steps = super::window::Steps::from_elem(Step::Keep, dim + 1);
        let place = |i| {
            steps[dim] = Step::At(i);
            x.with_layout(x.layout().stepped(&steps))
        };
        check_room::<Tensor>(x.shape()[dim])?;
        let places: Vec<Tensor> = (0..x.shape()[dim]).map(place).collect();
        let (mut shape, dtype): (Shape, _) = (x.shape().into(), x.dtype());
        shape.remove(dim);
        let rule = move |grads: &[Option<Tensor>], _: &[bool], _: &Arc<Node>| {
            let piece = |grad: &Option<Tensor>| match grad {
                Some(grad) => Ok(grad.clone()),
                None => Tensor::zeroed("unbind", &shape, dtype),
            };
            let pieces = grads.iter().map(piece).collect::<Result<Vec<_>>>()?;
            Ok(vec![Some(Tensor::stacked(&pieces, dim)?)])
        };
        Ok(Several(self.views_of("unbind", places, joint_saving(rule, saves! { dim: given }), true)?))
    }
}
