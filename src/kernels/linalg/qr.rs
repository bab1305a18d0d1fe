//! Householder reflections H = 1 - tau v v^H, where the first element of v is 1 and not stored.

use super::{BLOCK, Field, Part, add_multiple, dot, length, scale, subtract_product, two_columns};

/// The reflection whose adjoint makes (beta, 0, ...) of x: beta and the rest of v overwrite x, tau is the answer.
pub fn reflector<T: Field>(x: &mut [T]) -> T {
    let Some((head, rest)) = x.split_first_mut() else { return T::ZERO };
    let (alpha, tail) = (*head, length(rest));
    if tail == 0.0 && alpha.im() == 0.0 {
        return T::ZERO;
    }
    let beta = -alpha.size().hypot(tail).copysign(alpha.re());
    let tau = (T::real(beta) - alpha).over(T::real(beta));
    let factor = T::ONE.over(alpha - T::real(beta));
    if factor.is_finite() {
        scale(rest, factor);
    } else {
        rest.iter_mut().for_each(|v| *v = v.over(alpha - T::real(beta)));
    }
    *head = T::real(beta);
    tau
}

/// x = (1 - tau v v^H) x.
pub fn reflect<T: Field>(x: &mut [T], v: &[T], tau: T) {
    let Some((head, rest)) = x.split_first_mut() else { return };
    let factor = -(tau * (*head + dot(&v[1..], rest)));
    *head = *head + factor;
    add_multiple(rest, factor, &v[1..]);
}

/// Overwrites a matrix of m rows by R, on and above the diagonal, and by the vectors of the reflections whose product is Q.
pub fn qr<T: Field>(m: usize, n: usize, a: &mut [T], taus: &mut [T]) {
    let k = m.min(n);
    for start in (0..k).step_by(BLOCK) {
        let end = (start + BLOCK).min(k);
        for j in start..end {
            taus[j] = reflector(&mut a[j * m + j..(j + 1) * m]);
            for c in j + 1..end {
                let (v, x) = two_columns(a, m, j, c);
                reflect(&mut x[j..], &v[j..], taus[j].conj());
            }
        }
        if end < n {
            let (done, rest) = a.split_at_mut(end * m);
            reflect_all(m, start, &done[start * m..], &taus[start..end], rest);
        }
    }
}

/// Applies the adjoint of several reflections, whose vectors are the columns of `v` from row `start` on, to the rows from there
/// on of `x`: 1 - V T^H V^H (Schreiber and Van Loan 1989, "A storage-efficient WY representation for products of Householder
/// transformations").
fn reflect_all<T: Field>(m: usize, start: usize, v: &[T], taus: &[T], x: &mut [T]) {
    let (rows, width, columns) = (m - start, taus.len(), x.len() / m);
    let mut vectors = vec![T::ZERO; rows * width];
    for (j, to) in vectors.chunks_exact_mut(rows).enumerate() {
        to[j] = T::ONE;
        to[j + 1..].copy_from_slice(&v[j * m + start + j + 1..(j + 1) * m]);
    }
    let column = |j: usize| &vectors[j * rows..][..rows];
    // The columns of T: tau, and above it -tau times what is left of it times the overlaps.
    let mut t = vec![T::ZERO; width * width];
    for j in 0..width {
        for i in 0..j {
            let overlap = dot(column(i), column(j));
            (0..=i).for_each(|l| t[j * width + l] = t[j * width + l] - taus[j] * t[i * width + l] * overlap);
        }
        t[j * width + j] = taus[j];
    }
    let adjoint: Vec<T> = vectors.iter().map(|v| v.conj()).collect();
    let mut overlaps = vec![T::ZERO; width * columns];
    let at_start = Part::at(m, start, 0);
    // Minus V^H X.
    subtract_product(
        (width, rows, columns),
        (&adjoint, Part { start: 0, row: rows, column: 1 }),
        (x, at_start),
        (&mut overlaps, Part::at(width, 0, 0)),
    );
    for part in overlaps.chunks_exact_mut(width) {
        for i in (0..width).rev() {
            part[i] = -dot(&t[i * width..][..=i], &part[..=i]);
        }
    }
    subtract_product((rows, width, columns), (&vectors, Part::at(rows, 0, 0)), (&overlaps, Part::at(width, 0, 0)), (x, at_start));
}
