"""Modules whose parameters are not filled."""

from ferrograd.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls, *args, **kwargs):
    """A module of this class with parameters of arbitrary contents, and without drawing random numbers."""
    import inspect  # slow to import, and seldom needed

    import ferrograd

    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    state = ferrograd.get_rng_state()
    try:
        return module_cls(*args, **kwargs)
    finally:
        ferrograd.set_rng_state(state)
