//! Smooth activation functions; those of straight pieces are in [`rectifier`](super::rectifier).

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use pyo3::prelude::*;

use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::kernels::{complex, math};
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

#[pymethods]
impl Tensor {
    /// The logistic function, 1 / (1 + e^-x).
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn sigmoid(&self) -> Result<Tensor> {
        let x = self;
        let y = float_map!("sigmoid", x, |v| math::sigmoid(v), complex complex::sigmoid)?;
        vjp!("sigmoid", y, { x: |g, y| sigmoid_backward(g, y) })
    }
}

in_place! { sigmoid_ sigmoid }

/// g y (1 - y), the derivative of the logistic function, in one pass.
pub(crate) fn sigmoid_backward(g: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (g, y) = super::kernel::promoted(g, y)?;
    let z =
        float_zip_map!("sigmoid_backward", g, y, |g: T, y: T| g * (1.0 - y) * y, complex | g, y | g * ((1.0 - y) * y).conj())?;
    vjp!("sigmoid_backward", z, {
       g: |h| sigmoid_backward(h, &y.conj()?),
       y: |h| (h.conj()? * &g)? * (1.0 - &(y.conj()? * 2.0)?)
    })
}

/// Two ways to compute `gelu`.
#[derive(Clone, Copy, PartialEq)]
enum Normal {
    /// By the error function.
    Exact,
    /// By a hyperbolic tangent.
    Tanh,
}

/// 1 / sqrt(2 pi).
const DENSITY: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0;
/// The tangent's argument is SLOPE (x + CUBIC x³).
const SLOPE: f64 = SQRT_2 * FRAC_2_SQRT_PI / 2.0;
const CUBIC: f64 = 0.044715;

/// Each element times the probability that a normal variable is below it.
///
/// `approximate`: "none", by the error function, or "tanh", x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³))).
///
/// Shape: any, kept. Dtype: float, kept.
/// Raises: RuntimeError for other dtypes and for another `approximate`.
/// Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
#[pyfunction]
#[pyo3(signature = (input, *, approximate="none"))]
pub fn gelu(input: &Tensor, approximate: &str) -> Result<Tensor> {
    let x = input;
    let normal = match approximate {
        "none" => Normal::Exact,
        "tanh" => Normal::Tanh,
        _ => return runtime_error!("gelu: approximate argument must be either none or tanh, but it is {approximate}"),
    };
    let y = crate::dispatch_floats!(x.dtype(), "gelu", T => match normal {
        Normal::Exact => super::kernel::unary::<T, T>("gelu", x, #[inline(always)] |v: T| v * 0.5 * (1.0 + math::erf(v * FRAC_1_SQRT_2 as T))),
        Normal::Tanh => super::kernel::unary::<T, T>("gelu", x, #[inline(always)] |v: T| {
            0.5 * v * (1.0 + math::tanh(SLOPE as T * (v + CUBIC as T * (v * v * v))))
        }),
    })?;
    let text = if normal == Normal::Exact { "none" } else { "tanh" };
    vjp!("gelu", y, { x: |g| gelu_backward(g, &x, normal) }, saves { approximate: text })
}

/// g times the derivative of `gelu` at x, in one pass.
fn gelu_backward(g: &Tensor, x: &Tensor, normal: Normal) -> Result<Tensor> {
    let z = match normal {
        Normal::Exact => float_zip_map!("gelu_backward", g, x, |g: T, x: T| {
            let below = 0.5 * (1.0 + math::erf(x * FRAC_1_SQRT_2 as T));
            g * (below + x * (DENSITY as T * math::exp(x * x * -0.5)))
        }),
        Normal::Tanh => float_zip_map!("gelu_backward", g, x, |g: T, x: T| {
            let square = x * x;
            let t = math::tanh(SLOPE as T * (x + CUBIC as T * (square * x)));
            let slope = SLOPE as T * (1.0 + 3.0 * CUBIC as T * square);
            g * (0.5 * (1.0 + t) + 0.5 * x * ((1.0 - t * t) * slope))
        }),
    }?;
    vjp!("gelu_backward", z, { g: |h| gelu_backward(h, &x, normal), x: |h| (h * &g)? * gelu_curvature(&x, normal)? })
}

/// The second derivative of `gelu`.
fn gelu_curvature(x: &Tensor, normal: Normal) -> Result<Tensor> {
    let square = (x * x)?;
    if normal == Normal::Exact {
        return ((&square * -0.5)?.exp()? * DENSITY)? * (2.0 - &square);
    }
    let t = ((x + &((&square * x)? * CUBIC)?)? * SLOPE)?.tanh()?;
    let slope = (((&square * (3.0 * CUBIC))? + 1.0)? * SLOPE)?;
    let bend = ((x * (3.0 * CUBIC * SLOPE))? - ((&t * &slope)? * &slope)?)?;
    (1.0 - &(&t * &t)?)? * (slope + (x * &bend)?)?
}

/// ln(1 + e^(beta x)) / beta, a smooth `relu`; x itself where beta x is above `threshold`.
///
/// Shape: any, kept. Dtype: float, kept.
/// Derivative: 1 above the threshold.
/// Raises: RuntimeError for other dtypes.
#[pyfunction]
#[pyo3(signature = (input, beta=Scalar::Int(1), threshold=Scalar::Int(20)))]
pub fn softplus(input: &Tensor, beta: Scalar, threshold: Scalar) -> Result<Tensor> {
    check_float("softplus_cpu", input)?;
    soft_plus("softplus", input, beta.to_f64(), threshold.to_f64(), saves! { beta, threshold })
}

/// The logarithm of `sigmoid`, -ln(1 + e^-x), without its underflow.
///
/// Shape: any, kept; the result is contiguous. Dtype: float, kept.
/// Raises: NotImplementedError for other dtypes.
#[pyfunction]
pub fn logsigmoid(input: &Tensor) -> Result<Tensor> {
    check_float("log_sigmoid_cpu", input)?;
    let x = input.contiguous()?.fixed();
    let y = soft_plus("log_sigmoid", &x, -1.0, f64::INFINITY, Named::new)?;
    // Torch keeps no copy.
    Ok(if input.is_contiguous() { y } else { y.watching(&[input]) })
}

/// `softplus`; for a negative beta without a threshold it is a logarithm of `sigmoid`.
fn soft_plus(
    op: &'static str,
    x: &Tensor,
    beta: f64,
    threshold: f64,
    numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
) -> Result<Tensor> {
    let y = crate::dispatch_floats!(x.dtype(), op, T => {
        let (beta, threshold) = (beta as T, threshold as T);
        super::kernel::long_unary::<T>(op, x, #[inline(always)] move |v: T| {
            let y = math::softplus(v * beta) / beta;
            if v * beta > threshold { v } else { y }
        })
    })?;
    vjp!(op, y, { x: |g| softplus_backward(g, &x, beta, threshold) }, saves { ..numbers })
}

/// g times the derivative of `softplus` at x, in one pass.
fn softplus_backward(g: &Tensor, x: &Tensor, beta: f64, threshold: f64) -> Result<Tensor> {
    let z = float_zip_map!("softplus_backward", g, x, long move |g: T, x: T| {
        let u = x * beta as T;
        let slope = g * math::sigmoid(u);
        if u > threshold as T { g } else { slope }
    })?;
    vjp!("softplus_backward", z, {
        g: |h| softplus_backward(h, &x, beta, threshold),
        x: |h| {
            let u = (&x * beta)?;
            let s = u.sigmoid()?;
            let bend = ((&s * (1.0 - &s)?)? * beta)?;
            let flat = u.gt(Scalar::Float(threshold).into())?;
            flat.logical_not()?.choose(&((h * &g)? * bend)?, 0.0)
        }
    })
}

/// Fails for what is not a real float, as torch's kernel of this name does.
pub(crate) fn check_float(kernel: &str, x: &Tensor) -> Result<()> {
    if x.dtype().is_float() {
        return Ok(());
    }
    Err(Error::NotImplemented(format!("\"{kernel}\" not implemented for '{}'", x.dtype().type_word())))
}

activation! {
    /// Each element times its `sigmoid`.
    ///
    /// Shape: any, kept. Dtype: float or complex, kept.
    /// Raises: NotImplementedError for other dtypes, RuntimeError for complex ones that require a gradient, as torch.
    /// Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    silu silu_ ()() |x| {
        if !x.dtype().is_complex() {
            check_float("silu_cpu", x)?;
        } else if is_recording() && x.requires_grad() {
            return runtime_error!("silu: does not support automatic differentiation for outputs with complex dtype");
        }
        let y = float_map!("silu", x, |v| v * math::sigmoid(v), complex |v| v * complex::sigmoid(v))?;
        vjp!("silu", y, { x: |g| silu_backward(g, &x) })
    };
    /// x tanh(ln(1 + e^x)).
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Raises: NotImplementedError for other dtypes.
    /// Source: Misra, "Mish: a self regularized non-monotonic activation function", 2019. With u = e^x (e^x + 2) the tangent is
    /// u / (u + 2), which is 1 to the last digit where x is above 20.
    mish mish_ ()() |x| {
        check_float("mish_cpu", x)?;
        let y = float_map!("mish", x, long |v| {
            let e = math::exp(if v > 20.0 { 20.0 } else { v });
            let u = e * (e + 2.0);
            v * (u / (u + 2.0))
        })?;
        vjp!("mish", y, { x: |g| mish_backward(g, &x) })
    };
    /// x, or alpha (e^x - 1) if it is below 0.
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Derivative: alpha at 0, the second 0 there.
    /// Raises: NotImplementedError for other dtypes.
    /// Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential linear units", 2016.
    elu elu_ (alpha=Scalar::Float(1.0),)(alpha: Scalar) |x, inplace| {
        check_float("elu_cpu", x)?;
        let alpha = alpha.for_use_with("elu", x.dtype())?.to_f64();
        exponential(if inplace { "elu.1" } else { "elu" }, x, Exponential { alpha, scale: 1.0, input_scale: 1.0 })
    };
    /// `elu` with the factors that keep mean and variance: s x, or s alpha (e^x - 1) if x is below 0, with s = 1.0507... and
    /// alpha = 1.6732...
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Derivative: s alpha at 0.
    /// Raises: NotImplementedError for other dtypes.
    /// Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    selu selu_ ()() |x, inplace| exponential(if inplace { "elu.1" } else { "elu" }, x, SELU);
    /// x, or alpha (e^(x / alpha) - 1) if it is below 0.
    ///
    /// Shape: any, kept. Dtype: float, kept.
    /// Raises: RuntimeError if `alpha` is 0, NotImplementedError for other dtypes.
    /// Source: Barron, "Continuously differentiable exponential linear units", 2017.
    celu celu_ (alpha=Scalar::Float(1.0),)(alpha: Scalar) |x, inplace| {
        check_float("elu_cpu", x)?;
        let alpha = alpha.for_use_with("celu", x.dtype())?.to_f64();
        if alpha == 0.0 {
            return runtime_error!("celu: ZeroDivisionError: alpha cannot be 0");
        }
        exponential(if inplace { "celu.1" } else { "celu" }, x, Exponential { alpha, scale: 1.0, input_scale: 1.0 / alpha })
    };
}

/// g times the derivative of `silu` at x, in one pass.
fn silu_backward(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    let z = float_zip_map!("silu_backward", g, x, |g: T, x: T| {
        let s = math::sigmoid(x);
        g * (s * (1.0 + x * (1.0 - s)))
    })?;
    vjp!("silu_backward", z, {
        g: |h| silu_backward(h, &x),
        x: |h| {
            let s = x.sigmoid()?;
            let bend = ((&s * (1.0 - &s)?)? * (((1.0 - &(&s * 2.0)?)? * &x)? + 2.0)?)?;
            (h * &g)? * bend
        }
    })
}

/// g times the derivative of `mish` at x, in one pass.
fn mish_backward(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    let z = float_zip_map!("mish_backward", g, x, long |g: T, x: T| {
        let e = math::exp(if x > 20.0 { 20.0 } else { x });
        let u = e * (e + 2.0);
        let slope = u / (u + 2.0) + x * (4.0 * e * (e + 1.0) / ((u + 2.0) * (u + 2.0)));
        // No number at infinity, as torch.
        g * if x > 20.0 { 1.0 + x * 0.0 } else { slope }
    })?;
    vjp!("mish_backward", z, { g: |h| mish_backward(h, &x), x: |h| (h * &g)? * mish_curvature(&x)? })
}

/// The second derivative of `mish`.
fn mish_curvature(x: &Tensor) -> Result<Tensor> {
    let (s, t) = (x.sigmoid()?, soft_plus("softplus", x, 1.0, 20.0, Named::new)?.tanh()?);
    let bend = ((1.0 - &s)? - ((&t * &s)? * 2.0)?)?;
    ((1.0 - &(&t * &t)?)? * &s)? * ((x * bend)? + 2.0)?
}

/// The factors of an exponential unit: scale x, or scale alpha (e^(input_scale x) - 1) where x is below 0.
#[derive(Clone, Copy)]
struct Exponential {
    alpha: f64,
    scale: f64,
    input_scale: f64,
}

/// The factors with which a normal variable keeps its mean and variance.
const SELU: Exponential = Exponential { alpha: SELU_ALPHA, scale: 1.050_700_987_355_480_5, input_scale: 1.0 };
/// The slope of `selu` for large negative numbers is 0, and its limit there -scale times this.
pub(crate) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

/// An exponential unit.
fn exponential(op: &'static str, x: &Tensor, unit: Exponential) -> Result<Tensor> {
    check_float("elu_cpu", x)?;
    let y = crate::dispatch_floats!(x.dtype(), op, T => {
        let (below, scale, input_scale) = ((unit.alpha * unit.scale) as T, unit.scale as T, unit.input_scale as T);
        super::kernel::unary::<T, T>(op, x, #[inline(always)] move |v: T| {
            let small = math::expm1(v * input_scale) * below;
            if v < 0.0 { small } else { v * scale }
        })
    })?;
    // Factors that are 1 are those that torch's `elu` has by itself.
    let factor = |v: f64| if v == 1.0 { Scalar::Int(1) } else { Scalar::Float(v) };
    let (alpha, scale, input_scale) = (unit.alpha, factor(unit.scale), factor(unit.input_scale));
    let numbers = move || match op {
        "celu" | "celu.1" => saves! { alpha }(),
        _ => saves! { alpha, scale, input_scale }(),
    };
    if op.ends_with(".1") {
        return vjp!(op, y, { x: |g, y| exponential_backward_by_result(g, y, unit) }, saves { ..numbers });
    }
    vjp!(op, y, { x: |g| exponential_backward(g, &x, unit) }, saves { ..numbers })
}

/// The same by the result y, as torch has it in place.
fn exponential_backward_by_result(g: &Tensor, y: &Tensor, unit: Exponential) -> Result<Tensor> {
    if unit.alpha < 0.0 {
        return Err(Error::Undefined(
            "In-place elu backward calculation is triggered with a negative slope which is not supported: what was below 0 is above \
             it now. Call elu without inplace=True."
                .into(),
        ));
    }
    let (limit, scale) = (unit.alpha * unit.scale, unit.scale);
    let z = float_zip_map!("elu_backward", g, y, move |g: T, y: T| {
        if y <= 0.0 { g * unit.input_scale as T * (y + limit as T) } else { g * scale as T }
    })?;
    vjp!("elu_backward", z, {
        g: |h| exponential_backward_by_result(h, &y, unit),
        y: |h| ((h * &g)? * unit.input_scale)? * y.le(Scalar::Int(0).into())?
    })
}

/// g times the derivative of an exponential unit at x, in one pass.
fn exponential_backward(g: &Tensor, x: &Tensor, unit: Exponential) -> Result<Tensor> {
    let z = float_zip_map!("elu_backward", g, x, move |g: T, x: T| {
        let below = (unit.alpha * unit.scale) as T * unit.input_scale as T;
        let small = g * (below * math::exp(x * unit.input_scale as T));
        if x > 0.0 { g * unit.scale as T } else { small }
    })?;
    vjp!("elu_backward", z, {
        g: |h| exponential_backward(h, &x, unit),
        x: |h| exponential_backward(&((h * &g)? * unit.input_scale)?, &x, unit)? * x.lt(Scalar::Int(0).into())?
    })
}

/// The two halves along a dim.
fn halves(x: &Tensor, dim: isize) -> Result<(Tensor, Tensor)> {
    let size = x.shape()[x.layout().dim("glu", dim)?];
    if !size.is_multiple_of(2) {
        return runtime_error!("glu: halving dimension must be even, but dimension {dim} is size {size}");
    }
    let half = (size / 2) as isize;
    let part = |start: isize| x.narrow(dim, Scalar::Int(start as i64).into(), half);
    Ok((part(0)?, part(half)?))
}

/// The first half along `dim` times the `sigmoid` of the second.
///
/// Shape: any, with an even number of elements along `dim`, of which half are left. Dtype: float, kept.
/// Raises: RuntimeError for odd sizes and 0-d tensors, IndexError if `dim` is out of range, NotImplementedError for other dtypes.
/// Source: Dauphin et al., "Language modeling with gated convolutional networks", 2017.
#[pyfunction]
#[pyo3(signature = (input, dim=-1))]
pub fn glu(input: &Tensor, dim: isize) -> Result<Tensor> {
    let x = input;
    if x.rank() == 0 {
        return runtime_error!("glu: does not support scalars because halving size must be even");
    }
    let (a, b) = without_recording(|| halves(x, dim))?;
    check_float("glu_cpu", x)?;
    let y = float_zip_map!("glu", a, b, long |a: T, b: T| a * math::sigmoid(b))?;
    vjp!("glu", y, { x: |g| {
        let (a, b) = halves(&x, dim)?;
        let s = b.sigmoid()?;
        Tensor::joined("cat", &[(g * &s)?, sigmoid_backward(&(g * a)?, &s)?], x.layout().dim("glu", dim)?)
    } }, saves { dim })
}
