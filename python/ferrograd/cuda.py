"""What programs ask before they use a GPU: there is none."""


def is_available():
    """Whether there is a GPU: no."""
    return False


def device_count():
    """The number of GPUs: 0."""
    return 0


def manual_seed(seed):
    """Seeds the generator of the current GPU, of which there is none."""
    int(seed)


def manual_seed_all(seed):
    """Seeds the generators of all GPUs, of which there are none."""
    int(seed)
