//! Images sampled at places that a tensor names: `grid_sampler` and its grids.

use pyo3::prelude::*;

use super::arguments::Dims;
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::kernels::grid::{self, Extent, Mode, Padding, Sampler};
use crate::kernels::without_interpreter;
use crate::layout::Shape;
use crate::runtime_error;
use crate::storage::Access;
use crate::tensor::Tensor;
use crate::{saves, vjp};

const NAMES: [(&str, &str); 2] =
    [("grid_sampler_2d", "grid_sampler_2d_backward"), ("grid_sampler_3d", "grid_sampler_3d_backward")];

fn names(s: &Sampler) -> (&'static str, &'static str) {
    NAMES[s.rank - 2]
}

fn extent(x: &Tensor, grid: &Tensor) -> Extent {
    let points = grid.shape()[1..grid.rank() - 1].iter().product();
    Extent { images: x.shape()[0], channels: x.shape()[1], points }
}

/// What is sampled, as shape: of images of so many channels at a grid.
fn shape_at(grid: &Tensor, images: usize, channels: usize, sizes: &[usize]) -> Shape {
    let mut shape = Shape::from_slice(&[images, channels]);
    shape.extend_from_slice(if sizes.is_empty() { &grid.shape()[1..grid.rank() - 1] } else { sizes });
    shape
}

fn plain(x: &Tensor) -> Result<Tensor> {
    x.detached_read()?.contiguous()
}

/// The samples, or what derivatives the sampler asks for.
fn sample(s: Sampler, x: &Tensor, grid: &Tensor) -> Result<Tensor> {
    let (op, back) = names(&s);
    let e = extent(x, grid);
    let y = Tensor::uninitialized(op, &shape_at(grid, e.images, e.channels, &[]), x.dtype())?;
    let (xs, places) = (plain(x)?, plain(grid)?);
    crate::dispatch_floats!(x.dtype(), op, T => {
        let _access = Access::new(&[xs.storage(), places.storage()], &[]);
        // SAFETY: contiguous, of this dtype, and locked; nobody else knows y, which has this shape.
        without_interpreter(y.numel(), || unsafe { grid::sample(&s, e, xs.slice::<T>(), places.slice::<T>(), y.ptr::<T>()) });
        Ok(())
    })?;
    let name = if s.orders == [0; 3] { op } else { back };
    let numbers = saves! { interpolation_mode: s.mode as i64, padding_mode: s.padding as i64, align_corners: s.align_corners };
    Ok(vjp!(name, y, { x: |g| spread(s, g, &grid), grid: |g| slopes(s, g, &x, &grid) }, saves { ..numbers })?.watching(&[x]))
}

/// The gradient of the images: the adjoint of `sample`.
fn spread(s: Sampler, y: &Tensor, grid: &Tensor) -> Result<Tensor> {
    let (_, op) = names(&s);
    let e = extent(y, grid);
    let x = Tensor::zeroed(op, &shape_at(grid, e.images, e.channels, &s.sizes[3 - s.rank..]), y.dtype())?;
    let (ys, places) = (plain(y)?, plain(grid)?);
    crate::dispatch_floats!(y.dtype(), op, T => {
        let _access = Access::new(&[ys.storage(), places.storage()], &[]);
        // SAFETY: contiguous, of this dtype, and locked; nobody else knows x, which has this shape.
        without_interpreter(y.numel(), || unsafe { grid::spread(&s, e, ys.slice::<T>(), places.slice::<T>(), x.ptr::<T>()) });
        Ok(())
    })?;
    vjp!(op, x, { y: |h| sample(s, h, &grid), grid: |h| slopes(s, &y, h, &grid) })
}

/// The gradient of the grid: of the sum of `g` times the samples by their places.
fn slopes(s: Sampler, g: &Tensor, x: &Tensor, grid: &Tensor) -> Result<Tensor> {
    let (_, op) = names(&s);
    let e = extent(x, grid);
    let out = Tensor::uninitialized(op, grid.shape(), x.dtype())?;
    let (gs, xs, places) = (plain(g)?, plain(x)?, plain(grid)?);
    crate::dispatch_floats!(x.dtype(), op, T => {
        let _access = Access::new(&[gs.storage(), xs.storage(), places.storage()], &[]);
        // SAFETY: contiguous, of this dtype, and locked; nobody else knows out, which has this shape.
        without_interpreter(g.numel(), || unsafe {
            grid::slopes(&s, e, gs.slice::<T>(), xs.slice::<T>(), places.slice::<T>(), out.ptr::<T>())
        });
        Ok(())
    })?;
    vjp!(op, out, {
        g: |k| over_coordinates(s, k, |s, k| sample(s, &x, &grid)? * k),
        x: |k| over_coordinates(s, k, |s, k| spread(s, &(&g * k)?, &grid)),
        grid: |k| over_coordinates(s, k, |s, k| slopes(s, &(&g * k)?, &x, &grid))
    })
}

/// The sum over coordinates of what `part` makes of the derivative by one and of what is in `k` for it.
fn over_coordinates(s: Sampler, k: &Tensor, part: impl Fn(Sampler, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let last = k.rank() - 1;
    let of = |i: usize| part(s.derived(i), &k.select_at(last, i)?.unsqueeze_at(1)?);
    (1..s.rank).try_fold(of(0)?, |sum, i| sum + of(i)?)
}

fn check(rank: Option<usize>, x: &Tensor, grid: &Tensor) -> Result<()> {
    let (of, at) = (x.shape(), grid.shape());
    if x.dtype() != grid.dtype() {
        return runtime_error!("grid_sampler(): expected grid of dtype {}, as the input, but got {}", x.dtype(), grid.dtype());
    }
    if !matches!(of.len(), 4 | 5) || rank.is_some_and(|rank| of.len() != rank + 2) || at.len() != of.len() {
        return runtime_error!(
            "grid_sampler(): expected {} input and grid with same number of dimensions, but got input with sizes {of:?} and grid with sizes {at:?}",
            rank.map_or("4D or 5D".to_owned(), |rank| format!("{}D", rank + 2))
        );
    }
    if of[0] != at[0] {
        return runtime_error!(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes {of:?} and grid with sizes {at:?}"
        );
    }
    let rank = of.len() - 2;
    if at[rank + 1] != rank {
        return runtime_error!(
            "grid_sampler(): expected grid to have size {rank} in last dimension, but got grid with sizes {at:?}"
        );
    }
    if of[2..].contains(&0) {
        return runtime_error!("grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes {of:?}");
    }
    Ok(())
}

fn sampled(rank: Option<usize>, x: &Tensor, grid: &Tensor, mode: isize, padding: isize, align_corners: bool) -> Result<Tensor> {
    check(rank, x, grid)?;
    let rank = x.rank() - 2;
    let mode = match mode {
        0 => Mode::Linear,
        1 => Mode::Nearest,
        2 if rank == 2 => Mode::Cubic,
        2 => return runtime_error!("grid_sampler(): bicubic interpolation only supports 4D input"),
        _ => return runtime_error!("grid_sampler(): expected an interpolation_mode of 0, 1 or 2, got {mode}"),
    };
    let padding = match padding {
        0 => Padding::Zeros,
        1 => Padding::Border,
        2 => Padding::Reflection,
        _ => return runtime_error!("grid_sampler(): expected a padding_mode of 0, 1 or 2, got {padding}"),
    };
    let mut sizes = [1; 3];
    sizes[3 - rank..].copy_from_slice(&x.shape()[2..]);
    sample(Sampler { mode, padding, align_corners, rank, sizes, orders: [0; 3] }, x, grid)
}

/// An image, or a volume, sampled at the places in `grid`, where -1 and 1 are its borders.
///
/// `interpolation_mode`: 0 for linear, 1 for the nearest, 2 for cubic (images only). `padding_mode`, of what lies beyond: 0 for zeros, 1 for the
/// border, 2 for what lies inside, mirrored. `align_corners`: borders are the centers of the outermost elements, else their outer edges.
///
/// Shape: (n, c, h, w) and (n, *, 2) to (n, c, *); (n, c, d, h, w) and (n, *, 3) to (n, c, *). The last dim of the grid names the place in the last
/// dim of the image first. Dtype: float.
/// Derivative: that to the right where the image has a kink; 0 at and beyond a border that is padded, and of the nearest.
/// Raises: RuntimeError for shapes and dtypes that do not fit together.
#[pyfunction]
pub fn grid_sampler(
    input: &Tensor,
    grid: &Tensor,
    interpolation_mode: isize,
    padding_mode: isize,
    align_corners: bool,
) -> Result<Tensor> {
    sampled(None, input, grid, interpolation_mode, padding_mode, align_corners)
}

/// `grid_sampler` of images.
#[pyfunction]
pub fn grid_sampler_2d(
    input: &Tensor,
    grid: &Tensor,
    interpolation_mode: isize,
    padding_mode: isize,
    align_corners: bool,
) -> Result<Tensor> {
    sampled(Some(2), input, grid, interpolation_mode, padding_mode, align_corners)
}

/// `grid_sampler` of volumes.
#[pyfunction]
pub fn grid_sampler_3d(
    input: &Tensor,
    grid: &Tensor,
    interpolation_mode: isize,
    padding_mode: isize,
    align_corners: bool,
) -> Result<Tensor> {
    sampled(Some(3), input, grid, interpolation_mode, padding_mode, align_corners)
}

/// The homogeneous coordinates (x, y, 1), or (x, y, z, 1), of all elements of an image: (elements, coordinates).
fn homogeneous(sizes: &[usize], align_corners: bool, dtype: DType) -> Result<Tensor> {
    let mut shape = Shape::from_slice(sizes);
    let mut columns = Vec::new();
    for (d, &n) in sizes.iter().enumerate().rev() {
        // A single one is in the middle.
        let first = Scalar::Float(if n == 1 { 0.0 } else { -1.0 });
        let along = Tensor::linspace(first, Scalar::Float(1.0), n, dtype)?;
        let along = if align_corners || n == 0 { along } else { ((along * (n - 1) as f64)? / n as f64)? };
        let mut column = Shape::from_elem(1, sizes.len());
        column[d] = n;
        columns.push(along.view_as_shape(&column)?.expand_to("affine_grid_generator", &shape)?);
    }
    columns.push(Tensor::from_scalar(Scalar::Int(1), dtype)?.expand_to("affine_grid_generator", &shape)?);
    shape = Shape::from_slice(&[sizes.iter().product(), columns.len()]);
    Tensor::stacked(&columns, sizes.len())?.view_as_shape(&shape)
}

/// The places that an affine map takes the elements of an image to: a grid for `grid_sampler`.
///
/// Shape: (n, 2, 3) and a `size` (n, c, h, w) to (n, h, w, 2); (n, 3, 4) and (n, c, d, h, w) to (n, d, h, w, 3). Dtype: float.
/// Raises: RuntimeError for other shapes and negative sizes.
#[pyfunction]
pub fn affine_grid_generator(theta: &Tensor, size: Dims, align_corners: bool) -> Result<Tensor> {
    const OP: &str = "affine_grid_generator";
    let rank = size.len().wrapping_sub(2);
    if !matches!(rank, 2 | 3) {
        return runtime_error!("AffineGridGenerator needs 4d (spatial) or 5d (volumetric) inputs.");
    }
    if size.iter().any(|&n| n < 0) || theta.shape() != [size[0] as usize, rank, rank + 1] {
        return runtime_error!(
            "{OP}: expected a size without negative numbers and theta of shape {:?}, got {:?} and {:?}",
            [size[0], rank as isize, rank as isize + 1],
            &size[..],
            theta.shape()
        );
    }
    if !theta.dtype().is_float() {
        return Err(crate::error::Error::unsupported(OP, theta.dtype(), &[DType::F32, DType::F64]));
    }
    let sizes: Shape = size.iter().map(|&n| n as usize).collect();
    crate::layout::checked_numel(OP, &sizes)?;
    let images = sizes[0];
    let dtype = theta.dtype();
    let places = sizes[2..].iter().product();
    // Computed again by the rule, which saves nothing, as torch's.
    let base = {
        let sizes = Shape::from_slice(&sizes[2..]);
        move || homogeneous(&sizes, align_corners, dtype)?.expand_to(OP, &[images, places, rank + 1])
    };
    let flat = base()?.bmm(&theta.detached_read()?.mt()?)?;
    let mut shape = Shape::from_slice(&sizes[2..]);
    shape.insert(0, images);
    shape.push(rank);
    let y = flat.view_as_shape(&shape)?;
    vjp!(OP, y, { theta: |g| g.reshape_to(&[images, places, rank])?.mt()?.bmm(&base()?) }, saves { size: size.0, align_corners })
}
