//! In which order the elements of a batch lie in memory, seen from one of its samples: under `vmap` samples come one after the
//! other, but random numbers are drawn for all at once, in the order of the batch's memory.
//!
//! Where nothing is noted, samples lie one after the other. It is noted of samples that are views of a batch along another dim than
//! the first, and handed on by elementwise ops, by indexing and by what makes tensors like others.

use smallvec::SmallVec;

use super::kernel::order_like;
use super::samples;
use crate::layout::{Layout, Shape, Strides, contiguous_strides};
use crate::tape::level;
use crate::tape::sample::{BatchStride, Samples};
use crate::tensor::Tensor;

/// Where the samples of a map lie in a tensor: 0 if it is the same for all, `isize::MAX` if they lie one after the other.
fn stride_of(x: &Tensor, map: u64) -> isize {
    match x.samples().strides().iter().find(|(number, _)| *number == map) {
        Some(&(_, stride)) => stride as isize,
        None if level::depends_on(x, map) => isize::MAX,
        None => 0,
    }
}

/// Strides of the batch that `x` is a sample of, where its own are `own`: those of the maps, then its own. Only their order counts.
fn batch_strides(x: &Tensor, maps: &[u64], own: &[isize]) -> Strides {
    if maps.is_empty() {
        return own.into();
    }
    let batches: Strides = maps.iter().map(|&map| stride_of(x, map)).collect();
    if x.samples().of_batch() {
        return batches.into_iter().chain(own.iter().copied()).collect();
    }
    let places: Vec<_> = maps.iter().map(|map| x.samples().strides().iter().position(|(number, _)| number == map)).collect();
    // As if each map had two samples.
    let twice = |stride: isize, times: usize| stride.saturating_mul(1 << times.min(8));
    let around = |stride: isize, batch: isize| batch != 0 && batch != isize::MAX && stride >= batch;
    let outer = batches.iter().enumerate().map(|(i, &stride)| {
        let lies_around = |&(j, &other): &(usize, &isize)| around(stride, other) && (stride > other || places[j] > places[i]);
        twice(stride, batches.iter().enumerate().filter(lies_around).count())
    });
    let inner = own.iter().map(|&stride| twice(stride, batches.iter().filter(|&&batch| around(stride, batch)).count()));
    outer.chain(inner).collect()
}

/// How what an op makes of operands lies in memory without gaps, in the order of their strides for its shape (0 where they are
/// broadcast), the first operand deciding where it can: its strides, and where they are samples those of the maps.
pub(crate) fn arranged(shape: &[usize], operands: &[(&Tensor, Strides)]) -> (Strides, Vec<BatchStride>) {
    let mut maps: SmallVec<[u64; 2]> = operands.iter().flat_map(|(x, _)| x.samples().strides()).map(|(map, _)| *map).collect();
    maps.sort_unstable();
    maps.dedup();
    let operands: SmallVec<[Strides; 4]> = operands.iter().map(|(x, own)| batch_strides(x, &maps, own)).collect();
    let sizes: Shape = maps.iter().map(|&map| samples::size_of(map)).chain(shape.iter().copied()).collect();
    let (mut strides, mut batches): (Strides, _) = (contiguous_strides(shape), Vec::with_capacity(maps.len()));
    let mut step = 1;
    for d in order_like(&sizes, &operands) {
        match maps.get(d) {
            Some(&map) => batches.insert(0, (map, step)),
            None => {
                strides[d - maps.len()] = step as isize;
                step *= sizes[d].max(1);
            }
        }
    }
    if batches.is_sorted() && batches.iter().all(|(_, stride)| *stride == step) {
        batches.clear();
    }
    (strides, batches)
}

/// Whether it is noted of an operand how its samples lie.
#[inline]
pub(crate) fn is_noted(inputs: &[&Tensor]) -> bool {
    inputs.iter().any(|x| !x.samples().strides().is_empty())
}

/// Notes how the samples lie of which `y` is one, which an elementwise op has made of these.
#[inline]
pub(crate) fn note(y: &Tensor, inputs: &[&Tensor]) {
    if is_noted(inputs) {
        note_order(y, inputs);
    }
}

#[cold]
fn note_order(y: &Tensor, inputs: &[&Tensor]) {
    let operands: SmallVec<[_; 4]> = inputs.iter().map(|&x| (x, x.layout().expand_strides(y.shape()))).collect();
    let (_, batches) = arranged(y.shape(), &operands);
    note_batches(y, batches, inputs.len() > 1 || inputs.iter().any(|x| x.samples().in_front()));
}

/// Notes how the samples lie of which `y` is one, which an op has made of `x` with the dims `inner` innermost, around the others as
/// they lie in `x`.
pub(crate) fn note_around(y: &Tensor, x: &Tensor, inner: &[usize]) {
    if !is_noted(&[x]) {
        return;
    }
    let maps: SmallVec<[u64; 2]> = x.samples().strides().iter().map(|(map, _)| *map).collect();
    let (own, strides) = (maps.len(), batch_strides(x, &maps, x.strides()));
    let sizes: Shape = maps.iter().map(|&map| samples::size_of(map)).chain(y.shape().iter().copied()).collect();
    let mut batches = Vec::with_capacity(own);
    let mut step: usize = inner.iter().map(|&d| y.shape()[d].max(1)).product();
    for d in order_like(&sizes, &[strides]) {
        match maps.get(d) {
            Some(&map) => batches.insert(0, (map, step)),
            None if inner.contains(&(d - own)) => {}
            None => step *= sizes[d].max(1),
        }
    }
    if !(batches.is_sorted() && batches.iter().all(|(_, stride)| *stride == step)) {
        note_batches(y, batches, true);
    }
}

/// Notes that the samples of which `y` is one lie within its first dim.
pub(crate) fn note_within_first(y: &Tensor) {
    if let [outer, inner @ ..] = y.shape()
        && *outer > 1
    {
        let step = inner.iter().product();
        note_batches(y, samples::maps_of(y).into_iter().map(|map| (map, step)).collect(), true);
    }
}

/// Notes how the samples lie of which `y` is one, unless one after the other.
pub(crate) fn note_batches(y: &Tensor, batches: Vec<BatchStride>, in_front: bool) {
    if !batches.is_empty() {
        y.samples().note_strides(batches, in_front);
    }
}

/// The strides, without gaps, of a batch like that which `x` is a sample of: over maps of these numbers and sizes, then over the
/// sample's own dims, the strides of which are `dense` where samples lie one after the other.
pub(crate) fn strides(x: &Tensor, maps: &[BatchStride], dense: &[isize]) -> Strides {
    let mut strides: Strides = maps.iter().map(|_| 0).chain(dense.iter().copied()).collect();
    let sizes: Vec<usize> = maps.iter().map(|&(_, size)| size).chain(x.shape().iter().copied()).collect();
    let order = if x.samples().strides().is_empty() {
        (0..maps.len()).rev().collect()
    } else {
        let numbers: Vec<u64> = maps.iter().map(|(map, _)| *map).collect();
        order_like(&sizes, &[batch_strides(x, &numbers, x.strides())])
    };
    let mut step = if order.len() == maps.len() { x.numel().max(1) } else { 1 };
    for d in order {
        strides[d] = step as isize;
        step *= sizes[d].max(1);
    }
    strides
}

/// In which order the dims of a batch lie in memory of which `x` is a sample, of this map: 0 for that of the samples, then those of
/// `x`, counted from 1. Also how the samples of outer maps lie then.
pub(crate) fn joined(x: &Tensor, map: u64, size: usize) -> (Vec<usize>, Vec<BatchStride>) {
    let noted: Vec<u64> = x.samples().strides().iter().map(|(map, _)| *map).collect();
    let sizes: Shape = noted
        .iter()
        .map(|&other| if other == map { size } else { samples::size_of(other) })
        .chain(x.shape().iter().copied())
        .collect();
    let (mut order, mut batches, mut step) = (Vec::with_capacity(x.rank() + 1), Vec::new(), 1);
    for d in order_like(&sizes, &[batch_strides(x, &noted, x.strides())]) {
        match noted.get(d) {
            Some(&other) if other != map => {
                batches.insert(0, (other, step));
                continue;
            }
            Some(_) => order.push(0),
            None => order.push(d - noted.len() + 1),
        }
        step *= sizes[d].max(1);
    }
    if !noted.contains(&map) {
        order.push(0);
        step *= size;
    }
    if batches.is_sorted() && batches.iter().all(|(_, stride)| *stride == step) {
        batches.clear();
    }
    order.reverse();
    (order, batches)
}

/// Whether the batch of these maps that `x` is a sample of, or `x` itself, lies in memory in the order of its dims without gaps.
pub(crate) fn is_contiguous(x: &Tensor, of: impl Fn(u64) -> bool) -> bool {
    let noted = x.samples().strides();
    if noted.is_empty() || !x.is_contiguous() {
        return x.is_contiguous();
    }
    // The outer maps first, without those of one sample.
    let mut maps: SmallVec<[(u64, usize, usize); 2]> = noted
        .iter()
        .map(|&(map, stride)| (map, stride, samples::size_of(map)))
        .filter(|&(map, _, size)| size != 1 && of(map))
        .collect();
    if !x.samples().of_batch() {
        return maps.is_sorted_by_key(|(map, ..)| *map) && maps.iter().all(|&(_, stride, _)| stride == x.numel());
    }
    maps.sort_unstable();
    let mut step = x.numel();
    for &(_, stride, size) in maps.iter().rev() {
        if stride != step {
            return false;
        }
        step *= size;
    }
    true
}

/// The strides of `x`, a view of a sample, expanded to a shape, and how the samples lie then. Torch shows the batch anew for it, and
/// gives dims of size 1, that of the samples as well, the strides that they have in order.
pub(crate) fn expanded(x: &Tensor, shape: &[usize]) -> Option<(Strides, Samples)> {
    if !is_noted(&[x]) || !x.samples().of_batch() {
        return None;
    }
    let mut maps: SmallVec<[BatchStride; 2]> = x.samples().strides().into();
    maps.sort_unstable();
    let sizes = || maps.iter().map(|&(map, _)| samples::size_of(map));
    let pad = shape.len() - x.rank();
    let old = sizes().chain(x.shape().iter().copied()).collect();
    let strides = maps.iter().map(|&(_, stride)| stride as isize).chain(x.strides().iter().copied()).collect();
    // A dim in front has the strides computed even if all others stay.
    let new: Shape = [1].into_iter().chain(sizes()).chain((0..pad).map(|_| 1)).chain(x.shape().iter().copied()).collect();
    let strides = Layout { shape: old, strides, offset: 0 }.view_strides(&new)?;
    let (batches, own) = strides[1..].split_at(maps.len());
    let own = own.iter().zip(shape).zip(&new[1 + maps.len()..]).map(|((&stride, to), from)| if to == from { stride } else { 0 });
    let by_map = maps.iter().zip(batches).map(|(&(map, _), &stride)| (map, stride as usize)).collect();
    Some((own.collect(), x.samples().with_strides(by_map, true)))
}

/// Whether dims of `x` have to be copied to be shown in this shape, as samples of the batch lie between its elements.
pub(crate) fn is_apart(x: &Tensor, shape: &[usize]) -> bool {
    if !is_noted(&[x]) {
        return false;
    }
    let maps: SmallVec<[u64; 2]> = x.samples().strides().iter().map(|(map, _)| *map).collect();
    let strides = batch_strides(x, &maps, x.strides())[maps.len()..].into();
    Layout { shape: x.shape().into(), strides, offset: 0 }.view_strides(shape).is_none()
}

/// Whether all dims but the last of the batch that `x` is a sample of, of these maps, have to be copied to be shown as one.
pub(crate) fn are_rows_apart(x: &Tensor, maps: &[u64]) -> bool {
    if !is_noted(&[x]) {
        return true;
    }
    // See `batch_strides`.
    let size_of = |&map: &u64| if x.samples().of_batch() { samples::size_of(map) } else { 2 };
    let shape: Shape = maps.iter().map(size_of).chain(x.shape().iter().copied()).collect();
    let Some((last, rows)) = shape.split_last() else { return false };
    let matrix = [rows.iter().product(), *last];
    Layout { strides: batch_strides(x, maps, x.strides()), shape, offset: 0 }.view_strides(&matrix).is_none()
}
