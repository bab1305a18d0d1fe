//! The form that is linear in input, weight and output, and its derivatives.

use crate::dtype::{C128, Scalar};
use crate::error::Result;
use crate::kernels::conv::{self, Sizes};
use crate::kernels::without_interpreter;
use crate::layout::Shape;
use crate::ops::arguments::{Dims, MemoryFormat};
use crate::ops::join::has_channels_last;
use crate::storage::Access;
use crate::tape::kept;
use crate::tape::numbers::Named;
use crate::tensor::Tensor;
use crate::vjp;

/// Multiply-adds that take as long as an element does elsewhere.
const FLOPS_PER_ELEMENT: usize = 16;

/// Which of the three tensors of the form is computed from the others.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    /// x, of shape (sample, channel, place).
    Input,
    /// w, of shape (channel of y, channel of x in the group, place).
    Weight,
    /// y, of shape (sample, channel, place).
    Output,
}

/// A form: its sizes, how many dims it has besides those of samples and channels, and how torch's results lie in memory.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) sizes: Sizes,
    pub(super) rank: usize,
    pub(super) channels_last: bool,
}

impl Form {
    pub(super) fn shape(&self, of: Of) -> Shape {
        let s = &self.sizes;
        let (first, second, rest) = match of {
            Of::Input => (s.batch, s.groups * s.inputs, s.input),
            Of::Weight => (s.groups * s.outputs, s.inputs, s.kernel),
            Of::Output => (s.batch, s.groups * s.outputs, s.output),
        };
        [first, second].into_iter().chain(rest[3 - self.rank..].iter().copied()).collect()
    }

    /// The tensor `of` from the two others, in their order, and a number for each channel of it. Not recorded.
    pub(super) fn values(&self, of: Of, a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
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
        let done = crate::dispatch!(a.dtype(), "convolution", T in [f32, f64, i64, C128] => {
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
    pub(super) fn output(
        &self,
        op: &'static str,
        x: &Tensor,
        w: &Tensor,
        bias: Option<&Tensor>,
        numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let (form, b) = (*self, or_nothing(bias, x)?);
        let y = kept(op, [x, w, &b], || self.finished(Of::Output, x, w, bias))?;
        vjp!(op, y, {
            x: |g| form.input(BACKWARD, &w.conj()?, g, None, Named::new),
            w: |g| form.weight(&x.conj()?, g),
            b: |g| sum_of_channels(g),
        }, saves { ..numbers })
        .map(|y| watching_both(y, x, w))
    }

    /// The sums of weight and output, plus a bias: the transposed convolution of the output.
    pub(super) fn input(
        &self,
        op: &'static str,
        w: &Tensor,
        y: &Tensor,
        bias: Option<&Tensor>,
        numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let (form, b) = (*self, or_nothing(bias, y)?);
        let x = kept(op, [y, w, &b], || self.finished(Of::Input, w, y, bias))?;
        vjp!(op, x, {
            y: |g| form.output(BACKWARD, g, &w.conj()?, None, Named::new),
            w: |g| form.weight(g, &y.conj()?),
            b: |g| sum_of_channels(g),
        }, saves { ..numbers })
        .map(|x| watching_both(x, y, w))
    }

    /// The sums of input and output.
    pub(super) fn weight(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (form, w) = (*self, self.finished(Of::Weight, x, y, None)?);
        vjp!(BACKWARD, w, {
            x: |g| form.input(BACKWARD, g, &y.conj()?, None, Named::new),
            y: |g| form.output(BACKWARD, &x.conj()?, g, None, Named::new),
        })
    }
}

/// A result that a checkpoint may keep; gradients are computed each time.
fn kept(op: &'static str, inputs: [&Tensor; 3], compute: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    if op == BACKWARD {
        return compute();
    }
    let count = if inputs[2].numel() == 0 { 2 } else { 3 };
    kept::result(op, &inputs[..count], compute)
}

/// The result of an op for which torch saves both operands: rules here hold only what they need, which is both if both have one.
fn watching_both(y: Tensor, a: &Tensor, b: &Tensor) -> Tensor {
    if a.requires_grad() && b.requires_grad() { y } else { y.watching(&[a, b]) }
}

/// What torch calls the op of a gradient.
pub(super) const BACKWARD: &str = "convolution_backward";

pub(in crate::ops) fn is_channels_last(x: &Tensor) -> bool {
    x.rank() > 3 && !x.is_contiguous() && has_channels_last(x)
}

/// A bias, or what takes its place among the inputs of an op.
pub(super) fn or_nothing(bias: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    bias.map_or_else(|| Tensor::uninitialized("convolution", &[0], x.dtype()), |bias| Ok(bias.clone()))
}

/// The gradient of a bias.
fn sum_of_channels(g: &Tensor) -> Result<Tensor> {
    g.sum(Some(Dims((0..g.rank() as isize).filter(|&d| d != 1).collect())), false, None)
}
