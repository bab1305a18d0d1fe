//! Norms as `ferrograd.linalg` has them: of vectors, of matrices, and of either by the arguments given.

use pyo3::prelude::*;

use super::arguments::{Dims, Order};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tensor::Tensor;

/// The p-norm of vectors along `dim`, of all elements if None.
///
/// Dtype: float. `dtype` is what is computed in; it may not be narrower than the input's.
/// Derivative: 0 where the norm is 0.
#[pyfunction]
#[pyo3(signature = (x, ord=Scalar::Int(2), dim=None, keepdim=false, *, dtype=None))]
pub fn vector_norm(x: &Tensor, ord: Scalar, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    x.vector_norm(ord.to_f64(), dim.as_deref(), keepdim, dtype)
}

/// The norm of matrices in two dims: "fro", 1 and -1 (largest and smallest sum of a column), inf and -inf (of a row).
///
/// Dtype: float.
#[pyfunction]
#[pyo3(signature = (A, ord=Order::Name("fro".into()), dim=Dims(smallvec::smallvec![-2, -1]), keepdim=false, *, dtype=None))]
#[allow(non_snake_case)]
pub fn matrix_norm(A: &Tensor, ord: Order, dim: Dims, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    let a = A;
    if a.rank() < 2 {
        return runtime_error!("linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got {}", a.rank());
    }
    let &[row, column] = &*dim else {
        return runtime_error!("linalg.matrix_norm: dim must be a 2-tuple. Got {dim:?}");
    };
    let (row, column) = (a.layout().dim("linalg.matrix_norm", row)?, a.layout().dim("linalg.matrix_norm", column)?);
    if row == column {
        return runtime_error!("linalg.matrix_norm: dims must be different. Got ({row}, {column})");
    }
    let p = match ord {
        Order::Name(name) if name == "fro" => return a.vector_norm(2.0, Some(&dim), keepdim, dtype),
        Order::Name(name) if name == "nuc" => f64::NAN,
        Order::Name(name) => return runtime_error!("linalg.matrix_norm: Order {name} not supported."),
        Order::Number(p) => p.to_f64(),
    };
    if p.abs() != 1.0 && !p.is_infinite() {
        if p.is_nan() || p.abs() == 2.0 {
            return Err(Error::NotImplemented("linalg.matrix_norm: norms by singular values are not available yet".into()));
        }
        return runtime_error!("linalg.matrix_norm: Order {p} not supported.");
    }
    let (inner, outer) = if p.is_infinite() { (column, row) } else { (row, column) };
    let sums = a.vector_norm(1.0, Some(&[inner as isize]), true, dtype)?;
    let over = Dims(smallvec::smallvec![outer as isize]);
    let y = match p > 0.0 {
        // The largest of no sums is 0.
        true if sums.shape()[outer] == 0 => sums.sum(Some(over), true, None)?,
        true => sums.amax(over, true)?,
        false => sums.amin(over, true)?,
    };
    if keepdim { Ok(y) } else { y.squeeze_dims(&[inner, outer]) }
}

/// The norm of a vector or a matrix: `matrix_norm` if `ord` is given for a matrix or two dims, else `vector_norm`.
///
/// Dtype: float.
#[pyfunction]
#[pyo3(signature = (A, ord=None, dim=None, keepdim=false, *, dtype=None))]
#[allow(non_snake_case)]
pub fn norm(A: &Tensor, ord: Option<Order>, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    let a = A;
    let Some(ord) = ord else {
        return a.vector_norm(2.0, dim.as_deref(), keepdim, dtype);
    };
    if let Some(dim) = &dim
        && !matches!(dim.len(), 1 | 2)
    {
        return runtime_error!("linalg.norm: If dim is specified, it must be of length 1 or 2. Got {dim:?}");
    }
    if dim.is_none() && !matches!(a.rank(), 1 | 2) {
        return runtime_error!("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {}D.", a.rank());
    }
    let matrix = dim.as_ref().map_or(a.rank(), |dim| dim.len()) == 2;
    match ord {
        ord if matrix => matrix_norm(a, ord, dim.unwrap_or(Dims(smallvec::smallvec![0, 1])), keepdim, dtype),
        Order::Number(p) => a.vector_norm(p.to_f64(), dim.as_deref(), keepdim, dtype),
        Order::Name(_) => matrix_norm(a, ord, dim.unwrap_or(Dims(smallvec::smallvec![0])), keepdim, dtype),
    }
}
