"""Operations of one's own: autograd.Function in its static, its separate and its first form."""

import gc
import itertools
import traceback
import weakref

import pytest

import ferrograd
from ferrograd.autograd import Function, grad
from ferrograd.autograd.function import FunctionCtx, once_differentiable


def leaf(*values):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=True)


def function(forward, backward, name="Own", **others):
    """A Function of two plain functions."""
    return type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward), **others})


def doubling(backward):
    return function(lambda ctx, x: x * 2, backward)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2


def test_forward_and_backward():
    x = leaf(1.0, 2.0)
    y = Cube.apply(x)
    assert y.grad_fn.name() == "CubeBackward" and type(y.grad_fn).__name__ == "CubeBackward"
    assert repr(y).endswith("grad_fn=<CubeBackward>)")
    assert y.grad_fn.next_functions[0][0].variable is x
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]


def test_the_backward_is_differentiable():
    x = leaf(1.0, 2.0)
    (first,) = grad(Cube.apply(x).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    assert second.tolist() == [6.0, 12.0]
    (third,) = grad(second.sum(), x)
    assert third.tolist() == [6.0, 6.0]


def test_saved_outputs_are_differentiable():
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    Exp = function(forward, lambda ctx, g: g * ctx.saved_tensors[0])
    x = leaf(0.5)
    y = Exp.apply(x)
    assert y.grad_fn.saved_tensors[0].grad_fn is y.grad_fn
    (first,) = grad(y, x, create_graph=True)
    assert grad(first, x)[0].item() == pytest.approx(y.item())


def test_arguments_that_are_no_tensors():
    Scale = function(lambda ctx, x, k, name=None: (setattr(ctx, "k", k), x * k)[1], lambda ctx, g: (g * ctx.k, None))
    x = leaf(1.0)
    Scale.apply(x, 3).backward()
    assert x.grad.item() == 3
    assert Scale.apply(x, 3).grad_fn.k == 3
    with pytest.raises(RuntimeError, match=r"incorrect number of gradients \(expected 3, got 2\)"):
        Scale.apply(x, 3, name="x").backward()


def test_setup_context():
    class Mul(Function):
        @staticmethod
        def forward(a, b=2):
            assert not ferrograd.is_grad_enabled()
            return a * b

        @staticmethod
        def setup_context(ctx, inputs, output):
            assert inputs[1] == 2 and not output.requires_grad
            ctx.b = inputs[1]

        @staticmethod
        def vjp(ctx, g):
            return g * ctx.b, None

    x = leaf(1.0, 4.0)
    Mul.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(TypeError):
        Mul.apply(x, c=1)


def test_needs_input_grad():
    seen = []
    F = function(lambda ctx, *args: (seen.append(ctx.needs_input_grad), args[0] * 1)[1], lambda ctx, *g: (None, None, None))
    x, y = leaf(1.0), ferrograd.ones(1)
    F.apply(x, y, 3)
    with ferrograd.no_grad():
        assert not F.apply(x, y, 3).requires_grad
    assert seen == [(True, False, False)] * 2


@pytest.mark.parametrize(
    "answer, text",
    [
        (lambda g: (g, g), r"incorrect number of gradients \(expected 1, got 2\)"),
        (lambda g: (), r"incorrect number of gradients \(expected 1, got 0\)"),
        (lambda g: 3, r"expected Variable or None \(got int\)"),
        (lambda g: [g], r"expected Variable or None \(got list\)"),
        (lambda g: ferrograd.ones(3), r"invalid gradient at index 0 - got \[3\] but expected shape compatible with \[2\]"),
    ],
)
def test_wrong_gradients(answer, text):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=text):
        doubling(lambda ctx, g: answer(g)).apply(x).sum().backward()
    assert x.grad is None


def test_gradient_of_what_is_no_tensor():
    F = function(lambda ctx, x, k: x * k, lambda ctx, g: (g, g))
    with pytest.raises(RuntimeError, match="different than None at position 2"):
        F.apply(leaf(1.0), 3).backward()


def test_gradients_that_nobody_wants_may_be_of_any_shape():
    F = function(lambda ctx, x, y: x * y, lambda ctx, g: (ferrograd.ones(5), g * 2))
    y = leaf(1.0, 2.0)
    F.apply(ferrograd.ones(2), y).sum().backward()
    assert y.grad.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match=r"expected Variable or None \(got str\)"):
        function(lambda ctx, x, y: x * y, lambda ctx, g: ("wrong", g)).apply(ferrograd.ones(2), y).sum().backward()


def test_gradients_are_fitted():
    x = leaf(1.0, 2.0)
    doubling(lambda ctx, g: (ferrograd.ones(3, 2, dtype=ferrograd.int64), None)).apply(x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and x.grad.dtype == ferrograd.float64


def test_none_is_no_gradient():
    x = leaf(1.0)
    doubling(lambda ctx, g: None).apply(x).backward()
    assert x.grad is None
    y = leaf(1.0)
    (doubling(lambda ctx, g: None).apply(x) * y).backward()
    assert x.grad is None and y.grad.item() == 2


def test_functions_below_one_without_gradient_get_zeros():
    seen = []

    class Nothing(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return None

    class Same(Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            seen.append(g)
            return g, None

    x = leaf(1.0, 2.0)
    Nothing.apply(Same.apply(x, True)).sum().backward()
    assert seen[0].tolist() == [0, 0] and x.grad.tolist() == [0, 0]
    x.grad = None
    Nothing.apply(Same.apply(x * 2, False)).sum().backward()
    assert seen[1] is None and x.grad is None


def test_outputs_that_are_no_tensors():
    seen = []
    F = function(
        lambda ctx, x: (x * 2, 5, None, x.detach().long(), x > 0),
        lambda ctx, *g: seen.append([None if item is None else (item.dtype, item.tolist()) for item in g]),
    )
    y, five, none, whole, positive = F.apply(leaf(1.0))
    assert (five, none, whole.requires_grad, positive.requires_grad) == (5, None, False, False)
    y.backward()
    assert seen == [[(ferrograd.float64, [1.0]), None, None, (ferrograd.int64, [0]), (ferrograd.bool, [False])]]
    assert function(lambda ctx, x: 3, None).apply(leaf(1.0)) == 3


def test_gradients_of_unused_outputs():
    seen = []

    def backward(ctx, *grads):
        seen.append([g if g is None else g.tolist() for g in grads])
        return grads[1]

    def forward(ctx, x, materialize):
        ctx.set_materialize_grads(materialize)
        return x * 2, x * 3

    for materialize in (True, False):
        function(forward, lambda ctx, *g: (backward(ctx, *g), None)).apply(leaf(1.0), materialize)[1].backward()
    assert seen == [[[0.0], [1.0]], [None, [1.0]]]


def test_mark_non_differentiable():
    def forward(ctx, x):
        y = x * 2
        ctx.mark_non_differentiable(y)
        return y, x * 3

    a, b = function(forward, lambda ctx, g, h: g + h).apply(leaf(1.0))
    assert not a.requires_grad and b.requires_grad


def test_an_input_that_is_returned():
    x = leaf(1.0)
    y = function(lambda ctx, x: x, lambda ctx, g: g * 3).apply(x)
    assert y is not x and y._is_view() and y._base is x
    y.backward()
    assert x.grad.item() == 3
    with pytest.raises(RuntimeError, match="Output 0 of Own is a view and is being modified inplace. This view was created inside a custom"):
        y.mul_(2)
    with ferrograd.no_grad():
        y = function(lambda ctx, x: x, None).apply(x)
        assert y is not x and not y.requires_grad
        # A view that it makes itself is as any other.
        y = function(lambda ctx, x: x[:], None).apply(x)
        assert y._base is x and y.requires_grad and y.requires_grad == x[:].requires_grad
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode"):
        y.zero_()


def test_an_input_that_is_returned_and_saved():
    """Guards that it is saved as the input: the derivative of the backward does not pass through the backward again."""

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        saved.append(x.is_leaf and x.requires_grad)
        return g * x**2

    saved = []
    x = leaf(3.0)
    y = function(forward, backward).apply(x)
    (first,) = grad(y, x, create_graph=True)
    assert first.item() == 9 and grad(first, x)[0].item() == 6 and saved == [True]


def test_views_of_inputs():
    x = leaf(1.0, 2.0)
    y = function(lambda ctx, x: x.view(-1), lambda ctx, g: g * 5).apply(x.clone())
    assert y.grad_fn.name() == "OwnBackward"
    assert grad(y.sum(), x)[0].tolist() == [5.0, 5.0]
    with pytest.raises(RuntimeError, match="inside a custom Function"):
        y.mul_(2)
    y, _ = function(lambda ctx, x: (x.view(-1), x * 1), lambda ctx, g, h: g * 5).apply(x.clone())
    with pytest.raises(RuntimeError, match="a function that returns multiple views"):
        y.mul_(2)


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_views_of_inputs_without_gradient_that_are_written_to():
    F = function(lambda ctx, x, k: k, lambda ctx, g: (g, None))
    k = ferrograd.ones(2, dtype=ferrograd.float64)
    y = F.apply(leaf(1.0, 2.0), k)
    k.mul_(2)
    assert y.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="This view was created inside a custom Function"):
        y.sum().backward()


def test_mark_dirty():
    x = leaf(1.0, 2.0)
    y = x.clone()
    z = Doubled.apply(y)
    assert z is y and y.grad_fn.name() == "DoubledBackward" and y._version == 2
    assert grad(y.sum(), x)[0].tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad has been used in an in-place operation"):
        Doubled.apply(leaf(1.0))


def test_mark_dirty_of_a_view():
    x = leaf(1.0, 2.0, 3.0)
    base = x.clone()
    view = base[:2]
    assert Doubled.apply(view) is view
    assert base.tolist() == [2.0, 4.0, 3.0] and base.grad_fn.name() == "torch::autograd::CopySlices"
    assert grad((base * base).sum(), x)[0].tolist() == [8.0, 16.0, 6.0]
    F = function(lambda ctx, x: (ctx.mark_dirty(x), (x, x * 1))[1], None)
    with pytest.raises(RuntimeError, match="your Function cannot return more than one Tensor"):
        F.apply(x.clone()[1:])


def test_dirty_tensors_must_be_returned():
    F = function(lambda ctx, x: (ctx.mark_dirty(x), x * 2)[1], None)
    with pytest.raises(RuntimeError, match="must all be outputs of the Function"):
        F.apply(leaf(1.0).clone())


def test_saved_tensors_are_checked():
    x = leaf(1.0)
    z = x * 1
    y = Cube.apply(z)
    z.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation: \[torch.DoubleTensor \[1\]\], which is output 0 of Add, is at version 1; expected version 0"):
        y.backward()
    with pytest.raises(TypeError, match="save_for_backward can only save variables, but argument 1 is of type int"):
        function(lambda ctx, x: (ctx.save_for_backward(x, 3), x * 1)[1], None).apply(x)
    F = function(lambda ctx, x: (ctx.save_for_backward(None, x), x * 1)[1], lambda ctx, g: g)
    assert F.apply(x).grad_fn.saved_tensors == (None, x)


def test_saved_tensors_are_freed():
    x = leaf(1.0)
    y = Cube.apply(x * 1)
    kept = weakref.ref(y.grad_fn.saved_tensors[0])
    y.backward(retain_graph=True)
    assert kept() is not None
    y.backward()
    gc.collect()
    assert kept() is None
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="directly access saved tensors after they have already been freed"):
        y.grad_fn.saved_tensors
    without = doubling(lambda ctx, g: g).apply(x)
    without.backward()
    without.backward()


def test_contexts_do_not_leak():
    class Thing:
        pass

    alive = []

    def forward(ctx, x):
        ctx.thing = Thing()
        alive.append(weakref.ref(ctx.thing))
        y = x * 2
        ctx.save_for_backward(x, y)
        return y

    F = function(forward, lambda ctx, g: g * 2)
    y = F.apply(leaf(1.0))
    assert alive[0]() is not None
    del y
    assert alive[0]() is None
    F.apply(leaf(1.0)).backward()
    assert alive[1]() is None


def test_exceptions_pass():
    def fail(ctx, *args):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        function(fail, None).apply(leaf(1.0))
    x, w = leaf(1.0), leaf(1.0)
    with pytest.raises(KeyError, match="mine") as caught:
        (doubling(fail).apply(x) + w * 2).backward()
    assert "fail" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert x.grad is None and w.grad is None


def test_missing_methods():
    x = leaf(1.0)
    with pytest.raises(NotImplementedError, match="must implement the forward"):
        type("F", (Function,), {}).apply(x)
    F = type("F", (Function,), {"forward": staticmethod(lambda ctx, x: x * 2)})
    with pytest.raises(NotImplementedError, match="either the backward or vjp"):
        F.apply(x).backward()
    F.vjp = F.backward = staticmethod(lambda ctx, g: g)
    with pytest.raises(RuntimeError, match="both 'backward' and 'vjp'"):
        F.apply(x).backward()


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            assert not ferrograd.is_grad_enabled()
            return g * 2

    x, weight = leaf(1.0), leaf(1.0)
    assert not grad(Once.apply(x), x, create_graph=True)[0].requires_grad
    (g,) = grad(Once.apply(x), x, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="^trying to differentiate twice a function that was marked with @once_differentiable$"):
        g.backward()
    assert g.grad_fn.name() == "torch::autograd::Error"
    Once.apply(x).backward(weight, create_graph=True)
    name = lambda node: node and node.name()
    copy = x.grad.grad_fn
    assert [name(copy)] + [name(node) for node, _ in copy.next_functions] == [
        "torch::autograd::CopyBackwards",
        None,
        "torch::autograd::Error",
    ]


def test_outputs_without_gradient_need_no_zeros():
    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            ctx._materialize_non_diff_grads = zeros
            copy = x.clone()
            ctx.mark_non_differentiable(copy)
            return x * 2, x * 3, copy

        @staticmethod
        def backward(ctx, *grads):
            seen.append([g and g.item() for g in grads])
            return grads[0]

    for zeros, last in ((True, 0.0), (False, None)):
        seen = []
        Both.apply(leaf(1.0))[0].backward()
        assert seen == [[1.0, 0.0, last]]


def test_a_node_is_of_the_class_of_contexts():
    F = function(lambda ctx, x: x * 2, None)
    node = F.apply(leaf(1.0)).grad_fn
    assert isinstance(node, F._backward_cls) and isinstance(node, ferrograd.autograd.graph.Node)
    assert node.__class__ is F._backward_cls and (leaf(1.0) * 2).grad_fn.__class__.__name__ == "MulBackward0"


def test_save_for_forward():
    ctx = FunctionCtx()
    ctx.save_for_forward(leaf(1.0), None)
    with pytest.raises(AssertionError, match="save_for_forward expects all arguments to be tensors"):
        ctx.save_for_forward(1)


@pytest.mark.parametrize("save", [FunctionCtx.save_for_backward, FunctionCtx.save_for_forward])
@pytest.mark.parametrize("x", [leaf(1.0), ferrograd.ones(1)])
def test_returned_inputs_cannot_be_saved_separately(x, save):
    class F(Function):
        @staticmethod
        def forward(x):
            return x

        @staticmethod
        def setup_context(ctx, inputs, output):
            save(ctx, output)

    with pytest.raises(RuntimeError, match="returned as-is as output is being saved for backward"):
        F.apply(x)


class MyReLU(Function):
    """As in a notebook of torch's first years."""

    def __init__(self, slope=0.0):
        super().__init__()
        self.slope = slope

    def forward(self, input):
        self.save_for_backward(input)
        return input.clamp(min=0) + self.slope * input.clamp(max=0)

    def backward(self, grad_output):
        (input,) = self.saved_tensors
        grad_input = grad_output.clone()
        grad_input[input < 0] *= self.slope
        return grad_input


def test_the_form_with_instances():
    x = leaf(-1.0, 2.0)
    relu = MyReLU(slope=0.5)
    relu(x).sum().backward()
    assert x.grad.tolist() == [0.5, 1.0]
    # An instance may be called again while its first call is still on the tape.
    x = leaf(-1.0, 2.0)
    y = relu(relu(x))
    assert y.tolist() == [-0.25, 2.0] and y.grad_fn.name() == "MyReLUBackward"
    y.sum().backward()
    assert x.grad.tolist() == [0.25, 1.0]


def test_instances_of_static_functions():
    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        cube = Cube()
    with pytest.raises(RuntimeError, match="static method"):
        cube(leaf(1.0))


def test_complex_gradients_of_real_inputs():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g * 1j

    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="got a complex one"):
        Wrong.apply(x).backward()
    assert x.grad is None


def test_only_tensors_are_dirty():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(3)
            return x * 1

    with pytest.raises(RuntimeError, match="mark_dirty can only accept variables, but argument 0 is of type int"):
        Wrong.apply(leaf(1.0))


def test_nodes_of_functions_say_where_they_are_from():
    class Named(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    assert repr(Named.apply(leaf(1.0)).grad_fn).startswith("<torch.autograd.function.NamedBackward object at 0x")
    assert repr((leaf(1.0) * 2).grad_fn).startswith("<MulBackward0 object at 0x")
    assert leaf(1.0).log1p().grad_fn.name() == "Log1PBackward0"


def test_forward_mode_asks_jvp_first():
    """A jvp says what the derivative in forward mode is, if there is a backward, too; here they differ, to be told apart."""

    class Own(Function):
        @staticmethod
        def forward(x):
            return x**2

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return 20 * x * t

    x, v = leaf(1.0, 2.0), ferrograd.ones(2, dtype=ferrograd.float64)
    y, t = ferrograd.func.jvp(Own.apply, (x,), (v,))
    assert y.tolist() == [1, 4] and t.tolist() == [20, 40]
    assert grad(t.sum(), x)[0].tolist() == [20, 20]
    with pytest.raises(RuntimeError, match="does not have vmap support"):
        ferrograd.func.jacfwd(Own.apply)(x)
    Mapped = type("Mapped", (Own,), {"generate_vmap_rule": True})
    assert ferrograd.func.jacfwd(Mapped.apply)(x).diag().tolist() == [20, 40]
    assert ferrograd.func.jacrev(Own.apply)(x).diag().tolist() == [2, 4]
    assert grad(Own.apply(x).sum(), x)[0].tolist() == [2, 4]


def test_forward_mode_needs_jvp():
    """That of the backward's derivative would do, but for what is differentiable once."""
    x = ferrograd.ones(2)
    members = {
        "forward": staticmethod(lambda x: x * 2),
        "setup_context": staticmethod(lambda ctx, inputs, output: None),
        "backward": staticmethod(lambda ctx, g: g * 2),
        "generate_vmap_rule": True,
    }
    Double = type("Double", (Function,), members)
    for call in (
        lambda: ferrograd.func.jvp(Double.apply, (x,), (x,)),
        lambda: ferrograd.func.jacfwd(Double.apply)(x),
        lambda: ferrograd.func.hessian(lambda x: (Double.apply(x) ** 2).sum())(x),
        lambda: ferrograd.func.linearize(Double.apply, x),
        lambda: ferrograd.autograd.functional.jacobian(Double.apply, x, vectorize=True, strategy="forward-mode"),
    ):
        with pytest.raises(NotImplementedError, match="implement the jvp function"):
            call()
    assert ferrograd.autograd.functional.jvp(Double.apply, x, x)[1].tolist() == [2, 2]
    Once = type("Once", (Double,), {"backward": staticmethod(once_differentiable(lambda ctx, g: g * 2))})
    with pytest.raises(RuntimeError, match="once_differentiable"):
        ferrograd.autograd.functional.jvp(Once.apply, x, x)
    WithJvp = type("WithJvp", (Once,), {"jvp": staticmethod(lambda ctx, t: t * 2)})
    assert ferrograd.func.jvp(WithJvp.apply, (x,), (x,))[1].tolist() == [2, 2]


class Product(Function):
    """x y + n, with a rule for batches."""

    calls = []

    @staticmethod
    def forward(x, y, n=1):
        return x * y + n, x + y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        return g * y + h, g * x + h, None

    @staticmethod
    def vmap(info, in_dims, x, y, n):
        Product.calls.append((info.randomness, in_dims))
        x, y = (t if dim is None else t.movedim(dim, -1) for t, dim in zip((x, y), in_dims))
        product, total = Product.apply(x, y, n)
        return (product, total), (-1, product.dim() - 1)


def test_vmap_asks_the_function_for_its_rule():
    func = ferrograd.func
    Product.calls.clear()
    x, y = ferrograd.arange(6.0).view(2, 3), ferrograd.ones(3) * 2
    product, total = func.vmap(lambda x: Product.apply(x[0], y[0]))(x)
    assert product.tolist() == [1, 7] and total.tolist() == [2, 5]
    assert set(Product.calls) == {("error", (0, None, None))}
    product = func.vmap(lambda x, y: Product.apply(x[0], y, 5)[0], in_dims=(1, 0), randomness="same")(x, y)
    assert product.tolist() == [5, 7, 9]
    assert Product.calls[-1] == ("same", (0, 0, None))
    # Derivatives within, around, and of what is not of a sample at all.
    assert func.vmap(func.grad(lambda x: Product.apply(x, x)[0]))(y).tolist() == [4, 4, 4]
    assert func.grad(lambda x: func.vmap(lambda x: Product.apply(x, x)[0])(x).sum())(y).tolist() == [4, 4, 4]
    calls = len(Product.calls)
    assert func.vmap(lambda x: x + Product.apply(y[0], y[0])[1])(y).tolist() == [6, 6, 6]
    assert len(Product.calls) == calls
    del Product.calls[:]
    within = func.vmap(lambda a: func.vmap(lambda b: Product.apply(a, b + 0 * a)[0])(y))(y)
    assert within.tolist() == [[5, 5, 5]] * 3
    # Each map asks about the operands that are its own.
    assert set(Product.calls) == {("error", (None, 0, None)), ("error", (0, 0, None))}
    del Product.calls[:]
    func.vmap(lambda a: func.vmap(lambda b: b + Product.apply(a, y[0])[0])(y))(y)
    assert set(Product.calls) == {("error", (0, None, None))}


def batch_function(rule, **members):
    """x², that of a batch by this rule."""
    members = {
        "forward": staticmethod(lambda x: x**2),
        "setup_context": staticmethod(lambda ctx, inputs, output: ctx.save_for_backward(*inputs)),
        "backward": staticmethod(lambda ctx, g: 2 * ctx.saved_tensors[0] * g),
        "vmap": staticmethod(rule),
        **members,
    }
    return type("Square", (Function,), members)


def test_a_rule_for_batches_is_asked_once_for_all_samples():
    func, x, asked = ferrograd.func, ferrograd.arange(6.0).view(2, 3), []

    def rule(info, in_dims, x):
        asked.append((info.batch_size, in_dims, tuple(x.shape)))
        # What depends on all samples is seen by all.
        return (x - x.max()) ** 2, in_dims[0]

    Square = batch_function(rule)

    def asks(f, *args):
        asked.clear()
        return f(*args).tolist()

    assert asks(func.vmap(Square.apply), x) == [[25, 16, 9], [4, 1, 0]] and asked == [(2, (0,), (2, 3))]
    assert asks(func.vmap(Square.apply, in_dims=1), x) == [[25, 4], [16, 1], [9, 0]] and asked == [(3, (1,), (2, 3))]
    assert asks(func.vmap(Square.apply, chunk_size=1), x) == [[4, 1, 0], [4, 1, 0]] and asked == [(1, (0,), (1, 3))] * 2
    assert asks(func.vmap(lambda x: Square.apply(Square.apply(x + 1) + 1)), x)[1] == [441, 576, 625] and len(asked) == 2
    assert asks(func.vmap(func.vmap(Square.apply)), x) == [[4, 1, 0], [4, 1, 0]]
    assert asked == [(3, (0,), (3,))] * 2
    # Within derivatives, and around them.
    assert asks(func.vmap(func.grad(lambda x: (2 * Square.apply(x + 0)).sum())), x) == (4 * x).tolist() and len(asked) == 1
    assert asks(func.grad(lambda x: func.vmap(lambda x: Square.apply(x * 2)[0])(x[:, :2]).sum()), x) == [[-32, 0, 0], [-8, 40, 0]]
    y = x.clone().requires_grad_()
    func.vmap(lambda x: Square.apply(x * 2)[0])(y[:, :2]).sum().backward()
    assert y.grad.tolist() == [[-32, 0, 0], [-8, 40, 0]]


def test_a_rule_for_batches_of_none():
    asked = []
    Square = batch_function(lambda info, in_dims, x: (asked.append((info.batch_size, tuple(x.shape))), (x**2, 0))[1])
    assert ferrograd.func.vmap(Square.apply)(ferrograd.ones(0, 3)).shape == (0, 3)
    assert asked == [(0, (0, 3))]


def test_a_rule_for_batches_is_outside_of_the_map():
    """It draws as there, and may write to tensors from there; samples are as they were when they are gone through once more."""
    func, x, total, count = ferrograd.func, ferrograd.arange(6.0).view(2, 3), ferrograd.zeros(3), ferrograd.zeros(())

    def rule(info, in_dims, x):
        total.add_(x.sum(0))
        return (x + ferrograd.rand(3), ferrograd.ones(2)), (0, None)

    Noisy = batch_function(rule)

    def f(x):
        x.add_(1)
        count.add_(1)
        y, one = Noisy.apply(x)
        return y + one.sum()

    batch = x.clone()
    ferrograd.manual_seed(0)
    y = func.vmap(f)(batch)
    ferrograd.manual_seed(0)
    assert y.equal(x + 1 + ferrograd.rand(3) + 2)
    assert batch.equal(x + 1) and total.tolist() == [5, 7, 9] and count.item() == 1
    none = func.vmap(lambda x: Noisy.apply(x)[1], out_dims=None)(x)
    assert none.tolist() == [1, 1]
    # Between draws of the samples' own, which are not drawn once more.
    for randomness in ("same", "different"):
        ferrograd.manual_seed(0)
        y = func.vmap(lambda x: ferrograd.rand(3) + Noisy.apply(x)[0] + ferrograd.rand(3), randomness=randomness)(x)
        ferrograd.manual_seed(0)
        sizes = (2, 3) if randomness == "different" else (3,)
        first, own, last = ferrograd.rand(sizes), ferrograd.rand(3), ferrograd.rand(sizes)
        assert y.equal(first + (x + own) + last)


def test_a_rule_for_batches_writes_in_place():
    func, x = ferrograd.func, ferrograd.arange(6.0).view(2, 3)
    members = {
        "forward": staticmethod(lambda x: x.mul_(2)),
        "setup_context": staticmethod(lambda ctx, inputs, output: ctx.mark_dirty(*inputs)),
        "backward": staticmethod(lambda ctx, g: g * 2),
    }
    Double = batch_function(lambda info, in_dims, x: (x.mul_(2), in_dims[0]), **members)
    for dim in (0, 1):
        batch = x.clone()
        same = []
        y = func.vmap(lambda x: (same.append(Double.apply(x.add_(1)) is x), x)[1], dim, dim)(batch)
        assert y.equal(2 * (x + 1)) and batch.equal(y) and same[-1]
    assert func.vmap(lambda x: (y := x + 1, Double.apply(y), y * 1)[-1])(x).equal(2 * (x + 1))
    assert func.vmap(func.grad(lambda x: Double.apply(x * x).sum()))(x).equal(4 * x)
    assert func.grad(lambda x: func.vmap(lambda x: Double.apply(x * x))(x).sum())(x).equal(4 * x)


def test_a_rule_for_batches_gets_what_is_given_by_name():
    x = ferrograd.arange(3.0)
    rule = lambda info, in_dims, x, *, power: (x**power, 0)
    Power = batch_function(rule, forward=staticmethod(lambda x, *, power=2: x**power))
    assert ferrograd.func.vmap(Power.apply)(x).tolist() == [0, 1, 4]
    assert ferrograd.func.vmap(lambda x: Power.apply(x, power=3))(x).tolist() == [0, 1, 8]
    with pytest.raises(NotImplementedError, match="kwarg-only Tensor args"):
        ferrograd.func.vmap(lambda x: Power.apply(x, power=ferrograd.ones(())))(x)


def test_samples_that_do_not_come_to_a_rule_for_batches():
    asked = []
    Square = batch_function(lambda info, in_dims, x: (asked.append(info.batch_size), (x**2, 0))[1])
    Cube = batch_function(lambda info, in_dims, x: (asked.append(info.batch_size), (x**3, 0))[1])

    samples = itertools.cycle(range(5))

    def f(x):
        n = next(samples)
        if n == 0:
            return x
        return Square.apply(Cube.apply(x)) if n > 2 else Cube.apply(Square.apply(x))

    assert ferrograd.func.vmap(f)(ferrograd.arange(5.0)).tolist() == [x**6 for x in range(5)]
    assert sum(asked) == 8
    numbers = itertools.count()
    with pytest.raises(RuntimeError, match="Product is called with other numbers or structures for some samples"):
        ferrograd.func.vmap(lambda x: Product.apply(x, x, next(numbers)))(ferrograd.arange(2.0))


def test_what_functions_need_within_transforms():
    func, x = ferrograd.func, ferrograd.ones(2)
    members = {"forward": staticmethod(lambda ctx, x: x * 2), "backward": staticmethod(lambda ctx, g: g * 2)}
    Old = type("Old", (Function,), members)
    for call in (
        lambda: func.grad(lambda x: Old.apply(x).sum())(x),
        lambda: func.vmap(Old.apply)(x),
        lambda: func.vmap(lambda y: y + Old.apply(x))(x),
        lambda: func.jvp(Old.apply, (x,), (x,)),
    ):
        with pytest.raises(RuntimeError, match="must override the setup_context staticmethod"):
            call()
    assert ferrograd.autograd.functional.jacobian(Old.apply, x).tolist() == [[2, 0], [0, 2]]
    separate = {"forward": staticmethod(lambda x: x * 2), "setup_context": staticmethod(lambda ctx, inputs, output: None)}
    New = type("New", (Old,), separate)
    assert func.grad(lambda x: New.apply(x).sum())(x).tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="does not have vmap support"):
        func.vmap(New.apply)(x)
    assert func.vmap(type("Mapped", (New,), {"generate_vmap_rule": True}).apply)(x).tolist() == [2, 2]
    rules = {
        "have two returns": lambda info, in_dims, x: x,
        "incompatible": lambda info, in_dims, x: (x, (0, 1)),
    }
    for text, rule in rules.items():
        with pytest.raises(RuntimeError, match=text):
            func.vmap(type("Wrong", (New,), {"vmap": staticmethod(rule)}).apply)(x)
    Both = type("Both", (Product,), {"generate_vmap_rule": True})
    with pytest.raises(RuntimeError, match="has both generate_vmap_rule=True and"):
        func.vmap(lambda x: Both.apply(x, x)[0])(x)


def test_mark_non_differentiable_takes_tensors():
    for mark in (3, [leaf(1.0)]):
        F = function(lambda ctx, x: (ctx.mark_non_differentiable(mark), x * 2)[1], None)
        with pytest.raises(RuntimeError, match="mark_non_differentiable only accepts variable arguments, but argument 0"):
            F.apply(leaf(1.0))


def test_what_is_left_at_the_node_is_found_in_backward():
    def forward(ctx, x):
        ctx.factor = 2
        ctx.save_for_backward(x)
        return x * 2

    y = function(forward, lambda ctx, g: g * ctx.factor).apply(x := leaf(1.0))
    y.grad_fn.factor = 5
    assert y.grad_fn.factor == 5
    with pytest.warns(DeprecationWarning, match="'saved_variables' is deprecated"):
        assert y.grad_fn.saved_variables[0] is x
    y.backward()
    assert x.grad.item() == 5
    with pytest.raises(AttributeError, match="'MulBackward0' object has no attribute 'factor'"):
        (x * 2).grad_fn.factor = 1


def test_functions_without_jvp_take_no_tangents():
    """As in torch they say so when they are called, also where a derivative along tangents is that of a gradient, or of nothing."""
    func, x = ferrograd.func, ferrograd.tensor([1.0, 2.0])
    members = {
        "generate_vmap_rule": True,
        "forward": staticmethod(lambda x: x**3),
        "setup_context": staticmethod(lambda ctx, inputs, output: (ctx.save_for_backward(*inputs), ctx.save_for_forward(*inputs))),
        "backward": staticmethod(lambda ctx, g: 3 * ctx.saved_tensors[0] ** 2 * g),
    }
    Cube = type("Cube", (Function,), members)
    WithJvp = type("WithJvp", (Cube,), {"jvp": staticmethod(lambda ctx, t: 3 * ctx.saved_tensors[0] ** 2 * t)})

    def dual(cls):
        with ferrograd.autograd.forward_ad.dual_level():
            x_dual = ferrograd.autograd.forward_ad.make_dual(x.clone().requires_grad_(), x)
            (g,) = ferrograd.autograd.grad(cls.apply(x_dual).sum(), x_dual, create_graph=True)
            return ferrograd.autograd.forward_ad.unpack_dual(g).tangent

    def total(cls):
        return lambda y: cls.apply(y).sum()

    calls = {
        lambda cls: func.jvp(func.grad(total(cls)), (x,), (x,))[1]: [6, 24],
        lambda cls: func.jvp(lambda y: func.vjp(cls.apply, y)[1](x)[0], (x,), (x,))[1]: [6, 48],
        lambda cls: func.jvp(lambda y: (cls.apply(y), y * 2)[1], (x,), (x,))[1]: [2, 4],
        lambda cls: func.linearize(func.grad(total(cls)), x)[1](x): [6, 24],
        lambda cls: func.hessian(total(cls))(x): [[6, 0], [0, 12]],
        lambda cls: func.jacfwd(func.grad(total(cls)))(x): [[6, 0], [0, 12]],
        lambda cls: func.vmap(lambda y: func.jvp(func.grad(cls.apply), (y,), (y,))[1])(x): [6, 24],
        lambda cls: ferrograd.autograd.functional.hessian(
            total(cls), x, vectorize=True, outer_jacobian_strategy="forward-mode"
        ): [[6, 0], [0, 12]],
        dual: [6, 24],
    }
    for call, expected in calls.items():
        with pytest.raises(NotImplementedError, match="implement the jvp function"):
            call(Cube)
        assert call(WithJvp).tolist() == expected
    # What carries no tangent may be taken.
    assert func.jvp(lambda y: Cube.apply(y.detach()) * y, (x,), (x,))[1].tolist() == [1, 16]
    assert func.jvp(lambda y: func.grad(total(Cube))(x) * y, (x,), (x,))[1].tolist() == [3, 24]
    assert func.jacrev(func.jacrev(Cube.apply))(x).shape == (2, 2, 2)
    assert func.grad(total(Cube))(x).tolist() == [3, 12]


def test_arguments_by_name_come_in_the_order_of_forward():
    needed = []
    backward = lambda ctx, *g: (needed.append(ctx.needs_input_grad), tuple(None if n is False else g[0] for n in ctx.needs_input_grad))[1]
    Scale = function(lambda ctx, x, k=2, j=3: x * k * j, backward)
    x, k = leaf(1.0), leaf(2.0)
    y = Scale.apply(k=k, x=x)
    assert y.item() == 6 and [node.variable for node, _ in y.grad_fn.next_functions] == [x, k]
    y.backward()
    assert needed == [(True, True)]
    for args, given, message in [
        ((x,), {"j": 1}, "missing required argument: 'k'"),
        ((x,), {"x": x}, "multiple values for argument 'x'"),
        ((x,), {"ctx": 1}, "unexpected keyword argument 'ctx'"),
        ((x,), {"q": 1}, "unexpected keyword argument 'q'"),
    ]:
        with pytest.raises(TypeError, match=message):
            Scale.apply(*args, **given)
    ByName = function(lambda ctx, x, *, k=2: x * k, lambda ctx, g: g * 2)
    assert ByName.apply(x).item() == 2
    Any = function(lambda ctx, x, **k: x, lambda ctx, g: g)
    Separate = function(lambda x, *, k=2: x * k, lambda ctx, g: g, setup_context=staticmethod(lambda ctx, inputs, output: None))
    for own in (ByName, Any, Separate):
        with pytest.raises(TypeError, match="unexpected keyword argument 'k'"):
            own.apply(x, k=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'k'"):
        ferrograd.func.grad(lambda x: Separate.apply(x).sum())(x)


def test_what_forward_leaves_is_a_tuple():
    for name in ("to_save", "dirty_tensors", "non_differentiable"):
        for value in ("list", "tensor"):
            forward = lambda ctx, x: (setattr(ctx, name, [x] if value == "list" else x), x * 2)[1]
            with pytest.raises(RuntimeError, match=f"{name} is expected to be a tuple"):
                function(forward, lambda ctx, g: g).apply(leaf(1.0))
    with pytest.raises(TypeError, match="expects a bool"):
        function(lambda ctx, x: ctx.set_materialize_grads(0), None).apply(leaf(1.0))
    with pytest.warns(FutureWarning, match="mark_shared_storage"):
        function(lambda ctx, x: (ctx.mark_shared_storage((x, x)), x * 2)[1], None).apply(leaf(1.0))


def test_saved_tensors_that_are_read_once():
    members = {"clear_saved_tensors_on_access": True}
    forward = lambda ctx, x: (ctx.save_for_backward(kept := x * 1), refs.append(weakref.ref(kept)), x * 2)[2]

    def backward(ctx, g):
        ctx.saved_tensors
        freed.append(refs[-1]() is None)
        return g

    refs, freed = [], []
    y = function(forward, backward, **members).apply(leaf(1.0))
    y.backward(retain_graph=True)
    assert freed == [True]
    with pytest.raises(RuntimeError, match="can only be accessed once"):
        y.backward()
    with pytest.raises(RuntimeError, match="can only be accessed once"):
        y.grad_fn.saved_tensors


def test_gradients_in_a_list():
    x = leaf(1.0)
    Two = function(lambda ctx, x: (x * 2, x * 3), lambda ctx, g: 2 * g[0] + 3 * g[1] if type(g) is list else None, boxed_grads_call=True)
    y, z = Two.apply(x)
    assert grad(y + z, x)[0].item() == 5
    assert y.grad_fn.apply(ferrograd.ones(1), ferrograd.ones(1)).item() == 5


def test_a_context_says_what_its_node_does():
    x = leaf(1.0)
    seen = []
    Own = function(lambda ctx, x: x * 2, lambda ctx, g: (seen.extend((ctx.next_functions, ctx.metadata, ctx._sequence_nr())), g)[1])
    y = Own.apply(x)
    y.grad_fn.metadata["a"] = 1
    y.backward()
    assert seen == [y.grad_fn.next_functions, {"a": 1}, y.grad_fn._sequence_nr()]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        y.grad_fn.nothing


def test_a_rule_for_batches_that_answers_too_few_samples():
    Own = batch_function(lambda info, in_dims, x: (x[:2], 0))
    with pytest.raises(RuntimeError, match="returned 2 samples along dim 0 for a batch of 3"):
        ferrograd.func.vmap(Own.apply)(ferrograd.ones(3))


def test_the_variable_of_long_ago():
    with pytest.raises(RuntimeError, match="use torch.tensor"):
        ferrograd.autograd.variable(ferrograd.ones(1))


def test_the_context_knows_the_node_while_forward_runs():
    x, seen, known = leaf(1.0, 2.0), [], []

    class Product(ferrograd.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, power):
            known.append((ctx.name(), ctx.requires_grad, isinstance(ctx, ferrograd.autograd.graph.Node), ctx._input_metadata))
            known.extend((ctx.next_functions, ctx.metadata))
            ctx.metadata["key"] = 3
            ctx.register_hook(lambda inputs, outputs: seen.append([g.tolist() for g in (*inputs, *outputs)]))
            ctx.register_hook(lambda *grads: seen.append("removed")).remove()
            ctx.register_hook(lambda inputs, outputs: (inputs[0] * 10, inputs[1]))
            ctx.register_prehook(lambda outputs: (outputs[0] * 2,))
            return x * w

        @staticmethod
        def backward(ctx, g):
            seen.append(dict(ctx.metadata))
            return g, g * 3, None

    y = Product.apply(x, ferrograd.ones(2, dtype=ferrograd.float64), 2)
    end = ferrograd.autograd.graph.get_gradient_edge(x).node
    assert known == [("ProductBackward", True, True, ()), ((end, 0), (None, 0)), {"key": 3}]
    assert y.grad_fn.metadata == {"key": 3} and y.grad_fn.next_functions == known[1] and "saved_tensors" in dir(y.grad_fn)
    y.sum().backward()
    # Hooks see gradients that go nowhere, too.
    assert seen == [{"key": 3}, [[2.0, 2.0], [6.0, 6.0], [2.0, 2.0]]] and x.grad.tolist() == [20.0, 20.0]
    plain = ferrograd.ones(2)
    Product.apply(plain, plain, 2)
    assert known[4] == ()


def test_what_is_saved_in_vain_is_not_looked_at():
    F = function(lambda ctx, x: ctx.save_for_backward(x) or x * 2, None)
    assert F.apply(3) == 6
    with pytest.raises(TypeError, match="save_for_backward can only save variables, but argument 0 is of type str"):
        function(lambda ctx, x: ctx.save_for_backward("a") or x * 2, None).apply(leaf(1.0))
