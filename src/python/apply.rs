//! Functions of the user's over single elements: `apply_`, `map_`, `map2_`. Slow, as they are in torch.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::dtype::Scalar;
use crate::error::Result;
use crate::layout::Layout;
use crate::tape::level::before_write;
use crate::tape::view;
use crate::tensor::Tensor;

/// Overwrites the elements of `x`, one after the other in row-major order, with what `callable` answers for each of them and those of
/// the others. That counts as no write to `x`, as in torch.
fn overwrite(op: &'static str, x: &Tensor, others: &[(&str, &Tensor)], callable: &Bound<'_, PyAny>) -> PyResult<()> {
    if x.is_shown() || others.iter().any(|(_, other)| other.is_shown()) {
        let text = format!("Can't call {op}() on Variable that requires grad. Use var.detach().{op}() instead.");
        return Err(PyRuntimeError::new_err(text));
    }
    before_write(op, x)?;
    view::check_inference(op, x)?;
    let mut operands = vec![x.detached(false)];
    for &(name, other) in others {
        if other.dtype() != x.dtype() {
            let [wanted, got] = [x, other].map(|x| x.dtype().type_word());
            return Err(PyTypeError::new_err(format!(
                "{op}: expected torch.{wanted}Tensor for '{name}' (got torch.{got}Tensor)"
            )));
        }
        operands.push(other.detached(false).expand_to(op, x.shape())?);
    }
    for place in 0..x.numel() {
        let element = |x: &Tensor| x.with_layout(Layout { offset: x.layout().offset_of(place), ..Layout::contiguous(&[]) });
        let elements: Vec<Tensor> = operands.iter().map(element).collect();
        let numbers = elements.iter().map(Tensor::scalar).collect::<Result<Vec<_>>>()?;
        let answer: Scalar = callable.call1(PyTuple::new(callable.py(), numbers)?)?.extract()?;
        elements[0].fill(answer)?;
    }
    Ok(())
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
