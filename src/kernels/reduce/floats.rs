//! Runs of floats (and sums of int64) folded in registers, for the operations that registers have.

use super::nest::Runs;
use crate::dtype::DType;
use crate::kernels::register::plain::Plain;
use crate::kernels::register::{ADD, ADD_BITS, AHEAD, Float, MAX, MIN, MUL, Vector, prefetch};
use crate::kernels::simd::{Isa, isa};

/// An operation on floats of one type, accumulated in that type, or the sum of int64. Of a NaN and other numbers, `MAX` and `MIN`
/// are NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    operation: u8,
    double: bool,
}

impl Registers {
    /// [`ADD`], [`MUL`], [`MAX`] or [`MIN`] of a dtype, if registers have it.
    pub const fn of(dtype: DType, operation: u8) -> Option<Registers> {
        match dtype {
            DType::F32 => Some(Registers { operation, double: false }),
            DType::F64 => Some(Registers { operation, double: true }),
            DType::I64 if operation == ADD => Some(Registers { operation: ADD_BITS, double: true }),
            _ => None,
        }
    }

    /// [`Erased::runs`](super::Erased::runs).
    ///
    /// # Safety
    /// As there, for floats and accumulators of this type.
    pub unsafe fn runs(self, x: *const u8, runs: Runs, joined: bool, acc: *mut u8) {
        // SAFETY: passed on.
        unsafe {
            match (self.operation, self.double) {
                (ADD_BITS, _) => double::<ADD_BITS>(x, runs, joined, acc),
                (ADD, false) => single::<ADD>(x, runs, joined, acc),
                (MUL, false) => single::<MUL>(x, runs, joined, acc),
                (MAX, false) => single::<MAX>(x, runs, joined, acc),
                (_, false) => single::<MIN>(x, runs, joined, acc),
                (ADD, true) => double::<ADD>(x, runs, joined, acc),
                (MUL, true) => double::<MUL>(x, runs, joined, acc),
                (MAX, true) => double::<MAX>(x, runs, joined, acc),
                (_, true) => double::<MIN>(x, runs, joined, acc),
            }
        }
    }
}

/// Defines a function that picks the registers of this processor.
macro_rules! by_registers {
    ($name:ident, $float:ty, $avx2:ident, $avx512:ident, $neon:ident) => {
        unsafe fn $name<const OPERATION: u8>(x: *const u8, runs: Runs, joined: bool, acc: *mut u8) {
            #[cfg(target_arch = "aarch64")]
            use crate::kernels::register::neon::Neon;
            #[cfg(target_arch = "x86_64")]
            use crate::kernels::register::x86::{Avx2, Avx512};
            let (x, acc): (*const $float, *mut $float) = (x.cast(), acc.cast());
            // SAFETY: the caller answers for the memory; `isa` gives what the processor has.
            unsafe {
                match isa() {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => fold_runs::<Avx512<std::arch::x86_64::$avx512>, OPERATION>(x, runs, joined, acc),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => fold_runs::<Avx2<std::arch::x86_64::$avx2>, OPERATION>(x, runs, joined, acc),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => fold_runs::<Neon<std::arch::aarch64::$neon>, OPERATION>(x, runs, joined, acc),
                    _ => fold_runs::<Plain<$float>, OPERATION>(x, runs, joined, acc),
                }
            }
        }
    };
}
by_registers!(single, f32, __m256, __m512, float32x4_t);
by_registers!(double, f64, __m256d, __m512d, float64x2_t);

unsafe fn fold_runs<V: Vector, const OPERATION: u8>(x: *const V::Float, runs: Runs, joined: bool, acc: *mut V::Float) {
    // SAFETY: the caller answers for the runs and places.
    unsafe {
        V::run(
            #[inline(always)]
            || {
                for i in 0..runs.count {
                    let part = fold_run::<V, OPERATION>(x.wrapping_byte_offset(i as isize * runs.step), runs.n, runs.far);
                    match (joined, i) {
                        (false, _) => acc.add(i).write(part),
                        (true, 0) => acc.write(part),
                        (true, _) => acc.write(join::<_, OPERATION>(acc.read(), part)),
                    }
                }
            },
        )
    }
}

/// One of the operations on two results, which may be NaN.
#[inline(always)]
fn join<T: Float, const OPERATION: u8>(a: T, b: T) -> T {
    match OPERATION {
        MAX | MIN if a.is_nan() => a,
        MAX | MIN if b.is_nan() => b,
        _ => b.apply::<OPERATION>(a),
    }
}

/// Registers side by side, enough to hide how long an operation takes.
const WIDTH: usize = 4;
/// Rows of registers that are folded one after the other before they are joined with those before them: the error of a sum grows
/// with their number, and with that of the joined.
const ROWS: usize = 64;

/// `n` neighbours.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // through iterators, the compiler keeps registers in memory
unsafe fn fold_run<V: Vector, const OPERATION: u8>(x: *const V::Float, n: usize, far: bool) -> V::Float {
    // SAFETY: the caller answers for n floats.
    unsafe {
        if OPERATION == ADD && n < 4 {
            // One after the other, as torch adds so few: differences of such sums show in the last bit.
            return (0..n).fold(V::Float::neutral::<ADD>(), |sum, i| x.add(i).read_unaligned().apply::<ADD>(sum));
        }
        let neutral = V::splat(V::Float::neutral::<OPERATION>());
        let ordered = OPERATION == MAX || OPERATION == MIN;
        let (mut all, mut nan) = ([neutral; WIDTH], neutral.unordered(neutral));
        let row = WIDTH * V::LANES;
        let mut at = 0;
        while at + row <= n {
            let rows = ((n - at) / row).min(ROWS);
            let mut some = [neutral; WIDTH];
            for _ in 0..rows {
                if far {
                    (0..WIDTH).for_each(|j| prefetch(x.wrapping_add(at + j * V::LANES).wrapping_byte_add(AHEAD)));
                }
                let mut loaded = [neutral; WIDTH];
                for j in 0..WIDTH {
                    loaded[j] = V::load(x.add(at + j * V::LANES));
                    some[j] = loaded[j].apply::<OPERATION>(some[j]);
                }
                if ordered {
                    for j in (0..WIDTH).step_by(2) {
                        nan = V::either(nan, loaded[j].unordered(loaded[j + 1]));
                    }
                }
                at += row;
            }
            let first = at == rows * row;
            for j in 0..WIDTH {
                all[j] = if first { some[j] } else { some[j].apply::<OPERATION>(all[j]) };
            }
        }
        let mut j = 0;
        while at < n {
            let lanes = (n - at).min(V::LANES);
            let loaded = if lanes == V::LANES {
                V::load(x.add(at))
            } else {
                let mask = V::mask(lanes);
                V::select(mask, V::load_masked(x.add(at), mask), neutral)
            };
            // The first register, and so on: its number must be known where it is to stay in registers.
            for i in 0..WIDTH {
                if i == j {
                    all[i] = loaded.apply::<OPERATION>(all[i]);
                }
            }
            if ordered {
                nan = V::either(nan, loaded.unordered(loaded));
            }
            at += lanes;
            j += 1;
        }
        if ordered && V::any(nan) {
            return find_nan(x, V::Float::is_nan);
        }
        all[0].apply::<OPERATION>(all[2]).apply::<OPERATION>(all[1].apply::<OPERATION>(all[3])).join::<OPERATION>()
    }
}

/// The first value that is NaN at or after an address, where there is one.
///
/// # Safety
/// `x` must be valid for reads up to there.
#[cold]
#[inline(never)]
pub unsafe fn find_nan<T: Copy>(mut x: *const T, is_nan: fn(T) -> bool) -> T {
    // SAFETY: the caller's promise.
    unsafe {
        while !is_nan(x.read_unaligned()) {
            x = x.add(1);
        }
        x.read_unaligned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length around whole registers and rows, for one operation; sums and products are of small whole numbers, and exact.
    fn check<V: Vector, const OPERATION: u8>(number: impl Fn(i32) -> V::Float) {
        let apply = |a: V::Float, b: V::Float| b.apply::<OPERATION>(a);
        for n in (0..600).chain([9000, 16_389]) {
            let value =
                |i: usize| if OPERATION == MUL { if i % 97 == 3 { -2 } else { 1 } } else { (i * 7919 % 1009) as i32 - 500 };
            let x: Vec<V::Float> = (0..n.min(if OPERATION == MUL { 5000 } else { n })).map(|i| number(value(i))).collect();
            let want = x.iter().fold(V::Float::neutral::<OPERATION>(), |a, &b| apply(a, b));
            let runs = Runs { count: 1, step: 0, n: x.len(), stride: size_of::<V::Float>() as isize, first: 0, far: n % 2 == 1 };
            let mut got = [number(77); 2];
            // SAFETY: the run is `x`, and there is room for a result; callers have the instruction set.
            unsafe { fold_runs::<V, OPERATION>(x.as_ptr(), runs, false, got.as_mut_ptr()) };
            assert_eq!(got, [want, number(77)], "{OPERATION} of {n}");
            // Three overlapping runs, joined.
            if n == 100 {
                let step = 5 * size_of::<V::Float>() as isize;
                let three = Runs { count: 3, step, n: 80, ..runs };
                let want = (0..3).flat_map(|i| &x[5 * i..5 * i + 80]).fold(V::Float::neutral::<OPERATION>(), |a, &b| apply(a, b));
                // SAFETY: as above.
                unsafe { fold_runs::<V, OPERATION>(x.as_ptr(), three, true, got.as_mut_ptr()) };
                assert_eq!(got, [want, number(77)]);
            }
        }
    }

    /// A NaN anywhere is the extreme value.
    fn check_nan<V: Vector>(number: impl Fn(i32) -> V::Float, nan: V::Float) {
        for n in [1, 3, 16, 64, 100, 300] {
            for at in 0..n {
                let x: Vec<V::Float> = (0..n).map(|i| if i == at { nan } else { number(i as i32 % 7) }).collect();
                let runs = Runs { count: 1, step: 0, n, stride: size_of::<V::Float>() as isize, first: 0, far: n % 2 == 1 };
                let mut got = [number(0); 2];
                // SAFETY: as in `check`.
                unsafe {
                    fold_runs::<V, MAX>(x.as_ptr(), runs, false, got.as_mut_ptr());
                    fold_runs::<V, MIN>(x.as_ptr(), runs, false, got.as_mut_ptr().add(1));
                }
                assert!(got.iter().all(|x| x.is_nan()), "{at} of {n}");
                assert!(join::<_, MAX>(number(1), nan).is_nan() && join::<_, MAX>(nan, number(1)).is_nan());
            }
        }
    }

    fn check_all<V: Vector>(number: impl Fn(i32) -> V::Float + Copy, bits: impl Fn(i32) -> V::Float, nan: V::Float) {
        check::<V, ADD>(number);
        check::<V, MUL>(number);
        check::<V, MAX>(number);
        check::<V, MIN>(number);
        check_nan::<V>(number, nan);
        check::<V, ADD_BITS>(bits);
    }

    #[test]
    fn plain_registers() {
        check_all::<Plain<f32>>(|x| x as f32, |x| f32::from_bits(x.unsigned_abs()), f32::NAN);
        check_all::<Plain<f64>>(f64::from, |x| f64::from_bits(x.unsigned_abs().into()), f64::NAN);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn x86_registers() {
        use crate::kernels::register::x86::{Avx2, Avx512};
        use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
        if Isa::Avx2.is_available() {
            check_all::<Avx2<__m256>>(|x| x as f32, |x| f32::from_bits(x.unsigned_abs()), f32::NAN);
            check_all::<Avx2<__m256d>>(f64::from, |x| f64::from_bits(x.unsigned_abs().into()), f64::NAN);
        }
        if Isa::Avx512.is_available() {
            check_all::<Avx512<__m512>>(|x| x as f32, |x| f32::from_bits(x.unsigned_abs()), f32::NAN);
            check_all::<Avx512<__m512d>>(f64::from, |x| f64::from_bits(x.unsigned_abs().into()), f64::NAN);
        }
    }
}
