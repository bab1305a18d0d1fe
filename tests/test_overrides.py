"""Classes with a `__torch_function__`, and modes."""

import copy
import operator
import subprocess
import sys
import threading

import numpy as np
import pytest

import ferrograd as torch
from ferrograd import nn
from ferrograd import overrides
from ferrograd.nn import functional as F
from ferrograd.overrides import TorchFunctionMode


class Plain(torch.Tensor):
    pass


class Noted(torch.Tensor):
    """Carries a note from the first argument that has one to the result."""

    calls = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append((func, types, args, kwargs))
        result = super().__torch_function__(func, types, args, kwargs)
        notes = [x.note for x in args if isinstance(x, Noted) and "note" in x.__dict__]
        if notes and isinstance(result, Noted):
            result.note = notes[0]
        return result


class Derived(Noted):
    pass


class Wrapper:
    """No tensor, but functions ask it."""

    def __init__(self, value):
        self.value = value

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func not in HANDLED:
            return NotImplemented
        return HANDLED[func](*args, **(kwargs or {}))


HANDLED = {}


def plain(values=((1.0, 2.0), (3.0, 4.0))):
    return torch.tensor(values).as_subclass(Plain)


def noted(note="n"):
    x = torch.ones(2, 2).as_subclass(Noted)
    x.note = note
    Noted.calls.clear()
    return x


OTHER = torch.ones(2, 2)
OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.matmul,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]
WHOLE = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]


@pytest.mark.parametrize("op", OPERATORS + WHOLE, ids=lambda op: op.__name__)
def test_operators_answer_the_class(op):
    x = plain().long() if op in WHOLE else plain()
    other = OTHER.long() if op in WHOLE else OTHER
    parameter = nn.Parameter(other, requires_grad=False)
    for a, b in ((x, other), (other, x), (x, parameter), (parameter, x), (x, x)):
        result = op(a, b)
        assert type(result) is Plain
        expected = op(torch.tensor(np.asarray(a)), torch.tensor(np.asarray(b)))
        assert type(expected) is torch.Tensor and np.array_equal(np.asarray(result), np.asarray(expected))
    if op is not operator.matmul:
        assert type(op(x, 2)) is Plain and type(op(2, x)) is Plain


def test_operators_of_one_operand_answer_the_class():
    for op in (operator.neg, operator.pos, abs):
        assert type(op(plain())) is Plain
    assert type(~plain().bool()) is Plain


def test_assigning_operators_keep_the_object():
    for op in (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow):
        x = before = plain()
        x = op(x, 2)
        assert x is before
    x = plain()
    x += OTHER
    assert x.tolist() == [[2.0, 3.0], [4.0, 5.0]]


def test_methods_functions_and_layers_answer_the_class():
    x, i = plain(), torch.tensor([0, 1])
    results = [
        x.mm(OTHER),
        OTHER.mm(x),
        OTHER.addmm(OTHER, x, beta=2),
        x.sum(dim=0),
        x.view(4),
        x.clamp(min=0),
        x[0],
        x[x > 1],
        OTHER[x.long() % 2],
        x.T,
        x.data,
        torch.exp(x),
        torch.add(2, x),
        torch.add(OTHER, other=x),
        torch.cat([OTHER, x]),
        torch.where(OTHER > 0, OTHER, x),
        torch.einsum("ij,jk->ik", OTHER, x),
        torch.zeros_like(x),
        torch.linalg.inv(x),
        torch.fft.fft(x),
        torch.special.erf(x),
        F.relu(x),
        F.cross_entropy(x, i),
        F.linear(OTHER, x),
        F.embedding(i, x),
        F.interpolate(x[None], 4),
        nn.Linear(2, 2)(x),
        nn.LSTM(2, 2)(x)[0],
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU())(x),
        *x.split(1),
        *x.max(0),
        *x,
        *torch.autograd.grad((y := plain().requires_grad_()).sum(), y),
    ]
    assert [type(result) for result in results] == [Plain] * len(results)
    assert type(x.max(0)).__name__ == "max"


def test_what_is_no_tensor_stays_what_it_is():
    x = plain()
    assert x.shape == (2, 2) and type(x.shape) is torch.Size
    assert (len(x), x[0, 1].item(), float(x[0, 0]), bool(x[0, 0]), 3.0 in x) == (2, 2.0, 1.0, True, True)
    assert torch.as_tensor(x) is x and torch.is_tensor(x)
    with pytest.warns(UserWarning, match="copy construct"):
        assert type(torch.tensor(x)) is torch.Tensor


def test_gradients_reach_leaves_of_the_class_as_plain_tensors():
    x = plain().requires_grad_()
    (x * x).sum().backward()
    assert type(x.grad) is torch.Tensor and x.grad.tolist() == [[2.0, 4.0], [6.0, 8.0]]


def test_a_class_is_told_of_the_call():
    x = noted()
    torch.add(OTHER, x, alpha=2)
    ((func, types, args, kwargs),) = Noted.calls
    assert func is torch.add and types == (Noted,) and args[0] is OTHER and args[1] is x and kwargs == {"alpha": 2}
    Noted.calls.clear()
    x.shape
    ((func, _, args, _),) = Noted.calls
    assert func == torch.Tensor.shape.__get__ and args[0] is x
    Noted.calls.clear()
    x.requires_grad = True
    ((func, _, args, _),) = Noted.calls
    assert func == torch.Tensor.requires_grad.__set__ and args[1] is True
    Noted.calls.clear()
    OTHER.clone().data = x
    assert not Noted.calls


def test_a_class_may_carry_attributes_on():
    x = noted("metres")
    assert (x + 1).note == x.sum().sqrt().note == nn.Linear(2, 2)(x).note == "metres"


def test_derived_classes_are_asked_first():
    base, derived = noted(), torch.ones(2, 2).as_subclass(Derived)
    for a, b in ((base, derived), (derived, base)):
        Noted.calls.clear()
        assert type(torch.add(a, b)) is Derived
        assert Noted.calls[0][1] == (Derived, Noted)


def test_classes_that_know_nothing_of_each_other_decline():
    with pytest.raises(TypeError, match="torch.add.*Plain.*Noted"):
        torch.add(plain(), noted())


def test_super_goes_on():
    class Own(torch.Tensor):
        def __add__(self, other):
            return super().__add__(other)

        def exp(self):
            return super().exp()

    x = torch.ones(2).as_subclass(Own)
    assert type(x + 1) is Own and type(x.exp()) is Own and x.exp().tolist() == torch.ones(2).exp().tolist()


def test_parameters_and_disabled_classes_give_plain_tensors():
    class Disabled(torch.Tensor):
        __torch_function__ = torch._C._disabled_torch_function_impl

    class Special(nn.Parameter):
        pass

    for x in (torch.ones(2).as_subclass(Disabled), nn.Parameter(torch.ones(2)), Special(torch.ones(2)), nn.Buffer(torch.ones(2))):
        assert type(x + 1) is torch.Tensor and type(x.exp()) is torch.Tensor


def test_a_parameter_of_another_class_is_one_of_both():
    x = nn.Parameter(plain())
    assert type(x) is Plain and isinstance(x, nn.Parameter) and x.requires_grad
    layer = nn.Linear(2, 2)
    layer.weight = x
    assert layer.weight is x and type(layer(OTHER)) is Plain


def test_objects_that_are_no_tensors():
    HANDLED.clear()
    HANDLED[torch.add] = lambda a, b: "add"
    HANDLED[F.mse_loss] = lambda a, b: "mse"
    HANDLED[torch.cat] = lambda tensors: "cat"
    HANDLED[torch.Tensor.add] = lambda a, b: "method"
    assert torch.add(Wrapper(1), 2) == torch.add(OTHER, Wrapper(1)) == torch.add(2, Wrapper(1)) == "add"
    assert F.mse_loss(OTHER, Wrapper(1)) == F.mse_loss(Wrapper(1), OTHER) == "mse"
    assert torch.cat([OTHER, Wrapper(1)]) == "cat"
    assert OTHER.add(Wrapper(1)) == OTHER + Wrapper(1) == "method"
    HANDLED[torch.Tensor.__getitem__] = lambda x, key: "item"
    assert OTHER[Wrapper(1)] == OTHER[0, Wrapper(1)] == "item"
    HANDLED[torch.Tensor.__setitem__] = lambda x, key, value: written.append(value)
    written, x = [], OTHER.clone()
    x[Wrapper(1)] = 2.0
    x[0] = Wrapper(3)
    assert written[0] == 2.0 and written[1].value == 3 and x.tolist() == OTHER.tolist()
    with pytest.raises(TypeError, match="torch.exp.*Wrapper"):
        torch.exp(Wrapper(1))
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \*"):
        OTHER * Wrapper(1)


def test_a_rule_of_instances():
    class Old:
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return self, func

    old = Old()
    assert torch.exp(old) == (old, torch.exp)


class Counting(TorchFunctionMode):
    def __init__(self, factor=1):
        self.calls, self.factor = [], factor

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls.append(func)
        result = func(*args, **(kwargs or {}))
        return result * self.factor + 1 if isinstance(result, torch.Tensor) else result


def test_modes_are_asked_about_every_call():
    with Counting() as mode:
        assert torch.zeros(1).item() == 1.0
        assert (OTHER + 1)[0, 0].item() == 4.0
        assert F.relu(OTHER).tolist() == [[2.0, 2.0], [2.0, 2.0]]
        assert OTHER.shape == (2, 2)
    names = [func.__name__ for func in mode.calls]
    assert names == ["zeros", "item", "add", "__getitem__", "item", "relu", "tolist", "__get__"]
    assert (OTHER + 1)[0, 0].item() == 2.0 and len(mode.calls) == 8


def test_the_innermost_mode_is_asked_first():
    with Counting(10) as outer, Counting(1) as inner:
        result = torch.add(OTHER, 1)
    assert [func.__name__ for func in inner.calls] == ["add"]
    assert [func.__name__ for func in outer.calls] == ["add", "mul", "add"]
    # 2 * 10 + 1 by the outer, then the inner's product, (21 * 1) * 10 + 1, and its sum, (211 + 1) * 10 + 1.
    assert result[0, 0].item() == 2121.0


def test_a_mode_is_left_when_its_block_fails():
    class Failing(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"), Failing():
        OTHER + 1
    assert (OTHER + 1)[0, 0].item() == 2.0
    with pytest.raises(TypeError, match="torch.add.*the mode"), _declining():
        torch.add(OTHER, 1)


def _declining():
    class Declining(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return NotImplemented

    return Declining()


def test_a_mode_has_a_plain_method():
    class OfClass(TorchFunctionMode):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with pytest.raises(RuntimeError, match="classmethod is not supported"), OfClass():
        OTHER + OTHER


def test_objects_that_no_function_knew():
    """In a program in which they are the first that override."""
    code = """
import ferrograd as torch
class Index:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__
x = torch.tensor([5.0])
print(x[Index()], x[0, Index()])
"""
    for last in ("torch.exp(Index())", "torch.cat([x, Index()])", "x + Index()", "x.add(Index())", "x[0]"):
        found = subprocess.run([sys.executable, "-c", f"{code.replace('print', f'print({last}); print')}"], capture_output=True, text=True)
        assert found.returncode == 0 and found.stdout.endswith("__getitem__ __getitem__\n"), found.stderr


def test_a_mode_is_that_of_a_thread():
    seen = []
    with Counting():
        thread = threading.Thread(target=lambda: seen.append(torch.zeros(1).item()))
        thread.start()
        thread.join()
    assert seen == [0.0]


def test_asking_can_be_disabled():
    x = plain()
    with torch._C.DisableTorchFunctionSubclass():
        assert not torch._C._is_torch_function_enabled()
        assert type(x + 1) is torch.Tensor
        with torch._C.DisableTorchFunctionSubclass():
            pass
        assert type(x + 1) is torch.Tensor
    with Counting() as mode, torch._C.DisableTorchFunction():
        assert type(x + 1) is torch.Tensor
    assert not mode.calls and torch._C._is_torch_function_enabled() and type(x + 1) is Plain


def test_every_function_asks_before_it_looks_at_its_arguments():
    class Answering(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func, args

    x = torch.ones(2).as_subclass(Answering)
    functions = overrides.get_overridable_functions()
    assert len(functions[torch]) > 450 and len(functions[torch.Tensor]) > 550 and len(functions[F]) > 110
    operators = type(torch.Tensor.__add__)
    for function in (f for found in functions.values() for f in found if not isinstance(f, operators)):
        if getattr(function, "__name__", "") == "__set__":
            function(x, 1)
            continue
        called, (argument,) = function(x)
        assert called == function and argument is x


def test_helpers():
    x, y = OTHER, plain()
    assert not overrides.has_torch_function((x,)) and overrides.has_torch_function((x, y))
    assert overrides.has_torch_function_unary(y) and overrides.has_torch_function_variadic(x, Wrapper(1))
    assert [overrides.is_tensor_like(v) for v in (x, y, Wrapper(1), 3)] == [True, True, True, False]
    assert overrides.resolve_name(torch.add) == "torch.add" and overrides.resolve_name(torch.Tensor.add) == "torch.Tensor.add"
    assert overrides.resolve_name(torch.Tensor.shape.__get__) == "torch.Tensor.shape.__get__" and overrides.resolve_name([]) is None
    assert overrides.is_tensor_method_or_property(torch.Tensor.add) and not overrides.is_tensor_method_or_property(torch.add)
    assert torch.tensor in overrides.get_ignored_functions() and torch.add not in overrides.get_ignored_functions()
    assert overrides.get_testing_overrides()[torch.exp](x) == -1

    @overrides.wrap_torch_function(lambda a: (a,))
    def double(a):
        return a * 2

    HANDLED[double] = lambda a: "doubled"
    assert double(x).tolist() == [[2.0, 2.0], [2.0, 2.0]] and double(Wrapper(1)) == "doubled"
    with pytest.raises(TypeError, match="no argument"):
        overrides.handle_torch_function(double, (x,), x)


def test_text_and_copies_keep_the_class():
    x = plain()
    assert repr(x) == "Plain([[1., 2.],\n       [3., 4.]])"
    assert repr(nn.Parameter(plain([1.0]))) == "Parameter(Plain([1.], requires_grad=True))"
    assert type(copy.copy(x)) is Plain and type(copy.deepcopy(x)) is Plain


def test_what_is_not_there_is_refused():
    class Dispatching(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with pytest.raises(RuntimeError, match="__torch_dispatch__"):
        torch.ones(2).as_subclass(Dispatching)

    class Without(torch.Tensor):
        __torch_dispatch__ = torch._C._disabled_torch_dispatch_impl

    assert type(torch.ones(2).as_subclass(Without) + 1) is Without


def test_training_with_inputs_of_a_class():
    torch.manual_seed(0)
    reference, layer = nn.Linear(2, 1), None
    layer = copy.deepcopy(reference)
    for model, x in ((reference, OTHER), (layer, plain(OTHER.tolist()))):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            F.mse_loss(model(x), torch.zeros(2, 1)).backward()
            optimizer.step()
    assert layer.weight.tolist() == reference.weight.tolist() and type(layer.weight.grad) is torch.Tensor
