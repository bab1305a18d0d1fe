//! Inverse trigonometric functions.
//!
//! All end in `m·π/4 ± (v + vl + v³·p(v²))` with the leading sum free of error, after a reduction that leaves |v| below about ½.

use super::{Real, divide_words, fast_two_sum, poly, select, two_product};

/// The polynomials and constants of the inverse trigonometric functions for one type.
pub trait Constants: Sized {
    /// π/4 in two words.
    const QUARTER_PI: (Self, Self);
    /// tan(π/8).
    const TAN_EIGHTH_PI: Self;
    /// A pair with a number above the first or, failing that, one below the second is multiplied by the third or
    /// by its inverse before the numbers are divided.
    const DIVIDABLE: (Self, Self, Self);

    /// (atan(v)/v − 1)/z for z = v², |v| ≤ tan(π/8).
    fn atan_series(z: Self) -> Self;
    /// (asin(v)/v − 1)/z for z = v² ≤ ¼.
    fn asin_series(z: Self) -> Self;
}

impl Constants for f32 {
    const QUARTER_PI: (f32, f32) = (std::f32::consts::FRAC_PI_4, -2.1855694e-8);
    const TAN_EIGHTH_PI: f32 = std::f32::consts::SQRT_2 - 1.0;
    const DIVIDABLE: (f32, f32, f32) = (1e25, 1e-25, 1.0 / (1u64 << 40) as f32);

    #[inline(always)]
    fn atan_series(z: f32) -> f32 {
        poly(z, [-0.33333316, 0.19998527, -0.14244264, 0.105974734, -0.060839936])
    }

    #[inline(always)]
    fn asin_series(z: f32) -> f32 {
        poly(z, [0.1666666, 0.07500522, 0.044513352, 0.03183953, 0.014312099, 0.037702303])
    }
}

impl Constants for f64 {
    const QUARTER_PI: (f64, f64) = (std::f64::consts::FRAC_PI_4, 3.061616997868383e-17);
    const TAN_EIGHTH_PI: f64 = std::f64::consts::SQRT_2 - 1.0;
    const DIVIDABLE: (f64, f64, f64) = (1e200, 1e-200, 1.0 / (1u128 << 127) as f64);

    #[inline(always)]
    fn atan_series(z: f64) -> f64 {
        poly(
            z,
            [
                -0.33333333333333326,
                0.19999999999997098,
                -0.14285714285318735,
                0.11111111084142522,
                -0.09090908012207465,
                0.07692280102951879,
                -0.0666619262338802,
                0.05876735512090391,
                -0.05216846738673739,
                0.044982547845508626,
                -0.033372371665574475,
                0.015109965059262582,
            ],
        )
    }

    #[inline(always)]
    fn asin_series(z: f64) -> f64 {
        poly(
            z,
            [
                0.16666666666666763,
                0.0749999999996997,
                0.044642857175447984,
                0.030381942665684836,
                0.02237221622597777,
                0.017351588889282146,
                0.013981107733428377,
                0.011396484734021255,
                0.010794276709905506,
                0.0036519129251832475,
                0.021843637349759602,
                -0.021196748423648316,
                0.032755275946750546,
            ],
        )
    }
}

/// m·π/4 + sign·(v + vl + v·tail), |v| below π/4 or m = 0.
#[inline(always)]
fn finish<T: Real>(m: T, sign: T, v: T, vl: T, tail: T) -> T {
    let (base, bl) = two_product(m, T::QUARTER_PI.0);
    let (sum, error) = fast_two_sum(base, sign * v);
    let small = sign.fma(v.fma(tail, vl), error);
    sum + (m.fma(T::QUARTER_PI.1, bl) + small)
}

/// The angle in [0, π] of the point (±x, y), `left` saying that x counts as negative; finite x, y ≥ 0 that can be divided.
#[inline(always)]
fn angle<T: Real>(y: T, x: T, left: bool) -> T {
    let steep = y > x;
    let (low, high) = (select(steep, x, y), select(steep, y, x));
    // Octants are halved: t = low/high is its own tangent, or that of the angle from the diagonal.
    let middle = low > T::TAN_EIGHTH_PI * high;
    let (numerator, nl) = fast_two_sum(-high, low);
    let (denominator, dl) = fast_two_sum(high, low);
    let (v, vl) = divide_words(
        (select(middle, numerator, low), select(middle, nl, T::ZERO)),
        (select(middle, denominator, high), select(middle, dl, T::ZERO)),
    );
    let m = select(middle, T::ONE, T::ZERO);
    let m = select(steep, T::TWO - m, m);
    let m = select(left, T::TWO + T::TWO - m, m);
    let sign = select(steep ^ left, -T::ONE, T::ONE);
    let z = v * v;
    finish(m, sign, v, (-z).fma(vl, vl), z * T::atan_series(z))
}

/// The arctangent.
///
/// Error: f32 < 0.68, f64 < 0.64.
#[inline(always)]
pub fn atan<T: Real>(x: T) -> T {
    let a = x.abs();
    // At 2/ε² the angle is π/2 to rounding; beyond, the reciprocal could be lost.
    let limit = T::TWO / (T::EPSILON * T::EPSILON);
    let y = angle(select(a > limit, limit, a), T::ONE, false).copysign(x);
    select(a < T::TINY, x, y)
}

/// The angle of the point (x, y), from −π to π, with C99's answers for zeros and infinities.
///
/// Error: f32 < 0.75, f64 < 0.72.
#[inline(always)]
pub fn atan2<T: Real>(y: T, x: T) -> T {
    let (a, b) = (y.abs(), x.abs());
    let (smallest, largest) = (select(a > b, b, a), select(a > b, a, b));
    // An infinite coordinate counts as 1 beside a finite one, which counts as 0.
    let infinite = largest == T::INFINITY;
    let direction = |c: T| select(infinite, select(c == T::INFINITY, T::ONE, T::ZERO), c);
    let (up, down, factor) = T::DIVIDABLE;
    let factor = select(largest > up, factor, select(smallest < down, T::ONE / factor, T::ONE));
    let factor = select(infinite, T::ONE, factor);
    let x_scaled = direction(b) * factor;
    // The angle of (0, 0) is that of (1, 0).
    let x_scaled = select(largest == T::ZERO, T::ONE, x_scaled);
    let left = T::ONE.copysign(x) < T::ZERO;
    let angle = angle(direction(a) * factor, x_scaled, left).copysign(y);
    select((a <= T::INFINITY) & (b <= T::INFINITY), angle, T::NAN)
}

/// What asin and acos share: v and its low word, z and the tail for |x| ≤ ½ (v = |x|) or above (v = 2√((1 − |x|)/2)).
#[inline(always)]
fn arcsine<T: Real>(a: T, outer: bool) -> (T, T, T) {
    let z = select(outer, T::HALF.fma(-a, T::HALF), a * a);
    let s = select(outer, z, T::ONE).sqrt();
    let sl = (-s).fma(s, z) / s;
    let sl = select(s == T::ZERO, T::ZERO, sl);
    (select(outer, s + s, a), select(outer, sl, T::ZERO), z * T::asin_series(z))
}

/// The arcsine; NaN outside [−1, 1].
///
/// Error: f32 < 0.65, f64 < 0.59.
#[inline(always)]
pub fn asin<T: Real>(x: T) -> T {
    let a = x.abs();
    let outer = a > T::HALF;
    let (v, vl, tail) = arcsine(a, outer);
    let y = finish(select(outer, T::TWO, T::ZERO), select(outer, -T::ONE, T::ONE), v, vl, tail).copysign(x);
    select(a < T::TINY, x, y)
}

/// The arccosine; NaN outside [−1, 1].
///
/// Error: f32 < 0.62, f64 < 0.58.
#[inline(always)]
pub fn acos<T: Real>(x: T) -> T {
    let a = x.abs();
    let outer = a > T::HALF;
    let right = x > T::ZERO;
    let (v, vl, tail) = arcsine(a, outer);
    let m = select(outer, select(right, T::ZERO, T::TWO + T::TWO), T::TWO);
    finish(m, select(right ^ outer, -T::ONE, T::ONE), v, vl, tail)
}
