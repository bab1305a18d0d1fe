//! Activation functions of straight pieces.

use pyo3::prelude::*;

use super::activation::check_float;
use super::arguments::{Dims, Sizes, Truth};
use super::flat::flat;
use super::inplace::in_place_if;
use super::kernel::{promoted, rare_binary};
use super::random::{Source, draw_from};
use super::samples;
use crate::dtype::{DType, Element, Number, Scalar};
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tape::numbers::Named;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

#[pymethods]
impl Tensor {
    /// Each element, or 0 if it is below. NaN stays.
    ///
    /// Shape: any, kept. Dtype: any but bool, kept.
    /// Derivative: 0 at 0.
    /// Raises: RuntimeError for bools.
    #[allow(clippy::absurd_extreme_comparisons)] // of unsigned integers
    pub fn relu(&self) -> Result<Tensor> {
        let x = self;
        if x.dtype() == DType::Bool {
            return runtime_error!("relu: bool inputs are not supported");
        }
        let y = crate::dispatch_reals!(x.dtype(), "relu", T =>
            super::kernel::unary::<T, T>("relu", x, #[inline(always)] |v| if v < T::ZERO { T::ZERO } else { v }))?;
        vjp!("relu", y, { x: |g, y| threshold_backward(g, y, 0.0) })
    }

    /// Each element, or 0 where it is at most `lambd` away from 0.
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Derivative: 0 at the kinks.
    /// Raises: NotImplementedError for other dtypes.
    #[pyo3(signature = (lambd=Scalar::Float(0.5)))]
    pub fn hardshrink(&self, lambd: Scalar) -> Result<Tensor> {
        let x = self;
        check_float("hardshrink_cpu", x)?;
        let given = lambd;
        let lambd = Tensor::from_scalar(lambd.for_use_with("hardshrink", x.dtype())?, x.dtype())?;
        let y = rare_binary("hardshrink", x, &lambd, |v, lambd| if v >= -lambd && v <= lambd { 0.0 } else { v })?;
        vjp!("hardshrink", y, { x: |g| shrink_backward("hardshrink_backward", g, &x, &lambd) }, saves { lambd: given })
    }

    /// Each element, those below 0 times `weight`: a number, or one for each channel (the second dim; of 1-d tensors there is one).
    ///
    /// Shape: (n, c, *) and (c), (1) or (). Dtype: float, both the same.
    /// Derivative: `weight` at 0.
    /// Raises: RuntimeError if `weight` does not fit, NotImplementedError for other dtypes.
    /// Source: He et al., "Delving deep into rectifiers", 2015.
    pub fn prelu(&self, weight: &Tensor) -> Result<Tensor> {
        let (x, w) = (self, weight);
        if x.dtype() != w.dtype() {
            return runtime_error!("prelu: type promoting not supported, got {} and {}", x.dtype(), w.dtype());
        }
        let channels = if x.rank() > 1 { x.shape()[1] } else { 1 };
        if w.rank() > 1 {
            return runtime_error!("prelu: expected `weight` to be a scalar or 1-d tensor, but got {} dims", w.rank());
        }
        if w.numel() != 1 && (x.rank() == 0 || w.numel() != channels) {
            return runtime_error!("prelu: mismatch of {} parameters and {channels} input channels", w.numel());
        }
        check_float("prelu_cpu", x)?;
        let mut shape = Dims(smallvec::smallvec![1; x.rank()]);
        if x.rank() > 0 {
            shape.0[if x.rank() > 1 { 1 } else { 0 }] = w.numel() as isize;
        }
        let w = if x.rank() <= 1 && w.rank() == x.rank() { w.clone() } else { w.reshape(Sizes(Some(shape)), None)? };
        let y = float_zip_map!("prelu_kernel", x, w, |x: T, w: T| if x > 0.0 { x } else { w * x })?;
        vjp!("prelu_kernel", y, {
            x: |g| prelu_backward(g, &x, &w),
            w: |g| (g * x.neg()?.relu()?)?.neg()?.flat_in("prelu_kernel_backward", &w)
        })
        .map(|y| if x.requires_grad() { y } else { y.watching(&[&w]) })
    }
}

in_place! { relu_ relu }

/// g where x is above a threshold, else 0, in one pass. The threshold itself has derivative 0.
pub(crate) fn threshold_backward(g: &Tensor, x: &Tensor, threshold: f64) -> Result<Tensor> {
    let (g, x) = super::kernel::promoted(g, x)?;
    let z = float_zip_map!("threshold_backward", g, x, move |g: T, x: T| if x <= threshold as T { 0.0 } else { g })?;
    let x = x.save();
    vjp!("threshold_backward", z, {
        g: |h| threshold_backward(h, &x, threshold),
        x: |h| flat("threshold_backward", h)
    }, saves { threshold })
}

/// A function of straight pieces: where they meet, and their slopes. The ends belong to the outer ones, and what is not a number
/// to the first.
#[derive(Clone, Copy)]
struct Pieces {
    ends: [f64; 2],
    slopes: [f64; 3],
}

/// g times the slope at x, in one pass; 0 where the slope is. The slope itself has derivative 0.
fn sloped(op: &'static str, g: &Tensor, x: &Tensor, pieces: Pieces) -> Result<Tensor> {
    let (g, x) = promoted(g, x)?;
    let Pieces { ends: [low, high], slopes: [below, between, above] } = pieces;
    let z = float_zip_map!(op, g, x, move |g: T, x: T| {
        let slope = if x > low as T { if x < high as T { between } else { above } } else { below } as T;
        if slope == 0.0 { 0.0 } else { g * slope }
    })?;
    let x = x.save();
    vjp!(op, z, { g: |h| sloped(op, h, &x, pieces), x: |h| flat(op, h) })
}

/// 0 where x is at most `lambd` away from 0, and beside a NaN, else g.
fn shrink_backward(op: &'static str, g: &Tensor, x: &Tensor, lambd: &Tensor) -> Result<Tensor> {
    let z = without_recording(|| x.abs()?.gt(lambd.into())?.choose(g, 0.0))?;
    let (x, lambd) = (x.save(), lambd.clone());
    vjp!(op, z, { g: |h| shrink_backward(op, h, &x, &lambd), x: |h| flat(op, h) })
}

/// The gradient of the input of `prelu`, in one pass.
fn prelu_backward(g: &Tensor, x: &Tensor, w: &Tensor) -> Result<Tensor> {
    if is_forward() {
        // The slope at 0 is 1 then.
        return g * x.ge(0.0.into())?.choose_or(1.0, w)?;
    }
    let z = float_zip3_map!("prelu_kernel_backward", g, x, w, |g: T, x: T, w: T| if x > 0.0 { g } else { w * g })?;
    // One for each rule.
    let (at, same) = (x.save(), x.save());
    vjp!("prelu_kernel_backward", z, {
        g: |h| prelu_backward(h, &at, &w),
        x: |h| flat("prelu_kernel_backward", h),
        w: |h| threshold_backward(&(h * &g)?, &same.neg()?, 0.0)
    })
}

/// The result of an op whose in-place form, for which the name ends in ".1", is differentiated by its result in torch.
fn saved_in_place(op: &str, y: Tensor) -> Tensor {
    if op.ends_with(".1") { y.watching_itself() } else { y }
}

/// Each element, those below 0 times a slope.
fn leaky(
    op: &'static str,
    x: &Tensor,
    slope: f64,
    numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
) -> Result<Tensor> {
    check_float("leaky_relu_cpu", x)?;
    let y = float_map!(op, x, move |v: T| if v > 0.0 { v } else { v * slope as T })?;
    let pieces = Pieces { ends: [0.0, f64::INFINITY], slopes: [slope, 1.0, 1.0] };
    Ok(saved_in_place(op, vjp!(op, y, { x: |g| sloped("leaky_relu_backward", g, &x, pieces) }, saves { ..numbers })?))
}

/// Each element, no further than to the bounds.
fn bounded(x: &Tensor, min: Scalar, max: Scalar) -> Result<Tensor> {
    if x.dtype() == DType::Bool {
        return runtime_error!("hardtanh: bool inputs are not supported");
    }
    // As in torch the bounds lose their fractions beside integers.
    let number = |value: Scalar| match value {
        Scalar::Float(value) if !x.dtype().is_inexact() => Scalar::Int(value as i64),
        other => other,
    };
    let (min, max) = (number(min), number(max));
    if x.dtype() == DType::U8 && (min.to_f64() < 0.0 || max.to_f64() < 0.0) {
        return runtime_error!("hardtanh: cannot do it on an unsigned type with negative limits {min} and {max}");
    }
    let y = without_recording(|| x.clamp(Some(min.into()), Some(max.into())))?;
    let pieces = Pieces { ends: [min.to_f64(), max.to_f64()], slopes: [0.0, 1.0, 0.0] };
    vjp!("hardtanh", y, { x: |g| sloped("hardtanh_backward", g, &x, pieces) }, saves { min_val: min, max_val: max })
}

/// A value where x is at most a threshold, else x.
fn thresholded(op: &'static str, x: &Tensor, threshold: Scalar, value: Scalar) -> Result<Tensor> {
    if matches!(x.dtype(), DType::Bool | DType::C64 | DType::C128) {
        check_float("threshold_cpu", x)?;
    }
    let given = threshold;
    let constant = |value: Scalar| Tensor::from_scalar(value.for_use_with("threshold", x.dtype())?, x.dtype());
    let (threshold, value) = (constant(threshold)?, constant(value)?);
    let y = without_recording(|| x.le((&threshold).into())?.where_of(&value, &x.kept()))?;
    let threshold = threshold.scalar()?.to_f64();
    vjp!(op, y, { x: |g| threshold_backward(g, &x, threshold) }, saves { threshold: given })
}

activation! {
    /// Each element, or 0 if it is below. NaN stays.
    ///
    /// Shape: any, kept. Dtype: any but bool, kept.
    /// Derivative: 0 at 0.
    /// Raises: RuntimeError for bools.
    relu relu_ ()() |x| x.relu();
    /// Each element, or 0 if it is below, or 6 if it is above.
    ///
    /// Shape: any, kept. Dtype: real, kept.
    /// Derivative: 0 at 0 and 6.
    /// Raises: RuntimeError for bools.
    relu6 relu6_ ()() |x| bounded(x, Scalar::Int(0), Scalar::Int(6));
    /// Each element, or `min_val` if it is below, or `max_val` if it is above.
    ///
    /// Shape: any, kept. Dtype: real, kept; the bounds lose their fractions beside integers.
    /// Derivative: 0 at the bounds.
    /// Raises: ValueError if `min_val` is above `max_val`, RuntimeError for bools.
    hardtanh hardtanh_ (min_val=Scalar::Float(-1.0), max_val=Scalar::Float(1.0),)(min_val: Scalar, max_val: Scalar) |x| {
        if min_val.to_f64() > max_val.to_f64() {
            return Err(Error::Value(format!("hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")));
        }
        bounded(x, min_val, max_val)
    };
    /// Each element, those below 0 times `negative_slope`.
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Derivative: `negative_slope` at 0.
    /// Raises: NotImplementedError for other dtypes.
    leaky_relu leaky_relu_ (negative_slope=Scalar::Float(0.01),)(negative_slope: Scalar) |x, inplace| {
        check_float("leaky_relu_cpu", x)?;
        let op = if inplace { "leaky_relu.1" } else { "leaky_relu" };
        let slope = negative_slope.for_use_with("leaky_relu", x.dtype())?.to_f64();
        leaky(op, x, slope, saves! { negative_slope })
    };
    /// `value` where an element is at most `threshold`, else the element.
    ///
    /// Shape: any, kept. Dtype: real but bool, kept.
    /// Derivative: 0 up to the threshold.
    /// Raises: NotImplementedError for other dtypes, RuntimeError if a number does not fit the dtype.
    threshold threshold_ (threshold, value,)(threshold: Scalar, value: Scalar) |x, inplace| {
        thresholded(if inplace { "threshold.1" } else { "threshold" }, x, threshold, value)
    };
    /// x/6 + 1/2, no further than to 0 and 1.
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Derivative: 0 at -3 and 3.
    /// Raises: NotImplementedError for other dtypes.
    hardsigmoid hardsigmoid_ ()() |x| {
        check_float("hardsigmoid_cpu", x)?;
        let y = float_map!("hardsigmoid", x, |v| {
            let v = v + 3.0;
            let v = if v < 0.0 { 0.0 } else { v };
            (if v > 6.0 { 6.0 } else { v }) / 6.0
        })?;
        vjp!("hardsigmoid", y, { x: |g| sloped("hardsigmoid_backward", g, &x, SIXTH) })
    };
    /// x times its `hardsigmoid`.
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Derivative: 0 at -3, 1 at 3.
    /// Raises: NotImplementedError for other dtypes.
    /// Source: Howard et al., "Searching for MobileNetV3", 2019.
    hardswish hardswish_ ()() |x| {
        check_float("hardswish_cpu", x)?;
        let y = float_map!("hardswish", x, |x| {
            let v = x + 3.0;
            let v = if v < 0.0 { 0.0 } else { v };
            x * (if v > 6.0 { 6.0 } else { v }) / 6.0
        })?;
        vjp!("hardswish", y, { x: |g| hardswish_backward(g, &x) })
    };
}

/// The slope of `hardsigmoid`.
const SIXTH: Pieces = Pieces { ends: [-3.0, 3.0], slopes: [0.0, 1.0 / 6.0, 0.0] };

/// g times the derivative of `hardswish` at x, in one pass.
fn hardswish_backward(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    let z = float_zip_map!("hardswish_backward", g, x, |g: T, x: T| {
        let inside = g * (x / 3.0 + 0.5);
        if x <= -3.0 {
            0.0
        } else if x >= 3.0 {
            g
        } else {
            inside
        }
    })?;
    vjp!("hardswish_backward", z, {
        g: |h| hardswish_backward(h, &x),
        x: |h| sloped("hardswish_curvature", &(h * &g)?, &x, Pieces { slopes: [0.0, 1.0 / 3.0, 0.0], ..SIXTH })
    })
}

/// Each element moved by `lambd` towards 0, at most to 0.
///
/// Shape: any, kept. Dtype: float, kept.
/// Derivative: 0 at the kinks.
/// Raises: RuntimeError if `lambd` is negative, NotImplementedError for other dtypes.
#[pyfunction]
#[pyo3(signature = (input, lambd=Scalar::Float(0.5)))]
pub fn softshrink(input: &Tensor, lambd: Scalar) -> Result<Tensor> {
    let x = input;
    check_float("softshrink_check", x)?;
    let lambd = lambd.for_use_with("softshrink", x.dtype())?;
    if !(0.0..f64::INFINITY).contains(&lambd.to_f64()) {
        return runtime_error!("softshrink: lambda must be finite and not negative, but found {lambd}");
    }
    let given = lambd;
    let lambd = Tensor::from_scalar(lambd, x.dtype())?;
    let y = rare_binary("softshrink", x, &lambd, |v, lambd| match v {
        v if v > lambd => v - lambd,
        v if v < -lambd => v + lambd,
        v => v * 0.0 + 0.0,
    })?;
    vjp!("softshrink", y, { x: |g| shrink_backward("softshrink_backward", g, &x, &lambd) }, saves { lambd: given })
}

/// `rrelu` of torch's: slopes drawn from a range in training, else the middle of the range.
fn randomized(op: &'static str, x: &Tensor, given: [Scalar; 2], training: bool, source: &Source) -> Result<Tensor> {
    let [lower, upper] = given;
    let (lower, upper) = (lower.for_use_with("rrelu", x.dtype())?.to_f64(), upper.for_use_with("rrelu", x.dtype())?.to_f64());
    for (name, value) in [("lower", lower), ("upper", upper)] {
        if !value.is_finite() {
            return runtime_error!("rrelu: {name} bound must be finite, got {value}");
        }
    }
    if lower > upper {
        return runtime_error!("rrelu: lower bound {lower} should be less than or equal to the upper bound {upper}");
    }
    let numbers = saves! { lower: given[0], upper: given[1], training };
    let saving = |y: Tensor| if op.ends_with(".1") { y } else { y.watching(&[x]) };
    let x = x.contiguous()?;
    if !training {
        return leaky(op, &x, (lower + upper) / 2.0, numbers).map(saving);
    }
    check_float("rrelu_with_noise_out_cpu", &x)?;
    let slopes = crate::dispatch_floats!(x.dtype(), "rrelu", T => {
        let (lower, upper) = ((lower as T).to_f64(), (upper as T).to_f64());
        draw_from("rrelu", &x, source, |rng, v: T| if v <= 0.0 { rng.uniform(lower, upper) as T } else { 1.0 })
    })?;
    let y = without_recording(|| x.mul(&slopes))?;
    let y = vjp!(op, y, { x: |g| (g * &slopes)?.flat_in("rrelu_with_noise_backward", &x) }, saves { ..numbers })?;
    Ok(saving(saved_in_place(op, y)))
}

/// Each element, those below 0 times a slope: drawn from `lower` to `upper` in `training`, else the middle between them.
///
/// Shape: any, kept; the result is contiguous. Dtype: float, kept.
/// Derivative: the slope at 0, too.
/// Raises: RuntimeError if `lower` is above `upper` or one is not finite, and, as in torch, under `vmap`; NotImplementedError for
/// other dtypes.
/// Source: Xu et al., "Empirical evaluation of rectified activations in convolutional network", 2015.
#[pyfunction]
#[pyo3(signature = (input, lower=Scalar::Float(0.125), upper=Scalar::Float(1.0 / 3.0), training=false, inplace=Truth(false), generator=None))]
pub fn rrelu(
    input: Bound<'_, Tensor>,
    lower: Scalar,
    upper: Scalar,
    training: bool,
    inplace: Truth,
    generator: Option<Source>,
) -> PyResult<Bound<'_, Tensor>> {
    let inplace = inplace.0;
    if samples::is_mapped() {
        let name = if inplace { "rrelu_" } else { "rrelu" };
        return Err(Error::Runtime(format!("vmap: we do not yet support aten::{name}. Please file an issue")).into());
    }
    let source = generator.unwrap_or_default();
    let op = if inplace { "rrelu_with_noise.1" } else { "rrelu_with_noise" };
    in_place_if(inplace, "rrelu_", input, |x| randomized(op, x, [lower, upper], training, &source))
}

/// In place; see `rrelu`.
#[pyfunction]
#[pyo3(signature = (input, lower=Scalar::Float(0.125), upper=Scalar::Float(1.0 / 3.0), training=false, generator=None))]
pub fn rrelu_(
    input: Bound<'_, Tensor>,
    lower: Scalar,
    upper: Scalar,
    training: bool,
    generator: Option<Source>,
) -> PyResult<Bound<'_, Tensor>> {
    rrelu(input, lower, upper, training, Truth(true), generator)
}
