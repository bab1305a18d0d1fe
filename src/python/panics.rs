//! Panics, which are bugs of ours, as Python sees them: a RuntimeError that asks for a report.
//!
//! Every function that Python calls catches panics (PyO3 sees to that, [`super::function`] for itself) and raises PyO3's
//! `PanicException`, a class of this extension alone. It is made a BaseException, which `except Exception` would let
//! through; here it becomes a RuntimeError with another name. That is complete, and costs nothing until it happens.
//! Where the panic was, Rust's own message on stderr says.

use std::any::Any;
use std::ffi::CStr;
use std::ptr::NonNull;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;

use crate::dtype::DType;
use crate::interpreter::without_interpreter;
use crate::kernels::par;
use crate::layout::Layout;
use crate::storage::Storage;
use crate::tensor::Tensor;

/// Makes panics RuntimeErrors.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<PanicException>();
    // Both are laid out as BaseException is, which is what Python asks for.
    class.setattr("__bases__", (py.get_type::<PyRuntimeError>(),))?;
    class.setattr("__name__", "InternalError")?;
    class.setattr("__qualname__", "InternalError")?;
    class.setattr("__module__", "ferrograd")?;
    class.setattr("__doc__", "A bug of ferrograd: please report it, with the call that led to it.")?;
    // A function of Python's, because those of extensions do not become methods.
    class.setattr("__str__", py.eval(TEXT, None, None)?)
}

/// What `str` of the exception says.
const TEXT: &CStr =
    c"lambda self: f'internal error of ferrograd: {\"\".join(map(str, self.args))}; this is a bug, please report it \
    with the call that led to it'";

/// The exception for a panic that was caught by hand.
pub fn internal_error(cause: Box<dyn Any + Send>) -> PyErr {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    PanicException::new_err(text.unwrap_or("panic").to_string())
}

/// The exception that this thread is raising, if any, out of the way of Python code; raised again when this is dropped.
///
/// PyO3's `PyErr::take` is not for where nothing catches panics: it goes on with the panic that an exception was.
pub struct SetAside<'py>([*mut ffi::PyObject; 3], Python<'py>);

impl<'py> SetAside<'py> {
    /// Sets it aside.
    #[allow(deprecated)]
    pub fn new(py: Python<'py>) -> SetAside<'py> {
        let [mut class, mut value, mut trace] = [std::ptr::null_mut(); 3];
        // SAFETY: writes three references of our own, or null, to places of its own.
        unsafe { ffi::PyErr_Fetch(&mut class, &mut value, &mut trace) };
        SetAside([class, value, trace], py)
    }

    /// Drops the exception.
    pub fn clear(self) {
        drop(self);
        // SAFETY: the interpreter is held.
        unsafe { ffi::PyErr_Clear() };
    }
}

impl Drop for SetAside<'_> {
    #[allow(deprecated)]
    fn drop(&mut self) {
        let [class, value, trace] = self.0;
        // SAFETY: the interpreter is held; these are references of our own, which are given away once.
        unsafe { ffi::PyErr_Restore(class, value, trace) };
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    #[allow(clippy::panic)]
    fn drop(&mut self) {
        panic!("on purpose, in drop");
    }
}

/// Panics in the calling thread, also without the interpreter lock, in a worker of the parallel loop, or when the returned
/// tensor is dropped: for the tests of what becomes of panics.
#[pyfunction]
#[allow(clippy::panic)]
pub fn _panic_for_tests(place: &str) -> PyResult<Option<Tensor>> {
    match place {
        "here" => panic!("on purpose, here"),
        "kernel" => without_interpreter(usize::MAX, || panic!("on purpose, in a kernel")),
        "worker" => {
            let caller = std::thread::current().id();
            for _ in 0..1000 {
                par::for_ranges(64, 1, &|_| {
                    std::thread::sleep(std::time::Duration::from_micros(200));
                    if std::thread::current().id() != caller {
                        panic!("on purpose, in a worker");
                    }
                });
            }
            Ok(None)
        }
        "drop" => {
            // SAFETY: no byte is lent.
            let storage = unsafe { Storage::lent(NonNull::dangling(), 0, Box::new(PanicsWhenDropped)) };
            Ok(Some(Tensor::from_parts(storage, Layout::contiguous(&[0]), DType::F32)))
        }
        _ => Err(PyValueError::new_err("place must be 'here', 'kernel', 'worker' or 'drop'")),
    }
}
