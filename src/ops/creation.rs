//! New tensors: constants, ranges, identity matrices, and copies in another dtype or order.

use super::arguments::MemoryFormat;
use super::batch_order;
use super::kernel::{fill, strides_like};
use crate::dtype::{DType, Element, Kind, Scalar};
use crate::error::{Error, Result};
use crate::layout::{Layout, Shape, Strides, contiguous_strides};
use crate::runtime_error;
use crate::storage::Storage;
use crate::tensor::Tensor;
use crate::vjp;

/// Strides of a new tensor of this shape in a memory format that does not depend on another tensor.
pub fn format_strides(op: &'static str, shape: &[usize], format: MemoryFormat) -> Result<Strides> {
    let none = || Error::Runtime(format!("{op}: unsupported memory format Preserve: there is nothing to preserve"));
    format.strides(op, shape)?.ok_or_else(none)
}

/// Strides of a tensor without gaps whose dims are nested in this order, the outermost first.
pub fn permuted_strides(shape: &[usize], order: &[usize]) -> Strides {
    let mut strides = contiguous_strides(shape);
    let mut step = 1isize;
    for &d in order.iter().rev() {
        strides[d] = step;
        step *= shape[d].max(1) as isize;
    }
    strides
}

impl Tensor {
    /// The format that torch's layers keep: with channels last if the strides grow that way, else row-major.
    pub(crate) fn layer_format(&self) -> MemoryFormat {
        let (order, format): (&[usize], _) = match self.rank() {
            4 => (&[1, 3, 2, 0], MemoryFormat::ChannelsLast),
            5 => (&[1, 4, 3, 2, 0], MemoryFormat::ChannelsLast3d),
            _ => return MemoryFormat::Contiguous,
        };
        let (shape, strides) = (self.shape(), self.strides());
        let mut least = 0;
        for &d in order {
            let repeated = d == 0 && least == strides[1] || d == 1 && strides[1] == 0;
            if shape[d] == 0 || strides[d] < least || repeated {
                return MemoryFormat::Contiguous;
            }
            least = strides[d] * shape[d] as isize;
        }
        format
    }

    /// A fresh result in the memory format of `x`, of the same rank. Not recorded.
    pub(crate) fn in_format_of(self, x: &Tensor) -> Result<Tensor> {
        match x.layer_format() {
            MemoryFormat::Contiguous => Ok(self),
            format => {
                let y = Tensor::uninitialized_strided("clone", self.shape(), self.strides_in(format)?, self.dtype())?;
                y.write(&self)?;
                Ok(y)
            }
        }
    }

    /// The strides that a new tensor made from this one has.
    pub fn strides_in(&self, format: MemoryFormat) -> Result<Strides> {
        match format {
            MemoryFormat::Preserve if self.layout().is_dense() || self.numel() == 0 => Ok(self.layout().strides.clone()),
            MemoryFormat::Preserve => Ok(strides_like(self.shape(), &[self])),
            _ => format_strides("empty_like", self.shape(), format),
        }
    }

    /// A tensor of this shape with arbitrary contents.
    pub fn empty_like(&self, dtype: DType, format: MemoryFormat) -> Result<Tensor> {
        self.check_there()?;
        let y = Tensor::uninitialized_strided("empty_like", self.shape(), self.strides_in(format)?, dtype)?;
        y.note_sample_of(self.sample_of());
        if format == MemoryFormat::Preserve || !self.samples().in_front() {
            batch_order::note(&y, &[self]);
        }
        Ok(y)
    }

    /// A copy in another dtype and order.
    pub fn to_copy(&self, dtype: DType, format: MemoryFormat) -> Result<Tensor> {
        let x = self;
        x.warn_of_lost_parts(dtype)?;
        let y = x.empty_like(dtype, format)?;
        y.write(x)?;
        let source = x.dtype();
        vjp!("to_copy", y, { x: |g| g.to_dtype(source) })
    }

    /// A tensor filled with a number.
    pub fn full(op: &'static str, shape: &[usize], value: Scalar, dtype: DType) -> Result<Tensor> {
        if !value.converts_to(dtype) {
            return runtime_error!("{op}: value {value} cannot be converted to type {dtype} without overflow");
        }
        let y = Tensor::uninitialized(op, shape, dtype)?;
        fill(&y, value)?;
        Ok(y)
    }

    /// A tensor of this shape filled with a number.
    pub fn full_like(&self, op: &'static str, value: Scalar, dtype: DType, format: MemoryFormat) -> Result<Tensor> {
        if !value.converts_to(dtype) {
            return runtime_error!("{op}: value {value} cannot be converted to type {dtype} without overflow");
        }
        let y = self.empty_like(dtype, format)?;
        fill(&y, value)?;
        Ok(y)
    }

    /// A tensor with arbitrary contents and these strides, which may leave gaps.
    pub fn empty_strided(shape: &[usize], strides: Strides, dtype: DType) -> Result<Tensor> {
        if shape.len() != strides.len() {
            return runtime_error!(
                "empty_strided: dimensionality of sizes ({}) must match dimensionality of strides ({})",
                shape.len(),
                strides.len()
            );
        }
        let overflow =
            || Error::Runtime(format!("Storage size calculation overflowed with sizes={shape:?} and strides={:?}", &strides[..]));
        if strides.iter().any(|&stride| stride < 0) {
            return Err(overflow());
        }
        let mut end = 1usize;
        for (&size, &stride) in shape.iter().zip(&strides) {
            let reach = size.saturating_sub(1).checked_mul(stride as usize);
            end = reach
                .and_then(|reach| end.checked_add(reach))
                .filter(|&end| end < isize::MAX as usize / 16)
                .ok_or_else(overflow)?;
        }
        let end = if shape.contains(&0) { 0 } else { end };
        let storage = Storage::uninitialized(end * dtype.size())?;
        Ok(Tensor::from_parts(storage, Layout { shape: shape.into(), strides, offset: 0 }, dtype))
    }

    /// A 1-d tensor of `f(i)`.
    pub(crate) fn tabulate<T: Element>(op: &'static str, n: usize, f: impl Fn(usize) -> T) -> Result<Tensor> {
        let y = Tensor::uninitialized(op, &[n], T::DTYPE)?;
        // SAFETY: the memory is fresh, so nobody else sees it.
        let out = unsafe { y.slice_mut::<T>() };
        out.iter_mut().enumerate().for_each(|(i, slot)| *slot = f(i));
        Ok(y)
    }

    /// `start, start + step, …` up to but not including `end`.
    pub fn arange(start: Scalar, end: Scalar, step: Scalar, dtype: DType) -> Result<Tensor> {
        for number in [start, end, step] {
            number.for_use_with("arange", if dtype.is_float() { DType::F64 } else { DType::I64 })?;
        }
        let n = arange_len(start, end, step, dtype)?;
        if dtype.is_float() {
            let (start, step) = (start.to_f64(), step.to_f64());
            return crate::dispatch_floats!(dtype, "arange", T => {
                // As torch's vector loop does it: each register of 32 bytes starts from a rounded number, two at a time.
                let lanes = 32 / size_of::<T>();
                let in_registers = n - n % (2 * lanes);
                Tensor::tabulate("arange", n, |i| {
                    if i >= in_registers {
                        return T::from_f64(step.mul_add(i as f64, start));
                    }
                    let first = T::from_f64(step.mul_add((i - i % lanes) as f64, start)).to_f64();
                    T::from_f64(step.mul_add((i % lanes) as f64, first))
                })
            });
        }
        if dtype == DType::Bool {
            return Err(Error::NotImplemented("arange: not implemented for dtype bool".into()));
        }
        let (start, step) = (start.to::<i64>(), step.to::<i64>());
        crate::dispatch_ints!(dtype, "arange", T => {
            Tensor::tabulate("arange", n, |i| T::from_i64(start.wrapping_add(step.wrapping_mul(i as i64))))
        })
    }

    /// `start, start + step, …` up to and including `end`.
    pub fn range(start: Scalar, end: Scalar, step: Scalar, dtype: DType) -> Result<Tensor> {
        check_range(start, end, step)?;
        if !dtype.is_inexact() && dtype != DType::Bool {
            // Integers count with the whole parts of all three.
            let (start, end, step) = (start.to::<i64>(), end.to::<i64>(), step.to::<i64>());
            let Some(n) = end.wrapping_sub(start).checked_div(step) else {
                return runtime_error!("range: step must not be smaller than 1 for {dtype}");
            };
            return crate::dispatch_ints!(dtype, "range", T => {
                Tensor::tabulate("range", n as usize + 1, |i| T::from_i64(start.wrapping_add(step.wrapping_mul(i as i64))))
            });
        }
        let n = ((end.to_f64() - start.to_f64()) / step.to_f64()) as usize + 1;
        let (start, step) = (start.to_f64(), step.to_f64());
        crate::dispatch_reals!(dtype, "range", T => Tensor::tabulate("range", n, |i| T::from_f64(start + step * i as f64)))
    }

    /// `steps` evenly spaced numbers from `start` to `end`, counted from the nearer end so that both are exact.
    pub fn linspace(start: Scalar, end: Scalar, steps: usize, dtype: DType) -> Result<Tensor> {
        let between = |i: usize, low: f64, high: f64, step: f64| {
            if i < steps / 2 { step.mul_add(i as f64, low) } else { (-step).mul_add((steps - 1 - i) as f64, high) }
        };
        check_ends("linspace", start, end, steps, dtype)?;
        match dtype {
            _ if dtype.is_complex() => {
                let (start, end) = (start.to_c128(), end.to_c128());
                let part = |low, high| Tensor::linspace(Scalar::Float(low), Scalar::Float(high), steps, dtype.to_real());
                super::complex::complex_of(&part(start.re, end.re)?, &part(start.im, end.im)?)
            }
            DType::Bool => Err(Error::NotImplemented("linspace: not implemented for dtype bool".into())),
            DType::F32 => {
                let (low, high) = (start.to::<f32>(), end.to::<f32>());
                let step = (high - low) / (steps as f32 - 1.0);
                Tensor::tabulate("linspace", steps, |i| match i {
                    _ if steps == 1 => low,
                    i if i < steps / 2 => step.mul_add(i as f32, low),
                    i => (-step).mul_add((steps - 1 - i) as f32, high),
                })
            }
            DType::F64 => {
                let (low, high) = (start.to_f64(), end.to_f64());
                let step = (high - low) / (steps as f64 - 1.0);
                Tensor::tabulate("linspace", steps, |i| if steps == 1 { low } else { between(i, low, high, step) })
            }
            _ => crate::dispatch_ints!(dtype, "linspace", T => {
                let (low, high) = (start.to::<T>().to_f64(), end.to::<T>().to_f64());
                let step = (high - low) / (steps as f64 - 1.0);
                Tensor::tabulate("linspace", steps, |i| T::from_f64(if steps == 1 { low } else { between(i, low, high, step) }))
            }),
        }
    }

    /// `base` to the powers of `linspace`.
    pub fn logspace(start: Scalar, end: Scalar, steps: usize, base: f64, dtype: DType) -> Result<Tensor> {
        match dtype {
            DType::Bool => Err(Error::NotImplemented("logspace: not implemented for dtype bool".into())),
            _ if dtype.is_complex() => {
                let exponents = Tensor::linspace(start, end, steps, dtype)?;
                Tensor::from_number(Scalar::Float(base))?.pow(exponents.into())
            }
            _ if steps == 1 => Tensor::full("logspace", &[1], Scalar::Float(base.powf(start.to_f64())), dtype),
            _ => crate::dispatch_reals!(dtype, "logspace", T => {
                check_ends("logspace", start, end, steps, dtype)?;
                let (low, high) = (start.to::<T>().to_f64(), end.to::<T>().to_f64());
                let step = (high - low) / (steps as f64 - 1.0);
                let exponent = |i: usize| match i {
                    i if i < steps / 2 => low + step * i as f64,
                    i => high - step * (steps - 1 - i) as f64,
                };
                Tensor::tabulate("logspace", steps, |i| T::from_f64(base.powf(exponent(i))))
            }),
        }
    }

    /// Ones on the diagonal, zeros elsewhere.
    pub fn eye(n: usize, m: usize, dtype: DType) -> Result<Tensor> {
        let y = Tensor::full("eye", &[n, m], Scalar::Int(0), dtype)?;
        let diagonal =
            Layout { shape: Shape::from_slice(&[n.min(m)]), strides: Strides::from_slice(&[m as isize + 1]), offset: 0 };
        fill(&y.with_layout(diagonal), Scalar::Int(1))?;
        Ok(y)
    }
}

/// The ends that are used must be within the range of the dtype.
fn check_ends(op: &str, start: Scalar, end: Scalar, steps: usize, dtype: DType) -> Result<()> {
    [start, end].into_iter().take(steps).try_for_each(|value| value.for_use_with(op, dtype).map(drop))
}

fn check_range(start: Scalar, end: Scalar, step: Scalar) -> Result<()> {
    let (first, last, by) = (start.to_f64(), end.to_f64(), step.to_f64());
    if by == 0.0 || by.is_nan() {
        return runtime_error!("step must be nonzero");
    }
    if !first.is_finite() || !last.is_finite() {
        return runtime_error!("unsupported range: {first} -> {last}");
    }
    if (by > 0.0 && first > last) || (by < 0.0 && first < last) {
        return runtime_error!("upper bound and lower bound inconsistent with step sign (from {first} to {last} by {by})");
    }
    Ok(())
}

/// How many numbers `arange` gives.
fn arange_len(start: Scalar, end: Scalar, step: Scalar, dtype: DType) -> Result<usize> {
    check_range(start, end, step)?;
    let n = match dtype {
        // Doubles do not hold all of these.
        DType::I64 => {
            let (first, last, by) = (start.to::<i64>() as i128, end.to::<i64>() as i128, step.to::<i64>() as i128);
            if by == 0 {
                return Err(Error::Value("step must be nonzero".into()));
            }
            ((last - first + by - by.signum()) / by) as f64
        }
        _ => ((end.to_f64() - start.to_f64()) / step.to_f64()).ceil(),
    };
    if !(0.0..=(isize::MAX as f64 / 16.0)).contains(&n) {
        return runtime_error!("arange: invalid size {n}, possible overflow");
    }
    Ok(n as usize)
}

/// The dtype of evenly spaced numbers between these, which `given`, if any, must be able to hold.
pub fn spaced_dtype(op: &str, ends: [Scalar; 2], given: Option<DType>) -> Result<DType> {
    let complex = ends.iter().any(|end| end.kind() == Kind::Complex);
    match given {
        Some(given) if complex && !given.is_complex() => {
            runtime_error!("{op}: complex ends can't be safely cast to the dtype {given}")
        }
        Some(given) => Ok(given),
        None => Ok(if complex { super::default_dtype().to_complex() } else { super::default_dtype() }),
    }
}

/// The dtype of a range of these numbers: int64 if all are integers, else the default float.
pub fn range_dtype(numbers: &[Scalar]) -> DType {
    let kinds = numbers.iter().map(|number| number.dtype(DType::F32).kind());
    if kinds.max().is_some_and(|kind| kind == Kind::Float) { super::default_dtype() } else { DType::I64 }
}
