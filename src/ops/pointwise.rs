//! Functions of one element at a time.

use pyo3::prelude::*;

use crate::error::Result;
use crate::tensor::Tensor;
use crate::vjp;

#[pymethods]
impl Tensor {
    /// Natural exponential of each element.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn exp(&self) -> Result<Tensor> {
        let x = self.to_float()?;
        let y = float_map!("exp", x, |v: T| v.exp())?;
        vjp!("exp", y, { x: |g, y| g * y })
    }
}
