//! Matrix times vector, and dot product: limited by memory, so the matrix is read once, in its own order.
//!
//! A product with n = 1. If the rows of A are contiguous, every element of the result is a dot product; if its
//! columns are, the result is a sum of columns. Up to [`MAX_VECTORS`] vectors can share one pass over A by rows.

use super::{MatRef, Number, Product, Shared, pack};
use crate::kernels::par;
use crate::kernels::register::{ADD, Vector};
use std::ops::Range;

/// Elements of A from which several threads take part.
const PARALLEL: usize = 1 << 15;
/// A single dot product is cut into blocks of this many elements, whose sums are added in order.
const DOT_BLOCK: usize = 1 << 14;
/// How many vectors one pass over A serves.
pub(super) const MAX_VECTORS: usize = 4;
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
    // SAFETY: the caller's promise; rows of A are contiguous.
    unsafe { few_vectors::<V>(p) }
}

/// Computes a product with 1 <= n <= [`MAX_VECTORS`] and m, k >= 1, of which the rows of A are contiguous.
///
/// # Safety
/// As [`super::gemm`]; the processor must have the instruction set of V.
pub(super) unsafe fn few_vectors<V: Vector>(p: &Product<V::Float>) {
    if p.b.row_stride == 1 {
        // SAFETY: the same contract.
        return unsafe { contiguous_vectors::<V>(p) };
    }
    pack::with_buffer(p.k * p.n, |copy: *mut V::Float| {
        // SAFETY: the copy has room for the n columns of B, k elements each; then the same contract.
        unsafe {
            pack::pack::<V>(p.b.transposed(), p.n, p.k, copy, p.k);
            let b = MatRef { ptr: copy.cast_const(), row_stride: 1, col_stride: p.k as isize };
            contiguous_vectors::<V>(&Product { b, ..*p });
        }
    });
}

/// [`few_vectors`] where the columns of B are contiguous too.
///
/// # Safety
/// As [`few_vectors`].
unsafe fn contiguous_vectors<V: Vector>(p: &Product<V::Float>) {
    if p.m == 1 && p.n == 1 && p.k > DOT_BLOCK {
        // SAFETY: the same contract.
        return unsafe { long_dot::<V>(p) };
    }
    let rows = Shared(|rows: Range<usize>| {
        // SAFETY: `split` gives disjoint ranges within 0..m; X is n.
        unsafe {
            match p.n {
                1 => V::run(
                    #[inline(always)]
                    || dot_rows::<V, 1, 4>(p, rows),
                ),
                2 => V::run(
                    #[inline(always)]
                    || dot_rows::<V, 2, 2>(p, rows),
                ),
                3 => V::run(
                    #[inline(always)]
                    || dot_rows::<V, 3, 1>(p, rows),
                ),
                _ => V::run(
                    #[inline(always)]
                    || dot_rows::<V, MAX_VECTORS, 1>(p, rows),
                ),
            }
        }
    });
    split(p, (4096 / p.k).max(2).next_multiple_of(2), &|r| rows.call(r));
}

/// Calls `body` on ranges of rows, in parallel if A is large.
fn split<T>(p: &Product<T>, grain: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    if p.m * p.k < PARALLEL { body(0..p.m) } else { par::for_ranges(p.m, grain, body) }
}

/// C = beta C + alpha `sum` in one element.
///
/// # Safety
/// As [`super::gemm`], for this element.
#[inline(always)]
unsafe fn put<T: Number>(p: &Product<T>, row: usize, col: usize, sum: T) {
    let c = p.c.offset(row, col);
    let sum = p.alpha.times(sum);
    // SAFETY: the caller's promise; C is initialised if beta is not 0.
    unsafe { *c = if p.beta == T::ZERO { sum } else { p.beta.times(*c).plus(sum) } };
}

/// Some rows of a product of which B has X columns, U registers of sums for each element.
///
/// # Safety
/// As [`contiguous_vectors`], for these rows; B has X columns.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // the columns are X, as in `dots`
unsafe fn dot_rows<V: Vector, const X: usize, const U: usize>(p: &Product<V::Float>, rows: Range<usize>) {
    let mut row = rows.start;
    // SAFETY: the rows are within A.
    unsafe {
        while row + 2 <= rows.end {
            let sums = dots::<V, 2, X, U>(p.a.from(row, 0), p.b, p.k);
            for x in 0..X {
                put(p, row, x, sums[0][x]);
                put(p, row + 1, x, sums[1][x]);
            }
            row += 2;
        }
        if row < rows.end {
            let sums = dots::<V, 1, X, U>(p.a.from(row, 0), p.b, p.k);
            for x in 0..X {
                put(p, row, x, sums[0][x]);
            }
        }
    }
}

/// The dot products of R contiguous rows of `a` with X contiguous columns of `b`, `k` long: the order of summation
/// depends on U only.
///
/// # Safety
/// All must be readable, and the processor have the instruction set.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // through iterators, the compiler keeps the sums in memory
unsafe fn dots<V: Vector, const R: usize, const X: usize, const U: usize>(
    a: MatRef<V::Float>,
    b: MatRef<V::Float>,
    k: usize,
) -> [[V::Float; X]; R] {
    let lanes = V::LANES;
    let mut result = [[V::Float::ZERO; X]; R];
    // SAFETY: accesses end before `k`.
    unsafe {
        let mut sums = [[[V::zero(); U]; X]; R];
        let mut at = 0;
        while at + U * lanes <= k {
            for u in 0..U {
                for i in 0..R {
                    let v = V::load(a.offset(i, 0).add(at + u * lanes));
                    for x in 0..X {
                        sums[i][x][u] = v.mul_add(V::load(b.offset(0, x).add(at + u * lanes)), sums[i][x][u]);
                    }
                }
            }
            at += U * lanes;
        }
        while at < k {
            let mask = V::mask((k - at).min(lanes));
            for i in 0..R {
                let v = V::load_masked(a.offset(i, 0).add(at), mask);
                for x in 0..X {
                    sums[i][x][0] = v.mul_add(V::load_masked(b.offset(0, x).add(at), mask), sums[i][x][0]);
                }
            }
            at += lanes;
        }
        for i in 0..R {
            for x in 0..X {
                let mut sum = sums[i][x][0];
                for u in 1..U {
                    sum = sum.apply::<ADD>(sums[i][x][u]);
                }
                result[i][x] = sum.join::<ADD>();
            }
        }
    }
    result
}

/// # Safety
/// As [`contiguous_vectors`], with m = n = 1.
unsafe fn long_dot<V: Vector>(p: &Product<V::Float>) {
    let blocks = p.k.div_ceil(DOT_BLOCK);
    let mut partial = vec![V::Float::ZERO; blocks];
    let to = partial.as_mut_ptr();
    let run = Shared(move |range: Range<usize>| {
        for block in range {
            let start = block * DOT_BLOCK;
            let len = DOT_BLOCK.min(p.k - start);
            // SAFETY: the block is within the row of A and the column of B; `partial` has a place for each.
            unsafe {
                *to.add(block) = V::run(
                    #[inline(always)]
                    || dots::<V, 1, 1, 4>(p.a.from(0, start), p.b.from(start, 0), len)[0][0],
                )
            };
        }
    });
    par::for_ranges(blocks, 1, &|range| run.call(range));
    let sum = partial.iter().fold(V::Float::ZERO, |sum, &x| sum.plus(x));
    // SAFETY: row 0 is there.
    unsafe { put(p, 0, 0, sum) };
}

/// # Safety
/// As [`product`], for these rows; the columns of A are contiguous.
unsafe fn sum_columns<V: Vector>(p: &Product<V::Float>, rows: Range<usize>) {
    let mut sums = [V::Float::ZERO; CHUNK];
    for start in rows.clone().step_by(CHUNK) {
        let len = CHUNK.min(rows.end - start);
        // SAFETY: the rows are within A and C.
        unsafe {
            V::run(
                #[inline(always)]
                || add_columns::<V>(p, start, &mut sums[..len]),
            );
            for (i, sum) in sums[..len].iter_mut().enumerate() {
                put(p, start + i, 0, *sum);
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
