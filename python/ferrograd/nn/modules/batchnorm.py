"""Normalization of channels over a batch."""

import ferrograd
from ferrograd.nn import functional as F
from ferrograd.nn.modules.lazy import LazyLayer
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import check_input_dim, options, register_parameter, reset_scale_and_shift
from ferrograd.nn.parameter import UninitializedBuffer

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "SyncBatchNorm",
]  # fmt: skip


class _NormBase(Module):
    """Parameters and running statistics of normalizations of channels."""

    # Version 2 has `num_batches_tracked`.
    _version = 2
    # The numbers of dims that an input may have.
    _dims = None

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        register_parameter(self, "weight", num_features, affine, device, dtype)
        register_parameter(self, "bias", num_features, affine and bias, device, dtype)
        mean = var = count = None
        if track_running_stats:
            mean = ferrograd.zeros(num_features, device=device, dtype=dtype)
            var = ferrograd.ones(num_features, device=device, dtype=dtype)
            count = ferrograd.tensor(0, dtype=ferrograd.long, device=device)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self):
        """The running mean and the count 0, the running variance 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        self.reset_running_stats()
        if self.affine:
            reset_scale_and_shift(self)

    def _check_input_dim(self, input):
        if self._dims is None:
            raise NotImplementedError
        check_input_dim(input, self._dims)

    def extra_repr(self):
        return (
            f"{self.num_features}, {options(self, 'eps', 'momentum', 'affine')}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        key = prefix + "num_batches_tracked"
        if (local_metadata.get("version") or 0) < 2 and self.track_running_stats and key not in state_dict:
            count = self.num_batches_tracked
            state_dict[key] = ferrograd.tensor(0, dtype=ferrograd.long) if count is None else count
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


class _BatchNorm(_NormBase):
    def forward(self, input):
        self._check_input_dim(input)
        mean, var = self.running_mean, self.running_var
        momentum = self.momentum
        batch_statistics = self.training or (mean is None and var is None)
        if self.training:
            if not self.track_running_stats:
                mean = var = None
            else:
                count = self.num_batches_tracked
                if count is not None:
                    count.add_(1)
                    if momentum is None:
                        momentum = 1.0 / float(count)
        # Without momentum the running statistics are the mean over all batches.
        momentum = 0.0 if momentum is None else momentum
        return F.batch_norm(input, mean, var, self.weight, self.bias, batch_statistics, momentum, self.eps)


class _LazyNormBase(LazyLayer, _NormBase):
    _learned_size = "num_features"

    def __init__(
        self, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None, *, bias=True
    ):
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self._forget_parameters(bias, device, dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = ferrograd.tensor(0, dtype=ferrograd.long, device=device)

    def initialize_parameters(self, input):
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
                if tensor is not None:
                    tensor.materialize((self.num_features,))
            self.reset_parameters()


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel, over the batch and positions.

    In evaluation, mean and variance are the running ones, which training updates: running = (1 - momentum) running + momentum new,
    with the variance of a sample (divided by n - 1). `momentum` None: they are the mean over all batches.
    Shape: (n, c) or (n, c, l), kept.
    """

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` of images: (n, c, h, w)."""

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` of volumes: (n, c, d, h, w)."""

    _dims = (5,)


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """A `BatchNorm1d` whose `num_features` are the channels of the first input."""

    cls_to_become = BatchNorm1d
    _dims = BatchNorm1d._dims


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """A `BatchNorm2d` whose `num_features` are the channels of the first input."""

    cls_to_become = BatchNorm2d
    _dims = BatchNorm2d._dims


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """A `BatchNorm3d` whose `num_features` are the channels of the first input."""

    cls_to_become = BatchNorm3d
    _dims = BatchNorm3d._dims


class SyncBatchNorm(_BatchNorm):
    """Batch normalization over all processes; there is one, so it is that of its own batch. Shape: (n, c, *)."""

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        process_group=None,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """The module with each batch normalization inside replaced by a `SyncBatchNorm` with the same parameters and buffers."""
        converted = module
        if isinstance(module, _BatchNorm):
            converted = SyncBatchNorm(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            if module.affine:
                converted.weight = module.weight
                converted.bias = module.bias
            for name in ("running_mean", "running_var", "num_batches_tracked", "training"):
                setattr(converted, name, getattr(module, name))
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted
