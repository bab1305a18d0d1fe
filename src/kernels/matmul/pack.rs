//! Copying a block of B into panels whose rows are contiguous, as microkernels read them.

use super::{MatRef, Number};
use crate::kernels::register::Vector;
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// Memory for packed blocks comes in cache lines.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    /// The buffers of earlier products on this thread, as many as were in use at once: fresh pages cost more than a small product.
    static BUFFERS: RefCell<Vec<Vec<MaybeUninit<Line>>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `body` with room for `len` numbers, uninitialised and aligned to a cache line.
pub(in crate::kernels) fn with_buffer<T: Number, R>(len: usize, body: impl FnOnce(*mut T) -> R) -> R {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
    if buffer.capacity() < lines {
        buffer = Vec::with_capacity(lines);
    }
    let result = body(buffer.as_mut_ptr().cast());
    BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    result
}

/// Writes the first `rows` rows and `cols` columns of `b` to `to`, rows one after the other, each `width` long.
///
/// # Safety
/// The elements of `b` must be readable and `to` have room for `rows * width` numbers, `cols <= width`; the
/// processor must have the instruction set of V.
pub(super) unsafe fn pack<V: Vector>(b: MatRef<V::Float>, rows: usize, cols: usize, to: *mut V::Float, width: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if b.col_stride == 1 {
            for k in 0..rows {
                std::ptr::copy_nonoverlapping(b.offset(k, 0), to.add(k * width), cols);
            }
        } else if b.row_stride == 1 {
            V::run(
                #[inline(always)]
                || pack_transposed::<V>(b, rows, cols, to, width),
            );
        } else {
            copy_each(b, rows, cols, to, width);
        }
    }
}

/// Writes the first `cols` columns of `a` to `to`, one after the other, each with its first `rows` elements and R long.
///
/// # Safety
/// The elements of `a` must be readable and `to` have room for `cols * R` numbers, `rows <= R`.
pub(super) unsafe fn pack_strip<T: Number, const R: usize>(a: MatRef<T>, rows: usize, cols: usize, to: *mut T) {
    if rows < R || a.row_stride != 1 {
        // SAFETY: the caller's promise.
        return unsafe { copy_each(a.transposed(), cols, rows, to, R) };
    }
    for k in 0..cols {
        // SAFETY: column k of `a` has R contiguous elements, and `to` room for `cols` times as many.
        unsafe { std::ptr::copy_nonoverlapping(a.offset(0, k), to.add(k * R), R) };
    }
}

/// [`pack`] for any strides, element by element.
///
/// # Safety
/// As [`pack`].
unsafe fn copy_each<T: Number>(b: MatRef<T>, rows: usize, cols: usize, to: *mut T, width: usize) {
    for k in 0..rows {
        for j in 0..cols {
            // SAFETY: within both matrices.
            unsafe { *to.add(k * width + j) = *b.offset(k, j) };
        }
    }
}

/// The columns of `b` are contiguous: turns squares of them, and copies what is left at the two edges.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn pack_transposed<V: Vector>(b: MatRef<V::Float>, rows: usize, cols: usize, to: *mut V::Float, width: usize) {
    let (whole_rows, whole_cols) = (rows - rows % V::SQUARE, cols - cols % V::SQUARE);
    // SAFETY: the squares and the edges are within the first `rows` rows and `cols` columns.
    unsafe {
        for j in (0..whole_cols).step_by(V::SQUARE) {
            for k in (0..whole_rows).step_by(V::SQUARE) {
                V::transpose(b.offset(k, j), b.col_stride, to.add(k * width + j), width);
            }
        }
        copy_each(b.from(0, whole_cols), whole_rows, cols - whole_cols, to.add(whole_cols), width);
        copy_each(b.from(whole_rows, 0), rows - whole_rows, cols, to.add(whole_rows * width), width);
    }
}
