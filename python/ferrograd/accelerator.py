"""What programs ask before they use an accelerator of any kind: there is none."""


def is_available():
    """Whether there is an accelerator: no."""
    return False


def device_count():
    """The number of accelerators: 0."""
    return 0


def current_accelerator(check_available=False):
    """The device of the accelerator: None, as there is none."""
    return None
