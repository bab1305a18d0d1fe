//! Rows of a table, one by one or in bags: `embedding` and `embedding_bag`.

use std::ops::Range;
use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments::{Dims, Several};
use crate::dtype::{Bool, DType, Scalar};
use crate::error::{Error, Result};
use crate::kernels::rows::{self, Pairs};
use crate::kernels::without_interpreter;
use crate::runtime_error;
use crate::storage::{Access, check_room};
use crate::tape::mode::is_forward;
use crate::tape::numbers::Named;
use crate::tape::sample::made_of;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// Which row of a matrix is added to which of another.
#[derive(Clone, Default)]
struct Routes {
    from: Vec<usize>,
    to: Vec<usize>,
}

impl Routes {
    /// The first few of them.
    fn first(self: &Arc<Self>, count: usize) -> Arc<Routes> {
        if count == self.from.len() {
            return self.clone();
        }
        Arc::new(Routes { from: self.from[..count].to_vec(), to: self.to[..count].to_vec() })
    }

    fn reversed(&self) -> Routes {
        Routes { from: self.to.clone(), to: self.from.clone() }
    }
}

/// Places as a tensor.
fn index_of(places: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(&[places.len()], &places.iter().map(|&place| place as i64).collect::<Vec<_>>())
}

/// A matrix of `count` rows to which those of x are added as the routes say, each times its number in `scales` if there are any.
fn summed(op: &'static str, x: &Tensor, routes: &Arc<Routes>, count: usize, scales: Option<&Tensor>) -> Result<Tensor> {
    let width = x.shape()[1];
    let y = Tensor::zeroed(op, &[count, width], x.dtype())?;
    let source = x.detached_read()?.contiguous()?;
    crate::dispatch_floats!(x.dtype(), op, T => {
        let scales = scales.map(|scales| scales.to_vec::<T>()).transpose()?;
        let _access = Access::new(&[source.storage()], &[]);
        let (from, to) = (source.ptr::<T>() as usize, y.ptr::<T>() as usize);
        let pairs = Pairs { from: &routes.from, to: &routes.to };
        without_interpreter(pairs.from.len() * width, || {
            // SAFETY: x is locked and y fresh; who makes routes has checked them against the rows of both.
            unsafe { rows::add(from as *const T, to as *mut T, [count, width], pairs, scales.as_deref()) }
        });
        Ok(())
    })?;
    let (rows, reversed) =
        (x.shape()[0], Arc::new(if is_recording() && x.requires_grad() { routes.reversed() } else { Routes::default() }));
    match scales {
        None => vjp!(op, y, { x: |g| summed(op, g, &reversed, rows, None) }),
        Some(scales) => {
            let routes = routes.clone();
            vjp!(op, y, {
                x: |g| summed(op, g, &reversed, rows, Some(&scales)),
                scales: |g| products(g, &routes.to, &x, &routes.from)
            })
        }
    }
}

/// The scalar products of rows of a and b.
fn products(a: &Tensor, a_rows: &[usize], b: &Tensor, b_rows: &[usize]) -> Result<Tensor> {
    let (a, b) = (a.index_select_at(0, &index_of(a_rows)?)?, b.index_select_at(0, &index_of(b_rows)?)?);
    (a * b)?.sum(Some(Dims(smallvec::smallvec![1])), false, None)
}

/// How often each row is named.
fn counts(places: &[usize], rows: usize) -> Result<Vec<u32>> {
    check_room::<u32>(rows)?;
    let mut counts = vec![0; rows];
    places.iter().for_each(|&place| counts[place] += 1);
    Ok(counts)
}

/// For each place of the list one over a count of its row.
fn rarity(places: &[usize], counts: &[u32], dtype: DType) -> Result<Tensor> {
    let shares: Vec<f64> = places.iter().map(|&place| 1.0 / f64::from(counts[place])).collect();
    Tensor::from_slice(&[shares.len()], &shares)?.to_dtype(dtype)
}

/// The counts that torch divides the gradients of bags by: for the n-th of the different rows that of the n-th row in sorted order,
/// where repeated ones count each.
fn counts_of_bags(places: &[usize], rows: usize) -> Result<Vec<u32>> {
    let counts = counts(places, rows)?;
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let mut different = sorted.clone();
    different.dedup();
    let mut of_rows = counts.clone();
    for (row, other) in different.into_iter().zip(sorted) {
        of_rows[row] = counts[other];
    }
    Ok(of_rows)
}

/// What both ops ask of their arguments.
fn check(op: &str, weight: &Tensor, indices: &Tensor, sparse: bool) -> Result<()> {
    weight.check_there()?;
    if weight.rank() != 2 {
        return runtime_error!("{op}: 'weight' must be 2-d, but has {} dims", weight.rank());
    }
    if !matches!(indices.dtype(), DType::I64 | DType::I32) {
        return runtime_error!("{op}: expected indices of dtype int64 or int32, but got {}", indices.dtype());
    }
    if sparse && is_recording() && weight.requires_grad() {
        return Err(Error::NotImplemented(format!("{op}: sparse gradients are not supported; use sparse=False")));
    }
    Ok(())
}

/// The rows of `weight` that `indices` name.
///
/// Shape: (rows, d) and (*) to (*, d). Dtype: any, kept; indices are int64 or int32.
/// Derivative: none for the row `padding_idx`; with `scale_grad_by_freq` that of a row is divided by how often it is named.
/// Raises: IndexError for rows out of range, RuntimeError for other indices, NotImplementedError if the gradient would be `sparse`.
#[pyfunction]
#[pyo3(signature = (weight, indices, padding_idx=-1, scale_grad_by_freq=false, sparse=false))]
pub fn embedding(weight: &Tensor, indices: &Tensor, padding_idx: i64, scale_grad_by_freq: bool, sparse: bool) -> Result<Tensor> {
    check("embedding", weight, indices, sparse)?;
    let (rows, width) = (weight.shape()[0], weight.shape()[1]);
    let count = indices.numel();
    let flat = indices.contiguous()?.view_as_shape(&[count])?;
    let shape: Vec<usize> = indices.shape().iter().copied().chain([width]).collect();
    let y = without_recording(|| weight.index_select_at(0, &flat)?.unseen(|y| y.view_as_shape(&shape)))?;
    if !(is_recording() && weight.requires_grad()) {
        return Ok(y);
    }
    let mut routes = Routes::default();
    for (i, place) in flat.to_vec::<i64>()?.into_iter().enumerate().filter(|&(_, place)| place != padding_idx) {
        routes.from.push(i);
        routes.to.push(place as usize);
    }
    let shares = if scale_grad_by_freq { Some(rarity(&routes.to, &counts(&routes.to, rows)?, weight.dtype())?) } else { None };
    let (reversed, routes) = (Arc::new(routes.reversed()), Arc::new(routes));
    let indices = indices.save();
    vjp!("embedding", y, { weight: |g| {
        indices.check_saved()?;
        let g = g.reshape_to(&[count, width])?;
        let z = without_recording(|| summed("embedding_dense_backward", &g, &routes, rows, shares.as_ref()))?;
        let reversed = reversed.clone();
        // As in torch the second derivative does not know of frequencies.
        let indices = indices.clone();
        vjp!("embedding_dense_backward", z, { g: |h| {
            if is_forward() {
                // Padding has tangents like other rows.
                return h.index_select_at(0, &indices.detached_read()?.contiguous()?.view_as_shape(&[count])?);
            }
            summed("embedding_dense_backward", h, &reversed, count, None)
        } })
    } }, saves { padding_idx, scale_grad_by_freq, sparse })
}

/// How the rows of a bag become one.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Sum,
    Mean,
    Max,
}

/// Which rows are in which bag.
struct Bags {
    /// Of each index the bag, and the number of bags if it is in none.
    bag: Vec<usize>,
    /// The row of each index.
    rows: Vec<usize>,
    /// Rows and their bags, without padding.
    routes: Arc<Routes>,
    /// Of these, how many are summed: torch's quick kernel of means ends at the last offset, but divides by all.
    summed: usize,
    /// Whether an index counts.
    kept: Vec<bool>,
    /// How many rows are in each bag.
    sizes: Vec<i64>,
}

impl Bags {
    /// With the last offset, too, the last bag has all the indices that are left, as in torch; but sums `end` there.
    fn new(
        indices: &Tensor,
        rows: usize,
        mut offsets: Vec<i64>,
        includes_last: bool,
        padding: Option<usize>,
        end: Option<Mode>,
    ) -> Result<Bags> {
        let places = indices.to_vec::<i64>()?;
        let n = places.len() as i64;
        if includes_last && offsets.is_empty() {
            return runtime_error!("embedding_bag: include_last_offset: number of offsets should be at least 1");
        }
        if offsets.first().is_some_and(|&first| first != 0) {
            return runtime_error!("embedding_bag: offsets[0] has to be 0, got {}", offsets[0]);
        }
        if offsets.last().is_some_and(|&last| last > n) || !offsets.is_sorted() {
            return runtime_error!(
                "embedding_bag: offsets must grow to no more than the number of indices, {n}, got {offsets:?}"
            );
        }
        if !includes_last {
            offsets.push(if offsets.is_empty() { 0 } else { n });
        }
        let count = offsets.len() - 1;
        let end_of_sums = if end.is_some() { offsets[count] } else { n };
        if count > 0 && end != Some(Mode::Sum) {
            offsets[count] = n;
        }
        let mut bags = Bags {
            bag: Vec::new(),
            rows: Vec::new(),
            routes: Arc::default(),
            summed: 0,
            kept: Vec::new(),
            sizes: vec![0; count],
        };
        let mut routes = Routes::default();
        let mut bag = 0;
        for (i, &place) in places.iter().enumerate() {
            let row = usize::try_from(place).ok().filter(|&row| row < rows);
            let Some(row) = row else {
                return runtime_error!(
                    "embedding_bag: index {i} of input takes value {place} which is not in the valid range [0, {rows})"
                );
            };
            while bag < count && i as i64 >= offsets[bag + 1] {
                bag += 1;
            }
            let kept = bag < count && padding != Some(row);
            if kept {
                bags.sizes[bag] += 1;
                routes.from.push(row);
                routes.to.push(bag);
                bags.summed += usize::from((i as i64) < end_of_sums);
            }
            bags.bag.push(bag);
            bags.rows.push(row);
            bags.kept.push(kept);
        }
        bags.routes = Arc::new(routes);
        Ok(bags)
    }

    /// For each bag the part of the routes that leads to it.
    fn ranges(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let range = |&size: &i64| {
            start += size as usize;
            start - size as usize..start
        };
        self.sizes.iter().map(range).collect()
    }

    /// The sizes as a column, at least 1.
    fn column(&self, dtype: DType) -> Result<Tensor> {
        let sizes: Vec<i64> = self.sizes.iter().map(|&size| size.max(1)).collect();
        Tensor::from_slice(&[sizes.len(), 1], &sizes)?.to_dtype(dtype)
    }

    /// Where the largest element of each column is, for each bag.
    fn largest(&self, weight: &Tensor) -> Result<Tensor> {
        let width = weight.shape()[1];
        let places = Tensor::zeroed("embedding_bag", &[self.sizes.len(), width], DType::I64)?;
        let x = weight.detached_read()?.contiguous()?;
        crate::dispatch_floats!(x.dtype(), "embedding_bag", T => {
            let _access = Access::new(&[x.storage()], &[]);
            let from = x.ptr::<T>() as usize;
            without_interpreter(self.routes.from.len() * width, || {
                // SAFETY: the table is locked and its rows have been checked; nobody else has seen the places.
                unsafe { rows::largest(from as *const T, width, &self.routes.from, &self.ranges(), places.slice_mut()) }
            });
            Ok(())
        })?;
        Ok(places)
    }
}

/// Sums, means or maxima (`mode` 0, 1 or 2) of the rows of `weight` that `indices` name, in bags that begin at `offsets`.
///
/// The answer is that, the bag of each index, and how many rows are in each bag; for maxima, where they are. Torch's kernel of sums
/// leaves some of these at 0.
/// Shape: (rows, d), (n) and (bags) to (bags, d); with `include_last_offset` there is one more offset, where the last bag ends.
/// But there it ends for sums in float32 without padding only, as in torch: all others have all the indices that are left.
/// Derivative: none for the row `padding_idx`, which is in no bag; see `embedding` for `scale_grad_by_freq`.
/// Raises: RuntimeError for rows out of range, or offsets that do not grow from 0 to at most n.
#[pyfunction]
#[pyo3(signature = (weight, indices, offsets, scale_grad_by_freq=false, mode=0, sparse=false, per_sample_weights=None,
    include_last_offset=false, padding_idx=None))]
#[allow(clippy::too_many_arguments)] // Torch's.
pub fn embedding_bag(
    weight: &Tensor,
    indices: &Tensor,
    offsets: &Tensor,
    scale_grad_by_freq: bool,
    mode: i64,
    sparse: bool,
    per_sample_weights: Option<&Tensor>,
    include_last_offset: bool,
    padding_idx: Option<i64>,
) -> Result<Several> {
    let _of = made_of([indices, offsets]);
    let mode = match mode {
        0 => Mode::Sum,
        1 => Mode::Mean,
        2 => Mode::Max,
        _ => return runtime_error!("embedding_bag: mode must be 0 (sum), 1 (mean) or 2 (max), got {mode}"),
    };
    check("embedding_bag", weight, indices, sparse)?;
    check("embedding_bag", weight, offsets, false)?;
    check_bags(weight, indices, offsets, per_sample_weights, mode)?;
    let rows = weight.shape()[0];
    let padding = match padding_idx {
        None => None,
        Some(place) if (-(rows as i64)..rows as i64).contains(&place) => Some(place.rem_euclid(rows as i64) as usize),
        Some(place) => return runtime_error!("embedding_bag: padding_idx must be within the {rows} embeddings, but got {place}"),
    };
    let steady = weight.strides()[1] == 1 && per_sample_weights.is_none_or(|scales| scales.strides()[0] == 1);
    let quick = mode != Mode::Max && weight.dtype() == DType::F32 && padding.is_none() && steady;
    let bags = Bags::new(indices, rows, offsets.to_vec()?, include_last_offset, padding, quick.then_some(mode))?;
    let bags = Arc::new(bags);
    let places = if mode == Mode::Max { Some(bags.largest(weight)?) } else { None };
    let padding_idx = padding.map_or(-1, |row| row as i64);
    let numbers = saves! { mode: mode as i64, padding_idx, scale_grad_by_freq, sparse };
    let y = bagged(weight, per_sample_weights, [indices, offsets], &bags, places.as_ref(), mode, scale_grad_by_freq, numbers)?;
    let zeros = || Tensor::zeroed("embedding_bag", &[offsets.numel()], DType::I64);
    let bag = index_of(if quick && mode == Mode::Sum { &[] } else { &bags.bag })?;
    let sizes = if mode == Mode::Sum { zeros()? } else { Tensor::from_slice(&[bags.sizes.len()], &bags.sizes)? };
    let places = places.map_or_else(|| sizes.copied(), Ok)?;
    Ok(Several(vec![y, bag, sizes, places]))
}

fn check_bags(weight: &Tensor, indices: &Tensor, offsets: &Tensor, scales: Option<&Tensor>, mode: Mode) -> Result<()> {
    if !weight.dtype().is_float() {
        return runtime_error!("embedding_bag: expected a weight of dtype float32 or float64, but got {}", weight.dtype());
    }
    for (name, x) in [("indices", indices), ("offsets", offsets)] {
        if x.rank() != 1 {
            return runtime_error!("embedding_bag: {name} must be 1-d, but have {} dims", x.rank());
        }
    }
    let Some(scales) = scales else { return Ok(()) };
    if mode != Mode::Sum {
        return runtime_error!("embedding_bag: per_sample_weights go with sums only");
    }
    if scales.dtype() != weight.dtype() {
        return runtime_error!(
            "embedding_bag: expected per_sample_weights of dtype {}, but got {}",
            weight.dtype(),
            scales.dtype()
        );
    }
    if scales.shape() != indices.shape() {
        return runtime_error!("embedding_bag: {:?} per_sample_weights do not fit {:?} indices", scales.shape(), indices.shape());
    }
    Ok(())
}

/// What becomes of the bags, which were read from `sources`. `places` are those of the maxima.
#[allow(clippy::too_many_arguments)] // what the op was called with, and what was made of it
fn bagged(
    weight: &Tensor,
    scales: Option<&Tensor>,
    sources: [&Tensor; 2],
    bags: &Arc<Bags>,
    places: Option<&Tensor>,
    mode: Mode,
    by_rarity: bool,
    numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
) -> Result<Tensor> {
    let (dtype, rows, width, count) = (weight.dtype(), weight.shape()[0], weight.shape()[1], bags.sizes.len());
    let column = bags.column(dtype)?;
    let occupied = Tensor::from_slice(&[count, 1], &bags.sizes)?.gt(Scalar::Int(0).into())?;
    // Only the numbers of rows that count.
    let kept = Tensor::from_slice(&[bags.kept.len()], &bags.kept.iter().map(|&kept| kept.into()).collect::<Vec<Bool>>())?;
    let of_kept = {
        let kept = kept.clone();
        move |scales: &Tensor| scales.where_true(&kept)
    };
    let y = without_recording(|| match places {
        Some(places) if rows > 0 => occupied.choose(&weight.gather(0, places, false)?, 0.0),
        _ => {
            let scales = scales.map(&of_kept).transpose()?;
            let y = summed("embedding_bag", weight, &bags.routes.first(bags.summed), count, scales.as_ref())?;
            if mode == Mode::Mean { y / &column } else { Ok(y) }
        }
    })?;
    let places = places.cloned();
    let (weighted, given) = (scales.is_some(), scales);
    let scales = match scales {
        Some(scales) => scales.clone(),
        None => Tensor::zeroed("embedding_bag", &[0], dtype)?,
    };
    let (of_rows, of_scales) = (bags.clone(), bags.clone());
    let [indices, offsets] = sources;
    let sources = [indices.contiguous()?.save(), offsets.contiguous()?.save()];
    let sources2 = sources.clone();
    vjp!("embedding_bag", y, {
        weight: |g| match sources.iter().try_for_each(Tensor::check_saved).map(|()| &places)? {
            Some(places) => {
                let zeros = Tensor::zeroed("embedding_bag_backward", &[rows, width], dtype)?;
                zeros.scatter_add(0, places, &occupied.choose(g, 0.0)?)
            }
            None => {
                let g = if mode == Mode::Mean { (g / &column)? } else { g.clone() };
                let mut share = if weighted { Some(of_kept(&scales)?) } else { None };
                if by_rarity {
                    let rarity = rarity(&of_rows.routes.from, &counts_of_bags(&of_rows.rows, rows)?, dtype)?;
                    share = Some(match share { Some(share) => (share * rarity)?, None => rarity });
                }
                summed("embedding_bag_backward", &g, &Arc::new(of_rows.routes.reversed()), rows, share.as_ref())
            }
        },
        scales: |g| {
            sources2.iter().try_for_each(Tensor::check_saved)?;
            let found = products(g, &of_scales.routes.to, &weight, &of_scales.routes.from)?;
            Tensor::zeroed("embedding_bag_backward", &[of_scales.kept.len()], dtype)?.masked_scatter(&kept, &found)
        }
    }, saves { ..numbers })
    .map(|y| match given {
        Some(scales) => y.watching_if_followed(scales),
        None => y,
    })
}
