"""One differentiation of a function: its variables, and what of its graph may be seen outside."""

from contextlib import nullcontext

from ferrograd._C import Tensor, _autograd, zeros_like
from ferrograd.autograd import forward_ad
from ferrograd.autograd._products import Carriers, gradients
from ferrograd.autograd._transform import ACTIVE, along_tangents, transform
from ferrograd.autograd.grad_mode import recording
from ferrograd.autograd.graph import disable_saved_tensors_hooks
from ferrograd.utils._pytree import tree_flatten, tree_map, tree_unflatten


_NO_HOOKS = (
    "torch.func.{grad, vjp, jacrev, hessian} don't yet support saved tensor hooks."
)


def _is_writable(x):
    return isinstance(x, Tensor) and not _autograd._is_followed(x) and not _autograd._is_captured(x)


class Level:
    """A call of a function whose arguments at `argnums` are variables.

    Variables are new tensors, so that the same tensors captured by the function are constants. A variable made from a tensor
    that is on the tape stays connected with it: that is how derivatives nest. Results are detached unless they lead to
    something outside, for which the graph is kept.
    """

    def __init__(self, args, argnums=None, forward=False, tangents=None):
        self.recording = _autograd.is_grad_enabled()
        self.args = args
        self.argnums = argnums
        self.carriers = Carriers(tangents=tangents)
        self.own = self.carriers.own
        self.forward = forward
        self.number = None
        chosen = args if argnums is None else args[argnums] if isinstance(argnums, int) else tuple(args[i] for i in argnums)
        self.values, self.spec = tree_flatten(chosen)
        with recording():
            self.variables = [self._variable(x) for x in self.values]
        # What the function may write to, though it is not differentiated by it.
        self.writable = {id(x) for x in tree_flatten(args)[0] if _is_writable(x)}

    def _variable(self, x):
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        if x.is_inference() and not _autograd.is_inference_mode_enabled():
            # Of inference tensors nothing is recorded there.
            x = x.clone()
        if self.forward:
            return self.carriers.variable(x)
        if _autograd._is_followed(x):
            return _autograd._variable(x, False, shown=True)
        leaf = x.detach()
        leaf.requires_grad = True
        self.own.append(leaf)
        return leaf

    def call(self, func, kwargs=None):
        """What the function answers for the variables, which it may write to in forward mode."""
        mode = nullcontext() if self.forward else disable_saved_tensors_hooks(_NO_HOOKS)
        with transform() as self.number, mode, recording():
            given = (_autograd._variable(x, True) for x in self.variables) if self.forward else self.variables
            variables = [_autograd._of_transform(x) for x in given]
            return func(*self.arguments(variables), **(kwargs or {}))

    def along_tangents(self):
        """Where the derivative along tangents of the variables is taken, besides those that are already."""
        if forward_ad.is_in_level():
            raise RuntimeError(forward_ad.NESTED)
        return along_tangents((*ACTIVE.forward, self.carriers))

    def arguments(self, variables):
        """The arguments of the call, with these variables."""
        chosen = tree_unflatten(variables, self.spec)
        if self.argnums is None:
            return chosen
        places = [self.argnums] if isinstance(self.argnums, int) else self.argnums
        values = [chosen] if isinstance(self.argnums, int) else chosen
        replaced = dict(zip(places, values))
        return [replaced[i] if i in replaced else tree_map(self._own, arg) for i, arg in enumerate(self.args)]

    def _own(self, x):
        return _autograd._of_transform(x.detach()) if id(x) in self.writable else x

    def leads_outside(self, *tensors):
        """Whether gradients of the tensors flow to something that is not the level's own."""
        return self.recording and _autograd._leads_to_others(tensors, self.own, self.number)

    def tree(self, values):
        """Values in the structure of the variables."""
        return tree_unflatten(values, self.spec)

    def result(self, value):
        """A tensor as it is seen outside."""
        if not isinstance(value, Tensor) or not _autograd._is_followed(value):
            return value
        if not self.leads_outside(value):
            return value.detach()
        if value.requires_grad and not _autograd._leads_to_others([value], self.own, self.number, shown=True):
            # What it leads to only carries tangents.
            return _autograd._variable(value, True, shown=False)
        return value

    def results(self, tree):
        """A tree of tensors as it is seen outside."""
        return tree_map(self.result, tree)

    def gradients(self, outputs, weights=None, retain_graph=None, create_graph=None):
        """For each variable the gradient of the outputs times the weights; zeros where there is none."""
        if create_graph is None:
            create_graph = self.leads_outside(*outputs, *(weights or ()))
        with recording():
            grads = gradients(outputs, self.variables, weights, create_graph, retain_graph)
        return [zeros_like(x) if g is None else g for g, x in zip(grads, self.variables)]
