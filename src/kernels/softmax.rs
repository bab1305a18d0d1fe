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
    let Lines { n, inner, .. } = lines;
    let (x, y) = (x as usize, y as usize);
    strips(
        lines,
        #[inline(always)]
        |first, _, width| {
            // SAFETY: the caller answers for all elements; these lines are worked on by one thread.
            unsafe {
                let (x, y) = ((x as *const T).add(first), (y as *mut T).add(first));
                match (inner, n) {
                    (1, ..LANES) => drop(short_lines(x, y, n, width, log)),
                    (1, _) => drop(line(x, y, n, log)),
                    _ => drop(columns(x, y, n, inner, width, log)),
                }
            }
        },
    )
}

/// Writes m and log(s) of each line, of which [`softmax`] and its logarithm are made, and the softmax to `y` if there is one.
///
/// # Safety
/// `x` must be valid for reads of all elements of the lines and `y` for writes, `most` and `log_sum` for writes of one for each line.
pub unsafe fn norms<T: Real + Send + Sync>(x: *const T, y: Option<*mut T>, most: *mut T, log_sum: *mut T, lines: Lines) {
    let Lines { n, inner, .. } = lines;
    let (x, y, most, log_sum) = (x as usize, y.map(|y| y as usize), most as usize, log_sum as usize);
    strips(
        lines,
        #[inline(always)]
        |first, number, width| {
            // SAFETY: the caller answers for all elements and lines; these are worked on by one thread.
            unsafe {
                let (x, y) = ((x as *const T).add(first), y.map(|y| (y as *mut T).add(first)));
                let same = |(most, sum): (T, T)| ([most; STRIP], [sum; STRIP]);
                let (mosts, sums) = match (y, inner, n) {
                    (Some(y), 1, ..LANES) => short_lines(x, y, n, width, false),
                    (Some(y), 1, _) => same(line(x, y, n, false)),
                    (Some(y), ..) => columns(x, y, n, inner, width, false),
                    (None, 1, ..LANES) => {
                        let block = turned(x, n, width);
                        columns_norm(block.as_ptr(), n, STRIP, STRIP, |_, _| {})
                    }
                    (None, 1, _) => same(line_norm(x, n, |_, _| {})),
                    (None, ..) => columns_norm(x, n, inner, width, |_, _| {}),
                };
                for i in 0..if inner == 1 && n >= LANES { 1 } else { width } {
                    (most as *mut T).add(number + i).write_unaligned(mosts[i]);
                    (log_sum as *mut T).add(number + i).write_unaligned(math::ln(sums[i]));
                }
            }
        },
    )
}

/// Writes (p - [k = place]) c, for the k-th element p of each line, which is a softmax: the gradient of the negative logarithm of
/// its element at a place of the line, c times.
///
/// # Safety
/// `p` must be valid for reads and `y` for writes of all elements of the lines; the others for reads of one for each line.
/// Places must be within lines.
pub unsafe fn log_loss_gradient<T: Real + Send + Sync>(p: *const T, y: *mut T, lines: Lines, c: *const T, places: *const i64) {
    let Lines { n, inner, .. } = lines;
    let (p, y, c, places) = (p as usize, y as usize, c as usize, places as usize);
    strips(
        lines,
        #[inline(always)]
        |first, number, width| {
            // SAFETY: the caller answers for all elements and lines; these are worked on by one thread.
            unsafe {
                let (p, y) = ((p as *const T).add(first), (y as *mut T).add(first));
                let of_line = |i: usize| (c as *const T).add(number + i).read_unaligned();
                let place = |i: usize| (places as *const i64).add(number + i).read_unaligned() as usize;
                // As rows of neighbours: of a line, or of neighbouring lines.
                if inner == 1 {
                    for i in 0..if n < LANES { width } else { 1 } {
                        let c = of_line(i);
                        for k in i * n..(i + 1) * n {
                            y.add(k).write_unaligned(p.add(k).read_unaligned() * c);
                        }
                        let at = y.add(i * n + place(i));
                        at.write_unaligned(at.read_unaligned() - c);
                    }
                } else {
                    for k in 0..n {
                        for i in 0..width {
                            y.add(k * inner + i).write_unaligned(p.add(k * inner + i).read_unaligned() * of_line(i));
                        }
                    }
                    for i in 0..width {
                        let at = y.add(place(i) * inner + i);
                        at.write_unaligned(at.read_unaligned() - of_line(i));
                    }
                }
            }
        },
    )
}

/// Writes y (g - sum(g y)), the gradient of the softmax y, or with `log` g - exp(y) sum(g), that of its logarithm y.
///
/// # Safety
/// `g` and `y` must be valid for reads and `z` for writes of all elements of the lines.
pub unsafe fn gradient<T: Real + Send + Sync>(g: *const T, y: *const T, z: *mut T, lines: Lines, log: bool) {
    let Lines { n, inner, .. } = lines;
    let (g, y, z) = (g as usize, y as usize, z as usize);
    strips(
        lines,
        #[inline(always)]
        |first, _, width| {
            // Along a line where its elements are neighbours, else along neighbouring lines.
            let (count, step) = if inner == 1 { (if n < LANES { width } else { 1 }, n) } else { (1, 0) };
            let (rows, width) = if inner == 1 { (1, n) } else { (n, width) };
            for line in 0..count {
                let start = first + line * step;
                // SAFETY: the caller answers for all elements; these lines are worked on by one thread.
                unsafe {
                    let (g, y, z) = ((g as *const T).add(start), (y as *const T).add(start), (z as *mut T).add(start));
                    let at = |k: usize, i: usize| (g.add(k * inner + i).read_unaligned(), y.add(k * inner + i).read_unaligned());
                    let mut sums = [T::ZERO; STRIP];
                    for k in 0..rows {
                        for from in (0..width).step_by(STRIP) {
                            for (i, sum) in sums.iter_mut().enumerate().take(width - from) {
                                let (g, y) = at(k, from + i);
                                *sum = *sum + if log { g } else { g * y };
                            }
                        }
                    }
                    if inner == 1 {
                        let mut half = STRIP / 2;
                        while half > 0 {
                            (0..half).for_each(|i| sums[i] = sums[i] + sums[i + half]);
                            half /= 2;
                        }
                        sums = [sums[0]; STRIP];
                    }
                    for k in 0..rows {
                        for from in (0..width).step_by(STRIP) {
                            for (i, &sum) in sums.iter().enumerate().take(width - from) {
                                let (g, y) = at(k, from + i);
                                let value = if log { g - math::exp(y) * sum } else { y * (g - sum) };
                                z.add(k * inner + from + i).write_unaligned(value);
                            }
                        }
                    }
                }
            }
        },
    )
}

/// Calls `body(first element, number of the first line, lines)` for strips of lines: neighbours, or short ones one behind the
/// other, or a single long one.
#[inline(always)]
fn strips(lines: Lines, body: impl Fn(usize, usize, usize) + Sync + Copy) {
    let Lines { outer, n, inner } = lines;
    if n == 0 || inner == 0 {
        return;
    }
    let short = inner == 1 && n < LANES;
    let strips = inner.div_ceil(STRIP);
    let units = if short { outer.div_ceil(STRIP) } else { outer * strips };
    let size = if short { n * STRIP } else { n * inner.min(STRIP) };
    par::for_ranges(units, GRAIN.div_ceil(size), &|range| {
        vectorize(
            #[inline(always)]
            || {
                for unit in range {
                    let (block, line) = (unit / strips, unit % strips * STRIP);
                    // One call of the body: it is compiled in full wherever it is called.
                    let (first, number, width) = if short {
                        (unit * STRIP * n, unit * STRIP, STRIP.min(outer - unit * STRIP))
                    } else {
                        (block * n * inner + line, block * inner + line, STRIP.min(inner - line))
                    };
                    body(first, number, width)
                }
            },
        )
    });
}

#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// The largest element of a line and the sum of exp(x - m); each of these is given to `keep`.
#[inline(always)]
unsafe fn line_norm<T: Real>(x: *const T, n: usize, keep: impl Fn(usize, T)) -> (T, T) {
    // SAFETY: the caller answers for n elements.
    let get = |i: usize| unsafe { x.add(i).read_unaligned() };
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
            keep(i + lane, e);
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
        keep(i, e);
    }
    (most, sum)
}

/// Writes the softmax of a line, or its logarithm, and answers the same as [`line_norm`].
#[inline(always)]
unsafe fn line<T: Real>(x: *const T, y: *mut T, n: usize, log: bool) -> (T, T) {
    // SAFETY: the caller answers for n elements of both.
    let (get, set) = (|i: usize| unsafe { x.add(i).read_unaligned() }, |i: usize, v: T| unsafe { y.add(i).write_unaligned(v) });
    // SAFETY: as above.
    let (most, sum) = unsafe {
        line_norm(
            x,
            n,
            #[inline(always)]
            |i, e| {
                if !log {
                    set(i, e)
                }
            },
        )
    };
    if log {
        let shift = math::ln(sum);
        (0..n).for_each(|i| set(i, get(i) - most - shift));
    } else {
        // SAFETY: just written.
        (0..n).for_each(|i| set(i, unsafe { y.add(i).read_unaligned() } / sum));
    }
    (most, sum)
}

/// Lines of n < LANES elements as columns.
#[inline(always)]
unsafe fn turned<T: Real>(x: *const T, n: usize, width: usize) -> [T; LANES * STRIP] {
    let mut block = [T::ZERO; LANES * STRIP];
    for i in 0..width {
        for k in 0..n {
            // SAFETY: the caller answers for `width` lines of n elements.
            block[k * STRIP + i] = unsafe { x.add(i * n + k).read_unaligned() };
        }
    }
    block
}

/// Neighbouring lines that are too short to vectorise along: turned into columns and back.
#[inline(always)]
unsafe fn short_lines<T: Real>(x: *const T, y: *mut T, n: usize, width: usize, log: bool) -> ([T; STRIP], [T; STRIP]) {
    // SAFETY: the caller answers for `width` lines of n elements.
    let mut block = unsafe { turned(x, n, width) };
    let at = block.as_mut_ptr();
    // SAFETY: the block holds n < LANES rows of STRIP elements.
    let norms = unsafe { columns(at, at, n, STRIP, STRIP, log) };
    for i in 0..width {
        for k in 0..n {
            // SAFETY: as above.
            unsafe { y.add(i * n + k).write_unaligned(block[k * STRIP + i]) };
        }
    }
    norms
}

/// The same as [`line_norm`] of `width` neighbouring lines.
#[inline(always)]
unsafe fn columns_norm<T: Real>(
    x: *const T,
    n: usize,
    inner: usize,
    width: usize,
    keep: impl Fn(usize, T),
) -> ([T; STRIP], [T; STRIP]) {
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
            let e = math::exp(unsafe { x.add(k * inner + i).read_unaligned() } - most[i]);
            sum[i] = sum[i] + e;
            keep(k * inner + i, e);
        }
    }
    (most, sum)
}

/// Writes the softmax of `width` neighbouring lines, or its logarithm, and answers the same as [`columns_norm`].
#[inline(always)]
unsafe fn columns<T: Real>(x: *const T, y: *mut T, n: usize, inner: usize, width: usize, log: bool) -> ([T; STRIP], [T; STRIP]) {
    // SAFETY: the caller answers for n rows of `width` elements, `inner` apart.
    let (most, sum) = unsafe {
        columns_norm(
            x,
            n,
            inner,
            width,
            #[inline(always)]
            |place, e| {
                if !log {
                    y.add(place).write_unaligned(e)
                }
            },
        )
    };
    let mut shift = sum;
    if log {
        (0..width).for_each(|i| shift[i] = math::ln(sum[i]));
    }
    for k in 0..n {
        for i in 0..width {
            // SAFETY: as above.
            unsafe {
                let (from, to) = (x.add(k * inner + i), y.add(k * inner + i));
                to.write_unaligned(if log { from.read_unaligned() - most[i] - shift[i] } else { to.read_unaligned() / sum[i] });
            }
        }
    }
    (most, sum)
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
