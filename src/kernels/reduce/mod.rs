//! Reductions over any dims: fixed-size blocks, combined pairwise, so that the bits do not depend on the threads.
//!
//! The kept and the reduced dims of the input are two nests of loops; every output element is folded over the
//! reduced nest. What is folded is cut into leaves of a fixed size, whose results are combined as a binary
//! tree (the error of a sum grows with the logarithm of its length: Higham 1993, "The accuracy of floating point
//! summation"). There are two ways to walk, chosen by strides alone:
//!
//! - along the reduced dims, several accumulators side by side in a leaf, one output after the other;
//! - across them, whole rows of neighbouring outputs at once, where the kept dim is the contiguous one.
//!
//! What is computed is a [`Fold`]; those there are live in [`folds`](super::folds).

mod erased;
mod floats;
mod fold;
mod nest;

pub use erased::Erased;
pub use floats::{Registers, find_nan};
pub use fold::{Fold, Hints, Lanes, combined};
pub use nest::Loop;

use std::mem::MaybeUninit;

use super::elementwise::gather;
use super::par;
use erased::{Results, Room};
use nest::{Nest, Runs};

/// Bytes of elements that are not neighbours and are gathered before they are folded: they fit a first-level cache.
const GATHERED: usize = 16 * 1024;
/// Elements of input that are worth a thread.
const GRAIN: usize = 32 * 1024;
/// Bytes of elements of which a second-level cache holds but a part.
const FAR: usize = 2 << 20;
/// Neighbouring outputs that are folded together when walking across.
pub const STRIP: usize = 256;
/// Rows of a strip in a leaf.
const ROWS: usize = 128;

/// Takes results for some outputs: the address of the first, and a loop over their places (`to` of the first, and the loop's
/// size and step).
pub type Put<'a> = &'a (dyn Fn(*const u8, usize, Loop) + Sync);

/// Folds the reduced dims of `x` for every element of the kept dims, and hands the results to `put`. Loops are given
/// outermost first.
///
/// # Safety
/// `x` must be valid for reads at every combination of offsets; `put` must be callable from several threads for
/// different places.
pub unsafe fn reduce(x: *const u8, kept: &[Loop], reduced: &[Loop], fold: &dyn Erased, put: Put<'_>) {
    let (kept, reduced) = (Nest::new(kept, true), Nest::new(reduced, !fold.ordered()));
    if kept.numel() == 0 {
        return;
    }
    let unit = fold.unit();
    let across =
        reduced.0.first().is_some_and(|l| l.from != unit) && kept.0.first().is_some_and(|l| l.from == unit && l.size >= 4);
    let job = Job { x: Address(x), kept, reduced, fold };
    // SAFETY: passed on.
    unsafe { if across { job.across(put) } else { job.along(put) } }
}

#[derive(Clone, Copy)]
struct Address(*const u8);
// SAFETY: a read-only address of memory that outlives the parallel loop.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Address {
    fn at(self, bytes: isize) -> *const u8 {
        self.0.wrapping_offset(bytes)
    }
}

/// One reduction.
struct Job<'a> {
    x: Address,
    kept: Nest,
    reduced: Nest,
    fold: &'a dyn Erased,
}

impl Job<'_> {
    /// One output after the other.
    unsafe fn along(&self, put: Put<'_>) {
        let (outputs, length) = (self.kept.numel(), self.reduced.numel());
        if length > GRAIN && outputs < 16 {
            // SAFETY: passed on.
            return self
                .kept
                .stretches(0, outputs, 1, |(from, to), one| unsafe { self.in_chunks(self.x.at(from), to, one, put) });
        }
        par::for_ranges(outputs, (GRAIN / length.max(1)).max(1), &|range| {
            self.kept.stretches(range.start, range.end, STRIP, |(from, to), stretch| {
                let mut strip = Room::<STRIP>::new();
                // SAFETY: passed on; there are at most STRIP outputs.
                unsafe {
                    self.pieces(self.x.at(from), stretch, strip.start());
                    put(strip.start(), to, stretch);
                }
            })
        });
    }

    /// The whole fold for each of some outputs.
    unsafe fn pieces(&self, x: *const u8, outputs: Loop, acc: *mut u8) {
        let length = self.reduced.numel();
        // SAFETY: passed on.
        unsafe {
            if self.reduced.0.len() <= 1 && length <= self.leaf_size() {
                let stride = self.reduced.0.first().map_or(0, |l| l.from);
                let runs = Runs { count: outputs.size, step: outputs.from, n: length, stride, first: 0, far: false };
                return self.runs(x, runs, false, acc);
            }
            for i in 0..outputs.size {
                let x = x.wrapping_offset(i as isize * outputs.from);
                self.piece(x, 0, length, acc.add(i * self.fold.size()));
            }
        }
    }

    /// One long fold, its chunks in parallel, combined in a fixed tree.
    unsafe fn in_chunks(&self, x: *const u8, to: usize, one: Loop, put: Put<'_>) {
        let length = self.reduced.numel();
        let chunks = length.div_ceil(GRAIN);
        let (results, x) = (Results::new(self.fold, chunks), Address(x));
        par::for_ranges(chunks, 1, &|range| {
            for c in range {
                // SAFETY: passed on; each chunk has its own place.
                unsafe { self.piece(x.at(0), c * GRAIN, length.min((c + 1) * GRAIN), results.at(c)) };
            }
        });
        // SAFETY: all results are there.
        unsafe { self.pairwise(results.at(0), chunks, 1) };
        put(results.at(0), to, one);
    }

    /// Elements `from..to` of one fold, halved down to leaves.
    unsafe fn piece(&self, x: *const u8, from: usize, to: usize, acc: *mut u8) {
        // SAFETY: passed on.
        unsafe {
            let leaf = self.leaf_size();
            if to - from <= leaf {
                return self.leaf(x, from, to, acc);
            }
            let middle = from + ((to - from) / 2).next_multiple_of(leaf);
            let mut other = Room::<1>::new();
            self.piece(x, from, middle, acc);
            self.piece(x, middle, to, other.start());
            self.fold.combine(acc, other.start(), 1);
        }
    }

    /// Elements of a leaf.
    fn leaf_size(&self) -> usize {
        let unit = self.fold.unit();
        let neighbours = self.reduced.0.first().is_none_or(|l| l.from == unit);
        let bytes = if neighbours { self.fold.longest() } else { GATHERED };
        (bytes / unit as usize).min(GRAIN)
    }

    /// [`Erased::runs`] for runs of at most a leaf, whose elements need not be neighbours.
    unsafe fn runs(&self, x: *const u8, runs: Runs, joined: bool, acc: *mut u8) {
        if runs.stride == self.fold.unit() || runs.n <= 1 {
            let far = self.kept.numel() * self.reduced.numel() > FAR / self.fold.unit() as usize;
            // SAFETY: passed on.
            return unsafe { self.fold.runs(x, Runs { far, ..runs }, joined, acc) };
        }
        let mut buffer = MaybeUninit::<[u8; GATHERED]>::uninit();
        for i in 0..runs.count {
            let first = if joined { runs.first + i * runs.n } else { runs.first };
            let one = Runs { count: 1, first, ..runs };
            let mut part = Room::<1>::new();
            // SAFETY: passed on; the buffer holds a leaf.
            unsafe {
                let x = x.wrapping_offset(i as isize * runs.step);
                gather(buffer.as_mut_ptr().cast(), x, runs.stride, runs.n, self.fold.unit() as usize);
                match (joined, i) {
                    (false, _) => self.fold.runs(buffer.as_ptr().cast(), one, false, acc.add(i * self.fold.size())),
                    (true, 0) => self.fold.runs(buffer.as_ptr().cast(), one, false, acc),
                    (true, _) => {
                        self.fold.runs(buffer.as_ptr().cast(), one, false, part.start());
                        self.fold.combine(acc, part.start(), 1);
                    }
                }
            }
        }
    }

    unsafe fn leaf(&self, x: *const u8, from: usize, to: usize, acc: *mut u8) {
        if from == to {
            // SAFETY: passed on.
            return unsafe { self.fold.start(acc, 1) };
        }
        self.reduced.runs(from, to, |offset, runs| {
            let x = x.wrapping_offset(offset);
            // SAFETY: passed on.
            unsafe {
                if runs.first == from {
                    return self.runs(x, runs, true, acc);
                }
                let mut part = Room::<1>::new();
                self.runs(x, runs, true, part.start());
                self.fold.combine(acc, part.start(), 1);
            }
        });
    }

    /// Rows of neighbouring outputs at once.
    unsafe fn across(&self, put: Put<'_>) {
        let (outputs, length) = (self.kept.numel(), self.reduced.numel());
        let inner = self.kept.0[0];
        let row = inner.size;
        // Rows that lie one after the other in memory are folded several at a time if they are short.
        let adjacent = self.reduced.0.len() == 1 && self.reduced.0[0].from == row as isize * self.fold.unit();
        if adjacent && outputs == row && row <= STRIP / 4 && !self.fold.ordered() && length >= 4 * (STRIP / row) {
            // SAFETY: passed on.
            return unsafe { self.side_by_side(STRIP / row, put) };
        }
        let strips_per_row = row.div_ceil(STRIP);
        let strips = outputs / row * strips_per_row;
        let width = STRIP.min(row);
        // With few strips there would be little to share among threads: cut the rows into chunks, too.
        let chunk = if strips < 16 { (GRAIN / width).next_multiple_of(ROWS) } else { length.max(1) };
        let chunks = length.div_ceil(chunk).max(1);
        let place = |strip: usize| {
            let column = strip % strips_per_row * STRIP;
            let (from, to) = self.kept.offsets(strip / strips_per_row * row + column);
            (self.x.at(from), to, Loop { size: STRIP.min(row - column), ..inner })
        };
        if chunks == 1 {
            return par::for_ranges(strips, (GRAIN / (length * width).max(1)).max(1), &|range| {
                for strip in range {
                    let (x, to, columns) = place(strip);
                    let mut acc = Room::<STRIP>::new();
                    // SAFETY: passed on.
                    unsafe { self.strip(x, 0, length, acc.start(), columns.size) };
                    put(acc.start(), to, columns);
                }
            });
        }
        let results = Results::new(self.fold, strips * chunks * STRIP);
        par::for_ranges(strips * chunks, 1, &|range| {
            for unit in range {
                let (x, _, columns) = place(unit / chunks);
                let from = unit % chunks * chunk;
                // SAFETY: passed on; each unit has its own places.
                unsafe { self.strip(x, from, length.min(from + chunk), results.at(unit * STRIP), columns.size) };
            }
        });
        for strip in 0..strips {
            let (_, to, columns) = place(strip);
            let first = results.at(strip * chunks * STRIP);
            // SAFETY: all results are there.
            unsafe { self.pairwise(first, chunks, STRIP) };
            put(first, to, columns);
        }
    }

    /// Adjacent short rows, `count` at a time as one long row, whose parts are combined at the end.
    unsafe fn side_by_side(&self, count: usize, put: Put<'_>) {
        let (length, columns, size) = (self.reduced.numel(), self.kept.0[0], self.fold.size());
        let row = columns.size as isize * self.fold.unit();
        let (width, groups) = (columns.size * count, length / count);
        let wide = Job {
            x: self.x,
            kept: Nest::new(&[Loop { size: width, from: self.fold.unit(), to: 1 }], true),
            reduced: Nest::new(&[Loop { size: groups, from: row * count as isize, to: 0 }], true),
            fold: self.fold,
        };
        let parts = Results::new(self.fold, width);
        let mut rest = Room::<STRIP>::new();
        let last = Runs { count: 1, step: 0, n: length % count, stride: row, first: groups * count, far: false };
        // SAFETY: passed on; `parts` has a place for each output, `rest` for each column.
        unsafe {
            wide.across(&|acc, to, part| std::ptr::copy_nonoverlapping(acc, parts.at(to), part.size * size));
            self.pairwise(parts.at(0), count, columns.size);
            self.fold.start(rest.start(), columns.size);
            self.fold.rows(self.x.at(last.first as isize * row), last, rest.start(), columns.size);
            self.fold.combine(parts.at(0), rest.start(), columns.size);
        }
        put(parts.at(0), 0, columns);
    }

    /// Rows `from..to` of a strip of columns, halved down to leaves of rows.
    unsafe fn strip(&self, x: *const u8, from: usize, to: usize, acc: *mut u8, width: usize) {
        // SAFETY: passed on.
        unsafe {
            if to - from > ROWS {
                let middle = from + ((to - from) / 2).next_multiple_of(ROWS);
                let mut other = Room::<STRIP>::new();
                self.strip(x, from, middle, acc, width);
                self.strip(x, middle, to, other.start(), width);
                return self.fold.combine(acc, other.start(), width);
            }
            self.fold.start(acc, width);
            self.reduced.runs(from, to, |offset, runs| {
                for i in 0..runs.count {
                    let x = x.wrapping_offset(offset + i as isize * runs.step);
                    let rows = Runs { count: 1, first: runs.first + i * runs.n, ..runs };
                    self.fold.rows(x, rows, acc, width);
                }
            });
        }
    }

    /// Combines `count` rows of `width` partial results as a binary tree, into the first.
    unsafe fn pairwise(&self, acc: *mut u8, count: usize, width: usize) {
        if count > 1 {
            let half = count.div_ceil(2);
            // SAFETY: passed on.
            unsafe {
                let other = acc.add(half * width * self.fold.size());
                self.pairwise(acc, half, width);
                self.pairwise(other, count - half, width);
                self.fold.combine(acc, other, width);
            }
        }
    }
}

#[cfg(test)]
mod tests;
