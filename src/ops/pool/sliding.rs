//! Windows that slide: `max_pool` and `avg_pool`.

use pyo3::prelude::*;

use super::windows::{Layout, Slide, check_planes, each};
use super::{Average, as_planes, flat, flat_stride, largest, name_of, not_implemented};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Strides;
use crate::ops::arguments::{Dims, MemoryFormat, Several};
use crate::runtime_error;
use crate::saves;
use crate::tensor::Tensor;

/// Fails unless planes are of one dim, with or without a batch.
fn check_lines(op: &str, x: &Tensor) -> Result<()> {
    check_planes(op, x.shape(), 1)
}

/// One number for all dims as one for each, as torch saves them; none for a stride that was not given.
fn all(given: &[isize], n: usize) -> Strides {
    if let [one] = given { Strides::from_elem(*one, n) } else { Strides::from_slice(given) }
}

fn max_pool(x: &Tensor, n: usize, slide: Slide<'_>) -> Result<[Tensor; 2]> {
    let op = name_of(n, "max_pool2d_with_indices", "max_pool3d_with_indices");
    let name = name_of(n, "max_pool2d", "max_pool3d");
    let layout = Layout::sliding(name, x.shape(), n, slide)?;
    let other = if n == 2 { MemoryFormat::ChannelsLast3d } else { MemoryFormat::ChannelsLast };
    if x.layer_format() == other {
        return runtime_error!("{name}: Unsupported memory format, expected channels last for {} dims, or row-major", n + 2);
    }
    if x.dtype() == DType::Bool || x.dtype().is_complex() {
        return not_implemented(name, x);
    }
    let numbers = saves! {
        kernel_size: all(slide.kernel, n), stride: all(slide.stride, n), padding: all(slide.padding, n), dilation: all(slide.dilation, n),
        ceil_mode: slide.ceil_mode
    };
    largest(op, x, &layout, n, numbers)
}

/// `max_pool1d` and the places in the input.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, stride=None, padding=one(0), dilation=one(1), ceil_mode=false))]
pub fn max_pool1d_with_indices(
    input: &Tensor,
    kernel_size: Dims,
    stride: Option<Dims>,
    padding: Dims,
    dilation: Dims,
    ceil_mode: bool,
) -> Result<Several> {
    const OP: &str = "max_pool1d";
    check_lines(OP, input)?;
    let kernel = flat(OP, "kernel_size", &kernel_size, 1)?;
    let stride = flat_stride(OP, stride, kernel)?;
    let (padding, dilation) = (flat(OP, "padding", &padding, 0)?, flat(OP, "dilation", &dilation, 1)?);
    let slide = Slide { kernel: &kernel, stride: &stride, padding: &padding, dilation: &dilation, ceil_mode, include_pad: false };
    Ok(Several(as_planes(input, |x| max_pool(x, 2, slide))?.into()))
}

/// The largest element of each window of lines.
///
/// Windows are of `kernel_size` places, `dilation` apart; each begins `stride` after the one before it (None: as far as it is
/// long), the first `padding` before the line, which there has nothing. With `ceil_mode` the last may be cut off.
///
/// Shape: (N, C, L) or (C, L). Dtype: float.
/// Derivative: goes to the first of equal elements.
/// Raises: RuntimeError for other shapes, and sizes that do not fit.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, stride=None, padding=one(0), dilation=one(1), ceil_mode=false))]
pub fn max_pool1d(
    input: &Tensor,
    kernel_size: Dims,
    stride: Option<Dims>,
    padding: Dims,
    dilation: Dims,
    ceil_mode: bool,
) -> Result<Tensor> {
    // Without a tape, torch does not look at the order in memory.
    let x = if input.requires_grad() { input.clone() } else { input.contiguous()? };
    let y = max_pool1d_with_indices(&x, kernel_size, stride, padding, dilation, ceil_mode)?.0.swap_remove(0);
    if input.dtype().is_float() { Ok(y) } else { not_implemented("max_pool1d_impl", input) }
}

/// The functions for windows of two and of three dims.
macro_rules! max_pools {
    ($($n:literal $name:ident $with_indices:ident $shape:literal;)+) => {$(
        #[doc = concat!("The largest element of each window of planes of ", $n, " dims, and its place; see `max_pool1d`.\n\n")]
        #[doc = concat!("Shape: (N, C, ", $shape, ") or (C, ", $shape, "). Dtype: any but bool and complex, kept.")]
        #[pyfunction]
        #[pyo3(signature = (input, kernel_size, stride=None, padding=one(0), dilation=one(1), ceil_mode=false))]
        pub fn $with_indices(
            input: &Tensor,
            kernel_size: Dims,
            stride: Option<Dims>,
            padding: Dims,
            dilation: Dims,
            ceil_mode: bool,
        ) -> Result<Several> {
            let slide = Slide {
                kernel: &kernel_size,
                stride: stride.as_deref().unwrap_or_default(),
                padding: &padding,
                dilation: &dilation,
                ceil_mode,
                include_pad: false,
            };
            Ok(Several(max_pool(input, $n, slide)?.into()))
        }

        #[doc = concat!("The largest element of each window of planes of ", $n, " dims; see `max_pool1d`.\n\n")]
        #[doc = concat!("Shape: (N, C, ", $shape, ") or (C, ", $shape, "). Dtype: any but bool and complex, kept.")]
        #[pyfunction]
        #[pyo3(signature = (input, kernel_size, stride=None, padding=one(0), dilation=one(1), ceil_mode=false))]
        pub fn $name(
            input: &Tensor,
            kernel_size: Dims,
            stride: Option<Dims>,
            padding: Dims,
            dilation: Dims,
            ceil_mode: bool,
        ) -> Result<Tensor> {
            Ok($with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)?.0.swap_remove(0))
        }
    )+};
}

max_pools! {
    2 max_pool2d max_pool2d_with_indices "H, W";
    3 max_pool3d max_pool3d_with_indices "D, H, W";
}

fn one(value: isize) -> Dims {
    Dims(smallvec::smallvec![value])
}

fn average_pool(x: &Tensor, n: usize, slide: Slide<'_>, divisor: Option<i64>) -> Result<Tensor> {
    let op = name_of(n, "avg_pool2d", "avg_pool3d");
    if divisor == Some(0) {
        return runtime_error!("{op}: divisor must be not zero");
    }
    if n == 2 && x.rank() < 3 {
        return Err(Error::Dim { op, dim: -3, rank: x.rank() });
    }
    let layout = Layout::sliding(op, x.shape(), n, slide)?;
    let kernel = each(op, "kernel_size", slide.kernel, n)?;
    if n == 3 && x.shape()[x.rank() - n..].iter().zip(&kernel).any(|(&size, &kernel)| (size as isize) < kernel) {
        return runtime_error!("{op}: planes of {:?} are smaller than windows of {:?}", &x.shape()[x.rank() - n..], &*kernel);
    }
    if !(x.dtype().is_float() || x.dtype() == DType::I64) {
        return not_implemented(name_of(n, "avg_pool2d", "avg_pool3d_out_frame"), x);
    }
    let numbers = saves! {
        kernel_size: all(slide.kernel, n), stride: all(slide.stride, n), padding: all(slide.padding, n), ceil_mode: slide.ceil_mode,
        count_include_pad: slide.include_pad, divisor_override: divisor
    };
    Average::new(op, x, layout, divisor).of(x, numbers)
}

/// The average of each window of lines.
///
/// Windows of `kernel_size` places begin `stride` after each other (None: as far as they are long), the first `padding` before
/// the line; padding counts as zeros if `count_include_pad`, else not at all. With `ceil_mode` the last may be cut off.
///
/// Shape: (N, C, L) or (C, L). Dtype: float, and int64, whose averages are cut off.
/// Raises: RuntimeError for other shapes, and sizes that do not fit.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, stride=None, padding=one(0), ceil_mode=false, count_include_pad=true))]
pub fn avg_pool1d(
    input: &Tensor,
    kernel_size: Dims,
    stride: Option<Dims>,
    padding: Dims,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Result<Tensor> {
    const OP: &str = "avg_pool1d";
    check_lines(OP, input)?;
    let kernel = flat(OP, "kernel_size", &kernel_size, 1)?;
    let stride = flat_stride(OP, stride, kernel)?;
    let padding = flat(OP, "padding", &padding, 0)?;
    let slide =
        Slide { kernel: &kernel, stride: &stride, padding: &padding, dilation: &[1], ceil_mode, include_pad: count_include_pad };
    let [y] = as_planes(input, |x| Ok([average_pool(x, 2, slide, None)?]))?;
    Ok(y)
}

/// The functions for windows of two and of three dims.
macro_rules! avg_pools {
    ($($n:literal $name:ident $shape:literal;)+) => {$(
        #[doc = concat!("The average of each window of planes of ", $n, " dims; see `avg_pool1d`.\n\n")]
        #[doc = "Sums are divided by `divisor_override` instead of the size of the window, if it is given.\n\n"]
        #[doc = concat!("Shape: (N, C, ", $shape, ") or (C, ", $shape, "). Dtype: float, and int64, whose averages are cut off.")]
        #[pyfunction]
        #[pyo3(signature = (input, kernel_size, stride=None, padding=one(0), ceil_mode=false, count_include_pad=true, divisor_override=None))]
        pub fn $name(
            input: &Tensor,
            kernel_size: Dims,
            stride: Option<Dims>,
            padding: Dims,
            ceil_mode: bool,
            count_include_pad: bool,
            divisor_override: Option<i64>,
        ) -> Result<Tensor> {
            let slide = Slide {
                kernel: &kernel_size,
                stride: stride.as_deref().unwrap_or_default(),
                padding: &padding,
                dilation: &[1],
                ceil_mode,
                include_pad: count_include_pad,
            };
            average_pool(input, $n, slide, divisor_override)
        }
    )+};
}

avg_pools! {
    2 avg_pool2d "H, W";
    3 avg_pool3d "D, H, W";
}
