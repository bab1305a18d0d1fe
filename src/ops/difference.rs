//! Differences of neighbours, and the cross product.

use pyo3::prelude::*;

use super::arguments::MemoryFormat;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::layout::broadcast_shapes;
use crate::runtime_error;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

#[pymethods]
impl Tensor {
    /// The differences of neighbours along `dim`, taken `n` times, after `prepend` and `append` have been put before and behind.
    ///
    /// Shape: `dim` loses `n` places. Dtype: any, kept; of bools whether they differ.
    /// Raises: RuntimeError for no dims, a negative `n`, and parts that do not fit.
    #[pyo3(signature = (n=1, dim=-1, prepend=None, append=None))]
    pub fn diff(&self, n: isize, dim: isize, prepend: Option<&Tensor>, append: Option<&Tensor>) -> Result<Tensor> {
        if self.rank() == 0 {
            return runtime_error!("diff: expects input to be at least one-dimensional");
        }
        if n < 0 {
            return runtime_error!("diff: order must be non-negative but got {n}");
        }
        // As in torch, nobody asks for the dim if there is nothing to do along it.
        let idle = n == 0 && prepend.is_none() && append.is_none();
        let dim = if idle { 0 } else { self.layout().dim("diff", dim)? };
        for part in [prepend, append].into_iter().flatten() {
            let fits = |(d, (a, b)): (usize, (&usize, &usize))| d == dim || a == b;
            if part.rank() != self.rank() || !self.shape().iter().zip(part.shape()).enumerate().all(fits) {
                return runtime_error!(
                    "diff: expects prepend or append to be of the shape of the input, {:?}, but in dim {dim}, got {:?}",
                    self.shape(),
                    part.shape()
                );
            }
        }
        if n == 0 {
            let y = self.empty_like(self.dtype(), MemoryFormat::Preserve)?;
            y.copy_from(self)?;
            return Ok(y);
        }
        let parts: Vec<Tensor> = [prepend, Some(self), append].into_iter().flatten().cloned().collect();
        let mut y = if parts.len() == 1 { self.clone() } else { Tensor::joined("cat", &parts, dim)? };
        for _ in 0..(n as usize).min(y.shape()[dim]) {
            let length = y.shape()[dim] - 1;
            let (after, before) = (y.slice_at(dim, 1, length, 1)?, y.slice_at(dim, 0, length, 1)?);
            y = if y.dtype() == DType::Bool { after.logical_xor(&before)? } else { (after - before)? };
        }
        Ok(y)
    }

    /// The cross product of vectors of 3 elements in dim `dim`; if that is None, in the first dim of size 3.
    ///
    /// Shape: any, broadcast, of equally many dims. Dtype: any but bool; the same in both.
    /// Raises: RuntimeError for other sizes, shapes that do not fit and different dtypes.
    #[pyo3(signature = (other, dim=None))]
    pub fn cross(&self, other: &Tensor, dim: Option<isize>) -> Result<Tensor> {
        static WITHOUT_DIM: Once = Once::new(
            c"Using torch.cross without specifying the dim arg is deprecated. torch.linalg.cross takes the last dim if there is none.",
        );
        if dim.is_none() {
            WITHOUT_DIM.warn()?;
        }
        let Some(dim) = dim.or_else(|| self.shape().iter().position(|&n| n == 3).map(|d| d as isize)) else {
            return runtime_error!("cross: no dimension of size 3 in input, got shape {:?}", self.shape());
        };
        cross_product(self, other, dim)
    }
}

/// The cross product of vectors of 3 elements in dim `dim`.
///
/// Shape: any, broadcast, of equally many dims. Dtype: any but bool; the same in both.
/// Raises: RuntimeError for other sizes, shapes that do not fit and different dtypes.
#[pyfunction(name = "cross")]
#[pyo3(signature = (input, other, *, dim=-1))]
pub fn cross_product(input: &Tensor, other: &Tensor, dim: isize) -> Result<Tensor> {
    let (a, b) = (input, other);
    if a.rank() != b.rank() {
        return runtime_error!("linalg.cross: inputs must have the same number of dimensions, got {} and {}", a.rank(), b.rank());
    }
    let d = a.layout().dim("linalg.cross", dim)?;
    let of = |x: &Tensor| x.shape().get(d).copied().unwrap_or(1);
    if of(a) != 3 || of(b) != 3 {
        return runtime_error!("linalg.cross: inputs dimension {dim} must have length 3. Got {} and {}", of(a), of(b));
    }
    if a.dtype() != b.dtype() {
        return runtime_error!("linalg.cross: expected both inputs to have the same dtype, got {} and {}", a.dtype(), b.dtype());
    }
    if a.dtype() == DType::Bool {
        return Err(Error::NotImplemented("linalg.cross: not implemented for dtype bool".into()));
    }
    let shape = broadcast_shapes("linalg.cross", a.shape(), b.shape())?;
    let y = without_recording(|| {
        let (a, b) = (a.expand_to("linalg.cross", &shape)?, b.expand_to("linalg.cross", &shape)?);
        let at = |x: &Tensor, i: usize| x.select_at(d, i % 3);
        let part = |i: usize| (at(&a, i + 1)? * at(&b, i + 2)?)? - (at(&a, i + 2)? * at(&b, i + 1)?)?;
        Tensor::stacked(&[part(0)?, part(1)?, part(2)?], d)
    })?;
    vjp!("linalg_cross", y, { a: |g| cross_product(&b.conj()?, g, dim), b: |g| cross_product(g, &a.conj()?, dim) }, saves { dim })
}
