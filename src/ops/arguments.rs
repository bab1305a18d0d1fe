//! What ops take besides tensors. How Python objects become these is in `python/arguments.rs`.

use std::ffi::CString;
use std::sync::atomic::AtomicBool;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;

use crate::dtype::{DType, Kind, Scalar};
use crate::error::{Error, Result};
use crate::interpreter::is_repeated;
use crate::layout::{Shape, Strides, contiguous_strides};
use crate::runtime_error;
use crate::tensor::{SavedInput, Tensor};

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

    /// As a tensor to be combined with `x`: a number gets the dtype of `x` where that is how it promotes.
    pub fn beside(self, x: &Tensor) -> Result<Tensor> {
        match self {
            // Bools stay what they are: some ops refuse them. So do integers out of range: a quotient would not be theirs.
            Operand::Number(value)
                if value.kind() != Kind::Bool
                    && value.kind() <= x.dtype().kind()
                    && !x.is_number()
                    && value.is_exact_in(x.dtype()) =>
            {
                Tensor::from_number_as(value, x.dtype())
            }
            Operand::Number(Scalar::UInt(value)) if x.dtype() == DType::Bool => {
                runtime_error!("the number {value} does not fit in int64, which it is to be combined with bools in")
            }
            other => other.tensor(),
        }
    }

    /// The same, but integers too large for int64 as floats: for ops that are computed in floats.
    pub(crate) fn into_float(self) -> Operand {
        match self {
            Operand::Number(value @ Scalar::UInt(_)) => Operand::Number(Scalar::Float(value.to_f64())),
            other => other,
        }
    }

    /// As a tensor; see [`Operand::tensor`].
    pub(crate) fn as_tensor(&self) -> Result<Tensor> {
        self.clone().tensor()
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<Scalar> {
        match self {
            Operand::Number(value) => Some(*value),
            Operand::Tensor(_) => None,
        }
    }

    /// Whether it is complex.
    pub fn is_complex(&self) -> bool {
        match self {
            Operand::Number(value) => value.kind() == Kind::Complex,
            Operand::Tensor(x) => x.dtype().is_complex(),
        }
    }

    /// Whether it is a tensor on the tape.
    pub fn requires_grad(&self) -> bool {
        matches!(self, Operand::Tensor(tensor) if tensor.requires_grad())
    }

    /// This, in memory of its own if it shares that of `x`, which is to be written to.
    pub fn apart_from(self, x: &Tensor) -> Result<Operand> {
        match self {
            Operand::Tensor(value) if value.storage().same(x.storage()) => Ok(value.copied()?.with_meta_of(&value).into()),
            other => Ok(other),
        }
    }

    /// Fails if it is a tensor that shares part of the memory of `x`, which is to be written to.
    pub fn check_overlap(&self, x: &Tensor) -> Result<()> {
        match self {
            Operand::Tensor(tensor) => tensor.check_overlap(x),
            Operand::Number(_) => Ok(()),
        }
    }
}

/// Whether something is true to Python, where torch writes `if flag`.
#[derive(Clone, Copy)]
pub struct Truth(pub bool);

impl Scalar {
    /// This number for use with a dtype: a complex one has no use with a real dtype, nor one out of range.
    pub(crate) fn for_use_with(self, op: &str, dtype: DType) -> Result<Scalar> {
        if matches!(self, Scalar::Complex(v) if v.im != 0.0) && !dtype.is_complex() {
            return runtime_error!("{op}: the value {self} cannot be converted to type {dtype} without overflow");
        }
        if dtype != DType::Bool {
            super::power::check_in_range(self, dtype)?;
        }
        Ok(self)
    }
}

impl Tensor {
    /// Itself: what takes an [`Operand`] or a tensor reads both the same way.
    pub(crate) fn as_tensor(&self) -> Result<Tensor> {
        Ok(self.clone())
    }
}

impl From<Scalar> for Operand {
    fn from(value: Scalar) -> Operand {
        Operand::Number(value)
    }
}

impl From<&Tensor> for Operand {
    fn from(tensor: &Tensor) -> Operand {
        Operand::Tensor(tensor.clone())
    }
}

impl From<&SavedInput> for Operand {
    fn from(saved: &SavedInput) -> Operand {
        Operand::from(&**saved)
    }
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Operand {
        Operand::Tensor(tensor)
    }
}

impl From<f64> for Operand {
    fn from(value: f64) -> Operand {
        Operand::Number(Scalar::Float(value))
    }
}

/// What in-place forms ask of an operand, for one that may be missing.
pub trait Optional {
    /// See [`Operand::requires_grad`].
    fn requires_grad(&self) -> bool;
    /// See [`Operand::check_overlap`].
    fn check_overlap(&self, x: &Tensor) -> Result<()>;
}

impl Optional for Option<Operand> {
    fn check_overlap(&self, x: &Tensor) -> Result<()> {
        self.as_ref().map_or(Ok(()), |operand| operand.check_overlap(x))
    }

    fn requires_grad(&self) -> bool {
        self.as_ref().is_some_and(Operand::requires_grad)
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

/// Dims, or None for all of them, as they were given; `DimsGiven(None)` if nothing was.
pub struct DimsGiven(pub Option<Option<Dims>>);

impl DimsGiven {
    /// The dims for an op that needs to be told them (be it None) if it is told of `keepdim`.
    pub fn needed_by(self, op: &str, keepdim: Option<bool>) -> Result<Option<Dims>> {
        match (self.0, keepdim) {
            (Some(dims), _) => Ok(dims),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(Error::Type(format!("{op}(): received an invalid combination of arguments: keepdim without dim")))
            }
        }
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
        indices.note_sample_of(values.sample_of());
        Pair { name, first: values, second: indices }
    }
}

/// Several results that Python sees as one of `ferrograd.return_types`.
pub struct Named {
    /// The name of that type; a plain tuple if it is empty.
    pub name: &'static str,
    /// Its fields.
    pub items: Vec<Tensor>,
}

impl Named {
    /// Results under the names of a type.
    pub fn new(name: &'static str, items: impl Into<Vec<Tensor>>) -> Named {
        Named { name, items: items.into() }
    }
}

/// What `max` and `min` answer.
pub enum Extremum {
    /// A tensor.
    One(Tensor),
    /// Values and indices.
    Two(Pair),
}

/// Sizes (or dims) given one by one or as a sequence, or by keyword instead.
#[derive(Clone, Debug, Default)]
pub struct Sizes(pub Option<Dims>);

impl Sizes {
    /// What was given, once.
    pub fn or(self, named: Option<Dims>, op: &str, name: &str) -> Result<Dims> {
        match (self.0, named) {
            (Some(sizes), None) | (None, Some(sizes)) => Ok(sizes),
            (None, None) => Err(Error::Type(format!("{op}: missing argument '{name}'"))),
            (Some(_), Some(_)) => Err(Error::Type(format!("{op}: argument '{name}' was given twice"))),
        }
    }

    /// What was given, if anything was.
    pub fn or_given(&self, named: &Given<Dims>, op: &str) -> Result<Given<Dims>> {
        match (&self.0, &named.0) {
            (None, named) => Ok(Given(named.clone())),
            (Some(sizes), None) => Ok(Given(Some(sizes.clone()))),
            (Some(_), Some(_)) => Err(Error::Type(format!("{op}: argument 'dim' was given twice"))),
        }
    }
}

/// What `view` is asked for.
#[derive(Clone, Debug)]
pub enum ViewAs {
    /// Another shape.
    Shape(Dims),
    /// Another dtype of the same bytes.
    DType(DType),
    /// Nothing; the keyword arguments say it.
    Nothing,
}

/// One whole number, or several.
#[derive(Clone, Debug)]
pub enum IntOrInts {
    /// One.
    Int(isize),
    /// Several.
    Ints(Dims),
}

/// Some tensors, given one by one or as a sequence.
#[derive(Clone)]
pub struct Tensors(pub Vec<Tensor>, /** Whether they came as a sequence. */ pub bool);

/// The same, for ops that may answer with the very tensors they are given.
pub struct Objects<'py>(pub Vec<Bound<'py, Tensor>>, /** Whether they came as a sequence. */ pub bool);

impl<'py> Objects<'py> {
    /// The tensors.
    pub fn tensors(&self) -> Tensors {
        Tensors(self.0.iter().map(|object| object.borrow().clone()).collect(), self.1)
    }

    /// A tuple of the results: of one that is a given tensor, its object.
    pub fn or_new(&self, py: Python<'py>, results: Vec<Tensor>) -> PyResult<Bound<'py, PyTuple>> {
        let objects = self.0.iter().zip(results).map(|(object, result)| {
            let same = object.borrow().is_handle_of(&result);
            if same { Ok(object.clone()) } else { Bound::new(py, result) }
        });
        PyTuple::new(py, objects.collect::<PyResult<Vec<_>>>()?)
    }
}

/// Some tensors as a result: a tuple in Python.
pub struct Several(pub Vec<Tensor>);

/// One tensor or several as a result.
#[derive(pyo3::IntoPyObject)]
pub enum OneOrSeveral {
    /// One, as itself.
    One(Tensor),
    /// Several, as a tuple.
    Several(Several),
}

/// A whole number. Python's bools are ints, but are refused here.
#[derive(Clone, Copy)]
pub struct Whole(pub isize);

/// An argument that may be left out, but may not be None.
pub struct Given<T>(pub Option<T>);

/// Some shapes.
pub struct Shapes(pub Vec<Dims>);

/// Zeros around the input of a convolution.
#[derive(Clone)]
pub enum Padding {
    /// As many as these.
    Sizes(Dims),
    /// None.
    Valid,
    /// As many as keep the size.
    Same,
}

/// A tuple or list of ints, where one int does not do.
pub struct IntList(pub Dims);

/// A tuple or list of ints, or one int for two.
pub struct IntPair(pub Dims);

/// In which order the elements of a tensor lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryFormat {
    /// Row-major.
    Contiguous,
    /// As in the input, if its elements fill their memory.
    Preserve,
    /// The dims N, C, H, W stored as N, H, W, C.
    ChannelsLast,
    /// The dims N, C, D, H, W stored as N, D, H, W, C.
    ChannelsLast3d,
}

impl MemoryFormat {
    /// The strides of a tensor in this format; none are asked for by `Preserve`.
    pub fn strides(self, op: &str, shape: &[usize]) -> Result<Option<Strides>> {
        let (rank, name) = match self {
            MemoryFormat::Preserve => return Ok(None),
            MemoryFormat::Contiguous => return Ok(Some(contiguous_strides(shape))),
            MemoryFormat::ChannelsLast => (4, "channels_last"),
            MemoryFormat::ChannelsLast3d => (5, "channels_last_3d"),
        };
        if shape.len() != rank {
            return Err(Error::Runtime(format!("{op}: required rank {rank} tensor to use {name} format, got {}", shape.len())));
        }
        let mut moved = Shape::from_slice(shape);
        let channels = moved.remove(1);
        moved.push(channels);
        let mut strides = contiguous_strides(&moved);
        if let Some(stride) = strides.pop() {
            strides.insert(1, stride);
        }
        Ok(Some(strides))
    }
}

/// The kind of a norm: its exponent, or a name.
pub enum Order {
    /// An exponent.
    Number(Scalar),
    /// `fro` or `nuc`.
    Name(String),
}

/// Warns, once in a program, of factors that stand before the tensors, as in torch's first years.
pub fn warn_of_factors_first(op: &str) -> Result<()> {
    static GIVEN: AtomicBool = AtomicBool::new(false);
    if is_repeated(&GIVEN) {
        return Ok(());
    }
    let text = format!("This overload of {op} is deprecated: factors are given as keywords, after the tensors.");
    crate::interpreter::warn(&CString::new(text).unwrap_or_default())
}
