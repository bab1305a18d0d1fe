//! Objects of Python's that keep results for a checkpoint.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Result;
use crate::tape::kept::{self, Keeper};
use crate::tensor::Tensor;

/// An object with the methods of [`Keeper`].
struct Object(Py<PyAny>);

impl Keeper for Object {
    fn take(&self, op: &'static str) -> Result<Option<Tensor>> {
        Python::attach(|py| {
            let found = self.0.bind(py).call_method1("take", (op,))?;
            if found.is_none() {
                return Ok(None);
            }
            Ok(Some(found.cast::<Tensor>().map_err(PyErr::from)?.borrow().detached(false)))
        })
    }

    fn offer(&self, op: &'static str, inputs: &[&Tensor], y: &Tensor) -> Result<()> {
        Python::attach(|py| {
            let inputs = inputs.iter().map(|&x| Bound::new(py, x.clone())).collect::<PyResult<Vec<_>>>()?;
            self.0.bind(py).call_method1("offer", (op, PyTuple::new(py, inputs)?, Bound::new(py, y.detached(false))?))?;
            Ok(())
        })
    }
}

/// Sets an object that keeps results on this thread: its `take(op)` answers one or None, `offer(op, inputs, result)` gets them.
#[pyfunction]
pub fn _push_keeper(object: Py<PyAny>) {
    kept::push(Arc::new(Object(object)));
}

/// Takes the last one away.
#[pyfunction]
pub fn _pop_keeper() {
    kept::pop();
}
