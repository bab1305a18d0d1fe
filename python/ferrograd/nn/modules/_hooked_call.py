"""A call of a module between its hooks."""

import warnings

from ferrograd._C import Tensor
from ferrograd.utils.hooks import BackwardHook, WrappedHook


class HookedCall:
    """One call of a module that has hooks, or when all modules have.

    `everywhere` has the hooks of all modules, under the names that a module has for its own.
    """

    def __init__(self, module, args, kwargs, everywhere):
        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.everywhere = everywhere
        self.result = None
        # The hooks that must be called even after an error, once they were.
        self.called = set()

    def run(self):
        try:
            return self.forward()
        except Exception:
            self.call_remaining_hooks()
            raise

    def forward(self):
        module = self.module
        pre_hooks = [*self.everywhere._backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
        full_hooks = [*self.backward_hooks(True)]
        old_hooks = [*self.backward_hooks(False)]
        self.call_pre_hooks()
        backward = BackwardHook(module, full_hooks, pre_hooks) if full_hooks or pre_hooks else None
        if backward:
            self.args = backward.setup_input_hook(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        for id, hook in self.forward_hooks():
            self.call_forward_hook(id, hook)
        if backward:
            if not isinstance(self.result, (Tensor, tuple)):
                warnings.warn(
                    "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                    f"{type(self.result)}",
                    stacklevel=5,
                )
            self.result = backward.setup_output_hook(self.result)
        if old_hooks:
            self.register_old_hooks(old_hooks)
        return self.result

    def backward_hooks(self, full):
        for owner in (self.everywhere, self.module):
            if owner._is_full_backward_hook is full:
                yield from owner._backward_hooks.values()

    def forward_hooks(self):
        return [*self.everywhere._forward_hooks.items(), *self.module._forward_hooks.items()]

    def is_always_called(self, id):
        return id in self.module._forward_hooks_always_called or id in self.everywhere._forward_hooks_always_called

    def takes_kwargs(self, id):
        return id in self.module._forward_hooks_with_kwargs or id in self.everywhere._forward_hooks_with_kwargs

    def call_pre_hooks(self):
        module = self.module
        for id, hook in [*self.everywhere._forward_pre_hooks.items(), *module._forward_pre_hooks.items()]:
            if id in module._forward_pre_hooks_with_kwargs:
                changed = hook(module, self.args, self.kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(
                            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                        )
                    self.args, self.kwargs = changed
            else:
                changed = hook(module, self.args)
                if changed is not None:
                    self.args = changed if isinstance(changed, tuple) else (changed,)

    def call_forward_hook(self, id, hook):
        if self.is_always_called(id):
            self.called.add(id)
        kwargs = (self.kwargs,) if self.takes_kwargs(id) else ()
        changed = hook(self.module, self.args, *kwargs, self.result)
        if changed is not None:
            self.result = changed

    def call_remaining_hooks(self):
        """After an error: the hooks that are always called. What they raise becomes a warning."""
        for id, hook in self.forward_hooks():
            if self.is_always_called(id) and id not in self.called:
                try:
                    self.call_forward_hook(id, hook)
                except Exception as error:
                    kind = "global module" if id in self.everywhere._forward_hooks else "module"
                    warnings.warn(
                        f"{kind} forward hook with ``always_call=True`` raised an exception that was silenced as another error was "
                        f"raised in forward: {error}",
                        stacklevel=3,
                    )

    def register_old_hooks(self, hooks):
        found = self.result
        while not isinstance(found, Tensor):
            found = next(x for x in found.values() if isinstance(x, Tensor)) if isinstance(found, dict) else found[0]
        node = found.grad_fn
        if node is None:
            return
        for hook in hooks:
            node.register_hook(WrappedHook(hook, self.module))
        missed = self.missed_by_old_hooks(node)
        if missed:
            warnings.warn(
                f"Using a non-full backward hook on a Module {missed} is deprecated: the hook will not see all gradients. "
                "Please use register_full_backward_hook.",
                FutureWarning,
                stacklevel=5,
            )

    def missed_by_old_hooks(self, node):
        """Why hooks of this node alone do not see all gradients of the module, or None."""
        outputs = (self.result,) if isinstance(self.result, Tensor) else self.result
        if not (isinstance(outputs, tuple) and all(isinstance(x, Tensor) for x in outputs)):
            return "that does not return a single Tensor or a tuple of Tensors"
        if not all(isinstance(x, Tensor) for x in self.args):
            return "that does not take as input a single Tensor or a tuple of Tensors"
        if {x.grad_fn for x in outputs if x.grad_fn is not None} != {node}:
            return "whose outputs are generated by different autograd Nodes"
        inputs = {x.grad_fn for x in self.args if x.grad_fn is not None}
        return None if inputs == {n for n, _ in node.next_functions} else "whose forward contains multiple autograd Nodes"
