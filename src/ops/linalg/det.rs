//! Determinants.

use pyo3::prelude::*;

use super::lu::Factors;
use super::{batch, check_inexact, check_square, complex, count, real_of, record, sides, wide};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::kernels::linalg::Field;
use crate::ops::arguments::Named;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// The sign (or phase) and the logarithm of the absolute value of one determinant.
struct Determinant<T> {
    sign: T,
    log: f64,
}

fn of_factors<T: Field>(n: usize, lu: &[T], pivots: &[i32]) -> (Determinant<T>, T) {
    let exchanges = pivots.iter().enumerate().filter(|&(i, &p)| p as usize != i + 1).count();
    let sign = T::real(if exchanges % 2 == 0 { 1.0 } else { -1.0 });
    let (mut all, mut product) = (Determinant { sign, log: 0.0 }, sign);
    for i in 0..n {
        let (v, size) = (lu[i * n + i], lu[i * n + i].size());
        product = product * v;
        all.log += size.ln();
        all.sign = if size == 0.0 { T::ZERO } else { all.sign * v.over(T::real(size)) };
    }
    (all, product)
}

/// Determinants, their signs and the logarithms of their absolute values, and the factors they are made of; off the tape.
fn determinants(op: &'static str, a: &Tensor) -> Result<([Tensor; 3], Factors)> {
    check_square(op, "A", a)?;
    check_inexact(op, a)?;
    let (shape, n) = (batch(a, 2), sides(a).0);
    let factors = Factors::of(a)?;
    let new = |dtype: DType| Tensor::uninitialized(op, &shape, dtype);
    let (det, sign, log) = (new(wide(a.dtype()))?, new(wide(a.dtype()))?, new(DType::F64)?);
    let Factors { lu, pivots, .. } = &factors;
    with_field!(lu, T => super::each(count(&shape), n, [lu, pivots, &det, &sign, &log], &|[mut lu, mut pivots, mut det, mut sign, mut log]| {
        let (all, product) = of_factors::<T>(n, lu.of(), pivots.of());
        (det.of()[0], sign.of()[0], log.of()[0]) = (product, all.sign, all.log);
    }));
    let outputs = [det.to_dtype(a.dtype())?, sign.to_dtype(a.dtype())?, log.to_dtype(real_of(a.dtype()))?];
    Ok((outputs, factors))
}

/// A determinant with its rule: g det^* A^-H, for a singular A the limit of this.
fn det_of(op: &'static str, a: &Tensor) -> Result<Tensor> {
    let [y, ..] = without_recording(|| determinants(op, a))?.0;
    vjp!("linalg_det", y, { a: |g, y| {
        let scale = (g * y.conj())?;
        let [lu, pivots] = regular_factors(&a)?;
        let right = scale.unsqueeze(-1)?.expand_to("linalg_det", &a.shape()[..a.rank() - 1])?.diag_embed(0, -2, -1)?;
        super::lu::linalg_lu_solve(&lu, &pivots, &right, true, true)
    } })
}

/// L and U of matrices, on the tape, without zeros on the diagonal.
fn regular_factors(a: &Tensor) -> Result<[Tensor; 2]> {
    let [lu, pivots] = super::lu::factored_pair(a)?;
    let diagonal = lu.diagonal(0, -2, -1)?;
    let tiny = if real_of(a.dtype()) == DType::F32 { f32::EPSILON as f64 } else { f64::EPSILON };
    let lu = lu.with_diagonal(&diagonal.equals(0.0)?.choose_or(tiny, &diagonal)?)?;
    Ok([lu, pivots])
}

/// Sign and logarithm with their rule.
fn slogdet_of(op: &'static str, a: &Tensor) -> Result<[Tensor; 2]> {
    let [_, sign, log] = without_recording(|| determinants(op, a))?.0;
    record("linalg_slogdet", &[a], &[a], [sign, log], |back| {
        let ([a], [sign, _]) = (back.saved, &*back.y) else { return Ok(vec![None]) };
        let turn = |g: &Tensor| ((g.conj()? * sign)?.imag()? * Scalar::Complex(complex(0.0, -1.0)))?.to_dtype(a.dtype());
        let g = match (back.g(0).filter(|_| a.dtype().is_complex()), back.g(1)) {
            (None, None) => return Ok(vec![None]),
            (None, Some(g)) => g.to_dtype(a.dtype())?,
            (Some(g), None) => turn(g)?,
            (Some(g), Some(h)) => (turn(g)? + h)?,
        };
        let right = g.unsqueeze(-1)?.expand_to("linalg_slogdet", &a.shape()[..a.rank() - 1])?.diag_embed(0, -2, -1)?;
        Ok(vec![Some(a.mh()?.solved(&right)?)])
    })
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
