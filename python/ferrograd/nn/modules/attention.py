"""Attention of several heads with the linear layers around it."""

import math

from ferrograd.autograd import is_grad_enabled
from ferrograd.nn import functional, init
from ferrograd.nn._attention import _added, _warn_of_mixed_masks
from ferrograd.nn.modules.linear import NonDynamicallyQuantizableLinear
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import register_parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in `num_heads` parts of the embedding: concat(head_1, ..., head_h) W_o, each softmax(q k^T / sqrt(d)) v.

    q, k and v are query, key and value times weights of `in_proj_weight`, or of their own where `kdim` or `vdim` say that keys or
    values have another size than `embed_dim`. Masks are true where a key is not to be seen, or floats to be added.
    Shape: query (l, n, e), key (s, n, kdim), value (s, n, vdim) to (l, n, e) and the weights (n, l, s), those of each head (n, h, l, s)
    unless `average_attn_weights`, None unless `need_weights`; with `batch_first` n comes first; without a batch it is missing.
    Source: Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        one = self._qkv_same_embed_dim
        register_parameter(self, "in_proj_weight", (3 * embed_dim, embed_dim), one, device, dtype)
        for name, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            register_parameter(self, f"{name}_proj_weight", (embed_dim, size), not one, device, dtype)
        register_parameter(self, "in_proj_bias", 3 * embed_dim, bias, device, dtype)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            if add_bias_kv:
                register_parameter(self, name, (1, 1, embed_dim), True, device, dtype)
            else:
                setattr(self, name, None)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        is_batched = query.dim() == 3
        floats = any(mask is not None and mask.is_floating_point() for mask in (attn_mask, key_padding_mask))
        _warn_of_mixed_masks(key_padding_mask, attn_mask)
        key_padding_mask = _added(key_padding_mask, "key_padding_mask", query.dtype)
        attn_mask = _added(attn_mask, "attn_mask", query.dtype)
        if not floats and query is key is value and self._is_plain(query):
            hidden = self._hidden(attn_mask, key_padding_mask, query)
            output, weights = self._attend(query, hidden)
            if not need_weights:
                return output, None
            return output, weights.mean(dim=1) if average_attn_weights else weights
        if self.batch_first and is_batched:
            same_keys, same_values = key is query, value is key
            query = query.transpose(0, 1)
            key = query if same_keys else key.transpose(0, 1)
            value = key if same_values else value.transpose(0, 1)
        output, weights = functional.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return output.transpose(0, 1) if self.batch_first and is_batched else output, weights

    def _is_plain(self, x, *more):
        """Whether torch takes its short way for self-attention, where masks only hide and rows without keys are NaN."""
        if self.training or not self.batch_first or self.num_heads % 2 or x.dim() != 3 or not self._qkv_same_embed_dim:
            return False
        if self.in_proj_bias is None or self.bias_k is not None or self.bias_v is not None or self.add_zero_attn:
            return False
        if not x.dtype == self.in_proj_bias.dtype == self.in_proj_weight.dtype:
            return False
        weights = self.in_proj_weight, self.in_proj_bias, self.out_proj.weight, self.out_proj.bias
        return not is_grad_enabled() or not any(y.requires_grad for y in (x, *weights, *more) if y is not None)

    def _hidden(self, attn_mask, key_padding_mask, x):
        """Which keys are hidden from which queries, as one mask of bools; None for none."""
        batch, length, _ = x.shape
        hidden = None
        if attn_mask is not None:
            hidden = attn_mask.view(*((batch, -1) if attn_mask.dim() == 3 else (1, 1)), length, length) != 0
        if key_padding_mask is not None:
            if tuple(key_padding_mask.shape) != (batch, length):
                raise RuntimeError(f"key_padding_mask: expected the shape {(batch, length)}, got {tuple(key_padding_mask.shape)}")
            padding = key_padding_mask.view(batch, 1, 1, length) != 0
            hidden = padding if hidden is None else hidden | padding
        return hidden

    def _attend(self, x, hidden):
        """Self-attention of (n, l, e), and its weights for each head."""
        if x.shape[-1] != self.embed_dim:
            raise RuntimeError(f"passed-in embed_dim {self.embed_dim} didn't match last dim of query {x.shape[-1]}")
        parts = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for part in parts)
        weights = (q / math.sqrt(self.head_dim)) @ k.transpose(-2, -1)
        if hidden is not None:
            weights = weights.masked_fill(hidden, -math.inf)
        weights = weights.softmax(-1)
        output = (weights @ v).transpose(1, 2).flatten(2)
        return functional.linear(output, self.out_proj.weight, self.out_proj.bias), weights

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """Both masks in one and how many dims it has (2: batch, heads, l, l; 1: batch, l), for those given; else None."""
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            merged = merged + key_padding_mask.view(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
        return merged, 2
