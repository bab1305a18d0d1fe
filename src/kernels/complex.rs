//! Functions of complex numbers, in double precision; complex64 rounds their results.
//!
//! They are called through pointers, so each is compiled once. What `num_complex` has and gets right is taken from there.

use num_complex::Complex;

type C = Complex<f64>;

const ONE: C = C::new(1.0, 0.0);

/// a / b, scaled by the larger part of b (Smith 1962, "Algorithm 116: Complex division"), as numpy and torch do it.
pub fn quotient(a: C, b: C) -> C {
    let (re, im) = (b.re.abs(), b.im.abs());
    if re >= im {
        if re == 0.0 && im == 0.0 {
            return C::new(a.re / re, a.im / im);
        }
        let ratio = b.im / b.re;
        let scale = 1.0 / (b.re + b.im * ratio);
        C::new((a.re + a.im * ratio) * scale, (a.im - a.re * ratio) * scale)
    } else {
        let ratio = b.re / b.im;
        let scale = 1.0 / (b.re * ratio + b.im);
        C::new((a.re * ratio + a.im) * scale, (a.im * ratio - a.re) * scale)
    }
}

/// 1 / z; 0 for infinite numbers.
pub fn reciprocal(z: C) -> C {
    if z.re.is_infinite() != z.im.is_infinite() && !z.re.is_nan() && !z.im.is_nan() {
        return C::default();
    }
    quotient(ONE, z)
}

/// z / |z|, and 0 at 0.
pub fn sgn(z: C) -> C {
    let size = z.norm();
    if size == 0.0 { C::default() } else { z / size }
}

/// √z, with the values at infinity of the C standard, appendix G.
pub fn sqrt(z: C) -> C {
    if z.im.is_infinite() {
        return C::new(f64::INFINITY, z.im);
    }
    match z.re {
        f64::INFINITY => C::new(f64::INFINITY, if z.im.is_nan() { z.im } else { 0f64.copysign(z.im) }),
        f64::NEG_INFINITY => C::new(if z.im.is_nan() { z.im } else { 0.0 }, f64::INFINITY.copysign(z.im)),
        re if re.is_nan() => C::new(re, f64::NAN),
        _ => z.sqrt(),
    }
}

/// 1 / √z.
pub fn rsqrt(z: C) -> C {
    reciprocal(sqrt(z))
}

/// e^z, which stays real on the real line where it overflows.
pub fn exp(z: C) -> C {
    if z.im == 0.0 { C::new(z.re.exp(), z.im) } else { z.exp() }
}

/// 2^z = e^(z log 2).
pub fn exp2(z: C) -> C {
    exp(z * std::f64::consts::LN_2)
}

/// sinh z, on both axes without the other part, which would be 0 · ∞ where it overflows.
pub fn sinh(z: C) -> C {
    match z {
        _ if z.im == 0.0 => C::new(z.re.sinh(), z.im),
        _ if z.re == 0.0 => C::new(z.re, z.im.sin()),
        _ => z.sinh(),
    }
}

/// cosh z, likewise.
pub fn cosh(z: C) -> C {
    let zero = 0f64.copysign(z.re) * 1f64.copysign(z.im);
    if z.im == 0.0 || z.re == 0.0 { C::new(z.re.cosh() * z.im.cos(), zero) } else { z.cosh() }
}

/// sin z = -i sinh(iz).
pub fn sin(z: C) -> C {
    let s = sinh(C::new(-z.im, z.re));
    C::new(s.im, -s.re)
}

/// cos z = cosh(iz).
pub fn cos(z: C) -> C {
    cosh(C::new(-z.im, z.re))
}

/// e^z - 1, precise near 0.
pub fn expm1(z: C) -> C {
    let half = (z.im / 2.0).sin();
    let (sin, cos) = z.im.sin_cos();
    // cos - 1 = -2 sin²(half angle)
    C::new(z.re.exp_m1() * cos - 2.0 * half * half, z.re.exp() * sin)
}

/// log(1 + z), precise near 0.
pub fn log1p(z: C) -> C {
    let near = z.re.abs() < 0.5 && z.im.abs() < 0.5;
    let re = if near { 0.5 * (z.re * (2.0 + z.re) + z.im * z.im).ln_1p() } else { (z.re + 1.0).hypot(z.im).ln() };
    C::new(re, z.im.atan2(z.re + 1.0))
}

/// The logistic function, 1 / (1 + e^-z).
pub fn sigmoid(z: C) -> C {
    reciprocal(ONE + (-z).exp())
}

/// tanh, without overflow far from 0 (Kahan 1987, "Branch cuts for complex elementary functions").
pub fn tanh(z: C) -> C {
    // At infinity and beside NaN: the values of the C standard, appendix G.
    if z.im == 0.0 && z.re.is_nan() {
        return z;
    }
    if z.re == 0.0 && !z.im.is_finite() {
        return C::new(z.re, f64::NAN);
    }
    if z.re.is_infinite() && !z.im.is_finite() {
        return C::new(1f64.copysign(z.re), 0f64.copysign(z.im));
    }
    if z.re.abs() > 20.0 && z.im.is_finite() {
        let decay = 4.0 * (-2.0 * z.re.abs()).exp();
        return C::new(1f64.copysign(z.re), z.im.sin() * z.im.cos() * decay);
    }
    let t = z.im.tan();
    let (s, beta) = (z.re.sinh(), 1.0 + t * t);
    let rho = (1.0 + s * s).sqrt();
    if t.is_infinite() {
        return C::new(rho / s, 1.0 / t);
    }
    let scale = 1.0 / (1.0 + beta * s * s);
    C::new(beta * rho * s * scale, t * scale)
}

/// tan z = -i tanh(iz).
pub fn tan(z: C) -> C {
    let t = tanh(C::new(-z.im, z.re));
    C::new(t.im, -t.re)
}

/// Whether z is at infinity, where the inverse functions have the values of the C standard, appendix G.
fn is_infinite(z: C) -> bool {
    z.re.is_infinite() || z.im.is_infinite()
}

/// The roots of 1 - z and of 1 + z. Adding a complex 1 would lose the sign of an imaginary part that is -0.
fn roots_beside_one(z: C) -> (C, C) {
    (C::new(1.0 - z.re, -z.im).sqrt(), C::new(1.0 + z.re, z.im).sqrt())
}

/// arcsine by Kahan's formulas, which keep the signs of zeros on the branch cuts.
pub fn asin(z: C) -> C {
    if is_infinite(z) {
        return C::new(z.re.atan2(z.im.abs()), f64::INFINITY.copysign(z.im));
    }
    let (left, right) = roots_beside_one(z);
    C::new(z.re.atan2((left * right).re), (left.conj() * right).im.asinh())
}

/// arccosine, likewise.
pub fn acos(z: C) -> C {
    if is_infinite(z) {
        return C::new(z.im.abs().atan2(z.re), f64::INFINITY.copysign(-z.im));
    }
    let (left, right) = roots_beside_one(z);
    C::new(2.0 * left.re.atan2(right.re), (right.conj() * left).im.asinh())
}

/// asinh z = i asin(-iz).
pub fn asinh(z: C) -> C {
    let w = asin(C::new(z.im, -z.re));
    C::new(-w.im, w.re)
}

/// acosh, likewise by Kahan's formulas.
pub fn acosh(z: C) -> C {
    if is_infinite(z) {
        return C::new(f64::INFINITY, z.im.atan2(z.re));
    }
    let (left, right) = (C::new(z.re - 1.0, z.im).sqrt(), C::new(z.re + 1.0, z.im).sqrt());
    C::new((left.conj() * right).re.asinh(), 2.0 * left.im.atan2(right.re))
}

/// atanh z = (log1p(z) - log1p(-z)) / 2; its parts have the signs of those of z, zeros included.
pub fn atanh(z: C) -> C {
    let (re, im) = if z.im.is_infinite() || (z.re.is_infinite() && !z.im.is_nan()) {
        (0.0, std::f64::consts::FRAC_PI_2)
    } else if z.im.is_nan() && (z.re == 0.0 || z.re.is_infinite()) {
        (0.0, f64::NAN)
    } else {
        let (up, down) = (log1p(z), log1p(-z));
        (0.5 * (up.re - down.re), 0.5 * (up.im - down.im))
    };
    C::new(re.abs().copysign(z.re), im.abs().copysign(z.im))
}

/// atan z = -i atanh(iz).
pub fn atan(z: C) -> C {
    let w = atanh(C::new(-z.im, z.re));
    C::new(w.im, -w.re)
}

/// sin(πz) / (πz), and 1 at 0.
pub fn sinc(z: C) -> C {
    let angle = z * std::f64::consts::PI;
    if z == C::default() { ONE } else { quotient(angle.sin(), angle) }
}

/// z^w: whole powers by squaring, others by e^(w log z), with 0^0 = 1.
pub fn pow(z: C, w: C) -> C {
    if w == C::default() {
        return ONE;
    }
    if z == C::default() {
        return match w.re {
            re if re > 0.0 => C::default(),
            re if re < 0.0 => C::new(f64::INFINITY, f64::NAN),
            _ => C::new(f64::NAN, f64::NAN),
        };
    }
    if w.im == 0.0 && w.re.fract() == 0.0 && w.re.abs() <= 64.0 {
        let y = z.powu(w.re.abs() as u32);
        return if w.re < 0.0 { reciprocal(y) } else { y };
    }
    if w == C::new(0.5, 0.0) {
        return z.sqrt();
    }
    (w * z.ln()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: C, b: C) {
        assert!((a - b).norm() <= 1e-14 * (1.0 + b.norm()), "{a} {b}");
    }

    #[test]
    fn functions_invert_each_other() {
        for z in [C::new(0.3, -0.4), C::new(-1.5, 2.0), C::new(0.7, 3.0), C::new(-0.2, -0.1)] {
            near(asin(z).sin(), z);
            near(acos(z).cos(), z);
            near(tan(atan(z)), z);
            near(tanh(atanh(z)), z);
            near(asinh(z).sinh(), z);
            near(acosh(z).cosh(), z);
            near(expm1(log1p(z)), z);
            near(quotient(z, z), ONE);
            near(rsqrt(z) * rsqrt(z) * z, ONE);
            near(pow(z, C::new(-3.0, 0.0)) * z * z * z, ONE);
        }
    }

    #[test]
    fn nothing_overflows_on_the_way() {
        near(quotient(C::new(1e300, 1e300), C::new(1e300, 1e300)), ONE);
        near(tanh(C::new(800.0, 1.0)), ONE);
        assert_eq!(sgn(C::default()), C::default());
        assert_eq!(expm1(C::new(1e-20, 0.0)).re, 1e-20);
    }
}
