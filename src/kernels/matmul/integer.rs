//! Products of integers, with arithmetic that wraps around, and of complex numbers: plain loops in an order that reads memory
//! forwards.

use super::{Gemm, Number, PARALLEL_FLOPS, Product};
use crate::kernels::par;
use crate::kernels::simd::Isa;
use std::ops::Range;

macro_rules! integers {
    ($($int:ty)+) => {$(
        impl Number for $int {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
        }

        impl Gemm for $int {
            unsafe fn gemm_with(_: Isa, p: &Product<Self>) {
                // SAFETY: the caller's promise.
                unsafe { product(p) }
            }
        }
    )+};
}

integers!(i8 i16 i32 i64 u8);

macro_rules! complex {
    ($($complex:ty)+) => {$(
        impl Number for $complex {
            const ZERO: Self = <$complex>::new(0.0, 0.0);
            const ONE: Self = <$complex>::new(1.0, 0.0);
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self * other
            }
        }

        impl Gemm for $complex {
            unsafe fn gemm_with(_: Isa, p: &Product<Self>) {
                // SAFETY: the caller's promise.
                unsafe { product(p) }
            }
        }
    )+};
}

complex!(num_complex::Complex<f32> num_complex::Complex<f64>);

/// # Safety
/// As [`super::gemm`].
unsafe fn product<T: Number>(p: &Product<T>) {
    // SAFETY: the caller's promise, for all of C.
    unsafe { p.scale_c() };
    if p.alpha == T::ZERO || p.m == 0 || p.n == 0 || p.k == 0 {
        return;
    }
    // The inner loop runs along the rows of B and C: transposed, if they are stored by columns.
    let turned = p.transposed();
    let p = if p.c.col_stride != 1 && p.c.row_stride == 1 { &turned } else { p };
    // SAFETY: the ranges are within 0..m, and disjoint.
    let rows = |range| unsafe { add_rows(p, range) };
    if p.flops() < PARALLEL_FLOPS { rows(0..p.m) } else { par::for_ranges(p.m, 1, &rows) }
}

/// Adds alpha A B to some rows of C.
///
/// # Safety
/// As [`super::gemm`], for these rows.
unsafe fn add_rows<T: Number>(p: &Product<T>, rows: Range<usize>) {
    for i in rows {
        for k in 0..p.k {
            // SAFETY: (i, k) is within A.
            let x = p.alpha.times(unsafe { *p.a.offset(i, k) });
            let (b, c) = (p.b.offset(k, 0), p.c.offset(i, 0));
            if p.b.col_stride == 1 && p.c.col_stride == 1 {
                // SAFETY: row k of B and row i of C, n elements each and contiguous; C overlaps nothing.
                let (b, c) = unsafe { (std::slice::from_raw_parts(b, p.n), std::slice::from_raw_parts_mut(c, p.n)) };
                c.iter_mut().zip(b).for_each(|(c, b)| *c = c.plus(x.times(*b)));
                continue;
            }
            for j in 0..p.n {
                // SAFETY: (k, j) is within B and (i, j) within C.
                unsafe { *p.c.offset(i, j) = (*p.c.offset(i, j)).plus(x.times(*p.b.offset(k, j))) };
            }
        }
    }
}
