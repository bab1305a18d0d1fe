//! Folds with their types hidden, so that what walks over memory is compiled once for all of them.

use std::mem::MaybeUninit;

use super::fold::{Fold, Hints};
use super::nest::Runs;
use crate::kernels::map::vectorize_for;

/// A [`Fold`] over raw memory. Partial results lie side by side, `size` bytes each.
pub trait Erased: Sync {
    /// Bytes of an element.
    fn unit(&self) -> isize;
    /// Bytes of a partial result.
    fn size(&self) -> usize;
    /// [`Fold::ORDERED`].
    fn ordered(&self) -> bool;
    /// [`Fold::LONGEST`].
    fn longest(&self) -> usize;

    /// Writes the result for no elements `n` times.
    ///
    /// # Safety
    /// `acc` must be valid for writes of `n` partial results.
    unsafe fn start(&self, acc: *mut u8, n: usize);

    /// Folds each run, of neighbours, into a partial result of its own, or with `joined` all into one, in their order.
    ///
    /// # Safety
    /// `x` must be valid for reads at these places, `acc` for writes of the results.
    unsafe fn runs(&self, x: *const u8, runs: Runs, joined: bool, acc: *mut u8);

    /// Folds rows, one a run, `stride` bytes apart, each of `width` neighbours, into as many partial results.
    ///
    /// # Safety
    /// `x` must be valid for reads of all rows, and `acc` hold `width` partial results, at most [`STRIP`](super::STRIP).
    unsafe fn rows(&self, x: *const u8, rows: Runs, acc: *mut u8, width: usize);

    /// Joins each of `n` partial results at `b` to its fellow at `a`.
    ///
    /// # Safety
    /// Both must hold `n` partial results, and not overlap.
    unsafe fn combine(&self, a: *mut u8, b: *const u8, n: usize);
}

impl<F: Fold> Erased for F {
    fn unit(&self) -> isize {
        size_of::<F::In>() as isize
    }

    fn size(&self) -> usize {
        const { assert!(size_of::<F::Acc>() <= size_of::<Slot>() && align_of::<F::Acc>() <= align_of::<Slot>()) };
        size_of::<F::Acc>()
    }

    fn ordered(&self) -> bool {
        F::ORDERED
    }

    fn longest(&self) -> usize {
        F::LONGEST
    }

    unsafe fn start(&self, acc: *mut u8, n: usize) {
        // SAFETY: the caller answers for `n` places.
        (0..n).for_each(|i| unsafe { acc.cast::<F::Acc>().add(i).write(Fold::start(*self)) })
    }

    unsafe fn runs(&self, x: *const u8, runs: Runs, joined: bool, acc: *mut u8) {
        if let Some(registers) = F::REGISTERS {
            // SAFETY: passed on.
            return unsafe { registers.runs(x, runs, joined, acc) };
        }
        let (fold, acc) = (*self, acc.cast::<F::Acc>());
        vectorize_for::<F::In, _>(
            #[inline(always)]
            move |single| {
                let hints = Hints { far: runs.far, single };
                for i in 0..runs.count {
                    let x: *const F::In = x.wrapping_offset(i as isize * runs.step).cast();
                    let first = if joined { runs.first + i * runs.n } else { runs.first };
                    // SAFETY: the caller answers for the places.
                    unsafe {
                        let part = fold.run(x, runs.n, first, hints);
                        match (joined, i) {
                            (false, _) => acc.add(i).write(part),
                            (true, 0) => acc.write(part),
                            (true, _) => acc.write(Fold::combine(fold, acc.read(), part)),
                        }
                    }
                }
            },
        )
    }

    unsafe fn rows(&self, x: *const u8, rows: Runs, acc: *mut u8, width: usize) {
        let fold = *self;
        vectorize_for::<F::In, _>(
            #[inline(always)]
            move |single| {
                // SAFETY: the caller answers for the places.
                unsafe {
                    let acc = std::slice::from_raw_parts_mut(acc.cast::<F::Acc>(), width);
                    Fold::rows(fold, x.cast(), rows.stride, rows.n, rows.first, acc, Hints { far: false, single })
                }
            },
        )
    }

    unsafe fn combine(&self, a: *mut u8, b: *const u8, n: usize) {
        let (fold, a, b) = (*self, a.cast::<F::Acc>(), b.cast::<F::Acc>());
        vectorize_for::<F::In, _>(
            #[inline(always)]
            move |_| {
                // SAFETY: the caller answers for `n` places of both.
                (0..n).for_each(
                    #[inline(always)]
                    |i| unsafe { *a.add(i) = Fold::combine(fold, *a.add(i), *b.add(i)) },
                )
            },
        )
    }
}

/// Room for the largest partial result there is.
type Slot = [u64; 3];

/// Room for partial results on the stack.
pub struct Room<const N: usize>(MaybeUninit<[Slot; N]>);

impl<const N: usize> Room<N> {
    /// Uninitialized.
    pub fn new() -> Self {
        Room(MaybeUninit::uninit())
    }

    /// The address of the first partial result.
    pub fn start(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

/// Partial results on the heap, for threads to write to.
pub struct Results {
    /// Keeps the memory, with room for whole slots.
    _memory: Vec<MaybeUninit<u64>>,
    start: *mut u8,
    size: usize,
}

// SAFETY: each thread writes to places of its own.
unsafe impl Sync for Results {}

impl Results {
    /// `n` results, those for no elements.
    pub fn new(fold: &dyn Erased, n: usize) -> Results {
        let size = fold.size();
        let mut memory = vec![MaybeUninit::uninit(); (n * size).div_ceil(size_of::<u64>())];
        let start = memory.as_mut_ptr().cast();
        // SAFETY: just made with room for `n`.
        unsafe { fold.start(start, n) };
        Results { _memory: memory, start, size }
    }

    /// The address of a result.
    pub fn at(&self, i: usize) -> *mut u8 {
        self.start.wrapping_add(i * self.size)
    }
}
