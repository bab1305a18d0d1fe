"""Constructors: values, dtypes, strides, and what they refuse. Expected values are torch's."""

import numpy as np
import pytest

import ferrograd as torch


@pytest.mark.parametrize(
    "sizes",
    [(2, 3), ((2, 3),), ([2, 3],), (torch.Size([2, 3]),), (np.int64(2), 3), (torch.tensor(2), 3)],
    ids=str,
)
def test_sizes_come_one_by_one_or_as_a_sequence(sizes):
    assert torch.zeros(*sizes).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: torch.zeros(), TypeError),
        (lambda: torch.zeros(2.0), TypeError),
        (lambda: torch.zeros(True), TypeError),
        (lambda: torch.zeros("a"), TypeError),
        (lambda: torch.zeros(2, foo=1), TypeError),
        (lambda: torch.zeros(2, requires_grad=1), TypeError),
        (lambda: torch.zeros(2, dtype="float32"), TypeError),
        (lambda: torch.zeros(-1), RuntimeError),
        (lambda: torch.zeros(2**62), RuntimeError),
        (lambda: torch.zeros(2, device="cuda"), RuntimeError),
        (lambda: torch.zeros(2, pin_memory=True), RuntimeError),
        (lambda: torch.zeros(2, dtype=torch.int32, requires_grad=True), RuntimeError),
        (lambda: torch.zeros(2, dtype=torch.int8, out=torch.empty(0)), RuntimeError),
        (lambda: torch.full(2, 3), TypeError),
        (lambda: torch.full((2,), "a"), TypeError),
        (lambda: torch.full((2,), 300, dtype=torch.uint8), RuntimeError),
        (lambda: torch.empty(2, 3, memory_format=torch.channels_last), RuntimeError),
        (lambda: torch.empty_strided((2, 3), (1,)), RuntimeError),
        (lambda: torch.empty_strided((2, 3), (-1, 2)), RuntimeError),
        (lambda: torch.empty_permuted((2, 3), (0, 0)), RuntimeError),
        (lambda: torch.arange(5, 1), RuntimeError),
        (lambda: torch.arange(1, 5, 0), RuntimeError),
        (lambda: torch.arange(float("nan")), RuntimeError),
        (lambda: torch.arange(5, dtype=torch.bool), NotImplementedError),
        (lambda: torch.linspace(0, 1, -1), RuntimeError),
        (lambda: torch.linspace(torch.zeros(1), 1, 3), RuntimeError),
        (lambda: torch.eye(-1), RuntimeError),
        (lambda: torch.asarray([1], copy=False), ValueError),
        (lambda: torch.zeros_like([1]), TypeError),
    ],
)
def test_bad_arguments_raise(call, error):
    with pytest.raises(error):
        call()


def test_asarray_of_tensors_keeps_the_history_unless_told_not_to():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x + 1
    for same in (x, y):
        assert torch.asarray(same) is same and torch.asarray(same, requires_grad=True) is same
        assert torch.asarray(same, copy=True).grad_fn.name() == "CloneBackward0"
        assert torch.asarray(same, copy=True, requires_grad=True).grad_fn is not None
        assert torch.asarray(same, dtype=torch.float64).grad_fn.name() == "ToCopyBackward0"
        other = torch.asarray(same, copy=True, requires_grad=False)
        assert not other.requires_grad and other.data_ptr() != same.data_ptr()
    off = torch.asarray(y, requires_grad=False)
    assert not off.requires_grad and off.data_ptr() == y.data_ptr() and y.requires_grad
    # A leaf itself is answered, and no longer asks.
    assert torch.asarray(x, requires_grad=False) is x and not x.requires_grad
    new = torch.asarray([1.0], requires_grad=True)
    assert new.is_leaf and new.requires_grad


def test_full_takes_the_dtype_of_the_number():
    assert torch.full((2,), 3).dtype is torch.int64
    assert torch.full((2,), True).dtype is torch.bool
    assert torch.full((2,), 3.0).dtype is torch.float32
    assert torch.full((2,), 1.5, dtype=torch.int64).tolist() == [1, 1]


def test_like_keeps_the_order_in_memory():
    x = torch.ones(2, 3).t()
    assert torch.zeros_like(x).stride() == (1, 3)
    assert torch.zeros_like(x, memory_format=torch.contiguous_format).stride() == (2, 1)
    assert torch.empty_like(torch.ones(2, 3, 4).permute(2, 0, 1)).stride() == (1, 12, 4)
    assert torch.zeros_like(torch.ones(2, 4)[:, ::2]).stride() == (2, 1)
    assert torch.empty(2, 3, 4, 5, memory_format=torch.channels_last).stride() == (60, 1, 15, 3)
    assert torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == (3, 1, 6)


def test_new_constructors_take_the_tensors_dtype():
    x = torch.ones(2, dtype=torch.int32)
    assert x.new_full((3,), 7.5).tolist() == [7, 7, 7]
    assert x.new_tensor([1.5]).tolist() == [1]
    assert x.new_zeros(2, 2).dtype is torch.int32
    assert x.new_ones((2,), dtype=torch.float64).dtype is torch.float64
    assert x.new_empty_strided((2, 2), (1, 2)).stride() == (1, 2)


@pytest.mark.parametrize(
    ("call", "expected", "dtype"),
    [
        (lambda: torch.arange(4), [0, 1, 2, 3], torch.int64),
        (lambda: torch.arange(1, 5.0), [1, 2, 3, 4], torch.float32),
        (lambda: torch.arange(5, 1, -2), [5, 3], torch.int64),
        (lambda: torch.arange(1, end=4), [1, 2, 3], torch.int64),
        (lambda: torch.arange(0.5, 5, dtype=torch.int64), [0, 1, 2, 3, 4], torch.int64),
        (lambda: torch.arange(2**60, 2**60 + 2), [2**60, 2**60 + 1], torch.int64),
        (lambda: torch.arange(3, out=torch.empty(0)), [0, 1, 2], torch.float32),
        (lambda: torch.linspace(0, 10, 4, dtype=torch.uint8), [0, 3, 6, 10], torch.uint8),
        (lambda: torch.linspace(3, 10, steps=5), [3, 4.75, 6.5, 8.25, 10], torch.float32),
        (lambda: torch.linspace(3, 10, 1), [3], torch.float32),
        (lambda: torch.logspace(0, 2, 3), [1, 10, 100], torch.float32),
        (lambda: torch.logspace(0, 2, 3, base=-2.0), [1, -2, 4], torch.float32),
        (lambda: torch.eye(2, 3, dtype=torch.int16), [[1, 0, 0], [0, 1, 0]], torch.int16),
        (lambda: torch.tril_indices(3, 4, -1), [[1, 2, 2], [0, 0, 1]], torch.int64),
        (lambda: torch.scalar_tensor(True), 1.0, torch.float32),
        (lambda: torch.frombuffer(bytearray(b"abcd"), dtype=torch.int16, offset=2), [25699], torch.int16),
    ],
)
def test_values(call, expected, dtype):
    x = call()
    assert x.tolist() == expected
    assert x.dtype is dtype


def test_arange_rounds_as_torch_does():
    # Not the products: torch starts every register of eight from a rounded number.
    assert torch.arange(0, 1000 * 0.1, 0.1)[9].item() == 0.9000000357627869
    assert torch.arange(0, 1000 * 0.1, 0.1)[999].item() == 99.9000015258789


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, torch.int64),
        (1.0, torch.float32),
        (True, torch.bool),
        ([True, 1, 1.5], torch.float32),
        ([], torch.float32),
        ([np.float64(2)], torch.float64),
        ([np.int32(2), np.int32(1)], torch.int32),
        ([np.float32(2), 1], torch.float32),
        (np.float32(2), torch.float32),
        (range(3), torch.int64),
        (memoryview(b"abc"), torch.int64),
    ],
    ids=str,
)
def test_tensor_infers_the_dtype(data, dtype):
    assert torch.tensor(data).dtype is dtype


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([[1, 2], [3]], ValueError),
        ([[1, 2], 3], TypeError),
        ([1, [2]], TypeError),
        ("a", TypeError),
        (["a"], ValueError),
        (None, RuntimeError),
        ({}, RuntimeError),
        (2**63, ValueError),
        ([torch.ones(2)], ValueError),
    ],
    ids=str,
)
def test_tensor_refuses_what_is_no_array(data, error):
    with pytest.raises(error):
        torch.tensor(data)


def test_a_list_that_contains_itself_ends():
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError):
        torch.tensor(endless)


def test_the_default_dtype_rules_new_floats():
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.tensor(1.0).dtype is torch.float64
        assert torch.ones(1).dtype is torch.float64
        torch.set_default_tensor_type("torch.FloatTensor")
        assert torch.get_default_dtype() is torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError):
        torch.set_default_dtype(torch.int32)


def test_types_of_old():
    x = torch.FloatTensor([[1], [2.5]])
    assert x.tolist() == [[1.0], [2.5]]
    assert x.type() == "torch.FloatTensor"
    assert isinstance(x, torch.FloatTensor) and not isinstance(x, torch.LongTensor)
    assert x.type(torch.LongTensor).dtype is torch.int64
    assert x.type("torch.DoubleTensor").dtype is torch.float64
    assert torch.Tensor(2, 3).shape == (2, 3)
    assert torch.Tensor([1, 2]).tolist() == [1.0, 2.0]
    assert torch.Tensor().shape == (0,)
    assert torch.LongTensor([1.5, 2]).tolist() == [1, 2]
    for call, error in [
        (lambda: torch.FloatTensor(3.0), TypeError),
        (lambda: torch.FloatTensor(torch.ones(2).double()), TypeError),
        (lambda: x.type("foo"), ValueError),
        (lambda: torch.ByteTensor([256]), RuntimeError),
    ]:
        with pytest.raises(error):
            call()


class Mine(torch.Tensor):
    pass


@pytest.mark.parametrize("same", [torch.Tensor, torch.FloatTensor, torch.ones(1).new, lambda x: x.as_subclass(Mine), Mine])
def test_a_tensor_made_of_a_tensor_is_a_view_of_it(same):
    x = torch.ones(3, requires_grad=True)
    y = same(x)
    assert y._base is x and y.data_ptr() == x.data_ptr() and y.grad_fn.name() == "AliasBackward0"
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used in an in-place operation"):
        y.mul_(2)
    (y * y).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    same(x.detach()).fill_(5)
    assert x.tolist() == [5, 5, 5]


def test_to_gives_the_tensor_itself_if_nothing_changes():
    x = torch.ones(2, 3)
    for y in [x.to("cpu"), x.to(torch.float32), x.float(), x.cpu(), x.type_as(x), x.type(torch.FloatTensor)]:
        assert y is x
    assert x.to(torch.float32, copy=True) is not x
    assert x.to("cpu", torch.int32).dtype is torch.int32
    assert x.to(torch.ones(1, dtype=torch.int8)).dtype is torch.int8
    for call, error in [(lambda: x.to("cuda"), RuntimeError), (lambda: x.to(torch.int32, 1), TypeError)]:
        with pytest.raises(error):
            call()


def test_the_derivative_passes_through_conversions():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x.double() * torch.tensor([3.0, 4.0], dtype=torch.float64)).sum().backward()
    assert x.grad.tolist() == [3.0, 4.0]
    assert x.grad.dtype is torch.float32


def test_limits():
    assert torch.finfo(torch.float64).eps == np.finfo(np.float64).eps
    assert torch.finfo(torch.float32).max == float(np.finfo(np.float32).max)
    assert (torch.iinfo(torch.int8).min, torch.iinfo(torch.uint8).max) == (-128, 255)
    assert repr(torch.finfo(torch.float32)).startswith("finfo(resolution=1e-06, min=-3.40282e+38, max=3.40282e+38, eps=1.19209e-07")
    with pytest.raises(TypeError):
        torch.finfo(torch.int32)


def test_dtype_questions():
    assert torch.promote_types(torch.int8, torch.uint8) is torch.int16
    assert torch.result_type(torch.ones(2), 3) is torch.float32
    assert torch.can_cast(torch.int64, torch.uint8) and not torch.can_cast(torch.float32, torch.int32)


def test_out_is_resized_if_empty_and_warned_about_if_not():
    out = torch.empty(0)
    assert torch.add(torch.ones(2), 1, out=out) is out
    assert out.tolist() == [2.0, 2.0]
    with pytest.warns(UserWarning):
        torch.exp(torch.zeros(2), out=torch.empty(3))
    with pytest.raises(RuntimeError):
        torch.exp(torch.zeros(2), out=torch.empty(2, dtype=torch.int64))
    with pytest.raises(RuntimeError):
        torch.exp(torch.zeros(2, requires_grad=True), out=torch.empty(2))
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.exp(torch.zeros(2), out=torch.empty(1).expand(2))
    with pytest.warns(UserWarning, match="was resized"), pytest.raises(RuntimeError, match="not resizable"):
        torch.exp(torch.zeros(3), out=torch.from_numpy(np.zeros(2, np.float32)))


def test_functions_take_input_by_name_and_numbers_first():
    assert torch.sum(input=torch.ones(3)).item() == 3.0
    assert torch.add(2, torch.ones(1)).tolist() == [3.0]
    with pytest.raises(TypeError):
        torch.exp(1.0)
    with pytest.raises(TypeError):
        torch.exp()


def test_numbers_beyond_float32_are_refused_where_torch_converts_them():
    x, mask = torch.ones(2), torch.tensor([True, False])
    for call in (
        lambda: torch.full((2,), 1e39),
        lambda: torch.full((2,), 1e39, dtype=torch.complex64),
        lambda: torch.full_like(x, -1e39),
        lambda: torch.scalar_tensor(1e39),
        lambda: x.new_full((2,), 1e39),
        lambda: x.clone().fill_(1e39),
        lambda: x.clone().__setitem__(0, 1e39),
        lambda: x.masked_fill(mask, -1e39),
        lambda: x.masked_fill(mask, torch.tensor(1e39, dtype=torch.float64)),
        lambda: x.clamp(max=1e39),
        lambda: torch.add(x, x, alpha=1e39),
        lambda: torch.where(mask, x, 1e39),
        lambda: torch.where(mask, 1e39, 2),
        lambda: x.to(torch.uint8).where(mask, 300),
    ):
        with pytest.raises(RuntimeError, match="without overflow"):
            call()
    assert torch.full((1,), 1e39, dtype=torch.float64).item() == 1e39
    assert torch.full((1,), float("-inf")).item() == float("-inf")
    assert torch.tensor(1e39).item() == (x + 1e39)[0].item() == float("inf")
    assert torch.where(mask, -3, x.to(torch.uint8)).tolist() == [253, 1]


def test_constructors_have_the_keywords_that_torch_has():
    for call in (
        lambda: torch.as_tensor([1.0], requires_grad=True),
        lambda: torch.tensor([1.0], layout=torch.strided),
        lambda: torch.asarray([1.0], pin_memory=False),
        lambda: torch.ones(1).new_tensor([1.0], pin_memory=False),
        lambda: torch.normal(torch.zeros(2), 1.0, dtype=torch.float64),
    ):
        with pytest.raises(TypeError):
            call()
    assert not torch.zeros(2, requires_grad=None).requires_grad
    with pytest.warns(UserWarning, match="new_tensor"):
        torch.ones(1).new_tensor(torch.ones(1))


def test_out_of_constructors():
    out = torch.ones(7)
    y = torch.zeros(2, 3, out=out, requires_grad=True)
    assert y is out and y.shape == (2, 3) and y.requires_grad
    assert torch.linspace(0, 1, 2, out=torch.ones(5)).tolist() == [0.0, 1.0]
    with pytest.raises(RuntimeError, match="floating point"):
        torch.zeros(2, out=torch.ones(2, dtype=torch.int64), requires_grad=True)


def test_data_that_is_no_number():
    from fractions import Fraction

    assert torch.tensor([Fraction(1, 2)], dtype=torch.float32).tolist() == [0.5]
    for dtype in (torch.int64, torch.bool, torch.float32, torch.complex64):
        for data in (None, [None], object(), {}):
            with pytest.raises(TypeError):
                torch.tensor(data, dtype=dtype)
    with pytest.raises(RuntimeError, match="infer dtype"):
        torch.tensor([Fraction(1, 2)])
    with pytest.raises(TypeError):
        torch.tensor([torch.tensor([1, 2])])


def test_types_named_after_dtypes_take_data_by_name():
    assert torch.FloatTensor(data=[1, 2.0]).tolist() == [1, 2] and torch.LongTensor(data=[1]).dtype == torch.int64
    assert torch.FloatTensor.layout == torch.strided and not torch.FloatTensor.is_sparse
    with pytest.raises(TypeError):
        torch.FloatTensor([1.0], data=[1.0])


def test_a_size_takes_whole_numbers_only():
    assert torch.Size([torch.tensor(2), True, np.int64(3)]) == (2, 1, 3) and torch.Size(torch.tensor([1, 2])) == (1, 2)
    for wrong in (torch.ones(3), [torch.tensor(2.0)], [2.0], ["a"]):
        with pytest.raises(TypeError, match="takes an iterable of 'int'"):
            torch.Size(wrong)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_a_range_of_integers_counts_with_whole_parts(dtype):
    for ends, wanted in (
        ((-2.5, 2.0, 1), [-2, -1, 0, 1, 2]),
        ((1 / 3, -3.1, -1), [0, -1, -2, -3]),
        ((0, 7, 2.5), [0, 2, 4, 6]),
        ((1.9, 9.1, 3.9), [1, 4, 7]),
        ((0, 1.0, 1.5), [0, 1]),
    ):
        with pytest.warns(UserWarning, match="range is deprecated"):
            assert torch.range(*ends, dtype=dtype).tolist() == wanted
    with pytest.warns(UserWarning), pytest.raises(RuntimeError):
        torch.range(0, 2, 0.5, dtype=dtype)
