//! The Python module: its tree, argument types, exceptions. Knows everything.

mod arguments;
mod errors;
mod interpreter;

use pyo3::prelude::*;

/// The extension module behind `ferrograd`.
#[pymodule(gil_used = true)]
#[allow(non_snake_case)]
mod _C {
    use super::*;

    #[pymodule_export]
    use crate::tensor::Tensor;

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::interpreter::install();
        Ok(())
    }
}
