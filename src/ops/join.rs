//! Putting tensors together: `cat`, `stack` and what is made of them.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::arguments::{Given, MemoryFormat, Objects, Several, Shapes, Tensors, Whole};
use super::kernel::result_type;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::kernels::{join, without_interpreter};
use crate::layout::{Layout, Shape, normalize_dim};
use crate::runtime_error;
use crate::saves;
use crate::storage::check_room;
use crate::storage::{Access, Storage};
use crate::tape::numbers::Saving;
use crate::tape::record::Rule;
use crate::tape::sample::made_of;
use crate::tape::{Recorder, is_following, is_recording, without_recording};
use crate::tensor::Tensor;

impl Tensor {
    /// Tensors of equal shape but in `dim`, one after the other, in the dtype that they promote to.
    /// Among tensors of more dims, those of shape [0] count for the promotion only.
    pub(crate) fn joined(op: &'static str, parts: &[Tensor], dim: usize) -> Result<Tensor> {
        Tensor::joined_as(op, parts, dim, dim as isize)
    }

    /// The same; the user has `given` the dim so.
    fn joined_as(op: &'static str, parts: &[Tensor], dim: usize, given: isize) -> Result<Tensor> {
        let left_out = |x: &&Tensor| x.shape() == [0];
        let Some(first) = parts.iter().find(|x| !left_out(x)).or(parts.first()) else {
            return runtime_error!("{op}: expected a non-empty list of Tensors");
        };
        let length = |x: &Tensor| x.shape().get(dim).copied().unwrap_or(0);
        let mut shape = Shape::from_slice(first.shape());
        shape[dim] = parts.iter().filter(|x| !left_out(x)).map(length).sum();
        let dtype = result_type(&parts.iter().collect::<Vec<_>>());
        let kept: Vec<&Tensor> = parts.iter().filter(|x| !left_out(x)).collect();
        let format = common_format(&kept);
        let y = match format.strides(op, &shape)? {
            Some(strides) => Tensor::uninitialized_strided(op, &shape, strides, dtype)?,
            None => Tensor::uninitialized(op, &shape, dtype)?,
        };
        if format == MemoryFormat::Preserve {
            write_parts(&y, &kept, dim)?;
        } else {
            let moved: Vec<Tensor> = kept.iter().map(|x| channels_moved(x)).collect();
            let dim = [0, y.rank() - 1, 1, 2, 3][dim];
            write_parts(&channels_moved(&y), &moved.iter().collect::<Vec<_>>(), dim)?;
        }
        if !(is_following() && parts.iter().any(Tensor::is_followed)) {
            return Ok(y);
        }
        let mut recorder = Recorder::of(op, &y);
        let mut start = 0;
        let rule = |x: &Tensor| -> Option<Rule> {
            let (from, len) = (start, if left_out(&x) { 0 } else { length(x) });
            start += len;
            match (recorder.input(x), left_out(&x)) {
                (false, _) => None,
                (true, true) => Some(Box::new(move |g, _| Tensor::zeroed(op, &[0], g.dtype()))),
                (true, false) => Some(Box::new(move |g, _| g.slice_at(dim, from, len, 1))),
            }
        };
        let rules: Vec<Option<Rule>> = parts.iter().map(rule).collect();
        recorder.finish(y, Saving { rules, numbers: saves! { dim: given } }, false)
    }

    /// Tensors of equal shape along a new dim.
    pub(crate) fn stacked(parts: &[Tensor], dim: usize) -> Result<Tensor> {
        Tensor::stacked_as(parts, dim, dim as isize)
    }

    /// The same; the user has `given` the dim so.
    fn stacked_as(parts: &[Tensor], dim: usize, given: isize) -> Result<Tensor> {
        let Some(first) = parts.first() else {
            return runtime_error!("stack: expects a non-empty TensorList");
        };
        check_to_stack(parts)?;
        let mut shape = Shape::from_slice(first.shape());
        shape.insert(dim, parts.len());
        let y = Tensor::uninitialized("stack", &shape, result_type(&parts.iter().collect::<Vec<_>>()))?;
        let slab = |x: &Tensor| {
            let mut layout = x.layout().clone();
            layout.shape.insert(dim, 1);
            layout.strides.insert(dim, 1);
            x.with_layout(layout)
        };
        let slabs: Vec<Tensor> = parts.iter().map(slab).collect();
        write_parts(&y, &slabs.iter().collect::<Vec<_>>(), dim)?;
        if !(is_following() && parts.iter().any(Tensor::is_followed)) {
            return Ok(y);
        }
        let mut recorder = Recorder::of("stack", &y);
        let rule = |(place, x): (usize, &Tensor)| -> Option<Rule> {
            recorder.input(x).then(|| -> Rule { Box::new(move |g, _| g.select_at(dim, place)) })
        };
        let rules: Vec<Option<Rule>> = parts.iter().enumerate().map(rule).collect();
        recorder.finish(y, Saving { rules, numbers: saves! { dim: given } }, false)
    }
}

/// Channels last if they are that in all tensors.
fn common_format(parts: &[&Tensor]) -> MemoryFormat {
    let format = match parts.first().map_or(0, |x| x.rank()) {
        4 => MemoryFormat::ChannelsLast,
        5 => MemoryFormat::ChannelsLast3d,
        _ => return MemoryFormat::Preserve,
    };
    if parts.iter().all(|x| has_channels_last(x)) { format } else { MemoryFormat::Preserve }
}

/// Whether the steps of a tensor of 4 or 5 dims grow as with channels last. Where sizes of 1 leave it open, as torch guesses.
pub(crate) fn has_channels_last(x: &Tensor) -> bool {
    let (sizes, strides) = (x.shape(), x.strides());
    let mut least = 0;
    std::iter::once(1).chain((2..x.rank()).rev()).chain([0]).all(|d| {
        let good = sizes[d] > 0 && strides[d] >= least && strides[1] > 0 && (d > 0 || least != strides[1]);
        least = strides[d] * sizes[d] as isize;
        good
    })
}

/// A view with the second dim as the last.
pub(crate) fn channels_moved(x: &Tensor) -> Tensor {
    let mut layout = x.layout().clone();
    let (size, stride) = (layout.shape.remove(1), layout.strides.remove(1));
    layout.shape.push(size);
    layout.strides.push(stride);
    x.with_layout(layout)
}

/// Copies `parts` into the contiguous `y`, one after the other along `dim`.
fn write_parts(y: &Tensor, parts: &[&Tensor], dim: usize) -> Result<()> {
    for x in parts {
        x.check_saved()?;
    }
    if parts.iter().all(|x| x.dtype() == y.dtype() && x.is_contiguous()) {
        let size = y.dtype().size();
        let inner: usize = y.shape()[dim + 1..].iter().product::<usize>() * size;
        let blocks: Vec<(usize, usize)> = parts.iter().map(|x| (x.byte_ptr() as usize, x.shape()[dim] * inner)).collect();
        let rows: usize = y.shape()[..dim].iter().product();
        let reads: Vec<&Storage> = parts.iter().map(|x| x.storage()).collect();
        let _access = Access::new(&reads, &[y.storage()]);
        let to = y.byte_ptr() as usize;
        // SAFETY: all are locked; the blocks of all rows together are as large as y.
        without_interpreter(y.numel(), || unsafe { join::interleave(to as *mut u8, &blocks, rows) });
        return Ok(());
    }
    let mut start = 0;
    for x in parts {
        let mut layout = y.layout().clone();
        layout.offset = start * layout.strides[dim] as usize;
        layout.shape[dim] = x.shape()[dim];
        start += x.shape()[dim];
        if x.numel() > 0 {
            y.with_layout(layout).write(x)?;
        }
    }
    Ok(())
}

/// Tensors one after the other along a dim, in the dtype they promote to. Empty 1-d tensors are left out.
///
/// Raises: RuntimeError if the other dims differ, IndexError if `dim` is out of range.
pub fn cat(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>) -> Result<Tensor> {
    let dim = dim.0.or(axis.0).map_or(0, |dim| dim.0);
    let tensors = tensors.0;
    if tensors.is_empty() {
        return Err(Error::Value("cat: expected a non-empty list of Tensors".into()));
    }
    if let Some(place) = tensors.iter().position(|x| x.rank() == 0) {
        return runtime_error!("cat: zero-dimensional tensor (at position {place}) cannot be concatenated");
    }
    let counts = |x: &&Tensor| x.shape() != [0];
    let Some(first) = tensors.iter().find(counts) else {
        normalize_dim("cat", dim, 1)?;
        return Tensor::joined("cat", &tensors, 0);
    };
    let (given, dim) = (dim, normalize_dim("cat", dim, first.rank())?);
    for (place, x) in tensors.iter().enumerate().filter(|(_, x)| counts(x)) {
        if x.rank() != first.rank() {
            return runtime_error!("cat: Tensors must have same number of dimensions: got {} and {}", first.rank(), x.rank());
        }
        if let Some(d) = (0..x.rank()).find(|&d| d != dim && x.shape()[d] != first.shape()[d]) {
            return runtime_error!(
                "cat: Sizes of tensors must match except in dimension {dim}. Expected size {} but got size {} for tensor number \
                 {place} in the list.",
                first.shape()[d],
                x.shape()[d]
            );
        }
    }
    Tensor::joined_as("cat", &tensors, dim, given)
}

/// Another name of `cat`.
pub fn concat(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>) -> Result<Tensor> {
    cat(tensors, dim, axis)
}

/// Another name of `cat`.
pub fn concatenate(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>) -> Result<Tensor> {
    cat(tensors, dim, axis)
}

/// Tensors of equal shape along a new dim.
///
/// Raises: RuntimeError if the shapes differ, IndexError if `dim` is out of range.
pub fn stack(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>) -> Result<Tensor> {
    let dim = dim.0.or(axis.0).map_or(0, |dim| dim.0);
    let tensors = tensors.0;
    let Some(first) = tensors.first() else {
        return runtime_error!("stack: expects a non-empty TensorList");
    };
    let (given, dim) = (dim, normalize_dim("stack", dim, first.rank() + 1)?);
    Tensor::stacked_as(&tensors, dim, given)
}

/// Fails if the shapes differ.
pub(crate) fn check_to_stack(tensors: &[Tensor]) -> Result<()> {
    let Some(first) = tensors.first() else { return Ok(()) };
    match tensors.iter().enumerate().find(|(_, x)| x.shape() != first.shape()) {
        Some((place, x)) => runtime_error!(
            "stack: expects each tensor to be equal size, but got {:?} at entry 0 and {:?} at entry {place}",
            first.shape(),
            x.shape()
        ),
        None => Ok(()),
    }
}

fn not_empty(op: &'static str, tensors: &[Tensor]) -> Result<()> {
    if tensors.is_empty() { runtime_error!("{op}: expects a non-empty TensorList") } else { Ok(()) }
}

fn each(tensors: &[Tensor], f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensors> {
    tensors.iter().map(f).collect::<Result<_>>().map(|list| Tensors(list, true))
}

/// Tensors side by side: along the second dim, or the first if they are 1-d.
pub fn hstack(tensors: Tensors) -> Result<Tensor> {
    not_empty("hstack", &tensors.0)?;
    let tensors = each(&tensors.0, |x| x.at_least(1))?;
    let dim = isize::from(tensors.0[0].rank() > 1);
    cat(tensors, Given(Some(Whole(dim))), Given(None))
}

/// Tensors below each other: along the first dim, 1-d ones as rows.
pub fn vstack(tensors: Tensors) -> Result<Tensor> {
    not_empty("vstack", &tensors.0)?;
    cat(each(&tensors.0, |x| x.at_least(2))?, Given(Some(Whole(0))), Given(None))
}

/// Another name of `vstack`.
pub fn row_stack(tensors: Tensors) -> Result<Tensor> {
    vstack(tensors)
}

/// Tensors behind each other: along the third dim.
pub fn dstack(tensors: Tensors) -> Result<Tensor> {
    not_empty("dstack", &tensors.0)?;
    cat(each(&tensors.0, |x| x.at_least(3))?, Given(Some(Whole(2))), Given(None))
}

/// Tensors as columns side by side: 1-d ones become columns first.
pub fn column_stack(tensors: Tensors) -> Result<Tensor> {
    not_empty("column_stack", &tensors.0)?;
    hstack(each(&tensors.0, |x| if x.rank() <= 1 { x.reshape_to(&[x.numel(), 1]) } else { Ok(x.clone()) })?)
}

impl Tensor {
    /// With dims of size 1 added until there are `rank`, as numpy's `atleast_*` place them.
    fn at_least(&self, rank: usize) -> Result<Tensor> {
        match (self.rank(), rank) {
            (0, _) => self.viewed("view", &[1, 1, 1][..rank]),
            (1, 2) => self.unsqueeze_at(0),
            (1, 3) => self.unsqueeze_at(0)?.unsqueezed("unsqueeze", 2, -1),
            (2, 3) => self.unsqueezed("unsqueeze", 2, -1),
            _ => Ok(self.clone()),
        }
    }
}

fn at_least<'py>(py: Python<'py>, given: Objects<'py>, rank: usize) -> PyResult<Bound<'py, PyAny>> {
    let tensors = given.tensors();
    let results = given.or_new(py, each(&tensors.0, |x| x.at_least(rank))?.0)?;
    match (tensors.0.len(), tensors.1) {
        (1, false) => results.get_item(0),
        _ => Ok(results.into_any()),
    }
}

/// A tensor (or several) with at least one dim: itself if it has.
#[pyfunction]
#[pyo3(signature = (*tensors))]
pub fn atleast_1d<'py>(py: Python<'py>, tensors: Objects<'py>) -> PyResult<Bound<'py, PyAny>> {
    at_least(py, tensors, 1)
}

/// A tensor (or several) with at least two dims: itself if it has.
#[pyfunction]
#[pyo3(signature = (*tensors))]
pub fn atleast_2d<'py>(py: Python<'py>, tensors: Objects<'py>) -> PyResult<Bound<'py, PyAny>> {
    at_least(py, tensors, 2)
}

/// A tensor (or several) with at least three dims: itself if it has.
#[pyfunction]
#[pyo3(signature = (*tensors))]
pub fn atleast_3d<'py>(py: Python<'py>, tensors: Objects<'py>) -> PyResult<Bound<'py, PyAny>> {
    at_least(py, tensors, 3)
}

/// Fails if tensors came as a sequence, where torch takes them one by one only.
fn one_by_one(op: &str, tensors: &Tensors) -> Result<()> {
    if tensors.1 { Err(Error::Type(format!("{op}(): expected tensors one by one, not a sequence of them"))) } else { Ok(()) }
}

/// Views of all tensors in the shape that they broadcast to; those that have it are themselves.
#[pyfunction]
#[pyo3(signature = (*tensors))]
pub fn broadcast_tensors<'py>(py: Python<'py>, tensors: Objects<'py>) -> PyResult<Bound<'py, PyTuple>> {
    let given = tensors.tensors();
    one_by_one("broadcast_tensors", &given)?;
    let mut shape = Shape::new();
    for x in &given.0 {
        shape = crate::layout::broadcast_shapes("broadcast_tensors", &shape, x.shape())?;
    }
    let expand = |x: &Tensor| if x.shape() == &*shape { Ok(x.clone()) } else { x.expand_to("broadcast_tensors", &shape) };
    tensors.or_new(py, given.0.iter().map(expand).collect::<Result<_>>()?)
}

/// The shape that some shapes broadcast to.
pub fn common_shape(shapes: &Shapes) -> Result<Shape> {
    let mut out = Shape::new();
    for shape in &shapes.0 {
        if shape.iter().any(|&size| size < 0) {
            return Err(Error::Value(format!("broadcast_shapes: a dimension has negative length in {:?}", &**shape)));
        }
        let shape: Shape = shape.iter().map(|&size| size as usize).collect();
        out = crate::layout::broadcast_shapes("broadcast_shapes", &out, &shape)?;
    }
    Ok(out)
}

/// Coordinate grids of some 1-d tensors: result `i` varies along dim `i` only (with `indexing="xy"`, the first two swapped).
#[pyfunction]
#[pyo3(signature = (*tensors, indexing=None))]
pub fn meshgrid(tensors: Tensors, indexing: Option<&str>) -> Result<Several> {
    static WITHOUT_INDEXING: Once =
        Once::new(c"torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.");
    if indexing.is_none() {
        WITHOUT_INDEXING.warn()?;
    }
    let indexing = indexing.unwrap_or("ij");
    let tensors = tensors.0;
    not_empty("meshgrid", &tensors)?;
    if indexing != "ij" && indexing != "xy" {
        return runtime_error!("meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {indexing}");
    }
    for x in &tensors {
        if x.rank() > 1 {
            return runtime_error!("meshgrid: Expected 0D or 1D tensor in the tensor list but got {} dims", x.rank());
        }
        if x.dtype() != tensors[0].dtype() {
            return runtime_error!("meshgrid: expects all tensors to have the same dtype");
        }
    }
    let swapped = indexing == "xy" && tensors.len() >= 2;
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    if swapped {
        order.swap(0, 1);
    }
    let shape: Shape = order.iter().map(|&i| tensors[i].numel()).collect();
    let grid = |(i, x): (usize, &Tensor)| {
        let mut own = Shape::from_elem(1, shape.len());
        own[order.iter().position(|&o| o == i).unwrap_or(i)] = x.numel();
        x.viewed("view", &own)?.expand_to("meshgrid", &shape)
    };
    tensors.iter().enumerate().map(grid).collect::<Result<_>>().map(Several)
}

/// A matrix with the given matrices along its diagonal and zeros elsewhere; 1-d tensors are rows.
#[pyfunction]
#[pyo3(signature = (*tensors))]
pub fn block_diag(tensors: Tensors) -> Result<Tensor> {
    one_by_one("block_diag", &tensors)?;
    if let Some((place, x)) = tensors.0.iter().enumerate().find(|(_, x)| x.rank() > 2) {
        return runtime_error!(
            "block_diag: Input tensors must have 2 or fewer dimensions. Input {place} has {} dimensions",
            x.rank()
        );
    }
    let blocks = without_recording(|| each(&tensors.0, |x| x.at_least(2)))?.0;
    if blocks.is_empty() {
        return Tensor::uninitialized("block_diag", &[1, 0], super::default_dtype());
    }
    let total = |dim: usize| blocks.iter().map(|x| x.shape()[dim]).sum::<usize>();
    let _of = made_of(&blocks);
    let y = Tensor::zeroed("block_diag", &[total(0), total(1)], result_type(&blocks.iter().collect::<Vec<_>>()))?;
    let (mut row, mut column) = (0, 0);
    let corners: Vec<(usize, usize)> = blocks
        .iter()
        .map(|x| {
            let corner = (row, column);
            row += x.shape()[0];
            column += x.shape()[1];
            corner
        })
        .collect();
    for (x, &(row, column)) in blocks.iter().zip(&corners) {
        let offset = row * total(1) + column;
        if x.numel() > 0 {
            y.with_layout(Layout { shape: x.shape().into(), strides: y.strides().into(), offset }).write(x)?;
        }
    }
    if !(is_recording() && y.dtype().is_inexact() && tensors.0.iter().any(Tensor::requires_grad)) {
        return Ok(y);
    }
    let mut recorder = Recorder::new("block_diag");
    let rule = |((x, block), (row, column)): ((&Tensor, &Tensor), (usize, usize))| -> Option<Rule> {
        let (rows, columns) = (block.shape()[0], block.shape()[1]);
        let shape = Shape::from_slice(x.shape());
        let part: Rule = Box::new(move |g, _| {
            let part = g.slice_at(0, row, rows, 1)?.slice_at(1, column, columns, 1)?;
            if shape.len() == 2 { Ok(part) } else { part.reshape_to(&shape) }
        });
        recorder.input(x).then_some(part)
    };
    let rules: Vec<Option<Rule>> = tensors.0.iter().zip(&blocks).zip(corners).map(rule).collect();
    recorder.finish(y, rules, false)
}

/// All ways to take one element of each 1-d tensor, as rows.
#[pyfunction]
#[pyo3(signature = (*tensors))]
pub fn cartesian_prod(tensors: Tensors) -> Result<Tensor> {
    one_by_one("cartesian_prod", &tensors)?;
    if let Some(x) = tensors.0.iter().find(|x| x.rank() != 1) {
        return runtime_error!("cartesian_prod: Expect a 1D vector, but got shape {:?}", x.shape());
    }
    if let [x] = &tensors.0[..] {
        return Ok(x.clone());
    }
    let grids = meshgrid(tensors, Some("ij"))?.0;
    let flat = grids.iter().map(|x| x.reshape_to(&[x.numel()])).collect::<Result<Vec<_>>>()?;
    Tensor::stacked(&flat, 1)
}

/// All ways to take `r` elements of a 1-d tensor in order, as rows.
#[pyfunction]
#[pyo3(signature = (input, r=2, with_replacement=false))]
pub fn combinations(input: &Tensor, r: isize, with_replacement: bool) -> Result<Tensor> {
    if input.rank() != 1 {
        return runtime_error!("combinations: Expect a 1D vector, but got shape {:?}", input.shape());
    }
    if r < 0 {
        return runtime_error!("combinations: Expect a non-negative number, but got {r}");
    }
    if r == 0 {
        return Tensor::uninitialized("combinations", &[0], input.dtype());
    }
    let (n, r) = (input.numel() as i64, r as usize);
    let mut columns: Vec<Vec<i64>> = vec![Vec::new(); r];
    let mut pick = vec![0i64; r];
    choose(&mut pick, 0, 0, n, with_replacement, &mut columns);
    let column = |places: &Vec<i64>| input.index_select_at(0, &Tensor::from_slice(&[places.len()], places)?);
    let columns = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::stacked(&columns, 1)?.watching(&[input]))
}

/// Appends every way to fill `pick` from place `at` on with growing numbers from `first` to below `n`.
fn choose(pick: &mut [i64], at: usize, first: i64, n: i64, repeat: bool, columns: &mut [Vec<i64>]) {
    if at == pick.len() {
        columns.iter_mut().zip(pick.iter()).for_each(|(column, &place)| column.push(place));
        return;
    }
    for place in first..n {
        pick[at] = place;
        choose(pick, at + 1, if repeat { place } else { place + 1 }, n, repeat, columns);
    }
}

/// Pairs (row, column) of the places on one side of a diagonal of a matrix, as two rows.
pub fn triangle_indices(op: &str, sizes: (isize, isize), offset: isize, lower: bool, dtype: Option<DType>) -> Result<Tensor> {
    let (rows, columns) = sizes;
    if let Some(dtype) = dtype.filter(|dtype| !matches!(dtype, DType::I64 | DType::I32)) {
        return Err(Error::NotImplemented(format!("\"{op}\" not implemented for '{}'", dtype.type_word())));
    }
    if rows < 0 || columns < 0 {
        return runtime_error!("{op}: row and col must be non-negative, got {rows} and {columns}");
    }
    let range = |row: isize| {
        let edge = row.saturating_add(offset);
        if lower { 0..edge.saturating_add(1).clamp(0, columns) } else { edge.clamp(0, columns)..columns }
    };
    let count = (0..rows).try_fold(0usize, |count, row| {
        let count = count + range(row).len();
        if count > isize::MAX as usize / 32 { Err(Error::Memory { bytes: usize::MAX }) } else { Ok(count) }
    })?;
    check_room::<[i64; 4]>(count)?;
    let (mut row_of, mut column_of) = (Vec::new(), Vec::new());
    for row in 0..rows {
        for column in range(row) {
            row_of.push(row as i64);
            column_of.push(column as i64);
        }
    }
    let count = row_of.len();
    row_of.extend(column_of);
    Tensor::from_slice(&[2, count], &row_of)?.to_dtype(dtype.unwrap_or(DType::I64))
}
