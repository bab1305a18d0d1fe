//! Saved tensors that are kept elsewhere by hooks of the user's.
//!
//! While such hooks are set, a rule gets a handle whose memory is only promised. When the op's node has been made, the
//! tensors that its rules really hold are packed; when the node is to run, they are unpacked and the memory is delivered.
//! Tensors that must not be saved are found out in the same way: those that the rules of a new node hold are refused.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::record::Node;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::runtime_error;
use crate::storage::Storage;
use crate::tensor::Tensor;

/// Brings a packed tensor back.
pub type Unpack = Box<dyn Fn() -> Result<Tensor> + Send + Sync>;

/// Puts a tensor away.
pub type Pack = Arc<dyn Fn(Tensor) -> Result<Unpack> + Send + Sync>;

/// A tensor that has been put away, and the memory in which a rule expects it.
pub struct Packed {
    unpack: Mutex<Option<Arc<Unpack>>>,
    layout: Layout,
    dtype: DType,
    memory: Storage,
}

struct Waiting {
    tensor: Tensor,
    memory: Storage,
}

/// How many hooks are set and how many tensors are to be refused, on all threads: all that is looked at as long as there are none.
static HOOKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PACKERS: RefCell<Vec<Pack>> = const { RefCell::new(Vec::new()) };
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    static REFUSED: RefCell<Vec<Weak<dyn Any + Send + Sync>>> = const { RefCell::new(Vec::new()) };
    static FAILED: Cell<Option<Error>> = const { Cell::new(None) };
}

/// Sets hooks on this thread, until the next `pop`.
pub fn push(pack: Pack) {
    PACKERS.with(|packers| packers.borrow_mut().push(pack));
    HOOKS.fetch_add(1, Ordering::Relaxed);
}

/// Takes the last hooks away.
pub fn pop() {
    let removed = PACKERS.with(|packers| packers.borrow_mut().pop());
    if removed.is_some() {
        HOOKS.fetch_sub(1, Ordering::Relaxed);
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

/// The memory in which a rule that saves this tensor will find it; `None` if no hooks are set on this thread.
pub fn promise(x: &Tensor) -> Option<Storage> {
    if PACKERS.with(|packers| packers.borrow().is_empty()) {
        return None;
    }
    WAITING.with(|waiting| {
        let mut waiting = waiting.borrow_mut();
        let twice = |known: &&Waiting| known.tensor.storage().same(x.storage()) && known.tensor.layout() == x.layout();
        if let Some(known) = waiting.iter().find(twice) {
            return Some(known.memory.clone());
        }
        let memory = Storage::promised(x.numel() * x.dtype().size());
        waiting.push(Waiting { tensor: x.kept(), memory: memory.clone() });
        Some(memory)
    })
}

/// Packs what the rules of a node that has just been made hold.
pub fn pack_for(node: &Node) {
    let waiting = WAITING.take();
    let packer = PACKERS.with(|packers| packers.borrow().last().cloned());
    let Some(packer) = packer else { return };
    for Waiting { tensor, memory } in waiting {
        if memory.is_held_once() {
            continue;
        }
        let (layout, dtype) = (Layout::contiguous(tensor.shape()), tensor.dtype());
        match packer(tensor) {
            Ok(unpack) => {
                let unpack = Mutex::new(Some(Arc::new(unpack)));
                node.extras().packed.lock().push(Arc::new(Packed { unpack, layout, dtype, memory }))
            }
            Err(error) => {
                FAILED.set(Some(error));
                return;
            }
        }
    }
}

/// Fails if packing has failed, or a tensor that must not be was saved, since this was last asked.
pub fn check() -> Result<()> {
    let refused = REFUSED.take();
    HOOKS.fetch_sub(refused.len(), Ordering::Relaxed);
    if refused.iter().any(|tensor| tensor.strong_count() > 0) {
        return Err(Error::Inference);
    }
    FAILED.take().map_or(Ok(()), Err)
}

/// Brings back what the rules of a node hold.
pub fn unpack_for(node: &Node) -> Result<()> {
    let packed = node.extras.get().map(|extras| extras.packed.lock().clone());
    packed.into_iter().flatten().try_for_each(|packed| packed.deliver())
}

impl Packed {
    fn deliver(&self) -> Result<()> {
        // Stays there until the memory has been delivered: another thread must not run the node before.
        let Some(unpack) = self.unpack.lock().clone() else { return Ok(()) };
        let x = self.fitted(&unpack()?)?;
        let mut waiting = self.unpack.lock();
        self.memory.deliver(x.storage());
        let spent = waiting.take();
        drop(waiting);
        // It may run code of the user's when it is dropped.
        drop(spent);
        Ok(())
    }

    /// What was unpacked, in memory that can be delivered.
    fn fitted(&self, x: &Tensor) -> Result<Tensor> {
        if x.shape() != self.layout.shape.as_slice() {
            return runtime_error!(
                "Output of saved tensor unpack_hook expected to be a Tensor of shape {:?}, which was packed, but got one of shape {:?}",
                self.layout.shape,
                x.shape()
            );
        }
        let x = &x.detached(false).to_dtype(self.dtype)?;
        // Memory that others see may be written to by them: then a copy is delivered.
        let own = x.is_contiguous() && x.layout().offset == 0 && x.storage().is_held_once();
        if own { Ok(x.detached(false)) } else { x.detached(false).copied()?.contiguous() }
    }
}
