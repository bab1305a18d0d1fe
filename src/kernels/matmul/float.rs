//! Products of floats: which case it is, which way round, and with which registers.

use super::tiles::Tiles;
use super::{Gemm, Number, Product, blocking, gemv};
use crate::kernels::register::plain::Plain;
use crate::kernels::simd::Isa;

macro_rules! floats {
    ($float:ty, $avx2:ident, $avx512:ident, $neon:ident) => {
        impl Number for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self * other
            }
        }

        impl Gemm for $float {
            unsafe fn gemm_with(isa: Isa, p: &Product<Self>) {
                #[cfg(target_arch = "aarch64")]
                use crate::kernels::register::neon::Neon;
                #[cfg(target_arch = "x86_64")]
                use crate::kernels::register::x86::{Avx2, Avx512};
                // SAFETY: the caller's promise, which includes that the processor has `isa`.
                unsafe {
                    match isa {
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx512 => product::<Avx512<std::arch::x86_64::$avx512>>(p),
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx2 => product::<Avx2<std::arch::x86_64::$avx2>>(p),
                        #[cfg(target_arch = "aarch64")]
                        Isa::Neon => product::<Neon<std::arch::aarch64::$neon>>(p),
                        _ => product::<Plain<$float>>(p),
                    }
                }
            }
        }
    };
}

floats!(f32, __m256, __m512, float32x4_t);
floats!(f64, __m256d, __m512d, float64x2_t);

/// # Safety
/// As [`super::gemm`]; the processor must have the instruction set of V.
unsafe fn product<V: Tiles>(p: &Product<V::Float>) {
    // SAFETY: the caller's promise; a transposed product is the same product.
    unsafe {
        if p.m == 0 || p.n == 0 {
        } else if p.k == 0 || p.alpha == V::Float::ZERO {
            p.scale_c();
        } else if p.n == 1 && gemv::suits(p) {
            gemv::product::<V>(p);
        } else if p.m == 1 && gemv::suits(&p.transposed()) {
            gemv::product::<V>(&p.transposed());
        } else if few_vectors(p) {
            gemv::few_vectors::<V>(p);
        } else if few_vectors(&p.transposed()) {
            gemv::few_vectors::<V>(&p.transposed());
        } else if cost::<V>(&p.transposed()) < cost::<V>(p) {
            blocking::product::<V>(&p.transposed());
        } else {
            blocking::product::<V>(p);
        }
    }
}

/// Whether `p` is a matrix with contiguous rows times so few vectors that they would leave most of a register unused.
fn few_vectors<T>(p: &Product<T>) -> bool {
    p.n <= gemv::MAX_VECTORS && p.a.col_stride == 1 && (p.b.row_stride == 1 || p.m >= 8) && p.k >= 16
}

/// About how long the blocked product takes this way round, in multiply-adds of registers.
fn cost<V: Tiles>(p: &Product<V::Float>) -> f64 {
    let (m, k, n) = (p.m as f64, p.k as f64, p.n as f64);
    let multiply = m * p.n.div_ceil(V::LANES) as f64 * k;
    let pack = if p.b.col_stride == 1 { 0.0 } else { k * n };
    let scatter = if p.c.col_stride == 1 { 0.0 } else { 2.0 * m * n };
    let jump = if p.a.col_stride == 1 { 0.0 } else { 2.0 * m * k };
    multiply + pack + scatter + jump
}
