//! Compiles a loop for several instruction sets and picks one at run time.

use super::simd;

/// Runs `body` in the widest instruction set of this processor. `body` must inline to gain anything.
///
/// Builds with debug assertions, where nothing inlines, have the plain version only: each of the hundreds of loops that
/// come here is otherwise compiled three times.
#[inline(always)]
pub fn vectorize<R>(body: impl FnOnce() -> R) -> R {
    vectorize_or_loop(
        #[inline(always)]
        move |_| body(),
    )
}

/// [`vectorize`] for short functions of elements. `body` is told whether to call [`single_element`] in its loop: so it is where an
/// x86 processor has no AVX2. Half a million bytes of loops for these would be in every wheel.
#[inline(always)]
pub fn vectorize_or_loop<R>(body: impl FnOnce(bool) -> R) -> R {
    match simd::isa() {
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        // SAFETY: the processor has it.
        simd::Isa::Avx512 => unsafe { avx512(body) },
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        // SAFETY: the processor has it.
        simd::Isa::Avx2 => unsafe { avx2(body) },
        _ => body(cfg!(target_arch = "x86_64")),
    }
}

/// [`vectorize_or_loop`] up to 256 bits: enough for loops over integers, and a version less of each.
#[inline(always)]
pub fn vectorize_narrow<R>(body: impl FnOnce(bool) -> R) -> R {
    match simd::isa() {
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        // SAFETY: the processor has it; those with AVX-512 have AVX2, too.
        simd::Isa::Avx512 | simd::Isa::Avx2 => unsafe { avx2(body) },
        _ => body(cfg!(target_arch = "x86_64")),
    }
}

/// In a loop: keeps the compiler from working on several elements at a time, if `so`.
#[inline(always)]
pub fn single_element(so: bool) {
    if so {
        // SAFETY: no instruction at all. What it might be is unknown to the compiler, which leaves each in its place.
        #[cfg(not(miri))]
        unsafe {
            std::arch::asm!("", options(nomem, nostack, preserves_flags))
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn avx512<R>(body: impl FnOnce(bool) -> R) -> R {
    body(false)
}

#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn avx2<R>(body: impl FnOnce(bool) -> R) -> R {
    body(false)
}
