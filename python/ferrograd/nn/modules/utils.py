"""What several kinds of layers share: tuples of options, their text, scale and shift, checks of inputs."""

from collections.abc import Iterable

import ferrograd
from ferrograd.nn import init
from ferrograd.nn.parameter import Parameter

__all__ = ["consume_prefix_in_state_dict_if_present"]


def _ntuple(n):
    """A function that makes a tuple of what is given: of an iterable, or of `n` times a number."""

    def parse(x):
        return tuple(x) if isinstance(x, Iterable) else (x,) * n

    return parse


_single, _pair, _triple, _quadruple = map(_ntuple, (1, 2, 3, 4))


def options(module, *names):
    """The text ``name=value, ...`` of attributes."""
    return ", ".join(f"{name}={getattr(module, name)}" for name in names)


def register_parameter(module, name, shape, wanted, device, dtype):
    """A parameter without values yet, or None under its name."""
    module.register_parameter(name, Parameter(ferrograd.empty(shape, device=device, dtype=dtype)) if wanted else None)


def reset_scale_and_shift(module):
    """Weights of 1 and biases of 0, where there are any."""
    if module.weight is not None:
        init.ones_(module.weight)
        if getattr(module, "bias", None) is not None:
            init.zeros_(module.bias)


def check_input_dim(input, dims):
    """Fails unless the input has one of these numbers of dims."""
    if input.dim() not in dims:
        raise ValueError(f"expected {' or '.join(f'{d}D' for d in dims)} input (got {input.dim()}D input)")


def consume_prefix_in_state_dict_if_present(state_dict, prefix):
    """Takes `prefix` off the keys of a state_dict, and of its metadata, in place."""
    for key in list(state_dict):
        if key.startswith(prefix):
            state_dict[key[len(prefix) :]] = state_dict.pop(key)
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is None:
        return
    for key in list(metadata):
        # The prefix ends with a dot, which the key of its own module does not have.
        if key and (key == prefix.replace(".", "") or key.startswith(prefix)):
            metadata[key[len(prefix) :]] = metadata.pop(key)
