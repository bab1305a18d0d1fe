//! Views of a part: `select`, `narrow`, slices, `unfold`, `as_strided`; and their gradients, which put the part back
//! in its place among zeros.

use pyo3::prelude::*;
use smallvec::SmallVec;

use super::arguments::{Dims, MemoryFormat, Operand};
use super::samples;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::{Layout, Shape, Strides, checked_numel, normalize_dim};
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tape::{node::COPY_SLICES, without_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// What basic indexing does with one dim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Keeps it.
    Keep,
    /// Picks one place; the dim is gone.
    At(usize),
    /// Keeps `len` places from `start` on, `step` apart.
    Range {
        /// The first place.
        start: usize,
        /// How many.
        len: usize,
        /// How far apart.
        step: usize,
    },
    /// Inserts a dim of size 1.
    New,
}

/// What the node of such a view is called after, with what its user gave.
#[derive(Clone, Copy)]
pub enum Part {
    /// All of it.
    Whole,
    /// A place of a dim.
    Select {
        /// The dim.
        dim: isize,
        /// The place.
        index: isize,
    },
    /// Some places of a dim.
    Slice {
        /// The dim.
        dim: isize,
        /// The first.
        start: isize,
        /// The one after the last.
        end: isize,
        /// How far apart.
        step: isize,
    },
    /// Everything, with a new dim.
    New {
        /// The dim.
        dim: isize,
    },
}

impl Part {
    /// The op.
    fn op(self) -> &'static str {
        match self {
            Part::Whole => "alias",
            Part::Select { .. } => "select",
            Part::Slice { .. } => "slice",
            Part::New { .. } => "unsqueeze",
        }
    }

    fn backward_op(self) -> &'static str {
        match self {
            Part::Select { .. } => "select_backward",
            Part::New { .. } => "squeeze",
            _ => "slice_backward",
        }
    }

    fn numbers(self) -> Named {
        match self {
            Part::Whole => Named::new(),
            Part::Select { dim, index } => saves! { dim, index }(),
            Part::Slice { dim, start, end, step } => saves! { dim, start, end, step }(),
            Part::New { dim } => saves! { dim }(),
        }
    }
}

/// One step for each dim of the input (and for each new one); dims left over are kept.
pub type Steps = SmallVec<[Step; 5]>;

impl Layout {
    /// The part that some steps leave. They must fit the shape.
    pub fn stepped(&self, steps: &[Step]) -> Layout {
        let mut out = Layout { shape: Shape::new(), strides: Strides::new(), offset: self.offset };
        let mut d = 0;
        for step in steps {
            match *step {
                Step::New => {
                    let stride = if d < self.rank() { self.shape[d] as isize * self.strides[d] } else { 1 };
                    out.shape.push(1);
                    out.strides.push(stride);
                    continue;
                }
                Step::Keep => {
                    out.shape.push(self.shape[d]);
                    out.strides.push(self.strides[d]);
                }
                Step::At(place) => out.offset = out.offset.wrapping_add_signed(place as isize * self.strides[d]),
                Step::Range { start, len, step } => {
                    out.offset = out.offset.wrapping_add_signed(start as isize * self.strides[d]);
                    out.shape.push(len);
                    out.strides.push(self.strides[d] * step as isize);
                }
            }
            d += 1;
        }
        out.shape.extend_from_slice(&self.shape[d..]);
        out.strides.extend_from_slice(&self.strides[d..]);
        if out.shape.contains(&0) {
            // Nothing to point at: an offset past the end would be out of bounds.
            out.offset = self.offset;
        }
        out
    }
}

impl Tensor {
    /// The part that some steps leave; `part` names the node.
    pub(crate) fn stepped(&self, part: Part, steps: Steps) -> Result<Tensor> {
        let x = self;
        let y = x.with_layout(x.layout().stepped(&steps));
        let shape: Shape = x.shape().into();
        let y = vjp!(part.op(), y, { x: |g| {
            let steps = steps.clone();
            g.embedded(part.backward_op(), &shape, move |z| z.stepped(part, steps.clone()))
        } }, saves { ..move || part.numbers() })?;
        Ok(self.as_base_of(y, None))
    }

    /// One place of a dim.
    pub(crate) fn select_at(&self, dim: usize, place: usize) -> Result<Tensor> {
        self.select_as(dim, place, Part::Select { dim: dim as isize, index: place as isize })
    }

    /// The same as `part` names it.
    pub(crate) fn select_as(&self, dim: usize, place: usize, part: Part) -> Result<Tensor> {
        let mut steps = Steps::from_elem(Step::Keep, dim);
        steps.push(Step::At(place));
        self.stepped(part, steps)
    }

    /// Some places of a dim.
    pub(crate) fn slice_at(&self, dim: usize, start: usize, len: usize, step: usize) -> Result<Tensor> {
        self.slice_as(dim as isize, dim, start, len, step)
    }

    /// The same of a dim that the user has `given` in another way.
    fn slice_as(&self, given: isize, dim: usize, start: usize, len: usize, step: usize) -> Result<Tensor> {
        let end = (start + len.saturating_mul(step)) as isize;
        let part = Part::Slice { dim: given, start: start as isize, end, step: step as isize };
        let mut steps = Steps::from_elem(Step::Keep, dim);
        steps.push(Step::Range { start, len, step });
        self.stepped(part, steps)
    }

    /// Zeros of a shape but for the view `window` of them, which holds this tensor.
    pub(crate) fn embedded<F>(&self, op: &'static str, shape: &[usize], window: F) -> Result<Tensor>
    where
        F: Fn(&Tensor) -> Result<Tensor> + Clone + Send + Sync + 'static,
    {
        self.embedded_saving(op, shape, window, Named::new)
    }

    /// The same of an op that saves numbers.
    pub(crate) fn embedded_saving<F>(
        &self,
        op: &'static str,
        shape: &[usize],
        window: F,
        numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
    ) -> Result<Tensor>
    where
        F: Fn(&Tensor) -> Result<Tensor> + Clone + Send + Sync + 'static,
    {
        let x = self;
        let y = Tensor::zeroed(op, shape, x.dtype())?;
        without_recording(|| window(&y))?.write(x)?;
        vjp!(op, y.without_meta(), { x: |g| window(g) }, saves { ..numbers })
    }

    /// The place in `dim` that `index` counts, from the end if negative.
    pub(crate) fn place(&self, op: &str, dim: usize, index: isize) -> Result<usize> {
        let size = self.shape().get(dim).copied().unwrap_or(0) as isize;
        if (-size..size).contains(&index) {
            return Ok(index.rem_euclid(size) as usize);
        }
        Err(Error::Index(format!("{op}index {index} is out of bounds for dimension {dim} with size {size}")))
    }
}

/// A Python slice of a dim of a given size: start and length.
pub fn resolve_slice(start: Option<isize>, stop: Option<isize>, step: isize, size: usize) -> Result<(usize, usize)> {
    if step <= 0 {
        return Err(Error::Value(format!("slice step must be positive, got {step}")));
    }
    let size = size as isize;
    let clamp = |place: isize| (if place < 0 { place.saturating_add(size) } else { place }).clamp(0, size);
    let (start, stop) = (clamp(start.unwrap_or(0)), clamp(stop.unwrap_or(size)));
    Ok((start as usize, ((stop - start).max(0) as usize).div_ceil(step as usize)))
}

#[pymethods]
impl Tensor {
    /// The part of dim `dim` at `index`; the dim is gone.
    ///
    /// Raises: IndexError if either is out of range.
    pub fn select(&self, dim: isize, index: isize) -> Result<Tensor> {
        if self.rank() == 0 {
            return Err(Error::Index("select: cannot be applied to a 0-dim tensor".into()));
        }
        let place = normalize_dim("select", dim, self.rank())?;
        self.select_as(place, self.place("select: ", place, index)?, Part::Select { dim, index })
    }

    /// A copy of what `narrow` views.
    pub fn narrow_copy(&self, dim: isize, start: isize, length: isize) -> Result<Tensor> {
        self.narrow(dim, Operand::Number(Scalar::Int(start as i64)), length)?.to_copy(self.dtype(), MemoryFormat::Contiguous)
    }

    /// The part of dim `dim` of `length` places from `start` on.
    ///
    /// Raises: IndexError if `dim` or `start` is out of range, RuntimeError if the length is.
    pub fn narrow(&self, dim: isize, start: Operand, length: isize) -> Result<Tensor> {
        let start = match start {
            Operand::Number(Scalar::Int(start)) => start as isize,
            Operand::Number(_) => return Err(Error::Type("narrow: start must be an int or a Tensor".into())),
            Operand::Tensor(start) if start.rank() == 0 && !start.dtype().is_float() && start.dtype() != DType::Bool => {
                start.scalar()?.to::<i64>() as isize
            }
            Operand::Tensor(_) => return runtime_error!("narrow: start must be an 0-dim integral Tensor."),
        };
        if self.rank() == 0 {
            return runtime_error!("narrow: cannot be applied to a 0-dim tensor");
        }
        if length < 0 {
            return runtime_error!("narrow: length must be non-negative, got {length}");
        }
        let (given, dim) = (dim, normalize_dim("narrow", dim, self.rank())?);
        let size = self.shape()[dim] as isize;
        if !(-size..=size).contains(&start) {
            return Err(Error::Index(format!(
                "narrow: start out of range (expected to be in range of [{}, {size}], but got {start})",
                -size
            )));
        }
        let start = if start < 0 { start + size } else { start };
        if length > size - start {
            return runtime_error!("narrow: start ({start}) + length ({length}) exceeds dimension size ({size}).");
        }
        self.slice_as(given, dim, start as usize, length as usize, 1)
    }

    /// All windows of `size` places of a dim, `step` apart; their places become a new last dim.
    ///
    /// Derivative: windows that overlap add up.
    /// Raises: RuntimeError if `size` is larger than the dim, or `step` not positive.
    pub fn unfold(&self, dimension: isize, size: isize, step: isize) -> Result<Tensor> {
        let dim = normalize_dim("unfold", dimension, self.rank())?;
        let full = self.shape().get(dim).copied().unwrap_or(1);
        if size < 0 {
            return runtime_error!("unfold: size is {size} but must be >= 0");
        }
        if size as usize > full {
            return runtime_error!("unfold: maximum size for tensor at dimension {dim} is {full} but size is {size}");
        }
        if step <= 0 {
            return runtime_error!("unfold: step is {step} but must be > 0");
        }
        self.unfolded_as(dimension, dim, size as usize, step as usize)
    }

    /// A view of the same storage with any sizes, strides and offset (all in elements).
    ///
    /// Derivative: places that are seen several times add up.
    /// Raises: RuntimeError if it would reach outside the storage.
    #[pyo3(signature = (size, stride, storage_offset=None))]
    pub fn as_strided(&self, size: Dims, stride: Dims, storage_offset: Option<isize>) -> Result<Tensor> {
        self.as_strided_as("as_strided", &size, &stride, storage_offset)
    }
}

impl Tensor {
    /// See `as_strided`; `op` names the node.
    pub(crate) fn as_strided_as(
        &self,
        op: &'static str,
        size: &[isize],
        stride: &[isize],
        storage_offset: Option<isize>,
    ) -> Result<Tensor> {
        // An offset is the first sample's in its batch.
        let offset = storage_offset.map(|offset| offset.saturating_add_unsigned(samples::start_of(self)));
        let layout = self.strided_layout("as_strided", size, stride, offset)?;
        self.check_within_sample(&layout)?;
        self.with_strides_as(op, layout, storage_offset)
    }

    /// Fails, as torch, if this is a sample and the window shows more of its batch than lies between its first and its last element.
    fn check_within_sample(&self, window: &Layout) -> Result<()> {
        let sample = self.layout();
        let is_within = || sample.numel() > 0 && window.offset >= sample.offset && window.end() <= sample.end();
        if window.numel() == 0 || !samples::are_any_mapped([self]) || is_within() {
            return Ok(());
        }
        runtime_error!(
            "as_strided: sizes {:?}, strides {:?} and storage offset {} can access memory outside of `tensor`, a sample. This is not \
             supported inside of vmap, please try to rewrite the `as_strided` call as a sequence of PyTorch view operations",
            window.shape,
            window.strides,
            window.offset
        )
    }

    /// See `unfold`.
    pub(crate) fn unfolded(&self, dim: usize, size: usize, step: usize) -> Result<Tensor> {
        self.unfolded_as(dim as isize, dim, size, step)
    }

    /// The same of a dim that the user has `given` in another way.
    fn unfolded_as(&self, given: isize, dim: usize, size: usize, step: usize) -> Result<Tensor> {
        let x = self;
        let mut layout = x.layout().clone();
        if x.rank() == 0 {
            layout.shape.push(size);
            layout.strides.push(1);
        } else {
            let stride = layout.strides[dim];
            layout.shape[dim] = (layout.shape[dim] - size) / step + 1;
            layout.strides[dim] = stride * step as isize;
            layout.shape.push(size);
            layout.strides.push(stride);
        }
        let shape: Shape = x.shape().into();
        let y = vjp!("unfold", x.with_layout(layout), { x: |g| g.unfold_backward(&shape, dim, size, step) }, saves {
            dimension: given, size, step
        })?;
        Ok(self.as_base_of(y, None))
    }

    /// The sum of all windows, each at its place in zeros of `shape`.
    pub(crate) fn unfold_backward(&self, shape: &[usize], dim: usize, size: usize, step: usize) -> Result<Tensor> {
        let g = self;
        let full = Tensor::zeroed("unfold_backward", shape, g.dtype())?;
        let windows = without_recording(|| full.unfolded(dim, size, step))?;
        windows.add_strided(g)?;
        vjp!("unfold_backward", full.without_meta(), { g: |gg| gg.unfolded(dim, size, step) }, saves { dim, size, step })
    }

    /// Checks sizes, strides and offset against the storage.
    pub(crate) fn strided_layout(
        &self,
        op: &'static str,
        size: &[isize],
        stride: &[isize],
        offset: Option<isize>,
    ) -> Result<Layout> {
        if size.len() != stride.len() {
            return runtime_error!("{op}: mismatch in length of strides and shape");
        }
        if stride.iter().any(|&s| s < 0) {
            return runtime_error!("{op}: Negative strides are not supported at the moment, got strides: {stride:?}");
        }
        let offset = offset.unwrap_or(self.layout().offset as isize);
        if size.iter().any(|&n| n < 0) || offset < 0 {
            return runtime_error!("{op}: sizes {size:?} and offset {offset} must not be negative");
        }
        let shape: Shape = size.iter().map(|&n| n as usize).collect();
        checked_numel(op, &shape)?;
        let reach = size.iter().zip(stride).try_fold(offset, |end, (&n, &s)| end.checked_add((n - 1).max(0).checked_mul(s)?));
        let available = self.storage().bytes() / self.dtype().size();
        let fits = shape.contains(&0) || reach.is_some_and(|last| (last as usize) < available);
        if !fits {
            return runtime_error!(
                "{op}: sizes {size:?}, strides {stride:?} and storage offset {offset} are out of bounds for storage of {available} elements"
            );
        }
        let offset = if shape.contains(&0) { (offset as usize).min(available) } else { offset as usize };
        Ok(Layout { shape, strides: Strides::from_slice(stride), offset })
    }

    /// A view with any layout within the storage.
    pub(crate) fn with_strides(&self, layout: Layout) -> Result<Tensor> {
        let offset = layout.offset as isize;
        self.with_strides_as("as_strided", layout, Some(offset))
    }

    fn with_strides_as(&self, op: &'static str, layout: Layout, storage_offset: Option<isize>) -> Result<Tensor> {
        let x = self;
        let (input, window) = (x.layout().clone(), layout.clone());
        let Layout { shape, strides, .. } = layout.clone();
        let y = vjp!(op, x.with_layout(layout), { x: |g| g.window_backward(&input, &window) }, saves {
            size: shape, stride: strides, storage_offset
        })?;
        Ok(self.as_base_of(y, None))
    }

    /// The parts, views of this tensor, as one view with a dim for them; `stride` is that of a single one. `None` for what cannot be
    /// shown so.
    pub fn view_of_parts(&self, parts: &[Tensor], dim: usize, stride: isize) -> Result<Option<Tensor>> {
        let [first, rest @ ..] = parts else { return Ok(None) };
        let Layout { shape, strides, offset } = first.layout();
        if first.dtype() != self.dtype() && first.dtype() == self.dtype().to_real() && first.storage().same(self.storage()) {
            return self.view_as_real()?.view_of_parts(parts, dim, 2 * stride);
        }
        if first.dtype() != self.dtype() && first.dtype().to_real() == self.dtype() && first.storage().same(self.storage()) {
            let is_pair = |&d: &usize| self.shape()[d] == 2 && self.strides()[d] == 1;
            let Some(pair) = (0..self.rank()).rev().find(is_pair) else { return Ok(None) };
            let dims: Vec<usize> = (0..self.rank()).filter(|&d| d != pair).chain([pair]).collect();
            let pairs = if dims.is_sorted() { self.clone() } else { self.permuted(&dims)? };
            // Where the samples lie within pairs there is no such view.
            return pairs.view_as_complex().map_or(Ok(None), |x| x.view_of_parts(parts, dim, stride / 2));
        }
        let is_empty = first.numel() == 0;
        let between = |second: &Tensor| second.layout().offset as isize - *offset as isize;
        let step = rest.first().filter(|_| !is_empty).map_or(stride, between);
        let is_at = |(i, part): (usize, &Tensor)| {
            let place = part.layout();
            let is_there = is_empty || place.offset as isize == *offset as isize + i as isize * step;
            is_there && (&place.shape, &place.strides) == (shape, strides)
        };
        let recorded = parts.iter().any(Tensor::requires_grad);
        let is_shown = |part: &Tensor| {
            part.storage().same(self.storage()) && part.dtype() == self.dtype() && (!recorded || part.is_plain_view_of(self))
        };
        if step < 0 || !parts.iter().enumerate().all(is_at) || !parts.iter().all(is_shown) {
            return Ok(None);
        }
        let mut layout = first.layout().clone();
        layout.shape.insert(dim, parts.len());
        layout.strides.insert(dim, step);
        if !recorded && (self.requires_grad() || !first.is_view()) {
            return Ok(Some(self.detached(false).with_layout(layout)));
        }
        self.with_strides(layout).map(Some)
    }

    /// The gradient of a window on a tensor with `base` layout: zero but in the window. Both layouts are of one storage;
    /// where the window shows a place several times, or the base holds it several times, sums are shared out evenly.
    pub(crate) fn window_backward(&self, base: &Layout, window: &Layout) -> Result<Tensor> {
        let start = base.offset.min(window.offset);
        let length = base.end().max(window.end()) - start;
        let relative = |layout: &Layout| Layout { offset: layout.offset - start, ..layout.clone() };
        let (base, window) = (relative(base), relative(window));
        let mut flat = self.scattered(length, window)?;
        if base.may_overlap() {
            let one = Tensor::from_scalar(Scalar::Int(1), self.dtype())?;
            let count = one.expand_to("as_strided", &base.shape)?.scattered(length, base.clone())?;
            flat = (&flat / &count)?;
        }
        flat.gathered(base)
    }

    /// The gradient of a base with the part in the window set to zero.
    pub(crate) fn window_zeroed(&self, base: &Layout, window: &Layout) -> Result<Tensor> {
        let x = self;
        let start = base.offset.min(window.offset);
        let length = base.end().max(window.end()) - start;
        let relative = |layout: &Layout| Layout { offset: layout.offset - start, ..layout.clone() };
        let flat = Tensor::uninitialized("window_zeroed", &[length], x.dtype())?;
        let y = flat.with_layout(relative(base));
        y.write(x)?;
        flat.with_layout(relative(window)).fill(Scalar::Int(0))?;
        let (base, window) = (base.clone(), window.clone());
        vjp!("window_zeroed", y, { x: |g| g.window_zeroed(&base, &window) })
    }

    /// The gradient of a base with another one in the place of the window's.
    pub(crate) fn window_replaced(&self, base: &Layout, window: &Layout, part: &Tensor) -> Result<Tensor> {
        let x = self;
        let start = base.offset.min(window.offset);
        let length = base.end().max(window.end()) - start;
        let relative = |layout: &Layout| Layout { offset: layout.offset - start, ..layout.clone() };
        let flat = Tensor::uninitialized("window_replaced", &[length], x.dtype())?;
        let y = flat.with_layout(relative(base));
        y.write(x)?;
        flat.with_layout(relative(window)).write(part)?;
        let rest = (base.clone(), window.clone());
        let shown = rest.clone();
        vjp!(COPY_SLICES, y, { x: |g| g.window_zeroed(&rest.0, &rest.1), part: |g| g.window_of(&shown.0, &shown.1) })
    }

    /// The part of a base's gradient that a window shows.
    pub(crate) fn window_of(&self, base: &Layout, window: &Layout) -> Result<Tensor> {
        let start = base.offset.min(window.offset);
        let length = base.end().max(window.end()) - start;
        let relative = |layout: &Layout| Layout { offset: layout.offset - start, ..layout.clone() };
        self.scattered(length, relative(base))?.gathered(relative(window))
    }

    /// `length` zeros to which this tensor is added at the places of a layout.
    fn scattered(&self, length: usize, layout: Layout) -> Result<Tensor> {
        let x = self;
        let y = Tensor::zeroed("scattered", &[length], x.dtype())?;
        y.with_layout(layout.clone()).add_strided(x)?;
        vjp!("scattered", y, { x: |g| g.gathered(layout.clone()) })
    }

    /// The places of a layout in a 1-d tensor, as a copy.
    fn gathered(&self, layout: Layout) -> Result<Tensor> {
        let x = self.contiguous()?;
        let length = x.numel();
        let mut window = layout.clone();
        window.offset += x.layout().offset;
        let y = x.with_layout(window).copied()?;
        vjp!("gathered", y, { x: |g| g.scattered(length, layout.clone()) })
    }

    /// Adds `x`, of the same shape, to this view, whose places may overlap. Not recorded.
    fn add_strided(&self, x: &Tensor) -> Result<()> {
        if !self.layout().may_overlap() {
            // Nothing has been added yet where places do not overlap.
            return self.write(x);
        }
        self.put_one_by_one(x, true)
    }
}
