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


def is_initialized():
    """Whether a GPU was used: no."""
    return False


def empty_cache():
    """Gives back memory of GPUs that is kept: none."""


def memory_allocated(device=None):
    """How many bytes on GPUs tensors take: 0."""
    return 0


def max_memory_allocated(device=None):
    """How many bytes on GPUs tensors took at most: 0."""
    return 0


def _needs_a_gpu(name):
    def function(*args, **kwargs):
        raise RuntimeError(f"cuda.{name}: there is no GPU; ferrograd runs on the CPU")

    function.__name__ = function.__qualname__ = name
    return function


synchronize, current_device, set_device, get_device_name, get_device_properties = map(
    _needs_a_gpu, "synchronize current_device set_device get_device_name get_device_properties".split()
)
