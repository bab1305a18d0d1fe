"""What depends on a sample of a function that is being mapped: every op hands it on, whichever operand it comes from.

A tensor that the function has captured shows it: it takes nothing that depends on a sample, even if all samples are equal.
"""

import zlib

import numpy as np
import pytest

import ferrograd
import ferrograd.nn.functional as F
from ferrograd.func import vmap
from op_cases import CASES

I = ferrograd.tensor([0, 2, 1])
B = ferrograd.tensor([True, False, True])
X = ferrograd.tensor([0.25, 0.5, 0.75])
M = ferrograd.arange(9.0).view(3, 3) / 9 + ferrograd.eye(3)
PLANE = ferrograd.arange(16.0).view(1, 1, 4, 4)
POOLED, POOLED_PLACES = F.max_pool2d(PLANE, 2, return_indices=True)
LU, PIVOTS = ferrograd.linalg.lu_factor(M)
LD, LD_PIVOTS = ferrograd.linalg.ldl_factor(M @ M.mT)


def tensors(answer):
    return list(answer) if isinstance(answer, (tuple, list)) else [answer]


def followed(call, operands, i):
    """Of each tensor that `call` answers, whether it is known to depend on a sample if operand `i` does."""
    found = []

    def function(sample):
        found.clear()
        for y in tensors(call(*operands[:i], sample, *operands[i + 1 :])):
            try:
                CAPTURED.copy_(y.sum())
                found.append(False)
            except RuntimeError as error:
                assert "`other` being vmapped over but `self` not being vmapped over" in str(error)
                found.append(True)
        return sample

    with ferrograd.no_grad():
        vmap(function, randomness="different")(ferrograd.stack([operands[i]] * 2))
    return found


CAPTURED = ferrograd.zeros((), dtype=ferrograd.complex128)

# Not all answers are made of all operands.
SOME = {
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_tensors",
    "meshgrid",
    "native_group_norm",
}
# Of the second operand the shape or the dtype counts alone.
LIKE = {"expand_as", "reshape_as", "type_as", "view_as"}
# Its answers are made of the queries and keys.
OF_TWO = "multi_head_attention_forward-weights"


def of_op():
    by_op = {}
    for case in CASES:
        by_op.setdefault(case.op, []).append(case)
    return by_op


# Torch does not map rrelu.
@pytest.mark.parametrize("op", sorted(set(of_op()) - {"rrelu"}))
def test_every_op_follows_each_operand(op):
    for case in of_op()[op]:
        rng = np.random.default_rng(zlib.crc32(str(case).encode()))
        operands = [ferrograd.from_numpy(np.asarray(i.sample(rng))) for i in case.inputs]
        for i in range(1 if op in LIKE else 2 if str(case) == OF_TWO else len(operands)):
            found = followed(case.call, operands, i)
            assert found and (any if op in SOME else all)(found), (str(case), i, found)


def batch_norm(x, mean, var, weight=None):
    return ferrograd.native_batch_norm(x, weight, None, mean, var, False, 0.1, 1e-5)[0]


# Operands that have no derivative: places, classes, counts, masks, numbers of other kinds.
CALLS = {
    "gather": (lambda x, i: x.gather(0, i), X, I),
    "scatter": (lambda x, i: x.scatter(0, i, 1.0), X, I),
    "scatter src": (lambda x, i, y: x.scatter(0, i, y), X, I, X),
    "scatter reduce": (lambda x, i, y: x.scatter(0, i, y, reduce="add"), X, I, X),
    "scatter_add": (lambda x, i, y: x.scatter_add(0, i, y), X, I, X),
    "scatter_reduce": (lambda x, i, y: x.scatter_reduce(0, i, y, "amax"), X, I, X),
    "scatter_ of what is made like a sample": (lambda i: ferrograd.zeros_like(i).scatter_(0, i, 1.0), I),
    "index_put_ of what is made like a sample": (lambda i: i.new_zeros(3).index_put_((i,), ferrograd.ones(3).long()), I),
    "take_along_dim": (lambda x, i: x.take_along_dim(i, 0), X, I),
    "take_along_dim of all": (lambda x, i: x.take_along_dim(i), M, I),
    "take": (lambda x, i: x.take(i), M, I),
    "put": (lambda x, i, y: x.put(i, y), X, I, X),
    "index_select": (lambda x, i: x.index_select(0, i), X, I),
    "index_select of one": (lambda i: ferrograd.tensor(2.0).index_select(0, i[:1]), I),
    "index_add": (lambda x, i, y: x.index_add(0, i, y), X, I, X),
    "index_copy": (lambda x, i, y: x.index_copy(0, i, y), X, I, X),
    "index_fill": (lambda x, i: x.index_fill(0, i, 1.0), X, I),
    "index_reduce": (lambda x, i, y: x.index_reduce(0, i, y, "prod"), X, I, X),
    "index_put": (lambda x, i, y: x.index_put((i,), y), X, I, X),
    "brackets": (lambda x, i: x[i], X, I),
    "brackets with a place": (lambda x, i: x[i[0]], X, I),
    "brackets with places": (lambda x, i: x[i[0], :, i[1].int()], ferrograd.rand(3, 2, 3), I),
    "masked_fill": (lambda x, i: x.masked_fill(i, 1.0), X, B),
    "masked_scatter": (lambda x, i, y: x.masked_scatter(i, y), X, B, X),
    "where": (lambda c: ferrograd.where(c, 1.0, 2.0), B),
    "nonzero_static": (lambda x: x.nonzero_static(size=2), X),
    "argwhere": (lambda x: x.argwhere(), X),
    "repeat_interleave": (lambda x, i: x.repeat_interleave(i), X, I),
    "repeat_interleave by one": (lambda x, i: x.repeat_interleave(i[1]), X, I),
    "repeat_interleave of counts": (lambda i: i.repeat_interleave(), I),
    "bincount": (lambda i, w: i.bincount(w), I, X),
    "bincount without weights": (lambda i: i.bincount(), I),
    "bucketize": (lambda x, y: ferrograd.bucketize(x, y), X, X),
    "searchsorted": (lambda x, y, i: ferrograd.searchsorted(x, y, sorter=i), X, X, I),
    "histc": (lambda x: x.histc(3), X),
    "one_hot of so many": (lambda i: F.one_hot(i, 4), I),
    "unravel_index": (lambda i: ferrograd.unravel_index(i, (2, 2)), I),
    "argsort": (lambda x: x.argsort(), X),
    "argmax": (lambda x: x.argmax(), X),
    "sort": (lambda x: x.sort(), X),
    "topk": (lambda x: x.topk(2), X),
    "kthvalue": (lambda x: x.kthvalue(2), X),
    "mode": (lambda x: x.mode(), X),
    "max": (lambda x: x.max(0), X),
    "cummax": (lambda x: x.cummax(0), X),
    "isin": (lambda x, y: ferrograd.isin(x, y), X, X),
    "quantile": (lambda x, q: x.quantile(q), X, X),
    "quantile by places": (lambda x, q: x.quantile(q, interpolation="nearest"), X, X),
    "linspace": (lambda a, b: ferrograd.linspace(a, b, 3), X[0], X[1]),
    "logspace": (lambda a, b: ferrograd.logspace(a, b, 3), X[0], X[1]),
    "block_diag": (lambda a, b: ferrograd.block_diag(a, b), X, X),
    "multinomial": (lambda x: x.multinomial(2), X),
    "multinomial of rows": (lambda x: x.multinomial(2), M),
    "bernoulli": (lambda x: x.bernoulli(), X),
    "poisson": (lambda x: ferrograd.poisson(x), X),
    "embedding": (lambda i, w: F.embedding(i, w), I, M),
    "embedding_bag": (lambda i, w, o: F.embedding_bag(i, w, o), I, M, ferrograd.tensor([0, 2])),
    "embedding_bag of maxima": (lambda i, w, o: F.embedding_bag(i, w, o, mode="max"), I, M, ferrograd.tensor([0, 2])),
    "nll_loss": (lambda x, i, w: F.nll_loss(x, i, w), M, I, X),
    "nll_loss of each": (lambda x, i, w: F.nll_loss(x, i, w, reduction="none"), M, I, X),
    "cross_entropy": (lambda x, i, w: F.cross_entropy(x, i, w), M, I, X),
    "cross_entropy, smooth": (lambda x, i, w: F.cross_entropy(x, i, w, label_smoothing=0.1), M, I, X),
    "multi_margin_loss": (lambda x, i, w: F.multi_margin_loss(x, i, weight=w), M, I, X),
    "multilabel_margin_loss": (lambda x, i: F.multilabel_margin_loss(x, i), X, I),
    "binary_cross_entropy": (lambda x, y, w: F.binary_cross_entropy(x, y, w), X, X, X),
    "ctc_loss": (
        lambda x, t, n, m: F.ctc_loss(x, t, n, m),
        ferrograd.zeros(4, 1, 3).log_softmax(2),
        ferrograd.tensor([[1, 2]]),
        ferrograd.tensor([4]),
        ferrograd.tensor([2]),
    ),
    "max_pool": (lambda x: F.max_pool2d(x, 2, return_indices=True), PLANE),
    "adaptive_max_pool": (lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True), PLANE),
    "fractional_max_pool": (
        lambda x, r: F.fractional_max_pool2d(x, 2, output_size=2, return_indices=True, _random_samples=r),
        PLANE,
        ferrograd.full((1, 1, 2), 0.5),
    ),
    "max_unpool": (lambda x, i: F.max_unpool2d(x, i, 2), POOLED, POOLED_PLACES),
    "native_batch_norm": (batch_norm, M, X, X, X),
    "native_layer_norm": (lambda x: ferrograd.native_layer_norm(x, (3,), None, None, 1e-5), M),
    "native_group_norm": (lambda x: ferrograd.native_group_norm(x, None, None, 1, 3, 3, 1, 1e-5), M),
    "lu": (lambda x: ferrograd.linalg.lu(x), M),
    "lu_factor": (lambda x: ferrograd.linalg.lu_factor_ex(x), M),
    "lu_unpack": (lambda x, p: ferrograd.lu_unpack(x, p), LU, PIVOTS),
    "lu_solve": (lambda x, p, b: ferrograd.linalg.lu_solve(x, p, b), LU, PIVOTS, M),
    "ldl_solve": (lambda x, p, b: ferrograd.linalg.ldl_solve(x, p, b), LD, LD_PIVOTS, M),
    "lstsq": (lambda x, y: ferrograd.linalg.lstsq(x, y, driver="gelsd")[2:], M, M),
    "pinv": (lambda x, a: ferrograd.linalg.pinv(x, atol=a), M, X[0]),
    "segment_reduce": (lambda x, i: ferrograd.segment_reduce(x, "sum", lengths=i), X, I),
    "frexp": (lambda x: x.frexp(), X),
    "gcd": (lambda x, y: x.gcd(y), I, I),
    "bitwise_and": (lambda x, y: x & y, I, I),
    "isclose": (lambda x, y: x.isclose(y), X, X),
    "any": (lambda x: x.any(), B),
    "count_nonzero": (lambda x: x.count_nonzero(), X),
    "to": (lambda x: x.to(ferrograd.int32), X),
}


@pytest.mark.parametrize("name", CALLS)
def test_operands_without_a_derivative_are_followed(name):
    call, *operands = CALLS[name]
    for i in range(len(operands)):
        found = followed(call, operands, i)
        assert found and all(found), (i, found)


def test_what_depends_on_no_sample_is_not_taken_for_it():
    constant = [
        lambda x: X.gather(0, I),
        lambda x: ferrograd.zeros(3).scatter_(0, I, 1.0),
        lambda x: (x.gather(0, I), X.take(I))[1],
        lambda x: X.view_as(x),
        lambda x: ferrograd.broadcast_tensors(X, x)[0],
        lambda x: ferrograd.meshgrid(X, x, indexing="ij")[0],
        lambda x: ferrograd.tensor(x.shape),
    ]
    for call in constant:
        assert followed(call, [X], 0) == [False]


def test_batch_norm_takes_averages_that_depend_on_samples_alone():
    mean = ferrograd.zeros(2, 3)
    var = ferrograd.ones(3)
    vmap(lambda m: F.batch_norm(M, m, var, training=True))(mean)
    assert ferrograd.equal(mean[0], mean[1]) and mean[0, 0] != 0 and var[0] != 1
    with pytest.raises(RuntimeError, match="`self` not being vmapped over"):
        vmap(lambda x: F.batch_norm(x, mean[0], var, training=True))(ferrograd.stack([M, M]))


# What torch does with draws in maps within maps, for each randomness of the outer one ("error", "same", "different") and each of the
# inner one: "." draws, "e" may not draw, "u" no room for different numbers, "s" one number for parameters that differ, "o" a tensor
# that does not depend on the sample takes what does. First where the tensor depends on both maps, then on the outer, then on the
# inner one alone. Torch crashes at "?".
DRAWS = {
    "uniform_": (lambda x: x.clone().uniform_(), "eeee..eu.", "eeue.ue.u", "eeee..euu"),
    "normal_ of what is like it": (lambda x: ferrograd.zeros_like(x).normal_(), "eeee..eu.", "eeue.ue.u", "eeee..euu"),
    "exponential_ of what is not": (lambda x: ferrograd.zeros(3).exponential_(), "eeue.ueuu", "eeue.ueuu", "eeue.ueuu"),
    "bernoulli_": (lambda x: x.clone().bernoulli_(0.3), "eeue.ueuu", "e?ue?ue?u", "eeee..euu"),
    "bernoulli_ by a constant": (lambda x: x.clone().bernoulli_(X), "eeee..eu.", "eeue.ue.u", "eeee..euu"),
    "bernoulli_ by itself": (lambda x: x.clone().bernoulli_(x), "eseesses.", "eeuesue.u", "esees.esu"),
    "bernoulli_ of what is not": (lambda x: ferrograd.zeros(3).bernoulli_(x), "esoesoeso", "eeuesueou", "esoesoeso"),
    "bernoulli": (lambda x: x.bernoulli(), "eseesses.", "eeeesse..", "esees.es."),
    "bernoulli by a number": (lambda x: x.bernoulli(0.3), "eseesses.", "eeeesse..", "esees.es."),
    "normal": (lambda x: ferrograd.normal(x, 1.0), "eseesses.", "eeeesse..", "esees.es."),
    "multinomial": (lambda x: x.multinomial(2), "eseesses.", "eeeesse..", "esees.es."),
    "rand": (lambda x: ferrograd.rand(3), "eeee..e..", "eeee..e..", "eeee..e.."),
    "rand_like": (lambda x: ferrograd.rand_like(x), "eeee..e..", "eeee..e..", "eeee..e.."),
    "dropout": (lambda x: F.dropout(x), "eeee..e..", "eeee..e..", "eeee..e.."),
    "dropout in place": (lambda x: F.dropout(x.clone(), inplace=True), "eeee..e..", "eeee.oe.o", "eeee..eoo"),
    "native_dropout": (lambda x: ferrograd.native_dropout(x, 0.5, True)[0], "eeee..eu.", "e?ee?.e?.", "eeee..eu."),
}
ERRORS = {
    "e": "called random operation while in randomness error mode",
    "u": "Cannot ask for different inplace randomness on an unbatched tensor",
    "s": "does not currently support same randomness with a batched tensor input",
    "o": "`other` being vmapped over but `self` not being vmapped over",
}
RANDOMNESS = ("error", "same", "different")


@pytest.mark.parametrize("name", DRAWS)
def test_draws_in_maps_within_maps(name):
    draw, *expected = DRAWS[name]
    batch = ferrograd.full((2, 2, 3), 0.5)

    def nested(depends, outer, inner):
        def of(x, y):
            return draw({"both": x[0] + 0 * y, "outer": x[0], "inner": y}[depends])

        return vmap(lambda x: vmap(lambda y: of(x, y), randomness=inner)(batch[0]), randomness=outer)(batch)

    for depends, codes in zip(("both", "outer", "inner"), expected):
        modes = [(outer, inner) for outer in RANDOMNESS for inner in RANDOMNESS]
        for (outer, inner), code in zip(modes, codes):
            if code == ".":
                y = nested(depends, outer, inner)
                assert y.shape[:2] == (2, 2)
                same = [y[0].equal(y[1]), y[:, 0].equal(y[:, 1])]
                if "bernoulli" not in name and name not in ("multinomial", "dropout", "dropout in place", "native_dropout"):
                    assert same == [outer == "same", inner == "same"]
            elif code != "?":
                with pytest.raises(RuntimeError, match=ERRORS[code]):
                    nested(depends, outer, inner)


def test_rrelu_is_not_mapped():
    for call in (F.rrelu, lambda x: F.rrelu(x, training=True), lambda x: F.rrelu(x.clone(), inplace=True), ferrograd.nn.RReLU()):
        with pytest.raises(RuntimeError, match="vmap: we do not yet support aten::rrelu_?. Please file an issue"):
            vmap(call, randomness="different")(M)
        assert call(M).shape == M.shape
