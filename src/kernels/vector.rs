//! Compiles a loop for several instruction sets and picks one at run time.

use super::simd;

/// Runs `body` in the widest instruction set of this processor. `body` must inline to gain anything.
///
/// Builds with debug assertions, where nothing inlines, have the plain version only: each of the hundreds of loops that
/// come here is otherwise compiled three times.
#[inline(always)]
pub fn vectorize<R>(body: impl FnOnce() -> R) -> R {
    match simd::isa() {
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        // SAFETY: the processor has it.
        simd::Isa::Avx512 => unsafe { avx512(body) },
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        // SAFETY: the processor has it.
        simd::Isa::Avx2 => unsafe { avx2(body) },
        _ => body(),
    }
}

/// [`vectorize`] up to 256 bits: enough for loops over integers, and a version less of each.
#[inline(always)]
pub fn vectorize_narrow<R>(body: impl FnOnce() -> R) -> R {
    match simd::isa() {
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        // SAFETY: the processor has it; those with AVX-512 have AVX2, too.
        simd::Isa::Avx512 | simd::Isa::Avx2 => unsafe { avx2(body) },
        _ => body(),
    }
}

#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}
