//! Sorting, and elements by their rank: largest k, k-th, median, mode, quantiles.

// Conversions are no-ops for one of the types a kernel is compiled for.
#![allow(clippy::unnecessary_cast)]

use pyo3::prelude::*;

use super::along::Target;
use super::arguments::{Given, MemoryFormat, Operand, Pair};
use super::extremum::check_dims_not_empty;
use super::reduce::Reduction;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Error, Result};
use crate::kernels::lines::{Lines, each};
use crate::kernels::select::{
    self, Item, ascending, descending, introsort, key, nan_key, nth_element, partial_sort, quick_select,
};
use crate::kernels::without_interpreter;
use crate::layout::Shape;
use crate::runtime_error;
use crate::storage::Access;
use crate::tensor::Tensor;
use crate::vjp;

impl Tensor {
    /// The same elements, in memory in the order of `x`, which has this shape.
    fn in_order_of(self, x: &Tensor) -> Result<Tensor> {
        if x.is_contiguous() {
            return Ok(self);
        }
        let y = x.empty_like(self.dtype(), MemoryFormat::Preserve)?;
        y.write(&self)?;
        Ok(y)
    }
}

/// Values and numbers of what `arrange` puts first in each line along `dim`, `size` of them. Not recorded.
fn arranged(
    op: &'static str,
    x: &Tensor,
    dim: usize,
    size: usize,
    arrange: impl Fn(&mut Vec<Item>) + Sync,
) -> Result<(Tensor, Tensor)> {
    let x = x.only_real(op)?.detached_read()?.contiguous()?;
    let mut shape: Shape = x.shape().into();
    if let Some(along) = shape.get_mut(dim) {
        *along = size;
    }
    let (values, indices) = (Tensor::uninitialized(op, &shape, x.dtype())?, Tensor::uninitialized(op, &shape, DType::I64)?);
    let lines = Lines::new(x.shape(), dim);
    if values.numel() == 0 {
        return Ok((values, indices));
    }
    let (read, write) = crate::dispatch_ordered!(x.dtype(), op, T => Ok((read::<T> as Read, write::<T> as Write)))?;
    let _access = Access::new(&[x.storage()], &[]);
    let (from, to, numbers) = (Target::bytes_of(&x), Target::bytes_of(&values), Target::<i64>::of(&indices));
    without_interpreter(x.numel() * 16, || {
        each(lines, |block, i| {
            let Lines { n, inner, .. } = lines;
            let mut line = Vec::with_capacity(n);
            let (source, target) =
                (Steps { first: block * n * inner + i, step: inner }, Steps { first: block * size * inner + i, step: inner });
            // SAFETY: places are within the tensors; each line is worked on by one thread.
            unsafe {
                read(&from, source, n, &mut line);
                arrange(&mut line);
                line.truncate(size);
                write(&to, target, &from, source, &line);
                line.iter().enumerate().for_each(|(k, item)| numbers.set(target.at(k), item.number));
            }
        })
    });
    Ok((values, indices))
}

/// Places of a line's elements.
#[derive(Clone, Copy)]
struct Steps {
    first: usize,
    step: usize,
}

impl Steps {
    #[inline(always)]
    fn at(self, k: usize) -> usize {
        self.first + k * self.step
    }
}

type Read = unsafe fn(&Target<u8>, Steps, usize, &mut Vec<Item>);
type Write = unsafe fn(&Target<u8>, Steps, &Target<u8>, Steps, &[Item]);

/// The keys of the first `n` elements of a line.
unsafe fn read<T: Element>(from: &Target<u8>, places: Steps, n: usize, line: &mut Vec<Item>) {
    let from = from.cast::<T>();
    // SAFETY: the caller answers for the places.
    line.extend((0..n).map(|k| Item { key: key(unsafe { from.get(places.at(k)) }), number: k as i64 }));
}

/// Copies the elements of a line that `order` names.
unsafe fn write<T: Element>(to: &Target<u8>, target: Steps, from: &Target<u8>, source: Steps, order: &[Item]) {
    let (to, from) = (to.cast::<T>(), from.cast::<T>());
    for (k, item) in order.iter().enumerate() {
        // SAFETY: the caller answers for the places.
        unsafe { to.set(target.at(k), from.get(source.at(item.number as usize))) }
    }
}

/// Moves the median to the front: the first NaN if there is one, or with `skip_nan` the median of the others. Of equal elements
/// it is the one that a stable sort puts in the middle.
fn put_median_first(line: &mut [Item], nan: Option<u64>, skip_nan: bool) {
    let is_nan = |item: &Item| Some(item.key) == nan;
    let nans = line.iter().filter(|item| is_nan(item)).count();
    if nans > 0 && !skip_nan {
        if let Some(i) = line.iter().position(is_nan) {
            line.swap(0, i);
        }
        return;
    }
    let counted = if skip_nan { line.len() - nans } else { line.len() };
    let nth = counted.saturating_sub(1) / 2;
    if counted > 0 {
        nth_element(line, nth, |a, b| (a.key, a.number) < (b.key, b.number));
    } else {
        // No NaN equals another: that of several is chosen whose place the steps lead to.
        nth_element(line, nth, ascending);
    }
    line.swap(0, nth);
}

/// Moves the most frequent value, the smallest of these, to the front, with the number of the last of its run.
/// No NaN equals another.
fn put_mode_first(line: &mut [Item], nan: Option<u64>) {
    introsort(line, ascending);
    let (mut best, mut most, mut run) = (0, 0, 0);
    for i in 0..line.len() {
        run += 1;
        if i + 1 == line.len() || line[i].key != line[i + 1].key || Some(line[i].key) == nan {
            if run > most {
                (best, most) = (i, run);
            }
            run = 0;
        }
    }
    line.swap(0, best);
}

/// Torch's choice among the algorithms for the first `k`.
fn put_top_first(line: &mut [Item], k: usize, sorted: bool, less: fn(&Item, &Item) -> bool) {
    if k * 64 <= line.len() {
        partial_sort(line, k, less);
    } else if k > 0 {
        nth_element(line, k - 1, less);
        if sorted {
            introsort(&mut line[..k - 1], less);
        }
    }
}

impl Tensor {
    /// One element of each line along `dim`, as a pair of values and indices.
    fn selected(
        &self,
        op: &'static str,
        name: &'static str,
        dim: isize,
        keepdim: bool,
        values: (Tensor, Tensor),
    ) -> Result<Pair> {
        let x = self;
        let r = Reduction::new(op, x, Some(&[dim]), keepdim)?;
        let (values, indices) = (r.finish(values.0), r.finish(values.1));
        let (given, dim) = (dim, x.layout().dim(op, dim)?);
        let numbers = indices.save();
        let values = vjp!(name, values, { x: |g| g.unselect(dim, &numbers, &r.full, r.keepdim) }, saves {
            dim: given, keepdim
        })?;
        Ok(Pair::new(op, values, indices))
    }

    /// Elements of each line along `dim`, with their indices, on the tape.
    fn picked(&self, op: &'static str, name: &'static str, dim: isize, (values, indices): (Tensor, Tensor)) -> Result<Pair> {
        let x = self;
        let (given, dim) = (dim, x.layout().dim(op, dim)?);
        let numbers = indices.save();
        let size = x.shape().get(dim).copied().unwrap_or(1);
        let values = vjp!(name, values, { x: |g| g.add_along(dim, &numbers, size) }, saves { dim: given })?;
        Ok(Pair::new(op, values, indices))
    }

    fn sorted(&self, dim: isize, descending: bool, stable: Option<bool>) -> Result<Pair> {
        let (given, dim) = (dim, self.only_real_for("sort")?.layout().dim("sort", dim)?);
        let size = self.shape().get(dim).copied().unwrap_or(1);
        // Torch's choice: this is where it sorts by digits.
        let by_digits =
            self.rank() == 1 && size >= 1 << 15 && !self.dtype().is_inexact() && self.dtype() != DType::Bool && !descending;
        let sort = if stable == Some(true) || by_digits { select::sort } else { select::sort_freely };
        let (values, indices) = arranged("sort", self, dim, size, |line| sort(line, descending))?;
        let pair = (values.in_order_of(self)?, indices.in_order_of(self)?);
        self.picked("sort", if stable.is_some() { "sort.1" } else { "sort" }, given, pair)
    }

    fn median_of_all(&self, op: &'static str, skip_nan: bool) -> Result<Tensor> {
        let x = self.only_real(op)?;
        if x.numel() == 0 {
            return Tensor::from_scalar(
                if x.dtype().is_float() { Scalar::Float(f64::NAN) } else { Scalar::Int(i64::MIN) },
                x.dtype(),
            );
        }
        let flat = x.detached_read()?.reshape_to(&[x.numel()])?;
        let (y, _) = arranged(op, &flat, 0, 1, |line| put_median_first(line, nan_key(x.dtype()), skip_nan))?;
        vjp!(op, y.with_layout(crate::layout::Layout::contiguous(&[])), { x: |g, y| g.share_evenly(&x, y) })
    }

    fn median_along(&self, op: &'static str, name: &'static str, dim: isize, keepdim: bool, skip_nan: bool) -> Result<Pair> {
        let x = self;
        check_dims_not_empty(op, &Reduction::new(op, x, Some(&[dim]), keepdim)?)?;
        let place = x.layout().dim(op, dim)?;
        let pair = arranged(op, x, place, 1, |line| put_median_first(line, nan_key(x.dtype()), skip_nan))?;
        x.selected(op, name, dim, keepdim, pair)
    }

    fn any_median(
        &self,
        op: &'static str,
        along: &'static str,
        dim: Option<isize>,
        keepdim: Option<bool>,
    ) -> Result<super::arguments::Extremum> {
        use super::arguments::Extremum;
        if self.dtype() == DType::Bool {
            return Err(Error::NotImplemented(format!("\"{op}_cpu\" not implemented for 'Bool'")));
        }
        let skip_nan = op == "nanmedian";
        match (dim, keepdim) {
            (None, None) => self.median_of_all(op, skip_nan).map(Extremum::One),
            (None, Some(_)) => Err(Error::Type(format!("{op}() takes keepdim only with a dim"))),
            (Some(dim), keepdim) => self.median_along(op, along, dim, keepdim.unwrap_or(false), skip_nan).map(Extremum::Two),
        }
    }
}

#[pymethods]
impl Tensor {
    /// The elements sorted along `dim`, and where they were: a pair (values, indices).
    ///
    /// Equal elements keep their order if `stable`; NaN counts as larger than any number.
    #[pyo3(signature = (dim=-1, descending=false, stable=None))]
    pub fn sort(&self, dim: isize, descending: bool, stable: Option<bool>) -> Result<Pair> {
        self.sorted(dim, descending, stable)
    }

    /// The indices that sort the elements along `dim`; equal elements keep their order if `stable`.
    #[pyo3(signature = (dim=-1, descending=false, stable=None))]
    pub fn argsort(&self, dim: isize, descending: bool, stable: Option<bool>) -> Result<Tensor> {
        Ok(self.detached_read()?.sorted(dim, descending, stable)?.second)
    }

    /// The elements sorted along the first dim.
    pub fn msort(&self) -> Result<Tensor> {
        Ok(self.sorted(0, false, None)?.first)
    }

    /// The `k` largest (or smallest) elements along `dim`, and where they are: a pair (values, indices).
    ///
    /// NaN counts as larger than any number. With `sorted`, the best come first.
    /// Raises: RuntimeError if there are fewer than `k`.
    #[pyo3(signature = (k, dim=-1, largest=true, sorted=true))]
    pub fn topk(&self, k: isize, dim: isize, largest: bool, sorted: bool) -> Result<Pair> {
        let x = self;
        let (given, dim) = (dim, x.only_real_for("topk")?.layout().dim("topk", dim)?);
        let size = x.shape().get(dim).copied().unwrap_or(1);
        if k < 0 || k as usize > size {
            return runtime_error!("topk: selected index k out of range: {k} of {size}");
        }
        if x.dtype() == DType::Bool {
            return runtime_error!("topk does not support bool dtypes on CPU");
        }
        let k = k as usize;
        let pair =
            arranged("topk", x, dim, k, |line| put_top_first(line, k, sorted, if largest { descending } else { ascending }))?;
        x.picked("topk", "topk", given, pair)
    }

    /// The `k`-th smallest element along `dim`, counted from 1, and where it is: a pair (values, indices).
    ///
    /// Raises: RuntimeError if there are fewer than `k`, IndexError if there are none.
    #[pyo3(signature = (k, dim=-1, keepdim=false))]
    pub fn kthvalue(&self, k: isize, dim: isize, keepdim: bool) -> Result<Pair> {
        let x = self;
        check_dims_not_empty("kthvalue", &Reduction::new("kthvalue", x, Some(&[dim]), keepdim)?)?;
        let place = x.layout().dim("kthvalue", dim)?;
        let size = x.shape().get(place).copied().unwrap_or(1);
        if k < 1 || k as usize > size {
            return runtime_error!("kthvalue(): selected number k out of range for dimension {place}: {k} of {size}");
        }
        if x.dtype() == DType::Bool {
            return Err(Error::NotImplemented("\"kthvalue_cpu\" not implemented for 'Bool'".into()));
        }
        let k = k as usize - 1;
        let pair = arranged("kthvalue", x, place, 1, |line| {
            quick_select(line, k);
            line.swap(0, k);
        })?;
        x.selected("kthvalue", "kthvalue", dim, keepdim, pair)
    }

    /// The median, the lower one of two; or, over a `dim`, the medians as a pair (values, indices). NaN if there is one.
    ///
    /// Derivative: without `dim` shared evenly among equal elements, with `dim` that of the element at the index.
    #[pyo3(signature = (dim=Given(None), keepdim=Given(None)))]
    pub fn median(&self, dim: Given<isize>, keepdim: Given<bool>) -> Result<super::arguments::Extremum> {
        self.any_median("median", "median.1", dim.0, keepdim.0)
    }

    /// The median of what is not NaN; see `median`.
    #[pyo3(signature = (dim=Given(None), keepdim=Given(None)))]
    pub fn nanmedian(&self, dim: Given<isize>, keepdim: Given<bool>) -> Result<super::arguments::Extremum> {
        self.any_median("nanmedian", "nanmedian.1", dim.0, keepdim.0)
    }

    /// The most frequent element along `dim`, the smallest of these, and where one is: a pair (values, indices).
    #[pyo3(signature = (dim=-1, keepdim=false))]
    pub fn mode(&self, dim: isize, keepdim: bool) -> Result<Pair> {
        let x = self;
        check_dims_not_empty("mode", &Reduction::new("mode", x, Some(&[dim]), keepdim)?)?;
        let place = x.layout().dim("mode", dim)?;
        if x.rank() == 0 && x.dtype().is_complex() {
            // One number needs no order.
            return Ok(Pair::new("mode", x.clone_in(MemoryFormat::Preserve)?, Tensor::zeroed("mode", &[], DType::I64)?));
        }
        let pair = arranged("mode", x, place, 1, |line| put_mode_first(line, nan_key(x.dtype())))?;
        x.selected("mode", "mode", dim, keepdim, pair)
    }

    /// The values below which a share `q` of the elements lies, along `dim` or in all; NaN if there is a NaN.
    ///
    /// Shape: that of `q` (a number, or a tensor of one dim) before that of the other dims.
    /// `interpolation` between two elements: linear, lower, higher, midpoint or nearest. Dtype: float.
    #[pyo3(signature = (q, dim=None, keepdim=false, *, interpolation="linear"))]
    pub fn quantile(&self, q: Operand, dim: Option<isize>, keepdim: bool, interpolation: &str) -> Result<Tensor> {
        self.any_quantile("quantile", q, dim, keepdim, interpolation)
    }

    /// The quantiles of what is not NaN; see `quantile`.
    #[pyo3(signature = (q, dim=None, keepdim=false, *, interpolation="linear"))]
    pub fn nanquantile(&self, q: Operand, dim: Option<isize>, keepdim: bool, interpolation: &str) -> Result<Tensor> {
        self.any_quantile("nanquantile", q, dim, keepdim, interpolation)
    }
}

impl Tensor {
    fn any_quantile(
        &self,
        op: &'static str,
        q: Operand,
        dim: Option<isize>,
        keepdim: bool,
        interpolation: &str,
    ) -> Result<Tensor> {
        let x = self;
        if x.numel() == 0 {
            return runtime_error!("{op}() input tensor must be non-empty");
        }
        if !x.dtype().is_float() {
            return runtime_error!("{op}() input tensor must be either float or double dtype");
        }
        let q = match q {
            Operand::Number(q) if !(0.0..=1.0).contains(&q.to_f64()) => {
                return runtime_error!("{op}() q must be in the range [0, 1] but got {}", q.to_f64());
            }
            Operand::Number(q) => Tensor::from_scalar(q, x.dtype())?,
            Operand::Tensor(q) if q.rank() > 1 => return runtime_error!("{op}() q must be a scalar or 1D tensor"),
            Operand::Tensor(q) if q.dtype() != x.dtype() => {
                return runtime_error!("{op}() q tensor must be same dtype as the input tensor");
            }
            Operand::Tensor(q) if !q.to_vec::<f64>()?.iter().all(|q| (0.0..=1.0).contains(q)) => {
                return runtime_error!("{op}() q values must be in the range [0, 1]");
            }
            Operand::Tensor(q) => q,
        };
        // Lines to the front: (n, everything else).
        let r = Reduction::new(op, x, dim.as_ref().map(std::slice::from_ref), keepdim)?;
        let n = r.count();
        let others = x.numel() / n;
        let lines = match dim {
            Some(_) if x.rank() > 0 => {
                let dim = r.dims[0];
                let order: Shape = std::iter::once(dim).chain((0..x.rank()).filter(|&d| d != dim)).collect();
                x.permuted(&order)?.reshape_to(&[n, others])?
            }
            _ => x.reshape_to(&[n, others])?,
        };
        let sorted = lines.sorted(0, false, None)?.first;
        let count = q.numel();
        let y = sorted.interpolated(op, &q.reshape_to(&[count, 1])?, interpolation, op == "nanquantile")?;
        let mut shape: Shape = q.shape().into();
        shape.extend(
            r.finish(Tensor::uninitialized(op, &super::reduce::reduced_shape(&r.full, &r.dims), DType::Bool)?)
                .shape()
                .iter()
                .copied(),
        );
        if q.rank() == 0 {
            return y.unseen(|y| y.reshape_to(&shape));
        }
        // As in torch, in memory those of one line are together.
        shape.rotate_left(1);
        let last = shape.len() - 1;
        let order: Shape = std::iter::once(last).chain(0..last).collect();
        y.unseen(|y| y.permuted(&[1, 0])?.contiguous()?.reshape_to(&shape)?.permuted(&order))
    }

    /// The quantiles q (k, 1) of sorted lines (n, m), NaN last, as (k, m).
    fn interpolated(&self, op: &'static str, q: &Tensor, interpolation: &str, skip_nan: bool) -> Result<Tensor> {
        let x = self;
        let (k, m) = (q.shape()[0], x.shape()[1]);
        let nans = x.detached_read()?.nan_mask()?.sum(Some(super::arguments::Dims(smallvec::smallvec![0])), true, None)?;
        let numbers = nans.is_zero()?.is_zero()?;
        // Rank of the last element that counts; without `skip_nan` a line with NaN answers with its last, which is one.
        let n = x.shape()[0] as f64;
        let last = if skip_nan {
            let counts = ((-&nans.to_dtype(x.dtype())?)? + (n - 1.0))?;
            crate::dispatch_floats!(x.dtype(), op, T => super::kernel::unary::<T, T>(op, &counts, #[inline(always)] |v| if v < 0.0 { 0.0 } else { v }))?
        } else {
            Tensor::from_scalar(Scalar::Float(n - 1.0), x.dtype())?.expand_to(op, &[1, m])?
        };
        let mut ranks = (q * &last)?;
        if !skip_nan {
            let broken = numbers.expand_to(op, &[k, m])?;
            let kept = ranks.zeroed_where(&broken)?;
            ranks = (kept + (broken.to_dtype(x.dtype())? * (n - 1.0))?)?;
        }
        type Round = fn(f64) -> f64;
        let round: Round = match interpolation {
            "linear" | "midpoint" | "lower" => f64::floor,
            "higher" => f64::ceil,
            "nearest" => f64::round_ties_even,
            other => {
                return runtime_error!(
                    "{op}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {other}"
                );
            }
        };
        let at = |round: Round| -> Result<(Tensor, Tensor)> {
            let places = crate::dispatch_floats!(x.dtype(), op, T =>
                super::kernel::unary::<T, i64>(op, &ranks.detached_read()?, #[inline(always)] move |v| round(v as f64) as i64))?;
            Ok((x.take_along(0, &places)?, places))
        };
        let (below, places) = at(round)?;
        if !matches!(interpolation, "linear" | "midpoint") {
            return Ok(below);
        }
        let (above, _) = at(f64::ceil)?;
        let weight = if interpolation == "midpoint" {
            Tensor::from_scalar(Scalar::Float(0.5), x.dtype())?
        } else {
            (&ranks - &places.to_dtype(x.dtype())?)?
        };
        below.lerp(&above, weight.into())
    }
}
