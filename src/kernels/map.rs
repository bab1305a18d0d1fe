//! Loops over elements: the typed side of [`elementwise`](super::elementwise).
//!
//! The loops are compiled for each instruction set worth having and chosen at run time. The function applied must
//! inline to vectorise: a small closure does, a long one should be an `#[inline(always)]` function passed by name.

use super::elementwise::{Arg, MAX_ARGS, run};
use super::vector::vectorize;
use crate::dtype::Element;

/// y = f(x) for each element.
///
/// # Safety
/// `args` are (y, x) with elements of these types; see [`run`].
pub unsafe fn map1<T: Element, U: Element>(shape: &[usize], args: &[Arg; 2], f: impl Fn(T) -> U + Sync + Copy) {
    let body = |p: &[*mut u8; MAX_ARGS], n: usize| {
        let (y, x): (*mut U, *const T) = (p[0].cast(), p[1].cast());
        vectorize(
            #[inline(always)]
            || {
                for i in 0..n {
                    // SAFETY: `run` hands out addresses of n elements each.
                    unsafe { y.add(i).write_unaligned(f(x.add(i).read_unaligned())) }
                }
            },
        )
    };
    // SAFETY: the caller answers for the operands.
    unsafe { run(shape, args, &body) }
}

/// y = f(a, b) for each element.
///
/// # Safety
/// `args` are (y, a, b) with elements of these types; see [`run`].
pub unsafe fn map2<A: Element, B: Element, U: Element>(shape: &[usize], args: &[Arg; 3], f: impl Fn(A, B) -> U + Sync + Copy) {
    let body = |p: &[*mut u8; MAX_ARGS], n: usize| {
        let (y, a, b): (*mut U, *const A, *const B) = (p[0].cast(), p[1].cast(), p[2].cast());
        vectorize(
            #[inline(always)]
            || {
                for i in 0..n {
                    // SAFETY: `run` hands out addresses of n elements each.
                    unsafe { y.add(i).write_unaligned(f(a.add(i).read_unaligned(), b.add(i).read_unaligned())) }
                }
            },
        )
    };
    // SAFETY: the caller answers for the operands.
    unsafe { run(shape, args, &body) }
}

/// y = f(a, b, c) for each element.
///
/// # Safety
/// `args` are (y, a, b, c) with elements of these types; see [`run`].
pub unsafe fn map3<A: Element, B: Element, C: Element, U: Element>(
    shape: &[usize],
    args: &[Arg; 4],
    f: impl Fn(A, B, C) -> U + Sync + Copy,
) {
    let body = |p: &[*mut u8; MAX_ARGS], n: usize| {
        let (y, a, b, c): (*mut U, *const A, *const B, *const C) = (p[0].cast(), p[1].cast(), p[2].cast(), p[3].cast());
        vectorize(
            #[inline(always)]
            || {
                for i in 0..n {
                    // SAFETY: `run` hands out addresses of n elements each.
                    unsafe {
                        let value = f(a.add(i).read_unaligned(), b.add(i).read_unaligned(), c.add(i).read_unaligned());
                        y.add(i).write_unaligned(value);
                    }
                }
            },
        )
    };
    // SAFETY: the caller answers for the operands.
    unsafe { run(shape, args, &body) }
}
