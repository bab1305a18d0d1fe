//! Saved tensors that are kept elsewhere by hooks of the user's.
//!
//! When the node of an op has been made, or the user asks for it, the tensors that its rules hold are packed, and the rules hold
//! stand-ins. Each time that the node is to run, they are unpacked, and rules over what comes out are run.
//! Tensors that must not be saved are found out when the node has been made, too: if its rules hold them, the op fails.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::held::{self, Role, held_by};
use super::mode;
use super::node::{Edge, Node, Rules};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::runtime_error;
use crate::tensor::Tensor;

/// What has been made of a tensor that was put away.
pub struct Kept {
    /// Brings the tensor back.
    pub unpack: Box<dyn Fn() -> Result<Tensor> + Send + Sync>,
    /// What is kept, to the layer above.
    pub object: Arc<dyn Any + Send + Sync>,
}

/// Puts a tensor away.
pub type Pack = Arc<dyn Fn(Tensor) -> Result<Kept> + Send + Sync>;

/// Hooks of the user's.
#[derive(Clone)]
pub struct Hooks {
    /// What they do.
    pub pack: Pack,
    /// What they are to the layer above.
    pub object: Arc<dyn Any + Send + Sync>,
}

/// A tensor that has been put away.
pub struct Packed {
    /// What the rules hold in its place.
    stand_in: Tensor,
    /// What has been made of it.
    pub kept: Kept,
    layout: Layout,
    dtype: DType,
    /// Where it is on the tape.
    edge: Edge,
}

/// How many hooks are set and how many tensors are to be refused, on all threads: all that is looked at as long as there are none.
static HOOKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SET: RefCell<Vec<Hooks>> = const { RefCell::new(Vec::new()) };
    static REFUSED: RefCell<Vec<Weak<dyn Any + Send + Sync>>> = const { RefCell::new(Vec::new()) };
    static FAILED: Cell<Option<Error>> = const { Cell::new(None) };
}

/// Sets hooks on this thread, until the next `pop`.
pub fn push(hooks: Hooks) {
    SET.with_borrow_mut(|set| set.push(hooks));
    HOOKS.fetch_add(1, Ordering::Relaxed);
}

/// Takes the last hooks away.
pub fn pop() {
    let removed = SET.with_borrow_mut(Vec::pop);
    if removed.is_some() {
        HOOKS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The last hooks that are set on this thread.
pub fn current() -> Option<Hooks> {
    if !is_active() {
        return None;
    }
    SET.with_borrow(|set| set.last().cloned())
}

/// Sets the hooks of now again when it is dropped: those that hooks set or take away in a backward pass are not for what follows.
pub struct Restore(Vec<Hooks>);

impl Restore {
    /// Remembers them.
    pub fn later() -> Restore {
        Restore(if is_active() { SET.with_borrow(Vec::clone) } else { Vec::new() })
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if !is_active() && self.0.is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.0);
        HOOKS.fetch_add(before.len(), Ordering::Relaxed);
        let removed = SET.replace(before);
        HOOKS.fetch_sub(removed.len(), Ordering::Relaxed);
    }
}

/// Says that an op must fail if its rules keep what this points to, an inference tensor.
pub fn refuse(tensor: Weak<dyn Any + Send + Sync>) {
    REFUSED.with(|refused| {
        let mut refused = refused.borrow_mut();
        let before = refused.len();
        // Of ops that in the end recorded nothing.
        refused.retain(|tensor| tensor.strong_count() > 0);
        HOOKS.fetch_sub(before - refused.len(), Ordering::Relaxed);
        refused.push(tensor);
    });
    HOOKS.fetch_add(1, Ordering::Relaxed);
}

/// Whether hooks may be set, or tensors be refused.
#[inline]
pub fn is_active() -> bool {
    HOOKS.load(Ordering::Relaxed) != 0
}

/// Packs what the rules of a node that has just been made hold, if hooks are set on this thread. These see the tensors where they
/// are on the tape.
pub fn pack_for(node: &Arc<Node>) {
    let Some(hooks) = current() else { return };
    let shown = |x: &Tensor| match x.role() {
        Role::Output(place) if x.dtype().is_inexact() => x.unsaved().with_origin(node.clone(), place as usize),
        _ => x.unsaved(),
    };
    let tensors: Vec<_> = held_by(node).into_iter().filter(|(_, x)| !x.is_number()).collect();
    if !mode::is_inference() && tensors.iter().any(|(_, x)| x.is_inference()) {
        return FAILED.set(Some(Error::Inference));
    }
    let tensors = tensors.into_iter();
    if let Err(error) = put_away(node, tensors.map(|(_, x)| (x.clone(), shown(&x))), &hooks.pack) {
        FAILED.set(Some(error));
    }
}

/// Packs one tensor that the rules of a node hold.
pub fn pack_one(node: &Node, x: Tensor, pack: &Pack) -> Result<()> {
    let shown = x.current().detached(false).unsaved();
    put_away(node, [(x, shown)], pack)
}

/// Packs tensors that the rules of a node hold, as the second of each pair shows them.
fn put_away(node: &Node, tensors: impl IntoIterator<Item = (Tensor, Tensor)>, pack: &Pack) -> Result<()> {
    let (mut exchanged, mut packed) = (Vec::new(), Vec::new());
    for (x, shown) in tensors {
        let (layout, dtype, edge) = (Layout::contiguous(x.shape()), x.dtype(), x.edge());
        let stand_in = x.stand_in();
        let kept = pack(shown)?;
        exchanged.push((x, stand_in.clone()));
        packed.push(Arc::new(Packed { stand_in, kept, layout, dtype, edge }));
    }
    if packed.is_empty() {
        return Ok(());
    }
    let before = {
        let mut rules = node.rules.lock();
        node.extras().packed.lock().extend(packed);
        let exchanged = held::exchange(&rules, exchanged);
        std::mem::replace(&mut *rules, exchanged)
    };
    // It may run code of the user's when it is dropped.
    drop(before);
    Ok(())
}

/// Fails if packing has failed, or a tensor that must not be was saved, since this was last asked.
pub fn check() -> Result<()> {
    let refused = REFUSED.take();
    HOOKS.fetch_sub(refused.len(), Ordering::Relaxed);
    let failed = FAILED.take();
    if refused.iter().any(|tensor| tensor.strong_count() > 0) {
        return Err(Error::Inference);
    }
    failed.map_or(Ok(()), Err)
}

/// The rules of a node, over what has been unpacked for them to run.
pub fn unpacked_rules(node: &Node) -> Result<Rules> {
    let (rules, packed) = {
        let rules = node.rules.lock();
        (rules.clone(), node.extras.get().map(|extras| extras.packed.lock().clone()))
    };
    let bring = |packed: Arc<Packed>| Ok((packed.stand_in.clone(), packed.tensor()?));
    let exchanged = packed.into_iter().flatten().map(bring).collect::<Result<_>>()?;
    Ok(held::exchange(&rules, exchanged))
}

/// Forgets what has been put away of what the rules of a node held.
pub fn free(node: &Node) {
    let packed = node.extras.get().map(|extras| std::mem::take(&mut *extras.packed.lock()));
    // It may run code of the user's when it is dropped: nothing is locked.
    drop(packed);
}

/// What has been put away of what the rules of a node hold, if this has.
pub fn packed_of(node: &Node, held: &Tensor) -> Option<Arc<Packed>> {
    node.extras.get()?.packed.lock().iter().find(|packed| packed.stand_in.is_saved_as(held)).cloned()
}

impl Packed {
    /// The tensor, brought back to its place on the tape.
    pub fn tensor(&self) -> Result<Tensor> {
        let x = (self.kept.unpack)()?;
        if x.shape() != self.layout.shape.as_slice() {
            return runtime_error!(
                "Output of saved tensor unpack_hook expected to be a Tensor of shape {:?}, which was packed, but got one of shape {:?}",
                self.layout.shape,
                x.shape()
            );
        }
        let x = x.detached(false).to_dtype(self.dtype)?.contiguous()?;
        Ok(x.at_edge(&self.edge))
    }
}
