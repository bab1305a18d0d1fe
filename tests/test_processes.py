"""Processes that fork or are forked: a child neither hangs nor crashes, whatever its parent's threads were doing.

Each test runs programs of their own, because a fork takes the state of the whole process along.
"""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")


def run(program, timeout=100):
    """Runs a program; a hang or a crash fails the test."""
    program = "import faulthandler; faulthandler.dump_traceback_later(%d, exit=True)\n%s" % (timeout - 10, textwrap.dedent(program))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


CHILD = """
import os, sys, threading, time
import numpy as np
import ferrograd as fg
fg.set_num_threads(2)

def in_child(body):
    '''Runs something in a forked child, which must end well within ten seconds.'''
    child = os.fork()
    if child == 0:
        try:
            body()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, status
            return
        time.sleep(0.001)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise SystemExit("the child hangs")
"""


def test_the_thread_pool_after_fork():
    """Guards `Pool::of_this_process`: the parent's workers do not exist in the child, which must start its own."""
    run(
        CHILD
        + """
def train():
    x = fg.ones(100, 200, requires_grad=True)
    w = fg.ones(200, 100, requires_grad=True)
    for _ in range(5):
        (x @ w).relu().sum().backward()
    assert w.grad[0, 0].item() == 5 * 100
    while len(os.listdir("/proc/self/task")) < 2:
        assert (fg.ones(500_000) * 2).sum().item() == 1_000_000

train()
for _ in range(5):
    in_child(lambda: (train(), in_child(train)))
    train()
"""
    )


def test_a_fork_while_a_thread_is_within_a_kernel():
    """Guards `fork::Lock`: storages that the thread holds are locked for ever in the child, unless it knows better."""
    run(
        CHILD
        + """
shared = fg.zeros(4_000_000)
stop = False

def write():
    while not stop:
        shared.add_(1)

thread = threading.Thread(target=write)
thread.start()
for _ in range(30):
    in_child(lambda: (shared.mul_(2), shared[0].item()))
    time.sleep(0.001)
stop = True
thread.join()
"""
    )


def test_a_fork_while_a_thread_draws_random_numbers():
    """Guards the lock of generators, which a long draw holds without the interpreter lock."""
    run(
        CHILD
        + """
own = fg.Generator()
stop = False

def draw(generator):
    while not stop:
        fg.randn(1_000_000, generator=generator)

threads = [threading.Thread(target=draw, args=(g,)) for g in (None, own)]
for thread in threads:
    thread.start()
for _ in range(10):
    in_child(lambda: (fg.randn(10), fg.randn(10, generator=own), fg.manual_seed(1)))
    time.sleep(0.001)
stop = True
for thread in threads:
    thread.join()
"""
    )


def test_a_fork_while_a_thread_differentiates():
    """Guards that no lock of the tape is held while a kernel runs without the interpreter: the tape's locks know nothing of
    forks. A fork of Python's waits for all threads that run Python, also where there is no interpreter lock.
    """
    run(
        CHILD
        + """
leaf = fg.ones(1_000_000, requires_grad=True)
stop = False

def differentiate():
    while not stop:
        leaf.sum().backward()

def use():
    leaf.grad = None
    leaf.sum().backward()
    assert leaf.grad[0].item() == 1

threads = [threading.Thread(target=differentiate) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(30):
    in_child(use)
    time.sleep(0.001)
stop = True
for thread in threads:
    thread.join()
"""
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(tmp_path, method):
    """Tensors go to workers and back by pickling, gradients are computed there: as a data loader's workers do."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing
            import ferrograd as fg

            def load(i):
                x = fg.full((1000, 100), float(i))
                w = fg.ones(100, 50, requires_grad=True)
                (x @ w).sum().backward()
                return x.mean(0), w.grad

            def square(queue, results):
                while (x := queue.get()) is not None:
                    results.put(x * x)

            if __name__ == "__main__":
                context = multiprocessing.get_context({method!r})
                fg.set_num_threads(2)
                warm = fg.ones(1000, 1000, requires_grad=True)
                (warm @ warm).sum().backward()
                with context.Pool(2) as pool:
                    for i, (mean, grad) in enumerate(pool.imap(load, range(8))):
                        assert mean.tolist() == [float(i)] * 100 and grad[0, 0].item() == 1000 * i
                queue, results = context.Queue(), context.Queue()
                worker = context.Process(target=square, args=(queue, results))
                worker.start()
                for i in range(5):
                    queue.put(fg.full((200_000,), float(i)))
                    assert results.get(timeout=60)[-1].item() == i * i
                queue.put(None)
                worker.join()
                assert worker.exitcode == 0
                (warm @ warm).sum().backward()
                print("done")
            """
        )
    )
    result = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=100)
    assert result.returncode == 0 and result.stdout == "done\n", result.stdout + result.stderr
