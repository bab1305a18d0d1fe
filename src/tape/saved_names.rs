//! Torch's names of the tensors that ops save, `grad_fn._saved_self`, and of the numbers that need not be kept.

use super::held::Role;
use super::node::{Node, short_name};
use super::numbers::{Named, ToNumber};
use crate::layout::product;
use crate::saves;
use crate::tensor::Tensor;

/// The names of what one op's rules may hold.
struct Names {
    /// The op, as torch's name of the node has it, or that name.
    op: &'static str,
    /// The operands that are differentiated.
    operands: List,
    /// The results.
    outputs: List,
    /// Other tensors, in the order in which the rules hold them.
    others: List,
}

type List = &'static [&'static str];

const fn names(op: &'static str, operands: List, outputs: List, others: List) -> Names {
    Names { op, operands, outputs, others }
}

/// The names of all ops that are not in the table.
const USUAL: Names = names("", &["self", "other"], &["result"], &[]);

/// What torch does not save, or saves in another form, has no name.
pub const NAMELESS: &str = "~";

#[rustfmt::skip]
const TABLE: &[Names] = &[
    names("Addbmm", &["self", "batch1", "batch2"], &["result"], &[]),
    names("Addcdiv", &["self", "tensor1", "tensor2"], &["result"], &[]),
    names("Addcmul", &["self", "tensor1", "tensor2"], &["result"], &[]),
    names("Addmm", &["self", "mat1", "mat2"], &["result"], &[]),
    names("Addmv", &["self", "mat", "vec"], &["result"], &[]),
    names("Addr", &["self", "vec1", "vec2"], &["result"], &[]),
    names("Aminmax", &["self"], &["min", "max"], &[]),
    names("BatchNormWithUpdate", &["input", "weight"], &[], &["~", "~", "running_mean", "running_var", "result3"]),
    names("Baddbmm", &["self", "batch1", "batch2"], &["result"], &[]),
    names("BinaryCrossEntropy", &["self", "target"], &["result"], &[]),
    names("BinaryCrossEntropyWithLogits", &["self", "target"], &["result"], &["weight", "pos_weight"]),
    names("Bmm", &["self", "mat2"], &["result"], &[]),
    names("Cdist", &["x1", "x2"], &["result"], &[]),
    names("CholeskySolve", &["self", "input2"], &["result"], &[]),
    names("Clamp", &["self", "min", "max"], &["result"], &[]),
    names("ClampMax", &["self", "max"], &["result"], &[]),
    names("ClampMin", &["self", "min"], &["result"], &[]),
    names("ConvTbc", &["self", "weight", "bias"], &["result"], &[]),
    names("Convolution", &["input", "weight", "bias"], &["result"], &[]),
    names("CtcLoss", &["log_probs"], &["result0", "result1"], &["targets"]),
    names("CopySlices", &[], &[], &[]),
    names("Cummax", &["self"], &[], &["indices"]),
    names("Cummin", &["self"], &[], &["indices"]),
    names("Dist", &["self", "other"], &["result"], &[]),
    names("Dot", &["self", "tensor"], &["result"], &[]),
    names("Embedding", &["weight"], &[], &["indices"]),
    names("EmbeddingBag", &["weight"], &[], &["indices"]),
    names("EuclideanDist", &["x1", "x2"], &["result"], &[]),
    names("Frexp", &["self"], &["mantissa"], &["exponent"]),
    names("Gather", &["self"], &[], &["index"]),
    names("GridSampler2D", &["input", "grid"], &["result"], &[]),
    names("GridSampler3D", &["input", "grid"], &["result"], &[]),
    names("HuberLoss", &["self", "target"], &["result"], &[]),
    names("IndexAdd", &["self", "source"], &[], &["index"]),
    names("IndexCopy", &["self", "source"], &[], &["index"]),
    names("IndexFill", &["self", "value"], &[], &["index"]),
    names("IndexReduce", &["self", "source"], &["result"], &["index"]),
    names("IndexSelect", &["self"], &[], &["index"]),
    names("Kthvalue", &["self"], &[], &["indices"]),
    names("Lerp", &["self", "end", "weight"], &["result"], &[]),
    names("LinalgCholeskyEx", &["self"], &["L"], &[]),
    names("LinalgDet", &["A"], &["result"], &[]),
    names("LinalgEig", &["self"], &["eigenvalues", "eigenvectors"], &[]),
    names("LinalgEigh", &["A"], &["eigenvalues", "eigenvectors"], &[]),
    names("LinalgHouseholderProduct", &["input", "tau"], &["result"], &[]),
    names("LinalgInvEx", &["A"], &["inverse"], &[]),
    names("LinalgLstsq", &["self", "b"], &["solution"], &[]),
    names("LinalgLu", &["A"], &["L", "U"], &["P"]),
    names("LinalgLuFactorEx", &["A"], &["LU", "pivots"], &[]),
    names("LinalgLuSolve", &["LU", "B"], &["result"], &["pivots"]),
    names("LinalgQr", &["A"], &["Q", "R"], &[]),
    names("LinalgSlogdet", &["A"], &["sign"], &[]),
    names("LinalgSolveEx", &["A", "B"], &["result"], &[]),
    names("LinalgSolveTriangular", &["self", "B"], &["result"], &[]),
    names("LinalgSvd", &["A"], &["U", "S", "Vh"], &[]),
    names("LogSoftmaxBackwardData", &["grad_output", "output"], &["result"], &[]),
    names("LuUnpack", &["LU_data"], &[], &[]),
    names("MaskedFill", &["self", "value"], &[], &["mask"]),
    names("MaskedScatter", &["self", "source"], &[], &["mask"]),
    names("MaskedSelect", &["self"], &[], &["mask"]),
    names("Max", &["self"], &["result"], &["indices"]),
    names("Median", &["self"], &["result"], &["indices"]),
    names("Min", &["self"], &["result"], &["indices"]),
    names("Mm", &["self", "mat2"], &["result"], &[]),
    names("Mode", &["self"], &[], &["indices"]),
    names("MseLoss", &["self", "target"], &["result"], &[]),
    names("MultiMarginLoss", &["self"], &[], &["target", "weight"]),
    names("MultilabelMarginLoss", &["self"], &[], &["target"]),
    names("Mv", &["self", "vec"], &["result"], &[]),
    names("Nanmedian", &["self"], &["result"], &["indices"]),
    names("NativeBatchNorm", &["input", "weight"], &[], &["~", "~", "running_mean", "running_var"]),
    names("NativeBatchNormLegit", &["input", "weight"], &[], &["~", "~", "running_mean", "running_var"]),
    names("NativeDropout", &["self"], &[], &["result1"]),
    names("NativeGroupNorm", &["input", "weight"], &[], &[]),
    names("NativeLayerNorm", &["input", "weight"], &[], &["~", "~", "bias"]),
    names("NllLoss", &["self"], &[], &["target", "weight"]),
    names("NllLoss2D", &["self"], &[], &["target", "weight"]),
    names("Ormqr", &["self", "input2", "input3"], &["result"], &[]),
    names("PowBackward2", &["exponent"], &["result"], &["self"]),
    names("Pow", &["self", "exponent"], &["result"], &[]),
    names("Polar", &[], &["result"], &[]),
    names("PreluKernel", &["self", "weight"], &["result"], &[]),
    names("Put", &["self", "source"], &[], &["index"]),
    names("Scatter", &["self", "src"], &[], &["index"]),
    names("ScatterAdd", &["self", "src"], &[], &["index"]),
    names("ScatterReduce", &["self", "src"], &["result"], &["index"]),
    names("SmoothL1Loss", &["self", "target"], &["result"], &[]),
    names("SoftMarginLoss", &["self"], &[], &["target"]),
    names("SoftmaxBackwardData", &["grad_output", "output"], &["result"], &[]),
    names("Sort", &["self"], &[], &["indices"]),
    names("StdMean", &["self"], &["result0"], &[]),
    names("Take", &["self"], &[], &["index"]),
    names("Topk", &["self"], &[], &["indices"]),
    names("TriangularSolve", &["self", "A"], &["solution"], &[]),
    names("VarMean", &["self"], &[], &[]),
    names("Where", &["self", "other"], &[], &["condition"]),
];

/// The ops, as torch's names of their nodes begin, that save the sizes of `self` rather than it.
#[rustfmt::skip]
const SIZES_ONLY: &[&str] = &[
    "DiagonalBackward", "ExpandBackward", "IndexBackward", "IndexSelectBackward", "KthvalueBackward", "MaxBackward0", "MeanBackward",
    "MedianBackward1", "MinBackward0", "MmBackward", "ModeBackward", "NanmedianBackward1", "RepeatBackward", "ReshapeAliasBackward",
    "SelectBackward",
    "SliceBackward", "SortBackward", "SplitBackward", "SplitWithSizesBackward", "SqueezeBackward", "SumBackward", "TopkBackward", "TraceBackward",
    "UnfoldBackward", "UnsafeSplitBackward", "UnsafeSplitWithSizesBackward", "UnsafeViewBackward", "Upsample", "ViewBackward",
];

/// The numbers that a node saves: those that its op names, and what the shapes of its operands tell.
#[allow(non_snake_case)] // torch's names
pub fn numbers(node: &Node) -> Named {
    let mut numbers = node.rules.lock().numbers();
    let name = node.name();
    let Some(input) = node.inputs.first() else { return numbers };
    if SIZES_ONLY.iter().any(|known| name.starts_with(known)) && !name.contains("BackwardBackward") {
        numbers.push(("self_sym_sizes", input.shape.to_number()));
    }
    let sizes_of = |i: usize| node.inputs.get(i).map(|input| input.shape.clone());
    let from_end = |i: usize| input.shape.iter().rev().nth(i - 1).copied();
    let of_shapes = match short_name(&name) {
        "Addbmm" => saves! {
            batch1_sym_argsize_0: sizes_of(1).map(|sizes| sizes[0]), batch1_sym_argsize_1: sizes_of(1).map(|sizes| sizes[1]),
            batch2_sym_argsize_2: sizes_of(2).map(|sizes| sizes[2])
        }(),
        "Addmm" => saves! { mat1_sym_sizes: sizes_of(1), mat2_sym_sizes: sizes_of(2) }(),
        "Embedding" | "EmbeddingBag" => saves! { weight_sym_argsize_0: input.shape.first().copied() }(),
        "Im2Col" => saves! { self_sym_argsize_minus_1: from_end(1), self_sym_argsize_minus_2: from_end(2) }(),
        "LinalgSvd" => saves! { S_sym_argsize_minus_1: from_end(1).min(from_end(2)) }(),
        "LuUnpack" => saves! { LU_data_sym_argsize_minus_1: from_end(1), LU_data_sym_argsize_minus_2: from_end(2) }(),
        "MaskedScatter" => saves! { source_sym_sizes: sizes_of(1) }(),
        "Mean" => saves! { self_sym_numel: product(&input.shape) }(),
        "Mm" => saves! { mat2_sym_sizes: sizes_of(1) }(),
        _ => Named::new(),
    };
    numbers.extend(of_shapes);
    numbers
}

fn names_of(node: &Node) -> &'static Names {
    let name = node.name();
    TABLE.iter().find(|names| names.op == name || names.op == short_name(&name)).unwrap_or(&USUAL)
}

/// The name of a tensor that a node saves; `other` counts those that are neither operands nor results.
pub fn name_of(node: &Node, role: Role, other: usize) -> &'static str {
    let names = names_of(node);
    let (list, place) = match role {
        Role::Operand(place) => (names.operands, place as usize),
        Role::Output(place) => (names.outputs, place as usize),
        Role::Other | Role::Missing => (names.others, other),
    };
    list.get(place).copied().unwrap_or(NAMELESS)
}

/// Whether torch saves this number, which is an operand, as a number rather than as a tensor.
pub fn is_plain_number(node: &Node, x: &Tensor) -> bool {
    x.is_number() && !matches!(node.op, "mul" | "div")
}

/// What torch shows of an op even if nothing is held of that: its node, and the names.
#[rustfmt::skip]
const ALWAYS: &[(&str, List)] = &[
    ("ClampBackward0", &["max", "min"]), ("DivBackward0", &["other", "self"]), ("LerpBackward1", &["end", "self"]),
    ("MulBackward0", &["other", "self"]), ("MultiMarginLossBackward0", &["weight"]), ("NativeBatchNormBackward0", &["running_mean", "running_var", "weight"]),
    ("NativeBatchNormLegitBackward1", &["weight"]), ("BinaryCrossEntropyWithLogitsBackward0", &["pos_weight", "weight"]),
    ("EmbeddingBagBackward0", &["weight"]),
    ("NativeGroupNormBackward0", &["weight"]), ("NativeLayerNormBackward0", &["bias", "weight"]), ("NllLossBackward0", &["weight"]),
    ("NllLoss2DBackward0", &["weight"]),
];

/// Those names.
pub fn always(node: &Node) -> List {
    let name = node.name();
    ALWAYS.iter().find(|(op, _)| *op == name).map_or(&[], |(_, names)| names)
}

/// This name, if an op of this kind may save a tensor of it.
pub fn known(node: &Node, name: &str) -> Option<&'static str> {
    let names = names_of(node);
    let operands = &names.operands[..names.operands.len().min(node.inputs.len())];
    let all = [operands, names.outputs, names.others, always(node)].concat();
    all.into_iter().find(|known| node.saves && *known == name && name != NAMELESS)
}
