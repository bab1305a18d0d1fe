//! Bits of integers, shifts, and divisors.

use pyo3::prelude::*;

use super::arguments::Operand;
use super::kernel::promoted;
use crate::dtype::Bool;
use crate::error::Result;
use crate::kernels::integer::{Bits, Integer};
use crate::tensor::Tensor;

/// y = f(a, b) over integers and bools, and an in-place form of it.
macro_rules! bit_functions {
    ($($(#[$doc:meta])* $name:ident $in_place:ident $kernel:literal [$($ty:ty),+] $f:ident($operand:ty);)+) => {$(
        #[pymethods]
        impl Tensor {
            $(#[$doc])*
            #[pyo3(signature = (other))]
            pub fn $name(&self, other: $operand) -> Result<Tensor> {
                let other = other.as_tensor()?;
                let (a, b) = promoted(self, &other)?;
                crate::dispatch!(a.dtype(), $kernel, T in [$($ty),+] =>
                    super::kernel::binary::<T, T, T>($kernel, &a, &b, #[inline(always)] |u, v| u.$f(v)))
            }
        }

        in_place! {
            $(#[$doc])*
            $in_place(other)(other: $operand) [other] |x| x.$name(other);
        }
    )+};
}

bit_functions! {
    /// Bits that are set in both.
    ///
    /// Shape: broadcast. Dtype: integers and bools; promotes.
    bitwise_and bitwise_and_ "bitwise_and" [i64, i32, i16, i8, u8, Bool] and(Operand);
    /// Bits that are set in one or both.
    ///
    /// Shape: broadcast. Dtype: integers and bools; promotes.
    bitwise_or bitwise_or_ "bitwise_or" [i64, i32, i16, i8, u8, Bool] or(Operand);
    /// Bits that are set in just one.
    ///
    /// Shape: broadcast. Dtype: integers and bools; promotes.
    bitwise_xor bitwise_xor_ "bitwise_xor" [i64, i32, i16, i8, u8, Bool] xor(Operand);
    /// Bits moved up by `other`: 0 if that is negative or at least the width.
    ///
    /// Shape: broadcast. Dtype: integers; promotes.
    bitwise_left_shift bitwise_left_shift_ "lshift" [i64, i32, i16, i8, u8] shift_left(Operand);
    /// Bits moved down by `other`, the sign filling up.
    ///
    /// Shape: broadcast. Dtype: integers; promotes.
    bitwise_right_shift bitwise_right_shift_ "rshift" [i64, i32, i16, i8, u8] shift_right(Operand);
    /// Greatest common divisor.
    ///
    /// Shape: broadcast. Dtype: integers; promotes.
    gcd gcd_ "gcd" [i64, i32, i16, i8, u8] gcd(&Tensor);
    /// Least common multiple.
    ///
    /// Shape: broadcast. Dtype: integers; promotes.
    lcm lcm_ "lcm" [i64, i32, i16, i8, u8] lcm(&Tensor);
}

#[pymethods]
impl Tensor {
    /// Bits that are not set; of bools, the opposite.
    ///
    /// Shape: any, kept. Dtype: integers and bools.
    pub fn bitwise_not(&self) -> Result<Tensor> {
        crate::dispatch!(self.dtype(), "bitwise_not", T in [i64, i32, i16, i8, u8, Bool] =>
            super::kernel::unary::<T, T>("bitwise_not", self, #[inline(always)] |v| v.complement()))
    }
}

in_place! { bitwise_not_ bitwise_not }
