//! The error function and its complement.

use super::exp::exp_words;
use super::{Real, divide, exp, fast_two_sum, poly, select, two_product, two_sum};

/// The polynomials of the error functions for one type.
pub trait Constants: Sized {
    /// Where erf is 1 to rounding, and where erfc is certainly 0.
    const ENDS: (Self, Self);
    /// Where erf goes from the one polynomial to the other.
    const MIDDLE: Self;
    /// The same for erfc, not below ½.
    const ERFC_MIDDLE: Self;

    /// erf(x)/x − 1 for z = x², |x| ≤ MIDDLE.
    fn erf_series(z: Self) -> Self;
    /// erfc(x) for MIDDLE ≤ x ≤ ENDS.0, with an error that is small beside 1.
    fn erfc_beside_one(x: Self) -> Self;
    /// (1 + 2x)·e^x²·erfc(x) − 1 for ½ ≤ x ≤ ENDS.1, a polynomial in t = (x − K)/(x + K).
    fn erfc_series(x: Self) -> Self;
}

impl Constants for f32 {
    const ENDS: (f32, f32) = (3.95, 10.2);
    const MIDDLE: f32 = 1.125;
    const ERFC_MIDDLE: f32 = 0.5;

    #[inline(always)]
    fn erf_series(z: f32) -> f32 {
        poly(z, [0.12837917, -0.3761259, 0.11283175, -0.026837025, 0.005157365, -0.00077474994, 7.0189686e-05])
    }

    /// The fourth power of a polynomial for ⁴√erfc: half the work of an exponential.
    #[inline(always)]
    fn erfc_beside_one(x: f32) -> f32 {
        let root = poly(
            x - 1.6875,
            [0.36114195, -0.3472478, 0.08514619, 0.023170695, -0.01334474, -0.00020113804, 0.0011135694, -0.0001793476],
        );
        let square = root * root;
        square * square
    }

    #[inline(always)]
    fn erfc_series(x: f32) -> f32 {
        let x = x as f64;
        let p = poly(
            (x - 2.0) / (x + 2.0),
            [
                0.2769783812414108,
                -0.09276381510762036,
                -0.16603035191663595,
                0.16405070002537983,
                -0.05422103978725102,
                -0.00802568175906548,
                0.008730652655544496,
                0.0012214129601997282,
                -0.0014808370459670915,
                -0.00031837664172873535,
                0.00022888877644863337,
            ],
        );
        p as f32
    }
}

impl Constants for f64 {
    const ENDS: (f64, f64) = (5.95, 28.0);
    const MIDDLE: f64 = 1.0;
    const ERFC_MIDDLE: f64 = 0.625;

    #[inline(always)]
    fn erf_series(z: f64) -> f64 {
        poly(
            z,
            [
                0.1283791670955126,
                -0.3761263890318375,
                0.11283791670954828,
                -0.02686617064506702,
                0.0052239776247215534,
                -0.0008548326975217214,
                0.00012055330904381331,
                -1.492559023394316e-05,
                1.6460918991827628e-06,
                -1.6349441554891996e-07,
                1.4653872457595351e-08,
                -1.1349883217535096e-09,
                5.9181038471496e-11,
            ],
        )
    }

    /// By a polynomial for its logarithm.
    #[inline(always)]
    fn erfc_beside_one(x: f64) -> f64 {
        let t = x - 1.0;
        let p = poly(
            t,
            [
                2.638967514234791,
                0.84310725635851,
                0.041561098045861986,
                -0.010033825425249995,
                0.001977902947966408,
                -0.00023732432619888013,
                -2.6271728451749638e-05,
                2.7144512699814654e-05,
                -9.583531836174671e-06,
                2.0269596516569173e-06,
                -1.1095115061258712e-07,
                -1.2101367905051014e-07,
                6.504705454806977e-08,
                -2.030309464202459e-08,
                4.504726855401553e-09,
                -7.232607744092031e-10,
                8.041860075026534e-11,
                -5.548292622149787e-12,
                1.7872153071937322e-13,
            ],
        );
        exp(-t.mul_add(p, 1.8496055099332482))
    }

    #[inline(always)]
    fn erfc_series(x: f64) -> f64 {
        poly(
            (x - 4.0) / (x + 4.0),
            [
                0.2329951186255525,
                -0.1396211168405625,
                0.015379652102618881,
                0.06809705425469006,
                -0.10103906603624435,
                0.09373283499846069,
                -0.06633036581383944,
                0.037167515535277085,
                -0.016197734035390415,
                0.005031970002568055,
                -0.000757773468894191,
                -0.00019925686369188361,
                0.0001506225808956465,
                -2.439845798095393e-05,
                -1.1224955827315794e-05,
                5.707478638834944e-06,
                2.999079735860926e-07,
                -8.209764143014608e-07,
                6.672260466305093e-08,
                1.0447309500069559e-07,
                -1.2113850287545691e-08,
                -1.0081510385658394e-08,
            ],
        )
    }
}

/// The error function 2/√π ∫₀ˣ e^−t² dt.
///
/// x + x·p(x²) for small |x|, 1 − erfc(|x|) beyond. Error: f32 < 1.6, f64 < 0.96.
#[inline(always)]
pub fn erf<T: Real>(x: T) -> T {
    let a = x.abs();
    let near = x.fma(T::erf_series(x * x), x);
    let end = T::ENDS.0;
    let far = T::ONE - T::erfc_beside_one(select(a > end, end, a));
    select(a < T::MIDDLE, near, far.copysign(x))
}

/// 1 − erf(x), accurate where that cancels; underflows gradually on the right.
///
/// e^−x²·(1 + p(t)) / (1 + 2|x|) with t = (|x| − K)/(|x| + K) (Shepherd & Laframboise 1981), x² and the exponential in
/// two words; 1 − (x + x·p(x²)) for small |x|. Error: f32 < 0.81, f64 < 0.88.
#[inline(always)]
pub fn erfc<T: Real>(x: T) -> T {
    let a = x.abs();
    let a = select(a > T::ENDS.1, T::ENDS.1, a);
    let p = T::erfc_series(a);
    let (s, sl) = two_product(a, a);
    let (e, el, (w, wl)) = exp_words(-s, -sl);
    let n = e.fma(p, e);
    let nl = e.fma(p, e - n) + el.fma(p, el);
    let y = divide((n, nl), two_sum(a + a, T::ONE)) * w * wl;
    let far = select(x < T::ZERO, T::TWO - y, y);
    let (c, cl) = fast_two_sum(T::ONE, -x);
    let near = c + (-x).fma(T::erf_series(x * x), cl);
    select(a < T::ERFC_MIDDLE, near, far)
}
