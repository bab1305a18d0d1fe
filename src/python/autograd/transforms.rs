//! Transforms of functions: samples of maps, and the levels that tensors belong to.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::ops::arguments::Tensors;
use crate::ops::samples::{self, Randomness};
use crate::tape::frozen::ONE_OF_SEVERAL;
use crate::tape::level::{self, Level, Transform};
use crate::tape::mode;
use crate::tape::sample::Samples;
use crate::tensor::{BatchCount, Tensor};

/// Begins a transform of a function on this thread: one that differentiates, or one that maps it over so many samples, with
/// "different" random numbers, the "same" ones, or none. Answers what ends it, and its number.
#[pyfunction]
#[pyo3(signature = (randomness=None, size=0))]
pub fn _enter_transform(randomness: Option<&str>, size: usize) -> ((u64, u64, u64), u64) {
    let transform = if randomness.is_some() { Transform::Maps } else { Transform::Differentiates };
    let Level { number, differentiates, maps } = level::enter(transform);
    let entered = mode::mode().level.number;
    match randomness {
        None => {}
        Some("different") => samples::enter(Randomness::Different, size, entered),
        Some("same") => samples::enter(Randomness::Same, size, entered),
        Some(_) => samples::enter(Randomness::Error, size, entered),
    }
    ((number, differentiates, maps), entered)
}

/// Ends a transform.
#[pyfunction]
pub fn _leave_transform(before: (u64, u64, u64)) {
    let (number, differentiates, maps) = before;
    if level::leave(Level { number, differentiates, maps }) == Transform::Maps {
        samples::leave();
    }
}

/// After a sample of the innermost transform that maps: see `tape::level`.
#[pyfunction]
pub fn _end_of_sample(last: bool) -> crate::error::Result<()> {
    samples::next();
    level::end_of_sample(last)
}

/// Before the first sample of the innermost transform that maps: keeps the part of a batch that is mapped over.
#[pyfunction]
pub fn _keep_batch(batch: &Tensor, part: &Tensor) -> crate::error::Result<()> {
    level::keep_batch(batch, part)
}

/// After a sample of the innermost transform that maps, if all are to be gone through once more.
#[pyfunction]
pub fn _forget_sample() -> crate::error::Result<()> {
    samples::next();
    level::forget_sample()
}

/// Before that. Answers whether more random numbers are known than when they were last gone through.
#[pyfunction]
pub fn _again() -> crate::error::Result<bool> {
    level::again()?;
    Ok(samples::again())
}

/// Goes out of transforms for a while, to where the first of them began.
#[pyfunction]
pub fn _step_out(before: (u64, u64, u64)) {
    let (number, differentiates, maps) = before;
    level::step_out(Level { number, differentiates, maps });
    samples::step_out(maps);
}

/// Goes back in.
#[pyfunction]
pub fn _step_in() {
    level::step_in();
    samples::step_in();
}

/// Outside of a map, what is made up of all samples.
#[pyfunction]
pub fn _of_all_samples(tensor: &Tensor) -> Tensor {
    of_transform(tensor, samples::of_all_samples(tensor))
}

/// Whether the function of the innermost transform has captured a tensor.
#[pyfunction]
pub fn _is_captured(tensor: &Tensor) -> bool {
    level::is_captured(tensor)
}

/// A tensor as one that the innermost transform has made: its function may write to it.
#[pyfunction]
pub fn _of_transform(tensor: &Tensor) -> Tensor {
    of_transform(tensor, tensor.samples().clone())
}

fn of_transform(tensor: &Tensor, samples: Samples) -> Tensor {
    let x = tensor.at_this_level(samples);
    // One of several views of a batch is written to like a view of its own.
    if let Some(meta) = x.meta()
        && let Some(base) = meta.lock().base.as_deref_mut()
        && base.frozen == Some(ONE_OF_SEVERAL)
    {
        base.frozen = None;
    }
    x
}

/// What counts the writes to a batch while its samples are written to one by one.
#[pyclass(frozen)]
pub struct WritesToBatch(Arc<BatchCount>);

/// The same for a batch that is about to be taken apart.
#[pyfunction]
pub fn _writes_to_batch(tensor: &Tensor) -> WritesToBatch {
    WritesToBatch(tensor.batch_count())
}

/// A tensor as an argument of the function that the innermost transform maps: a part of a batch, the samples of which lie `stride`
/// elements apart.
#[pyfunction]
pub fn _sample(tensor: &Tensor, stride: usize, writes: &WritesToBatch) -> Tensor {
    let base = tensor.meta().and_then(|meta| meta.lock().base.as_ref().and_then(|base| base.version));
    let version = base.unwrap_or_else(|| tensor.version());
    of_transform(tensor, samples::of_sample(tensor, stride)).with_count_of_sample(&writes.0, version)
}

/// The methods, with their dims, by which the first sample has changed in place how its argument shows its memory.
#[pyfunction]
pub fn _views_in_place(tensor: &Bound<'_, Tensor>) -> Vec<(&'static str, Vec<usize>)> {
    samples::views_of(tensor.as_ptr().addr())
}

/// Whether a tensor depends on a sample of the transform of this number, which the thread is in.
#[pyfunction]
pub fn _depends_on(tensor: &Bound<'_, Tensor>, number: u64) -> bool {
    level::depends_on(&tensor.borrow(), number)
}

/// The elements alone, for checks of them: they may be read where they depend on a sample, too.
#[pyfunction]
pub fn _values(tensor: &Tensor) -> Tensor {
    tensor.detached(false).at_this_level(Samples::default())
}

/// What the samples of the map of this number have answered, along this dim.
#[pyfunction]
pub fn _joined(parts: Tensors, number: u64, dim: usize) -> crate::error::Result<Tensor> {
    samples::joined(&parts.0, number, dim)
}

/// What a function that is mapped over `batch` answers for its samples, as a view of that, with a dim for the samples; `stride` is
/// that of the samples. `None` if it is none.
#[pyfunction]
pub fn _view_of_parts(batch: &Tensor, parts: Tensors, dim: usize, stride: isize) -> crate::error::Result<Option<Tensor>> {
    batch.view_of_parts(&parts.0, dim, stride)
}
