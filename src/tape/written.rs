//! What is written to a tensor, and the histories that the tensor and its base get by it.

use std::sync::Arc;

use smallvec::smallvec;

use super::former;
use super::meta::Meta;
use super::mode;
use super::node::{COPY_SLICES, DUAL_LEAF, Edge, Input, Node, Rules, apart, node};
use super::record::Rule;
use super::slices::{overwritten_node, written_by};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::layout::Shape;
use crate::tensor::Tensor;

/// Gives `x`, which is no view, the history of a result that it shows now.
pub(crate) fn follow(x: &Tensor, result: &Tensor) {
    if let Some((node, output)) = result.edge().node() {
        Written { node, output, dtype: x.dtype(), place: 0 }.rebase(x);
    }
}

/// What is written to a tensor: the output of a node.
pub(super) struct Written {
    node: Arc<Node>,
    output: usize,
    dtype: DType,
    /// Which of the node's inputs are the tensor's old values.
    place: usize,
}

impl Written {
    /// Something that takes the place of the values of `x`. None is a number.
    pub(super) fn instead(op: &'static str, x: &Tensor, value: Option<Input>) -> Written {
        Written { node: overwritten(op, x, x.meta_or_new().edge(), value), output: 0, dtype: x.dtype(), place: 0 }
    }

    /// The output of a node of the user's, which may take the values of `x`.
    pub(super) fn custom(x: &Tensor, node: Arc<Node>, output: usize) -> Written {
        let old = x.edge().node().map(|(old, _)| old);
        // What carries its tangent is found by its node.
        let place = if node.is_dual() && x.is_view() { None } else { place_in(&node, old.as_ref(), node.id) };
        match place {
            Some(place) => Written { node, output, dtype: x.dtype(), place },
            None if !x.is_view() => Written { node, output, dtype: x.dtype(), place: 0 },
            None => Written::instead("custom", x, Some(Input { edge: Edge::Node(node, output), ..Input::of(x) })),
        }
    }

    /// What nodes with numbers above `began` have computed of `operand`, the old values of `x`.
    pub(super) fn computed(op: &'static str, x: &Tensor, operand: &Tensor, result: &Tensor, began: u64) -> Result<Written> {
        let (old, dtype) = (operand.edge().node().map(|(node, _)| node), result.dtype());
        let cast = |result: &Tensor| result.to_dtype(x.dtype());
        match (result.edge().node(), x.window_base()) {
            (Some((node, _)), _) if old.as_ref().is_some_and(|old| Arc::ptr_eq(old, &node)) => {
                let same: Rule = Box::new(|g, _| Ok(g.clone()));
                let rules = Rules::Each(Arc::new(vec![Some(same)]));
                let node = self::node(name_of(op), 1, smallvec![Input::of(operand)], false, rules);
                Ok(Written { node, output: 0, dtype, place: 0 })
            }
            // Gradients come in the dtype of `x`, and leave the node in those of its inputs.
            (Some((node, output)), None) if !node.is_dual() && dtype.is_complex() == x.dtype().is_complex() => {
                Ok(Written { node, output, dtype, place: 0 })
            }
            (Some(_), None) if let Some((node, output)) = cast(result)?.edge().node() => {
                Ok(Written { node, output, dtype, place: 0 })
            }
            (Some((node, output)), Some(base)) if node.id > began => {
                if let Some(place) = place_in(&node, old.as_ref(), began) {
                    return Ok(Written { node, output, dtype, place });
                }
                // The first of several nodes gets its gradients to the base.
                let result = match old {
                    Some(old) => {
                        let window = Edge::Node(overwritten_node(base.edge(x), &base, x), 0);
                        result.clone().with_origin(node.redirected(began, &old, &window), output)
                    }
                    None => result.clone(),
                };
                Ok(Written::instead(op, x, Some(Input::of(&cast(&result)?))))
            }
            _ => Ok(Written::instead(op, x, Some(Input::of(&cast(result)?)))),
        }
    }

    /// Gives `x`, and its base if it is a view, this as its history.
    pub(super) fn rebase(self, x: &Tensor) {
        let Written { node, output, dtype, place } = self;
        let meta = x.meta_or_new();
        let Some(base) = x.window_base() else {
            follow_write(&meta, node, output, |edge, tangent, op| apart(op, edge, tangent, x.shape(), x.dtype()));
            return x.tell_primal();
        };
        let node = written_by(node, place, dtype, &base, x);
        follow_write(&base.meta, node, 0, |edge, tangent, op| apart(op, edge, tangent, &base.layout().shape, base.dtype));
        if let Some(base) = &mut meta.lock().base {
            base.version = None;
        }
        if mode::has_tangents()
            && let Some(base) = x.base()
        {
            base.tell_primal();
        }
    }
}

impl Tensor {
    /// Of a dual tensor that has been written to: what it was made of gets its gradients, and none of its tangents.
    fn tell_primal(&self) {
        let Some(meta) = self.meta().filter(|meta| meta.is_view()) else { return };
        let Some(base) = meta.lock().base.clone().filter(|base| base.dual) else { return };
        // It has its new history already.
        if let Some(base) = &mut meta.lock().base {
            base.version = Some(self.version());
        }
        if mode::mode().grad {
            let copied = overwritten("copy", self, Edge::None, Some(Input::of(self)));
            let gradient = Edge::Node(written_by(copied, 0, self.dtype(), &base, self), 0);
            base.meta.set_node(apart(COPY_SLICES, gradient, Edge::None, &base.layout().shape, base.dtype), 0);
        }
    }
}

/// Makes an output of a node the history of what has been written. Under `no_grad` only tangents notice: what has a history of its own
/// gets `beside` it the tangent's.
fn follow_write(meta: &Arc<Meta>, node: Arc<Node>, output: usize, beside: impl FnOnce(Edge, Edge, &'static str) -> Arc<Node>) {
    if mode::mode().grad {
        return meta.set_node(node, output);
    }
    if !node.is_dual() {
        return;
    }
    match meta.edge() {
        Edge::Node(old, place) if old.is_shown() => {
            let op = old.op;
            meta.set_node(beside(Edge::Node(old, place), Edge::Node(node, output), op), 0);
        }
        Edge::Leaf(leaf, handle) if leaf.is_shown() => {
            former::list_leaf(&leaf);
            meta.set_node(beside(Edge::Leaf(leaf, handle), Edge::Node(node, output), DUAL_LEAF), 0);
        }
        _ => meta.set_node(node, output),
    }
}

/// Which input of a node leads to `old` (the first, if that is None and so is where it leads), if the node has only one output and
/// leads to no others with numbers above `began`.
fn place_in(node: &Node, old: Option<&Arc<Node>>, began: u64) -> Option<usize> {
    let is_newer = |input: &Input| matches!(&input.edge, Edge::Node(node, _) if node.id > began);
    if node.outputs > 1 || node.inputs.iter().any(is_newer) {
        return None;
    }
    match old {
        Some(old) => node.inputs.iter().position(|input| matches!(&input.edge, Edge::Node(node, _) if Arc::ptr_eq(node, old))),
        None => node.inputs.first().filter(|input| !input.edge.is_some()).map(|_| 0),
    }
}

/// The node of a tensor that was overwritten: its old history gets zeros, the written values the gradient.
pub(super) fn overwritten(op: &'static str, x: &Tensor, history: Edge, written: Option<Input>) -> Arc<Node> {
    let (shape, dtype) = (Shape::from_slice(x.shape()), x.dtype());
    let inputs = std::iter::once(Input { edge: history, shape: shape.clone(), dtype }).chain(written).collect();
    let zeros: Rule = Box::new(move |_, _| Tensor::from_scalar(Scalar::Int(0), dtype)?.expand_to("zeros", &shape));
    let same: Rule = Box::new(|g, _| Ok(g.clone()));
    node(name_of(op), 1, inputs, false, Rules::Each(Arc::new(vec![Some(zeros), Some(same)])))
}

/// The name of an op without the mark of its in-place form.
fn name_of(op: &'static str) -> &'static str {
    op.strip_suffix('_').unwrap_or(op)
}
