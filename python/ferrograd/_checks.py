"""What functions written in Python ask of their arguments."""

from ferrograd._C import Tensor


def check_tensor(op, name, value):
    """Fails unless an argument is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}(): argument '{name}' must be Tensor, not {type(value).__name__}")


def check_tensors(op, values):
    """Fails unless an argument is a sequence of tensors."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{op}(): argument 'tensors' must be tuple of Tensors, not {type(values).__name__}")
    for i, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}(): expected Tensor as element {i}, but got {type(value).__name__}")
