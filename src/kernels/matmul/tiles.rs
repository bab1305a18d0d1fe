//! Which tiles each kind of register has microkernels for.

use super::microkernel::{HALF, MASKED, TileKernel, WHOLE, tile};
use crate::kernels::register::{Vector, plain::Plain};

/// Registers that tiles are made of.
pub(super) trait Tiles: Vector {
    /// Rows of the largest tile: with [`Tiles::TILE_VECTORS`], as many registers as there are, but a few.
    const TILE_ROWS: usize;
    /// Registers that a row of the largest tile takes.
    const TILE_VECTORS: usize;

    /// The kernel for tiles of `rows` x `vectors` registers, of which the last is what [`last`](super::microkernel::last) says.
    fn tile_kernel(rows: usize, vectors: usize, last: u8) -> TileKernel<Self::Float>;
}

macro_rules! tiles {
    ($vector:ty, rows $rows:literal: $($row:literal)+, vectors $vectors:literal: $list:tt) => {
        impl Tiles for $vector {
            const TILE_ROWS: usize = $rows;
            const TILE_VECTORS: usize = $vectors;

            #[inline]
            fn tile_kernel(rows: usize, vectors: usize, last: u8) -> TileKernel<Self::Float> {
                type Row = &'static [[TileKernel<<$vector as Vector>::Float>; 3]];
                static KERNELS: &[Row] = &[$(row_of_tiles!($vector, $row, $list)),+];
                KERNELS[rows - 1][vectors - 1][usize::from(last)]
            }
        }
    };
}

/// The kernels of one row count.
macro_rules! row_of_tiles {
    ($vector:ty, $rows:literal, [$($vectors:literal)+]) => {{
        const SHORT: u8 = if <<$vector as Vector>::Half as Vector>::LANES < <$vector as Vector>::LANES { HALF } else { MASKED };
        &[$([
            tile::<$vector, $rows, $vectors, WHOLE> as TileKernel<_>,
            tile::<$vector, $rows, $vectors, MASKED>,
            tile::<$vector, $rows, $vectors, SHORT>,
        ]),+]
    }};
}

tiles!(Plain<f32>, rows 4: 1 2 3 4, vectors 2: [1 2]);
tiles!(Plain<f64>, rows 4: 1 2 3 4, vectors 2: [1 2]);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use crate::kernels::register::x86::{Avx2, Avx512};
    use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

    tiles!(Avx512<__m512>, rows 8: 1 2 3 4 5 6 7 8, vectors 3: [1 2 3]);
    tiles!(Avx512<__m512d>, rows 8: 1 2 3 4 5 6 7 8, vectors 3: [1 2 3]);
    tiles!(Avx2<__m256>, rows 6: 1 2 3 4 5 6, vectors 2: [1 2]);
    tiles!(Avx2<__m256d>, rows 6: 1 2 3 4 5 6, vectors 2: [1 2]);
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::*;
    use crate::kernels::register::neon::Neon;
    use std::arch::aarch64::{float32x4_t, float64x2_t};

    tiles!(Neon<float32x4_t>, rows 8: 1 2 3 4 5 6 7 8, vectors 3: [1 2 3]);
    tiles!(Neon<float64x2_t>, rows 8: 1 2 3 4 5 6 7 8, vectors 3: [1 2 3]);
}
