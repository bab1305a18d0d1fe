//! Device and layout objects, and the keyword arguments that all constructors share.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple};
use pyo3::{Borrowed, FromPyObject};

use super::arguments::type_name;
use super::data::leaf_object;
use super::function::write_output;
use super::random::GeneratorObject;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Shape;
use crate::ops::arguments::{Dims, MemoryFormat};
use crate::tensor::Tensor;

/// Where a tensor's memory is: the CPU, always.
#[pyclass(module = "ferrograd", name = "device", frozen, eq, hash)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    index: Option<u32>,
}

impl Device {
    /// The CPU.
    pub const CPU: Device = Device { index: None };

    fn parse(text: &str) -> PyResult<Device> {
        let (kind, index) = text.split_once(':').map_or((text, None), |(kind, index)| (kind, Some(index)));
        if kind != "cpu" {
            return Err(PyRuntimeError::new_err(format!(
                "device '{text}' is not available: ferrograd runs on the CPU, expected 'cpu'"
            )));
        }
        match index.map(str::parse) {
            None => Ok(Device::CPU),
            Some(Ok(index)) => Ok(Device { index: Some(index) }),
            Some(Err(_)) => Err(PyRuntimeError::new_err(format!("Invalid device string: '{text}'"))),
        }
    }
}

#[pymethods]
impl Device {
    /// The CPU, by name or as another device object.
    ///
    /// Raises: RuntimeError for any other device.
    #[new]
    #[pyo3(signature = (r#type, index=None))]
    fn new(r#type: &Bound<'_, PyAny>, index: Option<u32>) -> PyResult<Device> {
        let device: Device = r#type.extract()?;
        Ok(Device { index: index.or(device.index) })
    }

    /// In `with`: new tensors are on this device, as they are anyway.
    fn __enter__(&self) -> Device {
        *self
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: &Bound<'_, PyTuple>) {}

    /// The kind of the device: `cpu`.
    #[getter]
    fn r#type(&self) -> &'static str {
        "cpu"
    }

    /// The number of the device, if one was given.
    #[getter]
    fn index(&self) -> Option<u32> {
        self.index
    }

    fn __repr__(&self) -> String {
        self.index.map_or("device(type='cpu')".into(), |index| format!("device(type='cpu', index={index})"))
    }

    fn __str__(&self) -> String {
        self.index.map_or("cpu".into(), |index| format!("cpu:{index}"))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().into_any(), (slf.get().__str__(),)))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Device {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Device> {
        if let Ok(device) = ob.cast::<Device>() {
            return Ok(*device.get());
        }
        if let Ok(text) = ob.cast::<PyString>() {
            return Device::parse(text.to_str()?);
        }
        if ob.is_instance_of::<PyInt>() {
            return Err(PyRuntimeError::new_err(format!(
                "device {} is not available: ferrograd runs on the CPU, expected 'cpu'",
                &*ob
            )));
        }
        Err(PyTypeError::new_err(format!("expected a device, got {}", type_name(&ob))))
    }
}

/// How elements are stored: in strided memory, always.
#[pyclass(module = "ferrograd", name = "layout", frozen)]
pub struct LayoutObject;

#[pymethods]
impl LayoutObject {
    fn __repr__(&self) -> &'static str {
        "torch.strided"
    }

    fn __reduce__(&self) -> &'static str {
        "strided"
    }
}

/// Puts the layout in the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("strided", Py::new(module.py(), LayoutObject)?)
}

/// The keyword arguments of constructors.
#[derive(Default)]
pub struct Options<'py> {
    /// The function they were given to, for messages.
    pub op: &'static str,
    /// The dtype asked for.
    pub dtype: Option<DType>,
    /// Whether the tensor is to be a leaf that asks for a gradient.
    pub requires_grad: bool,
    /// The order in memory asked for.
    pub memory_format: Option<MemoryFormat>,
    /// The source of random numbers.
    pub generator: Option<Bound<'py, GeneratorObject>>,
    /// The sizes, if given by name.
    pub size: Option<Dims>,
    /// The tensor to write to.
    pub out: Option<Bound<'py, Tensor>>,
}

impl<'py> Options<'py> {
    /// Reads the keywords: those that all constructors have, and of the others those in `extra`.
    pub fn parse(op: &'static str, keywords: Option<&Bound<'py, PyDict>>, extra: &[&str]) -> PyResult<Options<'py>> {
        Options::parse_only(op, keywords, &[&["dtype", "device", "layout", "requires_grad", "pin_memory"], extra].concat())
    }

    /// Reads the keywords of `known`, which are all that the function has.
    pub fn parse_only(op: &'static str, keywords: Option<&Bound<'py, PyDict>>, known: &[&str]) -> PyResult<Options<'py>> {
        let mut options = Options { op, ..Options::default() };
        let Some(keywords) = keywords else { return Ok(options) };
        for (key, value) in keywords {
            let key = key.cast::<PyString>()?.to_str()?.to_owned();
            if !known.contains(&key.as_str()) {
                return Err(PyTypeError::new_err(format!("{op}() got an unexpected keyword argument '{key}'")));
            }
            options.set(&key, &value).map_err(|error| named(value.py(), op, &key, error))?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &Bound<'py, PyAny>) -> PyResult<()> {
        match key {
            _ if value.is_none() => {}
            "requires_grad" => self.requires_grad = value.extract()?,
            "dtype" => self.dtype = Some(value.extract()?),
            "device" => drop(value.extract::<Device>()?),
            "layout" => drop(value.cast::<LayoutObject>()?),
            "pin_memory" if value.extract::<bool>()? => {
                return Err(PyRuntimeError::new_err("pin_memory: there is no accelerator to pin memory for"));
            }
            "memory_format" => self.memory_format = Some(value.extract()?),
            "generator" => self.generator = Some(value.cast::<GeneratorObject>()?.clone()),
            "size" => self.size = Some(value.extract()?),
            "out" => self.out = Some(value.cast::<Tensor>()?.clone()),
            _ => {}
        }
        Ok(())
    }

    /// The sizes, given one by one, as a sequence or by name.
    pub fn shape(&self, args: &Bound<'py, PyTuple>) -> PyResult<Shape> {
        let dims = match (&self.size, args.is_empty()) {
            (Some(size), true) => size.clone(),
            (None, false) => args.extract().map_err(|error| named(args.py(), self.op, "size", error))?,
            (Some(_), false) => return Err(PyTypeError::new_err(format!("{}(): size was given twice", self.op))),
            (None, true) => {
                return Err(PyTypeError::new_err(format!("{}() missing 1 required positional arguments: \"size\"", self.op)));
            }
        };
        Ok(shape_of(&dims)?)
    }

    /// Makes a tensor after the example of `x`, in the dtype asked for or that of `x`.
    pub fn build_like<'a>(
        self,
        x: &Bound<'a, Tensor>,
        make: impl FnOnce(&Tensor, DType) -> Result<Tensor>,
    ) -> PyResult<Bound<'a, PyAny>> {
        let example = x.borrow().clone();
        let y = make(&example, self.dtype.unwrap_or(example.dtype()))?;
        y.note_sample_of(example.sample_of());
        Ok(leaf_object(x.py(), y, self.requires_grad)?.into_any())
    }

    /// Makes the tensor, in the dtype asked for (else that of `out`, else `default`), and puts it where it is to go.
    pub fn build(
        self,
        py: Python<'py>,
        default: DType,
        make: impl FnOnce(DType) -> Result<Tensor>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(out) = self.out else {
            let x = make(self.dtype.unwrap_or(default))?;
            return Ok(leaf_object(py, x, self.requires_grad)?.into_any());
        };
        let target = out.borrow().dtype();
        if let Some(dtype) = self.dtype.filter(|dtype| *dtype != target) {
            let (given, found) = (dtype.type_word(), target.type_word());
            return Err(Error::Runtime(format!("dtype {given} does not match dtype of out parameter ({found})")).into());
        }
        // Of the constructors only `arange` says that it resizes.
        write_output(self.op, &out, &make(target)?, self.op == "arange")?;
        if self.requires_grad {
            out.call_method0("requires_grad_")?;
        }
        Ok(out.into_any())
    }
}

/// Sizes as a shape.
pub fn shape_of(dims: &Dims) -> Result<Shape> {
    match dims.iter().find(|size| **size < 0) {
        Some(bad) => Err(Error::Runtime(format!("Trying to create tensor with negative dimension {bad}: {:?}", &**dims))),
        None => Ok(dims.iter().map(|&size| size as usize).collect()),
    }
}

/// A TypeError with the function and the argument before it; other exceptions as they are.
fn named(py: Python<'_>, op: &str, argument: &str, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyTypeError>(py) || (argument == "size" && error.is_instance_of::<PyValueError>(py)) {
        PyTypeError::new_err(format!("{op}(): argument '{argument}': {}", error.value(py)))
    } else {
        error
    }
}
