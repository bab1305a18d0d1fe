//! Nodes of ops that are written outside of the library, and what the library then does with their outputs.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::frozen::{IN_CUSTOM_FUNCTION, ONE_OF_SEVERAL};
use super::meta::Meta;
use super::node::{DELAYED_ERROR, EXACT_NAME, Edge, Input, Node, Rules, node};
use super::record::{JointRule, joint};
use super::view::check_writable;
use super::written::Written;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::Shape;
use crate::runtime_error;
use crate::tensor::{LeafHandle, Tensor};

/// A node with a name and a rule of its own; `saves` as for [`Node`].
pub fn custom_node(name: &str, inputs: &[Tensor], outputs: usize, saves: bool, rule: JointRule) -> Arc<Node> {
    let inputs: SmallVec<[Input; 2]> = inputs.iter().map(Input::of).collect();
    node(interned(name), outputs, inputs, saves, Rules::Joint(rule))
}

/// The same tensors (or None), of which backward fails with this message.
pub fn delayed_error(message: String, tensors: Vec<Option<Tensor>>) -> Vec<Option<Tensor>> {
    let input = |x: &Option<Tensor>| match x {
        Some(x) => Input { edge: Edge::Leaf(Meta::leaf(true), LeafHandle::default()), ..Input::of(x) },
        None => Input { edge: Edge::None, shape: Shape::new(), dtype: DType::F32 },
    };
    let rule = joint(move |_, _, _| runtime_error!("{message}"));
    let inputs = tensors.iter().map(input).collect();
    let node = node(DELAYED_ERROR, tensors.len(), inputs, false, Rules::Joint(rule));
    let place = |(i, x): (usize, Option<Tensor>)| x.map(|x| x.detached(false).with_origin(node.clone(), i));
    tensors.into_iter().enumerate().map(place).collect()
}

/// The name, marked as one to be taken as it is. Kept for ever: there are as many as there are classes of functions.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let marked = format!("{EXACT_NAME}{name}");
    let mut names = NAMES.lock();
    let names = names.get_or_insert_default();
    match names.get(marked.as_str()) {
        Some(known) => known,
        None => {
            let kept: &'static str = Box::leak(marked.into_boxed_str());
            names.insert(kept);
            kept
        }
    }
}

impl Tensor {
    /// Makes this tensor, fresh or a view, an output of a custom node.
    pub fn set_history(&self, node: Arc<Node>, output: usize, one_of_several: bool) {
        let meta = self.meta_or_new();
        node.note_output(output, self.shape(), self.dtype());
        meta.set_node(node, output);
        let version = self.version();
        if let Some(base) = &mut meta.lock().base {
            base.version = Some(version);
            base.frozen = Some(if one_of_several { ONE_OF_SEVERAL } else { IN_CUSTOM_FUNCTION });
        }
    }

    /// Makes this tensor, which a custom op has written to, the op's output; its base, too, if it is a view.
    pub fn rebase_history(&self, node: Arc<Node>, output: usize) -> Result<()> {
        check_writable(self)?;
        node.note_output(output, self.shape(), self.dtype());
        Written::custom(self, node, output).rebase(self);
        Ok(())
    }
}
