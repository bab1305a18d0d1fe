//! Other dtypes, formats and Python objects: `to`, `float`, `type`, `__array__`, copies and pickles.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString, PyTuple};

use super::legacy::TensorType;
use super::options::{Device, LayoutObject};
use super::overrides::ask_method;
use crate::dtype::DType;
use crate::layout::Layout;
use crate::ops::arguments::MemoryFormat;
use crate::ops::sample_values::check_storage;
use crate::tensor::Tensor;

/// What `to` is asked for.
#[derive(Default)]
struct Target {
    dtype: Option<DType>,
    copy: bool,
    format: Option<MemoryFormat>,
}

impl Target {
    fn parse(args: &Bound<'_, PyTuple>, keywords: Option<&Bound<'_, PyDict>>) -> PyResult<Target> {
        let mut target = Target::default();
        let mut flags = 0;
        for (place, arg) in args.iter().enumerate() {
            if let Ok(dtype) = arg.extract::<DType>() {
                target.dtype = Some(dtype);
            } else if let Ok(other) = arg.cast::<Tensor>() {
                target.dtype = Some(other.borrow().dtype());
            } else if let Ok(flag) = arg.extract::<bool>() {
                flags += 1;
                if place == 0 || flags > 2 {
                    return Err(PyTypeError::new_err("to() received an invalid combination of arguments"));
                }
                target.copy = flags == 2 && flag;
            } else if place > 0 && arg.is_instance_of::<PyInt>() {
                return Err(PyTypeError::new_err("to() received an invalid combination of arguments"));
            } else if !arg.is_none() {
                arg.extract::<Device>().map_err(|error| invalid(&arg, error))?;
            }
        }
        for (key, value) in keywords.into_iter().flatten() {
            target.set(key.cast::<PyString>()?.to_str()?, &value)?;
        }
        Ok(target)
    }

    fn set(&mut self, key: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match key {
            "copy" => self.copy = value.extract()?,
            "non_blocking" => drop(value.extract::<bool>()?),
            _ if value.is_none() => {}
            "dtype" => self.dtype = Some(value.extract()?),
            "device" => drop(value.extract::<Device>()?),
            "other" => self.dtype = Some(value.cast::<Tensor>()?.borrow().dtype()),
            "memory_format" => self.format = Some(value.extract()?),
            _ => return Err(PyTypeError::new_err(format!("to() got an unexpected keyword argument '{key}'"))),
        }
        Ok(())
    }
}

fn invalid(arg: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyTypeError>(arg.py()) {
        PyTypeError::new_err(format!("to() received an invalid combination of arguments: {}", arg.get_type()))
    } else {
        error
    }
}

/// Whether the elements lie as in one of the formats with channels last, and not row-major.
fn is_channels_last(x: &Tensor) -> crate::error::Result<bool> {
    let format = match x.rank() {
        4 => MemoryFormat::ChannelsLast,
        5 => MemoryFormat::ChannelsLast3d,
        _ => return Ok(false),
    };
    Ok(!x.is_contiguous() && x.layout().has_strides(&x.strides_in(format)?))
}

/// The tensor itself if it is what is asked for, else a copy that is.
fn converted<'py>(slf: &Bound<'py, Tensor>, target: &Target) -> PyResult<Bound<'py, Tensor>> {
    let x = slf.borrow().clone();
    let dtype = target.dtype.unwrap_or(x.dtype());
    let same_order = match target.format {
        None | Some(MemoryFormat::Preserve) => true,
        // As in torch any order counts as row-major that is not that of one of the other formats.
        Some(MemoryFormat::Contiguous) => !is_channels_last(&x)?,
        Some(format) => x.layout().has_strides(&x.strides_in(format)?),
    };
    if dtype == x.dtype() && same_order && !target.copy {
        return Ok(slf.clone());
    }
    Bound::new(slf.py(), x.to_copy(dtype, target.format.unwrap_or(MemoryFormat::Preserve))?)
}

fn cast<'py>(slf: &Bound<'py, Tensor>, dtype: DType, format: Option<MemoryFormat>) -> PyResult<Bound<'py, Tensor>> {
    converted(slf, &Target { dtype: Some(dtype), copy: false, format })
}

/// The methods that are named after dtypes, a line each.
macro_rules! casts {
    ($($name:ident $dtype:ident $text:literal;)+) => {
        #[pymethods]
        impl Tensor {
            $(
                #[doc = concat!("The elements as ", $text, "; the tensor itself if they are.")]
                #[pyo3(signature = (memory_format=None))]
                fn $name<'py>(slf: &Bound<'py, Self>, memory_format: Option<MemoryFormat>) -> PyResult<Bound<'py, Self>> {
                    cast(slf, DType::$dtype, memory_format)
                }
            )+
        }
    };
}

casts! {
    float F32 "float32";
    double F64 "float64";
    cfloat C64 "complex64";
    cdouble C128 "complex128";
    long I64 "int64";
    int I32 "int32";
    short I16 "int16";
    char I8 "int8";
    byte U8 "uint8";
    bool Bool "truth values";
}

#[pymethods]
impl Tensor {
    /// The tensor in another dtype: `to(dtype)`, `to(device)`, `to(device, dtype)` or `to(other)`; itself if it is that already.
    ///
    /// `copy=True` copies in any case, `memory_format` asks for an order in memory.
    #[pyo3(signature = (*args, **options))]
    fn to<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Self>> {
        converted(slf, &Target::parse(args, options)?)
    }

    /// The name of the tensor's type, as 'torch.FloatTensor'; with `dtype`, the tensor in that dtype.
    #[pyo3(name = "type", signature = (dtype=None, non_blocking=false))]
    fn type_<'py>(slf: &Bound<'py, Self>, dtype: Option<&Bound<'py, PyAny>>, non_blocking: bool) -> PyResult<Bound<'py, PyAny>> {
        let _ = non_blocking;
        let Some(dtype) = dtype else {
            let name = format!("torch.{}Tensor", slf.borrow().dtype().type_word());
            return Ok(PyString::new(slf.py(), &name).into_any());
        };
        let dtype = TensorType::named(dtype)?;
        Ok(cast(slf, dtype, None)?.into_any())
    }

    /// The tensor in the dtype of another; itself if it has it.
    fn type_as<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let dtype = other.borrow().dtype();
        cast(slf, dtype, None)
    }

    /// The tensor itself, which is on the CPU.
    #[pyo3(signature = (memory_format=None))]
    fn cpu<'py>(slf: &Bound<'py, Self>, memory_format: Option<MemoryFormat>) -> PyResult<Bound<'py, Self>> {
        converted(slf, &Target { format: memory_format, ..Target::default() })
    }

    /// Raises RuntimeError: there is no CUDA.
    #[pyo3(signature = (*_args, **_options))]
    fn cuda(&self, _args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> PyResult<Tensor> {
        Err(PyRuntimeError::new_err("cuda: ferrograd runs on the CPU"))
    }

    /// Where the memory is.
    #[getter(device)]
    fn py_device(&self) -> Device {
        Device::CPU
    }

    /// How the elements are stored.
    #[getter(layout)]
    fn py_layout(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(slf.py().import("ferrograd._C")?.getattr("strided")?.cast_into::<LayoutObject>()?.into_any().unbind())
    }

    /// Whether the memory is a CUDA device's: never.
    #[getter]
    fn is_cuda(&self) -> bool {
        false
    }

    /// Whether the memory is the CPU's: always.
    #[getter]
    fn is_cpu(&self) -> bool {
        true
    }

    /// Whether the memory is an Apple GPU's: never.
    #[getter]
    fn is_mps(&self) -> bool {
        false
    }

    /// Whether other processes share the memory: never.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether the memory is pinned for an accelerator: never.
    fn is_pinned(&self) -> bool {
        false
    }

    /// Whether the sizes are those of another tensor.
    fn is_same_size(&self, other: &Tensor) -> bool {
        self.shape() == other.shape()
    }

    /// Whether another tensor shows the same elements of the same memory.
    fn is_set_to(&self, tensor: &Tensor) -> bool {
        self.storage().same(tensor.storage())
            && (self.layout().offset, self.shape(), self.strides()) == (tensor.layout().offset, tensor.shape(), tensor.strides())
    }

    /// Raises RuntimeError: there is no accelerator to pin memory for.
    fn pin_memory(&self) -> PyResult<Tensor> {
        Err(PyRuntimeError::new_err("pin_memory: there is no accelerator to pin memory for"))
    }

    /// Raises RuntimeError: memory cannot be shared with other processes.
    fn share_memory_(&self) -> PyResult<Tensor> {
        Err(PyRuntimeError::new_err("share_memory_: sharing memory with other processes is not supported"))
    }

    /// Whether the tensor is sparse: never.
    #[getter]
    fn is_sparse(&self) -> bool {
        false
    }

    /// Whether the memory is in a layout of oneDNN's: never.
    #[getter]
    fn is_mkldnn(&self) -> bool {
        false
    }

    /// Whether the tensor is quantized: never.
    #[getter]
    fn is_quantized(&self) -> bool {
        false
    }

    /// Whether the tensor is a list of tensors of different sizes: never.
    #[getter]
    fn is_nested(&self) -> bool {
        false
    }

    /// Whether the tensor has no memory: never.
    #[getter]
    fn is_meta(&self) -> bool {
        false
    }

    /// Whether the elements lie in memory in the given order (row-major) without gaps.
    #[pyo3(name = "is_contiguous", signature = (memory_format=MemoryFormat::Contiguous))]
    fn py_is_contiguous(&self, memory_format: MemoryFormat) -> bool {
        match memory_format {
            MemoryFormat::Contiguous | MemoryFormat::Preserve => self.is_contiguous(),
            format => self.strides_in(format).is_ok_and(|strides| self.layout().has_strides(&strides)),
        }
    }

    /// Before numpy's own operators: `array * tensor` asks the tensor first.
    #[classattr]
    fn __array_priority__() -> i32 {
        1000
    }

    /// The tensor as a numpy array, for numpy's functions.
    #[pyo3(signature = (dtype=None, *, copy=None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = slf.call_method0("numpy")?;
        let wanted = match dtype {
            Some(dtype) if !dtype.is_none() => slf.py().import("numpy")?.getattr("dtype")?.call1((dtype,))?,
            _ => array.getattr("dtype")?,
        };
        if wanted.eq(array.getattr("dtype")?)? {
            return if copy == Some(true) { array.call_method0("copy") } else { Ok(array) };
        }
        if copy == Some(false) {
            return Err(pyo3::exceptions::PyValueError::new_err("__array__: another dtype needs a copy, which was ruled out"));
        }
        array.call_method1("astype", (wanted,))
    }

    /// The result of a numpy function as a tensor.
    #[pyo3(signature = (array, context=None, return_scalar=false))]
    fn __array_wrap__<'py>(
        &self,
        py: Python<'py>,
        array: &Bound<'py, PyAny>,
        context: Option<Bound<'py, PyAny>>,
        return_scalar: bool,
    ) -> PyResult<Tensor> {
        let _ = (context, return_scalar);
        let array = py.import("numpy")?.getattr("asarray")?.call1((array,))?;
        let x = super::numpy::from_array(&array)?;
        // As torch still does, from before it had bools.
        Ok(if x.dtype() == DType::Bool { x.to_dtype(DType::U8)? } else { x })
    }

    fn __format__<'py>(slf: &Bound<'py, Self>, spec: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if slf.borrow().rank() == 0 {
            let item = slf.call_method0("item")?;
            return item.call_method1("__format__", (spec,));
        }
        if spec.is_truthy()? {
            return Err(PyTypeError::new_err("unsupported format string passed to Tensor.__format__"));
        }
        Ok(slf.str()?.into_any())
    }

    /// Whether any element equals a number or a tensor.
    fn __contains__(slf: &Bound<'_, Self>, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Some(answer) = ask_method("__contains__", &[slf.as_any().as_borrowed(), element.as_borrowed()])? {
            return answer.extract();
        }
        if !element.is_instance_of::<Tensor>() && element.extract::<crate::dtype::Scalar>().is_err() {
            return Err(PyRuntimeError::new_err(format!(
                "Tensor.__contains__ only supports Tensor or scalar, but you passed in a {}.",
                element.get_type()
            )));
        }
        slf.call_method1("eq", (element,))?.call_method0("any")?.is_truthy()
    }

    /// Another leaf over the same memory.
    fn __copy__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let x = slf.borrow().clone();
        let copy = super::legacy::instance_of(&slf.get_type(), super::data::leaf(x.detached(false), x.is_shown())?)?;
        set_attributes(&copy, &slf.getattr("__dict__")?.cast_into::<PyDict>()?, Ok)?;
        Ok(copy)
    }

    /// A copy with memory of its own. Only leaves can be copied so.
    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, memo: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let key = slf.as_ptr() as usize;
        if let Ok(found) = memo.get_item(key) {
            return Ok(found);
        }
        let x = slf.borrow().clone();
        check_storage("deepcopy", &x)?;
        if x.shown_node().is_some() {
            return Err(PyRuntimeError::new_err(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. A module \
                 has such a tensor if one that was computed has been assigned to it: detach() it.",
            ));
        }
        let y = super::data::leaf(in_copied_memory(&x, memo)?, x.is_shown())?;
        // As in torch, which writes to new tensors.
        y.set_version(1);
        let copy = super::legacy::instance_of(&slf.get_type(), y)?;
        memo.set_item(key, &copy)?;
        let deep = |value| py.import("copy")?.call_method1("deepcopy", (value, memo));
        set_attributes(&copy, &slf.getattr("__dict__")?.cast_into::<PyDict>()?, deep)?;
        if let Ok(grad) = slf.getattr("grad")
            && !grad.is_none()
        {
            copy.setattr("grad", deep(grad)?)?;
        }
        Ok(copy)
    }

    fn __reduce_ex__<'py>(slf: &Bound<'py, Self>, protocol: i32) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let _ = protocol;
        let py = slf.py();
        let x = slf.borrow().clone();
        check_storage("pickle", &x)?;
        let y = x.detached(false);
        // All from the first element to the last, with what lies between: the strides stay as they are.
        let bytes = (y.layout().end() - y.layout().offset) * y.dtype().size();
        crate::storage::check_room::<u8>(bytes)?;
        let bytes = {
            let _access = crate::storage::Access::new(&[y.storage()], &[]);
            // SAFETY: a layout lies within its storage, which is locked for reading.
            unsafe { std::slice::from_raw_parts(y.byte_ptr(), bytes) }.to_vec()
        };
        // Python's objects are made after the lock is gone: making one may run any code.
        let bytes = PyBytes::new(py, &bytes);
        let attributes = slf.getattr("__dict__")?.call_method0("copy")?;
        let rebuild = py.import("ferrograd._C")?.getattr("_rebuild")?;
        let arguments = (
            slf.get_type(),
            bytes,
            y.dtype(),
            PyTuple::new(py, y.shape())?,
            PyTuple::new(py, y.strides())?,
            x.is_shown(),
            attributes,
        );
        Ok((rebuild, arguments.into_pyobject(py)?.into_any()))
    }
}

/// A tensor with the strides and offset of `x` over a copy of its memory: one copy for all tensors that share it and are copied
/// with the same `memo`.
fn in_copied_memory(x: &Tensor, memo: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let (start, bytes) = (x.storage().start().addr(), x.storage().bytes());
    let key = ("memory", start, bytes);
    let memory = match memo.get_item(key) {
        Ok(found) => found.extract::<PyRef<'_, Tensor>>()?.clone(),
        Err(_) => {
            let whole = Tensor::from_parts(x.storage().clone(), Layout::contiguous(&[bytes]), DType::U8);
            let copy = whole.to_copy(DType::U8, MemoryFormat::Contiguous)?;
            memo.set_item(key, Bound::new(memo.py(), copy.clone())?)?;
            copy
        }
    };
    Ok(Tensor::from_parts(memory.storage().clone(), x.layout().clone(), x.dtype()))
}

/// Sets attributes, each made by `copy`.
fn set_attributes<'py>(
    object: &Bound<'py, PyAny>,
    attributes: &Bound<'py, PyDict>,
    copy: impl Fn(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<()> {
    // Of a list: the copying may run code that changes the dict.
    attributes.items().iter().try_for_each(|item| {
        let (key, value) = item.extract::<(Bound<'_, PyString>, _)>()?;
        object.setattr(key, copy(value)?)
    })
}

/// A tensor from its pickle.
#[pyfunction]
pub fn _rebuild<'py>(
    class: &Bound<'py, pyo3::types::PyType>,
    bytes: &[u8],
    dtype: DType,
    shape: Vec<isize>,
    strides: Vec<isize>,
    requires_grad: bool,
    attributes: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let x = Tensor::uninitialized("unpickle", &[bytes.len() / dtype.size()], dtype)?;
    let layout = x.strided_layout("unpickle", &shape, &strides, None)?;
    if bytes.len() != layout.end() * dtype.size() {
        return Err(PyRuntimeError::new_err("unpickle: the bytes do not fit the shape and strides"));
    }
    // SAFETY: the memory is fresh and as large as `bytes`.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), x.byte_ptr(), bytes.len()) };
    let x = super::data::leaf(x.with_layout(layout), requires_grad)?;
    x.set_version(1);
    let object = super::legacy::instance_of(class, x)?;
    set_attributes(&object, attributes, Ok)?;
    Ok(object)
}
