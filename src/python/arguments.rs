//! How Python objects become arguments of ops, and what is said if they cannot.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyComplex, PyFloat, PyInt, PyList, PyTuple};
use pyo3::{Borrowed, FromPyObject};

use super::numpy::is_numpy_scalar;
use crate::dtype::{C128, Scalar};
use crate::ops::arguments::{DimOrTensor, Dims, DimsGiven, DimsOrFlag, Given, Operand, Order, Truth, Whole};
use crate::ops::sample_values::check_item;
use crate::tensor::Tensor;

/// The type of an object, for messages.
pub fn type_name(ob: &Bound<'_, PyAny>) -> String {
    ob.get_type().to_string()
}

/// A number: bool, int, float, complex, or one of numpy's scalars.
fn number(ob: &Bound<'_, PyAny>) -> Option<PyResult<Scalar>> {
    if ob.is_instance_of::<PyFloat>() {
        return Some(ob.extract::<f64>().map(Scalar::Float));
    }
    if ob.is_instance_of::<PyBool>() {
        return Some(ob.extract::<bool>().map(Scalar::Bool));
    }
    if ob.is_instance_of::<PyInt>() {
        return Some(match ob.extract::<i64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(ob.py()) => ob.extract::<u64>().map(Scalar::UInt),
            value => value.map(Scalar::Int),
        });
    }
    if let Ok(z) = ob.cast::<PyComplex>() {
        return Some(Ok(complex_scalar(z)));
    }
    match is_numpy_scalar(ob) {
        // numpy's `item` gives Python's number; what is none of these (a string) is no number here.
        Ok(true) => {
            let item = ob.call_method0("item").ok().filter(|item| !item.is(ob))?;
            // Torch takes numpy's bools, which are no bools of Python's, for floats.
            match number(&item)? {
                Ok(Scalar::Bool(flag)) => Some(Ok(Scalar::Float(flag.into()))),
                value => Some(value),
            }
        }
        _ => None,
    }
}

/// A Python complex number.
pub fn complex_scalar(z: &Bound<'_, PyComplex>) -> Scalar {
    Scalar::Complex(C128::new(z.real(), z.imag()))
}

impl<'a, 'py> FromPyObject<'a, 'py> for Scalar {
    type Error = PyErr;

    /// A number, or a 0-d tensor off the tape.
    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Scalar> {
        if let Some(value) = number(&ob) {
            return value;
        }
        if let Ok(x) = ob.cast::<Tensor>() {
            let x = x.borrow();
            if x.rank() == 0 && !x.requires_grad() {
                check_item(&x)?;
                return Ok(x.scalar()?);
            }
        }
        Err(PyTypeError::new_err(format!("expected a number, got {}", type_name(&ob))))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Operand {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Operand> {
        if let Ok(tensor) = ob.cast::<Tensor>() {
            return Ok(Operand::Tensor(tensor.borrow().clone()));
        }
        match number(&ob) {
            Some(value) => value.map(Operand::Number),
            None => Err(PyTypeError::new_err(format!("expected a Tensor or a number, got {}", type_name(&ob)))),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Truth {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Truth> {
        ob.is_truthy().map(Truth)
    }
}

/// An index, size or dim: an int or what stands for one (numpy's ints, integer tensors of one element), but no bool.
fn index(ob: &Bound<'_, PyAny>) -> PyResult<isize> {
    if ob.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err("expected an int, got <class 'bool'>"));
    }
    index_or_bool(ob)
}

/// Several of these. As in torch only the first is looked at for whether it is a bool.
fn indices<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>) -> PyResult<Dims> {
    items
        .enumerate()
        .map(|(place, item)| if place == 0 { index(&item) } else { index_or_bool(&item) })
        .collect::<PyResult<_>>()
        .map(Dims)
}

fn index_or_bool(ob: &Bound<'_, PyAny>) -> PyResult<isize> {
    ob.extract::<isize>().map_err(|error| {
        if error.is_instance_of::<PyTypeError>(ob.py()) {
            PyTypeError::new_err(format!("expected an int, got {}", type_name(ob)))
        } else if error.is_instance_of::<PyOverflowError>(ob.py()) {
            PyValueError::new_err(format!("{ob} does not fit in 64 bits"))
        } else {
            error
        }
    })
}

fn is_list(ob: &Bound<'_, PyAny>) -> bool {
    ob.is_instance_of::<PyTuple>() || ob.is_instance_of::<PyList>()
}

impl<'a, 'py> FromPyObject<'a, 'py> for Dims {
    type Error = PyErr;

    /// One int, a tuple or list of ints, or (for `*dims`) a tuple of one of these.
    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Dims> {
        if let Ok(tuple) = ob.cast::<PyTuple>() {
            if tuple.len() == 1 && is_list(&tuple.get_item(0)?) {
                return tuple.get_item(0)?.extract();
            }
            return indices(tuple.iter());
        }
        if let Ok(list) = ob.cast::<PyList>() {
            return indices(list.iter());
        }
        match index(&ob) {
            Ok(dim) => Ok(Dims(smallvec::smallvec![dim])),
            Err(error) if error.is_instance_of::<PyTypeError>(ob.py()) => {
                Err(PyTypeError::new_err(format!("expected an int or a tuple of ints, got {}", type_name(&ob))))
            }
            Err(error) => Err(error),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for DimsGiven {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<DimsGiven> {
        if ob.is_none() { Ok(DimsGiven(Some(None))) } else { ob.extract().map(|dims| DimsGiven(Some(Some(dims)))) }
    }
}

impl<'a, 'py, T: FromPyObject<'a, 'py, Error: Into<PyErr>>> FromPyObject<'a, 'py> for Given<T> {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Given<T>> {
        T::extract(ob).map(|value| Given(Some(value))).map_err(Into::into)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Whole {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Whole> {
        index(&ob).map(Whole)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for DimOrTensor {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<DimOrTensor> {
        if let Ok(tensor) = ob.cast::<Tensor>() {
            return Ok(DimOrTensor::Tensor(tensor.borrow().clone()));
        }
        if !ob.is_instance_of::<PyBool>()
            && let Ok(dim) = ob.extract::<isize>()
        {
            return Ok(DimOrTensor::Dim(dim));
        }
        Err(PyTypeError::new_err(format!("expected an int or a Tensor, got {}", type_name(&ob))))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for DimsOrFlag {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<DimsOrFlag> {
        if ob.is_instance_of::<PyBool>() { ob.extract().map(DimsOrFlag::Flag) } else { ob.extract().map(DimsOrFlag::Dims) }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Order {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Order> {
        match ob.extract::<String>() {
            Ok(name) => Ok(Order::Name(name)),
            Err(_) => ob.extract().map(Order::Number),
        }
    }
}

/// A number as C's `%g` writes it, with six significant digits.
pub fn six_digits(v: f64) -> String {
    let text = format!("{v:.5e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    if (-4..6).contains(&exponent) {
        return trim(&format!("{v:.*}", (5 - exponent).max(0) as usize));
    }
    format!("{}e{}{:02}", trim(mantissa), if exponent < 0 { '-' } else { '+' }, exponent.abs())
}
