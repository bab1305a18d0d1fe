//! Views that must not be written to, and those that must not be used any more since their base was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::meta::Meta;
use super::node::{Edge, FROZEN_VIEW, Input, Node, OTHER_DATA, node_between, short_name};
use super::record::Rule;
use crate::error::Result;
use crate::layout::Shape;
use crate::runtime_error;
use crate::tensor::{LeafHandle, Tensor};

/// Why the outputs of ops with several views may not be written to.
pub const ONE_OF_SEVERAL: &str = "This view is the output of a function that returns multiple views, \
    which may not be modified inplace: use an op that makes a new tensor.";

/// Why views that a custom function answers may not be written to.
pub const IN_CUSTOM_FUNCTION: &str = "This view was created inside a custom Function (or because an input was returned as-is): a \
    write to it would take the place of the Function's own backward. Clone what the Function answers.";

/// Why views made while nothing was recorded may not be written to.
pub const MADE_UNRECORDED: &str = "Whether the write is to be tracked is ambiguous: make the view and the write both inside the no_grad \
    block, or both outside.";

/// The same for views made in inference mode.
pub const MADE_IN_INFERENCE: &str = "Whether the write is to be tracked is ambiguous: make the view and the write both inside the \
    inference_mode block, or both outside.";

/// Whether there ever was a view that must no longer be used: all that is looked at as long as there was none.
static ANY_FROZEN: AtomicBool = AtomicBool::new(false);

/// Why a view must not be used after a write to its base, and which function made it.
struct Frozen {
    why: String,
    made_by: Option<(String, usize)>,
}

/// The function that made a view, and which of its outputs the view is.
pub fn maker(made_by: Option<(Arc<Node>, usize)>) -> Option<(String, usize)> {
    let (node, output) = made_by?;
    match node.frozen() {
        Some(frozen) => frozen.made_by.clone(),
        None => Some((short_name(&node.name()).to_string(), output)),
    }
}

/// Says that a view is used in a way that `reason` forbids: it "is being" written to, or other views have been.
pub fn refusal(made_by: &Option<(String, usize)>, reason: &'static str, what: &str) -> String {
    match made_by {
        Some((name, output)) => format!("Output {output} of {name} is a view and {what} modified inplace. {reason}"),
        None if reason == MADE_IN_INFERENCE => {
            format!("A view was created in inference mode and {what} modified inplace in normal mode. {reason}")
        }
        None => format!("A view was created in no_grad mode and {what} modified inplace with grad mode enabled. {reason}"),
    }
}

/// The history of a view that must not be used after a write to its base: an error, as soon as it is used.
pub fn frozen_node(view: &Tensor, made_by: Option<(Arc<Node>, usize)>, reason: &'static str) -> Arc<Node> {
    ANY_FROZEN.store(true, Ordering::Relaxed);
    // No function is named for views that nothing recorded.
    let made_by = if [MADE_UNRECORDED, MADE_IN_INFERENCE].contains(&reason) { None } else { maker(made_by) };
    let why = refusal(&made_by, reason, "its base or another view of its base has been");
    let text = why.clone();
    let rule: Rule = Box::new(move |_, _| runtime_error!("{text}"));
    // It leads nowhere, but must be run to say so.
    let edge = Edge::Leaf(Meta::leaf(true), LeafHandle::default());
    let input = Input { edge, shape: Shape::from_slice(view.shape()), dtype: view.dtype() };
    let node = node_between(FROZEN_VIEW, input, rule);
    let _ = node.extras().object.set(Arc::new(Frozen { why, made_by }));
    node
}

impl Node {
    fn frozen(&self) -> Option<&Frozen> {
        if self.op == FROZEN_VIEW { self.extras().object.get()?.downcast_ref() } else { None }
    }

    /// Fails if this is the history of a view that must not be used any more.
    pub fn check_usable(&self) -> Result<()> {
        match (self.frozen(), &self.inputs[..]) {
            (Some(frozen), _) => runtime_error!("{}", frozen.why),
            (None, [Input { edge: Edge::Node(view, _), .. }]) if self.op == OTHER_DATA => view.check_usable(),
            _ => Ok(()),
        }
    }

    /// Fails if an input is a view that must not be used any more.
    pub fn check_inputs(&self) -> Result<()> {
        if !ANY_FROZEN.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.inputs.iter().try_for_each(|input| match &input.edge {
            Edge::Node(node, _) => node.check_usable(),
            _ => Ok(()),
        })
    }
}
