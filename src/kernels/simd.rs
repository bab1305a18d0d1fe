//! Which instruction set the kernels use: chosen once, when the program runs.
//!
//! One build serves every processor of an architecture, so a kernel compiles a version for each [`Isa`] and
//! picks one by [`isa`].

use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that kernels have a version for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// What every processor of the architecture has: plain Rust.
    Plain = 1,
    /// AVX2 and FMA (x86-64, 256 bits).
    Avx2,
    /// AVX-512 F, VL, DQ and BW (x86-64, 512 bits).
    Avx512,
    /// Advanced SIMD (64-bit Arm, 128 bits).
    Neon,
}

impl Isa {
    /// Every instruction set, on whatever architecture.
    pub const ALL: [Isa; 4] = [Isa::Plain, Isa::Avx2, Isa::Avx512, Isa::Neon];

    /// Whether this processor, and the operating system, can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    fn best() -> Isa {
        let preferred = [Isa::Avx512, Isa::Avx2, Isa::Neon];
        preferred.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Plain)
    }
}

/// The best instruction set of this processor.
#[inline]
pub fn isa() -> Isa {
    /// The answer as a number, 0 until first asked for.
    static CHOSEN: AtomicU8 = AtomicU8::new(0);
    match CHOSEN.load(Ordering::Relaxed) {
        0 => {}
        chosen if chosen == Isa::Avx512 as u8 => return Isa::Avx512,
        chosen if chosen == Isa::Avx2 as u8 => return Isa::Avx2,
        chosen if chosen == Isa::Neon as u8 => return Isa::Neon,
        _ => return Isa::Plain,
    }
    let isa = Isa::best();
    CHOSEN.store(isa as u8, Ordering::Relaxed);
    isa
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_available_and_stays() {
        assert!(isa().is_available());
        assert_eq!(isa(), isa());
        assert_eq!(isa(), Isa::best());
    }
}
