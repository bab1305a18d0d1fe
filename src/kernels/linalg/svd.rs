//! Singular values and vectors of one matrix: faer's reduction to bidiagonal form, then divide and conquer. A complex matrix
//! is made real and bidiagonal first.
//!
//! In double precision only, so that faer's code is compiled for one type, and on the calling thread. Limit: singular values
//! come out to within rounding errors of the largest one, as LAPACK's do.
//! Price: 2.6 of the 11.6 MB of the extension.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd as faer_svd, svd_scratch};
use faer::{ColMut, MatMut, MatRef, Par};
use num_complex::Complex;

use super::qr::{reflect, reflector};
use super::{Field, add_multiple, two_columns};

type C = Complex<f64>;

/// Columns in, left singular vectors out: `columns` holds as many columns of length `rows` as there are places in `s`,
/// which gets the singular values, descending; `right` gets the right singular vectors, one after the other.
/// There are at least as many rows as columns, and all values are finite. Answers whether the iteration converged.
#[must_use]
pub fn svd(rows: usize, columns: &mut [f64], s: &mut [f64], right: &mut [f64]) -> bool {
    let n = s.len();
    debug_assert!(rows >= n && columns.len() == rows * n && right.len() == n * n);
    if n == 0 {
        return true;
    }
    // By a power of two, so that no square overflows, and nothing is rounded.
    let largest = columns.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let scale = if largest > 0.0 { largest.log2().floor().clamp(-1000.0, 1000.0).exp2() } else { 1.0 };
    let scaled: Vec<f64> = columns.iter().map(|v| v / scale).collect();
    let thin = ComputeSvdVectors::Thin;
    let mut scratch = MemBuffer::new(svd_scratch::<f64>(rows, n, thin, thin, Par::Seq, Default::default()));
    let converged = faer_svd(
        MatRef::from_column_major_slice(&scaled, rows, n),
        ColMut::from_slice_mut(s).as_diagonal_mut(),
        Some(MatMut::from_column_major_slice_mut(columns, rows, n)),
        Some(MatMut::from_column_major_slice_mut(right, n, n)),
        Par::Seq,
        MemStack::new(&mut scratch),
        Default::default(),
    );
    s.iter_mut().for_each(|v| *v *= scale);
    converged.is_ok()
}

/// How a matrix is decomposed.
pub trait Svd: Field {
    /// [`svd`], where `right` gets the conjugates of the right singular vectors.
    #[must_use]
    fn svd(rows: usize, columns: &mut [Self], s: &mut [f64], right: &mut [Self]) -> bool;
}

impl Svd for f64 {
    fn svd(rows: usize, columns: &mut [f64], s: &mut [f64], right: &mut [f64]) -> bool {
        svd(rows, columns, s, right)
    }
}

impl Svd for C {
    /// By A = Q B P^H with a real bidiagonal B (Golub and Van Loan, "Matrix Computations", 4th edition, section 5.4.8).
    fn svd(rows: usize, columns: &mut [C], s: &mut [f64], right: &mut [C]) -> bool {
        let n = s.len();
        let mut middle = vec![0.0; n * n];
        let taus = bidiagonalize(rows, n, columns, &mut middle);
        let mut vectors = vec![0.0; n * n];
        if !svd(n, &mut middle, s, &mut vectors) {
            return false;
        }
        let reflections = columns.to_vec();
        for (j, to) in columns.chunks_exact_mut(rows.max(1)).enumerate() {
            to.fill(C::default());
            to.iter_mut().zip(&middle[j * n..][..n]).for_each(|(to, &v)| *to = C::real(v));
            for i in (0..n).rev() {
                reflect(&mut to[i..], &reflections[i * rows + i..(i + 1) * rows], taus[i].0);
            }
        }
        for (j, to) in right.chunks_exact_mut(n.max(1)).enumerate() {
            to.iter_mut().zip(&vectors[j * n..]).for_each(|(to, &v)| *to = C::real(v));
            for i in (0..n.saturating_sub(1)).rev() {
                let v: Vec<C> = (i + 1..n).map(|c| reflections[c * rows + i]).collect();
                reflect(&mut to[i + 1..], &v, taus[i].1);
            }
            to.iter_mut().for_each(|v| *v = v.conj());
        }
        true
    }
}

/// Overwrites A by the vectors of the reflections whose products are Q, below the diagonal, and P, beside it; answers their factors.
fn bidiagonalize(m: usize, n: usize, a: &mut [C], middle: &mut [f64]) -> Vec<(C, C)> {
    let mut taus = vec![(C::default(), C::default()); n];
    for i in 0..n {
        taus[i].0 = reflector(&mut a[i * m + i..(i + 1) * m]);
        middle[i * n + i] = a[i * m + i].re;
        for c in i + 1..n {
            let (v, x) = two_columns(a, m, i, c);
            reflect(&mut x[i..], &v[i..], taus[i].0.conj());
        }
        if i + 1 == n {
            break;
        }
        let mut v: Vec<C> = (i + 1..n).map(|c| a[c * m + i].conj()).collect();
        let tau = reflector(&mut v);
        (taus[i].1, middle[(i + 1) * n + i]) = (tau, v[0].re);
        v[0] = C::real(1.0);
        let mut sum = vec![C::default(); m - i - 1];
        v.iter().enumerate().for_each(|(j, &v)| add_multiple(&mut sum, v, &a[(i + 1 + j) * m + i + 1..(i + 2 + j) * m]));
        for (j, &v) in v.iter().enumerate() {
            add_multiple(&mut a[(i + 1 + j) * m + i + 1..(i + 2 + j) * m], -tau * v.conj(), &sum);
            a[(i + 1 + j) * m + i] = v;
        }
    }
    taus
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).map(|(a, b)| a * b).sum()
    }

    /// Numbers between -1 and 1 that look random.
    fn noise(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i as f64 * 12.9898 + 4.1).sin() * 43758.5453).fract()).collect()
    }

    /// Checks U diag(s) V^T = A, that U and V are orthogonal, and that s descends.
    fn check(rows: usize, n: usize, a: &[f64]) -> Vec<f64> {
        let (mut u, mut s, mut v) = (a.to_vec(), vec![0.0; n], vec![0.0; n * n]);
        assert!(svd(rows, &mut u, &mut s, &mut v));
        let largest = s.first().copied().unwrap_or(0.0);
        for i in 0..n {
            for j in 0..n {
                let same = if i == j { 1.0 } else { 0.0 };
                assert!((dot(&u[i * rows..][..rows], &u[j * rows..][..rows]) - same).abs() < 1e-13, "U {rows}x{n} {i} {j}");
                assert!((dot(&v[i * n..][..n], &v[j * n..][..n]) - same).abs() < 1e-13, "V {rows}x{n} {i} {j}");
            }
            for r in 0..rows {
                let sum: f64 = (0..n).map(|k| u[k * rows + r] * s[k] * v[k * n + i]).sum();
                assert!((sum - a[i * rows + r]).abs() <= 1e-13 * largest, "A {rows}x{n} {r} {i}");
            }
        }
        assert!(s.windows(2).all(|pair| pair[0] >= pair[1]) && s.iter().all(|&v| v >= 0.0));
        s
    }

    #[test]
    fn factors_multiply_to_the_matrix() {
        for (rows, n) in [(1, 1), (3, 2), (5, 5), (17, 9), (40, 40), (100, 3), (4, 0), (0, 0)] {
            check(rows, n, &noise(rows * n));
        }
    }

    #[test]
    fn low_rank_zero_and_repeated_values() {
        let (x, y) = (noise(12), noise(7));
        let product: Vec<f64> = y.iter().flat_map(|b| x.iter().map(move |a| a * b)).collect();
        let s = check(12, 7, &product);
        assert!(s[1] < 1e-15 * s[0]);
        assert_eq!(check(4, 3, &[0.0; 12]), [0.0; 3]);
        let identity: Vec<f64> = (0..25).map(|i| if i % 6 == 0 { 2.0 } else { 0.0 }).collect();
        assert_eq!(check(5, 5, &identity), [2.0; 5]);
        assert_eq!(check(2, 2, &[1.0, 1.0, 1.0, 1.0])[1], 0.0);
    }

    #[test]
    fn large_and_small_values_keep_their_digits() {
        for scale in [1e-300, 1e300] {
            let a: Vec<f64> = noise(24).iter().map(|v| v * scale).collect();
            let (scaled, plain) = (check(6, 4, &a), check(6, 4, &noise(24)));
            scaled.iter().zip(plain).for_each(|(a, b)| assert!((a / scale - b).abs() < 1e-14 * b));
        }
        // The triangle (1, 1; 0, 1e-20) has the singular values sqrt(2) and 1e-20 / sqrt(2).
        let s = check(2, 2, &[1.0, 0.0, 1.0, 1e-20]);
        assert!((s[1] / (1e-20 / 2f64.sqrt()) - 1.0).abs() < 1e-14);
    }
}
