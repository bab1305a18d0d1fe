//! Decompositions of one matrix, in double precision, real or complex.
//!
//! Matrices lie column after column in slices: element (i, j) of a matrix of m rows is at `j * m + i`. Algorithms, signs and the
//! storage of factors are LAPACK's (Anderson et al., "LAPACK Users' Guide", 3rd edition, 1999). Large products within them go
//! through [`gemm`], which shares them among threads.

use std::ops::{Add, Mul, Neg, Sub};

use num_complex::Complex;

use super::complex::quotient;
use super::matmul::{Gemm, MatMut, MatRef, Product, gemm};

pub mod cholesky;
pub mod eig;
pub mod eigh;
pub mod ldl;
pub mod lu;
pub mod qr;
pub mod svd;
pub mod triangular;

/// Columns that blocked algorithms work on at a time.
const BLOCK: usize = 32;

/// The numbers that matrices are made of: f64, or complex ones.
pub trait Field: Gemm + Default + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self> {
    /// Whether there are imaginary parts.
    const IS_COMPLEX: bool;
    /// A real number.
    fn real(value: f64) -> Self;
    /// The real part.
    fn re(self) -> f64;
    /// The imaginary part.
    fn im(self) -> f64;
    /// The complex conjugate.
    fn conj(self) -> Self;
    /// The quotient.
    fn over(self, other: Self) -> Self;
    /// The absolute value.
    fn size(self) -> f64 {
        self.re().hypot(self.im())
    }
    /// The sum of the absolute values of the parts, by which pivots are chosen.
    fn taxi(self) -> f64 {
        self.re().abs() + self.im().abs()
    }
    /// Whether both parts are finite.
    fn is_finite(self) -> bool {
        self.re().is_finite() && self.im().is_finite()
    }
}

impl Field for f64 {
    const IS_COMPLEX: bool = false;
    #[inline(always)]
    fn real(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn re(self) -> f64 {
        self
    }
    #[inline(always)]
    fn im(self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn conj(self) -> f64 {
        self
    }
    #[inline(always)]
    fn over(self, other: f64) -> f64 {
        self / other
    }
    #[inline(always)]
    fn size(self) -> f64 {
        self.abs()
    }
}

impl Field for Complex<f64> {
    const IS_COMPLEX: bool = true;
    #[inline(always)]
    fn real(value: f64) -> Self {
        Complex::new(value, 0.0)
    }
    #[inline(always)]
    fn re(self) -> f64 {
        self.re
    }
    #[inline(always)]
    fn im(self) -> f64 {
        self.im
    }
    #[inline(always)]
    fn conj(self) -> Self {
        Complex::new(self.re, -self.im)
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        quotient(self, other)
    }
}

/// y += a x.
fn add_multiple<T: Field>(y: &mut [T], a: T, x: &[T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = *y + a * x);
}

/// x = a x.
fn scale<T: Field>(x: &mut [T], a: T) {
    x.iter_mut().for_each(|x| *x = a * *x);
}

/// The sum of conj(x) y, in four parts that do not wait for each other.
fn dot<T: Field>(x: &[T], y: &[T]) -> T {
    let mut sums = [T::ZERO; 4];
    let (xs, ys) = (x.chunks_exact(4), y.chunks_exact(4));
    let rest = xs.remainder().iter().zip(ys.remainder()).fold(T::ZERO, |sum, (&x, &y)| sum + x.conj() * y);
    for (x, y) in xs.zip(ys) {
        for i in 0..4 {
            sums[i] = sums[i] + x[i].conj() * y[i];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// The length of a vector, without overflow.
fn length<T: Field>(x: &[T]) -> f64 {
    let largest = x.iter().fold(0.0f64, |m, v| m.max(v.taxi()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    largest * x.iter().map(|v| (v.re() / largest).powi(2) + (v.im() / largest).powi(2)).sum::<f64>().sqrt()
}

/// Two columns of a matrix, the second after the first.
fn two_columns<T>(a: &mut [T], rows: usize, first: usize, second: usize) -> (&mut [T], &mut [T]) {
    debug_assert!(first < second);
    let (left, right) = a.split_at_mut(second * rows);
    (&mut left[first * rows..][..rows], &mut right[..rows])
}

/// A part of a matrix: where it starts in its slice, and the steps to the next row and column.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    row: usize,
    column: usize,
}

impl Part {
    /// The part of a matrix of `rows` rows that begins at (i, j).
    fn at(rows: usize, i: usize, j: usize) -> Part {
        Part { start: j * rows + i, row: 1, column: rows }
    }

    /// Fails unless an m x n part lies within `length` elements.
    fn check(&self, length: usize, m: usize, n: usize) {
        assert!(m == 0 || n == 0 || self.start + (m - 1) * self.row + (n - 1) * self.column < length);
    }
}

/// Part C -= part A times part B, with A and B in slices of their own.
fn subtract_product<T: Field>((m, k, n): (usize, usize, usize), a: (&[T], Part), b: (&[T], Part), c: (&mut [T], Part)) {
    b.1.check(b.0.len(), k, n);
    let b = MatRef { ptr: b.0.as_ptr().wrapping_add(b.1.start), row_stride: b.1.row as isize, col_stride: b.1.column as isize };
    // SAFETY: within the slice, which the caller has borrowed for reading, apart from C.
    unsafe { subtract_from(c.0, c.1, a, b, (m, k, n)) }
}

/// The same, with B within the slice of C.
///
/// # Safety
/// B must have no element in common with C.
unsafe fn subtract_product_within<T: Field>((m, k, n): (usize, usize, usize), a: (&[T], Part), bc: &mut [T], b: Part, c: Part) {
    b.check(bc.len(), k, n);
    let b = MatRef { ptr: bc.as_ptr().wrapping_add(b.start), row_stride: b.row as isize, col_stride: b.column as isize };
    // SAFETY: within the slice, and apart from C, for which the caller answers.
    unsafe { subtract_from(bc, c, a, b, (m, k, n)) }
}

/// # Safety
/// B must be valid for reading, and share no element with C.
unsafe fn subtract_from<T: Field>(c: &mut [T], place: Part, a: (&[T], Part), b: MatRef<T>, (m, k, n): (usize, usize, usize)) {
    place.check(c.len(), m, n);
    a.1.check(a.0.len(), m, k);
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    let a = MatRef { ptr: a.0.as_ptr().wrapping_add(a.1.start), row_stride: a.1.row as isize, col_stride: a.1.column as isize };
    let c = MatMut {
        ptr: c.as_mut_ptr().wrapping_add(place.start),
        row_stride: place.row as isize,
        col_stride: place.column as isize,
    };
    // SAFETY: all three have been checked to be within their slices; A is borrowed for reading beside C, for B the caller answers.
    unsafe { gemm(Product { m, k, n, alpha: -T::ONE, a, b, beta: T::ONE, c }) }
}
