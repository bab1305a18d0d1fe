//! Where gradients can flow to.

use std::collections::HashSet;
use std::sync::Arc;

use super::meta::Meta;
use super::record::{Edge, Node};
use crate::tensor::Tensor;

/// Whether gradients of some of the tensors flow to a leaf that is none of `own`.
pub fn leads_to_others(tensors: &[Tensor], own: &[Tensor]) -> bool {
    let own: HashSet<*const Meta> = own.iter().filter_map(|x| x.meta().map(Arc::as_ptr)).collect();
    let mut seen: HashSet<u64> = HashSet::new();
    let mut stack: Vec<Arc<Node>> = Vec::new();
    let mut is_other = |edge: &Edge, stack: &mut Vec<Arc<Node>>| match edge {
        Edge::None => false,
        Edge::Leaf(meta) => !own.contains(&Arc::as_ptr(meta)),
        Edge::Node(node, _) => {
            if seen.insert(node.id) {
                stack.push(node.clone());
            }
            false
        }
    };
    if tensors.iter().any(|x| is_other(&x.edge(), &mut stack)) {
        return true;
    }
    while let Some(node) = stack.pop() {
        if node.inputs.iter().any(|input| is_other(&input.edge, &mut stack)) {
            return true;
        }
    }
    false
}
