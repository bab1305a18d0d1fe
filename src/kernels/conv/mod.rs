//! Convolution, by products of matrices.
//!
//! The form T(x, w, y) = sum over n, o, i, k of x[n, i, o stride - padding + k dilation] w[o', i, k] y[n, o', o] is linear in
//! each of its three tensors, and the three kernels here are its derivatives: [`output`] by y is the convolution, [`input`] by x
//! its gradient, which is also the transposed convolution, and [`weight`] by w the other gradient. Lower ranks are 3-d with
//! sizes of 1.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the sizes, the three kernels for any groups |
//! | `columns.rs` | the matrix of all windows of the input, a block at a time, and its transpose |
//! | `depthwise.rs` | the three kernels where each group has one input channel |
//! | `planes.rs` | planes with their padding in buffers, for `depthwise.rs` |
//!
//! A block of the matrix of windows (Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document
//! processing") is small enough to stay in cache between its making and its use. Blocks are cut by the sizes only, and sums are
//! added up in the order of blocks: the number of threads does not change a bit of the result. Columns count through all samples,
//! so that small images fill blocks, too.

pub mod columns;
mod depthwise;
mod planes;

use std::ops::Range;

use super::matmul::{Gemm, MatMut, MatRef, Product, gemm, gemm_batched, with_buffer};
use super::par;
use columns::{CHUNK, add_columns, put_columns};

/// Bytes in a block of columns: with the block of the result about half of a second-level cache.
const BLOCK_BYTES: usize = 384 << 10;
/// The most rows in a block.
const BLOCK_ROWS: usize = 384;
/// The least columns in a block, of those there are.
const BLOCK_COLS: usize = 96;
/// Blocks have a multiple of so many columns.
const UNIT_COLS: usize = 16;
/// Parts that work is cut into at least, if they are not too small.
const PARTS: usize = 16;
/// The most bytes of partial results that are added up at the end.
const PARTIAL_BYTES: usize = 8 << 20;
/// Elements that are worth a thread.
const GRAIN: usize = 16 * 1024;

/// The sizes of a convolution. `output` may be less than what would fit, by less than a stride or a dilation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Samples.
    pub batch: usize,
    /// Groups of channels, each with its own weights.
    pub groups: usize,
    /// Channels of x in a group.
    pub inputs: usize,
    /// Channels of y in a group.
    pub outputs: usize,
    /// Of x.
    pub input: [usize; 3],
    /// Of w.
    pub kernel: [usize; 3],
    /// Of y.
    pub output: [usize; 3],
    /// From one window to the next.
    pub stride: [usize; 3],
    /// Zeros around x.
    pub padding: [usize; 3],
    /// From one element of a window to the next.
    pub dilation: [usize; 3],
}

impl Sizes {
    /// Elements in a channel of x.
    pub fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Elements in a channel of y.
    pub fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Elements of a channel of x in a window.
    pub fn kernel_len(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Rows in the matrix of windows of a group: elements in a window.
    pub fn rows(&self) -> usize {
        self.inputs * self.kernel_len()
    }

    /// Columns in that matrix: windows in all samples.
    pub fn cols(&self) -> usize {
        self.batch * self.output_len()
    }

    /// Whether the matrix of windows is x itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.padding == [0; 3] && self.input == self.output
    }

    /// How many blocks of at most this many rows and a number of columns that fits there are, beside `others` rows of other
    /// matrices in the block; `most` columns are to be shared out.
    fn col_blocks<T>(&self, rows: usize, others: usize, most: usize) -> usize {
        let fit = BLOCK_BYTES / (size_of::<T>() * (rows.min(BLOCK_ROWS) + others)).max(1);
        let cols = fit.max(BLOCK_COLS).min(most.div_ceil(PARTS).max(BLOCK_COLS));
        most.div_ceil(cols).max(1)
    }
}

/// Part `i` of `count` even parts of `0..total`, cut at multiples of `unit`.
fn part(total: usize, unit: usize, count: usize, i: usize) -> Range<usize> {
    let units = total.div_ceil(unit);
    let start = |i: usize| ((units / count * i + (units % count).min(i)) * unit).min(total);
    start(i)..start(i + 1)
}

/// An address that threads share.
pub(super) struct Shared<T>(pub(super) T);

// SAFETY: whoever uses the addresses within answers for the threads taking part.
unsafe impl<T> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    pub(super) fn get(&self) -> T {
        self.0
    }
}

/// y = the sums of x w, plus one number for each channel of y unless `bias` is null. Nothing is empty.
///
/// # Safety
/// All must be valid for the sizes, contiguous in the order (n, channel, place), w (channel of y, channel of x in the group,
/// place); y is written, and overlaps nothing.
pub unsafe fn output<T: Gemm>(s: &Sizes, x: *const T, w: *const T, bias: *const T, y: *mut T) {
    let (rows, cols, len) = (s.rows(), s.cols(), s.output_len());
    if depthwise::suits::<T>(s) {
        // SAFETY: the same contract.
        return unsafe { depthwise::output(s, x, w, bias, y) };
    }
    if s.is_pointwise() && len >= BLOCK_COLS {
        // SAFETY: the same contract.
        return unsafe { pointwise(s, x, MatRef { ptr: w, row_stride: rows as isize, col_stride: 1 }, bias, y, false) };
    }
    let blocks = s.col_blocks::<T>(rows, s.outputs, cols);
    let row_blocks = rows.div_ceil(BLOCK_ROWS);
    let shared = Shared((x, w, bias, y));
    par::for_ranges(blocks * s.groups, 1, &|units| {
        let (x, w, bias, y) = shared.get();
        for unit in units {
            let (group, at) = (unit % s.groups, part(cols, UNIT_COLS, blocks, unit / s.groups));
            let (width, first) = (at.len(), group * s.outputs);
            with_buffer(width * (rows.min(BLOCK_ROWS) + s.outputs) + CHUNK, |result: *mut T| {
                let room = result.wrapping_add(width * s.outputs);
                for i in 0..row_blocks {
                    let part = part(rows, 1, row_blocks, i);
                    let a = MatRef { ptr: w.wrapping_add(first * rows + part.start), row_stride: rows as isize, col_stride: 1 };
                    let beta = if i == 0 { T::ZERO } else { T::ONE };
                    // SAFETY: the caller's promise; the blocks are within the buffer, and the result's part of y is this unit's.
                    unsafe {
                        put_columns(s, x, group, part.clone(), at.clone(), room, true);
                        gemm(product(s.outputs, part.len(), width, a, by_rows(room, width), beta, result, width));
                    }
                }
                // SAFETY: as above.
                unsafe { put_result(s, result, bias, y, first, at.clone()) };
            });
        }
    });
}

/// x = the sums of w y, plus one number for each channel of x unless `bias` is null. Nothing is empty.
///
/// # Safety
/// As [`output`], but that x is written.
pub unsafe fn input<T: Gemm>(s: &Sizes, w: *const T, y: *const T, bias: *const T, x: *mut T) {
    let (rows, len) = (s.rows(), s.output_len());
    if depthwise::suits::<T>(s) {
        // SAFETY: the same contract.
        return unsafe { depthwise::input(s, w, y, bias, x) };
    }
    if s.is_pointwise() && len >= BLOCK_COLS {
        // SAFETY: the same contract.
        return unsafe { pointwise(s, y, MatRef { ptr: w, row_stride: 1, col_stride: rows as isize }, bias, x, true) };
    }
    let reach = [0, 1, 2].map(|d| (s.kernel[d] - 1) * s.dilation[d]);
    if s.stride == [1; 3] && [0, 1, 2].iter().all(|&d| s.padding[d] <= reach[d]) {
        // SAFETY: the same contract.
        return unsafe { input_by_output(s, reach, w, y, bias, x) };
    }
    // A unit of work has some channels of some samples of x to itself.
    let channels = (BLOCK_ROWS / s.kernel_len()).clamp(1, s.inputs);
    let channel_parts = s.inputs.div_ceil(channels);
    let most_rows = (channels * s.kernel_len()).min(BLOCK_ROWS);
    let samples = (s.cols().div_ceil(s.col_blocks::<T>(most_rows, s.outputs, s.cols())) / len).clamp(1, s.batch);
    let sample_parts = s.batch.div_ceil(samples);
    let shared = Shared((w, y, bias, x));
    par::for_ranges(sample_parts * s.groups * channel_parts, 1, &|units| {
        let (w, y, bias, x) = shared.get();
        for unit in units {
            let group = unit / channel_parts % s.groups;
            let channels = part(s.inputs, 1, channel_parts, unit % channel_parts);
            let samples = part(s.batch, 1, sample_parts, unit / channel_parts / s.groups);
            // SAFETY: the caller's promise; these channels of these samples are this unit's.
            unsafe {
                fill_channels(s, bias, x, group, &channels, &samples);
                add_to_input(s, w, y, x, group, channels, samples);
            }
        }
    });
}

/// [`input`] for a stride of 1: the convolution of y with the weights turned around.
///
/// # Safety
/// As [`input`].
unsafe fn input_by_output<T: Gemm>(s: &Sizes, reach: [usize; 3], w: *const T, y: *const T, bias: *const T, x: *mut T) {
    let turned = Sizes {
        inputs: s.outputs,
        outputs: s.inputs,
        input: s.output,
        output: s.input,
        padding: [0, 1, 2].map(|d| reach[d] - s.padding[d]),
        ..*s
    };
    let window = s.kernel_len();
    with_buffer(s.groups * s.outputs * s.rows(), |weights: *mut T| {
        for channel in 0..s.groups * s.outputs {
            let (group, o) = (channel / s.outputs, channel % s.outputs);
            for i in 0..s.inputs {
                let to = ((group * s.inputs + i) * s.outputs + o) * window;
                let from = (channel * s.inputs + i) * window;
                // SAFETY: within the weights, and the buffer, which is as large.
                (0..window).for_each(|k| unsafe { *weights.add(to + k) = *w.add(from + window - 1 - k) });
            }
        }
        // SAFETY: the caller's promise.
        unsafe { output(&turned, y, weights, bias, x) };
    });
}

/// Adds w y to some channels of some samples of x.
///
/// # Safety
/// As [`input`], for these channels and samples.
unsafe fn add_to_input<T: Gemm>(
    s: &Sizes,
    w: *const T,
    y: *const T,
    x: *mut T,
    group: usize,
    channels: Range<usize>,
    samples: Range<usize>,
) {
    let (rows, len, first) = (s.rows(), s.output_len(), group * s.outputs);
    let (from, count) = (channels.start * s.kernel_len(), channels.len() * s.kernel_len());
    let row_blocks = count.div_ceil(BLOCK_ROWS);
    let cols = samples.len() * len;
    let blocks = s.col_blocks::<T>(count, s.outputs, cols);
    for block in 0..blocks {
        let at = part(cols, UNIT_COLS, blocks, block);
        let (width, at) = (at.len(), samples.start * len + at.start..samples.start * len + at.end);
        with_buffer(width * (count.min(BLOCK_ROWS) + s.outputs), |room: *mut T| {
            let gathered = room.wrapping_add(width * count.min(BLOCK_ROWS));
            // SAFETY: the caller's promise; the blocks are within the buffer.
            unsafe {
                get_result(s, y, first, at.clone(), gathered);
                for i in 0..row_blocks {
                    let part = part(count, 1, row_blocks, i);
                    let part = from + part.start..from + part.end;
                    let a = MatRef { ptr: w.wrapping_add(first * rows + part.start), row_stride: 1, col_stride: rows as isize };
                    gemm(product(part.len(), s.outputs, width, a, by_rows(gathered, width), T::ZERO, room, width));
                    add_columns(s, room, group, part, at.clone(), x);
                }
            }
        });
    }
}

/// w = the sums of x y. Nothing is empty.
///
/// # Safety
/// As [`output`], but that w is written.
pub unsafe fn weight<T: Gemm>(s: &Sizes, x: *const T, y: *const T, w: *mut T) {
    let (rows, cols) = (s.rows(), s.cols());
    if depthwise::suits::<T>(s) {
        // SAFETY: the same contract.
        return unsafe { depthwise::weight(s, x, y, w) };
    }
    let blocks = s.col_blocks::<T>(rows, s.outputs, cols);
    let row_blocks = rows.div_ceil(BLOCK_ROWS);
    // If there are too few parts of w, each is computed in several slabs of columns, which are added up.
    let total = s.groups * s.outputs * rows;
    let room = PARTIAL_BYTES / size_of::<T>() / total;
    let slabs = PARTS.div_ceil(s.groups * row_blocks).min(blocks).min(room.max(1));
    let sums = |sums: *mut T| {
        let shared = Shared((x, y, sums));
        par::for_ranges(slabs * s.groups * row_blocks, 1, &|units| {
            let (x, y, sums) = shared.get();
            for unit in units {
                let (i, group) = (unit % row_blocks, unit / row_blocks % s.groups);
                let slab = unit / row_blocks / s.groups;
                let to = sums.wrapping_add(slab * total + group * s.outputs * rows);
                // SAFETY: the caller's promise; this part of this slab is this unit's.
                unsafe { sum_of_blocks(s, x, y, to, group, part(rows, 1, row_blocks, i), part(blocks, 1, slabs, slab), blocks) };
            }
        });
    };
    if slabs == 1 {
        return sums(w);
    }
    with_buffer(slabs * total, |buffer: *mut T| {
        sums(buffer);
        let shared = Shared((buffer, w));
        par::for_ranges(total, GRAIN, &|range| {
            let (sums, w) = shared.get();
            for place in range {
                // SAFETY: within the slabs, all of which are there, and w.
                unsafe {
                    let sum = (1..slabs).fold(*sums.add(place), |sum, slab| sum.plus(*sums.add(slab * total + place)));
                    *w.add(place) = sum;
                }
            }
        });
    });
}

/// Some rows of w's transpose, as the sum over some blocks of columns.
///
/// # Safety
/// As [`weight`], with `to` for the group's weights.
#[allow(clippy::too_many_arguments)] // of one caller
unsafe fn sum_of_blocks<T: Gemm>(
    s: &Sizes,
    x: *const T,
    y: *const T,
    to: *mut T,
    group: usize,
    rows: Range<usize>,
    blocks: Range<usize>,
    of: usize,
) {
    let stride = s.rows();
    let to = to.wrapping_add(rows.start);
    let mut beta = T::ZERO;
    for block in blocks {
        let at = part(s.cols(), UNIT_COLS, of, block);
        let width = at.len();
        with_buffer(width * (rows.len() + s.outputs) + CHUNK, |gathered: *mut T| {
            let room = gathered.wrapping_add(width * s.outputs);
            let windows = MatRef { ptr: room.cast_const(), row_stride: 1, col_stride: width as isize };
            // SAFETY: the caller's promise; the blocks are within the buffer.
            unsafe {
                put_columns(s, x, group, rows.clone(), at.clone(), room, true);
                get_result(s, y, group * s.outputs, at, gathered);
                gemm(product(s.outputs, width, rows.len(), by_rows(gathered, width), windows, beta, to, stride));
            }
        });
        beta = T::ONE;
    }
}

/// For windows of one element: `to` = a `from` for each sample and group; `a` is the first group's matrix.
///
/// # Safety
/// As [`output`]; `transposed` says that `from` is y and `to` is x.
unsafe fn pointwise<T: Gemm>(s: &Sizes, from: *const T, a: MatRef<T>, bias: *const T, to: *mut T, transposed: bool) {
    let len = s.input_len();
    let (m, k) = if transposed { (s.inputs, s.outputs) } else { (s.outputs, s.inputs) };
    let beta = if bias.is_null() { T::ZERO } else { T::ONE };
    // SAFETY: the caller's promise.
    unsafe {
        if !bias.is_null() {
            fill_planes(bias, to, s.groups * m, len, s.batch);
        }
        for group in 0..s.groups {
            let a = MatRef { ptr: a.ptr.wrapping_add(group * s.outputs * s.inputs), ..a };
            let one = product(
                m,
                k,
                len,
                a,
                by_rows(from.wrapping_add(group * k * len), len),
                beta,
                to.wrapping_add(group * m * len),
                len,
            );
            gemm_batched(one, s.batch, 0, (s.groups * k * len) as isize, (s.groups * m * len) as isize);
        }
    }
}

/// A matrix with contiguous rows, one after the other.
fn by_rows<T>(ptr: *const T, cols: usize) -> MatRef<T> {
    MatRef { ptr, row_stride: cols as isize, col_stride: 1 }
}

/// C = A B + beta C, where C has contiguous rows.
#[allow(clippy::too_many_arguments)] // as many as a product has
fn product<T: Gemm>(m: usize, k: usize, n: usize, a: MatRef<T>, b: MatRef<T>, beta: T, c: *mut T, stride: usize) -> Product<T> {
    Product { m, k, n, alpha: T::ONE, a, b, beta, c: MatMut { ptr: c, row_stride: stride as isize, col_stride: 1 } }
}

/// Calls `body(place in the block, place in the channel's plane of the first sample, length)` for each run of columns that lies
/// in one sample: planes of samples are `step` apart.
fn for_samples(s: &Sizes, at: Range<usize>, step: usize, mut body: impl FnMut(usize, usize, usize)) {
    let len = s.output_len();
    let mut col = at.start;
    while col < at.end {
        let (n, place) = (col / len, col % len);
        let run = (len - place).min(at.end - col);
        body(col - at.start, n * step + place, run);
        col += run;
    }
}

/// Copies a block of results, rows one after the other, to its place in y, adding the bias.
///
/// # Safety
/// As [`output`]; the block holds the channels of a group from `first` on, at these columns.
unsafe fn put_result<T: Gemm>(s: &Sizes, block: *const T, bias: *const T, y: *mut T, first: usize, at: Range<usize>) {
    let (len, width) = (s.output_len(), at.len());
    for_samples(s, at, s.groups * s.outputs * len, |from, place, run| {
        for c in 0..s.outputs {
            // SAFETY: the caller's promise.
            unsafe {
                let (from, to) = (block.add(c * width + from), y.add((first + c) * len + place));
                if bias.is_null() {
                    std::ptr::copy_nonoverlapping(from, to, run);
                } else {
                    let more = *bias.add(first + c);
                    (0..run).for_each(|i| *to.add(i) = (*from.add(i)).plus(more));
                }
            }
        }
    });
}

/// Copies what [`put_result`] would write from y to a block.
///
/// # Safety
/// As [`put_result`].
unsafe fn get_result<T: Gemm>(s: &Sizes, y: *const T, first: usize, at: Range<usize>, block: *mut T) {
    let (len, width) = (s.output_len(), at.len());
    for_samples(s, at, s.groups * s.outputs * len, |to, place, run| {
        for c in 0..s.outputs {
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(y.add((first + c) * len + place), block.add(c * width + to), run) };
        }
    });
}

/// Sets some channels of some samples of x to their bias, or 0.
///
/// # Safety
/// As [`input`], for these channels and samples.
unsafe fn fill_channels<T: Gemm>(
    s: &Sizes,
    bias: *const T,
    x: *mut T,
    group: usize,
    channels: &Range<usize>,
    samples: &Range<usize>,
) {
    let (len, all) = (s.input_len(), s.groups * s.inputs);
    for n in samples.clone() {
        for c in channels.clone().map(|c| group * s.inputs + c) {
            // SAFETY: the caller's promise.
            unsafe {
                let value = if bias.is_null() { T::ZERO } else { *bias.add(c) };
                std::slice::from_raw_parts_mut(x.add((n * all + c) * len), len).fill(value);
            }
        }
    }
}

/// Sets each of `channels` planes of `len` elements, in each of some samples, to a number.
///
/// # Safety
/// Both must be valid.
unsafe fn fill_planes<T: Gemm>(values: *const T, to: *mut T, channels: usize, len: usize, samples: usize) {
    let shared = Shared((values, to));
    par::for_ranges(samples * channels, (GRAIN / len).max(1), &|planes| {
        let (values, to) = shared.get();
        for plane in planes {
            // SAFETY: the caller's promise.
            unsafe { std::slice::from_raw_parts_mut(to.add(plane * len), len).fill(*values.add(plane % channels)) };
        }
    });
}
