//! Tensors from Python data: numbers, nested sequences, arrays.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyInt, PyList, PySequence, PyString, PyTuple, PyType,
};

use super::arguments::complex_scalar;
use super::numpy::{from_array, is_ndarray, is_numpy_scalar};
use super::options::Options;
use crate::dtype::{DType, Kind, Scalar, promote};
use crate::interpreter::Once;
use crate::layout::Shape;
use crate::ops::default_dtype;
use crate::ops::sample_values::check_item;
use crate::tensor::Tensor;

/// Deeper nesting is taken for a sequence that contains itself.
const MAX_RANK: usize = 128;

/// A new tensor with the values of `data`: always a copy, off the tape.
pub fn tensor_of(data: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Tensor> {
    if let Ok(x) = data.cast::<Tensor>() {
        let x = x.borrow().detached(false);
        return Ok(x.copied()?.to_dtype(dtype.unwrap_or(x.dtype()))?);
    }
    if is_ndarray(data)? {
        let x = from_array(data)?;
        return Ok(x.copied()?.to_dtype(dtype.unwrap_or(x.dtype()))?);
    }
    if data.is_instance_of::<PyString>() || data.is_instance_of::<PyBytes>() {
        return Err(PyTypeError::new_err(format!("new(): invalid data type '{}'", data.get_type().name()?)));
    }
    let shape = shape_of(data)?;
    let mut found = Found { values: Vec::new(), wanted: dtype, dtype: None, overflow: false };
    found.gather(data, &shape, 0)?;
    let dtype = dtype.or(found.dtype).unwrap_or_else(default_dtype);
    if found.overflow && dtype.kind() == Kind::Int {
        return Err(PyValueError::new_err("Overflow when unpacking long long"));
    }
    // Every number is true or false.
    let real = dtype != DType::Bool && !dtype.is_complex();
    if real && found.values.iter().any(|value| value.kind() == Kind::Complex) {
        return Err(PyTypeError::new_err("must be real number, not complex"));
    }
    // A float that is too large becomes infinite here.
    if dtype.kind() == Kind::Int && found.values.iter().any(|value| !value.fits(dtype)) {
        return Err(PyRuntimeError::new_err(format!("value cannot be converted to type {dtype} without overflow")));
    }
    Ok(crate::dispatch_all!(dtype, "tensor", T => {
        let values: Vec<T> = found.values.iter().map(|value| value.to()).collect();
        Tensor::from_slice::<T>(&shape, &values)
    })?)
}

fn is_sequence(ob: &Bound<'_, PyAny>) -> bool {
    // SAFETY: any object may be asked.
    ob.is_instance_of::<PyList>() || ob.is_instance_of::<PyTuple>() || unsafe { ffi::PySequence_Check(ob.as_ptr()) != 0 }
}

/// The sizes, as the first elements show them.
fn shape_of(data: &Bound<'_, PyAny>) -> PyResult<Shape> {
    let mut shape = Shape::new();
    let mut ob = data.clone();
    while !ob.is_instance_of::<Tensor>() && is_sequence(&ob) {
        if ob.is_instance_of::<PyString>() || ob.is_instance_of::<PyBytes>() || shape.len() > MAX_RANK {
            return Err(PyValueError::new_err(format!("too many dimensions '{}'", ob.get_type().name()?)));
        }
        if is_ndarray(&ob)? && ob.getattr("ndim")?.extract::<usize>()? == 0 {
            break;
        }
        let size = ob.len()?;
        shape.push(size);
        if size == 0 {
            break;
        }
        ob = ob.get_item(0)?;
    }
    Ok(shape)
}

/// The numbers in a nested sequence, and what they promote to.
struct Found {
    values: Vec<Scalar>,
    /// The dtype asked for.
    wanted: Option<DType>,
    dtype: Option<DType>,
    /// Whether an integer among them needs more than 64 bits.
    overflow: bool,
}

impl Found {
    fn add(&mut self, value: Scalar, dtype: DType) {
        self.values.push(value);
        if self.dtype != Some(dtype) {
            self.dtype = Some(self.dtype.map_or(dtype, |seen| promote(seen, dtype)));
        }
    }

    /// Adds what is in `ob`, which is `depth` sequences deep.
    fn gather(&mut self, ob: &Bound<'_, PyAny>, shape: &[usize], depth: usize) -> PyResult<()> {
        let Some(&size) = shape.get(depth) else {
            let (value, dtype) = element(ob, self.wanted)?;
            // All integers of more bits are kept as floats.
            self.overflow |= dtype == DType::I64 && value.kind() == Kind::Float;
            self.add(value, dtype);
            return Ok(());
        };
        if let Ok(list) = ob.cast::<PyList>() {
            check_length(list.len(), size, depth)?;
            return list.iter().take(size).try_for_each(|item| self.gather(&item, shape, depth + 1));
        }
        if let Ok(tuple) = ob.cast::<PyTuple>() {
            check_length(tuple.len(), size, depth)?;
            return tuple.iter().take(size).try_for_each(|item| self.gather(&item, shape, depth + 1));
        }
        if ob.is_instance_of::<Tensor>() || !is_sequence(ob) {
            return Err(PyTypeError::new_err("not a sequence"));
        }
        if depth > 0 && is_ndarray(ob)? {
            static ARRAYS: Once = Once::new(
                c"Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the list to a single \
                numpy.ndarray with numpy.array() before converting to a tensor.",
            );
            ARRAYS.warn()?;
        }
        check_length(ob.len()?, size, depth)?;
        (0..size).try_for_each(|i| self.gather(&ob.get_item(i)?, shape, depth + 1))
    }
}

fn check_length(found: usize, size: usize, depth: usize) -> PyResult<()> {
    // Torch never looks into what should be empty.
    if size == 0 || found == size {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("expected sequence of length {size} at dim {depth} (got {found})")))
}

/// One number and the dtype it would have by itself. What is none becomes one if `wanted` is a float dtype and Python's `float`
/// knows how.
fn element(ob: &Bound<'_, PyAny>, wanted: Option<DType>) -> PyResult<(Scalar, DType)> {
    if ob.is_exact_instance_of::<PyFloat>() {
        return Ok((Scalar::Float(ob.extract()?), default_dtype()));
    }
    if ob.is_instance_of::<PyBool>() {
        return Ok((Scalar::Bool(ob.extract()?), DType::Bool));
    }
    if ob.is_instance_of::<PyInt>() {
        let value = match ob.extract::<i64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(ob.py()) => {
                Scalar::Float(ob.extract().unwrap_or(f64::INFINITY))
            }
            value => Scalar::Int(value?),
        };
        return Ok((value, DType::I64));
    }
    if let Ok(x) = ob.cast::<Tensor>() {
        let x = x.borrow();
        if x.numel() != 1 && !x.dtype().is_inexact() {
            return Err(PyTypeError::new_err("only integer tensors of a single element can be converted to an index"));
        }
        if x.numel() != 1 {
            return Err(PyValueError::new_err("only one element tensors can be converted to Python scalars"));
        }
        check_item(&x)?;
        return Ok((x.scalar()?, x.dtype()));
    }
    if is_numpy_scalar(ob)? {
        let x = from_array(&ob.py().import("numpy")?.getattr("asarray")?.call1((ob,))?)?;
        return Ok((x.scalar()?, x.dtype()));
    }
    if is_ndarray(ob)? {
        let x = from_array(ob)?;
        return Ok((x.scalar()?, x.dtype()));
    }
    if ob.is_instance_of::<PyFloat>() {
        return Ok((Scalar::Float(ob.extract()?), default_dtype()));
    }
    if let Ok(z) = ob.cast::<PyComplex>() {
        return Ok((complex_scalar(z), default_dtype().to_complex()));
    }
    let name = ob.get_type().name()?;
    if ob.is_instance_of::<PyString>() || ob.is_instance_of::<PyBytes>() {
        return Err(PyTypeError::new_err(format!("new(): invalid data type '{name}'")));
    }
    if ob.cast::<PySequence>().is_ok() || ob.is_instance_of::<PyByteArray>() {
        return Err(PyTypeError::new_err(format!("'{name}' object cannot be interpreted as a number")));
    }
    match wanted.map(DType::kind) {
        None => Err(PyRuntimeError::new_err(format!("Could not infer dtype of {name}"))),
        Some(Kind::Bool | Kind::Int) => Err(PyTypeError::new_err(format!("'{name}' object cannot be interpreted as an integer"))),
        Some(Kind::Float | Kind::Complex) => match ob.call_method0("__float__") {
            Ok(value) if !ob.is_instance_of::<PyType>() => Ok((Scalar::Float(value.extract()?), default_dtype())),
            _ => Err(PyTypeError::new_err(format!("must be real number, not {name}"))),
        },
    }
}

/// A new tensor with the values of `data`: a number, a nested sequence of numbers, an array or a tensor. Always a copy.
///
/// Dtype: as given, else that of the array or tensor; Python's floats become the default float, ints int64, bools bool.
/// Raises: ValueError for ragged sequences, TypeError and RuntimeError for what is no number.
#[pyfunction]
#[pyo3(signature = (data, **options))]
pub fn tensor<'py>(data: &Bound<'py, PyAny>, options: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, Tensor>> {
    let options = Options::parse_only("tensor", options, &["dtype", "device", "requires_grad", "pin_memory"])?;
    warn_of_tensor(data, "tensor(sourceTensor)")?;
    let x = tensor_of(data, options.dtype)?;
    leaf_object(data.py(), x, options.requires_grad)
}

/// Warns that a tensor is copied by way of a constructor.
pub fn warn_of_tensor(data: &Bound<'_, PyAny>, call: &str) -> PyResult<()> {
    if !data.is_instance_of::<Tensor>() {
        return Ok(());
    }
    let text = std::ffi::CString::new(format!(
        "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or \
         sourceTensor.detach().clone().requires_grad_(True), rather than {call}."
    ))?;
    PyErr::warn(data.py(), &data.py().get_type::<PyUserWarning>(), &text, 1)
}

/// A fresh tensor as a leaf that asks for a gradient, or not, and that can be found from the graph.
pub fn leaf_object(py: Python<'_>, x: Tensor, requires_grad: bool) -> PyResult<Bound<'_, Tensor>> {
    let object = Bound::new(py, leaf(x, requires_grad)?)?;
    if requires_grad {
        let meta = object.borrow().meta_or_new();
        super::autograd::remember(&object, &meta)?;
    }
    Ok(object)
}

/// A fresh tensor as a leaf that asks for a gradient, or not.
pub fn leaf(x: Tensor, requires_grad: bool) -> PyResult<Tensor> {
    if !requires_grad {
        return Ok(x);
    }
    if !x.dtype().is_inexact() {
        return Err(PyRuntimeError::new_err("Only Tensors of floating point and complex dtype can require gradients"));
    }
    x.check_may_require()?;
    let x = x.with_meta(crate::tape::Meta::leaf(true));
    x.note_layout(false);
    Ok(x)
}
