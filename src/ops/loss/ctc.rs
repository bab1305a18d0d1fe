//! The connectionist temporal classification loss.
//!
//! Source: Graves, Fernández, Gomez, Schmidhuber 2006, "Connectionist temporal classification", section 4: forward and backward
//! variables, here as logarithms in double precision.

use pyo3::prelude::*;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::{par, without_interpreter};
use crate::ops::along::Target;
use crate::runtime_error;
use crate::tape::sample::made_of;
use crate::tape::{is_recording, without_recording};
use crate::tensor::Tensor;
use crate::vjp;

const OP: &str = "ctc_loss";

/// The logarithm of e^a + e^b + e^c.
fn log_add(a: f64, b: f64, c: f64) -> f64 {
    let most = a.max(b).max(c);
    if most == f64::NEG_INFINITY { most } else { ((a - most).exp() + (b - most).exp() + (c - most).exp()).ln() + most }
}

/// One sample: the logarithms of the probabilities of `classes` at each of `steps`, `apart` apart, and its labels with blanks
/// around each.
struct Sample<'a> {
    log_probs: &'a [f64],
    apart: usize,
    steps: usize,
    path: Vec<usize>,
}

impl Sample<'_> {
    fn log_prob(&self, step: usize, place: usize) -> f64 {
        self.log_probs[step * self.apart + self.path[place]]
    }

    /// Whether a path may come to a place from two before, or go there from two after: past a blank between different labels.
    fn may_skip(&self, place: usize) -> bool {
        place >= 2 && place % 2 == 1 && self.path[place] != self.path[place - 2]
    }

    /// The variables of all places at all steps: of what comes before and at a step, or (`reverse`) at it and after.
    fn variables(&self, reverse: bool) -> Result<Vec<f64>> {
        let (steps, places) = (self.steps, self.path.len());
        let size = steps.checked_mul(places).ok_or(Error::Memory { bytes: usize::MAX })?;
        let mut all = Vec::new();
        all.try_reserve_exact(size).map_err(|_| Error::Memory { bytes: size.saturating_mul(8) })?;
        all.resize(size, f64::NEG_INFINITY);
        for number in 0..steps {
            let step = if reverse { steps - 1 - number } else { number };
            for place in 0..places {
                let (from_end, value) = (if reverse { places - 1 - place } else { place }, self.log_prob(step, place));
                let before = |back: usize| -> f64 {
                    if number == 0 || back > from_end {
                        return f64::NEG_INFINITY;
                    }
                    let (step, place) = if reverse { (step + 1, place + back) } else { (step - 1, place - back) };
                    all[step * places + place]
                };
                let skips = if reverse { place + 2 < places && self.may_skip(place + 2) } else { self.may_skip(place) };
                all[step * places + place] = match number {
                    0 if from_end <= 1 => value,
                    0 => f64::NEG_INFINITY,
                    _ => log_add(before(0), before(1), if skips { before(2) } else { f64::NEG_INFINITY }) + value,
                };
            }
        }
        Ok(all)
    }

    /// The negative logarithm of the probability of the labels; with `slopes`, its derivative by each log-probability, as if those
    /// of a step were a softmax's logarithm.
    fn loss(&self, zero_infinity: bool, slopes: Option<&dyn Fn(usize, f64)>, classes: usize) -> Result<f64> {
        let places = self.path.len();
        if self.steps == 0 {
            return Ok(if places == 1 || zero_infinity { 0.0 } else { f64::INFINITY });
        }
        let before = self.variables(false)?;
        let ends = &before[(self.steps - 1) * places..];
        let end = |back: usize| if back < places { ends[places - 1 - back] } else { f64::NEG_INFINITY };
        let loss = -log_add(end(0), end(1), f64::NEG_INFINITY);
        let hidden = zero_infinity && loss == f64::INFINITY;
        let Some(put) = slopes.filter(|_| !hidden) else {
            return Ok(if hidden { 0.0 } else { loss });
        };
        let after = self.variables(true)?;
        let mut through = vec![f64::NEG_INFINITY; classes];
        for step in 0..self.steps {
            through.fill(f64::NEG_INFINITY);
            for (place, &class) in self.path.iter().enumerate() {
                let both = before[step * places + place] + after[step * places + place];
                through[class] = log_add(through[class], both, f64::NEG_INFINITY);
            }
            for (class, &through) in through.iter().enumerate() {
                let log_prob = self.log_probs[step * self.apart + class];
                put(step * self.apart + class, log_prob.exp() - (through + loss - log_prob).exp());
            }
        }
        Ok(loss)
    }
}

/// Where the labels of each sample begin and end, among all.
fn ranges(targets: &Tensor, lengths: &[i64]) -> Result<Vec<std::ops::Range<usize>>> {
    if let Some(bad) = lengths.iter().find(|&&length| length < 0) {
        return runtime_error!("{OP}: expected target_lengths of at least 0, got {bad}");
    }
    let lengths = lengths.iter().map(|&length| length as usize);
    if targets.rank() == 1 {
        let mut end = 0usize;
        let mut ranges = Vec::with_capacity(lengths.len());
        for length in lengths {
            let start = end;
            end = end.saturating_add(length);
            ranges.push(start..end);
        }
        if end != targets.numel() {
            return runtime_error!("{OP}: expected {end} targets, the sum of target_lengths, got {}", targets.numel());
        }
        return Ok(ranges);
    }
    let &[samples, width] = targets.shape() else {
        return runtime_error!("{OP}: expected targets of 1 or 2 dims, got {}", targets.rank());
    };
    if samples != lengths.len() {
        return runtime_error!("{OP}: expected targets of {} samples, got {samples}", lengths.len());
    }
    if let Some(long) = lengths.clone().find(|&length| length > width) {
        return runtime_error!("{OP}: expected targets to have size at least {long} at dimension 1, but got size {width}");
    }
    Ok(lengths.enumerate().map(|(i, length)| i * width..i * width + length).collect())
}

/// The loss of each sample of (steps, samples, classes) logarithms of probabilities; with `zero_infinity`, 0 where it is infinite.
///
/// Targets are classes but `blank`, of each sample in a row of its own or all in one row, as many as `target_lengths` says.
/// Derivative: as if the logarithms of a step were those of a softmax; there is no second one.
/// Raises: RuntimeError for shapes and lengths that do not fit.
#[pyfunction]
#[pyo3(name = "_ctc_loss")]
pub fn ctc_loss(
    log_probs: &Tensor,
    targets: &Tensor,
    input_lengths: &Tensor,
    target_lengths: &Tensor,
    blank: i64,
    zero_infinity: bool,
) -> Result<Tensor> {
    let x = log_probs;
    let _of = made_of([targets, input_lengths, target_lengths]);
    let (input_lengths, target_lengths) = (input_lengths.to_vec::<i64>()?, target_lengths.to_vec::<i64>()?);
    let &[steps, samples, classes] = x.shape() else {
        return runtime_error!("{OP}: expected log_probs of 3 dims, got {}", x.rank());
    };
    if !x.dtype().is_float() {
        return Err(Error::NotImplemented(format!("{OP}: not implemented for {}", x.dtype())));
    }
    if !matches!(targets.dtype(), DType::I64 | DType::I32) {
        return runtime_error!("{OP}: expected targets of dtype int64 or int32, got {}", targets.dtype());
    }
    if x.numel() == 0 {
        return runtime_error!("{OP}: log_probs tensor must not be empty");
    }
    if !(0..classes as i64).contains(&blank) {
        return runtime_error!("{OP}: blank must be in label range 0..{classes}, got {blank}");
    }
    if input_lengths.len() != samples || target_lengths.len() != samples {
        return runtime_error!(
            "{OP}: input_lengths and target_lengths must be of size batch_size {samples}, got {} and {}",
            input_lengths.len(),
            target_lengths.len()
        );
    }
    if let Some(bad) = input_lengths.iter().find(|&&length| !(0..=steps as i64).contains(&length)) {
        return runtime_error!("{OP}: expected input_lengths between 0 and {steps}, got {bad}");
    }
    let ranges = ranges(targets, &target_lengths)?;
    let labels = targets.to_vec::<i64>()?;
    if let Some(bad) =
        ranges.iter().flat_map(|range| &labels[range.clone()]).find(|&&label| !(0..classes as i64).contains(&label))
    {
        return runtime_error!("{OP}: target {bad} is no class (expected 0..{classes})");
    }
    let values = x.detached_read()?.to_vec::<f64>()?;
    let wanted = is_recording() && x.requires_grad();
    let losses = Tensor::uninitialized(OP, &[samples], DType::F64)?;
    let slopes = Tensor::zeroed(OP, if wanted { x.shape() } else { &[0] }, DType::F64)?;
    let (losses_to, slopes_to) = (Target::<f64>::of(&losses), Target::<f64>::of(&slopes));
    let failure = parking_lot::Mutex::new(None);
    without_interpreter(x.numel() * 8, || {
        par::for_ranges(samples, 1, &|range| {
            for i in range {
                let path = std::iter::once(blank as usize)
                    .chain(labels[ranges[i].clone()].iter().flat_map(|&label| [label as usize, blank as usize]))
                    .collect();
                let (apart, first) = (samples * classes, i * classes);
                let sample = Sample { log_probs: &values[first..], apart, steps: input_lengths[i] as usize, path };
                // SAFETY: a place of this sample, within the slopes, which are of the shape of the input.
                let put = |place: usize, slope: f64| unsafe { slopes_to.set(first + place, slope) };
                match sample.loss(zero_infinity, wanted.then_some(&put), classes) {
                    // SAFETY: one loss for each sample.
                    Ok(loss) => unsafe { losses_to.set(i, loss) },
                    Err(error) => *failure.lock() = Some(error),
                }
            }
        });
    });
    if let Some(error) = failure.into_inner() {
        return Err(error);
    }
    let slopes = slopes.to_dtype(x.dtype())?;
    let source = targets.save();
    vjp!(OP, losses.to_dtype(x.dtype())?, { x: |g| {
        source.check_saved()?;
        spread(g, &slopes, &x)
    } }, saves { input_lengths, target_lengths, blank, zero_infinity })
    // Torch saves both, and answers another result where infinity is replaced.
    .map(|y| y.watching(&[x]))
    .map(|y| if zero_infinity { y } else { y.watching_itself() })
}

/// Slopes of the losses of samples, times their gradients.
fn spread(g: &Tensor, slopes: &Tensor, x: &Tensor) -> Result<Tensor> {
    let y = without_recording(|| g.unsqueeze_at(1)? * slopes)?;
    let slopes = slopes.clone();
    vjp!("ctc_loss_backward", y, {
        g: |h| (h * &slopes)?.sum(Some(crate::ops::arguments::Dims(smallvec::smallvec![0, 2])), false, None),
        x: |_h| Err(Error::NoDerivative { op: "ctc_loss_backward" })
    })
}
