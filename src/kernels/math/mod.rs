//! Elementary functions of one number, written so that a loop over them becomes vector code.
//!
//! `for i in 0..n { y[i] = math::exp(x[i]) }` compiled inside a function with
//! `#[target_feature(enable = "avx512f,avx512dq,…")]` or `"avx2,fma"` is vectorised by LLVM: the functions are
//! `#[inline(always)]`, have selects where textbooks have branches, take numbers apart with `to_bits`, and use
//! no tables. The same operations run on every instruction set, so the results are the same bits
//! everywhere; without a fused multiply-add `mul_add` is emulated, which is slow and right.
//!
//! All are generic over [`Real`], which is `f32` or `f64`. Domain errors give NaN, poles an infinity, the
//! sign of zero is kept, subnormal numbers are not flushed. The error bounds in the documentation are in units in
//! the last place, *measured* by the tests beside this file: f32 over all 2³² arguments (functions of
//! two arguments: samples), f64 on samples against MPFR.
//!
//! [`sin`], [`cos`] and [`tan`] are the exception to "one expression": arguments beyond 2³⁰ need a
//! reduction that does not vectorise. Loops call [`sin_slice`] or [`sin_run`] (and so on), which do the
//! branch-free pass first and then repair such elements.
//!
//! Knows nothing of the rest of the crate. Polynomials are minimax fits (Remez exchange in 300-bit arithmetic,
//! coefficients rounded one after another, lowest first, with a refit after each) unless noted.

use std::ops::{Add, Div, Mul, Neg, Sub};

mod erf;
mod exp;
mod hyperbolic;
mod inverse;
mod log;
mod pow;
mod trig;

pub use erf::{erf, erfc};
pub use exp::{exp, exp2, expm1, sigmoid, tanh};
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh, softplus};
pub use inverse::{acos, asin, atan, atan2};
pub use log::{ln, log1p, log2, log10};
pub use pow::pow;
pub use trig::{cos, cos_run, cos_slice, sin, sin_run, sin_slice, tan, tan_run, tan_slice};

#[cfg(test)]
mod tests;

/// `f32` or `f64`: the arithmetic and constants the functions of this module are written in.
pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + exp::Constants
    + log::Constants
    + trig::Forms
    + erf::Constants
    + hyperbolic::Forms
    + inverse::Constants
    + pow::Power
{
    /// 0.
    const ZERO: Self;
    /// 1/2.
    const HALF: Self;
    /// 1.
    const ONE: Self;
    /// 2.
    const TWO: Self;
    /// +∞.
    const INFINITY: Self;
    /// A quiet NaN.
    const NAN: Self;
    /// The least normal number.
    const MIN_POSITIVE: Self;
    /// The difference between 1 and the next number.
    const EPSILON: Self;

    /// `self * a + b`, rounded once.
    fn fma(self, a: Self, b: Self) -> Self;
    /// |self|.
    fn abs(self) -> Self;
    /// The square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// |self| with the sign bit of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// The integer nearest to 0 on the way from `self`.
    fn trunc(self) -> Self;
}

macro_rules! real {
    // f32 and f64 have the same names for all of it
    ($t:ident) => {
        impl Real for $t {
            const ZERO: $t = 0.0;
            const HALF: $t = 0.5;
            const ONE: $t = 1.0;
            const TWO: $t = 2.0;
            const INFINITY: $t = $t::INFINITY;
            const NAN: $t = $t::NAN;
            const MIN_POSITIVE: $t = $t::MIN_POSITIVE;
            const EPSILON: $t = $t::EPSILON;

            #[inline(always)]
            fn fma(self, a: $t, b: $t) -> $t {
                self.mul_add(a, b)
            }
            #[inline(always)]
            fn abs(self) -> $t {
                $t::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> $t {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn copysign(self, sign: $t) -> $t {
                $t::copysign(self, sign)
            }
            #[inline(always)]
            fn trunc(self) -> $t {
                $t::trunc(self)
            }
        }
    };
}
real!(f32);
real!(f64);

/// `c[0] + c[1]·x + …` as two chains of Horner's rule in x², the even and the odd powers: half the latency, which is
/// what bounds the longer functions. The loops have constant lengths and unroll.
#[inline(always)]
fn poly<T: Real, const N: usize>(x: T, c: [T; N]) -> T {
    let z = x * x;
    let (mut p, mut q) = (c[N - 1], c[N - 2]);
    for i in (0..N - 2).rev() {
        (p, q) = (q, p.fma(z, c[i]));
    }
    p.fma(x, q)
}

/// `a` if `condition`, else `b`: both are computed, so that loops stay free of branches.
#[inline(always)]
fn select<T>(condition: bool, a: T, b: T) -> T {
    if condition { a } else { b }
}

/// `a + b` as its rounded value and the rounding error, for |a| ≥ |b| or a = 0 (Dekker 1971).
#[inline(always)]
fn fast_two_sum<T: Real>(a: T, b: T) -> (T, T) {
    let sum = a + b;
    (sum, (a - sum) + b)
}

/// `a + b` as its rounded value and the rounding error (Knuth, TAOCP 2, 4.2.2).
#[inline(always)]
fn two_sum<T: Real>(a: T, b: T) -> (T, T) {
    let sum = a + b;
    let bb = sum - a;
    (sum, (a - (sum - bb)) + (b - bb))
}

/// `a · b` as its rounded value and the rounding error.
#[inline(always)]
fn two_product<T: Real>(a: T, b: T) -> (T, T) {
    let product = a * b;
    (product, a.fma(b, -product))
}

/// `(n + nl) / (d + dl)` for quotients in range, with an error near half a unit: one division, one correction.
#[inline(always)]
fn divide<T: Real>(n: (T, T), d: (T, T)) -> T {
    let (q, ql) = divide_words(n, d);
    q + ql
}

/// `(n + nl) / (d + dl)` as an unevaluated sum.
#[inline(always)]
fn divide_words<T: Real>((n, nl): (T, T), (d, dl): (T, T)) -> (T, T) {
    let r = T::ONE / d;
    let q = n * r;
    let rest = (-q).fma(d, n) + (-q).fma(dl, nl);
    (q, rest * r)
}

/// 1 / √x, corrected for the rounding of both steps; ∞ with the sign of x at ±0, NaN for negative numbers.
///
/// Error: f32 < 0.51, f64 < 0.51.
#[inline(always)]
pub fn rsqrt<T: Real>(x: T) -> T {
    // Scaled where the correction would underflow.
    let scale = T::ONE / T::EPSILON;
    let small = x < T::MIN_POSITIVE * scale * scale;
    let scaled = select(small, x * (scale * scale), x);
    let s = scaled.sqrt();
    let y = T::ONE / s;
    // scaled = s² + g and 1/s = y·(1 + h), so its 1/√ is y·(1 + h − g·y²/2).
    let g = (-s).fma(s, scaled);
    let h = (-s).fma(y, T::ONE);
    let better = y.fma((-T::HALF * g * y).fma(y, h), y);
    select((x > T::ZERO) & (x < T::INFINITY), better * select(small, scale, T::ONE), y)
}
