//! Windows that share out planes evenly: `adaptive_max_pool` and `adaptive_avg_pool`.

use pyo3::prelude::*;

use super::windows::{Layout, each};
use super::{Average, as_planes, check_adaptive, check_sizes, flat, largest, name_of, not_implemented};
use crate::error::Result;
use crate::ops::arguments::{Dims, Several};
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tensor::Tensor;

fn adaptive_max(x: &Tensor, sizes: &[isize], n: usize) -> Result<[Tensor; 2]> {
    let op = name_of(n, "adaptive_max_pool2d", "adaptive_max_pool3d");
    let sizes = each(op, "output_size", sizes, n)?;
    check_adaptive(op, x, &sizes, n)?;
    check_sizes(op, x, 1)?;
    let layout = Layout::adaptive(op, x.shape(), &sizes)?;
    if !x.dtype().is_float() {
        return not_implemented(name_of(n, "adaptive_max_pool2d", "adaptive_max_pool3d_cpu"), x);
    }
    largest(op, x, &layout, n, Named::new)
}

fn adaptive_average(x: &Tensor, sizes: &[isize], n: usize) -> Result<Tensor> {
    let op = name_of(n, "adaptive_avg_pool2d", "adaptive_avg_pool3d");
    let sizes = each(op, "output_size", sizes, n)?;
    if sizes.iter().any(|&size| size < 0) {
        return runtime_error!("{op}: elements of output_size must be greater than or equal to 0, but received {sizes:?}");
    }
    if sizes.iter().all(|&size| size == 1) && x.rank() >= n {
        // One window, whose average is the mean.
        return x.mean(Some(Dims((1..=n as isize).map(|d| -d).collect())), true, None);
    }
    check_adaptive(op, x, &sizes, n)?;
    if n == 3 {
        check_sizes(op, x, 1)?;
    }
    let layout = Layout::adaptive(op, x.shape(), &sizes)?;
    // Of no elements torch makes averages of any dtype in two dims.
    if !(x.dtype().is_float() || n == 2 && layout.shape.contains(&0)) {
        return not_implemented(name_of(n, "adaptive_avg_pool2d", "adaptive_avg_pool3d_cpu"), x);
    }
    Average::new(op, x, layout, None).of(x, Named::new)
}

/// The averages of windows that share out lines evenly among `output_size` results: window i are the places from floor(i L / n) to
/// ceil((i + 1) L / n).
///
/// Shape: (N, C, L) to (N, C, n), also without N. Dtype: float.
/// Raises: RuntimeError for other shapes and negative sizes.
#[pyfunction]
pub fn adaptive_avg_pool1d(input: &Tensor, output_size: Dims) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool1d";
    check_line_rank(OP, input)?;
    let size = flat(OP, "output_size", &output_size, 1)?;
    let [y] = as_planes(input, |x| Ok([adaptive_average(x, &size, 2)?]))?;
    Ok(y)
}

/// The largest of the windows of `adaptive_avg_pool1d`, and their places.
///
/// Shape: (N, C, L) to (N, C, n), also without N. Dtype: float. Derivative: goes to the first of equal elements.
/// Raises: RuntimeError for other shapes and negative sizes.
#[pyfunction]
pub fn adaptive_max_pool1d(input: &Tensor, output_size: Dims) -> Result<Several> {
    const OP: &str = "adaptive_max_pool1d";
    check_line_rank(OP, input)?;
    let size = flat(OP, "output_size", &output_size, 1)?;
    Ok(Several(as_planes(input, |x| adaptive_max(x, &size, 2))?.into()))
}

fn check_line_rank(op: &str, x: &Tensor) -> Result<()> {
    if x.rank() == 2 || x.rank() == 3 {
        return Ok(());
    }
    runtime_error!("{op}: Expected 2 to 3 dimensions, but got a {}-dimensional tensor", x.rank())
}

/// The functions for planes of two and of three dims.
macro_rules! adaptive_pools {
    ($($n:literal $average:ident $max:ident;)+) => {$(
        #[doc = concat!("The averages of windows that share out planes of ", $n, " dims evenly; see `adaptive_avg_pool1d`.")]
        #[pyfunction]
        pub fn $average(input: &Tensor, output_size: Dims) -> Result<Tensor> {
            adaptive_average(input, &output_size, $n)
        }

        #[doc = concat!("The largest of windows that share out planes of ", $n, " dims evenly, and their places; see `adaptive_max_pool1d`.")]
        #[pyfunction]
        pub fn $max(input: &Tensor, output_size: Dims) -> Result<Several> {
            Ok(Several(adaptive_max(input, &output_size, $n)?.into()))
        }
    )+};
}

adaptive_pools! {
    2 adaptive_avg_pool2d adaptive_max_pool2d;
    3 adaptive_avg_pool3d adaptive_max_pool3d;
}
