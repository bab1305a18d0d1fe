"""Random programs of ops, views, in-place writes, deletions and backward passes, against a model in plain numpy.

The model of a tensor is an array of its values and one of its derivatives by every element of every leaf (forward
differentiation). Views of a tensor are views of both arrays, so a write through one is seen through the others just as the
tape must see it. What is off the tape (`detach`) shares the values and has derivatives of its own, all zero.

A failure prints the shortest program that hypothesis finds, and the line that repeats it. `CI=true` runs thousands of
programs, otherwise hundreds.
"""

import gc
import os

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import ferrograd as fg

#: Elements of all leaves together: the length of each array of derivatives.
PLACES = 24
#: Larger values leave the program, as their rounding errors do.
LARGEST = 1e3


#: Mostly shapes that fit each other.
SHAPES = st.sampled_from([(2, 3), (3,), (2, 3), (3, 2), (2, 1), (), (3,), (1, 3), (2, 2, 3), (0, 3), (3, 3)])


class Group:
    """What is one tensor and its views to the tape."""

    def __init__(self, grad, leaf=False):
        self.grad, self.leaf = grad, leaf


class Slot:
    """A tensor and its model."""

    def __init__(self, tensor, value, slope, group):
        self.tensor, self.value, self.slope, self.group = tensor, value, slope, group


def tensor_of(value):
    return fg.from_numpy(np.array(value, dtype=np.float64))


UNARY = {
    "sin": (lambda x: x.sin(), np.sin, np.cos),
    "tanh": (lambda x: x.tanh(), np.tanh, lambda v: 1 - np.tanh(v) ** 2),
    "sigmoid": (lambda x: x.sigmoid(), lambda v: (1 + np.tanh(v / 2)) / 2, lambda v: (1 - np.tanh(v / 2) ** 2) / 4),
    "square": (lambda x: x * x, np.square, lambda v: 2 * v),
    "neg": (lambda x: -x, np.negative, lambda v: -np.ones_like(v)),
    "relu": (lambda x: x.relu(), lambda v: np.maximum(v, 0), lambda v: (v > 0).astype(float)),
    "exp": (lambda x: x.clamp(-3, 3).exp(), lambda v: np.exp(np.clip(v, -3, 3)), lambda v: np.exp(np.clip(v, -3, 3)) * (abs(v) <= 3)),
    "scaled": (lambda x: 3 - x / 2, lambda v: 3 - v / 2, lambda v: np.full_like(v, -0.5)),
}
# In place, the ops that save their result and those that save their operand.
UNARY_IN_PLACE = {
    "sin_": (lambda x: x.sin_(), *UNARY["sin"][1:]),
    "tanh_": (lambda x: x.tanh_(), *UNARY["tanh"][1:]),
    "sigmoid_": (lambda x: x.sigmoid_(), *UNARY["sigmoid"][1:]),
    "relu_": (lambda x: x.relu_(), *UNARY["relu"][1:]),
    "neg_": (lambda x: x.neg_(), *UNARY["neg"][1:]),
    "mul_": (lambda x: x.mul_(0.5), lambda v: v * 0.5, lambda v: np.full_like(v, 0.5)),
    "square": (lambda x: x.mul_(x), *UNARY["square"][1:]),
    "zero_": (lambda x: x.zero_(), np.zeros_like, np.zeros_like),
    "fill_": (lambda x: x.fill_(0.75), lambda v: np.full_like(v, 0.75), np.zeros_like),
}
# From two values and two slopes to value and slope.
BINARY = {
    "add": (lambda a, b: a + b, lambda a, b, da, db: (a + b, da + db)),
    "sub": (lambda a, b: a - b, lambda a, b, da, db: (a - b, da - db)),
    "mul": (lambda a, b: a * b, lambda a, b, da, db: (a * b, da * b + a * db)),
    "div": (lambda a, b: a / (b * b + 1), lambda a, b, da, db: (a / (b * b + 1), da / (b * b + 1) - a * 2 * b * db / (b * b + 1) ** 2)),
}
BINARY_IN_PLACE = {
    "add_": (lambda a, b: a.add_(b), BINARY["add"][1]),
    "sub_": (lambda a, b: a.sub_(b, alpha=2), lambda a, b, da, db: (a - 2 * b, da - 2 * db)),
    "mul_": (lambda a, b: a.mul_(b), BINARY["mul"][1]),
    "copy_": (lambda a, b: a.copy_(b), lambda a, b, da, db: (b + 0 * a, db + 0 * da)),
    "isub": (lambda a, b: a.__isub__(b), BINARY["sub"][1]),
}


def choose_view(pick, shape):
    """A view of a tensor with this shape: its name, and it as a function of tensors and of arrays (from a first dim on)."""
    rank = len(shape)
    kinds = ["unsqueeze", "expand", "all"]
    if rank:
        kinds += ["slice", "select", "steps", "narrow", "movedim"]
    if rank >= 2:
        kinds += ["transpose", "diagonal", "t"]
    kind = kinds[pick(len(kinds))]
    d = pick(rank) if rank else 0
    size = shape[d] if rank else 0
    front = (slice(None),)
    if kind == "unsqueeze":
        d = pick(rank + 1)
        return lambda x: x.unsqueeze(d), lambda v, lead: np.expand_dims(v, lead + d)
    if kind == "expand":
        times = pick(3)
        return lambda x: x.expand(times, *shape), lambda v, lead: np.lib.stride_tricks.as_strided(
            v, v.shape[:lead] + (times,) + v.shape[lead:], v.strides[:lead] + (0,) + v.strides[lead:]
        )
    if kind == "select" and size:
        i = pick(size)
        return lambda x: x.select(d, i), lambda v, lead: v[front * (lead + d) + (i, Ellipsis)]
    if kind in ("slice", "narrow") and size:
        start = pick(size)
        length = pick(size - start + 1)
        if kind == "narrow":
            return lambda x: x.narrow(d, start, length), lambda v, lead: v[front * (lead + d) + (slice(start, start + length),)]
        index = front * d + (slice(start, start + length),)
        return lambda x: x[index], lambda v, lead: v[front * lead + index]
    if kind == "steps" and size:
        index = (Ellipsis, slice(pick(size), None, 2))
        if index[1].start >= shape[-1]:
            index = (Ellipsis, slice(0, None, 2))
        return lambda x: x[index], lambda v, lead: v[index]
    if kind == "movedim":
        return lambda x: x.movedim(d, 0), lambda v, lead: np.moveaxis(v, lead + d, lead)
    if kind == "transpose":
        e = pick(rank)
        return lambda x: x.transpose(d, e), lambda v, lead: np.swapaxes(v, lead + d, lead + e)
    if kind == "t":
        return lambda x: x.mT, lambda v, lead: np.swapaxes(v, -1, -2)
    if kind == "diagonal":

        def diagonal(v, lead):
            y = np.diagonal(v, 0, lead, lead + 1)
            return np.lib.stride_tricks.as_strided(y, y.shape, y.strides)

        return lambda x: x.diagonal(0, 0, 1), diagonal
    return lambda x: x[...], lambda v, lead: v[...]


class Programs(RuleBasedStateMachine):
    """The pool of tensors and what may happen to them."""

    def __init__(self):
        super().__init__()
        self.slots = []
        self.leaves = []
        self.expected = {}
        self.places = 0
        self.wrote = False

    # Help.

    def slot(self, number):
        """One of the pool: 0 is the newest."""
        return self.slots[-1 - number % len(self.slots)]

    def add(self, tensor, value, slope, group):
        slot = Slot(tensor, np.asarray(value), np.asarray(slope), group)
        assert tensor.requires_grad == group.grad
        self.check(slot)
        if np.all(abs(value) < LARGEST) and np.all(abs(slope) < LARGEST):
            self.slots.append(slot)
        if len(self.slots) > 12:
            self.slots.pop(0)

    def result(self, tensor, value, slope, *operands):
        """A tensor of its own."""
        grad = any(operand.group.grad for operand in operands) and fg.is_grad_enabled()
        value, slope = np.array(value), np.array(np.broadcast_to(slope, (PLACES, *np.shape(value))))
        self.add(tensor, value, slope if grad else np.zeros_like(slope), Group(grad))

    def check(self, slot):
        """The model goes on with the tensor's last bits, so that both are on the same side of a kink (relu, where, clamp)."""
        assert slot.tensor.dtype == fg.float64 and tuple(slot.tensor.shape) == slot.value.shape
        found = slot.tensor.detach().numpy()
        np.testing.assert_allclose(found, slot.value, rtol=1e-9, atol=1e-9)
        slot.value[...] = found

    def written(self, target, write, compute, *operands):
        """Writes to a tensor; `compute` gives the new value and slope. An error must leave everything as it was."""
        group = target.group
        recording = fg.is_grad_enabled()
        recorded = recording and (group.grad or any(operand.group.grad for operand in operands))
        if any(stride == 0 and size > 1 for stride, size in zip(target.value.strides, target.value.shape)):
            return  # Some writes to expanded tensors are refused, by rules that have tests of their own.
        refused = recorded and group.leaf and group.grad
        shared = any(np.shares_memory(target.value, operand.value) for operand in operands)
        try:
            write()
        except RuntimeError as error:
            # Which operands that share memory are refused depends on their strides; torch's rule has tests of its own.
            assert refused or shared and "single memory" in str(error), error
        else:
            assert not refused
            value, slope = compute()
            if recorded:
                target.slope[...] = slope
                group.grad = True
            target.value[...] = value
            self.wrote = True
        for slot in list(self.slots):
            self.check(slot)
            if np.any(abs(slot.value) >= LARGEST) or np.any(abs(slot.slope) >= LARGEST):
                self.slots.remove(slot)
        self.ensure()

    def ensure(self):
        if not self.slots:
            self.slots.append(Slot(x := tensor_of(1.5), np.array(x.numpy()), np.zeros((PLACES,)), Group(False)))

    # Tensors.

    @initialize(values=st.lists(st.sampled_from([-1.5, 0.5, 2.0]), min_size=6, max_size=6))
    def start(self, values):
        self.leaf([2, 3], values)
        self.constant([2, 3], values)

    @precondition(lambda self: self.places < PLACES)
    @rule(shape=SHAPES, values=st.lists(st.sampled_from([-1.25, 0.25, 0.75]), min_size=6, max_size=6))
    def leaf(self, shape, values):
        size = int(np.prod(shape))
        if self.places + size > PLACES:
            return
        value = np.resize(np.array(values), shape) + np.arange(size).reshape(shape) / 8
        tensor = tensor_of(value).requires_grad_()
        slope = np.zeros((PLACES, *shape))
        slope.reshape(PLACES, size)[self.places : self.places + size] = np.eye(size)
        self.leaves.append((tensor, self.places, size))
        self.expected[id(tensor)] = np.zeros(shape)
        self.places += size
        self.add(tensor, value, slope, Group(True, leaf=True))

    @rule(shape=SHAPES, values=st.lists(st.sampled_from([-1.5, 0.5, 2.0]), min_size=6, max_size=6))
    def constant(self, shape, values):
        value = np.resize(np.array(values), shape)
        self.add(tensor_of(value), value, np.zeros((PLACES, *shape)), Group(False))

    @rule(x=st.integers(0, 11))
    def delete(self, x):
        self.slots.remove(self.slot(x))
        self.ensure()

    # Ops.

    @rule(x=st.integers(0, 11), op=st.sampled_from(sorted(UNARY)))
    def unary(self, x, op):
        x = self.slot(x)
        f, value, slope = UNARY[op]
        self.result(f(x.tensor), value(x.value), slope(x.value) * x.slope, x)

    @rule(a=st.integers(0, 11), b=st.integers(0, 11), op=st.sampled_from(sorted(BINARY)), keep=st.booleans())
    def binary(self, a, b, op, keep):
        a, b = self.slot(a), self.slot(b)
        f, model = BINARY[op]
        try:
            shape = np.broadcast_shapes(a.value.shape, b.value.shape)
        except ValueError:
            try:
                f(a.tensor, b.tensor)
            except RuntimeError:
                return
            raise AssertionError("shapes that do not broadcast were accepted") from None
        if np.prod(shape) > 30:
            return
        (av, bv), (da, db) = np.broadcast_arrays(a.value, b.value), (
            np.broadcast_to(x.slope.reshape(PLACES, *(1,) * (len(shape) - x.value.ndim), *x.value.shape), (PLACES, *shape))
            for x in (a, b)
        )
        self.result(f(a.tensor, b.tensor), *model(av, bv, da, db), a, b)

    @rule(a=st.integers(0, 11), b=st.integers(0, 11))
    def matmul(self, a, b):
        a, b = self.slot(a), self.slot(b)
        if a.value.ndim != 2 or b.value.ndim != 2 or a.value.shape[1] != b.value.shape[0]:
            return
        self.result(a.tensor @ b.tensor, a.value @ b.value, a.slope @ b.value + a.value @ b.slope, a, b)

    @rule(x=st.integers(0, 11), dim=st.integers(0, 2), keep=st.booleans(), op=st.sampled_from(["sum", "mean", "all", "cumsum"]))
    def reduce(self, x, dim, keep, op):
        x = self.slot(x)
        rank = x.value.ndim
        if op == "all" or not rank:
            self.result(x.tensor.sum(), x.value.sum(), x.slope.reshape(PLACES, -1).sum(1), x)
            return
        dim %= rank
        if op == "cumsum":
            self.result(x.tensor.cumsum(dim), x.value.cumsum(dim), x.slope.cumsum(dim + 1), x)
        elif op == "sum" or x.value.shape[dim] == 0:
            self.result(x.tensor.sum(dim, keepdim=keep), x.value.sum(dim, keepdims=keep), x.slope.sum(dim + 1, keepdims=keep), x)
        else:
            self.result(x.tensor.mean(dim, keepdim=keep), x.value.mean(dim, keepdims=keep), x.slope.mean(dim + 1, keepdims=keep), x)

    @rule(x=st.integers(0, 11), rows=st.lists(st.integers(0, 2), max_size=3))
    def take(self, x, rows):
        x = self.slot(x)
        if not x.value.ndim or x.value.shape[0] == 0:
            return
        rows = [i % x.value.shape[0] for i in rows]
        index = fg.tensor(rows, dtype=fg.int64)
        self.result(x.tensor[index], x.value[rows], x.slope[:, rows], x)

    @rule(a=st.integers(0, 11), b=st.integers(0, 11), op=st.sampled_from(["cat", "stack", "where"]))
    def join(self, a, b, op):
        a, b = self.slot(a), self.slot(b)
        if a.value.shape != b.value.shape or op == "cat" and not a.value.ndim or a.value.size > 15:
            return
        if op == "where":
            mask = a.value > b.value
            self.result(
                fg.where(a.tensor > b.tensor, a.tensor, b.tensor), np.where(mask, a.value, b.value), np.where(mask, a.slope, b.slope), a, b
            )
        elif op == "stack":
            self.result(fg.stack([a.tensor, b.tensor]), np.stack([a.value, b.value]), np.stack([a.slope, b.slope], 1), a, b)
        else:
            self.result(fg.cat([a.tensor, b.tensor]), np.concatenate([a.value, b.value]), np.concatenate([a.slope, b.slope], 1), a, b)

    @rule(x=st.integers(0, 11), op=st.sampled_from(["clone", "detach", "no_grad", "contiguous"]))
    def copy(self, x, op):
        x = self.slot(x)
        if op == "clone":
            self.result(x.tensor.clone(), x.value, x.slope, x)
        elif op == "contiguous":
            y = x.tensor.t().contiguous() if x.value.ndim == 2 and min(x.value.shape) > 1 else x.tensor.clone()
            value, slope = (x.value.T, np.swapaxes(x.slope, 1, 2)) if x.value.ndim == 2 and min(x.value.shape) > 1 else (x.value, x.slope)
            self.result(y, value, slope, x)
        elif op == "detach":
            self.add(x.tensor.detach(), x.value, np.zeros_like(x.slope), Group(False))
        else:
            with fg.no_grad():
                self.result(x.tensor * 2, x.value * 2, x.slope * 2, x)

    @rule(x=st.integers(0, 11), picks=st.lists(st.integers(0, 5), min_size=5, max_size=5))
    def view(self, x, picks):
        x = self.slot(x)
        picks = iter(picks)
        if x.value.ndim > 3:
            return
        of_tensor, of_array = choose_view(lambda n: next(picks) % n, x.value.shape)
        self.add(of_tensor(x.tensor), of_array(x.value, 0), of_array(x.slope, 1), x.group)

    # Writes.

    @rule(x=st.integers(0, 11), op=st.sampled_from(sorted(UNARY_IN_PLACE)), record=st.booleans())
    def write(self, x, op, record):
        x = self.slot(x)
        f, value, slope = UNARY_IN_PLACE[op]
        with fg.set_grad_enabled(record):
            self.written(x, lambda: f(x.tensor), lambda: (value(x.value), slope(x.value) * x.slope))

    @rule(x=st.integers(0, 11), picks=st.lists(st.integers(0, 5), min_size=5, max_size=5), op=st.sampled_from(sorted(UNARY_IN_PLACE)))
    def compute_and_write_through_a_view(self, x, picks, op):
        """What each of the steps makes is in the pool afterwards."""
        self.unary(x, "sin")
        self.view(0, picks)
        self.write(0, op, True)

    @rule(a=st.integers(0, 11), b=st.integers(0, 11), op=st.sampled_from(sorted(BINARY_IN_PLACE)), record=st.booleans())
    def write_operand(self, a, b, op, record):
        a, b = self.slot(a), self.slot(b)
        f, model = BINARY_IN_PLACE[op]
        try:
            if np.broadcast_shapes(a.value.shape, b.value.shape) != a.value.shape:
                return
        except ValueError:
            return

        def compute():
            lead = (PLACES, *(1,) * (a.value.ndim - b.value.ndim), *b.value.shape)
            return model(a.value.copy(), b.value.copy(), a.slope.copy(), b.slope.reshape(lead).copy())

        with fg.set_grad_enabled(record):
            self.written(a, lambda: f(a.tensor, b.tensor), compute, b)

    @rule(x=st.integers(0, 11), v=st.integers(0, 11), how=st.sampled_from(["mask", "fill", "rows", "row", "number"]), i=st.integers(0, 2))
    def write_index(self, x, v, how, i):
        x, v = self.slot(x), self.slot(v)
        value, slope = x.value.copy(), x.slope.copy()
        if how in ("mask", "fill"):
            mask = x.value > 0.3
            value[mask], slope[:, mask] = 0.125, 0
            tensor = fg.from_numpy(np.array(mask))
            write = (lambda: x.tensor.masked_fill_(tensor, 0.125)) if how == "fill" else (lambda: x.tensor.__setitem__(tensor, 0.125))
            self.written(x, write, lambda: (value, slope))
            return
        if not x.value.ndim or x.value.shape[0] == 0:
            return
        i %= x.value.shape[0]
        if how == "number":
            value[i], slope[:, i] = 0.625, 0
            self.written(x, lambda: x.tensor.__setitem__(i, 0.625), lambda: (value, slope))
            return
        if v.value.shape != x.value.shape[1:]:
            return
        value[i], slope[:, i] = v.value, v.slope
        key = fg.tensor([i]) if how == "rows" else i
        self.written(x, lambda: x.tensor.__setitem__(key, v.tensor), lambda: (value, slope), v)

    @rule(x=st.integers(0, 11), assign=st.booleans())
    def data(self, x, assign):
        """Behind the tape's back, as an optimizer does: graphs of before are given up."""
        x = self.slot(x)
        if not x.group.leaf or x.value.base is not None:
            return
        self.slots = [slot for slot in self.slots if slot.group.leaf and slot.value.base is None or not slot.group.grad]
        if assign:
            x.tensor.data = x.tensor.data * 0.5
            x.value = np.asarray(x.value * 0.5)
        else:
            x.tensor.data -= x.tensor.data * 0.5
            x.value[...] *= 0.5
        for slot in self.slots:
            self.check(slot)

    # Differentiation.

    @rule(y=st.integers(0, 11), retain=st.booleans(), how=st.sampled_from(["backward", "grad"]), weight=st.sampled_from([1.0, -0.5]))
    def differentiate_any(self, y, retain, how, weight):
        self.differentiate(y, retain, how, weight)

    def differentiate(self, y, retain, how, weight):
        y = self.slot(y)
        weights = weight * (1 + np.arange(y.value.size).reshape(y.value.shape) / 4)
        if not y.group.grad:
            try:
                y.tensor.backward(tensor_of(weights))
            except RuntimeError:
                return
            raise AssertionError("a tensor off the tape was differentiated")
        gradient = (y.slope * weights).reshape(PLACES, -1).sum(1)
        leaves = [leaf for leaf, _, _ in self.leaves]
        try:
            if how == "grad":
                found = fg.autograd.grad(y.tensor, leaves, tensor_of(weights), retain_graph=retain, allow_unused=True)
            else:
                y.tensor.backward(tensor_of(weights), retain_graph=retain)
                found = None
        except RuntimeError as error:
            assert self.wrote and "modified by an inplace operation" in str(error), error
            found, gradient = None, np.zeros(PLACES)
        for number, (leaf, start, size) in enumerate(self.leaves):
            mine = gradient[start : start + size].reshape(leaf.shape)
            if found is None:
                self.expected[id(leaf)] += mine
            else:
                grad = np.zeros(leaf.shape) if found[number] is None else found[number].numpy()
                np.testing.assert_allclose(grad, mine, rtol=1e-8, atol=1e-8)
        self.check_gradients()
        if not retain:
            self.slots = [slot for slot in self.slots if slot.group.leaf and slot.value.base is None or not slot.group.grad]
            self.ensure()

    @rule(retain=st.booleans(), how=st.sampled_from(["backward", "grad"]), weight=st.sampled_from([1.0, -0.5]))
    def differentiate_newest(self, retain, how, weight):
        self.differentiate(0, retain, how, weight)

    def check_gradients(self):
        for leaf, _, _ in self.leaves:
            grad = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_allclose(grad, self.expected[id(leaf)], rtol=1e-8, atol=1e-8)

    def teardown(self):
        """At the end, all that is left is differentiated."""
        try:
            for number in range(len(self.slots)):
                if self.slots[number].group.grad:
                    self.differentiate(number, True, "backward", 0.75)
        finally:
            self.slots.clear()
            if self.places % 8 == 0:
                gc.collect(0)


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(
    max_examples=2500 if os.environ.get("CI") else 300,
    stateful_step_count=30,
    deadline=None,
    # Other programs each time, also where hypothesis knows that it is in CI.
    derandomize=False,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
