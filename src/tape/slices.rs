//! Views as windows on their bases, and the nodes of bases whose views have been written to.

use std::sync::{Arc, Weak};

use super::engine::fitted;
use super::meta::Meta;
use super::mode::{self, ModeGuard};
use super::node::{COPY_SLICES, Edge, Input, Node, Rules, freed, node_between, unpacked};
use super::record::{JointDerivative, JointRule, Rule};
use super::saved;
use super::view::{Base, places_coincide};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::tensor::Tensor;

/// The place of a view in its base, in elements of one dtype: where only one of them is complex, in its parts.
#[derive(Clone)]
struct Window {
    base: Layout,
    base_in_parts: bool,
    view: Layout,
    view_in_parts: bool,
}

impl Window {
    fn new(base: &Base, view: &Tensor) -> Window {
        let mixed = base.dtype != view.dtype();
        let (base_in_parts, view_in_parts) = (mixed && base.dtype.is_complex(), mixed && view.dtype().is_complex());
        let layout = |layout: &Layout, in_parts: bool| if in_parts { layout.of_parts() } else { layout.clone() };
        let (base, view) = (layout(&base.layout(), base_in_parts), layout(view.layout(), view_in_parts));
        Window { base, base_in_parts, view, view_in_parts }
    }

    /// Whether the view shows all elements of the base in their order.
    fn is_whole(&self) -> bool {
        let (base, view) = (&self.base, &self.view);
        let same_memory = base.offset == view.offset && base.numel() == view.numel();
        base == view || same_memory && base.is_contiguous() && view.is_contiguous()
    }

    /// Torch's name of the op that makes the view of the base.
    fn op(&self) -> &'static str {
        match self.is_whole() {
            true if self.base_in_parts => "view_as_real",
            true if self.view_in_parts => "view_as_complex",
            _ => "as_strided",
        }
    }

    /// The view's gradient in a gradient of zeros of the base.
    fn embed(&self, g: &Tensor) -> Result<Tensor> {
        let g = g.parts_if(self.view_in_parts)?;
        let g = if self.is_whole() { g.reshape_to(&self.base.shape)? } else { g.window_backward(&self.base, &self.view)? };
        g.paired_if(self.base_in_parts)
    }

    /// The base's gradient without the view.
    fn rest(&self, g: &Tensor) -> Result<Tensor> {
        g.parts_if(self.base_in_parts)?.window_zeroed(&self.base, &self.view)?.paired_if(self.base_in_parts)
    }

    /// The part of the base's gradient that the view shows.
    fn shown(&self, g: &Tensor) -> Result<Tensor> {
        let g = g.parts_if(self.base_in_parts)?;
        let g = if self.is_whole() { g.reshape_to(&self.view.shape)? } else { g.window_of(&self.base, &self.view)? };
        g.paired_if(self.view_in_parts)
    }

    /// The node of this on a base: the window's gradient goes to its place in a gradient of zeros.
    fn node(&self, base: Input) -> Arc<Node> {
        let window = self.clone();
        let rule: Rule = Box::new(move |g, _| window.embed(g));
        node_between(self.op(), base, rule)
    }

    /// The base's gradient with another one in the place of that part.
    fn replaced(&self, g: &Tensor, part: &Tensor) -> Result<Tensor> {
        if self.view.may_overlap() {
            // As in the memory, of elements that share a place the one written last has it.
            let last = part.parts_if(self.view_in_parts)?.where_last_in(&self.view)?.paired_if(self.view_in_parts)?;
            return self.rest(g)? + self.embed(&last)?;
        }
        // Nothing of the other is left, but it may have a history.
        if self.is_whole() && !g.requires_grad() {
            return self.embed(part);
        }
        let part = part.parts_if(self.view_in_parts)?;
        let g = g.parts_if(self.base_in_parts)?.window_replaced(&self.base, &self.view, &part)?;
        g.paired_if(self.base_in_parts)
    }
}

/// The node of a window on a base.
pub(super) fn window_node(edge: Edge, base: &Base, view: &Tensor) -> Arc<Node> {
    Window::new(base, view).node(base.as_input(edge))
}

/// The same of values that have been written over: of elements that share a place the one written last has them.
pub(super) fn overwritten_node(edge: Edge, base: &Base, view: &Tensor) -> Arc<Node> {
    let window = Window::new(base, view);
    if !window.view.may_overlap() {
        return window.node(base.as_input(edge));
    }
    let (op, layout) = (window.op(), view.layout().clone());
    let rule: Rule = Box::new(move |g, _| window.embed(&g.where_last_in(&layout)?));
    node_between(op, base.as_input(edge), rule)
}

/// An op that has written to a view, within the node of the view's base.
#[derive(Clone)]
struct Within {
    op: Arc<Node>,
    /// Which of the op's inputs is the view.
    place: usize,
    /// The dtype of what the op answered.
    dtype: DType,
    window: Window,
    view: Weak<Meta>,
}

/// The node of a base to whose view `x` an op has written what it answered, in this dtype; `place` is the view's among the op's inputs.
/// As in torch, the op is no node of its own any more: its other inputs are this one's, and the base's old history is in the place of
/// the view's.
pub(super) fn written_by(op: Arc<Node>, place: usize, dtype: DType, base: &Base, x: &Tensor) -> Arc<Node> {
    let input = |(i, input): (usize, &Input)| match i == place {
        true => base.as_input(base.edge(x)),
        false => Input { edge: input.edge.clone(), shape: input.shape.clone(), dtype: input.dtype },
    };
    let (inputs, hidden) = (op.inputs.iter().enumerate().map(input).collect(), !op.is_shown());
    let within = Within { op, place, dtype, window: Window::new(base, x), view: Arc::downgrade(&x.meta_or_new()) };
    // Torch's runs once, whatever its op saves.
    unpacked(COPY_SLICES, 1, inputs, true, Rules::Joint(Arc::new(within)), hidden)
}

impl Within {
    /// The view's node over that of the base: what the op saved of its result is the view.
    fn view_of(&self, base: &Arc<Node>) -> Arc<Node> {
        let is_over =
            |node: &Arc<Node>| matches!(&node.inputs[..], [Input { edge: Edge::Node(over, _), .. }] if Arc::ptr_eq(over, base));
        let known = self.view.upgrade().and_then(|view| view.node()).map(|(node, _)| node).filter(is_over);
        known.unwrap_or_else(|| {
            let Input { shape, dtype, .. } = &base.inputs[self.place];
            self.window.node(Input { edge: Edge::Node(base.clone(), 0), shape: shape.clone(), dtype: *dtype })
        })
    }
}

impl JointDerivative for Within {
    fn of_inputs(&self, grads: &[Option<Tensor>], wanted: &[bool], node: &Arc<Node>) -> Result<Vec<Option<Tensor>>> {
        let Within { op, place, dtype, window, .. } = self;
        let Some(Some(g)) = grads.first() else { return Ok(vec![None; wanted.len()]) };
        // Tangents are computed from what was there before writes.
        if !mode::is_forward() {
            op.check_watched()?;
        }
        let result = if mode::is_recording() { self.view_of(node) } else { op.clone() };
        let part = window.shown(g)?.to_dtype(*dtype)?;
        let mut found = match saved::unpacked_rules(op)? {
            Rules::Each(rules) => {
                let _mode = (!mode::mode().grad).then(ModeGuard::of_rule);
                let of_input =
                    |(i, wanted): (usize, &bool)| if *wanted { rules.of_input(i, &part, &result).transpose() } else { Ok(None) };
                wanted.iter().enumerate().map(of_input).collect::<Result<Vec<_>>>()?
            }
            Rules::Joint(rule) => rule.of_inputs(&[Some(part)], wanted, &result)?,
            Rules::Freed(_) => return Err(freed(node)),
        };
        if wanted[*place] && window.view.is_expanded() && !mode::is_forward() {
            return Err(Error::Undefined(places_coincide(&window.view)));
        }
        if wanted[*place]
            && let Some(of_view) = found.get_mut(*place)
        {
            *of_view = Some(match of_view.take() {
                Some(part) => window.replaced(g, &fitted(op, *place, part)?)?,
                None => window.rest(g)?,
            });
        }
        Ok(found)
    }

    fn again(&self) -> JointRule {
        Arc::new(self.clone())
    }

    fn written_by(&self) -> Option<&'static str> {
        Some(self.op.op)
    }
}
