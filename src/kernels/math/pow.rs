//! Powers with real exponents.
//!
//! |x|ʸ = e^(y·ln|x|). y·ln|x| can be 745, so for f64 the logarithm has two words, good to 2⁻⁶⁶; for f32 all is done in f64.

use super::exp::{self, clamp, exp_words, reduce};
use super::{Real, fast_two_sum, log, poly, select, two_product};

/// |x|ʸ for one type.
pub trait Power: Sized {
    /// xʸ for finite x > 0; for x = 0 and x = ∞ the limit; NaN for other x.
    fn positive_power(x: Self, y: Self) -> Self;
}

impl Power for f32 {
    #[inline(always)]
    fn positive_power(x: f32, y: f32) -> f32 {
        let (x, y) = (x as f64, y as f64);
        let (k, f) = log::split_normal(x);
        let s = f / (2.0 + f);
        let z = s * s;
        let p = poly(z, [0.6666666667589339, 0.39999995586654497, 0.2857211324974945, 0.22176003743126207, 0.19587001669462134]);
        let l = k.mul_add(std::f64::consts::LN_2, (s * z).mul_add(p, s + s));
        let l = select(x == 0.0, f64::NEG_INFINITY, select(x < f64::INFINITY, l, x));
        let (shifted, r, _) = reduce(clamp(clamp(y, (-1e300, 1e300)) * l, (-200.0, 200.0)));
        let p = poly(
            r,
            [
                0.5000000067839654,
                0.16666665866899247,
                0.04166629436503943,
                0.00833349736560433,
                0.0013944703510830824,
                0.0001979028500489293,
            ],
        );
        let (w, wl) = exp::Constants::powers(shifted);
        (((r * r).mul_add(p, r) + 1.0) * (w * wl)) as f32
    }
}

impl Power for f64 {
    #[inline(always)]
    fn positive_power(x: f64, y: f64) -> f64 {
        let (l, ll) = ln_words(x);
        let y = clamp(y, (f64::MIN, f64::MAX));
        let p = y * l;
        // Where exp overflows or vanishes the second word is not needed, and may be ∞ − ∞.
        let pl = select(p.abs() < 800.0, y.mul_add(ll, y.mul_add(l, -p)), 0.0);
        let (e, el, (w, wl)) = exp_words(clamp(p, exp::Constants::EXP_RANGE), pl);
        (e + el) * w * wl
    }
}

/// ln x in two words for x > 0, with a relative error of 2⁻⁶⁶; −∞ at 0, ∞ at ∞.
///
/// ln(1 + f) = 2s + s³·(2/3 + z·p(z)) with s = f/(2 + f) and z = s², all but p in two words.
#[inline(always)]
fn ln_words(x: f64) -> (f64, f64) {
    let (k, f) = log::Constants::split(x);
    let (d, dl) = fast_two_sum(2.0, f);
    let r = 1.0 / d;
    let s = f * r;
    let sl = (-s).mul_add(dl, (-s).mul_add(d, f)) * r;
    let (z, zl) = two_product(s, s);
    let zl = (s + s).mul_add(sl, zl);
    let p = z * poly(
        z,
        [
            0.39999999999999974,
            0.2857142857144705,
            0.22222222217067608,
            0.18181818927548257,
            0.15384552986869232,
            0.1333646605482269,
            0.11671817586194201,
            0.1201386946017042,
        ],
    );
    let (c, cl) = fast_two_sum(TWO_THIRDS.0, p);
    let cl = cl + TWO_THIRDS.1;
    let (u, ul) = two_product(s, z);
    let ul = s.mul_add(zl, sl.mul_add(z, ul));
    let (v, vl) = two_product(u, c);
    let vl = u.mul_add(cl, ul.mul_add(c, vl));
    let (a, al) = fast_two_sum(k * <f64 as log::Constants>::LN2_SHORT, s + s);
    let (b, bl) = fast_two_sum(a, v);
    let rest = k.mul_add(<f64 as log::Constants>::LN2_REST, (sl + sl) + vl) + (al + bl);
    let (l, ll) = fast_two_sum(b, rest);
    let l = select(x == 0.0, f64::NEG_INFINITY, select(x < f64::INFINITY, l, x));
    (l, select(l.abs() < 800.0, ll, 0.0))
}

/// 2/3 rounded, and the rest.
const TWO_THIRDS: (f64, f64) = (0.6666666666666666, 3.700743415417188e-17);

/// xʸ with the special cases of C99: x⁰ = 1ʸ = 1 even for NaN; negative x only to integer powers.
///
/// Error: f32 < 0.51, f64 < 0.77.
#[inline(always)]
pub fn pow<T: Real>(x: T, y: T) -> T {
    let a = x.abs();
    let p = T::positive_power(a, y);
    let integer = y.trunc() == y;
    let half = T::HALF * y;
    let odd = integer & (half.trunc() != half);
    // Negative finite x, but not −0, has no power that is not an integer.
    let p = select((x < T::ZERO) & (a < T::INFINITY) & !integer, T::NAN, p);
    let p = select(odd, p.copysign(x), p);
    select((x == T::ONE) | (y == T::ZERO), T::ONE, p)
}
