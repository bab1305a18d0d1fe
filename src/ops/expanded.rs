//! Writes of one value to expanded tensors, which show an element at several places. Torch does them, with a warning; so do these,
//! as the answer does not depend on the order of the writes. All others stay forbidden, and so do those that would be recorded:
//! torch's derivatives of them are wrong, or fail.

use super::arguments::{Dims, Operand};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::interpreter::warn;
use crate::layout::Layout;
use crate::tape::mode::{is_recording, mode};
use crate::tape::view::{check_inference, in_place};
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// What `f` makes of `x` with `value`, written to `x`: `value` at some places, the rest as it was.
pub(crate) fn write_value(
    op: &'static str,
    x: &Tensor,
    value: &Operand,
    f: impl Fn(&Tensor, Operand) -> Result<Tensor>,
) -> Result<()> {
    if !is_fillable(x, value) {
        return in_place(op, x, value.requires_grad(), |x| f(x, value.clone().apart_from(x)?));
    }
    let text = format!(
        "Use of {op} on expanded tensors is deprecated. Please clone() the tensor before performing this operation. This also \
         applies to advanced indexing e.g. tensor[mask] = scalar"
    );
    warn(&std::ffi::CString::new(text).unwrap_or_default())?;
    let marked = without_recording(|| {
        // For its checks.
        f(&x.detached(false), value.clone())?;
        f(&Tensor::zeroed(op, x.shape(), DType::Bool)?, Tensor::from_scalar(Scalar::Bool(true), DType::Bool)?.into())
    })?;
    fill(op, x, value, &marked)
}

/// Whether [`fill`] can write to `x`: it is expanded, and nobody is to know of the write.
pub(crate) fn is_fillable(x: &Tensor, value: &Operand) -> bool {
    let recorded = is_recording() && x.dtype().is_inexact() && (x.requires_grad() || value.requires_grad());
    let one = !matches!(value, Operand::Tensor(value) if value.numel() != 1);
    one && !recorded && mode().level.number == 0 && x.numel() > 0 && repeated_dims(x).next().is_some()
}

/// The dims along which `x` shows the same elements.
fn repeated_dims(x: &Tensor) -> impl Iterator<Item = usize> {
    (0..x.rank()).filter(|&d| x.shape()[d] > 1 && x.strides()[d] == 0)
}

/// Writes `value` to the elements of `x` that show at one of the places marked at least.
pub(crate) fn fill(op: &'static str, x: &Tensor, value: &Operand, marked: &Tensor) -> Result<()> {
    check_inference(op, x)?;
    let mut once: Layout = x.layout().clone();
    let mut marked = marked.clone();
    for d in repeated_dims(x) {
        once.shape[d] = 1;
        marked = marked.any(Some(Dims(smallvec::smallvec![d as isize])), true)?;
    }
    let value = match value {
        Operand::Tensor(value) => Operand::Tensor(value.detached(false).reshape_to(&[])?),
        number => number.clone(),
    };
    in_place(op, &x.with_layout(once), false, |x| x.masked_fill(&marked, value.apart_from(x)?))
}
