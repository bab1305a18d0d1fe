"""Calls of modules with parameters that are not their own."""

from contextlib import contextmanager

from ferrograd._C import Tensor, stack

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]


# In the place of an attribute that the module does not have.
_ABSENT = object()


def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """``module(*args, **kwargs)`` with the parameters and buffers of these names replaced by these tensors.

    Takes one dict or several. Names that are tied in the module are replaced together, unless `tie_weights` is off. With
    `strict`, every name must be given, and none that the module does not know.
    """
    given = _merged(parameter_and_buffer_dicts)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    known = _state(module)
    if "" in given:
        raise KeyError('functional_call: a tensor name can\'t be the empty string ""')
    replaced = _tied(known, given) if tie_weights else given
    if strict:
        missing, unexpected = [n for n in known if n not in replaced], [n for n in replaced if n not in known]
        if missing or unexpected:
            raise RuntimeError(
                f"Error(s) in functional_call: missing keys {missing}, unexpected keys {unexpected} for {type(module).__name__}"
            )
    with _swapped(module, replaced, given):
        return module(*args, **(kwargs or {}))


def _merged(dicts):
    if isinstance(dicts, dict):
        return dicts
    if not (isinstance(dicts, (list, tuple)) and all(isinstance(d, dict) for d in dicts)):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, "
            f"but got {type(dicts) if not isinstance(dicts, (list, tuple)) else [type(d) for d in dicts]}"
        )
    merged = {}
    for part in dicts:
        for key in part:
            if key in merged:
                raise ValueError(f"{key} appears in multiple dictionaries; behavior of functional call is ambiguous")
        merged.update(part)
    return merged


def _named(method):
    try:
        return method(remove_duplicate=False)
    except TypeError:
        return method()


def _state(module):
    """All parameters and buffers by name, the tied ones under each of their names."""
    buffers = getattr(module, "named_buffers", None)
    return dict(_named(module.named_parameters)) | dict(_named(buffers) if buffers else ())


def _tied(known, replaced):
    groups = {}
    for name, tensor in known.items():
        groups.setdefault(id(tensor), []).append(name)
    tied = dict(replaced)
    for names in groups.values():
        given = {name: replaced[name] for name in names if name in replaced}
        if len({id(tensor) for tensor in given.values()}) > 1:
            raise ValueError(f"functional_call got multiple values for keys {list(given)}, which are tied. Consider using tie_weights=False")
        for name in names:
            tied.update({name: tensor for tensor in list(given.values())[:1]})
    return tied


@contextmanager
def _swapped(module, tensors, given):
    """Inside, the module has these tensors. What it has put in their places since is in `given` afterwards."""
    before = []
    try:
        for path, tensor in list(tensors.items()):
            owner, name = _owner(module, path)
            before.append((path, owner, name, _exchange(owner, name, tensor)))
        yield
    finally:
        for path, owner, name, tensor in reversed(before):
            now = _exchange(owner, name, tensor)
            if path in given:
                given[path] = now


def _owner(module, path):
    *parents, name = path.split(".")
    for parent in parents:
        module = getattr(module, parent)
    return module, name


def _exchange(owner, name, tensor):
    """Puts a tensor in the place of this name, past the checks of the module; answers the one before."""
    for registry in ("_parameters", "_buffers"):
        entries = getattr(owner, registry, {})
        if name in entries:
            before, entries[name] = entries[name], tensor
            return before
    before = getattr(owner, name, _ABSENT)
    if tensor is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, tensor)
    return before


def stack_module_state(models):
    """``(parameters, buffers)``: dicts of what the modules, all of one class, have under each name, stacked."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or not any(m.training for m in models)):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if not all(type(m) is type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return _stacked(parameters), _stacked(buffers)


def replace_all_batch_norm_modules_(root):
    """Makes the batch norms in a module, and itself if it is one, work without running statistics; answers the module."""
    from ferrograd.nn.modules.batchnorm import _BatchNorm

    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def _stacked(states):
    def joined(tensors: list[Tensor]):
        wanted = [x.requires_grad for x in tensors]
        if all(wanted) != any(wanted):
            raise RuntimeError("Expected tensors from each model to have the same .requires_grad")
        return stack([x.detach() for x in tensors]).requires_grad_(wanted[0])

    return {name: joined([state[name] for state in states]) for name in states[0]}
