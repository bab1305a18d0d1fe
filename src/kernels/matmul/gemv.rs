//! Matrix times vector, and dot product: limited by memory, so the matrix is read once, in its own order.
//!
//! A product with n = 1. If the rows of A are contiguous, every element of the result is a dot product; if its
//! columns are, the result is a sum of columns.

use super::vector::Vector;
use super::{Number, Product, Shared, pack};
use crate::kernels::par;
use std::ops::Range;

/// Elements of A from which several threads take part.
const PARALLEL: usize = 1 << 15;
/// A single dot product is cut into blocks of this many elements, whose sums are added in order.
const DOT_BLOCK: usize = 1 << 14;
/// Rows that a sum of columns handles at a time: the sums stay in the first-level cache.
const CHUNK: usize = 1024;

/// Whether `p`, which has n = 1, can be computed here.
pub(super) fn suits<T>(p: &Product<T>) -> bool {
    p.a.col_stride == 1 || (p.a.row_stride == 1 && p.m > 1)
}

/// Computes a product with n = 1 and m, k >= 1.
///
/// # Safety
/// As [`super::gemm`]; `suits(p)`; the processor must have the instruction set of V.
pub(super) unsafe fn product<V: Vector>(p: &Product<V::Float>) {
    if p.a.col_stride != 1 {
        // SAFETY: `split` gives disjoint ranges within 0..m.
        let chunks = Shared(|rows: Range<usize>| unsafe { sum_columns::<V>(p, rows) });
        return split(p, CHUNK / 4, &|rows| chunks.call(rows));
    }
    let run = |x: *const V::Float| {
        if p.m == 1 && p.k > DOT_BLOCK {
            // SAFETY: m = 1, and `x` holds k numbers.
            return unsafe { long_dot::<V>(p, x) };
        }
        // SAFETY: `split` gives disjoint ranges within 0..m.
        let rows = Shared(move |rows: Range<usize>| unsafe { V::run(|| dot_rows::<V>(p, x, rows)) });
        split(p, (4096 / p.k).max(2).next_multiple_of(2), &|r| rows.call(r));
    };
    if p.b.row_stride == 1 {
        return run(p.b.ptr);
    }
    pack::with_buffer(p.k, |x: *mut V::Float| {
        for i in 0..p.k {
            // SAFETY: `x` has room for k; (i, 0) is within B.
            unsafe { *x.add(i) = *p.b.offset(i, 0) };
        }
        run(x);
    });
}

/// Calls `body` on ranges of rows, in parallel if A is large.
fn split<T>(p: &Product<T>, grain: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    if p.m * p.k < PARALLEL { body(0..p.m) } else { par::for_ranges(p.m, grain, body) }
}

/// C = beta C + alpha `sum` in one row.
///
/// # Safety
/// As [`super::gemm`], for this row.
#[inline(always)]
unsafe fn put<T: Number>(p: &Product<T>, row: usize, sum: T) {
    let c = p.c.offset(row, 0);
    let sum = p.alpha.times(sum);
    // SAFETY: the caller's promise; C is initialised if beta is not 0.
    unsafe { *c = if p.beta == T::ZERO { sum } else { p.beta.times(*c).plus(sum) } };
}

/// # Safety
/// As [`product`], for these rows; `x` holds k numbers.
#[inline(always)]
unsafe fn dot_rows<V: Vector>(p: &Product<V::Float>, x: *const V::Float, rows: Range<usize>) {
    let mut row = rows.start;
    // SAFETY: the rows are within A.
    unsafe {
        while row + 2 <= rows.end {
            let sums = dots::<V, 2>(p.a.offset(row, 0), p.a.row_stride, x, p.k);
            put(p, row, sums[0]);
            put(p, row + 1, sums[1]);
            row += 2;
        }
        if row < rows.end {
            put(p, row, dots::<V, 1>(p.a.offset(row, 0), 0, x, p.k)[0]);
        }
    }
}

/// The dot products of R rows of `k` numbers with `x`: four registers of sums a row, whatever R.
///
/// # Safety
/// All must be readable, and the processor have the instruction set.
#[inline(always)]
unsafe fn dots<V: Vector, const R: usize>(a: *const V::Float, stride: isize, x: *const V::Float, k: usize) -> [V::Float; R] {
    let lanes = V::LANES;
    let mut result = [V::Float::ZERO; R];
    // SAFETY: accesses end before `k`.
    unsafe {
        let mut sums = [[V::zero(); 4]; R];
        let mut at = 0;
        while at + 4 * lanes <= k {
            for u in 0..4 {
                let v = V::load(x.add(at + u * lanes));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let row = a.wrapping_offset(i as isize * stride);
                    sums[u] = V::load(row.add(at + u * lanes)).mul_add(v, sums[u]);
                }
            }
            at += 4 * lanes;
        }
        while at < k {
            let mask = V::mask((k - at).min(lanes));
            let v = V::load_masked(x.add(at), mask);
            for (i, sums) in sums.iter_mut().enumerate() {
                let row = a.wrapping_offset(i as isize * stride);
                sums[0] = V::load_masked(row.add(at), mask).mul_add(v, sums[0]);
            }
            at += lanes;
        }
        for (result, s) in result.iter_mut().zip(sums) {
            *result = s[0].add(s[1]).add(s[2].add(s[3])).sum();
        }
    }
    result
}

/// # Safety
/// As [`product`], with m = 1; `x` holds k numbers.
unsafe fn long_dot<V: Vector>(p: &Product<V::Float>, x: *const V::Float) {
    let blocks = p.k.div_ceil(DOT_BLOCK);
    let mut partial = vec![V::Float::ZERO; blocks];
    let to = partial.as_mut_ptr();
    let run = Shared(move |range: Range<usize>| {
        for block in range {
            let start = block * DOT_BLOCK;
            let len = DOT_BLOCK.min(p.k - start);
            // SAFETY: the block is within row 0 of A and within x; `partial` has a place for each.
            unsafe { *to.add(block) = V::run(|| dots::<V, 1>(p.a.offset(0, start), 0, x.add(start), len)[0]) };
        }
    });
    par::for_ranges(blocks, 1, &|range| run.call(range));
    let sum = partial.iter().fold(V::Float::ZERO, |sum, &x| sum.plus(x));
    // SAFETY: row 0 is there.
    unsafe { put(p, 0, sum) };
}

/// # Safety
/// As [`product`], for these rows; the columns of A are contiguous.
unsafe fn sum_columns<V: Vector>(p: &Product<V::Float>, rows: Range<usize>) {
    let mut sums = [V::Float::ZERO; CHUNK];
    for start in rows.clone().step_by(CHUNK) {
        let len = CHUNK.min(rows.end - start);
        // SAFETY: the rows are within A and C.
        unsafe {
            V::run(|| add_columns::<V>(p, start, &mut sums[..len]));
            for (i, sum) in sums[..len].iter_mut().enumerate() {
                put(p, start + i, *sum);
                *sum = V::Float::ZERO;
            }
        }
    }
}

/// Adds A x to `sums`, for the rows from `start`: eight columns at a time, so that `sums` is read and written
/// once for eight.
///
/// # Safety
/// As [`sum_columns`].
#[inline(always)]
unsafe fn add_columns<V: Vector>(p: &Product<V::Float>, start: usize, sums: &mut [V::Float]) {
    let mut k = 0;
    // SAFETY: the columns are within A.
    unsafe {
        while k + 8 <= p.k {
            add_some_columns::<V, 8>(p, start, k, sums);
            k += 8;
        }
        while k < p.k {
            add_some_columns::<V, 1>(p, start, k, sums);
            k += 1;
        }
    }
}

/// # Safety
/// As [`sum_columns`].
#[inline(always)]
unsafe fn add_some_columns<V: Vector, const K: usize>(p: &Product<V::Float>, start: usize, k: usize, sums: &mut [V::Float]) {
    let len = sums.len();
    let sums = sums.as_mut_ptr();
    // SAFETY: accesses end before `len`, which the caller says the columns have from `start` on.
    unsafe {
        let mut x = [V::zero(); K];
        for (i, x) in x.iter_mut().enumerate() {
            *x = V::splat(*p.b.offset(k + i, 0));
        }
        let a = p.a.offset(start, k);
        let mut at = 0;
        while at + V::LANES <= len {
            let mut sum = V::load(sums.add(at));
            for (i, x) in x.iter().enumerate() {
                sum = V::load(a.wrapping_offset(i as isize * p.a.col_stride).add(at)).mul_add(*x, sum);
            }
            sum.store(sums.add(at));
            at += V::LANES;
        }
        if at < len {
            let mask = V::mask(len - at);
            let mut sum = V::load_masked(sums.add(at), mask);
            for (i, x) in x.iter().enumerate() {
                sum = V::load_masked(a.wrapping_offset(i as isize * p.a.col_stride).add(at), mask).mul_add(*x, sum);
            }
            sum.store_masked(sums.add(at), mask);
        }
    }
}
