//! Singular values and vectors of matrices, always computed in double precision.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::kernels::linalg::svd;
use crate::kernels::{par, without_interpreter};
use crate::layout::Shape;
use crate::ops::along::Target;
use crate::ops::arguments::MemoryFormat;
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::{Node, Recorder, SavedOutput, is_recording, without_recording};
use crate::tensor::Tensor;

/// What matrices A are the products of: U (*, m, k), S (*, k) and V^T (*, k, n), where k is the smaller of m and n.
pub(crate) struct Factors {
    u: Tensor,
    s: Tensor,
    vh: Tensor,
}

/// Gradients of the factors, as far as there are any.
type Gradients<'a> = &'a [Option<Tensor>];

impl Tensor {
    /// The factors of matrices, on the tape.
    pub(crate) fn factors(&self) -> Result<Factors> {
        let x = self;
        let Factors { u, s, vh } = without_recording(|| x.factors_unrecorded())?;
        if !(is_recording() && x.requires_grad()) {
            return Ok(Factors { u, s, vh });
        }
        let mut recorder = Recorder::new("linalg_svd");
        recorder.input(x);
        let saved = [&u, &s, &vh].into_iter().enumerate().map(|(i, y)| SavedOutput::of_several(y, i)).collect::<Vec<_>>();
        let rule = move |grads: Gradients<'_>, _: &[bool], node: &Arc<Node>| {
            let [u, s, vh] = [0, 1, 2].map(|i: usize| saved[i].unpack(node));
            Ok(vec![Factors { u, s, vh }.backward(grads)?])
        };
        match <[Tensor; 3]>::try_from(recorder.finish_joint(vec![u, s, vh], Arc::new(rule), true)?) {
            Ok([u, s, vh]) => Ok(Factors { u, s, vh }),
            Err(_) => runtime_error!("linalg.svd: lost an output"),
        }
    }

    fn factors_unrecorded(&self) -> Result<Factors> {
        let (dtype, rank) = (self.dtype(), self.rank());
        let (m, n) = (self.shape()[rank - 2], self.shape()[rank - 1]);
        let (rows, k) = (m.max(n), m.min(n));
        let x = self.detached_read()?.to_dtype(DType::F64)?;
        // The shorter side are the columns: they lie one after the other in what the kernel works on.
        let left = if m >= n { x.mt()? } else { x }.clone_in(MemoryFormat::Contiguous)?;
        let mut shape = Shape::from_slice(&self.shape()[..rank - 1]);
        shape[rank - 2] = k;
        let s = Tensor::uninitialized("linalg.svd", &shape, DType::F64)?;
        shape.push(k);
        let right = Tensor::uninitialized("linalg.svd", &shape, DType::F64)?;
        let count = shape[..rank - 2].iter().product();
        decompose(count, rows, &left, &s, &right)?;
        let (u, vh) = if m >= n { (left.mt()?, right) } else { (right.mt()?, left) };
        Ok(Factors { u: u.to_dtype(dtype)?, s: s.to_dtype(dtype)?, vh: vh.to_dtype(dtype)? })
    }

    /// The singular values of matrices in the last two dims, descending. `op` is for messages.
    pub(crate) fn singular_values(&self, op: &str) -> Result<Tensor> {
        if self.rank() < 2 {
            return runtime_error!("{op}: The input tensor A must have at least 2 dimensions.");
        }
        self.only_real("linalg.svd")?;
        if !self.dtype().is_float() {
            return runtime_error!(
                "{op}: Expected a floating point or complex tensor as input. Got {}",
                self.dtype().type_word()
            );
        }
        Ok(self.factors()?.s)
    }
}

/// Decomposes each of `count` matrices: the columns in `left` become its left vectors.
fn decompose(count: usize, rows: usize, left: &Tensor, s: &Tensor, right: &Tensor) -> Result<()> {
    let k = s.shape().last().copied().unwrap_or(0);
    let _access = Access::new(&[], &[left.storage(), s.storage(), right.storage()]);
    let work = count * rows * k * k;
    // SAFETY: contiguous, of this dtype, and locked.
    let values = unsafe { left.slice::<f64>() };
    if let Some(place) = values.iter().position(|v| v.is_nan()) {
        return Err(Error::Linalg(format!(
            "linalg.svd: (Batch element {}): The algorithm failed to converge because the input matrix contained non-finite values.",
            place / (rows * k)
        )));
    }
    let (to_left, to_s, to_right) = (Target::<f64>::of(left), Target::<f64>::of(s), Target::<f64>::of(right));
    let failed = AtomicUsize::new(usize::MAX);
    without_interpreter(work, || {
        par::for_ranges(count, (10_000 / (rows * k * k).max(1)).max(1), &|range| {
            for i in range {
                // SAFETY: the parts of matrix i, which this thread alone works on.
                let (left, s, right) =
                    unsafe { (to_left.part(i * rows * k, rows * k), to_s.part(i * k, k), to_right.part(i * k * k, k * k)) };
                if left.iter().all(|v| v.is_finite()) {
                    if !svd::svd(rows, left, s, right) {
                        failed.fetch_min(i, Ordering::Relaxed);
                    }
                } else {
                    [left, s, right].into_iter().for_each(|part| part.fill(f64::NAN));
                }
            }
        });
    });
    match failed.into_inner() {
        usize::MAX => Ok(()),
        i => Err(Error::Linalg(format!(
            "linalg.svd: (Batch element {i}): The algorithm failed to converge because the input matrix is ill-conditioned or \
             has too many repeated singular values."
        ))),
    }
}

/// As a row, or a column, of matrices of scale factors.
fn row(x: &Tensor) -> Result<Tensor> {
    x.unsqueeze(-2)
}

fn column(x: &Tensor) -> Result<Tensor> {
    x.unsqueeze(-1)
}

fn skew(x: &Tensor) -> Result<Tensor> {
    x - &x.mt()?
}

impl Factors {
    /// The gradient of the matrices; infinite where singular values are equal, unless it is of these alone.
    ///
    /// Source: torch's `svd_backward`; Giles, "An extended collection of matrix derivative results", 2008.
    fn backward(&self, grads: Gradients<'_>) -> Result<Option<Tensor>> {
        let Factors { u, s, vh } = self;
        let [gu, gs, gvh] = [0, 1, 2].map(|i: usize| grads.get(i).and_then(Option::as_ref));
        let (m, k, n) = (u.shape()[u.rank() - 2], s.shape()[s.rank() - 1], vh.shape()[vh.rank() - 1]);
        if gu.is_none() && gvh.is_none() {
            let Some(gs) = gs else { return Ok(None) };
            let product = if m >= n { u.matmul(&(column(gs)? * vh)?) } else { (u * row(gs)?)?.matmul(vh) };
            return product.map(Some);
        }
        let squares = (s * s)?;
        let one = Tensor::from_scalar(Scalar::Int(1), s.dtype())?.expand_to("linalg_svd", s.shape())?.diag_embed(0, -2, -1)?;
        let gaps = ((row(&squares)? - column(&squares)?)? + one)?;
        let turn_u = gu.map(|gu| skew(&u.mt()?.matmul(gu)?)).transpose()?;
        let turn_v = gvh.map(|gvh| skew(&vh.matmul(&gvh.mt()?)?)).transpose()?;
        let mut inner = match (turn_u, turn_v) {
            (Some(a), Some(b)) => (((a * row(s)?)? + (column(s)? * b)?)? / &gaps)?,
            (Some(a), None) => ((a / &gaps)? * row(s)?)?,
            (None, Some(b)) => (column(s)? * (b / &gaps)?)?,
            (None, None) => return Ok(None),
        };
        if let Some(gs) = gs {
            inner = (inner + gs.diag_embed(0, -2, -1)?)?;
        }
        let product = match (gu, gvh) {
            // What of the gradient lies outside the columns of U, or of V.
            (Some(gu), _) if m > k => {
                let outside = (gu / &row(s)?)?;
                let inside = u.matmul(&u.mt()?.matmul(&outside)?)?;
                ((u.matmul(&inner)? + outside)? - inside)?.matmul(vh)
            }
            (_, Some(gvh)) if n > k => {
                let outside = (gvh / &column(s)?)?;
                let inside = outside.matmul(&vh.mt()?)?.matmul(vh)?;
                u.matmul(&((inner.matmul(vh)? + outside)? - inside)?)
            }
            _ if m >= n => u.matmul(&inner.matmul(vh)?),
            _ => u.matmul(&inner)?.matmul(vh),
        };
        product.map(Some)
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
pub fn svdvals(A: &Tensor, driver: Option<String>) -> Result<Tensor> {
    if driver.is_some() {
        return runtime_error!("linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.");
    }
    A.singular_values("linalg.svd")
}
