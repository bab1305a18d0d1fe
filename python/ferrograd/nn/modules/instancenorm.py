"""Normalization of the channels of each sample."""

import warnings

from ferrograd.nn import functional as F
from ferrograd.nn.modules.batchnorm import _LazyNormBase, _NormBase

__all__ = [f"{lazy}InstanceNorm{n}d" for lazy in ("", "Lazy") for n in (1, 2, 3)]


class _InstanceNorm(_NormBase):
    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=False,
        track_running_stats=False,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _normalized(self, input):
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )

    def forward(self, input):
        self._check_input_dim(input)
        without_batch = input.dim() == self._dims[0]
        dim = 0 if without_batch else 1
        if input.size(dim) != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={dim} to match num_features ({self.num_features}), but got: {input.size(dim)}."
                )
            warnings.warn(f"input's size at dim={dim} is not num_features, which has no effect as affine=False", stacklevel=2)
        if without_batch:
            return self._normalized(input.unsqueeze(0)).squeeze(0)
        return self._normalized(input)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        if local_metadata.get("version") is None and not self.track_running_stats:
            found = [n for n in ("running_mean", "running_var") if state_dict.pop(prefix + n, None) is not None]
            if found:
                name = type(self).__name__
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {' and '.join(prefix + n for n in found)} for {name} with "
                    f"track_running_stats=False: remove these keys, or make the {name} with track_running_stats=True."
                )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class InstanceNorm1d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) for each channel of each sample, over its positions.

    `weight`, `bias` and running statistics, which evaluation takes then, only if asked for by `affine` and `track_running_stats`.
    Shape: (n, c, l) or (c, l), kept.
    """

    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` of images: (n, c, h, w) or (c, h, w)."""

    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` of volumes: (n, c, d, h, w) or (c, d, h, w)."""

    _dims = (4, 5)


class LazyInstanceNorm1d(_LazyNormBase, _InstanceNorm):
    """An `InstanceNorm1d` whose `num_features` are the channels (dim 1) of the first input."""

    cls_to_become = InstanceNorm1d
    _dims = InstanceNorm1d._dims


class LazyInstanceNorm2d(_LazyNormBase, _InstanceNorm):
    """An `InstanceNorm2d` whose `num_features` are the channels (dim 1) of the first input."""

    cls_to_become = InstanceNorm2d
    _dims = InstanceNorm2d._dims


class LazyInstanceNorm3d(_LazyNormBase, _InstanceNorm):
    """An `InstanceNorm3d` whose `num_features` are the channels (dim 1) of the first input."""

    cls_to_become = InstanceNorm3d
    _dims = InstanceNorm3d._dims
