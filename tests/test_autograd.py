"""Recording and differentiation as a user meets them: leaves, graphs, hooks, modes and what is refused."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import ferrograd
from ferrograd.autograd import Variable
from ferrograd.nn import functional as F
from ferrograd.utils import swap_tensors


def tensor(values, dtype=np.float32, grad=False):
    return ferrograd.from_numpy(np.array(values, dtype=dtype)).requires_grad_(grad)


def ones(*shape, grad=False):
    return tensor(np.ones(shape), grad=grad)


def values(x):
    return x.detach().numpy().tolist()


# Leaves and computed tensors.


def test_leaf_and_computed():
    x = ones(3, grad=True)
    y = x * 2
    assert (x.is_leaf, y.is_leaf, x.requires_grad, y.requires_grad) == (True, False, True, True)
    assert x.grad_fn is None and x.grad is None and x.output_nr == 0
    assert ones(3).is_leaf and not (ones(3) * 2).requires_grad


def test_grad_fn_has_torchs_name_and_is_one_object():
    x = ones(3, grad=True)
    y = x * 2
    assert type(y.grad_fn).__name__ == "MulBackward0" == y.grad_fn.name()
    assert repr(y.grad_fn).startswith("<MulBackward0 object at 0x")
    assert y.grad_fn is y.grad_fn
    assert type(y.grad_fn) is type((x * 3).grad_fn)
    (leaf, place), (number, _) = y.grad_fn.next_functions
    assert type(leaf).__name__ == "AccumulateGrad" and place == 0 and number is None
    assert leaf.variable is x
    assert leaf is (x + 1).grad_fn.next_functions[0][0]
    with pytest.raises(TypeError):
        ferrograd.autograd.graph.Node(None)


def test_requires_grad_is_for_floats_and_leaves():
    i = tensor([1, 2], np.int64)
    with pytest.raises(RuntimeError, match="floating point"):
        i.requires_grad_()
    with pytest.raises(RuntimeError, match="floating point"):
        i.requires_grad = True
    y = ones(3, grad=True) * 2
    with pytest.raises(RuntimeError, match="leaf variables"):
        y.requires_grad = False
    with pytest.raises(RuntimeError, match="leaf variables"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="must be a bool"):
        y.requires_grad = 1
    assert y.requires_grad_() is y


def test_gradients_accumulate_in_one_object():
    x = ones(3, grad=True)
    (x * x).sum().backward()
    grad = x.grad
    assert x.grad is grad and values(grad) == [2, 2, 2]
    (x * 3).sum().backward()
    assert x.grad is grad and values(grad) == [5, 5, 5]
    x.grad = None
    assert x.grad is None
    (x * 3).sum().backward()
    assert values(x.grad) == [3, 3, 3] and values(grad) == [5, 5, 5]
    del x.grad
    assert x.grad is None


def test_grad_can_be_assigned_if_it_fits():
    x = ones(3, grad=True)
    g = ones(3)
    x.grad = g
    assert x.grad is g
    (x * 2).sum().backward()
    assert values(g) == [3, 3, 3]
    for bad, error in [(ones(2), RuntimeError), (tensor([1.0] * 3, np.float64), RuntimeError), (3, TypeError), (x, RuntimeError)]:
        with pytest.raises(error):
            x.grad = bad
    assert x.grad is g


def test_a_gradient_does_not_alias_what_it_came_from():
    x, start = ones(3, grad=True), ones(3)
    (x + 0).backward(start)
    start.zero_()
    assert values(x.grad) == [1, 1, 1]
    a, b = ones(3, grad=True), ones(3, grad=True)
    (a + b).sum().backward()
    a.grad.zero_()
    assert values(b.grad) == [1, 1, 1]


def test_a_gradient_lies_in_memory_as_its_leaf_does():
    x = ferrograd.ones(2, 3).t().requires_grad_()
    (x * 2).sum().backward()
    assert x.grad.stride() == (1, 3)
    (x * 2).sum().backward()
    assert x.grad.stride() == (1, 3) and x.grad.tolist() == [[4.0] * 2] * 3
    x.grad = None
    x.sum().backward(create_graph=True)
    assert x.grad.stride() == (1, 3)
    x.grad, x.data = None, ferrograd.ones(3, 2)
    (x * 2).sum().backward()
    assert x.grad.stride() == (2, 1)
    with_gaps = ferrograd.ones(6)[::2].requires_grad_()
    (with_gaps * 2).sum().backward()
    assert with_gaps.grad.stride() == (1,)
    x = ferrograd.empty_strided((2, 3), (1, 2), requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad.stride() == (1, 2)
    flat = ferrograd.ones(2, 3, requires_grad=True)
    (flat.t() * ferrograd.ones(3, 2)).sum().backward()
    assert flat.grad.stride() == (3, 1)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("factor", [1, 2])
def test_a_gradient_of_a_leaf_that_has_another_shape_by_then(factor, create_graph):
    """Guard: strides are those of the leaf's shape, and a gradient of another gets that. Torch broadcasts it."""

    def grad_after(old, new):
        x = old.requires_grad_()
        loss = (x * 2 if factor == 2 else x).sum()
        x.data = new
        loss.backward(create_graph=create_graph)
        grad, x.grad = x.grad, None
        assert (grad == factor).all()
        return grad.shape, grad.stride()

    new = ferrograd.ones
    for old in (lambda: new(3, 4), lambda: new(4, 3).t()):
        assert grad_after(old(), new(2, 3, 4)) == ((2, 3, 4), (12, 4, 1))
        assert grad_after(old(), new(4, 3, 2).permute(2, 1, 0)) == ((2, 3, 4), (1, 2, 6))
        assert grad_after(old(), new(2, 6, 8)[:, ::2, ::2]) == ((3, 4), (4, 1))
        for other in (new(400, 300).t(), new(2, 3, 400).transpose(0, 2), new(4), new(0)):
            with pytest.raises(RuntimeError, match="broadcast"):
                grad_after(old(), other)


def test_a_retained_gradient_is_that_of_the_shape_that_was_used():
    for other in (ferrograd.ones(2, 3, 4), ferrograd.ones(4, 3).t(), ferrograd.ones(2)):
        y = ferrograd.ones(3, 4, requires_grad=True) * 1
        y.retain_grad()
        loss = (y * 2).sum()
        y.data = other
        loss.backward()
        assert y.grad.shape == (3, 4) and y.grad.stride() == (4, 1)


def test_a_recorded_gradient_is_no_alias():
    x, g = ferrograd.ones(2, requires_grad=True), ferrograd.ones(2)
    x.backward(g, create_graph=True)
    g.mul_(5)
    assert x.grad.tolist() == [1, 1]


def test_grad_of_a_computed_tensor_warns_unless_retained():
    y = ones(3, grad=True) * 2
    with pytest.warns(UserWarning, match="not a leaf"):
        assert y.grad is None
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad
    (y * y).sum().backward()
    assert values(y.grad) == [4, 4, 4]
    with pytest.raises(RuntimeError, match="can't retain_grad"):
        ones(3).retain_grad()


def test_detach_and_data():
    x = ones(3, grad=True)
    y = x * 2
    d = y.detach()
    assert not d.requires_grad and d.data_ptr() == y.data_ptr()
    d.add_(1)
    assert y._version == d._version == 1
    x.data.mul_(5)
    assert values(x) == [5, 5, 5] and x._version == 0
    x.data = ones(2, 2)
    assert tuple(x.shape) == (2, 2) and x.requires_grad and x.is_leaf
    with pytest.raises(TypeError):
        x.data = 3
    with pytest.raises(RuntimeError):
        x.data = tensor([1], np.int32)
    with pytest.raises(RuntimeError):
        del x.data
    y.detach_()
    assert y.is_leaf and not y.requires_grad
    with pytest.raises(RuntimeError, match="Can't detach views"):
        (x * 2).view(-1).detach_()


def test_variable_is_another_name_of_tensor():
    t = ones(3)
    w = Variable(t, requires_grad=True)
    assert isinstance(w, ferrograd.Tensor) and isinstance(t, Variable) and w.data_ptr() == t.data_ptr()
    assert w.requires_grad and not t.requires_grad and not Variable(w).requires_grad
    (w * 2).sum().backward()
    assert isinstance(w.grad, Variable) and isinstance(w.data, ferrograd.Tensor)
    assert not isinstance(3, Variable)
    with pytest.raises(TypeError):
        Variable([1.0])
    with pytest.warns(UserWarning, match="volatile"):
        Variable(t, volatile=True)


def test_names_of_old():
    x = tensor([1.0, 2.0, 3.0, 4.0])
    with pytest.warns(UserWarning, match="no effect"):
        x.volatile = True
    with pytest.warns(UserWarning, match="always False"):
        assert x.volatile is False
    assert x.name is None
    with pytest.warns(UserWarning, match="resize is deprecated"):
        y = x.resize(2, 2)
    assert y.tolist() == [[1.0, 2.0], [3.0, 4.0]] and y.data_ptr() == x.data_ptr() and x.shape == (4,)
    x.requires_grad_()
    with pytest.warns(UserWarning, match="resize_as is deprecated"):
        x.resize_as(y).sum().backward()
    assert x.grad.tolist() == [1.0] * 4
    with pytest.warns(UserWarning, match="resize is deprecated"), pytest.raises(RuntimeError):
        x.resize(3)
    z = ones(2)
    assert z.__idiv__(2) is z and z.tolist() == [0.5, 0.5]


# backward() and grad().


def test_what_backward_refuses():
    x = ones(3, grad=True)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        ones(1).backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(ones(2))
    with pytest.raises(TypeError):
        (x * 2).backward(1.0)
    with pytest.raises(RuntimeError, match="got 2 tensors and 1 gradients"):
        ferrograd.autograd.backward([x * 2, x * 3], [ones(3)])
    with pytest.raises(RuntimeError, match="cannot be empty"):
        x.sum().backward(inputs=[])
    assert x.grad is None


def test_a_graph_is_freed_by_backward_unless_retained():
    x = ones(3, grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert values(x.grad) == [4, 4, 4]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    linear = (x + x).sum()
    linear.backward()
    linear.backward()


def test_grad_touches_no_leaf():
    x, unused = ones(3, grad=True), ones(2, grad=True)
    y = (x * x).sum()
    (g,) = ferrograd.autograd.grad(y, x, retain_graph=True)
    assert values(g) == [2, 2, 2] and x.grad is None and not g.requires_grad
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        ferrograd.autograd.grad(y, [x, unused], retain_graph=True)
    g, none = ferrograd.autograd.grad(y, [x, unused], retain_graph=True, allow_unused=True)
    assert none is None
    g, zero = ferrograd.autograd.grad(y, [x, unused], retain_graph=True, materialize_grads=True)
    assert values(zero) == [0, 0] and not zero.requires_grad
    (zero,) = ferrograd.autograd.grad(y, unused, create_graph=True, materialize_grads=True)
    assert zero.requires_grad and values(*ferrograd.autograd.grad(zero.sum(), unused, materialize_grads=True)) == [0, 0]
    with pytest.raises(ValueError):
        ferrograd.autograd.grad(y, x, allow_unused=False, materialize_grads=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        ferrograd.autograd.grad(y, ones(3), retain_graph=True)
    with pytest.raises(ValueError):
        ferrograd.autograd.grad(y, x, is_grads_batched=True)


def test_grad_of_inner_tensors_and_of_the_output_itself():
    x = ones(3, grad=True)
    y = x * 3
    z = (y * y).sum()
    gy, gx, gz = ferrograd.autograd.grad(z, [y, x, z])
    assert values(gy) == [6, 6, 6] and values(gx) == [18, 18, 18] and values(gz) == 1


def test_backward_for_some_inputs_only():
    a, b = ones(3, grad=True), ones(3, grad=True)
    y = a * 2
    (y * b).sum().backward(inputs=[b])
    assert a.grad is None and values(b.grad) == [2, 2, 2]
    y = a * 2
    y.retain_grad()
    (y * b).sum().backward(inputs=y)
    assert values(y.grad) == [1, 1, 1] and a.grad is None


def test_derivatives_of_any_order():
    x = tensor([2.0], grad=True)
    y = x.pow(4)
    for want in (32, 48, 48, 24):
        (y,) = ferrograd.autograd.grad(y, x, create_graph=True)
        assert values(y) == [want]
    x = tensor([3.0], grad=True)
    (x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    x.grad.sum().backward()
    assert values(x.grad) == [8.0]
    x.grad = None


def test_roots_that_depend_on_each_other():
    x = ones(3, grad=True)
    y = x * 2
    z = y * y
    ferrograd.autograd.backward([y, z], [ones(3), ones(3)])
    assert values(x.grad) == [10, 10, 10]


def test_gradients_are_cast_and_summed_to_their_inputs():
    x, y = tensor([1.0, 2.0], np.float32, grad=True), tensor([[1.0], [2.0], [3.0]], np.float64, grad=True)
    (x * y).sum().backward()
    assert x.grad.dtype == ferrograd.float32 and values(x.grad) == [6, 6]
    assert y.grad.dtype == ferrograd.float64 and values(y.grad) == [[3], [3], [3]]


def test_a_saved_value_that_was_changed_is_an_error():
    x = ones(3, grad=True)
    a = x * 1
    b = a * a
    a.add_(1)
    with pytest.raises(RuntimeError, match=r"FloatTensor \[3\]\], which is output 0 of Add, is at version 1; expected version 0"):
        b.sum().backward()
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*output 0 of Exp, is"):
        y.sum().backward()


# Long graphs.


def test_a_long_chain_is_built_differentiated_and_dropped():
    x = tensor(1.0, grad=True)
    y = x
    for _ in range(100_000):
        y = y + x
    fn = y.grad_fn
    y.backward()
    assert x.grad.item() == 100_001
    del y
    for _ in range(50_000):
        fn = fn.next_functions[0][0]
    del fn
    gc.collect()


def test_a_diamond_is_walked_once_per_node():
    x = tensor(1.0, grad=True)
    y = x
    for _ in range(60):
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.item() == 1.0


def test_graphs_are_freed():
    x = ones(3, grad=True)
    node = weakref.ref((x * x).grad_fn)
    assert node() is None
    y = x * 2
    y = y.mul_(x)
    z = y * y
    y.add_(z)
    alive = weakref.ref(x)
    del x, y, z
    gc.collect()
    assert alive() is None


# Hooks.


def test_hooks_see_and_replace_gradients():
    x = ones(3, grad=True)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(("y", values(g))))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(("x", values(g))))
    handle = x.register_hook(lambda g: g * 0)
    y.sum().backward()
    assert seen == [("y", [1, 1, 1]), ("x", [20, 20, 20])] and values(x.grad) == [0, 0, 0]
    handle.remove()
    handle.remove()
    (x * 1).sum().backward()
    assert values(x.grad) == [1, 1, 1]
    with x.register_hook(lambda g: g * 0):
        (x * 1).sum().backward()
    assert values(x.grad) == [1, 1, 1]


def test_hooks_run_once_with_the_whole_gradient():
    x = ones(3, grad=True)
    seen = []
    x.register_hook(lambda g: seen.append(values(g)))
    (x * 2 + x * 3).sum().backward()
    assert seen == [[5, 5, 5]]
    y = x * 2
    y.register_hook(lambda g: seen.append(values(g)))
    ferrograd.autograd.grad((y + y * 3).sum(), y)
    assert seen[1:] == [[4, 4, 4]]


def test_an_exception_in_a_hook_passes_as_it_is():
    class Custom(Exception):
        pass

    a, b = ones(3, grad=True), ones(3, grad=True)

    def fail(g):
        raise Custom("stop")

    a.register_hook(fail)
    y = a * b
    with pytest.raises(Custom, match="stop"):
        y.sum().backward()
    assert a.grad is None
    y = b * 2
    y.register_hook(fail)
    with pytest.raises(Custom):
        (y + b).sum().backward()
    assert b.grad is None


def test_what_hooks_may_not_return():
    x = ones(3, grad=True)
    with x.register_hook(lambda g: 3), pytest.raises(TypeError, match="expected Variable, but hook returned 'int'"):
        x.sum().backward()
    with x.register_hook(lambda g: ones(2)), pytest.raises(RuntimeError, match="changed the size"):
        x.sum().backward()
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        ones(3).register_hook(print)


# Modes.


def test_modes_as_contexts_and_decorators():
    x = ones(3, grad=True)
    with ferrograd.no_grad():
        assert not ferrograd.is_grad_enabled() and not (x * 2).requires_grad
        with ferrograd.enable_grad():
            assert (x * 2).requires_grad
        assert not ferrograd.is_grad_enabled()
    assert (x * 2).requires_grad

    @ferrograd.no_grad()
    def with_call():
        return ferrograd.is_grad_enabled()

    @ferrograd.no_grad
    def without_call():
        return ferrograd.is_grad_enabled()

    @ferrograd.inference_mode
    def inference():
        return ferrograd.is_inference_mode_enabled()

    assert (with_call(), without_call(), inference(), ferrograd.is_grad_enabled()) == (False, False, True, True)
    with pytest.raises(ValueError), ferrograd.no_grad():
        raise ValueError
    assert ferrograd.is_grad_enabled()


def test_generators_leave_the_callers_mode_alone():
    @ferrograd.no_grad()
    def generator():
        inside = [ferrograd.is_grad_enabled()]
        inside.append((yield inside[0]))
        inside.append(ferrograd.is_grad_enabled())
        try:
            yield
        except KeyError:
            inside.append(ferrograd.is_grad_enabled())
        return inside

    running = generator()
    assert next(running) is False and ferrograd.is_grad_enabled()
    running.send("sent")
    with pytest.raises(StopIteration) as stopped:
        running.throw(KeyError())
    assert stopped.value.value == [False, "sent", False, False] and ferrograd.is_grad_enabled()


def test_set_grad_enabled_as_function_and_context():
    with ferrograd.set_grad_enabled(False):
        assert not ferrograd.is_grad_enabled()
    assert ferrograd.is_grad_enabled()
    ferrograd.set_grad_enabled(False)
    assert not ferrograd.is_grad_enabled()
    ferrograd.set_grad_enabled(True)

    @ferrograd.set_grad_enabled(False)
    def decorated():
        return ferrograd.is_grad_enabled()

    assert ferrograd.is_grad_enabled() and decorated() is False
    with pytest.raises(TypeError):
        ferrograd.set_grad_enabled(1)


def test_modes_are_per_thread():
    seen = []
    with ferrograd.no_grad():
        thread = threading.Thread(target=lambda: seen.append(ferrograd.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_inference_tensors():
    w = ones(2, grad=True)
    with ferrograd.inference_mode():
        q = ones(2) * 2
        assert q.is_inference() and not ferrograd.is_grad_enabled() and ferrograd.is_inference_mode_enabled()
        q.add_(1)
        with ferrograd.inference_mode(False):
            assert ferrograd.is_grad_enabled() and not ferrograd.is_inference_mode_enabled()
    assert not w.is_inference() and (q + w).requires_grad
    with pytest.raises(RuntimeError, match="version counter"):
        q._version
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        q.requires_grad_()
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        q.add_(1)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        (q * w).sum().backward()


def test_inference_leaves():
    """Of inference tensors alone nothing is recorded in normal mode, though they say they require a gradient."""
    with ferrograd.inference_mode():
        x = ones(2, 3).requires_grad_()
        x.resize_(1, 2)
        x.resize_as_(ones(3, 2))
        assert x.requires_grad and x.shape == (3, 2)
    for y in (x.view(-1), x.exp(), x.sum(), x.split(1)[0], ferrograd.var_mean(x)[1]):
        assert not y.requires_grad and y.is_leaf and not y._is_view()
    assert x.view(-1).is_inference() and x.requires_grad
    w = ones(3, 2, grad=True)
    (x + w + x.clone() + x.double()).sum().backward()
    assert values(x.grad) == [[3, 3]] * 3 and values(w.grad) == [[1, 1]] * 3
    for write in (lambda: x.resize_(1), lambda: ferrograd.add(ones(1), 1, out=x.view(-1))):
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
            write()


def test_what_cannot_be_deleted():
    x = ones(2, grad=True)
    with pytest.raises(RuntimeError, match="requires_grad must be a bool"):
        del x.requires_grad
    with pytest.raises(RuntimeError, match="Deleting tensor data is not allowed"):
        del x.data
    del x.grad
    assert x.grad is None and x.requires_grad


def test_gradients_of_another_dtype():
    class Third(ferrograd.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g.double() / 3

    f32, f64 = ferrograd.float32, ferrograd.float64
    x = ferrograd.ones(1, requires_grad=True)
    assert x.grad_dtype == f32 and ferrograd.arange(2).grad_dtype == ferrograd.int64
    for dtype, want in ((f32, f32), (f64, f64), (None, f64)):
        x.grad = None
        x.grad_dtype = dtype
        assert x.grad_dtype == dtype and x.detach().grad_dtype == f32
        for _ in range(2):
            Third.apply(x).backward()
        # A sum that has lost digits on the way would be another number.
        assert x.grad.dtype == want and x.grad.item() == ferrograd.tensor(1 / 3, dtype=want).mul(2).item()
        assert ferrograd.autograd.grad(Third.apply(x), x)[0].dtype == want
    with pytest.raises(RuntimeError, match="Cannot set grad_dtype to 'Float' because there is already a gradient with dtype 'double'"):
        x.grad_dtype = f32
    x.grad, x.grad_dtype = None, f64
    x.backward(ferrograd.ones(1))
    assert x.grad.dtype == f64
    with pytest.raises(RuntimeError, match="a gradient with dtype 'float' to a tensor with grad_dtype 'Double'"):
        x.grad = ferrograd.ones(1)
    with pytest.raises(RuntimeError, match="must be a torch.dtype or None, but got str"):
        x.grad_dtype = "float64"
    with pytest.raises(RuntimeError, match="can only be accessed on leaf tensors"):
        (x * 2).grad_dtype
    with pytest.raises(RuntimeError, match="can only be set on leaf tensors"):
        (x * 2).grad_dtype = f64


def test_the_order_of_gradients_in_memory_may_be_let_go():
    x, w = ones(2, 3).t().requires_grad_(), ones(3, 2)
    policy = ferrograd.autograd.enforce_grad_layout_policy

    def strides():
        x.grad = None
        (x * w).sum().backward()
        return x.grad.stride()

    with policy(False):
        assert strides() == (2, 1)
    assert strides() == (1, 3) and policy(False)(strides)() == (2, 1) and strides() == (1, 3)
    policy(False)
    assert strides() == (2, 1)
    policy(True)
    assert strides() == (1, 3)


def test_threads_share_leaves():
    x = ones(1000, grad=True)

    def work():
        for _ in range(20):
            (x * 2).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert values(x.grad) == [160] * 1000


@pytest.mark.parametrize(
    "select",
    [
        lambda x: x.sort(1),
        lambda x: x.max(1),
        lambda x: x.min(0, keepdim=True),
        lambda x: x.cummax(1),
        lambda x: x.topk(3, 1),
        lambda x: x.kthvalue(2, 1),
        lambda x: x.median(1),
        lambda x: x.mode(1),
    ],
)
def test_indices_that_were_written_to_are_refused(select):
    """Backward needs the indices that such ops answer; what the user writes there is no place to read or write at."""
    x = ferrograd.rand(5, 6, dtype=ferrograd.float64, requires_grad=True)
    found, places = select(x)
    places.fill_(10**10)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.sum().backward()
    for place in (10**10, -(10**10), 6):
        found, places = select(x)
        places.data.fill_(place)
        with pytest.raises(RuntimeError, match="out of bounds"):
            found.sum().backward()
    assert x.grad is None


def test_what_is_written_past_the_count_of_versions_is_no_bug_of_ours():
    """Errors of rules that only the user can have caused say what is wrong, not that it is to be reported."""
    x = ferrograd.rand(3, 4, requires_grad=True)
    found, places = x.sort(1)
    places.data.fill_(99)
    with pytest.raises(RuntimeError, match="^gather: index 99 is out of bounds"):
        found.sum().backward()
    mask = ferrograd.tensor([[True, False, True, False]] * 3)
    found = x.masked_select(mask)
    mask.data.fill_(True)
    with pytest.raises(RuntimeError, match="^masked_scatter: Number of elements of source < number of ones in mask"):
        found.sum().backward()
    assert x.grad is None


# Rules trust the shapes of gradients: read far beyond the end of a small one, memory is not there.
MANY = 1_200_000


def test_gradients_by_hand_must_fit():
    x = ferrograd.rand(3000, 400, requires_grad=True)
    y = x.reshape(MANY)
    few = ferrograd.ones(7)
    with pytest.raises(RuntimeError, match=r"ViewBackward0: got a gradient of shape \[7\] for output 0, expected \[1200000\]"):
        y.grad_fn(few)
    edge = ferrograd.autograd.graph.GradientEdge(y.grad_fn, 0)
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        ferrograd.autograd.backward(edge, few)
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        ferrograd.autograd.grad(edge, x, few)
    assert y.grad_fn(ferrograd.ones(MANY)).shape == x.shape
    second = ferrograd.ones(2, 3, requires_grad=True).unbind()[1].grad_fn
    with pytest.raises(RuntimeError, match=r"UnbindBackward0: got a gradient of shape \[4\] for output 0, expected \[3\]"):
        second(ferrograd.ones(4), ferrograd.ones(3))
    assert second(ferrograd.ones(3), None).tolist() == [[1.0] * 3, [0.0] * 3]


@pytest.mark.parametrize("other", [ferrograd.ones(7), ferrograd.ones(MANY, dtype=ferrograd.float64)])
def test_other_data_in_the_middle_of_a_graph(other):
    """Guards `of_other_data`: the rules before it would be run on gradients that do not fit."""
    x = ferrograd.rand(3000, 400, requires_grad=True)
    y = x.reshape(MANY)
    y.data = other
    assert y.requires_grad and y.shape == other.shape
    if other.shape == (MANY,):
        y.sum().backward()
        assert x.grad.dtype == x.dtype and x.grad.min() == x.grad.max() == 1
        return
    with pytest.raises(RuntimeError, match=r"invalid gradient at index 0 - got \[7\] but expected shape compatible with \[1200000\]"):
        y.sum().backward()
    assert x.grad is None


def test_errors_of_batched_gradients():
    x = ferrograd.tensor(3.0, requires_grad=True)
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        ferrograd.autograd.grad(x * ferrograd.ones(2), x, is_grads_batched=True)
    with pytest.raises(IndexError, match="0-d"):
        ferrograd.autograd.grad(x * x, x, ferrograd.tensor(1.0), is_grads_batched=True)


def test_arguments_that_change_nothing():
    x = ones(3, grad=True)
    with pytest.warns(FutureWarning, match="only_inputs argument is deprecated"):
        (g,) = ferrograd.autograd.grad((x * 2).sum(), x, only_inputs=False)
    assert g.tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="got 2 tensors and 1 gradients"):
        ferrograd.autograd.backward([x.sum(), x.sum()], [None])
    with ferrograd.autograd.set_multithreading_enabled(False):
        assert not ferrograd.autograd.is_multithreading_enabled()
    assert ferrograd.autograd.is_multithreading_enabled()

    @ferrograd.autograd.set_multithreading_enabled(False)
    def function():
        return ferrograd.autograd.is_multithreading_enabled()

    assert not function() and ferrograd.autograd.is_multithreading_enabled()


def test_gradients_that_lead_back_to_their_leaf_are_warned_of_once():
    program = """
import warnings
import ferrograd
x = ferrograd.ones(2, requires_grad=True)
for _ in range(2):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ferrograd.autograd.grad((x * x).sum(), x, create_graph=True)
        (x * x).sum().backward(create_graph=True)
    print([str(warning.message)[:44] for warning in caught])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.splitlines() == ["['Using backward() with create_graph=True will']", "[]"], result.stderr


def test_gradients_by_name():
    a, b = (ferrograd.ones(2, requires_grad=True) for _ in range(2))
    named = ferrograd.autograd.grad((a * 2 + b * 3).sum(), {"a": a, "b": b})
    assert list(named) == ["a", "b"] and named["a"].tolist() == [2, 2] and named["b"].tolist() == [3, 3]
    named = ferrograd.autograd.grad(a * 2, {"b": b, "a": a}, ferrograd.ones(3, 2), is_grads_batched=True, allow_unused=True)
    assert list(named) == ["b", "a"] and named["b"] is None and named["a"].shape == (3, 2)
    with pytest.raises(RuntimeError, match="cannot be empty"):
        ferrograd.autograd.grad(a.sum(), {})
    with pytest.raises(RuntimeError, match="all inputs have to be Tensors"):
        ferrograd.autograd.grad(a.sum(), {"a": 3})


def leaf(*values):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=True)


def test_a_leaf_that_no_longer_wants_a_gradient_gets_none():
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    x.requires_grad_(False)
    y.backward()
    assert x.grad is None and w.grad.item() == 2


def test_gradients_of_the_other_complex_width():
    z = ferrograd.ones(2, dtype=ferrograd.complex128, requires_grad=True)
    (g,) = ferrograd.autograd.grad(z.sum(), z, ferrograd.tensor(1j))
    assert g.dtype == ferrograd.complex128 and g.tolist() == [1j, 1j]
    with pytest.raises(RuntimeError, match="both grad_output and output are required to have the same dtype"):
        ferrograd.autograd.grad(z.sum(), z, ferrograd.tensor(1.0))


def test_old_name_of_the_gradients_given():
    x = leaf(2.0)
    with pytest.warns(FutureWarning, match="`grad_variables` is deprecated. Use `grad_tensors` instead."):
        ferrograd.autograd.backward((x * 3).sum(), grad_variables=ferrograd.tensor(2.0))
    assert x.grad.item() == 6


def test_inference_mode_records_nothing_at_all():
    x = leaf(2.0)
    y = (x * x).sum()
    with ferrograd.inference_mode():
        with ferrograd.enable_grad():
            z = ferrograd.ones(2, requires_grad=True) * 2
            assert not z.requires_grad and z.is_inference() and not (x * 2).requires_grad and ferrograd.is_grad_enabled()
        (g,) = ferrograd.autograd.grad(y, x, create_graph=True)
    assert g.item() == 4 and not g.requires_grad


def test_decorated_classes():
    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):

        @ferrograd.no_grad()
        class C:
            def __init__(self):
                self.recorded = ferrograd.is_grad_enabled()

    assert not C().recorded


def test_lost_gradients_are_warned_of_once():
    code = """
import warnings
import ferrograd
x = ferrograd.ones(2, requires_grad=True)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    float(x.detach()[0]), x[0].item(), int(x[0]), bool(x[0]), x.tolist()
    with ferrograd.no_grad():
        float(x[0])
    assert not seen
    float(x[0]), complex(x[1]), float(x.sum())
assert [w.category for w in seen] == [UserWarning] and "Consider using tensor.detach() first" in str(seen[0].message)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_nodes():
    x = leaf(1.0, 2.0)

    def names(y):
        return (type(y.grad_fn).__name__, y.grad_fn.name())

    def written(f):
        y = x * 1
        f(y)
        return names(y)

    assert written(lambda y: y[:1].mul_(2)) == ("CopySlices", "torch::autograd::CopySlices")
    assert written(lambda y: y.copy_(x)) == ("CopyBackwards", "torch::autograd::CopyBackwards")
    assert written(lambda y: y.__setitem__(slice(None), x))[0] == "CopyBackwards"
    assert written(lambda y: y.__setitem__(..., 1))[0] == "FillBackward3"
    assert written(lambda y: y.fill_(1))[0] == "FillBackward2"
    assert written(lambda y: y.fill_(x.sum()))[0] == "FillBackward3"
    assert names(x // 2) == ("NotImplemented", "torch::autograd::NotImplemented")
    assert [names(y)[0] for y in (x % 2, x % x, x.fmod(2), x.fmod(x))] == [
        "RemainderBackward0",
        "RemainderBackward1",
        "FmodBackward0",
        "FmodBackward1",
    ]
    number = ferrograd.tensor(1.0, requires_grad=True)
    results = number.roll(1), number.gather(0, ferrograd.tensor(0))
    assert [(names(y)[0], y._is_view()) for y in results] == [("RollBackward0", False), ("GatherBackward0", False)]
    assert [ferrograd.autograd.grad(y, number)[0].item() for y in results] == [1, 1]
    many = number.gather(0, ferrograd.tensor([0, 0]))
    assert ferrograd.autograd.grad(many, number, ferrograd.tensor([2.0, 3.0]))[0].item() == 5


def class_numbers(*shape):
    return ferrograd.zeros(*shape, dtype=ferrograd.int64)


# Their gradients are the same wherever x, of shape (2, 3, 4), moves.
FLAT = {
    "max_pool1d": lambda x: F.max_pool1d(x, 2),
    "max_pool2d": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "max_pool3d": lambda x: F.max_pool3d(x[None], 2),
    "max_unpool1d": lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2),
    "avg_pool1d": lambda x: F.avg_pool1d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
    "avg_pool3d": lambda x: F.avg_pool3d(x[None], 2),
    "adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(x, 2),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 2),
    "adaptive_max_pool3d": lambda x: F.adaptive_max_pool3d(x[None], 2),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 2),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(x[None], 2),
    "fractional_max_pool2d": lambda x: F.fractional_max_pool2d(x, 2, 2),
    "fractional_max_pool3d": lambda x: F.fractional_max_pool3d(x[None], (1, 2, 2), 1),
    "interpolate": lambda x: F.interpolate(x, scale_factor=0.5, mode="area"),
    "pad, reflect": lambda x: F.pad(x, (1, 2, 1, 0), mode="reflect"),
    "pad, replicate": lambda x: F.pad(x, (1, -1), mode="replicate"),
    "stft": lambda x: x[0].stft(4, window=ferrograd.ones(4, dtype=x.dtype), return_complex=True).real,
    "nll_loss": lambda x: F.nll_loss(x[0], class_numbers(3)),
    "nll_loss2d": lambda x: F.nll_loss(x, class_numbers(2, 4), reduction="none"),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "rrelu_": lambda x: F.rrelu_(x.clone(), training=True),
    "norm, 1": lambda x: x.norm(1),
    "norm, inf": lambda x: x.norm(float("inf"), 1),
    "vector_norm": lambda x: ferrograd.linalg.vector_norm(x, -float("inf"), (0, 2)),
    "matrix_norm": lambda x: ferrograd.linalg.matrix_norm(x, 1),
    "dist": lambda x: x.dist(x.detach() + 1, 1),
    "pairwise_distance": lambda x: F.pairwise_distance(x, x.detach() * 2, p=1),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x.detach() + 1, x.detach() - 1, p=1),
    "fmod": lambda x: ferrograd.fmod(ferrograd.ones_like(x), x),
    "remainder": lambda x: ferrograd.remainder(ferrograd.ones_like(x), x),
}


@pytest.mark.parametrize("name", FLAT)
def test_second_derivatives_of_what_is_flat_are_zeros(name):
    x = ferrograd.arange(1.0, 25.0, dtype=ferrograd.float64).view(2, 3, 4).sin().requires_grad_()
    (g,) = ferrograd.autograd.grad(FLAT[name](x).sum(), x, create_graph=True)
    assert g.requires_grad and not g.eq(0).all()
    (h,) = ferrograd.autograd.grad((g * g.detach()).sum(), x)
    assert h.shape == x.shape and h.eq(0).all()


# In torch other ops make these, whose gradients depend on nothing.
@pytest.mark.parametrize("f", [lambda x: F.pad(x, (1, 2), mode="circular"), lambda x: F.adaptive_avg_pool2d(x, 1)])
def test_gradients_off_the_tape(f):
    x = ferrograd.ones(2, 3, 4, requires_grad=True)
    (g,) = ferrograd.autograd.grad(f(x).sum(), x, create_graph=True)
    assert not g.requires_grad


def test_second_derivatives_by_what_comes_before_a_flat_op():
    w = ferrograd.ones(4, requires_grad=True)
    x = ferrograd.arange(4.0, requires_grad=True)
    (g,) = ferrograd.autograd.grad(F.max_pool1d((w * x * x)[None], 2).sum(), x, create_graph=True)
    assert ferrograd.autograd.grad(g.sum(), [w, x])[0].tolist() == [0, 2, 0, 6]
    weight = ferrograd.tensor([0.25], requires_grad=True)
    (g,) = ferrograd.autograd.grad(F.prelu(x - 2, weight).sum(), weight, create_graph=True)
    assert [h.tolist() for h in ferrograd.autograd.grad(g.sum(), [x, weight])] == [[1, 1, 0, 0], [0]]


def test_what_is_no_tensor_is_refused_by_the_place_that_it_is_in():
    x = ferrograd.ones(2, requires_grad=True)
    y = x.sum()
    for inputs in (["a"], "a", [None], [[x]]):
        with pytest.raises(RuntimeError, match="all inputs have to be Tensors or GradientEdges, but got"):
            ferrograd.autograd.grad(y, inputs)
        with pytest.raises(RuntimeError, match="all inputs have to be Tensors or GradientEdges, but got"):
            y.backward(inputs=inputs)
    for grads in ("a", ["a"], [3], 3):
        with pytest.raises(TypeError, match="gradients can be either Tensors or None, but got"):
            ferrograd.autograd.grad(y, x, grads)
    for wrong in (3, None):
        with pytest.raises(TypeError):
            ferrograd.autograd.grad(wrong, x)
        with pytest.raises(TypeError):
            ferrograd.autograd.grad(y, wrong)


def test_tensors_can_be_exchanged():
    a, b = ferrograd.tensor([1.0, 2.0], requires_grad=True), ferrograd.zeros(3)
    a.grad, a.name_of_mine = ferrograd.ones(2), "a"
    y = a * 2
    swap_tensors(a, b)
    assert a.tolist() == [0.0, 0.0, 0.0] and not a.requires_grad and a.grad is None and not hasattr(a, "name_of_mine")
    assert b.tolist() == [1.0, 2.0] and b.requires_grad and b.grad.tolist() == [1.0, 1.0] and b.name_of_mine == "a"
    assert y.grad_fn.next_functions[0][0].variable is b
    y.sum().backward()
    assert b.grad.tolist() == [3.0, 3.0] and a.grad is None
    c, d = b * 3, ferrograd.ones(2)
    node = c.grad_fn
    swap_tensors(c, d)
    assert c.grad_fn is None and d.grad_fn is node and c.tolist() == [1.0, 1.0]
    parameter = ferrograd.nn.Parameter(ferrograd.ones(1))
    swap_tensors(parameter, d)
    assert type(d) is ferrograd.nn.Parameter and d.is_leaf and type(parameter) is ferrograd.Tensor and parameter.grad_fn is node
    swap_tensors(d, d)
    assert d.tolist() == [1.0]
    reference = weakref.ref(d, lambda _: None)
    with pytest.raises(RuntimeError, match="Cannot swap t2 because it has weakref associated with it"):
        swap_tensors(a, d)
    assert reference() is d and d.tolist() == [1.0]


def test_private_names_of_grad_and_grad_fn():
    x = ferrograd.ones(2, requires_grad=True)
    x._grad = ferrograd.full((2,), 3.0)
    assert x.grad.tolist() == [3, 3] and x._grad is x.grad
    del x._grad
    y = x * 2
    assert x.grad is None and x._grad_fn is None and y._grad_fn == y.grad_fn
    with pytest.raises(RuntimeError, match="_grad_fn can be only set to None"):
        y._grad_fn = y.grad_fn
    with pytest.raises(RuntimeError, match="Deletion of _grad_fn not allowed"):
        del y._grad_fn
    y._grad_fn = None
    assert y.grad_fn is None and not y.requires_grad


def test_what_was_detached_in_place_is_a_leaf_like_others():
    """Truncated backpropagation: the state goes on, its history does not."""
    h, w = ones(2), ones(2, grad=True)
    for _ in range(3):
        h = h * w * 2
        h.sum().backward()
        h.detach_()
    assert values(w.grad) == [2 + 4 + 8] * 2
    x = ones(2, grad=True)
    y = x * 3
    z = y * y
    y.detach_().requires_grad_()
    (y * y).sum().backward()
    assert values(y.grad) == [6, 6] and x.grad is None
    with pytest.raises(RuntimeError, match="detached in-place"):
        z.sum().backward()


def test_ops_are_run_also_for_leaves_that_are_frozen():
    x = ones(2, grad=True)
    y, z = x.exp(), x.exp()
    x.requires_grad_(False)
    y.sum().backward()
    assert x.grad is None
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
