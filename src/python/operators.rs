//! Python's operators, each the op that torch gives it, and its reflected and in-place forms.
//!
//! What is neither a tensor nor a number is answered with `NotImplemented`, so Python may ask the other operand. Classes may override
//! them all (`overrides.rs`); the names are those of the methods that torch's classes are asked about.

// PyO3 writes wrappers for the operators; in a macro of ours the compiler takes their code for ours.
#![allow(unsafe_op_in_unsafe_fn)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::{Borrowed, FromPyObject};

use super::numpy::{from_array, is_ndarray};
use super::overrides::{ask_method, ask_stranger, is_overriding, possible};
use crate::dtype::Kind;
use crate::error::{Error, Result};
use crate::ops::arguments::Operand;
use crate::tape::view::in_place;
use crate::tensor::Tensor;

/// The operand of an operator. A failure other than a TypeError is kept for the op to report: told of it at once, Python would ask
/// the other side.
struct Number(Result<Operand>);

/// The same for `==`, which alone compares with a numpy array, too, as in torch.
struct NumberOrArray(Result<Operand>);

impl<'a, 'py> FromPyObject<'a, 'py> for Number {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Number> {
        match ob.extract::<Operand>() {
            Err(error) if error.is_instance_of::<PyTypeError>(ob.py()) => Err(error),
            operand => Ok(Number(operand.map_err(Error::from))),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for NumberOrArray {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<NumberOrArray> {
        match ob.extract::<Number>() {
            Err(error) if !is_ndarray(&ob)? => Err(error),
            Err(_) => from_array(&ob).map(|array| NumberOrArray(Ok(Operand::Tensor(array)))),
            Ok(other) => Ok(NumberOrArray(other.0)),
        }
    }
}

/// What an operator that assigns finds on its other side. Whether that is an operand must be known before the operator runs: else
/// Python asks the other side.
enum OtherSide<'py> {
    /// An operand; the object that it was, if it is to be asked whether its class overrides the operator.
    Operand(Number, Option<Bound<'py, PyAny>>),
    /// What is none but has a class that overrides.
    Stranger(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for OtherSide<'py> {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match ob.extract() {
            Ok(operand) => Ok(OtherSide::Operand(operand, possible().then(|| ob.to_owned()))),
            Err(_) if is_overriding(ob) => Ok(OtherSide::Stranger(ob.to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// `x op= other`, unless a class overrides the method of this name; Python keeps `x`, whatever that answers.
#[inline(always)]
fn assigning<'py>(
    name: &str,
    x: &Bound<'py, Tensor>,
    other: OtherSide<'py>,
    op: impl FnOnce(&Tensor, Result<Operand>) -> Result<()>,
) -> PyResult<()> {
    let (operand, object) = match other {
        OtherSide::Operand(other, None) => return Ok(op(&*x.try_borrow()?, other.0)?),
        OtherSide::Operand(operand, Some(object)) => (Some(operand), object),
        OtherSide::Stranger(object) => (None, object),
    };
    match (ask_method(name, &[x.as_any().as_borrowed(), object.as_borrowed()])?, operand) {
        (Some(_), _) => Ok(()),
        (None, Some(operand)) => Ok(op(&*x.try_borrow()?, operand.0)?),
        (None, None) => Err(PyTypeError::new_err(format!("{name}: unsupported operand of {}", object.get_type()))),
    }
}

fn not_implemented(py: Python<'_>) -> Bound<'_, PyAny> {
    py.NotImplemented().into_bound(py)
}

/// `x op other`, unless a class overrides the method of this name. `NotImplemented` if the other is no operand.
#[inline(always)]
fn binary<'py, T: for<'a> FromPyObject<'a, 'py>>(
    name: &str,
    x: &Bound<'py, Tensor>,
    other: &Bound<'py, PyAny>,
    op: impl FnOnce(&Tensor, T) -> Result<Tensor>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = x.py();
    let args = [x.as_any().as_borrowed(), other.as_borrowed()];
    let answer = match ask_method(name, &args) {
        Ok(None) => match other.extract() {
            Ok(other) => return Ok(Bound::new(py, op(&*x.try_borrow()?, other)?)?.into_any()),
            Err(_) => ask_stranger(PyTypeError::new_err(""), name, &args),
        },
        Ok(Some(answer)) => Ok(answer),
        Err(error) => Err(error),
    };
    match answer {
        // The other side may know what to do.
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(not_implemented(py)),
        answer => answer,
    }
}

/// What an operator of one operand gives, unless a class overrides the method of this name.
fn unary<'py>(name: &str, x: &Bound<'py, Tensor>, op: impl FnOnce(&Tensor) -> Result<Tensor>) -> PyResult<Bound<'py, PyAny>> {
    if let Some(answer) = ask_method(name, &[x.as_any().as_borrowed()])? {
        return Ok(answer);
    }
    Ok(Bound::new(x.py(), op(&*x.try_borrow()?)?)?.into_any())
}

/// An operator `|a, b|` as `a op b`, as `b op a` with the operands exchanged, and as `a op= b`; each has a name for itself and one for
/// classes that override it.
macro_rules! binary_operators {
    ($($name:ident $known:literal $reflected:ident $r_known:literal $in_place:ident $i_known:literal |$a:ident, $b:ident| $body:expr;)+) => {
        #[pymethods]
        impl Tensor {$(
            fn $name<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                binary($known, slf, other, |$a, other: Number| {
                    let $b = &other.0?.beside($a)?;
                    $body
                })
            }

            fn $reflected<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                binary($r_known, slf, other, |$b, other: Number| {
                    let $a = &other.0?.beside($b)?;
                    $body
                })
            }

            fn $in_place<'py>(slf: &Bound<'py, Self>, other: OtherSide<'py>) -> PyResult<()> {
                assigning($i_known, slf, other, |x, other| {
                    let other = other?;
                    let on_tape = other.requires_grad();
                    other.check_overlap(x)?;
                    let $b = &other.beside(x)?;
                    in_place(stringify!($in_place), x, on_tape, |$a| $body)
                })
            }
        )+}
    };
}

binary_operators! {
    __add__ "add" __radd__ "add" __iadd__ "add_" |a, b| if a.is_number() { b.add(a) } else { a.add(b) };
    __sub__ "sub" __rsub__ "__rsub__" __isub__ "sub_" |a, b| a.sub_or_rsub(b);
    __mul__ "mul" __rmul__ "mul" __imul__ "mul_" |a, b| if a.is_number() { b.mul(a) } else { a.mul(b) };
    __floordiv__ "__floordiv__" __rfloordiv__ "__rfloordiv__" __ifloordiv__ "floor_divide_" |a, b| a.floor_divide(b.into());
    __mod__ "remainder" __rmod__ "__rmod__" __imod__ "remainder_" |a, b| a.remainder(b.into());
    __and__ "__and__" __rand__ "bitwise_and" __iand__ "__iand__" |a, b| a.bitwise_and(b.into());
    __or__ "__or__" __ror__ "bitwise_or" __ior__ "__ior__" |a, b| a.bitwise_or(b.into());
    __xor__ "__xor__" __rxor__ "bitwise_xor" __ixor__ "__ixor__" |a, b| a.bitwise_xor(b.into());
    __lshift__ "__lshift__" __rlshift__ "__rlshift__" __ilshift__ "__ilshift__" |a, b| a.bitwise_left_shift(b.into());
    __rshift__ "__rshift__" __rrshift__ "__rrshift__" __irshift__ "__irshift__" |a, b| a.bitwise_right_shift(b.into());
}

fn divided(x: &Tensor, by: Number) -> Result<Tensor> {
    x.div(&by.0?.into_float().beside(x)?)
}

fn divide_in_place(x: &Tensor, by: Result<Operand>) -> Result<()> {
    let by = by?;
    by.check_overlap(x)?;
    let b = &by.into_float().beside(x)?;
    in_place("__idiv__", x, b.requires_grad(), |a| a.div(b))
}

/// The other times the reciprocal, as in torch, to the last bit.
fn dividing(x: &Tensor, other: Number) -> Result<Tensor> {
    let reciprocal = x.reciprocal()?;
    reciprocal.mul(&other.0?.into_float().beside(&reciprocal)?)
}

#[pymethods]
impl Tensor {
    fn __div__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("div", slf, other, divided)
    }

    fn __rdiv__(&self, other: Number) -> Result<Tensor> {
        dividing(self, other)
    }

    fn __idiv__<'py>(slf: Bound<'py, Self>, other: Number) -> Result<Bound<'py, Self>> {
        divide_in_place(&slf.borrow(), other.0)?;
        Ok(slf)
    }

    fn __truediv__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("div", slf, other, divided)
    }

    fn __itruediv__<'py>(slf: &Bound<'py, Self>, other: OtherSide<'py>) -> PyResult<()> {
        assigning("div_", slf, other, divide_in_place)
    }

    /// A numpy array over a tensor is the reciprocal times the array, which numpy computes.
    fn __rtruediv__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let answer = binary("__rdiv__", slf, other, dividing)?;
        let array = answer.is(not_implemented(slf.py())) && other.hasattr(pyo3::intern!(slf.py(), "__array_struct__"))?;
        if array { slf.call_method0("reciprocal")?.mul(other) } else { Ok(answer) }
    }

    fn __pow__<'py>(
        slf: &Bound<'py, Self>,
        exponent: &Bound<'py, PyAny>,
        modulo: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        refuse_modulo(modulo)?;
        binary("pow", slf, exponent, |x, exponent: Number| x.pow(exponent.0?))
    }

    fn __rpow__<'py>(
        slf: &Bound<'py, Self>,
        base: &Bound<'py, PyAny>,
        modulo: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        refuse_modulo(modulo)?;
        binary("__rpow__", slf, base, |x, base: Number| base.0?.beside(x)?.pow(x.into()))
    }

    fn __ipow__<'py>(slf: &Bound<'py, Self>, exponent: OtherSide<'py>, modulo: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        refuse_modulo(modulo)?;
        assigning("pow_", slf, exponent, |x, exponent| {
            let exponent = exponent?;
            exponent.check_overlap(x)?;
            in_place("__ipow__", x, exponent.requires_grad(), |x| x.pow(exponent))
        })
    }

    fn __matmul__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("matmul", slf, other, |x, other: Bound<'py, Tensor>| x.matmul(&other.borrow()))
    }

    fn __rmatmul__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("__rmatmul__", slf, other, |x, other: Bound<'py, Tensor>| other.borrow().matmul(x))
    }

    fn __neg__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        unary("neg", slf, Tensor::neg)
    }

    fn __pos__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        match ask_method("positive", &[slf.as_any().as_borrowed()])? {
            Some(answer) => Ok(answer),
            None => Ok(Tensor::positive(slf.clone())?.into_any()),
        }
    }

    fn __abs__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        unary("abs", slf, Tensor::abs)
    }

    fn __invert__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        unary("__invert__", slf, |x| {
            if x.dtype().kind() == Kind::Float {
                return Err(Error::Type(format!("~ is only implemented on integer and bool tensors, not on {}", x.dtype())));
            }
            x.bitwise_not()
        })
    }

    fn __eq__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("__eq__", slf, other, |x, other: NumberOrArray| x.eq(other.0?))
    }

    fn __ne__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("ne", slf, other, |x, other: Number| x.ne(other.0?))
    }

    fn __lt__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("lt", slf, other, |x, other: Number| x.lt(other.0?))
    }

    fn __le__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("le", slf, other, |x, other: Number| x.le(other.0?))
    }

    fn __gt__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("gt", slf, other, |x, other: Number| x.gt(other.0?))
    }

    fn __ge__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary("ge", slf, other, |x, other: Number| x.ge(other.0?))
    }
}

fn refuse_modulo(modulo: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    match modulo {
        Some(_) => Err(PyTypeError::new_err("pow: a third argument, the modulus, is not supported for tensors")),
        None => Ok(()),
    }
}
