"""Modules of attention and transformers."""

import copy
import math
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import nn

CAUSAL = nn.Transformer.generate_square_subsequent_mask


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(module, query, key, value, added=0.0):
    """Of (n, l, e), by its formula, with its weights."""
    size, heads = module.embed_dim, module.num_heads
    if module.in_proj_weight is None:
        weights = [getattr(module, f"{name}_proj_weight").detach().numpy() for name in "qkv"]
    else:
        weights = np.split(module.in_proj_weight.detach().numpy(), 3)
    biases = np.split(module.in_proj_bias.detach().numpy(), 3)
    q, k, v = (
        (x @ w.T + b).reshape(*x.shape[:2], heads, -1).swapaxes(1, 2) for x, w, b in zip((query, key, value), weights, biases)
    )
    weights = softmax(q @ k.swapaxes(-1, -2) / math.sqrt(size // heads) + added)
    output = (weights @ v).swapaxes(1, 2).reshape(*query.shape[:2], size)
    return output @ module.out_proj.weight.detach().numpy().T + module.out_proj.bias.detach().numpy(), weights


@pytest.mark.parametrize("sizes", [{}, {"kdim": 3, "vdim": 5}])
@pytest.mark.parametrize("batch_first", [False, True])
def test_attention(sizes, batch_first):
    module = nn.MultiheadAttention(8, 2, batch_first=batch_first, dtype=ferrograd.float64, **sizes)
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=shape) for shape in ((2, 3, 8), (2, 4, module.kdim), (2, 4, module.vdim)))
    hidden = np.array([[False, False, False, True], [False, True, False, False]])
    expected, weights = attention(module, query, key, value, np.where(hidden, -np.inf, 0)[:, None, None])
    inputs = [ferrograd.tensor(x if batch_first else x.swapaxes(0, 1).copy()) for x in (query, key, value)]
    output, mean = module(*inputs, key_padding_mask=ferrograd.tensor(hidden))
    output = output if batch_first else output.transpose(0, 1)
    np.testing.assert_allclose(output.detach().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(mean.detach().numpy(), weights.mean(1), atol=1e-12)
    _, each = module(*inputs, key_padding_mask=ferrograd.tensor(hidden), average_attn_weights=False)
    np.testing.assert_allclose(each.detach().numpy(), weights, atol=1e-12)
    assert module(*inputs, need_weights=False)[1] is None


@pytest.mark.parametrize("length", [4])
def test_attention_in_evaluation(length):
    """Without gradients torch takes another way, which gives the same but where a query sees no key."""
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = ferrograd.randn(2, length, 8)
    hidden = ferrograd.tensor([[False] * 3 + [True], [True] * 4])
    for mask in (None, ferrograd.ones(length, length, dtype=ferrograd.bool).triu(1)):
        expected, weights = module(x, x, x, attn_mask=mask, key_padding_mask=hidden)
        with ferrograd.no_grad():
            output, others = module(x, x, x, attn_mask=mask, key_padding_mask=hidden)
        assert ferrograd.allclose(output[0], expected[0], atol=1e-6) and ferrograd.allclose(others[0], weights[0], atol=1e-6)
        assert output[1].isnan().all()


def test_parameters_of_attention():
    ferrograd.manual_seed(1)
    module = nn.MultiheadAttention(4, 2, add_bias_kv=True)
    names = ["in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias"]
    assert list(module.state_dict()) == names
    assert module.bias_k.shape == (1, 1, 4) and not module.in_proj_bias.any() and not module.out_proj.bias.any()
    bound = math.sqrt(6 / (4 + 12))
    assert module.in_proj_weight.abs().max() <= bound
    assert "NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)" in repr(module)
    assert list(nn.MultiheadAttention(4, 2, bias=False).state_dict()) == ["in_proj_weight", "out_proj.weight"]
    with pytest.raises(AssertionError):
        nn.MultiheadAttention(4, 3)
    with pytest.raises(ValueError):
        nn.MultiheadAttention(4, 0)
    x = ferrograd.randn(3, 2, 4)
    with pytest.warns(UserWarning, match="mismatched key_padding_mask and attn_mask"):
        module(x, x, x, key_padding_mask=ferrograd.zeros(2, 3, dtype=ferrograd.bool), attn_mask=CAUSAL(3))


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer(norm_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    x = ferrograd.randn(2, 5, 8)

    def attend(x):
        return layer.self_attn(x, x, x, attn_mask=CAUSAL(5))[0]

    def feed(x):
        return layer.linear2(layer.linear1(x).relu())

    if norm_first:
        expected = x + attend(layer.norm1(x))
        expected = expected + feed(layer.norm2(expected))
    else:
        expected = layer.norm1(x + attend(x))
        expected = layer.norm2(expected + feed(expected))
    y = layer(x, CAUSAL(5))
    assert ferrograd.allclose(y, expected, atol=1e-5)
    assert ferrograd.allclose(layer(x[0], CAUSAL(5)), y[0], atol=1e-5)
    # What comes later changes nothing.
    z = x.clone()
    z[:, 3:] = 1
    assert ferrograd.allclose(layer(z, CAUSAL(5), is_causal=True)[:, :3], y[:, :3], atol=1e-5)
    with ferrograd.no_grad():
        assert ferrograd.allclose(layer.eval()(x, CAUSAL(5)), y, atol=1e-5)


def test_encoder_leaves_padding_out():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, nn.LayerNorm(8)).eval()
    x = ferrograd.randn(3, 4, 8)
    padding = ferrograd.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]], dtype=ferrograd.bool)
    slow = encoder(x, src_key_padding_mask=padding)
    with ferrograd.no_grad():
        fast = encoder(x, src_key_padding_mask=padding)
        middle = encoder(x, src_key_padding_mask=padding.flip(1))
        unchecked = nn.TransformerEncoder(encoder.layers[0], 1, enable_nested_tensor=False).eval()(x[:2], src_key_padding_mask=padding[:2])
        with pytest.raises(RuntimeError, match="at least one constituent"):
            encoder(x, src_key_padding_mask=ferrograd.ones(3, 4, dtype=ferrograd.bool))
        with pytest.raises(RuntimeError, match="Mask size"):
            encoder(x, src_key_padding_mask=padding[:, :3])
    seen = ~padding
    assert ferrograd.allclose(fast[seen], slow[seen], atol=1e-5)
    assert (fast[padding] == encoder.norm.bias).all() and slow[0:2][padding[0:2]].abs().sum() > 0
    assert middle[1, 0].abs().sum() > 0 and unchecked[1, 3].abs().sum() > 0


def test_warnings_of_the_encoder():
    for arguments, reason in (({}, "batch_first was not True"), ({"batch_first": True, "norm_first": True}, "norm_first was True")):
        with pytest.warns(UserWarning, match=reason):
            nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, **arguments), 1)
    nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 1, enable_nested_tensor=False)


def test_decoder():
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0), 2, nn.LayerNorm(8))
    target, memory = ferrograd.randn(3, 2, 8), ferrograd.randn(5, 2, 8)
    y = decoder(target, memory, tgt_mask=CAUSAL(3))
    assert y.shape == (3, 2, 8)
    changed = target.clone()
    changed[2] = 0
    again = decoder(changed, memory, tgt_mask=CAUSAL(3))
    assert ferrograd.allclose(again[:2], y[:2], atol=1e-5) and not ferrograd.allclose(again[2], y[2], atol=1e-3)
    hidden = ferrograd.tensor([[False] * 4 + [True]] * 2)
    changed = memory.clone()
    changed[4] = 0
    masked = [decoder(target, memory, memory_key_padding_mask=hidden) for memory in (memory, changed)]
    assert ferrograd.allclose(*masked, atol=1e-6)


def test_copies_and_pickles():
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, activation="gelu")
    x = ferrograd.randn(3, 2, 8)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert ferrograd.equal(other(x, x), layer(x, x)) and other.linear1.weight is not layer.linear1.weight
    # As in torch: copies of one with a module as activation compute relu.
    layer.activation = nn.GELU()
    relu = copy.deepcopy(layer)
    assert relu.activation is nn.functional.relu and not ferrograd.allclose(relu(x, x), layer(x, x))


def test_transformer():
    ferrograd.manual_seed(2)
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    source, target = ferrograd.randn(2, 5, 8), ferrograd.randn(2, 3, 8)
    y = model(source, target, tgt_mask=CAUSAL(3))
    memory = model.encoder(source)
    assert ferrograd.allclose(model.decoder(target, memory, tgt_mask=CAUSAL(3)), y, atol=1e-6)
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert CAUSAL(2).tolist() == [[0, -math.inf], [0, 0]]
    assert CAUSAL(2, dtype=ferrograd.float64).dtype == ferrograd.float64
    with pytest.raises(RuntimeError, match="batch number"):
        model(source, target[:1])
    with pytest.raises(RuntimeError, match="feature number"):
        model(source, target[..., :4])
    with pytest.raises(RuntimeError, match="relu/gelu"):
        nn.TransformerEncoderLayer(8, 2, activation="tanh")


def test_dropout_draws_the_same_numbers_again():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3)
    x = ferrograd.randn(5, 2, 8)
    ferrograd.manual_seed(1)
    first = layer(x)
    ferrograd.manual_seed(1)
    assert ferrograd.equal(layer(x), first) and not ferrograd.equal(layer(x), first)


@pytest.mark.parametrize("sizes", [dict(kdim=3), dict(vdim=3)])
def test_keys_and_values_of_other_sizes_than_the_weights_expect(sizes):
    x = ferrograd.ones(2, 1, 4)
    with pytest.raises(AssertionError):
        nn.MultiheadAttention(4, 2, **sizes)(x, x, x)
