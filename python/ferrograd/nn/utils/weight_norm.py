"""A weight as a length times a direction; the old form, a hook that computes it before each forward."""

import warnings

from ferrograd.nn.parameter import Parameter, is_lazy
from ferrograd.utils.hooks import find

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


def norm_except_dim(x, dim):
    """The norm over all dims but one, which keep the size 1; over all for -1."""
    if dim == -1:
        return x.norm()
    return x.norm(2, [d for d in range(x.dim()) if d != dim % x.dim()], keepdim=True) if x.dim() > 1 else x.abs()


def scaled(v, g, dim):
    """g * v / ‖v‖, with the norm of `norm_except_dim`."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook of `weight_norm`."""

    def __init__(self, name, dim):
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module):
        """The weight from its two parameters."""
        return scaled(getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim)

    @staticmethod
    def apply(module, name, dim):
        """Splits the parameter and registers the hook."""
        warnings.warn("`nn.utils.weight_norm` is deprecated in favor of `nn.utils.parametrizations.weight_norm`.", FutureWarning, stacklevel=3)
        if find(module._forward_pre_hooks, WeightNorm, name) is not None:
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        self = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError("The module passed to `WeightNorm` can't have uninitialized parameters: call its forward first")
        del module._parameters[name]
        module.register_parameter(name + "_g", Parameter(norm_except_dim(weight, self.dim).data))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, self.compute_weight(module))
        module.register_forward_pre_hook(self)
        return self

    def remove(self, module):
        """Makes the weight a parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"], module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module, name="weight", dim=0):
    """Replaces a parameter by the length `name_g` and the direction `name_v`, one length for each index of `dim`."""
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module, name="weight"):
    """Makes the weight a parameter again."""
    key = find(module._forward_pre_hooks, WeightNorm, name)
    if key is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    module._forward_pre_hooks.pop(key).remove(module)
    return module
