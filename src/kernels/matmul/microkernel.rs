//! The innermost part of the product: one tile of C, held in registers while k runs.
//!
//! A tile has R rows of V registers each. Kernels are compiled for every R and V up to the largest that the
//! instruction set has registers for, so that nothing is wasted at the lower edge of C; at its right edge, the last
//! register of each row is masked.

use super::Number;
use super::vector::Vector;

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
    /// Lanes in use of the last register in a row, 1 to all; a kernel that is not masked takes it as all.
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

/// A compiled microkernel.
///
/// # Safety
/// The processor must have the kernel's instruction set, and the memory described by the tile must be valid for
/// reading, that of C for writing. Nothing beyond the last lane in use is touched.
pub(super) type TileKernel<T> = unsafe fn(&Tile<'_, T>);

/// Implements `Vector::tile_kernel` for the given tile sizes.
macro_rules! tile_kernels {
    ($vector:ty, rows $($rows:literal)+, vectors $vectors:tt) => {
        #[inline]
        fn tile_kernel(rows: usize, vectors: usize, masked: bool) -> TileKernel<Self::Float> {
            use $crate::kernels::matmul::microkernel::tile_row;
            type Row = &'static [[TileKernel<<$vector as Vector>::Float>; 2]];
            static KERNELS: &[Row] = &[$(tile_row!($vector, $rows, $vectors)),+];
            KERNELS[rows - 1][vectors - 1][usize::from(masked)]
        }
    };
}

/// The kernels of one row count.
macro_rules! tile_row {
    ($vector:ty, $rows:literal, [$($vectors:literal)+]) => {{
        use $crate::kernels::matmul::microkernel::tile;
        &[$([tile::<$vector, $rows, $vectors, false> as TileKernel<_>, tile::<$vector, $rows, $vectors, true>]),+]
    }};
}

pub(super) use {tile_kernels, tile_row};

/// The microkernel for R rows of N registers.
///
/// # Safety
/// As [`TileKernel`].
pub(super) unsafe fn tile<V: Vector, const R: usize, const N: usize, const MASKED: bool>(t: &Tile<'_, V::Float>) {
    // SAFETY: the contract of this function is that of `run` and of the body.
    unsafe {
        V::run(
            #[inline(always)]
            || tile_body::<V, R, N, MASKED>(t),
        )
    }
}

/// # Safety
/// As [`TileKernel`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // through iterators, the compiler keeps the sums in memory
unsafe fn tile_body<V: Vector, const R: usize, const N: usize, const MASKED: bool>(t: &Tile<'_, V::Float>) {
    // SAFETY: loads stay within the k rows of A and B, stores within the R rows of C; each row is read and written in
    // N registers, of which the last is masked to the lanes in use.
    unsafe {
        let mask = V::mask(t.last_lanes);
        let mut sums = [[V::zero(); N]; R];
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.k {
            let row = load_row::<V, N, MASKED>(b, mask);
            for i in 0..R {
                let x = V::splat(*a.wrapping_offset(t.a_rows[i]));
                for j in 0..N {
                    sums[i][j] = x.mul_add(row[j], sums[i][j]);
                }
            }
            a = a.wrapping_offset(t.a_stride);
            b = b.wrapping_offset(t.b_stride);
        }
        let (alpha, beta) = (V::splat(t.alpha), V::splat(t.beta));
        for i in 0..R {
            let c = t.c.wrapping_offset(i as isize * t.c_stride);
            let mut row = sums[i];
            if t.alpha != V::Float::ONE {
                for j in 0..N {
                    row[j] = row[j].mul(alpha);
                }
            }
            if t.beta != V::Float::ZERO {
                let old = load_row::<V, N, MASKED>(c, mask);
                for j in 0..N {
                    row[j] = old[j].mul_add(beta, row[j]);
                }
            }
            for j in 0..N {
                let to = c.wrapping_add(j * V::LANES);
                if MASKED && j == N - 1 { row[j].store_masked(to, mask) } else { row[j].store(to) }
            }
        }
    }
}

/// Loads N registers from consecutive memory, the last one masked if `MASKED`.
///
/// # Safety
/// The memory must be valid, and the processor have the instruction set.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
unsafe fn load_row<V: Vector, const N: usize, const MASKED: bool>(from: *const V::Float, mask: V::Mask) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [V::zero(); N];
        for j in 0..N {
            let from = from.wrapping_add(j * V::LANES);
            row[j] = if MASKED && j == N - 1 { V::load_masked(from, mask) } else { V::load(from) };
        }
        row
    }
}
