//! Where gradients can flow to, and the runs of the engine, which may be within each other.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use smallvec::SmallVec;

use super::meta::Meta;
use super::mode;
use super::node::{Edge, Node};
use crate::error::Result;
use crate::interpreter;
use crate::runtime_error;
use crate::tensor::Tensor;

/// Whether gradients of some of the tensors flow to a leaf that is none of `own`, and was not made in the transform of this number.
/// With `shown`, only leaves count that the user sees require a gradient.
pub fn leads_to_others(tensors: &[Tensor], own: &[Tensor], transform: u64, shown: bool) -> bool {
    let own: HashSet<*const Meta> = own.iter().filter_map(|x| x.meta().map(Arc::as_ptr)).collect();
    let mut seen: HashSet<(u64, bool)> = HashSet::new();
    // Past what the user does not see require a gradient, only tangents flow.
    let mut stack: Vec<(Arc<Node>, bool)> = Vec::new();
    let mut is_other = |edge: &Edge, unseen: bool, stack: &mut Vec<(Arc<Node>, bool)>| match edge {
        Edge::None => false,
        Edge::Leaf(meta, _) => {
            let counts = if edge.is_dual() { !shown } else { !unseen };
            counts && meta.level < transform && !own.contains(&Arc::as_ptr(meta))
        }
        Edge::Node(node, _) => {
            let unseen = unseen || !node.is_shown();
            if seen.insert((node.id, unseen)) {
                stack.push((node.clone(), unseen));
            }
            false
        }
    };
    if tensors.iter().any(|x| is_other(&x.edge(), false, &mut stack)) {
        return true;
    }
    while let Some((node, unseen)) = stack.pop() {
        if node.inputs.iter().any(|input| is_other(&input.edge, unseen, &mut stack)) {
            return true;
        }
    }
    false
}

/// A run of the engine, for those who ask what it will come to.
pub struct RunInfo {
    /// A number of its own.
    pub id: u64,
    /// Where it begins.
    pub roots: SmallVec<[Edge; 1]>,
    /// Where it is to end; `None` for all leaves.
    pub targets: Option<Vec<Edge>>,
    /// What is to be called when it has come to its end.
    pub callbacks: Vec<Callback>,
}

/// Something called at the end of a run.
pub type Callback = Box<dyn FnOnce() -> Result<()> + Send>;

thread_local! {
    /// The runs on this thread, each within the one before.
    static RUNS: RefCell<Vec<RunInfo>> = const { RefCell::new(Vec::new()) };
    /// How many runs on other threads they are within.
    static RUNS_ELSEWHERE: Cell<usize> = const { Cell::new(0) };
}

/// Runs within each other on one thread: its stack, and Python's count of calls, have room for some more.
const RUNS_ON_A_THREAD: usize = 60;
/// What these need, also where nothing is optimised.
const STACK: usize = 16 << 20;
/// Runs that hooks may start within each other at all.
const NESTED_RUNS: usize = 10_000;

/// Runs a pass, on a thread of its own if many are running within each other on this one.
pub fn with_room<R: Send>(pass: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let here = RUNS.with_borrow(Vec::len);
    if here < RUNS_ON_A_THREAD {
        return pass();
    }
    let (all, mode) = (RUNS_ELSEWHERE.get() + here, mode::mode());
    // What is being transformed is known to this thread only.
    if all >= NESTED_RUNS || mode.level.number != 0 {
        return runtime_error!("backward: {all} passes are running within each other; does a hook call itself?");
    }
    let pass = move || {
        RUNS_ELSEWHERE.set(all);
        mode::set_mode(mode);
        interpreter::attached(pass)
    };
    interpreter::released_for(|| {
        thread::scope(|scope| match thread::Builder::new().stack_size(STACK).spawn_scoped(scope, pass) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => runtime_error!("backward: there is no thread for a pass within {all} others: {error}"),
        })
    })
}

/// Makes a run known to hooks until it is dropped.
pub struct Running;

impl Running {
    /// A run from these roots to these inputs.
    pub fn new(roots: &[(Tensor, Tensor)], inputs: Option<&[Tensor]>) -> Running {
        let info = RunInfo {
            id: super::node::next_id(),
            roots: roots.iter().map(|(root, _)| root.edge()).collect(),
            targets: inputs.map(|inputs| inputs.iter().map(Tensor::edge).collect()),
            callbacks: Vec::new(),
        };
        RUNS.with(|runs| runs.borrow_mut().push(info));
        Running
    }

    /// Calls what was to be called at the end, also what is added meanwhile.
    pub fn finish(&self) -> Result<()> {
        loop {
            let callbacks = RUNS.with(|runs| runs.borrow_mut().last_mut().map(|run| std::mem::take(&mut run.callbacks)));
            match callbacks {
                Some(callbacks) if !callbacks.is_empty() => callbacks.into_iter().try_for_each(|callback| callback())?,
                _ => return Ok(()),
            }
        }
    }
}

/// Has something called when the run on this thread has come to its end.
pub fn at_end(callback: Callback) -> Result<()> {
    let refused = RUNS.with(|runs| match runs.borrow_mut().last_mut() {
        Some(run) => {
            run.callbacks.push(callback);
            None
        }
        None => Some(callback),
    });
    match refused {
        None => Ok(()),
        Some(_) => runtime_error!("Final callbacks can only be installed during backward pass."),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = RUNS.with(|runs| runs.borrow_mut().pop());
        drop(ended);
    }
}

/// The number of the run on this thread (0 if there is none), and for each place whether it will come there.
pub fn current_run(places: &[Edge]) -> (u64, Vec<bool>) {
    RUNS.with(|runs| {
        let runs = runs.borrow();
        let Some(run) = runs.last() else { return (0, vec![false; places.len()]) };
        let comes = |place: &Edge| {
            let from_roots = leads(&run.roots, std::slice::from_ref(place));
            from_roots && run.targets.as_ref().is_none_or(|targets| leads(std::slice::from_ref(place), targets))
        };
        (run.id, places.iter().map(comes).collect())
    })
}

fn same(a: &Edge, b: &Edge) -> bool {
    match (a, b) {
        (Edge::Node(a, _), Edge::Node(b, _)) => Arc::ptr_eq(a, b),
        (Edge::Leaf(a, _), Edge::Leaf(b, _)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// Whether gradients flow from one of the first places to one of the second.
pub fn leads(from: &[Edge], to: &[Edge]) -> bool {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut stack: Vec<Edge> = from.to_vec();
    while let Some(edge) = stack.pop() {
        if to.iter().any(|target| same(&edge, target)) {
            return true;
        }
        if let Edge::Node(node, _) = &edge
            && seen.insert(node.id)
        {
            stack.extend(node.inputs.iter().map(|input| input.edge.clone()));
        }
    }
    false
}

/// Whether the run on this thread is to end at certain inputs.
pub fn run_has_inputs() -> bool {
    RUNS.with(|runs| runs.borrow().last().is_some_and(|run| run.targets.is_some()))
}
