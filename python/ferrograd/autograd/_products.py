"""Products with Jacobians, and whole Jacobians, of tensors that have been computed already."""

from _thread import _local
from itertools import repeat
from weakref import WeakValueDictionary

from ferrograd._C import _autograd, ones_like, stack, zeros, zeros_like
from ferrograd.autograd._transform import COMPUTED, NO_TANGENTS, forward_state
from ferrograd.autograd.grad_mode import recording


class _ForwardMode(_local):
    """Whether this thread computes a derivative along tangents, and for which `Carriers`: functions of the user's have a ``jvp``."""

    on = False
    carriers = None


FORWARD_MODE = _ForwardMode()


class Carriers:
    """The variables of one derivative along tangents, and their tangents, unless these come later."""

    def __init__(self, tangents=None, alone=False):
        """If it is taken `alone`, tangents carry no tangents themselves."""
        self.alone = alone
        self.variables = []
        self.tangents = tangents
        # Of those that are variables, or duals of these, by their places on the tape.
        self.known = {}
        # Of other tensors, as long as somebody has them.
        self.found = WeakValueDictionary()
        # Leaves made for it.
        self.own = []
        # At how many variables those are looked for that nothing leads to.
        self.look_at = 16

    def carry(self, variable, tangent):
        """Gives a tangent to a tensor that has been computed."""
        self.variables.append(variable)
        self.tangents.append(tangent)
        self.known[_autograd._place(variable)] = tangent

    def copies(self, given):
        """Copies of the tangents that a write to those given may change."""
        given = [t for t in given if t is not None]
        return {id(t): t.clone() for t in self.tangents or () if any(shares_memory(t, other) for other in given)}

    def keep(self, written, copies):
        """Puts copies where tangents were before one was written to: what is yet to be computed from these finds those."""
        kept = lambda t: copies[id(t)] if id(t) in copies and shares_memory(t, written) else t
        self.tangents = [kept(t) for t in self.tangents]
        self.known = {place: kept(t) for place, t in self.known.items()}
        self.found.clear()

    def variable(self, x):
        """A tensor's memory as a new variable."""
        if _autograd._is_recording() and _autograd._is_followed(x):
            variable = _autograd._variable(x, False)
        else:
            variable = x.detach()
            self.own.append(variable)
        _autograd._carry_tangent(variable)
        self.variables.append(variable)
        return variable

    def forget_unreached(self):
        """Lets go of variables that nothing leads to any more, from time to time."""
        if len(self.variables) < self.look_at:
            return
        reached = [i for i, x in enumerate(self.variables) if _autograd._is_reached(x)]
        self.variables, self.tangents = [self.variables[i] for i in reached], [self.tangents[i] for i in reached]
        kept = {id(t) for t in self.tangents}
        self.known = {place: t for place, t in self.known.items() if id(t) in kept}
        self.own = [x for x in self.own if _autograd._is_reached(x)]
        self.look_at = max(16, 2 * len(self.variables))

    def products(self, outputs):
        """Products with the Jacobian of outputs."""
        with recording():
            found = Tangents(outputs, self.variables, self)
        self.own += [w for w in found.weights if w is not None]
        return found

    def tangents_of(self, tensors):
        """The tangents of tensors, None for those that have none. They can be differentiated by what is not its own."""
        followed = [i for i, x in enumerate(tensors) if is_inexact(x) and _autograd._is_followed(x)]
        found = [None] * len(tensors)
        for i in followed if self.variables else ():
            place = _autograd._place(tensors[i])
            found[i] = self.known.get(place)
            if found[i] is None:
                found[i] = self.found.get(place)
            if found[i] is not None:
                continue
            products = self.products((tensors[i],))
            if all(product is None for product in products.products):
                continue
            if self.tangents is None:
                found[i] = zeros_like(tensors[i], requires_grad=True)
                continue
            is_recorded = self._is_recorded(tensors[i])
            with recording():
                (tangent,) = products.along(self.tangents, create_graph=is_recorded)
                tangent = zeros_like(tensors[i]) if tangent is None else self._of_its_own(tensors[i], tangent)
                if is_recorded and tensors[i].requires_grad:
                    tangent = _autograd._linked(tangent, tensors[i])
            if self.alone and tangent.requires_grad and not any(t is tangent for t in self.tangents):
                tangent = _autograd._without_tangent(tangent, False)
            found[i] = self.found[place] = tangent
        return found

    def _is_recorded(self, x):
        """Whether the tangent of a tensor can be differentiated."""
        if self.alone and not _autograd._has_recorded_tangent(x):
            return False
        return any(y.requires_grad for y in (x, *self.tangents)) or self.lead_outside(x, *self.tangents)

    def _of_its_own(self, x, tangent):
        """The tangent in the order in memory of its tensor, and not in that of another tangent, unless the tensor is a view."""
        is_new = not any(map(shares_memory, self.tangents, repeat(tangent))) or any(map(shares_memory, self.variables, repeat(x)))
        if is_new and lies_as(x, tangent):
            return self._as_view(tangent)
        if not is_dense(x):
            return tangent if is_new else tangent.clone()
        return tangent.new_empty_strided(x.shape, x.stride()).copy_(tangent)

    def _as_view(self, tangent):
        """The tangent as a view of the one whose elements it has, if it is that of a view, and neither can be differentiated."""
        for t in self.tangents if self.alone else ():
            if t is not tangent and shares_memory(t, tangent) and t.dtype == tangent.dtype and t.is_conj() == tangent.is_conj():
                if not (t.requires_grad or tangent.requires_grad):
                    return t.as_strided(tangent.shape, tangent.stride(), tangent.storage_offset())
        return tangent

    def lead_outside(self, *tensors):
        """Whether gradients of the tensors flow to something that is not its own."""
        return _autograd._leads_to_others(tensors, self.own)


def shares_memory(x, other):
    """Whether a write to one may be one to the other."""
    return _autograd._values(x).untyped_storage() == _autograd._values(other).untyped_storage()


def is_dense(x):
    """Whether the elements lie in memory without gaps, each at a place of its own."""
    size = 1
    for stride, n in sorted(zip(x.stride(), x.shape)):
        if n > 1 and stride != size:
            return False
        size *= n
    return True


def lies_as(x, other):
    """Whether the elements lie in memory in the same order."""
    return all(n < 2 or a == b for n, a, b in zip(x.shape, x.stride(), other.stride()))


def is_inexact(x):
    """Whether a tensor holds floating-point numbers, real or complex: what has derivatives."""
    return x.is_floating_point() or x.is_complex()


def gradients(outputs, inputs, weights=None, create_graph=False, retain_graph=None):
    """The gradients of the outputs, times the weights, for each input; None where there is none."""
    weights = weights or (None,) * len(outputs)
    pairs = [(y, w) for y, w in zip(outputs, weights) if y is not None and _autograd._is_followed(y)]
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

    def __init__(self, outputs, inputs, carriers=None):
        """With `carriers`, functions of the user's have had their ``jvp`` called, otherwise their backward is differentiated."""
        self.outputs = outputs
        # Where they are 0, some rules are flat. Torch's double backward starts from there.
        like = zeros_like if carriers is None else ones_like
        self.weights = tuple(like(y, requires_grad=True) if is_inexact(y) else None for y in outputs)
        self.state = NO_TANGENTS if carriers is None else COMPUTED
        before = FORWARD_MODE.on, FORWARD_MODE.carriers
        FORWARD_MODE.on, FORWARD_MODE.carriers = True, carriers
        try:
            with forward_state(self.state):
                self.products = gradients(outputs, inputs, self.weights, create_graph=True)
        finally:
            FORWARD_MODE.on, FORWARD_MODE.carriers = before

    def along(self, tangents, create_graph=False, retain_graph=None):
        """The derivatives of the outputs along tangents of the inputs; None for outputs that do not depend on them."""
        known = [w for w in self.weights if w is not None]
        if tangents is not None:
            tangents = [t.to(p.dtype) if p is not None and p.is_complex() else t for p, t in zip(self.products, tangents)]
        with forward_state(self.state):
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


def by_columns(outputs, carriers, create_graph=False):
    """The Jacobians of all outputs for each variable: ``result[output][variable]``, of the shapes of both."""
    tangents, inputs = carriers.products(outputs), carriers.variables
    jacobians = []
    for i, x in enumerate(inputs):
        columns = []
        for unit in basis(x.shape, x):
            directions = tuple(unit if j == i else zeros_like(other) for j, other in enumerate(inputs))
            parts = tangents.along(directions, create_graph, retain_graph=True)
            columns.append([zeros_like(y) if part is None else part for part, y in zip(parts, outputs)])
        found = [_last(column, x.shape, y) for y, column in zip(outputs, _columns(columns, outputs))]
        # As tangents do, they lead to what torch's formulas read.
        is_linked = [create_graph and y.requires_grad for y in outputs]
        jacobians.append([_autograd._linked(j, y) if linked else j for j, y, linked in zip(found, outputs, is_linked)])
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
    # Torch's strides: those of the parts side by side.
    return stack(parts).movedim(0, -1).reshape((*like.shape, *shape))
