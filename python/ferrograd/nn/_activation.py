"""Activation functions with `out`, and those that are made of others."""

import warnings

import ferrograd
from ferrograd import _C
from ferrograd._C import Tensor, _nn
from ferrograd._checks import overridable

gelu = _C._function_form(_nn.gelu, out="same")
hardshrink = _C._function_form(Tensor.hardshrink, out="same")
logsigmoid = _C._function_form(_nn.logsigmoid, out="same")
prelu = _C._function_form(Tensor.prelu)
softplus = _C._function_form(_nn.softplus, out="same")
softshrink = _C._function_form(_nn.softshrink, out="same")


@overridable
def sigmoid(input):
    """The logistic function, 1 / (1 + e^-x); see `Tensor.sigmoid`."""
    return input.sigmoid()


@overridable
def tanh(input):
    """Hyperbolic tangent; see `Tensor.tanh`."""
    return input.tanh()


@overridable
def softsign(input):
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


@overridable
def tanhshrink(input):
    """x - tanh(x)."""
    return input - input.tanh()


@overridable
def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """Categories drawn with probabilities softmax(logits), relaxed: softmax of (logits + Gumbel noise) / tau along `dim`.

    `hard` gives the category itself, as ones and zeros, with the derivative of the relaxed one. `eps` has no effect.
    Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2017.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -ferrograd.empty_like(logits, memory_format=ferrograd.contiguous_format).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    zeros = ferrograd.zeros_like(logits, memory_format=ferrograd.contiguous_format)
    return zeros.scatter_(dim, index, 1.0) - soft.detach() + soft


@overridable
def rrelu(input, lower=1 / 8, upper=1 / 3, training=False, generator=None):
    """`ferrograd.rrelu`: that of `nn.functional`, with a generator instead of `inplace`."""
    return _nn.rrelu(input, lower, upper, training, generator=generator)
