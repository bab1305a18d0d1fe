"""Less memory for more time: parts of a network are run again in backward, rather than kept from forward."""

import enum
import traceback
import warnings
import weakref
from _thread import _local
from contextlib import contextmanager, nullcontext

from ferrograd._C import Tensor, get_rng_state, set_rng_state
from ferrograd._C import _autograd
from ferrograd.autograd import _saved
from ferrograd.autograd.function import Function
from ferrograd.autograd.grad_mode import enable_grad
from ferrograd.autograd.graph import saved_tensors_hooks
from ferrograd.nn.modules.container import Sequential
from ferrograd.ops import OpOverload, OpOverloadPacket, aten
from ferrograd.random import fork_rng

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "CheckpointPolicy",
    "GraphExecGroup",
    "SelectiveCheckpointContext",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "create_selective_checkpoint_contexts",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]


class CheckpointError(RuntimeError):
    """The part of the network did not do the same again."""


class _Stop(Exception):
    """Ends a second run that has saved all that is needed."""


class _Group(_local):
    current = None


_GROUP = _Group()


class GraphExecGroup:
    """A context within which several backward passes, of which no two need the same tensor, share a second run.

    It is about ``use_reentrant=False`` only.
    """

    def __enter__(self):
        if _GROUP.current is not None:
            raise RuntimeError(f"GraphExecGroup contexts cannot be nested. Already inside group {_GROUP.current}")
        _GROUP.current = self
        return self

    def __exit__(self, *exception):
        _GROUP.current = None


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
    """A context whose checkpoints say where tensors were saved if the two runs differ, or do not, whatever their `debug` says."""
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
    as it has saved everything, unless `early_stop` is off. With `debug`, the error of two runs that differ says where each of
    them saved what.
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant is None:
        _warn("", "Starting in PyTorch 2.9, calling checkpoint without use_reentrant will raise an exception")
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    debug = debug if _debug is None else _debug
    if debug and context_fn is not noop_context_fn:
        raise ValueError("debug=True is incompatible with non-default context_fn")
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    contexts = context_fn()
    if not _autograd.is_grad_enabled():
        return function(*args, **kwargs)
    frame = _Frame(determinism_check == "default", early_stop if _early_stop is None else _early_stop, debug)
    return _recorded(frame, function, args, kwargs, preserve, contexts)


def _warn(name, future):
    warnings.warn(
        f"torch.utils.checkpoint{name}: the use_reentrant parameter should be passed explicitly. {future}. "
        "use_reentrant=False is recommended; use_reentrant=True is what is done now.",
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
                "to .backward(): use_reentrant=False is not."
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


_TIP = "With debug=True, or within set_checkpoint_debug_enabled(True), the error says where each run saved its tensors."

_REPORT = """torch.utils.checkpoint: forward and the second run saved other tensors (shown because of debug=True).

Saved by forward:

{forward}
Saved by the second run:

{again}"""


class _Place:
    """Stands for a saved tensor in the graph."""

    __slots__ = ("number", "__weakref__")

    def __init__(self, number):
        self.number = number


class _Frame:
    """One call: how to run it again, and what it saved, by the order in which it did."""

    # How to run it again, under these hooks.
    again = None
    # Whether forward is over: what it calls may run backward, before all is saved.
    complete = False

    def __init__(self, compares, early_stop, debug):
        self.compares = compares
        self.early_stop = early_stop
        self.debug = debug
        # The places, weakly: what the graph has done with is not kept, nor compared.
        self.places = []
        self.kinds = []
        # What of it each backward pass, or group of them, has not asked for yet.
        self.found = {}
        # Where the tensors of the two runs were saved, to debug.
        self.traces = [], []

    def pack(self, x):
        """Keeps the place only."""
        place = _Place(len(self.places))
        self.places.append(weakref.ref(place))
        self.kinds.append(_kind(x) if self.compares else None)
        self._trace(0, x)
        return place

    def unpack(self, place):
        """What the second run saves in this place. Each backward pass has a run of its own, and so has who looks from outside."""
        try:
            return self._unpack(place)
        except CheckpointError as error:
            if not self.debug:
                raise
            forward, again = map("\n".join, self.traces)
            raise CheckpointError(_REPORT.format(forward=forward, again=again)) from error

    def _unpack(self, place):
        run, group = _autograd._current_run([])[0], _GROUP.current
        key = run if group is None else group
        if key not in self.found:
            found = self._saved_again()
            if key == 0:
                return found[place.number]
            self.found[key] = found
        if place.number not in self.found[key]:
            overlap = (
                "Two backward passes of a torch.utils.checkpoint.GraphExecGroup overlap: they require the same saved tensor. "
            )
            raise CheckpointError(
                "torch.utils.checkpoint: Unpack is being triggered for a tensor that was already unpacked once. "
                f"{overlap if group is not None else ''}A backward of yours reads ctx.saved_tensors once."
            )
        return self.found[key].pop(place.number)

    def _saved_again(self):
        """What the second run saves, by place."""
        found, count, compares = {}, 0, self.compares
        self.traces[1].clear()

        def keep(x):
            nonlocal count, compares
            number, expected = count, len(self.places)
            if number >= expected and not self.complete:
                compares = False
                return x
            count += 1
            self._trace(1, x)
            if number >= expected:
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original forward "
                    f"pass.\n{_TIP}"
                )
            # Without the graph of this run.
            x = x.detach() if x.requires_grad else x
            if self.places[number]() is not None:
                found[number] = x
            if self.early_stop and count == expected:
                raise _Stop
            return x

        try:
            self.again(saved_tensors_hooks(keep, lambda x: x))
        except _Stop:
            pass
        if count != len(self.places):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and recomputation.\n"
                f"Number of tensors saved during forward: {len(self.places)}\n"
                f"Number of tensors saved during recomputation: {count}.\n{_TIP}"
            )
        if compares:
            self._compare(found)
        return found

    def _compare(self, found):
        differ = [(i, self.kinds[i], _kind(x)) for i, x in found.items() if self.kinds[i] != _kind(x)]
        if differ:
            lines = [f"tensor at position {i}:\nsaved metadata: {a}\nrecomputed metadata: {b}\n" for i, a, b in differ]
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the "
                f"forward pass.\n{''.join(lines)}.\n{_TIP}"
            )

    def _trace(self, run, x):
        if self.debug:
            saved = self.traces[run]
            # Without the frame of this, and of the hook.
            saved.append(f"tensor at position {len(saved)}: {_kind(x)}\n{''.join(traceback.format_stack()[:-2])}")


def _kind(x):
    return {"shape": x.shape, "dtype": x.dtype, "device": x.device}


def _recorded(frame, function, args, kwargs, preserve, contexts):
    forward_context, second_context = contexts
    state = get_rng_state() if preserve else None
    # As what a custom function saves: checked for writes, and kept by the hooks around, such as an outer checkpoint's.
    kept = [_saved.save(x, None, None) if isinstance(x, Tensor) else x for x in args]

    def again(hooks):
        inputs = [x.unpack() if isinstance(x, _saved.Saved) else x for x in kept]
        with hooks, enable_grad(), _same_random_numbers(state), second_context:
            function(*inputs, **kwargs)

    frame.again = again
    with saved_tensors_hooks(frame.pack, frame.unpack), forward_context:
        outputs = function(*args, **kwargs)
        frame.complete = True
    if not frame.complete:
        raise RuntimeError(
            "torch.utils.checkpoint: the forward context provided by context_fn suppressed an exception raised during the "
            "checkpointed forward, which therefore has no value."
        )
    return outputs


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """Runs functions one after the other, all but the last of `segments` groups of them as checkpoints."""
    if use_reentrant is None:
        _warn(".checkpoint_sequential", "In version 2.9 we will raise an exception if use_reentrant is not passed")
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if isinstance(functions, Sequential):
        functions = list(functions.children())
    size = len(functions) // segments

    def group(part):
        def run(x):
            for function in part:
                x = function(x)
            return x

        return run

    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(group(functions[start:end]), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return group(functions[end:])(input)


# Results that are kept all the same.


class CheckpointPolicy(enum.Enum):
    """What to do with a result: keep it, or compute it again. There is no other memory to offload it to."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


class SelectiveCheckpointContext:
    """What a policy may know besides the op and its arguments: `is_recompute` is always False, as it is asked in forward only."""

    def __init__(self, *, is_recompute, op_output=None):
        self.is_recompute = is_recompute
        self.op_output = op_output


class _Result:
    """A result that is kept, or not, until the second run takes it."""

    __slots__ = ("tensor", "version", "taken")

    def __init__(self, tensor):
        self.tensor = tensor
        self.version = None if tensor is None else tensor._version
        self.taken = False


class _Keeping:
    """The context of forward: it keeps the results that the policy wants."""

    def __init__(self, policy, results):
        self.policy = policy
        self.results = results

    def __enter__(self):
        _autograd._push_keeper(self)

    def __exit__(self, *exception):
        _autograd._pop_keeper()

    def take(self, name):
        return None

    def offer(self, name, inputs, result):
        op = getattr(aten, name).default
        answer = self.policy(SelectiveCheckpointContext(is_recompute=False, op_output=result), op, *inputs)
        keeps = answer is True or answer in (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)
        self.results.setdefault(name, []).append(_Result(result if keeps else None))


_MISMATCH = (
    "This can happen if the operations in the checkpointed region are nondeterministic or depend on global state that changed "
    "between forward and backward."
)


class _Kept:
    """The context of the second run: it takes results in the order in which they were kept."""

    def __init__(self, results, allow_mutation):
        self.results = results
        self.allow_mutation = allow_mutation

    def __enter__(self):
        self.counts = {}
        _autograd._push_keeper(self)

    def __exit__(self, *exception):
        _autograd._pop_keeper()

    def take(self, name):
        i = self.counts.get(name, 0)
        self.counts[name] = i + 1
        if name not in self.results:
            raise RuntimeError(f"aten.{name}.default encountered during backward but not found in storage. {_MISMATCH}")
        if i >= len(self.results[name]):
            raise RuntimeError(
                f"aten.{name}.default invocation index {i} encountered during backward but not found in storage. {_MISMATCH}"
            )
        result = self.results[name][i]
        if result.taken:
            raise RuntimeError(
                "Trying to backward an extra time. You are only allowed to backward once on any region computed under selective "
                "activation checkpoint."
            )
        if result.tensor is None:
            return None
        if result.tensor._version != result.version and not self.allow_mutation:
            raise RuntimeError("Tensor cached during selective activation checkpoint has been mutated")
        tensor, result.tensor, result.taken = result.tensor, None, True
        return tensor

    def offer(self, name, inputs, result):
        pass


def create_selective_checkpoint_contexts(policy_fn_or_list, allow_cache_entry_mutation=False):
    """Contexts for ``checkpoint(..., context_fn=...)`` in which some results are kept, and not computed again.

    ``policy_fn_or_list`` is a list of ops such as ``torch.ops.aten.mm.default``, or a function of a
    ``SelectiveCheckpointContext``, an op and its tensors, which answers a ``CheckpointPolicy``. It is asked about products of
    matrices (``mm``, ``bmm``, ``addmm``, ``baddbmm``, ``addbmm``, ``addmv``) and ``convolution``: everything else costs little
    and is computed again.

    A result that was written to is an error, unless `allow_cache_entry_mutation`; so is a second backward pass.
    """
    if isinstance(policy_fn_or_list, list):
        for op in policy_fn_or_list:
            if not isinstance(op, OpOverload):
                more = (
                    "Please update the OpOverloadPacket to a specific OpOverload.For example, if you have `torch.ops.aten.mm`, "
                    "change it to `torch.ops.aten.mm.default`."
                )
                raise ValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op)}. "
                    f"{more if isinstance(op, OpOverloadPacket) else ''}"
                )

        def policy(context, op, *inputs):
            return op in policy_fn_or_list
    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    results = {}
    return _Keeping(policy, results), _Kept(results, allow_cache_entry_mutation)


def get_device_states(*args):
    """The devices other than the CPU that hold tensors of these arguments, and the states of their generators: none."""
    return [], []


def set_device_states(devices, states, *, device_type=None):
    """Sets what ``get_device_states`` answers: nothing. Raises: RuntimeError if there is a device."""
    if devices and states:
        raise RuntimeError(f"set_device_states: there are no devices other than the CPU, but got {devices}")
