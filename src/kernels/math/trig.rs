//! Sine, cosine and tangent.
//!
//! |x| ≤ 2³⁰ is reduced by multiples of π/2 (f64) or π (f32, in f64 arithmetic) held in two or three words (Cody & Waite 1980,
//! chapter 8; with a fused multiply-add the leading word may have all its bits). Beyond that the fraction of x·2/π is computed
//! in integers (Payne & Hanek 1983), one number at a time.

use super::{Real, divide, fast_two_sum, poly, select, two_product, two_sum};

/// The largest |x| that the branch-free forms reduce correctly.
const LIMIT: f64 = (1u64 << 30) as f64;
/// How many elements the loops below compute before they look for arguments beyond the limit.
const BLOCK: usize = 256;
/// 1.5·2⁵²: added to t it rounds t to an integer and leaves that in the low bits.
const SHIFTER: f64 = 6755399441055744.0;
/// π/2 in three words.
const HALF_PI: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];
/// π in two words.
const PI: [f64; 2] = [std::f64::consts::PI, 1.2246467991473532e-16];

/// The forms of sine, cosine and tangent for one type: without a branch for |x| ≤ 2³⁰, or for any x.
pub trait Forms: Sized {
    /// Whether the branch-free forms are right for x; NaN and ±∞ are not within.
    fn is_near(x: Self) -> bool;
    /// Sine for |x| ≤ 2³⁰.
    fn sin_near(x: Self) -> Self;
    /// Cosine for |x| ≤ 2³⁰.
    fn cos_near(x: Self) -> Self;
    /// Tangent for |x| ≤ 2³⁰.
    fn tan_near(x: Self) -> Self;
    /// Sine of any number.
    fn sin_far(x: Self) -> Self;
    /// Cosine of any number.
    fn cos_far(x: Self) -> Self;
    /// Tangent of any number.
    fn tan_far(x: Self) -> Self;
}

/// x = q·π/2 + r + rl with |r| ≤ π/4: q in the low bits, then r and rl. r + rl is good to 100 bits relative to π/2.
#[inline(always)]
fn reduce(x: f64) -> (u64, f64, f64) {
    let shifted = x.mul_add(std::f64::consts::FRAC_2_PI, SHIFTER);
    let n = shifted - SHIFTER;
    // Exact: the result is below 1 and a multiple of 2⁻⁵².
    let a = (-n).mul_add(HALF_PI[0], x);
    let (p, pl) = two_product(n, HALF_PI[1]);
    let (r, e) = two_sum(a, -p);
    let (r, rl) = fast_two_sum(r, (-n).mul_add(HALF_PI[2], e - pl));
    (shifted.to_bits(), r, rl)
}

/// sin(r + rl) as two words, r dominating, for |r| ≤ π/4.
#[inline(always)]
fn sin_kernel(r: f64, rl: f64) -> (f64, f64) {
    let z = r * r;
    let p = poly(
        z,
        [
            -0.16666666666666632,
            0.008333333333322519,
            -0.00019841269829882019,
            2.7557313713768968e-06,
            -2.5050760984835715e-08,
            1.5896934230455393e-10,
        ],
    );
    (r, (z * r).mul_add(p, rl * (-0.5f64).mul_add(z, 1.0)))
}

/// cos(r + rl) as two words for |r| ≤ π/4.
#[inline(always)]
fn cos_kernel(r: f64, rl: f64) -> (f64, f64) {
    let (z, zl) = two_product(r, r);
    let zl = (r + r).mul_add(rl, zl);
    let p = poly(
        z,
        [
            0.0416666666666666,
            -0.0013888888888874558,
            2.4801587289759178e-05,
            -2.755731443244915e-07,
            2.0875734022234184e-09,
            -1.1360192029826043e-11,
        ],
    );
    let c = (-0.5f64).mul_add(z, 1.0);
    let cl = (-0.5f64).mul_add(z, 1.0 - c);
    (c, (z * z).mul_add(p, (-0.5f64).mul_add(zl, cl)))
}

/// The sine of q·π/2 + r + rl.
#[inline(always)]
fn sin_reduced((q, r, rl): (u64, f64, f64)) -> f64 {
    let (s, sl) = sin_kernel(r, rl);
    let (c, cl) = cos_kernel(r, rl);
    let odd = q & 1 != 0;
    let y = select(odd, c, s) + select(odd, cl, sl);
    f64::from_bits(y.to_bits() ^ ((q & 2) << 62))
}

/// The tangent of q·π/2 + r + rl.
#[inline(always)]
fn tan_reduced((q, r, rl): (u64, f64, f64)) -> f64 {
    let (s, sl) = sin_kernel(r, rl);
    let (c, cl) = cos_kernel(r, rl);
    let (s, sl) = fast_two_sum(s, sl);
    let (c, cl) = fast_two_sum(c, cl);
    let odd = q & 1 != 0;
    let numerator = (select(odd, -c, s), select(odd, -cl, sl));
    divide(numerator, (select(odd, s, c), select(odd, sl, cl)))
}

/// Below it sin(x) and tan(x) round to x.
const TINY: f64 = 1.0 / (1u64 << 28) as f64;

/// The same for f32.
const TINY_SHORT: f32 = 1.0 / (1 << 13) as f32;

impl Forms for f64 {
    #[inline(always)]
    fn is_near(x: f64) -> bool {
        x.abs() <= LIMIT
    }
    #[inline(always)]
    fn sin_near(x: f64) -> f64 {
        select(x.abs() < TINY, x, sin_reduced(reduce(x)))
    }
    #[inline(always)]
    fn cos_near(x: f64) -> f64 {
        let (q, r, rl) = reduce(x);
        sin_reduced((q.wrapping_add(1), r, rl))
    }
    #[inline(always)]
    fn tan_near(x: f64) -> f64 {
        select(x.abs() < TINY, x, tan_reduced(reduce(x)))
    }
    fn sin_far(x: f64) -> f64 {
        sin_reduced(reduce_far(x))
    }
    fn cos_far(x: f64) -> f64 {
        let (q, r, rl) = reduce_far(x);
        sin_reduced((q.wrapping_add(1), r, rl))
    }
    fn tan_far(x: f64) -> f64 {
        tan_reduced(reduce_far(x))
    }
}

/// The sine of r, and its sign changed if n is odd, for |r| ≤ π/2; a relative error of 2⁻³⁵.
#[inline(always)]
fn sin_short(r: f64, n: u64) -> f64 {
    let z = r * r;
    let p = poly(
        z,
        [-0.16666666631637306, 0.008333331318778708, -0.00019840893394126977, 2.752657832855166e-06, -2.3908469273165514e-08],
    );
    let y = (z * r).mul_add(p, r);
    f64::from_bits(y.to_bits() ^ (n << 63))
}

impl Forms for f32 {
    #[inline(always)]
    fn is_near(x: f32) -> bool {
        x.abs() <= LIMIT as f32
    }
    #[inline(always)]
    fn sin_near(x: f32) -> f32 {
        let wide = x as f64;
        let shifted = wide.mul_add(std::f64::consts::FRAC_1_PI, SHIFTER);
        let n = shifted - SHIFTER;
        let r = (-n).mul_add(PI[1], (-n).mul_add(PI[0], wide));
        let y = sin_short(r, shifted.to_bits()) as f32;
        select(x.abs() < TINY_SHORT, x, y)
    }
    #[inline(always)]
    fn cos_near(x: f32) -> f32 {
        // cos x = sin(x + π/2): an odd number of halves of π is taken away.
        let x = x.abs() as f64;
        let shifted = x.mul_add(std::f64::consts::FRAC_1_PI, -0.5) + SHIFTER;
        let n = (shifted - SHIFTER) + 0.5;
        let r = (-n).mul_add(PI[1], (-n).mul_add(PI[0], x));
        sin_short(-r, shifted.to_bits()) as f32
    }
    #[inline(always)]
    fn tan_near(x: f32) -> f32 {
        let wide = x as f64;
        let shifted = wide.mul_add(std::f64::consts::FRAC_2_PI, SHIFTER);
        let n = shifted - SHIFTER;
        let r = (-n).mul_add(HALF_PI[1], (-n).mul_add(HALF_PI[0], wide));
        select(x.abs() < TINY_SHORT, x, tan_short(shifted.to_bits(), r) as f32)
    }
    fn sin_far(x: f32) -> f32 {
        sin_reduced(reduce_far(x as f64)) as f32
    }
    fn cos_far(x: f32) -> f32 {
        f64::cos_far(x as f64) as f32
    }
    fn tan_far(x: f32) -> f32 {
        tan_reduced(reduce_far(x as f64)) as f32
    }
}

/// The tangent of q·π/2 + r for |r| ≤ π/4; a relative error of 2⁻³³.
#[inline(always)]
fn tan_short(q: u64, r: f64) -> f64 {
    let z = r * r;
    let p = poly(z, [-0.16666666641527042, 0.008333329374139874, -0.00019839331002543005, 2.7182745255300102e-06]);
    let s = (z * r).mul_add(p, r);
    let p = poly(z, [0.04166664680714513, -0.0013887364483625366, 2.4438090802584932e-05]);
    let c = (z * z).mul_add(p, (-0.5f64).mul_add(z, 1.0));
    let odd = q & 1 != 0;
    select(odd, -c, s) / select(odd, s, c)
}

/// 2/π to 1280 bits, after one word of zeros.
const TWO_OVER_PI: [u64; 21] = [
    0x0000_0000_0000_0000,
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
    0xf0cf_bc20_9af4_361d,
];

/// What [`reduce`] does, for |x| ≥ 2³⁰, infinities and NaN.
///
/// x = m·2ᵉ with an integer m of 53 bits. Of x·2/π only the value modulo 4 matters, so the bits of 2/π above 2²⁻ᵉ are skipped; the
/// next 192 leave, after up to 61 bits of cancellation, more than two words of f64.
#[cold]
#[inline(never)]
fn reduce_far(x: f64) -> (u64, f64, f64) {
    if !x.is_finite() {
        return (0, f64::NAN, 0.0);
    }
    let bits = x.abs().to_bits();
    let m = (bits & 0x000f_ffff_ffff_ffff) | 0x0010_0000_0000_0000;
    // The leading bit taken is the one of weight 2²⁻ᵉ⁻¹; e is at least −22.
    let first = ((bits >> 52) as usize + 62).saturating_sub(1075);
    let (word, shift) = (first / 64, (first % 64) as u32);
    let window = |i: usize| {
        let low = TWO_OVER_PI.get(word + i + 1).copied().unwrap_or(0) as u128;
        let high = TWO_OVER_PI.get(word + i).copied().unwrap_or(0) as u128;
        (((high << 64 | low) << shift) >> 64) as u64
    };
    // The product with m modulo 2¹⁹², as its upper 128 bits.
    let low = (m as u128 * window(2) as u128) >> 64;
    let high = ((window(0) as u128) << 64 | window(1) as u128).wrapping_mul(m as u128);
    let turns = high.wrapping_add(low); // of 2π, times 2¹²⁸
    // Rounded to quarters; what remains is signed.
    let quarter = turns.wrapping_add(1 << 125) >> 126;
    let rest = (turns << 2) as i128; // of π/2, times 2¹²⁸
    let head = rest as f64;
    let tail = rest.wrapping_sub(head as i128) as f64;
    let unit = 2f64.powi(-128);
    let (f, fl) = (head * unit, tail * unit);
    let (r, rl) = two_product(f, HALF_PI[0]);
    let (r, rl) = fast_two_sum(r, f.mul_add(HALF_PI[1], fl.mul_add(HALF_PI[0], rl)));
    if x < 0.0 { (0u64.wrapping_sub(quarter as u64), -r, -rl) } else { (quarter as u64, r, rl) }
}

/// The sine of x radians. For loops there are [`sin_slice`] and [`sin_run`].
///
/// Error: f32 < 0.51, f64 < 0.69.
#[inline(always)]
pub fn sin<T: Real>(x: T) -> T {
    if T::is_near(x) { T::sin_near(x) } else { T::sin_far(x) }
}

/// The cosine of x radians. For loops there are [`cos_slice`] and [`cos_run`].
///
/// Error: f32 < 0.51, f64 < 0.66.
#[inline(always)]
pub fn cos<T: Real>(x: T) -> T {
    if T::is_near(x) { T::cos_near(x) } else { T::cos_far(x) }
}

/// The tangent of x radians. For loops there are [`tan_slice`] and [`tan_run`].
///
/// Error: f32 < 0.51, f64 < 0.84.
#[inline(always)]
pub fn tan<T: Real>(x: T) -> T {
    if T::is_near(x) { T::tan_near(x) } else { T::tan_far(x) }
}

/// `near` over all elements, then `far` where it is needed.
///
/// # Safety
/// `x` must be valid for reading and `y` for writing `n` elements, at any alignment; they are the same place or do not overlap.
#[inline(always)]
unsafe fn patched<T: Real>(x: *const T, y: *mut T, n: usize, near: impl Fn(T) -> T, far: impl Fn(T) -> T) {
    let mut block = [T::ZERO; BLOCK];
    for start in (0..n).step_by(BLOCK) {
        let block = &mut block[..BLOCK.min(n - start)];
        // A copy, because y may be the place of x; and the loop below then has one pattern of access only.
        // SAFETY: start + block.len() ≤ n; the copy goes byte by byte, so alignment does not matter.
        unsafe { std::ptr::copy_nonoverlapping(x.add(start).cast::<u8>(), block.as_mut_ptr().cast(), size_of_val(block)) };
        let mut all_near = true;
        for (i, &x) in block.iter().enumerate() {
            // SAFETY: as above.
            unsafe { y.add(start + i).write_unaligned(near(x)) };
            all_near &= T::is_near(x);
        }
        if !all_near {
            for (i, &x) in block.iter().enumerate().filter(|(_, x)| !T::is_near(**x)) {
                // SAFETY: as above.
                unsafe { y.add(start + i).write_unaligned(far(x)) };
            }
        }
    }
}

/// y = sin x for `n` elements, each as [`sin`] gives it.
///
/// # Safety
/// `x` must be valid for reading and `y` for writing `n` elements, at any alignment; they are the same place or do not overlap.
#[inline(always)]
pub unsafe fn sin_run<T: Real>(x: *const T, y: *mut T, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { patched(x, y, n, T::sin_near, T::sin_far) }
}

/// y = cos x for `n` elements, each as [`cos`] gives it.
///
/// # Safety
/// As for [`sin_run`].
#[inline(always)]
pub unsafe fn cos_run<T: Real>(x: *const T, y: *mut T, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { patched(x, y, n, T::cos_near, T::cos_far) }
}

/// y = tan x for `n` elements, each as [`tan`] gives it.
///
/// # Safety
/// As for [`sin_run`].
#[inline(always)]
pub unsafe fn tan_run<T: Real>(x: *const T, y: *mut T, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { patched(x, y, n, T::tan_near, T::tan_far) }
}

/// y = sin x, element by element, for as many as both have.
#[inline(always)]
pub fn sin_slice<T: Real>(x: &[T], y: &mut [T]) {
    // SAFETY: two borrowed slices do not overlap.
    unsafe { sin_run(x.as_ptr(), y.as_mut_ptr(), x.len().min(y.len())) }
}

/// y = cos x, element by element, for as many as both have.
#[inline(always)]
pub fn cos_slice<T: Real>(x: &[T], y: &mut [T]) {
    // SAFETY: two borrowed slices do not overlap.
    unsafe { cos_run(x.as_ptr(), y.as_mut_ptr(), x.len().min(y.len())) }
}

/// y = tan x, element by element, for as many as both have.
#[inline(always)]
pub fn tan_slice<T: Real>(x: &[T], y: &mut [T]) {
    // SAFETY: two borrowed slices do not overlap.
    unsafe { tan_run(x.as_ptr(), y.as_mut_ptr(), x.len().min(y.len())) }
}
