//! One pass over the elements of some tensors of equal (broadcast) shape.
//!
//! A kernel is a loop over contiguous runs; everything about strides is here, once, and knows only element sizes.
//! Operands that are not contiguous in the order of the output are gathered into small blocks first (and the output
//! scattered from one), so each loop is compiled once and always vectorises.

use std::mem::MaybeUninit;

use smallvec::SmallVec;

use super::par;
use super::vector::vectorize;
use crate::layout::{Layout, Strides};

/// Elements in a block that a strided operand is gathered into.
pub const BLOCK: usize = 512;
/// Inner runs at least this long are worked on in place, row by row.
const LONG_ROW: usize = 48;
/// Elements below which waking another thread costs more than it brings.
const GRAIN: usize = 32 * 1024;
/// Operands at the most: one output and three inputs.
pub const MAX_ARGS: usize = 4;

/// One operand; its shape broadcasts to the common shape.
#[derive(Clone, Copy)]
pub struct Arg<'a> {
    /// Address of the first element.
    pub start: *mut u8,
    /// Shape and strides, in elements.
    pub layout: &'a Layout,
    /// Whether the elements lie in row-major order without gaps.
    pub contiguous: bool,
    /// Size of an element in bytes.
    pub size: usize,
}

/// A loop over a run: addresses of the operands' first elements (the output's first), and the length.
pub type Loop<'a> = &'a (dyn Fn(&[*mut u8; MAX_ARGS], usize) + Sync);

/// What to do with each run of elements.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The loop for operands with an element for each of the output's.
    pub each: Loop<'a>,
    /// The loop for a last operand with one element for the whole run. Without it, that element is written to a buffer as often
    /// as the run is long.
    pub last_is_number: Option<Loop<'a>>,
}

impl<'a> Run<'a> {
    /// One loop only.
    pub fn new(each: Loop<'a>) -> Run<'a> {
        Run { each, last_is_number: None }
    }
}

/// The dimensions that are left after merging, innermost first.
struct Nest {
    sizes: SmallVec<[usize; 5]>,
    /// `strides[arg][dim]`, in bytes.
    strides: SmallVec<[Strides; MAX_ARGS]>,
    starts: SmallVec<[*mut u8; MAX_ARGS]>,
    elem: SmallVec<[usize; MAX_ARGS]>,
    numel: usize,
}

// SAFETY: the addresses are used by one range each; see `run`.
unsafe impl Sync for Nest {}

/// Runs a loop over all elements; `args[0]` is the output.
///
/// # Safety
/// Every operand must be valid for its strides over `shape`, the output for writes; the output must not overlap an
/// input but where both have the same place for each element, and no two elements of it may share a place.
pub unsafe fn run(shape: &[usize], args: &[Arg<'_>], body: Run<'_>) {
    let numel = shape.iter().product();
    // SAFETY: passed on.
    if numel > 0 && numel <= BLOCK && unsafe { run_at_once(shape, numel, args, body) } {
        return;
    }
    let nest = Nest::new(shape, args);
    if nest.numel == 0 {
        return;
    }
    if nest.numel <= BLOCK {
        // Without the parallel machinery.
        return nest.range(0, nest.numel, body);
    }
    par::for_even_ranges(nest.numel, BLOCK, GRAIN, &|range| nest.range(range.start, range.end, body));
}

/// The same for an output whose elements may share places, on one thread and for one element at a time: those that share a place
/// change it in turn. `order` has the dims, the innermost first.
///
/// # Safety
/// As [`run`], but for the places of the output and what has the same places.
pub unsafe fn run_one_by_one(shape: &[usize], args: &[Arg<'_>], order: &[usize], body: Loop<'_>) {
    let strides: SmallVec<[Strides; MAX_ARGS]> = args.iter().map(|arg| arg.layout.expand_strides(shape)).collect();
    let mut ptrs = [std::ptr::null_mut(); MAX_ARGS];
    for number in 0..shape.iter().product() {
        for ((arg, strides), ptr) in args.iter().zip(&strides).zip(&mut ptrs) {
            let mut rest: usize = number;
            let mut offset = 0;
            for &d in order {
                offset += (rest % shape[d]) as isize * strides[d];
                rest /= shape[d];
            }
            *ptr = arg.start.wrapping_offset(offset * arg.size as isize);
        }
        body(&ptrs, 1);
    }
}

/// The common case of few elements that lie side by side, or one that stands for all, in which everything else here
/// would take longer than the loop itself. Whether it is that case.
///
/// # Safety
/// As [`run`]; `numel` elements fit in a block.
unsafe fn run_at_once(shape: &[usize], numel: usize, args: &[Arg<'_>], run: Run<'_>) -> bool {
    let mut ptrs = [std::ptr::null_mut(); MAX_ARGS];
    let mut buffers = Buffers::new();
    let mut body = run.each;
    for (i, arg) in args.iter().enumerate() {
        if arg.contiguous && arg.layout.shape.as_slice() == shape {
            ptrs[i] = arg.start;
        } else if i + 1 == args.len()
            && let Some(with_number) = run.last_is_number
            && arg.layout.is_one_place()
        {
            (ptrs[i], body) = (arg.start, with_number);
        } else if i > 0 && arg.layout.is_one_place() {
            ptrs[i] = buffers.get(i);
            // SAFETY: the operand has this element, the buffer room for a block.
            unsafe { gather(ptrs[i], arg.start, 0, numel, arg.size) };
        } else {
            return false;
        }
    }
    body(&ptrs, numel);
    true
}

impl Nest {
    fn new(shape: &[usize], args: &[Arg<'_>]) -> Nest {
        let expanded: SmallVec<[Strides; MAX_ARGS]> = args.iter().map(|arg| arg.layout.expand_strides(shape)).collect();
        let mut order: SmallVec<[usize; 5]> = (0..shape.len()).rev().filter(|&d| shape[d] != 1).collect();
        // Walk in the order of the output's memory; ties and broadcast dims keep their order.
        order.sort_by_key(|&d| expanded[0][d].unsigned_abs());
        let mut sizes: SmallVec<[usize; 5]> = SmallVec::new();
        let mut strides: SmallVec<[Strides; MAX_ARGS]> = args.iter().map(|_| Strides::new()).collect();
        for d in order {
            let merges = sizes.last().is_some_and(|&inner| {
                args.iter().zip(&expanded).zip(&strides).all(|((arg, own), done)| {
                    done.last().is_some_and(|&step| own[d] * arg.size as isize == step * inner as isize)
                })
            });
            match (merges, sizes.last_mut()) {
                (true, Some(inner)) => *inner *= shape[d],
                _ => {
                    sizes.push(shape[d]);
                    for ((arg, own), list) in args.iter().zip(&expanded).zip(&mut strides) {
                        list.push(own[d] * arg.size as isize);
                    }
                }
            }
        }
        if sizes.is_empty() {
            sizes.push(1);
            args.iter().zip(&mut strides).for_each(|(arg, list)| list.push(arg.size as isize));
        }
        let numel = shape.iter().product();
        Nest {
            sizes,
            strides,
            starts: args.iter().map(|arg| arg.start).collect(),
            elem: args.iter().map(|arg| arg.size).collect(),
            numel,
        }
    }

    /// The elements `from..to`, in the nest's order.
    fn range(&self, from: usize, to: usize, run: Run<'_>) {
        let flat = self.sizes.len() == 1;
        let last = self.starts.len() - 1;
        let (body, number) = match run.last_is_number {
            Some(body) if self.strides[last][0] == 0 => (body, Some(last)),
            _ => (run.each, None),
        };
        let as_it_is = |arg: usize| self.strides[arg][0] == self.elem[arg] as isize || Some(arg) == number;
        if flat && (0..self.starts.len()).all(as_it_is) {
            let mut ptrs = [std::ptr::null_mut(); MAX_ARGS];
            for (arg, ptr) in ptrs.iter_mut().enumerate().take(self.starts.len()) {
                *ptr = self.starts[arg].wrapping_offset(from as isize * self.strides[arg][0]);
            }
            return body(&ptrs, to - from);
        }
        let in_buffer = |arg: usize| arg > 0 && self.strides[arg][0] == 0 && self.sizes[0] <= BLOCK;
        let short = self.sizes[0] < LONG_ROW;
        if !flat && !short && (0..self.starts.len()).all(|arg| as_it_is(arg) || in_buffer(arg)) {
            self.whole_rows(from, to, number, body)
        } else if flat || !short {
            self.rows(from, to, run.each)
        } else {
            self.blocks(from, to, run.each)
        }
    }

    /// Row by row, in more dims than one, where along a row each operand has unit stride or is one number. Numbers but
    /// the one that the loop takes as such are written to a buffer, which a row fits.
    fn whole_rows(&self, from: usize, to: usize, number: Option<usize>, body: Loop<'_>) {
        let row = self.sizes[0];
        let steps: [isize; MAX_ARGS] = std::array::from_fn(|arg| self.strides.get(arg).map_or(0, |strides| strides[1]));
        let is_number = |&arg: &usize| self.strides[arg][0] == 0 && Some(arg) != number;
        let numbers: SmallVec<[(usize, usize); MAX_ARGS]> =
            (1..self.starts.len()).filter(is_number).map(|arg| (arg, self.elem[arg])).collect();
        let mut buffers = Buffers::new();
        // What a buffer is filled with.
        let mut spread = [std::ptr::null_mut(); MAX_ARGS];
        let mut run = |mut ptrs: [*mut u8; MAX_ARGS], length: usize| {
            for &(arg, size) in &numbers {
                if spread[arg] != ptrs[arg] {
                    // SAFETY: the operand has this element, and the buffer room for a row.
                    unsafe { gather(buffers.get(arg), ptrs[arg], 0, row, size) };
                    spread[arg] = ptrs[arg];
                }
                ptrs[arg] = buffers.get(arg);
            }
            body(&ptrs, length);
        };
        let mut at = from;
        while at < to {
            let mut ptrs = self.addresses(at);
            if !at.is_multiple_of(row) || to - at < row {
                let length = (row - at % row).min(to - at);
                run(ptrs, length);
                at += length;
                continue;
            }
            // Whole rows, as far as a step leads from each to the next.
            let rows = (self.sizes[1] - at / row % self.sizes[1]).min((to - at) / row);
            for _ in 0..rows {
                run(ptrs, row);
                ptrs.iter_mut().zip(&steps).for_each(|(ptr, &step)| *ptr = ptr.wrapping_offset(step));
            }
            at += rows * row;
        }
    }

    /// Row by row: operands with unit inner stride are used in place.
    fn rows(&self, from: usize, to: usize, body: Loop<'_>) {
        let row = self.sizes[0];
        let widest = self.elem.iter().copied().max().unwrap_or(1);
        let mut buffers = Buffers::new();
        let mut at = from;
        let mut starts = self.addresses(from - from % row);
        // What a broadcast operand's buffer is filled with, so that a number is spread only once.
        let mut spread: [(*mut u8, usize); MAX_ARGS] = [(std::ptr::null_mut(), 0); MAX_ARGS];
        while at < to {
            let column = at % row;
            let length = (row - column).min(to - at);
            if at > from {
                self.next_row(&mut starts, at / row);
            }
            let direct = (0..self.starts.len()).all(|arg| self.strides[arg][0] == self.elem[arg] as isize);
            let step = if direct { length } else { length.min(size_of::<Block>() / widest) };
            let mut done = 0;
            while done < length {
                let count = step.min(length - done);
                let mut ptrs = [std::ptr::null_mut(); MAX_ARGS];
                for arg in 0..self.starts.len() {
                    let (stride, size) = (self.strides[arg][0], self.elem[arg]);
                    let first = starts[arg].wrapping_offset((column + done) as isize * stride);
                    ptrs[arg] = if stride == size as isize {
                        first
                    } else {
                        let buffer = buffers.get(arg);
                        if arg > 0 && !(stride == 0 && spread[arg].0 == first && spread[arg].1 >= count) {
                            // SAFETY: the operand is valid for these elements, and the buffer has room for them.
                            unsafe { gather(buffer, first, stride, count, size) };
                            spread[arg] = if stride == 0 { (first, count) } else { (std::ptr::null_mut(), 0) };
                        }
                        buffer
                    };
                }
                body(&ptrs, count);
                if ptrs[0] == buffers.get(0) {
                    let first = starts[0].wrapping_offset((column + done) as isize * self.strides[0][0]);
                    // SAFETY: as above; the output is valid for writes.
                    unsafe { scatter(first, self.strides[0][0], buffers.get(0), count, self.elem[0]) };
                }
                done += count;
            }
            at += length;
        }
    }

    /// Block by block across short rows.
    fn blocks(&self, from: usize, to: usize, body: Loop<'_>) {
        let mut buffers = Buffers::new();
        let widest = self.elem.iter().copied().max().unwrap_or(1);
        let most = size_of::<Block>() / widest;
        let mut at = from;
        while at < to {
            let count = most.min(to - at);
            let mut ptrs = [std::ptr::null_mut(); MAX_ARGS];
            for (arg, ptr) in ptrs.iter_mut().enumerate().take(self.starts.len()) {
                *ptr = if self.is_flat(arg) {
                    self.starts[arg].wrapping_add(at * self.elem[arg])
                } else {
                    let buffer = buffers.get(arg);
                    if arg > 0 {
                        self.each_row_piece(arg, at, count, |first, stride, offset, n| {
                            // SAFETY: the operand is valid for these elements; the buffer has room for them.
                            unsafe { gather(buffer.add(offset * self.elem[arg]), first, stride, n, self.elem[arg]) }
                        });
                    }
                    buffer
                };
            }
            body(&ptrs, count);
            if !self.is_flat(0) {
                let buffer = buffers.get(0);
                self.each_row_piece(0, at, count, |first, stride, offset, n| {
                    // SAFETY: as above; the output is valid for writes.
                    unsafe { scatter(first, stride, buffer.add(offset * self.elem[0]), n, self.elem[0]) }
                });
            }
            at += count;
        }
    }

    /// Whether an operand's elements follow each other in memory in the nest's order.
    fn is_flat(&self, arg: usize) -> bool {
        let mut step = self.elem[arg] as isize;
        self.sizes.iter().zip(&self.strides[arg]).all(|(&size, &stride)| {
            let fits = stride == step;
            step *= size as isize;
            fits
        })
    }

    /// The operands' addresses of the element with a given number.
    fn addresses(&self, number: usize) -> [*mut u8; MAX_ARGS] {
        let mut out = [std::ptr::null_mut(); MAX_ARGS];
        for (arg, ptr) in out.iter_mut().enumerate().take(self.starts.len()) {
            *ptr = self.address(arg, number);
        }
        out
    }

    /// Moves the operands' addresses from the start of the row before `row` to its own.
    fn next_row(&self, starts: &mut [*mut u8; MAX_ARGS], row: usize) {
        if self.sizes.len() > 2 && row.is_multiple_of(self.sizes[1]) {
            *starts = self.addresses(row * self.sizes[0]);
            return;
        }
        for (start, strides) in starts.iter_mut().zip(&self.strides) {
            *start = start.wrapping_offset(strides.get(1).copied().unwrap_or(0));
        }
    }

    fn address(&self, arg: usize, number: usize) -> *mut u8 {
        let (mut rest, mut ptr) = (number, self.starts[arg]);
        for (&size, &stride) in self.sizes.iter().zip(&self.strides[arg]) {
            ptr = ptr.wrapping_offset((rest % size) as isize * stride);
            rest /= size;
        }
        ptr
    }

    /// Cuts elements `at..at + count` of an operand into pieces of rows: address, stride, offset in the block, length.
    fn each_row_piece(&self, arg: usize, at: usize, count: usize, mut piece: impl FnMut(*mut u8, isize, usize, usize)) {
        let row = self.sizes[0];
        let stride = self.strides[arg][0];
        let column = at % row;
        let mut index: SmallVec<[usize; 5]> = SmallVec::new();
        let mut rest = at / row;
        for &size in &self.sizes[1..] {
            index.push(rest % size);
            rest /= size;
        }
        let mut base = self.address(arg, at - column);
        let mut done = 0;
        let mut first = column;
        while done < count {
            let n = (row - first).min(count - done);
            piece(base.wrapping_offset(first as isize * stride), stride, done, n);
            done += n;
            first = 0;
            for (d, place) in index.iter_mut().enumerate() {
                let (size, step) = (self.sizes[d + 1], self.strides[arg][d + 1]);
                *place += 1;
                base = base.wrapping_offset(step);
                if *place < size {
                    break;
                }
                *place = 0;
                base = base.wrapping_offset(-step * size as isize);
            }
        }
    }
}

/// `BLOCK` elements of the largest size.
type Block = [u128; BLOCK];

/// One aligned block per operand, on the stack.
#[repr(align(64))]
struct Buffers([MaybeUninit<Block>; MAX_ARGS]);

impl Buffers {
    #[allow(clippy::large_stack_frames)]
    fn new() -> Buffers {
        Buffers([const { MaybeUninit::uninit() }; MAX_ARGS])
    }

    fn get(&mut self, arg: usize) -> *mut u8 {
        self.0[arg].as_mut_ptr().cast()
    }
}

/// Copies `n` elements of `size` bytes from a strided place to a contiguous one.
///
/// # Safety
/// Both must be valid for these elements.
pub unsafe fn gather(to: *mut u8, from: *const u8, stride: isize, n: usize, size: usize) {
    // SAFETY: the caller answers for both places; element types have no alignment beyond their size.
    unsafe {
        match size {
            1 => strided_copy::<u8>(to.cast(), 1, from.cast(), stride, n),
            2 => strided_copy::<u16>(to.cast(), 2, from.cast(), stride, n),
            4 => strided_copy::<u32>(to.cast(), 4, from.cast(), stride, n),
            8 => strided_copy::<u64>(to.cast(), 8, from.cast(), stride, n),
            _ => strided_copy::<u128>(to.cast(), 16, from.cast(), stride, n),
        }
    }
}

/// Copies `n` elements of `size` bytes from a contiguous place to a strided one.
unsafe fn scatter(to: *mut u8, stride: isize, from: *const u8, n: usize, size: usize) {
    // SAFETY: as in `gather`.
    unsafe {
        match size {
            1 => strided_copy::<u8>(to.cast(), stride, from.cast(), 1, n),
            2 => strided_copy::<u16>(to.cast(), stride, from.cast(), 2, n),
            4 => strided_copy::<u32>(to.cast(), stride, from.cast(), 4, n),
            8 => strided_copy::<u64>(to.cast(), stride, from.cast(), 8, n),
            _ => strided_copy::<u128>(to.cast(), stride, from.cast(), 16, n),
        }
    }
}

/// The loop of both; strides in bytes. Memory lent by others may be unaligned.
#[inline(always)]
unsafe fn strided_copy<W: Copy>(to: *mut W, to_stride: isize, from: *const W, from_stride: isize, n: usize) {
    if from_stride == 0 && to_stride == size_of::<W>() as isize && n > 0 {
        // SAFETY: as below.
        let value = unsafe { from.read_unaligned() };
        return vectorize(
            #[inline(always)]
            // SAFETY: as below.
            move || (0..n).for_each(|i| unsafe { to.add(i).write_unaligned(value) }),
        );
    }
    for i in 0..n as isize {
        // SAFETY: the caller answers for `n` elements at both places.
        unsafe { to.byte_offset(i * to_stride).write_unaligned(from.byte_offset(i * from_stride).read_unaligned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer with room around it, and a view on it.
    struct Operand {
        memory: Vec<i32>,
        layout: Layout,
    }

    impl Operand {
        fn new(strides: &[isize], shape: &[usize], first: i32) -> Operand {
            let reach: isize = strides.iter().zip(shape).map(|(&s, &n)| s * (n.max(1) as isize - 1)).sum();
            Operand {
                memory: (0..=reach as i32).map(|i| first + i).collect(),
                layout: Layout { shape: shape.into(), strides: strides.into(), offset: 0 },
            }
        }

        fn arg(&mut self) -> Arg<'_> {
            Arg { start: self.memory.as_mut_ptr().cast(), layout: &self.layout, contiguous: self.layout.is_contiguous(), size: 4 }
        }

        fn place(&self, index: &[usize]) -> usize {
            index.iter().zip(&self.layout.strides).map(|(&i, &s)| i as isize * s).sum::<isize>() as usize
        }
    }

    fn each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
        let numel: usize = shape.iter().product();
        let mut index = vec![0; shape.len()];
        for number in 0..numel {
            let mut rest = number;
            for d in (0..shape.len()).rev() {
                index[d] = rest % shape[d];
                rest /= shape[d];
            }
            visit(&index);
        }
    }

    /// y = 3 a - b against plain indexing.
    fn check(shape: &[usize], strides: [&[isize]; 3]) {
        let [mut y, mut a, mut b] = strides.map(|s| Operand::new(s, shape, s.len() as i32));
        let untouched = y.memory.clone();
        let body = |p: &[*mut u8; MAX_ARGS], n: usize| {
            let (y, a, b): (*mut i32, *const i32, *const i32) = (p[0].cast(), p[1].cast(), p[2].cast());
            for i in 0..n {
                // SAFETY: n elements each.
                unsafe { *y.add(i) = 3 * *a.add(i) - *b.add(i) };
            }
        };
        let with_number = |p: &[*mut u8; MAX_ARGS], n: usize| {
            let (y, a, b): (*mut i32, *const i32, *const i32) = (p[0].cast(), p[1].cast(), p[2].cast());
            for i in 0..n {
                // SAFETY: n elements each, but one of b.
                unsafe { *y.add(i) = 3 * *a.add(i) - *b };
            }
        };
        for last_is_number in [None, Some(&with_number as Loop<'_>)] {
            y.memory.copy_from_slice(&untouched);
            let args = [y.arg(), a.arg(), b.arg()];
            // SAFETY: each operand was made for its strides; only y is written, by no two indices at one place.
            unsafe { run(shape, &args, Run { each: &body, last_is_number }) };
            let mut expected = untouched.clone();
            each_index(shape, |index| expected[y.place(index)] = 3 * a.memory[a.place(index)] - b.memory[b.place(index)]);
            assert_eq!(y.memory, expected, "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn every_path_agrees_with_plain_indexing() {
        check(&[], [&[], &[], &[]]);
        check(&[7], [&[1], &[1], &[0]]);
        check(&[0, 3], [&[3, 1], &[3, 1], &[3, 1]]);
        check(&[1000], [&[2], &[3], &[1]]);
        check(&[5, 100], [&[100, 1], &[1, 5], &[0, 1]]);
        check(&[5, 100], [&[1, 5], &[100, 1], &[1, 0]]);
        check(&[300, 3], [&[4, 1], &[3, 1], &[1, 300]]);
        check(&[9, 7, 11], [&[77, 11, 1], &[1, 9, 63], &[0, 1, 7]]);
        check(&[9, 7, 11], [&[1, 9, 63], &[77, 11, 1], &[0, 0, 2]]);
        check(&[2, 1, 70], [&[70, 70, 1], &[140, 5, 2], &[1, 9, 0]]);
        check(&[40, 50, 60], [&[3000, 60, 1], &[60, 2400, 1], &[0, 1, 50]]);
        check(&[5, 7, 60], [&[420, 60, 1], &[60, 300, 1], &[0, 1, 0]]);
        check(&[5, 7, 60], [&[450, 64, 1], &[60, 300, 1], &[0, 0, 1]]);
    }

    #[test]
    fn loops_above_the_grain_run_in_parallel_and_agree() {
        check(&[3, GRAIN], [&[GRAIN as isize, 1], &[GRAIN as isize, 1], &[0, 1]]);
        check(&[GRAIN, 3], [&[3, 1], &[1, GRAIN as isize], &[3, 1]]);
        check(&[2 * GRAIN + 5], [&[2], &[1], &[0]]);
        check(&[2 * GRAIN + 5], [&[1], &[1], &[0]]);
        check(&[GRAIN / 10, 33, 70], [&[2310, 70, 1], &[2310, 70, 1], &[33, 1, 0]]);
        check(&[33, 41, 99], [&[4059, 99, 1], &[4059, 99, 1], &[41, 1, 0]]);
        check(&[33, 41, 99], [&[4059, 99, 1], &[4059, 99, 1], &[99, 0, 1]]);
    }
}
