//! Hyperbolic functions but tanh, their inverses, and softplus: compositions of the exponential and the logarithm in two
//! words.

use super::exp::{Constants as _, clamp, exp, exp_words, quarter_expm1};
use super::log::{log1p_of_part, log1p_words};
use super::{Real, divide_words, fast_two_sum, select, two_product, two_sum};

/// The hyperbolic sine.
///
/// (E + E / (E + 1)) / 2 with E = e^|x| − 1 in two words. Error: f32 < 0.71, f64 < 0.66.
#[inline(always)]
pub fn sinh<T: Real>(x: T) -> T {
    let a = x.abs();
    let (h, hl) = quarter_expm1(clamp(a, (T::ZERO, T::EXP_RANGE.1 + T::HALF)));
    let (h, hl) = fast_two_sum(h, hl);
    // Beyond the saturation of tanh the second term vanishes.
    let last = clamp(h, (T::ZERO, large()));
    let four = T::TWO * T::TWO;
    let (d, dl) = two_sum(last * four, T::ONE);
    let (q, ql) = divide_words((last, hl), (d, dl + hl * four));
    let q = select(h > last, T::ZERO, q);
    let (y, yl) = fast_two_sum(h, q);
    let y = (y + (yl + (hl + select(h > last, T::ZERO, ql)))) * T::TWO;
    select(a < T::TINY, x, y.copysign(x))
}

/// The hyperbolic cosine.
///
/// W + 1/(4W) with W = e^|x| / 2 in two words. Error: f32 < 0.88, f64 < 0.88.
#[inline(always)]
pub fn cosh<T: Real>(x: T) -> T {
    let a = clamp(x.abs(), (T::ZERO, T::EXP_RANGE.1 + T::HALF));
    let (p, pl, (w, wl)) = exp_words(a, T::ZERO);
    let half = T::HALF * w;
    let (p, pl) = (p * half * wl, pl * half * wl);
    p + (T::HALF * T::HALF / p + pl)
}

/// Above it x² ± 1 is x² to rounding; x⁴ is still finite.
#[inline(always)]
fn large<T: Real>() -> T {
    T::ONE / (T::EPSILON * T::EPSILON)
}

/// The inverse hyperbolic sine.
///
/// ln(1 + t) with t = |x| + x² / (1 + √(x² + 1)), for large x ln(2|x|). Error: f32 < 0.75, f64 < 0.63.
#[inline(always)]
pub fn asinh<T: Real>(x: T) -> T {
    let a = x.abs();
    let beyond = a > large();
    let (q, ql) = divide_words(two_product(a, a), fast_two_sum(a.fma(a, T::ONE).sqrt(), T::ONE));
    let (t, tl) = fast_two_sum(a, select(beyond, T::ZERO, q));
    let tl = tl + select(beyond, T::ZERO, ql);
    let (y, yl) = log1p_words(t, tl, select(beyond, T::ONE, T::ZERO));
    let y = select(a < T::INFINITY, y + yl, a);
    select(a < T::TINY, x, y.copysign(x))
}

/// The inverse hyperbolic cosine; NaN below 1.
///
/// ln(1 + t) with t = y + √(2y + y²) in two words and y = x − 1, for large x ln(2x). Error: f32 < 0.67, f64 < 0.61.
#[inline(always)]
pub fn acosh<T: Real>(x: T) -> T {
    let beyond = x > large();
    let y = x - T::ONE;
    let (p, pl) = two_product(y, y);
    let (v, vl) = two_sum(y + y, p);
    let s = v.sqrt();
    let sl = T::HALF * ((-s).fma(s, v) + (vl + pl)) / s;
    let (t, tl) = two_sum(s, y);
    let (t, tl) = (select(beyond, x, t), select(beyond, T::ZERO, tl + sl));
    let (r, rl) = log1p_words(t, tl, select(beyond, T::ONE, T::ZERO));
    let r = select(x < T::INFINITY, r + rl, x);
    let r = select(x == T::ONE, T::ZERO, r);
    select(x < T::ONE, T::NAN, r)
}

/// The inverse hyperbolic tangent; ±∞ at ±1, NaN beyond.
///
/// ln(1 + t) / 2 with t = 2|x| / (1 − |x|) in two words. Error: f32 < 0.71, f64 < 0.60.
#[inline(always)]
pub fn atanh<T: Real>(x: T) -> T {
    let a = x.abs();
    let (t, tl) = divide_words((a + a, T::ZERO), fast_two_sum(T::ONE, -a));
    let (y, yl) = log1p_words(t, tl, T::ZERO);
    let y = T::HALF * (y + yl);
    let y = select(a < T::ONE, y, select(a == T::ONE, T::INFINITY, T::NAN));
    select(a < T::TINY, x, y.copysign(x))
}

/// How softplus is computed for one type.
pub trait Forms: Sized {
    /// ln(1 + eˣ) for x ≤ 0 as an unevaluated sum.
    fn ln_1p_exp(x: Self) -> (Self, Self);
}

impl Forms for f32 {
    /// z + z²·q(z) with z = eˣ. Horner's rule rounds to less here than two chains, whose sum would cancel.
    #[inline(always)]
    fn ln_1p_exp(x: f32) -> (f32, f32) {
        const SERIES: [f32; 10] = [
            -0.499_999_9,
            0.333_326_9,
            -0.249_885_78,
            0.198_979_29,
            -0.161_293_24,
            0.124_670_96,
            -0.083_073_7,
            0.041_981_05,
            -0.013_631_333,
            0.002_072_918_2,
        ];
        let z = exp(x);
        let q = SERIES[..9].iter().rfold(SERIES[9], |q, &c| q.mul_add(z, c));
        ((z * z).mul_add(q, z), 0.0)
    }
}

impl Forms for f64 {
    /// Both functions in two words.
    #[inline(always)]
    fn ln_1p_exp(x: f64) -> (f64, f64) {
        let (p, pl, (w, wl)) = exp_words(select(x < f64::EXP_RANGE.0, f64::EXP_RANGE.0, x), 0.0);
        let (z, zl) = (p * w * wl, pl * w * wl);
        let (y, yl) = log1p_of_part(z, zl);
        let (y, yl) = fast_two_sum(y, yl);
        // ln(1 + z) = z − z²/2 where 1 + z would lose z.
        let tiny = z < f64::EPSILON;
        (select(tiny, z, y), select(tiny, (-0.5 * z).mul_add(z, zl), yl))
    }
}

/// ln(1 + eˣ), which underflows gradually on the left.
///
/// max(x, 0) + ln(1 + e^−|x|). Error: f32 < 1.9, f64 < 0.75.
#[inline(always)]
pub fn softplus<T: Real>(x: T) -> T {
    let (y, yl) = T::ln_1p_exp(-x.abs());
    let (sum, error) = two_sum(select(x > T::ZERO, x, T::ZERO), y);
    let y = sum + (error + yl);
    select(x < T::INFINITY, y, x)
}
