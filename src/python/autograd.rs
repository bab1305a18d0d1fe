//! Differentiation as Python sees it: the tape's side of `Tensor`, and `backward` and `grad`.

mod anomaly;
mod custom;
mod hooks;
mod kept;
mod modes;
mod node;
mod run;
mod saved;
mod tangents;
mod transforms;

use std::any::Any;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyWeakrefReference};

pub use anomaly::{install, is_anomaly_check_nan_enabled, is_anomaly_enabled, set_anomaly_enabled};
pub use custom::{
    _as_leaf, _as_output, _check_saved, _current_graph_task_id, _current_run, _custom_node, _delayed_error, _end_of_leaf,
    _leads_to, _leads_to_others, _rebase_history, _run_has_inputs, _set_history, _set_version, _will_engine_execute_node,
    WeakNode, increment_version, queue_callback,
};
pub use hooks::RemovableHandle;
pub use kept::{_pop_keeper, _push_keeper};
pub use modes::{_is_recording, _mode, _set_grad_layout, _set_mode, _set_recording, is_grad_enabled, is_inference_mode_enabled};
pub use node::PyNode;
pub use run::{backward, grad};
pub use saved::{_pop_saved_hooks, _push_saved_hooks, _saved_by_function, _saved_hooks, SavedTensor};
pub use tangents::{
    _carry_tangent, _end_forward, _has_recorded_tangent, _is_followed, _is_reached, _linked, _place, _set_forward, _show_primal,
    _without_tangent,
};
pub use transforms::{
    _again, _depends_on, _end_of_sample, _enter_transform, _forget_sample, _is_captured, _joined, _keep_batch, _leave_transform,
    _of_all_samples, _of_transform, _sample, _step_in, _step_out, _values, _view_of_parts, _views_in_place, _writes_to_batch,
};

use super::dtype::DTypeObject;
use crate::dtype::DType;
use crate::interpreter::show;
use crate::ops::samples;
use crate::tape::level;
use crate::tape::mode::ModeGuard;
use crate::tape::{Grad, GradObject, Meta};
use crate::tensor::{LeafHandle, Tensor};

/// What a function in Python, an op in torch, has just answered: its backward fails if an operand, or unless told otherwise the
/// result, has been written to, as torch saves them.
#[pyfunction]
#[pyo3(signature = (result, operands, result_too=true))]
pub fn _saving(result: &Tensor, operands: Vec<PyRef<'_, Tensor>>, result_too: bool) -> Tensor {
    let operands: Vec<&Tensor> = operands.iter().map(|x| &**x).collect();
    let y = result.clone().watching(&operands);
    if result_too { y.watching_itself() } else { y }
}

/// A gradient that Python holds: the same object each time.
pub(super) struct PyGrad(pub(super) Py<Tensor>);

impl GradObject for PyGrad {
    fn tensor(&self) -> crate::error::Result<Tensor> {
        Python::attach(|py| Ok(self.0.bind(py).try_borrow().map_err(PyErr::from)?.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Remembers which Python object a tensor is, weakly, for those who find it from the graph or from a view.
pub fn remember(slf: &Bound<'_, Tensor>, meta: &Arc<Meta>) -> PyResult<()> {
    if remembered(slf.py(), meta).is_none() {
        let reference: Py<PyWeakrefReference> = PyWeakrefReference::new(slf)?.unbind();
        meta.lock().object = Some(Arc::new(reference));
    }
    Ok(())
}

/// Exchanges what two tensors are: memory, history, hooks and gradients. Fails if somebody refers to one of them weakly.
#[pyfunction]
pub fn _exchange(t1: &Bound<'_, Tensor>, t2: &Bound<'_, Tensor>) -> PyResult<()> {
    let py = t1.py();
    let weak_references = py.import("weakref")?.getattr("getweakrefs")?;
    for (name, x) in [("t1", t1), ("t2", t2)] {
        let own = x.borrow().meta().and_then(|meta| meta.lock().object.clone());
        let own = own.as_ref().and_then(|own| own.downcast_ref::<Py<PyWeakrefReference>>());
        for other in weak_references.call1((x,))?.try_iter()? {
            let other = other?;
            if own.is_none_or(|own| !own.is(&other)) {
                return Err(PyRuntimeError::new_err(format!("Cannot swap {name} because it has weakref associated with it")));
            }
        }
    }
    match (t1.try_borrow_mut(), t2.try_borrow_mut()) {
        (Ok(mut a), Ok(mut b)) => std::mem::swap(&mut *a, &mut *b),
        _ if t1.is(t2) => {}
        _ => return Err(PyRuntimeError::new_err("the tensors cannot be exchanged: an op that reads one of them has not ended")),
    }
    for x in [t1, t2] {
        let Some(meta) = x.borrow().meta().cloned() else { continue };
        let known = meta.lock().object.take();
        if known.is_some() {
            remember(x, &meta)?;
        }
    }
    Ok(())
}

/// A Python object that is such a tensor, looked for among all objects: for what is rarely asked for, so that ops need not
/// remember their operands, nor views theirs.
fn object_where<'py>(py: Python<'py>, is_it: impl Fn(&Tensor) -> bool) -> PyResult<Option<Bound<'py, Tensor>>> {
    for object in py.import("gc")?.call_method0("get_objects")?.try_iter()? {
        if let Ok(tensor) = object?.cast_into::<Tensor>()
            // One that is just being made is in the list, too.
            && tensor.try_borrow().is_ok_and(|x| !x.is_blank() && is_it(&x))
        {
            return Ok(Some(tensor));
        }
    }
    Ok(None)
}

/// The Python object of a tensor, if it is known and still lives.
fn remembered<'py>(py: Python<'py>, meta: &Arc<Meta>) -> Option<Bound<'py, PyAny>> {
    use pyo3::types::PyWeakrefMethods;
    let object = meta.lock().object.clone()?;
    object.downcast_ref::<Py<PyWeakrefReference>>()?.bind(py).upgrade()
}

/// The Python object of a leaf that a graph keeps: the user's if that still exists, else a new one.
fn object_of_leaf<'py>(py: Python<'py>, leaf: &LeafHandle) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(leaf) = leaf.tensor() else { return Ok(None) };
    let meta = leaf.meta_or_new();
    if let Some(known) = remembered(py, &meta) {
        return Ok(Some(known));
    }
    let object = Bound::new(py, leaf)?;
    remember(&object, &meta)?;
    Ok(Some(object.into_any()))
}

#[pymethods]
impl Tensor {
    /// Whether gradients flow to or through this tensor. May be set on leaves.
    #[getter(requires_grad)]
    fn get_requires_grad(&self) -> bool {
        self.is_shown()
    }

    #[setter(requires_grad)]
    fn set_requires_grad(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(flag) = value.cast::<PyBool>() else {
            return Err(PyRuntimeError::new_err("requires_grad must be a bool"));
        };
        let x = slf.borrow().clone();
        x.set_requires_grad_flag(flag.is_true(), flag.is_true())?;
        remember(slf, &x.meta_or_new())
    }

    #[deleter(requires_grad)]
    fn delete_requires_grad(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err("requires_grad must be a bool"))
    }

    /// Sets whether gradients are wanted for this leaf; answers the tensor itself.
    ///
    /// Raises: RuntimeError if the dtype is not floating point, or to switch off a computed tensor.
    #[pyo3(signature = (requires_grad=true))]
    fn requires_grad_<'py>(slf: Bound<'py, Self>, requires_grad: bool) -> PyResult<Bound<'py, Self>> {
        level::check_outside(
            "You are attempting to call Tensor.requires_grad_() (or perhaps using torch.autograd.functional.* APIs) inside of a \
             function being transformed by a functorch transform: grad, vjp, jacrev, jacfwd and hessian say themselves what is \
             differentiated.",
        )?;
        let x = slf.borrow().clone();
        x.set_requires_grad_flag(requires_grad, false)?;
        remember(&slf, &x.meta_or_new())?;
        Ok(slf)
    }

    /// Whether no recorded op made this tensor.
    #[getter]
    fn is_leaf(&self) -> PyResult<bool> {
        let Some((node, _)) = self.shown_node() else { return Ok(true) };
        node.check_usable()?;
        Ok(false)
    }

    /// The gradient that `backward` has added up for this leaf, or None. The same object each time.
    #[getter(grad)]
    fn get_grad(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Tensor>>> {
        let py = slf.py();
        let x = slf.borrow();
        if x.node().is_none() && x.meta().is_none() {
            return Ok(None);
        }
        let meta = x.meta_or_new();
        let (grad, computed) = {
            let state = meta.lock();
            (state.grad.clone(), state.node.as_ref().is_some_and(|(node, _)| node.is_shown()) && !state.retains_grad)
        };
        match &grad {
            None if computed => {
                let text =
                    c"The .grad attribute of a Tensor that is not a leaf Tensor is being accessed: backward leaves none there. \
                    If you want it, call .retain_grad() before; if not, you may have meant the leaf that this was computed from.";
                PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)?;
                Ok(None)
            }
            None => Ok(None),
            Some(Grad::Object(object)) => match object.as_any().downcast_ref::<PyGrad>() {
                Some(grad) => Ok(Some(grad.0.clone_ref(py))),
                None => Ok(Some(Py::new(py, object.tensor()?)?)),
            },
            Some(Grad::Native(tensor)) => {
                let object = Py::new(py, Tensor::clone(tensor))?;
                let shown = Grad::Object(Arc::new(PyGrad(object.clone_ref(py))));
                if meta.replace_grad(&grad, shown) {
                    return Ok(Some(object));
                }
                // Another thread has changed the gradient meanwhile.
                drop(x);
                Self::get_grad(slf)
            }
        }
    }

    #[setter(grad)]
    fn set_grad(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if value.is_none() {
            return Self::delete_grad(slf);
        }
        let Ok(grad) = value.cast::<Tensor>() else {
            let name = value.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "assigned grad expected to be a Tensor or None but got grad of type {name}"
            )));
        };
        if grad.is(slf) {
            return Err(PyRuntimeError::new_err("can't assign Variable as its own grad"));
        }
        let x = slf.borrow();
        x.check_grad_fits(&grad.borrow())?;
        let before = x.meta_or_new().lock().grad.replace(Grad::Object(Arc::new(PyGrad(grad.clone().unbind()))));
        drop(before);
        Ok(())
    }

    #[deleter(grad)]
    fn delete_grad(slf: &Bound<'_, Self>) -> PyResult<()> {
        let x = slf.borrow();
        let before = x.meta().and_then(|meta| meta.lock().grad.take());
        // Dropped only now, when nothing is locked: it may run Python code.
        drop(before);
        Ok(())
    }

    /// The dtype to which the gradients of this leaf are cast, its own if none has been set; None for that in which they come.
    ///
    /// Raises: RuntimeError for a computed tensor, or to set another one than that of the gradient it has.
    #[getter(grad_dtype)]
    fn get_grad_dtype(&self) -> crate::error::Result<Option<DType>> {
        self.gradient_dtype()
    }

    #[setter(grad_dtype)]
    fn set_grad_dtype(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let dtype = match value.cast::<DTypeObject>() {
            Ok(_) => Some(value.extract()?),
            Err(_) if value.is_none() => None,
            Err(_) => {
                let name = value.get_type().name()?;
                return Err(PyRuntimeError::new_err(format!("grad_dtype must be a torch.dtype or None, but got {name}")));
            }
        };
        Ok(self.set_gradient_dtype(dtype)?)
    }

    /// The op that made this tensor; None for a leaf.
    #[getter]
    fn grad_fn<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((node, output)) = self.shown_node() else { return Ok(None) };
        node.check_usable()?;
        node.note_output(output, self.shape(), self.dtype());
        node::of_op(py, node).map(Some)
    }

    /// The same; set to None it takes this tensor off the tape.
    #[getter(_grad_fn)]
    fn get_grad_fn_for_change<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.grad_fn(py)
    }

    #[setter(_grad_fn)]
    fn set_grad_fn(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if !value.is_none() {
            return Err(PyRuntimeError::new_err("_grad_fn can be only set to None"));
        }
        Ok(self.detach_self()?)
    }

    #[deleter(_grad_fn)]
    fn delete_grad_fn(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err("Deletion of _grad_fn not allowed. Detach tensor instead!"))
    }

    /// Which output of `grad_fn` this tensor is.
    #[getter]
    fn output_nr(&self) -> usize {
        self.shown_node().map_or(0, |(_, output)| output)
    }

    /// The same elements off the tape. Shares memory, and the count of in-place writes.
    fn detach(&self) -> Tensor {
        self.detached(false)
    }

    /// Takes this tensor off the tape.
    ///
    /// Raises: RuntimeError for a view.
    fn detach_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.borrow().detach_self()?;
        Ok(slf)
    }

    /// The same elements off the tape, with a count of in-place writes of their own: the tape does not see writes to it.
    #[getter(data)]
    fn get_data(&self) -> PyResult<Tensor> {
        if samples::are_any_mapped([self]) {
            return Err(PyRuntimeError::new_err("accessing `data` under vmap transform is not allowed"));
        }
        Ok(self.detached(true))
    }

    #[setter(data)]
    fn set_data_of(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(other) = value.cast::<Tensor>() else {
            let name = value.get_type().name()?;
            return Err(PyTypeError::new_err(format!("Variable data has to be a tensor, but got {name}")));
        };
        let other = other.borrow().clone();
        let x = slf.borrow().clone();
        if samples::are_any_mapped([&x, &other]) {
            return Err(PyRuntimeError::new_err("mutating directly with `.data` under vmap transform is not allowed."));
        }
        if x.is_shown() && !other.dtype().is_inexact() {
            return Err(PyRuntimeError::new_err(
                "data set to a tensor that requires gradients must be floating point or complex dtype",
            ));
        }
        // As `x.data -= y` does: there is nothing to change, and so no need to wait for those who read it.
        if x.node().is_none() && x.shows_the_same_as(&other) {
            return Ok(());
        }
        if x.node().is_some() && (x.shape() != other.shape() || x.dtype() != other.dtype()) {
            let history = crate::tape::node::of_other_data(&x);
            x.meta_or_new().lock().node = Some((history, 0));
        }
        drop(x);
        let _old = show(slf, &other)?;
        Ok(())
    }

    #[deleter(data)]
    fn delete_data(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err("Deleting tensor data is not allowed. Delete tensor instead!"))
    }

    /// Differentiates this tensor and adds the results to the `grad` of all leaves it depends on, or of `inputs` only.
    ///
    /// `gradient` is the gradient to start from, 1 for a tensor of one element. The graph is freed unless
    /// `retain_graph`, which defaults to `create_graph`: whether the backward pass is recorded itself. The latter makes
    /// the gradients lead back to the leaves; reset `grad` to None afterwards to break the cycle.
    ///
    /// Raises: RuntimeError if nothing requires a gradient, if a shape does not match, if the graph has been freed, or if
    /// a value that backward needs has been written to.
    #[pyo3(name = "backward", signature = (gradient=None, retain_graph=None, create_graph=false, inputs=None))]
    fn backward_from(
        slf: &Bound<'_, Self>,
        gradient: Option<run::Gradients>,
        retain_graph: Option<bool>,
        create_graph: bool,
        inputs: Option<run::Inputs>,
    ) -> PyResult<()> {
        // Hooks may change the object meanwhile.
        let root = slf.borrow().clone();
        run::backward(slf.py(), run::Tensors::one(root), gradient, retain_graph, create_graph, None, inputs)
    }

    /// Makes `backward` keep the gradient of this computed tensor in its `grad`. Does nothing for leaves.
    ///
    /// Raises: RuntimeError if the tensor does not require a gradient.
    fn retain_grad(&self) -> PyResult<()> {
        level::check_outside(
            "You are attempting to call Tensor.retain_grad() inside of a function being transformed by a functorch transform, whose \
             gradients are what it answers.",
        )?;
        Ok(self.retain_gradient()?)
    }

    /// Whether this is a computed tensor whose gradient will be kept.
    #[getter]
    fn retains_grad(&self) -> bool {
        self.meta().is_some_and(|meta| {
            let state = meta.lock();
            state.retains_grad && state.node.is_some()
        })
    }

    /// How often the memory has been written to by in-place ops.
    #[getter]
    fn _version(&self) -> PyResult<u32> {
        if !self.counts_writes() {
            return Err(PyRuntimeError::new_err("Inference tensors do not track version counter."));
        }
        Ok(self.version())
    }

    /// Whether this tensor was made in inference mode.
    #[pyo3(name = "is_inference")]
    fn is_inference_tensor(&self) -> bool {
        self.is_inference()
    }

    /// Whether this tensor is a view of another.
    fn _is_view(&self) -> bool {
        self.is_view()
    }

    /// The tensor that this one is a view of.
    #[getter]
    fn _base<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(base) = self.base() else { return Ok(None) };
        let meta = base.meta_or_new();
        if let Some(known) = remembered(py, &meta) {
            return Ok(Some(known));
        }
        let object = match object_where(py, |x| x.meta().is_some_and(|other| Arc::ptr_eq(other, &meta)))? {
            Some(object) => object,
            None => Bound::new(py, base)?,
        };
        remember(&object, &meta)?;
        Ok(Some(object.into_any()))
    }
}

/// The same elements as a result of a tensor on the tape that is no view of it. Unless it is `writable`, it is written to as little
/// as a leaf. `shown` says whether the user sees that it requires a gradient, if that is not what it leads to.
#[pyfunction]
#[pyo3(signature = (tensor, writable, shown=None))]
pub fn _variable(tensor: &Bound<'_, Tensor>, writable: bool, shown: Option<bool>) -> crate::error::Result<Tensor> {
    let x = tensor.borrow().clone();
    let y = {
        let _not_a_view = ModeGuard::without_views();
        x.view_as(&x)?
    };
    match (y.node(), shown) {
        (Some((node, _)), Some(true)) => node.show(),
        (Some((node, _)), Some(false)) => node.hide(),
        _ => {}
    }
    // Only now: it sums up what the node is.
    y.meta_or_new().lock().is_variable = !writable;
    Ok(y)
}
