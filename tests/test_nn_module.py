"""Parameters and modules: what is registered, calls with hooks, the state, conversions, copies."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import ferrograd
from ferrograd import nn


class Affine(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(ferrograd.randn(outputs, inputs))
        self.bias = nn.Parameter(ferrograd.zeros(outputs))
        self.register_buffer("calls", ferrograd.zeros(()))
        self.cache = nn.Buffer(ferrograd.ones(2), persistent=False)

    def forward(self, x, scale=1.0):
        return nn.functional.linear(x, self.weight, self.bias) * scale

    def extra_repr(self):
        return "{1}, {0}".format(*self.weight.shape)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Affine(2, 3)
        self.second = Affine(3, 1)

    def forward(self, x):
        return self.second(self.first(x).tanh())


def same_state(a, b):
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(ferrograd.equal(a[k], b[k]) for k in a)


def test_parameter():
    data = ferrograd.zeros(2, 3)
    with ferrograd.no_grad():
        p = nn.Parameter(data)
    assert p.requires_grad and p.is_leaf and p.data_ptr() == data.data_ptr()
    assert type(p) is nn.Parameter and isinstance(p, nn.Parameter) and not isinstance(data, nn.Parameter)
    assert {type(x) for x in (p + 1, p.detach(), p.data, p.t(), p[0], p.clone())} == {ferrograd.Tensor}
    assert repr(p) == "Parameter containing:\n" + repr(data.requires_grad_())
    assert not nn.Parameter(ferrograd.tensor([1, 2]), requires_grad=False).requires_grad
    assert nn.Parameter().shape == (0,)
    with pytest.raises(RuntimeError):
        nn.Parameter(ferrograd.tensor([1, 2]))
    p.data = ferrograd.ones(5)
    assert p.shape == (5,) and type(p) is nn.Parameter


def test_parameters_that_are_tensors_of_another_class():
    class Marked(ferrograd.Tensor):
        pass

    p = nn.Parameter(Marked(ferrograd.zeros(2)))
    assert type(p) is Marked and isinstance(p, nn.Parameter) and p.requires_grad
    module = nn.Module()
    module.p = p
    assert [name for name, _ in module.named_parameters()] == ["p"]


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda p: pickle.loads(pickle.dumps(p))])
@pytest.mark.parametrize("requires_grad", [True, False])
def test_copies_of_a_parameter(copied, requires_grad):
    p = nn.Parameter(ferrograd.randn(3), requires_grad)
    q = copied(p)
    assert type(q) is nn.Parameter and q is not p and q.requires_grad == requires_grad and ferrograd.equal(p, q)
    assert (q.data_ptr() == p.data_ptr()) == (copied is copy.copy)


def test_what_a_module_registers():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert [n for n, _ in net.named_buffers()] == ["first.calls", "first.cache", "second.calls", "second.cache"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "second"]
    assert list(net.children()) == [net.first, net.second]
    assert list(net.state_dict()) == [f"{m}.{k}" for m in ("first", "second") for k in ("weight", "bias", "calls")]
    net.again = net.first
    assert len(list(net.parameters())) == 4 and len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert "weight" in dir(net.first) and "weight" not in net.first.__dict__
    assert net.get_submodule("first") is net.first and net.get_submodule("") is net
    assert net.get_parameter("first.weight") is net.first.weight and net.get_buffer("second.calls") is net.second.calls
    net.set_submodule("first", Affine(2, 3))
    assert net.first is not net.again
    for wrong in (lambda: net.get_submodule("first.weight"), lambda: net.get_submodule("no"), lambda: net.get_buffer("first.bias")):
        with pytest.raises(AttributeError):
            wrong()


def test_rules_of_attributes():
    m = Affine(2, 2)
    with pytest.raises(TypeError, match="as parameter 'weight'"):
        m.weight = ferrograd.zeros(2)
    with pytest.raises(TypeError, match="as buffer 'calls'"):
        m.calls = 3
    m.weight = None
    assert m.weight is None and list(m.state_dict()) == ["bias", "calls"]
    m.weight = nn.Parameter(ferrograd.ones(2, 2))
    assert list(m._parameters) == ["weight", "bias"]
    m.calls = ferrograd.ones(())
    assert m._buffers["calls"].item() == 1
    m.plain = ferrograd.ones(2)
    assert "plain" in m.__dict__
    m.plain = nn.Parameter(ferrograd.ones(2))
    assert "plain" not in m.__dict__ and "plain" in m._parameters
    del m.plain
    assert not hasattr(m, "plain")
    with pytest.raises(AttributeError, match="'Affine' object has no attribute 'plain'"):
        m.plain
    m.child = Affine(1, 1)
    with pytest.raises(TypeError, match="as child module 'child'"):
        m.child = 1
    with pytest.raises(KeyError, match="already exists"):
        m.register_buffer("forward", None)
    for name in ("a.b", ""):
        with pytest.raises(KeyError):
            m.register_parameter(name, None)
    with pytest.raises(TypeError):
        m.register_parameter(1, None)
    with pytest.raises(ValueError, match="non-leaf"):
        m.register_parameter("x", type("P", (nn.Parameter,), {"grad_fn": 1})(ferrograd.zeros(1)))
    with pytest.raises(TypeError, match="not a Module"):
        m.add_module("x", 1)


def test_module_before_its_init():
    class Early(nn.Module):
        def __init__(self, value):
            self.x = value

    assert Early(1).x == 1
    for value in (nn.Parameter(ferrograd.zeros(1)), nn.Module()):
        with pytest.raises(AttributeError, match="before Module.__init__"):
            Early(value)
    with pytest.raises(TypeError, match="unexpected keyword argument 'a'"):
        nn.Module(a=1)
    with pytest.raises(TypeError, match="takes 1 positional argument but 3"):
        nn.Module(1, 2)
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_text():
    assert repr(nn.Module()) == "Module()"
    assert repr(Net()) == "Net(\n  (first): Affine(2, 3)\n  (second): Affine(3, 1)\n)"


def test_train_apply_and_gradients():
    net = Net()
    seen = []
    assert net.apply(seen.append) is net and seen == [net.first, net.second, net]
    assert net.eval() is net and not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    with pytest.raises(ValueError):
        net.train(1)
    net(ferrograd.ones(4, 2)).sum().backward()
    grads = [p.grad for p in net.parameters()]
    net.zero_grad(set_to_none=False)
    assert all(p.grad is g and not g.any() for p, g in zip(net.parameters(), grads))
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())


def test_conversions():
    net = Net()
    net(ferrograd.ones(4, 2)).sum().backward()
    weight = net.first.weight
    grad = weight.grad
    net.first.register_buffer("index", ferrograd.tensor([1]))
    assert net.double() is net and net.first.weight is weight and weight.grad is grad
    assert weight.dtype == weight.grad.dtype == net.first.calls.dtype == ferrograd.float64
    assert net.first.index.dtype == ferrograd.int64
    assert net.to(ferrograd.float32).first.weight.dtype == ferrograd.float32
    assert net.to("cpu", ferrograd.float64).first.weight.dtype == ferrograd.float64
    assert net.to(ferrograd.ones(1)).cpu().first.weight.dtype == ferrograd.float32
    assert net.type(ferrograd.float64).first.index.dtype == ferrograd.float64
    assert net.to_empty(device="cpu").first.weight.shape == (3, 2)
    for wrong in (net.cuda, net.half, net.bfloat16, net.share_memory, lambda: net.to("cuda")):
        with pytest.raises(RuntimeError):
            wrong()
    with pytest.raises(TypeError, match="floating point"):
        net.to(ferrograd.int64)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_module(copied):
    net = Net()
    net.tied = net.first.weight
    other = copied(net)
    assert same_state(net, other) and other.tied is other.first.weight is not net.first.weight
    x = ferrograd.randn(4, 2)
    assert ferrograd.equal(net(x), other(x))


# Hooks of calls.


def test_order_and_arguments_of_forward_hooks():
    m, log = Affine(2, 2), []
    x = ferrograd.ones(1, 2)
    m.register_forward_pre_hook(lambda m, args: log.append(("pre", len(args))))
    m.register_forward_pre_hook(lambda m, args, kwargs: log.append(("pre kwargs", kwargs)), with_kwargs=True, prepend=True)
    m.register_forward_hook(lambda m, args, out: log.append("post"))
    handle = m.register_forward_hook(lambda m, args, kwargs, out: log.append(("post kwargs", kwargs)), with_kwargs=True, prepend=True)
    m(x, scale=2.0)
    assert log == [("pre kwargs", {"scale": 2.0}), ("pre", 1), ("post kwargs", {"scale": 2.0}), "post"]
    handle.remove()
    assert len(m._forward_hooks) == 1 and not m._forward_hooks_with_kwargs


def test_hooks_replace_arguments_and_output():
    m = Affine(2, 2)
    x = ferrograd.randn(3, 2)
    plain = m(x)
    with m.register_forward_pre_hook(lambda m, args: args[0] * 0):
        assert ferrograd.equal(m(x), m(x * 0))
    with m.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": 2.0}), with_kwargs=True):
        assert ferrograd.equal(m(x), plain * 2)
    with m.register_forward_hook(lambda m, args, out: out + 1):
        assert ferrograd.equal(m(x), plain + 1)
    with m.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True):
        with pytest.raises(RuntimeError, match="new_args, new_kwargs"):
            m(x)
    assert ferrograd.equal(m(x), plain)


def test_hooks_that_are_always_called():
    m, log = Affine(2, 2), []
    m.register_forward_hook(lambda m, args, out: log.append("plain"))
    m.register_forward_hook(lambda m, args, out: log.append(out), always_call=True)
    with pytest.raises(RuntimeError):
        m(ferrograd.ones(1, 3))
    assert log == [None]

    def fails(m, args, out):
        raise ValueError("second")

    m.register_forward_hook(fails, always_call=True)
    with pytest.raises(RuntimeError), pytest.warns(UserWarning, match="second"):
        m(ferrograd.ones(1, 3))


def test_global_hooks():
    from ferrograd.nn.modules import module

    log = []
    handles = [
        module.register_module_forward_pre_hook(lambda m, args: log.append("pre")),
        module.register_module_forward_hook(lambda m, args, out: log.append("post")),
        module.register_module_full_backward_pre_hook(lambda m, grads: log.append("backward pre")),
        module.register_module_full_backward_hook(lambda m, into, out: log.append("backward")),
    ]
    try:
        m = Affine(2, 2)
        m.register_forward_hook(lambda m, args, out: log.append("own"))
        m(ferrograd.ones(1, 2, requires_grad=True)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
        module._global_is_full_backward_hook = None
    assert log == ["pre", "post", "own", "backward pre", "backward"]
    log.clear()
    m(ferrograd.ones(1, 2))
    assert log == ["own"]


def test_hooks_of_registration():
    from ferrograd.nn.modules import module

    log = []
    handles = [
        module.register_module_parameter_registration_hook(lambda m, name, p: log.append(name)),
        module.register_module_buffer_registration_hook(lambda m, name, b: log.append(name)),
        module.register_module_module_registration_hook(lambda m, name, c: log.append(name)),
    ]
    with handles[0], handles[1], handles[2]:
        net = nn.Module()
        net.child = Affine(1, 1)
    assert log == ["weight", "bias", "calls", "cache", "child"]


def test_full_backward_hooks():
    m, log = Affine(2, 3), []
    m.register_full_backward_pre_hook(lambda m, grads: (grads[0] * 2,))
    m.register_full_backward_hook(lambda m, into, out: log.append((into, out)))
    x = ferrograd.ones(1, 2, requires_grad=True)
    m(x).sum().backward()
    ((into, out),) = log
    assert ferrograd.equal(out[0], ferrograd.full((1, 3), 2.0))
    np.testing.assert_allclose(into[0].numpy(), 2 * m.weight.detach().numpy().sum(0, keepdims=True), rtol=1e-6)
    assert ferrograd.equal(x.grad, into[0]) and ferrograd.equal(m.bias.grad, ferrograd.full((3,), 2.0))

    m.register_full_backward_hook(lambda m, into, out: (into[0] * 0,))
    x.grad = None
    m(x).sum().backward()
    assert not x.grad.any()
    m.register_full_backward_hook(lambda m, into, out: ())
    with pytest.raises(RuntimeError, match="invalid number of grad_input"):
        m(x).sum().backward()
    with pytest.raises(RuntimeError, match="Cannot use both"):
        m.register_backward_hook(print)


def test_full_backward_hooks_without_gradients_of_inputs():
    m, log = Affine(2, 3), []
    m.register_full_backward_hook(lambda m, into, out: log.append(into))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        m(ferrograd.ones(1, 2)).sum().backward()
    assert log == [(None,)]


def test_full_backward_hooks_of_several_inputs_and_outputs():
    class Pair(nn.Module):
        def forward(self, a, b, name):
            return a * 2, b * 3, name

    m, log = Pair(), []
    m.register_full_backward_hook(lambda m, into, out: log.append((into, out)))
    a, b = ferrograd.ones(2, requires_grad=True), ferrograd.ones(3)
    m(a, b, "text")[0].sum().backward()
    ((into, out),) = log
    assert into[0].tolist() == [2, 2] and into[1].tolist() == [0, 0, 0] and into[2] is None
    assert out[0].tolist() == [1, 1] and out[1:] == (None, None) and a.grad.tolist() == [2, 2] and b.grad is None


def test_old_backward_hooks():
    m, log = Affine(2, 3), []
    m.register_backward_hook(lambda m, into, out: log.append(out))
    with pytest.warns(FutureWarning, match="multiple autograd Nodes"):
        m(ferrograd.ones(1, 2, requires_grad=True), scale=2.0).sum().backward()
    assert log[0][0].tolist() == [[1, 1, 1]]


def test_a_copied_module_keeps_its_hooks_and_their_handles():
    m = nn.Sequential(Affine(2, 2))
    m.handle = m.register_forward_hook(lambda m, args, out: out * 0)
    other = copy.deepcopy(m)
    x = ferrograd.ones(1, 2)
    other.handle.remove()
    assert other(x).any() and not m(x).any()
    m.handle.remove()
    assert m(x).any()


# The state.


def test_state_dict_round_trip():
    a, b = Net(), Net()
    state = a.state_dict()
    assert state._metadata == {"": {"version": 1}, "first": {"version": 1}, "second": {"version": 1}}
    assert not any(x.requires_grad for x in state.values()) and state["first.weight"].data_ptr() == a.first.weight.data_ptr()
    assert a.state_dict(keep_vars=True)["first.weight"] is a.first.weight
    assert list(a.state_dict(prefix="x."))[0] == "x.first.weight"
    weight = b.first.weight
    assert repr(b.load_state_dict(state)) == "<All keys matched successfully>"
    assert same_state(a, b) and b.first.weight is weight
    b.load_state_dict(state, assign=True)
    assert b.first.weight is not weight and b.first.weight.data_ptr() == a.first.weight.data_ptr()
    assert type(b.first.weight) is nn.Parameter and b.first.weight.requires_grad


def test_what_was_loaded_is_let_go_of():
    module = nn.LSTM(2, 2)
    state = module.state_dict()
    copy = state["weight_ih_l0"] = state["weight_ih_l0"].clone()
    gone = weakref.ref(copy)
    gc.disable()
    try:
        module.load_state_dict(state)
        del state, copy
        assert gone() is None
    finally:
        gc.enable()


def test_state_dict_that_does_not_fit():
    net = Net()
    state = {"first.weight": ferrograd.zeros(1), "third.x": ferrograd.zeros(1), "second.bias": 3}
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert text.startswith('Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "first.bias", ')
    assert 'Unexpected key(s) in state_dict: "third.x". ' in text and "size mismatch for first.weight" in text and "<class 'int'>" in text
    keys = net.load_state_dict({"third.x": ferrograd.zeros(1), "first.bias": ferrograd.ones(3)}, strict=False)
    assert keys.unexpected_keys == ["third.x"] and len(keys.missing_keys) == 5 and net.first.bias.sum() == 3
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict(3)


def test_prefixes_of_states():
    state = nn.Sequential(Affine(1, 1)).state_dict()
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "0.")
    assert list(state) == ["weight", "bias", "calls"] and list(state._metadata) == [""]
    Affine(1, 1).load_state_dict(state)


def test_extra_state_and_hooks_of_the_state():
    class Extra(Affine):
        value = 1

        def get_extra_state(self):
            return self.value

        def set_extra_state(self, state):
            self.value = state

    m, log = Extra(1, 1), []
    state = m.state_dict()
    assert state["_extra_state"] == 1
    state["_extra_state"] = 7
    m.register_load_state_dict_pre_hook(lambda module, state, prefix, *rest: log.append((module is m, prefix)))
    m.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    m.register_state_dict_pre_hook(lambda module, prefix, keep_vars: log.append(keep_vars))
    m.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.__delitem__("bias"))
    m.load_state_dict(state)
    assert m.value == 7 and log == [(True, "")]
    assert "bias" not in m.state_dict() and log[1:] == [False]
    m.load_state_dict(m.state_dict())
    with pytest.raises(RuntimeError, match="_extra_state"):
        Affine(1, 1).load_state_dict(state)


# Tensors without a shape yet.


@pytest.mark.parametrize("kind", [nn.UninitializedParameter, nn.UninitializedBuffer])
def test_uninitialized(kind):
    x = kind()
    assert repr(x) == f"<{kind.__name__}>" and nn.parameter.is_lazy(x)
    for use in (lambda: x + 1, lambda: 1 - x, lambda: x.sum(), lambda: x[0], lambda: -x):
        with pytest.raises(ValueError, match="uninitialized parameter"):
            use()
    with pytest.raises(RuntimeError, match="shape"):
        x.shape
    assert type(copy.deepcopy(x)) is kind and type(pickle.loads(pickle.dumps(x))) is kind
    x.materialize((2, 3), dtype=ferrograd.float64)
    assert type(x) is kind.cls_to_become and x.shape == (2, 3) and x.dtype == ferrograd.float64
    assert x.requires_grad == (kind is nn.UninitializedParameter)


def test_the_package_shows_what_it_imports_late():
    assert {"Module", "Sequential", "Parameter", "functional", "init", "utils"} <= set(nn.__all__) & set(dir(nn))
    assert not hasattr(nn, "NoSuchLayer") and not hasattr(nn, "linear")
