//! What ops take besides tensors. How Python objects become these is in `python/arguments.rs`.

use smallvec::SmallVec;

use crate::dtype::Scalar;
use crate::error::Result;
use crate::tensor::Tensor;

/// A tensor or a number.
#[derive(Clone)]
pub enum Operand {
    /// A tensor.
    Tensor(Tensor),
    /// A Python number.
    Number(Scalar),
}

impl Operand {
    /// As a tensor; a number becomes a 0-d one that promotes as a number.
    pub fn tensor(self) -> Result<Tensor> {
        match self {
            Operand::Tensor(tensor) => Ok(tensor),
            Operand::Number(value) => Tensor::from_number(value),
        }
    }

    /// Whether it is a tensor on the tape.
    pub fn requires_grad(&self) -> bool {
        matches!(self, Operand::Tensor(tensor) if tensor.requires_grad())
    }
}

impl From<&Tensor> for Operand {
    fn from(tensor: &Tensor) -> Operand {
        Operand::Tensor(tensor.clone())
    }
}

impl From<f64> for Operand {
    fn from(value: f64) -> Operand {
        Operand::Number(Scalar::Float(value))
    }
}

/// One dim or several; also sizes and indices.
#[derive(Clone, Debug, Default)]
pub struct Dims(pub SmallVec<[isize; 5]>);

impl std::ops::Deref for Dims {
    type Target = [isize];
    fn deref(&self) -> &[isize] {
        &self.0
    }
}
