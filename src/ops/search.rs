//! Sorted and counted: `searchsorted`, `unique`, `bincount`, and indices made into other indices.

use std::cmp::Ordering;

use pyo3::prelude::*;

use super::arguments::{Dims, OneOrSeveral, Operand, Several};
use super::diagonal::Diagonal;
use super::kernel::result_type;
use super::linalg::record_without_rule;
use super::sample_values::check_shape;
use crate::dtype::{DType, Ordered, Scalar};
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::kernels::{par, without_interpreter};
use crate::layout::{Shape, normalize_dim};
use crate::runtime_error;
use crate::tape::sample::made_of;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

/// The number of boundaries (ascending) before a value: of those smaller, or (`right`) not larger.
#[inline(always)]
fn bound<T: Ordered>(len: usize, at: impl Fn(usize) -> T, value: T, right: bool) -> usize {
    let (mut start, mut end) = (0, len);
    while start < end {
        let middle = start + (end - start) / 2;
        let beyond = if right { at(middle) > value } else { at(middle) >= value };
        if beyond { end = middle } else { start = middle + 1 }
    }
    start
}

/// Where values belong in ascending sequences along the last dim; see `searchsorted`.
fn search(sequence: &Tensor, values: &Tensor, right: bool, sorter: Option<Vec<i64>>, dtype: DType) -> Result<Tensor> {
    static VALUES: Once = Once::new(c"torch.searchsorted(): input value tensor is non-contiguous, which takes a copy.");
    static SEQUENCE: Once = Once::new(c"torch.searchsorted(): boundary tensor is non-contiguous, which takes a copy.");
    if !values.is_contiguous() {
        VALUES.warn()?;
    }
    if !sequence.is_contiguous() {
        SEQUENCE.warn()?;
    }
    let len = sequence.shape().last().copied().unwrap_or(0);
    let common = result_type(&[sequence, values]);
    if common == DType::Bool && values.numel() > 0 {
        return Err(Error::NotImplemented("searchsorted: not implemented for 'Bool'".into()));
    }
    let (common_sequence, common_values) = (sequence.to_dtype(common)?, values.to_dtype(common)?);
    let (bounds, list) = (common_sequence.wide()?, common_values.wide()?);
    let found: Vec<i64> = crate::dispatch_wide_ordered!(list.dtype(), "searchsorted", T => {
        let (bounds, list) = (bounds.to_vec::<T>()?, list.to_vec::<T>()?);
        let per_row = if sequence.rank() <= 1 { list.len() } else { values.shape().last().copied().unwrap_or(1) };
        let mut found = vec![0i64; list.len()];
        let target = found.as_mut_ptr() as usize;
        without_interpreter(list.len() * 8, || par::for_ranges(list.len(), 2048, &|range| {
            for i in range {
                let start = if sequence.rank() <= 1 { 0 } else { i / per_row * len };
                let at = |k: usize| match &sorter {
                    Some(sorter) => bounds[start + sorter[start + k] as usize],
                    None => bounds[start + k],
                };
                let place = bound(len, at, list[i], right) as i64;
                // SAFETY: each number is one range's.
                unsafe { (target as *mut i64).add(i).write(place) };
            }
        }));
        Ok(found)
    })?;
    Tensor::from_slice(values.shape(), &found)?.to_dtype(dtype)
}

/// Where each value of `input` would have to be inserted to keep `sorted_sequence` ascending along its last dim: before
/// equal elements, or after them (`right`, or `side="right"`). `sorter` gives the order if the sequence is not sorted.
///
/// Raises: RuntimeError if the leading dims differ, or options contradict each other.
#[pyfunction]
#[pyo3(signature = (sorted_sequence, input, *, out_int32=false, right=false, side=None, sorter=None))]
pub fn searchsorted(
    sorted_sequence: &Tensor,
    input: Operand,
    out_int32: bool,
    right: bool,
    side: Option<&str>,
    sorter: Option<&Tensor>,
) -> Result<Tensor> {
    let values = input.tensor()?;
    let sequence = sorted_sequence;
    let _of = made_of([sequence, &values].into_iter().chain(sorter));
    match side {
        None | Some("right") => {}
        Some("left") if !right => {}
        Some("left") => {
            return runtime_error!(
                "searchsorted: side and right can't be set to opposites, got side of left while right was True"
            );
        }
        Some(other) => return runtime_error!("searchsorted: side can only be 'left' or 'right' but got {other}"),
    }
    if sequence.rank() == 0 {
        return runtime_error!("searchsorted: boundaries tensor should have positive dimension, but got 0 dimension");
    }
    let lead = |x: &Tensor| x.shape().split_last().map(|(_, lead)| Shape::from_slice(lead));
    if sequence.rank() > 1 && (sequence.rank() != values.rank() || lead(sequence) != lead(&values)) {
        return runtime_error!(
            "searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value \
             tensor must match, but we got boundaries tensor {:?} and input value tensor {:?}",
            sequence.shape(),
            values.shape()
        );
    }
    let sorter = sorter.map(|sorter| order_of(sequence, sorter)).transpose()?;
    let dtype = if out_int32 { DType::I32 } else { DType::I64 };
    search(sequence, &values, right || side == Some("right"), sorter, dtype)
}

fn order_of(sequence: &Tensor, sorter: &Tensor) -> Result<Vec<i64>> {
    if sorter.shape() != sequence.shape() {
        return runtime_error!(
            "searchsorted: boundary and sorter must have the same size, but got boundary tensor {:?} and got sorter tensor {:?}",
            sequence.shape(),
            sorter.shape()
        );
    }
    if sorter.dtype() != DType::I64 {
        return runtime_error!("searchsorted: sorter must be a tensor of long dtype but got dtype {}", sorter.dtype());
    }
    static SORTER: Once = Once::new(c"torch.searchsorted(): sorter tensor is non-contiguous, which takes a copy.");
    if !sorter.is_contiguous() {
        SORTER.warn()?;
    }
    let order = sorter.to_vec::<i64>()?;
    let len = sequence.shape().last().copied().unwrap_or(0) as i64;
    if order.iter().any(|place| !(0..len).contains(place)) {
        return runtime_error!("searchsorted: sorter index out of range");
    }
    Ok(order)
}

/// In which of the intervals between `boundaries` (1-d, ascending) each value of `input` is; see `searchsorted`.
#[pyfunction]
#[pyo3(signature = (input, boundaries, *, out_int32=false, right=false))]
pub fn bucketize(input: Operand, boundaries: &Tensor, out_int32: bool, right: bool) -> Result<Tensor> {
    if boundaries.rank() != 1 {
        return runtime_error!("bucketize: boundaries tensor must be 1 dimension, but got dim({})", boundaries.rank());
    }
    let values = input.tensor()?;
    let _of = made_of([boundaries, &values]);
    search(boundaries, &values, right, None, if out_int32 { DType::I32 } else { DType::I64 })
}

/// Ascending, NaN last.
fn order<T: Ordered>(a: &T, b: &T) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Groups of equal neighbours among rows in an order: for each row its group, for each group a row and how many there are.
struct Groups {
    of_row: Vec<i64>,
    first: Vec<i64>,
    counts: Vec<i64>,
}

fn groups<T: Ordered>(values: &[T], width: usize, rows: usize, sorted: bool) -> Groups {
    let row = |r: usize| &values[r * width..(r + 1) * width];
    let mut list: Vec<usize> = (0..rows).collect();
    if sorted {
        let compare = |a: &[T], b: &[T]| a.iter().zip(b).map(|(u, v)| order(u, v)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal);
        list.sort_by(|&a, &b| compare(row(a), row(b)));
    }
    let mut out = Groups { of_row: vec![0; rows], first: Vec::new(), counts: Vec::new() };
    let mut before: Option<usize> = None;
    for r in list {
        match (before, out.counts.last_mut()) {
            (Some(last), Some(count)) if row(last) == row(r) => *count += 1,
            _ => {
                out.first.push(r as i64);
                out.counts.push(1);
            }
        }
        before = Some(r);
        out.of_row[r] = out.counts.len() as i64 - 1;
    }
    out
}

impl Tensor {
    /// What `unique` and `unique_consecutive` share.
    fn distinct(&self, op: &'static str, dim: Option<isize>, sorted: bool, inverse: bool, counts: bool) -> Result<OneOrSeveral> {
        let _of = made_of([self]);
        let x = self.detached(false);
        let rows = match dim {
            None => x.reshape_to(&[x.numel()])?,
            Some(dim) if x.rank() == 0 => {
                return Err(Error::Index(format!("{op}: Dimension specified as {dim} but tensor has no dimensions")));
            }
            Some(dim) => {
                let d = normalize_dim(op, dim, x.rank())?;
                if x.shape().iter().enumerate().any(|(other, &size)| other != d && size == 0) {
                    return runtime_error!(
                        "{op}: There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
                    );
                }
                without_recording(|| x.movedim(Dims(smallvec::smallvec![d as isize]), Dims(smallvec::smallvec![0])))?
            }
        };
        let count = rows.shape()[0];
        let width = rows.shape()[1..].iter().product();
        let wide = rows.wide()?;
        let found =
            crate::dispatch_wide_ordered!(wide.dtype(), op, T => Ok(groups::<T>(&wide.to_vec::<T>()?, width, count, sorted)))?;
        let places = Tensor::from_slice(&[found.first.len()], &found.first)?;
        let d = dim.filter(|_| x.rank() > 0).map_or(Ok(0), |dim| normalize_dim(op, dim, x.rank()))?;
        let y = rows.index_select_at(0, &places)?;
        // As in torch, in memory `dim` comes first.
        let back = || y.movedim(Dims(smallvec::smallvec![0]), Dims(smallvec::smallvec![d as isize]));
        let y = if d > 0 { without_recording(back)?.detached(false) } else { y };
        let node = match (op, dim) {
            ("unique", None) => "_unique2",
            ("unique", Some(_)) => "unique_dim",
            _ => op,
        };
        let [y] = record_without_rule(node, &[self], [y])?;
        if !inverse && !counts {
            return Ok(OneOrSeveral::One(y));
        }
        let mut out = vec![y];
        if inverse {
            let shape = if dim.is_some() { vec![count] } else { x.shape().to_vec() };
            out.push(Tensor::from_slice(&shape, &found.of_row)?);
        }
        if counts {
            out.push(Tensor::from_slice(&[found.counts.len()], &found.counts)?);
        }
        Ok(OneOrSeveral::Several(Several(out)))
    }
}

#[pymethods]
impl Tensor {
    /// The distinct elements in ascending order, or the distinct slices along `dim`. With `return_inverse` also which of them
    /// each element is, with `return_counts` how often each occurs.
    ///
    /// Derivative: none, which backward says.
    #[pyo3(signature = (sorted=true, return_inverse=false, return_counts=false, dim=None))]
    pub fn unique(&self, sorted: bool, return_inverse: bool, return_counts: bool, dim: Option<isize>) -> Result<OneOrSeveral> {
        check_shape("unique", self)?;
        let _ = sorted; // Always sorted, as torch does on the CPU.
        self.distinct("unique", dim, true, return_inverse, return_counts)
    }

    /// The elements without those equal to the one before, or the slices along `dim`; see `unique`.
    #[pyo3(signature = (return_inverse=false, return_counts=false, dim=None))]
    pub fn unique_consecutive(&self, return_inverse: bool, return_counts: bool, dim: Option<isize>) -> Result<OneOrSeveral> {
        check_shape("unique_consecutive", self)?;
        self.distinct("unique_consecutive", dim, false, return_inverse, return_counts)
    }

    /// How often each number from 0 on occurs in a 1-d tensor of integers, or the sum of the `weights` of its occurrences.
    ///
    /// Raises: RuntimeError for negative numbers.
    #[pyo3(signature = (weights=None, minlength=0))]
    pub fn bincount(&self, weights: Option<&Tensor>, minlength: isize) -> Result<Tensor> {
        if self.dtype().is_inexact() || self.dtype() == DType::Bool {
            return Err(Error::NotImplemented(format!("bincount: not implemented for {}", self.dtype())));
        }
        if minlength < 0 {
            return runtime_error!("bincount: minlength should be >= 0, got {minlength}");
        }
        let _of = made_of([self].into_iter().chain(weights));
        let values = self.to_vec::<i64>()?;
        if self.rank() != 1 || values.iter().any(|&v| v < 0) {
            return runtime_error!("bincount: only supports 1-d non-negative integral inputs.");
        }
        let length = values.iter().max().map_or(0, |&v| v as usize + 1).max(minlength as usize);
        crate::layout::checked_numel("bincount", &[length])?;
        // Of nothing there are counts even with weights, as in torch.
        let Some(weights) = weights.filter(|_| !values.is_empty()) else {
            let y = Tensor::full("bincount", &[length], Scalar::Int(0), DType::I64)?;
            // SAFETY: the memory is fresh, so nobody else sees it.
            let counts = unsafe { y.slice_mut::<i64>() };
            values.iter().for_each(|&v| counts[v as usize] += 1);
            return Ok(y);
        };
        if weights.rank() != 1 || weights.numel() != values.len() {
            return runtime_error!("bincount: weights should be 1-d and have the same length as input");
        }
        let dtype = if weights.dtype() == DType::F32 { DType::F32 } else { DType::F64 };
        crate::dispatch_floats!(dtype, "bincount", T => {
            let y = Tensor::full("bincount", &[length], Scalar::Int(0), dtype)?;
            // SAFETY: the memory is fresh, so nobody else sees it.
            let sums = unsafe { y.slice_mut::<T>() };
            values.iter().zip(weights.to_vec::<T>()?).for_each(|(&v, w)| sums[v as usize] += w);
            Ok(y)
        })
    }

    /// The sum of the diagonal of a matrix.
    ///
    /// Raises: RuntimeError unless there are two dims.
    pub fn trace(&self) -> Result<Tensor> {
        if self.rank() != 2 {
            return runtime_error!("trace: expected a matrix, but got a tensor with {} dims", self.rank());
        }
        if self.dtype() == DType::Bool {
            return Err(Error::NotImplemented("\"trace\" not implemented for 'Bool'".into()));
        }
        let x = self;
        let y = without_recording(|| x.diagonal(0, 0, 1)?.sum(None, false, None))?;
        let shape = Shape::from_slice(x.shape());
        vjp!("trace", y, { x: |g| g.expand_to("trace", &[shape[0].min(shape[1])])?.in_diagonal(&shape, Diagonal::MAIN) })
    }

    /// Kronecker product: each element of this tensor times all of `other`, as blocks.
    pub fn kron(&self, other: &Tensor) -> Result<Tensor> {
        let rank = self.rank().max(other.rank());
        let padded = |x: &Tensor| -> Shape { std::iter::repeat_n(1, rank - x.rank()).chain(x.shape().iter().copied()).collect() };
        let (a, b) = (padded(self), padded(other));
        let outer: Shape = a.iter().flat_map(|&size| [size, 1]).collect();
        let inner: Shape = b.iter().flat_map(|&size| [1, size]).collect();
        let shape: Shape = a.iter().zip(&b).map(|(m, n)| m * n).collect();
        self.unsafe_view(&outer)?.mul(&other.unsafe_view(&inner)?)?.unsafe_view(&shape)
    }
}

/// Rows of zeros with a one at the place that each element names.
///
/// Shape: (*) to (*, num_classes); -1 means one more than the largest. Dtype: int64.
/// Raises: RuntimeError for negative elements, or some that are too large.
#[pyfunction]
#[pyo3(signature = (tensor, num_classes=-1))]
pub fn one_hot(tensor: &Tensor, num_classes: isize) -> Result<Tensor> {
    if tensor.dtype() != DType::I64 {
        return runtime_error!("one_hot: is only applicable to index tensor of type LongTensor, got {}", tensor.dtype());
    }
    if num_classes == -1 {
        check_shape("one_hot without num_classes", tensor)?;
    }
    let _of = made_of([tensor]);
    let classes = tensor.to_vec::<i64>()?;
    if classes.is_empty() && num_classes <= 0 {
        return runtime_error!("one_hot: Can not infer total number of classes from empty tensor.");
    }
    if classes.iter().any(|&class| class < 0) {
        return runtime_error!("one_hot: Class values must be non-negative.");
    }
    let largest = classes.iter().max().map_or(0, |&class| class + 1);
    let count = if num_classes == -1 { largest } else { num_classes as i64 };
    if count < 1 {
        return runtime_error!("one_hot: num_classes should be positive, got {num_classes}");
    }
    if largest > count {
        return runtime_error!("one_hot: Class values must be smaller than num_classes.");
    }
    let mut shape = Shape::from_slice(tensor.shape());
    shape.push(count as usize);
    crate::layout::checked_numel("one_hot", &shape)?;
    let y = Tensor::zeroed("one_hot", &shape, DType::I64)?;
    {
        let _access = crate::storage::Access::new(&[], &[y.storage()]);
        // SAFETY: y is fresh, contiguous, of this dtype and locked for writing.
        let out = unsafe { y.slice_mut::<i64>() };
        classes.iter().enumerate().for_each(|(i, &class)| out[i * count as usize + class as usize] = 1);
    }
    Ok(y)
}

/// The coordinates in each dim of a tensor of `shape` that numbers of elements (in row-major order) stand for.
///
/// Raises: TypeError unless `indices` is of integers, ValueError for negative sizes.
#[pyfunction]
pub fn unravel_index(indices: &Tensor, shape: Dims) -> Result<Several> {
    if indices.dtype().is_inexact() || indices.dtype() == DType::Bool {
        return Err(Error::Type(format!("unravel_index: expected 'indices' to be integer dtype, but got {}", indices.dtype())));
    }
    if let Some(bad) = shape.iter().find(|&&size| size < 0) {
        return Err(Error::Value(format!("unravel_index: 'shape' cannot have negative values, but got {bad} in {:?}", &*shape)));
    }
    let _of = made_of([indices]);
    let numbers = indices.to_vec::<i64>()?;
    if shape.contains(&0) && !numbers.is_empty() {
        return Err(Error::Value("unravel_index: a dim of size 0 has no places".into()));
    }
    // The coordinates of one number lie side by side, as in torch.
    let mut places = vec![0i64; numbers.len() * shape.len()];
    let mut step = 1i64;
    for (d, &size) in shape.iter().enumerate().rev() {
        let size = Ord::max(size as i64, 1);
        for (i, number) in numbers.iter().enumerate() {
            places[i * shape.len() + d] = number.div_euclid(step).rem_euclid(size);
        }
        step = step.saturating_mul(size);
    }
    let full: Shape = indices.shape().iter().copied().chain([shape.len()]).collect();
    let all = Tensor::from_slice(&full, &places)?;
    let out = (0..shape.len()).map(|d| all.select_at(indices.rank(), d)).collect::<Result<_>>()?;
    Ok(Several(out))
}
