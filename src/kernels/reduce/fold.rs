//! What a reduction computes, and its loops over typed elements.

use crate::dtype::Element;

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
    unsafe fn run(self, x: *const Self::In, n: usize, first: usize) -> Self::Acc {
        // Four registers of the widest kind; short runs overlap with the next ones.
        // SAFETY: passed on.
        unsafe {
            match (n, size_of::<Self::Acc>()) {
                (64.., ..=4) => in_lanes::<Self, 64>(self, x, n, first),
                (32.., 5..) => in_lanes::<Self, 32>(self, x, n, first),
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
    unsafe fn rows(self, x: *const Self::In, stride: isize, rows: usize, first: usize, acc: &mut [Self::Acc]) {
        // SAFETY: passed on.
        unsafe { fold_rows(self, x, stride, rows, |r| first + r, acc) }
    }
}

/// The loop over rows; the elements of row r have the number `number(r)`.
#[inline(always)]
unsafe fn fold_rows<F: Fold>(
    fold: F,
    x: *const F::In,
    stride: isize,
    rows: usize,
    number: impl Fn(usize) -> usize,
    acc: &mut [F::Acc],
) {
    // SAFETY: the caller answers for these rows and columns.
    let at = |r: usize, i: usize| unsafe { x.byte_offset(r as isize * stride).add(i).read_unaligned() };
    // Four rows for each time an accumulator is loaded and stored.
    let whole = rows - rows % 4;
    for r in (0..whole).step_by(4) {
        for (i, slot) in acc.iter_mut().enumerate() {
            let mut sum = *slot;
            for j in 0..4 {
                sum = fold.step(sum, at(r + j, i), number(r + j));
            }
            *slot = sum;
        }
    }
    for r in whole..rows {
        for (i, slot) in acc.iter_mut().enumerate() {
            *slot = fold.step(*slot, at(r, i), number(r));
        }
    }
}

/// One run as rows of `LANES` elements, which have an accumulator for each column; these are combined pairwise.
#[inline(always)]
unsafe fn in_lanes<F: Fold, const LANES: usize>(fold: F, x: *const F::In, n: usize, first: usize) -> F::Acc {
    let mut lanes = [fold.start(); LANES];
    let whole = n / LANES;
    let number = |r: usize| first + r * LANES;
    // SAFETY: the caller answers for n elements, of which the last row has fewer than the others.
    unsafe {
        fold_rows(fold, x, (LANES * size_of::<F::In>()) as isize, whole, number, &mut lanes);
        fold_rows(fold, x.add(whole * LANES), 0, 1, |_| number(whole), &mut lanes[..n % LANES]);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = fold.combine(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}
