//! Results of ops that are more than one tensor, as Python objects.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::ops::arguments::{Extremum, Named, Pair};

impl<'py> IntoPyObject<'py> for Named {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static TYPES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let types = TYPES.get_or_try_init(py, || py.import("ferrograd.return_types").map(Bound::unbind))?;
        let items = self.items.into_iter().map(|item| Bound::new(py, item)).collect::<PyResult<Vec<_>>>()?;
        let items = PyTuple::new(py, items)?;
        if self.name.is_empty() { Ok(items.into_any()) } else { types.bind(py).getattr(self.name)?.call1((items,)) }
    }
}

impl<'py> IntoPyObject<'py> for Pair {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Named::new(self.name, [self.first, self.second]).into_pyobject(py)
    }
}

impl<'py> IntoPyObject<'py> for Extremum {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Extremum::One(tensor) => Ok(Bound::new(py, tensor)?.into_any()),
            Extremum::Two(pair) => pair.into_pyobject(py),
        }
    }
}
