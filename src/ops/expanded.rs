//! Writes to tensors that show an element at several places. Torch does those by index or by mask one after the other, with a warning
//! if the tensor is expanded; so do these. Most others are refused there, too.

use super::arguments::Operand;
use super::kernel::order_like;
use super::places::Places;
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::interpreter::warn;
use crate::layout::Layout;
use crate::tape::view::{in_place, in_place_by};
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// What `f` makes of `x`, written to `x`: values at some places, one after the other, the rest as it was. Of memory that it may write
/// to, `f` writes to those places only.
pub(crate) fn write_in_turn(op: &'static str, x: &Tensor, on_tape: bool, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    if !x.layout().may_overlap() {
        return in_place(op, x, on_tape, f);
    }
    in_place_by(op, x, on_tape, &f, || {
        let y = without_recording(|| f(&x.detached(false).reusing()))?;
        if y.storage().same(x.storage()) { Ok(()) } else { x.write_in_turn(&y) }
    })
}

/// The same by index: of expanded tensors torch gives a warning.
pub(crate) fn write_at_places(op: &'static str, x: &Tensor, on_tape: bool, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    warn_if_expanded(op, x)?;
    write_in_turn(op, x, on_tape, f)
}

/// What `f` makes of `x` with `value`, written to `x`: `value` where a mask is true, the rest as it was.
pub(crate) fn write_where(
    op: &'static str,
    x: &Tensor,
    value: &Operand,
    f: impl Fn(&Tensor, Operand) -> Result<Tensor>,
) -> Result<()> {
    let on_tape = value.requires_grad();
    if !x.layout().may_overlap() {
        return in_place(op, x, on_tape, |x| f(x, value.clone().apart_from(x)?));
    }
    // Torch does one by the other.
    for op in [op, "masked_fill_"].iter().skip(usize::from(op == "masked_fill_")) {
        warn_if_expanded(op, x)?;
    }
    let write = || {
        let yes = Tensor::from_scalar(Scalar::Bool(true), DType::Bool)?;
        let marked = without_recording(|| f(&Tensor::zeroed(op, x.shape(), DType::Bool)?, yes.into()))?;
        let mut places = Places::default();
        places.add_mask(0, &marked)?;
        x.put_places(&places, &value.clone().tensor()?.detached(false).reshape_to(&[])?, false)
    };
    in_place_by(op, x, on_tape, |x| f(x, value.clone()), write)
}

impl Tensor {
    /// [`write`](Tensor::write), if elements share places in the order of torch's loops: the last is kept.
    pub(crate) fn write_in_turn(&self, x: &Tensor) -> Result<()> {
        if !self.layout().may_overlap() {
            return self.write(x);
        }
        let x = x.detached(false).to_dtype(self.dtype())?;
        let x = if x.storage().same(self.storage()) { x.copied()? } else { x }.expand_to("copy_", self.shape())?;
        let mut order = order_like(self.shape(), &[self.strides().into(), x.strides().into()]);
        order.reverse();
        let to = self.detached(false).permuted(&order)?;
        to.put_one_by_one(&x.permuted(&order)?, false)
    }

    /// Zero where another element is written to the same place later: `again` writes numbers like these elements, and reads them.
    pub(crate) fn where_last(&self, again: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let numbers: Vec<i64> = (0..self.numel() as i64).collect();
        let numbers = Tensor::from_slice(self.shape(), &numbers)?;
        self.kept_where(&without_recording(|| again(&numbers)?.eq(numbers.into()))?)
    }

    /// The same of elements that lie in memory as in `layout`.
    pub(crate) fn where_last_in(&self, layout: &Layout) -> Result<Tensor> {
        let layout = Layout { offset: 0, ..layout.clone() };
        self.where_last(|numbers| {
            let memory = Tensor::zeroed("as_strided", &[layout.end()], DType::I64)?.with_layout(layout);
            memory.write_in_turn(numbers)?;
            Ok(memory)
        })
    }
}

fn warn_if_expanded(op: &str, x: &Tensor) -> Result<()> {
    if !x.layout().is_expanded() {
        return Ok(());
    }
    let example = if op == "index_put_" { "tensor[indices] = tensor" } else { "tensor[mask] = scalar" };
    let text = format!(
        "Use of {op} on expanded tensors is deprecated. Please clone() the tensor before performing this operation. This also \
         applies to advanced indexing e.g. {example}"
    );
    warn(&std::ffi::CString::new(text).unwrap_or_default())
}
