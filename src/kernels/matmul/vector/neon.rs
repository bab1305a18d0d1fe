//! Registers of 64-bit Arm: Advanced SIMD.

use super::super::microkernel::{TileKernel, tile_kernels};
use super::{Vector, sum_halves};
use std::arch::aarch64::*;

/// A 128-bit register of floats.
#[derive(Clone, Copy)]
pub(in super::super) struct Neon<R>(R);

#[target_feature(enable = "neon")]
unsafe fn run_neon<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Implements [`Vector`] for one register type; the intrinsics are named in the order of its functions.
macro_rules! vector {
    ($register:ty, $float:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $add:ident,
     $mul_add:ident) => {
        // SAFETY: `run_neon` enables the set that these intrinsics belong to.
        unsafe impl Vector for Neon<$register> {
            type Float = $float;
            type Mask = usize;
            type Half = Self;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = 8;
            const TILE_VECTORS: usize = 3;
            const SQUARE: usize = 4;

            #[inline(always)]
            unsafe fn run<R>(body: impl FnOnce() -> R) -> R {
                // SAFETY: the processor has the set: the trait's contract.
                unsafe { run_neon(body) }
            }

            tile_kernels!(Neon<$register>, rows 1 2 3 4 5 6 7 8, vectors [1 2 3]);

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: as above, and so for all below; memory is what the caller gives.
                Self(unsafe { $splat(0.0) })
            }
            #[inline(always)]
            unsafe fn splat(x: $float) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            unsafe fn mask(lanes: usize) -> usize {
                lanes
            }
            #[inline(always)]
            unsafe fn load(from: *const $float) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn load_masked(from: *const $float, mask: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                for (i, lane) in lanes.iter_mut().enumerate().take(mask) {
                    // SAFETY: the caller gives `mask` floats.
                    *lane = unsafe { *from.add(i) };
                }
                // SAFETY: as `zero`.
                Self(unsafe { $load(lanes.as_ptr()) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $float) {
                // SAFETY: as `zero`.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn store_masked(self, to: *mut $float, mask: usize) {
                let mut lanes = [0.0; $lanes];
                // SAFETY: `lanes` has room for all.
                unsafe { $store(lanes.as_mut_ptr(), self.0) };
                for (i, &lane) in lanes.iter().enumerate().take(mask) {
                    // SAFETY: the caller gives `mask` floats.
                    unsafe { *to.add(i) = lane };
                }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul_add(self, other: Self, sum: Self) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $mul_add(sum.0, self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn splat_both(x: *const $float) -> (Self, Self) {
                // SAFETY: the caller gives one float.
                let all = unsafe { Self::splat(*x) };
                (all, all)
            }
            #[inline(always)]
            unsafe fn sum(self) -> $float {
                let mut lanes = [0.0; $lanes];
                // SAFETY: `lanes` has room for all.
                unsafe { $store(lanes.as_mut_ptr(), self.0) };
                sum_halves(lanes)
            }
        }
    };
}

vector!(float32x4_t, f32, 4, vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vfmaq_f32);
vector!(float64x2_t, f64, 2, vdupq_n_f64, vld1q_f64, vst1q_f64, vaddq_f64, vfmaq_f64);
