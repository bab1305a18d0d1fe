//! Nodes of the tape and how ops record them: [`vjp!`](crate::vjp) over [`Recorder`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::anomaly::{self, Origin};
use super::hooks::NodeHooks;
use super::meta::{Hook, Meta};
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::Shape;
use crate::tensor::Tensor;

/// From the gradient of the output (and the node, for rules that name the output) to that of one input.
pub type Rule = Arc<dyn Fn(&Tensor, &Arc<Node>) -> Result<Tensor> + Send + Sync>;

/// From the gradients of all outputs (and the node, for rules that name outputs) to those of all inputs, of which only
/// those wanted need be there.
pub type JointRule = Arc<dyn Fn(&[Option<Tensor>], &[bool], &Arc<Node>) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

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

/// How a node computes gradients. Cheap to clone, so that no lock is held while a rule runs.
#[derive(Clone)]
pub enum Rules {
    /// One rule per input; `None` where none is wanted.
    Single(SmallVec<[Option<Rule>; 2]>),
    /// All inputs at once.
    Joint(JointRule),
    /// Freed after its one use.
    Freed,
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
    pub inputs: SmallVec<[Input; 2]>,
    /// Whether a rule holds a tensor, so that it can run only once unless the graph is retained.
    pub saves: bool,
    /// The rules; taken when they have run.
    pub rules: Mutex<Rules>,
    /// Hooks on outputs: (output, handle id, hook).
    pub hooks: Mutex<Vec<(usize, u64, Hook)>>,
    /// Outputs whose gradients are kept, and where. Weak, as tensors hold their nodes.
    pub retained: Mutex<Vec<(usize, Weak<Meta>)>>,
    /// What few nodes have.
    pub extras: OnceLock<Box<Extras>>,
}

/// What few nodes have, so that the others need not have room for it.
#[derive(Default)]
pub struct Extras {
    /// The object that a custom op is to the layer that made it.
    pub object: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// What the layer above keeps for the user.
    pub metadata: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Where it was recorded, for anomaly detection.
    pub origin: OnceLock<Origin>,
    /// Hooks on the node as a whole.
    pub node_hooks: Mutex<NodeHooks>,
}

impl Node {
    /// What few nodes have, made when it is first needed.
    pub fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }
}

/// The op of a base whose view was written to; see [`super::view`].
pub const COPY_SLICES: &str = "copy_slices";
/// The op of a view that must no longer be differentiated.
pub const FROZEN_VIEW: &str = "frozen_view";

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
        let camel = op.split('_').filter(|part| !part.is_empty()).map(|part| {
            let (first, rest) = part.split_at(1);
            first.to_uppercase() + rest
        });
        camel.collect::<String>() + "Backward" + overload
    }
}

/// What torch calls an op in messages: `Mul` for `MulBackward0`.
pub fn short_name(name: &str) -> &str {
    let word = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    word.strip_suffix("Backward").unwrap_or(name)
}

/// Drops a chain of nodes one after the other: recursion would overflow the stack on long chains.
impl Drop for Node {
    fn drop(&mut self) {
        thread_local! {
            static QUEUE: RefCell<Vec<(SmallVec<[Input; 2]>, Rules)>> = const { RefCell::new(Vec::new()) };
            static DRAINING: Cell<bool> = const { Cell::new(false) };
        }
        /// Also when a panic passes: the queue is for those who come later, too.
        struct Drained;
        impl Drop for Drained {
            fn drop(&mut self) {
                DRAINING.set(false);
            }
        }
        let parts = (std::mem::take(&mut self.inputs), std::mem::replace(self.rules.get_mut(), Rules::Freed));
        let queued = QUEUE.try_with(|queue| queue.borrow_mut().push(parts));
        if queued.is_err() || DRAINING.replace(true) {
            return;
        }
        let _drained = Drained;
        while let Some(parts) = QUEUE.with(|queue| queue.borrow_mut().pop()) {
            drop(parts);
        }
    }
}

/// Collects the inputs of one op and makes its node.
pub struct Recorder {
    op: &'static str,
    inputs: SmallVec<[Input; 2]>,
    rules: SmallVec<[Option<Rule>; 2]>,
    saves: bool,
}

impl Recorder {
    /// For an op with this name.
    pub fn new(op: &'static str) -> Recorder {
        Recorder { op, inputs: SmallVec::new(), rules: SmallVec::new(), saves: false }
    }

    /// Adds an input; whether it wants a gradient, so that its rule must follow.
    pub fn input(&mut self, x: &Tensor) -> bool {
        let edge = x.edge();
        let wanted = edge.is_some();
        self.inputs.push(Input { edge, shape: Shape::from_slice(x.shape()), dtype: x.dtype() });
        self.rules.push(None);
        wanted
    }

    /// The rule of the input added last.
    pub fn rule<F>(&mut self, rule: F)
    where
        F: Fn(&Tensor, &Arc<Node>) -> Result<Tensor> + Send + Sync + 'static,
    {
        // A closure that is smaller than a tensor cannot hold one.
        self.saves |= size_of::<F>() >= size_of::<Tensor>();
        if let Some(last) = self.rules.last_mut() {
            *last = Some(Arc::new(rule));
        }
    }

    /// Makes the node and puts `y` on the tape as its only output.
    pub fn finish(self, y: Tensor) -> Tensor {
        let node = node(self.op, 1, self.inputs, self.saves, Rules::Single(self.rules));
        y.with_meta(Meta::of_node(node, 0))
    }

    /// Makes the node of an op with several outputs, or with one rule for all inputs.
    /// Outputs that are not floating point stay off the tape.
    pub fn finish_joint(self, outputs: Vec<Tensor>, rule: JointRule) -> Vec<Tensor> {
        let node = node(self.op, outputs.len(), self.inputs, true, Rules::Joint(rule));
        let place = |(i, y): (usize, Tensor)| if y.dtype().is_float() { y.with_meta(Meta::of_node(node.clone(), i)) } else { y };
        outputs.into_iter().enumerate().map(place).collect()
    }
}

/// Makes a node.
pub fn node(op: &'static str, outputs: usize, inputs: SmallVec<[Input; 2]>, saves: bool, rules: Rules) -> Arc<Node> {
    let node = Arc::new(Node {
        id: next_id(),
        op,
        outputs,
        inputs,
        saves,
        rules: Mutex::new(rules),
        hooks: Mutex::default(),
        retained: Mutex::default(),
        extras: OnceLock::new(),
    });
    if anomaly::is_enabled() {
        anomaly::remember(&node);
    }
    node
}

/// An output that the rules of its own op need. Holds no place on the tape, which would be a cycle.
pub struct SavedOutput(Tensor, usize);

impl SavedOutput {
    /// Keeps the values of the only output.
    pub fn new(y: &Tensor) -> SavedOutput {
        SavedOutput::of_several(y, 0)
    }

    /// Keeps the values of output `i`.
    pub fn of_several(y: &Tensor, i: usize) -> SavedOutput {
        SavedOutput(y.save().without_meta(), i)
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
        if $crate::tape::is_recording() && y.dtype().is_float() && (false $(|| $x.requires_grad())+) {
            let mut recorder = $crate::tape::Recorder::new($op);
            $($crate::vjp!(@one $names recorder, y, $x, |$g $(, $out)?| $rule);)+
            Ok(recorder.finish(y))
        } else {
            Ok::<$crate::tensor::Tensor, $crate::error::Error>(y)
        }
    }};
    (@one [$($all:ident)+] $recorder:ident, $y:ident, $x:ident, |$g:ident| $rule:expr) => {
        if $recorder.input(&$x) {
            $(#[allow(unused_variables)] let $all = $all.save();)+
            $recorder.rule(move |$g: &$crate::tensor::Tensor, _: &std::sync::Arc<$crate::tape::Node>| $rule);
        }
    };
    (@one [$($all:ident)+] $recorder:ident, $y:ident, $x:ident, |$g:ident, $out:ident| $rule:expr) => {
        if $recorder.input(&$x) {
            $(#[allow(unused_variables)] let $all = $all.save();)+
            let saved = $crate::tape::SavedOutput::new(&$y);
            $recorder.rule(move |$g: &$crate::tensor::Tensor, node: &std::sync::Arc<$crate::tape::Node>| {
                let $out = &saved.unpack(node);
                $rule
            });
        }
    };
}
