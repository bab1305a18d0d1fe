//! Shapes and strides: where the elements of a tensor are in its storage. Knows no dtype and no memory.

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::runtime_error;

/// Sizes of dimensions; five fit without an allocation.
pub type Shape = SmallVec<[usize; 5]>;
/// Steps between neighbours along each dimension, in elements. Zero where a dimension is expanded.
pub type Strides = SmallVec<[isize; 5]>;

/// Shape, strides and the place of the first element, all counted in elements.
#[derive(PartialEq, Eq, Debug)]
pub struct Layout {
    /// Sizes.
    pub shape: Shape,
    /// Steps.
    pub strides: Strides,
    /// Index of the first element in the storage.
    pub offset: usize,
}

/// A copy in a few instructions, since every op makes some: `SmallVec::clone` goes element by element.
#[inline]
pub fn copy_of<A: smallvec::Array>(list: &SmallVec<A>) -> SmallVec<A>
where
    A::Item: Copy,
{
    if list.spilled() {
        return SmallVec::from_slice(list);
    }
    // SAFETY: a list that is not on the heap is plain data if its elements are.
    unsafe { std::ptr::read(list) }
}

impl Clone for Layout {
    #[inline]
    fn clone(&self) -> Layout {
        Layout { shape: copy_of(&self.shape), strides: copy_of(&self.strides), offset: self.offset }
    }
}

/// The number of elements of a shape that memory can hold. (Sizes around a size of 0 may be too large to multiply.)
pub fn product(shape: &[usize]) -> usize {
    shape.iter().fold(1, |n, &size| n.wrapping_mul(size))
}

/// Strides of a row-major tensor. A dimension of size 0 counts as 1, as in torch.
pub fn contiguous_strides(shape: &[usize]) -> Strides {
    let mut strides: Strides = SmallVec::from_elem(1, shape.len());
    let mut step = 1isize;
    for d in (0..shape.len()).rev() {
        strides[d] = step;
        step = step.wrapping_mul(shape[d].max(1) as isize);
    }
    strides
}

/// Whether elements with these strides lie in memory in row-major order without gaps.
pub fn is_contiguous(shape: &[usize], strides: &[isize]) -> bool {
    let mut step = 1isize;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        if size != 1 {
            if stride != step {
                return shape.contains(&0);
            }
            // Sizes before a size of 0 may be too large to multiply.
            step = step.wrapping_mul(size as isize);
        }
    }
    true
}

/// Number of elements, or an error if memory could never hold them.
pub fn checked_numel(op: &'static str, shape: &[usize]) -> Result<usize> {
    if shape.contains(&0) {
        return Ok(0);
    }
    let product = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).filter(|&n| n <= (isize::MAX as usize) / 16);
    product.ok_or_else(|| Error::Runtime(format!("{op}: a tensor of shape {shape:?} has more elements than memory can hold")))
}

/// The shape that two shapes broadcast to.
pub fn broadcast_shapes(op: &'static str, a: &[usize], b: &[usize]) -> Result<Shape> {
    if a == b {
        return Ok(Shape::from_slice(a));
    }
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], d: usize| if d + shape.len() < rank { 1 } else { shape[d + shape.len() - rank] };
    let mut out = Shape::with_capacity(rank);
    for d in 0..rank {
        match (size(a, d), size(b, d)) {
            (m, n) if m == n => out.push(m),
            (1, n) => out.push(n),
            (m, 1) => out.push(m),
            _ => return Err(Error::Broadcast { op, lhs: a.to_vec(), rhs: b.to_vec() }),
        }
    }
    Ok(out)
}

/// `dim` counted from the front. A 0-d tensor counts as having one dimension, as in torch.
pub fn normalize_dim(op: &'static str, dim: isize, rank: usize) -> Result<usize> {
    let reach = rank.max(1) as isize;
    if (-reach..reach).contains(&dim) { Ok(dim.rem_euclid(reach) as usize) } else { Err(Error::Dim { op, dim, rank }) }
}

/// Several dims counted from the front, in the order given; each may appear once.
pub fn normalize_dims(op: &'static str, dims: &[isize], rank: usize) -> Result<SmallVec<[usize; 5]>> {
    let mut out: SmallVec<[usize; 5]> = SmallVec::with_capacity(dims.len());
    for &dim in dims {
        let d = normalize_dim(op, dim, rank)?;
        if out.contains(&d) {
            return runtime_error!("{op}: dim {d} appears multiple times in the list of dims {dims:?}");
        }
        out.push(d);
    }
    Ok(out)
}

impl Layout {
    /// The layout of the parts of complex elements: one more dim, of 2.
    pub fn of_parts(&self) -> Layout {
        let mut layout = Layout { offset: 2 * self.offset, ..self.clone() };
        layout.strides.iter_mut().for_each(|stride| *stride *= 2);
        layout.shape.push(2);
        layout.strides.push(1);
        layout
    }

    /// Row-major, from the start of the storage.
    pub fn contiguous(shape: &[usize]) -> Layout {
        Layout { shape: Shape::from_slice(shape), strides: contiguous_strides(shape), offset: 0 }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        product(&self.shape)
    }

    /// Whether the elements lie in memory in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        is_contiguous(&self.shape, &self.strides)
    }

    /// Whether all elements share one place in memory.
    pub fn is_one_place(&self) -> bool {
        self.shape.iter().zip(&self.strides).all(|(&size, &stride)| size == 1 || stride == 0)
    }

    /// Whether the strides are these, but for dims of one element, whose stride does not matter.
    pub fn has_strides(&self, strides: &[isize]) -> bool {
        self.numel() == 0 || self.shape.iter().zip(&self.strides).zip(strides).all(|((&size, a), b)| size == 1 || a == b)
    }

    /// Whether the elements fill a block of memory without gaps or overlaps, in whatever order.
    pub fn is_dense(&self) -> bool {
        let mut dims: SmallVec<[(isize, usize); 5]> =
            self.strides.iter().copied().zip(self.shape.iter().copied()).filter(|&(_, size)| size != 1).collect();
        dims.sort_unstable();
        let mut step = 1isize;
        for (stride, size) in dims {
            if size == 0 {
                return true;
            }
            if stride != step {
                return false;
            }
            step *= size as isize;
        }
        true
    }

    /// Whether elements show at several places because a dim has no stride.
    pub fn is_expanded(&self) -> bool {
        self.numel() > 0 && self.shape.iter().zip(&self.strides).any(|(&size, &stride)| size > 1 && stride == 0)
    }

    /// Whether two indices share a place in memory (expanded dimensions do).
    pub fn may_overlap(&self) -> bool {
        if self.numel() == 0 {
            return false;
        }
        let mut dims: SmallVec<[(isize, usize); 5]> =
            self.strides.iter().copied().zip(self.shape.iter().copied()).filter(|&(_, size)| size > 1).collect();
        dims.sort_unstable();
        let mut reach = 0isize;
        for (stride, size) in dims {
            if stride <= reach {
                return true;
            }
            reach += stride * (size as isize - 1);
        }
        false
    }

    /// The place in the storage of the element with this number in row-major order.
    pub fn offset_of(&self, mut number: usize) -> usize {
        let mut offset = self.offset as isize;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            offset += (number % size) as isize * stride;
            number /= size;
        }
        offset as usize
    }

    /// One past the last element's place in the storage, from the storage's start.
    pub fn end(&self) -> usize {
        if self.shape.contains(&0) {
            return self.offset;
        }
        let last: isize = self.shape.iter().zip(&self.strides).map(|(&size, &stride)| (size as isize - 1) * stride).sum();
        (self.offset as isize + last + 1) as usize
    }

    /// `dim` counted from the front.
    pub fn dim(&self, op: &'static str, dim: isize) -> Result<usize> {
        normalize_dim(op, dim, self.rank())
    }

    /// The dims of a reduction, ascending: those given, or all for `None` and for an empty list.
    pub fn dims(&self, op: &'static str, dims: Option<&[isize]>) -> Result<SmallVec<[usize; 5]>> {
        let mut out = match dims {
            Some(dims) if !dims.is_empty() => normalize_dims(op, dims, self.rank())?,
            _ => (0..self.rank()).collect(),
        };
        out.retain(|d| *d < self.rank());
        out.sort_unstable();
        Ok(out)
    }

    /// The same elements seen with a broadcast shape. The shapes must have been checked.
    pub fn expand_strides(&self, shape: &[usize]) -> Strides {
        if self.shape.as_slice() == shape {
            return Strides::from_slice(&self.strides);
        }
        let lead = shape.len().saturating_sub(self.rank());
        let mut strides: Strides = SmallVec::from_elem(0, shape.len());
        for d in 0..self.rank() {
            if self.shape[d] != 1 || shape[d + lead] == 1 {
                strides[d + lead] = self.strides[d];
            }
        }
        strides
    }

    /// [`expand_strides`](Self::expand_strides) for a tensor that is shown. As in torch, a new dim of one element has the stride
    /// that it would have in row-major order.
    pub fn expanded_strides(&self, shape: &[usize]) -> Strides {
        let mut strides = self.expand_strides(shape);
        if self.rank() > 0 {
            for d in (0..shape.len() - self.rank()).rev().filter(|&d| shape[d] == 1) {
                strides[d] = strides[d + 1].wrapping_mul(shape[d + 1] as isize);
            }
        }
        strides
    }

    /// The strides with which the same memory has another shape, if there are any.
    ///
    /// Works through runs of dimensions that are evenly spaced in memory; each must hold whole new dimensions.
    pub fn view_strides(&self, shape: &[usize]) -> Option<Strides> {
        if self.shape.as_slice() == shape {
            return Some(self.strides.clone());
        }
        // Strides of dims of size 1 count, as in torch: they are handed on to others.
        let regular = || !self.shape.contains(&1) || self.strides == contiguous_strides(&self.shape);
        if self.numel() == 0 || self.is_contiguous() && regular() {
            return Some(contiguous_strides(shape));
        }
        let mut strides: Strides = SmallVec::from_elem(0, shape.len());
        let mut new = shape.len();
        let mut step = self.strides.last().copied().unwrap_or(1);
        let (mut old_count, mut new_count) = (1usize, 1usize);
        for d in (0..self.rank()).rev() {
            old_count *= self.shape[d];
            let run_ends = d == 0 || (self.shape[d - 1] != 1 && self.strides[d - 1] != old_count as isize * step);
            if !run_ends {
                continue;
            }
            while new > 0 && (new_count < old_count || shape[new - 1] == 1) {
                new -= 1;
                strides[new] = new_count as isize * step;
                new_count *= shape[new];
            }
            if new_count != old_count {
                return None;
            }
            if d > 0 {
                step = self.strides[d - 1];
                (old_count, new_count) = (1, 1);
            }
        }
        (new == 0).then_some(strides)
    }
}

/// A shape with at most one -1, which takes whatever is left.
pub fn infer_shape(op: &'static str, sizes: &[isize], numel: usize) -> Result<Shape> {
    let unknown = sizes.iter().filter(|&&size| size == -1).count();
    if unknown > 1 {
        return runtime_error!("{op}: only one dimension can be inferred, but the shape {sizes:?} has {unknown} of -1");
    }
    if let Some(bad) = sizes.iter().find(|&&size| size < -1) {
        return runtime_error!("{op}: invalid shape dimension {bad} in {sizes:?}");
    }
    let mut known_sizes = sizes.iter().filter(|&&size| size >= 0).map(|&size| size as usize);
    let product = if sizes.contains(&0) { Some(0) } else { known_sizes.try_fold(1, usize::checked_mul) };
    // What is too large to multiply fits nothing.
    let known = product.unwrap_or(0);
    let fits = product.is_some() && if unknown == 0 { known == numel } else { known != 0 && numel.is_multiple_of(known) };
    if unknown == 1 && product == Some(0) && numel == 0 {
        return runtime_error!(
            "{op}: cannot reshape tensor of 0 elements into shape {sizes:?} because the unspecified dimension size -1 can be any value and is ambiguous"
        );
    }
    if !fits {
        return runtime_error!("{op}: shape '{sizes:?}' is invalid for input of size {numel}");
    }
    Ok(sizes.iter().map(|&size| if size == -1 { numel / known } else { size as usize }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shape: &[usize], strides: &[isize]) -> Layout {
        Layout { shape: Shape::from_slice(shape), strides: Strides::from_slice(strides), offset: 0 }
    }

    #[test]
    fn views_need_evenly_spaced_runs() {
        let x = layout(&[3, 4], &[4, 1]);
        assert_eq!(x.view_strides(&[2, 6]).unwrap().as_slice(), &[6, 1]);
        let t = layout(&[4, 3], &[1, 4]);
        assert!(t.view_strides(&[12]).is_none());
        assert_eq!(t.view_strides(&[2, 2, 3]).unwrap().as_slice(), &[2, 1, 4]);
        let e = layout(&[3, 4], &[0, 1]);
        assert_eq!(e.view_strides(&[3, 2, 2]).unwrap().as_slice(), &[0, 2, 1]);
        assert!(e.view_strides(&[12]).is_none());
        let one = layout(&[1, 4, 1], &[7, 2, 5]);
        assert_eq!(one.view_strides(&[2, 2]).unwrap().as_slice(), &[4, 2]);
    }

    #[test]
    fn overlap_and_density() {
        assert!(layout(&[3, 4], &[1, 3]).is_dense());
        assert!(!layout(&[3, 4], &[8, 1]).is_dense());
        assert!(layout(&[3, 4], &[0, 1]).may_overlap());
        assert!(!layout(&[3, 4], &[8, 2]).may_overlap());
        assert_eq!(layout(&[3, 4], &[8, 2]).end(), 23);
    }

    #[test]
    fn broadcasting_aligns_last_dims() {
        assert_eq!(broadcast_shapes("add", &[3, 1], &[2, 1, 4]).unwrap().as_slice(), &[2, 3, 4]);
        assert_eq!(broadcast_shapes("add", &[0], &[1]).unwrap().as_slice(), &[0]);
        assert!(broadcast_shapes("add", &[2], &[3]).is_err());
    }

    #[test]
    fn one_size_is_inferred() {
        assert_eq!(infer_shape("view", &[2, -1], 6).unwrap().as_slice(), &[2, 3]);
        assert!(infer_shape("view", &[-1, -1], 6).is_err());
        assert!(infer_shape("view", &[4, -1], 6).is_err());
        assert!(infer_shape("view", &[0, -1], 0).is_err());
    }
}
