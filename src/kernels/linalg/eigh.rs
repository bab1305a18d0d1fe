//! Eigenvalues and eigenvectors of Hermitian matrices: reduction to tridiagonal form by reflections, then the QL algorithm with
//! implicit shifts (Golub and Van Loan, "Matrix Computations", 4th edition, sections 8.3.1 and 8.3.3).

use super::qr::{reflect, reflector};
use super::{Field, add_multiple, dot, scale};

/// Rows of eigenvectors that are rotated together, so that they stay in the cache.
const ROWS: usize = 64;
/// Sweeps for one eigenvalue; two are usual.
const SWEEPS: usize = 60;

/// Reads the lower triangle of `a`. The eigenvalues in ascending order go to `values`, and, if wanted, the eigenvectors to the
/// columns of `a`. Answers whether the iteration converged.
#[must_use]
pub fn eigh<T: Field>(n: usize, a: &mut [T], values: &mut [f64], vectors: bool) -> bool {
    let largest = a.iter().fold(0.0f64, |m, v| m.max(v.taxi()));
    // By a power of two, so that no square overflows, and nothing is rounded.
    let factor = if largest > 0.0 { largest.log2().floor().clamp(-1000.0, 1000.0).exp2() } else { 1.0 };
    scale(a, T::real(1.0 / factor));
    let (mut beside, mut taus) = (vec![0.0; n], vec![T::ZERO; n]);
    tridiagonalize(n, a, values, &mut beside, &mut taus);
    let mut q = if vectors { product(n, a, &taus) } else { Vec::new() };
    if !ql(n, values, &mut beside, &mut q) {
        return false;
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let sorted: Vec<f64> = order.iter().map(|&i| values[i] * factor).collect();
    values.copy_from_slice(&sorted);
    if vectors {
        order.iter().zip(a.chunks_exact_mut(n.max(1))).for_each(|(&i, to)| to.copy_from_slice(&q[i * n..][..n]));
    }
    true
}

/// The diagonal and the elements beside it of Q^H A Q; below them in `a`, the vectors of the reflections whose product is Q.
fn tridiagonalize<T: Field>(n: usize, a: &mut [T], diagonal: &mut [f64], beside: &mut [f64], taus: &mut [T]) {
    for i in 0..n {
        diagonal[i] = a[i * n + i].re();
        let (left, right) = a.split_at_mut((i + 1) * n);
        let v = &mut left[i * n + i + 1..];
        let tau = reflector(v);
        taus[i] = tau;
        let Some(first) = v.first_mut() else { return };
        beside[i] = first.re();
        *first = T::ONE;
        if tau == T::ZERO {
            continue;
        }
        let column = |c: usize| c * n + i + 1 + c..(c + 1) * n;
        // w = tau A v - tau (tau A v)^H v / 2 v, from one triangle of A.
        let mut w = vec![T::ZERO; v.len()];
        for c in 0..v.len() {
            let below = &right[column(c)][1..];
            w[c] = w[c] + T::real(right[column(c)][0].re()) * v[c] + dot(below, &v[c + 1..]);
            add_multiple(&mut w[c + 1..], v[c], below);
        }
        scale(&mut w, tau);
        let half = T::real(-0.5) * tau * dot(&w, v);
        add_multiple(&mut w, half, v);
        for c in 0..v.len() {
            let to = &mut right[column(c)];
            add_multiple(to, -w[c].conj(), &v[c..]);
            add_multiple(to, -v[c].conj(), &w[c..]);
        }
    }
}

/// The product of reflections whose vectors lie below the diagonal of `a`.
fn product<T: Field>(n: usize, a: &[T], taus: &[T]) -> Vec<T> {
    let mut q = vec![T::ZERO; n * n];
    (0..n).for_each(|i| q[i * n + i] = T::ONE);
    for i in (0..n).rev().filter(|&i| taus[i] != T::ZERO) {
        let v = &a[i * n + i + 1..(i + 1) * n];
        (i + 1..n).for_each(|c| reflect(&mut q[c * n + i + 1..(c + 1) * n], v, taus[i]));
    }
    q
}

/// Makes a tridiagonal matrix diagonal, and turns the columns of `q`, unless it is empty, alike.
fn ql<T: Field>(n: usize, d: &mut [f64], e: &mut [f64], q: &mut [T]) -> bool {
    let mut turns: Vec<(usize, f64, f64)> = Vec::new();
    for l in 0..n {
        for sweep in 0.. {
            let negligible = |i: usize| e[i].abs() <= f64::EPSILON * (d[i].abs() * d[i + 1].abs()).sqrt() + f64::MIN_POSITIVE;
            let m = (l..n - 1).find(|&i| negligible(i)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if sweep == SWEEPS {
                return false;
            }
            turns.clear();
            let shift = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut g = d[m] - d[l] + e[l] / (shift + shift.hypot(1.0).copysign(shift));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut whole = true;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    // It has come apart at i + 1.
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    whole = false;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                turns.push((i, c, s));
            }
            if whole {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
            rotate(n, q, &turns);
        }
    }
    true
}

/// Turns columns i and i + 1 for each of `turns`, some rows at a time.
fn rotate<T: Field>(n: usize, q: &mut [T], turns: &[(usize, f64, f64)]) {
    if q.is_empty() {
        return;
    }
    for start in (0..n).step_by(ROWS) {
        let rows = start..(start + ROWS).min(n);
        for &(i, c, s) in turns {
            let (left, right) = super::two_columns(q, n, i, i + 1);
            for (x, y) in left[rows.clone()].iter_mut().zip(&mut right[rows.clone()]) {
                let (a, b) = (*x, *y);
                *x = T::real(c) * a - T::real(s) * b;
                *y = T::real(s) * a + T::real(c) * b;
            }
        }
    }
}
