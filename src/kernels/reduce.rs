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

use smallvec::SmallVec;

use super::par;
use super::vector::vectorize;

/// Elements folded one after the other (in lanes) before results are combined pairwise.
const LEAF: usize = 2048;
/// Elements of input that are worth a thread.
const GRAIN: usize = 32 * 1024;
/// Neighbouring outputs that are folded together when walking across.
pub const STRIP: usize = 256;
/// Rows of a strip in a leaf.
const ROWS: usize = 128;

/// How values are folded: a start, a step that takes in one element, and a combination of two partial results.
/// `combine` must be associative but for rounding, with `start` as its neutral element.
///
/// Each element comes with its number among those of its output, in the order of the reduced dims.
pub trait Fold: Copy + Sync {
    /// Type of an element.
    type In: Copy + Send + Sync;
    /// Type of a partial result.
    type Acc: Copy + Send + Sync;
    /// Whether numbers matter: the reduced dims are then walked in their own order, not in that of memory.
    const ORDERED: bool = false;

    /// The result for no elements.
    fn start(self) -> Self::Acc;
    /// Takes in one element.
    fn step(self, acc: Self::Acc, value: Self::In, number: usize) -> Self::Acc;
    /// Joins two partial results.
    fn combine(self, a: Self::Acc, b: Self::Acc) -> Self::Acc;

    /// Folds `n` evenly spaced elements (`stride` in bytes), the first with number `first`.
    ///
    /// # Safety
    /// `x` must be valid for reads at these places.
    #[inline(always)]
    unsafe fn run(self, x: *const Self::In, stride: isize, n: usize, first: usize) -> Self::Acc {
        // Four registers of the widest kind, and no more than the sixteen of the next.
        // SAFETY: passed on.
        unsafe {
            if size_of::<Self::Acc>() <= 4 {
                in_lanes::<Self, 64>(self, x, stride, n, first)
            } else {
                in_lanes::<Self, 32>(self, x, stride, n, first)
            }
        }
    }

    /// Folds `rows` rows (`stride` bytes apart) of as many neighbours as there are accumulators into these; the
    /// numbers of the first row are `first`.
    ///
    /// # Safety
    /// `x` must be valid for reads of all rows. There are at most [`STRIP`] accumulators and `ROWS` rows.
    #[inline(always)]
    unsafe fn rows(self, x: *const Self::In, stride: isize, rows: usize, first: usize, acc: &mut [Self::Acc]) {
        // SAFETY: the caller answers for these rows and columns.
        let at = |r: usize, i: usize| unsafe { x.byte_offset(r as isize * stride).add(i).read_unaligned() };
        // Four rows for each time an accumulator is loaded and stored.
        let whole = rows - rows % 4;
        for r in (0..whole).step_by(4) {
            for (i, slot) in acc.iter_mut().enumerate() {
                let mut sum = *slot;
                for j in 0..4 {
                    sum = self.step(sum, at(r + j, i), first + r + j);
                }
                *slot = sum;
            }
        }
        for r in whole..rows {
            for (i, slot) in acc.iter_mut().enumerate() {
                *slot = self.step(*slot, at(r, i), first + r);
            }
        }
    }
}

/// One run, with `LANES` accumulators side by side.
#[inline(always)]
unsafe fn in_lanes<F: Fold, const LANES: usize>(fold: F, x: *const F::In, stride: isize, n: usize, first: usize) -> F::Acc {
    // SAFETY: the caller answers for n elements.
    let at = |i: usize| unsafe { x.byte_offset(i as isize * stride).read_unaligned() };
    let mut acc = fold.start();
    let whole = n - n % LANES;
    if whole > 0 {
        let mut lanes = [fold.start(); LANES];
        if stride == size_of::<F::In>() as isize {
            // SAFETY: as above.
            let next = |i: usize| unsafe { x.add(i).read_unaligned() };
            for i in (0..whole).step_by(LANES) {
                for (lane, slot) in lanes.iter_mut().enumerate() {
                    *slot = fold.step(*slot, next(i + lane), first + i + lane);
                }
            }
        } else {
            for i in (0..whole).step_by(LANES) {
                for (lane, slot) in lanes.iter_mut().enumerate() {
                    *slot = fold.step(*slot, at(i + lane), first + i + lane);
                }
            }
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] = fold.combine(lanes[lane], lanes[lane + width]);
            }
            width /= 2;
        }
        acc = lanes[0];
    }
    for i in whole..n {
        acc = fold.step(acc, at(i), first + i);
    }
    acc
}

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
struct Nest(SmallVec<[Loop; 5]>);

impl Nest {
    /// Of loops given outermost first; with `sorted`, the smallest input stride goes innermost. Merges what it can.
    fn new(loops: impl Iterator<Item = Loop>, sorted: bool) -> Nest {
        let mut list: SmallVec<[Loop; 5]> = loops.filter(|l| l.size != 1).collect();
        list.reverse();
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

    fn numel(&self) -> usize {
        self.0.iter().map(|l| l.size).product()
    }

    /// Offsets, in the input in bytes and in the output in elements, of the step with a given number.
    fn offsets(&self, mut number: usize) -> (isize, usize) {
        let (mut from, mut to) = (0, 0);
        for l in &self.0 {
            let place = number % l.size;
            number /= l.size;
            from += place as isize * l.from;
            to += place * l.to;
        }
        (from, to)
    }

    /// Calls `body` with the offsets of the steps `start..end` one after the other.
    #[inline(always)]
    fn walk(&self, start: usize, end: usize, mut body: impl FnMut(isize, usize)) {
        let [inner, outer @ ..] = self.0.as_slice() else { return body(0, 0) };
        let mut at = start;
        while at < end {
            let place = at % inner.size;
            let n = (inner.size - place).min(end - at);
            let (mut from, mut to) = self.offsets(at);
            for _ in 0..n {
                body(from, to);
                from += inner.from;
                to += inner.to;
            }
            at += n;
            if outer.is_empty() {
                return;
            }
        }
    }
}

/// Folds the reduced dims of `x` for every element of the kept dims: `put(place, result)` with the place in the
/// output. Loops are given outermost first.
///
/// # Safety
/// `x` must be valid for reads at every combination of offsets; `put` must be callable from several threads for
/// different places.
pub unsafe fn reduce<F: Fold>(
    x: *const F::In,
    kept: impl Iterator<Item = Loop>,
    reduced: impl Iterator<Item = Loop>,
    fold: F,
    put: &(impl Fn(usize, F::Acc) + Sync),
) {
    let (kept, reduced) = (Nest::new(kept, true), Nest::new(reduced, !F::ORDERED));
    if kept.numel() == 0 {
        return;
    }
    let unit = size_of::<F::In>() as isize;
    let across =
        reduced.0.first().is_some_and(|l| l.from != unit) && kept.0.first().is_some_and(|l| l.from == unit && l.size >= 4);
    let job = Job { x: Address(x), kept, reduced, fold };
    // SAFETY: passed on.
    unsafe { if across { job.across(put) } else { job.along(put) } }
}

#[derive(Clone, Copy)]
struct Address<T>(*const T);
// SAFETY: read-only addresses of memory that outlives the parallel loop.
unsafe impl<T> Send for Address<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Address<T> {}

impl<T> Address<T> {
    #[inline(always)]
    fn at(self, bytes: isize) -> *const T {
        self.0.wrapping_byte_offset(bytes)
    }
}

struct Slots<T>(*mut T);
// SAFETY: each thread writes slots of its own.
unsafe impl<T> Sync for Slots<T> {}

impl<T> Slots<T> {
    /// # Safety
    /// `i` must be in bounds, and no other thread may use this slot.
    unsafe fn set(&self, i: usize, value: T) {
        // SAFETY: the caller answers for it.
        unsafe { self.0.add(i).write(value) }
    }
}

/// One reduction.
struct Job<F: Fold> {
    x: Address<F::In>,
    kept: Nest,
    reduced: Nest,
    fold: F,
}

impl<F: Fold> Job<F> {
    /// One output after the other.
    unsafe fn along(&self, put: &(impl Fn(usize, F::Acc) + Sync)) {
        let (outputs, length) = (self.kept.numel(), self.reduced.numel());
        if length > GRAIN && outputs < 16 {
            // SAFETY: passed on.
            return self.kept.walk(0, outputs, |from, to| put(to, unsafe { self.in_chunks(self.x.at(from)) }));
        }
        par::for_ranges(outputs, (GRAIN / length.max(1)).max(1), &|range| {
            let single = match self.reduced.0.as_slice() {
                [] => Some(0),
                [one] if length <= LEAF => Some(one.from),
                _ => None,
            };
            match single {
                // Short rows: the instruction set is chosen once for all of them.
                Some(stride) => vectorize(
                    #[inline(always)]
                    || {
                        // SAFETY: passed on.
                        self.kept.walk(
                            range.start,
                            range.end,
                            #[inline(always)]
                            |from, to| unsafe { put(to, self.fold.run(self.x.at(from), stride, length, 0)) },
                        )
                    },
                ),
                None => self.kept.walk(range.start, range.end, |from, to| {
                    // SAFETY: passed on.
                    unsafe { put(to, self.piece(self.x.at(from), 0, length)) }
                }),
            }
        });
    }

    /// One long fold, its chunks in parallel, combined in a fixed tree.
    unsafe fn in_chunks(&self, x: *const F::In) -> F::Acc {
        let length = self.reduced.numel();
        let chunks = length.div_ceil(GRAIN);
        let mut partial = vec![self.fold.start(); chunks];
        let (slots, x) = (Slots(partial.as_mut_ptr()), Address(x));
        par::for_ranges(chunks, 1, &|range| {
            for c in range {
                // SAFETY: passed on; each chunk has its own slot.
                unsafe { slots.set(c, self.piece(x.at(0), c * GRAIN, length.min((c + 1) * GRAIN))) };
            }
        });
        pairwise(&partial, self.fold)
    }

    /// Elements `from..to` of one fold, halved down to leaves.
    unsafe fn piece(&self, x: *const F::In, from: usize, to: usize) -> F::Acc {
        // SAFETY: passed on.
        unsafe {
            if to - from <= LEAF {
                return self.leaf(x, from, to);
            }
            let middle = from + ((to - from) / 2).next_multiple_of(LEAF);
            self.fold.combine(self.piece(x, from, middle), self.piece(x, middle, to))
        }
    }

    unsafe fn leaf(&self, x: *const F::In, from: usize, to: usize) -> F::Acc {
        vectorize(
            #[inline(always)]
            || {
                let mut acc = self.fold.start();
                self.each_run(
                    from,
                    to,
                    #[inline(always)]
                    |offset, stride, n, first| {
                        // SAFETY: passed on.
                        let part = unsafe { self.fold.run(x.wrapping_byte_offset(offset), stride, n, first) };
                        acc = if first == from { part } else { self.fold.combine(acc, part) };
                    },
                );
                acc
            },
        )
    }

    /// Cuts the elements `from..to` of the reduced nest into evenly spaced runs: byte offset, stride, length, number.
    #[inline(always)]
    fn each_run(&self, from: usize, to: usize, mut body: impl FnMut(isize, isize, usize, usize)) {
        let Some(&Loop { size: row, from: stride, .. }) = self.reduced.0.first() else {
            return if from < to {
                body(0, 0, 1, from)
            };
        };
        let mut at = from;
        while at < to {
            let n = (row - at % row).min(to - at);
            body(self.reduced.offsets(at).0, stride, n, at);
            at += n;
        }
    }

    /// Rows of neighbouring outputs at once.
    unsafe fn across(&self, put: &(dyn Fn(usize, F::Acc) + Sync)) {
        let (outputs, length) = (self.kept.numel(), self.reduced.numel());
        let (row, step) = (self.kept.0[0].size, self.kept.0[0].to);
        // Rows that lie one after the other in memory are folded several at a time if they are short.
        let unit = size_of::<F::In>() as isize;
        let adjacent = self.reduced.0.len() == 1 && self.reduced.0[0].from == row as isize * unit;
        if adjacent && outputs == row && row <= STRIP / 4 && !F::ORDERED && length >= 4 * (STRIP / row) {
            // SAFETY: passed on.
            return unsafe { self.side_by_side(row, STRIP / row, put) };
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
            (self.x.at(from), to, STRIP.min(row - column))
        };
        if chunks == 1 {
            return par::for_ranges(strips, (GRAIN / (length * width).max(1)).max(1), &|range| {
                for strip in range {
                    let (x, to, width) = place(strip);
                    let mut acc = [self.fold.start(); STRIP];
                    // SAFETY: passed on.
                    unsafe { self.strip(x, 0, length, &mut acc[..width]) };
                    acc.iter().take(width).enumerate().for_each(|(i, &value)| put(to + i * step, value));
                }
            });
        }
        let mut partial = vec![[self.fold.start(); STRIP]; strips * chunks];
        let slots = Slots(partial.as_mut_ptr());
        par::for_ranges(strips * chunks, 1, &|range| {
            for unit in range {
                let (x, _, width) = place(unit / chunks);
                let from = unit % chunks * chunk;
                let mut acc = [self.fold.start(); STRIP];
                // SAFETY: passed on; each unit has its own slot.
                unsafe {
                    self.strip(x, from, length.min(from + chunk), &mut acc[..width]);
                    slots.set(unit, acc);
                }
            }
        });
        for strip in 0..strips {
            let (_, to, width) = place(strip);
            let sums = &mut partial[strip * chunks..(strip + 1) * chunks];
            combine_rows(sums, width, self.fold);
            (0..width).for_each(|i| put(to + i * step, sums[0][i]));
        }
    }

    /// Adjacent short rows, `count` at a time as one long row, whose parts are combined at the end.
    unsafe fn side_by_side(&self, row: usize, count: usize, put: &(dyn Fn(usize, F::Acc) + Sync)) {
        let length = self.reduced.numel();
        let unit = size_of::<F::In>() as isize;
        let (width, groups) = (row * count, length / count);
        let wide = Job {
            x: self.x,
            kept: Nest::new([Loop { size: width, from: unit, to: 1 }].into_iter(), true),
            reduced: Nest::new([Loop { size: groups, from: unit * width as isize, to: 0 }].into_iter(), true),
            fold: self.fold,
        };
        let mut parts = vec![self.fold.start(); width];
        let slots = Slots(parts.as_mut_ptr());
        // SAFETY: passed on; `width` slots, one for each output.
        unsafe { wide.across(&|i, value| slots.set(i, value)) };
        let mut column: SmallVec<[F::Acc; STRIP]> = SmallVec::new();
        for i in 0..row {
            column.clear();
            column.extend((0..count).map(|k| parts[k * row + i]));
            let rest = (groups * count..length).fold(self.fold.start(), |acc, r| {
                // SAFETY: passed on.
                let value = unsafe { self.x.at((r * row + i) as isize * unit).read_unaligned() };
                self.fold.step(acc, value, r)
            });
            put(i * self.kept.0[0].to, self.fold.combine(pairwise(&column, self.fold), rest));
        }
    }

    /// Rows `from..to` of a strip of columns, halved down to leaves of rows.
    unsafe fn strip(&self, x: *const F::In, from: usize, to: usize, acc: &mut [F::Acc]) {
        if to - from > ROWS {
            let middle = from + ((to - from) / 2).next_multiple_of(ROWS);
            let mut other = [self.fold.start(); STRIP];
            let other = &mut other[..acc.len()];
            // SAFETY: passed on.
            unsafe {
                self.strip(x, from, middle, acc);
                self.strip(x, middle, to, other);
            }
            vectorize(
                #[inline(always)]
                || {
                    acc.iter_mut().zip(other.iter()).for_each(
                        #[inline(always)]
                        |(a, b)| *a = self.fold.combine(*a, *b),
                    )
                },
            );
            return;
        }
        vectorize(
            #[inline(always)]
            || {
                self.each_run(
                    from,
                    to,
                    #[inline(always)]
                    |offset, stride, n, first| {
                        // SAFETY: passed on.
                        unsafe { self.fold.rows(x.wrapping_byte_offset(offset), stride, n, first, acc) }
                    },
                )
            },
        );
    }
}

fn pairwise<F: Fold>(partial: &[F::Acc], fold: F) -> F::Acc {
    match partial {
        [] => fold.start(),
        [one] => *one,
        _ => {
            let (a, b) = partial.split_at(partial.len().div_ceil(2));
            fold.combine(pairwise(a, fold), pairwise(b, fold))
        }
    }
}

/// The same for rows of results, into the first.
fn combine_rows<F: Fold>(partial: &mut [[F::Acc; STRIP]], width: usize, fold: F) {
    if partial.len() > 1 {
        let (a, b) = partial.split_at_mut(partial.len().div_ceil(2));
        combine_rows(a, width, fold);
        combine_rows(b, width, fold);
        a[0].iter_mut().zip(&b[0]).take(width).for_each(|(a, b)| *a = fold.combine(*a, *b));
    }
}

#[cfg(test)]
mod tests;
