//! Errors in units in the last place: f64 against MPFR (tests/data/math_f64.bin), f32 against the f64
//! functions, which are good to 2⁻⁵² relative and so to 10⁻⁸ units of f32.

#![allow(clippy::panic, clippy::unwrap_used)]

use super::*;

/// The representation of `x` as an integer that grows by 1 from each number to the next.
fn ordinal(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    if bits < 0 { i64::MIN - bits } else { bits }
}

/// The distance of `got` from the exact value `rounded + part` units.
fn error_f64(got: f64, rounded: f64, part: f64) -> f64 {
    if got.is_nan() || rounded.is_nan() {
        return if got.is_nan() && rounded.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got == 0.0 && rounded == 0.0 && got.is_sign_negative() != rounded.is_sign_negative() {
        return f64::INFINITY;
    }
    (ordinal(got).wrapping_sub(ordinal(rounded)) as f64 - part).abs()
}

/// The distance of `got` from `exact` in units in the last place of f32.
fn error_f32(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got.is_infinite() || rounded.is_infinite() {
        let limit = 3.402_823_6e38; // the middle between the largest number and the next power of two
        let near = exact.abs() > limit - 2f64.powi(103);
        return if got == rounded || (near && got.is_sign_negative() == exact.is_sign_negative()) { 0.5 } else { f64::INFINITY };
    }
    if got == 0.0 && rounded == 0.0 && exact == 0.0 && got.is_sign_negative() != exact.is_sign_negative() {
        return f64::INFINITY;
    }
    let exponent = ((exact.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let unit = 2f64.powi(exponent.max(-126) - 23);
    (got as f64 - exact).abs() / unit
}

/// 1 / (1 + e⁻ˣ) of a float32: 0 where the power overflows.
fn logistic(x: f64) -> f64 {
    if x < -88.722_835 { 0.0 } else { 1.0 / (1.0 + (-x).exp()) }
}

type Case = (&'static str, fn(f64) -> f64, fn(f32) -> f32, fn(f64) -> f64, f64, f64);

/// Name, f64, f32, trusted f64, and the greatest errors allowed in f64 and f32.
const CASES: &[Case] = &[
    ("exp", exp, exp, f64::exp, 0.83, 0.85),
    ("exp2", exp2, exp2, f64::exp2, 0.86, 0.89),
    ("expm1", expm1, expm1, f64::exp_m1, 0.79, 0.81),
    ("sigmoid", sigmoid, sigmoid, logistic, 0.95, 2.0),
    ("tanh", tanh, tanh, f64::tanh, 0.68, 0.7),
    ("ln", ln, ln, f64::ln, 0.61, 0.69),
    ("log2", log2, log2, f64::log2, 0.65, 0.73),
    ("log10", log10, log10, f64::log10, 0.65, 0.68),
    ("log1p", log1p, log1p, f64::ln_1p, 0.68, 0.72),
    ("sin", sin, sin, f64::sin, 0.71, 0.51),
    ("cos", cos, cos, f64::cos, 0.68, 0.51),
    ("tan", tan, tan, f64::tan, 0.86, 0.51),
    ("erf", erf, erf, erf, 0.98, 1.6),
    ("erfc", erfc, erfc, erfc, 0.9, 0.81),
    ("sinh", sinh, sinh, f64::sinh, 0.68, 0.71),
    ("cosh", cosh, cosh, f64::cosh, 0.9, 0.88),
    ("asinh", asinh, asinh, f64::asinh, 0.65, 0.75),
    ("acosh", acosh, acosh, f64::acosh, 0.63, 0.67),
    ("atanh", atanh, atanh, f64::atanh, 0.62, 0.71),
    ("asin", asin, asin, f64::asin, 0.61, 0.65),
    ("acos", acos, acos, f64::acos, 0.6, 0.62),
    ("atan", atan, atan, f64::atan, 0.66, 0.68),
    ("softplus", softplus, softplus, softplus, 0.77, 1.9),
    ("rsqrt", rsqrt, rsqrt, |x| 1.0 / x.sqrt(), 0.53, 0.51),
];

/// The same for functions of two arguments.
#[allow(clippy::type_complexity)]
const CASES_OF_TWO: &[(&str, fn(f64, f64) -> f64, fn(f32, f32) -> f32, fn(f64, f64) -> f64, f64, f64)] =
    &[("pow", pow, pow, f64::powf, 0.79, 0.51), ("atan2", atan2, atan2, f64::atan2, 0.74, 0.75)];

struct Block {
    name: String,
    /// The arguments, the rounded value, the rest of the exact one in units.
    records: Vec<(Vec<f64>, f64, f64)>,
}

fn reference() -> Vec<Block> {
    let path = std::env::var("MATH_REFERENCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/math_f64.bin").into());
    let data = std::fs::read(path).unwrap();
    let mut rest = data.as_slice();
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at(n);
        rest = tail;
        head
    };
    let mut blocks = Vec::new();
    let mut left = data.len();
    while left > 0 {
        let name = String::from_utf8(take(8).to_vec()).unwrap().trim_end_matches('\0').to_string();
        let arity = u32::from_le_bytes(take(4).try_into().unwrap()) as usize;
        let count = u32::from_le_bytes(take(4).try_into().unwrap()) as usize;
        left -= 16 + count * (8 * arity + 10);
        let records = (0..count)
            .map(|_| {
                let arguments = (0..arity).map(|_| f64::from_le_bytes(take(8).try_into().unwrap())).collect();
                let rounded = f64::from_le_bytes(take(8).try_into().unwrap());
                let part = i16::from_le_bytes(take(2).try_into().unwrap());
                (arguments, rounded, part as f64 / 32768.0)
            })
            .collect();
        blocks.push(Block { name, records });
    }
    blocks
}

#[test]
fn f64_against_mpfr() {
    let mut failed = false;
    for block in reference() {
        let one = CASES.iter().find(|case| case.0 == block.name);
        let two = CASES_OF_TWO.iter().find(|case| case.0 == block.name);
        let (mut worst, mut at, mut gave) = (0.0, vec![], 0.0);
        // Below, sigmoid is 0 without underflow.
        let underflows = |x: &[f64]| block.name == "sigmoid" && x[0] < -709.782712893384;
        for (x, rounded, part) in block.records.into_iter().filter(|record| !underflows(&record.0)) {
            let got = match (one, two) {
                (Some(case), _) => case.1(x[0]),
                (_, Some(case)) => case.1(x[0], x[1]),
                _ => continue,
            };
            let error = error_f64(got, rounded, part);
            if error > worst {
                (worst, at, gave) = (error, x, got);
            }
        }
        println!("{:8} f64 {worst:.4} at {at:?} gave {gave:e}", block.name);
        failed |= worst > one.map_or(0.0, |case| case.4) + two.map_or(0.0, |case| case.4);
    }
    assert!(!failed);
}

fn sweep_f32(step: usize) {
    let mut failed = false;
    let only = std::env::var("MATH_ONLY").unwrap_or_default();
    for &(name, _, f, trusted, _, bound) in CASES.iter().filter(|case| case.0.contains(&only)) {
        let (mut worst, mut at) = (0.0, 0.0);
        for bits in (0..=u32::MAX).step_by(step) {
            let x = f32::from_bits(bits);
            let error = error_f32(f(x), trusted(x as f64));
            if error > worst {
                (worst, at) = (error, x);
            }
        }
        println!("{name:8} f32 {worst:.4} at {at:e} gave {:e}", f(at));
        failed |= worst > bound;
    }
    assert!(!failed);
}

#[test]
fn f32_strided() {
    sweep_f32(4999);
}

#[test]
#[ignore = "minutes"]
fn f32_exhaustive() {
    sweep_f32(1);
}

#[test]
fn special_values() {
    let specials = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, -1.0, f64::MAX, f64::MIN, 5e-324, -5e-324];
    for &(name, f, f32_form, trusted, _, _) in CASES {
        for x in specials {
            // what std gets wrong by rounding is the business of the other tests
            let (got, want) = (f(x), trusted(x));
            let same = (got.is_nan() && want.is_nan())
                || (got == want && got.is_sign_negative() == want.is_sign_negative())
                || ((got - want).abs() <= 2e-15 * want.abs() && want != 0.0);
            assert!(same, "{name}({x:e}) = {got:e}, expected {want:e}");
            let (got, want) = (f32_form(x as f32) as f64, trusted(x as f32 as f64) as f32 as f64);
            let same = (got.is_nan() && want.is_nan())
                || (got == want && got.is_sign_negative() == want.is_sign_negative())
                || ((got - want).abs() <= 2e-7 * want.abs() && want != 0.0);
            assert!(same, "f32 {name}({x:e}) = {got:e}, expected {want:e}");
        }
    }
}

#[test]
fn f32_of_two_arguments() {
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 32) as u32
    };
    for &(name, _, f, trusted, _, bound) in CASES_OF_TWO {
        let (mut worst, mut at) = (0.0, (0.0, 0.0));
        for i in 0..2_000_000 {
            let y = f32::from_bits(draw());
            // all numbers, or near 1 and of moderate size
            let x = f32::from_bits(if i % 2 == 0 { draw() } else { 0x3f00_0000 + (draw() >> 8) });
            let y = if i % 2 == 0 { y } else { (y.to_bits() as f32 / 2f32.powi(32) - 0.5) * 200.0 };
            let error = error_f32(f(x, y), trusted(x as f64, y as f64));
            if error > worst {
                (worst, at) = (error, (x, y));
            }
        }
        println!("{name:8} f32 {worst:.4} at {at:?} gave {:e}", f(at.0, at.1));
        assert!(worst <= bound);
    }
}

#[test]
fn special_values_of_two_arguments() {
    let specials = [0.0, 0.5, 1.0, 2.0, 3.0, 1e10, 9007199254740991.0, 9007199254740992.0, 1e300, f64::INFINITY, f64::NAN];
    let specials: Vec<f64> = specials.iter().flat_map(|&x| [x, -x]).collect();
    for &(name, f, f32_form, trusted, _, _) in CASES_OF_TWO {
        for (&x, &y) in specials.iter().flat_map(|x| specials.iter().map(move |y| (x, y))) {
            let (got, want) = (f(x, y), trusted(x, y));
            let near = (got - want).abs() <= 2e-15 * want.abs();
            let same =
                (got.is_nan() && want.is_nan()) || ((got == want || near) && got.is_sign_negative() == want.is_sign_negative());
            assert!(same, "{name}({x:e}, {y:e}) = {got:e}, expected {want:e}");
            let (got, want) = (f32_form(x as f32, y as f32), trusted(x as f32 as f64, y as f32 as f64) as f32);
            let near = (got - want).abs() <= 2e-7 * want.abs();
            let same =
                (got.is_nan() && want.is_nan()) || ((got == want || near) && got.is_sign_negative() == want.is_sign_negative());
            assert!(same, "f32 {name}({x:e}, {y:e}) = {got:e}, expected {want:e}");
        }
    }
}

#[test]
fn slices_agree_with_scalars() {
    let x: Vec<f64> = (0..1000).map(|i| (i as f64 - 500.0) * if i % 300 == 7 { 1e200 } else { 0.37 }).collect();
    let mut y = vec![0.0; x.len()];
    for (slice, scalar) in [(sin_slice as fn(&[f64], &mut [f64]), sin as fn(f64) -> f64), (cos_slice, cos), (tan_slice, tan)] {
        slice(&x, &mut y);
        assert!(x.iter().zip(&y).all(|(&x, &y)| scalar(x) == y));
    }
}

#[test]
fn limits() {
    let inf = f64::INFINITY;
    assert_eq!([erf(inf), erf(-inf), erfc(inf), erfc(-inf), erfc(0.0)], [1.0, -1.0, 0.0, 2.0, 1.0]);
    assert_eq!([sigmoid(inf), sigmoid(-inf), sigmoid(0.0), softplus(-inf), softplus(inf)], [1.0, 0.0, 0.5, 0.0, inf]);
    assert_eq!([softplus(-740.0), exp(-740.0)], [f64::exp(-740.0); 2]);
    let last = 709.782712893384f64;
    assert_eq!([sigmoid(-last), sigmoid(-last.next_up()), sigmoid(-740.0)], [f64::exp(-last), 0.0, 0.0]);
    let last = 88.722_83f32;
    assert!(sigmoid(-last) > 0.0 && sigmoid(-last.next_up()) == 0.0 && sigmoid(-100.0f32) == 0.0);
    assert_eq!([tanh(300.0), tanh(-300.0), expm1(-300.0), expm1(710.0)], [1.0, -1.0, -1.0, inf]);
    assert!(erf(-0.0f32).is_sign_negative() && erf(f64::NAN).is_nan() && erfc(f32::NAN).is_nan());
    for n in -1100..1024 {
        let power = f64::exp2(n as f64);
        assert_eq!(exp2(n as f64), power);
        assert!(power == 0.0 || log2(power) == n as f64);
    }
}
