//! Discrete Fourier transforms by their names: sizes, dims and norms as `torch.fft` takes them.

use pyo3::prelude::*;
use smallvec::smallvec;

use super::{Norm, Places};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Shape;
use crate::ops::arguments::Dims;
use crate::runtime_error;
use crate::tensor::Tensor;

/// A dim counted from the front. Unlike other functions, these find none in a number.
fn place(op: &'static str, x: &Tensor, dim: isize) -> Result<usize> {
    if x.rank() == 0 { Err(Error::Dim { op, dim, rank: 0 }) } else { x.layout().dim(op, dim) }
}

/// A number of points.
fn points(op: &str, n: isize) -> Result<usize> {
    if n >= 1 { Ok(n as usize) } else { runtime_error!("{op}: Invalid number of data points ({n}) specified") }
}

/// What `s` and `dim` say: the dims, and how many points are transformed in each.
struct Extent {
    dims: Places,
    sizes: Shape,
}

impl Extent {
    /// Of functions of several dims: by default all, or as many as there are sizes.
    fn of(op: &'static str, x: &Tensor, s: Option<&[isize]>, dim: Option<&[isize]>) -> Result<Extent> {
        let dims: Places = match (dim, s) {
            (Some(dim), _) => dim.iter().map(|&d| place(op, x, d)).collect::<Result<_>>()?,
            (None, Some(s)) if s.len() <= x.rank() => (x.rank() - s.len()..x.rank()).collect(),
            (None, _) => (0..x.rank()).collect(),
        };
        if (1..dims.len()).any(|i| dims[..i].contains(&dims[i])) {
            return runtime_error!("{op}: FFT dims must be unique, got {dims:?}");
        }
        if let (Some(s), Some(dim)) = (s, dim)
            && s.len() != dim.len()
        {
            return runtime_error!("{op}: When given, dim and shape arguments must have the same length, got {dim:?} and {s:?}");
        }
        if let Some(s) = s
            && s.len() > x.rank()
        {
            return runtime_error!("{op}: Got shape with {} values but input tensor only has {} dimensions.", s.len(), x.rank());
        }
        let size = |(i, &d): (usize, &usize)| match s.map(|s| s[i]) {
            None | Some(-1) => points(op, x.shape()[d] as isize),
            Some(n) => points(op, n),
        };
        let sizes = dims.iter().enumerate().map(size).collect::<Result<_>>()?;
        Ok(Extent { dims, sizes })
    }

    /// Of functions of one dim.
    fn along(op: &'static str, x: &Tensor, n: Option<isize>, dim: isize) -> Result<Extent> {
        let d = place(op, x, dim)?;
        let n = points(op, n.unwrap_or(x.shape()[d] as isize))?;
        Ok(Extent { dims: smallvec![d], sizes: smallvec![n] })
    }

    /// The same, of those that answer real numbers; see `of_half`.
    fn half_along(op: &'static str, x: &Tensor, n: Option<isize>, dim: isize) -> Result<(Extent, usize)> {
        let d = place(op, x, dim)?;
        let n = points(op, n.unwrap_or(2 * (x.shape()[d] as isize - 1)))?;
        Ok((Extent { dims: smallvec![d], sizes: smallvec![n / 2 + 1] }, n))
    }

    /// Of functions that answer real numbers: the sizes of what is read, and how many numbers the last dim gets.
    fn of_half(op: &'static str, x: &Tensor, s: Option<&[isize]>, dim: Option<&[isize]>) -> Result<(Extent, usize)> {
        let mut extent = Extent::of(op, x, s, dim)?;
        let (Some(size), Some(&last)) = (extent.sizes.last_mut(), extent.dims.last()) else {
            return runtime_error!("{op} must transform at least one axis");
        };
        let n = match s.and_then(|s| s.last()) {
            None | Some(-1) => points(op, 2 * (x.shape()[last] as isize - 1))?,
            Some(_) => *size,
        };
        *size = n / 2 + 1;
        Ok((extent, n))
    }

    /// What is transformed: cut off, or filled with zeros at the end.
    fn fit(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        for (&d, &size) in self.dims.iter().zip(&self.sizes) {
            if size < y.shape()[d] {
                y = y.slice_at(d, 0, size, 1)?;
            }
        }
        let cut = Shape::from_slice(y.shape());
        let mut full = cut.clone();
        self.dims.iter().zip(&self.sizes).for_each(|(&d, &size)| full[d] = size);
        if full == cut {
            return Ok(y);
        }
        let pad: Vec<usize> = full.iter().zip(&cut).rev().flat_map(|(full, cut)| [0, full - cut]).collect();
        let window = move |z: &Tensor| cut.iter().enumerate().try_fold(z.clone(), |z, (d, &size)| z.slice_at(d, 0, size, 1));
        y.embedded_saving("constant_pad_nd", &full, window, crate::saves! { pad })
    }
}

/// The transform, in either direction.
fn complex(x: &Tensor, extent: &Extent, norm: Option<&str>, forward: bool) -> Result<Tensor> {
    let x = x.to_float()?;
    extent.fit(&*x.as_dtype(x.dtype().to_complex())?)?.fft_c2c(&extent.dims, Norm::named(norm, forward)?, forward)
}

/// The transform over one dim.
fn complex_along(
    op: &'static str,
    x: &Tensor,
    n: Option<isize>,
    dim: isize,
    norm: Option<&str>,
    forward: bool,
) -> Result<Tensor> {
    let extent = Extent::along(op, x, n, dim)?;
    if x.dtype().is_complex() {
        return complex(x, &extent, norm, forward);
    }
    let y = extent.fit(&*x.to_float()?)?.fft_r2c(&extent.dims, Norm::named(norm, forward)?, false)?;
    if forward { Ok(y) } else { y.conj() }
}

/// The first half, in the last dim, of the transform of real numbers.
fn half(op: &str, x: &Tensor, extent: Result<Extent>, norm: Option<&str>, forward: bool) -> Result<Tensor> {
    // As in torch, this is found before what is wrong with dims.
    if x.dtype().is_complex() {
        return runtime_error!("{op} expects a real input tensor, but got {}", x.dtype().type_word());
    }
    let extent = extent?;
    if extent.dims.is_empty() {
        return runtime_error!("{op} must transform at least one axis");
    }
    let (x, norm) = (extent.fit(&*x.to_float()?)?, Norm::named(norm, forward)?);
    if forward {
        return x.fft_r2c(&extent.dims, norm, true);
    }
    let last = extent.dims.len().saturating_sub(1);
    let y = x.fft_r2c(&extent.dims[last..], norm, true)?;
    if last == 0 { y.conj() } else { y.conjugated("conj_physical")?.fft_c2c(&extent.dims[..last], norm, false) }
}

/// The transform of the first half, in the last dim, of what belongs to `n` real numbers there.
fn real(x: &Tensor, (extent, n): (Extent, usize), norm: Option<&str>, forward: bool) -> Result<Tensor> {
    let x = x.to_float()?;
    let x = extent.fit(&*x.as_dtype(x.dtype().to_complex())?)?;
    let norm = Norm::named(norm, forward)?;
    if !forward {
        return x.fft_c2r(&extent.dims, norm, n);
    }
    let last = extent.dims.len().saturating_sub(1);
    let x = if last == 0 { x } else { x.fft_c2c(&extent.dims[..last], norm, true)? };
    x.conj()?.fft_c2r(&extent.dims[last..], norm, n)
}

/// The discrete Fourier transform: y_k = Σ_j x_j exp(-2πi jk / n).
///
/// Shape: `dim` gets `n` numbers; x is cut off, or filled with zeros, to as many.
/// Dtype: any; the result is complex.
/// Raises: RuntimeError for no points.
#[pyfunction]
#[pyo3(signature = (input, n=None, dim=-1, norm=None))]
pub fn fft(input: &Tensor, n: Option<isize>, dim: isize, norm: Option<&str>) -> Result<Tensor> {
    complex_along("fft", input, n, dim, norm, true)
}

/// `fft` over two dims.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=Dims(smallvec![-2, -1]), norm=None))]
pub fn fft2(input: &Tensor, s: Option<Dims>, dim: Dims, norm: Option<&str>) -> Result<Tensor> {
    complex(input, &Extent::of("fft2", input, s.as_deref(), Some(&dim))?, norm, true)
}

/// `fft` over several dims, by default all, or as many of the last as `s` has sizes.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=None, norm=None))]
pub fn fftn(input: &Tensor, s: Option<Dims>, dim: Option<Dims>, norm: Option<&str>) -> Result<Tensor> {
    complex(input, &Extent::of("fftn", input, s.as_deref(), dim.as_deref())?, norm, true)
}

/// The inverse of `fft`: y_j = 1/n Σ_k x_k exp(2πi jk / n).
///
/// Shape: `dim` gets `n` numbers; x is cut off, or filled with zeros, to as many.
/// Dtype: any; the result is complex.
/// Raises: RuntimeError for no points.
#[pyfunction]
#[pyo3(signature = (input, n=None, dim=-1, norm=None))]
pub fn ifft(input: &Tensor, n: Option<isize>, dim: isize, norm: Option<&str>) -> Result<Tensor> {
    complex_along("ifft", input, n, dim, norm, false)
}

/// `ifft` over two dims.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=Dims(smallvec![-2, -1]), norm=None))]
pub fn ifft2(input: &Tensor, s: Option<Dims>, dim: Dims, norm: Option<&str>) -> Result<Tensor> {
    complex(input, &Extent::of("ifft2", input, s.as_deref(), Some(&dim))?, norm, false)
}

/// `ifft` over several dims, by default all, or as many of the last as `s` has sizes.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=None, norm=None))]
pub fn ifftn(input: &Tensor, s: Option<Dims>, dim: Option<Dims>, norm: Option<&str>) -> Result<Tensor> {
    complex(input, &Extent::of("ifftn", input, s.as_deref(), dim.as_deref())?, norm, false)
}

/// `fft` of real numbers: of the last dim only the first half, which tells the second.
///
/// Shape: `dim` gets n // 2 + 1 numbers; x is cut off, or filled with zeros, to `n`.
/// Dtype: any real one; the result is complex.
/// Raises: RuntimeError for no points, or complex numbers.
#[pyfunction]
#[pyo3(signature = (input, n=None, dim=-1, norm=None))]
pub fn rfft(input: &Tensor, n: Option<isize>, dim: isize, norm: Option<&str>) -> Result<Tensor> {
    half("rfft", input, Extent::along("rfft", input, n, dim), norm, true)
}

/// `rfft` over two dims.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=Dims(smallvec![-2, -1]), norm=None))]
pub fn rfft2(input: &Tensor, s: Option<Dims>, dim: Dims, norm: Option<&str>) -> Result<Tensor> {
    half("rfft2", input, Extent::of("rfft2", input, s.as_deref(), Some(&dim)), norm, true)
}

/// `rfft` over several dims, by default all, or as many of the last as `s` has sizes.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=None, norm=None))]
pub fn rfftn(input: &Tensor, s: Option<Dims>, dim: Option<Dims>, norm: Option<&str>) -> Result<Tensor> {
    half("rfftn", input, Extent::of("rfftn", input, s.as_deref(), dim.as_deref()), norm, true)
}

/// The inverse of `rfft`.
///
/// Shape: `dim` gets `n` numbers, by default 2 (m - 1) if it has m; of x, n // 2 + 1 are used.
/// Dtype: any; the result is real.
/// Raises: RuntimeError for no points.
#[pyfunction]
#[pyo3(signature = (input, n=None, dim=-1, norm=None))]
pub fn irfft(input: &Tensor, n: Option<isize>, dim: isize, norm: Option<&str>) -> Result<Tensor> {
    real(input, Extent::half_along("irfft", input, n, dim)?, norm, false)
}

/// `irfft` over two dims.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=Dims(smallvec![-2, -1]), norm=None))]
pub fn irfft2(input: &Tensor, s: Option<Dims>, dim: Dims, norm: Option<&str>) -> Result<Tensor> {
    real(input, Extent::of_half("irfft2", input, s.as_deref(), Some(&dim))?, norm, false)
}

/// `irfft` over several dims, by default all, or as many of the last as `s` has sizes.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=None, norm=None))]
pub fn irfftn(input: &Tensor, s: Option<Dims>, dim: Option<Dims>, norm: Option<&str>) -> Result<Tensor> {
    real(input, Extent::of_half("irfftn", input, s.as_deref(), dim.as_deref())?, norm, false)
}

/// `fft` of what the transform of real numbers is, told by its first half in the last dim.
///
/// Shape: `dim` gets `n` numbers, by default 2 (m - 1) if it has m; of x, n // 2 + 1 are used.
/// Dtype: any; the result is real.
/// Raises: RuntimeError for no points.
#[pyfunction]
#[pyo3(signature = (input, n=None, dim=-1, norm=None))]
pub fn hfft(input: &Tensor, n: Option<isize>, dim: isize, norm: Option<&str>) -> Result<Tensor> {
    real(input, Extent::half_along("hfft", input, n, dim)?, norm, true)
}

/// `hfft` over two dims.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=Dims(smallvec![-2, -1]), norm=None))]
pub fn hfft2(input: &Tensor, s: Option<Dims>, dim: Dims, norm: Option<&str>) -> Result<Tensor> {
    real(input, Extent::of_half("hfft2", input, s.as_deref(), Some(&dim))?, norm, true)
}

/// `hfft` over several dims, by default all, or as many of the last as `s` has sizes.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=None, norm=None))]
pub fn hfftn(input: &Tensor, s: Option<Dims>, dim: Option<Dims>, norm: Option<&str>) -> Result<Tensor> {
    real(input, Extent::of_half("hfftn", input, s.as_deref(), dim.as_deref())?, norm, true)
}

/// The inverse of `hfft`.
///
/// Shape: `dim` gets n // 2 + 1 numbers; x is cut off, or filled with zeros, to `n`.
/// Dtype: any real one; the result is complex.
/// Raises: RuntimeError for no points, or complex numbers.
#[pyfunction]
#[pyo3(signature = (input, n=None, dim=-1, norm=None))]
pub fn ihfft(input: &Tensor, n: Option<isize>, dim: isize, norm: Option<&str>) -> Result<Tensor> {
    half("ihfft", input, Extent::along("ihfft", input, n, dim), norm, false)
}

/// `ihfft` over two dims.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=Dims(smallvec![-2, -1]), norm=None))]
pub fn ihfft2(input: &Tensor, s: Option<Dims>, dim: Dims, norm: Option<&str>) -> Result<Tensor> {
    half("ihfft2", input, Ok(Extent::of("ihfft2", input, s.as_deref(), Some(&dim))?), norm, false)
}

/// `ihfft` over several dims, by default all, or as many of the last as `s` has sizes.
#[pyfunction]
#[pyo3(signature = (input, s=None, dim=None, norm=None))]
pub fn ihfftn(input: &Tensor, s: Option<Dims>, dim: Option<Dims>, norm: Option<&str>) -> Result<Tensor> {
    half("ihfftn", input, Ok(Extent::of("ihfftn", input, s.as_deref(), dim.as_deref())?), norm, false)
}

/// `count` frequencies in steps of `step`; those from half of them on, if `both` signs are wanted, are negative.
pub fn frequencies(op: &'static str, count: isize, step: f64, both: bool, dtype: DType) -> Result<Tensor> {
    if !dtype.is_inexact() {
        return runtime_error!("{op} requires a floating point or complex dtype, got {dtype}");
    }
    if dtype.is_complex() {
        return Err(Error::NotImplemented(format!("{op}: not implemented for dtype {dtype}")));
    }
    if count < 0 {
        return runtime_error!("{op}: Trying to create tensor with negative dimension {count}");
    }
    let first_negative = if both { (count + 1) / 2 } else { count };
    crate::dispatch_floats!(dtype, op, T => Tensor::tabulate(op, count as usize, |i| {
        let k = if (i as isize) < first_negative { i as isize } else { i as isize - count };
        k as T * step as T
    }))
}

/// Rolls `dim`, by default all dims, by an amount that depends on its size.
fn shifted(op: &'static str, x: &Tensor, dim: Option<Dims>, amount: fn(usize) -> usize) -> Result<Tensor> {
    let dims: Places = match dim {
        Some(dim) => dim.iter().map(|&d| place(op, x, d)).collect::<Result<_>>()?,
        None => (0..x.rank()).collect(),
    };
    let shifts = dims.iter().map(|&d| amount(x.shape()[d]) as isize).collect();
    x.roll(Dims(shifts), Some(Dims(dims.iter().map(|&d| d as isize).collect())))
}

/// Rolls `dim`, by default all dims, so that the frequency 0 comes into the middle.
///
/// Raises: RuntimeError if there is no dim.
#[pyfunction]
#[pyo3(signature = (input, dim=None))]
pub fn fftshift(input: &Tensor, dim: Option<Dims>) -> Result<Tensor> {
    shifted("fftshift", input, dim, |n| n / 2)
}

/// The inverse of `fftshift`.
#[pyfunction]
#[pyo3(signature = (input, dim=None))]
pub fn ifftshift(input: &Tensor, dim: Option<Dims>) -> Result<Tensor> {
    shifted("ifftshift", input, dim, |n| n.div_ceil(2))
}
