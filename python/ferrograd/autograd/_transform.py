"""Where a function that is being transformed begins and ends."""

from contextlib import contextmanager

from ferrograd._C import _autograd


@contextmanager
def transform(randomness=None, size=0):
    """Within calls of a function: one that differentiates it or, if it says what random ops do, that maps it over so many samples.

    Answers its number. What was there before is captured, and may not be written to as if it were the function's own.
    """
    before, number = _autograd._enter_transform(randomness, size)
    try:
        yield number
    finally:
        _autograd._leave_transform(before)
