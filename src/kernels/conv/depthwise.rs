//! Convolution where each group has one input channel: each element of a window is a number times a shifted plane.
//!
//! Planes are first copied into a buffer with their padding, so that no loop has to look for edges. Along the last dim, places that
//! are a stride apart become neighbours there: what one element of the window reads for a row of results is contiguous.

use std::any::TypeId;

use super::{GRAIN, Shared, Sizes};
use crate::kernels::matmul::{Gemm, Number, with_buffer};
use crate::kernels::par;
use crate::kernels::vector::vectorize;

/// Results that are computed together: two of the largest registers.
const WIDE: usize = 32;
/// The same where no more are left.
const NARROW: usize = 16;
/// Elements of a window that are summed up together.
const TAPS: usize = 4;
/// A buffer is at most so many times as large as the planes it is for: padding might be far larger.
const MOST_PADDING: usize = 4;

/// An element of a window: how far into the buffer it reads, and what it is.
#[derive(Clone, Copy)]
struct Tap<T> {
    offset: usize,
    weight: T,
}

/// A buffer for a plane of x with its padding: rows by rows by phases by places that are a stride apart.
struct Padded {
    rows: [usize; 2],
    /// Places of a phase.
    phase: usize,
    stride: usize,
}

impl Padded {
    fn new(s: &Sizes) -> Padded {
        let reach = |d: usize| (s.output[d] - 1) * s.stride[d] + (s.kernel[d] - 1) * s.dilation[d] + 1;
        Padded { rows: [reach(0), reach(1)], phase: reach(2).div_ceil(s.stride[2]), stride: s.stride[2] }
    }

    fn line(&self) -> usize {
        self.phase * self.stride
    }

    /// With room for reading past the end.
    fn len(&self) -> usize {
        self.rows[0] * self.rows[1] * self.line() + WIDE
    }

    /// Where the element `k` of the first window of a line is, from the line's start.
    fn offset(&self, s: &Sizes, k: [usize; 3]) -> usize {
        let [d, h, w] = [0, 1, 2].map(|i| k[i] * s.dilation[i]);
        (d * self.rows[1] + h) * self.line() + w % self.stride * self.phase + w / self.stride
    }

    /// The start of the line that the windows of a row of results begin in.
    fn base(&self, s: &Sizes, d: usize, h: usize) -> usize {
        (d * s.stride[0] * self.rows[1] + h * s.stride[1]) * self.line()
    }

    /// Copies a plane into the buffer.
    ///
    /// # Safety
    /// `x` must be a plane of x, `to` have [`Padded::len`] places.
    unsafe fn fill<T: Number>(&self, s: &Sizes, x: *const T, to: *mut T) {
        // SAFETY: the caller's promise; what is copied is within the plane and its line of the buffer.
        unsafe {
            std::slice::from_raw_parts_mut(to, self.len()).fill(T::ZERO);
            // What lies beyond the last window is left out.
            let count = |d: usize| s.input[d].min(self.rows[d].saturating_sub(s.padding[d]));
            for d in 0..count(0) {
                for h in 0..count(1) {
                    let line = (d + s.padding[0]) * self.rows[1] + h + s.padding[1];
                    self.fill_line(s, x.add((d * s.input[1] + h) * s.input[2]), to.add(line * self.line()));
                }
            }
        }
    }

    /// # Safety
    /// As [`Padded::fill`], for a line.
    unsafe fn fill_line<T: Number>(&self, s: &Sizes, from: *const T, to: *mut T) {
        let (padding, stride) = (s.padding[2], self.stride);
        for phase in 0..stride {
            // Places i of the input with (i + padding) % stride = phase.
            let first = (phase + stride - padding % stride) % stride;
            let start = (first + padding) / stride;
            let count = s.input[2].saturating_sub(first).div_ceil(stride).min(self.phase.saturating_sub(start));
            // SAFETY: within the line.
            unsafe {
                let (from, to) = (from.wrapping_add(first), to.wrapping_add(phase * self.phase + start));
                if stride == 1 {
                    std::ptr::copy_nonoverlapping(from, to, count);
                } else {
                    (0..count).for_each(|j| *to.add(j) = *from.add(j * stride));
                }
            }
        }
    }
}

/// A buffer for planes of y: along each dim, as many zeros in front as windows reach back, and one place for each window that
/// reaches a place of x.
struct Reached {
    back: [usize; 3],
    windows: [usize; 3],
}

impl Reached {
    fn new(s: &Sizes) -> Reached {
        let dims = [0, 1, 2];
        Reached {
            back: dims.map(|d| (s.kernel[d] - 1) * s.dilation[d] / s.stride[d]),
            windows: dims.map(|d| (s.input[d] - 1 + s.padding[d]) / s.stride[d] + 1),
        }
    }

    fn size(&self, d: usize) -> usize {
        self.back[d] + self.windows[d]
    }

    fn plane(&self) -> usize {
        self.size(0) * self.size(1) * self.size(2)
    }

    /// # Safety
    /// `y` must be a plane of y, `to` have [`Reached::plane`] places.
    unsafe fn fill<T: Number>(&self, s: &Sizes, y: *const T, to: *mut T) {
        let count = [0, 1, 2].map(|d| s.output[d].min(self.windows[d]));
        // SAFETY: the caller's promise; the lines are within both.
        unsafe {
            std::slice::from_raw_parts_mut(to, self.plane()).fill(T::ZERO);
            for d in 0..count[0] {
                for h in 0..count[1] {
                    let from = y.add((d * s.output[1] + h) * s.output[2]);
                    let line = (d + self.back[0]) * self.size(1) + h + self.back[1];
                    std::ptr::copy_nonoverlapping(from, to.add(line * self.size(2) + self.back[2]), count[2]);
                }
            }
        }
    }
}

/// Whether this is the way to compute it: of floats, and unless the padding is far larger than the rest.
pub(super) fn suits<T: Gemm>(s: &Sizes) -> bool {
    let floats = TypeId::of::<T>() == TypeId::of::<f32>() || TypeId::of::<T>() == TypeId::of::<f64>();
    if !floats || s.inputs != 1 {
        return false;
    }
    let (padded, reached) = (Padded::new(s), Reached::new(s));
    let room = MOST_PADDING * (s.input_len() + s.output_len()) + GRAIN;
    let fits = |sizes: [usize; 3]| sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).is_some_and(|n| n <= room);
    fits([padded.rows[0], padded.rows[1], padded.line()]) && fits([0, 1, 2].map(|d| reached.size(d)))
}

/// The elements of a window.
fn elements(s: &Sizes) -> impl Iterator<Item = [usize; 3]> {
    let [_, height, width] = s.kernel;
    (0..s.kernel_len()).map(move |k| [k / (height * width), k / width % height, k % width])
}

/// Writes `first` plus the sums of the taps from `from` on to `count` places of `to`, `step` apart.
///
/// # Safety
/// The taps must read within a buffer with [`WIDE`] places more.
#[inline(always)]
unsafe fn put_row<T: Number>(taps: &[Tap<T>], first: T, from: *const T, to: *mut T, count: usize, step: usize) {
    let mut place = 0;
    while place < count {
        let left = count - place;
        // SAFETY: the caller's promise; `to` has room for what is left.
        unsafe {
            let (from, to) = (from.add(place), to.wrapping_add(place * step));
            if left > NARROW {
                put_some::<T, WIDE>(taps, first, from, to, left.min(WIDE), step);
                place += WIDE;
            } else {
                put_some::<T, NARROW>(taps, first, from, to, left, step);
                place += NARROW;
            }
        }
    }
}

/// # Safety
/// As [`put_row`], for at most N places.
#[inline(always)]
unsafe fn put_some<T: Number, const N: usize>(taps: &[Tap<T>], first: T, from: *const T, to: *mut T, count: usize, step: usize) {
    let mut sums = [first; N];
    for tap in taps {
        let from = from.wrapping_add(tap.offset);
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *sum = sum.plus(tap.weight.times(unsafe { *from.add(i) }));
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        if step == 1 && count == N {
            to.cast::<[T; N]>().write(sums);
        } else {
            sums.iter().take(count).enumerate().for_each(|(i, &sum)| *to.add(i * step) = sum);
        }
    }
}

/// See [`super::output`].
///
/// # Safety
/// As there.
pub(super) unsafe fn output<T: Gemm>(s: &Sizes, x: *const T, w: *const T, bias: *const T, y: *mut T) {
    let (padded, window, len) = (Padded::new(s), s.kernel_len(), s.output_len());
    let shared = Shared((x, w, bias, y));
    par::for_ranges(s.batch * s.groups, (GRAIN / (len * window)).max(1), &|planes| {
        let (x, w, bias, y) = shared.get();
        with_buffer(padded.len(), |buffer: *mut T| {
            let mut taps = Vec::with_capacity(window);
            for plane in planes {
                // SAFETY: the caller's promise; the results of a plane of x are this thread's.
                unsafe {
                    padded.fill(s, x.add(plane * s.input_len()), buffer);
                    for o in 0..s.outputs {
                        let channel = plane % s.groups * s.outputs + o;
                        taps.clear();
                        taps.extend(
                            elements(s)
                                .enumerate()
                                .map(|(i, k)| Tap { offset: padded.offset(s, k), weight: *w.add(channel * window + i) }),
                        );
                        let first = if bias.is_null() { T::ZERO } else { *bias.add(channel) };
                        let to = y.add((plane * s.outputs + o) * len);
                        vectorize(
                            #[inline(always)]
                            || {
                                for line in 0..s.output[0] * s.output[1] {
                                    let from = buffer.add(padded.base(s, line / s.output[1], line % s.output[1]));
                                    put_row(&taps, first, from, to.add(line * s.output[2]), s.output[2], 1);
                                }
                            },
                        );
                    }
                }
            }
        });
    });
}

/// See [`super::input`].
///
/// # Safety
/// As there.
pub(super) unsafe fn input<T: Gemm>(s: &Sizes, w: *const T, y: *const T, bias: *const T, x: *mut T) {
    let (reached, window, len) = (Reached::new(s), s.kernel_len(), s.input_len());
    let shared = Shared((w, y, bias, x));
    par::for_ranges(s.batch * s.groups, (GRAIN / (s.output_len() * window)).max(1), &|planes| {
        let (w, y, bias, x) = shared.get();
        with_buffer(reached.plane() * s.outputs + WIDE, |buffer: *mut T| {
            for plane in planes {
                let group = plane % s.groups;
                // SAFETY: the caller's promise; a plane of x is this thread's.
                unsafe {
                    std::slice::from_raw_parts_mut(buffer.add(reached.plane() * s.outputs), WIDE).fill(T::ZERO);
                    for o in 0..s.outputs {
                        let from = y.add((plane * s.outputs + o) * s.output_len());
                        reached.fill(s, from, buffer.add(o * reached.plane()));
                    }
                    let first = if bias.is_null() { T::ZERO } else { *bias.add(group) };
                    put_plane(s, &reached, w.add(group * s.outputs * window), first, buffer, x.add(plane * len));
                }
            }
        });
    });
}

/// Writes a plane of x: the places with the same remainder by the stride see the same elements of windows.
///
/// # Safety
/// As [`input`], with the buffer for its plane.
unsafe fn put_plane<T: Gemm>(s: &Sizes, reached: &Reached, w: *const T, first: T, buffer: *const T, x: *mut T) {
    let [depth, height, width] = s.stride;
    let mut taps = Vec::with_capacity(s.outputs * s.kernel_len());
    for phase in 0..depth * height * width {
        let phase = [phase / (height * width), phase / width % height, phase % width];
        // Windows whose element at the phase is at a place of x, along each dim.
        let windows = [0, 1, 2].map(|d| {
            let (stride, padding) = (s.stride[d], s.padding[d]);
            let end = (s.input[d] + padding).saturating_sub(phase[d]).div_ceil(stride);
            padding.saturating_sub(phase[d]).div_ceil(stride).min(end)..end
        });
        let place = |d: usize, window: usize| window * s.stride[d] + phase[d] - s.padding[d];
        taps.clear();
        for o in 0..s.outputs {
            for (i, k) in elements(s).enumerate() {
                let from =
                    [0, 1, 2].map(|d| (k[d] * s.dilation[d]).checked_sub(phase[d]).filter(|at| at.is_multiple_of(s.stride[d])));
                let [Some(a), Some(b), Some(c)] = from else { continue };
                let [a, b, c] = [(0, a), (1, b), (2, c)].map(|(d, at)| reached.back[d] - at / s.stride[d]);
                let offset = o * reached.plane() + (a * reached.size(1) + b) * reached.size(2) + c;
                // SAFETY: the caller's promise.
                taps.push(Tap { offset, weight: unsafe { *w.add(o * s.kernel_len() + i) } });
            }
        }
        if windows[2].is_empty() {
            continue;
        }
        vectorize(
            #[inline(always)]
            || {
                for d in windows[0].clone() {
                    for h in windows[1].clone() {
                        let from = (d * reached.size(1) + h) * reached.size(2) + windows[2].start;
                        let to = (place(0, d) * s.input[1] + place(1, h)) * s.input[2] + place(2, windows[2].start);
                        // SAFETY: the caller's promise; all places of these windows are within x.
                        unsafe { put_row(&taps, first, buffer.add(from), x.add(to), windows[2].len(), width) };
                    }
                }
            },
        );
    }
}

/// See [`super::weight`].
///
/// # Safety
/// As there.
pub(super) unsafe fn weight<T: Gemm>(s: &Sizes, x: *const T, y: *const T, w: *mut T) {
    let (padded, window, len) = (Padded::new(s), s.kernel_len(), s.output_len());
    let offsets: Vec<usize> = elements(s).map(|k| padded.offset(s, k)).collect();
    let shared = Shared((x, y, w));
    par::for_ranges(s.groups, (GRAIN / (len * window * s.batch)).max(1), &|groups| {
        let (x, y, w) = shared.get();
        with_buffer(padded.len(), |buffer: *mut T| {
            for group in groups {
                // SAFETY: the caller's promise; the weights of a group are this thread's.
                unsafe {
                    let w = w.add(group * s.outputs * window);
                    std::slice::from_raw_parts_mut(w, s.outputs * window).fill(T::ZERO);
                    for plane in (0..s.batch).map(|n| n * s.groups + group) {
                        padded.fill(s, x.add(plane * s.input_len()), buffer);
                        for o in 0..s.outputs {
                            let y = y.add((plane * s.outputs + o) * len);
                            add_products(s, &padded, &offsets, buffer, y, w.add(o * window));
                        }
                    }
                }
            }
        });
    });
}

/// Adds the products of a plane of y with what each element of its windows reads to the weights.
///
/// # Safety
/// As [`weight`].
unsafe fn add_products<T: Gemm>(s: &Sizes, padded: &Padded, offsets: &[usize], buffer: *const T, y: *const T, w: *mut T) {
    for (i, chunk) in offsets.chunks(TAPS).enumerate() {
        // Those that are missing are summed up in vain.
        let at: [usize; TAPS] = std::array::from_fn(|t| chunk.get(t).copied().unwrap_or(0));
        let mut sums = [[T::ZERO; NARROW]; TAPS];
        let all = &mut sums;
        vectorize(
            #[inline(always)]
            move || {
                for line in 0..s.output[0] * s.output[1] {
                    let from = buffer.wrapping_add(padded.base(s, line / s.output[1], line % s.output[1]));
                    // SAFETY: the caller's promise.
                    unsafe { add_line(all, &at, from, y.add(line * s.output[2]), s.output[2]) };
                }
            },
        );
        for (t, sum) in sums.iter().enumerate().take(chunk.len()) {
            // SAFETY: the caller's promise.
            unsafe {
                let w = w.add(i * TAPS + t);
                *w = (*w).plus(sum.iter().fold(T::ZERO, |total, &sum| total.plus(sum)));
            }
        }
    }
}

/// # Safety
/// As [`add_products`], for a line of `count` places.
#[inline(always)]
unsafe fn add_line<T: Number>(sums: &mut [[T; NARROW]; TAPS], at: &[usize; TAPS], from: *const T, y: *const T, count: usize) {
    let whole = count - count % NARROW;
    for place in (0..whole).step_by(NARROW) {
        for (sum, offset) in sums.iter_mut().zip(at) {
            for (i, sum) in sum.iter_mut().enumerate() {
                // SAFETY: within the buffer and the line.
                *sum = sum.plus(unsafe { (*from.add(offset + place + i)).times(*y.add(place + i)) });
            }
        }
    }
    for (sum, offset) in sums.iter_mut().zip(at) {
        for (i, sum) in sum.iter_mut().enumerate().take(count - whole) {
            // SAFETY: as above.
            *sum = sum.plus(unsafe { (*from.add(offset + whole + i)).times(*y.add(whole + i)) });
        }
    }
}
