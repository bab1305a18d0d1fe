//! The other distributions. Each value is made in double precision from float64 uniforms and converted to
//! the element type by whoever stores it; the fills here are the one-value methods in a loop.

use super::generator::Generator;
use super::uniform::{Real, each_uniform};
use std::f64::consts::PI;

impl Generator {
    /// True with probability `p`: a float64 uniform below `p`, for every dtype.
    pub fn bernoulli(&mut self, p: f64) -> bool {
        self.rand::<f64>() < p
    }

    /// True with probability `p`, by a uniform of the dtype of the probability (one word for `f32`).
    pub fn bernoulli_from<P: Real>(&mut self, p: P) -> bool {
        self.rand::<P>() < p
    }

    /// One exponential number: `-1/rate * log1p(-u)`.
    pub fn exponential(&mut self, rate: f64) -> f64 {
        exponential_of(self.rand(), rate)
    }

    /// One Cauchy number: `median + sigma * tan(pi * (u - 1/2))`, the sum fused.
    pub fn cauchy(&mut self, median: f64, sigma: f64) -> f64 {
        cauchy_of(self.rand(), median, sigma)
    }

    /// One geometric number, at least 1: `ceil(log(u) / log1p(-p))`.
    pub fn geometric(&mut self, p: f64) -> f64 {
        geometric_of(self.rand(), (-p).ln_1p())
    }

    /// The exponential of one normal number (of the one-by-one kind, at any size).
    pub fn log_normal(&mut self, mean: f64, std: f64) -> f64 {
        self.normal(mean, std).exp()
    }

    /// One Poisson number. `rate` must be 0 or more; at 0 nothing is drawn.
    ///
    /// Below 10: how many uniforms can be multiplied before the product is `exp(-rate)` or less (Knuth).
    /// From 10 on: transformed rejection, algorithm PTRS of W. Hörmann, "The transformed rejection method
    /// for generating Poisson random variables", Insurance: Mathematics and Economics 12 (1993).
    pub fn poisson(&mut self, rate: f64) -> f64 {
        if rate >= 10.0 {
            self.poisson_by_rejection(rate)
        } else if rate > 0.0 {
            let limit = (-rate).exp();
            let mut product: f64 = self.rand();
            let mut count = 0.0;
            while product > limit {
                product *= self.rand::<f64>();
                count += 1.0;
            }
            count
        } else {
            0.0
        }
    }

    /// Hörmann's PTRS; the names are the paper's. Nothing is fused here.
    fn poisson_by_rejection(&mut self, rate: f64) -> f64 {
        let log_rate = rate.ln();
        let b = 0.931 + 2.53 * rate.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let v_r = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.rand::<f64>() - 0.5;
            let v: f64 = self.rand();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + rate + 0.43).floor();
            if us >= 0.07 && v <= v_r {
                return k;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let left = v.ln() + inverse_alpha.ln() - (a / (us * us) + b).ln();
            if left <= -rate + k * log_rate - ln_factorial(k) {
                return k;
            }
        }
    }
}

fn exponential_of(u: f64, rate: f64) -> f64 {
    -1.0 / rate * (-u).ln_1p()
}

fn cauchy_of(u: f64, median: f64, sigma: f64) -> f64 {
    (PI * (u - 0.5)).tan().mul_add(sigma, median)
}

/// `log_miss` is the logarithm of `1 - p`, the probability of a miss.
fn geometric_of(u: f64, log_miss: f64) -> f64 {
    (u.ln() / log_miss).ceil()
}

/// `log(k!)` by the C library, for `k` of 0 or more; std has no stable one.
#[cfg(unix)]
fn ln_factorial(k: f64) -> f64 {
    unsafe extern "C" {
        // `lgamma` with its sign returned instead of written to a global: the same bits, and no data race.
        fn lgamma_r(x: f64, sign: *mut std::ffi::c_int) -> f64;
    }
    let mut sign = 0;
    // SAFETY: the signature is that of <math.h>, and `sign` outlives the call.
    unsafe { lgamma_r(k + 1.0, &mut sign) }
}

/// `log(k!)` by the C library, for `k` of 0 or more; std has no stable one.
#[cfg(not(unix))]
fn ln_factorial(k: f64) -> f64 {
    unsafe extern "C" {
        fn lgamma(x: f64) -> f64;
    }
    // SAFETY: the signature is that of <math.h>; this C library keeps no global sign.
    unsafe { lgamma(k + 1.0) }
}

/// Calls `put` with `n` draws of probability `p`: `bernoulli_` with a number.
pub fn bernoulli(rng: &mut Generator, n: usize, p: f64, mut put: impl FnMut(bool)) {
    each_uniform(rng, n, |u: f64| put(u < p));
}

/// Calls `put` with one draw for each of the probabilities: `bernoulli` and `bernoulli_` with a tensor.
pub fn bernoulli_from<P: Real>(rng: &mut Generator, probs: &[P], mut put: impl FnMut(bool)) {
    let mut probs = probs.iter();
    each_uniform(rng, probs.len(), |u: P| {
        if let Some(&p) = probs.next() {
            put(u < p);
        }
    });
}

/// Which elements dropout keeps, each with probability `p_keep` (which is 1 minus dropout's `p`).
pub fn dropout_keep(rng: &mut Generator, out: &mut [bool], p_keep: f64) {
    let n = out.len();
    let mut slots = out.iter_mut();
    each_uniform(rng, n, |u: f64| {
        if let Some(slot) = slots.next() {
            *slot = u < p_keep;
        }
    });
}

/// Fills `out` from float64 uniforms.
fn fill_by<T: Real>(rng: &mut Generator, out: &mut [T], value: impl Fn(f64) -> f64) {
    super::fill(out, || T::from_f64(value(rng.rand())));
}

/// Fills `out` with exponential numbers: `exponential_`.
pub fn exponential<T: Real>(rng: &mut Generator, out: &mut [T], rate: f64) {
    fill_by(rng, out, |u| exponential_of(u, rate));
}

/// Fills `out` with Cauchy numbers: `cauchy_`.
pub fn cauchy<T: Real>(rng: &mut Generator, out: &mut [T], median: f64, sigma: f64) {
    fill_by(rng, out, |u| cauchy_of(u, median, sigma));
}

/// Fills `out` with geometric numbers: `geometric_`.
pub fn geometric<T: Real>(rng: &mut Generator, out: &mut [T], p: f64) {
    let log_miss = (-p).ln_1p();
    fill_by(rng, out, |u| geometric_of(u, log_miss));
}

/// Fills `out` with log-normal numbers: `log_normal_`.
pub fn log_normal<T: Real>(rng: &mut Generator, out: &mut [T], mean: f64, std: f64) {
    super::fill(out, || T::from_f64(rng.log_normal(mean, std)));
}

/// Fills `out` with one Poisson number for each of `rates`, which must be 0 or more: `poisson`.
pub fn poisson<T: Real>(rng: &mut Generator, rates: &[T], out: &mut [T]) {
    for (slot, rate) in out.iter_mut().zip(rates) {
        *slot = T::from_f64(rng.poisson(rate.to_f64()));
    }
}
