"""Less memory for more time: parts of a network are run again in backward, rather than kept from forward."""

import warnings
from contextlib import contextmanager, nullcontext

from ferrograd._C import Tensor, get_rng_state, set_rng_state
from ferrograd._C import _autograd
from ferrograd.autograd import _saved
from ferrograd.autograd.function import Function
from ferrograd.autograd.grad_mode import enable_grad
from ferrograd.autograd.graph import saved_tensors_hooks
from ferrograd.random import fork_rng

__all__ = [
    "CheckpointError",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]


class CheckpointError(RuntimeError):
    """The part of the network did not do the same again."""


class _Stop(Exception):
    """Ends a second run that has saved all that is needed."""


# What the context managers below say in place of the arguments of the same names.
_early_stop = None
_debug = None


@contextmanager
def set_checkpoint_early_stop(enable):
    """A context whose checkpoints stop their second run early, or do not, whatever their `early_stop` says."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextmanager
def set_checkpoint_debug_enabled(enabled):
    """A context that stands in for the argument `debug`, which changes nothing: errors say what differs."""
    global _debug
    before, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = before


def noop_context_fn():
    """Contexts that do nothing, for forward and for the second run."""
    return nullcontext(), nullcontext()


def checkpoint(
    function,
    *args,
    use_reentrant=None,
    context_fn=noop_context_fn,
    determinism_check="default",
    debug=False,
    early_stop=True,
    **kwargs,
):
    """``function(*args, **kwargs)``, of which backward will keep the arguments only, and run it again.

    With ``use_reentrant=False`` (recommended) it is recorded as usual, but what it saves is dropped, and computed again when it is
    needed first. ``use_reentrant=True`` records nothing but one node, whose backward runs a backward pass of its own: without
    keywords, without ``autograd.grad``, and at least one argument must require a gradient.

    `preserve_rng_state` (default True) makes random numbers the same again. `context_fn` answers two contexts, for forward and
    for the second run. `determinism_check` "none" does not compare the shapes and dtypes of the two. The second run ends as soon
    as it has saved everything, unless `early_stop` is off. `debug` changes nothing: errors say what differs.
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant is None:
        _warn("", "calling checkpoint without use_reentrant will raise an exception")
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn`, `debug`, or `respect_saved_tensors_hooks` is only supported when use_reentrant=False."
            )
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if not _autograd.is_grad_enabled():
        return function(*args, **kwargs)
    early = early_stop if _early_stop is None else _early_stop
    return _recorded(function, args, kwargs, preserve, context_fn(), determinism_check, early)


def _warn(name, future):
    warnings.warn(
        f"torch.utils.checkpoint{name}: the use_reentrant parameter should be passed explicitly. In a future release, {future}. "
        "use_reentrant=False is recommended, but if you need to preserve the current default behavior, you can pass "
        "use_reentrant=True. Refer to docs for more details on the differences between the two variants.",
        stacklevel=3,
    )


def check_backward_validity(inputs):
    """Warns if no tensor among the inputs requires a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


def detach_variable(inputs):
    """The tensors of a tuple off the tape, as leaves that require a gradient where they did; everything else as it is."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


@contextmanager
def _same_random_numbers(state):
    """The random numbers of a state, and those of before afterwards; None changes nothing."""
    with fork_rng(enabled=state is not None):
        if state is not None:
            set_rng_state(state)
        yield


# One node, and a backward pass in its backward.


class CheckpointFunction(Function):
    @staticmethod
    def forward(ctx, function, preserve, *args):
        check_backward_validity(args)
        ctx.function = function
        ctx.state = get_rng_state() if preserve else None
        ctx.others = [None if isinstance(x, Tensor) else x for x in args]
        ctx.places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        return function(*args)

    @staticmethod
    def backward(ctx, *grads):
        if _autograd._run_has_inputs():
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` parameter "
                "to .backward(). To resolve this error, you can either set use_reentrant=False, or call .backward() without "
                "passing the `inputs` argument."
            )
        args = list(ctx.others)
        for i, x in zip(ctx.places, ctx.saved_tensors):
            args[i] = x.detach().requires_grad_(x.requires_grad)
        with enable_grad(), _same_random_numbers(ctx.state):
            outputs = ctx.function(*args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(y, g) for y, g in zip(outputs, grads) if isinstance(y, Tensor) and y.requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        _autograd.backward(*zip(*pairs))
        return (None, None, *(x.grad if isinstance(x, Tensor) else None for x in args))


# Recorded as usual, with empty places for what is saved.


class _Frame:
    """One call: how to run it again, and what it saved, by the order in which it did."""

    def __init__(self, again, check, early_stop):
        self.again = again
        self.check = check
        self.early_stop = early_stop
        self.kinds = []
        # Whether forward is over: what it calls may run backward, before all is saved.
        self.complete = False
        # By the number of the backward pass: what it has not asked for yet.
        self.found = {}

    def pack(self, x):
        """Keeps the number of the place only."""
        self.kinds.append(_kind(x))
        return len(self.kinds) - 1

    def unpack(self, place):
        """What the second run saves in this place. Each backward pass has a run of its own, and so has who looks from outside."""
        number, _ = _autograd._current_run([])
        if number not in self.found:
            found = dict(enumerate(self._saved_again()))
            self._compare(found)
            if number == 0:
                return found[place]
            self.found[number] = found
        if place not in self.found[number]:
            raise CheckpointError(
                "torch.utils.checkpoint: Unpack is being triggered for a tensor that was already unpacked once. If you are calling "
                "ctx.saved_tensors in backward, make sure to do so only once. Otherwise please open an issue with details on your "
                "use case."
            )
        return self.found[number].pop(place)

    def _saved_again(self):
        saved = []

        def keep(x):
            if len(saved) == len(self.kinds):
                if not self.complete:
                    return x
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original forward "
                    "pass."
                )
            saved.append(x)
            if self.early_stop and len(saved) == len(self.kinds):
                raise _Stop
            return x

        try:
            self.again(saved_tensors_hooks(keep, lambda x: x))
        except _Stop:
            pass
        return saved

    def _compare(self, found):
        if len(found) != len(self.kinds):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.kinds)}\n"
                f"Number of tensors saved during recomputation: {len(found)}."
            )
        differ = [(i, kind, _kind(found[i])) for i, kind in enumerate(self.kinds) if kind != _kind(found[i])]
        if self.check == "default" and differ:
            lines = [f"tensor at position {i}:\nsaved metadata: {a}\nrecomputed metadata: {b}" for i, a, b in differ]
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the "
                "forward pass.\n" + "\n".join(lines)
            )


def _kind(x):
    return {"shape": x.shape, "dtype": x.dtype}


def _recorded(function, args, kwargs, preserve, contexts, check, early_stop):
    forward_context, second_context = contexts
    state = get_rng_state() if preserve else None
    # As what a custom function saves: checked for writes, and kept by the hooks around, such as an outer checkpoint's.
    kept = [_saved.save(x, None, None) if isinstance(x, Tensor) else x for x in args]

    def again(hooks):
        inputs = [x.unpack() if isinstance(x, _saved.Saved) else x for x in kept]
        inputs = [detach_variable((x,))[0] if isinstance(x, Tensor) and x.requires_grad else x for x in inputs]
        with enable_grad(), _same_random_numbers(state), second_context, hooks:
            function(*inputs, **kwargs)

    frame = _Frame(again, check, early_stop)
    with saved_tensors_hooks(frame.pack, frame.unpack), forward_context:
        outputs = function(*args, **kwargs)
    frame.complete = True
    return outputs


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """Runs functions one after the other, all but the last of `segments` groups of them as checkpoints."""
    if use_reentrant is None:
        _warn(".checkpoint_sequential", "we will raise an exception if use_reentrant is not passed")
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(functions) // segments

    def group(part):
        def run(x):
            for function in part:
                x = function(x)
            return x

        return run

    start = 0
    for _ in range(segments - 1):
        part = functions[start : start + size]
        input = checkpoint(group(part), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
        start += size
    return group(functions[start:])(input)
