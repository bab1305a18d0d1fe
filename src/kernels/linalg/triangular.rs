//! Triangular systems.

use super::{BLOCK, Field, Part, add_multiple, subtract_product_within};

/// A triangular n x n matrix in a slice; what is on its other side is not read, nor a diagonal that counts as 1 (`unit`).
#[derive(Clone, Copy)]
pub struct Triangle<'a, T> {
    /// The elements.
    pub a: &'a [T],
    /// Rows and columns.
    pub n: usize,
    /// Whether rows lie one after the other, instead of columns.
    pub by_rows: bool,
    /// Which side.
    pub upper: bool,
    /// Whether the diagonal counts as 1.
    pub unit: bool,
}

/// Overwrites the columns of `b` by the solution of A X = B. A zero on the diagonal gives infinities, or NaN.
pub fn solve<T: Field>(triangle: Triangle<'_, T>, b: &mut [T]) {
    let Triangle { a, n, by_rows, upper, unit } = triangle;
    let (row, column) = if by_rows { (n, 1) } else { (1, n) };
    let count = n.div_ceil(BLOCK);
    for number in 0..count {
        let start = if upper { count - 1 - number } else { number } * BLOCK;
        let end = (start + BLOCK).min(n);
        let width = end - start;
        let block: Vec<T> =
            (start..end).flat_map(|j| (start..end).map(move |i| (i, j))).map(|(i, j)| a[i * row + j * column]).collect();
        for x in b.chunks_exact_mut(n) {
            substitute(&block, width, upper, unit, &mut x[start..end]);
        }
        let rest = if upper { 0..start } else { end..n };
        let (done, left) = (Part::at(n, start, 0), Part::at(n, rest.start, 0));
        let a = (a, Part { start: rest.start * row + start * column, row, column });
        // SAFETY: the rows that are left are others than those that are done.
        unsafe { subtract_product_within((rest.len(), width, b.len() / n), a, b, done, left) };
    }
}

/// One right-hand side of a small system, by columns.
fn substitute<T: Field>(a: &[T], n: usize, upper: bool, unit: bool, x: &mut [T]) {
    for step in 0..n {
        let j = if upper { n - 1 - step } else { step };
        let column = &a[j * n..][..n];
        if !unit {
            x[j] = x[j].over(column[j]);
        }
        let factor = -x[j];
        let rest = if upper { 0..j } else { j + 1..n };
        add_multiple(&mut x[rest.clone()], factor, &column[rest]);
    }
}
