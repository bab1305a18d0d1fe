"""Ctrl-C: a real SIGINT ends a long backward, or a loop of ops, and leaves everything usable."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

PRELUDE = """
import signal, sys, threading, time
import ferrograd as fg

# A job in the background of a shell is started with the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def usable():
    assert fg.is_grad_enabled()
    x = fg.ones(200, 200, requires_grad=True)
    (x @ x).sum().backward()
    assert x.grad[0, 0].item() == 400

def long_enough(seconds=1):
    '''Builds a graph for a second, so that backward takes about as long.'''
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield

def interrupted(body):
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        body()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    else:
        print("ran to its end", flush=True)
"""


def interrupt(program, after=0.1):
    """Runs a program and sends it SIGINT while it is within `interrupted`."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0, out + err
    assert out.split() == ["interrupted", "usable"], out + err


def test_a_long_backward():
    """Guards the engine's look at signals: without it, backward runs to its end, and writes the gradient."""
    interrupt(
        """
        x = fg.ones(10, requires_grad=True)
        y = x
        for _ in long_enough():
            y = y * 1.0
        loss = y.sum()
        interrupted(loss.backward)
        assert x.grad is None, "half-written"
        usable()
        print("usable")
        """
    )


def test_a_backward_of_large_kernels():
    interrupt(
        """
        x = fg.ones(300, 300, requires_grad=True)
        y = x
        for _ in long_enough():
            y = (y @ x) * (1 / 300)
        loss = y.sum()
        interrupted(loss.backward)
        assert x.grad is None, "half-written"
        usable()
        print("usable")
        """
    )


def test_a_loop_of_ops():
    """Guards that a pass gives the mode back when it ends: the next one records, too."""
    interrupt(
        """
        x = fg.ones(100, 100, requires_grad=True)

        def train():
            while True:
                loss = ((x @ x) ** 2).sum()
                loss.backward()
                x.grad = None

        interrupted(train)
        usable()
        print("usable")
        """
    )


def test_waiting_for_a_thread_that_computes():
    """Guards that kernels run without the interpreter: the handler runs in the main thread while another is busy in the engine, which
    of itself this Python would not interrupt for an hour.
    """
    interrupt(
        """
        sys.setswitchinterval(3600)
        stop = False

        def work():
            x = fg.ones(300, 300, requires_grad=True)
            while not stop:
                (x @ x).sum().backward()

        thread = threading.Thread(target=work)
        thread.start()

        def wait():
            while True:
                fg.ones(100_000).sum()

        interrupted(wait)
        sys.setswitchinterval(0.005)
        stop = True
        thread.join()
        usable()
        print("usable")
        """
    )


def test_waiting_for_a_tensor_that_is_being_read():
    """Guards the look at signals in `show`, whose patience is much longer."""
    interrupt(
        """
        x = fg.ones(3, 3)

        class Dim:
            def __index__(self):
                x.data = x * 2
                return 0

        start = time.monotonic()
        interrupted(lambda: x.select(Dim(), 0))
        assert time.monotonic() - start < 5
        assert x.tolist() == [[1.0] * 3] * 3
        usable()
        print("usable")
        """
    )


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer's signal")
def test_a_handler_of_the_users_own():
    """Another handler's exception comes out of backward; one that returns lets it go on. Guards the same look at signals."""
    program = """
        class Mine(Exception):
            pass

        x = fg.ones(10, requires_grad=True)
        y = x
        for _ in long_enough(0.4):
            y = y * 1.0
        loss = y.sum()

        def backward(handler):
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            loss.backward(retain_graph=True)

        calls = []
        backward(lambda *_: calls.append(x.grad))
        assert calls == [None], "not within backward"
        assert x.grad.tolist() == [1.0] * 10

        def handler(*_):
            raise Mine

        try:
            backward(handler)
        except Mine:
            assert x.grad.tolist() == [1.0] * 10, "half-written"
            usable()
            print("mine")
    """
    program = PRELUDE + textwrap.dedent(program)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout == "mine\n", result.stdout + result.stderr
