//! Reading and writing at places that a list of offsets names.
//!
//! Places are a nest of three: outer dims, the list, inner dims. The other operand is contiguous in this order.
//! Writers run on one thread: places may repeat, and the last (or the sum, in order) counts.

use smallvec::SmallVec;

use super::map::vectorize_for;
use super::par;
use super::vector::single_element;
use crate::dtype::Element;

/// Elements worth a thread.
const GRAIN: usize = 16 * 1024;

/// Sizes and byte strides of some dims, innermost first; what is evenly spaced is merged.
#[derive(Clone, Default)]
pub struct Nest(SmallVec<[(usize, isize); 5]>);

impl Nest {
    /// Of (size, byte stride) pairs, outermost first.
    pub fn new(dims: impl DoubleEndedIterator<Item = (usize, isize)>) -> Nest {
        let mut merged: SmallVec<[(usize, isize); 5]> = SmallVec::new();
        for (size, stride) in dims.rev().filter(|&(size, _)| size != 1) {
            match merged.last_mut() {
                Some((inner, step)) if stride == *step * *inner as isize => *inner *= size,
                _ => merged.push((size, stride)),
            }
        }
        Nest(merged)
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.0.iter().map(|&(size, _)| size).product()
    }

    /// Byte offset of the element with a given number.
    #[inline(always)]
    fn offset(&self, mut number: usize) -> isize {
        let mut offset = 0;
        for &(size, stride) in &self.0 {
            offset += (number % size) as isize * stride;
            number /= size;
        }
        offset
    }

    /// Length and step of the innermost runs.
    fn run(&self) -> (usize, isize) {
        self.0.first().copied().unwrap_or((1, 0))
    }
}

/// Outer dims, listed byte offsets, inner dims.
pub struct Places<'a> {
    /// Dims around the list.
    pub outer: Nest,
    /// Byte offsets.
    pub list: &'a [isize],
    /// Dims inside.
    pub inner: Nest,
}

impl Places<'_> {
    /// Calls `f` with the number of each run, its offset, its length and its step, for entries `range` of outer times list.
    #[inline(always)]
    fn runs(&self, range: std::ops::Range<usize>, mut f: impl FnMut(usize, isize, usize, isize)) {
        let (length, step) = self.inner.run();
        let runs = self.inner.numel() / length.max(1);
        for number in range {
            let start = self.outer.offset(number / self.list.len()) + self.list[number % self.list.len()];
            if runs == 1 {
                f(number, start, length, step);
            } else {
                for r in 0..runs {
                    f(number * runs + r, start + self.inner.offset(r * length), length, step);
                }
            }
        }
    }

    fn entries(&self) -> usize {
        self.outer.numel() * self.list.len()
    }
}

#[derive(Clone, Copy)]
struct Address(*mut u8);
// SAFETY: the callers of the kernels answer for the memory; parallel readers write disjoint parts.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Address {
    #[inline(always)]
    fn at<T>(self, offset: isize) -> *mut T {
        self.0.wrapping_offset(offset).cast()
    }
}

/// Copies what is at the places into contiguous memory. `T` has the size of an element.
///
/// # Safety
/// `from` must be valid for reads at all places, `to` for writes of as many elements.
pub unsafe fn take<T: Copy>(to: *mut T, from: *const T, places: &Places) {
    if places.entries() * places.inner.numel() == 0 {
        return;
    }
    let (to, from) = (Address(to.cast()), Address(from.cast_mut().cast()));
    let size = size_of::<T>() as isize;
    par::for_ranges(places.entries(), GRAIN / places.inner.numel().max(1) + 1, &|range| {
        if places.inner.numel() == 1 && places.outer.numel() == 1 {
            for i in range {
                // SAFETY: the caller answers for the places.
                unsafe { to.at::<T>(i as isize * size).write(from.at::<T>(places.list[i]).read_unaligned()) }
            }
            return;
        }
        places.runs(range, |number, start, length, step| {
            let target = to.at::<T>((number * length) as isize * size);
            // SAFETY: the caller answers for the places.
            unsafe {
                if step == size {
                    std::ptr::copy_nonoverlapping(from.at::<u8>(start), target.cast(), length * size as usize);
                } else {
                    for i in 0..length {
                        target.add(i).write(from.at::<T>(start + i as isize * step).read_unaligned());
                    }
                }
            }
        });
    });
}

/// Copies contiguous values to the places. `T` has the size of an element.
///
/// # Safety
/// `to` must be valid for writes at all places, `values` for reads of as many elements; they must not overlap.
pub unsafe fn put<T: Copy>(to: *mut T, values: *const T, places: &Places) {
    if places.entries() * places.inner.numel() == 0 {
        return;
    }
    let (to, size) = (Address(to.cast()), size_of::<T>() as isize);
    places.runs(0..places.entries(), |number, start, length, step| {
        // SAFETY: the caller answers for the places and the values.
        unsafe {
            let source = values.add(number * length);
            if step == size && length > 1 {
                std::ptr::copy_nonoverlapping(source.cast(), to.at::<u8>(start), length * size as usize);
            } else {
                for i in 0..length {
                    to.at::<T>(start + i as isize * step).write_unaligned(source.add(i).read());
                }
            }
        }
    });
}

/// Changes what is at each place to `f(old, value)`, the values being contiguous.
///
/// # Safety
/// `to` must be valid for reads and writes at all places, `values` for reads of as many elements; they must not overlap.
pub unsafe fn change<T: Element>(to: *mut T, values: *const T, places: &Places, f: impl Fn(T, T) -> T) {
    if places.entries() * places.inner.numel() == 0 {
        return;
    }
    let to = Address(to.cast());
    vectorize_for::<T, _>(
        #[inline(always)]
        |single| {
            places.runs(0..places.entries(), |number, start, length, step| {
                // SAFETY: the caller answers for the places and the values.
                unsafe {
                    let source = values.add(number * length);
                    if step == size_of::<T>() as isize {
                        let target = to.at::<T>(start);
                        for i in 0..length {
                            single_element(single);
                            target.add(i).write_unaligned(f(target.add(i).read_unaligned(), source.add(i).read()));
                        }
                    } else {
                        for i in 0..length {
                            let target = to.at::<T>(start + i as isize * step);
                            target.write_unaligned(f(target.read_unaligned(), source.add(i).read()));
                        }
                    }
                }
            });
        },
    );
}

/// An index for each element along one dim: positions of `shape`, whose place along `dim` the index replaces.
pub struct Along<'a> {
    /// The shape of the index.
    pub shape: &'a [usize],
    /// The dim.
    pub dim: usize,
    /// Byte strides of the tensor that is indexed.
    pub strides: &'a [isize],
    /// The index, contiguous and within bounds.
    pub index: &'a [i64],
}

impl Along<'_> {
    /// Calls `f` with number and byte offset of each position of rows `range`.
    #[inline(always)]
    fn positions(&self, rows: std::ops::Range<usize>, mut f: impl FnMut(usize, isize)) {
        let rank = self.shape.len();
        let (length, last) = if rank == 0 { (1, 0) } else { (self.shape[rank - 1], rank - 1) };
        let along = self.strides.get(self.dim).copied().unwrap_or(0);
        let step = if rank == 0 || self.dim == last { 0 } else { self.strides[last] };
        for row in rows {
            let (mut rest, mut base) = (row, 0);
            for d in (0..last).rev() {
                if d != self.dim {
                    base += (rest % self.shape[d]) as isize * self.strides[d];
                }
                rest /= self.shape[d];
            }
            for (i, &place) in self.index[row * length..(row + 1) * length].iter().enumerate() {
                f(row * length + i, base + i as isize * step + place as isize * along);
            }
        }
    }

    fn rows(&self) -> usize {
        if self.index.is_empty() { 0 } else { self.shape.split_last().map_or(1, |(_, lead)| lead.iter().product()) }
    }
}

/// Copies what the index names into contiguous memory.
///
/// # Safety
/// `from` must be valid for reads at all positions, `to` for writes of as many elements.
pub unsafe fn take_along<T: Copy>(to: *mut T, from: *const T, along: &Along) {
    let (to, from) = (Address(to.cast()), Address(from.cast_mut().cast()));
    let length = along.shape.last().copied().unwrap_or(1);
    par::for_ranges(along.rows(), GRAIN / length.max(1) + 1, &|rows| {
        along.positions(rows, |number, offset| {
            // SAFETY: the caller answers for the positions.
            unsafe { to.at::<T>((number * size_of::<T>()) as isize).write(from.at::<T>(offset).read_unaligned()) }
        });
    });
}

/// Changes what the index names to `f(old, value)`, the values being contiguous.
///
/// # Safety
/// `to` must be valid for reads and writes at all positions, `values` for reads of as many elements; they must not overlap.
pub unsafe fn put_along<T: Copy>(to: *mut T, values: *const T, along: &Along, f: impl Fn(T, T) -> T) {
    let to = Address(to.cast());
    along.positions(0..along.rows(), |number, offset| {
        let target = to.at::<T>(offset);
        // SAFETY: the caller answers for the positions and the values.
        unsafe { target.write_unaligned(f(target.read_unaligned(), values.add(number).read())) }
    });
}
