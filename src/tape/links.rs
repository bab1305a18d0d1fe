//! Which tangents require a gradient though they depend on nothing that does.
//!
//! Torch computes the tangent of an op by a formula in the tangents and the values of its operands: that of `x @ w` is
//! `dx @ w + x @ dw`. It requires a gradient if one of the values does that the formula reads, also where the tangent that this is
//! multiplied with is zero. Here a tangent is what the rules come to (see `Tangents` in Python), without such products: it gets a
//! node that leads to those values, whose gradients are zeros.

use std::sync::Arc;

use smallvec::smallvec;

use super::engine::HashSet;
use super::mode;
use super::node::{EXACT_NAME, Edge, Input, Inputs, Node, Rules, unpacked};
use super::numbers::{Named, One};
use super::record::Derivative;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::tensor::Tensor;

/// The ops of which torch's formulas read tangents only, or the values only to compare them. So do those of their derivatives.
#[rustfmt::skip]
const LINEAR: &[&str] = &[
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "add", "affine_grid_generator",
    "alias", "amax", "amin", "aminmax", "as_strided", "as_strided_scatter", "avg_pool2d", "avg_pool3d", "bernoulli", "block_diag",
    "cat", "cauchy", "ceil", "channel_shuffle", "circular_pad_backward", "clamp", "clamp_max", "clamp_min", "clone", "col2_im",
    "complex", "conj", "conj_physical", "constant_pad_nd", "copy", "cummax", "cummin", "cumsum", "data", "deg2rad", "diag_embed",
    "diagonal", "diagonal_copy", "diagonal_scatter", "div.1", "div.2", "div.3", "dual_leaf", "embedding",
    "embedding_dense_backward", "eq", "expand", "exponential", "fft_c2_c", "fft_c2_r", "fft_r2_c", "fill", "flip", "floor", "fmax",
    "fmin", "fmod", "frac", "fractional_max_pool2d", "fractional_max_pool3d", "frexp", "gather", "gathered", "ge", "geometric",
    "gt", "hardshrink_backward", "hardtanh_backward", "im2_col", "index", "index_add", "index_copy", "index_fill", "index_put",
    "index_select", "kthvalue", "le", "lerp", "linalg_slogdet", "log_normal", "lt", "lu_unpack", "masked_fill", "masked_scatter",
    "masked_select", "max", "max_pool2d_with_indices", "max_pool3d_with_indices", "max_unpool2d", "max_unpool3d", "maximum", "mean",
    "median", "min", "minimum", "mode", "mul.1", "nan_to_num", "nanmedian", "nansum", "native_dropout", "ne", "neg", "nextafter",
    "nll_loss", "nll_loss2d", "normal", "permute", "pixel_shuffle", "pixel_unshuffle", "poisson", "put", "rad2deg", "random",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "remainder", "repeat", "replication_pad1d", "replication_pad2d",
    "replication_pad3d", "reshape_alias", "roll", "rot90", "round", "rsub", "scatter", "scatter_add", "scatter_reduce", "scattered", "select",
    "select_scatter", "shift", "sign", "slice", "slice_scatter", "softshrink_backward", "sort", "split", "split_with_sizes",
    "squeeze", "stack", "sub", "sum", "t", "take", "to_copy", "topk", "trace", "transpose", "tril", "triu", "trunc", "unbind",
    "unfold", "uniform", "unsafe_split", "unsafe_split_with_sizes", "unsafe_view", "unsqueeze", "upsample_bicubic2d",
    "upsample_bicubic2d_aa", "upsample_bilinear2d", "upsample_bilinear2d_aa", "upsample_lanczos2d_aa", "upsample_linear1d",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_nearest_exact1d", "upsample_nearest_exact2d",
    "upsample_nearest_exact3d", "upsample_trilinear3d", "view", "view_as_complex", "view_as_real", "where", "window_replaced",
    "window_zeroed", "zero",
];

/// Whether the formula of a node's output reads the value of an operand. A result counts as all operands: it requires a gradient if
/// one of them does.
fn reads(node: &Node, op: &str, output: usize, operand: usize) -> bool {
    let first = |of: fn(&Input) -> bool| node.inputs.first().is_some_and(of);
    match (op, output) {
        ("addbmm" | "addcdiv" | "addcmul" | "addmm" | "addmv" | "addr" | "baddbmm", _) => operand > 0,
        // But not the bias.
        ("convolution" | "native_layer_norm" | "native_batch_norm" | "native_batch_norm_legit", _) => operand < 2,
        ("native_batch_norm_legit.1" | "batch_norm_with_update", _) => operand < 2,
        ("native_layer_norm_backward" | "native_batch_norm_backward" | "rms_norm_backward", 1) => operand < 2,
        ("prelu_kernel_backward", _) => operand != 1,
        ("threshold_backward", _) => operand == 1,
        // The target is read for the tangent of the other operand only.
        ("binary_cross_entropy_with_logits", _) => operand == 0 || first(|input| input.edge.is_dual()),
        ("angle" | "sgn", _) => first(|input| input.dtype.is_complex()),
        ("fmod.1" | "lerp.1" | "remainder.1", _) => true,
        ("native_group_norm" | "std_mean" | "triangular_solve" | "var_mean", 1) => false,
        _ => {
            let name = op.split_once('.').map_or(op, |(name, _)| name);
            ![op, name, name.strip_suffix("_backward").unwrap_or(name)].iter().any(|name| LINEAR.contains(name))
        }
    }
}

/// A tangent, that of `x`, which leads to all that its formula reads in torch.
pub fn linked(tangent: &Tensor, x: &Tensor) -> Tensor {
    let mut read = read_for(x.edge());
    if !read.is_empty() {
        let known = places_from(tangent.edge());
        read.retain(|input| !known.contains(&number_of(&input.edge)));
    }
    link(tangent, read)
}

/// The same tensor, which leads to these, too.
fn link(x: &Tensor, read: Inputs) -> Tensor {
    if read.is_empty() {
        return x.clone();
    }
    let inputs = std::iter::once(Input::of(x)).chain(read).collect();
    // As torch's formula, it ends in a sum.
    let node = unpacked("add", 1, inputs, false, Rules::Each(Arc::new(Link)), false);
    x.detached(false).with_origin(node, 0)
}

/// The rules of a sum of a tensor and of zeros that have been something times zero.
struct Link;

impl Derivative for Link {
    fn of_input(&self, input: usize, g: &Tensor, node: &Arc<Node>) -> Option<Result<Tensor>> {
        if input == 0 {
            return Some(Ok(g.clone()));
        }
        let Input { shape, dtype, .. } = node.inputs.get(input)?;
        let zeros = Tensor::from_scalar(Scalar::Int(0), *dtype).and_then(|zero| zero.expand_to("zeros", shape));
        let read = if mode::mode().grad && g.is_shown() { smallvec![Input::of(g)] } else { Inputs::new() };
        Some(zeros.map(|zeros| link(&zeros, read)))
    }

    fn again(&self) -> Option<Arc<dyn Derivative>> {
        None
    }

    fn numbers(&self) -> Named {
        crate::saves!(alpha: One)()
    }
}

/// What is read between the dual tensors and a place, each once.
fn read_for(place: Edge) -> Inputs {
    let (mut found, mut known) = (Inputs::new(), HashSet::default());
    let (mut places, mut seen) = (vec![place], HashSet::default());
    while let Some(place) = places.pop() {
        let Some((node, output)) = place.of_tangent().clone().node() else { continue };
        // What a function of the user's reads is in the tangent: its `jvp` has run.
        if node.is_dual_only() || node.op.starts_with(EXACT_NAME) || !seen.insert((node.id, output)) {
            continue;
        }
        let (op, output) = node.written_by().map_or((node.op, output), |op| (op, 0));
        for (i, input) in node.inputs.iter().enumerate().filter(|(_, input)| input.edge.is_shown()) {
            if reads(&node, op, output, i) {
                // It leads to all that was read before it.
                if known.insert(number_of(&input.edge)) {
                    found.push(Input { edge: input.edge.clone(), shape: input.shape.clone(), dtype: input.dtype });
                }
            } else if input.edge.is_dual() {
                places.push(input.edge.clone());
            }
        }
    }
    found
}

/// The places that gradients flow to from one, by their numbers.
fn places_from(place: Edge) -> HashSet<(u64, usize)> {
    let (mut found, mut places) = (HashSet::default(), vec![place]);
    while let Some(place) = places.pop() {
        if place.is_shown()
            && found.insert(number_of(&place))
            && let Edge::Node(node, _) = place
        {
            places.extend(node.inputs.iter().map(|input| input.edge.clone()));
        }
    }
    found
}

/// What tells a place from others.
fn number_of(place: &Edge) -> (u64, usize) {
    match place {
        Edge::None => (0, 0),
        Edge::Node(node, output) => (node.id, *output),
        Edge::Leaf(meta, _) => (0, Arc::as_ptr(meta) as usize),
    }
}
