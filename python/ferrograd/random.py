"""Random numbers of the process: seeding, and the state of the generator."""

from contextlib import contextmanager

from ferrograd._C import Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]


@contextmanager
def fork_rng(devices=None, enabled=True, device_type="cpu"):
    """Restores the state of the generator on leaving the block, so that draws inside do not show outside.

    There is one generator, whatever the devices.
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
