"""Hooks: on tensors, nodes and leaves' ends of the tape; their handles; places in the graph."""

import gc
import weakref
from collections import OrderedDict

import pytest

import ferrograd
from ferrograd.autograd.graph import (
    GradientEdge,
    Node,
    get_gradient_edge,
    increment_version,
    queue_callback,
    register_multi_grad_hook,
)
from ferrograd.utils.hooks import RemovableHandle, unserializable_hook, warn_if_has_hooks


def leaf(*values):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=True)


def fail(*args):
    raise KeyError("mine")


def test_node_hooks():
    x, seen = leaf(1.0, 1.0), []
    y = x * 2
    after = y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0].tolist(), inputs[1:], outputs[0].tolist())))
    before = y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 10,))
    y.sum().backward(retain_graph=True)
    assert seen == [([20.0, 20.0], (None,), [10.0, 10.0])] and x.grad.tolist() == [20.0, 20.0]
    before.remove()
    before.remove()
    with after:
        y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert len(seen) == 2 and x.grad.tolist() == [24.0, 24.0]


def test_node_hooks_replace_gradients():
    x, w = leaf(1.0), leaf(1.0)
    y = x * w
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 3, None))
    y.backward()
    assert x.grad.item() == 3 and w.grad is None


@pytest.mark.parametrize(
    "answer, error, text",
    [
        ("x", TypeError, "expected tuple, but hook returned 'str'"),
        ((1,), RuntimeError, r"incorrect number of values \(got 1, but expected 2\)"),
        ((1, None), TypeError, "expected Variable, but hook returned 'int'"),
        ((ferrograd.ones(3, dtype=ferrograd.float64), None), RuntimeError, "has changed the size of value"),
        ((ferrograd.ones(1), None), RuntimeError, r"the type of value \(was torch.DoubleTensor got torch.FloatTensor\)"),
    ],
)
def test_wrong_answers_of_node_hooks(answer, error, text):
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_hook(lambda inputs, outputs: answer)
    with pytest.raises(error, match=text):
        y.backward()
    assert x.grad is None


def test_hooks_at_the_end_of_the_tape():
    x, seen = leaf(1.0), []
    end = (x * 2).grad_fn.next_functions[0][0]
    end.register_hook(lambda inputs, outputs: seen.append((inputs, outputs[0].item(), x.grad.item())))
    end.register_prehook(lambda outputs: (outputs[0] * 2,))
    (x * 2).backward()
    assert seen == [((), 4.0, 4.0)]
    assert ferrograd.autograd.grad(x * 2, x)[0].item() == 2 and len(seen) == 1


def test_post_accumulate_grad_hooks():
    x, seen = leaf(1.0), []
    handle = x.register_post_accumulate_grad_hook(lambda p: seen.append((p is x, p.grad.item())))
    (x * 2).backward()
    (x * 2).backward()
    assert seen == [(True, 2.0), (True, 4.0)]
    ferrograd.autograd.grad(x * 2, x)
    handle.remove()
    (x * 2).backward()
    assert len(seen) == 2

    def step(p):
        with ferrograd.no_grad():
            p -= p.grad
        p.grad = None

    x.register_post_accumulate_grad_hook(step)
    x.grad = None
    (x * 2).backward()
    assert x.item() == -1 and x.grad is None
    with pytest.raises(RuntimeError, match="cannot be registered on non-leaf tensors"):
        (x * 2).register_post_accumulate_grad_hook(fail)
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        ferrograd.ones(1).register_post_accumulate_grad_hook(fail)
    y = leaf(1.0)
    y.register_post_accumulate_grad_hook(lambda p: 3)
    with pytest.raises(TypeError, match="returned 'int'"):
        (y * 2).backward()
    y = leaf(1.0)
    handle = y.register_post_accumulate_grad_hook(lambda p: p.sub_(p.grad))
    (y * 2).backward()
    assert y.item() == -1
    handle.remove()
    y.register_post_accumulate_grad_hook(lambda p: p.data)
    with pytest.raises(RuntimeError, match="should return None"):
        (y * 2).backward()


@pytest.mark.parametrize("place", ["tensor", "leaf", "before", "after", "end"])
def test_a_failing_hook_writes_no_gradient(place):
    a, b = leaf(1.0), leaf(1.0)
    y = a * b
    y.retain_grad()
    z = y * 3
    hooked = {"tensor": y, "leaf": b}
    if place in hooked:
        hooked[place].register_hook(fail)
    elif place == "before":
        y.grad_fn.register_prehook(fail)
    elif place == "after":
        y.grad_fn.register_hook(fail)
    else:
        get_gradient_edge(b).node.register_prehook(fail)
    with pytest.raises(KeyError, match="mine"):
        z.backward()
    assert a.grad is None and b.grad is None and y.grad is None


def test_hooks_do_not_leak():
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_hook(lambda *args, thing=thing: None)
    y.grad_fn.metadata["thing"] = thing
    del thing, y
    gc.collect()
    assert gone() is None


def test_metadata():
    x = leaf(1.0)
    y = x * 2
    assert y.grad_fn.metadata == {}
    y.grad_fn.metadata["a"] = 1
    gc.collect()
    assert y.grad_fn.metadata == {"a": 1} and (x * 2).grad_fn.metadata == {}
    assert isinstance(y.grad_fn, Node) and isinstance(get_gradient_edge(x).node, Node)


def test_handles_of_dicts():
    hooks, extra = OrderedDict(), OrderedDict()
    handle = RemovableHandle(hooks, extra_dict=extra)
    hooks[handle.id] = extra[handle.id] = fail
    with handle:
        pass
    assert not hooks and not extra
    handle.remove()
    assert isinstance(leaf(1.0).register_hook(fail), RemovableHandle)


def test_gradient_edges():
    x = leaf(1.0, 2.0)
    y = x * 3
    edge = get_gradient_edge(y)
    assert edge.node is y.grad_fn and edge.output_nr == 0 and isinstance(edge, GradientEdge)
    z = (y * y).sum()
    assert ferrograd.autograd.grad(z, edge, retain_graph=True)[0].tolist() == [6.0, 12.0]
    assert ferrograd.autograd.grad(edge, x, ferrograd.ones_like(x), retain_graph=True)[0].tolist() == [3.0, 3.0]
    z.backward(inputs=get_gradient_edge(x))
    assert x.grad.tolist() == [18.0, 36.0]
    w = x.clone()
    edge = get_gradient_edge(w)
    w.mul_(2)
    assert ferrograd.autograd.grad(w.sum(), edge)[0].tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="does not require gradients"):
        get_gradient_edge(ferrograd.ones(1))


def test_hooks_on_several_tensors():
    a, b, seen = leaf(1.0), leaf(1.0), []
    c = b * 1
    handle = register_multi_grad_hook((a, c), lambda grads: seen.append([g and g.item() for g in grads]))
    (a * 2).backward()
    (a * 2 + c * 3).backward(retain_graph=True)
    ferrograd.autograd.grad(a * 2 + c * 3, a, retain_graph=True)
    assert seen == [[2.0, None], [2.0, 3.0], [2.0, None]]
    handle.remove()
    (a * 2).backward()
    assert len(seen) == 3
    with register_multi_grad_hook((a, b), lambda grad: seen.append(grad.item()), mode="any"):
        (a * 2 + b * 3).backward()
        (b * 3).backward()
    assert seen[3:] in ([2.0, 3.0], [3.0, 3.0])
    with pytest.raises(ValueError, match="Expects mode to be one of"):
        register_multi_grad_hook((a,), fail, mode="some")
    with pytest.raises(AssertionError, match="Expected gradient function to be set"):
        register_multi_grad_hook((a, ferrograd.ones(1)), fail)


def test_edges_made_of_nodes():
    x = leaf(1.0, 2.0)
    y = x * 3
    z = (y * y).sum()
    edge = GradientEdge(y.grad_fn, 0)
    assert ferrograd.autograd.grad(z, edge, retain_graph=True)[0].tolist() == [6.0, 12.0]
    assert ferrograd.autograd.grad(edge, x, ferrograd.ones_like(x), retain_graph=True)[0].tolist() == [3.0, 3.0]
    end = GradientEdge(get_gradient_edge(x).node, 0)
    assert ferrograd.autograd.grad(z, end, retain_graph=True)[0].tolist() == [18.0, 36.0]
    assert ferrograd.autograd.grad(GradientEdge(z.grad_fn, 0), x, retain_graph=True)[0].tolist() == [18.0, 36.0]
    for places in (edge, [x, edge], (edge,)):
        with pytest.raises(RuntimeError, match="materialize_grads cannot be used when the given input is a GradientEdge"):
            ferrograd.autograd.grad((x * 2).sum(), places, materialize_grads=True)
    assert ferrograd.autograd.grad((y * 2).sum(), [edge, y], materialize_grads=True)[0].tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        ferrograd.autograd.grad(edge, x)
    with pytest.raises(RuntimeError, match="output_nr 5 is out of range"):
        ferrograd.autograd.grad(z, GradientEdge(y.grad_fn, 5))
    with pytest.raises(RuntimeError, match="must be an autograd.graph.Node but got str"):
        ferrograd.autograd.grad(z, GradientEdge("node", 0))


def test_nodes_can_be_called():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    g = ferrograd.ones_like(x).requires_grad_()
    y = x * w
    by_x, by_w = y.grad_fn(g)
    assert by_x.tolist() == [3, 4] and by_w.tolist() == [1, 2] and by_x.requires_grad
    assert y.sum().grad_fn(ferrograd.tensor(2.0, dtype=ferrograd.float64)).tolist() == [2, 2]
    assert (x * 3).grad_fn(g)[1] is None
    get_gradient_edge(x).node(g.detach())
    assert x.grad.tolist() == [1, 1] and w.grad is None
    y.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        y.grad_fn(g)
    for node, count in ((y.grad_fn, 1), (get_gradient_edge(x).node, 1), (x.unbind()[0].grad_fn, 2)):
        for wrong in (0, 3):
            with pytest.raises(TypeError, match=f"expected {count} arguments, got {wrong} instead"):
                node(*[g] * wrong)


def test_increment_version():
    x = ferrograd.ones(1)
    increment_version(x)
    increment_version([x, x])
    assert x._version == 3
    for wrong in (3, [3]):
        with pytest.raises(RuntimeError, match="increment_version expect"):
            increment_version(wrong)


def test_callbacks_at_the_end():
    x, seen = leaf(1.0), []

    def hook(g):
        queue_callback(lambda: seen.append(x.grad.item()))
        queue_callback(lambda: queue_callback(lambda: seen.append("last")))

    x.register_hook(hook)
    (x * 2).backward()
    assert seen == [2.0, "last"]
    y = x * 1
    y.register_hook(lambda g: queue_callback(fail))
    with pytest.raises(KeyError, match="mine"):
        y.backward()
    with pytest.raises(RuntimeError, match="can only be installed during backward pass"):
        ferrograd.autograd.Variable._execution_engine.queue_callback(fail)


def test_callbacks_of_passes_within_each_other():
    x, seen = leaf(1.0), []
    queue = ferrograd.autograd.Variable._execution_engine.queue_callback

    def hook(g):
        queue(lambda: seen.append("outer"))
        y = leaf(1.0)
        y.register_hook(lambda g: queue(lambda: seen.append("inner")))
        with ferrograd.enable_grad():
            (y * 2).backward()
        seen.append("hook")

    x.register_hook(hook)
    (x * 2).backward()
    assert seen == ["inner", "hook", "outer"]


def test_hooks_of_leaves_are_called_in_time():
    """As soon as the gradient is whole; leaves that want to be told of it have it then."""
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    seen = []
    y = a
    for name, w in (("b", b), ("c", c)):
        y = y * w
        w.register_hook(lambda g, name=name: seen.append(name))
        y.register_hook(lambda g, name=name: seen.append(f"product by {name}"))
    a.register_hook(lambda g: seen.append("a"))
    c.register_post_accumulate_grad_hook(lambda p: seen.append(([x.grad is not None for x in (a, b, c)], ferrograd.is_grad_enabled())))
    y.backward()
    assert seen == ["product by c", "c", ([False, False, True], False), "product by b", "a", "b"]
    seen.clear()
    z = (a * b) * b
    ferrograd.autograd.grad(z, [a, b])
    assert seen == ["a", "b"]


def test_retained_and_captured_gradients_and_hooks():
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g: g * 3)
    y.retain_grad()
    y.register_hook(lambda g: g * 5)
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 7,))
    y.backward(retain_graph=True)
    assert y.grad.item() == 15 and x.grad.item() == 210
    # What the graph ends at has passed its hooks, what it passes through has not.
    assert ferrograd.autograd.grad(y, y, retain_graph=True)[0].item() == 15
    assert [g.item() for g in ferrograd.autograd.grad(y, [x, y])] == [210, 1]


def test_hooks_after_accumulation_see_what_is_kept():
    """Guards that the first gradient is taken over: the hooks of the tape's end are shown the leaf's own."""
    x, seen = leaf(1.0), []
    end = get_gradient_edge(x).node
    end.register_prehook(lambda outputs: (outputs[0] * 3,))
    end.register_hook(lambda inputs, outputs: seen.append((outputs[0].data_ptr() == x.grad.data_ptr(), outputs[0].item())))
    x.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(10).numel() - 1 or None)
    for _ in range(2):
        (x * 2).backward()
    assert seen == [(True, 60.0), (False, 6.0)] and x.grad.item() == 660


def test_the_node_at_which_a_backward_ends_is_run():
    x, seen = leaf(1.0), []
    y = x * 2
    y.register_hook(lambda g: g * 3)
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 5,))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs, outputs[0].item())))
    z = y * 4
    ferrograd.autograd.grad(z, y, retain_graph=True)
    assert not seen
    z.backward(inputs=[y])
    assert seen == [((None, None), 60.0)] and y.grad.item() == 12 and x.grad is None
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


def test_an_inplace_op_on_a_view_passes_by_the_op_that_made_the_view():
    x, seen = leaf(1.0, 2.0, 3.0), []
    base = x * 1
    first, second = base[:2], base[1:]
    first.register_hook(fail)
    second.register_hook(fail)
    first.mul_(x[1:])
    second.register_hook(lambda g: seen.append(g.tolist()))
    (first.sum() + (second * second).sum()).backward()
    # base is now [a b, b c, c]: of a b + b c + (b c)^2 + c^2.
    assert seen == [[12.0, 6.0]] and x.grad.tolist() == [2.0, 1 + 3 + 36, 2 + 24 + 6]


def test_an_outdated_node_of_a_view_has_its_share_in_second_derivatives():
    x, seen = leaf(1.0, 2.0, 3.0), []
    base = x * x
    view = base[1:]
    view.register_hook(lambda g: seen.append(("view", g.tolist())) or g * 2)
    view.grad_fn.register_prehook(lambda grads: seen.append(("node", grads[0].tolist())))
    view.mul_(x[1:])
    (first,) = ferrograd.autograd.grad((base * base).sum(), x, create_graph=True)
    assert seen == [] and first.tolist() == [4.0, 192.0, 1458.0]
    ferrograd.autograd.grad((first * first).sum(), x)
    # The gradient of the values that mul_ has saved, once by each way that leads to them.
    assert seen == [("view", [6144.0, 157464.0]), ("node", [12288.0, 314928.0])]


def test_an_outdated_node_of_a_view_and_ops_in_place_that_are_made_of_others():
    seen = []

    def second(watched):
        x = ferrograd.tensor([1.0, 2.0, 3.0], dtype=ferrograd.float64, requires_grad=True)
        base = x.float() * 1
        view = base[1:]
        if watched:
            view.register_hook(lambda g: seen.append(g))
        view.mul_(x[1:].sum()).tanh_()
        (first,) = ferrograd.autograd.grad((base * base).sum(), x, create_graph=True)
        assert seen == [] or not watched
        return first, ferrograd.autograd.grad((first * first).sum(), x)[0]

    watched, plain = second(True), second(False)
    assert seen and all(a.equal(b) for a, b in zip(watched, plain))


class NoGradient(ferrograd.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return None


def test_hooks_where_no_gradient_comes():
    x, seen = leaf(1.0), []
    y = x * 2
    y.register_hook(lambda g: seen.append(("tensor", g)))
    y.grad_fn.register_prehook(lambda outputs: seen.append(("before", outputs)))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append(("after", inputs, outputs)))
    x.register_hook(lambda g: seen.append(("leaf", g)))
    x.register_post_accumulate_grad_hook(lambda p: seen.append(("end", p.grad)))
    NoGradient.apply(y).backward()
    assert seen == [("tensor", None), ("before", (None,)), ("after", (None, None), (None,)), ("leaf", None), ("end", None)]
    y = x * 2
    y.register_hook(lambda g: ferrograd.ones(1, dtype=ferrograd.float64))
    with pytest.raises(RuntimeError, match="can't replace a None gradient"):
        NoGradient.apply(y).backward()


def test_a_hook_on_several_tensors_of_which_one_gets_nothing():
    a, b, seen = leaf(1.0), leaf(1.0), []
    register_multi_grad_hook((a, b), lambda grads: seen.append([g and g.item() for g in grads]))
    (NoGradient.apply(a) + b).backward()
    assert seen == [[None, 1.0]]


def test_retained_gradients_are_added_up_in_new_tensors():
    x = ferrograd.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.sum().backward(retain_graph=True)
    first = y.grad
    y.sum().backward()
    assert first.tolist() == [1.0, 1.0] and y.grad.tolist() == [2.0, 2.0] and y.grad is not first


@pytest.mark.parametrize("mode, expected", [("all", [[7.0, 5.0], [4.0, 6.0]]), ("any", [4.0, 5.0])])
def test_a_hook_on_several_tensors_tells_a_pass_from_one_within_it(mode, expected):
    a, b, seen = leaf(1.0), leaf(1.0), []
    c, d = a * 2, b.clone()
    within = a * 5 + d * 7
    c.register_hook(lambda g: within.backward(retain_graph=True))

    def note(grads):
        seen.append([g.item() for g in grads] if mode == "all" else grads.item())

    register_multi_grad_hook((d, a), note, mode=mode)
    # The gradient of d comes before the pass within, that of a after it.
    (c * 3 + d * 4).backward()
    assert seen == expected


def test_what_nodes_tell_of_themselves():
    x = ferrograd.ones(2, 3, requires_grad=True)
    y = x * 2
    z = y.sum()
    node, end = y.grad_fn, y.grad_fn.next_functions[0][0]
    assert node.requires_grad and z.grad_fn._sequence_nr() > node._sequence_nr() and end._sequence_nr() == 2**64 - 1
    for known in (node, end):
        (output,) = known._input_metadata
        assert (output.shape, output.dtype, output.device) == ([2, 3], ferrograd.float32, ferrograd.device("cpu"))
        assert not output.is_nested_tensor and not output.is_cpp_nested_tensor
    assert repr(type(node)) == "<class 'MulBackward0'>" and isinstance(node, ferrograd.autograd.graph.Node)
    assert "variable" in dir(end) and "variable" not in dir(node)
    with pytest.raises(TypeError, match="cannot create 'MulBackward0' instances"):
        type(node)()
    with pytest.raises(TypeError, match="Can't instantiate abstract class Node"):
        Node()
    assert issubclass(type(node), Node) and Node not in type(node).mro() and not isinstance(Node, Node)


X, W = ferrograd.ones(2, 2, requires_grad=True), ferrograd.ones(2, requires_grad=True)
MASK, FIRST = ferrograd.tensor([True, False]), ferrograd.tensor([0])


def written(write):
    y = X.clone()
    write(y)
    return y


@pytest.mark.parametrize(
    ("name", "inputs", "f"),
    [
        # A number is an input where torch has it as a tensor, and then the last.
        ("RsubBackward1", "X", lambda: 1 - X),
        ("RsubBackward0", "XW", lambda: ferrograd.rsub(X, W)),
        ("RsubBackward1", "X", lambda: ferrograd.rsub(X, 2, alpha=3)),
        ("SubBackward0", "X-", lambda: X - 1),
        ("AddBackward0", "X-", lambda: 1 + X),
        ("MulBackward0", "X-", lambda: 2 * X),
        ("MaskedFillBackward0", "X", lambda: X.masked_fill(MASK, 2.0)),
        ("MaskedFillBackward1", "X-", lambda: X.masked_fill(MASK, ferrograd.tensor(2.0))),
        ("IndexFillBackward0", "X", lambda: X.index_fill(0, FIRST, 2.0)),
        ("ScatterBackward1", "X", lambda: X.scatter(0, FIRST[None], 2.0)),
        ("CopysignBackward1", "X", lambda: X.copysign(2.0)),
        ("LerpBackward0", "XW", lambda: ferrograd.lerp(X, W, 0.3)),
        ("SortBackward0", "X", lambda: X.sort().values),
        ("SortBackward1", "X", lambda: X.sort(stable=False).values),
        ("VdotBackward0", "WW", lambda: ferrograd.vdot(W, W)),
        ("TraceBackward0", "X", lambda: X.trace()),
        ("DiagonalBackward0_copy", "X", lambda: X.diag()),
        ("FillBackward3", "..", lambda: written(lambda y: y.__setitem__(..., W[0]))),
        ("CopySlices", ".W", lambda: written(lambda y: y.__setitem__(0, W))),
        ("CopySlices", "..", lambda: written(lambda y: y.__setitem__(0, W[0]))),
        ("NormalBackward0", ".", lambda: written(lambda y: y.normal_())),
    ],
)
def test_graphs_are_torchs(name, inputs, f):
    node = f().grad_fn
    assert node.name().removeprefix("torch::autograd::") == name
    end = {None: "-", X.clone().grad_fn.next_functions[0][0]: "X", W.clone().grad_fn.next_functions[0][0]: "W"}
    assert [end.get(following, ".") for following, _ in node.next_functions] == [*inputs]


def test_gradients_of_what_has_no_derivative_are_zeros():
    x = ferrograd.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone().normal_()
    (y * float("inf")).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_gradients_of_traces_and_diagonals():
    x = ferrograd.arange(6.0).view(2, 3).requires_grad_()
    (g,) = ferrograd.autograd.grad(x.trace() ** 2, x, create_graph=True)
    assert g.tolist() == [[8.0, 0, 0], [0, 8.0, 0]]
    assert ferrograd.autograd.grad(g.sum(), x)[0].tolist() == [[4.0, 0, 0], [0, 4.0, 0]]
    assert ferrograd.autograd.grad((x.diag(1) ** 2).sum(), x)[0].tolist() == [[0, 2.0, 0], [0, 0, 10.0]]
    z = ferrograd.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    ferrograd.vdot(z, ferrograd.tensor([2j, 1 + 1j])).real.backward()
    assert z.grad.tolist() == [2j, 1 + 1j]


def test_hooks_are_shown_by_the_ids_of_their_handles():
    x = leaf(1.0, 2.0)
    f, g = (lambda g: None), (lambda x: None)
    assert x._backward_hooks is None and x._post_accumulate_grad_hooks is None and ferrograd.ones(1)._backward_hooks is None
    first, second, third = x.register_hook(f), x.register_hook(f), x.register_post_accumulate_grad_hook(g)
    assert dict(x._backward_hooks) == {first.id: f, second.id: f} and dict(x._post_accumulate_grad_hooks) == {third.id: g}
    first.remove()
    third.remove()
    assert list(x._backward_hooks) == [second.id] and not x._post_accumulate_grad_hooks
    a, b = x.unbind()
    handle = a.register_hook(f)
    a.grad_fn.register_hook(lambda *grads: None)
    assert dict(a._backward_hooks) == {handle.id: f} and b._backward_hooks is None


def test_all_outputs_of_a_node_are_known():
    def known(node):
        return [(tuple(output.shape), output.dtype) for output in node._input_metadata]

    x = ferrograd.ones(3, 4, requires_grad=True)
    one, f32 = ferrograd.ones(3, 4), ferrograd.float32
    variance, mean = x.var_mean(0)
    assert variance.grad_fn is mean.grad_fn and known(mean.grad_fn) == [((4,), f32)] * 2
    first, second = x.split(2)
    node = second.grad_fn
    assert known(node) == [((2, 4), f32), ((1, 4), f32)]
    assert node(ferrograd.ones(2, 4), None).sum() == 8
    y = (first * 3).sum()
    assert ferrograd.autograd.grad(y, GradientEdge(node, 0))[0].tolist() == [[3.0] * 4] * 2
    # Outputs that are integers are none of the node's.
    assert known(x.max(0)[0].grad_fn) == [((4,), f32)] and known(ferrograd.linalg.lu_factor_ex(x)[0].grad_fn) == [((3, 4), f32)]

    class Parts(ferrograd.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, ferrograd.ones(2, dtype=ferrograd.int64), x[0].double()

        @staticmethod
        def backward(ctx, *grads):
            return grads[0]

    node = Parts.apply(x)[2].grad_fn
    assert known(node) == [((3, 4), f32), ((), f32), ((4,), ferrograd.float64)]
    with pytest.raises(TypeError, match="^'PartsBackward' object is not callable$"):
        node(one, None, None)


@pytest.mark.parametrize("name", ["_backward_hooks", "_post_accumulate_grad_hooks"])
def test_dicts_of_hooks_may_be_assigned(name):
    seen = []

    def run(x):
        (x * 1).sum().backward()
        return [seen.pop(0) for _ in list(seen)]

    def register(x, hook):
        return (x.register_hook if name == "_backward_hooks" else x.register_post_accumulate_grad_hook)(hook)

    x, other = leaf(1.0), leaf(1.0)
    old = register(x, lambda g: seen.append("old"))
    kept = getattr(x, name)
    hooks = OrderedDict(first=lambda g: seen.append("first"))
    setattr(x, name, hooks)
    assert getattr(x, name) is hooks and run(x) == ["first"]
    hooks["second"] = lambda g: seen.append("second")
    handle = register(x, lambda g: seen.append("third"))
    assert run(x) == ["first", "second", "third"] and hooks[handle.id] and handle.hooks_dict_ref() is hooks
    setattr(other, name, hooks)
    handle.remove()
    del hooks["first"]
    assert run(x) == run(other) == ["second"]
    setattr(x, name, kept)
    assert run(x) == ["old"]
    setattr(x, name, None)
    assert run(x) == [] and getattr(x, name) is None and old.id in kept
    old.remove()
    assert not kept
    setattr(x, name, {})
    with pytest.raises(TypeError, match="cannot create weak reference to 'dict' object"):
        register(x, print)
    with pytest.raises(TypeError, match=f"^{name}: expected a dict of functions, or None, got list$"):
        setattr(x, name, [])
    with pytest.raises(RuntimeError, match="Deletion of .* not allowed"):
        delattr(x, name)
    setattr(x, name, {"a": 5})
    with pytest.raises(TypeError, match="'int' object is not callable"):
        run(x)


def test_dicts_of_hooks_of_computed_tensors():
    x, seen = leaf(1.0), []
    y = x * 2
    y.register_hook(lambda g: seen.append("old"))
    y.register_hook(lambda g: g * 3)
    # As in torch what is called is with the node: the tensor's dict is another one from here on.
    y._backward_hooks = {1: fail}
    y.sum().backward(retain_graph=True)
    assert seen == ["old"] and x.grad.tolist() == [6.0]
    y._backward_hooks = None
    y.register_hook(lambda g: seen.append("new"))
    y.sum().backward(retain_graph=True)
    assert seen == ["old"] * 2 + ["new"]
    y.mul_(2)
    assert y._backward_hooks is None
    handle = y.register_hook(lambda g: seen.append("after"))
    assert list(y._backward_hooks) == [handle.id]
    y.sum().backward()
    assert seen[3:] == ["after", "old", "new"]
    plain = ferrograd.ones(1)
    plain._backward_hooks = {1: lambda g: g * 5}
    (plain.requires_grad_() * 2).sum().backward()
    assert plain.grad.tolist() == [10.0]


def test_hooks_that_are_not_pickled():
    def hook(g):
        pass

    x = leaf(1.0)
    warn_if_has_hooks(x)
    handle = x.register_hook(hook)
    with pytest.warns(UserWarning, match="will not be serialized"):
        warn_if_has_hooks(x)
    assert unserializable_hook(hook) is hook
    warn_if_has_hooks(x)
    handle.remove()


def test_graphs_keep_their_leaves():
    y = leaf(1.0, 2.0) * ferrograd.nn.Parameter(leaf(3.0, 4.0).detach())
    (end, _), (other, _) = y.grad_fn.next_functions
    seen = []
    end.variable.register_post_accumulate_grad_hook(lambda x: seen.append(x.grad.tolist()))
    assert end.variable is not other.variable and end.variable.tolist() == [1.0, 2.0] and end._input_metadata[0].shape == [2]
    y.sum().backward(retain_graph=True)
    x = end.variable
    assert x is end.variable and x.is_leaf and x.grad.tolist() == [3.0, 4.0] and seen == [[3.0, 4.0]]
    assert get_gradient_edge(x).node is end and ferrograd.autograd.grad(y.sum(), x, retain_graph=True)[0].tolist() == [3.0, 4.0]
    assert ferrograd.autograd.grad(y.sum(), GradientEdge(other, 0))[0].tolist() == [1.0, 2.0]
    gone = weakref.ref(x)
    del x, y, end, other
    assert gone() is None


def test_a_leaf_that_graphs_keep_is_as_it_was_last():
    def end(write):
        x = leaf(1.0)
        y = x * 3
        write(x)
        return y, y.grad_fn.next_functions[0][0]

    for write in (lambda x: setattr(x, "data", leaf(7.0).detach()), lambda x: ferrograd.no_grad()(x.add_)(6)):
        y, node = end(write)
        assert node.variable.tolist() == [7.0]
        y.backward()
        assert node.variable.grad.tolist() == [3.0]


@pytest.mark.parametrize("view", [lambda x: x[:1], lambda x: x.expand(2, 2), lambda x: x.view(1, 2)])
def test_views_of_leaves_written_to_lead_to_the_leaf(view):
    """The history of the view is made anew: it must still come to the tensor with its hooks."""
    x = leaf(1.0, 2.0)
    y = view(x)
    with ferrograd.no_grad():
        x.mul_(2)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p is x))
    x.register_hook(lambda g: g * 5)
    assert y.grad_fn.name() == "AsStridedBackward0"
    assert y.grad_fn.next_functions[0][0].variable is x
    y.sum().backward()
    plain = leaf(1.0, 2.0)
    view(plain).sum().backward()
    assert seen == [True] and x.grad.tolist() == [5 * g for g in plain.grad.tolist()]
