//! DLPack: memory shared with any library that speaks the protocol, both ways, by its version 1 and the older one.
//!
//! Source: the DLPack header (dmlc/dlpack) for the structures, the Python array API standard for `__dlpack__`.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use pyo3::exceptions::{PyAssertionError, PyBufferError, PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};

use crate::dtype::DType;
use crate::layout::{Layout, Shape, Strides};
use crate::ops::sample_values::check_memory;
use crate::storage::Storage;
use crate::tensor::Tensor;

const CPU: i32 = 1;
const NAME: &CStr = c"dltensor";
const USED_NAME: &CStr = c"used_dltensor";
const VERSIONED_NAME: &CStr = c"dltensor_versioned";
const USED_VERSIONED_NAME: &CStr = c"used_dltensor_versioned";
/// The flag of a versioned tensor whose memory has just been copied for the consumer.
const IS_COPIED: u64 = 1 << 1;

/// `DLTensor`.
#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    rank: i32,
    type_code: u8,
    type_bits: u8,
    type_lanes: u16,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor`.
#[repr(C)]
struct Managed {
    tensor: DlTensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct ManagedVersioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedVersioned)>,
    flags: u64,
    tensor: DlTensor,
}

/// What an exported tensor points to, freed by its deleter.
struct Export {
    /// Keeps the memory alive.
    _tensor: Tensor,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

/// The protocol's (code, bits) of a dtype.
fn type_code(dtype: DType) -> (u8, u8) {
    let bits = 8 * dtype.size() as u8;
    match dtype {
        DType::Bool => (6, bits),
        DType::U8 => (1, bits),
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => (0, bits),
        DType::F32 | DType::F64 => (2, bits),
        DType::C64 | DType::C128 => (5, bits),
    }
}

fn describe(x: Tensor) -> (DlTensor, *mut c_void) {
    let (code, bits) = type_code(x.dtype());
    let data = x.byte_ptr().cast();
    let shape: Vec<i64> = x.shape().iter().map(|&size| size as i64).collect();
    let strides: Vec<i64> = x.strides().iter().map(|&stride| stride as i64).collect();
    let rank = shape.len() as i32;
    let mut export = Box::new(Export { _tensor: x, shape, strides });
    // The vectors' elements stay where they are until the deleter frees the box.
    let (shape, strides) = (export.shape.as_mut_ptr(), export.strides.as_mut_ptr());
    let tensor = DlTensor {
        data,
        device_type: CPU,
        device_id: 0,
        rank,
        type_code: code,
        type_bits: bits,
        type_lanes: 1,
        shape,
        strides,
        byte_offset: 0,
    };
    (tensor, Box::into_raw(export).cast())
}

unsafe extern "C" fn delete(managed: *mut Managed) {
    // SAFETY: both were boxed when the tensor was exported, and a deleter is called once.
    unsafe {
        drop(Box::from_raw((*managed).context.cast::<Export>()));
        drop(Box::from_raw(managed));
    }
}

unsafe extern "C" fn delete_versioned(managed: *mut ManagedVersioned) {
    // SAFETY: as above.
    unsafe {
        drop(Box::from_raw((*managed).context.cast::<Export>()));
        drop(Box::from_raw(managed));
    }
}

/// Frees the tensor of a capsule that nobody consumed.
unsafe extern "C" fn drop_capsule(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this with one of our capsules; a consumed one has another name.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, NAME.as_ptr()) != 0 {
            let managed = ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr()).cast::<Managed>();
            delete(managed);
        } else if ffi::PyCapsule_IsValid(capsule, VERSIONED_NAME.as_ptr()) != 0 {
            let managed = ffi::PyCapsule_GetPointer(capsule, VERSIONED_NAME.as_ptr()).cast::<ManagedVersioned>();
            delete_versioned(managed);
        }
    }
}

fn capsule<'py>(py: Python<'py>, pointer: *mut c_void, name: &'static CStr) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the pointer is not null and the name lives forever; the destructor knows both kinds.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCapsule_New(pointer, name.as_ptr(), Some(drop_capsule))) }
}

#[pymethods]
impl Tensor {
    /// A capsule with this tensor's memory, for `from_dlpack` of another library.
    ///
    /// Raises: BufferError if the tensor requires a gradient or another device than the CPU is asked for.
    /// Source: the Python array API standard.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        check_memory("__dlpack__", self)?;
        if self.is_shown() {
            return Err(PyBufferError::new_err("Can't export tensors that require gradient, use tensor.detach()"));
        }
        match &stream {
            Some(stream) if !stream.is_instance_of::<PyInt>() => {
                return Err(PyTypeError::new_err(format!("stream must be int or None, got {}", stream.get_type())));
            }
            Some(stream) if stream.extract::<i64>()? != -1 => {
                return Err(PyAssertionError::new_err(format!("stream should be None on cpu, got {stream}")));
            }
            _ => {}
        }
        if let Some(device) = dl_device.filter(|&(kind, _)| kind != CPU) {
            return Err(PyBufferError::new_err(format!("__dlpack__: only the CPU, device (1, 0), is supported, got {device:?}")));
        }
        self.check_saved()?;
        let copied = copy == Some(true);
        let (tensor, context) = describe(if copied { self.detached(false).copied()? } else { self.detached(false) });
        if max_version.is_some_and(|(major, _)| major >= 1) {
            let flags = if copied { IS_COPIED } else { 0 };
            let managed = ManagedVersioned { major: 1, minor: 0, context, deleter: Some(delete_versioned), flags, tensor };
            capsule(py, Box::into_raw(Box::new(managed)).cast(), VERSIONED_NAME)
        } else {
            let managed = Managed { tensor, context, deleter: Some(delete) };
            capsule(py, Box::into_raw(Box::new(managed)).cast(), NAME)
        }
    }

    /// The protocol's device of this tensor: always (1, 0), the CPU.
    fn __dlpack_device__(&self) -> (i32, i32) {
        (CPU, 0)
    }
}

/// A tensor of another library, given back to it when the last of ours is gone.
enum Lender {
    Plain(NonNull<Managed>),
    Versioned(NonNull<ManagedVersioned>),
}

// SAFETY: the protocol lets a deleter be called from any thread.
unsafe impl Send for Lender {}
// SAFETY: nothing is reached through a shared reference.
unsafe impl Sync for Lender {}

impl Drop for Lender {
    fn drop(&mut self) {
        // SAFETY: the capsule was marked as used when the tensor was taken, so the deleter is ours to call, once.
        unsafe {
            match self {
                Lender::Plain(managed) => {
                    if let Some(deleter) = managed.as_ref().deleter {
                        deleter(managed.as_ptr());
                    }
                }
                Lender::Versioned(managed) => {
                    if let Some(deleter) = managed.as_ref().deleter {
                        deleter(managed.as_ptr());
                    }
                }
            }
        }
    }
}

/// Takes a capsule's tensor, so that its producer no longer owns it.
fn take(capsule: &Bound<'_, PyAny>) -> PyResult<Lender> {
    let object = capsule.as_ptr();
    // SAFETY: valid for any object: a capsule of this name, or 0.
    let is = |name: &CStr| unsafe { ffi::PyCapsule_IsValid(object, name.as_ptr()) != 0 };
    let pointer = |name: &CStr, used: &'static CStr| {
        // SAFETY: the capsule has this name; the new name lives forever.
        let pointer = unsafe { ffi::PyCapsule_GetPointer(object, name.as_ptr()) };
        // SAFETY: as above.
        if pointer.is_null() || unsafe { ffi::PyCapsule_SetName(object, used.as_ptr()) } != 0 {
            return Err(PyErr::fetch(capsule.py()));
        }
        NonNull::new(pointer).ok_or_else(|| PyRuntimeError::new_err("from_dlpack: an empty capsule"))
    };
    if is(VERSIONED_NAME) {
        let managed = pointer(VERSIONED_NAME, USED_VERSIONED_NAME)?.cast::<ManagedVersioned>();
        // SAFETY: the capsule's name says what it points to; the version comes first in every version.
        let major = unsafe { managed.as_ref().major };
        let lender = Lender::Versioned(managed);
        return if major <= 1 {
            Ok(lender)
        } else {
            Err(PyBufferError::new_err(format!("from_dlpack: unsupported version {major}")))
        };
    }
    if is(NAME) {
        return Ok(Lender::Plain(pointer(NAME, USED_NAME)?.cast()));
    }
    Err(PyRuntimeError::new_err(format!(
        "from_dlpack received an invalid capsule. Note that a DLTensor capsule can be consumed only once, got {}",
        capsule.repr()?
    )))
}

/// A tensor over the memory that a lender describes.
fn import(lender: Lender) -> PyResult<Tensor> {
    let fail = |text: String| Err(PyBufferError::new_err(format!("from_dlpack: {text}")));
    // SAFETY: the lender owns the description.
    let described = unsafe {
        match &lender {
            Lender::Plain(managed) => &managed.as_ref().tensor,
            Lender::Versioned(managed) => &managed.as_ref().tensor,
        }
    };
    if described.device_type != CPU {
        return fail(format!("only memory of the CPU (device type 1) is supported, got device type {}", described.device_type));
    }
    let code = (described.type_code, described.type_bits);
    let known = DType::ALL.into_iter().find(|&dtype| type_code(dtype) == code && described.type_lanes == 1);
    let Some(dtype) = known else {
        return fail(format!("unsupported type (code {}, {} bits, {} lanes)", code.0, code.1, described.type_lanes));
    };
    let rank = described.rank.max(0) as usize;
    let list = |start: *const i64| -> Vec<i64> {
        // SAFETY: the protocol promises `rank` numbers.
        if start.is_null() || rank == 0 { Vec::new() } else { unsafe { std::slice::from_raw_parts(start, rank) }.to_vec() }
    };
    let (shape, strides) = (list(described.shape), list(described.strides));
    if shape.iter().chain(&strides).any(|&n| n < 0) {
        return fail(format!("sizes {shape:?} and strides {strides:?} must not be negative"));
    }
    let shape: Shape = shape.iter().map(|&size| size as usize).collect();
    let strides: Strides =
        if strides.len() == rank { strides.iter().map(|&s| s as isize).collect() } else { Layout::contiguous(&shape).strides };
    let layout = Layout { shape, strides, offset: 0 };
    let start = described.data.cast::<u8>().wrapping_add(described.byte_offset as usize);
    let Some(start) = NonNull::new(start).filter(|_| layout.numel() > 0) else {
        return Ok(Tensor::from_parts(Storage::uninitialized(0)?, layout, dtype));
    };
    if !(start.as_ptr() as usize).is_multiple_of(dtype.size()) {
        return fail(format!("the memory is not aligned to its element size {}", dtype.size()));
    }
    // SAFETY: the producer vouches for the elements between the first and the last, for as long as the lender lives.
    let storage = unsafe { Storage::lent(start, layout.end() * dtype.size(), Box::new(lender)) };
    Ok(Tensor::from_parts(storage, layout, dtype))
}

/// Asks for a capsule with ever fewer keywords, as older producers know fewer; whether `copy` was understood.
fn request<'py>(producer: &Bound<'py, PyAny>, copy: Option<bool>) -> PyResult<(Bound<'py, PyAny>, bool)> {
    let py = producer.py();
    let keywords = |version: bool, with_copy: bool| -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        if version {
            dict.set_item("max_version", (1, 0))?;
        }
        if let (Some(copy), true) = (copy, with_copy) {
            dict.set_item("copy", copy)?;
        }
        Ok(dict)
    };
    for (version, with_copy) in [(true, true), (false, true)] {
        match producer.call_method("__dlpack__", (), Some(&keywords(version, with_copy)?)) {
            Err(error) if error.is_instance_of::<PyTypeError>(py) => {}
            answer => return Ok((answer?, true)),
        }
    }
    Ok((producer.call_method0("__dlpack__")?, false))
}

/// A tensor that shares memory with an object of another library that has `__dlpack__`, or with a capsule.
///
/// As in torch, memory that the other library marks as read-only is shared all the same: do not write to it.
/// Raises: BufferError if the memory cannot be shared; RuntimeError if a capsule was consumed before.
/// Source: torch.from_dlpack; the Python array API standard.
#[pyfunction]
#[pyo3(signature = (ext_tensor, *, device=None, copy=None))]
pub fn from_dlpack(ext_tensor: &Bound<'_, PyAny>, device: Option<Bound<'_, PyAny>>, copy: Option<bool>) -> PyResult<Tensor> {
    let on_cpu = |device: &Bound<'_, PyAny>| Ok::<_, PyErr>(device.str()?.to_cow()?.split(':').next() == Some("cpu"));
    if let Some(device) = &device
        && !on_cpu(device)?
    {
        return Err(PyRuntimeError::new_err(format!("from_dlpack: only the device 'cpu' is supported, got {device}")));
    }
    if !ext_tensor.hasattr("__dlpack__")? {
        if device.is_some() || copy.is_some() {
            let text = "device and copy kwargs not supported when ext_tensor is already a DLPack capsule.";
            return Err(PyAssertionError::new_err(text));
        }
        return import(take(ext_tensor)?);
    }
    let (capsule, understood) = request(ext_tensor, copy)?;
    let tensor = import(take(&capsule)?)?;
    if copy == Some(true) && !understood { Ok(tensor.copied()?) } else { Ok(tensor) }
}
