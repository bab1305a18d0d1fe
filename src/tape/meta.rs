//! A tensor's place on the tape: what its gradient flows to, and its own gradient if it is a leaf.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::chain::{self, Level, Part};
use super::hooks::{Kept, NodeHooks};
use super::mode;
use super::node::{Edge, Node};
use super::view::Base;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::{LeafHandle, Tensor};

/// Something called with a gradient, which it may replace; with None where an op had none to give.
pub type Hook = Arc<dyn Fn(Option<&Tensor>) -> Result<Option<Tensor>> + Send + Sync>;

/// A gradient that lives in a Python object, which is the one to ask: its `data` may be assigned to.
pub trait GradObject: Send + Sync {
    /// The tensor that the object is now.
    fn tensor(&self) -> Result<Tensor>;
    /// The object itself, for the layer that made it.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// The gradient of a leaf.
#[derive(Clone)]
pub enum Grad {
    /// Not yet seen by Python.
    Native(Box<Tensor>),
    /// Handed out to Python, which sees the same object each time.
    Object(Arc<dyn GradObject>),
}

impl Grad {
    /// The tensor.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Grad::Native(tensor) => Ok(Tensor::clone(tensor)),
            Grad::Object(object) => object.tensor(),
        }
    }
}

/// Shared by the handles that are one tensor to the user.
#[derive(Default)]
pub struct Meta {
    state: Mutex<MetaState>,
    /// What the state amounts to, for those who need no more: kept up to date by [`Locked`].
    summary: AtomicU8,
    /// The innermost transform of a function that it was made in; see [`super::level`].
    pub level: u64,
}

/// Gradients flow to or through the tensor.
const REQUIRES_GRAD: u8 = 1;
/// An op made the tensor.
const COMPUTED: u8 = 2;
/// The tensor is a view.
const VIEW: u8 = 4;
/// The tensor is a leaf with hooks.
const HOOKED: u8 = 8;
/// Somebody wants to see the gradient of the leaf, or to know when it has been written.
const WATCHED: u8 = 16;
/// Gradients of the leaf have a dtype of their own.
const GRAD_DTYPE: u8 = 32;
/// Gradients only flow to what carries a tangent.
const UNSEEN: u8 = 64;

/// Whether there ever was a leaf with hooks: all that is looked at as long as there was none.
static ANY_HOOKED: AtomicBool = AtomicBool::new(false);

/// Whether a leaf may have hooks.
pub fn any_hooked_leaf() -> bool {
    ANY_HOOKED.load(Ordering::Relaxed)
}

/// What a [`Meta`] guards.
#[derive(Default)]
pub struct MetaState {
    /// The flag a user sets on a leaf.
    pub requires_grad: bool,
    /// Whether it is a view without history whose base requires a gradient: it does, too, but has none.
    pub follows_base: bool,
    /// The op that made this tensor and which of its outputs it is; `None` for a leaf.
    pub node: Option<(Arc<Node>, usize)>,
    /// Whether it is a leaf that carries a tangent, which the user does not see.
    pub is_dual: bool,
    /// Whether it is what a function is being differentiated by, which is written to as little as a leaf.
    pub is_variable: bool,
    /// The gradient, for leaves and for tensors that retain it.
    pub grad: Option<Grad>,
    /// The dtype that its user wants gradients of a leaf to have, `Some(None)` for any.
    pub grad_dtype: Option<Option<DType>>,
    /// Whether `retain_grad` was called.
    pub retains_grad: bool,
    /// Hooks of a leaf, and of other tensors what the user sees of them: what is called is with their node.
    pub hooks: Option<Kept<Hook>>,
    /// Hooks on a leaf's end of the tape.
    pub node_hooks: Option<Box<NodeHooks>>,
    /// The shape and the strides in which the gradient of a leaf is kept; `None` if these are row-major, and the shape its own.
    pub layout: Option<Box<Layout>>,
    /// The tensor this one is a view of.
    pub base: Option<Box<Base>>,
    /// How a tensor shows its memory that has become another view of it in place (`t_`), for its views.
    pub shown_as: Option<Box<Layout>>,
    /// The object that a leaf is to the layer that made it.
    pub object: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl MetaState {
    /// Whether it is a leaf with hooks.
    fn has_hooks(&self) -> bool {
        self.node.is_none() && (self.hooks.is_some() || self.node_hooks.as_ref().is_some_and(|hooks| !hooks.is_empty()))
    }

    fn summary(&self) -> u8 {
        let flag = |condition: bool, bit: u8| if condition { bit } else { 0 };
        flag(self.requires_grad || self.follows_base || self.node.is_some(), REQUIRES_GRAD)
            | flag(self.node.is_some(), COMPUTED)
            | flag(self.base.is_some(), VIEW)
            | flag(self.has_hooks(), HOOKED)
            | flag(self.hooks.is_some() || self.node_hooks.is_some(), WATCHED)
            | flag(self.grad_dtype.is_some(), GRAD_DTYPE)
            | flag(self.node.as_ref().map_or(self.is_dual, |(node, _)| !node.is_shown()), UNSEEN)
    }
}

/// The state of a [`Meta`], locked.
pub struct Locked<'a> {
    state: MutexGuard<'a, MetaState>,
    summary: &'a AtomicU8,
}

impl Deref for Locked<'_> {
    type Target = MetaState;
    fn deref(&self) -> &MetaState {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut MetaState {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let summary = self.state.summary();
        if summary & HOOKED != 0 {
            ANY_HOOKED.store(true, Ordering::Relaxed);
        }
        self.summary.store(summary, Ordering::Release);
    }
}

/// Gradients may have gradients, and so on.
impl Drop for Meta {
    fn drop(&mut self) {
        if let Some(grad) = self.state.get_mut().grad.take() {
            let Some(level) = Level::enter() else { return chain::defer(Part::Grad(grad)) };
            drop(grad);
            level.end();
        }
    }
}

impl Meta {
    fn new(state: MetaState) -> Arc<Meta> {
        let level = mode::mode().level.number;
        Arc::new(Meta { summary: AtomicU8::new(state.summary()), state: Mutex::new(state), level })
    }

    /// Of a leaf.
    pub fn leaf(requires_grad: bool) -> Arc<Meta> {
        Meta::new(MetaState { requires_grad, ..Default::default() })
    }

    /// Of an op's output.
    pub fn of_node(node: Arc<Node>, output: usize) -> Arc<Meta> {
        Meta::new(MetaState { node: Some((node, output)), ..Default::default() })
    }

    /// The state, locked. Hold it briefly and call nothing that may lock another.
    pub fn lock(&self) -> Locked<'_> {
        Locked { state: self.state.lock(), summary: &self.summary }
    }

    /// Puts another gradient in the place of one; does nothing, and answers false, if that is no longer there.
    pub fn replace_grad(&self, before: &Option<Grad>, after: Grad) -> bool {
        let mut state = self.lock();
        let found = match (&state.grad, before) {
            (None, None) => true,
            (Some(Grad::Native(a)), Some(Grad::Native(b))) => a.storage().same(b.storage()),
            (Some(Grad::Object(a)), Some(Grad::Object(b))) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let old = if found { state.grad.replace(after) } else { Some(after) };
        drop(state);
        // Only now, when nothing is locked: it may run code of the user's.
        drop(old);
        found
    }

    fn is(&self, bit: u8) -> bool {
        self.summary.load(Ordering::Acquire) & bit != 0
    }

    /// Whether gradients flow to or through this tensor.
    pub fn requires_grad(&self) -> bool {
        self.is(REQUIRES_GRAD) && (!self.is(UNSEEN) || mode::has_tangents())
    }

    /// The same as far as the user sees.
    pub fn is_shown(&self) -> bool {
        self.summary.load(Ordering::Acquire) & (REQUIRES_GRAD | UNSEEN) == REQUIRES_GRAD
    }

    /// Whether a leaf that required a gradient when it was recorded no longer does.
    pub fn is_frozen(&self) -> bool {
        self.summary.load(Ordering::Acquire) & (REQUIRES_GRAD | UNSEEN) == 0
    }

    /// Whether this tensor is a view that the tape knows of.
    pub fn is_view(&self) -> bool {
        self.is(VIEW)
    }

    /// Whether somebody wants to see the gradient of this leaf, or to know when it has been written.
    pub fn is_watched(&self) -> bool {
        self.is(WATCHED)
    }

    /// Whether this is a leaf that has hooks.
    pub fn is_hooked(&self) -> bool {
        self.is(HOOKED)
    }

    /// Whether gradients of this leaf are not simply of its dtype.
    pub fn has_grad_dtype(&self) -> bool {
        self.is(GRAD_DTYPE)
    }

    /// The dtype of gradients of this leaf, which is of dtype `own`; `None` for any.
    pub fn grad_dtype(&self, own: DType) -> Option<DType> {
        if self.has_grad_dtype() { self.lock().grad_dtype.unwrap_or(Some(own)) } else { Some(own) }
    }

    /// The op that made this tensor and which of its outputs it is.
    pub fn node(&self) -> Option<(Arc<Node>, usize)> {
        if self.is(COMPUTED) { self.lock().node.clone() } else { None }
    }

    /// The state, unless somebody has it locked.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, MetaState>> {
        self.state.try_lock()
    }

    fn end(self: &Arc<Meta>) -> Edge {
        Edge::Leaf(self.clone(), LeafHandle::default())
    }

    /// Where a gradient for this tensor goes.
    pub fn edge(self: &Arc<Meta>) -> Edge {
        if self.is(UNSEEN) && !mode::has_tangents() {
            return Edge::None;
        }
        if !self.is(COMPUTED | VIEW) {
            return if self.is(REQUIRES_GRAD) { self.end() } else { Edge::None };
        }
        let state = self.lock();
        match &state.node {
            Some((node, output)) => Edge::Node(node.clone(), *output),
            None if state.requires_grad => self.end(),
            None => Edge::None,
        }
    }
}
