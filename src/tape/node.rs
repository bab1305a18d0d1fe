//! Nodes of the tape, and the edges between them.

use std::any::Any;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::anomaly::{self, Origin};
use super::chain::{self, Level, Part};
use super::former;
use super::held;
use super::hooks::{Kept, NodeHooks};
use super::meta::{Hook, Meta};
use super::mode;
use super::numbers::Named;
use super::record::{Derivative, JointRule, Rule};
use super::saved::{self, Packed};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Shape;
use crate::runtime_error;
use crate::storage::{Storage, Watch};
use crate::tensor::{LeafHandle, Tensor};

/// Where a gradient goes.
#[derive(Clone)]
pub enum Edge {
    /// Nowhere.
    None,
    /// To an output of an op.
    Node(Arc<Node>, usize),
    /// To a leaf's `grad`, with the leaf for who comes there from the graph.
    Leaf(Arc<Meta>, LeafHandle),
}

impl Edge {
    /// Whether a gradient is wanted.
    pub fn is_some(&self) -> bool {
        !matches!(self, Edge::None)
    }

    /// The output of an op that it leads to.
    pub fn node(self) -> Option<(Arc<Node>, usize)> {
        if let Edge::Node(node, output) = self { Some((node, output)) } else { None }
    }

    /// See the same of [`Node`].
    #[inline]
    fn leads_to(&self) -> u8 {
        match self {
            Edge::None => 0,
            Edge::Node(node, _) => node.leads_to.load(Ordering::Relaxed),
            Edge::Leaf(meta, _) if meta.is_shown() => SHOWN,
            Edge::Leaf(..) => DUAL,
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

    /// Where the tangent comes from.
    pub fn of_tangent(&self) -> &Edge {
        match self {
            Edge::Node(node, _) if self.leads_to() & APART != 0 => node.inputs[1].edge.of_tangent(),
            _ => self,
        }
    }

    /// Whether what led to the tangent was made where gradients were recorded.
    pub fn has_recorded_tangent(&self) -> bool {
        self.of_tangent().leads_to() & DUAL_ONLY == 0
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
    /// Freed after its one use. Numbers stay.
    Freed(Named),
}

impl Rules {
    /// The same over clones of the tensors that they hold.
    pub fn again(&self) -> Rules {
        match self {
            Rules::Each(rules) => rules.again().map_or_else(|| self.clone(), Rules::Each),
            Rules::Joint(rule) => Rules::Joint(rule.again()),
            Rules::Freed(_) => self.clone(),
        }
    }

    /// The numbers that the op saved.
    pub fn numbers(&self) -> Named {
        match self {
            Rules::Each(rules) => rules.numbers(),
            Rules::Joint(rule) => rule.numbers(),
            Rules::Freed(numbers) => numbers.clone(),
        }
    }

    /// Takes the rules away, and leaves the numbers.
    pub fn free(&mut self) -> Rules {
        let freed = Rules::Freed(self.numbers());
        std::mem::replace(self, freed)
    }
}

/// The inputs of a node.
pub type Inputs = SmallVec<[Input; 2]>;

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
/// Of a node that was made without gradients, only for tangents.
const DUAL_ONLY: u8 = 4;
/// Of a node of [`apart`].
const APART: u8 = 8;

/// Those who want to see the gradients of a node's outputs.
#[derive(Default)]
pub struct Watchers {
    /// Hooks on outputs.
    pub hooks: Vec<(usize, Kept<Hook>)>,
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

    /// Whether it was made without gradients, only for tangents.
    pub fn is_dual_only(&self) -> bool {
        self.leads_to.load(Ordering::Relaxed) & DUAL_ONLY != 0
    }

    /// Of a base whose view has been written to: the op that has done so.
    pub fn written_by(&self) -> Option<&'static str> {
        match &*self.rules.lock() {
            Rules::Joint(rule) => rule.written_by(),
            _ => None,
        }
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

    /// The same for all that an op has answered: of several, the user may see one only.
    pub fn note_outputs(&self, outputs: &[Tensor]) {
        let looks = |(output, y): (usize, &Tensor)| (output, Shape::from_slice(y.shape()), y.dtype());
        *self.extras().known.lock() = outputs.iter().enumerate().map(looks).collect();
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

    /// Makes this fail to run if `x` is written to from now on: `x` as its output, or as made by another op. As in torch, nothing is
    /// checked of what hooks keep.
    pub fn watch(self: &Arc<Node>, x: &Tensor, output: Option<usize>) {
        if saved::current().is_some() {
            return;
        }
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

    /// Whether torch saves something that the rules here do not hold.
    pub fn is_watching(&self) -> bool {
        self.extras.get().is_some_and(|extras| !extras.watched.lock().is_empty())
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
        former::list(&again);
        again
    }

    /// Those who watch, to change them.
    pub fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.extras().watchers.lock()
    }

    /// Those who watch, unless somebody has them locked.
    pub fn try_watchers(&self) -> Option<MutexGuard<'_, Watchers>> {
        self.extras.get()?.watchers.try_lock()
    }

    /// Those who watch, if there ever were any.
    pub fn any_watchers(&self) -> Option<MutexGuard<'_, Watchers>> {
        self.extras.get().map(|extras| extras.watchers.lock())
    }
}

/// The op of a base whose view was written to; see [`super::slices`].
pub const COPY_SLICES: &str = "copy_slices";
/// The op of a view that must no longer be differentiated.
pub const FROZEN_VIEW: &str = "frozen_view";

/// The op of tensors that have been given other data; see [`of_other_data`].
pub const OTHER_DATA: &str = "data";

/// The op of tensors that must not be differentiated.
pub const DELAYED_ERROR: &str = "=Error";

/// The op of a leaf that carries a tangent.
pub const DUAL_LEAF: &str = "dual_leaf";

/// The op of what a dual tensor is to gradients.
pub const PRIMAL: &str = "=Identity";

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
            "diagonal_copy" => return "DiagonalBackward0_copy".to_string(),
            OTHER_DATA => {
                // To the user it is the tensor's own op.
                if let [Input { edge: Edge::Node(node, _), .. }] = &self.inputs[..] {
                    return node.name();
                }
            }
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
         already been freed). Specify retain_graph=True in .backward() or autograd.grad() to keep what {} saved.",
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
            let rules = std::mem::replace(self.rules.get_mut(), Rules::Freed(Named::new()));
            return chain::defer(Part::Node(std::mem::take(&mut self.inputs), rules, self.extras.take()));
        };
        self.inputs.clear();
        *self.rules.get_mut() = Rules::Freed(Named::new());
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

/// Makes a node.
pub fn node(op: &'static str, outputs: usize, inputs: Inputs, saves: bool, rules: Rules) -> Arc<Node> {
    packed(op, outputs, inputs, saves, rules, !mode::mode().grad)
}

/// Makes a node, `dual_only` if only for tangents, and packs what its rules hold.
#[inline(always)]
pub(super) fn packed(op: &'static str, outputs: usize, inputs: Inputs, saves: bool, rules: Rules, dual_only: bool) -> Arc<Node> {
    // In torch what is computed under `no_grad` has a tangent without history.
    let rules = if dual_only && saves && mode::mode().level.number == 0 { held::off_tape(&rules) } else { rules };
    let node = unpacked(op, outputs, inputs, saves, rules, dual_only);
    if saved::is_active() {
        saved::pack_for(&node);
    }
    former::list(&node);
    node
}

/// Makes a node of one input whose rule holds no tensor. It may come in the middle of another op, and leaves the tensors to that.
pub fn node_between(op: &'static str, input: Input, rule: Rule) -> Arc<Node> {
    unpacked(op, 1, smallvec::smallvec![input], false, Rules::Each(Arc::new(vec![Some(rule)])), false)
}

/// Makes a node, and leaves what its rules hold where it is.
pub(super) fn unpacked(
    op: &'static str,
    outputs: usize,
    inputs: Inputs,
    saves: bool,
    rules: Rules,
    dual_only: bool,
) -> Arc<Node> {
    let rules = Mutex::new(rules);
    // Outputs of one that leads nowhere require a gradient none the less.
    let nowhere = if inputs.iter().any(|input| input.edge.is_some()) { 0 } else { SHOWN };
    let leads_to = inputs.iter().fold(nowhere, |found, input| found | input.edge.leads_to()) & (SHOWN | DUAL);
    let leads_to = AtomicU8::new(if dual_only { leads_to & !SHOWN | DUAL_ONLY } else { leads_to });
    let node = Arc::new(Node { id: next_id(), op, outputs, inputs, saves, leads_to, rules, extras: OnceLock::new() });
    if anomaly::is_enabled() {
        anomaly::remember(&node);
    }
    node
}

/// The histories of a tensor that is differentiated along one edge, and carries the tangent of another.
struct Apart;

impl Derivative for Apart {
    fn of_input(&self, input: usize, g: &Tensor, _: &Arc<Node>) -> Option<Result<Tensor>> {
        (mode::is_forward() == (input == 1)).then(|| Ok(g.clone()))
    }

    fn again(&self) -> Option<Arc<dyn Derivative>> {
        None
    }
}

/// A node by which gradients go one way, and tangents come from another.
pub fn apart(op: &'static str, gradient: Edge, tangent: Edge, shape: &[usize], dtype: DType) -> Arc<Node> {
    let leads_to = gradient.leads_to() & SHOWN | tangent.leads_to() & DUAL | APART;
    let input = |edge| Input { edge, shape: Shape::from_slice(shape), dtype };
    let inputs = smallvec::smallvec![input(gradient), input(tangent)];
    let node = unpacked(op, 1, inputs, false, Rules::Each(Arc::new(Apart)), false);
    node.leads_to.store(leads_to, Ordering::Relaxed);
    node
}

/// The history of a tensor that is about to show something of another shape or dtype (`x.data = y`): the engine finds that the
/// gradients do not fit, where the rules of the tensor's op would trust them.
pub fn of_other_data(x: &Tensor) -> Arc<Node> {
    let rule: Rule = Box::new(|g, _| Ok(g.clone()));
    node_between(OTHER_DATA, Input::of(x), rule)
}
