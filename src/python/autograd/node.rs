//! Nodes of the tape as Python objects: `grad_fn` and `next_functions`.
//!
//! Each kind of node is a class with torch's name (`MulBackward0`), made when it is first asked for; an object is made
//! when it is first asked for and then stays the same for as long as somebody holds it.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use super::hooks::{RemovableHandle, register_after, register_before};
use super::saved;
use crate::dtype::DType;
use crate::layout::Shape;
use crate::python::options::Device;
use crate::tape::{Edge, Meta, Node, engine, leaves};
use crate::tensor::{LeafHandle, Tensor};

#[derive(Clone)]
enum Place {
    Op(Arc<Node>),
    Leaf(Arc<Meta>, LeafHandle),
}

/// What the constructor of a node's class takes; nobody else has one.
#[pyclass(frozen)]
struct Token(Place);

/// A recorded op, or the end of the tape at a leaf.
#[pyclass(name = "Node", module = "ferrograd._C._autograd", subclass, weakref, frozen)]
pub struct PyNode(Place, OnceLock<Arc<dyn std::any::Any + Send + Sync>>);

/// Nodes that torch names after the classes of its engine rather than after ops.
const OF_THE_TAPE: [&str; 4] = ["CopyBackwards", "CopySlices", "Error", "NotImplemented"];

#[pymethods]
impl PyNode {
    #[new]
    #[classmethod]
    #[pyo3(signature = (token=None))]
    fn new(cls: &Bound<'_, PyType>, token: Option<&Bound<'_, PyAny>>) -> PyResult<PyNode> {
        match token.map(|token| token.cast::<Token>()) {
            Some(Ok(token)) => Ok(PyNode(token.get().0.clone(), OnceLock::new())),
            _ => Err(PyTypeError::new_err(format!("cannot create '{}' instances: ops make them", cls.name()?))),
        }
    }

    /// Torch's name of the op.
    fn name(&self) -> String {
        match &self.0 {
            Place::Op(node) => match node.name() {
                name if OF_THE_TAPE.contains(&name.as_str()) => format!("torch::autograd::{name}"),
                name => name,
            },
            Place::Leaf(..) => "torch::autograd::AccumulateGrad".to_string(),
        }
    }

    /// For each input of the op, the node that its gradient goes to (None if none is wanted) and which of its outputs.
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let Place::Op(node) = &self.0 else { return Ok(PyTuple::empty(py)) };
        let next = node.inputs.iter().map(|input| match &input.edge {
            Edge::None => Ok((None, 0)),
            Edge::Node(node, output) => {
                node.note_output(*output, &input.shape, input.dtype);
                Ok((Some(of_op(py, node.clone())?), *output))
            }
            Edge::Leaf(meta, leaf) => Ok((Some(of_leaf(py, meta.clone(), leaf.clone())?), 0)),
        });
        PyTuple::new(py, next.collect::<PyResult<Vec<_>>>()?)
    }

    /// The leaf, at the end of the tape.
    #[getter]
    fn variable<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.0 {
            Place::Leaf(..) => self.leaf(py),
            Place::Op(node) => {
                let text = format!("'{}' object has no attribute 'variable'", node.name());
                Err(PyAttributeError::new_err(text))
            }
        }
    }

    /// Registers a function that is called with the gradients of the op's inputs and of its outputs when it has been
    /// differentiated, and that may return other gradients for the inputs.
    fn register_hook(&self, fn_: Py<PyAny>) -> RemovableHandle {
        register_after(self.place(), fn_)
    }

    /// Registers a function that is called with the gradients of the op's outputs before it is differentiated, and that may
    /// return others.
    fn register_prehook(&self, fn_: Py<PyAny>) -> RemovableHandle {
        register_before(self.place(), fn_)
    }

    /// A dict for what the user wants to keep with the op. Anomaly detection has put there where the op was recorded (`traceback_`), and
    /// in the backward of which node (`parent_`).
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let cell = match &self.0 {
            Place::Op(node) => &node.extras().metadata,
            Place::Leaf(..) => &self.1,
        };
        let known = match cell.get() {
            Some(known) => known,
            None => {
                // Made first: whoever waits for the cell holds up the interpreter.
                let new = Arc::new(self.first_metadata(py)?.unbind());
                cell.get_or_init(|| new)
            }
        };
        Ok(known.downcast_ref::<Py<PyDict>>().map(|dict| dict.bind(py).clone()))
    }

    /// A number that grows with time; a leaf's end has the largest there is, as it comes first when it is ready.
    fn _sequence_nr(&self) -> u64 {
        self.op().map_or(u64::MAX, |node| node.id)
    }

    /// What is known of each output: its shape and dtype. Of those of a function of the user's that have no gradient nothing is noted:
    /// they look like numbers, as in torch.
    #[getter]
    fn _input_metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let known: Vec<_> = match (&self.0, self.leaf(py)?) {
            (Place::Op(node), _) => {
                (0..node.outputs).map(|output| Some(node.noted_output(output).unwrap_or((Shape::new(), DType::F32)))).collect()
            }
            (Place::Leaf(..), Some(leaf)) => leaf
                .cast::<Tensor>()
                .into_iter()
                .map(|leaf| Some((Shape::from_slice(leaf.borrow().shape()), leaf.borrow().dtype())))
                .collect(),
            (Place::Leaf(..), None) => vec![None],
        };
        let known = known.into_iter().map(|known| known.map(|(shape, dtype)| output_metadata(py, &shape, dtype)).transpose());
        PyTuple::new(py, known.collect::<PyResult<Vec<_>>>()?)
    }

    /// Nodes are there only for what requires a gradient.
    #[getter]
    fn requires_grad(&self) -> bool {
        true
    }

    /// What an op saved for its backward, and what a custom function has left for it, is found here, too.
    fn __getattr__<'py>(slf: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let node = slf.get();
        if let Some(context) = node.context() {
            return context.bind(slf.py()).getattr(name);
        }
        if let Some(op) = node.op()
            && let Some(found) = saved::attribute(slf.py(), op, name)?
        {
            return Ok(found);
        }
        let text = format!("'{}' object has no attribute '{name}'", slf.get_type().name()?);
        Err(PyAttributeError::new_err(text))
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(context) = slf.get().context() {
            return Ok(context.bind(slf.py()).dir()?.into_any());
        }
        let names = slf.py().get_type::<PyAny>().call_method1("__dir__", (slf,))?;
        if let Some(op) = slf.get().op() {
            names.call_method1("extend", (saved::attributes(op),))?;
            names.call_method1("remove", ("variable",))?;
        }
        Ok(names)
    }

    /// So is what is left here for its backward.
    fn __setattr__(slf: &Bound<'_, Self>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match slf.get().context() {
            Some(context) => context.bind(slf.py()).setattr(name, value),
            None => {
                let text = format!("'{}' object has no attribute '{name}'", slf.get_type().name()?);
                Err(PyAttributeError::new_err(text))
            }
        }
    }

    /// As in torch, the node of a custom function is one of the class of its contexts.
    #[getter]
    fn __class__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyType> {
        match slf.get().context() {
            Some(context) => context.bind(slf.py()).get_type(),
            None => slf.get_type(),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let module = if slf.get().context().is_some() { "torch.autograd.function." } else { "" };
        Ok(format!("<{module}{} object at {:p}>", slf.get_type().name()?, slf.as_ptr()))
    }

    /// What the op makes of gradients of its outputs: those of its inputs. A leaf's end adds to its gradient.
    #[pyo3(signature = (*grads))]
    fn __call__<'py>(&self, py: Python<'py>, grads: Vec<Option<Bound<'py, Tensor>>>) -> PyResult<Py<PyAny>> {
        let expected = self.op().map_or(1, |node| node.outputs);
        if self.context().is_some() {
            return Err(PyTypeError::new_err(format!("'{}' object is not callable", self.name())));
        }
        if grads.len() != expected {
            return Err(PyTypeError::new_err(format!("expected {expected} arguments, got {} instead", grads.len())));
        }
        let grads: Vec<_> = grads.into_iter().map(|grad| grad.map(|grad| grad.borrow().clone())).collect();
        let mut found = match &self.0 {
            Place::Op(node) => engine::apply(node, &grads)?,
            Place::Leaf(meta, _) => {
                grads.into_iter().flatten().try_for_each(|grad| leaves::accumulate(meta, grad))?;
                return Ok(PyTuple::empty(py).into_any().unbind());
            }
        };
        match found.as_mut_slice() {
            [one] => Ok(one.take().into_pyobject(py)?.unbind()),
            _ => Ok(PyTuple::new(py, found)?.into_any().unbind()),
        }
    }
}

/// Shape and dtype of a node's output, and what torch says besides.
fn output_metadata<'py>(py: Python<'py>, shape: &[usize], dtype: DType) -> PyResult<Bound<'py, PyAny>> {
    let known = PyDict::new(py);
    known.set_item("shape", PyList::new(py, shape)?)?;
    known.set_item("dtype", dtype)?;
    known.set_item("device", Device::CPU)?;
    known.set_item("is_nested_tensor", false)?;
    known.set_item("is_cpp_nested_tensor", false)?;
    py.import("types")?.getattr("SimpleNamespace")?.call((), Some(&known))
}

impl PyNode {
    fn first_metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let Some(origin) = self.op().and_then(|node| node.extras.get()?.origin.get()) else { return Ok(dict) };
        if let Some(lines) = origin.trace.as_ref().and_then(|trace| trace.downcast_ref::<Py<PyAny>>()) {
            dict.set_item("traceback_", lines)?;
        }
        if let Some(parent) = &origin.parent {
            dict.set_item("parent_", of_op(py, parent.clone())?)?;
        }
        Ok(dict)
    }

    /// The recorded op; None at a leaf.
    pub fn op(&self) -> Option<&Arc<Node>> {
        match &self.0 {
            Place::Op(node) => Some(node),
            Place::Leaf(..) => None,
        }
    }

    /// The leaf whose end of the tape this is.
    pub fn leaf<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.0 {
            Place::Op(_) => Ok(None),
            Place::Leaf(_, leaf) => super::object_of_leaf(py, leaf),
        }
    }

    /// The edge to one of its outputs.
    pub fn edge(&self, output: usize) -> Edge {
        match &self.0 {
            Place::Op(node) => Edge::Node(node.clone(), output),
            Place::Leaf(meta, leaf) => Edge::Leaf(meta.clone(), leaf.clone()),
        }
    }

    /// The leaf, if nothing but this object holds it.
    pub fn own_leaf(&self) -> Option<&Arc<Meta>> {
        let Place::Leaf(meta, leaf) = &self.0 else { return None };
        (Arc::strong_count(meta) == 1 + usize::from(leaf.is_only())).then_some(meta)
    }

    /// What the user keeps with a leaf's end.
    pub fn leaf_metadata(&self) -> Option<&Py<PyDict>> {
        self.1.get()?.downcast_ref()
    }

    /// The recorded op, or the leaf.
    pub fn place(&self) -> Result<&Arc<Node>, &Arc<Meta>> {
        match &self.0 {
            Place::Op(node) => Ok(node),
            Place::Leaf(meta, _) => Err(meta),
        }
    }

    /// The context of a custom function.
    fn context(&self) -> Option<&Py<PyAny>> {
        self.op()?.extras.get()?.object.get()?.downcast_ref()
    }
}

/// The Python object of an op's node.
pub fn of_op<'py>(py: Python<'py>, node: Arc<Node>) -> PyResult<Bound<'py, PyAny>> {
    object(py, Arc::as_ptr(&node) as usize, &node.name(), Place::Op(node))
}

/// The Python object of a leaf's end of the tape.
pub fn of_leaf(py: Python<'_>, meta: Arc<Meta>, leaf: LeafHandle) -> PyResult<Bound<'_, PyAny>> {
    object(py, Arc::as_ptr(&meta) as usize, "AccumulateGrad", Place::Leaf(meta, leaf))
}

/// A lock of Python's, held until this is dropped.
struct Locked<'a, 'py>(&'a Bound<'py, PyAny>);

impl<'a, 'py> Locked<'a, 'py> {
    fn new(lock: &'a Bound<'py, PyAny>) -> PyResult<Locked<'a, 'py>> {
        lock.call_method0("acquire")?;
        Ok(Locked(lock))
    }
}

impl Drop for Locked<'_, '_> {
    fn drop(&mut self) {
        let _ = self.0.call_method0("release");
    }
}

fn object<'py>(py: Python<'py>, address: usize, name: &str, place: Place) -> PyResult<Bound<'py, PyAny>> {
    static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    static OBJECTS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static LOCK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let new = |module: &str, class: &str| Ok::<_, PyErr>(py.import(module)?.getattr(class)?.call0()?.unbind());
    let objects = OBJECTS.get_or_try_init(py, || new("weakref", "WeakValueDictionary"))?.bind(py);
    // Python's: who waits for it lets go of the interpreter. The collector may run code that comes here again.
    let _locked = Locked::new(LOCK.get_or_try_init(py, || new("threading", "RLock"))?.bind(py))?;
    // An object holds its node, so while it lives nothing else has this address.
    let known = objects.call_method1("get", (address,))?;
    if !known.is_none() {
        return Ok(known);
    }
    let classes = CLASSES.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    let class = match classes.get_item(name)? {
        Some(class) => class,
        None => {
            let body = PyDict::new(py);
            body.set_item("__slots__", ())?;
            body.set_item("__module__", "builtins")?;
            let class = py.get_type::<PyType>().call1((name, (py.get_type::<PyNode>(),), body))?;
            classes.set_item(name, &class)?;
            class
        }
    };
    let object = class.call1((Token(place),))?;
    objects.set_item(address, &object)?;
    Ok(object)
}
