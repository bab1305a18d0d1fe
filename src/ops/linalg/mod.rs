//! Linear algebra, by decomposition. All are computed in double precision, so that each is compiled once for real and once for
//! complex matrices (see [`kernels::linalg`](crate::kernels::linalg)).

use std::sync::Arc;

use super::along::Target;
use super::arguments::{Dims, MemoryFormat};
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Error, Result};
use crate::kernels::{par, without_interpreter};
use crate::layout::{Shape, broadcast_shapes};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::held::Role;
use crate::tape::numbers::Named;
use crate::tape::record::joint_saving;
use crate::tape::{Node, Recorder, SavedOutput, is_recording, without_recording};
use crate::tensor::{SavedInput, Tensor};

/// `$body` with T as the type of the elements of `$x`, which are f64 or complex128.
macro_rules! with_field {
    ($x:expr, $T:ident => $body:expr) => {
        if $x.dtype().is_complex() {
            type $T = $crate::dtype::C128;
            $body
        } else {
            type $T = f64;
            $body
        }
    };
}

pub mod cholesky;
pub mod det;
pub mod eig;
pub mod ldl;
pub mod lu;
pub mod matrix_exp;
pub mod matrix_norm;
pub mod pinv;
pub mod qr;
pub mod solve;
pub mod svd;
pub mod triangular;

/// Multiply-adds that are worth a thread of their own.
const GRAIN: usize = 10_000;

/// What of a tensor belongs to one matrix of a batch.
pub(crate) struct Piece<'a> {
    tensor: &'a Tensor,
    start: Target<u8>,
    number: usize,
    size: usize,
}

impl Piece<'_> {
    /// Its elements, which are of this type.
    pub fn of<T: Element>(&mut self) -> &mut [T] {
        assert!(self.tensor.dtype() == T::DTYPE);
        // SAFETY: within the tensor, which is locked for writing, and used by one thread alone; the type has been checked.
        unsafe {
            let elements: *mut [T] = self.start.cast::<T>().part(self.number * self.size, self.size);
            &mut *elements
        }
    }
}

/// Calls `body` for each of `count` matrices with its pieces of tensors that nobody else knows yet, each a batch of equal pieces one
/// after the other. The multiply-adds for one are about the product of `work`.
pub(crate) fn each<const N: usize>(
    count: usize,
    work: &[usize],
    tensors: [&Tensor; N],
    body: &(dyn for<'a> Fn([Piece<'a>; N]) + Sync),
) {
    let storages = tensors.map(|x| x.storage());
    let _access = Access::new(&[], &storages);
    let targets = tensors.map(Target::bytes_of);
    let sizes = tensors.map(|x| x.numel() / count.max(1));
    let tensors = &tensors;
    let work = work.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
    without_interpreter(count.saturating_mul(work), || {
        par::for_ranges(count, (GRAIN / work.max(1)).max(1), &|range| {
            for number in range {
                body(std::array::from_fn(|i| Piece { tensor: tensors[i], start: targets[i], number, size: sizes[i] }));
            }
        });
    });
}

/// Double precision, real or complex.
pub(crate) fn wide(dtype: DType) -> DType {
    if dtype.is_complex() { DType::C128 } else { DType::F64 }
}

/// The real dtype of the parts of numbers.
pub(crate) fn real_of(dtype: DType) -> DType {
    match dtype {
        DType::C64 => DType::F32,
        DType::C128 => DType::F64,
        dtype => dtype,
    }
}

/// The distance from 1 to the next number of the parts.
pub(crate) fn epsilon(dtype: DType) -> f64 {
    if real_of(dtype) == DType::F32 { f32::EPSILON as f64 } else { f64::EPSILON }
}

/// Rows and columns of the matrices in the last two dims.
pub(crate) fn sides(x: &Tensor) -> (usize, usize) {
    (x.shape()[x.rank() - 2], x.shape()[x.rank() - 1])
}

/// The dims before the last `n`.
pub(crate) fn batch(x: &Tensor, n: usize) -> Shape {
    Shape::from_slice(&x.shape()[..x.rank() - n])
}

/// The number of elements of this shape.
pub(crate) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// A shape with more dims behind it.
pub(crate) fn with(shape: &[usize], more: &[usize]) -> Shape {
    shape.iter().chain(more).copied().collect()
}

/// Fails unless there are matrices.
pub(crate) fn check_matrices(op: &str, name: &str, x: &Tensor) -> Result<()> {
    if x.rank() < 2 {
        return runtime_error!("{op}: The input tensor {name} must have at least 2 dimensions.");
    }
    Ok(())
}

/// Fails unless these are square matrices.
pub(crate) fn check_square(op: &str, name: &str, x: &Tensor) -> Result<()> {
    check_matrices(op, name, x)?;
    let (m, n) = sides(x);
    if m != n {
        return runtime_error!("{op}: {name} must be batches of square matrices, but they are {m} by {n} matrices");
    }
    Ok(())
}

/// Fails for integers.
pub(crate) fn check_inexact(op: &str, x: &Tensor) -> Result<()> {
    if !x.dtype().is_inexact() {
        return runtime_error!("{op}: Expected a floating point or complex tensor as input. Got {}", x.dtype().type_word());
    }
    Ok(())
}

/// The same, for ops where torch leaves it to the kernel of this name.
pub(crate) fn check_kernel(kernel: &str, x: &Tensor) -> Result<()> {
    if !x.dtype().is_inexact() {
        return Err(Error::NotImplemented(format!("\"{kernel}_cpu\" not implemented for '{}'", x.dtype().type_word())));
    }
    Ok(())
}

/// Fails unless both have one dtype.
pub(crate) fn check_same_dtype(op: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dtype() != b.dtype() {
        return runtime_error!(
            "{op}: Expected A and B to have the same dtype, but found A of type {} and B of type {} instead",
            a.dtype(),
            b.dtype()
        );
    }
    Ok(())
}

/// The dims before the matrices, broadcast.
pub(crate) fn broadcast_batch(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Shape> {
    broadcast_shapes(op, &a.shape()[..a.rank() - 2], &b.shape()[..b.rank() - 2])
}

/// Fails for the first matrix of a batch with an `info` that is not 0: `problem` says what that means.
pub(crate) fn check_info(op: &str, info: &Tensor, problem: &dyn Fn(i32) -> String) -> Result<()> {
    let values = info.detached_read()?.contiguous()?.to_vec::<i32>()?;
    match values.iter().position(|&v| v != 0) {
        None => Ok(()),
        Some(i) if info.rank() > 0 => Err(Error::Linalg(format!("{op}: (Batch element {i}): {}", problem(values[i])))),
        Some(i) => Err(Error::Linalg(format!("{op}: {}", problem(values[i])))),
    }
}

/// Matrices of this shape and dtype with ones on the diagonal.
pub(crate) fn identity(shape: &[usize], dtype: DType) -> Result<Tensor> {
    let y = Tensor::zeroed("eye", shape, dtype)?;
    without_recording(|| y.diagonal(0, -2, -1)?.fill(Scalar::Int(1)))?;
    Ok(y)
}

/// The negative, for what is still to be asked whether it has failed.
pub(crate) fn minus(x: Result<Tensor>) -> Result<Tensor> {
    -&x?
}

/// The sum over one dim.
pub(crate) fn sum_over(x: &Tensor, dim: isize) -> Result<Tensor> {
    x.sum(Some(Dims(smallvec::smallvec![dim])), false, None)
}

impl Tensor {
    /// A copy in double precision, off the tape, whose columns (of the last two dims) lie one after the other.
    pub(crate) fn by_columns(&self) -> Result<Tensor> {
        self.mt()?.by_rows()?.unseen(Tensor::mt)
    }

    /// The same for rows.
    pub(crate) fn by_rows(&self) -> Result<Tensor> {
        let x = self.detached_read()?;
        let y = x.to_dtype(wide(x.dtype()))?;
        if y.is_contiguous() && !y.storage().same(x.storage()) {
            Ok(y)
        } else {
            y.detached(false).clone_in(MemoryFormat::Contiguous)
        }
    }

    /// With the columns of matrices one after the other, in the same dtype.
    pub(crate) fn with_columns(&self) -> Result<Tensor> {
        self.mt()?.contiguous()?.unseen(Tensor::mt)
    }

    /// Matrices with other leading dims.
    pub(crate) fn with_batch(&self, op: &'static str, batch: &[usize]) -> Result<Tensor> {
        let (m, n) = sides(self);
        self.expand_to(op, &with(batch, &[m, n]))
    }

    /// With the diagonal of matrices replaced by a vector, or by a number.
    pub(crate) fn with_diagonal(&self, diagonal: &Tensor) -> Result<Tensor> {
        self.diagonal_scatter(diagonal, 0, -2, -1)
    }

    /// Some columns, or with `rows` rows, of matrices.
    pub(crate) fn strip(&self, rows: bool, start: usize, length: usize) -> Result<Tensor> {
        self.slice_at(self.rank() - if rows { 2 } else { 1 }, start, length, 1)
    }
}

/// New integers.
pub(crate) fn ints(op: &'static str, shape: &[usize]) -> Result<Tensor> {
    Tensor::uninitialized(op, shape, DType::I32)
}

/// What the rule of an op with several outputs is given.
pub(crate) struct Backward<'a> {
    /// The tensors saved for it.
    pub saved: &'a [SavedInput],
    /// The outputs.
    pub y: Vec<Tensor>,
    /// Their gradients.
    pub g: &'a [Option<Tensor>],
    /// Whose gradients are wanted.
    pub wanted: &'a [bool],
}

impl Backward<'_> {
    /// The gradient of an output.
    pub fn g(&self, i: usize) -> Option<&Tensor> {
        self.g.get(i).and_then(Option::as_ref)
    }

    /// Whether an input's gradient is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted.get(i).copied().unwrap_or(true)
    }
}

/// Puts the outputs of an op on the tape, with one rule for the gradients of all `inputs`.
pub(crate) fn record<const N: usize>(
    op: &'static str,
    inputs: &[&Tensor],
    saved: &[&Tensor],
    outputs: [Tensor; N],
    rule: impl Fn(Backward<'_>) -> Result<Vec<Option<Tensor>>> + Clone + Send + Sync + 'static,
) -> Result<[Tensor; N]> {
    record_saving(op, inputs, saved, outputs, Named::new, rule)
}

/// The same of an op that saves numbers; see [`saves!`](crate::saves).
pub(crate) fn record_saving<const N: usize>(
    op: &'static str,
    inputs: &[&Tensor],
    saved: &[&Tensor],
    outputs: [Tensor; N],
    numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
    rule: impl Fn(Backward<'_>) -> Result<Vec<Option<Tensor>>> + Clone + Send + Sync + 'static,
) -> Result<[Tensor; N]> {
    inputs.iter().for_each(|x| outputs.iter().for_each(|y| y.note_sample_of(x.sample_of())));
    if !(is_recording() && inputs.iter().any(|x| x.requires_grad())) {
        return Ok(outputs);
    }
    let mut recorder = Recorder::new(op);
    inputs.iter().for_each(|x| {
        recorder.input(x);
    });
    let role = |x: &Tensor| inputs.iter().position(|input| input.is_handle_of(x)).map_or(Role::Other, |i| Role::Operand(i as u8));
    let saved: Vec<SavedInput> = saved.iter().map(|x| x.save_input(role(x))).collect();
    let kept: Vec<SavedOutput> = outputs.iter().enumerate().map(|(i, y)| SavedOutput::of_several(y, i)).collect();
    let inexact = outputs.each_ref().map(|y| y.dtype().is_inexact());
    let rule = move |g: &[Option<Tensor>], wanted: &[bool], node: &Arc<Node>| {
        let y = kept.iter().zip(inexact).map(|(y, inexact)| if inexact { y.unpack(node) } else { y.values() }).collect();
        rule(Backward { saved: &saved, y, g, wanted })
    };
    match <[Tensor; N]>::try_from(recorder.finish_joint(outputs.to_vec(), joint_saving(rule, numbers), true)?) {
        Ok(outputs) => Ok(outputs),
        Err(_) => runtime_error!("{op}: lost an output"),
    }
}

/// Puts the outputs of an op that torch has no derivative for on the tape, so that backward says so.
pub(crate) fn record_without_rule<const N: usize>(
    op: &'static str,
    inputs: &[&Tensor],
    outputs: [Tensor; N],
) -> Result<[Tensor; N]> {
    record(op, inputs, &[], outputs, move |_| {
        Err(Error::NotImplemented(format!("the derivative for '{op}' is not implemented.")))
    })
}

/// The same for an op that torch's autograd does not know at all.
pub(crate) fn record_unknown<const N: usize>(op: &'static str, inputs: &[&Tensor], outputs: [Tensor; N]) -> Result<[Tensor; N]> {
    record("=NotImplemented", inputs, &[], outputs, move |_| Err(Error::NoDerivative { op }))
}
