"""Losses, distances and attention: errors, kinks, extremes, dtypes, and sizes at which other loops run."""

import warnings

import numpy as np
import pytest

import ferrograd
from ferrograd.nn import functional as F

NAN, INF = float("nan"), float("inf")


def tensor(values, dtype=ferrograd.float64, grad=False):
    return ferrograd.tensor(values, dtype=dtype, requires_grad=grad)


def random(*shape, dtype=np.float64, seed=0):
    return ferrograd.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(dtype)).requires_grad_()


def gradient(y, *inputs, **keywords):
    return [g.detach().numpy() for g in ferrograd.autograd.grad(y.sum(), inputs, **keywords)]


def both_gradients(y, *inputs):
    """The gradients as one pass computes them, which those of recorded ops must equal."""
    fast = gradient(y, *inputs, retain_graph=True)
    recorded = gradient(y, *inputs, create_graph=True)
    for a, b in zip(fast, recorded):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-12)
    return fast


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("shape", [(511,), (513,), (70, 33), (100_003,)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reduced_in_one_pass(shape, reduction, dtype, tolerance):
    x, t = random(*shape, dtype=dtype), random(*shape, dtype=dtype, seed=1)
    d = x.detach().numpy().astype(float) - t.detach().numpy()
    y = F.mse_loss(x, t, reduction=reduction)
    np.testing.assert_allclose(y.item(), getattr(np, reduction)(d * d), rtol=tolerance)
    (g,) = both_gradients(y, x)
    np.testing.assert_allclose(g, 2 * d / (d.size if reduction == "mean" else 1), rtol=10 * tolerance, atol=1e-30)


def test_sums_do_not_depend_on_threads():
    x, t = random(300_001, dtype=np.float32), random(300_001, dtype=np.float32, seed=1)
    threads, found = ferrograd.get_num_threads(), set()
    try:
        for n in (1, 2, 4):
            ferrograd.set_num_threads(n)
            found.add(F.mse_loss(x, t).item())
    finally:
        ferrograd.set_num_threads(threads)
    assert len(found) == 1


def test_operands_that_are_no_plain_memory():
    x, t = random(40, 30), random(30, 40, seed=1)
    plain = F.mse_loss(x.contiguous(), t.t().contiguous())
    assert F.mse_loss(x, t.t()).item() == pytest.approx(plain.item(), rel=1e-14)
    wide = tensor([[1.0], [2.0]]).expand(2, 700)
    assert F.mse_loss(wide, ferrograd.zeros_like(wide)).item() == 2.5
    with pytest.warns(UserWarning, match="target size"):
        assert F.mse_loss(tensor([1.0]), tensor(2.0).expand(2, 3)).item() == 1.0
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss):
        with pytest.warns(UserWarning, match="target size"):
            assert loss(ferrograd.ones(2), tensor(2.0)).dtype == ferrograd.float64
    with pytest.warns(UserWarning, match="target size"):
        assert np.isnan(F.mse_loss(tensor([1.0]), ferrograd.zeros(0, 3)).item())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 5), (130, 31), (70, 32), (4, 1000), (3, 7, 100), (2, 40, 5, 13)])
def test_cross_entropy_of_any_size(shape, dtype):
    x = random(*shape, dtype=dtype)
    samples = shape[:1] + shape[2:]
    target = np.random.default_rng(1).integers(shape[1], size=samples)
    target.flat[::3] = -1
    values = x.detach().numpy().astype(float)
    logs = values - np.log(np.exp(values).sum(1, keepdims=True))
    picked = np.take_along_axis(logs, np.maximum(target, 0)[:, None], 1)[:, 0] * (target >= 0)
    y = F.cross_entropy(x, ferrograd.from_numpy(target), ignore_index=-1, reduction="none")
    np.testing.assert_allclose(y.detach().numpy(), -picked, rtol=1e-5, atol=1e-6 if dtype == np.float32 else 1e-13)
    y = F.cross_entropy(x, ferrograd.from_numpy(target), ignore_index=-1)
    counted = (target >= 0).sum()
    np.testing.assert_allclose(y.item(), -picked.sum() / counted, rtol=1e-5)
    (g,) = both_gradients(y, x)
    one_hot = np.moveaxis(np.eye(shape[1])[np.maximum(target, 0)], -1, 1)
    want = (np.exp(logs) - one_hot) * (target >= 0)[:, None] / counted
    np.testing.assert_allclose(g, want, rtol=1e-4, atol=1e-7)


def test_cross_entropy_of_extremes():
    x = tensor([[1000.0, 1001.0, -1000.0], [300.0, -300.0, 0.0], [-INF, 0.0, 1.0], [INF, 0.0, 0.0]], grad=True)
    y = F.cross_entropy(x, ferrograd.tensor([1, 1, 0, 0]), reduction="none")
    got = y.detach().numpy()
    assert got[0] == pytest.approx(np.log1p(np.exp(-1.0)), rel=1e-12)
    assert got[1] == 600.0 and got[2] == INF and np.isnan(got[3])


def test_all_samples_ignored():
    for loss in (F.nll_loss, F.cross_entropy):
        x = random(2, 3)
        y = loss(x, ferrograd.tensor([-100, -100]))
        assert np.isnan(y.item())
        assert not both_gradients(y, x)[0].any()
        assert loss(x, ferrograd.tensor([-100, -100]), reduction="sum").item() == 0


def test_targets_of_one_sample_may_have_a_dim():
    x = random(3)
    for loss in (F.nll_loss, F.cross_entropy):
        y = loss(x, ferrograd.tensor([2]), reduction="none")
        assert y.shape == () and y.item() == loss(x, ferrograd.tensor(2)).item()


ONE, TWO = ferrograd.ones(2, 3), ferrograd.ones(2)
LONG = ferrograd.tensor([0, 1])


@pytest.mark.parametrize(
    "error, call",
    [
        (ValueError, lambda: F.mse_loss(ONE, ONE, reduction="abc")),
        (ValueError, lambda: F.cross_entropy(ONE, LONG, reduction="batchmean")),
        (ValueError, lambda: F.mse_loss(ONE, ONE, weight=TWO)),
        (NotImplementedError, lambda: F.mse_loss(LONG, LONG)),
        (RuntimeError, lambda: F.smooth_l1_loss(ONE, ONE, beta=-1.0)),
        (RuntimeError, lambda: F.huber_loss(ONE, ONE, delta=0.0)),
        (RuntimeError, lambda: F.binary_cross_entropy(ONE * 1.5, ONE)),
        (RuntimeError, lambda: F.binary_cross_entropy(ONE * NAN, ONE)),
        (RuntimeError, lambda: F.binary_cross_entropy(ONE, ONE.double())),
        (RuntimeError, lambda: F.binary_cross_entropy(ONE, ONE, ONE.clone().requires_grad_())),
        (ValueError, lambda: F.binary_cross_entropy(ONE, TWO)),
        (ValueError, lambda: F.binary_cross_entropy_with_logits(ONE, TWO)),
        (NotImplementedError, lambda: F.binary_cross_entropy_with_logits(LONG, TWO)),
        (RuntimeError, lambda: F.binary_cross_entropy_with_logits(ferrograd.ones(1), ferrograd.ones(1), pos_weight=TWO)),
        (RuntimeError, lambda: F.soft_margin_loss(ONE, ONE.clone().requires_grad_())),
        (IndexError, lambda: F.cross_entropy(ONE, LONG + 2)),
        (IndexError, lambda: F.nll_loss(ONE, LONG - 1)),
        (IndexError, lambda: F.nll_loss(ONE, ferrograd.tensor([2**62, -(2**62)]))),
        (ValueError, lambda: F.nll_loss(ONE, ferrograd.tensor([0, 1, 2]))),
        (ValueError, lambda: F.nll_loss(ONE, ferrograd.tensor(0))),
        (ValueError, lambda: F.nll_loss(ONE[0], LONG)),
        (ValueError, lambda: F.nll_loss(ONE[0, 0], LONG)),
        (RuntimeError, lambda: F.nll_loss(ONE, ONE.long())),
        (RuntimeError, lambda: F.nll_loss(ONE, LONG.int())),
        (RuntimeError, lambda: F.nll_loss(ONE, LONG, TWO)),
        (RuntimeError, lambda: F.nll_loss(ONE, LONG, ferrograd.ones(3).double())),
        (RuntimeError, lambda: F.nll_loss(ONE, LONG, ferrograd.ones(3).requires_grad_())),
        (RuntimeError, lambda: F.cross_entropy(ONE, LONG, label_smoothing=1.5)),
        (NotImplementedError, lambda: F.cross_entropy(ONE.long(), LONG)),
        (RuntimeError, lambda: F.cross_entropy(ONE, ONE.long())),
        (RuntimeError, lambda: F.cross_entropy(ONE, ONE, ignore_index=0)),
        (IndexError, lambda: F.cross_entropy(ONE[0, 0], ONE[0, 0])),
        (RuntimeError, lambda: F.kl_div(ONE, ONE.long(), reduction="sum")),
        (ValueError, lambda: F.gaussian_nll_loss(ONE, ONE, -1.0)),
        (ValueError, lambda: F.gaussian_nll_loss(ONE, ONE, -ONE)),
        (ValueError, lambda: F.gaussian_nll_loss(ONE, ONE, ferrograd.ones(5))),
        (ValueError, lambda: F.gaussian_nll_loss(ferrograd.ones(3, 5), ferrograd.ones(3, 5), ferrograd.ones(3, 3))),
        (RuntimeError, lambda: F.margin_ranking_loss(ONE, ONE, TWO)),
        (RuntimeError, lambda: F.cosine_embedding_loss(ONE, ONE, ONE)),
        (RuntimeError, lambda: F.cosine_embedding_loss(TWO, TWO, TWO)),
        (ValueError, lambda: F.triplet_margin_loss(ONE, ONE, ONE, margin=0)),
        (RuntimeError, lambda: F.triplet_margin_loss(ONE, ONE, TWO)),
        (ValueError, lambda: F.multi_margin_loss(ONE, LONG, p=3)),
        (ValueError, lambda: F.multi_margin_loss(ONE, LONG, weight=ONE)),
        (RuntimeError, lambda: F.multi_margin_loss(ONE, LONG + 2)),
        (RuntimeError, lambda: F.multi_margin_loss(ONE, ferrograd.tensor([0]))),
        (RuntimeError, lambda: F.multilabel_margin_loss(ONE, ONE.long() + 2)),
        (RuntimeError, lambda: F.multilabel_margin_loss(ONE, LONG)),
        (RuntimeError, lambda: F.linear_cross_entropy(ONE, ferrograd.ones(4, 2), LONG)),
        (RuntimeError, lambda: F.cosine_similarity(LONG, LONG, 0)),
        (RuntimeError, lambda: ferrograd.cdist(ONE, ONE, -1.0)),
        (RuntimeError, lambda: ferrograd.cdist(ONE, ONE[0])),
        (RuntimeError, lambda: ferrograd.cdist(ONE, ferrograd.ones(2, 4))),
        (RuntimeError, lambda: ferrograd.cdist(ONE.long(), ONE.long())),
        (ValueError, lambda: ferrograd.cdist(ONE, ONE, compute_mode="fast")),
        (RuntimeError, lambda: ferrograd.pdist(TWO)),
        (RuntimeError, lambda: F.scaled_dot_product_attention(ONE, ONE, ONE.double())),
        (RuntimeError, lambda: F.scaled_dot_product_attention(TWO, ONE, ONE)),
        (RuntimeError, lambda: F.scaled_dot_product_attention(ONE, ONE, ONE, ferrograd.ones(2, 2), is_causal=True)),
        (RuntimeError, lambda: F.scaled_dot_product_attention(ONE, ONE, ONE, LONG)),
    ],
)
def test_errors(error, call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error) as raised:
            call()
    assert type(raised.value) is error


@pytest.mark.parametrize(
    "keywords, word",
    [
        ({"size_average": False}, "sum"),
        ({"size_average": True}, "mean"),
        ({"reduce": False}, "none"),
        ({"reduce": True, "size_average": False}, "sum"),
        ({"reduce": False, "size_average": True}, "none"),
    ],
)
def test_older_words_for_reductions(keywords, word):
    x, t = random(2, 3), random(2, 3, seed=1)
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss):
        with pytest.warns(UserWarning, match=f"please use reduction='{word}' instead"):
            old = loss(x, t, **keywords)
        np.testing.assert_array_equal(old.detach().numpy(), loss(x, t, reduction=word).detach().numpy())


def test_what_is_warned_of():
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(ONE, ONE)
    with pytest.warns(UserWarning, match="elementwise_mean"):
        F.nll_loss(ONE, LONG, reduction="elementwise_mean")
    with pytest.warns(UserWarning, match="target size"):
        F.l1_loss(ONE, ferrograd.ones(3))


def test_kinks():
    x = tensor([0.0, 1.0, -1.0, 2.0, NAN], grad=True)
    zero = ferrograd.zeros_like(x)
    for loss, slopes in [(F.l1_loss, [0, 1, -1, 1]), (F.smooth_l1_loss, [0, 1, -1, 1]), (F.huber_loss, [0, 1, -1, 1])]:
        (g,) = both_gradients(loss(x, zero, reduction="none"), x)
        np.testing.assert_array_equal(g[:4], slopes)
    (g,) = both_gradients(F.smooth_l1_loss(x, zero, reduction="none"), x)
    assert np.isnan(g[4])
    x = tensor([[0.0, 1.0, -1.0]], grad=True)
    (g,) = both_gradients(F.multi_margin_loss(x, ferrograd.tensor([1])), x)
    np.testing.assert_array_equal(g, [[0, 0, 0]])


def test_binary_cross_entropy_at_the_ends():
    x = tensor([0.0, 1.0, 0.0, 1.0], grad=True)
    t = tensor([0.0, 1.0, 1.0, 0.0])
    y = F.binary_cross_entropy(x, t, reduction="none")
    np.testing.assert_array_equal(y.detach().numpy(), [0, 0, 100, 100])
    np.testing.assert_allclose(both_gradients(y, x)[0], [0, 0, -1e12, 1e12], rtol=1e-7)


def test_logits_of_any_size():
    x = tensor([300.0, -300.0, 300.0, -300.0, INF, -INF], ferrograd.float32, grad=True)
    t = tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0], ferrograd.float32)
    y = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_array_equal(y.detach().numpy()[:4], [0, 0, 300, 300])
    np.testing.assert_array_equal(both_gradients(y, x)[0], [0, 0, 1, -1, 0, 0])


def test_dtypes_of_results():
    single, double = ONE, ONE.double()
    assert F.mse_loss(single, double).dtype == ferrograd.float64
    assert F.mse_loss(single, ONE.long()).dtype == ferrograd.float32
    assert F.huber_loss(single, double).dtype == ferrograd.float32
    assert F.binary_cross_entropy_with_logits(double, single).dtype == ferrograd.float32
    assert F.binary_cross_entropy(single, single, double).dtype == ferrograd.float32
    assert F.nll_loss(double, LONG.byte()).dtype == ferrograd.float64
    assert F.hinge_embedding_loss(ONE.long(), ONE, margin=0.5, reduction="sum").dtype == ferrograd.int64


def test_logits_and_weights_of_several_dtypes():
    x, t, weight = random(2, 3), random(2, 3, seed=1), random(3, seed=2).detach()
    want = F.binary_cross_entropy_with_logits(x, t, weight, pos_weight=weight)
    slopes = gradient(want, x, t)
    for x_single, t_single in [(True, False), (False, True), (True, True)]:
        inputs = [(i.detach().float() if single else i.detach()).requires_grad_() for i, single in ((x, x_single), (t, t_single))]
        y = F.binary_cross_entropy_with_logits(*inputs, weight, pos_weight=weight)
        assert y.item() == pytest.approx(want.item(), rel=1e-5)
        for got, slope in zip(both_gradients(y, *inputs), slopes):
            np.testing.assert_allclose(got, slope, rtol=1e-4, atol=1e-6)
    (g,) = both_gradients(F.binary_cross_entropy_with_logits(x, t.detach().float()), x)
    np.testing.assert_allclose(g, gradient(F.binary_cross_entropy_with_logits(x, t), x)[0], rtol=1e-5, atol=1e-8)


def test_gradients_of_another_dtype():
    for loss, target in [(F.mse_loss, ONE), (F.smooth_l1_loss, ONE), (F.cross_entropy, LONG), (F.nll_loss, LONG)]:
        x = random(2, 3, dtype=np.float32)
        want = gradient(loss(x, target), x)[0]
        y = loss(x, target).double()
        np.testing.assert_allclose(ferrograd.autograd.grad(y, x, ferrograd.ones((), dtype=ferrograd.float64))[0].numpy(), want)


def test_sequences_that_no_path_leads_to():
    x = random(2, 2, 3)
    targets, lengths = ferrograd.tensor([[1, 1], [1, 2]]), (2, 2)
    losses = F.ctc_loss(x.log_softmax(-1), targets, lengths, lengths, reduction="none")
    assert losses[0].item() == INF and np.isfinite(losses[1].item())
    losses = F.ctc_loss(x.log_softmax(-1), targets, lengths, lengths, reduction="none", zero_infinity=True)
    (g,) = gradient(losses, x)
    assert losses[0].item() == 0 and not g[:, 0].any() and g[:, 1].any()
    losses = F.ctc_loss(x.log_softmax(-1), targets, (0, 0), (0, 2), reduction="none")
    np.testing.assert_array_equal(losses.detach().numpy(), [0, INF])


@pytest.mark.parametrize(
    "lengths, target_lengths, blank",
    [((3, 2), (2, 2), 0), ((2, -1), (2, 2), 0), ((2, 2), (3, 2), 0), ((2, 2), (2, -1), 0), ((2,), (2, 2), 0), ((2, 2), (2, 2), 3)],
)
def test_lengths_that_do_not_fit(lengths, target_lengths, blank):
    with pytest.raises(RuntimeError):
        F.ctc_loss(random(2, 2, 3), ferrograd.tensor([[1, 1], [1, 2]]), lengths, target_lengths, blank)
    with pytest.raises(RuntimeError):
        F.ctc_loss(random(2, 2, 3), ferrograd.tensor([[1, 7], [1, 2]]), (2, 2), (2, 2))


def test_second_derivative_of_sequences_is_refused():
    x = random(3, 1, 3)
    loss = F.ctc_loss(x.log_softmax(-1), ferrograd.tensor([[1]]), (3,), (1,))
    (g,) = ferrograd.autograd.grad(loss, x, create_graph=True)
    with pytest.raises((RuntimeError, NotImplementedError), match="derivative"):
        g.sum().backward()


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_of_the_same_points(p, dtype):
    x = random(4, 3, dtype=dtype)
    again = ferrograd.cat([x, x[:2]])
    for y in (ferrograd.cdist(again, x, p), ferrograd.pdist(again, p)):
        (g,) = ferrograd.autograd.grad(y.sum(), x, create_graph=True)
        assert np.isfinite(g.detach().numpy()).all()
        np.testing.assert_allclose(g.detach().numpy(), *gradient(y, x, retain_graph=True), rtol=1e-3, atol=1e-5)
        if g.requires_grad:
            (second,) = ferrograd.autograd.grad((g * g).sum(), x, allow_unused=True)
            assert second is None or np.isfinite(second.numpy()).all()


def test_many_distances():
    a, b = random(60, 5), random(3, 70, 5, seed=1)
    by_products, exact = (ferrograd.cdist(a, b, compute_mode=mode) for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"))
    np.testing.assert_allclose(by_products.detach().numpy(), exact.detach().numpy(), rtol=1e-9)
    np.testing.assert_array_equal(ferrograd.cdist(a, b).detach().numpy(), by_products.detach().numpy())
    for first, second in zip(both_gradients(by_products, a, b), both_gradients(exact, a, b)):
        np.testing.assert_allclose(first, second, rtol=1e-8, atol=1e-8)


def test_queries_that_see_nothing():
    q, k, v = random(2, 4), random(3, 4, seed=1), random(3, 5, seed=2)
    y = F.scaled_dot_product_attention(q, k, v, ferrograd.tensor([[True, False, True], [False, False, False]]))
    assert not y[1].detach().numpy().any() and y[0].detach().numpy().all()
    for g in gradient(y, q, k, v):
        assert np.isfinite(g).all()
    assert F.scaled_dot_product_attention(q, k[:0], v[:0]).tolist() == [[0.0] * 5] * 2


def test_attention_drops_weights():
    q = random(2, 4, 4)
    ferrograd.manual_seed(1)
    kept = F.dropout(ferrograd.ones(2, 4, 4, dtype=ferrograd.float64), 0.5)
    ferrograd.manual_seed(1)
    y = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
    weights = (q @ q.transpose(-2, -1) / 2).softmax(-1)
    np.testing.assert_allclose(y.detach().numpy(), ((weights * kept) @ q).detach().numpy(), rtol=1e-12)


def heads(query, key, value, **keywords):
    size, count = query.shape[-1], keywords.pop("num_heads", 2)
    projection = {"in_proj_weight": random(3 * size, size, seed=5), "in_proj_bias": random(3 * size, seed=6)}
    return F.multi_head_attention_forward(
        query, key, value, size, count, **{**projection, "bias_k": None, "bias_v": None, "add_zero_attn": False, "dropout_p": 0.0,
        "out_proj_weight": random(size, size, seed=7), "out_proj_bias": random(size, seed=8), **keywords}
    )


def test_heads_without_a_batch_and_with_more_keys():
    q, k = random(3, 2, 4), random(5, 2, 4, seed=1)
    for keywords in ({}, {"add_zero_attn": True}, {"bias_k": random(1, 1, 4, seed=2), "bias_v": random(1, 1, 4, seed=3)}):
        y, weights = heads(q, k, k, **keywords)
        assert weights.shape == (2, 3, 5 + bool(keywords))
        np.testing.assert_allclose(weights.sum(-1).detach().numpy(), 1.0)
        single, seen = heads(q[:, 0], k[:, 0], k[:, 0], **keywords)
        np.testing.assert_allclose(single.detach().numpy(), y[:, 0].detach().numpy(), rtol=1e-10)
        np.testing.assert_allclose(seen.detach().numpy(), weights[0].detach().numpy(), rtol=1e-10)
        without, nothing = heads(q, k, k, need_weights=False, **keywords)
        np.testing.assert_allclose(without.detach().numpy(), y.detach().numpy(), rtol=1e-10)
        assert nothing is None


def test_heads_with_masks():
    q = random(3, 2, 4)
    causal = ~ferrograd.ones(3, 3, dtype=ferrograd.bool).tril()
    y, weights = heads(q, q, q, attn_mask=causal, average_attn_weights=False)
    assert weights.shape == (2, 2, 3, 3) and not weights.masked_select(causal).detach().numpy().any()
    fast, _ = heads(q, q, q, attn_mask=causal, is_causal=True, need_weights=False)
    np.testing.assert_allclose(fast.detach().numpy(), y.detach().numpy(), rtol=1e-10)
    padding = ferrograd.tensor([[False, False, True], [False, True, True]])
    _, weights = heads(q, q, q, key_padding_mask=padding)
    assert not weights.masked_select(padding.unsqueeze(1)).detach().numpy().any()


@pytest.mark.parametrize(
    "error, shapes, keywords",
    [
        (AssertionError, [(3, 2, 4), (3, 4), (3, 4)], {}),
        (AssertionError, [(4,), (4,), (4,)], {}),
        (AssertionError, [(3, 2, 4)] * 3, {"num_heads": 3}),
        (AssertionError, [(3, 2, 4), (5, 2, 4), (6, 2, 4)], {}),
        (AssertionError, [(3, 2, 4)] * 3, {"use_separate_proj_weight": True}),
        (AssertionError, [(3, 2, 4)] * 3, {"bias_k": ONE}),
        (AssertionError, [(3, 2, 4)] * 3, {"attn_mask": LONG.reshape(1, 2)}),
        (AssertionError, [(3, 2, 4)] * 3, {"key_padding_mask": ferrograd.zeros(2, 4)}),
        (RuntimeError, [(3, 2, 4)] * 3, {"attn_mask": ferrograd.zeros(2, 2)}),
        (RuntimeError, [(3, 2, 4)] * 3, {"is_causal": True}),
    ],
)
def test_heads_that_do_not_fit(error, shapes, keywords):
    with pytest.raises(error):
        heads(*[random(*shape) for shape in shapes], **keywords)


def test_a_loss_under_transforms():
    x, t = random(4, 3), ferrograd.tensor([0, 2, 1, 1])
    per_sample = ferrograd.func.grad(lambda x: F.cross_entropy(x, t))(x.detach())
    np.testing.assert_allclose(per_sample.numpy(), gradient(F.cross_entropy(x, t), x)[0], rtol=1e-12)
    hessian = ferrograd.func.hessian(lambda x: F.mse_loss(x, ferrograd.zeros(3)))(ferrograd.ones(3))
    np.testing.assert_allclose(hessian.numpy(), 2 / 3 * np.eye(3), rtol=1e-6)
