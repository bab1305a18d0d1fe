"""The switches of cuDNN, which needs a GPU."""

import contextlib

enabled = True
deterministic = False
benchmark = False
benchmark_limit = 10
allow_tf32 = True


def is_available():
    """Whether there is cuDNN: no."""
    return False


def version():
    """The version of cuDNN, of which there is none."""
    return None


@contextlib.contextmanager
def flags(enabled=False, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True, fp32_precision="none"):
    """Sets the switches for a while."""
    switches = globals()
    new = dict(
        enabled=enabled,
        benchmark=benchmark,
        benchmark_limit=benchmark_limit,
        deterministic=deterministic,
        allow_tf32=allow_tf32,
    )
    before = {name: switches[name] for name in new}
    switches.update(new)
    try:
        yield
    finally:
        switches.update(before)
