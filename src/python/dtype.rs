//! The `dtype` objects: one per element type, compared by identity, pickled by name.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyComplex, PyFloat, PyInt};
use pyo3::{Borrowed, FromPyObject};

use super::arguments::type_name;
use crate::dtype::DType;

/// The type of a tensor's elements.
#[pyclass(module = "ferrograd", name = "dtype", frozen)]
pub struct DTypeObject(DType);

static OBJECTS: PyOnceLock<Vec<Py<DTypeObject>>> = PyOnceLock::new();

fn objects(py: Python<'_>) -> PyResult<&[Py<DTypeObject>]> {
    let make = || DType::ALL.iter().map(|&dtype| Py::new(py, DTypeObject(dtype))).collect::<PyResult<Vec<_>>>();
    OBJECTS.get_or_try_init(py, make).map(Vec::as_slice)
}

/// Torch's second names.
const ALIASES: [(&str, DType); 7] = [
    ("float", DType::F32),
    ("double", DType::F64),
    ("cfloat", DType::C64),
    ("cdouble", DType::C128),
    ("long", DType::I64),
    ("int", DType::I32),
    ("short", DType::I16),
];

/// Puts the objects and their aliases in the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for dtype in DType::ALL {
        module.add(dtype.name(), dtype)?;
    }
    for (alias, dtype) in ALIASES {
        module.add(alias, dtype)?;
    }
    Ok(())
}

#[pymethods]
impl DTypeObject {
    /// Whether it is a floating-point type.
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_float()
    }

    /// Whether it is a complex type.
    #[getter]
    fn is_complex(&self) -> bool {
        self.0.is_complex()
    }

    /// The dtype of the parts of a complex number; of others, the dtype itself.
    fn to_real(&self) -> DType {
        self.0.to_real()
    }

    /// The complex dtype with parts of this dtype.
    fn to_complex(&self) -> PyResult<DType> {
        if self.0.is_inexact() {
            Ok(self.0.to_complex())
        } else {
            Err(PyTypeError::new_err(format!("to_complex: {} has no complex dtype", self.0)))
        }
    }

    /// Whether it has negative numbers.
    #[getter]
    fn is_signed(&self) -> bool {
        !matches!(self.0, DType::Bool | DType::U8)
    }

    /// Size of one element in bytes.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }

    fn __repr__(&self) -> String {
        format!("torch.{}", self.0.name())
    }

    fn __reduce__(&self) -> &'static str {
        self.0.name()
    }
}

impl<'py> IntoPyObject<'py> for DType {
    type Target = DTypeObject;
    type Output = Bound<'py, DTypeObject>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, DTypeObject>> {
        match objects(py)?.get(self as usize) {
            Some(object) => Ok(object.bind(py).clone()),
            None => Err(PyTypeError::new_err(format!("no object for dtype {self}"))),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for DType {
    type Error = PyErr;

    /// A dtype object, or one of Python's types `float`, `complex`, `int` and `bool`.
    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<DType> {
        if let Ok(object) = ob.cast::<DTypeObject>() {
            return Ok(object.get().0);
        }
        let py = ob.py();
        let python = [
            (py.get_type::<PyFloat>(), DType::F64),
            (py.get_type::<PyComplex>(), DType::C128),
            (py.get_type::<PyInt>(), DType::I64),
            (py.get_type::<PyBool>(), DType::Bool),
        ];
        match python.iter().find(|(class, _)| ob.is(class)) {
            Some(&(_, dtype)) => Ok(dtype),
            None => Err(PyTypeError::new_err(format!("expected a dtype, got {}", type_name(&ob)))),
        }
    }
}
