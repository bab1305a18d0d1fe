//! Hooks: Python functions called with a gradient, which they may replace.

use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::tape::record::next_id;
use crate::tape::{Hook, Meta, Node};
use crate::tensor::Tensor;

enum Place {
    Leaf(Weak<Meta>),
    Node(Weak<Node>),
}

/// Removes a hook: by `remove()`, or at the end of a `with` block.
#[pyclass(module = "ferrograd.utils.hooks")]
pub struct RemovableHandle {
    /// A number of its own.
    #[pyo3(get)]
    id: u64,
    place: Place,
}

#[pymethods]
impl RemovableHandle {
    /// Removes the hook; does nothing if it is gone already.
    fn remove(&self) {
        // What is removed is dropped after the lock is released: it may run Python code.
        let _removed: Vec<Hook> = match &self.place {
            Place::Leaf(meta) => {
                let Some(meta) = meta.upgrade() else { return };
                let mut state = meta.lock();
                state.hooks.extract_if(.., |(id, _)| *id == self.id).map(|(_, hook)| hook).collect()
            }
            Place::Node(node) => {
                let Some(node) = node.upgrade() else { return };
                let mut watchers = node.watchers();
                watchers.hooks.extract_if(.., |(_, id, _)| *id == self.id).map(|(_, _, hook)| hook).collect()
            }
        };
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, pyo3::types::PyTuple>) {
        self.remove();
    }
}

fn name_of(callable: &Bound<'_, PyAny>) -> String {
    callable.getattr("__name__").map_or_else(|_| callable.to_string(), |name| name.to_string())
}

/// A Python function as a hook.
fn python_hook(function: Py<PyAny>) -> Hook {
    Arc::new(move |g: &Tensor| {
        Python::attach(|py| {
            let function = function.bind(py);
            let answer = function.call1((g.clone(),))?;
            if answer.is_none() {
                return Ok(None);
            }
            let Ok(replaced) = answer.cast::<Tensor>() else {
                let got = answer.get_type().name()?;
                return Err(PyTypeError::new_err(format!(
                    "expected Variable, but hook '{}' returned '{got}'",
                    name_of(function)
                ))
                .into());
            };
            let replaced = replaced.borrow().clone();
            if replaced.shape() != g.shape() || replaced.dtype() != g.dtype() {
                let what = if replaced.shape() != g.shape() { "size" } else { "type" };
                let text = format!("hook '{}' has changed the {what} of value", name_of(function));
                return Err(PyRuntimeError::new_err(text).into());
            }
            Ok(Some(replaced))
        })
    })
}

#[pymethods]
impl Tensor {
    /// Registers a function that `backward` calls with the gradient of this tensor, and that may return another.
    ///
    /// Returns a handle whose `remove()` takes the hook away.
    /// Raises: RuntimeError if the tensor does not require a gradient.
    fn register_hook(&self, hook: Py<PyAny>) -> PyResult<RemovableHandle> {
        if !self.requires_grad() {
            return Err(PyRuntimeError::new_err("cannot register a hook on a tensor that doesn't require gradient"));
        }
        let id = next_id();
        let hook = python_hook(hook);
        let place = match self.node() {
            Some((node, output)) => {
                node.watchers().hooks.push((output, id, hook));
                Place::Node(Arc::downgrade(&node))
            }
            None => {
                let meta = self.meta_or_new();
                meta.lock().hooks.push((id, hook));
                Place::Leaf(Arc::downgrade(&meta))
            }
        };
        Ok(RemovableHandle { id, place })
    }
}
