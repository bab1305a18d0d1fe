//! `repr(tensor)` and `set_printoptions`.

use pyo3::prelude::*;

use super::properties::Reader;
use super::repr::{DTypeNote, Frame, GradNote, Item, print_options, tensor_repr};
use crate::dtype::{DType, Scalar};
use crate::ops::default_dtype;
use crate::tensor::Tensor;

/// The text of a tensor, with what is to stand before the elements.
pub fn text(x: &Tensor, prefix: &str) -> PyResult<String> {
    x.check_saved()?;
    let dtype = format!("torch.{}", x.dtype());
    let dtype_note = match x.dtype() {
        dtype if dtype == default_dtype() => DTypeNote::Omitted,
        DType::I64 | DType::Bool => DTypeNote::IfEmpty,
        dtype if dtype == default_dtype().to_complex() => DTypeNote::IfEmpty,
        _ => DTypeNote::Always,
    };
    let node = x.node().map(|(node, _)| if node.check_usable().is_err() { "Invalid".to_string() } else { node.name() });
    let grad = match &node {
        Some(name) => GradNote::Node(name),
        None if x.requires_grad() => GradNote::Leaf,
        None => GradNote::None,
    };
    let frame = Frame { prefix, shape: x.shape(), dtype: &dtype, dtype_note, grad };
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

#[pymethods]
impl Tensor {
    fn __repr__(&self) -> PyResult<String> {
        text(self, "tensor(")
    }

    /// The text with another beginning than `tensor(`, for subclasses.
    fn _text(&self, prefix: &str) -> PyResult<String> {
        text(self, prefix)
    }
}
