"""How a state_dict gets into a module and those below it."""

from collections import OrderedDict, namedtuple
from collections.abc import Mapping

import ferrograd
from ferrograd._C import Tensor
from ferrograd.nn.parameter import Parameter, is_lazy


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ("missing_keys", "unexpected_keys"))):
    """The keys that a state_dict did not have, and those that no module took."""

    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def load_tree(root, state_dict, strict, assign):
    """What `Module.load_state_dict` does."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    missing, unexpected, errors = [], [], []
    metadata = getattr(state_dict, "_metadata", None)
    # A copy, which modules and hooks may change.
    state_dict = OrderedDict(state_dict)
    if metadata is not None:
        state_dict._metadata = metadata

    def load(module, local_state, prefix=""):
        local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
        if assign:
            local_metadata["assign_to_params_buffers"] = assign
        module._load_from_state_dict(local_state, prefix, local_metadata, True, missing, unexpected, errors)
        for name, child in module._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                load(child, {k: v for k, v in local_state.items() if k.startswith(below)}, below)
        for hook in module._load_state_dict_post_hooks.values():
            if hook(module, _IncompatibleKeys(missing, unexpected)) is not None:
                raise AssertionError("load_state_dict post-hook must return None: it changes incompatible_keys in place")

    load(root, state_dict)
    # It refers to itself: what it holds would stay until the garbage collector comes.
    del load
    if strict:
        for kind, keys in (("Unexpected", unexpected), ("Missing", missing)):
            if keys:
                names = ", ".join(f'"{k}"' for k in keys)
                errors.insert(0, f"{kind} key(s) in state_dict: {names}. ")
    if errors:
        raise RuntimeError("Error(s) in loading state_dict for {}:\n\t{}".format(type(root).__name__, "\n\t".join(errors)))
    return _IncompatibleKeys(missing, unexpected)


def load_tensor(module, name, param, key, value, assign, error_msgs):
    """Copies `value` into the parameter or buffer `name`, or puts it in its place; adds to `error_msgs` what is wrong with it."""
    if not isinstance(value, Tensor):
        error_msgs.append(
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from checkpoint but '
            f"received {type(value)}"
        )
        return
    if not is_lazy(param):
        # Scalars of old checkpoints have one dimension.
        if param.dim() == 0 and value.shape == (1,):
            value = value[0]
        if value.shape != param.shape:
            error_msgs.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, the shape in current model "
                f"is {param.shape}."
            )
            return
    try:
        with ferrograd.no_grad():
            if not assign:
                param.copy_(value)
                return
            if isinstance(param, Parameter):
                if isinstance(value, Parameter):
                    value.requires_grad_(param.requires_grad)
                else:
                    value = Parameter(value, param.requires_grad)
            setattr(module, name, value)
    except Exception as error:
        error_msgs.append(
            f'While copying the parameter named "{key}", whose dimensions in the model are {param.size()} and whose dimensions '
            f"in the checkpoint are {value.size()}, an exception occurred : {error.args}."
        )
