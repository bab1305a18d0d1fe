//! Channels that trade places with each other or with pixels.

use pyo3::prelude::*;

use super::arguments::MemoryFormat;
use super::join::has_channels_last;
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// x seen as `split`, with its dims in another order, and then copied to `shape`: with channels last if x has them so.
fn rearranged(x: &Tensor, split: &[usize], order: &[usize], shape: &[usize]) -> Result<Tensor> {
    let format = match x.rank() {
        4 if has_channels_last(x) => MemoryFormat::ChannelsLast,
        _ => MemoryFormat::Contiguous,
    };
    without_recording(|| x.reshape_to(split)?.permuted(order)?.reshape_to(shape)?.to_copy(x.dtype(), format))
}

/// Sizes of the leading dims, channels, height and width, and the factor.
fn check_pixels<'a>(op: &str, x: &'a Tensor, name: &str, factor: i64) -> Result<(&'a [usize], [usize; 3], usize)> {
    let &[ref batch @ .., channels, height, width] = x.shape() else {
        return runtime_error!("{op}: expects input to have at least 3 dimensions, but got input with {} dimension(s)", x.rank());
    };
    let Some(positive) = usize::try_from(factor).ok().filter(|&factor| factor > 0) else {
        return runtime_error!("{op}: expects a positive {name}, but got {factor}");
    };
    if factor.checked_mul(factor).is_none() {
        return Err(Error::Value(format!("{op}: {name} is too large, its square overflows: {factor}")));
    }
    Ok((batch, [channels, height, width], positive))
}

/// Channels become pixels: each square of r x r pixels is made of r^2 channels, r = `upscale_factor`.
///
/// Shape: (*, c r^2, h, w) to (*, c, h r, w r). Dtype: any, kept.
/// Raises: RuntimeError if r^2 does not divide the channels, or r is not positive.
/// Source: Shi et al., "Real-time single image and video super-resolution", 2016.
#[pyfunction]
pub fn pixel_shuffle(input: &Tensor, upscale_factor: i64) -> Result<Tensor> {
    let x = input;
    let (batch, [channels, height, width], r) = check_pixels("pixel_shuffle", x, "upscale_factor", upscale_factor)?;
    let c = channels / (r * r);
    if channels % (r * r) != 0 {
        return runtime_error!(
            "pixel_shuffle: expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but {channels} \
             is not divisible by {}",
            r * r
        );
    }
    let b = batch.len();
    let split = [batch, &[c, r, r, height, width]].concat();
    let order: Vec<usize> = (0..b).chain([0, 3, 1, 4, 2].map(|dim| b + dim)).collect();
    let (Some(height), Some(width)) = (height.checked_mul(r), width.checked_mul(r)) else {
        return runtime_error!("pixel_shuffle: {height} x {width} pixels times {upscale_factor} are too many");
    };
    let y = rearranged(x, &split, &order, &[batch, &[c, height, width]].concat())?;
    vjp!("pixel_shuffle", y, { x: |g| pixel_unshuffle(g, upscale_factor) }, saves { upscale_factor })
}

/// Pixels become channels: the opposite of `pixel_shuffle`.
///
/// Shape: (*, c, h r, w r) to (*, c r^2, h, w) with r = `downscale_factor`. Dtype: any, kept.
/// Raises: RuntimeError if r does not divide height and width, or is not positive.
#[pyfunction]
pub fn pixel_unshuffle(input: &Tensor, downscale_factor: i64) -> Result<Tensor> {
    let x = input;
    let (batch, [c, height, width], r) = check_pixels("pixel_unshuffle", x, "downscale_factor", downscale_factor)?;
    for (name, size) in [("height", height), ("width", width)] {
        if size % r != 0 {
            return runtime_error!(
                "pixel_unshuffle: expects {name} to be divisible by downscale_factor, but {size} is not by {r}"
            );
        }
    }
    let b = batch.len();
    let split = [batch, &[c, height / r, r, width / r, r]].concat();
    let order: Vec<usize> = (0..b).chain([0, 2, 4, 1, 3].map(|dim| b + dim)).collect();
    let channels = c.checked_mul(r * r).ok_or_else(|| Error::Runtime("pixel_unshuffle: too many channels".into()))?;
    let y = rearranged(x, &split, &order, &[batch, &[channels, height / r, width / r]].concat())?;
    vjp!("pixel_unshuffle", y, { x: |g| pixel_shuffle(g, downscale_factor) }, saves { downscale_factor })
}

/// Channels in `groups`, dealt out one from each group in turn.
///
/// Shape: (n, c, *, *), kept. Dtype: any, kept.
/// Raises: RuntimeError if `groups` does not divide the channels, or is not positive.
/// Source: Zhang et al., "ShuffleNet", 2018.
#[pyfunction]
pub fn channel_shuffle(input: &Tensor, groups: i64) -> Result<Tensor> {
    let x = input;
    let &[samples, channels, ref rest @ ..] = x.shape() else {
        return runtime_error!("channel_shuffle: expects input with > 2 dims, but got input with sizes {:?}", x.shape());
    };
    if rest.is_empty() {
        return runtime_error!("channel_shuffle: expects input with > 2 dims, but got input with sizes {:?}", x.shape());
    }
    let Some(count) = usize::try_from(groups).ok().filter(|&count| count > 0) else {
        return runtime_error!("channel_shuffle: number of groups must be positive, got {groups}");
    };
    let each = channels / count;
    if channels % count != 0 {
        return runtime_error!("channel_shuffle: number of channels must be divisible by groups, got {channels} and {groups}");
    }
    let order: Vec<usize> = [0, 2, 1].into_iter().chain(3..rest.len() + 3).collect();
    let y = rearranged(x, &[&[samples, count, each], rest].concat(), &order, x.shape())?;
    // Dealt out to as many groups as each had members, they are back in order.
    vjp!("channel_shuffle", y, { x: |g| if each == 0 { Ok(g.clone()) } else { channel_shuffle(g, each as i64) } }, saves { groups })
}

/// Another name of `channel_shuffle`.
#[pyfunction]
pub fn native_channel_shuffle(input: &Tensor, groups: i64) -> Result<Tensor> {
    channel_shuffle(input, groups)
}
