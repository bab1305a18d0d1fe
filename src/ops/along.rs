//! Elements picked along a dim by their number, and their gradients put back: for rules of ops that select.

use smallvec::SmallVec;

use crate::dtype::{DType, Number};
use crate::error::{Error, Result};
use crate::kernels::lines::{Lines, pick};
use crate::kernels::without_interpreter;
use crate::layout::Shape;
use crate::storage::Access;
use crate::tape::sample::made_of;
use crate::tensor::Tensor;
use crate::vjp;

/// An address that the threads of one kernel write to, each at places of its own.
pub(crate) struct Target<T>(*mut T);
// SAFETY: the kernel hands each place to one thread.
unsafe impl<T> Sync for Target<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Target<T> {}

impl<T> Clone for Target<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Target<T> {}

impl Target<u8> {
    /// The bytes of a tensor, which the caller keeps locked.
    pub fn bytes_of(x: &Tensor) -> Target<u8> {
        Target(x.byte_ptr())
    }

    /// The same as elements.
    pub fn cast<T>(&self) -> Target<T> {
        Target(self.0.cast())
    }
}

impl<T: Copy> Target<T> {
    /// Of a tensor of this dtype, which the caller keeps locked.
    pub fn of(x: &Tensor) -> Target<T> {
        Target(x.ptr())
    }

    /// # Safety
    /// `i` must be in bounds, and used by no other thread.
    #[inline(always)]
    pub unsafe fn get(&self, i: usize) -> T {
        // SAFETY: the caller answers for it; lent memory may be unaligned.
        unsafe { self.0.add(i).read_unaligned() }
    }

    /// Some places in a row.
    ///
    /// # Safety
    /// They must be in bounds, aligned, and used by no other thread while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, count: usize) -> &mut [T] {
        // SAFETY: the caller answers for it; nothing is read through the address of no elements.
        if count == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(self.0.add(start), count) } }
    }

    /// # Safety
    /// As for `get`.
    #[inline(always)]
    pub unsafe fn set(&self, i: usize, value: T) {
        // SAFETY: the caller answers for it.
        unsafe { self.0.add(i).write_unaligned(value) }
    }
}

/// A tensor of zeros.
pub(crate) fn zeros(op: &'static str, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let y = Tensor::uninitialized(op, shape, dtype)?;
    let bytes = y.numel() * dtype.size();
    // SAFETY: fresh memory of at least this size; zero bytes are zero in every dtype.
    unsafe { std::ptr::write_bytes(y.byte_ptr(), 0, bytes) };
    Ok(y)
}

/// Fails unless all are places in a dim of `size`: those that an op has answered may have been written to by the user.
fn check_numbers(numbers: &[i64], size: usize) -> Result<()> {
    match numbers.iter().find(|&&number| !(0..size as i64).contains(&number)) {
        None => Ok(()),
        Some(bad) => Err(Error::Places(format!("gather: index {bad} is out of bounds for a dimension of size {size}"))),
    }
}

impl Tensor {
    /// The elements whose numbers along `dim` are in `index` (of the same shape but along `dim`).
    pub(crate) fn take_along(&self, dim: usize, index: &Tensor) -> Result<Tensor> {
        let x = self;
        let (values, index) = (x.detached_read()?.contiguous()?, index.detached_read()?.contiguous()?);
        let _of = made_of([&index]);
        let y = Tensor::uninitialized("gather", index.shape(), x.dtype())?;
        let (lines, size) = (Lines::new(index.shape(), dim), x.shape().get(dim).copied().unwrap_or(1));
        crate::dispatch_all!(x.dtype(), "gather", T => {
            let _access = Access::new(&[values.storage(), index.storage()], &[y.storage()]);
            let (from, to) = (Target::<T>::of(&values), Target::<T>::of(&y));
            // SAFETY: contiguous int64, locked for reading.
            let numbers = unsafe { index.slice::<i64>() };
            check_numbers(numbers, size)?;
            // SAFETY: places are within the tensors; each output has a place of its own.
            without_interpreter(y.numel(), || pick(lines, size, numbers, |i, j| unsafe { to.set(i, from.get(j)) }));
            Ok(())
        })?;
        let index = index.save();
        vjp!("gather", y, { x: |g| g.add_along(dim, &index, size) }, saves { dim, sparse_grad: false })
    }

    /// Zeros with `size` elements along `dim`, to which these elements are added at the numbers in `index`.
    pub(crate) fn add_along(&self, dim: usize, index: &Tensor, size: usize) -> Result<Tensor> {
        let x = self;
        let (values, index) = (x.detached_read()?.contiguous()?, index.detached_read()?.contiguous()?);
        let mut shape: Shape = index.shape().into();
        if let Some(along) = shape.get_mut(dim) {
            *along = size;
        }
        let _of = made_of([&index]);
        let y = zeros("scatter_add", &shape, x.dtype())?;
        let lines = Lines::new(index.shape(), dim);
        crate::dispatch_all!(x.dtype(), "scatter_add", T => {
            let _access = Access::new(&[values.storage(), index.storage()], &[y.storage()]);
            let (from, to) = (Target::<T>::of(&values), Target::<T>::of(&y));
            // SAFETY: contiguous int64, locked for reading.
            let numbers = unsafe { index.slice::<i64>() };
            check_numbers(numbers, size)?;
            // SAFETY: places are within the tensors; those of one block of outputs are used by one thread.
            without_interpreter(y.numel(), || pick(lines, size, numbers, |i, j| unsafe { to.set(j, to.get(j).add(from.get(i))) }));
            Ok(())
        })?;
        let index = index.save();
        vjp!("scatter_add", y, { x: |g| g.take_along(dim, &index) }, saves { dim })
    }

    /// This tensor off the tape, after the check that it is as it was when saved.
    pub(crate) fn detached_read(&self) -> Result<Tensor> {
        self.check_saved()?;
        Ok(self.detached(false))
    }

    /// The gradient of elements selected by a reduction over `dim` to the input of shape `full`.
    pub(crate) fn unselect(&self, dim: usize, index: &Tensor, full: &[usize], keepdim: bool) -> Result<Tensor> {
        index.check_saved()?;
        if full.is_empty() {
            return Ok(self.clone());
        }
        let mut shape: SmallVec<[usize; 5]> = full.into();
        shape[dim] = 1;
        let g = if keepdim { self.clone() } else { self.view_as_shape(&shape)? };
        g.add_along(dim, &index.detached_read()?.view_as_shape(&shape)?, full[dim])
    }
}
