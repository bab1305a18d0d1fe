//! Copies between memory of different order, tile by tile, so that both sides use whole cache lines.
//!
//! A row of a tile is one cache line or more on the side that is read and on the side that is written; a tile of both
//! stays in the first-level cache.

use std::mem::MaybeUninit;

use super::par;
#[cfg(target_arch = "x86_64")]
use super::{
    register::{Vector, prefetch},
    simd::{Isa, isa},
};

/// Elements along each side of a tile.
const TILE: usize = 32;
/// Bytes of a cache line, and of a page.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;
#[cfg(target_arch = "x86_64")]
const PAGE: usize = 4096;
/// Elements worth a thread.
const GRAIN: usize = 32 * 1024;

/// One dim: its size, and its strides in bytes in the target and the source.
#[derive(Clone, Copy, Debug)]
pub struct Dim {
    /// Size.
    pub size: usize,
    /// Step in the target.
    pub to: isize,
    /// Step in the source.
    pub from: isize,
}

/// Copies where the source is contiguous along `row` and the target along `column`, for all places of the dims `outer`.
///
/// # Safety
/// Both must be valid at all places, and not overlap. `T` has the size of an element.
pub unsafe fn copy<T: Copy>(to: *mut T, from: *const T, row: Dim, column: Dim, outer: &[Dim]) {
    let (tiles_down, tiles_across) = (row.size.div_ceil(TILE), column.size.div_ceil(TILE));
    let count: usize = outer.iter().map(|dim| dim.size).product();
    let (to, from) = (to as usize, from as usize);
    // Tiles next to each other in the target are one thread's.
    par::for_ranges(count * tiles_down * tiles_across, GRAIN / (TILE * TILE), &|range| {
        for number in range {
            let (tile, mut rest) = (number % (tiles_down * tiles_across), number / (tiles_down * tiles_across));
            let (mut target, mut source) = (to as isize, from as isize);
            for dim in outer.iter().rev() {
                target += (rest % dim.size) as isize * dim.to;
                source += (rest % dim.size) as isize * dim.from;
                rest /= dim.size;
            }
            let (first_row, first_column) = (tile / tiles_across * TILE, tile % tiles_across * TILE);
            let rows = TILE.min(row.size - first_row);
            let columns = TILE.min(column.size - first_column);
            target += first_row as isize * row.to + first_column as isize * column.to;
            source += first_row as isize * row.from + first_column as isize * column.from;
            // SAFETY: the tile lies within the dims; the caller answers for these.
            unsafe { copy_tile(target as *mut T, source as *const T, (rows, columns), row.to, column.from) };
        }
    });
}

/// `y[i][j] = x[j][i]`: steps of one element along j in y and along i in x.
///
/// By way of a buffer, so that each cache line is used up at once: rows a power of two apart share few places in a cache.
#[inline(always)]
unsafe fn copy_tile<T: Copy>(y: *mut T, x: *const T, (rows, columns): (usize, usize), y_step: isize, x_step: isize) {
    let mut buffer = [const { MaybeUninit::<T>::uninit() }; TILE * TILE];
    let buffer: *mut T = buffer.as_mut_ptr().cast();
    // SAFETY: the caller answers for the source, and the buffer has room for the tile.
    let turned = unsafe { turn_squares(buffer, x, (rows, columns), x_step) };
    for j in 0..columns {
        let source = x.wrapping_byte_offset(j as isize * x_step);
        for i in if j < turned.1 { turned.0 } else { 0 }..rows {
            // SAFETY: as above. Lent memory may be unaligned.
            unsafe { buffer.add(i * TILE + j).write(source.add(i).read_unaligned()) }
        }
    }
    for i in 0..rows {
        let target = y.wrapping_byte_offset(i as isize * y_step);
        // SAFETY: the row was just filled; the caller answers for the target. Bytes need no alignment.
        unsafe { std::ptr::copy_nonoverlapping(buffer.add(i * TILE).cast::<u8>(), target.cast::<u8>(), columns * size_of::<T>()) }
    }
}

/// Turns as many squares of the tile as registers can, and says how many rows and columns of the buffer they fill.
///
/// # Safety
/// As `copy_tile`.
#[inline(always)]
unsafe fn turn_squares<T: Copy>(buffer: *mut T, x: *const T, (rows, columns): (usize, usize), x_step: isize) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if matches!(isa(), Isa::Avx2 | Isa::Avx512) {
        use super::register::x86::Avx2;
        use std::arch::x86_64::{__m256, __m256d};
        // SAFETY: the processor has the instructions, elements have the size of the floats, and moving changes no bits.
        unsafe {
            match size_of::<T>() {
                4 => return turn::<Avx2<__m256>>(buffer.cast(), x.cast(), (rows, columns), x_step),
                8 => return turn::<Avx2<__m256d>>(buffer.cast(), x.cast(), (rows, columns), x_step),
                _ => {}
            }
        }
    }
    (0, 0)
}

/// [`turn_squares`] with given registers.
#[cfg(target_arch = "x86_64")]
unsafe fn turn<V: Vector>(
    buffer: *mut V::Float,
    x: *const V::Float,
    (rows, columns): (usize, usize),
    x_step: isize,
) -> (usize, usize) {
    let size = size_of::<V::Float>() as isize;
    if x_step % size != 0 {
        return (0, 0);
    }
    let (rows, columns) = (rows - rows % V::SQUARE, columns - columns % V::SQUARE);
    // SAFETY: the squares are within the tile.
    unsafe {
        V::run(
            #[inline(always)]
            || {
                // The tile that is most often next, if each of its rows is on a page of its own.
                for j in 0..if x_step.unsigned_abs() > PAGE { columns } else { 0 } {
                    let next = x.wrapping_byte_offset((TILE + j) as isize * x_step);
                    (0..rows).step_by(LINE / size as usize).for_each(|i| prefetch(next.wrapping_add(i)));
                }
                for j in (0..columns).step_by(V::SQUARE) {
                    for i in (0..rows).step_by(V::SQUARE) {
                        let from = x.wrapping_byte_offset(j as isize * x_step).add(i);
                        V::transpose(from, x_step / size, buffer.add(i * TILE + j), TILE);
                    }
                }
            },
        );
    }
    (rows, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Copy + PartialEq + std::fmt::Debug>(number: impl Fn(usize) -> T) {
        let (m, n, size) = (37, 70, size_of::<T>() as isize);
        let x: Vec<T> = (0..2 * m * n).map(&number).collect();
        let mut y = vec![number(0); 2 * m * n];
        let row = Dim { size: n, to: size * m as isize, from: size };
        let column = Dim { size: m, to: size, from: size * n as isize };
        let outer = [Dim { size: 2, to: size * (m * n) as isize, from: size * (m * n) as isize }];
        // SAFETY: both hold two matrices.
        unsafe { copy(y.as_mut_ptr(), x.as_ptr(), row, column, &outer) };
        for (k, i, j) in (0..2 * m * n).map(|p| (p / (m * n), p / m % n, p % m)) {
            assert_eq!(y[k * m * n + i * m + j], x[k * m * n + j * n + i]);
        }
    }

    #[test]
    fn a_matrix_is_transposed() {
        check(|i| i as u8);
        check(|i| i as u16);
        // Among them the bits of numbers that are none.
        check(|i| 0x7f80_0000 + i as u32);
        check(|i| 0x7ff0_0000_0000_0000 + i as u64);
        check(|i| i as u128);
    }
}
