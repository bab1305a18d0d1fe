"""Python threads that share tensors: no deadlock, and each sees old or new values only."""

import faulthandler
import threading

import numpy as np
import pytest

import ferrograd as fg


@pytest.fixture(autouse=True)
def no_hang():
    """A deadlock ends the run with a traceback of every thread."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def run_together(*bodies):
    problems = []

    def guarded(body):
        try:
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
