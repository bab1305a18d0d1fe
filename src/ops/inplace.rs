//! In-place forms: each is the op of the same name, its result written to the tensor itself.
//! They stand with their ops; this is the macro that makes them.

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
                let on_tape = false $(|| $operand.requires_grad())*;
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
