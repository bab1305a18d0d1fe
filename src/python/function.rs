//! Function forms of methods: `ferrograd.exp(x)` for `x.exp()`.
//!
//! A function is an object with the vectorcall protocol: it hands its arguments on to the method descriptor without a
//! Python frame or a tuple. What methods do not know is done here: `input=` as a keyword, a Python number as the first
//! operand, and `out=`. Functions that are no methods get their `out=` here, too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyTypeError, PyUserWarning};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::callable::{self, Callable};
use super::factors::{TENSORS, takes_factors_first};
use super::method::{WITHOUT_ALIASES, check_whole_numbers, numpy_alias, whole_numbers};
use super::panics::internal_error;
use crate::error::Error;
use crate::interpreter::show;
use crate::ops::arguments::{MemoryFormat, Operand};
use crate::tape::level::{before_output, before_value};
use crate::tape::view::check_inference;
use crate::tensor::Tensor;

type Function = Callable<Rules>;

/// What a function takes besides what its method takes.
#[derive(Clone, Copy)]
struct Rules {
    /// What stands first.
    first: First,
    out: Out,
    /// Which operands may lie in the memory of `out`.
    overlap: Overlap,
    /// Whether `out` is taken only beside a second argument.
    second: bool,
    /// See [`whole_numbers`].
    whole: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum First {
    /// A tensor, also by the name of `input`.
    Tensor,
    /// The same, or a number.
    Number,
    /// The same, or a number if a tensor comes second.
    NumberBesideTensor,
    /// The same, or its factor and then itself: see `factors.rs`.
    Factor,
    /// Whatever the function says.
    Any,
}

/// The dtypes that `out` may have.
#[derive(Clone, Copy, PartialEq)]
enum Out {
    /// There is no `out`.
    None,
    /// Those that the result can be cast to.
    Castable,
    /// That of the result.
    Same,
    /// Those of its kind; it is made contiguous if it is resized.
    SameKind,
    /// The same if the operands after the first are numbers, else castable ones.
    SameWithNumbers,
    /// Any: it decides in which dtype the result is computed.
    Decides,
}

/// Which operands may lie in the memory of `out`: what torch reads while it writes must not.
#[derive(Clone, Copy, PartialEq)]
enum Overlap {
    /// All, as they like.
    Any,
    /// Those that are as `out` is, element by element.
    Whole,
    /// The same for the first operand, and any others.
    WholeFirst,
    /// The first operand alone, if it is as `out` is.
    WholeFirstOnly,
    /// Those that are as `out` is, but not the first operand.
    WholeButFirst,
    /// Those that are as `out` is, and none if `out` is several tensors.
    WholeIfOne,
    /// None.
    None,
}

impl Overlap {
    /// Fails if operands lie in the memory of `out` that must not.
    fn check(self, args: &Bound<'_, PyTuple>, keywords: &Bound<'_, PyDict>, out: &Bound<'_, PyAny>) -> PyResult<()> {
        if self == Overlap::Any {
            return Ok(());
        }
        let outs: Vec<Tensor> = match out.cast::<Tensor>() {
            Ok(out) => vec![out.borrow().clone()],
            // What else it may be is found out later.
            Err(_) => out
                .try_iter()
                .into_iter()
                .flatten()
                .filter_map(|out| Some(out.ok()?.cast::<Tensor>().ok()?.borrow().clone()))
                .collect(),
        };
        for (i, operand) in args.iter().chain(keywords.values()).enumerate() {
            let Ok(x) = operand.cast::<Tensor>() else { continue };
            let whole = match self {
                Overlap::WholeFirst if i > 0 => continue,
                Overlap::WholeFirstOnly => i == 0,
                Overlap::WholeButFirst => i > 0,
                Overlap::WholeIfOne => outs.len() == 1,
                rule => rule != Overlap::None,
            };
            let x = x.borrow().clone();
            outs.iter().try_for_each(|out| if whole { x.check_overlap(out) } else { x.check_apart(out) })?;
        }
        Ok(())
    }
}

/// The class of the functions.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.get_or_try_init(py, || Ok(Function::class(py, c"ferrograd.function", false)?.unbind())).map(|class| class.bind(py))
}

impl callable::Rules for Rules {
    unsafe extern "C" fn call(
        object: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        // SAFETY: the vectorcall protocol: `object` is of the class, `args` holds as many borrowed references as `nargsf`
        // and `kwnames` say, and the interpreter lock is held.
        unsafe {
            let py = Python::assume_attached();
            let function = &*object.cast::<Function>();
            let count = ffi::PyVectorcall_NARGS(nargsf) as usize;
            if let Err(error) = check_whole_numbers(py, function.rules.whole, args, count, kwnames) {
                error.restore(py);
                return std::ptr::null_mut();
            }
            let name = Borrowed::from_ptr(py, function.name);
            if let Err(error) = (0..count).try_for_each(|i| ask_for_method(Borrowed::from_ptr(py, *args.add(i)), name)) {
                error.restore(py);
                return std::ptr::null_mut();
            }
            if kwnames.is_null() && count > 0 {
                let first = Borrowed::from_ptr(py, *args);
                let plain = function.rules.first != First::Factor || count <= TENSORS;
                if plain && first.is_instance_of::<Tensor>() || function.rules.first == First::Any {
                    return (function.method_call)(function.method, args, nargsf, kwnames);
                }
            }
            let args = if args.is_null() { &[][..] } else { std::slice::from_raw_parts(args, count + keyword_count(kwnames)) };
            // Nothing but this stands between a panic and C.
            let result = catch_unwind(AssertUnwindSafe(|| call_with_keywords(py, function, args, count, kwnames)));
            match result.unwrap_or_else(|cause| Err(internal_error(cause))) {
                Ok(result) => result.into_ptr(),
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            }
        }
    }
}

/// Asks a tensor whose class looks after its attributes for a method: that of uninitialized parameters refuses.
pub fn ask_for_method<'py>(object: Borrowed<'_, 'py, PyAny>, name: Borrowed<'_, 'py, PyAny>) -> PyResult<()> {
    // SAFETY: the class of a valid object.
    let getter = unsafe { (*ffi::Py_TYPE(object.as_ptr())).tp_getattro };
    let plain = getter.is_none_or(|getter| getter as usize == ffi::PyObject_GenericGetAttr as *const () as usize);
    if !plain && object.is_instance_of::<Tensor>() {
        object.getattr_opt(name.cast::<PyString>()?)?;
    }
    Ok(())
}

unsafe fn keyword_count(kwnames: *mut ffi::PyObject) -> usize {
    // SAFETY: `kwnames` is null or a tuple.
    if kwnames.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(kwnames) as usize } }
}

/// The general case: keywords, numbers, `out=`.
///
/// # Safety
/// The arguments are those of a vectorcall on `function`.
unsafe fn call_with_keywords<'py>(
    py: Python<'py>,
    function: &Function,
    args: &[*mut ffi::PyObject],
    count: usize,
    kwnames: *mut ffi::PyObject,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: these are valid references for the whole call.
    let (method, name, kwnames) = unsafe {
        let borrow = |object: *mut ffi::PyObject| Bound::from_borrowed_ptr(py, object);
        (borrow(function.method), borrow(function.name).cast_into::<PyString>()?, Bound::from_borrowed_ptr_or_opt(py, kwnames))
    };
    let name = name.to_str()?;
    // SAFETY: as above.
    let mut values = args.iter().map(|&arg| unsafe { Bound::from_borrowed_ptr(py, arg) });
    let mut positional: Vec<Bound<'py, PyAny>> = values.by_ref().take(count).collect();
    let keywords = PyDict::new(py);
    let mut out = None;
    let Rules { first, second, .. } = function.rules;
    if let Some(kwnames) = kwnames {
        for (key, value) in kwnames.cast_into::<PyTuple>()?.iter().zip(values) {
            let key = key.cast_into::<PyString>()?;
            match key.to_str()? {
                "out" if function.rules.out != Out::None => out = Some(value),
                "input" | "x" | "a" | "x1" if positional.is_empty() && first != First::Any => positional.push(value),
                key => {
                    let key = alias(name, key).unwrap_or(key);
                    if keywords.contains(key)? {
                        return Err(PyTypeError::new_err(format!("{name}() got argument '{key}' under two names")));
                    }
                    keywords.set_item(key, value)?
                }
            }
        }
    }
    if second && out.is_some() && positional.len() < 2 && !keywords.contains("dim")? {
        return Err(PyTypeError::new_err(format!("{name}(): expected 'dim' beside 'out'")));
    }
    match positional.split_first_mut() {
        _ if first == First::Any => {}
        None => return Err(PyTypeError::new_err(format!("{name}() missing 1 required positional arguments: \"input\""))),
        Some((operand, [tensor, ..])) if first == First::Factor && count > TENSORS => {
            if operand.is_instance_of::<Tensor>() {
                let text = format!("{name}(): factors before the tensors come first of all: {name}(beta, input, alpha, …)");
                return Err(PyTypeError::new_err(text));
            }
            std::mem::swap(operand, tensor);
        }
        Some((operand, rest)) => {
            if !operand.is_instance_of::<Tensor>() {
                let other = keywords.get_item("other")?.or(keywords.get_item("n")?).or(rest.first().cloned());
                *operand = number_as_tensor(name, first, operand, other.as_ref())?;
            }
        }
    }
    let out = out.filter(|out| !out.is_none());
    call_into(name, function.rules, &method, PyTuple::new(py, positional)?, &keywords, out)
}

/// Calls the method and writes what it answers to `out`, if there is one.
fn call_into<'py>(
    name: &str,
    Rules { out: rule, overlap, .. }: Rules,
    method: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    keywords: &Bound<'py, PyDict>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(out) = out else { return method.call(args, Some(keywords)) };
    overlap.check(&args, keywords, &out)?;
    if let (Out::Decides, Ok(target)) = (rule, out.cast::<Tensor>())
        && keywords.get_item("dtype")?.is_none_or(|dtype| dtype.is_none())
    {
        keywords.set_item("dtype", target.borrow().dtype().into_pyobject(method.py())?)?;
    }
    let numbers = || !args.iter().skip(1).chain(keywords.values()).any(|arg| arg.is_instance_of::<Tensor>());
    let same = matches!(rule, Out::Same | Out::Decides) || rule == Out::SameWithNumbers && numbers();
    let result = method.call(args, Some(keywords))?;
    if same {
        check_same_dtype(name, &out, &result)?;
    }
    if rule == Out::SameKind {
        check_same_kind(name, &out, &result)?;
        return write_outputs(name, &out, &result.call_method0("contiguous")?);
    }
    write_outputs(name, &out, &result)
}

/// Torch's name of an argument of a function for numpy's.
fn alias(function: &str, argument: &str) -> Option<&'static str> {
    match argument {
        _ if WITHOUT_ALIASES.contains(&function) => None,
        "x2" => Some("other"),
        argument => numpy_alias(argument),
    }
}

/// A number in the place of the first tensor, to be combined with `other`.
fn number_as_tensor<'py>(
    name: &str,
    rule: First,
    operand: &Bound<'py, PyAny>,
    other: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let other = other.and_then(|other| other.cast::<Tensor>().ok());
    let allowed = rule == First::Number || (rule == First::NumberBesideTensor && other.is_some());
    if let (true, Ok(number)) = (allowed, operand.extract::<Operand>()) {
        let number = match other {
            // Computed in doubles, whatever the tensor holds.
            Some(_) if name == "float_power" => number.tensor()?,
            Some(other) => number.beside(&other.borrow())?,
            None => number.tensor()?,
        };
        return Ok(Bound::new(operand.py(), number)?.into_any());
    }
    let got = operand.get_type().name()?;
    Err(PyTypeError::new_err(format!("{name}(): argument 'input' (position 1) must be Tensor, not {got}")))
}

fn check_same_dtype(name: &str, out: &Bound<'_, PyAny>, result: &Bound<'_, PyAny>) -> PyResult<()> {
    match (out.cast::<Tensor>(), result.cast::<Tensor>()) {
        (Ok(out), Ok(result)) if out.borrow().dtype() != result.borrow().dtype() => {
            let (wanted, found) = (result.borrow().dtype(), out.borrow().dtype());
            Err(PyRuntimeError::new_err(format!("{name}: expected out tensor to have dtype {wanted}, but got {found} instead")))
        }
        _ => Ok(()),
    }
}

fn check_same_kind(name: &str, out: &Bound<'_, PyAny>, result: &Bound<'_, PyAny>) -> PyResult<()> {
    match (out.cast::<Tensor>(), result.cast::<Tensor>()) {
        (Ok(out), Ok(result)) if out.borrow().dtype().kind() != result.borrow().dtype().kind() => {
            let (wanted, found) = (result.borrow().dtype(), out.borrow().dtype());
            Err(PyRuntimeError::new_err(format!("{name}: expected out tensor to have a dtype like {wanted}, but got {found}")))
        }
        _ => Ok(()),
    }
}

/// Writes results to the tensors given as `out`: one, or a tuple of as many as there are results. Answers these, under the names
/// that the results have.
fn write_outputs<'py>(name: &str, out: &Bound<'py, PyAny>, result: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if let (Ok(target), Ok(result)) = (out.cast::<Tensor>(), result.cast::<Tensor>()) {
        write_output(name, target, &result.borrow(), true)?;
        return Ok(out.clone());
    }
    let wrong =
        || PyTypeError::new_err(format!("{name}(): argument 'out' must be a Tensor, or a tuple of as many as there are results"));
    let results = result.cast::<PyTuple>().map_err(|_| wrong())?;
    let targets: Vec<Bound<'_, PyAny>> = out.try_iter().map_err(|_| wrong())?.collect::<PyResult<_>>()?;
    if targets.len() != results.len() {
        return Err(wrong());
    }
    for (target, result) in targets.iter().zip(results.iter()) {
        check_same_dtype(name, target, &result)?;
    }
    for (target, result) in targets.iter().zip(results.iter()) {
        let (target, result) = (target.cast::<Tensor>().map_err(|_| wrong())?, result.cast::<Tensor>().map_err(|_| wrong())?);
        write_output(name, target, &result.borrow(), true)?;
    }
    let targets = PyTuple::new(out.py(), targets)?;
    if results.is_exact_instance_of::<PyTuple>() { Ok(targets.into_any()) } else { result.get_type().call1((targets,)) }
}

/// Writes one result: resized if the shape is another one (with a warning, if wanted), converted if the dtype allows it.
pub fn write_output(name: &str, target: &Bound<'_, Tensor>, result: &Tensor, warn: bool) -> PyResult<()> {
    let out = target.borrow().clone();
    if crate::tape::mode::follows_tangents() && (result.edge().is_dual() || out.edge().is_dual()) {
        return Err(PyNotImplementedError::new_err(format!(
            "Trying to use forward AD with {name}_out that does not support it because it is an out= function"
        )));
    }
    if crate::tape::is_recording() && (result.is_shown() || out.is_shown()) {
        return Err(PyRuntimeError::new_err(format!(
            "{name}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad."
        )));
    }
    if result.dtype().kind() > out.dtype().kind() {
        let (from, to) = (result.dtype().type_word(), out.dtype().type_word());
        return Err(Error::Runtime(format!("result type {from} can't be cast to the desired output type {to}")).into());
    }
    if out.layout().may_overlap() {
        return Err(PyRuntimeError::new_err(format!(
            "{name}(): unsupported operation: more than one element of the written-to tensor refers to a single memory location \
             (shape {:?}, strides {:?}). Please clone() the tensor before performing the operation.",
            out.shape(),
            out.strides()
        )));
    }
    check_inference(name, &out)?;
    before_output(name, &out)?;
    before_value(name, &out, result)?;
    if out.shape() == result.shape() {
        out.write(result)?;
        out.bump_version();
        return Ok(());
    }
    if warn && out.numel() != 0 {
        let text = format!(
            "An output with one or more elements was resized since it had shape {:?}, which does not match the required output \
             shape {:?}. This behavior is deprecated; resize it to zero elements first.",
            out.shape(),
            result.shape()
        );
        let text = std::ffi::CString::new(text)?;
        PyErr::warn(target.py(), &target.py().get_type::<PyUserWarning>(), &text, 1)?;
    }
    if out.storage().is_lent() && result.numel() * out.dtype().size() > out.storage().bytes() {
        return Err(PyRuntimeError::new_err(format!(
            "{name}(): trying to resize storage that is not resizable: the memory of `out` was lent by another library"
        )));
    }
    let resized = result.empty_like(out.dtype(), MemoryFormat::Preserve)?;
    resized.write(result)?;
    let _old = show(target, &resized)?;
    target.borrow().bump_version();
    Ok(())
}

/// The function form of a method, or of a function. `first` says what stands first: a "tensor", a tensor or a "number" ("number
/// beside tensor": not two of these), a tensor or its "factor", or "any"thing; `out` which dtypes that may have: "castable", "same",
/// "same kind", "same with numbers" or one that "decides"; None if there is no `out`. `overlap` says which operands may lie in the
/// memory of `out`: "any", those that are as it is as a "whole" ("whole first": any but the first; "whole first only": and none but
/// the first; "whole but first": not the first; "whole if one": none if it is several), or "none".
#[pyfunction]
#[pyo3(signature = (method, *, first="tensor", out=None, overlap="any", second=false))]
pub fn _function_form<'py>(
    method: &Bound<'py, PyAny>,
    first: &str,
    out: Option<&str>,
    overlap: &str,
    second: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = method.py();
    let name = method.getattr("__name__")?.cast_into::<PyString>()?;
    let first = match first {
        "number" => First::Number,
        "number beside tensor" => First::NumberBesideTensor,
        "factor" => First::Factor,
        "any" => First::Any,
        _ => First::Tensor,
    };
    let out = match out {
        None => Out::None,
        Some("same") => Out::Same,
        Some("same with numbers") => Out::SameWithNumbers,
        Some("same kind") => Out::SameKind,
        Some("decides") => Out::Decides,
        Some(_) => Out::Castable,
    };
    let overlap = match overlap {
        "whole" => Overlap::Whole,
        "whole first" => Overlap::WholeFirst,
        "whole first only" => Overlap::WholeFirstOnly,
        "whole but first" => Overlap::WholeButFirst,
        "whole if one" => Overlap::WholeIfOne,
        "none" => Overlap::None,
        _ => Overlap::Any,
    };
    // A method that renames keywords: that is done here already.
    let plain = if takes_factors_first(method)? { None } else { method.getattr_opt("__wrapped__")? };
    let method = plain.as_ref().unwrap_or(method);
    let whole = whole_numbers(name.to_str()?, method)?;
    // SAFETY: the class is that of `Function`.
    unsafe { Function::make(class(py)?, method, &name, Rules { first, out, overlap, second, whole }) }
}
