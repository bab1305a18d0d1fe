//! Discrete Fourier transforms: the three that all others are made of, with their derivatives; in `functions` those that have
//! names, in `short_time` those of pieces of a signal.
//!
//! A transform is linear, and the transform in the other direction is its adjoint, if both are scaled alike: so it is its
//! derivative, too. What belongs to real numbers is symmetric, and may be told by one half alone.

pub mod functions;
mod short_time;

use smallvec::SmallVec;

use crate::dtype::{C64, C128, DType};
use crate::error::{Error, Result};
use crate::kernels::fft::{Beside, Line, Pass, Symmetry, run};
use crate::kernels::without_interpreter;
use crate::layout::{Shape, Strides, contiguous_strides};
use crate::ops::batch_order;
use crate::runtime_error;
use crate::storage::Access;
use crate::tensor::Tensor;
use crate::vjp;

/// What a transform of n numbers is multiplied with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Norm {
    /// 1.
    One,
    /// 1 / √n.
    Root,
    /// 1 / n.
    Size,
}

impl Norm {
    /// By its name: "backward", which is the default, "ortho" or "forward".
    fn named(name: Option<&str>, forward: bool) -> Result<Norm> {
        match (name.unwrap_or("backward"), forward) {
            ("backward", true) | ("forward", false) => Ok(Norm::One),
            ("backward", false) | ("forward", true) => Ok(Norm::Size),
            ("ortho", _) => Ok(Norm::Root),
            (name, _) => {
                runtime_error!("fft: invalid normalization mode \"{name}\" (expected \"backward\", \"ortho\" or \"forward\")")
            }
        }
    }

    /// Torch's number of it.
    fn number(self) -> i64 {
        match self {
            Norm::One => 0,
            Norm::Root => 1,
            Norm::Size => 2,
        }
    }

    fn scale(self, n: usize) -> f64 {
        match self {
            Norm::One => 1.0,
            Norm::Root => 1.0 / (n as f64).sqrt(),
            Norm::Size => 1.0 / n as f64,
        }
    }
}

/// Numbers of dims.
type Places = SmallVec<[usize; 5]>;

/// Dims in the order in which a tensor steps through them, the longest step first.
fn by_step(x: &Tensor, dims: &mut [usize]) {
    dims.sort_by_key(|&d| std::cmp::Reverse(x.strides()[d]));
}

/// The strides that torch gives a transform of `x` over `dims` that has this shape: those dims innermost, as they are listed,
/// around them the others as they are in `x`.
fn strides_of(x: &Tensor, shape: &[usize], dims: &[usize]) -> Strides {
    let mut others: Places = (0..shape.len()).collect();
    // Puts the others first, as C++'s `std::partition` does it: the order counts where two have one stride.
    let (mut start, mut end) = (0, others.len());
    loop {
        while start < end && !dims.contains(&others[start]) {
            start += 1;
        }
        while start < end && dims.contains(&others[end - 1]) {
            end -= 1;
        }
        if start >= end {
            break;
        }
        others.swap(start, end - 1);
    }
    others.truncate(start);
    by_step(x, &mut others);
    let mut strides: Strides = contiguous_strides(shape);
    let mut step = 1isize;
    for &d in others.iter().chain(dims).rev() {
        strides[d] = step;
        step *= shape[d].max(1) as isize;
    }
    strides
}

/// What a transform of `x` over `dims`, listed as in [`strides_of`], is written to.
fn transformed(x: &Tensor, shape: &[usize], dims: &[usize], dtype: DType) -> Result<Tensor> {
    let y = Tensor::uninitialized_strided("fft", shape, strides_of(x, shape, dims), dtype)?;
    batch_order::note_around(&y, x, dims);
    Ok(y)
}

/// Transforms the lines of `x` along `dim` into `y`, which may be `x`.
fn pass(x: &Tensor, y: &Tensor, dim: usize, n: usize, norm: Norm, forward: bool) -> Result<()> {
    let symmetry = match (x.dtype().is_complex(), y.dtype().is_complex()) {
        (true, true) => Symmetry::None,
        (false, _) => Symmetry::RealBefore,
        (true, false) => Symmetry::RealAfter,
    };
    let mut others: Places = (0..x.rank()).filter(|&d| d != dim).collect();
    by_step(x, &mut others);
    let beside = others.iter().map(|&d| Beside { size: x.shape()[d], from: x.strides()[d], to: y.strides()[d] }).collect();
    let pass = Pass { n, forward, scale: norm.scale(n), symmetry, beside };
    macro_rules! run {
        ($from:ty, $to:ty) => {{
            let _access = Access::new(&[x.storage()], &[y.storage()]);
            let from = Line { start: x.ptr::<$from>(), step: x.strides()[dim], len: x.shape()[dim] };
            let to = Line { start: y.ptr::<$to>(), step: y.strides()[dim], len: y.shape()[dim] };
            // SAFETY: both are locked, with these lines; y is fresh and dense, and x apart from it or the same.
            without_interpreter(x.numel().max(y.numel()) * 8, || unsafe { run(&pass, from, to) });
            Ok(())
        }};
    }
    match (x.dtype(), y.dtype()) {
        (DType::C64, DType::C64) => run!(C64, C64),
        (DType::C128, DType::C128) => run!(C128, C128),
        (DType::F32, DType::C64) => run!(f32, C64),
        (DType::F64, DType::C128) => run!(f64, C128),
        (DType::C64, DType::F32) => run!(C64, f32),
        (DType::C128, DType::F64) => run!(C128, f64),
        (got, _) => Err(Error::DType { op: "fft", got, expected: "a floating point or complex dtype".to_string() }),
    }
}

impl Tensor {
    /// The transform of complex numbers over `dims`.
    fn fft_c2c(&self, dims: &[usize], norm: Norm, forward: bool) -> Result<Tensor> {
        let x = self;
        let mut inner = Places::from_slice(dims);
        by_step(x, &mut inner);
        let read = x.detached_read()?;
        let y = if dims.is_empty() { read.copied()? } else { transformed(x, x.shape(), &inner, x.dtype())? };
        for (i, &d) in inner.iter().rev().enumerate() {
            pass(if i == 0 { &read } else { &y }, &y, d, x.shape()[d], norm, forward)?;
        }
        let dims = Places::from_slice(dims);
        let given = dims.clone();
        vjp!("fft_c2_c", y, { x: |g| g.fft_c2c(&dims, norm, !forward) }, saves { dim: given, normalization: norm.number(), forward })
    }

    /// The forward transform of real numbers over `dims`; if `onesided`, only the first half of the last one.
    fn fft_r2c(&self, dims: &[usize], norm: Norm, onesided: bool) -> Result<Tensor> {
        let x = self;
        let Some((&last, before)) = dims.split_last() else {
            return runtime_error!("fft: at least one dim must be transformed");
        };
        let n = x.shape()[last];
        let half = if onesided { n / 2 + 1 } else { n };
        let mut shape = Shape::from_slice(x.shape());
        shape[last] = half;
        let mut inner = Places::from_slice(before);
        by_step(x, &mut inner);
        inner.push(last);
        let y = transformed(x, &shape, &inner, x.dtype().to_complex())?;
        pass(&x.detached_read()?, &y, last, n, norm, true)?;
        for &d in before {
            pass(&y, &y, d, shape[d], norm, true)?;
        }
        let (full, dims) = (Shape::from_slice(x.shape()), Places::from_slice(dims));
        let given = dims.clone();
        vjp!("fft_r2_c", y, { x: |g| {
            let whole = if half < n { g.embedded("slice_backward", &full, move |z| z.slice_at(last, 0, half, 1))? } else { g.clone() };
            whole.fft_c2c(&dims, norm, false)?.real()
        } }, saves { dim: given, normalization: norm.number(), onesided })
        .map(|y| y.watching(&[x]))
    }

    /// The backward transform over `dims` to real numbers, `n` in the last dim, of which the first half is given.
    fn fft_c2r(&self, dims: &[usize], norm: Norm, n: usize) -> Result<Tensor> {
        let Some((&last, before)) = dims.split_last() else {
            return runtime_error!("fft: at least one dim must be transformed");
        };
        let x = &if before.is_empty() { self.detached_read()? } else { self.detached_read()?.fft_c2c(before, norm, false)? };
        let mut shape = Shape::from_slice(x.shape());
        shape[last] = n;
        let y = transformed(x, &shape, &[last], x.dtype().to_real())?;
        pass(x, &y, last, n, norm, false)?;
        let (x, dims) = (self, Places::from_slice(dims));
        let given = dims.clone();
        vjp!("fft_c2_r", y, { x: |g| {
            // All but the numbers in the middle, which are their own counterparts, stand for two.
            let half = g.fft_r2c(&dims, norm, true)?;
            let counts: Vec<f32> = (0..n / 2 + 1).map(|k| if k == 0 || 2 * k == n { 1.0 } else { 2.0 }).collect();
            let mut shape: Places = SmallVec::from_elem(1, half.rank());
            shape[last] = counts.len();
            half * Tensor::from_slice(&shape, &counts)?
        } }, saves { dim: given, normalization: norm.number() })
    }
}
