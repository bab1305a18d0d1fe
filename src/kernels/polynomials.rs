//! Orthogonal polynomials of degree n at x, by torch's conventions: the degree is cut to a whole number, and below 0 they are 0.
//!
//! By the three-term recurrences, and Chebyshev's of higher degree between -1 and 1 by trigonometric functions (NIST's Digital Library of
//! Mathematical Functions, 18.5 and 18.9). Recurrences run in the precision of the arguments, so that they overflow where torch's do.

use super::special::Special;

/// Recurrences of more steps, which would run for seconds, answer NaN.
const STEPS: i64 = 100_000_000;

/// The degree as a whole number; -1 for what is none.
fn whole<T: Special>(n: T) -> i64 {
    let n = n.wide();
    if n.abs() < 9.2e18 { n as i64 } else { -1 }
}

fn number<T: Special>(n: i64) -> T {
    T::narrow(n as f64)
}

fn sign<T: Special>(n: i64) -> T {
    if n % 2 == 0 { T::ONE } else { -T::ONE }
}

/// The polynomial of degree n, of those of degrees 0 and 1 and the `next` one after degree k, given it and the one before it.
fn recur<T: Special>(n: i64, zeroth: T, first: T, next: impl Fn(T, T, T) -> T) -> T {
    if n <= 0 {
        return if n < 0 { T::ZERO } else { zeroth };
    }
    if n > STEPS {
        return T::NAN;
    }
    let (mut before, mut p) = (zeroth, first);
    for k in 1..n {
        if p.wide().is_nan() {
            break;
        }
        (before, p) = (p, next(number(k), p, before));
    }
    p
}

/// Chebyshev's polynomials, whose kinds differ by their values at 1 and -1, by what they are at the cosine of an angle, and by their first.
fn chebyshev<T: Special>(x: T, n: i64, ends: [T; 2], of_angle: impl Fn(T) -> T, first: T) -> T {
    if n >= 0 && x.abs() == T::ONE {
        ends[usize::from(x < T::ZERO)]
    } else if n > 6 && x.abs() < T::ONE {
        of_angle(T::narrow(x.wide().acos()))
    } else {
        recur(n, T::ONE, first, |_, p, before| (x + x) * p - before)
    }
}

fn cos<T: Special>(angle: T) -> T {
    T::narrow(angle.wide().cos())
}

fn sin<T: Special>(angle: T) -> T {
    T::narrow(angle.wide().sin())
}

/// Of the first kind, T.
pub fn chebyshev_t<T: Special>(x: T, n: T) -> T {
    let n = whole(n);
    chebyshev(x, n, [T::ONE, sign(n)], |angle| cos(number::<T>(n) * angle), x)
}

/// Of the second kind, U.
pub fn chebyshev_u<T: Special>(x: T, n: T) -> T {
    let n = whole(n);
    let end = number::<T>(n) + T::ONE;
    chebyshev(x, n, [end, sign::<T>(n) * end], |angle| sin(end * angle) / sin(angle), x + x)
}

/// Of the third kind, V.
pub fn chebyshev_v<T: Special>(x: T, n: T) -> T {
    let n = whole(n);
    let (middle, end) = (number::<T>(n) + T::HALF, number::<T>(n) + number(n) + T::ONE);
    chebyshev(x, n, [T::ONE, sign::<T>(n) * end], |angle| cos(middle * angle) / cos(angle * T::HALF), x + x - T::ONE)
}

/// Of the fourth kind, W.
pub fn chebyshev_w<T: Special>(x: T, n: T) -> T {
    let n = whole(n);
    let (middle, end) = (number::<T>(n) + T::HALF, number::<T>(n) + number(n) + T::ONE);
    chebyshev(x, n, [end, sign(n)], |angle| sin(middle * angle) / sin(angle * T::HALF), x + x + T::ONE)
}

/// Chebyshev's polynomials of 2x - 1.
macro_rules! shifted {
    ($($(#[$doc:meta])* $name:ident $plain:ident;)+) => {$(
        $(#[$doc])*
        pub fn $name<T: Special>(x: T, n: T) -> T {
            $plain(x + x - T::ONE, n)
        }
    )+};
}

shifted! {
    /// Of the first kind, shifted.
    shifted_chebyshev_t chebyshev_t;
    /// Of the second kind, shifted.
    shifted_chebyshev_u chebyshev_u;
    /// Of the third kind, shifted.
    shifted_chebyshev_v chebyshev_v;
    /// Of the fourth kind, shifted.
    shifted_chebyshev_w chebyshev_w;
}

/// Hermite's polynomials of higher degree are NaN, as in torch: they overflow nearly everywhere.
fn hermite_degree<T: Special>(n: T) -> Option<i64> {
    let n = whole(n);
    let limit = if size_of::<T>() == 4 { 128 } else { 512 };
    (n <= limit).then_some(n)
}

/// The physicists' Hermite polynomial, H.
pub fn hermite_h<T: Special>(x: T, n: T) -> T {
    let twice = x + x;
    hermite_degree(n).map_or(T::NAN, |n| recur(n, T::ONE, twice, |k, p, before| twice * p - (k + k) * before))
}

/// The probabilists' Hermite polynomial, He.
pub fn hermite_he<T: Special>(x: T, n: T) -> T {
    hermite_degree(n).map_or(T::NAN, |n| recur(n, T::ONE, x, |k, p, before| x * p - k * before))
}

/// Laguerre's polynomial, L.
pub fn laguerre_l<T: Special>(x: T, n: T) -> T {
    let n = whole(n);
    if n >= 0 && x == T::ZERO {
        return T::ONE;
    }
    let first = T::ONE - x;
    recur(n, T::ONE, first, |k, p, before| (((k + k) + first) * p - k * before) / (k + T::ONE))
}

/// Legendre's polynomial, P.
pub fn legendre_p<T: Special>(x: T, n: T) -> T {
    let n = whole(n);
    if n >= 0 && x.abs() == T::ONE {
        return if x > T::ZERO { T::ONE } else { sign(n) };
    }
    recur(n, T::ONE, x, |k, p, before| ((k + k + T::ONE) * x * p - k * before) / (k + T::ONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_degrees() {
        let x = 0.3f64;
        assert_eq!([chebyshev_t(x, -1.0), chebyshev_t(x, f64::NAN), legendre_p(1.0, f64::INFINITY)], [0.0; 3]);
        assert_eq!([chebyshev_t(x, 0.9), laguerre_l(x, 0.0), hermite_h(x, 0.0)], [1.0; 3]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-14, "{a} {b}");
        close(chebyshev_t(x, 2.0), 2.0 * x * x - 1.0);
        close(chebyshev_u(x, 2.0), 4.0 * x * x - 1.0);
        close(chebyshev_v(x, 2.0), 4.0 * x * x - 2.0 * x - 1.0);
        close(chebyshev_w(x, 2.0), 4.0 * x * x + 2.0 * x - 1.0);
        close(hermite_h(x, 3.0), 8.0 * x * x * x - 12.0 * x);
        close(hermite_he(x, 3.0), x * x * x - 3.0 * x);
        close(laguerre_l(x, 2.0), x * x / 2.0 - 2.0 * x + 1.0);
        close(legendre_p(x, 2.0), 1.5 * x * x - 0.5);
    }

    #[test]
    fn trigonometric_and_recurrent_forms_agree() {
        let kinds: [fn(f64, f64) -> f64; 4] = [chebyshev_t, chebyshev_u, chebyshev_v, chebyshev_w];
        for f in kinds {
            for x in [-0.99, -0.4, 0.0, 0.7, 0.999] {
                let (a, b, c) = (f(x, 5.0), f(x, 6.0), f(x, 7.0));
                assert!((2.0 * x * b - a - c).abs() < 1e-12, "{x}");
                // The value at the ends is the limit.
                let end = f64::copysign(1.0, x);
                assert!((f(end, 9.0) - f(end * (1.0 - 1e-12), 9.0)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn degrees_without_end_do_not_hang() {
        assert!(laguerre_l(0.5f64, 1e12).is_nan());
        assert!(hermite_h(0.5f32, 129.0).is_nan() && hermite_h(0.5f64, 129.0).is_finite());
    }
}
