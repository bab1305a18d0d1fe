//! Random numbers as Python sees them: generators, constructors and in-place draws. All take `generator`.

use std::sync::Arc;

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyTuple};
use pyo3::{Borrowed, FromPyObject};

use super::arguments::type_name;
use super::options::{Device, Options, shape_of};
use crate::dtype::{DType, Kind, Scalar};
use crate::error::Result;
use crate::fork::Mutex;
use crate::ops::arguments::{Dims, MemoryFormat, Operand, Whole};
use crate::ops::default_dtype;
use crate::ops::random::Source;
use crate::ops::samples;
use crate::random::Generator;
use crate::tensor::Tensor;

type Keywords<'a, 'py> = &'a Bound<'py, PyDict>;
type Object<'py> = PyResult<Bound<'py, PyAny>>;

/// A stream of random numbers: the same seed gives the same numbers as in torch.
#[pyclass(module = "ferrograd", name = "Generator", frozen)]
#[derive(Default)]
pub struct GeneratorObject(Source);

impl<'a, 'py> FromPyObject<'a, 'py> for Source {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Source> {
        match ob.cast::<GeneratorObject>() {
            Ok(generator) => Ok(generator.get().0.clone()),
            Err(_) => Err(PyTypeError::new_err(format!("expected a Generator, got {}", type_name(&ob)))),
        }
    }
}

/// The generator given, or that of the process.
fn source(generator: Option<&Bound<'_, GeneratorObject>>) -> Source {
    generator.map(|generator| generator.get().0.clone()).unwrap_or_default()
}

/// A seed from any integer of 64 bits; a negative one counts from the top.
fn seed_of(seed: &Bound<'_, PyAny>) -> PyResult<u64> {
    let seed = seed.py().get_type::<PyInt>().call1((seed,))?;
    let out_of_range = |_: PyErr| PyValueError::new_err("manual_seed: the seed does not fit in 64 bits");
    match seed.extract::<u64>() {
        Ok(seed) => Ok(seed),
        Err(_) => seed.extract::<i64>().map(|seed| seed as u64).map_err(out_of_range),
    }
}

#[pymethods]
impl GeneratorObject {
    #[new]
    #[pyo3(signature = (device=None))]
    fn new(device: Option<Device>) -> GeneratorObject {
        let _ = device;
        GeneratorObject(Source::Own(Arc::new(Mutex::new(Generator::default()))))
    }

    /// Starts over from a seed.
    fn manual_seed<'py>(slf: Bound<'py, Self>, seed: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let seed = seed_of(seed)?;
        slf.get().0.with(|rng| rng.manual_seed(seed));
        Ok(slf)
    }

    /// Starts over from a seed of the operating system, and returns it.
    fn seed(&self) -> u64 {
        self.0.with(Generator::seed)
    }

    /// The seed last given.
    fn initial_seed(&self) -> u64 {
        self.0.with(|rng| rng.initial_seed())
    }

    /// The state as a tensor of bytes.
    fn get_state(&self) -> PyResult<Tensor> {
        let state = self.0.with(|rng| rng.state());
        Ok(Tensor::from_slice(&[state.len()], &state)?)
    }

    /// Goes back to a state that `get_state` gave.
    fn set_state<'py>(slf: Bound<'py, Self>, new_state: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let wrong = || PyTypeError::new_err("RNG state must be a torch.ByteTensor");
        let state = new_state.cast::<Tensor>().map_err(|_| wrong())?.borrow().clone();
        if state.dtype() != DType::U8 {
            return Err(wrong());
        }
        let bytes = state.to_vec::<u8>()?;
        slf.get().0.with(|rng| rng.set_state(&bytes)).map_err(PyRuntimeError::new_err)?;
        Ok(slf)
    }

    /// Another generator at the same place of the same stream.
    fn clone_state(&self) -> GeneratorObject {
        let copy = self.0.with(|rng| rng.clone());
        GeneratorObject(Source::Own(Arc::new(Mutex::new(copy))))
    }

    /// Where the generator is: the CPU.
    #[getter]
    fn device(&self) -> Device {
        Device::CPU
    }

    fn __copy__(&self) -> GeneratorObject {
        self.clone_state()
    }

    fn __deepcopy__(&self, memo: &Bound<'_, PyAny>) -> GeneratorObject {
        let _ = memo;
        self.clone_state()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>, Vec<u8>)> {
        let state = slf.get().0.with(|rng| rng.state());
        Ok((slf.get_type().into_any(), PyTuple::empty(slf.py()), state))
    }

    fn __setstate__(&self, state: Vec<u8>) -> PyResult<()> {
        self.0.with(|rng| rng.set_state(&state)).map_err(PyRuntimeError::new_err)
    }
}

/// The generator of the process.
pub fn default_generator() -> GeneratorObject {
    GeneratorObject(Source::Default)
}

fn random<'py>(
    py: Python<'py>,
    options: Options<'py>,
    default: DType,
    make: impl FnOnce(DType, &Source) -> Result<Tensor>,
) -> Object<'py> {
    let source = source(options.generator.as_ref());
    options.build(py, default, |dtype| make(dtype, &source))
}

/// Uniform numbers from `[0, 1)`.
///
/// Source: torch's stream, bit for bit.
#[pyfunction]
#[pyo3(signature = (*size, **options))]
pub fn rand<'py>(size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("rand", options, &["size", "out", "generator"])?;
    let shape = options.shape(size)?;
    random(size.py(), options, default_dtype(), |dtype, source| {
        let y = Tensor::uninitialized("rand", &shape, dtype)?;
        y.fill_uniform("rand", 0.0, 1.0, source)?;
        Ok(y)
    })
}

/// Standard normal numbers.
///
/// Source: torch's stream, bit for bit; Box and Muller, A note on the generation of random normal deviates, 1958.
#[pyfunction]
#[pyo3(signature = (*size, **options))]
pub fn randn<'py>(size: &Bound<'py, PyTuple>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("randn", options, &["size", "out", "generator"])?;
    let shape = options.shape(size)?;
    random(size.py(), options, default_dtype(), |dtype, source| {
        let y = Tensor::uninitialized("randn", &shape, dtype)?;
        y.fill_normal("randn", 0.0, 1.0, true, source)?;
        Ok(y)
    })
}

fn random_like<'py>(
    op: &'static str,
    input: &Bound<'py, Tensor>,
    options: Option<Keywords<'_, 'py>>,
    fill: impl FnOnce(&Tensor, &Source) -> Result<()>,
) -> Object<'py> {
    let options = Options::parse(op, options, &["memory_format", "generator"])?;
    let x = input.borrow().clone();
    let format = options.memory_format.unwrap_or(MemoryFormat::Preserve);
    random(input.py(), options, x.dtype(), |dtype, source| {
        let y = x.empty_like(dtype, format)?;
        fill(&y, source)?;
        Ok(samples::drawn_like(&y))
    })
}

/// Uniform numbers from `[0, 1)`, of the shape, dtype and order in memory of `input`.
#[pyfunction]
#[pyo3(signature = (input, **options))]
pub fn rand_like<'py>(input: &Bound<'py, Tensor>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    random_like("rand_like", input, options, |y, source| y.fill_uniform("rand_like", 0.0, 1.0, source))
}

/// Standard normal numbers, of the shape, dtype and order in memory of `input`.
#[pyfunction]
#[pyo3(signature = (input, **options))]
pub fn randn_like<'py>(input: &Bound<'py, Tensor>, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    random_like("randn_like", input, options, |y, source| {
        y.fill_normal("randn_like", 0.0, 1.0, samples::is_contiguous(y), source)
    })
}

/// Integers from `low` (0) up to but not including `high`: `randint(high, size)`, `randint(low, high, size)`.
#[pyfunction]
#[pyo3(signature = (*args, low=None, high=None, **options))]
pub fn randint<'py>(
    args: &Bound<'py, PyTuple>,
    low: Option<i64>,
    high: Option<i64>,
    options: Option<Keywords<'_, 'py>>,
) -> Object<'py> {
    let options = Options::parse("randint", options, &["size", "out", "generator"])?;
    let mut items: Vec<Bound<'_, PyAny>> = args.iter().collect();
    let size: Dims = match (&options.size, items.last()) {
        (Some(size), _) => size.clone(),
        (None, Some(last)) if last.len().is_ok() => {
            let size = last.extract()?;
            items.pop();
            size
        }
        _ => return Err(PyTypeError::new_err("randint(): argument 'size' must be tuple of ints")),
    };
    let wrong = || PyTypeError::new_err("randint(): expected (high, size) or (low, high, size)");
    let mut bounds: Vec<i64> = items.iter().map(|item| bound(item)).collect::<PyResult<_>>()?;
    bounds.splice(0..0, low);
    bounds.extend(high);
    let (low, high) = match bounds[..] {
        [high] => (0, high),
        [low, high] => (low, high),
        _ => return Err(wrong()),
    };
    let shape = shape_of(&size)?;
    random(args.py(), options, DType::I64, |dtype, source| {
        let y = Tensor::uninitialized("randint", &shape, dtype)?;
        y.fill_integers(low, high, source)?;
        Ok(y)
    })
}

fn bound(ob: &Bound<'_, PyAny>) -> PyResult<i64> {
    if ob.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err("randint: a bound must be int, not bool"));
    }
    check_number(ob, true)?;
    ob.extract::<i64>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(ob.py()) {
            PyValueError::new_err("randint: a bound does not fit in 64 bits")
        } else {
            error
        }
    })
}

/// Integers from `low` (0) up to but not including `high`, of the shape, dtype and order in memory of `input`.
#[pyfunction]
#[pyo3(signature = (input, low, high=None, **options))]
pub fn randint_like<'py>(
    input: &Bound<'py, Tensor>,
    low: i64,
    high: Option<i64>,
    options: Option<Keywords<'_, 'py>>,
) -> Object<'py> {
    let (low, high) = high.map_or((0, low), |high| (low, high));
    random_like("randint_like", input, options, |y, source| y.fill_integers(low, high, source))
}

/// The numbers from 0 to `n - 1` in random order.
#[pyfunction]
#[pyo3(signature = (n, **options))]
pub fn randperm<'py>(py: Python<'py>, n: Whole, options: Option<Keywords<'_, 'py>>) -> Object<'py> {
    let options = Options::parse("randperm", options, &["out", "generator"])?;
    let n = n.0;
    if n < 0 {
        return Err(PyRuntimeError::new_err(format!("Trying to create tensor with negative dimension {n}: [{n}]")));
    }
    random(py, options, DType::I64, |dtype, source| Tensor::randperm(n as usize, dtype, source))
}

/// Normal numbers of given means and standard deviations: tensors, numbers or (with `size`) two numbers.
///
/// Raises: RuntimeError if a standard deviation is negative.
#[pyfunction]
#[pyo3(signature = (mean, std=Operand::Number(Scalar::Float(1.0)), size=None, **options))]
pub fn normal<'py>(
    py: Python<'py>,
    mean: Operand,
    std: Operand,
    size: Option<Dims>,
    options: Option<Keywords<'_, 'py>>,
) -> Object<'py> {
    let given = options;
    let options = Options::parse("normal", given, &["out", "generator"])?;
    // With a size, 0-d tensors are numbers.
    let number = |operand: Operand| match operand {
        Operand::Tensor(x) if size.is_some() && x.rank() == 0 && !x.requires_grad() => {
            samples::check_number(&x)?;
            x.scalar().map(Operand::Number)
        }
        other => Ok(other),
    };
    let (mean, std) = (number(mean)?, number(std)?);
    if [&mean, &std].iter().any(|operand| operand.number().is_some_and(|number| number.kind() == Kind::Complex)) {
        return Err(PyTypeError::new_err("normal(): mean and std must be tensors or real numbers, not complex"));
    }
    if let (Operand::Number(mean), Operand::Number(std)) = (&mean, &std) {
        let size = size.ok_or_else(|| PyTypeError::new_err("normal(): two numbers need a size"))?;
        let shape = shape_of(&size)?;
        let (mean, std) = (mean.to_f64(), std.to_f64());
        return random(py, options, default_dtype(), |dtype, source| {
            let y = Tensor::uninitialized("normal", &shape, dtype)?;
            y.fill_normal("normal", mean, std, true, source)?;
            Ok(y)
        });
    }
    if size.is_some() {
        return Err(PyTypeError::new_err("normal(): a size can only be given with two numbers"));
    }
    Options::parse_only("normal", given, &["out", "generator"])?;
    if let Some(out) = &options.out {
        [&mean, &std].iter().try_for_each(|operand| operand.check_overlap(&out.borrow()))?;
    }
    if matches!(&std, Operand::Tensor(std) if std.dtype().is_complex()) {
        return Err(PyRuntimeError::new_err("normal: expects the standard deviation to be non-complex"));
    }
    let y = Tensor::normal_of(&mean.tensor()?, &std.tensor()?, &source(options.generator.as_ref()))?;
    match &options.out {
        None => Ok(Bound::new(py, y)?.into_any()),
        Some(out) => {
            super::function::write_output("normal", out, &y, true)?;
            Ok(out.clone().into_any())
        }
    }
}

/// Starts the process's generator over from a seed, and returns it.
#[pyfunction]
pub fn manual_seed(seed: &Bound<'_, PyAny>) -> PyResult<GeneratorObject> {
    let seed = seed_of(seed)?;
    Source::Default.with(|rng| rng.manual_seed(seed));
    Ok(default_generator())
}

/// Starts the process's generator over from a seed of the operating system, and returns the seed.
#[pyfunction]
pub fn seed() -> u64 {
    Source::Default.with(Generator::seed)
}

/// The seed last given to the process's generator.
#[pyfunction]
pub fn initial_seed() -> u64 {
    Source::Default.with(|rng| rng.initial_seed())
}

/// The state of the process's generator as a tensor of bytes.
#[pyfunction]
pub fn get_rng_state() -> PyResult<Tensor> {
    default_generator().get_state()
}

/// Takes the process's generator back to a state that `get_rng_state` gave.
#[pyfunction]
pub fn set_rng_state(new_state: &Bound<'_, PyAny>) -> PyResult<()> {
    let generator = Bound::new(new_state.py(), default_generator())?;
    GeneratorObject::set_state(generator, new_state).map(drop)
}

/// A bound of `random_`.
#[derive(Clone, Copy)]
enum Limit {
    NotGiven,
    /// None: above, the largest number there is.
    Largest,
    Number(i64),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Limit {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Limit> {
        check_number(&ob, true)?;
        if ob.is_none() { Ok(Limit::Largest) } else { ob.extract().map(Limit::Number) }
    }
}

#[pymethods]
impl Tensor {
    /// Fills the tensor with integers: `random_()` over the range of the dtype, `random_(to)`, `random_(from, to)`; with None
    /// for `to` from `from` up to the largest number that the dtype can count to without gaps.
    #[pyo3(signature = (*limits, from=Limit::NotGiven, to=Limit::NotGiven, generator=None))]
    fn random_<'py>(
        slf: Bound<'py, Self>,
        limits: &Bound<'py, PyTuple>,
        from: Limit,
        to: Limit,
        generator: Option<Bound<'py, GeneratorObject>>,
    ) -> PyResult<Bound<'py, Self>> {
        use Limit::{Largest, NotGiven, Number};
        let limits: Vec<Limit> = limits.iter().map(|limit| limit.extract()).collect::<PyResult<_>>()?;
        let (low, high) = match (&limits[..], from, to) {
            ([], NotGiven, NotGiven) => (None, None),
            ([Number(to)], NotGiven, NotGiven) => (None, Some(*to)),
            ([], NotGiven, Number(to)) => (None, Some(to)),
            ([Number(from), to], NotGiven, NotGiven) => (Some(*from), to.number()),
            ([Number(from)], NotGiven, to @ (Number(_) | Largest)) => (Some(*from), to.number()),
            ([], Number(from), to @ (Number(_) | Largest)) => (Some(from), to.number()),
            _ => return Err(PyTypeError::new_err("random_(): expected nothing, `to`, or `from` and `to`")),
        };
        slf.borrow().random_in_place_between(low, high, &source(generator.as_ref()))?;
        Ok(slf)
    }
}

impl Limit {
    fn number(self) -> Option<i64> {
        if let Limit::Number(number) = self { Some(number) } else { None }
    }
}

/// In-place fills: `name_(signature)(arguments) |tensor, source| fill;`, of floats, each with a `generator` besides.
macro_rules! fills {
    ($($(#[$doc:meta])* $name:ident($($sig:tt)*)($($arg:ident),*) |$x:ident, $source:ident| $body:expr;)+) => {$(
        #[pymethods]
        impl Tensor {
            $(#[$doc])*
            #[pyo3(signature = ($($sig)*, *, generator=None))]
            fn $name<'py>(
                slf: Bound<'py, Self>,
                $(#[pyo3(from_py_with = real)] $arg: f64,)*
                generator: Option<Bound<'py, GeneratorObject>>,
            ) -> PyResult<Bound<'py, Self>> {
                let ($x, $source) = (slf.borrow().clone(), &source(generator.as_ref()));
                $body?;
                Ok(slf)
            }
        }
    )+};
}

fills! {
    /// Fills the tensor with uniform numbers from `[from, to)`.
    uniform_(from=0.0, to=1.0)(from, to) |x, source| x.uniform_in_place(from, to, source);
    /// Fills the tensor with normal numbers.
    normal_(mean=0.0, std=1.0)(mean, std) |x, source| x.normal_in_place(mean, std, source);
    /// Fills the tensor with exponential numbers of a rate.
    exponential_(lambd=1.0)(lambd) |x, source| x.exponential_in_place(lambd, source);
    /// Fills the tensor with numbers of the Cauchy distribution.
    cauchy_(median=0.0, sigma=1.0)(median, sigma) |x, source| x.cauchy_in_place(median, sigma, source);
    /// Fills the tensor with how many trials of probability `p` the first success takes.
    geometric_(p)(p) |x, source| x.geometric_in_place(p, source);
    /// Fills the tensor with exponentials of normal numbers.
    log_normal_(mean=1.0, std=2.0)(mean, std) |x, source| x.log_normal_in_place(mean, std, source);
}

/// A float, also as a 0-d tensor that needs no gradient.
fn real(ob: &Bound<'_, PyAny>) -> PyResult<f64> {
    check_number(ob, false)?;
    match ob.cast::<Tensor>().map(|x| x.borrow().clone()) {
        Ok(x) if x.rank() > 0 || x.requires_grad() => Err(PyTypeError::new_err("must be float, not Tensor")),
        _ => ob.extract(),
    }
}

/// Fails for a tensor that stands for a number, a whole one or any, but depends on a sample; see `samples::check_number`.
fn check_number(ob: &Bound<'_, PyAny>, whole: bool) -> PyResult<()> {
    let Ok(x) = ob.cast::<Tensor>() else { return Ok(()) };
    let x = x.borrow();
    if x.rank() == 0 && !x.requires_grad() && !(whole && x.dtype().is_inexact()) {
        samples::check_number(&x)?;
    }
    Ok(())
}

#[pymethods]
impl Tensor {
    /// Fills the tensor with zeros and ones, ones with probability `p`, a number or a tensor.
    #[pyo3(signature = (p=Operand::Number(Scalar::Float(0.5)), *, generator=None))]
    fn bernoulli_<'py>(
        slf: Bound<'py, Self>,
        p: Operand,
        generator: Option<Bound<'py, GeneratorObject>>,
    ) -> PyResult<Bound<'py, Self>> {
        let (x, source) = (slf.borrow().clone(), source(generator.as_ref()));
        match p {
            Operand::Number(p) => x.bernoulli_in_place(p.to_f64(), &source)?,
            Operand::Tensor(p) => x.bernoulli_from_in_place(&p, &source)?,
        }
        Ok(slf)
    }

    /// Zeros and ones, ones with the probabilities in this tensor, or with probability `p`.
    ///
    /// Derivative: 0.
    #[pyo3(signature = (p=None, *, generator=None))]
    fn bernoulli(&self, p: Option<Operand>, generator: Option<Bound<'_, GeneratorObject>>) -> PyResult<Tensor> {
        let source = source(generator.as_ref());
        let Some(p) = p else { return Ok(self.bernoulli_drawn(&source)?) };
        match p {
            Operand::Number(p) => Ok(self.bernoulli_alike(p.to_f64(), &source)?),
            Operand::Tensor(p) => {
                samples::check_number(&p)?;
                let y = self.empty_like(self.dtype(), MemoryFormat::Contiguous)?;
                y.bernoulli_from_in_place(&p, &source)?;
                Ok(y)
            }
        }
    }

    /// Numbers of categories, drawn with the probabilities in the last dim, which need not sum to 1.
    ///
    /// Shape: (n,) to (num_samples,), (m, n) to (m, num_samples).
    /// Raises: RuntimeError if a row has sum 0, a negative probability, or fewer categories than samples.
    #[pyo3(signature = (num_samples, replacement=false, *, generator=None))]
    fn multinomial(
        &self,
        num_samples: i64,
        replacement: bool,
        generator: Option<Bound<'_, GeneratorObject>>,
    ) -> PyResult<Tensor> {
        Ok(self.multinomial_drawn(num_samples, replacement, &source(generator.as_ref()))?)
    }
}

/// Poisson numbers of the rates in `input`.
///
/// Derivative: 0.
#[pyfunction]
#[pyo3(signature = (input, generator=None))]
pub fn poisson(input: &Bound<'_, Tensor>, generator: Option<Bound<'_, GeneratorObject>>) -> PyResult<Tensor> {
    let x = input.borrow().clone();
    Ok(x.poisson_drawn(&source(generator.as_ref()))?)
}
