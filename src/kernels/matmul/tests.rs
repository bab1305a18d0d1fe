//! The kernels against plain loops.
//!
//! Inputs are small whole numbers and factors are powers of two, so every order of summation gives the same bits
//! and results are compared exactly. Memory that must not be read or written is filled with a marker.

use super::microkernel::{HALF, MASKED, Tile, WHOLE, row_offsets};
use super::tiles::Tiles;
use super::*;
use crate::kernels::register::{Vector, plain::Plain};

trait Sample: Gemm + PartialEq {
    /// What memory holds that is not to be used: not a number, for floats.
    const MARKER: Self;
    fn whole(x: i32) -> Self;
    fn is_marker(self) -> bool;
}

macro_rules! samples {
    ($($t:ty: $marker:expr, $is:expr);+) => {$(
        impl Sample for $t {
            const MARKER: Self = $marker;
            fn whole(x: i32) -> Self {
                x as $t
            }
            fn is_marker(self) -> bool {
                let is: fn($t) -> bool = $is;
                is(self)
            }
        }
    )+};
}
samples!(f32: f32::NAN, |x| x.is_nan(); f64: f64::NAN, |x| x.is_nan(); i64: 77_777, |x| x == 77_777; u8: 201, |x| x == 201);

/// A matrix in memory, with a margin of markers around and between its elements.
struct Stored<T> {
    memory: Vec<T>,
    origin: usize,
    strides: (isize, isize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Columns,
    /// Rows of a wider matrix.
    Apart,
    /// Every third element of a wider matrix, by columns.
    Sparse,
    /// Rows upwards.
    Upwards,
    /// Columns from right to left.
    Mirrored,
    /// One row for all.
    OneRow,
    /// One column for all.
    OneColumn,
}
use Layout::*;

impl<T: Sample> Stored<T> {
    fn new(rows: usize, cols: usize, layout: Layout, seed: usize, filled: bool) -> Self {
        let (r, c) = (rows as isize, cols as isize);
        let (strides, first) = match layout {
            Rows => ((c, 1), 0),
            Columns => ((1, r), 0),
            Apart => ((c + 5, 1), 0),
            Sparse => ((3, 3 * r + 2), 0),
            Upwards => ((-c, 1), c * (r - 1).max(0)),
            Mirrored => ((c, -1), (c - 1).max(0)),
            OneRow => ((0, 1), 0),
            OneColumn => ((1, 0), 0),
        };
        let margin = 64;
        let mut stored = Stored {
            memory: vec![T::MARKER; (rows + 8) * (cols + 8) * 3 + 2 * margin],
            origin: margin + first as usize,
            strides,
        };
        for i in 0..if filled { rows } else { 0 } {
            for j in 0..cols {
                *stored.at(i, j) =
                    T::whole((((i * 7 + j * 5 + seed) * 2_654_435_761) >> 7) as i32 % 5 - if seed == 3 { 0 } else { 2 });
            }
        }
        stored
    }

    fn index(&self, i: usize, j: usize) -> usize {
        (self.origin as isize + i as isize * self.strides.0 + j as isize * self.strides.1) as usize
    }

    fn at(&mut self, i: usize, j: usize) -> &mut T {
        let index = self.index(i, j);
        &mut self.memory[index]
    }

    fn mat_ref(&self) -> MatRef<T> {
        MatRef { ptr: self.memory[self.origin..].as_ptr(), row_stride: self.strides.0, col_stride: self.strides.1 }
    }

    fn mat_mut(&mut self) -> MatMut<T> {
        let ptr = self.memory.as_mut_ptr().wrapping_add(self.origin);
        MatMut { ptr, row_stride: self.strides.0, col_stride: self.strides.1 }
    }
}

/// What C must be afterwards, all of its memory included.
#[allow(clippy::many_single_char_names)]
fn expected<T: Sample>(p: &Product<T>, a: &Stored<T>, b: &Stored<T>, c: &Stored<T>) -> Vec<T> {
    let mut result = c.memory.clone();
    for i in 0..p.m {
        for j in 0..p.n {
            let mut sum = T::ZERO;
            for k in 0..p.k {
                sum = sum.plus(a.memory[a.index(i, k)].times(b.memory[b.index(k, j)]));
            }
            let at = c.index(i, j);
            let old = if p.beta == T::ZERO { T::ZERO } else { p.beta.times(c.memory[at]) };
            let new = if p.alpha == T::ZERO { T::ZERO } else { p.alpha.times(sum) };
            result[at] = new.plus(old);
        }
    }
    result
}

#[track_caller]
fn check<T: Sample>(isa: Isa, (m, k, n): (usize, usize, usize), layouts: [Layout; 3], alpha: T, beta: T) {
    let a = Stored::<T>::new(m, k, layouts[0], 1, true);
    let b = Stored::<T>::new(k, n, layouts[1], 2, true);
    let mut c = Stored::<T>::new(m, n, layouts[2], 3, beta != T::ZERO);
    let p = Product { m, k, n, alpha, a: a.mat_ref(), b: b.mat_ref(), beta, c: c.mat_mut() };
    let want = expected(&p, &a, &b, &c);
    // SAFETY: the matrices are initialised where they are read, and separate.
    unsafe { T::gemm_with(isa, &p) };
    let same = |(x, y): (&T, &T)| x == y || x.is_marker() && y.is_marker();
    let wrong = want.iter().zip(&c.memory).position(|pair| !same(pair));
    if let Some(at) = wrong {
        let (want, got) = (want[at], c.memory[at]);
        panic!("{isa:?} {m}x{k}x{n} {layouts:?} alpha {alpha:?} beta {beta:?}: at {at} {got:?}, not {want:?}");
    }
}

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

#[test]
fn says_which_instruction_sets_were_tested() {
    println!("tested: {:?}; not available here: {:?}", isas().collect::<Vec<_>>(), {
        Isa::ALL.into_iter().filter(|isa| !isa.is_available()).collect::<Vec<_>>()
    });
    assert!(isas().count() > 0);
}

/// Each microkernel alone: all its row counts, widths and masks.
fn check_tiles<V: Tiles>()
where
    V::Float: Sample,
{
    for (rows, vectors) in (1..=V::TILE_ROWS).flat_map(|r| (1..=V::TILE_VECTORS).map(move |v| (r, v))) {
        for (last_lanes, k) in (1..=V::LANES).flat_map(|l| [0, 1, 2, 7, 150].map(|k| (l, k))) {
            for (layout, beta) in [(Rows, 0), (Columns, 1), (Mirrored, 2)] {
                let n = (vectors - 1) * V::LANES + last_lanes;
                let a = Stored::<V::Float>::new(rows, k, layout, 1, true);
                let b = Stored::<V::Float>::new(k, n, Apart, 2, true);
                let mut c = Stored::<V::Float>::new(rows, n, Apart, 3, beta != 0);
                let (alpha, beta) = (V::Float::whole(2), V::Float::whole(beta));
                let p = Product { m: rows, k, n, alpha, a: a.mat_ref(), b: b.mat_ref(), beta, c: c.mat_mut() };
                let want = expected(&p, &a, &b, &c);
                let (b, b_stride, c_stride) = (p.b.ptr, p.b.row_stride, p.c.row_stride);
                let tile = Tile {
                    k,
                    a: p.a.ptr,
                    a_stride: p.a.col_stride,
                    a_rows: &row_offsets(p.a.row_stride),
                    b,
                    b_stride,
                    c: p.c.ptr,
                    c_stride,
                    last_lanes,
                    alpha,
                    beta,
                };
                let kinds = [(WHOLE, V::LANES..=V::LANES), (MASKED, 1..=V::LANES), (HALF, 1..=V::Half::LANES)];
                for (last, _) in kinds.into_iter().filter(|(_, suits)| suits.contains(&last_lanes)) {
                    let before = c.memory.clone();
                    // SAFETY: callers run this only where the instruction set is available.
                    unsafe { V::tile_kernel(rows, vectors, last)(&tile) };
                    let same = |(x, y): (&V::Float, &V::Float)| x == y || x.is_marker() && y.is_marker();
                    assert!(want.iter().zip(&c.memory).all(same), "{rows} x {vectors}, {last_lanes} lanes, last {last}, k {k}");
                    c.memory.copy_from_slice(&before);
                }
            }
        }
    }
}

#[test]
fn plain_tiles() {
    check_tiles::<Plain<f32>>();
    check_tiles::<Plain<f64>>();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx2_tiles() {
    use crate::kernels::register::x86::Avx2;
    use std::arch::x86_64::{__m256, __m256d};
    if Isa::Avx2.is_available() {
        check_tiles::<Avx2<__m256>>();
        check_tiles::<Avx2<__m256d>>();
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx512_tiles() {
    use crate::kernels::register::x86::Avx512;
    use std::arch::x86_64::{__m512, __m512d};
    if Isa::Avx512.is_available() {
        check_tiles::<Avx512<__m512>>();
        check_tiles::<Avx512<__m512d>>();
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn neon_tiles() {
    use crate::kernels::register::neon::Neon;
    use std::arch::aarch64::{float32x4_t, float64x2_t};
    check_tiles::<Neon<float32x4_t>>();
    check_tiles::<Neon<float64x2_t>>();
}

#[test]
fn all_small_sizes() {
    for isa in isas() {
        for size in 0..18 * 18 * 18 {
            let size = (size / 324, size / 18 % 18, size % 18);
            check::<f32>(isa, size, [Rows, Rows, Rows], 1.0, 0.0);
            check::<f64>(isa, size, [Columns, Columns, Rows], 1.0, 1.0);
        }
    }
}

#[test]
fn all_layouts() {
    let inputs = [Rows, Columns, Apart, Sparse, Upwards, Mirrored, OneRow, OneColumn];
    let outputs = [Rows, Columns, Apart, Sparse, Upwards, Mirrored];
    for isa in isas() {
        for (a, b) in inputs.into_iter().flat_map(|a| inputs.map(|b| (a, b))) {
            for c in outputs {
                for size in [
                    (5, 9, 21),
                    (1, 40, 70),
                    (70, 40, 1),
                    (1, 150, 1),
                    (19, 1, 3),
                    (3, 33, 50),
                    (9, 150, 3),
                    (2, 150, 9),
                    (5, 150, 4),
                ] {
                    check::<f32>(isa, size, [a, b, c], 1.0, -0.5);
                    check::<f64>(isa, size, [a, b, c], -0.5, 0.0);
                }
            }
        }
    }
}

#[test]
fn all_factors() {
    for isa in isas() {
        for (alpha, beta) in [0.0, 1.0, -0.5].into_iter().flat_map(|a| [0.0, 1.0, -0.5].map(|b| (a, b))) {
            for size in [(5, 9, 21), (1, 40, 70), (70, 40, 1), (1, 150, 1), (4, 0, 5), (40, 1100, 30)] {
                for c in [Rows, Columns, Sparse] {
                    check::<f32>(isa, size, [Rows, Rows, c], alpha as f32, beta as f32);
                    check::<f64>(isa, size, [Rows, Columns, c], alpha, beta);
                }
            }
        }
    }
}

#[test]
fn across_blocks() {
    let _turn = par::tests::turn();
    for isa in isas() {
        for threads in [1, 2] {
            par::set_num_threads(threads);
            check::<f32>(isa, (67, 1025, 100), [Rows, Rows, Rows], 1.0, 0.0);
            check::<f32>(isa, (100, 513, 530), [Rows, Columns, Rows], 1.0, 1.0);
            check::<f32>(isa, (65, 600, 700), [Columns, Apart, Columns], 1.0, 0.0);
            check::<f64>(isa, (130, 520, 300), [Rows, Sparse, Sparse], -0.5, 1.0);
            check::<f64>(isa, (300, 257, 90), [Columns, Columns, Rows], 1.0, 0.0);
            // Columns of A far apart: its strips are copied.
            check::<f64>(isa, (300, 257, 200), [Columns, Rows, Rows], 1.0, 0.0);
            check::<f32>(isa, (603, 70, 300), [Columns, Rows, Apart], 1.0, 1.0);
            // Much deeper than wide: slabs.
            check::<f32>(isa, (9, 9000, 7), [Rows, Rows, Rows], -0.5, 1.0);
            check::<f64>(isa, (40, 1500, 33), [Columns, Columns, Sparse], 1.0, 0.0);
            check::<f64>(isa, (17, 20_000, 20), [Rows, Columns, Apart], 1.0, -0.5);
            check::<f32>(isa, (1, 40_000, 1), [Rows, Columns, Rows], 1.0, 1.0);
            check::<f32>(isa, (1, 300, 2100), [Rows, Rows, Rows], 1.0, 0.0);
            check::<f32>(isa, (500, 300, 1), [Rows, Sparse, Rows], 1.0, 0.0);
        }
    }
}

#[test]
fn integers() {
    let layouts = [Rows, Columns, Sparse];
    for (a, b) in layouts.into_iter().flat_map(|a| layouts.map(|b| (a, b))) {
        for size in [(0, 2, 2), (3, 0, 2), (5, 9, 21), (1, 40, 70), (70, 40, 1), (60, 70, 80)] {
            check::<i64>(Isa::Plain, size, [a, b, Rows], 1, 0);
            check::<i64>(Isa::Plain, size, [a, b, Columns], -3, 2);
            check::<u8>(Isa::Plain, size, [a, b, Sparse], 1, 1);
        }
    }
}

/// Inputs with rounding: the same bits whatever the number of threads and whichever call.
#[test]
fn threads_do_not_change_bits() {
    let _turn = par::tests::turn();
    let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 999.0 - 0.5;
    for (m, k, n) in [
        (64, 1000, 100),
        (1000, 64, 100),
        (16, 9000, 20),
        (128, 784, 128),
        (1, 50_000, 1),
        (600, 400, 1),
        (1, 400, 900),
        (300, 300, 300),
    ] {
        let a: Vec<f32> = (0..m * k).map(number).collect();
        let b: Vec<f32> = (0..k * n).map(|i| number(i + 7)).collect();
        let mut results = Vec::new();
        for threads in [1, 2, 3, 2] {
            par::set_num_threads(threads);
            let mut c = vec![f32::NAN; m * n];
            let a = MatRef { ptr: a.as_ptr(), row_stride: k as isize, col_stride: 1 };
            let b = MatRef { ptr: b.as_ptr(), row_stride: n as isize, col_stride: 1 };
            let to = MatMut { ptr: c.as_mut_ptr(), row_stride: n as isize, col_stride: 1 };
            // SAFETY: the vectors have the sizes of the matrices.
            unsafe { gemm(Product { m, k, n, alpha: 0.3, a, b, beta: 0.0, c: to }) };
            results.push(c.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        assert!(results.iter().all(|r| *r == results[0]), "{m} x {k} x {n}");
    }
}

#[test]
fn batches() {
    for (batch, m, k, n) in [(0, 2, 3, 4), (1, 2, 3, 4), (7, 5, 6, 20), (40, 16, 16, 16), (3, 90, 90, 90), (5, 1, 8, 1)] {
        let a: Vec<f64> = (0..batch * m * k).map(|i| (i % 7) as f64 - 3.0).collect();
        let b: Vec<f64> = (0..(batch + 1) * k * n).map(|i| (i % 5) as f64 - 2.0).collect();
        for (a_step, b_step) in [(m * k, k * n), (m * k, 0), (0, k * n)] {
            let (mut c, mut want) = (vec![f64::NAN; batch * m * n], vec![f64::NAN; batch * m * n]);
            let p = |a: *const f64, b: *const f64, c: *mut f64| Product {
                m,
                k,
                n,
                alpha: 1.0,
                a: MatRef { ptr: a, row_stride: k as isize, col_stride: 1 },
                b: MatRef { ptr: b, row_stride: n as isize, col_stride: 1 },
                beta: 0.0,
                c: MatMut { ptr: c, row_stride: n as isize, col_stride: 1 },
            };
            for i in 0..batch {
                // SAFETY: the vectors have the sizes of the matrices.
                unsafe { gemm(p(a[i * a_step..].as_ptr(), b[i * b_step..].as_ptr(), want[i * m * n..].as_mut_ptr())) };
            }
            let all = p(a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            // SAFETY: as above.
            unsafe { gemm_batched(all, batch, a_step as isize, b_step as isize, (m * n) as isize) };
            assert_eq!(c, want);
        }
    }
}
