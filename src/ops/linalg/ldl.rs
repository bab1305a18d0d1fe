//! A = L D L^T of symmetric, or L D L^H of Hermitian matrices that need not be definite.

use pyo3::prelude::*;

use super::{
    batch, broadcast_batch, check_inexact, check_info, check_same_dtype, check_square, count, each, ints, record_unknown, sides,
    with,
};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::linalg::ldl;
use crate::ops::arguments::{MemoryFormat, Named};
use crate::ops::samples::are_any_mapped;
use crate::runtime_error;
use crate::tape::sample::made_of;
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// L and D in one, pivots, and the number of a block of D that is zero.
fn factored(op: &str, a: &Tensor, hermitian: bool) -> Result<[Tensor; 3]> {
    check_square(op, "A", a)?;
    check_inexact(op, a)?;
    let (shape, n) = (batch(a, 2), sides(a).0);
    let outputs = without_recording(|| {
        let x = a.tril(0)?.by_columns()?;
        let (pivots, info) = (ints("linalg_ldl_factor", &with(&shape, &[n]))?, ints("linalg_ldl_factor", &shape)?);
        with_field!(x, T => each(count(&shape), &[n, n, n], [&x, &pivots, &info], &|[mut a, mut pivots, mut info]| {
            info.of()[0] = ldl::ldl::<T>(n, a.of(), pivots.of(), hermitian);
        }));
        Ok::<_, crate::error::Error>([x.to_dtype(a.dtype())?, pivots, info])
    })?;
    record_unknown("linalg_ldl_factor_ex", &[a], outputs)
}

fn check_regular(op: &str, info: &Tensor) -> Result<()> {
    check_info(op, info, &|k| {
        format!(
            "The factorization could not be completed because the input is singular: D[{k},{k}] is zero. Using it with ldl_solve would \
             result in a division by zero."
        )
    })
}

/// L and D of symmetric (`hermitian`: Hermitian) matrices in one, and the exchanges of rows; the lower triangle is read.
///
/// Shape: (*, n, n), kept, and (*, n). Dtype: float or complex; int32. Derivative: none, as torch.
/// Raises: LinAlgError if a block of D is zero.
#[pyfunction]
#[pyo3(signature = (A, *, hermitian=false))]
#[allow(non_snake_case)]
pub fn ldl_factor(A: &Tensor, hermitian: bool) -> Result<Named> {
    let [ld, pivots, info] = factored("torch.linalg.ldl_factor", A, hermitian)?;
    check_regular("torch.linalg.ldl_factor", &info)?;
    Ok(Named::new("linalg_ldl_factor", [ld, pivots]))
}

/// [`ldl_factor`] without a check unless `check_errors` is true: `info` is 0, or the number of a block of D that is zero.
#[pyfunction]
#[pyo3(signature = (A, *, hermitian=false, check_errors=false))]
#[allow(non_snake_case)]
pub fn ldl_factor_ex(A: &Tensor, hermitian: bool, check_errors: bool) -> Result<Named> {
    let [ld, pivots, info] = factored("torch.linalg.ldl_factor_ex", A, hermitian)?;
    if check_errors {
        check_regular("torch.linalg.ldl_factor_ex", &info)?;
    }
    Ok(Named::new("linalg_ldl_factor_ex", [ld, pivots, info]))
}

/// X with A X = B, given what [`ldl_factor`] answers for A.
///
/// Shape: (*, n, n), (*, n) and (*, n, k), where the leading dims broadcast, to (*, n, k). Dtype: float or complex. Derivative: none.
#[pyfunction]
#[pyo3(signature = (LD, pivots, B, *, hermitian=false))]
#[allow(non_snake_case)]
pub fn ldl_solve(LD: &Tensor, pivots: &Tensor, B: &Tensor, hermitian: bool) -> Result<Tensor> {
    const OP: &str = "torch.linalg.ldl_solve";
    check_square(OP, "LD", LD)?;
    check_inexact(OP, LD)?;
    let mapped = are_any_mapped([LD, pivots, B]);
    if B.rank() < 2 && mapped {
        return Err(Error::Dim { op: OP, dim: -2, rank: B.rank() });
    }
    if B.rank() < 2 {
        return runtime_error!("{OP}: Expected B to have at least 2 dimensions, but it has {} dimensions instead", B.rank());
    }
    super::solve::check_sides(OP, LD, B, true)?;
    check_same_dtype(OP, LD, B)?;
    let n = sides(LD).0;
    if pivots.rank() == 0 || pivots.shape() != &LD.shape()[..LD.rank() - 1] {
        return runtime_error!(
            "{OP}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape {:?} instead",
            pivots.shape()
        );
    }
    if !matches!(pivots.dtype(), DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64) {
        return runtime_error!("{OP}: Expected pivots to be integers. Got {}", pivots.dtype().type_word());
    }
    let pivots = &pivots.detached_read()?.to_dtype(DType::I32)?;
    if let Some(p) =
        pivots.detached_read()?.contiguous()?.to_vec::<i32>()?.iter().find(|p| !(1..=n).contains(&(p.unsigned_abs() as usize)))
    {
        return runtime_error!("{OP}: pivots must be between 1 and {n}, or between -{n} and -1, got {p}");
    }
    let shape = broadcast_batch("linalg_ldl_solve", B, LD)?;
    let _of = made_of([pivots]);
    let x = without_recording(|| {
        let (a, b) = (LD.with_batch(OP, &shape)?.by_columns()?, B.with_batch(OP, &shape)?.by_columns()?);
        let pivots = pivots.expand_to(OP, &with(&shape, &[n]))?.clone_in(MemoryFormat::Contiguous)?;
        if b.numel() > 0 {
            with_field!(b, T => each(count(&shape), &[n, sides(&b).0, sides(&b).1], [&a, &pivots, &b], &|[mut a, mut pivots, mut b]| {
                ldl::solve::<T>(n, a.of(), pivots.of(), b.of(), hermitian);
            }));
        }
        let x = b.to_dtype(B.dtype())?;
        // Torch writes the answers of samples to a batch of its own.
        if mapped { x.clone_in(MemoryFormat::Contiguous) } else { Ok(x) }
    })?;
    let [x] = record_unknown("linalg_ldl_solve", &[LD, B], [x])?;
    Ok(x)
}
