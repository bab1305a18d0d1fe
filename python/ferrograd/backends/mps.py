"""What programs ask before they use an Apple GPU: there is none."""


def is_available():
    """Whether there is an Apple GPU: no."""
    return False


def is_built():
    """Whether the library was built for Apple GPUs: no."""
    return False
