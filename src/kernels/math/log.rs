//! Logarithms: ln, log2, log10, log1p.
//!
//! x = 2ᵏ·(1 + f) with 1 + f in [√½, √2), by integer arithmetic on the bits. ln(1 + f) comes as two words: f − f²/2
//! without error, plus the rest of the series: for f64 through s = f / (2 + f), in whose even powers it is short
//! (the reduction of fdlibm's e_log.c, Sun Microsystems 1993; coefficients fitted anew), for f32 by a
//! polynomial in f, which needs no division.

use super::{Real, fast_two_sum, poly, select, two_product, two_sum};

/// The constants of the logarithms for one type.
pub trait Constants: Sized {
    /// ln 2, the leading word: short enough that its product with k is exact.
    const LN2_SHORT: Self;
    /// ln 2 minus the leading word.
    const LN2_REST: Self;
    /// log₂ e rounded, and the rest.
    const LOG2_E_WORDS: (Self, Self);
    /// log₁₀ e rounded, and the rest.
    const LOG10_E_WORDS: (Self, Self);
    /// log₁₀ 2, its leading word short enough that the product with k is exact, and the rest.
    const LOG10_2_WORDS: (Self, Self);

    /// x = 2ᵏ·(1 + f) as (k, f) for finite positive x, subnormal ones included; anything for other x.
    fn split(x: Self) -> (Self, Self);
    /// ln(1 + f) − (f − f²/2) for f in [√½ − 1, √2 − 1].
    fn log_tail(f: Self) -> Self;
    /// 2¹⁻ᵏ for the k that `split` gave for a number not below EPSILON; 0 where that is subnormal.
    fn twice_inverse_power(k: Self) -> Self;
}

impl Constants for f32 {
    const LN2_SHORT: f32 = 0.693_145_75;
    const LN2_REST: f32 = 1.428_606_8e-6;
    const LOG2_E_WORDS: (f32, f32) = (std::f32::consts::LOG2_E, 1.925_963e-8);
    const LOG10_E_WORDS: (f32, f32) = (std::f32::consts::LOG10_E, -1.010_305e-8);
    const LOG10_2_WORDS: (f32, f32) = (0.301_025_4, 4.605_039e-6);

    #[inline(always)]
    fn split(x: f32) -> (f32, f32) {
        let small = x < f32::MIN_POSITIVE;
        let bits = select(small, x * 16777216.0, x).to_bits();
        let shifted = bits.wrapping_add(0x3f80_0000 - SQRT_HALF_F32);
        // The exponent, put into the mantissa of 2²³, becomes a number without a conversion.
        let k = f32::from_bits(0x4b00_0000 | (shifted >> 23)) - (8388608.0 + 127.0);
        let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(SQRT_HALF_F32));
        (k - select(small, 24.0, 0.0), m - 1.0)
    }

    #[inline(always)]
    fn log_tail(f: f32) -> f32 {
        f * f
            * f
            * poly(
                f,
                [
                    0.333_333_13,
                    -0.249_999_75,
                    0.200_020_86,
                    -0.166_707_5,
                    0.142_210_77,
                    -0.123_583_995,
                    0.118_430_2,
                    -0.119_180_754,
                    0.070_944_02,
                ],
            )
    }

    #[inline(always)]
    fn twice_inverse_power(k: f32) -> f32 {
        f32::from_bits((8388608.0 + 128.0 - k).to_bits() << 23)
    }
}

/// The bits of √½ in f32.
const SQRT_HALF_F32: u32 = 0x3f35_04f3;
/// The bits of √½ in f64.
const SQRT_HALF_F64: u64 = 0x3fe6_a09e_667f_3bcd;
/// 2⁵².
const TWO_52: f64 = 4503599627370496.0;

/// `Constants::split` for normal numbers.
#[inline(always)]
pub(super) fn split_normal(x: f64) -> (f64, f64) {
    let shifted = x.to_bits().wrapping_add(0x3ff0_0000_0000_0000 - SQRT_HALF_F64);
    // The exponent, put into the mantissa of 2⁵², becomes a number without a conversion.
    let k = f64::from_bits(TWO_52.to_bits() | (shifted >> 52)) - (TWO_52 + 1023.0);
    let m = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF_F64));
    (k, m - 1.0)
}

impl Constants for f64 {
    const LN2_SHORT: f64 = 0.693147180559663;
    const LN2_REST: f64 = 2.8235290563031577e-13;
    const LOG2_E_WORDS: (f64, f64) = (std::f64::consts::LOG2_E, 2.0355273740931033e-17);
    const LOG10_E_WORDS: (f64, f64) = (std::f64::consts::LOG10_E, 1.098319650216765e-17);
    const LOG10_2_WORDS: (f64, f64) = (0.30102999566383914, 1.42050232272661e-13);

    #[inline(always)]
    fn split(x: f64) -> (f64, f64) {
        let small = x < f64::MIN_POSITIVE;
        let (k, f) = split_normal(select(small, x * (TWO_52 * 4.0), x));
        (k - select(small, 54.0, 0.0), f)
    }

    #[inline(always)]
    fn log_tail(f: f64) -> f64 {
        let s = f / (2.0 + f);
        let z = s * s;
        let series = poly(
            z,
            [
                0.6666666666666735,
                0.3999999999940923,
                0.2857142874377287,
                0.22222198413829602,
                0.18183573449057244,
                0.15313796932248316,
                0.14798678113733008,
            ],
        );
        s * z.fma(series, 0.5 * f * f)
    }

    #[inline(always)]
    fn twice_inverse_power(k: f64) -> f64 {
        f64::from_bits((TWO_52 + 1024.0 - k).to_bits() << 52)
    }
}

/// ln(1 + f) in two words.
#[inline(always)]
fn ln_mantissa<T: Real>(f: T) -> (T, T) {
    let half = T::HALF * f;
    let high = (-half).fma(f, f);
    let low = (-half).fma(f, f - high);
    (high, low + T::log_tail(f))
}

/// `y` where x is positive and finite; the values at and beyond the ends of the domain elsewhere.
#[inline(always)]
fn at_ends<T: Real>(x: T, y: T) -> T {
    let y = select(x < T::INFINITY, y, x);
    let y = select(x < T::ZERO, T::NAN, y);
    select(x == T::ZERO, -T::INFINITY, y)
}

/// The natural logarithm; −∞ at ±0, NaN for negative numbers.
///
/// Error: f32 < 0.69, f64 < 0.59.
#[inline(always)]
pub fn ln<T: Real>(x: T) -> T {
    let (k, f) = T::split(x);
    let (high, low) = ln_mantissa(f);
    let (a, al) = fast_two_sum(k * T::LN2_SHORT, high);
    at_ends(x, a + (k.fma(T::LN2_REST, low) + al))
}

/// ln(1 + x), accurate near 0.
///
/// Error: f32 < 0.72, f64 < 0.66.
#[inline(always)]
pub fn log1p<T: Real>(x: T) -> T {
    let (y, yl) = log1p_words(x, T::ZERO, T::ZERO);
    select(x.abs() < T::EPSILON * T::HALF, x, at_ends(x + T::ONE, y + yl))
}

/// ln(1 + x + xl) + n·ln 2 as an unevaluated sum, for finite x > −1 and xl below the last place of x.
#[inline(always)]
pub(super) fn log1p_words<T: Real>(x: T, xl: T, n: T) -> (T, T) {
    let (u, c) = two_sum(x, T::ONE);
    let (k, f) = T::split(u);
    log_of_rounded((c + xl) * T::HALF * T::twice_inverse_power(k), k, f, n)
}

/// ln(1 + x + xl) as an unevaluated sum, for x from 0 to 1 and xl below the last place of x.
#[inline(always)]
pub(super) fn log1p_of_part(x: f64, xl: f64) -> (f64, f64) {
    let (u, c) = fast_two_sum(1.0, x);
    let above = u > std::f64::consts::SQRT_2;
    let (k, scale) = (select(above, 1.0, 0.0), select(above, 0.5, 1.0));
    log_of_rounded((c + xl) * scale, k, u.mul_add(scale, -1.0), 0.0)
}

/// ln u + t − t²/2 + n·ln 2 for u = 2ᵏ·(1 + f), the sum of two numbers rounded, and t = c/u, where c is what rounding lost and is
/// given times 2⁻ᵏ.
#[inline(always)]
fn log_of_rounded<T: Real>(c: T, k: T, f: T, n: T) -> (T, T) {
    let (high, low) = ln_mantissa(f);
    // c / u = (c·2⁻ᵏ) / (1 + f); two digits of the reciprocal, by its series, are enough.
    let t = c * poly(-f, [T::ONE; 5]);
    let correction = t.fma(-T::HALF * t, t);
    let k = k + n;
    let (a, al) = fast_two_sum(k * T::LN2_SHORT, high);
    (a, k.fma(T::LN2_REST, low + correction) + al)
}

/// The binary logarithm, exact at powers of two.
///
/// Error: f32 < 0.73, f64 < 0.63.
#[inline(always)]
pub fn log2<T: Real>(x: T) -> T {
    let (k, f) = T::split(x);
    let (high, low) = times(ln_mantissa(f), T::LOG2_E_WORDS);
    let (a, al) = fast_two_sum(k, high);
    at_ends(x, a + (low + al))
}

/// The decimal logarithm.
///
/// Error: f32 < 0.68, f64 < 0.63.
#[inline(always)]
pub fn log10<T: Real>(x: T) -> T {
    let (k, f) = T::split(x);
    let (high, low) = times(ln_mantissa(f), T::LOG10_E_WORDS);
    let (a, al) = fast_two_sum(k * T::LOG10_2_WORDS.0, high);
    at_ends(x, a + (k.fma(T::LOG10_2_WORDS.1, low) + al))
}

/// The product of two numbers of two words each.
#[inline(always)]
fn times<T: Real>((a, al): (T, T), (b, bl): (T, T)) -> (T, T) {
    let (p, pl) = two_product(a, b);
    (p, a.fma(bl, al.fma(b, pl)))
}
