//! Letting other Python threads run while a kernel works or a lock is awaited, letting Ctrl-C end what takes long, and warnings.
//! The Python layer says how; ops, storage and tape only say when.

use std::ffi::CStr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::Result;
use crate::fork::NAP;
use crate::tape::level::before_show;
use crate::tensor::Tensor;

/// Runs its argument without the interpreter lock, or with it.
pub type Release = fn(&mut dyn FnMut());

/// Handles the signals that have arrived; an error is the exception that a handler raised.
pub type CheckSignals = fn() -> Result<()>;

/// Gives the user a warning; an error is the exception that it has been turned into.
pub type Warn = fn(&CStr) -> Result<()>;

static RELEASE: OnceLock<Release> = OnceLock::new();
static ATTACH: OnceLock<Release> = OnceLock::new();
static CHECK_SIGNALS: OnceLock<CheckSignals> = OnceLock::new();
static WARN: OnceLock<Warn> = OnceLock::new();

/// How long to wait for an op that reads what is to be changed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two looks whether it has ended; the first is a [`NAP`].
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// Elements above which a kernel takes longer than a few microseconds.
const WORTH_RELEASING: usize = 32 * 1024;

/// Says how the interpreter lock is released and taken, signals are handled and warnings given; called once, when the module is
/// loaded.
pub fn install(release: Release, attach: Release, check_signals: CheckSignals, warn: Warn) {
    let _ = RELEASE.set(release);
    let _ = ATTACH.set(attach);
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

/// A warning that comes once in a process, as many of torch's do.
pub struct Once {
    text: &'static CStr,
    given: AtomicBool,
}

/// Whether such warnings come each time.
pub static WARN_ALWAYS: AtomicBool = AtomicBool::new(false);

impl Once {
    /// A warning with this text, to be kept in a static.
    pub const fn new(text: &'static CStr) -> Once {
        Once { text, given: AtomicBool::new(false) }
    }

    /// Gives it to the user, if it is the first time.
    pub fn warn(&self) -> Result<()> {
        if is_repeated(&self.given) { Ok(()) } else { warn(self.text) }
    }
}

/// Whether a warning that comes once has been given, and need not come again. From now on it has been.
pub fn is_repeated(given: &AtomicBool) -> bool {
    given.swap(true, Ordering::Relaxed) && !WARN_ALWAYS.load(Ordering::Relaxed)
}

/// Runs something without the interpreter lock.
pub fn released(body: &mut dyn FnMut()) {
    match RELEASE.get() {
        Some(release) => release(body),
        None => body(),
    }
}

/// Makes a tensor's object show what `new` shows, at its own place on the tape: `x.data = new`. Answers what it was before, whose
/// end may run the user's code.
///
/// Waits for the ops of other threads that are reading it; fails if they do not end, as when this thread itself is in the middle
/// of one.
pub fn show(x: &Bound<'_, Tensor>, new: &Tensor) -> PyResult<Tensor> {
    before_show(&x.borrow(), || {
        let (x, old) = (x.clone().unbind(), x.borrow().clone());
        Rc::new(move || Python::attach(|py| Ok(shown_at_once(x.bind(py), &old).map(drop)?)))
    })?;
    shown_at_once(x, new)
}

fn shown_at_once(x: &Bound<'_, Tensor>, new: &Tensor) -> PyResult<Tensor> {
    let start = Instant::now();
    let mut pause = NAP;
    loop {
        let mut old = None;
        alone(x.py(), || old = x.try_borrow_mut().ok().map(|mut x| x.set_data(new)));
        match old {
            Some(old) => return Ok(old),
            None if start.elapsed() < PATIENCE => {
                x.py().check_signals()?;
                x.py().detach(|| std::thread::sleep(pause));
            }
            None => {
                let text = "the tensor cannot be changed: an op that reads it, on this or another thread, has not ended";
                return Err(PyRuntimeError::new_err(text));
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Runs something that must not call Python while no other thread is between taking the interpreter and letting go of it.
#[cfg(not(Py_GIL_DISABLED))]
fn alone(_py: Python<'_>, body: impl FnOnce()) {
    body();
}

/// The same where there is no interpreter lock: another thread that came upon the tensor while it is being changed would not
/// wait, but raise an error. Walking the collector's objects stops all threads that run Python (PEP 703); the walk ends at
/// the first.
#[cfg(Py_GIL_DISABLED)]
fn alone<F: FnOnce()>(_py: Python<'_>, body: F) {
    use pyo3::ffi::PyObject;
    use std::ffi::{c_int, c_void};

    unsafe extern "C" {
        /// Part of CPython's C API, but not of pyo3's declarations.
        fn PyUnstable_GC_VisitObjects(visit: unsafe extern "C" fn(*mut PyObject, *mut c_void) -> c_int, arg: *mut c_void);
    }
    unsafe extern "C" fn first<F: FnOnce()>(_object: *mut PyObject, body: *mut c_void) -> c_int {
        // SAFETY: the address is that of `body` below, and nobody else uses it meanwhile.
        if let Some(body) = unsafe { &mut *body.cast::<Option<F>>() }.take() {
            body();
        }
        0
    }
    let mut body = Some(body);
    // SAFETY: this thread is attached; the visitor changes no object that the collector knows of.
    unsafe { PyUnstable_GC_VisitObjects(first::<F>, (&raw mut body).cast()) };
    // There always is an object.
    debug_assert!(body.is_none());
}

/// Runs a kernel of so much `work` (elements touched, or multiply-adds / 16) without the interpreter lock if that pays.
pub fn without_interpreter<R>(work: usize, body: impl FnOnce() -> R) -> R {
    match RELEASE.get() {
        Some(release) if work >= WORTH_RELEASING => run_by(*release, body),
        _ => body(),
    }
}

/// Runs something that waits without the interpreter lock.
pub fn released_for<R>(body: impl FnOnce() -> R) -> R {
    run_by(released, body)
}

/// Runs something on a thread that Python did not start, with the interpreter lock.
pub fn attached<R>(body: impl FnOnce() -> R) -> R {
    match ATTACH.get() {
        Some(attach) => run_by(*attach, body),
        None => body(),
    }
}

fn run_by<R>(run: Release, body: impl FnOnce() -> R) -> R {
    let mut body = Some(body);
    let mut result = None;
    run(&mut || {
        if let Some(body) = body.take() {
            result = Some(body());
        }
    });
    match (result, body) {
        (Some(result), _) => result,
        (None, Some(body)) => body(),
        (None, None) => unreachable!("it runs once"),
    }
}
