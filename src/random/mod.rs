//! Random numbers: torch's CPU streams, bit for bit.
//!
//! A seed gives here the very numbers it gives in torch 2.13 on an x86-64 Linux processor with AVX2
//! and FMA, so an experiment, its initial weights and its shuffles can be carried over unchanged. The
//! module knows nothing but slices and numbers: no tensors, no errors of the crate, no Python.
//!
//! | file | what it holds |
//! |---|---|
//! | `generator` | the Mersenne Twister, seeding, the saved state |
//! | `uniform` | [`Real`], uniform numbers in the dtype of the result |
//! | `normal` | normal numbers: one by one, and sixteen at a time for long slices |
//! | `draws` | every other distribution, as one-value methods of [`Generator`] and fills |
//! | `integers` | `randint`, `random_`, `randperm` |
//! | `multinomial` | drawing categories |
//! | `top` | the highest scores in torch's order, for `multinomial` |
//! | `simd` | compiling a loop a second time for AVX2 and FMA |
//!
//! # How to draw into a tensor
//!
//! Numbers go to *memory* order. If the elements fill one gap-free stretch of memory, whatever the order
//! of the dimensions, hand that stretch as a slice to [`uniform`], [`normal`], [`fill`] and so on; but for
//! [`normal`] the tensor must also be contiguous in the row-major sense, else it is [`normal_serial`].
//! Elements with gaps take the one-value methods ([`Generator::uniform`], [`Generator::exponential`], …),
//! walking the dimensions from the widest stride to the narrowest.
//!
//! # What the bits rest on
//!
//! * Words: MT19937, Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998).
//! * Normals: Box and Muller, "A note on the generation of random normal deviates" (1958).
//! * float32 logarithm, sine and cosine of long normal fills: the polynomials of Moshier's Cephes library.
//! * Poisson: Hörmann, "The transformed rejection method for generating Poisson random variables" (1993).
//! * Multiply-adds are fused exactly where `mul_add` stands and nowhere else. `mul_add` is exact on
//!   every processor; without the instruction it is a slow library call, with the same bits.
//! * `ln`, `ln_1p`, `exp`, `sin`, `cos` and `tan` of an `f64` are calls into the system's C library (that is
//!   what std compiles them to on `linux-gnu`), which is glibc in torch's case too. A different library,
//!   as on macOS or musl, may differ by a unit or two in the last place of double draws; float32 results
//!   are practically immune.
//!
//! # Limits
//!
//! Only float32 and float64 are drawn here; half precision is the caller's conversion. torch on a processor
//! without FMA has a second, slightly different stream, which is not reproduced. Everything is serial, as
//! in torch, so the number of threads never shows.

mod draws;
mod generator;
mod integers;
mod multinomial;
mod normal;
mod simd;
#[cfg(test)]
mod tests;
mod top;
mod uniform;

pub use draws::{bernoulli, bernoulli_from, cauchy, dropout_keep, exponential, geometric, log_normal, poisson};
pub use generator::{Generator, STATE_BYTES};
pub use integers::{Whole, random_full, random_range, randperm};
pub use multinomial::{check_rows, with_replacement, without_replacement};
pub use normal::{normal, normal_dense, normal_serial};
pub use uniform::{Real, rand, uniform};

use std::io::Read;
use std::sync::OnceLock;

use crate::fork::Mutex;

/// The generator that every draw without an explicit one uses.
///
/// As in torch, a fresh process starts it from [`nondeterministic_seed`], not from
/// [`Generator::default_seed`]: unseeded programs differ from run to run.
pub fn default_generator() -> &'static Mutex<Generator> {
    static DEFAULT: OnceLock<Mutex<Generator>> = OnceLock::new();
    DEFAULT.get_or_init(|| Mutex::new(Generator::new(nondeterministic_seed())))
}

/// A seed of 64 bits from the operating system, as `torch.seed()` takes it.
pub fn nondeterministic_seed() -> u64 {
    let mut bytes = [0; 8];
    let source = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    match source {
        Ok(()) => u64::from_ne_bytes(bytes),
        // No such device: std's hash keys come from the system too, once per thread.
        Err(_) => {
            use std::hash::{BuildHasher, RandomState};
            let now = std::time::SystemTime::now();
            RandomState::new().hash_one((now, std::process::id()))
        }
    }
}

/// Fills a slice with successive values of `draw`, in memory order.
pub fn fill<E>(out: &mut [E], mut draw: impl FnMut() -> E) {
    out.iter_mut().for_each(|slot| *slot = draw());
}
