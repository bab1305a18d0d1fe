"""nn.utils: clipping, vectors of parameters, parametrizations, weight and spectral norm, pruning, fusion."""

import copy
import pickle

import numpy as np
import pytest

import ferrograd
from ferrograd import func, nn
from ferrograd.nn import utils
from ferrograd.nn.utils import parametrizations, parametrize, prune


class Affine(nn.Module):
    def __init__(self, inputs, outputs, device=None):
        super().__init__()
        self.out_features = outputs
        self.weight = nn.Parameter(ferrograd.randn(outputs, inputs, dtype=ferrograd.float64, device=device))
        self.bias = nn.Parameter(ferrograd.randn(outputs, dtype=ferrograd.float64, device=device))

    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.bias)


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.num_features, self.eps = size, 1e-5
        self.weight = nn.Parameter(ferrograd.rand(size, dtype=ferrograd.float64))
        self.bias = nn.Parameter(ferrograd.randn(size, dtype=ferrograd.float64))
        self.register_buffer("running_mean", ferrograd.randn(size, dtype=ferrograd.float64))
        self.register_buffer("running_var", ferrograd.rand(size, dtype=ferrograd.float64) + 0.5)

    def forward(self, x):
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, eps=self.eps)


@pytest.fixture(autouse=True)
def seed():
    ferrograd.manual_seed(0)


def batch(*shape):
    return ferrograd.randn(*shape, dtype=ferrograd.float64)


def with_gradients():
    m = Affine(4, 3)
    m(batch(5, 4)).square().sum().backward()
    return m, np.concatenate([p.grad.numpy().ravel() for p in m.parameters()])


# Gradients and vectors.


@pytest.mark.parametrize("order", [1, 2.0, 3, float("inf")])
def test_clip_grad_norm(order):
    m, grads = with_gradients()
    total = utils.clip_grad_norm_(m.parameters(), 0.5, norm_type=order)
    np.testing.assert_allclose(total.item(), np.linalg.norm(grads, order), rtol=1e-12)
    after = np.concatenate([p.grad.numpy().ravel() for p in m.parameters()])
    np.testing.assert_allclose(after, grads * 0.5 / (total.item() + 1e-6), rtol=1e-12)
    utils.clip_grad_norm_(m.parameters(), 100.0)
    np.testing.assert_array_equal(np.concatenate([p.grad.numpy().ravel() for p in m.parameters()]), after)


def test_other_clipping():
    m, grads = with_gradients()
    utils.clip_grad_value_(m.parameters(), 0.7)
    np.testing.assert_array_equal(m.bias.grad.numpy(), grads[-3:].clip(-0.7, 0.7))
    assert utils.get_total_norm([]) == 0 and utils.clip_grad_norm_(Affine(1, 1).weight, 1.0) == 0
    m.weight.grad[0, 0] = float("inf")
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.clip_grad_norm_(m.parameters(), 1.0, error_if_nonfinite=True)
    with pytest.warns(UserWarning, match="empty generator"):
        utils.clip_grad_norm_((p for p in ()), 1.0)
    with pytest.warns(FutureWarning):
        utils.clip_grad_norm(m.parameters(), 1.0)


def test_vectors_of_parameters():
    m = Affine(4, 3)
    vector = utils.parameters_to_vector(m.parameters())
    assert vector.shape == (15,) and vector.requires_grad and ferrograd.equal(vector[12:], m.bias)
    utils.vector_to_parameters(ferrograd.arange(15.0), m.parameters())
    assert m.weight[1].tolist() == [4, 5, 6, 7] and m.bias.tolist() == [12, 13, 14] and m.weight.is_leaf
    with pytest.raises(TypeError):
        utils.vector_to_parameters([1.0], m.parameters())


# Parametrizations.


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b

    def right_inverse(self, x):
        return x / 4, x * 3 / 4


def test_a_parametrization():
    m = Affine(3, 3)
    original = m.weight
    parametrize.register_parametrization(m, "weight", Symmetric())
    assert parametrize.is_parametrized(m, "weight") and not parametrize.is_parametrized(m, "bias")
    assert type(m).__module__ == parametrize.__name__
    assert type(m).__name__ == "ParametrizedAffine" and parametrize.type_before_parametrizations(m) is Affine
    assert m.parametrizations.weight.original is original and "parametrizations.weight.original" in m.state_dict()
    assert ferrograd.equal(m.weight, m.weight.mT) and m.weight is not m.weight
    m(batch(2, 3)).sum().backward()
    assert (original.grad != 0).equal(ferrograd.ones(3, 3).triu() != 0)
    value = batch(3, 3)
    m.weight = value + value.mT
    assert ferrograd.equal(m.weight, value + value.mT)
    with parametrize.cached():
        assert m.weight is m.weight
    other = copy.deepcopy(m)
    assert ferrograd.equal(other.weight, m.weight) and other.parametrizations.weight.original is not original
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(m)
    weight = m.weight.detach()
    parametrize.remove_parametrizations(m, "weight")
    assert type(m) is Affine and m.weight is original and ferrograd.equal(m.weight, weight)


def test_several_parametrizations():
    m = Affine(3, 3)
    before = m.weight.detach().clone()
    parametrize.register_parametrization(m, "weight", Sum())
    np.testing.assert_allclose(m.weight.detach().numpy(), before.numpy(), rtol=1e-14)
    parametrize.register_parametrization(m, "weight", Double())
    np.testing.assert_allclose(m.weight.detach().numpy(), 2 * before.numpy(), rtol=1e-14)
    assert [n for n, _ in m.named_parameters()] == ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
    with pytest.raises(RuntimeError, match="does not implement right_inverse"):
        m.weight = before
    with pytest.raises(ValueError, match="Cannot leave unparametrized"):
        parametrize.remove_parametrizations(m, "weight", leave_parametrized=False)
    other = parametrize.transfer_parametrizations_and_params(m, Affine(3, 3))
    assert other.parametrizations.weight.original0 is m.parametrizations.weight.original0
    assert isinstance(parametrize.remove_parametrizations(m, "weight").weight, nn.Parameter)


def test_wrong_parametrizations():
    class First(nn.Module):
        def forward(self, x):
            return x[:1]

    class Float(nn.Module):
        def forward(self, x):
            return x.float()

    for wrong in (First(), Float()):
        with pytest.raises(ValueError, match="may not change"):
            parametrize.register_parametrization(Affine(3, 3), "weight", wrong)
    m = parametrize.register_parametrization(Affine(3, 3), "weight", First(), unsafe=True)
    assert m.weight.shape == (1, 3)
    for name in ("no", "forward"):
        with pytest.raises(ValueError, match="does not have a parameter"):
            parametrize.register_parametrization(m, name, Double())
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(m, "bias")


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5)])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal(kind, shape, trivial):
    m = parametrizations.orthogonal(Affine(*shape), orthogonal_map=kind, use_trivialization=trivial)

    def check():
        q = m.weight.detach().numpy()
        q = q if q.shape[0] < q.shape[1] else q.T
        np.testing.assert_allclose(q @ q.T, np.eye(len(q)), atol=1e-10)

    check()
    m(batch(2, shape[0])).square().sum().backward()
    with ferrograd.no_grad():
        m.parametrizations.weight.original -= 0.1 * m.parametrizations.weight.original.grad
    check()
    target = nn.init.orthogonal_(ferrograd.empty(shape[::-1], dtype=ferrograd.float64))
    if trivial or kind == "householder":
        m.weight = target
        np.testing.assert_allclose(m.weight.detach().numpy(), target.numpy(), atol=1e-10)
    else:
        with pytest.raises(NotImplementedError):
            m.weight = target


def test_errors_of_orthogonal():
    for wrong in ({"name": "bias"}, {"name": "no"}, {"orthogonal_map": "no"}):
        with pytest.raises(ValueError):
            parametrizations.orthogonal(Affine(3, 3), **wrong)


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm(dim):
    m = Affine(4, 3)
    before = m.weight.detach().clone()
    length = before.norm() if dim in (None, -1) else before.norm(2, 1 - dim, keepdim=True)
    with pytest.warns(FutureWarning):
        old = utils.weight_norm(copy.deepcopy(m), dim=dim)
    new = parametrizations.weight_norm(m, dim=dim)
    assert sorted(old.state_dict()) == ["bias", "weight_g", "weight_v"]
    g = new.parametrizations.weight.original0
    assert ferrograd.equal(g, old.weight_g) and g.shape == length.shape
    np.testing.assert_allclose(g.detach().numpy(), length.numpy(), rtol=1e-12)
    with ferrograd.no_grad():
        g *= 2
        new.parametrizations.weight.original1 *= 5
    np.testing.assert_allclose(new.weight.detach().numpy(), 2 * before.numpy(), rtol=1e-12)
    new.load_state_dict(old.state_dict())
    np.testing.assert_allclose(new.weight.detach().numpy(), before.numpy(), rtol=1e-12)
    with pytest.raises(RuntimeError, match="two weight_norm hooks"), pytest.warns(FutureWarning):
        utils.weight_norm(old)
    assert utils.remove_weight_norm(old) is old and sorted(old.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="not found"):
        utils.remove_weight_norm(old)


@pytest.mark.parametrize("norm", [utils.spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm(norm):
    m = Affine(4, 3)
    largest = np.linalg.svd(m.weight.detach().numpy(), compute_uv=False)[0]
    expected = m.weight.detach().numpy() / largest
    norm(m, n_power_iterations=200)
    m(batch(2, 4)).sum().backward()
    m.eval()
    m(batch(2, 4))
    np.testing.assert_allclose(m.weight.detach().numpy(), expected, rtol=1e-6)
    state = {k: v.clone() for k, v in m.state_dict().items()}
    m(batch(2, 4))
    assert all(ferrograd.equal(v, state[k]) for k, v in m.state_dict().items())
    with pytest.raises(ValueError, match="n_power_iterations"):
        norm(Affine(2, 2), n_power_iterations=0)


def test_removing_spectral_norm():
    m = utils.spectral_norm(Affine(4, 3))
    assert sorted(m.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    assert m.state_dict()._metadata[""]["spectral_norm"] == {"weight.version": 1}
    copy.deepcopy(m).load_state_dict(m.state_dict())
    with pytest.raises(RuntimeError, match="two spectral_norm hooks"):
        utils.spectral_norm(m)
    utils.remove_spectral_norm(m)
    assert list(m.state_dict()) == ["bias", "weight"] and not m._state_dict_hooks and not m._load_state_dict_pre_hooks


# Pruning.


def zeros(x):
    return (x == 0).sum().item()


def test_l1_pruning():
    m = Affine(4, 3)
    before = m.weight.detach().numpy().copy()
    assert prune.l1_unstructured(m, "weight", 0.25) is m and prune.is_pruned(m)
    assert zeros(m.weight) == 3 and sorted(m.state_dict()) == ["bias", "weight_mask", "weight_orig"]
    assert set(np.flatnonzero(m.weight.detach().numpy() == 0)) == set(np.argsort(abs(before).ravel())[:3])
    prune.l1_unstructured(m, "weight", 2)
    assert zeros(m.weight) == 5
    m(batch(2, 4)).sum().backward()
    assert zeros(m.weight_orig.grad) == 5
    weight = m.weight.detach()
    assert prune.remove(m, "weight") is m and ferrograd.equal(m.weight, weight) and isinstance(m.weight, nn.Parameter)
    assert not prune.is_pruned(m) and not m._forward_pre_hooks and sorted(m.state_dict()) == ["bias", "weight"]


def test_other_pruning():
    m = Affine(4, 3)
    smallest = np.argmin(np.linalg.norm(m.weight.detach().numpy(), axis=1))
    prune.ln_structured(m, "weight", 1, n=2, dim=0)
    assert not m.weight[smallest].any() and zeros(m.weight) == 4
    prune.random_structured(m, "weight", 1, dim=1)
    assert zeros(m.weight) == 6
    prune.custom_from_mask(m, "weight", ferrograd.eye(3, 4))
    assert zeros(m.weight) >= 9
    m = Affine(4, 3)
    prune.identity(m, "bias")
    assert zeros(m.bias) == 0
    prune.random_unstructured(m, "weight", 5)
    assert zeros(m.weight) == 5
    a, b = Affine(4, 3), Affine(2, 2)
    prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=6)
    assert zeros(a.weight) + zeros(b.weight) == 6 and max(
        x.weight_orig[x.weight_mask == 0].abs().max().item() for x in (a, b) if zeros(x.weight)
    ) < min(x.weight_orig[x.weight_mask == 1].abs().min().item() for x in (a, b))


def test_errors_of_pruning():
    m = Affine(4, 3)
    for error, amount in ((ValueError, -1), (ValueError, 1.5), (TypeError, "a"), (ValueError, 100)):
        with pytest.raises(error):
            prune.l1_unstructured(m, "weight", amount)
        assert sorted(m.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="multidimensional"):
        prune.random_structured(m, "bias", 1, 0)
    with pytest.raises(IndexError):
        prune.random_structured(m, "weight", 1, 2)
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(m, "weight")


# Fusion, and modules as functions.


def test_fusion():
    linear, norm = Affine(4, 3).eval(), Norm(3).eval()
    x = batch(5, 4)
    fused = utils.fuse_linear_bn_eval(linear, norm)
    np.testing.assert_allclose(fused(x).detach().numpy(), norm(linear(x)).detach().numpy(), rtol=1e-10)
    weight, x = batch(3, 2, 3), batch(5, 2, 7)
    parts = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    w, b = utils.fuse_conv_bn_weights(weight, None, *parts)
    expected = norm(nn.functional.conv1d(x, weight)).detach().numpy()
    np.testing.assert_allclose(nn.functional.conv1d(x, w, b).detach().numpy(), expected, rtol=1e-9)
    w, b = utils.fuse_conv_bn_weights(weight.transpose(0, 1), None, *parts, transpose=True)
    expected = norm(nn.functional.conv_transpose1d(x, weight.transpose(0, 1))).detach().numpy()
    np.testing.assert_allclose(nn.functional.conv_transpose1d(x, w, b).detach().numpy(), expected, rtol=1e-9)
    for wrong in (lambda: utils.fuse_linear_bn_eval(linear, Norm(2).eval()), lambda: utils.fuse_linear_bn_eval(linear.train(), norm)):
        with pytest.raises(AssertionError):
            wrong()


def test_skip_init_draws_nothing():
    ferrograd.manual_seed(3)
    expected = ferrograd.rand(2)
    ferrograd.manual_seed(3)
    assert utils.skip_init(Affine, 4, 3).weight.shape == (3, 4) and ferrograd.equal(ferrograd.rand(2), expected)
    for wrong in (int, Norm):
        with pytest.raises(RuntimeError):
            utils.skip_init(wrong, 3)


def test_calls_with_other_parameters():
    m = Affine(3, 3)
    m.tied = m.weight
    x = batch(2, 3)
    params = {k: v.detach() * 2 for k, v in m.named_parameters()}
    expected = nn.functional.linear(x, params["weight"], params["bias"])
    assert ferrograd.equal(func.functional_call(m, params, (x,), strict=True), expected)
    rows = func.jacrev(lambda p: func.functional_call(m, p, x))(params)
    assert rows["weight"].shape == (2, 3, 3, 3) and ferrograd.equal(rows["bias"][0], ferrograd.eye(3, dtype=x.dtype))
    with pytest.raises(ValueError, match="tied"):
        func.functional_call(m, {"weight": x, "tied": x + 1}, (x,))
    assert ferrograd.equal(func.functional_call(m, {"unknown": x}, (x,)), m(x)) and not hasattr(m, "unknown")
    with pytest.raises(RuntimeError, match="unknown"):
        func.functional_call(m, {"unknown": x}, (x,), strict=True)
    with pytest.warns(FutureWarning):
        utils.stateless.functional_call(m, params, (x,))

    models = [Affine(3, 2) for _ in range(4)]
    out = ferrograd.vmap(lambda p, b: func.functional_call(models[0], (p, b), x))(*func.stack_module_state(models))
    for y, model in zip(out, models):
        np.testing.assert_allclose(y.detach().numpy(), model(x).detach().numpy(), rtol=1e-12)


def test_calls_write_back_what_the_module_replaces():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", ferrograd.zeros(()))

        def forward(self):
            self.count = self.count + 1

    m, state = Counter(), {"count": ferrograd.tensor(5.0)}
    func.functional_call(m, state)
    assert state["count"] == 6 and m.count == 0
