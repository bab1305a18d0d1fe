//! Runs the tape backwards.
//!
//! Node numbers grow with time, so the newest node that has a gradient is always ready: no recursion, no
//! topological sort. The engine adds gradients up, sums them to their input's shape and casts them to its dtype;
//! the rules of the ops do none of this.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use super::anomaly;
use super::leaves::{Leaves, keep_grad};
use super::meta::Meta;
use super::mode::{self, ModeGuard, is_recording};
use super::node::{DELAYED_ERROR, EXACT_NAME, Edge, FROZEN_VIEW, Node, Rules, freed};
use super::reach::{Running, with_room};
use super::saved;
use crate::error::{Error, Result};
use crate::runtime_error;
use crate::tensor::Tensor;

/// Hashes numbers of nodes and addresses, which need no protection against chosen keys.
#[derive(Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte as u64));
    }

    fn write_u64(&mut self, value: u64) {
        // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
        self.0 = (self.0.rotate_left(29) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// By numbers of nodes or addresses.
pub type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Spread>>;
/// Of numbers of nodes or addresses.
pub type HashSet<K> = std::collections::HashSet<K, BuildHasherDefault<Spread>>;

/// What a run is asked for.
pub struct Options {
    /// Keep the rules, so that the graph can be run again.
    pub retain_graph: bool,
    /// Record the backward pass itself.
    pub create_graph: bool,
}

/// A node that has received gradients for some of its outputs.
struct Pending {
    node: Arc<Node>,
    grads: SmallVec<[Option<Tensor>; 1]>,
}

/// After how much [`Pending::work`] to look whether the user has pressed Ctrl-C: well under a second.
const CHECK_SIGNALS_AFTER: usize = 1 << 16;

impl Pending {
    /// About how many elements the node will touch, and something for itself.
    fn work(&self) -> usize {
        1024 + self.grads.iter().flatten().map(Tensor::numel).sum::<usize>()
    }
}

/// The nodes that have received gradients.
#[derive(Default)]
struct Waiting {
    /// The newest. Most graphs are chains most of the way: there is no other then.
    newest: Option<Pending>,
    others: BTreeMap<u64, Pending>,
}

impl Waiting {
    /// The place of a node, which there need not have been before.
    fn of(&mut self, node: &Arc<Node>) -> &mut Pending {
        let new = || Pending { node: node.clone(), grads: SmallVec::from_elem(None, node.outputs) };
        let newest = self.newest.as_ref().map(|pending| pending.node.id);
        if newest > Some(node.id) || newest.is_none() && self.others.last_key_value().is_some_and(|(id, _)| *id >= node.id) {
            return self.others.entry(node.id).or_insert_with(new);
        }
        if newest < Some(node.id)
            && let Some(older) = self.newest.take()
        {
            self.others.insert(older.node.id, older);
        }
        self.newest.get_or_insert_with(new)
    }

    fn pop_newest(&mut self) -> Option<Pending> {
        self.newest.take().or_else(|| self.others.pop_last().map(|(_, pending)| pending))
    }
}

/// Takes the gradient of an input, by its number.
type Send<'a> = &'a mut dyn FnMut(&mut Run, usize, Option<Tensor>) -> Result<()>;

struct Run {
    waiting: Waiting,
    leaves: Leaves,
    options: Options,
    /// Whether it goes where the user does not see it go, to what carries a tangent.
    unseen: bool,
    /// The nodes worth visiting; `None` for all.
    wanted: Option<HashSet<u64>>,
    /// Where to put gradients of non-leaf inputs: (node, output) to place in `captured`.
    captures: HashMap<(u64, usize), Vec<usize>>,
    captured: Vec<Option<Tensor>>,
    /// The gradients to be kept for `retain_grad`; written when nothing can fail any more.
    retained: Vec<(Arc<Meta>, Tensor)>,
}

/// Differentiates and adds the results to the `grad` of all leaves, or of `inputs` only.
///
/// Each root comes with the gradient to start from.
pub fn backward(roots: Vec<(Tensor, Tensor)>, inputs: Option<&[Tensor]>, options: Options) -> Result<()> {
    // Computed tensors get theirs when their node runs.
    inputs.unwrap_or_default().iter().try_for_each(Tensor::retain_gradient)?;
    with_room(|| {
        let mut run = Run::new(options, inputs, true)?;
        let running = Running::new(&roots, inputs);
        run.execute(roots)?;
        running.finish()
    })
}

/// Differentiates with respect to `inputs`; `None` for those that the roots do not depend on. No `grad` is touched.
pub fn grad(roots: Vec<(Tensor, Tensor)>, inputs: &[Tensor], options: Options) -> Result<Vec<Option<Tensor>>> {
    with_room(|| {
        let mut run = Run::new(options, Some(inputs), false)?;
        let running = Running::new(&roots, Some(inputs));
        run.execute(roots)?;
        running.finish()?;
        let of_leaf = |x: &Tensor| run.leaves.grad_of(x.meta()?);
        Ok(inputs.iter().zip(&run.captured).map(|(x, captured)| captured.clone().or_else(|| of_leaf(x))).collect())
    })
}

/// What a node makes of the gradients of its outputs, one for each; nothing is freed, and no hook called.
pub fn apply(node: &Arc<Node>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
    let mut run = Run::new(Options { retain_graph: true, create_graph: is_recording() }, None, false)?;
    let fit = |(output, grad): (usize, &Option<Tensor>)| match grad {
        // Functions of the user's check for themselves.
        Some(grad) if !node.op.starts_with(EXACT_NAME) => fit_output(node, output, grad).map(Some),
        grad => Ok(grad.clone()),
    };
    let grads = &grads.iter().enumerate().map(fit).collect::<Result<Vec<_>>>()?;
    let mut results = vec![None; node.inputs.len()];
    run.run_rules(node, saved::unpacked_rules(node)?, grads, &mut |_, i, grad| {
        results[i] = grad;
        Ok(())
    })?;
    Ok(results)
}

/// A gradient that the user hands in for an output of a node, in its dtype.
fn fit_output(node: &Node, output: usize, grad: &Tensor) -> Result<Tensor> {
    let (shape, dtype) = node.noted_output(output)?;
    if grad.shape() != shape.as_slice() {
        return runtime_error!(
            "{}: got a gradient of shape {:?} for output {output}, expected {:?}",
            node.name(),
            grad.shape(),
            shape.as_slice()
        );
    }
    grad.to_dtype(dtype)
}

impl Run {
    fn new(options: Options, inputs: Option<&[Tensor]>, writes: bool) -> Result<Run> {
        let mut captures: HashMap<(u64, usize), Vec<usize>> = HashMap::default();
        let mut leaves = Leaves::new(writes, options.create_graph);
        let unseen = mode::is_forward();
        for (place, x) in inputs.unwrap_or_default().iter().enumerate() {
            match if unseen || x.is_shown() { x.edge() } else { Edge::None } {
                Edge::Node(node, output) => {
                    node.check_usable()?;
                    captures.entry((node.id, output)).or_default().push(place);
                }
                Edge::Leaf(meta, _) => leaves.ask_for(&meta),
                // Of what follows its base, nothing is a function.
                Edge::None if x.is_shown() => {}
                Edge::None => return runtime_error!("One of the differentiated Tensors does not require grad (input {place})"),
            }
        }
        Ok(Run {
            waiting: Waiting::default(),
            leaves,
            options,
            unseen,
            wanted: inputs.map(|_| HashSet::default()),
            captures,
            captured: vec![None; inputs.map_or(0, <[Tensor]>::len)],
            retained: Vec::new(),
        })
    }

    fn execute(&mut self, roots: Vec<(Tensor, Tensor)>) -> Result<()> {
        roots.iter().filter_map(|(root, _)| root.node()).try_for_each(|(node, _)| node.check_usable())?;
        if self.wanted.is_some() {
            self.wanted = Some(self.nodes_to_targets(&roots));
        }
        let _mode = ModeGuard::grad(self.options.create_graph);
        let _hooks = saved::Restore::later();
        self.leaves.expect(&roots);
        for (root, grad) in roots {
            self.send(&root.edge(), Some(grad))?;
        }
        let mut work = 0;
        while let Some(pending) = self.waiting.pop_newest() {
            self.leaves.call_hooks(pending.node.id)?;
            work += pending.work();
            if work >= CHECK_SIGNALS_AFTER {
                crate::interpreter::check_signals()?;
                work = 0;
            }
            if anomaly::is_enabled() {
                let node = pending.node.clone();
                anomaly::watched(&node, || self.run_node(pending))?;
            } else {
                self.run_node(pending)?;
            }
        }
        // Hooks may fail: all have run before the first gradient is written.
        self.leaves.call_all_hooks()?;
        self.write_retained()?;
        self.leaves.write_all()
    }

    /// The nodes from which a target can be reached: ascending in time, each after all it leads to.
    fn nodes_to_targets(&self, roots: &[(Tensor, Tensor)]) -> HashSet<u64> {
        let mut nodes: BTreeMap<u64, Arc<Node>> = BTreeMap::new();
        let mut stack: Vec<Arc<Node>> = Vec::new();
        let mut visit = |edge: &Edge, stack: &mut Vec<Arc<Node>>| {
            if let Edge::Node(node, _) = edge
                && nodes.insert(node.id, node.clone()).is_none()
            {
                stack.push(node.clone());
            }
        };
        roots.iter().for_each(|(root, _)| visit(&root.edge(), &mut stack));
        while let Some(node) = stack.pop() {
            node.inputs.iter().for_each(|input| visit(&input.edge, &mut stack));
        }
        let captured: HashSet<u64> = self.captures.keys().map(|(id, _)| *id).collect();
        let mut wanted: HashSet<u64> = captured.clone();
        for (id, node) in &nodes {
            let leads = node.inputs.iter().any(|input| match &input.edge {
                Edge::Node(child, _) => wanted.contains(&child.id),
                Edge::Leaf(meta, _) => self.leaves.knows(meta),
                Edge::None => false,
            });
            if leads {
                wanted.insert(*id);
            }
        }
        wanted
    }

    fn is_wanted(&self, edge: &Edge) -> bool {
        match (edge, &self.wanted) {
            (Edge::None, _) => false,
            // As in torch, ops are run also for a leaf that takes no gradients any more.
            (Edge::Leaf(meta, _), None) if meta.is_frozen() => true,
            _ if !(self.unseen || edge.is_shown()) => false,
            (_, None) => true,
            (Edge::Node(node, _), Some(wanted)) => wanted.contains(&node.id),
            (Edge::Leaf(meta, _), Some(_)) => self.leaves.knows(meta),
        }
    }

    /// Adds a gradient to what an edge leads to. None leads there, too: it makes zeros for functions of the user's.
    fn send(&mut self, edge: &Edge, grad: Option<Tensor>) -> Result<()> {
        match edge {
            _ if !self.is_wanted(edge) => Ok(()),
            Edge::None => Ok(()),
            Edge::Node(node, output) => {
                if let Some(slot) = self.waiting.of(node).grads.get_mut(*output) {
                    *slot = sum(slot.take(), grad, self.options.create_graph)?;
                }
                Ok(())
            }
            Edge::Leaf(meta, leaf) => self.leaves.add(meta, leaf, grad),
        }
    }

    fn run_node(&mut self, pending: Pending) -> Result<()> {
        let Pending { node, mut grads } = pending;
        // As in torch: what is asked for within the graph is the gradient that comes to it, at the graph's end that of hooks. The
        // node at the end of a run that writes gradients is run, with its hooks, though nothing comes of it.
        let ends = || self.leaves.writes && (0..node.outputs).any(|output| self.captures.contains_key(&(node.id, output)));
        let runs = node.inputs.iter().any(|input| self.is_wanted(&input.edge)) || ends();
        if runs {
            self.capture(&node, &grads);
        }
        let extras = node.extras.get();
        // Hooks look at gradients, not at what tangents are computed by.
        if extras.is_some() && !self.unseen {
            run_hooks(&node, &mut grads)?;
            self.retain(&node, &grads);
        }
        if !runs {
            self.capture(&node, &grads);
            return Ok(());
        }
        let hooks = extras.map(|extras| extras.node_hooks.lock().clone());
        let mut unpacked = None;
        if let Some(hooks) = &hooks {
            if !self.unseen {
                hooks.run_before(&mut grads)?;
            }
            unpacked = Some(saved::unpacked_rules(&node)?);
        }
        let keep = self.options.retain_graph || !node.saves && !node.is_watching() || node.is_dual() && mode::follows_tangents();
        let rules = {
            let mut rules = node.rules.lock();
            if keep { rules.clone() } else { rules.free() }
        };
        let rules = match unpacked {
            Some(unpacked) if !matches!(rules, Rules::Freed(_)) => unpacked,
            _ => rules,
        };
        if !keep {
            saved::free(&node);
        }
        if let Some(hooks) = hooks.filter(|hooks| !hooks.after.is_empty() && !self.unseen) {
            let mut results = vec![None; node.inputs.len()];
            self.run_rules(&node, rules, &grads, &mut |_, i, grad| {
                results[i] = grad;
                Ok(())
            })?;
            hooks.run_after(&mut results, &grads)?;
            for (i, (input, grad)) in node.inputs.iter().zip(results).enumerate().filter(|(_, (input, _))| input.edge.is_some()) {
                let grad = grad.map(|grad| fit(&node, i, grad)).transpose()?;
                self.send(&input.edge, grad)?;
            }
            return Ok(());
        }
        self.run_rules(&node, rules, &grads, &mut |run, i, grad| run.send(&node.inputs[i].edge, grad))
    }

    /// Computes the gradients of a node's inputs, as far as they are wanted, and hands them on as they come.
    fn run_rules(&mut self, node: &Arc<Node>, rules: Rules, grads: &[Option<Tensor>], send: Send<'_>) -> Result<()> {
        // Ops of the library have nothing to give if they get nothing.
        if grads.iter().all(Option::is_none) && !node.op.starts_with(EXACT_NAME) {
            return (0..node.inputs.len()).try_for_each(|i| send(self, i, None));
        }
        // Tangents are computed from what was there before writes.
        if !matches!(rules, Rules::Freed(_)) && !mode::is_forward() {
            node.check_watched()?;
        }
        match rules {
            Rules::Each(rules) => {
                let Some(Some(g)) = grads.first() else { return Ok(()) };
                let _mode = (!self.options.create_graph).then(ModeGuard::of_rule);
                for (i, input) in node.inputs.iter().enumerate() {
                    if self.is_wanted(&input.edge)
                        && let Some(grad) = rules.of_input(i, g, node)
                    {
                        let grad = grad.map_err(|cause| rule_error(node, i, cause))?;
                        let grad = fit(node, i, grad)?;
                        send(self, i, Some(grad))?;
                    }
                }
                Ok(())
            }
            Rules::Joint(rule) => {
                let wanted: Vec<bool> = node.inputs.iter().map(|input| self.is_wanted(&input.edge)).collect();
                let results = rule.of_inputs(grads, &wanted, node).map_err(|cause| rule_error(node, 0, cause))?;
                for (i, grad) in results.into_iter().enumerate() {
                    if wanted.get(i).copied().unwrap_or(false) {
                        let grad = grad.map(|grad| fit(node, i, grad)).transpose()?;
                        send(self, i, grad)?;
                    } else if node.op.starts_with(EXACT_NAME) {
                        // Hooks see what functions of the user's have made in vain.
                        send(self, i, grad)?;
                    }
                }
                Ok(())
            }
            Rules::Freed(_) => Err(freed(node)),
        }
    }

    /// Keeps the gradients that are asked for.
    fn capture(&mut self, node: &Arc<Node>, grads: &[Option<Tensor>]) {
        if self.captures.is_empty() {
            return;
        }
        for (output, grad) in grads.iter().enumerate() {
            for place in self.captures.get(&(node.id, output)).into_iter().flatten() {
                self.captured[*place] = grad.clone();
            }
        }
    }

    /// Keeps the gradients that were asked for by `retain_grad`.
    fn retain(&mut self, node: &Arc<Node>, grads: &[Option<Tensor>]) {
        let retained = node.any_watchers().map(|watchers| watchers.retained.clone());
        for (output, meta) in retained.into_iter().flatten() {
            if let (Some(Some(grad)), Some(meta)) = (grads.get(output), meta.upgrade()) {
                self.retained.push((meta, grad.clone()));
            }
        }
    }

    /// Writes them.
    fn write_retained(&mut self) -> Result<()> {
        let retained = std::mem::take(&mut self.retained);
        retained.into_iter().try_for_each(|(meta, grad)| keep_grad(&meta, grad, self.options.create_graph))
    }
}

/// Looks for NaN in a gradient, sums it to the shape of its input and casts it to its dtype.
fn fit(node: &Arc<Node>, i: usize, grad: Tensor) -> Result<Tensor> {
    anomaly::check(node, i, &grad)?;
    fitted(node, i, grad)
}

/// Sums a gradient to the shape of its input and casts it to its dtype.
pub(super) fn fitted(node: &Arc<Node>, i: usize, grad: Tensor) -> Result<Tensor> {
    let input = &node.inputs[i];
    let mut grad = grad;
    if grad.shape() != input.shape.as_slice() {
        if !is_broadcast_of(grad.shape(), &input.shape) {
            return runtime_error!(
                "Function {} returned an invalid gradient at index {i} - got {:?} but expected shape compatible with {:?}",
                node.name(),
                grad.shape(),
                input.shape.as_slice()
            );
        }
        grad = grad.sum_to_shape(&input.shape).map_err(|cause| rule_error(node, i, cause))?;
    }
    let by_leaf = matches!(&input.edge, Edge::Leaf(meta, _) if meta.has_grad_dtype());
    if grad.dtype() != input.dtype && !by_leaf {
        grad = grad.to_dtype(input.dtype)?;
    }
    Ok(grad)
}

/// Whether a tensor of the second shape can be expanded to the first.
fn is_broadcast_of(wide: &[usize], narrow: &[usize]) -> bool {
    wide.len() >= narrow.len() && wide.iter().rev().zip(narrow.iter().rev()).all(|(n, m)| n == m || *m == 1)
}

fn rule_error(node: &Arc<Node>, input: usize, cause: Error) -> Error {
    match cause {
        Error::NoDerivative { .. } | Error::NotImplemented(_) if mode::is_forward() => {
            let op = if let Error::NoDerivative { op } = cause { op } else { node.op.split('.').next().unwrap_or_default() };
            let op = op.trim_start_matches(EXACT_NAME);
            Error::NotImplemented(format!(
                "Trying to use forward AD with {op} that does not support it because it has not been implemented yet."
            ))
        }
        // What the user did or asked for, and exceptions of the user's own code, pass as they are.
        Error::Modified { .. }
        | Error::Outgrown { .. }
        | Error::Inference
        | Error::NoDerivative { .. }
        | Error::External(_)
        | Error::Memory { .. }
        | Error::NotImplemented(_)
        | Error::Linalg(_)
        | Error::Undefined(_)
        | Error::Places(_) => cause,
        cause if [FROZEN_VIEW, DELAYED_ERROR].contains(&node.op) => cause,
        cause => Error::Rule { op: node.name(), input, cause: Box::new(cause) },
    }
}

fn run_hooks(node: &Arc<Node>, grads: &mut [Option<Tensor>]) -> Result<()> {
    let hooks = node.any_watchers().map(|watchers| watchers.hooks.clone());
    for (output, hooks) in hooks.into_iter().flatten() {
        if let Some(grad) = grads.get_mut(output)
            && let Some(replaced) = (hooks.call)(grad.as_ref())?
        {
            *grad = Some(replaced);
        }
    }
    Ok(())
}

/// The sum of two gradients, in the memory of the first if nobody else can see it.
pub fn sum(before: Option<Tensor>, grad: Option<Tensor>, create_graph: bool) -> Result<Option<Tensor>> {
    match (before, grad) {
        (Some(before), Some(grad)) if !create_graph && before.is_unique() && before.layout().is_dense() => {
            before.reusing().add(&grad).map(Some)
        }
        (Some(before), Some(grad)) => before.add(&grad).map(Some),
        (before, grad) => Ok(before.or(grad)),
    }
}
