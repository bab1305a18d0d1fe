"""The node of a base whose view has been written to: `CopySlices` holds the op that wrote, which is no node of its own."""

import warnings

import numpy as np
import pytest

import ferrograd
import ferrograd.nn.functional as F
from ferrograd.autograd import Function, detect_anomaly, forward_ad

F64 = ferrograd.float64


def leaf(*shape):
    size = int(np.prod(shape))
    return (ferrograd.arange(1, 1 + size, dtype=F64).view(shape) / size).clone().requires_grad_()


def graph(node):
    """The names of a node and of all that it leads to."""
    if node is None:
        return None
    name = node.name().removeprefix("torch::autograd::")
    return (name, *(graph(following) for following, _ in node.next_functions)) if node.next_functions else name


LEAF = "AccumulateGrad"
BASE = ("CloneBackward0", LEAF)
INDEX, MASK = ferrograd.tensor([0, 2]), ferrograd.tensor([True, False, True])
ONE = ferrograd.tensor(1.0, dtype=F64)

# What writes to a row of three of `v`, given three numbers that require a gradient; and whether these are inputs of the op.
WRITES = {
    "exp_": (lambda v, w: v.exp_(), 0),
    "relu_": (lambda v, w: v.relu_(), 0),
    "clamp_": (lambda v, w: v.clamp_(0.2, 0.5), 0),
    "add_": (lambda v, w: v.add_(w), 1),
    "sub_": (lambda v, w: v.sub_(w, alpha=2), 1),
    "mul_": (lambda v, w: v.mul_(w), 1),
    "div_": (lambda v, w: v.div_(w), 1),
    "pow_": (lambda v, w: v.pow_(w), 1),
    "*=": (lambda v, w: v.__imul__(w), 1),
    "addcmul_": (lambda v, w: v.addcmul_(w, w), 2),
    "lerp_": (lambda v, w: v.lerp_(w, w), 2),
    "copy_": (lambda v, w: v.copy_(w), 1),
    "fill_": (lambda v, w: v.fill_(2.0), 0),
    "fill_ by a tensor": (lambda v, w: v.fill_(w.sum()), 1),
    "zero_": (lambda v, w: v.zero_(), 0),
    "masked_scatter_": (lambda v, w: v.masked_scatter_(MASK, w), 1),
    "index_put_": (lambda v, w: v.index_put_((INDEX,), w[:2]), 1),
    "index_copy_": (lambda v, w: v.index_copy_(0, INDEX, w[:2]), 1),
    "scatter_": (lambda v, w: v.scatter_(0, INDEX, w), 1),
    "scatter_add_": (lambda v, w: v.scatter_add_(0, INDEX, w), 1),
    "cumsum_": (lambda v, w: v.cumsum_(0), 0),
    "x[i] = y": (lambda v, w: v.__setitem__(slice(1, 3), w[:2]), 1),
}


def shown(x):
    """A few numbers that depend on all that x shows."""
    return (x * ferrograd.arange(1, 1 + x.numel(), dtype=F64).view(x.shape)).sum() + (x * x).sum()


@pytest.mark.parametrize("name", WRITES)
def test_the_op_is_no_node_of_its_own(name):
    write, inputs = WRITES[name]
    x, w = leaf(2, 3), leaf(3)
    base = x.clone()
    row = base[1]
    write(row, w)
    name, history, *others = graph(base.grad_fn)
    assert (name, history, len(others)) == ("CopySlices", BASE, inputs)
    assert graph(row.grad_fn) == ("AsStridedBackward0", graph(base.grad_fn))
    assert row.grad_fn.next_functions == ((base.grad_fn, 0),)


@pytest.mark.parametrize("name", WRITES)
def test_gradients_are_those_of_a_program_without_views(name):
    write, _ = WRITES[name]
    x, w = leaf(2, 3), leaf(3)

    def in_view():
        base = x.clone()
        row = base[1]
        write(row, w)
        return shown(base) + shown(row)

    def without_view():
        row = x[1].clone()
        write(row, w)
        return shown(ferrograd.stack([x[0], row])) + shown(row)

    found = []
    for program in (in_view, without_view):
        first = ferrograd.autograd.grad(program(), (x, w), create_graph=True, materialize_grads=True)
        second = ferrograd.autograd.grad(sum(shown(g) for g in first), (x, w), materialize_grads=True)
        found.append([g.detach().numpy() for g in (*first, *second)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_base_without_history_leads_only_to_what_was_written():
    w, base = leaf(3), ferrograd.ones(2, 3, dtype=F64)
    base[0].mul_(w)
    assert graph(base.grad_fn) == ("CopySlices", None, LEAF)
    base[1].mul_(2)
    assert graph(base.grad_fn) == ("CopySlices", ("CopySlices", None, LEAF), None)
    shown(base).backward()
    assert w.grad.tolist() == (np.array([1, 2, 3]) + 2 * w.detach().numpy()).tolist()


def test_a_view_of_itself_is_an_operand_with_its_old_history():
    base = leaf(2, 3).clone()
    row = base[0]
    row.mul_(row)
    assert graph(base.grad_fn) == ("CopySlices", BASE, ("SelectBackward0", BASE))


def test_functional_forms_write_by_one_node():
    base = leaf(2, 3).clone()
    F.dropout(base[0], 0.5, inplace=True)
    assert graph(base.grad_fn) == ("CopySlices", BASE, None)
    F.relu(base[1], inplace=True)
    base[0].normal_()
    assert graph(base.grad_fn) == ("CopySlices", ("CopySlices", ("CopySlices", BASE, None)))


@pytest.mark.parametrize("whole", [True, False])
def test_views_of_parts_of_complex_numbers(whole):
    x = ferrograd.ones(3, dtype=ferrograd.complex128, requires_grad=True)
    base = x.clone()
    parts = ferrograd.view_as_real(base)
    (parts if whole else parts[0]).exp_()
    assert graph(base.grad_fn) == ("CopySlices", BASE)
    assert graph(parts.grad_fn) == ("ViewAsRealBackward0", ("CopySlices", BASE))
    base.abs().sum().backward()
    # The parts are e and 1, each its own derivative.
    want = (np.e**2 + 1j) / np.hypot(np.e, 1)
    np.testing.assert_allclose(x.grad.numpy()[0], want, rtol=1e-12)


def test_hooks_see_one_node():
    x, w = leaf(2, 3), leaf(3)
    base = x.clone()
    row = base[0]
    row.mul_(w)
    calls = []
    base.grad_fn.register_prehook(lambda grads: calls.append(("before", [g.tolist() for g in grads])))
    base.grad_fn.register_hook(lambda inputs, outputs: calls.append(("after", [g.tolist() for g in inputs])))
    base.sum().backward()
    rows = [w.tolist(), [1.0] * 3]
    assert calls == [("before", [[[1.0] * 3] * 2]), ("after", [rows, x[0].tolist()])]
    assert x.grad.tolist() == rows and w.grad.tolist() == x[0].tolist()


def test_a_hook_may_replace_what_the_op_computed():
    x, w = leaf(2, 3), leaf(3)
    base = x.clone()
    base[0].mul_(w)
    base.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 0 + 5, inputs[1] * 2))
    base.sum().backward()
    assert x.grad.tolist() == [[5.0] * 3] * 2 and w.grad.tolist() == (2 * x[0]).tolist()


def test_second_derivatives_pass_the_node_again():
    x = leaf(2, 3)
    base = x.clone()
    row = base[0]
    row.exp_()
    seen, of_row = [], []
    base.grad_fn.register_hook(lambda inputs, outputs: seen.append(outputs[0].tolist()))
    row.grad_fn.register_hook(lambda inputs, outputs: of_row.append(outputs[0].tolist()))
    (g,) = ferrograd.autograd.grad(base.sum(), x, create_graph=True)
    ferrograd.autograd.grad(g[0].sum(), x)
    # The gradient of exp is its result: the view of now.
    assert seen == [[[1.0] * 3] * 2, [[1.0] * 3, [0.0] * 3]] and of_row == [[1.0] * 3]


def test_what_the_op_saved_must_not_be_written_to():
    x, w = leaf(2, 3), leaf(3)
    for write, name in ((lambda v: v.exp_(), "Exp"), (lambda v: v.sigmoid_(), "Sigmoid")):
        base = x.clone()
        row = base[0]
        write(row)
        row.add_(1)
        with pytest.raises(RuntimeError, match=rf"DoubleTensor \[3\]\], which is output 0 of {name}, is at version 2"):
            base.sum().backward()
    base = x.clone()
    base[0].mul_(w)
    with ferrograd.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        base.sum().backward()


@pytest.mark.parametrize("write", [lambda v: v.add_(1), lambda v: v.copy_(ONE), lambda v: v.zero_(), lambda v: v.exp_()])
def test_it_runs_once_unless_the_graph_is_retained(write):
    base = leaf(2, 3).clone()
    write(base[0])
    base.sum().backward(retain_graph=True)
    base.sum().backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        base.sum().backward()


def test_it_has_no_saved_tensors():
    base = leaf(2, 3).clone()
    base[0].mul_(leaf(3))
    assert [name for name in dir(base.grad_fn) if "saved" in name] == []
    with pytest.raises(AttributeError, match="'CopySlices' object has no attribute '_saved_self'"):
        base.grad_fn._saved_self


def test_what_the_op_saves_is_packed():
    x, w = leaf(2, 3), leaf(3)
    base = x.clone()
    with ferrograd.autograd.graph.saved_tensors_hooks(lambda t: t.detach() * 10, lambda t: t / 10):
        base[0].mul_(w)
    base.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), x[0].detach().numpy())
    np.testing.assert_allclose(x.grad.numpy()[0], w.detach().numpy())


def test_called_by_itself():
    x, w = leaf(2, 3), leaf(3)
    base = x.clone()
    base[0].mul_(w)
    of_base, of_w = base.grad_fn(ferrograd.ones(2, 3, dtype=F64))
    assert of_base.tolist() == [w.tolist(), [1.0] * 3] and of_w.tolist() == x[0].tolist()


def test_anomaly_detection_names_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with detect_anomaly():
            base = (leaf(2, 3) - 1).clone()
            base[0].sqrt_()
            with pytest.raises(RuntimeError, match="Function 'CopySlices' returned nan values in its 0th output."):
                base.sum().backward()


class Scale(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.mark_dirty(x)
        ctx.save_for_backward(w)
        with ferrograd.no_grad():
            return x.mul_(w.detach())

    @staticmethod
    def backward(ctx, g):
        (w,) = ctx.saved_tensors
        return g * w, g.sum()


def test_a_function_that_writes_to_a_view():
    x, w = leaf(2, 3), ferrograd.tensor(3.0, dtype=F64, requires_grad=True)
    base = x.clone()
    row = Scale.apply(base[0], w)
    assert graph(base.grad_fn) == ("CopySlices", BASE, LEAF)
    assert graph(row.grad_fn) == ("AsStridedBackward0", ("CopySlices", BASE, LEAF))
    base.sum().backward()
    assert x.grad.tolist() == [[3.0] * 3, [1.0] * 3] and w.grad.item() == 3
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        base.sum().backward()


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        with ferrograd.no_grad():
            x.pow_(3)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return 3 * g * y.pow(2 / 3)


def test_a_function_that_saves_what_it_wrote_to_a_view():
    x = leaf(2, 3)
    base = x.clone()
    Cube.apply(base[0])
    (g,) = ferrograd.autograd.grad(base.sum(), x, create_graph=True)
    (second,) = ferrograd.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(second.numpy(), [6 * x[0].detach().numpy(), np.zeros(3)], rtol=1e-12)


def test_tangents_of_what_was_written_to_since():
    x, w = leaf(2, 3), leaf(3)
    with forward_ad.dual_level():
        base = forward_ad.make_dual(x.detach(), ferrograd.ones(2, 3, dtype=F64)).clone()
        row = base[0]
        row.exp_()
        row.mul_(w)
        row.sin_()
        tangent = forward_ad.unpack_dual(base).tangent
    first = x[0].detach().exp() * w.detach()
    np.testing.assert_allclose(tangent.detach().numpy(), [(first * first.cos()).numpy(), np.ones(3)], rtol=1e-12)
