//! Lists of places for advanced indexing: checked index tensors, and reading and writing what they name.

use std::sync::Arc;

use smallvec::SmallVec;

use super::batch_order;
use crate::dtype::{DType, Number, Scalar};
use crate::error::{Error, Result};
use crate::kernels::{gather, without_interpreter};
use crate::layout::{Shape, broadcast_shapes};
use crate::storage::Access;
use crate::tape::mode::is_forward;
use crate::tape::numbers::Named;
use crate::tape::sample::Maps;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// One index: places in one dim, or in several dims counted as one (a mask's).
#[derive(Clone)]
struct Index {
    /// The first of its dims.
    dim: usize,
    /// The sizes of its dims.
    sizes: Shape,
    /// The places, in row-major order of the sizes.
    places: Arc<[usize]>,
    /// The shape of the index.
    shape: Shape,
    /// The user's tensor that they were read from.
    source: Option<Tensor>,
}

/// Checked indices for some dims of a tensor of known sizes, which broadcast together.
#[derive(Clone, Default)]
pub struct Places {
    list: SmallVec<[Index; 2]>,
    /// What the indices broadcast to.
    shape: Shape,
    /// The maps whose samples they depend on.
    sample_of: Maps,
    /// Whether they are those of the flattened tensor.
    flat: bool,
    /// Of an op on one dim: this, as the user has given it.
    given: isize,
}

impl Places {
    /// For indices of the flattened tensor.
    pub fn flat() -> Places {
        Places { flat: true, ..Places::default() }
    }

    /// A tensor as the indices see it; not recorded.
    fn seen(&self, x: &Tensor) -> Result<Option<Tensor>> {
        self.flat.then(|| without_recording(|| x.reshape_to(&[x.numel()]))).transpose()
    }

    /// Indexes one dim of `size` by integers; negative ones count from the end.
    pub fn add_integers(&mut self, dim: usize, size: usize, index: &Tensor) -> Result<()> {
        let wrap = |&place: &i64| {
            let wrapped = if place < 0 { place + size as i64 } else { place };
            if (0..size as i64).contains(&wrapped) {
                return Ok(wrapped as usize);
            }
            Err(Error::Index(format!("index {place} is out of bounds for dimension {dim} with size {size}")))
        };
        let places = index.to_vec::<i64>()?.iter().map(wrap).collect::<Result<Arc<[usize]>>>()?;
        self.sample_of = self.sample_of.and(index.sample_of());
        let sizes = Shape::from_slice(&[size]);
        self.add(Index { dim, sizes, places, shape: index.shape().into(), source: Some(index.kept()) })
    }

    /// Indexes as many dims as a mask has by the places where it is not zero.
    pub fn add_mask(&mut self, dim: usize, mask: &Tensor) -> Result<()> {
        let flags = mask.to_vec::<crate::dtype::Bool>()?;
        self.sample_of = self.sample_of.and(mask.sample_of());
        let places: Arc<[usize]> = flags.iter().enumerate().filter(|(_, flag)| flag.get()).map(|(place, _)| place).collect();
        let shape = Shape::from_slice(&[places.len()]);
        self.add(Index { dim, sizes: mask.shape().into(), places, shape, source: Some(mask.kept()) })
    }

    /// Indexes a dim of size 1 by `true` (it stays) or `false` (nothing is left).
    pub fn add_flag(&mut self, dim: usize, flag: bool) -> Result<()> {
        let places: Arc<[usize]> = if flag { Arc::new([0]) } else { Arc::new([]) };
        let shape = Shape::from_slice(&[places.len()]);
        self.add(Index { dim, sizes: Shape::from_slice(&[1]), places, shape, source: None })
    }

    fn add(&mut self, index: Index) -> Result<()> {
        if self.list.is_empty() {
            self.shape = index.shape.clone();
        } else if let Ok(shape) = broadcast_shapes("index", &self.shape, &index.shape) {
            self.shape = shape;
        } else {
            let shapes: Vec<&Shape> = self.list.iter().chain([&index]).map(|i| &i.shape).collect();
            return Err(Error::Index(format!(
                "shape mismatch: indexing tensors could not be broadcast together with shapes {shapes:?}"
            )));
        }
        self.list.push(index);
        Ok(())
    }

    /// Says that they are of a dim that the user has given so.
    pub fn of_dim(self, given: isize) -> Places {
        Places { given, ..self }
    }

    /// Says that the indices were read from this tensor of the user's.
    pub fn read_from(mut self, source: &Tensor) -> Places {
        self.list.iter_mut().for_each(|index| index.source = Some(source.kept()));
        self
    }

    /// For a rule, which must fail if the tensors that they were read from have been written to meanwhile.
    fn save(&self) -> Places {
        let mut saved = self.clone();
        saved.list.iter_mut().for_each(|index| index.source = index.source.as_ref().map(Tensor::save));
        saved
    }

    /// Fails if they are saved and the tensors that they were read from have been written to since.
    fn check_saved(&self) -> Result<()> {
        self.list.iter().filter_map(|index| index.source.as_ref()).try_for_each(Tensor::check_saved)
    }

    /// Whether there are no indices.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many places the indices name together.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether a dim is indexed.
    fn takes(&self, dim: usize) -> bool {
        self.list.iter().any(|index| (index.dim..index.dim + index.sizes.len()).contains(&dim))
    }

    /// How many dims come before those of the indices in the result: where the first index was if all are neighbours, else none.
    fn lead(&self) -> usize {
        let neighbours = self.list.windows(2).all(|pair| pair[0].dim + pair[0].sizes.len() == pair[1].dim);
        if neighbours { self.list.first().map_or(0, |index| index.dim) } else { 0 }
    }

    /// What is said of each dim of a tensor, for the dims of the result of indexing it; `places` is said of those of the indices.
    fn of_result<T: Copy>(&self, dims: &[T], places: impl Iterator<Item = T>) -> SmallVec<[T; 5]> {
        let rest: SmallVec<[T; 5]> = (0..dims.len()).filter(|&d| !self.takes(d)).map(|d| dims[d]).collect();
        let (before, after) = rest.split_at(self.lead());
        before.iter().copied().chain(places).chain(after.iter().copied()).collect()
    }

    /// The shape of the result of indexing a tensor of a shape.
    fn result_shape(&self, shape: &[usize]) -> Shape {
        self.of_result(shape, self.shape.iter().copied())
    }

    /// The result `y` of indexing `x`, its dims in memory in the order of those of `x`, as torch has them.
    fn in_order_of(&self, x: &Tensor, y: Tensor) -> Result<Tensor> {
        if x.is_contiguous() && !batch_order::is_noted(&[x]) {
            return Ok(y);
        }
        let operand = (x, self.of_result(x.strides(), self.shape.iter().map(|_| 0)));
        let (strides, batches) = batch_order::arranged(y.shape(), &[operand]);
        let z = if strides[..] == *y.strides() { y } else { y.copied_in(strides)? };
        batch_order::note_batches(&z, batches, true);
        Ok(z)
    }

    /// Byte offsets in a tensor, in the order of the indices' common shape.
    fn offsets(&self, x: &Tensor) -> Vec<isize> {
        let size = x.dtype().size() as isize;
        let count = self.shape.iter().product();
        let mut offsets = vec![0isize; count];
        for index in &self.list {
            let strides: SmallVec<[isize; 5]> = (0..index.sizes.len()).map(|d| x.strides()[index.dim + d] * size).collect();
            let offset = |mut place: usize| {
                let mut offset = 0;
                for (&size, &stride) in index.sizes.iter().zip(&strides).rev() {
                    offset += (place % size) as isize * stride;
                    place /= size;
                }
                offset
            };
            if index.shape == self.shape {
                match strides[..] {
                    [stride] => offsets.iter_mut().zip(&*index.places).for_each(|(o, &p)| *o += p as isize * stride),
                    _ => offsets.iter_mut().zip(&*index.places).for_each(|(o, &p)| *o += offset(p)),
                }
                continue;
            }
            let own = crate::layout::Layout::contiguous(&index.shape).expand_strides(&self.shape);
            for (number, o) in offsets.iter_mut().enumerate() {
                let (mut rest, mut at) = (number, 0);
                for (&size, &stride) in self.shape.iter().zip(&own).rev() {
                    at += rest % size * stride as usize;
                    rest /= size;
                }
                *o += offset(index.places[at]);
            }
        }
        offsets
    }

    /// As the kernels take them.
    fn of<'a>(&self, x: &Tensor, list: &'a [isize]) -> gather::Places<'a> {
        let size = x.dtype().size() as isize;
        let rest: SmallVec<[usize; 5]> = (0..x.rank()).filter(|&d| !self.takes(d)).collect();
        let (before, after) = rest.split_at(self.lead());
        let nest = |dims: &[usize]| gather::Nest::new(dims.iter().map(|&d| (x.shape()[d], x.strides()[d] * size)));
        gather::Places { outer: nest(before), list, inner: nest(after) }
    }
}

/// Runs an expression with `$W` bound to an unsigned integer as large as an element.
macro_rules! by_size {
    ($dtype:expr, $W:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $W = u8;
                $body
            }
            2 => {
                type $W = u16;
                $body
            }
            4 => {
                type $W = u32;
                $body
            }
            8 => {
                type $W = u64;
                $body
            }
            _ => {
                type $W = [u64; 2];
                $body
            }
        }
    };
}
pub(crate) use by_size;

impl Tensor {
    /// A copy of what is at the places. `op` names the node.
    pub(crate) fn taken(&self, op: &'static str, places: &Places) -> Result<Tensor> {
        let x = self;
        x.check_saved()?;
        places.check_saved()?;
        let flat = places.seen(x)?;
        let from = flat.as_ref().unwrap_or(x);
        let y = Tensor::uninitialized(op, &places.result_shape(from.shape()), from.dtype())?;
        let offsets = places.offsets(from);
        {
            let x = from;
            let kernel_places = places.of(x, &offsets);
            let _access = Access::new(&[x.storage()], &[]);
            let (from, to) = (x.byte_ptr() as usize, y.byte_ptr() as usize);
            // SAFETY: x is locked, y fresh and as large as the places are many; the places have been checked.
            without_interpreter(y.numel(), || unsafe {
                by_size!(x.dtype(), W => gather::take::<W>(to as *mut W, from as *const W, &kernel_places));
            });
        }
        let y = if op == "index" { places.in_order_of(x, y)? } else { y };
        y.note_sample_of(places.sample_of);
        let (shape, given, places) = (Shape::from_slice(x.shape()), places.given, places.save());
        vjp!(op, y, { x: |g| g.put_back(&shape, &places) }, saves { ..move || match op {
            "index_select" => saves! { dim: given }(),
            _ => Named::new(),
        } })
    }

    /// Zeros of a shape to which this tensor is added at the places.
    fn put_back(&self, shape: &[usize], places: &Places) -> Result<Tensor> {
        let x = self;
        places.check_saved()?;
        let y = Tensor::zeroed("index_backward", shape, x.dtype())?;
        y.put_places(places, x, true)?;
        let places = places.save();
        vjp!("index_backward", y, { x: |g| g.taken("index", &places) })
    }

    /// A copy with `values` (which must broadcast) at the places, or added to what is there. `op` names the node.
    pub(crate) fn with_places(&self, op: &'static str, places: &Places, values: &Tensor, accumulate: bool) -> Result<Tensor> {
        let x = self;
        places.check_saved()?;
        let y = if places.flat && !x.is_contiguous() { x.detached_read()?.contiguous()? } else { x.own_copy()? };
        y.put_places(places, values, accumulate)?;
        y.note_sample_of(places.sample_of);
        let (given, rank, places) = (places.given, values.rank(), places.save());
        let (places2, dtype) = (places.clone(), x.dtype());
        // Of the flattened tensor, values may lie in another shape than the index.
        let other_shape = (places.flat && values.numel() == places.count()).then(|| Shape::from_slice(values.shape()));
        vjp!(op, y, {
            x: |g| if accumulate {
                places.check_saved()?;
                Ok(g.clone())
            } else {
                g.with_places(op, &places, &Tensor::zeroed(op, &[], dtype)?, false)
            },
            values: |g| {
                let mut part = g.taken("index", &places2)?;
                // Along tangents a place has but the value written last.
                if !accumulate && is_forward() {
                    part = part.where_last(|numbers| {
                        let y = Tensor::zeroed(op, g.shape(), DType::I64)?;
                        y.put_places(&places2, numbers, false)?;
                        y.taken(op, &places2)
                    })?;
                }
                other_shape.as_ref().map_or(Ok(part.clone()), |shape| part.reshape_to(shape))
            }
        }, saves { ..move || match op {
            "put" | "index_put" => saves! { accumulate }(),
            "index_fill" | "index_fill.1" => saves! { dim: given }(),
            "index_copy" => saves! { dim: given, source_dim: rank }(),
            _ => Named::new(),
        } })
        .map(|y| if ["index_copy", "put"].contains(&op) { y.watching_if_followed(values) } else { y })
    }

    /// A copy with `alpha` times `values` added at the places.
    pub(crate) fn with_multiple_at(&self, places: &Places, values: &Tensor, alpha: Scalar) -> Result<Tensor> {
        const OP: &str = "index_add";
        let x = self;
        places.check_saved()?;
        let y = x.own_copy()?;
        let times = |values: &Tensor, alpha: Scalar| if alpha == Scalar::Int(1) { Ok(values.clone()) } else { values * alpha };
        y.put_places(places, &without_recording(|| times(values, alpha))?, true)?;
        y.note_sample_of(places.sample_of);
        let (given, rank, places) = (places.given, values.rank(), places.save());
        // Torch's rule for x takes no index here, and may run again.
        let y = vjp!(OP, y, { x: |g| Ok(g.clone()), values: |g| times(&g.taken("index", &places)?, alpha.conj()) }, saves {
            dim: given, alpha, source_dim: rank
        })?;
        Ok(y.watching_if_followed(values))
    }

    /// Writes values at the places of this memory (contiguous, if they are those of the flattened tensor), or adds them. Not recorded.
    pub(crate) fn put_places(&self, places: &Places, values: &Tensor, accumulate: bool) -> Result<()> {
        let flat = places.seen(self)?;
        let y = flat.as_ref().unwrap_or(self);
        let shape = places.result_shape(y.shape());
        let same_count = places.flat && values.numel() == places.count();
        let values = &if same_count { without_recording(|| values.reshape_to(&shape))? } else { values.clone() };
        if broadcast_shapes("index_put", &shape, values.shape()).ok().as_ref() != Some(&shape) {
            return Err(Error::Runtime(format!(
                "shape mismatch: value tensor of shape {:?} cannot be broadcast to indexing result of shape {shape:?}",
                values.shape()
            )));
        }
        let values = without_recording(|| {
            let values = values.detached(false).to_dtype(y.dtype())?.expand_to("index_put", &shape)?;
            if values.storage().same(y.storage()) { values.contiguous()?.copied() } else { values.contiguous() }
        })?;
        let offsets = places.offsets(y);
        let kernel_places = places.of(y, &offsets);
        y.put_at(&kernel_places, &values, accumulate)
    }

    /// Writes (or adds) contiguous values of the same dtype at places of this memory that have been checked.
    pub(crate) fn put_at(&self, places: &gather::Places, values: &Tensor, accumulate: bool) -> Result<()> {
        let y = self;
        let _access = Access::new(&[values.storage()], &[y.storage()]);
        let (to, from) = (y.byte_ptr() as usize, values.byte_ptr() as usize);
        if accumulate {
            return crate::dispatch_all!(y.dtype(), "index_put", T => {
                // SAFETY: both are locked and different memory; the places have been checked.
                without_interpreter(values.numel(), || unsafe {
                    gather::change::<T>(to as *mut T, from as *const T, places, |old, value| old.add(value));
                });
                Ok(())
            });
        }
        // SAFETY: as above.
        without_interpreter(values.numel(), || unsafe {
            by_size!(y.dtype(), W => gather::put::<W>(to as *mut W, from as *const W, places));
        });
        Ok(())
    }

    /// Writes (or adds) `x`, of the same shape and dtype, to this memory, element by element in order: places may coincide.
    pub(crate) fn put_one_by_one(&self, x: &Tensor, accumulate: bool) -> Result<()> {
        let size = self.dtype().size() as isize;
        let values = crate::tape::without_recording(|| x.detached(false).contiguous())?;
        let inner = gather::Nest::new(self.shape().iter().zip(self.strides()).map(|(&n, &s)| (n, s * size)));
        self.put_at(&gather::Places { outer: gather::Nest::default(), list: &[0], inner }, &values, accumulate)
    }

    /// Fails unless this can be a list of places: int64 or int32.
    pub(crate) fn check_index(&self, op: &str) -> Result<()> {
        match self.dtype() {
            DType::I64 | DType::I32 => Ok(()),
            other => Err(Error::Runtime(format!("{op}: expected dtype int32 or int64 for index, got {other}"))),
        }
    }
}

/// The elements of an index as whole numbers, with the check that they are places in a dim of `size`.
pub(crate) fn checked_places(op: &str, dim: usize, size: usize, index: &Tensor) -> Result<Vec<i64>> {
    let places = index.to_vec::<i64>()?;
    if let Some(bad) = places.iter().find(|place| !(0..size as i64).contains(place)) {
        return Err(Error::Places(format!("{op}: index {bad} is out of bounds for dimension {dim} with size {size}")));
    }
    Ok(places)
}
