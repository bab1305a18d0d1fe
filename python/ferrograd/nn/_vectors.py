"""Vectors: of length 1, and how far they are apart."""

import ferrograd

__all__ = ["normalize"]


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """Vectors along `dim`, each divided by its p-norm, which counts as `eps` at least."""
    norm = input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return input / norm if out is None else ferrograd.div(input, norm, out=out)


class PairwiseDistance:
    """`pairwise_distance` with options of its own, to be called with two tensors."""

    def __init__(self, p=2.0, eps=1e-6, keepdim=False):
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def __call__(self, x1, x2):
        return ferrograd.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
