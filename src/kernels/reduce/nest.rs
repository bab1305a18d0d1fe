//! The loops around the elements of a reduction.

use smallvec::SmallVec;

/// A dim of the loops: its size, the byte stride of the input, and the stride of the output in elements.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// Number of steps.
    pub size: usize,
    /// Bytes between neighbours in the input.
    pub from: isize,
    /// Elements between neighbours in the output; 0 for a reduced dim.
    pub to: usize,
}

/// Nested loops, innermost first.
#[derive(Clone, Default)]
pub struct Nest(pub SmallVec<[Loop; 5]>);

/// Evenly spaced runs of evenly spaced elements.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// Number of runs.
    pub count: usize,
    /// Bytes from one run to the next.
    pub step: isize,
    /// Elements of a run.
    pub n: usize,
    /// Bytes from one element of a run to the next.
    pub stride: isize,
    /// Number of the first element among those of its output.
    pub first: usize,
    /// Whether the elements are part of more than a second-level cache holds.
    pub far: bool,
}

impl Nest {
    /// Of loops given outermost first; with `sorted`, the smallest input stride goes innermost. Merges what it can.
    pub fn new(loops: &[Loop], sorted: bool) -> Nest {
        let mut list: SmallVec<[Loop; 5]> = SmallVec::new();
        loops.iter().rev().filter(|l| l.size != 1).for_each(|l| list.push(*l));
        if sorted {
            list.sort_by_key(|l| l.from.unsigned_abs());
        }
        let mut merged: SmallVec<[Loop; 5]> = SmallVec::new();
        for l in list {
            match merged.last_mut() {
                Some(inner) if l.from == inner.from * inner.size as isize && l.to == inner.to * inner.size => {
                    inner.size *= l.size
                }
                _ => merged.push(l),
            }
        }
        Nest(merged)
    }

    /// Number of steps of all loops together.
    pub fn numel(&self) -> usize {
        self.0.iter().map(|l| l.size).product()
    }

    /// Offsets, in the input in bytes and in the output in elements, of the step with a given number.
    pub fn offsets(&self, mut number: usize) -> (isize, usize) {
        let (mut from, mut to) = (0, 0);
        for l in &self.0 {
            let place = number % l.size;
            number /= l.size;
            from += place as isize * l.from;
            to += place * l.to;
        }
        (from, to)
    }

    /// Cuts the steps `start..end` into stretches of the innermost loop of at most `most` steps: calls `body` with the
    /// offsets of the first step and with a loop over the stretch.
    pub fn stretches(&self, start: usize, end: usize, most: usize, mut body: impl FnMut((isize, usize), Loop)) {
        let inner = self.0.first().copied().unwrap_or(Loop { size: 1, from: 0, to: 0 });
        let mut at = start;
        while at < end {
            let size = (inner.size - at % inner.size).min(end - at).min(most);
            body(self.offsets(at), Loop { size, ..inner });
            at += size;
        }
    }

    /// Cuts the elements `from..to` into runs, as many at once as are evenly spaced: calls `body` with the byte offset of the
    /// first.
    pub fn runs(&self, from: usize, to: usize, mut body: impl FnMut(isize, Runs)) {
        let loops = |level: usize| self.0.get(level).copied().unwrap_or(Loop { size: 1, from: 0, to: 0 });
        let (inner, outer) = (loops(0), loops(1));
        let mut at = from;
        while at < to {
            let (row, column) = (at / inner.size, at % inner.size);
            let whole = (to - at) / inner.size;
            let (count, n) = if column == 0 && whole > 0 {
                (whole.min(outer.size - row % outer.size), inner.size)
            } else {
                (1, (inner.size - column).min(to - at))
            };
            body(self.offsets(at).0, Runs { count, step: outer.from, n, stride: inner.from, first: at, far: false });
            at += count * n;
        }
    }
}
