//! The tensor: storage, layout and place on the tape. Cloning a handle is cheap and copies no element.

use std::ops::Range;
use std::sync::{Arc, OnceLock, Weak};

use pyo3::prelude::*;

use crate::dtype::{DType, Element, Scalar};
use crate::error::Result;
use crate::kernels::{par, without_interpreter};
use crate::layout::{Layout, Strides, checked_numel, contiguous_strides, copy_of};
use crate::runtime_error;
use crate::storage::{Access, Storage, Watch};
use crate::tape::held;
use crate::tape::node::{DUAL_LEAF, PRIMAL, apart};
use crate::tape::sample::{Maps, Samples};
use crate::tape::{Edge, Meta, Node, mode};

mod counts;
mod saved;

pub use counts::BatchCount;
use counts::Counts;
pub use saved::SavedInput;
use saved::{Given, Saved};

/// An n-dimensional array of one dtype that can take part in differentiation.
///
/// A handle: clones are the same tensor, to the user and on the tape. By its alignment the tape knows which derivative
/// rules hold tensors; see [`holds_tensor`](crate::tape::record::holds_tensor).
#[repr(align(16))]
#[pyclass(module = "ferrograd", subclass, dict, weakref, name = "Tensor")]
pub struct Tensor {
    body: Arc<Body>,
    /// Whether it was saved for backward.
    saved: Option<Saved>,
    /// Made from a Python number: takes part in promotion by its kind only.
    is_number: bool,
    /// The next kernel may write its result over this operand.
    reusable: bool,
    /// Rules that save it do not follow if it is given other data.
    fixed: bool,
}

impl Clone for Tensor {
    #[inline]
    fn clone(&self) -> Tensor {
        if self.saved.is_some()
            && held::is_looking()
            && let Some(other) = held::show(self)
        {
            return other;
        }
        let Tensor { body, saved, is_number, reusable, fixed } = self;
        Tensor { body: body.clone(), saved: *saved, is_number: *is_number, reusable: *reusable, fixed: *fixed }
    }
}

/// Keeps a leaf, as torch's graphs do, that the user may have let go.
#[derive(Clone, Default)]
pub struct LeafHandle(KeptLeaf);

#[derive(Clone, Default)]
enum KeptLeaf {
    /// It is only a place to end at.
    #[default]
    None,
    /// As it was at first, with the memory of then.
    First(Arc<Body>),
    /// Of a leaf that has been given other data: what it shows now.
    Given(Arc<Given>),
}

impl LeafHandle {
    fn body(&self) -> Option<Arc<Body>> {
        match &self.0 {
            KeptLeaf::None => None,
            KeptLeaf::First(body) => Some(body.clone()),
            KeptLeaf::Given(given) => Some(given.lock().clone()),
        }
    }

    /// The leaf, as it is now.
    pub fn tensor(&self) -> Option<Tensor> {
        let body = self.body()?;
        Some(Tensor { body, saved: None, is_number: false, reusable: false, fixed: false }.current())
    }

    /// Whether nothing else holds the leaf.
    pub fn is_only(&self) -> bool {
        match &self.0 {
            KeptLeaf::None => false,
            KeptLeaf::First(body) => Arc::strong_count(body) == 1,
            KeptLeaf::Given(given) => Arc::strong_count(given) == 1 && Arc::strong_count(&given.lock()) == 1,
        }
    }
}

/// What the handles of a tensor share. Only its place on the tape ever changes.
struct Body {
    storage: Storage,
    layout: Layout,
    /// What the layout says, asked for many times.
    contiguous: bool,
    dtype: DType,
    /// Made in inference mode: may never take part in a recording.
    inference: bool,
    /// The innermost transform of a function that it was made in; of a view, that of what it shows. See [`crate::tape::level`].
    level: u64,
    /// What it has to do with the samples of functions that are being mapped.
    samples: Samples,
    /// What counts the writes to it.
    counts: Counts,
    /// The op that made the tensor, which `meta` replaces when there is need of one.
    origin: Option<(Arc<Node>, usize)>,
    meta: OnceLock<Arc<Meta>>,
    /// What the tensor shows now, if it has been given other data: for the rules that hold this.
    given: OnceLock<Arc<Given>>,
    /// Where those find this that hold what the tensor showed before.
    found_by: Weak<Given>,
}

impl Tensor {
    fn of(body: Body) -> Tensor {
        debug_assert!(body.layout.end() * body.dtype.size() <= body.storage.bytes());
        Tensor { body: Arc::new(body), saved: None, is_number: false, reusable: false, fixed: false }
    }

    /// A tensor over existing memory. The layout must lie within the storage.
    pub fn from_parts(storage: Storage, layout: Layout, dtype: DType) -> Tensor {
        let contiguous = layout.is_contiguous();
        Tensor::made_now(storage, layout, contiguous, dtype)
    }

    /// [`from_parts`](Self::from_parts) for a layout of which it is known whether it is contiguous.
    #[inline(always)]
    fn made_now(storage: Storage, layout: Layout, contiguous: bool, dtype: DType) -> Tensor {
        let mode = mode::mode();
        Tensor::of(Body {
            storage,
            layout,
            contiguous,
            dtype,
            inference: mode.inference,
            level: mode.level.number,
            samples: Samples::of_maps(mode.made_of),
            counts: Counts::Memory,
            origin: None,
            meta: OnceLock::new(),
            given: OnceLock::new(),
            found_by: Weak::new(),
        })
    }

    /// Another tensor over the same memory, off the tape.
    fn sharing(&self, layout: Layout, dtype: DType) -> Tensor {
        let Body { storage, inference, level, counts, samples, .. } = &*self.body;
        let samples = if samples.in_front() || layout == *self.layout() { samples.clone() } else { samples.of_view() };
        Tensor::of(Body {
            storage: storage.clone(),
            contiguous: layout.is_contiguous(),
            layout,
            dtype,
            inference: *inference,
            level: *level,
            samples,
            counts: counts.clone(),
            origin: None,
            meta: OnceLock::new(),
            given: OnceLock::new(),
            found_by: Weak::new(),
        })
    }

    /// A contiguous tensor with arbitrary contents.
    pub fn uninitialized(op: &'static str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let numel = checked_numel(op, shape)?;
        let storage = Storage::uninitialized(numel * dtype.size())?;
        Ok(Tensor::from_parts(storage, Layout::contiguous(shape), dtype))
    }

    /// A contiguous tensor with the shape of this contiguous one, and arbitrary contents.
    pub(crate) fn uninitialized_like(&self, dtype: DType) -> Result<Tensor> {
        let Layout { shape, strides, .. } = self.layout();
        // Dims of one element may have any stride; a new tensor has the regular one.
        let strides = if shape.contains(&1) { contiguous_strides(shape) } else { copy_of(strides) };
        let storage = Storage::uninitialized(self.numel() * dtype.size())?;
        let layout = Layout { shape: copy_of(shape), strides, offset: 0 };
        Ok(Tensor::made_now(storage, layout, true, dtype))
    }

    /// A tensor with arbitrary contents whose strides are dense in some order of dimensions.
    pub fn uninitialized_strided(op: &'static str, shape: &[usize], strides: Strides, dtype: DType) -> Result<Tensor> {
        let numel = checked_numel(op, shape)?;
        let storage = Storage::uninitialized(numel * dtype.size())?;
        let layout = Layout { shape: shape.into(), strides, offset: 0 };
        Ok(Tensor::from_parts(storage, layout, dtype))
    }

    /// A contiguous tensor of the values of a slice.
    pub fn from_slice<T: Element>(shape: &[usize], values: &[T]) -> Result<Tensor> {
        let y = Tensor::uninitialized("tensor", shape, T::DTYPE)?;
        if values.len() != y.numel() {
            return runtime_error!("tensor: {} values do not fill the shape {shape:?}", values.len());
        }
        // SAFETY: the memory is fresh, aligned, and as large as `values`.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), y.ptr::<T>(), values.len()) };
        Ok(y)
    }

    /// A 0-d tensor of one number.
    pub fn from_scalar(value: Scalar, dtype: DType) -> Result<Tensor> {
        crate::dispatch_all!(dtype, "tensor", T => Tensor::from_slice::<T>(&[], &[value.to::<T>()]))
    }

    /// A Python number as an operand: 0-d, with the dtype that promotion looks at.
    pub fn from_number(value: Scalar) -> Result<Tensor> {
        let dtype = match value {
            Scalar::Bool(_) => DType::Bool,
            Scalar::Int(_) | Scalar::UInt(_) => DType::I64,
            Scalar::Float(_) => DType::F64,
            Scalar::Complex(_) => DType::C128,
        };
        Tensor::from_number_as(value, dtype)
    }

    /// A Python number as an operand that is already of the dtype that it promotes to.
    pub fn from_number_as(value: Scalar, dtype: DType) -> Result<Tensor> {
        Ok(Tensor { is_number: true, ..Tensor::from_scalar(value, dtype)? })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.body.dtype
    }

    /// Shape, strides and offset.
    pub fn layout(&self) -> &Layout {
        &self.body.layout
    }

    /// The sizes.
    pub fn shape(&self) -> &[usize] {
        &self.body.layout.shape
    }

    /// The strides, in elements.
    pub fn strides(&self) -> &[isize] {
        &self.body.layout.strides
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.body.layout.rank()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.body.layout.numel()
    }

    /// The memory.
    pub fn storage(&self) -> &Storage {
        &self.body.storage
    }

    /// Whether no other handle knows this tensor, and none its memory, which is ours.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.body) == 1 && self.storage().is_unique()
    }

    /// Whether it was made from a Python number.
    pub fn is_number(&self) -> bool {
        self.is_number
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.body.contiguous
    }

    /// Whether it was made in inference mode.
    pub fn is_inference(&self) -> bool {
        self.body.inference
    }

    /// The innermost transform of a function that it was made in, or what it shows; 0 is none.
    pub fn level(&self) -> u64 {
        self.body.level
    }

    /// The maps whose samples it depends on. Ops on tensors hand them on; numbers that the user reads do not.
    #[inline]
    pub fn sample_of(&self) -> Maps {
        self.samples().of()
    }

    /// What it has to do with the samples of functions that are being mapped.
    #[inline]
    pub(crate) fn samples(&self) -> &Samples {
        &self.body.samples
    }

    /// Notes, while a function is being mapped, that it depends on samples of these.
    #[inline]
    pub(crate) fn note_sample_of(&self, maps: Maps) {
        if maps.is_some() && mode::mode().level.maps != 0 {
            self.samples().note(maps);
        }
    }

    /// Whether ops note what comes of it: to differentiate, or because it depends on a sample.
    #[inline]
    pub fn is_followed(&self) -> bool {
        self.sample_of().is_some() || self.requires_grad()
    }

    /// The same tensor as one that the innermost transform has made.
    pub(crate) fn at_this_level(&self, samples: Samples) -> Tensor {
        let Body { storage, layout, contiguous, dtype, inference, counts, origin, meta, .. } = &*self.body;
        Tensor::of(Body {
            storage: storage.clone(),
            layout: layout.clone(),
            contiguous: *contiguous,
            dtype: *dtype,
            inference: *inference,
            level: mode::mode().level.number,
            samples,
            counts: counts.clone(),
            origin: origin.clone(),
            meta: meta.clone(),
            given: OnceLock::new(),
            found_by: Weak::new(),
        })
    }

    /// What counts the writes to this batch while its samples are written to one by one.
    pub(crate) fn batch_count(&self) -> Arc<BatchCount> {
        Arc::new(BatchCount::new(&self.body.counts, self.storage()))
    }

    /// This tensor, which no other handle shows, as a sample of a batch, taken from it at this version.
    pub(crate) fn with_count_of_sample(mut self, batch: &Arc<BatchCount>, version: u32) -> Tensor {
        if let Some(body) = Arc::get_mut(&mut self.body) {
            body.counts = Counts::of_sample(batch, version);
        }
        self
    }

    /// This tensor, which no other handle shows, with other samples.
    pub(crate) fn with_samples(mut self, samples: Samples) -> Tensor {
        if let Some(body) = Arc::get_mut(&mut self.body) {
            body.samples = samples;
        }
        self
    }

    /// The place on the tape, if there ever was need of one.
    pub fn meta(&self) -> Option<&Arc<Meta>> {
        self.body.meta.get()
    }

    /// Where the tensor is on the tape, and the node that made it, if this is its only handle: for the garbage collector.
    pub(crate) fn own_places(&self) -> (Option<&Arc<Meta>>, Option<&Arc<Node>>) {
        if Arc::strong_count(&self.body) > 1 {
            return (None, None);
        }
        (self.body.meta.get(), self.body.origin.as_ref().map(|(node, _)| node))
    }

    /// Whether this is in memory that has not been written to yet, only set to zeros.
    pub(crate) fn is_blank(&self) -> bool {
        // SAFETY: the body is a pointer; it is read as a number, which may be zero.
        unsafe { std::ptr::addr_of!(self.body).cast::<usize>().read() == 0 }
    }

    /// The place on the tape.
    pub fn meta_or_new(&self) -> Arc<Meta> {
        let new = || self.body.origin.clone().map_or_else(|| Meta::leaf(false), |(node, output)| Meta::of_node(node, output));
        self.body.meta.get_or_init(new).clone()
    }

    /// This tensor with another place on the tape; in its own memory for it if no other handle is there to see.
    fn placed(mut self, origin: Option<(Arc<Node>, usize)>, meta: OnceLock<Arc<Meta>>) -> Tensor {
        if let Some(body) = Arc::get_mut(&mut self.body) {
            (body.origin, body.meta) = (origin, meta);
            return self;
        }
        let moved = self.sharing(self.layout().clone(), self.dtype());
        let Tensor { saved, is_number, reusable, fixed, .. } = self;
        Tensor { saved, is_number, reusable, fixed, ..moved }.placed(origin, meta)
    }

    /// This tensor at another place on the tape.
    pub fn with_meta(self, meta: Arc<Meta>) -> Tensor {
        self.placed(None, OnceLock::from(meta))
    }

    /// This tensor off the tape.
    pub fn without_meta(self) -> Tensor {
        if self.body.origin.is_none() && self.body.meta.get().is_none() {
            return self;
        }
        self.placed(None, OnceLock::new())
    }

    /// This tensor as an output of an op.
    pub fn with_origin(self, node: Arc<Node>, output: usize) -> Tensor {
        self.placed(Some((node, output)), OnceLock::new())
    }

    /// This tensor with a place on the tape.
    pub fn at_edge(self, place: &Edge) -> Tensor {
        match place {
            Edge::Node(node, output) => self.with_origin(node.clone(), *output),
            Edge::Leaf(meta, _) => self.with_meta(meta.clone()),
            Edge::None => self,
        }
    }

    /// This tensor with a snapshot of where `x` is on the tape now.
    pub fn with_meta_of(self, x: &Tensor) -> Tensor {
        match x.node() {
            Some((node, output)) => self.with_origin(node, output),
            None => self,
        }
    }

    /// The place on the tape that may change. A saved tensor stays where its op put it.
    fn moving_place(&self) -> Option<&Arc<Meta>> {
        let meta = self.body.meta.get()?;
        if self.saved.is_some() && self.body.origin.is_some() {
            return None;
        }
        self.refresh_history();
        Some(meta)
    }

    /// Whether gradients flow to or through this tensor.
    pub fn requires_grad(&self) -> bool {
        match self.moving_place() {
            Some(meta) => meta.requires_grad(),
            None => self.body.origin.as_ref().is_some_and(|(node, _)| node.is_shown() || mode::has_tangents()),
        }
    }

    /// The same as far as the user sees, who does not see what only leads to tangents.
    pub fn is_shown(&self) -> bool {
        match self.moving_place() {
            Some(meta) => meta.is_shown(),
            None => self.body.origin.as_ref().is_some_and(|(node, _)| node.is_shown()),
        }
    }

    /// Whether it carries a tangent, and these are followed.
    pub fn has_tangent(&self) -> bool {
        mode::follows_tangents() && self.edge().is_dual()
    }

    /// The same tensor to gradients, without its tangent.
    pub fn without_tangent(&self) -> Tensor {
        if !self.has_tangent() {
            return self.clone();
        }
        let y = self.detached(false);
        if !self.is_shown() {
            return y;
        }
        y.with_origin(apart(PRIMAL, self.edge(), Edge::None, self.shape(), self.dtype()), 0)
    }

    /// The op that made this tensor and which of its outputs it is, as far as the user sees.
    pub fn shown_node(&self) -> Option<(Arc<Node>, usize)> {
        self.node().filter(|(node, _)| node.is_shown() && node.op != DUAL_LEAF)
    }

    /// Makes this leaf, which nobody else knows, one that carries a tangent.
    pub fn carry_tangent(&self) {
        match self.node() {
            Some((node, _)) => node.carry(),
            None => {
                let meta = self.meta_or_new();
                let mut state = meta.lock();
                (state.requires_grad, state.is_dual) = (true, true);
            }
        }
    }

    /// Itself, a leaf, as graphs keep it.
    #[inline]
    pub fn handle(&self) -> LeafHandle {
        match self.body.found_by.upgrade() {
            None => LeafHandle(KeptLeaf::First(self.body.clone())),
            Some(given) => LeafHandle(KeptLeaf::Given(given)),
        }
    }

    /// Where a gradient for this tensor goes.
    pub fn edge(&self) -> Edge {
        match (self.moving_place(), &self.body.origin) {
            (Some(meta), _) => match meta.edge() {
                Edge::Leaf(meta, _) => Edge::Leaf(meta, self.handle()),
                edge => edge,
            },
            (None, Some((node, output))) if node.is_shown() || mode::has_tangents() => Edge::Node(node.clone(), *output),
            (None, _) => Edge::None,
        }
    }

    /// The op that made this tensor and which of its outputs it is.
    pub fn node(&self) -> Option<(Arc<Node>, usize)> {
        match self.moving_place() {
            Some(meta) => meta.node(),
            None => self.body.origin.clone(),
        }
    }

    /// How often the memory has been written to by in-place ops.
    pub fn version(&self) -> u32 {
        self.body.counts.version(&self.body.storage)
    }

    /// Whether writes to it are counted: not of what was made in inference mode, but for what was taken of that outside.
    pub fn counts_writes(&self) -> bool {
        !self.is_inference() || matches!(self.body.counts, Counts::Own(_))
    }

    /// Counts one in-place write.
    pub fn bump_version(&self) {
        self.body.counts.bump(&self.body.storage);
    }

    /// Goes back to an earlier count, for writes that were undone.
    pub(crate) fn set_version(&self, version: u32) {
        self.body.counts.set(&self.body.storage, version);
    }

    /// To find out later whether this has been written to, without keeping it.
    pub(crate) fn watch(&self) -> Watch {
        self.body.counts.watch(&self.body.storage)
    }

    /// This fresh conversion of an operand: saved in its place, it fails to be read if the operand has been written to.
    pub(crate) fn standing_in_for(mut self, operand: &Tensor) -> Tensor {
        if let Some(body) = Arc::get_mut(&mut self.body) {
            body.counts = operand.counts_of_copies();
        }
        self
    }

    /// What counts the writes to this for copies of it.
    fn counts_of_copies(&self) -> Counts {
        match &self.body.counts {
            Counts::Memory => Counts::OfOperand(self.storage().clone()),
            counts => counts.clone(),
        }
    }

    /// The same elements off the tape: `detach` shares the version counter, `data` does not. Of what was made in inference mode and is
    /// taken outside both have a counter.
    pub fn detached(&self, own_version: bool) -> Tensor {
        let mut y = self.sharing(self.layout().clone(), self.dtype());
        y.is_number = self.is_number;
        // What a rule takes of a saved tensor fails as that would; `data` is not looked after.
        y.saved = self.saved.filter(|_| !own_version);
        let counts = if self.is_inference() { !mode::is_inference() } else { own_version };
        if counts && let Some(body) = Arc::get_mut(&mut y.body) {
            body.counts = Counts::own(0);
        }
        y
    }

    /// A handle whose memory the next kernel may use for its result.
    pub fn reusing(&self) -> Tensor {
        Tensor { reusable: true, ..self.clone() }
    }

    /// A handle whose memory stays as it is: for ops that read it in more than one kernel.
    pub fn kept(&self) -> Tensor {
        Tensor { reusable: false, ..self.clone() }
    }

    /// Whether the next kernel may write its result here.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// The same memory with another layout, off the tape.
    pub fn with_layout(&self, layout: Layout) -> Tensor {
        self.reinterpreted(layout, self.dtype())
    }

    /// The same, in its own body if it is the only handle.
    pub(crate) fn into_layout(mut self, layout: Layout) -> Tensor {
        match Arc::get_mut(&mut self.body) {
            Some(body) if body.origin.is_none() && body.meta.get().is_none() => {
                body.contiguous = layout.is_contiguous();
                body.layout = layout;
                self
            }
            _ => self.with_layout(layout),
        }
    }

    /// The same bytes as elements of another dtype, off the tape. The layout counts in the new elements.
    pub(crate) fn reinterpreted(&self, layout: Layout, dtype: DType) -> Tensor {
        Tensor { saved: self.saved, ..self.sharing(layout, dtype) }
    }

    /// A contiguous tensor of zeros.
    pub(crate) fn zeroed(op: &'static str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let y = Tensor::uninitialized(op, shape, dtype)?;
        let (start, bytes) = (y.byte_ptr() as usize, y.numel() * dtype.size());
        // SAFETY: the memory is fresh, and zero bytes are a zero of every dtype.
        let clear = |range: Range<usize>| unsafe { std::ptr::write_bytes((start as *mut u8).add(range.start), 0, range.len()) };
        without_interpreter(bytes / 8, || par::for_even_ranges(bytes, 1 << 12, 1 << 18, &clear));
        Ok(y)
    }

    /// Address of the first element, for kernels that hold [`Tensor::access`].
    pub fn ptr<T>(&self) -> *mut T {
        debug_assert_eq!(size_of::<T>(), self.dtype().size());
        self.byte_ptr().cast()
    }

    /// Address of the first byte of the first element.
    pub fn byte_ptr(&self) -> *mut u8 {
        self.body.storage.start().wrapping_add(self.body.layout.offset * self.dtype().size())
    }

    /// The elements of a contiguous tensor as a slice.
    ///
    /// # Safety
    /// The caller holds an [`Access`] to the storage (or is its only owner) for as long as the slice lives.
    pub unsafe fn slice<T: Element>(&self) -> &[T] {
        debug_assert!(self.is_contiguous() && T::DTYPE == self.dtype());
        if self.numel() == 0 {
            return &[];
        }
        // SAFETY: contiguous and within the storage; the caller answers for the lock.
        unsafe { std::slice::from_raw_parts(self.ptr(), self.numel()) }
    }

    /// The elements of a contiguous tensor as a mutable slice.
    ///
    /// # Safety
    /// The caller holds an [`Access`] for writing (or is the only owner) for as long as the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut<T: Element>(&self) -> &mut [T] {
        debug_assert!(self.is_contiguous() && T::DTYPE == self.dtype());
        if self.numel() == 0 {
            return &mut [];
        }
        // SAFETY: contiguous and within the storage; the caller answers for the lock.
        unsafe { std::slice::from_raw_parts_mut(self.ptr(), self.numel()) }
    }

    /// All elements in row-major order.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.check_saved()?;
        let x = self.detached(false).to_dtype(T::DTYPE)?.contiguous()?;
        let _access = Access::new(&[x.storage()], &[]);
        // SAFETY: contiguous, of this dtype, and locked for reading.
        Ok(unsafe { x.slice::<T>() }.to_vec())
    }

    /// The one element of a tensor that has just one.
    pub fn scalar(&self) -> Result<Scalar> {
        if self.numel() != 1 {
            return runtime_error!("a Tensor with {} elements cannot be converted to Scalar", self.numel());
        }
        self.check_saved()?;
        let _access = Access::new(&[self.storage()], &[]);
        // SAFETY: there is one element, within the storage, which is locked for reading.
        crate::dispatch_all!(self.dtype(), "item", T => Ok(unsafe { *self.ptr::<T>() }.scalar()))
    }

    /// Whether both are handles of the same tensor.
    pub(crate) fn is_handle_of(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
    }

    /// Whether both show the same elements in the same way.
    pub(crate) fn shows_the_same_as(&self, other: &Tensor) -> bool {
        let (a, b) = (&self.body, &other.body);
        a.storage.same(&b.storage) && a.layout == b.layout && a.dtype == b.dtype && a.inference == b.inference
    }
}
