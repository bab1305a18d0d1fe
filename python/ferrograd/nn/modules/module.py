"""The base of all layers and models: parameters, buffers, submodules, hooks and the state."""

import itertools
import warnings
from collections import OrderedDict
from types import SimpleNamespace

import ferrograd
from ferrograd._C import Tensor
from ferrograd._checks import typename as _typename
from ferrograd.nn.modules._hooked_call import HookedCall
from ferrograd.nn.modules._loading import load_tensor, load_tree
from ferrograd.nn.parameter import Buffer, Parameter, is_lazy
from ferrograd.utils.hooks import WrappedHook as _WrappedHook
from ferrograd.utils.hooks import register as _register

# Names that programs expect here, as in torch.
from ferrograd.nn.modules._loading import _IncompatibleKeys  # noqa: F401
from ferrograd.utils.hooks import BackwardHook, RemovableHandle  # noqa: F401

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

_EXTRA_STATE = "_extra_state"

# Hooks of all modules.
_global_buffer_registration_hooks = OrderedDict()
_global_module_registration_hooks = OrderedDict()
_global_parameter_registration_hooks = OrderedDict()
_global_backward_pre_hooks = OrderedDict()
_global_backward_hooks = OrderedDict()
_global_is_full_backward_hook = None
_global_forward_pre_hooks = OrderedDict()
_global_forward_hooks = OrderedDict()
_global_forward_hooks_always_called = OrderedDict()
_global_forward_hooks_with_kwargs = OrderedDict()


def register_module_buffer_registration_hook(hook):
    """Calls `hook(module, name, buffer)` before any module registers a buffer; a result replaces the buffer."""
    return _register(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook):
    """Calls `hook(module, name, submodule)` before any module registers a submodule; a result replaces it."""
    return _register(_global_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook):
    """Calls `hook(module, name, parameter)` before any module registers a parameter; a result replaces it."""
    return _register(_global_parameter_registration_hooks, hook)


def register_module_forward_pre_hook(hook):
    """Calls `hook(module, args)` before the forward of any module; a result replaces the arguments."""
    return _register(_global_forward_pre_hooks, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Calls `hook(module, args, output)` after the forward of any module; see `Module.register_forward_hook`."""
    marks = (_global_forward_hooks_with_kwargs, with_kwargs), (_global_forward_hooks_always_called, always_call)
    return _register(_global_forward_hooks, hook, marks=marks)


def register_module_full_backward_pre_hook(hook):
    """Calls `hook(module, grad_output)` before the backward pass of any module."""
    return _register(_global_backward_pre_hooks, hook)


def register_module_backward_hook(hook):
    """The old form of `register_module_full_backward_hook`; see `Module.register_backward_hook`."""
    return _register_global_backward_hook(hook, full=False)


def register_module_full_backward_hook(hook):
    """Calls `hook(module, grad_input, grad_output)` after the backward pass of any module."""
    return _register_global_backward_hook(hook, full=True)


def _register_global_backward_hook(hook, full):
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook not in (None, full):
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks as a global Module hook.")
    _global_is_full_backward_hook = full
    return _register(_global_backward_hooks, hook)


def _hooks_of_all_modules():
    """Those that a call needs, under the names that a module has for its own."""
    return SimpleNamespace(
        _backward_pre_hooks=_global_backward_pre_hooks,
        _backward_hooks=_global_backward_hooks,
        _is_full_backward_hook=_global_is_full_backward_hook,
        _forward_hooks=_global_forward_hooks,
        _forward_hooks_with_kwargs=_global_forward_hooks_with_kwargs,
        _forward_hooks_always_called=_global_forward_hooks_always_called,
        _forward_pre_hooks=_global_forward_pre_hooks,
    )


def _replaced(hooks, module, name, value):
    for hook in hooks.values():
        out = hook(module, name, value)
        value = value if out is None else out
    return value


def _addindent(text, spaces):
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line if line.strip() else "" for line in rest)])


def _check_name(module, kind, name, registry):
    """Raises if `name` cannot be the name of a new entry of `registry`."""
    if not isinstance(name, str):
        raise TypeError(f"{kind} name should be a string. Got {_typename(name)}")
    if name not in registry and hasattr(module, name):
        raise KeyError(f"attribute '{name}' already exists")
    if "." in name:
        raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
    if name == "":
        raise KeyError(f'{kind} name can\'t be empty string ""')


class Module:
    """Base of all layers and models.

    A subclass calls ``super().__init__()``, assigns parameters, buffers and other modules as attributes, and defines `forward`.
    Calling the module runs `forward` between its hooks.
    """

    dump_patches = False
    _version = 1
    # For classes with more than one base: whether `__init__` goes on to the next base.
    call_super_init = False

    def __init__(self, *args, **kwargs):
        if not self.call_super_init:
            if kwargs:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given")
        # Past `__setattr__`, whose rules need these.
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _backward_pre_hooks=OrderedDict(),
            _backward_hooks=OrderedDict(),
            _is_full_backward_hook=None,
            _forward_hooks=OrderedDict(),
            _forward_hooks_with_kwargs=OrderedDict(),
            _forward_hooks_always_called=OrderedDict(),
            _forward_pre_hooks=OrderedDict(),
            _forward_pre_hooks_with_kwargs=OrderedDict(),
            _state_dict_hooks=OrderedDict(),
            _state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_post_hooks=OrderedDict(),
            _modules={},
        )
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args):
        """What the module computes; each subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # Attributes: what is registered is not in `__dict__`, so that `__getattr__` finds it.

    def register_buffer(self, name, tensor, persistent=True):
        """Adds a tensor that belongs to the state but is not learned, such as a running mean.

        It moves and converts with the module. If not `persistent`, the state_dict leaves it out.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        _check_name(self, "buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{_typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)")
        self._buffers[name] = _replaced(_global_buffer_registration_hooks, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name, param):
        """Adds a parameter; None keeps the name without one."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        _check_name(self, "parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{_typename(param)}' object to parameter '{name}' (torch.nn.Parameter or None required)"
                )
            if param.grad_fn:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Parameters are leaves: to compute '{name}' from another "
                    "Tensor, do so in the forward() method."
                )
            param = _replaced(_global_parameter_registration_hooks, self, name, param)
        self._parameters[name] = param

    def add_module(self, name, module):
        """Adds a submodule; None keeps the name without one."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        _check_name(self, "module", name, self._modules)
        self._modules[name] = _replaced(_global_module_registration_hooks, self, name, module)

    def register_module(self, name, module):
        """The same as `add_module`."""
        self.add_module(name, module)

    def __getattr__(self, name):
        entries = self.__dict__
        if "_modules" in entries:
            found = entries["_parameters"]
            if name in found:
                return found[name]
            found = entries["_modules"]
            if name in found:
                return found[name]
            found = entries["_buffers"]
            if name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name, value):
        entries = self.__dict__
        params = entries.get("_parameters")
        if isinstance(value, (Tensor, Module)) or (
            params is not None and (name in params or name in entries["_modules"] or name in entries["_buffers"])
        ):
            self._set_registered(name, value)
        else:
            super().__setattr__(name, value)

    def _set_registered(self, name, value):
        """Sets an attribute that is a tensor or module, or was one."""
        entries = self.__dict__
        if isinstance(value, Parameter):
            if "_parameters" not in entries:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, self._buffers, self._modules)
            self.register_parameter(name, value)
        elif name in entries.get("_parameters", ()):
            if value is not None:
                raise TypeError(f"cannot assign '{_typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in entries:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, self._parameters, self._buffers)
            self._modules[name] = _replaced(_global_module_registration_hooks, self, name, value)
        elif name in entries.get("_modules", ()):
            if value is not None:
                raise TypeError(f"cannot assign '{_typename(value)}' as child module '{name}' (torch.nn.Module or None expected)")
            self._modules[name] = _replaced(_global_module_registration_hooks, self, name, value)
        elif isinstance(value, Buffer) or name in entries.get("_buffers", ()):
            self._set_buffer(name, value)
        else:
            super().__setattr__(name, value)

    def _forget(self, name, *registries):
        for registry in (self.__dict__, *registries):
            registry.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _set_buffer(self, name, value):
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"cannot assign '{_typename(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None expected)"
            )
        import inspect  # slow to import, and seldom needed

        persistent = value.persistent if isinstance(value, Buffer) else name not in self._non_persistent_buffers_set
        if "persistent" in inspect.signature(self.register_buffer).parameters:
            self.register_buffer(name, value, persistent)
        elif persistent:
            self.register_buffer(name, value)
        else:
            raise RuntimeError("the register_buffer() of this class has no argument `persistent`: a non-persistent buffer needs it")

    def __delattr__(self, name):
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self):
        keys = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers]
        return sorted(key for key in keys if not key[0].isdigit())

    def __getstate__(self):
        return self.__dict__.copy()

    def __setstate__(self, state):
        self.__dict__.update(state)

    # Calls and their hooks.

    def __call__(self, *args, **kwargs):
        if (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or _global_forward_hooks
            or _global_forward_pre_hooks
            or _global_backward_hooks
            or _global_backward_pre_hooks
        ):
            return HookedCall(self, args, kwargs, _hooks_of_all_modules()).run()
        return self.forward(*args, **kwargs)

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Calls `hook(module, args)` before `forward`; a result replaces the arguments.

        `with_kwargs`: calls `hook(module, args, kwargs)`, which answers None or new ``(args, kwargs)``. `prepend`: before the others.
        """
        return _register(self._forward_pre_hooks, hook, prepend, [(self._forward_pre_hooks_with_kwargs, with_kwargs)])

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Calls `hook(module, args, output)` after `forward`; a result replaces the output.

        `with_kwargs`: calls `hook(module, args, kwargs, output)`. `always_call`: also when `forward` or a hook raises.
        """
        marks = (self._forward_hooks_with_kwargs, with_kwargs), (self._forward_hooks_always_called, always_call)
        return _register(self._forward_hooks, hook, prepend, marks)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Calls `hook(module, grad_output)` before gradients pass through the module; a result replaces them."""
        return _register(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Calls `hook(module, grad_input, grad_output)` once the gradients of the inputs are known; a result replaces `grad_input`.

        Both are tuples, of the positional inputs and of the outputs. Inputs and outputs must not be changed in place.
        """
        return self._register_backward_hook(hook, True, prepend)

    def register_backward_hook(self, hook):
        """The old form of `register_full_backward_hook`: its `grad_input` are those of the last operation alone."""
        return self._register_backward_hook(hook, False)

    def _register_backward_hook(self, hook, full, prepend=False):
        if self._is_full_backward_hook not in (None, full):
            raise RuntimeError("Cannot use both regular backward hooks and full backward hooks on a single Module.")
        self._is_full_backward_hook = full
        return _register(self._backward_hooks, hook, prepend)

    # The tree.

    def get_submodule(self, target):
        """The submodule of a dotted name such as ``"net.0"``; the module itself for ``""``."""
        module = self
        for name in target.split(".") if target else ():
            module = _member(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target, module, strict=False):
        """Puts a module in the place of a dotted name; with `strict`, only where there is one."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if (strict or hasattr(parent, name)) and not isinstance(_member(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target):
        """The parameter of a dotted name."""
        path, _, name = target.rpartition(".")
        found = _member(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target):
        """The buffer of a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = _member(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """Names and modules of the whole tree, from the module itself down; each once, if `remove_duplicate`."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate=True):
        """The modules of the whole tree."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self):
        """Names and modules one level down."""
        memo = set()
        for name, module in self._modules.items():
            if module is not None and module not in memo:
                memo.add(module)
                yield name, module

    def children(self):
        """The modules one level down."""
        for _, module in self.named_children():
            yield module

    def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True):
        memo = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in get_members_fn(module):
                if value is None or value in memo:
                    continue
                if remove_duplicate:
                    memo.add(value)
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """Names and parameters of the module and, if `recurse`, of its submodules."""
        yield from self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """The parameters, each once: what an optimizer takes."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """Names and buffers of the module and, if `recurse`, of its submodules."""
        yield from self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def apply(self, fn):
        """Calls `fn` with each submodule, and with the module last."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode=True):
        """Sets `training` in the whole tree: dropout and batch norm compute something else in training."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Turns gradients of all parameters on or off."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Drops the gradients of all parameters, or fills them with zeros."""
        for param in self.parameters():
            if param.grad is not None:
                if set_to_none:
                    param.grad = None
                else:
                    param.grad.detach_().zero_()

    # Conversions, in place.

    def _apply(self, fn, recurse=True):
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            grad = param.grad
            with ferrograd.no_grad():
                converted = fn(param)
                if converted is not param:
                    param.data = converted
                if grad is not None:
                    converted = fn(grad)
                    if converted is not grad:
                        grad.data = converted
        for name, buffer in self._buffers.items():
            if buffer is None:
                continue
            if is_lazy(buffer):
                # It stays one without a shape.
                buffer.data = fn(buffer)
            else:
                self._buffers[name] = fn(buffer)
        return self

    def _apply_to_floats(self, dtype):
        return self._apply(lambda x: x.to(dtype) if x.is_floating_point() else x)

    def float(self):
        """All floating-point parameters and buffers as float32."""
        return self._apply_to_floats(ferrograd.float32)

    def double(self):
        """All floating-point parameters and buffers as float64."""
        return self._apply_to_floats(ferrograd.float64)

    def half(self):
        """Raises: there is no float16 here."""
        raise RuntimeError("half: ferrograd has no float16")

    def bfloat16(self):
        """Raises: there is no bfloat16 here."""
        raise RuntimeError("bfloat16: ferrograd has no bfloat16")

    def type(self, dst_type):
        """All parameters and buffers as this dtype."""
        return self._apply(lambda x: x.type(dst_type))

    def cpu(self):
        """The module: everything is on the CPU."""
        return self._apply(lambda x: x.cpu())

    def cuda(self, device=None):
        """Raises: ferrograd runs on the CPU."""
        return self._apply(lambda x: x.cuda(device))

    def to_empty(self, *, device, recurse=True):
        """All parameters and buffers as new ones with arbitrary contents."""
        return self._apply(lambda x: ferrograd.empty_like(x, device=device), recurse)

    def share_memory(self):
        """Raises, where there are parameters or buffers: memory cannot be shared with other processes."""
        return self._apply(lambda x: x.share_memory_())

    def to(self, *args, **kwargs):
        """``to(device, dtype)``, ``to(dtype)`` or ``to(tensor)``: parameters and buffers of float or complex dtype as this one.

        `memory_format` is for those of 4 or 5 dimensions.
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}")
            if dtype.is_complex:
                warnings.warn("Complex modules are a new feature: some modules might not work as expected.", stacklevel=2)

        def convert(x):
            wanted = dtype if x.is_floating_point() or x.is_complex() else None
            if memory_format is not None and x.dim() in (4, 5):
                return x.to(device, wanted, non_blocking, memory_format=memory_format)
            return x.to(device, wanted, non_blocking)

        return self._apply(convert)

    # The state.

    def get_extra_state(self):
        """What `state_dict` holds beside tensors; for subclasses to define, with `set_extra_state`."""
        raise RuntimeError("get_extra_state: this class does not define it")

    def set_extra_state(self, state):
        """Takes what `get_extra_state` gave."""
        raise RuntimeError("set_extra_state: this class does not define it")

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        """All parameters and persistent buffers by dotted name, detached unless `keep_vars`. They share memory with the module's."""
        if args:
            warnings.warn("state_dict: positional arguments are deprecated, use keywords", FutureWarning, stacklevel=2)
            given = dict(zip(("destination", "prefix", "keep_vars"), args))
            destination = given.get("destination") if destination is None else destination
            prefix, keep_vars = prefix or given.get("prefix", ""), keep_vars or given.get("keep_vars", False)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            out = hook(self, destination, prefix, metadata)
            if out is not None:
                if getattr(hook, "_from_public_api", False):
                    raise RuntimeError("state_dict post-hook must return None")
                destination = out
        return destination

    def _register_state_dict_hook(self, hook):
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError("Cannot register a function that was registered by register_state_dict_post_hook as this kind of hook too")
        return _register(self._state_dict_hooks, hook)

    def register_state_dict_post_hook(self, hook):
        """Calls `hook(module, state_dict, prefix, local_metadata)` at the end of `state_dict`; it may change the dict in place."""
        hook._from_public_api = True
        return _register(self._state_dict_hooks, hook)

    def register_state_dict_pre_hook(self, hook):
        """Calls `hook(module, prefix, keep_vars)` before `state_dict` collects."""
        return _register(self._state_dict_pre_hooks, hook)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):
        return _register(self._load_state_dict_pre_hooks, _WrappedHook(hook, self if with_module else None))

    def register_load_state_dict_pre_hook(self, hook):
        """Calls `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)` before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook):
        """Calls `hook(module, incompatible_keys)` after loading; it may change the two lists in place."""
        return _register(self._load_state_dict_post_hooks, hook)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        """Loads what belongs to this module, without its submodules."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        buffers = ((k, v) for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set)
        own = {k: v for k, v in itertools.chain(self._parameters.items(), buffers) if v is not None}
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, param in own.items():
            key = prefix + name
            if key in state_dict:
                load_tensor(self, name, param, key, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)

        extra = prefix + _EXTRA_STATE
        takes_extra = type(self).set_extra_state is not Module.set_extra_state
        if takes_extra and extra in state_dict:
            self.set_extra_state(state_dict[extra])
        elif takes_extra and strict:
            missing_keys.append(extra)

        for key in state_dict if strict else ():
            if key == extra and takes_extra or not key.startswith(prefix):
                continue
            name, dot, _ = key[len(prefix) :].partition(".")
            if name not in (self._modules if dot else own):
                unexpected_keys.append(key)

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copies the values of a `state_dict` into parameters and buffers, or makes its tensors the parameters if `assign`.

        Answers the missing and the unexpected keys; with `strict` there may be none. Raises: RuntimeError that lists all that is wrong.
        """
        return load_tree(self, state_dict, strict, assign)

    # The text.

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """What the text of the module says of its options; for subclasses to define."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        extra = extra.split("\n") if extra else []
        children = [f"({name}): " + _addindent(repr(module), 2) for name, module in self._modules.items()]
        if not children and len(extra) < 2:
            return f"{self._get_name()}({''.join(extra)})"
        return self._get_name() + "(\n  " + "\n  ".join(extra + children) + "\n)"


def _member(module, name):
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)


def _parse_to(device=None, dtype=None, non_blocking=False, copy=False, *, memory_format=None, tensor=None):
    # The forms without a device: to(dtype, non_blocking, copy), to(tensor, non_blocking, copy).
    if isinstance(device, (ferrograd.dtype, Tensor)):
        first, non_blocking, copy = device, dtype or non_blocking, copy if dtype is None else non_blocking
        tensor, device, dtype = (first, None, None) if isinstance(first, Tensor) else (None, None, first)
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    if dtype is not None and not isinstance(dtype, ferrograd.dtype):
        raise TypeError(f"to: dtype must be a dtype, got {_typename(dtype)}")
    if copy:
        raise RuntimeError(".to() does not accept copy argument")
    return device, dtype, non_blocking, memory_format
