//! Registers in plain Rust: four floats that the compiler puts where it can.

use super::{Float, Vector, join_halves};

/// Four lanes without any particular instruction set; multiplies and adds in two roundings.
#[derive(Clone, Copy)]
pub(crate) struct Plain<T>([T; 4]);

macro_rules! plain {
    ($float:ty) => {
        // SAFETY: uses no instruction set beyond that of the whole build.
        unsafe impl Vector for Plain<$float> {
            type Float = $float;
            type Mask = usize;
            type Half = Self;
            const LANES: usize = 4;
            const SQUARE: usize = 4;

            #[inline(always)]
            unsafe fn run<R>(body: impl FnOnce() -> R) -> R {
                body()
            }

            #[inline(always)]
            unsafe fn zero() -> Self {
                Plain([0.0; 4])
            }
            #[inline(always)]
            unsafe fn splat(x: $float) -> Self {
                Plain([x; 4])
            }
            #[inline(always)]
            unsafe fn mask(lanes: usize) -> usize {
                lanes
            }
            #[inline(always)]
            unsafe fn load(from: *const $float) -> Self {
                // SAFETY: the caller gives four floats; arrays have the alignment of their elements.
                Plain(unsafe { *from.cast::<[$float; 4]>() })
            }
            #[inline(always)]
            unsafe fn load_masked(from: *const $float, mask: usize) -> Self {
                let mut lanes = [0.0; 4];
                for (i, lane) in lanes.iter_mut().enumerate().take(mask) {
                    // SAFETY: the caller gives `mask` floats.
                    *lane = unsafe { *from.add(i) };
                }
                Plain(lanes)
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $float) {
                // SAFETY: as in `load`.
                unsafe { *to.cast::<[$float; 4]>() = self.0 };
            }
            #[inline(always)]
            unsafe fn store_masked(self, to: *mut $float, mask: usize) {
                for (i, &lane) in self.0.iter().enumerate().take(mask) {
                    // SAFETY: the caller gives `mask` floats.
                    unsafe { *to.add(i) = lane };
                }
            }
            #[inline(always)]
            unsafe fn apply<const OPERATION: u8>(self, other: Self) -> Self {
                Plain(std::array::from_fn(|i| self.0[i].apply::<OPERATION>(other.0[i])))
            }
            #[inline(always)]
            unsafe fn select(mask: usize, this: Self, other: Self) -> Self {
                Plain(std::array::from_fn(|i| if i < mask { this.0[i] } else { other.0[i] }))
            }
            #[inline(always)]
            unsafe fn unordered(self, other: Self) -> usize {
                usize::from((0..4).any(|i| self.0[i].is_nan() || other.0[i].is_nan()))
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
                Plain(std::array::from_fn(|i| self.0[i] * other.0[i] + sum.0[i]))
            }
            #[inline(always)]
            unsafe fn splat_both(x: *const $float) -> (Self, Self) {
                // SAFETY: the caller gives one float.
                let all = unsafe { Self::splat(*x) };
                (all, all)
            }
            #[inline(always)]
            unsafe fn join<const OPERATION: u8>(self) -> $float {
                join_halves::<OPERATION, _, _>(self.0)
            }
        }
    };
}

plain!(f32);
plain!(f64);
