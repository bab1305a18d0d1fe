//! Dropout: elements set to 0 at random in training, the others scaled so that the mean stays.

use pyo3::prelude::*;

use super::arguments::{MemoryFormat, Several};
use super::inplace::in_place_if;
use super::random::{Source, bits, draw_slice};
use super::samples;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Error, Result};
use crate::layout::Shape;
use crate::random::{self, Generator};
use crate::runtime_error;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// What is dropped.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Element,
    /// All elements of a sample that share the second dim.
    Channel,
}

/// What takes the place of what is dropped.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Zero,
    /// The limit of `selu` for negative numbers, all scaled and moved so that mean and variance stay.
    Saturation,
}

/// For each element of `x`, or each channel, a number: `kept` with probability `1 - p`, else 0.
fn noise(x: &Tensor, unit: Unit, p: f64, kept: f64) -> Result<Tensor> {
    let noise = match unit {
        Unit::Element if samples::is_mapped() => Tensor::uninitialized("dropout", x.shape(), x.dtype())?,
        Unit::Element => x.empty_like(x.dtype(), MemoryFormat::Preserve)?,
        Unit::Channel if x.rank() < 2 => {
            return runtime_error!("dropout of features requires at least 2 dimensions in the input, got {}", x.rank());
        }
        Unit::Channel => {
            let shape: Shape = x.shape().iter().enumerate().map(|(d, &size)| if d < 2 { size } else { 1 }).collect();
            Tensor::uninitialized("dropout", &shape, x.dtype())?
        }
    };
    if x.dtype().is_complex() {
        return Err(Error::NotImplemented(format!("\"bernoulli_scalar_cpu_\" not implemented for '{}'", x.dtype().type_word())));
    }
    if !x.dtype().is_float() {
        return runtime_error!("dropout: result type Float can't be cast to the desired output type {}", x.dtype().type_word());
    }
    let p = 1.0 - p;
    crate::dispatch_floats!(x.dtype(), "dropout", T => {
        let kept = kept as T;
        let fill = |rng: &mut Generator, out: &mut [T]| {
            let mut slots = out.iter_mut();
            random::bernoulli(rng, slots.len(), p, |stays| {
                if let Some(slot) = slots.next() {
                    *slot = if stays { kept } else { 0.0 };
                }
            });
        };
        let one = move |rng: &mut Generator| if rng.bernoulli(p) { kept } else { 0.0 };
        draw_slice("dropout", bits(p, kept.to_f64()), &noise, &Source::Default, fill, one)
    })?;
    Ok(noise)
}

/// The limit of `selu` for negative numbers, with the other sign.
const LIMIT: f64 = 1.758_099_340_847_376_6;

/// `x` after dropout in training, by a probability above 0.
fn dropped(x: &Tensor, unit: Unit, by: By, p: f64) -> Result<Tensor> {
    if p == 1.0 {
        return x.mul(&Tensor::from_scalar(Scalar::Int(0), x.dtype())?);
    }
    if by == By::Zero {
        // The quotient is rounded in the dtype.
        let kept = if x.dtype() == DType::F32 { f64::from(1.0 / (1.0 - p) as f32) } else { 1.0 / (1.0 - p) };
        return x.mul(&noise(x, unit, p, kept)?);
    }
    let scale = 1.0 / ((LIMIT * LIMIT * p + 1.0) * (1.0 - p)).sqrt();
    let noise = noise(x, unit, p, 1.0)?;
    let shift = (((&noise + -1.0)? * (LIMIT * scale))? + LIMIT * scale * p)?;
    (x * (noise * scale)?)? + shift
}

/// Fails unless `p` is a probability.
fn check_probability(p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    runtime_error!("dropout probability has to be between 0 and 1, but got {p}")
}

macro_rules! dropouts {
    ($($(#[$doc:meta])* $name:ident $name_:ident $unit:expr, $by:expr;)+) => {$(
        $(#[$doc])*
        ///
        /// Nothing changes unless `train`, and the answer is `input` itself.
        /// Shape: any, kept. Dtype: float, kept.
        /// Raises: RuntimeError if `p` is no probability, or for integers.
        /// Source: Srivastava et al., "Dropout", 2014; for `selu`, Klambauer et al., "Self-normalizing neural networks", 2017.
        #[pyfunction]
        pub fn $name(input: Bound<'_, Tensor>, p: f64, train: bool) -> PyResult<Bound<'_, Tensor>> {
            maybe_dropped(false, stringify!($name), input, (p, train), $unit, $by)
        }

        #[doc = concat!("In place; see `", stringify!($name), "`.")]
        #[pyfunction]
        pub fn $name_(input: Bound<'_, Tensor>, p: f64, train: bool) -> PyResult<Bound<'_, Tensor>> {
            maybe_dropped(true, stringify!($name_), input, (p, train), $unit, $by)
        }
    )+};
}

dropouts! {
    /// Each element 0 with probability `p`, else times 1 / (1 - p).
    dropout dropout_ Unit::Element, By::Zero;
    /// All elements of a sample and channel (the first two dims) 0 with probability `p`, else times 1 / (1 - p).
    feature_dropout feature_dropout_ Unit::Channel, By::Zero;
    /// Each element the limit of `selu` with probability `p`, all scaled and moved so that mean and variance stay.
    alpha_dropout alpha_dropout_ Unit::Element, By::Saturation;
    /// All elements of a sample and channel the limit of `selu` with probability `p`; see `alpha_dropout`.
    feature_alpha_dropout feature_alpha_dropout_ Unit::Channel, By::Saturation;
}

fn maybe_dropped<'py>(
    inplace: bool,
    op: &'static str,
    input: Bound<'py, Tensor>,
    (p, train): (f64, bool),
    unit: Unit,
    by: By,
) -> PyResult<Bound<'py, Tensor>> {
    check_probability(p)?;
    if p == 0.0 || !train || input.borrow().numel() == 0 {
        return Ok(input);
    }
    if inplace && p < 1.0 {
        samples::check_factors(op, &input.borrow())?;
    }
    in_place_if(inplace, op, input, |x| dropped(x, unit, by, p))
}

/// `dropout` and what it has kept. `train` is true if it is None.
///
/// Shape: any, kept. Dtype: float, kept, and bool.
/// Raises: RuntimeError if `p` is no probability, or for integers.
#[pyfunction]
pub fn native_dropout(input: &Tensor, p: f64, train: Option<bool>) -> Result<Several> {
    let x = input;
    if x.numel() == 0 {
        return Ok(Several(vec![x.clone(), x.empty_like(x.dtype(), MemoryFormat::Preserve)?]));
    }
    let train = train.unwrap_or(true);
    let mask = x.full_like("native_dropout", Scalar::Bool(true), DType::Bool, MemoryFormat::Preserve)?;
    let scale = match p {
        _ if !train => 1.0,
        1.0 => 0.0,
        p => 1.0 / (1.0 - p),
    };
    if train {
        samples::check_mask(x)?;
        mask.fill_bernoulli(1.0 - p, &Source::Default)?;
        if !x.dtype().is_inexact() {
            return runtime_error!("native_dropout: result type Float can't be cast to {}", x.dtype().type_word());
        }
    }
    let y = without_recording(|| if train { x.mul(&mask)? * scale } else { x.copied() })?;
    let kept = mask.save();
    let y = vjp!("native_dropout", y, { x: |g| g.mul(&kept)? * scale }, saves { p })?;
    Ok(Several(vec![y, mask]))
}
