//! What `autograd.Function` needs of the tape; the rest of it is Python.

use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::node::{self, PyNode};
use crate::error::Result;
use crate::python::panics::SetAside;
use crate::tape::record::joint;
use crate::tape::{Node, custom, reach};
use crate::tensor::Tensor;

/// A function's context, as long as its node can run. Told when that is over.
struct Context(Arc<Py<PyAny>>);

impl Drop for Context {
    fn drop(&mut self) {
        // Nobody is left to be told if the interpreter is shutting down. An exception may be on its way just now.
        let _ = Python::try_attach(|py| {
            let _raised = SetAside::new(py);
            let _ = self.0.bind(py).call_method0("_release");
        });
    }
}

/// A node that is kept alive by the tape only.
#[pyclass(frozen)]
pub struct WeakNode(Weak<Node>);

#[pymethods]
impl WeakNode {
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.upgrade().map(|node| node::of_op(py, node)).transpose()
    }
}

/// Makes the node of a custom function: the tape will call `context._run(grads)` for the gradients of `inputs`.
///
/// It runs once only unless the graph is retained, if it `saves` tensors. Answers the node, and a weak reference to it.
#[pyfunction]
pub fn _custom_node<'py>(
    py: Python<'py>,
    name: &str,
    inputs: Vec<Bound<'py, Tensor>>,
    outputs: usize,
    saves: bool,
    context: Py<PyAny>,
) -> PyResult<(Bound<'py, PyAny>, WeakNode)> {
    let object = Arc::new(context);
    let context = Arc::new(Context(object.clone()));
    let rule = joint(move |grads, _, _| Python::attach(|py| Ok(run(context.0.bind(py), grads)?)));
    let inputs: Vec<Tensor> = inputs.iter().map(|x| x.borrow().clone()).collect();
    let node = custom::custom_node(name, &inputs, outputs, saves, rule);
    node.check_inputs()?;
    let _ = node.extras().object.set(object);
    let weak = WeakNode(Arc::downgrade(&node));
    Ok((node::of_op(py, node)?, weak))
}

fn run(context: &Bound<'_, PyAny>, grads: &[Option<Tensor>]) -> PyResult<Vec<Option<Tensor>>> {
    let py = context.py();
    let grads = PyTuple::new(py, grads.iter().cloned())?;
    let answer = context.call_method1("_run", (grads,))?;
    let tensor = |item: Bound<'_, PyAny>| -> PyResult<Option<Tensor>> {
        Ok(item.extract::<Option<Bound<'_, Tensor>>>()?.map(|grad| grad.borrow().clone()))
    };
    answer.cast::<PyList>()?.iter().map(tensor).collect()
}

/// The same tensors (or None), of which backward fails with this message.
#[pyfunction]
pub fn _delayed_error(message: String, tensors: Vec<Option<Bound<'_, Tensor>>>) -> Vec<Option<Tensor>> {
    custom::delayed_error(message, tensors.iter().map(|x| x.as_ref().map(|x| x.borrow().clone())).collect())
}

fn op_of(node: &Bound<'_, PyNode>) -> PyResult<Arc<Node>> {
    node.get().op().cloned().ok_or_else(|| PyTypeError::new_err("expected the node of an op, got that of a leaf"))
}

/// Makes a tensor an output of a custom node.
#[pyfunction]
pub fn _set_history(tensor: &Bound<'_, Tensor>, node: &Bound<'_, PyNode>, output: usize, one_of_several: bool) -> PyResult<()> {
    tensor.borrow().set_history(op_of(node)?, output, one_of_several);
    Ok(())
}

/// Makes a tensor that a custom function has written to an output of its node.
#[pyfunction]
pub fn _rebase_history(tensor: &Bound<'_, Tensor>, node: &Bound<'_, PyNode>, output: usize) -> PyResult<()> {
    Ok(tensor.borrow().rebase_history(op_of(node)?, output)?)
}

/// The same elements as an output of a node.
#[pyfunction]
pub fn _as_output(tensor: &Bound<'_, Tensor>, node: &Bound<'_, PyNode>, output: usize) -> PyResult<Tensor> {
    Ok(tensor.borrow().clone().with_origin(op_of(node)?, output))
}

/// The same elements as a leaf that there is already.
#[pyfunction]
pub fn _as_leaf(tensor: &Bound<'_, Tensor>, leaf: &Bound<'_, Tensor>) -> Tensor {
    let meta = leaf.borrow().meta_or_new();
    tensor.borrow().detached(false).with_meta(meta)
}

/// Fails if a tensor has been written to since it was saved at a version.
#[pyfunction]
pub fn _check_saved(tensor: &Bound<'_, Tensor>, version: u32) -> Result<()> {
    tensor.borrow().check_version(version)
}

/// Counts a write to each tensor, as if by an in-place op.
#[pyfunction]
pub fn increment_version(tensor: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(tensor) = tensor.cast::<Tensor>() {
        tensor.borrow().bump_version();
        return Ok(());
    }
    let wrong = |what: &str| PyRuntimeError::new_err(format!("increment_version {what}"));
    for item in tensor.try_iter().map_err(|_| wrong("expect a Iterable[Tensor] as input"))? {
        let item = item?;
        let tensor = item.cast::<Tensor>().map_err(|_| wrong("expects each element of the iterable to be a tensor"))?;
        tensor.borrow().bump_version();
    }
    Ok(())
}

/// Sets the count of in-place writes to a tensor.
#[pyfunction]
pub fn _set_version(tensor: &Bound<'_, Tensor>, version: u32) {
    tensor.borrow().set_version(version);
}

/// Whether gradients of some of the tensors flow to a leaf that is none of `own`, and was not made in the transform of this number.
#[pyfunction]
/// With `shown`, only leaves count that the user sees require a gradient.
#[pyo3(signature = (tensors, own, transform=None, shown=false))]
pub fn _leads_to_others(
    tensors: Vec<Bound<'_, Tensor>>,
    own: Vec<Bound<'_, Tensor>>,
    transform: Option<u64>,
    shown: bool,
) -> bool {
    let handles = |list: Vec<Bound<'_, Tensor>>| list.iter().map(|x| x.borrow().clone()).collect::<Vec<_>>();
    reach::leads_to_others(&handles(tensors), &handles(own), transform.unwrap_or(u64::MAX), shown)
}

/// Whether gradients of some of the tensors flow to one of the targets.
#[pyfunction]
pub fn _leads_to(tensors: Vec<Bound<'_, Tensor>>, targets: Vec<Bound<'_, Tensor>>) -> bool {
    let edges = |list: Vec<Bound<'_, Tensor>>| list.iter().map(|x| x.borrow().edge()).collect::<Vec<_>>();
    reach::leads(&edges(tensors), &edges(targets))
}

/// The end of the tape at a leaf that requires a gradient.
#[pyfunction]
pub fn _end_of_leaf<'py>(tensor: &Bound<'py, Tensor>) -> PyResult<Bound<'py, PyAny>> {
    let leaf = tensor.borrow().clone();
    let meta = leaf.meta_or_new();
    super::remember(tensor, &meta)?;
    node::of_leaf(tensor.py(), meta, leaf.handle())
}

/// The number of the backward pass that is running (0 if none is), and for each node whether it will come there.
#[pyfunction]
pub fn _current_run(places: Vec<(Bound<'_, PyNode>, usize)>) -> (u64, Vec<bool>) {
    let edges: Vec<_> = places.iter().map(|(node, output)| node.get().edge(*output)).collect();
    reach::current_run(&edges)
}

/// The number of the backward pass that is running on this thread, -1 if none is.
#[pyfunction]
pub fn _current_graph_task_id() -> i64 {
    match reach::current_run(&[]) {
        (0, _) => -1,
        (number, _) => number as i64,
    }
}

/// Whether the backward pass that is running on this thread comes to a node.
#[pyfunction]
pub fn _will_engine_execute_node(node: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Ok(node) = node.cast::<PyNode>() else {
        let got = node.get_type().name()?;
        return Err(PyRuntimeError::new_err(format!("_will_engine_execute_node expects an grad_fn, but got {got}")));
    };
    let node = node.get();
    let outputs = node.op().map_or(1, |op| op.outputs);
    let places: Vec<_> = (0..outputs).map(|output| node.edge(output)).collect();
    match reach::current_run(&places) {
        (0, _) => Err(PyRuntimeError::new_err("_get_should_execute_nodes should only be called during the backward pass")),
        (_, comes) => Ok(comes.contains(&true)),
    }
}

/// Whether the backward pass that is running is to end at certain inputs.
#[pyfunction]
pub fn _run_has_inputs() -> bool {
    reach::run_has_inputs()
}

/// Queues a function without arguments, to be called when the backward pass that is running on this thread has come to its end.
#[pyfunction]
pub fn queue_callback(callback: Py<PyAny>) -> Result<()> {
    reach::at_end(Box::new(move || {
        Python::attach(|py| {
            callback.bind(py).call0()?;
            Ok(())
        })
    }))
}
