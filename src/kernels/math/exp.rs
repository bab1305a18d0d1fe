//! The exponential and what is built from it: exp, exp2, expm1, sigmoid, tanh.
//!
//! x = n·ln 2 + r with n an integer and |r| ≤ ln 2 / 2 (Cody & Waite 1980, chapter 6), then
//! eʳ = 1 + r + r²·p(r) and a multiplication by 2ⁿ. r is kept as two words, `r + rl`, where the result needs it.

use super::{Real, divide, fast_two_sum, poly, select};

/// The constants of the exponential for one type.
pub trait Constants: Sized {
    /// 1.5·2^(mantissa bits), plus twice the exponent bias: added to t it rounds t to an integer n and leaves n,
    /// biased, in the low bits.
    const SHIFTER: Self;
    /// The same with the exponent bias and 64 more, for [`low_power`](Constants::low_power).
    const LOW_SHIFTER: Self;
    /// log₂ e.
    const LOG2_E: Self;
    /// ln 2, the leading word: short enough that its product with n is exact.
    const LN2_HI: Self;
    /// ln 2 minus the leading word.
    const LN2_LO: Self;
    /// ln 2 rounded, and the rest.
    const LN2: (Self, Self);
    /// Below the first exp is certainly 0, above the second certainly infinite.
    const EXP_RANGE: (Self, Self);
    /// The largest number whose exp is finite.
    const EXP_LAST: Self;
    /// The same as EXP_RANGE for exp2.
    const EXP2_RANGE: (Self, Self);
    /// Above it tanh(x/2) and sigmoid(x) are 1, below its negative expm1(x) is −1, to rounding.
    const SATURATION: Self;
    /// Below it tanh(x) and expm1(x) round to x.
    const TINY: Self;

    /// (eʳ − 1 − r − r²/2) / r³ for |r| ≤ ln 2 / 2.
    fn exp_series(r: Self) -> Self;
    /// (2ʳ − 1 − r·ln 2) / r² for |r| ≤ ½.
    fn exp2_tail(r: Self) -> Self;
    /// Two powers of two, both normal, whose product is 2ⁿ for the integer n held by `shifted` = n + SHIFTER.
    /// Multiplying by one after the other rounds only once when the result is subnormal.
    fn powers(shifted: Self) -> (Self, Self);
    /// 2ⁿ⁻¹ for the integer n held by `shifted`, which must lie in the range of normal numbers.
    fn half_power(shifted: Self) -> Self;
    /// 2ⁿ, exact also where it is subnormal, for the integer n held by `shifted` = n + LOW_SHIFTER: down to 0, and up to 64 less
    /// than the greatest exponent.
    fn low_power(shifted: Self) -> Self;
    /// w / (w + eʳ) for a power of two w and |r| ≤ ln 2 / 2, rounded only once if it is subnormal.
    fn logistic(w: Self, r: Self) -> Self;
}

const TWO_TO_MINUS_64: f64 = 1.0 / (1u128 << 64) as f64;

impl Constants for f32 {
    const SHIFTER: f32 = 12582912.0 + 254.0;
    const LOW_SHIFTER: f32 = 12582912.0 + (127.0 + 64.0);
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HI: f32 = 0.693_145_75;
    const LN2_LO: f32 = 1.428_606_8e-6;
    const LN2: (f32, f32) = (std::f32::consts::LN_2, -1.904_654_3e-9);
    const EXP_RANGE: (f32, f32) = (-105.0, 89.0);
    const EXP_LAST: f32 = 88.722_83;
    const EXP2_RANGE: (f32, f32) = (-152.0, 129.0);
    const SATURATION: f32 = 20.0;
    const TINY: f32 = 1.0 / (1 << 13) as f32;

    #[inline(always)]
    fn exp_series(r: f32) -> f32 {
        poly(r, [0.166_666_48, 0.041_666_48, 0.008_337_893_5, 0.001_393_336_7, 0.000_173_172_8])
    }

    #[inline(always)]
    fn exp2_tail(r: f32) -> f32 {
        poly(r, [0.24022648, 0.055503614, 0.0096184835, 0.0013390555, 0.0001533658])
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

    #[inline(always)]
    fn low_power(shifted: f32) -> f32 {
        f32::from_bits(shifted.to_bits() << 23) * TWO_TO_MINUS_64 as f32
    }

    #[inline(always)]
    fn logistic(w: f32, r: f32) -> f32 {
        let t = (r * r).fma(exp_tail(r), r);
        let (p, pl) = fast_two_sum(1.0, t);
        w / (p + (w + pl))
    }
}

impl Constants for f64 {
    const SHIFTER: f64 = 6755399441055744.0 + 2046.0;
    const LOW_SHIFTER: f64 = 6755399441055744.0 + (1023.0 + 64.0);
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN2_HI: f64 = 0.693147180559663;
    const LN2_LO: f64 = 2.8235290563031577e-13;
    const LN2: (f64, f64) = (std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
    const EXP_RANGE: (f64, f64) = (-746.0, 710.0);
    const EXP_LAST: f64 = 709.782712893384;
    const EXP2_RANGE: (f64, f64) = (-1077.0, 1025.0);
    const SATURATION: f64 = 44.0;
    const TINY: f64 = 1.0 / (1u64 << 28) as f64;

    #[inline(always)]
    fn exp_series(r: f64) -> f64 {
        poly(
            r,
            [
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
    fn exp2_tail(r: f64) -> f64 {
        poly(
            r,
            [
                0.24022650695910122,
                0.05550410866482073,
                0.009618129107596867,
                0.0013333558146687093,
                0.0001540353045423736,
                1.5252733546144558e-05,
                1.32154365144661e-06,
                1.0178184838493559e-07,
                7.073596993629176e-09,
                4.4362949749706783e-10,
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

    #[inline(always)]
    fn low_power(shifted: f64) -> f64 {
        f64::from_bits(shifted.to_bits() << 52) * TWO_TO_MINUS_64
    }

    /// The sum keeps its rounding error, the quotient is corrected for it. The series is one term shorter than that of `exp`, which
    /// costs 0.05 units at the most.
    #[inline(always)]
    fn logistic(w: f64, r: f64) -> f64 {
        let series = poly(
            r,
            [
                0.16666666666666685,
                0.04166666666660269,
                0.008333333333314711,
                0.0013888888927301778,
                0.00019841269903211284,
                2.4801508059724603e-05,
                2.7557227595825484e-06,
                2.762542929844575e-07,
                2.5114616335089318e-08,
            ],
        );
        let t = (r * r).fma(r.fma(series, 0.5), r);
        let (large, small) = (select(w > 1.0, w, 1.0), select(w > 1.0, 1.0, w));
        let d = (large + small) + t;
        let dl = ((large - d) + small) + t;
        let q = 1.0 / d;
        let rest = (-q).fma(dl, (-q).fma(d, 1.0));
        q.fma(rest, q) * w
    }
}

/// x between the bounds; NaN stays.
#[inline(always)]
pub(super) fn clamp<T: Real>(x: T, (low, high): (T, T)) -> T {
    let x = select(x > high, high, x);
    select(x < low, low, x)
}

/// eˣ = 2ⁿ·(eʳ + rl) as (n + SHIFTER, r, rl): x = n·ln 2 + r + l with l the rounding error of r, and rl = l·(1 + r).
#[inline(always)]
pub(super) fn reduce<T: Real>(x: T) -> (T, T, T) {
    let shifted = x.fma(T::LOG2_E, T::SHIFTER);
    let n = shifted - T::SHIFTER;
    let high = (-n).fma(T::LN2_HI, x);
    let r = (-n).fma(T::LN2_LO, high);
    let l = (-n).fma(T::LN2_LO, high - r);
    (shifted, r, l.fma(r, l))
}

/// (eʳ − 1 − r) / r² for |r| ≤ ln 2 / 2.
#[inline(always)]
fn exp_tail<T: Real>(r: T) -> T {
    r.fma(T::exp_series(r), T::HALF)
}

/// eˣ.
///
/// Error: f32 < 0.85, f64 < 0.81.
#[inline(always)]
pub fn exp<T: Real>(x: T) -> T {
    let x = clamp(x, T::EXP_RANGE);
    let shifted = x.fma(T::LOG2_E, T::SHIFTER);
    let n = shifted - T::SHIFTER;
    // r is high + low; high is exact, and the rounding of r matters only to the tail.
    let (high, low) = ((-n).fma(T::LN2_HI, x), -n * T::LN2_LO);
    let r = high + low;
    let p = high + (r * r).fma(exp_tail(r), low) + T::ONE;
    let (w, wl) = T::powers(shifted);
    p * w * wl
}

/// e^(x + xl) for a small xl as (p, pl, powers of two to multiply both by), for x within EXP_RANGE or a little beyond.
#[inline(always)]
pub(super) fn exp_words<T: Real>(x: T, xl: T) -> (T, T, (T, T)) {
    let (shifted, r, rl) = reduce(x);
    let (t, tl) = fast_two_sum(r, (r * r).fma(exp_tail(r), rl));
    let (p, pl) = fast_two_sum(T::ONE, t);
    (p, p.fma(xl, pl + tl), T::powers(shifted))
}

/// 2ˣ, exact for integers.
///
/// Error: f32 < 0.89, f64 < 0.84.
#[inline(always)]
pub fn exp2<T: Real>(x: T) -> T {
    let x = clamp(x, T::EXP2_RANGE);
    let shifted = x + T::SHIFTER;
    let r = x - (shifted - T::SHIFTER);
    let p = r.fma(T::LN2.0, r * r.fma(T::exp2_tail(r), T::LN2.1)) + T::ONE;
    let (w, wl) = T::powers(shifted);
    p * w * wl
}

/// (eˣ − 1) / 2 as an unevaluated sum, for x between −SATURATION and the overflow of exp.
#[inline(always)]
fn half_expm1<T: Real>(x: T) -> (T, T) {
    let (shifted, r, rl) = reduce(x);
    scaled_expm1(T::half_power(shifted), T::HALF, r, rl)
}

/// (eˣ − 1) / 4 as an unevaluated sum, for x between −SATURATION and twice as far as the overflow of exp.
#[inline(always)]
pub(super) fn quarter_expm1<T: Real>(x: T) -> (T, T) {
    let (shifted, r, rl) = reduce(x);
    scaled_expm1(T::half_power(shifted - T::ONE), T::HALF * T::HALF, r, rl)
}

/// c·(eˣ − 1) for eˣ = 2ⁿ·(eʳ + rl), from u = c·2ⁿ: (u − c) + u·(r + rl + r²/2 + r³·p(r)), the first two terms
/// added without error, because they may cancel.
#[inline(always)]
fn scaled_expm1<T: Real>(u: T, c: T, r: T, rl: T) -> (T, T) {
    let (s, sl) = fast_two_sum(u, -c);
    let a = u.fma(r, s);
    let al = u.fma(rl, u.fma(r, s - a) + sl);
    let square = T::HALF * u * r;
    (a, (u * r * (r * r)).fma(T::exp_series(r), square.fma(r, al)))
}

/// eˣ − 1, accurate near 0.
///
/// Error: f32 < 0.81, f64 < 0.77.
#[inline(always)]
pub fn expm1<T: Real>(x: T) -> T {
    let (h, hl) = half_expm1(clamp(x, (-T::SATURATION, T::EXP_RANGE.1)));
    select(x.abs() < T::EPSILON * T::HALF, x, (h + hl) * T::TWO)
}

/// The logistic function 1 / (1 + e⁻ˣ), and 0 where e⁻ˣ overflows, as torch computes it.
///
/// With −x = −n·ln 2 + r and w = 2ⁿ it is w / (w + eʳ). Error: f32 < 2.00, f64 < 0.92.
#[inline(always)]
pub fn sigmoid<T: Real>(x: T) -> T {
    let inside = clamp(x, (T::EXP_RANGE.0, T::SATURATION));
    let shifted = inside.fma(T::LOG2_E, T::LOW_SHIFTER);
    let n = shifted - T::LOW_SHIFTER;
    let r = n.fma(T::LN2_LO, n.fma(T::LN2_HI, -inside));
    select(x < -T::EXP_LAST, T::ZERO, T::logistic(T::low_power(shifted), r))
}

/// The hyperbolic tangent.
///
/// E / (E + 2) with E = e^2|x| − 1 in two words. Error: f32 < 0.70, f64 < 0.66.
#[inline(always)]
pub fn tanh<T: Real>(x: T) -> T {
    let a = x.abs();
    let (h, hl) = half_expm1(clamp(a + a, (T::ZERO, T::SATURATION)));
    let (h, hl) = fast_two_sum(h, hl);
    let (d, dl) = super::two_sum(h, T::ONE);
    let y = divide((h, hl), (d, dl + hl));
    select(a < T::TINY, x, y.copysign(x))
}
