//! A = P L D L^T P^T (L^H for Hermitian matrices) with blocks of one and two in D: Bunch and Kaufman 1977, "Some stable methods for
//! calculating inertia and solving symmetric linear systems", as LAPACK's `sytf2`, `hetf2` and `sytrs` store it in the lower triangle.

use super::{Field, add_multiple, two_columns};

/// Factors the lower triangle of a matrix. `pivots[k]` is, counted from 1, the row that was exchanged with row k; for a block of
/// two both have the same, negative number. Answers the number of the first block that is zero, or 0.
pub fn ldl<T: Field>(n: usize, a: &mut [T], pivots: &mut [i32], hermitian: bool) -> i32 {
    let alpha = (1.0 + 17f64.sqrt()) / 8.0;
    let (mut k, mut singular) = (0, 0);
    while k < n {
        let at = |i: usize, j: usize| j * n + i;
        let diagonal = |a: &[T], i: usize| if hermitian { a[at(i, i)].re().abs() } else { a[at(i, i)].taxi() };
        let here = diagonal(a, k);
        let mut below = (k, 0.0);
        for i in k + 1..n {
            if a[at(i, k)].taxi() > below.1 {
                below = (i, a[at(i, k)].taxi());
            }
        }
        let (row, largest) = below;
        let (mut p, mut width) = (k, 1);
        if here.max(largest) == 0.0 || here.is_nan() {
            singular = if singular == 0 { k as i32 + 1 } else { singular };
            pivots[k] = k as i32 + 1;
            k += 1;
            continue;
        }
        if here < alpha * largest {
            let beside =
                (k..row).map(|j| a[at(row, j)].taxi()).chain((row + 1..n).map(|i| a[at(i, row)].taxi())).fold(0.0, f64::max);
            if here < alpha * largest * (largest / beside) {
                p = row;
                width = if diagonal(a, row) >= alpha * beside { 1 } else { 2 };
            }
        }
        exchange(n, a, k, k + width - 1, p, hermitian);
        if width == 1 {
            eliminate_one(n, a, k, hermitian);
            pivots[k] = p as i32 + 1;
        } else {
            eliminate_two(n, a, k, hermitian);
            pivots[k..k + 2].fill(-(p as i32 + 1));
        }
        k += width;
    }
    singular
}

fn conj_if<T: Field>(hermitian: bool, v: T) -> T {
    if hermitian { v.conj() } else { v }
}

/// Exchanges row and column `kk` with `p`, of what is not factored yet, which begins at k.
fn exchange<T: Field>(n: usize, a: &mut [T], k: usize, kk: usize, p: usize, hermitian: bool) {
    if p == kk {
        return;
    }
    (p + 1..n).for_each(|i| a.swap(kk * n + i, p * n + i));
    for i in kk + 1..p {
        let (x, y) = (a[kk * n + i], a[i * n + p]);
        (a[kk * n + i], a[i * n + p]) = (conj_if(hermitian, y), conj_if(hermitian, x));
    }
    a[kk * n + p] = conj_if(hermitian, a[kk * n + p]);
    a.swap(kk * n + kk, p * n + p);
    if kk > k {
        a.swap(k * n + kk, k * n + p);
    }
}

fn eliminate_one<T: Field>(n: usize, a: &mut [T], k: usize, hermitian: bool) {
    if hermitian {
        a[k * n + k] = T::real(a[k * n + k].re());
    }
    let pivot = a[k * n + k];
    for j in k + 1..n {
        let (left, right) = two_columns(a, n, k, j);
        add_multiple(&mut right[j..], -conj_if(hermitian, left[j]).over(pivot), &left[j..]);
    }
    a[k * n + k + 1..(k + 1) * n].iter_mut().for_each(|v| *v = v.over(pivot));
}

fn eliminate_two<T: Field>(n: usize, a: &mut [T], k: usize, hermitian: bool) {
    // (x, y^*; y, z) is the block; for symmetric matrices, y is not conjugated.
    let (x, y, z) = (a[k * n + k], a[k * n + k + 1], a[(k + 1) * n + k + 1]);
    let other = conj_if(hermitian, y);
    // Divided by y, so that nothing overflows.
    let determinant = x.over(y) * z.over(other) - T::ONE;
    for j in k + 2..n {
        let (u, v) = (a[k * n + j], a[(k + 1) * n + j]);
        // (u, v) times the inverse of the block.
        let first = (z.over(other) * u.over(y) - v.over(other)).over(determinant);
        let second = (x.over(y) * v.over(other) - u.over(y)).over(determinant);
        let (done, rest) = a.split_at_mut((k + 2) * n);
        let column = &mut rest[(j - k - 2) * n + j..(j - k - 1) * n];
        add_multiple(column, -conj_if(hermitian, first), &done[k * n + j..(k + 1) * n]);
        add_multiple(column, -conj_if(hermitian, second), &done[(k + 1) * n + j..(k + 2) * n]);
        (a[k * n + j], a[(k + 1) * n + j]) = (first, second);
    }
}

/// Solves A X = B in place, given the factors of A.
pub fn solve<T: Field>(n: usize, a: &[T], pivots: &[i32], b: &mut [T], hermitian: bool) {
    let row = |k: usize| (pivots[k].unsigned_abs() as usize).clamp(1, n) - 1;
    let width = |k: usize| if pivots[k] < 0 && k + 1 < n { 2 } else { 1 };
    for x in b.chunks_exact_mut(n) {
        let mut starts = Vec::new();
        let mut k = 0;
        while k < n {
            let wide = width(k);
            starts.push(k);
            x.swap(k + wide - 1, row(k));
            for j in k..k + wide {
                let factor = -x[j];
                add_multiple(&mut x[k + wide..], factor, &a[j * n + k + wide..(j + 1) * n]);
            }
            if wide == 1 {
                x[k] = x[k].over(a[k * n + k]);
            } else {
                let y = a[k * n + k + 1];
                let other = conj_if(hermitian, y);
                let (first, last) = (a[k * n + k].over(other), a[(k + 1) * n + k + 1].over(y));
                let determinant = first * last - T::ONE;
                let (u, v) = (x[k].over(other), x[k + 1].over(y));
                x[k] = (last * u - v).over(determinant);
                x[k + 1] = (first * v - u).over(determinant);
            }
            k += wide;
        }
        for &k in starts.iter().rev() {
            let wide = width(k);
            for j in k..k + wide {
                let column = a[j * n + k + wide..(j + 1) * n].iter();
                let sum = column.zip(&x[k + wide..]).fold(T::ZERO, |sum, (&l, &x)| sum + conj_if(hermitian, l) * x);
                x[j] = x[j] - sum;
            }
            x.swap(k + wide - 1, row(k));
        }
    }
}
