//! Bounds: clamp, the larger and the smaller of two, and replacements for NaN and infinities.

use pyo3::prelude::*;
use smallvec::SmallVec;

use super::arguments::Operand;
use super::kernel::{promoted, result_type, result_type_with, unary};
use super::power::check_in_range;
use crate::dtype::{DType, Element, Ordered, Scalar};
use crate::error::{Error, Result};
use crate::tape::mode::is_forward;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// Names under which bounds are recorded: torch's overload for numbers, and for tensors.
struct Names {
    numbers: &'static str,
    tensors: &'static str,
}

impl Tensor {
    fn bounded(&self, names: Names, low: Option<Operand>, high: Option<Operand>) -> Result<Tensor> {
        match (low, high) {
            (None, None) => Err(Error::Runtime("clamp: at least one of 'min' or 'max' must not be None".into())),
            (low @ (None | Some(Operand::Number(_))), high @ (None | Some(Operand::Number(_)))) => {
                let number = |bound: Option<Operand>| bound.as_ref().and_then(Operand::number);
                self.between_numbers(names.numbers, number(low), number(high))
            }
            (low, high) => self.between_tensors(names.tensors, [low, high]),
        }
    }

    fn between_numbers(&self, op: &'static str, low: Option<Scalar>, high: Option<Scalar>) -> Result<Tensor> {
        let numbers = [low, high].into_iter().flatten();
        let x = self.as_operand(result_type_with(self, numbers.clone()))?;
        numbers.into_iter().try_for_each(|number| check_in_range(number, x.dtype()))?;
        if x.dtype() == DType::Bool {
            return Err(Error::DType { op: "clamp", got: DType::Bool, expected: "the numbers".into() });
        }
        let y = crate::dispatch_reals!(x.dtype(), "clamp", T => {
            let (to_low, to_high) = (low.map(|low| low.to::<T>()), high.map(|high| high.to::<T>()));
            match (to_low, to_high) {
                (Some(low), None) => unary::<T, T>("clamp", &x, #[inline(always)] move |v| Ordered::max(low, v)),
                (None, Some(high)) => unary::<T, T>("clamp", &x, #[inline(always)] move |v| Ordered::min(high, v)),
                // Where the bounds cross, all is `high`.
                (low, high) => {
                    let (low, high) = (low.unwrap_or(T::LOWEST), high.unwrap_or(T::HIGHEST));
                    unary::<T, T>("clamp", &x, #[inline(always)] move |v| Ordered::min(high, Ordered::max(low, v)))
                }
            }
        })?;
        let (from, to) = (low.map_or(f64::NEG_INFINITY, Scalar::to_f64), high.map_or(f64::INFINITY, Scalar::to_f64));
        vjp!(op, y, { x: |g| kept_between(g, &x, from, to) }, saves { ..move || {
            let bounds = saves! { min: low, max: high }();
            bounds.into_iter().filter(|(name, _)| op == "clamp.1" || op == "clamp" || op.ends_with(name)).collect()
        } })
    }

    fn between_tensors(&self, op: &'static str, bounds: [Option<Operand>; 2]) -> Result<Tensor> {
        if let [Some(Operand::Tensor(tensor)), Some(Operand::Number(_))]
        | [Some(Operand::Number(_)), Some(Operand::Tensor(tensor))] = &bounds
            && (tensor.rank() > 0 || tensor.requires_grad())
        {
            return Err(Error::Type("clamp: min and max must be two tensors or two numbers, got one of each".into()));
        }
        let numbers: SmallVec<[Scalar; 2]> = bounds.iter().flatten().filter_map(Operand::number).collect();
        let [low, high] = bounds.map(|bound| bound.map(|bound| bound.beside(self)).transpose());
        let (low, high) = (low?, high?);
        let all = [Some(self), low.as_ref(), high.as_ref()];
        let dtype = result_type(&all.into_iter().flatten().collect::<SmallVec<[&Tensor; 3]>>());
        numbers.into_iter().try_for_each(|number| check_in_range(number, dtype))?;
        let cast =
            |bound: Option<Tensor>| bound.map(|bound| bound.as_operand(dtype).map(std::borrow::Cow::into_owned)).transpose();
        let x = self.as_operand(dtype)?;
        match (cast(low)?, cast(high)?) {
            (Some(low), Some(high)) => clamp_between(op, &x, &low, &high),
            (Some(low), None) => {
                let y = ordered_zip_map!("clamp", x, low, |v: T, low: T| Ordered::max(low, v))?;
                vjp!(op, y, { x: |g| within(op, &low, &x)?.choose(g, 0.0), low: |g| beyond(op, &x, &low, g) })
            }
            (None, Some(high)) => {
                let y = ordered_zip_map!("clamp", x, high, |v: T, high: T| Ordered::min(high, v))?;
                vjp!(op, y, { x: |g| within(op, &x, &high)?.choose(g, 0.0), high: |g| beyond(op, &high, &x, g) })
            }
            (None, None) => Ok(x.into_owned()),
        }
    }

    fn below(&self, other: &Tensor) -> Result<Tensor> {
        self.lt(other.into())
    }

    fn not_below(&self, other: &Tensor) -> Result<Tensor> {
        self.ge(other.into())
    }
}

/// g where x is not outside of two numbers, else 0, in one pass.
fn kept_between(g: &Tensor, x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    let z = float_zip_map!("clamp_backward", g, x, move |g: T, x: T| if x >= low as T && x <= high as T { g } else { 0.0 })?;
    let x = x.save();
    vjp!("clamp_backward", z, { g: |h| kept_between(h, &x, low, high) })
}

/// Where the bounds cross, all is `high`, and so `high` alone has a gradient there. Along tangents, a number beside a NaN has it.
fn clamp_between(op: &'static str, x: &Tensor, low: &Tensor, high: &Tensor) -> Result<Tensor> {
    let y = real_zip3_map!("clamp", x, low, high, |v: T, low: T, high: T| Ordered::min(high, Ordered::max(low, v)))?;
    vjp!(op, y, {
        x: |g| if is_forward() {
            x.below(&low)?.logical_or(&high.below(&x)?)?.logical_or(&high.below(&low)?)?.choose_or(0.0, g)
        } else {
            x.not_below(&low)?.logical_and(&high.not_below(&x)?)?.choose(g, 0.0)
        },
        low: |g| {
            let apart = if is_forward() { high.below(&low)?.logical_not()? } else { low.below(&high)? };
            x.below(&low)?.logical_and(&apart)?.choose(g, 0.0)
        },
        high: |g| high.below(&x)?.logical_or(&high.below(&low)?)?.choose(g, 0.0),
    })
}

/// Where a number within one bound, not below or not above it, has the derivative. Along tangents `clamp` gives that of the bound to
/// what is equal.
fn within(op: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if op == "clamp" && is_forward() { a.below(b) } else { b.not_below(a) }
}

/// The gradient of the bound: along tangents all that the number does not have, also beside a NaN.
fn beyond(op: &str, a: &Tensor, b: &Tensor, g: &Tensor) -> Result<Tensor> {
    if is_forward() { within(op, b, a)?.choose_or(0.0, g) } else { a.below(b)?.choose(g, 0.0) }
}

/// Where `fmax` has the derivative of its first operand.
fn first_of_fmax(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let larger = if is_forward() { b.below(a) } else { a.not_below(b) };
    larger?.logical_or(&b.isnan()?)
}

#[pymethods]
impl Tensor {
    /// Each element, or `min` if it is below, or `max` if it is above. NaN stays, and NaN bounds give NaN.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Derivative: 1 at the bounds.
    /// Raises: RuntimeError if both bounds are None.
    #[pyo3(signature = (min=None, max=None))]
    pub fn clamp(&self, min: Option<Operand>, max: Option<Operand>) -> Result<Tensor> {
        self.bounded(Names { numbers: "clamp.1", tensors: "clamp" }, min, max)
    }

    /// Each element, or `min` if it is below.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Derivative: 1 at the bound.
    #[pyo3(signature = (min))]
    pub fn clamp_min(&self, min: Operand) -> Result<Tensor> {
        self.bounded(Names { numbers: "clamp_min", tensors: "clamp_min.1" }, Some(min), None)
    }

    /// Each element, or `max` if it is above.
    ///
    /// Shape: broadcast. Dtype: any but bool; promotes.
    /// Derivative: 1 at the bound.
    #[pyo3(signature = (max))]
    pub fn clamp_max(&self, max: Operand) -> Result<Tensor> {
        self.bounded(Names { numbers: "clamp_max", tensors: "clamp_max.1" }, None, Some(max))
    }

    /// The larger of two elements; NaN if one is NaN.
    ///
    /// Shape: broadcast. Dtype: any; promotes.
    /// Derivative: half to each where they are equal.
    #[pyo3(signature = (other))]
    pub fn maximum(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        a.only_real_for("maximum")?;
        let y = ordered_zip_map!("maximum", a, b, |u: T, v: T| Ordered::max(u, v))?;
        vjp!("maximum", y, { a: |g| share_of_first(g, &b, &a), b: |g| share(g, &a, &b) })
    }

    /// The smaller of two elements; NaN if one is NaN.
    ///
    /// Shape: broadcast. Dtype: any; promotes.
    /// Derivative: half to each where they are equal.
    #[pyo3(signature = (other))]
    pub fn minimum(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        a.only_real_for("minimum")?;
        let y = ordered_zip_map!("minimum", a, b, |u: T, v: T| Ordered::min(u, v))?;
        vjp!("minimum", y, { a: |g| share_of_first(g, &a, &b), b: |g| share(g, &b, &a) })
    }

    /// The larger of two elements, the other one if one is NaN.
    ///
    /// Shape: broadcast. Dtype: any; promotes.
    /// Derivative: all to the first where they are equal; along tangents that of the second.
    #[pyo3(signature = (other))]
    pub fn fmax(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        a.only_real_for("fmax")?;
        let y = ordered_zip_map!("fmax", a, b, |u: T, v: T| if u >= v || v.is_nan() { u } else { v })?;
        vjp!("fmax", y, {
            a: |g| first_of_fmax(&a, &b)?.choose(g, 0.0),
            b: |g| first_of_fmax(&a, &b)?.choose_or(0.0, g),
        })
    }

    /// The smaller of two elements, the other one if one is NaN.
    ///
    /// Shape: broadcast. Dtype: any; promotes.
    /// Derivative: all to the first where they are equal.
    #[pyo3(signature = (other))]
    pub fn fmin(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = promoted(self, other)?;
        a.only_real_for("fmin")?;
        let y = ordered_zip_map!("fmin", a, b, |u: T, v: T| if u <= v || v.is_nan() { u } else { v })?;
        vjp!("fmin", y, {
            a: |g| b.not_below(&a)?.logical_or(&b.isnan()?)?.choose(g, 0.0),
            b: |g| b.not_below(&a)?.logical_or(&b.isnan()?)?.choose_or(0.0, g),
        })
    }

    /// Numbers in place of NaN, infinity and minus infinity: by default 0 and the largest and lowest finite ones.
    ///
    /// Shape: any, kept. Dtype: any, kept.
    /// Derivative: 0 where replaced.
    #[pyo3(signature = (nan=None, posinf=None, neginf=None))]
    pub fn nan_to_num(&self, nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>) -> Result<Tensor> {
        let x = self;
        if x.dtype().is_complex() {
            if x.requires_grad() && crate::tape::is_recording() {
                return crate::runtime_error!(
                    "nan_to_num does not support automatic differentiation for outputs with complex dtype."
                );
            }
            let part = |which| x.part(which).nan_to_num(nan, posinf, neginf);
            return super::complex::complex_of(&part(0)?, &part(1)?);
        }
        if !x.dtype().is_float() {
            return x.copied();
        }
        let nan = nan.unwrap_or(0.0);
        let y = float_map!("nan_to_num", x, move |v: T| {
            let (high, low) = (posinf.map_or(T::MAX, |p| p as T), neginf.map_or(T::MIN, |n| n as T));
            if v.is_nan() {
                nan as T
            } else if v == T::INFINITY {
                high
            } else if v == T::NEG_INFINITY {
                low
            } else {
                v
            }
        })?;
        vjp!("nan_to_num", y, { x: |g| g * x.isfinite() })
    }
}

/// The gradient where `a` < `b`, half of it where they are equal, and all of it beside a NaN.
fn share(g: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let equal = a.eq(b.into())?;
    a.gt(b.into())?.choose_or(0.0, &equal.where_of(&(g * 0.5)?, g)?)
}

/// The same for the first of the two operands, which has nothing beside a NaN along tangents.
fn share_of_first(g: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !is_forward() {
        return share(g, a, b);
    }
    a.eq(b.into())?.where_of(&(g * 0.5)?, &a.below(b)?.choose(g, 0.0)?)
}

in_place! {
    /// In place; see `clamp`.
    clamp_(min=None, max=None)(min: Option<Operand>, max: Option<Operand>) [min, max] |x| x.clamp(min, max);
    /// In place; see `clamp_min`.
    clamp_min_(min)(min: Operand) [min] |x| x.clamp_min(min);
    /// In place; see `clamp_max`.
    clamp_max_(max)(max: Operand) [max] |x| x.clamp_max(max);
    /// In place; see `nan_to_num`.
    nan_to_num_(nan=None, posinf=None, neginf=None)(nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>) []
        |x| x.nan_to_num(nan, posinf, neginf);
}
