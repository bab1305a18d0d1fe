//! Resampling along one dim: every output is a weighted sum of a few inputs of its line.

use std::ops::Range;

use super::lines::Lines;
use super::par;
use super::vector::vectorize;
use crate::dtype::Number;

/// Products that are worth a thread.
const GRAIN: usize = 16 * 1024;
/// Neighbours whose sums are kept in registers.
const WIDTH: usize = 32;

/// For each output the places of its inputs, and their weights.
pub struct Table<T> {
    /// Where the inputs of output k begin, and those of the last one end.
    starts: Vec<usize>,
    places: Vec<usize>,
    weights: Vec<T>,
    /// How many inputs each output has, if all have as many.
    taps: usize,
}

impl<T: Number> Table<T> {
    /// An empty table, to which outputs are added in their order.
    pub fn with_room(outputs: usize, taps: usize) -> Table<T> {
        let mut starts = Vec::with_capacity(outputs + 1);
        starts.push(0);
        Table { starts, places: Vec::with_capacity(outputs * taps), weights: Vec::with_capacity(outputs * taps), taps: 0 }
    }

    /// Adds an input of the output that is not ended yet.
    pub fn add(&mut self, place: usize, weight: T) {
        self.places.push(place);
        self.weights.push(weight);
    }

    /// Ends an output.
    pub fn end(&mut self) {
        let taps = self.places.len() - self.starts.last().copied().unwrap_or(0);
        self.taps = if self.starts.len() == 1 || self.taps == taps { taps } else { 0 };
        self.starts.push(self.places.len());
    }

    /// The weights, one output's after the other's.
    pub fn weights_mut(&mut self) -> &mut [T] {
        &mut self.weights
    }

    fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    fn inputs_of(&self, k: usize) -> Range<usize> {
        self.starts[k]..self.starts[k + 1]
    }

    /// The table with inputs and outputs exchanged: that of the gradient. `inputs` is the number of inputs.
    pub fn transposed(&self, inputs: usize) -> Table<T> {
        let mut starts = vec![0; inputs + 1];
        for &place in &self.places {
            starts[place + 1] += 1;
        }
        for i in 0..inputs {
            starts[i + 1] += starts[i];
        }
        let mut free = starts.clone();
        let (mut places, mut weights) = (vec![0; self.places.len()], vec![T::ZERO; self.places.len()]);
        for k in 0..self.outputs() {
            for j in self.inputs_of(k) {
                let at = &mut free[self.places[j]];
                (places[*at], weights[*at]) = (k, self.weights[j]);
                *at += 1;
            }
        }
        Table { starts, places, weights, taps: 0 }
    }
}

/// Resamples `x`, whose `lines` these are, along them.
///
/// # Safety
/// `y` must have room for the lines with as many elements as the table has outputs, and nobody else may use it.
pub unsafe fn resample<T: Number>(x: &[T], y: *mut T, lines: Lines, table: &Table<T>) {
    let Lines { outer, n, inner } = lines;
    let m = table.outputs();
    debug_assert!(x.len() == outer * n * inner && table.places.iter().all(|&place| place < n));
    if outer * m * inner == 0 {
        return;
    }
    let to = y as usize;
    // A unit of work is a line of outputs, or a row of neighbouring ones.
    let (units, length) = if inner == 1 { (outer, m) } else { (outer * m, inner) };
    let each = length * (table.places.len() / m.max(1)).max(1);
    par::for_ranges(units, (GRAIN / each.max(1)).max(1), &|range| {
        // SAFETY: the units of a range are this thread's alone, and the caller answers for the room.
        let y = unsafe { std::slice::from_raw_parts_mut((to as *mut T).add(range.start * length), range.len() * length) };
        vectorize(
            #[inline(always)]
            move || {
                for (unit, y) in range.zip(y.chunks_exact_mut(length)) {
                    if inner == 1 {
                        let line = &x[unit * n..(unit + 1) * n];
                        match table.taps {
                            1 => along::<T, 1>(line, y, table),
                            2 => along::<T, 2>(line, y, table),
                            4 => along::<T, 4>(line, y, table),
                            _ => along_any(line, y, table),
                        }
                    } else {
                        let block = &x[unit / m * n * inner..][..n * inner];
                        across(block, y, table, unit % m);
                    }
                }
            },
        );
    });
}

/// One line, with the same number of inputs for each output.
#[inline(always)]
fn along<T: Number, const TAPS: usize>(x: &[T], y: &mut [T], table: &Table<T>) {
    let (places, _) = table.places.as_chunks::<TAPS>();
    let (weights, _) = table.weights.as_chunks::<TAPS>();
    for ((y, places), weights) in y.iter_mut().zip(places).zip(weights) {
        let mut sum = x[places[0]].mul(weights[0]);
        for j in 1..TAPS {
            sum = sum.add(x[places[j]].mul(weights[j]));
        }
        *y = sum;
    }
}

/// One line.
#[inline(always)]
fn along_any<T: Number>(x: &[T], y: &mut [T], table: &Table<T>) {
    for (k, y) in y.iter_mut().enumerate() {
        *y = table.inputs_of(k).fold(T::ZERO, |sum, j| sum.add(x[table.places[j]].mul(table.weights[j])));
    }
}

/// A row of outputs that have their inputs, in rows of `x`, in common.
#[inline(always)]
fn across<T: Number>(x: &[T], y: &mut [T], table: &Table<T>, k: usize) {
    let inner = y.len();
    let inputs = table.inputs_of(k);
    for (part, y) in y.chunks_mut(WIDTH).enumerate() {
        let (start, width) = (part * WIDTH, y.len());
        let mut sums = [T::ZERO; WIDTH];
        for (j, number) in inputs.clone().zip(0..) {
            let weight = table.weights[j];
            let row = &x[table.places[j] * inner + start..][..width];
            // The first is no sum with zero, which would lose the sign of a zero.
            let plus = |sum: &mut T, v: T| *sum = if number == 0 { v.mul(weight) } else { sum.add(v.mul(weight)) };
            match <&[T; WIDTH]>::try_from(row) {
                Ok(row) => sums.iter_mut().zip(row).for_each(|(sum, &v)| plus(sum, v)),
                Err(_) => sums.iter_mut().zip(row).for_each(|(sum, &v)| plus(sum, v)),
            }
        }
        y.copy_from_slice(&sums[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tent() -> Table<f64> {
        let mut table = Table::with_room(5, 2);
        for (place, weight) in [(0, 1.0), (0, 0.5), (1, 1.0), (1, 0.5), (2, 1.0)] {
            table.add(place, weight);
            table.add((place + 1).min(2), 1.0 - weight);
            table.end();
        }
        table
    }

    fn resampled(x: &[f64], lines: Lines, table: &Table<f64>) -> Vec<f64> {
        let mut y = vec![f64::NAN; lines.outer * table.outputs() * lines.inner];
        // SAFETY: there is room, and it is ours.
        unsafe { resample(x, y.as_mut_ptr(), lines, table) };
        y
    }

    #[test]
    fn lines_and_rows_agree() {
        let x: Vec<f64> = (0..3).map(|v| (v * v) as f64).collect();
        let line = resampled(&x, Lines { outer: 1, n: 3, inner: 1 }, &tent());
        assert_eq!(line, [0.0, 0.5, 1.0, 2.5, 4.0]);
        for inner in [2, WIDTH, WIDTH + 3] {
            let spread: Vec<f64> = x.iter().flat_map(|&v| vec![v; inner]).collect();
            let rows = resampled(&spread, Lines { outer: 1, n: 3, inner }, &tent());
            assert!(rows.iter().enumerate().all(|(i, &v)| v == line[i / inner]));
        }
    }

    #[test]
    fn the_transposed_table_is_the_adjoint() {
        let (x, g) = ([1.0, -2.0, 3.0], [1.0, 2.0, -1.0, 0.5, 4.0]);
        let y = resampled(&x, Lines { outer: 1, n: 3, inner: 1 }, &tent());
        let back = resampled(&g, Lines { outer: 1, n: 5, inner: 1 }, &tent().transposed(3));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert_eq!(dot(&y, &g), dot(&x, &back));
    }
}
