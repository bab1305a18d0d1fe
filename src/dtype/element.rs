//! The Rust types of elements, and C's conversions between them.

use std::fmt;

use num_complex::Complex;

use super::{DType, Kind, Scalar};

/// An element of complex64.
pub type C64 = Complex<f32>;
/// An element of complex128.
pub type C128 = Complex<f64>;

/// A truth value in memory: any byte that is not zero counts as true, so memory lent by others is safe to read.
#[derive(Clone, Copy, Default, Debug)]
#[repr(transparent)]
pub struct Bool(u8);

impl Bool {
    pub(super) const FALSE: Bool = Bool(0);
    pub(super) const TRUE: Bool = Bool(1);

    /// As Rust's type.
    #[inline(always)]
    pub fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    #[inline(always)]
    fn from(value: bool) -> Bool {
        Bool(value as u8)
    }
}

impl PartialEq for Bool {
    #[inline(always)]
    fn eq(&self, other: &Bool) -> bool {
        self.get() == other.get()
    }
}

impl PartialOrd for Bool {
    #[inline(always)]
    fn partial_cmp(&self, other: &Bool) -> Option<std::cmp::Ordering> {
        self.get().partial_cmp(&other.get())
    }
}

/// A Rust type that tensors hold.
pub trait Element: Copy + Default + Send + Sync + PartialEq + fmt::Debug + 'static {
    /// Its run-time name.
    const DTYPE: DType;
    /// C's conversion from a 64-bit integer: wraps.
    fn from_i64(value: i64) -> Self;
    /// C's conversion from a double: truncates; what does not fit becomes the lowest 64-bit integer, for shorter ones the lowest
    /// 32-bit integer, and then wraps.
    fn from_f64(value: f64) -> Self;
    /// Exact but for floats, which convert as in `from_f64`.
    fn to_i64(self) -> i64;
    /// Rounded if it is a large integer.
    fn to_f64(self) -> f64;
    /// As a number of Python's.
    fn scalar(self) -> Scalar;
    /// The real part alone, unless this type is complex.
    #[inline(always)]
    fn from_c128(value: C128) -> Self {
        Self::from_f64(value.re)
    }
    /// With an imaginary part of zero, unless this type is complex.
    #[inline(always)]
    fn to_c128(self) -> C128 {
        Complex::new(self.to_f64(), 0.0)
    }
    /// C's conversion between element types.
    #[inline(always)]
    fn cast<U: Element>(self) -> U {
        match Self::DTYPE.kind() {
            Kind::Complex => U::from_c128(self.to_c128()),
            Kind::Float => U::from_f64(self.to_f64()),
            Kind::Int | Kind::Bool => U::from_i64(self.to_i64()),
        }
    }
    /// Whether it is a floating-point NaN.
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn is_nan(self) -> bool {
        self != self
    }
    /// Whether it differs from zero (NaN does).
    #[inline(always)]
    fn truth(self) -> bool {
        self != Self::default()
    }
}

/// Truncation as x86's `cvttsd2si` does it.
#[inline(always)]
fn truncate(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    let value = if (-LIMIT..LIMIT).contains(&value) { value } else { -LIMIT };
    // SAFETY: in range, and not NaN. (`as` would check again.)
    unsafe { value.to_int_unchecked() }
}

/// The same for 32 bits, from which shorter integers are cut.
#[inline(always)]
fn truncate_32(value: f64) -> i32 {
    const LIMIT: f64 = 2_147_483_648.0; // 2^31
    if value > -LIMIT - 1.0 && value < LIMIT { value as i32 } else { i32::MIN }
}

macro_rules! element {
    ($ty:ty, $dtype:ident, int) => {
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $ty
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                if size_of::<$ty>() == 8 { truncate(value) as $ty } else { truncate_32(value) as $ty }
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn scalar(self) -> Scalar {
                Scalar::Int(self as i64)
            }
        }
    };
    ($ty:ty, $dtype:ident, float) => {
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $ty
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $ty
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                truncate(self as f64)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn scalar(self) -> Scalar {
                Scalar::Float(self as f64)
            }
        }
    };
}

macro_rules! complex_element {
    ($part:ty, $dtype:ident) => {
        impl Element for Complex<$part> {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                Complex::new(value as $part, 0.0)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                Complex::new(value as $part, 0.0)
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self.re.to_i64()
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.re as f64
            }
            #[inline(always)]
            fn from_c128(value: C128) -> Self {
                Complex::new(value.re as $part, value.im as $part)
            }
            #[inline(always)]
            fn to_c128(self) -> C128 {
                Complex::new(self.re as f64, self.im as f64)
            }
            #[inline(always)]
            fn scalar(self) -> Scalar {
                Scalar::Complex(self.to_c128())
            }
        }
    };
}

element!(u8, U8, int);
element!(i8, I8, int);
element!(i16, I16, int);
element!(i32, I32, int);
element!(i64, I64, int);
element!(f32, F32, float);
element!(f64, F64, float);
complex_element!(f32, C64);
complex_element!(f64, C128);

impl Element for Bool {
    const DTYPE: DType = DType::Bool;
    #[inline(always)]
    fn from_i64(value: i64) -> Self {
        Bool::from(value != 0)
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        Bool::from(value != 0.0)
    }
    #[inline(always)]
    fn from_c128(value: C128) -> Self {
        Bool::from(value != Complex::default())
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        self.get() as i64
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.get() as u8 as f64
    }
    #[inline(always)]
    fn scalar(self) -> Scalar {
        Scalar::Bool(self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_those_of_c_on_x86() {
        assert_eq!((-1.5f32).cast::<u8>(), 255);
        assert_eq!(f64::NAN.cast::<i64>(), i64::MIN);
        assert_eq!(300i64.cast::<u8>(), 44);
        assert_eq!([f32::NAN, 3e9, -3e9, 2147483520.0].map(|v| v.cast::<i32>()), [i32::MIN, i32::MIN, i32::MIN, 2147483520]);
        assert_eq!([3e9 + 512.0, -70000.7, 300.0].map(|v: f64| v.cast::<i16>()), [0, -4464, 300]);
        assert_eq!((-2147483648.9f64).cast::<i32>(), i32::MIN);
        assert!(0.1f32.cast::<Bool>().get());
    }
}
