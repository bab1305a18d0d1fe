//! The pseudoinverse, and least squares.

use pyo3::prelude::*;

use super::svd::Factors;
use super::{batch, check_inexact, check_matrices, check_square, epsilon, minus, real_of, record, sides, sum_over, wide, with};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::broadcast_shapes;
use crate::ops::arguments::{Dims, Named};
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tape::sample::made_of;
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// The pseudoinverse: 1 / S where S is larger than the tolerance, 0 elsewhere. Off the tape.
fn inverted(a: &Tensor, atol: &Tensor, rtol: &Tensor, hermitian: bool) -> Result<Tensor> {
    let (m, n) = sides(a);
    if a.numel() == 0 {
        return Tensor::zeroed("linalg_pinv", &with(&batch(a, 2), &[n, m]), a.dtype());
    }
    let (u, s, vh) = if hermitian {
        let [s, q] = super::eig::of_hermitian("linalg.eigh", a)?;
        let adjoint = q.mh()?;
        (q, s, adjoint)
    } else {
        let Factors { u, s, vh } = a.factors(false)?;
        (u, s, vh)
    };
    let sizes = s.abs()?;
    let largest = sizes.amax(Dims(smallvec::smallvec![-1]), true)?;
    let least = atol.unsqueeze(-1)?.maximum(&(rtol.unsqueeze(-1)? * largest)?)?;
    let inverse = sizes.gt((&least).into())?.where_of(&s.reciprocal()?, &s.as_zeros()?)?.to_dtype(a.dtype())?;
    (vh.mh()? * inverse.unsqueeze(-2)?)?.matmul(&u.mh()?)
}

/// The gradient of A, given that of its pseudoinverse P.
///
/// Source: torch's `pinv_backward`; Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems
/// whose variables separate", 1973.
fn backward(g: &Tensor, p: &Tensor, a: &Tensor) -> Result<Tensor> {
    let (ph, gh) = (p.mh()?, g.mh()?);
    if sides(a).0 <= sides(a).1 {
        let k = gh.matmul(p)?;
        let kp = k.matmul(&ph)?;
        let inside = (kp.clone() - a.matmul(p)?.matmul(&kp)?)?;
        let outside = ph.matmul(p)?.matmul(&(&gh - k.matmul(a)?)?)?;
        (inside + outside)? - p.matmul(&k)?.mh()?
    } else {
        let k = p.matmul(&gh)?;
        let pk = ph.matmul(&k)?;
        let inside = (pk.clone() - pk.matmul(p)?.matmul(a)?)?;
        let outside = (&gh - a.matmul(&k)?)?.matmul(p)?.matmul(&ph)?;
        (inside + outside)? - k.matmul(p)?.mh()?
    }
}

/// The pseudoinverse of matrices, with its tolerances as tensors; `ferrograd.linalg.pinv` is its public face.
#[pyfunction]
#[pyo3(signature = (A, atol, rtol, hermitian))]
#[allow(non_snake_case)]
pub fn _pinv(A: &Tensor, atol: &Tensor, rtol: &Tensor, hermitian: bool) -> Result<Tensor> {
    let a = A;
    if hermitian {
        check_square("linalg.pinv", "A", a)?;
    }
    let _of = made_of([atol, rtol]);
    let p = without_recording(|| inverted(a, &atol.detached_read()?, &rtol.detached_read()?, hermitian))?;
    let [p] = record("linalg_pinv", &[a], &[a], [p], |back| {
        let ([a], Some(p), Some(g)) = (back.saved, back.y.first(), back.g(0)) else { return Ok(vec![None]) };
        Ok(vec![Some(backward(g, p, a)?)])
    })?;
    Ok(p)
}

/// The pseudoinverse with no tolerance but that for rounding errors.
fn pseudoinverse(a: &Tensor) -> Result<Tensor> {
    let (m, n) = sides(a);
    let tolerance = |v: f64| Tensor::from_scalar(Scalar::Float(v), real_of(a.dtype()));
    _pinv(a, &tolerance(0.0)?, &tolerance(epsilon(a.dtype()) * m.max(n) as f64)?, false)
}

/// Solution, residuals, ranks and singular values, off the tape and in double precision; the ranks are those of all matrices.
fn solved(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<[Tensor; 4]> {
    let (a, b) = (a.detached_read()?.to_dtype(wide(a.dtype()))?, b.detached_read()?.to_dtype(wide(b.dtype()))?);
    let Factors { u, s, vh } = a.factors(false)?;
    let shape = with(&batch(&s, 1), &[1]);
    let largest =
        if s.numel() == 0 { Tensor::zeroed("linalg_lstsq", &shape, s.dtype())? } else { s.slice_at(s.rank() - 1, 0, 1, 1)? };
    let kept = s.gt((&(largest * tolerance)?).into())?;
    let inverse = kept.where_of(&s.reciprocal()?, &s.as_zeros()?)?;
    let x = vh.mh()?.matmul(&(inverse.unsqueeze(-1)? * u.mh()?.matmul(&b)?)?)?;
    let rest = (a.matmul(&x)? - b)?.abs()?;
    Ok([x, sum_over(&(&rest * &rest)?, -2)?, sum_over(&kept.to_dtype(DType::I64)?, -1)?, s])
}

/// Fails unless A and B make a problem of least squares; answers whether B is a batch of vectors.
fn check_problem(op: &str, a: &Tensor, b: &Tensor) -> Result<bool> {
    check_matrices(op, "input", a)?;
    check_inexact(op, a)?;
    if b.rank() == 0 {
        return runtime_error!("{op}: other must have at least 1 dimension.");
    }
    if a.dtype() != b.dtype() {
        return runtime_error!(
            "{op}: Expected input and other to have the same dtype, but got input's dtype {} and other's dtype {}",
            a.dtype(),
            b.dtype()
        );
    }
    let vector = b.rank() == 1 || b.shape() == &a.shape()[..a.rank() - 1];
    let dim = if vector { 1 } else { 2 };
    if b.shape()[b.rank() - dim] != sides(a).0 {
        return runtime_error!("{op}: input.size(-2) should match other.size(-{dim})");
    }
    Ok(vector)
}

/// What `driver` wants of [`solved`], in the dtype of A.
fn wanted(op: &str, a: &Tensor, b: &Tensor, tolerance: f64, driver: &str) -> Result<[Tensor; 4]> {
    let ((m, n), dtype) = (sides(a), a.dtype());
    let real = real_of(dtype);
    let [x, residuals, rank, values] = solved(a, b, tolerance)?;
    let gels = driver == "gels";
    // As in LAPACK's gels, which does not look further, matrices of zeros have solutions and residuals that are zeros.
    let full = rank.to_vec::<i64>()?.iter().all(|&rank| rank == m.min(n) as i64 || gels && rank == 0);
    let residuals = if gels { residuals.zeroed_where(&rank.equals(0.0)?.unsqueeze(-1)?)? } else { residuals };
    if gels && !full {
        return Err(Error::Linalg(format!(
            "{op}: The least squares solution could not be computed because the input matrix does not have full rank."
        )));
    }
    // Torch's solution lies in the memory of a copy of B, if that is larger.
    let rows = Tensor::zeroed("linalg_lstsq", &with(&batch(&x, 2), &[sides(&x).1, m.max(n)]), dtype)?;
    let y = rows.strip(false, 0, n)?.mt()?;
    y.write(&x)?;
    let empty = |dtype: DType| Tensor::zeroed("linalg_lstsq", &[0], dtype);
    let residuals = if m > n && full && driver != "gelsy" { residuals.to_dtype(real)? } else { empty(real)? };
    let rank = if gels { empty(DType::I64)? } else { rank };
    let values = if matches!(driver, "gelsd" | "gelss") { values.to_dtype(real)? } else { empty(real)? };
    Ok([y, residuals, rank, values])
}

/// The gradients of A and B, given those of the solution X and of the residuals.
fn backward_of_problem(
    a: &Tensor,
    b: &Tensor,
    x: &Tensor,
    gx: Option<Tensor>,
    gr: Option<&Tensor>,
) -> Result<Vec<Option<Tensor>>> {
    let (mut of_a, mut of_b) = (None, None);
    if let Some(g) = gx {
        let p = pseudoinverse(a)?;
        of_a = Some(backward(&g.matmul(&b.mh()?)?, &p, a)?);
        of_b = Some(p.mh()?.matmul(&g)?);
    }
    if let Some(g) = gr {
        let rest = ((a.matmul(x)? - b)? * (g * 2.0)?.unsqueeze(-2)?)?;
        let through = rest.matmul(&x.mh()?)?;
        of_a = Some(if let Some(of_a) = of_a { (of_a + through)? } else { through });
        of_b = Some(if let Some(of_b) = of_b { (of_b - rest)? } else { minus(Ok(rest))? });
    }
    Ok(vec![of_a, of_b])
}

/// X that makes the columns of A X - B shortest and, of all these, is shortest itself. Residuals (the squared lengths of the columns)
/// are empty for the `driver` "gelsy", and unless there are more rows than columns and all matrices have full rank; ranks are empty
/// for "gels"; singular values are there for "gelsd" and "gelss".
///
/// Shape: (*, m, n) and (*, m, k), where the leading dims broadcast, or (*, m), to (*, n, k), or (*, n). Dtype: float or complex.
/// `rcond`: singular values below this part of the largest one count as 0. Raises: RuntimeError for other drivers.
#[pyfunction]
#[pyo3(signature = (input, b, rcond=None, *, driver=None))]
pub fn lstsq(input: &Tensor, b: &Tensor, rcond: Option<f64>, driver: Option<&str>) -> Result<Named> {
    const OP: &str = "torch.linalg.lstsq";
    let (a, driver) = (input, driver.unwrap_or("gelsy"));
    let vector = check_problem(OP, a, b)?;
    if !matches!(driver, "gels" | "gelsy" | "gelsd" | "gelss") {
        return runtime_error!("{OP}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)");
    }
    let matrices = move |x: &Tensor| if vector { x.unsqueeze(-1) } else { Ok(x.clone()) };
    let b = matrices(b)?;
    let shape = broadcast_shapes("linalg_lstsq", &batch(a, 2), &batch(&b, 2))?;
    let (a, b) = (a.with_batch("linalg_lstsq", &shape)?, b.with_batch("linalg_lstsq", &shape)?);
    let rounding = sides(&a).0.max(sides(&a).1) as f64;
    let tolerance = match (driver, rcond) {
        ("gels", _) => epsilon(DType::F64) * rounding,
        (_, Some(rcond)) if rcond >= 0.0 => rcond,
        (_, Some(_)) => epsilon(a.dtype()),
        (_, None) => epsilon(a.dtype()) * rounding,
    };
    let _of = made_of([&a, &b]);
    let [x, residuals, rank, values] = without_recording(|| {
        let [x, rest @ ..] = wanted(OP, &a, &b, tolerance, driver)?;
        let x = if vector { x.squeeze_dims(&[x.rank() - 1])? } else { x };
        let [residuals, rank, values] = rest;
        Ok::<_, Error>([x.detached(false), residuals, rank, values])
    })?;
    let no_residuals = residuals.numel() == 0;
    let [x, residuals] = record("linalg_lstsq", &[&a, &b], &[&a, &b], [x, residuals], move |back| {
        let ([a, b], [x, _]) = (back.saved, &*back.y) else { return Ok(vec![None, None]) };
        let gx = back.g(0).map(matrices).transpose()?;
        if is_forward() && gx.is_none() && no_residuals {
            return Ok(vec![Some(a.as_zeros()?), Some(b.as_zeros()?)]);
        }
        backward_of_problem(a, b, &matrices(x)?, gx, back.g(1).filter(|_| !no_residuals))
    })?;
    Ok(Named::new("linalg_lstsq", [x.watching_itself(), residuals, rank, values]))
}

#[pymethods]
impl Tensor {
    /// The pseudoinverse, by the old name; see `linalg.pinv`.
    #[pyo3(signature = (rcond=1e-15))]
    pub fn pinverse(&self, rcond: f64) -> Result<Tensor> {
        check_matrices("linalg.pinv", "A", self)?;
        check_inexact("linalg.pinv", self)?;
        let tolerance = |v: f64| Tensor::from_scalar(Scalar::Float(v), real_of(self.dtype()));
        _pinv(self, &tolerance(0.0)?, &tolerance(rcond)?, false)
    }
}
