//! Losses by margins between classes: `multi_margin_loss` and `multilabel_margin_loss`.

use pyo3::prelude::*;

use super::{Reduce, check_constant};
use crate::dtype::{DType, Element};
use crate::error::Result;
use crate::layout::{Layout, Shape};
use crate::ops::arguments::Dims;
use crate::runtime_error;
use crate::tape::sample::made_of;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// The numbers of samples and of classes.
fn sizes(op: &str, x: &Tensor) -> Result<(usize, usize)> {
    match *x.shape() {
        [] => Ok((1, 1)),
        [classes] if classes > 0 => Ok((1, classes)),
        [samples, classes] if classes > 0 => Ok((samples, classes)),
        _ => runtime_error!("{op}: expected non-empty vector or matrix with optional 0-dim batch size, but got {:?}", x.shape()),
    }
}

/// Fails unless targets are int64 from `least` to the number of classes.
fn labels(op: &str, target: &Tensor, least: i64, classes: usize) -> Result<Vec<i64>> {
    if target.dtype() != DType::I64 {
        return runtime_error!("{op}: expected targets of dtype int64, got {}", target.dtype());
    }
    let labels = target.to_vec::<i64>()?;
    match labels.iter().find(|&&label| label < least || label >= classes as i64) {
        Some(bad) => runtime_error!("{op}: target out of range, got {bad} (expected {least}..{classes})"),
        None => Ok(labels),
    }
}

fn check_float(op: &'static str, x: &Tensor) -> Result<()> {
    crate::dispatch_floats!(x.dtype(), op, T => {
        let _ = T::DTYPE;
        Ok(())
    })
}

fn last(dim: isize) -> Option<Dims> {
    Some(Dims(smallvec::smallvec![dim]))
}

/// The losses of samples, reduced; those of one sample without a dim have none.
fn finish(losses: Tensor, reduce: Reduce, keep: bool) -> Result<Tensor> {
    if reduce == Reduce::None && !keep { Ok(losses.into_layout(Layout::contiguous(&[]))) } else { reduce.apply(losses) }
}

/// The mean over classes of w_t max(0, margin - x_t + x_c)^p, without that of the target t itself.
///
/// Shape: (n, c) and (n), or (c) and () or (1). Dtype: float. `p` is 1 or 2.
/// Derivative: 0 where the margin is just kept.
/// Raises: RuntimeError for targets that are no classes.
#[pyfunction]
#[pyo3(signature = (input, target, p=1, margin=1.0, weight=None, reduction=1))]
pub fn multi_margin_loss(
    input: &Tensor,
    target: &Tensor,
    p: i64,
    margin: f64,
    weight: Option<PyRef<'_, Tensor>>,
    reduction: i64,
) -> Result<Tensor> {
    const OP: &str = "multi_margin_loss";
    let (reduce, x) = (Reduce::of(OP, reduction)?, input);
    let (samples, classes) = sizes(OP, x)?;
    if p != 1 && p != 2 {
        return runtime_error!("{OP}: only p == 1 and p == 2 supported, got {p}");
    }
    if target.rank() > 1 || target.numel() != samples {
        return runtime_error!("{OP}: inconsistent target size, expected {samples} but got {:?}", target.shape());
    }
    if let Some(weight) = &weight
        && (weight.rank() > 1 || weight.numel() != classes)
    {
        return runtime_error!("{OP}: inconsistent weight size, expected {classes} but got {:?}", weight.shape());
    }
    check_float(OP, x)?;
    check_constant(OP, "weight", weight.as_deref())?;
    let _of = made_of([target].into_iter().chain(weight.as_deref()));
    let labels = labels(OP, target, 0, classes)?;
    let values = x.detached_read()?.contiguous()?;
    let weights = weight.as_ref().map(|weight| weight.to_vec::<f64>()).transpose()?;
    // What the terms of each sample count for: nothing at its own class.
    let mut share = vec![0.0; samples * classes];
    for (row, &label) in share.chunks_mut(classes).zip(&labels) {
        let weight = weights.as_ref().and_then(|weights| weights.get(label as usize)).unwrap_or(&1.0);
        row.fill(weight / classes as f64);
        row[label as usize] = 0.0;
    }
    let share = Tensor::from_slice(&[samples, classes], &share)?.to_dtype(x.dtype())?;
    let index = Tensor::from_slice(&[samples, 1], &labels)?;
    let over = {
        let index = index.clone();
        move |x: &Tensor| {
            let x = x.reshape_to(&[samples, classes])?;
            ((&x - x.take_along(1, &index)?)? + margin)?.relu()
        }
    };
    let losses = without_recording(|| {
        let over = over(&values)?;
        (if p == 1 { over } else { (&over * &over)? } * &share)?.sum(last(1), false, None)
    })?;
    let factor = reduce.share(samples);
    let sources = [Some(target.save()), weight.map(|weight| weight.save())];
    vjp!(OP, finish(losses, reduce, target.rank() > 0)?, { x: |g| {
        sources.iter().flatten().try_for_each(Tensor::check_saved)?;
        let over = over(&x)?;
        let slope = if p == 1 { over.gt(0.0.into())?.to_dtype(x.dtype())? } else { (over * 2.0)? };
        let g = if g.rank() == 1 { g.unsqueeze_at(1)? } else { g.clone() };
        let terms = ((g * factor)? * (slope * &share)?)?;
        let own = terms.sum(last(1), true, None)?.add_along(1, &index, classes)?;
        (terms - own)?.reshape_to(x.shape())
    } }, saves { p, margin, reduction })
}

/// The sum over targets t and other classes c of max(0, 1 - x_t + x_c), by the number of classes.
///
/// The targets of a sample are the classes before the first -1.
/// Shape: (n, c) and (n, c), or (c) and (c). Dtype: float. Derivative: 0 where the margin is just kept.
/// Raises: RuntimeError for targets that are no classes.
#[pyfunction]
#[pyo3(signature = (input, target, reduction=1))]
pub fn multilabel_margin_loss(input: &Tensor, target: &Tensor, reduction: i64) -> Result<Tensor> {
    const OP: &str = "multilabel_margin_loss";
    let (reduce, x) = (Reduce::of(OP, reduction)?, input);
    let (samples, classes) = sizes(OP, x)?;
    let fits = if x.rank() <= 1 { target.rank() <= 1 && target.numel() == classes } else { target.shape() == x.shape() };
    if !fits {
        return runtime_error!("{OP}: inconsistent target size {:?} for an input of size {:?}", target.shape(), x.shape());
    }
    check_float(OP, x)?;
    let _of = made_of([target]);
    let (labels, values) = (labels(OP, target, -1, classes)?, x.detached_read()?.to_vec::<f64>()?);
    // The losses are piecewise linear in the input: their slopes are all there is to differentiate.
    let (mut losses, mut slopes) = (vec![0.0; samples], vec![0.0; samples * classes]);
    for (sample, loss) in losses.iter_mut().enumerate() {
        let range = sample * classes..(sample + 1) * classes;
        let (values, slopes) = (&values[range.clone()], &mut slopes[range.clone()]);
        let targets: Vec<usize> = labels[range].iter().take_while(|&&label| label >= 0).map(|&label| label as usize).collect();
        let mut is_target = vec![false; classes];
        targets.iter().for_each(|&t| is_target[t] = true);
        for &t in &targets {
            for c in (0..classes).filter(|&c| !is_target[c]) {
                let over = 1.0 - values[t] + values[c];
                if over > 0.0 {
                    *loss += over / classes as f64;
                    slopes[c] += 1.0 / classes as f64;
                    slopes[t] -= 1.0 / classes as f64;
                }
            }
        }
    }
    let losses = Tensor::from_slice(&[samples], &losses)?.to_dtype(x.dtype())?;
    let slopes = Tensor::from_slice(&[samples, classes], &slopes)?.to_dtype(x.dtype())?;
    let (factor, shape) = (reduce.share(samples), Shape::from_slice(x.shape()));
    let source = target.save();
    vjp!(OP, finish(losses, reduce, target.rank() > 1)?, { x: |g| {
        source.check_saved()?;
        let g = if g.rank() == 1 { g.unsqueeze_at(1)? } else { g.clone() };
        ((g * factor)? * &slopes)?.reshape_to(&shape)
    } }, saves { reduction })
    .map(|y| y.watching(&[x]))
}
