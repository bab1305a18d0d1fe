//! What a convolution is asked for, and whether it can be done.

use super::form::{Form, Of, is_channels_last, or_nothing};
use crate::dtype::{DType, Kind, Scalar};
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::kernels::conv::Sizes;
use crate::layout::{Shape, checked_numel};
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// The arguments of a convolution but its tensors, checked; lower ranks have ones (and no padding) in front.
pub(super) struct Arguments {
    op: &'static str,
    rank: usize,
    pub(super) stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    groups: usize,
    /// That of a transposed convolution.
    pub(super) output_padding: Option<[usize; 3]>,
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
    pub(super) fn new(
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
    pub(super) fn apply(&self, name: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
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
            None => form.output(name, x, w, bias, self.numbers(bias)),
            Some(_) => form.input(name, w, x, bias, self.numbers(bias)),
        }
    }

    /// What the node shows.
    fn numbers(&self, bias: Option<&Tensor>) -> impl Fn() -> Named + Clone + Send + Sync + 'static {
        let (first, channels) = (3 - self.rank, bias.map_or(0, Tensor::numel));
        let Arguments { stride, padding, dilation, groups, output_padding, .. } = *self;
        let of_dims = move |sizes: [usize; 3]| Shape::from_slice(&sizes[first..]);
        let more = output_padding.unwrap_or_default();
        saves! {
            stride: of_dims(stride), padding: of_dims(padding), dilation: of_dims(dilation), groups,
            transposed: output_padding.is_some(), output_padding: of_dims(more), bias_sym_sizes_opt: [channels]
        }
    }

    pub(super) fn check_shapes(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        let (op, groups, rank) = (self.op, self.groups, self.rank + 2);
        w.check_there()?;
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
        let b = or_nothing(bias, x)?;
        vjp!("convolution", y, { x: |_g| x.as_zeros(), w: |_g| w.as_zeros(), b: |_g| b.as_zeros() }, saves {
            ..self.numbers(bias)
        })
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

pub(super) fn check_dtypes(op: &str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    for (name, other) in [("weight", Some(w)), ("bias", bias)] {
        if let Some(other) = other
            && other.dtype() != x.dtype()
        {
            return runtime_error!("{op}: Input type ({}) and {name} type ({}) should be the same", x.dtype(), other.dtype());
        }
    }
    Ok(())
}

impl Arguments {
    /// With as many zeros around the input as keep its size. If their number is odd, the last one is a step of its own.
    pub(super) fn apply_same(mut self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
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
        static UNEVEN: Once = Once::new(
            c"Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy of the input be created",
        );
        UNEVEN.warn()?;
        self.apply("convolution", &x.padded_with(&more, Scalar::Int(0))?, w, bias)
    }
}
