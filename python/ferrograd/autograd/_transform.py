"""Where a function that is being transformed begins and ends."""

from _thread import _local
from contextlib import contextmanager

from ferrograd._C import _autograd


class _Active(_local):
    """The transforms that this thread is in, the innermost last: their numbers, and what random ops do if they map."""

    transforms = ()
    # Lists of variables that carry tangents: what is made of them carries one, too.
    forward = ()


ACTIVE = _Active()


@contextmanager
def active(transforms):
    """Within these transforms only, as far as functions of one's own can see."""
    before, ACTIVE.transforms = ACTIVE.transforms, transforms
    try:
        yield
    finally:
        ACTIVE.transforms = before


@contextmanager
def carrying_tangents(variables):
    """Within a function that is differentiated along tangents of these variables."""
    before, ACTIVE.forward = ACTIVE.forward, (*ACTIVE.forward, variables)
    try:
        yield
    finally:
        ACTIVE.forward = before


@contextmanager
def transform(randomness=None, size=0):
    """Within calls of a function: one that differentiates it or, if it says what random ops do, that maps it over so many samples.

    Answers its number. What was there before is captured, and may not be written to as if it were the function's own.
    """
    before, number = _autograd._enter_transform(randomness, size)
    try:
        with active((*ACTIVE.transforms, (number, randomness))):
            yield number
    finally:
        _autograd._leave_transform(before)
