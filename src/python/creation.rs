//! Constructors as Python sees them. What they compute is in `ops/creation.rs`.
//!
//! All take the keywords dtype, device, layout, requires_grad and pin_memory (see `options.rs`); most take `out`.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMemoryView, PyTuple};

use super::data::{leaf, leaf_object, tensor_of, warn_of_tensor};
use super::numpy::{from_array, from_numpy, is_ndarray, is_numpy_scalar, typestr};
use super::options::{Options, shape_of};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::Strides;
use crate::ops::arguments::{Dims, MemoryFormat, Whole};
use crate::ops::creation::{format_strides, permuted_strides, range_dtype, spaced_dtype};
use crate::ops::default_dtype;
use crate::ops::fft::functions::frequencies;
use crate::ops::join::triangle_indices;
use crate::tape::mode::ModeGuard;
use crate::tape::sample::made_of;
use crate::tensor::Tensor;

type Keywords<'a, 'py> = &'a Bound<'py, PyDict>;
type Object<'py> = PyResult<Bound<'py, PyAny>>;

/// A tensor with arbitrary contents, of the sizes given one by one or as a sequence.
#[pyfunction]
#[pyo3(signature = (*size, **options))]
pub fn empty<'py>(size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("empty", options, &["size", "out", "memory_format"])?;
    let shape = options.shape(size)?;
    let strides = format_strides("empty", &shape, options.memory_format.unwrap_or(MemoryFormat::Contiguous))?;
    options.build(size.py(), default_dtype(), |dtype| Tensor::uninitialized_strided("empty", &shape, strides, dtype))
}

fn constant<'py>(op: &'static str, value: i64, size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse(op, options, &["size", "out"])?;
    let shape = options.shape(size)?;
    options.build(size.py(), default_dtype(), |dtype| Tensor::full(op, &shape, Scalar::Int(value), dtype))
}

/// A tensor of zeros, of the sizes given one by one or as a sequence.
#[pyfunction]
#[pyo3(signature = (*size, **options))]
pub fn zeros<'py>(size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    constant("zeros", 0, size, options)
}

/// A tensor of ones, of the sizes given one by one or as a sequence.
#[pyfunction]
#[pyo3(signature = (*size, **options))]
pub fn ones<'py>(size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    constant("ones", 1, size, options)
}

/// A sequence of sizes; a single int is refused, as torch refuses it.
fn size_list(op: &'static str, size: &Bound<'_, PyAny>) -> PyResult<Dims> {
    match size.len() {
        Ok(_) => size.extract(),
        Err(_) => {
            Err(PyTypeError::new_err(format!("{op}(): argument 'size' must be tuple of ints, not {}", size.get_type().name()?)))
        }
    }
}

/// A tensor of one number. The dtype is the number's unless one is given.
///
/// Raises: RuntimeError if the dtype cannot hold the number.
#[pyfunction]
#[pyo3(signature = (size, fill_value, **options))]
pub fn full<'py>(size: &Bound<'py, PyAny>, fill_value: Scalar, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("full", options, &["out"])?;
    let shape = shape_of(&size_list("full", size)?)?;
    options.build(size.py(), fill_value.dtype(default_dtype()), |dtype| Tensor::full("full", &shape, fill_value, dtype))
}

fn like<'py>(
    op: &'static str,
    input: &Bound<'py, Tensor>,
    options: Option<Keywords<'_, 'py>>,
    make: impl FnOnce(&Tensor, DType, MemoryFormat) -> Result<Tensor>,
) -> Object<'py> {
    let options = Options::parse(op, options, &["memory_format"])?;
    let format = options.memory_format.unwrap_or(MemoryFormat::Preserve);
    options.build_like(input, |x, dtype| make(x, dtype, format))
}

/// A tensor with arbitrary contents, of the shape, dtype and order in memory of `input`.
#[pyfunction]
#[pyo3(signature = (input, **options))]
pub fn empty_like<'py>(input: &Bound<'py, Tensor>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    like("empty_like", input, options, Tensor::empty_like)
}

/// A tensor of zeros, of the shape, dtype and order in memory of `input`.
#[pyfunction]
#[pyo3(signature = (input, **options))]
pub fn zeros_like<'py>(input: &Bound<'py, Tensor>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    like("zeros_like", input, options, |x, dtype, format| x.full_like("zeros_like", Scalar::Int(0), dtype, format))
}

/// A tensor of ones, of the shape, dtype and order in memory of `input`.
#[pyfunction]
#[pyo3(signature = (input, **options))]
pub fn ones_like<'py>(input: &Bound<'py, Tensor>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    like("ones_like", input, options, |x, dtype, format| x.full_like("ones_like", Scalar::Int(1), dtype, format))
}

/// A tensor of one number, of the shape, dtype and order in memory of `input`.
#[pyfunction]
#[pyo3(signature = (input, fill_value, **options))]
pub fn full_like<'py>(input: &Bound<'py, Tensor>, fill_value: Scalar, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    like("full_like", input, options, |x, dtype, format| x.full_like("full_like", fill_value, dtype, format))
}

/// A tensor with arbitrary contents and the given strides.
#[pyfunction]
#[pyo3(signature = (size, stride, **options))]
pub fn empty_strided<'py>(py: Python<'py>, size: Dims, stride: Dims, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("empty_strided", options, &[])?;
    let shape = shape_of(&size)?;
    options.build(py, default_dtype(), |dtype| Tensor::empty_strided(&shape, Strides::from_slice(&stride), dtype))
}

/// A tensor with arbitrary contents whose dims lie in memory in the given order, the outermost first.
#[pyfunction]
#[pyo3(signature = (size, physical_layout, **options))]
pub fn empty_permuted<'py>(
    py: Python<'py>,
    size: Dims,
    physical_layout: Dims,
    options: Option<Keywords<'_, 'py>>,
) -> Object<'py> {
    let options = Options::parse("empty_permuted", options, &[])?;
    let shape = shape_of(&size)?;
    let mut seen = vec![false; shape.len()];
    let valid = physical_layout.len() == shape.len()
        && physical_layout
            .iter()
            .all(|&d| usize::try_from(d).is_ok_and(|d| seen.get_mut(d).is_some_and(|seen| !std::mem::replace(seen, true))));
    if !valid {
        let text = format!("empty_permuted: {:?} is not an order of {} dims", &*physical_layout, shape.len());
        return Err(PyRuntimeError::new_err(text));
    }
    let order: Vec<usize> = physical_layout.iter().map(|&d| d as usize).collect();
    let strides = permuted_strides(&shape, &order);
    options.build(py, default_dtype(), |dtype| Tensor::uninitialized_strided("empty_permuted", &shape, strides, dtype))
}

/// A 0-d tensor of one number, of the default float dtype unless one is given.
#[pyfunction]
#[pyo3(signature = (s, **options))]
pub fn scalar_tensor<'py>(py: Python<'py>, s: Scalar, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("scalar_tensor", options, &[])?;
    options.build(py, default_dtype(), |dtype| Tensor::full("scalar_tensor", &[], s, dtype))
}

/// Numbers from `start` (0) up to but not including `end` by `step` (1): `arange(end)`, `arange(start, end, step)`.
///
/// Dtype: int64 if all are integers, else the default float.
/// Raises: RuntimeError if `step` is 0 or leads away from `end`.
#[pyfunction]
#[pyo3(signature = (*args, **options))]
pub fn arange<'py>(args: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let (start, end, step, options) = range_arguments("arange", args, options)?;
    if options.out.is_none() || options.dtype.is_some() {
        return options.build(args.py(), range_dtype(&[start, end, step]), |dtype| Tensor::arange(start, end, step, dtype));
    }
    options.build(args.py(), DType::F32, |dtype| Tensor::arange(start, end, step, dtype))
}

/// Numbers from `start` (0) up to and including `end` by `step` (1). Deprecated; use `arange`.
#[pyfunction]
#[pyo3(signature = (*args, **options))]
pub fn range<'py>(args: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let text =
        c"range is deprecated because its behavior is inconsistent with Python's range builtin. Instead, use arange, which \
                 produces values in [start, end).";
    PyErr::warn(args.py(), &args.py().get_type::<pyo3::exceptions::PyUserWarning>(), text, 1)?;
    let (start, end, step, options) = range_arguments("range", args, options)?;
    options.build(args.py(), default_dtype(), |dtype| Tensor::range(start, end, step, dtype))
}

/// The frequencies of the numbers that `fft` answers for `n` samples `d` apart: k / (n d), those from half of them on negative.
///
/// Dtype: float.
#[pyfunction]
#[pyo3(signature = (n, d=1.0, **options))]
pub fn fftfreq<'py>(py: Python<'py>, n: Whole, d: f64, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("fftfreq", options, &["out"])?;
    options.build(py, default_dtype(), |dtype| frequencies("fftfreq", n.0, 1.0 / (n.0 as f64 * d), true, dtype))
}

/// The frequencies of the numbers that `rfft` answers for `n` samples `d` apart: k / (n d).
///
/// Dtype: float.
#[pyfunction]
#[pyo3(signature = (n, d=1.0, **options))]
pub fn rfftfreq<'py>(py: Python<'py>, n: Whole, d: f64, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("rfftfreq", options, &["out"])?;
    options.build(py, default_dtype(), |dtype| frequencies("rfftfreq", n.0 / 2 + 1, 1.0 / (n.0 as f64 * d), false, dtype))
}

/// `(end)`, `(start, end)` or `(start, end, step)`, each also by name; and the other keywords.
fn range_arguments<'py>(
    op: &'static str,
    args: &Bound<'py, PyTuple>,
    keywords: Option<Keywords<'_, 'py>>,
) -> PyResult<(Scalar, Scalar, Scalar, Options<'py>)> {
    let options = Options::parse(op, keywords, &["out", "start", "end", "step"])?;
    let mut given = [None, None, None];
    let first = if args.len() == 1 && keywords.is_none_or(|k| !k.contains("end").unwrap_or(false)) { 1 } else { 0 };
    for (place, value) in (first..).zip(args.iter()) {
        let slot = given.get_mut(place).ok_or_else(|| PyTypeError::new_err(format!("{op}() takes at most 3 numbers")))?;
        *slot = Some(value.extract::<Scalar>()?);
    }
    if let Some(keywords) = keywords {
        for (slot, name) in given.iter_mut().zip(["start", "end", "step"]) {
            match keywords.get_item(name)? {
                Some(_) if slot.is_some() => {
                    return Err(PyTypeError::new_err(format!("{op}() got multiple values for argument '{name}'")));
                }
                Some(value) => *slot = Some(value.extract::<Scalar>()?),
                None => {}
            }
        }
    }
    let [start, end, step] = given;
    let end = end.ok_or_else(|| PyTypeError::new_err(format!("{op}() missing 1 required positional arguments: \"end\"")))?;
    Ok((start.unwrap_or(Scalar::Int(0)), end, step.unwrap_or(Scalar::Int(1)), options))
}

/// A number, or a tensor that must be 0-d.
fn endpoint(op: &str, ob: &Bound<'_, PyAny>) -> PyResult<Scalar> {
    match ob.cast::<Tensor>() {
        Ok(x) if x.borrow().rank() != 0 => {
            let rank = x.borrow().rank();
            Err(PyRuntimeError::new_err(format!(
                "{op} only supports 0-dimensional start and end tensors, but got one with {rank} dimension(s)"
            )))
        }
        Ok(x) => Ok(x.borrow().scalar()?),
        Err(_) => ob.extract(),
    }
}

fn step_count(op: &str, steps: &Bound<'_, PyAny>) -> PyResult<usize> {
    let Dims(steps) = steps.extract()?;
    match steps.first() {
        Some(&steps) if steps >= 0 => Ok(steps as usize),
        _ => Err(PyRuntimeError::new_err(format!("{op}: number of steps must be non-negative"))),
    }
}

/// See [`made_of`], for endpoints.
fn made_of_ends(ends: [&Bound<'_, PyAny>; 2]) -> Option<ModeGuard> {
    let tensors: Vec<Tensor> = ends.iter().filter_map(|end| Some(end.cast::<Tensor>().ok()?.borrow().clone())).collect();
    made_of(&tensors)
}

/// `steps` evenly spaced numbers from `start` to `end`, both included.
#[pyfunction]
#[pyo3(signature = (start, end, steps, **options))]
pub fn linspace<'py>(
    start: &Bound<'py, PyAny>,
    end: &Bound<'py, PyAny>,
    steps: &Bound<'py, PyAny>,
    options: Option<Keywords<'_, 'py>>,
) -> Object<'py> {
    let options = Options::parse("linspace", options, &["out"])?;
    let (low, high, n) = (endpoint("linspace", start)?, endpoint("linspace", end)?, step_count("linspace", steps)?);
    let dtype = spaced_dtype("linspace", [low, high], options.dtype)?;
    let _of = made_of_ends([start, end]);
    options.build(start.py(), dtype, |dtype| Tensor::linspace(low, high, n, dtype))
}

/// `base` to the powers of `steps` evenly spaced numbers from `start` to `end`, both included.
#[pyfunction]
#[pyo3(signature = (start, end, steps, base=10.0, **options))]
pub fn logspace<'py>(
    start: &Bound<'py, PyAny>,
    end: &Bound<'py, PyAny>,
    steps: &Bound<'py, PyAny>,
    base: f64,
    options: Option<Keywords<'_, 'py>>,
) -> Object<'py> {
    let options = Options::parse("logspace", options, &["out"])?;
    let (low, high, n) = (endpoint("logspace", start)?, endpoint("logspace", end)?, step_count("logspace", steps)?);
    let dtype = spaced_dtype("logspace", [low, high], options.dtype)?;
    let _of = made_of_ends([start, end]);
    options.build(start.py(), dtype, |dtype| Tensor::logspace(low, high, n, base, dtype))
}

/// A matrix of `n` rows and `m` (`n`) columns with ones on the diagonal and zeros elsewhere.
#[pyfunction]
#[pyo3(signature = (n, m=None, **options))]
pub fn eye<'py>(py: Python<'py>, n: Whole, m: Option<Whole>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("eye", options, &["out"])?;
    let (n, m) = (n.0, m.unwrap_or(n).0);
    for (name, value) in [("n", n), ("m", m)] {
        if value < 0 {
            return Err(PyRuntimeError::new_err(format!("{name} must be greater or equal to 0, got {value}")));
        }
    }
    options.build(py, default_dtype(), |dtype| Tensor::eye(n as usize, m as usize, dtype))
}

macro_rules! triangle_functions {
    ($($(#[$doc:meta])* $name:ident lower=$lower:literal;)+) => {$(
        $(#[$doc])*
        #[pyfunction]
        #[pyo3(signature = (row, col, offset=0, **options))]
        pub fn $name<'py>(
            py: Python<'py>,
            row: isize,
            col: isize,
            offset: isize,
            options: Option<Keywords<'_, 'py>>,
        ) -> Object<'py> {
            const OP: &str = stringify!($name);
            let options = Options::parse(OP, options, &[])?;
            options.build(py, DType::I64, |dtype| triangle_indices(OP, (row, col), offset, $lower, Some(dtype)))
        }
    )+};
}

triangle_functions! {
    /// The places of the lower triangle of a matrix: a row of rows and a row of columns.
    tril_indices lower=true;
    /// The places of the upper triangle of a matrix: a row of rows and a row of columns.
    triu_indices lower=false;
}

/// `data` as a tensor: itself if it is one of this dtype, memory shared with a numpy array, else a copy.
#[pyfunction]
#[pyo3(signature = (data, dtype=None, **options))]
pub fn as_tensor<'py>(data: &Bound<'py, PyAny>, dtype: Option<DType>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    Options::parse_only("as_tensor", options, &["device"])?;
    if let Ok(x) = data.cast::<Tensor>() {
        let x = x.borrow();
        return match dtype.filter(|dtype| *dtype != x.dtype()) {
            None => Ok(data.clone()),
            Some(dtype) => Ok(Bound::new(data.py(), x.to_dtype(dtype)?)?.into_any()),
        };
    }
    let x = if is_ndarray(data)? {
        let x = from_array(data)?;
        x.to_dtype(dtype.unwrap_or(x.dtype()))?
    } else {
        tensor_of(data, dtype)?
    };
    Ok(Bound::new(data.py(), x)?.into_any())
}

/// A 1-d tensor over the memory of an object with a buffer (bytes, bytearray, array, …): `count` elements (-1 for all) from
/// byte `offset` on.
///
/// Raises: ValueError if the buffer holds fewer.
#[pyfunction]
#[pyo3(signature = (buffer, *, dtype, count=-1, offset=0, requires_grad=false))]
pub fn frombuffer(buffer: &Bound<'_, PyAny>, dtype: DType, count: isize, offset: isize, requires_grad: bool) -> PyResult<Tensor> {
    if !has_buffer(buffer) {
        return Err(PyValueError::new_err("frombuffer: object does not implement Python buffer protocol."));
    }
    let bytes = buffer.py().get_type::<PyMemoryView>().call1((buffer,))?.getattr("nbytes")?.extract::<isize>()?;
    if bytes == 0 || count == 0 {
        return Err(PyValueError::new_err(format!("frombuffer: both buffer length ({bytes}) and count ({count}) must not be 0")));
    }
    if !(0..bytes).contains(&offset) {
        let text =
            format!("frombuffer: offset ({offset} bytes) must be non-negative and less than the buffer length ({bytes} bytes)");
        return Err(PyValueError::new_err(text));
    }
    let array = buffer.py().import("numpy")?.getattr("frombuffer")?.call1((buffer, typestr(dtype), count, offset))?;
    leaf(from_numpy(&array)?, requires_grad)
}

/// Whether an object shows its memory, as bytes, bytearray and array do.
fn has_buffer(ob: &Bound<'_, PyAny>) -> bool {
    // SAFETY: any object may be asked.
    unsafe { ffi::PyObject_CheckBuffer(ob.as_ptr()) != 0 }
}

/// `obj` as a tensor, sharing memory where it can: always a copy if `copy`, never one if `copy` is False.
///
/// A tensor keeps its history, unless `requires_grad` is False: then a leaf, even `obj` itself, no longer asks for a gradient, and
/// what was computed is detached.
/// Raises: ValueError if a copy is needed and not allowed.
#[pyfunction]
#[pyo3(signature = (obj, *, copy=None, requires_grad=None, **options))]
pub fn asarray<'py>(
    obj: &Bound<'py, PyAny>,
    copy: Option<bool>,
    requires_grad: Option<bool>,
    options: Option<Keywords<'_, 'py>>,
) -> Object<'py> {
    let py = obj.py();
    let options = Options::parse_only("asarray", options, &["dtype", "device"])?;
    let shared = match obj.cast::<Tensor>() {
        Ok(x) => Some(x.borrow().clone()),
        Err(_) if is_ndarray(obj)? => Some(from_array(obj)?),
        Err(_) if has_buffer(obj) && !is_numpy_scalar(obj)? => {
            Some(frombuffer(obj, options.dtype.unwrap_or_else(default_dtype), -1, 0, false)?)
        }
        Err(_) if obj.hasattr("__dlpack__")? => Some(super::dlpack::from_dlpack(obj, None, None)?),
        Err(_) => None,
    };
    let Some(x) = shared else {
        if copy == Some(false) {
            return Err(Error::Value("can't alias arbitrary sequence into a tensor.".into()).into());
        }
        return Ok(leaf_object(py, tensor_of(obj, options.dtype)?, requires_grad == Some(true))?.into_any());
    };
    let dtype = options.dtype.unwrap_or(x.dtype());
    if copy == Some(false) && dtype != x.dtype() {
        return Err(Error::Value(format!("can't alias tensor of dtype {} as {dtype}", x.dtype())).into());
    }
    let y = match obj.cast::<Tensor>() {
        Ok(same) if copy != Some(true) && dtype == x.dtype() => same.clone(),
        _ if copy == Some(true) && dtype == x.dtype() => Bound::new(py, x.clone_recorded(None)?)?,
        _ => Bound::new(py, x.to_dtype(dtype)?)?,
    };
    let (asks, computed) = (y.borrow().is_shown(), y.borrow().shown_node().is_some());
    match requires_grad {
        Some(false) if asks && computed => Ok(Bound::new(py, y.borrow().detached(false))?.into_any()),
        Some(wanted) if asks != wanted => y.call_method1("requires_grad_", (wanted,)),
        _ => Ok(y.into_any()),
    }
}

#[pymethods]
impl Tensor {
    /// A tensor with the values of `data` and this dtype unless one is given. Always a copy.
    #[pyo3(signature = (data, **options))]
    fn new_tensor<'py>(&self, data: &Bound<'py, PyAny>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
        let options = Options::parse_only("new_tensor", options, &["dtype", "device", "requires_grad"])?;
        warn_of_tensor(data, "tensor.new_tensor(sourceTensor)")?;
        let x = tensor_of(data, Some(options.dtype.unwrap_or(self.dtype())))?;
        Ok(leaf_object(data.py(), x, options.requires_grad)?.into_any())
    }

    /// A tensor with arbitrary contents, of this dtype unless one is given.
    #[pyo3(signature = (*size, **options))]
    fn new_empty<'py>(this: &Bound<'py, Tensor>, size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
        let options = Options::parse("new_empty", options, &["size"])?;
        let shape = options.shape(size)?;
        options.build_like(this, |_, dtype| Tensor::uninitialized("new_empty", &shape, dtype))
    }

    /// A tensor of zeros, of this dtype unless one is given.
    #[pyo3(signature = (*size, **options))]
    fn new_zeros<'py>(this: &Bound<'py, Tensor>, size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
        let options = Options::parse("new_zeros", options, &["size"])?;
        let shape = options.shape(size)?;
        options.build_like(this, |_, dtype| Tensor::full("new_zeros", &shape, Scalar::Int(0), dtype))
    }

    /// A tensor of ones, of this dtype unless one is given.
    #[pyo3(signature = (*size, **options))]
    fn new_ones<'py>(this: &Bound<'py, Tensor>, size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
        let options = Options::parse("new_ones", options, &["size"])?;
        let shape = options.shape(size)?;
        options.build_like(this, |_, dtype| Tensor::full("new_ones", &shape, Scalar::Int(1), dtype))
    }

    /// A tensor of one number, of this dtype unless one is given.
    #[pyo3(signature = (size, fill_value, **options))]
    fn new_full<'py>(
        this: &Bound<'py, Tensor>,
        size: &Bound<'py, PyAny>,
        fill_value: Scalar,
        options: Option<Keywords<'_, 'py>>,
    ) -> Object<'py> {
        let options = Options::parse("new_full", options, &[])?;
        let shape = shape_of(&size_list("new_full", size)?)?;
        options.build_like(this, |_, dtype| Tensor::full("new_full", &shape, fill_value, dtype))
    }

    /// A tensor with arbitrary contents and the given strides, of this dtype unless one is given.
    #[pyo3(signature = (size, stride, **options))]
    fn new_empty_strided<'py>(
        this: &Bound<'py, Tensor>,
        size: Dims,
        stride: Dims,
        options: Option<Keywords<'_, 'py>>,
    ) -> Object<'py> {
        let options = Options::parse("new_empty_strided", options, &[])?;
        let shape = shape_of(&size)?;
        options.build_like(this, |_, dtype| Tensor::empty_strided(&shape, Strides::from_slice(&stride), dtype))
    }
}
