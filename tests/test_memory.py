"""What is dropped is freed, cycles are found by the garbage collector, and too much is an error."""

import gc
import os
import queue
import sys
import threading
import time

import numpy as np
import pytest

import ferrograd as fg
from ferrograd.autograd.graph import queue_callback, saved_tensors_hooks
from test_threads import no_hang  # noqa: F401 - a fixture

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grows(step, times, warm):
    """By how many bytes memory grows over so many steps, after some that fill caches."""
    for _ in range(warm):
        step()
    gc.collect()
    before = resident()
    for _ in range(times):
        step()
    gc.collect()
    return resident() - before


# Flat memory. A leak of a tensor or node a step would be some 200 bytes times the steps.


@linux
def test_training_steps():
    fg.manual_seed(0)
    x, y = fg.randn(4, 3), fg.randn(4, 2)
    w1, w2 = fg.randn(3, 5, requires_grad=True), fg.randn(5, 2, requires_grad=True)

    def step():
        loss = ((x @ w1).relu() @ w2 - y).pow(2).sum()
        loss.backward()
        with fg.no_grad():
            for w in (w1, w2):
                w -= 1e-3 * w.grad
                w.grad = None

    times = 100_000 if os.environ.get("CI") else 10_000
    assert grows(step, times, 2000) < 100 * times


@linux
def test_exceptions_in_the_middle_of_backward():
    w = fg.ones(50, requires_grad=True)

    def fail(g):
        raise KeyError("on purpose")

    def step():
        y = (w * 2).exp()
        y.register_hook(fail)
        z = (y * y + w).sum()
        with pytest.raises(KeyError):
            z.backward()
        assert w.grad is None

    assert grows(step, 3000, 500) < 1_000_000


@linux
def test_graphs_dropped_unfinished():
    w = fg.ones(1000, requires_grad=True)

    def step():
        y = w
        for _ in range(100):
            y = (y * 1.5).sin()

    assert grows(step, 50, 5) < 8_000_000


@linux
def test_tensors_dropped_in_other_threads():
    """Guards the end of `SmallLists`: small buffers go to those of the thread that drops them, and with it to the system."""

    def step():
        mine = [fg.ones(1000, requires_grad=True) * 2 for _ in range(100)]
        thread = threading.Thread(target=mine.clear)
        thread.start()
        thread.join()

    assert grows(step, 100, 20) < 4_000_000


@linux
def test_tensors_made_in_one_thread_and_dropped_in_another():
    """Guards `SMALL_KEPT`: the one that only drops must not keep all that it is given."""
    made = queue.SimpleQueue()

    def drop():
        while made.get() is not None:
            pass

    def step():
        for _ in range(500):
            made.put(fg.ones(64) * 2)
        while not made.empty():
            time.sleep(0.001)

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        assert grows(step, 100, 20) < 4_000_000
    finally:
        made.put(None)
        thread.join()


# Cycles.


class Token:
    """Something whose end can be watched."""


def is_collected(make):
    """Whether what only the cycle made by `make` holds is gone after a collection."""
    token = Token()
    make(token)
    del token
    gc.collect()
    # The collector clears weak references also where it then cannot break the cycle.
    return not any(type(thing) is Token for thing in gc.get_objects())


def leaf_hook(token):
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: (x, token))


def leaf_hook_that_cannot_be_cleared(token):
    """Only the tensor can break the cycle: tuples and their methods cannot."""
    x = fg.ones(2, requires_grad=True)
    (x * 1).grad_fn.next_functions[0][0].register_hook((x, token).count)


def hook_of_a_computed_tensor(token):
    y = fg.ones(2, requires_grad=True) * 2
    y.register_hook(lambda g: (y, token))


def hook_of_a_computed_tensor_that_retains(token):
    y = fg.ones(2, requires_grad=True) * 2
    y.retain_grad()
    y.register_hook(lambda g: (y, token))


def hook_of_a_node(token):
    y = fg.ones(2, requires_grad=True) * 2
    y.grad_fn.register_hook(lambda inputs, outputs: (y, token))


def hook_of_a_node_that_cannot_be_cleared(token):
    y = fg.ones(2, requires_grad=True) * 2
    y.grad_fn.register_hook((y, token).count)


def hook_before_a_node(token):
    y = fg.ones(2, requires_grad=True) * 2
    y.grad_fn.register_prehook(lambda outputs: (y, token))


def hook_after_accumulation(token):
    x = fg.ones(2, requires_grad=True)
    x.register_post_accumulate_grad_hook(lambda leaf: (x, token))


def hook_after_backward(token):
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: (x, token, None)[2])
    (x * x).sum().backward()


def hook_that_holds_its_node(token):
    y = fg.ones(2, requires_grad=True) * 2
    node = y.grad_fn
    y.register_hook(lambda g: (node, token))


def hook_of_a_node_that_holds_it(token):
    node = (fg.ones(2, requires_grad=True) * 2).grad_fn
    node.register_hook((node, token).count)


def hook_of_the_end_of_the_tape(token):
    end = (fg.ones(2, requires_grad=True) * 2).grad_fn.next_functions[0][0]
    end.register_prehook((end, token).count)


def what_the_user_keeps_with_a_node(token):
    node = (fg.ones(2, requires_grad=True) * 2).grad_fn
    node.metadata["all"] = (node, token)
    end = node.next_functions[0][0]
    end.metadata["all"] = (end, token)


class Same(fg.autograd.Function):
    @staticmethod
    def forward(ctx, x, kept):
        ctx.kept = kept
        ctx.save_for_backward(x)
        return x * 1

    @staticmethod
    def backward(ctx, g):
        assert len(ctx.kept) == 2
        return g * ctx.saved_tensors[0], None


def context_that_holds_its_output(token):
    kept = [token]
    y = Same.apply(fg.ones(2, requires_grad=True), kept)
    kept.append(y)


def context_that_holds_its_output_after_backward(token):
    kept = [token]
    y = Same.apply(fg.ones(2, requires_grad=True), kept)
    kept.append(y)
    y.sum().backward()


def context_that_holds_its_node(token):
    kept = [token]
    kept.append(Same.apply(fg.ones(2, requires_grad=True), kept).grad_fn)


def attribute(token):
    x = fg.ones(2)
    x.itself, x.token = x, token


def attribute_of_the_gradient(token):
    x = fg.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    x.grad.owner, x.grad.token = x, token


def attribute_of_a_subclass(token):
    class Parameter(fg.Tensor):
        pass

    x = fg.ones(2).as_subclass(Parameter) if hasattr(fg.Tensor, "as_subclass") else fg.ones(2)
    x.itself, x.token = x, token


@pytest.mark.parametrize(
    "make",
    [
        leaf_hook,
        leaf_hook_that_cannot_be_cleared,
        hook_of_a_computed_tensor,
        hook_of_a_computed_tensor_that_retains,
        hook_of_a_node,
        hook_of_a_node_that_cannot_be_cleared,
        hook_before_a_node,
        hook_after_accumulation,
        hook_after_backward,
        hook_that_holds_its_node,
        hook_of_a_node_that_holds_it,
        hook_of_the_end_of_the_tape,
        what_the_user_keeps_with_a_node,
        context_that_holds_its_output,
        context_that_holds_its_output_after_backward,
        context_that_holds_its_node,
        attribute,
        attribute_of_the_gradient,
        attribute_of_a_subclass,
    ],
)
def test_a_cycle_is_collected(make):
    """Guards `__traverse__` and `__clear__` of the tensor and of the node."""
    assert is_collected(make)


def test_what_the_graph_still_needs_is_not_collected():
    """Guards the conditions of `__traverse__`: what others hold, too, must not be told of."""
    calls = []
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: calls.append(("leaf", x is not None)))
    y = x * 2
    y.register_hook(lambda g, y=y: calls.append(("computed", y.tolist())))
    z = (y * 3).sum()
    grad_fn = y.grad_fn
    grad_fn.register_hook(lambda *_: calls.append(("node", 0)))
    same = x.detach().requires_grad_()
    same.register_hook(lambda g: calls.append(("never", 0)))
    del y, grad_fn, same
    for _ in range(3):
        gc.collect()
    z.backward()
    assert calls == [("computed", [2, 2]), ("node", 0), ("leaf", True)]
    grad = x.grad
    del x
    gc.collect()
    assert grad.tolist() == [6, 6]


def test_what_a_node_keeps_is_not_collected_as_long_as_the_graph_needs_it():
    """Guards the count in `__traverse__` of the node."""
    x, calls = fg.ones(2, requires_grad=True), []

    def computed():
        y = Same.apply(x, [calls])
        node = y.grad_fn
        node.register_hook(lambda *_: calls.append(node is not None))
        node.kept.append(node)
        end = node.next_functions[0][0]
        end.register_hook(lambda *_: calls.append(end is not None))
        return y.sum()

    z = computed()
    gc.collect()
    z.backward(retain_graph=True)
    assert calls == [True, True]


def test_hooks_that_the_graph_still_needs_outlive_their_tensor():
    """The tensor is garbage, its place on the tape is not."""
    calls = []
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: calls.append(g.tolist()))
    loss = (x * 3).sum()
    loss.grad_fn.next_functions[0][0].next_functions[0][0].register_prehook(lambda g: calls.append(g[0].tolist()))
    cycle = [x]
    cycle.append(cycle)
    del x, cycle
    gc.collect()
    loss.backward()
    assert calls == [[3, 3]] * 2


def test_hooks_that_a_view_still_needs_outlive_their_tensor():
    """Guards the count in `garbage::own_meta`: the view has the place of its base."""
    calls = []
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: calls.append(g.tolist()))
    with fg.no_grad():
        view = x[:]
    cycle = [x]
    cycle.append(cycle)
    del x, cycle
    gc.collect()
    (view._base * 3).sum().backward()
    assert calls == [[3, 3]]


def test_hooks_that_another_object_needs_outlive_their_tensor():
    """Guards the count in `Tensor::own_places`: an op that has nothing to do answers another object of the same tensor."""
    calls = []
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: calls.append(g.tolist()))
    other = fg.cartesian_prod(x)
    assert other is not x
    cycle = [x]
    cycle.append(cycle)
    del x, cycle
    gc.collect()
    (other * 3).sum().backward()
    assert calls == [[3, 3]]


def test_collections_at_every_turn():
    """Guards `Tensor::is_blank`: the collector may look at a tensor that is still being made."""
    before = gc.get_threshold()
    # Python keeps a few empty dicts for the next ones, which start no collection.
    kept = [{} for _ in range(200)]
    try:
        for i in range(300):
            # So many objects that the collector knows are made for a tensor, and one of them starts a collection.
            gc.set_threshold(1 + i % 3)
            kept += [fg.ones(4, requires_grad=True) * 2 for _ in range(5)]
    finally:
        gc.set_threshold(*before)
    assert kept[-1].tolist() == [2.0] * 4


def test_a_leaf_whose_object_is_gone_keeps_its_hooks():
    calls = []
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: calls.append(g.tolist()))
    y = x * 2
    del x
    gc.collect()
    y.sum().backward()
    assert calls == [[2, 2]]


# What runs when something is dropped.


class Last:
    """Calls something when it is dropped."""

    def __init__(self, call):
        self.call = call

    def __del__(self):
        self.call()


class LastArray(np.ndarray):
    """Numbers whose owner calls something when they are dropped."""

    def __del__(self):
        if self.base is None:
            self.call()


def replaced_gradient(x, last, y):
    x.grad = fg.ones(3)
    x.grad.last = last
    del last
    x.grad = fg.ones(3)


def deleted_gradient(x, last, y):
    x.grad = fg.ones(3)
    x.grad.last = last
    del last
    x.grad = None


def gradient_with_a_graph(x, last, y):
    x.grad = fg.ones(3)
    x.grad.last = last
    del last
    (x * 2).sum().backward(create_graph=True)


def hook_of_a_leaf_removed(x, last, y):
    handle = x.register_hook(lambda g, last=last: None)
    del last
    handle.remove()


def hook_on_the_end_of_a_leaf_removed(x, last, y):
    handle = y.grad_fn.next_functions[0][0].register_hook(lambda gradients, outputs, last=last: None)
    del last
    handle.remove()


def hook_on_the_tensor_removed(x, last, y):
    handle = y.register_hook(lambda g, last=last: None)
    del last
    handle.remove()


def hook_on_the_node_removed(x, last, y):
    handle = y.grad_fn.register_hook(lambda *_, last=last: None)
    del last
    handle.remove()


def saved_tensor_packed(x, last, y):
    held = [last]
    del last
    with saved_tensors_hooks(lambda t: (t.detach(), *held), lambda kept: kept[0]):
        y.packed = x * x
    held.clear()
    y.packed.sum().backward()


def callback_not_called(x, last, y):
    held = [last]
    del last

    def fail(g):
        queue_callback(lambda last=held.pop(): None)
        raise KeyError

    handle = y.register_hook(fail)
    with pytest.raises(KeyError):
        y.sum().backward(retain_graph=True)
    handle.remove()


def data_replaced(x, last, y):
    array = np.ones(3, dtype=np.float32).view(LastArray).copy()
    array.call = last.call
    last.call = lambda: None
    x.data = fg.from_numpy(array)
    del array
    x.data = fg.ones(3)


@pytest.mark.parametrize(
    "drop",
    [
        replaced_gradient,
        deleted_gradient,
        gradient_with_a_graph,
        hook_of_a_leaf_removed,
        hook_on_the_end_of_a_leaf_removed,
        hook_on_the_tensor_removed,
        hook_on_the_node_removed,
        saved_tensor_packed,
        callback_not_called,
        data_replaced,
    ],
)
def test_code_that_runs_when_something_is_dropped_finds_nothing_locked(drop, no_hang):
    """Guards that what is taken out from under a lock is dropped after it."""
    x = fg.ones(3, requires_grad=True)
    y = x * 2
    told = []

    def use():
        grad = None if x.grad is None else x.grad.detach().tolist()
        handles = [t.register_hook(lambda g: None) for t in (x, y)] + [y.grad_fn.register_hook(lambda *_: None)]
        # Within a backward nothing is recorded.
        with fg.enable_grad():
            (x * x * 2).sum().backward()
            if hasattr(y, "packed"):
                with pytest.raises(RuntimeError, match="a second time"):
                    y.packed.sum().backward()
        for handle in handles:
            handle.remove()
        x.grad = None
        told.append((grad, x.detach().tolist()))

    last = [Last(use)]
    drop(x, last.pop(), y)
    gc.collect()
    assert len(told) == 1
    x.grad = None


# Depth.


def test_a_deep_graph_is_dropped_and_differentiated_without_recursion():
    """Guards the queue of `Node::drop`; a crash ends the run."""
    depth = 1_000_000 if os.environ.get("CI") else 200_000

    def run():
        for differentiate in (False, True):
            x = fg.ones((), requires_grad=True)
            y = x
            for _ in range(depth):
                y = y + 1.0
            if differentiate:
                y.backward()
                assert x.grad.item() == 1
            del y

    with_a_small_stack(run)


def with_a_small_stack(body):
    """Runs something on a thread where recursion soon crashes."""
    done = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: done.append(body()))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert done


@pytest.mark.parametrize("keep", ["packed", "metadata", "context"])
def test_a_chain_of_what_nodes_keep_is_dropped_without_recursion(keep):
    """Guards that `Node::drop` queues the extras, too: here each keeps the tensor before."""

    class Times(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.before = x
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return g

    def run():
        y = fg.ones(1, requires_grad=True)
        with saved_tensors_hooks(lambda x: x, lambda x: x):
            for _ in range(10_000):
                z = y * y if keep == "packed" else Times.apply(y) if keep == "context" else y * 1.0
                if keep == "metadata":
                    z.grad_fn.metadata["before"] = y
                y = z

    with_a_small_stack(run)


def test_a_chain_of_gradients_of_gradients_is_dropped_without_recursion():
    first = last = fg.ones(1, requires_grad=True)
    for _ in range(100_000):
        grad = fg.ones(1, requires_grad=True)
        last.grad = grad
        last = grad
    del last, grad
    assert first.grad.grad.grad.item() == 1
    del first


def test_deep_views():
    """Guards that a view of a view is one of the first base, and not the end of a chain."""

    def run():
        x = fg.ones(3, 4, requires_grad=True)
        base = x * 1
        y = base.t()
        for _ in range(5000):
            y = y.t()[:]
        y.mul_(2)
        (base.sum() + y.sum()).backward()
        assert x.grad.tolist() == [[4.0] * 4] * 3

    with_a_small_stack(run)


def test_a_list_that_contains_itself():
    """Guards `MAX_RANK`: lists are read by recursion."""
    items = []
    items.append(items)
    with pytest.raises((ValueError, RecursionError, TypeError)):
        fg.tensor(items)
    deep = 1.0
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises((ValueError, RecursionError, TypeError)):
        fg.tensor(deep)


# Too much.


@pytest.mark.parametrize(
    "call",
    [
        lambda: fg.zeros(1 << 50),
        lambda: fg.ones(1 << 30, 1 << 30),
        lambda: fg.empty(1 << 62),
        lambda: fg.empty(1 << 40, 1 << 40),
        lambda: fg.zeros(1).expand(1 << 50).clone(),
        lambda: fg.zeros(1).expand(1 << 50).tolist(),
        lambda: fg.zeros(1).expand(1 << 50) + 1,
        lambda: fg.zeros(1).expand(1 << 50).sort(),
        lambda: fg.zeros(1).expand(1 << 50).cumsum(0),
        lambda: fg.zeros(1).expand(1 << 50).nonzero(),
        lambda: fg.arange(1 << 50),
        lambda: fg.eye(1 << 31),
        lambda: fg.randperm(1 << 50),
        lambda: fg.triu_indices(4, 1 << 60),
        lambda: fg.zeros(1).expand(1 << 50).unbind(0),
        lambda: fg.zeros(1).expand(1 << 50).split(1),
        lambda: fg.zeros(1).expand(1 << 26)[:, None] * fg.zeros(1).expand(1 << 26),
        lambda: fg.zeros(1 << 20).resize_(1 << 60),
        lambda: fg.zeros(3).repeat(1 << 60),
        lambda: fg.tensor([1 << 44]).bincount(),
        lambda: fg.tensor([1]).bincount(fg.ones(1), minlength=1 << 44),
    ],
)
def test_too_much_memory_is_an_error(call):
    """Neither an abort nor a panic."""
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        call()
    assert "internal error" not in str(caught.value)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4), (0, 0)])
def test_nothing(shape):
    """Guards the kernels whose loops do not simply run zero times: a scan divides its work by the length of a line."""
    x = fg.ones(shape, requires_grad=True)
    for y in [x.exp(), x + 1, x.t() if len(shape) == 2 else x, x.sum(0), x.cumsum(0), x[...], x.clone().mul_(2), x.flatten()]:
        y.sum().backward()
    assert x.grad.shape == x.shape and x.grad.tolist() == x.tolist()
    assert x.sum().item() == 0 and x.prod().item() == 1


# Backward within backward.


def test_backward_within_a_hook():
    """Guards that a pass gives the mode back when it ends: the second pass of the hook records, too."""
    x, w = fg.ones(3, requires_grad=True), fg.full((3,), 2.0, requires_grad=True)

    def hook(g):
        with fg.enable_grad():
            (w * w).sum().backward()
            (x * 5).sum().backward()
        return g * 2

    y = x * 3
    y.register_hook(hook)
    y.sum().backward()
    assert w.grad.tolist() == [4.0] * 3
    assert x.grad.tolist() == [5.0 + 6.0] * 3


def test_backward_within_backward_without_end():
    """Guards the limit of nested runs."""
    x = fg.ones(1, requires_grad=True)

    def again(g):
        with fg.enable_grad():
            y = x * 2
            y.register_hook(again)
            y.backward()

    with pytest.raises(RuntimeError, match="passes are running within each other"):
        again(None)
    assert x.grad is None
    (x * 2).backward()


def test_backward_within_backward_many_times():
    """Guards the threads on which passes run for which a stack has no room; they end with what the pass raises, too."""
    x, depth, threads = fg.ones(1, requires_grad=True), [0], set()

    def again(g):
        depth[0] += 1
        threads.add(threading.get_ident())
        assert not fg.is_grad_enabled() and not fg.is_inference_mode_enabled()
        if depth[0] == 2000 and failing:
            raise KeyError("at the bottom")
        if depth[0] < 2000:
            with fg.enable_grad():
                y = x * 2
                y.register_hook(again)
                y.backward() if depth[0] % 2 else fg.autograd.grad(y, x)

    for failing in (False, True):
        depth[0], x.grad = 0, None
        y = x * 2
        y.register_hook(again)
        if failing:
            with pytest.raises(KeyError, match="at the bottom"):
                y.backward()
        else:
            y.backward()
        assert depth[0] == 2000 and len(threads) > 20
        assert x.grad is None if failing else x.grad.item() == 2 + 2 * 1000


def test_backward_within_a_function():
    """Guards the same for a function of the user's."""

    class Inner(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            with fg.enable_grad():
                inside = x.detach().requires_grad_()
                (inside * inside).sum().backward()
                (inside * 3).sum().backward()
            return g * inside.grad

    x = fg.full((3,), 4.0, requires_grad=True)
    Inner.apply(x).sum().backward()
    assert x.grad.tolist() == [8.0 + 3.0] * 3


@pytest.mark.parametrize("place", range(4))
def test_hooks_of_leaves_that_fail_leave_no_gradient_half_written(place):
    """Guards the order of the engine: all hooks of leaves run before the first gradient is written, also before those of leaves
    whose own hooks have run.
    """
    leaves = [fg.ones(2, requires_grad=True) for _ in range(4)]

    def fail(g):
        raise KeyError("on purpose")

    handles = [leaf.register_hook(fail if i == place else lambda g: None) for i, leaf in enumerate(leaves)]
    loss = sum((leaf * 2).sum() for leaf in leaves)
    with pytest.raises(KeyError):
        loss.backward(retain_graph=True)
    assert [leaf.grad for leaf in leaves] == [None] * 4
    handles[place].remove()
    loss.backward()
    assert all(leaf.grad.tolist() == [2, 2] for leaf in leaves)


def test_hooks_that_fail_leave_no_retained_gradient():
    """Guards the same for tensors in the middle of the graph."""
    x = fg.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()

    def fail(g):
        raise KeyError("on purpose")

    handle = x.register_hook(fail)
    with pytest.raises(KeyError):
        y.sum().backward(retain_graph=True)
    assert y.grad is None and x.grad is None
    handle.remove()
    y.sum().backward()
    assert y.grad.tolist() == [1, 1] and x.grad.tolist() == [2, 2]
