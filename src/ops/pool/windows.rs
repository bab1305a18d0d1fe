//! Where the windows of pooling lie: the checks of their sizes, and what follows from these.

use smallvec::SmallVec;

use crate::error::Result;
use crate::kernels::pool::{Axes, Axis, Slide as Sliding, Window, Windows};
use crate::layout::Shape;
use crate::runtime_error;

/// A size for each of the last dims, one for all, or none.
pub(crate) type Sizes<'a> = &'a [isize];

/// How windows slide.
#[derive(Clone, Copy)]
pub(crate) struct Slide<'a> {
    /// Sizes of the windows.
    pub kernel: Sizes<'a>,
    /// From one to the next; the size of the windows if empty.
    pub stride: Sizes<'a>,
    /// Places before the first and after the last.
    pub padding: Sizes<'a>,
    /// From one place of a window to the next.
    pub dilation: Sizes<'a>,
    /// Whether a last window that is not whole counts.
    pub ceil_mode: bool,
    /// Whether padding counts in the divisor.
    pub include_pad: bool,
}

/// A result's shape, and the windows that it is made of.
pub(crate) struct Layout {
    pub shape: Shape,
    pub axes: Vec<Axes>,
    /// In how many planes.
    pub planes: usize,
}

/// One number for each of `n` dims.
pub(crate) fn each(op: &str, name: &str, given: Sizes<'_>, n: usize) -> Result<SmallVec<[isize; 3]>> {
    match given.len() {
        1 => Ok(SmallVec::from_elem(given[0], n)),
        len if len == n => Ok(given.into()),
        _ => runtime_error!("{op}: {name} must either be a single int, or a tuple of {n} ints, got {given:?}"),
    }
}

/// Fails unless `shape` is of planes of `n` dims, with or without a batch, and has elements but for the batch.
pub(crate) fn check_planes(op: &str, shape: &[usize], n: usize) -> Result<()> {
    let rank = shape.len();
    if (rank == n + 1 || rank == n + 2) && !shape[rank - n - 1..].contains(&0) {
        return Ok(());
    }
    runtime_error!(
        "{op}: Expected {}D or {}D (batch mode) tensor with optional 0 dim batch size for input, but got: {shape:?}",
        n + 1,
        n + 2
    )
}

/// Windows that slide along one dim, if its size allows any.
fn sliding(op: &str, size: usize, [kernel, stride, padding, dilation]: [isize; 4], slide: Slide<'_>) -> Result<(Axis, usize)> {
    for (name, value) in [("kernel size", kernel), ("stride", stride), ("dilation", dilation)] {
        if value <= 0 {
            return runtime_error!("{op}: {name} should be greater than zero, but got {value}");
        }
    }
    if padding < 0 {
        return runtime_error!("{op}: pad must be non-negative, but got pad: {padding}");
    }
    let [n, k, s, p, d] = [size as isize, kernel, stride, padding, dilation].map(|v| v as i128);
    let reach = (k - 1) * d + 1;
    if p > reach / 2 {
        return runtime_error!(
            "{op}: pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={d}"
        );
    }
    let room = n + 2 * p - reach;
    let mut results = (room + if slide.ceil_mode { s - 1 } else { 0 }).div_euclid(s) + 1;
    if slide.ceil_mode && (results - 1) * s >= n + p {
        results -= 1;
    }
    if results < 1 {
        return runtime_error!("{op}: Output size is too small: of {n} places windows of {reach} make {results}");
    }
    let [kernel, stride, padding, step] = [kernel, stride, padding, dilation].map(|v| v as usize);
    let results = results as usize;
    let windows = Windows::Sliding(Sliding { kernel, stride, padding, include_pad: slide.include_pad, results });
    Ok((Axis { size, step, windows }, results))
}

/// One place, which is its own window: for planes of fewer than three dims.
fn whole() -> Axis {
    Axis { size: 1, step: 1, windows: Windows::Listed(vec![Window { first: 0, count: 1, span: 1 }]) }
}

/// Axes as three.
fn three(axes: impl DoubleEndedIterator<Item = Axis>) -> Axes {
    let mut all = [whole(), whole(), whole()];
    all.iter_mut().rev().zip(axes.rev()).for_each(|(place, axis)| *place = axis);
    all
}

impl Layout {
    /// Of windows that slide over the last `n` dims of `shape`.
    pub fn sliding(op: &'static str, shape: &[usize], n: usize, slide: Slide<'_>) -> Result<Layout> {
        let kernel = each(op, "kernel_size", slide.kernel, n)?;
        let stride = if slide.stride.is_empty() { kernel.clone() } else { each(op, "stride", slide.stride, n)? };
        let (padding, dilation) = (each(op, "padding", slide.padding, n)?, each(op, "dilation", slide.dilation, n)?);
        check_planes(op, shape, n)?;
        let lead = shape.len() - n;
        let lines: SmallVec<[(Axis, usize); 3]> = (0..n)
            .map(|d| sliding(op, shape[lead + d], [kernel[d], stride[d], padding[d], dilation[d]], slide))
            .collect::<Result<_>>()?;
        let (shape, planes) = result_shape(op, &shape[..lead], lines.iter().map(|line| line.1))?;
        Ok(Layout { shape, axes: vec![three(lines.into_iter().map(|line| line.0))], planes })
    }

    /// Of windows that share out the last dims of `shape` among as many results as `sizes` says.
    pub fn adaptive(op: &'static str, shape: &[usize], sizes: Sizes<'_>) -> Result<Layout> {
        let lead = shape.len() - sizes.len();
        if sizes.iter().any(|&size| size < 0) {
            return runtime_error!("{op}: elements of output_size must be greater than or equal to 0, got {sizes:?}");
        }
        let results = sizes.iter().map(|&size| size as usize);
        let (result, planes) = result_shape(op, &shape[..lead], results.clone())?;
        let axes = shape[lead..].iter().zip(results).map(|(&size, results)| {
            let place = |i: usize| i as u128 * size as u128;
            let window = |i: usize| {
                let first = (place(i) / results as u128) as usize;
                let count = place(i + 1).div_ceil(results as u128) as usize - first;
                Window { first, count, span: count }
            };
            Axis { size, step: 1, windows: Windows::Listed((0..results).map(window).collect()) }
        });
        // Whoever asks for no results needs no windows.
        let axes = if result.contains(&0) { Vec::new() } else { vec![three(axes)] };
        Ok(Layout { shape: result, axes, planes })
    }

    /// Of windows of the sizes `kernel` at the places `starts`, for each plane and dim.
    pub fn at(
        op: &'static str,
        shape: &[usize],
        kernel: &[usize],
        starts: &[Vec<Vec<usize>>],
        results: &[usize],
    ) -> Result<Layout> {
        let lead = shape.len() - kernel.len();
        let (result, planes) = result_shape(op, &shape[..lead], results.iter().copied())?;
        let axis = |d: usize, starts: &[usize]| {
            let windows = starts.iter().map(|&first| Window { first, count: kernel[d], span: kernel[d] }).collect();
            Axis { size: shape[lead + d], step: 1, windows: Windows::Listed(windows) }
        };
        let axes = starts.iter().map(|dims| three(dims.iter().enumerate().map(|(d, starts)| axis(d, starts)))).collect();
        Ok(Layout { shape: result, axes, planes })
    }
}

/// The dims before, and the results; and how many planes there are. Fails if there are more elements than can be counted.
fn result_shape(op: &'static str, lead: &[usize], results: impl Iterator<Item = usize>) -> Result<(Shape, usize)> {
    let mut shape = Shape::from_slice(lead);
    shape.extend(results);
    crate::layout::checked_numel(op, &shape)?;
    Ok((shape, lead.iter().product()))
}
