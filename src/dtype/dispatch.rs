//! From a run-time dtype to an element type.

/// Runs an expression with `$T` bound to the element type of a run-time dtype, out of a list of types.
#[macro_export]
macro_rules! dispatch {
    ($dtype:expr, $op:expr, $T:ident in [$($ty:ty),+] => $body:expr) => {{
        let dtype: $crate::dtype::DType = $dtype;
        $(if dtype == <$ty as $crate::dtype::Element>::DTYPE { type $T = $ty; $body } else)+
        { Err($crate::error::Error::DType { op: $op, got: dtype, expected: $crate::dtype::names(&[$(<$ty as $crate::dtype::Element>::DTYPE),+]) }) }
    }};
}

/// [`dispatch!`] over the real floating-point types.
#[macro_export]
macro_rules! dispatch_floats {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => { $crate::dispatch!($dtype, $op, $T in [f32, f64] => $body) };
}

/// [`dispatch!`] over the floating-point types, real and complex.
#[macro_export]
macro_rules! dispatch_inexact {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        $crate::dispatch!($dtype, $op, $T in [f32, f64, $crate::dtype::C64, $crate::dtype::C128] => $body)
    };
}

/// [`dispatch!`] over the integer types.
#[macro_export]
macro_rules! dispatch_ints {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => { $crate::dispatch!($dtype, $op, $T in [i64, i32, i16, i8, u8] => $body) };
}

/// [`dispatch!`] over all types but bool and the complex ones.
#[macro_export]
macro_rules! dispatch_reals {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        $crate::dispatch!($dtype, $op, $T in [f32, f64, i64, i32, i16, i8, u8] => $body)
    };
}

/// [`dispatch!`] over all types but bool.
#[macro_export]
macro_rules! dispatch_numbers {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        $crate::dispatch!($dtype, $op, $T in [f32, f64, i64, i32, i16, i8, u8, $crate::dtype::C64, $crate::dtype::C128] => $body)
    };
}

/// [`dispatch!`] over all types that have an order: all but the complex ones.
#[macro_export]
macro_rules! dispatch_ordered {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        $crate::dispatch!($dtype, $op, $T in [f32, f64, i64, i32, i16, i8, u8, $crate::dtype::Bool] => $body)
    };
}

/// [`dispatch!`] over the types of [`Tensor::wide`](crate::Tensor::wide).
#[macro_export]
macro_rules! dispatch_wide {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        $crate::dispatch!($dtype, $op, $T in [f32, f64, i64, $crate::dtype::Bool, $crate::dtype::C128] => $body)
    };
}

/// [`dispatch_wide!`] over the types that have an order.
#[macro_export]
macro_rules! dispatch_wide_ordered {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        $crate::dispatch!($dtype, $op, $T in [f32, f64, i64, $crate::dtype::Bool] => $body)
    };
}

/// [`dispatch!`] over all types.
#[macro_export]
macro_rules! dispatch_all {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        $crate::dispatch!(
            $dtype,
            $op,
            $T in [f32, f64, i64, i32, i16, i8, u8, $crate::dtype::Bool, $crate::dtype::C64, $crate::dtype::C128] => $body
        )
    };
}
