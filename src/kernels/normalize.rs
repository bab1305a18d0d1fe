//! Normalization: elements of contiguous memory less the mean of their group, over its standard deviation, times a
//! weight and plus a bias that their channel has; and its derivative. One pass over a group while it is in the cache.
//!
//! Sums are taken in lanes over short stretches, and of these in double precision. The answer does not depend on the
//! number of threads: a group is one thread's, and what is summed over groups is summed over chunks of a fixed size.

use super::math::Real;
use super::par;
use super::vector::vectorize;
use crate::dtype::Element;

/// Elements that are worth a thread.
const GRAIN: usize = 8 * 1024;
/// Sums side by side.
const LANES: usize = 16;
/// Elements that are summed in their own precision.
const STRETCH: usize = 1024;

/// Which elements are normalized together. Memory is `outer` blocks of `channels` lines of `inner` neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Groups {
    /// Blocks.
    pub outer: usize,
    /// Lines of a block, each with a weight and a bias.
    pub channels: usize,
    /// Elements of a line.
    pub inner: usize,
    /// How many neighbouring channels of a block are a group; None if a group is one channel of all blocks.
    pub width: Option<usize>,
}

/// Lines in memory that are a group.
struct Lines {
    first: usize,
    step: usize,
    count: usize,
    length: usize,
    channel: usize,
    next_channel: usize,
}

impl Groups {
    /// How many there are.
    pub fn count(self) -> usize {
        self.width.map_or(self.channels, |width| self.outer * (self.channels / width.max(1)))
    }

    /// How many elements each has.
    pub fn size(self) -> usize {
        self.width.unwrap_or(self.outer) * self.inner
    }

    /// Chunks of groups that one thread works on and that have gradients of the parameters of their own.
    pub fn chunks(self) -> usize {
        if self.width.is_none() { 1 } else { self.outer.min(16) }
    }

    /// Whether the weight changes from one element to the next.
    fn weights_change(self) -> bool {
        self.width.is_some() && self.inner == 1
    }

    fn lines(self, group: usize) -> Lines {
        let Groups { outer, channels, inner, .. } = self;
        let Some(width) = self.width else {
            let first = group * inner;
            return Lines { first, step: channels * inner, count: outer, length: inner, channel: group, next_channel: 0 };
        };
        let (first, channel) = (group * width * inner, group * width % channels);
        if inner == 1 {
            return Lines { first, step: 0, count: 1, length: width, channel, next_channel: 0 };
        }
        Lines { first, step: inner, count: width, length: inner, channel, next_channel: 1 }
    }
}

/// How the mean and the deviation of a group come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistics {
    /// They are computed.
    OfGroup,
    /// The deviation is computed from a mean of 0, which is that of the elements' squares.
    AroundZero,
    /// They are given.
    Given,
}

/// What `forward` reads and writes.
pub struct Forward<T> {
    /// The elements.
    pub x: *const T,
    /// Their channels' factors.
    pub weight: *const T,
    /// What is added in the end.
    pub bias: *const T,
    /// The groups' means.
    pub mean: *mut T,
    /// The groups' variances; not used if these are given.
    pub variance: *mut T,
    /// One over the groups' deviations.
    pub rstd: *mut T,
    /// The results.
    pub y: *mut T,
}

/// What `backward` reads and writes.
pub struct Backward<T> {
    /// The gradient of the results.
    pub g: *const T,
    /// The elements.
    pub x: *const T,
    /// Their channels' factors.
    pub weight: *const T,
    /// The groups' means.
    pub mean: *const T,
    /// One over the groups' deviations.
    pub rstd: *const T,
    /// The gradient of the elements.
    pub gx: *mut T,
    /// For each chunk the gradients of the weights, which begin as zeros.
    pub gw: *mut T,
    /// For each chunk the gradients of the biases, which begin as zeros.
    pub gb: *mut T,
}

// SAFETY: each group, and each chunk's sums, are used by one thread.
unsafe impl<T> Sync for Forward<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Backward<T> {}

/// Sums of f(i) over i below n.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // lanes side by side, of each sum
fn sums<T: Real + Element, const K: usize>(n: usize, f: impl Fn(usize) -> [T; K]) -> [f64; K] {
    let mut total = [0.0; K];
    let mut first = 0;
    while first < n {
        let end = n.min(first + STRETCH);
        let whole = end - (end - first) % LANES;
        let mut lanes = [[T::ZERO; LANES]; K];
        for i in (first..whole).step_by(LANES) {
            for lane in 0..LANES {
                let values = f(i + lane);
                for k in 0..K {
                    lanes[k][lane] = lanes[k][lane] + values[k];
                }
            }
        }
        for k in 0..K {
            let mut width = LANES / 2;
            while width > 0 {
                for lane in 0..width {
                    lanes[k][lane] = lanes[k][lane] + lanes[k][lane + width];
                }
                width /= 2;
            }
            total[k] += lanes[k][0].to_f64();
        }
        for i in whole..end {
            let values = f(i);
            for k in 0..K {
                total[k] += values[k].to_f64();
            }
        }
        first = end;
    }
    total
}

/// Normalizes all groups, and fills in their statistics unless these are given.
///
/// # Safety
/// All must be valid: `x` and `y` for all elements, `weight` and `bias` for the channels, the others for the groups.
pub unsafe fn forward<T: Real + Element>(groups: Groups, statistics: Statistics, eps: f64, a: &Forward<T>) {
    par::for_ranges(groups.count(), (GRAIN / groups.size().max(1)).max(1), &|range| {
        vectorize(
            #[inline(always)]
            || {
                for group in range {
                    // SAFETY: the caller answers for all groups.
                    unsafe {
                        if groups.weights_change() {
                            forward_group::<T, true>(groups, group, statistics, eps, a)
                        } else {
                            forward_group::<T, false>(groups, group, statistics, eps, a)
                        }
                    }
                }
            },
        )
    });
}

/// Mean and variance.
#[inline(always)]
unsafe fn moments<T: Real + Element>(lines: &Lines, x: *const T, around_zero: bool) -> (f64, f64) {
    let count = (lines.count * lines.length) as f64;
    let mut mean = 0.0;
    // SAFETY: the caller answers for the lines.
    let line = |j: usize| unsafe { x.add(lines.first + j * lines.step) };
    // SAFETY: as above.
    let get = |x: *const T, i: usize| unsafe { x.add(i).read_unaligned() };
    if !around_zero {
        for j in 0..lines.count {
            let x = line(j);
            mean += sums(lines.length, |i| [get(x, i)])[0];
        }
        mean /= count;
    }
    let (mut squares, center) = (0.0, T::from_f64(mean));
    for j in 0..lines.count {
        let x = line(j);
        squares += sums(lines.length, |i| {
            let d = get(x, i) - center;
            [d * d]
        })[0];
    }
    (mean, squares / count)
}

#[inline(always)]
unsafe fn forward_group<T: Real + Element, const CHANGING: bool>(
    groups: Groups,
    group: usize,
    statistics: Statistics,
    eps: f64,
    a: &Forward<T>,
) {
    let (lines, by_channel) = (groups.lines(group), groups.width.is_none());
    // SAFETY: the caller answers for the group's lines, channels and statistics.
    unsafe {
        if statistics != Statistics::Given {
            let (mean, variance) = moments(&lines, a.x, statistics == Statistics::AroundZero);
            // As in torch, equal elements of a channel give zeros without `eps`, too; those of other groups give NaN.
            let rstd = if variance == 0.0 && eps == 0.0 && by_channel { 0.0 } else { 1.0 / (variance + eps).sqrt() };
            a.mean.add(group).write(T::from_f64(mean));
            a.variance.add(group).write(T::from_f64(variance));
            a.rstd.add(group).write(T::from_f64(rstd));
        }
        let (mean, rstd) = (a.mean.add(group).read_unaligned(), a.rstd.add(group).read_unaligned());
        for j in 0..lines.count {
            let start = lines.first + j * lines.step;
            let (x, y) = (a.x.add(start), a.y.add(start));
            let channel = lines.channel + j * lines.next_channel;
            let (weight, bias) = (a.weight.add(channel), a.bias.add(channel));
            let scale = if CHANGING { rstd } else { rstd * weight.read_unaligned() };
            let shift = if CHANGING { T::ZERO } else { bias.read_unaligned() };
            for i in 0..lines.length {
                let h = (x.add(i).read_unaligned() - mean) * scale;
                let changed = || h * weight.add(i).read_unaligned() + bias.add(i).read_unaligned();
                y.add(i).write(if CHANGING { changed() } else { h + shift });
            }
        }
    }
}

/// The gradients of the elements, and of the weights and biases by chunks.
///
/// # Safety
/// As for [`forward`]; `gw` and `gb` must be valid for the channels of all chunks.
pub unsafe fn backward<T: Real + Element>(groups: Groups, statistics: Statistics, a: &Backward<T>) {
    let chunks = groups.chunks();
    // A channel of all blocks has its own places for the gradients of weights, so it needs no chunk of its own.
    let by_channel = groups.width.is_none();
    let tasks = if by_channel { groups.count() } else { chunks };
    let each = groups.count() / groups.outer.max(1);
    let work = groups.size() * groups.count() / tasks.max(1);
    par::for_ranges(tasks, (GRAIN / work.max(1)).max(1), &|range| {
        vectorize(
            #[inline(always)]
            || {
                for task in range {
                    let (from, to) = if by_channel {
                        (task, task + 1)
                    } else {
                        (task * groups.outer / chunks * each, (task + 1) * groups.outer / chunks * each)
                    };
                    let sums = if by_channel { 0 } else { task * groups.channels };
                    for group in from..to {
                        // SAFETY: the caller answers for all groups and chunks.
                        unsafe {
                            if groups.weights_change() {
                                backward_group::<T, true>(group, groups.lines(group), sums, statistics, a)
                            } else {
                                backward_group::<T, false>(group, groups.lines(group), sums, statistics, a)
                            }
                        }
                    }
                }
            },
        )
    });
}

/// With h = (x - mean) rstd and u = g weight: gx = rstd (u - mean(u) - h mean(u h)), gw = sum(g h), gb = sum(g).
#[inline(always)]
unsafe fn backward_group<T: Real + Element, const CHANGING: bool>(
    group: usize,
    lines: Lines,
    chunk: usize,
    statistics: Statistics,
    a: &Backward<T>,
) {
    let count = (lines.count * lines.length) as f64;
    // SAFETY: the caller answers for the group's lines, channels and statistics, and for the chunk's sums.
    unsafe {
        // Memory that was lent may be unaligned.
        let (mean, rstd) = (a.mean.add(group).read_unaligned(), a.rstd.add(group).read_unaligned());
        let get = |x: *const T, i: usize| x.add(i).read_unaligned();
        let (mut sum_u, mut sum_uh) = (0.0, 0.0);
        for j in 0..lines.count {
            let start = lines.first + j * lines.step;
            let (g, x) = (a.g.add(start), a.x.add(start));
            let channel = lines.channel + j * lines.next_channel;
            let weight = a.weight.add(channel);
            let [s, t] = sums(lines.length, |i| {
                let g = get(g, i);
                let u = if CHANGING { g * get(weight, i) } else { g };
                [u, u * ((get(x, i) - mean) * rstd)]
            });
            if CHANGING {
                (sum_u, sum_uh) = (s, t);
            } else {
                sum_u += s * get(weight, 0).to_f64();
                sum_uh += t * get(weight, 0).to_f64();
                let (gw, gb) = (a.gw.add(chunk + channel), a.gb.add(chunk + channel));
                *gw = *gw + T::from_f64(t);
                *gb = *gb + T::from_f64(s);
            }
        }
        let mean_u = T::from_f64(if statistics == Statistics::OfGroup { sum_u / count } else { 0.0 });
        let mean_uh = T::from_f64(if statistics == Statistics::Given { 0.0 } else { sum_uh / count });
        for j in 0..lines.count {
            let start = lines.first + j * lines.step;
            let (g, x, gx) = (a.g.add(start), a.x.add(start), a.gx.add(start));
            let channel = lines.channel + j * lines.next_channel;
            let (weight, gw, gb) = (a.weight.add(channel), a.gw.add(chunk + channel), a.gb.add(chunk + channel));
            let constant = get(weight, 0);
            for i in 0..lines.length {
                let (g, h) = (get(g, i), (get(x, i) - mean) * rstd);
                let u = g * if CHANGING { get(weight, i) } else { constant };
                gx.add(i).write((u - mean_u - h * mean_uh) * rstd);
                if CHANGING {
                    let (gw, gb) = (gw.add(i), gb.add(i));
                    *gw = *gw + g * h;
                    *gb = *gb + g;
                }
            }
        }
    }
}
