//! The normalizing layers: batch, layer, group, instance and RMS normalization.

use pyo3::prelude::*;

use super::arguments::{Dims, MemoryFormat, Several, Sizes};
use super::batch_order;
use super::loss::{check_constant, check_tangents};
use super::normalize::{Affine, Normalized, Plan, check_float, check_same_dtype};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::normalize::{Groups, Statistics};
use crate::layout::{Shape, Strides};
use crate::runtime_error;
use crate::saves;
use crate::tape::numbers::Named;
use crate::tape::{view, without_recording};
use crate::tensor::Tensor;

const TANGENT_OF_AVERAGES: &str =
    "batch_norm is not differentiable wrt running_mean and running_var, they cannot have forward grad defined";

/// Averages over batches that batch normalization keeps.
#[derive(Clone, Copy)]
struct Running<'a> {
    mean: &'a Tensor,
    variance: &'a Tensor,
}

/// How batch normalization is asked for.
#[derive(Clone, Copy)]
struct Batch<'a> {
    affine: Affine<'a>,
    running: Option<Running<'a>>,
    training: bool,
    momentum: f64,
    eps: f64,
}

impl<'a> Batch<'a> {
    fn new(
        (weight, bias): (Option<&'a Tensor>, Option<&'a Tensor>),
        running: (Option<&'a Tensor>, Option<&'a Tensor>),
        training: bool,
        (momentum, eps): (f64, f64),
        x: &Tensor,
    ) -> Result<Batch<'a>> {
        let running = match running {
            (Some(mean), Some(variance)) => Some(Running { mean, variance }),
            (None, None) => None,
            // No elements need no averages.
            _ if x.numel() == 0 => None,
            _ if !training => {
                return runtime_error!("batch_norm: running_mean and running_var must be defined in evaluation mode");
            }
            _ => return Err(Error::Value("running_mean and running_var must either both be None or neither be None".into())),
        };
        Ok(Batch { affine: Affine { weight, bias }, running, training, momentum, eps })
    }

    /// Fails unless all have a number for each channel.
    fn check(&self, x: &Tensor, channels: usize) -> Result<()> {
        if !self.training && self.running.is_none() {
            return runtime_error!("batch_norm: running_mean must be defined in evaluation mode");
        }
        let Batch { affine: Affine { weight, bias }, running, .. } = *self;
        let named = [
            ("running_mean", running.map(|running| running.mean)),
            ("running_var", running.map(|running| running.variance)),
            ("weight", weight),
            ("bias", bias),
        ];
        for (name, parameter) in named.into_iter().filter_map(|(name, parameter)| Some((name, parameter?))) {
            if parameter.numel() != channels {
                return runtime_error!("batch_norm: {name} should contain {channels} elements not {}", parameter.numel());
            }
            if name.starts_with("running") {
                check_constant("native_batch_norm", name, Some(parameter))?;
            }
        }
        if let (false, Some(running)) = (self.training, running) {
            let averages = [Some(running.mean), Some(running.variance)];
            check_tangents(TANGENT_OF_AVERAGES, &[Some(x), weight, bias], &averages)?;
        }
        check_float("batch_norm", x)?;
        self.affine.check_dtypes(x)?;
        running.map_or(Ok(()), |running| [running.mean, running.variance].iter().try_for_each(|y| check_same_dtype(x, y)))
    }

    /// The result, recorded, and the means and one over the deviations of the channels that it was normalized by. `reserve` is what
    /// torch saves, too.
    fn normalize(&self, op: &'static str, x: &Tensor, reserve: Option<&Tensor>) -> Result<[Tensor; 3]> {
        let channels = *x.shape().get(1).ok_or_else(|| Error::Dim { op: "batch_norm", dim: 1, rank: x.rank() })?;
        self.check(x, channels)?;
        if x.numel() == 0 {
            return runtime_error!(
                "batch_norm: input tensor must have at least one element, but got input_sizes = {:?}",
                x.shape()
            );
        }
        let groups = Groups { outer: x.shape()[0], channels, inner: x.shape()[2..].iter().product(), width: None };
        let statistics = if self.training { Statistics::OfGroup } else { Statistics::Given };
        let plan = Plan { op, backward: "native_batch_norm_backward", groups, statistics, eps: self.eps };
        let given = match self.running {
            // A copy: who writes to it later means the next batches.
            Some(running) if !self.training => without_recording(|| -> Result<_> {
                let rstd = (running.variance + self.eps)?.rsqrt()?;
                Ok(Some((running.mean.copied()?, rstd)))
            })?,
            _ => None,
        };
        let values = plan.values(x, self.affine, given.as_ref().map(|(mean, rstd)| (mean, rstd)))?;
        if let (Some(running), true) = (self.running, self.training) {
            self.update(running, &values, groups.size() as f64)?;
        }
        let others: Vec<_> = self.running.iter().flat_map(|running| [running.mean, running.variance]).chain(reserve).collect();
        let (eps, training) = (self.eps, self.training);
        let numbers = move || match op {
            "batch_norm_with_update" => saves! { eps }(),
            _ => saves! { eps, training }(),
        };
        let y = plan.record(x, self.affine, &values, vec![values.y.clone()], &others, numbers)?.swap_remove(0);
        for average in self.running.iter().flat_map(|running| [running.mean, running.variance]) {
            [&y, &values.mean, &values.rstd].iter().for_each(|made| made.note_sample_of(average.sample_of()));
        }
        // As in torch, where the channels of all samples are channels of one.
        batch_order::note_within_first(&y);
        if !self.training {
            let none = || Tensor::uninitialized(op, &[0], x.dtype());
            return Ok([y, none()?, none()?]);
        }
        Ok([y, values.mean, values.rstd])
    }

    /// Moves the running averages towards a batch of `count` elements in each channel.
    fn update(&self, running: Running<'_>, values: &Normalized, count: f64) -> Result<()> {
        let unbiased = count / (count - 1.0);
        for (average, new, factor) in [(running.mean, &values.mean, 1.0), (running.variance, &values.variance, unbiased)] {
            let new = without_recording(|| -> Result<Tensor> {
                let new = new.view_as_shape(average.shape())?;
                (average.detached(false) * (1.0 - self.momentum))? + (new * (factor * self.momentum))?
            })?;
            view::overwrite_unseen("batch_norm", average, &new)?;
        }
        Ok(())
    }

    /// The result alone. Of no elements it is these, so that their gradient has a shape.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if x.numel() > 0 {
            let [y, ..] = self.normalize("native_batch_norm", x, None)?;
            return Ok(y);
        }
        let mut y = x.clone_in(MemoryFormat::Preserve)?;
        if let Some(weight) = self.affine.weight {
            y = (y * weight.select(0, 0)?)?;
        }
        if let Some(bias) = self.affine.bias {
            y = (y + bias.select(0, 0)?)?;
        }
        Ok(y)
    }
}

/// Each channel less its mean over the batch and all places, over its deviation, times a weight and plus a bias.
///
/// y = (x - mean) / sqrt(var + eps) weight + bias. Unless `training`, mean and variance are the running ones; else these become
/// (1 - momentum) running + momentum batch's, the variance with one element less in the divisor.
///
/// Shape: (N, C, *), kept; all else (C,). Dtype: float, the same for all.
/// Raises: RuntimeError for other sizes and dtypes; ValueError for one running average without the other.
/// Source: Ioffe and Szegedy, "Batch normalization", 2015.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    input: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    running_mean: Option<&Tensor>,
    running_var: Option<&Tensor>,
    training: bool,
    momentum: f64,
    eps: f64,
    cudnn_enabled: bool,
) -> Result<Tensor> {
    let _ = cudnn_enabled;
    Batch::new((weight, bias), (running_mean, running_var), training, (momentum, eps), input)?.apply(input)
}

/// `batch_norm`, and the means and one over the deviations of the batch; none of these unless `training`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn native_batch_norm(
    input: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    running_mean: Option<&Tensor>,
    running_var: Option<&Tensor>,
    training: bool,
    momentum: f64,
    eps: f64,
) -> Result<Several> {
    let batch = Batch::new((weight, bias), (running_mean, running_var), training, (momentum, eps), input)?;
    Ok(Several(batch.normalize("native_batch_norm", input, None)?.into()))
}

/// [`native_batch_norm`] under its other name, which has a node of its own.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn _native_batch_norm_legit(
    input: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    running_mean: Option<&Tensor>,
    running_var: Option<&Tensor>,
    training: bool,
    momentum: f64,
    eps: f64,
) -> Result<Several> {
    let op = if running_mean.is_some() { "native_batch_norm_legit" } else { "native_batch_norm_legit.1" };
    let batch = Batch::new((weight, bias), (running_mean, running_var), training, (momentum, eps), input)?;
    Ok(Several(batch.normalize(op, input, None)?.into()))
}

/// [`native_batch_norm`] that always trains, with an empty fourth result, which is what its derivative has no need of.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn _batch_norm_with_update(
    input: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    running_mean: &Tensor,
    running_var: &Tensor,
    momentum: f64,
    eps: f64,
) -> Result<Several> {
    let batch = Batch::new((weight, bias), (Some(running_mean), Some(running_var)), true, (momentum, eps), input)?;
    let reserve = Tensor::uninitialized("batch_norm", &[0], DType::U8)?;
    let mut all = Vec::from(batch.normalize("batch_norm_with_update", input, Some(&reserve))?);
    all.push(reserve);
    Ok(Several(all))
}

/// Each channel of each sample less its mean over all places, over its deviation; see `batch_norm`.
///
/// Unless `use_input_stats`, mean and variance are the running ones, which else follow the means over the samples.
///
/// Shape: (N, C, *), kept; all else (C,). Dtype: float, the same for all.
/// Raises: RuntimeError for other sizes and dtypes, and for missing running averages that are needed.
/// Source: Ulyanov, Vedaldi, Lempitsky, "Instance normalization", 2016.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn instance_norm(
    input: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    running_mean: Option<&Tensor>,
    running_var: Option<&Tensor>,
    use_input_stats: bool,
    momentum: f64,
    eps: f64,
    cudnn_enabled: bool,
) -> Result<Tensor> {
    let _ = cudnn_enabled;
    let x = input;
    if !use_input_stats && (running_mean.is_none() || running_var.is_none()) {
        return runtime_error!(
            "instance_norm: Expected running_mean and running_var to be defined when use_input_stats is false"
        );
    }
    let &[samples, channels, ref places @ ..] = x.shape() else {
        return Err(Error::Dim { op: "instance_norm", dim: 1, rank: x.rank() });
    };
    for (name, average) in [("running_mean", running_mean), ("running_var", running_var)] {
        check_constant("native_batch_norm", name, average)?;
    }
    if !use_input_stats {
        check_tangents(TANGENT_OF_AVERAGES, &[Some(x), weight, bias], &[running_mean, running_var])?;
    }
    // The channels of all samples as those of one.
    let repeated = |parameter: Option<&Tensor>| {
        let counts = || Sizes(Some(Dims(smallvec::smallvec![samples as isize])));
        parameter.map(|parameter| parameter.repeat(counts(), None)).transpose()
    };
    let (weight, bias) = (repeated(weight)?, repeated(bias)?);
    let (mean, var) = without_recording(|| -> Result<_> { Ok((repeated(running_mean)?, repeated(running_var)?)) })?;
    let mut shape = Shape::from_slice(&[1, samples * channels]);
    shape.extend_from_slice(places);
    let batch = Batch::new((weight.as_ref(), bias.as_ref()), (mean.as_ref(), var.as_ref()), use_input_stats, (momentum, eps), x)?;
    let y = batch.apply(&x.contiguous()?.viewed("view", &shape)?)?;
    for (running, repeated) in [(running_mean, mean), (running_var, var)] {
        if let (true, Some(running), Some(repeated)) = (use_input_stats && x.numel() > 0, running, repeated) {
            let over_samples =
                repeated.view_as_shape(&[samples, channels])?.mean(Some(Dims(smallvec::smallvec![0])), false, None)?;
            view::overwrite_unseen("instance_norm", running, &over_samples)?;
            running.bump_version();
        }
    }
    y.viewed("view", x.shape())
}

/// The layout of rows that are normalized: everything before, and all of, the last dims.
fn rows(op: &str, x: &Tensor, normalized_shape: &[isize], parameters: &[(&str, Option<&Tensor>)]) -> Result<Groups> {
    if normalized_shape.is_empty() {
        return runtime_error!(
            "{op}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element"
        );
    }
    let is_shape = |shape: &[usize]| shape.iter().map(|&size| size as isize).eq(normalized_shape.iter().copied());
    for (name, parameter) in parameters {
        parameter.map_or(Ok(()), Tensor::check_there)?;
        if let Some(parameter) = parameter.filter(|parameter| !is_shape(parameter.shape())) {
            return runtime_error!(
                "{op}: Expected {name} to be of same shape as normalized_shape, but got {name} of shape {:?} and normalized_shape = \
                 {normalized_shape:?}",
                parameter.shape()
            );
        }
    }
    let lead = x.rank().checked_sub(normalized_shape.len()).filter(|&lead| is_shape(&x.shape()[lead..]));
    let Some(lead) = lead else {
        return runtime_error!(
            "{op}: Given normalized_shape={normalized_shape:?}, expected input with these last sizes, but got input of size {:?}",
            x.shape()
        );
    };
    let (outer, channels) = (x.shape()[..lead].iter().product(), x.shape()[lead..].iter().product());
    Ok(Groups { outer, channels, inner: 1, width: Some(channels) })
}

/// [`native_layer_norm`] without the statistics' own results.
///
/// y = (x - mean) / sqrt(var + eps) weight + bias, where mean and variance are over the last dims.
///
/// Shape: (*, normalized_shape), kept; weight and bias of `normalized_shape`. Dtype: float, the same for all.
/// Raises: RuntimeError for other shapes and dtypes.
/// Source: Ba, Kiros, Hinton, "Layer normalization", 2016.
#[pyfunction]
#[pyo3(signature = (input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=true))]
pub fn layer_norm(
    input: &Tensor,
    normalized_shape: Vec<isize>,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
    cudnn_enable: bool,
) -> Result<Tensor> {
    let _ = cudnn_enable;
    Ok(layer_norm_all(input, &normalized_shape, Affine { weight, bias }, eps)?.swap_remove(0))
}

/// `layer_norm`, and the means and one over the deviations, which have the last dims with size 1.
#[pyfunction]
pub fn native_layer_norm(
    input: &Tensor,
    normalized_shape: Vec<isize>,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Several> {
    layer_norm_all(input, &normalized_shape, Affine { weight, bias }, eps).map(Several)
}

fn layer_norm_all(x: &Tensor, normalized_shape: &[isize], affine: Affine<'_>, eps: f64) -> Result<Vec<Tensor>> {
    const OP: &str = "native_layer_norm";
    let groups = rows("layer_norm", x, normalized_shape, &[("weight", affine.weight), ("bias", affine.bias)])?;
    if x.numel() > 0 {
        affine.check_dtypes(x)?;
        check_float("LayerNormKernelImpl", x)?;
    }
    let mut shape = Shape::from_slice(x.shape());
    shape[x.rank() - normalized_shape.len()..].fill(1);
    let plan = Plan { op: OP, backward: "native_layer_norm_backward", groups, statistics: Statistics::OfGroup, eps };
    let values = if x.numel() > 0 { plan.values(x, affine, None)? } else { plan.of_nothing(x, groups.outer)? };
    let given = Strides::from_slice(normalized_shape);
    let bias: Vec<_> = affine.bias.into_iter().collect();
    let mut outputs = plan.record(x, affine, &values, vec![values.y.clone()], &bias, saves! { normalized_shape: given })?;
    for statistic in [&values.mean, &values.rstd] {
        outputs.push(statistic.view_as_shape(&shape)?.without_meta());
    }
    Ok(outputs)
}

/// Rows over the root of their mean square, times a weight: x / sqrt(mean(x²) + eps) weight, where the mean is over the last dims.
///
/// `eps` is the distance from 1 to the next number if None.
///
/// Shape: (*, normalized_shape), kept; weight of `normalized_shape`. Dtype: float or complex, kept.
/// Raises: RuntimeError for other shapes and dtypes.
/// Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.
#[pyfunction]
#[pyo3(signature = (input, normalized_shape, weight=None, eps=None))]
pub fn rms_norm(input: &Tensor, normalized_shape: Vec<isize>, weight: Option<&Tensor>, eps: Option<f64>) -> Result<Tensor> {
    let x = input;
    let groups = rows("rms_norm", x, &normalized_shape, &[("weight", weight)])?;
    if !x.dtype().is_inexact() {
        return Err(Error::NotImplemented(format!("\"rms_norm\" not implemented for '{}'", x.dtype().type_word())));
    }
    let eps = eps.unwrap_or(if matches!(x.dtype(), DType::F32 | DType::C64) { f32::EPSILON as f64 } else { f64::EPSILON });
    if x.dtype().is_complex() || weight.is_some_and(|weight| weight.dtype() != x.dtype()) {
        let last: Vec<isize> = (1..=normalized_shape.len() as isize).map(|d| -d).collect();
        let rstd = ((x * x)?.mean(Some(Dims(last.into())), true, None)? + eps)?.rsqrt()?;
        let y = (x * rstd)?;
        return weight.map_or(Ok(y.clone()), |weight| y * weight)?.to_dtype(x.dtype());
    }
    if let Some(weight) = weight.filter(|weight| weight.requires_grad() && !x.requires_grad()) {
        // Of its two steps, only the second has a derivative, and keeps what is multiplied instead of `input`.
        return rms_norm(x, normalized_shape, None, Some(eps))? * weight;
    }
    let affine = Affine { weight, bias: None };
    // Torch composes it, so that the last op is a product.
    let plan = Plan { op: "mul", backward: "rms_norm_backward", groups, statistics: Statistics::AroundZero, eps };
    let values = if x.numel() > 0 { plan.values(x, affine, None)? } else { plan.of_nothing(x, groups.outer)? };
    Ok(plan.record(x, affine, &values, vec![values.y.clone()], &[], Named::new)?.swap_remove(0))
}

/// Each group of neighbouring channels of a sample less its mean, over its deviation, times a weight and plus a bias of the channel.
///
/// Shape: (N, C, *), kept; weight and bias (C,). Dtype: float, the same for all.
/// Raises: RuntimeError for other sizes and dtypes, and if `num_groups` does not divide C.
/// Source: Wu and He, "Group normalization", 2018.
#[pyfunction]
#[pyo3(signature = (input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=true))]
pub fn group_norm(
    input: &Tensor,
    num_groups: isize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
    cudnn_enabled: bool,
) -> Result<Tensor> {
    let _ = cudnn_enabled;
    let &[samples, channels, ref places @ ..] = input.shape() else {
        return Err(Error::Dim { op: "group_norm", dim: 1, rank: input.rank() });
    };
    let sizes = [samples, channels, places.iter().product()];
    // Copies of what is not contiguous are what is normalized, and kept.
    let x = if input.layer_format() == MemoryFormat::Contiguous { input.contiguous()? } else { input.clone() };
    let weight = weight.map(|weight| weight.contiguous()).transpose()?;
    Ok(group_norm_all(&x, Affine { weight: weight.as_ref(), bias }, sizes, num_groups, eps)?.swap_remove(0))
}

/// `group_norm` of elements in any shape that stands for (N, C, HxW), and the means and one over the deviations, (N, group).
#[pyfunction]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub fn native_group_norm(
    input: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    N: usize,
    C: usize,
    HxW: usize,
    group: isize,
    eps: f64,
) -> Result<Several> {
    group_norm_all(input, Affine { weight, bias }, [N, C, HxW], group, eps).map(Several)
}

#[allow(non_snake_case)] // torch's names of what is saved
fn group_norm_all(x: &Tensor, affine: Affine<'_>, sizes: [usize; 3], groups: isize, eps: f64) -> Result<Vec<Tensor>> {
    const OP: &str = "native_group_norm";
    let [samples, channels, inner] = sizes;
    if groups <= 0 {
        return runtime_error!("group_norm: Expected num groups to be greater than 0, got {groups}");
    }
    let groups = groups as usize;
    if channels % groups != 0 {
        return runtime_error!(
            "group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape {:?} and \
             num_groups={groups}",
            x.shape()
        );
    }
    for (name, parameter) in [("weight", affine.weight), ("bias", affine.bias)] {
        if let Some(parameter) = parameter.filter(|parameter| parameter.shape() != [channels]) {
            return runtime_error!(
                "group_norm: Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape \
                 {:?} and input of shape {:?}",
                parameter.shape(),
                x.shape()
            );
        }
    }
    if Some(x.numel()) != samples.checked_mul(channels).and_then(|n| n.checked_mul(inner)) {
        return runtime_error!("group_norm: Expected N * C * HxW to be the input's {} elements, got {sizes:?}", x.numel());
    }
    affine.check_dtypes(x)?;
    check_float("GroupNormKernelImpl", x)?;
    let shape = [samples, groups];
    let extent = Groups { outer: samples, channels, inner, width: Some(channels / groups) };
    let plan = Plan { op: OP, backward: "native_group_norm_backward", groups: extent, statistics: Statistics::OfGroup, eps };
    let values = if x.numel() > 0 { plan.values(x, affine, None)? } else { plan.of_nothing(x, samples * groups)? };
    let of_groups = |statistic: &Tensor| statistic.view_as_shape(&shape).map(Tensor::without_meta);
    let outputs = vec![values.y.clone(), of_groups(&values.mean)?, of_groups(&values.rstd)?];
    plan.record(x, affine, &values, outputs, &[], saves! { N: samples, C: channels, HxW: inner, group: groups, eps })
}
