"""Python threads that change the same tensor objects, gradients, hooks and graphs.

Where Python has its lock these mostly take turns; a free-threaded build runs them side by side. What such a thread may see: old
or new values, or one of the library's own errors. ``FERROGRAD_THREADS_SECONDS`` is how long the random test runs.
"""

import contextlib
import functools
import gc
import itertools
import os
import random
import sys
import threading
import time

import numpy as np
import pytest

import ferrograd as fg
from ferrograd.autograd.graph import saved_tensors_hooks
from test_threads import no_hang, run_so_often, run_together  # noqa: F401 - a fixture for all tests here

THREADS = 4


def test_data_is_set_while_others_look():
    """Guard: who changes a tensor's object does so alone; else a reader raises "Already mutably borrowed"."""
    small, large = fg.full((2, 3), 1.0), fg.full((40, 50), 2.0)
    x, values = small.clone(), itertools.cycle((large, small))

    def assign():
        x.data = next(values)

    def look():
        y = x + x
        assert y.shape in ((2, 3), (40, 50))
        assert y.min() == y.max() == (2 if y.shape == (2, 3) else 4)
        array = x.numpy()
        assert (array == array.flat[0]).all() and array.size in (6, 2000)
        assert repr(x).startswith("tensor(") and x.tolist()[0][0] in (1, 2)
        assert len(x) in (2, 40) and x.sum().item() in (6, 4000)
        assert x[0, 0].item() in (1, 2)

    run_so_often(2000, assign, look, look)


def test_data_waits_for_an_op_that_reads():
    """Guard: the wait in `show`. An op holds the object while it computes without the interpreter."""
    large = fg.ones(1200, 1200)
    x = large.clone()
    reading = threading.Event()

    def read():
        for _ in range(20):
            reading.set()
            assert (x @ x)[0, 0].item() in (1200.0, 4800.0)

    def assign():
        assert reading.wait(60)
        for i in range(20):
            x.data = large * (i % 2 + 1)

    run_together(read, assign)


def test_views_in_place_show_the_memory_they_were_made_for():
    """Guard: who changes a tensor's object does so alone."""
    small, large = fg.full((3, 2), 1.0), fg.full((300, 200), 2.0)
    x, values = small.clone(), itertools.cycle((large, small))

    def assign():
        x.data = next(values)

    def turn():
        x.transpose_(-1, -2)
        x.unsqueeze_(0)
        x.squeeze_()
        y = x.clone()
        assert y.min() == y.max() == (1 if y.numel() == 6 else 2)

    run_so_often(1000, assign, turn, turn)


def test_a_view_in_place_shows_the_memory_it_was_made_for(monkeypatch):
    """Guard: it shows what it saw, not the new layout of whatever memory is there by then. Anomaly detection asks Python where it is,
    in the middle of the op.
    """
    x = fg.full((3, 2), 1.0, requires_grad=True) * 1.0
    large = fg.full((300, 200), 2.0)

    def meanwhile():
        if x.numel() == 6:
            x.data = large
        return []

    monkeypatch.setattr("traceback.format_stack", meanwhile)
    fg.autograd.set_detect_anomaly(True)
    try:
        x.transpose_(0, 1)
    finally:
        fg.autograd.set_detect_anomaly(False)
    assert x.tolist() == [[1.0] * 3] * 2


def test_a_gradient_that_is_looked_at_still_adds_up():
    """Guard: showing the gradient to Python puts an object only in the place of what it shows."""
    for _ in range(20):
        leaf = fg.zeros(50, dtype=fg.float64, requires_grad=True)
        passes = []

        def differentiate():
            # One puts another gradient in the place of the one before, the other adds to that.
            for create_graph in (True, False):
                (leaf * 1.0).sum().backward(create_graph=create_graph)
                passes.append(1)

        def look():
            grad = leaf.grad
            assert grad is None or isinstance(grad, fg.Tensor)

        run_so_often(20, differentiate, look, look)
        assert leaf.grad.min() == leaf.grad.max() == len(passes)
        assert leaf.grad is leaf.grad
        leaf.grad = None


@pytest.mark.parametrize("change", ["add", "delete"])
def test_a_gradient_that_changes_while_its_object_is_made(change):
    """Guard: the same. Until Python 3.12 making an object may run the collector, and that code of the user's."""
    leaf = fg.zeros(3, requires_grad=True)
    (leaf * 1.0).sum().backward()
    calls = []

    def meanwhile(phase, info):
        if phase == "start" and not calls:
            calls.append(1)
            if change == "add":
                (leaf * 1.0).sum().backward(create_graph=True)
            else:
                leaf.grad = None

    before = gc.get_threshold()
    gc.callbacks.append(meanwhile)
    try:
        gc.set_threshold(1)
        shown = leaf.grad
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(meanwhile)
    assert shown is leaf.grad
    if calls:
        assert shown is None if change == "delete" else shown.tolist() == [2, 2, 2]
    leaf.grad = None


def test_a_gradient_is_set_and_deleted_while_others_add_to_it():
    """Guard: the same. A gradient that has been replaced does not come back with another added to it."""
    leaf = fg.zeros(50, dtype=fg.float64, requires_grad=True)
    numbers = itertools.count(1)

    def differentiate():
        for create_graph in (True, False, False):
            (leaf * 1.0).sum().backward(create_graph=create_graph)

    def assign():
        number = next(numbers)
        # Far apart: what is added in between are ones.
        assigned = 0.0 if number % 3 == 0 else 1e6 * number
        leaf.grad = fg.full((50,), assigned, dtype=fg.float64) if assigned else None
        for _ in range(10):
            grad = leaf.grad
            if grad is not None:
                first, *others = grad.detach().tolist()
                assert assigned <= first < assigned + 1e6 and set(others) == {first}

    run_so_often(3000, differentiate, differentiate, assign)
    leaf.grad = None


@pytest.fixture
def hasty():
    """Where Python has its lock, threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_node_is_one_object(hasty):
    """Guard: the lock around the dict of nodes' objects."""
    for _ in range(50):
        y = fg.ones(3, requires_grad=True)
        for _ in range(60):
            y = y * 2
        seen = [[] for _ in range(THREADS)]

        def ask(i):
            def body():
                node = y.grad_fn
                while node is not None:
                    node.metadata[i] = i
                    seen[i].append((node, node.metadata))
                    node = node.next_functions[0][0] if node.next_functions else None

            return body

        run_together(*map(ask, range(THREADS)))
        for same in zip(*seen, strict=True):
            assert all(node is same[0][0] and metadata is same[0][1] for node, metadata in same)
            assert len(same[0][1]) == THREADS


def test_hooks_come_and_go_while_others_differentiate():
    """Guard: hooks are called when nothing is locked: they may add and remove hooks themselves."""
    leaf = fg.ones(10, dtype=fg.float64, requires_grad=True)
    y = (leaf * 3.0).exp()

    def differentiate():
        (grad,) = fg.autograd.grad(y.sum(), leaf, retain_graph=True)
        assert grad.min() > 0

    def register():
        handles = [
            leaf.register_hook(lambda g: leaf.register_hook(print).remove()),
            y.register_hook(lambda g: y.register_hook(print).remove()),
            y.register_hook(lambda g: g * 1.0),
            y.grad_fn.register_hook(lambda *_: y.grad_fn.register_hook(print).remove()),
            y.grad_fn.register_prehook(lambda _: y.grad_fn.register_prehook(print).remove()),
            leaf.register_post_accumulate_grad_hook(lambda x: x.register_post_accumulate_grad_hook(print).remove()),
        ]
        for handle in handles:
            handle.remove()

    run_so_often(300, differentiate, differentiate, register, register)


def test_each_pass_reads_what_it_has_unpacked():
    """Guard: a node is run over tensors that were unpacked for this run."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200, 200))
    for _ in range(20):
        x = fg.tensor(values, requires_grad=True)
        with saved_tensors_hooks(lambda t: t.detach().numpy().copy(), lambda a: (time.sleep(0.001), fg.tensor(a))[1]):
            y = (x * x).exp().sum()

        def differentiate():
            for _ in range(3):
                (grad,) = fg.autograd.grad(y, x, retain_graph=True)
                np.testing.assert_allclose(grad.numpy(), 2 * values * np.exp(values**2))

        run_together(*[differentiate] * THREADS)


@pytest.mark.parametrize("hooks", [False, True])
def test_one_graph_is_freed_once(hooks):
    """One backward pass gets the rules; the others, also those that have unpacked tensors for them, are told that the graph is gone."""
    for _ in range(100):
        leaf = fg.full((20,), 2.0, dtype=fg.float64, requires_grad=True)
        with saved_tensors_hooks(fg.Tensor.detach, lambda x: (time.sleep(0.001), x)[1]) if hooks else contextlib.nullcontext():
            loss = (leaf * leaf).sum()
        failed = []

        def differentiate():
            try:
                loss.backward()
            except RuntimeError as error:
                failed.append(str(error))

        run_together(*[differentiate] * THREADS)
        assert len(failed) == THREADS - 1 and all("second time" in text for text in failed)
        assert leaf.grad.min() == leaf.grad.max() == 4


def test_small_writers_take_turns():
    """Without the interpreter lock these overlap too: each reads, adds to and writes the same elements. Guard: kernels lock storages."""
    x = fg.zeros(700, dtype=fg.int64)
    views = [x, x[:], x.view(700, 1).t()[0], x.detach()]

    counts = run_so_often(10_000, *[functools.partial(view.add_, 1) for view in views])
    assert x.min() == x.max() == sum(counts)


def test_random_numbers_are_drawn_once():
    """Together the threads draw the numbers that one would. Guard: the lock of the generator."""
    drawn = []

    def draw():
        drawn.append(fg.rand(1, dtype=fg.float64).item())

    fg.manual_seed(3)
    counts = run_so_often(3000, *[draw] * THREADS)
    fg.manual_seed(3)
    assert sorted(drawn) == sorted(fg.rand(1, dtype=fg.float64).item() for _ in range(sum(counts)))


def test_a_list_that_changes_while_it_is_read():
    """Guard: so many numbers as the shape says, or an error; else the rest would be whatever was in that memory."""

    class Last:
        def __float__(self):
            del data[1:]
            return 1.0

    data = [Last(), 2.0, 3.0]
    with pytest.raises(RuntimeError, match="1 values do not fill the shape"):
        fg.tensor(data, dtype=fg.float32)


def test_lists_that_change_while_they_are_read():
    """Guard: the same."""
    data = [[float(i)] * 100 for i in range(9)]
    numbers = set(range(9))

    def read():
        # The memory that the next tensor gets.
        fg.full((9, 100), -1.0)
        try:
            x = fg.tensor(data)
            assert x.shape[1] in (99, 100) and numbers.issuperset(x.flatten().tolist())
            fg.stack([fg.tensor(row) for row in list(data)])
        except (ValueError, TypeError, RuntimeError, IndexError):
            pass

    def change():
        for i in range(8):
            data.append(data.pop(i))
            row = data[i]
            row.append(row.pop())

    run_so_often(500, change, read, read)


def some_ops(pool, rng):
    """Random calls on the tensors that all threads share."""
    x, y = (lambda: rng.choice(pool)), (lambda: rng.choice(pool))

    def assign():
        with fg.no_grad():
            x().data = y().detach()

    def step():
        leaf = x()
        with fg.no_grad():
            grad = leaf.grad
            if grad is not None:
                leaf.sub_(grad.detach(), alpha=0.01)
        leaf.grad = None

    def hooked():
        leaf = x()
        with leaf.register_hook(lambda g: g * 0.5):
            (leaf * 2).sum().backward()

    def written():
        z = x().clone()
        z[0].mul_(2.0)
        z.t_() if z.dim() == 2 else z.neg_()
        z.sum().backward()

    def sorted_():
        values, places = x().flatten().sort()
        values.sum().backward()
        places.zero_()

    return [
        assign,
        step,
        hooked,
        written,
        sorted_,
        lambda: (x() * y()).sum().backward(),
        lambda: (x() @ y().t()).exp().sum().backward(),
        lambda: x().softmax(-1).sum().backward(create_graph=True),
        lambda: repr(x()),
        lambda: x().tolist(),
        lambda: x().detach().numpy().sum(),
        lambda: x().shape.numel(),
        lambda: x().grad_fn,
        lambda: repr(x().grad),
        lambda: setattr(x(), "grad", y().detach().clone()),
        lambda: x().data.mul_(0.5),
        lambda: x().data.t_(),
        lambda: x().requires_grad_(),
        lambda: fg.cat([x().flatten(), y().flatten()]).max(0).values.backward(),
        lambda: x()[fg.tensor([0, -1])].sum().backward(),
        lambda: pool.__setitem__(rng.randrange(len(pool)), x().detach().clamp(-2, 2).clone().requires_grad_()),
    ]


def test_random_programs_on_shared_tensors():
    """No crash, no hang, and no error but the library's own, told to the caller."""
    seconds = float(os.environ.get("FERROGRAD_THREADS_SECONDS", "3"))
    seed = random.randrange(2**32)
    print("seed", seed)
    shapes = [(3, 4), (4, 4), (1, 4), (60, 4), (200, 300)]
    pool = [fg.rand(shape, dtype=fg.float64).requires_grad_() for shape in shapes]
    end = time.monotonic() + seconds

    def worker(number):
        rng = random.Random(seed + number)
        ops = some_ops(pool, rng)

        def body():
            while time.monotonic() < end:
                try:
                    rng.choice(ops)()
                except (RuntimeError, IndexError) as error:
                    assert "internal error" not in str(error) and "borrowed" not in str(error), error

        return body

    run_together(*map(worker, range(THREADS)))
    for x in pool:
        x.grad = None
