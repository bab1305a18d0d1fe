//! Arithmetic and order of elements.

use num_complex::Complex;

use super::{Bool, C64, C128, Element};

/// Arithmetic that every element type has: integers wrap, truth values add as "or" and multiply as "and".
pub trait Number: Element {
    /// Zero, or false.
    const ZERO: Self;
    /// One, or true.
    const ONE: Self;
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// Minus the value; of zero, minus zero.
    #[inline(always)]
    fn opposite(self) -> Self {
        Self::ZERO.sub(self)
    }
}

/// Numbers that can be compared: all but the complex ones.
pub trait Ordered: Number + PartialOrd {
    /// The smallest value (minus infinity for floats), where a maximum starts.
    const LOWEST: Self;
    /// The largest value (infinity for floats), where a minimum starts.
    const HIGHEST: Self;
    /// The larger one; NaN if one is NaN.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    /// The smaller one; NaN if one is NaN.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
}

macro_rules! number {
    (int $($ty:ty)+) => {$(
        impl Number for $ty {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
        }
        impl Ordered for $ty {
            const LOWEST: Self = <$ty>::MIN;
            const HIGHEST: Self = <$ty>::MAX;
        }
    )+};
    (float $($ty:ty)+) => {$(
        impl Ordered for $ty {
            const LOWEST: Self = <$ty>::NEG_INFINITY;
            const HIGHEST: Self = <$ty>::INFINITY;
        }
        number!($ty: 0.0, 1.0);
    )+};
    (complex $($ty:ty)+) => {$(
        number!($ty: Complex::new(0.0, 0.0), Complex::new(1.0, 0.0));
    )+};
    ($ty:ty: $zero:expr, $one:expr) => {
        impl Number for $ty {
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            #[inline(always)]
            fn add(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self - other }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn opposite(self) -> Self { -self }
        }
    };
}

number!(int u8 i8 i16 i32 i64);
number!(float f32 f64);
number!(complex C64 C128);

impl Ordered for Bool {
    const LOWEST: Self = Bool::FALSE;
    const HIGHEST: Self = Bool::TRUE;
}

impl Number for Bool {
    const ZERO: Self = Bool::FALSE;
    const ONE: Self = Bool::TRUE;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Bool::from(self.get() | other.get())
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Bool::from(self.get() ^ other.get())
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Bool::from(self.get() & other.get())
    }
}
