"""Hooks that keep saved tensors elsewhere."""

import gc
import weakref
from contextlib import nullcontext

import numpy as np
import pytest

import ferrograd
from ferrograd.autograd import Function, SavedTensor, grad
from ferrograd.autograd.graph import allow_mutation_on_saved_tensors, disable_saved_tensors_hooks, save_on_cpu, saved_tensors_hooks
from op_cases import CASES
from op_cases.case import MADE
from test_ops_gradients import outputs_of, rng_of, tensor


def leaf(*values):
    return ferrograd.tensor(values, dtype=ferrograd.float64, requires_grad=True)


def same(x):
    return x


class Store:
    """Keeps lists of numbers rather than tensors, and counts."""

    def __init__(self):
        self.packed = self.unpacked = 0

    def pack(self, x):
        assert not ferrograd.is_grad_enabled()
        self.packed += 1
        return x.tolist(), x.shape, x.dtype

    def unpack(self, kept):
        self.unpacked += 1
        values, shape, dtype = kept
        return ferrograd.tensor(values, dtype=dtype).reshape(shape)

    def hooks(self):
        return saved_tensors_hooks(self.pack, self.unpack)


def test_what_an_op_needs_is_packed_and_unpacked():
    x, w, store = leaf(1.0, 2.0), leaf(3.0, 4.0), Store()
    with store.hooks():
        y = x * w
        z = x + w
        e = x.exp()
    assert (store.packed, store.unpacked) == (3, 0)
    (y + z).sum().backward()
    assert x.grad.tolist() == [4.0, 5.0] and w.grad.tolist() == [2.0, 3.0]
    assert store.unpacked == 2
    assert grad(e.sum(), x)[0].tolist() == x.exp().tolist()
    (x * w).sum().backward()
    assert store.packed == 3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_op_has_the_same_gradient_with_hooks(case):
    rng = rng_of(case)
    arrays = [i.sample(rng) for i in case.inputs]

    def gradients(hooks):
        tensors = [tensor(array.copy()).requires_grad_() for array in arrays]
        if hooks is None:
            outputs = outputs_of(case, tensors)
        else:
            with hooks:
                outputs = outputs_of(case, tensors)
        outputs = [y for y in outputs if y.requires_grad]
        if not outputs:
            return None
        found = grad([y.sum() for y in outputs], tensors, allow_unused=True)
        return [None if g is None else g.tolist() for g in found]

    got, want = gradients(Store().hooks()), gradients(None)
    if case.op == "qr":
        # What comes back lies in memory in another order, in which products round otherwise.
        np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-9)
    else:
        assert repr(got) == repr(want)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_op_has_the_same_second_derivative_with_hooks(case):
    """Guards that rules of rules hold what is theirs."""
    arrays = [i.sample(rng_of(case)) for i in case.inputs]

    def gradients(hooks):
        tensors = [tensor(array.copy()).requires_grad_() for array in arrays]
        with hooks:
            ferrograd.manual_seed(0)
            outputs = [y for y in outputs_of(case, tensors) if y.requires_grad]
            first = grad([(y * y).sum() for y in outputs], tensors, allow_unused=True, create_graph=True) if outputs else []
            cubes = [(g**3).sum() for g in first if g is not None and g.requires_grad]
            second = grad(cubes, tensors, allow_unused=True) if cubes else []
        return [g.detach().numpy() for g in (*first, *second) if g is not None]

    try:
        want = gradients(nullcontext())
    except RuntimeError:
        # There is none.
        return
    got = gradients(Store().hooks())
    assert len(got) == len(want)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_a_view_whose_base_has_been_written_to():
    """Guard: the new history that it gets in the middle of an op takes nothing that the op saves for its own."""
    x, other, store = leaf(1.0, 1.0, 1.0), leaf(3.0, 3.0), Store()
    base = x * 1
    view = base[:2]
    base.mul_(5)
    with store.hooks():
        y = (other * view).sum()
    y.backward()
    assert other.grad.tolist() == [5, 5] and x.grad.tolist() == [15, 15, 0] and store.packed == 2


def test_second_derivatives():
    x, store = leaf(1.0, 2.0), Store()
    with store.hooks():
        y = (x**3).sum()
    (g,) = grad(y, x, create_graph=True)
    (h,) = grad(g.sum(), x)
    assert h.tolist() == [6.0, 12.0]


def test_memory_is_freed():
    x = leaf(*range(10))
    with saved_tensors_hooks(lambda t: t.tolist(), lambda kept: ferrograd.tensor(kept, dtype=ferrograd.float64)):
        a = x.exp()
        alive = weakref.ref(a)
        y = a.sin().sum()
    del a
    gc.collect()
    assert alive() is None
    y.backward()
    assert x.grad.allclose(x.exp() * x.exp().cos())


def test_hooks_nest():
    x, outer = leaf(1.0), Store()
    with outer.hooks():
        with saved_tensors_hooks(lambda t: t * 10, lambda t: t / 10):
            y = x.exp()
        z = x.sin()
    assert outer.packed == 1
    (y + z).sum().backward()
    assert x.grad.item() == pytest.approx((x.exp() + x.cos()).item())


def test_each_backward_unpacks():
    x, store = leaf(1.0), Store()
    with store.hooks():
        y = x.exp()
    y.backward(retain_graph=True)
    y.backward()
    assert store.unpacked == 2 and x.grad.item() == pytest.approx(2 * x.exp().item())


def test_functions_of_ones_own():
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * y

    x, store = leaf(1.0), Store()
    with store.hooks():
        y = Exp.apply(x)
    assert store.packed == 2
    (g,) = grad(y, x, create_graph=True)
    assert grad(g, x)[0].item() == pytest.approx(y.item())


@pytest.mark.parametrize(
    "pack, unpack, error, text",
    [
        (lambda x: 1 / 0, same, ZeroDivisionError, "division"),
        (lambda x: x.add_(1), same, RuntimeError, "A saved tensor pack hook is modifying its input in place"),
        (same, lambda x: None, TypeError, "unpack_hook expected to be a Tensor but got result of type NoneType"),
        (same, lambda x: 1 / 0, ZeroDivisionError, "division"),
        (same, lambda x: ferrograd.ones(3), RuntimeError, "unpack_hook expected to be a Tensor of shape"),
    ],
)
def test_failing_hooks(pack, unpack, error, text):
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=text):
        with saved_tensors_hooks(pack, unpack):
            y = (x * x).sum()
        y.backward()
    assert x.grad is None
    (x * x).sum().backward()


def test_disabled():
    with disable_saved_tensors_hooks("not now"):
        with pytest.raises(RuntimeError, match="not now"):
            with Store().hooks():
                pass
    with Store().hooks():
        pass


def test_save_on_cpu():
    x = leaf(1.0)
    with save_on_cpu():
        y = x.exp()
    y.backward()
    assert x.grad.item() == pytest.approx(x.exp().item())
    with save_on_cpu(pin_memory=True):
        y = x.exp()
    x.grad = None
    y.backward()
    assert x.grad.item() == pytest.approx(y.item())


def test_unpacked_tensors_of_another_dtype_are_converted():
    x = leaf(1.5, 2.0)
    with saved_tensors_hooks(lambda t: t.to(ferrograd.int64), same):
        y = x * x
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_mutation_may_be_allowed():
    x = leaf(1.0, 2.0)
    with allow_mutation_on_saved_tensors() as copies:
        y = x * 1
        z = y * y
        y.zero_()
        z.sum().backward()
        assert x.grad.tolist() == [2.0, 4.0]
        w = (x * x).sum()
        copies.clear()
        with pytest.raises(AssertionError, match="outside of the 'allow_mutation_on_saved_tensors' context"):
            w.backward()
        w = (x * x).sum()
        with pytest.raises(RuntimeError, match="cannot be nested"):
            with allow_mutation_on_saved_tensors():
                pass
    with pytest.raises(AssertionError, match="outside of the 'allow_mutation_on_saved_tensors' context"):
        w.backward()


def test_copies_live_as_long_as_their_graph():
    with allow_mutation_on_saved_tensors() as copies:
        for _ in range(3):
            y = (leaf(1.0) * leaf(2.0)).sum()
        assert len(copies._copies) == 2
        del y
        assert not copies._copies


def test_hooks_must_be_callable():
    for hooks in ((3, same), (same, None)):
        with pytest.raises(TypeError, match="must be callable"):
            with saved_tensors_hooks(*hooks):
                pass
    (leaf(1.0) * leaf(1.0)).backward()


def test_custom_functions_save_no_inference_tensors():
    class Product(ferrograd.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * y, None

    with ferrograd.inference_mode():
        constant = ferrograd.ones(2)
    x = ferrograd.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="^Inference tensors cannot be saved for backward"):
        Product.apply(x, constant)
    assert not Product.apply(x.detach(), constant).requires_grad


MASK = [True, False, True]


@pytest.mark.parametrize(
    "f, other",
    [
        (lambda x, m: x.masked_fill(m, 0), MASK),
        (lambda x, m: (x * 1).masked_fill_(m, 0), MASK),
        (lambda x, m: x.masked_fill(m, x.sum()), MASK),
        (lambda x, m: x.masked_select(m), MASK),
        (lambda x, m: x.masked_scatter(m, x * 2), MASK),
        (lambda x, m: ferrograd.mv(m, x), [[1.0, 2.0, 3.0]]),
        (lambda x, m: m @ x, [[1.0, 2.0, 3.0]]),
        (lambda x, m: x.new_zeros(3, 2).addr(x, m), [1.0, 2.0]),
        (lambda x, m: x.scatter_reduce(0, ferrograd.tensor([0, 0]), m, "amax"), [1.0, 5.0]),
        (lambda x, m: x.index_reduce(0, ferrograd.tensor([0, 0]), m, "amin"), [1.0, 5.0]),
        (lambda x, m: m.index_reduce(0, ferrograd.tensor([0, 0, 1]), x, "amin"), [1.0, 5.0]),
    ],
)
def test_operands_that_were_written_to_are_noticed(f, other):
    x, other = leaf(1.0, 2.0, 3.0), ferrograd.from_numpy(np.array(other))
    y = f(x, other)
    other.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation.* is at version 1; expected version 0"):
        y.sum().backward()


def test_assigned_masks_that_were_written_to_are_noticed():
    x, mask = leaf(1.0, 2.0, 3.0), ferrograd.tensor(MASK)
    y = x * 1
    y[mask] = 0
    mask.zero_()
    with pytest.raises(RuntimeError, match="BoolTensor .3..* is at version 1; expected version 0"):
        y.sum().backward()


def test_distances_that_were_written_to_are_noticed():
    x = ferrograd.rand(3, 2, dtype=ferrograd.float64).requires_grad_()
    y = ferrograd.cdist(x, ferrograd.rand(4, 2, dtype=ferrograd.float64))
    with ferrograd.no_grad():
        y.fill_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# As in torch, which saves views that do not know of writes to their base.
UNNOTICED = ("kron",)


@pytest.mark.parametrize("case", [case for case in CASES if case.op not in UNNOTICED], ids=str)
def test_no_write_to_what_an_op_saved_goes_unnoticed(case):
    rng = rng_of(case)
    arrays = [i.sample(rng) for i in case.inputs]

    def gradients(wanted, written):
        """Those of the operands that are wanted, after a write to an operand or output; None if that is refused."""
        leaves = [tensor(array.copy()).requires_grad_(i in wanted) for i, array in enumerate(arrays)]
        operands = [x * 1 if x.requires_grad else x for x in leaves]
        ferrograd.manual_seed(0)
        outputs = [y for y in outputs_of(case, operands) if y.requires_grad]
        sums = [y.sum() for y in outputs]
        try:
            with ferrograd.no_grad():
                for x in (operands + outputs)[written]:
                    x.copy_(ferrograd.full_like(x, 0.37))
            found = grad(sums, [leaves[i] for i in wanted], allow_unused=True) if sums else []
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error) or "single memory location" in str(error)
            return None
        return [0.0 if g is None else g.numpy() for g in found]

    everything = range(len(arrays))
    for wanted in {tuple(everything), *((i,) for i in everything)}:
        want = gradients(wanted, slice(0))
        for place in range(len(arrays) + 2):
            got = gradients(wanted, slice(place, place + 1))
            for g, w in zip(got or [], want):
                np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


# Whose indices torch reads once or makes others of: it notices no write, either.
READ_ONCE = ("take_along_dim", "repeat_interleave")
# What looks like indices is lengths or numbers, of which a rule holds what was made of them.
NUMBERS = ("ctc_loss", "cov")


@pytest.mark.parametrize("case", [case for case in CASES if case.op not in READ_ONCE + NUMBERS], ids=str)
def test_a_write_to_any_index_is_noticed(case):
    rng = rng_of(case)
    arrays = [i.sample(rng) for i in case.inputs]

    def total():
        MADE.clear()
        return sum(y.sum() for y in outputs_of(case, [tensor(array).requires_grad_() for array in arrays]) if y.requires_grad)

    total()
    for place in range(len(MADE)):
        y, index = total(), MADE[place]
        index.copy_(index.clone())
        with pytest.raises(RuntimeError, match=r"modified by an inplace operation: .* is at version 1; expected version 0"):
            y.backward()


@pytest.mark.parametrize(
    "f, other",
    [
        (lambda x, i: x[i, 0], [2, 0]),
        (lambda x, i: x[1:, i], [0, 1]),
        (lambda x, i: x[i], [True, False, True]),
        (lambda x, i: x.index_fill(0, i, x.sum()), [2, 0]),
        (lambda x, i: (x * 1).index_add_(0, i, x[:2], alpha=2), [2, 0]),
        (lambda x, i: x.detach().scatter(0, i, x), [[0, 1, 2]]),
        (lambda x, i: x.scatter(0, i, 3.0), [[0, 1, 2]]),
        (lambda x, i: x.gather(0, i), np.zeros((0, 3), np.int64)),
        (lambda x, i: x.sum().gather(0, i), 0),
        (lambda x, i: x.take_along_dim(i), [8, 0]),
        (lambda x, i: x.put(i, x[0], accumulate=True), [8, 0, 1]),
        (lambda x, i: x.masked_select(i), [True, False, True]),
        (lambda x, i: ferrograd.nn.functional.ctc_loss(x, i, ferrograd.tensor([3]), ferrograd.tensor([2])), [1, 2]),
        (lambda x, w: ferrograd.nn.functional.nll_loss(x, ferrograd.tensor([0, 1, 2]), w), [1.0, 2.0, 3.0]),
        (lambda x, w: ferrograd.nn.functional.multi_margin_loss(x, ferrograd.tensor([0, 1, 2]), weight=w), [1.0, 2.0, 3.0]),
        (lambda x, o: ferrograd.nn.functional.embedding_bag(ferrograd.tensor([0, 1]), x, o), [0, 1]),
    ],
)
def test_writes_to_what_other_forms_read_are_noticed(f, other):
    x, other = ferrograd.rand(3, 3, dtype=ferrograd.float64).requires_grad_(), ferrograd.from_numpy(np.array(other))
    y = f(x, other)
    other.copy_(other.clone())
    with pytest.raises(RuntimeError, match="modified by an inplace operation.* is at version 1; expected version 0"):
        y.sum().backward()


def test_a_write_to_an_index_that_no_rule_needs_is_allowed():
    x, index = leaf(1.0, 2.0, 3.0), ferrograd.tensor([0, 2])
    y = x.index_add(0, index, x.detach()[:2]) + x.scatter_add(0, index, x.detach())
    index.zero_()
    total = y.sum()
    for _ in range(2):
        total.backward()
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


def test_take_along_all_takes_no_negative_indices():
    x = ferrograd.arange(6.0).reshape(2, 3)
    assert x.take_along_dim(ferrograd.tensor([[-1]]), 1).tolist() == [[2.0], [5.0]]
    with pytest.raises(RuntimeError, match="index -1 is out of bounds for dimension 0 with size 6"):
        x.take_along_dim(ferrograd.tensor([-1]))


@pytest.mark.parametrize("op", "exp exp2 expm1 reciprocal relu rsqrt sigmoid sqrt tan tanh".split())
@pytest.mark.parametrize("part", [slice(None), slice(0, 2)])
def test_a_write_to_the_result_of_an_op_in_place_is_noticed(op, part):
    def result():
        y = x * 1
        getattr(y[part], op + "_")()
        return y

    x = leaf(0.2, 0.4, 0.6)
    result().sum().backward()
    want = x.grad.clone()
    y = result()
    z = y + 1
    z.sum().backward()
    assert x.grad.tolist() == (2 * want).tolist()
    y = result()
    y.add_(1)
    with pytest.raises(RuntimeError, match=rf"DoubleTensor \[\d\]\], which is output 0 of {op.title()}, is at version 2; expected version 1"):
        y.sum().backward()


@pytest.mark.parametrize("op", "sin cos log square abs neg erfinv sinh atan log1p".split())
def test_a_write_to_the_result_of_an_op_that_does_not_need_it_is_allowed(op):
    x = leaf(0.2, 0.4, 0.6)
    y = getattr(x * 1, op + "_")()
    y.mul_(2)
    y.sum().backward()
    (want,) = grad(getattr(x, op)().sum(), x)
    assert x.grad.tolist() == (2 * want).tolist()


# What ops show of what they saved.


def test_a_saved_operand_is_the_object_and_a_result_is_another():
    x, w = leaf(1.0, 2.0), ferrograd.ones(2, dtype=ferrograd.float64)
    y = x * w
    z = y * y
    e = x.exp()
    assert y.grad_fn._saved_self is None and y.grad_fn._saved_other is w
    assert z.grad_fn._saved_self is y and z.grad_fn._saved_other is y
    saved = e.grad_fn._saved_result
    assert saved is not e and saved.equal(e) and saved.grad_fn is e.grad_fn and saved._version == e._version
    assert x.pow(2).grad_fn._saved_self is x
    three = (x * 3).grad_fn._saved_other
    assert three.shape == () and three.item() == 3
    assert type((2.0**x).grad_fn._saved_self) is float and (2.0**x).grad_fn._saved_exponent is x
    del y
    assert z.grad_fn._saved_self.tolist() == [1.0, 2.0] and z.grad_fn._saved_self.grad_fn.name() == "MulBackward0"
    assert grad(z.grad_fn._saved_self.sum(), x)[0].tolist() == [1.0, 1.0]


def test_saved_tensors_are_listed():
    x = leaf(1.0, 2.0)

    def listed(y):
        return [name for name in dir(y.grad_fn) if "_saved_" in name]

    assert listed(x * x) == ["_raw_saved_other", "_raw_saved_self", "_saved_other", "_saved_self"]
    assert listed(x.exp()) == ["_raw_saved_result", "_saved_result"]
    assert listed(x + x) == ["_saved_alpha"]
    with pytest.raises(AttributeError, match="'ExpBackward0' object has no attribute '_saved_weight'"):
        x.exp().grad_fn._saved_weight
    with pytest.raises(AttributeError):
        (x + x).grad_fn._saved_self


def m(*shape):
    return ferrograd.rand(*shape, dtype=ferrograd.float64).requires_grad_()


F = ferrograd.nn.functional
INDEX = ferrograd.tensor([[0, 1], [1, 0]])


# Torch's names, in the order in which it packs these tensors.
@pytest.mark.parametrize(
    "f, names",
    [
        (lambda a, b: a * b, "other self"),
        (lambda a, b: a / b, "other self"),
        (lambda a, b: a**b, "exponent self result"),
        (lambda a, b: a @ b, "mat2 self"),
        (lambda a, b: a.unsqueeze(0).bmm(b.unsqueeze(0)), "mat2 self"),
        (lambda a, b: a.mv(b[0]), "self vec"),
        (lambda a, b: a[0].dot(b[0]), "self tensor"),
        (lambda a, b: a.addmm(a, b), "mat1 mat2"),
        (lambda a, b: a.baddbmm(a.unsqueeze(0), b.unsqueeze(0)), "batch1 batch2"),
        (lambda a, b: a.addr(a[0], b[0]), "vec1 vec2"),
        (lambda a, b: a.addcmul(a, b), "tensor1 tensor2"),
        (lambda a, b: a.addcdiv(a, b), "tensor1 tensor2"),
        (lambda a, b: a.lerp(b, a * b), "end self weight"),
        (lambda a, b: a.clamp(b, b + 1), "max min self"),
        (lambda a, b: F.linear(a, b, b[0]), "mat1 mat2"),
        (lambda a, b: F.conv1d(a, b.unsqueeze(2)), "input weight"),
        (lambda a, b: F.layer_norm(a, (2,), b[0], b[1]), "bias input weight"),
        (lambda a, b: F.mse_loss(a, b), "self target"),
        (lambda a, b: F.nll_loss(a, INDEX[0], b[0].detach()), "self target weight"),
        (lambda a, b: F.prelu(a, b[0]), "self weight"),
        (lambda a, b: F.embedding(INDEX, a), "indices"),
        (lambda a, b: F.log_softmax(a, 0), "result"),
        (lambda a, b: a.sigmoid(), "result"),
        (lambda a, b: a.sin(), "self"),
        (lambda a, b: a.gather(0, INDEX), "index"),
        (lambda a, b: a.scatter_add(0, INDEX, b), "index"),
        (lambda a, b: a.index_select(0, INDEX[0]), "index"),
        (lambda a, b: a.masked_fill(INDEX > 0, 1.0), "mask"),
        (lambda a, b: ferrograd.where(INDEX > 0, a, b), "condition"),
        (lambda a, b: a.max(0)[0], "indices"),
        (lambda a, b: a.sort(0)[0], "indices"),
        (lambda a, b: ferrograd.linalg.svd(a)[1], "S U Vh"),
        (lambda a, b: ferrograd.linalg.qr(a)[0], "Q R"),
        (lambda a, b: ferrograd.linalg.eigh(a)[0], "eigenvalues eigenvectors"),
        (lambda a, b: ferrograd.linalg.solve(a, b), "A result"),
    ],
)
def test_names_of_saved_tensors(f, names):
    a, b, packed = m(2, 2), m(2, 2), []
    node = f(a, b).grad_fn
    while not hasattr(node, "_saved_" + names.split()[0]):
        node = node.next_functions[0][0]
    shown = [name[11:] for name in dir(node) if name.startswith("_raw_saved_")]
    assert sorted(shown) == sorted(names.split(), key=str)
    values = [getattr(node, "_saved_" + name) for name in names.split()]
    with saved_tensors_hooks(packed.append, same):
        f(a, b)
    at = [[t.tolist() for t in packed[i : i + len(values)]] for i in range(len(packed))]
    assert [t.tolist() for t in values] in at


def test_sizes_of_operands_are_shown():
    """Of ops that in torch save these alone."""
    x = ferrograd.rand(2, 3, requires_grad=True)
    for y in (x.view(6), x.sum(), x.mean(0), x.expand(4, 2, 3), x.t().reshape(6).view(2, 3).t().reshape(6), x.max(0)[0], x[0], x @ x.t()):
        assert y.grad_fn._saved_self_sym_sizes in ((2, 3), (3, 2)) and "_saved_self_sym_sizes" in dir(y.grad_fn)
    for y in (x.max(), x * x, x.exp()):
        assert not hasattr(y.grad_fn, "_saved_self_sym_sizes")
    assert not hasattr(x.sum().grad_fn, "_raw_saved_self_sym_sizes")


MINUS_1 = 2**64 - 1  # as torch shows it
ADDMM = {"beta": 2, "alpha": 0.5, "mat1_sym_sizes": (2, 2), "mat1_sym_strides": (3, 1)}
ADDMM |= {"mat2_sym_sizes": (2, 3), "mat2_sym_strides": (3, 1)}
EMBEDDING = {"padding_idx": 1, "scale_grad_by_freq": False, "sparse": False, "weight_sym_argsize_0": 2}
WINDOWS = {"kernel_size": (2, 1), "stride": (1, 1), "padding": (0, 0), "ceil_mode": False}


# Arguments that ops save, as the user has given them, and sizes.
@pytest.mark.parametrize(
    "f, numbers",
    [
        (lambda a, b: a + b, {"alpha": 1}),
        (lambda a, b: 2.5 - a, {"alpha": 1}),
        (lambda a, b: a.sub(b, alpha=2.5), {"alpha": 2.5}),
        (lambda a, b: a**3, {"exponent": 3}),
        (lambda a, b: a.addcmul(b, b, value=2), {"value": 2}),
        (lambda a, b: a.lerp(b, 0.25), {"weight": 0.25}),
        (lambda a, b: a.clamp(min=0), {"min": 0, "max": None}),
        (lambda a, b: a.sum(0), {"dim": (0,), "keepdim": False, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.sum(), {"self_sym_sizes": (2, 3)}),
        (lambda a, b: a.mean(-1, True), {"dim": (MINUS_1,), "keepdim": True, "self_sym_sizes": (2, 3), "self_sym_numel": 6}),
        (lambda a, b: a.std(), {"dim": None, "correction": None, "keepdim": False}),
        (lambda a, b: a.var(1, correction=2), {"dim": (1,), "correction": 2, "keepdim": False}),
        (lambda a, b: a.amax((0, 1)), {"dim": (0, 1), "keepdim": False}),
        (lambda a, b: a.max(-1)[0], {"dim": MINUS_1, "keepdim": False, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.logsumexp(1), {"dim": (1,), "keepdim": False}),
        (lambda a, b: a.prod(-1), {"dim": MINUS_1, "keepdim": False}),
        (lambda a, b: a.norm(), {"ord": 2, "dim": None, "keepdim": False}),
        (lambda a, b: ferrograd.linalg.vector_norm(a, 3.5, -1), {"ord": 3.5, "dim": (MINUS_1,), "keepdim": False}),
        (lambda a, b: a.cumsum(-1), {"dim": MINUS_1}),
        (lambda a, b: a.softmax(-1), {"dim": MINUS_1}),
        (lambda a, b: a.sort(0)[0], {"dim": 0, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.unsqueeze(-1), {"dim": MINUS_1}),
        (lambda a, b: a[None].squeeze(0), {"dim": 0, "self_sym_sizes": (1, 2, 3)}),
        (lambda a, b: a.transpose(0, -1), {"dim0": 0, "dim1": MINUS_1}),
        (lambda a, b: a.mT, {"dim0": MINUS_1 - 1, "dim1": MINUS_1}),
        (lambda a, b: a.permute(-1, 0), {"dims": (MINUS_1, 0)}),
        (lambda a, b: a.select(-1, -2), {"dim": MINUS_1, "index": MINUS_1 - 1, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a[0], {"dim": 0, "index": 0, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a[..., -1], {"dim": 1, "index": MINUS_1, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a[:, 1:-1], {"dim": 1, "start": 1, "end": MINUS_1, "step": 1, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a[1:], {"dim": 0, "start": 1, "end": 2**63 - 1, "step": 1, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.narrow(-1, 1, 2), {"dim": MINUS_1, "start": 1, "end": 3, "step": 1, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.diagonal(1), {"offset": 1, "dim1": 0, "dim2": 1, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.split(2, -1)[0], {"dim": MINUS_1, "split_size": 2, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.unbind(-1)[0], {"dim": MINUS_1}),
        (lambda a, b: ferrograd.cat([a, b], -1), {"dim": MINUS_1}),
        (lambda a, b: ferrograd.stack([a, b], 1), {"dim": 1}),
        (lambda a, b: F.gelu(a, approximate="tanh"), {"approximate": "tanh"}),
        (lambda a, b: F.leaky_relu(a), {"negative_slope": 0.01}),
        (lambda a, b: F.hardtanh(a, -1, 2), {"min_val": -1, "max_val": 2}),
        (lambda a, b: F.softplus(a), {"beta": 1, "threshold": 20}),
        (lambda a, b: F.mse_loss(a, b, reduction="sum"), {"reduction": 2}),
        (lambda a, b: F.huber_loss(a, b, delta=0.5), {"reduction": 1, "delta": 0.5}),
        (lambda a, b: F.nll_loss(a, INDEX[0]), {"reduction": 1, "ignore_index": 2**64 - 100}),
        (lambda a, b: a.addmm(a[:, :2], b, beta=2, alpha=0.5), ADDMM),
        (lambda a, b: a.gather(-1, INDEX), {"dim": MINUS_1, "sparse_grad": False}),
        (lambda a, b: a.scatter(0, INDEX, b), {"dim": 0}),
        (lambda a, b: a.scatter_reduce(0, INDEX, b, "amax"), {"dim": 0, "reduce": "amax", "include_self": True}),
        (lambda a, b: a.index_select(-1, INDEX[0]), {"dim": MINUS_1, "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.index_add(0, INDEX[0], b, alpha=2), {"dim": 0, "alpha": 2, "source_dim": 2}),
        (lambda a, b: a.index_put((INDEX[0],), b, accumulate=True), {"accumulate": True}),
        (lambda a, b: a.repeat(2, 1), {"repeats": (2, 1), "self_sym_sizes": (2, 3)}),
        (lambda a, b: a.flip(-1), {"dims": (MINUS_1,)}),
        (lambda a, b: a.roll(1, -1), {"shifts": (1,), "dims": (MINUS_1,)}),
        (lambda a, b: F.pad(a, (1, 0)), {"pad": (1, 0)}),
        (lambda a, b: F.embedding(INDEX, a, 1), EMBEDDING),
        (lambda a, b: F.max_pool2d(a[None], (2, 1), 1), WINDOWS | {"dilation": (1, 1)}),
        (lambda a, b: F.avg_pool2d(a[None], (2, 1), 1), WINDOWS | {"count_include_pad": True, "divisor_override": None}),
        (lambda a, b: F.batch_norm(a, None, None, training=True, eps=1e-3), {"training": True, "eps": 1e-3}),
        (lambda a, b: F.layer_norm(a, (3,)), {"normalized_shape": (3,)}),
        (lambda a, b: F.group_norm(a, 3), {"N": 2, "C": 3, "HxW": 1, "group": 3, "eps": 1e-5}),
        (
            lambda a, b: F.interpolate(a[None], size=5, mode="linear"),
            {"output_size": (5,), "align_corners": False, "scales": None, "self_sym_sizes": (1, 2, 3)},
        ),
        (lambda a, b: ferrograd.linalg.svd(a, False)[1], {"full_matrices": False, "S_sym_argsize_minus_1": 2}),
        (lambda a, b: ferrograd.fft.rfft(a), {"dim": (1,), "normalization": 0, "onesided": True}),
        (
            lambda a, b: F.conv1d(a.t()[None], m(2, 3, 1), m(2).detach(), padding=1),
            {
                "stride": (1,),
                "padding": (1,),
                "dilation": (1,),
                "groups": 1,
                "transposed": False,
                "output_padding": (0,),
                "bias_sym_sizes_opt": (2,),
            },
        ),
    ],
)
def test_saved_numbers(f, numbers):
    node = f(m(2, 3), m(2, 3)).grad_fn
    raw = {name[4:] for name in dir(node) if name.startswith("_raw_")}
    shown = {name[7:]: getattr(node, name) for name in dir(node) if name.startswith("_saved_") and name not in raw}
    assert shown == numbers
    # A float is no int, and 1 is not True.
    assert {name: type(value) for name, value in shown.items()} == {name: type(value) for name, value in numbers.items()}


def test_saved_numbers_outlive_the_tensors():
    x = m(2, 3)
    y = x.softmax(-1)
    y.sum().backward()
    assert y.grad_fn._saved_dim == MINUS_1
    assert [name for name in dir(y.grad_fn) if "_saved_" in name] == ["_saved_dim"]
    with saved_tensors_hooks(same, same):
        y = x.pow(3)
    y.sum().backward(retain_graph=True)
    assert y.grad_fn._saved_exponent == 3 and not hasattr(y.grad_fn, "_raw_saved_exponent")


def test_an_op_in_place_shows_its_numbers():
    x = m(2, 3) * 1
    assert x.add_(2, alpha=3).grad_fn._saved_alpha == 3
    assert x.unsqueeze_(-1).grad_fn._saved_dim == MINUS_1
    assert x.clamp_(0, 1).grad_fn._saved_max == 1


def test_saved_tensors_are_freed():
    x = leaf(1.0, 2.0)
    y = x * x
    raw = y.grad_fn._raw_saved_self
    y.sum().backward(retain_graph=True)
    assert y.grad_fn._saved_self is x
    y.sum().backward()
    with pytest.raises(RuntimeError, match="access saved tensors after they have already been freed"):
        y.grad_fn._saved_self
    with pytest.raises(RuntimeError, match="register_hooks on a saved tensor after it has been freed"):
        raw.register_hooks(same, same)
    assert [name for name in dir(y.grad_fn) if "_saved_" in name] == []


def test_a_saved_tensor_that_was_written_to_is_not_shown():
    x = leaf(1.0, 2.0) * 1
    y = x.sin()
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.grad_fn._saved_self


def test_a_saved_tensor_that_was_given_other_data():
    x = leaf(1.0, 2.0)
    y, z = x * x, x * x
    x.data = ferrograd.tensor([3.0, 4.0], dtype=ferrograd.float64)
    assert y.grad_fn._saved_self is x
    packed = []
    y.grad_fn._raw_saved_self.register_hooks(lambda t: packed.append(t) or 2 * t, same)
    assert packed[0].tolist() == [3.0, 4.0] and not packed[0].requires_grad
    assert grad(y.sum(), x)[0].tolist() == [9.0, 12.0] and grad(z.sum(), x)[0].tolist() == [6.0, 8.0]


# Hooks on one tensor.


def test_hooks_on_a_saved_operand():
    x = leaf(1.0, 2.0)
    y = x * x
    y.grad_fn._raw_saved_self.register_hooks(lambda t: 2 * t, lambda t: t / 2)
    assert y.grad_fn._saved_self is not x and y.grad_fn._saved_self.equal(x) and y.grad_fn._saved_other is x
    y = x * x
    y.grad_fn._raw_saved_self.register_hooks(lambda t: 2 * t, same)
    assert y.grad_fn._saved_self.tolist() == [2.0, 4.0] and y.grad_fn._saved_self.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 6.0]
    x.grad = None
    (g,) = grad((x * 1).pow(3).sum(), x, create_graph=True)
    (h,) = grad(g.sum(), x)
    assert h.tolist() == [6.0, 12.0]


def test_hooks_on_a_saved_result():
    x = leaf(1.0)
    y = x.exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: t.item(), lambda kept: ferrograd.tensor([kept], dtype=ferrograd.float64))
    assert y.grad_fn._saved_result.equal(y) and y.grad_fn._saved_result.grad_fn is y.grad_fn
    (g,) = grad(y, x, create_graph=True)
    assert grad(g, x)[0].item() == pytest.approx(y.item())


def test_hooks_on_a_saved_tensor_free_its_memory():
    array = np.array([2.0])
    alive = weakref.ref(array)
    y = ferrograd.from_numpy(array) * leaf(3.0)
    del array
    gc.collect()
    assert alive() is not None
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t.item(), lambda kept: ferrograd.tensor([kept], dtype=ferrograd.float64))
    gc.collect()
    assert alive() is None and y.grad_fn._saved_self.tolist() == [2.0]


def test_hooks_on_a_saved_tensor_that_cannot_be():
    x = leaf(1.0, 2.0)
    y = x * x.detach()
    with pytest.raises(RuntimeError, match="saved tensor with value None is forbidden"):
        y.grad_fn._raw_saved_self.register_hooks(same, same)
    raw = y.grad_fn._raw_saved_other
    assert isinstance(raw, SavedTensor)
    for hooks in [(same,), (1, same), (same, same, same)]:
        with pytest.raises(TypeError, match="incompatible function arguments"):
            raw.register_hooks(*hooks)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        raw.register_hooks(lambda x, b: x, same)
    with pytest.raises(RuntimeError, match="pack hook is modifying its input in place"):
        raw.register_hooks(lambda t: t.mul_(2), same)
    raw.register_hooks(same, lambda kept: 1)
    with pytest.raises(RuntimeError, match="whose hooks have already been set"):
        raw.register_hooks(same, same)
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        y.grad_fn._saved_other
    with pytest.raises(RuntimeError, match="from Python is forbidden"):
        SavedTensor()


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x, None)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return g * 3 * ctx.saved_tensors[0] ** 2


def test_hooks_on_what_a_function_saved():
    x = leaf(1.0, 2.0)
    y = Cube.apply(x)
    assert y.grad_fn.saved_tensors == (x, None) and y.grad_fn.saved_tensors[0] is x
    first, none = y.grad_fn._raw_saved_tensors
    with pytest.raises(RuntimeError, match="None is forbidden"):
        none.register_hooks(same, same)
    first.register_hooks(lambda t: 2 * t, same)
    with pytest.raises(RuntimeError, match="already been set"):
        first.register_hooks(same, same)
    (g,) = grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [12.0, 48.0] and grad(g.sum(), x)[0].tolist() == [12.0, 24.0]
    y.sum().backward()
    for name in ("saved_tensors", "_raw_saved_tensors"):
        with pytest.raises(RuntimeError, match="after they have already been freed"):
            getattr(y.grad_fn, name)
    with pytest.raises(RuntimeError, match="after it has been freed"):
        first.register_hooks(same, same)


def test_a_function_gets_what_unpack_answers():
    x, constant = leaf(1.0, 2.0), ferrograd.ones(2)
    seen = []

    class Kept(Function):
        @staticmethod
        def forward(ctx, x, constant):
            ctx.save_for_backward(x, constant)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            seen.extend(ctx.saved_tensors)
            return g, None

    with saved_tensors_hooks(same, same):
        Kept.apply(x, constant).sum().backward()
    assert seen[1] is constant
    with saved_tensors_hooks(lambda t: 2 * t, same):
        Kept.apply(x, constant).sum().backward()
    assert seen[2].tolist() == [2.0, 4.0] and seen[2].requires_grad


# Hooks on everything.


def test_hooks_see_each_operand_and_leaves_as_they_are():
    x, seen = leaf(1.0), []
    with saved_tensors_hooks(lambda t: seen.append(t) or t, same):
        x * x
        (x * 2).sin()
    assert len(seen) == 3 and seen[0] is x and seen[1] is x and seen[2].grad_fn is not None


def test_values_that_hooks_change_take_part_in_second_derivatives():
    x = leaf(1.0, 2.0)

    def second(forward, backward):
        """By 6 x."""
        with saved_tensors_hooks(forward, same):
            y = (x**3).sum()
        with saved_tensors_hooks(backward, same):
            (g,) = grad(y, x, create_graph=True)
            (h,) = grad(g.sum(), x)
        return (h / (6 * x)).tolist()

    def double(t):
        return 2 * t

    assert second(same, same) == [1.0, 1.0]
    assert second(double, same) == [2.0, 2.0]
    assert second(same, double) == [4.0, 4.0]
    assert second(double, double) == [8.0, 8.0]


def test_hooks_that_change_in_backward_are_what_they_were_afterwards():
    outer = Store()
    inner = saved_tensors_hooks(same, lambda t: inner.__exit__() or t)
    x = leaf(1.0)
    with outer.hooks():
        with inner:
            x.sin().backward()
            packed = outer.packed
            x.sin()
            assert outer.packed == packed
        x.sin()
        assert outer.packed == packed + 1
    entering = saved_tensors_hooks(same, lambda t: outer.hooks().__enter__() or t)
    with entering:
        x.sin().backward()
    x.sin()
    assert outer.packed == packed + 1


def test_what_is_saved_with_hooks_may_be_written_to():
    x = leaf(1.0)
    with saved_tensors_hooks(lambda t: t.clone(), same):
        y = x.exp()
        y.add_(1)
        assert y._version == 1
        x.exp().grad_fn._saved_result.add_(1)
    y.backward()


@pytest.mark.parametrize("f", ["sin", "log", "prod", "var", "norm", "square"])
def test_a_saved_operand_must_not_be_detached_in_place(f):
    x = ferrograd.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    z = getattr(y, f)()
    y.detach_()
    with pytest.raises(RuntimeError, match="saved tensor that has been detached in-place"):
        z.sum().backward()


@pytest.mark.parametrize("f", ["exp", "sum", "sigmoid", "neg", "cumsum"])
def test_what_is_not_saved_may_be_detached_in_place(f):
    x = ferrograd.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    z = y.cumsum(0) if f == "cumsum" else getattr(y, f)()
    y.detach_()
    w = z * 2
    z.detach_()
    (first,) = grad(w.sum(), x, create_graph=True)
    assert first.shape == (2,) and y.requires_grad is z.requires_grad is False


def test_a_saved_leaf_may_be_detached_in_place():
    x = ferrograd.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    x.detach_()
    y.sum().backward()
    assert x.grad is None and not x.requires_grad


def test_disabled_in_a_function():
    @disable_saved_tensors_hooks("not here")
    def f():
        with saved_tensors_hooks(lambda x: x, lambda x: x):
            pass

    with pytest.raises(RuntimeError, match="not here"):
        f()
    with saved_tensors_hooks(lambda x: x, lambda x: x):
        pass


def test_hooks_see_saved_tensors_where_they_are_on_the_tape():
    x, seen = m(2).requires_grad_(), []

    def pack(t):
        seen.append((t.grad_fn and t.grad_fn.name(), t.requires_grad, t.is_leaf, t.output_nr))
        return t.detach()

    with saved_tensors_hooks(pack, same):
        y = x.exp()
        (y * x).sigmoid_()
        (2 * x).max(0)
    assert seen == [
        ("ExpBackward0", True, False, 0),
        (None, True, True, 0),
        ("ExpBackward0", True, False, 0),
        ("SigmoidBackward0", True, False, 0),
        (None, False, True, 0),
    ]


@pytest.mark.parametrize("write", [lambda y: y.exp_(), lambda y: y[0].exp_(), lambda y: y.relu_()])
def test_what_hooks_keep_may_be_written_to(write):
    x = m(2, 2).requires_grad_()
    with saved_tensors_hooks(lambda t: t.detach().clone(), same):
        y = x * 1
        write(y)
        y.mul_(2)
    y.sum().backward()
    assert x.grad.shape == (2, 2)


@pytest.mark.parametrize("length", [1, 4])
def test_results_that_hooks_keep_as_they_are_are_collected(length):
    kept = []

    class Mark:
        pass

    def pack(t):
        t.mark = Mark()
        kept.append(weakref.ref(t.mark))
        return t

    def run():
        y = m(2).requires_grad_()
        with saved_tensors_hooks(pack, same):
            for _ in range(length):
                y = y.exp()

    run()
    # One node at a time: what others hold is not looked into.
    for _ in range(length):
        gc.collect()
    assert len(kept) == length and not any(mark() for mark in kept)
