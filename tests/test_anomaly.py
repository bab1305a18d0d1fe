"""Anomaly detection: which forward call made the NaN, or the op whose derivative failed."""

import warnings

import pytest

import ferrograd
from ferrograd.autograd import Function, detect_anomaly, set_detect_anomaly


def culprit(x):
    return (x * 0).log() * 0


def recorded_in(caught):
    return "".join(str(warning.message) for warning in caught)


def test_nan_is_an_error_that_names_the_forward_call():
    x = ferrograd.ones(2, requires_grad=True)
    with pytest.warns(UserWarning) as caught:
        with detect_anomaly():
            y = culprit(x)
            with pytest.raises(RuntimeError, match="Function 'LogBackward0' returned nan values in its 0th output."):
                y.sum().backward()
    text = recorded_in(caught)
    assert "Anomaly Detection has been enabled" in text
    assert "Error detected in LogBackward0. Traceback of forward call that caused the error:" in text
    assert "return (x * 0).log() * 0" in text and "in culprit" in text
    assert x.grad is None and not ferrograd.is_anomaly_enabled()


def test_it_is_off_by_default():
    x = ferrograd.ones(2, requires_grad=True)
    culprit(x).sum().backward()
    assert x.grad.isnan().all()


def test_nan_need_not_be_an_error():
    x = ferrograd.ones(2, requires_grad=True)
    with set_detect_anomaly(True, check_nan=False):
        assert ferrograd.is_anomaly_enabled() and not ferrograd.is_anomaly_check_nan_enabled()
        culprit(x).sum().backward()
    assert x.grad.isnan().all() and ferrograd.is_anomaly_check_nan_enabled()


def test_errors_in_backward_name_the_forward_call():
    class Failing(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    x = ferrograd.ones(2, requires_grad=True)
    before = Failing.apply(x)
    with set_detect_anomaly(True):
        y = Failing.apply(x)
        with pytest.warns(UserWarning, match="Error detected in FailingBackward. Traceback of forward call") as caught:
            with pytest.raises(KeyError, match="mine"):
                y.sum().backward()
        assert "y = Failing.apply(x)" in recorded_in(caught)
        with pytest.warns(UserWarning, match="FailingBackward. No forward pass information available"):
            with pytest.raises(KeyError, match="mine"):
                before.sum().backward()


def test_where_warnings_are_errors_the_error_stays(capsys):
    with set_detect_anomaly(True):
        x = ferrograd.ones(2, requires_grad=True)
        y = x * 1
        z = y.exp().sum() + (y * y).sum()
        with ferrograd.no_grad():
            y.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.backward()
    text = capsys.readouterr().err
    assert "UserWarning: Error detected in MulBackward0. Traceback of forward call" in text and "(y * y).sum()" in text


def test_second_derivatives_name_both_calls():
    x = ferrograd.zeros(1, requires_grad=True)
    with set_detect_anomaly(True):
        y = x.pow(1.5).sum()
        (g,) = ferrograd.autograd.grad(y, x, create_graph=True)
        h = (g * g).sqrt()
        with pytest.warns(UserWarning) as caught, pytest.raises(RuntimeError, match="returned nan values"):
            h.sum().backward()
    assert "Error detected in" in recorded_in(caught)


def test_as_a_function():
    set_detect_anomaly(True)
    assert ferrograd.is_anomaly_enabled()
    set_detect_anomaly(False)
    assert not ferrograd.is_anomaly_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        culprit(ferrograd.ones(1, requires_grad=True)).backward()


def test_the_error_of_a_changed_value_hints_at_the_trace():
    x = ferrograd.ones(2, requires_grad=True)
    with pytest.warns(UserWarning):
        with ferrograd.autograd.set_detect_anomaly(True):
            y = x * 1
            z = y * y
            y.add_(1)
            with pytest.raises(RuntimeError, match="Hint: the backtrace further above shows the operation"):
                z.sum().backward()


def test_nodes_tell_where_they_were_recorded():
    x = ferrograd.ones(2, requires_grad=True)
    assert (x * 2).grad_fn.metadata == {}
    with set_detect_anomaly(True):
        y = x.exp()
        (g,) = ferrograd.autograd.grad(y.sum(), x, create_graph=True)
        base = x.clone()
        base[0].mul_(2)
    assert list(y.grad_fn.metadata) == ["traceback_"] and "y = x.exp()" in y.grad_fn.metadata["traceback_"][-1]
    assert g.grad_fn.metadata["parent_"] is y.grad_fn and "create_graph=True" in g.grad_fn.metadata["traceback_"][-1]
    assert "base[0].mul_(2)" in base.grad_fn.metadata["traceback_"][-1]
    y.grad_fn.metadata["mine"] = 1
    assert y.grad_fn.metadata["mine"] == 1 and y.grad_fn.next_functions[0][0].metadata == {}
