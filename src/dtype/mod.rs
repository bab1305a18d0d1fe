//! Element types: the run-time [`DType`], the compile-time [`Element`], torch's promotion rules,
//! and the macros that go from the one to the other.
//!
//! A new type is a row in [`DType`] and a line in `element.rs` and `number.rs`; ops name the lists of `dispatch.rs`
//! (`dispatch_floats!`, `dispatch_numbers!`, `dispatch_all!`, …) and never single types.

mod dispatch;
mod element;
mod number;
mod promotion;
mod scalar;

use std::fmt;

pub use element::{Bool, C64, C128, Element};
pub use number::{Number, Ordered};
pub use promotion::{Promotion, promote};
pub use scalar::Scalar;

/// The type of a tensor's elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    /// One byte, zero or one.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Real and imaginary part in single precision.
    C64,
    /// Real and imaginary part in double precision.
    C128,
}

/// Kinds of dtypes, in the order in which promotion prefers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// Truth values.
    Bool,
    /// Integers.
    Int,
    /// Real floating point.
    Float,
    /// Complex floating point.
    Complex,
}

impl DType {
    /// Every dtype, in declaration order.
    pub const ALL: [DType; 10] =
        [DType::Bool, DType::U8, DType::I8, DType::I16, DType::I32, DType::I64, DType::F32, DType::F64, DType::C64, DType::C128];

    /// Size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::I16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 | DType::C64 => 8,
            DType::C128 => 16,
        }
    }

    /// Whether it is a truth value, an integer, a floating-point or a complex number.
    #[inline]
    pub const fn kind(self) -> Kind {
        match self {
            DType::Bool => Kind::Bool,
            DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => Kind::Int,
            DType::F32 | DType::F64 => Kind::Float,
            DType::C64 | DType::C128 => Kind::Complex,
        }
    }

    /// Whether it holds real floating-point numbers.
    #[inline]
    pub const fn is_float(self) -> bool {
        matches!(self.kind(), Kind::Float)
    }

    /// Whether it holds complex numbers.
    pub const fn is_complex(self) -> bool {
        matches!(self.kind(), Kind::Complex)
    }

    /// Whether it holds floating-point numbers, real or complex, which alone can have gradients.
    pub const fn is_inexact(self) -> bool {
        self as u8 >= DType::F32 as u8
    }

    /// The dtype of the parts of a complex number; of others, the dtype itself.
    pub const fn to_real(self) -> DType {
        match self {
            DType::C64 => DType::F32,
            DType::C128 => DType::F64,
            real => real,
        }
    }

    /// The complex dtype whose parts have this floating-point dtype; complex64 for what has no fractions.
    pub const fn to_complex(self) -> DType {
        match self {
            DType::F64 | DType::C128 => DType::C128,
            _ => DType::C64,
        }
    }

    /// Torch's name without the module: `float32`, `int64`, ….
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "uint8",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::C64 => "complex64",
            DType::C128 => "complex128",
        }
    }

    /// The C++-era word torch uses in many messages and in the typed constructors: `Float`, `Long`, ….
    pub const fn type_word(self) -> &'static str {
        match self {
            DType::Bool => "Bool",
            DType::U8 => "Byte",
            DType::I8 => "Char",
            DType::I16 => "Short",
            DType::I32 => "Int",
            DType::I64 => "Long",
            DType::F32 => "Float",
            DType::F64 => "Double",
            DType::C64 => "ComplexFloat",
            DType::C128 => "ComplexDouble",
        }
    }
}

/// The names of some dtypes, for an error.
#[cold]
pub fn names(dtypes: &[DType]) -> String {
    dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
