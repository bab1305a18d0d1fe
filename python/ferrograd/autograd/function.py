"""Operations of one's own: subclasses of ``Function`` say how they run and how they are differentiated."""

import functools
import warnings
from collections import OrderedDict

from ferrograd._C import Tensor, is_tensor, zeros
from ferrograd._C import _autograd
from ferrograd.autograd import _jvp, _saved
from ferrograd.autograd._products import FORWARD_MODE, is_inexact
from ferrograd.autograd._transform import ACTIVE, active, along_tangents
from ferrograd.autograd._vmap_rule import Calls, is_mapped
from ferrograd.autograd.grad_mode import no_grad

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "FunctionMeta", "InplaceFunction", "once_differentiable"]

_FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
    "Specify retain_graph=True in .backward() or autograd.grad() to keep them."
)


class FunctionCtx:
    """What the forward of a ``Function`` leaves for its backward."""

    needs_input_grad = ()
    to_save = None
    saved_for_forward = None
    dirty_tensors = None
    non_differentiable = None
    materialize_grads = True
    _materialize_non_diff_grads = True
    _saved = ()
    _saved_for_jvp = ()
    _has_been_read = False
    _in_jvp = False
    # What `jvp` has made of tangents that were not known yet, by the derivative they are for.
    _linear = {}
    _input_kinds = ()
    # Which inputs gradients flow to, whatever `needs_input_grad` says since.
    _differentiated = ()
    _output_kinds = ()
    _output_roles = ()
    # Answers the node, as long as there is one.
    _node = None
    _node_to_be = None
    # Those of the call, while forward runs.
    _arguments = ()

    def save_for_backward(self, *tensors):
        """Keeps inputs and outputs (or None) for ``saved_tensors``, with the check that nobody writes to them meanwhile."""
        self.to_save = tensors

    def save_for_forward(self, *tensors):
        """Keeps tensors (or None) for ``jvp``."""
        for tensor in tensors:
            if not (isinstance(tensor, Tensor) or tensor is None):
                raise AssertionError(
                    "save_for_forward expects all arguments to be tensors; you should save non-tensors as attributes on ctx."
                )
        self.saved_for_forward = tensors

    def mark_dirty(self, *args):
        """Says which inputs the forward has written to. It must return them."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args):
        """Says which outputs have no gradient."""
        self.non_differentiable = args

    def mark_shared_storage(self, *pairs):
        """Does nothing: who shares memory is known."""
        warnings.warn(
            "`mark_shared_storage` is deprecated: which tensors share memory is known, but for calls of `set_()`.",
            FutureWarning,
            stacklevel=2,
        )

    def set_materialize_grads(self, value):
        """Whether backward gets zeros (the default), rather than None, for outputs that no gradient has come to."""
        if not isinstance(value, bool):
            raise TypeError(f"set_materialize_grads() expects a bool, but got {type(value).__name__}")
        self.materialize_grads = value

    @property
    def saved_tensors(self):
        """What ``save_for_backward`` was given; in ``jvp``, what ``save_for_forward`` was.

        Raises: RuntimeError if it has been freed, if one of them has been written to, or if it is the second time, of a
        ``Function`` with ``clear_saved_tensors_on_access``.
        """
        kept = self._saved_for_jvp if self._in_jvp else self._saved
        if self._has_been_read:
            raise RuntimeError(
                "saved_tensors can only be accessed once when clear_saved_tensors_on_access=True is set on the autograd.Function: "
                "keep what it answers, or set it to False."
            )
        if kept is None:
            raise RuntimeError(_FREED)
        tensors = tuple(saved and saved.unpack() for saved in kept)
        if self._forward_cls.clear_saved_tensors_on_access:
            self._has_been_read, self._saved = True, ()
        return tensors

    @property
    def _raw_saved_tensors(self):
        """What takes hooks for each of ``saved_tensors``."""
        if self._saved is None:
            raise RuntimeError(_FREED)
        return tuple(_autograd._saved_by_function(self, i) for i in range(len(self._saved)))

    def _register_saved_hooks(self, i, pack_hook, unpack_hook):
        if self._saved is None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor after it has been freed by .backward() or autograd.grad(): retain_graph=True "
                "keeps it."
            )
        if self._saved[i] is None:
            raise RuntimeError("Calling register_hooks on a saved tensor with value None is forbidden")
        self._saved[i].put_away(pack_hook, unpack_hook, detached=True)

    def _release(self):
        """The tape has done with this node, and frees what it saved."""
        if self._saved:
            self._saved = None
        if self._saved_for_jvp:
            self._saved_for_jvp = None

    @property
    def saved_variables(self):
        """The old name of ``saved_tensors``."""
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    def _run(self, grads):
        """The gradients of the tensors among the inputs, from those of the outputs."""
        if FORWARD_MODE.carriers is not None:
            return [g for g, kind in zip(_jvp.transposed(self, FORWARD_MODE.carriers, grads), self._input_kinds) if kind[1]]
        if self.materialize_grads:
            kinds = zip(grads, self._output_kinds)
            grads = [zeros(kind[0], dtype=kind[1]) if g is None and kind else g for g, kind in kinds]
        answer = self._backward(*grads)
        return self._checked(answer if isinstance(answer, tuple) else (answer,))

    def _backward(self, *grads):
        cls = self._forward_cls
        return _backward_of(cls)(self, *((list(grads),) if cls.boxed_grads_call else grads))

    def _checked(self, answer):
        name = type(self)._node_name(self)
        expected = len(self._input_kinds)
        if len(answer) > expected and not any(g is not None for g in answer[expected:]):
            answer = answer[:expected]
        if len(answer) != expected:
            raise RuntimeError(
                f"function {name} returned an incorrect number of gradients (expected {expected}, got {len(answer)})"
            )
        grads = []
        for i, (grad, (shape, dtype), differentiated) in enumerate(zip(answer, self._input_kinds, self._differentiated)):
            if shape is None and grad is not None:
                raise RuntimeError(
                    f"function {name} returned a gradient different than None at position {i + 1}, "
                    "but the corresponding forward input was not a Variable"
                )
            if not (grad is None or isinstance(grad, Tensor)):
                raise RuntimeError(f"expected Variable or None (got {type(grad).__name__})")
            # Others go nowhere, and only hooks look at them.
            if not differentiated:
                if shape is not None:
                    grads.append(grad)
                continue
            if grad is not None and not _sums_to(grad.shape, shape):
                raise RuntimeError(
                    f"Function {name} returned an invalid gradient at index {len(grads)} - got {list(grad.shape)} "
                    f"but expected shape compatible with {list(shape)}"
                )
            if grad is not None and grad.is_complex() and not dtype.is_complex:
                raise RuntimeError(
                    f"Function {name} returned an invalid gradient at index {len(grads)} - got a complex one ({grad.dtype}) "
                    f"but expected one of {dtype}"
                )
            if shape is not None:
                grads.append(grad)
        return grads

    def _node_name(self):
        return f"{self._forward_cls.__name__}Backward"


def _sums_to(shape, target):
    """Whether `target` broadcasts to `shape`."""
    pairs = zip(reversed(shape), reversed(target))
    return len(shape) >= len(target) and all(small in (1, large) for large, small in pairs)


class _NodeToBe:
    """What is asked of the node of a call before there is one, or where there is none."""

    requires_grad = True
    _input_metadata = ()

    def __init__(self, ctx, inputs):
        self._ctx = ctx
        self.metadata = {}
        self.next_functions = tuple(_next_function(x) for x in inputs if is_tensor(x)) if any(ctx.needs_input_grad) else ()
        self._hooks = OrderedDict()
        self._prehooks = OrderedDict()

    def register_hook(self, fn):
        return _registered(self._hooks, fn)

    def register_prehook(self, fn):
        return _registered(self._prehooks, fn)

    def become(self, node):
        """Gives the node what was to be its."""
        node.metadata.update(self.metadata)
        if self._hooks:
            node.register_hook(self._run_hooks)
        if self._prehooks:
            node.register_prehook(self._run_prehooks)

    def _run_hooks(self, grad_inputs, grad_outputs):
        for hook in list(self._hooks.values()):
            answer = hook(grad_inputs, grad_outputs)
            grad_inputs = grad_inputs if answer is None else answer
        return grad_inputs

    def _run_prehooks(self, grad_outputs):
        for hook in list(self._prehooks.values()):
            answer = hook(grad_outputs)
            grad_outputs = grad_outputs if answer is None else answer
        return grad_outputs


def _next_function(x):
    node = x.grad_fn or (_autograd._end_of_leaf(x) if x.requires_grad else None)
    return node, x.output_nr


def _registered(hooks, fn):
    handle = _autograd.RemovableHandle(hooks)
    hooks[handle.id] = fn
    return handle


class BackwardCFunction(FunctionCtx):
    """The context that a call of a ``Function`` makes. In torch it is the node as well; here it knows what its node knows."""

    def _as_node(self):
        node = self._node and self._node()
        if node is None and self._node_to_be is None:
            self._node_to_be = _NodeToBe(self, self._arguments)
        return self._node_to_be if node is None else node

    def name(self):
        """The name of the node."""
        return self._node_name()

    def apply(self, *args):
        """What the backward of the ``Function`` answers for these gradients, with no check."""
        return self._backward(*args)

    def apply_jvp(self, *args):
        """What its ``jvp`` answers for these tangents, with no check."""
        return self._forward_cls.jvp(self, *args)

    def register_hook(self, fn):
        """Registers a function that is called with the gradients of the inputs and outputs after backward, and may return others."""
        return self._as_node().register_hook(fn)

    def register_prehook(self, fn):
        """Registers a function that is called with the gradients of the outputs before backward, and may return others."""
        return self._as_node().register_prehook(fn)

    def _sequence_nr(self):
        return self._as_node()._sequence_nr()

    @property
    def metadata(self):
        """A dict for what the user wants to keep with the node."""
        return self._as_node().metadata

    @property
    def next_functions(self):
        """For each tensor among the inputs, the node that its gradient goes to and which of its outputs."""
        return self._as_node().next_functions

    @property
    def requires_grad(self):
        """True, as of all nodes."""
        return True

    @property
    def _input_metadata(self):
        return self._as_node()._input_metadata


class FunctionMeta(type):
    """Gives each ``Function`` a class of contexts."""

    def __init__(cls, name, bases, attrs):
        super().__init__(name, bases, attrs)
        cls._backward_cls = type(f"{name}Backward", (BackwardCFunction,), {"_forward_cls": cls})
        Calls.are_possible |= "vmap" in attrs and cls.__mro__[1] is not FunctionCtx


class Function(FunctionCtx, metaclass=FunctionMeta):
    """An operation of one's own.

    A subclass has static methods ``forward(ctx, *args)`` and ``backward(ctx, *grads)``, and is called by ``apply``:

    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return grad * 3 * x**2
    >>> y = Cube.apply(x)

    With a static method ``setup_context(ctx, inputs, output)``, forward has no ``ctx``. ``vjp`` is another name of
    ``backward``. The form of torch's first years is understood as well: methods with ``self`` in place of ``ctx``, called on
    an instance, ``Cube()(x)``; each call works on a copy of the instance.
    """

    # Whether vmap may run forward on one sample after the other.
    generate_vmap_rule = False
    # Whether `saved_tensors` may be read once only, and is freed then.
    clear_saved_tensors_on_access = False
    # Whether backward gets the gradients in a list.
    boxed_grads_call = False

    def __init__(self, *args, **kwargs):
        if isinstance(_plain_attribute(type(self), "forward"), staticmethod):
            warnings.warn(
                f"{type(self)} should not be instantiated: its methods are static, and are called by {type(self).__name__}.apply(…).",
                DeprecationWarning,
                stacklevel=2,
            )

    def __call__(self, *args, **kwargs):
        cls = type(self)
        if isinstance(_plain_attribute(cls, "forward"), staticmethod):
            raise RuntimeError(f"{cls.__name__}: forward is a static method; call {cls.__name__}.apply(…), not an instance")
        context = cls.__new__(cls)
        context.__dict__.update(self.__dict__)
        context._forward_cls = cls
        return _apply(cls, context, _in_order(cls, args, kwargs))

    @classmethod
    def apply(cls, *args, **kwargs):
        """Calls the operation."""
        if _is_separate(cls):
            args, kwargs = _bound(cls, args, kwargs)
        if ACTIVE.transforms:
            return _apply_within(ACTIVE.transforms, cls, args, kwargs)
        return _apply(cls, cls._backward_cls(), _in_order(cls, args, kwargs))

    @staticmethod
    def forward(*args, **kwargs):
        """Computes the outputs: ``forward(ctx, *args)``, or ``forward(*args)`` if there is a ``setup_context``."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Fills the context after ``forward(*args)``."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """From the gradients of the outputs to one for each argument of forward, None for those that have none."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """From tangents of the inputs to those of the outputs."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """How to run on a batch: from its size, the dims of the arguments that are mapped, and these to an output and its dims.

        Under ``vmap`` it is called once for all samples, which are then gone through once more.
        """
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set generate_vmap_rule=True."
        )


class InplaceFunction(Function):
    """A ``Function`` that is told whether to work in place; kept for old programs."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace


def _plain_attribute(cls, name):
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


def _backward_of(cls):
    backward, vjp = cls.backward, cls.vjp
    if backward is not Function.backward and vjp is not Function.vjp:
        raise RuntimeError(
            "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one of them."
        )
    return backward if vjp is Function.vjp else vjp


def _has_jvp(cls):
    return cls.jvp is not Function.jvp


def _apply_within(transforms, cls, args, kwargs):
    """Calls the operation within transforms of functions, the innermost of which is the first that sees it."""
    if not _is_separate(cls):
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must override the "
            "setup_context staticmethod."
        )
    *outer, innermost = transforms
    if any(transform.randomness for transform in transforms):
        _check_vmap_support(cls)
        if any(map(is_tensor, kwargs.values())):
            raise NotImplementedError(
                "Run vmap on autograd.Function with kwarg-only Tensor args. Please do not pass kwarg-only Tensors to "
                f"autograd.Function. Got: {kwargs}"
            )
    if innermost.randomness is None:
        # It is recorded once for all transforms that differentiate.
        mapping = tuple(transform for transform in outer if transform.randomness)
        with active(mapping):
            return _apply(cls, cls._backward_cls(), _in_order(cls, args, kwargs), forward=cls.apply if mapping else cls.forward)
    with active(tuple(outer)):
        if not cls.generate_vmap_rule and is_mapped(args, innermost.number):
            return innermost.calls.answer(innermost, cls, args, kwargs)
        return cls.apply(*args, **kwargs) if outer else _apply(cls, cls._backward_cls(), args, kwargs)


def _check_vmap_support(cls):
    has_rule = cls.vmap is not Function.vmap
    if cls.generate_vmap_rule and has_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overridden vmap staticmethod. "
            "Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid ambiguity."
        )
    if not (cls.generate_vmap_rule or has_rule):
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please override and implement the vmap "
            "staticmethod or set generate_vmap_rule=True."
        )


def _bound(cls, args, kwargs):
    """Arguments with the defaults of forward."""
    import inspect  # slow to import, and seldom needed

    bound = inspect.signature(cls.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args, bound.kwargs


def _in_order(cls, args, kwargs):
    """All arguments by their place in the signature of forward, as backward has a gradient for each place."""
    if not kwargs:
        return args
    code = cls.forward.__code__
    places = code.co_varnames[not _is_separate(cls) : code.co_argcount]
    for i, name in enumerate(places):
        if name in kwargs and i < len(args):
            raise TypeError(f"forward() got multiple values for argument '{name}'")
    for name in kwargs:
        if name not in places:
            raise TypeError(f"forward() got an unexpected keyword argument '{name}'")
    last = max(map(places.index, kwargs))
    for i, name in enumerate(places[len(args) : last], len(args)):
        if name not in kwargs:
            raise TypeError(f"forward() missing required argument: '{name}' (position {i})")
    return (*args, *(kwargs[name] for name in places[len(args) : last + 1]))


def _is_separate(cls):
    return cls.setup_context is not Function.setup_context


def _apply(cls, ctx, inputs, kwargs={}, forward=None):
    separate = _is_separate(cls)
    ctx.needs_input_grad = tuple(is_tensor(x) and x.requires_grad for x in inputs)
    tangents = _jvp.tangents_of(inputs) if ACTIVE.forward else ()
    recorded = bool(tangents) or _autograd._is_recording() and any(ctx.needs_input_grad)
    ctx._arguments = inputs
    with along_tangents(()), no_grad():
        if separate:
            output = (forward or cls.forward)(*inputs, **kwargs)
            cls.setup_context(ctx, inputs, output)
        else:
            output = cls.forward(ctx, *inputs)
    ctx._arguments = ()
    outputs = output if isinstance(output, tuple) else (output,)
    outputs = _Recording(ctx, inputs, separate, recorded).record(outputs)
    if tangents:
        _jvp.call(ctx, cls.jvp, inputs, tangents, outputs)
    return outputs if isinstance(output, tuple) else outputs[0]


class _Recording:
    """Puts the outputs of one call on the tape."""

    def __init__(self, ctx, inputs, separate, recorded):
        self.ctx = ctx
        self.inputs = [x for x in inputs if is_tensor(x)]
        self.arguments = inputs
        self.separate = separate
        self.recorded = recorded

    def record(self, outputs):
        ctx = self.ctx
        self.dirty = dirty = self._noted("dirty_tensors")
        self.non_differentiable = self._noted("non_differentiable")
        for i, x in enumerate(dirty):
            if not is_tensor(x):
                raise RuntimeError(f"mark_dirty can only accept variables, but argument {i} is of type {type(x).__name__}")
        if not all(_among(x, outputs) for x in dirty):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. "
                "The inputs that are modified inplace must all be outputs of the Function."
            )
        for i, x in enumerate(self.non_differentiable):
            if not is_tensor(x):
                raise RuntimeError(
                    f"mark_non_differentiable only accepts variable arguments, but argument {i} is of type {type(x).__name__}"
                )
        for x in dirty:
            _autograd.increment_version(x)
        differentiable = [self._is_differentiable(y) for y in outputs]
        node = None
        if self.recorded:
            ctx._input_kinds = [(x.shape, x.dtype) if is_tensor(x) else (None, None) for x in self.arguments]
            ctx._differentiated = [is_tensor(x) and x.requires_grad for x in self.arguments]
            ctx._output_kinds = [
                (y.shape, y.dtype) if is_tensor(y) and (ctx._materialize_non_diff_grads or differentiable[i]) else None
                for i, y in enumerate(outputs)
            ]
            for_jvp = ()
            if _has_jvp(ctx._forward_cls):
                ctx._output_roles = _jvp.roles(outputs, differentiable, self.arguments, dirty)
                for_jvp = ctx.saved_for_forward or ()
            saves = any(x is not None for x in (*self._noted("to_save"), *for_jvp))
            node, ctx._node = _autograd._custom_node(ctx._node_name(), self.inputs, len(outputs), saves, ctx)
            if ctx._node_to_be is not None:
                ctx._node_to_be.become(node)
        several = sum(differentiable) > 1
        placed = tuple(
            self._placed(y, i, node, differentiable[i], several, len(outputs)) if is_tensor(y) else y
            for i, y in enumerate(outputs)
        )
        self._save(placed, node, differentiable)
        return placed

    def _noted(self, name):
        """What the forward has left under this name, which it may also have set itself."""
        tensors = getattr(self.ctx, name)
        if not (tensors is None or isinstance(tensors, tuple)):
            raise RuntimeError(f"{name} is expected to be a tuple but is {type(tensors).__name__}")
        return tensors or ()

    def _is_differentiable(self, y):
        return self.recorded and is_tensor(y) and is_inexact(y) and not _among(y, self.non_differentiable)

    def _placed(self, y, i, node, differentiable, several, outputs):
        """The output as the caller sees it."""
        returned, written = _among(y, self.inputs), _among(y, self.dirty)
        if not differentiable:
            return self._off_tape(y, returned, written)
        if written:
            self._write(y, i, node, returned, outputs)
            return y
        if returned:
            y = self._view_of_input(y)
        _autograd._set_history(y, node, i, several)
        return y

    def _off_tape(self, y, returned, written):
        if y.requires_grad:
            # A view of an input that nothing records is as any other: it says what its base does.
            return y.detach() if returned else y if y._is_view() else y.detach_()
        return self._view_of_input(y) if returned and not written else y

    def _view_of_input(self, y):
        if self.separate and _among(y, (*self._noted("to_save"), *(self.ctx.saved_for_forward or ()))):
            raise RuntimeError(
                "An input that has been returned as-is as output is being saved for backward. This is not supported if you "
                "override setup_context: return and save a view of it, x.view_as(x), or have forward take ctx."
            )
        with no_grad():
            return y.view_as(y)

    def _write(self, y, i, node, returned, outputs):
        if y.is_leaf and y.requires_grad and not y._is_view():
            raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
        if not returned:
            warnings.warn(
                "Only input Tensors should be given to ctx.mark_dirty(). If a Tensor is not an input, there is no need to pass "
                "it to mark_dirty()."
            )
        if y._is_view() and outputs > 1 and any(self.ctx._differentiated) and _autograd.is_grad_enabled():
            raise RuntimeError(
                "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more than one "
                "Tensor: give it a clone, or make two Functions of it, one that writes and one that does the rest."
            )
        _autograd._rebase_history(y, node, i)

    def _save(self, placed, node, differentiable):
        ctx = self.ctx
        if self.recorded:
            for i, x in enumerate(self._noted("to_save")):
                if not (x is None or is_tensor(x)):
                    raise TypeError(
                        f"save_for_backward can only save variables, but argument {i} is of type {type(x).__name__}"
                    )
            # An input that is returned is not among them: the caller sees a view of it.
            places = {id(y): i for i, y in enumerate(placed) if differentiable[i]}
            ctx._saved, ctx._saved_for_jvp = (
                tuple(_saved.save(x, places.get(id(x)), ctx._node) for x in tensors or ())
                for tensors in (ctx.to_save, ctx.saved_for_forward if _has_jvp(ctx._forward_cls) else ())
            )
        ctx.to_save = ctx.saved_for_forward = None


def _among(x, sequence):
    return any(x is item for item in sequence)


def once_differentiable(fn):
    """Decorates a ``backward`` whose result must not be differentiated: to do so is a RuntimeError."""

    @functools.wraps(fn)
    def wrapper(ctx, *args):
        if FORWARD_MODE.on:
            raise RuntimeError(
                "the derivative along tangents is that of the backward, which is marked with @once_differentiable, if not by jvp"
            )
        with no_grad():
            outputs = fn(ctx, *args)
        if not _autograd.is_grad_enabled():
            return outputs
        if not any(is_tensor(arg) and arg.requires_grad for arg in args):
            return outputs
        several = isinstance(outputs, tuple)
        text = "trying to differentiate twice a function that was marked with @once_differentiable"
        parts = _autograd._delayed_error(text, outputs if several else (outputs,))
        return tuple(parts) if several else parts[0]

    return wrapper
