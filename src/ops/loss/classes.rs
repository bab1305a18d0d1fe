//! Losses by the number of the right class: `nll_loss` and `cross_entropy`.

use pyo3::prelude::*;

use super::{Reduce, check_constant};
use crate::dtype::{DType, Element, Number, Scalar};
use crate::error::{Error, Result};
use crate::kernels::lines::Lines;
use crate::kernels::{par, softmax as kernel, without_interpreter};
use crate::layout::Shape;
use crate::ops::along::Target;
use crate::ops::arguments::Dims;
use crate::ops::softmax::softmax_backward;
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::held::Role;
use crate::tape::is_recording;
use crate::tape::node::Edge;
use crate::tape::sample::made_of;
use crate::tensor::Tensor;
use crate::vjp;

/// The right classes of some samples.
struct Classes {
    /// Which dim of the input has the classes.
    dim: usize,
    /// Their number.
    count: usize,
    /// The class of each sample, -1 of ignored ones.
    places: Vec<i64>,
    /// The same as a tensor, 0 of ignored ones.
    index: Tensor,
    /// What the loss of each sample counts for before it is reduced, 0 for ignored ones.
    share: Tensor,
    /// The sum of these.
    total: f64,
    /// Whether none counts.
    all_ignored: bool,
}

impl Classes {
    fn new(op: &'static str, x: &Tensor, target: &Tensor, weight: Option<&Tensor>, ignore_index: i64) -> Result<Classes> {
        // The target of one sample may have a dim.
        let target = if x.rank() == 1 && target.shape() == [1] { &target.detached(false).view_as_shape(&[])? } else { target };
        let (dim, count) = check_shapes(op, x, target, weight)?;
        check_constant(op, "weight", weight)?;
        if target.dtype() != DType::I64 && !(target.dtype() == DType::U8 && x.rank() <= 2) {
            return runtime_error!("{op}: expected targets of dtype int64, got {}", target.dtype());
        }
        if let Some(weight) = weight
            && weight.dtype() != x.dtype()
        {
            return runtime_error!("{op}: expected weights of dtype {}, got {}", x.dtype(), weight.dtype());
        }
        let weights = weight.map(|weight| weight.to_vec::<f64>()).transpose()?;
        let mut places = target.detached_read()?.to_vec::<i64>()?;
        let (mut shares, mut total) = (Vec::with_capacity(places.len()), 0.0);
        for place in &mut places {
            let share = match &weights {
                _ if *place == ignore_index => 0.0,
                _ if *place < 0 || *place >= count as i64 => {
                    return Err(Error::Index(format!(
                        "{op}: target {place} is out of bounds (expected 0..{count} or {ignore_index})"
                    )));
                }
                Some(weights) => weights.get(*place as usize).copied().unwrap_or_default(),
                None => 1.0,
            };
            if *place == ignore_index {
                *place = -1;
            }
            total += share;
            shares.push(share);
        }
        let safe: Vec<i64> = places.iter().map(|&place| place.max(0)).collect();
        let index = Tensor::from_slice(target.shape(), &safe)?;
        let share = Tensor::from_slice(target.shape(), &shares)?.to_dtype(x.dtype())?;
        let all_ignored = places.iter().all(|&place| place < 0);
        Ok(Classes { dim, count, places, index, share, total, all_ignored })
    }

    /// The loss of each sample, of which `score` is told its number and the place of its class in the input.
    fn losses<T: Element + Number>(
        &self,
        op: &'static str,
        lines: Lines,
        score: impl Fn(usize, usize) -> T + Sync,
    ) -> Result<Tensor> {
        let y = Tensor::uninitialized(op, self.share.shape(), T::DTYPE)?;
        let (to, share) = (Target::<T>::of(&y), Target::<T>::of(&self.share));
        let Lines { n, inner, .. } = lines;
        without_interpreter(self.places.len() * 8, || {
            par::for_ranges(self.places.len(), 4096, &|range| {
                for sample in range {
                    // SAFETY: shares and losses are fresh, one for each sample, of which each belongs to one range.
                    unsafe {
                        let loss = match self.places[sample] {
                            -1 => T::ZERO,
                            place => score(sample, (sample / inner * n + place as usize) * inner + sample % inner)
                                .mul(share.get(sample)),
                        };
                        to.set(sample, loss);
                    }
                }
            });
        });
        Ok(y)
    }

    fn reduce(&self, losses: Tensor, reduce: Reduce) -> Result<Tensor> {
        if reduce == Reduce::Mean { Reduce::Sum.apply(losses)? / self.total } else { reduce.apply(losses) }
    }
}

/// What a rule needs to know of the classes: their dim and number, of which class each sample is, and what it counts for.
#[derive(Clone)]
struct Slope {
    dim: usize,
    count: usize,
    index: Tensor,
    share: Tensor,
    total: Option<f64>,
    /// What these were read from.
    sources: [Option<Tensor>; 2],
}

impl Slope {
    fn new(classes: &Classes, reduce: Reduce, target: &Tensor, weight: Option<&Tensor>) -> Result<Slope> {
        let Classes { dim, count, .. } = *classes;
        // The mean of nothing has no gradient that would be divided.
        let total = (reduce == Reduce::Mean && !classes.all_ignored).then_some(classes.total);
        let sources = [Some(as_images(target, 1)?.save()), weight.map(Tensor::save)];
        Ok(Slope { dim, count, index: classes.index.clone(), share: classes.share.clone(), total, sources })
    }

    /// The gradient of each sample's own loss.
    fn of_samples(&self, g: &Tensor) -> Result<Tensor> {
        self.sources.iter().flatten().try_for_each(Tensor::check_saved)?;
        match self.total {
            Some(total) => (g / total)? * &self.share,
            None => g * &self.share,
        }
    }

    /// The gradients of samples, put at their classes.
    fn at_classes(&self, g: &Tensor) -> Result<Tensor> {
        g.unsqueeze_at(self.dim)?.add_along(self.dim, &self.index.unsqueeze_at(self.dim)?, self.count)
    }
}

/// The dim of the classes and their number, if the shapes of input, targets and weights fit.
fn check_shapes(op: &str, x: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<(usize, usize)> {
    let (shape, labels) = (x.shape(), target.shape());
    if shape.is_empty() {
        return Err(Error::Value(format!("{op}: expected 1 or more dimensions (got 0)")));
    }
    let batch = labels.first().copied().unwrap_or(0);
    if shape.len() > 1 && batch != shape[0] {
        let expected = format!("expected input batch_size ({}) to match target batch_size ({batch})", shape[0]);
        return Err(Error::Value(format!("{op}: {expected}")));
    }
    if shape.len() == 1 && labels.len() == 1 {
        return Err(Error::Value(format!("{op}: for 1D input, 1D target must have size 1, but got target size: {batch}")));
    }
    let dim = (shape.len() > 1) as usize;
    let mut expected = Shape::from_slice(shape);
    expected.remove(dim);
    if labels != expected.as_slice() {
        return runtime_error!("{op}: expected target size {:?}, got {labels:?}", expected.as_slice());
    }
    let count = shape[dim];
    if let Some(weight) = weight
        && weight.shape() != [count]
    {
        return runtime_error!(
            "{op}: weight tensor should be defined either for all {count} classes or no classes but got weight tensor of shape: {:?}",
            weight.shape()
        );
    }
    Ok((dim, count))
}

/// The input, or the targets, which have a dim less: contiguous if torch shows them as images, of whose two dims one is 1.
fn as_images(x: &Tensor, less: usize) -> Result<Tensor> {
    if matches!(x.rank() + less, 1 | 2 | 4) { Ok(x.clone()) } else { x.contiguous() }
}

/// Torch's name of the op, by the dims of the input.
fn name_of(x: &Tensor) -> &'static str {
    if x.rank() <= 2 { "nll_loss" } else { "nll_loss2d" }
}

/// -w_t x_t for the class t of each sample, or their mean, weighted by w, or sum.
///
/// Shape: (c), (n, c) or (n, c, *) to (), (n) or (n, *), the shape of the targets, if not reduced. Dtype: float.
/// Targets that are `ignore_index` count for nothing.
/// Raises: IndexError for targets that are no classes, ValueError if the batches differ in size.
#[pyfunction]
#[pyo3(signature = (input, target, weight=None, reduction=1, ignore_index=-100))]
pub fn nll_loss(
    input: &Tensor,
    target: &Tensor,
    weight: Option<PyRef<'_, Tensor>>,
    reduction: i64,
    ignore_index: i64,
) -> Result<Tensor> {
    const OP: &str = "nll_loss";
    let _of = made_of([target].into_iter().chain(weight.as_deref()));
    let reduce = Reduce::of(OP, reduction)?;
    let x = &as_images(input, 0)?;
    let classes = Classes::new(OP, x, target, weight.as_deref(), ignore_index)?;
    let values = x.detached_read()?.contiguous()?;
    let y = crate::dispatch_floats!(x.dtype(), OP, T => {
        let _access = Access::new(&[values.storage()], &[]);
        let from = Target::<T>::of(&values);
        // SAFETY: places are those of classes, within the input, which is contiguous and locked for reading.
        classes.losses::<T>(OP, Lines::new(x.shape(), classes.dim), |_, place| unsafe { -from.get(place) })
    })?;
    let slope = Slope::new(&classes, reduce, target, weight.as_deref())?;
    let back = if x.rank() <= 2 { "nll_loss_backward" } else { "nll_loss2d_backward" };
    vjp!(name_of(x), classes.reduce(y, reduce)?, { x: |g| slope.at_classes(&slope.of_samples(g)?.neg()?)?.flat_in(back, &x) }, saves {
        reduction, ignore_index
    })
        .map(|y| y.watching(&[x]))
}

/// The `nll_loss` of the logarithm of the softmax over classes. Stored is the softmax, if there is a derivative, so that the input
/// may be written to.
fn class_cross_entropy(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduce: Reduce,
    ignore_index: i64,
) -> Result<Tensor> {
    let _of = made_of([target].into_iter().chain(weight));
    let classes = Classes::new(OP, x, target, weight, ignore_index)?;
    let lines = Lines::new(x.shape(), classes.dim);
    let samples = classes.places.len();
    let values = x.detached_read()?.contiguous()?;
    let norms = Tensor::uninitialized(OP, &[2, samples], x.dtype())?;
    let wanted = is_recording() && x.requires_grad();
    let softmax = if wanted { Tensor::uninitialized(OP, x.shape(), x.dtype())? } else { norms.clone() };
    let y = crate::dispatch_floats!(x.dtype(), OP, T => {
        let _access = Access::new(&[values.storage()], &[]);
        let (from, most) = (Target::<T>::of(&values), Target::<T>::of(&norms));
        if values.numel() > 0 {
            // SAFETY: the input is contiguous and locked for reading; the rest is fresh: the softmax of its shape, if there is one,
            // and two norms for each sample.
            without_interpreter(values.numel() * 4, || unsafe {
                let to = wanted.then(|| softmax.ptr::<T>());
                kernel::norms(values.ptr::<T>(), to, norms.ptr::<T>(), norms.ptr::<T>().add(samples), lines);
            });
        }
        // SAFETY: as above; places are those of classes, within the input.
        classes.losses::<T>(OP, lines, |sample, place| unsafe {
            most.get(samples + sample) - (from.get(place) - most.get(sample))
        })
    })?;
    let slope = Slope::new(&classes, reduce, target, weight)?;
    let (softmax, place) = (softmax.save_as(Role::Output(0)), x.edge());
    vjp!(name_of(x), classes.reduce(y, reduce)?, { x: |g| class_backward(g, &softmax, &place, &slope) }, saves {
        reduction: reduce as i64, ignore_index
    })
}

const OP: &str = "cross_entropy";

/// The `nll_loss` of the logarithm of the softmax over classes; targets of the input's shape are probabilities of classes.
///
/// `label_smoothing` is the part of each target that is spread evenly over the classes.
/// Shape, dtype and errors are those of `nll_loss`. The mean for probabilities is by the number of samples.
/// Raises: RuntimeError for an `ignore_index` beside probabilities, and unless `label_smoothing` is between 0 and 1.
#[pyfunction]
#[pyo3(signature = (input, target, weight=None, reduction=1, ignore_index=-100, label_smoothing=0.0))]
pub fn cross_entropy(
    input: &Tensor,
    target: &Tensor,
    weight: Option<PyRef<'_, Tensor>>,
    reduction: i64,
    ignore_index: i64,
    label_smoothing: f64,
) -> Result<Tensor> {
    let reduce = Reduce::of(OP, reduction)?;
    let (x, weight) = (input, weight.as_deref());
    if label_smoothing > 1.0 {
        return runtime_error!("{OP}: label_smoothing must be between 0.0 and 1.0, got {label_smoothing}");
    }
    if x.shape() == target.shape() {
        if !target.dtype().is_float() {
            return runtime_error!(
                "{OP}: expected floating point type for target with class probabilities, got {}",
                target.dtype()
            );
        }
        if ignore_index >= 0 {
            return runtime_error!("{OP}: ignore_index is not supported for floating point target");
        }
        return probable_cross_entropy(x, target, weight, reduce, label_smoothing);
    }
    class_dim(x)?;
    if !x.dtype().is_float() && x.numel() > 0 {
        return Err(Error::NotImplemented(format!("{OP}: not implemented for inputs of dtype {}", x.dtype())));
    }
    if label_smoothing <= 0.0 || label_smoothing.is_nan() {
        return class_cross_entropy(x, target, weight, reduce, ignore_index);
    }
    smooth_cross_entropy(x, target, weight, reduce, ignore_index, label_smoothing)
}

/// The dim of the classes and their number.
fn class_dim(x: &Tensor) -> Result<(usize, usize)> {
    let dim = (x.rank() != 1) as usize;
    match x.shape().get(dim) {
        Some(&count) => Ok((dim, count)),
        None => Err(Error::Dim { op: OP, dim: dim as isize, rank: x.rank() }),
    }
}

/// Terms times the classes' weights, which lie along `dim`.
fn weighted(terms: Tensor, weight: Option<&Tensor>, dim: usize) -> Result<Tensor> {
    let Some(weight) = weight else { return Ok(terms) };
    if weight.shape() != &terms.shape()[dim..=dim] {
        return runtime_error!(
            "{OP}: weight tensor should be defined either for all {} classes or no classes but got weight tensor of shape: {:?}",
            terms.shape()[dim],
            weight.shape()
        );
    }
    let mut shape = Shape::from_elem(1, terms.rank());
    shape[dim] = weight.numel();
    terms * weight.view_as_shape(&shape)?
}

/// -sum over classes of target log_softmax(x); made of recorded ops.
fn probable_cross_entropy(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduce: Reduce,
    smoothing: f64,
) -> Result<Tensor> {
    let (dim, count) = class_dim(x)?;
    let target = if smoothing > 0.0 { ((target * (1.0 - smoothing))? + smoothing / count as f64)? } else { target.clone() };
    let terms = weighted((x.log_softmax(dim as isize, None)? * target)?, weight, dim)?;
    match reduce {
        Reduce::None => terms.sum(Some(Dims(smallvec::smallvec![dim as isize])), false, None)?.neg(),
        Reduce::Sum => terms.sum(None, false, None)?.neg(),
        Reduce::Mean => terms.sum(None, false, None)?.neg()? / (x.numel() as f64 / count as f64),
    }
}

/// The loss of the classes and that of an even distribution, mixed; made of recorded ops.
fn smooth_cross_entropy(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduce: Reduce,
    ignore_index: i64,
    smoothing: f64,
) -> Result<Tensor> {
    let _of = made_of([target].into_iter().chain(weight));
    let classes = Classes::new(OP, x, target, weight, ignore_index)?;
    let Classes { dim, count, .. } = classes;
    let right = class_cross_entropy(x, target, weight, reduce, ignore_index)?;
    let terms = weighted(x.log_softmax(dim as isize, None)?, weight, dim)?;
    let ignored = target.detached_read()?.eq(Scalar::Int(ignore_index).into())?;
    let even = terms.sum(Some(Dims(smallvec::smallvec![dim as isize])), false, None)?.neg()?.zeroed_where(&ignored)?;
    let even = match reduce {
        Reduce::None => even,
        Reduce::Sum => even.sum(None, false, None)?,
        Reduce::Mean => {
            let total = match weight {
                None => Tensor::from_number(Scalar::Float(classes.total))?,
                Some(weight) => {
                    let picked = weight.take_along(0, &classes.index.view_as_shape(&[classes.index.numel()])?)?;
                    picked.zeroed_where(&ignored.view_as_shape(&[classes.index.numel()])?)?.sum(None, false, None)?
                }
            };
            (even.sum(None, false, None)? / total)?
        }
    };
    (right * (1.0 - smoothing))? + (even * (smoothing / count as f64))?
}

/// (softmax - [the right class]) g, for the softmax of what has this place on the tape.
fn class_backward(g: &Tensor, softmax: &Tensor, place: &Edge, slope: &Slope) -> Result<Tensor> {
    let g = slope.of_samples(g)?.to_dtype(softmax.dtype())?;
    if is_recording() {
        let (dim, x) = (slope.dim as isize, softmax.detached(false).at_edge(place));
        let softmax = vjp!("softmax", softmax.detached(false), { x: |h, y| softmax_backward(h, y, dim) })?;
        return (softmax * g.unsqueeze_at(slope.dim)?)? - slope.at_classes(&g)?;
    }
    let (softmax, g) = (softmax.detached_read()?.contiguous()?, g.contiguous()?);
    let y = Tensor::uninitialized("cross_entropy_backward", softmax.shape(), softmax.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let lines = Lines::new(y.shape(), slope.dim);
    crate::dispatch_floats!(y.dtype(), "cross_entropy_backward", T => {
        let _access = Access::new(&[softmax.storage(), g.storage()], &[]);
        // SAFETY: all are contiguous, with one or two elements for each sample, and locked or known here alone; places are those of
        // classes.
        without_interpreter(y.numel(), || unsafe {
            kernel::log_loss_gradient(softmax.ptr::<T>(), y.ptr::<T>(), lines, g.ptr::<T>(), slope.index.ptr::<i64>());
        });
        Ok(())
    })?;
    Ok(y)
}
