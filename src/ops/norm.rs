//! Norms of vectors: over dims, with any exponent.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments::{Dims, Order};
use super::extremum::equal_mask;
use super::flat::flat;
use super::linalg::{Backward, record_saving};
use super::power::powers;
use super::reduce::{Reduction, fold};
use crate::dtype::{DType, Number, Scalar};
use crate::error::Result;
use crate::kernels::folds::{CountNonzero, Extreme, Largest, Smallest, Sum, SumOf};
use crate::layout::{Shape, Strides};
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tape::numbers::Saving;
use crate::tape::record::Derivative;
use crate::tape::{Node, Recorder, is_recording, without_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

impl Tensor {
    /// The sign of each element, 0 for 0 and NaN; its derivative is 0.
    fn signs(&self) -> Result<Tensor> {
        let x = self;
        let y = crate::dispatch_floats!(x.dtype(), "sgn", T => super::kernel::unary::<T, T>("sgn", &x.detached_read()?, #[inline(always)] |v| {
            if v > 0.0 { 1.0 } else if v < 0.0 { -1.0 } else { 0.0 }
        }))?;
        vjp!("sgn", y, { x: |g| flat("sgn", g) })
    }

    /// Each element to a power.
    fn raised(&self, p: f64) -> Result<Tensor> {
        let x = self;
        if p == 1.0 {
            return Ok(x.clone());
        }
        let y = powers(x, p)?;
        vjp!("pow", y, { x: |g| {
            if p == 0.0 { return super::along::zeros("pow", x.shape(), x.dtype()) }
            g * (x.raised(p - 1.0)? * p)?
        } })
    }

    /// The p-norm over dims, not recorded, with the reduced dims at size 1.
    fn norm_values(&self, p: f64, r: &Reduction) -> Result<Tensor> {
        const OP: &str = "linalg_vector_norm";
        let x = self;
        crate::dispatch_floats!(x.dtype(), OP, T => {
            let of = std::marker::PhantomData::<T>;
            let size = || super::kernel::unary::<T, T>(OP, x, #[inline(always)] |v| v.abs());
            if p == 2.0 {
                fold(OP, x, &r.dims, SumOf::<T, _>(#[inline(always)] |v: T| v * v, of), |sum| sum.sqrt())
            } else if p == 1.0 {
                fold(OP, x, &r.dims, SumOf::<T, _>(#[inline(always)] |v: T| v.abs(), of), |sum| sum)
            } else if p == 0.0 {
                fold(OP, x, &r.dims, CountNonzero::<T>::default(), |count| count as T)
            } else if p == f64::INFINITY {
                fold(OP, &size()?, &r.dims, Extreme::<T, Largest>::default(), |m| m.max(0.0 * m))
            } else if p == f64::NEG_INFINITY {
                fold(OP, &size()?, &r.dims, Extreme::<T, Smallest>::default(), |m| m)
            } else {
                powers(&fold(OP, &powers(&size()?.reusing(), p)?, &r.dims, Sum::<T, T>::default(), |sum| sum)?, 1.0 / p)
            }
        })
    }

    /// The p-norm over dims, all if there are none.
    pub(crate) fn vector_norm(&self, p: f64, dims: Option<&[isize]>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        self.norm_as("linalg_vector_norm", Scalar::Float(p), dims, keepdim, dtype)
    }

    /// The same of an order as the user has given it.
    pub(crate) fn norm_of_order(&self, p: Scalar, dims: Option<&[isize]>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        self.norm_as("linalg_vector_norm", p, dims, keepdim, dtype)
    }

    /// The same, with a node of this name.
    fn norm_as(
        &self,
        op: &'static str,
        given: Scalar,
        dims: Option<&[isize]>,
        keepdim: bool,
        dtype: Option<DType>,
    ) -> Result<Tensor> {
        let p = real_order(given)?;
        if !self.dtype().is_inexact() {
            return runtime_error!(
                "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
                self.dtype().type_word()
            );
        }
        if let Some(dtype) = dtype {
            check_norm_dtype("linalg.vector_norm", self.dtype(), dtype)?;
        }
        let x = self.to_dtype(dtype.unwrap_or(self.dtype()))?;
        if x.dtype().is_complex() {
            return x.abs()?.norm_as(op, given, dims, keepdim, None);
        }
        let r = Reduction::new("linalg.vector_norm", &x, dims, keepdim)?;
        check_norm_of_none(p, &r, dims.is_some_and(|dims| !dims.is_empty()))?;
        let y = r.finish(x.norm_values(p, &r)?);
        let named = dims.map(Strides::from_slice);
        let numbers = move || match op {
            "norm.1" => saves! { p: given, dim: named.clone(), keepdim }(),
            _ => saves! { ord: given, dim: named.clone(), keepdim }(),
        };
        if p == 0.0 {
            if crate::tape::is_recording() && x.requires_grad() {
                let mut recorder = Recorder::new(op);
                recorder.input(&x);
                return Ok(recorder
                    .finish(y, Saving { rules: Count(x.shape().into()), numbers }, false)?
                    .watching(&[&x])
                    .watching_itself());
            }
            return Ok(y);
        }
        vjp!(op, y, { x: |g, y| norm_rule(&r.restore(g)?, &x, &r.restore(y)?, p, &r) }, saves { ..numbers })
    }
}

/// The rule of the number of elements that are not 0: no gradient flows, but there is a tangent.
struct Count(Shape);

impl Derivative for Count {
    fn of_input(&self, _: usize, g: &Tensor, _: &Arc<Node>) -> Option<Result<Tensor>> {
        is_forward().then(|| Tensor::zeroed("zeros_like", &self.0, g.dtype()))
    }

    fn again(&self) -> Option<Arc<dyn Derivative>> {
        None
    }
}

/// The gradient of a p-norm: 0 where the norm is.
pub(crate) fn norm_rule(g: &Tensor, x: &Tensor, y: &Tensor, p: f64, r: &Reduction) -> Result<Tensor> {
    y.check_saved()?;
    let sign = x.signs()?;
    let zero = |t: &Tensor| t.detached_read()?.is_zero();
    if p == 1.0 {
        return g * sign;
    }
    if p == 2.0 {
        let mask = zero(y)?.expand_to("norm", x.shape())?;
        return g * (x / y)?.zeroed_where(&mask)?;
    }
    let size = (x * &sign)?;
    if p.is_infinite() {
        let mask = equal_mask(&size, y, false)?;
        let mask = super::kernel::binary::<crate::dtype::Bool, crate::dtype::Bool, crate::dtype::Bool>(
            "logical_or",
            &mask,
            &x.detached_read()?.nan_mask()?,
            #[inline(always)]
            |a, b| a.add(b),
        )?;
        let dims = Dims(r.dims.iter().map(|&d| d as isize).collect());
        let count = if dims.is_empty() { mask.clone() } else { mask.sum(Some(dims), true, None)? };
        return sign * ((g / count)? * mask)?;
    }
    if p < 1.0 {
        let scaled = (sign * size.raised(p - 1.0)?.zeroed_where(&zero(x)?)?)?;
        return (scaled * g)? * y.raised(1.0 - p)?;
    }
    let scaled = if p < 2.0 { (sign * size.raised(p - 1.0)?)? } else { (x * size.raised(p - 2.0)?)? };
    scaled * zero(y)?.zero_or_product(g, &y.raised(p - 1.0)?.reciprocal()?)?
}

/// Fails unless a norm can be computed in dtype `to`.
pub(crate) fn check_norm_dtype(op: &str, from: DType, to: DType) -> Result<()> {
    if from.is_complex() && !to.is_complex() {
        return runtime_error!("{op}: dtype should be complex for complex inputs, but got {}", to.type_word());
    }
    if !from.is_complex() && to.is_complex() {
        return runtime_error!("{op}: dtype should be real for real inputs, but got {}", to.type_word());
    }
    if !to.is_inexact() {
        return runtime_error!("{op}: dtype should be floating point or complex. Got {}", to.type_word());
    }
    if to < from {
        return runtime_error!(
            "{op}: the dtype of the input ({}) should be convertible without narrowing to the specified dtype ({})",
            from.type_word(),
            to.type_word()
        );
    }
    Ok(())
}

/// The order of a norm, which must be a real number.
pub(crate) fn real_order(p: Scalar) -> Result<f64> {
    Ok(p.for_use_with("linalg.vector_norm", DType::F64)?.to_f64())
}

/// Norms that have no value for no elements.
fn check_norm_of_none(p: f64, r: &Reduction, dims_given: bool) -> Result<()> {
    if p >= 0.0 && p.is_finite() {
        return Ok(());
    }
    if !dims_given && r.full.contains(&0) {
        return runtime_error!(
            "linalg.vector_norm cannot compute the {p} norm on an empty tensor because the operation does not have an identity"
        );
    }
    match r.dims.iter().find(|&&d| r.full[d] == 0) {
        Some(d) => runtime_error!(
            "linalg.vector_norm cannot compute the {p} norm on the dimension {d} because this dimension is empty and the \
             operation does not have an identity"
        ),
        None => Ok(()),
    }
}

/// What `renorm` multiplies slices by, and what it is made of.
#[derive(Clone)]
struct Factors {
    norm: Tensor,
    /// The norm and a little, so that it is not zero.
    shifted: Tensor,
    /// Where it is small enough, or NaN: there the factor is 1, and has no gradient.
    small: Tensor,
    of_x: Tensor,
}

impl Factors {
    fn new(x: &Tensor, p: f64, others: &[isize], limit: f64) -> Result<Factors> {
        let norm = x.vector_norm(p, Some(others), true, None)?;
        let small = crate::dispatch_floats!(norm.dtype(), "renorm", T => {
            super::kernel::unary::<T, crate::dtype::Bool>("renorm", &norm.detached(false), #[inline(always)] move |v| (v <= limit as T || v.is_nan()).into())
        })?;
        let shifted = (&norm + 1e-7)?;
        let factor = (shifted.raised(-1.0)? * limit)?.zeroed_where(&small)?;
        Ok(Factors { of_x: (factor + small.to_dtype(x.dtype())?)?, norm, shifted, small })
    }
}

/// The p-norm over a dim, recorded as in torch's losses.
#[pyfunction]
pub fn _norm(input: &Tensor, p: Scalar, dim: isize, keepdim: bool) -> Result<Tensor> {
    input.norm_as("norm.1", Scalar::Float(real_order(p)?), Some(&[dim]), keepdim, None)
}

in_place! {
    /// `renorm` in place.
    renorm_(p, dim, maxnorm)(p: Scalar, dim: isize, maxnorm: Scalar) [] |x| x.kept().renorm(p, dim, maxnorm);
}

#[pymethods]
impl Tensor {
    /// The p-norm over `dim`, over everything if None: (sum |x|^p)^(1/p); inf and -inf for the largest and smallest |x|,
    /// 0 for the number of elements that are not zero, "fro" for 2, "nuc" for the sum of the singular values of a matrix.
    ///
    /// Dtype: float. Derivative: 0 where the norm is 0; shared evenly among equal elements for inf and -inf.
    #[pyo3(signature = (p=None, dim=None, keepdim=false, dtype=None))]
    pub fn norm(&self, p: Option<Order>, dim: Option<Dims>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
        let p = match p {
            None => Scalar::Int(2),
            Some(Order::Number(p)) => p,
            Some(Order::Name(name)) if name == "fro" => {
                if dim.as_ref().is_some_and(|dim| dim.len() > 2) {
                    return runtime_error!(
                        "linalg.matrix_norm: dim must be a 2-tuple. Got {:?}",
                        dim.as_deref().unwrap_or_default()
                    );
                }
                Scalar::Int(2)
            }
            Some(Order::Name(name)) if name == "nuc" => {
                let all = || Dims((0..self.rank() as isize).collect());
                return super::linalg::matrix_norm::matrix_norm(self, Order::Name(name), dim.unwrap_or_else(all), keepdim, dtype);
            }
            Some(Order::Name(name)) => return runtime_error!("linalg.matrix_norm: Order {name} not supported."),
        };
        self.norm_of_order(p, dim.as_deref(), keepdim, dtype)
    }

    /// The p-norm of the difference to another tensor, both broadcast.
    ///
    /// Dtype: float.
    #[pyo3(signature = (other, p=Scalar::Int(2)))]
    pub fn dist(&self, other: &Tensor, p: Scalar) -> Result<Tensor> {
        let d = without_recording(|| self - other)?;
        if !d.dtype().is_inexact() {
            return runtime_error!(
                "norm(): input dtype should be either floating point or complex. Got {} instead.",
                d.dtype().type_word()
            );
        }
        let given = p;
        let p = real_order(p)?;
        let y = without_recording(|| d.vector_norm(p, None, false, None))?;
        let r = Reduction::new("dist", &d, None, false)?;
        let [y] = record_saving("dist", &[self, other], &[self, other], [y], saves! { p: given }, move |it: Backward<'_>| {
            let Some(g) = it.g(0) else { return Ok(vec![None, None]) };
            if p == 0.0 {
                let zeros = || is_forward().then(|| Tensor::zeroed("zeros_like", d.shape(), d.dtype())).transpose();
                return Ok(vec![zeros()?, zeros()?]);
            }
            it.saved.iter().try_for_each(|x| x.check_saved())?;
            let d = if is_recording() { (&it.saved[0] - &it.saved[1])? } else { d.clone() };
            let (g, y) = (r.restore(g)?, r.restore(&it.y[0])?);
            let of_d = if d.dtype().is_complex() {
                norm_rule(&g, &d.abs()?, &y, p, &r)? * d.sgn()?
            } else {
                norm_rule(&g, &d, &y, p, &r)
            }?;
            let of_other = it.wants(1).then(|| of_d.neg()).transpose()?;
            Ok(vec![Some(of_d), of_other])
        })?;
        Ok(y.watching(&[self, other]))
    }

    /// Each slice along `dim` whose p-norm is larger than `maxnorm`, scaled down to that norm.
    ///
    /// Dtype: float.
    pub fn renorm(&self, p: Scalar, dim: isize, maxnorm: Scalar) -> Result<Tensor> {
        let x = self;
        let (order, given) = (p, dim);
        let (p, limit) = (real_order(p)?, real_order(maxnorm)?);
        if p <= 0.0 {
            return runtime_error!("renorm: non-positive-norm not supported, got {p}");
        }
        if limit < 0.0 {
            return runtime_error!("renorm: expected maxnorm to be >= 0 but got {limit}");
        }
        if x.rank() < 2 {
            return runtime_error!("renorm: input needs at least 2 dimensions, got {} dimensions", x.rank());
        }
        let dim = x.layout().dim("renorm", dim)?;
        let others: Vec<isize> = (0..x.rank() as isize).filter(|&d| d != dim as isize).collect();
        let r = Reduction::new("renorm", x, Some(&others), true)?;
        let factors = without_recording(|| Factors::new(x, p, &others, limit))?;
        let y = without_recording(|| x * &factors.of_x)?;
        vjp!("renorm", y, { x: |g| {
            let factors = if is_recording() { Factors::new(&x, p, &others, limit)? } else { factors.clone() };
            let of_factor = (g * x.conj())?.sum(Some(Dims(others.as_slice().into())), true, None)?.to_dtype(factors.norm.dtype())?;
            let of_norm = (of_factor.zeroed_where(&factors.small)? * limit)? * (factors.shifted.raised(-2.0)? * -1.0)?;
            let through_norm = if x.dtype().is_complex() {
                norm_rule(&of_norm?, &x.abs()?, &factors.norm, p, &r)? * x.sgn()?
            } else {
                norm_rule(&of_norm?, &x, &factors.norm, p, &r)
            };
            (g * &factors.of_x)? + through_norm
        } }, saves { p: order, dim: given, maxnorm })
    }
}
