//! Clearing one side of a diagonal.

use super::par;

/// Rows' worth of elements per thread.
const GRAIN: usize = 64 * 1024;

/// Sets to zero, in each matrix of the last two dims, what lies above (`lower`) or below a diagonal.
///
/// # Safety
/// `start` must be valid for writes at all places of the layout, which must not overlap. There are at least two dims.
pub unsafe fn clear(start: *mut u8, shape: &[usize], strides: &[isize], size: usize, diagonal: isize, lower: bool) {
    let rank = shape.len();
    let (rows, columns) = (shape[rank - 2], shape[rank - 1]);
    let matrices: usize = shape[..rank - 2].iter().product();
    if matrices * rows * columns == 0 {
        return;
    }
    let step = strides[rank - 1] * size as isize;
    let start = start as usize;
    par::for_ranges(matrices * rows, GRAIN / columns + 1, &|range| {
        for number in range {
            let (matrix, row) = (number / rows, number % rows);
            let mut rest = matrix;
            let mut offset = row as isize * strides[rank - 2];
            for d in (0..rank - 2).rev() {
                offset += (rest % shape[d]) as isize * strides[d];
                rest /= shape[d];
            }
            let edge = (row as isize).saturating_add(diagonal);
            let column = |c: isize| c.clamp(0, columns as isize) as usize;
            let cleared = if lower { column(edge.saturating_add(1))..columns } else { 0..column(edge) };
            let first = (start as *mut u8).wrapping_offset(offset * size as isize + cleared.start as isize * step);
            // SAFETY: the places are within the layout; zero bytes are a zero of every element type.
            unsafe {
                if step == size as isize {
                    std::ptr::write_bytes(first, 0, cleared.len() * size);
                } else {
                    for c in 0..cleared.len() as isize {
                        std::ptr::write_bytes(first.wrapping_offset(c * step), 0, size);
                    }
                }
            }
        }
    });
}
