//! Indexing with brackets: integers, slices, `...`, `None` and truth values by views, tensors by copies.

use super::expanded::{write_at_places, write_where};
use super::places::Places;
use super::power::check_in_range;
use super::sample_values::check_shape;
use super::window::{Part, Step, Steps, resolve_slice};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tape::mode::ModeGuard;
use crate::tape::view::{check_unexpanded, overwrite};
use crate::tensor::Tensor;

/// What torch warns of.
pub const BYTE_MASK: &std::ffi::CStr =
    c"indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.";

/// One part of an index expression.
#[derive(Clone)]
pub enum Item {
    /// One place of a dim.
    Int(isize),
    /// start:stop:step
    Slice(Option<isize>, Option<isize>, isize),
    /// A new dim.
    New,
    /// As many dims as are left.
    Ellipsis,
    /// A new dim, of size 1 or 0.
    Flag(bool),
    /// Places, or a mask.
    Tensor(Tensor),
}

/// An index expression made ready for a tensor: first a view, then places in it.
struct Resolved {
    steps: Steps,
    /// The last step that changes something, which the node is named after.
    part: Part,
    places: Places,
    /// The mask, if one is all there is after the steps: where it starts, and the mask.
    mask: Option<(usize, Tensor)>,
}

impl Item {
    /// How many dims it is about.
    fn dims(&self) -> usize {
        match self {
            Item::Int(_) | Item::Slice(..) => 1,
            Item::New | Item::Ellipsis | Item::Flag(_) => 0,
            Item::Tensor(index) if is_mask(index) => index.rank(),
            Item::Tensor(_) => 1,
        }
    }
}

/// Whether one value is to be written where a mask is true.
pub(crate) fn is_one_mask(indices: &[Tensor], values: &Tensor, accumulate: bool) -> bool {
    !accumulate && values.numel() == 1 && matches!(indices, [index] if is_mask(index))
}

fn is_mask(index: &Tensor) -> bool {
    matches!(index.dtype(), DType::Bool | DType::U8)
}

impl Tensor {
    fn resolve(&self, items: &[Item]) -> Result<Resolved> {
        let named: usize = items.iter().map(Item::dims).sum();
        let too_many = || Error::Index(format!("too many indices for tensor of dimension {}", self.rank()));
        let left = self.rank().checked_sub(named).ok_or_else(too_many)?;
        let mut out = Resolved { steps: Steps::new(), part: Part::Whole, places: Places::default(), mask: None };
        // The next dim of the tensor, and of the view.
        let (mut dim, mut at) = (0, 0);
        let mut indices = 0;
        let mut filled = false;
        for item in items {
            match item {
                Item::Int(index) => {
                    out.steps.push(Step::At(self.place("", dim, *index)?));
                    out.part = Part::Select { dim: at as isize, index: *index };
                    dim += 1;
                }
                Item::Slice(start, stop, step) => {
                    let size = self.shape()[dim];
                    let slice =
                        Part::Slice { dim: at as isize, start: start.unwrap_or(0), end: stop.unwrap_or(isize::MAX), step: *step };
                    let (start, len) = resolve_slice(*start, *stop, *step, size)?;
                    let keep = len == size && *step == 1;
                    out.steps.push(if keep { Step::Keep } else { Step::Range { start, len, step: *step as usize } });
                    // Of several items those that keep a dim as it is are passed over.
                    let passed = keep && (items.len() > 1 || !matches!(out.part, Part::Whole));
                    out.part = if passed { out.part } else { slice };
                    dim += 1;
                    at += 1;
                }
                Item::New => {
                    out.steps.push(Step::New);
                    out.part = Part::New { dim: at as isize };
                    at += 1;
                }
                Item::Ellipsis => {
                    let kept = if filled { 0 } else { left };
                    filled = true;
                    out.steps.extend(std::iter::repeat_n(Step::Keep, kept));
                    dim += kept;
                    at += kept;
                }
                Item::Flag(flag) => {
                    indices += 1;
                    out.steps.push(Step::New);
                    out.part = Part::New { dim: at as isize };
                    out.places.add_flag(at, *flag)?;
                    at += 1;
                }
                Item::Tensor(index) if is_mask(index) && index.rank() == 0 => {
                    check_shape("indexing with a boolean mask", index)?;
                    indices += 1;
                    out.steps.push(Step::New);
                    out.part = Part::New { dim: at as isize };
                    out.places.add_flag(at, index.to_vec::<u8>()?.first().is_some_and(|&flag| flag != 0))?;
                    at += 1;
                }
                Item::Tensor(index) => {
                    let count = item.dims();
                    if is_mask(index) {
                        check_shape("indexing with a boolean mask", index)?;
                        self.check_mask(index, dim)?;
                        out.places.add_mask(at, index)?;
                        out.mask = Some((at, index.clone()));
                    } else {
                        out.places.add_integers(at, self.shape()[dim], index).map_err(|e| rename_dim(e, at, dim))?;
                    }
                    indices += 1;
                    out.steps.extend(std::iter::repeat_n(Step::Keep, count));
                    dim += count;
                    at += count;
                }
            }
        }
        if indices != 1 {
            out.mask = None;
        }
        Ok(out)
    }

    fn check_mask(&self, mask: &Tensor, dim: usize) -> Result<()> {
        for (d, &size) in mask.shape().iter().enumerate() {
            if self.shape()[dim + d] != size {
                return Err(Error::Index(format!(
                    "The shape of the mask {:?} at index {d} does not match the shape of the indexed tensor {:?} at index {}",
                    mask.shape(),
                    self.shape(),
                    dim + d
                )));
            }
        }
        Ok(())
    }

    /// `x[items]`: a view if only integers, slices, `...` and `None` are given, else a copy.
    pub fn get(&self, items: &[Item]) -> Result<Tensor> {
        let Resolved { steps, part, places, .. } = self.resolve(items)?;
        if places.is_empty() {
            return self.stepped(part, steps);
        }
        if steps.iter().all(|step| *step == Step::Keep) {
            return self.taken("index", &places);
        }
        self.stepped(part, steps)?.taken("index", &places)
    }

    /// `x[items] = value`. A value of another dtype is converted, but not where places are listed.
    pub fn set(&self, items: &[Item], value: &Tensor, is_number: bool) -> Result<()> {
        match items {
            // All of it or nothing, without the conditions of indices.
            [Item::Flag(true)] => return self.set(&[Item::New], value, is_number),
            [Item::Flag(false)] => return Ok(()),
            _ => {}
        }
        let Resolved { steps, part, places, mask } = self.resolve(items)?;
        // Without histories, a window on the memory needs none, either.
        let plain = !(self.requires_grad() || value.requires_grad() || self.is_view() || self.is_inference());
        let _unseen = plain.then(ModeGuard::without_views);
        let changes = steps.iter().any(|step| *step != Step::Keep);
        let x = if changes { self.stepped(part, steps)? } else { self.clone() };
        let surplus = value.shape().iter().take_while(|&&size| size == 1).count().min(value.rank());
        let sliced = || value.viewed("view", &value.shape()[surplus..]);
        if places.is_empty() {
            check_unexpanded(&x)?;
            if value.rank() == 0 && x.rank() > 0 {
                return overwrite("fill_", &x, value);
            }
            let value = if value.shape() == x.shape() { value.clone() } else { sliced()?.expand_to("copy_", x.shape())? };
            value.check_overlap(&x)?;
            return overwrite(if is_number { "fill_" } else { "copy_" }, &x, &value);
        }
        let value = &if surplus > 0 { sliced()? } else { value.clone() };
        let indices = items.iter().filter_map(|item| if let Item::Tensor(index) = item { Some(index) } else { None });
        check_indices(&x, indices, mask.is_some() && value.rank() == 0)?;
        if let (Some((at, mask)), 0) = (mask, value.rank()) {
            // Only here it is a number that is written, which must fit.
            check_in_range(value.scalar()?, x.dtype())?;
            let value = value.to_dtype(x.dtype())?;
            let mut sizes = vec![1; at];
            sizes.extend_from_slice(mask.shape());
            sizes.resize(x.rank(), 1);
            let mask = mask.to_dtype(DType::Bool)?.reshape_to(&sizes)?;
            return write_where("index_put_", &x, &value.into(), |x, value| x.filled_where("index_put", &mask, &value.tensor()?));
        }
        if value.dtype() != x.dtype() && !is_number {
            return runtime_error!(
                "Index put requires the source and destination dtypes match, got {} for the destination and {} for the source.",
                x.dtype().type_word(),
                value.dtype().type_word()
            );
        }
        value.check_apart(&x)?;
        let value = value.to_dtype(x.dtype())?;
        let value = if value.storage().same(x.storage()) { value.copied()?.with_meta_of(&value) } else { value };
        write_at_places("index_put_", &x, value.requires_grad(), |x| x.with_places("index_put", &places, &value, false))
    }

    /// A copy with values at the places that some indices name, or added there.
    pub(crate) fn put_items(&self, indices: &[Tensor], values: &Tensor, accumulate: bool) -> Result<Tensor> {
        for index in indices {
            if !matches!(index.dtype(), DType::I64 | DType::I32 | DType::U8 | DType::Bool) {
                return Err(Error::Index("tensors used as indices must be long, int, byte or bool tensors".into()));
            }
            if index.dtype() == DType::U8 {
                crate::interpreter::warn(BYTE_MASK)?;
            }
        }
        let one_mask = is_one_mask(indices, values, accumulate);
        if values.dtype() != self.dtype() && !one_mask {
            return runtime_error!(
                "Index put requires the source and destination dtypes match, got {} for the destination and {} for the source.",
                self.dtype().type_word(),
                values.dtype().type_word()
            );
        }
        // One value for a mask fits whatever dims of size 1 it has.
        let one = if one_mask { Some(values.reshape_to(&[])?) } else { None };
        let values = one.as_ref().unwrap_or(values);
        let items: Vec<Item> = indices.iter().map(|index| Item::Tensor(index.clone())).collect();
        let Resolved { steps, part, places, .. } = self.resolve(&items)?;
        if steps.contains(&Step::New) {
            let y = self.stepped(part, steps)?.with_places("index_put", &places, values, accumulate)?;
            return y.reshape_to(self.shape());
        }
        self.with_places("index_put", &places, values, accumulate)
    }
}

/// Fails if an index shares memory with `x`, which is to be written to at its places; one that is filled in where it is true may be
/// the tensor itself.
pub(crate) fn check_indices<'a>(x: &Tensor, indices: impl IntoIterator<Item = &'a Tensor>, fills: bool) -> Result<()> {
    indices.into_iter().try_for_each(|index| if fills { index.check_overlap(x) } else { index.check_apart(x) })
}

/// Errors count dims of the indexed tensor, not of the view.
fn rename_dim(error: Error, at: usize, dim: usize) -> Error {
    match error {
        Error::Index(text) => Error::Index(text.replace(&format!("dimension {at} with"), &format!("dimension {dim} with"))),
        other => other,
    }
}
