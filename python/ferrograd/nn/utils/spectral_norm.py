"""A weight divided by its largest singular value; the old form, a hook that computes it before each forward."""

import ferrograd
from ferrograd.nn.functional import normalize
from ferrograd.nn.parameter import Parameter, is_lazy
from ferrograd.utils.hooks import find

__all__ = ["SpectralNorm", "SpectralNormLoadStateDictPreHook", "SpectralNormStateDictHook", "remove_spectral_norm", "spectral_norm"]


def as_matrix(weight, dim):
    """A matrix with a row for each index of `dim`."""
    return weight.movedim(dim, 0).flatten(1)


def default_dim(module):
    """The dim of a layer's outputs in its weight: the second in transposed convolutions."""
    return 1 if getattr(module, "transposed", False) else 0


class SpectralNorm:
    """The hook of `spectral_norm`."""

    _version = 1

    def __init__(self, name="weight", n_power_iterations=1, dim=0, eps=1e-12):
        if n_power_iterations <= 0:
            raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def compute_weight(self, module, do_power_iteration):
        """The weight divided by u·W·v, where u and v come closer to the first singular vectors with each iteration."""
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with ferrograd.no_grad():
                for _ in range(self.n_power_iterations):
                    normalize(matrix.t().mv(u), dim=0, eps=self.eps, out=v)
                    normalize(matrix.mv(v), dim=0, eps=self.eps, out=u)
                # The tape keeps these; the next call changes the buffers.
                u, v = u.clone(), v.clone()
        return weight / ferrograd.dot(u, matrix.mv(v))

    @staticmethod
    def apply(module, name, n_power_iterations, dim, eps):
        """Replaces the parameter and registers the hooks."""
        if find(module._forward_pre_hooks, SpectralNorm, name) is not None:
            raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
        self = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ValueError("The module passed to `SpectralNorm` can't have uninitialized parameters: call its forward first")
        with ferrograd.no_grad():
            u, v = (normalize(weight.new_empty(n).normal_(0, 1), dim=0, eps=eps) for n in as_matrix(weight, dim).shape)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        # A plain attribute: the hook sets it anew before each forward.
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(self)
        module._register_state_dict_hook(SpectralNormStateDictHook(self))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(self))
        return self

    def remove(self, module):
        """Makes the weight a parameter again."""
        with ferrograd.no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for end in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


class _StateHook:
    def __init__(self, fn):
        self.fn = fn

    @property
    def name(self):
        """The name of the parameter."""
        return self.fn.name


class SpectralNormLoadStateDictPreHook(_StateHook):
    """Computes v for states of the time when it was not saved: W = W_orig / (u·W_orig·v)."""

    def __call__(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        name = prefix + self.name
        version = local_metadata.get("spectral_norm", {}).get(self.name + ".version")
        if version is not None and version >= 1:
            return
        if version is None and name not in state_dict and all(name + end in state_dict for end in ("_orig", "_u", "_v")):
            return
        missing = [name + end for end in ("_orig", "", "_u") if name + end not in state_dict]
        if missing:
            missing_keys.extend(missing if strict else ())
            return
        with ferrograd.no_grad():
            original, u = state_dict[name + "_orig"], state_dict[name + "_u"]
            sigma = (original / state_dict.pop(name)).mean()
            matrix = as_matrix(original, self.fn.dim)
            v = matrix.t().mm(matrix).pinverse().mv(matrix.t().mv(u))
            state_dict[name + "_v"] = v * (sigma / ferrograd.dot(u, matrix.mv(v)))


class SpectralNormStateDictHook(_StateHook):
    """Notes in the state that v is saved."""

    def __call__(self, module, state_dict, prefix, local_metadata):
        versions = local_metadata.setdefault("spectral_norm", {})
        key = self.name + ".version"
        if key in versions:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        versions[key] = self.fn._version


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divides a parameter by its largest singular value (Miyato et al. 2018), found by power iterations while training.

    The parameter is `name_orig` from now on; the singular vectors are the buffers `name_u` and `name_v`.
    """
    SpectralNorm.apply(module, name, n_power_iterations, default_dim(module) if dim is None else dim, eps)
    return module


def remove_spectral_norm(module, name="weight"):
    """Makes the weight a parameter again."""
    key = find(module._forward_pre_hooks, SpectralNorm, name)
    if key is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    module._forward_pre_hooks.pop(key).remove(module)
    module._state_dict_hooks.pop(find(module._state_dict_hooks, SpectralNormStateDictHook, name), None)
    module._load_state_dict_pre_hooks.pop(find(module._load_state_dict_pre_hooks, SpectralNormLoadStateDictPreHook, name), None)
    return module
