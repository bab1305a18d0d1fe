//! Losses, as layers as functions have them; their Python faces, with words for reductions, are in `ferrograd.nn.functional`.
//!
//! What training loops spend their time in is one pass forward and one backward. Where a rule's own gradients are wanted it is
//! computed by recorded ops, to the same values.

pub mod classes;
pub mod ctc;
pub mod margin;
pub mod pointwise;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::elementwise::{BLOCK, MAX_ARGS, Run, gather};
use crate::kernels::folds::Sum;
use crate::kernels::reduce::{Erased, Loop, reduce as fold};
use crate::kernels::{par, without_interpreter};
use crate::layout::Layout;
use crate::ops::kernel::apply;
use crate::storage::Access;
use crate::tape::is_recording;
use crate::tape::mode::mode;
use crate::tensor::Tensor;

/// What becomes of the losses of the elements.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Reduce {
    None,
    Mean,
    Sum,
}

impl Reduce {
    /// By torch's number.
    fn of(op: &str, number: i64) -> Result<Reduce> {
        match number {
            0 => Ok(Reduce::None),
            1 => Ok(Reduce::Mean),
            2 => Ok(Reduce::Sum),
            _ => Err(Error::Value(format!("{op}: {number} is not a valid value for reduction (expected 0, 1 or 2)"))),
        }
    }

    /// What each of `count` losses counts for.
    fn share(self, count: usize) -> f64 {
        if self == Reduce::Mean { 1.0 / count as f64 } else { 1.0 }
    }

    /// By ops of their own.
    fn apply(self, losses: Tensor) -> Result<Tensor> {
        match self {
            Reduce::None => Ok(losses),
            Reduce::Mean => losses.mean(None, false, None),
            Reduce::Sum => losses.sum(None, false, None),
        }
    }
}

/// Fails if a gradient is wanted of what has none.
pub(crate) fn check_constant(op: &str, name: &str, x: Option<&Tensor>) -> Result<()> {
    if !mode().grad || !is_recording() || !x.is_some_and(Tensor::is_shown) {
        return Ok(());
    }
    crate::runtime_error!(
        "The function '{op}' is not differentiable with respect to argument '{name}'. This input cannot have requires_grad True."
    )
}

/// Fails, as torch does, where inputs carry tangents and one that has no derivative does, too. Alone it may carry one.
pub(crate) fn check_tangents(message: &str, inputs: &[Option<&Tensor>], constants: &[Option<&Tensor>]) -> Result<()> {
    let any = |tensors: &[Option<&Tensor>]| tensors.iter().flatten().any(|x| x.has_tangent());
    if any(inputs) && any(constants) { crate::runtime_error!("{message}") } else { Ok(()) }
}

/// The losses that `body` computes from inputs of this dtype, broadcast, or their sum or mean, for which they are not stored.
fn reduced(op: &'static str, dtype: DType, inputs: &[&Tensor], reduce: Reduce, body: Run<'_>) -> Result<Tensor> {
    if let Some(other) = inputs.iter().find(|x| x.dtype() != dtype) {
        return crate::runtime_error!("{op}: found dtype {} but expected {dtype}", other.dtype());
    }
    let whole = |x: &&Tensor| x.is_contiguous() && x.shape() == inputs[0].shape();
    let number = |x: &&Tensor| x.rank() == 0 || x.shape() == inputs[0].shape() && x.layout().is_one_place();
    let fits = inputs[0].numel() > 0 && whole(&inputs[0]) && inputs.iter().all(|x| whole(x) || number(x));
    if reduce == Reduce::None || !fits {
        return reduce.apply(apply(op, dtype, inputs, body)?);
    }
    for x in inputs {
        x.check_saved()?;
    }
    let count = inputs[0].numel();
    let blocks = Tensor::uninitialized(op, &[count.div_ceil(BLOCK)], dtype)?;
    let mut storages = [blocks.storage(); MAX_ARGS];
    let mut starts = [(0, false); MAX_ARGS];
    for (i, x) in inputs.iter().enumerate() {
        (storages[i], starts[i + 1]) = (x.storage(), (x.byte_ptr() as usize, whole(x)));
    }
    let to = blocks.byte_ptr() as usize;
    let access = Access::new(&storages[..inputs.len()], &[]);
    without_interpreter(count, || {
        // SAFETY: the inputs are locked and have `count` elements or one; each block has a place of its own in fresh memory.
        par::for_ranges(blocks.numel(), 64, &|range| unsafe { sums(dtype, &starts[..=inputs.len()], count, range, to, body) });
    });
    drop(access);
    let sum = if blocks.numel() == 1 { blocks.into_layout(Layout::contiguous(&[])) } else { blocks.sum(None, false, None)? };
    if reduce == Reduce::Mean { sum / count as f64 } else { Ok(sum) }
}

/// Writes the sums of some blocks of what `body` computes. A start is an address, and whether there are elements or only one.
///
/// # Safety
/// Inputs must be valid for reads of `count` elements (or one) of the dtype, `to` for writes of the blocks' sums.
unsafe fn sums(dtype: DType, starts: &[(usize, bool)], count: usize, range: std::ops::Range<usize>, to: usize, body: Run<'_>) {
    let unit = dtype.size();
    let fold_of: &dyn Erased = if dtype == DType::F32 { &Sum::<f32, f32>::default() } else { &Sum::<f64, f64>::default() };
    let mut buffers = [[0u64; BLOCK]; MAX_ARGS];
    let mut ptrs = [std::ptr::null_mut(); MAX_ARGS];
    for (i, buffer) in buffers.iter_mut().enumerate() {
        ptrs[i] = buffer.as_mut_ptr().cast::<u8>();
        if let Some(&(start, false)) = starts.get(i)
            && i > 0
        {
            // SAFETY: the operand has this element, the buffer room for a block.
            unsafe { gather(ptrs[i], start as *const u8, 0, BLOCK.min(count), unit) };
        }
    }
    for block in range {
        let first = block * BLOCK;
        let n = BLOCK.min(count - first);
        for (ptr, &(start, whole)) in ptrs.iter_mut().zip(starts).skip(1) {
            if whole {
                *ptr = (start + first * unit) as *mut u8;
            }
        }
        (body.each)(&ptrs, n);
        let along = [Loop { size: n, from: unit as isize, to: 0 }];
        // SAFETY: the losses of the block, just computed; its sum has a place of its own.
        unsafe {
            fold(ptrs[0], &[], &along, fold_of, &|sum, _, _| {
                std::ptr::copy_nonoverlapping(sum, (to + block * unit) as *mut u8, unit);
            });
        }
    }
}
