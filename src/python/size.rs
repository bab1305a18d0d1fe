//! `Size`, the tuple of a tensor's sizes. The class is Python's (`ferrograd/_size.py`); it is filled here.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

static SIZE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A `Size` of these sizes.
pub fn size_object<'py>(py: Python<'py>, sizes: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let class = SIZE.import(py, "ferrograd._size", "Size")?;
    let class = class.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: `Size` is a subclass of tuple without slots, so that its instances are laid out as tuples; each place
    // of the fresh one is filled once, with a reference that the tuple then owns.
    unsafe {
        let object = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(class, sizes.len() as ffi::Py_ssize_t))?;
        for (i, &size) in sizes.iter().enumerate() {
            let item = ffi::PyLong_FromSize_t(size);
            if item.is_null() {
                return Err(PyErr::fetch(py));
            }
            ffi::PyTuple_SET_ITEM(object.as_ptr(), i as ffi::Py_ssize_t, item);
        }
        Ok(object)
    }
}
