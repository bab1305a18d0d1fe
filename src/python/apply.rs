//! Functions of the user's over single elements: `apply_`, `map_`, `map2_`. Slow, as they are in torch.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::dtype::{Element, Scalar};
use crate::error::Result;
use crate::storage::check_room;
use crate::tape::view;
use crate::tensor::Tensor;

/// All elements in row-major order.
fn numbers(x: &Tensor) -> Result<Vec<Scalar>> {
    check_room::<[Scalar; 2]>(x.numel())?;
    crate::dispatch_all!(x.dtype(), "apply_", T => Ok(x.to_vec::<T>()?.into_iter().map(Element::scalar).collect()))
}

/// Overwrites `x` with what `callable` answers for each of its elements and those of the others.
fn overwrite(op: &'static str, x: &Tensor, others: &[(&str, &Tensor)], callable: &Bound<'_, PyAny>) -> PyResult<()> {
    if x.is_shown() || others.iter().any(|(_, other)| other.is_shown()) {
        let text = format!("Can't call {op}() on Variable that requires grad. Use var.detach().{op}() instead.");
        return Err(PyRuntimeError::new_err(text));
    }
    let mut columns = vec![numbers(x)?];
    for &(name, other) in others {
        if other.dtype() != x.dtype() {
            let [wanted, got] = [x, other].map(|x| x.dtype().type_word());
            return Err(PyTypeError::new_err(format!(
                "{op}: expected torch.{wanted}Tensor for '{name}' (got torch.{got}Tensor)"
            )));
        }
        columns.push(numbers(&other.expand_to(op, x.shape())?)?);
    }
    let answer = |place: usize| -> PyResult<Scalar> {
        let arguments = PyTuple::new(callable.py(), columns.iter().map(|column| column[place]))?;
        callable.call1(arguments)?.extract()
    };
    let answers: Vec<Scalar> = (0..x.numel()).map(answer).collect::<PyResult<_>>()?;
    let result: Result<Tensor> = crate::dispatch_all!(x.dtype(), op, T => {
        Tensor::from_slice::<T>(x.shape(), &answers.iter().map(|answer| answer.to::<T>()).collect::<Vec<T>>())
    });
    Ok(view::in_place(op, x, false, |_| result)?)
}

#[pymethods]
impl Tensor {
    /// Overwrites each element with what `callable` answers for it, as a Python number.
    ///
    /// Raises: RuntimeError if this requires a gradient.
    fn apply_<'py>(slf: Bound<'py, Self>, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        overwrite("apply_", &x, &[], callable)?;
        Ok(slf)
    }

    /// Overwrites each element with what `callable` answers for it and that of another tensor.
    ///
    /// Shape: `tensor` broadcasts to this one. Dtype: the same.
    /// Raises: RuntimeError if one of them requires a gradient, TypeError for different dtypes.
    fn map_<'py>(slf: Bound<'py, Self>, tensor: &Bound<'py, Self>, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let (x, other) = (slf.borrow().clone(), tensor.borrow().clone());
        overwrite("map_", &x, &[("other", &other)], callable)?;
        Ok(slf)
    }

    /// Overwrites each element with what `callable` answers for it and those of two other tensors; see `map_`.
    fn map2_<'py>(
        slf: Bound<'py, Self>,
        x: &Bound<'py, Self>,
        y: &Bound<'py, Self>,
        callable: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let [this, x, y] = [&slf, x, y].map(|tensor| tensor.borrow().clone());
        overwrite("map2_", &this, &[("x", &x), ("y", &y)], callable)?;
        Ok(slf)
    }
}
