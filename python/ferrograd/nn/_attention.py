"""Attention: one function of queries, keys and values, and several of them side by side with the layers around."""

import math
import warnings

from ferrograd import _C, cat, zeros
from ferrograd._checks import overridable
from ferrograd.nn import functional

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def _check_operands(query, key, value, attn_mask, is_causal):
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            "scaled_dot_product_attention: expected query, key, and value to have the same dtype, but got "
            f"{query.dtype}, {key.dtype} and {value.dtype}"
        )
    if min(query.dim(), key.dim(), value.dim()) < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: expected query, key, and value to all be at least 2 dimensional, but got "
            f"{query.dim()}, {key.dim()} and {value.dim()}"
        )
    if attn_mask is not None:
        if attn_mask.dtype != _C.bool and attn_mask.dtype not in (query.dtype, _C.float32):
            raise RuntimeError(
                "scaled_dot_product_attention: expected attn_mask dtype to be bool or float or to match query dtype, but got "
                f"{attn_mask.dtype} and {query.dtype}"
            )
        if is_causal:
            raise RuntimeError("scaled_dot_product_attention: attn_mask should not be set when is_causal=True")


def _repeated(x, heads):
    """The heads of `x`, each as often as makes `heads` of them."""
    if heads % x.shape[-3]:
        raise RuntimeError(
            "scaled_dot_product_attention: the number of heads in key and value must divide that in query, but got "
            f"{x.shape[-3]} and {heads}"
        )
    return x.repeat_interleave(heads // x.shape[-3], -3)


def _is_fused(query, key, value, attn_mask, enable_gqa):
    """Whether torch does it in one op, which saves its operands and its result."""
    if not query.dim() == key.dim() == value.dim() == 4 or not query.stride(-1) == key.stride(-1) == value.stride(-1) == 1:
        return False
    batch, heads, length, size = query.shape
    of_key, of_value = key.shape, value.shape
    if not of_key[0] == of_value[0] == batch or not of_key[3] == of_value[3] == size:
        return False
    if of_key[1] != of_value[1] or of_key[1] != heads and not enable_gqa:
        return False
    if attn_mask is None:
        return True
    rows, columns = attn_mask.size(-2), attn_mask.size(-1)
    if attn_mask.requires_grad or rows not in (1, length) or columns not in (1, of_key[2]):
        return False
    leading = attn_mask.shape[:-2]
    return not leading or len(leading) == 2 and leading[0] in (1, batch) and leading[1] in (1, heads)


@overridable
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """softmax(scale query key^T + attn_mask) value: for each query the mean of values, weighted by how keys agree with it.

    `attn_mask` is added, or says which keys a query sees; `is_causal` shows the n-th query the first n keys. A query that sees
    none gets 0. `scale` is 1 / sqrt(e) unless given, `dropout_p` the part of weights that is dropped, and `enable_gqa` lets
    several heads of queries share one of keys.
    Shape: (*, l, e), (*, s, e) and (*, s, v) to (*, l, v). Dtype: float, the same for all.
    """
    _check_operands(query, key, value, attn_mask, is_causal)
    empty = 0 in (query.numel(), key.numel(), value.numel())
    fused = not empty and dropout_p == 0.0 and _is_fused(query, key, value, attn_mask, enable_gqa)
    saved = (query, key, value) if attn_mask is None or attn_mask.dtype == _C.bool else (query, key, value, attn_mask)
    if empty:
        # Of nothing torch saves nothing.
        value = value.clone()
    if enable_gqa:
        key, value = _repeated(key, query.shape[-3]), _repeated(value, query.shape[-3])
    if scale is None:
        size = query.shape[-1]
        scale = 1 / math.sqrt(size) if size else math.inf
    if fused:
        weights = _C._nn._times(query, scale) @ key.transpose(-2, -1)
    else:
        root = math.sqrt(abs(scale))
        weights = _C._nn._times(query, math.copysign(root, scale)) @ _C._nn._times(key.transpose(-2, -1), root)
    hidden = None
    if is_causal:
        hidden = ~_C.ones(weights.shape[-2:], dtype=_C.bool).tril()
    elif attn_mask is not None and attn_mask.dtype == _C.bool:
        hidden = ~attn_mask.expand_as(weights)
    elif attn_mask is not None:
        weights = weights + attn_mask.expand_as(weights)
    if hidden is not None:
        weights = weights.masked_fill(hidden, -math.inf)
    # Of a softmax of nothing but -inf, which a mask can make, only the safe form has a value.
    weights = weights.softmax(-1) if attn_mask is None else _C._nn._safe_softmax(weights, -1)
    if dropout_p > 0.0:
        weights = functional.dropout(weights, dropout_p)
    y = weights @ value
    return _C._autograd._saving(y, saved) if fused else y


def _require(holds, message):
    if not holds:
        raise AssertionError(f"multi_head_attention_forward: {message}")


def _check_dims(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Whether there is a batch, if the numbers of dims agree on it."""
    dims = query.dim()
    _require(dims in (2, 3), f"query should be unbatched 2D or batched 3D tensor but received {dims}-D query tensor")
    _require(
        key.dim() == value.dim() == dims,
        f"for {dims}-D query, expected key and value to be {dims}-D but found {key.dim()}-D and {value.dim()}-D",
    )
    if key_padding_mask is not None:
        _require(
            key_padding_mask.dim() == dims - 1,
            f"for {dims}-D query, expected key_padding_mask to be None or {dims - 1}-D but found {key_padding_mask.dim()}-D",
        )
    if attn_mask is not None:
        _require(
            attn_mask.dim() in (2, 3),
            f"for {dims}-D query, expected attn_mask to be None, 2-D or 3-D but found {attn_mask.dim()}-D",
        )
        expected = (num_heads, query.shape[0], key.shape[0])
        _require(
            dims == 3 or attn_mask.dim() == 2 or tuple(attn_mask.shape) == expected,
            f"expected attn_mask shape to be {expected} but got {tuple(attn_mask.shape)}",
        )
    return dims == 3


def _added(mask, name, dtype):
    """A mask as what is added: -inf where a mask of bools hides."""
    if mask is None or mask.is_floating_point():
        return mask
    _require(mask.dtype == _C.bool, f"only bool and floating types of {name} are supported")
    return zeros(mask.shape, dtype=dtype).masked_fill(mask, -math.inf)


def _warn_of_mixed_masks(padding, mask, names=("key_padding_mask", "attn_mask")):
    """For functions that the user calls: warns if one mask hides and the other is added."""
    if padding is not None and mask is not None and padding.dtype != mask.dtype:
        message = f"Support for mismatched {names[0]} and {names[1]} is deprecated. Use same type for both instead."
        warnings.warn(message, stacklevel=3)


def _projected(query, key, value, weights, bias):
    """Queries, keys and values after their linear layers; `weights` are the three, or all in one."""
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    if not isinstance(weights, tuple):
        if query is key is value:
            return functional.linear(query, weights, bias).chunk(3, -1)
        weights = weights.chunk(3)
    return [functional.linear(x, weight, bias) for x, weight, bias in zip((query, key, value), weights, biases)]


def _with_one_more(x, row, dim):
    return None if x is None else cat([x, row], dim)


@overridable
def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """Attention in `num_heads` parts of the embedding, between linear layers; and its weights, or None.

    Masks hide where they are true, or are added; `is_causal` says that `attn_mask` hides what comes later. `bias_k` and `bias_v`
    are another key and value, as is the zero of `add_zero_attn`; `static_k` and `static_v` replace the projected ones.
    Shape: (l, n, e), (s, n, k) and (s, n, v) to (l, n, e) and (n, l, s), or all without n, the batch; weights of all heads,
    (n, h, l, s), if not `average_attn_weights`.
    Raises: AssertionError and RuntimeError as in torch for what does not fit.
    """
    batched = _check_dims(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same_keys, same_values = key is query, value is key
        query = query.unsqueeze(1)
        key = query if same_keys else key.unsqueeze(1)
        value = key if same_values else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, size = query.shape
    _warn_of_mixed_masks(key_padding_mask, attn_mask)
    key_padding_mask = _added(key_padding_mask, "key_padding_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "multi_head_attention_forward: need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        attn_mask = _added(attn_mask, "attn_mask", query.dtype)
        is_causal = is_causal and key_padding_mask is None
    _require(size == embed_dim_to_check, f"was expecting embedding dimension of {embed_dim_to_check}, but got {size}")
    head = size // num_heads
    _require(head * num_heads == size, f"embed_dim {size} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        _require(
            key.shape[:2] == value.shape[:2],
            f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's {tuple(value.shape[:2])}",
        )
        weights = q_proj_weight, k_proj_weight, v_proj_weight
        for name, weight in zip("qkv", weights):
            _require(weight is not None, f"use_separate_proj_weight is True but {name}_proj_weight is None")
        for name, weight, x in zip("qkv", weights, (query, key, value)):
            expected, found = (size, x.shape[-1]), tuple(weight.shape)
            _require(found == expected, f"expecting {name}_proj_weight of shape {expected}, but got {found}")
    else:
        _require(key.shape == value.shape, f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")
        _require(in_proj_weight is not None, "use_separate_proj_weight is False but in_proj_weight is None")
        weights = in_proj_weight
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    if attn_mask is not None:
        dims = attn_mask.dim()
        expected = (length, key.shape[0]) if dims == 2 else (batch * num_heads, length, key.shape[0])
        if tuple(attn_mask.shape) != expected:
            raise RuntimeError(
                f"multi_head_attention_forward: the shape of the {dims}D attn_mask is {tuple(attn_mask.shape)}, but should be "
                f"{expected}."
            )
        attn_mask = attn_mask.unsqueeze(0) if dims == 2 else attn_mask

    def masks_with_one_more():
        return [m if m is None else cat([m, m.new_zeros((*m.shape[:-1], 1))], -1) for m in (attn_mask, key_padding_mask)]

    _require((bias_k is None) == (bias_v is None), "bias_k and bias_v must be given together")
    if bias_k is not None:
        _require(static_k is None, "bias cannot be added to static key.")
        _require(static_v is None, "bias cannot be added to static value.")
        k, v = cat([k, bias_k.repeat(1, batch, 1)]), cat([v, bias_v.repeat(1, batch, 1)])
        attn_mask, key_padding_mask = masks_with_one_more()

    def in_heads(x):
        return x.reshape(x.shape[0], batch * num_heads, head).transpose(0, 1)

    def given(x, name):
        for dim, expected in ((0, batch * num_heads), (2, head)):
            _require(x.size(dim) == expected, f"expecting {name}.size({dim}) of {expected}, but got {x.size(dim)}")
        return x

    q = in_heads(q)
    k = in_heads(k) if static_k is None else given(static_k, "static_k")
    v = in_heads(v) if static_v is None else given(static_v, "static_v")
    if add_zero_attn:
        nothing = k.new_zeros((batch * num_heads, 1, head))
        k, v = cat([k, nothing], 1), cat([v, nothing], 1)
        attn_mask, key_padding_mask = masks_with_one_more()
    source = k.size(1)
    if key_padding_mask is not None:
        for dim, expected in ((0, batch), (1, source)):
            found = key_padding_mask.shape[dim]
            _require(found == expected, f"expected key_padded_mask.shape[{dim}] to be {expected}, but got {found}")
        padding = key_padding_mask.view(batch, 1, 1, source).expand(-1, num_heads, -1, -1)
        padding = padding.reshape(batch * num_heads, 1, source)
        attn_mask = padding if attn_mask is None else attn_mask + padding
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        q = q * math.sqrt(1.0 / head)
        _require(not is_causal or attn_mask is not None, "is_causal not implemented for need_weights")
        weights = q.bmm(k.transpose(-2, -1)) if attn_mask is None else _C.Tensor.baddbmm(attn_mask, q, k.transpose(-2, -1))
        weights = weights.softmax(-1)
        if dropout_p > 0.0:
            weights = functional.dropout(weights, dropout_p)
        output = weights.bmm(v)
        weights = weights.view(batch, num_heads, length, source)
        weights = weights.mean(dim=1) if average_attn_weights else weights
        output = output.transpose(0, 1)
    else:
        if attn_mask is not None:
            shared = attn_mask.size(0) == 1
            attn_mask = attn_mask.unsqueeze(0) if shared else attn_mask.view(batch, num_heads, -1, source)
        q, k, v = (x.view(batch, num_heads, x.shape[1], head) for x in (q, k, v))
        output = scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal).permute(2, 0, 1, 3)
        weights = None
    output = functional.linear(output.reshape(length * batch, size), out_proj_weight, out_proj_bias)
    output = output.view(length, batch, output.size(1))
    if not batched:
        output, weights = output.squeeze(1), None if weights is None else weights.squeeze(0)
    return output, weights
