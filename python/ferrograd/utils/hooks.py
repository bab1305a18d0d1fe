"""Hooks in general, and the hooks of modules that run in the backward pass."""

import warnings
import weakref

import ferrograd
from ferrograd import Tensor
from ferrograd._C._autograd import RemovableHandle
from ferrograd.autograd import Function

__all__ = ["BackwardHook", "RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


def unserializable_hook(f):
    """Marks a hook of a tensor as one that may be lost when the tensor is pickled; `warn_if_has_hooks` is silent about it."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor):
    """Warns of hooks of a tensor, which are no part of what pickle keeps."""
    for hook in (tensor._backward_hooks or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized. Mark it with unserializable_hook if that is meant.",
                stacklevel=2,
            )


def register(hooks, hook, prepend=False, marks=()):
    """Adds a hook; `marks` are pairs of a dict and whether the hook is to be marked in it."""
    handle = RemovableHandle(hooks, extra_dict=[mark for mark, _ in marks])
    # Hooks that came with a pickle may bear any number.
    while handle.id in hooks:
        handle = RemovableHandle(hooks, extra_dict=[mark for mark, _ in marks])
    hooks[handle.id] = hook
    for mark, wanted in marks:
        if wanted:
            mark[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def find(hooks, kind, name):
    """The key of the hook of this class that is for the parameter `name`, or None."""
    for key, hook in hooks.items():
        hook = getattr(hook, "hook", hook)
        if isinstance(hook, kind) and hook.name == name:
            return key
    return None


class WrappedHook:
    """A hook that gets its module first, without keeping it alive."""

    def __init__(self, hook, module=None):
        self.hook = hook
        self.module = None if module is None else weakref.ref(module)

    def __call__(self, *args):
        if self.module is None:
            return self.hook(*args)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args)

    def __getstate__(self):
        return self.hook, self.module and self.module()

    def __setstate__(self, state):
        self.__init__(*state)


class BackwardHookFunction(Function):
    """The identity of several tensors: one node that sees all their gradients at once."""

    @staticmethod
    def forward(ctx, *tensors):
        ctx.mark_non_differentiable(*[x for x in tensors if not x.requires_grad])
        return tensors

    @staticmethod
    def backward(ctx, *grads):
        return grads


class BackwardHook:
    """The full backward hooks of one call of a module, tied to nodes before its inputs and after its outputs."""

    def __init__(self, module, hooks, pre_hooks):
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs = None

    def setup_input_hook(self, args):
        """The inputs, passed through a node whose gradients the hooks get."""
        self.n_inputs = len(args)
        self.kinds = [(x.shape, x.dtype) for x in args if isinstance(x, Tensor)]
        args, self.inputs = self._through_node(args, self._on_grad_inputs)
        return args

    def setup_output_hook(self, result):
        """The outputs, passed through a node whose gradients the pre-hooks get."""
        outputs = result if isinstance(result, tuple) else (result,)
        self.n_outputs = len(outputs)
        outputs, self.outputs = self._through_node(outputs, self._on_grad_outputs)
        return outputs if isinstance(result, tuple) else outputs[0]

    @staticmethod
    def _through_node(args, hook):
        places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        if not (any(args[i].requires_grad for i in places) and ferrograd.is_grad_enabled()):
            return args, None
        passed = BackwardHookFunction.apply(*[args[i] for i in places])
        next(x.grad_fn for x in passed if x.grad_fn is not None).register_hook(hook)
        args_out = list(args)
        for i, x in zip(places, passed):
            args_out[i] = x
        # A named tuple takes its fields one by one.
        return (tuple(args_out) if type(args) is tuple else type(args)(*args_out)), places

    def _on_grad_inputs(self, grad_inputs, _):
        # The outputs got no gradient, then the module took no part.
        if self.grad_outputs is None:
            return None
        # Inputs that ask for no gradient show zeros, as in torch.
        shown = [ferrograd.zeros(shape, dtype=dtype) if g is None else g for g, (shape, dtype) in zip(grad_inputs, self.kinds)]
        grads = _spread(self.inputs, shown, self.n_inputs)
        for hook in self.hooks:
            out = hook(self.module, grads, self.grad_outputs)
            if out is not None:
                _check_count("hook", "grad_input", out, grads)
                grads = out
        self.grad_outputs = None
        return tuple(None if g is None else grads[i] for i, g in zip(self.inputs, grad_inputs))

    def _on_grad_outputs(self, _, grad_outputs):
        grads = _spread(self.outputs, grad_outputs, self.n_outputs)
        for hook in self.pre_hooks:
            out = hook(self.module, grads)
            if out is not None:
                _check_count("pre hook", "grad_output", out, grads)
                grads = out
        self.grad_outputs = grads
        if self.inputs is None:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs require gradients.",
                stacklevel=5,
            )
            for hook in self.hooks:
                out = hook(self.module, (None,) * self.n_inputs, grads)
                if out is not None and not (isinstance(out, tuple) and all(g is None for g in out)):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None for all gradients."
                    )
            self.grad_outputs = None
        return tuple(grads[i] for i in self.outputs)


def _spread(places, values, size):
    """A tuple with these values at these places and None at the others."""
    found = dict(zip(places, values))
    return tuple(found.get(i) for i in range(size))


def _check_count(kind, what, got, expected):
    if len(got) != len(expected):
        raise RuntimeError(f"Backward {kind} returned an invalid number of {what}, got {len(got)}, but expected {len(expected)}")
