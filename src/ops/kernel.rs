//! From tensors to kernels: outputs, promotion, broadcasting, locks.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, Ordering};

use smallvec::SmallVec;

use super::batch_order;
use crate::dtype::{C64, C128, DType, Element, Promotion, Scalar};
use crate::error::{Error, Result};
use crate::kernels::elementwise::{Arg, BLOCK, Loop, MAX_ARGS, Run, run, run_one_by_one};
use crate::kernels::{map, without_interpreter};
use crate::layout::{Shape, Strides, broadcast_shapes, copy_of};
use crate::storage::Access;
use crate::tensor::Tensor;
use crate::vjp;

static DEFAULT_DTYPE: AtomicU8 = AtomicU8::new(DType::F32 as u8);

/// The dtype of new float tensors.
pub fn default_dtype() -> DType {
    if DEFAULT_DTYPE.load(Ordering::Relaxed) == DType::F64 as u8 { DType::F64 } else { DType::F32 }
}

/// Sets the dtype of new float tensors.
pub fn set_default_dtype(dtype: DType) -> Result<()> {
    if !dtype.is_float() {
        return Err(Error::Type(format!(
            "set_default_dtype: only floating-point types are supported as the default type, got {dtype}"
        )));
    }
    DEFAULT_DTYPE.store(dtype as u8, Ordering::Relaxed);
    Ok(())
}

/// y = f(x) over the real float dtypes; integers are converted to the default float first. After `complex`, a function for
/// the complex dtypes. `long` functions are those of [`long_unary`].
macro_rules! float_map {
    ($op:expr, $x:expr, long $f:expr, complex $g:expr) => {
        if $x.dtype().is_complex() { $crate::ops::kernel::complex_unary($op, $x, $g) } else { float_map!($op, $x, long $f) }
    };
    ($op:expr, $x:expr, long $f:expr) => {{
        let x = $x.to_float()?;
        $crate::dispatch_floats!(x.dtype(), $op, T => $crate::ops::kernel::long_unary::<T>($op, &x, #[inline(always)] $f))
    }};
    ($op:expr, $x:expr, $f:expr, complex $g:expr) => {
        if $x.dtype().is_complex() { $crate::ops::kernel::complex_unary($op, $x, $g) } else { float_map!($op, $x, $f) }
    };
    ($op:expr, $x:expr, $f:expr) => {{
        let x = $x.to_float()?;
        $crate::dispatch_floats!(x.dtype(), $op, T => $crate::ops::kernel::unary::<T, T>($op, &x, #[inline(always)] $f))
    }};
}

/// y = f(x) over the float dtypes, where f works through stretches of elements.
macro_rules! float_stretches {
    ($op:expr, $x:expr, $f:expr, complex $g:expr) => {
        if $x.dtype().is_complex() { $crate::ops::kernel::complex_unary($op, $x, $g) } else { float_stretches!($op, $x, $f) }
    };
    ($op:expr, $x:expr, $f:expr) => {{
        let x = $x.to_float()?;
        $crate::dispatch_floats!(x.dtype(), $op, T => $crate::ops::kernel::unary_stretches::<T>($op, &x, #[inline(always)] |part| $f(part)))
    }};
}

/// y = f(x), a bool, over all dtypes.
macro_rules! test_map {
    ($op:expr, $x:expr, $f:expr) => {
        $crate::dispatch_all!($x.dtype(), $op, T =>
            $crate::ops::kernel::unary::<T, $crate::dtype::Bool>($op, &$x, #[inline(always)] |v: T| $crate::dtype::Bool::from($f(v))))
    };
}

/// y = f(x) over all dtypes but bool, which is kept.
macro_rules! number_map {
    ($op:expr, $x:expr, $f:expr) => {
        $crate::dispatch_numbers!($x.dtype(), $op, T => $crate::ops::kernel::unary::<T, T>($op, &$x, #[inline(always)] $f))
    };
}

/// y = f(a, b) over all dtypes; a and b have one dtype, which y has too. After `or number` it is as fast for one number b.
macro_rules! zip_map {
    ($op:expr, $a:expr, $b:expr, $f:expr, or number) => {
        $crate::dispatch_all!($a.dtype(), $op, T => $crate::ops::kernel::binary_or_number::<T>($op, &$a, &$b, #[inline(always)] $f))
    };
    ($op:expr, $a:expr, $b:expr, $f:expr) => {
        $crate::dispatch_all!($a.dtype(), $op, T => $crate::ops::kernel::binary::<T, T, T>($op, &$a, &$b, #[inline(always)] $f))
    };
}

/// y = f(a, b) over all dtypes but bool; see `zip_map`.
macro_rules! number_zip_map {
    ($op:expr, $a:expr, $b:expr, $f:expr, or number) => {
        $crate::dispatch_numbers!($a.dtype(), $op, T => $crate::ops::kernel::binary_or_number::<T>($op, &$a, &$b, #[inline(always)] $f))
    };
    ($op:expr, $a:expr, $b:expr, $f:expr) => {
        $crate::dispatch_numbers!($a.dtype(), $op, T => $crate::ops::kernel::binary::<T, T, T>($op, &$a, &$b, #[inline(always)] $f))
    };
}

/// y = f(a, b) over all dtypes that have an order.
macro_rules! ordered_zip_map {
    ($op:expr, $a:expr, $b:expr, $f:expr) => {
        $crate::dispatch_ordered!($a.dtype(), $op, T => $crate::ops::kernel::binary::<T, T, T>($op, &$a, &$b, #[inline(always)] $f))
    };
}

/// y = f(a, b) over the real dtypes but bool.
macro_rules! real_zip_map {
    ($op:expr, $a:expr, $b:expr, $f:expr) => {
        $crate::dispatch_reals!($a.dtype(), $op, T => $crate::ops::kernel::binary::<T, T, T>($op, &$a, &$b, #[inline(always)] $f))
    };
}

/// y = f(a, b) over the real float dtypes; after `complex`, a function for the complex ones; see `zip_map` and `float_map`, too.
macro_rules! float_zip_map {
    ($op:expr, $a:expr, $b:expr, long $f:expr) => {
        $crate::dispatch_floats!($a.dtype(), $op, T => $crate::ops::kernel::long_binary::<T>($op, &$a, &$b, #[inline(always)] $f))
    };
    ($op:expr, $a:expr, $b:expr, long $f:expr, complex $g:expr) => {
        if $a.dtype().is_complex() { $crate::ops::kernel::complex_binary($op, &$a, &$b, $g) } else { float_zip_map!($op, $a, $b, long $f) }
    };
    ($op:expr, $a:expr, $b:expr, $f:expr, or number) => {
        $crate::dispatch_floats!($a.dtype(), $op, T => $crate::ops::kernel::binary_or_number::<T>($op, &$a, &$b, #[inline(always)] $f))
    };
    ($op:expr, $a:expr, $b:expr, $f:expr, or number, complex $g:expr) => {
        if $a.dtype().is_complex() { $crate::ops::kernel::complex_binary($op, &$a, &$b, $g) } else { float_zip_map!($op, $a, $b, $f, or number) }
    };
    ($op:expr, $a:expr, $b:expr, $f:expr) => {
        $crate::dispatch_floats!($a.dtype(), $op, T => $crate::ops::kernel::binary::<T, T, T>($op, &$a, &$b, #[inline(always)] $f))
    };
    ($op:expr, $a:expr, $b:expr, $f:expr, complex $g:expr) => {
        if $a.dtype().is_complex() { $crate::ops::kernel::complex_binary($op, &$a, &$b, $g) } else { float_zip_map!($op, $a, $b, $f) }
    };
}

/// y = f(a, b, c) over the real float dtypes; see `float_map`.
macro_rules! float_zip3_map {
    ($op:expr, $a:expr, $b:expr, $c:expr, long $f:expr) => {
        $crate::dispatch_floats!($a.dtype(), $op, T => $crate::ops::kernel::long_ternary::<T>($op, &$a, &$b, &$c, #[inline(always)] $f))
    };
    ($op:expr, $a:expr, $b:expr, $c:expr, $f:expr) => {
        $crate::dispatch_floats!($a.dtype(), $op, T => $crate::ops::kernel::ternary::<T, T, T, T>($op, &$a, &$b, &$c, #[inline(always)] $f))
    };
}

/// y = f(a, b, c) over the real dtypes but bool.
macro_rules! real_zip3_map {
    ($op:expr, $a:expr, $b:expr, $c:expr, $f:expr) => {
        $crate::dispatch_reals!($a.dtype(), $op, T => $crate::ops::kernel::ternary::<T, T, T, T>($op, &$a, &$b, &$c, #[inline(always)] $f))
    };
}

/// y = f(a, b), a bool, over all dtypes.
macro_rules! compare_map {
    ($op:expr, $a:expr, $b:expr, $f:expr) => {
        $crate::dispatch_all!($a.dtype(), $op, T =>
            $crate::ops::kernel::binary::<T, T, $crate::dtype::Bool>($op, &$a, &$b, #[inline(always)] |a: T, b: T| $crate::dtype::Bool::from($f(a, b))))
    };
}

/// y = f(a, b), a bool, over all dtypes that have an order.
macro_rules! order_map {
    ($op:expr, $a:expr, $b:expr, $f:expr) => {
        $crate::dispatch_ordered!($a.dtype(), $op, T =>
            $crate::ops::kernel::binary::<T, T, $crate::dtype::Bool>($op, &$a, &$b, #[inline(always)] |a: T, b: T| $crate::dtype::Bool::from($f(a, b))))
    };
}

fn arg(x: &Tensor) -> Arg<'_> {
    Arg { start: x.byte_ptr(), layout: x.layout(), contiguous: x.is_contiguous(), size: x.dtype().size() }
}

/// The tensor that an elementwise kernel writes to: an operand marked for reuse if it fits, else a new one whose
/// strides follow the operands' (a transposed input gives a transposed output, as in torch).
fn output(op: &'static str, shape: &[usize], dtype: DType, inputs: &[&Tensor]) -> Result<Tensor> {
    let fits = |x: &&Tensor| x.is_reusable() && x.dtype() == dtype && x.shape() == shape;
    if let Some(x) = inputs.iter().copied().find(fits)
        && inputs.iter().all(|other| meets_only_itself(x, other))
    {
        return Ok(x.with_layout(x.layout().clone()));
    }
    if inputs.iter().all(|x| x.is_contiguous()) {
        return Tensor::uninitialized(op, shape, dtype);
    }
    let first = inputs[0].layout();
    // Where sizes of 1 leave it open, the very strides.
    let alike = first.is_dense() && inputs.iter().all(|x| x.shape() == shape && x.strides() == &first.strides[..]);
    let strides = if alike { first.strides.clone() } else { strides_like(shape, inputs) };
    Tensor::uninitialized_strided(op, shape, strides, dtype)
}

/// Dense strides in the order of the operands' strides, the first operand deciding where it can.
pub(crate) fn strides_like(shape: &[usize], inputs: &[&Tensor]) -> Strides {
    let operands: SmallVec<[_; 4]> = inputs.iter().map(|&x| (x, x.layout().expand_strides(shape))).collect();
    batch_order::arranged(shape, &operands).0
}

/// The dims, the innermost first, in the order of the operands' strides, the first operand deciding where it can.
pub(crate) fn order_like(shape: &[usize], operands: &[Strides]) -> SmallVec<[usize; 5]> {
    let rank = shape.len();
    // Negative if dim a is inside dim b, by the first operand that can tell.
    let inside = |a: usize, b: usize| -> i32 {
        for strides in operands {
            let (s, t) = (strides[a], strides[b]);
            if s == 0 || t == 0 {
                continue;
            }
            if s != t {
                return if s < t { -1 } else { 1 };
            }
            if shape[a] > shape[b] {
                return 1;
            }
        }
        0
    };
    // Insertion sort from the innermost dim, stable where operands cannot tell.
    let mut order: SmallVec<[usize; 5]> = (0..rank).rev().collect();
    for i in 1..rank {
        let mut place = i;
        for j in (0..i).rev() {
            match inside(order[j], order[place]) {
                1 => {
                    order.swap(j, place);
                    place = j;
                }
                -1 => break,
                _ => {}
            }
        }
    }
    order
}

/// A new tensor of this dtype that `body` computes from inputs, broadcast; the loop must be for their dtypes.
///
/// Not generic: what is compiled for each op and dtype is the loop alone.
pub(crate) fn apply(op: &'static str, dtype: DType, inputs: &[&Tensor], body: Run<'_>) -> Result<Tensor> {
    for x in inputs {
        x.check_saved()?;
    }
    if let Some(y) = apply_to_few(dtype, inputs, body)? {
        return Ok(y);
    }
    let mut shape = copy_of(&inputs[0].layout().shape);
    for x in inputs {
        if x.shape() != shape.as_slice() {
            shape = broadcast_shapes(op, &shape, x.shape())?;
        }
    }
    let y = output(op, &shape, dtype, inputs)?;
    // Nobody else can reach memory that only `y` knows.
    let fresh = y.is_unique();
    run_on(&y, fresh, inputs, body);
    note_samples(&y, inputs);
    Ok(y)
}

/// [`apply`] without what this, the commonest case, has no need of: a few elements, side by side, of operands of one shape or
/// of one number.
fn apply_to_few(dtype: DType, inputs: &[&Tensor], body: Run<'_>) -> Result<Option<Tensor>> {
    let first = inputs.iter().copied().find(|x| x.rank() > 0 && x.is_contiguous()).unwrap_or(inputs[0]);
    let numel = first.numel();
    let whole = |x: &&Tensor| std::ptr::eq(*x, first) || x.is_contiguous() && x.shape() == first.shape();
    let number = |x: &&Tensor| x.rank() == 0 || x.shape() == first.shape() && x.layout().is_one_place();
    if numel == 0 || numel > BLOCK || !first.is_contiguous() || !inputs.iter().all(|x| whole(x) || number(x)) {
        return Ok(None);
    }
    let in_place = inputs.iter().any(|x| x.is_reusable());
    if in_place && !(first.is_reusable() && first.dtype() == dtype && inputs.iter().all(|x| meets_only_itself(first, x))) {
        return Ok(None);
    }
    let y = if in_place { first.with_layout(first.layout().clone()) } else { first.uninitialized_like(dtype)? };
    note_samples(&y, inputs);
    if in_place || !inputs.iter().all(whole) {
        run_on(&y, !in_place, inputs, body);
        return Ok(Some(y));
    }
    let mut ptrs = [y.byte_ptr(); MAX_ARGS];
    let mut storages = [first.storage(); MAX_ARGS];
    for (i, x) in inputs.iter().enumerate() {
        (ptrs[i + 1], storages[i]) = (x.byte_ptr(), x.storage());
    }
    let _access = Access::new(&storages[..inputs.len()], &[]);
    (body.each)(&ptrs, numel);
    Ok(Some(y))
}

/// Whether what is written over `x` cannot change another place of `other`.
fn meets_only_itself(x: &Tensor, other: &Tensor) -> bool {
    std::ptr::eq(other, x) || !other.storage().same(x.storage()) || other.layout() == x.layout()
}

/// Runs `body` on y and inputs that broadcast to its shape; y must overlap none of them or be exactly one of them.
fn apply_into(y: &Tensor, inputs: &[&Tensor], body: Run<'_>) {
    run_on(y, false, inputs, body);
}

/// Notes on what samples of a function that is being mapped `y` depends.
#[inline]
fn note_samples(y: &Tensor, inputs: &[&Tensor]) {
    if inputs.iter().any(|x| x.sample_of().is_some()) {
        inputs.iter().for_each(|x| y.note_sample_of(x.sample_of()));
        batch_order::note(y, inputs);
    }
}

fn run_on(y: &Tensor, fresh: bool, inputs: &[&Tensor], body: Run<'_>) {
    let mut args = [arg(y); MAX_ARGS];
    let mut storages = [y.storage(); MAX_ARGS];
    for (i, x) in inputs.iter().enumerate() {
        (args[i + 1], storages[i + 1]) = (arg(x), x.storage());
    }
    let args = &args[..=inputs.len()];
    let _access = Access::new(&storages[1..=inputs.len()], if fresh { &[] } else { &storages[..1] });
    if !fresh && !y.is_contiguous() && y.layout().may_overlap() {
        let strides: SmallVec<[_; 4]> = args.iter().map(|arg| arg.layout.expand_strides(y.shape())).collect();
        let order = order_like(y.shape(), &strides);
        // SAFETY: as below.
        return without_interpreter(y.numel(), || unsafe { run_one_by_one(y.shape(), args, &order, body.each) });
    }
    // SAFETY: all are locked and valid for the shape; the output overlaps no input but where it is the input.
    without_interpreter(y.numel(), || unsafe { run(y.shape(), args, body) });
}

/// y = f(x) for tensors whose dtypes are known to be these.
pub fn unary<T: Element, U: Element>(op: &'static str, x: &Tensor, f: impl Fn(T) -> U + Sync + Copy) -> Result<Tensor> {
    apply(op, U::DTYPE, &[x], Run::new(&map::loop1(f)))
}

/// [`unary`] for long functions that few programs spend their time in: up to a sixth slower, a third of the code.
pub fn long_unary<T: Element>(op: &'static str, x: &Tensor, f: impl Fn(T) -> T + Sync + Copy) -> Result<Tensor> {
    apply(op, T::DTYPE, &[x], Run::new(&map::long_loop1(f)))
}

/// y = f(x), where f works through stretches of elements.
pub fn unary_stretches<T: Element>(op: &'static str, x: &Tensor, f: impl Fn(map::Stretch<T>) + Sync + Copy) -> Result<Tensor> {
    apply(op, T::DTYPE, &[x], Run::new(&map::loop_stretches(f)))
}

/// y = f(a, b), broadcasting, for tensors whose dtypes are known to be these.
pub fn binary<A: Element, B: Element, U: Element>(
    op: &'static str,
    a: &Tensor,
    b: &Tensor,
    f: impl Fn(A, B) -> U + Sync + Copy,
) -> Result<Tensor> {
    apply(op, U::DTYPE, &[a, b], Run::new(&map::loop2(f)))
}

/// [`binary`] for long functions; see [`long_unary`].
pub fn long_binary<T: Element>(op: &'static str, a: &Tensor, b: &Tensor, f: impl Fn(T, T) -> T + Sync + Copy) -> Result<Tensor> {
    apply(op, T::DTYPE, &[a, b], Run::new(&map::long_loop2(f)))
}

/// [`binary`] for functions that take no longer than memory does, with a loop of its own for a number at the right.
pub fn binary_or_number<T: Element>(
    op: &'static str,
    a: &Tensor,
    b: &Tensor,
    f: impl Fn(T, T) -> T + Sync + Copy,
) -> Result<Tensor> {
    let with_number = map::loop2_number(f);
    let last_is_number = if const { T::DTYPE.is_float() } { Some(&with_number as Loop<'_>) } else { None };
    apply(op, T::DTYPE, &[a, b], Run { each: &map::loop2(f), last_is_number })
}

/// y = near(a, b) where `is_near(a, b)` holds for a whole block, far(a, b) elsewhere.
pub fn binary_near<T: Element>(
    op: &'static str,
    a: &Tensor,
    b: &Tensor,
    is_near: impl Fn(T, T) -> bool + Sync + Copy,
    near: impl Fn(T, T) -> T + Sync + Copy,
    far: impl Fn(T, T) -> T + Sync + Copy,
) -> Result<Tensor> {
    apply(op, T::DTYPE, &[a, b], Run::new(&map::loop2_near(is_near, near, far)))
}

/// y = f(a, b, c), broadcasting, for tensors whose dtypes are known to be these.
pub fn ternary<A: Element, B: Element, C: Element, U: Element>(
    op: &'static str,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    f: impl Fn(A, B, C) -> U + Sync + Copy,
) -> Result<Tensor> {
    apply(op, U::DTYPE, &[a, b, c], Run::new(&map::loop3(f)))
}

/// [`ternary`] for long functions; see [`long_unary`].
pub fn long_ternary<T: Element>(
    op: &'static str,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    f: impl Fn(T, T, T) -> T + Sync + Copy,
) -> Result<Tensor> {
    apply(op, T::DTYPE, &[a, b, c], Run::new(&map::long_loop3(f)))
}

/// y = f(x) over the real float dtypes; integers are converted to the default float first. For rare functions: called through a
/// pointer and in double precision, it is compiled once for all of them.
#[allow(dead_code)]
pub fn rare_unary(op: &'static str, x: &Tensor, f: fn(f64) -> f64) -> Result<Tensor> {
    let x = x.to_float()?;
    crate::dispatch_floats!(x.dtype(), op, T => unary::<T, T>(op, &x, move |v: T| f(v.to_f64()) as T))
}

/// [`rare_unary`] by a function for either dtype.
pub fn rare_unary_of(op: &'static str, x: &Tensor, single: fn(f32) -> f32, double: fn(f64) -> f64) -> Result<Tensor> {
    let x = x.to_float()?;
    if x.dtype() == DType::F32 { unary::<f32, f32>(op, &x, single) } else { rare_unary(op, &x, double) }
}

/// y = f(a, b) over the real float dtypes, promoting and broadcasting; see [`rare_unary`].
#[allow(dead_code)]
pub fn rare_binary(op: &'static str, a: &Tensor, b: &Tensor, f: fn(f64, f64) -> f64) -> Result<Tensor> {
    let (a, b) = promoted_float(a, b)?;
    crate::dispatch_floats!(a.dtype(), op, T => binary::<T, T, T>(op, &a, &b, move |u: T, v: T| f(u.to_f64(), v.to_f64()) as T))
}

/// [`rare_binary`] by a function for either dtype.
pub fn rare_binary_of(
    op: &'static str,
    a: &Tensor,
    b: &Tensor,
    single: fn(f32, f32) -> f32,
    double: fn(f64, f64) -> f64,
) -> Result<Tensor> {
    let (a, b) = promoted_float(a, b)?;
    if a.dtype() == DType::F32 { binary::<f32, f32, f32>(op, &a, &b, single) } else { rare_binary(op, &a, &b, double) }
}

/// y = f(x) over the complex dtypes. Called through a pointer and in double precision: compiled once for all functions.
pub fn complex_unary(op: &'static str, x: &Tensor, f: fn(C128) -> C128) -> Result<Tensor> {
    crate::dispatch!(x.dtype(), op, T in [C64, C128] => unary::<T, T>(op, x, move |v: T| T::from_c128(f(v.to_c128()))))
}

/// y = f(x), real, over the complex dtypes; see [`complex_unary`].
pub fn complex_to_real(op: &'static str, x: &Tensor, f: fn(C128) -> f64) -> Result<Tensor> {
    if x.dtype() == DType::C64 { unary::<C64, f32>(op, x, move |v| f(v.to_c128()) as f32) } else { unary::<C128, f64>(op, x, f) }
}

/// y = f(a, b) over the complex dtypes; see [`complex_unary`].
pub fn complex_binary(op: &'static str, a: &Tensor, b: &Tensor, f: fn(C128, C128) -> C128) -> Result<Tensor> {
    crate::dispatch!(a.dtype(), op, T in [C64, C128] =>
        binary::<T, T, T>(op, a, b, move |u: T, v: T| T::from_c128(f(u.to_c128(), v.to_c128()))))
}

/// Sets every element to a number.
pub fn fill(y: &Tensor, value: Scalar) -> Result<()> {
    crate::dispatch_all!(y.dtype(), "fill_", T => {
        let value: T = value.to();
        apply_into(y, &[y], Run::new(&map::loop1(move |_: T| value)));
        Ok(())
    })
}

impl Tensor {
    /// Copies the elements of `x`, which must broadcast to this shape, into this memory, converting the dtype. Not recorded.
    pub fn write(&self, x: &Tensor) -> Result<()> {
        x.check_saved()?;
        let shape: Shape = self.shape().into();
        if broadcast_shapes("copy_", &shape, x.shape())? != shape {
            return Err(Error::Broadcast { op: "copy_", lhs: shape.to_vec(), rhs: x.shape().to_vec() });
        }
        // Overlapping source and target would read what was just written.
        let same = self.storage().same(x.storage());
        if same && self.layout() == x.layout() && self.dtype() == x.dtype() {
            return Ok(());
        }
        if same {
            return self.write(&crate::tape::without_recording(|| x.copied())?);
        }
        if self.write_transposed(x) {
            return Ok(());
        }
        match (x.dtype().is_complex(), self.dtype().is_complex()) {
            // The loops of the parts do for complex numbers.
            (true, true) => return self.real_pairs().write(&x.real_pairs()),
            (true, false) if self.dtype() == DType::Bool => return self.write(&x.is_zero()?.logical_not()?),
            (true, false) => return self.write(&x.part(0)),
            (false, true) => {
                self.part(1).fill(Scalar::Int(0))?;
                return self.part(0).write(x);
            }
            (false, false) => {}
        }
        crate::dispatch_ordered!(x.dtype(), "copy_", T => crate::dispatch_ordered!(self.dtype(), "copy_", U => {
            apply_into(self, &[x], Run::new(&map::loop1(|v: T| v.cast::<U>())));
            Ok(())
        }))
    }

    /// Zeros with this shape and dtype, off the tape.
    pub(crate) fn as_zeros(&self) -> Result<Tensor> {
        Tensor::zeroed("zeros_like", self.shape(), self.dtype())
    }

    /// A copy in memory of its own, off the tape: dense strides are kept, others become contiguous.
    pub(crate) fn copied(&self) -> Result<Tensor> {
        let strides = if self.layout().is_dense() { self.layout().strides.clone() } else { strides_like(self.shape(), &[self]) };
        let y = self.copied_in(strides)?;
        batch_order::note(&y, &[self]);
        Ok(y)
    }

    /// This tensor off the tape in a dtype that large loops are compiled for: narrow integers as int64, complex64 as complex128,
    /// whose results are the same but for the width.
    pub(crate) fn wide(&self) -> Result<Cow<'_, Tensor>> {
        let wide = match self.dtype() {
            DType::U8 | DType::I8 | DType::I16 | DType::I32 => DType::I64,
            DType::C64 => DType::C128,
            _ => return Ok(Cow::Borrowed(self)),
        };
        self.detached_read()?.to_dtype(wide).map(Cow::Owned)
    }

    /// This tensor as a float, real or complex: integers become the default float.
    pub(crate) fn to_float(&self) -> Result<Cow<'_, Tensor>> {
        self.as_dtype(if self.dtype().is_inexact() { self.dtype() } else { default_dtype() })
    }

    /// This tensor in another dtype, borrowed if it has it already.
    pub(crate) fn as_dtype(&self, dtype: DType) -> Result<Cow<'_, Tensor>> {
        if self.dtype() == dtype { Ok(Cow::Borrowed(self)) } else { self.to_dtype(dtype).map(Cow::Owned) }
    }

    /// The same for an operand that rules may save: torch saves the one before the conversion.
    pub(crate) fn as_operand(&self, dtype: DType) -> Result<Cow<'_, Tensor>> {
        if self.dtype() == dtype {
            return Ok(Cow::Borrowed(self));
        }
        Ok(Cow::Owned(self.to_dtype(dtype)?.standing_in_for(self)))
    }

    /// This tensor in another dtype; itself if it has it already.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        let x = self;
        if x.dtype() == dtype && !x.is_number() {
            return Ok(x.clone());
        }
        if x.is_number() {
            return Tensor::from_scalar(x.scalar()?, dtype);
        }
        let strides = strides_like(x.shape(), &[x]);
        let y = Tensor::uninitialized_strided("to", x.shape(), strides, dtype)?;
        y.write(x)?;
        batch_order::note(&y, &[x]);
        let source = x.dtype();
        vjp!("to_copy", y, { x: |g| g.to_dtype(source) })
    }

    /// Whether an in-place result may be stored here: its kind must not be higher, and its shape the same.
    pub(crate) fn check_result_fits(&self, op: &'static str, result: &Tensor) -> Result<()> {
        if result.dtype().kind() > self.dtype().kind() {
            let name = |dtype: DType| dtype.type_word();
            return crate::runtime_error!(
                "{op}: result type {} can't be cast to the desired output type {}",
                name(result.dtype()),
                name(self.dtype())
            );
        }
        if broadcast_shapes(op, self.shape(), result.shape())?.as_slice() != self.shape() {
            return crate::runtime_error!(
                "{op}: output with shape {:?} doesn't match the broadcast shape {:?}",
                self.shape(),
                result.shape()
            );
        }
        Ok(())
    }
}

/// The dtype that operands promote to.
pub fn result_type(operands: &[&Tensor]) -> DType {
    if let [a, b] = operands
        && a.dtype() == b.dtype()
        && !(a.is_number() && b.is_number())
    {
        return a.dtype();
    }
    let mut promotion = Promotion::default();
    for x in operands {
        promotion.add(x.dtype(), x.rank(), x.is_number());
    }
    promotion.result(default_dtype())
}

/// The dtype that a tensor and Python numbers promote to.
pub fn result_type_with(x: &Tensor, numbers: impl IntoIterator<Item = Scalar>) -> DType {
    let mut promotion = Promotion::default();
    promotion.add(x.dtype(), x.rank(), x.is_number());
    numbers.into_iter().for_each(|number| promotion.add(number.dtype(DType::F64), 0, true));
    promotion.result(default_dtype())
}

/// Two operands in their common dtype.
pub fn promoted<'a>(a: &'a Tensor, b: &'a Tensor) -> Result<(Cow<'a, Tensor>, Cow<'a, Tensor>)> {
    let dtype = result_type(&[a, b]);
    Ok((a.as_operand(dtype)?, b.as_operand(dtype)?))
}

/// Two operands in their common dtype, integers as the default float.
pub fn promoted_float<'a>(a: &'a Tensor, b: &'a Tensor) -> Result<(Cow<'a, Tensor>, Cow<'a, Tensor>)> {
    let dtype = result_type(&[a, b]);
    let dtype = if dtype.is_inexact() { dtype } else { default_dtype() };
    Ok((a.as_operand(dtype)?, b.as_operand(dtype)?))
}
