//! Torch's promotion rules.

use super::{DType, Kind};

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
}
