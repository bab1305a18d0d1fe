//! `+ - * /` and unary `-` for derivative rules: on tensors and numbers, each answering a `Result`.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::arguments::Operand;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::tensor::{SavedInput, Tensor};

/// What may stand at the right of an operator.
pub trait IntoOperand {
    /// As an operand.
    fn operand(self) -> Result<Operand>;
}

impl IntoOperand for &Tensor {
    fn operand(self) -> Result<Operand> {
        Ok(Operand::Tensor(self.clone()))
    }
}

impl IntoOperand for &SavedInput {
    fn operand(self) -> Result<Operand> {
        Ok(Operand::from(self))
    }
}

impl IntoOperand for Tensor {
    fn operand(self) -> Result<Operand> {
        Ok(Operand::Tensor(self))
    }
}

impl IntoOperand for Result<Tensor> {
    fn operand(self) -> Result<Operand> {
        self.map(Operand::Tensor)
    }
}

impl IntoOperand for Operand {
    fn operand(self) -> Result<Operand> {
        Ok(self)
    }
}

impl IntoOperand for f64 {
    fn operand(self) -> Result<Operand> {
        Ok(Operand::from(self))
    }
}

impl IntoOperand for Scalar {
    fn operand(self) -> Result<Operand> {
        Ok(Operand::Number(self))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, |$a:ident, $b:ident| $body:expr) => {
        impl<R: IntoOperand> $trait<R> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: R) -> Result<Tensor> {
                let ($a, $b) = (self, other.operand()?);
                $body
            }
        }
        impl<R: IntoOperand> $trait<R> for &SavedInput {
            type Output = Result<Tensor>;
            fn $method(self, other: R) -> Result<Tensor> {
                $trait::$method(&**self, other)
            }
        }
        impl<R: IntoOperand> $trait<R> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: R) -> Result<Tensor> {
                $trait::$method(&self, other)
            }
        }
        impl $trait<&SavedInput> for f64 {
            type Output = Result<Tensor>;
            fn $method(self, other: &SavedInput) -> Result<Tensor> {
                $trait::$method(self, &**other)
            }
        }
        impl $trait<&Tensor> for f64 {
            type Output = Result<Tensor>;
            fn $method(self, other: &Tensor) -> Result<Tensor> {
                let ($a, $b) = (&Tensor::from_number(Scalar::Float(self))?, Operand::from(other));
                $body
            }
        }
    };
}

operator!(Add, add, |a, b| if let Operand::Number(b) = b { a.plus(b) } else { a.add(&b.beside(a)?) });
operator!(Sub, sub, |a, b| if let Operand::Number(b) = b { a.less(b) } else { a.sub(&b.beside(a)?) });
operator!(Mul, mul, |a, b| if let Operand::Number(b) = b { a.times(b) } else { a.mul(&b.beside(a)?) });
operator!(Div, div, |a, b| if let Operand::Number(b) = b { a.over(b) } else { a.div(&b.beside(a)?) });

impl Neg for &SavedInput {
    type Output = Result<Tensor>;
    fn neg(self) -> Result<Tensor> {
        Tensor::neg(self)
    }
}

impl Neg for &Tensor {
    type Output = Result<Tensor>;
    fn neg(self) -> Result<Tensor> {
        Tensor::neg(self)
    }
}
