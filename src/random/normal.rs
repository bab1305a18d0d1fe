//! Normal numbers: Box and Muller's transform (1958), in torch's two ways.
//!
//! Fewer than 16 values, or memory that is not contiguous, are made one by one in double precision,
//! cosine first; the sine stays in the generator for the next such draw. Longer contiguous slices are
//! filled with uniforms of their own dtype and transformed 16 at a time, eight cosines before eight sines.
//! For float64 that uses the C library's functions, for float32 the Cephes polynomials below, where each
//! `mul_add` is fused and each `*` and `+` rounded by itself; the result is the definition of the bits, and
//! more accurate functions would be wrong here.

use super::generator::Generator;
use super::simd::dispatched;
use super::uniform::Real;
use std::f64::consts::PI;

/// Values transformed together.
const BLOCK: usize = 16;
const HALF: usize = BLOCK / 2;
/// Uniforms made before they are transformed, so that they are still in the cache.
const CHUNK: usize = 256 * BLOCK;

impl Generator {
    /// One normal number of the one-by-one kind.
    pub fn normal(&mut self, mean: f64, std: f64) -> f64 {
        let standard = self.spare_normal.take().unwrap_or_else(|| {
            let u1: f64 = self.rand();
            let u2: f64 = self.rand();
            let r = (-2.0 * (-u2).ln_1p()).sqrt();
            let (sin, cos) = (2.0 * PI * u1).sin_cos();
            self.spare_normal = Some(r * sin);
            r * cos
        });
        standard.mul_add(std, mean)
    }
}

/// Fills a contiguous slice with normals as torch's `normal_` and `randn` do, choosing the way by length.
///
/// For elements that are not contiguous in memory use [`normal_serial`] at any length.
pub fn normal<T: Real>(rng: &mut Generator, out: &mut [T], mean: f64, std: f64) {
    if out.len() >= BLOCK {
        normal_dense(rng, out, mean, std);
    } else {
        super::fill(out, || T::from_f64(rng.normal(mean, std)));
    }
}

/// Calls `put` with `n` normals made one by one, in memory order.
pub fn normal_serial(rng: &mut Generator, n: usize, mean: f64, std: f64, mut put: impl FnMut(f64)) {
    for _ in 0..n {
        put(rng.normal(mean, std));
    }
}

/// Fills a contiguous slice of at least 16 values, 16 at a time; a shorter one is made one by one.
///
/// If 16 does not divide the length, 16 further uniforms are drawn for the last 16 places, so `n + 16` are
/// used up and part of the last full block is overwritten.
pub fn normal_dense<T: Real>(rng: &mut Generator, out: &mut [T], mean: f64, std: f64) {
    if out.len() < BLOCK {
        return normal(rng, out, mean, std);
    }
    for chunk in out.chunks_mut(CHUNK) {
        T::fill_uniform(rng, chunk, T::ZERO, T::ONE);
        T::normal_blocks(chunk, mean, std);
    }
    if !out.len().is_multiple_of(BLOCK)
        && let Some(tail) = out.last_chunk_mut::<BLOCK>()
    {
        T::fill_uniform(rng, tail, T::ZERO, T::ONE);
        T::normal_blocks(tail, mean, std);
    }
}

dispatched! {
    /// Turns each full block of float64 uniforms into normals; only the last step is fused.
    pub(super) fn blocks64(out: &mut [f64], mean: f64, std: f64) {
        for block in out.as_chunks_mut::<BLOCK>().0 {
            for j in 0..HALF {
                let r = (-2.0 * (1.0 - block[j]).ln()).sqrt();
                let (sin, cos) = (2.0 * PI * block[j + HALF]).sin_cos();
                block[j] = (r * cos).mul_add(std, mean);
                block[j + HALF] = (r * sin).mul_add(std, mean);
            }
        }
    }
}

dispatched! {
    /// Turns each full block of float32 uniforms, all of them from `[0, 1)`, into normals.
    pub(super) fn blocks32(out: &mut [f32], mean: f32, std: f32) {
        for block in out.as_chunks_mut::<BLOCK>().0 {
            let (first, second) = block.split_at_mut(HALF);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = pair32(*a, *b, mean, std);
            }
        }
    }
}

/// Two normals from two float32 uniforms.
#[inline(always)]
pub(super) fn pair32(u1: f32, u2: f32, mean: f32, std: f32) -> (f32, f32) {
    let r = (-2.0 * ln32(1.0 - u1)).sqrt();
    let (sin, cos) = sin_cos32(2.0 * std::f32::consts::PI * u2);
    ((r * cos).mul_add(std, mean), (r * sin).mul_add(std, mean))
}

/// Cephes logarithm of a positive normal number.
#[inline(always)]
fn ln32(u: f32) -> f32 {
    // u = m 2^e with m in [1/2, 1), moved to [sqrt(1/2), sqrt(2)); then x = m - 1.
    let bits = u.to_bits();
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let e = ((bits >> 23) as i32 - 126) as f32;
    let low = m < std::f32::consts::FRAC_1_SQRT_2;
    let x = (m - 1.0) + if low { m } else { 0.0 };
    let e = e - if low { 1.0 } else { 0.0 };

    let z = x * x;
    let mut y = 7.037_683_6e-2_f32;
    y = y.mul_add(x, -1.151_461e-1);
    y = y.mul_add(x, 1.167_699_85e-1);
    y = y.mul_add(x, -1.242_014_1e-1);
    y = y.mul_add(x, 1.424_932_3e-1);
    y = y.mul_add(x, -1.666_805_8e-1);
    y = y.mul_add(x, 2.000_071_4e-1);
    y = y.mul_add(x, -2.499_999_4e-1);
    y = y.mul_add(x, 3.333_333e-1);
    // ln 2 in two parts, the second small, so that e times the first is exact.
    y = (y * x).mul_add(z, e * -2.121_944_4e-4);
    y = (-z).mul_add(0.5, y);
    e.mul_add(0.693_359_4, x + y)
}

/// Cephes sine and cosine of an angle from `[0, 2 pi]`.
#[inline(always)]
fn sin_cos32(angle: f32) -> (f32, f32) {
    // j is the even octant; the angle minus j pi/4, with pi/4 in three parts, lies within pi/4 of 0.
    let j = ((angle * (4.0 / std::f32::consts::PI)) as i32 + 1) & !1;
    let octants = j as f32;
    let mut x = octants.mul_add(-0.785_156_25, angle);
    x = octants.mul_add(-2.418_756_5e-4, x);
    x = octants.mul_add(-3.774_895e-8, x);

    let z = x * x;
    let mut c = 2.443_315_7e-5_f32;
    c = c.mul_add(z, -1.388_731_6e-3);
    c = c.mul_add(z, 4.166_664_6e-2);
    c = (c * z).mul_add(z, -(z * 0.5)) + 1.0;
    let mut s = -1.951_529_6e-4_f32;
    s = s.mul_add(z, 8.332_161e-3);
    s = s.mul_add(z, -1.666_665_5e-1);
    s = (s * z).mul_add(x, x);

    // Odd quarters swap the two; the signs go by quadrant.
    let (sin, cos) = if j & 2 != 0 { (c, s) } else { (s, c) };
    let minus_sin = ((j & 4) as u32) << 29;
    let minus_cos = ((!(j - 2) & 4) as u32) << 29;
    (f32::from_bits(sin.to_bits() ^ minus_sin), f32::from_bits(cos.to_bits() ^ minus_cos))
}
