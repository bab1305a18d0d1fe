//! Which Python exception an error is: torch's class for each.

use pyo3::exceptions::{
    PyBaseException, PyIndexError, PyMemoryError, PyNotImplementedError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;

use crate::error::Error;

pyo3::create_exception!(ferrograd.linalg, LinAlgError, PyRuntimeError, "A matrix that cannot be decomposed.");

pyo3::create_exception!(
    ferrograd,
    OtherSamples,
    PyBaseException,
    "Breaks off a sample of a `vmap` until the others have come as far."
);

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let text = error.to_string();
        match error {
            Error::Dim { .. } | Error::Index(_) => PyIndexError::new_err(text),
            Error::Memory { .. } => PyMemoryError::new_err(text),
            Error::Linalg(_) => LinAlgError::new_err(text),
            Error::Value(_) => PyValueError::new_err(text),
            Error::Type(_) => PyTypeError::new_err(text),
            Error::OtherSamples(map) => OtherSamples::new_err(map),
            Error::NotImplemented(_) | Error::DType { .. } => PyNotImplementedError::new_err(text),
            Error::External(cause) => match cause.downcast::<PyErr>() {
                Ok(exception) => *exception,
                Err(cause) => PyRuntimeError::new_err(cause.to_string()),
            },
            _ => PyRuntimeError::new_err(text),
        }
    }
}

impl From<PyErr> for Error {
    fn from(exception: PyErr) -> Error {
        Error::External(Box::new(exception))
    }
}
