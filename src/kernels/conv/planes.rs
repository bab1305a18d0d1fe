//! Planes with what lies around them, in buffers.
//!
//! Along the last dim of x, places that are a stride apart become neighbours: what one element of the windows reads for a line of
//! results is contiguous.

use super::Sizes;
use crate::kernels::matmul::Number;

/// How far a register may reach past the end of what is of use: lanes in the largest one.
pub(super) const SLACK: usize = 16;
/// A buffer for a plane of x with its padding: rows by rows by phases by places that are a stride apart.
pub(super) struct Padded {
    pub(super) rows: [usize; 2],
    /// Places of a phase.
    phase: usize,
    stride: usize,
}

impl Padded {
    pub(super) fn new(s: &Sizes) -> Padded {
        let reach = |d: usize| (s.output[d] - 1) * s.stride[d] + (s.kernel[d] - 1) * s.dilation[d] + 1;
        Padded { rows: [reach(0), reach(1)], phase: reach(2).div_ceil(s.stride[2]), stride: s.stride[2] }
    }

    pub(super) fn line(&self) -> usize {
        self.phase * self.stride
    }

    /// With room for reading past the end.
    pub(super) fn len(&self) -> usize {
        self.rows[0] * self.rows[1] * self.line() + SLACK
    }

    /// Where each element of the first window of a line is, from the line's start.
    pub(super) fn offsets(&self, s: &Sizes) -> Vec<usize> {
        let offset = |k: [usize; 3]| {
            let [d, h, w] = [0, 1, 2].map(|i| k[i] * s.dilation[i]);
            (d * self.rows[1] + h) * self.line() + w % self.stride * self.phase + w / self.stride
        };
        elements(s).map(offset).collect()
    }

    /// From the windows of a line of results to those of the next, along the first two dims.
    pub(super) fn steps(&self, s: &Sizes) -> [usize; 2] {
        [s.stride[0] * self.rows[1] * self.line(), s.stride[1] * self.line()]
    }

    /// Copies a plane into the buffer.
    ///
    /// # Safety
    /// `x` must be a plane of x, `to` have [`Padded::len`] places.
    pub(super) unsafe fn fill<T: Number>(&self, s: &Sizes, x: *const T, to: *mut T) {
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
pub(super) struct Reached {
    pub(super) back: [usize; 3],
    windows: [usize; 3],
}

impl Reached {
    pub(super) fn new(s: &Sizes) -> Reached {
        let dims = [0, 1, 2];
        Reached {
            back: dims.map(|d| (s.kernel[d] - 1) * s.dilation[d] / s.stride[d]),
            windows: dims.map(|d| (s.input[d] - 1 + s.padding[d]) / s.stride[d] + 1),
        }
    }

    pub(super) fn size(&self, d: usize) -> usize {
        self.back[d] + self.windows[d]
    }

    pub(super) fn plane(&self) -> usize {
        self.size(0) * self.size(1) * self.size(2)
    }

    /// # Safety
    /// `y` must be a plane of y, `to` have [`Reached::plane`] places.
    pub(super) unsafe fn fill<T: Number>(&self, s: &Sizes, y: *const T, to: *mut T) {
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

/// The elements of a window.
pub(super) fn elements(s: &Sizes) -> impl Iterator<Item = [usize; 3]> {
    let [_, height, width] = s.kernel;
    (0..s.kernel_len()).map(move |k| [k / (height * width), k / width % height, k % width])
}
