//! How ops record nodes: [`vjp!`](crate::vjp) over [`Recorder`].

use std::sync::Arc;

use super::held::Role;
use super::mode::{self, Mode};
use super::node::{Edge, Input, Inputs, Node, Rules, packed};
use super::numbers::{Named, Saving};
use super::sample::Maps;
use super::saved;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::{Shape, copy_of};
use crate::tensor::Tensor;

/// How an op computes the gradient of each input from that of its one output.
pub trait Derivative: Send + Sync {
    /// The gradient of an input; `None` if it has none. The node is for rules that name the output.
    fn of_input(&self, input: usize, g: &Tensor, node: &Arc<Node>) -> Option<Result<Tensor>>;

    /// The same over clones of the tensors that it holds; `None` if it holds none. See [`super::held`].
    fn again(&self) -> Option<Arc<dyn Derivative>>;

    /// The numbers that the op saves.
    fn numbers(&self) -> Named {
        Named::new()
    }
}

impl Derivative for Arc<dyn Derivative> {
    fn of_input(&self, input: usize, g: &Tensor, node: &Arc<Node>) -> Option<Result<Tensor>> {
        (**self).of_input(input, g, node)
    }

    fn again(&self) -> Option<Arc<dyn Derivative>> {
        (**self).again()
    }

    fn numbers(&self) -> Named {
        (**self).numbers()
    }
}

/// From the gradient of the output (and the node, for rules that name the output) to that of one input. It holds no tensor.
pub type Rule = Box<dyn Fn(&Tensor, &Arc<Node>) -> Result<Tensor> + Send + Sync>;

/// One rule for each input, for ops with any number of inputs.
impl Derivative for Vec<Option<Rule>> {
    fn of_input(&self, input: usize, g: &Tensor, node: &Arc<Node>) -> Option<Result<Tensor>> {
        Some(self.get(input)?.as_ref()?(g, node))
    }

    fn again(&self) -> Option<Arc<dyn Derivative>> {
        None
    }
}

/// The rules of [`vjp!`](crate::vjp): all of an op's in one allocation.
macro_rules! derivative_of_tuples {
    ($($($rule:ident $place:tt),+;)+) => {$(
        impl<$($rule),+> Derivative for ($(Option<$rule>,)+)
        where
            $($rule: Fn(&Tensor, &Arc<Node>) -> Result<Tensor> + Clone + Send + Sync + 'static),+
        {
            fn of_input(&self, input: usize, g: &Tensor, node: &Arc<Node>) -> Option<Result<Tensor>> {
                match input {
                    $($place => self.$place.as_ref().map(|rule| rule(g, node)),)+
                    _ => None,
                }
            }

            fn again(&self) -> Option<Arc<dyn Derivative>> {
                if !holds_tensor(self) {
                    return None;
                }
                Some(Arc::new(self.clone()))
            }
        }
    )+};
}

derivative_of_tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
}

/// From the gradients of all outputs (and the node, for rules that name outputs) to those of all inputs, of which only
/// those wanted need be there.
pub trait JointDerivative: Send + Sync {
    /// The gradients.
    fn of_inputs(&self, grads: &[Option<Tensor>], wanted: &[bool], node: &Arc<Node>) -> Result<Vec<Option<Tensor>>>;

    /// The same over clones of the tensors that it holds.
    fn again(&self) -> JointRule;

    /// See the same of [`Node`].
    fn written_by(&self) -> Option<&'static str> {
        None
    }

    /// The numbers that the op saves.
    fn numbers(&self) -> Named {
        Named::new()
    }
}

impl<F> JointDerivative for F
where
    F: Fn(&[Option<Tensor>], &[bool], &Arc<Node>) -> Result<Vec<Option<Tensor>>> + Clone + Send + Sync + 'static,
{
    fn of_inputs(&self, grads: &[Option<Tensor>], wanted: &[bool], node: &Arc<Node>) -> Result<Vec<Option<Tensor>>> {
        self(grads, wanted, node)
    }

    fn again(&self) -> JointRule {
        Arc::new(self.clone())
    }
}

/// One rule for all inputs.
pub type JointRule = Arc<dyn JointDerivative>;

/// A rule of a closure, whose arguments need no types here.
pub fn joint<F>(rule: F) -> JointRule
where
    F: Fn(&[Option<Tensor>], &[bool], &Arc<Node>) -> Result<Vec<Option<Tensor>>> + Clone + Send + Sync + 'static,
{
    Arc::new(rule)
}

/// The same of an op that saves numbers; see [`saves!`](crate::saves).
pub fn joint_saving<F, N>(rule: F, numbers: N) -> JointRule
where
    F: Fn(&[Option<Tensor>], &[bool], &Arc<Node>) -> Result<Vec<Option<Tensor>>> + Clone + Send + Sync + 'static,
    N: Fn() -> Named + Clone + Send + Sync + 'static,
{
    Arc::new(Saving { rules: rule, numbers })
}

/// Collects the inputs of one op and makes its node.
pub struct Recorder {
    op: &'static str,
    inputs: Inputs,
    /// Whether a node is wanted if an input is on the tape.
    records: bool,
    /// Whether it is wanted only for tangents.
    dual_only: bool,
    /// Whether one is.
    any_on_tape: bool,
    /// Whether one is no inference tensor: of these alone nothing is recorded, but in inference mode for functions that are being
    /// differentiated.
    any_normal: bool,
    /// The maps whose samples inputs depend on.
    sample_of: Maps,
}

impl Recorder {
    /// For an op with this name.
    pub fn new(op: &'static str) -> Recorder {
        Recorder::within(mode::mode(), op, true)
    }

    /// For an op that has answered `y`, which may not be recorded.
    pub fn of(op: &'static str, y: &Tensor) -> Recorder {
        let mode = mode::mode();
        Recorder::within(mode, op, mode.records() && y.dtype().is_inexact())
    }

    #[inline(always)]
    fn within(mode: Mode, op: &'static str, records: bool) -> Recorder {
        let (dual_only, any_normal) = (!mode.grad, mode.inference);
        Recorder { op, inputs: Inputs::new(), records, dual_only, any_on_tape: false, any_normal, sample_of: Maps::NONE }
    }

    /// Adds an input; whether it wants a gradient.
    pub fn input(&mut self, x: &Tensor) -> bool {
        self.sample_of = self.sample_of.and(x.sample_of());
        if !self.records {
            return false;
        }
        let mut edge = x.edge();
        if self.dual_only && !edge.is_dual() {
            edge = Edge::None;
        }
        let wanted = edge.is_some();
        // A view may require a gradient that leads nowhere.
        self.any_on_tape |= wanted || !self.dual_only && x.requires_grad();
        self.any_normal |= !x.is_inference() || edge.is_dual();
        self.inputs.push(Input { edge, shape: copy_of(&x.layout().shape), dtype: x.dtype() });
        wanted
    }

    /// Adds the place of an input that is not there.
    pub fn no_input(&mut self, dtype: DType) {
        if self.records {
            self.inputs.push(Input { edge: Edge::None, shape: Shape::new(), dtype });
        }
    }

    /// Makes the node and puts `y` on the tape as its only output. `saves` says whether a rule holds a tensor.
    pub fn finish(self, y: Tensor, rules: impl Derivative + 'static, saves: bool) -> Result<Tensor> {
        self.place(y, saves, Rules::Each(Arc::new(rules)))
    }

    fn place(self, y: Tensor, saves: bool, rules: Rules) -> Result<Tensor> {
        y.note_sample_of(self.sample_of);
        // What copies an inference tensor, in whatever dtype, writes to a normal one.
        let copies = ["clone", "to_copy"].contains(&self.op);
        if !(self.any_on_tape && (self.any_normal || copies)) {
            return Ok(y);
        }
        let mut inputs = self.inputs;
        if inputs.last().is_some_and(|last| !last.edge.is_some()) && ends_in_number(self.op) {
            inputs.pop();
        }
        let node = packed(self.op, 1, inputs, saves, rules, self.dual_only);
        node.check_inputs()?;
        if saved::is_active() {
            saved::check()?;
        }
        Ok(y.with_origin(node, 0))
    }

    /// Notes on what samples of a function that is being mapped these depend, which may not be recorded.
    pub fn note_samples(&self, outputs: &[Tensor]) {
        outputs.iter().for_each(|y| y.note_sample_of(self.sample_of));
    }

    /// Makes the node of an op with several outputs, or with one rule for all inputs.
    /// Outputs that are not floating point stay off the tape.
    pub fn finish_joint(self, outputs: Vec<Tensor>, rule: JointRule, saves: bool) -> Result<Vec<Tensor>> {
        if !self.any_normal || self.dual_only && !self.any_on_tape {
            return Ok(outputs);
        }
        let followed = outputs.iter().rposition(|y| y.dtype().is_inexact()).map_or(1, |last| last + 1);
        let node = packed(self.op, followed, self.inputs, saves, Rules::Joint(rule), self.dual_only);
        node.check_inputs()?;
        if followed > 1 {
            node.note_outputs(&outputs[..followed]);
        }
        let place = |(i, y): (usize, Tensor)| if y.dtype().is_inexact() { y.with_origin(node.clone(), i) } else { y };
        if saved::is_active() {
            saved::check()?;
        }
        Ok(outputs.into_iter().enumerate().map(place).collect())
    }
}

/// Whether the last operand of an op is a number, which to torch is no input.
fn ends_in_number(op: &str) -> bool {
    matches!(op, "copysign.1" | "index_fill" | "lerp" | "masked_fill" | "scatter.1")
}

/// Whether a closure holds a tensor: then it is aligned like one, as nothing else that rules hold is.
pub const fn holds_tensor<F>(_: &F) -> bool {
    align_of::<F>() >= align_of::<Tensor>()
}

/// What `make` makes, without saving tensors first where the rule holds nothing.
pub fn built<F>(make: impl FnOnce() -> F) -> F {
    if size_of::<F>() > 0 {
        return make();
    }
    // SAFETY: a closure that captures nothing is a value without bytes, which may be read from anywhere.
    unsafe { std::ptr::NonNull::dangling().read() }
}

/// An output that the rules of its own op need. Holds no place on the tape, which would be a cycle.
#[derive(Clone)]
pub struct SavedOutput(Tensor, usize);

impl SavedOutput {
    /// Keeps the values of the only output.
    pub fn new(y: &Tensor) -> SavedOutput {
        SavedOutput::of_several(y, 0)
    }

    /// Keeps the values of output `i`.
    pub fn of_several(y: &Tensor, i: usize) -> SavedOutput {
        SavedOutput(y.save_as(Role::Output(i as u8)).without_meta(), i)
    }

    /// The output off the tape.
    pub fn values(&self) -> Tensor {
        self.0.clone()
    }

    /// The output, back on its place on the tape.
    pub fn unpack(&self, node: &Arc<Node>) -> Tensor {
        self.0.clone().with_origin(node.clone(), self.1)
    }
}

/// Ends an op: puts its output on the tape if an input is on it and recording is on.
///
/// `vjp!("mul", y, { a: |g| g * &b, b: |g| g * &a })`: one closure per differentiable input, from the gradient
/// of the output (and the output, if a second name is given) to that of the input. What a closure names is kept
/// until it has run: the inputs among them with the check that nobody writes to them meanwhile.
///
/// `vjp!("cat", y, { .. }, saves { dim })`: what else torch shows of the op, `grad_fn._saved_dim`.
#[macro_export]
macro_rules! vjp {
    ($op:expr, $y:expr, { $($x:ident : |$g:ident $(, $out:ident)?| $rule:expr),+ $(,)? } $(, saves { $($number:tt)+ })? $(,)?) => {
        $crate::vjp!(@all [$($x)+] $op, $y, { $($x : |$g $(, $out)?| $rule),+ }, [$($($number)+)?])
    };
    (@all $names:tt $op:expr, $y:expr, { $($x:ident : |$g:ident $(, $out:ident)?| $rule:expr),+ }, $numbers:tt) => {{
        let y: $crate::tensor::Tensor = $y;
        if $crate::tape::is_following() && (false $(|| $x.is_followed())+) {
            let mut recorder = $crate::tape::Recorder::of($op, &y);
            let mut saves = false;
            $crate::vjp!(@numbers $numbers numbers);
            let rules = ($($crate::vjp!(@one $names recorder, saves, y, $x, |$g $(, $out)?| $rule),)+);
            recorder.finish(y, $crate::vjp!(@saving $numbers numbers, rules), saves)
        } else {
            Ok::<$crate::tensor::Tensor, $crate::error::Error>(y)
        }
    }};
    (@numbers [] $numbers:ident) => {};
    (@numbers [$($number:tt)+] $numbers:ident) => {
        let $numbers = $crate::saves! { $($number)+ };
    };
    (@saving [] $numbers:ident, $rules:ident) => {
        $rules
    };
    (@saving [$($number:tt)+] $numbers:ident, $rules:ident) => {
        $crate::tape::numbers::Saving { rules: $rules, numbers: $numbers }
    };
    (@one $names:tt $recorder:ident, $saves:ident, $y:ident, $x:ident, |$g:ident| $rule:expr) => {
        $crate::vjp!(@rule $names $recorder, $saves, $x, {}, |$g, _node| $rule)
    };
    (@one $names:tt $recorder:ident, $saves:ident, $y:ident, $x:ident, |$g:ident, $out:ident| $rule:expr) => {
        $crate::vjp!(@rule $names $recorder, $saves, $x, { let saved = $crate::tape::SavedOutput::new(&$y); }, |$g, node| {
            let $out = &saved.unpack(node);
            $rule
        })
    };
    (@rule [$($all:ident)+] $recorder:ident, $saves:ident, $x:ident, { $($before:tt)* }, |$g:ident, $node:ident| $rule:expr) => {
        if $recorder.input(&$x) {
            let rule = $crate::tape::record::built(|| {
                let mut place = 0..;
                $(#[allow(unused_variables)] let $all = $all.save_input($crate::tape::held::Role::operand(&mut place));)+
                $($before)*
                move |$g: &$crate::tensor::Tensor, $node: &std::sync::Arc<$crate::tape::Node>| $rule
            });
            $saves |= $crate::tape::record::holds_tensor(&rule);
            Some(rule)
        } else {
            None
        }
    };
}
