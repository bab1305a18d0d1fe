//! Methods that know numpy's names of arguments, `x.sum(axis=0, keepdims=True)`, and that take no bool for a whole number.
//!
//! Such a method is an object that stands in for the method descriptor in the class: like it, it is called with the tensor as
//! first argument and no bound method between. Without keywords it hands its arguments on; with some it renames them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::callable::{Callable, Rules};
use super::panics::internal_error;
use crate::tensor::Tensor;

/// Methods with a `dim` or `keepdim` that torch does not parse itself.
pub const WITHOUT_ALIASES: [&str; 2] = ["norm", "split"];

/// Torch's name of an argument for numpy's.
pub fn numpy_alias(name: &str) -> Option<&'static str> {
    match name {
        "axis" => Some("dim"),
        "keepdims" => Some("keepdim"),
        _ => None,
    }
}

/// Arguments that are whole numbers wherever they occur. Python's bools are ints, but `x.argmax(True)` is a mistake.
const WHOLE: [&str; 24] = [
    "axis0",
    "axis1",
    "chunks",
    "decimals",
    "diagonal",
    "dim",
    "dim0",
    "dim1",
    "dim2",
    "dimension",
    "end_dim",
    "k",
    "length",
    "minlength",
    "n",
    "num_samples",
    "offset",
    "output_size",
    "size",
    "split_size",
    "start",
    "start_dim",
    "step",
    "storage_offset",
];

/// Methods whose `dim` may be a bool, for another argument.
const DIM_OR_FLAG: [&str; 4] = ["std", "std_mean", "var", "var_mean"];

/// Which of its positional arguments a method takes whole numbers for, as bits; the tensor itself counts.
pub fn whole_numbers(name: &str, method: &Bound<'_, PyAny>) -> PyResult<u64> {
    // The degree `n` of a polynomial is any number.
    if DIM_OR_FLAG.contains(&name) || name.contains("_polynomial_") {
        return Ok(0);
    }
    let names = argument_names(method)?;
    let positional = names.iter().filter(|name| *name != "/").take_while(|name| !name.starts_with('*'));
    let whole = positional.take(64).enumerate().filter(|(_, name)| WHOLE.contains(&name.as_str()));
    Ok(whole.fold(0, |bits, (place, _)| bits | 1 << place))
}

/// Fails if there is a bool where a whole number belongs.
///
/// # Safety
/// The arguments are those of a vectorcall, and the interpreter lock is held.
pub unsafe fn check_whole_numbers(
    py: Python<'_>,
    whole: u64,
    args: *const *mut ffi::PyObject,
    count: usize,
    kwnames: *mut ffi::PyObject,
) -> PyResult<()> {
    // SAFETY: `args` holds `count` references and then one for each name.
    unsafe {
        let is_bool = |i: usize| *args.add(i) == ffi::Py_True() || *args.add(i) == ffi::Py_False();
        let wrong = |name: &str| PyTypeError::new_err(format!("argument {name} must be int, not bool"));
        let mut rest = whole;
        while rest != 0 {
            let place = rest.trailing_zeros() as usize;
            if place < count && is_bool(place) {
                return Err(wrong(&place.to_string()));
            }
            rest &= rest - 1;
        }
        if whole != 0 && !kwnames.is_null() {
            for (i, name) in Bound::from_borrowed_ptr(py, kwnames).cast::<PyTuple>()?.iter().enumerate() {
                if is_bool(count + i) && WHOLE.contains(&name.cast::<PyString>()?.to_str()?) {
                    return Err(wrong(&format!("'{name}'")));
                }
            }
        }
    }
    Ok(())
}

/// Which arguments are whole numbers: see [`whole_numbers`].
#[derive(Clone, Copy)]
struct Whole(u64);

type Method = Callable<Whole>;

impl Rules for Whole {
    unsafe extern "C" fn call(
        object: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        // SAFETY: the vectorcall protocol: `object` is of the class, `kwnames` null or a tuple of strings, and the
        // interpreter lock is held. The renamed tuple lives until the call is over.
        unsafe {
            let Method { method, method_call, rules: Whole(whole), .. } = *object.cast::<Method>();
            let py = Python::assume_attached();
            if let Err(error) = check_whole_numbers(py, whole, args, ffi::PyVectorcall_NARGS(nargsf) as usize, kwnames) {
                error.restore(py);
                return std::ptr::null_mut();
            }
            if kwnames.is_null() {
                return method_call(method, args, nargsf, kwnames);
            }
            // Nothing but this stands between a panic and C.
            let names = catch_unwind(AssertUnwindSafe(|| renamed(&Bound::from_borrowed_ptr(py, kwnames))));
            match names.unwrap_or_else(|cause| Err(internal_error(cause))) {
                Ok(None) => method_call(method, args, nargsf, kwnames),
                Ok(Some(names)) => method_call(method, args, nargsf, names.as_ptr()),
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            }
        }
    }
}

/// The names with torch's in place of numpy's, if there are any of these. If both are there all stay, so that the method refuses
/// the one it does not know.
fn renamed<'py>(names: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let names = names.cast::<PyTuple>()?;
    let mut out = Vec::with_capacity(names.len());
    let mut changed = false;
    for name in names.iter() {
        match numpy_alias(name.cast::<PyString>()?.to_str()?) {
            Some(alias) => {
                if names.contains(alias)? {
                    return Ok(None);
                }
                changed = true;
                out.push(PyString::intern(names.py(), alias).into_any());
            }
            None => out.push(name),
        }
    }
    if changed { PyTuple::new(names.py(), out).map(Some) } else { Ok(None) }
}

/// The names of a method's arguments, by its text signature.
fn argument_names(method: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let Some(signature) = method.getattr_opt("__text_signature__")? else { return Ok(Vec::new()) };
    let Ok(signature) = signature.cast::<PyString>() else { return Ok(Vec::new()) };
    let arguments = signature.to_str()?.trim_matches(['(', ')']).split(',');
    Ok(arguments.map(|argument| argument.split('=').next().unwrap_or_default().trim().to_owned()).collect())
}

/// Methods that nobody overrides, besides those of ours whose names begin with `_`.
const NOT_OVERRIDDEN: [&str; 4] = ["__copy__", "__torch_function__", "as_subclass", "const_data_ptr"];

/// Puts such an object in the place of each method of `Tensor` that takes a `dim`, a `keepdim` or a whole number, and one that only
/// asks whether it is overridden in the place of the others.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let tensor = py.get_type::<Tensor>();
    let plain = tensor.getattr("numel")?.get_type();
    let class = Method::class(py, c"ferrograd.method", true)?;
    for item in tensor.getattr("__dict__")?.call_method0("items")?.try_iter()?.collect::<PyResult<Vec<_>>>()? {
        let (name, method) = item.extract::<(Bound<'_, PyString>, Bound<'_, PyAny>)>()?;
        let text = name.to_str()?;
        if !method.is_instance(&plain)? || text.starts_with('_') && !text.starts_with("__") || NOT_OVERRIDDEN.contains(&text) {
            continue;
        }
        let aliases = !WITHOUT_ALIASES.contains(&text);
        let named = aliases && argument_names(&method)?.iter().any(|name| matches!(name.as_str(), "dim" | "keepdim"));
        let whole = if aliases { whole_numbers(text, &method)? } else { 0 };
        let method = if named || whole != 0 {
            // SAFETY: the class is that of `Method`.
            unsafe { Method::make(&class, &method, &name, Whole(whole))? }
        } else {
            super::plain::method(&method, &name)?
        };
        tensor.setattr(&name, method)?;
    }
    Ok(())
}
