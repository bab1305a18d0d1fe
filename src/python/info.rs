//! Questions about dtypes, defaults and numbers of threads; print options.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::repr::{print_options, set_print_options};
use crate::dtype::{DType, Kind, Promotion, promote};
use crate::interpreter::WARN_ALWAYS;
use crate::ops::arguments::Operand;
use crate::tensor::Tensor;

/// The dtype of new float tensors.
#[pyfunction]
pub fn get_default_dtype() -> DType {
    crate::ops::default_dtype()
}

/// Sets the dtype of new float tensors.
///
/// Raises: TypeError if it is not a floating-point type.
#[pyfunction]
pub fn set_default_dtype(d: DType) -> PyResult<()> {
    Ok(crate::ops::set_default_dtype(d)?)
}

/// Whether an object is a tensor.
#[pyfunction]
pub fn is_tensor(obj: &Bound<'_, PyAny>) -> bool {
    obj.is_instance_of::<Tensor>()
}

/// The dtype that an operation on two tensors or numbers would have.
#[pyfunction]
pub fn result_type(tensor1: Operand, tensor2: Operand) -> PyResult<DType> {
    let mut promotion = Promotion::default();
    for operand in [tensor1, tensor2] {
        let x = operand.tensor()?;
        promotion.add(x.dtype(), x.rank(), x.is_number());
    }
    Ok(promotion.result(crate::ops::default_dtype()))
}

/// The smallest dtype that holds both.
#[pyfunction]
pub fn promote_types(type1: DType, type2: DType) -> DType {
    promote(type1, type2)
}

/// Whether results of one dtype may be stored in another: not if its kind (bool, integer, float) is lower.
#[pyfunction]
#[pyo3(signature = (from_, to))]
pub fn can_cast(from_: DType, to: DType) -> bool {
    from_.kind() <= to.kind()
}

/// The limits of a floating-point dtype; for a complex one, of its parts.
#[pyclass(module = "ferrograd", name = "finfo", frozen, eq)]
#[derive(PartialEq)]
pub struct FloatInfo(DType);

#[pymethods]
impl FloatInfo {
    #[new]
    #[pyo3(signature = (r#type=None))]
    fn new(r#type: Option<DType>) -> PyResult<FloatInfo> {
        let dtype = r#type.unwrap_or_else(crate::ops::default_dtype).to_real();
        if dtype.is_float() {
            return Ok(FloatInfo(dtype));
        }
        Err(PyTypeError::new_err("torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo'"))
    }

    fn pick(&self, single: f64, double: f64) -> f64 {
        if self.0 == DType::F32 { single } else { double }
    }

    /// The number of bits.
    #[getter]
    fn bits(&self) -> usize {
        self.0.size() * 8
    }

    /// The distance from 1 to the next number.
    #[getter]
    fn eps(&self) -> f64 {
        self.pick(f32::EPSILON.into(), f64::EPSILON)
    }

    /// The largest number.
    #[getter]
    fn max(&self) -> f64 {
        self.pick(f32::MAX.into(), f64::MAX)
    }

    /// The smallest number, which is negative.
    #[getter]
    fn min(&self) -> f64 {
        -self.max()
    }

    /// The smallest positive number of full precision.
    #[getter]
    fn tiny(&self) -> f64 {
        self.pick(f32::MIN_POSITIVE.into(), f64::MIN_POSITIVE)
    }

    /// The smallest positive number of full precision.
    #[getter]
    fn smallest_normal(&self) -> f64 {
        self.tiny()
    }

    /// The decimal resolution.
    #[getter]
    fn resolution(&self) -> f64 {
        self.pick(1e-6, 1e-15)
    }

    /// The name of the dtype.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.name()
    }

    fn __repr__(&self) -> String {
        let g = |v: f64| super::arguments::six_digits(v);
        format!(
            "finfo(resolution={}, min={}, max={}, eps={}, smallest_normal={}, tiny={}, dtype={})",
            g(self.resolution()),
            g(self.min()),
            g(self.max()),
            g(self.eps()),
            g(self.tiny()),
            g(self.tiny()),
            self.0.name()
        )
    }
}

/// The limits of an integer dtype.
#[pyclass(module = "ferrograd", name = "iinfo", frozen, eq)]
#[derive(PartialEq)]
pub struct IntInfo(DType);

#[pymethods]
impl IntInfo {
    #[new]
    fn new(r#type: DType) -> PyResult<IntInfo> {
        match r#type.kind() {
            Kind::Int => Ok(IntInfo(r#type)),
            Kind::Bool => Err(PyTypeError::new_err("torch.bool is not supported by torch.iinfo")),
            Kind::Float | Kind::Complex => {
                Err(PyTypeError::new_err("torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'"))
            }
        }
    }

    /// The number of bits.
    #[getter]
    fn bits(&self) -> usize {
        self.0.size() * 8
    }

    /// The largest number.
    #[getter]
    fn max(&self) -> i64 {
        if self.0 == DType::U8 { 255 } else { i64::MAX >> (64 - self.bits()) }
    }

    /// The smallest number.
    #[getter]
    fn min(&self) -> i64 {
        if self.0 == DType::U8 { 0 } else { i64::MIN >> (64 - self.bits()) }
    }

    /// The name of the dtype.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.name()
    }

    fn __repr__(&self) -> String {
        let g = |v: i64| super::arguments::six_digits(v as f64);
        format!("iinfo(min={}, max={}, dtype={})", g(self.min()), g(self.max()), self.0.name())
    }
}

/// Whether warnings that come once come each time.
#[pyfunction]
pub fn is_warn_always_enabled() -> bool {
    WARN_ALWAYS.load(Ordering::Relaxed)
}

/// Has warnings that come once in a program come each time, or not.
#[pyfunction]
#[pyo3(signature = (b, /))]
pub fn set_warn_always(b: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(flag) = b.cast::<PyBool>() else {
        return Err(PyRuntimeError::new_err(format!("set_warn_always expects a bool, but got {}", b.get_type().name()?)));
    };
    WARN_ALWAYS.store(flag.is_true(), Ordering::Relaxed);
    Ok(())
}

/// How many threads kernels use.
#[pyfunction]
pub fn get_num_threads() -> usize {
    crate::kernels::par::num_threads()
}

/// Sets how many threads kernels use.
///
/// Raises: RuntimeError if it is not positive.
#[pyfunction]
#[pyo3(signature = (int, /))]
pub fn set_num_threads(int: i64) -> PyResult<()> {
    if int < 1 {
        return Err(PyRuntimeError::new_err("set_num_threads expects a positive integer"));
    }
    crate::kernels::par::set_num_threads(int as usize);
    Ok(())
}

/// A count that may be infinite.
fn count(ob: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
    match ob {
        None => Ok(None),
        Some(ob) => match ob.extract::<usize>() {
            Ok(n) => Ok(Some(n)),
            Err(_) => match ob.extract::<f64>()? {
                v if v == f64::INFINITY => Ok(Some(usize::MAX)),
                v if v >= 0.0 => Ok(Some(v as usize)),
                v => Err(PyRuntimeError::new_err(format!("set_printoptions: {v} is not a count"))),
            },
        },
    }
}

/// Sets how tensors are printed: digits after the point, the number of elements from which they are summarised, elements
/// kept at each end then, characters per line; `profile` is 'default', 'short' or 'full'.
#[pyfunction]
#[pyo3(signature = (precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None))]
pub fn set_printoptions(
    precision: Option<usize>,
    threshold: Option<&Bound<'_, PyAny>>,
    edgeitems: Option<usize>,
    linewidth: Option<&Bound<'_, PyAny>>,
    profile: Option<&str>,
    sci_mode: Option<bool>,
) -> PyResult<()> {
    let (threshold, linewidth) = (count(threshold)?, count(linewidth)?);
    set_print_options(print_options().updated(precision, threshold, edgeitems, linewidth, profile, sci_mode));
    Ok(())
}
