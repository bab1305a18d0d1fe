"""DLPack both ways, with numpy and with itself: shared memory, lifetimes, copies, refusals."""

import gc

import numpy as np
import pytest

import ferrograd as fg

DTYPES = [np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_sees_our_memory(dtype):
    tensor = fg.from_numpy(np.arange(6).reshape(2, 3).astype(dtype))
    array = np.from_dlpack(tensor)
    assert array.dtype == dtype and array.shape == (2, 3)
    np.testing.assert_array_equal(array, tensor.numpy())
    assert array.ctypes.data == tensor.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES)
def test_we_see_numpys_memory(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    tensor = fg.from_dlpack(array[::2, 1:])
    np.testing.assert_array_equal(tensor.numpy(), array[::2, 1:])
    array[:] = 0
    assert not tensor.numpy().any()


def test_memory_outlives_its_first_owner():
    array = np.arange(100_000.0)
    tensor = fg.from_dlpack(array)
    expected = array.copy()
    del array
    gc.collect()
    np.testing.assert_array_equal(tensor.numpy(), expected)
    back = np.from_dlpack(tensor)
    del tensor
    gc.collect()
    np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 1)])
def test_a_capsule_is_consumed_once(version):
    tensor = fg.tensor([1.0, 2.0])
    capsule = tensor.__dlpack__(max_version=version)
    assert ("versioned" in repr(capsule)) == (version is not None and version[0] == 1)
    assert fg.from_dlpack(capsule).data_ptr() == tensor.data_ptr()
    with pytest.raises(RuntimeError, match="consumed only once"):
        fg.from_dlpack(capsule)
    unused = tensor.__dlpack__(max_version=version)
    del unused  # freed by the capsule itself


def test_copies_are_made_when_asked_for():
    tensor = fg.tensor([1.0, 2.0])
    assert fg.from_dlpack(tensor, copy=True).data_ptr() != tensor.data_ptr()
    assert fg.from_dlpack(tensor, copy=False).data_ptr() == tensor.data_ptr()
    array = np.arange(3.0)
    assert fg.from_dlpack(array, copy=True, device="cpu").data_ptr() != array.ctypes.data


def test_empty_and_scalar():
    assert tuple(fg.from_dlpack(np.zeros((0, 3))).shape) == (0, 3)
    assert fg.from_dlpack(np.array(2.5)).numpy() == 2.5


class Older:
    """A producer that knows no keywords, as before version 1."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self):
        return self.tensor.__dlpack__()

    def __dlpack_device__(self):
        return (1, 0)


def test_older_producers():
    tensor = fg.tensor([1.0, 2.0])
    assert fg.from_dlpack(Older(tensor)).data_ptr() == tensor.data_ptr()
    assert fg.from_dlpack(Older(tensor), copy=True).data_ptr() != tensor.data_ptr()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: fg.from_dlpack(np.arange(3.0)[::-1]), BufferError, "must not be negative"),
        (lambda: fg.from_dlpack(np.arange(3.0).astype(np.float16)), BufferError, "unsupported type"),
        (lambda: fg.from_dlpack(3), RuntimeError, "invalid capsule"),
        (lambda: fg.from_dlpack(np.arange(3.0), device="cuda"), RuntimeError, "only the device 'cpu'"),
        (lambda: fg.tensor([1.0]).requires_grad_().__dlpack__(), BufferError, "require gradient"),
        (lambda: fg.tensor([1.0]).__dlpack__(stream=1), AssertionError, "stream should be None on cpu"),
        (lambda: fg.tensor([1.0]).__dlpack__(stream="x"), TypeError, "stream must be int or None"),
        (lambda: fg.tensor([1.0]).__dlpack__(dl_device=(2, 0)), BufferError, r"only the CPU.*\(2, 0\)"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_old_names():
    from ferrograd.utils.dlpack import from_dlpack, to_dlpack

    tensor = fg.tensor([1.0, 2.0])
    assert from_dlpack(to_dlpack(tensor)).data_ptr() == tensor.data_ptr()
    with pytest.raises(TypeError):
        to_dlpack([1.0])
