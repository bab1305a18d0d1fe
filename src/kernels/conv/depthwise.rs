//! Convolution where each group has one input channel: each element of a window is a number times a shifted plane.
//!
//! Planes are first copied into a buffer with their padding ([`planes`](super::planes)), so that no loop has to look for edges.

use std::any::TypeId;

use super::planes::{Padded, Reached, SLACK, elements};
use super::{GRAIN, Shared, Sizes};
use crate::kernels::matmul::{Gemm, Number, with_buffer};
use crate::kernels::par;
#[cfg(target_arch = "aarch64")]
use crate::kernels::register::neon;
#[cfg(target_arch = "x86_64")]
use crate::kernels::register::x86;
use crate::kernels::register::{ADD, Vector, plain::Plain};
use crate::kernels::simd::{self, Isa};

/// Elements of a window that are summed up together: more chains of additions than one takes to end, and two times make 3 x 3.
const TAPS: usize = 5;
/// A buffer is at most so many times as large as the planes it is for: padding might be far larger.
const MOST_PADDING: usize = 4;

/// An element of a window: how far into the buffer it reads, and what it is.
#[derive(Clone, Copy)]
struct Tap<T> {
    offset: usize,
    weight: T,
}

/// Whether this is the way to compute it: of floats, and unless the padding is far larger than the rest.
pub(super) fn suits<T: Gemm>(s: &Sizes) -> bool {
    let floats = TypeId::of::<T>() == TypeId::of::<f32>() || TypeId::of::<T>() == TypeId::of::<f64>();
    if !floats || s.inputs != 1 {
        return false;
    }
    let (padded, reached) = (Padded::new(s), Reached::new(s));
    let room = MOST_PADDING * (s.input_len() + s.output_len()) + GRAIN;
    let fits = |sizes: [usize; 3]| sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).is_some_and(|n| n <= room);
    fits([padded.rows[0], padded.rows[1], padded.line()]) && fits([0, 1, 2].map(|d| reached.size(d)))
}

/// Lines of results of one plane, at even distances in the buffer and in the plane.
struct Lines<'a, T> {
    taps: &'a [Tap<T>],
    /// What is added to each.
    first: T,
    count: [usize; 2],
    from: *const T,
    from_steps: [usize; 2],
    to: *mut T,
    to_steps: [usize; 2],
    /// Results in a line, and their distance.
    len: usize,
    step: usize,
}

/// What a plane of y is multiplied with to get the gradient of the weights.
struct Products<'a, T> {
    /// What each element of the window reads in the buffer.
    offsets: &'a [usize],
    count: [usize; 2],
    from: *const T,
    from_steps: [usize; 2],
    /// A plane of y, lines one after the other.
    y: *const T,
    len: usize,
    /// The weights, to which is added.
    w: *mut T,
}

/// The loops, which are compiled for each instruction set.
trait Loops: Gemm {
    /// Computes some lines.
    ///
    /// # Safety
    /// The taps must read within a buffer with [`SLACK`] places more.
    unsafe fn put_lines(lines: &Lines<'_, Self>);
    /// Adds some products.
    ///
    /// # Safety
    /// All must be valid.
    unsafe fn add_products(products: &Products<'_, Self>);
}

macro_rules! loops {
    ($float:ty, $avx2:ident, $avx512:ident, $neon:ident) => {
        impl Loops for $float {
            unsafe fn put_lines(lines: &Lines<'_, Self>) {
                loops!(put_lines(lines), $float, $avx2, $avx512, $neon)
            }
            unsafe fn add_products(products: &Products<'_, Self>) {
                loops!(add_products(products), $float, $avx2, $avx512, $neon)
            }
        }
    };
    ($body:ident($argument:ident), $float:ty, $avx2:ident, $avx512:ident, $neon:ident) => {
        // SAFETY: the caller's promise; the processor has its instruction set.
        unsafe {
            match simd::isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => $body::<x86::Avx512<std::arch::x86_64::$avx512>>($argument),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => $body::<x86::Avx2<std::arch::x86_64::$avx2>>($argument),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => $body::<neon::Neon<std::arch::aarch64::$neon>>($argument),
                _ => $body::<Plain<$float>>($argument),
            }
        }
    };
}

loops!(f32, __m256, __m512, float32x4_t);
loops!(f64, __m256d, __m512d, float64x2_t);

/// # Safety
/// As [`Loops::put_lines`]; the processor must have the instruction set of V.
unsafe fn put_lines<V: Vector>(p: &Lines<'_, V::Float>) {
    // SAFETY: the caller's promise, as for all that is called here.
    unsafe {
        V::run(
            #[inline(always)]
            || {
                for (d, h) in (0..p.count[0]).flat_map(|d| (0..p.count[1]).map(move |h| (d, h))) {
                    let from = p.from.add(d * p.from_steps[0] + h * p.from_steps[1]);
                    let to = p.to.add(d * p.to_steps[0] + h * p.to_steps[1]);
                    let mut place = 0;
                    while place < p.len {
                        let left = p.len - place;
                        let (from, to) = (from.add(place), to.wrapping_add(place * p.step));
                        place += match left.div_ceil(V::LANES) {
                            1 => put_some::<V, 1>(p, from, to, left),
                            2 => put_some::<V, 2>(p, from, to, left),
                            3 => put_some::<V, 3>(p, from, to, left),
                            _ => put_some::<V, 4>(p, from, to, left),
                        };
                    }
                }
            },
        )
    }
}

/// Computes N registers of a line of which `left` results are left; answers how many that are.
///
/// # Safety
/// As [`put_lines`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // through iterators, the compiler keeps the sums in memory
unsafe fn put_some<V: Vector, const N: usize>(
    p: &Lines<'_, V::Float>,
    from: *const V::Float,
    to: *mut V::Float,
    left: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(p.first); N];
        for tap in p.taps {
            let (weight, from) = (V::splat(tap.weight), from.add(tap.offset));
            for i in 0..N {
                sums[i] = V::load(from.add(i * V::LANES)).mul_add(weight, sums[i]);
            }
        }
        for i in 0..N {
            let lanes = (left - i * V::LANES).min(V::LANES);
            if p.step > 1 {
                let mut all = [V::Float::ZERO; SLACK];
                sums[i].store(all.as_mut_ptr());
                (0..lanes).for_each(|j| *to.add((i * V::LANES + j) * p.step) = all[j]);
            } else if lanes == V::LANES {
                sums[i].store(to.add(i * V::LANES));
            } else {
                sums[i].store_masked(to.add(i * V::LANES), V::mask(lanes));
            }
        }
    }
    N * V::LANES
}

/// # Safety
/// As [`Loops::add_products`]; the processor must have the instruction set of V.
#[allow(clippy::needless_range_loop)] // as above
unsafe fn add_products<V: Vector>(p: &Products<'_, V::Float>) {
    for (i, chunk) in p.offsets.chunks(TAPS).enumerate() {
        // Those that are missing are summed up in vain.
        let at: [usize; TAPS] = std::array::from_fn(|t| chunk.get(t).copied().unwrap_or(0));
        let whole = p.len - p.len % V::LANES;
        // SAFETY: the caller's promise.
        unsafe {
            V::run(
                #[inline(always)]
                || {
                    let mut sums = [V::zero(); TAPS];
                    for line in 0..p.count[0] * p.count[1] {
                        let (d, h) = (line / p.count[1], line % p.count[1]);
                        let from = p.from.add(d * p.from_steps[0] + h * p.from_steps[1]);
                        let y = p.y.add(line * p.len);
                        for place in (0..whole).step_by(V::LANES) {
                            let y = V::load(y.add(place));
                            for t in 0..TAPS {
                                sums[t] = V::load(from.add(at[t] + place)).mul_add(y, sums[t]);
                            }
                        }
                        if whole < p.len {
                            let mask = V::mask(p.len - whole);
                            let y = V::load_masked(y.add(whole), mask);
                            for t in 0..TAPS {
                                sums[t] = V::load_masked(from.add(at[t] + whole), mask).mul_add(y, sums[t]);
                            }
                        }
                    }
                    for t in 0..chunk.len() {
                        let w = p.w.add(i * TAPS + t);
                        *w = (*w).plus(sums[t].join::<ADD>());
                    }
                },
            )
        }
    }
}

/// Calls a function for the type of float that T is, which [`suits`] has found out.
macro_rules! for_float {
    ($T:ident, $body:ident($s:expr, $($address:expr),+)) => {
        if TypeId::of::<$T>() == TypeId::of::<f32>() {
            $body::<f32>($s, $($address.cast()),+)
        } else {
            $body::<f64>($s, $($address.cast()),+)
        }
    };
}

/// See [`super::output`].
///
/// # Safety
/// As there.
pub(super) unsafe fn output<T: Gemm>(s: &Sizes, x: *const T, w: *const T, bias: *const T, y: *mut T) {
    // SAFETY: the same contract.
    unsafe { for_float!(T, put_output(s, x, w, bias, y)) }
}

/// See [`super::input`].
///
/// # Safety
/// As there.
pub(super) unsafe fn input<T: Gemm>(s: &Sizes, w: *const T, y: *const T, bias: *const T, x: *mut T) {
    // SAFETY: the same contract.
    unsafe { for_float!(T, put_input(s, w, y, bias, x)) }
}

/// See [`super::weight`].
///
/// # Safety
/// As there.
pub(super) unsafe fn weight<T: Gemm>(s: &Sizes, x: *const T, y: *const T, w: *mut T) {
    // SAFETY: the same contract.
    unsafe { for_float!(T, put_weight(s, x, y, w)) }
}

/// # Safety
/// As [`output`].
unsafe fn put_output<T: Loops>(s: &Sizes, x: *const T, w: *const T, bias: *const T, y: *mut T) {
    let (padded, window, len) = (Padded::new(s), s.kernel_len(), s.output_len());
    let shared = Shared((x, w, bias, y));
    par::for_ranges(s.batch * s.groups, (GRAIN / (len * window)).max(1), &|planes| {
        let (x, w, bias, y) = shared.get();
        let offsets = padded.offsets(s);
        let mut taps = Vec::with_capacity(window);
        with_buffer(padded.len(), |buffer: *mut T| {
            for plane in planes {
                // SAFETY: the caller's promise; the results of a plane of x are this thread's.
                unsafe {
                    padded.fill(s, x.add(plane * s.input_len()), buffer);
                    for o in 0..s.outputs {
                        let channel = plane % s.groups * s.outputs + o;
                        let w = w.add(channel * window);
                        taps.clear();
                        taps.extend(offsets.iter().enumerate().map(|(i, &offset)| Tap { offset, weight: *w.add(i) }));
                        T::put_lines(&Lines {
                            taps: &taps,
                            first: if bias.is_null() { T::ZERO } else { *bias.add(channel) },
                            count: [s.output[0], s.output[1]],
                            from: buffer,
                            from_steps: padded.steps(s),
                            to: y.add((plane * s.outputs + o) * len),
                            to_steps: [s.output[1] * s.output[2], s.output[2]],
                            len: s.output[2],
                            step: 1,
                        });
                    }
                }
            }
        });
    });
}

/// # Safety
/// As [`input`].
unsafe fn put_input<T: Loops>(s: &Sizes, w: *const T, y: *const T, bias: *const T, x: *mut T) {
    let (reached, window, len) = (Reached::new(s), s.kernel_len(), s.input_len());
    let shared = Shared((w, y, bias, x));
    par::for_ranges(s.batch * s.groups, (GRAIN / (s.output_len() * window)).max(1), &|planes| {
        let (w, y, bias, x) = shared.get();
        with_buffer(reached.plane() * s.outputs + SLACK, |buffer: *mut T| {
            for plane in planes {
                let group = plane % s.groups;
                // SAFETY: the caller's promise; a plane of x is this thread's.
                unsafe {
                    std::slice::from_raw_parts_mut(buffer.add(reached.plane() * s.outputs), SLACK).fill(T::ZERO);
                    for o in 0..s.outputs {
                        let from = y.add((plane * s.outputs + o) * s.output_len());
                        reached.fill(s, from, buffer.add(o * reached.plane()));
                    }
                    let first = if bias.is_null() { T::ZERO } else { *bias.add(group) };
                    put_plane(s, &reached, w.add(group * s.outputs * window), first, buffer, x.add(plane * len));
                }
            }
        });
    });
}

/// Writes a plane of x: the places with the same remainder by the stride see the same elements of windows.
///
/// # Safety
/// As [`input`], with the buffer for its plane.
unsafe fn put_plane<T: Loops>(s: &Sizes, reached: &Reached, w: *const T, first: T, buffer: *const T, x: *mut T) {
    let [depth, height, width] = s.stride;
    let mut taps = Vec::with_capacity(s.outputs * s.kernel_len());
    for phase in 0..depth * height * width {
        let phase = [phase / (height * width), phase / width % height, phase % width];
        // Windows whose element at the phase is at a place of x, along each dim.
        let windows = [0, 1, 2].map(|d| {
            let (stride, padding) = (s.stride[d], s.padding[d]);
            let end = (s.input[d] + padding).saturating_sub(phase[d]).div_ceil(stride);
            padding.saturating_sub(phase[d]).div_ceil(stride).min(end)..end
        });
        if windows.iter().any(|windows| windows.is_empty()) {
            continue;
        }
        taps.clear();
        for o in 0..s.outputs {
            for (i, k) in elements(s).enumerate() {
                let from =
                    [0, 1, 2].map(|d| (k[d] * s.dilation[d]).checked_sub(phase[d]).filter(|at| at.is_multiple_of(s.stride[d])));
                let [Some(a), Some(b), Some(c)] = from else { continue };
                let [a, b, c] = [(0, a), (1, b), (2, c)].map(|(d, at)| reached.back[d] - at / s.stride[d]);
                let offset = o * reached.plane() + (a * reached.size(1) + b) * reached.size(2) + c;
                // SAFETY: the caller's promise.
                taps.push(Tap { offset, weight: unsafe { *w.add(o * s.kernel_len() + i) } });
            }
        }
        let [d, h, at] = [0, 1, 2].map(|d| windows[d].start);
        let place = |d: usize| windows[d].start * s.stride[d] + phase[d] - s.padding[d];
        let (line, slice) = (reached.size(2), reached.size(1) * reached.size(2));
        // SAFETY: the caller's promise; all places of these windows are within x.
        unsafe {
            T::put_lines(&Lines {
                taps: &taps,
                first,
                count: [windows[0].len(), windows[1].len()],
                from: buffer.add(d * slice + h * line + at),
                from_steps: [slice, line],
                to: x.add((place(0) * s.input[1] + place(1)) * s.input[2] + place(2)),
                to_steps: [depth * s.input[1] * s.input[2], height * s.input[2]],
                len: windows[2].len(),
                step: width,
            });
        }
    }
}

/// # Safety
/// As [`weight`].
unsafe fn put_weight<T: Loops>(s: &Sizes, x: *const T, y: *const T, w: *mut T) {
    let (padded, window, len) = (Padded::new(s), s.kernel_len(), s.output_len());
    let shared = Shared((x, y, w));
    par::for_ranges(s.groups * s.outputs, (GRAIN / (len * window * s.batch)).max(1), &|channels| {
        let (x, y, w) = shared.get();
        let offsets = padded.offsets(s);
        with_buffer(padded.len(), |buffer: *mut T| {
            for channel in channels {
                // SAFETY: the caller's promise; the weights of a channel are this thread's.
                unsafe {
                    let w = w.add(channel * window);
                    std::slice::from_raw_parts_mut(w, window).fill(T::ZERO);
                    for n in 0..s.batch {
                        padded.fill(s, x.add((n * s.groups + channel / s.outputs) * s.input_len()), buffer);
                        T::add_products(&Products {
                            offsets: &offsets,
                            count: [s.output[0], s.output[1]],
                            from: buffer,
                            from_steps: padded.steps(s),
                            y: y.add((n * s.groups * s.outputs + channel) * len),
                            len: s.output[2],
                            w,
                        });
                    }
                }
            }
        });
    });
}
