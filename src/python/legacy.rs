//! The constructors of torch's early days: `Tensor(2, 3)`, `FloatTensor([1, 2])`, and the types named after dtypes.

use std::ffi::CStr;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use super::data::tensor_of;
use super::numpy::{from_array, is_ndarray};
use super::options::{Device, shape_of};
use super::overrides::announce;
use crate::dtype::DType;
use crate::interpreter::Once;
use crate::layout::infer_shape;
use crate::ops::arguments::Dims;
use crate::ops::{default_dtype, set_default_dtype};
use crate::tensor::Tensor;

/// A tensor from sizes (with arbitrary contents) or from data.
fn construct(args: &Bound<'_, PyTuple>, keywords: Option<&Bound<'_, PyDict>>, dtype: Option<DType>) -> PyResult<Tensor> {
    let (mut size, mut data) = (None, None);
    for (key, value) in keywords.into_iter().flatten() {
        match key.cast::<PyString>()?.to_str()? {
            "data" => data = Some(value),
            "size" => size = Some(value.extract::<Dims>()?),
            "device" => drop(value.extract::<Option<Device>>()?),
            key => return Err(PyTypeError::new_err(format!("new() received an unexpected keyword argument '{key}'"))),
        }
    }
    let element = dtype.unwrap_or_else(default_dtype);
    let empty = |size: &Dims| Ok(Tensor::uninitialized("new", &shape_of(size)?, element)?);
    if let Some(size) = size {
        return empty(&size);
    }
    let first = match (args.len(), data) {
        (0, Some(data)) => data,
        (_, Some(_)) => return Err(PyTypeError::new_err("new(): data was given twice")),
        (0, None) => return empty(&Dims(smallvec::smallvec![0])),
        (1, None) => args.get_item(0)?,
        _ => return empty(&args.extract()?),
    };
    if let Ok(x) = first.cast::<Tensor>() {
        let x = x.borrow();
        return match dtype {
            Some(dtype) if dtype != x.dtype() => {
                Err(PyTypeError::new_err(format!("expected a tensor of dtype {dtype} (got {})", x.dtype())))
            }
            _ => Ok(x.get(&[])?),
        };
    }
    if first.get_type().name()? == "Size" {
        return empty(&first.extract()?);
    }
    if is_ndarray(&first)? {
        // Memory shared with the array, if its dtype is this one.
        return Ok(from_array(&first)?.to_dtype(element)?);
    }
    if first.is_instance_of::<PyList>() || first.is_instance_of::<PyTuple>() || first.is_instance_of::<PyString>() {
        return tensor_of(&first, Some(element));
    }
    match first.extract::<Dims>() {
        Ok(size) => empty(&size),
        Err(_) if first.len().is_ok() && first.hasattr("__getitem__")? => tensor_of(&first, Some(element)),
        Err(_) => Err(PyTypeError::new_err(format!("new(): data must be a sequence (got {})", first.get_type().name()?))),
    }
}

/// An instance of a subclass of `Tensor` that is this tensor. Its `__init__` does not run.
pub fn instance_of<'py>(class: &Bound<'py, PyType>, x: Tensor) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let base = py.get_type::<Tensor>();
    if class.is(&base) {
        return Ok(Bound::new(py, x)?.into_any());
    }
    let object = base.call_method1("__new__", (class,))?.cast_into::<Tensor>()?;
    *object.try_borrow_mut()? = x;
    Ok(object.into_any())
}

fn warn(py: Python<'_>, text: &CStr) -> PyResult<()> {
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)
}

impl Tensor {
    fn with_sizes(&self, shape: &[usize]) -> PyResult<Tensor> {
        let sizes = shape.iter().map(|&size| size as isize).collect::<Vec<_>>();
        Ok(self.reshaped(&infer_shape("resize", &sizes, self.numel())?)?)
    }
}

#[pymethods]
impl Tensor {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, **options))]
    fn new(cls: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Tensor> {
        announce(cls)?;
        construct(args, options, None)
    }

    /// A tensor of this dtype, from sizes (with arbitrary contents) or from data.
    #[pyo3(name = "new", signature = (*args, **options))]
    fn new_legacy(&self, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Tensor> {
        construct(args, options, Some(self.dtype()))
    }

    /// `data` as an instance of `cls`: the same memory, a leaf that asks for a gradient or not.
    #[staticmethod]
    #[pyo3(signature = (cls, data, require_grad=false))]
    fn _make_subclass<'py>(
        cls: &Bound<'py, PyType>,
        data: &Bound<'py, Tensor>,
        require_grad: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let x = data.borrow().detached(false);
        instance_of(cls, super::data::leaf(x, require_grad)?)
    }

    /// A view of other sizes, if the elements lie in order, else a copy. Deprecated: `view` or `reshape`.
    ///
    /// Raises: RuntimeError if the sizes are not those of as many elements.
    #[pyo3(signature = (*sizes))]
    fn resize(&self, py: Python<'_>, sizes: Dims) -> PyResult<Tensor> {
        warn(py, c"non-inplace resize is deprecated")?;
        self.with_sizes(&shape_of(&sizes)?)
    }

    /// A view of the sizes of another tensor, if the elements lie in order, else a copy. Deprecated: `view_as` or `reshape_as`.
    ///
    /// Raises: RuntimeError if the other has not as many elements.
    fn resize_as(&self, py: Python<'_>, tensor: &Tensor) -> PyResult<Tensor> {
        warn(py, c"non-inplace resize_as is deprecated")?;
        self.with_sizes(tensor.shape())
    }

    /// Whether no history is wanted of what is made of it, as before torch 0.4: never.
    #[getter(volatile)]
    fn get_volatile(&self, py: Python<'_>) -> PyResult<bool> {
        warn(py, c"volatile was removed (Variable.volatile is always False)")?;
        Ok(false)
    }

    #[setter(volatile)]
    fn set_volatile(slf: Bound<'_, Self>, _value: Bound<'_, PyAny>) -> PyResult<()> {
        warn(slf.py(), c"volatile was removed and now has no effect; use `with no_grad():` instead")
    }

    /// The name of a variable, which none has.
    #[getter(name)]
    fn get_name(&self) -> Option<String> {
        None
    }

    /// Says whether this is a parameter that has no shape yet, which ops refuse.
    fn _set_missing(&mut self, is_missing: bool) {
        self.set_missing(is_missing);
    }

    /// A view of all of it, as an instance of a subclass.
    fn as_subclass<'py>(&self, cls: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
        instance_of(cls, self.get(&[])?)
    }
}

/// A name of old for the tensors of one dtype: makes them, and recognises them in `isinstance`.
#[pyclass(module = "ferrograd", name = "tensortype", frozen)]
pub struct TensorType(DType);

impl TensorType {
    /// The dtype that a dtype object, a type of ours or its name stands for.
    pub fn named(ob: &Bound<'_, PyAny>) -> PyResult<DType> {
        if let Ok(object) = ob.cast::<TensorType>() {
            return Ok(object.get().0);
        }
        if let Ok(text) = ob.cast::<PyString>() {
            let text = text.to_str()?;
            if text.contains(".cuda.") {
                return Err(PyRuntimeError::new_err(format!("type: '{text}' is not available: ferrograd runs on the CPU")));
            }
            let word =
                text.strip_prefix("torch.").or(text.strip_prefix("ferrograd.")).and_then(|name| name.strip_suffix("Tensor"));
            let found = match word {
                Some("") => Some(default_dtype()),
                word => DType::ALL.into_iter().find(|dtype| word == Some(dtype.type_word())),
            };
            return found.ok_or_else(|| PyValueError::new_err(format!("invalid type: '{text}'")));
        }
        if ob.is(ob.py().get_type::<Tensor>()) {
            return Ok(default_dtype());
        }
        match ob.cast::<super::dtype::DTypeObject>() {
            Ok(_) => ob.extract(),
            Err(_) if !ob.is_instance_of::<PyType>() => Err(PyTypeError::new_err("dtype must be a type, str, or dtype object")),
            Err(_) => Err(PyValueError::new_err(format!("invalid type: {}", ob.repr()?))),
        }
    }
}

#[pymethods]
impl TensorType {
    #[pyo3(signature = (*args, **options))]
    fn __call__(&self, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Tensor> {
        construct(args, options, Some(self.0))
    }

    fn __instancecheck__(&self, instance: &Bound<'_, PyAny>) -> bool {
        instance.cast::<Tensor>().is_ok_and(|x| x.borrow().dtype() == self.0)
    }

    /// The dtype of its tensors.
    #[getter]
    fn dtype(&self) -> DType {
        self.0
    }

    /// How the elements of its tensors are stored.
    #[getter]
    fn layout<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("ferrograd._C")?.getattr("strided")
    }

    /// Whether it is a sparse type: never.
    #[getter]
    fn is_sparse(&self) -> bool {
        false
    }

    /// Whether it is a CUDA type: never.
    #[getter]
    fn is_cuda(&self) -> bool {
        false
    }

    #[getter]
    fn __name__(&self) -> String {
        format!("{}Tensor", self.0.type_word())
    }

    fn __repr__(&self) -> String {
        format!("<class 'torch.{}Tensor'>", self.0.type_word())
    }

    fn __reduce__(&self) -> String {
        self.__name__()
    }
}

/// Puts the types in the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for dtype in DType::ALL {
        module.add(format!("{}Tensor", dtype.type_word()).as_str(), Py::new(module.py(), TensorType(dtype))?)?;
    }
    Ok(())
}

/// Sets the dtype of new float tensors by the name of a type. Deprecated; use `set_default_dtype`.
///
/// Raises: TypeError if it is not a floating-point type.
#[pyfunction]
pub fn set_default_tensor_type(t: &Bound<'_, PyAny>) -> PyResult<()> {
    if !t.is_instance_of::<TensorType>() && !t.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("invalid type object: only floating-point types are supported as the default type"));
    }
    static OLD: Once = Once::new(c"torch.set_default_tensor_type() is deprecated, please use torch.set_default_dtype().");
    OLD.warn()?;
    Ok(set_default_dtype(TensorType::named(t)?)?)
}
