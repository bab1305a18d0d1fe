//! Bessel functions and Airy's function of one real number.
//!
//! Modified Bessel functions and Airy's function are Chebyshev series of what is left once exponentials, logarithms and roots are taken out
//! (Clenshaw, "Chebyshev series for mathematical functions", 1962; NIST's Digital Library of Mathematical Functions, 9.7 and 10.40 for the
//! forms); the coefficients were computed in 40 digits. Errors are a few units in the last place, of the largest value nearby where a function
//! oscillates. Poles and signs are torch's conventions.

mod tables;

use std::f64::consts::{FRAC_PI_4, PI};

use super::special::Special;
use tables::*;

/// A sum of Chebyshev polynomials in t, |t| ≤ 1, by Clenshaw's recurrence.
fn chebyshev(t: f64, coefficients: &[f64]) -> f64 {
    let (mut b, mut next) = (0.0, 0.0);
    for c in coefficients.iter().skip(1).rev() {
        (b, next) = (2.0 * t * b - next + c, b);
    }
    t * b - next + coefficients[0]
}

/// e^-|x| I₀(x).
pub fn i0e(x: f64) -> f64 {
    let x = x.abs();
    if x <= 8.0 { chebyshev(x / 4.0 - 1.0, &I0E_NEAR) } else { chebyshev(16.0 / x - 1.0, &I0E_FAR) / x.sqrt() }
}

/// I₀(x), NaN at infinity; infinite where e^x is too large for T, as in torch.
pub fn i0<T: Special>(x: T) -> T {
    T::narrow(x.wide().abs().exp()) * T::narrow(i0e(x.wide()))
}

/// e^-|x| I₁(x).
pub fn i1e(x: f64) -> f64 {
    let size = x.abs();
    if size <= 8.0 {
        x * chebyshev(size / 4.0 - 1.0, &I1E_NEAR)
    } else {
        (chebyshev(16.0 / size - 1.0, &I1E_FAR) / size.sqrt()).copysign(x)
    }
}

/// I₁(x), NaN at infinity; infinite where e^|x| is too large for T, as in torch.
pub fn i1<T: Special>(x: T) -> T {
    T::narrow(x.wide().abs().exp()) * T::narrow(i1e(x.wide()))
}

/// A K, times e^x if `scaled`, from what it is up to 2 and the series of √x e^x K from there: infinite at 0, NaN below.
fn k(x: f64, near: fn(f64) -> f64, far: &[f64], scaled: bool) -> f64 {
    if x == 0.0 {
        f64::INFINITY
    } else if x < 0.0 {
        f64::NAN
    } else if x <= 2.0 {
        near(x) * if scaled { x.exp() } else { 1.0 }
    } else {
        chebyshev(4.0 / x - 1.0, far) / x.sqrt() * if scaled { 1.0 } else { (-x).exp() }
    }
}

fn k0_near(x: f64) -> f64 {
    chebyshev(x * x / 2.0 - 1.0, &K0_NEAR) - (x / 2.0).ln() * i0(x)
}

fn k1_near(x: f64) -> f64 {
    chebyshev(x * x / 2.0 - 1.0, &K1_NEAR) / x + (x / 2.0).ln() * i1(x)
}

/// K₀(x): infinite at 0, NaN below.
pub fn k0(x: f64) -> f64 {
    k(x, k0_near, &K0E_FAR, false)
}

/// e^x K₀(x): infinite at 0, NaN below.
pub fn k0e(x: f64) -> f64 {
    k(x, k0_near, &K0E_FAR, true)
}

/// K₁(x): infinite at 0, NaN below.
pub fn k1(x: f64) -> f64 {
    k(x, k1_near, &K1E_FAR, false)
}

/// e^x K₁(x): infinite at 0, NaN below.
pub fn k1e(x: f64) -> f64 {
    k(x, k1_near, &K1E_FAR, true)
}

/// What a function that oscillates is at an angle that was rounded to the precision of T, as it is in torch: that is what single precision
/// makes of large arguments. `y` is the function a quarter turn ahead, `shift` what the angle is behind x.
fn at_rounded_angle<T: Special>(x: T, shift: f64, j: f64, y: f64) -> T {
    if size_of::<T>() == 8 || x.wide().abs() <= 5.0 {
        return T::narrow(j);
    }
    let angle = x.abs() - T::narrow(shift);
    let (sin, cos) = (angle.wide() - (x.wide().abs() - shift)).sin_cos();
    T::narrow(j * cos - y * sin)
}

/// J₀(x), NaN at infinity.
pub fn j0<T: Special>(x: T) -> T {
    let size = x.wide().abs();
    if size.is_infinite() { T::NAN } else { at_rounded_angle(x, FRAC_PI_4, libm::j0(size), libm::y0(size)) }
}

/// J₁(x), NaN at infinity.
pub fn j1<T: Special>(x: T) -> T {
    let size = x.wide().abs();
    if size.is_infinite() {
        return T::NAN;
    }
    let y = at_rounded_angle(x, 3.0 * FRAC_PI_4, libm::j1(size), libm::y1(size));
    if x < T::ZERO { -y } else { y }
}

/// Y₀(x): -∞ at 0, NaN below and at infinity.
pub fn y0<T: Special>(x: T) -> T {
    let v = x.wide();
    if v == f64::INFINITY { T::NAN } else { at_rounded_angle(x, FRAC_PI_4, libm::y0(v), -libm::j0(v)) }
}

/// Y₁(x): -∞ at 0, NaN below and at infinity.
pub fn y1<T: Special>(x: T) -> T {
    let v = x.wide();
    if v == f64::INFINITY { T::NAN } else { at_rounded_angle(x, 3.0 * FRAC_PI_4, libm::y1(v), -libm::j1(v)) }
}

/// The spherical j₀, sin(x)/x: 1 at 0, and 0 at infinity.
pub fn spherical_j0(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else if x.is_infinite() {
        0.0
    } else {
        x.sin() / x
    }
}

/// Airy's function Ai. NaN at infinity; 0 beyond 103.892, as in torch, where it is no normal number.
pub fn airy_ai<T: Special>(x: T) -> T {
    let v = x.wide();
    if v.is_infinite() {
        return T::NAN;
    }
    if v > 103.892 {
        return T::ZERO;
    }
    if (-8.0..=2.0).contains(&v) {
        return T::narrow(chebyshev((v + 3.0) / 5.0, &AIRY_NEAR));
    }
    let size = v.abs();
    // (2/3) |x|^(3/2)
    let zeta = 2.0 * size * size.sqrt() / 3.0;
    let scale = PI.sqrt() * size.sqrt().sqrt();
    if v > 0.0 {
        return T::narrow(chebyshev(2.0 * AIRY_RIGHT_END / zeta - 1.0, &AIRY_RIGHT) * (-zeta).exp() / (2.0 * scale));
    }
    let t = 2.0 * (AIRY_LEFT_END / zeta) * (AIRY_LEFT_END / zeta) - 1.0;
    // The angle is rounded as in torch, which shows in single precision.
    let angle = T::TWO * x.abs() * x.abs().sqrt() / T::narrow(3.0) + T::narrow(FRAC_PI_4);
    let (cos, sin) = angle.wide().sin_cos();
    T::narrow((cos * chebyshev(t, &AIRY_LEFT_COS) - sin * chebyshev(t, &AIRY_LEFT_SIN) / zeta) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of mpmath, in 17 digits.
    #[test]
    fn known_values() {
        let cases = [
            (i0e as fn(f64) -> f64, 0.5, 0.6450352704491501),
            (i0e as fn(f64) -> f64, -7.5, 0.14831583007739552),
            (i0e as fn(f64) -> f64, 8.5, 0.13900184305484758),
            (i0e as fn(f64) -> f64, 300.0, 0.02304255841508546),
            (i1e as fn(f64) -> f64, 0.5, 0.1564208031848717),
            (i1e as fn(f64) -> f64, -7.5, -0.1380412115485542),
            (i1e as fn(f64) -> f64, 8.5, 0.13054935509459586),
            (i1e as fn(f64) -> f64, 300.0, 0.02300412204026895),
            (k0 as fn(f64) -> f64, 0.01, 4.721244730161095),
            (k0 as fn(f64) -> f64, 1.9, 0.1288459792760475),
            (k0 as fn(f64) -> f64, 2.1, 0.10078374088996693),
            (k0 as fn(f64) -> f64, 300.0, 3.7236948548891435e-132),
            (k1 as fn(f64) -> f64, 0.01, 99.97389411829624),
            (k1 as fn(f64) -> f64, 1.9, 0.15966015303266762),
            (k1 as fn(f64) -> f64, 2.1, 0.12274641153350789),
            (k1 as fn(f64) -> f64, 300.0, 3.7298958583323724e-132),
            (k0e as fn(f64) -> f64, 0.01, 4.768694028544462),
            (k0e as fn(f64) -> f64, 1.9, 0.8614506167517558),
            (k0e as fn(f64) -> f64, 2.1, 0.8230171525316621),
            (k0e as fn(f64) -> f64, 1000000.0, 0.0012533139806513213),
            (k1e as fn(f64) -> f64, 0.01, 100.97864845824004),
            (k1e as fn(f64) -> f64, 1.9, 1.0674709298145701),
            (k1e as fn(f64) -> f64, 2.1, 1.0023680527405792),
            (k1e as fn(f64) -> f64, 1000000.0, 0.0012533146073081549),
            (j0 as fn(f64) -> f64, 0.5, 0.9384698072408129),
            (j0 as fn(f64) -> f64, 4.0, -0.39714980986384735),
            (j0 as fn(f64) -> f64, 30.0, -0.08636798358104021),
            (j1 as fn(f64) -> f64, 0.5, 0.2422684576748739),
            (j1 as fn(f64) -> f64, 4.0, -0.06604332802354913),
            (j1 as fn(f64) -> f64, 30.0, -0.11875106261662294),
            (y0 as fn(f64) -> f64, 0.5, -0.44451873350670656),
            (y0 as fn(f64) -> f64, 4.0, -0.016940739325064992),
            (y0 as fn(f64) -> f64, 30.0, -0.11729573168666403),
            (y1 as fn(f64) -> f64, 0.5, -1.471472392670243),
            (y1 as fn(f64) -> f64, 4.0, 0.3979257105571),
            (y1 as fn(f64) -> f64, 30.0, 0.08442557066174723),
            (airy_ai, -30.0, -0.08796818845684216),
            (airy_ai as fn(f64) -> f64, -9.0, -0.022133721547341403),
            (airy_ai as fn(f64) -> f64, -7.0, 0.18428083525050565),
            (airy_ai as fn(f64) -> f64, -2.0, 0.22740742820168558),
            (airy_ai as fn(f64) -> f64, 0.0, 0.3550280538878172),
            (airy_ai as fn(f64) -> f64, 1.9, 0.0405944200315295),
            (airy_ai as fn(f64) -> f64, 2.1, 0.029952602115866523),
            (airy_ai as fn(f64) -> f64, 50.0, 4.5849417240748285e-104),
        ];
        for (f, x, want) in cases {
            let error = (f(x) - want).abs() / want.abs();
            assert!(error < 4e-14, "{want} at {x}: {}", f(x));
        }
    }
}
