//! Random numbers in tensors: which memory is filled in which order, and with what. The streams are in `random/`.
//!
//! Draws go along the memory, not along the indices, as in torch: a transposed tensor gets the transposed numbers.

use std::sync::Arc;

use super::arguments::MemoryFormat;
use super::samples::{self, Order};
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Error, Result};
use crate::fork::Mutex;
use crate::kernels::without_interpreter;
use crate::random::{self, Generator, Real};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::sample::made_of;
use crate::tape::view::{check_places, in_place};
use crate::tensor::Tensor;
use crate::vjp;

/// Where random numbers come from.
#[derive(Clone, Default)]
pub enum Source {
    /// The generator of the process.
    #[default]
    Default,
    /// One of the user's.
    Own(Arc<Mutex<Generator>>),
}

impl Source {
    /// Runs something with the generator, which nobody else uses meanwhile.
    pub fn with<R>(&self, body: impl FnOnce(&mut Generator) -> R) -> R {
        let generator = match self {
            Source::Default => random::default_generator(),
            Source::Own(generator) => generator,
        };
        body(&mut generator.lock())
    }
}

/// Calls `put` with the address of each element, along the memory.
///
/// # Safety
/// The caller holds the right to write to `x` until this returns.
unsafe fn along_memory(x: &Tensor, put: &mut dyn FnMut(*mut u8)) {
    let mut dims: Vec<(usize, isize)> =
        x.shape().iter().copied().zip(x.strides().iter().copied()).filter(|&(size, _)| size != 1).collect();
    dims.sort_by_key(|&(_, stride)| -stride);
    let mut index = vec![0usize; dims.len()];
    let mut place = 0isize;
    for _ in 0..x.numel() {
        put(x.byte_ptr().wrapping_offset(place * x.dtype().size() as isize));
        for (i, &(size, stride)) in index.iter_mut().zip(&dims).rev() {
            *i += 1;
            place += stride;
            if *i < size {
                break;
            }
            place -= stride * size as isize;
            *i = 0;
        }
    }
}

/// Fills `x` with what `one` draws, of which `op` and the parameters say all.
fn draw<T: Element>(
    op: &'static str,
    parameters: [u64; 2],
    x: &Tensor,
    source: &Source,
    mut one: impl FnMut(&mut Generator) -> T + Send,
) -> Result<()> {
    // SAFETY: places of elements, which have this dtype.
    draw_to_places(op, parameters, x, source, &mut |rng, place| unsafe { place.cast::<T>().write_unaligned(one(rng)) })
}

fn draw_to_places(
    op: &'static str,
    parameters: [u64; 2],
    x: &Tensor,
    source: &Source,
    draw: &mut (dyn FnMut(&mut Generator, *mut u8) + Send),
) -> Result<()> {
    samples::fill(op, parameters, x, &mut |x| {
        let _access = Access::new(&[], &[x.storage()]);
        // SAFETY: x is locked for writing.
        without_interpreter(x.numel(), || source.with(|rng| unsafe { along_memory(x, &mut |place| draw(rng, place)) }));
        Ok(())
    })
}

/// The same by slices if the elements have no gaps between them, else one by one.
pub(super) fn draw_slice<T: Element>(
    op: &'static str,
    parameters: [u64; 2],
    x: &Tensor,
    source: &Source,
    bulk: impl Fn(&mut Generator, &mut [T]) + Sync,
    one: impl FnMut(&mut Generator) -> T + Send,
) -> Result<()> {
    if !x.layout().is_dense() || x.numel() == 0 {
        return draw(op, parameters, x, source, one);
    }
    samples::fill(op, parameters, x, &mut |x| {
        let _access = Access::new(&[], &[x.storage()]);
        without_interpreter(x.numel(), || {
            // SAFETY: without gaps the elements are as many as the slice's, from the first in memory on; they are locked.
            let out = unsafe { std::slice::from_raw_parts_mut(x.ptr::<T>(), x.numel()) };
            source.with(|rng| bulk(rng, out));
        });
        Ok(())
    })
}

/// A tensor like `x`, contiguous, of what `one` draws given each of its values, which say how much is drawn.
pub(super) fn draw_from<T: Element>(
    op: &'static str,
    x: &Tensor,
    source: &Source,
    one: impl Fn(&mut Generator, T) -> T + Sync,
) -> Result<Tensor> {
    samples::with_values(op, &x.detached(false), &mut |x| {
        let mut drawn = x.to_vec::<T>()?;
        without_interpreter(drawn.len(), || source.with(|rng| drawn.iter_mut().for_each(|value| *value = one(rng, *value))));
        Tensor::from_slice(x.shape(), &drawn)
    })
}

/// Two parameters of a distribution, to be compared.
pub(super) fn bits(a: f64, b: f64) -> [u64; 2] {
    [a.to_bits(), b.to_bits()]
}

/// The bounds of random integers that a float of so many digits is to hold, moved inwards past what rounds to beyond them.
fn within(low: i64, high: i64, digits: u32, round: impl Fn(i64) -> i64) -> (i64, i64) {
    // The distance of floats of the size of v.
    let gap = |v: i64| 1i64 << (v.unsigned_abs().max(1).ilog2() + 1).saturating_sub(digits);
    let (after, last) = (low.wrapping_add(1), high.wrapping_sub(1));
    // What rounds to 2^63, which is no integer here, stays.
    let (first_float, last_float) = (round(after), round(last));
    (
        if first_float < low { first_float.wrapping_add(gap(after)) } else { low },
        if last_float >= high && last_float != i64::MAX { last_float.wrapping_sub(gap(last)) } else { high },
    )
}

fn not_for(op: &'static str, dtype: DType) -> Error {
    Error::NotImplemented(format!("{op}: not implemented for dtype {dtype}, expected a floating-point dtype"))
}

/// Runs a closure for a float dtype with `$T` bound to the element type.
macro_rules! for_floats {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        if $dtype.is_float() { $crate::dispatch_floats!($dtype, $op, $T => $body) } else { Err(not_for($op, $dtype)) }
    };
}

impl Tensor {
    /// Uniform numbers from `[from, to)` into this memory. Not recorded.
    pub fn fill_uniform(&self, op: &'static str, from: f64, to: f64, source: &Source) -> Result<()> {
        if self.dtype().is_complex() {
            return self.real_pairs().fill_uniform(op, from, to, source);
        }
        for_floats!(op, self.dtype(), T => {
            let limit = if self.dtype() == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
            for (name, value) in [("from", from), ("to", to)] {
                if value.is_nan() || value.abs() > limit {
                    return runtime_error!("{op}: {name} is out of bounds for {}: {value}", self.dtype());
                }
            }
            if from > to {
                return runtime_error!("{op} expects to return a [from, to) range, but found from={from} > to={to}");
            }
            if to - from > limit {
                return runtime_error!("{op} expects to-from <= {limit:e}, but found to={to} and from={from}");
            }
            let one = move |rng: &mut Generator| rng.uniform(<T as Real>::from_f64(from), <T as Real>::from_f64(to));
            draw_slice("uniform", bits(from, to), self, source, |rng, out: &mut [T]| random::uniform(rng, out, from, to), one)
        })
    }

    /// Normal numbers into this memory; `contiguous` says by which of torch's two ways. Not recorded.
    pub fn fill_normal(&self, op: &'static str, mean: f64, std: f64, contiguous: bool, source: &Source) -> Result<()> {
        if std.is_nan() || std < 0.0 {
            return runtime_error!("normal expects std >= 0.0, but found std {std}");
        }
        if self.dtype().is_complex() {
            // Each part has half of the variance.
            return self.real_pairs().fill_normal(op, mean, std / 2f64.sqrt(), contiguous, source);
        }
        for_floats!(op, self.dtype(), T => {
            let one = move |rng: &mut Generator| <T as Real>::from_f64(rng.normal(mean, std));
            if contiguous {
                draw_slice("normal", bits(mean, std), self, source, |rng, out: &mut [T]| random::normal(rng, out, mean, std), one)
            } else {
                draw("normal one by one", bits(mean, std), self, source, one)
            }
        })
    }

    /// Integers from `low` up to but not including `high` into this memory. Not recorded.
    pub fn fill_integers(&self, low: i64, high: i64, source: &Source) -> Result<()> {
        self.only_real_for("random_")?;
        let (low, high) = match self.dtype() {
            DType::F32 => within(low, high, f32::MANTISSA_DIGITS, |v| v as f32 as i64),
            DType::F64 => within(low, high, f64::MANTISSA_DIGITS, |v| v as f64 as i64),
            _ => (low, high),
        };
        if low >= high {
            return runtime_error!("random_ expects 'from' to be less than 'to', but got from={low} >= to={high}");
        }
        for (name, value) in [("from", low), ("to - 1", high - 1)] {
            let fits =
                if self.dtype() == DType::Bool { (0..=1).contains(&value) } else { value >= 0 || self.dtype() != DType::U8 };
            if !fits || !Scalar::Int(value).fits(self.dtype()) {
                return runtime_error!("{name} is out of bounds for {}", self.dtype());
            }
        }
        crate::dispatch_ordered!(self.dtype(), "random_", T => draw("random_", [low as u64, high as u64], self, source, |rng| T::from_i64(rng.random_range(low, high))))
    }

    /// Integers from `low` on, up to the largest that the dtype can count to without gaps, into this memory. Not recorded.
    fn fill_integers_from(&self, low: i64, source: &Source) -> Result<()> {
        let last = match self.only_real_for("random_")?.dtype() {
            DType::F32 => 1 << f32::MANTISSA_DIGITS,
            DType::F64 => 1 << f64::MANTISSA_DIGITS,
            DType::Bool => 1,
            DType::U8 => u8::MAX as i64,
            DType::I8 => i8::MAX as i64,
            DType::I16 => i16::MAX as i64,
            DType::I32 => i32::MAX as i64,
            DType::I64 => i64::MAX,
            got @ (DType::C64 | DType::C128) => {
                return Err(Error::DType { op: "random_", got, expected: "the real dtypes".into() });
            }
        };
        let in_order = if self.dtype().is_float() { low < last } else { low <= last };
        if !in_order {
            return runtime_error!(
                "random_ expects 'from' to be less than or equal to 'to_inc', but got from={low} > to_inc={last}"
            );
        }
        if !Scalar::Int(low).fits(self.dtype()) || (low < 0 && matches!(self.dtype(), DType::Bool | DType::U8)) {
            return runtime_error!("from is out of bounds for {}", self.dtype());
        }
        // The end may wrap: the generator counts modulo 2^64.
        let end = last.wrapping_add(1);
        crate::dispatch_ordered!(self.dtype(), "random_", T => draw("random_", [low as u64, end as u64], self, source, |rng| T::from_i64(rng.random_range(low, end))))
    }

    /// Whole numbers over the full range of the dtype into this memory. Not recorded.
    fn fill_whole(&self, source: &Source) -> Result<()> {
        if self.dtype() == DType::Bool {
            return draw("random_ of all", [0; 2], self, source, |rng| crate::dtype::Bool::from(rng.random32() & 1 == 1));
        }
        crate::dispatch_reals!(self.dtype(), "random_", T => draw("random_ of all", [0; 2], self, source, <T as random::Whole>::random_full))
    }

    /// Zeros and ones into this memory, ones with probability `p`. Not recorded.
    pub fn fill_bernoulli(&self, p: f64, source: &Source) -> Result<()> {
        if !(0.0..=1.0).contains(&p) {
            return runtime_error!("bernoulli_ expects p to be in [0, 1], but got p={p}");
        }
        crate::dispatch_ordered!(self.dtype(), "bernoulli_", T => draw("bernoulli_", bits(p, 0.0), self, source, |rng| T::from_i64(rng.bernoulli(p) as i64)))
    }

    /// Zeros and ones into this memory, ones with the probabilities in `p`. Not recorded.
    fn fill_bernoulli_from(&self, p: &Tensor, source: &Source) -> Result<()> {
        let p = p.detached(false).expand_to("bernoulli_", self.shape())?;
        for_floats!("bernoulli", p.dtype(), P => {
            let inside = p.to_vec::<P>()?.iter().all(|p| (0.0..=1.0).contains(p));
            if !inside {
                return runtime_error!("bernoulli: expected all probabilities to be between 0 and 1");
            }
            let uniform = self.empty_like(p.dtype(), MemoryFormat::Preserve)?;
            draw("bernoulli", [0; 2], &uniform, source, |rng| rng.rand::<P>())?;
            self.write(&uniform.lt((&p).into())?)
        })
    }

    /// Numbers of a distribution of one value at a time into this memory. Not recorded.
    fn fill_each(
        &self,
        op: &'static str,
        parameters: [u64; 2],
        source: &Source,
        mut one: impl FnMut(&mut Generator) -> f64 + Send,
    ) -> Result<()> {
        for_floats!(op, self.dtype(), T => draw(op, parameters, self, source, |rng| <T as Real>::from_f64(one(rng))))
    }

    /// Runs `fill` on this memory, or on a copy of the same order that then replaces it on the tape.
    fn random_in_place(&self, op: &'static str, node: &'static str, fill: impl FnOnce(&Tensor) -> Result<()>) -> Result<()> {
        samples::check_in_place(op, self, None)?;
        self.filled_in_place(op, node, None, fill)
    }

    /// The same after the check that there is room.
    fn filled_in_place(
        &self,
        op: &'static str,
        node: &'static str,
        parameter: Option<&Tensor>,
        fill: impl FnOnce(&Tensor) -> Result<()>,
    ) -> Result<()> {
        // Numbers are drawn in another order than torch's loops have for places that coincide.
        check_places(self)?;
        in_place(op, self, parameter.is_some_and(Tensor::requires_grad), |x| {
            let y = if samples::is_of_same(x) {
                // What is the same for all samples lies in memory of its own.
                Tensor::uninitialized(op, x.shape(), x.dtype())?
            } else if x.is_reusable() {
                x.with_layout(x.layout().clone())
            } else {
                x.empty_like(x.dtype(), MemoryFormat::Preserve)?
            };
            fill(&y)?;
            match parameter {
                Some(p) => vjp!(node, y, { x: |g| g.as_zeros(), p: |g| g.as_zeros() }),
                None => vjp!(node, y, { x: |g| g.as_zeros() }),
            }
        })
    }

    /// `uniform_`, for Rust callers.
    pub fn uniform_in_place(&self, from: f64, to: f64, source: &Source) -> Result<()> {
        self.random_in_place("uniform_", "uniform", |y| y.fill_uniform("uniform_", from, to, source))
    }

    /// `normal_`, for Rust callers.
    pub fn normal_in_place(&self, mean: f64, std: f64, source: &Source) -> Result<()> {
        let contiguous = samples::is_contiguous(self) || samples::is_of_same(self);
        self.random_in_place("normal_", "normal", |y| y.fill_normal("normal_", mean, std, contiguous, source))
    }

    /// `random_`, for Rust callers: over the full range without bounds, up to the largest value without an upper one.
    pub fn random_in_place_between(&self, low: Option<i64>, high: Option<i64>, source: &Source) -> Result<()> {
        let name = match (low, high) {
            (Some(_), _) => "random",
            (None, Some(_)) => "random.1",
            (None, None) => "random.2",
        };
        self.random_in_place("random_", name, |y| match (low, high) {
            (None, None) => y.fill_whole(source),
            (Some(low), None) => y.fill_integers_from(low, source),
            (low, Some(high)) => y.fill_integers(low.unwrap_or(0), high, source),
        })
    }

    /// `bernoulli_` with one probability, for Rust callers.
    pub fn bernoulli_in_place(&self, p: f64, source: &Source) -> Result<()> {
        self.random_in_place("bernoulli_", "bernoulli.2", |y| y.fill_bernoulli(p, source))
    }

    /// `bernoulli_` with a tensor of probabilities, for Rust callers.
    pub fn bernoulli_from_in_place(&self, p: &Tensor, source: &Source) -> Result<()> {
        samples::check_in_place("bernoulli_", self, Some(p))?;
        self.filled_in_place("bernoulli_", "bernoulli.1", Some(p), |y| y.fill_bernoulli_from(p, source))
    }

    /// `exponential_`, for Rust callers.
    pub fn exponential_in_place(&self, rate: f64, source: &Source) -> Result<()> {
        if !self.dtype().is_float() {
            return runtime_error!("exponential_: dtype must be a floating point type, got {}", self.dtype());
        }
        if rate.is_nan() || rate <= 0.0 {
            return runtime_error!("exponential_ expects lambda > 0.0, but found lambda={rate}");
        }
        self.random_in_place("exponential_", "exponential", |y| {
            y.fill_each("exponential_", bits(rate, 0.0), source, |rng| rng.exponential(rate))
        })
    }

    /// `cauchy_`, for Rust callers.
    pub fn cauchy_in_place(&self, median: f64, sigma: f64, source: &Source) -> Result<()> {
        if !self.dtype().is_float() {
            return runtime_error!("cauchy_: dtype must be a floating point type, got {}", self.dtype());
        }
        if sigma.is_nan() || sigma <= 0.0 {
            return runtime_error!("cauchy_ expects sigma > 0.0, but found sigma={sigma}");
        }
        self.random_in_place("cauchy_", "cauchy", |y| {
            y.fill_each("cauchy_", bits(median, sigma), source, |rng| rng.cauchy(median, sigma))
        })
    }

    /// `geometric_`, for Rust callers.
    pub fn geometric_in_place(&self, p: f64, source: &Source) -> Result<()> {
        if !(p > 0.0 && p < 1.0) {
            return runtime_error!("geometric_ expects p to be in (0, 1), but got p={p}");
        }
        if self.dtype() == DType::Bool {
            return Err(Error::NotImplemented("geometric_: not implemented for dtype bool".into()));
        }
        self.random_in_place("geometric_", "geometric", |y| {
            crate::dispatch_reals!(y.dtype(), "geometric_", T => draw("geometric_", bits(p, 0.0), y, source, |rng| <T as Element>::from_f64(rng.geometric(p))))
        })
    }

    /// `log_normal_`, for Rust callers.
    pub fn log_normal_in_place(&self, mean: f64, std: f64, source: &Source) -> Result<()> {
        if std.is_nan() || std <= 0.0 {
            return runtime_error!("log_normal_ expects std > 0.0, but found std={std}");
        }
        self.random_in_place("log_normal_", "log_normal", |y| {
            y.fill_each("log_normal_", bits(mean, std), source, |rng| rng.log_normal(mean, std))
        })
    }

    /// Zeros and ones, ones with the probabilities in this tensor.
    pub fn bernoulli_drawn(&self, source: &Source) -> Result<Tensor> {
        let x = self;
        samples::check_parameters(&[x])?;
        let y = Tensor::uninitialized("bernoulli", x.shape(), x.dtype())?;
        y.fill_bernoulli_from(x, source)?;
        samples::note_drawn(&y);
        vjp!("bernoulli", y, { x: |g| g * 0.0 })
    }

    /// Zeros and ones in the shape of this tensor, ones with probability `p`.
    pub fn bernoulli_alike(&self, p: f64, source: &Source) -> Result<Tensor> {
        let x = self;
        samples::check_parameters(&[x])?;
        let y = Tensor::uninitialized("bernoulli", x.shape(), x.dtype())?;
        y.fill_bernoulli(p, source)?;
        vjp!("=NotImplemented", y, { x: |_g| Err(Error::NoDerivative { op: "bernoulli" }) })
    }

    /// Poisson numbers of the rates in this tensor.
    pub fn poisson_drawn(&self, source: &Source) -> Result<Tensor> {
        let x = self;
        samples::check_parameters(&[x])?;
        let y = for_floats!("poisson", x.dtype(), T => {
            if x.to_vec::<T>()?.iter().any(|rate| rate.is_nan() || *rate < 0.0) {
                return runtime_error!("invalid Poisson rate, expected rate to be non-negative");
            }
            draw_from("poisson", x, source, |rng, rate: T| <T as Real>::from_f64(rng.poisson(Element::to_f64(rate))))
        })?;
        vjp!("poisson", y, { x: |g| g * 0.0 })
    }

    /// Normal numbers whose means, standard deviations or both are tensors.
    pub fn normal_of(mean: &Tensor, std: &Tensor, source: &Source) -> Result<Tensor> {
        if std.dtype().is_complex() {
            return runtime_error!("normal expects standard deviation to be non-complex");
        }
        samples::check_parameters(&[mean, std])?;
        let shape = crate::layout::broadcast_shapes("normal", mean.shape(), std.shape())?;
        let dtype = if mean.is_number() { std.dtype() } else { mean.dtype() };
        let y = Tensor::uninitialized("normal", &shape, dtype)?;
        if std.is_number() {
            y.fill_normal("normal", 0.0, std.scalar()?.to_f64(), true, source)?;
        } else {
            if std.to_vec::<f64>()?.iter().any(|std| std.is_nan() || *std < 0.0) {
                return runtime_error!("normal expects all elements of std >= 0.0");
            }
            y.fill_normal("normal", 0.0, 1.0, true, source)?;
        }
        let off_tape = |x: &Tensor| if x.is_number() { x.clone() } else { x.detached(false) };
        let scaled = if std.is_number() { y } else { y.mul(&off_tape(std))? };
        let y = scaled.add(&off_tape(mean))?.to_dtype(dtype)?;
        let name = match (mean.is_number(), std.is_number()) {
            (false, true) => "normal.1",
            (true, false) => "normal.2",
            _ => "normal.3",
        };
        vjp!(name, y, { mean: |g| g.as_zeros(), std: |g| g.as_zeros() })
    }

    /// Exponential numbers, drawn in the order of the memory of a tensor like this one. Torch shows a batch of rows as a matrix before.
    fn exponential_like_rows(&self, source: &Source) -> Result<Tensor> {
        let y = match samples::are_rows_apart(self) {
            true => Tensor::uninitialized("multinomial", self.shape(), self.dtype())?,
            false => self.empty_like(self.dtype(), MemoryFormat::Preserve)?,
        };
        y.fill_each("multinomial", [0; 2], source, |rng| rng.exponential(1.0))?;
        Ok(y)
    }

    /// Numbers of categories drawn with the probabilities in each row.
    pub fn multinomial_drawn(&self, samples: i64, replacement: bool, source: &Source) -> Result<Tensor> {
        samples::check_parameters(&[self])?;
        if !matches!(self.rank(), 1 | 2) {
            return runtime_error!("multinomial: prob_dist must be 1 or 2 dim, got {} dims", self.rank());
        }
        if !self.dtype().is_float() {
            return runtime_error!("multinomial only supports floating-point dtypes for input, got: {}", self.dtype());
        }
        if samples <= 0 {
            return runtime_error!("multinomial: cannot sample n_sample <= 0 samples");
        }
        let categories = self.shape()[self.rank() - 1];
        if samples as usize > categories && !(replacement && categories > 0) {
            return runtime_error!("multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement");
        }
        let drawn: Vec<i64> = crate::dispatch_floats!(self.dtype(), "multinomial", T => {
            let probs = self.to_vec::<T>()?;
            if replacement && samples > 1 {
                samples::with("multinomial", Order::Together, self, source, |rng| {
                    random::with_replacement(rng, &probs, categories, samples as usize).map_err(Error::Runtime)
                })
            } else {
                random::check_rows(&probs, categories).map_err(Error::Runtime)?;
                let q = self.exponential_like_rows(source)?.to_vec::<T>()?;
                Ok(random::without_replacement(&probs, &q, categories, samples as usize))
            }
        })?;
        let _of = made_of([self]);
        let y = match self.rank() {
            1 => Tensor::from_slice(&[samples as usize], &drawn),
            _ => Tensor::from_slice(&[self.shape()[0], samples as usize], &drawn),
        }?;
        samples::note_drawn(&y);
        Ok(y)
    }

    /// The numbers from 0 to `n - 1` in random order.
    pub fn randperm(n: usize, dtype: DType, source: &Source) -> Result<Tensor> {
        let largest = Scalar::Int(n.saturating_sub(1) as i64);
        let exact = match dtype {
            DType::F32 => n <= 1 << 24,
            DType::F64 => n <= 1 << 53,
            got @ (DType::Bool | DType::C64 | DType::C128) => {
                return Err(Error::DType { op: "randperm", got, expected: "the real numbers".into() });
            }
            _ => largest.fits(dtype),
        };
        if !exact {
            return runtime_error!("randperm: value {largest} cannot be converted to type {dtype} without overflow");
        }
        crate::layout::checked_numel("randperm", &[n])?;
        crate::storage::check_room::<i64>(n)?;
        let y = Tensor::uninitialized("randperm", &[n], DType::I64)?;
        let order = samples::with("randperm", Order::Apart, &y, source, |rng| Ok(random::randperm(rng, n)))?;
        let order = Tensor::from_slice(&[n], &order)?.to_dtype(dtype)?;
        samples::note_drawn(&order);
        Ok(order)
    }
}
