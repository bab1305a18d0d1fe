//! Sums of rows of a matrix, as lists of places name them: embeddings and their gradients.

use std::ops::{AddAssign, Mul, Range};

use super::par;

/// Elements worth a thread.
const GRAIN: usize = 16 * 1024;

/// Which row is added to which.
#[derive(Clone, Copy)]
pub struct Pairs<'a> {
    /// Rows that are read.
    pub from: &'a [usize],
    /// Rows that are added to.
    pub to: &'a [usize],
}

/// y[to] += scale x[from] for each pair, in their order. Scales are 1 without a list of them.
///
/// Threads have ranges of the rows of y, and each goes through the whole list.
///
/// # Safety
/// x and y hold rows of `width` elements, as many as the pairs name, and `count` in y, which nobody else uses.
pub unsafe fn add<T>(x: *const T, y: *mut T, [count, width]: [usize; 2], pairs: Pairs<'_>, scales: Option<&[T]>)
where
    T: Copy + Sync + Mul<Output = T> + AddAssign,
{
    let (x, y) = (x as usize, y as usize);
    let add = |range: Range<usize>| {
        for (i, (&from, &to)) in pairs.from.iter().zip(pairs.to).enumerate() {
            if !range.contains(&to) {
                continue;
            }
            // SAFETY: by the contract; rows of y in this range are this thread's.
            let (x, y) = unsafe {
                let (x, y) = ((x as *const T).add(from * width), (y as *mut T).add(to * width));
                (std::slice::from_raw_parts(x, width), std::slice::from_raw_parts_mut(y, width))
            };
            match scales.and_then(|scales| scales.get(i)) {
                Some(&scale) => y.iter_mut().zip(x).for_each(|(y, &x)| *y += scale * x),
                None => y.iter_mut().zip(x).for_each(|(y, &x)| *y += x),
            }
        }
    };
    let pieces = if pairs.to.len() * width < GRAIN { 1 } else { par::num_threads().max(1) };
    par::for_ranges(count, count.div_ceil(pieces).max(1), &add);
}

/// The row of the largest element in each column, for each range of a list of rows; the first of equal ones, 0 for an empty range.
///
/// # Safety
/// x holds rows of `width` elements, as many as the list names.
pub unsafe fn largest<T: Copy + Sync + PartialOrd>(
    x: *const T,
    width: usize,
    rows: &[usize],
    ranges: &[Range<usize>],
    places: &mut [i64],
) {
    for (range, places) in ranges.iter().zip(places.chunks_exact_mut(width.max(1))) {
        let Some((&first, rest)) = rows.get(range.clone()).and_then(<[usize]>::split_first) else { continue };
        places.fill(first as i64);
        for &row in rest {
            for (column, place) in places.iter_mut().enumerate() {
                // SAFETY: by the contract.
                let (now, best) = unsafe { (*x.add(row * width + column), *x.add(*place as usize * width + column)) };
                if now > best {
                    *place = row as i64;
                }
            }
        }
    }
}
