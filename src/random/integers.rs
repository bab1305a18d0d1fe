//! Integers and permutations: words modulo the size of the range.
//!
//! A remainder is not exactly uniform; for the ranges that take 32-bit words the bias is below 2^-4 in
//! relative terms at worst and far smaller for usual ones. It is what torch does.

use super::generator::Generator;

/// Ranges below this size take one word a number, others two.
const WIDE_RANGE: u64 = 1 << 28;
/// From this length on a permutation needs 64-bit words: a twentieth of the range of 32-bit ones.
const LONG_PERMUTATION: usize = (u32::MAX / 20) as usize;

impl Generator {
    /// One integer from `low` up to but not including `high`, for every dtype alike.
    ///
    /// `low == high` stands for all 64 bits as they come, whatever `low` is.
    pub fn random_range(&mut self, low: i64, high: i64) -> i64 {
        let range = high.wrapping_sub(low) as u64;
        let offset = match range {
            0 => return self.random64() as i64,
            1..WIDE_RANGE => u64::from(self.random32() % range as u32),
            _ => self.random64() % range,
        };
        low.wrapping_add(offset as i64)
    }
}

/// Calls `put` with `n` integers from `low` up to but not including `high`: `randint`, `random_(low, high)`.
pub fn random_range(rng: &mut Generator, n: usize, low: i64, high: i64, mut put: impl FnMut(i64)) {
    for _ in 0..n {
        put(rng.random_range(low, high));
    }
}

/// Element types that `random_()` without bounds can fill, over every whole number from 0 up to the
/// largest they can count to without gaps.
pub trait Whole: Sized {
    /// One such number.
    fn random_full(rng: &mut Generator) -> Self;
}

// A line a type: which words, and modulo what.
macro_rules! whole {
    ($($ty:ty: $words:ident % $modulus:expr;)+) => {
        $(impl Whole for $ty {
            fn random_full(rng: &mut Generator) -> Self {
                (rng.$words() % $modulus) as $ty
            }
        })+
    };
}
whole! {
    i64: random64 % (1 << 63);
    i32: random32 % (1 << 31);
    i16: random32 % (1 << 15);
    i8: random32 % (1 << 7);
    u8: random32 % (1 << 8);
    f64: random64 % ((1 << 53) + 1);
    f32: random32 % ((1 << 24) + 1);
}

impl Whole for bool {
    fn random_full(rng: &mut Generator) -> Self {
        rng.random32() & 1 == 1
    }
}

/// Fills `out` with whole numbers over the full range of its type: `random_()` without bounds.
pub fn random_full<E: Whole>(rng: &mut Generator, out: &mut [E]) {
    super::fill(out, || E::random_full(rng));
}

/// A random permutation of 0 to `n - 1`: `torch.randperm`.
pub fn randperm(rng: &mut Generator, n: usize) -> Vec<i64> {
    if n < LONG_PERMUTATION { shuffled(rng, n) } else { shuffled_inside_out(rng, n) }
}

/// Fisher and Yates' shuffle from the front: place `i` swaps with one at or after it. `n - 1` words.
fn shuffled(rng: &mut Generator, n: usize) -> Vec<i64> {
    let mut p: Vec<i64> = (0..n as i64).collect();
    for i in 0..n.saturating_sub(1) {
        let z = rng.random32() % (n - i) as u32;
        p.swap(i, i + z as usize);
    }
    p
}

/// The same shuffle "inside out": number `i` goes to place `z <= i`, what was there to place `i`. `2 n` words.
pub(super) fn shuffled_inside_out(rng: &mut Generator, n: usize) -> Vec<i64> {
    let mut p: Vec<i64> = Vec::with_capacity(n);
    for i in 0..n {
        let z = (rng.random64() % (i as u64 + 1)) as usize;
        p.push(i as i64);
        p.swap(i, z);
    }
    p
}
