//! The innermost part of the product: one tile of C, held in registers while k runs.
//!
//! A tile has R rows of N registers each. Kernels are compiled for every R and N up to the largest that the
//! instruction set has registers for, so that nothing is wasted at the lower edge of C; at its right edge, the last
//! register of each row is masked, or half a register where that will do ([`last`]).

use super::Number;
use crate::kernels::register::{Vector, prefetch};

/// One tile to compute: C = alpha A B + beta C, with A of R rows, and B and C of V registers a row.
///
/// Rows of B and of C are contiguous; A may have any strides.
pub(super) struct Tile<'a, T> {
    /// How many columns of A (rows of B) there are.
    pub k: usize,
    /// Element (0, 0) of A.
    pub a: *const T,
    /// From one column of A to the next.
    pub a_stride: isize,
    /// From row 0 of A to each row, as [`row_offsets`] gives it.
    pub a_rows: &'a RowOffsets,
    pub b: *const T,
    /// From one row of B to the next.
    pub b_stride: isize,
    pub c: *mut T,
    /// From one row of C to the next.
    pub c_stride: isize,
    /// Lanes in use of the last register in a row, 1 to all; a kernel with a whole last register takes it as all.
    pub last_lanes: usize,
    pub alpha: T,
    /// If 0, C is not read.
    pub beta: T,
}

/// Where rows of A start, relative to the first: read from memory and not computed in the kernel, because there the
/// compiler would derive each row's address from the previous row's, in a chain of additions longer than the
/// multiply-adds take.
pub(super) type RowOffsets = [isize; 8];

/// The offsets of rows `row_stride` apart.
pub(super) fn row_offsets(row_stride: isize) -> RowOffsets {
    [0, 1, 2, 3, 4, 5, 6, 7].map(|i: isize| i.wrapping_mul(row_stride))
}

/// What the last register in a row of a tile is: all of its lanes are in use,
pub(super) const WHOLE: u8 = 0;
/// or it is masked,
pub(super) const MASKED: u8 = 1;
/// or it is half a register, masked.
pub(super) const HALF: u8 = 2;

/// Which of these will do for so many lanes in use.
#[inline]
pub(super) fn last<V: Vector>(lanes: usize) -> u8 {
    match lanes {
        _ if lanes == V::LANES => WHOLE,
        _ if lanes <= V::Half::LANES && V::Half::LANES < V::LANES => HALF,
        _ => MASKED,
    }
}

/// A tile so deep is worth a request for its part of C, which is far away by then, before it is computed.
const DEEP: usize = 128;

/// A compiled microkernel.
///
/// # Safety
/// The processor must have the kernel's instruction set, and the memory described by the tile must be valid for
/// reading, that of C for writing. Nothing beyond the last lane in use is touched.
pub(super) type TileKernel<T> = unsafe fn(&Tile<'_, T>);

/// The microkernel for R rows of N registers.
///
/// # Safety
/// As [`TileKernel`].
pub(super) unsafe fn tile<V: Vector, const R: usize, const N: usize, const LAST: u8>(t: &Tile<'_, V::Float>) {
    // SAFETY: the contract of this function is that of `run` and of the body.
    unsafe {
        V::run(
            #[inline(always)]
            || tile_body::<V, R, N, LAST>(t),
        )
    }
}

/// # Safety
/// As [`TileKernel`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // through iterators, the compiler keeps the sums in memory
unsafe fn tile_body<V: Vector, const R: usize, const N: usize, const LAST: u8>(t: &Tile<'_, V::Float>) {
    // SAFETY: loads stay within the k rows of A and B, stores within the R rows of C; each row is read and written in
    // N registers, of which the last is limited to the lanes in use.
    unsafe {
        let masks = (V::mask(t.last_lanes), V::Half::mask(t.last_lanes.min(V::Half::LANES)));
        let mut sums = [Row::<V, N, LAST>::zero(); R];
        let (mut a, mut b) = (t.a, t.b);
        if t.k >= DEEP {
            for i in 0..R {
                for j in 0..N {
                    prefetch(t.c.wrapping_offset(i as isize * t.c_stride).wrapping_add(j * V::LANES));
                }
            }
        }
        for _ in 0..t.k {
            let row = Row::<V, N, LAST>::load(b, masks);
            for i in 0..R {
                let x = a.wrapping_offset(t.a_rows[i]);
                let x = if LAST == HALF { V::splat_both(x) } else { (V::splat(*x), V::Half::zero()) };
                sums[i] = row.mul_add(x, sums[i]);
            }
            a = a.wrapping_offset(t.a_stride);
            b = b.wrapping_offset(t.b_stride);
        }
        let [alpha, beta] = [t.alpha, t.beta].map(|x| (V::splat(x), V::Half::splat(x)));
        for i in 0..R {
            let c = t.c.wrapping_offset(i as isize * t.c_stride);
            let mut row = sums[i];
            if t.alpha != V::Float::ONE {
                row = row.mul_add(alpha, Row::zero());
            }
            if t.beta != V::Float::ZERO {
                row = Row::load(c, masks).mul_add(beta, row);
            }
            row.store(c, masks);
        }
    }
}

/// N registers of consecutive elements; if LAST is [`HALF`], the last one is in `half`.
#[derive(Clone, Copy)]
struct Row<V: Vector, const N: usize, const LAST: u8> {
    whole: [V; N],
    half: V::Half,
}

/// For the last register.
type Masks<V> = (<V as Vector>::Mask, <<V as Vector>::Half as Vector>::Mask);

#[allow(clippy::needless_range_loop)] // as above
impl<V: Vector, const N: usize, const LAST: u8> Row<V, N, LAST> {
    /// How many registers are in use as a whole.
    const WHOLE: usize = if LAST == WHOLE { N } else { N - 1 };

    /// # Safety
    /// The processor must have the instruction set, here and below.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Row { whole: [V::zero(); N], half: V::Half::zero() } }
    }

    /// # Safety
    /// The memory must be valid.
    #[inline(always)]
    unsafe fn load(from: *const V::Float, (mask, half): Masks<V>) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let mut row = Self::zero();
            for j in 0..Self::WHOLE {
                row.whole[j] = V::load(from.wrapping_add(j * V::LANES));
            }
            let last = from.wrapping_add((N - 1) * V::LANES);
            match LAST {
                MASKED => row.whole[N - 1] = V::load_masked(last, mask),
                HALF => row.half = V::Half::load_masked(last, half),
                _ => {}
            }
            row
        }
    }

    /// `self * x + sum`.
    #[inline(always)]
    unsafe fn mul_add(self, (x, half): (V, V::Half), mut sum: Self) -> Self {
        // SAFETY: as `zero`.
        unsafe {
            for j in 0..if LAST == HALF { N - 1 } else { N } {
                sum.whole[j] = x.mul_add(self.whole[j], sum.whole[j]);
            }
            if LAST == HALF {
                sum.half = half.mul_add(self.half, sum.half);
            }
            sum
        }
    }

    /// # Safety
    /// The memory must be valid.
    #[inline(always)]
    unsafe fn store(self, to: *mut V::Float, (mask, half): Masks<V>) {
        // SAFETY: the caller's promise.
        unsafe {
            for j in 0..Self::WHOLE {
                self.whole[j].store(to.wrapping_add(j * V::LANES));
            }
            let last = to.wrapping_add((N - 1) * V::LANES);
            match LAST {
                MASKED => self.whole[N - 1].store_masked(last, mask),
                HALF => self.half.store_masked(last, half),
                _ => {}
            }
        }
    }
}
