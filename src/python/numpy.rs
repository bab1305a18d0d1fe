//! Memory shared with numpy, which is imported when it is first needed.

use std::ptr::NonNull;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::dtype::DType;
use crate::layout::{Layout, Shape, Strides};
use crate::storage::Storage;
use crate::tensor::Tensor;

/// The type letter and size that numpy and the array interface use.
pub fn typestr(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::C64 => "<c8",
        DType::C128 => "<c16",
    }
}

/// Whether an object is a `numpy.ndarray`. Does not import numpy: where it is not imported there are no arrays.
pub fn is_ndarray(ob: &Bound<'_, PyAny>) -> PyResult<bool> {
    is_of_numpy(ob, "ndarray")
}

/// Whether an object is a scalar of numpy's, as `numpy.float32(1)`.
pub fn is_numpy_scalar(ob: &Bound<'_, PyAny>) -> PyResult<bool> {
    is_of_numpy(ob, "generic")
}

fn is_of_numpy(ob: &Bound<'_, PyAny>, class: &str) -> PyResult<bool> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    static NDARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static GENERIC: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = ob.py();
    let found = if class == "ndarray" { &NDARRAY } else { &GENERIC };
    if let Some(class) = found.get(py) {
        return ob.is_instance(class.bind(py));
    }
    let modules =
        MODULES.get_or_try_init(py, || Ok::<_, PyErr>(py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?.unbind()))?;
    if !modules.bind(py).contains("numpy")? {
        return Ok(false);
    }
    let class =
        found.get_or_try_init(py, || Ok::<_, PyErr>(py.import("numpy")?.getattr(class)?.cast_into::<PyType>()?.unbind()))?;
    ob.is_instance(class.bind(py))
}

/// What numpy sees of a tensor, and what keeps the memory alive as the array's `base`.
#[pyclass(module = "ferrograd", frozen)]
pub struct SharedMemory(Tensor);

#[pymethods]
impl SharedMemory {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let size = self.0.dtype().size() as isize;
        let d = PyDict::new(py);
        d.set_item("data", (self.0.byte_ptr() as usize, false))?;
        d.set_item("typestr", typestr(self.0.dtype()))?;
        d.set_item("shape", PyTuple::new(py, self.0.shape())?)?;
        d.set_item("strides", PyTuple::new(py, self.0.strides().iter().map(|stride| stride * size))?)?;
        d.set_item("version", 3)?;
        Ok(d)
    }
}

/// An array over the tensor's memory.
pub fn to_numpy<'py>(py: Python<'py>, x: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    x.check_saved()?;
    let asarray = ASARRAY.import(py, "numpy", "asarray")?;
    asarray.call1((SharedMemory(x.detached(false)),))
}

/// Keeps an array alive for as long as a storage uses its memory.
struct Lender(#[allow(dead_code)] Py<PyAny>);

/// A tensor over an array's memory.
pub fn from_array(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let interface = array.getattr("__array_interface__")?.cast_into::<PyDict>()?;
    let get = |key: &str| interface.get_item(key)?.ok_or_else(|| PyValueError::new_err(format!("from_numpy: no {key}")));
    let typestr: String = get("typestr")?.extract()?;
    let dtype = dtype_of(array, &typestr)?;
    let shape: Vec<usize> = get("shape")?.extract()?;
    let (address, _): (usize, bool) = get("data")?.extract()?;
    let size = dtype.size();
    let strides: Option<Vec<isize>> = interface.get_item("strides")?.and_then(|s| s.extract().ok());
    let strides: Strides = match strides {
        None => Layout::contiguous(&shape).strides,
        Some(bytes) => {
            if bytes.iter().any(|&stride| stride < 0) {
                return Err(PyValueError::new_err(
                    "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently \
                     supported. (You can probably work around this by making a copy of your array  with array.copy().) ",
                ));
            }
            if bytes.iter().any(|&stride| stride % size as isize != 0) {
                return Err(PyValueError::new_err(
                    "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory.",
                ));
            }
            bytes.iter().map(|stride| stride / size as isize).collect()
        }
    };
    let layout = Layout { shape: Shape::from_vec(shape), strides, offset: 0 };
    let Some(start) = NonNull::new(address as *mut u8).filter(|_| layout.numel() > 0) else {
        return Ok(Tensor::from_parts(Storage::uninitialized(0)?, layout, dtype));
    };
    if address % size != 0 {
        return Err(PyValueError::new_err(format!(
            "the given numpy array is not aligned to its element size {size}. Copy the numpy array to reallocate the memory."
        )));
    }
    let bytes = layout.end() * size;
    let lender = Box::new(Lender(array.clone().unbind()));
    // SAFETY: numpy vouches for the elements between the first and the last; the array is kept alive with them.
    let storage = unsafe { Storage::lent(start, bytes, lender) };
    Ok(Tensor::from_parts(storage, layout, dtype))
}

/// The dtype that an array's type string stands for.
fn dtype_of(array: &Bound<'_, PyAny>, text: &str) -> PyResult<DType> {
    let foreign = if cfg!(target_endian = "little") { '>' } else { '<' };
    let known = DType::ALL.into_iter().find(|&dtype| typestr(dtype)[1..] == text[1..]);
    match known {
        Some(_) if text.starts_with(foreign) => Err(PyValueError::new_err(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is currently \
             not supported.",
        )),
        Some(dtype) => Ok(dtype),
        None => Err(PyTypeError::new_err(format!(
            "can't convert np.ndarray of type numpy.{}. The only supported types are: complex128, complex64, float64, \
             float32, int64, int32, int16, int8, \
             uint8, and bool.",
            array.getattr("dtype")?.getattr("type")?.getattr("__name__")?
        ))),
    }
}

/// A tensor that shares the memory of a numpy array.
///
/// Raises: TypeError if it is not an array or has elements of another kind; ValueError for negative strides.
#[pyfunction]
#[pyo3(signature = (array, /))]
pub fn from_numpy(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    if !is_ndarray(array)? {
        return Err(PyTypeError::new_err(format!("expected np.ndarray (got {})", array.get_type().name()?)));
    }
    let tensor = from_array(array)?;
    if !array.getattr("flags")?.getattr("writeable")?.is_truthy()? {
        let text =
            c"The given NumPy array is not writable, and tensors do not support non-writable memory. Writing to this tensor \
                     changes the array all the same. You may want to copy the array, or make it writable, before converting it.";
        PyErr::warn(array.py(), &array.py().get_type::<PyUserWarning>(), text, 1)?;
    }
    Ok(tensor)
}

#[pymethods]
impl Tensor {
    /// A numpy array that shares this tensor's memory. With `force`, a tensor on the tape is detached first.
    ///
    /// Raises: RuntimeError if the tensor requires a gradient and `force` is false.
    #[pyo3(signature = (*, force=false))]
    fn numpy<'py>(&self, py: Python<'py>, force: bool) -> PyResult<Bound<'py, PyAny>> {
        if self.requires_grad() && !force {
            return Err(PyRuntimeError::new_err(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
            ));
        }
        to_numpy(py, self)
    }
}
