"""Losses: formulas in each reduction, state, old names; the softmax with clusters of classes."""

import math

import numpy as np
import pytest
from nn_values import array, close, draw

import ferrograd
from ferrograd import nn
from ferrograd.nn import functional as F

x, y = draw(4, 3), draw(4, 3, seed=1)
chances, classes = ferrograd.sigmoid(y), ferrograd.tensor([0, 2, 1, 2])
signs = ferrograd.tensor([1.0, -1.0, 1.0, -1.0]).double()
weight, factor = ferrograd.tensor([1.0, 2.0, 3.0]).double(), ferrograd.tensor([2.0, 0.5, 1.5]).double()

a, b, c, s, w = map(array, (x, y, chances, signs, weight))
d = abs(a - b)
positive = s > 0
log_softmax = a - np.log(np.exp(a).sum(1, keepdims=True))
picked = -log_softmax[range(4), array(classes)]
weights = w[array(classes)]
log_sigmoid, log_other = np.log(1 / (1 + np.exp(-a))), np.log(1 / (1 + np.exp(a)))
cosine = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
near, far = np.sqrt(((a - b + 1e-6) ** 2).sum(1)), np.sqrt(((a - 2 * b + 1e-6) ** 2).sum(1))


def manhattan(u, v):
    return (u - v).abs().sum(-1)


# Class, options, inputs, and the losses of the elements.
LOSSES = [
    (nn.L1Loss, {}, (x, y), d),
    (nn.MSELoss, {}, (x, y), d**2),
    (nn.SmoothL1Loss, dict(beta=0.5), (x, y), np.where(d < 0.5, d**2, d - 0.25)),
    (nn.HuberLoss, dict(delta=0.5), (x, y), np.where(d < 0.5, d**2 / 2, 0.5 * (d - 0.25))),
    (nn.NLLLoss, {}, (x.log_softmax(1), classes), picked),
    (nn.NLLLoss, dict(weight=weight), (x.log_softmax(1), classes), weights * picked),
    (nn.CrossEntropyLoss, dict(ignore_index=1), (x, classes), picked * [1, 1, 0, 1]),
    (nn.CrossEntropyLoss, dict(weight=weight), (x, classes), weights * picked),
    (nn.CrossEntropyLoss, dict(label_smoothing=0.3), (x, classes), 0.7 * picked - 0.1 * log_softmax.sum(1)),
    (nn.BCELoss, dict(weight=weight), (chances, chances), -(w * (c * np.log(c) + (1 - c) * np.log(1 - c)))),
    (
        nn.BCEWithLogitsLoss,
        dict(weight=weight, pos_weight=factor),
        (x, chances),
        -(w * (array(factor) * c * log_sigmoid + (1 - c) * log_other)),
    ),
    (nn.KLDivLoss, dict(log_target=True), (x, y), np.exp(b) * (b - a)),
    (nn.PoissonNLLLoss, dict(log_input=False, eps=0.1), (chances, chances), c - c * np.log(c + 0.1)),
    (nn.GaussianNLLLoss, dict(full=True), (x, y, chances), (np.log(c) + d**2 / c + math.log(2 * math.pi)) / 2),
    (nn.SoftMarginLoss, {}, (x[:, 0], signs), np.log1p(np.exp(-a[:, 0] * s))),
    (nn.HingeEmbeddingLoss, {}, (x[:, 0], signs), np.where(positive, a[:, 0], np.maximum(0, 1 - a[:, 0]))),
    (nn.HingeEmbeddingLoss, dict(margin=0.3), (x[:, 0], signs), np.where(positive, a[:, 0], np.maximum(0, 0.3 - a[:, 0]))),
    (nn.CosineEmbeddingLoss, dict(margin=-0.5), (x, y, signs), np.where(positive, 1 - cosine, np.maximum(0, cosine + 0.5))),
    (nn.MarginRankingLoss, dict(margin=0.2), (x[:, 0], y[:, 0], signs), np.maximum(0, -s * (a - b)[:, 0] + 0.2)),
    (nn.TripletMarginLoss, dict(margin=2.0), (x, y, 2 * y), np.maximum(0, near - far + 2)),
    (nn.TripletMarginWithDistanceLoss, dict(margin=2.0), (x, y, 2 * y), np.maximum(0, near - far + 2)),
    (
        nn.TripletMarginWithDistanceLoss,
        dict(distance_function=manhattan),
        (x, y, 2 * y),
        np.maximum(0, d.sum(1) - abs(a - 2 * b).sum(1) + 1),
    ),
]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("cls, options, inputs, each", LOSSES, ids=[f"{cls.__name__}-{'-'.join(o)}" for cls, o, _, _ in LOSSES])
@pytest.mark.filterwarnings("ignore:.*reduction.*mean:UserWarning")
def test_formulas(cls, options, inputs, each, reduction):
    expected = {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]
    if reduction == "mean" and classes is inputs[-1] and not options.get("label_smoothing"):
        # The mean is by the weights of the classes; that of an ignored one is 0.
        parts = weights if "weight" in options else array(classes) != options.get("ignore_index")
        expected = each.sum() / parts.sum()
    close(cls(**options, reduction=reduction)(*inputs), expected)


def test_losses_that_agree_with_their_functions():
    x, classes = draw(3, 4), ferrograd.tensor([0, 3, 1])
    weight = ferrograd.tensor([1.0, 2.0, 3.0, 4.0]).double()
    labels = ferrograd.tensor([[1, 2, -1, 0]] * 3)
    assert nn.MultiMarginLoss(2, 0.5, weight)(x, classes).equal(F.multi_margin_loss(x, classes, 2, 0.5, weight))
    assert nn.MultiLabelMarginLoss(reduction="sum")(x, labels).equal(F.multilabel_margin_loss(x, labels, reduction="sum"))
    chances = x.sigmoid()
    assert nn.MultiLabelSoftMarginLoss(weight)(x, chances).equal(F.multilabel_soft_margin_loss(x, chances, weight))
    layer = nn.LinearCrossEntropyLoss(4, 5, bias=True, label_smoothing=0.1, dtype=ferrograd.float64)
    assert list(layer.state_dict()) == ["linear.weight", "linear.bias"]
    close(layer(x, classes), F.cross_entropy(layer.linear(x), classes, label_smoothing=0.1))


def test_functions_of_the_top_level_reduce_only_if_told_to():
    x, y = draw(3, 4).sigmoid(), draw(3, 4).sigmoid()
    signs = ferrograd.tensor([1, -1, 1])
    names = "binary_cross_entropy_with_logits kl_div hinge_embedding_loss margin_ranking_loss cosine_embedding_loss triplet_margin_loss"
    others = [(), (), (), (signs[:, None],), (signs,), (y.flip(0),)]
    for name, more in zip(names.split(), others):
        call = getattr(ferrograd, name)
        each = call(x, y, *more)
        assert each.equal(getattr(F, name)(x, y, *more, reduction="none")) and each.shape[0] == 3
        close(call(x, y, *more, reduction=1), array(each).mean())
        close(call(x, y, *more, reduction=2), array(each).sum())
    steps, targets, lengths = x[:, None].log(), ferrograd.tensor([[0]]), ([3], [1])
    assert ferrograd.ctc_loss(steps, targets, *lengths, 3).shape == (1,)
    assert ferrograd.ctc_loss(steps, targets, *lengths, 3, 2).shape == ()


def test_ctc():
    # One way through two steps of two labels: no blank has time.
    steps = draw(2, 1, 3).log_softmax(2)
    loss = nn.CTCLoss(blank=2, reduction="none")(steps, ferrograd.tensor([[0, 1]]), ferrograd.tensor([2]), ferrograd.tensor([2]))
    close(loss, -(array(steps)[0, :, 0] + array(steps)[1, :, 1]))
    late = (steps[:1], ferrograd.tensor([[0, 1]]), ferrograd.tensor([1]), ferrograd.tensor([2]))
    assert nn.CTCLoss(blank=2)(*late).item() == math.inf and nn.CTCLoss(blank=2, zero_infinity=True)(*late).item() == 0


def test_state_and_old_names():
    assert list(nn.BCEWithLogitsLoss(weight, pos_weight=factor).state_dict()) == ["weight", "pos_weight"]
    assert list(nn.CrossEntropyLoss(weight).state_dict()) == ["weight"] and not nn.CrossEntropyLoss().state_dict()
    with pytest.raises(ValueError):
        nn.MSELoss(reduction="x")(x, y)
    with pytest.warns(UserWarning, match="size_average"):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(FutureWarning):
        nn.NLLLoss2d()


def test_adaptive_softmax():
    ferrograd.manual_seed(0)
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 10, [2, 5], div_value=2.0, dtype=ferrograd.float64)
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {
        "head.weight": (4, 8), "tail.0.0.weight": (4, 8), "tail.0.1.weight": (3, 4), "tail.1.0.weight": (2, 8), "tail.1.1.weight": (5, 2),
    }  # fmt: skip
    x = draw(20, 8)
    targets = ferrograd.arange(20) % 10
    log_probs = layer.log_prob(x)
    close(log_probs.exp().sum(1), np.ones(20))
    output, loss = layer(x, targets)
    close(output, array(log_probs)[range(20), targets.tolist()])
    close(loss, -output.mean())
    assert layer.predict(x).tolist() == array(log_probs).argmax(1).tolist()
    one = layer(x[7], targets[7]).output
    assert one.shape == ()
    close(one, output[7])
    loss.backward()
    assert all(p.grad is not None for p in layer.parameters())
    for wrong in ([0, 10], [0, -1]):
        with pytest.raises(RuntimeError, match=r"in \[0, 9\]"):
            layer(x[:2], ferrograd.tensor(wrong))
    for inputs, wrong in ((x[:2], [0]), (x[0], [0]), (x[:2], 3), (x[:2], [[0], [1]])):
        with pytest.raises(RuntimeError):
            layer(inputs, ferrograd.tensor(wrong))
