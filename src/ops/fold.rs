//! The windows of images as columns of a matrix, and their sums as images: `unfold` and `fold` of `nn.functional`, each the
//! derivative of the other.

use pyo3::prelude::*;

use super::arguments::{Dims, IntPair};
use crate::dtype::{C128, DType, Kind};
use crate::error::{Error, Result};
use crate::kernels::conv::{Sizes, columns};
use crate::kernels::without_interpreter;
use crate::layout::{Shape, checked_numel};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::numbers::Named;
use crate::tensor::Tensor;
use crate::{saves, vjp};

/// The windows of an image.
struct Windows {
    op: &'static str,
    kernel: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 2],
    stride: [usize; 2],
}

impl Windows {
    fn new(op: &'static str, kernel: &Dims, dilation: &Dims, padding: &Dims, stride: &Dims) -> Result<Windows> {
        Ok(Windows {
            op,
            kernel: pair(op, "kernel_size", kernel, 1)?,
            dilation: pair(op, "dilation", dilation, 1)?,
            padding: pair(op, "padding", padding, 0)?,
            stride: pair(op, "stride", stride, 1)?,
        })
    }

    /// Of images of a size; there must be one at least.
    fn sizes(&self, batch: usize, channels: usize, image: [usize; 2]) -> Result<Sizes> {
        let Windows { op, kernel, dilation, padding, stride } = *self;
        let mut places = [0; 2];
        for d in 0..2 {
            let padded = image[d] as i128 + 2 * padding[d] as i128;
            let left = padded - dilation[d] as i128 * (kernel[d] as i128 - 1) - 1;
            if padded > isize::MAX as i128 / 4 || left < 0 {
                return runtime_error!(
                    "{op}: Given spatial size {image:?}, kernel_size={kernel:?}, dilation={dilation:?}, padding={padding:?}, \
                     stride={stride:?}, the calculated shape of the array of sliding blocks has no element, or too many"
                );
            }
            places[d] = (left / stride[d] as i128) as usize + 1;
        }
        checked_numel(op, &[channels, kernel[0], kernel[1], places[0], places[1]])?;
        let of = |first: usize, [height, width]: [usize; 2]| [first, height, width];
        Ok(Sizes {
            batch,
            groups: 1,
            inputs: channels,
            outputs: 1,
            input: of(1, image),
            kernel: of(1, kernel),
            output: of(1, places),
            stride: of(1, stride),
            padding: of(0, padding),
            dilation: of(1, dilation),
        })
    }
}

/// Two numbers that must be at least `least`.
fn pair(op: &str, name: &str, given: &[isize], least: isize) -> Result<[usize; 2]> {
    let &[a, b] = given else {
        return runtime_error!("{op}: It is expected {name} equals to 2, but got size {}", given.len());
    };
    if a < least || b < least {
        return runtime_error!("{op}: {name} should be at least {least}, but got ({a}, {b})");
    }
    Ok([a as usize, b as usize])
}

fn check_dtype(op: &str, dtype: DType) -> Result<()> {
    if dtype.kind() == Kind::Int {
        return Err(Error::NotImplemented(format!("{op}: not implemented for '{}'", dtype.type_word())));
    }
    Ok(())
}

/// The windows of images of shape (n, c, *) or (c, *) as columns.
fn unfolded(x: &Tensor, s: Sizes) -> Result<Tensor> {
    let from = x.detached_read()?.contiguous()?;
    let mut shape: Shape = Shape::from_slice(&[s.batch, s.rows(), s.output_len()]);
    if x.rank() == 3 {
        shape.remove(0);
    }
    let y = Tensor::uninitialized("unfold", &shape, x.dtype())?;
    if y.numel() > 0 {
        let _access = Access::new(&[from.storage()], &[]);
        crate::dispatch_all!(x.dtype(), "unfold", T => {
            let (a, b) = (from.ptr::<T>() as usize, y.ptr::<T>() as usize);
            // SAFETY: both are contiguous with these shapes; `from` is locked, y is fresh; zero bytes are a zero of every dtype.
            without_interpreter(y.numel(), || unsafe { columns::unfold(&s, a as *const T, b as *mut T) });
            Ok(())
        })?;
    }
    vjp!("im2_col", y, { x: |g| folded(g, s) }, saves { ..windows_of(s) })
}

/// What the nodes of both save.
fn windows_of(s: Sizes) -> impl Fn() -> Named + Clone + Send + Sync + 'static {
    let pair = |[_, height, width]: [usize; 3]| [height, width];
    saves! { kernel_size: pair(s.kernel), dilation: pair(s.dilation), padding: pair(s.padding), stride: pair(s.stride) }
}

/// The sums of windows as images.
fn folded(x: &Tensor, s: Sizes) -> Result<Tensor> {
    // Truth values are true if one of the sum is.
    let dtype = if x.dtype() == DType::Bool { DType::I64 } else { x.dtype() };
    let from = x.detached_read()?.to_dtype(dtype)?.wide()?.contiguous()?;
    let mut shape: Shape = Shape::from_slice(&[s.batch, s.inputs, s.input[1], s.input[2]]);
    if x.rank() == 2 {
        shape.remove(0);
    }
    let y = Tensor::uninitialized("fold", &shape, from.dtype())?;
    if y.numel() > 0 {
        let _access = Access::new(&[from.storage()], &[]);
        crate::dispatch!(from.dtype(), "fold", T in [f32, f64, i64, C128] => {
            let (a, b) = (from.ptr::<T>() as usize, y.ptr::<T>() as usize);
            // SAFETY: both are contiguous with these shapes; `from` is locked, y is fresh.
            without_interpreter(from.numel(), || unsafe { columns::fold(&s, a as *const T, b as *mut T) });
            Ok(())
        })?;
    }
    let y = y.to_dtype(x.dtype())?;
    vjp!("col2_im", y, { x: |g| unfolded(g, s) }, saves { ..windows_of(s) })
}

/// The windows of images, one after the other, as columns.
///
/// Shape: (N, C, H, W) to (N, C kH kW, number of windows), or without N. One int stands for both dims.
/// Dtype: float, complex or bool, kept.
/// Derivative: `fold`.
/// Raises: RuntimeError if sizes do not fit, NotImplementedError for integers.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, dilation=both(1), padding=both(0), stride=both(1)))]
pub fn unfold(input: &Tensor, kernel_size: IntPair, dilation: IntPair, padding: IntPair, stride: IntPair) -> Result<Tensor> {
    let (op, x) = ("unfold", input);
    let windows = Windows::new(op, &kernel_size.0, &dilation.0, &padding.0, &stride.0)?;
    if x.rank() < 3 {
        return Err(Error::Index(format!("{op}: Dimension out of range: expected input of 3 or 4 dims, got {:?}", x.shape())));
    }
    let (batch, image) = if x.rank() == 3 { (1, x.shape()) } else { (x.shape()[0], &x.shape()[1..]) };
    let &[channels, height, width] = image else {
        return runtime_error!("{op}: Expected 3D or 4D (batch mode) tensor, but got: {:?}", x.shape());
    };
    if image.contains(&0) {
        return runtime_error!(
            "{op}: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: {:?}",
            x.shape()
        );
    }
    let sizes = windows.sizes(batch, channels, [height, width])?;
    check_dtype(op, x.dtype())?;
    unfolded(x, sizes)
}

/// The sums of windows, which are columns as of `unfold`, as images: where windows overlap, their elements add up.
///
/// Shape: (N, C kH kW, number of windows) to (N, C, *output_size), or without N. One int stands for both dims.
/// Dtype: float, complex or bool, kept.
/// Derivative: `unfold`.
/// Raises: RuntimeError if sizes do not fit, NotImplementedError for integers.
#[pyfunction]
#[pyo3(signature = (input, output_size, kernel_size, dilation=both(1), padding=both(0), stride=both(1)))]
pub fn fold(
    input: &Tensor,
    output_size: IntPair,
    kernel_size: IntPair,
    dilation: IntPair,
    padding: IntPair,
    stride: IntPair,
) -> Result<Tensor> {
    let (op, x) = ("fold", input);
    let image = pair(op, "output_size", &output_size.0.0, isize::MIN)?;
    let windows = Windows::new(op, &kernel_size.0, &dilation.0, &padding.0, &stride.0)?;
    let (batch, rows, places) = match *x.shape() {
        [rows, places] if rows > 0 && places > 0 => (1, rows, places),
        [batch, rows, places] if rows > 0 && places > 0 => (batch, rows, places),
        _ => {
            return runtime_error!(
                "{op}: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, but \
                 got: {:?}",
                x.shape()
            );
        }
    };
    let [height, width] = windows.kernel;
    let window = height.checked_mul(width).filter(|&window| rows.is_multiple_of(window));
    let Some(window) = window else {
        return runtime_error!(
            "{op}: Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got input.size(1)={rows} and \
             kernel_size=({height}, {width})."
        );
    };
    if output_size.0.iter().any(|&size| size <= 0) {
        return runtime_error!("{op}: expected a positive output_size, but got {:?}", &output_size.0.0);
    }
    let sizes = windows.sizes(batch, rows / window, image)?;
    if sizes.output_len() != places {
        return runtime_error!(
            "{op}: Given output_size={image:?}, kernel_size={:?}, dilation={:?}, padding={:?}, stride={:?}, expected size of input's \
             dimension 2 to match the calculated number of sliding blocks {} * {} = {}, but got input.size(2)={places}.",
            windows.kernel,
            windows.dilation,
            windows.padding,
            windows.stride,
            sizes.output[1],
            sizes.output[2],
            sizes.output_len()
        );
    }
    check_dtype(op, x.dtype())?;
    folded(x, sizes)
}

fn both(value: isize) -> IntPair {
    IntPair(Dims(smallvec::smallvec![value, value]))
}
