//! Convolution and its transpose, in one to three dims.
//!
//! One form that is linear in input, weight and output is behind them all (see [`crate::kernels::conv`]): the derivative of the
//! convolution by its input is the transposed convolution, that by its weight is the third of its kind, and the derivatives of
//! each of the three are the two others.

use pyo3::prelude::*;

use super::arguments::{Dims, IntList, MemoryFormat, Padding, Whole};
use super::join::has_channels_last;
use crate::dtype::{DType, Kind, Scalar};
use crate::error::{Error, Result};
use crate::kernels::conv::{self, Sizes};
use crate::kernels::without_interpreter;
use crate::layout::{Shape, checked_numel};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// Multiply-adds that take as long as an element does elsewhere.
const FLOPS_PER_ELEMENT: usize = 16;

/// Which of the three tensors of the form is computed from the others.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Input,
    Weight,
    Output,
}

/// A form: its sizes, how many dims it has besides those of samples and channels, and how torch's results lie in memory.
#[derive(Clone, Copy)]
struct Form {
    sizes: Sizes,
    rank: usize,
    channels_last: bool,
}

impl Form {
    fn shape(&self, of: Of) -> Shape {
        let s = &self.sizes;
        let (first, second, rest) = match of {
            Of::Input => (s.batch, s.groups * s.inputs, s.input),
            Of::Weight => (s.groups * s.outputs, s.inputs, s.kernel),
            Of::Output => (s.batch, s.groups * s.outputs, s.output),
        };
        [first, second].into_iter().chain(rest[3 - self.rank..].iter().copied()).collect()
    }

    /// The tensor `of` from the two others, in their order, and a number for each channel of it. Not recorded.
    fn values(&self, of: Of, a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let wide = |x: &Tensor| x.detached_read()?.wide()?.contiguous();
        let (a, b, bias) = (wide(a)?, wide(b)?, bias.map(wide).transpose()?);
        let y = Tensor::uninitialized("convolution", &self.shape(of), a.dtype())?;
        if y.numel() == 0 {
            return Ok(y);
        }
        if a.numel() == 0 || b.numel() == 0 {
            match &bias {
                Some(bias) => {
                    let shape: Shape = std::iter::once(bias.numel()).chain((0..self.rank).map(|_| 1)).collect();
                    y.write(&bias.view_as_shape(&shape)?)?;
                }
                None => y.fill(Scalar::Int(0))?,
            }
            return Ok(y);
        }
        let s = self.sizes;
        let work = s.cols().saturating_mul(s.rows()).saturating_mul(s.groups * s.outputs) / FLOPS_PER_ELEMENT;
        let mut storages = vec![a.storage(), b.storage()];
        storages.extend(bias.as_ref().map(Tensor::storage));
        let access = Access::new(&storages, &[]);
        let done = crate::dispatch!(a.dtype(), "convolution", T in [f32, f64, i64, crate::dtype::C128] => {
            let addresses = (a.ptr::<T>() as usize, b.ptr::<T>() as usize, y.ptr::<T>() as usize);
            let bias = bias.as_ref().map_or(0, |bias| bias.ptr::<T>() as usize);
            without_interpreter(work, || {
                let (a, b, y, bias) = (addresses.0 as *const T, addresses.1 as *const T, addresses.2 as *mut T, bias as *const T);
                // SAFETY: all are contiguous with the form's shapes; those that are read are locked, y is fresh.
                unsafe {
                    match of {
                        Of::Output => conv::output(&s, a, b, bias, y),
                        Of::Input => conv::input(&s, a, b, bias, y),
                        Of::Weight => conv::weight(&s, a, b, y),
                    }
                }
            });
            Ok(())
        });
        drop(access);
        done.map(|()| y)
    }

    /// [`Form::values`] in the dtype and the order in memory of torch's result.
    fn finished(&self, of: Of, a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let y = self.values(of, a, b, bias)?.to_dtype(a.dtype())?;
        match self.rank {
            _ if !self.channels_last => Ok(y),
            2 => y.to_copy(y.dtype(), MemoryFormat::ChannelsLast),
            _ => y.to_copy(y.dtype(), MemoryFormat::ChannelsLast3d),
        }
    }

    /// The sums of input and weight, plus a bias.
    fn output(&self, op: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (form, y) = (*self, self.finished(Of::Output, x, w, bias)?);
        match bias {
            None => vjp!(op, y, { x: |g| form.input(BACKWARD, &w.conj()?, g, None), w: |g| form.weight(&x.conj()?, g) }),
            Some(b) => vjp!(op, y, {
                x: |g| form.input(BACKWARD, &w.conj()?, g, None),
                w: |g| form.weight(&x.conj()?, g),
                b: |g| sum_of_channels(g),
            }),
        }
    }

    /// The sums of weight and output, plus a bias: the transposed convolution of the output.
    fn input(&self, op: &'static str, w: &Tensor, y: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (form, x) = (*self, self.finished(Of::Input, w, y, bias)?);
        match bias {
            None => vjp!(op, x, { y: |g| form.output(BACKWARD, g, &w.conj()?, None), w: |g| form.weight(g, &y.conj()?) }),
            Some(b) => vjp!(op, x, {
                y: |g| form.output(BACKWARD, g, &w.conj()?, None),
                w: |g| form.weight(g, &y.conj()?),
                b: |g| sum_of_channels(g),
            }),
        }
    }

    /// The sums of input and output.
    fn weight(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (form, w) = (*self, self.finished(Of::Weight, x, y, None)?);
        vjp!(BACKWARD, w, {
            x: |g| form.input(BACKWARD, g, &y.conj()?, None),
            y: |g| form.output(BACKWARD, &x.conj()?, g, None),
        })
    }
}

/// What torch calls the op of a gradient.
const BACKWARD: &str = "convolution_backward";

pub(super) fn is_channels_last(x: &Tensor) -> bool {
    x.rank() > 3 && !x.is_contiguous() && has_channels_last(x)
}

/// The gradient of a bias.
fn sum_of_channels(g: &Tensor) -> Result<Tensor> {
    g.sum(Some(Dims((0..g.rank() as isize).filter(|&d| d != 1).collect())), false, None)
}

/// The arguments of a convolution but its tensors, checked; lower ranks have ones (and no padding) in front.
struct Arguments {
    op: &'static str,
    rank: usize,
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    groups: usize,
    /// That of a transposed convolution.
    output_padding: Option<[usize; 3]>,
}

/// One number for each dim, or one for all.
fn for_dims(op: &str, name: &str, given: &[isize], rank: usize, least: isize) -> Result<[usize; 3]> {
    if given.len() != rank && given.len() != 1 {
        return runtime_error!(
            "{op}: expected {name} to be a single integer value or a list of {rank} values to match the convolution dimensions, but \
             got {name}={given:?}"
        );
    }
    let mut all = [least as usize; 3];
    for (d, slot) in all[3 - rank..].iter_mut().enumerate() {
        let value = given[d.min(given.len() - 1)];
        if value < least {
            let kind = if least == 0 { "negative" } else { "non-positive" };
            return runtime_error!("{op}: {kind} {name} is not supported, got {name}={given:?}");
        }
        *slot = value as usize;
    }
    Ok(all)
}

impl Arguments {
    #[allow(clippy::too_many_arguments)] // as many as a convolution has
    fn new(
        op: &'static str,
        rank: usize,
        stride: &[isize],
        padding: &[isize],
        dilation: &[isize],
        groups: isize,
        output_padding: Option<&[isize]>,
    ) -> Result<Arguments> {
        if groups <= 0 {
            return runtime_error!("{op}: non-positive groups is not supported, got groups={groups}");
        }
        Ok(Arguments {
            op,
            rank,
            stride: for_dims(op, "stride", stride, rank, 1)?,
            padding: for_dims(op, "padding", padding, rank, 0)?,
            dilation: for_dims(op, "dilation", dilation, rank, 1)?,
            groups: groups as usize,
            output_padding: output_padding.map(|given| for_dims(op, "output_padding", given, rank, 0)).transpose()?,
        })
    }

    /// The batched convolution.
    fn apply(&self, name: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let op = self.op;
        self.check_shapes(x, w, bias)?;
        check_dtypes(op, x, w, bias)?;
        let form = self.form(x, w)?;
        if x.shape()[1] == 0 {
            return self.of_no_channels(&form, x, w, bias);
        }
        if x.shape()[0] > 0 {
            if x.numel() == 0 {
                return runtime_error!(
                    "{op}: Only zero batch or zero channel inputs are supported, but got input shape: {:?}",
                    x.shape()
                );
            }
            self.check_dtype_is_implemented(x.dtype())?;
        }
        match self.output_padding {
            None => form.output(name, x, w, bias),
            Some(_) => form.input(name, w, x, bias),
        }
    }

    fn check_shapes(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        let (op, groups, rank) = (self.op, self.groups, self.rank + 2);
        if x.rank() != rank || w.rank() != rank {
            return runtime_error!(
                "{op}: expected {rank}-dimensional input and weight, but got input of size {:?} and weight of size {:?}",
                x.shape(),
                w.shape()
            );
        }
        let (of_w, of_x) = (w.shape(), x.shape());
        if of_w[0] < groups {
            return runtime_error!(
                "{op}: Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size {of_w:?} instead"
            );
        }
        if !of_w[0].is_multiple_of(groups) {
            return runtime_error!(
                "{op}: Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size {of_w:?} \
                 instead"
            );
        }
        let transposed = self.output_padding.is_some();
        let (inputs, outputs) =
            if transposed { (of_w[0], of_w[1].saturating_mul(groups)) } else { (of_w[1].saturating_mul(groups), of_w[0]) };
        if of_x[1] != inputs {
            return runtime_error!(
                "{op}: Given groups={groups}, weight of size {of_w:?}, expected input{of_x:?} to have {inputs} channels, but got {} channels \
                 instead",
                of_x[1]
            );
        }
        if let Some(bias) = bias
            && bias.shape() != [outputs]
        {
            return runtime_error!(
                "{op}: Given weight of size {of_w:?}, expected bias to be 1-dimensional with {outputs} elements, but got bias of size {:?} \
                 instead",
                bias.shape()
            );
        }
        if of_w[2..].contains(&0) {
            return runtime_error!("{op}: a kernel without elements is not supported, got weight of size {of_w:?}");
        }
        Ok(())
    }

    /// The form between this input and weight.
    fn form(&self, x: &Tensor, w: &Tensor) -> Result<Form> {
        let dims = |x: &Tensor| {
            let mut dims = [1; 3];
            dims[3 - self.rank..].copy_from_slice(&x.shape()[2..]);
            dims
        };
        let (given, kernel) = (dims(x), dims(w));
        let mut other = [1; 3];
        for d in 3 - self.rank..3 {
            other[d] = self.size_of_result(d, given[d], kernel[d], x)?;
        }
        let (input, output) = if self.output_padding.is_some() { (other, given) } else { (given, other) };
        let (batch, groups) = (x.shape()[0], self.groups);
        let (outputs, inputs) = (w.shape()[0] / groups, w.shape()[1]);
        let Arguments { stride, padding, dilation, .. } = *self;
        let sizes = Sizes { batch, groups, inputs, outputs, input, kernel, output, stride, padding, dilation };
        // Torch has channels last in 3 dims for float32 only.
        let channels_last = (self.rank == 2 || x.dtype() == DType::F32) && (is_channels_last(x) || is_channels_last(w));
        let form = Form { sizes, rank: self.rank, channels_last };
        checked_numel(self.op, &form.shape(if self.output_padding.is_some() { Of::Input } else { Of::Output }))?;
        Ok(form)
    }

    /// The size of dim `d` of the result.
    fn size_of_result(&self, d: usize, size: usize, kernel: usize, x: &Tensor) -> Result<usize> {
        let op = self.op;
        let [stride, padding, dilation] = [self.stride[d], self.padding[d], self.dilation[d]].map(|v| v as i128);
        let (size, reach) = (size as i128, dilation * (kernel as i128 - 1) + 1);
        let padded = match self.output_padding {
            None => size + 2 * padding,
            Some(more) => (size - 1) * stride + reach + more[d] as i128,
        };
        if padded.max(reach) > isize::MAX as i128 / 4 {
            return runtime_error!("{op}: the sizes are too large: dimension {d} would have {padded} places with its padding");
        }
        if let Some(more) = self.output_padding {
            let result = padded - 2 * padding;
            // As in torch, without samples much goes.
            let least = i128::from(x.shape()[0] > 0);
            if least > 0 && more[d] as i128 >= stride.max(dilation) {
                return runtime_error!(
                    "{op}: output padding must be smaller than either stride or dilation, but got output_padding {}, stride {stride}, \
                     dilation {dilation}",
                    more[d]
                );
            }
            if result < least {
                return runtime_error!(
                    "{op}: Given input size per channel: {:?}. Calculated output size in dimension {d}: {result}. Output size is too small",
                    &x.shape()[2..]
                );
            }
            return Ok(result as usize);
        }
        if reach > padded {
            return runtime_error!(
                "{op}: Calculated padded input size in dimension {d}: {padded}. Kernel size: {reach}. Kernel size can't be greater than \
                 actual input size"
            );
        }
        Ok(((padded - reach) / stride + 1) as usize)
    }

    /// The result for no channels: as in torch it has none itself, whatever the weight says.
    fn of_no_channels(&self, form: &Form, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let mut shape = form.shape(if self.output_padding.is_some() { Of::Input } else { Of::Output });
        shape[1] = 0;
        let y = Tensor::uninitialized(self.op, &shape, x.dtype())?;
        let b = bias.unwrap_or(w);
        vjp!("convolution", y, { x: |_g| x.as_zeros(), w: |_g| w.as_zeros(), b: |_g| b.as_zeros() })
    }

    /// Torch has kernels for few dtypes.
    fn check_dtype_is_implemented(&self, dtype: DType) -> Result<()> {
        let general = self.output_padding.is_some() || self.dilation != [1; 3];
        if dtype == DType::Bool || (dtype.kind() == Kind::Int && general && dtype != DType::I64) {
            return Err(Error::NotImplemented(format!("{}: not implemented for '{}'", self.op, dtype.type_word())));
        }
        Ok(())
    }
}

fn check_dtypes(op: &str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    for (name, other) in [("weight", Some(w)), ("bias", bias)] {
        if let Some(other) = other
            && other.dtype() != x.dtype()
        {
            return runtime_error!("{op}: Input type ({}) and {name} type ({}) should be the same", x.dtype(), other.dtype());
        }
    }
    Ok(())
}

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

impl Arguments {
    /// With as many zeros around the input as keep its size. If their number is odd, the last one is a step of its own.
    fn apply_same(mut self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let mut more: Vec<isize> = Vec::new();
        for d in (3 - self.rank..3).rev() {
            let kernel = w.shape()[d + self.rank - 1];
            let Some(total) = self.dilation[d].checked_mul(kernel - 1).filter(|&total| total < isize::MAX as usize / 4) else {
                return runtime_error!(
                    "{}: the sizes are too large: kernel size {kernel}, dilation {}",
                    self.op,
                    self.dilation[d]
                );
            };
            self.padding[d] = total / 2;
            more.extend([0, (total % 2) as isize]);
        }
        if more.iter().all(|&more| more == 0) {
            return self.apply("convolution", x, w, bias);
        }
        self.apply("convolution", &x.padded_with(&more, Scalar::Int(0))?, w, bias)
    }
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
        x: |g| sequences(&form.input(BACKWARD, &kernels(&w.conj()?)?, &images(g)?, None)?),
        w: |g| kernels(&form.weight(&images(&x.conj()?)?, &images(g)?)?),
        bias: |g| g.sum(Some(Dims(smallvec::smallvec![0, 1])), false, None),
    })
}
