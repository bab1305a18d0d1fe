//! Views with the dims in another order.

use pyo3::prelude::*;

use super::arguments::{Dims, Sizes};
use crate::error::Result;
use crate::interpreter::Once;
use crate::layout::{Layout, Shape, Strides, normalize_dim, normalize_dims};
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// What the names of the nodes of in-place forms end in.
const IN_PLACE: &str = ".1";

impl Tensor {
    /// Two dims exchanged.
    pub(crate) fn transposed(&self, op: &'static str, a: usize, b: usize) -> Result<Tensor> {
        self.transposed_of(op, [a, b], [a as isize, b as isize])
    }

    /// The same; the user has `given` the dims so.
    fn transposed_of(&self, op: &'static str, [a, b]: [usize; 2], given: [isize; 2]) -> Result<Tensor> {
        let x = self;
        let mut layout = x.layout().clone();
        if a != b {
            layout.shape.swap(a, b);
            layout.strides.swap(a, b);
        }
        let plain = op.strip_suffix(IN_PLACE).unwrap_or(op);
        let y = vjp!(op, x.with_layout(layout), { x: |g| g.transposed(plain, a, b) }, saves { ..move || match plain {
            "transpose" => saves! { dim0: given[0], dim1: given[1] }(),
            _ => Named::new(),
        } })?;
        Ok(self.as_base_of(y, None))
    }

    /// See `transpose`; `op` names the node.
    pub(crate) fn transposed_as(&self, op: &'static str, dim0: isize, dim1: isize) -> Result<Tensor> {
        let a = normalize_dim("transpose", dim0, self.rank())?;
        let b = normalize_dim("transpose", dim1, self.rank())?;
        self.transposed_of(op, [a, b], [dim0, dim1])
    }

    /// See `t`; `op` names the node.
    pub(crate) fn t_as(&self, op: &'static str) -> Result<Tensor> {
        match self.rank() {
            0 | 1 => self.transposed(op, 0, 0),
            2 => self.transposed(op, 0, 1),
            rank => runtime_error!("t: expects a tensor with <= 2 dimensions, but self is {rank}D"),
        }
    }

    /// Dim `i` of the result is dim `order[i]` of this.
    pub(crate) fn permuted(&self, order: &[usize]) -> Result<Tensor> {
        self.permuted_as(order, order.iter().map(|&dim| dim as isize).collect())
    }

    /// The same; the user has `given` the dims so.
    fn permuted_as(&self, order: &[usize], given: Strides) -> Result<Tensor> {
        let x = self;
        let shape: Shape = order.iter().map(|&d| x.shape()[d]).collect();
        let strides: Strides = order.iter().map(|&d| x.strides()[d]).collect();
        let y = x.with_layout(Layout { shape, strides, offset: x.layout().offset });
        let mut inverse = Shape::from_elem(0, order.len());
        order.iter().enumerate().for_each(|(i, &d)| inverse[d] = i);
        let y = vjp!("permute", y, { x: |g| g.permuted(&inverse) }, saves { dims: given })?;
        Ok(self.as_base_of(y, None))
    }

    /// The last two dims exchanged, for rules.
    pub(crate) fn mt(&self) -> Result<Tensor> {
        if self.rank() < 2 {
            return runtime_error!("mT: only supported on matrices or batches of matrices, got a {}-d tensor", self.rank());
        }
        self.transposed_of("transpose", [self.rank() - 2, self.rank() - 1], [-2, -1])
    }

    /// The same, and conjugated.
    pub(crate) fn mh(&self) -> Result<Tensor> {
        self.mt()?.conj()
    }

    /// The same of a tensor with dims.
    fn adjoint_of_dims(&self) -> Result<Tensor> {
        if self.rank() == 1 {
            return runtime_error!("adjoint: only supported on matrices or batches of matrices. Got 1-D tensor.");
        }
        self.mh()
    }
}

/// A tensor without dims itself, with a warning; of others what `f` makes of them.
fn itself_without_dims<'py>(
    slf: Bound<'py, Tensor>,
    warning: &Once,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> PyResult<Bound<'py, Tensor>> {
    if slf.borrow().rank() == 0 {
        warning.warn()?;
        return Ok(slf);
    }
    let y = f(&slf.borrow())?;
    Bound::new(slf.py(), y)
}

#[pymethods]
impl Tensor {
    /// The dims in another order.
    ///
    /// Raises: RuntimeError if a dim is missing or appears twice, IndexError if one is out of range.
    #[pyo3(signature = (*order, dims=None))]
    pub fn permute(&self, order: Sizes, dims: Option<Dims>) -> Result<Tensor> {
        let dims = order.or(dims, "permute", "dims")?;
        if dims.len() != self.rank() {
            return runtime_error!(
                "permute: number of dimensions in the tensor input does not match the length of the desired ordering of \
                 dimensions i.e. input.dim() = {} is not equal to len(dims) = {}",
                self.rank(),
                dims.len()
            );
        }
        self.permuted_as(&normalize_dims("permute", &dims, self.rank())?, dims.0)
    }

    /// Dims `dim0` and `dim1` exchanged.
    ///
    /// Raises: IndexError if one is out of range.
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Result<Tensor> {
        self.transposed_as("transpose", dim0, dim1)
    }

    /// Numpy's name of `transpose`.
    pub fn swapaxes(&self, axis0: isize, axis1: isize) -> Result<Tensor> {
        self.transpose(axis0, axis1)
    }

    /// Another name of `transpose`.
    pub fn swapdims(&self, dim0: isize, dim1: isize) -> Result<Tensor> {
        self.transpose(dim0, dim1)
    }

    /// The transposed matrix; tensors of fewer dims are kept.
    ///
    /// Raises: RuntimeError for more than two dims.
    pub fn t(&self) -> Result<Tensor> {
        self.t_as("t")
    }

    /// All dims in reverse order.
    #[getter(T)]
    pub fn reversed_dims(&self) -> Result<Tensor> {
        static OTHER_DIMS: Once = Once::new(
            c"The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated. `x.mT` transposes batches of \
            matrices, and `x.permute(*torch.arange(x.ndim - 1, -1, -1))` reverses the dims.",
        );
        static NO_DIMS: Once = Once::new(c"Tensor.T is deprecated on 0-D tensors. This function is the identity in these cases.");
        match self.rank() {
            0 => NO_DIMS.warn()?,
            2 => {}
            _ => OTHER_DIMS.warn()?,
        }
        self.permuted(&(0..self.rank()).rev().collect::<Shape>())
    }

    /// The last two dims exchanged; of a 0-d tensor, itself.
    ///
    /// Raises: RuntimeError for one dim.
    #[getter(mT)]
    fn matrix_transposed<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        static NO_DIMS: Once =
            Once::new(c"Tensor.mT is deprecated on 0-D tensors. This function is the identity in these cases.");
        itself_without_dims(slf, &NO_DIMS, Tensor::mt)
    }

    /// The last two dims exchanged, and conjugated: the same as `mT` for real numbers. Of a 0-d tensor, itself.
    #[getter(mH)]
    fn matrix_adjoint<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        static NO_DIMS: Once = Once::new(c"Tensor.mH is deprecated on 0-D tensors. Consider using x.conj().");
        itself_without_dims(slf, &NO_DIMS, Tensor::adjoint_of_dims)
    }

    /// The transposed and conjugated matrix.
    ///
    /// Raises: RuntimeError unless the tensor has 2 or 0 dims.
    #[getter(H)]
    fn hermitian_transposed<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        static NO_DIMS: Once = Once::new(c"Tensor.H is deprecated on 0-D tensors. Consider using x.conj().");
        if slf.borrow().rank() == 0 && slf.borrow().dtype().is_complex() {
            NO_DIMS.warn()?;
            return Bound::new(slf.py(), slf.borrow().conj()?);
        }
        itself_without_dims(slf, &NO_DIMS, |x| match x.rank() {
            2 => x.mh(),
            rank => runtime_error!("H: only supported on matrices (2-D tensors). Got {rank}-D tensor."),
        })
    }

    /// The last two dims exchanged, and conjugated. Of a 0-d tensor, itself.
    fn adjoint<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        static NO_DIMS: Once = Once::new(c"adjoint() is deprecated on 0-D tensors. Consider using x.conj().");
        itself_without_dims(slf, &NO_DIMS, Tensor::adjoint_of_dims)
    }

    /// Dims `source` moved to the places `destination`; the others keep their order.
    ///
    /// Raises: RuntimeError if both have different lengths or name a dim twice, IndexError if one is out of range.
    pub fn movedim(&self, source: Dims, destination: Dims) -> Result<Tensor> {
        if source.len() != destination.len() {
            return runtime_error!(
                "movedim: Invalid source or destination dims: source ({:?} dims) should contain the same number of dims as \
                 destination ({:?} dims)",
                &*source,
                &*destination
            );
        }
        let from = normalize_dims("movedim", &source, self.rank())?;
        let to = normalize_dims("movedim", &destination, self.rank())?;
        if self.rank() == 0 {
            return self.viewed("alias", &[]);
        }
        let mut rest = (0..self.rank()).filter(|d| !from.contains(d));
        let moved = |place: usize| to.iter().position(|&t| t == place).map(|i| from[i]);
        let order: Shape = (0..self.rank()).filter_map(|place| moved(place).or_else(|| rest.next())).collect();
        self.permuted(&order)
    }

    /// Numpy's name of `movedim`.
    pub fn moveaxis(&self, source: Dims, destination: Dims) -> Result<Tensor> {
        self.movedim(source, destination)
    }
}
