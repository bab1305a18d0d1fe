"""Ops under vmap that do not simply do to each sample what they do elsewhere, as torch runs them on the batch."""

import copy
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import func, vmap
from ferrograd.nn import functional as F

BATCH = ferrograd.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
NOT_MAPPED = r"vmap: .* is not possible because .* `self` not being vmapped over"


@pytest.mark.parametrize(
    "make",
    [
        lambda x: ferrograd.zeros(3),
        lambda x: ferrograd.eye(3)[0],
        lambda x: x.new_tensor([0.0, 0.0, 0.0]),
        lambda x: ferrograd.zeros_like(BATCH[0]),
        lambda x: BATCH[0].clone(),
    ],
)
@pytest.mark.parametrize(
    "write",
    [
        lambda y, x: y.copy_(x),
        lambda y, x: y.add_(x.sum()),
        lambda y, x: y.fill_(x[0]),
        lambda y, x: y.__setitem__(0, x[0]),
        lambda y, x: y.masked_fill_(x > 2, 1.0),
        lambda y, x: y.scatter_(0, (x > 2).long(), 1.0),
        lambda y, x: y.index_put_((ferrograd.tensor([0]),), x[:1]),
        lambda y, x: y.__setitem__((x[0] > 2).long(), 1.0),
        lambda y, x: ferrograd.mul(x, 2, out=y),
    ],
)
def test_what_depends_on_a_sample_is_not_written_to_what_does_not(make, write):
    with pytest.raises(RuntimeError, match=NOT_MAPPED):
        vmap(lambda x: (write(make(x), x), x)[1])(BATCH)


@pytest.mark.parametrize(
    "make",
    [
        ferrograd.zeros_like,
        lambda x: x.new_zeros(3),
        lambda x: x.new_empty_strided((3,), (1,)),
        lambda x: ferrograd.full_like(x, 2.0),
        lambda x: ferrograd.zeros(3) + 0 * x[0],
        lambda x: ferrograd.where(x > 2, ferrograd.zeros(3), ferrograd.ones(3)),
    ],
)
def test_it_is_written_to_what_is_made_like_a_sample(make):
    assert vmap(lambda x: make(x).copy_(x))(BATCH).equal(BATCH)


def test_only_the_maps_that_a_value_depends_on_count():
    assert vmap(lambda x: vmap(lambda z: x.new_zeros(3).copy_(x).mul_(2))(BATCH))(BATCH).equal((2 * BATCH)[:, None].expand(2, 2, 3))
    with pytest.raises(RuntimeError, match=NOT_MAPPED):
        vmap(lambda x: vmap(lambda z: x.new_zeros(3).copy_(z))(BATCH))(BATCH)
    # Tangents lie like their tensors, in memory that is the batch's.
    tangents = BATCH.t()
    assert vmap(lambda t: func.jvp(lambda x: x * 2, (BATCH[0],), (t,))[1], in_dims=1)(tangents).equal(2 * BATCH)


ONE_NUMBER, ONE_WAY, MEMORY = r"calling \.item\(\) on a Tensor", "data-dependent control flow", "Cannot access data pointer"
STORAGE, SHAPE, COMPARISON = "Cannot access storage", "can output dynamic shape", "isn't supported"
REFUSED = {
    "item": (lambda x: x[0].item(), ONE_NUMBER),
    "float": (lambda x: float(x[0]), ONE_NUMBER),
    "int": (lambda x: int(x[0]), ONE_NUMBER),
    "complex": (lambda x: complex(x[0]), ONE_NUMBER),
    "a place in a list": (lambda x: [1, 2, 3, 4, 5][x[0].long()], ONE_NUMBER),
    "a text": (lambda x: f"{x[0]:.2f}", ONE_NUMBER),
    "the element of a 0-d tensor": (lambda x: x[0][0], ONE_NUMBER),
    "a tensor of numbers": (lambda x: ferrograd.tensor([x[0], x[1]]), ONE_NUMBER),
    "a factor": (lambda x: ferrograd.add(x, x, alpha=x[0]), ONE_NUMBER),
    "full": (lambda x: ferrograd.full((3,), x[0]), ONE_NUMBER),
    "a size": (lambda x: ferrograd.zeros(x[0].long()), ONE_NUMBER),
    "a dim": (lambda x: x.sum(x[0].long() * 0), ONE_NUMBER),
    "an index": (lambda x: x.select(0, x[0].long() * 0), ONE_NUMBER),
    "if": (lambda x: x if x.sum() > 0 else -x, ONE_WAY),
    "and": (lambda x: (x[0] > 0) and x, ONE_WAY),
    "is_nonzero": (lambda x: x[0].is_nonzero(), ONE_WAY),
    "in": (lambda x: 1.0 in x, ONE_WAY),
    "max of Python": (lambda x: max(x), ONE_WAY),
    "made like it": (lambda x: x if ferrograd.ones_like(x).all() else -x, ONE_WAY),
    "a gradient": (lambda x: func.grad(lambda y: y.sum() if y[0] > 0 else y[0])(x), ONE_WAY),
    "tolist": (lambda x: x.tolist(), MEMORY),
    "numpy": (lambda x: x.numpy(), MEMORY),
    "an array": (lambda x: np.asarray(x), MEMORY),
    "data_ptr": (lambda x: x.data_ptr(), MEMORY),
    "another library": (lambda x: ferrograd.from_dlpack(x), MEMORY),
    "storage": (lambda x: x.untyped_storage(), STORAGE),
    "deepcopy": (lambda x: copy.deepcopy(x), STORAGE),
    "pickle": (lambda x: pickle.dumps(x), STORAGE),
    "nonzero": (lambda x: x.nonzero(), SHAPE),
    "where": (lambda x: ferrograd.where(x > 0), SHAPE),
    "unique": (lambda x: x.unique(), SHAPE),
    "unique_consecutive": (lambda x: x.unique_consecutive(), SHAPE),
    "masked_select": (lambda x: x.masked_select(x > 0), SHAPE),
    "masked_select of another": (lambda x: BATCH[0].masked_select(x > 0), SHAPE),
    "a mask": (lambda x: x[x > 0], SHAPE),
    "a condition": (lambda x: x[x[0] > 0], SHAPE),
    "a write by mask": (lambda x: x.clone().__setitem__(x > 0, 0.0), SHAPE),
    "index_put": (lambda x: x.index_put((x > 0,), ferrograd.ones(())), SHAPE),
    "one_hot": (lambda x: F.one_hot(x.long()), SHAPE),
    "equal": (lambda x: x.equal(x), COMPARISON),
    "allclose": (lambda x: x.allclose(BATCH[0]), COMPARISON),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_values_of_samples_are_not_told(call, message):
    with pytest.raises(NotImplementedError if message == STORAGE else RuntimeError, match=message):
        vmap(lambda x: (call(x), x)[1])(BATCH)
    with pytest.raises(RuntimeError, match=message):
        vmap(lambda x: vmap(lambda z: (call(x), z)[1])(BATCH))(BATCH)
    # Of what is the same for all samples, they are.
    assert vmap(lambda x: (call(BATCH[0].clone()), x)[1])(BATCH).equal(BATCH)


def test_what_samples_were_may_be_read_afterwards():
    kept = []
    vmap(lambda x: (kept.append(x.sum()), x)[1])(BATCH)
    assert [x.item() for x in kept] == [6, 15]


def test_masks_that_are_the_same_for_all_samples():
    mask = ferrograd.tensor([True, False, True])
    assert vmap(lambda x: x[mask])(BATCH).tolist() == vmap(lambda x: x.masked_select(mask))(BATCH).tolist() == [[1, 3], [4, 6]]
    y = vmap(lambda x: (y := x.clone(), y.__setitem__(mask, 0.0))[0])(BATCH)
    assert y.tolist() == [[0, 2, 0], [0, 5, 0]]
    # And what does without one.
    assert vmap(lambda x: x.masked_fill(x > 2, 0.0))(BATCH).tolist() == [[1, 2, 0], [0, 0, 0]]
    assert vmap(lambda x: ferrograd.where(x.sum() > 6, x, -x))(BATCH).tolist() == [[-1, -2, -3], [4, 5, 6]]
    assert vmap(lambda x: x[x.argmax()])(BATCH).tolist() == [3, 6]


@pytest.mark.parametrize("shapes", [[(6,), (15,)], [(15,), (6,)], [(2, 3), (6,)], [(3,), (3, 1)], [(0,), (4,)], [(1,), ()]])
@pytest.mark.parametrize("dim", [0, -1])
def test_samples_of_other_shapes_do_not_make_a_batch(shapes, dim):
    for make in (lambda x, shape: x.new_zeros(shape), lambda x, shape: ferrograd.zeros(shape)):
        rest = iter(shapes)
        with pytest.raises(RuntimeError, match="expects each tensor to be equal size"):
            vmap(lambda x: make(x, next(rest)), out_dims=dim)(BATCH)
    with pytest.raises(RuntimeError, match="expects each tensor to be equal size"):
        vmap(lambda x: x.repeat_interleave(x.long()))(BATCH)
    assert vmap(lambda x: x.repeat_interleave(x.long()))(BATCH[:1].expand(2, 3)).tolist() == [[1, 2, 2, 3, 3, 3]] * 2


def test_rows_that_samples_name_are_shrunk():
    weights, rows = BATCH[..., None].expand(2, 3, 2).clone(), ferrograd.tensor([[2, 0, 2], [1, 1, 1]])
    want = weights.clone()
    found = [F.embedding(i, w, max_norm=1.0) for w, i in zip(want, rows)]
    assert vmap(lambda w, i: F.embedding(i, w, max_norm=1.0))(weights, rows).equal(ferrograd.stack(found))
    assert weights.equal(want) and not weights.equal(BATCH[..., None].expand(2, 3, 2))


def test_running_averages_are_those_of_the_samples():
    x = ferrograd.arange(24.0).view(2, 4, 3)

    def normalized(mean, var):
        return lambda x: F.batch_norm(x, mean(x), var(x), training=True)

    want = ferrograd.stack([F.batch_norm(part, None, None, training=True) for part in x])
    assert vmap(normalized(lambda x: x.new_zeros(3), lambda x: x.new_ones(3)))(x).allclose(want)
    with pytest.raises(RuntimeError, match=NOT_MAPPED):
        vmap(normalized(lambda x: ferrograd.zeros(3), lambda x: ferrograd.ones(3)))(x)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x, n: x.normal_(n),
        lambda x, n: x.normal_(0, n),
        lambda x, n: x.uniform_(0, n),
        lambda x, n: x.exponential_(n),
        lambda x, n: x.cauchy_(n),
        lambda x, n: x.geometric_(n / 100),
        lambda x, n: x.log_normal_(n),
        lambda x, n: x.random_(n.long()),
        lambda x, n: x.random_(0, n.long()),
        lambda x, n: x.bernoulli(n / 100),
        lambda x, n: ferrograd.normal(n, 1.0, (3,)),
        lambda x, n: ferrograd.randint(0, n.long(), (3,)),
    ],
)
@pytest.mark.parametrize("randomness", ["same", "different", "error"])
def test_random_ops_draw_by_numbers_that_are_the_same_for_all_samples(draw, randomness):
    with pytest.raises(RuntimeError, match="vmap"):
        vmap(lambda x: draw(x.clone(), x.sum()), randomness=randomness)(BATCH)
    with pytest.raises((TypeError, RuntimeError)):
        vmap(lambda x: draw(x.clone(), x), randomness=randomness)(BATCH)
    if randomness != "error":
        assert vmap(lambda x: draw(x.clone(), ferrograd.tensor(2.0)), randomness=randomness)(BATCH).shape == (2, 3)


@pytest.mark.parametrize(
    "draw",
    [
        ferrograd.rand_like,
        ferrograd.randn_like,
        lambda x: ferrograd.randint_like(x, 9),
        lambda x: ferrograd.rand(3),
        lambda x: ferrograd.randperm(3),
        lambda x: ferrograd.bernoulli(ferrograd.full((3,), 0.5)),
        lambda x: ferrograd.normal(ferrograd.zeros(3), 1.0),
        lambda x: ferrograd.multinomial(ferrograd.ones(3), 2),
        lambda x: ferrograd.multinomial(ferrograd.ones(3), 3, replacement=True),
    ],
)
def test_what_is_drawn_depends_on_the_samples_that_find_different_numbers(draw):
    ferrograd.manual_seed(0)
    y = vmap(draw, randomness="same", out_dims=None)(BATCH)
    ferrograd.manual_seed(0)
    assert y.equal(draw(BATCH[0]))
    with pytest.raises(ValueError, match="can not return a BatchedTensor when out_dim is None"):
        vmap(draw, randomness="different", out_dims=None)(BATCH)
    xs = ferrograd.stack([BATCH, BATCH, BATCH])
    assert vmap(vmap(draw, randomness="different"), randomness="same", out_dims=None)(xs).shape[0] == 2


def test_data_of_samples_are_neither_shown_nor_replaced():
    def replace(x, y):
        x.data = y
        return x

    with pytest.raises(RuntimeError, match="accessing `data` under vmap"):
        vmap(lambda x: x.data)(BATCH)
    assert vmap(lambda x: x + ferrograd.ones(3).data)(BATCH).equal(BATCH + 1)

    for call in (lambda x: replace(x, ferrograd.ones(3)), lambda x: replace(ferrograd.ones(3), x)):
        with pytest.raises(RuntimeError, match="mutating directly with `.data` under vmap"):
            vmap(call)(BATCH)
    assert vmap(lambda x: x + replace(ferrograd.ones(3), ferrograd.zeros(3)))(BATCH).equal(BATCH)


def test_diagonals_of_samples_are_filled():
    x = ferrograd.zeros(2, 3, 3)
    vmap(lambda x: x.fill_diagonal_(1.0))(x)
    assert x.equal(ferrograd.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize(
    ("call", "want", "left"),
    [
        # As the memory of the batch has them one after the other.
        (lambda x: x.resize_(2), [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (lambda x: x.resize_(3, 1), [[[1], [2], [3]], [[4], [5], [6]]], [[[1], [2], [3]], [[4], [5], [6]]]),
        (lambda x: x.resize_(2).mul_(2), [[2, 4], [6, 8]], [[2, 4], [6, 8]]),
        (lambda x: x.resize_(2).resize_(1).sum(), [1, 2], [[1], [2]]),
        (lambda x: (x * 2).resize_(2), [[2, 4], [6, 8]], BATCH.tolist()),
        (lambda x: (x * 2)[1:].resize_(1), [[4], [6]], BATCH.tolist()),
        (lambda x: x.resize_(4)[:3], None, None),
    ],
)
def test_resizing_samples_resizes_the_batch(call, want, left):
    xs = BATCH.clone()
    y = vmap(call)(xs)
    if want is None:
        assert xs.shape == (2, 4) and xs.view(-1)[:6].equal(BATCH.view(-1)) and y.equal(xs[:, :3])
    else:
        assert y.tolist() == want and xs.tolist() == left
    xs = ferrograd.stack([BATCH, BATCH + 6])
    if want is not None:
        assert vmap(vmap(lambda x: x.resize_(2)))(xs).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_resizing_after_writes():
    xs = BATCH.clone()
    assert vmap(lambda x: x.mul_(2).resize_(2), randomness="different")(xs).tolist() == [[2, 4], [6, 8]]
    # Refused, unless batches are kept for Functions that map themselves.
    try:
        y = vmap(lambda x: x.mul_(2).resize_(2))(BATCH.clone())
    except RuntimeError as error:
        assert "resize_ after a write" in str(error)
    else:
        assert y.tolist() == [[2, 4], [6, 8]]
    assert vmap(lambda x: x + ferrograd.arange(4.0).resize_(3))(BATCH).equal(BATCH + ferrograd.arange(3.0))
    with pytest.raises(RuntimeError, match="require grad"):
        func.grad(lambda z: vmap(lambda x: x.resize_(2))(z).sum())(BATCH)
    with pytest.raises(RuntimeError, match="memory_format"):
        vmap(lambda x: x.resize_((1, 1, 1, 2), memory_format=ferrograd.channels_last))(BATCH.clone())


@pytest.mark.parametrize(
    ("name", "shapes", "fractions"),
    [
        ("addmv", ((3,), (3, 4), (4,)), (True, True)),
        ("addbmm", ((3, 2), (2, 3, 4), (2, 4, 2)), (True, True)),
        ("baddbmm", ((2, 3, 2), (2, 3, 4), (2, 4, 2)), (True, True)),
        ("addmm", ((3, 2), (3, 4), (4, 2)), (True, False)),
    ],
)
def test_products_of_integers_with_fractions(name, shapes, fractions):
    """Torch multiplies before it adds under vmap, which makes floats."""
    xs = [ferrograd.arange(1, 1 + 2 * ferrograd.Size(shape).numel()).view(2, *shape) for shape in shapes]
    add = getattr(ferrograd, name)
    for beta, alpha in ((0.5, 1), (0.5, 2), (1, 0.5), (0, 0.5)):
        if isinstance(alpha, float) and not fractions[1]:
            continue
        y = vmap(lambda x, a, b: add(x, a, b, beta=beta, alpha=alpha))(*xs)
        want = ferrograd.stack([add(*(x.double() for x in sample), beta=beta, alpha=alpha) for sample in zip(*xs)])
        assert y.dtype == ferrograd.float32 and y.equal(want.float())
    # In place there are none.
    y = vmap(lambda x, a, b: getattr(x.clone(), name + "_")(a, b, beta=0.5, alpha=1.5))(*xs)
    assert y.dtype == ferrograd.int64 and y.equal(vmap(lambda x, a, b: add(x, a, b, beta=0))(*xs))
    assert vmap(add)(*xs).dtype == add(*(x[0] for x in xs), beta=0.5).dtype == ferrograd.int64


def test_the_channels_of_all_samples_lie_in_a_row():
    x = ferrograd.arange(48.0).view(2, 4, 3, 2)
    for y in (
        vmap(lambda x: F.batch_norm(x, None, None, training=True))(x),
        vmap(lambda x: F.batch_norm(x, x[0, :, 0], x[1, :, 0]))(x),
        vmap(lambda x, w: F.batch_norm(x, None, None, w, training=True), in_dims=(None, 0))(x[0], BATCH),
    ):
        assert y.shape == (2, 4, 3, 2) and y.stride() == (6, 12, 2, 1)
    y = vmap(vmap(lambda x: F.batch_norm(x, None, None, training=True)))(x.view(1, 2, 4, 3, 2).expand(3, 2, 4, 3, 2))
    assert y.stride() == (12, 6, 36, 2, 1)


def test_transforms_lie_around_the_dims_that_are_transformed():
    x = ferrograd.arange(24.0).view(3, 4, 2)
    for fft in (ferrograd.fft.fft, ferrograd.fft.ifft, ferrograd.fft.ihfft):
        y = vmap(fft, in_dims=1)(x)
        assert y.stride() == (2, 8, 1) and y.allclose(ferrograd.stack([fft(part) for part in x.unbind(1)]))
        assert vmap(lambda x: fft(x, dim=0), in_dims=2)(x).stride(1) == 1
    assert vmap(lambda x: ferrograd.fft.fft(x, dim=0), in_dims=2)(x).stride() == (3, 1, 6)
    assert vmap(ferrograd.fft.fft2, in_dims=1)(x).stride() == (6, 2, 1)


def test_what_is_converted_lies_in_memory_as_before():
    x = ferrograd.arange(24).view(3, 4, 2)
    for call in (lambda x: x.float(), lambda x: x.sqrt(), lambda x: x + x.double(), lambda x: ferrograd.complex(x.float(), x.float())):
        y = vmap(call, in_dims=1)(x)
        assert y.stride() == (2, 8, 1) and y.equal(call(x).movedim(1, 0))


def test_ldl_of_samples():
    a = ferrograd.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
    xs, bs = ferrograd.stack([a, 2 * a]), ferrograd.arange(12.0).view(2, 3, 2)
    ld, pivots = vmap(lambda x: tuple(ferrograd.linalg.ldl_factor(x)))(xs)
    y = vmap(ferrograd.linalg.ldl_solve)(ld, pivots, bs)
    assert (xs @ y).allclose(bs, atol=1e-4) and y.is_contiguous()
    with pytest.raises(IndexError):
        vmap(ferrograd.linalg.ldl_solve)(ld, pivots, bs[:, :, 0])
    with pytest.raises(RuntimeError):
        ferrograd.linalg.ldl_solve(ld[0], pivots[0], bs[0, :, 0])


def test_a_place_that_depends_on_the_sample():
    x, places = ferrograd.arange(24.0).view(3, 4, 2), ferrograd.tensor([2, 0, 1, -1])
    assert vmap(lambda i: x[i])(places).equal(x[places])
    assert vmap(lambda i: x[:, i.int(), 1])(places).equal(x[:, places, 1].t())
    # It is one of the places that are listed: their dims come first.
    assert vmap(lambda i: x[i, 1:, [0, 1]])(places).equal(ferrograd.stack([x[i, 1:, [0, 1]].t() for i in places.tolist()]))
    # What is found there is no view, as in torch.
    assert vmap(lambda i: x[i].add_(1))(places).equal(x[places] + 1) and x.equal(ferrograd.arange(24.0).view(3, 4, 2))
    ys = vmap(lambda y, i: (y.__setitem__(i, 7.0), y)[1])(ferrograd.zeros(3, 2), ferrograd.tensor([0, 1, 1]))
    assert ys.tolist() == [[7, 0], [0, 7], [0, 7]]
    for wrong in (places + 3, places.char()):
        with pytest.raises(IndexError):
            vmap(lambda i: x[i])(wrong)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "want"),
    [
        ((2,), (1,), 2, [[2, 3], [5, 6]]),
        ((2, 2), (1, 1), 1, [[[1, 2], [2, 3]], [[4, 5], [5, 6]]]),
        ((2,), (2,), None, [[1, 3], [4, 6]]),
        ((0,), (1,), 9, [[], []]),
        ((4,), (1,), 1, None),
        ((2,), (1,), 0, None),
        ((2,), (3,), 1, None),
    ],
)
def test_as_strided_shows_what_lies_within_a_sample(size, stride, offset, want):
    x = ferrograd.arange(8.0)[1:7].view(2, 3)
    if want is None:
        with pytest.raises(RuntimeError, match="not supported inside of vmap"):
            vmap(lambda x: x.as_strided(size, stride, offset))(x)
    else:
        assert vmap(lambda x: x.as_strided(size, stride, offset))(x).tolist() == want


def test_views_of_pairs_that_lie_within_other_dims():
    memory = ferrograd.arange(14.0).view(7, 2).clone()
    y = vmap(ferrograd.view_as_complex, in_dims=1)(memory.t())
    assert y._base is memory and y.equal(ferrograd.view_as_complex(memory))
    memory = ferrograd.arange(24.0).view(3, 4, 2).clone()
    y = vmap(vmap(ferrograd.view_as_complex, in_dims=1))(memory.movedim(1, 2))
    assert y._base is memory and y.equal(ferrograd.view_as_complex(memory))


def test_a_dim_of_a_number_that_is_out_of_range():
    assert vmap(lambda x: x.squeeze(-1))(BATCH[0]).equal(BATCH[0])
    with pytest.raises(RuntimeError):
        vmap(lambda x: x.squeeze(1))(BATCH[0])


def test_writes_to_a_batch_after_the_map_are_noticed():
    x = ferrograd.ones(2, 2, requires_grad=True)
    for write in (lambda b: b.mul_(3), lambda b: b[0].add_(1), lambda b: vmap(lambda row: row.mul_(2))(b)):
        for square in (vmap(lambda row: row * row), vmap(vmap(lambda value: value * value))):
            batch = x * 2
            y = square(batch)
            write(batch)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                y.sum().backward()


@pytest.mark.parametrize("nested", [False, True])
def test_writes_to_samples_count_once_for_the_batch(nested):
    def f(row):
        row.mul_(2).add_(1)
        return row * row

    x = ferrograd.ones(3, 2, requires_grad=True)
    batch = x * 2
    y = vmap(vmap(f))(batch) if nested else vmap(f)(batch)
    assert batch._version == 2 and batch.tolist() == [[5, 5]] * 3
    y.sum().backward()
    assert x.grad.tolist() == [[40, 40]] * 3
