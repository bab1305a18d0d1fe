//! Distances between the points of two sets, and within one.

use pyo3::prelude::*;

use super::along::Target;
use super::arguments::Dims;
use super::norm::norm_rule;
use super::reduce::Reduction;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernels::distance::{Norm, Points};
use crate::kernels::without_interpreter;
use crate::layout::{Shape, broadcast_shapes};
use crate::runtime_error;
use crate::tape::numbers::Named;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;
use crate::{saves, vjp};

fn norm_of(p: f64) -> Norm {
    match p {
        0.0 => Norm::Zero,
        1.0 => Norm::One,
        2.0 => Norm::Two,
        f64::INFINITY => Norm::Largest,
        p => Norm::Power(p),
    }
}

fn dims(dim: isize) -> Option<Dims> {
    Some(Dims(smallvec::smallvec![dim]))
}

/// Two sets of points, of one batch shape, off the tape.
struct Pair {
    a: Tensor,
    b: Tensor,
}

impl Pair {
    /// Of points that have at least two dims and as many coordinates.
    fn new(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Pair> {
        let (a, b) = (a.detached_read()?, b.detached_read()?);
        let batch = broadcast_shapes(op, &a.shape()[..a.rank() - 2], &b.shape()[..b.rank() - 2])?;
        let whole = |x: &Tensor| {
            let shape: Shape = batch.iter().chain(&x.shape()[x.rank() - 2..]).copied().collect();
            x.expand_to(op, &shape)
        };
        Ok(Pair { a: whole(&a)?, b: whole(&b)? })
    }

    /// The coordinates of both, and what a kernel makes of them: a tensor of this shape.
    fn computed(&self, shape: &[usize], body: impl Fn(Points<'_>, Target<f64>)) -> Result<Tensor> {
        let y = Tensor::zeroed("cdist", shape, DType::F64)?;
        if y.numel() == 0 {
            return y.to_dtype(self.a.dtype());
        }
        let (a, b) = (self.a.to_vec::<f64>()?, self.b.to_vec::<f64>()?);
        let rank = self.a.rank();
        let points = Points {
            batch: self.a.shape()[..rank - 2].iter().product(),
            rows: self.a.shape()[rank - 2],
            columns: self.b.shape()[rank - 2],
            width: self.a.shape()[rank - 1],
            a: &a,
            b: &b,
        };
        without_interpreter(y.numel() * points.width.max(points.columns), || body(points, Target::of(&y)));
        y.to_dtype(self.a.dtype())
    }

    /// The shape of the distances.
    fn shape(&self) -> Shape {
        let rank = self.a.rank();
        self.a.shape()[..rank - 1].iter().chain([&self.b.shape()[rank - 2]]).copied().collect()
    }

    fn distances(&self, p: f64) -> Result<Tensor> {
        self.computed(&self.shape(), |points, y| {
            // SAFETY: `y` has as many elements as there are distances, of which each is written once.
            points.distances(norm_of(p), |place, distance| unsafe { y.set(place, distance) })
        })
    }

    /// Euclidean distances, by one product of matrices: |a - b|² = |a|² - 2 a b + |b|².
    fn by_products(&self) -> Result<Tensor> {
        let squares = |x: &Tensor| (x * x)?.sum(dims(-1), true, None);
        let (a, b) = (&self.a, &self.b);
        let cross = a.matmul(&b.transpose(-2, -1)?)?;
        ((squares(a)? - (cross * 2.0)?)? + squares(b)?.transpose(-2, -1)?)?.clamp_min(0.0.into())?.sqrt()
    }
}

/// The gradient of differences, coordinates last, from that of their norms; recorded. It is 0 where points are the same.
fn of_differences(g: &Tensor, d: &Tensor, p: f64) -> Result<Tensor> {
    let g = g.unsqueeze(-1)?;
    let size = d.detached_read()?.vector_norm(p, Some(&[-1]), true, None)?;
    if p == 0.0 || p.is_infinite() {
        let largest = d.detached_read()?.abs()?.eq((&size).into())?.to_dtype(d.dtype())?;
        return &g * (d.detached_read()?.sgn()? * (largest * if p == 0.0 { 0.0 } else { 1.0 })?)?;
    }
    // Differences of 1 stand for those that are none: what is computed of these is not used, but must be finite.
    let same = size.equals(0.0)?;
    let d = (d.zeroed_where(&same.expand_to("cdist", d.shape())?)? + same.to_dtype(d.dtype())?)?;
    let norm = d.vector_norm(p, Some(&[-1]), true, None)?;
    let r = Reduction::new("cdist", &d, Some(&[-1]), true)?;
    norm_rule(&g, &d, &norm, p, &r)?.zeroed_where(&same.expand_to("cdist", d.shape())?)
}

/// The gradient of the points `a` from that of their distances to `b`.
fn gradient(g: &Tensor, a: &Tensor, b: &Tensor, distances: &Tensor, p: f64, by_products: bool) -> Result<Tensor> {
    if is_recording() && !by_products {
        let d = (a.unsqueeze(-2)? - b.unsqueeze(-3)?)?;
        return of_differences(g, &d, p)?.sum(dims(-2), false, None);
    }
    if by_products {
        let same = distances.detached_read()?.equals(0.0)?;
        let ratio = (g / (distances + same.to_dtype(a.dtype())?)?)?.zeroed_where(&same)?;
        return (a * ratio.sum(dims(-1), true, None)?)? - ratio.matmul(b)?;
    }
    let pair = Pair::new("cdist", a, b)?;
    let list = |x: &Tensor| x.expand_to("cdist", &pair.shape())?.to_vec::<f64>();
    let (distances, g) = (list(distances)?, list(g)?);
    pair.computed(pair.a.shape(), |points, y| {
        // SAFETY: `y` is of the shape of the points, of whose coordinates each is written once.
        points.gradients(norm_of(p), &distances, &g, |place, slope| unsafe { y.set(place, slope) })
    })
}

fn check_order(op: &str, p: f64) -> Result<()> {
    if p >= 0.0 { Ok(()) } else { runtime_error!("{op}: only supports non-negative p values, got {p}") }
}

/// From how many points on torch computes Euclidean distances by products of matrices.
const MANY: usize = 25;

/// The p-norm distance of each point of `x1` to each of `x2`; points are rows, and the dims before them a batch.
///
/// `compute_mode` says when Euclidean distances come from products of matrices, which is fast, and less exact for points that are
/// near to each other: by default for more than 25 points.
/// Shape: (*, p, m) and (*, r, m) to (*, p, r). Dtype: float.
/// Derivative: 0 for points that are the same.
#[pyfunction]
#[pyo3(signature = (x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"))]
pub fn cdist(x1: &Tensor, x2: &Tensor, p: f64, compute_mode: &str) -> Result<Tensor> {
    const OP: &str = "cdist";
    let by_products = match compute_mode {
        "use_mm_for_euclid_dist_if_necessary" => None,
        "use_mm_for_euclid_dist" => Some(true),
        "donot_use_mm_for_euclid_dist" => Some(false),
        _ => return Err(crate::error::Error::Value(format!("{compute_mode} is not a valid value for compute_mode"))),
    };
    for (name, x) in [("X1", x1), ("X2", x2)] {
        if !x.dtype().is_float() {
            return runtime_error!("{OP}: only supports floating-point dtypes, {name} got: {}", x.dtype());
        }
        if x.rank() < 2 {
            return runtime_error!("{OP}: only supports at least 2D tensors, {name} got: {}D", x.rank());
        }
    }
    let (a, b) = (x1, x2);
    if a.dtype() != b.dtype() {
        return runtime_error!("{OP}: expected both tensors to have the same dtype, but got {} and {}", a.dtype(), b.dtype());
    }
    if a.shape().last() != b.shape().last() {
        return runtime_error!("{OP}: X1 and X2 must have the same number of columns, got {:?} and {:?}", a.shape(), b.shape());
    }
    check_order(OP, p)?;
    let many = a.shape()[a.rank() - 2] > MANY || b.shape()[b.rank() - 2] > MANY;
    let by_products = p == 2.0 && by_products.unwrap_or(many);
    let y = without_recording(|| {
        let pair = Pair::new(OP, a, b)?;
        if by_products { pair.by_products() } else { pair.distances(p) }
    })?;
    let numbers = move || match by_products {
        true => Named::new(),
        false => saves! { p }(),
    };
    vjp!(if by_products { "euclidean_dist" } else { OP }, y, {
        a: |g, y| gradient(g, &a, &b, y, p, by_products),
        b: |g, y| gradient(&g.transpose(-2, -1)?, &b, &a, &y.transpose(-2, -1)?, p, by_products)
    }, saves { ..numbers })
}

/// The p-norm distances of the rows of a matrix to those after them.
///
/// Shape: (n, m) to (n (n - 1) / 2). Dtype: float. Derivative: 0 for rows that are the same.
#[pyfunction]
#[pyo3(signature = (input, p=2.0))]
pub fn pdist(input: &Tensor, p: f64) -> Result<Tensor> {
    const OP: &str = "pdist";
    let x = &input.contiguous()?;
    let &[rows, _] = x.shape() else {
        return runtime_error!("{OP}: only supports 2D tensors, got: {}D", x.rank());
    };
    if !x.dtype().is_float() {
        return runtime_error!("{OP}: only supports floating-point dtypes, got {}", x.dtype());
    }
    check_order(OP, p)?;
    let all = without_recording(|| Pair::new(OP, x, x)?.distances(p))?;
    let pairs = || (0..rows).flat_map(|i| (i + 1..rows).map(move |j| (i as i64, j as i64)));
    let list = |values: Vec<i64>| Tensor::from_slice(&[values.len()], &values);
    let (first, second) = (list(pairs().map(|(i, _)| i).collect())?, list(pairs().map(|(_, j)| j).collect())?);
    let places = list(pairs().map(|(i, j)| i * rows as i64 + j).collect())?;
    let y = without_recording(|| all.view_as_shape(&[rows * rows])?.take_along(0, &places))?;
    vjp!(OP, y, { x: |g| {
        if !is_recording() {
            let upper = g.add_along(0, &places, rows * rows)?.view_as_shape(&[rows, rows])?;
            return gradient(&(&upper + upper.transpose(-2, -1)?)?, &x, &x, &all, p, false);
        }
        let rows_of = |index: &Tensor| index.unsqueeze_at(1)?.expand_to(OP, &[index.numel(), x.shape()[1]]);
        let (first, second) = (rows_of(&first)?, rows_of(&second)?);
        let slopes = of_differences(g, &(x.take_along(0, &first)? - x.take_along(0, &second)?)?, p)?;
        slopes.add_along(0, &first, rows)? - slopes.add_along(0, &second, rows)?
    } }, saves { p })
    .map(Tensor::watching_itself)
}
