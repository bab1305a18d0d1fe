//! What reductions compute: each a [`Fold`].

use std::marker::PhantomData;

use super::reduce::{Fold, Hints, Lanes, Registers, STRIP, combined, find_nan};
use super::register;
use super::vector::single_element;
use crate::dtype::{Element, Number, Ordered};

/// Folds of the form "map, then an associative operation", by a few expressions each.
macro_rules! fold {
    ($(#[$doc:meta])* $name:ident<$T:ident: $bound:ident $(, $A:ident: $bound2:ident)?>
     ($In:ty => $Acc:ty) start $start:expr; |$v:ident| $map:expr; |$a:ident, $b:ident| $join:expr $(; $operation:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<$T $(, $A)?>(PhantomData<($T, $($A)?)>);

        impl<$T $(, $A)?> Default for $name<$T $(, $A)?> {
            fn default() -> Self {
                $name(PhantomData)
            }
        }

        impl<$T: $bound $(, $A: $bound2)?> Fold for $name<$T $(, $A)?> {
            type In = $In;
            type Acc = $Acc;
            $(const REGISTERS: Option<Registers> = same_type_in_registers::<$In, $Acc>($operation);)?
            #[inline(always)]
            fn start(self) -> $Acc {
                $start
            }
            #[inline(always)]
            fn step(self, $a: $Acc, $v: $In, _: usize) -> $Acc {
                let $b: $Acc = $map;
                $join
            }
            #[inline(always)]
            fn combine(self, $a: $Acc, $b: $Acc) -> $Acc {
                $join
            }
        }
    };
}

/// How elements that are accumulated in their own type are folded in registers, if they are floats.
const fn same_type_in_registers<T: Element, A: Element>(operation: u8) -> Option<Registers> {
    if T::DTYPE as u8 == A::DTYPE as u8 { Registers::of(T::DTYPE, operation) } else { None }
}

fold!(
    /// The sum, in a type of its own.
    Sum<T: Element, A: Number>(T => A) start A::ZERO; |v| v.cast(); |a, b| a.add(b); register::ADD
);
fold!(
    /// The sum of what is not NaN.
    NanSum<T: Element, A: Number>(T => A) start A::ZERO; |v| if v.is_nan() { A::ZERO } else { v.cast() }; |a, b| a.add(b)
);
fold!(
    /// The product, in a type of its own.
    Product<T: Element, A: Number>(T => A) start A::ONE; |v| v.cast(); |a, b| a.mul(b); register::MUL
);
fold!(
    /// Whether an element is not zero.
    Any<T: Element>(T => bool) start false; |v| v.truth(); |a, b| a | b
);
fold!(
    /// Whether no element is zero.
    All<T: Element>(T => bool) start true; |v| v.truth(); |a, b| a & b
);
fold!(
    /// How many elements are not zero.
    CountNonzero<T: Element>(T => i64) start 0; |v| v.truth() as i64; |a, b| a + b
);

/// Which of two values is wanted. NaN is wanted before any number.
pub trait Order: Copy + Send + Sync + Default {
    /// Whether `a` is to be preferred to `b`.
    fn better<T: Ordered>(a: T, b: T) -> bool;
    /// The preferred one of two.
    fn best<T: Ordered>(a: T, b: T) -> T;
    /// The preferred one of two that are not NaN.
    fn best_number<T: Ordered>(a: T, b: T) -> T;
    /// What any value is as good as.
    fn worst<T: Ordered>() -> T;
    /// The operation of registers that gives the preferred one.
    const OPERATION: u8;
}

/// Large values first.
#[derive(Clone, Copy, Default)]
pub struct Largest;

/// Small values first.
#[derive(Clone, Copy, Default)]
pub struct Smallest;

impl Order for Largest {
    const OPERATION: u8 = register::MAX;
    #[inline(always)]
    fn better<T: Ordered>(a: T, b: T) -> bool {
        a > b || (a.is_nan() && !b.is_nan())
    }
    #[inline(always)]
    fn best<T: Ordered>(a: T, b: T) -> T {
        a.max(b)
    }
    #[inline(always)]
    fn best_number<T: Ordered>(a: T, b: T) -> T {
        if a > b { a } else { b }
    }
    fn worst<T: Ordered>() -> T {
        T::LOWEST
    }
}

impl Order for Smallest {
    const OPERATION: u8 = register::MIN;
    #[inline(always)]
    fn better<T: Ordered>(a: T, b: T) -> bool {
        a < b || (a.is_nan() && !b.is_nan())
    }
    #[inline(always)]
    fn best<T: Ordered>(a: T, b: T) -> T {
        a.min(b)
    }
    #[inline(always)]
    fn best_number<T: Ordered>(a: T, b: T) -> T {
        if a < b { a } else { b }
    }
    fn worst<T: Ordered>() -> T {
        T::HIGHEST
    }
}

/// A value and the number of the element that has it; -1 if there was none yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place<T> {
    /// The value.
    pub value: T,
    /// Which element it is.
    pub number: i64,
}

/// The extreme element and the first place it stands at.
#[derive(Clone, Copy, Default)]
pub struct Best<T, O>(PhantomData<(T, O)>);

impl<T: Ordered, O: Order> Fold for Best<T, O> {
    type In = T;
    type Acc = Place<T>;
    const ORDERED: bool = true;
    const LONGEST: usize = 16 * 1024;

    #[inline(always)]
    fn start(self) -> Place<T> {
        Place { value: O::worst(), number: -1 }
    }

    #[inline(always)]
    fn step(self, acc: Place<T>, value: T, number: usize) -> Place<T> {
        if acc.number < 0 || O::better(value, acc.value) { Place { value, number: number as i64 } } else { acc }
    }

    #[inline(always)]
    fn combine(self, a: Place<T>, b: Place<T>) -> Place<T> {
        let tie = !O::better(a.value, b.value) && !O::better(b.value, a.value);
        let second =
            if a.number < 0 || b.number < 0 { a.number < 0 } else { O::better(b.value, a.value) || (tie && b.number < a.number) };
        if second { b } else { a }
    }

    /// The value first, by a fold that vectorises, then its place.
    #[inline(always)]
    unsafe fn run(self, x: *const T, n: usize, first: usize, hints: Hints) -> Place<T> {
        // SAFETY: the caller answers for n elements.
        let at = |i: usize| unsafe { x.add(i).read_unaligned() };
        if n < 16 {
            return (0..n).fold(self.start(), |acc, i| self.step(acc, at(i), first + i));
        }
        // SAFETY: as above.
        let value = unsafe { Extreme::<T, O>(PhantomData).run(x, n, first, hints) };
        let is_it = |v: T| (v == value) | (v.is_nan() & value.is_nan());
        let mut from = 0;
        const BLOCK: usize = 64;
        while from + BLOCK <= n && !(0..BLOCK).fold(false, |found, i| found | is_it(at(from + i))) {
            from += BLOCK;
        }
        let place = (from..n).find(|&i| is_it(at(i))).unwrap_or(0);
        Place { value: at(place), number: (first + place) as i64 }
    }

    /// Values and places in arrays of their own, so that the loop vectorises.
    #[inline(always)]
    unsafe fn rows(self, x: *const T, stride: isize, rows: usize, first: usize, acc: &mut [Place<T>], hints: Hints) {
        let width = acc.len().min(STRIP);
        let (mut values, mut places) = ([O::worst::<T>(); STRIP], [-1i32; STRIP]);
        for r in 0..rows {
            // SAFETY: the caller answers for the rows.
            let row = unsafe { x.byte_offset(r as isize * stride) };
            for i in 0..width {
                single_element(hints.single);
                // SAFETY: as above.
                let value = unsafe { row.add(i).read_unaligned() };
                let better = (places[i] < 0) | O::better(value, values[i]);
                values[i] = if better { value } else { values[i] };
                places[i] = if better { r as i32 } else { places[i] };
            }
        }
        for (i, slot) in acc.iter_mut().enumerate().take(width) {
            if places[i] >= 0 {
                *slot = self.combine(*slot, Place { value: values[i], number: first as i64 + places[i] as i64 });
            }
        }
    }
}

/// The extreme value alone.
#[derive(Clone, Copy, Default)]
pub struct Extreme<T, O>(PhantomData<(T, O)>);

impl<T: Ordered, O: Order> Fold for Extreme<T, O> {
    type In = T;
    type Acc = T;
    const REGISTERS: Option<Registers> = Registers::of(T::DTYPE, O::OPERATION);
    #[inline(always)]
    fn start(self) -> T {
        O::worst()
    }
    #[inline(always)]
    fn step(self, acc: T, value: T, _: usize) -> T {
        O::best(acc, value)
    }
    #[inline(always)]
    fn combine(self, a: T, b: T) -> T {
        O::best(a, b)
    }

    /// In lanes, with a note of any NaN; if there was one, it is looked for.
    #[inline(always)]
    unsafe fn run(self, x: *const T, n: usize, _: usize, hints: Hints) -> T {
        // SAFETY: passed on.
        unsafe {
            match size_of::<T>() {
                _ if hints.single => extreme::<T, O, 8>(x, n, hints),
                ..=4 if n >= 256 => extreme::<T, O, 64>(x, n, hints),
                _ => extreme::<T, O, 32>(x, n, hints),
            }
        }
    }

    /// The same with a lane for each accumulator.
    #[inline(always)]
    unsafe fn rows(self, x: *const T, stride: isize, rows: usize, _: usize, acc: &mut [T], hints: Hints) {
        let width = acc.len().min(STRIP);
        let (mut best, mut nan) = (Lanes([self.start(); STRIP]), Lanes([T::ZERO; STRIP]));
        // SAFETY: the caller answers for the rows.
        unsafe {
            best_of_rows::<T, O>(x, stride, rows, &mut best.0[..width], &mut nan.0[..width], hints);
            if nan.0[..width].iter().fold(false, |found, v| found | v.truth()) {
                return (0..rows).for_each(|r| rows_with_nan::<T, O>(x.byte_offset(r as isize * stride), acc));
            }
        }
        acc.iter_mut().zip(&best.0).for_each(|(a, &b)| *a = O::best(*a, b));
    }
}

/// The extreme value of `n` neighbours.
#[inline(always)]
unsafe fn extreme<T: Ordered, O: Order, const LANES: usize>(x: *const T, n: usize, hints: Hints) -> T {
    // SAFETY: the caller answers for n elements.
    let at = |i: usize| unsafe { x.add(i).read_unaligned() };
    if n < LANES {
        return (0..n).fold(O::worst(), |best, i| O::best(best, at(i)));
    }
    let (mut best, mut nan) = (Lanes([O::worst::<T>(); LANES]), Lanes([T::ZERO; LANES]));
    // SAFETY: as above; the last row overlaps the one before it, of which there is one at least.
    unsafe {
        best_of_rows::<T, O>(x, (LANES * size_of::<T>()) as isize, n / LANES, &mut best.0, &mut nan.0, hints);
        if !n.is_multiple_of(LANES) {
            best_of_rows::<T, O>(x.add(n - LANES), 0, 1, &mut best.0, &mut nan.0, hints);
        }
        if const { T::DTYPE.is_float() } && nan.0.iter().fold(false, |found, v| found | v.truth()) {
            return find_nan(x, T::is_nan);
        }
    }
    combined(ExtremeNumber::<T, O>(PhantomData), best.0)
}

/// Takes rows into the best numbers so far, and sets `nan` to one in each column that has a NaN (the best is then void).
#[inline(always)]
unsafe fn best_of_rows<T: Ordered, O: Order>(
    x: *const T,
    stride: isize,
    rows: usize,
    best: &mut [T],
    nan: &mut [T],
    hints: Hints,
) {
    // SAFETY: the caller answers for these rows and columns.
    let at = |r: usize, i: usize| unsafe { x.byte_offset(r as isize * stride).add(i).read_unaligned() };
    let whole = rows - rows % 4;
    for r in (0..whole).step_by(4) {
        for (i, (best, nan)) in best.iter_mut().zip(nan.iter_mut()).enumerate() {
            single_element(hints.single);
            let (a, b, c, d) = (at(r, i), at(r + 1, i), at(r + 2, i), at(r + 3, i));
            *best = O::best_number(*best, O::best_number(O::best_number(a, b), O::best_number(c, d)));
            if const { T::DTYPE.is_float() } {
                // Two tests for two values each are one instruction each.
                *nan = if (a.is_nan() | b.is_nan()) | (c.is_nan() | d.is_nan()) { T::ONE } else { *nan };
            }
        }
    }
    for r in whole..rows {
        for (i, (best, nan)) in best.iter_mut().zip(nan.iter_mut()).enumerate() {
            single_element(hints.single);
            *best = O::best_number(*best, at(r, i));
            *nan = if at(r, i).is_nan() { T::ONE } else { *nan };
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn rows_with_nan<T: Ordered, O: Order>(row: *const T, acc: &mut [T]) {
    // SAFETY: the caller answers for the row.
    acc.iter_mut().enumerate().for_each(|(i, a)| *a = O::best(*a, unsafe { row.add(i).read_unaligned() }));
}

/// The extreme value where there is no NaN.
#[derive(Clone, Copy, Default)]
struct ExtremeNumber<T, O>(PhantomData<(T, O)>);

impl<T: Ordered, O: Order> Fold for ExtremeNumber<T, O> {
    type In = T;
    type Acc = T;
    #[inline(always)]
    fn start(self) -> T {
        O::worst()
    }
    #[inline(always)]
    fn step(self, acc: T, value: T, _: usize) -> T {
        O::best_number(acc, value)
    }
    #[inline(always)]
    fn combine(self, a: T, b: T) -> T {
        O::best_number(a, b)
    }
}

/// Number, mean and sum of squared deviations of some elements.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// How many.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// The sum of (x - mean)².
    pub squares: f64,
}

impl Spread {
    /// Of `count` elements with known sums of `x - shift` and its square.
    #[inline(always)]
    fn shifted(count: f64, shift: f64, sum: f64, squares: f64) -> Spread {
        let mean = sum / count;
        // `max` would lose a NaN.
        let rest = squares - sum * mean;
        Spread { count, mean: shift + mean, squares: if rest < 0.0 { 0.0 } else { rest } }
    }
}

/// Mean and variance: two passes over a leaf while it is in the cache, leaves joined pairwise
/// (Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance").
#[derive(Clone, Copy, Default)]
pub struct Moments<T>(PhantomData<T>);

impl<T: Element> Fold for Moments<T> {
    type In = T;
    type Acc = Spread;
    const LONGEST: usize = 16 * 1024;

    #[inline(always)]
    fn start(self) -> Spread {
        Spread::default()
    }

    #[inline(always)]
    fn step(self, acc: Spread, value: T, _: usize) -> Spread {
        self.combine(acc, Spread { count: 1.0, mean: value.to_f64(), squares: 0.0 })
    }

    #[inline(always)]
    fn combine(self, a: Spread, b: Spread) -> Spread {
        if a.count == 0.0 {
            return b;
        }
        if b.count == 0.0 {
            return a;
        }
        let (count, delta) = (a.count + b.count, b.mean - a.mean);
        Spread {
            count,
            mean: a.mean + delta * (b.count / count),
            squares: a.squares + b.squares + delta * delta * (a.count * b.count / count),
        }
    }

    /// The mean, then the deviations from it; what rounding left in their sum is taken out of their squares.
    #[inline(always)]
    unsafe fn run(self, x: *const T, n: usize, first: usize, hints: Hints) -> Spread {
        if n == 0 {
            return self.start();
        }
        // SAFETY: the caller answers for n elements.
        let sums = unsafe { Deviations::<T> { from: 0.0, of: PhantomData }.run(x, n, first, hints) };
        let mean = sums.0 / n as f64;
        // SAFETY: as above.
        let (sum, squares) =
            unsafe { Deviations::<T> { from: mean, of: PhantomData }.run(x, n, first, Hints { far: false, ..hints }) };
        Spread::shifted(n as f64, mean, sum, squares)
    }

    /// In one pass, with the first row as the shift: it loses at most log₂ of the number of rows in bits.
    #[inline(always)]
    unsafe fn rows(self, x: *const T, stride: isize, rows: usize, first: usize, acc: &mut [Spread], hints: Hints) {
        let _ = first;
        let width = acc.len().min(STRIP);
        let (mut shift, mut sums, mut squares) = ([0f64; STRIP], [0f64; STRIP], [0f64; STRIP]);
        // SAFETY: the caller answers for the rows.
        let at = |r: usize, i: usize| unsafe { x.byte_offset(r as isize * stride).add(i).read_unaligned() }.to_f64();
        if rows == 0 {
            return;
        }
        (0..width).for_each(|i| shift[i] = at(0, i));
        for r in 1..rows {
            for i in 0..width {
                single_element(hints.single);
                let d = at(r, i) - shift[i];
                sums[i] += d;
                squares[i] += d * d;
            }
        }
        for (i, slot) in acc.iter_mut().enumerate().take(width) {
            *slot = self.combine(*slot, Spread::shifted(rows as f64, shift[i], sums[i], squares[i]));
        }
    }
}

/// Sums of `x - from` and of its square.
#[derive(Clone, Copy)]
struct Deviations<T> {
    from: f64,
    of: PhantomData<T>,
}

impl<T: Element> Fold for Deviations<T> {
    type In = T;
    type Acc = (f64, f64);
    #[inline(always)]
    fn start(self) -> (f64, f64) {
        (0.0, 0.0)
    }
    #[inline(always)]
    fn step(self, acc: (f64, f64), value: T, _: usize) -> (f64, f64) {
        let d = value.to_f64() - self.from;
        (acc.0 + d, acc.1 + d * d)
    }
    #[inline(always)]
    fn combine(self, a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
        (a.0 + b.0, a.1 + b.1)
    }
}

/// The sum of a function of the elements.
#[derive(Clone, Copy)]
pub struct SumOf<T, G>(pub G, pub PhantomData<T>);

impl<T: Number, G: Fn(T) -> T + Copy + Sync> Fold for SumOf<T, G> {
    type In = T;
    type Acc = T;
    #[inline(always)]
    fn start(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(self, acc: T, value: T, _: usize) -> T {
        acc.add((self.0)(value))
    }
    #[inline(always)]
    fn combine(self, a: T, b: T) -> T {
        a.add(b)
    }
}
