"""Checkpoints: the same results and gradients, from parts that run again in backward."""

import contextlib
import gc
import weakref

import pytest

import ferrograd
from ferrograd import nn
from ferrograd.ops import aten
from ferrograd.utils.checkpoint import (
    CheckpointError,
    CheckpointPolicy,
    GraphExecGroup,
    check_backward_validity,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    detach_variable,
    set_checkpoint_debug_enabled,
    set_checkpoint_early_stop,
)

BOTH = pytest.mark.parametrize("reentrant", [True, False])


def leaf(*values):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=True)


class Part:
    """A part of a network that counts its runs."""

    def __init__(self):
        self.weight = leaf(2.0, 3.0)
        self.runs = 0

    def __call__(self, x, k=1):
        self.runs += 1
        return (x * self.weight).exp().sin() * k


@BOTH
def test_gradients_are_the_same(reentrant):
    part, x = Part(), leaf(0.5, 0.25)
    part(x).sum().backward()
    want = x.grad.tolist(), part.weight.grad.tolist()
    x.grad = part.weight.grad = None
    part.runs = 0
    y = checkpoint(part, x, use_reentrant=reentrant)
    assert y.tolist() == part(x).tolist() and part.runs == 2
    y.sum().backward()
    assert (x.grad.tolist(), part.weight.grad.tolist()) == want and part.runs == 3
    with pytest.raises(RuntimeError, match="a second time"):
        y.sum().backward()


@BOTH
def test_random_numbers_are_the_same(reentrant):
    ferrograd.manual_seed(0)
    x = ferrograd.ones(5, requires_grad=True)
    y = checkpoint(lambda x: x * ferrograd.rand(5), x, use_reentrant=reentrant)
    after = ferrograd.rand(3).tolist()
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()
    ferrograd.manual_seed(0)
    ferrograd.rand(5)
    assert ferrograd.rand(3).tolist() == after


@BOTH
def test_outputs_of_any_kind(reentrant):
    x = leaf(1.0)
    y, three, none = checkpoint(lambda x: (x * 2, 3, None), x, use_reentrant=reentrant)
    assert (three, none) == (3, None)
    y.backward()
    assert x.grad.item() == 2
    with ferrograd.no_grad():
        assert not checkpoint(Part(), leaf(1.0, 2.0), use_reentrant=reentrant).requires_grad


def test_recorded_checkpoints_are_like_any_graph():
    part, x = Part(), leaf(0.5, 0.25)
    y = checkpoint(part, x, k=2, use_reentrant=False)
    (g,) = ferrograd.autograd.grad(y.sum(), x, create_graph=True)
    z = part(x, k=2)
    (want,) = ferrograd.autograd.grad(z.sum(), x, create_graph=True)
    assert g.allclose(want)
    assert ferrograd.autograd.grad(g.sum(), x)[0].allclose(ferrograd.autograd.grad(want.sum(), x)[0])
    checkpoint(part, x.detach(), use_reentrant=False).sum().backward()
    assert part.weight.grad is not None and x.grad is None


def test_recorded_checkpoints_keep_no_intermediate():
    kept = []

    def part(x):
        y = x.exp()
        kept.append(weakref.ref(y))
        return y.sin()

    x = leaf(1.0)
    y = checkpoint(part, x, use_reentrant=False)
    gc.collect()
    assert kept[0]() is None
    y.backward()
    assert x.grad.item() == pytest.approx((x.exp().cos() * x.exp()).item())


def test_recorded_checkpoints_nest():
    x = leaf(0.5)
    inner = Part()
    inner.weight = leaf(2.0)

    def outer(x):
        return checkpoint(inner, x * 2, use_reentrant=False) ** 2

    checkpoint(outer, x, use_reentrant=False).backward()
    got = x.grad.item()
    x.grad = None
    (inner(x * 2) ** 2).backward()
    assert got == pytest.approx(x.grad.item())


def test_what_is_not_the_same_again_is_an_error():
    calls = []

    def fewer(x):
        calls.append(1)
        return (x * x).exp() if len(calls) == 1 else x * x

    with pytest.raises(CheckpointError, match="A different number of tensors was saved"):
        checkpoint(fewer, leaf(1.0), use_reentrant=False).backward()
    calls.clear()

    def other(x):
        calls.append(1)
        return (x if len(calls) == 1 else x.float()).exp().sum().double()

    with pytest.raises(CheckpointError, match="different metadata than during the forward pass"):
        checkpoint(other, leaf(1.0), use_reentrant=False).backward()


def test_contexts():
    entered = []

    class Context:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            entered.append(self.name)

        def __exit__(self, *exception):
            pass

    y = checkpoint(Part(), leaf(1.0, 2.0), use_reentrant=False, context_fn=lambda: (Context("first"), Context("second")))
    assert entered == ["first"]
    y.sum().backward()
    assert entered == ["first", "second"]


def test_what_is_refused():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        checkpoint(Part(), x, k=2, use_reentrant=True)
    with pytest.raises(ValueError, match="only supported when use_reentrant=False"):
        checkpoint(Part(), x, use_reentrant=True, context_fn=lambda: None)
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(Part(), x, use_reentrant=False, determinism_check="much")
    with pytest.raises(RuntimeError, match=r"incompatible with .grad\(\)"):
        ferrograd.autograd.grad(checkpoint(Part(), x, use_reentrant=True).sum(), x)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint(Part(), x)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(Part(), x.detach(), use_reentrant=True)


@BOTH
def test_errors_in_the_second_run_pass(reentrant):
    calls = []

    def fail(x):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("mine")
        return x.exp()

    x = leaf(1.0)
    with pytest.raises(KeyError, match="mine"):
        (checkpoint(fail, x, use_reentrant=reentrant) * x).backward()
    assert x.grad is None


@BOTH
def test_sequences(reentrant):
    parts = [Part() for _ in range(5)]
    x = leaf(0.5, 0.25)
    y = checkpoint_sequential(parts, 2, x, use_reentrant=reentrant)
    y.sum().backward()
    assert [part.runs for part in parts] == [2, 2, 1, 1, 1]
    got = x.grad.tolist()
    x.grad = None
    for part in parts:
        x0 = part(x0) if part is not parts[0] else part(x)
    x0.sum().backward()
    assert x.grad.tolist() == pytest.approx(got)


def test_the_second_run_stops_early():
    seen = []

    def part(x):
        y = x.exp()
        seen.append("saved")
        z = y + 1
        seen.append("end")
        return z

    def run(**options):
        y = checkpoint(part, leaf(1.0), use_reentrant=False, **options)
        seen.clear()
        y.backward()
        return list(seen)

    assert run() == [] and run(early_stop=False) == ["saved", "end"]
    with set_checkpoint_early_stop(False):
        assert run(early_stop=True) == ["saved", "end"]
    with set_checkpoint_early_stop(True):
        assert run(early_stop=False) == []
    with set_checkpoint_debug_enabled(True):
        assert run() == []


def test_more_than_was_saved_is_an_error():
    calls = []

    def part(x):
        calls.append(1)
        return (x * x).exp() if len(calls) % 2 == 0 else x * x

    checkpoint(part, leaf(1.0), use_reentrant=False).backward()
    with pytest.raises(CheckpointError, match="trying to save more tensors during recomputation"):
        checkpoint(part, leaf(1.0), use_reentrant=False, early_stop=False).backward()


@BOTH
def test_arguments_that_were_written_to(reentrant):
    """The second run must not use other values than the first did."""
    x = leaf(1.0, 2.0)
    y = x * 1
    z = checkpoint(Part(), y, use_reentrant=reentrant)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    assert x.grad is None


def test_arguments_of_inner_checkpoints_are_not_kept():
    kept = []

    def outer(x):
        y = x.exp()
        kept.append(weakref.ref(y))
        return checkpoint(Part(), y, use_reentrant=False)

    x = leaf(0.5, 0.25)
    z = checkpoint(outer, x, use_reentrant=False)
    gc.collect()
    assert kept[0]() is None
    z.sum().backward()
    got = x.grad.tolist()
    x.grad = None
    Part()(x.exp()).sum().backward()
    assert got == pytest.approx(x.grad.tolist())


def test_what_it_is_made_of():
    x = leaf(1.0)
    y, k = detach_variable((x * 1, 3))
    assert y.is_leaf and y.requires_grad and k == 3
    with pytest.raises(RuntimeError, match="Only tuple of tensors is supported"):
        detach_variable([x])
    check_backward_validity((3, x))
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        check_backward_validity((3, x.detach()))


class Kept(ferrograd.autograd.Function):
    """Answers x, and notes what it saved each time that `again` asks for it."""

    seen = []

    @staticmethod
    def forward(ctx, x, constant):
        ctx.save_for_backward(x, constant)
        return x * 1

    @staticmethod
    def backward(ctx, g):
        Kept.seen.append(ctx.saved_tensors)
        if Kept.again is not None:
            with pytest.raises(CheckpointError, match="already unpacked once"):
                ctx.saved_tensors
        return g, None


@pytest.mark.parametrize("again", [None, True])
def test_functions_get_the_same_constants_and_only_once(again):
    x, constant = ferrograd.ones(2, requires_grad=True), ferrograd.ones(2)
    Kept.again = again
    checkpoint(lambda x, c: Kept.apply(x * 2, c), x, constant, use_reentrant=False).sum().backward()
    x2, c = Kept.seen.pop()
    assert c is constant and x2.tolist() == [2.0, 2.0] and x.grad.tolist() == [2.0, 2.0]


def test_each_backward_runs_it_again():
    runs, x = [], ferrograd.ones(2, requires_grad=True)

    def f(x):
        runs.append(1)
        return x.sin().exp()

    y = checkpoint(f, x, use_reentrant=False)
    for count in (2, 3, 4):
        y.sum().backward(retain_graph=True)
        assert len(runs) == count
    assert y.grad_fn._saved_result.equal(y) and y.grad_fn._saved_result.equal(y) and len(runs) == 6


@pytest.mark.parametrize("early_stop", [True, False])
def test_gradients_within(early_stop):
    x = ferrograd.ones(2, requires_grad=True)

    def f(x):
        (g,) = ferrograd.autograd.grad(x.sin().exp().sum(), x)
        return x.cos() * g

    with set_checkpoint_early_stop(early_stop):
        y = checkpoint(f, x, use_reentrant=False)
    y.sum().backward()
    assert x.grad.allclose(-x.sin() * x.cos() * x.sin().exp())


def test_arguments_of_the_second_run_are_those_of_the_first():
    """The same objects, so that hooks on them are called again; nothing that says that they are others."""
    seen, calls = [], []

    def part(x):
        x.register_hook(lambda g: calls.append(1))
        seen.append((type(x), x.is_leaf))
        return x.exp().sin()

    for x in (leaf(1.0) * 2, nn.Parameter(leaf(1.0).detach())):
        seen.clear()
        calls.clear()
        checkpoint(part, x, use_reentrant=False).backward()
        assert seen == [(type(x), x.is_leaf)] * 2 and calls == [1, 1]


def test_what_the_graph_has_dropped_is_neither_kept_nor_compared():
    dtypes, kept = iter((ferrograd.float64, ferrograd.float32)), []

    def part(x):
        # Recorded, and dropped before forward ends.
        y = x.to(next(dtypes)).exp()
        kept.append(weakref.ref(y))
        del y
        return x.sin().cos()

    y = checkpoint(part, leaf(1.0), use_reentrant=False)
    y.backward(retain_graph=True)
    gc.collect()
    assert kept[1]() is None


def test_the_second_run_leaves_no_graph():
    class Recorded(ferrograd.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            contexts.append(weakref.ref(ctx))
            ctx.save_for_backward(x)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            ctx.saved_tensors
            runs.append([context() is None for context in contexts])
            return g

    contexts, runs = [], []
    checkpoint(lambda x: Recorded.apply(Recorded.apply(Recorded.apply(x))), leaf(1.0), use_reentrant=False).backward()
    assert runs[0][3:] == [True, True, True]


def test_contexts_are_asked_for_without_a_graph_and_come_before_the_hooks():
    asked, seen = [], []

    def contexts():
        asked.append(1)
        hooks = ferrograd.autograd.graph.saved_tensors_hooks(lambda x: seen.append(1) or x, lambda x: x)
        return hooks, hooks

    with ferrograd.no_grad():
        checkpoint(Part(), leaf(1.0, 2.0), use_reentrant=False, context_fn=contexts)
    assert asked == [1] and not seen
    part = Part()
    checkpoint(part, leaf(1.0, 2.0), use_reentrant=False, context_fn=contexts).sum().backward()
    assert seen and part.runs == 1


def test_a_context_must_not_hide_an_error():
    def fail(x):
        raise KeyError("mine")

    def contexts():
        return contextlib.suppress(KeyError), contextlib.nullcontext()

    with pytest.raises(RuntimeError, match="suppressed an exception raised during the checkpointed forward"):
        checkpoint(fail, leaf(1.0), use_reentrant=False, context_fn=contexts)


def differs(**options):
    calls = []

    def part(x):
        calls.append(1)
        return (x * x).exp() if len(calls) == 1 else x * x

    return checkpoint(part, leaf(1.0), use_reentrant=False, **options)


def test_debug_says_where_tensors_were_saved():
    for where in (contextlib.nullcontext(), set_checkpoint_debug_enabled(True)):
        with where:
            y = differs(debug=isinstance(where, contextlib.nullcontext))
        with pytest.raises(CheckpointError, match="shown because of debug=True") as error:
            y.backward()
        text = str(error.value)
        # Both tensors of `x * x`, then that of `exp`, which the second run does not save.
        assert text.count("in part\n    return (x * x).exp()") == 5 and "test_checkpoint.py" in text
        assert isinstance(error.value.__cause__, CheckpointError)
    with set_checkpoint_debug_enabled(False):
        y = differs(debug=True)
    with pytest.raises(CheckpointError, match="A different number of tensors") as error:
        y.backward()
    assert "With debug=True" in str(error.value)
    with pytest.raises(ValueError, match="incompatible with non-default context_fn"):
        differs(debug=True, context_fn=lambda: (contextlib.nullcontext(), contextlib.nullcontext()))


def test_groups_of_backward_passes_share_a_second_run():
    runs = []

    def part(x, y):
        runs.append(1)
        return x.exp().sin(), y.exp().sin()

    def call():
        runs.clear()
        x, y = leaf(1.0), leaf(2.0)
        return (x, y), checkpoint(part, x, y, use_reentrant=False)

    inputs, outputs = call()
    with GraphExecGroup():
        for x, y in zip(inputs, outputs):
            y.backward()
            assert x.grad.item() == pytest.approx((x.exp().cos() * x.exp()).item())
    assert len(runs) == 2
    with GraphExecGroup(), pytest.raises(RuntimeError, match="contexts cannot be nested"), GraphExecGroup():
        pass
    _, (y, _) = call()
    with GraphExecGroup():
        y.backward(retain_graph=True)
        with pytest.raises(CheckpointError, match="GraphExecGroup overlap"):
            y.backward()
    y.backward()
    assert len(runs) == 3


def test_sequences_of_modules():
    relu = nn.ReLU()
    twice = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    x = ferrograd.ones(1, 2, requires_grad=True)
    # As in torch, a module that is there twice runs once.
    assert checkpoint_sequential(twice, 2, x, use_reentrant=False).grad_fn.name() == "AddmmBackward0"
    assert checkpoint_sequential(nn.ModuleList(twice), 2, x, use_reentrant=False).grad_fn.name() == "ReluBackward0"
    with pytest.raises(TypeError):
        checkpoint_sequential(nn.Linear(2, 2), 2, x, use_reentrant=False)
    with pytest.raises(ValueError, match="must not be zero"):
        checkpoint_sequential(twice, 5, x, use_reentrant=False)


def selective(policy, f, *args, **options):
    """A checkpoint with such contexts."""
    return checkpoint(
        f, *args, use_reentrant=False, context_fn=lambda: create_selective_checkpoint_contexts(policy, **options)
    )


def test_selected_results_are_not_computed_again():
    """Told by the memory that the second run uses: that of the results of the first."""
    for policy, again in (
        ([aten.mm.default], False),
        ([aten.bmm.default], True),
        (lambda context, op, *args: CheckpointPolicy.MUST_SAVE, False),
        (lambda context, op, *args: op == aten.mm.default, False),
        (lambda context, op, *args: CheckpointPolicy.PREFER_RECOMPUTE, True),
    ):
        addresses = []

        def part(x, w):
            y = x.exp().mm(w)
            addresses.append(y.data_ptr())
            kept.append(y.detach())
            return y.sin() * y

        kept = []
        x, w = draw(2, 3), draw(3, 3)
        y = selective(policy, part, x, w)
        got = ferrograd.autograd.grad(y.sum(), (x, w))
        assert (addresses[0] != addresses[1]) == again
        want = ferrograd.autograd.grad(part(x, w).sum(), (x, w))
        assert all(a.equal(b) for a, b in zip(got, want))


def draw(*shape):
    return ferrograd.randn(shape, dtype=ferrograd.float64, requires_grad=True)


@pytest.mark.parametrize(
    "name, f",
    [
        ("mm", lambda x, w: x.mm(w)),
        ("mm", lambda x, w: x.view(2, 2, 2) @ w),
        ("bmm", lambda x, w: x.view(1, 4, 2).bmm(w.view(1, 2, 2))),
        ("addmm", lambda x, w: nn.functional.linear(x, w, w[0])),
        ("addmv", lambda x, w: w[0].addmv(w, x[0], beta=2)),
        ("baddbmm", lambda x, w: w.baddbmm(x.view(2, 2, 2), w.expand(2, 2, 2), alpha=3)),
        ("addbmm", lambda x, w: w.addbmm(x.view(2, 2, 2), x.view(2, 2, 2))),
        ("convolution", lambda x, w: nn.functional.conv1d(x.view(1, 2, 4), w.view(2, 2, 1), w[0])),
        ("convolution", lambda x, w: nn.functional.conv_transpose1d(x.view(1, 2, 4), w.view(2, 2, 1))),
    ],
)
def test_the_policy_is_asked_about_each_result(name, f):
    asked = []

    def policy(context, op, *args):
        asked.append((str(op), context.is_recompute, context.op_output, [a.requires_grad for a in args]))
        return CheckpointPolicy.PREFER_SAVE

    x, w = draw(4, 2), draw(2, 2)
    y = selective(policy, lambda x, w: f(x.sin(), w).sin(), x, w)
    ((op, again, output, followed),) = asked
    assert op == f"aten.{name}.default" and not again and not output.requires_grad and all(followed)
    assert output.sin().reshape(-1).allclose(y.detach().reshape(-1))
    got = ferrograd.autograd.grad(y.sum(), (x, w))
    want = ferrograd.autograd.grad(f(x.sin(), w).sin().sum(), (x, w))
    assert all(a.equal(b) for a, b in zip(got, want)) and len(asked) == 1


def test_selected_results_are_given_back():
    kept = []

    def policy(context, op, *args):
        kept.append(weakref.ref(context.op_output))
        return CheckpointPolicy.MUST_SAVE

    y = selective(policy, lambda x: x.mm(x).mm(x).sin(), draw(2, 2))
    gc.collect()
    assert [ref() is None for ref in kept] == [False, False]
    y.sum().backward(retain_graph=True)
    assert [ref() is None for ref in kept] == [True, True]
    with pytest.raises(RuntimeError, match="Trying to backward an extra time"):
        y.sum().backward()


def test_selected_results_must_not_be_written_to():
    def part(x):
        return x.mm(x).mul_(2).sin()

    with pytest.raises(RuntimeError, match="cached during selective activation checkpoint has been mutated"):
        selective([aten.mm.default], part, draw(2, 2)).sum().backward()
    selective([aten.mm.default], part, draw(2, 2), allow_cache_entry_mutation=True).sum().backward()


def test_a_second_run_that_asks_for_more_is_an_error():
    for first, message in (([], "not found in storage"), (["mm"], "invocation index 1 encountered during backward")):
        runs = iter((first, ["mm", "mm"]))

        def part(x):
            y = x.sin()
            for _ in next(runs):
                y = y.detach().mm(y.detach())
            return (y + x).sin()

        with pytest.raises(RuntimeError, match=message):
            selective([aten.mm.default], part, draw(2, 2)).sum().backward()


def test_selective_checkpoints_nest():
    asked = {"outer": [], "inner": []}

    def policy(which, answer):
        return lambda context, op, *args: asked[which].append(str(op)) or answer

    def inner(x):
        return selective(policy("inner", True), lambda x: x.mm(x).sin(), x.bmm(x)[0] if x.dim() == 3 else x.mm(x))

    x = draw(2, 2)
    got = ferrograd.autograd.grad(selective(policy("outer", False), lambda x: inner(x).exp(), x).sum(), x)[0]
    assert asked["outer"][:2] == ["aten.mm.default"] * 2 and asked["inner"][0] == "aten.mm.default"
    want = ferrograd.autograd.grad((x.mm(x).mm(x.mm(x))).sin().exp().sum(), x)[0]
    assert got.allclose(want)


def test_errors_of_policies_pass_and_leave_nothing_behind():
    def policy(context, op, *args):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        selective(policy, lambda x: x.mm(x), draw(2, 2))
    draw(2, 2).mm(draw(2, 2))


def test_what_selective_contexts_refuse():
    for bad, error, message in (
        ([2], ValueError, "Expected op in `op_list` to be an OpOverload but got: 2"),
        ([aten.mm], ValueError, "Please update the OpOverloadPacket to a specific OpOverload"),
        (2, TypeError, "must be either a function or a list of ops"),
    ):
        with pytest.raises(error, match=message):
            create_selective_checkpoint_contexts(bad)


def test_names_of_operators():
    mm = aten.mm.default
    assert (repr(aten.mm), repr(mm)) == ("<OpOverloadPacket(op='aten.mm')>", "<OpOverload(op='aten.mm', overload='default')>")
    assert (str(mm), mm.name(), aten.add.Tensor.name()) == ("aten.mm.default", "aten::mm", "aten::add.Tensor")
    assert mm is aten.mm.default and mm.overloadpacket is aten.mm and aten.sum.overloads() == ["default", "dim_IntList"]
    x = draw(2, 2)
    assert mm(x, x).equal(x.mm(x)) and aten.sin(x).equal(x.sin())
    with pytest.raises(AttributeError, match="The underlying op of 'aten.mm' has no overload name 'foo'"):
        aten.mm.foo
    with pytest.raises(AttributeError, match="'aten' object has no attribute 'foo'"):
        aten.foo


def test_there_are_no_states_of_other_devices():
    from ferrograd.utils.checkpoint import get_device_states, set_device_states

    states = get_device_states(ferrograd.ones(3), [2])
    assert states == ([], []) and set_device_states(*states) is None
    with pytest.raises(RuntimeError, match="no devices other than the CPU"):
        set_device_states([0], [ferrograd.get_rng_state()])
