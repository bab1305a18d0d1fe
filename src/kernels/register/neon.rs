//! Registers of 64-bit Arm: Advanced SIMD.

use super::{ADD, ADD_BITS, MAX, MUL, Vector, join_halves};
use std::arch::aarch64::*;

/// A 128-bit register of floats.
#[derive(Clone, Copy)]
pub(crate) struct Neon<R>(R);

#[target_feature(enable = "neon")]
unsafe fn run_neon<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Implements [`Vector`] for one register type; the intrinsics are named in the order of its functions.
macro_rules! vector {
    ($register:ty, $float:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, [$add:ident $mul:ident $max:ident $min:ident],
     $add_bits:expr, $mul_add:ident) => {
        // SAFETY: `run_neon` enables the set that these intrinsics belong to.
        unsafe impl Vector for Neon<$register> {
            type Float = $float;
            type Mask = usize;
            type Half = Self;
            const LANES: usize = $lanes;
            const SQUARE: usize = 4;

            #[inline(always)]
            unsafe fn run<R>(body: impl FnOnce() -> R) -> R {
                // SAFETY: the processor has the set: the trait's contract.
                unsafe { run_neon(body) }
            }

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
            unsafe fn apply<const OPERATION: u8>(self, other: Self) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe {
                    match OPERATION {
                        ADD => $add(self.0, other.0),
                        MUL => $mul(self.0, other.0),
                        MAX => $max(self.0, other.0),
                        ADD_BITS => $add_bits(self.0, other.0),
                        _ => $min(self.0, other.0),
                    }
                })
            }
            #[inline(always)]
            unsafe fn select(mask: usize, this: Self, other: Self) -> Self {
                let (mut lanes, mut others) = ([0.0; $lanes], [0.0; $lanes]);
                // SAFETY: there is room for all.
                unsafe {
                    $store(lanes.as_mut_ptr(), this.0);
                    $store(others.as_mut_ptr(), other.0);
                    others[..mask].copy_from_slice(&lanes[..mask]);
                    Self($load(others.as_ptr()))
                }
            }
            #[inline(always)]
            unsafe fn unordered(self, other: Self) -> usize {
                let mut lanes = [0.0; $lanes];
                // SAFETY: there is room for all. The maximum is NaN if one of the two is.
                unsafe { $store(lanes.as_mut_ptr(), $max(self.0, other.0)) };
                usize::from(lanes.iter().any(|x| x.is_nan()))
            }
            #[inline(always)]
            unsafe fn either(a: usize, b: usize) -> usize {
                a | b
            }
            #[inline(always)]
            unsafe fn any(mask: usize) -> bool {
                mask != 0
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
            unsafe fn join<const OPERATION: u8>(self) -> $float {
                let mut lanes = [0.0; $lanes];
                // SAFETY: `lanes` has room for all.
                unsafe { $store(lanes.as_mut_ptr(), self.0) };
                join_halves::<OPERATION, _, _>(lanes)
            }
        }
    };
}

vector!(float32x4_t, f32, 4, vdupq_n_f32, vld1q_f32, vst1q_f32, [vaddq_f32 vmulq_f32 vmaxq_f32 vminq_f32],
    |a, b| vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b))), vfmaq_f32);
vector!(float64x2_t, f64, 2, vdupq_n_f64, vld1q_f64, vst1q_f64, [vaddq_f64 vmulq_f64 vmaxq_f64 vminq_f64],
    |a, b| vreinterpretq_f64_s64(vaddq_s64(vreinterpretq_s64_f64(a), vreinterpretq_s64_f64(b))), vfmaq_f64);
