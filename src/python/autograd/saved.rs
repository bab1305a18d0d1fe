//! Hooks of the user's that keep saved tensors elsewhere.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::Result;
use crate::tape::mode::ModeGuard;
use crate::tape::saved::{self, Pack, Unpack};
use crate::tensor::Tensor;

/// Sets a pair of functions: one that puts a saved tensor away, and one that brings it back.
#[pyfunction]
pub fn _push_saved_hooks(pack: Py<PyAny>, unpack: Py<PyAny>) {
    let unpack = Arc::new(unpack);
    let hooks: Pack = Arc::new(move |x: Tensor| {
        let packed = Python::attach(|py| -> Result<Py<PyAny>> {
            let _mode = ModeGuard::grad(false);
            let version = x.version();
            let packed = pack.bind(py).call1((x.clone(),))?.unbind();
            if x.version() == version {
                return Ok(packed);
            }
            crate::runtime_error!(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook cannot be \
                 modified by in-place operations as this can lead to unexpected side-effects. Please open an issue if you need \
                 to perform in-place operations on the input to a pack hook."
            )
        })?;
        let unpack = unpack.clone();
        let back: Unpack = Box::new(move || {
            Python::attach(|py| {
                let found = unpack.bind(py).call1((packed.bind(py),))?;
                match found.cast::<Tensor>() {
                    Ok(tensor) => Ok(tensor.borrow().clone()),
                    Err(_) => {
                        let text = "Output of saved tensor unpack_hook expected to be a Tensor but got result of type";
                        Err(PyTypeError::new_err(format!("{text} {}", found.get_type().name()?)).into())
                    }
                }
            })
        });
        Ok(back)
    });
    saved::push(hooks);
}

/// Takes the last pair away.
#[pyfunction]
pub fn _pop_saved_hooks() {
    saved::pop();
}
