//! One number of a run-time type.

use std::fmt;

use num_complex::Complex;

use super::{C128, DType, Element, Kind};

/// A Python number, or one element of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `True` or `False`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// An `int` from 2^63 on. Combined with integers it wraps.
    UInt(u64),
    /// A `float`.
    Float(f64),
    /// A `complex`.
    Complex(C128),
}

impl Scalar {
    /// What it is, for promotion.
    #[inline]
    pub const fn kind(self) -> Kind {
        match self {
            Scalar::Bool(_) => Kind::Bool,
            Scalar::Int(_) | Scalar::UInt(_) => Kind::Int,
            Scalar::Float(_) => Kind::Float,
            Scalar::Complex(_) => Kind::Complex,
        }
    }

    /// The dtype a tensor of this number would have, given the default float.
    pub fn dtype(self, default_float: DType) -> DType {
        match self {
            Scalar::Bool(_) => DType::Bool,
            Scalar::Int(_) | Scalar::UInt(_) => DType::I64,
            Scalar::Float(_) => default_float,
            Scalar::Complex(_) => default_float.to_complex(),
        }
    }

    /// As a float, rounded if it is a large integer; the real part of a complex number.
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Bool(v) => v as u8 as f64,
            Scalar::Int(v) => v as f64,
            Scalar::UInt(v) => v as f64,
            Scalar::Float(v) => v,
            Scalar::Complex(v) => v.re,
        }
    }

    /// As a complex number.
    pub fn to_c128(self) -> C128 {
        match self {
            Scalar::Complex(v) => v,
            real => Complex::new(real.to_f64(), 0.0),
        }
    }

    /// The complex conjugate.
    pub fn conj(self) -> Scalar {
        match self {
            Scalar::Complex(v) => Scalar::Complex(v.conj()),
            real => real,
        }
    }

    /// Whether it differs from zero (NaN does).
    pub fn truth(self) -> bool {
        self.to_c128() != Complex::default()
    }

    /// Whether it lies within the range of a dtype, as torch checks it: a negative integer may wrap in an unsigned type.
    pub fn fits(self, dtype: DType) -> bool {
        if let Scalar::Complex(v) = self {
            let fits = |part| Scalar::Float(part).fits(dtype);
            return dtype == DType::Bool || (dtype.is_complex() || v.im == 0.0) && fits(v.re) && fits(v.im);
        }
        let (low, high) = match dtype {
            DType::F32 | DType::C64 => return self.to_f64().abs() <= f32::MAX as f64 || !self.to_f64().is_finite(),
            DType::Bool | DType::F64 | DType::C128 => return true,
            DType::U8 => (0, u8::MAX as i64),
            DType::I8 => (i8::MIN as i64, i8::MAX as i64),
            DType::I16 => (i16::MIN as i64, i16::MAX as i64),
            DType::I32 => (i32::MIN as i64, i32::MAX as i64),
            DType::I64 => (i64::MIN, i64::MAX),
        };
        match self {
            Scalar::Bool(_) => true,
            Scalar::Int(v) => (if low == 0 { -high } else { low }..=high).contains(&v),
            Scalar::Float(v) => (low as f64..=high as f64).contains(&v),
            Scalar::UInt(_) | Scalar::Complex(_) => false,
        }
    }

    /// Whether torch takes it as a number for a dtype: what lies within its range, where a finite float stays finite.
    pub fn converts_to(self, dtype: DType) -> bool {
        let stays = |v: f64| !v.is_finite() || v.abs() <= f32::MAX as f64;
        match self {
            Scalar::Float(v) if dtype.to_real() == DType::F32 => stays(v),
            Scalar::Complex(v) if dtype == DType::C64 => stays(v.re) && stays(v.im),
            other => other.fits(dtype),
        }
    }

    /// Whether an integer is the same in a dtype; floats count as exact.
    pub fn is_exact_in(self, dtype: DType) -> bool {
        match self {
            Scalar::Int(v) if v < 0 && dtype == DType::U8 => false,
            Scalar::Int(_) | Scalar::UInt(_) => self.fits(dtype),
            _ => true,
        }
    }

    /// As an element type, with C's conversions.
    #[inline(always)]
    pub fn to<T: Element>(self) -> T {
        match self {
            Scalar::Bool(v) => T::from_i64(v as i64),
            Scalar::Int(v) => T::from_i64(v),
            Scalar::UInt(v) if T::DTYPE.kind() > Kind::Int => T::from_f64(v as f64),
            Scalar::UInt(v) => T::from_i64(v as i64),
            Scalar::Float(v) => T::from_f64(v),
            Scalar::Complex(v) => T::from_c128(v),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(v) => write!(f, "{v}"),
            Scalar::Int(v) => write!(f, "{v}"),
            Scalar::UInt(v) => write!(f, "{v}"),
            Scalar::Float(v) => write!(f, "{v}"),
            Scalar::Complex(v) => write!(f, "({}{:+}j)", v.re, v.im),
        }
    }
}

/// Of `True`, the integer -1.
impl std::ops::Neg for Scalar {
    type Output = Scalar;
    fn neg(self) -> Scalar {
        match self {
            Scalar::Bool(v) => Scalar::Int(-(v as i64)),
            Scalar::Int(v) => Scalar::Int(v.wrapping_neg()),
            Scalar::UInt(v) => Scalar::Float(-(v as f64)),
            Scalar::Float(v) => Scalar::Float(-v),
            Scalar::Complex(v) => Scalar::Complex(-v),
        }
    }
}
