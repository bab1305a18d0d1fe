//! A = L L^H, and what is made of L.

use pyo3::prelude::*;

use super::{batch, check_inexact, check_info, check_kernel, check_square, count, each, ints, minus, record_saving, sides};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::kernels::linalg::cholesky;
use crate::ops::arguments::Named;
use crate::runtime_error;
use crate::saves;
use crate::tape::mode::is_forward;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// L, or with `upper` L^H, and for each matrix 0 or the order of the leading minor that is not positive. `name` is for the tape.
fn factor(name: &'static str, a: &Tensor, upper: bool) -> Result<[Tensor; 2]> {
    let (shape, n) = (batch(a, 2), sides(a).0);
    let info = ints(name, &shape)?;
    let l = without_recording(|| {
        let l = if upper { a.mh()?.by_columns()? } else { a.by_columns()? };
        with_field!(l, T => each(count(&shape), &[n, n, n], [&l, &info], &|[mut l, mut info]| {
            info.of()[0] = cholesky::cholesky::<T>(n, l.of());
        }));
        let l = if upper { l.mh()?.with_columns()? } else { l };
        l.to_dtype(a.dtype())
    })?;
    record_saving(name, &[a], &[], [l, info], saves! { upper }, move |back| {
        let Some(g) = back.g(0) else { return Ok(vec![None]) };
        let (l, g) = if upper { (back.y[0].mh()?, g.mh()?) } else { (back.y[0].clone(), g.clone()) };
        backward(&l, &g).map(|g| vec![Some(g)])
    })
}

/// Source: torch's `cholesky_backward`; Murray, "Differentiation of the Cholesky decomposition", 2016.
fn backward(l: &Tensor, g: &Tensor) -> Result<Tensor> {
    let inner = l.mh()?.matmul(g)?.tril(0)?;
    // Tangents are not made Hermitian.
    let inner = if is_forward() { (&inner + &inner.tril(-1)?)? } else { (&inner + &inner.tril(-1)?.mh()?)? };
    let g = l.triangular_solved(&inner, false, false, false)?;
    l.mh()?.triangular_solved(&g, true, true, false)? * 0.5
}

fn check_positive(op: &str, info: &Tensor) -> Result<()> {
    check_info(op, info, &|k| {
        format!(
            "The factorization could not be completed because the input is not positive-definite (the leading minor of order {k} is \
             not positive-definite)."
        )
    })
}

/// The Cholesky factor L of Hermitian positive-definite matrices A = L L^H, of which one triangle is read; with `upper`, L^H.
///
/// Shape: (*, n, n), kept. Dtype: float or complex. Raises: LinAlgError if a matrix is not positive-definite.
#[pyfunction(name = "cholesky")]
#[pyo3(signature = (A, *, upper=false))]
#[allow(non_snake_case)]
pub fn linalg_cholesky(A: &Tensor, upper: bool) -> Result<Tensor> {
    let [l, info] = checked(A, upper)?;
    check_positive("linalg.cholesky", &info)?;
    Ok(l)
}

fn checked(a: &Tensor, upper: bool) -> Result<[Tensor; 2]> {
    check_square("linalg.cholesky", "A", a)?;
    check_inexact("linalg.cholesky", a)?;
    factor("linalg_cholesky_ex", a, upper)
}

/// [`linalg_cholesky`] without a check unless `check_errors` is true: `info` is 0, or the order of the leading minor that is not
/// positive.
#[pyfunction]
#[pyo3(signature = (A, *, upper=false, check_errors=false))]
#[allow(non_snake_case)]
pub fn cholesky_ex(A: &Tensor, upper: bool, check_errors: bool) -> Result<Named> {
    let [l, info] = checked(A, upper)?;
    if check_errors {
        check_positive("linalg.cholesky_ex", &info)?;
    }
    Ok(Named::new("linalg_cholesky_ex", [l, info]))
}

#[pymethods]
impl Tensor {
    /// The Cholesky factor, by its old name; see `linalg.cholesky`.
    #[pyo3(signature = (upper=false))]
    pub fn cholesky(&self, upper: bool) -> Result<Tensor> {
        static OLD: Once = Once::new(
            c"torch.cholesky is deprecated in favor of torch.linalg.cholesky, of whose answer L that of upper=True is L.mH.",
        );
        OLD.warn()?;
        check_square("cholesky", "A", self)?;
        check_kernel("cholesky", self)?;
        let [l, info] = factor("cholesky", self, upper)?;
        check_positive("cholesky", &info)?;
        Ok(l)
    }

    /// X with L L^H X = self; with `upper`, `input2` holds L^H.
    ///
    /// Shape: (*, n, k) and (*, n, n), where the leading dims broadcast, to (*, n, k). Dtype: float or complex, the same for both.
    /// Derivative: as torch's, also of the triangle that is not read.
    #[pyo3(signature = (input2, upper=false))]
    pub fn cholesky_solve(&self, input2: &Tensor, upper: bool) -> Result<Tensor> {
        const OP: &str = "cholesky_solve";
        for (name, x) in [("b", self), ("u", input2)] {
            if x.rank() < 2 {
                return runtime_error!("{OP}: {name} should have at least 2 dimensions, but has {} dimensions instead", x.rank());
            }
        }
        check_kernel(OP, input2)?;
        super::solve::check_system(OP, input2, self, true)?;
        let shape = super::broadcast_batch(OP, self, input2)?;
        let (b, l) = (self.with_batch(OP, &shape)?, input2.with_batch(OP, &shape)?);
        let y = without_recording(|| {
            let (first, last) = if upper { (l.mh()?, l.clone()) } else { (l.clone(), l.mh()?) };
            let x = first.triangular_solved(&b, false, true, false)?;
            last.triangular_solved(&x, true, true, false)
        })?;
        let [y] = record_saving(OP, &[&b, &l], &[&l], [y], saves! { upper }, move |back| {
            let ([l], [x], Some(g)) = (back.saved, &*back.y, back.g(0)) else { return Ok(vec![None, None]) };
            let of_b = g.cholesky_solve(l, upper)?;
            let of_l = back.wants(1).then(|| {
                let common = of_b.matmul(&x.mh()?)?;
                let common = (&common + &common.mh()?)?;
                minus(if upper { l.matmul(&common) } else { common.matmul(l) })
            });
            Ok(vec![Some(of_b), of_l.transpose()?])
        })?;
        Ok(y.watching(&[self]).watching_itself())
    }

    /// The inverse of L L^H; with `upper`, this tensor holds L^H.
    ///
    /// Shape: (*, n, n), kept. Dtype: float or complex. Derivative: as torch's, also of the triangle that is not read.
    #[pyo3(signature = (upper=false))]
    pub fn cholesky_inverse(&self, upper: bool) -> Result<Tensor> {
        const OP: &str = "cholesky_inverse";
        let l = self;
        check_square(OP, "A", l)?;
        check_kernel("cholesky_inverse_out", l)?;
        let diagonal =
            l.detached_read()?.diagonal(0, -2, -1)?.equals(0.0)?.to_dtype(DType::I32)?.contiguous()?.to_vec::<i32>()?;
        if let Some(i) = diagonal.iter().position(|&zero| zero != 0) {
            let (n, element) =
                (sides(l).0, if l.rank() > 2 { format!("(Batch element {}): ", i / sides(l).0) } else { String::new() });
            return Err(Error::Linalg(format!(
                "{OP}: {element}The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular.",
                i % n + 1
            )));
        }
        let y = without_recording(|| {
            let one = super::identity(l.shape(), l.dtype())?;
            let lower = if upper { l.mh()? } else { l.clone() };
            let inverse = lower.triangular_solved(&one, false, true, false)?;
            inverse.mh()?.matmul(&inverse)?.with_columns()
        })?;
        vjp!(OP, y, { l: |g, y| {
            let common = y.matmul(&(g + &g.mh()?)?.matmul(y)?)?;
            minus(if upper { l.matmul(&common) } else { common.matmul(&l) })
        } }, saves { upper })
    }
}
