//! Distances between points, and their gradients, in double precision.

use super::par;
use super::vector::vectorize;

/// Element operations that are worth a thread.
const GRAIN: usize = 8 * 1024;
/// Sums side by side.
const LANES: usize = 8;

/// The p-norm of a difference, by p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// How many coordinates differ.
    Zero,
    /// The sum of absolute values.
    One,
    /// The root of the sum of squares.
    Two,
    /// The largest absolute value.
    Largest,
    /// Any other p.
    Power(f64),
}

/// Some points, a row of `width` coordinates each, and others, of which distances make a matrix; `batch` times.
#[derive(Clone, Copy)]
pub struct Points<'a> {
    /// How many matrices there are.
    pub batch: usize,
    /// How many points, a row of distances each.
    pub rows: usize,
    /// How many others, a column each.
    pub columns: usize,
    /// Coordinates of each.
    pub width: usize,
    /// The points, all batches of them.
    pub a: &'a [f64],
    /// The others.
    pub b: &'a [f64],
}

impl Points<'_> {
    /// Calls `body(number, its coordinates, all others' of its batch)` for each point.
    fn each(self, body: impl Fn(usize, &[f64], &[f64]) + Sync) {
        let Points { batch, rows, columns, width, a, b } = self;
        let grain = (GRAIN / (columns * width).max(1)).max(1);
        par::for_ranges(batch * rows, grain, &|range| {
            for row in range {
                let first = row / rows * columns * width;
                body(row, &a[row * width..(row + 1) * width], &b[first..first + columns * width]);
            }
        });
    }

    /// Gives `put` each distance, with its number.
    pub fn distances(self, norm: Norm, put: impl Fn(usize, f64) + Sync) {
        self.each(|row, a, others| {
            for column in 0..self.columns {
                put(row * self.columns + column, distance(a, &others[column * self.width..][..self.width], norm));
            }
        });
    }

    /// Gives `put` the gradient of each coordinate of the points, with its number, from those of the distances.
    pub fn gradients(self, norm: Norm, distances: &[f64], g: &[f64], put: impl Fn(usize, f64) + Sync) {
        self.each(|row, a, others| {
            let mut sums = vec![0.0; self.width];
            for column in 0..self.columns {
                let place = row * self.columns + column;
                let (b, g) = (&others[column * self.width..][..self.width], g[place]);
                // One that was rounded equals no difference.
                let distance = if norm == Norm::Largest { distance(a, b, norm) } else { distances[place] };
                for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += slope(a - b, distance, norm) * g;
                }
            }
            sums.iter().enumerate().for_each(|(k, &sum)| put(row * self.width + k, sum));
        });
    }
}

/// The distance of two points.
fn distance(a: &[f64], b: &[f64], norm: Norm) -> f64 {
    // A NaN is the largest.
    let larger = |u: f64, v: f64| if u > v || u.is_nan() { u } else { v };
    match norm {
        Norm::Zero => folded(a, b, |d| (d != 0.0) as u8 as f64, |u, v| u + v),
        Norm::One => folded(a, b, |d| d, |u, v| u + v),
        Norm::Two => folded(a, b, |d| d * d, |u, v| u + v).sqrt(),
        Norm::Largest => folded(a, b, |d| d, larger),
        Norm::Power(p) => folded(a, b, |d| d.powf(p), |u, v| u + v).powf(1.0 / p),
    }
}

/// What `join` makes of `term` of each absolute difference.
#[inline(always)]
fn folded(a: &[f64], b: &[f64], term: impl Fn(f64) -> f64 + Copy, join: impl Fn(f64, f64) -> f64 + Copy) -> f64 {
    vectorize(
        #[inline(always)]
        || {
            let mut lanes = [0.0; LANES];
            let whole = a.len() - a.len() % LANES;
            for (a, b) in a[..whole].chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
                for lane in 0..LANES {
                    lanes[lane] = join(lanes[lane], term((a[lane] - b[lane]).abs()));
                }
            }
            for (a, b) in a[whole..].iter().zip(&b[whole..]) {
                lanes[0] = join(lanes[0], term((a - b).abs()));
            }
            lanes.into_iter().fold(0.0, join)
        },
    )
}

/// The derivative of a distance by a coordinate, by the difference there. It is 0 where the points are the same.
fn slope(d: f64, distance: f64, norm: Norm) -> f64 {
    let sign = if d > 0.0 {
        1.0
    } else if d < 0.0 {
        -1.0
    } else {
        0.0
    };
    match norm {
        Norm::Zero => 0.0,
        Norm::One => sign,
        Norm::Two if distance == 0.0 => 0.0,
        Norm::Two => d / distance,
        Norm::Largest if d.abs() == distance => sign,
        Norm::Largest => 0.0,
        Norm::Power(p) if distance == 0.0 || (d == 0.0 && p < 1.0) => p * 0.0,
        Norm::Power(p) => sign * (d.abs() / distance).powf(p - 1.0),
    }
}
