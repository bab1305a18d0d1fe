//! Hooks: Python functions called with a gradient, which they may replace.

use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMappingProxy, PyTuple, PyWeakrefReference};

use crate::tape::hooks::{Accumulated, After, Before, Grads, NodeHooks};
use crate::tape::node::next_id;
use crate::tape::{Hook, Meta, Node};
use crate::tensor::Tensor;

enum Place {
    Leaf(Weak<Meta>),
    Node(Weak<Node>),
    /// Weak references to dicts of the user's.
    Dicts(Vec<Py<PyAny>>),
}

/// Removes a hook: by `remove()`, or at the end of a `with` block.
///
/// ``RemovableHandle(hooks_dict, extra_dict=None)`` has an `id`, under which it removes what the dicts hold.
#[pyclass(module = "ferrograd.utils.hooks")]
pub struct RemovableHandle {
    /// A number of its own.
    #[pyo3(get)]
    id: u64,
    place: Place,
}

/// What a handle that is pickled is made of again.
type Remade<'py> = (Vec<Bound<'py, PyAny>>, u64);

#[pymethods]
impl RemovableHandle {
    #[new]
    #[pyo3(signature = (hooks_dict, *, extra_dict=None))]
    fn new(hooks_dict: &Bound<'_, PyAny>, extra_dict: Option<&Bound<'_, PyAny>>) -> PyResult<RemovableHandle> {
        let dicts = match extra_dict {
            None => vec![hooks_dict.clone()],
            Some(extra) if extra.is_instance_of::<PyList>() || extra.is_instance_of::<PyTuple>() => {
                std::iter::once(Ok(hooks_dict.clone())).chain(extra.try_iter()?).collect::<PyResult<_>>()?
            }
            Some(extra) => vec![hooks_dict.clone(), extra.clone()],
        };
        let references: PyResult<Vec<_>> =
            dicts.iter().map(|dict| Ok(PyWeakrefReference::new(dict)?.into_any().unbind())).collect();
        Ok(RemovableHandle { id: next_id(), place: Place::Dicts(references?) })
    }

    /// For pickles and copies: the dicts are part of them. A dict that is gone counts as empty.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Remade<'py>)> {
        let py = slf.py();
        let handle = slf.borrow();
        let Place::Dicts(references) = &handle.place else {
            return Err(PyTypeError::new_err("cannot pickle the handle of a hook of a tensor or node"));
        };
        let dicts =
            references.iter().map(|reference| reference.bind(py).call0()).filter(|dict| !matches!(dict, Ok(d) if d.is_none()));
        Ok((slf.getattr("_restored")?, (dicts.collect::<PyResult<_>>()?, handle.id)))
    }

    #[staticmethod]
    fn _restored(dicts: Vec<Bound<'_, PyAny>>, id: u64) -> PyResult<RemovableHandle> {
        let references: PyResult<Vec<_>> =
            dicts.iter().map(|dict| Ok(PyWeakrefReference::new(dict)?.into_any().unbind())).collect();
        Ok(RemovableHandle { id, place: Place::Dicts(references?) })
    }

    /// Removes the hook; does nothing if it is gone already.
    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        // What is removed is dropped after the lock is released: it may run Python code.
        match &self.place {
            Place::Leaf(meta) => {
                let Some(meta) = meta.upgrade() else { return Ok(()) };
                let _removed = {
                    let mut state = meta.lock();
                    let hooks: Vec<_> = state.hooks.extract_if(.., |(id, _)| *id == self.id).collect();
                    (hooks, state.node_hooks.as_mut().map(|hooks| hooks.remove(self.id)))
                };
            }
            Place::Node(node) => {
                let Some(node) = node.upgrade() else { return Ok(()) };
                let _hooks: Vec<_> = node.watchers().hooks.extract_if(.., |(_, id, _)| *id == self.id).collect();
                let _removed = node.extras.get().map(|extras| extras.node_hooks.lock().remove(self.id));
            }
            Place::Dicts(references) => {
                for reference in references {
                    let dict = reference.bind(py).call0()?;
                    if !dict.is_none() {
                        dict.call_method1("pop", (self.id, py.None()))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*args))]
    fn __exit__(&self, args: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.remove(args.py())
    }
}

fn name_of(callable: &Bound<'_, PyAny>) -> String {
    callable.getattr("__name__").map_or_else(|_| callable.to_string(), |name| name.to_string())
}

/// A Python function as a hook.
fn python_hook(function: Arc<Py<PyAny>>) -> Hook {
    Arc::new(move |g: Option<&Tensor>| {
        Python::attach(|py| {
            let function = function.bind(py);
            let answer = function.call1((g.cloned(),))?;
            Ok(if answer.is_none() { None } else { Some(replacement(function, &answer, g)?) })
        })
    })
}

/// The tensor that a hook has answered in place of a gradient.
fn replacement(hook: &Bound<'_, PyAny>, answer: &Bound<'_, PyAny>, given: Option<&Tensor>) -> PyResult<Tensor> {
    let Ok(tensor) = answer.cast::<Tensor>() else {
        return Err(PyTypeError::new_err(format!("expected Variable, but hook returned '{}'", answer.get_type().name()?)));
    };
    let tensor = tensor.borrow().clone();
    let Some(given) = given else {
        return Err(PyRuntimeError::new_err("can't replace a None gradient with a non-None value"));
    };
    if tensor.dtype() != given.dtype() {
        return Err(PyRuntimeError::new_err(format!(
            "hook '{}' has changed the type of value (was torch.{}Tensor got torch.{}Tensor)",
            name_of(hook),
            given.dtype().type_word(),
            tensor.dtype().type_word()
        )));
    }
    if tensor.shape() != given.shape() {
        return Err(PyRuntimeError::new_err(format!("hook '{}' has changed the size of value", name_of(hook))));
    }
    Ok(tensor)
}

/// The functions of some hooks by the ids of their handles, to be read only; None if there are none.
fn shown<'py>(py: Python<'py>, hooks: &NodeHooks, ids: &[u64]) -> PyResult<Option<Bound<'py, PyAny>>> {
    if ids.is_empty() {
        return Ok(None);
    }
    let functions = PyDict::new(py);
    for (id, function) in hooks.objects.iter().filter(|(id, _)| ids.contains(id)) {
        functions.set_item(id, function.downcast_ref::<Py<PyAny>>())?;
    }
    Ok(Some(PyMappingProxy::new(py, functions.as_mapping()).into_any()))
}

#[pymethods]
impl Tensor {
    /// The hooks of `register_hook` that are there just now, by the `id` of their handles; None if there are none.
    #[getter]
    fn _backward_hooks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // Copies: Python code may run while a dict is made.
        let (hooks, ids): (NodeHooks, Vec<u64>) = match (self.node(), self.meta()) {
            (Some((node, output)), _) => {
                let ids = node
                    .any_watchers()
                    .map(|watchers| watchers.hooks.iter().filter(|(of, ..)| *of == output).map(|(_, id, _)| *id).collect());
                (node.extras().node_hooks.lock().clone(), ids.unwrap_or_default())
            }
            (None, Some(meta)) => {
                let state = meta.lock();
                (state.node_hooks.as_deref().cloned().unwrap_or_default(), state.hooks.iter().map(|(id, _)| *id).collect())
            }
            (None, None) => return Ok(None),
        };
        shown(py, &hooks, &ids)
    }

    /// The same of `register_post_accumulate_grad_hook`.
    #[getter]
    fn _post_accumulate_grad_hooks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let hooks = self.meta().and_then(|meta| meta.lock().node_hooks.as_deref().cloned()).unwrap_or_default();
        let ids: Vec<u64> = hooks.accumulated.iter().map(|(id, _)| *id).collect();
        shown(py, &hooks, &ids)
    }

    /// Registers a function that `backward` calls with the gradient of this tensor, and that may return another.
    ///
    /// Returns a handle whose `remove()` takes the hook away.
    /// Raises: RuntimeError if the tensor does not require a gradient.
    fn register_hook(&self, hook: Py<PyAny>) -> PyResult<RemovableHandle> {
        if !self.is_shown() {
            return Err(PyRuntimeError::new_err("cannot register a hook on a tensor that doesn't require gradient"));
        }
        let function = Arc::new(hook);
        let hook = python_hook(function.clone());
        match self.node() {
            Some((node, output)) => {
                node.check_usable()?;
                let handle = on_node(&node, function, |_, _| ());
                node.watchers().hooks.push((output, handle.id, hook));
                Ok(handle)
            }
            None => {
                let meta = self.meta_or_new();
                let handle = on_leaf(&meta, function, |_, _| ());
                meta.lock().hooks.push((handle.id, hook));
                Ok(handle)
            }
        }
    }

    /// Registers a function that `backward` calls with this leaf when it has added to its `grad`. It may return the leaf or None.
    ///
    /// Returns a handle whose `remove()` takes the hook away.
    /// Raises: RuntimeError for a computed tensor, or one that does not require a gradient.
    fn register_post_accumulate_grad_hook(slf: &Bound<'_, Self>, hook: Py<PyAny>) -> PyResult<RemovableHandle> {
        let x = slf.borrow().clone();
        if !x.is_shown() {
            return Err(PyRuntimeError::new_err("cannot register a hook on a tensor that doesn't require gradient"));
        }
        if x.node().is_some() {
            return Err(PyRuntimeError::new_err("post accumulate grad hooks cannot be registered on non-leaf tensors"));
        }
        let meta = slf.borrow().meta_or_new();
        super::remember(slf, &meta)?;
        let leaf = Arc::downgrade(&meta);
        let hook = Arc::new(hook);
        let function = hook.clone();
        let call: Accumulated = Arc::new(move || {
            Python::attach(|py| {
                let Some(leaf) = leaf.upgrade().and_then(|meta| super::remembered(py, &meta)) else { return Ok(()) };
                let answer = hook.bind(py).call1((&leaf,))?;
                // As from `lambda p: p.add_(p.grad, alpha=-lr)`.
                if answer.is_none() || answer.is(&leaf) {
                    return Ok(());
                }
                let name = name_of(hook.bind(py));
                if answer.is_instance_of::<Tensor>() {
                    let text = format!("Tensor post accumulate grad hooks should return None, but '{name}' returned a tensor.");
                    return Err(PyRuntimeError::new_err(text).into());
                }
                let got = answer.get_type().name()?;
                Err(PyTypeError::new_err(format!("expected Variable, but hook '{name}' returned '{got}'")).into())
            })
        });
        Ok(on_leaf(&meta, function, |hooks, id| hooks.accumulated.push((id, call))))
    }
}

fn on_leaf(meta: &Arc<Meta>, function: Arc<Py<PyAny>>, add: impl FnOnce(&mut NodeHooks, u64)) -> RemovableHandle {
    let id = next_id();
    let mut state = meta.lock();
    let hooks = state.node_hooks.get_or_insert_default();
    hooks.objects.push((id, function));
    add(hooks, id);
    RemovableHandle { id, place: Place::Leaf(Arc::downgrade(meta)) }
}

fn on_node(node: &Arc<Node>, function: Arc<Py<PyAny>>, add: impl FnOnce(&mut NodeHooks, u64)) -> RemovableHandle {
    let id = next_id();
    let mut hooks = node.extras().node_hooks.lock();
    hooks.objects.push((id, function));
    add(&mut hooks, id);
    RemovableHandle { id, place: Place::Node(Arc::downgrade(node)) }
}

/// A tuple of gradients for Python.
fn tuple<'py>(py: Python<'py>, grads: &[Option<Tensor>]) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, grads.iter().cloned())
}

/// What a hook on a node has answered, in place of the gradients it was given; None if they stay.
fn replaced(hook: &Bound<'_, PyAny>, answer: &Bound<'_, PyAny>, given: &[Option<Tensor>]) -> PyResult<Option<Grads>> {
    if answer.is_none() {
        return Ok(None);
    }
    let name = name_of(hook);
    let Ok(answer) = answer.cast::<PyTuple>() else {
        return Err(PyTypeError::new_err(format!("expected tuple, but hook returned '{}'", answer.get_type().name()?)));
    };
    if answer.len() != given.len() {
        return Err(PyRuntimeError::new_err(format!(
            "hook '{name}' has returned an incorrect number of values (got {}, but expected {})",
            answer.len(),
            given.len()
        )));
    }
    let mut grads = Grads::with_capacity(given.len());
    for (item, before) in answer.iter().zip(given) {
        let replaced = if item.is_none() { None } else { Some(replacement(hook, &item, before.as_ref())?) };
        grads.push(replaced);
    }
    Ok(Some(grads))
}

/// A hook that is called before a node runs.
pub fn register_before(place: Result<&Arc<Node>, &Arc<Meta>>, hook: Py<PyAny>) -> RemovableHandle {
    let hook = Arc::new(hook);
    let function = hook.clone();
    let call: Before = Arc::new(move |outputs| {
        Python::attach(|py| {
            let hook = hook.bind(py);
            let answer = hook.call1((tuple(py, outputs)?,))?;
            Ok(replaced(hook, &answer, outputs)?)
        })
    });
    let add = |hooks: &mut NodeHooks, id| hooks.before.push((id, call.clone()));
    place.map_or_else(|meta| on_leaf(meta, function.clone(), add), |node| on_node(node, function.clone(), add))
}

/// A hook that is called after a node has run.
pub fn register_after(place: Result<&Arc<Node>, &Arc<Meta>>, hook: Py<PyAny>) -> RemovableHandle {
    let hook = Arc::new(hook);
    let function = hook.clone();
    let call: After = Arc::new(move |inputs, outputs| {
        Python::attach(|py| {
            let hook = hook.bind(py);
            let answer = hook.call1((tuple(py, inputs)?, tuple(py, outputs)?))?;
            Ok(replaced(hook, &answer, inputs)?)
        })
    });
    let add = |hooks: &mut NodeHooks, id| hooks.after.push((id, call.clone()));
    place.map_or_else(|meta| on_leaf(meta, function.clone(), add), |node| on_node(node, function.clone(), add))
}
