//! One layer of a recurrent network in one direction: all its steps are one op.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments::{Dims, Several, Tensors};
use super::matmul::linear;
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::kernels::matmul::MatRef;
use crate::kernels::recurrent::{self as kernel, Cell, Steps};
use crate::kernels::without_interpreter;
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::mode::ModeGuard;
use crate::tape::{Node, Recorder, engine, is_recording, without_recording};
use crate::tensor::Tensor;

/// Up to so many sequences the product with the states wants the weights as they are, else transposed.
const FEW: usize = 4;

/// What a layer is given. All but the weights' own shapes has been checked against each other.
#[derive(Clone)]
struct Layer {
    op: &'static str,
    cell: Cell,
    steps: Arc<Steps>,
    /// Rows of all steps.
    x: Tensor,
    h: Tensor,
    /// Of an LSTM.
    c: Option<Tensor>,
    w_ih: Tensor,
    w_hh: Tensor,
    biases: Option<[Tensor; 2]>,
    w_hr: Option<Tensor>,
}

/// What the kernel makes of it.
#[derive(Clone)]
struct Values {
    gates: Tensor,
    cells: Tensor,
    /// The states before a projection.
    hidden: Option<Tensor>,
    states: Tensor,
    h: Tensor,
    c: Option<Tensor>,
}

/// Rows of `x` from one on.
fn rows(x: &Tensor, first: usize, count: usize) -> Result<Tensor> {
    x.slice_at(0, first, count, 1)
}

fn columns(x: &Tensor, first: usize, count: usize) -> Result<Tensor> {
    x.slice_at(1, first, count, 1)
}

/// The sums of the columns.
fn sum(x: &Tensor) -> Result<Tensor> {
    x.sum(Some(Dims(smallvec::smallvec![0])), false, None)
}

/// A matrix as the kernels want it.
fn matrix<T>(x: &Tensor) -> MatRef<T> {
    MatRef { ptr: x.ptr(), row_stride: x.strides()[0], col_stride: x.strides()[1] }
}

/// A contiguous copy that nobody else sees.
fn own(x: &Tensor) -> Result<Tensor> {
    let y = Tensor::uninitialized("copy", x.shape(), x.dtype())?;
    y.write(&x.detached_read()?)?;
    Ok(y)
}

impl Layer {
    /// The size of a state before a projection.
    fn size(&self) -> usize {
        self.w_hh.shape()[0] / self.cell.gates()
    }

    /// Its size after one.
    fn projected(&self) -> usize {
        self.w_hh.shape()[1]
    }

    fn for_kernel(&self) -> kernel::Layer<'_> {
        let (size, projected, projects) = (self.size(), self.projected(), self.w_hr.is_some());
        kernel::Layer { cell: self.cell, steps: &self.steps, size, projected, projects }
    }

    /// What is differentiated: the gradients come in this order.
    fn inputs(&self) -> Vec<&Tensor> {
        let Layer { x, h, c, w_ih, w_hh, biases, w_hr, .. } = self;
        let all = [x, h].into_iter().chain(c).chain([w_ih, w_hh]).chain(biases.iter().flatten());
        all.chain(w_hr).collect()
    }

    /// The same layer of other inputs.
    fn map(&self, mut f: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Layer> {
        Ok(Layer {
            op: self.op,
            cell: self.cell,
            steps: self.steps.clone(),
            x: f(&self.x)?,
            h: f(&self.h)?,
            c: self.c.as_ref().map(&mut f).transpose()?,
            w_ih: f(&self.w_ih)?,
            w_hh: f(&self.w_hh)?,
            biases: match &self.biases {
                Some([of_inputs, of_states]) => Some([f(of_inputs)?, f(of_states)?]),
                None => None,
            },
            w_hr: self.w_hr.as_ref().map(&mut f).transpose()?,
        })
    }

    /// Fails unless the shapes fit each other.
    fn check(&self) -> Result<()> {
        let Layer { op, x, h, c, w_ih, w_hh, biases, w_hr, steps, .. } = self;
        if w_hh.rank() != 2 || w_ih.rank() != 2 || x.rank() != 2 || h.rank() != 2 {
            return runtime_error!("{op}: expected weights, and inputs and states of each step, of 2 dims");
        }
        let (width, size, projected) = (w_hh.shape()[0], self.size(), self.projected());
        if width % self.cell.gates() != 0 {
            return runtime_error!("{op}: expected weights of {} gates, got {width} rows", self.cell.gates());
        }
        let count = steps.sizes.iter().fold(0, |sum: usize, size| sum.saturating_add(*size));
        let sequences = steps.sizes.iter().copied().max().unwrap_or(h.shape()[0]);
        let state = if w_hr.is_some() { projected } else { size };
        let expected = [("input", Some(x), vec![count, w_ih.shape()[1]]), ("hx", Some(h), vec![sequences, state])];
        let more = [
            ("cx", c.as_ref(), vec![sequences, size]),
            ("weight_ih", Some(w_ih), vec![width, w_ih.shape()[1]]),
            ("weight_hh", Some(w_hh), vec![width, state]),
            ("bias_ih", biases.as_ref().map(|biases| &biases[0]), vec![width]),
            ("bias_hh", biases.as_ref().map(|biases| &biases[1]), vec![width]),
            ("weight_hr", w_hr.as_ref(), vec![projected, size]),
        ];
        for (name, given, shape) in expected.into_iter().chain(more) {
            let Some(given) = given else { continue };
            if given.shape() != shape {
                return runtime_error!("{op}: expected {name} of shape {shape:?}, got {:?}", given.shape());
            }
            if given.dtype() != x.dtype() {
                return runtime_error!("{op}: expected all dtypes to be the same, got {} and {}", x.dtype(), given.dtype());
            }
        }
        if !x.dtype().is_float() {
            return Err(Error::NotImplemented(format!("\"{op}\" not implemented for '{}'", x.dtype().type_word())));
        }
        Ok(())
    }

    /// The states, without recording them.
    fn values(&self) -> Result<Values> {
        let (op, dtype, size, projected) = (self.op, self.x.dtype(), self.size(), self.projected());
        let (count, is_gru) = (self.x.shape()[0], self.cell == Cell::Gru);
        let read = |x: &Tensor| x.detached_read();
        let bias = match &self.biases {
            // Of a GRU the candidate's second one is added apart.
            Some([of_inputs, of_states]) => {
                let of_states = own(of_states)?;
                if is_gru {
                    super::kernel::fill(&of_states.slice_at(0, 2 * size, size, 1)?, Scalar::Int(0))?;
                }
                Some(read(of_inputs)?.add(&of_states)?)
            }
            None => None,
        };
        let gates = linear(&read(&self.x)?, &read(&self.w_ih)?, bias.as_ref())?.contiguous()?;
        let fresh = |width: usize| Tensor::uninitialized(op, &[count, width], dtype);
        let cells = fresh(if matches!(self.cell, Cell::Lstm | Cell::Gru) { size } else { 0 })?;
        if is_gru {
            match &self.biases {
                Some([_, of_states]) => {
                    cells.write(&read(of_states)?.slice_at(0, 2 * size, size, 1)?.expand_to(op, cells.shape())?)?
                }
                None => super::kernel::fill(&cells, Scalar::Int(0))?,
            }
        }
        let (hidden, states) = (self.w_hr.as_ref().map(|_| fresh(size)).transpose()?, fresh(projected)?);
        let (h, c) = (own(&self.h)?, self.c.as_ref().map(own).transpose()?);
        let transposed = |w: &Tensor| {
            let w = read(w)?.mt()?;
            if h.shape()[0] > FEW { w.contiguous() } else { Ok(w) }
        };
        let w_hh = transposed(&self.w_hh)?;
        let w_hr = self.w_hr.as_ref().map(transposed).transpose()?;
        crate::dispatch_floats!(dtype, op, T => {
            let reads: Vec<_> = [&w_hh].into_iter().chain(&w_hr).map(Tensor::storage).collect();
            let _access = Access::new(&reads, &[]);
            let of = kernel::Forward::<T> {
                gates: gates.ptr(),
                cells: cells.ptr(),
                weight: matrix(&w_hh),
                projection: matrix(w_hr.as_ref().unwrap_or(&w_hh)),
                h: h.ptr(),
                c: c.as_ref().unwrap_or(&h).ptr(),
                hidden: hidden.as_ref().unwrap_or(&states).ptr(),
                states: states.ptr(),
            };
            // SAFETY: all are as large as the layer, which was checked, says; what is read is locked, what is written is fresh.
            without_interpreter(gates.numel() * (1 + projected / 16), || unsafe { kernel::forward(&self.for_kernel(), &of) });
            Ok(())
        })?;
        Ok(Values { gates, cells, hidden, states, h, c })
    }

    /// All states, the last of each sequence, and of an LSTM the cells' last: recorded.
    fn apply(&self) -> Result<Vec<Tensor>> {
        let values = without_recording(|| self.values())?;
        let mut recorder = Recorder::new(self.op);
        let on_tape = self.inputs().into_iter().fold(false, |on, input| recorder.input(input) | on);
        let records = is_recording() && on_tape;
        // A copy: the user may write to the states, of which the derivative has need.
        let y = if records { own(&values.states)? } else { values.states.clone() };
        let outputs = [y, values.h.clone()].into_iter().chain(values.c.clone()).collect();
        if !records {
            return Ok(outputs);
        }
        let mut layer = self.map(|x| Ok(x.save()))?;
        // Of the first states torch keeps what derivatives of others are made of; these may be written to.
        let copy = |x: &Tensor| -> Result<Tensor> { Ok(own(x)?.at_edge(&x.edge())) };
        if !self.w_hh.requires_grad() {
            layer.h = copy(&self.h)?;
        }
        if let (Some(c), 1) = (&self.c, self.inputs().iter().filter(|x| x.requires_grad()).count())
            && c.requires_grad()
        {
            layer.c = Some(copy(c)?);
        }
        let rule = move |grads: &[Option<Tensor>], wanted: &[bool], _: &Arc<Node>| {
            let layer = layer.map(|x| Ok(x.current()))?;
            if is_recording() { layer.recorded_gradients(grads, wanted) } else { layer.gradients(&values, grads, wanted) }
        };
        recorder.finish_joint(outputs, Arc::new(rule), true)
    }

    /// The gradients of the inputs.
    fn gradients(&self, values: &Values, grads: &[Option<Tensor>], wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let _mode = ModeGuard::of_rule();
        let (op, dtype, size, projected) = (self.op, self.x.dtype(), self.size(), self.projected());
        let (count, is_lstm, is_gru) = (self.x.shape()[0], self.cell == Cell::Lstm, self.cell == Cell::Gru);
        let fresh = |rows: usize, width: usize| Tensor::uninitialized(op, &[rows, width], dtype);
        let given = |i: usize| grads.get(i).and_then(Option::as_ref);
        let last = |i: usize, x: &Tensor| given(i).map_or_else(|| Tensor::zeroed(op, x.shape(), dtype), own);
        let g = given(0).map(|g| g.detached_read()?.contiguous()).transpose()?;
        let (gh, gc) = (last(1, &self.h)?, self.c.as_ref().map(|c| last(2, c)).transpose()?);
        let g_gates = fresh(count, self.w_hh.shape()[0])?;
        let g_cells = fresh(count, if is_gru { size } else { 0 })?;
        let (g_states, g_hidden) = match &self.w_hr {
            Some(_) => (fresh(count, projected)?, fresh(self.h.shape()[0], size)?),
            None => (g_cells.clone(), g_cells.clone()),
        };
        let before = fresh(count, projected)?;
        let contiguous = |x: &Tensor| x.detached_read()?.contiguous();
        // Of one step only the gradient of its state is made of these weights.
        let is_read = self.steps.sizes.len() > 1 || wanted.get(1) == Some(&true);
        let w_hh = if is_read { contiguous(&self.w_hh)? } else { contiguous(&self.w_hh.unsaved())? };
        let h = contiguous(&self.h)?;
        let c = self.c.as_ref().map(contiguous).transpose()?;
        let w_hr = self.w_hr.as_ref().map(contiguous).transpose()?;
        crate::dispatch_floats!(dtype, op, T => {
            let reads: Vec<_> = [&h, &w_hh].into_iter().chain(&c).chain(&w_hr).chain(&g).map(Tensor::storage).collect();
            let _access = Access::new(&reads, &[]);
            let of = kernel::Backward::<T> {
                gates: values.gates.ptr(),
                cells: values.cells.ptr(),
                states: values.states.ptr(),
                h: h.ptr(),
                c: c.as_ref().unwrap_or(&h).ptr(),
                weight: matrix(&w_hh),
                projection: matrix(w_hr.as_ref().unwrap_or(&w_hh)),
                g: g.as_ref().map_or(std::ptr::null(), |g| g.ptr::<T>()),
                gh: gh.ptr(),
                gc: gc.as_ref().unwrap_or(&gh).ptr(),
                g_gates: g_gates.ptr(),
                g_cells: g_cells.ptr(),
                g_states: g_states.ptr(),
                g_hidden: g_hidden.ptr(),
                before: before.ptr(),
            };
            // SAFETY: as for `values`.
            without_interpreter(g_gates.numel() * (1 + projected / 16), || unsafe { kernel::backward(&self.for_kernel(), &of) });
            Ok(())
        })?;
        // What the states' part of the gates gets.
        let g_inner = if is_gru { Tensor::joined(op, &[columns(&g_gates, 0, 2 * size)?, g_cells], 1)? } else { g_gates.clone() };
        let mut wanted = wanted.iter().copied().chain(std::iter::repeat(false));
        let mut all = Vec::with_capacity(8);
        let mut put = |compute: &dyn Fn() -> Result<Tensor>| -> Result<()> {
            all.push(if wanted.next() == Some(true) { Some(compute()?) } else { None });
            Ok(())
        };
        put(&|| g_gates.mm(&self.w_ih.detached_read()?))?;
        put(&|| Ok(gh.clone()))?;
        if is_lstm {
            put(&|| Ok(gc.clone().unwrap_or_else(|| gh.clone())))?;
        }
        put(&|| g_gates.mt()?.mm(&self.x.detached_read()?))?;
        put(&|| g_inner.mt()?.mm(&before))?;
        if self.biases.is_some() {
            put(&|| sum(&g_gates))?;
            put(&|| sum(&g_inner))?;
        }
        if let Some(hidden) = &values.hidden {
            put(&|| g_states.mt()?.mm(hidden))?;
        }
        Ok(all)
    }

    /// The gradients of the inputs on the tape: those of the same steps by recorded ops.
    fn recorded_gradients(&self, grads: &[Option<Tensor>], wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        // Gradients end at these, which only this run knows: hooks of the inputs wait for the run that calls it.
        let layer = self.map(|x| x.viewed("view", x.shape()))?;
        let outputs = layer.by_ops()?;
        let roots = outputs.into_iter().zip(grads).filter_map(|(y, g)| Some((y, g.clone()?))).collect();
        let inputs = layer.inputs();
        let places: Vec<usize> = (0..inputs.len()).filter(|&i| wanted.get(i) == Some(&true)).collect();
        let targets: Vec<Tensor> = places.iter().map(|&i| inputs[i].clone()).collect();
        let options = engine::Options { retain_graph: true, create_graph: true };
        let mut all = vec![None; inputs.len()];
        for (i, gradient) in places.into_iter().zip(engine::grad(roots, &targets, options)?) {
            all[i] = gradient;
        }
        Ok(all)
    }

    /// What the kernel computes, step by step.
    fn by_ops(&self) -> Result<Vec<Tensor>> {
        let (size, steps, sequences) = (self.size(), &self.steps, self.h.shape()[0]);
        let (of_inputs, of_states) = match &self.biases {
            Some([of_inputs, of_states]) => (Some(of_inputs), Some(of_states)),
            None => (None, None),
        };
        let from_inputs = linear(&self.x, &self.w_ih, of_inputs)?;
        let (mut h, mut c) = (self.h.clone(), self.c.clone());
        let mut states = vec![None; steps.sizes.len()];
        for step in steps.order(false) {
            let count = steps.sizes[step];
            // The sequences that are as long, and back among the others.
            let now = |x: &Tensor| if count == sequences { Ok(x.clone()) } else { rows(x, 0, count) };
            let next = |x: &Tensor, new: &Tensor| match count == sequences {
                true => Ok(new.clone()),
                false => Tensor::joined("cat", &[new.clone(), rows(x, count, sequences - count)?], 0),
            };
            let before = now(&h)?;
            let (a, b) = (rows(&from_inputs, steps.firsts[step], count)?, linear(&before, &self.w_hh, of_states)?);
            let gate = |k: usize| columns(&a, k * size, size)? + columns(&b, k * size, size)?;
            let mut new = match (self.cell, &c) {
                (Cell::Lstm, Some(all)) => {
                    let state = ((gate(1)?.sigmoid()? * now(all)?)? + (gate(0)?.sigmoid()? * gate(2)?.tanh()?)?)?;
                    let new = (gate(3)?.sigmoid()? * state.tanh()?)?;
                    c = Some(next(all, &state)?);
                    new
                }
                (Cell::Gru, _) => {
                    let m = (gate(0)?.sigmoid()? * columns(&b, 2 * size, size)?)?;
                    let n = (columns(&a, 2 * size, size)? + m)?.tanh()?;
                    ((before - &n)? * gate(1)?.sigmoid()?)? + n
                }?,
                (Cell::Relu, _) => (a + b)?.relu()?,
                _ => (a + b)?.tanh()?,
            };
            if let Some(w_hr) = &self.w_hr {
                new = linear(&new, w_hr, None)?;
            }
            h = next(&h, &new)?;
            states[step] = Some(new);
        }
        let states: Vec<Tensor> = states.into_iter().flatten().collect();
        Ok([Tensor::joined("cat", &states, 0)?, h].into_iter().chain(c).collect())
    }
}

/// A layer of a recurrent network in one direction: all states, and the last of each sequence (of an LSTM its cell's, too).
///
/// `params` are weight_ih, weight_hh, with `has_biases` bias_ih and bias_hh, and that of a projection, if any. `batch_sizes` says how
/// many of the packed sequences have each step; without it all are as long.
///
/// Shape: `input` (t, n, i), or (rows, i) with `batch_sizes`; `hx` (n, p), with that of the cells (n, h) for an LSTM.
#[pyfunction]
pub fn _recurrent_layer(
    cell: &str,
    input: &Tensor,
    batch_sizes: Option<Vec<usize>>,
    hx: Tensors,
    params: Tensors,
    has_biases: bool,
    reverse: bool,
) -> Result<Several> {
    let (op, cell, states) = match cell {
        "lstm" => ("lstm", Cell::Lstm, 2),
        "gru" => ("gru", Cell::Gru, 1),
        "rnn_tanh" => ("rnn_tanh", Cell::Tanh, 1),
        "rnn_relu" => ("rnn_relu", Cell::Relu, 1),
        _ => return runtime_error!("unknown kind of recurrent layer: {cell}"),
    };
    let plain = if has_biases { 4 } else { 2 };
    let (hx, params) = (hx.0, params.0);
    let projects = params.len() == plain + 1 && cell == Cell::Lstm;
    if hx.len() != states || (params.len() != plain && !projects) {
        return runtime_error!("{op}: got {} states and {} parameters, which do not make a layer", hx.len(), params.len());
    }
    let sizes = match (batch_sizes, input.shape()) {
        (Some(sizes), _) => sizes,
        (None, &[count, sequences, _]) => vec![sequences; count],
        (None, shape) => return runtime_error!("{op}: expected an input of 3 dims, got one of shape {shape:?}"),
    };
    if sizes.is_empty() {
        return runtime_error!("{op}: Expected sequence length to be larger than 0 in RNN");
    }
    if !sizes.is_sorted_by(|a, b| a >= b) {
        return runtime_error!("{op}: expected batch_sizes that do not grow, got {sizes:?}");
    }
    let packed = input.rank() == 2;
    let (first, width) = (sizes[0], input.shape()[input.rank() - 1]);
    let x = if packed { input.clone() } else { input.reshape_to(&[sizes.len() * first, width])? };
    let firsts =
        sizes.iter().scan(0, |next: &mut usize, size| Some(std::mem::replace(next, next.saturating_add(*size)))).collect();
    let count = sizes.len();
    let mut hx = hx.into_iter();
    let mut params = params.into_iter();
    let mut next = || params.next().ok_or(Error::Type(format!("{op}: missing a parameter")));
    let layer = Layer {
        op,
        cell,
        steps: Arc::new(Steps { sizes, firsts, reverse }),
        x,
        h: hx.next().ok_or(Error::Type(format!("{op}: missing a state")))?,
        c: hx.next(),
        w_ih: next()?,
        w_hh: next()?,
        biases: if has_biases { Some([next()?, next()?]) } else { None },
        w_hr: if projects { Some(next()?) } else { None },
    };
    layer.check()?;
    let mut outputs = layer.apply()?;
    if !packed {
        let y = outputs[0].viewed("view", &[count, first, layer.projected()])?;
        outputs[0] = y;
    }
    Ok(Several(outputs))
}
