"""Where a function that is being transformed begins and ends."""

from contextlib import contextmanager

from ferrograd._C import _autograd


@contextmanager
def transform(does):
    """Within a function's call: what was there before is captured, and may not be written to as if it were the function's own."""
    before = _autograd._enter_transform(does)
    try:
        yield
    finally:
        _autograd._leave_transform(before)
