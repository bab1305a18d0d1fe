//! Registers: what the product needs of an instruction set, and nothing more.
//!
//! A type that implements [`Vector`] is a register of floats. Everything above is written once for all of
//! them; `Vector::run` is where the compiler is told the instruction set, and inlines the rest into it.

#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod plain;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86;

use super::Number;
use super::microkernel::TileKernel;

/// A register of [`Vector::LANES`] floats.
///
/// # Safety
/// `run` must enable the instruction set that the other functions use. All functions require a processor that
/// has it.
pub(super) unsafe trait Vector: Copy {
    /// What one lane holds.
    type Float: Number;
    /// Which lanes a masked access touches.
    type Mask: Copy;
    /// A register of half as many lanes, which takes half the time on some processors; itself if there is none.
    type Half: Vector<Float = Self::Float>;

    /// Floats in a register.
    const LANES: usize;
    /// Rows of the largest tile: with [`Vector::TILE_VECTORS`], as many registers as there are, but a few.
    const TILE_ROWS: usize;
    /// Registers that a row of the largest tile takes.
    const TILE_VECTORS: usize;
    /// Side of the square that `transpose` turns.
    const SQUARE: usize;

    /// Calls `body` within a function compiled for this instruction set.
    unsafe fn run<R>(body: impl FnOnce() -> R) -> R;

    /// The kernel for tiles of `rows` x `vectors` registers, of which the last is what [`last`](super::microkernel::last) says.
    fn tile_kernel(rows: usize, vectors: usize, last: u8) -> TileKernel<Self::Float>;

    /// All lanes 0.
    unsafe fn zero() -> Self;
    /// All lanes `x`.
    unsafe fn splat(x: Self::Float) -> Self;
    /// The mask of the first `lanes` lanes, 1 to `LANES`.
    unsafe fn mask(lanes: usize) -> Self::Mask;
    /// The `LANES` floats at `from`.
    unsafe fn load(from: *const Self::Float) -> Self;
    /// The lanes of `mask`, the others 0: memory there is not touched.
    unsafe fn load_masked(from: *const Self::Float, mask: Self::Mask) -> Self;
    /// Writes all lanes.
    unsafe fn store(self, to: *mut Self::Float);
    /// Writes the lanes of `mask`.
    unsafe fn store_masked(self, to: *mut Self::Float, mask: Self::Mask);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self * other + sum`, rounded once where the instruction set can.
    unsafe fn mul_add(self, other: Self, sum: Self) -> Self;
    /// All lanes, and those of half a register, the number at `x`.
    unsafe fn splat_both(x: *const Self::Float) -> (Self, Self::Half);
    /// Asks for the memory at `at`, any address, to be in the first-level cache soon.
    #[inline(always)]
    fn prefetch(at: *const Self::Float) {
        let _ = at;
    }
    /// The sum of the lanes, halves added to halves.
    unsafe fn sum(self) -> Self::Float;

    /// Writes row i of the transposed square to `to + i to_stride`; row i of the square is at
    /// `from + i from_stride`.
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Float, from_stride: isize, to: *mut Self::Float, to_stride: usize) {
        for i in 0..Self::SQUARE {
            for j in 0..Self::SQUARE {
                // SAFETY: both within the squares the caller gives.
                unsafe { *to.add(i * to_stride + j) = *from.offset(j as isize * from_stride).add(i) };
            }
        }
    }
}

/// The sum of `lanes`, halves added to halves.
#[inline(always)]
fn sum_halves<T: Number, const N: usize>(mut lanes: [T; N]) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i].plus(lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}
