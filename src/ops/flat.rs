//! Gradients that stay the same wherever their op's input moves. As in torch they are on the tape with it nevertheless: their own
//! gradients there are 0, not none.

use crate::error::Result;
use crate::tensor::Tensor;
use crate::vjp;

/// The gradient of what a gradient does not change with.
pub(crate) fn flat(op: &'static str, h: &Tensor) -> Result<Tensor> {
    Tensor::zeroed(op, h.shape(), h.dtype())
}

impl Tensor {
    /// This gradient, on the tape with an input of the op that it is of.
    pub(crate) fn flat_in(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        let g = self;
        vjp!(op, g.clone(), { g: |h| Ok(h.clone()), x: |h| flat(op, h) })
    }
}
