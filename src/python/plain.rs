//! Functions and methods that only ask whether a class overrides them: see `overrides.rs`.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

use super::callable::{Callable, Rules};

#[derive(Clone, Copy)]
struct Plain {
    /// Whether the classes of arguments are asked, or only modes.
    classes: bool,
}

impl Rules for Plain {
    fn asks_classes(&self) -> bool {
        self.classes
    }

    unsafe extern "C" fn call(
        object: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        // SAFETY: the vectorcall protocol; `object` is of the class.
        unsafe {
            let Callable { method, method_call, .. } = *object.cast::<Callable<Plain>>();
            method_call(method, args, nargsf, kwnames)
        }
    }
}

/// The classes of such functions and methods.
fn classes(py: Python<'_>) -> PyResult<&[Py<PyType>; 2]> {
    static CLASSES: PyOnceLock<[Py<PyType>; 2]> = PyOnceLock::new();
    CLASSES.get_or_try_init(py, || {
        let function = Callable::<Plain>::class(py, c"ferrograd.function", false)?.unbind();
        Ok([function, Callable::<Plain>::class(py, c"ferrograd.method", true)?.unbind()])
    })
}

/// A function that asks first: classes, too, or only modes.
pub fn function<'py>(function: &Bound<'py, PyAny>, asks_classes: bool) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let name = function.getattr("__name__")?.cast_into::<PyString>()?;
    // SAFETY: the class is made for these rules.
    unsafe { Callable::make(classes(py)?[0].bind(py), function, &name, Plain { classes: asks_classes }) }
}

/// A method that asks first.
pub fn method<'py>(method: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let py = method.py();
    // SAFETY: the class is made for these rules.
    unsafe { Callable::make(classes(py)?[1].bind(py), method, name, Plain { classes: true }) }
}

/// Whether it is a function of these that asks only modes.
pub fn asks_only_modes(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    let plain = function.get_type().is(&classes(function.py())?[0]);
    // SAFETY: an object of this class is laid out so.
    Ok(plain && unsafe { !(*function.as_ptr().cast::<Callable<Plain>>()).rules.classes })
}
