"""First values of parameters, filled in place without recording."""

import functools
import math
import warnings

import ferrograd
from ferrograd._C._autograd import _values

__all__ = [
    "calculate_gain", "constant", "constant_", "dirac", "dirac_", "eye", "eye_", "kaiming_normal", "kaiming_normal_",
    "kaiming_uniform", "kaiming_uniform_", "normal", "normal_", "ones_", "orthogonal", "orthogonal_", "sparse", "sparse_",
    "trunc_normal_", "uniform", "uniform_", "xavier_normal", "xavier_normal_", "xavier_uniform", "xavier_uniform_", "zeros_",
]  # fmt: skip

_LINEAR = {"linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3))}
_GAINS = {**dict.fromkeys(_LINEAR, 1), "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def calculate_gain(nonlinearity, param=None):
    """The factor of the standard deviation that this function after a layer asks for; `param` is the slope of leaky_relu."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {slope} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


@ferrograd.no_grad()
def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """From the uniform distribution on [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@ferrograd.no_grad()
def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """From the normal distribution."""
    return tensor.normal_(mean, std, generator=generator)


@ferrograd.no_grad()
def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """From the normal distribution, cut off to [a, b]."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect.", stacklevel=3
        )
    inside = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
    if inside > 0.3:
        tensor.copy_(_redrawn_normal(tensor, mean, std, a, b, generator))
    else:
        _rejected_uniform_(tensor, mean, std, a, b, generator)
    return tensor


def _normal_cdf(x):
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _redrawn_normal(tensor, mean, std, a, b, generator):
    """Normal numbers, drawn again where they are outside: as a whole, so that the stream is torch's."""
    # The ends in the tensor's precision.
    low, high = (_values(tensor.new_tensor(end)).item() for end in (a, b))
    x = tensor.normal_(mean, std, generator=generator)
    while True:
        outside = (x < low) | (x > high)
        if not _values(outside).any():
            return x
        x = ferrograd.where(outside, ferrograd.empty_like(x).normal_(mean, std, generator=generator), x)


def _rejected_uniform_(tensor, mean, std, a, b, generator):
    """Uniform numbers, accepted with the ratio of the density to its peak inside [a, b]: for far tails, which normal numbers miss."""
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def rejected(x):
        log_ratio = x.clone().sub_(mean).div_(std).pow_(2).mul_(-0.5).sub_(log_peak)
        return ferrograd.empty_like(x).uniform_(generator=generator).log_().gt(log_ratio)

    result = tensor.uniform_(a, b, generator=generator)
    pending = rejected(tensor)
    while _values(pending).any():
        x = ferrograd.empty_like(tensor).uniform_(a, b, generator=generator)
        result = ferrograd.where(pending, x, result)
        pending = pending & rejected(x)
    tensor.copy_(result)


@ferrograd.no_grad()
def constant_(tensor, val):
    """`val` everywhere."""
    return tensor.fill_(val)


def ones_(tensor):
    """1 everywhere."""
    return constant_(tensor, 1.0)


@ferrograd.no_grad()
def zeros_(tensor):
    """0 everywhere."""
    return tensor.zero_()


@ferrograd.no_grad()
def eye_(tensor):
    """1 on the diagonal of a matrix, 0 elsewhere: a linear layer keeps as many inputs as it can."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    tensor.zero_().diagonal().fill_(1)
    return tensor


@ferrograd.no_grad()
def dirac_(tensor, groups=1):
    """A convolution kernel (3 to 5 dimensions) that keeps as many channels as it can, in each group."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.size(0) % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    out = tensor.size(0) // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    tensor.zero_()
    for group in range(groups):
        for channel in range(min(out, tensor.size(1))):
            tensor[(group * out + channel, channel, *centre)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor):
    """How many inputs an output has, and how many outputs an input: the second and first size times the area of the kernel."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    area = math.prod(tensor.shape[2:])
    return tensor.size(1) * area, tensor.size(0) * area


def _calculate_correct_fan(tensor, mode):
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _xavier_std(tensor, gain):
    return gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Uniform with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    a = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _kaiming_std(tensor, a, mode, nonlinearity):
    """None for tensors without elements."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Uniform with standard deviation gain / sqrt(fan) (He et al. 2015); `a` is the slope of leaky_relu."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Normal with standard deviation gain / sqrt(fan) (He et al. 2015); `a` is the slope of leaky_relu."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0, std, generator)


@ferrograd.no_grad()
def orthogonal_(tensor, gain=1, generator=None):
    """`gain` times a matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2013); later dims count as one."""
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    x = tensor.new_empty((rows, tensor.numel() // rows)).normal_(0, 1, generator=generator)
    wide = rows < x.size(1)
    q, r = ferrograd.linalg.qr(x.t() if wide else x)
    # The signs that make the distribution uniform.
    q = q * r.diagonal().sign()
    return tensor.copy_((q.t() if wide else q).reshape(tensor.shape)).mul_(gain)


@ferrograd.no_grad()
def sparse_(tensor, sparsity, std=0.01, generator=None):
    """A normal matrix with this fraction of each column set to 0."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[ferrograd.randperm(rows)[:zeros], column] = 0
    return tensor


def _deprecated(new):
    @functools.wraps(new)
    def old(*args, **kwargs):
        warnings.warn(f"`nn.init.{old.__name__}` is now deprecated in favor of `nn.init.{new.__name__}`.", FutureWarning, stacklevel=2)
        return new(*args, **kwargs)

    old.__name__ = new.__name__.rstrip("_")
    return old


uniform, normal, constant, eye, dirac = map(_deprecated, (uniform_, normal_, constant_, eye_, dirac_))
xavier_uniform, xavier_normal = map(_deprecated, (xavier_uniform_, xavier_normal_))
kaiming_uniform, kaiming_normal = map(_deprecated, (kaiming_uniform_, kaiming_normal_))
orthogonal, sparse = map(_deprecated, (orthogonal_, sparse_))
