//! Anomaly detection: each node remembers where it was recorded, and gradients that are NaN are errors.

use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::node::Node;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::runtime_error;
use crate::tensor::Tensor;

/// Bits of [`STATE`].
const ENABLED: u8 = 1;
const CHECK_NAN: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(CHECK_NAN);

/// Where the program is now, to the layer that knows.
pub type Trace = Arc<dyn Any + Send + Sync>;

/// What the Python layer does: takes a trace, and tells the user which node failed.
pub struct Reporter {
    /// Where the program is now.
    pub trace: fn() -> Option<Trace>,
    /// Tells that a node failed.
    pub report: fn(&Arc<Node>) -> Result<()>,
}

static REPORTER: OnceLock<Reporter> = OnceLock::new();

thread_local! {
    /// The node that is being run.
    static RUNNING: RefCell<Option<Arc<Node>>> = const { RefCell::new(None) };
}

/// What a node remembers.
pub struct Origin {
    /// Where it was recorded.
    pub trace: Option<Trace>,
    /// The node that was being run, if it was recorded in a backward pass.
    pub parent: Option<Arc<Node>>,
}

/// Says how to report; called once, when the module is loaded.
pub fn install(reporter: Reporter) {
    let _ = REPORTER.set(reporter);
}

/// Switches detection on or off.
pub fn set(enabled: bool, check_nan: bool) {
    let bits = if enabled { ENABLED } else { 0 } | if check_nan { CHECK_NAN } else { 0 };
    STATE.store(bits, Ordering::Relaxed);
}

/// Whether detection is on.
#[inline]
pub fn is_enabled() -> bool {
    STATE.load(Ordering::Relaxed) & ENABLED != 0
}

/// Whether NaN would be an error if it were.
pub fn checks_nan() -> bool {
    STATE.load(Ordering::Relaxed) & CHECK_NAN != 0
}

/// Makes a node remember where it was recorded.
pub fn remember(node: &Node) {
    let trace = REPORTER.get().and_then(|reporter| (reporter.trace)());
    let parent = RUNNING.with(|running| running.borrow().clone());
    let _ = node.extras().origin.set(Origin { trace, parent });
}

/// Runs a node's rules; if they fail, tells where the node was recorded.
pub fn watched(node: &Arc<Node>, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = RUNNING.replace(Some(node.clone()));
    let result = run();
    RUNNING.set(before);
    if let (Err(_), Some(reporter)) = (&result, REPORTER.get()) {
        (reporter.report)(node)?;
    }
    result
}

/// Fails if a gradient that a node has computed is NaN somewhere.
pub fn check(node: &Node, input: usize, grad: &Tensor) -> Result<()> {
    if is_enabled() && checks_nan() && grad.dtype().is_inexact() {
        let any = super::without_recording(|| grad.detached(false).nan_mask()?.any(None, false)?.scalar())?;
        if matches!(any, Scalar::Bool(true)) {
            return runtime_error!("Function '{}' returned nan values in its {input}th output.", node.name());
        }
    }
    Ok(())
}
