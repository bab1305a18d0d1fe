//! More places around a tensor, or fewer: a constant, or a mirror image, the nearest or the opposite elements.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments::{IntList, MemoryFormat};
use super::convolution::is_channels_last;
use super::window::{Step, Steps};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::{Shape, Strides, checked_numel};
use crate::runtime_error;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// The dim that pair `i` of a padding is for (the last ones come first), and the pair.
fn pairs(pad: &[isize], rank: usize) -> impl Iterator<Item = (usize, isize, isize)> {
    pad.chunks_exact(2).enumerate().map(move |(i, pair)| (rank - 1 - i, pair[0], pair[1]))
}

/// Checks the number of numbers in a padding.
fn check_length(op: &str, pad: &[isize], rank: usize) -> Result<()> {
    if !pad.len().is_multiple_of(2) {
        return runtime_error!("{op}: Padding length must be divisible by 2, got {pad:?}");
    }
    if pad.len() > 2 * rank {
        return runtime_error!(
            "{op}: Padding length should be less than or equal to two times the input dimension but got padding length {} and input of \
             dimension {rank}",
            pad.len()
        );
    }
    Ok(())
}

/// The size of a padded dim.
fn padded_size(op: &str, dim: usize, size: usize, left: isize, right: isize) -> Result<usize> {
    let padded = size as i128 + left as i128 + right as i128;
    match usize::try_from(padded) {
        Ok(padded) => Ok(padded),
        _ => runtime_error!(
            "{op}: size {size} of dimension {dim} with padding {left} and {right} becomes {padded}, which is too small"
        ),
    }
}

/// The steps to the part of a tensor that is left without `left` and `right` places at the ends of each dim that they are given for,
/// if they are positive.
fn without_ends(x: &Tensor, ends: impl Iterator<Item = (usize, isize, isize)>) -> Steps {
    let mut steps = Steps::from_elem(Step::Keep, x.rank());
    for (dim, left, right) in ends {
        let (left, right) = (left.max(0) as usize, right.max(0) as usize);
        steps[dim] = Step::Range { start: left, len: x.shape()[dim] - left - right, step: 1 };
    }
    steps
}

impl Tensor {
    /// With a constant around it, as `constant_pad_nd`; the length of `pad` must have been checked.
    pub(crate) fn padded_with(&self, pad: &[isize], value: Scalar) -> Result<Tensor> {
        let (op, x) = ("constant_pad_nd", self);
        let mut shape = Shape::from_slice(x.shape());
        for (dim, left, right) in pairs(pad, x.rank()) {
            let size = x.shape()[dim];
            // What is cut off must be there.
            padded_size(op, dim, size, left.min(0), right.min(0))?;
            shape[dim] = padded_size(op, dim, size, left, right)?;
        }
        let inside = x.detached_read()?;
        let kept = inside.layout().stepped(&without_ends(
            x,
            pairs(pad, x.rank()).map(|(dim, left, right)| (dim, left.saturating_neg(), right.saturating_neg())),
        ));
        let kept = inside.with_layout(kept);
        let y = if pad.iter().all(|&more| more <= 0) {
            kept.copied()?
        } else {
            let y = Tensor::full(op, &shape, value, x.dtype())?;
            let y = if is_channels_last(x) { y.to_copy(x.dtype(), channels_last(x))? } else { y };
            let window = y.layout().stepped(&without_ends(&y, pairs(pad, x.rank())));
            y.with_layout(window).write(&kept)?;
            y
        };
        let given = Strides::from_slice(pad);
        let back: Vec<isize> = pad.iter().map(|&more| -more).collect();
        vjp!(op, y, { x: |g| g.padded_with(&back, Scalar::Int(0)) }, saves { pad: given })
    }

    /// The places that a mode of padding fills a result with.
    fn shown_around(&self, mode: &'static Mode, maps: &Arc<Maps>, pad: &[isize]) -> Result<Tensor> {
        let given = Strides::from_slice(pad);
        let (x, maps) = (self, maps.clone());
        let y = without_recording(|| maps.iter().try_fold(x.detached_read()?, |y, (dim, index)| y.index_select_at(*dim, index)))?;
        let y = if mode.keeps_format && is_channels_last(x) { y.to_copy(x.dtype(), channels_last(x))? } else { y };
        let shape = Shape::from_slice(x.shape());
        let (name, back) = (mode.names[maps.len() - 1], mode.backward[maps.len() - 1]);
        if mode.keeps_format {
            let numbers = saves! { padding: given.clone() };
            let y =
                vjp!(name, y, { x: |g| g.gathered_back(mode, &maps, &shape, &given)?.flat_in(back, &x) }, saves { ..numbers })?;
            return Ok(y.watching(&[x]));
        }
        // Torch makes these of slices, whose gradients are not on the tape with the input.
        vjp!(name, y, { x: |g| g.gathered_back(mode, &maps, &shape, &given) })
    }

    /// The sums of what [`Tensor::shown_around`] has made of each place.
    fn gathered_back(&self, mode: &'static Mode, maps: &Arc<Maps>, shape: &Shape, pad: &[isize]) -> Result<Tensor> {
        let given = Strides::from_slice(pad);
        let (g, maps) = (self, maps.clone());
        let y = without_recording(|| {
            maps.iter().rev().try_fold(g.detached_read()?, |g, (dim, index)| {
                let mut full = Shape::from_slice(g.shape());
                full[*dim] = shape[*dim];
                let zeros = Tensor::zeroed("pad", &full, g.dtype())?;
                zeros.index_add(*dim as isize, index, &g, Scalar::Int(1))
            })
        })?;
        vjp!(mode.backward[maps.len() - 1], y, { g: |h| h.shown_around(mode, &maps, &given) })
    }
}

fn channels_last(x: &Tensor) -> MemoryFormat {
    if x.rank() == 4 { MemoryFormat::ChannelsLast } else { MemoryFormat::ChannelsLast3d }
}

/// For some dims, the place of the input that each place of the output shows.
type Maps = Vec<(usize, Tensor)>;

/// A way to fill the new places from the old ones.
struct Mode {
    /// For one to three dims.
    names: [&'static str; 3],
    backward: [&'static str; 3],
    keeps_format: bool,
    /// The place that `place` of the output shows, for a padding of a dim of some size that has been checked.
    source: fn(place: isize, size: isize, left: isize, right: isize) -> isize,
}

static REFLECT: Mode = Mode {
    names: ["reflection_pad1d", "reflection_pad2d", "reflection_pad3d"],
    backward: ["reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"],
    keeps_format: true,
    source: |place, size, left, _| {
        let place = place - left;
        if place < 0 { -place } else { place.min(2 * (size - 1) - place) }
    },
};

static REPLICATE: Mode = Mode {
    names: ["replication_pad1d", "replication_pad2d", "replication_pad3d"],
    backward: ["replication_pad1d_backward", "replication_pad2d_backward", "replication_pad3d_backward"],
    keeps_format: true,
    source: |place, size, left, _| (place - left).clamp(0, size - 1),
};

static CIRCULAR: Mode = Mode {
    names: ["=CopySlices"; 3],
    backward: ["circular_pad_backward"; 3],
    keeps_format: false,
    source: |place, size, left, right| {
        let (cut, kept) = ((-left).max(0), size + left.min(0) + right.min(0));
        cut + (place - left.max(0)).rem_euclid(kept)
    },
};

/// A tensor with more (or, where `pad` is negative, fewer) places at the ends of its last dims: `pad` is (first of the last dim,
/// last of the last dim, first of the one before, …).
///
/// `mode` is "constant", for `value` (0), "reflect", for the mirror image without the edge, "replicate", for the nearest element, or
/// "circular", for the other end.
///
/// Shape: constant: any; the others: (C, *) or (N, C, *) with one to three padded dims. Dtype: any, kept; no bool to reflect and
/// replicate.
/// Derivative: gradients of an element that is shown several times add up.
/// Raises: RuntimeError if sizes do not fit, NotImplementedError for other numbers of dims.
#[pyfunction]
#[pyo3(signature = (input, pad, mode="constant", value=None))]
pub fn pad(input: &Tensor, pad: IntList, mode: &str, value: Option<f64>) -> Result<Tensor> {
    let (x, pad) = (input, &pad.0);
    check_length("pad", pad, x.rank())?;
    if mode == "constant" {
        return x.padded_with(pad, Scalar::Float(value.unwrap_or(0.0)));
    }
    if value.is_some_and(|value| value != 0.0) {
        return runtime_error!("pad: Padding mode \"{mode}\" doesn't take in value argument");
    }
    let dims = pad.len() / 2;
    if !(1..=3).contains(&dims) || !(dims + 1..=dims + 2).contains(&x.rank()) {
        let text = format!("pad: Padding size {} is not supported for {}D input tensor.", pad.len(), x.rank());
        return Err(Error::NotImplemented(text));
    }
    let mode = match mode {
        "reflect" => &REFLECT,
        "replicate" => &REPLICATE,
        "circular" => &CIRCULAR,
        _ => return Err(Error::NotImplemented(format!("pad: Unrecognised padding mode {mode}"))),
    };
    let mut maps = Maps::new();
    let mut shape = Shape::from_slice(x.shape());
    for (dim, left, right) in pairs(pad, x.rank()) {
        check_pair(mode, x, dim, left, right)?;
        shape[dim] = padded_size("pad", dim, x.shape()[dim], left, right)?;
    }
    if mode.keeps_format && shape[x.rank() - dims..].iter().all(|&size| size == 0) {
        return runtime_error!("pad: a padding of {pad:?} leaves nothing of {:?}, which is too small", x.shape());
    }
    check_whole(mode, x, dims)?;
    checked_numel("pad", &shape)?;
    for (dim, left, right) in pairs(pad, x.rank()) {
        let size = x.shape()[dim] as isize;
        let last = (size - 1).max(0);
        let source = |place: usize| (mode.source)(place as isize, size, left, right).clamp(0, last) as i64;
        maps.push((dim, Tensor::tabulate("pad", shape[dim], source)?));
    }
    x.shown_around(mode, &Arc::new(maps), pad)
}

/// Whether a mode can pad a dim by so much.
fn check_pair(mode: &Mode, x: &Tensor, dim: usize, left: isize, right: isize) -> Result<()> {
    let size = x.shape()[dim] as isize;
    let most = left.max(right);
    if std::ptr::eq(mode, &REFLECT) && most >= size {
        return runtime_error!(
            "pad: Padding size should be less than the corresponding input dimension, but got: padding ({left}, {right}) at dimension \
             {dim} of input {:?}",
            x.shape()
        );
    }
    if std::ptr::eq(mode, &CIRCULAR) {
        if most > size {
            return runtime_error!(
                "pad: Padding value causes wrapping around more than once: ({left}, {right}) for a size of {size}"
            );
        }
        let (kept, padded) =
            (size as i128 + left.min(0) as i128 + right.min(0) as i128, size as i128 + left as i128 + right as i128);
        if padded > 0 && kept <= 0 {
            return runtime_error!("pad: nothing of a size of {size} is left to repeat with a padding of ({left}, {right})");
        }
    }
    Ok(())
}

/// Whether a mode can pad such a tensor at all.
fn check_whole(mode: &Mode, x: &Tensor, dims: usize) -> Result<()> {
    if !mode.keeps_format {
        return Ok(());
    }
    let batched = x.rank() > dims + 1;
    if x.shape()[usize::from(batched)..].contains(&0) {
        return runtime_error!(
            "pad: Expected {}D or {}D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: {:?}",
            dims + 1,
            dims + 2,
            x.shape()
        );
    }
    if x.dtype() == DType::Bool {
        return Err(Error::NotImplemented(format!("\"{}\" not implemented for 'Bool'", mode.names[dims - 1])));
    }
    Ok(())
}

/// A tensor with `value` around it; see `pad` of `nn.functional`.
///
/// Raises: RuntimeError if sizes do not fit, or the dtype cannot hold the value.
#[pyfunction]
#[pyo3(signature = (input, pad, value=Scalar::Int(0)))]
pub fn constant_pad_nd(input: &Tensor, pad: IntList, value: Scalar) -> Result<Tensor> {
    check_length("constant_pad_nd", &pad.0, input.rank())?;
    input.padded_with(&pad.0, value)
}
