//! Special functions that `ferrograd.special` has and nothing else, and those that are methods of tensors, too.
//!
//! All are rare: computed in double precision, called through a pointer.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use pyo3::prelude::*;

use super::arguments::{Dims, Operand, Whole};
use super::kernel::{promoted_float, rare_binary, rare_binary_of, rare_unary, rare_unary_of, result_type};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::kernels::{bessel, igamma, polynomials, special};
use crate::runtime_error;
use crate::tensor::Tensor;
use crate::vjp;

/// Functions of one number that torch does not differentiate: their results are off the tape.
macro_rules! without_derivative {
    ($($(#[$doc:meta])* $name:ident $how:ident($($kernel:path),+);)+) => {$(
        $(#[$doc])*
        ///
        /// Shape: any, kept. Dtype: float; integers promote to the default float. Derivative: none.
        #[pyfunction]
        #[pyo3(signature = (input))]
        pub fn $name(input: &Tensor) -> Result<Tensor> {
            $how(stringify!($name), input, $($kernel),+)
        }
    )+};
}

without_derivative! {
    /// Airy's function Ai; 0 above 103.892.
    airy_ai rare_unary_of(bessel::airy_ai, bessel::airy_ai);
    /// The Bessel function of the first kind and order 0.
    bessel_j0 rare_unary_of(bessel::j0, bessel::j0);
    /// The Bessel function of the first kind and order 1.
    bessel_j1 rare_unary_of(bessel::j1, bessel::j1);
    /// The Bessel function of the second kind and order 0: minus infinity at 0, NaN below.
    bessel_y0 rare_unary_of(bessel::y0, bessel::y0);
    /// The Bessel function of the second kind and order 1: minus infinity at 0, NaN below.
    bessel_y1 rare_unary_of(bessel::y1, bessel::y1);
    /// The modified Bessel function of the first kind and order 0; `i0` has a derivative.
    modified_bessel_i0 rare_unary_of(bessel::i0, bessel::i0);
    /// The modified Bessel function of the first kind and order 1; `i1` has a derivative.
    modified_bessel_i1 rare_unary_of(bessel::i1, bessel::i1);
    /// The modified Bessel function of the second kind and order 0: infinite at 0, NaN below.
    modified_bessel_k0 rare_unary(bessel::k0);
    /// The modified Bessel function of the second kind and order 1: infinite at 0, NaN below.
    modified_bessel_k1 rare_unary(bessel::k1);
    /// e^x times the modified Bessel function of the second kind and order 0.
    scaled_modified_bessel_k0 rare_unary(bessel::k0e);
    /// e^x times the modified Bessel function of the second kind and order 1.
    scaled_modified_bessel_k1 rare_unary(bessel::k1e);
    /// The spherical Bessel function of the first kind and order 0, sin(x)/x: 1 at 0.
    spherical_bessel_j0 rare_unary(bessel::spherical_j0);
}

/// Polynomials, which torch does not differentiate.
macro_rules! polynomials {
    ($($(#[$doc:meta])* $name:ident $kernel:ident;)+) => {$(
        $(#[$doc])*
        ///
        /// 0 if `n`, cut to a whole number, is below 0. Either operand may be a number.
        ///
        /// Shape: broadcast. Dtype: float; integers promote to the default float. Derivative: none.
        #[pyfunction]
        #[pyo3(signature = (input, n))]
        pub fn $name(input: &Tensor, n: Operand) -> Result<Tensor> {
            rare_binary_of(stringify!($name), input, &n.beside(input)?, polynomials::$kernel, polynomials::$kernel)
        }
    )+};
}

polynomials! {
    /// Chebyshev's polynomial of the first kind, of degree `n`.
    chebyshev_polynomial_t chebyshev_t;
    /// Chebyshev's polynomial of the second kind, of degree `n`.
    chebyshev_polynomial_u chebyshev_u;
    /// Chebyshev's polynomial of the third kind, of degree `n`.
    chebyshev_polynomial_v chebyshev_v;
    /// Chebyshev's polynomial of the fourth kind, of degree `n`.
    chebyshev_polynomial_w chebyshev_w;
    /// Chebyshev's polynomial of the first kind, of degree `n`, at 2 input - 1.
    shifted_chebyshev_polynomial_t shifted_chebyshev_t;
    /// Chebyshev's polynomial of the second kind, of degree `n`, at 2 input - 1.
    shifted_chebyshev_polynomial_u shifted_chebyshev_u;
    /// Chebyshev's polynomial of the third kind, of degree `n`, at 2 input - 1.
    shifted_chebyshev_polynomial_v shifted_chebyshev_v;
    /// Chebyshev's polynomial of the fourth kind, of degree `n`, at 2 input - 1.
    shifted_chebyshev_polynomial_w shifted_chebyshev_w;
    /// The physicists' Hermite polynomial of degree `n`; NaN for degrees above 512, above 128 in float32.
    hermite_polynomial_h hermite_h;
    /// The probabilists' Hermite polynomial of degree `n`; NaN for degrees above 512, above 128 in float32.
    hermite_polynomial_he hermite_he;
    /// Laguerre's polynomial of degree `n`.
    laguerre_polynomial_l laguerre_l;
    /// Legendre's polynomial of degree `n`.
    legendre_polynomial_p legendre_p;
}

/// e^-|x| I0(x), the scaled modified Bessel function of the first kind and order 0.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn i0e(input: &Tensor) -> Result<Tensor> {
    let x = input;
    let y = rare_unary("i0e", x, bessel::i0e)?;
    vjp!("special_i0e", y, { x: |g, y| g * (i1e(&x)? - &(x.sgn()? * y)?) })
}

/// The modified Bessel function of the first kind and order 1.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn i1(input: &Tensor) -> Result<Tensor> {
    let x = input;
    let y = rare_unary_of("i1", x, bessel::i1, bessel::i1)?;
    vjp!("special_i1", y, { x: |g, y| {
        let (far, safe) = away_from_zero(&x)?;
        g * far.choose(&(safe.i0()? - &(y / &safe)?)?, 0.5)
    } })
}

/// e^-|x| I1(x), the scaled modified Bessel function of the first kind and order 1.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn i1e(input: &Tensor) -> Result<Tensor> {
    let x = input;
    let y = rare_unary("i1e", x, bessel::i1e)?;
    vjp!("special_i1e", y, { x: |g, y| {
        let (far, safe) = away_from_zero(&x)?;
        g * far.choose(&(i0e(&safe)? - &(y * (safe.sgn()? + safe.reciprocal()?))?)?, 0.5)
    } })
}

/// Where x is not so near to 0 that what is divided by it has no value, and x with a small number elsewhere.
fn away_from_zero(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let epsilon = if x.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let far = x.abs()?.gt(epsilon.into())?;
    let safe = far.choose(x, epsilon)?;
    Ok((far, safe))
}

/// -x ln(x), the entropy of a probability: 0 at 0, minus infinity below.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.1, 2)
#[pyfunction]
#[pyo3(signature = (input))]
pub fn entr(input: &Tensor) -> Result<Tensor> {
    let x = input;
    let y = rare_unary("entr", x, |v| match v {
        v if v > 0.0 => -v * v.ln(),
        0.0 => 0.0,
        v if v < 0.0 => f64::NEG_INFINITY,
        v => v,
    })?;
    vjp!("special_entr", y, { x: |g| g * (-1.0 - &x.log()?) })
}

/// e^x² erfc(x), the scaled complement of the error function.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn erfcx(input: &Tensor) -> Result<Tensor> {
    let x = input;
    let y = rare_unary_of("erfcx", x, special::erfcx, special::erfcx)?;
    vjp!("special_erfcx", y, { x: |g, y| (((&x * 2.0)? * y)? - 2.0 / PI.sqrt())? * g })
}

/// The probability that a normal variable is below the input.
///
/// Composite, as in torch: (1 + erf(x / √2)) / 2.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn ndtr(input: &Tensor) -> Result<Tensor> {
    ((input * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5
}

/// The logarithm of `ndtr`, precise where that is small.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn log_ndtr(input: &Tensor) -> Result<Tensor> {
    let x = input;
    let y = rare_unary_of("log_ndtr", x, special::log_ndtr, special::log_ndtr)?;
    // The density over the probability.
    vjp!("special_log_ndtr", y, { x: |g, y| (g / (2.0 * PI).sqrt())? * (y + (x.square()? / 2.0)?)?.neg()?.exp() })
}

/// What a normal variable is below with the input as probability, the inverse of `ndtr`: NaN outside [0, 1], infinite at the ends.
///
/// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: (0.1, 0.9)
#[pyfunction]
#[pyo3(signature = (input))]
pub fn ndtri(input: &Tensor) -> Result<Tensor> {
    let x = input;
    let y = rare_unary("ndtri", x, special::ndtri)?;
    vjp!("special_ndtri", y, { x: |g, y| g * (((y * y)? * 0.5)?.exp()? * (2.0 * PI).sqrt()) })
}

/// input ln(1 + other): 0 where the input is 0 and `other` is no NaN.
///
/// Shape: broadcast. Dtype: float; integers promote to the default float. Either operand may be a number.
/// Derivative: 0 for the input where it is 0 and `other` at most -1.
#[pyfunction]
#[pyo3(signature = (input, other))]
pub fn xlog1py(input: &Tensor, other: Operand) -> Result<Tensor> {
    let op = match (input.is_number(), &other) {
        (true, _) => "special_xlog1py.1",
        (_, Operand::Number(_)) => "special_xlog1py.2",
        _ => "special_xlog1py",
    };
    let other = other.beside(input)?;
    let (a, b) = promoted_float(input, &other)?;
    let y = rare_binary("xlog1py", &a, &b, |u, v| match u {
        _ if v.is_nan() => v,
        0.0 => 0.0,
        u => u * v.ln_1p(),
    })?;
    vjp!(op, y, {
        a: |g| {
            let flat = a.equals(0.0)?.logical_and(&b.le((-1.0).into())?)?;
            flat.choose_or(0.0, &xlog1py(g, (&b).into())?)
        },
        b: |g| g * (&a / &(&b + 1.0)?),
    })
}

/// Hurwitz's zeta function, the sum of 1 / (k + other)^input over k from 0 on: NaN for inputs below 1.
///
/// Shape: broadcast. Dtype: float; integers promote to the default float. Either operand may be a number.
/// Derivative: none for the input, as in torch. Domain: (2, 4) for the input, (0.5, 4) for `other`.
#[pyfunction]
#[pyo3(signature = (input, other))]
pub fn zeta(input: &Tensor, other: Operand) -> Result<Tensor> {
    let op = match (input.is_number(), &other) {
        (true, _) => "special_zeta.1",
        (_, Operand::Number(_)) => "special_zeta.2",
        _ => "special_zeta",
    };
    let other = other.beside(input)?;
    let (x, q) = promoted_float(input, &other)?;
    let y = rare_binary("zeta", &x, &q, special::zeta)?;
    vjp!(op, y, {
        x: |_g| not_implemented("zeta"),
        q: |g| (g * -&x)? * zeta(&(&x + 1.0)?, (&q).into()),
    })
}

fn not_implemented<T>(what: &str) -> Result<T> {
    Err(Error::NotImplemented(format!("the derivative for '{what}' is not implemented.")))
}

impl Tensor {
    /// x^(a-1) e^-x / Γ(a), the derivative of `igamma` by its second argument.
    fn gamma_density(&self, x: &Tensor) -> Result<Tensor> {
        let a = self;
        ((((a - 1.0)? * x.log())? - x)? - a.lgamma())?.exp()
    }

    /// Both operands in their common dtype, which must be a float.
    fn gamma_operands(&self, op: &'static str, other: &Tensor) -> Result<(Tensor, Tensor)> {
        let dtype = result_type(&[self, other]);
        if !dtype.is_float() {
            return Err(Error::unsupported(op, dtype, &[DType::F32, DType::F64]));
        }
        Ok((self.to_dtype(dtype)?, other.to_dtype(dtype)?))
    }
}

#[pymethods]
impl Tensor {
    /// The modified Bessel function of the first kind and order 0.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float.
    pub fn i0(&self) -> Result<Tensor> {
        let x = self;
        let y = rare_unary_of("i0", x, bessel::i0, bessel::i0)?;
        vjp!("i0", y, { x: |g| g * i1(&x)? })
    }

    /// The regularized lower incomplete gamma function, the integral of t^(a-1) e^-t from 0 to `other` over Γ(a), where a is the input.
    ///
    /// Shape: broadcast. Dtype: float, or one operand may be. NaN where an operand is below 0.
    /// Derivative: none for a, as in torch. Domain: (0.5, 3).
    #[pyo3(signature = (other))]
    pub fn igamma(&self, other: &Tensor) -> Result<Tensor> {
        let (a, x) = self.gamma_operands("igamma", other)?;
        let y = rare_binary("igamma", &a, &x, igamma::lower)?;
        vjp!("igamma", y, { a: |_g| not_implemented("igamma: input"), x: |g| g * a.gamma_density(&x)? })
    }

    /// The regularized upper incomplete gamma function, 1 - `igamma`.
    ///
    /// Shape: broadcast. Dtype: float, or one operand may be. NaN where an operand is below 0.
    /// Derivative: none for the input, as in torch. Domain: (0.5, 3).
    #[pyo3(signature = (other))]
    pub fn igammac(&self, other: &Tensor) -> Result<Tensor> {
        let (a, x) = self.gamma_operands("igammac", other)?;
        let y = rare_binary("igammac", &a, &x, igamma::upper)?;
        vjp!("igammac", y, { a: |_g| not_implemented("igammac: input"), x: |g| -&(g * a.gamma_density(&x)?)? })
    }

    /// The logarithm of the multivariate gamma function of dimension p, p (p - 1) / 4 ln(π) plus the sum of lgamma(x - i / 2) for i < p.
    ///
    /// Shape: any, kept. Dtype: float; integers promote to the default float. Domain: above (p - 1) / 2
    /// Raises: RuntimeError if p is below 1, and for bools.
    #[pyo3(signature = (p))]
    pub fn mvlgamma(&self, p: Whole) -> Result<Tensor> {
        let (x, Whole(p)) = (self, p);
        if p < 1 {
            return runtime_error!("mvlgamma: p has to be greater than or equal to 1, got {p}");
        }
        if x.dtype() == DType::Bool {
            return runtime_error!("mvlgamma: the input tensor may not be a boolean tensor");
        }
        let dims = p as f64;
        let constant = dims * (dims - 1.0) * PI.ln() / 4.0;
        let y = crate::tape::without_recording(|| x.below_in_halves(p)?.lgamma()?.sum(Some(last()), false, None)? + constant)?;
        vjp!("mvlgamma", y, { x: |g| g * x.below_in_halves(p)?.digamma()?.sum(Some(last()), false, None)? }, saves { p })
    }
}

impl Tensor {
    /// x - i/2 for all i below p, along a new last dim, the least first.
    fn below_in_halves(&self, p: isize) -> Result<Tensor> {
        let x = self.to_float()?;
        let steps = Tensor::arange(Scalar::Float((1 - p) as f64 / 2.0), Scalar::Float(0.5), Scalar::Float(0.5), x.dtype())?;
        x.unsqueeze(-1)? + &steps
    }
}

fn last() -> Dims {
    Dims(smallvec::smallvec![-1])
}

in_place! { i0_ i0 }

in_place! {
    /// In place; see `igamma`.
    igamma_(other)(other: &Tensor) [other] |x| x.igamma(other);
    /// In place; see `igammac`.
    igammac_(other)(other: &Tensor) [other] |x| x.igammac(other);
    /// In place; see `mvlgamma`.
    mvlgamma_(p)(p: Whole) [] |x| x.kept().mvlgamma(p);
}
