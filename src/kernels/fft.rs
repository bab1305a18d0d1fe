//! Discrete Fourier transforms along one dim of strided memory, computed by `rustfft` in double precision, so that its code is
//! compiled for one type.
//!
//! Some lines are read into a buffer, transformed there, and written: so a dim may lie in memory in any way.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use num_complex::Complex;
use rustfft::algorithm::butterflies::{Butterfly3, Butterfly5, Butterfly7};
use rustfft::algorithm::{BluesteinsAlgorithm, Dft, MixedRadix, Radix4};
use rustfft::{Fft, FftDirection};
use smallvec::SmallVec;

use super::par;
use crate::dtype::Element;

type C = Complex<f64>;

/// Elements whose transform is worth a thread, and of lines that are worked on together.
const BLOCK: usize = 4096;
/// Lines together at least if their elements do not lie side by side, but perhaps those of different lines do.
const NEIGHBOURS: usize = 4;
/// Lines longer than this are worked on one by one, so that buffers stay smaller than what they are for.
const FAR: usize = 1 << 16;
/// Plans that are kept, at most.
const KEPT: usize = 32;
/// Elements that these are for, together, at most.
const KEPT_ELEMENTS: usize = 1 << 22;

/// A transform of all lines along one dim.
pub struct Pass {
    /// The length of the transform.
    pub n: usize,
    /// Whether the exponent has a minus.
    pub forward: bool,
    /// What results are multiplied with.
    pub scale: f64,
    /// What is known of the numbers.
    pub symmetry: Symmetry,
    /// The other dims, the last one changing fastest from line to line.
    pub beside: SmallVec<[Beside; 5]>,
}

/// What is known of the numbers of a transform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Symmetry {
    /// Nothing.
    None,
    /// They are real before it: then `y[n - k]` is the conjugate of `y[k]`.
    RealBefore,
    /// They are real after it: only `x[k]` for k up to n / 2 are read, and their counterparts follow.
    RealAfter,
}

/// A dim beside the transformed one: its size, and from one place to the next in both memories.
pub struct Beside {
    /// Its size.
    pub size: usize,
    /// Where is read from.
    pub from: isize,
    /// Where is written to.
    pub to: isize,
}

/// A line in memory: its first element, from each to the next, and how many there are.
#[derive(Clone, Copy)]
pub struct Line<T> {
    /// The first element of the first line.
    pub start: *mut T,
    /// From an element to the next one.
    pub step: isize,
    /// The number of elements.
    pub len: usize,
}

// SAFETY: whoever calls `run` answers for the memory; each thread has lines of its own.
unsafe impl<T> Sync for Line<T> {}

/// Makes a plan of the few algorithms that it takes for all lengths. The crate's own planner is up to twice as fast for products of
/// other small primes than 2, but links all there are: 340 KB instead of 95.
fn new_plan(n: usize, direction: FftDirection) -> Arc<dyn Fft<f64>> {
    if n.is_power_of_two() {
        return Arc::new(Radix4::new(n, direction));
    }
    let powers_of_two = 1 << n.trailing_zeros();
    let smallest = if powers_of_two > 1 { powers_of_two } else { smallest_factor(n) };
    match n {
        3 => Arc::new(Butterfly3::new(direction)),
        5 => Arc::new(Butterfly5::new(direction)),
        7 => Arc::new(Butterfly7::new(direction)),
        _ if smallest < n => Arc::new(MixedRadix::new(new_plan(smallest, direction), new_plan(n / smallest, direction))),
        _ if n < 32 => Arc::new(Dft::new(n, direction)),
        _ => Arc::new(BluesteinsAlgorithm::new(n, new_plan((2 * n).next_power_of_two(), direction))),
    }
}

/// The smallest prime factor of an odd number above 1.
fn smallest_factor(n: usize) -> usize {
    (3..).step_by(2).take_while(|p| p * p <= n).find(|p| n.is_multiple_of(*p)).unwrap_or(n)
}

/// How lines of length `n` are transformed.
struct Plan {
    n: usize,
    fft: Arc<dyn Fft<f64>>,
    /// exp(-2πi k / n) for k up to n / 4, if `fft` is for half as many complex numbers as there are real ones.
    roots: Vec<C>,
}

impl Plan {
    fn new(n: usize, direction: FftDirection, halved: bool) -> Plan {
        let root = |k: usize| C::cis(-TAU * k as f64 / n as f64);
        let roots = if halved { (0..=n / 4).map(root).collect() } else { Vec::new() };
        Plan { n, fft: new_plan(if halved { n / 2 } else { n }, direction), roots }
    }

    /// A plan for lines of length `n`; those used last are kept.
    fn get(n: usize, forward: bool, halved: bool) -> Arc<Plan> {
        static KEPT_PLANS: Mutex<VecDeque<Arc<Plan>>> = Mutex::new(VecDeque::new());
        let direction = if forward { FftDirection::Forward } else { FftDirection::Inverse };
        let make = || Arc::new(Plan::new(n, direction, halved));
        // Never waits: neither for another thread, nor, in the child of a fork, for one that is not there.
        let Ok(mut kept) = KEPT_PLANS.try_lock() else { return make() };
        let is_it = |plan: &Arc<Plan>| plan.n == n && plan.fft.fft_direction() == direction && plan.roots.is_empty() != halved;
        let place = kept.iter().position(is_it);
        let plan = place.and_then(|place| kept.remove(place)).unwrap_or_else(make);
        kept.push_front(plan.clone());
        while kept.iter().map(|plan| plan.n).sum::<usize>() > KEPT_ELEMENTS || kept.len() > KEPT {
            kept.pop_back();
        }
        plan
    }

    /// Transforms a line of an even number of real numbers: pairs of them as complex numbers, whose transform is that of the even
    /// places plus i times that of the odd ones. (Press et al., "Numerical Recipes", 3rd ed., section 12.3.)
    fn real_before(&self, line: &mut [C], scratch: &mut [C]) {
        let m = line.len() / 2;
        for j in 0..m {
            line[j] = C::new(line[2 * j].re, line[2 * j + 1].re);
        }
        self.fft.process_with_scratch(&mut line[..m], scratch);
        let C { re, im } = line[0];
        (line[0], line[m]) = (C::new(re + im, 0.0), C::new(re - im, 0.0));
        for k in 1..=m / 2 {
            let (a, b) = (line[k], line[m - k].conj());
            let (even, odd) = ((a + b) * 0.5, (a - b) * C::new(0.0, -0.5) * self.roots[k]);
            (line[k], line[m - k]) = (even + odd, (even - odd).conj());
        }
        mirror(line);
    }

    /// The same backwards.
    fn real_after(&self, line: &mut [C], scratch: &mut [C]) {
        let m = line.len() / 2;
        let (first, last) = (line[0].re, line[m].re);
        line[0] = C::new(first + last, first - last);
        for k in 1..=m / 2 {
            let (a, b) = (line[k], line[m - k].conj());
            let (even, odd) = (a + b, (a - b) * self.roots[k].conj() * C::I);
            (line[k], line[m - k]) = (even + odd, (even - odd).conj());
        }
        self.fft.process_with_scratch(&mut line[..m], scratch);
        for j in (0..m).rev() {
            let C { re, im } = line[j];
            (line[2 * j], line[2 * j + 1]) = (C::new(re, 0.0), C::new(im, 0.0));
        }
    }

    /// Transforms lines, one after the other in memory.
    fn run(&self, symmetry: Symmetry, lines: &mut [C], scratch: &mut [C]) {
        let halved = !self.roots.is_empty();
        match symmetry {
            Symmetry::None => self.fft.process_with_scratch(lines, scratch),
            Symmetry::RealBefore if halved => lines.chunks_exact_mut(self.n).for_each(|line| self.real_before(line, scratch)),
            Symmetry::RealAfter if halved => lines.chunks_exact_mut(self.n).for_each(|line| self.real_after(line, scratch)),
            Symmetry::RealBefore => {
                self.fft.process_with_scratch(lines, scratch);
                lines.chunks_exact_mut(self.n).for_each(mirror);
            }
            Symmetry::RealAfter => {
                for line in lines.chunks_exact_mut(self.n) {
                    line[0].im = 0.0;
                    mirror(line);
                }
                self.fft.process_with_scratch(lines, scratch);
            }
        }
    }
}

impl Pass {
    /// The places of some lines in both memories, relative to the first element.
    fn places(&self, lines: Range<usize>) -> SmallVec<[(isize, isize); 64]> {
        let place = |line: usize| {
            let mut rest = line;
            let (mut from, mut to) = (0, 0);
            for dim in self.beside.iter().rev() {
                let i = (rest % dim.size) as isize;
                rest /= dim.size;
                (from, to) = (from + i * dim.from, to + i * dim.to);
            }
            (from, to)
        };
        lines.map(place).collect()
    }
}

/// Makes the second half the conjugate of the first one.
fn mirror(line: &mut [C]) {
    let n = line.len();
    for k in n / 2 + 1..n {
        line[k] = line[n - k].conj();
    }
}

/// Transforms all lines from one memory to another, or within one.
///
/// # Safety
/// All lines must lie in memory that nobody else writes to, and those written to apart from each other, and either apart from all
/// that is read or in the same places.
pub unsafe fn run<A: Element, B: Element>(pass: &Pass, from: Line<A>, to: Line<B>) {
    let n = pass.n;
    let count: usize = pass.beside.iter().map(|dim| dim.size).product();
    if n == 0 || count == 0 {
        return;
    }
    let least = if from.step == 1 && to.step == 1 || n > FAR { 1 } else { NEIGHBOURS };
    let together = (BLOCK / n).max(least).min(count);
    let plan = Plan::get(n, pass.forward, pass.symmetry != Symmetry::None && n.is_multiple_of(2));
    let (from, to) = (&from, &to);
    par::for_ranges(count.div_ceil(together), (BLOCK / (n * together)).max(1), &|blocks| {
        let mut buffer = vec![C::default(); together * n];
        let mut scratch = vec![C::default(); plan.fft.get_inplace_scratch_len()];
        for block in blocks {
            let places = pass.places(block * together..count.min((block + 1) * together));
            let lines = &mut buffer[..places.len() * n];
            // SAFETY: the caller answers for the places.
            unsafe { read(from, &places, lines, n) };
            plan.run(pass.symmetry, lines, &mut scratch);
            if pass.scale != 1.0 {
                lines.iter_mut().for_each(|v| *v *= pass.scale);
            }
            // SAFETY: as above.
            unsafe { write(to, &places, lines, n) };
        }
    });
}

/// Reads lines from their places: one after the other if their elements lie side by side, else an element of each in turn.
///
/// # Safety
/// They must lie in memory.
unsafe fn read<A: Element>(from: &Line<A>, places: &[(isize, isize)], lines: &mut [C], n: usize) {
    // SAFETY: the caller answers for it; lent memory may be unaligned.
    let get = |place: isize, j: usize| unsafe { from.start.offset(place + j as isize * from.step).read_unaligned().to_c128() };
    let len = from.len.min(n);
    if from.step == 1 {
        for (line, &(place, _)) in lines.chunks_exact_mut(n).zip(places) {
            line[..len].iter_mut().enumerate().for_each(|(j, v)| *v = get(place, j));
        }
    } else {
        for j in 0..len {
            places.iter().enumerate().for_each(|(i, &(place, _))| lines[i * n + j] = get(place, j));
        }
    }
}

/// Writes lines to their places, likewise.
///
/// # Safety
/// They must lie in memory.
unsafe fn write<B: Element>(to: &Line<B>, places: &[(isize, isize)], lines: &[C], n: usize) {
    // SAFETY: the caller answers for it.
    let set =
        |place: isize, j: usize, v: C| unsafe { to.start.offset(place + j as isize * to.step).write_unaligned(B::from_c128(v)) };
    let len = to.len.min(n);
    if to.step == 1 {
        for (line, &(_, place)) in lines.chunks_exact(n).zip(places) {
            line[..len].iter().enumerate().for_each(|(j, &v)| set(place, j, v));
        }
    } else {
        for j in 0..len {
            places.iter().enumerate().for_each(|(i, &(_, place))| set(place, j, lines[i * n + j]));
        }
    }
}
