"""Cases of losses and distances."""

import itertools

import numpy as np

import ferrograd
from ferrograd.nn import functional as F

from .case import APART, Input, case, places

REDUCTIONS = {"none": lambda losses: losses, "mean": np.mean, "sum": np.sum}


def loss(op, numpy, *inputs, shapes=((2, 3), (), (4,), (2, 0, 3)), **keywords):
    """A loss of elements, for each reduction; inputs are domains."""
    for reduction, reduce in REDUCTIONS.items():
        for shape in shapes:
            if reduction == "mean" and 0 in shape:
                continue

            def call(*tensors, reduction=reduction):
                return getattr(F, op)(*tensors, reduction=reduction, **keywords)

            def reference(*arrays, reduce=reduce):
                return reduce(numpy(*arrays))

            label = f"{reduction}_{'x'.join(map(str, shape))}_" + "_".join(map(str, keywords))
            case(op, call, *[Input(shape, (domain,)) for domain in inputs], numpy=reference, label=label)
        turned = [Input((3, 4), (domain,), transposed=i == 0) for i, domain in enumerate(inputs)]
        case(op, call, *turned, numpy=reference, label=f"{reduction}_transposed_" + "_".join(map(str, keywords)))


def huber(d, delta):
    d = np.abs(d)
    return np.where(d < delta, d * d / 2, delta * (d - delta / 2))


def softplus(x):
    return np.logaddexp(0, x)


ANY, ODDS = (-2.0, 2.0), (0.05, 0.95)
loss("l1_loss", lambda x, t: np.abs(x - t), (1.0, 2.0), (-1.0, 0.5))
loss("mse_loss", lambda x, t: (x - t) ** 2, ANY, ANY)
# Differences inside the bend, then outside.
for domains in [((0.0, 0.4), (0.5, 0.8)), ((1.0, 2.0), (-1.0, -0.3))]:
    loss("smooth_l1_loss", lambda x, t: huber(x - t, 0.9) / 0.9, *domains, beta=0.9)
    loss("huber_loss", lambda x, t: huber(x - t, 0.9), *domains, delta=0.9)
loss("binary_cross_entropy", lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)), ODDS, ODDS)
loss("binary_cross_entropy_with_logits", lambda x, t: (1 - t) * x + softplus(-x), ANY, ODDS)
for word, reduce in [("none", lambda losses: losses), ("sum", np.sum), ("batchmean", lambda losses: losses.sum() / 2)]:
    for log_target in (False, True):

        def call(x, t, word=word, log_target=log_target):
            return F.kl_div(x, t, reduction=word, log_target=log_target)

        def divergence(x, t, reduce=reduce, log_target=log_target):
            return reduce(np.exp(t) * (t - x) if log_target else t * (np.log(t) - x))

        logs = (-3.0, -0.1)
        targets = Input((2, 3), (logs if log_target else ODDS,))
        case("kl_div", call, Input((2, 3), (logs,)), targets, numpy=divergence, label=f"{word}_log" * log_target + word)
loss("poisson_nll_loss", lambda x, t: np.exp(x) - t * x, ANY, (0.2, 0.9))
loss(
    "poisson_nll_loss",
    lambda x, t: x - t * np.log(x + 1e-8) + t * np.log(t) - t + 0.5 * np.log(2 * np.pi * t),
    (0.3, 3.0),
    (1.5, 4.0),
    log_input=False,
    full=True,
)
loss("gaussian_nll_loss", lambda x, t, v: 0.5 * (np.log(v) + (x - t) ** 2 / v), ANY, ANY, (0.3, 2.0))
loss("margin_ranking_loss", lambda a, b, t: np.maximum(0, 0.5 - t * (a - b)), (1.0, 2.0), (-1.0, 0.5), (-1.0, -0.5), margin=0.5)

SIGNS = np.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
WEIGHTS = np.array([0.5, 2.0, 1.5])


def signs(x):
    return ferrograd.from_numpy(SIGNS).to(x.dtype)


def weights(x):
    return ferrograd.from_numpy(WEIGHTS).to(x.dtype)


for reduction, reduce in REDUCTIONS.items():

    def add(op, call, *inputs, numpy, label="", reduce=reduce, reduction=reduction):
        case(
            op,
            lambda *tensors: call(*tensors, reduction),
            *inputs,
            numpy=lambda *arrays: reduce(numpy(*arrays)),
            label=f"{reduction}{label}",
        )

    add("soft_margin_loss", lambda x, r: F.soft_margin_loss(x, signs(x), reduction=r), (2, 3), numpy=lambda x: softplus(-SIGNS * x))
    add(
        "hinge_embedding_loss",
        lambda x, r: F.hinge_embedding_loss(x, signs(x), reduction=r),
        Input((2, 3), ((-0.8, 0.8),)),
        numpy=lambda x: np.where(SIGNS > 0, x, np.maximum(0, 1 - x)),
    )
    add(
        "binary_cross_entropy",
        lambda x, t, r: F.binary_cross_entropy(x, t, weights(x), reduction=r),
        Input((2, 3), (ODDS,)),
        Input((2, 3), (ODDS,)),
        numpy=lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)) * WEIGHTS,
        label="_weight",
    )
    add(
        "binary_cross_entropy_with_logits",
        lambda x, t, r: F.binary_cross_entropy_with_logits(x, t, weights(x), pos_weight=weights(x), reduction=r),
        (2, 3),
        Input((2, 3), (ODDS,)),
        numpy=lambda x, t: ((1 - t) * x + (1 + (WEIGHTS - 1) * t) * softplus(-x)) * WEIGHTS,
        label="_weights",
    )
    add(
        "multilabel_soft_margin_loss",
        lambda x, r: F.multilabel_soft_margin_loss(x, signs(x).clamp(min=0), weights(x), reduction=r),
        (2, 3),
        numpy=lambda x: (WEIGHTS * softplus(-SIGNS * x)).mean(-1),
    )
    add(
        "cosine_embedding_loss",
        lambda a, b, r: F.cosine_embedding_loss(a, b, signs(a)[0], margin=-1.5, reduction=r),
        (3, 4),
        (3, 4),
        numpy=lambda a, b: np.where(SIGNS[0] > 0, 1 - cosine(a, b), cosine(a, b) + 1.5),
    )
    add(
        "triplet_margin_loss",
        lambda a, p, n, r: F.triplet_margin_loss(a, p, n, margin=5.0, reduction=r),
        (3, 4),
        (3, 4),
        (3, 4),
        numpy=lambda a, p, n: np.maximum(0, 5 + distance(a, p) - distance(a, n)),
    )
    add(
        "triplet_margin_with_distance_loss",
        lambda a, p, n, r: F.triplet_margin_with_distance_loss(a, p, n, margin=20.0, swap=True, reduction=r),
        (3, 4),
        (3, 4),
        (3, 4),
        numpy=lambda a, p, n: 20 + distance(a, p) - np.minimum(distance(a, n), distance(p, n)),
    )


def cosine(a, b, axis=-1):
    return (a * b).sum(axis) / np.sqrt((a * a).sum(axis) * (b * b).sum(axis))


def distance(a, b, eps=1e-6):
    return np.sqrt(((a - b + eps) ** 2).sum(-1))


case("cosine_similarity", lambda a, b: F.cosine_similarity(a, b), (3, 4), (3, 4), numpy=cosine)
case("cosine_similarity", lambda a, b: F.cosine_similarity(a, b, 0), (3, 4), (3, 1), numpy=lambda a, b: cosine(a, b + 0 * a, 0))
case("pairwise_distance", lambda a, b: F.pairwise_distance(a, b), (3, 4), (4,), numpy=distance)
case(
    "pairwise_distance",
    lambda a, b: F.pairwise_distance(a, b, p=3, keepdim=True),
    (3, 4),
    (3, 4),
    numpy=lambda a, b: (np.abs(a - b + 1e-6) ** 3).sum(-1, keepdims=True) ** (1 / 3),
)

# Losses by classes: with and without further dims, weights and samples that are ignored.
for shape, target in [((3,), 2), ((4, 3), [0, 2, 2, 1]), ((2, 3, 2), [[0, 1], [2, 1]]), ((2, 3, 1, 2), [[[0, 1]], [[2, 1]]])]:
    for weight in (None, WEIGHTS):
        for ignored in (-100, 1):

            def probabilities(x):
                shifted = np.exp(x - x.max(-1 if x.ndim == 1 else 1, keepdims=True))
                return np.log(shifted / shifted.sum(-1 if x.ndim == 1 else 1, keepdims=True))

            def parts(logs, target=np.array(target), weight=weight, ignored=ignored):
                """The losses of samples and what each counts for."""
                logs = np.moveaxis(logs, -1 if logs.ndim == 1 else 1, -1)
                share = (np.ones(3) if weight is None else weight)[target] * (target != ignored)
                return -share * np.take_along_axis(logs, target[..., None], -1)[..., 0], share

            def mean(logs, parts=parts):
                losses, share = parts(logs)
                return losses.sum() / share.sum()

            options = {"reduction": "none", "ignore_index": ignored}
            tag = f"{len(shape)}d{'_weight' * (weight is not None)}{'_ignored' * (ignored == 1)}"
            for op, logs in [("nll_loss", lambda x: x), ("cross_entropy", probabilities)]:
                for reduction, numpy in [("none", lambda x, parts=parts: parts(x)[0]), ("mean", mean), ("sum", lambda x, parts=parts: parts(x)[0].sum())]:

                    def call(x, op=op, weight=weight, target=target, ignored=ignored, reduction=reduction):
                        given = None if weight is None else weights(x)
                        return getattr(F, op)(x, places(target), given, ignore_index=ignored, reduction=reduction)

                    case(op, call, shape, numpy=lambda x, numpy=numpy, logs=logs: numpy(logs(x)), label=f"{tag}_{reduction}")

case("cross_entropy", lambda x: F.cross_entropy(x.t(), places([0, 2])), (3, 2), numpy=lambda x: (np.log(np.exp(x).sum(0)) - x[[0, 2], [0, 1]]).mean())


def against_probabilities(x, p, w=1.0):
    return -(w * p * (x - np.log(np.exp(x).sum(1, keepdims=True)))).sum(1)


PROBABILITIES = Input((2, 3), (ODDS,))
case("cross_entropy", lambda x, p: F.cross_entropy(x, p, reduction="none"), (2, 3), PROBABILITIES, numpy=against_probabilities, label="probabilities")
case(
    "cross_entropy",
    lambda x, p, w: F.cross_entropy(x, p, w),
    (2, 3),
    PROBABILITIES,
    Input((3,), APART),
    numpy=lambda x, p, w: against_probabilities(x, p, w).mean(),
    label="weighted_probabilities",
)
case(
    "cross_entropy",
    lambda x, p: F.cross_entropy(x, p, label_smoothing=0.3, reduction="sum"),
    (2, 3),
    PROBABILITIES,
    numpy=lambda x, p: against_probabilities(x, 0.7 * p + 0.1).sum(),
    label="smooth_probabilities",
)
case(
    "cross_entropy",
    lambda x: F.cross_entropy(x, places([2, 0, 1]), label_smoothing=0.3, ignore_index=0, reduction="sum"),
    (3, 3),
    numpy=lambda x: against_probabilities(x[[0, 2]], 0.7 * np.eye(3)[[2, 1]] + 0.1).sum(),
    label="smooth",
)
case(
    "cross_entropy",
    lambda x: F.cross_entropy(x, places([2, 0, 1]), weights(x), label_smoothing=0.3, ignore_index=0),
    (3, 3),
    numpy=lambda x: against_probabilities(x[[0, 2]], 0.7 * np.eye(3)[[2, 1]] + 0.1, WEIGHTS).sum() / WEIGHTS[1:].sum(),
    label="smooth_weighted",
)
case("linear_cross_entropy", lambda x, w: F.linear_cross_entropy(x, w, places([1, 0])), (2, 3), (4, 3), numpy=lambda x, w: against_probabilities(x @ w.T, np.eye(4)[[1, 0]]).mean())


def by_margins(x, power, weight, target=(2, 0)):
    over = np.maximum(0, 0.9 - x[[0, 1], list(target)][:, None] + x) ** power
    over[[0, 1], list(target)] = 0
    return (over * weight[list(target)][:, None]).mean(1)


for power in (1, 2):
    for reduction, reduce in REDUCTIONS.items():
        case(
            "multi_margin_loss",
            lambda x, power=power, reduction=reduction: F.multi_margin_loss(
                x, places([2, 0]), power, margin=0.9, weight=weights(x), reduction=reduction
            ),
            (2, 3),
            numpy=lambda x, power=power, reduce=reduce: reduce(by_margins(x, power, WEIGHTS)),
            label=f"{reduction}_{power}",
        )
case("multi_margin_loss", lambda x: F.multi_margin_loss(x[0], places(2), margin=0.9), (2, 3), numpy=lambda x: by_margins(x, 1, np.ones(3))[0])


def by_labels(x):
    losses = [sum(max(0, 1 - row[t] + row[c]) for t in labels for c in range(4) if c not in labels) / 4 for row, labels in zip(x, [(3, 1), (0,)])]
    return np.array(losses)


for reduction, reduce in REDUCTIONS.items():
    case(
        "multilabel_margin_loss",
        lambda x, reduction=reduction: F.multilabel_margin_loss(x, places([[3, 1, -1, 2], [0, -1, -1, -1]]), reduction=reduction),
        (2, 4),
        numpy=lambda x, reduce=reduce: reduce(by_labels(x)),
        label=reduction,
    )


def alignments(x, labels, steps):
    """The negative logarithm of the sum of the probabilities of all sequences of `steps` that collapse to `labels`."""
    odds = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    total = 0
    for path in itertools.product(range(x.shape[-1]), repeat=steps):
        collapsed = [c for i, c in enumerate(path) if c and (i == 0 or path[i - 1] != c)]
        if collapsed == labels:
            total += np.prod([odds[i, c] for i, c in enumerate(path)])
    return -np.log(total)


def of_sequences(x):
    return np.array([alignments(x[:, 0], [1, 1], 4), alignments(x[:, 1], [2], 3)])


def sequences(x, **keywords):
    return F.ctc_loss(x.log_softmax(-1), places([[1, 1], [2, 0]]), (4, 3), (2, 1), **keywords)


# The gradient of the logarithms of probabilities is torch's, right after a softmax.
case("ctc_loss", lambda x: sequences(x, reduction="none"), (4, 2, 3), numpy=of_sequences, second=False)
case("ctc_loss", lambda x: sequences(x), (4, 2, 3), numpy=lambda x: (of_sequences(x) / [2, 1]).mean(), label="mean", second=False)
case(
    "ctc_loss",
    lambda x: F.ctc_loss(x.log_softmax(-1), places([1, 2, 1]), places([4]), places([3]), reduction="sum"),
    (4, 3),
    numpy=lambda x: alignments(x, [1, 2, 1], 4),
    label="unbatched",
    second=False,
)


def norms(d, p):
    return np.abs(d).max(-1) if p == np.inf else (np.abs(d) ** p).sum(-1) ** (1 / p) if p else (d != 0).sum(-1).astype(d.dtype)


for p in (0.5, 1, 1.5, 2, 3, np.inf, 0):

    def apart(a, b, p=p):
        return norms(a[..., :, None, :] - b[..., None, :, :], p)

    def rows_apart(x, p=p):
        return apart(x, x, p)[np.triu_indices(len(x), 1)]

    case("cdist", lambda a, b, p=p: ferrograd.cdist(a, b, p), (3, 2), (4, 2), numpy=apart, label=f"p{p}")
    case("pdist", lambda x, p=p: ferrograd.pdist(x, p), (4, 3), numpy=rows_apart, label=f"p{p}")
case("cdist", lambda a, b: ferrograd.cdist(a, b), (2, 1, 3, 11), (2, 4, 11), numpy=lambda a, b: apart(a, b, 2), label="batch")
case(
    "cdist",
    lambda a, b: ferrograd.cdist(a, b, compute_mode="use_mm_for_euclid_dist"),
    Input((2, 3, 2), ((1.0, 2.0),)),
    Input((4, 2), ((-2.0, -1.0),)),
    numpy=lambda a, b: apart(a, b, 2),
    label="products",
)
case("cdist", lambda a, b: ferrograd.cdist(a, b.t()), (0, 3), (3, 2), numpy=lambda a, b: np.zeros((0, 2)), label="empty")
for p, dim in [(2, 1), (3, 0), (1, -1)]:
    case(
        "normalize",
        lambda x, p=p, dim=dim: F.normalize(x, p, dim),
        Input((3, 4), APART),
        numpy=lambda x, p=p, dim=dim: x / np.expand_dims(norms(np.moveaxis(x, dim, -1), p), dim),
    )


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(q, k, v, mask=0.0, scale=None):
    return softmax(q @ np.swapaxes(k, -2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale) + mask) @ v


def later(x):
    return np.where(np.tril(np.ones((3, 4))), 0, -np.inf)


SHAPES = (2, 3, 2), (2, 4, 2), (2, 4, 5)
VISIBLE = np.array([[True, False, True, False], [False, True, True, True], [True, True, True, True]])
OP = "scaled_dot_product_attention"
case(OP, F.scaled_dot_product_attention, *SHAPES, numpy=attention)
case(OP, F.scaled_dot_product_attention, *SHAPES, (3, 4), numpy=attention, label="added")
case(OP, lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), *SHAPES, numpy=lambda *x: attention(*x, later(x)), label="causal")
case(
    OP,
    lambda *x: F.scaled_dot_product_attention(*x, ferrograd.from_numpy(VISIBLE), scale=-0.7),
    *SHAPES,
    numpy=lambda *x: attention(*x, np.where(VISIBLE, 0, -np.inf), -0.7),
    label="hidden",
)
case(
    OP,
    lambda *x: F.scaled_dot_product_attention(*x, enable_gqa=True),
    (4, 3, 2),
    (2, 4, 2),
    (2, 4, 5),
    numpy=lambda q, k, v: attention(q, k.repeat(2, 0), v.repeat(2, 0)),
    label="groups",
)


def heads(q, k, v, projection, bias, out, out_bias, mask=0.0):
    """Two heads of attention for (steps, batch, 4), and the mean of their weights."""
    weights, biases = np.split(projection, 3), np.split(bias, 3)
    q, k, v = (
        np.stack([np.moveaxis(part, 1, 0) for part in np.split(x @ w.T + b, 2, -1)], 1)
        for x, w, b in zip((q, k, v), weights, biases)
    )
    seen = softmax(q @ np.swapaxes(k, -2, -1) / np.sqrt(2) + mask)
    joined = np.moveaxis(np.concatenate(np.moveaxis(seen @ v, 1, 0), -1), 0, 1)
    return joined @ out.T + out_bias, seen.mean(1)


def multi_head(q, k, v, projection, bias, out, out_bias, **keywords):
    return F.multi_head_attention_forward(q, k, v, 4, 2, projection, bias, None, None, False, 0.0, out, out_bias, **keywords)


HEADS = (3, 2, 4), (5, 2, 4), (5, 2, 4), (12, 4), (12,), (4, 4), (4,)
OP = "multi_head_attention_forward"
case(OP, lambda *x: multi_head(*x)[0], *HEADS, numpy=lambda *x: heads(*x)[0])
case(OP, lambda *x: multi_head(*x)[1], *HEADS, numpy=lambda *x: heads(*x)[1], label="weights")
case(OP, lambda *x: multi_head(*x, need_weights=False)[0], *HEADS, numpy=lambda *x: heads(*x)[0], label="without_weights")
PADDING = np.array([[False, False, True, False, True], [False, True, False, False, False]])
case(
    OP,
    lambda *x: multi_head(*x, key_padding_mask=ferrograd.from_numpy(PADDING))[0],
    *HEADS,
    numpy=lambda *x: heads(*x, mask=np.where(PADDING, -np.inf, 0)[:, None, None])[0],
    label="padding",
)
