//! Letting other Python threads run while a kernel works or a lock is awaited, letting Ctrl-C end what takes long, and warnings.
//! The Python layer says how; ops, storage and tape only say when.

use std::ffi::CStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::Result;
use crate::fork::NAP;
use crate::tensor::Tensor;

/// Runs its argument without the interpreter lock.
pub type Release = fn(&mut dyn FnMut());

/// Handles the signals that have arrived; an error is the exception that a handler raised.
pub type CheckSignals = fn() -> Result<()>;

/// Gives the user a warning; an error is the exception that it has been turned into.
pub type Warn = fn(&CStr) -> Result<()>;

static RELEASE: OnceLock<Release> = OnceLock::new();
static CHECK_SIGNALS: OnceLock<CheckSignals> = OnceLock::new();
static WARN: OnceLock<Warn> = OnceLock::new();

/// How long to wait for an op that reads what is to be changed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Elements above which a kernel takes longer than a few microseconds.
const WORTH_RELEASING: usize = 32 * 1024;

/// Says how the interpreter lock is released, signals are handled and warnings given; called once, when the module is loaded.
pub fn install(release: Release, check_signals: CheckSignals, warn: Warn) {
    let _ = RELEASE.set(release);
    let _ = WARN.set(warn);
    let _ = CHECK_SIGNALS.set(check_signals);
}

/// Fails if the user has pressed Ctrl-C, with the exception that Python raises for it. Takes a few nanoseconds.
pub fn check_signals() -> Result<()> {
    CHECK_SIGNALS.get().map_or(Ok(()), |check| check())
}

/// Gives the user a warning.
pub fn warn(text: &CStr) -> Result<()> {
    WARN.get().map_or(Ok(()), |warn| warn(text))
}

/// Runs something without the interpreter lock.
pub fn released(body: &mut dyn FnMut()) {
    match RELEASE.get() {
        Some(release) => release(body),
        None => body(),
    }
}

/// A tensor's object, to change what it shows. Waits for the ops of other threads that are reading it; fails if they do not end,
/// as when this thread itself is in the middle of one.
pub fn exclusive<'py>(x: &Bound<'py, Tensor>) -> PyResult<PyRefMut<'py, Tensor>> {
    let start = Instant::now();
    loop {
        match x.try_borrow_mut() {
            Ok(exclusive) => return Ok(exclusive),
            Err(_) if start.elapsed() < PATIENCE => x.py().detach(|| std::thread::sleep(NAP)),
            Err(_) => {
                let text = "the tensor cannot be changed: an op that reads it, on this or another thread, has not ended";
                return Err(PyRuntimeError::new_err(text));
            }
        }
    }
}

/// Runs a kernel of so much `work` (elements touched, or multiply-adds / 16) without the interpreter lock if that pays.
pub fn without_interpreter<R>(work: usize, body: impl FnOnce() -> R) -> R {
    match RELEASE.get() {
        Some(release) if work >= WORTH_RELEASING => {
            let mut body = Some(body);
            let mut result = None;
            release(&mut || {
                if let Some(body) = body.take() {
                    result = Some(body());
                }
            });
            match (result, body) {
                (Some(result), _) => result,
                (None, Some(body)) => body(),
                (None, None) => unreachable!("a kernel runs once"),
            }
        }
        _ => body(),
    }
}
