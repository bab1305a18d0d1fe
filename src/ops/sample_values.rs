//! What a function that is mapped (`vmap`) cannot be told: what a tensor that depends on the sample holds, and what shape it has if
//! that depends on what it holds. In torch such a tensor stands for all samples at once.

use super::samples::are_any_mapped;
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tensor::Tensor;

#[inline]
fn depends(x: &Tensor) -> bool {
    x.sample_of().is_some() && are_any_mapped([x])
}

/// Before a tensor becomes a Python number.
pub fn check_item(x: &Tensor) -> Result<()> {
    if !depends(x) {
        return Ok(());
    }
    runtime_error!(
        "vmap: It looks like you're calling .item() on a Tensor: a number of Python's is the same for all samples, but this depends on \
         the sample. Compute with tensors, and take `where` or an index to choose"
    )
}

/// Before a program goes one way or another.
pub fn check_truth(x: &Tensor) -> Result<()> {
    if !depends(x) {
        return Ok(());
    }
    runtime_error!(
        "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow: a condition that depends on the \
         sample may hold for some samples only. `where` takes one of two values"
    )
}

/// Before another library reads memory.
pub fn check_memory(op: &str, x: &Tensor) -> Result<()> {
    if !depends(x) {
        return Ok(());
    }
    runtime_error!(
        "vmap: {op}: Cannot access data pointer of Tensor that doesn't have storage: it depends on the sample, and stands for all samples"
    )
}

/// Before memory is shown as a whole, or copied into an object of its own.
pub fn check_storage(op: &str, x: &Tensor) -> Result<()> {
    if !depends(x) {
        return Ok(());
    }
    Err(Error::NotImplemented(format!(
        "vmap: {op}: Cannot access storage of a tensor that depends on the sample: it stands for all samples"
    )))
}

/// Before an op whose result has a shape that depends on what is in `x`.
pub fn check_shape(op: &str, x: &Tensor) -> Result<()> {
    if !depends(x) {
        return Ok(());
    }
    runtime_error!(
        "vmap: {op}: We do not support batching operators that can output dynamic shape: the sizes of its result would depend on the \
         sample. `where` keeps the shape"
    )
}

/// Before tensors are compared as wholes.
pub fn check_comparison(op: &str, x: &Tensor, other: &Tensor) -> Result<()> {
    if !depends(x) && !depends(other) {
        return Ok(());
    }
    runtime_error!("vmap over {op} isn't supported: it answers True or False for all samples, but a tensor depends on the sample")
}
