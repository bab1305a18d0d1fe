//! Norms as `ferrograd.linalg` has them: of vectors, of matrices, and of either by the arguments given.

use pyo3::prelude::*;

use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::layout::Shape;
use crate::ops::arguments::{Dims, Order};
use crate::ops::norm::{check_norm_dtype, real_order};
use crate::runtime_error;
use crate::tensor::Tensor;

/// The p-norm of vectors along `dim`, of all elements if None.
///
/// Dtype: float. `dtype` is what is computed in; it may not be narrower than the input's.
/// Derivative: 0 where the norm is 0.
#[pyfunction]
#[pyo3(signature = (input, ord=Scalar::Int(2), dim=None, keepdim=false, *, dtype=None))]
pub fn vector_norm(input: &Tensor, ord: Scalar, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    input.norm_of_order(ord, dim.as_deref(), keepdim, dtype)
}

/// The norm of matrices in two dims: "fro"; "nuc", the sum of the singular values; 2 and -2, the largest and the smallest of
/// them; 1 and -1, the largest and smallest sum of a column; inf and -inf, of a row.
///
/// Dtype: float. Derivative: shared evenly among equal singular values for 2 and -2.
#[pyfunction]
#[pyo3(signature = (input, ord=Order::Name("fro".into()), dim=Dims(smallvec::smallvec![-2, -1]), keepdim=false, *, dtype=None))]
pub fn matrix_norm(input: &Tensor, ord: Order, dim: Dims, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    const OP: &str = "linalg.matrix_norm";
    let a = input;
    if a.rank() < 2 {
        return runtime_error!("{OP}: The input tensor A must have at least 2 dimensions.");
    }
    if !a.dtype().is_inexact() {
        return runtime_error!("{OP}: Expected a floating point or complex tensor as input. Got {}", a.dtype().type_word());
    }
    let &[row, column] = &*dim else {
        return runtime_error!("{OP}: dim must be a 2-tuple. Got {:?}", &*dim);
    };
    let (row, column) = (a.layout().dim(OP, row)?, a.layout().dim(OP, column)?);
    if row == column {
        return runtime_error!("{OP}: dims must be different. Got ({row}, {column})");
    }
    if let Some(dtype) = dtype {
        check_norm_dtype(OP, a.dtype(), dtype)?;
    }
    let a = a.to_dtype(dtype.unwrap_or(a.dtype()))?;
    let y = match ord {
        Order::Name(name) if name == "fro" => return a.norm_of_order(Scalar::Int(2), Some(&dim), keepdim, None),
        Order::Name(name) if name == "nuc" => values_last(&a, row, column)?.sum(Some(one_dim(-1)), false, None)?,
        Order::Name(name) => return runtime_error!("{OP}: Order {name} not supported."),
        Order::Number(p) => match real_order(p)? {
            2.0 => largest(&values_last(&a, row, column)?, -1, false)?,
            -2.0 => values_last(&a, row, column)?.amin(one_dim(-1), false)?,
            p if p.abs() == 1.0 || p.is_infinite() => {
                let (inner, outer) = if p.is_infinite() { (column, row) } else { (row, column) };
                let sums = a.vector_norm(1.0, Some(&[inner as isize]), keepdim, None)?;
                let outer = (if keepdim || outer < inner { outer } else { outer - 1 }) as isize;
                return if p > 0.0 { largest(&sums, outer, keepdim) } else { sums.amin(one_dim(outer), keepdim) };
            }
            p => return runtime_error!("{OP}: Order {p} not supported."),
        },
    };
    if !keepdim {
        return Ok(y);
    }
    let (first, second) = (row.min(column) as isize, row.max(column) as isize);
    y.unsqueeze(first)?.unsqueeze(second)
}

fn one_dim(dim: isize) -> Dims {
    Dims(smallvec::smallvec![dim])
}

/// The largest along a dim; 0 of none.
fn largest(x: &Tensor, dim: isize, keepdim: bool) -> Result<Tensor> {
    let size = x.shape()[x.layout().dim("linalg.matrix_norm", dim)?];
    if size == 0 { x.sum(Some(one_dim(dim)), keepdim, None) } else { x.amax(one_dim(dim), keepdim) }
}

/// The singular values of the matrices in two dims, as the last dim.
fn values_last(a: &Tensor, row: usize, column: usize) -> Result<Tensor> {
    let order: Shape = (0..a.rank()).filter(|&d| d != row && d != column).chain([row, column]).collect();
    a.permuted(&order)?.singular_values("linalg.matrix_norm")
}

/// The norm of a vector or a matrix: `matrix_norm` if `ord` is given for a matrix or two dims, else `vector_norm`.
///
/// Dtype: float.
#[pyfunction]
#[pyo3(signature = (input, ord=None, dim=None, keepdim=false, *, dtype=None))]
pub fn norm(input: &Tensor, ord: Option<Order>, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    let a = input;
    let Some(ord) = ord else {
        return a.norm_of_order(Scalar::Float(2.0), dim.as_deref(), keepdim, dtype);
    };
    if let Some(dim) = &dim
        && !matches!(dim.len(), 1 | 2)
    {
        return runtime_error!("linalg.norm: If dim is specified, it must be of length 1 or 2. Got {:?}", &**dim);
    }
    if dim.is_none() && !matches!(a.rank(), 1 | 2) {
        return runtime_error!("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {}D.", a.rank());
    }
    let matrix = dim.as_ref().map_or(a.rank(), |dim| dim.len()) == 2;
    match ord {
        ord if matrix => matrix_norm(a, ord, dim.unwrap_or(Dims(smallvec::smallvec![0, 1])), keepdim, dtype),
        Order::Number(p) => a.norm_of_order(p, dim.as_deref(), keepdim, dtype),
        Order::Name(_) => matrix_norm(a, ord, dim.unwrap_or(Dims(smallvec::smallvec![0])), keepdim, dtype),
    }
}
