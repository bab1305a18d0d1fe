//! Element types: the run-time [`DType`], the compile-time [`Element`], torch's promotion rules,
//! and the macro that goes from the one to the other.
//!
//! A new type is one line in `element!` plus its row in [`DType`]; ops name the lists below
//! (`dispatch_floats!`, `dispatch_numbers!`, `dispatch_all!`, …) and never single types.

use std::fmt;

use num_complex::Complex;

/// An element of complex64.
pub type C64 = Complex<f32>;
/// An element of complex128.
pub type C128 = Complex<f64>;

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

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The smallest dtype that holds both, by torch's lattice: kind first, then width;
/// `uint8` with a signed type takes the next signed type that holds both, and `float64` with `complex64` keeps its precision.
pub fn promote(a: DType, b: DType) -> DType {
    use DType::{C64, C128, F64, I8, I16, U8};
    match (a, b) {
        _ if a == b => a,
        (U8, I8) | (I8, U8) => I16,
        (F64, C64) | (C64, F64) => C128,
        // Declaration order is the order of the lattice but for the pairs above.
        _ => a.max(b),
    }
}

/// The dtypes of the operands seen so far, in torch's three categories
/// (tensors with dimensions, 0-d tensors, Python numbers).
///
/// A category decides only if the ones before it have a lower kind:
/// `int64 tensor + 1.5` is the default float, `float32 tensor + float64 0-d` stays float32, and so does the precision of
/// `float32 tensor + complex128 0-d`.
#[derive(Clone, Copy, Default)]
pub struct Promotion {
    with_dims: Option<DType>,
    zero_dim: Option<DType>,
    number: Option<DType>,
}

impl Promotion {
    /// Takes in one operand.
    pub fn add(&mut self, dtype: DType, rank: usize, is_number: bool) {
        let slot = if is_number {
            &mut self.number
        } else if rank == 0 {
            &mut self.zero_dim
        } else {
            &mut self.with_dims
        };
        *slot = Some(slot.map_or(dtype, |seen| promote(seen, dtype)));
    }

    /// The dtype of the result. A Python float counts as the default float dtype, a complex number as that of its precision.
    pub fn result(self, default_float: DType) -> DType {
        let number = self.number.map(|dtype| match dtype.kind() {
            Kind::Float => default_float,
            Kind::Complex => default_float.to_complex(),
            _ => dtype,
        });
        let combine = |higher: Option<DType>, lower: Option<DType>| match (higher, lower) {
            (Some(h), Some(l)) if h.is_float() && l.is_complex() => Some(h.to_complex()),
            (Some(h), Some(l)) if l.kind() > h.kind() => Some(promote(h, l)),
            (None, l) => l,
            (h, _) => h,
        };
        combine(combine(self.with_dims, self.zero_dim), number).unwrap_or(default_float)
    }
}

/// A truth value in memory: any byte that is not zero counts as true, so memory lent by others is safe to read.
#[derive(Clone, Copy, Default, Debug)]
#[repr(transparent)]
pub struct Bool(u8);

impl Bool {
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

    /// Whether it lies within the range of a dtype, as torch checks it: a negative integer may wrap in an unsigned type,
    /// and a float may overflow to infinity.
    pub fn fits(self, dtype: DType) -> bool {
        if let Scalar::Complex(v) = self {
            return dtype.is_complex() || dtype == DType::Bool || v.im == 0.0 && Scalar::Float(v.re).fits(dtype);
        }
        let (low, high) = match dtype {
            DType::Bool | DType::F32 | DType::F64 | DType::C64 | DType::C128 => return true,
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
    const LOWEST: Self = Bool(0);
    const HIGHEST: Self = Bool(1);
}

impl Number for Bool {
    const ZERO: Self = Bool(0);
    const ONE: Self = Bool(1);
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

/// Runs an expression with `$T` bound to the element type of a run-time dtype, out of a list of types.
#[macro_export]
macro_rules! dispatch {
    ($dtype:expr, $op:expr, $T:ident in [$($ty:ty),+] => $body:expr) => {{
        let dtype: $crate::dtype::DType = $dtype;
        $(if dtype == <$ty as $crate::dtype::Element>::DTYPE { type $T = $ty; $body } else)+
        { Err($crate::error::Error::DType { op: $op, got: dtype, expected: stringify!($($ty),+) }) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_follows_the_lattice() {
        assert_eq!(promote(DType::U8, DType::I8), DType::I16);
        assert_eq!(promote(DType::U8, DType::I32), DType::I32);
        assert_eq!(promote(DType::I64, DType::F32), DType::F32);
        assert_eq!(promote(DType::Bool, DType::U8), DType::U8);
        assert_eq!(promote(DType::F64, DType::C64), DType::C128);
        for a in DType::ALL {
            for b in DType::ALL {
                assert_eq!(promote(a, b), promote(b, a));
            }
        }
    }

    #[test]
    fn categories_decide_by_kind() {
        let result = |operands: &[(DType, usize, bool)]| {
            let mut p = Promotion::default();
            operands.iter().for_each(|&(dtype, rank, number)| p.add(dtype, rank, number));
            p.result(DType::F32)
        };
        assert_eq!(result(&[(DType::I32, 1, false), (DType::I64, 0, true)]), DType::I32);
        assert_eq!(result(&[(DType::I32, 1, false), (DType::F64, 0, true)]), DType::F32);
        assert_eq!(result(&[(DType::F32, 1, false), (DType::F64, 0, false)]), DType::F32);
        assert_eq!(result(&[(DType::I64, 1, false), (DType::F64, 0, false)]), DType::F64);
        assert_eq!(result(&[(DType::Bool, 1, false), (DType::I64, 0, true)]), DType::I64);
        assert_eq!(result(&[(DType::I64, 1, false), (DType::C128, 0, true)]), DType::C64);
        assert_eq!(result(&[(DType::F64, 1, false), (DType::C128, 0, true)]), DType::C128);
        assert_eq!(result(&[(DType::F32, 1, false), (DType::C128, 0, false)]), DType::C64);
    }

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
