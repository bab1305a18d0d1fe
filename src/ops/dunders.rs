//! Python's operators, each the op that torch gives it, and its reflected and in-place forms.
//!
//! What is neither a tensor nor a number is answered with `NotImplemented`, so Python may ask the other operand.

// PyO3 writes wrappers for the operators; in a macro of ours the compiler takes their code for ours.
#![allow(unsafe_op_in_unsafe_fn)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::arguments::{OtherSide, OtherSideOrArray};
use crate::dtype::Kind;
use crate::error::{Error, Result};
use crate::tape::view::in_place;
use crate::tensor::Tensor;

/// `op(a, b) => expression`, as `a op b`, as `b op a` with the operands exchanged, and as `a op= b`.
macro_rules! binary_operators {
    ($($name:ident $reflected:ident $in_place:ident |$a:ident, $b:ident| $body:expr;)+) => {
        #[pymethods]
        impl Tensor {$(
            fn $name(&self, other: OtherSide) -> Result<Tensor> {
                let ($a, $b) = (self, &other.0?.beside(self)?);
                $body
            }

            fn $reflected(&self, other: OtherSide) -> Result<Tensor> {
                let ($a, $b) = (&other.0?.beside(self)?, self);
                $body
            }

            fn $in_place(&self, other: OtherSide) -> Result<()> {
                let other = other.0?;
                let on_tape = other.requires_grad();
                other.check_overlap(self)?;
                let $b = &other.beside(self)?;
                in_place(stringify!($in_place), self, on_tape, |$a| $body)
            }
        )+}
    };
}

binary_operators! {
    __add__ __radd__ __iadd__ |a, b| if a.is_number() { b.add(a) } else { a.add(b) };
    __sub__ __rsub__ __isub__ |a, b| a.sub_or_rsub(b);
    __mul__ __rmul__ __imul__ |a, b| if a.is_number() { b.mul(a) } else { a.mul(b) };
    __floordiv__ __rfloordiv__ __ifloordiv__ |a, b| a.floor_divide(b.into());
    __mod__ __rmod__ __imod__ |a, b| a.remainder(b.into());
    __and__ __rand__ __iand__ |a, b| a.bitwise_and(b.into());
    __or__ __ror__ __ior__ |a, b| a.bitwise_or(b.into());
    __xor__ __rxor__ __ixor__ |a, b| a.bitwise_xor(b.into());
    __lshift__ __rlshift__ __ilshift__ |a, b| a.bitwise_left_shift(b.into());
    __rshift__ __rrshift__ __irshift__ |a, b| a.bitwise_right_shift(b.into());
}

#[pymethods]
impl Tensor {
    fn __div__(&self, other: OtherSide) -> Result<Tensor> {
        self.div(&other.0?.into_float().beside(self)?)
    }

    /// The other times the reciprocal, as in torch, to the last bit.
    fn __rdiv__(&self, other: OtherSide) -> Result<Tensor> {
        let reciprocal = self.reciprocal()?;
        reciprocal.mul(&other.0?.into_float().beside(&reciprocal)?)
    }

    fn __idiv__<'py>(slf: Bound<'py, Self>, other: OtherSide) -> Result<Bound<'py, Self>> {
        slf.borrow().__itruediv__(other)?;
        Ok(slf)
    }

    fn __truediv__(&self, other: OtherSide) -> Result<Tensor> {
        self.__div__(other)
    }

    fn __itruediv__(&self, other: OtherSide) -> Result<()> {
        let other = other.0?;
        other.check_overlap(self)?;
        let b = &other.into_float().beside(self)?;
        in_place("__idiv__", self, b.requires_grad(), |a| a.div(b))
    }

    /// A numpy array over a tensor is the reciprocal times the array, which numpy computes.
    fn __rtruediv__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        match other.extract::<OtherSide>() {
            Ok(other) => Ok(Bound::new(py, self.__rdiv__(other)?)?.into_any()),
            Err(_) if other.hasattr(pyo3::intern!(py, "__array_struct__"))? => Bound::new(py, self.reciprocal()?)?.mul(other),
            Err(_) => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    fn __pow__(&self, exponent: OtherSide, modulo: Option<Bound<'_, PyAny>>) -> PyResult<Tensor> {
        refuse_modulo(modulo)?;
        Ok(self.pow(exponent.0?)?)
    }

    fn __rpow__(&self, base: OtherSide, modulo: Option<Bound<'_, PyAny>>) -> PyResult<Tensor> {
        refuse_modulo(modulo)?;
        Ok(base.0?.beside(self)?.pow(self.into())?)
    }

    fn __ipow__(&self, exponent: OtherSide, modulo: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        refuse_modulo(modulo)?;
        let exponent = exponent.0?;
        exponent.check_overlap(self)?;
        Ok(in_place("__ipow__", self, exponent.requires_grad(), |x| x.pow(exponent))?)
    }

    fn __neg__(&self) -> Result<Tensor> {
        self.neg()
    }

    fn __pos__(&self) -> Result<Tensor> {
        self.positive()
    }

    fn __abs__(&self) -> Result<Tensor> {
        self.abs()
    }

    fn __invert__(&self) -> Result<Tensor> {
        if self.dtype().kind() == Kind::Float {
            return Err(Error::Type(format!("~ is only implemented on integer and bool tensors, not on {}", self.dtype())));
        }
        self.bitwise_not()
    }

    fn __eq__(&self, other: OtherSideOrArray) -> Result<Tensor> {
        self.eq(other.0?)
    }

    fn __ne__(&self, other: OtherSide) -> Result<Tensor> {
        self.ne(other.0?)
    }

    fn __lt__(&self, other: OtherSide) -> Result<Tensor> {
        self.lt(other.0?)
    }

    fn __le__(&self, other: OtherSide) -> Result<Tensor> {
        self.le(other.0?)
    }

    fn __gt__(&self, other: OtherSide) -> Result<Tensor> {
        self.gt(other.0?)
    }

    fn __ge__(&self, other: OtherSide) -> Result<Tensor> {
        self.ge(other.0?)
    }
}

fn refuse_modulo(modulo: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    match modulo {
        Some(_) => Err(PyTypeError::new_err("pow: a third argument, the modulus, is not supported for tensors")),
        None => Ok(()),
    }
}
