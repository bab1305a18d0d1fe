//! A = P L U with partial pivoting, and the solution of A X = B.

use super::{BLOCK, Field, Part, add_multiple, scale, subtract_product, two_columns};

/// Factors a matrix of m rows in place: L below the diagonal (which is 1), U on and above it. Row i was exchanged with row
/// `pivots[i] - 1`; with `pivot` false, none is. Answers the number of the first pivot that is zero, counted from 1, or 0.
pub fn lu<T: Field>(m: usize, n: usize, a: &mut [T], pivots: &mut [i32], pivot: bool) -> i32 {
    let k = m.min(n);
    let mut singular = 0;
    for start in (0..k).step_by(BLOCK) {
        let end = (start + BLOCK).min(k);
        for j in start..end {
            let column = &a[j * m..][..m];
            let mut p = j;
            for i in j + 1..if pivot { m } else { j } {
                if column[i].taxi() > column[p].taxi() {
                    p = i;
                }
            }
            pivots[j] = p as i32 + 1;
            if column[p] == T::ZERO {
                singular = if singular == 0 { j as i32 + 1 } else { singular };
                continue;
            }
            if p != j {
                (0..n).for_each(|c| a.swap(c * m + j, c * m + p));
            }
            let (head, below) = a[j * m + j..(j + 1) * m].split_at_mut(1);
            divide(below, head[0]);
            for c in j + 1..end {
                eliminate(m, a, j, c, m);
            }
        }
        for c in end..n {
            (start..end).for_each(|j| eliminate(m, a, j, c, end));
        }
        let (done, rest) = a.split_at_mut(end * m);
        // The rows of U that have just come out times those columns of L.
        let width = end - start;
        let mut rows = Vec::with_capacity(width * (n - end));
        (0..n - end).for_each(|c| rows.extend_from_slice(&rest[c * m + start..c * m + end]));
        subtract_product(
            (m - end, width, n - end),
            (done, Part::at(m, end, start)),
            (&rows, Part::at(width, 0, 0)),
            (rest, Part::at(m, end, 0)),
        );
    }
    singular
}

/// Divides by a number whose reciprocal may overflow.
fn divide<T: Field>(x: &mut [T], by: T) {
    if by.taxi() >= f64::MIN_POSITIVE {
        scale(x, T::ONE.over(by));
    } else {
        x.iter_mut().for_each(|x| *x = x.over(by));
    }
}

/// Subtracts a multiple of column j from column c, from row j + 1 up to `end`.
fn eliminate<T: Field>(m: usize, a: &mut [T], j: usize, c: usize, end: usize) {
    let (left, right) = two_columns(a, m, j, c);
    let factor = right[j];
    if factor != T::ZERO {
        add_multiple(&mut right[j + 1..end], -factor, &left[j + 1..end]);
    }
}

/// Exchanges the rows of `b` (n x anything) as [`lu`] did, or back.
pub fn exchange_rows<T: Copy>(n: usize, b: &mut [T], pivots: &[i32], back: bool) {
    for column in b.chunks_exact_mut(n.max(1)) {
        let exchange = |(i, &p): (usize, &i32)| column.swap(i, (p.max(1) as usize - 1).min(n - 1));
        if back { pivots.iter().enumerate().rev().for_each(exchange) } else { pivots.iter().enumerate().for_each(exchange) }
    }
}
