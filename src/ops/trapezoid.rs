//! Integrals by the trapezoidal rule.

use pyo3::prelude::*;

use super::arguments::{Dims, Operand};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tensor::Tensor;

/// The areas between neighbours along `dim`: (y_i + y_{i+1}) / 2 times the distance of the points. Between points `x`, as in torch,
/// twice these.
fn areas(op: &'static str, y: &Tensor, x: Option<&Tensor>, dx: &Operand, dim: isize) -> Result<Tensor> {
    if y.rank() == 0 {
        return Err(Error::Index(format!("{op}: dim {dim} was given for a tensor without dimensions")));
    }
    if y.dtype() == DType::Bool || x.is_some_and(|x| x.dtype() == DType::Bool) {
        return runtime_error!("{op}: received a bool input, but bool is not supported");
    }
    let place = y.layout().dim(op, dim)?;
    let both = |t: &Tensor, d: usize| -> Result<(Tensor, Tensor)> {
        let n = t.shape()[d].saturating_sub(1);
        Ok((t.slice_at(d, 0, n, 1)?, t.slice_at(d, t.shape()[d] - n, n, 1)?))
    };
    let (left, right) = both(y, place)?;
    let sum = (left + right)?;
    let Some(x) = x else {
        return match dx {
            Operand::Number(dx) => sum * half(*dx),
            Operand::Tensor(dx) => sum * (dx / 2.0)?,
        };
    };
    if x.rank() == 0 {
        return Err(Error::Index(format!("{op}: x must have at least one dimension")));
    }
    // A line of points counts along `dim`; more dims count from the last, as when broadcasting.
    let along = if x.rank() == 1 { 0 } else { (place + x.rank()).checked_sub(y.rank()).unwrap_or(usize::MAX) };
    if along >= x.rank() || x.shape()[along] != y.shape()[place] {
        return runtime_error!(
            "{op}: there must be one x value for each sample point, got x of shape {:?} and y of shape {:?}",
            x.shape(),
            y.shape()
        );
    }
    let (from, to) = both(x, along)?;
    let mut distance = (to - from)?;
    if x.rank() == 1 {
        let mut shape = vec![1; y.rank() - place];
        shape[0] = distance.shape()[0];
        distance = distance.view_as_shape(&shape)?;
    }
    sum * distance
}

fn half(x: Scalar) -> Scalar {
    match x {
        Scalar::Complex(x) => Scalar::Complex(x / 2.0),
        x => Scalar::Float(x.to_f64() / 2.0),
    }
}

/// The integral of samples `y` along `dim` by the trapezoidal rule, at the points `x` or `dx` apart.
#[pyfunction]
#[pyo3(signature = (y, x=None, *, dx=Operand::Number(Scalar::Int(1)), dim=-1))]
pub fn trapezoid(y: &Tensor, x: Option<PyRef<'_, Tensor>>, dx: Operand, dim: isize) -> Result<Tensor> {
    let dims = || Some(Dims(smallvec::smallvec![dim]));
    if x.is_some() || y.rank() == 0 || y.dtype() == DType::Bool {
        let sum = areas("trapezoid", y, x.as_deref(), &dx, dim)?.sum(dims(), false, None)?;
        return if x.is_some() { sum / 2.0 } else { Ok(sum) };
    }
    let place = y.layout().dim("trapezoid", dim)?;
    let n = y.shape()[place];
    if n == 0 {
        return y.sum(dims(), false, Some(y.dtype()));
    }
    // At even distances all samples count, the outer ones half, which is how torch rounds (and wraps integers).
    let ends = (y.select(dim, 0)? + y.select(dim, -1)?)?;
    (y.sum(dims(), false, None)? - (ends * 0.5)?)? * dx
}

/// The older name of `trapezoid`.
#[pyfunction]
#[pyo3(signature = (y, x=None, *, dx=Operand::Number(Scalar::Int(1)), dim=-1))]
pub fn trapz(y: &Tensor, x: Option<PyRef<'_, Tensor>>, dx: Operand, dim: isize) -> Result<Tensor> {
    trapezoid(y, x, dx, dim)
}

/// The running integral of samples `y` along `dim` by the trapezoidal rule, at the points `x` or `dx` apart.
#[pyfunction]
#[pyo3(signature = (y, x=None, *, dx=Operand::Number(Scalar::Int(1)), dim=-1))]
pub fn cumulative_trapezoid(y: &Tensor, x: Option<PyRef<'_, Tensor>>, dx: Operand, dim: isize) -> Result<Tensor> {
    let sums = areas("cumulative_trapezoid", y, x.as_deref(), &dx, dim)?.cumsum(dim, None)?;
    if x.is_some() { sums / 2.0 } else { Ok(sums) }
}
