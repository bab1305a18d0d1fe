"""Views share memory, and lie where numpy says they do."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferrograd

VIEWS = {
    "t": lambda d, a: (lambda x: x.transpose(0, -1), lambda x: x.swapaxes(0, -1)),
    "flip_dims": lambda d, a: (lambda x: x.permute(*range(x.ndim)[::-1]), lambda x: x.transpose()),
    "unsqueeze": lambda d, a: (lambda x: x.unsqueeze(d), lambda x: np.expand_dims(x, d)),
    "select": lambda d, a: (lambda x: x.select(d, a), lambda x: x[(slice(None),) * d + (a, ...)]),
    "narrow": lambda d, a: (lambda x: x.narrow(d, a, 1), lambda x: x[(slice(None),) * d + (slice(a, a + 1),)]),
    "step": lambda d, a: (lambda x: x[(slice(None),) * d + (slice(a, None, 2),)], lambda x: x[(slice(None),) * d + (slice(a, None, 2),)]),
    "diagonal": lambda d, a: (lambda x: x.diagonal(a, 0, -1), lambda x: x.diagonal(a, 0, -1)),
    "unfold": lambda d, a: (lambda x: x.unfold(d, a + 1, 1), lambda x: np.lib.stride_tricks.sliding_window_view(x, a + 1, d, writeable=True)),
}  # fmt: skip


@st.composite
def chains(draw):
    """An array, and names of views with their arguments, each of which fits."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    steps = []
    view = array
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from(sorted(VIEWS)))
        if view.ndim == 0 and name != "unsqueeze" or view.ndim < 2 and name == "diagonal":
            continue
        d = draw(st.integers(0, max(view.ndim - 1, 0)))
        a = draw(st.integers(0, view.shape[d] - 1)) if view.ndim else 0
        if name == "diagonal":
            a = draw(st.integers(0, view.shape[-1] - 1))
        steps.append(VIEWS[name](d, a))
        view = steps[-1][1](view)
        if view.size == 0:
            break
    return array, steps


@settings(max_examples=300, deadline=None)
@given(chains())
def test_chains_of_views(example):
    array, steps = example
    x = ferrograd.from_numpy(array)
    y, want = x, array
    for ours, numpys in steps:
        y, want = ours(y), numpys(want)
    assert tuple(y.shape) == want.shape
    np.testing.assert_array_equal(y.numpy(), want)
    if want.size == 0:
        return
    assert y.data_ptr() == want.__array_interface__["data"][0]
    assert y.storage_offset() * 8 == y.data_ptr() - x.data_ptr()
    wide = [d for d, size in enumerate(want.shape) if size > 1]
    assert [y.stride(d) * 8 for d in wide] == [want.strides[d] for d in wide]


@settings(max_examples=100, deadline=None)
@given(chains())
def test_writing_through_views(example):
    array, steps = example
    base = ferrograd.from_numpy(array.copy())
    # The array counts its places, so a view of it says which of them it shows.
    y, places = base, array
    for ours, numpys in steps:
        y, places = ours(y), numpys(places)
    if len(set(places.ravel())) != places.size:
        return  # Places that coincide are not to be written to.
    values = np.asarray(-np.arange(1.0, places.size + 1)).reshape(places.shape)
    y.copy_(ferrograd.from_numpy(values))
    want = array.ravel()
    want[places.ravel().astype(int)] = values.ravel()
    np.testing.assert_array_equal(base.numpy().ravel(), want)


X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.view(4, 6), lambda x: x.reshape(-1), lambda x: x.flatten(), lambda x: x.ravel(), lambda x: x.expand(5, 2, 3, 4),
        lambda x: x.squeeze(), lambda x: x.movedim(0, 2), lambda x: x.mT, lambda x: x.split(1)[0], lambda x: x.unbind()[0],
        lambda x: x.chunk(2)[0], lambda x: x.tensor_split(2)[0], lambda x: x.unflatten(2, (2, 2)), lambda x: x.as_strided((2,), (3,)),
        lambda x: x.view_as(x), lambda x: x.contiguous(), lambda x: x.broadcast_to((2, 3, 4)), lambda x: x.view(ferrograd.int64),
    ],
)  # fmt: skip
def test_shared(view):
    x = ferrograd.from_numpy(X.copy())
    y = view(x)
    assert y.data_ptr() == x.data_ptr()
    x[0, 0, 0] = -1.0
    assert y.numpy().ravel()[0] in (-1.0, np.array(-1.0).view(np.int64))


@pytest.mark.parametrize(
    "copy",
    [
        lambda x: x.clone(), lambda x: x.mT.reshape(-1), lambda x: x.mT.contiguous(), lambda x: x.repeat(1, 1, 1), lambda x: x.flip(()),
        lambda x: x.roll(0, 0), lambda x: x.tril(), lambda x: x[[0, 1]], lambda x: x.mT.flatten(), lambda x: x.diagonal(0, 1, 2).clone(),
        lambda x: x.index_select(0, ferrograd.from_numpy(np.array([0, 1]))), lambda x: x[True], lambda x: ferrograd.cat([x]),
        lambda x: ferrograd.view_copy(x, -1), lambda x: ferrograd.expand_copy(x, (2, 3, 4)),
    ],
)  # fmt: skip
def test_copied(copy):
    x = ferrograd.from_numpy(X.copy())
    y = copy(x)
    before = y.numpy().copy()
    x.zero_()
    np.testing.assert_array_equal(y.numpy(), before)


def test_view_as_dtype():
    x = ferrograd.from_numpy(X.astype(np.float32))
    np.testing.assert_array_equal(x.view(ferrograd.int32).numpy(), X.astype(np.float32).view(np.int32))
    np.testing.assert_array_equal(x.view(ferrograd.uint8).numpy(), X.astype(np.float32).view(np.uint8))
    assert tuple(x.view(ferrograd.float64).shape) == (2, 3, 2)
    for bad in (lambda: x[..., 1:].view(ferrograd.float64), lambda: x.mT.view(ferrograd.int16), lambda: x[0, 0, 0].view(ferrograd.float64)):
        with pytest.raises(RuntimeError):
            bad()


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda x: x.view(5), RuntimeError), (lambda x: x.mT.view(-1), RuntimeError), (lambda x: x.view(-1, -1), RuntimeError),
        (lambda x: x.view(), TypeError), (lambda x: x.permute(0, 1), RuntimeError), (lambda x: x.permute(0, 0, 1), RuntimeError),
        (lambda x: x.transpose(0, 3), IndexError), (lambda x: x.expand(2, 3, 5), RuntimeError), (lambda x: x.expand(3), RuntimeError),
        (lambda x: x.select(0, 2), IndexError), (lambda x: x.narrow(0, 1, 2), RuntimeError), (lambda x: x.narrow(0, 5, 1), IndexError),
        (lambda x: x.split(0), RuntimeError), (lambda x: x.split([1, 3]), RuntimeError), (lambda x: x.chunk(0), RuntimeError),
        (lambda x: x.t(), RuntimeError), (lambda x: x.H, RuntimeError), (lambda x: x.flatten(1, 0), RuntimeError),
        (lambda x: x.diagonal(0, 1, 1), RuntimeError), (lambda x: x.unfold(0, 3, 1), RuntimeError), (lambda x: x.unfold(0, 1, 0), RuntimeError),
        (lambda x: x.as_strided((100,), (1,)), RuntimeError), (lambda x: x.as_strided((2,), (-1,)), RuntimeError),
        (lambda x: x.as_strided((2,), (2**62,)), RuntimeError), (lambda x: x.unsqueeze(5), IndexError), (lambda x: x.squeeze(3), IndexError),
        (lambda x: ferrograd.cat([]), ValueError), (lambda x: ferrograd.cat([x, x[0]]), RuntimeError), (lambda x: ferrograd.stack([]), RuntimeError),
        (lambda x: ferrograd.cat([x, 1]), TypeError), (lambda x: x.repeat(2), RuntimeError), (lambda x: x.repeat(-1, 1, 1), RuntimeError),
        (lambda x: x.flip(0, 0), RuntimeError), (lambda x: x.rot90(1, (0, 0)), RuntimeError), (lambda x: x.expand(2**40, 2**40, 2, 3, 4).contiguous(), RuntimeError),
    ],
)  # fmt: skip
def test_errors(call, error):
    with pytest.raises(error):
        call(ferrograd.from_numpy(X))


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda x: x.view(12), "ViewBackward0"), (lambda x: x.reshape(12), "ViewBackward0"), (lambda x: x.t().reshape(12), "UnsafeViewBackward0"),
        (lambda x: x.t(), "TBackward0"), (lambda x: x.T, "PermuteBackward0"), (lambda x: x.mT, "TransposeBackward0"),
        (lambda x: x.expand(2, 3, 4), "ExpandBackward0"), (lambda x: x.squeeze(), "SqueezeBackward0"), (lambda x: x.squeeze(0), "SqueezeBackward1"),
        (lambda x: x[0], "SelectBackward0"), (lambda x: x[0:1], "SliceBackward0"), (lambda x: x[:, 0], "SelectBackward0"),
        (lambda x: x[None], "UnsqueezeBackward0"), (lambda x: x[...], "AliasBackward0"), (lambda x: x[[0, 1]], "IndexBackward0"),
        (lambda x: x.split(2)[0], "SplitBackward0"), (lambda x: x.split([2, 1])[0], "SplitWithSizesBackward0"), (lambda x: x.unbind()[0], "UnbindBackward0"),
        (lambda x: ferrograd.cat([x, x]), "CatBackward0"), (lambda x: ferrograd.stack([x, x]), "StackBackward0"), (lambda x: x.clone(), "CloneBackward0"),
        (lambda x: x.diagonal(), "DiagonalBackward0"), (lambda x: x.as_strided((2,), (1,)), "AsStridedBackward0"), (lambda x: x.repeat(2, 2), "RepeatBackward0"),
    ],
)  # fmt: skip
def test_names_of_nodes(call, name):
    assert call(ferrograd.from_numpy(np.ones((3, 4))).requires_grad_()).grad_fn.name() == name


@pytest.mark.parametrize(
    "size, stride, offset, want, first, src_grad, second",
    [
        # The gradient that torch gives to the tensor: that of the places replaced, where it should be 0.
        ((2, 2), (1, 2), 1, [1, 10, 12, 11, 13, 6], [0, 2, 3, 4, 5, 0], [[2, 4], [3, 5]], [0, 5, 8, 8, 11, 0]),
        ((2, 2), (1, 1), 0, [10, 12, 13, 4, 5, 6], [1, 2, 3, 0, 0, 0], [[1, 2], [2, 3]], [4, 13, 9, 0, 0, 0]),
        ((2,), (1,), None, [10, 11, 3, 4, 5, 6], [1, 2, 0, 0, 0, 0], [1, 2], [4, 6, 0, 0, 0, 0]),
        ((), (), 2, [1, 2, 10, 4, 5, 6], [0, 0, 3, 0, 0, 0], 3, [0, 0, 6, 0, 0, 0]),
        ((3,), (2,), 1, [1, 10, 3, 11, 5, 12], [0, 2, 0, 4, 0, 6], [2, 4, 6], [0, 5, 0, 8, 0, 11]),
    ],
)
def test_as_strided_scatter(size, stride, offset, want, first, src_grad, second):
    f64 = ferrograd.float64
    x = ferrograd.arange(1, 7, dtype=f64).view(2, 3).requires_grad_()
    src = ferrograd.arange(10, 10 + int(np.prod(size)), dtype=f64).view(size).requires_grad_()
    y = x.as_strided_scatter(src, size, stride, offset)
    g = ferrograd.arange(1, 7, dtype=f64).view(2, 3).requires_grad_()
    grads = ferrograd.autograd.grad(y, [x, src], g, create_graph=True)
    assert [t.flatten().tolist() for t in (y, grads[0])] == [want, first] and grads[1].tolist() == src_grad
    again = [ferrograd.arange(2, 2 + t.numel(), dtype=f64).view(t.shape) for t in grads]
    (gg,) = ferrograd.autograd.grad(grads, [g], again)
    assert gg.flatten().tolist() == second


def test_as_strided_scatter_sees_the_memory():
    base = ferrograd.arange(12).view(3, 4)
    src = ferrograd.tensor([[100, 101], [102, 103]])
    assert base.t().as_strided_scatter(src, (2, 2), (1, 2), 1).tolist() == [[0, 103, 8], [100, 5, 9], [102, 6, 10], [101, 7, 11]]
    y = base[1:, 1:].as_strided_scatter(src[0], (2,), (1,))
    assert y.tolist() == [[100, 101, 7], [9, 10, 11]] and y.stride() == (4, 1) and y.storage_offset() == 5
    assert base.tolist() == ferrograd.arange(12).view(3, 4).tolist()
    x = ferrograd.randn(2, 2, requires_grad=True)
    for call in (
        lambda: x.t().as_strided_scatter(x, (2, 2), (2, 1)),
        lambda: base.as_strided_scatter(src, (2, 2), (0, 1)),
        lambda: base.as_strided_scatter(src, (4,), (1,)),
        lambda: base.as_strided_scatter(src, (2, 2), (2, 1), 10),
    ):
        with pytest.raises(RuntimeError):
            call()


@pytest.mark.parametrize("lengths", [(60_000, 60_000), (600, 60_000), (60_000, 0, 7, 90_000), (200_000,)])
def test_large_tensors_are_joined(lengths):
    """Guard: a thread's share may begin in any part. It never ended where that was not the first."""
    parts = [np.arange(n, dtype=np.float64) + n for n in lengths]
    joined = ferrograd.cat([ferrograd.from_numpy(part) for part in parts])
    np.testing.assert_array_equal(joined.numpy(), np.concatenate(parts))
    rows = [np.stack([part, -part, part + 1]) for part in parts]
    joined = ferrograd.cat([ferrograd.from_numpy(part) for part in rows], 1)
    np.testing.assert_array_equal(joined.numpy(), np.concatenate(rows, 1))


def test_broadcast_operands_decide_the_order_in_memory():
    x = ferrograd.empty_strided((4, 4, 1), (1, 4, 16)).fill_(2.0)
    rows = ferrograd.empty_strided((4, 4), (8, 2)).fill_(3.0)
    # Neither is of the shape of the result, and the first that can tell decides.
    assert (rows + x).stride() == (4, 16, 1) and (x + rows).stride() == (4, 16, 1)
    assert (ferrograd.ones(4, 1) + ferrograd.ones(1, 4)).stride() == (4, 1)
    assert (ferrograd.ones(3, 1, 2) + ferrograd.ones(4, 2)).stride() == (8, 2, 1)


def test_contiguous_format_converts_only_channels_last():
    x = ferrograd.empty_strided((2, 3), (6, 2)).fill_(1.0)
    assert x.float(memory_format=ferrograd.contiguous_format) is x
    y = ferrograd.ones(2, 3, 4, 5).contiguous(memory_format=ferrograd.channels_last)
    assert y.float(memory_format=ferrograd.contiguous_format).stride() == (60, 20, 5, 1)


def test_resizing_to_the_same_shape_changes_nothing():
    x = ferrograd.arange(6).reshape(2, 3).t()
    assert x.resize_(3, 2).stride() == (1, 3) and x.resize_as_(ferrograd.ones(3, 2)).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_broadcast_to_takes_sizes_one_by_one():
    x = ferrograd.tensor([1, 2])
    assert x.broadcast_to(2, 2).tolist() == x.broadcast_to(size=(2, -1)).tolist() == x.broadcast_to([2, 2]).tolist() == [[1, 2]] * 2


def test_triangles_are_contiguous():
    x = ferrograd.arange(6).reshape(3, 2).t()
    assert x.tril().stride() == x.triu(1).stride() == (3, 1) and x.tril().tolist() == [[0, 0, 0], [1, 3, 0]]
    assert x.clone().tril_().stride() == x.stride() == (1, 2)


def test_the_base_is_the_very_object():
    x = ferrograd.ones(2, 3)
    y = x * 2
    for base in (x, y, ferrograd.ones(2, 3, requires_grad=True) * 1, ferrograd.ones(2, 3, requires_grad=True)):
        assert base._base is None and base[0]._base is base and base.t()[0].view(2, 1)._base is base
    view = (x * 2)[0]
    assert view._base is not None and view._base.shape == (2, 3)
    base = view._base
    assert view._base is base and base._base is None


def test_the_base_of_a_view_that_shows_other_memory():
    """Guard: the base stays in the memory that it was in, of which there may be more."""
    view = ferrograd.arange(6.0).view(2, 3)[1]
    view.data = ferrograd.zeros(1)
    assert view._base.tolist() == [0, 1, 2, 3, 4, 5] and view.tolist() == [0]
    view.data = ferrograd.zeros(2)
    assert view[:1]._base.tolist() == view._base.tolist() == [0, 1, 2, 3, 4, 5]


def test_storages():
    x = ferrograd.arange(6.0).reshape(2, 3)
    part = x[1:]
    memory = part.untyped_storage()
    assert memory.nbytes() == memory.size() == len(memory) == 24 and memory.data_ptr() == x.data_ptr()
    assert memory == x.untyped_storage() and memory != ferrograd.arange(6.0).untyped_storage()
    assert bytes(memory) == x.numpy().tobytes() and memory[4:8].tolist() == memory.tolist()[4:8]
    elements = part.storage()
    assert (elements.size(), elements.nbytes(), elements.element_size(), elements.dtype) == (6, 24, 4, ferrograd.float32)
    assert list(elements) == [0, 1, 2, 3, 4, 5] and elements[-1] == 5 and elements.untyped() == memory
    elements[3] = 9
    assert part[0, 0] == 9 and memory.clone().fill_(0).tolist() == [0] * 24 and part[0, 0] == 9
    assert memory.device == x.device and isinstance(memory, ferrograd.storage.UntypedStorage)
    assert memory.resize_(24) is memory and "of size 6]" in repr(elements)
    for call in (lambda: memory.resize_(8), lambda: elements[1:2]):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(IndexError):
        elements[6]
    assert ferrograd.empty(0).untyped_storage().nbytes() == 0


def test_copies_of_windows():
    x = ferrograd.arange(6.0).reshape(2, 3)
    y = x.narrow_copy(1, -2, 2)
    assert y.tolist() == [[1, 2], [4, 5]] and y.stride() == (2, 1) and y._base is None
    with pytest.raises(RuntimeError):
        x.narrow_copy(1, 2, 2)


def test_where_results_lie_in_memory():
    """As torch's: dims along which an op works come first in memory, or last."""
    x = ferrograd.arange(24.0).reshape(2, 3, 4)
    q = ferrograd.tensor([0.25, 0.75])
    for y, stride in (
        (x.quantile(q, 1), (1, 8, 2)),
        (x.quantile(q, 1, keepdim=True), (1, 8, 8, 2)),
        (x.permute(2, 0, 1).nanquantile(q, 2), (1, 4, 2)),
        (x.quantile(q), (1,)),
        (x.unique(dim=1), (4, 8, 1)),
        (x.unique(dim=2), (3, 1, 6)),
        (x.permute(2, 0, 1).unique_consecutive(dim=1), (3, 12, 1)),
    ):
        assert y.stride() == stride
    assert x.unique(dim=2).equal(x)
    np.testing.assert_allclose(x.quantile(q, 1).numpy(), np.quantile(x.numpy(), q.numpy(), 1))


def test_joined_channels_last():
    last = {"memory_format": ferrograd.channels_last}
    a, b = ferrograd.arange(120.0).reshape(2, 3, 4, 5), ferrograd.arange(120.0).add(1000).reshape(2, 3, 4, 5)
    for dim in range(4):
        want = np.concatenate([a.numpy(), b.numpy()], dim)
        for x, y in ((a, b), (a.contiguous(**last), b.contiguous(**last)), (a.contiguous(**last), b.double().contiguous(**last))):
            assert np.array_equal(ferrograd.cat([x, y], dim).numpy(), want)
        z = ferrograd.cat([a.contiguous(**last), b.contiguous(**last)], dim)
        assert z.is_contiguous(**last) and ferrograd.cat([a.contiguous(**last), b], dim).is_contiguous()
    parts = a.contiguous(**last)[:, :, ::2]
    assert ferrograd.cat([parts, parts], 1).stride() == (60, 1, 30, 6)
    assert ferrograd.cat([a.contiguous(**last)[:, :1]] * 2, 1).stride() == (40, 1, 10, 2)
    x = a.contiguous(**last).requires_grad_()
    (ferrograd.cat([x, x * 2], 1) * ferrograd.cat([a, b], 1)).sum().backward()
    assert x.grad.equal(a + 2 * b)
    deep = ferrograd.arange(24.0).reshape(1, 2, 3, 2, 2)
    z = ferrograd.cat([deep.contiguous(memory_format=ferrograd.channels_last_3d)] * 2, 1)
    assert z.stride() == (48, 1, 16, 8, 4) and np.array_equal(z.numpy(), np.concatenate([deep.numpy()] * 2, 1))


def test_strides_of_dims_of_size_1_are_handed_on():
    x = ferrograd.arange(3.0).reshape(1, 3).t()
    assert x.stride() == (1, 3) and x.is_contiguous()
    assert x.view(3, 1, 1).stride() == (1, 3, 3) and x.reshape(1, 3, 1).stride() == x.unflatten(0, (1, 3)).stride() == (3, 1, 3)
    assert x.view(1, 3).stride() == (3, 1) and x.flatten().stride() == (1,)
    assert ferrograd.ones(2, 3)[:1, :1].view(1, 1, 1).stride() == (1, 1, 1)


@pytest.mark.parametrize("split", [lambda x: x.unsafe_split(1), lambda x: x.unsafe_split_with_sizes((1, 1)), lambda x: x.unsafe_chunk(2)])
def test_writes_to_unsafe_parts_are_not_looked_after(split):
    x = ferrograd.tensor([[2.0], [3.0]], requires_grad=True)
    y = x * 1
    first, second = split(y)
    first.mul_(second)
    assert (first._version, second._version, y._version) == (1, 0, 0) and y.tolist() == [[6.0], [3.0]]
    first.sum().backward()
    assert x.grad.tolist() == [[3.0], [2.0]]


def test_a_layer_transposes_its_weight():
    x, w, b = (ferrograd.ones(*shape, requires_grad=True) for shape in ((4, 3), (2, 3), (2,)))
    y = ferrograd.nn.functional.linear(x, w, b)
    assert [node.name() for node, _ in y.grad_fn.next_functions] == ["torch::autograd::AccumulateGrad"] * 2 + ["TBackward0"]


def test_what_changes_nothing_answers_the_tensor_itself():
    x = ferrograd.ones(2, 3, requires_grad=True)
    assert x.positive() is x and +x is x and ferrograd.positive(x) is x and x.sum_to_size(2, 3) is x
    y = ferrograd.ones((), requires_grad=True).movedim(0, -1)
    assert y.grad_fn.name() == "AliasBackward0" and y._is_view()


def test_flattened_is_itself_where_there_is_nothing_to_do():
    x = ferrograd.ones(2, 3)
    assert x[0].flatten()._base is x and x.flatten(1) is x and x.flatten(0, -2) is x and ferrograd.flatten(x, 1) is x
    line = ferrograd.ones(3)
    assert line.flatten() is line and ferrograd.nn.Flatten(0)(line) is line
    number = ferrograd.ones(())
    assert number.flatten() is not number and number.flatten().shape == (1,) and x.flatten() is not x


def test_strides_of_new_dims():
    """A new dim of size 1 lies around the others, one of another size and one of a number have stride 0."""
    x = ferrograd.rand(5)
    assert x.expand(1, 1, 5).stride() == x[None, None].stride() == (5, 5, 1)
    assert x.expand(3, 1, 5).stride() == (0, 5, 1) and ferrograd.rand(5, 1).expand(1, 5, 1).stride() == (5, 1, 1)
    assert ferrograd.rand(2, 1, 5)[..., :2].expand(1, 3, 2, 1, 2).stride() == (0, 0, 5, 5, 1)
    assert ferrograd.rand(()).expand(1, 1).stride() == (0, 0) and ferrograd.rand(0, 3).expand(2, 1, 0, 3).stride() == (0, 0, 3, 1)


def test_tensors_without_elements_are_contiguous():
    x = ferrograd.rand(2, 3, 4, 5)[..., 1][:, 1:1]
    assert x.shape == (2, 0, 4) and x.stride() == (60, 20, 5) and x.is_contiguous() and x.contiguous() is x
    assert (x + 1).stride() == (4, 4, 1) and ferrograd.empty_like(x).stride() == (60, 20, 5)
    assert ferrograd.zeros(2, 0, 4).transpose(0, 2).contiguous().stride() == (1, 4, 4)


def test_sizes_that_are_too_large_to_multiply():
    """Their product is 0 in 64 bits."""
    for sizes in ((8, 8, 2**29, 2**29), (8, 8, 2**29, 2**29, -1)):
        for x in (ferrograd.zeros(0), ferrograd.zeros(4)):
            with pytest.raises(RuntimeError, match="invalid for input of size"):
                x.view(sizes)
    assert ferrograd.zeros(0).view(2**40, 2**40, 0).numel() == 0


def test_memory_shown_in_another_way():
    x = ferrograd.arange(12.0)
    for memory in (x, x.storage(), x.untyped_storage()):
        y = ferrograd.zeros(1).set_(memory, 2, (2, 2), (3, 1))
        assert y.tolist() == [[2, 3], [5, 6]] and y.data_ptr() == x[2:].data_ptr()
        assert ferrograd.zeros(1).set_(memory, 2, (2, 2)).tolist() == [[2, 3], [4, 5]]
        assert ferrograd.zeros(1).set_(memory).equal(x)
    assert ferrograd.zeros(1).set_(x[4:], 2, (2, 2), (3, 1)).tolist() == [[6, 7], [9, 10]]
    assert ferrograd.zeros(1, dtype=ferrograd.int64).set_(x.untyped_storage()).shape == (6,)
    y = ferrograd.rand(1, 4)
    assert y.set_(y.storage(), 0, y.size(), (20, 1)).stride() == (20, 1) and y.is_contiguous()
    zeros = ferrograd.zeros(1)
    for arguments in ((x.storage(), 2, (20,)), (x, -1, (2,)), (x, 0, (2,), (-1,)), (x, 0, (2,), (1, 1)), (x, 1), (x.long().storage(),)):
        with pytest.raises(RuntimeError, match="set_: "):
            zeros.set_(*arguments)
    with pytest.raises(TypeError, match="expected a Tensor or a storage"):
        zeros.set_([1.0])
    assert zeros.shape == (1,)


def test_resizing_to_a_memory_format():
    last = ferrograd.channels_last
    x = ferrograd.arange(6.0)
    assert x.resize_(1, 2, 1, 3, memory_format=last).stride() == (6, 1, 6, 2) and x.flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert x.resize_(1, 2, 1, 3, memory_format=ferrograd.contiguous_format).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert ferrograd.zeros(1).resize_(2, 3, 4, 5, memory_format=last).is_contiguous(memory_format=last)
    other = ferrograd.zeros(2, 3, 4, 5).contiguous(memory_format=last)
    for options, stride in (
        ({}, (60, 20, 5, 1)),
        ({"memory_format": ferrograd.preserve_format}, (60, 1, 15, 3)),
        ({"memory_format": last}, (60, 1, 15, 3)),
    ):
        assert ferrograd.zeros(3).resize_as_(other, **options).stride() == stride
    for sizes, form in (((6,), last), ((6,), ferrograd.preserve_format)):
        with pytest.raises(RuntimeError, match="memory.format|rank 4"):
            x.resize_(*sizes, memory_format=form)


def test_what_has_its_shape_already_is_itself():
    x, y = ferrograd.ones(1, 2, 3), ferrograd.ones(3)
    for f in (ferrograd.atleast_1d, ferrograd.atleast_2d, ferrograd.atleast_3d):
        assert f(x) is x and f(x, x) == (x, x) and f([x, y])[0] is x
    assert ferrograd.atleast_1d() == ferrograd.atleast_1d([]) == ()
    assert ferrograd.atleast_2d(y) is not y and ferrograd.atleast_2d(y).shape == (1, 3)
    a, b = ferrograd.broadcast_tensors(x, y)
    assert a is x and b.shape == x.shape and b._base is y
    zero = ferrograd.tensor(2.0, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert zero.mT is zero and zero.mH is zero and zero.H is zero and zero.adjoint() is zero


def test_slices_that_keep_all_make_no_node():
    x = ferrograd.ones(1, 3, requires_grad=True)
    names = [y.grad_fn.name() for y in (x[..., 0:3], x[0:1, :], x[0, 0:3], x[0:1])]
    assert names == ["AliasBackward0", "AliasBackward0", "SelectBackward0", "SliceBackward0"]
