//! In-place writes and the tape: checks, views and their bases, and the change of history.
//!
//! A view shares memory with its base. Writing to either changes both, so both must see the write on the tape:
//! the base gets a node that passes the gradient of the written part to the op that wrote it and of the rest to
//! the old history, and a view whose base has been written to since gets a new history, a window on the base.

use std::sync::Arc;

use super::meta::Meta;
use super::record::{Edge, Input, Node, Rules, node};
use crate::error::Result;
use crate::layout::{Layout, Shape};
use crate::runtime_error;
use crate::tape;
use crate::tensor::Tensor;

/// What a view knows of the tensor it is a view of.
#[derive(Clone)]
pub struct Base {
    /// The base's place on the tape.
    pub meta: Arc<Meta>,
    /// The base's shape and strides.
    pub layout: Layout,
    /// The storage's version when the view's history was made.
    pub version: u32,
    /// Whether the view may not be written to while recording, and why.
    pub frozen: Option<&'static str>,
}

impl Tensor {
    /// Marks `view`, a fresh result with the memory of `self`, as a view of `self` (or of its base).
    pub(crate) fn as_base_of(&self, view: Tensor, frozen: Option<&'static str>) -> Tensor {
        let parent = self.meta_or_new();
        let base = match parent.lock().base.clone() {
            Some(base) => Base { version: self.version(), frozen: frozen.or(base.frozen), ..base },
            None => Base { meta: parent.clone(), layout: self.layout().clone(), version: self.version(), frozen },
        };
        view.meta_or_new().lock().base = Some(base);
        view
    }

    /// The tensor that this is a view of, if the tape knows one.
    pub fn base(&self) -> Option<Tensor> {
        let base = self.meta()?.lock().base.clone()?;
        Some(self.with_layout(base.layout).with_meta(base.meta))
    }

    /// Whether this is a view that the tape knows of.
    pub fn is_view(&self) -> bool {
        self.meta().is_some_and(|meta| meta.lock().base.is_some())
    }

    /// Gives a view the history its base has now, if the memory has been written to since the view was made.
    pub(crate) fn refresh_history(&self) {
        let Some(meta) = self.meta() else { return };
        let Some(base) = meta.lock().base.clone() else { return };
        let version = self.version();
        if base.version == version {
            return;
        }
        let edge = base.meta.edge();
        let mut state = meta.lock();
        if let Some(base) = &mut state.base {
            base.version = version;
        }
        if edge.is_some() && base.meta.lock().node.is_some() {
            state.node = Some((window_node(edge, &base.layout, self), 0));
        }
    }
}

/// The node of a window on a base: the window's gradient goes to its place in a gradient of zeros.
fn window_node(edge: Edge, base: &Layout, view: &Tensor) -> Arc<Node> {
    let (base_layout, layout) = (base.clone(), view.layout().clone());
    let input = Input { edge, shape: base.shape.clone(), dtype: view.dtype() };
    let rule: super::record::Rule = Arc::new(move |g, _| g.window_backward(&base_layout, &layout));
    node("as_strided", 1, smallvec::smallvec![input], false, Rules::Single(smallvec::smallvec![Some(rule)]))
}

/// Runs an in-place op: `f` computes the new values of `x`, which are then put in its memory, and on the tape.
///
/// `others_require_grad` says whether an operand besides `x` is on the tape. When nothing is recorded, `f` may write
/// over its operand; its first kernel must then be its only one, or read the operand no more.
pub fn in_place(
    op: &'static str,
    x: &Tensor,
    others_require_grad: bool,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    if x.layout().may_overlap() {
        return runtime_error!(
            "{op}: unsupported operation: more than one element of the written-to tensor refers to a single memory \
             location (shape {:?}, strides {:?}). Please clone() the tensor before performing the operation.",
            x.shape(),
            x.strides()
        );
    }
    x.refresh_history();
    let recorded = tape::is_recording() && x.dtype().is_float() && (x.requires_grad() || others_require_grad);
    if !recorded {
        let result = tape::without_recording(|| f(&x.reusing()))?;
        x.check_result_fits(op, &result)?;
        if !(result.storage().same(x.storage()) && result.layout() == x.layout()) {
            x.write(&result)?;
        }
        x.bump_version();
        return Ok(());
    }
    check_writable(op, x)?;
    let before = x.copied()?.with_meta_of(x);
    let result = f(&before)?;
    x.check_result_fits(op, &result)?;
    let result = result.expand_to(op, x.shape())?.to_dtype(x.dtype())?;
    x.write(&result)?;
    x.bump_version();
    rebase(x, &result);
    Ok(())
}

/// Torch's conditions for writing to `x` while recording.
fn check_writable(op: &'static str, x: &Tensor) -> Result<()> {
    let Some(meta) = x.meta() else { return Ok(()) };
    let (is_leaf, base) = {
        let state = meta.lock();
        (state.node.is_none() && state.requires_grad, state.base.clone())
    };
    if let Some(base) = &base {
        let base_state = base.meta.lock();
        if base_state.node.is_none() && base_state.requires_grad {
            return runtime_error!("{op}: a view of a leaf Variable that requires grad is being used in an in-place operation.");
        }
        if let Some(reason) = base.frozen {
            return runtime_error!("{op}: {reason}");
        }
    }
    if is_leaf {
        return runtime_error!("{op}: a leaf Variable that requires grad is being used in an in-place operation.");
    }
    Ok(())
}

/// Gives `x`, and its base if it is a view, the history of a result that was written to it.
fn rebase(x: &Tensor, result: &Tensor) {
    let meta = x.meta_or_new();
    let Some(base) = meta.lock().base.clone() else {
        let place = result.meta().and_then(|m| m.lock().node.clone());
        let mut state = meta.lock();
        state.node = place;
        state.requires_grad = false;
        return;
    };
    let history = base.meta.edge();
    let copied = copy_slices(history, result.edge(), &base.layout, x);
    {
        let mut state = base.meta.lock();
        state.node = Some((copied, 0));
        state.requires_grad = false;
    }
    let window = window_node(base.meta.edge(), &base.layout, x);
    let mut state = meta.lock();
    state.node = Some((window, 0));
    if let Some(base) = &mut state.base {
        base.version = x.version();
    }
}

/// The node of a base of which the window `x` has been written: to the old history goes the gradient without the
/// window, to the written values that of the window.
fn copy_slices(history: Edge, written: Edge, base: &Layout, x: &Tensor) -> Arc<Node> {
    let (layout, window) = (base.clone(), x.layout().clone());
    let dtype = x.dtype();
    let inputs = smallvec::smallvec![
        Input { edge: history, shape: layout.shape.clone(), dtype },
        Input { edge: written, shape: Shape::from_slice(x.shape()), dtype },
    ];
    let (layout2, window2) = (layout.clone(), window.clone());
    let rest: super::record::Rule = Arc::new(move |g, _| g.window_zeroed(&layout, &window));
    let part: super::record::Rule = Arc::new(move |g, _| g.window_of(&layout2, &window2));
    node(super::record::COPY_SLICES, 1, inputs, false, Rules::Single(smallvec::smallvec![Some(rest), Some(part)]))
}
