"""autograd.functional: Jacobians, Hessians, their products with vectors, and what strict mode refuses."""

import pytest

import ferrograd
from ferrograd.autograd import functional as F


def tensor(*values, grad=False):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=grad)


X, Y = tensor(1.0, 2.0, 3.0), tensor(0.5, 0.25, 2.0)


def close(a, b):
    assert a.shape == b.shape and a.allclose(b), (a, b)


def products(x, y):
    return x * y**2, x.sin().sum()


def test_jacobian_of_one_function_of_one_tensor():
    J = F.jacobian(lambda x: x.exp(), X)
    close(J, X.exp().diag_embed())
    assert not J.requires_grad


@pytest.mark.parametrize("options", [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}])
def test_jacobian_of_several(options):
    (a, b), (c, d) = F.jacobian(products, (X, Y), **options)
    close(a, (Y**2).diag_embed())
    close(b, (2 * X * Y).diag_embed())
    close(c, X.cos())
    close(d, ferrograd.zeros_like(Y))


def test_jacobian_has_the_shapes_of_both():
    x = tensor(*range(6)).view(2, 3)
    assert F.jacobian(lambda x: x.sum(0), x).shape == (3, 2, 3)
    assert F.jacobian(lambda x: x.sum(), x).shape == (2, 3)
    assert F.jacobian(lambda x: x.sum(0), x, vectorize=True, strategy="forward-mode").shape == (3, 2, 3)


def test_containers_of_jacobians():
    """Lists and tuples as torch's."""
    x, y = ferrograd.rand(2), ferrograd.rand(3)

    def kinds(func, inputs, **options):
        rows = F.jacobian(func, inputs, **options)
        return type(rows), {type(row) for row in rows}

    forward = {"vectorize": True, "strategy": "forward-mode"}
    two = lambda x, y: (x * 2, x * y.sum())
    assert kinds(two, (x, y)) == kinds(two, (x, y), vectorize=True) == (tuple, {tuple})
    assert kinds(two, (x, y), **forward) == (list, {list})
    assert kinds(lambda x: x * 2, (x,), **forward) == (list, {ferrograd.Tensor})
    assert kinds(lambda x: (x * 2,), x, **forward) == (tuple, {ferrograd.Tensor})


def test_jacobian_that_can_be_differentiated():
    x = tensor(1.0, 2.0, grad=True)
    J = F.jacobian(lambda x: x**3, x, create_graph=True)
    (g,) = ferrograd.autograd.grad(J.sum(), x)
    close(g, 6 * x.detach())
    assert not F.jacobian(lambda x: x**3, x).requires_grad


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_hessian(strategy):
    options = {"vectorize": True, "outer_jacobian_strategy": strategy}
    close(F.hessian(lambda x: (x**3).sum(), X, **options), (6 * X).diag_embed())
    (xx, xy), (yx, yy) = F.hessian(lambda x, y: (x**2 * y).sum(), (X, Y), **options)
    close(xx, (2 * Y).diag_embed())
    close(xy, (2 * X).diag_embed())
    close(yx, (2 * X).diag_embed())
    close(yy, ferrograd.zeros(3, 3, dtype=ferrograd.float64))


def test_products_with_vectors():
    value, product = F.vjp(products, (X, Y), (Y, tensor(2.0).squeeze()))
    close(value[0], X * Y**2)
    close(product[0], Y**3 + 2 * X.cos())
    close(product[1], 2 * X * Y * Y)
    _, (first, second) = F.jvp(products, (X, Y), (Y, X))
    close(first, Y**3 + 2 * X * Y * X)
    close(second, (X.cos() * Y).sum())
    for product in (F.vhp, F.hvp):
        value, result = product(lambda x: (x**3).sum(), X, Y)
        close(result, 6 * X * Y)
        assert value.item() == 36


def test_the_vector_may_be_left_out():
    close(F.vjp(lambda x: x.sum(), X)[1], ferrograd.ones_like(X))
    close(F.jvp(lambda x: x.expand(3) * X, tensor(2.0))[1], X)
    for product, kind in ((F.jvp, "input"), (F.vhp, "input"), (F.hvp, "input")):
        with pytest.raises(RuntimeError, match=f"v can only be None if the {kind}"):
            product(lambda x: x.sum(), X)
    with pytest.raises(RuntimeError, match="v can only be None if the user-provided function returns"):
        F.vjp(lambda x: x, X)


def test_products_that_can_be_differentiated():
    x = tensor(1.0, 2.0, grad=True)
    for product, order in ((F.vjp, 1), (F.jvp, 1), (F.hvp, 2), (F.vhp, 2)):
        f = (lambda x: x**3) if order == 1 else (lambda x: (x**3).sum())
        _, result = product(f, x, tensor(1.0, 1.0), create_graph=True)
        (g,) = ferrograd.autograd.grad(result.sum(), x)
        close(g, 6 * x.detach() if order == 1 else tensor(6.0, 6.0))


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: F.vjp(lambda x: x, X, tensor(1.0)), "v has invalid size: should be torch.Size\\(\\[3\\]\\) but got"),
        (lambda: F.vjp(products, (X, Y), X), "v is a tuple of invalid length: should be 2 but got 1"),
        (lambda: F.jvp(products, (X, Y), (X, tensor(1.0))), "Entry 1 in v has invalid size"),
        (lambda: F.hvp(lambda x: (x, x), X, X), "The function given to hvp should return a single Tensor"),
        (lambda: F.vhp(lambda x: x, X, X), "given to vhp should contain a single element"),
        (lambda: F.hessian(lambda x: x, X), "given to hessian should contain a single element"),
        (lambda: F.jacobian(lambda x: X, X, strict=True), "Output 0 of the user-provided function does not require gradients"),
        (lambda: F.jacobian(lambda x, y: x * 2, (X, Y), strict=True), "Output 0 .* is independent of input 1"),
        (lambda: F.jacobian(lambda x: x * 2, X, strict=True, create_graph=True), "The jacobian .* create_graph=True"),
        (lambda: F.vjp(lambda x, y: x * 2, (X, Y), X, strict=True), "is independent of input 1"),
        (lambda: F.jvp(lambda x, y: x * 2, (X, Y), (X, Y), strict=True), "is independent of input 1"),
        (lambda: F.hessian(lambda x: x.sum(), X, strict=True), "violated by a linear function"),
        (lambda: F.jacobian(lambda x: x, X, strict=True, vectorize=True), "are not supported together"),
    ],
)
def test_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call()


def test_types_are_checked():
    with pytest.raises(TypeError, match="The inputs given to jvp must be either a Tensor or a tuple of Tensors"):
        F.jvp(products, [X, Y])
    with pytest.raises(TypeError, match="the value at index 1 has type <class 'int'>"):
        F.jvp(products, (X, 3))
    with pytest.raises(TypeError, match="outputs of the user-provided function given to vjp"):
        F.vjp(lambda x: 3, X)
    with pytest.raises(AssertionError, match="Expected strategy"):
        F.jacobian(lambda x: x, X, strategy="sideways")


def test_recording_may_be_off():
    with ferrograd.no_grad():
        close(F.jacobian(lambda x: x.exp(), X), X.exp().diag_embed())
        close(F.hvp(lambda x: (x**3).sum(), X, Y)[1], 6 * X * Y)


def test_jacobians_in_forward_mode_lead_to_what_has_a_graph():
    """As torch's, whatever `create_graph` says."""
    x, w = tensor(1.0, 2.0, 3.0, grad=True), tensor(0.5, 0.25, 2.0, grad=True)
    forward = {"vectorize": True, "strategy": "forward-mode"}
    J = F.jacobian(lambda x: x**3, x, **forward)
    close(ferrograd.autograd.grad(J.sum(), x)[0], 6 * X)
    J = F.jacobian(lambda x: x * w, X, **forward)
    close(ferrograd.autograd.grad(J.sum(), w)[0], ferrograd.ones_like(X))
    assert not F.jacobian(lambda x: x**3, X, **forward).requires_grad
    assert not F.jacobian(lambda x: x**3, x, vectorize=True).requires_grad
    with ferrograd.no_grad():
        assert not F.jacobian(lambda x: x * w, x, **forward).requires_grad
    # A Hessian is one of a gradient, which has a graph.
    H = F.hessian(lambda x: (x**3).sum(), X, vectorize=True, outer_jacobian_strategy="forward-mode")
    close(H.detach(), (6 * X).diag())
    assert H.requires_grad


def test_hessian_in_forward_mode_of_a_function_of_one_of_two():
    whole = F.hessian(lambda x, y: (x**2).sum(), (X, X * 1), vectorize=True, outer_jacobian_strategy="forward-mode")
    close(whole[0][0], 2 * ferrograd.eye(len(X), dtype=X.dtype))
    assert not any(part.any() for part in (whole[0][1], *whole[1]))


def test_options_are_looked_at_in_torchs_order():
    options = {"strict": True, "vectorize": True}
    with pytest.raises(TypeError, match="inputs given to jacobian"):
        F.jacobian(lambda x: x, [X], **options)
    with pytest.raises(ZeroDivisionError):
        F.jacobian(lambda x: 1 / 0, X, **options)
    with pytest.raises(RuntimeError, match="does not require gradients"):
        F.jacobian(lambda x: Y, X, **options)
    with pytest.raises(RuntimeError, match="not supported together"):
        F.jacobian(lambda x: x, X, **options)
    with pytest.raises(RuntimeError, match="not supported together"):
        F.jacobian(lambda x: x, 3, strict=True, strategy="forward-mode")
    with pytest.raises(TypeError, match="inputs given to jacobian"):
        F.jacobian(lambda x: x, 3, strategy="forward-mode")
    with pytest.raises(NotImplementedError, match="vectorize=True"):
        F.jacobian(lambda x: x, X, strategy="forward-mode")


def test_outputs_without_a_jacobian():
    with pytest.raises(RuntimeError, match="real scalar outputs but got torch.complex128"):
        F.jacobian(lambda x: x * 1j, X)
    with pytest.raises(RuntimeError, match="can require gradients"):
        F.jvp(lambda x: x.long(), X, X)


def test_the_third_derivative_of_squares_is_zeros():
    x = tensor(1.0, 2.0, grad=True)
    H = F.hessian(lambda x: (x**2).sum(), x, create_graph=True, strict=True)
    assert H.requires_grad and H.tolist() == [[2, 0], [0, 2]]
    assert ferrograd.autograd.grad(H.sum(), x)[0].tolist() == [0, 0]
    (first,) = ferrograd.autograd.grad((x**2).sum(), x, create_graph=True)
    (second,) = ferrograd.autograd.grad(first.sum(), x)
    assert second.tolist() == [2, 2] and not second.requires_grad


def test_a_sum_to_no_dims_at_all_is_a_sum():
    x, y = X.clone().requires_grad_(), tensor(2.0, grad=True).squeeze()
    (g,) = ferrograd.autograd.grad((x * y).sum(), y, create_graph=True)
    assert g.grad_fn.name() == "SumBackward0"


def test_nothing_to_differentiate():
    for f in (F.vjp, F.jacobian, F.hessian):
        with pytest.raises(IndexError, match="there are no tensors to differentiate"):
            f(lambda: X.sum(), ())
    for f in (F.hvp, F.vhp):
        with pytest.raises(IndexError, match="there are no tensors to differentiate"):
            f(lambda: X.sum(), (), ())
    with pytest.raises(IndexError):
        F.jacobian(lambda x: (), X)
    with pytest.raises(IndexError):
        F.jvp(lambda x: (), X, X)
