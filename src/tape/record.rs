//! Nodes of the tape and how ops record them: [`vjp!`](crate::vjp) over [`Recorder`].

use std::any::Any;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::anomaly::{self, Origin};
use super::chain::{self, Level, Part};
use super::held::Role;
use super::hooks::NodeHooks;
use super::meta::{Hook, Meta};
use super::mode::{self, Mode};
use super::sample::Maps;
use super::saved::{self, Packed};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::{Shape, copy_of};
use crate::runtime_error;
use crate::storage::{Storage, Watch};
use crate::tensor::Tensor;

/// How an op computes the gradient of each input from that of its one output.
pub trait Derivative: Send + Sync {
    /// The gradient of an input; `None` if it has none. The node is for rules that name the output.
    fn of_input(&self, input: usize, g: &Tensor, node: &Arc<Node>) -> Option<Result<Tensor>>;

    /// The same over clones of the tensors that it holds; `None` if it holds none. See [`super::held`].
    fn again(&self) -> Option<Arc<dyn Derivative>>;
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

/// Where a gradient goes.
#[derive(Clone)]
pub enum Edge {
    /// Nowhere.
    None,
    /// To an output of an op.
    Node(Arc<Node>, usize),
    /// To a leaf's `grad`.
    Leaf(Arc<Meta>),
}

impl Edge {
    /// Whether a gradient is wanted.
    pub fn is_some(&self) -> bool {
        !matches!(self, Edge::None)
    }

    /// See the same of [`Node`].
    #[inline]
    fn leads_to(&self) -> u8 {
        match self {
            Edge::None => 0,
            Edge::Node(node, _) => node.leads_to.load(Ordering::Relaxed),
            Edge::Leaf(meta) if meta.is_shown() => SHOWN,
            Edge::Leaf(_) => DUAL,
        }
    }

    /// Whether a gradient is wanted that the user can see.
    #[inline]
    pub fn is_shown(&self) -> bool {
        self.leads_to() & SHOWN != 0
    }

    /// Whether it leads to what carries a tangent.
    #[inline]
    pub fn is_dual(&self) -> bool {
        self.leads_to() & DUAL != 0
    }
}

/// One input of a recorded op.
pub struct Input {
    /// Where its gradient goes.
    pub edge: Edge,
    /// Its shape, to which the engine sums.
    pub shape: Shape,
    /// Its dtype, to which the engine casts.
    pub dtype: DType,
}

impl Input {
    /// A tensor, with its place on the tape of now.
    pub fn of(x: &Tensor) -> Input {
        Input { edge: x.edge(), shape: Shape::from_slice(x.shape()), dtype: x.dtype() }
    }
}

/// How a node computes gradients. Cheap to clone, so that no lock is held while a rule runs.
#[derive(Clone)]
pub enum Rules {
    /// One rule per input.
    Each(Arc<dyn Derivative>),
    /// All inputs at once.
    Joint(JointRule),
    /// Freed after its one use.
    Freed,
}

impl Rules {
    /// The same over clones of the tensors that they hold.
    pub fn again(&self) -> Rules {
        match self {
            Rules::Each(rules) => rules.again().map_or_else(|| self.clone(), Rules::Each),
            Rules::Joint(rule) => Rules::Joint(rule.again()),
            Rules::Freed => Rules::Freed,
        }
    }
}

/// A recorded op.
pub struct Node {
    /// Grows with time, so the newest node is always ready to run.
    pub id: u64,
    /// The op's name, as given to the recorder; [`Node::name`] is torch's.
    pub op: &'static str,
    /// Number of outputs.
    pub outputs: usize,
    /// The inputs, in the order of the op's arguments.
    pub inputs: Inputs,
    /// Whether a rule holds a tensor, so that it can run only once unless the graph is retained.
    pub saves: bool,
    /// What it leads to: [`SHOWN`], [`DUAL`].
    leads_to: AtomicU8,
    /// The rules; taken when they have run.
    pub rules: Mutex<Rules>,
    /// What few nodes have.
    pub extras: OnceLock<Box<Extras>>,
}

/// Of a node that leads to what the user sees: its outputs require a gradient, not only tangents.
const SHOWN: u8 = 1;
/// Of a node that leads to what carries a tangent.
const DUAL: u8 = 2;

/// Those who want to see the gradients of a node's outputs.
#[derive(Default)]
pub struct Watchers {
    /// Hooks on outputs: (output, handle id, hook).
    pub hooks: Vec<(usize, u64, Hook)>,
    /// Outputs whose gradients are kept, and where. Weak, as tensors hold their nodes.
    pub retained: Vec<(usize, Weak<Meta>)>,
    /// Outputs that have been taken off the tape in place.
    pub detached: Vec<usize>,
}

/// A tensor that must not be written to. Weak: memory that is gone has not been.
#[derive(Clone)]
struct Watched {
    watch: Watch,
    shape: Shape,
    dtype: DType,
    made_by: Option<(Weak<Node>, usize)>,
    /// Whether it is an operand, which must not have been taken off the tape in place either.
    is_operand: bool,
}

/// What few nodes have, so that the others need not have room for it.
#[derive(Default)]
pub struct Extras {
    /// The object that a custom op is to the layer that made it.
    pub object: OnceLock<Arc<dyn Any + Send + Sync>>,
    watchers: Mutex<Watchers>,
    /// What the layer above keeps for the user.
    pub metadata: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Where it was recorded, for anomaly detection.
    pub origin: OnceLock<Origin>,
    /// What its rules hold, where hooks keep it elsewhere.
    pub packed: Mutex<Vec<Arc<Packed>>>,
    /// Tensors that must not have been written to when the rules run, though these do not hold them.
    watched: Mutex<Vec<Watched>>,
    /// Hooks on the node as a whole.
    pub node_hooks: Mutex<NodeHooks>,
    /// Number, shape and dtype of the outputs that the user has come here from.
    known: Mutex<Vec<(usize, Shape, DType)>>,
}

impl Node {
    /// Whether its outputs require a gradient as far as the user sees.
    #[inline]
    pub fn is_shown(&self) -> bool {
        self.leads_to.load(Ordering::Relaxed) & SHOWN != 0
    }

    /// Whether its outputs carry tangents.
    #[inline]
    pub fn is_dual(&self) -> bool {
        self.leads_to.load(Ordering::Relaxed) & DUAL != 0
    }

    /// Makes it one whose outputs require a gradient to the user.
    pub fn show(&self) {
        self.leads_to.fetch_or(SHOWN, Ordering::Relaxed);
    }

    /// Makes it one whose outputs do not.
    pub fn hide(&self) {
        self.leads_to.fetch_and(!SHOWN, Ordering::Relaxed);
    }

    /// Makes it one whose outputs carry tangents.
    pub fn carry(&self) {
        self.leads_to.fetch_or(DUAL, Ordering::Relaxed);
    }

    /// Notes how an output looks, as the user is about to see its node and may hand in gradients for it.
    pub fn note_output(&self, output: usize, shape: &[usize], dtype: DType) {
        let mut known = self.extras().known.lock();
        if !known.iter().any(|(number, ..)| *number == output) {
            known.push((output, Shape::from_slice(shape), dtype));
        }
    }

    /// Shape and dtype of an output, if they have been noted.
    pub fn noted_output(&self, output: usize) -> Result<(Shape, DType)> {
        let known = self.extras.get().and_then(|extras| extras.known.lock().iter().find(|known| known.0 == output).cloned());
        match known {
            Some((_, shape, dtype)) => Ok((shape, dtype)),
            None => {
                runtime_error!("{}: the shape of output {output} is not known yet: ask it for its grad_fn first", self.name())
            }
        }
    }

    /// What few nodes have, made when it is first needed.
    pub fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    /// Makes this fail to run if `x` is written to from now on: `x` as its output, or as made by another op.
    pub fn watch(self: &Arc<Node>, x: &Tensor, output: Option<usize>) {
        let made_by = match output {
            Some(output) => Some((Arc::downgrade(self), output)),
            None => x.node().map(|(node, output)| (Arc::downgrade(&node), output)),
        };
        let (watch, shape, dtype) = (x.watch(), Shape::from_slice(x.shape()), x.dtype());
        self.extras().watched.lock().push(Watched { watch, shape, dtype, made_by, is_operand: output.is_none() });
    }

    /// Whether this fails to run if such memory is written to.
    pub fn watches(&self, memory: &Storage) -> bool {
        self.extras.get().is_some_and(|extras| extras.watched.lock().iter().any(|watched| watched.watch.is_of(memory)))
    }

    /// Fails if something that is watched has been written to.
    pub fn check_watched(&self) -> Result<()> {
        let Some(extras) = self.extras.get() else { return Ok(()) };
        let watched = extras.watched.lock();
        for (node, output) in watched.iter().filter(|watched| watched.is_operand).filter_map(|watched| watched.made_by.as_ref()) {
            node.upgrade().map_or(Ok(()), |node| node.check_attached(*output))?;
        }
        let Some((watched, found)) = watched.iter().find_map(|watched| Some((watched, watched.watch.changed()?))) else {
            return Ok(());
        };
        let Watched { watch, shape, dtype, made_by, .. } = watched;
        let mut what = format!("[torch.{}Tensor {shape:?}]", dtype.type_word());
        if let Some((node, output)) = made_by.as_ref().and_then(|(node, output)| Some((node.upgrade()?, output))) {
            what += &format!(", which is output {output} of {},", short_name(&node.name()));
        }
        Err(Error::Modified { what, found, expected: watch.version, traced: anomaly::is_enabled() })
    }

    /// Fails if an output that another op has saved was taken off the tape in place.
    pub fn check_attached(&self, output: usize) -> Result<()> {
        if !self.any_watchers().is_some_and(|watchers| watchers.detached.contains(&output)) {
            return Ok(());
        }
        Err(Error::Undefined(
            "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_(). This is not supported, please use \
             out-of-place `.detach()` instead"
                .to_string(),
        ))
    }

    /// This node, made again after number `began` with all that it leads to, but with `edge` in the place of the first edge of each
    /// to `old`. What the rules hold stays where it is on the tape.
    pub fn redirected(self: &Arc<Node>, began: u64, old: &Arc<Node>, edge: &Edge) -> Arc<Node> {
        let mut found = false;
        let mut redirect = |input: &Input| {
            let edge = match &input.edge {
                Edge::Node(node, _) if !found && Arc::ptr_eq(node, old) => {
                    found = true;
                    edge.clone()
                }
                Edge::Node(node, output) if node.id > began => Edge::Node(node.redirected(began, old, edge), *output),
                other => other.clone(),
            };
            Input { edge, shape: input.shape.clone(), dtype: input.dtype }
        };
        let inputs = self.inputs.iter().map(&mut redirect).collect();
        let again = unpacked(self.op, self.outputs, inputs, self.saves, self.rules.lock().clone(), !self.is_shown());
        if let Some(extras) = self.extras.get() {
            *again.extras().watched.lock() = extras.watched.lock().clone();
            *again.extras().packed.lock() = extras.packed.lock().clone();
        }
        again
    }

    /// Those who watch, to change them.
    pub fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.extras().watchers.lock()
    }

    /// Those who watch, if there ever were any.
    pub fn any_watchers(&self) -> Option<MutexGuard<'_, Watchers>> {
        self.extras.get().map(|extras| extras.watchers.lock())
    }
}

/// The op of a base whose view was written to; see [`super::view`].
pub const COPY_SLICES: &str = "copy_slices";
/// The op of a view that must no longer be differentiated.
pub const FROZEN_VIEW: &str = "frozen_view";

/// The op of tensors that must not be differentiated.
pub const DELAYED_ERROR: &str = "=Error";

/// The op of a leaf that carries a tangent.
pub const DUAL_LEAF: &str = "dual_leaf";

/// The first letter of an op whose name is torch's already.
pub const EXACT_NAME: char = '=';

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that grows with each call, for nodes and hook handles.
pub fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Node {
    /// Torch's name: `max_dim.1` is `MaxDimBackward1`.
    pub fn name(&self) -> String {
        if let Some(name) = self.op.strip_prefix(EXACT_NAME) {
            return name.to_string();
        }
        match self.op {
            COPY_SLICES => return "CopySlices".to_string(),
            "copy" => return "CopyBackwards".to_string(),
            _ => {}
        }
        let (op, overload) = self.op.split_once('.').unwrap_or((self.op, "0"));
        // Words begin after underscores and digits: `Log1PBackward0`.
        let mut begins = true;
        let mut camel = String::with_capacity(op.len() + 10);
        for letter in op.chars() {
            if letter != '_' {
                camel.push(if begins { letter.to_ascii_uppercase() } else { letter });
            }
            begins = letter == '_' || letter.is_ascii_digit();
        }
        camel + "Backward" + overload
    }
}

/// The failure to run a node, or to look at what it saved, when that is gone.
pub fn freed(node: &Node) -> Error {
    Error::Runtime(format!(
        "Trying to backward through the graph a second time (or directly access saved tensors after they have \
         already been freed). Saved intermediate values of the graph are freed when you call .backward() or \
         autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if \
         you need to access saved tensors after calling backward. (The op: {})",
        node.name()
    ))
}

/// What torch calls an op in messages: `Mul` for `MulBackward0`.
pub fn short_name(name: &str) -> &str {
    let word = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    word.strip_suffix("Backward").unwrap_or(name)
}

/// Drops a long chain of nodes in pieces: recursion would overflow the stack.
impl Drop for Node {
    fn drop(&mut self) {
        let Some(level) = Level::enter() else {
            let rules = std::mem::replace(self.rules.get_mut(), Rules::Freed);
            return chain::defer(Part::Node(std::mem::take(&mut self.inputs), rules, self.extras.take()));
        };
        self.inputs.clear();
        *self.rules.get_mut() = Rules::Freed;
        drop(self.extras.take());
        level.end();
    }
}

impl Tensor {
    /// Of what an op has just answered: its backward fails if one of these has been written to. Torch saves them, where the rules
    /// here hold less.
    pub(crate) fn watching(self, inputs: &[&Tensor]) -> Tensor {
        if let Some((node, _)) = self.node() {
            inputs.iter().for_each(|x| node.watch(x, None));
        }
        self
    }

    /// The same if there is a gradient for it.
    pub(crate) fn watching_if_followed(self, input: &Tensor) -> Tensor {
        if input.requires_grad() { self.watching(&[input]) } else { self }
    }

    /// The same for itself, which torch saves.
    pub(crate) fn watching_itself(self) -> Tensor {
        if let Some((node, output)) = self.node() {
            node.watch(&self, Some(output));
        }
        self
    }
}

/// The inputs of a node.
pub type Inputs = SmallVec<[Input; 2]>;

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
        let node = packed(self.op, 1, self.inputs, saves, rules, self.dual_only);
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
        let node = packed(self.op, outputs.len(), self.inputs, saves, Rules::Joint(rule), self.dual_only);
        node.check_inputs()?;
        let place = |(i, y): (usize, Tensor)| if y.dtype().is_inexact() { y.with_origin(node.clone(), i) } else { y };
        if saved::is_active() {
            saved::check()?;
        }
        Ok(outputs.into_iter().enumerate().map(place).collect())
    }
}

/// Makes a node.
pub fn node(op: &'static str, outputs: usize, inputs: Inputs, saves: bool, rules: Rules) -> Arc<Node> {
    packed(op, outputs, inputs, saves, rules, !mode::mode().grad)
}

/// Makes a node, `dual_only` if only for tangents, and packs what its rules hold.
#[inline(always)]
fn packed(op: &'static str, outputs: usize, inputs: Inputs, saves: bool, rules: Rules, dual_only: bool) -> Arc<Node> {
    let node = unpacked(op, outputs, inputs, saves, rules, dual_only);
    if saved::is_active() {
        saved::pack_for(&node);
    }
    node
}

/// Makes a node of one input whose rule holds no tensor. It may come in the middle of another op, and leaves the tensors to that.
pub fn node_between(op: &'static str, input: Input, rule: Rule) -> Arc<Node> {
    unpacked(op, 1, smallvec::smallvec![input], false, Rules::Each(Arc::new(vec![Some(rule)])), false)
}

fn unpacked(op: &'static str, outputs: usize, inputs: Inputs, saves: bool, rules: Rules, dual_only: bool) -> Arc<Node> {
    let rules = Mutex::new(rules);
    // Outputs of one that leads nowhere require a gradient none the less.
    let nowhere = if inputs.iter().any(|input| input.edge.is_some()) { 0 } else { SHOWN };
    let leads_to = inputs.iter().fold(nowhere, |found, input| found | input.edge.leads_to());
    let leads_to = AtomicU8::new(if dual_only { leads_to & !SHOWN } else { leads_to });
    let node = Arc::new(Node { id: next_id(), op, outputs, inputs, saves, leads_to, rules, extras: OnceLock::new() });
    if anomaly::is_enabled() {
        anomaly::remember(&node);
    }
    node
}

/// The history of a tensor that is about to show something of another shape or dtype (`x.data = y`): the engine finds that the
/// gradients do not fit, where the rules of the tensor's op would trust them.
pub fn of_other_data(x: &Tensor) -> Arc<Node> {
    let rule: Rule = Box::new(|g, _| Ok(g.clone()));
    node_between("data", Input::of(x), rule)
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
#[macro_export]
macro_rules! vjp {
    ($op:expr, $y:expr, { $($x:ident : |$g:ident $(, $out:ident)?| $rule:expr),+ $(,)? }) => {
        $crate::vjp!(@all [$($x)+] $op, $y, { $($x : |$g $(, $out)?| $rule),+ })
    };
    (@all $names:tt $op:expr, $y:expr, { $($x:ident : |$g:ident $(, $out:ident)?| $rule:expr),+ }) => {{
        let y: $crate::tensor::Tensor = $y;
        if $crate::tape::is_following() && (false $(|| $x.is_followed())+) {
            let mut recorder = $crate::tape::Recorder::of($op, &y);
            let mut saves = false;
            let rules = ($($crate::vjp!(@one $names recorder, saves, y, $x, |$g $(, $out)?| $rule),)+);
            recorder.finish(y, rules, saves)
        } else {
            Ok::<$crate::tensor::Tensor, $crate::error::Error>(y)
        }
    }};
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
