//! Singular values and vectors of matrices, always computed in double precision.

use pyo3::prelude::*;

use super::{batch, check_inexact, check_matrices, count, each, identity, ints, real_of, record_saving, sides, with};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::linalg::Field;
use crate::kernels::linalg::svd::Svd;
use crate::ops::arguments::Named;
use crate::runtime_error;
use crate::saves;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;

/// What matrices A are the products of: U (*, m, k), S (*, k) and V^H (*, k, n), where k is the smaller of m and n.
pub(crate) struct Factors {
    pub u: Tensor,
    pub s: Tensor,
    pub vh: Tensor,
}

/// Gradients of the factors, as far as there are any.
type Gradients = [Option<Tensor>; 3];

impl Tensor {
    /// The factors of matrices, on the tape; with `full`, U and V are square.
    pub(crate) fn factors(&self, full: bool) -> Result<Factors> {
        let a = self;
        let Factors { u, s, vh } = without_recording(|| {
            let thin = a.factors_unrecorded()?;
            if full { thin.completed() } else { Ok(thin) }
        })?;
        let [u, s, vh] = record_saving("linalg_svd", &[a], &[], [u, s, vh], saves! { full_matrices: full }, |back| {
            let [u, s, vh] = &*back.y else { return Ok(vec![None]) };
            s.check_saved()?;
            let k = s.shape()[s.rank() - 1];
            // The columns that make U and V square have no say in A.
            let thin = Factors { u: u.strip(false, 0, k)?, s: s.clone(), vh: vh.strip(true, 0, k)? };
            let gu = back.g(0).map(|g| g.strip(false, 0, k)).transpose()?;
            let gvh = back.g(2).map(|g| g.strip(true, 0, k)).transpose()?;
            Ok(vec![thin.backward([gu, back.g(1).cloned(), gvh])?])
        })?;
        Ok(Factors { u, s, vh })
    }

    fn factors_unrecorded(&self) -> Result<Factors> {
        let (dtype, shape, (m, n)) = (self.dtype(), batch(self, 2), sides(self));
        let (rows, k) = (m.max(n), m.min(n));
        // The shorter side are the columns: they lie one after the other in what the kernel works on.
        let left = if m >= n { self.mt()?.by_rows()? } else { self.by_rows()? };
        let s = Tensor::uninitialized("linalg.svd", &with(&shape, &[k]), DType::F64)?;
        let right = Tensor::uninitialized("linalg.svd", &with(&shape, &[k, k]), left.dtype())?;
        let info = ints("linalg.svd", &shape)?;
        with_field!(left, T => each(count(&shape), &[rows, k, k], [&left, &s, &right, &info], &|[mut left, mut s, mut right, mut info]| {
            let (left, s, right) = (left.of::<T>(), s.of::<f64>(), right.of::<T>());
            info.of()[0] = if left.iter().any(|v| v.re().is_nan() || v.im().is_nan()) {
                2
            } else if left.iter().all(|&v| Field::is_finite(v)) {
                !T::svd(rows, left, s, right) as i32
            } else {
                s.fill(f64::NAN);
                [left, right].into_iter().for_each(|part| part.fill(T::real(f64::NAN)));
                0
            };
        }));
        check_converged(&info)?;
        let (u, vh) = if m >= n { (left.unseen(Tensor::mt)?, right) } else { (right.unseen(Tensor::mt)?, left) };
        Ok(Factors { u: u.to_dtype(dtype)?, s: s.to_dtype(real_of(dtype))?, vh: vh.to_dtype(dtype)? })
    }

    /// The singular values of matrices in the last two dims, descending. `op` is for messages.
    pub(crate) fn singular_values(&self, op: &str) -> Result<Tensor> {
        check_matrices(op, "A", self)?;
        check_inexact(op, self)?;
        Ok(self.factors(false)?.s)
    }
}

/// NaN is what LAPACK's iteration cannot end with; infinite matrices have factors of NaN.
fn check_converged(info: &Tensor) -> Result<()> {
    let Some(i) = info.to_vec::<i32>()?.iter().position(|&code| code != 0) else { return Ok(()) };
    let element = if info.rank() > 0 { format!("(Batch element {i}): ") } else { String::new() };
    let cause = match info.to_vec::<i32>()?.get(i) {
        Some(2) => "contained non-finite values",
        _ => "is ill-conditioned or has too many repeated singular values",
    };
    Err(Error::Linalg(format!("linalg.svd: {element}The algorithm failed to converge because the input matrix {cause}.")))
}

/// As a row, or a column, of matrices of scale factors.
fn row(x: &Tensor) -> Result<Tensor> {
    x.unsqueeze(-2)
}

fn column(x: &Tensor) -> Result<Tensor> {
    x.unsqueeze(-1)
}

fn skew(x: &Tensor) -> Result<Tensor> {
    x - &x.mh()?
}

impl Factors {
    /// With as many columns more as make U and V square.
    fn completed(self) -> Result<Factors> {
        let Factors { u, s, vh } = self;
        Ok(Factors { u: super::qr::completed(&u)?, s, vh: super::qr::completed(&vh.mh()?)?.mh()?.with_columns()? })
    }

    /// The gradient of the matrices; infinite where singular values are equal, unless it is of these alone.
    ///
    /// Source: torch's `svd_backward`; Giles, "An extended collection of matrix derivative results", 2008.
    fn backward(&self, [gu, gs, gvh]: Gradients) -> Result<Option<Tensor>> {
        let Factors { u, s, vh } = self;
        let (m, k, n) = (sides(u).0, sides(u).1, sides(vh).1);
        if gu.is_none() && gvh.is_none() {
            let Some(gs) = gs else { return Ok(None) };
            let product = if m >= n { u.matmul(&(column(&gs)? * vh)?) } else { (u * row(&gs)?)?.matmul(vh) };
            return product.map(Some);
        }
        let squares = (s * s)?;
        let gaps = ((row(&squares)? - column(&squares)?)? + identity(&with(s.shape(), &[k]), s.dtype())?)?;
        let turn_u = gu.as_ref().map(|gu| skew(&u.mh()?.matmul(gu)?)).transpose()?;
        let turn_v = gvh.as_ref().map(|gvh| skew(&vh.matmul(&gvh.mh()?)?)).transpose()?;
        check_phases(turn_u.as_ref(), turn_v.as_ref())?;
        let mut inner = match (&turn_u, turn_v) {
            (Some(a), Some(b)) => (((a * row(s)?)? + (column(s)? * b)?)? / &gaps)?,
            (Some(a), None) => ((a / &gaps)? * row(s)?)?,
            (None, Some(b)) => (column(s)? * (b / &gaps)?)?,
            (None, None) => return Ok(None),
        };
        if let (Some(turn), Some(_)) = (&turn_u, &gvh)
            && u.dtype().is_complex()
        {
            // A phase that both vectors of a pair share moves A.
            inner = inner.with_diagonal(&(turn.diagonal(0, -2, -1)? / (s * 2.0)?)?)?;
        }
        if let Some(gs) = gs {
            inner = (inner + gs.diag_embed(0, -2, -1)?)?;
        }
        let product = match (gu, gvh) {
            // What of the gradient lies outside the columns of U, or of V.
            (Some(gu), _) if m > k => {
                let outside = (gu / &row(s)?)?;
                let inside = u.matmul(&u.mh()?.matmul(&outside)?)?;
                ((u.matmul(&inner)? + outside)? - inside)?.matmul(vh)
            }
            (_, Some(gvh)) if n > k => {
                let outside = (gvh / &column(s)?)?;
                let inside = outside.matmul(&vh.mh()?)?.matmul(vh)?;
                u.matmul(&((inner.matmul(vh)? + outside)? - inside)?)
            }
            _ if m >= n => u.matmul(&inner.matmul(vh)?),
            _ => u.matmul(&inner)?.matmul(vh),
        };
        product.map(Some)
    }
}

/// Fails if a loss depends on the phases of complex vectors, which are a matter of choice.
fn check_phases(turn_u: Option<&Tensor>, turn_v: Option<&Tensor>) -> Result<()> {
    let sum = match (turn_u, turn_v) {
        (Some(a), Some(b)) => (a + b)?,
        (Some(a), None) | (None, Some(a)) => a.clone(),
        (None, None) => return Ok(()),
    };
    if is_recording() || !sum.dtype().is_complex() {
        return Ok(());
    }
    let imag = sum.detached(false).diagonal(0, -2, -1)?.imag()?.abs()?.to_dtype(DType::F64)?.contiguous()?.to_vec::<f64>()?;
    if imag.iter().any(|&v| v > 1e-2) {
        let text = "svd_backward: The singular vectors in the complex case are specified up to multiplication by e^{i phi}. The \
                    specified loss function depends on this phase term, making it ill-defined.";
        return Err(Error::Undefined(text.into()));
    }
    Ok(())
}

fn check_driver(driver: Option<&str>) -> Result<()> {
    match driver {
        None => Ok(()),
        Some(_) => {
            runtime_error!("linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")
        }
    }
}

/// U, S and V^H of A = U diag(S) V^H, where the columns of U and of V are orthonormal, and S descends. With `full_matrices`, U and
/// V are square.
///
/// Shape: (*, m, n) to (*, m, k), (*, k) and (*, k, n), where k is the smaller of m and n. Dtype: float or complex; S is real.
/// Derivative: needs distinct singular values that are not zero; what makes U and V square has none.
/// Raises: LinAlgError for NaN. `driver` must be None, as for torch on a CPU.
#[pyfunction(name = "svd")]
#[pyo3(signature = (A, full_matrices=true, *, driver=None))]
#[allow(non_snake_case)]
pub fn linalg_svd(A: &Tensor, full_matrices: bool, driver: Option<&str>) -> Result<Named> {
    check_driver(driver)?;
    check_matrices("linalg.svd", "A", A)?;
    check_inexact("linalg.svd", A)?;
    let Factors { u, s, vh } = A.factors(full_matrices)?;
    Ok(Named::new("linalg_svd", [u.with_columns()?, s, vh.with_columns()?]))
}

#[pymethods]
impl Tensor {
    /// U, S and V of A = U diag(S) V^H, by the old name: with `some` false, U and V are square; with `compute_uv` false, they are zeros.
    /// See `linalg.svd`.
    #[pyo3(signature = (some=true, compute_uv=true))]
    pub fn svd(&self, some: bool, compute_uv: bool) -> Result<Named> {
        check_matrices("linalg.svd", "A", self)?;
        check_inexact("linalg.svd", self)?;
        if compute_uv {
            let Factors { u, s, vh } = self.factors(!some)?;
            return Ok(Named::new("svd", [u.with_columns()?, s, vh.with_columns()?.mh()?]));
        }
        let (m, n) = sides(self);
        let zeros = |n: usize| Tensor::zeroed("svd", &with(&batch(self, 2), &[n, n]), self.dtype());
        Ok(Named::new("svd", [zeros(m)?, self.factors(false)?.s, zeros(n)?.mt()?]))
    }
}

/// The singular values of matrices, descending.
///
/// Shape: (*, m, n) to (*, k), where k is the smaller of m and n. Dtype: float; computed in double precision.
/// Derivative: the second is infinite where two singular values are equal.
/// Raises: LinAlgError for NaN. `driver` must be None, as for torch on a CPU.
#[pyfunction]
#[pyo3(signature = (A, *, driver=None))]
#[allow(non_snake_case)]
pub fn svdvals(A: &Tensor, driver: Option<&str>) -> Result<Tensor> {
    check_driver(driver)?;
    A.singular_values("linalg.svd")
}
