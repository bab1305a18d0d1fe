"""Derivatives of functions, as functions."""

import functools
from contextlib import nullcontext

from ferrograd._C import Tensor, eye, zeros_like
from ferrograd._vmap import check_randomness, vmap
from ferrograd.autograd._products import by_columns, by_rows, is_inexact
from ferrograd.autograd._transform import transform
from ferrograd.autograd.forward_ad import check_inexact, check_shapes
from ferrograd.autograd.grad_mode import recording
from ferrograd.func._level import Level
from ferrograd.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["debug_unwrap", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]


def _checked_argnums(argnums, count):
    """An index, or a tuple of different ones, counted from the front."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if isinstance(argnums, int):
        return _checked_argnum(argnums, count)
    argnums = tuple(_checked_argnum(argnum, count) for argnum in argnums)
    if not argnums:
        raise RuntimeError("argnums must be non-empty")
    if len(set(argnums)) != len(argnums):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return argnums


def _checked_argnum(argnum, count):
    if not isinstance(argnum, int):
        raise RuntimeError(f"argnum must be int, got: {type(argnum)}")
    if not -count <= argnum < count:
        raise RuntimeError(f"Got argnum={argnum}, but only {count} positional inputs")
    return argnum % count


def _without_aux(api, output, has_aux):
    """Output and auxiliary output."""
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{api}: output of function f should be a tuple: (output, aux) if has_aux is True")
    for leaf in tree_flatten(output[1])[0]:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(f"Expected tensors, got unsupported type {type(leaf)}")
    return output


def _tensors(api, output):
    """The tensors of an output, and its structure."""
    leaves, spec = tree_flatten(output)
    if leaves in ([], [None]):
        raise RuntimeError(f"{api}: Expected f to be a function that has non-empty output (got output = {leaves})")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(f"{api}: expected f(*primals) to return only tensors, got unsupported type {type(leaf)}")
    return leaves, spec


def _check_inexact(name, outputs):
    for y in outputs:
        if not is_inexact(y):
            raise RuntimeError(
                f"{name}(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype {y.dtype}"
            )


def _check_real(name, what, tree):
    for i, x in enumerate(tree_flatten(tree)[0]):
        if isinstance(x, Tensor) and x.is_complex():
            raise RuntimeError(
                f"{name}: Expected all {what} to be real but received complex tensor at flattened input idx: {i}"
            )


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that answers the gradient of `func`, which answers a number, and its value.

    `argnums` says by which arguments (trees of tensors); with `has_aux`, `func` answers ``(number, tensors)``, and the result
    is ``(gradient, (number, tensors))``.
    """
    api = "grad_and_value(f)(*args)"

    @functools.wraps(func, updated=())
    def wrapper(*args, **kwargs):
        level = Level(args, _checked_argnums(argnums, len(args)))
        output, aux = _without_aux(api, level.call(func, kwargs), has_aux)
        if not isinstance(output, Tensor):
            raise RuntimeError(f"{api}: Expected f(*args) to return a Tensor, got {type(output)}")
        if output.dim() != 0:
            raise RuntimeError(
                f"{api}: Expected f(*args) to return a scalar Tensor, got tensor with {output.dim()} dims. "
                "Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        grads = level.tree([level.result(g) for g in level.gradients((output,), retain_graph=True)])
        value = level.result(output)
        return grads, (value, level.results(aux)) if has_aux else value

    return wrapper


def grad(func, argnums=0, has_aux=False):
    """A function that answers the gradient of `func`; with `has_aux`, ``(gradient, tensors)``. See ``grad_and_value``.

    >>> ferrograd.func.grad(lambda x: x.sin())(ferrograd.tensor(0.0))
    tensor(1.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func, updated=())
    def wrapper(*args, **kwargs):
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper


def vjp(func, *primals, has_aux=False):
    """``(func(*primals), vjp_fn)``, where ``vjp_fn(cotangents)`` answers a tuple of gradients, one for each primal.

    With `has_aux`, `func` answers ``(output, tensors)``, and the result is ``(output, vjp_fn, tensors)``.
    """
    output, vjp_fn, aux = _vjp(func, primals, None, has_aux)
    return (output, vjp_fn, aux) if has_aux else (output, vjp_fn)


def _vjp(func, args, argnums, has_aux):
    level = Level(args, argnums)
    output, aux = _without_aux("vjp(f, *primals)", level.call(func), has_aux)
    outputs, spec = _tensors("vjp(f, *primals)", output)
    _check_inexact("vjp", outputs)

    def vjp_fn(cotangents, retain_graph=True, create_graph=None):
        weights, given = tree_flatten(cotangents)
        if given != spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {given}, primal output: {spec}"
            )
        inner = Level((), None)  # for whether recording is on now
        inner.own, inner.number = level.own, level.number
        create = inner.leads_outside(*outputs, *(w for w in weights if w is not None)) if create_graph is None else create_graph
        grads = level.gradients(outputs, weights, retain_graph, create)
        return level.tree([g if create and inner.leads_outside(g) else g.detach() for g in grads])

    return tree_unflatten([level.result(y) for y in outputs], spec), vjp_fn, level.results(aux)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """``(func(*primals), its derivative along the tangents)``; both tuples are alike.

    With `strict`, an output that does not depend on the primals is an error, otherwise its derivative is zeros. With
    `has_aux`, `func` answers ``(output, tensors)``, and the result is ``(output, derivative, tensors)``.
    """
    api = "jvp(f, primals, tangents)"
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{api}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    directions = _directions(api, primals, tangents)
    for x, direction in zip(tree_flatten(primals)[0], directions):
        check_inexact(x, direction)
        check_shapes(x, direction)
    level = Level(primals, forward=True, tangents=directions)
    with level.along_tangents():
        output, aux = _without_aux(api, level.call(func), has_aux)
        outputs, spec = _tensors(api, output)
        found = level.carriers.tangents_of(outputs)
        if strict and None in found:
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. "
                "This is not allowed with strict=True."
            )
        parts = [zeros_like(y) if part is None else level.result(part) for part, y in zip(found, outputs)]
        results = (tree_unflatten([level.result(y) for y in outputs], spec), tree_unflatten(parts, spec))
        return (*results, level.results(aux)) if has_aux else results


def _directions(api, primals, tangents):
    variables, spec = tree_flatten(primals)
    directions, given = tree_flatten(tangents)
    if spec != given:
        raise RuntimeError(
            f"{api}: Expected primals and tangents to have the same python structure. For example, if primals is a tuple of 3 "
            f"tensors, tangents also must be. Got primals with structure {spec} and tangents with structure {given}"
        )
    for name, leaves in (("primals", variables), ("tangents", directions)):
        if not leaves:
            raise RuntimeError(f"{api}: Expected {name} to contain at least one Tensor.")
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise RuntimeError(f"{api}: Expected {name} to only contain Tensors, got {type(leaf)}")
    return directions


def linearize(func, *primals):
    """``(func(*primals), jvp_fn)``, where ``jvp_fn(*tangents)`` answers the derivative along tangents like the primals.

    As for the others, `func` may not write to what it has captured. (In torch it writes there again at each call of ``jvp_fn``.)
    """
    values, like = tree_flatten(primals)
    for x in values:
        if isinstance(x, Tensor):
            check_inexact(x, x)
    level = Level(primals, forward=True)
    with level.along_tangents():
        outputs, spec = _tensors("linearize(f, *primals)", level.call(func))
        tangents = level.carriers.products(outputs)
        results = [level.result(y) for y in outputs]

    def jvp_fn(*directions):
        flat, given = tree_flatten(directions)
        if given != like:
            raise RuntimeError(f"Expected the tangents {given} to have the same argspec as the primals {like}")
        for i, (direction, x) in enumerate(zip(flat, level.variables)):
            for what in ("shape", "dtype"):
                if getattr(direction, what) != getattr(x, what):
                    raise RuntimeError(
                        f"tangent:{i} with {what} {getattr(direction, what)} in flattened pytree doesn't match the {what} "
                        f"{getattr(x, what)} of the corresponding primal."
                    )
        with level.along_tangents(), recording():
            found = tangents.along(flat, create_graph=level.leads_outside(*outputs, *flat), retain_graph=True)
            parts = [zeros_like(y) if part is None else level.result(part) for part, y in zip(found, outputs)]
        return tree_unflatten(parts, spec)

    return tree_unflatten(results, spec), jvp_fn


def _jacobian(name, func, argnums, has_aux, rows, randomness=None):
    """A function that answers for each output a tree, like the arguments at `argnums`, of Jacobians."""
    # As torch's is made of these.
    api = "vjp(f, *primals)" if randomness is None else "jvp(f, primals, tangents)"

    @functools.wraps(func, updated=())
    def wrapper(*args):
        _check_real(name, "inputs", args)
        if randomness is not None:
            _check_forward_inputs(args, argnums)
        level = Level(args, _checked_argnums(argnums, len(args)), forward=randomness is not None)
        with level.along_tangents() if level.forward else nullcontext():
            with transform(randomness, 1) if level.forward else nullcontext():
                output, aux = _without_aux(api, level.call(func), has_aux)
            outputs, spec = _tensors(api, output)
            _check_real(name, "outputs", outputs)
            with recording():
                jacobians = rows(level, outputs)
            trees = [level.tree([level.result(j) for j in row]) for row in jacobians]
            result = tree_unflatten(trees, spec)
            return (result, level.results(aux)) if has_aux else result

    return wrapper


def _check_forward_inputs(args, argnums):
    argnums = _checked_argnums(argnums, len(args))
    for x in tree_flatten(args[argnums] if isinstance(argnums, int) else [args[i] for i in argnums])[0]:
        if not isinstance(x, Tensor):
            raise AttributeError(f"'{type(x).__name__}' object has no attribute 'numel'")
        check_inexact(x, x)


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """A function that answers the Jacobian of `func`, computed row by row: for few outputs of many arguments.

    The result is a tree like the output, of trees like the arguments, of tensors with the shape of both. (The last argument says
    how torch joins chunks; here there are none.)
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    def rows(level, outputs):
        _check_inexact("jacrev", outputs)
        return [by_rows(y, level.variables, level.leads_outside(y)) for y in outputs]

    return _jacobian("jacrev", func, argnums, has_aux, rows)


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """As ``jacrev``, computed column by column: for many outputs of few arguments.

    `randomness` says what random ops do in `func`, as in ``vmap``, for each column: "error", the "same" numbers, or "different".
    """
    check_randomness(randomness)

    def columns(level, outputs):
        return by_columns(outputs, level.carriers, level.leads_outside(*outputs))

    if randomness == "different":
        return _jacobian_of_calls(func, argnums, has_aux)
    return _jacobian("jacfwd", func, argnums, has_aux, columns, randomness)


def _jacobian_of_calls(func, argnums, has_aux):
    """As ``jacfwd``, with a call of the function for each column."""

    @functools.wraps(func, updated=())
    def wrapper(*args):
        _check_real("jacfwd", "inputs", args)
        level = Level(args, _checked_argnums(argnums, len(args)))
        sizes = [x.numel() for x in level.values]
        units = eye(sum(sizes)).split(sizes, 1)

        def column(*directions):
            inner = jvp(lambda *xs: func(*level.arguments(xs)), tuple(level.values), directions, has_aux=has_aux)
            _check_real("jacfwd", "outputs", inner[0])
            return inner[1:] if has_aux else inner[1]

        columns = vmap(column, randomness="different")(*(u.to(x.dtype).view(-1, *x.shape) for u, x in zip(units, level.values)))
        columns, aux = columns if has_aux else (columns, None)
        flat, spec = tree_flatten(columns)
        parts = [column.movedim(0, -1).split(sizes, -1) for column in flat]
        trees = [level.tree([j.reshape(*j.shape[:-1], *x.shape) for j, x in zip(row, level.values)]) for row in parts]
        result = tree_unflatten(trees, spec)
        return (result, tree_map(lambda a: a[0], aux)) if has_aux else result

    return wrapper


def hessian(func, argnums=0):
    """A function that answers the Hessian of `func`: forward over reverse."""
    return jacfwd(jacrev(func, argnums), argnums)


def functionalize(func, *, remove="mutations"):
    """A function that answers what `func` does. Writes in place need not be removed for the other transforms: they stay."""
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are: 'mutations' "
            "and 'mutations_and_views'."
        )

    @functools.wraps(func, updated=())
    def wrapper(*args, **kwargs):
        return func(*args, **kwargs)

    return wrapper


def debug_unwrap(tensor, *, recurse=True):
    """The tensor within a tensor that a transform has made: itself."""
    return tensor
