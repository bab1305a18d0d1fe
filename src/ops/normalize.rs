//! What the normalizing layers share: the fused passes, and how they are differentiated, once and again.

use std::sync::Arc;

use super::arguments::Dims;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::kernels::normalize::{self as kernel, Backward, Forward, Groups, Statistics};
use crate::kernels::without_interpreter;
use crate::layout::Shape;
use crate::runtime_error;
use crate::storage::Access;
use crate::tape::held::Role;
use crate::tape::numbers::Named;
use crate::tape::record::joint_saving;
use crate::tape::sample::made_of;
use crate::tape::{Node, Recorder, is_recording};
use crate::tensor::Tensor;

/// Which elements are normalized together, and how.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// The node's name.
    pub op: &'static str,
    /// That of the derivative's node.
    pub backward: &'static str,
    /// Which elements.
    pub groups: Groups,
    /// Where mean and deviation come from.
    pub statistics: Statistics,
    /// What is added to the variance.
    pub eps: f64,
}

/// What normalizing answers: a number for each group, besides the result.
pub(crate) struct Normalized {
    pub y: Tensor,
    pub mean: Tensor,
    pub variance: Tensor,
    /// One over the standard deviation.
    pub rstd: Tensor,
}

/// The factors and addends of channels, as far as there are any.
#[derive(Clone, Copy)]
pub(crate) struct Affine<'a> {
    pub weight: Option<&'a Tensor>,
    pub bias: Option<&'a Tensor>,
}

impl Affine<'_> {
    fn each(&self) -> impl Iterator<Item = &Tensor> {
        [self.weight, self.bias].into_iter().flatten()
    }

    /// Fails unless they are of the dtype of `x`.
    pub fn check_dtypes(&self, x: &Tensor) -> Result<()> {
        self.each().try_for_each(|parameter| check_same_dtype(x, parameter))
    }
}

/// Fails, by the name of torch's kernel, unless `x` is real and floating point.
pub(crate) fn check_float(kernel: &str, x: &Tensor) -> Result<()> {
    if x.dtype().is_float() {
        return Ok(());
    }
    Err(Error::NotImplemented(format!("\"{kernel}\" not implemented for '{}'", x.dtype().type_word())))
}

/// Fails unless a parameter is of the dtype of `x`.
pub(crate) fn check_same_dtype(x: &Tensor, parameter: &Tensor) -> Result<()> {
    let (wanted, got) = (x.dtype().type_word(), parameter.dtype().type_word());
    if wanted == got {
        return Ok(());
    }
    runtime_error!("mixed dtype (CPU): expect parameter to have scalar type of {wanted}, but got {got}")
}

/// A parameter as one number for each channel, side by side; `value` if there is none.
fn filled(op: &'static str, parameter: Option<&Tensor>, channels: usize, value: i64, dtype: DType) -> Result<Tensor> {
    match parameter {
        Some(parameter) => parameter.detached_read()?.contiguous(),
        None => Tensor::full(op, &[channels], Scalar::Int(value), dtype),
    }
}

impl Plan {
    /// Elements as the kernel wants them, with its groups: lines of one element are turned to lie side by side.
    fn for_kernel(&self, x: &Tensor) -> Result<(Tensor, Groups)> {
        let x = x.detached_read()?.contiguous()?;
        let Groups { outer, channels, .. } = self.groups;
        if !self.is_turned() {
            return Ok((x, self.groups));
        }
        let x = x.view_as_shape(&[outer, channels])?.mt()?.contiguous()?;
        Ok((x, Groups { outer: 1, inner: outer, ..self.groups }))
    }

    fn is_turned(&self) -> bool {
        self.groups.width.is_none() && self.groups.inner == 1 && self.groups.outer > 1
    }

    /// What the kernel has written, in the shape and format of `x`.
    fn as_op_answers(&self, y: Tensor, x: &Tensor) -> Result<Tensor> {
        let y = if self.is_turned() { y.mt()?.contiguous()?.view_as_shape(x.shape())? } else { y };
        // As in torch, whole rows are normalized in row-major order.
        let y = y.without_meta();
        if self.op == "native_layer_norm" { Ok(y) } else { y.in_format_of(x) }
    }

    /// Normalizes, without recording it. `given` are the means and one over the deviations, if they are not computed.
    pub fn values(&self, x: &Tensor, affine: Affine<'_>, given: Option<(&Tensor, &Tensor)>) -> Result<Normalized> {
        let (op, dtype) = (self.op, x.dtype());
        let of_given = given.map(|(mean, rstd)| [mean, rstd]).into_iter().flatten();
        let _of = made_of([x].into_iter().chain(of_given));
        let (from, groups) = self.for_kernel(x)?;
        let weight = filled(op, affine.weight, groups.channels, 1, dtype)?;
        let bias = filled(op, affine.bias, groups.channels, 0, dtype)?;
        let fresh = || Tensor::uninitialized(op, &[groups.count()], dtype);
        let (mean, rstd) = match given {
            Some((mean, rstd)) => (mean.detached_read()?.contiguous()?, rstd.detached_read()?.contiguous()?),
            None => (fresh()?, fresh()?),
        };
        let variance = fresh()?;
        let y = Tensor::uninitialized(op, from.shape(), dtype)?;
        crate::dispatch_floats!(dtype, op, T => {
            let written = [mean.storage(), rstd.storage(), variance.storage(), y.storage()];
            let _access = Access::new(&[from.storage(), weight.storage(), bias.storage()], &written);
            let of = Forward::<T> {
                x: from.ptr(),
                weight: weight.ptr(),
                bias: bias.ptr(),
                mean: mean.ptr(),
                variance: variance.ptr(),
                rstd: rstd.ptr(),
                y: y.ptr(),
            };
            // SAFETY: contiguous, of this dtype, as large as the groups say, and locked.
            without_interpreter(x.numel() * 4, || unsafe { kernel::forward(groups, self.statistics, self.eps, &of) });
            Ok(())
        })?;
        Ok(Normalized { y: self.as_op_answers(y, x)?, mean, variance, rstd })
    }

    /// What `values` answers for no elements in so many groups: means of 0, and no deviations.
    pub fn of_nothing(&self, x: &Tensor, groups: usize) -> Result<Normalized> {
        let _of = made_of([x]);
        let number = |value: f64| Tensor::full(self.op, &[groups], Scalar::Float(value), x.dtype());
        let y = Tensor::uninitialized(self.op, x.shape(), x.dtype())?;
        Ok(Normalized { y, mean: number(0.0)?, variance: number(0.0)?, rstd: number(f64::NAN)? })
    }

    /// Puts results on the tape: of `outputs` the first is what `values` has made of `x`, and if there are more, they are the
    /// means and one over the deviations. Of what torch saves besides, `others` are what the rule has no need of.
    pub fn record(
        &self,
        x: &Tensor,
        affine: Affine<'_>,
        values: &Normalized,
        outputs: Vec<Tensor>,
        others: &[&Tensor],
        numbers: impl Fn() -> Named + Clone + Send + Sync + 'static,
    ) -> Result<Vec<Tensor>> {
        let mut recorder = Recorder::new(self.op);
        // Torch's node has places for weights and biases that are not there, but of `rms_norm`, which it makes of other ops.
        let has_places = self.statistics != Statistics::AroundZero;
        let mut on_tape = recorder.input(x);
        for parameter in [affine.weight, affine.bias] {
            match parameter {
                Some(parameter) => on_tape |= recorder.input(parameter),
                None if has_places => recorder.no_input(x.dtype()),
                None => {}
            }
        }
        recorder.note_samples(&outputs[..1]);
        if !(is_recording() && on_tape) {
            return Ok(outputs);
        }
        let (plan, x, weight) = (*self, x.save_input(Role::Operand(0)), affine.weight.map(|w| w.save_input(Role::Operand(1))));
        let (bias, mean, rstd) =
            (affine.bias.map(|bias| Shape::from_slice(bias.shape())), values.mean.save(), values.rstd.save());
        let others: Vec<Tensor> = others.iter().map(|other| other.save()).collect();
        let rule = move |grads: &[Option<Tensor>], _: &[bool], _: &Arc<Node>| {
            let (mean, rstd) = (&mean, &rstd);
            others.iter().try_for_each(Tensor::check_saved)?;
            let [g, g_mean, g_rstd] = [0, 1, 2].map(|i: usize| grads.get(i).and_then(Option::as_ref));
            let [mut gx, gw, gb] = match g {
                Some(g) => plan.backward(g, &x, weight.as_deref(), mean, rstd)?.map(Some),
                None => [None, None, None],
            };
            if g_mean.is_some() || g_rstd.is_some() {
                let more = plan.backward_of_statistics(g_mean, g_rstd, &x)?;
                gx = Some(gx.map_or(Ok(more.clone()), |gx| gx + &more)?);
            }
            let mut all = vec![gx];
            if weight.is_some() || has_places {
                all.push(gw.filter(|_| weight.is_some()));
            }
            if let Some(shape) = &bias {
                all.push(gb.map(|gb| gb.view_as_shape(shape)).transpose()?);
            }
            Ok(all)
        };
        recorder.finish_joint(outputs, joint_saving(rule, numbers), true)
    }

    /// The gradients of the elements, the weights and the biases: themselves recorded.
    fn backward(&self, g: &Tensor, x: &Tensor, weight: Option<&Tensor>, mean: &Tensor, rstd: &Tensor) -> Result<[Tensor; 3]> {
        let outputs = self.backward_values(g, x, weight, mean, rstd)?;
        let mut recorder = Recorder::new(self.backward);
        let on_tape = [g, x].into_iter().chain(weight).fold(false, |on, input| recorder.input(input) | on);
        if !(is_recording() && on_tape) {
            return Ok(outputs);
        }
        let (plan, g, x, weight) =
            (*self, g.save(), x.save_input(Role::Operand(1)), weight.map(|w| w.save_input(Role::Operand(2))));
        let given = (mean.save(), rstd.save());
        let rule = move |grads: &[Option<Tensor>], _: &[bool], _: &Arc<Node>| {
            plan.double_backward(grads, &g, &x, weight.as_deref(), &given)
        };
        match <[Tensor; 3]>::try_from(recorder.finish_joint(outputs.into(), Arc::new(rule), true)?) {
            Ok(outputs) => Ok(outputs),
            Err(_) => runtime_error!("{}: lost an output", self.backward),
        }
    }

    fn backward_values(
        &self,
        g: &Tensor,
        x: &Tensor,
        weight: Option<&Tensor>,
        mean: &Tensor,
        rstd: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let (op, dtype) = (self.backward, x.dtype());
        let ((from, groups), (g, _)) = (self.for_kernel(x)?, self.for_kernel(g)?);
        let parameters = filled(op, weight, groups.channels, 1, dtype)?;
        let (mean, rstd) = (mean.detached_read()?, rstd.detached_read()?);
        let gx = Tensor::uninitialized(op, from.shape(), dtype)?;
        let [gw, gb] = [0, 1].map(|_: usize| Tensor::zeroed(op, &[groups.chunks(), groups.channels], dtype));
        let (gw, gb) = (gw?, gb?);
        if x.numel() > 0 {
            crate::dispatch_floats!(dtype, op, T => {
                let read = [g.storage(), from.storage(), parameters.storage(), mean.storage(), rstd.storage()];
                let _access = Access::new(&read, &[gx.storage(), gw.storage(), gb.storage()]);
                let of = Backward::<T> {
                    g: g.ptr(),
                    x: from.ptr(),
                    weight: parameters.ptr(),
                    mean: mean.ptr(),
                    rstd: rstd.ptr(),
                    gx: gx.ptr(),
                    gw: gw.ptr(),
                    gb: gb.ptr(),
                };
                // SAFETY: as for `values`.
                without_interpreter(x.numel() * 4, || unsafe { kernel::backward(groups, self.statistics, &of) });
                Ok(())
            })?;
        }
        let shape = weight.map_or(Shape::from_slice(&[groups.channels]), |weight| weight.shape().into());
        let whole = |sums: Tensor| sums.sum(Some(dims(&[0])), false, None)?.view_as_shape(&shape);
        Ok([self.as_op_answers(gx, x)?, whole(gw)?.without_meta(), whole(gb)?.without_meta()])
    }

    /// Blocks, groups of channels, channels of a group, elements of a line.
    fn four_dims(&self, x: &Tensor) -> Result<Tensor> {
        let Groups { outer, channels, inner, width } = self.groups;
        let width = width.unwrap_or(1);
        x.reshape_to(&[outer, channels / width.max(1), width, inner])
    }

    /// Numbers of channels, for the same dims.
    fn of_channels(&self, x: &Tensor) -> Result<Tensor> {
        let width = self.groups.width.unwrap_or(1);
        x.reshape_to(&[1, self.groups.channels / width.max(1), width, 1])
    }

    /// The mean over each group of the four dims.
    fn mean(&self, x: &Tensor) -> Result<Tensor> {
        x.mean(Some(dims(if self.groups.width.is_some() { &[2, 3] } else { &[0, 2, 3] })), true, None)
    }

    /// The elements (in four dims) less their mean over the deviation, and one over that, recorded.
    fn standardized(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let h = if self.statistics == Statistics::AroundZero { x.clone() } else { (x - self.mean(x)?)? };
        let rstd = (self.mean(&(&h * &h)?)? + self.eps)?.rsqrt()?;
        Ok(((&h * &rstd)?, rstd))
    }

    /// v - mean(v) - h mean(v h): what is left of v when the statistics follow.
    fn projected(&self, v: &Tensor, h: &Tensor) -> Result<Tensor> {
        if self.statistics == Statistics::Given {
            return Ok(v.clone());
        }
        let v_h = (v - (h * self.mean(&(v * h)?)?)?)?;
        if self.statistics == Statistics::AroundZero { Ok(v_h) } else { v_h - self.mean(v)? }
    }

    /// The gradients of g, x and the weight, from those of what `backward` answers.
    ///
    /// With h = (x - mean) rstd, u = g weight and P = `projected`, that is gx = rstd P(u), gw = sum(g h), gb = sum(g). P is its
    /// own adjoint, a gradient c of h is one of rstd P(c) of x, and rstd has the derivative -rstd² h / n.
    fn double_backward(
        &self,
        grads: &[Option<Tensor>],
        g: &Tensor,
        x: &Tensor,
        weight: Option<&Tensor>,
        given: &(Tensor, Tensor),
    ) -> Result<Vec<Option<Tensor>>> {
        let [a, p, q] = [0, 1, 2].map(|i: usize| grads.get(i).and_then(Option::as_ref));
        let (g4, x4) = (self.four_dims(g)?, self.four_dims(x)?);
        let w4 = weight.map(|weight| self.of_channels(weight)).transpose()?;
        let weighted = |v: &Tensor| w4.as_ref().map_or(Ok(v.clone()), |w4| v * w4);
        let (h, rstd) = if self.statistics == Statistics::Given {
            let (mean, rstd) = (self.of_channels(&given.0)?, self.of_channels(&given.1)?);
            (((&x4 - &mean)? * &rstd)?, rstd)
        } else {
            self.standardized(&x4)?
        };
        let (mut gg, mut gx, mut gw): (Terms, Terms, Terms) = Default::default();
        let mut of_h = Terms::default();
        if let Some(a) = a {
            let (a, u) = (self.four_dims(a)?, weighted(&g4)?);
            let through = (&rstd * self.projected(&a, &h)?)?;
            gg.add(weighted(&through))?;
            gw.add(&g4 * &through)?;
            if self.statistics != Statistics::Given {
                let turned = ((&a * self.mean(&(&u * &h)?)?)? + (&u * self.mean(&(&a * &h)?)?)?)?;
                of_h.add((turned * &rstd)?.neg())?;
                let slope = self.mean(&(&a * self.projected(&u, &h)?)?)?;
                gx.add((((&rstd * &rstd)? * &h)? * slope)?.neg())?;
            }
        }
        if let Some(p) = p {
            let p = self.of_channels(p)?;
            gg.add(&p * &h)?;
            of_h.add(&p * &g4)?;
        }
        if let Some(q) = q {
            gg.add(self.of_channels(q)?.expand_to(self.backward, g4.shape()))?;
        }
        if let Some(c) = of_h.0 {
            gx.add(&rstd * self.projected(&c, &h)?)?;
        }
        let back = |terms: Terms, like: &Tensor| terms.0.map(|sum| sum.reshape_to(like.shape())).transpose();
        let mut all = vec![back(gg, g)?, back(gx, x)?];
        if let Some(weight) = weight {
            let sum = gw.0.map(|sum| sum.sum(Some(dims(&[0, 3])), true, None)?.reshape_to(weight.shape()));
            all.push(sum.transpose()?);
        }
        Ok(all)
    }

    /// The gradient of the elements from those of the means and of one over the deviations.
    fn backward_of_statistics(&self, g_mean: Option<&Tensor>, g_rstd: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
        if x.numel() == 0 {
            return x.as_zeros();
        }
        let x4 = self.four_dims(x)?;
        let (h, rstd) = self.standardized(&x4)?;
        let mut sum = Terms::default();
        let of_groups = |g: &Tensor| g.reshape_to(&[x4.shape()[0], x4.shape()[1], 1, 1]);
        if let Some(g) = g_mean {
            sum.add(of_groups(g)?.expand_to(self.op, x4.shape()))?;
        }
        if let Some(g) = g_rstd {
            sum.add((((&rstd * &rstd)? * &h)? * of_groups(g)?)?.neg())?;
        }
        let sum = sum.0.map_or_else(|| x4.as_zeros(), Ok)?;
        (sum / self.groups.size() as f64)?.reshape_to(x.shape())
    }
}

/// A sum that may have no terms yet.
#[derive(Default)]
struct Terms(Option<Tensor>);

impl Terms {
    fn add(&mut self, term: Result<Tensor>) -> Result<()> {
        let term = term?;
        self.0 = Some(match self.0.take() {
            None => term,
            Some(sum) => (sum + term)?,
        });
        Ok(())
    }
}

fn dims(list: &[isize]) -> Dims {
    Dims(list.into())
}
