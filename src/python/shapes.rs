//! Arguments and results of the ops on shapes: sizes, lists of tensors, memory formats.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyString, PyTuple};
use pyo3::{Borrowed, FromPyObject, intern};

use super::arguments::type_name;
use super::function::ask_for_method;
use crate::dtype::DType;
use crate::ops::arguments::{
    Dims, IntList, IntOrInts, IntPair, Objects, Padding, Several, Shapes, Sizes, Tensors, ViewAs, Whole,
};
use crate::tensor::Tensor;

impl<'a, 'py> FromPyObject<'a, 'py> for Sizes {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Sizes> {
        let given = ob.cast::<PyTuple>().map_or(true, |tuple| !tuple.is_empty());
        if given { ob.extract().map(|dims| Sizes(Some(dims))) } else { Ok(Sizes(None)) }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for ViewAs {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<ViewAs> {
        if let Ok(tuple) = ob.cast::<PyTuple>() {
            if tuple.is_empty() {
                return Ok(ViewAs::Nothing);
            }
            let first = tuple.get_borrowed_item(0)?;
            let is_size = first.is_instance_of::<PyInt>() || first.is_instance_of::<PyTuple>();
            if tuple.len() == 1
                && !is_size
                && let Ok(dtype) = first.extract::<DType>()
            {
                return Ok(ViewAs::DType(dtype));
            }
        }
        ob.extract().map(ViewAs::Shape)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for IntOrInts {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<IntOrInts> {
        if let Ok(tensor) = ob.cast::<Tensor>() {
            let tensor = tensor.borrow();
            if tensor.rank() > 1 || tensor.dtype() != DType::I64 {
                let what = "expected a tensor of int64 with at most one dim as indices or sections";
                return Err(crate::error::Error::Runtime(what.into()).into());
            }
            let list: Vec<i64> = tensor.to_vec()?;
            return Ok(match (tensor.rank(), &list[..]) {
                (0, &[n]) => IntOrInts::Int(n as isize),
                _ => IntOrInts::Ints(Dims(list.iter().map(|&n| n as isize).collect())),
            });
        }
        if ob.is_instance_of::<PyTuple>() || ob.is_instance_of::<PyList>() {
            return ob.extract().map(IntOrInts::Ints);
        }
        ob.extract().map(IntOrInts::Int)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Objects<'py> {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Objects<'py>> {
        let (tensors, sequence) = tensors(&ob, |object| object)?;
        Ok(Objects(tensors, sequence))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Tensors {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Tensors> {
        let (tensors, sequence) = tensors(&ob, |object| object.borrow().clone())?;
        Ok(Tensors(tensors, sequence))
    }
}

/// Tensors given one by one or as a sequence, and whether as one.
fn tensors<'py, T>(ob: &Bound<'py, PyAny>, take: impl Fn(Bound<'py, Tensor>) -> T) -> PyResult<(Vec<T>, bool)> {
    if let Ok(tuple) = ob.cast::<PyTuple>()
        && tuple.len() == 1
    {
        let first = tuple.get_item(0)?;
        if first.is_instance_of::<PyTuple>() || first.is_instance_of::<PyList>() {
            return Ok((tensors_of(&first, take)?, true));
        }
    }
    Ok((tensors_of(ob, take)?, ob.is_instance_of::<PyList>()))
}

fn tensors_of<'py, T>(ob: &Bound<'py, PyAny>, take: impl Fn(Bound<'py, Tensor>) -> T) -> PyResult<Vec<T>> {
    if !ob.is_instance_of::<PyTuple>() && !ob.is_instance_of::<PyList>() {
        return Err(PyTypeError::new_err(format!("expected a tuple or a list of Tensors, got {}", type_name(ob))));
    }
    let element = |(place, item): (usize, PyResult<Bound<'py, PyAny>>)| {
        let item = item?;
        ask_for_method(item.as_borrowed(), intern!(item.py(), "as_subclass").as_any().as_borrowed())?;
        let tensor = item.cast_into::<Tensor>().map_err(|error| {
            let found = type_name(&error.into_inner());
            PyTypeError::new_err(format!("expected Tensor as element {place}, but got {found}"))
        })?;
        Ok(take(tensor))
    };
    ob.try_iter()?.enumerate().map(element).collect()
}

impl<'py> IntoPyObject<'py> for Several {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Shapes {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Shapes> {
        ob.try_iter()?.map(|item| item?.extract::<Dims>()).collect::<PyResult<_>>().map(Shapes)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Padding {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Padding> {
        match ob.cast::<PyString>() {
            Err(_) => ob.extract().map(Padding::Sizes),
            Ok(name) => match name.to_str()? {
                "valid" => Ok(Padding::Valid),
                "same" => Ok(Padding::Same),
                other => {
                    let text = format!("Invalid padding string: '{other}' (expected 'valid' or 'same')");
                    Err(crate::error::Error::Runtime(text).into())
                }
            },
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for IntList {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<IntList> {
        if ob.is_instance_of::<PyTuple>() || ob.is_instance_of::<PyList>() {
            return ob.extract().map(IntList).map_err(|error: PyErr| PyTypeError::new_err(error.to_string()));
        }
        Err(PyTypeError::new_err(format!("expected a tuple of ints, got {}", type_name(&ob))))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for IntPair {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<IntPair> {
        match ob.extract::<IntList>() {
            Ok(IntList(ints)) => Ok(IntPair(ints)),
            Err(_) => match ob.extract::<Whole>() {
                Ok(Whole(int)) => Ok(IntPair(Dims(smallvec::smallvec![int, int]))),
                Err(error) => Err(PyTypeError::new_err(error.to_string())),
            },
        }
    }
}

/// The shape that some shapes broadcast to; a number is a shape of one dim.
///
/// Raises: RuntimeError if they do not broadcast, ValueError for negative sizes.
#[pyfunction]
#[pyo3(signature = (*shapes))]
pub fn broadcast_shapes<'py>(py: Python<'py>, shapes: Shapes) -> PyResult<Bound<'py, PyAny>> {
    super::size::size_object(py, &crate::ops::join::common_shape(&shapes)?)
}
