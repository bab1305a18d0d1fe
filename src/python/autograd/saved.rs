//! Saved tensors and numbers as the user sees them: `grad_fn._saved_self`, and hooks that keep them elsewhere.

use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyComplex, PyTuple};

use crate::dtype::Scalar;
use crate::error::Result;
use crate::tape::held::{Role, held_by};
use crate::tape::mode::ModeGuard;
use crate::tape::node::{Rules, freed};
use crate::tape::numbers::Number;
use crate::tape::saved::{self, Hooks, Kept, Pack};
use crate::tape::{Edge, Node, saved_names};
use crate::tensor::Tensor;

/// Sets a pair of functions: one that puts a saved tensor away, and one that brings it back.
#[pyfunction]
pub fn _push_saved_hooks(py: Python<'_>, pack: Py<PyAny>, unpack: Py<PyAny>) {
    let object = Arc::new((pack.clone_ref(py), unpack.clone_ref(py)));
    saved::push(Hooks { pack: hooks(pack, unpack), object });
}

/// The last pair that is set on this thread.
#[pyfunction]
pub fn _saved_hooks(py: Python<'_>) -> Option<(Py<PyAny>, Py<PyAny>)> {
    let hooks = saved::current()?;
    let (pack, unpack) = hooks.object.downcast_ref::<(Py<PyAny>, Py<PyAny>)>()?;
    Some((pack.clone_ref(py), unpack.clone_ref(py)))
}

/// Takes the last pair away.
#[pyfunction]
pub fn _pop_saved_hooks() {
    saved::pop();
}

fn hooks(pack: Py<PyAny>, unpack: Py<PyAny>) -> Pack {
    let unpack = Arc::new(unpack);
    Arc::new(move |x: Tensor| {
        let packed = Python::attach(|py| -> Result<Py<PyAny>> {
            let _mode = ModeGuard::grad(false);
            let version = x.version();
            let packed = pack.bind(py).call1((leaf_or_new(py, &x)?,))?.unbind();
            if x.version() == version {
                return Ok(packed);
            }
            crate::runtime_error!("A saved tensor pack hook is modifying its input in place: what is saved must stay as it is.")
        })?;
        let packed = Arc::new(packed);
        let (unpack, object) = (unpack.clone(), packed.clone());
        let back = move || {
            Python::attach(|py| {
                let found = unpack.bind(py).call1((packed.bind(py),))?;
                match found.cast::<Tensor>() {
                    Ok(tensor) => Ok(tensor.borrow().clone()),
                    Err(_) => {
                        let text = "Output of saved tensor unpack_hook expected to be a Tensor but got result of type";
                        Err(PyTypeError::new_err(format!("{text} {}", found.get_type().name()?)).into())
                    }
                }
            })
        };
        Ok(Kept { unpack: Box::new(back), object })
    })
}

/// The object of a leaf, if that still exists and shows the same, else a new one.
fn leaf_or_new<'py>(py: Python<'py>, x: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let leaf = match x.edge() {
        Edge::Leaf(meta, _) => super::remembered(py, &meta),
        _ => None,
    };
    let is_it = |leaf: &Bound<'py, PyAny>| leaf.cast::<Tensor>().is_ok_and(|leaf| leaf.borrow().shows_the_same_as(x));
    leaf.filter(is_it).map_or_else(|| Ok(Bound::new(py, x.clone())?.into_any()), Ok)
}

/// A saved tensor of a node, to register hooks on: `grad_fn._raw_saved_self`.
#[pyclass(module = "ferrograd.autograd", frozen)]
pub struct SavedTensor(Saved);

enum Saved {
    /// By an op of the library, under a name.
    ByOp(Arc<Node>, &'static str),
    /// By a function of the user's: its context, and the place.
    ByFunction(Py<PyAny>, usize),
}

#[pymethods]
impl SavedTensor {
    #[new]
    fn new() -> PyResult<SavedTensor> {
        Err(PyRuntimeError::new_err("Trying to create a SavedTensor object from Python is forbidden."))
    }

    /// Has the tensor put away by the first function, now, and brought back by the second each time that it is needed.
    ///
    /// Raises: RuntimeError if it is None, has been freed, or has hooks.
    #[pyo3(signature = (*hooks))]
    fn register_hooks(&self, hooks: &Bound<'_, PyTuple>) -> PyResult<()> {
        let (pack, unpack) = match hooks.as_slice() {
            [pack, unpack] if pack.is_callable() && unpack.is_callable() => (pack.clone().unbind(), unpack.clone().unbind()),
            _ => {
                let text = "register_hooks(): incompatible function arguments. The following argument types are supported:\n    \
                            1. (pack_hook: Callable, unpack_hook: Callable) -> None";
                return Err(PyTypeError::new_err(text));
            }
        };
        match &self.0 {
            Saved::ByFunction(context, place) => {
                context.call_method1(hooks.py(), "_register_saved_hooks", (*place, pack, unpack))?;
                Ok(())
            }
            Saved::ByOp(node, name) => {
                let held = held_by(node).into_iter().find(|(known, _)| known == name);
                check_hooks(node, held.as_ref().map(|(_, x)| x)).map_err(PyRuntimeError::new_err)?;
                match held {
                    Some((_, x)) => Ok(saved::pack_one(node, x, &self::hooks(pack, unpack))?),
                    None => Ok(()),
                }
            }
        }
    }
}

fn check_hooks(node: &Node, held: Option<&Tensor>) -> std::result::Result<(), &'static str> {
    match held {
        Some(x) if saved::packed_of(node, x).is_some() => Err(
            "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of hooks is allowed at a \
             time.",
        ),
        None if is_freed(node) => Err(
            "Calling register_hooks on a saved tensor after it has been freed by .backward() or autograd.grad(): retain_graph=True \
             keeps it.",
        ),
        None => Err("Calling register_hooks on a saved tensor with value None is forbidden"),
        Some(_) => Ok(()),
    }
}

fn is_freed(node: &Node) -> bool {
    matches!(*node.rules.lock(), Rules::Freed(_))
}

/// What a function's context saved in a place.
#[pyfunction]
pub fn _saved_by_function(context: Py<PyAny>, place: usize) -> SavedTensor {
    SavedTensor(Saved::ByFunction(context, place))
}

/// The attribute of an op's node that is a saved tensor: itself, or what takes hooks for it.
pub fn attribute<'py>(py: Python<'py>, node: &Arc<Node>, attribute: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (raw, name) = match (attribute.strip_prefix("_raw_saved_"), attribute.strip_prefix("_saved_")) {
        (Some(name), _) => (true, name),
        (None, Some(name)) => (false, name),
        (None, None) => return Ok(None),
    };
    if !raw && let Some((_, number)) = saved_names::numbers(node).into_iter().find(|(known, _)| *known == name) {
        return object_of_number(py, number).map(Some);
    }
    let held = held_by(node).into_iter().find(|(known, _)| *known == name);
    let Some(name) = saved_names::known(node, name) else { return Ok(None) };
    match held {
        _ if raw => Ok(Some(Bound::new(py, SavedTensor(Saved::ByOp(node.clone(), name)))?.into_any())),
        Some((_, x)) => object_of(py, node, &x).map(Some),
        None if is_freed(node) => Err(freed(node).into()),
        None => Ok(Some(py.None().into_bound(py))),
    }
}

/// A number as torch shows it.
fn object_of_number(py: Python<'_>, number: Number) -> PyResult<Bound<'_, PyAny>> {
    match number {
        Number::None => Ok(py.None().into_bound(py)),
        Number::Int(v) => (v as u64).into_bound_py_any(py),
        Number::Ints(values) => Ok(PyTuple::new(py, values.into_iter().map(|v| v as u64))?.into_any()),
        Number::Floats(values) => Ok(PyTuple::new(py, values)?.into_any()),
        Number::Scalar(Scalar::Bool(v)) => v.into_bound_py_any(py),
        Number::Scalar(Scalar::Int(v)) => v.into_bound_py_any(py),
        Number::Scalar(Scalar::UInt(v)) => v.into_bound_py_any(py),
        Number::Scalar(Scalar::Float(v)) => v.into_bound_py_any(py),
        Number::Scalar(Scalar::Complex(v)) => Ok(PyComplex::from_doubles(py, v.re, v.im).into_any()),
        Number::Text(text) => text.into_bound_py_any(py),
        Number::DType(dtype) => dtype.into_bound_py_any(py),
    }
}

/// The names of the attributes of a node that are saved tensors, or numbers.
pub fn attributes(node: &Node) -> Vec<String> {
    let mut numbers: Vec<_> = saved_names::numbers(node).into_iter().map(|(name, _)| name).collect();
    let (plain, held): (Vec<_>, Vec<_>) = held_by(node).into_iter().partition(|(_, x)| saved_names::is_plain_number(node, x));
    let known = |(name, _): (&str, Tensor)| saved_names::known(node, name);
    numbers.extend(plain.into_iter().filter_map(known));
    let mut names: Vec<_> = held.into_iter().filter_map(known).collect();
    if !is_freed(node) {
        let others = saved_names::always(node).iter().filter(|name| !names.contains(name));
        names.extend(others.copied().collect::<Vec<_>>());
    }
    let numbers = numbers.into_iter().map(|name| format!("_saved_{name}"));
    names.into_iter().flat_map(|name| [format!("_raw_saved_{name}"), format!("_saved_{name}")]).chain(numbers).collect()
}

/// A tensor that the rules of a node hold: the object that the user gave to the op, if it still exists.
fn object_of<'py>(py: Python<'py>, node: &Arc<Node>, held: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let new = |x: Tensor| Ok(Bound::new(py, x)?.into_any());
    let packed = saved::packed_of(node, held);
    let is_packed = packed.is_some();
    let x = match packed {
        Some(packed) => packed.tensor()?,
        None => {
            let now = held.current();
            now.check_saved()?;
            now.unsaved()
        }
    };
    match held.role() {
        _ if saved_names::is_plain_number(node, held) => new(x)?.call_method0("item"),
        Role::Output(place) if x.dtype().is_inexact() => new(x.with_origin(node.clone(), place as usize)),
        _ if is_packed => new(x),
        _ => match super::object_where(py, |other| other.is_handle_of(&x))? {
            Some(known) => Ok(known.into_any()),
            None => leaf_or_new(py, &x),
        },
    }
}
