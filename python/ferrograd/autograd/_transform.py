"""Where a function that is being transformed begins and ends."""

from _thread import _local
from collections import namedtuple
from contextlib import contextmanager

from ferrograd._C import _autograd


# Its number, what it found when it began, and if it maps: what random ops do, and the calls that need all samples (``_vmap_rule``).
Transform = namedtuple("Transform", ["number", "before", "randomness", "calls"])


class _Active(_local):
    """The transforms that this thread is in, the innermost last."""

    transforms = ()
    # The derivatives along tangents that are being taken, each with what carries them (see ``_products.Carriers``).
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


# What `_set_forward` takes.
NO_TANGENTS, FOLLOWED, COMPUTED = range(3)


@contextmanager
def forward_state(state):
    """Sets what becomes of tangents."""
    before = _autograd._set_forward(state)
    try:
        yield
    finally:
        _autograd._set_forward(before)


@contextmanager
def along_tangents(derivatives):
    """Where these derivatives along tangents are taken, and no others."""
    before, ACTIVE.forward = ACTIVE.forward, derivatives
    try:
        with forward_state(FOLLOWED if derivatives else NO_TANGENTS):
            yield
    finally:
        ACTIVE.forward = before
        if not before:
            _autograd._end_forward()


@contextmanager
def transform(randomness=None, size=0, calls=None):
    """Within calls of a function: one that differentiates it or, if it says what random ops do, that maps it over so many samples.

    Answers its number. What was there before is captured, and may not be written to as if it were the function's own.
    """
    before, number = _autograd._enter_transform(randomness, size)
    try:
        with active((*ACTIVE.transforms, Transform(number, before, randomness, calls))):
            yield number
    finally:
        _autograd._leave_transform(before)
