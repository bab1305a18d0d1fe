//! What a reduction computes, and its loops over typed elements.

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
    /// `x` must be valid for reads of all rows. There are at most [`STRIP`](super::STRIP) accumulators and `ROWS` rows.
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
