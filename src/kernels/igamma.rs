//! The regularized incomplete gamma functions P(a, x) and Q(a, x) = 1 - P(a, x).
//!
//! By the series of P below x = a, by Legendre's continued fraction of Q above (NIST's Digital Library of Mathematical Functions, 8.11 and
//! 8.9), and where a is large and x near it by Temme's uniform expansion (8.12; Temme, "The asymptotic expansion of the incomplete gamma
//! functions", 1979). Conventions at the borders of the domain are torch's.

use libm::{lgamma, tgamma};

use super::math;

/// P(a, x), the lower one: NaN if a or x is below 0.
pub fn lower(a: f64, x: f64) -> f64 {
    match at_border(a, x) {
        Some(q) => 1.0 - q,
        None => ratios(a, x).0,
    }
}

/// Q(a, x), the upper one: NaN if a or x is below 0.
pub fn upper(a: f64, x: f64) -> f64 {
    match at_border(a, x) {
        Some(q) => q,
        None => ratios(a, x).1,
    }
}

/// Q where a or x is 0, infinite, or out of the domain.
fn at_border(a: f64, x: f64) -> Option<f64> {
    if x < 0.0 || a < 0.0 {
        Some(f64::NAN)
    } else if a == 0.0 {
        Some(if x > 0.0 { 0.0 } else { f64::NAN })
    } else if x == 0.0 {
        Some(1.0)
    } else if a.is_infinite() {
        Some(if x.is_infinite() { f64::NAN } else { 1.0 })
    } else if x.is_infinite() {
        Some(0.0)
    } else if a.is_nan() || x.is_nan() {
        Some(f64::NAN)
    } else {
        None
    }
}

/// P and Q for positive numbers, the smaller one to full precision.
fn ratios(a: f64, x: f64) -> (f64, f64) {
    if a > 20.0 && ((x - a) / a).abs() < 0.3 {
        uniform(a, x)
    } else if x > 1.1 && x > a {
        let q = fraction(a, x);
        (1.0 - q, q)
    } else if x > 1.1 || (if x <= 0.5 { -0.4 / x.ln() } else { x * 1.1 }) < a {
        let p = series(a, x);
        (p, 1.0 - p)
    } else {
        let q = series_of_upper(a, x);
        (if q > 0.9 { series(a, x) } else { 1.0 - q }, q)
    }
}

/// μ - ln(1 + μ), without cancellation near 0.
fn beyond_logarithm(mu: f64) -> f64 {
    if mu.abs() > 0.3 {
        return mu - mu.ln_1p();
    }
    // With s = μ / (2 + μ), ln(1 + μ) is 2 (s + s³/3 + …), and μ - 2s is μ s.
    let s = mu / (2.0 + mu);
    let square = s * s;
    let tail = (1..=14).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    mu * s - 2.0 * s * square * tail
}

/// x^a e^-x / Γ(a).
fn density(a: f64, x: f64) -> f64 {
    if a > 20.0 {
        // Stirling's series of Γ.
        let r = 1.0 / (a * a);
        let correction = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / a;
        let exponent = a * beyond_logarithm((x - a) / a) + correction;
        (-exponent).exp() * (a / std::f64::consts::TAU).sqrt()
    } else if x < 600.0 {
        x.powf(a) * (-x).exp() / tgamma(a)
    } else {
        (a * x.ln() - x - lgamma(a)).exp()
    }
}

/// P as Σ x^n / (a (a + 1) … (a + n)).
fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0, 1.0, a);
    while term > f64::EPSILON / 4.0 * sum {
        n += 1.0;
        term *= x / n;
        sum += term;
    }
    density(a, x) * sum / a
}

/// Q for small a and x, as 1 - x^a / Γ(1 + a) and the rest of the series of P.
fn series_of_upper(a: f64, x: f64) -> f64 {
    let (mut factor, mut sum, mut n) = (1.0, 0.0, 1.0);
    loop {
        factor *= -x / n;
        let term = factor / (a + n);
        sum += term;
        if term.abs() <= f64::EPSILON / 4.0 * f64::abs(sum) || n > 200.0 {
            break;
        }
        n += 1.0;
    }
    let power = a * x.ln();
    -(power - lgamma(1.0 + a)).exp_m1() - (power - lgamma(a)).exp() * sum
}

/// Q as a continued fraction, by Lentz's method; it converges fast where x is above a by a fraction of a.
fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for n in 1..2000 {
        let n = f64::from(n);
        let an = n * (a - n);
        b += 2.0;
        let nonzero = |v: f64| if v.abs() < TINY { TINY } else { v };
        d = 1.0 / nonzero(an * d + b);
        c = nonzero(b + an / c);
        h *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON / 2.0 {
            break;
        }
    }
    density(a, x) * h
}

/// P and Q by Temme's expansion in 1/a, uniform in η, where η²/2 = μ - ln(1 + μ) and μ = (x - a)/a.
fn uniform(a: f64, x: f64) -> (f64, f64) {
    let mu = (x - a) / a;
    let half = beyond_logarithm(mu);
    let eta = (2.0 * half).sqrt().copysign(mu);
    let mut sum = 0.0;
    for row in TEMME.iter().rev() {
        sum = sum / a + row.iter().rev().fold(0.0, |sum, c| sum * eta + c);
    }
    let rest = (-a * half).exp() / (std::f64::consts::TAU * a).sqrt() * sum;
    let root = (a * half).sqrt();
    if mu > 0.0 {
        let q = 0.5 * math::erfc(root) + rest;
        (1.0 - q, q)
    } else {
        let p = 0.5 * math::erfc(root) - rest;
        (p, 1.0 - p)
    }
}

/// Row k has the first coefficients of the power series of C_k in η, as many as matter where a > 20 and |μ| < 0.3. From the recurrence
/// η C_k = C_{k-1}' + (-1)^k g_k η/μ in rational numbers, g_k the coefficients of Stirling's series.
const TEMME: [&[f64]; 12] = [
    &[
        -0.3333333333333333,
        0.08333333333333333,
        -0.014814814814814815,
        0.0011574074074074073,
        0.0003527336860670194,
        -0.0001787551440329218,
        3.919263178522438e-05,
        -2.185448510679992e-06,
        -1.85406221071516e-06,
        8.296711340953087e-07,
        -1.7665952736826078e-07,
        6.707853543401498e-09,
        1.0261809784240309e-08,
        -4.382036018453353e-09,
        9.14769958223679e-10,
        -2.5514193994946248e-11,
        -5.830772132550426e-11,
    ],
    &[
        -0.001851851851851852,
        -0.003472222222222222,
        0.0026455026455026454,
        -0.0009902263374485596,
        0.00020576131687242798,
        -4.018775720164609e-07,
        -1.8098550334489977e-05,
        7.64916091608111e-06,
        -1.6120900894563446e-06,
        4.647127802807434e-09,
        1.378633446915721e-07,
        -5.752545603517705e-08,
        1.1951628599778148e-08,
        -1.7543241719747647e-11,
        -1.0091543710600413e-09,
        4.162792991842583e-10,
    ],
    &[
        0.004133597883597883,
        -0.0026813271604938273,
        0.0007716049382716049,
        2.0093878600823047e-06,
        -0.0001073665322636516,
        5.2923448829120125e-05,
        -1.2760635188618728e-05,
        3.423578734096138e-08,
        1.3721957309062934e-06,
        -6.298992138380055e-07,
        1.4280614206064242e-07,
        -2.0477098421990866e-10,
        -1.409252991086752e-08,
        6.228974084922022e-09,
    ],
    &[
        0.0006494341563786008,
        0.00022947209362139917,
        -0.0004691894943952557,
        0.00026772063206283885,
        -7.561801671883977e-05,
        -2.396505113867297e-07,
        1.1082654115347302e-05,
        -5.6749528269915965e-06,
        1.4230900732435883e-06,
        -2.7861080291528143e-11,
        -1.6958404091930278e-07,
        8.099464905388083e-08,
        -1.9111168485973655e-08,
    ],
    &[
        -0.0008618882909167117,
        0.0007840392217200666,
        -0.0002990724803031902,
        -1.4638452578843418e-06,
        6.641498215465122e-05,
        -3.968365047179435e-05,
        1.1375726970678419e-05,
        2.507497226237533e-10,
        -1.6954149536558305e-06,
        8.907507532205309e-07,
        -2.292934834000805e-07,
    ],
    &[
        -0.00033679855336635813,
        -6.972813758365857e-05,
        0.0002772753244959392,
        -0.00019932570516188847,
        6.797780477937208e-05,
        1.419062920643967e-07,
        -1.3594048189768693e-05,
        8.018470256334202e-06,
        -2.291481176508095e-06,
        -3.252473551298454e-10,
        3.4652846491085265e-07,
    ],
    &[
        0.0005313079364639922,
        -0.0005921664373536939,
        0.0002708782096718045,
        7.902353232660328e-07,
        -8.153969367561969e-05,
        5.61168275310625e-05,
        -1.8329116582843375e-05,
        -3.0796134506033047e-09,
        3.465155368803609e-06,
        -2.0291327396058603e-06,
    ],
    &[
        0.00034436760689237765,
        5.171790908260592e-05,
        -0.00033493161081142234,
        0.0002812695154763237,
        -0.00010976582244684731,
        -1.2741009095484485e-07,
        2.7744451511563645e-05,
        -1.8263488805711332e-05,
    ],
    &[
        -0.0006526239185953094,
        0.0008394987206720873,
        -0.000438297098541721,
        -6.969091458420552e-07,
        0.00016644846642067547,
        -0.00012783517679769218,
        4.629953263691304e-05,
    ],
    &[-0.0005967612901927463, -7.204895416020011e-05, 0.0006782308837667328, -0.0006401475260262758, 0.00027750107634328704],
    &[0.0013324454494800656, -0.0019144384985654776, 0.0011089369134596636],
    &[0.001579727660730835],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of mpmath.
    #[test]
    fn known_values() {
        let cases = [
            (0.5, 0.1, 0.345279153981423, 0.654720846018577),
            (0.5, 3.0, 0.9856941215645704, 0.01430587843542964),
            (3.0, 0.2, 0.0011484812448621325, 0.9988515187551379),
            (3.0, 9.0, 0.9937678048936227, 0.006232195106377317),
            (0.01, 1.0, 0.997783765376772, 0.00221623462322799),
            (15.0, 14.0, 0.4295632871726278, 0.5704367128273722),
            (25.0, 20.0, 0.15677262182623772, 0.8432273781737623),
            (25.0, 30.0, 0.8427579727616084, 0.1572420272383916),
            (150.0, 100.0, 1.88421046603867e-06, 0.999998115789534),
            (10000.0, 10100.0, 0.8413487504471796, 0.15865124955282037),
            (10000.0, 9900.0, 0.15865119219356466, 0.8413488078064354),
            (1000000.0, 1000000.0, 0.5001329807608725, 0.4998670192391274),
            (30.0, 80.0, 0.9999999999509677, 4.903229555810753e-11),
            (1000.0, 500.0, 3.2982727970671e-86, 1.0),
        ];
        for (a, x, p, q) in cases {
            for (got, want) in [(lower(a, x), p), (upper(a, x), q)] {
                assert!((got - want).abs() <= 2e-13 * want, "{a} {x}: {got}, not {want}");
            }
        }
    }
}
