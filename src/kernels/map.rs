//! Loops over elements: the typed side of [`elementwise`](super::elementwise).
//!
//! The loops are compiled for each instruction set worth having and chosen at run time. The function applied must
//! inline to vectorise, so it is a closure marked `#[inline(always)]`; a function passed by name does not inline where it
//! is long. What a loop uses is moved into it: stores could otherwise change what it borrows. A result that is written
//! over its operand has a loop of its own, with one pointer, since the compiler gives up on two that may overlap.

use std::ptr::copy_nonoverlapping;

use super::elementwise::{Loop, MAX_ARGS};
use super::math::{self, Real};
use super::vector::{single_element, vectorize, vectorize_narrow, vectorize_or_loop};
use crate::dtype::{Element, Kind};

/// Floats get the widest registers; integers do with half of them, which spares a third of the compiled loops. Complex
/// numbers have one loop for all processors.
#[inline(always)]
pub fn vectorize_for<T: Element, R>(body: impl FnOnce(bool) -> R) -> R {
    match const { T::DTYPE.kind() } {
        Kind::Float => vectorize_or_loop(body),
        Kind::Int | Kind::Bool => vectorize_narrow(body),
        Kind::Complex => body(false),
    }
}

/// Runs a loop whose results lie where one of its operands does: they wait in a buffer, so that the compiler's loop for operands apart
/// is run. For dtypes that have no loop of their own for it.
#[inline(never)]
fn over_operand(p: &[*mut u8; MAX_ARGS], n: usize, sizes: [usize; MAX_ARGS], body: Loop<'_>) {
    let mut buffer = Buffer([0; 4096]);
    let step = buffer.0.len() / sizes[0];
    for first in (0..n).step_by(step) {
        let count = step.min(n - first);
        let mut at: [_; MAX_ARGS] = std::array::from_fn(|arg| p[arg].wrapping_add(first * sizes[arg]));
        let to = std::mem::replace(&mut at[0], buffer.0.as_mut_ptr());
        body(&at, count);
        // SAFETY: `run` hands out addresses of n elements each; the buffer has room for `step` of them.
        unsafe { copy_nonoverlapping(buffer.0.as_ptr(), to, count * sizes[0]) };
    }
}

#[repr(align(64))]
struct Buffer([u8; 4096]);

/// Fewer elements are done one by one as fast.
const FEW: usize = 32;

/// The loop of y = f(x); for [`run`](super::elementwise::run) with operands (y, x) of these types.
pub fn loop1<T: Element, U: Element>(f: impl Fn(T) -> U + Sync + Copy) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    let body = move |p: &[*mut u8; MAX_ARGS], n| {
        let (y, x): (*mut U, *const T) = (p[0].cast(), p[1].cast());
        let in_place = T::DTYPE.is_float() && size_of::<U>() == size_of::<T>() && p[0] == p[1];
        vectorize_for::<T, _>(
            #[inline(always)]
            move |single| {
                // SAFETY: `run` hands out addresses of n elements each.
                unsafe {
                    if in_place {
                        for i in 0..n {
                            single_element(single);
                            y.add(i).write_unaligned(f(y.add(i).cast::<T>().read_unaligned()))
                        }
                    } else {
                        for i in 0..n {
                            single_element(single);
                            y.add(i).write_unaligned(f(x.add(i).read_unaligned()))
                        }
                    }
                }
            },
        )
    };
    move |p, n| {
        if !T::DTYPE.is_float() && n > FEW && p[0] == p[1] {
            return over_operand(p, n, [size_of::<U>(), size_of::<T>(), 0, 0], &body);
        }
        body(p, n)
    }
}

/// The loop of y = f(a, b); for [`run`](super::elementwise::run) with operands (y, a, b) of these types.
pub fn loop2<A: Element, B: Element, U: Element>(
    f: impl Fn(A, B) -> U + Sync + Copy,
) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    let body = move |p: &[*mut u8; MAX_ARGS], n| {
        let (y, a, b): (*mut U, *const A, *const B) = (p[0].cast(), p[1].cast(), p[2].cast());
        let in_place = A::DTYPE.is_float() && size_of::<U>() == size_of::<A>() && p[0] == p[1];
        vectorize_for::<A, _>(
            #[inline(always)]
            move |single| {
                // SAFETY: `run` hands out addresses of n elements each.
                unsafe {
                    if in_place {
                        for i in 0..n {
                            single_element(single);
                            y.add(i).write_unaligned(f(y.add(i).cast::<A>().read_unaligned(), b.add(i).read_unaligned()))
                        }
                    } else {
                        for i in 0..n {
                            single_element(single);
                            y.add(i).write_unaligned(f(a.add(i).read_unaligned(), b.add(i).read_unaligned()))
                        }
                    }
                }
            },
        )
    };
    move |p, n| {
        if n > FEW && (!A::DTYPE.is_float() && p[0] == p[1] || p[0] == p[2]) {
            return over_operand(p, n, [size_of::<U>(), size_of::<A>(), size_of::<B>(), 0], &body);
        }
        body(p, n)
    }
}

/// Elements that a long function is applied to before its results are stored: as many as the widest register has.
const BATCH: usize = 16;

/// y = f(operands) for long functions. Results wait in a buffer until all of a batch are there, so one
/// loop does for results that are written over an operand, too, and the last batch is filled up, so it does for the rest: the
/// function stands in the code once for an instruction set, not four times.
///
/// # Safety
/// The addresses must be those of n elements each, the first for writes, the next ones for reads.
#[inline(always)]
unsafe fn in_batches<T: Element, const N: usize>(p: &[*mut u8; MAX_ARGS], n: usize, f: impl Fn([T; N]) -> T + Copy) {
    let at: [*mut T; MAX_ARGS] = p.map(|start| start.cast());
    vectorize_for::<T, _>(
        #[inline(always)]
        move |single| {
            let mut at = at;
            let (mut results, mut rest) = ([T::default(); BATCH], [[T::default(); BATCH]; MAX_ARGS]);
            let mut left = n;
            while left > 0 {
                let (to, count) = (at[0], left.min(BATCH));
                if count < BATCH {
                    for arg in 1..=N {
                        // SAFETY: the caller answers for the elements, and they fit.
                        unsafe {
                            copy_nonoverlapping(at[arg].cast::<u8>(), rest[arg].as_mut_ptr().cast(), count * size_of::<T>())
                        };
                    }
                    at = std::array::from_fn(|arg| rest[arg].as_mut_ptr());
                }
                for (i, result) in results.iter_mut().enumerate() {
                    single_element(single);
                    // SAFETY: there are `BATCH` elements, if need be in buffers.
                    *result = f(std::array::from_fn(
                        #[inline(always)]
                        |arg| unsafe { at[arg + 1].add(i).read_unaligned() },
                    ));
                }
                // SAFETY: as above.
                unsafe { at[0].cast::<[T; BATCH]>().write_unaligned(results) };
                if count < BATCH {
                    // SAFETY: the caller answers for the elements.
                    unsafe { copy_nonoverlapping(at[0].cast::<u8>(), to.cast(), count * size_of::<T>()) };
                }
                at = at.map(|start| start.wrapping_add(BATCH));
                left -= count;
            }
        },
    )
}

/// [`loop1`] for long functions.
pub fn long_loop1<T: Element>(f: impl Fn(T) -> T + Sync + Copy) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    // SAFETY: `run` hands out addresses of n elements each.
    move |p, n| unsafe {
        in_batches(
            p,
            n,
            #[inline(always)]
            move |[x]: [T; 1]| f(x),
        )
    }
}

/// [`loop2`] for long functions.
pub fn long_loop2<T: Element>(f: impl Fn(T, T) -> T + Sync + Copy) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    // SAFETY: as above.
    move |p, n| unsafe {
        in_batches(
            p,
            n,
            #[inline(always)]
            move |[a, b]: [T; 2]| f(a, b),
        )
    }
}

/// [`loop3`] for long functions.
pub fn long_loop3<T: Element>(f: impl Fn(T, T, T) -> T + Sync + Copy) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    // SAFETY: as above.
    move |p, n| unsafe {
        in_batches(
            p,
            n,
            #[inline(always)]
            move |[a, b, c]: [T; 3]| f(a, b, c),
        )
    }
}

/// The loop of y = f(a, b) for one b: the last operand of [`run`](super::elementwise::run) has a single element.
pub fn loop2_number<A: Element, B: Element, U: Element>(
    f: impl Fn(A, B) -> U + Sync + Copy,
) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    move |p, n| {
        // SAFETY: `run` hands out the address of an element.
        let b = unsafe { p[2].cast::<B>().read_unaligned() };
        loop1(
            #[inline(always)]
            move |a| f(a, b),
        )(p, n)
    }
}

/// The loop of y = near(a, b), which must be right where `is_near(a, b)` holds; blocks with other elements take y = far(a, b).
pub fn loop2_near<T: Element>(
    is_near: impl Fn(T, T) -> bool + Sync + Copy,
    near: impl Fn(T, T) -> T + Sync + Copy,
    far: impl Fn(T, T) -> T + Sync + Copy,
) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    const BLOCK: usize = 256;
    let (near, far) = (loop2(near), loop2(far));
    move |p, n| {
        for first in (0..n).step_by(BLOCK) {
            let [y, a, b, _] = p.map(|start| start.wrapping_add(first * size_of::<T>()));
            let count = BLOCK.min(n - first);
            let all_near = vectorize(
                #[inline(always)]
                move || {
                    let (a, b): (*const T, *const T) = (a.cast(), b.cast());
                    // SAFETY: `run` hands out addresses of n elements each.
                    (0..count).fold(true, |all, i| all & unsafe { is_near(a.add(i).read_unaligned(), b.add(i).read_unaligned()) })
                },
            );
            let block = [y, a, b, std::ptr::null_mut()];
            if all_near { near(&block, count) } else { far(&block, count) }
        }
    }
}

/// The loop of y = f(a, b, c); for [`run`](super::elementwise::run) with operands (y, a, b, c) of these types.
pub fn loop3<A: Element, B: Element, C: Element, U: Element>(
    f: impl Fn(A, B, C) -> U + Sync + Copy,
) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    let body = move |p: &[*mut u8; MAX_ARGS], n| {
        let (y, a, b, c): (*mut U, *const A, *const B, *const C) = (p[0].cast(), p[1].cast(), p[2].cast(), p[3].cast());
        vectorize_for::<B, _>(
            #[inline(always)]
            move |single| {
                for i in 0..n {
                    single_element(single);
                    // SAFETY: `run` hands out addresses of n elements each.
                    unsafe {
                        let value = f(a.add(i).read_unaligned(), b.add(i).read_unaligned(), c.add(i).read_unaligned());
                        y.add(i).write_unaligned(value);
                    }
                }
            },
        )
    };
    move |p, n| {
        if n > FEW && p[1..].contains(&p[0]) {
            return over_operand(p, n, [size_of::<U>(), size_of::<A>(), size_of::<B>(), size_of::<C>()], &body);
        }
        body(p, n)
    }
}

/// A run of elements with the place of its results, for functions that work through several at a time.
pub struct Stretch<T> {
    x: *const T,
    y: *mut T,
    n: usize,
}

macro_rules! stretch {
    ($($(#[$doc:meta])* $name:ident $run:path;)+) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<T: Real>(part: Stretch<T>) {
            // SAFETY: a `Stretch` is made by `loop_stretches` only, from addresses valid for n elements each.
            unsafe { $run(part.x, part.y, part.n) }
        }
    )+};
}

stretch! {
    /// The sine of each element.
    sin math::sin_run;
    /// The cosine of each element.
    cos math::cos_run;
    /// The tangent of each element.
    tan math::tan_run;
}

/// The loop of y = f(x), stretch by stretch; for [`run`](super::elementwise::run) with operands (y, x) of this type.
pub fn loop_stretches<T: Element>(f: impl Fn(Stretch<T>) + Sync + Copy) -> impl Fn(&[*mut u8; MAX_ARGS], usize) + Sync {
    move |p, n| {
        let part = move || Stretch { x: p[1].cast(), y: p[0].cast(), n };
        vectorize(
            #[inline(always)]
            move || f(part()),
        )
    }
}
