//! Pooling: the largest element, or the average, of windows. What all kinds share is here.

pub mod adaptive;
pub mod places;
pub mod sliding;
mod windows;

use std::sync::Arc;

use self::windows::{Layout, each};
use super::arguments::Dims;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::pool::{self as kernel, Axes, Planes};
use crate::kernels::without_interpreter;
use crate::layout::Shape;
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::numbers::Named;
use crate::tape::sample::made_of;
use crate::tensor::Tensor;
use crate::vjp;

/// The names of an op for windows of two and of three dims.
pub(super) fn name_of(n: usize, two: &'static str, three: &'static str) -> &'static str {
    if n == 3 { three } else { two }
}

pub(super) fn not_implemented<T>(kernel: &str, x: &Tensor) -> Result<T> {
    Err(Error::NotImplemented(format!("\"{kernel}\" not implemented for '{}'", x.dtype().type_word())))
}

/// The name of the op that computes the gradient of a pool.
fn backward_of(op: &str) -> &'static str {
    match op {
        "max_pool2d_with_indices" => "max_pool2d_with_indices_backward",
        "max_pool3d_with_indices" => "max_pool3d_with_indices_backward",
        "adaptive_max_pool2d" => "adaptive_max_pool2d_backward",
        "adaptive_max_pool3d" => "adaptive_max_pool3d_backward",
        "fractional_max_pool2d" => "fractional_max_pool2d_backward",
        "fractional_max_pool3d" => "fractional_max_pool3d_backward",
        "avg_pool2d" => "avg_pool2d_backward",
        "avg_pool3d" => "avg_pool3d_backward",
        "adaptive_avg_pool2d" => "adaptive_avg_pool2d_backward",
        _ => "adaptive_avg_pool3d_backward",
    }
}

/// The largest of each window, recorded, and their places in the planes.
pub(super) fn largest(
    op: &'static str,
    x: &Tensor,
    layout: &Layout,
    n: usize,
    numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
) -> Result<[Tensor; 2]> {
    let _of = made_of([x]);
    let y = Tensor::uninitialized(op, &layout.shape, x.wide()?.dtype())?;
    let index = Tensor::uninitialized(op, &layout.shape, DType::I64)?;
    if y.numel() > 0 {
        let from = x.wide()?.detached_read()?.contiguous()?;
        crate::dispatch!(from.dtype(), op, T in [f32, f64, i64] => {
            let _access = Access::new(&[from.storage()], &[y.storage(), index.storage()]);
            let planes = Planes { count: layout.planes, axes: &layout.axes };
            // SAFETY: contiguous, of these dtypes, with as many elements as the planes and windows, and locked.
            without_interpreter(x.numel() * 4, || unsafe { kernel::max::<T>(&planes, from.ptr(), y.ptr(), index.ptr()) });
            Ok(())
        })?;
    }
    let keeps_format = !op.starts_with("fractional") && op != "adaptive_max_pool3d";
    let shown = if keeps_format { index.clone().in_format_of(x)? } else { index.clone() };
    let y = y.to_dtype(x.dtype())?;
    let y = if keeps_format { y.in_format_of(x)? } else { y };
    let (shape, planes) = (Shape::from_slice(x.shape()), layout.planes);
    let size = x.shape()[x.rank() - n..].iter().product();
    let results = index.numel() / planes.max(1);
    let index = if shown.storage().same(index.storage()) {
        index.view_as_shape(&[planes, results])?.save()
    } else {
        // The user cannot write to this one.
        index.view_as_shape(&[planes, results])?
    };
    let back = backward_of(op);
    let y = vjp!(op, y, { x: |g| {
        g.reshape_to(&[planes, results])?.add_along(1, &index, size)?.view_as_shape(&shape)?.flat_in(back, &x)
    } }, saves { ..numbers })?;
    Ok([y.watching(&[x]), shown])
}

/// What averages, and their gradients, need to know.
#[derive(Clone)]
pub(super) struct Average {
    op: &'static str,
    axes: Arc<Vec<Axes>>,
    planes: usize,
    divisor: Option<i64>,
    /// The shapes of the elements and of the results.
    full: Shape,
    shape: Shape,
}

impl Average {
    pub fn new(op: &'static str, x: &Tensor, layout: Layout, divisor: Option<i64>) -> Average {
        let Layout { shape, axes, planes } = layout;
        Average { op, axes: Arc::new(axes), planes, divisor, full: x.shape().into(), shape }
    }

    fn planes(&self) -> Planes<'_> {
        Planes { count: self.planes, axes: &self.axes }
    }

    /// The average of each window.
    pub fn of(&self, x: &Tensor, numbers: impl Fn() -> Named + Clone + Send + Sync + 'static) -> Result<Tensor> {
        let y = Tensor::uninitialized(self.op, &self.shape, x.dtype())?;
        if y.numel() > 0 {
            let from = x.detached_read()?.contiguous()?;
            let _access = Access::new(&[from.storage()], &[y.storage()]);
            let (planes, divisor) = (self.planes(), self.divisor);
            // SAFETY: contiguous, of this dtype, with as many elements as the planes and windows, and locked.
            without_interpreter(x.numel() * 2, || unsafe {
                match x.dtype() {
                    DType::F32 => kernel::average(&planes, divisor, from.ptr(), y.ptr(), |sum: f32, n| sum / n as f32),
                    DType::F64 => kernel::average(&planes, divisor, from.ptr(), y.ptr(), |sum: f64, n| sum / n as f64),
                    _ => kernel::average(&planes, divisor, from.ptr(), y.ptr(), |sum: i64, n| sum.wrapping_div(n)),
                }
            });
        }
        // As in torch, planes of three dims come out in row-major order.
        let y = if self.op.ends_with("2d") { y.in_format_of(x)? } else { y };
        let it = self.clone();
        Ok(vjp!(self.op, y, { x: |g| it.spread(g, &x) }, saves { ..numbers })?.watching(&[x]))
    }

    /// The gradient of the elements.
    fn spread(&self, g: &Tensor, x: &Tensor) -> Result<Tensor> {
        let gx = Tensor::zeroed(self.op, &self.full, g.dtype())?;
        if g.numel() > 0 {
            let from = g.detached_read()?.contiguous()?;
            let (planes, divisor) = (self.planes(), self.divisor);
            crate::dispatch_floats!(g.dtype(), self.op, T => {
                let _access = Access::new(&[from.storage()], &[gx.storage()]);
                // SAFETY: as above.
                without_interpreter(gx.numel() * 2, || unsafe {
                    kernel::spread::<T>(&planes, divisor, from.ptr(), gx.ptr(), |g, n| g / n as T)
                });
                Ok(())
            })?;
        }
        let it = self.clone();
        let back = backward_of(self.op);
        vjp!(back, gx, { g: |gg| it.of(gg, Named::new), x: |gg| crate::ops::flat::flat(back, gg) })
    }
}

/// Windows of one dim as windows of two, the first of which is of size 1.
pub(super) fn flat(op: &str, name: &str, sizes: &[isize], first: isize) -> Result<[isize; 2]> {
    Ok([first, each(op, name, sizes, 1)?[0]])
}

/// The same for strides, which are those of the windows if there are none.
pub(super) fn flat_stride(op: &str, stride: Option<Dims>, kernel: [isize; 2]) -> Result<[isize; 2]> {
    stride.filter(|stride| !stride.is_empty()).map_or(Ok(kernel), |stride| flat(op, "stride", &stride, 1))
}

/// Adds a dim before the last, for which `body` works, and takes it away again from what that answers.
pub(super) fn as_planes<const N: usize>(x: &Tensor, body: impl FnOnce(&Tensor) -> Result<[Tensor; N]>) -> Result<[Tensor; N]> {
    let outputs = body(&x.unsqueezed("unsqueeze", x.rank() - 1, -2)?)?;
    let mut flat = outputs.clone();
    for (place, y) in flat.iter_mut().zip(&outputs) {
        *place = y.squeezed("squeeze.1", &[y.rank() - 2], smallvec::smallvec![-2])?;
    }
    Ok(flat)
}

/// Fails unless there are planes of `n` dims, with or without a batch, and a size for each.
pub(super) fn check_adaptive(op: &str, x: &Tensor, sizes: &[isize], n: usize) -> Result<()> {
    if x.rank() != n + 1 && x.rank() != n + 2 {
        return runtime_error!("{op}(): Expected {}D or {}D tensor, but got {:?}", n + 1, n + 2, x.shape());
    }
    if sizes.len() != n {
        return runtime_error!("{op}: output_size must have {n} elements, got {sizes:?}");
    }
    check_sizes(op, x, x.rank() - n)
}

/// Fails if a dim from `first` on has no elements.
pub(super) fn check_sizes(op: &str, x: &Tensor, first: usize) -> Result<()> {
    if !x.shape()[first..].contains(&0) {
        return Ok(());
    }
    runtime_error!("{op}(): Expected input to have non-zero size for non-batch dimensions, but got {:?}", x.shape())
}
