//! Images (signals, volumes) in other sizes: one dim after the other, each by a table of places and weights.

use std::f64::consts::PI;

use pyo3::prelude::*;

use super::arguments::Dims;
use super::join::{channels_moved, has_channels_last};
use crate::dtype::{DType, Number};
use crate::error::{Error, Result};
use crate::kernels::lines::Lines;
use crate::kernels::resample::{Table, resample};
use crate::kernels::without_interpreter;
use crate::layout::Shape;
use crate::runtime_error;
use crate::storage::{Access, check_room};
use crate::tape::numbers::{Named, ToNumber};
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// How a value between the places of an input is made of its neighbours.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    /// The one before it, as other libraries do it.
    Nearest,
    /// The nearest one.
    NearestExact,
    /// A line through the two beside it.
    Linear,
    /// A cubic through the four around it.
    Cubic,
    /// A triangle over all that an output covers.
    LinearAa,
    /// A cubic over all that an output covers.
    CubicAa,
    /// A windowed sinc over all that an output covers.
    LanczosAa,
}

/// An op by its name without "upsample_": its mode, the number of dims that it changes, and the names of its nodes.
type Kind = (&'static str, Mode, usize, &'static str, &'static str);

macro_rules! kinds {
    ($($name:literal $mode:ident $rank:literal $node:literal;)+) => {
        [$(($name, Mode::$mode, $rank, $node, concat!($node, "_backward"))),+]
    };
}

const KINDS: [Kind; 13] = kinds! {
    "nearest1d" Nearest 1 "upsample_nearest1d";
    "nearest2d" Nearest 2 "upsample_nearest2d";
    "nearest3d" Nearest 3 "upsample_nearest3d";
    "nearest_exact1d" NearestExact 1 "upsample_nearest_exact1d";
    "nearest_exact2d" NearestExact 2 "upsample_nearest_exact2d";
    "nearest_exact3d" NearestExact 3 "upsample_nearest_exact3d";
    "linear1d" Linear 1 "upsample_linear1d";
    "bilinear2d" Linear 2 "upsample_bilinear2d";
    "trilinear3d" Linear 3 "upsample_trilinear3d";
    "bicubic2d" Cubic 2 "upsample_bicubic2d";
    "bilinear2d_aa" LinearAa 2 "upsample_bilinear2d_aa";
    "bicubic2d_aa" CubicAa 2 "upsample_bicubic2d_aa";
    "lanczos2d_aa" LanczosAa 2 "upsample_lanczos2d_aa";
};

/// One dim: its old and new size, and the factor between them if that is not their quotient.
#[derive(Clone, Copy)]
struct Resize {
    from: usize,
    to: usize,
    scale: Option<f64>,
}

/// Everything about a call but the tensor. In reverse it is the gradient of itself.
#[derive(Clone)]
struct Plan {
    kind: Kind,
    align_corners: bool,
    dims: Vec<Resize>,
    reversed: bool,
    /// Whether values are those of uint8, which are rounded after each dim, and the weights with them.
    bytes: bool,
}

impl Mode {
    /// How far its weights reach, in outputs or inputs, whatever is larger.
    fn reach(self) -> f64 {
        match self {
            Mode::Cubic | Mode::CubicAa => 2.0,
            Mode::LanczosAa => 3.0,
            _ => 1.0,
        }
    }

    /// The weight at a distance, for the modes that see all that an output covers.
    fn weight(self, distance: f64, round: fn(f64) -> f64) -> f64 {
        let x = distance.abs();
        match self {
            Mode::CubicAa if x < 2.0 => cubic(x, -0.5, round),
            Mode::LinearAa if x < 1.0 => round(1.0 - x),
            Mode::LanczosAa if x < 3.0 => round(sinc(x) * sinc(x / 3.0)),
            _ => 0.0,
        }
    }
}

/// Keys' cubic convolution of a parameter at a distance up to 2.
///
/// Source: Keys, "Cubic convolution interpolation for digital image processing", 1981.
fn cubic(x: f64, a: f64, round: fn(f64) -> f64) -> f64 {
    let r = round;
    if x <= 1.0 {
        return r(r(r(r(r((a + 2.0) * x) - (a + 3.0)) * x) * x) + 1.0);
    }
    r(r(r(r(r(a * x) - 5.0 * a) * x) + 8.0 * a) * x) - 4.0 * a
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

impl Resize {
    /// The distance of outputs in places of the input.
    fn step(&self, align_corners: bool) -> f64 {
        if align_corners {
            return if self.to > 1 { (self.from - 1) as f64 / (self.to - 1) as f64 } else { 0.0 };
        }
        match self.scale {
            Some(scale) if scale > 0.0 => 1.0 / scale,
            _ => self.from as f64 / self.to as f64,
        }
    }

    /// The place that the nearest modes take, as torch finds it in gradients, small images, and more than 3 channels that lie last: by
    /// the sizes alone if one is the other, or twice the other, and in single precision.
    fn nearest(&self, mode: Mode, k: usize) -> usize {
        let step = match self.scale {
            Some(scale) if scale > 0.0 => (1.0 / scale) as f32,
            _ => self.from as f32 / self.to as f32,
        };
        match mode {
            Mode::NearestExact => ((k as f32 + 0.5) * step) as usize,
            _ if self.from == self.to => k,
            _ if self.from.checked_mul(2) == Some(self.to) => k / 2,
            _ => (k as f32 * step) as usize,
        }
        .min(self.from - 1)
    }

    /// The inputs of every output. Numbers are rounded by `round` as if all were computed in the dtype of the tensor.
    fn table<T: Number>(&self, mode: Mode, align_corners: bool, by_sizes: bool, round: fn(f64) -> f64) -> Result<Table<T>> {
        let (r, last) = (round, self.from.saturating_sub(1));
        let step = r(self.step(align_corners));
        let taps = match mode {
            Mode::Nearest | Mode::NearestExact => 1,
            Mode::Linear => 2,
            Mode::Cubic => 4,
            Mode::LinearAa | Mode::CubicAa | Mode::LanczosAa => {
                (2.0 * mode.reach() * step.max(1.0)).min(self.from as f64) as usize + 2
            }
        };
        let room = self.to.saturating_mul(taps);
        check_room::<(usize, f64)>(room)?;
        check_room::<(usize, usize)>(self.to.saturating_add(self.from))?;
        let mut table = Table::with_room(self.to, taps);
        // Where an output lies, between the places of the input.
        let at = |k: usize| if align_corners { r(step * k as f64) } else { r(r(step * r(k as f64 + 0.5)) - 0.5) };
        let within = |place: f64| (place.max(0.0) as usize).min(last);
        for k in 0..self.to {
            match mode {
                Mode::Nearest | Mode::NearestExact if by_sizes => table.add(self.nearest(mode, k), T::ONE),
                Mode::Nearest => table.add(within((r(step * k as f64) as f32).floor() as f64), T::ONE),
                Mode::NearestExact => table.add(within((r(at(k).max(0.0) + 0.5) as f32).floor() as f64), T::ONE),
                Mode::Linear if self.from == self.to => {
                    table.add(k, T::ONE);
                    table.add(k, T::ZERO);
                }
                Mode::Linear => {
                    let place = if align_corners { at(k) } else { at(k).max(0.0) };
                    let first = within((place as f32).floor() as f64);
                    let part = r(place - first as f64).clamp(0.0, 1.0);
                    table.add(first, T::from_f64(r(1.0 - part)));
                    table.add((first + 1).min(last), T::from_f64(part));
                }
                Mode::Cubic => {
                    let place = at(k);
                    let first = (place as f32).floor() as f64;
                    let first = first.min(last as f64);
                    let part = r(place - first).clamp(0.0, 1.0);
                    for (offset, distance) in [(-1.0, part + 1.0), (0.0, part), (1.0, 1.0 - part), (2.0, 2.0 - part)] {
                        table.add(within(first + offset), T::from_f64(r(cubic(r(distance), -0.75, r))));
                    }
                }
                Mode::LinearAa | Mode::CubicAa | Mode::LanczosAa => self.covered(&mut table, mode, step, k, r),
            }
            table.end();
        }
        Ok(table)
    }

    /// All inputs that output `k` covers.
    fn covered<T: Number>(&self, table: &mut Table<T>, mode: Mode, step: f64, k: usize, round: fn(f64) -> f64) {
        let r = round;
        let support = r(mode.reach() * step.max(1.0));
        let shrink = if step >= 1.0 { r(1.0 / step) } else { 1.0 };
        let center = r(step * r(k as f64 + 0.5));
        let begin = r(r(center - support) + 0.5).max(0.0) as usize;
        let end = (r(r(center + support) + 0.5).max(0.0) as usize).min(self.from);
        let weight = |place: usize| mode.weight(r(r(r(place as f64 - center) + 0.5) * shrink), r);
        let total = (begin..end).fold(0.0, |sum, place| r(sum + weight(place)));
        for place in begin..end {
            let share = if total == 0.0 { 0.0 } else { weight(place) / total };
            table.add(place, T::from_f64(share));
        }
    }
}

impl Plan {
    fn name(&self) -> &'static str {
        if self.reversed { self.kind.4 } else { self.kind.3 }
    }

    /// What the node shows.
    fn numbers(&self) -> Named {
        let output_size: Vec<usize> = self.dims.iter().map(|dim| dim.to).collect();
        let scales: &[&'static str] = match self.dims.len() {
            1 => &["scales"],
            2 => &["scales_h", "scales_w"],
            _ => &["scales_d", "scales_h", "scales_w"],
        };
        let mut all = saves! { output_size }();
        if !matches!(self.kind.1, Mode::Nearest | Mode::NearestExact) {
            all.push(("align_corners", self.align_corners.to_number()));
        }
        all.extend(scales.iter().zip(&self.dims).map(|(name, dim)| (*name, dim.scale.to_number())));
        all
    }

    fn reversed(&self) -> Plan {
        Plan { reversed: !self.reversed, ..self.clone() }
    }

    /// Whether the result is an image that torch has a kernel of its own for.
    fn is_small_image(&self) -> bool {
        self.dims.len() == 2 && self.dims.iter().map(|dim| dim.to).fold(0, usize::saturating_add) <= 128
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        // Whatever the factors were, as in torch.
        let is_copy = self.reversed && self.kind.1 == Mode::Cubic && self.dims.iter().all(|dim| dim.from == dim.to);
        let source = x.detached_read()?;
        let y = if is_copy { source.own_copy()? } else { self.resampled(&source)? };
        let plan = self.reversed();
        let numbers = self.clone();
        vjp!(self.name(), y, { x: |g| plan.apply(g) }, saves { ..move || numbers.numbers() })
    }

    /// Resamples all dims after the second, the last one first.
    fn resampled(&self, x: &Tensor) -> Result<Tensor> {
        let channels_last = x.rank() > 3 && has_channels_last(x);
        let mut y = if channels_last { channels_moved(x).contiguous()? } else { x.contiguous()? };
        let first = if channels_last { 1 } else { 2 };
        let by_sizes = self.reversed || self.is_small_image() || channels_last && x.shape()[1] > 3;
        for (i, resize) in self.dims.iter().enumerate().rev() {
            y = crate::dispatch_floats!(y.dtype(), self.name(), T => self.along::<T>(&y, first + i, resize, by_sizes))?;
        }
        if channels_last {
            let mut layout = y.layout().clone();
            if let (Some(size), Some(stride)) = (layout.shape.pop(), layout.strides.pop()) {
                layout.shape.insert(1, size);
                layout.strides.insert(1, stride);
            }
            y = y.into_layout(layout);
        }
        Ok(y)
    }

    /// Resamples one dim of a contiguous tensor.
    fn along<T: Number>(&self, x: &Tensor, dim: usize, resize: &Resize, by_sizes: bool) -> Result<Tensor> {
        let round: fn(f64) -> f64 = if x.dtype() == DType::F32 { |v| v as f32 as f64 } else { |v| v };
        let mut shape = Shape::from_slice(x.shape());
        shape[dim] = if self.reversed { resize.from } else { resize.to };
        let y = Tensor::uninitialized(self.name(), &shape, x.dtype())?;
        if y.numel() == 0 {
            return Ok(y);
        }
        let mut table = resize.table::<T>(self.kind.1, self.align_corners, by_sizes, round)?;
        let precision = if self.bytes { whole_weights(&mut table) } else { 0 };
        let table = if self.reversed { table.transposed(resize.from) } else { table };
        let lines = Lines::new(x.shape(), dim);
        let _access = Access::new(&[x.storage()], &[]);
        // SAFETY: contiguous, of this dtype, and locked; nobody else knows y, which has been made for the outputs of the table.
        without_interpreter(y.numel(), || unsafe { resample(x.slice::<T>(), y.ptr::<T>(), lines, &table) });
        if !self.bytes {
            return Ok(y);
        }
        let unit = 2f64.powi(precision);
        ((y + unit / 2.0)? / unit)?.floor()?.clamp(Some(0.0.into()), Some(255.0.into()))
    }
}

/// Makes the weights whole numbers, of 15 bits, by a power of 2; its exponent.
fn whole_weights<T: Number>(table: &mut Table<T>) -> i32 {
    let weights = table.weights_mut();
    let largest = weights.iter().fold(0.0, |most: f64, w| most.max(w.to_f64()));
    let precision = (0..22).find(|&bits| 0.5 + largest * 2f64.powi(bits + 1) >= 32768.0).unwrap_or(22);
    for w in weights {
        let scaled = w.to_f64() * 2f64.powi(precision);
        *w = T::from_f64((scaled + 0.5f64.copysign(scaled)).trunc());
    }
    precision
}

/// The sizes that a dim of an image gets: given, or from factors.
fn resizes(op: &str, x: &Tensor, sizes: Option<&[isize]>, scales: &[Option<f64>]) -> Result<Vec<Resize>> {
    let spatial = &x.shape()[2..];
    if sizes.is_some_and(|sizes| sizes.len() != spatial.len()) {
        return runtime_error!(
            "{op}: It is expected output_size equals to {}, but got size {}",
            spatial.len(),
            sizes.map_or(0, <[_]>::len)
        );
    }
    let resize = |(i, &from): (usize, &usize)| {
        let scale = scales.get(i).copied().flatten();
        let to = match (sizes, scale) {
            (Some(sizes), _) => sizes[i],
            (None, Some(scale)) => (from as f64 * scale) as isize,
            (None, None) => return runtime_error!("{op}: Must specify exactly one of output_size and scale_factors"),
        };
        if to <= 0 {
            return runtime_error!(
                "{op}: Input and output sizes should be greater than 0, but got input {spatial:?} and output size {to}"
            );
        }
        Ok(Resize { from, to: to as usize, scale })
    };
    spatial.iter().enumerate().map(resize).collect()
}

/// An image in another size: `mode` as in the name of torch's op, "bilinear2d" for `upsample_bilinear2d`.
///
/// Shape: (n, c, *) to (n, c, *output_size), or by the factors in `scales` if there is no size. Dtype: float; also uint8 for the nearest and for images.
/// Raises: RuntimeError for sizes below 1 and another number of dims.
#[pyfunction]
#[pyo3(signature = (input, mode, output_size, align_corners, scales))]
pub fn _upsample(
    input: &Tensor,
    mode: &str,
    output_size: Option<Dims>,
    align_corners: bool,
    scales: Option<Vec<Option<f64>>>,
) -> Result<Tensor> {
    let x = input;
    let Some(&kind) = KINDS.iter().find(|kind| kind.0 == mode) else {
        return Err(Error::NotImplemented(format!("upsample: there is no mode {mode}")));
    };
    let (name, rank) = (kind.3, kind.2);
    let empty = x.shape().iter().skip(1).any(|&size| size == 0);
    if x.rank() != rank + 2 || empty {
        return runtime_error!(
            "{name}: Non-empty {}D data tensor expected but got a tensor with sizes {:?}",
            rank + 2,
            x.shape()
        );
    }
    let dims = resizes(name, x, output_size.as_deref(), scales.as_deref().unwrap_or_default())?;
    let nearest = matches!(kind.1, Mode::Nearest | Mode::NearestExact);
    let bytes = x.dtype() == DType::U8 && (nearest || rank == 2);
    let plan = Plan { kind, align_corners, dims, reversed: false, bytes: bytes && !nearest };
    if !bytes {
        return plan.apply(x);
    }
    plan.apply(&x.to_dtype(if nearest { DType::F32 } else { DType::F64 })?)?.to_dtype(DType::U8)
}
