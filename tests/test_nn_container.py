"""Containers of modules and of parameters."""

import copy
import pickle
from collections import OrderedDict

import pytest

import ferrograd
from ferrograd import nn
from ferrograd.nn.modules.lazy import LazyModuleMixin


class Plus(nn.Module):
    def __init__(self, value=1.0):
        super().__init__()
        self.value = nn.Parameter(ferrograd.tensor(value))

    def forward(self, x):
        return x + self.value


def values(modules):
    return [m.value.item() for m in modules]


def plus(*numbers):
    return [Plus(float(n)) for n in numbers]


def test_sequential_as_a_list():
    net = nn.Sequential(*plus(1, 2, 3))
    assert net(ferrograd.zeros(2)).tolist() == [6, 6] and len(net) == 3 and values(net) == [1, 2, 3]
    assert values(net[1:]) == [2, 3] and list(net[1:]._modules) == ["1", "2"] and net[-1].value == 3
    net[0] = Plus(5.0)
    del net[1]
    assert values(net) == [5, 3] and list(net.state_dict()) == ["0.value", "1.value"]
    assert net.append(Plus(7.0)).extend(plus(8)).insert(0, Plus(4.0)) is net
    assert values(net) == [4, 5, 3, 7, 8] and net.pop(-1).value == 8
    net.insert(-1, Plus(6.0))
    assert values(net) == [4, 5, 3, 6, 7]
    del net[1:3]
    assert values(net) == [4, 6, 7] and list(net._modules) == ["0", "1", "2"]
    assert values(net + nn.Sequential(*plus(1))) == [4, 6, 7, 1]
    assert values(net * 2) == values(2 * net) == [4, 6, 7] * 2
    net *= 2
    net += nn.Sequential(*plus(9))
    assert values(net) == [4, 6, 7, 4, 6, 7, 9] and net[0] is net[3]
    for error, wrong in (
        (IndexError, lambda: net[7]),
        (IndexError, lambda: net.insert(9, Plus())),
        (AssertionError, lambda: net.insert(0, 1)),
        (TypeError, lambda: net * 1.5),
        (ValueError, lambda: net * 0),
        (ValueError, lambda: net + [Plus()]),
        (TypeError, lambda: nn.Sequential(1)),
    ):
        with pytest.raises(error):
            wrong()


def test_sequential_with_names():
    net = nn.Sequential(OrderedDict(a=Plus(1.0), b=Plus(2.0)))
    assert net.a.value == 1 and net[1].value == 2 and list(net[:1].state_dict()) == ["a.value"]
    assert repr(net) == "Sequential(\n  (a): Plus()\n  (b): Plus()\n)"


def test_module_list():
    modules = nn.ModuleList(plus(1, 2))
    modules.extend(plus(3)).append(Plus(4.0))
    modules += plus(5)
    modules.insert(1, Plus(6.0))
    assert values(modules) == [1, 6, 2, 3, 4, 5] and values(modules[::2]) == [1, 2, 4] and values(modules + plus(0))[-1] == 0
    assert modules.pop(1).value == 6 and values(modules) == [1, 2, 3, 4, 5]
    del modules[-1], modules[:2]
    assert values(modules) == [3, 4] and len(list(modules.parameters())) == 2
    modules[1] = nn.Sequential()
    modules.append(Plus()).append(Plus())
    assert repr(modules) == "ModuleList(\n  (0): Plus()\n  (1): Sequential()\n  (2-3): 2 x Plus()\n)"
    assert repr(nn.ModuleList()) == "ModuleList()"
    with pytest.raises(NotImplementedError):
        modules(1)
    with pytest.raises(IndexError):
        modules[4]
    with pytest.raises(TypeError):
        modules.extend(1)


def test_module_dict():
    modules = nn.ModuleDict({"b": Plus(1.0), "a": Plus(2.0)})
    modules.update([("c", Plus(3.0))])
    modules["d"] = Plus(4.0)
    assert list(modules) == list(modules.keys()) == ["b", "a", "c", "d"] and "a" in modules and len(modules) == 4
    assert values(modules.values()) == [1, 2, 3, 4] and modules.pop("a").value == 2
    del modules["b"]
    assert [k for k, _ in modules.items()] == ["c", "d"]
    for error, wrong in ((KeyError, "items"), (TypeError, 1)):
        with pytest.raises(error):
            modules[wrong] = Plus()
    for error, wrong in ((TypeError, 1), (TypeError, [1]), (ValueError, [(1, 2, 3)])):
        with pytest.raises(error):
            modules.update(wrong)
    modules.clear()
    assert not len(modules)


def test_parameter_list():
    params = nn.ParameterList([ferrograd.ones(2, 3), nn.Parameter(ferrograd.zeros(1)), "text"])
    assert isinstance(params[0], nn.Parameter) and len(list(params.parameters())) == 2 and params[2] == "text"
    params[0] = ferrograd.zeros(3)
    params += [ferrograd.ones(1)]
    assert params[0].shape == (3,) and len(params) == 4 and len(params[1:]) == 3 and list(params)[3] is params[-1]
    assert repr(params) == (
        "ParameterList(\n    (0): Parameter containing: [torch.float32 of size 3]\n    (1): Parameter containing: [torch.float32 of "
        "size 1]\n    (2): Object of type: str\n    (3): Parameter containing: [torch.float32 of size 1]\n)"
    )
    with pytest.raises(RuntimeError, match="should not be called"):
        params(1)
    with pytest.raises(TypeError):
        params.extend(ferrograd.ones(2))


def test_parameter_dict():
    params = nn.ParameterDict({"b": ferrograd.ones(2), "a": ferrograd.ones(3)})
    assert list(params) == ["a", "b"] and list(reversed(params)) == ["b", "a"]
    assert params.setdefault("c", ferrograd.ones(1)) is params["c"] and isinstance(params["c"], nn.Parameter)
    assert params.get("d") is None and "c" in params and [len(v) for v in params.values()] == [3, 2, 1]
    assert list(params | {"z": 1}) == ["a", "b", "c", "z"] and list({"z": 1} | params)[0] == "z"
    other = params.copy()
    other |= {"y": 2}
    assert "y" in other and "y" not in params and list(params.fromkeys(["k"], 1).items()) == [("k", 1)]
    assert params.popitem()[0] == "c" and params.pop("a").shape == (3,) and list(params.state_dict()) == ["b"]
    assert repr(params) == "ParameterDict(  (b): Parameter containing: [torch.FloatTensor of size 2])"
    params.clear()
    with pytest.raises(KeyError):
        params.popitem()
    with pytest.raises(TypeError):
        params[1] = ferrograd.ones(1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(*plus(1, 2)),
        lambda: nn.ModuleList(plus(1, 2)),
        lambda: nn.ModuleDict({"a": Plus()}),
        lambda: nn.ParameterList([ferrograd.ones(2)]),
        lambda: nn.ParameterDict({"a": ferrograd.ones(2)}),
    ],
)
def test_copies(copied, make):
    module = make()
    other = copied(module)
    assert type(other) is type(module) and repr(other) == repr(module) and len(other) == len(module)
    assert str(other.load_state_dict(module.state_dict())) == "<All keys matched successfully>"


class LazyScale(LazyModuleMixin, Plus):
    cls_to_become = Plus

    def __init__(self):
        super().__init__()
        self.value = nn.UninitializedParameter()

    def initialize_parameters(self, x):
        if self.has_uninitialized_params():
            with ferrograd.no_grad():
                self.value.materialize(x.shape[-1:])
                self.value.fill_(1)


def test_lazy_modules():
    net = LazyScale()
    assert net.has_uninitialized_params() and nn.parameter.is_lazy(net.state_dict()["value"])
    assert net(ferrograd.zeros(2, 3)).sum() == 6 and type(net) is Plus and not net._forward_pre_hooks
    assert not net._load_state_dict_pre_hooks and net.value.shape == (3,)
    other = copy.deepcopy(pickle.loads(pickle.dumps(LazyScale())))
    other.load_state_dict(net.state_dict())
    assert other.value.shape == (3,) and other(ferrograd.zeros(2, 3)).sum() == 6 and not other._forward_pre_hooks
    with pytest.raises(RuntimeError, match="shape of an uninitialized"):
        Plus().load_state_dict(LazyScale().state_dict())


def test_data_parallel_calls_its_module():
    m = nn.DataParallel(Plus(2.0), device_ids=[0, 1], output_device=0, dim=1)
    x = ferrograd.ones(3)
    assert m(x).tolist() == m(x=x).tolist() == [3, 3, 3] and m.device_ids == []
    assert list(m.state_dict()) == ["module.value"] and m(x).sum().backward() is None and m.module.value.grad.item() == 3
