"""Writes in place, by a function that is being transformed, to tensors that it has captured."""

import pytest

import ferrograd
from ferrograd.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap

X = ferrograd.tensor([1.0, 2.0, 3.0])
BATCH = ferrograd.stack([X, X + 1])

DERIVATIVES = {
    "grad": lambda f: grad(f)(X),
    "grad_and_value": lambda f: grad_and_value(f)(X),
    "vjp": lambda f: vjp(f, X),
    "jvp": lambda f: jvp(f, (X,), (X,)),
    "jacrev": lambda f: jacrev(f)(X),
    "jacfwd": lambda f: jacfwd(f)(X),
    "hessian": lambda f: hessian(f)(X),
    "linearize": lambda f: linearize(f, X),
    "within vmap": lambda f: vmap(grad(f))(BATCH),
    "around vmap": lambda f: grad(lambda x: vmap(f)(ferrograd.stack([x, x])).sum())(X),
    "twice": lambda f: grad(lambda x: grad(f)(x).sum())(X),
}

# Of `a`, which is captured, and `x`, the argument; with the op that the error names.
WRITES = {
    "copy_": (lambda a, x: a.copy_(x), "copy_"),
    "a number": (lambda a, x: a.add_(1), "add_"),
    "a constant": (lambda a, x: a.mul_(ferrograd.ones(3)), "mul_"),
    "fill_": (lambda a, x: a.fill_(1), "fill_"),
    "zero_": (lambda a, x: a.zero_(), "zero_"),
    "an element": (lambda a, x: a.__setitem__(0, x[0]), "copy_"),
    "a place": (lambda a, x: a.__setitem__(ferrograd.tensor([0, 1]), 3.0), "index_put_"),
    "a mask": (lambda a, x: a.masked_fill_(ferrograd.tensor([True, False, True]), 3.0), "masked_fill_"),
    "a view": (lambda a, x: a.view(3).copy_(x), "copy_"),
    "a view made outside": (lambda a, x: a[:2].relu_(), "relu_"),
    "detach": (lambda a, x: a.detach().copy_(x.detach()), "copy_"),
    "data": (lambda a, x: a.data.copy_(x.detach()), "copy_"),
    "+=": (lambda a, x: a.__iadd__(x), "__iadd__"),
    "unsqueeze_": (lambda a, x: a.unsqueeze_(0), "unsqueeze_"),
    "resize_": (lambda a, x: a.resize_(2), "resize_"),
    "detach_": (lambda a, x: a.detach_(), "detach_"),
}


def unrecorded(write):
    def wrapped(a, x):
        with ferrograd.no_grad():
            write(a, x)

    return wrapped


@pytest.mark.parametrize("transform", DERIVATIVES)
@pytest.mark.parametrize("write", WRITES)
def test_derivatives_refuse_to_write_to_captured_tensors(transform, write):
    write, op = WRITES[write]
    for write in (write, unrecorded(write)):
        a = ferrograd.zeros(3)
        with pytest.raises(RuntimeError, match=rf"in-place operation \({op}\) that would mutate a captured Tensor"):
            DERIVATIVES[transform](lambda x: (write(a, x), x.sum())[1])
        assert a.tolist() == [0, 0, 0] and not a.requires_grad and a._version == 0
    a.add_(1)  # Outside it may be written to again.


def test_random_writes_to_captured_tensors():
    a = ferrograd.zeros(3)
    with pytest.raises(RuntimeError, match="captured"):
        grad(lambda x: (a.normal_(), x.sum())[1])(X)


def test_what_a_derivative_may_write_to():
    a = ferrograd.zeros(3)

    def f(x):
        own = a.clone()
        own.copy_(x)
        ferrograd.empty_like(a)[0] = x[0]
        ferrograd.zeros(3).view(3).add_(1).mul_(x)
        (x * 2).add_(1)
        own.detach().zero_()
        own.data.add_(x.detach())
        ferrograd.add(a, 1, out=a)  # As torch, which checks in-place ops only.
        return (own * x).sum()

    assert grad(f)(X).tolist() == [2, 4, 6]
    assert a.tolist() == [1, 1, 1] and not a.requires_grad


def test_levels_of_capture():
    """What one derivative's function has made is captured by the function of a derivative within."""

    def outer(x):
        own = ferrograd.zeros(3)
        with pytest.raises(RuntimeError, match="captured"):
            grad(lambda y: (own.add_(1), y.sum())[1])(x)
        with pytest.raises(RuntimeError, match="captured"):
            grad(lambda y: (x.detach().add_(1), y.sum())[1])(X)
        within = grad(lambda y: (y * ferrograd.ones(3)).sum())(x)
        within.add_(1)  # A result is the outer function's own.
        own.add_(within)
        return (own * x).sum()

    assert grad(outer)(X).tolist() == [2, 2, 2]


def test_writes_to_the_variables():
    for transform in (grad, jacrev):
        for x in (X, X * 1):
            with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
                transform(lambda x: x.mul_(2).sum())(x)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        grad(lambda x: grad(lambda y: y.mul_(2).sum())(x * 1).sum())(X)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        hessian(lambda x: (x.mul_(2) ** 2).sum())(X)
    # In forward mode there are no leaves.
    x = X.clone()
    value, derivative = jvp(lambda x: (x.mul_(2) ** 2).sum(), (x,), (ferrograd.ones(3),))
    assert (value.item(), derivative.item()) == (56, 48)
    assert x.tolist() == [2, 4, 6]
    assert jacfwd(lambda x: x.mul_(x.detach().clone()))(X.clone()).diag().tolist() == [1, 2, 3]
    # Nothing is recorded of these.
    x = X.clone()
    assert grad(lambda x: (unrecorded(lambda a, x: x.mul_(2))(None, x), (x * x).sum())[1])(x).tolist() == [4, 8, 12]
    assert x.tolist() == [2, 4, 6]


def test_what_no_transform_allows():
    for transform in (lambda f: grad(f)(X), lambda f: vmap(f)(BATCH), lambda f: jvp(f, (X,), (X,))):
        with pytest.raises(RuntimeError, match=r"Tensor.requires_grad_\(\)"):
            transform(lambda x: (ferrograd.zeros(3).requires_grad_() * x).sum())
        with pytest.raises(RuntimeError, match=r"Tensor.requires_grad_\(\).*functional"):
            transform(lambda x: ferrograd.autograd.functional.jacobian(lambda y: y * y, x).sum())
        with pytest.raises(RuntimeError, match=r"backward\(\) called inside a functorch transform"):
            transform(lambda x: ((ferrograd.zeros(3, requires_grad=True) * x).sum().backward(), x.sum())[1])
    with pytest.raises(RuntimeError, match=r"Tensor.retain_grad\(\)"):
        grad(lambda x: ((x * 2).retain_grad(), x.sum())[1])(X)
    assert ferrograd.zeros(3).requires_grad_().requires_grad


# Samples.


@pytest.mark.parametrize(
    "write, want",
    [
        (lambda a: a.add_(1), [1, 1, 1]),
        (lambda a: a.add_(ferrograd.ones(3)), [1, 1, 1]),
        (lambda a: a.__setitem__(1, 5.0), [0, 5, 0]),
        (lambda a: a[1:].add_(1).mul_(2), [0, 2, 2]),
        (lambda a: a.data.sub_(1), [-1, -1, -1]),
        (lambda a: (a.fill_(ferrograd.nan), a.detach().nan_to_num_(2.0)), [2, 2, 2]),
        (lambda a: ferrograd.add(a, 2, out=a), [2, 2, 2]),
        (lambda a: a.unsqueeze_(0).add_(1), [[1, 1, 1]]),
        (lambda a: a.resize_(2).add_(1), [1, 1]),
    ],
)
def test_samples_write_to_a_captured_tensor_once(write, want):
    for map in (vmap, lambda f: vmap(vmap(f))):
        a = ferrograd.zeros(3)
        seen = []
        xs = BATCH if map is vmap else ferrograd.stack([BATCH, BATCH])
        y = map(lambda x: (seen.append(a.tolist()), write(a), x * a.sum())[2])(xs)
        assert a.tolist() == want and all(before == [0, 0, 0] for before in seen) and len(seen) == xs.numel() // 3
        assert y.equal(xs * a.sum())


def test_samples_that_write_different_values_to_a_captured_tensor():
    for write in (
        lambda a, x: a.copy_(x),
        lambda a, x: a.add_(x),
        lambda a, x: a.__setitem__(0, x[0]),
        lambda a, x: a[:2].mul_(x[:2]),
        lambda a, x: a.masked_fill_(x > 3, 7.0),
        lambda a, x: ferrograd.add(x, 1, out=a),
    ):
        a = ferrograd.ones(3)
        with pytest.raises(RuntimeError, match=r"vmap: .* is not possible because .* `self` not being vmapped over"):
            vmap(lambda x: (write(a, x), x.sum())[1])(BATCH)
        assert a.tolist() == [1, 1, 1]
    # The same of an argument that is not mapped over.
    with pytest.raises(RuntimeError, match="`self` not being vmapped over"):
        vmap(lambda a, x: (a.copy_(x), x.sum())[1], in_dims=(None, 0))(a, BATCH)


def test_samples_write_to_what_is_their_own():
    xs = BATCH.clone()
    assert vmap(lambda x: (x.mul_(2), ferrograd.zeros_like(x).copy_(x).sum())[1])(xs).tolist() == [12, 18]
    assert xs.equal(2 * BATCH)
    memory = ferrograd.zeros(3, 3)
    memory[:2] = BATCH
    last = memory[2]
    vmap(lambda x: (x.mul_(2), last.add_(1), x.sum())[2])(memory[:2])
    assert memory.equal(ferrograd.cat([2 * BATCH, ferrograd.ones(1, 3)]))


def test_gradients_of_samples_that_were_written_to():
    x = X.double().requires_grad_()
    y = vmap(lambda row: row.mul_(X.double()))(ferrograd.stack([x, x + 1]))
    assert ferrograd.autograd.grad(y.sum(), x)[0].tolist() == [2, 4, 6]
    assert grad(lambda x: vmap(lambda row: row.mul_(2).sum())(ferrograd.stack([x, x])).sum())(X).tolist() == [4, 4, 4]
    # A captured one that is on the tape: its history, too, has one write.
    w = X.clone().requires_grad_()
    a = w * 1
    y = vmap(lambda row: (a.mul_(2), (row * a).sum())[1])(BATCH)
    assert ferrograd.autograd.grad(y.sum() + a.sum(), w)[0].tolist() == [2 * (3 + 1), 2 * (5 + 1), 2 * (7 + 1)]
    # What the first sample has saved for its derivative is as it was when all are done.
    xs = BATCH.clone().requires_grad_()
    a = ferrograd.zeros(3)
    vmap(lambda row: (a.add_(1), (row * a).sum())[1])(xs).sum().backward()
    assert xs.grad.equal(ferrograd.ones(2, 3))


def test_an_error_within_a_transform_ends_it():
    a = ferrograd.zeros(3)
    for transform in (lambda f: grad(f)(X), lambda f: vmap(f)(BATCH)):
        with pytest.raises(ZeroDivisionError):
            transform(lambda x: 1 // 0)
        a.add_(1).requires_grad_().requires_grad_(False)
    assert a.tolist() == [2, 2, 2]


ONE = ferrograd.ones(1, 3)


@pytest.mark.parametrize(
    "write",
    [
        lambda a, x: a.copy_(x),
        lambda a, x: a.add_(x * 2),
        lambda a, x: a.mul_(x.sum()),
        lambda a, x: a.add_(ferrograd.ones(3), alpha=1).add_(x[1:2]),
        lambda a, x: a.__setitem__(0, x[0]),
        lambda a, x: a[1:].copy_(x.view(3)[:2]),
        lambda a, x: a.add_(ferrograd.zeros(3).add_(x)),
        lambda a, x: a.add_(x.long()),
        lambda a, x: a.add_(x > 0),
        lambda a, x: a.copy_(ferrograd.where(x > 0, 1.0, 2.0)),
        lambda a, x: a.masked_fill_(x > 0, 1.0),
        lambda a, x: a.copy_(ferrograd.cat([x[:1], x[1:]])),
        lambda a, x: a.copy_(ferrograd.stack([x, x])[0]),
        lambda a, x: a.copy_(x.max(0)[1]),
        lambda a, x: a.copy_(x.sort()[1]),
        lambda a, x: a.copy_(x.argmax()),
        lambda a, x: a.copy_(x.any()),
        lambda a, x: a.copy_(ferrograd.zeros_like(x)),
        lambda a, x: a.copy_(ferrograd.empty_like(x)),
        lambda a, x: a.copy_(x.new_ones(3)),
        lambda a, x: a.copy_(ferrograd.zeros(5)[x.long()]),
        lambda a, x: a.copy_(ferrograd.linalg.svd(x.diag())[1]),
        lambda a, x: a.copy_(ferrograd.nn.functional.layer_norm(x, (3,))),
        lambda a, x: a.copy_(ferrograd.func.grad(lambda y: (y * y).sum())(x)),
        lambda a, x: ferrograd.add(x, 1, out=a),
        lambda a, x: vmap(lambda y: a.add_(y * x).sum())(x),
    ],
)
def test_what_depends_on_a_sample_is_not_written_even_if_all_samples_are_equal(write):
    for batch in (ONE, ferrograd.ones(2, 3)):
        for mode in (ferrograd.enable_grad, ferrograd.no_grad):
            a = ferrograd.zeros(3)
            with pytest.raises(RuntimeError, match="`other` being vmapped over but `self` not being vmapped over"), mode():
                vmap(lambda x: (write(a, x), x.sum())[1])(batch)
            assert a.tolist() in ([0, 0, 0], [1, 1, 1])


def test_what_does_not_depend_on_a_sample_is_written_also_after_maps_that_have_ended():
    leaked = []
    vmap(lambda x: (leaked.append(x * 2), x)[1])(ONE)
    a = ferrograd.zeros(3)
    vmap(lambda x: (a.add_(leaked[0]), x)[1])(ONE)
    assert a.tolist() == [2, 2, 2]
    # Of the inner map it is captured, but what is written is the outer one's, as it is itself.
    def outer(x):
        own = x.clone()
        vmap(lambda y: (own.add_(x), y)[1])(ONE)
        return own

    assert vmap(outer)(ONE).tolist() == [[2, 2, 2]]
