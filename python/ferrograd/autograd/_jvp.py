"""The derivative of a ``Function`` by its ``jvp``."""

from contextlib import nullcontext

from ferrograd._C import _autograd, is_tensor, zeros
from ferrograd.autograd._products import gradients, is_inexact, shares_memory
from ferrograd.autograd._transform import ACTIVE, along_tangents
from ferrograd.autograd.grad_mode import enable_grad

# What outputs are to inputs.
CONSTANT, WRITTEN, SHOWN = "not differentiable", "written to", "an input or a view of one"


def roles(outputs, differentiable, inputs, written):
    """For each output what it is, if not new, and to which of the inputs."""
    return [_role(y, inputs, written) if wanted else (CONSTANT, None) for y, wanted in zip(outputs, differentiable)]


def _role(y, inputs, written):
    base = y._base
    for i, x in enumerate(inputs):
        if x is y:
            return WRITTEN if any(y is other for other in written) else SHOWN, i
        if base is not None and is_tensor(x) and (x is base or x._base is base):
            return SHOWN, i
    return None, None


def tangents_of(inputs):
    """For each derivative along tangents that is being taken, the outermost first, those of the inputs of a function."""
    tensors = [x for x in inputs if is_tensor(x)]
    if not any(map(_autograd._is_followed, tensors)):
        return []
    return [(i, tangents) for i, carriers in enumerate(ACTIVE.forward) if any_of(tangents := carriers.tangents_of(tensors))]


def any_of(tangents):
    """Whether there is one."""
    return any(t is not None for t in tangents)


def call(ctx, jvp, inputs, tangents, outputs):
    """Calls the ``jvp`` of a function that has answered outputs, for each derivative; these carry what it answers from now on."""
    active = ACTIVE.forward
    for i, known in tangents:
        found = iter(known)
        known = [next(found) if is_tensor(x) else None for x in inputs]
        carriers = active[i]
        with along_tangents(active[:i]), enable_grad() if carriers.tangents is None else nullcontext():
            # A jvp may write to what it is given: what is yet to be computed from that finds a copy.
            copies = carriers.copies(known)
            given = [t if t is None or carriers.tangents is not None else t.clone() for t in known]
            versions = [t if t is None else t._version for t in given]
            zero = [_zeros(*kind) if ctx.materialize_grads else None for kind in ctx._input_kinds]
            ctx._in_jvp = True
            try:
                answer = jvp(ctx, *(z if t is None else t for t, z in zip(given, zero)))
            finally:
                ctx._in_jvp = False
        for t, version in zip(given, versions):
            if t is not None and t._version != version:
                carriers.keep(t, copies)
        answer = _checked(ctx, given, versions, answer if isinstance(answer, tuple) else (answer,))
        if carriers.tangents is None:
            ctx._linear = {**ctx._linear, carriers: (known, answer)}
            continue
        for place, (y, t) in enumerate(zip(outputs, answer)):
            if t is not None:
                carriers.carry(_autograd._as_output(y, ctx._node(), place), t)
                # Elsewhere if it is a view that has been written to.
                carriers.known[_autograd._place(y)] = t


def transposed(ctx, carriers, grads):
    """What a function hands on to its inputs where a derivative along tangents is taken: nothing if its outputs carry these."""
    known, answer = ctx._linear.get(carriers, ((), ()))
    tangents = [t for t in known if t is not None]
    with enable_grad():
        found = iter(gradients(answer, tangents, grads, create_graph=True))
    return [None if t is None else next(found) for t in known] if known else [None] * len(ctx._input_kinds)


def _zeros(shape, dtype):
    """The tangent of an input that carries none."""
    return zeros(shape, dtype=dtype) if dtype and (dtype.is_floating_point or dtype.is_complex) else None


def _checked(ctx, given, versions, answer):
    """The tangents of the outputs, None where there is none."""
    if len(answer) != len(ctx._output_roles):
        raise RuntimeError(
            f"Function's jvp returned an invalid number of forward gradients (expected {len(ctx._output_roles)} but got "
            f"{len(answer)})"
        )
    kinds = zip(ctx._output_kinds, ctx._output_roles)
    return [_checked_tangent(i, t, *kind, given, versions) for i, (t, kind) in enumerate(zip(answer, kinds))]


def _checked_tangent(i, t, kind, role, given, versions):
    role, place = role
    if not (t is None or is_tensor(t)):
        raise RuntimeError(f"expected Variable or None (got {type(t).__name__}) for grad output {i}.")
    if kind is None:
        return None
    if role is CONSTANT:
        if t is not None:
            raise RuntimeError(
                f"Function's jvp returned a gradient at position {i}, but  the corresponding forward output is not a "
                "differentiable Tensor.You should return None at that position instead."
            )
        return None
    if role is WRITTEN and given[place] is not None:
        _check_written(t, given[place], versions[place])
    if role is SHOWN and t is not None and given[place] is not None:
        _check_view(t, given[place])
    if t is None or not is_inexact(t):
        raise RuntimeError("Expected both tensor and its forward grad to be floating point or complex")
    if t.shape != kind[0]:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
            f"Tensor is of size {list(kind[0])} while the given forward gradient is of size {list(t.shape)}."
        )
    return t


def _check_written(t, of, version):
    if t is None or t._version == (version if shares_memory(t, of) else 0):
        raise RuntimeError(
            "An inplace custom Function is not modifying the forward mode gradients inplace. If the forward is modifying an input "
            "inplace, then the jvp function must modify the corresponding gradient inplace."
        )
    if t is not of:
        raise RuntimeError(
            "An inplace custom Function is not returning the forward mode gradients as-is. If the forward is modifying an input "
            "inplace, then the jvp function must modify the gradient inplace and return it as-is."
        )


def _check_view(t, of):
    if not t._is_view():
        raise RuntimeError(
            "A custom Function's forward is returning a view (or an input as-is) but the jvp is not returning a view."
        )
    if t._base is not (of._base if of._is_view() else of):
        raise RuntimeError(
            "A custom Function is returning a view but the jvp is not returning a view of the given grad input."
        )
