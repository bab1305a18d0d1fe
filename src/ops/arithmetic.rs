//! Sums, differences, products, quotients and powers.

use pyo3::prelude::*;

use super::arguments::Operand;
use super::kernel::{promoted, promoted_float};
use crate::dtype::{DType, Number, Scalar};
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tensor::Tensor;
use crate::vjp;

impl Tensor {
    /// `self + other`, for Rust callers.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        let y = zip_map!("add", a, b, |u, v| u.add(v))?;
        vjp!("add", y, { a: |g| Ok(g.clone()), b: |g| Ok(g.clone()) })
    }

    /// `self - other`, for Rust callers.
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        if a.dtype() == DType::Bool {
            return runtime_error!(
                "sub: the `-` operator with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead."
            );
        }
        let y = zip_map!("sub", a, b, |u, v| u.sub(v))?;
        vjp!("sub", y, { a: |g| Ok(g.clone()), b: |g| g.neg() })
    }

    /// `self * other`, for Rust callers.
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        let y = zip_map!("mul", a, b, |u, v| u.mul(v))?;
        vjp!("mul", y, { a: |g| g * &b, b: |g| g * &a })
    }

    /// `self / other`, for Rust callers.
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted_float(self, other)?;
        let y = float_zip_map!("div", a, b, |u, v| u / v)?;
        vjp!("div", y, { a: |g| g / &b, b: |g| -&(g * &((&a / &b)? / &b)?)? })
    }

    /// `self += other`, not recorded.
    pub(crate) fn add_in_place(&self, other: &Tensor) -> Result<()> {
        crate::tape::view::in_place("add_", self, other.requires_grad(), |x| x.add(other))
    }
}

#[pymethods]
impl Tensor {
    /// Sum of two tensors, the second times `alpha`.
    ///
    /// Shape: broadcast. Dtype: any; promotes.
    /// Raises: RuntimeError if `alpha` is of a higher kind (bool, int, float) than the result.
    #[pyo3(name = "add", signature = (other, *, alpha=Scalar::Int(1)))]
    pub fn add_scaled(&self, other: Operand, alpha: Scalar) -> Result<Tensor> {
        let b = other.tensor()?;
        if alpha == Scalar::Int(1) {
            return self.add(&b);
        }
        let (a, b) = promoted(self, &b)?;
        check_alpha("add", alpha, a.dtype())?;
        let y = crate::dispatch_all!(a.dtype(), "add", T => {
            let factor: T = alpha.to();
            super::kernel::binary::<T, T, T>("add", &a, &b, move |u, v| u.add(factor.mul(v)))
        })?;
        vjp!("add", y, { a: |g| Ok(g.clone()), b: |g| g * alpha.to_f64() })
    }

    /// Opposite of each element.
    ///
    /// Shape: any, kept. Dtype: any but bool.
    pub fn neg(&self) -> Result<Tensor> {
        let x = self;
        if x.dtype() == DType::Bool {
            return runtime_error!(
                "neg: the `-` operator on a bool tensor is not supported. Use the `~` or `logical_not()` operator instead."
            );
        }
        let y = number_map!("neg", x, |v| T::ZERO.sub(v))?;
        vjp!("neg", y, { x: |g| g.neg() })
    }
}

in_place! {
    /// `self += alpha * other`; see `add`.
    add_(other, *, alpha=Scalar::Int(1))(other: Operand, alpha: Scalar) [other] |x| x.add_scaled(other, alpha);
}

in_place! { neg_ neg }

/// `alpha` must be of no higher kind than the result.
pub(crate) fn check_alpha(op: &'static str, alpha: Scalar, dtype: DType) -> Result<()> {
    let kind = alpha.dtype(DType::F32).kind();
    if kind > dtype.kind() {
        return Err(Error::Runtime(format!(
            "{op}: alpha of type {} cannot scale a result of type {dtype}: for integral input tensors, argument alpha must not be a floating point number",
            match alpha {
                Scalar::Float(_) => "float",
                Scalar::Int(_) => "int",
                Scalar::Bool(_) => "bool",
            },
        )));
    }
    Ok(())
}
