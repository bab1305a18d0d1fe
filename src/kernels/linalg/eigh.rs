//! Eigenvalues and eigenvectors of Hermitian matrices: reduction to tridiagonal form by reflections, then the QL or QR algorithm
//! with implicit shifts (Golub and Van Loan, "Matrix Computations", 4th edition, sections 8.3.1 and 8.3.3).

use super::qr::{reflect, reflector};
use super::{Field, add_multiple, dot, scale};

/// Rows of eigenvectors that are rotated together, so that they stay in the cache.
const ROWS: usize = 64;
/// Sweeps for one eigenvalue; two are usual.
const SWEEPS: usize = 30;
/// What rounding may add to 1.
const EPS: f64 = f64::EPSILON / 2.0;

/// Reads one triangle of `a`, the lower one unless `upper`. The eigenvalues in ascending order go to `values`, and, if wanted, the eigenvectors to the
/// columns of `a`. Answers whether the iteration converged.
#[must_use]
pub fn eigh<T: Field>(n: usize, a: &mut [T], values: &mut [f64], upper: bool, vectors: bool) -> bool {
    if upper {
        // Rows and columns from the last to the first: the upper triangle becomes the lower one.
        a.reverse();
    }
    let largest = a.iter().fold(0.0f64, |m, v| m.max(v.taxi()));
    // By a power of two, so that no square overflows, and nothing is rounded.
    let factor = if largest > 0.0 { largest.log2().floor().clamp(-1000.0, 1000.0).exp2() } else { 1.0 };
    scale(a, T::real(1.0 / factor));
    let (mut beside, mut taus) = (vec![0.0; n], vec![T::ZERO; n]);
    tridiagonalize(n, a, values, &mut beside, &mut taus);
    let mut q = if vectors { product(n, a, &taus) } else { Vec::new() };
    if upper {
        values.reverse();
        beside[..n.saturating_sub(1)].reverse();
        q.reverse();
    }
    if !diagonalize(n, values, &mut beside, &mut q) {
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

/// Makes a tridiagonal matrix diagonal, and turns the columns of `q`, unless it is empty, alike; as LAPACK's `steqr`.
fn diagonalize<T: Field>(n: usize, d: &mut [f64], e: &mut [f64], q: &mut [T]) -> bool {
    let (mut begin, mut sweeps) = (0, SWEEPS * n);
    while begin < n {
        let apart = |i: usize| e[i].abs() <= d[i].abs().sqrt() * d[i + 1].abs().sqrt() * EPS;
        let end = (begin..n - 1).find(|&i| apart(i)).unwrap_or(n - 1);
        let block = Block { begin, end, down: d[end].abs() >= d[begin].abs() };
        if !block.diagonalize(n, d, e, q, &mut sweeps) {
            return false;
        }
        begin = end + 1;
    }
    true
}

/// A part of a tridiagonal matrix, worked on from the smaller end of its diagonal: downwards, or from below, as in a mirror.
struct Block {
    begin: usize,
    end: usize,
    down: bool,
}

impl Block {
    /// Place k of the diagonal.
    fn at(&self, k: usize) -> usize {
        if self.down { self.begin + k } else { self.end - k }
    }

    /// The upper one of places k and k + 1, which is the place of the element beside the diagonal between them.
    fn between(&self, k: usize) -> usize {
        if self.down { self.begin + k } else { self.end - k - 1 }
    }

    fn diagonalize<T: Field>(&self, n: usize, d: &mut [f64], e: &mut [f64], q: &mut [T], sweeps: &mut usize) -> bool {
        let (count, mut l) = (self.end - self.begin + 1, 0);
        let mut turns = Vec::new();
        while l < count {
            let negligible = |k: usize| {
                let beside = e[self.between(k)];
                beside * beside <= EPS * EPS * d[self.at(k)].abs() * d[self.at(k + 1)].abs() + f64::MIN_POSITIVE
            };
            let m = (l..count - 1).find(|&k| negligible(k)).unwrap_or(count - 1);
            if m < count - 1 {
                e[self.between(m)] = 0.0;
            }
            turns.clear();
            match m - l {
                0 => l += 1,
                1 => {
                    let i = self.between(l);
                    let ([first, second], c, s) = two_by_two(d[i], e[i], d[i + 1]);
                    (d[i], d[i + 1], e[i]) = (first, second, 0.0);
                    turns.push((i, c, s));
                    l += 2;
                }
                _ if *sweeps == 0 => return false,
                _ => {
                    *sweeps -= 1;
                    self.sweep(l, m, d, e, &mut turns);
                }
            }
            rotate(n, q, &turns);
        }
        true
    }

    /// One sweep with an implicit shift from place m back to l.
    fn sweep(&self, l: usize, m: usize, d: &mut [f64], e: &mut [f64], turns: &mut Vec<(usize, f64, f64)>) {
        let (start, beside) = (d[self.at(l)], e[self.between(l)]);
        let half = (d[self.at(l + 1)] - start) / (2.0 * beside);
        let mut g = d[self.at(m)] - start + beside / (half + half.hypot(1.0).copysign(half));
        let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
        for k in (l..m).rev() {
            let i = self.between(k);
            let (f, b) = (s * e[i], c * e[i]);
            let r;
            (c, s, r) = rotation(g, f);
            if k + 1 < m {
                e[self.between(k + 1)] = r;
            }
            g = d[self.at(k + 1)] - p;
            let r = (d[self.at(k)] - g) * s + 2.0 * c * b;
            p = s * r;
            d[self.at(k + 1)] = g + p;
            g = c * r - b;
            turns.push((i, c, if self.down { -s } else { s }));
        }
        d[self.at(l)] -= p;
        e[self.between(l)] = g;
    }
}

/// Cosine, sine and length r with (c, s; -s, c) (f, g) = (r, 0), as LAPACK's `lartg`.
fn rotation(f: f64, g: f64) -> (f64, f64, f64) {
    if g == 0.0 {
        return (1.0, 0.0, f);
    }
    if f == 0.0 {
        return (0.0, 1.0, g);
    }
    let r = f.hypot(g).copysign(if f.abs() > g.abs() { f } else { 1.0 });
    (f / r, g / r, r)
}

/// The eigenvalues of (a, b; b, c), the larger one in size first, and cosine and sine of its vector, as LAPACK's `laev2`.
fn two_by_two(a: f64, b: f64, c: f64) -> ([f64; 2], f64, f64) {
    let (sum, gap) = (a + c, a - c);
    let (large, small) = if a.abs() > c.abs() { (a, c) } else { (c, a) };
    let root = gap.hypot(b + b);
    let first = if sum < 0.0 { 0.5 * (sum - root) } else { 0.5 * (sum + root) };
    let second = if sum == 0.0 { -0.5 * root } else { (large / first) * small - (b / first) * b };
    let cs = if gap >= 0.0 { gap + root } else { gap - root };
    let (c, s) = if cs.abs() > (b + b).abs() {
        let cotangent = -(b + b) / cs;
        let s = 1.0 / (1.0 + cotangent * cotangent).sqrt();
        (cotangent * s, s)
    } else if b == 0.0 {
        (1.0, 0.0)
    } else {
        let tangent = -cs / (b + b);
        let c = 1.0 / (1.0 + tangent * tangent).sqrt();
        (c, tangent * c)
    };
    if (sum < 0.0) == (gap < 0.0) { ([first, second], -s, c) } else { ([first, second], c, s) }
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
                *x = T::real(c) * a + T::real(s) * b;
                *y = T::real(c) * b - T::real(s) * a;
            }
        }
    }
}
