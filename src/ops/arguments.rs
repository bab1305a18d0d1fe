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

    /// Fails if it is a tensor that shares part of the memory of `x`, which is to be written to.
    pub fn check_overlap(&self, x: &Tensor) -> Result<()> {
        match self {
            Operand::Tensor(tensor) => tensor.check_overlap(x),
            Operand::Number(_) => Ok(()),
        }
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

/// What `max` and `min` take first: a dim, or another tensor.
pub enum DimOrTensor {
    /// A dim.
    Dim(isize),
    /// Another tensor.
    Tensor(Tensor),
}

/// What `var` and `std` take first: dims, or whether to divide by one less than the number of elements.
pub enum DimsOrFlag {
    /// Dims.
    Dims(Dims),
    /// `unbiased`.
    Flag(bool),
}

/// Two results that Python sees as one of `ferrograd.return_types`.
pub struct Pair {
    /// The name of that type.
    pub name: &'static str,
    /// Its first field.
    pub first: Tensor,
    /// Its second field.
    pub second: Tensor,
}

impl Pair {
    /// Values and indices.
    pub fn new(name: &'static str, values: Tensor, indices: Tensor) -> Pair {
        Pair { name, first: values, second: indices }
    }
}

/// What `max` and `min` answer.
pub enum Extremum {
    /// A tensor.
    One(Tensor),
    /// Values and indices.
    Two(Pair),
}
