//! The memory of tensors as Python objects, which are in `ferrograd/storage.py`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::dtype::DType;
use crate::interpreter::{Once, show};
use crate::layout::{Layout, Shape, contiguous_strides};
use crate::ops::arguments::Dims;
use crate::ops::sample_values::check_storage;
use crate::python::arguments::type_name;
use crate::runtime_error;
use crate::tape::view;
use crate::tensor::Tensor;

#[pymethods]
impl Tensor {
    /// The whole memory, of which this may show only a part, as bytes.
    fn untyped_storage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        check_storage("untyped_storage", self)?;
        let bytes = self.reinterpreted(Layout::contiguous(&[self.storage().bytes()]), DType::U8);
        py.import("ferrograd.storage")?.getattr("UntypedStorage")?.call1((bytes,))
    }

    /// The whole memory, of which this may show only a part, as elements of the dtype.
    #[pyo3(name = "storage")]
    fn typed_storage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static OLD: Once = Once::new(c"TypedStorage is deprecated. Use tensor.untyped_storage() instead of tensor.storage().");
        OLD.warn()?;
        check_storage("storage", self)?;
        let count = self.storage().bytes() / self.dtype().size();
        let elements = self.reinterpreted(Layout::contiguous(&[count]), self.dtype());
        py.import("ferrograd.storage")?.getattr("TypedStorage")?.call1((elements,))
    }

    /// Makes this tensor share the memory and shape of `source`; empty without one. A `source` may be a storage, too, and be shown in
    /// another way, as by `as_strided`: its elements from `storage_offset` on, in row-major order if there is no `stride`.
    ///
    /// Derivative: none, neither for this tensor nor for `source`; differentiating through it is an error.
    /// Raises: RuntimeError for a leaf that requires a gradient, unless nothing is recorded, or if the dtypes differ.
    #[pyo3(signature = (source=None, storage_offset=0, size=None, stride=None))]
    fn set_<'py>(
        slf: Bound<'py, Self>,
        source: Option<Bound<'py, PyAny>>,
        storage_offset: isize,
        size: Option<Dims>,
        stride: Option<Dims>,
    ) -> PyResult<Bound<'py, Self>> {
        let dtype = slf.borrow().dtype();
        let tensor = source.as_ref().and_then(|source| source.cast::<Tensor>().ok()).map(|source| source.borrow().clone());
        let source = match source {
            Some(source) => elements_of(&source, dtype)?,
            None => Tensor::uninitialized("set_", &[0], dtype)?,
        };
        if source.dtype() != dtype {
            runtime_error!("set_: could not set a tensor of dtype {dtype} to one of dtype {}", source.dtype())?;
        }
        let source = match size {
            None if storage_offset != 0 || stride.is_some() => runtime_error!("set_: expected the argument size, too")?,
            None => source,
            Some(size) => {
                let shape: Shape = size.iter().map(|&size| size.max(0) as usize).collect();
                let stride = stride.unwrap_or_else(|| Dims(contiguous_strides(&shape).iter().copied().collect()));
                let offset = source.layout().offset as isize + storage_offset;
                source.with_layout(source.strided_layout("set_", &size, &stride, Some(offset))?)
            }
        };
        view::in_place_memory("set_", &slf.borrow(), tensor.as_ref())?;
        let _old = show(&slf, &source)?;
        Ok(slf)
    }
}

/// A tensor, or all elements of the memory that an object of `ferrograd/storage.py` stands for: bytes are taken as `dtype`.
pub fn elements_of(source: &Bound<'_, PyAny>, dtype: DType) -> PyResult<Tensor> {
    if let Ok(tensor) = source.cast::<Tensor>() {
        return Ok(tensor.borrow().clone());
    }
    let untyped = source.get_type().name()? == "UntypedStorage";
    let elements = source.getattr("_elements").ok().and_then(|elements| elements.cast_into::<Tensor>().ok());
    let Some(elements) = elements else {
        return Err(PyTypeError::new_err(format!("expected a Tensor or a storage, got {}", type_name(source))));
    };
    let elements = elements.borrow().clone();
    let count = elements.storage().bytes() / dtype.size();
    Ok(if untyped { elements.reinterpreted(Layout::contiguous(&[count]), dtype) } else { elements })
}
