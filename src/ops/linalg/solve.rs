//! Systems of linear equations, and inverses.

use pyo3::prelude::*;

use super::lu::Factors;
use super::{broadcast_batch, check_inexact, check_info, check_same_dtype, check_square, minus, record, record_saving, sides};
use crate::error::Result;
use crate::layout::{Shape, broadcast_shapes};
use crate::ops::arguments::Named;
use crate::runtime_error;
use crate::saves;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;

/// Fails unless the sides of A and B fit.
pub(super) fn check_sides(op: &str, a: &Tensor, b: &Tensor, left: bool) -> Result<()> {
    let ((n, _), (rows, columns)) = (sides(a), sides(b));
    if n != if left { rows } else { columns } {
        let equation = if left { "AX = B" } else { "XA = B" };
        return runtime_error!("{op}: Incompatible shapes of A and B for the equation {equation} ({n}x{n} and {rows}x{columns})");
    }
    Ok(())
}

/// Fails unless A and B make a system.
pub(super) fn check_system(op: &str, a: &Tensor, b: &Tensor, left: bool) -> Result<()> {
    check_inexact(op, a)?;
    check_same_dtype(op, a, b)?;
    check_square(op, "A", a)?;
    check_sides(op, a, b, left)
}

/// Whether B is a batch of vectors rather than of matrices.
fn is_vector(a: &Tensor, b: &Tensor) -> bool {
    b.rank() == 1 || (a.rank() >= 1 && b.rank() == a.rank() - 1 && b.shape() == &a.shape()[..a.rank() - 1])
}

fn check_solvable(op: &str, info: &Tensor) -> Result<()> {
    check_info(op, info, &|_| "The solver failed because the input matrix is singular.".to_string())
}

/// X with A X = B (or X A = B), and for each matrix 0 or the number of a pivot that is zero.
fn solved(op: &str, a: &Tensor, b: &Tensor, left: bool) -> Result<[Tensor; 2]> {
    check_inexact(op, a)?;
    check_same_dtype(op, a, b)?;
    check_square(op, "A", a)?;
    let vector = is_vector(a, b);
    if vector && !left {
        return runtime_error!(
            "{op}: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        );
    }
    if vector {
        let lead = broadcast_shapes("linalg_solve", &a.shape()[..a.rank() - 2], &b.shape()[..b.rank() - 1])?;
        let column = without_recording(|| b.unsqueeze(-1))?;
        check_sides(op, a, &column, true)?;
        let shape: Shape = lead.iter().chain(b.shape().last()).copied().collect();
        return solved_matrices(a, &b.expand_to("linalg_solve", &shape)?, true, true);
    }
    super::check_matrices(op, "B", b)?;
    check_sides(op, a, b, left)?;
    let batch = broadcast_batch("linalg_solve", a, b)?;
    solved_matrices(a, &b.with_batch("linalg_solve", &batch)?, left, false)
}

/// The same for B with the dims of the result; it may be a `vector`.
fn solved_matrices(a: &Tensor, b: &Tensor, left: bool, vector: bool) -> Result<[Tensor; 2]> {
    let (x, factors) = without_recording(|| {
        let factors = Factors::of(a)?;
        let columns = if vector { b.unsqueeze(-1)? } else { b.clone() };
        let x = factors.solve(&columns.detached_read()?, left, false)?.to_dtype(b.dtype())?;
        let x = if vector { x.squeeze_dims(&[x.rank() - 1])? } else { x };
        Ok::<_, crate::error::Error>((if vector && x.rank() > 1 { x.with_columns()? } else { x }, factors))
    })?;
    let (info, factors) = (factors.info.clone(), if is_recording() { Some(factors) } else { None });
    record_saving("linalg_solve_ex", &[a, b], &[a], [x, info], saves! { left }, move |back| {
        let ([a], Some(x), Some(g)) = (back.saved, back.y.first(), back.g(0)) else { return Ok(vec![None, None]) };
        let (x, g) = if vector { (x.unsqueeze(-1)?, g.unsqueeze(-1)?) } else { (x.clone(), g.clone()) };
        let of_b = match &factors {
            Some(factors) if !is_recording() => {
                a.check_saved()?;
                factors.solve(&g.detached_read()?, left, true)?.to_dtype(g.dtype())?
            }
            _ => solved_matrices(&a.mh()?, &g, left, false).map(|[of_b, _]| of_b)?,
        };
        let of_a = back.wants(0).then(|| minus(if left { of_b.matmul(&x.mh()?) } else { x.mh()?.matmul(&of_b) }));
        let of_b = if vector { of_b.squeeze_dims(&[of_b.rank() - 1])? } else { of_b };
        Ok(vec![of_a.transpose()?, Some(of_b)])
    })
    .map(|[x, info]| [x.watching_itself(), info])
}

impl Tensor {
    /// X with A X = B, for rules; a singular A gives infinities or NaN.
    pub(crate) fn solved(&self, b: &Tensor) -> Result<Tensor> {
        let batch = broadcast_batch("linalg_solve", self, b)?;
        let [x, _] = solved_matrices(self, &b.with_batch("linalg_solve", &batch)?, true, false)?;
        Ok(x)
    }

    /// The inverse, and for each matrix 0 or the number of a pivot that is zero.
    fn inverted(&self, op: &str) -> Result<[Tensor; 2]> {
        let a = self;
        check_square(op, "A", a)?;
        check_inexact(op, a)?;
        let (y, info) = without_recording(|| {
            let factors = Factors::of(a)?;
            let one = super::identity(a.shape(), factors.lu.dtype())?;
            Ok::<_, crate::error::Error>((factors.solve(&one, true, false)?.to_dtype(a.dtype())?, factors.info))
        })?;
        record("linalg_inv_ex", &[a], &[], [y, info], |back| {
            let (Some(y), Some(g)) = (back.y.first(), back.g(0)) else { return Ok(vec![None]) };
            let adjoint = y.mh()?;
            Ok(vec![Some(minus(adjoint.matmul(&g.matmul(&adjoint)?))?)])
        })
    }
}

fn check_invertible(op: &str, info: &Tensor) -> Result<()> {
    check_info(op, info, &|k| {
        format!("The diagonal element {k} is zero, the inversion could not be completed because the input matrix is singular.")
    })
}

/// The solution X of A X = B or, if `left` is false, X A = B, by LU decomposition.
///
/// Shape: (*, n, n) and (*, n, k), where the leading dims broadcast, or vectors: (n,), or (*, n) with the same leading dims.
/// Dtype: float or complex, the same. Raises: LinAlgError if a matrix is singular.
#[pyfunction]
#[pyo3(signature = (A, B, *, left=true))]
#[allow(non_snake_case)]
pub fn solve(A: &Tensor, B: &Tensor, left: bool) -> Result<Tensor> {
    let [x, info] = solved("linalg.solve", A, B, left)?;
    check_solvable("torch.linalg.solve", &info)?;
    Ok(x)
}

/// [`solve`] without a check unless `check_errors` is true: `info` is 0, or the number of a pivot that is zero.
#[pyfunction]
#[pyo3(signature = (A, B, *, left=true, check_errors=false))]
#[allow(non_snake_case)]
pub fn solve_ex(A: &Tensor, B: &Tensor, left: bool, check_errors: bool) -> Result<Named> {
    let [x, info] = solved("linalg.solve", A, B, left)?;
    if check_errors {
        check_solvable("linalg.solve_ex", &info)?;
    }
    Ok(Named::new("linalg_solve_ex", [x, info]))
}

/// The inverse of square matrices.
///
/// Shape: (*, n, n), kept. Dtype: float or complex. Raises: LinAlgError if a matrix is singular.
#[pyfunction]
#[pyo3(signature = (A))]
#[allow(non_snake_case)]
pub fn inv(A: &Tensor) -> Result<Tensor> {
    let [y, info] = A.inverted("linalg.inv")?;
    check_invertible("linalg.inv", &info)?;
    Ok(y)
}

/// [`inv`] without a check unless `check_errors` is true: `info` is 0, or the number of a pivot that is zero.
#[pyfunction]
#[pyo3(signature = (A, *, check_errors=false))]
#[allow(non_snake_case)]
pub fn inv_ex(A: &Tensor, check_errors: bool) -> Result<Named> {
    let [y, info] = A.inverted("linalg.inv_ex")?;
    if check_errors {
        check_invertible("linalg.inv_ex", &info)?;
    }
    Ok(Named::new("linalg_inv_ex", [y, info]))
}

#[pymethods]
impl Tensor {
    /// The inverse of square matrices; see `linalg.inv`.
    pub fn inverse(&self) -> Result<Tensor> {
        inv(self)
    }
}
