"""`x.data = y` between an op and its backward: rules read what their inputs show then, as torch saves the tensors themselves."""

import gc
import threading
import weakref

import numpy as np
import pytest

import ferrograd
from ferrograd.autograd import Function, grad
from ferrograd.nn import functional as F


def leaf(*values):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=True)


def gradient(y, x):
    y.sum().backward()
    return x.grad.tolist()


@pytest.mark.parametrize(
    "call, wanted",
    [
        (lambda x: x * x, [20, 40]),
        (lambda x: x**3, [300, 1200]),
        (lambda x: x.log(), [0.1, 0.05]),
        # A result is saved as it was: what it was made from has no say in it.
        (lambda x: x * ferrograd.tensor([1.0, 2.0]) * x, [11, 44]),
        (lambda x: x.reciprocal(), [-1, -0.25]),
        (lambda x: x.relu(), [1, 1]),
        # Rules of views and copies hold these.
        (lambda x: x.view(1, 2) * x.view(1, 2), [2, 4]),
        (lambda x: x.clone() ** 2, [2, 4]),
        (lambda x: F.linear(x[None], x[None]), [2, 4]),
        (lambda x: x @ x, [20, 40]),
    ],
)
def test_which_rules_read_it(call, wanted):
    x = leaf(1, 2)
    y = call(x)
    x.data = x.data * 10
    assert gradient(y, x) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "call, shapes, factor",
    [
        (lambda a, b: a @ b, [(2, 3), (3,)], 10),
        (lambda a, b: a.new_zeros(2).addmv(a, b), [(2, 3), (3,)], 10),
        (lambda a, b: a.new_zeros(2, 2).addbmm(a, b), [(4, 2, 3), (4, 3, 2)], 10),
        # Of batches views are saved, and a copy of one that is multiplied with a single matrix.
        (lambda a, b: a @ b, [(4, 2, 3), (4, 3, 2)], 1),
        (lambda a, b: a @ b, [(2, 3), (4, 3, 2)], 1),
    ],
)
def test_products_of_matrices(call, shapes, factor):
    a, b = (ferrograd.rand(*shape, dtype=ferrograd.float64, requires_grad=True) for shape in shapes)
    y = call(a, b).sum()
    (before,) = grad(y, a, retain_graph=True)
    b.data = b.data * 10
    assert grad(y, a)[0].allclose(before * factor)


def test_a_computed_tensor():
    x = leaf(1, 2)
    h = x * 1
    y = h * h
    h.data = h.data * 10
    assert gradient(y, x) == [20, 40]
    e = x.exp()
    y = e * e
    e.data = ferrograd.ones(2, dtype=ferrograd.float64)
    (g,) = grad(y.sum(), e, retain_graph=True)
    assert g.tolist() == [2, 2]
    assert grad(y.sum(), x)[0].allclose(2 * x.exp())


def test_other_operands():
    x, w, target = leaf(1, 2), leaf(3, 4), leaf(5, 6).detach()
    y = x * w + (x - target) ** 2 * target
    w.data, target.data = w.data * 10, target.data * 0
    assert gradient(y, x) == [30, 40]


def test_modules():
    ferrograd.manual_seed(0)
    x = ferrograd.rand(2, 3, 4, requires_grad=True)
    for module in (ferrograd.nn.Conv1d(3, 2, 2), ferrograd.nn.LayerNorm(4), ferrograd.nn.GroupNorm(1, 3), ferrograd.nn.BatchNorm1d(3)):
        y = module(x)
        (before,) = grad(y.sum() + (y**2).sum(), x, retain_graph=True)
        y = module(x)
        module.weight.data = module.weight.data * 0
        (after,) = grad(y.sum(), x)
        assert before.any() and not after.any()


def test_each_run_reads_it_anew():
    x = leaf(1, 2)
    y = (x**3).sum()
    for scale in (1, 10, 100):
        x.data = leaf(scale, 2 * scale).detach()
        (g,) = grad(y, x, retain_graph=True)
        assert g.tolist() == [3 * scale**2, 12 * scale**2]
    # In the memory of before: nothing was saved that is no longer there.
    x.data = x.data * 0
    assert grad(y, x)[0].tolist() == [0, 0]


def test_second_derivatives():
    x = leaf(1, 2)
    (g,) = grad((x**3).sum(), x, create_graph=True)
    x.data = x.data * 10
    assert grad(g.sum(), x)[0].tolist() == [60, 120]
    y = (x**3).sum()
    x.data = x.data / 10
    (g,) = grad(y, x, create_graph=True)
    assert g.tolist() == [3, 12] and grad(g.sum(), x)[0].tolist() == [6, 12]


def test_a_function_of_the_users():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g

    x = leaf(1, 2)
    y = Square.apply(x)
    x.data = x.data * 10
    assert gradient(y, x) == [20, 40]


def test_the_count_of_writes_goes_on():
    x, other = leaf(1, 2), leaf(10, 20).detach()
    other.add_(0)
    y = x * x
    x.data = other
    assert x._version == 0 and other._version == 1
    # That of the other tensor is no write to this one, nor the other way round.
    other.mul_(2)
    assert gradient(y, x) == [40, 80] and x._version == 0
    y = x * x
    with ferrograd.no_grad():
        x.add_(1)
    assert x._version == 1 and other._version == 2
    with pytest.raises(RuntimeError, match="modified by an inplace operation: .* at version 1; expected version 0"):
        y.sum().backward()


def test_other_memory_in_place_is_a_write():
    x = leaf(1, 2)
    y = x * x
    with ferrograd.no_grad():
        x.set_(leaf(3, 4).detach())
    assert x._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation: .* at version 1; expected version 0"):
        y.sum().backward()


def test_the_same_memory_shown_otherwise():
    x = ferrograd.tensor([[1.0, 2], [3, 4]], requires_grad=True)
    y, view = x * x, x.detach()
    x.data = x.data.T
    assert gradient(y, x) == [[2, 6], [4, 8]]
    y = x * x
    view.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_what_does_not_fit_is_not_read():
    x, w = leaf(1, 2), leaf(3, 4)
    y = x * w
    x.data = leaf(1, 2, 3).detach()
    with pytest.raises(RuntimeError, match="has been given data of another shape"):
        grad(y.sum(), w, retain_graph=True)
    x.data = leaf(5, 6).detach()
    assert grad(y.sum(), w)[0].tolist() == [5, 6]


def test_memory_is_freed():
    """Of the data given, the graph keeps what was there when the op ran, and the tensor what it was given last."""
    arrays = [np.random.rand(10) for _ in range(4)]
    watched = [weakref.ref(array) for array in arrays]
    x = ferrograd.from_numpy(arrays[0]).requires_grad_()
    y = (x * x).sum()
    for array in arrays[1:]:
        x.data = ferrograd.from_numpy(array)
    del array, arrays

    def alive():
        gc.collect()
        return [ref() is not None for ref in watched]

    assert alive() == [True, False, False, True]
    y.backward()
    del y
    assert alive() == [False, False, False, True]
    del x
    assert alive() == [False] * 4


def test_graphs_that_are_kept_keep_the_first_data_only():
    x = leaf(0, 0)
    watched, ends = [], [(x * x).sum()]
    for i in range(5):
        array = np.full(2, i + 1.0)
        watched.append(weakref.ref(array))
        x.data = ferrograd.from_numpy(array)
        del array
        ends.append((x * x).sum())
        ends[-1].backward()
    gc.collect()
    assert [ref() is not None for ref in watched] == [False] * 4 + [True]
    assert x.grad.tolist() == [30, 30]
    end = ends[0].grad_fn.next_functions[0][0].next_functions[0][0]
    assert end.variable is x
    del x
    assert end.variable.tolist() == [5, 5] and end.variable.grad.tolist() == [30, 30]
    del ends, end
    gc.collect()
    assert watched[-1]() is None


def test_threads():
    """Guard: one thread gives a tensor other data while others differentiate."""
    x = ferrograd.rand(100, 100, requires_grad=True)
    y, stop, failed = (x * x).sum(), threading.Event(), []

    def differentiate():
        try:
            while not stop.is_set():
                (g,) = grad(y, x, retain_graph=True)
                low, high = g.min().item(), g.max().item()
                assert low == high and low in (2, 4, 6), (low, high)
        except Exception as error:
            failed.append(error)

    x.data = ferrograd.ones(100, 100)
    threads = [threading.Thread(target=differentiate) for _ in range(3)]
    [thread.start() for thread in threads]
    for i in range(300):
        x.data = ferrograd.full((100, 100), float(i % 3 + 1)).T
    stop.set()
    [thread.join() for thread in threads]
    assert not failed


def test_data_of_another_shape():
    """Rules that read it fail, until it fits again; others do not look."""
    x = leaf(1, 2)
    squares, sines, total, given = (x**2).sum(), x.sin().sum(), x.sum(), x.data
    x.data = ferrograd.ones(3, dtype=ferrograd.float64)
    assert squares.grad_fn.next_functions[0][0]._saved_self is x
    for y in (squares, sines, squares):
        with pytest.raises(RuntimeError, match=r"given data of another shape .*it was \[torch.DoubleTensor \[2\]\]$"):
            grad(y, x, retain_graph=True)
    with pytest.raises(RuntimeError):
        total.backward()
    x.data = given * 10
    assert grad(squares, x)[0].tolist() == [20, 40] and grad(sines, x)[0].equal(x.detach().cos())


def test_data_of_another_dtype():
    """Rules go on with data of another precision, also of a shape that broadcasts, and else with what was saved."""
    for data, wanted in (
        (ferrograd.tensor([7.0, 8.0]), [14, 16]),
        (ferrograd.tensor([7.0]), [14, 14]),
        (ferrograd.tensor(3.0, dtype=ferrograd.float64), [6, 6]),
        (ferrograd.tensor([7, 8 + 1j]), [2, 4]),
    ):
        x = leaf(1, 2)
        h = x * 1
        y = (h * h).sum()
        h.data = data
        assert gradient(y, x) == wanted
    h = x * 1
    y = (h * h).sum()
    h.data = ferrograd.tensor([7.0])
    h.add_(1)
    with pytest.raises(RuntimeError):
        y.backward()
