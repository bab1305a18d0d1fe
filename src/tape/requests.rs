//! What a user may ask and tell a tensor about its place on the tape.

use std::sync::Arc;

use super::level::before_write;
use super::mode::has_tangents;
use super::node::{DUAL_LEAF, Edge, Input, node_between};
use crate::dtype::DType;
use crate::error::Result;
use crate::runtime_error;
use crate::tensor::Tensor;

impl Tensor {
    /// Sets the flag of a leaf. With `leaf_only`, telling a computed tensor what it does already is an error, too.
    pub fn set_requires_grad_flag(&self, flag: bool, leaf_only: bool) -> Result<()> {
        let computed = self.shown_node().is_some();
        if computed && !flag {
            return runtime_error!(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a \
                 subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            );
        }
        if computed && leaf_only {
            return runtime_error!("you can only change requires_grad flags of leaf variables.");
        }
        if flag && !self.dtype().is_inexact() {
            return runtime_error!("only Tensors of floating point dtype can require gradients, this one is of {}", self.dtype());
        }
        if flag {
            self.check_may_require()?;
        }
        if !computed {
            self.set_leaf_flag(flag);
            self.note_layout(false);
        }
        Ok(())
    }

    /// Fails for an inference tensor outside of inference mode.
    pub fn check_may_require(&self) -> Result<()> {
        if self.is_inference() && !super::mode::is_inference() {
            return runtime_error!("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
        }
        Ok(())
    }

    /// As a leaf, which may carry a tangent: then its gradient is that of a node in between, which the user does not see.
    fn set_leaf_flag(&self, flag: bool) {
        let meta = self.meta_or_new();
        let node = meta.lock().node.take();
        match node {
            Some((node, _)) if node.op == DUAL_LEAF && flag => meta.set_node(node, 0),
            Some((node, _)) if node.op == DUAL_LEAF => {
                if let Some(Edge::Node(node, output)) = node.inputs.last().map(|input| input.edge.clone()) {
                    meta.set_node(node, output);
                }
            }
            Some((node, output)) if flag && has_tangents() => {
                let input = Input { edge: Edge::Node(node, output), shape: self.shape().into(), dtype: self.dtype() };
                let node = node_between(DUAL_LEAF, input, Box::new(|g, _| Ok(g.clone())));
                node.show();
                node.watchers().retained.push((0, Arc::downgrade(&meta)));
                meta.set_node(node, 0);
                meta.lock().retains_grad = true;
            }
            Some((node, output)) if has_tangents() => meta.set_node(node, output),
            _ => meta.lock().requires_grad = flag,
        }
    }

    /// As a leaf: has its gradient kept in the same order in memory, if its own has no gaps. With `reshaped`, there may be gradients
    /// of another shape on the tape.
    pub(crate) fn note_layout(&self, reshaped: bool) {
        let Some(meta) = self.meta() else { return };
        let mut state = meta.lock();
        let unusual = state.node.is_none() && (!self.is_contiguous() || reshaped || state.layout.is_some());
        state.layout = (unusual && self.layout().is_dense()).then(|| Box::new(self.layout().clone()));
    }

    /// Whether `grad` may be assigned as the gradient of this tensor.
    pub fn check_grad_fits(&self, grad: &Tensor) -> Result<()> {
        let dtype = self.meta().map_or(Some(self.dtype()), |meta| meta.grad_dtype(self.dtype()));
        if let Some(dtype) = dtype.filter(|&dtype| dtype != grad.dtype()) {
            return runtime_error!(
                "attempting to assign a gradient with dtype '{}' to a tensor with grad_dtype '{}'. The gradient must match the \
                 tensor's grad_dtype (defaults to the tensor's dtype), which may be set, also to None for any dtype.",
                grad.dtype().type_word().to_lowercase(),
                dtype.type_word()
            );
        }
        if grad.shape() == self.shape() {
            return Ok(());
        }
        runtime_error!(
            "attempting to assign a gradient of size '{:?}' to a tensor of size '{:?}'. Please ensure that the gradient and the tensor \
             are the same size",
            grad.shape(),
            self.shape()
        )
    }

    /// The dtype to which the gradients of this leaf are cast; `None` for that in which they come.
    pub fn gradient_dtype(&self) -> Result<Option<DType>> {
        if self.shown_node().is_some() {
            return runtime_error!("grad_dtype can only be accessed on leaf tensors.");
        }
        Ok(self.meta().map_or(Some(self.dtype()), |meta| meta.grad_dtype(self.dtype())))
    }

    /// Sets it.
    pub fn set_gradient_dtype(&self, dtype: Option<DType>) -> Result<()> {
        if self.shown_node().is_some() {
            return runtime_error!("grad_dtype can only be set on leaf tensors.");
        }
        let meta = self.meta_or_new();
        let grad = meta.lock().grad.clone().map(|grad| grad.tensor()).transpose()?;
        if let (Some(grad), Some(dtype)) = (grad, dtype)
            && grad.dtype() != dtype
        {
            return runtime_error!(
                "Cannot set grad_dtype to '{}' because there is already a gradient with dtype '{}'. Please clear the gradient \
                 (.grad = None) before changing grad_dtype, or ensure the new grad_dtype matches the existing gradient's dtype.",
                dtype.type_word(),
                grad.dtype().type_word().to_lowercase()
            );
        }
        meta.lock().grad_dtype = Some(dtype);
        Ok(())
    }

    /// Takes this tensor itself off the tape.
    pub fn detach_self(&self) -> Result<()> {
        before_write("detach_", self)?;
        if self.is_view() {
            return runtime_error!("Can't detach views in-place. Use detach() instead.");
        }
        let meta = self.meta_or_new();
        let mut state = meta.lock();
        let node = state.node.take();
        state.requires_grad = false;
        drop(state);
        if let Some((node, output)) = node {
            node.watchers().detached.push(output);
        }
        Ok(())
    }

    /// Makes backward keep the gradient of a computed tensor.
    pub fn retain_gradient(&self) -> Result<()> {
        if !self.is_shown() {
            return runtime_error!("can't retain_grad on Tensor that has requires_grad=False");
        }
        let Some((node, output)) = self.node() else { return Ok(()) };
        node.check_usable()?;
        let meta = self.meta_or_new();
        let known = std::mem::replace(&mut meta.lock().retains_grad, true);
        if !known {
            node.watchers().retained.push((output, Arc::downgrade(&meta)));
        }
        Ok(())
    }

    /// A gradient as it is handed out: on the tape only if the graph of the derivative was asked for.
    pub fn detached_unless(self, create_graph: bool) -> Tensor {
        if create_graph { self } else { self.detached(false) }
    }
}
