//! A = P L U.

use pyo3::prelude::*;

use super::{
    batch, broadcast_batch, check_inexact, check_info, check_kernel, check_same_dtype, count, each, ints, minus, record,
    record_saving, sides, with,
};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::interpreter::Once;
use crate::kernels::linalg::{lu, triangular};
use crate::layout::Shape;
use crate::ops::arguments::Named;
use crate::runtime_error;
use crate::saves;
use crate::tape::sample::made_of;
use crate::tape::without_recording;
use crate::tensor::Tensor;

/// L and U of matrices in one, in double precision and by columns, with the rows that were exchanged; off the tape.
#[derive(Clone)]
pub(super) struct Factors {
    pub lu: Tensor,
    pub pivots: Tensor,
    /// 0, or the number of a pivot that is zero.
    pub info: Tensor,
}

impl Factors {
    pub fn of(a: &Tensor) -> Result<Factors> {
        let (shape, (m, n)) = (batch(a, 2), sides(a));
        let k = m.min(n);
        let lu = without_recording(|| a.by_columns())?;
        let (pivots, info) = (ints("linalg_lu_factor", &with(&shape, &[k]))?, ints("linalg_lu_factor", &shape)?);
        with_field!(lu, T => each(count(&shape), &[m, n, k], [&lu, &pivots, &info], &|[mut a, mut pivots, mut info]| {
            info.of()[0] = lu::lu::<T>(m, n, a.of(), pivots.of(), true);
        }));
        Ok(Factors { lu, pivots, info })
    }

    /// X with A X = B or X A = B, where `adjoint` stands for A^H; the leading dims of B are those of the result.
    pub fn solve(&self, b: &Tensor, left: bool, adjoint: bool) -> Result<Tensor> {
        if !left {
            // X A = B is A^H X^H = B^H.
            return self.solve(&b.mh()?, true, !adjoint)?.mh();
        }
        let (shape, n) = (batch(b, 2), sides(b).0);
        let lu = if adjoint { self.lu.mh()? } else { self.lu.clone() };
        let factors = lu.with_batch("linalg_solve", &shape)?;
        let factors = if adjoint { factors.by_rows()? } else { factors.by_columns()? };
        let pivots = self
            .pivots
            .expand_to("linalg_solve", &with(&shape, &[n]))?
            .clone_in(crate::ops::arguments::MemoryFormat::Contiguous)?;
        let b = b.by_columns()?;
        if b.numel() == 0 {
            return Ok(b);
        }
        with_field!(b, T => each(count(&shape), &[n, sides(&b).0, sides(&b).1], [&factors, &pivots, &b], &|[mut a, mut pivots, mut b]| {
            let (a, pivots, b) = (&*a.of::<T>(), pivots.of::<i32>(), b.of::<T>());
            let triangle = |upper: bool| triangular::Triangle { a, n, by_rows: adjoint, upper, unit: upper == adjoint };
            if !adjoint {
                lu::exchange_rows(n, b, pivots, false);
            }
            triangular::solve(triangle(false), b);
            triangular::solve(triangle(true), b);
            if adjoint {
                lu::exchange_rows(n, b, pivots, true);
            }
        }));
        Ok(b)
    }
}

/// P of A = P L U for matrices of m rows whose rows were exchanged like this.
fn permutations(pivots: &Tensor, m: usize, dtype: DType) -> Result<Tensor> {
    let (shape, k) = (batch(pivots, 1), pivots.shape()[pivots.rank() - 1]);
    let numbers = pivots.detached_read()?.contiguous()?.to_vec::<i32>()?;
    let _of = made_of([pivots]);
    let p = Tensor::zeroed("lu_unpack", &with(&shape, &[m, m]), dtype)?;
    let places = Tensor::uninitialized("lu_unpack", &with(&shape, &[m]), DType::I64)?;
    let mut order: Vec<i64> = Vec::with_capacity(places.numel());
    for i in 0..count(&shape) {
        let start = order.len();
        order.extend(0..m as i64);
        for (j, &pivot) in numbers[i * k..(i + 1) * k].iter().enumerate() {
            let other = pivot as usize;
            if other == 0 || other > m || pivot < 0 {
                return runtime_error!("lu_unpack: the pivots must be between 1 and LU.size(-2) inclusive, got {pivot}");
            }
            order.swap(start + j, start + other - 1);
        }
    }
    let places = Tensor::from_slice(places.shape(), &order)?.unsqueeze(-2)?;
    let ones = Tensor::from_scalar(Scalar::Int(1), dtype)?.expand_to("lu_unpack", places.shape())?;
    p.scatter(-2, &places, Some(ones.into()), None, None)
}

/// L (m x k) and U (k x n) of matrices that hold both.
fn parts(lu: &Tensor) -> Result<(Tensor, Tensor)> {
    let (m, n) = sides(lu);
    let k = m.min(n);
    let l = lu.strip(false, 0, k)?.tril(-1)?;
    let ones = Tensor::from_scalar(Scalar::Int(1), lu.dtype())?.expand_to("lu_unpack", &with(&batch(lu, 2), &[k]))?;
    Ok((l.with_diagonal(&ones)?, lu.strip(true, 0, k)?.triu(0)?))
}

/// The gradient of A = P L U.
///
/// Source: torch's `plu_backward_base`; the parts of a wide or tall A beside its square part are solved with the factors of that.
fn backward(gl: Option<&Tensor>, gu: Option<&Tensor>, p: &Tensor, l: &Tensor, u: &Tensor) -> Result<Option<Tensor>> {
    if gl.is_none() && gu.is_none() {
        return Ok(None);
    }
    let ((m, k), n) = (sides(l), sides(u).1);
    let (l1, u1) = (l.strip(true, 0, k)?, u.strip(false, 0, k)?);
    // What belongs below the diagonal, what above, and gradients of the parts of A beside its square part.
    let (mut lower, mut upper, mut right, mut below) = (None, None, None, None);
    if let Some(gl) = gl {
        lower = Some(l1.mh()?.matmul(&gl.strip(true, 0, k)?)?);
        if m > k {
            let (g, part) = (gl.strip(true, k, m - k)?, l.strip(true, k, m - k)?);
            upper = Some(minus(part.mh()?.matmul(&g))?);
            below = Some(u1.mh()?.triangular_solved(&g, false, false, false)?);
        }
    }
    if let Some(gu) = gu {
        let inner = gu.strip(false, 0, k)?.matmul(&u1.mh()?)?;
        upper = Some(match upper {
            Some(upper) => (upper + inner)?,
            None => inner,
        });
        if n > k {
            let (g, part) = (gu.strip(false, k, n - k)?, u.strip(false, k, n - k)?);
            let inner = minus(g.matmul(&part.mh()?))?;
            lower = Some(match lower {
                Some(lower) => (lower + inner)?,
                None => inner,
            });
            right = Some(l1.mh()?.triangular_solved(&g, true, true, true)?);
        }
    }
    let inner = match (lower, upper) {
        (Some(lower), Some(upper)) => (lower.tril(-1)? + upper.triu(0)?)?,
        (Some(lower), None) => lower.tril(-1)?,
        (None, Some(upper)) => upper.triu(0)?,
        (None, None) => return Ok(None),
    };
    let inner = u1.mh()?.triangular_solved(&inner, false, false, false)?;
    let mut g = l1.mh()?.triangular_solved(&inner, true, true, true)?;
    let zeros = |rows: usize, columns: usize| Tensor::zeroed("linalg_lu", &with(&batch(l, 2), &[rows, columns]), l.dtype());
    if m > k {
        g = Tensor::joined("cat", &[g, below.map_or_else(|| zeros(m - k, k), Ok)?], l.rank() - 2)?;
    }
    if n > k {
        g = Tensor::joined("cat", &[g, right.map_or_else(|| zeros(k, n - k), Ok)?], l.rank() - 1)?;
    }
    p.matmul(&g).map(Some)
}

fn check(op: &str, a: &Tensor, pivot: bool) -> Result<()> {
    super::check_matrices(op, "A", a)?;
    check_kernel("lu", a)?;
    if !pivot {
        return runtime_error!("{op}: LU without pivoting is not implemented on the CPU");
    }
    Ok(())
}

/// L and U in one, pivots, and the number of a pivot that is zero.
fn factored(op: &str, a: &Tensor, pivot: bool) -> Result<[Tensor; 3]> {
    check(op, a, pivot)?;
    let Factors { lu, pivots, info } = Factors::of(a)?;
    let lu = lu.to_dtype(a.dtype())?;
    record_saving("linalg_lu_factor_ex", &[a], &[], [lu, pivots, info], saves! { pivot }, |back| {
        let (Some(g), [lu, pivots, _]) = (back.g(0), &*back.y) else { return Ok(vec![None]) };
        let (l, u) = parts(lu)?;
        let p = permutations(pivots, sides(lu).0, lu.dtype())?;
        Ok(vec![backward(Some(&g.strip(false, 0, sides(&l).1)?), Some(&g.strip(true, 0, sides(&l).1)?), &p, &l, &u)?])
    })
}

/// L and U in one, and pivots, for rules.
pub(super) fn factored_pair(a: &Tensor) -> Result<[Tensor; 2]> {
    factored("linalg.lu_factor", a, true).map(|[lu, pivots, _]| [lu, pivots])
}

fn check_regular(op: &str, info: &Tensor) -> Result<()> {
    let checked = check_info(op, info, &|k| {
        format!(
            "U[{k},{k}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform the              factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )
    });
    checked.map_err(|error| Error::Runtime(error.to_string()))
}

/// L and U of A = P L U in one matrix, L below its diagonal (which is 1), and the exchanges of rows that are P: row i with row
/// `pivots[i] - 1`.
///
/// Shape: (*, m, n), kept, and (*, k), where k is the smaller of m and n. Dtype: float or complex.
/// Raises: RuntimeError if a pivot is zero, or if `pivot` is false, as on torch's CPU.
#[pyfunction]
#[pyo3(signature = (A, *, pivot=true))]
#[allow(non_snake_case)]
pub fn lu_factor(A: &Tensor, pivot: bool) -> Result<Named> {
    let [lu, pivots, info] = factored("linalg.lu_factor", A, pivot)?;
    check_regular("torch.linalg.lu_factor", &info)?;
    Ok(Named::new("linalg_lu_factor", [lu, pivots]))
}

/// [`lu_factor`] without a check unless `check_errors` is true: `info` is 0, or the number of a pivot that is zero.
#[pyfunction]
#[pyo3(signature = (A, *, pivot=true, check_errors=false))]
#[allow(non_snake_case)]
pub fn lu_factor_ex(A: &Tensor, pivot: bool, check_errors: bool) -> Result<Named> {
    let [lu, pivots, info] = factored("linalg.lu_factor", A, pivot)?;
    if check_errors {
        check_regular("torch.linalg.lu_factor_ex", &info)?;
    }
    Ok(Named::new("linalg_lu_factor_ex", [lu, pivots, info]))
}

/// P, L and U of A = P L U.
///
/// Shape: (*, m, n) to (*, m, m), (*, m, k) and (*, k, n), where k is the smaller of m and n. Dtype: float or complex.
/// Raises: RuntimeError if `pivot` is false, as on torch's CPU.
#[pyfunction(name = "lu")]
#[pyo3(signature = (A, *, pivot=true))]
#[allow(non_snake_case)]
pub fn linalg_lu(A: &Tensor, pivot: bool) -> Result<Named> {
    check("linalg.lu", A, pivot)?;
    let _of = made_of([A]);
    let [p, l, u] = without_recording(|| {
        let Factors { lu, pivots, .. } = Factors::of(A)?;
        let (l, u) = parts(&lu)?;
        let rows = |x: Tensor| x.to_dtype(A.dtype())?.contiguous();
        Ok::<_, Error>([permutations(&pivots, sides(A).0, A.dtype())?, rows(l)?, rows(u)?])
    })?;
    let kept = p.save();
    let [l, u] = record_saving("linalg_lu", &[A], &[], [l, u], saves! { pivot }, move |back| {
        let [l, u] = &*back.y else { return Ok(vec![None]) };
        Ok(vec![backward(back.g(0), back.g(1), &kept, l, u)?])
    })?;
    Ok(Named::new("linalg_lu", [p, l, u]))
}

/// Fails unless LU, pivots and B make a system.
fn check_factors(op: &str, lu: &Tensor, pivots: &Tensor, b: &Tensor, left: bool) -> Result<()> {
    check_inexact(op, lu)?;
    if pivots.dtype() != DType::I32 {
        return runtime_error!("{op}: pivots should be a Tensor of scalar type torch.int32");
    }
    super::check_square(op, "LU", lu)?;
    super::check_matrices(op, "B", b)?;
    super::solve::check_sides(op, lu, b, left)?;
    check_same_dtype(op, lu, b)?;
    let n = sides(lu).0;
    if pivots.rank() == 0 || pivots.shape()[pivots.rank() - 1] != n {
        return runtime_error!("{op}: Number of pivots per batch should be same as the dimension of the matrix");
    }
    if pivots.shape()[..pivots.rank() - 1] != lu.shape()[..lu.rank() - 2] {
        return runtime_error!(
            "{op}: Expected LU.shape[:-1] and pivots.shape to be the same, but got pivots with shape {:?} instead",
            pivots.shape()
        );
    }
    match pivots.detached_read()?.contiguous()?.to_vec::<i32>()?.iter().find(|&&p| p < 1 || p as usize > n) {
        Some(p) => runtime_error!("{op}: Pivots given to lu_solve must all be greater or equal to 1 and at most {n}, got {p}"),
        None => Ok(()),
    }
}

fn solved(op: &str, lu: &Tensor, pivots: &Tensor, b: &Tensor, left: bool, adjoint: bool) -> Result<Tensor> {
    check_factors(op, lu, pivots, b, left)?;
    let shape = broadcast_batch("linalg_lu_solve", lu, b)?;
    let b = b.with_batch("linalg_lu_solve", &shape)?;
    let _of = made_of([pivots]);
    let x = without_recording(|| {
        let factors = Factors { lu: lu.by_columns()?, pivots: pivots.detached_read()?, info: pivots.clone() };
        factors.solve(&b.detached_read()?, left, adjoint)?.to_dtype(b.dtype())
    })?;
    let [x] = record_saving("linalg_lu_solve", &[lu, &b], &[lu, pivots], [x], saves! { left, adjoint }, move |back| {
        let ([lu, pivots], Some(x), Some(g)) = (back.saved, back.y.first(), back.g(0)) else { return Ok(vec![None, None]) };
        let of_b = solved("linalg.lu_solve", lu, pivots, g, left, !adjoint)?;
        if !back.wants(0) {
            return Ok(vec![None, Some(of_b)]);
        }
        let p = permutations(pivots, sides(lu).0, lu.dtype())?;
        // X A = B is A^H X^H = B^H.
        let of_lu = if left {
            of_factors(lu, &p, x, g, &of_b, adjoint)
        } else {
            of_factors(lu, &p, &x.mh()?, &g.mh()?, &of_b.mh()?, !adjoint)
        };
        Ok(vec![Some(of_lu?), Some(of_b)])
    })?;
    Ok(x.watching_itself())
}

/// The gradient of L and U in one: each of the two triangular systems gives one of them.
fn of_factors(lu: &Tensor, p: &Tensor, x: &Tensor, g: &Tensor, of_b: &Tensor, adjoint: bool) -> Result<Tensor> {
    let (l, u) = parts(lu)?;
    let (gl, gu) = if adjoint {
        // U^H Z = B and L^H P^T X = Z
        let (x, g) = (p.mt()?.matmul(x)?, p.mt()?.matmul(g)?);
        let (z, gz) = (l.mh()?.matmul(&x)?, l.triangular_solved(&g, false, true, true)?);
        (x.matmul(&gz.mh()?)?, z.matmul(&of_b.mh()?)?)
    } else {
        // L Y = P^T B and U X = Y
        let gy = u.mh()?.triangular_solved(g, false, true, false)?;
        (p.mt()?.matmul(of_b)?.matmul(&u.matmul(x)?.mh()?)?, gy.matmul(&x.mh()?)?)
    };
    minus(gl.tril(-1)? + gu.triu(0)?)
}

/// X with A X = B, given L and U of A in one and the exchanges of rows, as [`lu_factor`] answers them. `left` false: X A = B;
/// `adjoint`: with A^H for A.
///
/// Shape: (*, n, n), (*, n) and (*, n, k) (not left: (*, k, n)), where the leading dims broadcast. Dtype: float or complex; int32.
#[pyfunction(name = "lu_solve")]
#[pyo3(signature = (LU, pivots, B, *, left=true, adjoint=false))]
#[allow(non_snake_case)]
pub fn linalg_lu_solve(LU: &Tensor, pivots: &Tensor, B: &Tensor, left: bool, adjoint: bool) -> Result<Tensor> {
    solved("linalg.lu_solve", LU, pivots, B, left, adjoint)
}

/// P, L and U of matrices that hold L and U in one, and of the exchanges of rows: A = P L U. What is not wanted is empty.
///
/// Shape: (*, m, n) and (*, k) to (*, m, m), (*, m, k) and (*, k, n). Dtype: float or complex; int32.
#[pyfunction]
#[pyo3(signature = (LU_data, LU_pivots, unpack_data=true, unpack_pivots=true))]
#[allow(non_snake_case)]
pub fn lu_unpack(LU_data: &Tensor, LU_pivots: &Tensor, unpack_data: bool, unpack_pivots: bool) -> Result<Named> {
    const OP: &str = "lu_unpack";
    super::check_matrices("torch.lu_unpack", "LU_data", LU_data)?;
    if unpack_pivots && LU_pivots.dtype() != DType::I32 {
        return runtime_error!(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\n\
             Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        );
    }
    let _of = made_of([LU_data, LU_pivots]);
    let (lu, (m, n), dtype) = (LU_data, sides(LU_data), LU_data.dtype());
    let empty = || Tensor::zeroed(OP, &[0], dtype);
    let p = if unpack_pivots {
        if LU_pivots.rank() == 0 || LU_pivots.shape() != with(&batch(lu, 2), &[m.min(n)]).as_slice() {
            return runtime_error!(
                "{OP}: pivots of shape {:?} do not belong to matrices of shape {:?}",
                LU_pivots.shape(),
                lu.shape()
            );
        }
        permutations(LU_pivots, m, dtype)?
    } else {
        empty()?
    };
    let [l, u] = if unpack_data {
        let (l, u) = without_recording(|| parts(&lu.detached_read()?))?;
        [l.contiguous()?, u.contiguous()?]
    } else {
        [empty()?, empty()?]
    };
    let shape = Shape::from_slice(lu.shape());
    let [l, u] = record(OP, &[lu], &[], [l, u], move |back| {
        let pad = |g: &Tensor| {
            let (rows, columns) = sides(g);
            g.embedded("lu_unpack", &shape, move |z| z.strip(true, 0, rows)?.strip(false, 0, columns))
        };
        let gl = back.g(0).filter(|_| unpack_data).map(|g| pad(&g.tril(-1)?)).transpose()?;
        let gu = back.g(1).filter(|_| unpack_data).map(|g| pad(&g.triu(0)?)).transpose()?;
        Ok(vec![match (gl, gu) {
            (Some(gl), Some(gu)) => Some((gl + gu)?),
            (gl, gu) => gl.or(gu),
        }])
    })?;
    Ok(Named::new(OP, [p, l, u]))
}

#[pymethods]
impl Tensor {
    /// L and U in one, pivots and, with `get_infos`, the number of a pivot that is zero, by the old name; see `linalg.lu_factor`.
    #[pyo3(signature = (pivot=true, get_infos=false))]
    pub fn lu(&self, pivot: bool, get_infos: bool) -> Result<Named> {
        static OLD: Once = Once::new(
            c"torch.lu is deprecated in favor of torch.linalg.lu_factor and, for get_infos=True, torch.linalg.lu_factor_ex.",
        );
        OLD.warn()?;
        let [lu, pivots, info] = factored("linalg.lu_factor", self, pivot)?;
        if get_infos {
            return Ok(Named::new("_lu_with_info", [lu, pivots, info]));
        }
        Ok(Named::new("", [lu, pivots]))
    }

    /// X with A X = self; see `linalg.lu_solve`, whose arguments are in another order.
    #[pyo3(signature = (LU_data, LU_pivots))]
    #[allow(non_snake_case)]
    pub fn lu_solve(&self, LU_data: &Tensor, LU_pivots: &Tensor) -> Result<Tensor> {
        static OLD: Once =
            Once::new(c"torch.lu_solve is deprecated in favor of torch.linalg.lu_solve, which takes (LU, pivots, B).");
        OLD.warn()?;
        solved("lu_solve", LU_data, LU_pivots, self, true, false)
    }
}
