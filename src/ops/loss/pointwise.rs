//! Losses of single elements.

use pyo3::prelude::*;

use super::{Reduce, check_constant, check_tangents, reduced};
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Error, Result};
use crate::kernels::elementwise::Run;
use crate::kernels::{map, math};
use crate::layout::broadcast_shapes;
use crate::ops::activation::softplus;
use crate::ops::kernel::promoted;
use crate::runtime_error;
use crate::tape::mode::{is_forward, mode};
use crate::tape::sample::made_of;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// The losses f(x, t) in floats, reduced.
macro_rules! losses {
    ($op:expr, $reduce:expr, $x:expr, $t:expr, $f:expr) => {
        crate::dispatch_floats!($x.dtype(), $op, T => reduced($op, T::DTYPE, &[&$x, &$t], $reduce, Run::new(&map::loop2(#[inline(always)] $f))))
    };
    ($op:expr, $reduce:expr, $x:expr, $t:expr, $w:expr, $f:expr) => {
        crate::dispatch_floats!($x.dtype(), $op, T => reduced($op, T::DTYPE, &[&$x, &$t, &$w], $reduce, Run::new(&map::loop3(#[inline(always)] $f))))
    };
}

/// The number of elements that two operands broadcast to.
fn count(op: &'static str, a: &Tensor, b: &Tensor) -> Result<usize> {
    if a.shape() == b.shape() {
        return Ok(a.numel());
    }
    Ok(broadcast_shapes(op, a.shape(), b.shape())?.iter().product())
}

/// (x - t)² of each element, or their mean or sum.
///
/// Shape: broadcast. Dtype: float; promotes.
#[pyfunction]
#[pyo3(signature = (input, target, reduction=1))]
pub fn mse_loss(input: &Tensor, target: &Tensor, reduction: i64) -> Result<Tensor> {
    const OP: &str = "mse_loss";
    let reduce = Reduce::of(OP, reduction)?;
    let (x, t) = promoted(input, target)?;
    let y = losses!(OP, reduce, x, t, |x: T, t: T| (x - t) * (x - t))?;
    let factor = 2.0 * reduce.share(count(OP, &x, &t)?);
    vjp!(OP, y, { x: |g| mse_backward(g, &x, &t, factor), t: |g| mse_backward(g, &t, &x, factor) }, saves { reduction })
}

/// factor g (x - t).
fn mse_backward(g: &Tensor, x: &Tensor, t: &Tensor, factor: f64) -> Result<Tensor> {
    if is_recording() {
        return g * ((x - t)? * factor)?;
    }
    let g = g.as_dtype(x.dtype())?;
    float_zip3_map!("mse_loss_backward", g, x, t, move |g: T, x: T, t: T| g * ((x - t) * factor as T))
}

/// A parabola that goes on as straight lines: curve d² / 2 for |d| < bend, else slope |d| - shift.
#[derive(Clone, Copy)]
struct Bent {
    bend: f64,
    curve: f64,
    slope: f64,
    shift: f64,
}

impl Bent {
    fn loss(self, op: &'static str, input: &Tensor, target: &Tensor, reduction: i64) -> Result<Tensor> {
        let reduce = Reduce::of(op, reduction)?;
        let (x, t) = promoted(input, target)?;
        let y = losses!(op, reduce, x, t, move |x: T, t: T| {
            let d = (x - t).abs();
            if d < self.bend as T { 0.5 * self.curve as T * d * d } else { self.slope as T * d - self.shift as T }
        })?;
        let factor = reduce.share(count(op, &x, &t)?);
        vjp!(op, y, { x: |g| self.backward(g, &x, &t, factor), t: |g| self.backward(g, &t, &x, factor) }, saves {
            ..move || match op {
                "huber_loss" => saves! { reduction, delta: self.bend }(),
                _ => saves! { reduction, beta: self.bend }(),
            }
        })
    }

    /// g times the derivative.
    fn backward(self, g: &Tensor, x: &Tensor, t: &Tensor, factor: f64) -> Result<Tensor> {
        if is_recording() {
            let d = (x - t)?;
            let outside = d.abs()?.ge(self.bend.into())?;
            let slope = outside.where_of(&(d.sgn()? * self.slope)?, &(&d * self.curve)?)?;
            return g * (slope * factor)?;
        }
        let g = g.as_dtype(x.dtype())?;
        float_zip3_map!("smooth_l1_loss_backward", g, x, t, move |g: T, x: T, t: T| {
            let (d, bend, slope) = (x - t, self.bend as T, self.slope as T);
            let along = if d <= -bend {
                -slope
            } else if d >= bend {
                slope
            } else {
                d * self.curve as T
            };
            g * (along * factor as T)
        })
    }
}

/// d² / (2 beta) of each difference d below `beta`, else |d| - beta / 2; or the mean or sum of them.
///
/// Shape: broadcast. Dtype: float; promotes.
/// Raises: RuntimeError if `beta` is negative.
#[pyfunction]
#[pyo3(signature = (input, target, reduction=1, beta=1.0))]
pub fn smooth_l1_loss(input: &Tensor, target: &Tensor, reduction: i64, beta: f64) -> Result<Tensor> {
    if beta < 0.0 {
        return runtime_error!("smooth_l1_loss: does not support negative values for beta, got {beta}");
    }
    let curve = if beta == 0.0 { 0.0 } else { 1.0 / beta };
    Bent { bend: beta, curve, slope: 1.0, shift: 0.5 * beta }.loss("smooth_l1_loss", input, target, reduction)
}

/// A result in the dtype of an operand, which must not be of a lesser kind.
fn in_dtype_of(op: &str, y: Tensor, x: &Tensor) -> Result<Tensor> {
    if y.dtype().kind() > x.dtype().kind() {
        return runtime_error!("{op}: result type {} can't be cast to the desired output type {}", y.dtype(), x.dtype());
    }
    y.to_dtype(x.dtype())
}

/// d² / 2 of each difference d up to `delta`, else delta (|d| - delta / 2); or the mean or sum of them.
///
/// Shape: broadcast. Dtype: float; promotes.
/// Raises: RuntimeError unless `delta` is positive.
#[pyfunction]
#[pyo3(signature = (input, target, reduction=1, delta=1.0))]
pub fn huber_loss(input: &Tensor, target: &Tensor, reduction: i64, delta: f64) -> Result<Tensor> {
    if delta <= 0.0 {
        return runtime_error!("huber_loss: does not support non-positive values for delta, got {delta}");
    }
    let (a, b) = promoted(input, target)?;
    let loss =
        Bent { bend: delta, curve: 1.0, slope: delta, shift: 0.5 * delta * delta }.loss("huber_loss", &a, &b, reduction)?;
    // As in torch, the result is of the dtype of the input.
    in_dtype_of("huber_loss", loss, input)
}

/// ln(1 + e^(-t x)) of each element, or their mean or sum.
///
/// Shape: broadcast. Dtype: float; promotes.
#[pyfunction]
#[pyo3(signature = (input, target, reduction=1))]
pub fn soft_margin_loss(input: &Tensor, target: &Tensor, reduction: i64) -> Result<Tensor> {
    const OP: &str = "soft_margin_loss";
    let reduce = Reduce::of(OP, reduction)?;
    check_constant(OP, "target", Some(target))?;
    let (x, t) = promoted(input, target)?;
    if !x.dtype().is_float() {
        return runtime_error!("{OP}: expected a floating point input, got {}", x.dtype());
    }
    let losses = without_recording(|| (&*x * &*t)?.neg()?.exp()?.log1p())?;
    let losses = in_dtype_of(OP, losses, input)?;
    if losses.shape() != input.shape() {
        return runtime_error!(
            "{OP}: output with shape {:?} doesn't match the broadcast shape {:?}",
            input.shape(),
            losses.shape()
        );
    }
    let factor = reduce.share(losses.numel());
    let y = reduce.apply(losses)?;
    let t = t.save();
    vjp!(OP, y, { x: |g| {
        let z = (&x * &t)?.neg()?.sigmoid()?;
        g * ((z * &t)? * -factor)?
    } }, saves { reduction })
}

/// The weight of all elements where none are given.
fn one(dtype: DType) -> Result<Tensor> {
    Tensor::from_number_as(Scalar::Int(1), dtype)
}

/// What losses of probabilities keep of the logarithm of 0, and of the variance of a certainty.
const LEAST_LOG: f64 = -100.0;
const LEAST_VARIANCE: f64 = 1e-12_f32 as f64;

/// What torch says where weights carry tangents: those of the losses would carry tangents themselves.
const NESTED_TANGENT: &str = "Setting a forward grad that itself has a forward gradient at the same level0 is not supported.";

/// -w (t ln x + (1 - t) ln(1 - x)) of each element, or their mean or sum. Logarithms are at least -100.
///
/// Shape: those of the input; the weight broadcasts to it. Dtype: float, the same for all.
/// Raises: RuntimeError if an element of `input` is not between 0 and 1.
#[pyfunction]
#[pyo3(signature = (input, target, weight=None, reduction=1))]
pub fn binary_cross_entropy(
    input: &Tensor,
    target: &Tensor,
    weight: Option<PyRef<'_, Tensor>>,
    reduction: i64,
) -> Result<Tensor> {
    const OP: &str = "binary_cross_entropy";
    let reduce = Reduce::of(OP, reduction)?;
    let (x, t, weight) = (input, target, weight.as_deref());
    check_constant(OP, "weight", weight)?;
    check_tangents(NESTED_TANGENT, &[Some(x), Some(t)], &[weight])?;
    let _of = made_of(weight);
    let w = match weight {
        Some(weight) => in_dtype_of(OP, weight.detached(false), x)?.expand_to(OP, x.shape())?,
        None => one(x.dtype())?,
    };
    let y = losses!(OP, reduce, x, t, w, |x: T, t: T, w: T| {
        let (yes, no) = (math::ln(x), math::log1p(-x));
        let (yes, no) =
            (if yes < LEAST_LOG as T { LEAST_LOG as T } else { yes }, if no < LEAST_LOG as T { LEAST_LOG as T } else { no });
        ((t - 1.0) * no - t * yes) * w
    })?;
    // Logarithms of what is no probability are NaN, and so is what is made of them.
    let suspicious = reduce == Reduce::None || y.scalar()?.to_f64().is_nan();
    if suspicious && !x.detached_read()?.between(0.0, 1.0)?.is_true_throughout()? {
        return runtime_error!("{OP}: all elements of input should be between 0 and 1");
    }
    let factor = reduce.share(x.numel());
    let (w, same) = (w.save(), w.save());
    // As torch takes the tangent of a target without one for zeros, which it multiplies: not a number at 0 and 1.
    let alone = !t.has_tangent();
    vjp!(OP, y, {
        x: |g| {
            let g = (g * factor)?;
            let grad = bce_backward(&g, &x, &t, &w)?;
            if alone && is_forward() { grad + (g * (x.logit(None)? * 0.0)?)? } else { Ok(grad) }
        },
        t: |g| ((g * factor)? * &same)? * x.logit(None)?.neg()?
    }, saves { reduction })
    .map(|y| y.watching_if_followed(t))
}

/// g w (x - t) / (x (1 - x)).
fn bce_backward(g: &Tensor, x: &Tensor, t: &Tensor, w: &Tensor) -> Result<Tensor> {
    let g = (g * w)?.to_dtype(x.dtype())?;
    let z = float_zip3_map!("binary_cross_entropy_backward", g, x, t, |g: T, x: T, t: T| {
        let variance = (1.0 - x) * x;
        g * (x - t) / if variance < LEAST_VARIANCE as T { LEAST_VARIANCE as T } else { variance }
    })?;
    let variance = |x: &Tensor| ((1.0 - x)? * x)?.clamp_min(LEAST_VARIANCE.into());
    vjp!("binary_cross_entropy_backward", z, {
        g: |h| (h * (&x - &t)?)? / variance(&x)?,
        x: |h| {
            // The derivative of (x - t) / (x (1 - x)), away from its poles.
            let (above, below) = ((&x + LEAST_VARIANCE)?, ((1.0 - &x)? + LEAST_VARIANCE)?);
            let top = (((&x * &x)? - ((&x * &t)? * 2.0)?)? + &t)?;
            let bottom = ((&above * &above)? * (&below * &below)?)?;
            (h * &g)? * (top / bottom)?
        },
        t: |h| ((h * &g)? / variance(&x)?)?.neg()
    })
}

/// `binary_cross_entropy` of the logistic function of the input, computed without overflow:
/// w ((1 - t) x + (1 + (p - 1) t) ln(1 + e^-x)), where p is `pos_weight`. As in torch nothing is reduced if `reduction` is not given.
///
/// Shape: broadcast. Dtype: float; promotes.
#[pyfunction]
#[pyo3(signature = (input, target, weight=None, pos_weight=None, reduction=0))]
pub fn binary_cross_entropy_with_logits(
    input: &Tensor,
    target: &Tensor,
    weight: Option<PyRef<'_, Tensor>>,
    pos_weight: Option<PyRef<'_, Tensor>>,
    reduction: i64,
) -> Result<Tensor> {
    const OP: &str = "binary_cross_entropy_with_logits";
    let reduce = Reduce::of(OP, reduction)?;
    if !input.dtype().is_float() {
        return Err(Error::NotImplemented(format!("{OP}: not implemented for inputs of dtype {}", input.dtype())));
    }
    let (x, t) = promoted(input, target)?;
    let (weight, pos_weight) = (weight.as_deref(), pos_weight.as_deref());
    let is_learned = |w: Option<&Tensor>| w.is_some_and(|w| w.is_shown() && is_recording() || w.has_tangent());
    // Only within a transform, where torch takes it apart, do the weights have gradients.
    if mode().level.number > 0 && (is_learned(weight) || is_learned(pos_weight)) {
        return logits_with_learned_weights(&x, &t, weight, pos_weight, reduce);
    }
    check_constant(OP, "weight", weight)?;
    check_constant(OP, "pos_weight", pos_weight)?;
    check_tangents(NESTED_TANGENT, &[Some(input), Some(target)], &[weight, pos_weight])?;
    // What ln(1 + e^-x) is multiplied by.
    let turn = match pos_weight {
        Some(p) => without_recording(|| ((p - 1.0)? * &*t)? + 1.0)?.to_dtype(x.dtype())?,
        None => one(x.dtype())?,
    };
    for other in [Some(&*x), Some(&turn), weight].into_iter().flatten() {
        let shape = broadcast_shapes(OP, t.shape(), other.shape())?;
        if shape.as_slice() != t.shape() {
            return runtime_error!("{OP}: output with shape {:?} doesn't match the broadcast shape {shape:?}", t.shape());
        }
    }
    let early = if weight.is_some() { Reduce::None } else { reduce };
    let mut y = losses!(OP, early, x, t, turn, |x: T, t: T, turn: T| { (1.0 - t) * x + turn * math::softplus(-x) })?;
    if let Some(w) = weight {
        y = without_recording(|| reduce.apply((y * w)?))?;
    }
    // Saved only now: hooks may take the memory of what is saved elsewhere.
    let rule =
        Logits { weight: weight.map(Tensor::save), pos_weight: pos_weight.map(Tensor::save), factor: reduce.share(t.numel()) };
    let same = rule.clone();
    let y = vjp!(OP, y, { x: |g| rule.to_input(g, &x, &t), t: |g| same.to_target(g, &x) }, saves { reduction })?
        .watching_if_followed(&t);
    // As in torch, the result is of the dtype of the target.
    in_dtype_of(OP, y, target)
}

/// `binary_cross_entropy_with_logits` as a sum and products with derivatives of their own.
fn logits_with_learned_weights(
    x: &Tensor,
    t: &Tensor,
    weight: Option<&Tensor>,
    pos_weight: Option<&Tensor>,
    reduce: Reduce,
) -> Result<Tensor> {
    let mut turned = exact_softplus(&x.neg()?)?;
    if let Some(p) = pos_weight {
        turned = (turned * ((((p - 1.0)? * t)? + 1.0)?))?;
    }
    let mut y = (((t.neg()? + 1.0)? * x)? + turned)?;
    if let Some(w) = weight {
        y = (y * w)?;
    }
    reduce.apply(y)
}

/// What the rules of `binary_cross_entropy_with_logits` know besides its input and target.
#[derive(Clone)]
struct Logits {
    weight: Option<Tensor>,
    pos_weight: Option<Tensor>,
    factor: f64,
}

impl Logits {
    /// The gradients of the elements' losses.
    fn of_elements(&self, g: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Some(w) => (g * w)? * self.factor,
            None => g * self.factor,
        }
    }

    fn to_input(&self, g: &Tensor, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let g = self.of_elements(g)?.to_dtype(x.dtype())?;
        match &self.pos_weight {
            None if is_recording() => g * (x.sigmoid()? - t)?,
            None => float_zip3_map!("binary_cross_entropy_with_logits_backward", g, x, t, long |g: T, x: T, t: T| g
                * (math::sigmoid(x) - t)),
            Some(p) => {
                let yes = (p * t)?;
                g * ((((&yes + 1.0)? - t)? * x.sigmoid()?)? - yes)?
            }
        }
    }

    fn to_target(&self, g: &Tensor, x: &Tensor) -> Result<Tensor> {
        let g = self.of_elements(g)?;
        match &self.pos_weight {
            None => g * x.neg()?,
            Some(p) => g * ((p * exact_softplus(&x.neg()?)?)? - exact_softplus(x)?)?,
        }
    }
}

/// ln(1 + e^x), however large x is.
fn exact_softplus(x: &Tensor) -> Result<Tensor> {
    softplus(x, Scalar::Int(1), Scalar::Float(f64::INFINITY))
}
