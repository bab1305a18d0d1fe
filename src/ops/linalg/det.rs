//! Determinants.

use pyo3::prelude::*;

use super::lu::Factors;
use super::{batch, check_inexact, check_square, count, epsilon, real_of, record, sides, wide};
use crate::dtype::{C128, DType, Scalar};
use crate::error::Result;
use crate::kernels::linalg::Field;
use crate::ops::arguments::Named;
use crate::tape::mode::is_forward;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;
use crate::vjp;

/// The sign of a number, 0 for NaN, or the phase of a complex one, of which the size is given.
fn sign_of<T: Field>(v: T, size: f64) -> T {
    if size == 0.0 {
        T::ZERO
    } else if T::IS_COMPLEX {
        v.over(T::real(size))
    } else if v.re().is_nan() {
        T::ZERO
    } else {
        T::real(v.re().signum())
    }
}

/// A determinant, its sign and the logarithm of its absolute value.
fn of_factors<T: Field>(n: usize, lu: &[T], pivots: &[i32]) -> (T, T, f64) {
    let exchanges = pivots.iter().enumerate().filter(|&(i, &p)| p as usize != i + 1).count();
    let mut product = T::real(if exchanges % 2 == 0 { 1.0 } else { -1.0 });
    let (mut sign, mut log) = (product, 0.0);
    for i in 0..n {
        let (v, size) = (lu[i * n + i], lu[i * n + i].size());
        product = product * v;
        log += size.ln();
        sign = sign * sign_of(v, size);
    }
    (product, sign, log)
}

/// Determinants, their signs and the logarithms of their absolute values; off the tape.
fn determinants(op: &'static str, a: &Tensor) -> Result<[Tensor; 3]> {
    check_square(op, "A", a)?;
    check_inexact(op, a)?;
    let (shape, n) = (batch(a, 2), sides(a).0);
    let Factors { lu, pivots, .. } = Factors::of(a)?;
    let new = |dtype: DType| Tensor::uninitialized(op, &shape, dtype);
    let (det, sign, log) = (new(wide(a.dtype()))?, new(wide(a.dtype()))?, new(DType::F64)?);
    with_field!(lu, T => super::each(count(&shape), &[n], [&lu, &pivots, &det, &sign, &log], &|[mut lu, mut pivots, mut det, mut sign, mut log]| {
        (det.of()[0], sign.of()[0], log.of()[0]) = of_factors::<T>(n, lu.of(), pivots.of());
    }));
    Ok([det.to_dtype(a.dtype())?, sign.to_dtype(a.dtype())?, log.to_dtype(real_of(a.dtype()))?])
}

/// A determinant with its rule: g det^* A^-H, which has a limit at singular matrices. Of these torch has no gradient but where it is
/// to be differentiated again.
fn det_of(op: &'static str, a: &Tensor) -> Result<Tensor> {
    let [y, ..] = without_recording(|| determinants(op, a))?;
    // Torch saves what it has made of the matrices.
    let a = a.fixed();
    vjp!("linalg_det", y, { a: |g, y| {
        if sides(&a).0 == 1 && !is_forward() {
            // A number is its own determinant, also if it is 0.
            return g.unsqueeze(-1)?.unsqueeze(-1);
        }
        let tiny = 100.0 * epsilon(a.dtype());
        if !is_recording() {
            return of_regular(&a, &(g * y.conj())?, |a, right| {
                let [lu, pivots] = regular_factors(a)?;
                super::lu::linalg_lu_solve(&lu, &pivots, right, true, true)
            });
        }
        if is_forward() {
            // 0 for singular matrices.
            return of_regular(&a, &(g * y.conj())?, |a, right| {
                let [lu, pivots] = regular_factors(a)?;
                super::lu::linalg_lu_solve(&lu, &pivots, right, true, true)
            });
        }
        if y.detached(false).abs()?.lt(tiny.into())?.any(None, false)?.scalar()?.truth() {
            return of_singular(&a, g);
        }
        of_regular(&a, &(g * y.conj())?, |a, right| a.mh()?.solved(right))
    } })
}

/// A^-H times numbers.
fn of_regular(a: &Tensor, scale: &Tensor, solve: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let right = scale.unsqueeze(-1)?.expand_to("linalg_det", &a.shape()[..a.rank() - 1])?.diag_embed(0, -2, -1)?;
    solve(a, &right)
}

/// The gradient of a determinant by singular values: U diag(the products of all but one of them) V^H.
fn of_singular(a: &Tensor, g: &Tensor) -> Result<Tensor> {
    let super::svd::Factors { u, s, vh } = a.factors(false)?;
    let (last, n) = (s.rank() - 1, s.shape()[s.rank() - 1]);
    let one = (s.slice_at(last, 0, 1, 1)?.as_zeros()? + 1.0)?;
    let before = Tensor::joined("cat", &[one.clone(), s.slice_at(last, 0, n - 1, 1)?], last)?.cumprod(-1, None)?;
    let behind = Tensor::joined("cat", &[one, s.flipped(&[last])?.slice_at(last, 0, n - 1, 1)?], last)?.cumprod(-1, None)?;
    let others = (before * behind.flipped(&[last])?)?;
    let phase = (g * (det_of("linalg.det", &u)? * det_of("linalg.det", &vh)?)?.conj())?;
    let scale = (phase.unsqueeze(-1)? * others)?;
    (u * scale.unsqueeze(-2)?)?.matmul(&vh)
}

/// L and U of matrices without zeros on the diagonal, and pivots.
fn regular_factors(a: &Tensor) -> Result<[Tensor; 2]> {
    let [lu, pivots] = super::lu::factored_pair(a)?;
    let diagonal = lu.diagonal(0, -2, -1)?;
    let lu = lu.with_diagonal(&diagonal.equals(0.0)?.choose_or(epsilon(a.dtype()), &diagonal)?)?;
    Ok([lu, pivots])
}

/// Sign and logarithm with their rule.
fn slogdet_of(op: &'static str, a: &Tensor) -> Result<[Tensor; 2]> {
    let [_, sign, log] = without_recording(|| determinants(op, a))?;
    // As above.
    record("linalg_slogdet", &[a], &[&a.fixed()], [sign, log], |back| {
        let ([a], [sign, _]) = (back.saved, &*back.y) else { return Ok(vec![None]) };
        let turn = |g: &Tensor| ((g.conj()? * sign)?.imag()? * Scalar::Complex(C128::new(0.0, -1.0)))?.to_dtype(a.dtype());
        let g = match (back.g(0).filter(|_| a.dtype().is_complex()), back.g(1)) {
            // Of a real sign it is 0.
            (None, None) if is_forward() => return Ok(vec![Some(a.as_zeros()?)]),
            (None, None) => return Ok(vec![None]),
            (None, Some(g)) => g.to_dtype(a.dtype())?,
            (Some(g), None) => turn(g)?,
            (Some(g), Some(h)) => (turn(g)? + h)?,
        };
        let right = g.unsqueeze(-1)?.expand_to("linalg_slogdet", &a.shape()[..a.rank() - 1])?.diag_embed(0, -2, -1)?;
        Ok(vec![Some(a.mh()?.solved(&right)?)])
    })
    .map(|[sign, log]| [sign.watching_itself(), log])
}

/// The determinant of square matrices.
///
/// Shape: (*, n, n) to (*). Dtype: float or complex. Derivative: also of singular matrices.
#[pyfunction(name = "det")]
#[pyo3(signature = (A))]
#[allow(non_snake_case)]
pub fn linalg_det(A: &Tensor) -> Result<Tensor> {
    det_of("linalg.det", A)
}

/// The sign of the determinant (of complex matrices, its phase), and the logarithm of its absolute value, which cannot overflow.
///
/// Shape: (*, n, n) to (*) and (*). Dtype: float or complex; the logarithm is real. A singular matrix gives 0 and -inf.
#[pyfunction(name = "slogdet")]
#[pyo3(signature = (A))]
#[allow(non_snake_case)]
pub fn linalg_slogdet(A: &Tensor) -> Result<Named> {
    Ok(Named::new("linalg_slogdet", slogdet_of("linalg.slogdet", A)?))
}

#[pymethods]
impl Tensor {
    /// The determinant of square matrices; see `linalg.det`.
    pub fn det(&self) -> Result<Tensor> {
        det_of("linalg.det", self)
    }

    /// Sign and logarithm of the absolute value of the determinant; see `linalg.slogdet`.
    pub fn slogdet(&self) -> Result<Named> {
        Ok(Named::new("slogdet", slogdet_of("linalg.slogdet", self)?))
    }

    /// The logarithm of the determinant of square matrices; NaN where it is negative.
    ///
    /// Shape: (*, n, n) to (*). Dtype: float or complex.
    pub fn logdet(&self) -> Result<Tensor> {
        let [sign, log] = slogdet_of("logdet", self)?;
        if self.dtype().is_complex() {
            return sign.log()? + log;
        }
        sign.equals(-1.0)?.choose_or(f64::NAN, &log)
    }
}
