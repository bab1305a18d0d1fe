use std::sync::Mutex;

use super::*;
use crate::kernels::folds::{Best, Extreme, Largest, Moments, Smallest, Sum};
use crate::kernels::par;

/// A view of numbered elements: sizes and strides in elements.
struct View {
    data: Vec<i64>,
    shape: Vec<usize>,
    strides: Vec<isize>,
}

impl View {
    fn contiguous(shape: &[usize]) -> View {
        let mut strides = vec![1isize; shape.len()];
        (0..shape.len().saturating_sub(1)).rev().for_each(|d| strides[d] = strides[d + 1] * shape[d + 1].max(1) as isize);
        let n: usize = shape.iter().product();
        // A fixed shuffle of small numbers, with ties.
        let data = (0..n as i64).map(|i| (i * 7919 + 13) % 1009 - 500).collect();
        View { data, shape: shape.to_vec(), strides }
    }

    fn permuted(&self, order: &[usize]) -> View {
        View {
            data: self.data.clone(),
            shape: order.iter().map(|&d| self.shape[d]).collect(),
            strides: order.iter().map(|&d| self.strides[d]).collect(),
        }
    }

    /// For each output, in row-major order of the kept dims, its elements in row-major order of the reduced dims.
    fn groups(&self, dims: &[usize]) -> Vec<Vec<i64>> {
        let kept: Vec<usize> = (0..self.shape.len()).filter(|d| !dims.contains(d)).collect();
        let index = |dims: &[usize]| -> Vec<isize> {
            dims.iter().fold(vec![0], |offsets, &d| {
                offsets.iter().flat_map(|o| (0..self.shape[d]).map(move |i| o + i as isize * self.strides[d])).collect()
            })
        };
        let inner = index(dims);
        index(&kept).into_iter().map(|o| inner.iter().map(|i| self.data[(o + i) as usize]).collect()).collect()
    }

    fn reduce<F: Fold>(&self, data: &[F::In], dims: &[usize], fold: F) -> Vec<F::Acc> {
        let unit = size_of::<F::In>() as isize;
        let kept: Vec<usize> = (0..self.shape.len()).filter(|d| !dims.contains(d)).collect();
        let outputs: usize = kept.iter().map(|&d| self.shape[d]).product();
        let mut step = outputs;
        let kept: Vec<Loop> = kept
            .into_iter()
            .map(|d| {
                step /= self.shape[d].max(1);
                Loop { size: self.shape[d], from: self.strides[d] * unit, to: step }
            })
            .collect();
        let reduced: Vec<Loop> =
            dims.iter().map(|&d| Loop { size: self.shape[d], from: self.strides[d] * unit, to: 0 }).collect();
        let out = Mutex::new(vec![Fold::start(fold); outputs]);
        let put = |acc: *const u8, to: usize, places: Loop| {
            for i in 0..places.size {
                // SAFETY: as many results as places.
                out.lock().unwrap()[to + i * places.to] = unsafe { acc.cast::<F::Acc>().add(i).read() };
            }
        };
        // SAFETY: the view lies within the data.
        unsafe { reduce(data.as_ptr().cast(), &kept, &reduced, &fold, &put) };
        out.into_inner().unwrap()
    }
}

fn views() -> Vec<View> {
    let shapes: [&[usize]; 16] = [
        &[],
        &[1],
        &[5],
        &[70000],
        &[3, 4],
        &[300, 7],
        &[7, 300],
        &[1000, 3],
        &[5000, 10],
        &[40, 600],
        &[700, 130],
        &[2, 3, 4, 5],
        &[9, 1, 33, 6],
        &[130, 2, 70],
        &[0, 3],
        &[3, 0, 2],
    ];
    let mut all: Vec<View> = shapes.iter().map(|shape| View::contiguous(shape)).collect();
    all.push(View::contiguous(&[600, 40]).permuted(&[1, 0]));
    all.push(View::contiguous(&[12, 70, 9]).permuted(&[2, 0, 1]));
    all.push(View::contiguous(&[12, 70, 9]).permuted(&[1, 2, 0]));
    all.push(View { strides: vec![0, 1], ..View::contiguous(&[5, 40]) });
    all.push(View { strides: vec![2, 80], shape: vec![20, 50], ..View::contiguous(&[50, 80]) });
    all
}

fn each_case(mut check: impl FnMut(&View, &[usize], &[Vec<i64>])) {
    for view in views() {
        let rank = view.shape.len();
        for choice in 0..1usize << rank {
            let dims: Vec<usize> = (0..rank).filter(|d| choice >> d & 1 == 1).collect();
            check(&view, &dims, &view.groups(&dims));
        }
    }
}

#[test]
fn sums_equal_plain_loops() {
    each_case(|view, dims, groups| {
        let want: Vec<i64> = groups.iter().map(|g| g.iter().sum()).collect();
        assert_eq!(view.reduce(&view.data, dims, Sum::<i64, i64>::default()), want, "{:?} {dims:?}", view.shape);
        let bytes: Vec<i8> = view.data.iter().map(|&v| v as i8).collect();
        let want: Vec<i64> = groups.iter().map(|g| g.iter().map(|&v| v as i8 as i64).sum()).collect();
        assert_eq!(view.reduce(&bytes, dims, Sum::<i8, i64>::default()), want, "{:?} {dims:?}", view.shape);
    });
}

#[test]
fn extremes_stand_at_their_first_place() {
    each_case(|view, dims, groups| {
        let floats: Vec<f32> = view.data.iter().map(|&v| v as f32).collect();
        let largest = view.reduce(&floats, dims, Best::<f32, Largest>::default());
        let smallest = view.reduce(&view.data, dims, Best::<i64, Smallest>::default());
        for (i, group) in groups.iter().enumerate() {
            let first = |value: Option<&i64>| value.and_then(|v| group.iter().position(|w| w == v)).map_or(-1, |p| p as i64);
            assert_eq!(largest[i].number, first(group.iter().max()), "{:?} {dims:?}", view.shape);
            assert_eq!(smallest[i].number, first(group.iter().min()), "{:?} {dims:?}", view.shape);
            if let (Some(&low), Some(&high)) = (group.iter().min(), group.iter().max()) {
                assert_eq!((smallest[i].value, largest[i].value), (low, high as f32));
            }
        }
    });
}

#[test]
fn nan_wins_at_its_first_place() {
    for shape in [vec![4000, 3], vec![3, 4000], vec![500, 20]] {
        let view = View::contiguous(&shape);
        let mut data: Vec<f64> = view.data.iter().map(|&v| v as f64).collect();
        for dim in 0..2 {
            let at = |i: usize, j: usize| if dim == 0 { i * shape[1] + j } else { j * shape[1] + i };
            data[at(shape[dim] / 2, 1)] = f64::NAN;
            data[at(shape[dim] / 2 + 1, 1)] = f64::NAN;
            let best = view.reduce(&data, &[dim], Best::<f64, Smallest>::default());
            assert!(best[1].value.is_nan() && best[1].number == (shape[dim] / 2) as i64, "{shape:?} {dim} {:?}", best[1]);
            assert!(view.reduce(&data, &[dim], Extreme::<f64, Largest>::default())[1].is_nan());
            data[at(shape[dim] / 2, 1)] = 0.0;
            data[at(shape[dim] / 2 + 1, 1)] = 0.0;
        }
    }
}

#[test]
fn variances_are_accurate_far_from_zero() {
    each_case(|view, dims, groups| {
        let data: Vec<f64> = view.data.iter().map(|&v| 1e7 + v as f64).collect();
        let got = view.reduce(&data, dims, Moments::<f64>::default());
        for (spread, group) in got.iter().zip(groups) {
            let n = group.len() as f64;
            if group.is_empty() {
                continue;
            }
            let mean = group.iter().sum::<i64>() as f64 / n;
            let squares: f64 = group.iter().map(|&v| (v as f64 - mean).powi(2)).sum();
            assert_eq!(spread.count, n);
            assert!((spread.mean - 1e7 - mean).abs() < 1e-8 * (1.0 + mean.abs()), "{:?} {dims:?}", view.shape);
            assert!((spread.squares - squares).abs() <= 1e-9 * squares, "{:?} {dims:?} {} {squares}", view.shape, spread.squares);
        }
    });
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let before = par::num_threads();
    for shape in [vec![300_000], vec![1000, 300], vec![300, 1000], vec![40_000, 5], vec![3, 100_000]] {
        let view = View::contiguous(&shape);
        let data: Vec<f32> = view.data.iter().enumerate().map(|(i, &v)| (v as f32 + 0.1) / (i as f32 + 1.0)).collect();
        for dims in [vec![0], (0..shape.len()).collect(), vec![shape.len() - 1]] {
            let sums = |threads: usize| -> Vec<u32> {
                par::set_num_threads(threads);
                view.reduce(&data, &dims, Sum::<f32, f32>::default()).iter().map(|v| v.to_bits()).collect()
            };
            let one = sums(1);
            assert_eq!(one, sums(2), "{shape:?} {dims:?}");
            assert_eq!(one, sums(5), "{shape:?} {dims:?}");
        }
    }
    par::set_num_threads(before);
}

#[test]
fn sums_of_many_floats_keep_their_digits() {
    let view = View::contiguous(&[1 << 20]);
    let data = vec![0.1f32; 1 << 20];
    let sum = view.reduce(&data, &[0], Sum::<f32, f32>::default())[0];
    let exact = 0.1f32 as f64 * (1 << 20) as f64;
    assert!((sum as f64 - exact).abs() / exact < 1e-6, "{sum}");
}
