//! Methods of sums with factors, in torch's first order of arguments, too: `x.addcdiv_(value, a, b)` for
//! `x.addcdiv_(a, b, value=value)`, and `x.addmm(beta, alpha, a, b)`. Torch warns of it and goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::callable::{Callable, Rules};
use super::panics::internal_error;
use crate::ops::arguments::warn_of_factors_first;
use crate::tensor::Tensor;

/// The methods, each with another in place, and the names of their factors.
const METHODS: [(&str, &[&str]); 7] = [
    ("addbmm", &PRODUCT),
    ("addcdiv", &["value"]),
    ("addcmul", &["value"]),
    ("addmm", &PRODUCT),
    ("addmv", &PRODUCT),
    ("addr", &PRODUCT),
    ("baddbmm", &PRODUCT),
];
const PRODUCT: [&str; 2] = ["beta", "alpha"];

/// The tensor itself and two others.
pub const TENSORS: usize = 3;

/// The names of the factors.
#[derive(Clone, Copy)]
struct Factors(&'static [&'static str]);

type Method = Callable<Factors>;

impl Rules for Factors {
    unsafe extern "C" fn call(
        object: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        // SAFETY: the vectorcall protocol: `object` is of the class, `kwnames` null or a tuple of strings, `args` as long as both say,
        // and the interpreter lock is held.
        unsafe {
            let Method { method, method_call, name, rules: Factors(factors), .. } = *object.cast::<Method>();
            let count = ffi::PyVectorcall_NARGS(nargsf) as usize;
            if count <= TENSORS {
                return method_call(method, args, nargsf, kwnames);
            }
            let py = Python::assume_attached();
            // Nothing but this stands between a panic and C.
            let result = catch_unwind(AssertUnwindSafe(|| {
                let kwnames = Bound::from_borrowed_ptr_or_opt(py, kwnames);
                let named = kwnames.as_ref().map_or(Ok(0), |names| names.len())?;
                let args = (0..count + named).map(|i| Bound::from_borrowed_ptr(py, *args.add(i)));
                let name = Bound::from_borrowed_ptr(py, name).cast_into::<PyString>()?;
                factors_last(&Bound::from_borrowed_ptr(py, method), name.to_str()?, factors, args.collect(), count, kwnames)
            }));
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

/// Calls the method with what stands between the tensor itself and the two others as keywords.
fn factors_last<'py>(
    method: &Bound<'py, PyAny>,
    name: &str,
    factors: &[&str],
    mut args: Vec<Bound<'py, PyAny>>,
    count: usize,
    kwnames: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, given) = (method.py(), count - TENSORS);
    if given > factors.len() {
        let most = TENSORS - 1 + factors.len();
        return Err(PyTypeError::new_err(format!("{name}() takes at most {most} positional arguments, got {}", count - 1)));
    }
    let keywords = PyDict::new(py);
    if let Some(kwnames) = kwnames {
        for (key, value) in kwnames.cast_into::<PyTuple>()?.iter().zip(args.drain(count..)) {
            keywords.set_item(key, value)?;
        }
    }
    for (&factor, value) in factors.iter().zip(args.drain(1..1 + given)) {
        if keywords.contains(factor)? {
            return Err(PyTypeError::new_err(format!("{name}() got multiple values for argument '{factor}'")));
        }
        if value.is_instance_of::<Tensor>() {
            let wanted = TENSORS - 1;
            return Err(PyTypeError::new_err(format!(
                "{name}() takes {wanted} tensors, and '{factor}' as a number; got a Tensor for it"
            )));
        }
        keywords.set_item(factor, value)?;
    }
    warn_of_factors_first(name)?;
    method.call(PyTuple::new(py, args)?, Some(&keywords))
}

/// Whether an attribute of `Tensor` is such a method.
pub fn takes_factors_first(method: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(method.get_type().name()? == "factors_first")
}

/// Puts such an object in the place of each of these methods.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let tensor = py.get_type::<Tensor>();
    let class: Bound<'_, PyType> = Method::class(py, c"ferrograd.factors_first", true)?;
    for (name, factors) in METHODS {
        for name in [name.to_owned(), format!("{name}_")] {
            let name = PyString::intern(py, &name);
            let method = tensor.getattr(&name)?;
            // SAFETY: the class is that of `Method`.
            tensor.setattr(&name, unsafe { Method::make(&class, &method, &name, Factors(factors))? })?;
        }
    }
    Ok(())
}
