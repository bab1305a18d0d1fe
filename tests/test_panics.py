"""A panic in Rust is a bug of ours: it must reach Python as a RuntimeError, and leave everything usable."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

import ferrograd as fg
from ferrograd import _C

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def still_works():
    x = fg.from_numpy(np.ones((200, 200))).requires_grad_()
    (x @ x).sum().backward()
    assert (x.grad.numpy() == 400).all()
    assert (fg.ones(1_000_000) + 1).sum().item() == 2_000_000


@pytest.mark.parametrize("place", ["here", "kernel", "worker"])
def test_a_panic_is_a_runtime_error(place):
    """Guards `panics::install`; in a kernel also the way back to the interpreter, in a worker the pool's catching of panics."""
    threads = fg.get_num_threads()
    fg.set_num_threads(2)
    try:
        for _ in range(3):
            with pytest.raises(RuntimeError, match="internal error of ferrograd: on purpose.*report") as caught:
                _C._panic_for_tests(place)
            assert isinstance(caught.value, Exception)
            assert type(caught.value).__name__ == "InternalError"
            still_works()
    finally:
        fg.set_num_threads(threads)


def test_a_panic_within_backward_passes_the_hook_and_the_engine():
    """The panic is raised in Python, caught by nobody there, and passes Rust a second time."""
    x = fg.ones(3, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: _C._panic_for_tests("here"))
    with pytest.raises(RuntimeError, match="internal error of ferrograd: on purpose"):
        (y * y).sum().backward()
    assert x.grad is None
    assert fg.is_grad_enabled()
    still_works()


# Until a class with `__torch_function__` is known, a call that fails looks for one among its arguments.
FRESH = """
import ferrograd as fg
from ferrograd import _C

class Double(fg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2

def panics_with_a_graph(x):
    # The graph is dropped with this frame, while the panic is on its way.
    y = Double.apply(x)
    return _C._panic_for_tests("here")

x = fg.ones(3, requires_grad=True)
y = x * 2
y.register_hook(lambda g: _C._panic_for_tests("here"))
for call in (lambda: y.sum().backward(), lambda: panics_with_a_graph(x)):
    try:
        call()
    except RuntimeError as error:
        assert "on purpose" in str(error)
    else:
        raise AssertionError("no panic")
(x * 2).sum().backward()
print(x.grad.tolist())
"""


def test_a_panic_in_a_fresh_process():
    result = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[2.0, 2.0, 2.0]\n"


def test_a_panic_below_a_function_form():
    """Guards the catching of panics in `function::call`, below which nothing else stands: without it, an abort."""

    class Bad:
        def __index__(self):
            return _C._panic_for_tests("here")

    for call in [lambda: fg.sum(fg.ones(2, 2), Bad()), lambda: fg.sum(input=fg.ones(2, 2), dim=Bad())]:
        with pytest.raises(RuntimeError, match="internal error of ferrograd: on purpose"):
            call()
    still_works()


def test_a_panic_in_drop_is_reported_and_survived(monkeypatch):
    """There is nobody to raise to: Python's hook for such exceptions is told."""
    told = []
    # What other tests have left behind is not to be told as if it were of this one.
    gc.collect()
    monkeypatch.setattr("sys.unraisablehook", lambda info: told.append(info.exc_value))
    x = _C._panic_for_tests("drop")
    del x
    gc.collect()
    assert len(told) == 1 and isinstance(told[0], RuntimeError) and "on purpose, in drop" in str(told[0])
    still_works()


def test_a_panic_while_a_graph_is_dropped_does_not_stop_later_drops(monkeypatch):
    """Guards `Node::drop`: nodes dropped one after the other must not stay queued for ever after a panic."""
    monkeypatch.setattr("sys.unraisablehook", lambda info: None)
    x = _C._panic_for_tests("drop").requires_grad_()
    y = x * x
    del x
    del y
    gc.collect()

    class Watched:
        pass

    watched = Watched()
    seen = weakref.ref(watched)
    inner = fg.ones(2, requires_grad=True) * 2
    inner.register_hook(lambda g, watched=watched: None)
    outer = inner
    # So deep that the last nodes are queued.
    for _ in range(300):
        outer = outer * 3
    del watched, inner
    assert seen() is not None
    del outer
    gc.collect()
    assert seen() is None
