"""Settings that torch has for the whole program and that leave nothing to choose here: they are checked and kept."""

from ferrograd import _C
from ferrograd._C import Tensor

_kept = {"deterministic": False, "warn_only": False, "precision": "highest", "interop_threads": None}


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Asks for algorithms that always give the same result, as all do, whatever the number of threads."""
    _kept.update(deterministic=bool(mode), warn_only=bool(warn_only))


def are_deterministic_algorithms_enabled():
    """Whether deterministic algorithms were asked for."""
    return _kept["deterministic"]


def is_deterministic_algorithms_warn_only_enabled():
    """Whether only warnings of other algorithms were asked for."""
    return _kept["warn_only"]


def set_float32_matmul_precision(precision):
    """Allows matrix products of float32 to round more; they never do."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got {precision!r}")
    _kept["precision"] = precision


def get_float32_matmul_precision():
    """What was allowed to matrix products of float32."""
    return _kept["precision"]


def set_num_interop_threads(num):
    """Sets how many threads may run independent ops; ops run one after the other."""
    if num < 1:
        raise RuntimeError(f"set_num_interop_threads: expected a positive integer, got {num}")
    _kept["interop_threads"] = num


def get_num_interop_threads():
    """How many threads may run independent ops, if that was set, else how many kernels use."""
    return _kept["interop_threads"] or _C.get_num_threads()


def set_default_device(device):
    """Sets where new tensors are: on the CPU.

    Raises: RuntimeError for another device.
    """
    if device is not None:
        _C.device(device)


def get_default_device():
    """Where new tensors are: on the CPU."""
    return _C.device("cpu")


def typename(obj, /):
    """The full name of an object's type; of a tensor, as of old: ``torch.FloatTensor``."""
    if isinstance(obj, Tensor):
        return obj.type()
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(named, "__module__", None)
    return named.__qualname__ if module in (None, "builtins") else f"{module}.{named.__qualname__}"
