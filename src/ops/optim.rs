//! The steps of optimizers over lists of parameters: checks, and one pass each; the formulas are the kernels'.
//!
//! Nothing is recorded. `ferrograd.optim` has the optimizers, and their steps in terms of ops for those that are.

use std::hint::black_box;

use pyo3::prelude::*;
use smallvec::SmallVec;

use super::arguments::{MemoryFormat, Tensors};
use crate::dtype::{Element, Number, Scalar};
use crate::error::{Error, Result};
use crate::kernels::{optim, without_interpreter};
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::{view, without_recording};
use crate::tensor::Tensor;

/// Fails unless all are of the shape and dtype of `p`.
fn check_alike(op: &'static str, p: &Tensor, others: &[&Tensor]) -> Result<()> {
    match others.iter().find(|x| x.shape() != p.shape() || x.dtype() != p.dtype()) {
        None => Ok(()),
        Some(x) => runtime_error!(
            "{op}: gradient and state must be like the parameter, of shape {:?} and dtype {}, but one is of shape {:?} and dtype {}",
            p.shape(),
            p.dtype(),
            x.shape(),
            x.dtype()
        ),
    }
}

/// Runs `step` on `p`, its gradient and its state, which are contiguous by then and share no memory; then they have the results.
///
/// `writes` says how many in-place ops of torch the step stands for, for each of the state.
fn update(
    op: &'static str,
    p: &Tensor,
    g: &Tensor,
    state: &[&Tensor],
    writes: &[usize],
    step: impl FnOnce(&Tensor, &Tensor, &[Tensor]) -> Result<()>,
) -> Result<()> {
    check_alike(op, p, &[&[g], state].concat())?;
    state.iter().try_for_each(|x| view::check_places(x))?;
    view::in_place(op, p, false, |x| {
        let mut own: SmallVec<[Tensor; 5]> = SmallVec::new();
        for part in [&[x, g], state].concat() {
            let fits = part.is_contiguous() && own.iter().all(|other| !other.storage().same(part.storage()));
            own.push(if fits { part.detached(false) } else { part.detached(false).clone_in(MemoryFormat::Contiguous)? });
        }
        step(&own[0], &own[1], &own[2..])?;
        for ((x, own), writes) in state.iter().zip(&own[2..]).zip(writes) {
            if !own.storage().same(x.storage()) {
                x.write(own)?;
            }
            (0..*writes).for_each(|_| x.bump_version());
        }
        Ok(if own[0].storage().same(x.storage()) { x.clone() } else { own[0].clone() })
    })
}

/// A number, unless it is the one that makes no difference.
fn unless<T: Element + Number>(value: f64, idle: f64) -> Option<T> {
    (value != idle).then(|| Scalar::Float(value).to())
}

/// A step of stochastic gradient descent for each of `params`.
///
/// `buffers` are the directions of the last step, none without `momentum`; `first` says that they have none yet.
/// Dtype: float, the same for all that belongs to a parameter.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn sgd(
    params: Tensors,
    grads: Tensors,
    buffers: Tensors,
    lr: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> Result<()> {
    const OP: &str = "sgd";
    let (params, grads, buffers) = (params.0, grads.0, buffers.0);
    let with_momentum = momentum != 0.0;
    check_count(OP, params.len(), &[grads.len(), if with_momentum { buffers.len() } else { params.len() }])?;
    without_recording(|| {
        for (i, (p, g)) in params.iter().zip(&grads).enumerate() {
            let state: SmallVec<[&Tensor; 1]> = buffers.get(i).filter(|_| with_momentum).into_iter().collect();
            // torch multiplies the buffer, then adds to it.
            let writes = if first { 0 } else { 2 };
            update(OP, p, g, &state, &[writes], |p, g, state| {
                crate::dispatch_floats!(p.dtype(), OP, T => {
                    let number = |value: f64| -> T { Scalar::Float(value).to() };
                    let step = optim::Sgd::<T> {
                        lr: number(lr),
                        momentum: unless(momentum, 0.0),
                        undamped: number(1.0 - dampening),
                        weight_decay: unless(weight_decay, 0.0),
                        nesterov,
                        maximize,
                        first,
                    };
                    let written: SmallVec<[_; 2]> = [p].into_iter().chain(state).map(Tensor::storage).collect();
                    let _access = Access::new(&[g.storage()], &written);
                    // SAFETY: contiguous, of this dtype, of memory of their own, and locked.
                    let (values, g, last) = unsafe { (p.slice_mut::<T>(), g.slice::<T>(), state.first().map(|x| x.slice_mut::<T>())) };
                    without_interpreter(values.len(), || optim::sgd(step, values, g, last));
                    Ok(())
                })
            })?;
        }
        Ok(())
    })
}

/// A step of Adam for each of `params`; `steps` are counted up first.
///
/// `exp_avgs` and `exp_avg_sqs` are the averages of the gradient and its square; `max_exp_avg_sqs` the highest of the latter so
/// far, empty if these are not used. `decoupled` weight decay shrinks the parameter instead of joining the gradient.
/// Dtype: float, the same for all that belongs to a parameter but its step.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn adam(
    params: Tensors,
    grads: Tensors,
    exp_avgs: Tensors,
    exp_avg_sqs: Tensors,
    max_exp_avg_sqs: Tensors,
    steps: Tensors,
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    decoupled: bool,
    maximize: bool,
) -> Result<()> {
    const OP: &str = "adam";
    let (params, grads, steps) = (params.0, grads.0, steps.0);
    let (exp_avgs, exp_avg_sqs, highest) = (exp_avgs.0, exp_avg_sqs.0, max_exp_avg_sqs.0);
    let amsgrad = !highest.is_empty();
    let count = params.len();
    check_count(
        OP,
        count,
        &[grads.len(), exp_avgs.len(), exp_avg_sqs.len(), steps.len(), if amsgrad { highest.len() } else { count }],
    )?;
    let (beta1, beta2) = betas;
    let mut corrected = (f64::NAN, 0.0, 0.0);
    without_recording(|| {
        for (i, (p, g)) in params.iter().zip(&grads).enumerate() {
            let steps_done = count_up(&steps[i])?;
            if corrected.0 != steps_done {
                // The root is a power for torch, too.
                let root = (1.0 - beta2.powf(steps_done)).powf(black_box(0.5));
                corrected = (steps_done, lr / (1.0 - beta1.powf(steps_done)), root);
            }
            let (_, step_size, correction2_sqrt) = corrected;
            let shrinks = decoupled && weight_decay != 0.0;
            if shrinks {
                p.bump_version();
            }
            let state: SmallVec<[&Tensor; 3]> =
                [Some(&exp_avgs[i]), Some(&exp_avg_sqs[i]), highest.get(i)].into_iter().flatten().collect();
            update(OP, p, g, &state, &[1, 2, 1], |p, g, state| {
                crate::dispatch_floats!(p.dtype(), OP, T => {
                    let number = |value: f64| -> T { Scalar::Float(value).to() };
                    let step = optim::Adam::<T> {
                        weight1: number(1.0 - beta1),
                        beta2: number(beta2),
                        weight2: number(1.0 - beta2),
                        step_size: number(step_size),
                        correction2_sqrt: number(correction2_sqrt),
                        eps: number(eps),
                        weight_decay: unless(if decoupled { 0.0 } else { weight_decay }, 0.0),
                        shrink: shrinks.then(|| number(1.0 - lr * weight_decay)),
                        maximize,
                    };
                    let written: SmallVec<[_; 4]> = [p].into_iter().chain(state).map(Tensor::storage).collect();
                    let _access = Access::new(&[g.storage()], &written);
                    // SAFETY: contiguous, of this dtype, of memory of their own, and locked.
                    let (values, g) = unsafe { (p.slice_mut::<T>(), g.slice::<T>()) };
                    // SAFETY: as above.
                    let mut state = state.iter().map(|x| unsafe { x.slice_mut::<T>() });
                    let (Some(m), Some(v)) = (state.next(), state.next()) else { return runtime_error!("{OP}: no state") };
                    let highest = state.next();
                    without_interpreter(values.len(), || optim::adam(step, values, g, [m, v], highest));
                    Ok(())
                })
            })?;
        }
        Ok(())
    })
}

/// Adds 1 to a tensor of one element; answers its value.
fn count_up(step: &Tensor) -> Result<f64> {
    let before = step.scalar()?;
    let value = crate::dispatch_floats!(step.dtype(), "adam", T => {
        let before: T = before.to();
        Ok((before + 1.0) as f64)
    })?;
    step.fill(Scalar::Float(value))?;
    step.bump_version();
    Ok(value)
}

/// Fails unless each list is as long as that of the parameters.
fn check_count(op: &'static str, params: usize, lists: &[usize]) -> Result<()> {
    match lists.iter().find(|&&count| count != params) {
        None => Ok(()),
        Some(count) => Err(Error::Runtime(format!("{op}: {params} parameters, but a list of {count} that belong to them"))),
    }
}
