//! Complex numbers and their parts: views of one as the other, conjugates, magnitudes and angles.
//!
//! A complex element is two floats side by side, so what only moves or adds elements can do so with the parts. Derivatives
//! follow torch's convention: the gradient of a real function is the direction of steepest ascent, so the rule of a
//! holomorphic function multiplies with the conjugate of its slope. Conjugates are computed at once: there are no lazy ones.

use pyo3::prelude::*;

use super::arguments::Operand;
use super::batch_order;
use super::expanded::write_in_turn;
use crate::dtype::{C128, DType, Scalar};
use crate::error::Result;
use crate::interpreter::Once;
use crate::kernels::complex;
use crate::layout::{Layout, broadcast_shapes};
use crate::runtime_error;
use crate::tape::mode::is_forward;
use crate::tape::view::in_place;
use crate::tape::without_recording;
use crate::tensor::Tensor;
use crate::vjp;

impl Tensor {
    /// The parts of complex elements along one more dim, off the tape.
    pub(crate) fn real_pairs(&self) -> Tensor {
        self.reinterpreted(self.layout().of_parts(), self.dtype().to_real())
    }

    /// All real (0) or imaginary (1) parts of complex elements, off the tape.
    pub(crate) fn part(&self, which: usize) -> Tensor {
        let mut layout = self.layout().of_parts();
        layout.shape.pop();
        layout.strides.pop();
        if layout.numel() > 0 {
            layout.offset += which;
        }
        self.reinterpreted(layout, self.dtype().to_real())
    }

    /// Pairs along the last dim as complex elements, off the tape.
    pub(crate) fn complex_pairs(&self) -> Result<Tensor> {
        let mut layout = self.layout().clone();
        if !self.dtype().is_float() {
            return runtime_error!(
                "view_as_complex is only supported for floating point tensors, but got a tensor of {}",
                self.dtype()
            );
        }
        match (layout.shape.pop(), layout.strides.pop()) {
            (Some(2), Some(1)) => {}
            (Some(2), _) => return runtime_error!("view_as_complex: Tensor must have a last dimension with stride 1"),
            _ => return runtime_error!("view_as_complex: Tensor must have a last dimension of size 2"),
        }
        if layout.strides.iter().any(|stride| stride % 2 != 0) {
            return runtime_error!("view_as_complex: Tensor must have a stride divisible by 2 for all but last dimension");
        }
        if !layout.offset.is_multiple_of(2) {
            return runtime_error!("view_as_complex: Tensor must have a storage_offset divisible by 2");
        }
        layout.strides.iter_mut().for_each(|stride| *stride /= 2);
        layout.offset /= 2;
        Ok(self.reinterpreted(layout, self.dtype().to_complex()))
    }

    /// Pairs along the last dim as complex elements, copied if they do not lie so: for gradients.
    pub(crate) fn paired(&self) -> Result<Tensor> {
        match self.complex_pairs() {
            Ok(_) => self.view_as_complex(),
            Err(_) => self.clone_in(super::arguments::MemoryFormat::Contiguous)?.view_as_complex(),
        }
    }

    /// The complex conjugate, for derivative rules: of real tensors, themselves.
    pub fn conj(&self) -> Result<Tensor> {
        if self.dtype().is_complex() { self.conjugated("conj") } else { Ok(self.clone()) }
    }

    pub(crate) fn conjugated(&self, op: &'static str) -> Result<Tensor> {
        let x = self;
        let y = super::kernel::complex_unary(op, x, |z| z.conj())?;
        // The very strides, also of dims of one element.
        let y = if x.layout().is_dense() { y.with_layout(Layout { offset: y.layout().offset, ..x.layout().clone() }) } else { y };
        vjp!(op, y, { x: |g| g.conjugated(op) })
    }

    /// See `real_getter`.
    pub fn real(&self) -> Result<Tensor> {
        if self.dtype().is_complex() { self.view_as_real()?.select_at(self.rank(), 0) } else { Ok(self.clone()) }
    }

    /// See `imag_getter`.
    pub fn imag(&self) -> Result<Tensor> {
        if !self.dtype().is_complex() {
            return runtime_error!("imag is not implemented for tensors with non-complex dtypes.");
        }
        self.view_as_real()?.select_at(self.rank(), 1)
    }

    /// The sign of complex elements: z / |z|, and 0 at 0.
    pub(crate) fn complex_sign(&self) -> Result<Tensor> {
        let x = self;
        let y = super::kernel::complex_unary("sgn", x, complex::sgn)?;
        vjp!("sgn", y, { x: |g, y| {
            let size = x.abs()?;
            let along = (y * (g * y.conj()).and_then(|t| t.real()))?;
            size.equals(0.0)?.choose_or(0.0, &((g - along)? / &size)?)
        } })
    }

    /// Warns of a conversion to `dtype` that loses imaginary parts.
    pub(crate) fn warn_of_lost_parts(&self, dtype: DType) -> Result<()> {
        if self.dtype().is_complex() && !dtype.is_complex() && dtype != DType::Bool {
            static LOST: Once = Once::new(c"Casting complex values to real discards the imaginary part");
            LOST.warn()?;
        }
        Ok(())
    }

    /// This tensor as parts if it is complex and `wanted`.
    pub(crate) fn parts_if(&self, wanted: bool) -> Result<Tensor> {
        if wanted { self.view_as_real() } else { Ok(self.clone()) }
    }

    /// These pairs as complex numbers if `wanted`.
    pub(crate) fn paired_if(&self, wanted: bool) -> Result<Tensor> {
        if wanted { self.paired() } else { Ok(self.clone()) }
    }
}

#[pymethods]
impl Tensor {
    /// A view of complex elements as pairs of floats along one more dim.
    ///
    /// Shape: (*) to (*, 2). Dtype: complex.
    /// Raises: RuntimeError for real tensors.
    pub fn view_as_real(&self) -> Result<Tensor> {
        let x = self;
        if !x.dtype().is_complex() {
            return runtime_error!("view_as_real is only supported for complex tensors");
        }
        let y = vjp!("view_as_real", x.real_pairs(), { x: |g| g.paired() })?;
        Ok(self.as_base_of(y, None))
    }

    /// A view of pairs of floats along the last dim as complex elements.
    ///
    /// Shape: (*, 2) to (*). Dtype: float.
    /// Raises: RuntimeError if the last dim is not of two neighbours.
    pub fn view_as_complex(&self) -> Result<Tensor> {
        let x = self;
        let y = vjp!("view_as_complex", x.complex_pairs()?, { x: |g| g.view_as_real() })?;
        Ok(self.as_base_of(y, None))
    }

    /// A view of the real parts; of a real tensor, the tensor itself.
    #[getter(real)]
    fn real_getter<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        if x.dtype().is_complex() { Bound::new(slf.py(), x.real()?) } else { Ok(slf.clone()) }
    }

    #[setter(real)]
    fn set_real(&self, value: Operand) -> Result<()> {
        crate::tape::view::overwrite("copy_", &self.real()?, &value.tensor()?)
    }

    /// A view of the imaginary parts.
    ///
    /// Raises: RuntimeError for a real tensor.
    #[getter(imag)]
    fn imag_getter(&self) -> Result<Tensor> {
        self.imag()
    }

    #[setter(imag)]
    fn set_imag(&self, value: Operand) -> Result<()> {
        crate::tape::view::overwrite("copy_", &self.imag()?, &value.tensor()?)
    }

    /// The complex conjugate of each element; a real tensor itself. Unlike torch's, a copy: it is never lazy.
    #[pyo3(name = "conj")]
    fn conj_method<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        if x.dtype().is_complex() { Bound::new(slf.py(), x.conj()?) } else { Ok(slf.clone()) }
    }

    /// The complex conjugate of each element; a real tensor itself.
    fn conj_physical<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let x = slf.borrow().clone();
        if x.dtype().is_complex() { Bound::new(slf.py(), x.conjugated("conj_physical")?) } else { Ok(slf.clone()) }
    }

    /// The tensor itself: conjugates are never lazy.
    fn resolve_conj(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// The tensor itself: negatives are never lazy.
    fn resolve_neg(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Whether the conjugate is still to be taken: never.
    fn is_conj(&self) -> bool {
        false
    }

    /// Whether the negative is still to be taken: never.
    fn is_neg(&self) -> bool {
        false
    }

    /// The angle in [-π, π] of each number in the complex plane: of reals 0, below zero π, for NaN NaN.
    ///
    /// Shape: any, kept. Dtype: float or complex, which gives the float of its parts; integers promote to the default float.
    /// Derivative: 0 at 0, and for reals.
    pub fn angle(&self) -> Result<Tensor> {
        let x = self;
        if !x.dtype().is_complex() {
            let y = float_map!("angle", x, |v: T| {
                if v.is_nan() {
                    v
                } else if v < 0.0 {
                    std::f64::consts::PI as T
                } else {
                    0.0
                }
            })?;
            return Ok(vjp!("angle", y, { x: |g| g.as_zeros() })?.watching(&[x]));
        }
        let y = super::kernel::complex_to_real("angle", &x.contiguous()?, |z| z.im.atan2(z.re))?;
        vjp!("angle", y, { x: |g| {
            let turn = Tensor::from_number(Scalar::Complex(C128::I))?;
            let slope = ((&x * &turn)? / x.abs()?.square()?)?;
            x.equals(0.0)?.zero_or_product(g, &slope)
        } })
    }
}

#[pymethods]
impl Tensor {
    /// In place; see `conj_physical`.
    fn conj_physical_(slf: Bound<'_, Self>) -> Result<Bound<'_, Self>> {
        let op = "conj_physical_";
        {
            let x = &slf.borrow();
            if x.dtype().is_complex() {
                in_place(op, x, false, |x| x.conjugated("conj_physical.1"))?;
            } else {
                // Real numbers stay as they are, wherever they lie.
                write_in_turn(op, x, false, |x| vjp!("conj_physical.1", x.own_copy()?, { x: |g| Ok(g.clone()) }))?;
            }
        }
        Ok(slf)
    }
}

/// Two real tensors as the parts of a complex one.
///
/// Shape: broadcast. Dtype: float, the same for both.
/// Raises: RuntimeError for other dtypes, and for different ones.
#[pyfunction(name = "complex")]
#[pyo3(signature = (real, imag))]
pub fn complex_of(real: &Tensor, imag: &Tensor) -> Result<Tensor> {
    check_parts(real, imag)?;
    let shape = broadcast_shapes("complex", real.shape(), imag.shape())?;
    let y = Tensor::uninitialized("complex", &shape, real.dtype().to_complex())?;
    y.part(0).write(real)?;
    y.part(1).write(imag)?;
    batch_order::note(&y, &[real, imag]);
    Ok(vjp!("complex", y, { real: |g| g.real(), imag: |g| g.imag() })?.watching_if_followed(real).watching_if_followed(imag))
}

/// The complex numbers of these magnitudes and angles.
///
/// Shape: broadcast. Dtype: float, the same for both.
/// Derivative: 0 for a magnitude of 0; that of the magnitude of the result, also for magnitudes below 0, as torch. Along tangents that
/// of the formula.
/// Raises: RuntimeError for other dtypes, and for different ones.
#[pyfunction]
#[pyo3(signature = (abs, angle))]
pub fn polar(abs: &Tensor, angle: &Tensor) -> Result<Tensor> {
    check_parts(abs, angle)?;
    let y = without_recording(|| complex_of(&(abs * angle.cos())?, &(abs * angle.sin())?))?;
    vjp!("polar", y, {
        abs: |g, y| if is_forward() {
            (g.real()? * angle.cos())? + (g.imag()? * angle.sin())?
        } else {
            (g.conj()? * y.complex_sign())?.real()
        },
        angle: |g, y| if is_forward() {
            ((g.imag()? * &abs)? * angle.cos())? - ((g.real()? * &abs)? * angle.sin())?
        } else {
            (g.conj()? * (y * Tensor::from_number(Scalar::Complex(C128::I))?))?.real()
        }
    })
}

/// The real parts, as a view; a real tensor itself.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn real<'py>(input: &Bound<'py, Tensor>) -> PyResult<Bound<'py, Tensor>> {
    Tensor::real_getter(input)
}

/// The imaginary parts, as a view.
///
/// Raises: RuntimeError for a real tensor.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn imag(input: &Tensor) -> Result<Tensor> {
    input.imag()
}

/// Whether the dtype is complex.
#[pyfunction]
#[pyo3(signature = (input))]
pub fn is_complex(input: &Tensor) -> bool {
    input.dtype().is_complex()
}

fn check_parts(a: &Tensor, b: &Tensor) -> Result<()> {
    let word = |dtype: DType| dtype.type_word();
    if !a.dtype().is_float() || !b.dtype().is_float() {
        return runtime_error!(
            "Expected both inputs to be Half, Float or Double tensors but got {} and {}",
            word(a.dtype()),
            word(b.dtype())
        );
    }
    if a.dtype() != b.dtype() {
        return runtime_error!(
            "Expected object of scalar type {} but got scalar type {} for second argument",
            word(a.dtype()),
            word(b.dtype())
        );
    }
    Ok(())
}
