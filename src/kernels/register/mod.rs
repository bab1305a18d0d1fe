//! Registers of floats: what kernels that are written for each instruction set need of it, and nothing more.
//!
//! A type that implements [`Vector`] is a register of floats. Everything above is written once for all of
//! them; `Vector::run` is where the compiler is told the instruction set, and inlines the rest into it.

#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod plain;
#[cfg(target_arch = "x86_64")]
pub mod x86;

use super::matmul::Number;

/// Operations of [`Vector::apply`]: a sum,
pub const ADD: u8 = 0;
/// a product,
pub const MUL: u8 = 1;
/// `if a > b { a } else { b }` (where neither is NaN),
pub const MAX: u8 = 2;
/// `if a < b { a } else { b }` (where neither is NaN),
pub const MIN: u8 = 3;
/// the sum of the bits as whole numbers: registers of f64 do for int64, too.
pub const ADD_BITS: u8 = 4;

/// How many bytes ahead loops ask memory for elements that are far: one page, where what the processor guesses by itself ends.
pub const AHEAD: usize = 4096;

/// Asks for the memory at `at`, any address, to be in the first-level cache soon.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, for any address; every processor of the architecture has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast())
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// What a lane holds.
pub(crate) trait Float: Number + PartialOrd {
    /// The least number and the largest: infinities.
    const ENDS: (Self, Self);
    /// Whether it is no number.
    fn is_nan(self) -> bool;
    /// An operation.
    fn apply<const OPERATION: u8>(self, other: Self) -> Self;
    /// What leaves another number as it is in an operation.
    #[inline(always)]
    fn neutral<const OPERATION: u8>() -> Self {
        match OPERATION {
            ADD | ADD_BITS => Self::ZERO,
            MUL => Self::ONE,
            MAX => Self::ENDS.0,
            _ => Self::ENDS.1,
        }
    }
}

macro_rules! floats {
    ($($float:ident)+) => {$(
        impl Float for $float {
            const ENDS: (Self, Self) = ($float::NEG_INFINITY, $float::INFINITY);
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn apply<const OPERATION: u8>(self, other: Self) -> Self {
                match OPERATION {
                    ADD => self + other,
                    MUL => self * other,
                    MAX => if self > other { self } else { other },
                    ADD_BITS => $float::from_bits(self.to_bits().wrapping_add(other.to_bits())),
                    _ => if self < other { self } else { other },
                }
            }
        }
    )+};
}
floats!(f32 f64);

/// A register of [`Vector::LANES`] floats.
///
/// # Safety
/// `run` must enable the instruction set that the other functions use. All functions require a processor that
/// has it.
pub(crate) unsafe trait Vector: Copy {
    /// What one lane holds.
    type Float: Float;
    /// Which lanes a masked access touches.
    type Mask: Copy;
    /// A register of half as many lanes, which takes half the time on some processors; itself if there is none.
    type Half: Vector<Float = Self::Float>;

    /// Floats in a register.
    const LANES: usize;
    /// Side of the square that `transpose` turns.
    const SQUARE: usize;

    /// Calls `body` within a function compiled for this instruction set.
    unsafe fn run<R>(body: impl FnOnce() -> R) -> R;

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
    /// An operation in each lane.
    unsafe fn apply<const OPERATION: u8>(self, other: Self) -> Self;
    /// The lanes of `mask`, `other`'s elsewhere.
    unsafe fn select(mask: Self::Mask, this: Self, other: Self) -> Self;
    /// The lanes where one or the other is NaN.
    unsafe fn unordered(self, other: Self) -> Self::Mask;
    /// The lanes of one mask and the other.
    unsafe fn either(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Whether a mask has a lane.
    unsafe fn any(mask: Self::Mask) -> bool;
    /// `self * other + sum`, rounded once where the instruction set can.
    unsafe fn mul_add(self, other: Self, sum: Self) -> Self;
    /// All lanes, and those of half a register, the number at `x`.
    unsafe fn splat_both(x: *const Self::Float) -> (Self, Self::Half);
    /// All lanes joined by an operation, halves with halves.
    unsafe fn join<const OPERATION: u8>(self) -> Self::Float;

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

/// All of `lanes` joined by an operation, halves with halves.
#[inline(always)]
fn join_halves<const OPERATION: u8, T: Float, const N: usize>(mut lanes: [T; N]) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i].apply::<OPERATION>(lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}
