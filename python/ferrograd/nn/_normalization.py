"""The normalizing layers as functions, in the order of arguments that ``nn.functional`` has."""

from ferrograd import _C
from ferrograd._checks import overridable

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"]


def _check_more_than_one(what, size, places):
    """Fails if each channel has one value, which is its own mean."""
    count = 1
    for place in places:
        count *= place
    if count == 1:
        raise ValueError(f"Expected more than 1 {what} when training, got input size {size}")


@overridable
def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Each channel less its mean over the batch, over its deviation; see ``ferrograd.batch_norm``."""
    if training:
        _check_more_than_one("value per channel", input.size(), (input.size(0), *input.size()[2:]))
        if eps <= 0.0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    if eps < 0.0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    return _C.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, True)


@overridable
def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """Each channel of each sample less its mean, over its deviation; see ``ferrograd.instance_norm``."""
    if use_input_stats:
        _check_more_than_one("spatial element", input.size(), input.size()[2:])
    return _C.instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, True)


@overridable
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """The last dims less their mean, over their deviation; see ``ferrograd.layer_norm``."""
    return _C.layer_norm(input, normalized_shape, weight, bias, eps)


@overridable
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """The last dims over the root of their mean square; see ``ferrograd.rms_norm``."""
    return _C.rms_norm(input, normalized_shape, weight, eps)


@overridable
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Each group of channels of each sample less its mean, over its deviation; see ``ferrograd.group_norm``."""
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    size = input.size()
    sizes = [size[0] * size[1] // num_groups, num_groups, *size[2:]]
    _check_more_than_one("value per channel", sizes, (sizes[0], *size[2:]))
    return _C.group_norm(input, num_groups, weight, bias, eps)


def _native_batch_norm_legit(*args, **kwargs):
    """``ferrograd.native_batch_norm``, also without running averages: then what follows the bias is `training`."""
    if len(args) > 3 and isinstance(args[3], bool):
        args = (*args[:3], None, None, *args[3:])
    elif len(args) <= 3:
        kwargs = {"running_mean": None, "running_var": None, **kwargs}
    return _C._native_batch_norm_legit(*args, **kwargs)
