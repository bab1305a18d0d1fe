//! In-place forms: each is the op of the same name, its result written to the tensor itself.
//! They stand with their ops; this is the macro that makes them, and the plain overwriting of a tensor.

use pyo3::prelude::*;

use super::arguments::{Dims, MemoryFormat, Operand};
use super::creation::format_strides;
use super::{kernel, samples};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::interpreter::show;
use crate::layout::{Layout, Shape, checked_numel};
use crate::runtime_error;
use crate::tape::level::before_write;
use crate::tape::mode::is_inference;
use crate::tape::view;
use crate::tape::{without_recording, written};
use crate::tensor::Tensor;

/// `name_(signature)(arguments) [tensors among them] |x| op;`: the signature as Python sees it, and the op's answer. A tensor may
/// share all of the memory, but not a part of it, as in torch: `any` may share a part, too, and `none` must share nothing.
///
/// The op may write its result right over `x`, so it must read `x` in one kernel only. An op that reads it in several
/// says `x.kept()`.
macro_rules! in_place {
    ($($(#[$doc:meta])* $name:ident($($sig:tt)*)($($arg:ident: $ty:ty),*) [$($operand:ident $($shares:ident)?),*] |$x:ident| $body:expr;)+) => {$(
        #[::pyo3::pymethods]
        impl $crate::tensor::Tensor {
            $(#[$doc])*
            #[pyo3(signature = ($($sig)*))]
            fn $name<'py>(slf: ::pyo3::Bound<'py, Self>, $($arg: $ty),*) -> ::pyo3::PyResult<::pyo3::Bound<'py, Self>> {
                #[allow(unused_imports)]
                use $crate::ops::arguments::Optional as _;
                let on_tape = false $(|| $operand.requires_grad())*;
                $(check_memory!($operand $($shares)?, &slf.borrow());)*
                $crate::tape::view::in_place(stringify!($name), &slf.borrow(), on_tape, |$x| $body)?;
                Ok(slf)
            }
        }
    )+};
    // Ops of the tensor alone, whose in-place forms differ by their names only.
    ($($name:ident $op:ident),+ $(,)?) => {
        in_place! {$(
            #[doc = concat!("In place; see `", stringify!($op), "`.")]
            $name()() [] |x| x.$op();
        )+}
    };
}

/// Of [`in_place!`]: whether the memory of an operand may be written to.
macro_rules! check_memory {
    ($operand:ident any, $x:expr) => {};
    ($operand:ident none, $x:expr) => {
        $operand.check_apart($x)?
    };
    ($operand:ident, $x:expr) => {
        $operand.check_overlap($x)?
    };
}

/// `name name_ (signature)(arguments) |x| op;`: a function of a tensor, also with `inplace=True`, and its in-place form. An op that
/// has another node in place says `|x, inplace|`.
macro_rules! activation {
    ($($(#[$doc:meta])* $name:ident $name_:ident ($($sig:tt)*)($($arg:ident: $ty:ty),*) |$x:ident $(, $in_place:ident)?| $body:expr;)+) => {$(
        $(#[$doc])*
        #[::pyo3::pyfunction]
        #[pyo3(signature = (input, $($sig)* inplace=$crate::ops::arguments::Truth(false)))]
        pub fn $name<'py>(
            input: ::pyo3::Bound<'py, $crate::tensor::Tensor>,
            $($arg: $ty,)*
            inplace: $crate::ops::arguments::Truth,
        ) -> ::pyo3::PyResult<::pyo3::Bound<'py, $crate::tensor::Tensor>> {
            $(let $in_place = inplace.0;)?
            $crate::ops::inplace::in_place_if(inplace.0, stringify!($name_), input, |$x| $body)
        }

        #[doc = concat!("In place; see `", stringify!($name), "`.")]
        #[::pyo3::pyfunction]
        #[pyo3(signature = (input, $($sig)*))]
        pub fn $name_<'py>(
            input: ::pyo3::Bound<'py, $crate::tensor::Tensor>,
            $($arg: $ty),*
        ) -> ::pyo3::PyResult<::pyo3::Bound<'py, $crate::tensor::Tensor>> {
            $(let $in_place = true;)?
            $crate::ops::inplace::in_place_if(true, stringify!($name_), input, |$x| $body)
        }
    )+};
}

/// What an op makes of a tensor: a new one, or the tensor itself with the result written to it.
pub(crate) fn in_place_if<'py>(
    inplace: bool,
    op: &'static str,
    input: Bound<'py, Tensor>,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> PyResult<Bound<'py, Tensor>> {
    if inplace {
        view::in_place(op, &input.borrow(), false, f)?;
        return Ok(input);
    }
    let y = f(&input.borrow())?;
    y.into_pyobject(input.py())
}

impl Tensor {
    /// Copies `src`, broadcast and converted, into this memory.
    pub fn copy_from(&self, src: &Tensor) -> Result<()> {
        view::check_unexpanded(self)?;
        src.check_overlap(self)?;
        view::overwrite("copy_", self, src)
    }

    /// Writes a number to every place, once if several elements share it. Not recorded.
    pub(crate) fn fill(&self, value: Scalar) -> Result<()> {
        let mut layout = self.layout().clone();
        for d in 0..layout.rank() {
            if layout.strides[d] == 0 {
                layout.shape[d] = layout.shape[d].min(1);
            }
        }
        kernel::fill(&self.with_layout(layout), value)
    }

    fn check_resizable(&self, op: &'static str, shape: &[usize]) -> Result<()> {
        before_write(op, self)?;
        if self.shape() != shape {
            view::check_inference(op, self)?;
        }
        if self.requires_grad() && !is_inference() {
            return runtime_error!("{op}: cannot resize variables that require grad");
        }
        Ok(())
    }

    /// The first elements of this memory in another shape, one after the other; in new memory if there are not enough. Those that are new have
    /// arbitrary contents.
    fn resized(&self, op: &'static str, shape: &[usize], format: Option<MemoryFormat>) -> Result<Tensor> {
        self.check_resizable(op, shape)?;
        if self.shape() == shape && format.is_none() {
            return Ok(self.with_layout(self.layout().clone()));
        }
        let numel = checked_numel(op, shape)?;
        let strides = format_strides(op, shape, format.unwrap_or(MemoryFormat::Contiguous))?;
        let offset = self.layout().offset;
        let available = (self.storage().bytes() / self.dtype().size()).saturating_sub(offset);
        if numel <= available {
            return Ok(self.with_layout(Layout { shape: shape.into(), strides, offset }));
        }
        if self.storage().is_lent() {
            return runtime_error!(
                "{op}: trying to resize storage that is not resizable: the memory was lent by another library"
            );
        }
        let y = Tensor::uninitialized_strided(op, shape, strides, self.dtype())?;
        let kept = Layout::contiguous(&[available]);
        y.with_layout(kept.clone()).write(&self.with_layout(Layout { offset, ..kept }))?;
        Ok(y)
    }

    /// The same for a sample of a batch: torch resizes the batch.
    fn resized_in_batch(&self, op: &'static str, shape: &[usize], format: Option<MemoryFormat>) -> Result<Tensor> {
        self.check_resizable(op, shape)?;
        if format.is_some_and(|format| format != MemoryFormat::Contiguous) {
            return runtime_error!("{op}: under vmap only None or torch.contiguous_format are supported for memory_format");
        }
        let y = samples::resized(self, shape, &mut |batch| {
            let outer = batch.rank() - self.rank();
            batch.detached(false).resized(op, &[&batch.shape()[..outer], shape].concat(), None)
        })?;
        y.note_sample_of(self.sample_of());
        Ok(y)
    }

    /// Sets every element to a number.
    pub fn fill_with(&self, value: Scalar) -> Result<()> {
        view::overwrite_with("fill_", self, value)
    }
}

/// Gives a tensor another shape. That counts as a write, also where there is new memory.
fn resize(op: &'static str, x: &Bound<'_, Tensor>, shape: &[usize], format: Option<MemoryFormat>) -> PyResult<()> {
    let before = x.borrow().clone();
    let is_sample = before.shape() != shape && samples::are_any_mapped([&before]);
    let resized = if is_sample { before.resized_in_batch(op, shape, format)? } else { before.resized(op, shape, format)? };
    let _old = show(x, &resized)?;
    if before.shape() != shape {
        x.borrow().set_version(before.version() + 1);
    }
    if is_sample {
        samples::note_view(x.as_ptr().addr(), ("resize_", shape.to_vec()));
    }
    Ok(())
}

/// [`in_place`](view::in_place) for an op whose result has another shape, which the tensor, no view, gets with new memory.
pub(crate) fn in_place_resizing(
    op: &'static str,
    x: &Bound<'_, Tensor>,
    others_require_grad: bool,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> PyResult<()> {
    let before = x.borrow().clone();
    if before.is_view() {
        runtime_error!("{op}: a view cannot get another shape than {:?}", before.shape())?;
    }
    let recorded = view::begin(op, &before, others_require_grad)?;
    let result = if recorded { f(&before.copied()?.with_meta_of(&before))? } else { without_recording(|| f(&before.kept()))? };
    let _old = show(x, &result.detached(false).to_dtype(before.dtype())?)?;
    let x = &x.borrow();
    x.set_version(before.version() + 1);
    if recorded {
        written::follow(x, &result);
    }
    Ok(())
}

#[pymethods]
impl Tensor {
    /// Copies the elements of `src`, a tensor that must broadcast to this shape, converting them to this dtype.
    ///
    /// `non_blocking` makes no difference here.
    /// Derivative: the gradient goes to `src`; what was here before gets none.
    /// Raises: RuntimeError if the shapes do not fit, or if the two share part of their memory.
    #[pyo3(signature = (src, non_blocking=false))]
    fn copy_<'py>(slf: Bound<'py, Self>, src: Operand, non_blocking: bool) -> PyResult<Bound<'py, Self>> {
        let _ = non_blocking;
        slf.borrow().copy_from(&src.tensor()?)?;
        Ok(slf)
    }

    /// Sets every element to `value`, a number or a 0-d tensor.
    ///
    /// Derivative: the sum of the gradient goes to `value`; what was here before gets none.
    fn fill_<'py>(slf: Bound<'py, Self>, value: Operand) -> PyResult<Bound<'py, Self>> {
        match value {
            Operand::Number(value) => slf.borrow().fill_with(value)?,
            Operand::Tensor(value) if value.rank() == 0 => {
                view::check_unexpanded(&slf.borrow())?;
                view::overwrite("fill_", &slf.borrow(), &value)?;
            }
            Operand::Tensor(value) => {
                runtime_error!("fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.", value.rank())?
            }
        }
        Ok(slf)
    }

    /// Sets the diagonal, of the places whose indices are all the same, to `fill_value`. In a tall matrix it begins anew
    /// below its end, one row further down, if `wrap`.
    ///
    /// Raises: RuntimeError for fewer than 2 dims, or sizes that differ where there are more.
    #[pyo3(signature = (fill_value, wrap=false))]
    fn fill_diagonal_<'py>(slf: Bound<'py, Self>, fill_value: Scalar, wrap: bool) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        let &[height, width, ref more @ ..] = x.shape() else {
            return Err(Error::Runtime(format!("fill_diagonal_: dimensions must be larger than 1, got {}", x.rank())).into());
        };
        if !more.is_empty() && x.shape().iter().any(|&size| size != height) {
            let text = format!("fill_diagonal_: all dimensions of input must be of equal length, got {:?}", x.shape());
            return Err(Error::Runtime(text).into());
        }
        let step = x.strides().iter().sum::<isize>();
        let rows = if width == 0 { 0 } else { height };
        let begins = if wrap && more.is_empty() { (0..rows).step_by(width + 1) } else { (0..rows.min(1)).step_by(1) };
        for row in begins {
            let length = width.min(height - row) as isize;
            let offset = x.layout().offset.wrapping_add_signed(row as isize * x.strides()[0]);
            let diagonal = x.with_strides(x.strided_layout("fill_diagonal_", &[length], &[step], Some(offset as isize))?)?;
            view::overwrite_with("fill_diagonal_", &diagonal, fill_value)?;
        }
        Ok(slf)
    }

    /// Changes the shape of this tensor to `sizes`, keeping the first elements. New elements have arbitrary contents.
    ///
    /// If the memory is too small the tensor gets new memory, which its views and aliases do not share.
    /// Raises: RuntimeError if the tensor requires a gradient.
    #[pyo3(signature = (*sizes, memory_format=None))]
    fn resize_<'py>(slf: Bound<'py, Self>, sizes: Dims, memory_format: Option<MemoryFormat>) -> PyResult<Bound<'py, Self>> {
        let negative = || Error::Runtime(format!("resize_: sizes must not be negative, got {:?}", sizes.0));
        let shape = sizes.iter().map(|&size| usize::try_from(size)).collect::<std::result::Result<Shape, _>>();
        let shape = shape.map_err(|_| negative())?;
        resize("resize_", &slf, &shape, memory_format)?;
        Ok(slf)
    }

    /// Changes the shape of this tensor to that of `other`; see `resize_`.
    #[pyo3(signature = (other, *, memory_format=None))]
    fn resize_as_<'py>(
        slf: Bound<'py, Self>,
        other: Bound<'py, Tensor>,
        memory_format: Option<MemoryFormat>,
    ) -> PyResult<Bound<'py, Self>> {
        // Not borrowed any more when the tensor changes: it may be the tensor itself.
        let shape = other.borrow().layout().shape.clone();
        let of_other = || other.borrow().layer_format();
        let format = memory_format.map(|format| if format == MemoryFormat::Preserve { of_other() } else { format });
        resize("resize_as_", &slf, &shape, format)?;
        Ok(slf)
    }

    /// Sets every element to 0.
    fn zero_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        view::overwrite_with("zero_", &slf.borrow(), Scalar::Bool(false))?;
        Ok(slf)
    }
}
