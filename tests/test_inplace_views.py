"""In-place forms of views: t_, transpose_, squeeze_ and the like; resize_ and set_."""

import numpy as np
import pytest

import ferrograd

F64 = ferrograd.float64

VIEWS = {
    "t_": (lambda x: x.t_(), lambda a: a.T),
    "transpose_": (lambda x: x.transpose_(0, -1), lambda a: a.T),
    "swapaxes_": (lambda x: x.swapaxes_(axis0=0, axis1=1), lambda a: a.T),
    "swapdims_": (lambda x: x.swapdims_(0, 1), lambda a: a.T),
    "unsqueeze_": (lambda x: x.unsqueeze_(-1), lambda a: a[..., None]),
    "squeeze_": (lambda x: x.unsqueeze_(0).squeeze_(), lambda a: a),
    "squeeze_ dim": (lambda x: x.unsqueeze_(1).squeeze_(dim=(0, 1)), lambda a: a),
    "as_strided_": (lambda x: x.as_strided_((2, 2), (1, 2), 1), lambda a: np.array([[1, 3], [2, 4]]) + a[0, 0]),
}


def matrix():
    return ferrograd.arange(6, dtype=F64).view(2, 3).clone()


def ramp(x):
    return ferrograd.arange(1, 1 + x.numel(), dtype=F64).view(x.shape)


@pytest.mark.parametrize("name", VIEWS)
def test_the_tensor_becomes_its_view(name):
    in_place, view = VIEWS[name]
    x = matrix()
    other, address = x[:], x.data_ptr()
    assert in_place(x) is x and x._version >= 1
    np.testing.assert_array_equal(x.numpy(), view(other.numpy()))
    assert other.shape == (2, 3) and (x.data_ptr() == address or "strided" in name)
    x.mul_(2)
    assert other.sum() > 15


@pytest.mark.parametrize("name", VIEWS)
def test_history_of_a_computed_tensor(name):
    in_place, view = VIEWS[name]
    leaf = matrix().requires_grad_()
    x = leaf * 2
    in_place(x)
    (g,) = ferrograd.autograd.grad((x * ramp(x)).sum(), leaf)
    want = matrix().requires_grad_()
    y = want * 2
    y = {"t": y.t, "as": lambda: y.as_strided((2, 2), (1, 2), 1), "un": lambda: y.unsqueeze(-1)}.get(name.split("_")[0][:2].strip("_"), lambda: y)()
    if name in ("transpose_", "swapaxes_", "swapdims_"):
        y = (want * 2).transpose(0, 1)
    (w,) = ferrograd.autograd.grad((y * ramp(y)).sum(), want)
    assert g.tolist() == w.tolist() and g.shape == (2, 3)


@pytest.mark.parametrize(
    ("node", "in_place"),
    [
        ("TBackward1", lambda x: x.t_()),
        ("TransposeBackward1", lambda x: x.transpose_(0, 1)),
        ("TransposeBackward1", lambda x: x.swapaxes_(0, 1)),
        ("TransposeBackward1", lambda x: x.swapdims_(0, 1)),
        ("UnsqueezeBackward1", lambda x: x.unsqueeze_(0)),
        ("SqueezeBackward3", lambda x: x.squeeze_()),
        ("SqueezeBackward4", lambda x: x.squeeze_(0)),
        ("SqueezeBackward5", lambda x: x.squeeze_((0, 1))),
        ("AsStridedBackward1", lambda x: x.as_strided_((2,), (1,))),
    ],
)
def test_nodes_have_torchs_names(node, in_place):
    x = matrix().requires_grad_() * 2
    view = x[:]
    for y, before in ((x.clone(), "CloneBackward0"), (view, "SliceBackward0")):
        in_place(y)
        assert [y.grad_fn.name(), y.grad_fn.next_functions[0][0].name()] == [node, before]
    view.mul_(2)
    assert [view.grad_fn.name(), x.grad_fn.name()] == ["AsStridedBackward0", "torch::autograd::CopySlices"]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", [name for name in VIEWS if "strided" not in name])
def test_views_follow_a_base_that_becomes_its_view(name, constant):
    in_place, view = VIEWS[name]
    leaf, factor = matrix().requires_grad_(), ferrograd.tensor(3.0, dtype=F64, requires_grad=True)
    base = matrix() if constant else leaf * 2
    row = base[1]
    in_place(base)
    row.mul_(factor)
    assert row._base is not None and row._base.shape == base.shape == view(np.zeros((2, 3))).shape
    assert base.grad_fn.name() == "torch::autograd::CopySlices"
    loss = (base * base).sum() + row.sum()
    found = ferrograd.autograd.grad(loss, factor if constant else (factor, leaf))
    a = matrix().numpy() * (1 if constant else 2)
    assert found[0].item() == (6 * a[1] ** 2 + a[1]).sum()
    if not constant:
        np.testing.assert_array_equal(found[1].numpy(), [4 * a[0], 36 * a[1] + 6])


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_that_becomes_another_view_of_its_base(name):
    in_place, _ = VIEWS[name]
    leaf = matrix().requires_grad_()
    base = leaf * 2
    v = base[:]
    in_place(v)
    v.mul_(3)
    (g,) = ferrograd.autograd.grad((base * ramp(base)).sum(), leaf, retain_graph=True)
    written = np.array([[0, 1, 1], [1, 1, 0]]) if "strided" in name else np.ones((2, 3))
    np.testing.assert_array_equal(g.numpy(), np.arange(1, 7).reshape(2, 3) * 2 * np.where(written, 3, 1))
    (g,) = ferrograd.autograd.grad(v.sum(), leaf)
    np.testing.assert_array_equal(g.numpy(), written * 6)


@pytest.mark.parametrize("name", VIEWS)
def test_leaves_and_saved_values_are_guarded(name):
    in_place, view = VIEWS[name]
    leaf = matrix().requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        in_place(leaf)
    with pytest.raises(RuntimeError, match="leaf"):
        in_place(leaf[:])
    with ferrograd.no_grad():
        in_place(leaf)
    assert leaf.is_leaf and leaf.requires_grad and leaf.shape == view(np.zeros((2, 3))).shape
    (leaf * ramp(leaf)).sum().backward()
    assert leaf.grad.tolist() == ramp(leaf).tolist()
    x = matrix().requires_grad_() * 2
    y = x * x
    in_place(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_what_is_refused():
    x = matrix()
    for call, error in [
        (lambda: ferrograd.ones(1, 2, 3).t_(), RuntimeError),
        (lambda: x.transpose_(0, 2), IndexError),
        (lambda: x.unsqueeze_(4), IndexError),
        (lambda: x.squeeze_(2), IndexError),
        (lambda: x.as_strided_((7,), (1,)), RuntimeError),
        (lambda: matrix().requires_grad_().transpose_(0, 5), RuntimeError),
    ]:
        with pytest.raises(error):
            call()
    assert x.shape == (2, 3) and x._version == 0
    assert ferrograd.tensor(1.0).t_().shape == () and ferrograd.ones(2, 3, dtype=ferrograd.int64).t_().shape == (3, 2)


def test_other_memory_ends_the_history():
    x = matrix()
    v = x[:]
    assert v.resize_(3)._version == 1 and x._version == 1 and v.tolist() == [0, 1, 2]
    x = ferrograd.ones(1)
    # Memory that is too small, large enough, or of the shape already.
    versions = [x.resize_(*shape)._version for shape in ((1, 2), (3,), (2,), (2,))] + [x.resize_as_(x)._version]
    assert versions == [1, 2, 3, 3, 3]
    leaf = matrix().requires_grad_()
    with pytest.raises(RuntimeError):
        leaf.set_(ferrograd.ones(2, dtype=F64))
    with ferrograd.no_grad():
        assert leaf.set_(ferrograd.ones(2, dtype=F64)).is_leaf and leaf.requires_grad and leaf.tolist() == [1, 1]
    for whole in (True, False):
        x = matrix().requires_grad_() * 1
        y = x * x
        (x if whole else x[:]).set_(ferrograd.ones(2, dtype=F64))
        with pytest.raises(RuntimeError, match="derivative for aten::set_ is not implemented"):
            x.sum().backward()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_history_of_what_was_set_to_a_number_is_the_old_one_only():
    x = ferrograd.ones(3, requires_grad=True)
    y = x.clone()
    view = y[1:]
    for write in (view.zero_, lambda: view.fill_(2), y.zero_, lambda: y.fill_(2)):
        before = y.grad_fn
        write()
        assert y.grad_fn.next_functions == ((before, 0),)
    y.copy_(ferrograd.ones(3))
    assert y.grad_fn.next_functions[1] == (None, 0)
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_a_product_of_a_vector_is_no_view():
    x, weight = ferrograd.ones(3, requires_grad=True), ferrograd.ones(2, 3)
    for y in (x @ weight.t(), ferrograd.nn.functional.linear(x, weight)):
        assert not y._is_view() and not y.detach_().requires_grad


VECTOR, MATRIX, ONE, SCALAR = ferrograd.ones(3), ferrograd.ones(3, 2), ferrograd.tensor([0]), ferrograd.tensor(2.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda: VECTOR @ MATRIX,
        lambda: ferrograd.addmv(ferrograd.ones(3), ferrograd.ones(3, 3), VECTOR),
        lambda: ferrograd.kron(MATRIX, MATRIX),
        lambda: ferrograd.nn.functional.embedding(ferrograd.zeros(2, 2, dtype=ferrograd.int64), MATRIX),
        lambda: SCALAR.index_add(0, ONE, ONE.float()[0]),
        lambda: SCALAR.index_copy(0, ONE, ONE.float()[0]),
        lambda: SCALAR.index_fill(0, ONE, 1.0),
        lambda: SCALAR.index_select(0, ONE),
        lambda: SCALAR.scatter(0, ONE[0], 1.0),
        lambda: SCALAR.scatter_add(0, ONE[0], SCALAR),
        lambda: MATRIX.put(ONE, ONE.float()),
        lambda: MATRIX.quantile(0.5, 0),
        lambda: MATRIX.quantile(ferrograd.tensor([0.5]), 0),
        lambda: ferrograd.linalg.matrix_norm(MATRIX, 1),
        lambda: ferrograd.linalg.qr(MATRIX)[0],
        lambda: ferrograd.linalg.svd(MATRIX)[0],
        lambda: ferrograd.linalg.lu_factor(ferrograd.eye(2))[0],
        lambda: ferrograd.linalg.eigh(MATRIX.T @ MATRIX)[1],
    ],
)
def test_results_that_are_made_by_a_view_are_none_to_the_user(f):
    with ferrograd.no_grad():
        y = f()
    assert y._base is None and y.detach_() is y
    y.mul_(ferrograd.ones((), requires_grad=True))
