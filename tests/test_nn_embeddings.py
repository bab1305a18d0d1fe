"""Tables of rows, and bags of them."""

import numpy as np
import pytest
from nn_values import array, close, draw

import ferrograd
from ferrograd import nn


def test_first_rows_and_the_padding():
    ferrograd.manual_seed(0)
    table = nn.Embedding(5, 3, padding_idx=-2)
    ferrograd.manual_seed(0)
    expected = ferrograd.randn(5, 3)
    expected[3] = 0
    close(table.weight, expected, 1e-6)
    table(ferrograd.tensor([3, 1, 1])).sum().backward()
    assert table.weight.grad.tolist() == [[0, 0, 0], [2, 2, 2], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_given_rows():
    rows = draw(4, 3)
    table = nn.Embedding.from_pretrained(rows, padding_idx=-1)
    assert not table.weight.requires_grad and table.padding_idx == 3 and table.weight.data_ptr() == rows.data_ptr()
    close(table(ferrograd.tensor([[2, 0]])), array(rows)[[[2, 0]]])
    for cls in (nn.Embedding, nn.EmbeddingBag):
        assert not cls.from_pretrained(rows).weight.requires_grad
        assert cls.from_pretrained(rows, freeze=False).weight.requires_grad


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode):
    rows = draw(6, 2)
    bag = nn.EmbeddingBag.from_pretrained(rows, mode=mode)
    places = np.array([[0, 3], [5, 5], [1, 2]])
    expected = getattr(array(rows)[places], mode)(1)
    close(bag(ferrograd.tensor(places)), expected)
    close(bag(ferrograd.tensor(places.ravel()), ferrograd.tensor([0, 2, 4])), expected)
    uneven = [getattr(array(rows)[some], mode)(0) for some in ([1, 2], [3])]
    close(bag(ferrograd.tensor([1, 2, 3]), ferrograd.tensor([0, 2])), uneven)
