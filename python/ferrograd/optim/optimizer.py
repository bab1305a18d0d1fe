"""What all optimizers have: groups of parameters with options, state of each parameter, hooks."""

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from copy import deepcopy
from itertools import chain

import ferrograd
from ferrograd import Tensor
from ferrograd._checks import typename
from ferrograd.utils.hooks import RemovableHandle  # noqa: F401
from ferrograd.utils.hooks import register as _register

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

# What an optimizer takes as parameters, for annotations.
ParamsT = Iterable

_global_pre_hooks = OrderedDict()
_global_post_hooks = OrderedDict()

_HOOKS = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


class _Required:
    def __repr__(self):
        return "<required parameter>"


# The default of an option that each group must give.
required = _Required()


def register_optimizer_step_pre_hook(hook):
    """Calls `hook(optimizer, args, kwargs)` before each step of any optimizer; see `Optimizer.register_step_pre_hook`."""
    return _register(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Calls `hook(optimizer, args, kwargs)` after each step of any optimizer."""
    return _register(_global_post_hooks, hook)


def _hooked(step):
    """`step` between the hooks."""

    @functools.wraps(step)
    def wrapper(*args, **kwargs):
        self = args[0]
        if self._optimizer_step_pre_hooks or _global_pre_hooks:
            for hook in chain(_global_pre_hooks.values(), self._optimizer_step_pre_hooks.values()):
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}.")
                    args, kwargs = changed
        out = step(*args, **kwargs)
        if self._optimizer_step_post_hooks or _global_post_hooks:
            for hook in chain(self._optimizer_step_post_hooks.values(), _global_post_hooks.values()):
                hook(self, args, kwargs)
        return out

    wrapper.hooked = True
    return wrapper


class Optimizer:
    """Base of the optimizers.

    `params` are tensors, pairs of name and tensor, or dicts: groups with "params" and options of their own, in place of the
    `defaults`. `state` has a dict for each parameter.
    """

    def __init__(self, params, defaults):
        self.defaults = defaults
        for name in _HOOKS:
            setattr(self, name, OrderedDict())
        self._patch_step_function()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got " + params.type()
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _patch_step_function(self):
        """Puts the step of this class between the hooks, once."""
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = _hooked(cls.step)

    def __getstate__(self):
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state):
        self.__dict__.update(state)
        for name in _HOOKS:
            self.__dict__.setdefault(name, OrderedDict())
        self._patch_step_function()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self):
        groups = []
        for i, group in enumerate(self.param_groups):
            options = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            groups.append(f"\nParameter Group {i}\n" + "".join(options))
        return f"{type(self).__name__} ({''.join(groups)})"

    def step(self, closure=None):
        """Changes the parameters by their gradients. `closure` computes the loss and its gradients again, and returns the loss."""
        raise NotImplementedError

    def zero_grad(self, set_to_none=True):
        """Forgets the gradients of all parameters, or sets them to 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    if p.grad.grad_fn is not None:
                        p.grad.detach_()
                    else:
                        p.grad.requires_grad_(False)
                    p.grad.zero_()

    def add_param_group(self, param_group):
        """Adds a group: a dict with "params", and options in place of the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets will "
                "change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [param[0] for param in params if isinstance(param, tuple)]
        if names and len(names) != len(params):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        params = param_group["params"] = [param[1] if isinstance(param, tuple) else param for param in params]
        if names:
            param_group["param_names"] = names
        for param in params:
            self._check_parameter(param)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        self._check_group(param_group)
        self.param_groups.append(param_group)

    def _check_parameter(self, param):
        if not isinstance(param, Tensor):
            raise TypeError("optimizer can only optimize Tensors, but one of the params is " + typename(param))
        if not self.defaults.get("differentiable", None) and not (param.is_leaf or param.retains_grad):
            raise ValueError("can't optimize a non-leaf Tensor")

    def _check_group(self, new):
        for group in self.param_groups:
            if ("param_names" in new) != ("param_names" in group):
                which = "with names" if "param_names" in new else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {which} to the optimizer"
                )
        if not set(chain.from_iterable(g["params"] for g in self.param_groups)).isdisjoint(new["params"]):
            raise ValueError("some parameters appear in more than one parameter group")

    def state_dict(self):
        """State and options as plain data, with numbers in place of the parameters. Its tensors are those of the optimizer."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers, start, groups = {}, 0, []
        for group in self.param_groups:
            for i, p in enumerate(group["params"], start):
                numbers.setdefault(id(p), i)
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
            start += len(group["params"])
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict):
        """Takes over state and options from what `state_dict` of an optimizer with groups of the same sizes returned."""
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(groups, saved)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of optimizer's group")
        numbers = chain.from_iterable(group["params"] for group in saved)
        params = dict(zip(numbers, chain.from_iterable(group["params"] for group in groups)))
        state = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                options = next((g for g in state_dict["param_groups"] if key in g["params"]), {})
                state[params[key]] = _for_parameter(params[key], value, options)
            else:
                state[key] = value
        for group, new in zip(groups, saved):
            new["params"] = group["params"]
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def register_step_pre_hook(self, hook):
        """Calls `hook(optimizer, args, kwargs)` before each step; it may answer other (args, kwargs)."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Calls `hook(optimizer, args, kwargs)` after each step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend=False):
        """Calls `hook(optimizer)` before `state_dict`; `prepend`: before the other hooks."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend=False):
        """Calls `hook(optimizer, state_dict)` after `state_dict`; it may answer another one."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend=False):
        """Calls `hook(optimizer, state_dict)` before loading a copy of `state_dict`; it may answer another one."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend=False):
        """Calls `hook(optimizer)` after `load_state_dict`."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def _for_parameter(param, value, options, key=None):
    """Loaded state in the dtype of its parameter. The count of steps keeps its own, unless it is that of a fused step."""
    if isinstance(value, Tensor):
        if key == "step":
            return value.to(dtype=ferrograd.float32) if options.get("fused") or options.get("capturable") else value
        return value.to(dtype=param.dtype) if param.is_floating_point() else value
    if isinstance(value, dict):
        return {k: _for_parameter(param, v, options, k) for k, v in value.items()}
    if isinstance(value, Iterable):
        return type(value)(_for_parameter(param, v, options) for v in value)
    return value


# Options that states saved long ago may lack.
_ADDED = {
    "foreach": None,
    "fused": None,
    **dict.fromkeys(("amsgrad", "capturable", "centered", "decoupled_weight_decay", "differentiable", "maximize"), False),
}


class _ByLists(Optimizer):
    """An optimizer whose step is a function of lists: parameters that have a gradient, their gradients, and their state.

    `_change` is the function, `_lists` names the tensors of the state in the order it takes them. It has all options as
    keywords, but for those `_kept`; a pair like `betas` is given as what `_pairs` calls its halves.
    """

    _kept = ()
    _pairs = {"betas": ("beta1", "beta2")}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "_change" in vars(cls):
            code = cls.__init__.__code__
            # Programs put names of their own among `defaults`, which the function does not know.
            cls._names = frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]).difference(cls._kept)

    def _begin(self, p, group):
        """The state of a parameter before its first step."""
        raise NotImplementedError

    def step(self, closure=None):
        """Changes the parameters by their gradients. `closure` computes the loss and its gradients again, and returns the loss."""
        loss = _closure_loss(closure)
        with ferrograd.set_grad_enabled(self.defaults.get("differentiable", False)):
            for group in self.param_groups:
                rows = []
                for p in group["params"]:
                    grad = p.grad
                    if grad is not None:
                        state = self.state[p]
                        if not state:
                            state.update(self._begin(p, group))
                        rows.append((p, grad, *map(state.get, self._lists)))
                if rows:
                    self._change(*zip(*rows), **self._options(group))
        return loss

    def _options(self, group):
        options = {name: group[name] for name in self.defaults if name in self._names}
        for pair, names in self._pairs.items():
            if pair in options:
                options.update(zip(names, options.pop(pair)))
        return options

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in _ADDED.items():
                if name in self.defaults and name not in self._kept:
                    group.setdefault(name, value)
            for p in group["params"]:
                state = self.state.get(p, {})
                for key in ("step", "eta", "mu", "mu_product"):
                    if key in state and not isinstance(state[key], Tensor):
                        state[key] = _count(float(state[key]), group.get("fused"))


def _each(params, grads, steps, *lists, maximize=False, weight_decay=0):
    """Each parameter, its gradient, the number of its step, which is counted up, and what else is listed.

    Gradients are turned around if asked for, and decayed; complex numbers are pairs of real ones.
    """
    lists = [some or [None] * len(params) for some in lists]
    for p, g, step, *state in zip(params, grads, steps, *lists, strict=True):
        step += 1
        if p.is_complex():
            p, g, *state = (ferrograd.view_as_real(x) if x is not None and x.is_complex() else x for x in (p, g, *state))
        if maximize:
            g = -g
        if weight_decay != 0:
            g = g.add(p, alpha=_number(weight_decay))
        yield p, g, step, *state


def _closure_loss(closure):
    """What `closure` returns, computed with gradients."""
    if closure is None:
        return None
    with ferrograd.enable_grad():
        return closure()


def _check_lr(lr):
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not 0.0 <= lr:
        raise ValueError(f"Invalid learning rate: {lr}")


def _check_not_negative(**values):
    for name, value in values.items():
        if not 0.0 <= value:
            raise ValueError(f"Invalid {name} value: {value}")


def _check_betas(betas):
    for i in range(2):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def _check_implementation(fused, foreach, differentiable):
    """Fails for what torch refuses. Here every step is fused, whatever they say."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def _check_step(params, steps, foreach=False, capturable=False, differentiable=False):
    """Fails for what torch's steps refuse."""
    if steps and not isinstance(steps[0], Tensor):
        raise RuntimeError("`state_steps` argument must contain a list of singleton tensors")
    if foreach and differentiable:
        raise AssertionError("_foreach ops don't support autograd")
    if capturable and params:
        raise AssertionError("If capturable=True, params and state_steps must be on supported devices, of which there are none.")


def _check_fused(p):
    if not p.is_floating_point():
        raise RuntimeError(f"`fused=True` requires all the params to be floating point Tensors, but one is {p.dtype}")


def _scalar(x):
    """A tensor of one element without dims; anything else as it is."""
    return x.squeeze() if isinstance(x, Tensor) and x.dim() else x


def _number(x):
    """A tensor as a number, unless the step is to be differentiated by it."""
    if not isinstance(x, Tensor):
        return x
    if x.requires_grad:
        raise TypeError("this option must be a number or a tensor that does not require grad")
    return x.item()


def _count(value, fused=False):
    """A number, of steps or so, as a tensor."""
    double = ferrograd.get_default_dtype() == ferrograd.float64 and not fused
    return ferrograd.tensor(value, dtype=ferrograd.float64 if double else ferrograd.float32)
