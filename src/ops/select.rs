//! Elements chosen or blended from several tensors: `where`, `lerp`, `addcmul` and the like.

use pyo3::prelude::*;

use super::arguments::{OneOrSeveral, Operand};
use super::kernel::{promoted, promoted_float, result_type, ternary};
use super::power::check_in_range;
use crate::dtype::{Bool, DType, Number, Ordered, Scalar};
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

impl Tensor {
    /// Elements of `a` where this bool tensor is true, else of `b`.
    pub fn where_of(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let condition = match self.dtype() {
            DType::Bool => self.clone(),
            DType::U8 => {
                static BYTES: Once =
                    Once::new(c"where received a uint8 condition tensor. This is deprecated; use a boolean condition instead.");
                BYTES.warn()?;
                self.to_dtype(DType::Bool)?
            }
            got => {
                return runtime_error!("where: expected the condition to be a boolean tensor, but got a tensor with dtype {got}");
            }
        };
        let (a, b) = promoted(a, b)?;
        let y = crate::dispatch_all!(a.dtype(), "where", T =>
            ternary::<Bool, T, T, T>("where", &condition, &a, &b, #[inline(always)] |c, u, v| if c.get() { u } else { v }))?;
        let (condition, same) = (condition.save(), condition.save());
        vjp!("where", y, { a: |g| condition.choose(g, 0.0), b: |g| same.choose_or(0.0, g) })
    }

    /// The same for tensors and numbers, which must fit the dtype of the answer.
    fn where_of_operands(&self, a: Operand, b: Operand) -> Result<Tensor> {
        let numbers = [a.number(), b.number()];
        let (a, b) = match (a, b) {
            (Operand::Tensor(a), b) => (a.clone(), b.beside(&a)?),
            (a, Operand::Tensor(b)) => (a.beside(&b)?, b),
            (a, b) => (a.tensor()?, b.tensor()?),
        };
        let dtype = result_type(&[&a, &b]);
        numbers.into_iter().flatten().try_for_each(|number| check_in_range(number, dtype))?;
        self.where_of(&a, &b)
    }

    /// Elements of `a` where this bool tensor is true, else a number.
    pub(crate) fn choose(&self, a: &Tensor, number: f64) -> Result<Tensor> {
        self.where_of(a, &Operand::from(number).beside(a)?)
    }

    /// A number where this bool tensor is true, else elements of `b`.
    pub(crate) fn choose_or(&self, number: f64, b: &Tensor) -> Result<Tensor> {
        self.where_of(&Operand::from(number).beside(b)?, b)
    }

    /// A gradient times a slope, and 0 where this bool tensor is true, whatever the slope: also for a tangent.
    pub(crate) fn zero_or_product(&self, g: &Tensor, slope: &Tensor) -> Result<Tensor> {
        if is_forward() { g * self.choose_or(0.0, slope)? } else { self.choose_or(0.0, &(g * slope)?) }
    }
}

#[pymethods]
impl Tensor {
    /// The tensor's elements where `condition` is true, else those of `other`; see `ferrograd.where`.
    #[pyo3(name = "where", signature = (condition, other))]
    fn where_method(&self, condition: &Tensor, other: Operand) -> Result<Tensor> {
        condition.where_of_operands(self.into(), other)
    }

    /// From `self` to `end` by `weight`: self + weight · (end - self).
    ///
    /// Shape: broadcast. Dtype: float, the same for all.
    /// Raises: RuntimeError for different dtypes.
    #[pyo3(signature = (end, weight))]
    pub fn lerp(&self, end: &Tensor, weight: Operand) -> Result<Tensor> {
        let (wanted, number) = (self.dtype(), weight.number());
        if let Operand::Number(value) = weight {
            check_in_range(value, wanted)?;
        }
        let (a, b, w) = (self, end, weight.tensor()?);
        check_lerp(wanted, b.dtype(), "end")?;
        if w.rank() > 0 {
            check_lerp(wanted, w.dtype(), "weight")?;
        }
        let w = w.to_dtype(wanted)?;
        // From the nearer end, so that weight 1 gives `end` exactly; rounded once after the difference, as in torch.
        let y = if wanted.is_complex() {
            without_recording(|| a.kept() + (&w * (b - &a.kept())?)?)?
        } else {
            float_zip3_map!("lerp", a, b, w, |u: T, v: T, w: T| {
                if w.abs() < 0.5 { w.mul_add(v - u, u) } else { (w - 1.0).mul_add(v - u, v) }
            })?
        };
        if let Some(weight) = number {
            let (rest, part) = match weight {
                Scalar::Complex(w) => (Scalar::Complex((1.0 - w).conj()), Scalar::Complex(w.conj())),
                w => (Scalar::Float(1.0 - w.to_f64()), w),
            };
            return vjp!("lerp", y, { a: |g| g * rest, b: |g| g * part }, saves { weight });
        }
        let y = vjp!("lerp.1", y, { a: |g| g * (1.0 - &w)?.conj(), b: |g| g * w.conj(), w: |g| g * (&b - &a)?.conj() })?;
        Ok(if a.requires_grad() || b.requires_grad() { y } else { y.watching(&[&w]) })
    }

    /// self + value · tensor1 · tensor2.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    #[pyo3(signature = (tensor1, tensor2, *, value=Scalar::Int(1)))]
    pub fn addcmul(&self, tensor1: &Tensor, tensor2: &Tensor, value: Scalar) -> Result<Tensor> {
        let dtype = result_type(&[self, tensor1, tensor2]);
        let (x, a, b) = (self.to_dtype(dtype)?, tensor1.as_operand(dtype)?, tensor2.as_operand(dtype)?);
        let value = value.for_use_with("addcmul", dtype)?;
        let y = match dtype {
            // As torch, the second product and the sum are rounded together.
            DType::F32 | DType::F64 => {
                let factor = value.to_f64();
                float_zip3_map!("addcmul", x, a, b, move |x: T, u: T, v: T| (factor as T * u).mul_add(v, x))
            }
            _ => crate::dispatch_numbers!(dtype, "addcmul", T => {
                let factor: T = value.to();
                ternary::<T, T, T, T>("addcmul", &x, &a, &b, #[inline(always)] move |x, u, v| x.add(factor.mul(u).mul(v)))
            }),
        }?;
        vjp!("addcmul", y, { x: |g| Ok(g.clone()), a: |g| g * (&b * value)?.conj(), b: |g| g * (&a * value)?.conj() }, saves {
            value
        })
    }

    /// self + value · tensor1 / tensor2.
    ///
    /// Shape: broadcast. Dtype: float; promotes.
    /// Raises: RuntimeError if both tensor1 and tensor2 are integers.
    #[pyo3(signature = (tensor1, tensor2, *, value=Scalar::Int(1)))]
    pub fn addcdiv(&self, tensor1: &Tensor, tensor2: &Tensor, value: Scalar) -> Result<Tensor> {
        if !tensor1.dtype().is_inexact() && !tensor2.dtype().is_inexact() {
            return runtime_error!(
                "addcdiv: integer division is not supported ({} by {}); divide first, with true_divide or with div and a rounding_mode",
                tensor1.dtype(),
                tensor2.dtype()
            );
        }
        let dtype = result_type(&[self, tensor1, tensor2]);
        let (x, a, b) = (self.to_dtype(dtype)?, tensor1.as_operand(dtype)?, tensor2.as_operand(dtype)?);
        if dtype.is_complex() {
            return x.add(&((&*a / &*b)? * value)?);
        }
        let given = value;
        let value = value.for_use_with("addcdiv", dtype)?.to_f64();
        let y = float_zip3_map!("addcdiv", x, a, b, move |x: T, u: T, v: T| x + value as T * u / v)?;
        vjp!("addcdiv", y, {
            x: |g| Ok(g.clone()),
            a: |g| g * (value / &b),
            b: |g| -&(g * ((&a * value)? / (&b * &b)?))?,
        }, saves { value: given })
        .map(|y| y.watching(&[&b]))
    }

    /// The magnitude of `self` with the sign of `other`.
    ///
    /// Shape: broadcast. Dtype: float; integers promote to the default float.
    /// Derivative: 0 at 0; `other` has zeros, and no tangent.
    #[pyo3(signature = (other))]
    pub fn copysign(&self, other: Operand) -> Result<Tensor> {
        let op = if matches!(other, Operand::Number(_)) { "copysign.1" } else { "copysign" };
        let other = other.tensor()?;
        let (a, b) = promoted_float(self, &other)?;
        let y = float_zip_map!("copysign", a, b, |u: T, v: T| u.copysign(v))?;
        let b = b.without_tangent();
        let y = vjp!(op, y, { a: |g, y| g * a.equals(0.0)?.choose_or(0.0, &(y / &a)?), b: |g| g.as_zeros() })?;
        Ok(y.watching_itself())
    }

    /// 0 below 0, 1 above, and `values` at 0.
    ///
    /// Shape: broadcast. Dtype: any, the same for both.
    /// Derivative: none.
    /// Raises: RuntimeError for different dtypes.
    #[pyo3(signature = (values))]
    pub fn heaviside(&self, values: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, values);
        if a.dtype() != b.dtype() {
            return runtime_error!("heaviside: not implemented for different dtypes, {} and {}", a.dtype(), b.dtype());
        }
        a.only_real_for("heaviside")?;
        let y = ordered_zip_map!("heaviside", a, b, |u: T, v: T| {
            if u == T::ZERO {
                v
            } else if u > T::ZERO {
                T::ONE
            } else {
                T::ZERO
            }
        })?;
        let none = || Err(Error::NoDerivative { op: "heaviside" });
        vjp!("=NotImplemented", y, { a: |_g| none(), b: |_g| none() })
    }

    /// log(e^self + e^other), without overflow in between.
    ///
    /// Shape: broadcast. Dtype: float.
    #[pyo3(signature = (other))]
    pub fn logaddexp(&self, other: &Tensor) -> Result<Tensor> {
        use crate::kernels::math::{exp, log1p};
        let (a, b) = promoted(self, other)?;
        if a.dtype().is_complex() {
            let first = a.part(0).ge((&b.part(0)).into())?;
            let (high, low) = (first.where_of(&a, &b)?, first.where_of(&b, &a)?);
            return &high + (low - &high)?.exp()?.log1p();
        }
        let y = float_zip_map!("logaddexp", a, b, long |u: T, v: T| {
            if u.is_infinite() && u == v { u } else { Ordered::max(u, v) + log1p(exp(-(u - v).abs())) }
        })?;
        vjp!("logaddexp", y, {
            a: |g| g / ((&b - &a)?.exp()? + 1.0),
            b: |g| g / ((&a - &b)?.exp()? + 1.0),
        })
    }

    /// log2(2^self + 2^other), without overflow in between.
    ///
    /// Shape: broadcast. Dtype: float.
    #[pyo3(signature = (other))]
    pub fn logaddexp2(&self, other: &Tensor) -> Result<Tensor> {
        use crate::kernels::math::{exp2, log1p};
        let (a, b) = promoted(self, other)?;
        let y = float_zip_map!("logaddexp2", a, b, long |u: T, v: T| {
            let rest = || log1p(exp2(-(u - v).abs())) * std::f64::consts::LOG2_E as T;
            if u.is_infinite() && u == v { u } else { Ordered::max(u, v) + rest() }
        })?;
        vjp!("logaddexp2", y, {
            a: |g| g / ((&b - &a)?.exp2()? + 1.0),
            b: |g| g / ((&a - &b)?.exp2()? + 1.0),
        })
    }

    /// self · log(other), and 0 where `self` is 0, unless `other` is NaN.
    ///
    /// Shape: broadcast. Dtype: float; integers promote to the default float. Domain: (0.2, 4) for `other`.
    #[pyo3(signature = (other))]
    pub fn xlogy(&self, other: Operand) -> Result<Tensor> {
        let op = match (self.is_number(), &other) {
            (true, _) => "xlogy.1",
            (_, Operand::Number(_)) => "xlogy.2",
            _ => "xlogy",
        };
        let other = other.beside(self)?;
        let (a, b) = promoted_float(self, &other)?;
        let y = float_zip_map!("xlogy", a, b, long |u: T, v: T| {
            if v.is_nan() {
                v
            } else if u == 0.0 {
                0.0
            } else {
                u * crate::kernels::math::ln(v)
            }
        })?;
        vjp!(op, y, {
            a: |g| {
                let flat = a.equals(0.0)?.logical_and(&b.le(0.0.into())?)?;
                flat.choose_or(0.0, &g.xlogy((&b).into())?)
            },
            b: |g| g * (&a / &b),
        })
    }
}

/// Elements of `input` where `condition` is true, else of `other`. With the condition alone: where it is true, as one
/// tensor of coordinates for each dim.
///
/// Shape: broadcast. Dtype: any; promotes. `condition`: bool.
/// Raises: RuntimeError for a condition of another dtype, TypeError if just one of the values is given.
#[pyfunction]
#[pyo3(name = "where", signature = (condition, input=None, other=None))]
pub fn where_(condition: &Tensor, input: Option<Operand>, other: Option<Operand>) -> Result<OneOrSeveral> {
    match (input, other) {
        (Some(a), Some(b)) => condition.where_of_operands(a, b).map(OneOrSeveral::One),
        (None, None) => condition.nonzero(true),
        _ => Err(Error::Type("where: expected both 'input' and 'other', or neither".into())),
    }
}

in_place! {
    /// In place; see `lerp`.
    lerp_(end, weight)(end: &Tensor, weight: Operand) [end, weight] |x| x.lerp(end, weight);
    /// In place; see `addcmul`.
    addcmul_(tensor1, tensor2, *, value=Scalar::Int(1))(tensor1: &Tensor, tensor2: &Tensor, value: Scalar) [tensor1, tensor2]
        |x| x.addcmul(tensor1, tensor2, value);
    /// In place; see `addcdiv`.
    addcdiv_(tensor1, tensor2, *, value=Scalar::Int(1))(tensor1: &Tensor, tensor2: &Tensor, value: Scalar) [tensor1, tensor2]
        |x| x.addcdiv(tensor1, tensor2, value);
    /// In place; see `copysign`.
    copysign_(other)(other: Operand) [other] |x| x.copysign(other);
    /// In place; see `heaviside`.
    heaviside_(values)(values: &Tensor) [values] |x| x.heaviside(values);
    /// In place; see `xlogy`.
    xlogy_(other)(other: Operand) [other] |x| x.xlogy(other);
}

fn check_lerp(wanted: DType, got: DType, what: &str) -> Result<()> {
    if wanted == got { Ok(()) } else { runtime_error!("lerp: expected dtype {wanted} for `{what}` but got dtype {got}") }
}
