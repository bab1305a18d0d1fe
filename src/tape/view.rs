//! In-place writes and the tape: checks, views and their bases, and the change of history.
//!
//! A view shares memory with its base. Writing to either changes both, so both must see the write on the tape:
//! the base gets a node that passes the gradient of the written part to the op that wrote it and of the rest to
//! the old history, and a view whose base has been written to since gets a new history, a window on the base,
//! when it is next asked for.

use std::sync::Arc;

use super::former;
use super::frozen::{MADE_IN_INFERENCE, MADE_UNRECORDED, frozen_node, maker, refusal};
use super::level::{before_output, before_value, before_write, is_captured_by_map};
use super::meta::Meta;
use super::mode::{self, Mode, ModeGuard};
use super::node::{DUAL_LEAF, Edge, Input, Inputs, Node, PRIMAL, Rules, apart, next_id, node};
use super::record::Rule;
use super::slices::window_node;
use super::written::Written;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::runtime_error;
use crate::tape;
use crate::tensor::Tensor;

/// What a view knows of the tensor it is a view of.
#[derive(Clone)]
pub struct Base {
    /// The base's place on the tape.
    pub meta: Arc<Meta>,
    /// The base's shape and strides when the view was made; see [`Base::layout`].
    layout: Layout,
    /// The base's dtype: views of complex numbers may show their parts.
    pub dtype: DType,
    /// The base off the tape, where the view no longer shows its memory.
    pub apart: Option<Box<Tensor>>,
    /// The storage's version when the view's history was made; `None` if that is no longer its history.
    pub version: Option<u32>,
    /// Whether the view may not be written to while recording, and why.
    pub frozen: Option<&'static str>,
    /// Whether the view is a dual tensor, which has the base's gradients but tangents of its own.
    pub dual: bool,
}

impl Base {
    /// The base's shape and strides.
    pub(super) fn layout(&self) -> Layout {
        self.meta.lock().shown_as.as_deref().unwrap_or(&self.layout).clone()
    }

    /// The base of this view.
    fn shown_by(&self, view: &Tensor) -> Tensor {
        let apart = self.apart.as_deref().cloned();
        apart.unwrap_or_else(|| view.reinterpreted(self.layout(), self.dtype)).with_meta(self.meta.clone())
    }

    /// Where the gradient for the base of this view goes.
    pub(super) fn edge(&self, view: &Tensor) -> Edge {
        match self.meta.edge() {
            Edge::Leaf(meta, _) => Edge::Leaf(meta, self.shown_by(view).handle()),
            edge => edge,
        }
    }

    /// The base as an input of a node whose gradient goes there.
    pub(super) fn as_input(&self, edge: Edge) -> Input {
        Input { edge, shape: self.layout().shape, dtype: self.dtype }
    }
}

impl Tensor {
    /// Marks `view`, a fresh result with the memory of `self`, as a view of `self` (or of its base).
    pub(crate) fn as_base_of(&self, view: Tensor, frozen: Option<&'static str>) -> Tensor {
        let mode = mode::mode();
        if self.is_inference() || !mode.views {
            return view;
        }
        let frozen = match mode {
            Mode { inference: true, .. } => Some(MADE_IN_INFERENCE),
            Mode { grad: false, .. } => Some(MADE_UNRECORDED),
            _ => frozen,
        };
        let parent = self.meta_or_new();
        let version = Some(self.version());
        let base = match parent.lock().base.as_deref() {
            Some(base) if !base.dual => Base { version, frozen: frozen.or(base.frozen), ..base.clone() },
            _ => {
                let (meta, layout, dtype) = (parent.clone(), self.layout().clone(), self.dtype());
                Base { meta, layout, dtype, apart: None, version, frozen, dual: false }
            }
        };
        view.meta_or_new().lock().base = Some(Box::new(base));
        view
    }

    /// Marks a dual tensor, which has just been made of `self`, as a view of it (or of its base).
    pub fn as_base_of_dual(&self, dual: &Tensor) {
        self.as_base_of(dual.clone(), None);
        if let Some(base) = &mut dual.meta_or_new().lock().base {
            (base.dual, base.frozen) = (true, None);
        }
    }

    /// What it is a view of, if its tangents are those of that, too.
    pub(super) fn window_base(&self) -> Option<Box<Base>> {
        self.meta()?.lock().base.clone().filter(|base| !base.dual)
    }

    /// The tensor that this is a view of, if the tape knows one.
    pub fn base(&self) -> Option<Tensor> {
        let base = self.meta()?.lock().base.clone()?;
        Some(base.shown_by(self))
    }

    /// As a view, before it shows other memory (`x.data = y`): its base does not.
    pub(crate) fn leave_base(&self) {
        if let Some(meta) = self.meta().filter(|meta| meta.is_view())
            && let Some(base) = &mut meta.lock().base
            && base.apart.is_none()
        {
            base.apart = Some(Box::new(self.reinterpreted(base.layout(), base.dtype)));
        }
    }

    /// Whether this is a view that the tape knows of.
    pub fn is_view(&self) -> bool {
        self.meta().is_some_and(|meta| meta.is_view())
    }

    /// Whether this shows `other`, or what that is a view of, and has no history but that.
    pub(crate) fn is_plain_view_of(&self, other: &Tensor) -> bool {
        let Some(meta) = other.meta() else { return false };
        let whole = other.window_base().map_or_else(|| meta.clone(), |base| base.meta.clone());
        let is_of_whole = |base: &Base| Arc::ptr_eq(&base.meta, &whole) && base.frozen.is_none() && !base.dual;
        self.meta().is_some_and(|meta| meta.lock().base.as_deref().is_some_and(is_of_whole))
    }

    /// Gives a view the history its base has now, if the memory has been written to since the view was made. One without history
    /// requires a gradient as long as its base does, as in torch.
    pub(crate) fn refresh_history(&self) {
        let Some(meta) = self.meta().filter(|meta| meta.is_view()) else { return };
        if mode::has_tangents()
            && let Some(base) = self.base()
        {
            // It may be a dual tensor.
            base.refresh_history();
        }
        let version = self.version();
        let (base, made_by) = {
            let mut state = meta.lock();
            let Some(base) = &state.base else { return };
            let (on_tape, written) = (base.meta.requires_grad(), base.version != Some(version));
            state.follows_base = base.meta.is_shown() && state.node.is_none();
            match &state.base {
                Some(base) if written && (on_tape || state.node.is_some()) => (base.clone(), state.node.clone()),
                _ => return,
            }
        };
        // What only carries tangents may be written to.
        let shown = !mode::has_tangents() || made_by.as_ref().is_some_and(|(node, _)| node.is_shown());
        let new = match (base.edge(self), base.frozen) {
            (edge, Some(reason)) if edge.is_shown() || shown => Some(frozen_node(self, made_by, reason)),
            (Edge::None, _) => None,
            (edge, _) if base.dual => {
                let window = Edge::Node(window_node(edge, &base, self), 0);
                let tangent = made_by.map_or(Edge::None, |(node, output)| Edge::Node(node, output));
                Some(apart(PRIMAL, window, tangent, self.shape(), self.dtype()))
            }
            (edge, _) => Some(window_node(edge, &base, self)),
        };
        if let Some(new) = new {
            meta.set_node(new, 0);
        }
        if let Some(base) = &mut meta.lock().base {
            base.version = Some(version);
        }
    }
}

impl Meta {
    /// Changes the history. Gradients that were to be kept are kept from there; hooks stay with what it was.
    pub(crate) fn set_node(self: &Arc<Meta>, node: Arc<Node>, output: usize) {
        let (before, retains, _hooks) = {
            let mut state = self.lock();
            (state.requires_grad, state.follows_base) = (false, false);
            (state.node.replace((node.clone(), output)), state.retains_grad, state.hooks.take())
        };
        if retains {
            if let Some((before, _)) = &before {
                before.watchers().retained.retain(|(_, meta)| !std::ptr::eq(meta.as_ptr(), Arc::as_ptr(self)));
            }
            node.watchers().retained.push((output, Arc::downgrade(self)));
        }
    }
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
    let overlaps = !x.is_contiguous() && x.layout().may_overlap();
    if overlaps {
        check_unexpanded(x)?;
    }
    let write = Write::begin(op, x, others_require_grad, true)?;
    // Of elements that share a place only a kernel knows what becomes that works on one after the other.
    let recorded = write.recorded_from.is_some();
    if overlaps && recorded {
        check_places(x)?;
    }
    let result = f(&write.operand)?;
    if overlaps && !result.storage().same(x.storage()) {
        check_places(x)?;
    }
    write.finish(result, None)
}

/// The same where elements of `x` may share places: `f` computes of a copy what is recorded, `write` what is in the memory then.
pub(crate) fn in_place_by(
    op: &'static str,
    x: &Tensor,
    others_require_grad: bool,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
    write: impl Fn() -> Result<()>,
) -> Result<()> {
    let begun = Write::begin(op, x, others_require_grad, false)?;
    // Which tangents are left depends on the order of the writes.
    if begun.recorded_from.is_some() && super::mode::has_tangents() {
        check_places(x)?;
    }
    let result = f(&begun.operand)?;
    begun.finish(result, Some(&write))
}

/// What surrounds the computation of an in-place op: compiled once for all.
struct Write<'a> {
    op: &'static str,
    x: &'a Tensor,
    /// What the new values are computed from.
    operand: Tensor,
    /// If it is recorded, a number below those of the nodes made by the computation.
    recorded_from: Option<u64>,
    /// If it is not, neither is the computation.
    unrecorded: Option<ModeGuard>,
}

impl Write<'_> {
    fn begin<'a>(op: &'static str, x: &'a Tensor, others_require_grad: bool, may_reuse: bool) -> Result<Write<'a>> {
        Ok(if begin(op, x, others_require_grad)? {
            Write { op, x, operand: before_write_to(x)?, recorded_from: Some(next_id()), unrecorded: None }
        } else {
            let operand = if !may_reuse || is_captured_by_map(x) { x.kept() } else { x.reusing() };
            Write { op, x, operand, recorded_from: None, unrecorded: Some(ModeGuard::off()) }
        })
    }

    /// Writes the result, or what `write` writes, to the memory, and records it.
    fn finish(self, result: Tensor, write: Option<&dyn Fn() -> Result<()>>) -> Result<()> {
        let Write { op, x, operand, recorded_from, unrecorded } = self;
        drop(unrecorded);
        x.check_result_fits(op, &result)?;
        before_value(op, x, &result)?;
        let Some(began) = recorded_from else {
            match write {
                Some(write) => write()?,
                None if result.storage().same(x.storage()) && result.layout() == x.layout() => {}
                None => x.write(&result)?,
            }
            x.bump_version();
            return Ok(());
        };
        // What else holds the result's memory is a rule of the op: it saves its result, which to the user is `x` from now on.
        let saved = !result.storage().is_held_once() && !result.storage().same(operand.storage());
        let keeps = |node: &Arc<Node>| node.id > began && (saved || node.watches(result.storage()));
        let node = result.node().map(|(node, _)| node).filter(keeps);
        let written = Written::computed(op, x, &operand, &result, began)?;
        // The op may have saved `x` as another operand.
        former::before_write(x)?;
        write.map_or_else(|| x.write(&result), |write| write())?;
        x.bump_version();
        written.rebase(x);
        if let Some(node) = node {
            node.watch(x, Some(0));
        }
        Ok(())
    }
}

/// The values that `x` is about to lose, with their history.
fn before_write_to(x: &Tensor) -> Result<Tensor> {
    let values = x.copied()?;
    let base = x.meta().and_then(|meta| meta.lock().base.clone());
    Ok(match (x.node(), base) {
        (Some((node, output)), _) => values.with_origin(node, output),
        (None, Some(base)) if base.meta.edge().is_some() => values.with_origin(window_node(base.edge(x), &base, x), 0),
        _ => values,
    })
}

/// Runs an in-place op that changes how `x` shows its memory, and no element: `f` makes that view of it. Changes the history,
/// and answers the new layout, which the caller gives to `x`.
///
/// A view has that history until its base is next written to.
pub fn in_place_view(op: &'static str, x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Layout> {
    let recorded = begin(op, x, false)? && (mode::mode().grad || !x.is_shown());
    let view = if recorded {
        f(&x.with_layout(x.layout().clone()).with_meta_of(x))?
    } else {
        tape::without_recording(|| f(&x.detached(false)))?
    };
    let history = view.node().filter(|_| recorded);
    x.bump_version();
    if let Some((node, output)) = history {
        x.meta_or_new().set_node(node, output);
    }
    if let Some(meta) = x.meta() {
        let mut state = meta.lock();
        match &mut state.base {
            Some(base) if recorded => base.version = Some(x.version()),
            Some(_) => {}
            None => state.shown_as = Some(Box::new(view.layout().clone())),
        }
    }
    Ok(view.layout().clone())
}

/// Prepares `x` for getting other memory in place, that of `source` if it is a tensor's: no gradient flows to either through `x`, nor
/// to what `x` was computed of.
pub fn in_place_memory(op: &'static str, x: &Tensor, source: Option<&Tensor>) -> Result<()> {
    let others = source.is_some_and(Tensor::requires_grad);
    let recorded = begin(op, x, others)? && (mode::mode().grad || !x.is_shown());
    x.bump_version();
    if recorded {
        let inputs: Inputs = std::iter::once(x).chain(source).map(Input::of).collect();
        let rule = || -> Option<Rule> { Some(Box::new(move |_, _| Err(Error::NoDerivative { op }))) };
        let rules = inputs.iter().map(|_| rule()).collect::<Vec<_>>();
        let lost = node("=NotImplemented", 1, inputs, false, Rules::Each(Arc::new(rules)));
        let meta = x.meta_or_new();
        meta.set_node(lost.clone(), 0);
        // A view leaves its base, whose history is lost, too.
        let base = meta.lock().base.take();
        if let Some(base) = base {
            base.meta.set_node(lost, 0);
        }
    }
    Ok(())
}

/// Writes `value`, which must broadcast to the shape of `x`, to `x`, in its dtype.
pub fn overwrite(op: &'static str, x: &Tensor, value: &Tensor) -> Result<()> {
    value.warn_of_lost_parts(x.dtype())?;
    let recorded = begin(op, x, value.requires_grad())?;
    before_value(op, x, value)?;
    if recorded {
        let value = value.to_dtype(x.dtype())?;
        // Taken before the write: an operand may be `x` itself.
        let written = Input::of(&value);
        if let Edge::Node(node, _) = &written.edge {
            node.check_usable()?;
        }
        let value = if value.storage().same(x.storage()) { value.copied()? } else { value };
        x.write_in_turn(&value)?;
        x.bump_version();
        let name = if op == "fill_" { "fill.3_" } else { op };
        Written::instead(name, x, Some(written)).rebase(x);
    } else {
        x.write_in_turn(value)?;
        x.bump_version();
    }
    Ok(())
}

/// Writes `value` to `x`, which is a constant, for an op of which torch does not know that it does: a function that is differentiated
/// may have captured it, and what has been saved of it stays good.
pub fn overwrite_unseen(op: &str, x: &Tensor, value: &Tensor) -> Result<()> {
    check_places(x)?;
    before_output(op, x)?;
    check_inference(op, x)?;
    before_value(op, x, value)?;
    x.write(value)
}

/// Sets every element of `x` to a number.
pub fn overwrite_with(op: &'static str, x: &Tensor, value: Scalar) -> Result<()> {
    if !value.converts_to(x.dtype()) {
        return runtime_error!("{op}: the value {value} cannot be converted to {} without overflow", x.dtype());
    }
    let recorded = begin(op, x, false)?;
    x.fill(value)?;
    x.bump_version();
    if recorded {
        let name = if op == "fill_" { "fill.2_" } else { op };
        Written::instead(name, x, None).rebase(x);
    }
    Ok(())
}

/// Fails if two elements of `x` share a place.
pub fn check_places(x: &Tensor) -> Result<()> {
    if x.layout().may_overlap() { Err(Error::Runtime(places_coincide(x.layout()))) } else { Ok(()) }
}

/// The same for what is written to in turn: fails if `x` is expanded.
pub fn check_unexpanded(x: &Tensor) -> Result<()> {
    if x.layout().is_expanded() { Err(Error::Runtime(places_coincide(x.layout()))) } else { Ok(()) }
}

#[cold]
pub(super) fn places_coincide(layout: &Layout) -> String {
    format!(
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location \
         (shape {:?}, strides {:?}). Please clone() the tensor before performing the operation.",
        layout.shape, layout.strides
    )
}

/// Fails if `x` is an inference tensor, which only inference mode may write to.
pub fn check_inference(op: &str, x: &Tensor) -> Result<()> {
    if !x.counts_writes() && !mode::is_inference() {
        return runtime_error!(
            "{op}: Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a normal \
             tensor before doing inplace update."
        );
    }
    Ok(())
}

/// Whether a write to `x` is to be recorded; fails if it must not be done.
pub(crate) fn begin(op: &'static str, x: &Tensor, others_require_grad: bool) -> Result<bool> {
    before_write(op, x)?;
    check_inference(op, x)?;
    let recorded = tape::is_recording() && x.dtype().is_inexact() && (x.requires_grad() || others_require_grad);
    if !mode::mode().grad {
        return Ok(recorded && (!x.is_shown() || others_require_grad || x.edge().is_dual()));
    }
    if recorded {
        check_writable(x)?;
    }
    Ok(recorded)
}

/// Torch's conditions for writing to `x` while recording.
pub fn check_writable(x: &Tensor) -> Result<()> {
    let Some(meta) = x.meta() else { return Ok(()) };
    let (node, leaf, base) = {
        let state = meta.lock();
        let is_leaf = state.node.as_ref().map_or(state.requires_grad, |(node, _)| node.op == DUAL_LEAF);
        let leaf = is_leaf || state.is_variable;
        (state.node.clone(), leaf, state.base.clone())
    };
    if let Some(base) = &base {
        if let Some(reason) = base.frozen
            && (!mode::has_tangents() || base.meta.is_shown() || x.is_shown())
        {
            return runtime_error!("{}", refusal(&maker(node), reason, "is being"));
        }
        let state = base.meta.lock();
        let shown = node.is_some_and(|(node, _)| node.is_shown());
        if state.is_variable || state.node.is_none() && (state.requires_grad || shown || leaf) {
            return runtime_error!("a view of a leaf Variable that requires grad is being used in an in-place operation.");
        }
    }
    if leaf {
        return runtime_error!("a leaf Variable that requires grad is being used in an in-place operation.");
    }
    Ok(())
}

impl Tensor {
    /// Fails if this shows some of the memory of `x`, but not all of it in the same way, so that writing to `x` would
    /// change this while it is read.
    pub fn check_overlap(&self, x: &Tensor) -> Result<()> {
        match self.overlap(x) {
            Overlap::Partial => overlap_error(),
            _ => Ok(()),
        }
    }

    /// Fails if this shows some of the memory of `x`.
    pub fn check_apart(&self, x: &Tensor) -> Result<()> {
        match self.overlap(x) {
            Overlap::None => Ok(()),
            _ => overlap_error(),
        }
    }

    /// What memory this shares with another. Only known of memory without gaps, as in torch; elsewhere a copy is made.
    fn overlap(&self, x: &Tensor) -> Overlap {
        let (a, b) = (x.layout(), self.layout());
        let apart = !x.storage().same(self.storage()) || x.numel() == 0 || self.numel() == 0;
        if apart || !a.is_dense() || !b.is_dense() {
            return Overlap::None;
        }
        // Strides of dims of size 1 are not used.
        let same = a.shape == b.shape && (0..a.shape.len()).all(|d| a.shape[d] == 1 || a.strides[d] == b.strides[d]);
        match a.offset == b.offset && a.end() == b.end() {
            true if same => Overlap::Full,
            false if a.offset >= b.end() || b.offset >= a.end() => Overlap::None,
            _ => Overlap::Partial,
        }
    }
}

/// What memory two tensors share.
enum Overlap {
    None,
    Partial,
    Full,
}

fn overlap_error() -> Result<()> {
    runtime_error!(
        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory \
         location. Please clone() the tensor before performing the operation."
    )
}
