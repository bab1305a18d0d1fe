//! Softmax and its logarithm along one dim of contiguous memory, shifted by the largest element (Blanchard, Higham,
//! Higham 2021, "Accurately computing the log-sum-exp and softmax functions").

use super::lines::Lines;
use super::math::{self, Real};
use super::par;
use super::vector::vectorize;

/// Elements that are worth a thread.
const GRAIN: usize = 8 * 1024;
/// Neighbouring lines that are worked on together.
const STRIP: usize = 64;
/// Sums side by side along a line.
const LANES: usize = 32;

/// Writes exp(x - m) / s, or with `log` x - m - log(s), where m is the largest element of a line and s the sum of exp(x - m).
///
/// # Safety
/// `x` must be valid for reads and `y` for writes of all elements of the lines; they may be the same.
pub unsafe fn softmax<T: Real + Send + Sync>(x: *const T, y: *mut T, lines: Lines, log: bool) {
    let Lines { outer, n, inner } = lines;
    if n == 0 || inner == 0 {
        return;
    }
    let (x, y) = (x as usize, y as usize);
    if inner == 1 && n < LANES {
        return par::for_ranges(outer, (GRAIN / n).next_multiple_of(STRIP), &|range| {
            vectorize(
                #[inline(always)]
                || {
                    for first in range.clone().step_by(STRIP) {
                        let width = STRIP.min(range.end - first);
                        // SAFETY: the caller answers for all elements; these lines are worked on by one thread.
                        unsafe { short_lines((x as *const T).add(first * n), (y as *mut T).add(first * n), n, width, log) }
                    }
                },
            )
        });
    }
    let strips = inner.div_ceil(STRIP);
    par::for_ranges(outer * strips, (GRAIN / (n * inner.min(STRIP))).max(1), &|range| {
        vectorize(
            #[inline(always)]
            || {
                for strip in range {
                    let first = strip / strips * n * inner + strip % strips * STRIP;
                    let width = STRIP.min(inner - strip % strips * STRIP);
                    // SAFETY: the caller answers for all elements; this strip is worked on by one thread.
                    unsafe {
                        let (x, y) = ((x as *const T).add(first), (y as *mut T).add(first));
                        if inner == 1 { line(x, y, n, log) } else { columns(x, y, n, inner, width, log) }
                    }
                }
            },
        )
    });
}

#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

#[inline(always)]
unsafe fn line<T: Real>(x: *const T, y: *mut T, n: usize, log: bool) {
    // SAFETY: the caller answers for n elements of both.
    let (get, set) = (|i: usize| unsafe { x.add(i).read_unaligned() }, |i: usize, v: T| unsafe { y.add(i).write_unaligned(v) });
    let whole = n - n % LANES;
    let lowest = -T::INFINITY;
    let mut lanes = [lowest; LANES];
    for i in (0..whole).step_by(LANES) {
        for (lane, slot) in lanes.iter_mut().enumerate() {
            *slot = larger(*slot, get(i + lane));
        }
    }
    let mut most = lanes.iter().fold(lowest, |a, &b| larger(a, b));
    for i in whole..n {
        most = larger(most, get(i));
    }
    let mut lanes = [T::ZERO; LANES];
    for i in (0..whole).step_by(LANES) {
        for (lane, slot) in lanes.iter_mut().enumerate() {
            let e = math::exp(get(i + lane) - most);
            *slot = *slot + e;
            if !log {
                set(i + lane, e);
            }
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[lane] + lanes[lane + width];
        }
        width /= 2;
    }
    let mut sum = lanes[0];
    for i in whole..n {
        let e = math::exp(get(i) - most);
        sum = sum + e;
        if !log {
            set(i, e);
        }
    }
    if log {
        let shift = math::ln(sum);
        (0..n).for_each(|i| set(i, get(i) - most - shift));
    } else {
        // SAFETY: just written.
        (0..n).for_each(|i| set(i, unsafe { y.add(i).read_unaligned() } / sum));
    }
}

/// Neighbouring lines that are too short to vectorise along: turned into columns and back.
#[inline(always)]
unsafe fn short_lines<T: Real>(x: *const T, y: *mut T, n: usize, width: usize, log: bool) {
    let mut block = [T::ZERO; LANES * STRIP];
    for i in 0..width {
        for k in 0..n {
            // SAFETY: the caller answers for `width` lines of n elements.
            block[k * STRIP + i] = unsafe { x.add(i * n + k).read_unaligned() };
        }
    }
    let at = block.as_mut_ptr();
    // SAFETY: the block holds n < LANES rows of STRIP elements.
    unsafe { columns(at, at, n, STRIP, STRIP, log) };
    for i in 0..width {
        for k in 0..n {
            // SAFETY: as above.
            unsafe { y.add(i * n + k).write_unaligned(block[k * STRIP + i]) };
        }
    }
}

#[inline(always)]
unsafe fn columns<T: Real>(x: *const T, y: *mut T, n: usize, inner: usize, width: usize, log: bool) {
    let (mut most, mut sum) = ([-T::INFINITY; STRIP], [T::ZERO; STRIP]);
    for k in 0..n {
        for (i, most) in most.iter_mut().enumerate().take(width) {
            // SAFETY: the caller answers for n rows of `width` elements, `inner` apart.
            *most = larger(*most, unsafe { x.add(k * inner + i).read_unaligned() });
        }
    }
    for k in 0..n {
        for i in 0..width {
            // SAFETY: as above.
            unsafe {
                let e = math::exp(x.add(k * inner + i).read_unaligned() - most[i]);
                sum[i] = sum[i] + e;
                if !log {
                    y.add(k * inner + i).write_unaligned(e);
                }
            }
        }
    }
    if log {
        (0..width).for_each(|i| sum[i] = math::ln(sum[i]));
    }
    for k in 0..n {
        for i in 0..width {
            // SAFETY: as above.
            unsafe {
                let (from, to) = (x.add(k * inner + i), y.add(k * inner + i));
                to.write_unaligned(if log { from.read_unaligned() - most[i] - sum[i] } else { to.read_unaligned() / sum[i] });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_plain_formula() {
        for shape in
            [vec![], vec![5], vec![100], vec![3, 70], vec![40, 3], vec![700, 10], vec![2, 33, 130], vec![0, 4], vec![4, 0]]
        {
            let total: usize = shape.iter().product();
            let x: Vec<f64> = (0..total).map(|i| ((i * 7919) % 101) as f64 / 10.0 + 700.0).collect();
            for dim in 0..shape.len().max(1) {
                let lines = Lines::new(&shape, dim);
                for log in [false, true] {
                    let mut y = vec![0.0; total];
                    // SAFETY: both have as many elements as the lines.
                    unsafe { softmax(x.as_ptr(), y.as_mut_ptr(), lines, log) };
                    for place in 0..total {
                        let first = place / lines.inner / lines.n * lines.n * lines.inner + place % lines.inner;
                        let sum: f64 = (0..lines.n).map(|k| (x[first + k * lines.inner] - x[place]).exp()).sum();
                        let want = if log { -sum.ln() } else { 1.0 / sum };
                        assert!((y[place] - want).abs() <= 1e-14 * (1.0 + want.abs()), "{shape:?} {dim} {log}");
                    }
                }
            }
        }
    }
}
