//! In-place forms: each is the op of the same name, its result written to the tensor itself.

use pyo3::prelude::*;

use super::arguments::Operand;
use crate::dtype::Scalar;
use crate::tape::view::in_place;
use crate::tensor::Tensor;

/// `name_(arguments)`: the signature as Python sees it, the tensors among the operands, and the op.
macro_rules! in_place {
    ($($(#[$doc:meta])* $name:ident($($sig:tt)*)($($arg:ident: $ty:ty),*) [$($operand:ident),*] |$x:ident| $body:expr;)+) => {$(
        #[pymethods]
        impl Tensor {
            $(#[$doc])*
            #[pyo3(signature = ($($sig)*))]
            fn $name<'py>(slf: Bound<'py, Self>, $($arg: $ty),*) -> PyResult<Bound<'py, Self>> {
                let on_tape = false $(|| $operand.requires_grad())*;
                in_place(stringify!($name), &slf.borrow(), on_tape, |$x| $body)?;
                Ok(slf)
            }
        }
    )+};
}

in_place! {
    /// `self += alpha * other`; see `add`.
    add_(other, *, alpha=Scalar::Int(1))(other: Operand, alpha: Scalar) [other] |x| x.add_scaled(other, alpha);
    /// Opposite of each element; see `neg`.
    neg_()() [] |x| x.neg();
}
