//! What is recorded on a thread, as Python asks and sets it.

use pyo3::prelude::*;

use crate::tape::mode::{self, Mode};

/// Whether ops on tensors that require a gradient are recorded on this thread, outside of inference mode.
#[pyfunction]
pub fn is_grad_enabled() -> bool {
    mode::mode().grad
}

/// Whether they are recorded now.
#[pyfunction]
pub fn _is_recording() -> bool {
    mode::is_recording()
}

/// Whether this thread is in inference mode.
#[pyfunction]
pub fn is_inference_mode_enabled() -> bool {
    mode::mode().inference
}

/// Sets whether ops are recorded and whether inference tensors are made; answers the state before.
#[pyfunction]
pub fn _set_mode(grad: bool, inference: bool) -> (bool, bool) {
    let before = mode::set_mode(Mode { grad, inference, ..mode::mode() });
    (before.grad, before.inference)
}

/// Sets whether ops are recorded, and whether in inference mode, too; answers the state before.
#[pyfunction]
pub fn _set_recording(grad: bool, always: bool) -> (bool, bool) {
    let before = mode::set_mode(Mode { grad, always, ..mode::mode() });
    (before.grad, before.always)
}

/// Sets whether the first gradient of a leaf is copied if it does not lie as the leaf does; answers the state before.
#[pyfunction]
pub fn _set_grad_layout(enforced: bool) -> bool {
    mode::set_mode(Mode { grad_layout: enforced, ..mode::mode() }).grad_layout
}

/// The state that `_set_mode` sets.
#[pyfunction]
pub fn _mode() -> (bool, bool) {
    (mode::mode().grad, mode::mode().inference)
}
