"""Products with Jacobians, and whole Jacobians, of tensors that have been computed already."""

from _thread import _local

from ferrograd._C import _autograd, stack, zeros, zeros_like


class _ForwardMode(_local):
    """Whether this thread computes a derivative along tangents, and whether by the ``jvp`` of functions of the user's."""

    on = False
    by_jvp = False


FORWARD_MODE = _ForwardMode()


def is_inexact(x):
    """Whether a tensor holds floating-point numbers, real or complex: what has derivatives."""
    return x.is_floating_point() or x.is_complex()


def gradients(outputs, inputs, weights=None, create_graph=False, retain_graph=None):
    """The gradients of the outputs, times the weights, for each input; None where there is none."""
    weights = weights or (None,) * len(outputs)
    pairs = [(y, w) for y, w in zip(outputs, weights) if y is not None and y.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    outputs, weights = zip(*pairs)
    return _autograd.grad(
        outputs, inputs, weights, create_graph=create_graph, retain_graph=retain_graph, allow_unused=True
    )


class Tangents:
    """Jacobian times vector, for outputs that have been computed from inputs.

    The vector-Jacobian product is linear in its vector, and the derivative of it by that vector is the Jacobian-vector
    product (J. Townsend, "A new trick for calculating Jacobian vector products", 2017). So whatever can be differentiated
    twice backwards can be differentiated forwards.
    """

    def __init__(self, outputs, inputs, forward=True):
        """In `forward` mode, functions of the user's are asked for their ``jvp``, otherwise for the derivative of their backward."""
        self.outputs = outputs
        self.weights = tuple(zeros_like(y, requires_grad=True) if is_inexact(y) else None for y in outputs)
        before = FORWARD_MODE.on, FORWARD_MODE.by_jvp
        FORWARD_MODE.on, FORWARD_MODE.by_jvp = True, forward
        try:
            self.products = gradients(outputs, inputs, self.weights, create_graph=True)
        finally:
            FORWARD_MODE.on, FORWARD_MODE.by_jvp = before

    def along(self, tangents, create_graph=False, retain_graph=None):
        """The derivatives of the outputs along tangents of the inputs; None for outputs that do not depend on them."""
        known = [w for w in self.weights if w is not None]
        found = iter(gradients(self.products, known, tangents, create_graph, retain_graph) if known else ())
        return tuple(None if w is None else next(found) for w in self.weights)


def basis(shape, like):
    """The tensors of a shape that are 1 in one place and 0 elsewhere, in order."""
    count = 1
    for size in shape:
        count *= size
    for i in range(count):
        unit = zeros(count, dtype=like.dtype)
        unit[i] = 1
        yield unit.view(shape)


def by_rows(output, inputs, create_graph=False, missing=None):
    """The Jacobian of one output for each input, of the shapes of both; `missing(i)` is told of inputs it does not depend on."""
    rows = []
    for unit in basis(output.shape, output):
        grads = gradients((output,), inputs, (unit,), create_graph, retain_graph=True)
        for i, grad in enumerate(grads):
            if grad is None and missing:
                missing(i)
        rows.append([zeros_like(x) if g is None else g for g, x in zip(grads, inputs)])
    return tuple(_joined(column, (*output.shape, *x.shape), x) for x, column in zip(inputs, _columns(rows, inputs)))


def by_columns(outputs, inputs, create_graph=False, own=None):
    """The Jacobians of all outputs for each input: ``result[output][input]``, of the shapes of both.

    Leaves that are made for it are added to the list `own`.
    """
    tangents = Tangents(outputs, inputs)
    if own is not None:
        own += [w for w in tangents.weights if w is not None]
    jacobians = []
    for i, x in enumerate(inputs):
        columns = []
        for unit in basis(x.shape, x):
            directions = tuple(unit if j == i else zeros_like(other) for j, other in enumerate(inputs))
            parts = tangents.along(directions, create_graph, retain_graph=True)
            columns.append([zeros_like(y) if part is None else part for part, y in zip(parts, outputs)])
        jacobians.append(
            [_last(column, x.shape, y) for y, column in zip(outputs, _columns(columns, outputs))]
        )
    return tuple(tuple(by_input[o] for by_input in jacobians) for o in range(len(outputs)))


def _columns(rows, like):
    """The lists of first, second, … items."""
    return [[row[i] for row in rows] for i in range(len(like))]


def _joined(parts, shape, like):
    return stack(parts).view(shape) if parts else zeros(shape, dtype=like.dtype)


def _last(parts, shape, like):
    """Parts joined along new last dims of a shape."""
    if not parts:
        return zeros((*like.shape, *shape), dtype=like.dtype)
    return stack(parts, -1).reshape((*like.shape, *shape))
