//! The exponential and powers of matrices.

use pyo3::prelude::*;

use super::lu::Factors;
use super::{batch, check_inexact, check_square, identity, sides, wide, with};
use crate::error::Result;
use crate::ops::arguments::{Dims, MemoryFormat};
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// The coefficients of the Padé approximant of degree 13, from the highest power down.
const PADE: [f64; 14] = [
    1.0,
    182.0,
    16380.0,
    960960.0,
    40840800.0,
    1323241920.0,
    33522128640.0,
    670442572800.0,
    10559470521600.0,
    129060195264000.0,
    1187353796428800.0,
    7771770303897600.0,
    32382376266240000.0,
    64764752532480000.0,
];
/// The norm up to which it is exact in double precision.
const LARGEST: f64 = 5.371920351148152;

/// e^A by the approximant for A / 2^s, squared s times; off the tape, in double precision.
///
/// Source: Higham, "The scaling and squaring method for the matrix exponential revisited", 2005.
fn exponential(a: &Tensor) -> Result<Tensor> {
    let n = sides(a).0;
    let a = a.detached_read()?.to_dtype(wide(a.dtype()))?.reshape_to(&[batch(a, 2).iter().product(), n, n])?;
    if a.numel() == 0 {
        return Ok(a);
    }
    let norms = super::sum_over(&a.abs()?, -2)?.amax(Dims(smallvec::smallvec![-1]), false)?.to_vec::<f64>()?;
    // A norm that is not finite gives NaN, whatever it is scaled by.
    let steps = |norm: f64| if norm > LARGEST && norm.is_finite() { (norm / LARGEST).log2().ceil() } else { 0.0 };
    let scales: Vec<f64> = norms.iter().map(|&norm| (-steps(norm)).exp2()).collect();
    let scales = Tensor::from_slice(&[scales.len(), 1, 1], &scales)?;
    let mut y = pade(&(&a * &scales)?)?;
    let most = norms.iter().map(|&norm| steps(norm)).fold(0.0, f64::max) as usize;
    for step in 0..most {
        let more: Vec<u8> = norms.iter().map(|&norm| (steps(norm) > step as f64) as u8).collect();
        let more = Tensor::from_slice(&[more.len(), 1, 1], &more)?.to_dtype(crate::dtype::DType::Bool)?;
        y = more.where_of(&y.bmm(&y)?, &y)?;
    }
    Ok(y)
}

/// The approximant: (V - U)^-1 (V + U), where U has the odd powers and V the even ones.
fn pade(a: &Tensor) -> Result<Tensor> {
    let one = identity(a.shape(), a.dtype())?;
    let a2 = a.bmm(a)?;
    let a4 = a2.bmm(&a2)?;
    let a6 = a4.bmm(&a2)?;
    let sum = |c: [f64; 3]| -> Result<Tensor> { ((&a6 * c[0])? + (&a4 * c[1])?)? + (&a2 * c[2])? };
    // So that the exponential of zeros is exactly the identity.
    let c = PADE.map(|c| c / PADE[13]);
    let odd = ((a6.bmm(&sum([c[0], c[2], c[4]])?)? + sum([c[6], c[8], c[10]])?)? + (&one * c[12])?)?;
    let even = ((a6.bmm(&sum([c[1], c[3], c[5]])?)? + sum([c[7], c[9], c[11]])?)? + (&one * c[13])?)?;
    let odd = a.bmm(&odd)?;
    Factors::of(&(&even - &odd)?)?.solve(&(even + odd)?, true, false)
}

/// The exponential of square matrices; its derivative is a block of the exponential of one of twice the size.
///
/// Source: torch's `linalg_matrix_exp_differential`; Mathias, "A chain rule for matrix functions and applications", 1996.
fn exponential_of(a: &Tensor) -> Result<Tensor> {
    let y = without_recording(|| exponential(a)?.to_dtype(a.dtype())?.reshape_to(a.shape())?.contiguous())?;
    vjp!("linalg_matrix_exp", y, { a: |g| {
        let (n, rank) = (sides(&a).0, a.rank());
        let adjoint = a.mh()?;
        let zeros = Tensor::zeroed("matrix_exp", &with(&batch(&a, 2), &[n, n]), a.dtype())?;
        let above = Tensor::joined("cat", &[adjoint.clone(), g.clone()], rank - 1)?;
        let below = Tensor::joined("cat", &[zeros, adjoint], rank - 1)?;
        exponential_of(&Tensor::joined("cat", &[above, below], rank - 2)?)?.strip(true, 0, n)?.strip(false, n, n)
    } })
}

/// The exponential of square matrices.
///
/// Shape: (*, n, n), kept. Dtype: float or complex.
#[pyfunction(name = "matrix_exp")]
#[pyo3(signature = (A))]
#[allow(non_snake_case)]
pub fn linalg_matrix_exp(A: &Tensor) -> Result<Tensor> {
    check_square("linalg.matrix_exp", "A", A)?;
    check_inexact("linalg.matrix_exp", A)?;
    exponential_of(A)
}

#[pymethods]
impl Tensor {
    /// The exponential of square matrices; see `linalg.matrix_exp`.
    pub fn matrix_exp(&self) -> Result<Tensor> {
        linalg_matrix_exp(self)
    }

    /// The n-th power of square matrices; that of the inverse for negative n, the identity for 0.
    ///
    /// Shape: (*, n, n), kept. Dtype: float or complex, for n >= 0 any.
    pub fn matrix_power(&self, n: isize) -> Result<Tensor> {
        const OP: &str = "linalg.matrix_power";
        check_square(OP, "A", self)?;
        let mut power = n.unsigned_abs();
        if n == 0 {
            return power_of_zero(self);
        }
        let mut square = if n < 0 { super::solve::inv(self)? } else { self.clone() };
        let mut y: Option<Tensor> = None;
        loop {
            if power & 1 == 1 {
                y = Some(match y {
                    Some(y) => y.matmul(&square)?,
                    None => square.clone(),
                });
            }
            power >>= 1;
            match y {
                Some(y) if power == 0 => {
                    return if n == 1 { y.clone_in(MemoryFormat::Preserve) } else { Ok(y) };
                }
                _ => square = square.matmul(&square)?,
            }
        }
    }
}

/// The identity as a function of matrices: all derivatives are 0.
fn power_of_zero(x: &Tensor) -> Result<Tensor> {
    let y = identity(x.shape(), x.dtype())?;
    vjp!("copy", y, { x: |g| g * 0.0 })
}
