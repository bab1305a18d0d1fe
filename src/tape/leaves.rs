//! The leaves that a run of the engine comes to: their gradients, and when their hooks are called.
//!
//! A leaf's hooks are called as soon as its gradient is whole. Gradients are written when the run can fail no more, but
//! for leaves that want to be told when that has been done: theirs are written at once, so that it can be freed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::engine::{HashMap, HashSet, sum};
use super::meta::{Grad, Meta, any_hooked_leaf};
use super::mode::{ModeGuard, follows_tangents, has_tangents, mode};
use super::node::{Edge, Input, Node};
use super::written::overwritten;
use crate::error::Result;
use crate::layout::{Layout, contiguous_strides};
use crate::runtime_error;
use crate::tensor::{LeafHandle, Tensor};

/// The place of a leaf that is asked for and that nothing has flowed to.
const NO_GRADIENT_YET: usize = usize::MAX;

/// A leaf that the run has come to.
struct Leaf {
    meta: Arc<Meta>,
    /// For the hooks that are called with it.
    handle: LeafHandle,
    grad: Option<Tensor>,
    hooks_called: bool,
    written: bool,
}

/// All that a run has come to.
pub struct Leaves {
    list: Vec<Leaf>,
    places: HashMap<*const Meta, usize>,
    /// Leaves with hooks, by the oldest node that leads to them: when it has run, their gradients are whole.
    due: BTreeMap<u64, Vec<(usize, Arc<Meta>)>>,
    /// Whether gradients are to be written to the leaves.
    pub writes: bool,
    create_graph: bool,
}

impl Leaves {
    /// For a run that adds to the leaves' gradients, if it `writes`.
    pub fn new(writes: bool, create_graph: bool) -> Leaves {
        Leaves { list: Vec::new(), places: HashMap::default(), due: BTreeMap::new(), writes, create_graph }
    }

    /// Says that a leaf is one of those asked for.
    pub fn ask_for(&mut self, meta: &Arc<Meta>) {
        self.places.insert(Arc::as_ptr(meta), NO_GRADIENT_YET);
    }

    /// Whether a leaf has been asked for, or come to.
    pub fn knows(&self, meta: &Arc<Meta>) -> bool {
        self.places.contains_key(&Arc::as_ptr(meta))
    }

    /// Adds to a gradient; None is that of an op that has none to give.
    pub fn add(&mut self, meta: &Arc<Meta>, handle: &LeafHandle, grad: Option<Tensor>) -> Result<()> {
        if let (Some(grad), Some((node, _)), false) = (&grad, meta.node(), has_tangents()) {
            return runtime_error!(
                "leaf variable has been moved into the graph interior: it was written to in place and is now a result of {}, so the \
                 gradient of shape {:?} has nowhere to go",
                node.name(),
                grad.shape()
            );
        }
        if meta.is_frozen() {
            return Ok(());
        }
        let grad = grad.map(|grad| in_dtype_of(meta, grad)).transpose()?;
        let next = self.list.len();
        let place = self.places.entry(Arc::as_ptr(meta)).or_insert(NO_GRADIENT_YET);
        if *place == NO_GRADIENT_YET {
            *place = next;
            self.list.push(Leaf { meta: meta.clone(), handle: handle.clone(), grad, hooks_called: false, written: false });
            return Ok(());
        }
        let slot = &mut self.list[*place].grad;
        *slot = sum(slot.take(), grad, self.create_graph)?;
        Ok(())
    }

    /// The gradient of a leaf.
    pub fn grad_of(&self, meta: &Arc<Meta>) -> Option<Tensor> {
        self.list.get(*self.places.get(&Arc::as_ptr(meta))?)?.grad.clone()
    }

    /// Finds out when the leaves with hooks will have their gradients, if there are such leaves at all.
    pub fn expect(&mut self, roots: &[(Tensor, Tensor)]) {
        if !any_hooked_leaf() {
            return;
        }
        let mut oldest: HashMap<*const Meta, (u64, usize, Arc<Meta>)> = HashMap::default();
        let mut seen: HashSet<u64> = HashSet::default();
        let mut stack: Vec<Arc<Node>> = Vec::new();
        let mut visit = |edge: &Edge, from: u64, input: usize, stack: &mut Vec<Arc<Node>>| match edge {
            Edge::Node(node, _) if seen.insert(node.id) => stack.push(node.clone()),
            Edge::Leaf(meta, _) if meta.is_hooked() => {
                let found = oldest.entry(Arc::as_ptr(meta)).or_insert_with(|| (from, input, meta.clone()));
                if from < found.0 {
                    (found.0, found.1) = (from, input);
                }
            }
            _ => {}
        };
        roots.iter().enumerate().for_each(|(i, (root, _))| visit(&root.edge(), u64::MAX, i, &mut stack));
        while let Some(node) = stack.pop() {
            node.inputs.iter().enumerate().for_each(|(i, input)| visit(&input.edge, node.id, i, &mut stack));
        }
        for (from, input, meta) in oldest.into_values() {
            self.due.entry(from).or_default().push((input, meta));
        }
        self.due.values_mut().for_each(|leaves| leaves.sort_by_key(|(input, _)| *input));
    }

    /// Calls the hooks of the leaves whose gradients are whole before node `next` runs.
    pub fn call_hooks(&mut self, next: u64) -> Result<()> {
        while let Some(entry) = self.due.last_entry()
            && *entry.key() > next
        {
            for (_, meta) in entry.remove() {
                if let Some(&place) = self.places.get(&Arc::as_ptr(&meta)) {
                    self.complete(place)?;
                }
            }
        }
        Ok(())
    }

    /// Calls the hooks of all leaves that have not been called.
    pub fn call_all_hooks(&mut self) -> Result<()> {
        self.call_hooks(0)?;
        (0..self.list.len()).try_for_each(|place| self.complete(place))
    }

    fn complete(&mut self, place: usize) -> Result<()> {
        let Some(leaf) = self.list.get_mut(place).filter(|leaf| !leaf.hooks_called) else { return Ok(()) };
        leaf.hooks_called = true;
        if !leaf.meta.is_watched() {
            return Ok(());
        }
        call_hooks(&leaf.meta, &mut leaf.grad)?;
        if !self.writes {
            return Ok(());
        }
        call_prehooks(&leaf.meta, &mut leaf.grad)?;
        let state = leaf.meta.lock();
        let wants_to_know = state.node_hooks.as_ref().is_some_and(|hooks| hooks.follow_a_write());
        drop(state);
        if wants_to_know { self.write(place) } else { Ok(()) }
    }

    /// Writes the gradients that have not been written, if they are to be.
    pub fn write_all(&mut self) -> Result<()> {
        if !self.writes {
            return Ok(());
        }
        (0..self.list.len()).try_for_each(|place| self.write(place))
    }

    fn write(&mut self, place: usize) -> Result<()> {
        let Some(leaf) = self.list.get_mut(place).filter(|leaf| !leaf.written) else { return Ok(()) };
        leaf.written = true;
        let grad = leaf.grad.take();
        let (meta, handle) = (leaf.meta.clone(), leaf.handle.clone());
        let hooks = if meta.is_watched() { meta.lock().node_hooks.clone() } else { None };
        let hooks = hooks.filter(|hooks| hooks.follow_a_write());
        let kept = grad.map(|grad| add_to_grad(&meta, grad, self.create_graph)).transpose()?;
        if let Some(hooks) = hooks {
            hooks.accumulated.iter().try_for_each(|hooks| (hooks.call)(&handle))?;
            hooks.run_after(&mut [], &[kept])?;
        }
        Ok(())
    }
}

/// A gradient in the dtype that its leaf's user wants, if there is one.
fn in_dtype_of(meta: &Arc<Meta>, grad: Tensor) -> Result<Tensor> {
    match meta.grad_dtype(grad.dtype()) {
        Some(dtype) if dtype != grad.dtype() => grad.to_dtype(dtype),
        _ => Ok(grad),
    }
}

/// Hooks on the leaf itself.
fn call_hooks(meta: &Arc<Meta>, grad: &mut Option<Tensor>) -> Result<()> {
    let hooks = meta.lock().hooks.clone();
    if let Some(hooks) = hooks
        && let Some(replaced) = (hooks.call)(grad.as_ref())?
    {
        *grad = Some(replaced);
    }
    Ok(())
}

/// Hooks on its end of the tape, before the gradient is written.
fn call_prehooks(meta: &Arc<Meta>, grad: &mut Option<Tensor>) -> Result<()> {
    let hooks = meta.lock().node_hooks.clone();
    if let Some(hooks) = hooks.filter(|hooks| !hooks.before.is_empty()) {
        hooks.run_before(std::slice::from_mut(grad))?;
    }
    Ok(())
}

/// Adds to the gradient of a leaf, as its end of the tape does.
pub fn accumulate(meta: &Arc<Meta>, grad: Tensor) -> Result<()> {
    add_to_grad(meta, grad, super::is_recording()).map(drop)
}

/// Adds to a gradient that is kept. The first is taken over as it is if nobody else holds its memory, and if it lies there as
/// the leaf does. Answers what has been added, which then is what is kept.
pub fn add_to_grad(meta: &Arc<Meta>, grad: Tensor, create_graph: bool) -> Result<Tensor> {
    // It may have been told since that it wants none.
    if !meta.requires_grad() {
        return Ok(grad);
    }
    // It may carry a tangent, which only sums do.
    let dual = follows_tangents().then(|| grad.clone());
    let grad = grad.detached_unless(create_graph);
    loop {
        let (before, layout) = {
            let state = meta.lock();
            (state.grad.clone(), state.layout.clone())
        };
        let sum = match &before {
            None if !create_graph && grad.is_unique() && lies_as(&grad, layout.as_deref()) => grad.clone(),
            None => copy_lying_as(&grad, layout.as_deref())?,
            Some(before) if create_graph => before.tensor()?.add(&grad)?,
            Some(before) => {
                let _mode = ModeGuard::grad(false);
                before.tensor()?.add_in_place(dual.as_ref().unwrap_or(&grad))?;
                return Ok(grad);
            }
        };
        if meta.replace_grad(&before, Grad::Native(Box::new(sum))) {
            return Ok(grad);
        }
        // Another thread's gradient has come in between: once more.
    }
}

/// The same for a computed tensor: a sum is a new tensor, and who holds the one before sees no change.
pub fn keep_grad(meta: &Arc<Meta>, grad: Tensor, create_graph: bool) -> Result<()> {
    if create_graph {
        return add_to_grad(meta, grad, true).map(drop);
    }
    let grad = grad.detached(false);
    loop {
        let before = meta.lock().grad.clone();
        let sum = match &before {
            Some(kept) => super::without_recording(|| kept.tensor()?.add(&grad))?,
            None => copy_lying_as(&grad, None)?,
        };
        if meta.replace_grad(&before, Grad::Native(Box::new(sum))) {
            return Ok(());
        }
    }
}

/// Whether a gradient has the strides of its leaf, row-major ones if None are given, or need not have them.
fn lies_as(grad: &Tensor, layout: Option<&Layout>) -> bool {
    !mode().grad_layout || layout.map_or(grad.is_contiguous(), |layout| grad.strides() == layout.strides.as_slice())
}

/// A copy of a gradient that has them. To a leaf that the user has given another shape meanwhile it is broadcast, as in torch.
fn copy_lying_as(grad: &Tensor, layout: Option<&Layout>) -> Result<Tensor> {
    let (grad, strides) = match layout {
        Some(layout) => (grad.expand_to("backward", &layout.shape)?, layout.strides.clone()),
        None => (grad.clone(), contiguous_strides(grad.shape())),
    };
    let copy = grad.copied_in(strides)?;
    if !(super::is_recording() && grad.requires_grad()) {
        return Ok(copy);
    }
    let node = overwritten("copy", &copy, Edge::None, Some(Input::of(&grad)));
    Ok(copy.with_origin(node, 0))
}
