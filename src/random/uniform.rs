//! Uniform numbers, in the dtype of the result.
//!
//! float32 takes one word and keeps its low 24 bits, float64 two words and the low 53: every value is a
//! multiple of 2^-24 or 2^-53, so below 1, and 0 is possible.

use super::generator::Generator;
use super::normal;
use super::simd::dispatched;

/// The two element types that are drawn directly: `f32` and `f64`.
pub trait Real: Copy + PartialOrd + std::ops::Div<Output = Self> + std::ops::AddAssign {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The same value as an `f64`.
    fn to_f64(self) -> f64;
    /// One uniform number from `[0, 1)`.
    fn rand(rng: &mut Generator) -> Self;
    /// `u * (to - from) + from` with the sum fused, for one uniform `u`.
    fn uniform(rng: &mut Generator, from: Self, to: Self) -> Self;
    /// Fills `out` with what [`uniform`](Self::uniform) would give one by one.
    fn fill_uniform(rng: &mut Generator, out: &mut [Self], from: Self, to: Self);
    /// Turns every full block of 16 uniforms into normals; what is left over at the end stays.
    fn normal_blocks(out: &mut [Self], mean: f64, std: f64);
}

const TWO_M24: f32 = 1.0 / (1u32 << 24) as f32;
const TWO_M53: f64 = 1.0 / (1u64 << 53) as f64;

/// The low 24 bits of a word as a fraction. (Signed, because that converts in one instruction.)
#[inline(always)]
fn fraction32(word: u32) -> f32 {
    (word & 0xff_ffff) as i32 as f32 * TWO_M24
}

/// The low 53 bits of two words as a fraction: 21 bits of the high word, all of the low one. Exact.
#[inline(always)]
fn fraction64([high, low]: [u32; 2]) -> f64 {
    let high = f64::from((high & 0x1f_ffff) as i32) * (1u64 << 32) as f64;
    (high + f64::from(low)) * TWO_M53
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline]
    fn rand(rng: &mut Generator) -> Self {
        fraction32(rng.random32())
    }

    fn uniform(rng: &mut Generator, from: Self, to: Self) -> Self {
        Self::rand(rng).mul_add(to - from, from)
    }

    fn fill_uniform(rng: &mut Generator, mut out: &mut [Self], from: Self, to: Self) {
        while !out.is_empty() {
            let words = rng.take(out.len());
            let (now, later) = out.split_at_mut(words.len());
            scale32(words, now, from, to);
            out = later;
        }
    }

    fn normal_blocks(out: &mut [Self], mean: f64, std: f64) {
        normal::blocks32(out, mean as f32, std as f32);
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }

    #[inline]
    fn rand(rng: &mut Generator) -> Self {
        let high = rng.random32();
        let low = rng.random32();
        fraction64([high, low])
    }

    fn uniform(rng: &mut Generator, from: Self, to: Self) -> Self {
        Self::rand(rng).mul_add(to - from, from)
    }

    fn fill_uniform(rng: &mut Generator, mut out: &mut [Self], from: Self, to: Self) {
        while !out.is_empty() {
            let pairs = rng.take_pairs(out.len());
            let (now, later) = out.split_at_mut(pairs.len().max(1));
            if pairs.is_empty() {
                now[0] = Self::uniform(rng, from, to);
            } else {
                scale64(pairs, now, from, to);
            }
            out = later;
        }
    }

    fn normal_blocks(out: &mut [Self], mean: f64, std: f64) {
        normal::blocks64(out, mean, std);
    }
}

dispatched! {
    fn scale32(words: &[u32], out: &mut [f32], from: f32, to: f32) {
        let span = to - from;
        for (slot, &word) in out.iter_mut().zip(words) {
            *slot = fraction32(word).mul_add(span, from);
        }
    }
}

dispatched! {
    fn scale64(pairs: &[[u32; 2]], out: &mut [f64], from: f64, to: f64) {
        let span = to - from;
        for (slot, &pair) in out.iter_mut().zip(pairs) {
            *slot = fraction64(pair).mul_add(span, from);
        }
    }
}

impl Generator {
    /// One uniform number from `[0, 1)`.
    #[inline]
    pub fn rand<T: Real>(&mut self) -> T {
        T::rand(self)
    }

    /// One uniform number from `[from, to)`; rounding may give `to` itself.
    pub fn uniform<T: Real>(&mut self, from: T, to: T) -> T {
        T::uniform(self, from, to)
    }
}

/// Fills `out` with uniform numbers from `[0, 1)`: `torch.rand`.
pub fn rand<T: Real>(rng: &mut Generator, out: &mut [T]) {
    // u * 1 + 0 is u.
    T::fill_uniform(rng, out, T::ZERO, T::ONE);
}

/// Fills `out` with uniform numbers from `[from, to)`, the bounds rounded to `T` first: `uniform_`.
pub fn uniform<T: Real>(rng: &mut Generator, out: &mut [T], from: f64, to: f64) {
    T::fill_uniform(rng, out, T::from_f64(from), T::from_f64(to));
}

/// Calls `use_one` with `n` float64 or float32 uniforms from `[0, 1)`, made a few hundred at a time.
pub(super) fn each_uniform<T: Real>(rng: &mut Generator, n: usize, mut use_one: impl FnMut(T)) {
    let mut buffer = [T::ZERO; 312];
    let mut left = n;
    while left > 0 {
        let some = left.min(buffer.len());
        let chunk = &mut buffer[..some];
        rand(rng, chunk);
        chunk.iter().for_each(|&u| use_one(u));
        left -= some;
    }
}
