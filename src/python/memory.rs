//! The memory of tensors as Python objects, which are in `ferrograd/storage.py`.

use pyo3::prelude::*;

use crate::dtype::DType;
use crate::layout::Layout;
use crate::tensor::Tensor;

#[pymethods]
impl Tensor {
    /// The whole memory, of which this may show only a part, as bytes.
    fn untyped_storage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.reinterpreted(Layout::contiguous(&[self.storage().bytes()]), DType::U8);
        py.import("ferrograd.storage")?.getattr("UntypedStorage")?.call1((bytes,))
    }

    /// The whole memory, of which this may show only a part, as elements of the dtype.
    #[pyo3(name = "storage")]
    fn typed_storage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let count = self.storage().bytes() / self.dtype().size();
        let elements = self.reinterpreted(Layout::contiguous(&[count]), self.dtype());
        py.import("ferrograd.storage")?.getattr("TypedStorage")?.call1((elements,))
    }
}
