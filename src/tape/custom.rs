//! Nodes of ops that are written outside of the library, and what the library then does with their outputs.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::frozen::{IN_CUSTOM_FUNCTION, ONE_OF_SEVERAL};
use super::record::{EXACT_NAME, Input, JointRule, Node, Rules, node};
use super::view::{check_writable, rebase};
use crate::error::Result;
use crate::tensor::Tensor;

/// A node with a name and a rule of its own; `saves` as for [`Node`].
pub fn custom_node(name: &str, inputs: &[Tensor], outputs: usize, saves: bool, rule: JointRule) -> Arc<Node> {
    let inputs: SmallVec<[Input; 2]> = inputs.iter().map(Input::of).collect();
    node(interned(name), outputs, inputs, saves, Rules::Joint(rule))
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
        let written = self.clone().with_origin(node, output);
        rebase("custom", self, Input::of(&written), false);
        Ok(())
    }
}
