//! `repr(tensor)` and `set_printoptions`.

use pyo3::prelude::*;

use super::overrides::ask_method;
use super::properties::Reader;
use super::repr::{DTypeNote, Frame, GradNote, Item, print_options, tensor_repr};
use crate::dtype::{DType, Scalar};
use crate::ops::default_dtype;
use crate::tensor::Tensor;

/// The text of a tensor, with what is to stand before the elements.
fn text(slf: &Bound<'_, Tensor>, prefix: &str) -> PyResult<String> {
    let tangent = tangent(slf)?;
    let x = &slf.borrow().clone();
    x.check_saved()?;
    let dtype = format!("torch.{}", x.dtype());
    let dtype_note = match x.dtype() {
        dtype if dtype == default_dtype() => DTypeNote::Omitted,
        DType::I64 | DType::Bool => DTypeNote::IfEmpty,
        dtype if dtype == default_dtype().to_complex() => DTypeNote::IfEmpty,
        _ => DTypeNote::Always,
    };
    let node = x.shown_node().map(|(node, _)| if node.check_usable().is_err() { "Invalid".to_string() } else { node.name() });
    let grad = match &node {
        Some(name) => GradNote::Node(name),
        None if x.is_shown() => GradNote::Leaf,
        None => GradNote::None,
    };
    let frame = Frame { prefix, shape: x.shape(), dtype: &dtype, dtype_note, grad, tangent: tangent.as_deref() };
    let reader = Reader::new(x);
    let fetch = |index: &[usize]| match reader.get(index) {
        Scalar::Bool(v) => Item::Bool(v),
        Scalar::Int(v) => Item::Int(v.into()),
        Scalar::UInt(v) => Item::Int(v.into()),
        Scalar::Float(v) => Item::Float(v),
        Scalar::Complex(v) => Item::Complex(v.re, v.im),
    };
    Ok(tensor_repr(&frame, &print_options(), fetch))
}

/// The text of the tangent that a dual tensor carries.
fn tangent(x: &Bound<'_, Tensor>) -> PyResult<Option<String>> {
    if !(crate::tape::mode::follows_tangents() && x.borrow().edge().is_dual()) {
        return Ok(None);
    }
    let unpack = x.py().import("ferrograd.autograd.forward_ad")?.getattr("unpack_dual")?;
    let tangent = unpack.call1((x,))?.getattr("tangent")?;
    if tangent.is_none() { Ok(None) } else { Ok(Some(tangent.call_method1("__format__", ("",))?.extract()?)) }
}

#[pymethods]
impl Tensor {
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        if let Some(answer) = ask_method("__repr__", &[slf.as_any().as_borrowed()])? {
            return answer.extract();
        }
        let class = slf.get_type();
        if class.is(slf.py().get_type::<Tensor>()) {
            return text(slf, "tensor(");
        }
        let own = text(slf, &format!("{}(", class.name()?))?;
        // Set by `nn.Parameter` of a tensor of another class.
        Ok(if slf.hasattr("_is_param")? { format!("Parameter({own})") } else { own })
    }

    /// The text with another beginning than `tensor(`, for subclasses.
    fn _text(slf: &Bound<'_, Self>, prefix: &str) -> PyResult<String> {
        text(slf, prefix)
    }
}
