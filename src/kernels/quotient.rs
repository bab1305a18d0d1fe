//! Division with remainders, as torch defines it for integers and floats.

use crate::dtype::{Number, Ordered};

/// Quotients rounded to integers and what is left. Integer divisors are not zero; what overflows wraps.
///
/// All but `rest` take what `rest` returned.
pub trait Quotient: Ordered {
    /// Whether division by zero has no answer.
    const EXACT: bool;
    /// What is left by the quotient rounded towards zero: it has the sign of the dividend.
    fn rest(self, other: Self) -> Self;
    /// The quotient, rounded towards minus infinity.
    fn floor_div(self, other: Self, rest: Self) -> Self;
    /// The quotient, rounded towards zero.
    fn trunc_div(self, other: Self, rest: Self) -> Self;
    /// What `floor_div` leaves: it has the sign of the divisor.
    #[inline(always)]
    fn remainder(self, other: Self, rest: Self) -> Self {
        let below = rest != Self::ZERO && (rest < Self::ZERO) != (other < Self::ZERO);
        if below { rest.add(other) } else { rest }
    }
    /// What `trunc_div` leaves.
    #[inline(always)]
    fn fmod(self, _other: Self, rest: Self) -> Self {
        rest
    }
}

/// Floats, whose remainders take one division where the quotient is small enough to be exact.
pub trait NearQuotient: Quotient {
    /// Whether `rest_near` is right.
    fn is_near(self, other: Self) -> bool;
    /// `rest` without a branch.
    fn rest_near(self, other: Self) -> Self;
}

macro_rules! quotient {
    (int $($ty:ty)+) => {$(
        impl Quotient for $ty {
            const EXACT: bool = true;
            #[inline(always)]
            fn rest(self, other: Self) -> Self {
                self.wrapping_rem(other)
            }
            #[inline(always)]
            fn floor_div(self, other: Self, rest: Self) -> Self {
                let quotient = self.trunc_div(other, rest);
                // Of one division: `rest` would be that of another.
                let rest = self.wrapping_sub(quotient.wrapping_mul(other));
                let below = rest != Self::ZERO && (rest < Self::ZERO) != (other < Self::ZERO);
                quotient.wrapping_sub(below as $ty)
            }
            #[inline(always)]
            fn trunc_div(self, other: Self, _rest: Self) -> Self {
                // Narrow ones in the registers that divide fastest, where nothing overflows.
                if size_of::<$ty>() < 4 { (self as i32).wrapping_div(other as i32) as $ty } else { self.wrapping_div(other) }
            }
        }
    )+};
    (float $($ty:ty)+) => {$(
        impl Quotient for $ty {
            const EXACT: bool = false;
            #[inline(always)]
            fn rest(self, other: Self) -> Self {
                self % other
            }
            // CPython's float_floor_div: exact where floor(a / b) would round up first.
            #[inline(always)]
            fn floor_div(self, other: Self, rest: Self) -> Self {
                let below = (rest != 0.0) & ((other < 0.0) != (rest < 0.0));
                let quotient = (self - rest) / other - if below { 1.0 } else { 0.0 };
                let floor = quotient.floor();
                let floor = if quotient - floor > 0.5 { floor + 1.0 } else { floor };
                let floor = if quotient == 0.0 { (0.0 as $ty).copysign(self / other) } else { floor };
                if other == 0.0 { self / other } else { floor }
            }
            #[inline(always)]
            fn trunc_div(self, other: Self, _rest: Self) -> Self {
                (self / other).trunc()
            }
        }

        impl NearQuotient for $ty {
            #[inline(always)]
            fn is_near(self, other: Self) -> bool {
                // Half the integers that all are floats. False for a divisor of zero, and if one is infinite or NaN.
                let limit = (1u64 << (<$ty>::MANTISSA_DIGITS - 1)) as $ty;
                (self.abs() < limit * other.abs()) & (other.abs() <= <$ty>::MAX)
            }
            // |self| = quotient |other| + rest, where the quotient may have been rounded up. The rest is exact either way: a
            // multiple of the last digit of `other`, and no larger than it.
            #[inline(always)]
            fn rest_near(self, other: Self) -> Self {
                let (a, b) = (self.abs(), other.abs());
                let rest = (-(a / b).trunc()).mul_add(b, a);
                let rest = if rest < 0.0 { rest + b } else { rest };
                rest.copysign(self)
            }
        }
    )+};
}

quotient!(int u8 i8 i16 i32 i64);
quotient!(float f32 f64);

#[cfg(test)]
mod tests {
    use super::*;

    fn floor_div<T: Quotient>(a: T, b: T) -> T {
        a.floor_div(b, a.rest(b))
    }

    fn remainder<T: Quotient>(a: T, b: T) -> T {
        a.remainder(b, a.rest(b))
    }

    #[test]
    fn signs_follow_divisor_or_dividend() {
        for (a, b) in [(7i8, 2i8), (-7, 2), (7, -2), (-7, -2)] {
            let (x, y) = (f64::from(a), f64::from(b));
            assert_eq!(f64::from(floor_div(a, b)), (x / y).floor());
            assert_eq!(floor_div(x, y), (x / y).floor());
            assert_eq!(floor_div(a, b) * b + remainder(a, b), a);
            assert_eq!(a.trunc_div(b, a.rest(b)) * b + a.rest(b), a);
            assert_eq!(remainder(x, y), f64::from(remainder(a, b)));
            assert_eq!(x.rest(y), f64::from(a.rest(b)));
        }
    }

    #[test]
    fn the_lowest_integer_by_minus_one_wraps() {
        assert_eq!(floor_div(i64::MIN, -1), i64::MIN);
        assert_eq!(i8::MIN.trunc_div(-1, 0), i8::MIN);
        assert_eq!(remainder(i32::MIN, -1), 0);
    }

    #[test]
    fn floats_by_zero_and_infinity() {
        assert_eq!(floor_div(-1.5f32, 0.0), f32::NEG_INFINITY);
        assert_eq!(remainder(-1.5f64, f64::INFINITY), f64::INFINITY);
        assert!((1.0f64).rest(0.0).is_nan());
        assert_eq!(floor_div(1.0f64, 0.1), 9.0);
    }

    #[test]
    fn near_rests_are_exact() {
        let floats = [0.0, -0.0, 1e-320, 3e-9, 0.1, 0.7, 1.0, 3.0, 7.5, 1e5, 1e14, f64::MAX, f64::INFINITY, f64::NAN];
        let shorts = floats.map(|v| v as f32).into_iter().chain([1e-42, 1e-44]);
        let mut near = 0;
        for (a, b) in floats.iter().flat_map(|a| floats.map(|b| (*a, b))) {
            for (a, b) in [(a, b), (-a, b), (a, -b)].into_iter().filter(|(a, b)| a.is_near(*b)) {
                assert_eq!(a.rest_near(b).to_bits(), a.rest(b).to_bits(), "{a} {b}");
                near += 1;
            }
        }
        for (a, b) in shorts.clone().flat_map(|a| shorts.clone().map(move |b| (a, b))).filter(|(a, b)| a.is_near(*b)) {
            assert_eq!(a.rest_near(b).to_bits(), a.rest(b).to_bits(), "{a} {b}");
            near += 1;
        }
        // Quotients just below and at integers, where the division rounds.
        for n in 1..20_000 {
            let (m, b) = (n as f64, 0.1 + 1.0 / (n as f64));
            for a in [m * b, (m * b).next_down(), (m * b).next_up(), m * b * 1e9] {
                assert_eq!(a.rest_near(b), a.rest(b), "{a} {b}");
                let (a, b) = (a.min(1e5) as f32, b as f32);
                assert_eq!(a.rest_near(b), a.rest(b), "{a} {b}");
            }
        }
        assert!(near > 100);
        assert!(!(1e20f64).is_near(1.0) && !(1.0f32).is_near(0.0) && !f32::NAN.is_near(1.0) && !(1.0f64).is_near(f64::INFINITY));
    }
}
