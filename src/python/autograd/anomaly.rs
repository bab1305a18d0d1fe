//! Anomaly detection as Python sees it: traces are lists of lines, reports are warnings.

use std::sync::Arc;

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;

use crate::error::Result;
use crate::tape::Node;
use crate::tape::anomaly::{self, Reporter, Trace};

/// Says how nodes remember and how failures are told.
pub fn install() {
    anomaly::install(Reporter { trace, report });
}

/// The stack of the program that runs now; None where Python does not know one.
fn trace() -> Option<Trace> {
    Python::attach(|py| {
        let lines = py.import("traceback").and_then(|module| module.call_method0("format_stack")).ok()?;
        Some(Arc::new(lines.unbind()) as Trace)
    })
}

fn text(py: Python<'_>, trace: &Trace) -> PyResult<String> {
    match trace.downcast_ref::<Py<PyAny>>() {
        Some(lines) => Ok(lines.bind(py).try_iter()?.map(|line| line?.extract()).collect::<PyResult<Vec<String>>>()?.concat()),
        None => Ok(String::new()),
    }
}

/// Warns with the places where a node was recorded, and the nodes whose backward pass that was.
fn report(node: &Arc<Node>) -> Result<()> {
    Python::attach(|py| {
        let origin = |node: &Arc<Node>| node.extras.get().and_then(|extras| extras.origin.get()).is_some();
        let mut current = Some(node.clone());
        let mut first = true;
        while let Some(node) = current.take() {
            let name = node.name();
            let found = node.extras.get().and_then(|extras| extras.origin.get());
            let trace = found.and_then(|origin| origin.trace.as_ref()).map(|trace| text(py, trace)).transpose()?;
            let message = match (first, trace) {
                (true, Some(trace)) => {
                    format!("Error detected in {name}. Traceback of forward call that caused the error:\n{trace}")
                }
                (true, None) => format!(
                    "Error detected in {name}. No forward pass information available. Enable detect anomaly during forward pass \
                     for more information."
                ),
                (false, Some(trace)) => format!(
                    "\n\nPrevious calculation was induced by {name}. Traceback of forward call that induced the previous \
                     calculation:\n{trace}"
                ),
                (false, None) => {
                    format!("\n\nPrevious calculation was induced by {name}. No forward pass information available.")
                }
            };
            let message = std::ffi::CString::new(message.replace('\0', " ")).map_err(PyErr::from)?;
            // Where warnings are errors, it must not stand in for the error that is on its way.
            if let Err(warning) = PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 1) {
                warning.print(py);
            }
            current = found.and_then(|origin| origin.parent.clone()).filter(|parent| origin(parent) || first);
            first = false;
        }
        Ok(())
    })
}

/// Whether nodes remember where they were recorded.
#[pyfunction]
pub fn is_anomaly_enabled() -> bool {
    anomaly::is_enabled()
}

/// Whether anomaly detection, if it is on, makes NaN an error.
#[pyfunction]
pub fn is_anomaly_check_nan_enabled() -> bool {
    anomaly::checks_nan()
}

/// Switches anomaly detection on or off, for all threads.
#[pyfunction]
#[pyo3(signature = (enabled, check_nan=true))]
pub fn set_anomaly_enabled(enabled: bool, check_nan: bool) {
    anomaly::set(enabled, check_nan);
}
