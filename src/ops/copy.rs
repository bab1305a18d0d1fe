//! Copies: in another order, repeated, or with a part replaced.

use pyo3::prelude::*;

use super::arguments::{Dims, MemoryFormat, Operand, Sizes};
use super::batch_order;
use super::places::by_size;
use super::samples;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::kernels::transpose::{self, Dim};
use crate::kernels::without_interpreter;
use crate::layout::{Layout, Shape, Strides, contiguous_strides, normalize_dim, normalize_dims};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::mode::{self, is_forward};
use crate::tape::numbers::Named;
use crate::tape::sample::made_of;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

impl Tensor {
    /// The tensor itself if its elements lie in row-major order, else a copy that does.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copied_with(contiguous_strides(self.shape())) }
    }

    /// A recorded copy with these strides.
    pub(crate) fn copied_with(&self, strides: Strides) -> Result<Tensor> {
        let x = self;
        let y = x.copied_in(strides)?;
        vjp!("clone", y, { x: |g| Ok(g.clone()) })
    }

    /// A copy with these strides, off the tape.
    pub(crate) fn copied_in(&self, strides: Strides) -> Result<Tensor> {
        let y = Tensor::uninitialized_strided("clone", self.shape(), strides, self.dtype())?;
        y.write(self)?;
        y.note_sample_of(self.sample_of());
        Ok(y)
    }

    /// A copy for an op that changes it, off the tape; in place of an operand marked for reuse, its own memory.
    pub(crate) fn own_copy(&self) -> Result<Tensor> {
        self.check_saved()?;
        if !self.is_reusable() {
            return self.copied();
        }
        let y = self.with_layout(self.layout().clone());
        y.note_sample_of(mode::mode().made_of);
        Ok(y)
    }

    /// The same in row-major order.
    pub(crate) fn own_contiguous_copy(&self) -> Result<Tensor> {
        self.check_saved()?;
        if self.is_reusable() { self.own_copy() } else { self.detached(false).to_copy(self.dtype(), MemoryFormat::Contiguous) }
    }

    /// A recorded copy in a memory format.
    pub(crate) fn clone_in(&self, format: MemoryFormat) -> Result<Tensor> {
        let x = self;
        if let Some(strides) = format.strides("clone", x.shape())? {
            return x.copied_with(strides);
        }
        let y = x.copied()?;
        vjp!("clone", y, { x: |g| Ok(g.clone()) })
    }

    /// A copy in which the view `window` holds `src` instead.
    pub(crate) fn replaced<F>(
        &self,
        op: &'static str,
        src: &Tensor,
        window: F,
        numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
    ) -> Result<Tensor>
    where
        F: Fn(&Tensor) -> Result<Tensor> + Clone + Send + Sync + 'static,
    {
        let x = self;
        let y = Tensor::uninitialized(op, x.shape(), x.dtype())?;
        y.write(x)?;
        let part = without_recording(|| window(&y))?;
        if part.shape() != src.shape() {
            return runtime_error!(
                "{op}: expected src to have a size equal to the slice of self. src size = {:?}, slice size = {:?}",
                src.shape(),
                part.shape()
            );
        }
        part.write(src)?;
        let (shape, dtype): (Shape, DType) = (src.shape().into(), x.dtype());
        let other = window.clone();
        vjp!(op, y.without_meta(), {
            x: |g| g.replaced(op, &Tensor::zeroed(op, &shape, dtype)?, window.clone(), numbers.clone()),
            src: |g| other(g)
        }, saves { ..numbers.clone() })
    }

    /// A copy with some dims backwards; each appears once.
    pub(crate) fn flipped(&self, dims: &[usize]) -> Result<Tensor> {
        self.flipped_as(dims, dims.iter().map(|&dim| dim as isize).collect())
    }

    /// The same; the user has `given` the dims so.
    fn flipped_as(&self, dims: &[usize], given: Strides) -> Result<Tensor> {
        let x = self;
        let y = x.empty_like(x.dtype(), MemoryFormat::Preserve)?;
        y.write(&x.with_layout(backwards(x.layout(), dims)))?;
        let dims = Shape::from_slice(dims);
        vjp!("flip", y, { x: |g| g.flipped(&dims) }, saves { dims: given })
    }

    /// A copy moved along some dims by less than their sizes; what leaves at one end enters at the other.
    fn rolled(&self, shifts: &[usize], given: [Strides; 2]) -> Result<Tensor> {
        let x = self;
        let y = Tensor::uninitialized("roll", x.shape(), x.dtype())?;
        if x.numel() > 0 {
            roll_blocks(&y, x, shifts, 0)?;
        }
        let back: Shape = shifts.iter().zip(x.shape()).map(|(&shift, &size)| (size - shift) % size.max(1)).collect();
        let [of, dims] = given.clone();
        vjp!("roll", y, { x: |g| g.rolled(&back, given.clone()) }, saves { shifts: of, dims })
    }

    /// A quarter turn, `turns` times (0 to 3), from dim `a` towards dim `b`.
    fn turned(&self, turns: usize, a: usize, b: usize, k: isize, given: [isize; 2]) -> Result<Tensor> {
        let x = self;
        let mut layout = match turns {
            0 => x.layout().clone(),
            1 => backwards(x.layout(), &[b]),
            2 => backwards(x.layout(), &[a, b]),
            _ => backwards(x.layout(), &[a]),
        };
        if turns % 2 == 1 {
            layout.shape.swap(a, b);
            layout.strides.swap(a, b);
        }
        let y = match turns {
            0 => x.empty_like(x.dtype(), MemoryFormat::Contiguous)?,
            2 => x.empty_like(x.dtype(), MemoryFormat::Preserve)?,
            _ => x.transposed("rot90", a, b)?.empty_like(x.dtype(), MemoryFormat::Preserve)?,
        };
        y.write(&x.with_layout(layout))?;
        vjp!("rot90", y, { x: |g| g.turned((4 - turns) % 4, a, b, -k, given) }, saves { k, dims: given })
    }

    /// Copies side by side: `counts[d]` along dim `d` of a tensor that has been given leading dims of size 1.
    fn repeated(&self, counts: &[usize]) -> Result<Tensor> {
        let x = self;
        let lead = counts.len() - x.rank();
        let sizes: Shape = std::iter::repeat_n(1, lead).chain(x.shape().iter().copied()).collect();
        let shape: Shape = counts.iter().zip(&sizes).map(|(&count, &size)| count * size).collect();
        let repeats = Shape::from_slice(counts);
        let y = Tensor::uninitialized("repeat", &shape, x.dtype())?;
        let pairs: Shape = counts.iter().zip(&sizes).flat_map(|(&count, &size)| [count, size]).collect();
        let tile: Shape = sizes.iter().flat_map(|&size| [1, size]).collect();
        without_recording(|| y.view_as_shape(&pairs)?.write(&x.reshape_to(&tile)?))?;
        vjp!("repeat", y.without_meta(), { x: |g| {
            let copies = Dims((0..pairs.len() as isize).step_by(2).collect());
            if copies.is_empty() { Ok(g.clone()) } else { g.reshape_to(&pairs)?.sum(Some(copies), false, None)?.sum_to_shape(&sizes[lead..]) }
        } }, saves { repeats })
    }
}

impl Tensor {
    /// Copies `x` tile by tile if it lies across this memory; answers whether it does. Both have one dtype then.
    pub(crate) fn write_transposed(&self, x: &Tensor) -> bool {
        const WORTH_IT: usize = 4096;
        const SIDE: usize = 8;
        let y = self;
        if x.dtype() != y.dtype() || y.numel() < WORTH_IT {
            return false;
        }
        let (shape, strides) = (y.shape(), x.layout().expand_strides(y.shape()));
        let along = |strides: &[isize]| (0..shape.len()).find(|&d| strides[d] == 1 && shape[d] >= SIDE);
        let (Some(row), Some(column)) = (along(&strides), along(y.strides())) else { return false };
        if row == column {
            return false;
        }
        let size = y.dtype().size() as isize;
        let dim = |d: usize| Dim { size: shape[d], to: y.strides()[d] * size, from: strides[d] * size };
        let outer: Vec<Dim> = (0..shape.len()).filter(|&d| d != row && d != column).map(dim).collect();
        let _access = Access::new(&[x.storage()], &[y.storage()]);
        let (from, to) = (x.byte_ptr() as usize, y.byte_ptr() as usize);
        // SAFETY: both are locked, valid for the shape and different memory.
        without_interpreter(y.numel(), || unsafe {
            by_size!(y.dtype(), W => transpose::copy::<W>(to as *mut W, from as *const W, dim(row), dim(column), &outer));
        });
        true
    }
}

/// The layout with some dims backwards.
fn backwards(layout: &Layout, dims: &[usize]) -> Layout {
    let mut out = layout.clone();
    if layout.numel() > 0 {
        for &d in dims {
            out.offset = out.offset.wrapping_add_signed((out.shape[d] as isize - 1) * out.strides[d]);
            out.strides[d] = -out.strides[d];
        }
    }
    out
}

/// Writes the (at most) two blocks of each dim from `dim` on to where they go.
fn roll_blocks(y: &Tensor, x: &Tensor, shifts: &[usize], dim: usize) -> Result<()> {
    let Some(next) = (dim..shifts.len()).find(|&d| shifts[d] != 0) else {
        return y.write(x);
    };
    let (size, shift) = (x.shape()[next], shifts[next]);
    let block = |t: &Tensor, start: usize, len: usize| {
        let mut layout = t.layout().clone();
        layout.offset = layout.offset.wrapping_add_signed(start as isize * layout.strides[next]);
        layout.shape[next] = len;
        t.with_layout(layout)
    };
    roll_blocks(&block(y, shift, size - shift), &block(x, 0, size - shift), shifts, next + 1)?;
    roll_blocks(&block(y, 0, shift), &block(x, size - shift, shift), shifts, next + 1)
}

#[pymethods]
impl Tensor {
    /// The tensor itself if its elements lie in memory as the format says (row-major by default), else a copy that does.
    #[pyo3(name = "contiguous", signature = (memory_format=MemoryFormat::Contiguous))]
    fn contiguous_in<'py>(slf: Bound<'py, Self>, memory_format: MemoryFormat) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        match memory_format.strides("contiguous", x.shape())? {
            Some(strides) if !x.layout().has_strides(&strides) => Bound::new(slf.py(), x.copied_with(strides)?),
            None if !x.is_contiguous() => {
                Ok(runtime_error!("contiguous: preserve memory format is unsupported by the contiguous operator")?)
            }
            // What of the batch is in other order is copied as a whole.
            Some(strides) if memory_format == MemoryFormat::Contiguous && !batch_order::is_contiguous(&x, |_| true) => {
                Bound::new(slf.py(), x.copied_with(strides)?)
            }
            _ => Ok(slf),
        }
    }

    /// A copy; the derivative passes through it. Strides are kept if the elements fill their memory.
    #[pyo3(name = "clone", signature = (*, memory_format=None))]
    pub fn clone_recorded(&self, memory_format: Option<MemoryFormat>) -> Result<Tensor> {
        self.clone_in(memory_format.unwrap_or(MemoryFormat::Preserve))
    }

    /// Copies side by side: `repeats[d]` along each dim; more counts than dims add dims in front.
    ///
    /// Raises: RuntimeError for fewer counts than dims, or negative ones.
    #[pyo3(signature = (*sizes, repeats=None))]
    pub fn repeat(&self, sizes: Sizes, repeats: Option<Dims>) -> Result<Tensor> {
        let repeats = sizes.or(repeats, "repeat", "repeats")?;
        if repeats.len() < self.rank() {
            return runtime_error!(
                "repeat: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
            );
        }
        if repeats.iter().any(|&count| count < 0) {
            return runtime_error!("repeat: Trying to create tensor with negative dimension, from repeats {:?}", &*repeats);
        }
        self.repeated(&repeats.iter().map(|&count| count as usize).collect::<Shape>())
    }

    /// As `repeat`, but with fewer counts than dims the first dims are not repeated.
    #[pyo3(signature = (*sizes, dims=None))]
    pub fn tile(&self, sizes: Sizes, dims: Option<Dims>) -> Result<Tensor> {
        let mut counts = sizes.or(dims, "tile", "dims")?;
        while counts.len() < self.rank() {
            counts.0.insert(0, 1);
        }
        self.repeat(Sizes(Some(counts)), None)
    }

    /// Each place of `dim` (of the flattened tensor if None) repeated so many times: one number for all, or one each.
    ///
    /// Raises: RuntimeError for negative counts, or if there are not as many as places.
    #[pyo3(signature = (repeats=None, dim=None, *, output_size=None))]
    pub fn repeat_interleave(&self, repeats: Option<Operand>, dim: Option<isize>, output_size: Option<usize>) -> Result<Tensor> {
        let Some(repeats) = repeats else {
            return self.repeated_places(output_size);
        };
        let (x, dim) = match dim {
            None => (self.contiguous()?.view_as_shape(&[self.numel()])?, 0),
            Some(dim) if self.rank() == 0 => (self.view_as_shape(&[1])?, normalize_dim("repeat_interleave", dim, 0)?),
            Some(dim) => (self.clone(), normalize_dim("repeat_interleave", dim, self.rank())?),
        };
        let size = x.shape()[dim];
        let check = |total: usize| match output_size {
            Some(wanted) if wanted != total => {
                runtime_error!("repeat_interleave: Invalid output_size, expected {total} but got {wanted}")
            }
            _ => Ok(()),
        };
        let mut _of = None;
        let count = match repeats {
            Operand::Number(Scalar::Int(count)) => count,
            Operand::Number(_) => return Err(Error::Type("repeat_interleave: repeats must be an int or a Tensor".into())),
            Operand::Tensor(repeats) if repeats.rank() == 0 || (repeats.numel() == 1 && repeats.rank() == 1) => {
                check_counts(&repeats)?;
                _of = made_of([&repeats]);
                repeats.to_vec::<i64>()?.first().copied().unwrap_or(0)
            }
            Operand::Tensor(repeats) => {
                if repeats.rank() == 1 && repeats.numel() != size {
                    return runtime_error!(
                        "repeat_interleave: repeats must have the same size as input along dim, but got repeats.size(0) = {} and \
                         input.size({dim}) = {size}",
                        repeats.numel()
                    );
                }
                let places = repeats.repeated_places(output_size)?;
                return x.index_select_at(dim, &places);
            }
        };
        if count < 0 {
            return runtime_error!("repeat_interleave: Repeats must be non-negative, got {count}");
        }
        check(size * count as usize)?;
        let mut shape = Shape::from_slice(x.shape());
        shape.insert(dim + 1, count as usize);
        let wide = x.unsqueeze_at(dim + 1)?.expand_to("repeat_interleave", &shape)?.clone_in(MemoryFormat::Contiguous)?;
        shape.remove(dim + 1);
        shape[dim] = size * count as usize;
        wide.view_as_shape(&shape)
    }

    /// A copy with the given dims backwards.
    ///
    /// Raises: RuntimeError if a dim appears twice, IndexError if one is out of range.
    #[pyo3(signature = (*sizes, dims=None))]
    pub fn flip(&self, sizes: Sizes, dims: Option<Dims>) -> Result<Tensor> {
        let given = sizes.or(dims, "flip", "dims")?;
        let dims = normalize_dims("flip", &given, self.rank())?;
        let dims: Shape = dims.into_iter().filter(|&d| d < self.rank()).collect();
        self.flipped_as(&dims, given.0)
    }

    /// A copy with the columns (the second dim) backwards.
    pub fn fliplr(&self) -> Result<Tensor> {
        if self.rank() < 2 { runtime_error!("fliplr: Input must be >= 2-d.") } else { self.flipped(&[1]) }
    }

    /// A copy with the rows (the first dim) backwards.
    pub fn flipud(&self) -> Result<Tensor> {
        if self.rank() < 1 { runtime_error!("flipud: Input must be >= 1-d.") } else { self.flipped(&[0]) }
    }

    /// A copy moved along dims; what leaves at one end enters at the other. Without dims: along the flattened tensor.
    ///
    /// Raises: RuntimeError unless there is a shift for each dim.
    #[pyo3(signature = (shifts, dims=None))]
    pub fn roll(&self, shifts: Dims, dims: Option<Dims>) -> Result<Tensor> {
        let dims = dims.unwrap_or_default();
        if shifts.is_empty() {
            return runtime_error!("roll: `shifts` required");
        }
        let wrap = |shift: isize, size: usize| if size == 0 { 0 } else { shift.rem_euclid(size as isize) as usize };
        if dims.is_empty() && shifts.len() == 1 {
            let (x, shift) = (self, shifts[0]);
            let y = without_recording(|| {
                let flat = x.contiguous()?.view_as_shape(&[x.numel()])?;
                flat.rolled(&[wrap(shift, x.numel())], Default::default())?.view_as_shape(x.shape())
            })?;
            let back = Dims(smallvec::smallvec![-shift]);
            let numbers = saves! { shifts: [shift], dims: Strides::new() };
            return vjp!("roll", y.without_meta(), { x: |g| g.roll(back.clone(), None) }, saves { ..numbers });
        }
        if shifts.len() != dims.len() {
            return runtime_error!("roll: shifts and dimensions must align. shifts: {}, dims:{}", shifts.len(), dims.len());
        }
        if self.rank() == 0 {
            return Err(Error::Index(format!("roll: dimension specified as {} but tensor has no dimensions", dims[0])));
        }
        let mut total = Shape::from_elem(0, self.rank());
        for (&shift, &dim) in shifts.iter().zip(dims.iter()) {
            let d = normalize_dim("roll", dim, self.rank())?;
            let size = self.shape()[d];
            total[d] = wrap((total[d] + wrap(shift, size)) as isize, size);
        }
        self.rolled(&total, [shifts.0, dims.0])
    }

    /// A copy turned by 90 degrees, `k` times, from the first of two dims towards the second.
    ///
    /// Raises: RuntimeError unless there are two different dims.
    #[pyo3(signature = (k=1, dims=Dims(smallvec::smallvec![0, 1])))]
    pub fn rot90(&self, k: isize, dims: Dims) -> Result<Tensor> {
        let [first, second] = dims[..] else {
            return runtime_error!("rot90: expected total rotation dims == 2, but got dims = {}", dims.len());
        };
        if self.rank() < 2 {
            return runtime_error!("rot90: expected total dims >= 2, but got total dims = {}", self.rank());
        }
        let same = first == second || (first - second).unsigned_abs() == self.rank();
        if same {
            return runtime_error!("rot90: expected rotation dims to be different, but got dim0 = {first} and dim1 = {second}");
        }
        let a = normalize_dim("rot90", first, self.rank())?;
        let b = normalize_dim("rot90", second, self.rank())?;
        self.turned(k.rem_euclid(4) as usize, a, b, k, [first, second])
    }

    /// A copy in which the part of `dim` at `index` is replaced by `src`.
    pub fn select_scatter(&self, src: &Tensor, dim: isize, index: isize) -> Result<Tensor> {
        let d = normalize_dim("select_scatter", dim, self.rank())?;
        let place = self.place("select_scatter: ", d, index)?;
        self.replaced("select_scatter", src, move |x| x.select_at(d, place), saves! { dim, index })
    }

    /// A copy in which a slice of `dim` is replaced by `src`.
    #[pyo3(signature = (src, dim=0, start=None, end=None, step=1))]
    pub fn slice_scatter(
        &self,
        src: &Tensor,
        dim: isize,
        start: Option<isize>,
        end: Option<isize>,
        step: isize,
    ) -> Result<Tensor> {
        if self.rank() == 0 {
            return Err(Error::Index("slice_scatter: cannot be applied to a 0-dim tensor".into()));
        }
        let d = normalize_dim("slice_scatter", dim, self.rank())?;
        if step <= 0 {
            return runtime_error!("slice_scatter: slice step must be positive");
        }
        let given = saves! { dim, start, end, step };
        let (start, len) = super::window::resolve_slice(start, end, step, self.shape()[d])?;
        self.replaced("slice_scatter", src, move |x| x.slice_at(d, start, len, step as usize), given)
    }

    /// A copy of this tensor with its strides in which the places of a strided view are replaced by `src`; see `as_strided`.
    ///
    /// Derivative: torch's, which is that of `as_strided`: the gradient of this tensor is that of the places that were
    /// replaced, and 0 elsewhere.
    /// Raises: RuntimeError if `src` has another shape than the view, or if this tensor requires a gradient and is not
    /// contiguous.
    #[pyo3(signature = (src, size, stride, storage_offset=None))]
    pub fn as_strided_scatter(&self, src: &Tensor, size: Dims, stride: Dims, storage_offset: Option<isize>) -> Result<Tensor> {
        const OP: &str = "as_strided_scatter";
        let x = self;
        if x.requires_grad() && !x.is_contiguous() {
            return runtime_error!("{OP}: is currently only supported for contiguous inputs where they require a gradient");
        }
        let y = without_recording(|| x.detached_read()?.copied_with_storage())?;
        // Of a batch there is only a sample.
        let start = samples::start_of(x);
        let offset = storage_offset.map(|offset| offset.saturating_add_unsigned(start));
        let window = y.with_layout(y.strided_layout(OP, &size, &stride, offset)?);
        if window.shape() != src.shape() {
            return runtime_error!(
                "{OP}: expected src to have a size equal to the slice of self. src size = {:?}, slice size = {:?}",
                src.shape(),
                window.shape()
            );
        }
        if window.shape().iter().zip(window.strides()).any(|(&n, &stride)| n > 1 && stride == 0) {
            return runtime_error!("{OP}: more than one element of the written-to tensor refers to a single memory location");
        }
        without_recording(|| window.write_in_order(&src.detached_read()?))?;
        let shape: Shape = x.shape().into();
        let given = [size.0.clone(), stride.0.clone()];
        // A gradient lies otherwise in memory than the tensor may, and may be a part of what is there.
        let part = move |g: &Tensor| {
            let g = g.contiguous()?;
            let offset = storage_offset.map(|offset| offset.saturating_add_unsigned(g.layout().offset));
            let layout = g.strided_layout(OP, &size, &stride, offset)?;
            g.with_strides(layout)
        };
        let part2 = part.clone();
        let [sizes, strides] = given;
        vjp!(OP, y, {
            x: |g| {
                let part = part.clone();
                if is_forward() {
                    // What is written has no share in it.
                    let g = g.contiguous()?;
                    let window = part(&g)?;
                    return g + window.neg()?.embedded("as_strided_scatter_backward", &shape, move |z| part(z))?;
                }
                part(g)?.embedded("as_strided_scatter_backward", &shape, move |z| part(z))
            },
            src: |g| part2(g),
        }, saves { size: sizes, stride: strides, storage_offset })
    }
}

impl Tensor {
    /// A copy of all the memory this is a view of, seen in the same way; a plain copy where elements share a place. Not
    /// recorded.
    fn copied_with_storage(&self) -> Result<Tensor> {
        if self.layout().may_overlap() {
            return self.clone_in(MemoryFormat::Contiguous);
        }
        let all = Layout::contiguous(&[self.storage().bytes() / self.dtype().size()]);
        Ok(self.with_layout(all).copied()?.with_layout(self.layout().clone()))
    }

    /// Copies elements of the same shape in row-major order: where places are shared the last one stays. Not recorded.
    fn write_in_order(&self, x: &Tensor) -> Result<()> {
        if self.rank() == 0 || !self.layout().may_overlap() {
            return self.write(x);
        }
        (0..self.shape()[0]).try_for_each(|i| self.select_at(0, i)?.write_in_order(&x.select_at(0, i)?))
    }
}

fn check_counts(repeats: &Tensor) -> Result<()> {
    match repeats.dtype() {
        DType::I32 | DType::I64 => Ok(()),
        other => Err(Error::NotImplemented(format!("repeat_interleave: repeats must be int32 or int64, got {other}"))),
    }
}

impl Tensor {
    /// This 1-d tensor of counts as places: 0 so many times, 1 so many times, ….
    fn repeated_places(&self, output_size: Option<usize>) -> Result<Tensor> {
        if self.rank() != 1 {
            return runtime_error!("repeat_interleave: only accept 1D vector as repeat, got {} dims", self.rank());
        }
        check_counts(self)?;
        let _of = made_of([self]);
        let counts = self.to_vec::<i64>()?;
        if let Some(negative) = counts.iter().find(|&&count| count < 0) {
            return runtime_error!("repeat_interleave: repeats can not be negative, got {negative}");
        }
        let total = counts.iter().try_fold(0usize, |sum, &count| sum.checked_add(count as usize)).unwrap_or(usize::MAX);
        if let Some(wanted) = output_size
            && wanted != total
        {
            return runtime_error!("repeat_interleave: allocated size does not match required size {total}, got {wanted}");
        }
        crate::layout::checked_numel("repeat_interleave", &[total])?;
        let places: Vec<i64> =
            counts.iter().enumerate().flat_map(|(place, &count)| std::iter::repeat_n(place as i64, count as usize)).collect();
        Tensor::from_slice(&[total], &places)?.to_dtype(self.dtype())
    }
}
