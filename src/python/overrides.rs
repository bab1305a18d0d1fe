//! `__torch_function__`: classes that say themselves what a function does with their objects, and modes that say it for all.
//!
//! Whatever Python calls asks first: functions and methods in `callable.rs`, attributes in `property.rs`, operators in
//! `operators.rs`. Until a program has such a class or enters a mode, to ask is to read one flag.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{PyBool, PyCFunction, PyDict, PyFloat, PyFunction, PyInt, PyList, PyNone, PyString, PyTuple, PyType};

use super::legacy::instance_of;
use super::plain;
use crate::tensor::Tensor;

/// Whether anything may override: once it is, it stays so.
static POSSIBLE: AtomicBool = AtomicBool::new(false);

/// Who is not asked, on this thread.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Disabled {
    Nothing,
    /// Classes are not, as their own rule is at work.
    Classes,
    /// Classes and modes.
    All,
}

thread_local! {
    static DISABLED: Cell<Disabled> = const { Cell::new(Disabled::Nothing) };
    /// The innermost is the last.
    static MODES: RefCell<Vec<Py<PyAny>>> = const { RefCell::new(Vec::new()) };
}

/// Whether it is worth to ask.
#[inline(always)]
pub fn possible() -> bool {
    POSSIBLE.load(Ordering::Relaxed)
}

/// Notes that there are objects of a class, if it overrides anything.
///
/// Raises: RuntimeError if it relies on what is not there.
pub fn announce(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    if class.is(py.get_type::<Tensor>()) {
        return Ok(());
    }
    if !possible() && !is_disabled(&class.getattr("__torch_function__")?) {
        POSSIBLE.store(true, Ordering::Relaxed);
    }
    match class.getattr_opt("__torch_dispatch__")? {
        Some(rule) if !is_disabled(&rule) => Err(PyRuntimeError::new_err(format!(
            "{}: `__torch_dispatch__` would never be called, there is no dispatcher below the functions; `__torch_function__` is",
            class.name()?
        ))),
        _ => Ok(()),
    }
}

/// What classes without rules have for one.
static NO_RULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Whether a class's rule is the one that says that it has none.
fn is_disabled(rule: &Bound<'_, PyAny>) -> bool {
    rule.is_none() || NO_RULE.get(rule.py()).is_some_and(|none| rule.is(none))
}

/// The rule of an object's class, if it has one.
fn rule_of<'py>(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    let class = object.get_type_ptr();
    let plain = class == Tensor::type_object_raw(py)
        || object.is_exact_instance_of::<PyInt>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyBool>()
        || object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyNone>()
        || object.is_instance_of::<PyType>();
    if plain {
        return Ok(None);
    }
    let name = pyo3::intern!(py, "__torch_function__");
    match object.get_type().getattr_opt(name)? {
        Some(rule) if !is_disabled(&rule) => {
            // One for instances, as in torch's first version of it.
            let of_instances = rule.is_instance_of::<PyFunction>();
            Ok(Some(if of_instances { object.getattr(name)? } else { rule }))
        }
        _ => Ok(None),
    }
}

/// Objects that have rules, one of each class; those of derived classes come before those of their bases.
type Overriding<'py> = Vec<(Bound<'py, PyType>, Bound<'py, PyAny>)>;

fn add_overriding<'py>(found: &mut Overriding<'py>, object: Borrowed<'_, 'py, PyAny>) -> PyResult<()> {
    let class = object.get_type();
    if found.iter().any(|(known, _)| known.is(&class)) {
        return Ok(());
    }
    if let Some(rule) = rule_of(object)? {
        let mut place = found.len();
        for (i, (known, _)) in found.iter().enumerate() {
            if class.is_subclass(known)? {
                place = i;
                break;
            }
        }
        found.insert(place, (class, rule));
    }
    Ok(())
}

/// Those among arguments, and among the items of the lists and tuples there.
fn overriding<'py>(args: &[Borrowed<'_, 'py, PyAny>]) -> PyResult<Overriding<'py>> {
    let mut found = Vec::new();
    for &arg in args {
        if let Ok(items) = arg.cast_exact::<PyTuple>() {
            items.iter_borrowed().try_for_each(|item| add_overriding(&mut found, item))?;
        } else if let Ok(items) = arg.cast_exact::<PyList>() {
            items.iter().try_for_each(|item| add_overriding(&mut found, item.as_borrowed()))?;
        } else {
            add_overriding(&mut found, arg)?;
        }
    }
    Ok(found)
}

/// Whether an object's class has a rule. One that was not known makes functions ask from now on.
pub fn is_overriding(object: Borrowed<'_, '_, PyAny>) -> bool {
    let found = matches!(rule_of(object), Ok(Some(_)));
    if found {
        expect();
    }
    found
}

/// Whether an argument, or an item of one that is a list, has a class with a rule.
pub fn any_overriding(args: &[Borrowed<'_, '_, PyAny>]) -> PyResult<bool> {
    Ok(DISABLED.get() == Disabled::Nothing && !overriding(args)?.is_empty())
}

/// From now on, functions ask: somebody may answer.
pub fn expect() {
    POSSIBLE.store(true, Ordering::Relaxed);
}

/// Leaves the innermost mode for as long as this lives.
struct WithoutMode(Option<Py<PyAny>>);

impl WithoutMode {
    fn new() -> WithoutMode {
        WithoutMode(MODES.with_borrow_mut(Vec::pop))
    }
}

impl Drop for WithoutMode {
    fn drop(&mut self) {
        if let Some(mode) = self.0.take() {
            MODES.with_borrow_mut(|modes| modes.push(mode));
        }
    }
}

/// Disables what it says for as long as this lives.
struct Disabling(Disabled);

impl Disabling {
    fn new(disabled: Disabled) -> Disabling {
        let old = DISABLED.get();
        DISABLED.set(if old > disabled { old } else { disabled });
        Disabling(old)
    }
}

impl Drop for Disabling {
    fn drop(&mut self) {
        DISABLED.set(self.0);
    }
}

/// The answer of the mode, or of the first of the classes that has one, to a call. None if there is nobody to ask.
///
/// Raises: TypeError if all decline.
fn answer<'py>(
    found: &Overriding<'py>,
    call: impl FnOnce() -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>)>,
    py: Python<'py>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if found.is_empty() && MODES.with_borrow(Vec::is_empty) {
        return Ok(None);
    }
    let (function, args, keywords) = call()?;
    let types = PyTuple::new(py, found.iter().map(|(class, _)| class))?;
    let call = (function, types, args, keywords);
    let mode = WithoutMode::new();
    if let Some(mode) = &mode.0 {
        let rule = mode.bind(py).getattr(pyo3::intern!(py, "__torch_function__"))?;
        if rule.getattr_opt("__self__")?.is_some_and(|of| of.is_instance_of::<PyType>()) {
            let text = "defining a mode's `__torch_function__` as a classmethod is not supported, please make it a plain method";
            return Err(PyRuntimeError::new_err(text));
        }
        let answer = rule.call1(call.clone())?;
        if !answer.is(py.NotImplemented()) {
            return Ok(Some(answer));
        }
    }
    drop(mode);
    for (_, rule) in found {
        let answer = rule.call1(call.clone())?;
        if !answer.is(py.NotImplemented()) {
            return Ok(Some(answer));
        }
    }
    let name = py.import("ferrograd.overrides")?.call_method1("resolve_name", (&call.0,))?;
    Err(PyTypeError::new_err(format!(
        "Multiple dispatch failed for '{}'; all __torch_function__ handlers returned NotImplemented: those of {}",
        if name.is_none() { call.0.getattr("__name__")? } else { name },
        if call.1.is_empty() { "the mode".into() } else { PyList::new(py, &call.1)?.repr()?.to_string() }
    )))
}

/// The answer of others to a call of `function`, whose last arguments have `names`; without `classes` only modes are asked.
pub fn ask<'py>(
    function: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    py: Python<'py>,
    args: &[Borrowed<'_, 'py, PyAny>],
    names: Option<&Bound<'py, PyTuple>>,
    classes: bool,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let disabled = DISABLED.get();
    if disabled == Disabled::All {
        return Ok(None);
    }
    let found = if classes && disabled == Disabled::Nothing { overriding(args)? } else { Vec::new() };
    let call = || {
        let (positional, named) = args.split_at(args.len() - names.map_or(0, |names| names.len()));
        let keywords = PyDict::new(py);
        names.into_iter().flatten().zip(named).try_for_each(|(name, value)| keywords.set_item(name, value))?;
        Ok((function()?, PyTuple::new(py, positional)?, keywords))
    };
    answer(&found, call, py)
}

/// The answer to an operator or another of Python's protocols, which the method of this name stands for.
#[inline(always)]
pub fn ask_method<'py>(name: &str, args: &[Borrowed<'_, 'py, PyAny>]) -> PyResult<Option<Bound<'py, PyAny>>> {
    if possible() { ask_known_method(name, args) } else { Ok(None) }
}

#[cold]
fn ask_known_method<'py>(name: &str, args: &[Borrowed<'_, 'py, PyAny>]) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = args[0].py();
    ask(|| py.get_type::<Tensor>().getattr(name), py, args, None, true)
}

/// The same for what failed: objects that are no tensors but have rules are not known before they come.
pub fn ask_stranger<'py>(error: PyErr, name: &str, args: &[Borrowed<'_, 'py, PyAny>]) -> PyResult<Bound<'py, PyAny>> {
    if possible() || !any_overriding(args)? {
        return Err(error);
    }
    expect();
    ask_method(name, args)?.ok_or(error)
}

/// An answer that is an object of `class` wherever it was a tensor.
fn convert<'py>(answer: Bound<'py, PyAny>, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    if class.is(py.get_type::<Tensor>()) {
        return Ok(answer);
    }
    if let Ok(x) = answer.cast::<Tensor>() {
        return if x.is_instance(class)? { Ok(answer) } else { instance_of(class, x.borrow().get(&[])?) };
    }
    if answer.is_instance_of::<PyTuple>() || answer.is_instance_of::<PyList>() {
        let items = answer.try_iter()?.map(|item| convert(item?, class)).collect::<PyResult<Vec<_>>>()?;
        return answer.get_type().call1((PyList::new(py, items)?,));
    }
    Ok(answer)
}

/// Whether what an attribute gives is left as it is: torch does so for these.
fn is_left_as_is(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(attribute) = function.getattr_opt("__self__")? else { return Ok(false) };
    let getter = function.getattr_opt("__name__")?.is_some_and(|name| name.eq("__get__").unwrap_or(false));
    let name = attribute.getattr_opt("__name__")?;
    Ok(getter && name.is_some_and(|name| ["_base", "grad", "_grad"].iter().any(|&n| name.eq(n).unwrap_or(false))))
}

#[pymethods]
impl Tensor {
    /// What a function does with tensors of a class: what it does with others, but its results are of this class. Classes may
    /// override it; `super().__torch_function__(func, types, args, kwargs)` goes on.
    #[classmethod]
    #[pyo3(signature = (func, types, args=None, kwargs=None))]
    fn __torch_function__<'py>(
        cls: &Bound<'py, PyType>,
        func: &Bound<'py, PyAny>,
        types: &Bound<'py, PyAny>,
        args: Option<&Bound<'py, PyTuple>>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = cls.py();
        for class in types.try_iter()? {
            if !cls.is_subclass(&class?)? {
                return Ok(py.NotImplemented().into_bound(py));
            }
        }
        let answer = _disabled_torch_function_impl(func, types, args, kwargs)?;
        if is_left_as_is(func)? { Ok(answer) } else { convert(answer, cls) }
    }
}

/// Calls a function without asking the classes of its arguments: what a class without rules has for one.
#[pyfunction]
#[pyo3(signature = (func, types, args=None, kwargs=None))]
pub fn _disabled_torch_function_impl<'py>(
    func: &Bound<'py, PyAny>,
    types: &Bound<'py, PyAny>,
    args: Option<&Bound<'py, PyTuple>>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let _ = types;
    let _disabling = Disabling::new(Disabled::Classes);
    match args {
        Some(args) => func.call(args, kwargs),
        None => func.call((), kwargs),
    }
}

/// The same function, but it asks the classes of its arguments first; one that `binds` becomes a method of the class that it is put in.
#[pyfunction]
#[pyo3(signature = (function, *, binds=false))]
pub fn _overridable<'py>(function: &Bound<'py, PyAny>, binds: bool) -> PyResult<Bound<'py, PyAny>> {
    if binds { plain::method(function, &function.getattr("__name__")?.cast_into()?) } else { plain::function(function, true) }
}

/// Whether a function asks modes, but not the classes of its arguments.
#[pyfunction]
pub fn _asks_only_modes(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    plain::asks_only_modes(function)
}

/// Whether functions would ask somebody what to do with these arguments.
#[pyfunction]
pub fn _is_overridden(args: Vec<Bound<'_, PyAny>>) -> PyResult<bool> {
    let args: Vec<_> = args.iter().map(|arg| arg.as_borrowed()).collect();
    let mode = DISABLED.get() != Disabled::All && !MODES.with_borrow(Vec::is_empty);
    Ok(mode || any_overriding(&args)?)
}

/// What others say that a call of `function` gives; the classes of the `relevant` arguments are asked.
///
/// Raises: TypeError if nobody answers.
#[pyfunction]
pub fn _ask<'py>(
    function: Bound<'py, PyAny>,
    relevant: Vec<Bound<'py, PyAny>>,
    args: Bound<'py, PyTuple>,
    kwargs: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let mut found = Vec::new();
    if DISABLED.get() == Disabled::Nothing {
        relevant.iter().try_for_each(|arg| add_overriding(&mut found, arg.as_borrowed()))?;
    }
    match answer(&found, || Ok((function.clone(), args, kwargs)), py)? {
        Some(answer) => Ok(answer),
        None => Err(PyTypeError::new_err(format!(
            "no argument of {} has a type that implements __torch_function__",
            function.repr()?
        ))),
    }
}

/// Makes a mode the innermost one of this thread.
#[pyfunction]
pub fn _push_mode(mode: Py<PyAny>) {
    expect();
    MODES.with_borrow_mut(|modes| modes.push(mode));
}

/// Leaves the innermost mode and answers it.
#[pyfunction]
pub fn _pop_mode() -> Option<Py<PyAny>> {
    MODES.with_borrow_mut(Vec::pop)
}

/// Whether the classes of arguments are asked, on this thread.
#[pyfunction]
pub fn _is_torch_function_enabled() -> bool {
    DISABLED.get() == Disabled::Nothing
}

macro_rules! disabling {
    ($($(#[$doc:meta])* $name:ident, $disabled:expr;)+) => {$(
        $(#[$doc])*
        #[pyclass(module = "ferrograd._C")]
        #[derive(Default)]
        pub struct $name(Option<Disabling>);

        #[pymethods]
        impl $name {
            #[new]
            fn new() -> $name {
                $name::default()
            }

            fn __enter__(&mut self) {
                self.0 = Some(Disabling::new($disabled));
            }

            #[pyo3(signature = (*_error))]
            fn __exit__(&mut self, _error: &Bound<'_, PyTuple>) {
                self.0 = None;
            }
        }
    )+};
}

disabling! {
    /// Within it the classes of arguments are not asked.
    DisableTorchFunctionSubclass, Disabled::Classes;
    /// Within it neither modes nor the classes of arguments are asked.
    DisableTorchFunction, Disabled::All;
}

/// Functions whose arguments' classes are not asked, only modes: they make tensors of other things.
const MAKERS: [&str; 23] = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_permuted",
    "empty_strided",
    "eye",
    "frombuffer",
    "from_dlpack",
    "full",
    "logspace",
    "ones",
    "rand",
    "randint",
    "randn",
    "randperm",
    "range",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
    "vander",
    "zeros",
];

/// Functions that concern no tensors.
const NOT_OVERRIDDEN: [&str; 18] = [
    "broadcast_shapes",
    "can_cast",
    "from_numpy",
    "get_default_dtype",
    "get_num_threads",
    "get_rng_state",
    "initial_seed",
    "is_tensor",
    "is_warn_always_enabled",
    "manual_seed",
    "promote_types",
    "seed",
    "set_default_dtype",
    "set_default_tensor_type",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
    "set_warn_always",
];

/// Puts functions that ask first in the place of those of the module and its parts.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let none = module.getattr("_disabled_torch_function_impl")?;
    // What classes say that do without the dispatcher, which is not there.
    module.setattr("_disabled_torch_dispatch_impl", &none)?;
    let _ = NO_RULE.set(module.py(), none.unbind());
    let mut parts = vec![module.clone()];
    for part in ["_fft", "_linalg", "_nn", "_special"] {
        parts.push(module.getattr(part)?.cast_into()?);
    }
    for part in parts {
        for (name, function) in part.dict().iter().filter(|(_, x)| x.is_instance_of::<PyCFunction>()) {
            let name = name.cast::<PyString>()?.to_str()?;
            let internal = name.starts_with('_') && part.is(module);
            if !internal && !NOT_OVERRIDDEN.contains(&name) {
                part.setattr(name, plain::function(&function, !MAKERS.contains(&name))?)?;
            }
        }
    }
    Ok(())
}
