"""Losses and distances that are made of other operations, as `ferrograd` itself has them: reductions are numbers, 0 for none (as in
torch what they are if not given), 1 for the mean, 2 for the sum. `ferrograd.nn.functional` has them with words.
"""

import math

from ferrograd import _C
from ferrograd._checks import overridable
from ferrograd.autograd import no_grad

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "ctc_loss",
    "hinge_embedding_loss",
    "kl_div",
    "margin_ranking_loss",
    "pairwise_distance",
    "poisson_nll_loss",
    "triplet_margin_loss",
]

_nn = _C._nn
_EPSILON = 1e-12


def _reduced(losses, reduction):
    return losses.mean() if reduction == 1 else losses.sum() if reduction == 2 else losses


@overridable
def kl_div(input, target, reduction=0, *, log_target=False):
    """target (ln target - input) of each element; `log_target` says that the target is given as logarithms."""
    if input.is_complex() or target.is_complex():
        raise RuntimeError("kl_div: Complex inputs not supported.")
    if not (input.is_floating_point() and target.is_floating_point()):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    losses = target.exp() * (target - input) if log_target else target.xlogy(target) - target * input
    return _reduced(losses, reduction)


@overridable
def poisson_nll_loss(input, target, log_input, full, eps, reduction):
    """See `ferrograd.nn.functional.poisson_nll_loss`."""
    losses = input.exp() - target * input if log_input else input - target * _nn._plus(input, eps).log()
    if full:
        stirling = target * target.log() - target + _nn._times(_nn._times(target, 2 * math.pi).log(), 0.5)
        losses += stirling.masked_fill(target <= 1, 0)
    return _reduced(losses, reduction)


@overridable
def hinge_embedding_loss(input, target, margin=1.0, reduction=0):
    """`input` where the target is 1, max(0, margin - input) where it is -1, their sum elsewhere."""
    if not (input.is_floating_point() or input.is_complex()):
        margin = int(margin)
    zeros = _C.zeros_like(input)
    apart = _C.where(target != 1, _nn._minus_from(input, margin).clamp_min(0), zeros)
    return _reduced(apart + _C.where(target != -1, input, zeros), reduction)


@overridable
def margin_ranking_loss(input1, input2, target, margin=0.0, reduction=0):
    """max(0, margin - target (input1 - input2))."""
    return _reduced(_nn._plus(-target * (input1 - input2), float(margin)).clamp_min(0), reduction)


@overridable
def cosine_embedding_loss(input1, input2, target, margin=0.0, reduction=0):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1, of the angle between two vectors.

    Shape: (m), (m) and (), or (n, m), (n, m) and (n).
    """
    dim = target.dim()
    if dim > 1:
        raise RuntimeError("cosine_embedding_loss: 0D or 1D target tensor expected, multi-target not supported")
    if input1.dim() != dim + 1 or input2.dim() != dim + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: {dim}D target tensor expects {dim + 1}D input tensors, but found inputs with sizes "
            f"{tuple(input1.shape)} and {tuple(input2.shape)}."
        )
    squares = [_nn._plus((x * x).sum(dim), _EPSILON) for x in (input1, input2)]
    cosine = (input1 * input2).sum(dim) / (squares[0] * squares[1]).sqrt()
    zeros = _C.zeros_like(cosine)
    apart = _C.where(target == -1, _nn._minus(cosine, margin).clamp_min(0), zeros)
    return _reduced(_C.where(target == 1, _nn._minus_from(cosine, 1), zeros) + apart, reduction)


def _lengths(given, name):
    """Lengths, given in a tensor or a sequence, as a tensor."""
    if not isinstance(given, _C.Tensor):
        return _C.tensor([int(length) for length in given], dtype=_C.int64)
    if given.is_floating_point() or given.is_complex():
        raise RuntimeError(f"ctc_loss: {name} must be integral, got {given.dtype}")
    return given.flatten()


@overridable
def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction=0, zero_infinity=False):
    """See `ferrograd.nn.functional.ctc_loss`."""
    lengths = _lengths(target_lengths, "target_lengths")
    batched = log_probs.dim() == 3
    x = log_probs if batched else log_probs.unsqueeze(1)
    losses = _nn._ctc_loss(x, targets, _lengths(input_lengths, "input_lengths"), lengths, blank, zero_infinity)
    if reduction == 1:
        return (losses / lengths.clamp_min(1).to(losses.dtype)).mean()
    return losses.sum() if reduction == 2 else losses if batched else losses.squeeze(0)


@overridable
def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction=0):
    """See `ferrograd.nn.functional.triplet_margin_loss`."""
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "triplet_margin_loss: all inputs should have the same dimension but got "
            f"{anchor.dim()}D, {positive.dim()}D and {negative.dim()}D inputs."
        )
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _reduced((_nn._plus(near, margin) - far).clamp_min(0), reduction)


@overridable
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last dim; the others broadcast."""
    return _nn._norm(_nn._plus(x1 - x2, eps), p, max(x1.dim(), x2.dim()) - 1, keepdim)


@overridable
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """The cosine of the angle between vectors along `dim`, of tensors that broadcast; norms count as `eps` at least.

    Dtype: float; promotes.
    """
    dtype = _C.result_type(x1, x2)
    if not dtype.is_floating_point:
        raise RuntimeError(f"cosine_similarity: expected common dtype to be floating point, yet common dtype is {dtype}")
    x1, x2 = _C.broadcast_tensors(x1.to(dtype), x2.to(dtype))

    def direction(x):
        norm = x.norm(2, dim, True).clone()
        # As in torch, the derivative goes through norms below `eps`, too.
        with no_grad():
            norm.clamp_min_(eps)
        return x / norm

    return (direction(x1) * direction(x2)).sum(dim)
