"""In-place writes: on leaves, computed tensors, views and their bases; what the tape makes of them."""

import warnings

import numpy as np
import pytest

import ferrograd
from op_cases import CASES

LEAF = "a leaf Variable that requires grad is being used in an in-place operation"
VIEW_OF_LEAF = "a view of a leaf Variable that requires grad is being used in an in-place operation"


def tensor(values, dtype=np.float64, grad=False):
    return ferrograd.from_numpy(np.array(values, dtype=dtype)).requires_grad_(grad)


def values(x):
    return x.detach().numpy().tolist()


def gradient(f, *arrays):
    """The gradients of the sum of f times random weights, checked against central differences."""
    arrays = [np.asarray(a, dtype=np.float64) for a in arrays]
    rng = np.random.default_rng(0)

    def run(arrays, grad):
        tensors = [tensor(a, grad=grad) for a in arrays]
        y = f(*tensors)
        weights = tensor(np.random.default_rng(1).uniform(0.5, 1.5, size=tuple(y.shape)))
        return tensors, (y * weights).sum()

    tensors, total = run(arrays, True)
    grads = ferrograd.autograd.grad(total, tensors, create_graph=True, materialize_grads=True)
    projections = [tensor(rng.uniform(-1, 1, size=a.shape)) for a in arrays]
    second = sum(((g * u).sum() for g, u in zip(grads, projections)), tensor(0.0))
    seconds = [None] * len(arrays)
    if second.requires_grad:
        seconds = [g for g in ferrograd.autograd.grad(second, tensors, materialize_grads=True)]
    for i, a in enumerate(arrays):
        direction = rng.uniform(-1, 1, size=a.shape)

        def projected(step, order):
            moved = [b + step * direction if j == i else b for j, b in enumerate(arrays)]
            if order == 1:
                with ferrograd.no_grad():
                    return run(moved, False)[1].item()
            tensors, total = run(moved, True)
            grads = ferrograd.autograd.grad(total, tensors, materialize_grads=True)
            return sum((g * u).sum().item() for g, u in zip(grads, projections))

        for order, found in ((1, grads[i]), (2, seconds[i])):
            want = (projected(1e-5, order) - projected(-1e-5, order)) / 2e-5
            got = 0.0 if found is None else float((found.detach().numpy() * direction).sum())
            assert abs(got - want) < 1e-6 * max(1, abs(want)), (order, i, got, want)
    return [values(g) for g in grads]


A, B = np.arange(1.0, 5.0).reshape(2, 2), np.array([[0.5, -1.0], [2.0, 3.0]])


def test_in_place_on_a_computed_tensor():
    def f(x):
        y = x * 1
        y.mul_(2)
        y.add_(x)
        return y

    gradient(f, A)


def test_in_place_with_an_operand_on_the_tape():
    def f(x):
        y = tensor(B)
        y.mul_(x)
        y.mul_(x)
        return y

    gradient(f, A)


def test_writing_to_a_part():
    def f(x, z):
        y = x * x
        y[0] = z
        return y * x

    gradient(f, A, B[0])


def test_writing_through_a_transposed_view():
    def f(x):
        y = x * x
        y.t().mul_(2)
        y.t()[1].mul_(x[0])
        return y * y

    gradient(f, A)


def test_views_see_writes_to_their_base_and_to_each_other():
    def f(x):
        y = x * 1
        row, column = y[0], y[:, 1]
        y.mul_(x)
        row.mul_(x[1])
        return (column * column).sum() + (row * 3).sum() + (y * y).sum()

    gradient(f, A)


def test_chains_of_views():
    def f(x):
        y = x * 1
        y.view(-1)[1:].view(3, 1)[1:].mul_(x[0].view(2, 1))
        return y * y

    gradient(f, A)


def test_a_base_that_was_no_part_of_the_tape():
    def f(x):
        z = tensor(B)
        part = z[1]
        other = z[:, 0]
        part.mul_(x[0])
        recorded = x.requires_grad
        assert z.requires_grad == other.requires_grad == recorded
        assert not recorded or type(z.grad_fn).__name__ == "CopySlices"
        assert not recorded or type(part.grad_fn).__name__ == "AsStridedBackward0"
        return (z * z).sum() + (other * 2).sum()

    gradient(f, A)


def test_expanded_views_of_a_written_base_accumulate():
    def f(x):
        y = x * 1
        wide = y[0].expand(3, 2)
        y.mul_(2)
        return (wide * wide).sum() + y.sum()

    gradient(f, A)


def test_overwriting_cuts_the_gradient():
    for cut in (lambda y: y.zero_(), lambda y: y.fill_(3), lambda y: y.copy_(tensor(B))):
        x = tensor(A, grad=True)
        y = x * 2
        assert cut(y) is y
        assert y.requires_grad and not y.is_leaf
        y.sum().backward()
        assert values(x.grad) == [[0, 0], [0, 0]]
    gradient(lambda x: (x * x).zero_() + x, A)


def test_copy_and_fill_pass_the_gradient_to_their_source():
    def copied(x, z):
        y = x * x
        y.copy_(z)
        y[0].copy_(z[1])
        return y * x

    def filled(x, z):
        y = x * x
        y[1].fill_(z)
        return y * y

    gradient(copied, A, B)
    gradient(copied, A, B[:, :1])
    gradient(filled, A, 0.7)
    y = tensor(A)
    y.copy_(tensor(B, np.float32, grad=True))
    assert y.dtype == ferrograd.float64 and type(y.grad_fn).__name__ == "CopyBackwards"


def test_copy_converts_and_broadcasts():
    i = tensor([0, 0], np.int32)
    assert values(i.copy_(tensor([2.7, -2.7]))) == [2, -2]
    assert values(i.fill_(5.9)) == [5, 5]
    assert values(i.fill_(tensor(2.5))) == [2, 2]
    assert values(tensor(A).copy_(tensor([7.0, 8.0]))) == [[7, 8], [7, 8]]
    with pytest.raises(RuntimeError):
        tensor([1.0, 2.0]).copy_(tensor([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match="0-dimension"):
        tensor([1.0, 2.0]).fill_(tensor([1.0]))


def test_leaves_must_not_be_written_to_while_recording():
    x = tensor(A, grad=True)
    with pytest.raises(RuntimeError, match=LEAF):
        x.add_(1)
    with pytest.raises(RuntimeError, match=LEAF):
        x.zero_()
    with pytest.raises(RuntimeError, match=VIEW_OF_LEAF):
        x[0].mul_(2)
    with pytest.raises(RuntimeError, match=VIEW_OF_LEAF):
        x[0] = 0
    with ferrograd.no_grad():
        x.add_(1)
        x[0].zero_()
    assert values(x) == [[0, 0], [4, 5]] and x.is_leaf and x._version == 2
    with pytest.raises(RuntimeError, match=VIEW_OF_LEAF):
        tensor(A, grad=True).view(-1)[1:].add_(1)


def test_views_made_unrecorded_must_not_be_written_to_while_recording():
    w = tensor(A, grad=True)
    y, z = w * 2, tensor(B)
    with ferrograd.no_grad():
        of_computed, of_constant = y[0], z[0]
    for view in (of_computed, of_constant):
        with pytest.raises(RuntimeError, match="A view was created in no_grad mode and is being modified inplace"):
            view.mul_(w[0])
    y.mul_(2)
    with pytest.raises(RuntimeError, match="created in no_grad mode and its base or another view of its base has been modified"):
        (of_computed * 2).sum().backward()
    x = ferrograd.zeros_like(of_computed)
    for write in (lambda: x.copy_(of_computed), lambda: x.__setitem__(slice(None), of_computed)):
        with pytest.raises(RuntimeError, match="created in no_grad mode and its base or another view of its base has been"):
            write()
    assert not x.any() and not x.requires_grad


def test_one_of_several_views_must_not_be_written_to():
    w = tensor(A, grad=True)
    for several in (lambda y: y.unbind(), lambda y: y.split(1), lambda y: y.chunk(2)):
        view = several(w * 2)[1]
        with pytest.raises(RuntimeError, match="Output 1 of .* is a view and is being modified inplace. This view is the output of a"):
            view.mul_(2)
        with ferrograd.no_grad():
            view.mul_(2)


def test_detach_shares_the_version_and_data_does_not():
    w = tensor(A, grad=True)
    y = w * 1
    z = y * y
    y.data.mul_(3)
    z.sum().backward()
    y = w * 1
    z = y * y
    y.detach().mul_(3)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_a_leaf_is_written_to_its_own_memory():
    """Only the history changes: the gradient of what shares the leaf's memory goes to the leaf."""
    for write in (
        lambda x, y: y.copy_(x),
        lambda x, y: y.view(3, 2).copy_(x.view(3, 2)),
        lambda x, y: y.__setitem__(slice(None), x),
        lambda x, y: y[:1].copy_(x[:1]) is y[1:].copy_(x[1:]),
    ):
        x = tensor(np.arange(6.0).reshape(2, 3), grad=True)
        y = x.detach()
        write(x, y)
        (y * y).sum().backward()
        assert values(x.grad) == [[0, 2, 4], [6, 8, 10]]
    x = tensor(1.5, grad=True)
    y = x.detach().fill_(x)
    (3 * y).backward()
    assert x.grad.item() == 3


def test_memory_that_overlaps():
    x = tensor(np.arange(5.0))
    for write in (lambda: x[1:].add_(x[:-1]), lambda: x[1:].copy_(x[:-1]), lambda: x[1:].mul_(x[:-1])):
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            write()
    m = tensor(A)
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        m.add_(m.t())
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory location"):
        tensor([1.0]).expand(3).add_(1)
    places, mask = ferrograd.arange(4), ferrograd.ones(4).bool()
    # Read while they are written to, also where they are the same.
    for write in (
        lambda: x[1:].scatter_(0, places, x[:-1]),
        lambda: x.scatter_(0, places, x, reduce="add"),
        lambda: x.scatter_add_(0, places, x),
        lambda: x.index_add_(0, ferrograd.arange(5), x),
        lambda: x.index_copy_(0, ferrograd.arange(5), x),
        lambda: x.put_(ferrograd.arange(5), x),
        lambda: places.scatter_(0, places, 5),
        lambda: places.index_fill_(0, places, 5),
        lambda: places.index_put_([places], places.clone()),
        lambda: places.__setitem__(places[:2], 5),
        lambda: mask.__setitem__(mask, ferrograd.zeros(4).bool()),
        lambda: mask[1:].__setitem__(mask[:-1], False),
        lambda: ferrograd.gather(places, 0, places.clone(), out=places),
        lambda: mask[1:].masked_fill_(mask[:-1], False),
        lambda: ferrograd.linalg.cross(x[:3], x[2:], out=x[1:4]),
        lambda: ferrograd.normal(x[:4], 1.0, out=x[1:]),
    ):
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            write()
    assert values(x) == [0, 1, 2, 3, 4] and places.equal(ferrograd.arange(4)) and mask.all()
    # An index has been read.
    places = ferrograd.tensor([2, 0, 1])
    assert ferrograd.gather(ferrograd.tensor([10, 20, 30]), 0, places, out=places).tolist() == places.tolist() == [30, 10, 20]
    mask[mask] = False
    assert not mask.any()
    # Read before they are written to.
    assert values(x[1:].clone().ldexp_(x[:-1])) == values(x.clone()[1:].ldexp_(x[:-1])) == [1, 4, 12, 32]
    memory = x.clone()
    assert values(memory[1:].ldexp_(memory[:-1])) == [1, 4, 12, 32]
    memory = x.clone()
    assert values(memory[:3].masked_scatter_(ferrograd.ones(3).bool(), memory[2:])) == [2, 3, 4]
    memory = ferrograd.arange(8.0)
    assert values(memory[:4].view(2, 2).addmm_(memory[2:6].view(2, 2), ferrograd.eye(2))) == [[2, 4], [6, 8]]
    assert values(tensor([1.0]).expand(3).zero_()) == [0, 0, 0]
    assert values(m.add_(m)) == [[2, 4], [6, 8]]
    assert values(m.mul_(m[:, :1])) == [[4, 8], [36, 48]]
    assert values(x) == [0, 1, 2, 3, 4]


WHOLE = [np.uint8, np.int8, np.int16, np.int32, np.int64]


@pytest.mark.parametrize("dtype", [*WHOLE, np.float32, np.complex64])
@pytest.mark.parametrize("n", [3, 33, 5000])
def test_results_over_an_operand(dtype, n):
    """In memory that the op reads as well, of as many elements as need more than one block."""
    rng = np.random.default_rng(n)
    a, b, c = (rng.integers(1, 90, n).astype(dtype) for _ in range(3))
    fit = dict(rtol=1e-6) if np.dtype(dtype).kind in "fc" else dict(rtol=0)
    x, y, z = (ferrograd.from_numpy(v.copy()) for v in (a, b, c))
    np.testing.assert_array_equal(x.add_(y).numpy(), a + b)
    np.testing.assert_array_equal(x.neg_().numpy(), -(a + b))
    np.testing.assert_array_equal(ferrograd.sub(z, y, out=y).numpy(), c - b)
    np.testing.assert_allclose(z.addcmul_(x, y).numpy(), c + -(a + b) * (c - b), **fit)
    part = ferrograd.from_numpy(a.copy())[1:]
    np.testing.assert_array_equal(part.mul_(part).numpy(), a[1:] * a[1:])


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize("n", [1, 40, 1000])
def test_quotients_of_integers(dtype, n):
    rng = np.random.default_rng(n)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    a = rng.integers(low, high, n, dtype=dtype, endpoint=True)
    b = rng.integers(low, high, n, dtype=dtype, endpoint=True)
    b[b == 0] = 1
    a[0], b[0] = low, high
    x, y = ferrograd.from_numpy(a.copy()), ferrograd.from_numpy(b)
    np.testing.assert_array_equal((x // y).numpy(), a // b)
    np.testing.assert_array_equal((x % y).numpy(), a % b)
    np.testing.assert_array_equal(ferrograd.div(x, y, rounding_mode="trunc").numpy(), (a - np.fmod(a, b)) // b)
    assert x.max().item() == a.max() and x.min().item() == a.min()
    np.testing.assert_array_equal(x.floor_divide_(y).numpy(), a // b)


def test_a_result_must_fit():
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        tensor([1.0, 2.0]).add_(tensor(np.ones((3, 2))))
    for i, op in ((np.int64, lambda x: x.add_(1.5)), (np.int64, lambda x: x.exp_()), (np.int64, lambda x: x.div_(2)), (np.bool_, lambda x: x.add_(2))):
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
            op(tensor([1, 2], i))
    assert tensor([1, 2], np.int32).add_(tensor([1, 2], np.int64)).dtype == ferrograd.int32


def test_augmented_assignment_writes_in_place():
    x = tensor(A)
    before = x
    x += 1
    x -= tensor([1.0, 1.0])
    x *= 2
    x /= 4
    assert x is before and values(x) == [[0.5, 1.0], [1.5, 2.0]]
    w = tensor(A, grad=True)
    w.data -= 0.5 * tensor(B)
    assert values(w) == [[0.75, 2.5], [2.0, 2.5]] and w._version == 0
    with pytest.raises(RuntimeError, match=LEAF):
        w += 1
    with pytest.raises(TypeError):
        x += "text"


def test_sizes_and_memory_can_be_replaced():
    x = tensor([1.0, 2.0]).clone()
    assert values(x.resize_(1)) == [1] and tuple(x.resize_(2, 2).shape) == (2, 2)
    assert values(x)[0] == [1, 2]
    assert tuple(x.resize_as_(tensor(np.ones((3, 0)))).shape) == (3, 0)
    assert x.resize_as_(x) is x and tuple(x.shape) == (3, 0)
    other = tensor(A)
    assert x.set_(other) is x and x.data_ptr() == other.data_ptr() and values(x) == values(other)
    assert x.set_().numel() == 0
    w = tensor(A, grad=True)
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        w.resize_(1)
    with pytest.raises(RuntimeError, match=LEAF):
        w.set_(other)
    with pytest.raises(RuntimeError, match="dtype"):
        other.set_(tensor([1.0], np.float32))
    with pytest.raises(RuntimeError, match="negative"):
        x.resize_(-1)


def test_a_kept_gradient_follows_the_tensor():
    x = tensor(A, grad=True)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    assert values(y.grad) == [[1, 1], [1, 1]] and values(x.grad) == [[6, 6], [6, 6]]


# A number raised to a tensor is no method of its first operand.
SECOND_OPERAND = {"igamma", "igammac"}  # what their cases vary
IN_PLACE = [
    c
    for c in CASES
    if hasattr(ferrograd.Tensor, c.op) and hasattr(ferrograd.Tensor, c.op + "_") and c.numpy
    if c.label != "number_base" and c.op not in SECOND_OPERAND
]


@pytest.mark.parametrize("case", IN_PLACE, ids=str)
def test_in_place_forms_agree_with_their_ops(case):
    rng = np.random.default_rng(0)
    arrays = [i.sample(rng) for i in case.inputs]
    used = []

    class Spy:
        """Calls the in-place form of the one method that the case calls."""

        def __init__(self, x):
            self.x = x

        def __getattr__(self, name):
            used.append(name)
            return getattr(self.x, name + "_")

    want = case.call(*[tensor(a) for a in arrays])
    if tuple(want.shape) != arrays[0].shape or want.dtype != ferrograd.float64:
        pytest.skip("the result does not fit the first operand")
    x = tensor(arrays[0])
    others = [tensor(a) for a in arrays[1:]]
    got = case.call(Spy(x), *others)
    assert got is x and x._version == 1 and used == [case.op]
    np.testing.assert_array_equal(x.numpy(), want.numpy())

    def results(in_place):
        tensors = [tensor(a, grad=True) for a in arrays]
        first = tensors[0] * 1
        y = case.call(Spy(first) if in_place else first, *tensors[1:])
        return [g.numpy() for g in ferrograd.autograd.grad(y.sum(), tensors, materialize_grads=True)]

    if case.op.replace("arc", "a") in ("asinh", "acosh", "atanh"):
        with pytest.raises(NotImplementedError, match="the derivative for 'inplace version of a....' is not implemented"):
            results(True)
        return
    for got, want in zip(results(True), results(False)):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("index", [[0], [True, False]])
def test_an_indexed_write_of_a_gradient_to_a_fresh_tensor(index):
    """The tensor had no place on the tape of its own before; found by test_stress.py."""
    x, v = ferrograd.zeros(2, 3), ferrograd.ones(3, requires_grad=True)
    x[ferrograd.tensor(index)] = v
    assert x.requires_grad and x.grad_fn.name() == "IndexPutBackward0"
    (x * 2).sum().backward()
    assert v.grad.tolist() == [2, 2, 2]


def test_numbers_that_do_not_fit_are_refused():
    mask = ferrograd.tensor([True, False])
    for dtype, values in ((ferrograd.int8, (300, float("nan"), 1e20)), (ferrograd.int64, (float("inf"), 1e20)), (ferrograd.uint8, (300,))):
        for value in values:
            x = ferrograd.ones(2, dtype=dtype)
            for call in (
                lambda: x.fill_(value),
                lambda: x.masked_fill(mask, value),
                lambda: x.masked_fill_(mask, value),
                lambda: x.__setitem__(0, value),
                lambda: x.__setitem__(mask, value),
            ):
                with pytest.raises(RuntimeError, match="overflow"):
                    call()
            assert x.tolist() == [1, 1] and x._version == 0
    assert ferrograd.ones(2, dtype=ferrograd.uint8).fill_(-1).tolist() == [255, 255]
    assert ferrograd.ones(2, dtype=ferrograd.int64).fill_(2.5).tolist() == [2, 2]


def test_a_number_can_be_copied():
    x = ferrograd.ones(2)
    assert x.copy_(3) is x and x.tolist() == [3, 3]


# Views of views, and what torch says of them.


def test_a_leaf_that_is_a_view_is_a_leaf():
    x = tensor([1.0, 2.0, 3.0])[:]
    x.requires_grad_()
    for write in (lambda: x[:2].mul_(2), lambda: x.__setitem__(0, 1.0), lambda: x.mul_(2)):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad is being used in an in-place operation"):
            write()
    assert values(x) == [1.0, 2.0, 3.0]


def test_unrecorded_views_require_a_gradient_if_their_base_does():
    plain = tensor([1.0, 2.0])
    view = plain[:].requires_grad_()
    leaf = tensor([1.0, 2.0], grad=True)
    computed = leaf * 2
    with ferrograd.no_grad():
        assert not view[:1].requires_grad
        assert leaf[:1].requires_grad and leaf[:1].is_leaf
        assert computed[:1].requires_grad and computed[:1].is_leaf


def views_without_history():
    """A leaf with a view from before it required a gradient, and one with a view that nothing recorded."""
    x = tensor([1.0, 2.0])
    early = x[:1]
    x.requires_grad_()
    y = tensor([1.0, 2.0], grad=True)
    with ferrograd.no_grad():
        unrecorded = y[:1]
    return [(x, early), (y, unrecorded)]


def test_views_without_history_require_a_gradient_but_get_none():
    for base, view in views_without_history():
        assert view.requires_grad and view.is_leaf and view.grad_fn is None
        y = view * 2
        assert y.requires_grad and y.grad_fn.next_functions[0] == (None, 0)
        y.backward(inputs=[view])
        y = (view * base[1:]).sum()
        assert ferrograd.autograd.grad(y, [view, base], allow_unused=True, retain_graph=True)[0] is None
        with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
            ferrograd.autograd.grad(y, view, retain_graph=True)
        y.backward()
        assert view.grad is None and values(base.grad) == [0, 1]
        with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad"):
            view.backward(ferrograd.ones(1, dtype=view.dtype))


def test_views_without_history_follow_their_base():
    for base, view in views_without_history():
        base.requires_grad_(False)
        assert not view.requires_grad and not (view * 2).requires_grad
        base.requires_grad_()
        assert view.requires_grad
        view.requires_grad_()
        (view * 3).backward()
        assert values(view.grad) == [3] and base.grad is None
        base.requires_grad_(False)
        assert view.requires_grad


def test_a_view_without_history_gets_one_when_the_memory_is_written_to():
    (x, early), (y, unrecorded) = views_without_history()
    with ferrograd.no_grad():
        x.mul_(2)
        y.mul_(2)
    (early * 3).backward()
    assert not early.is_leaf and values(x.grad) == [3, 0]
    assert unrecorded.requires_grad and "grad_fn=<Invalid>" in repr(unrecorded)
    for use in [lambda v: v * 1, lambda v: v.is_leaf, lambda v: v.grad_fn, lambda v: v.register_hook(print)]:
        with pytest.raises(RuntimeError, match="A view was created in no_grad mode and its base or another view"):
            use(unrecorded)
    with ferrograd.no_grad():
        assert values(unrecorded * 1) == [2]


def test_views_of_a_leaf_that_was_written_to():
    x = tensor([[1.0, 2.0], [3.0, 4.0]], grad=True)
    row, first = x[0], x.unbind()[0]
    with ferrograd.no_grad():
        x.mul_(2)
    (row * row).sum().backward()
    assert values(x.grad) == [[4, 8], [0, 0]] and row.grad_fn.name() == "AsStridedBackward0"
    with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and its base or another view of its base has been"):
        first * 2


def test_views_that_may_no_longer_be_used():
    x = tensor([[1.0, 2.0], [3.0, 4.0]], grad=True)
    y = x * 1
    part = y.unbind()[1]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="Output 1 of Unbind is a view and its base or another view of its base has been"):
        part.grad_fn
    with pytest.raises(RuntimeError, match="Output 1 of Unbind is a view and its base"):
        part * 1
    with pytest.raises(RuntimeError, match="Output 1 of Unbind is a view and its base"):
        part.topk(1)
    with pytest.raises(RuntimeError, match="Output 1 of Unbind is a view and its base"):
        part.retain_grad()
    assert not part.retains_grad
    y = x * 1
    part = y.unbind()[0][:1]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="Output 0 of Slice is a view and its base"):
        part + 1
    y = x * 1
    part = y.unbind()[0]
    with ferrograd.no_grad():
        part.mul_(2)
    with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and is being modified inplace"):
        part.mul_(2)
    y = x * 1
    with ferrograd.no_grad():
        part = y[:1]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode and its base or another view"):
        part.grad_fn


def test_views_made_unrecorded_of_split_tensors():
    """That they were made unrecorded comes before that they are of several."""
    x = tensor([1.0, 2.0], grad=True)
    with ferrograd.no_grad():
        part = x.split(1)[0]
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode and is being modified inplace with grad mode enabled. Whether"):
        part.mul_(2)
    part = tensor([1.0, 2.0]).split(1)[0]
    with pytest.raises(RuntimeError, match="is being modified inplace with grad mode enabled. This view is the output of a function"):
        part.mul_(x[:1])


def test_views_made_in_inference_mode():
    x = tensor([1.0, 2.0], grad=True)
    with ferrograd.inference_mode():
        view = x.view(2, 1)
    assert view.requires_grad and view._is_view() and not view.is_inference()
    with pytest.raises(RuntimeError, match="A view was created in inference mode and is being modified inplace in normal mode"):
        view.mul_(2)
    plain = tensor([1.0, 2.0])
    with ferrograd.inference_mode():
        view = plain[:1]
    view.mul_(2)
    assert plain.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="A view was created in inference mode"):
        view.mul_(x[:1])


def test_inference_tensors_are_not_saved():
    with ferrograd.inference_mode():
        constant = tensor([1.0, 2.0])
    x = tensor([1.0, 2.0], grad=True)
    with pytest.raises(RuntimeError, match="^Inference tensors cannot be saved for backward"):
        (x * constant).sum().backward()


def test_products_added_in_place():
    A = [[1.0, 2.0], [3.0, 4.0]]
    v = [1.0, -2.0]
    gradient(lambda x, a: (x * 1).addmm_(a, a, beta=2, alpha=3), A, A)
    gradient(lambda x, a: (x * 1).addmv_(a, x * 2, alpha=3), v, A)
    gradient(lambda x, a: (x * 1).addr_(a, a, beta=2), A, v)
    gradient(lambda x, a: (x * 1).baddbmm_(a, a, beta=2), [A], [A])
    gradient(lambda x, a: (x * 1).addbmm_(a, a, beta=2), A, [A, A])
    x = tensor(A)
    assert x.addmm_(x.clone(), x.clone()) is x and values(x) == [[8.0, 12.0], [18.0, 26.0]]
    with pytest.raises(RuntimeError):
        tensor(v).addmm_(tensor(A), tensor(A))


def test_inference_tensors_are_refused_by_the_op_that_saves_them():
    with ferrograd.inference_mode():
        constant = tensor([1.0, 2.0])
    x = tensor([1.0, 2.0], grad=True)
    for call in (
        lambda: x * constant,
        lambda: x / constant,
        lambda: x @ constant,
        lambda: (x * 1).mul_(constant),
        lambda: ferrograd.where(constant > 1, x, x) * constant,
        lambda: ferrograd.nn.functional.linear(constant, ferrograd.ones(3, 2, dtype=ferrograd.float64, requires_grad=True)),
    ):
        with pytest.raises(RuntimeError, match="^Inference tensors cannot be saved for backward"):
            call()
    # What no rule holds is no matter.
    for y in (x + constant, x - constant, ferrograd.cat([x, constant]), x.detach() * constant, x.masked_fill(constant > 1, 0)):
        assert not y.is_inference()
    assert values(ferrograd.autograd.grad((x + constant).exp().sum(), x)[0]) == np.exp([2.0, 4.0]).tolist()
    for pack in (lambda x: x, lambda x: x.clone()):
        with ferrograd.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            with pytest.raises(RuntimeError, match="^Inference tensors cannot be saved for backward"):
                x * constant
            assert (x * x).requires_grad
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
        ferrograd.nn.Parameter(constant)
    assert ferrograd.nn.Parameter(constant, requires_grad=False).is_inference()


def test_the_node_of_an_op_on_another_dtype_is_that_op():
    for op, want in (("add_", 1.0), ("mul_", 3.0), ("div_", 1 / 3)):
        x = ferrograd.ones(2, requires_grad=True)
        y = x * 1
        getattr(y, op)(tensor([3.0, 3.0], grad=True))
        assert y.dtype == ferrograd.float32 and y.grad_fn.name() == op.title()[:-1] + "Backward0"
        (grad,) = ferrograd.autograd.grad(y.sum(), x, create_graph=True)
        assert grad.dtype == ferrograd.float32 and grad.tolist() == pytest.approx([want, want])
    x, k = ferrograd.ones(2, requires_grad=True), tensor([2.0, 3.0], grad=True)
    ((x * 1).mul_(k)).sum().backward()
    assert x.grad.tolist() == [2, 3] and k.grad.tolist() == [1, 1] and k.grad.dtype == ferrograd.float64


def test_diagonals_are_filled():
    x = ferrograd.zeros(7, 3)
    assert x.fill_diagonal_(5) is x and values(x) == (np.eye(7, 3) * 5).tolist()
    for shape in ((7, 3), (12, 3), (4, 3), (3, 7), (2, 2), (0, 3), (3, 0), (5, 1)):
        want = np.zeros(shape)
        if want.size:
            np.fill_diagonal(want, 2, wrap=True)
        assert values(ferrograd.zeros(shape).fill_diagonal_(2, wrap=True)) == want.tolist()
        view = ferrograd.zeros(shape[::-1]).t()
        assert values(view.fill_diagonal_(2, wrap=True)) == want.tolist()
    assert values(ferrograd.zeros(2, 2, 2).fill_diagonal_(1)) == [[[1, 0], [0, 0]], [[0, 0], [0, 1]]]
    gradient(lambda x: (x * x).fill_diagonal_(3), np.arange(12.0).reshape(4, 3) + 1)
    for x in (ferrograd.zeros(2), ferrograd.zeros(2, 3, 2)):
        with pytest.raises(RuntimeError, match="fill_diagonal_"):
            x.fill_diagonal_(1)


def test_functions_of_single_elements():
    x = ferrograd.arange(6.0).reshape(2, 3)
    assert x.apply_(lambda v: v * 2) is x and values(x) == [[0, 2, 4], [6, 8, 10]]
    assert values(ferrograd.arange(4).apply_(lambda v: v * 2.5)) == [0, 2, 5, 7]
    seen = []
    x.t().apply_(lambda v: seen.append(v) or v + 1)
    assert seen == [0, 6, 2, 8, 4, 10] and values(x) == [[1, 3, 5], [7, 9, 11]]
    assert values(x.map_(ferrograd.tensor([1.0, 2.0, 3.0]), lambda a, b: a - b)) == [[0, 1, 2], [6, 7, 8]]
    assert values(x.map2_(x, x, lambda a, b, c: a + b * c)) == [[0, 2, 6], [42, 56, 72]]
    for call in (lambda: x.apply_(lambda v: None), lambda: x.apply_(3), lambda: x.map_(ferrograd.arange(3), max), lambda: x.map_(3, max)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ZeroDivisionError):
        x.apply_(lambda v: 1 // 0)
    leaf = ferrograd.ones(2, requires_grad=True)
    for call in (lambda: leaf.apply_(abs), lambda: ferrograd.ones(2).map_(leaf, max)):
        with pytest.raises(RuntimeError, match="on Variable that requires grad"):
            call()
    with pytest.raises(RuntimeError):
        x.map_(ferrograd.ones(4), max)


MASK = np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]).astype(bool)
ROWS = lambda: ferrograd.arange(3.0).view(3, 1).expand(3, 4)  # noqa: E731
COLUMNS = lambda: ferrograd.arange(4.0).expand(3, 4)  # noqa: E731


@pytest.mark.parametrize(
    ("op", "write", "rows", "columns"),
    [
        ("masked_fill_", lambda x: x.masked_fill_(tensor(MASK, bool), 5), [5, 1, 5], [5, 5, 2, 3]),
        ("masked_fill_", lambda x: x.masked_fill_(tensor(MASK[0], bool), tensor(5)), [5, 5, 5], [0, 5, 2, 3]),
        ("masked_fill_", lambda x: x.masked_fill_(tensor(MASK, bool), x[1, 1]), [1, 1, 1], [1, 1, 2, 3]),
        ("index_fill_", lambda x: x.index_fill_(0, tensor([0, 2], int), 5), [5, 1, 5], [5, 5, 5, 5]),
        ("index_fill_", lambda x: x.index_fill_(1, tensor([0, 2], int), tensor(5)), [5, 5, 5], [5, 1, 5, 3]),
        ("index_put_ masked_fill_", lambda x: x.__setitem__(tensor(MASK, bool), 5), [5, 1, 5], [5, 5, 2, 3]),
        ("index_put_", lambda x: x.__setitem__(([0, 2], [1, 0]), 5), [5, 1, 5], [5, 5, 2, 3]),
        ("index_put_", lambda x: x[:, 1:].__setitem__([0, 2], ferrograd.tensor([5.0])), [5, 1, 5], [0, 5, 5, 5]),
        ("index_put_", lambda x: x.index_put_([tensor([2], int)], ferrograd.tensor(5.0)), [0, 1, 5], [5, 5, 5, 5]),
        ("index_put_ masked_fill_", lambda x: x.index_put_([tensor(MASK, bool)], ferrograd.tensor([5.0])), [5, 1, 5], [5, 5, 2, 3]),
        (None, lambda x: x.tril_(), [0, 0, 0], [0, 0, 0, 0]),
        (None, lambda x: x.triu_(-1), [0, 1, 0], [0, 1, 2, 3]),
    ],
)
def test_one_value_is_written_to_expanded_tensors(op, write, rows, columns):
    for make, wanted in ((ROWS, np.array(rows)[:, None]), (COLUMNS, np.array(columns))):
        x = make()
        version = x._version
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            write(x)
        assert [str(w.message).split(" on expanded")[0].split()[-1] for w in given] == (op or "").split()
        np.testing.assert_array_equal(x.numpy(), np.broadcast_to(wanted, (3, 4)))
        assert x._version > version


@pytest.mark.filterwarnings("ignore:Use of")
@pytest.mark.parametrize("make", [ROWS, COLUMNS])
def test_writes_to_expanded_tensors_that_are_refused(make):
    x, index = make(), tensor([0, 2], int)
    for write in (
        lambda: x.masked_scatter_(tensor(MASK, bool), x.clone()),
        lambda: x.index_copy_(0, index, ferrograd.ones(2, 4)),
        lambda: x.fill_(ferrograd.tensor(1.0)),
        lambda: x.copy_(ferrograd.ones(4)),
        lambda: x[1:].__setitem__(slice(None), ferrograd.ones(4)),
        lambda: x.add_(1),
    ):
        with pytest.raises(RuntimeError, match=SHARED):
            write()
    with pytest.raises(RuntimeError, match="source and destination dtypes match"):
        x.index_put_([index], ferrograd.tensor(1))
    assert x.equal(make())


SHARED = "more than one element of the written-to tensor refers to a single memory location"
COUNTED = lambda *shape: (ferrograd.arange(float(np.prod(shape))).reshape(shape) + 10).requires_grad_()  # noqa: E731
ROW_INDEX, PLACES = tensor([2, 0], int), (tensor([0, 1, 2], int), tensor([1, 1, 0], int))


# Writes of several values, what is left in the rows and the columns, and the places of the values.
@pytest.mark.parametrize(
    ("write", "shape", "rows", "columns", "places"),
    [
        (lambda x, v: x.index_put_([ROW_INDEX], v), (2, 4), [17, 1, 13], [14, 15, 16, 17], lambda g: g[[2, 0]]),
        (lambda x, v: x.__setitem__(ROW_INDEX, v), (4,), [13, 1, 13], [10, 11, 12, 13], lambda g: g[2] + g[0]),
        (lambda x, v: x[1:].__setitem__(([1, 0], slice(1, 3)), v), (2, 2), [0, 13, 11], [0, 12, 13, 3], lambda g: g[[2, 1], 1:3]),
        (lambda x, v: x.index_put_(PLACES, v), (3,), [10, 11, 12], [12, 11, 2, 3], lambda g: g[PLACES]),
        (lambda x, v: x.index_put_(PLACES, v, accumulate=True), (3,), [10, 12, 14], [12, 22, 2, 3], lambda g: g[PLACES]),
        (lambda x, v: x.index_put_([ROW_INDEX], v, accumulate=True), (), [40, 1, 42], [20, 21, 22, 23], lambda g: g[[2, 0]].sum()),
        (lambda x, v: x.__setitem__(tensor(MASK, bool), v), (3,), [10, 1, 12], [11, 12, 2, 3], lambda g: g[tensor(MASK, bool)]),
        (lambda x, v: x.masked_fill_(tensor(MASK, bool), v), (), [10, 1, 10], [10, 10, 2, 3], lambda g: g[tensor(MASK, bool)].sum()),
        (lambda x, v: x.index_fill_(0, ROW_INDEX, v), (), [10, 1, 10], [10, 10, 10, 10], lambda g: g[[2, 0]].sum()),
    ],
)
@pytest.mark.filterwarnings("ignore:Use of")
def test_values_are_written_to_expanded_tensors_in_turn(write, shape, rows, columns, places):
    for make, wanted in ((ROWS, np.array(rows)[:, None]), (COLUMNS, np.array(columns))):
        values, weights = COUNTED(*shape), COUNTED(3, 4).detach()
        x = make()
        write(x, values)
        np.testing.assert_array_equal(x.detach().numpy(), np.broadcast_to(wanted, (3, 4)))
        assert x.requires_grad and x._base.grad_fn.name() == "torch::autograd::CopySlices"
        # A value has the gradients of its own places, be it that others were written there later.
        shown = ferrograd.autograd.grad((x * weights).sum(), x._base, retain_graph=True)[0]
        shown = ferrograd.zeros(3, 4) + (shown.view(3, 1) if make is ROWS else shown)
        assert ferrograd.autograd.grad((x * weights).sum(), values)[0].equal(places(shown))
        # What was there before can have none.
        grown = make()._base.clone().requires_grad_()
        y = grown * 1
        write(y.view(3, 1).expand(3, 4) if make is ROWS else y.expand(3, 4), values)
        assert ferrograd.autograd.grad(y.sum(), values, retain_graph=True)[0].shape == shape
        with pytest.raises(RuntimeError, match=SHARED):
            y.sum().backward()
        with ferrograd.no_grad():
            x = make()
            write(x, values)
            assert not x.requires_grad and x.equal(ferrograd.from_numpy(np.broadcast_to(wanted, (3, 4)).astype("float32")))


def test_windows_that_overlap_are_written_to_in_turn():
    windows = lambda x: x.unfold(0, 4, 1)  # noqa: E731
    x = ferrograd.arange(6.0)
    windows(x).index_put_([ROW_INDEX], COUNTED(2, 4).detach())
    assert x.tolist() == [14, 15, 16, 17, 12, 13]
    x = ferrograd.arange(6.0)
    windows(x).masked_fill_(tensor(MASK, bool), 7)
    assert x.tolist() == [0, 7, 7, 7, 4, 5]
    # The longer dim is the outer one.
    x = ferrograd.zeros(6)
    windows(x).copy_(ferrograd.arange(12.0).view(3, 4))
    assert x.tolist() == [0, 1, 2, 3, 7, 11]
    start, values = COUNTED(6), COUNTED(2, 4)
    x = start * 1
    windows(x).index_put_([ROW_INDEX], values)
    kept, written = ferrograd.autograd.grad((x * ferrograd.arange(6.0)).sum(), [start, values])
    assert written.tolist() == [[2, 3, 4, 5], [0, 1, 2, 3]] and kept.tolist() == [0, 0, 0, 0, 4, 0]
    x, value = start * 1, ferrograd.tensor([7.0], requires_grad=True)
    windows(x).index_put_([tensor(MASK, bool)], value)
    # As the gradient of the old values is copied: what a longer dim has last, the second column of the third row.
    kept, written = ferrograd.autograd.grad(x.sum(), [start, value])
    assert written.tolist() == [3] and kept.tolist() == [1, 0, 1, 1, 1, 1]
    # What works on one element after the other changes a place as often as it shows.
    x = ferrograd.zeros(6)
    windows(x).add_(1)
    assert x.tolist() == [1, 2, 3, 3, 2, 1]
    x = ferrograd.ones(6)
    windows(x).mul_(ferrograd.tensor([[1.0], [2.0], [3.0]]))
    assert x.tolist() == [1, 2, 6, 6, 6, 3]
    x = ferrograd.ones(6).expand(2, 6).unfold(1, 2, 4)
    with pytest.raises(RuntimeError, match=SHARED):
        x.add_(1)
    for write in (
        lambda x: x.addmm_(ferrograd.ones(3, 2), ferrograd.ones(2, 4)),
        lambda x: x.cumsum_(0),
        lambda x: x.add_(COUNTED(4)),
        lambda x: x.uniform_(),
    ):
        x = ferrograd.arange(6.0)
        with pytest.raises(RuntimeError, match=SHARED):
            write(windows(x))
        assert x.equal(ferrograd.arange(6.0))


def test_real_conjugates_in_place_stay_as_they_are_wherever_they_lie():
    x = COLUMNS()
    assert x.conj_physical_() is x and x._version == 1 and x.equal(COLUMNS())
    start = ferrograd.ones(2, requires_grad=True)
    y = (start * 1).conj_physical_()
    assert y.grad_fn.name() == "ConjPhysicalBackward1" and ferrograd.autograd.grad(y.sum(), start)[0].tolist() == [1, 1]


def test_functions_of_single_elements_go_from_one_to_the_next():
    x = ferrograd.zeros(1).expand(3)
    assert x.apply_(lambda v: v + 1).tolist() == [3, 3, 3] and x._version == 0
    x = ferrograd.ones(3)
    x.map_(x.flip(0), lambda a, b: a + b)
    assert x.tolist() == [2, 2, 2]
    x = ferrograd.arange(3.0)
    x[1:].map_(x[:-1], lambda a, b: a + b)
    assert x.tolist() == [0, 1, 3]
    with pytest.raises(ZeroDivisionError):
        x.apply_(lambda v: 1 / (1 - v))
    assert x.tolist() == [1, 1, 3]


def test_addbmm_in_place_gives_the_shape_of_the_result():
    a, b = ferrograd.ones(2, 3, 2), ferrograd.ones(2, 2, 4)
    for shape in ((), (1,), (4,), (3, 1), (1, 1)):
        start = ferrograd.ones(shape, requires_grad=True)
        x = start * 1
        assert x.addbmm_(a, b) is x and x.tolist() == [[5] * 4] * 3 and x._version == 1
        assert x.grad_fn.name() == "AddbmmBackward0"
        assert ferrograd.autograd.grad(x.sum(), start)[0].equal(ferrograd.ones(3, 4).sum_to_size(shape))
    for shape in ((2, 4), (1, 3, 4)):
        with pytest.raises(RuntimeError):
            ferrograd.ones(shape).addbmm_(a, b)
    with pytest.raises(RuntimeError, match="a leaf Variable"):
        ferrograd.ones(1, requires_grad=True).addbmm_(a, b)


def test_index_copy_tells_the_wrong_number_from_the_wrong_shape():
    index = tensor([0, 1], int)
    for source, error in (((2, 3), RuntimeError), ((3, 4), IndexError), ((2,), IndexError)):
        with pytest.raises(error):
            ferrograd.ones(3, 4).index_copy_(0, index, ferrograd.ones(source))


def test_what_torch_has_no_derivative_for_says_so():
    x = ferrograd.ones(3, 4, requires_grad=True)
    for y in (
        x.scatter(0, ROW_INDEX.view(1, 2), ferrograd.ones(1, 2), reduce="add"),
        x.scatter(0, ROW_INDEX.view(1, 2), 2.0, reduce="multiply"),
        x.heaviside(x),
        x.bernoulli(0.5),
    ):
        assert y.grad_fn.name() == "torch::autograd::NotImplemented"
        with pytest.raises(RuntimeError, match="derivative for aten::.* is not implemented"):
            y.sum().backward()


def test_counts_of_writes_that_are_to_be_forgotten():
    forgotten = ferrograd.autograd._unsafe_preserve_version_counter
    x = ferrograd.ones(2, requires_grad=True)
    y = x * 1
    z = y * y
    with forgotten(y), ferrograd.no_grad():
        y.mul_(3)
    z.sum().backward()
    assert y._version == 0 and x.grad.tolist() == [6.0, 6.0]
    a, b = ferrograd.ones(1), ferrograd.ones(1)
    with forgotten((a, b)):
        a.add_(b.add_(1))
        assert a._version == b._version == 1
    assert a._version == b._version == 0
    with pytest.raises(AssertionError, match="expected a tensor or a tuple of tensors, got int"):
        forgotten(3)


def test_a_leaf_that_has_become_a_result_takes_no_gradient():
    x = ferrograd.ones(2, requires_grad=True)
    y = x * 2
    x.requires_grad_(False)
    x.add_(ferrograd.ones(2, requires_grad=True))
    with pytest.raises(RuntimeError, match=r"moved into the graph interior: .* a result of AddBackward0, .* shape \[2\]"):
        y.sum().backward()


def test_what_is_taken_of_inference_tensors_may_be_written_to():
    with ferrograd.inference_mode():
        x = ferrograd.ones(2)
        inside = x.detach()
    for taken in (x.detach(), x.data, x.detach().detach()):
        assert taken.is_inference() and taken._version == 0
        taken.add_(1)
        assert taken._version == 1
        with pytest.raises(RuntimeError, match="outside InferenceMode"):
            taken.requires_grad_()
        with pytest.raises(RuntimeError, match="cannot be saved"):
            taken * ferrograd.ones(2, requires_grad=True)
    assert x.tolist() == [4, 4]
    for tensor in (x, inside, x.view(2)):
        with pytest.raises(RuntimeError, match="do not track version counter"):
            tensor._version
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            tensor.add_(1)
    assert x.resize_(2) is x
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        x.resize_(1)


def test_values_written_by_index_lie_elsewhere():
    x = ferrograd.ones(2, 2)
    for write in (lambda: x.__setitem__(x > 0, x), lambda: x.__setitem__(ferrograd.tensor([0]), x[0])):
        with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor"):
            write()
    x[ferrograd.tensor([0])] = x[0].clone() * 3
    assert x.tolist() == [[3, 3], [1, 1]]


def test_set_to_what_requires_a_gradient():
    x, y = ferrograd.ones(2), ferrograd.ones(2, requires_grad=True)
    x.set_(y)
    assert x.requires_grad and not x.is_leaf and x.grad_fn.name() == "torch::autograd::NotImplemented"
    with pytest.raises(RuntimeError, match="derivative for aten::set_ is not implemented"):
        x.sum().backward()
    z = y * 1
    z.set_(ferrograd.zeros(3))
    names = [node and node.name() for node, _ in z.grad_fn.next_functions]
    assert z.tolist() == [0, 0, 0] and names == ["MulBackward0", None]


def test_inputs_that_are_views_of_what_was_written_are_refused():
    x = ferrograd.ones(2, requires_grad=True) * 1
    with ferrograd.no_grad():
        view = x[:1]
    x.mul_(2)
    with pytest.raises(RuntimeError, match="created in no_grad mode"):
        ferrograd.autograd.grad(x.sum(), view, allow_unused=True)
