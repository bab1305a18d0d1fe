//! Products of matrices and vectors. Float products run in [`kernels::matmul`](crate::kernels::matmul), which takes
//! any strides: a transposed operand is never copied here.

use pyo3::prelude::*;

use super::arguments::Dims;
use super::inplace::in_place_resizing;
use super::samples;
use crate::dtype::{DType, Kind, Scalar};
use crate::error::{Error, Result};
use crate::kernels::matmul::{MatMut, MatRef, Product, gemm, gemm_batched};
use crate::kernels::without_interpreter;
use crate::layout::{Shape, Strides, broadcast_shapes};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::view::in_place;
use crate::tape::{kept, without_recording};
use crate::tensor::Tensor;
use crate::vjp;

/// A vector as a matrix of one row.
fn row(x: &Tensor) -> Result<Tensor> {
    x.view_as_shape(&[1, x.numel()])
}

/// A vector as a matrix of one column.
fn column(x: &Tensor) -> Result<Tensor> {
    x.view_as_shape(&[x.numel(), 1])
}

/// Multiply-adds per element-sized unit of work, for deciding when the interpreter lock is worth releasing.
const FLOPS_PER_ELEMENT: usize = 16;

fn check_dtypes(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dtype() != b.dtype() {
        return runtime_error!("{op}: expected both operands to have the same dtype, but got: {} != {}", a.dtype(), b.dtype());
    }
    Ok(())
}

/// y = alpha a b + beta y for matrices, or for equally many matrices in three dims. The shapes have been checked.
fn multiply_into(op: &'static str, y: &Tensor, a: &Tensor, b: &Tensor, alpha: Scalar, beta: Scalar) -> Result<()> {
    a.check_saved()?;
    b.check_saved()?;
    let rank = a.rank();
    let (m, k, n) = (a.shape()[rank - 2], a.shape()[rank - 1], b.shape()[rank - 1]);
    let batch = if rank == 3 { a.shape()[0] } else { 1 };
    let access = Access::new(&[a.storage(), b.storage()], &[y.storage()]);
    let work = batch * m * k.max(1) * n / FLOPS_PER_ELEMENT;
    let strides = |x: &Tensor| (x.strides()[rank - 2], x.strides()[rank - 1]);
    let step = |x: &Tensor| if rank == 3 { x.strides()[0] } else { 0 };
    let done = crate::dispatch_numbers!(y.dtype(), op, T => {
        let (a_strides, b_strides, y_strides) = (strides(a), strides(b), strides(y));
        let product = Product {
            m, k, n,
            alpha: alpha.to::<T>(),
            a: MatRef { ptr: a.ptr::<T>(), row_stride: a_strides.0, col_stride: a_strides.1 },
            b: MatRef { ptr: b.ptr::<T>(), row_stride: b_strides.0, col_stride: b_strides.1 },
            beta: beta.to::<T>(),
            c: MatMut { ptr: y.ptr::<T>(), row_stride: y_strides.0, col_stride: y_strides.1 },
        };
        without_interpreter(work, || {
            // SAFETY: all three are locked and valid for their layouts; y is fresh, so it overlaps neither operand.
            unsafe {
                if rank == 3 { gemm_batched(product, batch, step(a), step(b), step(y)) } else { gemm(product) }
            }
        });
        Ok(())
    });
    drop(access);
    done
}

/// a b, of shape `shape`.
fn multiply(op: &'static str, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let y = Tensor::uninitialized(op, shape, a.dtype())?;
    multiply_into(op, &y, a, b, Scalar::Int(1), Scalar::Int(0))?;
    Ok(y)
}

/// beta input + alpha a b, of shape `shape`. If beta is 0 the input is not read, so its NaN do not spread.
fn add_multiply(
    op: &'static str,
    input: &Tensor,
    a: &Tensor,
    b: &Tensor,
    alpha: Scalar,
    beta: Scalar,
    shape: &[usize],
) -> Result<Tensor> {
    check_dtypes(op, input, a)?;
    check_dtypes(op, a, b)?;
    let (alpha, beta) = (alpha.for_use_with(op, a.dtype())?, beta.for_use_with(op, a.dtype())?);
    if broadcast_shapes(op, input.shape(), shape)?.as_slice() != shape {
        return Err(Error::Broadcast { op, lhs: input.shape().to_vec(), rhs: shape.to_vec() });
    }
    let y = Tensor::uninitialized(op, shape, a.dtype())?;
    if beta.truth() {
        y.write(input)?;
    }
    multiply_into(op, &y, a, b, alpha, beta)?;
    Ok(y)
}

/// g times a factor, without a multiplication by one.
fn scaled(g: &Tensor, factor: Scalar) -> Result<Tensor> {
    if factor.to_c128() == Scalar::Int(1).to_c128() { Ok(g.clone()) } else { g * factor }
}

/// beta x + alpha times a product of integers, as torch has it under `vmap`: factors with fractions make floats of them. None elsewhere.
fn with_fractions(
    x: &Tensor,
    [a, b]: [&Tensor; 2],
    [beta, alpha]: [Scalar; 2],
    product: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    let is_fraction = |factor: Scalar| matches!(factor, Scalar::Float(_));
    if !(is_fraction(beta) || is_fraction(alpha)) || a.dtype().is_inexact() || !samples::are_any_mapped([x, a, b]) {
        return Ok(None);
    }
    let product = scaled(&product(a, b)?, alpha)?;
    if beta.truth() { scaled(x, beta)?.add(&product).map(Some) } else { Ok(Some(product)) }
}

/// A factor of products that are added to `x` in place, without its fraction if `x` takes none.
fn whole_of(x: &Tensor, factor: Scalar) -> Scalar {
    match factor {
        Scalar::Float(value) if !x.dtype().is_inexact() && value.is_finite() => Scalar::Int(value as i64),
        factor => factor,
    }
}

/// A factor of `addr` as it applies to a result of this dtype: truth for bools, no fractions of integers.
fn factor_of(name: &str, factor: Scalar, dtype: DType) -> Result<Scalar> {
    match (factor, dtype.kind()) {
        (Scalar::Complex(_), Kind::Bool | Kind::Int | Kind::Float) => {
            runtime_error!("addr: for non-complex input tensors, argument {name} must not be a complex number")
        }
        (Scalar::Float(_), Kind::Bool | Kind::Int) => {
            runtime_error!(
                "addr: for integral input tensors, argument {name} must not be a floating point number, got {}",
                factor.to_f64()
            )
        }
        (_, Kind::Bool) => Ok(Scalar::Bool(factor.truth())),
        _ => Ok(factor),
    }
}

fn check_rank(op: &'static str, name: &str, x: &Tensor, rank: usize) -> Result<()> {
    if x.rank() != rank {
        return runtime_error!("{op}: {name} must be a {rank}-d tensor, got a tensor of shape {:?}", x.shape());
    }
    Ok(())
}

fn check_matrices(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    check_rank(op, "the first operand", a, 2)?;
    check_rank(op, "the second operand", b, 2)?;
    if a.shape()[1] != b.shape()[0] {
        let ([m, k], [l, n]) = ([a.shape()[0], a.shape()[1]], [b.shape()[0], b.shape()[1]]);
        return runtime_error!("{op}: mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {l}x{n})");
    }
    Ok(())
}

fn check_batches(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    check_rank(op, "batch1", a, 3)?;
    check_rank(op, "batch2", b, 3)?;
    if a.shape()[0] != b.shape()[0] || a.shape()[2] != b.shape()[1] {
        return runtime_error!(
            "{op}: batches of shapes {:?} and {:?} cannot be multiplied (expected [b, m, k] and [b, k, n])",
            a.shape(),
            b.shape()
        );
    }
    Ok(())
}

fn check_matrix_vector(op: &'static str, a: &Tensor, v: &Tensor) -> Result<()> {
    check_rank(op, "the matrix", a, 2)?;
    check_rank(op, "the vector", v, 1)?;
    if a.shape()[1] != v.shape()[0] {
        return runtime_error!(
            "{op}: size mismatch, got a matrix of shape {:?} and a vector of size {}",
            a.shape(),
            v.shape()[0]
        );
    }
    Ok(())
}

#[pymethods]
impl Tensor {
    /// Matrix product.
    ///
    /// Shape: (m, k) and (k, n) to (m, n). Dtype: any number type, the same for both.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    pub fn mm(&self, mat2: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, mat2);
        check_matrices("mm", a, b)?;
        check_dtypes("mm", a, b)?;
        let y = kept::result("mm", &[a, b], || multiply("mm", a, b, &[a.shape()[0], b.shape()[1]]))?;
        let strides = |x: &Tensor| Strides::from_slice(x.strides());
        vjp!("mm", y, { a: |g| g.mm(&b.mh()?), b: |g| a.mh()?.mm(g) }, saves {
            self_sym_strides: strides(a), mat2_sym_strides: strides(b)
        })
    }

    /// Products of equally many matrices.
    ///
    /// Shape: (b, m, k) and (b, k, n) to (b, m, n). Dtype: any number type, the same for both.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    pub fn bmm(&self, mat2: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, mat2);
        check_batches("bmm", a, b)?;
        check_dtypes("bmm", a, b)?;
        let shape = [a.shape()[0], a.shape()[1], b.shape()[2]];
        let y = kept::result("bmm", &[a, b], || multiply("bmm", a, b, &shape))?;
        vjp!("bmm", y, { a: |g| g.bmm(&b.mh()?), b: |g| a.mh()?.bmm(g) })
    }

    /// Matrix times vector.
    ///
    /// Shape: (m, k) and (k,) to (m,). Dtype: any number type, the same for both.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    pub fn mv(&self, vec: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, vec);
        check_matrix_vector("mv", a, b)?;
        check_dtypes("mv", a, b)?;
        let right = column(&b.detached(false))?;
        let y = multiply("mv", &a.detached(false), &right, &[a.shape()[0], 1])?.view_as_shape(&[a.shape()[0]])?.without_meta();
        vjp!("mv", y, { a: |g| g.outer(&b.conj()?), b: |g| a.mh()?.mv(g) })
    }

    /// Sum of the products of two vectors' elements.
    ///
    /// Shape: (n,) and (n,) to (). Dtype: any number type, the same for both.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    pub fn dot(&self, tensor: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, tensor);
        if a.rank() != 1 || b.rank() != 1 {
            return runtime_error!("dot: 1D tensors expected, but got {}D and {}D tensors", a.rank(), b.rank());
        }
        check_dtypes("dot", a, b)?;
        if a.shape() != b.shape() {
            return runtime_error!(
                "dot: inconsistent tensor size, expected both vectors to have the same number of elements, but got {} and {}",
                a.shape()[0],
                b.shape()[0]
            );
        }
        let (left, right) = (row(&a.detached(false))?, column(&b.detached(false))?);
        let y = multiply("dot", &left, &right, &[1, 1])?.view_as_shape(&[])?.without_meta();
        vjp!("dot", y, { a: |g| g * b.conj(), b: |g| g * a.conj() })
    }

    /// [`dot`](Tensor::dot) with the conjugate of the first vector.
    pub fn vdot(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, other);
        let y = without_recording(|| a.conj()?.dot(b))?;
        vjp!("vdot", y, { a: |g| g.conj()? * &b, b: |g| g * &a })
    }

    /// All products of an element of the first vector and one of the second.
    ///
    /// Shape: (n,) and (m,) to (n, m). Dtype: any; promotes.
    /// Raises: RuntimeError if an operand is not a vector.
    pub fn outer(&self, vec2: &Tensor) -> Result<Tensor> {
        check_rank("outer", "self", self, 1)?;
        check_rank("outer", "vec2", vec2, 1)?;
        column(self)?.mul(vec2)
    }

    /// [`outer`](Tensor::outer).
    pub fn ger(&self, vec2: &Tensor) -> Result<Tensor> {
        self.outer(vec2)
    }

    /// beta self + alpha mat1 mat2; if beta is 0, `self` is not read.
    ///
    /// Shape: `self` broadcasts to (m, n); (m, k) and (k, n). Dtype: any number type, the same for all.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    #[pyo3(signature = (mat1, mat2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1)))]
    pub fn addmm(&self, mat1: &Tensor, mat2: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
        let (x, a, b) = (self, mat1, mat2);
        check_matrices("addmm", a, b)?;
        if matches!(beta, Scalar::Float(_))
            && let Some(y) = with_fractions(x, [a, b], [beta, alpha], Tensor::mm)?
        {
            return Ok(y);
        }
        let shape = [a.shape()[0], b.shape()[1]];
        let strides = |x: &Tensor| Strides::from_slice(x.strides());
        let y = kept::result("addmm", &[x, a, b], || add_multiply("addmm", x, a, b, alpha, beta, &shape))?;
        vjp!("addmm", y, {
            x: |g| scaled(g, beta.conj()),
            a: |g| scaled(&g.mm(&b.mh()?)?, alpha.conj()),
            b: |g| scaled(&a.mh()?.mm(g)?, alpha.conj()),
        }, saves { beta, alpha, mat1_sym_strides: strides(a), mat2_sym_strides: strides(b) })
    }

    /// beta self + alpha mat vec; if beta is 0, `self` is not read.
    ///
    /// Shape: `self` broadcasts to (m,); (m, k) and (k,). Dtype: any number type, the same for all.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    #[pyo3(signature = (mat, vec, *, beta=Scalar::Int(1), alpha=Scalar::Int(1)))]
    pub fn addmv(&self, mat: &Tensor, vec: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
        check_matrix_vector("addmv", mat, vec)?;
        let (x, m) = (self, mat.shape()[0]);
        if broadcast_shapes("addmv", x.shape(), &[m])?.as_slice() != [m] {
            return Err(Error::Broadcast { op: "addmv", lhs: x.shape().to_vec(), rhs: vec![m] });
        }
        if let Some(y) = with_fractions(x, [mat, vec], [beta, alpha], Tensor::mv)? {
            return Ok(y);
        }
        let y = kept::result("addmv", &[x, mat, vec], || {
            without_recording(|| {
                let addend = if x.rank() == 1 { column(x)? } else { x.clone() };
                addend.addmm(mat, &column(vec)?, beta, alpha)?.view_as_shape(&[m])
            })
        })?;
        vjp!("addmv", y.without_meta(), {
            x: |g| scaled(g, beta.conj()),
            mat: |g| scaled(&g.outer(&vec.conj()?)?, alpha.conj()),
            vec: |g| scaled(&mat.mh()?.mv(g)?, alpha.conj()),
        }, saves { beta, alpha })
    }

    /// beta self + alpha times the outer product of two vectors; if beta is 0, `self` is not read.
    ///
    /// Shape: `self` broadcasts to (n, m); (n,) and (m,). Dtype: any; promotes.
    /// Raises: RuntimeError if an operand is not a vector.
    #[pyo3(signature = (vec1, vec2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1)))]
    pub fn addr(&self, vec1: &Tensor, vec2: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
        let (x, a, b) = (self, vec1, vec2);
        let y = without_recording(|| {
            let outer = a.outer(b)?;
            let dtype = super::kernel::result_type(&[x, &outer]);
            if dtype != DType::Bool && matches!((alpha, beta), (Scalar::Bool(_), _) | (_, Scalar::Bool(_))) {
                return runtime_error!("addr: Boolean alpha and beta are only supported for Boolean results, got {dtype}");
            }
            let [alpha, beta] = [("alpha", alpha), ("beta", beta)].map(|(name, factor)| factor_of(name, factor, dtype));
            let (alpha, beta) = (alpha?, beta?);
            let product = scaled(&outer.to_dtype(dtype)?, alpha)?;
            if broadcast_shapes("addr", x.shape(), product.shape())?.as_slice() != product.shape() {
                return Err(Error::Broadcast { op: "addr", lhs: x.shape().to_vec(), rhs: product.shape().to_vec() });
            }
            if !beta.truth() { Ok(product) } else { scaled(x, beta)?.add(&product) }
        })?;
        vjp!("addr", y, {
            x: |g| scaled(g, beta.conj()),
            a: |g| scaled(&g.mv(&b.conj()?.to_dtype(g.dtype())?)?, alpha.conj()),
            b: |g| scaled(&g.mt()?.mv(&a.conj()?.to_dtype(g.dtype())?)?, alpha.conj()),
        }, saves { beta, alpha })
    }

    /// beta self + alpha batch1 batch2; if beta is 0, `self` is not read.
    ///
    /// Shape: `self` broadcasts to (b, m, n); (b, m, k) and (b, k, n). Dtype: any number type, the same for all.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    #[pyo3(signature = (batch1, batch2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1)))]
    pub fn baddbmm(&self, batch1: &Tensor, batch2: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
        let (x, a, b) = (self, batch1, batch2);
        check_batches("baddbmm", a, b)?;
        if let Some(y) = with_fractions(x, [a, b], [beta, alpha], Tensor::bmm)? {
            return Ok(y);
        }
        let shape = [a.shape()[0], a.shape()[1], b.shape()[2]];
        let y = kept::result("baddbmm", &[x, a, b], || add_multiply("baddbmm", x, a, b, alpha, beta, &shape))?;
        vjp!("baddbmm", y, {
            x: |g| scaled(g, beta.conj()),
            a: |g| scaled(&g.bmm(&b.mh()?)?, alpha.conj()),
            b: |g| scaled(&a.mh()?.bmm(g)?, alpha.conj()),
        }, saves { beta, alpha })
    }

    /// beta self + alpha times the sum of the products of a batch of matrices; if beta is 0, `self` is not read.
    ///
    /// Shape: `self` broadcasts to (m, n); (b, m, k) and (b, k, n). Dtype: any number type, the same for all.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    #[pyo3(signature = (batch1, batch2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1)))]
    pub fn addbmm(&self, batch1: &Tensor, batch2: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
        check_batches("addbmm", batch1, batch2)?;
        let (x, a, b) = (self, batch1, batch2);
        let (batch, m, k, n) = (a.shape()[0], a.shape()[1], a.shape()[2], b.shape()[2]);
        let sum_of_products = |a: &Tensor, b: &Tensor| a.bmm(b)?.sum(Some(Dims(smallvec::smallvec![0])), false, None);
        if let Some(y) = with_fractions(x, [a, b], [beta, alpha], sum_of_products)? {
            return Ok(y);
        }
        // The sum over the batch and over k is one sum: the matrices side by side times those below each other.
        let y = kept::result("addbmm", &[x, a, b], || {
            without_recording(|| {
                let side_by_side = a.permuted(&[1, 0, 2])?.reshape_to(&[m, batch * k])?;
                x.addmm(&side_by_side, &b.reshape_to(&[batch * k, n])?, beta, alpha)
            })
        })?;
        let for_all = move |g: &Tensor| g.expand_to("addbmm", &[batch, m, n]);
        vjp!("addbmm", y, {
            x: |g| scaled(g, beta.conj()),
            a: |g| scaled(&for_all(g)?.bmm(&b.mh()?)?, alpha.conj()),
            b: |g| scaled(&a.mh()?.bmm(&for_all(g)?)?, alpha.conj()),
        }, saves { beta, alpha })
    }

    /// Product of vectors, matrices or broadcast batches of matrices, as Python's `@`.
    ///
    /// Shape: (k,) and (k,) to (); (m, k) and (k,) to (m,); (k,) and (k, n) to (n,); (*, m, k) and (*, k, n) to
    /// (*, m, n), where the leading dims broadcast. Dtype: any number type, the same for both.
    /// Raises: RuntimeError if the shapes or dtypes do not fit.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, other);
        match (a.rank(), b.rank()) {
            (0, _) | (_, 0) => {
                runtime_error!("matmul: both operands need to be at least 1D, but they are {}D and {}D", a.rank(), b.rank())
            }
            (1, 1) => a.dot(b),
            (2, 2) => a.mm(b),
            (2, 1) => a.mv(b),
            (1, 2) => row(a)?.mm(b)?.unseen(|y| y.squeezed("squeeze.4", &[0], smallvec::smallvec![0])),
            // One matrix for all rows of the batch: a single large product.
            (_, 1 | 2) => fold_batch(a, b),
            (1, _) if a.requires_grad() => fold_batch(&b.mt()?, a),
            // Or for all columns: with a gradient, for which a single product saves most.
            (2, _) if a.requires_grad() => fold_batch(&b.mt()?, &a.t()?)?.mt()?.contiguous(),
            _ => batched(a, b),
        }
    }

    /// Sums of products over the last dims of two tensors.
    ///
    /// Shape: (*a, n) and (*b, n) to (*a, *b); a 0-d operand multiplies. Dtype: any number type, the same for both.
    /// Raises: RuntimeError if the last dims or the dtypes differ.
    pub fn inner(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self, other);
        if a.rank() == 0 || b.rank() == 0 {
            return a.mul(b);
        }
        check_dtypes("inner", a, b)?;
        let (Some((&n, rest)), Some((&m, b_rest))) = (a.shape().split_last(), b.shape().split_last()) else {
            return a.mul(b);
        };
        if n != m {
            return runtime_error!(
                "inner: the last dims of the operands must match, got shapes {:?} and {:?}",
                a.shape(),
                b.shape()
            );
        }
        let shape: Shape = rest.iter().chain(b_rest).copied().collect();
        let rows = |rest: &[usize]| rest.iter().product::<usize>();
        let product = a.reshape_to(&[rows(rest), n])?.mm(&b.reshape_to(&[rows(b_rest), n])?.mt()?)?;
        product.view_as_shape(&shape)
    }
}

/// (*, m, k) times (k, n) or (k,).
fn fold_batch(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (k, lead) = (a.shape()[a.rank() - 1], &a.shape()[..a.rank() - 1]);
    let rows = a.reshape_to(&[lead.iter().product(), k])?;
    let mut shape: Shape = lead.into();
    if b.rank() == 1 {
        return unfolded(&rows.mv(b)?, &shape);
    }
    shape.push(b.shape()[1]);
    unfolded(&rows.mm(b)?, &shape)
}

/// (*, m, k) times (*, k, n) where the batches broadcast; a vector counts as one row or column.
fn batched(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (vector_a, vector_b) = (a.rank() == 1, b.rank() == 1);
    // Torch saves views: no rule follows if an operand is given other data.
    let a = if vector_a { row(a)? } else { a.fixed() };
    let b = if vector_b { column(b)? } else { b.fixed() };
    let (a_lead, a_matrix) = a.shape().split_at(a.rank() - 2);
    let (b_lead, b_matrix) = b.shape().split_at(b.rank() - 2);
    let lead = broadcast_shapes("matmul", a_lead, b_lead)?;
    let batch: usize = lead.iter().product();
    let flat = |x: &Tensor, matrix: &[usize]| -> Result<Tensor> {
        let full: Shape = lead.iter().chain(matrix).copied().collect();
        x.expand_to("matmul", &full)?.reshape_to(&[batch, matrix[0], matrix[1]])
    };
    let product = flat(&a, a_matrix)?.bmm(&flat(&b, b_matrix)?)?;
    let mut shape = lead.clone();
    if !vector_a {
        shape.push(a_matrix[0]);
    }
    if !vector_b {
        shape.push(b_matrix[1]);
    }
    unfolded(&product, &shape)
}

/// A product in another shape.
fn unfolded(product: &Tensor, shape: &[usize]) -> Result<Tensor> {
    product.unseen(|y| y.viewed("unsafe_view", shape))
}

/// x Aᵀ + b, the affine map of a layer.
///
/// Shape: `input` (*, in), `weight` (out, in) or (in,), `bias` (out,) or (); the result (*, out) or (*).
/// Dtype: any number type, the same for all.
/// Raises: RuntimeError if the shapes or dtypes do not fit.
/// Source: torch.nn.functional.linear.
#[pyfunction]
#[pyo3(signature = (input, weight, bias=None))]
pub fn linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    weight.check_there()?;
    bias.map_or(Ok(()), Tensor::check_there)?;
    if weight.rank() > 2 {
        return runtime_error!("linear: expected a weight of at most 2 dimensions, but got one of {}", weight.rank());
    }
    let weight = weight.t()?;
    if let Some(bias) = bias {
        check_dtypes("linear", bias, input)?;
    }
    match bias {
        Some(bias) if input.rank() == 2 && weight.rank() == 2 => bias.addmm(input, &weight, Scalar::Int(1), Scalar::Int(1)),
        // The rows of a batch, in one product, too.
        Some(bias) if bias.rank() == 1 && input.rank() > 0 && input.layout().is_contiguous() => {
            let (&k, lead) = input.shape().split_last().unwrap_or((&1, &[]));
            let rows = input.view_as_shape(&[lead.iter().product(), k])?;
            let y = bias.addmm(&rows, &weight, Scalar::Int(1), Scalar::Int(1))?;
            let shape: Shape = lead.iter().copied().chain([y.shape()[1]]).collect();
            y.view_as_shape(&shape)
        }
        Some(bias) => input.matmul(&weight)?.add(bias),
        None => input.matmul(&weight),
    }
}

in_place! {
    /// In place; see `addmm`.
    addmm_(mat1, mat2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1))(mat1: &Tensor, mat2: &Tensor, beta: Scalar, alpha: Scalar)
        [mat1 any, mat2 any] |x| x.kept().addmm(mat1, mat2, whole_of(x, beta), whole_of(x, alpha));
    /// In place; see `addmv`.
    addmv_(mat, vec, *, beta=Scalar::Int(1), alpha=Scalar::Int(1))(mat: &Tensor, vec: &Tensor, beta: Scalar, alpha: Scalar)
        [mat any, vec any] |x| x.kept().addmv(mat, vec, whole_of(x, beta), whole_of(x, alpha));
    /// In place; see `addr`.
    addr_(vec1, vec2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1))(vec1: &Tensor, vec2: &Tensor, beta: Scalar, alpha: Scalar)
        [vec1, vec2] |x| x.kept().addr(vec1, vec2, beta, alpha);
    /// In place; see `baddbmm`.
    baddbmm_(batch1, batch2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1))
        (batch1: &Tensor, batch2: &Tensor, beta: Scalar, alpha: Scalar)
        [batch1 any, batch2 any] |x| x.kept().baddbmm(batch1, batch2, whole_of(x, beta), whole_of(x, alpha));
}

#[pymethods]
impl Tensor {
    /// In place; see `addbmm`. A tensor that broadcasts to the result is resized.
    #[pyo3(signature = (batch1, batch2, *, beta=Scalar::Int(1), alpha=Scalar::Int(1)))]
    fn addbmm_<'py>(
        slf: Bound<'py, Self>,
        batch1: &Tensor,
        batch2: &Tensor,
        beta: Scalar,
        alpha: Scalar,
    ) -> PyResult<Bound<'py, Self>> {
        let f = |x: &Tensor| x.kept().addbmm(batch1, batch2, whole_of(x, beta), whole_of(x, alpha));
        let on_tape = batch1.requires_grad() || batch2.requires_grad();
        check_batches("addbmm", batch1, batch2)?;
        let x = slf.borrow().clone();
        if x.shape() == [batch1.shape()[1], batch2.shape()[2]] {
            in_place("addbmm_", &x, on_tape, f)?;
        } else {
            in_place_resizing("addbmm_", &slf, on_tape, f)?;
        }
        Ok(slf)
    }
}
