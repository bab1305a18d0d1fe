//! Images sampled at places between their elements, and what belongs to it for gradients.
//!
//! A sample is a sum over *taps*: elements around its place, with weights that are a product of one for each dim. Each of
//! these is a function of the place in its dim, and may be replaced by its derivative of any order: all gradients of a
//! sample, however often it is differentiated, are such sums, their adjoints, or products of both.

use super::math::Real;
use super::par;
use crate::dtype::Number;

/// Samples whose taps are computed before the first channel is looked at.
const BATCH: usize = 64;
/// Channels that share taps where each thread has channels of its own.
const CHANNELS: usize = 8;

/// Elements around a place, at most 4 in each of 2 dims.
const MOST: usize = 16;

/// How a value between elements is made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mode {
    /// Of the two beside it, in each dim.
    Linear,
    /// Of the nearest one.
    Nearest,
    /// Of the four around it.
    Cubic,
}

/// What lies beyond the border.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Padding {
    /// Zeros.
    Zeros,
    /// The border.
    Border,
    /// What lies inside, mirrored.
    Reflection,
}

/// How images are sampled: everything but the numbers.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    /// How a value between elements is made.
    pub mode: Mode,
    /// What lies beyond the border.
    pub padding: Padding,
    /// Whether -1 and 1 are the centers of the outermost elements, else their outer edges.
    pub align_corners: bool,
    /// The number of dims that are sampled.
    pub rank: usize,
    /// Their sizes, behind those of dims that there are not, which are 1.
    pub sizes: [usize; 3],
    /// Which derivative is taken in each of them.
    pub orders: [u8; 3],
}

/// `f32` and `f64`.
pub trait Float: Number + Real {}
impl Float for f32 {}
impl Float for f64 {}

fn number<T: Float>(value: usize) -> T {
    T::from_f64(value as f64)
}

#[inline(always)]
fn floor<T: Float>(x: T) -> T {
    let whole = x.trunc();
    if whole > x { whole - <T as Real>::ONE } else { whole }
}

/// The nearest integer, the even one of two.
#[inline(always)]
fn nearest<T: Float>(x: T) -> T {
    let below = floor(x);
    let (part, odd) = (x - below, (below * T::HALF).trunc() * T::TWO != below);
    if part > T::HALF || part == T::HALF && odd { below + <T as Real>::ONE } else { below }
}

/// The elements that make a sample, and their weights.
#[derive(Clone, Copy)]
struct Taps<T> {
    count: usize,
    places: [usize; MOST],
    weights: [T; MOST],
}

impl<T: Float> Taps<T> {
    fn none() -> Taps<T> {
        Taps { count: 0, places: [0; MOST], weights: [<T as Real>::ZERO; MOST] }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, T)> + '_ {
        self.places.iter().copied().zip(self.weights.iter().copied()).take(self.count)
    }
}

/// The same in one dim.
#[derive(Clone, Copy)]
struct Along<T> {
    count: usize,
    places: [usize; 4],
    weights: [T; 4],
}

impl<T: Float> Along<T> {
    fn none() -> Along<T> {
        Along { count: 0, places: [0; 4], weights: [<T as Real>::ZERO; 4] }
    }

    /// The first element alone.
    fn one() -> Along<T> {
        let mut one = Along::none();
        one.add_within(<T as Real>::ZERO, 1, <T as Real>::ONE);
        one
    }

    /// Adds an element unless it lies outside of `size` elements.
    fn add_within(&mut self, place: T, size: usize, weight: T) {
        if place >= <T as Real>::ZERO && place < number(size) {
            (self.places[self.count], self.weights[self.count]) = (place.to_f64() as usize, weight);
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, T)> + '_ {
        self.places.iter().copied().zip(self.weights.iter().copied()).take(self.count)
    }
}

impl Padding {
    /// The place that stands for one beyond the border, and its derivative by that one.
    #[inline(always)]
    fn inside<T: Float>(self, place: T, size: usize, align_corners: bool) -> (T, T) {
        let (zero, one) = (<T as Real>::ZERO, <T as Real>::ONE);
        let (mut place, mut slope) = (place, one);
        if self == Padding::Zeros {
            return (place, slope);
        }
        let last = number::<T>(size.saturating_sub(1));
        if self == Padding::Reflection {
            // Between the centers of the outermost elements, or their outer edges.
            let (low, span) = if align_corners { (zero, last) } else { (-T::HALF, last + one) };
            place = place - low;
            if place < zero {
                (place, slope) = (-place, -slope);
            }
            if span == zero {
                return (zero, zero);
            }
            let flips = (place / span).trunc();
            let rest = place - flips * span;
            let odd = (flips * T::HALF).trunc() * T::TWO != flips;
            place = if odd { span - rest } else { rest } + low;
            slope = if odd { -slope } else { slope };
        }
        if place > zero && place < last {
            return (place, slope);
        }
        // NaN, too, becomes 0.
        (if place >= last && last > zero { last } else { zero }, zero)
    }
}

/// The derivative of some order of Keys' cubic convolution, of the parameter -3/4, at a distance up to 2.
#[inline(always)]
fn cubic<T: Float>(x: T, order: u8) -> T {
    let [a, one, c] = [-0.75, 1.0, 2.0].map(T::from_f64);
    // The coefficients of a polynomial, the highest first.
    let p = if x <= one {
        [a + c, -(a + c + one), <T as Real>::ZERO, one]
    } else {
        [a, T::from_f64(3.75), T::from_f64(-6.0), T::from_f64(3.0)]
    };
    let n = |v: f64| T::from_f64(v);
    match order {
        0 => ((p[0] * x + p[1]) * x + p[2]) * x + p[3],
        1 => (n(3.0) * p[0] * x + n(2.0) * p[1]) * x + p[2],
        2 => n(6.0) * p[0] * x + n(2.0) * p[1],
        3 => n(6.0) * p[0],
        _ => <T as Real>::ZERO,
    }
}

impl Sampler {
    /// The taps in dim `d` of a sample at `coordinate`.
    #[inline(always)]
    fn along<T: Float>(&self, d: usize, coordinate: T) -> Along<T> {
        let (size, order) = (self.sizes[d], self.orders[d]);
        let (zero, one) = (<T as Real>::ZERO, <T as Real>::ONE);
        let mut taps = Along::none();
        let scale = number::<T>(if self.align_corners { size.saturating_sub(1) } else { size }) * T::HALF;
        // Rounded as in torch, once or twice: the identity's grid lies on the elements, where the derivative jumps.
        let place = match (self.align_corners, self.rank) {
            (true, _) => (coordinate + one) * scale,
            (false, 2) => (coordinate + one).fma(scale, -T::HALF),
            (false, _) => (coordinate + one) * scale - T::HALF,
        };
        if self.mode == Mode::Cubic {
            let first = floor(place);
            let part = place - first;
            let slope = (0..order).fold(one, |product, _| product * scale);
            for (offset, distance, sign) in
                [(-one, part + one, one), (zero, part, one), (one, one - part, -one), (T::TWO, T::TWO - part, -one)]
            {
                let sign = if order % 2 == 1 { sign } else { one };
                let (at, _) = self.padding.inside(first + offset, size, self.align_corners);
                taps.add_within(nearest(at), size, cubic(distance, order) * sign * slope);
            }
            return taps;
        }
        let (place, slope) = self.padding.inside(place, size, self.align_corners);
        if self.mode == Mode::Nearest {
            if order == 0 {
                taps.add_within(nearest(place), size, one);
            }
            return taps;
        }
        let first = floor(place);
        let (before, after) = match order {
            0 => (first + one - place, place - first),
            1 => (-(scale * slope), scale * slope),
            _ => return taps,
        };
        taps.add_within(first, size, before);
        taps.add_within(first + one, size, after);
        taps
    }

    /// The taps of a sample at a point, whose coordinates come with the last dim first.
    #[inline(always)]
    fn taps<T: Float>(&self, point: &[T]) -> Taps<T> {
        let mut all = Taps::none();
        // A dim that there is not has one place.
        let mut along = [Along::one(); 3];
        for (i, &coordinate) in point.iter().enumerate() {
            along[2 - i] = self.along(2 - i, coordinate);
        }
        let [_, height, width] = self.sizes;
        for (z, a) in along[0].iter() {
            for (y, b) in along[1].iter() {
                let (row, factor) = ((z * height + y) * width, a * b);
                for (x, c) in along[2].iter() {
                    (all.places[all.count], all.weights[all.count]) = (row + x, factor * c);
                    all.count += 1;
                }
            }
        }
        all
    }

    /// The same, differentiated once more by one of the coordinates.
    pub fn derived(&self, coordinate: usize) -> Sampler {
        let mut orders = self.orders;
        orders[2 - coordinate] = orders[2 - coordinate].saturating_add(1);
        Sampler { orders, ..*self }
    }

    fn volume(&self) -> usize {
        self.sizes.iter().product()
    }
}

/// How many images there are, of how many channels, and how many samples are taken of each.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Images.
    pub images: usize,
    /// Channels of each.
    pub channels: usize,
    /// Samples of each channel.
    pub points: usize,
}

/// Memory that threads write to, each at places of its own.
struct Shared<T>(*mut T);
// SAFETY: the loops below hand each place to one thread.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// # Safety
    /// The places must be in bounds and this thread's alone.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        // SAFETY: the caller answers for it.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Calls `body(image, points)` for all samples in batches.
fn in_batches(e: Extent, body: &(dyn Fn(usize, std::ops::Range<usize>) + Sync)) {
    let batches = e.points.div_ceil(BATCH);
    par::for_ranges(e.images * batches, 1, &|range| {
        for unit in range {
            let start = unit % batches * BATCH;
            body(unit / batches, start..e.points.min(start + BATCH));
        }
    });
}

/// Samples: y (images, channels, points) of x (images, channels, *sizes) at `grid` (images, points, rank).
///
/// # Safety
/// `y` must have room for its shape, and nobody else may use it.
pub unsafe fn sample<T: Float>(s: &Sampler, e: Extent, x: &[T], grid: &[T], y: *mut T) {
    let (volume, y) = (s.volume(), Shared(y));
    in_batches(e, &|image, points| {
        let (y, mut taps) = (&y, [Taps::none(); BATCH]);
        for (taps, p) in taps.iter_mut().zip(points.clone()) {
            *taps = s.taps(&grid[(image * e.points + p) * s.rank..][..s.rank]);
        }
        for plane in image * e.channels..(image + 1) * e.channels {
            let x = &x[plane * volume..][..volume];
            // SAFETY: the samples of a batch are this thread's.
            let y = unsafe { y.part(plane * e.points + points.start, points.len()) };
            for (y, taps) in y.iter_mut().zip(&taps) {
                *y = taps.iter().fold(<T as Real>::ZERO, |sum, (place, weight)| sum + x[place] * weight);
            }
        }
    });
}

/// The adjoint of `sample`: adds y (images, channels, points) to the taps in x, which must be zeros before.
///
/// # Safety
/// `x` must have room for its shape, and nobody else may use it.
pub unsafe fn spread<T: Float>(s: &Sampler, e: Extent, y: &[T], grid: &[T], x: *mut T) {
    let (volume, x) = (s.volume(), Shared(x));
    let blocks = e.channels.div_ceil(CHANNELS);
    par::for_ranges(e.images * blocks, 1, &|range| {
        let x = &x;
        for unit in range {
            let (image, first) = (unit / blocks, unit % blocks * CHANNELS);
            for p in 0..e.points {
                let taps = s.taps(&grid[(image * e.points + p) * s.rank..][..s.rank]);
                for plane in image * e.channels + first..image * e.channels + e.channels.min(first + CHANNELS) {
                    // SAFETY: the planes of a block are this thread's.
                    let x = unsafe { x.part(plane * volume, volume) };
                    let g = y[plane * e.points + p];
                    taps.iter().for_each(|(place, weight)| x[place] = x[place] + g * weight);
                }
            }
        }
    });
}

/// The derivative of the sum of g (images, channels, points) times the samples by the coordinates: `out` (images, points, rank).
///
/// # Safety
/// `out` must have room for its shape, and nobody else may use it.
pub unsafe fn slopes<T: Float>(s: &Sampler, e: Extent, g: &[T], x: &[T], grid: &[T], out: *mut T) {
    let (volume, out) = (s.volume(), Shared(out));
    in_batches(e, &|image, points| {
        for p in points {
            let at = (image * e.points + p) * s.rank;
            // SAFETY: the points of a batch are this thread's.
            let out = unsafe { out.part(at, s.rank) };
            for (i, out) in out.iter_mut().enumerate() {
                let taps = s.derived(i).taps(&grid[at..][..s.rank]);
                *out = <T as Real>::ZERO;
                for plane in image * e.channels..(image + 1) * e.channels {
                    let x = &x[plane * volume..][..volume];
                    let slope = taps.iter().fold(<T as Real>::ZERO, |sum, (place, weight)| sum + x[place] * weight);
                    *out = *out + g[plane * e.points + p] * slope;
                }
            }
        }
    });
}
