//! In-place forms: each is the op of the same name, its result written to the tensor itself.
//! They stand with their ops; this is the macro that makes them, and the plain overwriting of a tensor.

use pyo3::prelude::*;

use super::arguments::Operand;
use super::kernel;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::runtime_error;
use crate::tape::view;
use crate::tensor::Tensor;

/// `name_(signature)(arguments) [tensors among them] |x| op;`: the signature as Python sees it, and the op's answer.
///
/// The op may write its result right over `x`, so it must read `x` in one kernel only. An op that reads it in several
/// says `x.kept()`.
macro_rules! in_place {
    ($($(#[$doc:meta])* $name:ident($($sig:tt)*)($($arg:ident: $ty:ty),*) [$($operand:ident),*] |$x:ident| $body:expr;)+) => {$(
        #[::pyo3::pymethods]
        impl $crate::tensor::Tensor {
            $(#[$doc])*
            #[pyo3(signature = ($($sig)*))]
            fn $name<'py>(slf: ::pyo3::Bound<'py, Self>, $($arg: $ty),*) -> ::pyo3::PyResult<::pyo3::Bound<'py, Self>> {
                #[allow(unused_imports)]
                use $crate::ops::arguments::Optional as _;
                let on_tape = false $(|| $operand.requires_grad())*;
                $($operand.check_overlap(&slf.borrow())?;)*
                $crate::tape::view::in_place(stringify!($name), &slf.borrow(), on_tape, |$x| $body)?;
                Ok(slf)
            }
        }
    )+};
    // Ops of the tensor alone, whose in-place forms differ by their names only.
    ($($name:ident $op:ident),+ $(,)?) => {
        in_place! {$(
            #[doc = concat!("In place; see `", stringify!($op), "`.")]
            $name()() [] |x| x.$op();
        )+}
    };
}

impl Tensor {
    /// Copies `src`, broadcast and converted, into this memory.
    pub fn copy_from(&self, src: &Tensor) -> Result<()> {
        view::check_places(self)?;
        src.check_overlap(self)?;
        view::overwrite("copy_", self, src)
    }

    /// Writes a number to every place, once if several elements share it. Not recorded.
    pub(crate) fn fill(&self, value: Scalar) -> Result<()> {
        let mut layout = self.layout().clone();
        for d in 0..layout.rank() {
            if layout.strides[d] == 0 {
                layout.shape[d] = layout.shape[d].min(1);
            }
        }
        kernel::fill(&self.with_layout(layout), value)
    }

    /// Sets every element to a number.
    pub fn fill_with(&self, value: Scalar) -> Result<()> {
        view::overwrite_with("fill_", self, value)
    }
}

#[pymethods]
impl Tensor {
    /// Copies the elements of `src`, which must broadcast to this shape, converting them to this dtype.
    ///
    /// `non_blocking` makes no difference here.
    /// Derivative: the gradient goes to `src`; what was here before gets none.
    /// Raises: RuntimeError if the shapes do not fit, or if the two share part of their memory.
    #[pyo3(signature = (src, non_blocking=false))]
    fn copy_<'py>(slf: Bound<'py, Self>, src: &Tensor, non_blocking: bool) -> PyResult<Bound<'py, Self>> {
        let _ = non_blocking;
        slf.borrow().copy_from(src)?;
        Ok(slf)
    }

    /// Sets every element to `value`, a number or a 0-d tensor.
    ///
    /// Derivative: the sum of the gradient goes to `value`; what was here before gets none.
    fn fill_<'py>(slf: Bound<'py, Self>, value: Operand) -> PyResult<Bound<'py, Self>> {
        match value {
            Operand::Number(value) => slf.borrow().fill_with(value)?,
            Operand::Tensor(value) if value.rank() == 0 => view::overwrite("fill_", &slf.borrow(), &value)?,
            Operand::Tensor(value) => {
                runtime_error!("fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.", value.rank())?
            }
        }
        Ok(slf)
    }

    /// Sets every element to 0.
    fn zero_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        view::overwrite_with("zero_", &slf.borrow(), Scalar::Bool(false))?;
        Ok(slf)
    }
}
