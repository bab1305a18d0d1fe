//! Eigenvalues and eigenvectors.

use pyo3::prelude::*;

use super::{batch, check_inexact, check_kernel, check_square, count, each, identity, ints, real_of, record, sides, with};
use crate::dtype::{C128, DType};
use crate::error::{Error, Result};
use crate::kernels::linalg::{eig, eigh};
use crate::ops::arguments::Named;
use crate::runtime_error;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;

fn check_converged(op: &str, info: &Tensor) -> Result<()> {
    super::check_info(op, info, &|code| {
        let cause = match code {
            2 => "contained non-finite values",
            _ => "is ill-conditioned or has too many repeated eigenvalues (error code: 1)",
        };
        format!("The algorithm failed to converge because the input matrix {cause}.")
    })
}

/// The eigenvalues of Hermitian matrices in ascending order, and eigenvectors if wanted.
fn symmetric(op: &str, a: &Tensor, uplo: &str, vectors: bool) -> Result<[Tensor; 2]> {
    check_square(op, "A", a)?;
    check_kernel("linalg_eigh", a)?;
    let upper = match uplo {
        "L" | "l" => false,
        "U" | "u" => true,
        _ => return runtime_error!("Expected UPLO argument to be 'L' or 'U', but got {uplo}"),
    };
    let (shape, n) = (batch(a, 2), sides(a).0);
    let (values, vectors) = without_recording(|| {
        let q = a.by_columns()?;
        let w = Tensor::uninitialized("linalg_eigh", &with(&shape, &[n]), DType::F64)?;
        let info = ints("linalg_eigh", &shape)?;
        with_field!(q, T => each(count(&shape), &[n, n, n], [&q, &w, &info], &|[mut q, mut w, mut info]| {
            use crate::kernels::linalg::Field;
            let (a, w) = (q.of::<T>(), w.of::<f64>());
            let side = |j: usize| if upper { j * n..j * n + j + 1 } else { j * n + j..(j + 1) * n };
            let all = |test: fn(T) -> bool| (0..n).all(|j| a[side(j)].iter().all(|&v| test(v)));
            info.of()[0] = if !all(|v| !(v.re().is_nan() || v.im().is_nan())) {
                2
            } else if all(Field::is_finite) {
                !eigh::eigh::<T>(n, a, w, upper, vectors) as i32
            } else {
                w.fill(f64::NAN);
                a.fill(T::real(f64::NAN));
                0
            };
        }));
        check_converged(op, &info)?;
        Ok::<_, Error>((
            w.to_dtype(real_of(a.dtype()))?,
            if vectors { q.to_dtype(a.dtype())? } else { Tensor::zeroed("linalg_eigh", &[0], a.dtype())? },
        ))
    })?;
    record("linalg_eigh", &[a], &[], [values, vectors], |back| {
        let ([w, v], gw, gv) = (&*back.y, back.g(0), back.g(1)) else { return Ok(vec![None]) };
        w.check_saved()?;
        let Some(gv) = gv else {
            let Some(gw) = gw else { return Ok(vec![None]) };
            return Ok(vec![Some((v * gw.unsqueeze(-2)?)?.matmul(&v.mh()?)?)]);
        };
        let inner = v.mh()?.matmul(gv)?;
        check_phase("linalg_eigh_backward", &inner)?;
        // The vectors can only turn: what counts is skew-Hermitian.
        let inner = ((&inner - &inner.mh()?)? * 0.5)?;
        let gaps = ((w.unsqueeze(-2)? - w.unsqueeze(-1)?)? + identity(v.shape(), w.dtype())?)?;
        let diagonal = match gw {
            Some(gw) => gw.to_dtype(v.dtype())?,
            None => w.as_zeros()?.to_dtype(v.dtype())?,
        };
        let inner = (inner / gaps)?.with_diagonal(&diagonal)?;
        Ok(vec![Some(v.matmul(&inner.matmul(&v.mh()?)?)?)])
    })
}

/// Fails if a loss depends on the phases of complex eigenvectors, which are a matter of choice: V^H times the gradient of V must
/// have a real diagonal.
fn check_phase(op: &str, inner: &Tensor) -> Result<()> {
    if inner.dtype().is_complex() && !is_recording() {
        let imag =
            inner.detached_read()?.diagonal(0, -2, -1)?.imag()?.abs()?.to_dtype(DType::F64)?.contiguous()?.to_vec::<f64>()?;
        if imag.iter().any(|v| *v > 1e-2) {
            return Err(Error::Undefined(format!(
                "{op}: The eigenvectors in the complex case are specified up to multiplication by e^{{i phi}}. The specified loss \
                 function depends on this quantity, so it is ill-defined."
            )));
        }
    }
    Ok(())
}

/// The complex eigenvalues of any square matrices, and eigenvectors if wanted.
fn general(op: &str, a: &Tensor, wanted: bool) -> Result<[Tensor; 2]> {
    check_square(op, "A", a)?;
    check_inexact(op, a)?;
    let (shape, n) = (batch(a, 2), sides(a).0);
    let dtype = if matches!(real_of(a.dtype()), DType::F32) { DType::C64 } else { DType::C128 };
    let (values, vectors) = without_recording(|| {
        let x = a.by_columns()?;
        let w = Tensor::uninitialized("linalg_eig", &with(&shape, &[n]), DType::C128)?;
        let v = Tensor::uninitialized("linalg_eig", &with(&shape, &[n, n]), DType::C128)?.unseen(Tensor::mt)?;
        let info = ints("linalg_eig", &shape)?;
        with_field!(x, T => each(count(&shape), &[10, n, n, n], [&x, &w, &v, &info], &|[mut a, mut w, mut v, mut info]| {
            use crate::kernels::linalg::Field;
            let (a, w) = (a.of::<T>(), w.of::<C128>());
            let vectors = if wanted { Some(v.of::<C128>()) } else { None };
            info.of()[0] = if a.iter().all(|&v| Field::is_finite(v)) {
                !eig::eig::<T>(n, a, w, vectors) as i32
            } else {
                w.fill(C128::new(f64::NAN, f64::NAN));
                2
            };
        }));
        let codes = info.to_vec::<i32>()?;
        if wanted && codes.contains(&2) {
            return runtime_error!("torch.linalg.eig: input tensor should not contain infs or NaNs.");
        }
        if !codes.contains(&2) {
            check_converged(op, &info)?;
        }
        Ok((w.to_dtype(dtype)?, if wanted { v.to_dtype(dtype)? } else { Tensor::zeroed("linalg_eig", &[0], dtype)? }))
    })?;
    let real = !a.dtype().is_complex();
    record("linalg_eig", &[a], &[], [values, vectors], move |back| {
        let ([w, v], gw, gv) = (&*back.y, back.g(0), back.g(1)) else { return Ok(vec![None]) };
        w.check_saved()?;
        let vh = v.mh()?;
        let inner = match (gw, gv) {
            (None, None) => return Ok(vec![None]),
            (Some(gw), None) => (gw.unsqueeze(-1)? * &vh)?,
            (_, Some(gv)) => {
                let inner = vh.matmul(gv)?;
                check_phase("linalg_eig_backward", &inner)?;
                let along = inner.diagonal(0, -2, -1)?.real()?.unsqueeze(-2)?;
                let inner = (inner - (vh.matmul(v)? * along)?)?;
                let gaps = ((w.unsqueeze(-2)? - w.unsqueeze(-1)?)?.conj()? + identity(v.shape(), v.dtype())?)?;
                let diagonal = match gw {
                    Some(gw) => gw.clone(),
                    None => w.as_zeros()?,
                };
                (inner / gaps)?.with_diagonal(&diagonal)?.matmul(&vh)?
            }
        };
        let g = vh.solved(&inner)?;
        Ok(vec![Some(if real { g.real()? } else { g })])
    })
}

/// [`linalg_eigh`] of lower triangles, for other ops.
pub(super) fn of_hermitian(op: &str, a: &Tensor) -> Result<[Tensor; 2]> {
    symmetric(op, a, "L", true)
}

/// Eigenvalues, in no particular order, and eigenvectors, of length 1, of square matrices; complex also for real matrices.
///
/// Shape: (*, n, n) to (*, n) and (*, n, n). Dtype: float or complex. Raises: RuntimeError for NaN and infinities.
/// Derivative: needs distinct eigenvalues, and a loss that does not depend on the phases of the vectors.
#[pyfunction(name = "eig")]
#[pyo3(signature = (A))]
#[allow(non_snake_case)]
pub fn linalg_eig(A: &Tensor) -> Result<Named> {
    Ok(Named::new("linalg_eig", general("linalg.eig", A, true)?))
}

/// The eigenvalues of [`linalg_eig`]; NaN if there are NaN or infinities.
#[pyfunction]
#[pyo3(signature = (A))]
#[allow(non_snake_case)]
pub fn eigvals(A: &Tensor) -> Result<Tensor> {
    let [w, _] = general("linalg.eigvals", A, is_recording() && A.requires_grad())?;
    Ok(w)
}

/// Eigenvalues, ascending, and orthonormal eigenvectors of Hermitian matrices, of which the triangle `UPLO` ("L" or "U") is read.
///
/// Shape: (*, n, n) to (*, n) and (*, n, n). Dtype: float or complex; the eigenvalues are real.
/// Raises: LinAlgError for NaN. Derivative: that of the vectors needs distinct eigenvalues.
#[pyfunction(name = "eigh")]
#[pyo3(signature = (A, UPLO="L"))]
#[allow(non_snake_case)]
pub fn linalg_eigh(A: &Tensor, UPLO: &str) -> Result<Named> {
    Ok(Named::new("linalg_eigh", symmetric("linalg.eigh", A, UPLO, true)?))
}

/// The eigenvalues of [`linalg_eigh`].
#[pyfunction]
#[pyo3(signature = (A, UPLO="L"))]
#[allow(non_snake_case)]
pub fn eigvalsh(A: &Tensor, UPLO: &str) -> Result<Tensor> {
    let [w, _] = symmetric("linalg.eigh", A, UPLO, is_recording() && A.requires_grad())?;
    Ok(w)
}
