//! Windows at random places, and elements put back at theirs: `fractional_max_pool` and `max_unpool`.

use pyo3::prelude::*;

use super::windows::{Layout, each};
use super::{check_adaptive, check_sizes, largest, name_of, not_implemented};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::layout::Shape;
use crate::ops::arguments::{Dims, Several};
use crate::ops::loss::check_constant;
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tape::sample::made_of;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// The starts of windows of `kernel` places that cut a dim of `size` into about even parts, as `sample` from 0 to 1 says; in the
/// dtype of the elements, as in torch.
fn fractional_starts(op: &str, samples: &Tensor, sample: f64, [size, results, kernel]: [usize; 3]) -> Result<Vec<usize>> {
    let room = size - kernel;
    let start = |i: usize| {
        if i + 1 == results {
            return room as f64;
        }
        let gaps = results - 1;
        if samples.dtype() == DType::F32 {
            let (sample, alpha) = (sample as f32, room as f32 / gaps as f32);
            return (((i as f32 + sample) * alpha).trunc() - (sample * alpha).trunc()) as f64;
        }
        let alpha = room as f64 / gaps as f64;
        ((i as f64 + sample) * alpha).trunc() - (sample * alpha).trunc()
    };
    let is_place = |&start: &f64| (0.0..=room as f64).contains(&start);
    let starts: Vec<usize> = (0..results).map(start).filter(is_place).map(|start| start as usize).collect();
    if starts.len() == results && sample.abs() < 1e6 {
        return Ok(starts);
    }
    runtime_error!("{op}(): the random samples must be from 0 to 1, but one of them is {sample}")
}

fn fractional_max(x: &Tensor, kernel: &[isize], sizes: &[isize], samples: &Tensor, n: usize) -> Result<[Tensor; 2]> {
    let op = name_of(n, "fractional_max_pool2d", "fractional_max_pool3d");
    let (kernel, sizes) = (each(op, "kernel_size", kernel, n)?, each(op, "output_size", sizes, n)?);
    check_adaptive(op, x, &sizes, n)?;
    let lead = x.rank() - n;
    if lead == 2 {
        check_sizes(op, x, 1)?;
    }
    for d in 0..n {
        let (size, kernel, results) = (x.shape()[lead + d] as isize, kernel[d], sizes[d]);
        if kernel <= 0 || results < 0 {
            return runtime_error!(
                "{op}(): expected a positive kernel_size and an output_size from 0, got {kernel} and {results}"
            );
        }
        // Torch wants a place more for three dims.
        if results.checked_add(kernel - 1 + (n == 3) as isize).is_none_or(|needed| needed > size) {
            return runtime_error!("{op}(): windows of {kernel} places are too large for {results} of them in {size} places");
        }
    }
    let batch = if lead == 2 { x.shape()[0] } else { 1 };
    let channels = x.shape()[lead - 1];
    if samples.dtype() != x.dtype() {
        return runtime_error!("{op}(): Expect _random_samples to have the same dtype as input");
    }
    if samples.rank() != 3 || samples.shape()[0] < batch || samples.shape()[1] < channels || samples.shape()[2] != n {
        return runtime_error!(
            "{op}(): Expect _random_samples to be of shape ({batch}, {channels}, {n}), got {:?}",
            samples.shape()
        );
    }
    if !x.dtype().is_float() {
        return not_implemented(name_of(n, "fractional_max_pool2d_out_frame", "fractional_max_pool3d_out_frame"), x);
    }
    check_constant(op, "random_samples", Some(samples))?;
    let used = samples.detached_read()?.to_dtype(DType::F64)?.to_vec::<f64>()?;
    let mut starts = Vec::with_capacity(batch * channels);
    for plane in 0..batch * channels {
        let sample = (plane / channels * samples.shape()[1] + plane % channels) * n;
        let of_dim = |d: usize| {
            // The samples of planes of two dims begin with that of the last.
            let place = if n == 2 { 1 - d } else { d };
            let line = [x.shape()[lead + d], sizes[d] as usize, kernel[d] as usize];
            fractional_starts(op, samples, used[sample + place], line)
        };
        starts.push((0..n).map(of_dim).collect::<Result<Vec<_>>>()?);
    }
    let _of = made_of([samples]);
    let [kernel, sizes] = [kernel, sizes].map(|list| list.iter().map(|&size| size as usize).collect::<Shape>());
    let layout = Layout::at(op, x.shape(), &kernel, &starts, &sizes)?;
    largest(op, x, &layout, n, saves! { kernel_size: kernel, output_size: sizes })
}

/// Puts elements at their places in planes of zeros; the last of those that have one place stays.
fn unpool(x: &Tensor, indices: &Tensor, sizes: &[isize], n: usize) -> Result<Tensor> {
    let op = name_of(n, "max_unpool2d", "max_unpool3d");
    if indices.dtype() != DType::I64 {
        return runtime_error!("{op}: elements in indices should be type int64 but got: {}", indices.dtype());
    }
    if sizes.len() != n {
        return runtime_error!("{op}: There should be exactly {n} elements in output_size, but got {}", sizes.len());
    }
    if x.rank() != n + 1 && x.rank() != n + 2 {
        return runtime_error!("{op}: Input should be a {}d or {}d Tensor, but got {} dims", n + 1, n + 2, x.rank());
    }
    if x.shape() != indices.shape() {
        return runtime_error!(
            "{op}: Expected shape of indices to be same as that of the input tensor ({:?}) but got indices tensor with shape: {:?}",
            x.shape(),
            indices.shape()
        );
    }
    check_sizes(op, x, 1)?;
    if sizes.iter().any(|&size| size < 0) {
        return runtime_error!("{op}: output_size must not be negative, got {sizes:?}");
    }
    if !x.dtype().is_float() {
        return not_implemented(op, x);
    }
    let lead = x.rank() - n;
    let mut shape = Shape::from_slice(&x.shape()[..lead]);
    shape.extend(sizes.iter().map(|&size| size as usize));
    crate::layout::checked_numel(op, &shape)?;
    let (planes, size) = (shape[..lead].iter().product::<usize>(), shape[lead..].iter().product::<usize>());
    let elements = x.numel() / planes.max(1);
    let index = indices.detached_read()?.reshape_to(&[planes, elements])?.contiguous()?;
    if let Some(bad) = index.to_vec::<i64>()?.into_iter().find(|&i| !(0..size as i64).contains(&i)) {
        return runtime_error!("{op}: Found an invalid max index: {bad} (output volumes are of size {sizes:?})");
    }
    let _of = made_of([indices]);
    let y = without_recording(|| -> Result<Tensor> {
        let zeros = Tensor::zeroed(op, &[planes, size], x.dtype())?;
        zeros.scatter(1, &index, Some(x.detached_read()?.reshape_to(&[planes, elements])?.into()), None, None)
    })?;
    let y = y.view_as_shape(&shape)?.without_meta();
    let y = if n == 2 { y.in_format_of(x)? } else { y };
    let (index, full) = (index.save(), Shape::from_slice(x.shape()));
    vjp!(op, y, { x: |g| {
        let found = g.reshape_to(&[planes, size])?.take_along(1, &index)?;
        // What did not stay has no tangent.
        let found = if is_forward() { (found * last_of_each(&index, planes, size)?)? } else { found };
        found.view_as_shape(&full)
    } })
}

/// 1 for the last of the elements that have one place, else 0.
fn last_of_each(index: &Tensor, planes: usize, size: usize) -> Result<Tensor> {
    without_recording(|| {
        let count = Scalar::Int(index.shape()[1] as i64);
        let number = Tensor::arange(Scalar::Int(0), count, Scalar::Int(1), DType::I64)?.expand_to("max_unpool", index.shape())?;
        let last = Tensor::zeroed("max_unpool", &[planes, size], DType::I64)?;
        let last = last.scatter(1, index, Some(number.clone().into()), None, None)?;
        last.take_along(1, index)?.eq((&number).into())
    })
}

/// The functions for planes of two dims.
macro_rules! pools_by_places {
    ($($n:literal $fractional:ident $unpool:ident ($($more:ident),*);)+) => {$(
        #[doc = concat!("The largest elements of windows at random places of planes of ", $n, " dims, and where they are.\n\n")]
        #[doc = "`random_samples`, from 0 to 1, are (N, C, dims) numbers that say where. Dtype: float, the same for both.\n"]
        #[doc = "Raises: RuntimeError for sizes and shapes that do not fit.\n"]
        #[doc = "Source: Graham, \"Fractional max-pooling\", 2014."]
        #[pyfunction]
        pub fn $fractional(input: &Tensor, kernel_size: Dims, output_size: Dims, random_samples: &Tensor) -> Result<Several> {
            Ok(Several(fractional_max(input, &kernel_size, &output_size, random_samples, $n)?.into()))
        }

        #[doc = concat!("The inverse of max pooling of planes of ", $n, " dims: elements at their places in zeros of `output_size`.\n\n")]
        #[doc = "Raises: RuntimeError for places outside of that, and shapes that differ."]
        #[pyfunction]
        pub fn $unpool(input: &Tensor, indices: &Tensor, output_size: Dims $(, $more: Dims)*) -> Result<Tensor> {
            $(
                if each(stringify!($unpool), stringify!($more), &$more, $n)?.iter().any(|&v| v < (stringify!($more) == "stride") as isize) {
                    return runtime_error!("{}: {} is too small: {:?}", stringify!($unpool), stringify!($more), &*$more);
                }
            )*
            unpool(input, indices, &output_size, $n)
        }
    )+};
}

pools_by_places! {
    2 fractional_max_pool2d max_unpool2d ();
    3 fractional_max_pool3d max_unpool3d (stride, padding);
}
