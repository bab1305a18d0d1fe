"""The version of the library, and of what it was built for: the CPU alone."""

from ferrograd import __version__  # noqa: F401

cuda = hip = None
