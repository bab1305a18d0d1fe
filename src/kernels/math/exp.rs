//! The exponential and what is built from it: exp, exp2, expm1, sigmoid, tanh.
//!
//! x = n·ln 2 + r with n an integer and |r| ≤ ln 2 / 2 (Cody & Waite 1980, chapter 6), then
//! eʳ = 1 + r + r²·p(r) and a multiplication by 2ⁿ. r is kept as two words, `r + rl`, where the result needs it.

use super::{Real, divide, fast_two_sum, poly, select, two_product};

/// The constants of the exponential for one type.
pub trait Constants: Sized {
    /// 1.5·2^(mantissa bits), plus twice the exponent bias: added to t it rounds t to an integer n and leaves n,
    /// biased, in the low bits.
    const SHIFTER: Self;
    /// log₂ e.
    const LOG2_E: Self;
    /// ln 2, the leading word: short enough that its product with n is exact.
    const LN2_HI: Self;
    /// ln 2 minus the leading word.
    const LN2_LO: Self;
    /// ln 2 rounded, and the rest.
    const LN2: (Self, Self);
    /// Where exp is certainly infinite, and where it is certainly 0.
    const EXP_RANGE: (Self, Self);
    /// The same for exp2.
    const EXP2_RANGE: (Self, Self);
    /// Where tanh is certainly 1; expm1 of minus the same is certainly −1 + O(ε²).
    const SATURATION: Self;
    /// Below it tanh(x) and expm1(x) round to x.
    const TINY: Self;

    /// (eʳ − 1 − r) / r² for |r| ≤ ln 2 / 2.
    fn exp_tail(r: Self) -> Self;
    /// Two powers of two, both normal, whose product is 2ⁿ for the integer n held by `shifted` = n + SHIFTER.
    /// Multiplying by one after the other rounds only once when the result is subnormal.
    fn powers(shifted: Self) -> (Self, Self);
    /// 2ⁿ⁻¹ for the integer n held by `shifted`, which must lie in the range of normal numbers.
    fn half_power(shifted: Self) -> Self;
}

impl Constants for f32 {
    const SHIFTER: f32 = 12582912.0 + 254.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HI: f32 = 0.693_145_75;
    const LN2_LO: f32 = 1.428_606_8e-6;
    const LN2: (f32, f32) = (std::f32::consts::LN_2, -1.904_654_3e-9);
    const EXP_RANGE: (f32, f32) = (-105.0, 89.0);
    const EXP2_RANGE: (f32, f32) = (-152.0, 129.0);
    const SATURATION: f32 = 20.0;
    const TINY: f32 = 1.0 / (1 << 13) as f32;

    #[inline(always)]
    fn exp_tail(r: f32) -> f32 {
        poly(r, [0.5, 0.166_666_48, 0.041_666_48, 0.008_337_893_5, 0.001_393_336_7, 0.000_173_172_8])
    }

    #[inline(always)]
    fn powers(shifted: f32) -> (f32, f32) {
        let bits = shifted.to_bits();
        let half = bits >> 1;
        (f32::from_bits(half << 23), f32::from_bits(bits.wrapping_sub(half) << 23))
    }

    #[inline(always)]
    fn half_power(shifted: f32) -> f32 {
        f32::from_bits(shifted.to_bits().wrapping_sub(128) << 23)
    }
}

impl Constants for f64 {
    const SHIFTER: f64 = 6755399441055744.0 + 2046.0;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN2_HI: f64 = 0.693147180559663;
    const LN2_LO: f64 = 2.8235290563031577e-13;
    const LN2: (f64, f64) = (std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
    const EXP_RANGE: (f64, f64) = (-746.0, 710.0);
    const EXP2_RANGE: (f64, f64) = (-1077.0, 1025.0);
    const SATURATION: f64 = 44.0;
    const TINY: f64 = 1.0 / (1u64 << 28) as f64;

    #[inline(always)]
    fn exp_tail(r: f64) -> f64 {
        poly(
            r,
            [
                0.5,
                0.16666666666666688,
                0.04166666666666683,
                0.008333333333313717,
                0.001388888888876666,
                0.00019841269904311216,
                2.4801587603705915e-05,
                2.7557227192801698e-06,
                2.7557010095811493e-07,
                2.5114630453705206e-08,
                2.100099649126771e-09,
            ],
        )
    }

    #[inline(always)]
    fn powers(shifted: f64) -> (f64, f64) {
        let bits = shifted.to_bits();
        let half = bits >> 1;
        (f64::from_bits(half << 52), f64::from_bits(bits.wrapping_sub(half) << 52))
    }

    #[inline(always)]
    fn half_power(shifted: f64) -> f64 {
        f64::from_bits(shifted.to_bits().wrapping_sub(1024) << 52)
    }
}

/// x between the bounds; NaN stays.
#[inline(always)]
pub(super) fn clamp<T: Real>(x: T, (low, high): (T, T)) -> T {
    let x = select(x > high, high, x);
    select(x < low, low, x)
}

/// x = n·ln 2 + r + rl as (n + SHIFTER, r, rl).
#[inline(always)]
pub(super) fn reduce<T: Real>(x: T) -> (T, T, T) {
    let shifted = x.fma(T::LOG2_E, T::SHIFTER);
    let n = shifted - T::SHIFTER;
    let high = (-n).fma(T::LN2_HI, x);
    let r = (-n).fma(T::LN2_LO, high);
    let rl = (-n).fma(T::LN2_LO, high - r);
    (shifted, r, rl)
}

/// eˣ.
///
/// Error: f32 < 0.9, f64 < 0.9.
#[inline(always)]
pub fn exp<T: Real>(x: T) -> T {
    let x = clamp(x, T::EXP_RANGE);
    let shifted = x.fma(T::LOG2_E, T::SHIFTER);
    let n = shifted - T::SHIFTER;
    let r = (-n).fma(T::LN2_LO, (-n).fma(T::LN2_HI, x));
    let p = (r * r).fma(T::exp_tail(r), r) + T::ONE;
    let (w, wl) = T::powers(shifted);
    p * w * wl
}

/// e^(x + xl) for a small xl as (p, pl, powers of two to multiply both by), for x anywhere.
#[inline(always)]
pub(super) fn exp_words<T: Real>(x: T, xl: T) -> (T, T, (T, T)) {
    let (shifted, r, rl) = reduce(clamp(x, T::EXP_RANGE));
    let t = r + (r * r).fma(T::exp_tail(r), rl);
    let (p, pl) = fast_two_sum(T::ONE, t);
    (p, p.fma(xl, pl), T::powers(shifted))
}

/// 2ˣ.
///
/// Error: f32 < 0.9, f64 < 0.9.
#[inline(always)]
pub fn exp2<T: Real>(x: T) -> T {
    let x = clamp(x, T::EXP2_RANGE);
    let shifted = x + T::SHIFTER;
    let (r, rl) = two_product(x - (shifted - T::SHIFTER), T::LN2.0);
    let rl = (x - (shifted - T::SHIFTER)).fma(T::LN2.1, rl);
    let p = (r * r).fma(T::exp_tail(r), rl) + r + T::ONE;
    let (w, wl) = T::powers(shifted);
    p * w * wl
}

/// (eˣ − 1) / 2 as an unevaluated sum, for x between −SATURATION and the overflow of exp.
///
/// With u = 2ⁿ⁻¹ it is (u − ½) + u·(r + rl + r²·p(r)), the first two terms added without error.
#[inline(always)]
fn half_expm1<T: Real>(x: T) -> (T, T) {
    let (shifted, r, rl) = reduce(x);
    let u = T::half_power(shifted);
    let (s, sl) = fast_two_sum(u, -T::HALF);
    let a = u.fma(r, s);
    let al = u.fma(r, s - a) + sl;
    (a, u.fma((r * r).fma(T::exp_tail(r), rl), al))
}

/// eˣ − 1, accurate near 0.
///
/// Error: f32 < 0.6, f64 < 0.6.
#[inline(always)]
pub fn expm1<T: Real>(x: T) -> T {
    let (h, hl) = half_expm1(clamp(x, (-T::SATURATION, T::EXP_RANGE.1)));
    select(x.abs() < T::EPSILON * T::HALF, x, (h + hl) * T::TWO)
}

/// The logistic function 1 / (1 + e⁻ˣ), which underflows gradually on the left.
///
/// With −x = −n·ln 2 + r and w = 2ⁿ it is w / (w + eʳ); the sum keeps its rounding error, the quotient is
/// corrected for it. Error: f32 < 0.9, f64 < 0.9.
#[inline(always)]
pub fn sigmoid<T: Real>(x: T) -> T {
    let x = clamp(x, (T::EXP_RANGE.0, T::SATURATION));
    let shifted = x.fma(T::LOG2_E, T::SHIFTER);
    let n = shifted - T::SHIFTER;
    let r = n.fma(T::LN2_LO, n.fma(T::LN2_HI, -x));
    let t = (r * r).fma(T::exp_tail(r), r);
    let (w, wl) = T::powers(shifted);
    let whole = w * wl;
    let (large, small) = (select(whole > T::ONE, whole, T::ONE), select(whole > T::ONE, T::ONE, whole));
    let d = (large + small) + t;
    let dl = ((large - d) + small) + t;
    let q = T::ONE / d;
    let rest = (-q).fma(dl, (-q).fma(d, T::ONE));
    q.fma(rest, q) * w * wl
}

/// The hyperbolic tangent.
///
/// E / (E + 2) with E = e^2|x| − 1 in two words. Error: f32 < 0.6, f64 < 0.6.
#[inline(always)]
pub fn tanh<T: Real>(x: T) -> T {
    let a = x.abs();
    let (h, hl) = half_expm1(clamp(a + a, (T::ZERO, T::SATURATION)));
    let (h, hl) = fast_two_sum(h, hl);
    let (d, dl) = super::two_sum(h, T::ONE);
    let y = divide((h, hl), (d, dl + hl));
    select(a < T::TINY, x, y.copysign(x))
}
