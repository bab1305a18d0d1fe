//! Special functions of one number that do not vectorise.
//!
//! Sources: Cephes (Moshier) for digamma, trigamma and the Hurwitz zeta function, with torch's conventions at poles.

use libm::{lgamma as lgamma64, lgammaf, tgamma};

use super::math::{self, Real};

/// What the functions here need besides [`Real`].
pub trait Special: Real {
    /// ln |Γ(x)|.
    fn lgamma(self) -> Self;
    /// As a double.
    fn wide(self) -> f64;
    /// Rounded from a double.
    fn narrow(value: f64) -> Self;
}

impl Special for f32 {
    #[inline(always)]
    fn lgamma(self) -> f32 {
        if self == f32::NEG_INFINITY { f32::INFINITY } else { lgammaf(self) }
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn narrow(value: f64) -> f32 {
        value as f32
    }
}

impl Special for f64 {
    #[inline(always)]
    fn lgamma(self) -> f64 {
        if self == f64::NEG_INFINITY { f64::INFINITY } else { lgamma64(self) }
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn narrow(value: f64) -> f64 {
        value
    }
}

/// The logarithmic derivative of Γ: NaN at negative integers, ∓∞ at ±0.
pub fn digamma<T: Special>(x: T) -> T {
    T::narrow(digamma_f64(x.wide()))
}

fn digamma_f64(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x == f64::INFINITY {
        return x;
    }
    if x < 0.0 {
        // Reflection: ψ(1 − x) − ψ(x) = π / tan(πx). The argument of the tangent is reduced first.
        if x == x.trunc() {
            return f64::NAN;
        }
        let fraction = x % 1.0;
        return digamma_f64(1.0 - x) - std::f64::consts::PI / (std::f64::consts::PI * fraction).tan();
    }
    // Recurrence up to 10, then the asymptotic series.
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift -= 1.0 / x;
        x += 1.0;
    }
    if x == 10.0 {
        return shift + 2.251_752_589_066_721;
    }
    let series = if x < 1.0e17 {
        let z = 1.0 / (x * x);
        let terms = [
            8.333_333_333_333_333e-2,
            -2.109_279_609_279_609_3e-2,
            7.575_757_575_757_576e-3,
            -4.166_666_666_666_667e-3,
            3.968_253_968_253_968e-3,
            -8.333_333_333_333_333e-3,
            8.333_333_333_333_333e-2,
        ];
        z * terms.iter().fold(0.0, |sum, c| sum * z + c)
    } else {
        0.0
    };
    shift + x.ln() - 0.5 / x - series
}

/// The n-th derivative of digamma.
pub fn polygamma<T: Special>(n: i64, x: T) -> T {
    T::narrow(match n {
        0 => digamma_f64(x.wide()),
        1 => trigamma(x),
        _ => {
            let order = n as f64;
            let sign = if n % 2 == 0 { -1.0 } else { 1.0 };
            sign * tgamma(order + 1.0) * zeta(order + 1.0, x.wide())
        }
    })
}

fn trigamma<T: Special>(x: T) -> f64 {
    let (mut x, mut sign, mut sum) = (x.wide(), 1.0, 0.0);
    if x < 0.5 {
        sign = -1.0;
        // Rounded as torch's: in single precision the poles are as far away as rounded multiples of π are from zeros of the sine.
        let round = |value: f64| T::narrow(value).wide();
        let sine = round(round(round(std::f64::consts::PI) * x).sin());
        sum -= std::f64::consts::PI * std::f64::consts::PI / (sine * sine);
        x = 1.0 - x;
    }
    // Recurrence up to 20, from where four terms of the asymptotic series are exact to the last bits.
    while x < 20.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = 1.0 + 1.0 / (2.0 * x) + z * (1.0 / 6.0 - z * (1.0 / 30.0 - z * (1.0 / 42.0 - z * (1.0 / 30.0))));
    sign * (sum + series / x)
}

/// Hurwitz's zeta function, the sum over k ≥ 0 of (k + q)^−x, by Euler and Maclaurin's formula: infinite at x = 1 and where a term is, NaN for x below.
pub fn zeta(x: f64, q: f64) -> f64 {
    // (2k)! / B2k
    const A: [f64; 12] = [
        12.0,
        -720.0,
        30240.0,
        -1209600.0,
        47900160.0,
        -1.892_437_580_318_379_2e9,
        7.47242496e10,
        -2.950_130_727_918_164e12,
        1.164_678_281_435_006_7e14,
        -4.597_978_722_407_473e15,
        1.815_210_540_194_354_6e17,
        -7.166_165_256_175_667e18,
    ];
    if x == 1.0 {
        return f64::INFINITY;
    }
    if x < 1.0 {
        return f64::NAN;
    }
    if q <= 0.0 {
        if q == q.floor() {
            return f64::INFINITY;
        }
        if x != x.floor() {
            return f64::NAN;
        }
        if q < -1e3 {
            // The terms below 0, of which there may be very many, are those of another such sum, mirrored.
            let above = q - q.floor();
            let mirrored = zeta(x, 1.0 - above) - zeta(x, 1.0 - q);
            return zeta(x, above) + if x % 2.0 == 0.0 { mirrored } else { -mirrored };
        }
    }
    let mut sum = q.powf(-x);
    let (mut a, mut i, mut b) = (q, 0, 0.0);
    while i < 9 || a <= 9.0 {
        i += 1;
        a += 1.0;
        b = a.powf(-x);
        sum += b;
        if -f64::EPSILON * sum < b && b < f64::EPSILON * sum {
            return sum;
        }
    }
    sum += b * a / (x - 1.0) - 0.5 * b;
    let (mut factor, mut k) = (1.0, 0.0);
    for coefficient in A {
        factor *= x + k;
        b /= a;
        let term = factor * b / coefficient;
        sum += term;
        if (term / sum).abs() < f64::EPSILON {
            break;
        }
        k += 1.0;
        factor *= x + k;
        b /= a;
        k += 1.0;
    }
    sum
}

/// The inverse of erf: NaN outside [-1, 1], infinite at the ends.
///
/// A rational approximation (Moore, `erfinv.m`), then two steps of Newton's method.
///
/// Inlined always: only within a loop compiled for it is the fused multiply-add of `erf` an instruction.
#[inline(always)]
pub fn erfinv<T: Special>(y: T) -> T {
    let y = y.wide();
    T::narrow(erfinv_f64(y))
}

#[inline(always)]
fn erfinv_f64(y: f64) -> f64 {
    const CENTRE: f64 = 0.7;
    let size = y.abs();
    if size.is_nan() || size > 1.0 {
        return f64::NAN;
    }
    if size == 1.0 {
        return f64::INFINITY.copysign(y);
    }
    let poly = |x: f64, c: &[f64]| c.iter().fold(0.0, |sum, c| sum * x + c);
    let mut x = if size <= CENTRE {
        let z = y * y;
        let over = poly(z, &[-0.140543331, 0.914624893, -1.645349621, 0.886226899]);
        y * over / poly(z, &[0.012229801, -0.329097515, 1.442710462, -2.118377725, 1.0])
    } else {
        let z = (-((1.0 - size) / 2.0).ln()).sqrt();
        let over = poly(z, &[1.641345311, 3.429567803, -1.624906493, -1.970840454]);
        (over / poly(z, &[1.637067800, 3.543889200, 1.0])).copysign(y)
    };
    for _ in 0..2 {
        x -= (math::erf(x) - y) / (std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp());
    }
    x
}

/// e^x² erfc(x).
pub fn erfcx<T: Special>(x: T) -> T {
    let root = T::narrow(1.0 / std::f64::consts::PI.sqrt());
    let v = x.wide();
    if v > 5e7 {
        return root / x;
    }
    if v > 50.0 {
        // A continued fraction (Abramowitz and Stegun, 7.1.14), rounded as in torch: derivatives show the last bits.
        let square = x * x;
        let above = square * (square + T::narrow(4.5)) + T::TWO;
        return root * above / (x * (square * (square + T::narrow(5.0)) + T::narrow(3.75)));
    }
    if v > 25.0 {
        // The asymptotic series of erfc.
        let r = 0.5 / (v * v);
        let sum = (1..10).rev().fold(1.0, |sum, k| 1.0 - f64::from(2 * k - 1) * r * sum);
        return T::narrow(sum / (v * std::f64::consts::PI.sqrt()));
    }
    let square = v * v;
    let lost = v.mul_add(v, -square);
    let power = square.exp();
    T::narrow(if power.is_finite() { power * (1.0 + lost) * math::erfc(v) } else { power })
}

/// The logarithm of the probability that a normal variable is below x. Rounded step by step as in torch: derivatives show the last bits.
pub fn log_ndtr<T: Special>(x: T) -> T {
    let t = x * T::narrow(std::f64::consts::FRAC_1_SQRT_2);
    if x < -T::ONE {
        T::narrow((erfcx(-t) * T::HALF).wide().ln()) - t * t
    } else {
        T::narrow((-math::erfc(t.wide()) / 2.0).ln_1p())
    }
}

/// What a normal variable is below with probability p, the inverse of `ndtr`: NaN outside [0, 1], infinite at the ends.
pub fn ndtri(p: f64) -> f64 {
    if p == 0.0 || p == 1.0 {
        return f64::INFINITY.copysign(p - 0.5);
    }
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p > 0.1 {
        return std::f64::consts::SQRT_2
            * if p < 0.9 { erfinv_f64(2.0 * p - 1.0) } else { -ndtri(1.0 - p) / std::f64::consts::SQRT_2 };
    }
    // Newton's method for the logarithm, which is nearly a parabola, from Abramowitz and Stegun's 26.2.23.
    let log = p.ln();
    let t = (-2.0 * log).sqrt();
    let mut x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
    for _ in 0..3 {
        let slope = (2.0 / std::f64::consts::PI).sqrt() / erfcx(-x * std::f64::consts::FRAC_1_SQRT_2);
        x -= (log_ndtr(x) - log) / slope;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-13 * b.abs().max(1.0)
    }

    #[test]
    fn known_values() {
        const EULER: f64 = 0.577_215_664_901_532_9;
        let pi2 = std::f64::consts::PI * std::f64::consts::PI;
        assert!(close(digamma(1.0), -EULER));
        assert!(close(digamma(-0.5), digamma(0.5) + 2.0));
        assert!(close(polygamma(1, 1.0), pi2 / 6.0));
        assert!(close(polygamma(2, 1.0), -2.0 * 1.202_056_903_159_594_2));
        assert!(close(polygamma(3, 1.0), pi2 * pi2 / 15.0));
    }

    #[test]
    fn poles() {
        assert_eq!((digamma(0.0f64), digamma(-0.0f64)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(digamma(-2.0f32).is_nan());
        assert_eq!((erfinv(1.0f32), erfinv(-1.0f32)), (f32::INFINITY, f32::NEG_INFINITY));
        assert!(erfinv(1.5f64).is_nan());
    }

    #[test]
    fn erfinv_undoes_erf() {
        for i in -40..=40 {
            let x = f64::from(i) / 10.0;
            let y = math::erf(x);
            assert!((math::erf(erfinv(y)) - y).abs() < 1e-15, "at {x}");
        }
    }

    #[test]
    fn normal_distribution() {
        let cases = [
            (erfcx as fn(f64) -> f64, -5.0, 144009798674.66104),
            (erfcx as fn(f64) -> f64, -0.5, 1.952360489182557),
            (erfcx as fn(f64) -> f64, 0.5, 0.6156903441929259),
            (erfcx as fn(f64) -> f64, 2.0, 0.25539567631050575),
            (erfcx as fn(f64) -> f64, 24.0, 0.02348754606368264),
            (erfcx as fn(f64) -> f64, 26.0, 0.021683584850562907),
            (erfcx as fn(f64) -> f64, 10000.0, 5.641895807268084e-05),
            (log_ndtr as fn(f64) -> f64, -50.0, -1254.8313611394199),
            (log_ndtr as fn(f64) -> f64, -2.0, -3.783184333682032),
            (log_ndtr as fn(f64) -> f64, -0.9, -1.6924928065613383),
            (log_ndtr as fn(f64) -> f64, 0.0, -std::f64::consts::LN_2),
            (log_ndtr as fn(f64) -> f64, 3.0, -0.0013508099647481938),
            (log_ndtr as fn(f64) -> f64, 9.0, -1.1285884059538405e-19),
            (ndtri as fn(f64) -> f64, 1e-300, -37.0470962993612),
            (ndtri as fn(f64) -> f64, 1e-20, -9.262340089798407),
            (ndtri as fn(f64) -> f64, 0.01, -2.326347874040841),
            (ndtri as fn(f64) -> f64, 0.099, -1.2872705631079415),
            (ndtri as fn(f64) -> f64, 0.11, -1.22652812003661),
            (ndtri as fn(f64) -> f64, 0.4, -0.2533471031357997),
            (ndtri as fn(f64) -> f64, 0.7, 0.5244005127080407),
            (ndtri as fn(f64) -> f64, 0.89, 1.22652812003661),
            (ndtri as fn(f64) -> f64, 0.91, 1.3407550336902165),
            (ndtri as fn(f64) -> f64, 0.999, 3.090232306167813),
        ];
        for (f, x, want) in cases {
            assert!((f(x) - want).abs() <= 4e-14 * want.abs(), "{want} at {x}: {}", f(x));
        }
        assert_eq!((ndtri(0.0), ndtri(1.0), ndtri(0.5)), (f64::NEG_INFINITY, f64::INFINITY, 0.0));
        assert!(ndtri(-0.1).is_nan() && ndtri(1.1).is_nan() && ndtri(f64::NAN).is_nan());
    }

    #[test]
    fn zeta_far_below_zero() {
        // By its definition the sum loses one term from one argument to the next.
        for x in [2.0, 3.0, 4.0] {
            let (a, b) = (zeta(x, -999.5), zeta(x, -1000.5));
            assert!((b - a - (-1000.5f64).powf(-x)).abs() < 1e-13);
            assert!(zeta(x, -1e15 + 0.5).is_finite());
        }
    }
}
