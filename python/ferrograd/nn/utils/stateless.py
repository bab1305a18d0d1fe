"""The old place of `func.functional_call`."""

import warnings

from ferrograd import func

__all__ = ["functional_call"]


def functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """The same as `func.functional_call`."""
    warnings.warn("`nn.utils.stateless.functional_call` is deprecated: use `func.functional_call`.", FutureWarning, stacklevel=2)
    return func.functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
