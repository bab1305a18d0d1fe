//! Singular values and vectors of one matrix, by rotating pairs of columns until all are orthogonal (one-sided Jacobi).
//!
//! Small (the crate faer adds 0.5 MB to the wheel for the same), and small singular values come out at least as exact as
//! from a reduction to bidiagonal form. Limits: a few times slower than that from about 100 columns on; values smaller
//! than 1e-150 times the largest come out as 0.
//!
//! Source: Demmel, Veselić, "Jacobi's method is more accurate than QR", 1992; the order of columns after de Rijk, 1989.

/// More than any matrix was seen to take; a matrix of low rank never settles among its columns of mere rounding errors.
const SWEEPS: usize = 30;

/// Columns in, left singular vectors out: `columns` holds as many columns of length `rows` as there are places in `s`,
/// which gets the singular values, descending; `right` gets the right singular vectors, one after the other.
/// There are at least as many rows as columns, and all values are finite.
pub fn svd(rows: usize, columns: &mut [f64], s: &mut [f64], right: &mut [f64]) {
    let n = s.len();
    debug_assert!(rows >= n && columns.len() == rows * n && right.len() == n * n);
    right.fill(0.0);
    (0..n).for_each(|i| right[i * n + i] = 1.0);
    // By a power of two, so that no square overflows, and nothing is rounded.
    let largest = columns.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let scale = if largest > 0.0 { largest.log2().floor().clamp(-1000.0, 1000.0).exp2() } else { 1.0 };
    columns.iter_mut().for_each(|v| *v /= scale);
    for _ in 0..SWEEPS {
        if !sweep(rows, n, columns, right) {
            break;
        }
    }
    (0..n).for_each(|j| s[j] = square(&columns[j * rows..][..rows]).sqrt());
    sort(rows, columns, s, right);
    normalize(rows, columns, s);
    s.iter_mut().for_each(|v| *v *= scale);
}

fn square(x: &[f64]) -> f64 {
    dot(x, x)
}

/// With several partial sums, so that the loop vectorises.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in xs.zip(ys) {
        (0..8).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f64>() + rest
}

/// Two columns at once.
fn pair(x: &mut [f64], rows: usize, p: usize, q: usize) -> (&mut [f64], &mut [f64]) {
    let (before, from_q) = x.split_at_mut(q * rows);
    (&mut before[p * rows..][..rows], &mut from_q[..rows])
}

/// (x, y) becomes (c x - s y, s x + c y).
fn rotate((x, y): (&mut [f64], &mut [f64]), c: f64, s: f64) {
    for (a, b) in x.iter_mut().zip(y) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}

/// Makes each pair of columns orthogonal once; whether there was any that was not.
fn sweep(rows: usize, n: usize, columns: &mut [f64], right: &mut [f64]) -> bool {
    let tolerance = f64::EPSILON * (rows as f64).sqrt();
    let mut squares: Vec<f64> = columns.chunks_exact(rows.max(1)).map(square).collect();
    let mut rotated = false;
    for p in 0..n.saturating_sub(1) {
        // The longest of the remaining columns comes first: rotations then shorten what comes after it.
        let longest = (p..n).fold(p, |best, j| if squares[j] > squares[best] { j } else { best });
        if longest != p {
            let swap = |(x, y): (&mut [f64], &mut [f64])| x.swap_with_slice(y);
            swap(pair(columns, rows, p, longest));
            swap(pair(right, n, p, longest));
            squares.swap(p, longest);
        }
        for q in p + 1..n {
            let (x, y) = pair(columns, rows, p, q);
            let product = dot(x, y);
            if product == 0.0 || product.abs() <= tolerance * (squares[p] * squares[q]).sqrt() {
                continue;
            }
            rotated = true;
            let zeta = (squares[q] - squares[p]) / (2.0 * product);
            let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
            let cosine = 1.0 / tangent.hypot(1.0);
            rotate((x, y), cosine, cosine * tangent);
            rotate(pair(right, n, p, q), cosine, cosine * tangent);
            squares[p] = (squares[p] - tangent * product).max(0.0);
            squares[q] = (squares[q] + tangent * product).max(0.0);
        }
    }
    rotated
}

/// Puts the columns in descending order of their lengths `s`; equal ones stay as they are.
fn sort(rows: usize, columns: &mut [f64], s: &mut [f64], right: &mut [f64]) {
    let n = s.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| s[j].total_cmp(&s[i]));
    let arranged = |x: &[f64], length: usize| -> Vec<f64> {
        order.iter().flat_map(|&j| x[j * length..][..length].iter().copied()).collect()
    };
    columns.copy_from_slice(&arranged(columns, rows));
    right.copy_from_slice(&arranged(right, n));
    s.copy_from_slice(&arranged(s, 1));
}

/// Columns of length 1. Those that are mere rounding errors need not be orthogonal to the others and are made so; in place of
/// those that vanish come unit vectors.
fn normalize(rows: usize, columns: &mut [f64], s: &[f64]) {
    let noise = s.first().map_or(0.0, |largest| largest * f64::EPSILON * rows as f64);
    for (j, &length) in s.iter().enumerate() {
        let (before, x) = columns.split_at_mut(j * rows);
        let x = &mut x[..rows];
        if length > 0.0 {
            x.iter_mut().for_each(|v| *v /= length);
        }
        if length > noise || (length > 0.0 && orthogonalize(before, x) > 0.5) {
            continue;
        }
        // The parts of all unit vectors that are orthogonal to j columns have squares that sum to rows - j.
        let enough = (rows - j) as f64 / rows as f64 * 0.99;
        for i in 0..rows {
            x.fill(0.0);
            x[i] = 1.0;
            if orthogonalize(before, x).powi(2) >= enough {
                break;
            }
        }
    }
}

/// Takes from x its parts along the columns before, then gives it length 1; answers what its length was.
fn orthogonalize(before: &[f64], x: &mut [f64]) -> f64 {
    let mut first = None;
    for _ in 0..2 {
        for column in before.chunks_exact(x.len()) {
            let along = dot(column, x);
            x.iter_mut().zip(column).for_each(|(v, c)| *v -= along * c);
        }
        let length = square(x).sqrt();
        if length > 0.0 {
            x.iter_mut().for_each(|v| *v /= length);
        }
        first = first.or(Some(length));
    }
    first.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between -1 and 1 that look random.
    fn noise(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i as f64 * 12.9898 + 4.1).sin() * 43758.5453).fract()).collect()
    }

    /// Checks U diag(s) V^T = A, that U and V are orthogonal, and that s descends.
    fn check(rows: usize, n: usize, a: &[f64]) -> Vec<f64> {
        let (mut u, mut s, mut v) = (a.to_vec(), vec![0.0; n], vec![0.0; n * n]);
        svd(rows, &mut u, &mut s, &mut v);
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
