//! Registers of x86-64: AVX2 with FMA, and AVX-512.

use super::{ADD, ADD_BITS, MAX, MUL, Vector};
use std::arch::asm;
use std::arch::x86_64::*;

/// A 256-bit register of floats `T`.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<R>(R);

/// A 512-bit register of floats `T`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<R>(R);

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
    ($vector:ty, $float:ty, $lanes:literal, half $half:ty: $splat_both:expr, $mask:ty, $run:ident, $zero:ident, $splat:ident, $make_mask:expr, $load:ident, $load_masked:expr,
     $store:ident, $store_masked:expr, [$add:ident $mul:ident $max:ident $min:ident], $add_bits:expr, $mul_add:ident,
     $select:expr, $unordered:expr, $either:expr, $any:expr, $join:ident, $transpose:ident $square:literal) => {
        // SAFETY: `$run` enables the sets that these intrinsics belong to.
        unsafe impl Vector for $vector {
            type Float = $float;
            type Mask = $mask;
            type Half = $half;
            const LANES: usize = $lanes;
            const SQUARE: usize = $square;

            #[inline(always)]
            unsafe fn run<R>(body: impl FnOnce() -> R) -> R {
                // SAFETY: the processor has the set: the trait's contract.
                unsafe { $run(body) }
            }

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
            unsafe fn select(mask: $mask, this: Self, other: Self) -> Self {
                // SAFETY: as `zero`.
                Self(unsafe { $select(other.0, mask, this.0) })
            }
            #[inline(always)]
            unsafe fn unordered(self, other: Self) -> $mask {
                // SAFETY: as `zero`.
                unsafe { $unordered(self.0, other.0) }
            }
            #[inline(always)]
            unsafe fn either(a: $mask, b: $mask) -> $mask {
                let either: unsafe fn($mask, $mask) -> $mask = $either;
                // SAFETY: as `zero`.
                unsafe { either(a, b) }
            }
            #[inline(always)]
            unsafe fn any(mask: $mask) -> bool {
                let any: unsafe fn($mask) -> bool = $any;
                // SAFETY: as `zero`.
                unsafe { any(mask) }
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
            unsafe fn join<const OPERATION: u8>(self) -> $float {
                let mut lanes = [0.0; $lanes];
                // SAFETY: `lanes` has room for all.
                unsafe {
                    $store(lanes.as_mut_ptr(), self.0);
                    $join::<OPERATION, $lanes>(lanes.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn transpose(from: *const $float, from_stride: isize, to: *mut $float, to_stride: usize) {
                // SAFETY: as `zero`.
                unsafe { $transpose(from, from_stride, to, to_stride) }
            }
        }
    };
}

vector!(Avx512<__m512>, f32, 16, half Avx2<__m256>: splat_both_ps, __mmask16, run_avx512,
    _mm512_setzero_ps, _mm512_set1_ps, |n| ((1u32 << n) - 1) as u16, _mm512_loadu_ps, _mm512_maskz_loadu_ps,
    _mm512_storeu_ps, _mm512_mask_storeu_ps, [_mm512_add_ps _mm512_mul_ps _mm512_max_ps _mm512_min_ps],
    |a, b| _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))), _mm512_fmadd_ps,
    _mm512_mask_mov_ps, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>, |a, b| a | b, |mask| mask != 0, join_ps, transpose_ps 8);
vector!(Avx512<__m512d>, f64, 8, half Avx2<__m256d>: splat_both_pd, __mmask8, run_avx512,
    _mm512_setzero_pd, _mm512_set1_pd, |n| ((1u32 << n) - 1) as u8, _mm512_loadu_pd, _mm512_maskz_loadu_pd,
    _mm512_storeu_pd, _mm512_mask_storeu_pd, [_mm512_add_pd _mm512_mul_pd _mm512_max_pd _mm512_min_pd],
    |a, b| _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b))), _mm512_fmadd_pd,
    _mm512_mask_mov_pd, _mm512_cmp_pd_mask::<_CMP_UNORD_Q>, |a, b| a | b, |mask| mask != 0, join_pd, transpose_pd 4);
vector!(Avx2<__m256>, f32, 8, half Self: splat_twice, __m256i, run_avx2,
    _mm256_setzero_ps, _mm256_set1_ps, mask_ps, _mm256_loadu_ps, |mask, from| _mm256_maskload_ps(from, mask),
    _mm256_storeu_ps, _mm256_maskstore_ps, [_mm256_add_ps _mm256_mul_ps _mm256_max_ps _mm256_min_ps],
    |a, b| _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b))), _mm256_fmadd_ps,
    |other, mask, this| _mm256_blendv_ps(other, this, _mm256_castsi256_ps(mask)),
    |a, b| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, b)), _mm256_or_si256, any_lane, join_ps, transpose_ps 8);
vector!(Avx2<__m256d>, f64, 4, half Self: splat_twice, __m256i, run_avx2,
    _mm256_setzero_pd, _mm256_set1_pd, mask_pd, _mm256_loadu_pd, |mask, from| _mm256_maskload_pd(from, mask),
    _mm256_storeu_pd, _mm256_maskstore_pd, [_mm256_add_pd _mm256_mul_pd _mm256_max_pd _mm256_min_pd],
    |a, b| _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(b))), _mm256_fmadd_pd,
    |other, mask, this| _mm256_blendv_pd(other, this, _mm256_castsi256_pd(mask)),
    |a, b| _mm256_castpd_si256(_mm256_cmp_pd::<_CMP_UNORD_Q>(a, b)), _mm256_or_si256, any_lane, join_pd, transpose_pd 4);

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn any_lane(mask: __m256i) -> bool {
    _mm256_testz_si256(mask, mask) == 0
}

/// Defines a function that joins 8 or 16 floats at an address. It is written out for registers of 128 bits: from a loop, the
/// compiler takes the floats from memory two by two, which for short runs takes longer than the run.
macro_rules! join {
    ($name:ident, $float:ty, $per:literal, $load:ident, [$add:ident $mul:ident $max:ident $min:ident], $add_bits:expr,
     |$join:ident, $last:ident| $rest:expr) => {
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $name<const OPERATION: u8, const N: usize>(lanes: *const $float) -> $float {
            let $join = |a, b| match OPERATION {
                ADD => $add(a, b),
                MUL => $mul(a, b),
                MAX => $max(a, b),
                ADD_BITS => $add_bits(a, b),
                _ => $min(a, b),
            };
            // SAFETY: the caller gives N floats.
            let at = |i: usize| unsafe { $load(lanes.add(i * $per)) };
            let $last = match N / $per {
                4 => $join($join(at(0), at(2)), $join(at(1), at(3))),
                _ => $join(at(0), at(1)),
            };
            $rest
        }
    };
}
join!(join_ps, f32, 4, _mm_loadu_ps, [_mm_add_ps _mm_mul_ps _mm_max_ps _mm_min_ps],
    |a, b| _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(a), _mm_castps_si128(b))), |join, four| {
    let two = join(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(join(two, _mm_shuffle_ps::<1>(two, two)))
});
join!(join_pd, f64, 2, _mm_loadu_pd, [_mm_add_pd _mm_mul_pd _mm_max_pd _mm_min_pd],
    |a, b| _mm_castsi128_pd(_mm_add_epi64(_mm_castpd_si128(a), _mm_castpd_si128(b))), |join, two| {
    _mm_cvtsd_f64(join(two, _mm_unpackhi_pd(two, two)))
});

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
