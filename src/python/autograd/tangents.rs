//! Dual tensors, as the layer above makes them and looks for where they lead.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::tape::Edge;
use crate::tape::former;
use crate::tape::links;
use crate::tape::mode::{self, Forward, Mode};
use crate::tape::node::{PRIMAL, apart};
use crate::tensor::Tensor;

/// Sets what becomes of tangents: there are none (0), they are followed (1), they are computed (2). Answers the state before.
#[pyfunction]
pub fn _set_forward(state: u8) -> u8 {
    let forward = match state {
        0 => Forward::Off,
        1 => Forward::Followed,
        _ => Forward::Computed,
    };
    let before = mode::mode();
    mode::set_mode(Mode { forward, lists: before.lists || forward == Forward::Followed, ..before }).forward as u8
}

/// Ends what was done so that tangents could be followed on this thread.
#[pyfunction]
pub fn _end_forward() {
    former::forget();
}

/// Makes a tensor, which nobody else knows yet, one that carries a tangent: a leaf, or what is connected with another.
#[pyfunction]
pub fn _carry_tangent(tensor: &Bound<'_, Tensor>) {
    tensor.borrow().carry_tangent();
}

/// Makes a dual tensor a view of what it has been made of: their gradients stay the same when one is written to.
#[pyfunction]
pub fn _show_primal(dual: &Tensor, primal: &Tensor) {
    primal.as_base_of_dual(dual);
}

/// Whether gradients or, where these are followed, tangents flow through a tensor.
#[pyfunction]
pub fn _is_followed(tensor: &Bound<'_, Tensor>) -> bool {
    tensor.borrow().requires_grad()
}

/// The same elements without the tangent: to gradients the same tensor, though not the object. It is the primal part of one, or
/// itself a tangent.
#[pyfunction]
pub fn _without_tangent(tensor: &Tensor, primal: bool) -> Tensor {
    let op = tensor.node().filter(|_| !primal).map_or(PRIMAL, |(node, _)| node.op);
    let place = apart(op, tensor.edge(), Edge::None, tensor.shape(), tensor.dtype());
    tensor.detached(false).with_origin(place, 0)
}

/// Whether what led to the tangent of a tensor was made where gradients were recorded.
#[pyfunction]
pub fn _has_recorded_tangent(tensor: &Tensor) -> bool {
    tensor.edge().has_recorded_tangent()
}

/// The tangent of a tensor, which leads to what torch's formulas of it read.
#[pyfunction]
pub fn _linked(tangent: &Tensor, tensor: &Tensor) -> Tensor {
    links::linked(tangent, tensor)
}

/// Whether anything leads to the place of a tensor, of which there is no other handle.
#[pyfunction]
pub fn _is_reached(tensor: &Tensor) -> bool {
    match (tensor.meta(), tensor.node()) {
        // One is here, one where the tensor has it from.
        (meta, Some((node, _))) => Arc::strong_count(&node) > 2 + usize::from(meta.is_some()),
        (Some(meta), None) => Arc::strong_count(meta) > 1,
        (None, None) => false,
    }
}

/// The number of the node that made a tensor, and of its output, also if the user does not see it.
#[pyfunction]
pub fn _place(tensor: &Bound<'_, Tensor>) -> Option<(u64, usize)> {
    tensor.borrow().node().map(|(node, output)| (node.id, output))
}
