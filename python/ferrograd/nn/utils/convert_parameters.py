"""All parameters as one vector, and back."""

import ferrograd
from ferrograd._C import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters):
    """The elements of all parameters in one vector, on the tape."""
    return ferrograd.cat([p.view(-1) for p in parameters])


def vector_to_parameters(vec, parameters):
    """Makes slices of a vector the values of the parameters: they share its memory."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start = 0
    for p in parameters:
        p.data = vec[start : start + p.numel()].view_as(p).data
        start += p.numel()
