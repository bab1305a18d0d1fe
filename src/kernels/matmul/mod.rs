//! Matrix product: C = alpha A B + beta C, for matrices of any strides.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the matrices, [`gemm`] and [`gemm_batched`] |
//! | `float.rs` | the cases of a float product: empty, vector, general; which way round to compute it |
//! | `blocking.rs` | the loops of the general product, and its block sizes |
//! | `pack.rs` | copying a block of B so that its rows are contiguous |
//! | `microkernel.rs` | one tile of C, held in registers |
//! | `tiles.rs` | which microkernels there are for each kind of [register](super::register) |
//! | `gemv.rs` | matrix times vector, dot product |
//! | `integer.rs` | products of integers and of complex numbers, plain loops |
//!
//! The elements of C are sums over k in an order that depends on the shape, the strides and the instruction
//! set only: the number of threads does not change a bit of the result. It knows nothing of tensors.
//!
//! The general product goes back to Goto and van de Geijn, "Anatomy of high-performance matrix
//! multiplication" (2008), with A and B in exchanged roles because C is stored by rows. Its error is bounded
//! as that of any order of summation: |C - AB| <= k u |A||B| + O(u^2).

mod blocking;
mod float;
mod gemv;
mod integer;
mod microkernel;
mod pack;
#[cfg(test)]
mod tests;
mod tiles;

pub(in crate::kernels) use pack::with_buffer;

use crate::kernels::par;
use crate::kernels::simd::{self, Isa};
use std::ops::Range;

/// Floating-point operations from which a product is worth several threads.
const PARALLEL_FLOPS: f64 = 4e5;

/// A matrix that is read: element (i, j) is at `ptr + i row_stride + j col_stride`. Strides count elements
/// and may be negative or zero.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<T> {
    /// Element (0, 0).
    pub ptr: *const T,
    /// From one row to the next.
    pub row_stride: isize,
    /// From one column to the next.
    pub col_stride: isize,
}

/// A matrix that is written, laid out as [`MatRef`]; no two elements may share memory.
#[derive(Clone, Copy, Debug)]
pub struct MatMut<T> {
    /// Element (0, 0).
    pub ptr: *mut T,
    /// From one row to the next.
    pub row_stride: isize,
    /// From one column to the next.
    pub col_stride: isize,
}

/// A product to compute: C = alpha A B + beta C, with A of shape (m, k), B of (k, n), C of (m, n).
#[derive(Clone, Copy, Debug)]
pub struct Product<T> {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Factor of the product. If 0, A and B are not read.
    pub alpha: T,
    /// Left factor.
    pub a: MatRef<T>,
    /// Right factor.
    pub b: MatRef<T>,
    /// Factor of the old C. If 0, C is not read: it may be uninitialised.
    pub beta: T,
    /// Result.
    pub c: MatMut<T>,
}

// SAFETY: these are addresses and numbers; whoever reads or writes through them does so in an unsafe block and
// answers for the threads taking part.
unsafe impl<T: Send + Sync> Sync for Product<T> {}

impl<T> MatRef<T> {
    fn offset(&self, row: usize, col: usize) -> *const T {
        self.ptr.wrapping_offset(row as isize * self.row_stride + col as isize * self.col_stride)
    }

    /// The part that starts at (`row`, `col`).
    fn from(self, row: usize, col: usize) -> Self {
        MatRef { ptr: self.offset(row, col), ..self }
    }

    fn transposed(self) -> Self {
        MatRef { ptr: self.ptr, row_stride: self.col_stride, col_stride: self.row_stride }
    }
}

impl<T> MatMut<T> {
    fn offset(&self, row: usize, col: usize) -> *mut T {
        self.ptr.wrapping_offset(row as isize * self.row_stride + col as isize * self.col_stride)
    }

    fn from(self, row: usize, col: usize) -> Self {
        MatMut { ptr: self.offset(row, col), ..self }
    }

    fn transposed(self) -> Self {
        MatMut { ptr: self.ptr, row_stride: self.col_stride, col_stride: self.row_stride }
    }
}

impl<T: Number> Product<T> {
    /// The same product read as C' = alpha B' A' + beta C'.
    fn transposed(&self) -> Self {
        let Product { m, n, a, b, c, .. } = *self;
        Product { m: n, n: m, a: b.transposed(), b: a.transposed(), c: c.transposed(), ..*self }
    }

    fn flops(&self) -> f64 {
        2.0 * self.m as f64 * self.k as f64 * self.n as f64
    }

    /// C = beta C, which is what is left of the product if k or alpha is 0.
    ///
    /// # Safety
    /// As [`gemm`].
    unsafe fn scale_c(&self) {
        if self.beta == T::ONE {
            return;
        }
        for i in 0..self.m {
            for j in 0..self.n {
                let c = self.c.offset(i, j);
                // SAFETY: (i, j) is within C, which the caller lets us write; it is initialised if beta is not 0.
                unsafe { *c = if self.beta == T::ZERO { T::ZERO } else { self.beta.times(*c) } };
            }
        }
    }
}

/// The arithmetic a product needs; that of integers wraps around.
pub trait Number: Copy + PartialEq + Send + Sync + std::fmt::Debug + 'static {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// `self + other`.
    fn plus(self, other: Self) -> Self;
    /// `self * other`.
    fn times(self, other: Self) -> Self;
}

/// A type of which matrices can be multiplied: the floats, and integers (whose arithmetic wraps around).
pub trait Gemm: Number {
    /// [`gemm`] with a given instruction set, which this processor must have. (The other types ignore it.)
    ///
    /// # Safety
    /// As [`gemm`]; `isa.is_available()`.
    unsafe fn gemm_with(isa: Isa, p: &Product<Self>);
}

/// Computes `p`, on several threads if it is large enough.
///
/// # Safety
/// Every element of A, B and C must be within memory valid for reading (C: writing) as `T`, A and B
/// initialised, C also unless beta is 0; no element of C may overlap another, or A, or B; and nothing else may
/// write to A or B, or use C, until this returns.
pub unsafe fn gemm<T: Gemm>(p: Product<T>) {
    // SAFETY: the caller's promise; `isa` gives what the processor has.
    unsafe { T::gemm_with(simd::isa(), &p) }
}

/// Computes `p` and then, `batch` products in all, the same with A, B and C moved on by `a_step`, `b_step` and
/// `c_step` elements each time (a step may be 0 for A and B).
///
/// # Safety
/// As [`gemm`] for each of the products; no two of them may write to the same memory.
pub unsafe fn gemm_batched<T: Gemm>(p: Product<T>, batch: usize, a_step: isize, b_step: isize, c_step: isize) {
    let isa = simd::isa();
    let in_steps = |first: usize, step: isize, row_stride: isize| step == first as isize * row_stride;
    if b_step == 0 && in_steps(p.m, a_step, p.a.row_stride) && in_steps(p.m, c_step, p.c.row_stride) && batch > 0 {
        // The matrices A lie one below the other, and so do the C: it is one product.
        let all = Product { m: p.m * batch, ..p };
        // SAFETY: the rows of `all` are those of the products of the batch.
        return unsafe { T::gemm_with(isa, &all) };
    }
    let run = |range: Range<usize>| {
        for i in range {
            let mut one = p;
            one.a.ptr = p.a.ptr.wrapping_offset(i as isize * a_step);
            one.b.ptr = p.b.ptr.wrapping_offset(i as isize * b_step);
            one.c.ptr = p.c.ptr.wrapping_offset(i as isize * c_step);
            // SAFETY: the caller's promise for product `i`.
            unsafe { T::gemm_with(isa, &one) };
        }
    };
    // With many products each is left to one thread: a loop inside this one then runs serially.
    if batch >= 2 * par::num_threads() || p.flops() < PARALLEL_FLOPS {
        let shared = Shared(run);
        let grain = (PARALLEL_FLOPS / 4.0 / p.flops().max(1.0)) as usize;
        par::for_ranges(batch, grain.max(1), &|range| shared.call(range));
    } else {
        run(0..batch);
    }
}

/// A closure that several threads may call although it holds addresses.
struct Shared<F>(F);

// SAFETY: made only of closures whose addresses are used under the promise of `gemm`: threads write to disjoint
// parts of C and only read A and B.
unsafe impl<F> Sync for Shared<F> {}

impl<F: Fn(Range<usize>)> Shared<F> {
    fn call(&self, range: Range<usize>) {
        (self.0)(range);
    }
}
