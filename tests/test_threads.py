"""Python threads that share tensors: no deadlock, and each sees old or new values only."""

import faulthandler
import itertools
import queue
import sys
import threading
import time

import numpy as np
import pytest

import ferrograd as fg


@pytest.fixture(autouse=True)
def no_hang():
    """A deadlock ends the run with a traceback of every thread."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def run_together(*bodies):
    """Runs functions on threads that begin at the same time; raises the first exception of one."""
    problems = []
    together = threading.Barrier(len(bodies))

    def guarded(body):
        try:
            together.wait(60)
            body()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def run_so_often(times, *bodies):
    """Runs each on a thread of its own, again and again until all have been run so often: none is done before others begin. Answers
    how often each was run.
    """
    counts = [0] * len(bodies)
    failed = threading.Event()

    def repeated(i, body):
        def run():
            try:
                while min(counts) < times and not failed.is_set():
                    body()
                    counts[i] += 1
            except BaseException:
                failed.set()
                raise

        return run

    run_together(*itertools.starmap(repeated, enumerate(bodies)))
    return counts


def test_writers_of_one_large_tensor_take_turns():
    shared = fg.from_numpy(np.zeros(300_000))
    one = fg.from_numpy(np.ones(300_000))

    def add():
        for _ in range(100):
            shared.add_(one)

    run_together(add, add, add)
    np.testing.assert_array_equal(shared.numpy(), np.full(300_000, 300.0))


def test_a_reader_sees_old_or_new_values():
    shared = fg.from_numpy(np.zeros(200_000))
    stop = threading.Event()

    def write():
        for value in range(200):
            shared.copy_(fg.from_numpy(np.full(200_000, float(value))))
        stop.set()

    def read():
        while not stop.is_set():
            copy = shared.add(shared).numpy()
            assert (copy == copy[0]).all()

    run_together(write, read, read)


def test_a_writer_gets_in_between_readers():
    """Guard: new readers let a writer in that waits, else it waits for as long as two readers overlap."""
    shared = fg.zeros(3_000_000)
    stop = threading.Event()
    waits = []

    def write():
        try:
            time.sleep(0.1)
            for _ in range(10):
                start = time.monotonic()
                shared.add_(1)
                waits.append(time.monotonic() - start)
                if sum(waits) > 30:
                    break
        finally:
            stop.set()

    def read():
        # A way out, should the writer never come back.
        end = time.monotonic() + 60
        while not stop.is_set() and time.monotonic() < end:
            shared * shared

    run_together(write, read, read, read)
    assert len(waits) == 10 and sum(waits) < 30


def test_backward_side_by_side_on_shared_weights():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((64, 300)), rng.standard_normal((300, 200))
    weight = fg.from_numpy(w)

    def train():
        for _ in range(20):
            mine = weight.detach().requires_grad_()
            (fg.from_numpy(x).mm(mine)).sum().backward()
            np.testing.assert_allclose(mine.grad.numpy(), np.repeat(x.sum(0)[:, None], 200, 1), rtol=1e-12)

    run_together(train, train)


def test_gradients_of_one_leaf_add_up():
    """Side by side from the very first on. Guard: `add_to_grad` looks whether another thread's gradient came in between.

    The gradient is no fresh memory (it is one number, expanded), so it is copied, without the interpreter lock.
    """
    for _ in range(20):
        leaf = fg.zeros(400_000, dtype=fg.float64).requires_grad_()
        together = threading.Barrier(3)

        def differentiate():
            together.wait()
            for _ in range(4):
                leaf.sum().backward()

        run_together(*[differentiate] * 3)
        assert leaf.grad.min() == leaf.grad.max() == 12


def test_gradients_with_a_graph_add_up():
    leaf = fg.full((200_000,), 2.0, dtype=fg.float64).requires_grad_()

    def differentiate():
        (leaf * leaf).sum().backward(create_graph=True)

    passes = sum(run_so_often(40, *[differentiate] * 3))
    grad = leaf.grad
    assert grad.detach().min() == grad.detach().max() == passes * 4
    (second,) = fg.autograd.grad(grad.sum(), leaf)
    assert second.min() == second.max() == passes * 2
    leaf.grad = None


def test_retained_gradients_add_up():
    """Guard: `keep_grad` looks whether another thread's gradient came in between."""
    leaf = fg.zeros(400_000, dtype=fg.float64).requires_grad_()
    y = leaf * 2
    y.retain_grad()

    def differentiate():
        y.sum().backward(retain_graph=True)

    passes = sum(run_so_often(40, *[differentiate] * 3))
    assert y.grad.min() == y.grad.max() == passes
    assert leaf.grad.min() == leaf.grad.max() == passes * 2


def test_a_kernel_lets_other_threads_run():
    """Guard: `without_interpreter`. Of itself this Python would let nobody else run for a minute."""
    x = fg.ones(700, 700)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.0002):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    before = sys.getswitchinterval()
    thread.start()
    try:
        sys.setswitchinterval(60)
        while not ticks:
            time.sleep(0.001)
        ticks.clear()
        # The processors may be busy with the product for a while.
        for _ in range(100):
            x @ x
            if ticks:
                break
        during = len(ticks)
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()
    assert during


def test_copies_to_and_fro():
    """Guard: a thread that waits for a storage lets go of the interpreter. (For the order of waiting, see `storage.rs`.)"""
    a, b, c = (fg.full((200_000,), float(i), dtype=fg.float64) for i in range(3))

    def swap(x, y):
        def body():
            for _ in range(300):
                x.copy_(y)
                y.copy_(x)

        return body

    run_together(swap(a, b), swap(b, c), swap(c, a))
    for x in (a, b, c):
        assert x.min() == x.max() and x[0] in (0, 1, 2)


def test_views_of_one_memory_are_written_in_turns():
    """Guard: a storage is locked by its memory, not by the tensor that shows it."""
    memory = fg.zeros(400, 500, dtype=fg.float64)
    views = [memory, memory.t(), memory.view(200_000), memory.view(-1)[:100_000], memory.view(-1)[100_000:]]

    def adding(view):
        def body():
            for _ in range(1500):
                view.add_(1)

        return body

    run_together(*map(adding, views))
    assert memory.min() == memory.max() == 6000


def test_modes_belong_to_their_thread():
    """Grad mode, inference mode, anomaly detection and hooks on saved tensors."""
    x = fg.ones(3, requires_grad=True)
    inside, done = threading.Barrier(2), threading.Barrier(2)
    packed = []

    def unusual():
        with fg.no_grad():
            inside.wait(60)
            assert not (x * 2).requires_grad
            done.wait(60)
        with fg.inference_mode():
            inside.wait(60)
            assert (x * 2).is_inference()
            done.wait(60)
        with fg.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
            inside.wait(60)
            done.wait(60)

    def usual():
        for _ in range(2):
            inside.wait(60)
            assert fg.is_grad_enabled() and not fg.is_inference_mode_enabled()
            y = x * 2
            assert y.requires_grad and not y.is_inference()
            done.wait(60)
        inside.wait(60)
        x.exp().sum().backward()
        assert not packed
        done.wait(60)

    run_together(unusual, usual)


def test_graphs_are_built_differentiated_and_dropped_by_different_threads():
    """Guard: the nodes of all threads are numbered together; else one runs before it has all its gradients."""
    begun, built, spent = queue.SimpleQueue(), queue.SimpleQueue(), queue.SimpleQueue()
    leaf = fg.ones(100, dtype=fg.float64, requires_grad=True)
    calls = []

    def begin():
        for _ in range(200):
            y = leaf
            for _ in range(20):
                y = y * 1.0 + 0.0
            y.register_hook(lambda g: calls.append(1) or g * 2)
            begun.put(y)
        begun.put(None)

    def build():
        while (y := begun.get()) is not None:
            built.put((y * 3.0 + y).sum())
        built.put(None)

    def differentiate():
        try:
            while (loss := built.get()) is not None:
                loss.backward()
                spent.put(loss)
        finally:
            spent.put(None)

    def drop():
        while spent.get() is not None:
            pass

    run_together(begin, build, differentiate, drop)
    assert leaf.grad.min() == leaf.grad.max() == 200 * 4 * 2
    assert len(calls) == 200


def test_data_is_set_while_others_compute():
    """Who changes a tensor waits for those who read it (`interpreter::show`)."""
    x = fg.zeros(300, 300)
    values = itertools.cycle([fg.full((300, 300), float(v)) for v in (1, 2)])
    x.data = next(values)

    def compute():
        y = x + x
        assert y.min() == y.max() and y[0, 0] in (2.0, 4.0)

    def assign():
        x.data = next(values)

    run_so_often(2000, compute, compute, assign)


def test_data_is_changed_in_place_in_the_middle_of_an_op():
    """Guard: `x.data -= 1` assigns what is there already, and need not wait for the op. Else threads that keep reading a weight
    would keep another from training it in this way.
    """
    x = fg.ones(3, 3)

    class Dim:
        def __index__(self):
            x.data -= 1
            return 0

    start = time.monotonic()
    assert x.select(Dim(), 0).tolist() == [0, 0, 0]
    assert time.monotonic() - start < 5


def test_a_hook_changes_the_tensor_that_backward_was_called_on():
    x = fg.ones(2, requires_grad=True)
    loss = x.sum()

    def change(grad):
        loss.data = fg.tensor(7.0)

    x.register_hook(change)
    loss.backward()
    assert loss.item() == 7
