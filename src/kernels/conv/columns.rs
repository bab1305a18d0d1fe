//! The matrix of windows of a group: row (channel, place in the window), column (sample, place of the window).

use std::mem::MaybeUninit;
use std::ops::Range;

use super::{GRAIN, Shared, Sizes};
use crate::kernels::matmul::Number;
use crate::kernels::par;

/// A row of the matrix: which plane of x it reads, and from where.
struct Row {
    channel: usize,
    /// How far into x, along each dim, the window at place 0 reads; negative in the padding.
    start: [isize; 3],
    /// The places along the last dim where it does not read padding.
    inside: Range<usize>,
}

/// How far into x, along dim `d`, the element `k` of the window at place 0 is.
fn start(s: &Sizes, d: usize, k: usize) -> isize {
    (k * s.dilation[d]) as isize - s.padding[d] as isize
}

/// The places along dim `d`, of `0..output`, where an element of the window that starts at `start` does not read padding.
pub(super) fn places_inside(s: &Sizes, d: usize, start: isize) -> Range<usize> {
    let stride = s.stride[d];
    let low = (start.min(0).unsigned_abs()).div_ceil(stride);
    let high = usize::try_from(s.input[d] as isize - start).map_or(0, |reach| reach.div_ceil(stride));
    let high = high.min(s.output[d]);
    low.min(high)..high
}

fn row(s: &Sizes, row: usize) -> Row {
    let [depth, height, width] = s.kernel;
    let k = [row / (height * width) % depth, row / width % height, row % width];
    let start = [0, 1, 2].map(|d| start(s, d, k[d]));
    Row { channel: row / s.kernel_len(), start, inside: places_inside(s, 2, start[2]) }
}

/// A run of columns that are neighbours along the last dim.
struct Run {
    /// Place in the block.
    block: usize,
    /// Where in x the sample starts.
    sample: usize,
    /// Where in a plane of x its windows are along the first two dims, but for the padding.
    outer: [isize; 2],
    /// Places along the last dim.
    inner: Range<usize>,
}

/// The runs of a block; found once for all its rows, as divisions take long.
fn runs(s: &Sizes, at: &Range<usize>) -> Vec<Run> {
    let [depth, height, width] = s.output;
    let mut runs = Vec::with_capacity(at.len() / width + 2);
    let mut col = at.start;
    while col < at.end {
        let first = col % width;
        let inner = first..width.min(first + (at.end - col));
        let line = col / width;
        let outer = [line / height % depth * s.stride[0], line % height * s.stride[1]].map(|place| place as isize);
        let (block, sample) = (col - at.start, line / height / depth * s.groups * s.inputs * s.input_len());
        col += inner.len();
        runs.push(Run { block, sample, outer, inner });
    }
    runs
}

/// Where in a plane of x the line is that a row reads for a run, if it is not all padding.
#[inline(always)]
fn line(s: &Sizes, row: &Row, outer: [isize; 2]) -> Option<usize> {
    let place = |d: usize| Some((outer[d] + row.start[d]) as usize).filter(|&place| place < s.input[d]);
    Some((place(0)? * s.input[1] + place(1)?) * s.input[2])
}

/// Elements that are copied at a time.
pub(super) const CHUNK: usize = 8;

/// Writes a block of the matrix to `to`, rows one after the other. With `slack` there may be written up to [`CHUNK`] elements more,
/// which is faster.
///
/// # Safety
/// `x` must be valid for the sizes, `to` have room for the block and the slack; zero bytes must be a zero.
pub unsafe fn put_columns<T>(
    s: &Sizes,
    x: *const T,
    group: usize,
    rows: Range<usize>,
    at: Range<usize>,
    to: *mut T,
    slack: bool,
) {
    // One loop for all types of a size.
    // SAFETY: the same contract, for the same bytes.
    unsafe {
        match size_of::<T>() {
            1 => put::<u8>(s, x.cast(), group, rows, at, to.cast(), slack),
            4 => put::<u32>(s, x.cast(), group, rows, at, to.cast(), slack),
            8 => put::<u64>(s, x.cast(), group, rows, at, to.cast(), slack),
            _ => put::<MaybeUninit<T>>(s, x.cast(), group, rows, at, to.cast(), slack),
        }
    }
}

/// # Safety
/// As [`put_columns`].
unsafe fn put<T>(s: &Sizes, x: *const T, group: usize, rows: Range<usize>, at: Range<usize>, to: *mut T, slack: bool) {
    let (width, plane, stride) = (at.len(), s.input_len(), s.stride[2]);
    let runs = runs(s, &at);
    let end = s.batch * s.groups * s.inputs * plane;
    for (i, number) in rows.enumerate() {
        let row = row(s, number);
        let to = to.wrapping_add(i * width);
        let channel = (group * s.inputs + row.channel) * plane;
        for run in &runs {
            let to = to.wrapping_add(run.block);
            let within = |place: usize| place.clamp(run.inner.start, run.inner.end);
            let (start, stop) = (within(row.inside.start), within(row.inside.end));
            let (before, count) = (start - run.inner.start, stop - start);
            let Some(line) = line(s, &row, run.outer).filter(|_| count > 0) else {
                // SAFETY: the run is within the block.
                unsafe { to.write_bytes(0, run.inner.len()) };
                continue;
            };
            let first = run.sample + channel + line + (start * stride).wrapping_add_signed(row.start[2]);
            // SAFETY: the run is within the block, and what it reads is within a line of x, or at least within x. What is written
            // too far is written again, or slack.
            unsafe {
                let (from, inside) = (x.add(first), to.add(before));
                (0..before).for_each(|j| to.add(j).write_bytes(0, 1));
                if stride > 1 {
                    (0..count).for_each(|j| std::ptr::copy_nonoverlapping(from.add(j * stride), inside.add(j), 1));
                } else if slack && count <= 8 * CHUNK && first + count.next_multiple_of(CHUNK) <= end {
                    for j in (0..count).step_by(CHUNK) {
                        std::ptr::copy_nonoverlapping(from.add(j), inside.add(j), CHUNK);
                    }
                } else {
                    std::ptr::copy_nonoverlapping(from, inside, count);
                }
                (before + count..run.inner.len()).for_each(|j| to.add(j).write_bytes(0, 1));
            }
        }
    }
}

/// Adds a block of the matrix, rows one after the other, to where in x its elements come from.
///
/// # Safety
/// As [`put_columns`]; no other thread may be on these channels of these samples of x.
pub unsafe fn add_columns<T: Number>(s: &Sizes, block: *const T, group: usize, rows: Range<usize>, at: Range<usize>, x: *mut T) {
    let (width, plane, stride) = (at.len(), s.input_len(), s.stride[2]);
    let runs = runs(s, &at);
    for (i, number) in rows.enumerate() {
        let row = row(s, number);
        let from = block.wrapping_add(i * width);
        let channel = (group * s.inputs + row.channel) * plane;
        for run in &runs {
            let Some(line) = line(s, &row, run.outer) else { continue };
            let inside = row.inside.start.max(run.inner.start)..row.inside.end.min(run.inner.end);
            if inside.is_empty() {
                continue;
            }
            let first = (inside.start * stride).wrapping_add_signed(row.start[2]);
            // SAFETY: the run is within the block, and its elements' places are within a line of x.
            unsafe {
                let from = from.add(run.block + inside.start - run.inner.start);
                let to = x.add(run.sample + channel + line + first);
                for j in 0..inside.len() {
                    let to = to.add(j * stride);
                    *to = (*to).plus(*from.add(j));
                }
            }
        }
    }
}

/// All windows of each sample of x (one group) as columns: `to` is (sample, row of the matrix, place of the window).
///
/// # Safety
/// As [`put_columns`].
pub unsafe fn unfold<T>(s: &Sizes, x: *const T, to: *mut T) {
    let (rows, len) = (s.rows(), s.output_len());
    let shared = Shared((x, to));
    par::for_ranges(s.batch * rows, (GRAIN / len).max(1), &|range| {
        let (x, to) = shared.get();
        for row in range {
            let (n, i) = (row / rows, row % rows);
            // SAFETY: the caller's promise; a row of `to` is written by one thread.
            unsafe { put_columns(s, x, 0, i..i + 1, n * len..(n + 1) * len, to.add(row * len), false) };
        }
    });
}

/// The sums in x of what [`unfold`] has made of each place.
///
/// # Safety
/// As [`put_columns`], but that x is written.
pub unsafe fn fold<T: Number>(s: &Sizes, columns: *const T, x: *mut T) {
    let (window, len, plane) = (s.kernel_len(), s.output_len(), s.input_len());
    let shared = Shared((columns, x));
    par::for_ranges(s.batch * s.inputs, (GRAIN / (window * len)).max(1), &|range| {
        let (columns, x) = shared.get();
        for channel in range {
            let (n, c) = (channel / s.inputs, channel % s.inputs);
            // SAFETY: the caller's promise; a channel of a sample is written by one thread.
            unsafe {
                std::slice::from_raw_parts_mut(x.add(channel * plane), plane).fill(T::ZERO);
                let block = columns.add(channel * window * len);
                add_columns(s, block, 0, c * window..(c + 1) * window, n * len..(n + 1) * len, x);
            }
        }
    });
}
