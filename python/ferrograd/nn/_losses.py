"""Losses, with words for what becomes of those of a batch: "none", "mean" or "sum".

`size_average` and `reduce` are what torch had before, and are warned of as there.
"""

import math
import warnings

import ferrograd
from ferrograd import _C
from ferrograd._checks import overridable
from ferrograd.nn._reduction import number_of, reduced, reduction_number, reduction_word

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def _of_one_size(input, target):
    """Both broadcast, which torch does before they promote; warned of, as hardly ever meant."""
    warnings.warn(
        f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will likely lead to "
        "incorrect results due to broadcasting. Please ensure they have the same size.",
        stacklevel=3,
    )
    return ferrograd.broadcast_tensors(input, target)


def _weighted(losses, weight, input, reduction, by_weight=True):
    """Losses times weights, reduced; their mean is that by weight, or by number."""
    if weight.shape != input.shape:
        raise ValueError(f"Weights and input must have the same size, got {tuple(weight.shape)} and {tuple(input.shape)}.")
    losses = losses * weight
    if reduction == "mean" and by_weight:
        return losses.sum() / weight.sum()
    return reduced(losses, reduction)


@overridable
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """|input - target| of each element, or their mean or sum; with weights, the mean is weighted.

    Derivative: 0 where they are equal.
    """
    x, t = (input, target) if input.shape == target.shape else _of_one_size(input, target)
    reduction = reduction_word(size_average, reduce, reduction)
    if weight is not None:
        return _weighted((x - t).abs(), weight, input, reduction)
    if reduction == "elementwise_mean":
        reduction_number(reduction)
        reduction = "mean"
    return reduced((x - t).abs(), reduction)


@overridable
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """(input - target)² of each element, or their mean or sum; with weights, the mean is weighted."""
    x, t = (input, target) if input.shape == target.shape else _of_one_size(input, target)
    if weight is not None:
        reduction = reduction_word(size_average, reduce, reduction)
        return _weighted((x - t).pow(2), weight, input, reduction)
    return _C._nn.mse_loss(x, t, number_of(size_average, reduce, reduction))


@overridable
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """d² / (2 beta) of each difference d below `beta`, else |d| - beta / 2; or their mean or sum."""
    x, t = (input, target) if input.shape == target.shape else _of_one_size(input, target)
    if beta == 0.0:
        return reduced((x - t).abs(), reduction_word(size_average, reduce, reduction))
    return _C._nn.smooth_l1_loss(x, t, number_of(size_average, reduce, reduction), beta)


@overridable
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """d² / 2 of each difference d up to `delta`, else delta (|d| - delta / 2); or their mean or sum."""
    x, t = (input, target) if input.shape == target.shape else _of_one_size(input, target)
    if weight is not None:
        return _weighted(_C._nn.huber_loss(x, t, 0, delta), weight, input, reduction, by_weight=False)
    return _C._nn.huber_loss(x, t, reduction_number(reduction), delta)


@overridable
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """ln(1 + exp(-target input)) of each element, or their mean or sum; targets are 1 and -1."""
    return _C._nn.soft_margin_loss(input, target, number_of(size_average, reduce, reduction))


@overridable
def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """-(target ln input + (1 - target) ln(1 - input)) of each element, or their mean or sum. Logarithms are at least -100.

    Raises: RuntimeError if an element of `input` is not between 0 and 1, ValueError for targets of another size.
    """
    number = number_of(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. Please "
            "ensure they have the same size."
        )
    if weight is not None:
        weight = weight.expand(ferrograd.broadcast_shapes(target.shape, weight.shape))
    return _C._nn.binary_cross_entropy(input, target, weight, number)


@overridable
def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """`binary_cross_entropy` of sigmoid(input), computed without overflow; `pos_weight` is a factor of targets' ones.

    Raises: ValueError for targets of another size.
    """
    number = number_of(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    return _C.binary_cross_entropy_with_logits(input, target, weight, pos_weight, number)


@overridable
def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """The negative of what `input`, logarithms of probabilities, has for the class that is the target.

    Shape: (c) and (), (n, c) and (n), or (n, c, *) and (n, *). The mean is by the classes' weights.
    Raises: IndexError for targets that are no classes.
    """
    return _C._nn.nll_loss(input, target, weight, number_of(size_average, reduce, reduction), ignore_index)


@overridable
def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """The `nll_loss` of the logarithm of the softmax of `input` over classes; targets are classes, or their probabilities.

    `label_smoothing` is the part of each target that is spread evenly over the classes.
    """
    number = number_of(size_average, reduce, reduction)
    return _C._nn.cross_entropy(input, target, weight, number, ignore_index, label_smoothing)


@overridable
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False
):
    """The negative logarithm of the probability of label sequences, summed over all ways to align them with the steps.

    `log_probs` are logarithms of probabilities of classes, (steps, n, classes) or (steps, classes); `targets` are labels, (n, s)
    or those of all samples in a row. The mean is that of the losses divided by `target_lengths`.
    """
    number = reduction_number(reduction)
    return ferrograd.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, number, zero_infinity)


@overridable
def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """The `cross_entropy` of the outputs of a linear layer, whose weights may have further dims between classes and features.

    Raises: NotImplementedError for `options`, by which torch computes it in parts.
    """
    if options is not None:
        raise NotImplementedError("linear_cross_entropy: options are not supported")
    if not 1 <= input.dim() <= 2:
        raise RuntimeError(f"linear_cross_entropy: expected an input of 1 or 2 dims, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"linear_cross_entropy: expected a linear_weight of at least 2 dims, got {linear_weight.dim()}")
    if input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError(
            "linear_cross_entropy: the last dims of input and linear_weight must be equal, got "
            f"{input.shape[-1]} and {linear_weight.shape[-1]}"
        )
    outputs = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != outputs:
        raise RuntimeError(f"linear_cross_entropy: expected a linear_bias of shape {outputs}, got {tuple(linear_bias.shape)}")
    if len(outputs) > 1 and input.dim() == 1:
        raise RuntimeError(
            f"linear_cross_entropy: weights of shape {tuple(linear_weight.shape)} need a batch, got an input of shape {tuple(input.shape)}"
        )
    shape = (*input.shape[:-1], *outputs)
    if ignore_index is not None and tuple(target.shape) == shape:
        raise RuntimeError("linear_cross_entropy: ignore_index cannot be given where the target is of probabilities")
    bias = None if linear_bias is None else linear_bias.flatten()
    logits = _C._nn.linear(input, linear_weight.flatten(0, -2), bias).reshape(shape)
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits, target, weight=weight, reduction=reduction, ignore_index=ignored, label_smoothing=label_smoothing
    )


@overridable
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """target (ln target - input) of each element, or their mean or sum, or the sum over the batch by its size ("batchmean").

    `input` are logarithms, and so is `target` if `log_target`.
    """
    if size_average is None and reduce is None and reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size; the divergence of the definition is "
            "that of 'batchmean', which divides by the batch size only.",
            stacklevel=2,
        )
    batchmean = reduction == "batchmean"
    number = number_of(size_average, reduce, "sum" if batchmean else reduction)
    loss = ferrograd.kl_div(input, target, number, log_target=log_target)
    return loss / input.shape[0] if batchmean and input.dim() > 0 else loss


@overridable
def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"
):
    """exp(input) - target input of each element, or without `log_input` input - target ln(input + eps); or the mean or sum.

    `full` adds Stirling's approximation of ln target! where the target is above 1.
    """
    if reduction == "elementwise_mean":
        raise ValueError(f"poisson_nll_loss: {reduction} is not a valid value for reduction")
    number = number_of(size_average, reduce, reduction)
    return ferrograd.poisson_nll_loss(input, target, log_input, full, eps, number)


@overridable
def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(ln var + (input - target)² / var) / 2 of each element, or their mean or sum; `full` adds ln(2 pi) / 2.

    `var` is a number or a tensor, of the shape of the input or without its last dim; it counts as `eps` at least, through which
    the derivative goes as if it did not. Raises: ValueError for negative ones.
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError("gaussian_nll_loss: var has negative entry/entries")
        var = var * ferrograd.ones_like(input)
    elif _C._autograd._values(var < 0).any():
        raise ValueError("gaussian_nll_loss: var has negative entry/entries")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.dim() != var.dim() or sum(b for a, b in zip(input.shape, var.shape) if a != b) != 1:
            raise ValueError("gaussian_nll_loss: var is of incorrect size")
    reduction_number(reduction)
    var = var.clone()
    with ferrograd.no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@overridable
def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """`input` where the target is 1, max(0, margin - input) where it is -1; or the mean or sum."""
    return ferrograd.hinge_embedding_loss(input, target, margin, number_of(size_average, reduce, reduction))


@overridable
def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """max(0, margin - target (input1 - input2)) of each element, or their mean or sum."""
    number = number_of(size_average, reduce, reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss: all input tensors should have the same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape}"
        )
    return ferrograd.margin_ranking_loss(input1, input2, target, margin, number)


@overridable
def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1, of the angle between vectors; or the mean or sum."""
    number = number_of(size_average, reduce, reduction)
    return ferrograd.cosine_embedding_loss(input1, input2, target, margin, number)


@overridable
def multi_margin_loss(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The mean over other classes c of max(0, margin - x_t + x_c)^p, where t is the target; or the mean or sum of these."""
    number = number_of(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"multi_margin_loss: weight must be one-dimensional, got {weight.dim()} dimensions")
    return _C._nn.multi_margin_loss(input, target, p, margin, weight, number)


@overridable
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """The sum over targets t and other classes c of max(0, 1 - x_t + x_c), by the number of classes; or the mean or sum.

    The targets of a sample are the classes before the first -1.
    """
    return _C._nn.multilabel_margin_loss(input, target, number_of(size_average, reduce, reduction))


@overridable
def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """The mean over the last dim, the classes', of the `binary_cross_entropy_with_logits`; or the mean or sum of these."""
    reduction = reduction_word(size_average, reduce, reduction)
    of_yes, of_no = (_C._nn.softplus(x, threshold=math.inf) for x in (-input, input))
    loss = target * of_yes + (1 - target) * of_no
    if weight is not None:
        loss = loss * weight
    dim = input.dim() - 1
    return reduced(loss.sum(dim=dim) / input.size(dim), reduction)


def _check_margin(name, margin):
    if margin <= 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")


@overridable
def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), where d is the `pairwise_distance`; or the mean or sum.

    `swap` takes d(positive, negative) instead of the last where it is smaller.
    """
    number = number_of(size_average, reduce, reduction)
    _check_margin("triplet_margin_loss", margin)
    return ferrograd.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, number)


@overridable
def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"
):
    """`triplet_margin_loss` with any distance: a function of two tensors."""
    reduction_number(reduction)
    _check_margin("triplet_margin_with_distance_loss", margin)
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "triplet_margin_with_distance_loss: the anchor, positive, and negative tensors are expected to have the same number "
            f"of dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and negative {negative.dim()}D inputs"
        )
    distance = distance_function or ferrograd.pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ferrograd.minimum(far, distance(positive, negative))
    return reduced(ferrograd.clamp_min(margin + near - far, 0), reduction)
