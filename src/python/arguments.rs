//! How Python objects become arguments of ops, and what is said if they cannot.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyTuple};
use pyo3::{Borrowed, FromPyObject};

use crate::dtype::Scalar;
use crate::ops::arguments::{DimOrTensor, Dims, DimsOrFlag, Operand, Order};
use crate::tensor::Tensor;

/// The type of an object, for messages.
pub fn type_name(ob: &Bound<'_, PyAny>) -> String {
    ob.get_type().to_string()
}

/// A number: bool, int, float, or anything that turns into one without loss (numpy's scalars).
fn number(ob: &Bound<'_, PyAny>) -> Option<PyResult<Scalar>> {
    if ob.is_instance_of::<PyFloat>() {
        return Some(ob.extract::<f64>().map(Scalar::Float));
    }
    if ob.is_instance_of::<PyBool>() {
        return Some(ob.extract::<bool>().map(Scalar::Bool));
    }
    if ob.is_instance_of::<PyInt>() {
        return Some(ob.extract::<i64>().map(Scalar::Int));
    }
    None
}

impl<'a, 'py> FromPyObject<'a, 'py> for Scalar {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Scalar> {
        match number(&ob) {
            Some(value) => value,
            None => Err(PyTypeError::new_err(format!("expected a number, got {}", type_name(&ob)))),
        }
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

impl<'a, 'py> FromPyObject<'a, 'py> for Dims {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Dims> {
        if let Ok(tuple) = ob.cast::<PyTuple>() {
            if tuple.len() == 1 && !tuple.get_item(0)?.is_instance_of::<PyInt>() {
                return tuple.get_item(0)?.extract();
            }
            return tuple.iter().map(|item| item.extract::<isize>()).collect::<PyResult<_>>().map(Dims);
        }
        if let Ok(list) = ob.cast::<PyList>() {
            return list.iter().map(|item| item.extract::<isize>()).collect::<PyResult<_>>().map(Dims);
        }
        if let Ok(dim) = ob.extract::<isize>() {
            return Ok(Dims(smallvec::smallvec![dim]));
        }
        Err(PyTypeError::new_err(format!("expected an int or a tuple of ints, got {}", type_name(&ob))))
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
