//! The functions that put tensors together, with `out`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::function::write_output;
use crate::ops::arguments::{Given, Tensors, Whole};
use crate::ops::join;
use crate::tensor::Tensor;

/// A TypeError here, a RuntimeError in other functions: as torch.
fn check_cast(name: &str, out: &Bound<'_, Tensor>, y: &Tensor) -> PyResult<()> {
    let (from, to) = (y.dtype(), out.borrow().dtype());
    if from.kind() <= to.kind() {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("{name}(): input types can't be cast to the desired output type {}", to.type_word())))
}

macro_rules! with_out {
    ($($(#[$doc:meta])* $name:ident($($sig:tt)*)($tensors:ident: Tensors $(, $arg:ident: $ty:ty)*);)+) => {$(
        $(#[$doc])*
        #[pyfunction]
        #[pyo3(signature = ($($sig)*))]
        pub fn $name<'py>(py: Python<'py>, $tensors: Tensors, $($arg: $ty,)* out: Option<Bound<'py, Tensor>>) -> PyResult<Bound<'py, Tensor>> {
            if let Some(out) = &out {
                let out = out.borrow().clone();
                $tensors.0.iter().try_for_each(|x| x.check_apart(&out))?;
            }
            let y = join::$name($tensors $(, $arg)*)?;
            match out {
                None => Bound::new(py, y),
                Some(out) => {
                    check_cast(stringify!($name), &out, &y)?;
                    write_output(stringify!($name), &out, &y, true)?;
                    Ok(out)
                }
            }
        }
    )+};
}

with_out! {
    /// Tensors one after the other along a dim, in the dtype they promote to. Empty 1-d tensors are left out.
    ///
    /// Raises: RuntimeError if the other dims differ, IndexError if `dim` is out of range.
    cat(tensors, dim=Given(None), *, axis=Given(None), out=None)(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>);
    /// Another name of `cat`.
    concat(tensors, dim=Given(None), *, axis=Given(None), out=None)(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>);
    /// Another name of `cat`.
    concatenate(tensors, dim=Given(None), *, axis=Given(None), out=None)(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>);
    /// Tensors of equal shape along a new dim.
    ///
    /// Raises: RuntimeError if the shapes differ, IndexError if `dim` is out of range.
    stack(tensors, dim=Given(None), *, axis=Given(None), out=None)(tensors: Tensors, dim: Given<Whole>, axis: Given<Whole>);
    /// Tensors side by side: along the second dim, or the first if they are 1-d.
    hstack(tensors, *, out=None)(tensors: Tensors);
    /// Tensors below each other: along the first dim, 1-d ones as rows.
    vstack(tensors, *, out=None)(tensors: Tensors);
    /// Another name of `vstack`.
    row_stack(tensors, *, out=None)(tensors: Tensors);
    /// Tensors behind each other: along the third dim.
    dstack(tensors, *, out=None)(tensors: Tensors);
    /// Tensors as columns side by side: 1-d ones become columns first.
    column_stack(tensors, *, out=None)(tensors: Tensors);
}
