//! What Python's garbage collector is told of: cycles that lead through a tensor's hooks and gradient.
//!
//! A tensor's place on the tape may be shared with other handles, with nodes and with a running backward pass. Each
//! reference to a Python object may be told once only, and only by what owns it: so a tensor tells of the functions of its
//! hooks, and of the object that is its gradient, as long as it alone holds its place, and likewise its node. Further into
//! the graph nothing is told (nor does torch): a cycle through a node that other nodes hold is not found. The Python object of a
//! node does the same for what the node keeps.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use super::autograd::{PyGrad, PyNode};
use crate::tape::hooks::{Kept, NodeHooks};
use crate::tape::meta::MetaState;
use crate::tape::node::Extras;
use crate::tape::{Grad, Meta, Node};
use crate::tensor::Tensor;

/// The place on the tape that this handle alone holds.
fn own_meta(x: &Tensor) -> Option<&Arc<Meta>> {
    x.own_places().0.filter(|meta| Arc::strong_count(meta) == 1)
}

/// The node that this handle alone holds: by itself, by its place, or by both.
fn own_node(x: &Tensor) -> Option<Arc<Node>> {
    let direct = x.own_places().1;
    let placed = own_meta(x).and_then(|meta| meta.try_lock()?.node.as_ref().map(|(node, _)| node.clone()));
    let node = direct.cloned().or(placed.clone())?;
    let mine = |other: Option<&Arc<Node>>| other.is_some_and(|other| Arc::ptr_eq(other, &node)) as usize;
    // `placed` and `node` hold it for the moment.
    let held = mine(direct) + 2 * mine(placed.as_ref()) + 1;
    (Arc::strong_count(&node) == held).then_some(node)
}

fn visit_hooks(hooks: &NodeHooks, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    for (_, object) in &hooks.objects {
        if let Some(function) = object.downcast_ref::<Py<PyAny>>() {
            visit.call(function)?;
        }
    }
    hooks.accumulated.as_ref().map_or(Ok(()), |hooks| visit_dict(hooks, visit))
}

fn visit_dict<Call>(hooks: &Kept<Call>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    hooks.object.downcast_ref::<Py<PyDict>>().map_or(Ok(()), |dict| visit.call(dict))
}

/// The hooks that a tensor shows, unless they are told of with its node.
fn visit_shown_hooks(state: &MetaState, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    let Some(hooks) = &state.hooks else { return Ok(()) };
    if let Some((node, _)) = &state.node {
        let Some(watchers) = node.try_watchers() else { return Ok(()) };
        if watchers.hooks.iter().any(|(_, other)| Arc::ptr_eq(&other.object, &hooks.object)) {
            return Ok(());
        }
    }
    visit_dict(hooks, visit)
}

/// What a node keeps: the functions of its hooks, what hooks keep of saved tensors, the user's dict, the context of a custom function.
fn visit_node(node: &Node, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    let Some(extras) = node.extras.get() else { return Ok(()) };
    if let Some(hooks) = extras.node_hooks.try_lock() {
        visit_hooks(&hooks, visit)?;
    }
    if let Some(watchers) = node.try_watchers() {
        watchers.hooks.iter().try_for_each(|(_, hooks)| visit_dict(hooks, visit))?;
    }
    if let Some(packed) = extras.packed.try_lock() {
        for object in packed.iter().filter(|packed| Arc::strong_count(packed) == 1).map(|packed| &packed.kept.object) {
            // The function that brings it back holds it, too, but by this one reference.
            if let Some(kept) = object.downcast_ref::<Py<PyAny>>() {
                visit.call(kept)?;
            }
        }
    }
    if let Some(dict) = extras.metadata.get().and_then(|dict| dict.downcast_ref::<Py<PyDict>>()) {
        visit.call(dict)?;
    }
    // The node's rule holds it, too, but by this one reference to it.
    if let Some(context) = extras.object.get().and_then(|context| context.downcast_ref::<Py<PyAny>>()) {
        visit.call(context)?;
    }
    Ok(())
}

/// Takes a node's hooks out, and what others keep; what is answered is dropped when nothing is locked: it may run Python code.
/// Whatever else takes part in a cycle is cleared by itself.
fn take_hooks(node: &Node) -> impl Sized + use<> {
    let packed = |extras: &Extras| std::mem::take(&mut *extras.packed.lock());
    let hooks = |extras: &Extras| std::mem::take(&mut *extras.node_hooks.lock());
    node.extras.get().map(|extras| (packed(extras), hooks(extras), std::mem::take(&mut node.watchers().hooks)))
}

/// Takes those of a leaf.
fn take_leaf_hooks(meta: &Meta) -> impl Sized + use<> {
    let mut state = meta.lock();
    (state.node_hooks.take(), state.hooks.take())
}

#[pymethods]
impl Tensor {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Python 3.11 makes the `__dict__` of a new object when the collector knows the object already, but its contents
        // are zeros; and making it may start a collection.
        if self.is_blank() {
            return Ok(());
        }
        // A lock that is held means that somebody is at work here: nothing is told, so nothing is collected.
        if let Some(state) = own_meta(self).and_then(|meta| meta.try_lock()) {
            visit_shown_hooks(&state, &visit)?;
            if let Some(hooks) = &state.node_hooks {
                visit_hooks(hooks, &visit)?;
            }
            if let Some(Grad::Object(object)) = &state.grad
                && Arc::strong_count(object) == 1
                && let Some(grad) = object.as_any().downcast_ref::<PyGrad>()
            {
                visit.call(&grad.0)?;
            }
        }
        match own_node(self) {
            Some(node) => visit_node(&node, &visit),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let node = own_node(self);
        let _of_node = node.as_ref().map(|node| take_hooks(node));
        let _of_place = own_meta(self).map(|meta| (take_leaf_hooks(meta), meta.lock().grad.take()));
    }
}

#[pymethods]
impl PyNode {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(dict) = self.leaf_metadata() {
            visit.call(dict)?;
        }
        if let Some(state) = self.own_leaf().and_then(|meta| meta.try_lock()) {
            visit_shown_hooks(&state, &visit)?;
            state.node_hooks.as_ref().map_or(Ok(()), |hooks| visit_hooks(hooks, &visit))?;
        }
        match self.op() {
            Some(node) if Arc::strong_count(node) == 1 => visit_node(node, &visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        if let Some(node) = self.op().filter(|node| Arc::strong_count(node) == 1) {
            drop(take_hooks(node));
        }
        drop(self.own_leaf().map(|meta| take_leaf_hooks(meta)));
    }
}
