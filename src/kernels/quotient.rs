//! Division with remainders, as torch defines it for integers and floats.

use crate::dtype::Number;

/// Quotients rounded to integers and what is left. Integer divisors are not zero; what overflows wraps.
pub trait Quotient: Number {
    /// Whether division by zero has no answer.
    const EXACT: bool;
    /// The quotient, rounded towards minus infinity.
    fn floor_div(self, other: Self) -> Self;
    /// The quotient, rounded towards zero.
    fn trunc_div(self, other: Self) -> Self;
    /// What `floor_div` leaves: it has the sign of the divisor.
    fn remainder(self, other: Self) -> Self;
    /// What `trunc_div` leaves: it has the sign of the dividend.
    fn fmod(self, other: Self) -> Self;
}

macro_rules! quotient {
    (int $($ty:ty)+) => {$(
        impl Quotient for $ty {
            const EXACT: bool = true;
            #[inline(always)]
            fn floor_div(self, other: Self) -> Self {
                let (quotient, rest) = (self.wrapping_div(other), self.wrapping_rem(other));
                let below = rest != Self::ZERO && (rest < Self::ZERO) != (other < Self::ZERO);
                if below { quotient.wrapping_sub(1) } else { quotient }
            }
            #[inline(always)]
            fn trunc_div(self, other: Self) -> Self {
                self.wrapping_div(other)
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                let rest = self.wrapping_rem(other);
                let below = rest != Self::ZERO && (rest < Self::ZERO) != (other < Self::ZERO);
                if below { rest.wrapping_add(other) } else { rest }
            }
            #[inline(always)]
            fn fmod(self, other: Self) -> Self {
                self.wrapping_rem(other)
            }
        }
    )+};
    (float $($ty:ty)+) => {$(
        impl Quotient for $ty {
            const EXACT: bool = false;
            // CPython's float_floor_div: exact where floor(a / b) would round up first.
            #[inline(always)]
            fn floor_div(self, other: Self) -> Self {
                if other == 0.0 {
                    return self / other;
                }
                let rest = self % other;
                let mut quotient = (self - rest) / other;
                if rest != 0.0 && (other < 0.0) != (rest < 0.0) {
                    quotient -= 1.0;
                }
                if quotient == 0.0 {
                    return (0.0 as $ty).copysign(self / other);
                }
                let floor = quotient.floor();
                if quotient - floor > 0.5 { floor + 1.0 } else { floor }
            }
            #[inline(always)]
            fn trunc_div(self, other: Self) -> Self {
                (self / other).trunc()
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                let rest = self % other;
                if rest != 0.0 && (other < 0.0) != (rest < 0.0) { rest + other } else { rest }
            }
            #[inline(always)]
            fn fmod(self, other: Self) -> Self {
                self % other
            }
        }
    )+};
}

quotient!(int u8 i8 i16 i32 i64);
quotient!(float f32 f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_follow_divisor_or_dividend() {
        for (a, b) in [(7i8, 2i8), (-7, 2), (7, -2), (-7, -2)] {
            let (x, y) = (f64::from(a), f64::from(b));
            assert_eq!(f64::from(a.floor_div(b)), (x / y).floor());
            assert_eq!(x.floor_div(y), (x / y).floor());
            assert_eq!(a.floor_div(b) * b + a.remainder(b), a);
            assert_eq!(a.trunc_div(b) * b + a.fmod(b), a);
            assert_eq!(x.remainder(y), f64::from(a.remainder(b)));
            assert_eq!(x.fmod(y), f64::from(a.fmod(b)));
        }
    }

    #[test]
    fn the_lowest_integer_by_minus_one_wraps() {
        assert_eq!(i64::MIN.floor_div(-1), i64::MIN);
        assert_eq!(i8::MIN.trunc_div(-1), i8::MIN);
        assert_eq!(i32::MIN.remainder(-1), 0);
    }

    #[test]
    fn floats_by_zero_and_infinity() {
        assert_eq!((-1.5f32).floor_div(0.0), f32::NEG_INFINITY);
        assert_eq!((-1.5f64).remainder(f64::INFINITY), f64::INFINITY);
        assert!((1.0f64).fmod(0.0).is_nan());
        assert_eq!((1.0f64).floor_div(0.1), 9.0);
    }
}
