//! What a tensor is: dtype, sizes, strides, memory; and its elements as Python numbers.

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyComplex, PyFloat, PyInt, PyList, PyTuple};

use super::overrides::ask_method;
use super::size::size_object;
use crate::dtype::{DType, Element, Kind, Scalar};
use crate::interpreter::Once;
use crate::layout::normalize_dim;
use crate::ops::sample_values::{check_item, check_memory, check_truth};
use crate::storage::Access;
use crate::tape::mode::is_recording;
use crate::tensor::Tensor;

impl<'py> IntoPyObject<'py> for Scalar {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Scalar::Bool(v) => PyBool::new(py, v).to_owned().into_any(),
            Scalar::Int(v) => v.into_pyobject(py)?.into_any(),
            Scalar::UInt(v) => v.into_pyobject(py)?.into_any(),
            Scalar::Float(v) => PyFloat::new(py, v).into_any(),
            Scalar::Complex(v) => PyComplex::from_doubles(py, v.re, v.im).into_any(),
        })
    }
}

#[pymethods]
impl Tensor {
    /// The type of the elements.
    #[getter(dtype)]
    fn py_dtype(&self) -> DType {
        self.dtype()
    }

    /// The sizes of all dims.
    #[getter(shape)]
    fn py_shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        size_object(py, self.shape())
    }

    /// The sizes of all dims, or that of `dim`.
    ///
    /// Raises: IndexError if `dim` is out of range.
    #[pyo3(signature = (dim=None))]
    fn size<'py>(&self, py: Python<'py>, dim: Option<isize>) -> PyResult<Bound<'py, PyAny>> {
        match dim {
            None => size_object(py, self.shape()),
            Some(dim) => {
                let d = strict_dim("size", dim, self.rank())?;
                Ok(self.shape()[d].into_pyobject(py)?.into_any())
            }
        }
    }

    /// The steps between neighbours along each dim, or along `dim`, in elements.
    ///
    /// Raises: IndexError if `dim` is out of range.
    #[pyo3(signature = (dim=None))]
    fn stride<'py>(&self, py: Python<'py>, dim: Option<isize>) -> PyResult<Bound<'py, PyAny>> {
        match dim {
            None => Ok(PyTuple::new(py, self.strides())?.into_any()),
            Some(dim) => {
                let d = strict_dim("stride", dim, self.rank())?;
                Ok(self.strides()[d].into_pyobject(py)?.into_any())
            }
        }
    }

    /// The number of dims.
    fn dim(&self) -> usize {
        self.rank()
    }

    /// The number of dims.
    fn ndimension(&self) -> usize {
        self.rank()
    }

    /// The number of dims.
    #[getter]
    fn ndim(&self) -> usize {
        self.rank()
    }

    /// The number of elements.
    #[pyo3(name = "numel")]
    fn py_numel(&self) -> usize {
        self.numel()
    }

    /// The number of elements.
    fn nelement(&self) -> usize {
        self.numel()
    }

    /// The place of the first element in the storage, in elements.
    fn storage_offset(&self) -> usize {
        self.layout().offset
    }

    /// The address of the first element; 0 if there is none.
    fn data_ptr(&self) -> PyResult<usize> {
        check_memory("data_ptr", self)?;
        Ok(if self.numel() == 0 { 0 } else { self.byte_ptr() as usize })
    }

    /// The size of one element in bytes.
    fn element_size(&self) -> usize {
        self.dtype().size()
    }

    /// The size of one element in bytes.
    #[getter]
    fn itemsize(&self) -> usize {
        self.dtype().size()
    }

    /// The size of all elements in bytes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.numel() * self.dtype().size()
    }

    /// Whether the dtype is a floating-point one.
    fn is_floating_point(&self) -> bool {
        self.dtype().is_float()
    }

    /// Whether the dtype is complex.
    fn is_complex(&self) -> bool {
        self.dtype().is_complex()
    }

    /// Whether the dtype has negative numbers.
    fn is_signed(&self) -> bool {
        !matches!(self.dtype(), DType::Bool | DType::U8)
    }

    /// The one element, as a Python number.
    ///
    /// Raises: RuntimeError if there is not just one.
    fn item(&self) -> PyResult<Scalar> {
        check_item(self)?;
        Ok(self.scalar()?)
    }

    /// The elements as nested lists of Python numbers; a number for a 0-d tensor.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        check_memory("tolist", self)?;
        self.check_saved()?;
        // An element takes about so much: twice on the way, then as an object and its place in a list.
        crate::storage::check_room::<[u64; 9]>(self.numel())?;
        let items: Vec<Scalar> = crate::dispatch_all!(self.dtype(), "tolist", T => {
            Ok(self.to_vec::<T>()?.into_iter().map(Element::scalar).collect())
        })?;
        nested(py, self.shape(), &items)
    }

    fn __len__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        if let Some(answer) = ask_method("__len__", &[slf.as_any().as_borrowed()])? {
            return answer.extract();
        }
        match slf.borrow().shape().first() {
            Some(&size) => Ok(size),
            None => Err(PyTypeError::new_err("len() of a 0-d tensor")),
        }
    }

    fn __bool__(slf: &Bound<'_, Self>) -> PyResult<bool> {
        match ask_method("__bool__", &[slf.as_any().as_borrowed()])? {
            Some(answer) => answer.extract(),
            None => slf.borrow().is_nonzero(),
        }
    }

    /// Whether the one element is not zero.
    ///
    /// Raises: RuntimeError if there is not just one.
    fn is_nonzero(&self) -> PyResult<bool> {
        match self.numel() {
            1 => {
                check_truth(self)?;
                Ok(self.scalar()?.truth())
            }
            0 => Err(crate::error::Error::Runtime("Boolean value of Tensor with no values is ambiguous".into()).into()),
            _ => Err(crate::error::Error::Runtime("Boolean value of Tensor with more than one value is ambiguous".into()).into()),
        }
    }

    /// The number of the accelerator that the memory is on: -1, as there is none.
    fn get_device(&self) -> isize {
        -1
    }

    /// A copy with the first dim backwards.
    fn __reversed__(&self) -> PyResult<Tensor> {
        if self.rank() == 0 { Ok(self.clone()) } else { Ok(self.flipud()?) }
    }

    fn __float__(slf: &Bound<'_, Self>) -> PyResult<f64> {
        if let Some(answer) = ask_method("__float__", &[slf.as_any().as_borrowed()])? {
            return answer.extract();
        }
        let x = slf.borrow();
        x.warn_of_lost_gradient()?;
        Ok(real_element(&x, "double")?.to_f64())
    }

    fn __complex__(&self) -> PyResult<Scalar> {
        self.warn_of_lost_gradient()?;
        Ok(Scalar::Complex(only_element(self)?.to_c128()))
    }

    fn __int__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(answer) = ask_method("__int__", &[slf.as_any().as_borrowed()])? {
            return Ok(answer);
        }
        let py = slf.py();
        match real_element(&slf.borrow(), "int64_t")? {
            // Python's own conversion has the words for NaN and infinity.
            Scalar::Float(v) => py.get_type::<PyInt>().call1((v,)),
            Scalar::Complex(v) => py.get_type::<PyInt>().call1((v.re,)),
            Scalar::Bool(v) => (v as i64).into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
            Scalar::Int(v) => v.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
            Scalar::UInt(v) => v.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
        }
    }

    fn __index__(slf: &Bound<'_, Self>) -> PyResult<i64> {
        if let Some(answer) = ask_method("__index__", &[slf.as_any().as_borrowed()])? {
            return answer.extract();
        }
        let x = slf.borrow();
        check_item(&x)?;
        let fits = x.dtype().kind() < Kind::Float && x.numel() == 1;
        match x.scalar() {
            Ok(Scalar::Int(v)) if fits => Ok(v),
            Ok(Scalar::Bool(v)) if fits => Ok(v as i64),
            _ => Err(PyTypeError::new_err("only integer tensors of a single element can be converted to an index")),
        }
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        // As in torch, Python's `id`.
        slf.as_ptr() as isize
    }
}

fn only_element(x: &Tensor) -> PyResult<Scalar> {
    check_item(x)?;
    match x.numel() {
        1 => Ok(x.scalar()?),
        _ => Err(PyValueError::new_err("only one element tensors can be converted to Python scalars")),
    }
}

/// The one element, which must have no imaginary part.
fn real_element(x: &Tensor, to: &str) -> PyResult<Scalar> {
    match only_element(x)? {
        Scalar::Complex(v) if v.im != 0.0 => {
            Err(crate::error::Error::Runtime(format!("value cannot be converted to type {to} without overflow")).into())
        }
        value => Ok(value),
    }
}

/// `dim` counted from the front, for questions that have no answer for 0-d tensors.
fn strict_dim(op: &'static str, dim: isize, rank: usize) -> PyResult<usize> {
    if rank == 0 {
        return Err(PyIndexError::new_err(format!("{op}: dimension specified as {dim} but tensor has no dimensions")));
    }
    Ok(normalize_dim(op, dim, rank)?)
}

/// Lists of lists of the items, which come in row-major order.
fn nested<'py>(py: Python<'py>, shape: &[usize], items: &[Scalar]) -> PyResult<Bound<'py, PyAny>> {
    match shape {
        [] => items.first().ok_or_else(|| PyValueError::new_err("tolist: no elements"))?.into_pyobject(py),
        [_] => Ok(PyList::new(py, items.iter().copied())?.into_any()),
        [size, inner @ ..] => {
            let step = items.len() / (*size).max(1);
            let rows = (0..*size).map(|i| nested(py, inner, &items[i * step..(i + 1) * step])).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, rows)?.into_any())
        }
    }
}

impl Tensor {
    /// Warns, once, if a gradient ends with what is read here.
    fn warn_of_lost_gradient(&self) -> PyResult<()> {
        static LOST: Once = Once::new(
            c"Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\nConsider using \
            tensor.detach() first.",
        );
        if self.is_shown() && is_recording() { Ok(LOST.warn()?) } else { Ok(()) }
    }
}

/// Reads single elements, by index, while it holds the memory.
pub struct Reader<'a> {
    tensor: &'a Tensor,
    _access: Access<'a>,
}

impl<'a> Reader<'a> {
    /// Waits until the memory can be read.
    pub fn new(tensor: &'a Tensor) -> Reader<'a> {
        Reader { tensor, _access: Access::new(&[tensor.storage()], &[]) }
    }

    /// The element at an index, which must be within the shape.
    pub fn get(&self, index: &[usize]) -> Scalar {
        let steps = index.iter().zip(self.tensor.strides()).map(|(&i, &stride)| i as isize * stride).sum::<isize>();
        let read = || {
            crate::dispatch_all!(self.tensor.dtype(), "item", T => {
                // SAFETY: the index is within the shape, so the element is within the storage, which is locked.
                Ok(unsafe { *self.tensor.ptr::<T>().offset(steps) }.scalar())
            })
        };
        let value: crate::error::Result<Scalar> = read();
        value.unwrap_or(Scalar::Int(0))
    }
}
