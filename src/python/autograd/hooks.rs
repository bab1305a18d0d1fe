//! Hooks: Python functions called with a gradient, which they may replace.

use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyWeakrefReference};

use crate::tape::hooks::{Accumulated, After, Before, Grads, Kept, NodeHooks};
use crate::tape::node::next_id;
use crate::tape::{Hook, Meta, Node};
use crate::tensor::{LeafHandle, Tensor};

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

    /// A weak reference to the dict that the hook is in.
    #[getter]
    fn hooks_dict_ref<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let Place::Dicts(references) = &self.place else { return None };
        references.first().map(|reference| reference.bind(py).clone())
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
                let _removed = meta.lock().node_hooks.as_mut().map(|hooks| hooks.remove(self.id));
            }
            Place::Node(node) => {
                let Some(node) = node.upgrade() else { return Ok(()) };
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

/// The functions of a dict as hooks of a gradient. Those of now are called: one may remove others.
fn of_gradient(dict: Arc<Py<PyDict>>) -> Hook {
    Arc::new(move |g: Option<&Tensor>| {
        Python::attach(|py| {
            let mut replaced = None;
            for function in dict.bind(py).values() {
                let given = replaced.as_ref().or(g);
                let answer = function.call1((given.cloned(),))?;
                if !answer.is_none() {
                    replaced = Some(replacement(&function, &answer, given)?);
                }
            }
            Ok(replaced)
        })
    })
}

/// The same for hooks that are called when a leaf's gradient has been written.
fn of_written_gradient(dict: Arc<Py<PyDict>>) -> Accumulated {
    Arc::new(move |leaf: &LeafHandle| {
        Python::attach(|py| {
            let Some(leaf) = super::object_of_leaf(py, leaf)? else { return Ok(()) };
            for function in dict.bind(py).values() {
                let answer = function.call1((&leaf,))?;
                // As from `lambda p: p.add_(p.grad, alpha=-lr)`.
                if answer.is_none() || answer.is(&leaf) {
                    continue;
                }
                let name = name_of(&function);
                if answer.is_instance_of::<Tensor>() {
                    let text = format!("Tensor post accumulate grad hooks should return None, but '{name}' returned a tensor.");
                    return Err(PyRuntimeError::new_err(text).into());
                }
                let got = answer.get_type().name()?;
                return Err(PyTypeError::new_err(format!("expected Variable, but hook '{name}' returned '{got}'")).into());
            }
            Ok(())
        })
    })
}

/// The dict that keeps some hooks.
fn dict_of<'py, Call>(py: Python<'py>, hooks: &Kept<Call>) -> PyResult<Bound<'py, PyDict>> {
    match hooks.object.downcast_ref::<Py<PyDict>>() {
        Some(dict) => Ok(dict.bind(py).clone()),
        None => Err(PyRuntimeError::new_err("the hooks of this tensor are no functions of Python's")),
    }
}

/// What the user has assigned in place of the dict of a tensor's hooks.
fn dict_or_none(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Py<PyDict>>>> {
    match value.cast::<PyDict>() {
        Ok(dict) => Ok(Some(Arc::new(dict.clone().unbind()))),
        Err(_) if value.is_none() => Ok(None),
        Err(_) => {
            let got = value.get_type().name()?;
            Err(PyTypeError::new_err(format!("{name}: expected a dict of functions, or None, got {got}")))
        }
    }
}

/// A dict for hooks.
fn new_dict(py: Python<'_>) -> PyResult<Arc<Py<PyDict>>> {
    let dict = py.import("collections")?.getattr("OrderedDict")?.call0()?;
    Ok(Arc::new(dict.cast_into::<PyDict>()?.unbind()))
}

/// Adds a function to a dict of hooks.
fn add_to(dict: &Bound<'_, PyDict>, function: Py<PyAny>) -> PyResult<RemovableHandle> {
    let handle = RemovableHandle::new(dict, None)?;
    // An OrderedDict's own way, which keeps its order.
    dict.as_any().set_item(handle.id, function)?;
    Ok(handle)
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

impl Tensor {
    /// Where its hooks are known, with the history of now.
    fn place_of_hooks(&self) -> Arc<Meta> {
        self.node();
        self.meta_or_new()
    }
}

#[pymethods]
impl Tensor {
    /// The hooks of `register_hook`, a dict by the `id` of their handles; None if there never were any. Another dict may be assigned,
    /// whose functions are the hooks of a leaf from then on.
    #[getter(_backward_hooks)]
    fn get_backward_hooks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let hooks = self.place_of_hooks().lock().hooks.clone();
        hooks.map(|hooks| dict_of(py, &hooks)).transpose()
    }

    #[setter(_backward_hooks)]
    fn set_backward_hooks(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let dict = dict_or_none("_backward_hooks", value)?;
        let hooks = dict.map(|dict| Kept { call: of_gradient(dict.clone()), object: dict });
        // Dropped when nothing is locked: it may run Python code.
        let _before = std::mem::replace(&mut self.place_of_hooks().lock().hooks, hooks);
        Ok(())
    }

    #[deleter(_backward_hooks)]
    fn delete_backward_hooks(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err("Deletion of _backwards_hooks not allowed!"))
    }

    /// The same of `register_post_accumulate_grad_hook`.
    #[getter(_post_accumulate_grad_hooks)]
    fn get_post_accumulate_grad_hooks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let hooks = self.meta().and_then(|meta| meta.lock().node_hooks.as_ref()?.accumulated.clone());
        hooks.map(|hooks| dict_of(py, &hooks)).transpose()
    }

    #[setter(_post_accumulate_grad_hooks)]
    fn set_post_accumulate_grad_hooks(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let dict = dict_or_none("_post_accumulate_grad_hooks", value)?;
        let meta = slf.borrow().meta_or_new();
        super::remember(slf, &meta)?;
        let hooks = dict.map(|dict| Kept { call: of_written_gradient(dict.clone()), object: dict });
        let _before = std::mem::replace(&mut meta.lock().node_hooks.get_or_insert_default().accumulated, hooks);
        Ok(())
    }

    #[deleter(_post_accumulate_grad_hooks)]
    fn delete_post_accumulate_grad_hooks(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err("Deletion of _post_accumulate_grad_hooks not allowed!"))
    }

    /// Registers a function that `backward` calls with the gradient of this tensor, and that may return another.
    ///
    /// Returns a handle whose `remove()` takes the hook away.
    /// Raises: RuntimeError if the tensor does not require a gradient.
    fn register_hook(&self, py: Python<'_>, hook: Py<PyAny>) -> PyResult<RemovableHandle> {
        if !self.is_shown() {
            return Err(PyRuntimeError::new_err("cannot register a hook on a tensor that doesn't require gradient"));
        }
        let node = self.node();
        node.as_ref().map_or(Ok(()), |(node, _)| node.check_usable())?;
        let meta = self.place_of_hooks();
        let dict = new_dict(py)?;
        let new = Kept { call: of_gradient(dict.clone()), object: dict };
        let (hooks, first) = {
            let mut state = meta.lock();
            let first = state.hooks.is_none();
            (state.hooks.get_or_insert(new).clone(), first)
        };
        if let (Some((node, output)), true) = (node, first) {
            node.watchers().hooks.push((output, hooks.clone()));
        }
        add_to(&dict_of(py, &hooks)?, hook)
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
        let py = slf.py();
        let meta = x.meta_or_new();
        super::remember(slf, &meta)?;
        let dict = new_dict(py)?;
        let new = Kept { call: of_written_gradient(dict.clone()), object: dict };
        let hooks = meta.lock().node_hooks.get_or_insert_default().accumulated.get_or_insert(new).clone();
        add_to(&dict_of(py, &hooks)?, hook)
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
