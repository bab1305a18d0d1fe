//! A = Q R, and products of Householder reflections.

use pyo3::prelude::*;

use super::{
    batch, check_inexact, check_kernel, check_matrices, count, each, identity, minus, record, record_saving, record_without_rule,
    sides, wide, with,
};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::kernels::linalg::qr;
use crate::ops::arguments::Named;
use crate::runtime_error;
use crate::saves;
use crate::tape::mode::is_forward;
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// R, with the vectors of the reflections below it, and their factors; in double precision, off the tape.
fn reflections(a: &Tensor) -> Result<[Tensor; 2]> {
    let (shape, (m, n)) = (batch(a, 2), sides(a));
    let k = m.min(n);
    let a = without_recording(|| a.by_columns())?;
    let taus = Tensor::uninitialized("geqrf", &with(&shape, &[k]), wide(a.dtype()))?;
    with_field!(a, T => each(count(&shape), &[m, n, k], [&a, &taus], &|[mut a, mut taus]| {
        qr::qr::<T>(m, n, a.of(), taus.of());
    }));
    Ok([a, taus])
}

/// The product of reflections 1 - tau v v^H as 1 - V T V^H (Schreiber and Van Loan 1989, "A storage-efficient WY representation for
/// products of Householder transformations").
struct Product {
    /// The vectors as columns.
    v: Tensor,
    /// S: what of V^H V is above the diagonal.
    overlaps: Tensor,
    /// M = 1 + diag(tau) S.
    m: Tensor,
    /// T = M^-1 diag(tau).
    t: Tensor,
}

impl Product {
    fn new(vectors: &Tensor, taus: &Tensor) -> Result<Product> {
        let k = taus.shape()[taus.rank() - 1];
        let v = vectors.strip(false, 0, k)?.tril(-1)?;
        let one = Tensor::from_scalar(Scalar::Int(1), v.dtype())?;
        let ones = one.expand_to("ormqr", &with(&batch(&v, 2), &[k.min(sides(&v).0)]))?;
        let v = v.with_diagonal(&ones)?;
        let overlaps = v.mh()?.matmul(&v)?.triu(1)?;
        let m = (taus.unsqueeze(-1)? * &overlaps)?;
        let m = m.with_diagonal(&one.expand_to("ormqr", taus.shape())?)?;
        let t = m.triangular_solved(&taus.diag_embed(0, -2, -1)?, true, true, true)?;
        Ok(Product { v, overlaps, m, t })
    }

    /// The product, or its adjoint, times a matrix.
    fn times(&self, c: &Tensor, adjoint: bool) -> Result<Tensor> {
        let t = if adjoint { self.t.mh()? } else { self.t.clone() };
        c - self.v.matmul(&t.matmul(&self.v.mh()?.matmul(c)?)?)?
    }

    /// The gradients of vectors, factors and matrix, given that of their product.
    fn backward(&self, c: &Tensor, g: &Tensor, adjoint: bool) -> Result<[Tensor; 3]> {
        let Product { v, overlaps, m, t } = self;
        // Y = C - V Z, where Z = T W and W = V^H C.
        let factor = if adjoint { t.mh()? } else { t.clone() };
        let w = v.mh()?.matmul(c)?;
        let z = factor.matmul(&w)?;
        let gz = minus(v.mh()?.matmul(g))?;
        let gw = factor.mh()?.matmul(&gz)?;
        let gt = if adjoint { w.matmul(&gz.mh()?)? } else { gz.matmul(&w.mh()?)? };
        let gv = (c.matmul(&gw.mh()?)? - g.matmul(&z.mh()?)?)?;
        let gc = (g + v.matmul(&gw)?)?;
        // T = M^-1 D, M = 1 + D S
        let gd = m.mh()?.triangular_solved(&gt, false, true, true)?;
        let gm = minus(gd.matmul(&t.mh()?))?;
        let taus = t.diagonal(0, -2, -1)?;
        let of_taus = (gd.diagonal(0, -2, -1)? + super::sum_over(&(&gm * overlaps.conj()?)?, -1)?)?;
        let gs = (gm * taus.unsqueeze(-1)?.conj()?)?.triu(1)?;
        let gv = (gv + v.matmul(&(&gs + &gs.mh()?)?)?)?;
        Ok([gv.tril(-1)?, of_taus, gc])
    }
}

/// Fails unless vectors and factors fit.
fn check_reflections(op: &str, vectors: &Tensor, taus: &Tensor) -> Result<()> {
    check_kernel("orgqr", vectors)?;
    let (rank, k) = (vectors.rank(), taus.shape().last().copied().unwrap_or(0));
    if rank < 2 {
        return runtime_error!("{op}: input must have at least 2 dimensions.");
    }
    if taus.rank() + 1 != rank || taus.shape()[..rank - 2] != vectors.shape()[..rank - 2] {
        return runtime_error!(
            "{op}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {:?} for an input of shape {:?}",
            taus.shape(),
            vectors.shape()
        );
    }
    let (m, n) = sides(vectors);
    if k > n {
        return runtime_error!("{op}: input.shape[-1] must be greater than or equal to tau.shape[-1], got {n} and {k}");
    }
    if m < k {
        return runtime_error!("{op}: input.shape[-2] must be greater than or equal to tau.shape[-1], got {m} and {k}");
    }
    if taus.dtype() != vectors.dtype() {
        return runtime_error!("{op}: tau dtype {} does not match input dtype {}", taus.dtype(), vectors.dtype());
    }
    Ok(())
}

/// Zeros beside the first columns.
fn padded(g: &Tensor, columns: usize) -> Result<Tensor> {
    let (m, k) = sides(g);
    if k == columns {
        Ok(g.clone())
    } else {
        g.embedded("narrow", &with(&batch(g, 2), &[m, columns]), move |z| z.strip(false, 0, k))
    }
}

/// The first columns of the product of Householder reflections, whose vectors are the columns of `input` below the diagonal (a 1
/// there counts), and whose factors are `tau`.
///
/// Shape: (*, m, n) and (*, k), where m >= n >= k, to (*, m, n). Dtype: float or complex, the same.
#[pyfunction]
#[pyo3(signature = (input, tau))]
pub fn householder_product(input: &Tensor, tau: &Tensor) -> Result<Tensor> {
    const OP: &str = "torch.linalg.householder_product";
    check_reflections(OP, input, tau)?;
    let (m, n) = sides(input);
    if m < n {
        return runtime_error!("{OP}: input.shape[-2] must be greater than or equal to input.shape[-1], got {m} and {n}");
    }
    let y = without_recording(|| {
        let double = |x: &Tensor| x.detached_read()?.to_dtype(wide(x.dtype()));
        first_columns(&double(input)?, &double(tau)?, n)?.with_columns()?.to_dtype(input.dtype())
    })?;
    let [y] = record("linalg_householder_product", &[input, tau], &[input, tau], [y], move |back| {
        let ([input, tau], Some(g)) = (back.saved, back.g(0)) else { return Ok(vec![None, None]) };
        if input.numel() == 0 || tau.numel() == 0 {
            return Ok(if is_forward() { vec![Some(input.as_zeros()?), Some(tau.as_zeros()?)] } else { vec![None, None] });
        }
        let one = identity(g.shape(), g.dtype())?;
        let [of_input, of_tau, _] = Product::new(input, tau)?.backward(&one, g, false)?;
        Ok(vec![Some(padded(&of_input, n)?), Some(of_tau)])
    })?;
    Ok(y.watching(&[input, tau]).watching_itself())
}

/// Some of the first columns of the product of reflections.
fn first_columns(vectors: &Tensor, taus: &Tensor, columns: usize) -> Result<Tensor> {
    let shape = with(&batch(vectors, 2), &[sides(vectors).0, columns]);
    Product::new(vectors, taus)?.times(&identity(&shape, vectors.dtype())?, false)
}

/// Orthonormal columns (m x k) with m - k more that are orthogonal to them.
pub(super) fn completed(q: &Tensor) -> Result<Tensor> {
    let (m, k) = sides(q);
    if m == k {
        return Ok(q.clone());
    }
    let [vectors, taus] = reflections(q)?;
    let more = first_columns(&vectors, &taus, m)?.strip(false, k, m - k)?.to_dtype(q.dtype())?;
    Tensor::joined("cat", &[q.clone(), more], q.rank() - 1)
}

/// Q and R, as `mode` says.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Reduced,
    Complete,
    OnlyR,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Reduced => "reduced",
            Mode::Complete => "complete",
            Mode::OnlyR => "r",
        }
    }
}

/// The gradient of A = Q R; Q is square, or R is.
///
/// Source: torch's `linalg_qr_backward`; Walter and Lehmann, "Algorithmic differentiation of linear algebra functions", 2010.
fn backward(q: &Tensor, r: &Tensor, gq: Option<&Tensor>, gr: Option<&Tensor>) -> Result<Option<Tensor>> {
    let ((m, k), n) = (sides(q), sides(r).1);
    if n > m {
        // A = (A1, A2) = Q (R1, R2): R2 = Q^H A2.
        let r1 = r.strip(false, 0, k)?;
        let Some(gr) = gr else { return padded_gradient(backward(q, &r1, gq, None)?, n) };
        let (g1, g2, r2) = (gr.strip(false, 0, k)?, gr.strip(false, k, n - k)?, r.strip(false, k, n - k)?);
        let through = q.matmul(&r2.matmul(&g2.mh()?)?)?;
        let gq = match gq {
            Some(gq) => (gq + through)?,
            None => through,
        };
        let Some(left) = backward(q, &r1, Some(&gq), Some(&g1))? else { return Ok(None) };
        return Tensor::joined("cat", &[left, q.matmul(&g2)?], q.rank() - 1).map(Some);
    }
    let of_r = gr.map(|g| g.matmul(&r.mh()?)).transpose()?;
    let of_q = gq.map(|g| q.mh()?.matmul(g)).transpose()?;
    let inner = match (of_r, of_q) {
        (Some(a), Some(b)) => (a - b)?,
        (Some(a), None) => a,
        (None, Some(b)) => (-&b)?,
        (None, None) => return Ok(None),
    };
    let inner = inner.triu(0)?;
    let inner = (&inner + &inner.mh()?)?;
    let inner = inner.with_diagonal(&(inner.diagonal(0, -2, -1)? * 0.5)?)?;
    let mut g = q.matmul(&inner)?;
    if let Some(gq) = gq {
        g = (g + gq)?;
    }
    r.mh()?.triangular_solved(&g, false, false, false).map(Some)
}

fn padded_gradient(g: Option<Tensor>, columns: usize) -> Result<Option<Tensor>> {
    g.map(|g| padded(&g, columns)).transpose()
}

fn factored(a: &Tensor, mode: Mode) -> Result<[Tensor; 2]> {
    check_matrices("linalg.qr", "A", a)?;
    check_inexact("linalg.qr", a)?;
    let (m, n) = sides(a);
    let k = m.min(n);
    let (q, r) = without_recording(|| {
        let [x, taus] = reflections(a)?;
        let rows = if mode == Mode::Complete { m } else { k };
        let r = x.strip(true, 0, rows)?.triu(0)?.to_dtype(a.dtype())?.with_columns()?;
        if mode == Mode::OnlyR {
            return Ok((Tensor::zeroed("linalg.qr", &[0], a.dtype())?, r));
        }
        let columns = if mode == Mode::Complete { m } else { k };
        Ok::<_, Error>((first_columns(&x, &taus, columns)?.to_dtype(a.dtype())?.with_columns()?, r))
    })?;
    record_saving("linalg_qr", &[a], &[], [q, r], saves! { mode: mode.name() }, move |back| {
        if mode == Mode::OnlyR {
            return Err(Error::Undefined(
                "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(A, \
                 mode='reduced') if you are going to require gradients"
                    .into(),
            ));
        }
        if mode == Mode::Complete && m > n {
            let text = "The QR decomposition is not differentiable when mode='complete' and nrows > ncols";
            return Err(Error::Undefined(text.into()));
        }
        Ok(vec![backward(&back.y[0], &back.y[1], back.g(0), back.g(1))?])
    })
}

/// Q and R of A = Q R, where Q has orthonormal columns and R is upper triangular. `mode`: "reduced", "complete" (Q is square) or
/// "r" (R alone, of the reduced form; Q is empty).
///
/// Shape: (*, m, n) to (*, m, k) and (*, k, n), where k is the smaller of m and n. Dtype: float or complex.
/// Derivative: for "complete" only if m <= n, none for "r".
#[pyfunction(name = "qr")]
#[pyo3(signature = (A, mode="reduced"))]
#[allow(non_snake_case)]
pub fn linalg_qr(A: &Tensor, mode: &str) -> Result<Named> {
    let mode = match mode {
        "reduced" => Mode::Reduced,
        "complete" => Mode::Complete,
        "r" => Mode::OnlyR,
        _ => {
            return runtime_error!(
                "qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
            );
        }
    };
    Ok(Named::new("linalg_qr", factored(A, mode)?))
}

#[pymethods]
impl Tensor {
    /// Q and R, by the old name; with `some` false, the complete form. See `linalg.qr`.
    #[pyo3(signature = (some=true))]
    pub fn qr(&self, some: bool) -> Result<Named> {
        static OLD: Once =
            Once::new(c"torch.qr is deprecated in favor of torch.linalg.qr, whose argument is mode=\"complete\" for some=False.");
        OLD.warn()?;
        Ok(Named::new("qr", factored(self, if some { Mode::Reduced } else { Mode::Complete })?))
    }

    /// R, on and above the diagonal, with the vectors of the Householder reflections whose product is Q below it, and their factors.
    ///
    /// Shape: (*, m, n), kept, and (*, k), where k is the smaller of m and n. Dtype: float or complex. Derivative: none, as torch.
    pub fn geqrf(&self) -> Result<Named> {
        check_matrices("geqrf", "A", self)?;
        check_kernel("geqrf", self)?;
        let [a, taus] = reflections(self)?;
        let outputs = [a.to_dtype(self.dtype())?, taus.to_dtype(self.dtype())?];
        Ok(Named::new("geqrf", record_without_rule("geqrf", &[self], outputs)?))
    }

    /// See `linalg.householder_product`.
    pub fn orgqr(&self, input2: &Tensor) -> Result<Tensor> {
        householder_product(self, input2)
    }

    /// The product Q of all m Householder reflections with vectors in this tensor and factors `tau` times `other`, or `other` times Q
    /// if `left` is false; with `transpose`, Q^H for Q.
    ///
    /// Shape: (*, m, k), (*, k) and (*, m, n) (not left: (*, n, m)), kept. Dtype: float or complex, the same.
    #[pyo3(signature = (input2, input3, left=true, transpose=false))]
    pub fn ormqr(&self, input2: &Tensor, input3: &Tensor, left: bool, transpose: bool) -> Result<Tensor> {
        const OP: &str = "torch.ormqr";
        let (input, tau, other) = (self, input2, input3);
        check_reflections(OP, input, tau)?;
        if other.rank() < 2 || other.rank() != input.rank() {
            return runtime_error!("{OP}: other should have as many dimensions as input (at least 2), but has {}", other.rank());
        }
        let (m, (rows, columns)) = (sides(input).0, sides(other));
        if m != if left { rows } else { columns } {
            return runtime_error!("{OP}: other.shape[{}] must be equal to input.shape[-2]", if left { -2 } else { -1 });
        }
        let k = tau.shape()[tau.rank() - 1];
        if k != m.min(sides(input).1) {
            let dim = if left { -2 } else { -1 };
            return runtime_error!("{OP}: tau.shape[-1] must be equal to min(other.shape[{dim}], input.shape[-1]), got {k}");
        }
        if other.dtype() != input.dtype() || batch(other, 2) != batch(input, 2) {
            return runtime_error!("{OP}: input and other must have the same dtype and batch dimensions");
        }
        // C Q is (Q^H C^H)^H.
        let adjoint = transpose == left;
        let turned = move |x: &Tensor| if left { Ok(x.clone()) } else { x.mh() };
        let y = without_recording(|| {
            let double = |x: &Tensor| x.detached_read()?.to_dtype(wide(x.dtype()));
            let y = Product::new(&double(input)?, &double(tau)?)?.times(&turned(&double(other)?)?, adjoint)?;
            turned(&y)?.to_dtype(other.dtype())?.with_columns()
        })?;
        let columns = sides(input).1;
        let [y] =
            record_saving("ormqr", &[input, tau, other], &[input, tau, other], [y], saves! { left, transpose }, move |back| {
                let ([input, tau, other], Some(g)) = (back.saved, back.g(0)) else { return Ok(vec![None, None, None]) };
                if input.numel() == 0 || tau.numel() == 0 {
                    return Ok(vec![None, None, Some(g.clone())]);
                }
                let [of_input, of_tau, of_other] = Product::new(input, tau)?.backward(&turned(other)?, &turned(g)?, adjoint)?;
                Ok(vec![Some(padded(&of_input, columns)?), Some(of_tau), Some(turned(&of_other)?)])
            })?;
        Ok(y.watching(&[input, tau, other]).watching_itself())
    }
}
