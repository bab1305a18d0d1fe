//! The `memory_format` objects, compared by identity.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::{Borrowed, FromPyObject};

use super::arguments::type_name;
use crate::ops::arguments::MemoryFormat;

/// In which order the elements of a tensor lie in memory.
#[pyclass(module = "ferrograd", name = "memory_format", frozen)]
pub struct MemoryFormatObject(MemoryFormat);

const NAMES: [(MemoryFormat, &str); 4] = [
    (MemoryFormat::Contiguous, "contiguous_format"),
    (MemoryFormat::Preserve, "preserve_format"),
    (MemoryFormat::ChannelsLast, "channels_last"),
    (MemoryFormat::ChannelsLast3d, "channels_last_3d"),
];

/// Puts the objects in the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    NAMES.iter().try_for_each(|&(format, name)| module.add(name, MemoryFormatObject(format)))
}

#[pymethods]
impl MemoryFormatObject {
    fn __repr__(&self) -> String {
        format!("torch.{}", self.name())
    }

    /// Pickled, and copied, as the name in the module.
    fn __reduce__(&self) -> &'static str {
        self.name()
    }
}

impl MemoryFormatObject {
    fn name(&self) -> &'static str {
        NAMES.iter().find(|(format, _)| *format == self.0).map_or("memory_format", |(_, name)| name)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for MemoryFormat {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<MemoryFormat> {
        match ob.cast::<MemoryFormatObject>() {
            Ok(object) => Ok(object.get().0),
            Err(_) => Err(PyTypeError::new_err(format!("expected a memory_format, got {}", type_name(&ob)))),
        }
    }
}
