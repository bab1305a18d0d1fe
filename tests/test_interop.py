"""Tensors and the rest of Python: numpy, numbers, copies, pickles."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import ferrograd as torch

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_shared_both_ways(dtype):
    a = np.ones((3, 4), dtype)
    x = torch.from_numpy(a)
    assert x.dtype is getattr(torch, dtype)
    a[1, 2] = 0
    assert x[1, 2].item() == 0
    b = x.t().numpy()
    assert b.dtype == a.dtype and b.shape == (4, 3)
    b[0, 0] = 0
    assert a[0, 0] == 0
    assert x.numpy().flags.writeable


def test_memory_outlives_either_side():
    x = torch.from_numpy(np.arange(1000.0) + 1)
    assert x.sum().item() == 500500.0
    a = (torch.arange(1000.0) + 1).numpy()
    torch.zeros(1000)
    assert a.sum() == 500500.0


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2, 1::2],
        lambda a: a.T,
        lambda a: a[:0],
        lambda a: a[2, 3],
        lambda a: np.broadcast_to(a[0], (2, 6)).copy(order="F"),
        lambda a: a[:, None],
    ],
)
def test_views_of_any_stride(view):
    a = np.asarray(view(np.arange(24.0).reshape(4, 6)))
    x = torch.from_numpy(a)
    assert x.shape == a.shape
    assert x.tolist() == a.tolist()
    np.testing.assert_array_equal(x.numpy(), a)


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.arange(4)[::-1], ValueError),
        (np.zeros(2, ">i4"), ValueError),
        (np.zeros(3, [("a", "i1"), ("b", "f4")])["b"], ValueError),
        (np.frombuffer(bytearray(9), "u1")[1:].view("f4"), ValueError),
        (np.array(["a"]), TypeError),
        (np.zeros(2, np.clongdouble), TypeError),
        ([1], TypeError),
        (np.float32(1), TypeError),
    ],
    ids=str,
)
def test_arrays_that_cannot_be_shared(array, error):
    with pytest.raises(error):
        torch.from_numpy(array)


def test_read_only_arrays_are_warned_about(warn_always):
    a = np.zeros(2)
    a.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(a)


def test_numpy_needs_a_detached_tensor():
    x = torch.ones(2, requires_grad=True)
    for y in [x, x * 2]:
        with pytest.raises(RuntimeError, match="detach"):
            y.numpy()
    assert x.numpy(force=True).tolist() == [1.0, 1.0]


def test_numpys_functions_take_tensors():
    x = torch.ones(2)
    assert np.asarray(x).dtype == np.float32
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert isinstance(np.sin(x), torch.Tensor)
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())


def test_numpys_scalars_are_numbers():
    assert (torch.ones(2) + np.float32(2)).tolist() == [3.0, 3.0]
    assert (torch.ones(2, dtype=torch.int32) + np.int64(2)).dtype is torch.int32
    assert (np.float64(2) * torch.ones(2)).dtype is torch.float32
    assert torch.ones(2, 3).sum(np.int64(1)).tolist() == [3.0, 3.0]


def test_single_elements_are_python_numbers():
    assert torch.tensor(3).item() == 3 and isinstance(torch.tensor(3).item(), int)
    assert isinstance(torch.tensor(True).item(), bool)
    assert int(torch.tensor(2.9)) == 2 and float(torch.tensor([3])) == 3.0
    assert ["a", "b"][torch.tensor(1)] == "b" and list(range(torch.tensor(2))) == [0, 1]
    assert f"{torch.tensor(3.14159):.2f}" == "3.14"
    for call, error in [
        (lambda: torch.ones(2).item(), RuntimeError),
        (lambda: float(torch.ones(2)), ValueError),
        (lambda: int(torch.tensor(float("nan"))), ValueError),
        (lambda: bool(torch.ones(2)), RuntimeError),
        (lambda: bool(torch.ones(0)), RuntimeError),
        (lambda: [1][torch.tensor(0.0)], TypeError),
        (lambda: len(torch.tensor(1)), TypeError),
        (lambda: list(torch.tensor(1)), TypeError),
        (lambda: f"{torch.ones(2):.2f}", TypeError),
    ]:
        with pytest.raises(error):
            call()


def test_membership_iteration_and_hash():
    x = torch.arange(6.0).view(2, 3)
    assert 3.0 in x and 7 not in x
    assert [row.tolist() for row in x] == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert len({x: 1, x.clone(): 2}) == 2
    with pytest.raises(RuntimeError):
        "a" in x


def test_tolist():
    assert torch.arange(6).view(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.tensor(1).tolist() == 1
    assert torch.zeros(2, 0).tolist() == [[], []]
    assert torch.tensor([True]).tolist() == [True]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(6.0).view(2, 3),
        lambda: torch.arange(6).view(2, 3).t(),
        lambda: torch.arange(6.0).view(2, 3)[:, ::2],
        lambda: torch.tensor(True),
        lambda: torch.zeros(0, 3),
        lambda: torch.ones(2, requires_grad=True),
    ],
)
@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles(make, through):
    x = make()
    y = through(x)
    assert y is not x
    assert (y.tolist(), y.dtype, y.shape) == (x.tolist(), x.dtype, x.shape)
    assert y.requires_grad == x.requires_grad and y.is_leaf


def test_copies_keep_attributes_and_identity():
    x = torch.ones(2)
    x.tag = ["a"]
    a, b = copy.deepcopy([x, x])
    assert a is b and a.tag == ["a"] and a.tag is not x.tag
    assert pickle.loads(pickle.dumps(x)).tag == ["a"]
    a[0] = 5
    assert x.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError):
        copy.deepcopy(torch.ones(2, requires_grad=True) * 2)


def test_an_attribute_whose_copy_changes_the_tensor():
    x = torch.ones(2)
    x.first = type("Changes", (), {"__deepcopy__": lambda self, memo: setattr(x, "second", 2)})()
    assert copy.deepcopy(x).first is None and x.second == 2


@pytest.mark.parametrize("name", ["float32", "contiguous_format", "strided", "FloatTensor"])
def test_singletons_stay_themselves(name):
    thing = getattr(torch, name)
    assert pickle.loads(pickle.dumps(thing)) is thing
    assert copy.deepcopy(thing) is thing


def test_sizes():
    size = torch.ones(2, 3).shape
    assert repr(size) == "torch.Size([2, 3])"
    assert isinstance(size, tuple) and size == (2, 3) and size.numel() == 6
    assert isinstance(size[1:], torch.Size) and isinstance(size + (1,), torch.Size)
    assert pickle.loads(pickle.dumps(size)) == size
    with pytest.raises(TypeError):
        torch.Size((2.5,))


def test_devices():
    assert repr(torch.device("cpu")) == "device(type='cpu')" and str(torch.device("cpu:0")) == "cpu:0"
    assert torch.ones(1).device == torch.device("cpu") != torch.device("cpu", 0)
    for name in ["cuda", "foo", "cpu:-1"]:
        with pytest.raises(RuntimeError):
            torch.device(name)


def test_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(RuntimeError):
        torch.set_num_threads(0)


def test_importing_does_not_import_numpy():
    code = "import sys, ferrograd; ferrograd.ones(2).tolist(); repr(ferrograd.ones(2)); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3, 1, 2), (1, 1), (2, 3, 4)])
def test_layouts_go_there_and_back(shape, order):
    """Strides are those of the array, also where they do not matter, and elements can be written."""
    array = np.array(np.arange(np.prod(shape, dtype=int)).reshape(shape), order=order)
    x = torch.from_numpy(array)
    assert x.stride() == tuple(stride // array.itemsize for stride in array.strides)
    x += 1
    back = x.numpy()
    assert back.strides == array.strides and back.dtype == array.dtype
    np.testing.assert_array_equal(back, np.arange(array.size).reshape(shape) + 1)


def test_foreign_byte_order():
    with pytest.raises(ValueError, match="byte order"):
        torch.from_numpy(np.arange(3).astype(">i8"))


def test_equality_with_arrays():
    x = torch.tensor([1, 2])
    for y in (x == np.array([1.0, 3.0]), np.array([1.0, 3.0]) == x):
        assert isinstance(y, torch.Tensor) and y.dtype is torch.bool and y.tolist() == [True, False]
    # As in torch: `!=` does not look into arrays.
    assert (x != np.array([1, 2])) is True and (np.array([1, 2]) != x) is True
    assert (torch.tensor(1) == np.array([[1, 2]])).tolist() == [[True, False]]
    assert (x == [1, 2]) is False and (x == "a") is False
    with pytest.raises(RuntimeError, match="broadcast"):
        _ = x == np.array([1, 2, 3])


def test_an_array_over_a_tensor():
    y = np.array([1.0, 3.0]) / torch.tensor([2.0, 4.0])
    assert isinstance(y, torch.Tensor) and y.dtype is torch.float64 and y.tolist() == [0.5, 0.75]
    assert (6 / torch.tensor([2.0, 3.0])).tolist() == [3.0, 2.0]
    with pytest.raises(TypeError):
        _ = "a" / torch.tensor([2.0])
    with pytest.raises(TypeError):
        _ = np.array([1.0]) - torch.tensor([2.0])


@pytest.mark.parametrize(
    "view",
    [lambda x: x[::2, 1:], lambda x: x[1].expand(3, 4), lambda x: x.t(), lambda x: x[:0], lambda x: x[1, 2]],
    ids=["step", "expanded", "transposed", "empty", "number"],
)
def test_copies_and_pickles_keep_strides(view):
    x = view(torch.arange(12.0).reshape(3, 4))
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.stride() == x.stride() and torch.equal(y, x)
        assert not y.numel() or y.data_ptr() != x.data_ptr()
    assert copy.deepcopy(x).storage_offset() == x.storage_offset()


def test_deep_copies_share_what_was_shared():
    x = torch.zeros(4)
    y, part, other = copy.deepcopy((x, x[1:3], torch.zeros(4)))
    part.fill_(7)
    assert y.tolist() == [0, 7, 7, 0] and x.tolist() == other.tolist() == [0, 0, 0, 0]


def test_a_pickle_that_does_not_fit_is_refused():
    rebuild = torch._C._rebuild
    for size, stride in (((2,), (2,)), ((4,), (1,)), ((2,), (-1,)), ((-1,), (1,)), ((2,), (1, 1)), ((2**40, 2**40), (1, 1))):
        with pytest.raises(RuntimeError):
            rebuild(torch.Tensor, bytes(8), torch.float32, size, stride, False, {})


def test_reversed_and_truth_of_one_element():
    x = torch.arange(6).reshape(3, 2)
    assert [row.tolist() for row in reversed(x)] == [[4, 5], [2, 3], [0, 1]]
    assert reversed(torch.tensor(3)).item() == 3
    assert torch.tensor([2.5]).is_nonzero() and not torch.is_nonzero(torch.tensor(0))
    with pytest.raises(RuntimeError, match="more than one value"):
        x.is_nonzero()
    assert x.get_device() == torch.get_device(x) == -1


def test_buffers():
    import array

    numbers = array.array("i", [1, 2])
    x = torch.asarray(numbers, dtype=torch.int32)
    x[0] = 5
    assert x.dtype is torch.int32 and numbers[0] == 5
    assert torch.asarray(bytearray(8)).tolist() == [0.0, 0.0]
    assert torch.asarray(np.uint8(3), dtype=torch.int64).item() == 3
    for call in (
        lambda: torch.frombuffer(bytearray(), dtype=torch.uint8),
        lambda: torch.frombuffer(bytearray(8), dtype=torch.float32, count=0),
        lambda: torch.frombuffer(bytearray(8), dtype=torch.float32, offset=8),
        lambda: torch.frombuffer(bytearray(8), dtype=torch.float32, offset=-1),
        lambda: torch.frombuffer(bytearray(7), dtype=torch.float32),
        lambda: torch.frombuffer([1], dtype=torch.float32),
    ):
        with pytest.raises(ValueError):
            call()


def test_lent_memory_does_not_grow():
    x = torch.from_numpy(np.arange(3.0))
    assert x.resize_(2).tolist() == [0.0, 1.0]
    with pytest.raises(RuntimeError, match="not resizable"):
        x.resize_(5)


def test_numpy_where_nothing_is_recorded():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Can't call numpy"):
        x.numpy()
    with torch.no_grad():
        x.numpy()[0] = 3
        assert np.asarray(x).tolist() == [3.0, 1.0]
    with torch.inference_mode():
        assert x.numpy().tolist() == [3.0, 1.0]
    assert x.requires_grad and x.tolist() == [3.0, 1.0]


def test_a_bool_of_numpy_is_a_float_beside_a_tensor():
    flag = np.bool_(True)
    for y, dtype in (
        (torch.tensor([3]) * flag, torch.float32),
        (flag * torch.tensor([3]), torch.float32),
        (torch.tensor([4.0], dtype=torch.float64) - flag, torch.float64),
        (torch.where(torch.tensor([False]), flag, torch.tensor([3])), torch.float32),
    ):
        assert y.dtype == dtype and y.tolist() == [3.0]
    assert torch.full((1,), flag).dtype == torch.float32
    assert torch.tensor(flag).dtype == torch.bool
    assert torch.tensor([1, 1]).eq(flag).tolist() == [True, True]


def test_whether_two_tensors_are_the_same_view():
    x = torch.arange(6.0).reshape(2, 3)
    assert x.is_set_to(x.view(2, 3)) and x.is_set_to(x.detach())
    assert not x.is_set_to(x.t()) and not x.is_set_to(x.clone()) and not x[:1].is_set_to(x[1:])
    assert x.is_same_size(x.clone()) and not x.is_same_size(x.t()) and torch.is_same_size(x, x)


@pytest.mark.parametrize("make, dtype", [(torch.Tensor, np.float32), (torch.DoubleTensor, np.float64), (torch.LongTensor, np.int64)])
def test_constructors_of_old_share_the_memory_of_an_array_of_their_dtype(make, dtype):
    a = np.ones(3, dtype)
    make(a)[0] = 5
    assert a.tolist() == [5, 1, 1]
    make(a).new(a)[1] = 6
    assert a.tolist() == [5, 6, 1]
    other = np.ones(3, np.int32)
    x = make(other)
    x[0] = 5
    assert other.tolist() == [1, 1, 1] and x.tolist() == [5, 1, 1]


def test_what_numpy_says_of_tensors_is_bytes_as_in_torch():
    x = torch.tensor([1.0, float("nan")])
    for y, expected in ((np.isnan(x), [0, 1]), (np.greater(x, 0), [1, 0]), (np.isfinite(torch.tensor(1.0)), 1)):
        assert isinstance(y, torch.Tensor) and y.dtype == torch.uint8 and y.tolist() == expected
    assert (np.ones(2) == x).dtype == torch.bool
