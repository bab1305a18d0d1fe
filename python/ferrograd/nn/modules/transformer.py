"""Transformers: layers of attention and of linear layers, with normalization and dropout around each."""

import copy
import math
import warnings

from ferrograd._C import full
from ferrograd.autograd import is_grad_enabled
from ferrograd.nn import functional, init
from ferrograd.nn._attention import _added, _warn_of_mixed_masks
from ferrograd.nn.modules.activation import GELU, ReLU
from ferrograd.nn.modules.attention import MultiheadAttention
from ferrograd.nn.modules.container import ModuleList
from ferrograd.nn.modules.dropout import Dropout
from ferrograd.nn.modules.linear import Linear
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.normalization import LayerNorm

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"]


def _square_subsequent_mask(size, device=None, dtype=None):
    return full((size, size), -math.inf, device=device, dtype=dtype).triu(1)


def _is_causal(mask, is_causal, size):
    """Whether a mask hides what comes later, and nothing else; `is_causal` itself if it is not None."""
    if is_causal is not None or mask is None:
        return is_causal is True
    causal = _square_subsequent_mask(size, dtype=mask.dtype if mask.is_floating_point() else None)
    return mask.shape == causal.shape and bool((mask == causal).all())


def _length(x, batch_first):
    return x.shape[1 if batch_first and x.dim() != 2 else 0]


def _copies(layer, count):
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class Transformer(Module):
    """An encoder of sources and a decoder that attends to what it makes of them.

    `custom_encoder` and `custom_decoder` replace the layers that the other arguments describe.
    Shape: src (s, n, e) and tgt (t, n, e) to (t, n, e), n first with `batch_first`, or without a batch.
    Source: Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self,
        d_model=512,
        nhead=8,
        num_encoder_layers=6,
        num_decoder_layers=6,
        dim_feedforward=2048,
        dropout=0.1,
        activation=functional.relu,
        custom_encoder=None,
        custom_decoder=None,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        layer = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype

        def norm():
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        if custom_encoder is None:
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*layer), num_encoder_layers, norm())
        self.encoder = custom_encoder
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*layer), num_decoder_layers, norm())
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src,
        tgt,
        src_mask=None,
        tgt_mask=None,
        memory_mask=None,
        src_key_padding_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        src_is_causal=None,
        tgt_is_causal=None,
        memory_is_causal=False,
    ):
        batch_dim = 0 if self.batch_first else 1
        if src.dim() == 3 and src.size(batch_dim) != tgt.size(batch_dim):
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz, device=None, dtype=None):
        """A mask to be added that hides what comes later: -inf above the diagonal, else 0."""
        return _square_subsequent_mask(sz, device, dtype)

    def _reset_parameters(self):
        for parameter in self.parameters():
            if parameter.dim() > 1:
                init.xavier_uniform_(parameter)


class TransformerEncoder(Module):
    """Copies of an encoder layer one after the other, and `norm` at the end.

    As in torch, padding at the sequences' ends is left out in evaluation without gradients: results there are what `norm` makes of 0.
    `enable_nested_tensor=False` switches this off, `mask_check=False` the check that padding is at the ends.
    """

    def __init__(self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True):
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        why_not = _why_not_without_padding(encoder_layer) if enable_nested_tensor else ""
        self.use_nested_tensor = enable_nested_tensor and not why_not
        if why_not:
            warnings.warn(
                f"enable_nested_tensor is True, but self.use_nested_tensor is False because {why_not}", stacklevel=2
            )

    def _leaves_padding_out(self, src, mask, padding):
        first = self.layers[0]
        if padding is None or mask is not None or not self.use_nested_tensor or first.training or src.dim() != 3:
            return False
        if is_grad_enabled() and any(x.requires_grad for x in (src, *first._weights()) if x is not None):
            return False
        if tuple(padding.shape) != tuple(src.shape[:2]):
            raise RuntimeError("Mask size should match input size")
        # Of padding in the middle, a key that is seen comes after one that is not.
        hidden = padding != 0
        return not self.mask_check or not bool((hidden[:, :-1] & ~hidden[:, 1:]).any())

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        _warn_of_mixed_masks(src_key_padding_mask, mask, ("src_key_padding_mask", "mask"))
        padding = _added(src_key_padding_mask, "src_key_padding_mask", src.dtype)
        mask = _added(mask, "mask", src.dtype)
        leaves_out = self._leaves_padding_out(src, mask, padding)
        if leaves_out and bool((padding != 0).all()):
            raise RuntimeError("to_padded_tensor: at least one constituent tensor should have non-zero numel")
        is_causal = _is_causal(mask, is_causal, _length(src, self.layers[0].self_attn.batch_first))
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=is_causal, src_key_padding_mask=padding)
        if leaves_out:
            x = x.masked_fill((padding != 0).unsqueeze(-1), 0.0)
        return x if self.norm is None else self.norm(x)


def _why_not_without_padding(layer):
    """Why torch could not leave padding out; nothing if it can."""
    if not isinstance(layer, TransformerEncoderLayer):
        return "encoder_layer was not TransformerEncoderLayer"
    attention = layer.self_attn
    reasons = {
        "norm_first was True": layer.norm_first,
        "self_attn.batch_first was not True(use batch_first for better inference performance)": not attention.batch_first,
        "self_attn._qkv_same_embed_dim was not True": not attention._qkv_same_embed_dim,
        "self_attn was passed bias=False": attention.in_proj_bias is None,
        "activation_relu_or_gelu was not True": not layer.activation_relu_or_gelu,
        "norm1.eps was not equal to encoder_layer.norm2.eps": layer.norm1.eps != layer.norm2.eps,
        "self_attn.num_heads is odd": attention.num_heads % 2 == 1,
    }
    return next((f"encoder_layer.{reason}" for reason, holds in reasons.items() if holds), "")


class TransformerDecoder(Module):
    """Copies of a decoder layer one after the other, and `norm` at the end."""

    def __init__(self, decoder_layer, num_layers, norm=None):
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=None,
        memory_is_causal=False,
    ):
        tgt_is_causal = _is_causal(tgt_mask, tgt_is_causal, _length(tgt, self.layers[0].self_attn.batch_first))
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal,
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


def _activation(activation):
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return getattr(functional, activation)


class TransformerEncoderLayer(Module):
    """Self-attention, then two linear layers with `activation` in between; each is added to its input, and normalized.

    Normalized is the sum, or the input with `norm_first`. Shape: (l, n, e), kept; n first with `batch_first`; or without a batch.
    Source: Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self,
        d_model,
        nhead,
        dim_feedforward=2048,
        dropout=0.1,
        activation=functional.relu,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        own = {"bias": bias, "device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=batch_first, **own)
        self.linear1 = Linear(d_model, dim_feedforward, **own)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **own)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, **own)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, **own)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        activation = _activation(activation)
        if activation is functional.relu or isinstance(activation, ReLU):
            self.activation_relu_or_gelu = 1
        elif activation is functional.gelu or isinstance(activation, GELU):
            self.activation_relu_or_gelu = 2
        else:
            self.activation_relu_or_gelu = 0
        self.activation = activation

    def _weights(self):
        modules = self.self_attn.out_proj, self.norm1, self.norm2, self.linear1, self.linear2
        own = [self.self_attn.in_proj_weight, self.self_attn.in_proj_bias]
        return own + [x for module in modules for x in (module.weight, module.bias)]

    def _is_plain(self, x):
        """Whether torch takes its short way; see `MultiheadAttention`."""
        if self.training or not self.activation_relu_or_gelu or self.norm1.eps != self.norm2.eps:
            return False
        if not self.self_attn._is_plain(x, *self._weights()):
            return False
        return not any(module._forward_hooks or module._forward_pre_hooks for module in self.modules())

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        _warn_of_mixed_masks(src_key_padding_mask, src_mask, ("src_key_padding_mask", "src_mask"))
        padding = _added(src_key_padding_mask, "src_key_padding_mask", src.dtype)
        mask = _added(src_mask, "src_mask", src.dtype)
        x = src
        if self._is_plain(x):
            attention = self.self_attn
            hidden = attention._hidden(mask, padding, x)

            def attend(x):
                return attention._attend(x, hidden)[0]

            def feed(x):
                x = self.linear1(x)
                return self.linear2(functional.gelu(x) if self.activation_relu_or_gelu == 2 else functional.relu(x))
        else:

            def attend(x):
                return self._sa_block(x, mask, padding, is_causal=is_causal)

            feed = self._ff_block
        if self.norm_first:
            x = x + attend(self.norm1(x))
            return x + feed(self.norm2(x))
        x = self.norm1(x + attend(x))
        return self.norm2(x + feed(x))

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        return self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])

    def _ff_block(self, x):
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoderLayer(Module):
    """Self-attention, attention to `memory`, then two linear layers; each is added to its input, and normalized.

    Arguments and shapes are as of `TransformerEncoderLayer`; memory is (s, n, e).
    """

    def __init__(
        self,
        d_model,
        nhead,
        dim_feedforward=2048,
        dropout=0.1,
        activation=functional.relu,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        own = {"bias": bias, "device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=batch_first, **own)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=batch_first, **own)
        self.linear1 = Linear(d_model, dim_feedforward, **own)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **own)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, **own)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, **own)
        self.norm3 = LayerNorm(d_model, eps=layer_norm_eps, **own)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation(activation)

    def __setstate__(self, state):
        # As in torch: a copy, which each layer of a decoder is, of one whose activation is a module computes relu instead.
        super().__setstate__({"activation": functional.relu, **state})

    def forward(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=False,
        memory_is_causal=False,
    ):
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        other = memory, memory_mask, memory_key_padding_mask, memory_is_causal
        x = tgt
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), *own)
            x = x + self._mha_block(self.norm2(x), *other)
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(x + self._sa_block(x, *own))
        x = self.norm2(x + self._mha_block(x, *other))
        return self.norm3(x + self._ff_block(x))

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        return self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])

    def _mha_block(self, x, mem, attn_mask, key_padding_mask, is_causal=False):
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        return self.dropout2(self.multihead_attn(x, mem, mem, need_weights=False, **masks)[0])

    def _ff_block(self, x):
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))
