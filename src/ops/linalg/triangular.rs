//! Triangular systems.

use pyo3::prelude::*;

use super::{broadcast_batch, check_kernel, check_same_dtype, check_square, count, each, minus, record_saving, sides};
use crate::error::Result;
use crate::interpreter::Once;
use crate::kernels::linalg::triangular::{Triangle, solve};
use crate::ops::arguments::Named;
use crate::runtime_error;
use crate::saves;
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// X with A X = B, or X A = B, off the tape; both have the same leading dims.
fn solved(a: &Tensor, b: &Tensor, upper: bool, left: bool, unit: bool) -> Result<Tensor> {
    let (shape, n) = (super::batch(b, 2), sides(a).0);
    // X A = B is A^T X^T = B^T: what are columns there are rows here.
    let (a, b, dtype) = (a.by_columns()?, if left { b.by_columns()? } else { b.by_rows()? }, b.dtype());
    if b.numel() > 0 {
        with_field!(b, T => each(count(&shape), &[n, sides(&b).0, sides(&b).1], [&a, &b], &|[mut a, mut b]| {
            solve::<T>(Triangle { a: a.of(), n, by_rows: !left, upper: upper == left, unit }, b.of());
        }));
    }
    b.to_dtype(dtype)?.with_columns()
}

impl Tensor {
    /// The solution of A X = B or, if not `left`, X A = B, for a triangular A; the leading dims broadcast. On the tape.
    pub(crate) fn triangular_solved(&self, b: &Tensor, upper: bool, left: bool, unit: bool) -> Result<Tensor> {
        let batch = broadcast_batch("linalg_solve_triangular", self, b)?;
        let (a, b) = (&self.with_batch("linalg_solve_triangular", &batch)?, &b.with_batch("linalg_solve_triangular", &batch)?);
        let y = without_recording(|| solved(a, b, upper, left, unit))?;
        let [y] = record_saving(
            "linalg_solve_triangular",
            &[a, b],
            &[a],
            [y],
            saves! { upper, left, unitriangular: unit },
            move |back| {
                let ([a], [x], Some(g)) = (back.saved, &*back.y, back.g(0)) else { return Ok(vec![None, None]) };
                let of_b = a.mh()?.triangular_solved(g, !upper, left, unit)?;
                let of_a = back.wants(0).then(|| of_a(&of_b, x, upper, left, unit)).transpose()?;
                Ok(vec![of_a, Some(of_b)])
            },
        )?;
        Ok(y.watching_itself())
    }
}

/// The gradient of A, of which one triangle counts.
fn of_a(of_b: &Tensor, x: &Tensor, upper: bool, left: bool, unit: bool) -> Result<Tensor> {
    let g = minus(if left { of_b.matmul(&x.mh()?) } else { x.mh()?.matmul(of_b) })?;
    let beside = unit as isize;
    if upper { g.triu(beside) } else { g.tril(-beside) }
}

/// Fails unless A and B fit.
fn check(op: &'static str, a: &Tensor, b: &Tensor, left: bool) -> Result<()> {
    check_kernel("triangular_solve", a)?;
    check_same_dtype(op, a, b)?;
    check_square(op, "A", a)?;
    super::check_matrices(op, "B", b)?;
    super::solve::check_sides(op, a, b, left)
}

/// X with A X = B or, if `left` is false, X A = B, for triangular matrices A. The other triangle is not read, nor is the diagonal
/// if it counts as 1 (`unitriangular`).
///
/// Shape: (*, n, n) and (*, n, k) (not left: (*, k, n)), where the leading dims broadcast. Dtype: float or complex, the same.
/// Raises: RuntimeError if they do not fit. A zero on the diagonal gives infinities or NaN.
#[pyfunction]
#[pyo3(signature = (A, B, *, upper, left=true, unitriangular=false))]
#[allow(non_snake_case)]
pub fn solve_triangular(A: &Tensor, B: &Tensor, upper: bool, left: bool, unitriangular: bool) -> Result<Tensor> {
    const OP: &str = "linalg.solve_triangular";
    check(OP, A, B, left)?;
    A.triangular_solved(B, upper, left, unitriangular)
}

#[pymethods]
impl Tensor {
    /// X with A X = self for triangular matrices A, which are transposed first if `transpose` is true, and a copy of A.
    ///
    /// Shape: (*, n, k) and (*, n, n), where the leading dims broadcast. Dtype: float or complex, the same.
    #[pyo3(signature = (A, upper=true, transpose=false, unitriangular=false))]
    #[allow(non_snake_case)]
    pub fn triangular_solve(&self, A: &Tensor, upper: bool, transpose: bool, unitriangular: bool) -> Result<Named> {
        const OP: &str = "triangular_solve";
        static OLD: Once = Once::new(
            c"torch.triangular_solve is deprecated in favor of torch.linalg.solve_triangular, which takes (A, B) and answers X only.",
        );
        OLD.warn()?;
        for (name, x) in [("b", self), ("A", A)] {
            if x.rank() < 2 {
                return runtime_error!(
                    "torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it has {} dimensions instead",
                    x.rank()
                );
            }
        }
        check(OP, A, self, true)?;
        let batch = broadcast_batch(OP, self, A)?;
        let (b, a) = (self.with_batch(OP, &batch)?, A.with_batch(OP, &batch)?);
        let solve = move |a: &Tensor, b: &Tensor| {
            if transpose {
                a.mt()?.triangular_solved(b, !upper, true, unitriangular)
            } else {
                a.triangular_solved(b, upper, true, unitriangular)
            }
        };
        let (x, copy) =
            without_recording(|| Ok::<_, crate::error::Error>((solve(&a, &b)?, a.by_columns()?.to_dtype(a.dtype())?)))?;
        let [x, copy] =
            record_saving(OP, &[&b, &a], &[&a], [x, copy], saves! { upper, transpose, unitriangular }, move |back| {
                let ([a], Some(x)) = (back.saved, back.y.first()) else { return Ok(vec![None, None]) };
                let Some(g) = back.g(0) else { return Ok(vec![None, back.g(1).cloned()]) };
                let (of_b, mut of_a) = if transpose {
                    let of_b = a.conj()?.triangular_solved(g, upper, true, unitriangular)?;
                    let of_a = of_a(&x.conj()?, &of_b.conj()?, upper, true, unitriangular)?;
                    (of_b, of_a)
                } else {
                    let of_b = a.mh()?.triangular_solved(g, !upper, true, unitriangular)?;
                    let of_a = of_a(&of_b, x, upper, true, unitriangular)?;
                    (of_b, of_a)
                };
                if let Some(copy) = back.g(1) {
                    of_a = (of_a + copy)?;
                }
                Ok(vec![Some(of_b), Some(of_a)])
            })?;
        Ok(Named::new(OP, [x.watching(&[self]), copy]))
    }
}
