//! A = L L^H of a positive-definite matrix.

use super::{BLOCK, Field, Part, add_multiple, scale, subtract_product, two_columns};

/// Overwrites the lower triangle of a matrix, which alone is read, by L, and the rest by zeros. Answers the order of the first
/// leading minor that is not positive, or 0.
pub fn cholesky<T: Field>(n: usize, a: &mut [T]) -> i32 {
    let bad = factor(n, a);
    for j in 1..n {
        a[j * n..][..j].fill(T::ZERO);
    }
    bad
}

fn factor<T: Field>(n: usize, a: &mut [T]) -> i32 {
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        for j in start..end {
            for k in start..j {
                let (left, right) = two_columns(a, n, k, j);
                add_multiple(&mut right[j..], -left[j].conj(), &left[j..]);
            }
            let square = a[j * n + j].re();
            if square.is_nan() || square <= 0.0 {
                return j as i32 + 1;
            }
            let root = square.sqrt();
            a[j * n + j] = T::real(root);
            scale(&mut a[j * n + j + 1..(j + 1) * n], T::real(1.0 / root));
        }
        // The columns to the right less the product of those below the block with their adjoint, a block of columns at a time.
        let (done, rest) = a.split_at_mut(end * n);
        let width = end - start;
        let adjoint: Vec<T> =
            (end..n).flat_map(|i| (start..end).map(move |j| (i, j))).map(|(i, j)| done[j * n + i].conj()).collect();
        for first in (end..n).step_by(2 * BLOCK) {
            let columns = (2 * BLOCK).min(n - first);
            subtract_product(
                (n - first, width, columns),
                (done, Part::at(n, first, start)),
                (&adjoint, Part::at(width, 0, first - end)),
                (rest, Part::at(n, first, first - end)),
            );
        }
    }
    0
}
