//! What a reduction computes, and its loops over typed elements.

use super::Registers;
use crate::dtype::Element;
use crate::kernels::register;
use crate::kernels::vector::single_element;

/// How a loop is to be compiled or run, whatever it computes.
#[derive(Clone, Copy)]
pub struct Hints {
    /// The elements are in memory, not in a cache; see [`Runs`](super::nest::Runs).
    pub far: bool,
    /// See [`single_element`].
    pub single: bool,
}

/// How values are folded: a start, a step that takes in one element, and a combination of two partial results.
/// `combine` must be associative but for rounding, with `start` as its neutral element.
///
/// Each element comes with its number among those of its output, in the order of the reduced dims; a fold that minds has a
/// `run` of its own, where the number is that of the first of several elements.
pub trait Fold: Copy + Sync {
    /// Type of an element.
    type In: Element;
    /// Type of a partial result.
    type Acc: Copy + Send + Sync;
    /// Whether numbers matter: the reduced dims are then walked in their own order, not in that of memory.
    const ORDERED: bool = false;
    /// The longest run, in bytes: one that passes over its elements twice wants them in a first-level cache.
    const LONGEST: usize = usize::MAX;
    /// The operation that runs are folded by in registers, in place of `run`.
    const REGISTERS: Option<Registers> = None;

    /// The result for no elements.
    fn start(self) -> Self::Acc;
    /// Takes in one element.
    fn step(self, acc: Self::Acc, value: Self::In, number: usize) -> Self::Acc;
    /// Joins two partial results.
    fn combine(self, a: Self::Acc, b: Self::Acc) -> Self::Acc;

    /// Folds `n` neighbours, the first with number `first`.
    ///
    /// # Safety
    /// `x` must be valid for reads of all of them.
    #[inline(always)]
    unsafe fn run(self, x: *const Self::In, n: usize, first: usize, hints: Hints) -> Self::Acc {
        // Four registers of the widest kind; short runs overlap with the next ones.
        // SAFETY: passed on.
        unsafe {
            match (n, size_of::<Self::Acc>()) {
                // Many lanes are long code, where they do not vectorise.
                (8.., _) if hints.single => in_lanes::<Self, 8>(self, x, n, first, hints),
                (64.., ..=4) => in_lanes::<Self, 64>(self, x, n, first, hints),
                (32.., 5..) => in_lanes::<Self, 32>(self, x, n, first, hints),
                _ => (0..n).fold(self.start(), |acc, i| self.step(acc, x.add(i).read_unaligned(), first + i)),
            }
        }
    }

    /// Folds `rows` rows (`stride` bytes apart) of as many neighbours as there are accumulators into these; the
    /// numbers of the first row are `first`.
    ///
    /// # Safety
    /// `x` must be valid for reads of all rows. There are at most [`STRIP`](super::STRIP) accumulators and `ROWS` rows.
    #[inline(always)]
    unsafe fn rows(self, x: *const Self::In, stride: isize, rows: usize, first: usize, acc: &mut [Self::Acc], hints: Hints) {
        // SAFETY: passed on.
        unsafe { fold_rows(self, x, stride, rows, |r| first + r, acc, Hints { far: false, ..hints }) }
    }
}

/// The loop over rows; the elements of row r have the number `number(r)`. Rows that follow each other may be `far`.
#[inline(always)]
unsafe fn fold_rows<F: Fold>(
    fold: F,
    x: *const F::In,
    stride: isize,
    rows: usize,
    number: impl Fn(usize) -> usize,
    acc: &mut [F::Acc],
    hints: Hints,
) {
    // SAFETY: the caller answers for these rows and columns.
    let at = |r: usize, i: usize| unsafe { x.byte_offset(r as isize * stride).add(i).read_unaligned() };
    // Four rows for each time an accumulator is loaded and stored.
    let whole = rows - rows % 4;
    for r in (0..whole).step_by(4) {
        if hints.far {
            let ahead = x.wrapping_byte_offset(r as isize * stride).wrapping_byte_add(register::AHEAD);
            (0..4 * stride as usize).step_by(64).for_each(|byte| register::prefetch(ahead.wrapping_byte_add(byte)));
        }
        for (i, slot) in acc.iter_mut().enumerate() {
            single_element(hints.single);
            let mut sum = *slot;
            for j in 0..4 {
                sum = fold.step(sum, at(r + j, i), number(r + j));
            }
            *slot = sum;
        }
    }
    for r in whole..rows {
        for (i, slot) in acc.iter_mut().enumerate() {
            single_element(hints.single);
            *slot = fold.step(*slot, at(r, i), number(r));
        }
    }
}

/// Rows of lanes that are folded one after the other, before they are combined with those before them.
const ROWS_IN_A_ROW: usize = 64;

/// Accumulators side by side, on whole cache lines: what is stored across two is slow to load again.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Lanes<T, const N: usize>(pub [T; N]);

/// One run as rows of `LANES` elements, which have an accumulator for each column; these are combined pairwise.
///
/// A long run is cut into blocks of rows, whose accumulators are combined column by column: that costs next to nothing, keeps
/// the memory busy, and the error of a sum grows with the length of a block and the number of blocks only.
#[inline(always)]
unsafe fn in_lanes<F: Fold, const LANES: usize>(fold: F, x: *const F::In, n: usize, first: usize, hints: Hints) -> F::Acc {
    let (mut lanes, stride) = (Lanes([fold.start(); LANES]), (LANES * size_of::<F::In>()) as isize);
    let whole = n / LANES;
    // SAFETY: the caller answers for n elements, of which the last row has fewer than the others.
    unsafe {
        for from in (0..whole).step_by(ROWS_IN_A_ROW) {
            let (mut block, rows) = (Lanes([fold.start(); LANES]), (whole - from).min(ROWS_IN_A_ROW));
            fold_rows(fold, x.add(from * LANES), stride, rows, |r| first + (from + r) * LANES, &mut block.0, hints);
            for i in 0..LANES {
                lanes.0[i] = if from == 0 { block.0[i] } else { fold.combine(lanes.0[i], block.0[i]) };
            }
        }
        fold_rows(
            fold,
            x.add(whole * LANES),
            0,
            1,
            |_| first + whole * LANES,
            &mut lanes.0[..n % LANES],
            Hints { far: false, ..hints },
        );
    }
    combined(fold, lanes.0)
}

/// All lanes combined pairwise. The halves have constant lengths, so that they stay in registers.
#[inline(always)]
pub fn combined<F: Fold, const LANES: usize>(fold: F, mut lanes: [F::Acc; LANES]) -> F::Acc {
    const { assert!(LANES.is_power_of_two() && LANES <= 64) };
    fold_half::<F, 32>(fold, &mut lanes);
    fold_half::<F, 16>(fold, &mut lanes);
    fold_half::<F, 8>(fold, &mut lanes);
    fold_half::<F, 4>(fold, &mut lanes);
    fold_half::<F, 2>(fold, &mut lanes);
    fold_half::<F, 1>(fold, &mut lanes);
    lanes[0]
}

/// Combines the second `HALF` lanes with the first, if there are so many.
#[inline(always)]
fn fold_half<F: Fold, const HALF: usize>(fold: F, lanes: &mut [F::Acc]) {
    if lanes.len() >= 2 * HALF {
        for i in 0..HALF {
            lanes[i] = fold.combine(lanes[i], lanes[i + HALF]);
        }
    }
}
