"""Jacobians and Hessians of functions of tensors, and their products with vectors."""

from ferrograd._C import Tensor, _autograd, zeros_like
from ferrograd.autograd._products import Carriers, Tangents, by_columns, by_rows, gradients, is_inexact
from ferrograd.autograd.forward_ad import dual_level_of
from ferrograd.autograd.grad_mode import enable_grad, set_grad_enabled

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_NOT_STRICT = "This is not allowed in strict mode"


class _Call:
    """One call of a function on tensors, recorded: what it was given, and what it answered."""

    def __init__(self, name, func, inputs, create_graph, strict, v=None, v_fits=None, carriers=None):
        self.name, self.create_graph, self.strict = name, create_graph, strict
        self.one_input = not isinstance(inputs, tuple)
        inputs = _tuple(inputs, "inputs", name)
        if carriers is None:
            self.inputs = self.prepared(inputs, True)
        else:
            self.inputs = tuple(_autograd._variable(carriers.variable(x), True) for x in inputs)
        self.v = None
        if v_fits == "inputs":
            self.take(v, self.inputs, not self.one_input)
            if v is None and (len(self.inputs) != 1 or self.inputs[0].numel() != 1):
                which = "input to the user-provided function is a single Tensor with a single element"
                raise RuntimeError(f"The vector v can only be None if the {which}.")
        self.answer = func(*self.inputs)
        self.one_output = not isinstance(self.answer, tuple)
        self.outputs = _tuple(self.answer, "outputs of the user-provided function", name)
        if strict:
            _check_outputs(self.outputs)
        if v_fits == "outputs":
            self.take(v, self.outputs, not self.one_output)
            if v is None and (len(self.outputs) != 1 or self.outputs[0].numel() != 1):
                which = "user-provided function returns a single Tensor with a single element"
                raise RuntimeError(f"The vector v can only be None if the {which}.")

    def prepared(self, tensors, need_graph):
        """New tensors, to be told from the same ones that the function may have captured."""
        keep = self.create_graph
        return tuple(_connected(x) if keep and _autograd._is_followed(x) else x.detach().requires_grad_(need_graph) for x in tensors)

    def take(self, v, others, several):
        """Checks the vector against the tensors that it must look like."""
        if v is None:
            return
        v = self.prepared(_tuple(v, "v", self.name), False)
        if len(v) != len(others):
            if several:
                raise RuntimeError(f"v is a tuple of invalid length: should be {len(others)} but got {len(v)}.")
            raise RuntimeError("The given v should contain a single Tensor.")
        for i, (part, other) in enumerate(zip(v, others)):
            if part.shape != other.shape:
                entry = f"Entry {i} in " if several else ""
                raise RuntimeError(f"{entry}v has invalid size: should be {other.shape} but got {part.shape}.")
        self.v = v

    def check_scalar(self):
        """Fails unless the answer is one tensor of one element."""
        if not self.one_output:
            raise RuntimeError(f"The function given to {self.name} should return a single Tensor")
        if self.outputs[0].numel() != 1:
            raise RuntimeError(f"The Tensor returned by the function given to {self.name} should contain a single element")

    def filled(self, grads, like, missing, constant):
        """The gradients with zeros for None; in strict mode these are errors, as are constants in the graph asked for."""
        for i, grad in enumerate(grads):
            if self.strict and grad is None:
                raise RuntimeError(missing(i))
            if self.strict and self.create_graph and not grad.requires_grad:
                raise RuntimeError(
                    f"The {constant} of the user-provided function is independent of input {i}. {_NOT_STRICT} when "
                    "create_graph=True."
                )
        return tuple(zeros_like(x) if g is None else g for g, x in zip(grads, like))

    def mode(self):
        """Recording as the last step needs it."""
        return set_grad_enabled(self.create_graph or _autograd.is_grad_enabled())

    def check_any(self, values):
        """Fails, as torch does, if there is nothing."""
        if not values:
            raise IndexError(f"{self.name}: there are no tensors to differentiate, or none to differentiate by")

    def result(self, values, one):
        """As the user is to see it."""
        self.check_any(values)
        values = values if self.create_graph else tuple(value.detach() for value in values)
        return values[0] if one else values


def _connected(x):
    return x.view_as(x) if x.requires_grad else _autograd._variable(x, False, shown=True)


def _tuple(value, what, name):
    one = not isinstance(value, tuple)
    values = (value,) if one else value
    for i, item in enumerate(values):
        if not isinstance(item, Tensor):
            found = f"the given {what} has type" if one else f"the value at index {i} has type"
            raise TypeError(f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but {found} {type(item)}.")
    return values


def _check_outputs(outputs):
    for i, y in enumerate(outputs):
        if not y.requires_grad:
            raise RuntimeError(
                f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
                "differentiable manner from the input when running in strict mode."
            )


def _independent(i):
    return f"The output of the user-provided function is independent of input {i}. {_NOT_STRICT}."


def _check_gradient(grads, strict):
    """In strict mode a first derivative that will be differentiated again must depend on the inputs."""
    for i, grad in enumerate(grads if strict else ()):
        if grad is None:
            raise RuntimeError(_independent(i))
        if not grad.requires_grad:
            raise RuntimeError(
                f"While computing the hessian, found that the jacobian of the user-provided function with respect to input {i} "
                f"is independent of the input. {_NOT_STRICT}. You should ensure that your function is twice differentiable and "
                "that the jacobian depends on the inputs (this would be violated by a linear function for example)."
            )


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """``(func(*inputs), v times its Jacobian)``.

    `v` is like the outputs, and may be left out if these are one number. With `strict`, an input that does not matter is an
    error; otherwise its derivative is zeros. With `create_graph`, everything can be differentiated again.
    """
    with enable_grad():
        call = _Call("vjp", func, inputs, create_graph, strict, v, "outputs")
    with call.mode():
        grads = gradients(call.outputs, call.inputs, call.v, create_graph)
        grads = call.filled(grads, call.inputs, _independent, "jacobian")
    return call.result(call.outputs, call.one_output), call.result(grads, call.one_input)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """``(func(*inputs), its Jacobian times v)``.

    `v` is like the inputs, and may be left out if these are one number. Otherwise as ``vjp``.
    """
    with enable_grad():
        call = _Call("jvp", func, inputs, create_graph, strict, v, "inputs")
        if not all(map(is_inexact, call.outputs)):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        tangents = Tangents(call.outputs, call.inputs)
        if strict:
            for i, grad in enumerate(tangents.products):
                if grad is None:
                    raise RuntimeError(_independent(i))
                if not grad.requires_grad:
                    raise RuntimeError(
                        f"The gradient with respect to input {i} is independent of the inputs of the user-provided function. "
                        f"{_NOT_STRICT}."
                    )

    def missing(i):
        return (
            f"The gradient with respect to the input is independent of entry {i} in the grad_outputs when using the double "
            f"backward trick to compute forward mode gradients. {_NOT_STRICT}."
        )

    with call.mode():
        parts = call.filled(tangents.along(call.v, create_graph), call.outputs, missing, "jacobian")
    return call.result(call.outputs, call.one_output), call.result(parts, call.one_output)


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """``(func(*inputs), v times its Hessian)`` of a function that answers one number. See ``vjp``."""
    with enable_grad():
        call = _Call("vhp", func, inputs, create_graph, strict, v, "inputs")
        call.check_scalar()
        first = gradients(call.outputs, call.inputs, create_graph=True)
        _check_gradient(first, strict)

    def missing(i):
        return f"The jacobian of the user-provided function is independent of input {i}. {_NOT_STRICT}."

    with call.mode():
        second = gradients(first, call.inputs, call.v, create_graph)
        second = call.filled(second, call.inputs, missing, "hessian")
    return call.result(call.outputs, call.one_output), call.result(second, call.one_input)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """``(func(*inputs), its Hessian times v)``. The same as ``vhp`` where the Hessian is symmetric; that is faster."""
    with enable_grad():
        call = _Call("hvp", func, inputs, create_graph, strict, v, "inputs")
        call.check_scalar()
        first = gradients(call.outputs, call.inputs, create_graph=True)
        _check_gradient(first, strict)
        weights = tuple(zeros_like(x, requires_grad=True) for x in call.inputs)
        products = gradients(first, call.inputs, weights, create_graph=True)

    def missing(i):
        return (
            f"The hessian of the user-provided function is independent of entry {i} in the grad_jacobian. {_NOT_STRICT} as it "
            "prevents from using the double backward trick to replace forward mode AD."
        )

    with call.mode():
        parts = gradients(products, weights, call.v, create_graph)
        parts = call.filled(parts, call.inputs, missing, "hessian")
    return call.result(call.outputs, call.one_output), call.result(parts, call.one_input)


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The Jacobian of `func`: for each output and each input a tensor of the shape of both, in tuples where these are tuples.

    `strategy` says whether it is computed row by row ("reverse-mode") or column by column ("forward-mode", which needs
    `vectorize`); the result is the same, and so it is with `vectorize`, but "forward-mode" answers lists for tuples of inputs.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode", which pays if there are more outputs than inputs, or "reverse-mode"'
            f", got {strategy!r}."
        )
    if strategy == "forward-mode":
        _check_forward_options(inputs, create_graph, strict, vectorize)
        return _forward_jacobian(func, inputs)
    with enable_grad():
        call = _Call("jacobian", func, inputs, create_graph, strict)
        if strict and vectorize:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
                "Please either set `strict=False` or `vectorize=False`."
            )
        for y in call.outputs:
            if y.is_complex() and not vectorize:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {y.dtype}")
        rows = tuple(_rows(call, i, y) for i, y in enumerate(call.outputs))
    rows = tuple(call.result(row, call.one_input) for row in rows)
    call.check_any(rows)
    return rows[0] if call.one_output else rows


def _forward_jacobian(func, inputs, keep_graph=False):
    """As torch's, it leads to what has a graph already, inputs or tensors that the function has captured."""
    carriers, recording = Carriers(), _autograd.is_grad_enabled()
    with dual_level_of(carriers), enable_grad():
        call = _Call("jacobian", func, inputs, True, False, carriers=carriers)
        call.create_graph = recording and (keep_graph or carriers.lead_outside(*call.outputs))
        rows = by_columns(call.outputs, carriers, call.create_graph)
        rows = [call.result(row, call.one_input) for row in rows]
    rows = rows if call.one_input else [list(row) for row in rows]
    return rows[0] if call.one_output else tuple(rows) if call.one_input else rows


def _check_forward_options(inputs, create_graph, strict, vectorize):
    name = "torch.autograd.functional.jacobian"
    if create_graph:
        raise NotImplementedError(
            f'{name}: `create_graph=True` and `strategy="forward-mode"` are not supported together (yet). '
            'Please either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strict:
        raise RuntimeError(
            f'{name}: `strict=True` and `strategy="forward-mode"` are not supported together (yet). '
            'Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    _tuple(inputs, "inputs", "jacobian")
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for `vectorize=True`."
        )


def _rows(call, i, y):
    def missing(j):
        if call.strict:
            raise RuntimeError(f"Output {i} of the user-provided function is independent of input {j}. {_NOT_STRICT}.")

    rows = by_rows(y, call.inputs, call.create_graph, missing)
    if call.strict and call.create_graph and not all(row.requires_grad for row in rows):
        raise RuntimeError(
            f"The jacobian of the user-provided function is independent of input {i}. {_NOT_STRICT} when create_graph=True."
        )
    return rows


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """The Hessian of a function that answers one number: for each pair of inputs a tensor of the shape of both.

    See ``jacobian``, which it is of the gradient.
    """
    one = not isinstance(inputs, tuple)
    _tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def number(*inputs):
        y = func(*inputs)
        outputs = _tuple(y, "outputs of the user-provided function", "hessian")
        if strict:
            _check_outputs(outputs)
        if not isinstance(y, Tensor):
            raise RuntimeError("The function given to hessian should return a single Tensor")
        if y.numel() != 1:
            raise RuntimeError("The Tensor returned by the function given to hessian should contain a single element")
        return y.squeeze()

    def gradient(*inputs):
        inputs = tuple(x if _autograd._is_followed(x) else x.requires_grad_() for x in inputs)
        first = jacobian(number, inputs, create_graph=True)
        _check_gradient(first, strict)
        return first

    if outer_jacobian_strategy == "forward-mode":
        _check_forward_options(inputs, create_graph, strict, vectorize)
        whole = _forward_jacobian(gradient, inputs, keep_graph=True)
    else:
        whole = jacobian(gradient, inputs, create_graph, strict, vectorize)
    if not one:
        return whole
    return whole[0]
