"""The derivative of a ``Function`` by its ``jvp``."""

from ferrograd._C import is_tensor, zeros
from ferrograd.autograd._products import gradients
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


def transposed(jvp):
    """The backward that belongs to a ``jvp``, which is linear in the tangents: its derivative by them."""

    def backward(ctx, *grads):
        with enable_grad():
            kinds = [kind if wanted else None for kind, wanted in zip(ctx._input_kinds, ctx.needs_input_grad)]
            tangents = [kind and zeros(kind[0], dtype=kind[1], requires_grad=True) for kind in kinds]
            # A jvp may write to what it is given.
            given = [t if t is None else t.clone() for t in tangents]
            zero = [_zeros(*kind) if ctx.materialize_grads else None for kind in ctx._input_kinds]
            ctx._in_jvp = True
            try:
                answer = jvp(ctx, *(z if t is None else t for t, z in zip(given, zero)))
            finally:
                ctx._in_jvp = False
            outputs = _checked(ctx, given, answer if isinstance(answer, tuple) else (answer,))
            found = iter(gradients(outputs, [t for t in tangents if t is not None], grads, create_graph=True))
        return tuple(t if t is None else next(found) for t in tangents)

    return backward


def _zeros(shape, dtype):
    """The tangent of an input that carries none."""
    return zeros(shape, dtype=dtype) if dtype and (dtype.is_floating_point or dtype.is_complex) else None


def _checked(ctx, given, answer):
    """The tangents of the outputs, None where there is none."""
    if len(answer) != len(ctx._output_roles):
        raise RuntimeError(
            f"Function's jvp returned an invalid number of forward gradients (expected {len(ctx._output_roles)} but got "
            f"{len(answer)})"
        )
    kinds = zip(ctx._output_kinds, ctx._output_roles)
    return [_checked_tangent(i, t, *kind, given) for i, (t, kind) in enumerate(zip(answer, kinds))]


def _checked_tangent(i, t, kind, role, given):
    role, place = role
    if not (t is None or is_tensor(t)):
        raise RuntimeError(f"expected Variable or None (got {type(t).__name__}) for grad output {i}.")
    if kind is None:
        return None
    if role is CONSTANT:
        if t is not None:
            raise RuntimeError(
                f"Function's jvp returned a gradient at position {i}, but the corresponding forward output is not a "
                "differentiable Tensor. You should return None at that position instead."
            )
        return None
    if role is WRITTEN and given[place] is not None and t is not given[place]:
        _refuse_written(t, given)
    if t is None:
        return None
    if t.shape != kind[0]:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
            f"Tensor is of size {list(kind[0])} while the given forward gradient is of size {list(t.shape)}."
        )
    if role is SHOWN and given[place] is not None:
        _check_view(t, given[place])
    return t


def _refuse_written(t, given):
    if any(t is other for other in given if other is not None):
        raise RuntimeError(
            "An inplace custom Function is not returning the forward mode gradients as-is. If the forward is modifying an input "
            "inplace, then the jvp function must modify the gradient inplace and return it as-is."
        )
    raise RuntimeError(
        "An inplace custom Function is not modifying the forward mode gradients inplace. If the forward is modifying an input "
        "inplace, then the jvp function must modify the corresponding gradient inplace."
    )


def _check_view(t, of):
    if not t._is_view():
        raise RuntimeError(
            "A custom Function's forward is returning a view (or an input as-is) but the jvp is not returning a view."
        )
    if t._base is not of:
        raise RuntimeError(
            "A custom Function is returning a view but the jvp is not returning a view of the given grad input."
        )
