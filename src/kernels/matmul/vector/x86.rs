//! Registers of x86-64: AVX2 with FMA, and AVX-512.

use super::super::microkernel::{TileKernel, tile_kernels};
use super::{Vector, sum_halves};
use std::arch::asm;
use std::arch::x86_64::*;

/// A 256-bit register of floats `T`.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx2<R>(R);

/// A 512-bit register of floats `T`.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx512<R>(R);

#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
unsafe fn run_avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Implements [`Vector`] for one register type; the intrinsics are named in the order of its functions.
macro_rules! vector {
    ($vector:ty, $float:ty, $lanes:literal, half $half:ty: $splat_both:expr, $mask:ty, $run:ident, rows $rows:literal: $($row:literal)+,
     vectors $vectors:literal: $list:tt, $zero:ident, $splat:ident, $make_mask:expr, $load:ident, $load_masked:expr,
     $store:ident, $store_masked:expr, $add:ident, $mul_add:ident, $transpose:ident $square:literal) => {
        // SAFETY: `$run` enables the sets that these intrinsics belong to.
        unsafe impl Vector for $vector {
            type Float = $float;
            type Mask = $mask;
            type Half = $half;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = $rows;
            const TILE_VECTORS: usize = $vectors;
            const SQUARE: usize = $square;

            #[inline(always)]
            unsafe fn run<R>(body: impl FnOnce() -> R) -> R {
                // SAFETY: the processor has the set: the trait's contract.
                unsafe { $run(body) }
            }

            tile_kernels!($vector, rows $($row)+, vectors $list);

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: as above, and so for all below; memory is what the caller gives.
                Self(unsafe { $zero() })
            }
            #[inline(always)]
            unsafe fn splat(x: $float) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            unsafe fn mask(lanes: usize) -> $mask {
                let make: unsafe fn(usize) -> $mask = $make_mask;
                // SAFETY: as `zero`.
                unsafe { make(lanes) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $float) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn load_masked(from: *const $float, mask: $mask) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $load_masked(mask, from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $float) {
                // SAFETY: as `zero`.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn store_masked(self, to: *mut $float, mask: $mask) {
                // SAFETY: as `zero`.
                unsafe { $store_masked(to, mask, self.0) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul_add(self, other: Self, sum: Self) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $mul_add(self.0, other.0, sum.0) })
            }
            #[inline(always)]
            unsafe fn splat_both(x: *const $float) -> (Self, $half) {
                let splat: unsafe fn(*const $float) -> (Self, $half) = $splat_both;
                // SAFETY: as `zero`.
                unsafe { splat(x) }
            }
            #[inline(always)]
            fn prefetch(at: *const $float) {
                // SAFETY: a hint, for any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
            }
            #[inline(always)]
            unsafe fn sum(self) -> $float {
                let mut lanes = [0.0; $lanes];
                // SAFETY: `lanes` has room for all.
                unsafe { $store(lanes.as_mut_ptr(), self.0) };
                sum_halves(lanes)
            }
            #[inline(always)]
            unsafe fn transpose(from: *const $float, from_stride: isize, to: *mut $float, to_stride: usize) {
                // SAFETY: as `zero`.
                unsafe { $transpose(from, from_stride, to, to_stride) }
            }
        }
    };
}

vector!(Avx512<__m512>, f32, 16, half Avx2<__m256>: splat_both_ps, __mmask16, run_avx512, rows 8: 1 2 3 4 5 6 7 8, vectors 3: [1 2 3],
    _mm512_setzero_ps, _mm512_set1_ps, |n| ((1u32 << n) - 1) as u16, _mm512_loadu_ps, _mm512_maskz_loadu_ps,
    _mm512_storeu_ps, _mm512_mask_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, transpose_ps 8);
vector!(Avx512<__m512d>, f64, 8, half Avx2<__m256d>: splat_both_pd, __mmask8, run_avx512, rows 8: 1 2 3 4 5 6 7 8, vectors 3: [1 2 3],
    _mm512_setzero_pd, _mm512_set1_pd, |n| ((1u32 << n) - 1) as u8, _mm512_loadu_pd, _mm512_maskz_loadu_pd,
    _mm512_storeu_pd, _mm512_mask_storeu_pd, _mm512_add_pd, _mm512_fmadd_pd, transpose_pd 4);
vector!(Avx2<__m256>, f32, 8, half Self: splat_twice, __m256i, run_avx2, rows 6: 1 2 3 4 5 6, vectors 2: [1 2],
    _mm256_setzero_ps, _mm256_set1_ps, mask_ps, _mm256_loadu_ps, |mask, from| _mm256_maskload_ps(from, mask),
    _mm256_storeu_ps, _mm256_maskstore_ps, _mm256_add_ps, _mm256_fmadd_ps, transpose_ps 8);
vector!(Avx2<__m256d>, f64, 4, half Self: splat_twice, __m256i, run_avx2, rows 6: 1 2 3 4 5 6, vectors 2: [1 2],
    _mm256_setzero_pd, _mm256_set1_pd, mask_pd, _mm256_loadu_pd, |mask, from| _mm256_maskload_pd(from, mask),
    _mm256_storeu_pd, _mm256_maskstore_pd, _mm256_add_pd, _mm256_fmadd_pd, transpose_pd 4);

/// Defines `Vector::splat_both` for a register of 512 bits. The compiler would load half a register and spread that by an
/// instruction that takes the place of a multiply-add.
macro_rules! splat_both {
    ($name:ident, $float:ty, $register:ty, $half:ty, $instruction:literal, $low:ident) => {
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $name(x: *const $float) -> (Avx512<$register>, Avx2<$half>) {
            let all: $register;
            // SAFETY: reads the one number that the caller gives.
            unsafe {
                asm!($instruction, out(zmm_reg) all, in(reg) x, options(pure, readonly, nostack, preserves_flags));
            }
            (Avx512(all), Avx2($low(all)))
        }
    };
}
splat_both!(splat_both_ps, f32, __m512, __m256, "vbroadcastss {}, dword ptr [{}]", _mm512_castps512_ps256);
splat_both!(splat_both_pd, f64, __m512d, __m256d, "vbroadcastsd {}, qword ptr [{}]", _mm512_castpd512_pd256);

#[inline(always)]
unsafe fn splat_twice<V: Vector>(x: *const V::Float) -> (V, V) {
    // SAFETY: the caller's promise.
    let all = unsafe { V::splat(*x) };
    (all, all)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn mask_ps(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn mask_pd(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(lanes as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}

/// Transposes 8 x 8 floats: pairs, then fours, then halves of registers.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose_ps(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
    let mut r = [_mm256_setzero_ps(); 8];
    for (i, row) in r.iter_mut().enumerate() {
        // SAFETY: the caller gives 8 rows of 8 floats each.
        *row = unsafe { _mm256_loadu_ps(from.offset(i as isize * from_stride)) };
    }
    let mut pairs = r;
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let mut fours = r;
    for h in [0, 4] {
        fours[h] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[h], pairs[h + 2]);
        fours[h + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[h], pairs[h + 2]);
        fours[h + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[h + 1], pairs[h + 3]);
        fours[h + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[h + 1], pairs[h + 3]);
    }
    for i in 0..4 {
        // SAFETY: the caller gives room for 8 rows of 8 floats.
        unsafe {
            _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]));
            _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]));
        }
    }
}

/// Transposes 4 x 4 floats: pairs, then halves of registers.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose_pd(from: *const f64, from_stride: isize, to: *mut f64, to_stride: usize) {
    let mut r = [_mm256_setzero_pd(); 4];
    for (i, row) in r.iter_mut().enumerate() {
        // SAFETY: the caller gives 4 rows of 4 floats each.
        *row = unsafe { _mm256_loadu_pd(from.offset(i as isize * from_stride)) };
    }
    let pairs = [
        _mm256_unpacklo_pd(r[0], r[1]),
        _mm256_unpackhi_pd(r[0], r[1]),
        _mm256_unpacklo_pd(r[2], r[3]),
        _mm256_unpackhi_pd(r[2], r[3]),
    ];
    for i in 0..2 {
        // SAFETY: the caller gives room for 4 rows of 4 floats.
        unsafe {
            _mm256_storeu_pd(to.add(i * to_stride), _mm256_permute2f128_pd::<0x20>(pairs[i], pairs[i + 2]));
            _mm256_storeu_pd(to.add((i + 2) * to_stride), _mm256_permute2f128_pd::<0x31>(pairs[i], pairs[i + 2]));
        }
    }
}
