//! Python's index expressions: brackets, length and iteration.

use pyo3::exceptions::{PyIndexError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyFloat, PyInt, PyIterator, PyList, PyNone, PySequence, PySlice, PyString, PyTuple};
use smallvec::SmallVec;

use super::numpy::is_ndarray;
use super::overrides::{ask_method, ask_stranger};
use crate::dtype::{DType, Scalar};
use crate::ops::arguments::Operand;
use crate::ops::index::{BYTE_MASK, Item};
use crate::ops::power::check_in_range;
use crate::ops::sample_values::check_item;
use crate::ops::samples;
use crate::ops::window::Part;
use crate::tensor::Tensor;

type Items = SmallVec<[Item; 4]>;

fn type_name(ob: &Bound<'_, PyAny>) -> String {
    ob.get_type().name().map_or_else(|_| "object".into(), |name| name.to_string())
}

fn bad_index(ob: &Bound<'_, PyAny>) -> PyErr {
    PyIndexError::new_err(format!(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {})",
        type_name(ob)
    ))
}

/// The items of an index expression.
fn items(key: &Bound<'_, PyAny>) -> PyResult<Items> {
    if let Ok(tuple) = key.cast_exact::<PyTuple>() {
        return tuple.iter_borrowed().map(|part| item(&part)).collect();
    }
    if is_several(key)? {
        if !key.is_instance_of::<PyTuple>() {
            let text =
                c"Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] instead of x[seq].";
            PyErr::warn(key.py(), &key.py().get_type::<PyUserWarning>(), text, 1)?;
        }
        return key.try_iter()?.map(|part| item(&part?)).collect();
    }
    Ok(smallvec::smallvec![item(key)?])
}

/// Whether a sequence that is no tuple stands for one: if it has parts that are more than numbers.
fn is_several(key: &Bound<'_, PyAny>) -> PyResult<bool> {
    if key.is_instance_of::<PyTuple>() {
        return Ok(true);
    }
    let Ok(list) = key.cast::<PyList>() else { return Ok(false) };
    let more = |part: Bound<'_, PyAny>| {
        part.is_instance_of::<Tensor>()
            || part.is_instance_of::<PySlice>()
            || part.is_none()
            || part.is_instance_of::<PyEllipsis>()
            || (part.cast::<PySequence>().is_ok() && !part.is_instance_of::<PyString>())
    };
    Ok(list.len() < 32 && list.iter().any(more))
}

/// One item.
fn item(ob: &Bound<'_, PyAny>) -> PyResult<Item> {
    if ob.is_exact_instance_of::<PyInt>() {
        return Ok(Item::Int(integer(ob)?));
    }
    if let Ok(slice) = ob.cast_exact::<PySlice>() {
        return slice_item(slice);
    }
    if ob.is_exact_instance_of::<PyNone>() {
        return Ok(Item::New);
    }
    if ob.is_exact_instance_of::<PyEllipsis>() {
        return Ok(Item::Ellipsis);
    }
    if let Ok(flag) = ob.cast_exact::<PyBool>() {
        return Ok(Item::Flag(flag.is_true()));
    }
    if let Ok(tensor) = ob.cast::<Tensor>() {
        return tensor_item(ob.py(), tensor.borrow().clone());
    }
    if ob.is_instance_of::<PyFloat>() {
        return Err(bad_index(ob));
    }
    if ob.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("an index cannot be a str"));
    }
    if ob.hasattr("__array_interface__")? && ob.hasattr("tolist")? {
        return array_item(ob);
    }
    if ob.is_instance_of::<PyInt>() || ob.hasattr("__index__")? {
        return Ok(Item::Int(integer(ob)?));
    }
    if ob.cast::<PySequence>().is_ok() {
        return tensor_item(ob.py(), sequence_tensor(ob)?);
    }
    Err(bad_index(ob))
}

fn integer(ob: &Bound<'_, PyAny>) -> PyResult<isize> {
    ob.extract::<isize>().map_err(|error| {
        let overflow = error.is_instance_of::<pyo3::exceptions::PyOverflowError>(ob.py());
        if overflow { PyValueError::new_err("an index does not fit 64 bits") } else { error }
    })
}

fn slice_item(slice: &Bound<'_, PySlice>) -> PyResult<Item> {
    let py = slice.py();
    let part = |name| -> PyResult<Option<isize>> {
        let value = slice.getattr(name)?;
        if value.is_none() {
            return Ok(None);
        }
        let wrong = || PyTypeError::new_err("slice indices must be integers or None or have an __index__ method");
        if value.is_exact_instance_of::<PyInt>() || value.hasattr("__index__")? {
            // What does not fit is beyond any tensor.
            return value.extract::<isize>().map(Some).or_else(|_| {
                let negative = value.lt(0)?;
                Ok(Some(if negative { isize::MIN } else { isize::MAX }))
            });
        }
        Err(wrong())
    };
    let step = part(pyo3::intern!(py, "step"))?.unwrap_or(1);
    if step == 0 {
        return Err(PyValueError::new_err("slice step cannot be zero"));
    }
    if step < 0 {
        return Err(PyValueError::new_err("step must be greater than zero"));
    }
    Ok(Item::Slice(part(pyo3::intern!(py, "start"))?, part(pyo3::intern!(py, "stop"))?, step))
}

fn tensor_item(py: Python<'_>, index: Tensor) -> PyResult<Item> {
    if index.dtype() == DType::U8 && index.rank() > 0 {
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), BYTE_MASK, 1)?;
    }
    let is_mapped = samples::are_any_mapped([&index]);
    match index.dtype() {
        // Under vmap a place that depends on the sample is one of many, which are listed.
        DType::I64 | DType::I32 if index.rank() == 0 && is_mapped => Ok(Item::Tensor(index)),
        DType::I64 | DType::I32 if index.rank() == 0 => match index.scalar()? {
            Scalar::Int(place) => Ok(Item::Int(place as isize)),
            _ => Ok(Item::Tensor(index)),
        },
        DType::I8 | DType::I16 if index.rank() == 0 && !is_mapped => match index.scalar()? {
            Scalar::Int(place) => Ok(Item::Int(place as isize)),
            _ => Ok(Item::Tensor(index)),
        },
        DType::I64 | DType::I32 | DType::U8 | DType::Bool => Ok(Item::Tensor(index)),
        _ => Err(PyIndexError::new_err("tensors used as indices must be long, int, byte or bool tensors")),
    }
}

/// An index that is a numpy array or number.
fn array_item(ob: &Bound<'_, PyAny>) -> PyResult<Item> {
    let dtype = ob.getattr("dtype")?;
    let kind: String = dtype.getattr("kind")?.extract()?;
    let is_array = is_ndarray(ob)?;
    let takes_places = matches!(kind.as_str(), "i" | "u" | "b") || (is_array && kind == "f");
    if !takes_places {
        return Err(bad_index(ob));
    }
    let bytes = kind == "u" && dtype.getattr("itemsize")?.extract::<usize>()? == 1;
    let list = ob.call_method0("tolist")?;
    if list.is_instance_of::<PyList>() {
        let tensor = sequence_tensor(&list)?;
        let shape: SmallVec<[usize; 5]> = ob.getattr("shape")?.extract::<Vec<usize>>()?.into();
        let tensor = match bytes {
            true => tensor.to_dtype(DType::U8)?,
            false if kind == "b" => tensor.to_dtype(DType::Bool)?,
            false => tensor,
        };
        return tensor_item(ob.py(), tensor.view_as_shape(&shape)?);
    }
    // An array of one byte is a mask, as an array of several is; a number of numpy's is a place.
    match list.extract::<Scalar>()? {
        value if is_array && bytes => Ok(Item::Flag(value.truth())),
        value if kind == "f" => Ok(Item::Int(value.to::<i64>() as isize)),
        _ => item(&list),
    }
}

/// A nested sequence of integers or truth values as a tensor.
fn sequence_tensor(ob: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let (mut shape, mut values, mut flags) = (SmallVec::<[usize; 5]>::new(), Vec::new(), true);
    collect(ob, 0, &mut shape, &mut values, &mut flags)?;
    let flags = flags && !values.is_empty();
    let y = Tensor::from_slice::<i64>(&shape, &values)?;
    Ok(if flags { y.to_dtype(DType::Bool)? } else { y })
}

fn collect(
    ob: &Bound<'_, PyAny>,
    depth: usize,
    shape: &mut SmallVec<[usize; 5]>,
    values: &mut Vec<i64>,
    flags: &mut bool,
) -> PyResult<()> {
    let wrong = || PyTypeError::new_err(format!("an index sequence may hold integers and truth values, not {}", type_name(ob)));
    if let Ok(flag) = ob.cast::<PyBool>() {
        values.push(flag.is_true() as i64);
        return Ok(());
    }
    if ob.is_instance_of::<PyString>() {
        return Err(wrong());
    }
    if ob.is_instance_of::<PyInt>() || (ob.hasattr("__index__")? && !ob.hasattr("__len__")?) {
        *flags = false;
        values.push(integer(ob)? as i64);
        return Ok(());
    }
    if ob.is_instance_of::<PyFloat>() {
        *flags = false;
        values.push(Scalar::Float(ob.extract()?).to::<i64>());
        return Ok(());
    }
    if let Ok(tensor) = ob.cast::<Tensor>()
        && tensor.borrow().numel() == 1
    {
        let tensor = tensor.borrow();
        check_item(&tensor)?;
        *flags &= tensor.dtype() == DType::Bool;
        values.push(tensor.scalar()?.to::<i64>());
        return Ok(());
    }
    let Ok(sequence) = ob.cast::<PySequence>() else { return Err(wrong()) };
    let length = sequence.len()?;
    match shape.get(depth) {
        None if depth == shape.len() => shape.push(length),
        Some(&known) if known == length => {}
        _ => {
            return Err(PyValueError::new_err(format!(
                "expected sequence of length {:?} at dim {depth} (got {length})",
                shape.get(depth)
            )));
        }
    }
    if length == 0 {
        *flags = false;
    }
    for part in sequence.try_iter()? {
        collect(&part?, depth + 1, shape, values, flags)?;
    }
    Ok(())
}

/// What is assigned: a tensor, or a number as a 0-d tensor of the target's dtype.
fn value_of(target: &Tensor, value: &Bound<'_, PyAny>) -> PyResult<(Tensor, bool)> {
    match value.extract::<Operand>() {
        Ok(Operand::Tensor(tensor)) => Ok((tensor, false)),
        Ok(Operand::Number(number @ Scalar::UInt(_))) => {
            Err(PyValueError::new_err(format!("the value {number} does not fit in 64 bits")))
        }
        Ok(Operand::Number(number)) => {
            check_in_range(number, target.dtype())?;
            Ok((Tensor::from_scalar(number, target.dtype())?, true))
        }
        Err(_) if value.is_instance_of::<PyInt>() => Err(PyValueError::new_err("a value does not fit in 64 bits")),
        Err(_) => Err(PyTypeError::new_err(format!(
            "can't assign a {} to a torch.{}Tensor",
            type_name(value),
            target.dtype().type_word()
        ))),
    }
}

/// `x[key]`.
fn get_item<'py>(slf: &Bound<'py, Tensor>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let x = slf.borrow();
    if key.is_exact_instance_of::<PyInt>() {
        let index = integer(key)?;
        if x.rank() > 0 {
            return Ok(Bound::new(py, x.select_as(0, x.place("", 0, index)?, Part::Select { dim: 0, index })?)?.into_any());
        }
        check_item(&x)?;
        // Torch would raise an IndexError; `loss.data[0]` of old programs goes on working.
        return match (index, x.scalar()?) {
            (0, Scalar::Bool(v)) => Ok(PyBool::new(py, v).to_owned().into_any()),
            (0, Scalar::Int(v)) => Ok(v.into_pyobject(py)?.into_any()),
            (0, Scalar::Float(v)) => Ok(PyFloat::new(py, v).into_any()),
            _ => Err(PyIndexError::new_err(format!("index {index} is out of bounds for dimension 0 with size 0"))),
        };
    }
    Ok(Bound::new(py, x.get(&items(key)?)?)?.into_any())
}

/// `x[key] = value`.
fn set_item(x: &Tensor, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let (tensor, is_number) = value_of(x, value)?;
    if x.rank() == 0 && key.is_exact_instance_of::<PyInt>() {
        return Err(PyIndexError::new_err("invalid index of a 0-dim tensor. Use `tensor.fill_(value)` to change its value"));
    }
    Ok(x.set(&items(key)?, &tensor, is_number)?)
}

#[pymethods]
impl Tensor {
    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let args = [slf.as_any().as_borrowed(), key.as_borrowed()];
        match ask_method("__getitem__", &args)? {
            Some(answer) => Ok(answer),
            None => get_item(slf, key).or_else(|error| ask_stranger(error, "__getitem__", &args)),
        }
    }

    fn __setitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<()> {
        let args = [slf.as_any().as_borrowed(), key.as_borrowed(), value.as_borrowed()];
        if ask_method("__setitem__", &args)?.is_some() {
            return Ok(());
        }
        // What is asked may use the tensor.
        let result = set_item(&slf.borrow(), key, value);
        result.or_else(|error| ask_stranger(error, "__setitem__", &args).map(drop))
    }

    fn __delitem__(&self, _key: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyTypeError::new_err("Tensor does not support deleting items"))
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let x = slf.borrow();
        if x.rank() == 0 {
            return Err(PyTypeError::new_err("iteration over a 0-d tensor"));
        }
        match ask_method("unbind", &[slf.as_any().as_borrowed()])? {
            Some(answer) => answer.try_iter(),
            None => PyTuple::new(slf.py(), x.unbind(0)?.0)?.try_iter(),
        }
    }
}
