//! Diagonals as views, tensors made of them, and triangles.

use pyo3::prelude::*;

use super::arguments::MemoryFormat;
use super::expanded::write_in_turn;
use crate::error::{Error, Result};
use crate::kernels::triangle;
use crate::kernels::without_interpreter;
use crate::layout::{Layout, Shape, normalize_dim};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::numbers::Named;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// Which diagonal of which two dims.
#[derive(Clone, Copy)]
pub struct Diagonal {
    offset: isize,
    dim1: usize,
    dim2: usize,
    /// The dims as the user has given them.
    given: [isize; 2],
}

impl Diagonal {
    /// The main diagonal of a matrix.
    pub(crate) const MAIN: Diagonal = Diagonal { offset: 0, dim1: 0, dim2: 1, given: [0, 1] };

    fn new(op: &'static str, offset: isize, dim1: isize, dim2: isize, rank: usize) -> Result<Diagonal> {
        let (first, second) = (normalize_dim(op, dim1, rank)?, normalize_dim(op, dim2, rank)?);
        if first == second {
            return runtime_error!("{op}: diagonal dimensions cannot be identical {dim1}, {dim2}");
        }
        Ok(Diagonal { offset, dim1: first, dim2: second, given: [dim1, dim2] })
    }
}

impl Diagonal {
    fn numbers(self) -> impl Fn() -> Named + Clone + Send + Sync + 'static {
        saves! { offset: self.offset, dim1: self.given[0], dim2: self.given[1] }
    }
}

impl Tensor {
    /// A diagonal as the last dim of a view.
    pub(crate) fn diagonal_of(&self, diagonal: Diagonal) -> Result<Tensor> {
        let x = self;
        let Diagonal { offset, dim1, dim2, .. } = diagonal;
        let (rows, columns) = (x.shape()[dim1], x.shape()[dim2]);
        let (down, right) = ((-offset).max(0) as usize, offset.max(0) as usize);
        let length = rows.saturating_sub(down).min(columns.saturating_sub(right));
        let kept = || (0..x.rank()).filter(|&d| d != dim1 && d != dim2);
        let mut layout = Layout {
            shape: kept().map(|d| x.shape()[d]).collect(),
            strides: kept().map(|d| x.strides()[d]).collect(),
            offset: x.layout().offset,
        };
        layout.shape.push(length);
        layout.strides.push(x.strides()[dim1] + x.strides()[dim2]);
        if length > 0 && !layout.shape.contains(&0) {
            let start = down as isize * x.strides()[dim1] + right as isize * x.strides()[dim2];
            layout.offset = layout.offset.wrapping_add_signed(start);
        }
        let shape: Shape = x.shape().into();
        let y =
            vjp!("diagonal", x.with_layout(layout), { x: |g| g.in_diagonal(&shape, diagonal) }, saves { ..diagonal.numbers() })?;
        Ok(self.as_base_of(y, None))
    }

    /// Zeros of a shape but for a diagonal, which is this tensor.
    pub(crate) fn in_diagonal(&self, shape: &[usize], diagonal: Diagonal) -> Result<Tensor> {
        self.embedded("diagonal_backward", shape, move |z| z.diagonal_of(diagonal))
    }

    fn embedded_diagonal(&self, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
        let x = self;
        let rank = x.rank() + 1;
        let Some((&length, batch)) = x.shape().split_last() else {
            return Err(Error::Dim { op: "diag_embed", dim: dim1, rank: 0 });
        };
        let diagonal = Diagonal::new("diag_embed", offset, dim1, dim2, rank)?;
        let size = length + offset.unsigned_abs();
        let mut batch = batch.iter();
        let shape: Shape = (0..rank)
            .map(|d| if d == diagonal.dim1 || d == diagonal.dim2 { size } else { batch.next().copied().unwrap_or(1) })
            .collect();
        let numbers = saves! { offset, dim1, dim2 };
        x.embedded_saving("diag_embed", &shape, move |z| z.diagonal_of(diagonal), numbers)
    }

    /// Zero on one side of a diagonal: what is kept has column - row at most (`lower`) or at least `diagonal`.
    fn triangle(&self, op: &'static str, diagonal: isize, lower: bool) -> Result<Tensor> {
        let x = self;
        if x.rank() < 2 {
            return runtime_error!("{op}: input tensor must have at least 2 dimensions, got {}", x.rank());
        }
        let y = x.own_contiguous_copy()?;
        let layout = y.layout();
        {
            let _access = Access::new(&[], &[y.storage()]);
            let start = y.byte_ptr() as usize;
            // SAFETY: y is locked for writing and valid for its layout.
            without_interpreter(x.numel(), || unsafe {
                triangle::clear(start as *mut u8, &layout.shape, &layout.strides, y.dtype().size(), diagonal, lower);
            });
        }
        vjp!(op, y, { x: |g| g.triangle(op, diagonal, lower) }, saves { diagonal })
    }
}

#[pymethods]
impl Tensor {
    /// A diagonal of the dims `dim1` and `dim2` as a view, in which it is the last dim.
    ///
    /// Raises: IndexError if a dim is out of range, RuntimeError if both are the same.
    #[pyo3(signature = (offset=0, dim1=0, dim2=1))]
    pub fn diagonal(&self, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
        self.diagonal_of(Diagonal::new("diagonal", offset, dim1, dim2, self.rank())?)
    }

    /// The matrix with this vector as its diagonal, or (a copy of) the diagonal of this matrix.
    ///
    /// Raises: RuntimeError unless there are one or two dims.
    #[pyo3(signature = (diagonal=0))]
    pub fn diag(&self, diagonal: isize) -> Result<Tensor> {
        match self.rank() {
            1 => self.embedded_diagonal(diagonal, -2, -1),
            2 => {
                let (x, diagonal) = (self, Diagonal::new("diag", diagonal, 0, 1, 2)?);
                let y = without_recording(|| x.diagonal_of(diagonal)?.clone_in(MemoryFormat::Contiguous))?;
                let shape = Shape::from_slice(x.shape());
                vjp!("diagonal_copy", y, { x: |g| g.in_diagonal(&shape, diagonal) }, saves { ..diagonal.numbers() })
            }
            rank => runtime_error!("diag: Supports 1D or 2D tensors. Got {rank}D"),
        }
    }

    /// Matrices in the dims `dim1` and `dim2` of the result with the last dim of this tensor as their diagonals.
    #[pyo3(signature = (offset=0, dim1=-2, dim2=-1))]
    pub fn diag_embed(&self, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
        self.embedded_diagonal(offset, dim1, dim2)
    }

    /// The matrix with all elements, in row-major order, as its diagonal.
    #[pyo3(signature = (offset=0))]
    pub fn diagflat(&self, offset: isize) -> Result<Tensor> {
        self.contiguous()?.view_as_shape(&[self.numel()])?.embedded_diagonal(offset, -2, -1)
    }

    /// A copy in which a diagonal is replaced by `src`.
    #[pyo3(signature = (src, offset=0, dim1=0, dim2=1))]
    pub fn diagonal_scatter(&self, src: &Tensor, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
        let diagonal = Diagonal::new("diagonal_scatter", offset, dim1, dim2, self.rank())?;
        self.replaced("diagonal_scatter", src, move |x| x.diagonal_of(diagonal), diagonal.numbers())
    }

    /// The lower triangle of each matrix, the rest zero; `diagonal` counts up from the main one.
    ///
    /// Raises: RuntimeError for fewer than two dims.
    #[pyo3(signature = (diagonal=0))]
    pub fn tril(&self, diagonal: isize) -> Result<Tensor> {
        self.triangle("tril", diagonal, true)
    }

    /// The upper triangle of each matrix, the rest zero; `diagonal` counts up from the main one.
    ///
    /// Raises: RuntimeError for fewer than two dims.
    #[pyo3(signature = (diagonal=0))]
    pub fn triu(&self, diagonal: isize) -> Result<Tensor> {
        self.triangle("triu", diagonal, false)
    }

    /// Clears what is above a diagonal; see `tril`.
    #[pyo3(signature = (diagonal=0))]
    fn tril_<'py>(slf: Bound<'py, Self>, diagonal: isize) -> PyResult<Bound<'py, Self>> {
        write_in_turn("tril_", &slf.borrow(), false, |x| x.tril(diagonal))?;
        Ok(slf)
    }

    /// Clears what is below a diagonal; see `triu`.
    #[pyo3(signature = (diagonal=0))]
    fn triu_<'py>(slf: Bound<'py, Self>, diagonal: isize) -> PyResult<Bound<'py, Self>> {
        write_in_turn("triu_", &slf.borrow(), false, |x| x.triu(diagonal))?;
        Ok(slf)
    }
}
