"""What several test files use."""

import pytest

import ferrograd


@pytest.fixture
def warn_always():
    """Warnings that come once in a program come each time."""
    ferrograd.set_warn_always(True)
    yield
    ferrograd.set_warn_always(False)
