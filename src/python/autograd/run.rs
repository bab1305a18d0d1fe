//! `backward` and `grad`: arguments, their checks, and the engine's answer.

use pyo3::exceptions::{PyFutureWarning, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{Borrowed, FromPyObject};

use super::node::PyNode;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::interpreter::Once;
use crate::layout::Shape;
use crate::tape::engine::{self, Options};
use crate::tape::level::check_outside;
use crate::tape::mode;
use crate::tensor::Tensor;

/// A tensor or a sequence of tensors.
pub struct Tensors(Vec<Tensor>);

/// The same as what is differentiated by.
pub struct Inputs(Vec<Tensor>);

impl Tensors {
    /// Just one.
    pub fn one(tensor: Tensor) -> Tensors {
        Tensors(vec![tensor])
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Tensors {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Tensors> {
        let wrong = |ob: &Bound<'py, PyAny>| match ob.get_type().name() {
            Ok(name) => PyTypeError::new_err(format!("expected a Tensor, got {name}")),
            Err(error) => error,
        };
        let one = |item: Bound<'py, PyAny>| tensor_or_edge(&item)?.ok_or_else(|| wrong(&item));
        each(&ob, wrong, one).map(Tensors)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Inputs {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Inputs> {
        let one = |item: Bound<'py, PyAny>| match tensor_or_edge(&item)? {
            Some(tensor) => Ok(tensor),
            None => {
                let text = format!("all inputs have to be Tensors or GradientEdges, but got {}", item.get_type().name()?);
                Err(PyRuntimeError::new_err(text))
            }
        };
        let wrong = |ob: &Bound<'py, PyAny>| PyTypeError::new_err(format!("expected tensors, got {}", ob.get_type()));
        each(&ob, wrong, one).map(Inputs)
    }
}

/// A tensor or a sequence of tensors and Nones.
pub struct Gradients(Vec<Option<Tensor>>);

impl<'a, 'py> FromPyObject<'a, 'py> for Gradients {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Gradients> {
        let wrong = |ob: &Bound<'py, PyAny>| match ob.get_type().name() {
            Ok(name) => PyTypeError::new_err(format!("gradients can be either Tensors or None, but got {name}")),
            Err(error) => error,
        };
        let one = |item: Bound<'py, PyAny>| {
            if item.is_none() { Ok(None) } else { tensor_or_edge(&item)?.ok_or_else(|| wrong(&item)).map(Some) }
        };
        each(&ob, wrong, one).map(Gradients)
    }
}

/// What `one` makes of a tensor or of a place on the tape, or of each item of a sequence.
fn each<'py, T>(
    ob: &Bound<'py, PyAny>,
    wrong: impl Fn(&Bound<'py, PyAny>) -> PyErr,
    one: impl Fn(Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    if tensor_or_edge(ob)?.is_some() {
        return Ok(vec![one(ob.clone())?]);
    }
    ob.try_iter().map_err(|_| wrong(ob))?.map(|item| one(item?)).collect()
}

fn tensor_or_edge(ob: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    match ob.cast::<Tensor>() {
        Ok(tensor) => Ok(Some(tensor.borrow().clone())),
        Err(_) => of_edge(ob),
    }
}

/// The place on the tape that a `GradientEdge` stands for; None for anything else.
///
/// One that the user made of a node gets zeros.
fn of_edge(ob: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    if !ob.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let Some(known) = ob.getattr_opt("_tensor")? else { return Ok(None) };
    if let Ok(tensor) = known.cast::<Tensor>() {
        return Ok(Some(tensor.borrow().clone()));
    }
    let (node, output) = (ob.getattr("node")?, ob.getattr("output_nr")?.extract::<usize>()?);
    let Ok(node) = node.cast::<PyNode>() else {
        let text = format!("GradientEdge's first object must be an autograd.graph.Node but got {}", node.get_type().name()?);
        return Err(PyRuntimeError::new_err(text));
    };
    let node = node.get();
    if let Some(leaf) = node.leaf(ob.py())? {
        return Ok(Some(leaf.cast::<Tensor>()?.borrow().clone()));
    }
    let Some(op) = node.op() else { return Ok(None) };
    if output >= op.outputs {
        return Err(PyRuntimeError::new_err(format!(
            "GradientEdge: output_nr {output} is out of range ({} has {} outputs)",
            op.name(),
            op.outputs
        )));
    }
    let (shape, dtype) = op.noted_output(output)?;
    let zeros = Tensor::from_scalar(Scalar::Float(0.0), dtype)?.expand_to("GradientEdge", &shape)?;
    Ok(Some(zeros.with_origin(op.clone(), output)))
}

/// Each output with the gradient to start from.
fn roots(outputs: Tensors, grads: Option<Gradients>) -> Result<Vec<(Tensor, Tensor)>> {
    let outputs = outputs.0;
    if let Some(Gradients(grads)) = &grads
        && grads.len() < outputs.len()
    {
        return crate::runtime_error!("got {} tensors and {} gradients", outputs.len(), grads.len());
    }
    let mut grads = grads.map_or_else(Vec::new, |grads| grads.0).into_iter();
    let mut roots = Vec::with_capacity(outputs.len());
    for (i, output) in outputs.into_iter().enumerate() {
        let grad = match grads.next().flatten() {
            Some(grad) if grad.shape() != output.shape() => {
                return crate::runtime_error!(
                    "Mismatch in shape: grad_output[{i}] has a shape of torch.Size({:?}) and output[{i}] has a shape of torch.Size({:?}).",
                    grad.shape(),
                    output.shape()
                );
            }
            Some(grad) if grad.dtype().is_complex() != output.dtype().is_complex() => {
                return crate::runtime_error!(
                    "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: \
                     grad_output[{i}] has a dtype of torch.{} and output[{i}] has a dtype of torch.{}.",
                    grad.dtype(),
                    output.dtype()
                );
            }
            Some(grad) => grad.to_dtype(output.dtype())?,
            None if output.requires_grad() && output.numel() != 1 => {
                return crate::runtime_error!("grad can be implicitly created only for scalar outputs");
            }
            None if output.dtype().is_complex() => {
                return crate::runtime_error!(
                    "grad can be implicitly created only for real scalar outputs but got torch.{}",
                    output.dtype()
                );
            }
            None => Tensor::from_scalar(Scalar::Float(1.0), output.dtype())?.expand_to("backward", output.shape())?,
        };
        roots.push((output, grad));
    }
    let is_root = |x: &Tensor| x.edge().is_some() && (mode::is_forward() || x.is_shown());
    if let Some(i) = roots.iter().position(|(output, _)| !is_root(output)) {
        return crate::runtime_error!("element {i} of tensors does not require grad and does not have a grad_fn");
    }
    Ok(roots)
}

/// Whether the input of this number is the place of a tensor on the tape, not a tensor.
fn is_edge(inputs: &Bound<'_, PyAny>, i: usize) -> PyResult<bool> {
    let is_place = |ob: &Bound<'_, PyAny>| Ok::<_, PyErr>(ob.is_instance_of::<PyTuple>() && ob.hasattr("_tensor")?);
    if inputs.is_instance_of::<Tensor>() || is_place(inputs)? {
        return Ok(!inputs.is_instance_of::<Tensor>());
    }
    inputs.get_item(i).map_or(Ok(false), |item| is_place(&item))
}

fn options(retain_graph: Option<bool>, create_graph: bool) -> Options {
    Options { retain_graph: retain_graph.unwrap_or(create_graph), create_graph }
}

/// Differentiates the sum of `tensors`, each times its gradient in `grad_tensors`, and adds the results to the `grad` of
/// the leaves.
///
/// See `Tensor.backward`.
#[pyfunction]
#[pyo3(signature = (tensors, grad_tensors=None, retain_graph=None, create_graph=false, grad_variables=None, inputs=None))]
pub fn backward(
    py: Python<'_>,
    tensors: Tensors,
    grad_tensors: Option<Gradients>,
    retain_graph: Option<bool>,
    create_graph: bool,
    grad_variables: Option<Gradients>,
    inputs: Option<Inputs>,
) -> PyResult<()> {
    check_outside(
        "backward() called inside a functorch transform. This is not supported, please use functorch.grad or functorch.vjp instead \
         or call backward() outside of functorch transforms.",
    )?;
    if grad_tensors.is_some() && grad_variables.is_some() {
        return Err(PyRuntimeError::new_err(
            "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only use `grad_tensors`.",
        ));
    }
    if inputs.as_ref().is_some_and(|inputs| inputs.0.is_empty()) {
        return Err(PyRuntimeError::new_err("`inputs` argument to `backward()` cannot be empty."));
    }
    if grad_variables.is_some() {
        let text = c"`grad_variables` is deprecated. Use `grad_tensors` instead.";
        PyErr::warn(py, &py.get_type::<PyFutureWarning>(), text, 1)?;
    }
    let roots = roots(tensors, grad_tensors.or(grad_variables))?;
    engine::backward(roots, inputs.as_ref().map(|inputs| inputs.0.as_slice()), options(retain_graph, create_graph))?;
    if create_graph { Ok(warn_of_cycle()?) } else { Ok(()) }
}

/// Warns, once, that gradients now lead back to the leaves that hold them.
fn warn_of_cycle() -> Result<()> {
    static CYCLE: Once = Once::new(
        c"Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient, which \
        keeps both. autograd.grad does not; here, reset the .grad fields of the parameters to None when they are used.",
    );
    CYCLE.warn()
}

/// The gradients of the sum of `outputs`, each times its gradient in `grad_outputs`, with respect to `inputs`.
///
/// No `grad` is touched. An input that the outputs do not depend on is an error unless `allow_unused`, which gives None
/// for it; `materialize_grads` gives zeros. `retain_graph` and `create_graph` as for `Tensor.backward`.
///
/// With `is_grads_batched`, `grad_outputs` have a further dim in front, and so have the results: one for each gradient.
/// `inputs` may be a dict; then the results are one with the same keys.
///
/// Raises: RuntimeError as `Tensor.backward` does.
#[pyfunction]
#[pyo3(signature = (outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=false, only_inputs=true,
                    allow_unused=None, is_grads_batched=false, materialize_grads=false))]
#[allow(clippy::too_many_arguments)]
pub fn grad<'py>(
    py: Python<'py>,
    outputs: Tensors,
    inputs: &Bound<'py, PyAny>,
    grad_outputs: Option<Gradients>,
    retain_graph: Option<bool>,
    create_graph: bool,
    only_inputs: bool,
    allow_unused: Option<bool>,
    is_grads_batched: bool,
    materialize_grads: bool,
) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(named) = inputs.cast_exact::<PyDict>() {
        let tensors = named.values();
        let grads = grad(
            py,
            outputs,
            tensors.as_any(),
            grad_outputs,
            retain_graph,
            create_graph,
            only_inputs,
            allow_unused,
            is_grads_batched,
            materialize_grads,
        )?;
        let answer = PyDict::new(py);
        for (name, grad) in named.keys().iter().zip(grads.try_iter()?) {
            answer.set_item(name, grad?)?;
        }
        return Ok(answer.into_any());
    }
    let given = inputs;
    let inputs: Inputs = inputs.extract()?;
    if !only_inputs {
        let text = c"only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other \
                     parts of the graph, please use torch.autograd.backward.";
        PyErr::warn(py, &py.get_type::<PyFutureWarning>(), text, 1)?;
    }
    if materialize_grads && allow_unused == Some(false) {
        return Err(PyValueError::new_err(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.",
        ));
    }
    if inputs.0.is_empty() {
        return Err(PyRuntimeError::new_err("`inputs` argument to `grad()` cannot be empty."));
    }
    let allow_unused = allow_unused.unwrap_or(materialize_grads);
    if is_grads_batched {
        let weights = grad_outputs.map_or_else(|| vec![None; outputs.0.len()], |weights| weights.0);
        let batched = py.import("ferrograd.autograd._batched")?.getattr("grad")?;
        let answer =
            batched.call1((outputs.0, inputs.0, weights, retain_graph, create_graph, allow_unused, materialize_grads))?;
        return Ok(answer);
    }
    let inputs = inputs.0;
    let roots = roots(outputs, grad_outputs)?;
    let grads = engine::grad(roots, &inputs, options(retain_graph, create_graph))?;
    if let Some(i) = grads.iter().position(Option::is_none)
        && !allow_unused
    {
        return Err(PyRuntimeError::new_err(format!(
            "The differentiated Tensor at index {i} appears to not have been used in the graph. \
             Set allow_unused=True if this is the desired behavior."
        )));
    }
    let zeros = |x: &Tensor| -> Result<Tensor> {
        let shape: Shape = x.shape().into();
        let zero = Tensor::from_scalar(Scalar::Float(0.0), x.dtype())?.expand_to("grad", &shape)?;
        zero.copied()
    };
    let mut out = Vec::with_capacity(grads.len());
    for (i, (grad, x)) in grads.into_iter().zip(&inputs).enumerate() {
        out.push(match grad {
            None if materialize_grads && is_edge(given, i)? => {
                let text = "materialize_grads cannot be used when the given input is a GradientEdge";
                return Err(PyRuntimeError::new_err(text));
            }
            None if materialize_grads => {
                let zeros = zeros(x)?;
                zeros.set_requires_grad_flag(create_graph, false)?;
                Some(zeros)
            }
            grad => grad.map(|grad| grad.detached_unless(create_graph || mode::follows_tangents())),
        });
    }
    Ok(PyTuple::new(py, out)?.into_any())
}
