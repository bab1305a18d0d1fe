//! Bit patterns and other functions of integers, with torch's answers where Rust's operators panic.

use crate::dtype::{Bool, Number};

/// And, or, exclusive or, complement: integers bit by bit, truth values as such.
pub trait Bits: Number {
    /// Set in both.
    fn and(self, other: Self) -> Self;
    /// Set in one or both.
    fn or(self, other: Self) -> Self;
    /// Set in just one.
    fn xor(self, other: Self) -> Self;
    /// Not set.
    fn complement(self) -> Self;
}

/// Integers.
pub trait Integer: Bits {
    /// Times 2 to the power of `by`; 0 if `by` is negative or at least the width.
    fn shift_left(self, by: Self) -> Self;
    /// Divided by 2 to the power of `by`, rounded down; all sign bits if `by` is negative or at least the width.
    fn shift_right(self, by: Self) -> Self;
    /// The greatest common divisor, wrapping.
    fn gcd(self, other: Self) -> Self;
    /// The least common multiple, wrapping; 0 if one of them is 0.
    fn lcm(self, other: Self) -> Self;
    /// A power, wrapping; to a negative exponent 0, but for the base 1 and -1.
    fn power(self, exponent: Self) -> Self;
    /// The absolute value, wrapping.
    fn magnitude(self) -> Self;
}

macro_rules! integer {
    ($($ty:ty, $abs:expr;)+) => {$(
        impl Bits for $ty {
            #[inline(always)]
            fn and(self, other: Self) -> Self { self & other }
            #[inline(always)]
            fn or(self, other: Self) -> Self { self | other }
            #[inline(always)]
            fn xor(self, other: Self) -> Self { self ^ other }
            #[inline(always)]
            fn complement(self) -> Self { !self }
        }

        impl Integer for $ty {
            #[inline(always)]
            fn shift_left(self, by: Self) -> Self {
                if (0..Self::BITS as i64).contains(&(by as i64)) { self << by } else { 0 }
            }
            #[inline(always)]
            fn shift_right(self, by: Self) -> Self {
                let all = (Self::BITS - 1) as Self;
                // Unsigned numbers have no sign bits.
                let emptied = Self::MIN == 0 && !(0..Self::BITS as i64).contains(&(by as i64));
                if emptied { 0 } else { self >> (if (0..=all).contains(&by) { by } else { all }) }
            }
            #[inline(always)]
            fn gcd(self, other: Self) -> Self {
                let (mut a, mut b) = (self.magnitude(), other.magnitude());
                while a != 0 {
                    (a, b) = (b.wrapping_rem(a), a);
                }
                b
            }
            #[inline(always)]
            fn lcm(self, other: Self) -> Self {
                let divisor = self.gcd(other);
                if divisor == 0 {
                    return 0;
                }
                let factor = self.wrapping_div(divisor);
                // As in C, where narrow integers are multiplied as ints: the sign is lost before the result wraps.
                if Self::BITS < 32 {
                    (factor as i32 * other as i32).unsigned_abs() as Self
                } else {
                    factor.wrapping_mul(other).magnitude()
                }
            }
            #[inline(always)]
            fn power(self, exponent: Self) -> Self {
                if exponent < Self::ZERO {
                    let minus_one = Self::ZERO.wrapping_sub(1);
                    return match self {
                        1 => 1,
                        base if base == minus_one => if exponent & 1 == 0 { 1 } else { base },
                        _ => 0,
                    };
                }
                let (mut result, mut square, mut left) = (1 as Self, self, exponent);
                while left != 0 {
                    if left & 1 == 1 {
                        result = result.wrapping_mul(square);
                    }
                    square = square.wrapping_mul(square);
                    left >>= 1;
                }
                result
            }
            #[inline(always)]
            fn magnitude(self) -> Self { $abs(self) }
        }
    )+};
}

integer! {
    u8, |v: u8| v;
    i8, i8::wrapping_abs;
    i16, i16::wrapping_abs;
    i32, i32::wrapping_abs;
    i64, i64::wrapping_abs;
}

impl Bits for Bool {
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Bool::from(self.get() & other.get())
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Bool::from(self.get() | other.get())
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Bool::from(self.get() ^ other.get())
    }
    #[inline(always)]
    fn complement(self) -> Self {
        Bool::from(!self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_beyond_the_width() {
        assert_eq!((3i64.shift_left(64), 3i64.shift_left(-1), 3i8.shift_left(7)), (0, 0, -128));
        assert_eq!(((-3i64).shift_right(64), (-3i64).shift_right(-1), 5i64.shift_right(1)), (-1, -1, 2));
        assert_eq!((200u8.shift_right(9), 200u8.shift_right(3), 1u8.shift_left(9)), (0, 25, 0));
    }

    #[test]
    fn divisors_and_multiples() {
        assert_eq!((12i32.gcd(-18), 0i32.gcd(0), i8::MIN.gcd(0)), (6, 0, i8::MIN));
        assert_eq!((4i32.lcm(6), (-3i32).lcm(6), 0i32.lcm(0), 7i8.lcm(100)), (12, 6, 0, -68));
    }

    #[test]
    fn powers_wrap_and_vanish() {
        assert_eq!((3i64.power(4), 2i8.power(7), 0i64.power(0)), (81, -128, 1));
        assert_eq!((2i64.power(-1), (-1i64).power(-3), (-1i64).power(-2), 1i64.power(-5)), (0, -1, 1, 1));
    }
}
