//! Reductions over any dims: fixed-size blocks, summed pairwise, so that the bits do not depend on the threads.
//!
//! The kept and the reduced dims of the input are two nests of loops; every output element is folded over the
//! reduced nest. The reduced nest is cut into leaves of [`LEAF`] elements, whose results are combined as a binary
//! tree (the error of a sum grows with the logarithm of its length: Higham 1993, "The accuracy of floating point
//! summation"). Inside a leaf, [`LANES`] accumulators run side by side.

use smallvec::SmallVec;

use super::par;
use super::vector::vectorize;

/// Elements folded one after the other (in lanes) before results are combined pairwise.
const LEAF: usize = 1024;
/// Accumulators in a leaf.
const LANES: usize = 32;
/// Elements of input that are worth a thread.
const GRAIN: usize = 32 * 1024;

/// How values are folded: a start, a step that takes in one element, and a combination of two partial results.
/// `combine` must be associative but for rounding, with `start` as its neutral element.
pub trait Fold: Copy + Sync {
    /// Type of an element.
    type In: Copy + Send + Sync;
    /// Type of a partial result.
    type Acc: Copy + Send + Sync;
    /// The result for no elements.
    fn start(self) -> Self::Acc;
    /// Takes in one element.
    fn step(self, acc: Self::Acc, value: Self::In) -> Self::Acc;
    /// Joins two partial results.
    fn combine(self, a: Self::Acc, b: Self::Acc) -> Self::Acc;
}

/// Sizes and byte strides of some dims, innermost first.
#[derive(Clone, Default)]
pub struct Dims(SmallVec<[(usize, isize); 5]>);

impl Dims {
    /// Of (size, byte stride) pairs in any order; merges what is evenly spaced.
    /// With `sorted`, the smallest stride comes innermost; otherwise the order given (outermost first) is kept.
    pub fn new(dims: impl IntoIterator<Item = (usize, isize)>, sorted: bool) -> Dims {
        let mut list: SmallVec<[(usize, isize); 5]> = dims.into_iter().filter(|&(size, _)| size != 1).collect();
        list.reverse();
        if sorted {
            list.sort_by_key(|&(_, stride)| stride.unsigned_abs());
        }
        let mut merged: SmallVec<[(usize, isize); 5]> = SmallVec::new();
        for (size, stride) in list {
            match merged.last_mut() {
                Some((inner, step)) if stride == *step * *inner as isize => *inner *= size,
                _ => merged.push((size, stride)),
            }
        }
        Dims(merged)
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.0.iter().map(|&(size, _)| size).product()
    }

    /// Byte offset of the element with a given number.
    pub fn offset(&self, mut number: usize) -> isize {
        let mut offset = 0;
        for &(size, stride) in &self.0 {
            offset += (number % size) as isize * stride;
            number /= size;
        }
        offset
    }
}

/// Folds the reduced dims for every element of the kept dims: `put(i, result)` for the i-th output in the kept
/// dims' order (their last dim fastest).
///
/// # Safety
/// `x` must be valid for reads at every combination of offsets; `put` must be callable from several threads for
/// different `i`.
pub unsafe fn reduce<F: Fold>(x: *const F::In, kept: &Dims, reduced: &Dims, fold: F, put: impl Fn(usize, F::Acc) + Sync) {
    let (outputs, length) = (kept.numel(), reduced.numel());
    let x = Address(x);
    if outputs == 0 {
        return;
    }
    let vertical = reduced.0.first().is_some_and(|&(_, stride)| stride != size_of::<F::In>() as isize)
        && kept.0.first().is_some_and(|&(size, stride)| stride == size_of::<F::In>() as isize && size >= 8);
    if vertical {
        // SAFETY: passed on.
        return unsafe { columns(x, kept, reduced, fold, &put) };
    }
    if outputs == 1 {
        // SAFETY: passed on.
        put(0, unsafe { tree(x, reduced, fold) });
        return;
    }
    par::for_ranges(outputs, (GRAIN / length.max(1)).max(1), &|range| {
        for i in range {
            let start = Address(x.get().wrapping_byte_offset(kept.offset(i)));
            // SAFETY: passed on.
            put(i, unsafe { piece(start, reduced, 0, length, fold) });
        }
    });
}

#[derive(Clone, Copy)]
struct Address<T>(*const T);
// SAFETY: read-only addresses of memory that outlives the parallel loop.
unsafe impl<T> Send for Address<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Address<T> {}

impl<T> Address<T> {
    fn get(self) -> *const T {
        self.0
    }
}

/// One long fold, its leaves in parallel, combined in a fixed tree.
unsafe fn tree<F: Fold>(x: Address<F::In>, reduced: &Dims, fold: F) -> F::Acc {
    let length = reduced.numel();
    let chunk = GRAIN;
    if length <= chunk {
        // SAFETY: passed on.
        return unsafe { piece(x, reduced, 0, length, fold) };
    }
    let chunks = length.div_ceil(chunk);
    let mut partial = vec![fold.start(); chunks];
    let slots = Slots(partial.as_mut_ptr());
    par::for_ranges(chunks, 1, &|range| {
        for c in range {
            // SAFETY: passed on; each chunk has its own slot.
            unsafe { *slots.get().add(c) = piece(x, reduced, c * chunk, length.min((c + 1) * chunk), fold) };
        }
    });
    pairwise(&partial, fold)
}

struct Slots<T>(*mut T);
// SAFETY: each thread writes slots of its own.
unsafe impl<T> Sync for Slots<T> {}

impl<T> Slots<T> {
    fn get(&self) -> *mut T {
        self.0
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

/// Elements `from..to` of one fold, halved down to leaves.
unsafe fn piece<F: Fold>(x: Address<F::In>, reduced: &Dims, from: usize, to: usize, fold: F) -> F::Acc {
    let length = to - from;
    if length <= LEAF {
        // SAFETY: passed on.
        return unsafe { leaf(x, reduced, from, to, fold) };
    }
    let half = (length / 2).next_multiple_of(LEAF).min(length - 1);
    // SAFETY: passed on.
    unsafe { fold.combine(piece(x, reduced, from, from + half, fold), piece(x, reduced, from + half, to, fold)) }
}

unsafe fn leaf<F: Fold>(x: Address<F::In>, reduced: &Dims, from: usize, to: usize, fold: F) -> F::Acc {
    let Some(&(row, stride)) = reduced.0.first() else {
        // SAFETY: a 0-d reduction reads the one element.
        return if from < to { fold.step(fold.start(), unsafe { x.get().read_unaligned() }) } else { fold.start() };
    };
    let mut acc = fold.start();
    let mut at = from;
    while at < to {
        let n = (row - at % row).min(to - at);
        let start = x.get().wrapping_byte_offset(reduced.offset(at));
        // SAFETY: the elements of this row are valid for reads.
        let part = unsafe {
            if stride == size_of::<F::In>() as isize {
                vectorize(|| run(start, size_of::<F::In>() as isize, n, fold))
            } else {
                run(start, stride, n, fold)
            }
        };
        acc = if at == from { part } else { fold.combine(acc, part) };
        at += n;
    }
    acc
}

/// One evenly spaced run in lanes.
#[inline(always)]
unsafe fn run<F: Fold>(x: *const F::In, stride: isize, n: usize, fold: F) -> F::Acc {
    // SAFETY: the caller answers for n elements.
    let at = |i: usize| unsafe { x.byte_offset(i as isize * stride).read_unaligned() };
    let mut acc = fold.start();
    let whole = n - n % LANES;
    if whole > 0 {
        let mut lanes = [fold.start(); LANES];
        let mut i = 0;
        while i < whole {
            for (lane, slot) in lanes.iter_mut().enumerate() {
                *slot = fold.step(*slot, at(i + lane));
            }
            i += LANES;
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
        acc = fold.step(acc, at(i));
    }
    acc
}

/// The kept dim is the contiguous one: whole rows are folded into rows of accumulators.
unsafe fn columns<F: Fold>(x: Address<F::In>, kept: &Dims, reduced: &Dims, fold: F, put: &(impl Fn(usize, F::Acc) + Sync)) {
    const STRIP: usize = 64;
    let (row, _) = kept.0[0];
    let (outputs, length) = (kept.numel(), reduced.numel());
    let strips_per_row = row.div_ceil(STRIP);
    let strips = outputs / row * strips_per_row;
    par::for_ranges(strips, (GRAIN / (length * STRIP).max(1)).max(1), &|range| {
        for strip in range {
            let (outer, column) = (strip / strips_per_row, strip % strips_per_row * STRIP);
            let first = outer * row + column;
            let width = STRIP.min(row - column);
            let start = Address(x.get().wrapping_byte_offset(kept.offset(first)));
            let mut acc = [fold.start(); STRIP];
            // SAFETY: passed on.
            unsafe { strip_piece(start, width, reduced, 0, length, fold, &mut acc) };
            for (i, &value) in acc.iter().enumerate().take(width) {
                put(first + i, value);
            }
        }
    });
}

/// Rows `from..to` of a strip of columns, halved down to leaves of rows.
unsafe fn strip_piece<F: Fold>(
    x: Address<F::In>,
    width: usize,
    reduced: &Dims,
    from: usize,
    to: usize,
    fold: F,
    acc: &mut [F::Acc; 64],
) {
    const ROWS: usize = 128;
    if to - from > ROWS {
        let half = ((to - from) / 2).next_multiple_of(ROWS).min(to - from - 1);
        let mut other = [fold.start(); 64];
        // SAFETY: passed on.
        unsafe {
            strip_piece(x, width, reduced, from, from + half, fold, acc);
            strip_piece(x, width, reduced, from + half, to, fold, &mut other);
        }
        for (a, b) in acc.iter_mut().zip(other) {
            *a = fold.combine(*a, b);
        }
        return;
    }
    vectorize(|| {
        for r in from..to {
            let row = x.get().wrapping_byte_offset(reduced.offset(r));
            if width == 64 {
                for (i, slot) in acc.iter_mut().enumerate() {
                    // SAFETY: passed on.
                    *slot = fold.step(*slot, unsafe { row.add(i).read_unaligned() });
                }
            } else {
                for (i, slot) in acc.iter_mut().enumerate().take(width) {
                    // SAFETY: passed on.
                    *slot = fold.step(*slot, unsafe { row.add(i).read_unaligned() });
                }
            }
        }
    });
}
