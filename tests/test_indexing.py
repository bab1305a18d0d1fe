"""Brackets, against numpy: random index expressions read and assigned; and what torch does beyond numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferrograd


def tensor(array):
    return ferrograd.from_numpy(np.array(array))


@st.composite
def arrays_with_keys(draw):
    """An array, and an index expression for it: in numpy's terms, and in ours."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape)
    if draw(st.booleans()) and len(shape) > 1:
        array = array.swapaxes(0, -1)
    common = draw(st.sampled_from([(2,), (1,), (3, 1), (2, 2), (0,)]))
    mine, numpys, dim = [], [], 0
    ellipsis = False
    # Numpy counts an integer among the lists as one of them, torch does not: they never stand together here.
    lists = draw(st.booleans())
    while dim < array.ndim and draw(st.integers(0, 5)):
        size = array.shape[dim]
        kind = draw(st.sampled_from(["slice", "new", "ellipsis", "list" if lists else "int", "mask"]))
        if kind == "int" and size:
            part = draw(st.integers(-size, size - 1))
            dim += 1
        elif kind == "new":
            part = None
        elif kind == "ellipsis":
            if ellipsis:
                continue
            ellipsis, part = True, ...
            dim += draw(st.integers(0, array.ndim - dim))
            remaining = array.ndim - dim
            mine.append(part)
            numpys.append(part)
            if remaining == 0:
                break
            # What follows must name all the dims left, for the two to agree on what is skipped.
            mine.extend([slice(None)] * remaining)
            numpys.extend([slice(None)] * remaining)
            dim = array.ndim
            continue
        elif kind == "list" and size:
            wide = draw(st.lists(st.integers(-size, size - 1), min_size=int(np.prod(common)), max_size=int(np.prod(common))))
            part = np.array(wide, dtype=np.int64).reshape(common)
            mine.append(draw(st.sampled_from([part, tensor(part), tensor(part.astype(np.int32))])))
            numpys.append(part)
            dim += 1
            continue
        else:
            bounds = st.none() | st.integers(-size - 2, size + 2)
            part = slice(draw(bounds), draw(bounds), draw(st.none() | st.integers(1, 3)))
            dim += 1
        mine.append(part)
        numpys.append(part)
    return array, tuple(mine), tuple(numpys)


@settings(max_examples=400, deadline=None)
@given(arrays_with_keys())
def test_reading(example):
    array, key, numpy_key = example
    want = array[numpy_key]
    got = tensor(array)[key]
    assert tuple(got.shape) == want.shape
    np.testing.assert_array_equal(got.numpy(), want)


@settings(max_examples=400, deadline=None)
@given(arrays_with_keys(), st.booleans())
def test_assignment(example, number):
    array, key, numpy_key = example
    array = np.ascontiguousarray(array)
    x = tensor(array)
    want = array.copy()
    shape = want[numpy_key].shape
    value = 7.0 if number else -np.arange(1.0, np.prod(shape, dtype=int) + 1).reshape(shape)
    # Where places repeat, numpy and torch leave open which value stays; ours is the last, as numpy's.
    want[numpy_key] = value
    x[key] = value if number else tensor(value)
    np.testing.assert_array_equal(x.numpy(), want)


@settings(max_examples=100, deadline=None)
@given(arrays_with_keys())
def test_gradient_of_reading(example):
    array, key, numpy_key = example
    x = tensor(array).requires_grad_()
    y = x[key]
    weights = np.arange(1.0, y.numel() + 1).reshape(tuple(y.shape))
    want = np.zeros_like(array)
    np.add.at(want, numpy_key, weights)
    (got,) = ferrograd.autograd.grad((y * tensor(weights)).sum(), [x])
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (3, 1, 2)])
def test_masks(shape):
    rng = np.random.default_rng(1)
    array = rng.normal(size=shape)
    for rank in range(1, len(shape) + 1):
        mask = rng.random(shape[:rank]) < 0.5
        np.testing.assert_array_equal(tensor(array)[tensor(mask)].numpy(), array[mask])
        np.testing.assert_array_equal(tensor(array)[mask].numpy(), array[mask])
        for value in (3.0, np.arange(float(array[mask].size)).reshape(array[mask].shape)):
            x, want = tensor(array), array.copy()
            x[tensor(mask)] = value if isinstance(value, float) else tensor(value)
            want[mask] = value
            np.testing.assert_array_equal(x.numpy(), want)
    last = rng.random(shape[-1:]) < 0.5
    np.testing.assert_array_equal(tensor(array)[..., last].numpy(), array[..., last])


def test_neighbouring_lists_stay_in_place_others_go_in_front():
    x = tensor(np.zeros((2, 3, 4, 5)))
    i, j = [0, 1], [1, 0]
    assert tuple(x[:, i, j].shape) == (2, 2, 5)
    assert tuple(x[i, :, j].shape) == (2, 3, 5)
    assert tuple(x[:, i, :, j].shape) == (2, 2, 4)
    # An integer is taken first, as in torch, and does not count as a list.
    assert tuple(x[0, :, i].shape) == (3, 2, 5)


def test_one_flag_assigns_all_or_nothing():
    x = ferrograd.zeros(2, 3)
    x[True] = ferrograd.arange(3)
    assert x.tolist() == [[0, 1, 2], [0, 1, 2]]
    x[False] = ferrograd.ones(7)
    x[False] = 9
    assert x.tolist() == [[0, 1, 2], [0, 1, 2]]
    x[True] = ferrograd.tensor(5)
    assert x.tolist() == [[5, 5, 5], [5, 5, 5]]
    with pytest.raises(RuntimeError):
        x[True] = ferrograd.ones(7)


def test_flags_and_empty_keys():
    x = tensor(np.arange(6.0).reshape(2, 3))
    assert tuple(x[True].shape) == (1, 2, 3)
    assert tuple(x[False].shape) == (0, 2, 3)
    assert tuple(x[()].shape) == (2, 3)
    assert tuple(x[[]].shape) == (0, 3)
    assert x[()].data_ptr() == x.data_ptr()


@pytest.mark.parametrize(
    "key, error",
    [
        (5, IndexError), (-3, IndexError), ((0, 3), IndexError), ((0, 0, 0), IndexError), (1.5, IndexError), ("a", TypeError),
        (slice(None, None, -1), ValueError), (slice(None, None, 0), ValueError), (slice(1.5), TypeError), ([5], IndexError),
        ([0, -3], IndexError), (([0, 1], [0, 1, 2]), IndexError), (np.float64(0.5), IndexError), ({}, IndexError),
        (np.array([True, False, True]), IndexError), (2**70, ValueError),
    ],
)  # fmt: skip
def test_errors(key, error):
    x = tensor(np.zeros((2, 3)))
    with pytest.raises(error):
        x[key]
    with pytest.raises(error):
        x[key] = 1.0
    assert not x.numpy().any()


def test_zero_dims():
    x = tensor(2.5)
    assert x[0] == 2.5 and isinstance(x[0], float)
    assert isinstance(tensor(3)[0], int)
    for bad in (1, -1, (0, 0), slice(None)):
        with pytest.raises(IndexError):
            x[bad]
    assert tuple(x[None].shape) == (1,) and tuple(x[...].shape) == ()
    with pytest.raises(TypeError):
        iter(x)
    with pytest.raises(TypeError):
        len(x)


def test_iteration():
    x = tensor(np.arange(6.0).reshape(2, 3)).requires_grad_()
    rows = list(x)
    assert len(rows) == 2 and rows[1].grad_fn.name() == "UnbindBackward0"
    (rows[0] * 2 + rows[1]).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[2, 2, 2], [1, 1, 1]])


def test_assignment_converts_and_broadcasts():
    x = tensor(np.zeros((2, 3), np.int64))
    x[0] = tensor(np.array([1.9, 2.9, -3.9]))
    x[1, :2] = True
    np.testing.assert_array_equal(x.numpy(), [[1, 2, -3], [1, 1, 0]])
    x[:, 0] = tensor(np.ones((1, 1, 2), np.int64))
    np.testing.assert_array_equal(x.numpy()[:, 0], [1, 1])
    with pytest.raises(RuntimeError):
        x[0] = tensor(np.ones(4))
    with pytest.raises(RuntimeError):
        x[[0, 1]] = tensor(np.ones((2, 3)))
    with pytest.raises(TypeError):
        x[0] = [1, 2, 3]


def test_assignment_of_own_memory():
    x = tensor(np.arange(5.0))
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer to a single memory"):
        x[1:] = x[:-1]
    np.testing.assert_array_equal(x.numpy(), np.arange(5.0))
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer to a single memory"):
        x[[2, 3, 4]] = x[2:]
    x[[0, 1]] = x[[1, 0]]
    x[[2, 3, 4]] = x[::2]
    x[:] = x
    np.testing.assert_array_equal(x.numpy(), [1, 0, 1, 2, 4])
    x = tensor(np.arange(4.0).reshape(2, 2))
    x[:, 0] = x[:, 1]
    x[0] = x[0, 0]
    np.testing.assert_array_equal(x.numpy(), [[1, 1], [3, 3]])


def test_gradients_of_assignment():
    x = tensor(np.ones((3, 2))).requires_grad_()
    value = tensor(np.array([2.0, 3.0])).requires_grad_()
    y = x * 1
    y[0] = value
    y[[1, 2], [0, 0]] = value * 2
    y[y > 2.5] = 0.0
    (y * tensor(np.arange(1.0, 7).reshape(3, 2))).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0], [0, 4], [0, 6]])
    np.testing.assert_array_equal(value.grad.numpy(), [1, 0])


def test_a_leaf_that_requires_grad_is_not_assigned_to():
    x = tensor(np.ones(3)).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 1.0
    with ferrograd.no_grad():
        x[0] = 5.0
    assert x.detach().numpy()[0] == 5


def test_masks_of_bytes_warn_and_are_masks_as_arrays_too():
    x = tensor([[0, 1, 2], [3, 4, 5]])
    for mask in (ferrograd.tensor([1, 0], dtype=ferrograd.uint8), np.array([1, 0], np.uint8)):
        with pytest.warns(UserWarning, match="uint8"):
            assert x[mask].tolist() == [[0, 1, 2]]
    assert x[np.uint8(1)].tolist() == [3, 4, 5]
    assert x[np.array(1, np.uint8)].shape == (1, 2, 3)


def test_arrays_of_floats_are_places():
    x = tensor([[0, 1, 2], [3, 4, 5]])
    assert x[np.array([1.0, 0.2])].tolist() == [[3, 4, 5], [0, 1, 2]]
    assert x[np.array(1.0)].tolist() == [3, 4, 5]
    with pytest.raises(IndexError):
        x[np.float64(1)]


def test_a_list_that_stands_for_a_tuple_warns():
    x = tensor([[0, 1, 2], [3, 4, 5]])
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[[0, 1], [1, 2]]].tolist() == [1, 5]
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        x[[slice(0, 1), 1]] = 9
    assert x[[0]].tolist() == [[0, 9, 2]]


def test_results_of_indexing_lie_in_memory_as_what_is_indexed():
    x = ferrograd.zeros(2, 3, 4, 5).permute(3, 2, 1, 0)
    i = ferrograd.tensor([0, 1])
    assert x[i].stride() == (24, 1, 4, 12)
    assert x[:, i].stride() == (1, 15, 5, 30)
    assert x[i, :, i].stride() == (8, 1, 4)
    assert x[:, i.view(2, 1).expand(2, 2)].stride() == (1, 30, 15, 5, 60)
    assert x[ferrograd.tensor([True, False, True, False, False])].stride() == (24, 1, 4, 12)
    assert ferrograd.zeros(5, 4, 3)[:, i].stride() == (6, 3, 1)
    values = np.arange(120.0).reshape(2, 3, 4, 5).transpose(3, 2, 1, 0)
    picked = ferrograd.from_numpy(values)[:, i]
    np.testing.assert_array_equal(picked.numpy(), values[:, [0, 1]])


def test_assignment_of_the_same_elements():
    x = tensor(np.arange(4.0).reshape(2, 1, 2))
    x[0] = x[0]
    x[...] = x[:, 0].unsqueeze(1)
    x.unsqueeze(0)[...] = x
    np.testing.assert_array_equal(x.numpy(), np.arange(4.0).reshape(2, 1, 2))


def test_results_written_at_places_are_row_major():
    x = tensor(np.arange(6.0).reshape(2, 3)).t()
    mask, index = x > 2, ferrograd.zeros(3, 2, dtype=ferrograd.int64)
    results = [
        x.masked_fill(mask, 0),
        x.masked_scatter(mask, x),
        x.scatter(0, index, x),
        x.scatter_add(0, index, x),
        x.scatter_reduce(0, index, x, "sum"),
        x.index_reduce(0, ferrograd.tensor([0]), x[:1], "prod"),
    ]
    assert [y.stride() for y in results] == [(2, 1)] * len(results)
    np.testing.assert_array_equal(results[0].view(-1).numpy(), [0, 0, 1, 0, 2, 0])
    leaf = x.detach().requires_grad_()
    leaf.masked_fill(mask, 0).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), ~mask.numpy())
    x.masked_fill_(mask, -1)
    np.testing.assert_array_equal(x.numpy(), [[0, -1], [1, -1], [2, -1]])
    assert x.stride() == (1, 3)


def test_byte_masks_are_warned_of():
    x, mask = ferrograd.ones(3, 3), ferrograd.tensor([1, 0, 0], dtype=ferrograd.uint8)
    for call in (
        lambda: x[mask],
        lambda: x.index_put_((mask,), ferrograd.ones(1, 3)),
        lambda: x.index_put((mask,), ferrograd.ones(1, 3), accumulate=True),
    ):
        with pytest.warns(UserWarning, match="indexing with dtype torch.uint8 is now deprecated"):
            call()


def test_the_value_written_may_be_an_element_of_the_tensor():
    places = ferrograd.tensor([0, 0])
    mask = ferrograd.tensor([True, False, True])
    x = ferrograd.arange(3.0)
    assert x.masked_fill_(mask, x[1]).tolist() == [1.0, 1.0, 1.0]
    x = ferrograd.arange(3.0)
    assert x.index_fill_(0, places, x[1]) is x and x.tolist() == [1.0, 1.0, 2.0]
    for write, expected in (
        (lambda y: y.masked_fill_(mask, y[1]), [0.0, 6.0, 0.0]),
        (lambda y: y.index_fill_(0, places, y[1]), [0.0, 4.0, 4.0]),
    ):
        x = ferrograd.arange(3.0, requires_grad=True)
        y = x.clone()
        write(y).square().sum().backward()
        assert x.grad.tolist() == expected


def test_an_index_into_nothing_raises_as_torch_does():
    with pytest.raises(RuntimeError, match="out of bounds"):
        ferrograd.zeros(0, 3).index_select(0, ferrograd.tensor([0]))
    with pytest.raises(IndexError, match="out of bounds"):
        ferrograd.zeros(2, 3).index_select(0, ferrograd.tensor([2]))


def test_scatter_reduce_of_complex_numbers():
    x = ferrograd.tensor([1 + 1j, 2, 3])
    values, places = ferrograd.tensor([1j, 2]), ferrograd.tensor([0, 0])
    for reduce, with_self, without in (("sum", 3 + 2j, 2 + 1j), ("prod", -2 + 2j, 2j), ("mean", 1 + 2j / 3, 1 + 0.5j)):
        for include_self, first in ((True, with_self), (False, without)):
            y = x.scatter_reduce(0, places, values, reduce, include_self=include_self)
            assert y.tolist() == pytest.approx([first, 2, 3]), (reduce, include_self)
    assert x.scatter(0, places, values, reduce="multiply").tolist() == [-2 + 2j, 2, 3]
    assert x.scatter(0, places, 2.0, reduce="add").tolist() == [5 + 1j, 2, 3]
    with pytest.raises(NotImplementedError, match="no order"):
        x.scatter_reduce(0, places, values, "amax")
    with pytest.raises(RuntimeError, match="does not support automatic differentiation for outputs with complex dtype"):
        x.clone().requires_grad_().scatter_reduce(0, places, values, "sum")
