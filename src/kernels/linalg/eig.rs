//! Eigenvalues and eigenvectors of any square matrix: reduction to Hessenberg form by reflections, then the QR algorithm with
//! double shifts for real matrices (Golub and Van Loan, "Matrix Computations", 4th edition, section 7.5; the loop is that of
//! EISPACK's `hqr2`), with single shifts for complex ones. The vectors come from the complex triangular form of either.

use num_complex::Complex;

use super::qr::{reflect, reflector};
use super::{Field, add_multiple, length, quotient, scale, two_columns};

type C = Complex<f64>;

const EPS: f64 = f64::EPSILON;
/// Steps for one eigenvalue; every tenth has an unusual shift.
const STEPS: usize = 300;

/// The eigenvalues of `a`, in which they are put at the diagonal, go to `values`, and eigenvectors of length 1, if wanted, to the
/// columns of `vectors`. Answers whether the iteration converged.
#[must_use]
pub fn eig<T: Schur>(n: usize, a: &mut [T], values: &mut [C], vectors: Option<&mut [C]>) -> bool {
    let mut q = hessenberg(n, a, vectors.is_some());
    if !T::triangularize(n, a, &mut q, values) {
        return false;
    }
    let Some(vectors) = vectors else { return true };
    let (mut t, mut q): (Vec<C>, Vec<C>) = (a.iter().map(complex).collect(), q.iter().map(complex).collect());
    if !T::IS_COMPLEX {
        (0..n).filter(|&i| values[i].im > 0.0).for_each(|i| split_pair(n, i, values[i], &mut t, &mut q));
    }
    for k in 0..n {
        if !T::IS_COMPLEX && values[k].im < 0.0 {
            let (first, second) = two_columns(vectors, n, k - 1, k);
            second.iter_mut().zip(first).for_each(|(v, w)| *v = w.conj());
        } else {
            let vector = &mut vectors[k * n..][..n];
            eigenvector(n, k, &t, &q, vector);
            normalize(vector, values[k].im == 0.0 && !T::IS_COMPLEX, values[k].im > 0.0 && !T::IS_COMPLEX);
        }
    }
    true
}

fn complex<T: Field>(v: &T) -> C {
    C::new(v.re(), v.im())
}

/// Overwrites A by H of A = Q H Q^H, zero below the elements beside the diagonal; answers Q, if wanted.
fn hessenberg<T: Field>(n: usize, a: &mut [T], wanted: bool) -> Vec<T> {
    let mut q = vec![T::ZERO; if wanted { n * n } else { 0 }];
    q.iter_mut().step_by(n + 1).for_each(|v| *v = T::ONE);
    for j in 0..n.saturating_sub(2) {
        let mut v = a[j * n + j + 1..(j + 1) * n].to_vec();
        let tau = reflector(&mut v);
        if tau == T::ZERO {
            continue;
        }
        a[j * n + j + 1] = v[0];
        a[j * n + j + 2..(j + 1) * n].fill(T::ZERO);
        v[0] = T::ONE;
        (j + 1..n).for_each(|c| reflect(&mut a[c * n + j + 1..(c + 1) * n], &v, tau.conj()));
        reflect_columns(n, &mut a[(j + 1) * n..], &v, tau);
        if wanted {
            reflect_columns(n, &mut q[(j + 1) * n..], &v, tau);
        }
    }
    q
}

/// A (1 - tau v v^H), for the columns of A.
fn reflect_columns<T: Field>(n: usize, a: &mut [T], v: &[T], tau: T) {
    let mut sum = vec![T::ZERO; n];
    a.chunks_exact(n).zip(v).for_each(|(x, &v)| add_multiple(&mut sum, v, x));
    a.chunks_exact_mut(n).zip(v).for_each(|(x, &v)| add_multiple(x, -tau * v.conj(), &sum));
}

/// How a Hessenberg matrix is made triangular.
pub trait Schur: Field {
    /// Does it by unitary steps that also turn `q` (unless that is empty); pairs of complex eigenvalues of a real matrix remain as
    /// blocks of two. Answers whether the iteration converged.
    fn triangularize(n: usize, h: &mut [Self], q: &mut [Self], values: &mut [C]) -> bool;
}

/// Where the block that ends at `last` begins: the element before it is negligible, and becomes 0.
fn block_start<T: Field>(n: usize, h: &mut [T], last: usize, norm: f64) -> usize {
    let mut l = last;
    while l > 0 {
        let beside = h[(l - 1) * n + l - 1].taxi() + h[l * n + l].taxi();
        if h[(l - 1) * n + l].taxi() <= EPS * if beside == 0.0 { norm } else { beside } && is_apart(n, h, l) {
            h[(l - 1) * n + l] = T::ZERO;
            break;
        }
        l -= 1;
    }
    l
}

/// Whether a small element before `l` may be dropped, given those around it (Ahues and Tisseur 1997, "A new deflation criterion for
/// the QR algorithm").
fn is_apart<T: Field>(n: usize, h: &[T], l: usize) -> bool {
    let (corner, before) = (h[l * n + l], h[(l - 1) * n + l - 1]);
    let (below, above) = (h[(l - 1) * n + l].taxi(), h[l * n + l - 1].taxi());
    let (size, gap) = (corner.taxi(), (before - corner).taxi());
    let sum = size.max(gap) + below.max(above);
    below.min(above) * (below.max(above) / sum) <= (EPS * (size.min(gap) * (size.max(gap) / sum))).max(f64::MIN_POSITIVE / EPS)
}

impl Schur for C {
    fn triangularize(n: usize, h: &mut [C], q: &mut [C], values: &mut [C]) -> bool {
        let norm = length(h);
        let (mut end, mut step) = (n, 0);
        while let Some(last) = end.checked_sub(1) {
            let l = block_start(n, h, last, norm);
            if l == last {
                values[last] = h[last * n + last];
                (end, step) = (last, 0);
                continue;
            }
            step += 1;
            if step > STEPS {
                return false;
            }
            let shift = shift_of(n, h, last, step);
            let (mut x, mut y) = (h[l * n + l] - shift, h[l * n + l + 1]);
            for k in l..last {
                if k > l {
                    (x, y) = (h[(k - 1) * n + k], h[(k - 1) * n + k + 1]);
                }
                let r = x.norm().hypot(y.norm());
                if r == 0.0 {
                    continue;
                }
                let (c, s) = (x / r, y / r);
                for j in if k > l { k - 1 } else { l }..n {
                    let (a, b) = (h[j * n + k], h[j * n + k + 1]);
                    h[j * n + k] = c.conj() * a + s.conj() * b;
                    h[j * n + k + 1] = c * b - s * a;
                }
                turn_columns(h, n, k, c, s, (k + 2).min(last) + 1);
                if !q.is_empty() {
                    turn_columns(q, n, k, c, s, n);
                }
            }
        }
        true
    }
}

/// Columns k and k + 1 times (c, -s^*; s, c^*), in the first rows.
fn turn_columns(a: &mut [C], n: usize, k: usize, c: C, s: C, rows: usize) {
    let (left, right) = two_columns(a, n, k, k + 1);
    for (x, y) in left[..rows].iter_mut().zip(right) {
        (*x, *y) = (*x * c + *y * s, *y * c.conj() - *x * s.conj());
    }
}

/// The eigenvalue of the last two rows and columns of a block that is nearer to its end; now and then another number.
fn shift_of(n: usize, h: &[C], last: usize, step: usize) -> C {
    let (corner, below) = (h[last * n + last], h[(last - 1) * n + last]);
    if step.is_multiple_of(10) {
        return corner + 0.75 * below.taxi();
    }
    let product = h[last * n + last - 1] * below;
    let half = (h[(last - 1) * n + last - 1] - corner) * 0.5;
    let root = super::super::complex::sqrt(half * half + product);
    let sum = if (half.conj() * root).re < 0.0 { half - root } else { half + root };
    if sum == C::default() { corner } else { corner - quotient(product, sum) }
}

impl Schur for f64 {
    fn triangularize(n: usize, h: &mut [f64], q: &mut [f64], values: &mut [C]) -> bool {
        let norm = length(h);
        let (mut end, mut step) = (n, 0);
        while let Some(last) = end.checked_sub(1) {
            let l = block_start(n, h, last, norm);
            if l == last {
                values[last] = C::new(h[last * n + last], 0.0);
                (end, step) = (last, 0);
            } else if l + 1 == last {
                (values[l], values[last]) = two_values(n, l, h, q);
                (end, step) = (l, 0);
            } else {
                step += 1;
                if step > STEPS {
                    return false;
                }
                double_step(n, l, last, step, h, q);
            }
        }
        true
    }
}

/// The eigenvalues of the block of two at l; if they are real, it becomes triangular.
fn two_values(n: usize, l: usize, h: &mut [f64], q: &mut [f64]) -> (C, C) {
    let k = l + 1;
    let (corner, below) = (h[k * n + k], h[l * n + k]);
    let product = below * h[k * n + l];
    let half = (h[l * n + l] - corner) / 2.0;
    let square = half * half + product;
    let root = square.abs().sqrt();
    if square < 0.0 {
        return standard_pair(n, l, h, q);
    }
    let sum = if half >= 0.0 { half + root } else { half - root };
    let first = corner + sum;
    let second = if sum == 0.0 { first } else { corner - product / sum };
    let r = below.hypot(sum);
    let (s, c) = (below / r, sum / r);
    turn_block(n, l, h, q, c, s);
    (h[l * n + l], h[k * n + k], h[l * n + k]) = (first, second, 0.0);
    (C::new(first, 0.0), C::new(second, 0.0))
}

/// The complex eigenvalues of the block of two at l, whose diagonal is made of equal numbers (LAPACK's `lanv2`).
fn standard_pair(n: usize, l: usize, h: &mut [f64], q: &mut [f64]) -> (C, C) {
    let k = l + 1;
    let (sum, gap) = (h[k * n + l] + h[l * n + k], h[l * n + l] - h[k * n + k]);
    if gap != 0.0 {
        let size = sum.hypot(gap);
        let c = (0.5 * (1.0 + sum.abs() / size)).sqrt();
        let s = -(0.5 * gap / (size * c)) * 1f64.copysign(sum);
        turn_block(n, l, h, q, c, s);
    }
    let re = 0.5 * (h[l * n + l] + h[k * n + k]);
    (h[l * n + l], h[k * n + k]) = (re, re);
    let im = h[k * n + l].abs().sqrt() * h[l * n + k].abs().sqrt();
    (C::new(re, im), C::new(re, -im))
}

/// Turns rows and columns l and l + 1.
fn turn_block(n: usize, l: usize, h: &mut [f64], q: &mut [f64], c: f64, s: f64) {
    let k = l + 1;
    for j in l..n {
        let (a, b) = (h[j * n + l], h[j * n + k]);
        (h[j * n + l], h[j * n + k]) = (c * a + s * b, c * b - s * a);
    }
    turn_real_columns(h, n, l, c, s, k + 1);
    if !q.is_empty() {
        turn_real_columns(q, n, l, c, s, n);
    }
}

fn turn_real_columns(a: &mut [f64], n: usize, l: usize, c: f64, s: f64, rows: usize) {
    let (left, right) = two_columns(a, n, l, l + 1);
    for (x, y) in left[..rows].iter_mut().zip(right) {
        (*x, *y) = (c * *x + s * *y, c * *y - s * *x);
    }
}

/// One step with two shifts on the block from l to `last`.
fn double_step(n: usize, l: usize, last: usize, step: usize, h: &mut [f64], q: &mut [f64]) {
    let at = |i: usize, j: usize| j * n + i;
    let (mut x, mut y) = (h[at(last, last)], h[at(last - 1, last - 1)]);
    let mut w = h[at(last, last - 1)] * h[at(last - 1, last)];
    if step.is_multiple_of(10) {
        let s = h[at(last, last - 1)].abs() + h[at(last - 1, last - 2)].abs();
        x += 0.75 * s;
        y = x;
        w = -0.4375 * s * s;
    }
    let half = (y - x) / 2.0;
    let square = half * half + w;
    if square > 0.0 {
        // Both shifts are the real eigenvalue that is nearer to the corner.
        x += half - square.sqrt().copysign(half);
        (y, w) = (x, 0.0);
    }
    // The first column of the step, begun where two elements beside the diagonal are small.
    let mut m = last - 2;
    let mut v;
    loop {
        let z = h[at(m, m)];
        let (r, s) = (x - z, y - z);
        v = [(r * s - w) / h[at(m + 1, m)] + h[at(m, m + 1)], h[at(m + 1, m + 1)] - z - r - s, h[at(m + 2, m + 1)]];
        let size = v[0].abs() + v[1].abs() + v[2].abs();
        v.iter_mut().for_each(|v| *v /= size);
        let small = |m: usize| {
            h[at(m, m - 1)].abs() * (v[1].abs() + v[2].abs())
                < EPS * (v[0].abs() * (h[at(m - 1, m - 1)].abs() + z.abs() + h[at(m + 1, m + 1)].abs()))
        };
        if m == l || small(m) {
            break;
        }
        m -= 1;
    }
    for i in m + 2..=last {
        h[at(i, i - 2)] = 0.0;
        if i > m + 2 {
            h[at(i, i - 3)] = 0.0;
        }
    }
    for k in m..last {
        let three = k + 1 != last;
        let mut size = 1.0;
        if k != m {
            v = [h[at(k, k - 1)], h[at(k + 1, k - 1)], if three { h[at(k + 2, k - 1)] } else { 0.0 }];
            size = v[0].abs() + v[1].abs() + v[2].abs();
            if size == 0.0 {
                continue;
            }
            v.iter_mut().for_each(|v| *v /= size);
        }
        let s = (v[0] * v[0] + v[1] * v[1] + if three { v[2] * v[2] } else { 0.0 }).sqrt().copysign(v[0]);
        if s == 0.0 {
            continue;
        }
        if k != m {
            h[at(k, k - 1)] = -s * size;
        } else if l != m {
            h[at(k, k - 1)] = -h[at(k, k - 1)];
        }
        let p = v[0] + s;
        let width = if three { 3 } else { 2 };
        // 1 - u w^T
        let (u, w) = ([p / s, v[1] / s, v[2] / s], [1.0, v[1] / p, v[2] / p]);
        let (u, w) = (&u[..width], &w[..width]);
        for j in k..n {
            let part = &mut h[at(k, j)..][..width];
            let sum: f64 = part.iter().zip(w).map(|(a, b)| a * b).sum();
            part.iter_mut().zip(u).for_each(|(a, u)| *a -= sum * u);
        }
        turn_three(n, &mut h[k * n..], u, w, (k + 3).min(last) + 1);
        if !q.is_empty() {
            turn_three(n, &mut q[k * n..], u, w, n);
        }
    }
}

/// The first columns of a matrix times 1 - u w^T, in the first rows.
fn turn_three(n: usize, a: &mut [f64], u: &[f64], w: &[f64], rows: usize) {
    for i in 0..rows {
        let sum: f64 = u.iter().enumerate().map(|(j, u)| a[j * n + i] * u).sum();
        w.iter().enumerate().for_each(|(j, w)| a[j * n + i] -= sum * w);
    }
}

/// Makes a block of two of T with complex eigenvalues, the first of which is given, triangular.
fn split_pair(n: usize, i: usize, value: C, t: &mut [C], q: &mut [C]) {
    let (x, y) = (t[(i + 1) * n + i], value - t[i * n + i]);
    // The phase is that of LAPACK's vectors: the first element of the pair is real and positive, or the second i.
    let r = x.norm().hypot(y.norm()).copysign(if x.norm() >= t[i * n + i + 1].norm() { x.re } else { 1.0 });
    let (c, s) = (x / r, y / r);
    turn_columns(t, n, i, c, s, i + 2);
    for j in i..n {
        let (a, b) = (t[j * n + i], t[j * n + i + 1]);
        (t[j * n + i], t[j * n + i + 1]) = (c.conj() * a + s.conj() * b, c * b - s * a);
    }
    turn_columns(q, n, i, c, s, n);
    (t[i * n + i], t[i * n + i + 1], t[(i + 1) * n + i + 1]) = (value, C::default(), value.conj());
}

/// The eigenvector that belongs to element k of the diagonal of T: Q x, where T x = T_kk x.
fn eigenvector(n: usize, k: usize, t: &[C], q: &[C], vector: &mut [C]) {
    let value = t[k * n + k];
    let least = (EPS * length(&t[k * n..][..=k])).max(f64::MIN_POSITIVE / EPS);
    let mut x = t[k * n..][..k].to_vec();
    x.push(C::new(1.0, 0.0));
    for i in (0..k).rev() {
        let gap = value - t[i * n + i];
        x[i] = quotient(x[i], if gap.taxi() < least { C::new(least, 0.0) } else { gap });
        let factor = x[i];
        add_multiple(&mut x[..i], factor, &t[i * n..][..i]);
        if factor.taxi() > 1e100 {
            scale(&mut x, C::new(1e-100, 0.0));
        }
    }
    vector.fill(C::default());
    x.iter().zip(q.chunks_exact(n)).for_each(|(&x, column)| add_multiple(vector, x, column));
}

/// Makes a vector one of length 1 whose largest element is real; all are for a real eigenvalue of a real matrix. Of a `pair` of
/// eigenvalues of a real matrix, it keeps the sign of its real part, if that is the larger one.
fn normalize(vector: &mut [C], real: bool, pair: bool) {
    let size = length(vector);
    let largest = vector.iter().copied().fold(C::default(), |m, v| if v.norm() > m.norm() { v } else { m });
    if size == 0.0 || !size.is_finite() {
        return;
    }
    let phase = if real { C::new(1.0, 0.0) } else { largest.conj() / largest.norm() };
    let phase = if pair && largest.re < 0.0 && largest.re.abs() > largest.im.abs() { -phase } else { phase };
    let place = vector.iter().position(|&v| v == largest);
    scale(vector, phase / size);
    if real {
        vector.iter_mut().for_each(|v| v.im = 0.0);
    } else if let Some(v) = place.and_then(|i| vector.get_mut(i)) {
        v.im = 0.0;
    }
}
