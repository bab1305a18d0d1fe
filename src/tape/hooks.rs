//! Functions of the user that the engine calls around a node or a leaf.

use std::any::Any;
use std::sync::Arc;

use crate::error::Result;
use crate::tensor::{LeafHandle, Tensor};

/// The gradients of a node's outputs, or of its inputs.
pub type Grads = Vec<Option<Tensor>>;

/// Called with the gradients of a node's outputs before it runs; may replace them.
pub type Before = Arc<dyn Fn(&[Option<Tensor>]) -> Result<Option<Grads>> + Send + Sync>;

/// Called with the gradients of a node's inputs and outputs after it has run; may replace the former.
pub type After = Arc<dyn Fn(&[Option<Tensor>], &[Option<Tensor>]) -> Result<Option<Grads>> + Send + Sync>;

/// Called with a leaf when its gradient has been written.
pub type Accumulated = Arc<dyn Fn(&LeafHandle) -> Result<()> + Send + Sync>;

/// Functions of the user's that are called together, and the object in which the layer above keeps them.
#[derive(Clone)]
pub struct Kept<Call> {
    /// Calls them all.
    pub call: Call,
    /// Shared with that layer: there it tells the garbage collector of them.
    pub object: Arc<dyn Any + Send + Sync>,
}

/// The hooks of a node, or of a leaf's end of the tape, each with the number of its handle.
#[derive(Default, Clone)]
pub struct NodeHooks {
    /// Before it runs.
    pub before: Vec<(u64, Before)>,
    /// After it has run.
    pub after: Vec<(u64, After)>,
    /// After a leaf's gradient has been written.
    pub accumulated: Option<Kept<Accumulated>>,
    /// What the functions of those before and after share with the layer that made them, as in [`Kept`].
    pub objects: Vec<(u64, Arc<dyn Any + Send + Sync>)>,
}

impl NodeHooks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.accumulated.is_none()
    }

    /// Whether there are hooks that come after a leaf's gradient has been written.
    pub fn follow_a_write(&self) -> bool {
        self.accumulated.is_some() || !self.after.is_empty()
    }

    /// Calls those that come before.
    pub fn run_before(&self, outputs: &mut [Option<Tensor>]) -> Result<()> {
        for (_, hook) in &self.before {
            if let Some(replaced) = hook(outputs)? {
                outputs.clone_from_slice(&replaced);
            }
        }
        Ok(())
    }

    /// Calls those that come after.
    pub fn run_after(&self, inputs: &mut [Option<Tensor>], outputs: &[Option<Tensor>]) -> Result<()> {
        for (_, hook) in &self.after {
            if let Some(replaced) = hook(inputs, outputs)? {
                inputs.clone_from_slice(&replaced);
            }
        }
        Ok(())
    }

    /// Takes those of a handle out; what is answered runs code of the user's when it is dropped, so drop it unlocked.
    pub fn remove(&mut self, handle: u64) -> NodeHooks {
        NodeHooks {
            before: self.before.extract_if(.., |(id, _)| *id == handle).collect(),
            after: self.after.extract_if(.., |(id, _)| *id == handle).collect(),
            accumulated: None,
            objects: self.objects.extract_if(.., |(id, _)| *id == handle).collect(),
        }
    }
}
