//! The interpreter lock: how kernels let other Python threads run; signals and warnings.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyUserWarning;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::Result;

thread_local! {
    static RELEASED: Cell<bool> = const { Cell::new(false) };
}

/// Tells the kernels how to release the lock, the engine how to take it on its threads and to look for Ctrl-C, and ops how to warn.
pub fn install() {
    crate::interpreter::install(release, attach, check_signals, warn);
}

/// Runs `body` with the lock.
fn attach(body: &mut dyn FnMut()) {
    Python::attach(|_| body());
}

/// Runs the handlers of signals that have arrived, if this is the main thread. (On others it does nothing.)
fn check_signals() -> Result<()> {
    // SAFETY: asks only about this thread.
    if unsafe { ffi::PyGILState_Check() } == 0 {
        return Ok(());
    }
    // SAFETY: this thread holds the interpreter lock.
    match unsafe { ffi::PyErr_CheckSignals() } {
        0 => Ok(()),
        _ => Err(Python::attach(PyErr::fetch).into()),
    }
}

/// Python's `UserWarning`.
fn warn(text: &CStr) -> Result<()> {
    Ok(Python::attach(|py| PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1))?)
}

/// Takes the lock back when dropped, also when a panic passes.
struct Released(*mut ffi::PyThreadState);

impl Drop for Released {
    fn drop(&mut self) {
        RELEASED.set(false);
        // SAFETY: the state is the one that `PyEval_SaveThread` gave on this thread.
        unsafe { ffi::PyEval_RestoreThread(self.0) }
    }
}

/// Runs `body` without the lock. On a thread that does not hold it, a kernel's worker say, just runs it.
fn release(body: &mut dyn FnMut()) {
    // SAFETY: callable at any time once the interpreter is initialised, which it is: it loaded this module.
    let held = unsafe { ffi::Py_IsInitialized() != 0 && ffi::PyGILState_Check() != 0 };
    if !held || RELEASED.get() {
        return body();
    }
    RELEASED.set(true);
    // SAFETY: this thread holds the lock; `Released` takes it back before anything of Python is touched.
    let _released = Released(unsafe { ffi::PyEval_SaveThread() });
    body();
}
