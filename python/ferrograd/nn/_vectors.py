"""Vectors: of length 1, and how far they are apart."""

import ferrograd
from ferrograd._checks import overridable

__all__ = ["normalize"]


@overridable
def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """Vectors along `dim`, each divided by its p-norm, which counts as `eps` at least."""
    norm = input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return input / norm if out is None else ferrograd.div(input, norm, out=out)
