//! Loops along one dim of contiguous memory: running results, and elements picked or added by their place.
//!
//! Memory is seen as `outer` blocks of `n` rows of `inner` neighbours; a line is what one (block, neighbour) pair has
//! along the rows. Lines are independent, so threads share them; each is walked in order, whatever the threads.

use super::par;
use super::vector::{single_element, vectorize_or_loop};

/// Elements that are worth a thread.
const GRAIN: usize = 16 * 1024;
/// Neighbouring lines that are walked together.
const STRIP: usize = 64;
/// Lines in memory of their own that are walked together: not so many that rows a power of two long crowd the cache.
const TOGETHER: usize = 4;

/// The extent of a loop along one dim.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// Blocks before the dim.
    pub outer: usize,
    /// Size of the dim.
    pub n: usize,
    /// Neighbours after the dim.
    pub inner: usize,
}

impl Lines {
    /// Of a shape, along `dim`; a 0-d shape is one line of one element.
    pub fn new(shape: &[usize], dim: usize) -> Lines {
        Lines {
            outer: shape.iter().take(dim).product(),
            n: shape.get(dim).copied().unwrap_or(1),
            inner: shape.iter().skip(dim + 1).product(),
        }
    }

    /// The same with another size of the dim.
    pub fn with_size(self, n: usize) -> Lines {
        Lines { n, ..self }
    }
}

/// Walks every line from its start (or its end, if `reverse`): `step(state, place, number)` gets the state that the
/// step before returned, the place of the element in memory, and its number along the line.
pub fn scan<S: Copy + Send + Sync>(lines: Lines, reverse: bool, start: S, step: impl Fn(S, usize, usize) -> S + Sync + Copy) {
    let Lines { outer, n, inner } = lines;
    if n * inner * outer == 0 {
        return;
    }
    // Lines that lie beside each other, or if these are whole in memory, one behind the other: a few, whose steps overlap.
    let (lines, apart, most) = if inner == 1 { (outer, n, TOGETHER) } else { (inner, 1, STRIP) };
    let strips = lines.div_ceil(most);
    let blocks = if inner == 1 { 1 } else { outer };
    par::for_ranges(blocks * strips, (GRAIN / (n * lines.min(most))).max(1), &|range| {
        // `move`: the stores of a step could otherwise change what it borrows.
        vectorize_or_loop(
            #[inline(always)]
            move |single| {
                for strip in range {
                    let line = strip % strips * most;
                    let first = strip / strips * n * inner + line * apart;
                    let width = most.min(lines - line);
                    let number = |k: usize| if reverse { n - 1 - k } else { k };
                    if apart == 1 {
                        let mut states = [start; STRIP];
                        for k in (0..n).map(number) {
                            for (i, state) in states.iter_mut().enumerate().take(width) {
                                single_element(single);
                                *state = step(*state, first + k * inner + i, k);
                            }
                        }
                    } else if width == TOGETHER {
                        let mut states = [start; TOGETHER];
                        for k in (0..n).map(number) {
                            for (i, state) in states.iter_mut().enumerate() {
                                single_element(single);
                                *state = step(*state, first + i * n + k, k);
                            }
                        }
                    } else {
                        for i in 0..width {
                            (0..n).map(number).fold(start, |state, k| step(state, first + i * n + k, k));
                        }
                    }
                }
            },
        )
    });
}

/// Calls `body(place among the picked, place in the source)` for each number in `index`: the picked are `lines`, the
/// source has `size` elements along the dim. Numbers must be in range.
pub fn pick(lines: Lines, size: usize, index: &[i64], body: impl Fn(usize, usize) + Sync) {
    let Lines { outer, n, inner } = lines;
    debug_assert!(index.len() == outer * n * inner && index.iter().all(|&i| (i as usize) < size));
    par::for_ranges(outer, (GRAIN / (n * inner).max(1)).max(1), &|range| {
        for block in range {
            for k in 0..n {
                for i in 0..inner {
                    let place = (block * n + k) * inner + i;
                    body(place, (block * size + index[place] as usize) * inner + i);
                }
            }
        }
    });
}

/// Calls `body(block, neighbour)` for every line.
pub fn each(lines: Lines, body: impl Fn(usize, usize) + Sync) {
    let Lines { outer, n, inner } = lines;
    par::for_ranges(outer * inner, (GRAIN / 8 / n.max(1)).max(1), &|range| range.for_each(|i| body(i / inner, i % inner)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[test]
    fn lines_are_walked_in_order() {
        for shape in [vec![], vec![7], vec![3, 5], vec![2, 70, 3], vec![4, 3, 130], vec![0, 2], vec![2, 0]] {
            for dim in 0..shape.len().max(1) {
                let total: usize = shape.iter().product();
                for reverse in [false, true] {
                    let out: Vec<AtomicI64> = (0..total).map(|_| AtomicI64::new(-1)).collect();
                    let lines = Lines::new(&shape, dim);
                    scan(lines, reverse, 0i64, |sum, place, number| {
                        assert_eq!(place / lines.inner % lines.n, number);
                        out[place].store(sum + place as i64, Ordering::Relaxed);
                        sum + place as i64
                    });
                    for (place, got) in out.iter().enumerate() {
                        let number = place / lines.inner % lines.n;
                        let others = if reverse { number..lines.n } else { 0..number + 1 };
                        let want: usize = others.map(|k| place - number * lines.inner + k * lines.inner).sum();
                        assert_eq!(got.load(Ordering::Relaxed), want as i64, "{shape:?} {dim}");
                    }
                }
            }
        }
    }
}
