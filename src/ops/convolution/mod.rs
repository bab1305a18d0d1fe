//! Convolution and its transpose, in one to three dims.
//!
//! One form that is linear in input, weight and output is behind them all (see [`crate::kernels::conv`]): the derivative of the
//! convolution by its input is the transposed convolution, that by its weight is the third of its kind, and the derivatives of
//! each of the three are the two others.

mod arguments;
mod form;

use pyo3::prelude::*;

use self::arguments::{Arguments, check_dtypes};
use self::form::{BACKWARD, Form, Of};
use super::arguments::{Dims, IntList, Padding, Whole};
use crate::error::Result;
use crate::kernels::conv::Sizes;
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

pub(super) use self::form::is_channels_last;

/// The number of dims besides samples and channels must be `rank`; samples may be missing.
fn batched(op: &str, rank: usize, x: &Tensor, body: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if x.rank() == rank + 2 {
        return body(x);
    }
    if x.rank() == rank + 1 {
        return body(&x.unsqueeze_at(0)?)?.squeeze_dims(&[0]);
    }
    runtime_error!(
        "{op}: Expected {}D (unbatched) or {}D (batched) input, but got input of size: {:?}",
        rank + 1,
        rank + 2,
        x.shape()
    )
}

#[allow(clippy::too_many_arguments)] // torch's
fn convolve(
    op: &'static str,
    rank: usize,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    stride: &[isize],
    padding: &Padding,
    dilation: &[isize],
    groups: isize,
) -> Result<Tensor> {
    batched(op, rank, x, |x| match padding {
        Padding::Sizes(padding) => {
            Arguments::new(op, rank, stride, padding, dilation, groups, None)?.apply("convolution", x, w, bias)
        }
        Padding::Valid => Arguments::new(op, rank, stride, &[0], dilation, groups, None)?.apply("convolution", x, w, bias),
        Padding::Same => {
            let arguments = Arguments::new(op, rank, stride, &[0], dilation, groups, None)?;
            if arguments.stride != [1; 3] {
                return runtime_error!("{op}: padding='same' is not supported for strided convolutions");
            }
            arguments.check_shapes(x, w, bias)?;
            arguments.apply_same(x, w, bias)
        }
    })
}

macro_rules! convolutions {
    ($($rank:literal $name:ident $transposed:ident;)+) => {$(
        #[doc = concat!("Convolution over ", stringify!($rank), " dims (cross-correlation, as torch).\n\n")]
        /// y[n, o, p] = bias[o] + sum over c and k of input[n, c, p stride - padding + k dilation] weight[o, c, k], where an
        /// output channel sees the input channels of its group.
        ///
        /// Shape: (N, C, *) and (O, C / groups, *k) to (N, O, *), or without N. `padding` may be "valid", none, or "same", as much
        /// as keeps the size for a stride of 1; one number stands for all dims.
        /// Dtype: any but bool, the same for all; with a dilation only int64 among integers.
        /// Raises: RuntimeError if shapes, dtypes or sizes do not fit.
        #[pyfunction]
        #[pyo3(signature = (input, weight, bias=None, stride=one(), padding=Padding::Valid, dilation=one(), groups=Whole(1)))]
        pub fn $name(
            input: &Tensor,
            weight: &Tensor,
            bias: Option<&Tensor>,
            stride: Dims,
            padding: Padding,
            dilation: Dims,
            groups: Whole,
        ) -> Result<Tensor> {
            convolve(stringify!($name), $rank, input, weight, bias, &stride, &padding, &dilation, groups.0)
        }

        #[doc = concat!("Transposed convolution over ", stringify!($rank), " dims: the gradient of a convolution by its input.\n\n")]
        /// Each input element adds its product with the weight to the window of the result that is `stride` on from its neighbour's.
        ///
        /// Shape: (N, C, *) and (C, O / groups, *k) to (N, O, *), or without N, where a size n of * becomes
        /// (n - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1.
        /// Dtype: float, complex or int64, the same for all.
        /// Raises: RuntimeError if shapes, dtypes or sizes do not fit.
        #[pyfunction]
        #[pyo3(signature = (input, weight, bias=None, stride=one(), padding=none(), output_padding=none(), groups=Whole(1), dilation=one()))]
        #[allow(clippy::too_many_arguments)] // torch's
        pub fn $transposed(
            input: &Tensor,
            weight: &Tensor,
            bias: Option<&Tensor>,
            stride: Dims,
            padding: Dims,
            output_padding: Dims,
            groups: Whole,
            dilation: Dims,
        ) -> Result<Tensor> {
            let op = stringify!($transposed);
            batched(op, $rank, input, |x| {
                Arguments::new(op, $rank, &stride, &padding, &dilation, groups.0, Some(&output_padding))?
                    .apply("convolution", x, weight, bias)
            })
        }
    )+};
}

fn one() -> Dims {
    Dims(smallvec::smallvec![1])
}

fn none() -> Dims {
    Dims(smallvec::smallvec![0])
}

convolutions! {
    1 conv1d conv_transpose1d;
    2 conv2d conv_transpose2d;
    3 conv3d conv_transpose3d;
}

/// What is behind `conv1d` to `conv_transpose3d`: the number of dims is that of `weight`, and all arguments must be given.
#[pyfunction]
#[pyo3(signature = (input, weight, bias, stride, padding, dilation, transposed, output_padding, groups))]
#[allow(clippy::too_many_arguments)] // torch's
pub fn convolution(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: IntList,
    padding: IntList,
    dilation: IntList,
    transposed: bool,
    output_padding: IntList,
    groups: Whole,
) -> Result<Tensor> {
    let rank = weight.rank().wrapping_sub(2);
    if !(1..=3).contains(&rank) {
        return runtime_error!(
            "convolution: expected a weight of 3 to 5 dimensions, but got weight of size {:?}",
            weight.shape()
        );
    }
    // Checked in any case, as torch does.
    let mut arguments =
        Arguments::new("convolution", rank, &stride.0, &padding.0, &dilation.0, groups.0, Some(&output_padding.0))?;
    if !transposed {
        arguments.output_padding = None;
    }
    arguments.apply("convolution", input, weight, bias)
}

/// Convolution over time of a sequence (time, sample, channel), with `pad` zeros at both ends.
///
/// Shape: (T, N, C), `weight` (k, C, O) and `bias` (O,) to (T + 2 pad - k + 1, N, O).
/// Dtype: any but bool, the same for all.
/// Raises: RuntimeError if shapes or dtypes do not fit.
#[pyfunction]
#[pyo3(signature = (input, weight, bias, pad=0))]
pub fn conv_tbc(input: &Tensor, weight: &Tensor, bias: &Tensor, pad: isize) -> Result<Tensor> {
    let op = "conv_tbc";
    let (x, w) = (input, weight);
    let (&[times, samples, inputs], &[reach, of, outputs]) = (x.shape(), w.shape()) else {
        return runtime_error!(
            "{op}: Input must have 3 dims: time, batch, in_channel, and weight: kernel, in_channel, out_channel, got {:?} and {:?}",
            x.shape(),
            w.shape()
        );
    };
    if of != inputs || bias.shape() != [outputs] {
        return runtime_error!(
            "{op}: weight {:?} and bias {:?} do not fit {inputs} input channels (the last dim of the input)",
            w.shape(),
            bias.shape()
        );
    }
    check_dtypes(op, x, w, Some(bias))?;
    let places = times as i128 + 2 * pad as i128 - reach as i128 + 1;
    if pad < 0 || places < 0 || places > isize::MAX as i128 / 4 {
        return runtime_error!("{op}: {times} times with {pad} zeros at both ends do not fit a kernel of {reach}");
    }
    let (stride, dilation) = ([1; 3], [1; 3]);
    let (input, kernel, output, padding) = ([1, 1, times], [1, 1, reach], [1, 1, places as usize], [0, 0, pad as usize]);
    let sizes = Sizes { batch: samples, groups: 1, inputs, outputs, input, kernel, output, stride, padding, dilation };
    let form = Form { sizes, rank: 1, channels_last: false };
    let (images, kernels) = (|x: &Tensor| x.permuted(&[1, 2, 0]), |w: &Tensor| w.permuted(&[2, 1, 0]));
    let sequences = |x: &Tensor| x.permuted(&[2, 0, 1]);
    let y = without_recording(|| {
        let y = form.values(Of::Output, &images(x)?, &kernels(w)?, Some(bias))?;
        sequences(&y)?.contiguous()?.to_dtype(x.dtype())
    })?;
    vjp!(op, y, {
        x: |g| sequences(&form.input(BACKWARD, &kernels(&w.conj()?)?, &images(g)?, None, Named::new)?),
        w: |g| kernels(&form.weight(&images(&x.conj()?)?, &images(g)?)?),
        bias: |g| g.sum(Some(Dims(smallvec::smallvec![0, 1])), false, None),
    }, saves { pad })
    .map(|y| y.watching(&[x, w, bias]))
}
