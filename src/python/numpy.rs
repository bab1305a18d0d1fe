//! Memory shared with numpy, which is imported when it is first needed.

use std::ffi::c_int;
use std::ptr::NonNull;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCapsule, PyDict, PyType};
use pyo3::{ffi, intern};

use crate::dtype::DType;
use crate::interpreter::Once;
use crate::layout::{Layout, Shape, Strides};
use crate::ops::sample_values::check_memory;
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

/// What arrays show of themselves to C (`PyArrayInterface` of numpy's array interface protocol, version 3).
#[repr(C)]
struct ArrayStruct {
    two: c_int,
    rank: c_int,
    kind: u8,
    size: c_int,
    flags: c_int,
    shape: *const isize,
    strides: *const isize,
    start: *mut u8,
    descr: *mut ffi::PyObject,
}

const ALIGNED: c_int = 0x100;
const NATIVE: c_int = 0x200;
const WRITABLE: c_int = 0x400;

/// What numpy sees of a tensor, and what keeps the memory alive as the array's `base`.
#[pyclass(module = "ferrograd", frozen)]
pub struct SharedMemory {
    tensor: Tensor,
    /// Sizes, then strides in bytes.
    numbers: Vec<isize>,
}

/// What a capsule holds for numpy: addresses of the tensor's elements and of the owner's numbers.
#[repr(C)]
struct Shown {
    array: ArrayStruct,
    owner: Py<SharedMemory>,
}

/// Called by Python when a capsule made here dies.
unsafe extern "C" fn drop_shown(capsule: *mut ffi::PyObject) {
    // SAFETY: the capsule holds what was boxed for it.
    unsafe { drop(Box::from_raw(ffi::PyCapsule_GetPointer(capsule, std::ptr::null()).cast::<Shown>())) }
}

#[pymethods]
impl SharedMemory {
    #[getter]
    fn __array_struct__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyCapsule>> {
        let SharedMemory { tensor, numbers } = slf.get();
        let (shape, strides) = numbers.split_at(tensor.rank());
        let array = ArrayStruct {
            two: 2,
            rank: tensor.rank() as c_int,
            kind: typestr(tensor.dtype()).as_bytes()[1],
            size: tensor.dtype().size() as c_int,
            flags: ALIGNED | NATIVE | WRITABLE,
            shape: shape.as_ptr(),
            strides: strides.as_ptr(),
            start: tensor.byte_ptr(),
            descr: std::ptr::null_mut(),
        };
        let shown = Box::into_raw(Box::new(Shown { array, owner: slf.clone().unbind() }));
        // SAFETY: the protocol wants a capsule without a name; this one owns what it holds.
        let capsule = unsafe {
            let made = ffi::PyCapsule_New(shown.cast(), std::ptr::null(), Some(drop_shown));
            Bound::from_owned_ptr_or_err(slf.py(), made)?
        };
        Ok(capsule.cast_into::<PyCapsule>()?)
    }
}

/// An array over the tensor's memory.
pub fn to_numpy<'py>(py: Python<'py>, x: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    x.check_saved()?;
    let asarray = ASARRAY.import(py, "numpy", "asarray")?;
    let size = x.dtype().size() as isize;
    let mut numbers: Vec<isize> = x.shape().iter().map(|&n| n as isize).collect();
    numbers.extend(x.strides().iter().map(|stride| stride * size));
    asarray.call1((SharedMemory { tensor: x.detached(false), numbers },))
}

/// Keeps an array alive for as long as a storage uses its memory.
struct Lender(#[allow(dead_code)] Py<PyAny>);

/// A tensor over an array's memory.
pub fn from_array(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    Ok(lent_by(array)?.0)
}

/// A tensor over an array's memory, and whether the array may be written to.
fn lent_by(array: &Bound<'_, PyAny>) -> PyResult<(Tensor, bool)> {
    let capsule = array.getattr(intern!(array.py(), "__array_struct__"))?.cast_into::<PyCapsule>()?;
    // SAFETY: that is what numpy's capsules of this name hold, for as long as they live.
    let shown: &ArrayStruct = unsafe { capsule.pointer_checked(None)?.cast().as_ref() };
    let dtype = dtype_of(array, shown)?;
    let writable = shown.flags & WRITABLE != 0;
    let size = dtype.size();
    let numbers = |start: *const isize| {
        // SAFETY: there are as many sizes and strides as dims.
        if shown.rank == 0 { &[] } else { unsafe { std::slice::from_raw_parts(start, shown.rank as usize) } }
    };
    let bytes = numbers(shown.strides);
    if bytes.iter().any(|&stride| stride < 0) {
        return Err(PyValueError::new_err(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not \
             supported: take its copy().",
        ));
    }
    if bytes.iter().any(|&stride| stride % size as isize != 0) {
        return Err(PyValueError::new_err(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory.",
        ));
    }
    let shape: Shape = numbers(shown.shape).iter().map(|&n| n as usize).collect();
    let strides: Strides = bytes.iter().map(|stride| stride / size as isize).collect();
    let layout = Layout { shape, strides, offset: 0 };
    let Some(start) = NonNull::new(shown.start).filter(|_| layout.numel() > 0) else {
        return Ok((Tensor::from_parts(Storage::uninitialized(0)?, layout, dtype), writable));
    };
    if start.addr().get() % size != 0 {
        return Err(PyValueError::new_err(format!(
            "the given numpy array is not aligned to its element size {size}. Copy the numpy array to reallocate the memory."
        )));
    }
    let bytes = layout.end() * size;
    let lender = Box::new(Lender(array.clone().unbind()));
    // SAFETY: numpy vouches for the elements between the first and the last; the array is kept alive with them.
    let storage = unsafe { Storage::lent(start, bytes, lender) };
    Ok((Tensor::from_parts(storage, layout, dtype), writable))
}

/// The dtype of an array's elements.
fn dtype_of(array: &Bound<'_, PyAny>, shown: &ArrayStruct) -> PyResult<DType> {
    let is_it = |dtype: &DType| (typestr(*dtype).as_bytes()[1], dtype.size()) == (shown.kind, shown.size as usize);
    match DType::ALL.into_iter().find(is_it) {
        Some(_) if shown.flags & NATIVE == 0 => Err(PyValueError::new_err(
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
    let (tensor, writable) = lent_by(array)?;
    if !writable {
        static READ_ONLY: Once = Once::new(
            c"The given NumPy array is not writable, and tensors do not support non-writable memory. Writing to this tensor \
                     changes the array all the same. You may want to copy the array, or make it writable, before converting it.",
        );
        READ_ONLY.warn()?;
    }
    Ok(tensor)
}

#[pymethods]
impl Tensor {
    /// A numpy array that shares this tensor's memory. With `force`, a tensor on the tape is detached first.
    ///
    /// Raises: RuntimeError if the tensor requires a gradient, unless `force` is true or nothing is being recorded.
    #[pyo3(signature = (*, force=false))]
    fn numpy<'py>(&self, py: Python<'py>, force: bool) -> PyResult<Bound<'py, PyAny>> {
        check_memory("numpy", self)?;
        if self.is_shown() && !force && crate::tape::is_recording() {
            return Err(PyRuntimeError::new_err(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
            ));
        }
        to_numpy(py, self)
    }
}
