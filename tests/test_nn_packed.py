"""Packed and padded sequences."""

import copy
import pickle

import pytest

import ferrograd
from ferrograd.nn.utils import rnn

SEQUENCES = [ferrograd.tensor(values) for values in ([1.0, 2.0], [3.0], [4.0, 5.0, 6.0])]


def test_pack_and_unpack():
    packed = rnn.pack_sequence(SEQUENCES, enforce_sorted=False)
    assert packed.data.tolist() == [4, 1, 3, 5, 2, 6]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [2, 0, 1]
    assert packed.unsorted_indices.tolist() == [1, 2, 0]
    assert all(ferrograd.equal(a, b) for a, b in zip(rnn.unpack_sequence(packed), SEQUENCES, strict=True))
    padded, lengths = rnn.pad_packed_sequence(packed, padding_value=-1.0, total_length=4)
    assert padded.T.tolist() == [[1, 2, -1, -1], [3, -1, -1, -1], [4, 5, 6, -1]]
    assert lengths.tolist() == [2, 1, 3] and lengths.dtype == ferrograd.int64
    assert ferrograd.equal(rnn.pad_packed_sequence(packed, batch_first=True)[0], padded[:3].T * (padded[:3].T > 0))


def test_padding():
    assert rnn.pad_sequence(SEQUENCES).T.tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert rnn.pad_sequence(SEQUENCES, True, 9, "left").tolist() == [[9, 1, 2], [9, 9, 3], [4, 5, 6]]
    assert rnn.pad_sequence([ferrograd.ones(1, 2), ferrograd.ones(3, 2)]).shape == (3, 2, 2)
    mixed = rnn.pad_sequence([ferrograd.tensor([1]), ferrograd.tensor([2.5, 3.5])])
    assert mixed.dtype == ferrograd.int64 and mixed.T.tolist() == [[1, 0], [2, 3]]
    padded = rnn.pad_sequence(SEQUENCES)
    rnn.unpad_sequence(padded, ferrograd.tensor([2, 1, 3]))
    assert padded.tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]], "transposed in place, as in torch"


def test_gradients_reach_what_is_within_the_lengths():
    x = ferrograd.ones(2, 3, 2, requires_grad=True)
    packed = rnn.pack_padded_sequence(x, [1, 3], batch_first=True, enforce_sorted=False)
    padded, _ = rnn.pad_packed_sequence(packed)
    (padded * 2).sum().backward()
    assert x.grad[..., 0].tolist() == [[2, 0, 0], [2, 2, 2]]


def test_a_packed_sequence():
    packed = rnn.pack_sequence(SEQUENCES, enforce_sorted=False)
    assert packed.to(ferrograd.float32) is packed and packed.cpu() is packed and not packed.is_cuda
    double = packed.double()
    assert type(double) is rnn.PackedSequence and double.data.dtype == ferrograd.float64
    assert double.sorted_indices is packed.sorted_indices
    assert repr(packed).startswith("PackedSequence(data=tensor([4., 1., 3., 5., 2., 6.]), batch_sizes=tensor([3, 2, 1]), sorted")
    for other in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert type(other) is rnn.PackedSequence and ferrograd.equal(other.data, packed.data)
    pair = rnn.PackedSequence((packed.data, packed.batch_sizes))
    assert pair.data is packed.data and pair.sorted_indices is None
    assert rnn.invert_permutation(ferrograd.tensor([2, 0, 1])).tolist() == [1, 2, 0]


@pytest.mark.parametrize("lengths", [[1, 3], [3, 0], [4, 1], [3], [3, 2, 1]])
def test_lengths_that_do_not_fit(lengths):
    with pytest.raises(RuntimeError):
        rnn.pack_padded_sequence(ferrograd.ones(3, 2), lengths)


def test_errors():
    packed = rnn.pack_sequence(SEQUENCES, enforce_sorted=False)
    with pytest.raises(ValueError):
        rnn.pad_packed_sequence(packed, total_length=2)
    with pytest.raises(RuntimeError):
        rnn.pack_padded_sequence(ferrograd.ones(0, 2), [0, 0])
    for wrong in ([], 3):
        with pytest.raises(RuntimeError):
            rnn.pad_sequence(wrong)
    with pytest.raises(RuntimeError):
        rnn.pad_sequence(SEQUENCES, padding_side="top")
    with pytest.raises(AssertionError):
        rnn.PackedSequence(packed.data)
