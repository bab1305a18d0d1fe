"""Derivatives compared with differences: ``gradcheck`` for the first, ``gradgradcheck`` for the second."""

import warnings
from functools import partial
from math import prod

from ferrograd._C import Generator, Tensor, _autograd, complex128, empty, float64, rand, randn_like, stack, zeros, zeros_like
from ferrograd.autograd import forward_ad
from ferrograd.autograd._products import basis, gradients, is_inexact
from ferrograd.autograd._transform import active
from ferrograd.autograd.function import Function
from ferrograd.autograd.grad_mode import no_grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative is not what differences say."""


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
):
    """Compares the gradients of `func` at `inputs`, those that require one, with central differences of step `eps`.

    They must agree as in ``allclose(atol, rtol)``; backward run twice must give the same up to `nondet_tol`. `fast_mode` compares
    random projections of the Jacobians only. `check_undefined_grad` tests gradients and tangents that are None, `check_batched_grad`
    those of ``grad(is_grads_batched=True)``, `check_forward_ad` Jacobian-vector products, `check_batched_forward_grad` those under
    ``vmap``. In forward mode the inputs require no gradient.

    Answers True. Raises: GradcheckError (or answers False, without `raise_exception`) if something differs; ValueError if no
    input requires a gradient. `masked` is about sparse tensors and changes nothing here.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    check = _Check(func, inputs, eps, atol, rtol, nondet_tol, check_grad_dtypes, fast_mode)
    try:
        check.compare(check_backward_ad, check_forward_ad)
        if check.outputs and check_forward_ad and check_undefined_grad:
            check.undefined_tangents()
        if check.outputs and check_batched_forward_grad:
            check.batched_forward()
        if check.outputs and check_backward_ad:
            if check_batched_grad:
                check.batched()
            check.scaled_by_the_gradient()
            if check_undefined_grad:
                check.undefined()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=None,
):
    """Compares second derivatives: a ``gradcheck`` of the gradients of `func`, as functions of its inputs and `grad_outputs`.

    The latter are random if they are not given, and then not contiguous with `gen_non_contig_grad_outputs`.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    if check_undefined_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_undefined_grad=True requires check_rev_over_rev to be True")
    if check_batched_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_batched_grad=True requires check_rev_over_rev to be True")
    inputs = _tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable(func(*inputs))
        grad_outputs = tuple(_random_like(y, gen_non_contig_grad_outputs).requires_grad_() for y in outputs)
    grad_outputs = _tuple(grad_outputs)
    count = len(inputs)
    chosen = [i for i, x in enumerate(inputs) if _wants_grad(x)]

    def gradient(*args):
        for i, x in enumerate(inputs + grad_outputs):
            if _wants_grad(x):
                args[i].requires_grad_()  # those of forward mode do not
        outputs = _differentiable(func(*args[:count]))
        grads = _autograd.grad(outputs, [args[i] for i in chosen], args[count:], create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        gradient,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def get_numerical_jacobian(fn, inputs, target=None, eps=1e-3, grad_out=1.0):
    """The Jacobian of the first output of ``fn(inputs)`` by central differences, as gradients lie: a row for each input element.

    One for each tensor of `target` that requires a gradient; these are `inputs`, if not given. Of a complex input it is the gradient
    as torch defines it, conjugated. `grad_out` is of old, and must be 1.
    """
    _check_old_arguments("get_numerical_jacobian", grad_out)
    inputs = _tuple(inputs)
    values = lambda: [y.detach().clone() for y in _tuple(fn(inputs))]
    outputs = values()
    for y in outputs:
        _check_real("get_numerical_jacobian", y)
    dtype = outputs[0].dtype
    jacobians = []
    for x in filter(_wants_grad, inputs if target is None else _tuple(target)):
        rows = [_difference(values, x, unit, eps)[0].flatten() for unit in _units(x)]
        rows = stack(rows) if rows else zeros(0, outputs[0].numel(), dtype=dtype)
        jacobians.append((rows[: x.numel()] + 1j * rows[x.numel() :]).to(x.dtype) if x.is_complex() else rows)
    return tuple(jacobians)


def get_analytical_jacobian(inputs, output, nondet_tol=0.0, grad_out=1.0):
    """The same of `output` by its gradients.

    Answers the Jacobians, and whether gradients computed twice differ by no more than `nondet_tol`, are of the shapes of the inputs,
    and of their dtypes.
    """
    _check_old_arguments("get_analytical_jacobian", grad_out)
    _check_real("get_analytical_jacobian", output)
    variables = list(filter(_wants_grad, _tuple(inputs)))
    columns = [
        [gradients((output,), variables, (unit,), retain_graph=True) for unit in basis(output.shape, output)] for _ in range(2)
    ]
    first, second = (
        tuple(_columns(x, [column[i] for column in run], output.numel()) for i, x in enumerate(variables)) for run in columns
    )
    found = [(g, x) for column in columns[0] for g, x in zip(column, variables) if g is not None]
    reentrant = all(a.allclose(b, rtol=0.0, atol=nondet_tol, equal_nan=True) for a, b in zip(first, second))
    return first, reentrant, all(g.shape == x.shape for g, x in found), all(g.dtype == x.dtype for g, x in found)


def _columns(x, grads, count):
    jacobian = zeros(x.numel(), count, dtype=x.dtype)
    for j, grad in enumerate(grads):
        if grad is not None:
            jacobian[:, j] = grad.detach().flatten()
    return jacobian


def _check_old_arguments(name, grad_out):
    text = f"`{name}` was part of PyTorch's private API and will be removed there; gradcheck is what remains"
    warnings.warn(text, FutureWarning, stacklevel=3)
    if grad_out != 1.0:
        raise ValueError(f"Expected grad_out to be 1.0. {name} no longer supports values of grad_out != 1.0.")


def _check_real(name, output):
    if output.is_complex():
        raise ValueError(f"Expected output to be non-complex. {name} no longer supports functions that return complex outputs.")


def _tuple(value):
    return value if isinstance(value, tuple) else tuple(value) if isinstance(value, list) else (value,)


def _wants_grad(x):
    return isinstance(x, Tensor) and x.requires_grad


def _differentiable(outputs):
    outputs = _tuple(outputs)
    for i, y in enumerate(outputs):
        if not isinstance(y, Tensor):
            raise AttributeError(f"gradcheck expects the function to answer tensors, but output {i} is {y!r}: it has no requires_grad")
    return tuple(y for y in outputs if y.requires_grad)


def _floats(outputs):
    return [y for y in _tuple(outputs) if isinstance(y, Tensor) and is_inexact(y)]


def _random_like(x, with_gaps):
    """Numbers between -1 and 1, as many as torch draws: with gaps, twice as many."""
    with_gaps = with_gaps and x.numel() > 1
    shape = (*x.shape[:-1], 2 * x.shape[-1]) if with_gaps else x.shape
    values = empty(shape, dtype=x.dtype)
    (values.view_as_real() if x.is_complex() else values).uniform_(-1, 1)
    return values[..., 1::2] if with_gaps else values


class _Check:
    """One function at one place."""

    def __init__(self, func, inputs, eps, atol, rtol, nondet_tol, check_dtypes, fast):
        self.func, self.inputs = func, _tuple(inputs)
        self.eps, self.atol, self.rtol, self.nondet_tol = eps, atol, rtol, nondet_tol
        self.check_dtypes, self.fast = check_dtypes, fast
        self.places = [i for i, x in enumerate(self.inputs) if _wants_grad(x)]
        self.variables = [self.inputs[i] for i in self.places]
        self._check_inputs()
        outputs = func(*self.inputs)
        self.outputs = _differentiable(outputs)
        # Which of all floating-point outputs those are.
        self.kinds = [y.requires_grad for y in _floats(outputs)]

    def _check_inputs(self):
        for i, x in zip(self.places, self.variables):
            if x.dtype not in (float64, complex128):
                warnings.warn(
                    f"Input #{i} requires gradient and is not a double precision floating point or complex. This check will "
                    "likely fail if all the inputs are not of double precision floating point or complex. ",
                    stacklevel=4,
                )
            if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape)):
                raise RuntimeError(
                    f"The {i}th input has a dimension with stride 0: its elements share memory, and cannot be moved one at a time. Pass its "
                    ".contiguous() to gradcheck."
                )
        if not self.variables:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
            )

    # Differences.

    def _values(self):
        """The outputs at the inputs as they are now, which may have been moved."""
        # A copy: the function may answer its argument, which will be moved on.
        return [y.detach().clone() for y in _floats(self.func(*self.inputs))]

    def _difference(self, x, direction):
        return _difference(self._values, x, direction, self.eps)

    def _wanted(self, values):
        """Of the values for all floating point outputs those for the differentiable ones."""
        return [value for value, wanted in zip(values, self.kinds) if wanted]

    # Comparisons.

    def compare(self, backward, forward):
        """Jacobians against differences."""
        if not self.outputs:
            self._check_constant()
            return
        numerical = self._numerical()
        if backward:
            for found in self._backward(*numerical):
                self._check_close(*found, "")
        if forward:
            for found in self._forward(*numerical):
                self._check_close(*found, "computed with forward mode ")

    def _numerical(self):
        """Directions of each input and weights for each output, and the differences along the directions."""
        directions, weights = [list(map(_units, tensors)) for tensors in (self.variables, self.outputs)]
        if self.fast:
            generator = Generator()
            directions, weights = [[[_unit_like(x, generator)] for x in tensors] for tensors in (self.variables, self.outputs)]
        differences = [[self._wanted(self._difference(x, u)) for u in units] for x, units in zip(self.variables, directions)]
        return directions, weights, differences

    def _check_constant(self):
        for x in self.variables:
            for unit in [_unit_like(x, Generator())] if self.fast else _units(x):
                if any(not part.eq(0).all() for part in self._difference(x, unit)):
                    raise GradcheckError("Numerical gradient for function expected to be zero")

    def _backward(self, directions, weights, differences):
        """For each output and input their numbers, the Jacobian from differences and that of backward, and the tolerance."""
        for o, y in enumerate(self.outputs):
            rows = [self._gradients(y, w) for w in weights[o]]
            for i in range(len(self.variables)):
                found = [[_inner(row[i], u) for u in directions[i]] for row in rows]
                wanted = [[_inner(part[o], w) for part in differences[i]] for w in weights[o]]
                pair = (_matrix(rows, y.dtype.to_real()).t() for rows in (wanted, found))
                yield o, i, *pair, self._tolerance(directions[i], weights[o])

    def _gradients(self, y, weight):
        """The gradients of one output, computed twice to see that they stay the same."""
        first, second = (gradients((y,), self.variables, (weight,), retain_graph=True) for _ in range(2))
        for a, b, x in zip(first, second, self.variables):
            if a is None:
                continue
            if self.check_dtypes and a.dtype != x.dtype:
                raise GradcheckError("Gradient has dtype mismatch")
            if a.shape != x.shape:
                raise GradcheckError("Analytical gradient has incorrect size")
            if not a.allclose(b, rtol=0.0, atol=self.nondet_tol, equal_nan=True):
                raise GradcheckError(
                    "Backward is not reentrant: run twice with the same numbers, it gives gradients that differ by more than the tolerance "
                    f"for nondeterminism, {self.nondet_tol}."
                )
        return [zeros_like(x) if g is None else g.detach() for g, x in zip(first, self.variables)]

    def _forward(self, directions, _, differences):
        """The same with the Jacobian of forward mode."""
        for i, x in enumerate(self.variables):
            found = [self._tangents(x, u) for u in directions[i]]
            for o, y in enumerate(self.outputs):
                rows = ([list(parts[o].flatten()) for parts in values] for values in (differences[i], found))
                yield o, i, *(_matrix(part, y.dtype) for part in rows), self._tolerance(directions[i])

    def _tangents(self, variable, direction):
        """The tangents of the outputs for that of one input."""
        with forward_ad.dual_level():
            unpacked = self._along([direction if x is variable else zeros_like(x) for x in self.variables])
            return self._wanted([zeros_like(y) if t is None else t.detach() for y, t in unpacked])

    def _along(self, tangents):
        """The floating-point outputs, and their tangents, for tangents of the inputs, or None for those that have none."""
        inputs = list(self.inputs)
        for i, tangent in zip(self.places, tangents):
            x = inputs[i].detach()
            inputs[i] = x if tangent is None else forward_ad.make_dual(x, tangent)
        return [forward_ad.unpack_dual(y) for y in _floats(self.func(*inputs))]

    def _tolerance(self, *projections):
        """Of projections it is that of one element, times their sums."""
        return self.atol * prod(units[0].real.sum().item() for units in projections) if self.fast else self.atol

    def _check_close(self, o, i, numerical, analytical, atol, mode):
        if analytical.allclose(numerical, rtol=self.rtol, atol=atol):
            return
        text = f"Jacobian {mode}mismatch for output {o} with respect to input {self.places[i]},\n"
        if not self.fast:
            raise GradcheckError(f"{text}numerical:{numerical}\nanalytical:{analytical}\n")
        numerical, analytical = (jacobian.squeeze(0) if mode else jacobian.squeeze() for jacobian in (numerical, analytical))
        raise GradcheckError(f"{text}numerical:{numerical}\nanalytical:{analytical}\n{self._slowly(o, i, mode)}")

    def _slowly(self, o, i, mode):
        """What an error of fast mode says of the whole Jacobians."""
        self.fast = False
        jacobians = (self._forward if mode else self._backward)(*self._numerical())
        numerical, analytical, atol = next(found[2:] for found in jacobians if found[:2] == (o, i))
        text = (
            "\nThat was fast mode, which compares random projections of the Jacobians. All their elements, as in slow mode:\n\n"
            f"Numerical:\n {numerical}\nAnalytical:\n{analytical}\n\n"
            f"The max per-element difference (slow mode) is: {(numerical - analytical).abs().max()}.\n"
        )
        if analytical.allclose(numerical, rtol=self.rtol, atol=atol):
            text += "Fast gradcheck failed but element-wise differences are small: the test might have passed in slow mode."
        return text

    # What else the derivatives must do.

    def undefined_tangents(self):
        """An input without a tangent is as one whose tangent is zeros."""
        generator = Generator()
        directions = [_unit_like(x, generator) for x in self.variables]
        for i, x in enumerate(self.variables):
            with forward_ad.dual_level():
                with_zeros, without = (
                    self._along([*directions[:i], tangent, *directions[i + 1 :]]) for tangent in (zeros_like(x), None)
                )
                for o, ((_, wanted), (_, found)) in enumerate(zip(with_zeros, without)):
                    if wanted is not None and found is not None and not wanted.allclose(found):
                        raise GradcheckError(
                            f"Mismatch in tangent values for output with index: {o} when input: {x} has an undefined tangent "
                            f"value. Got: {wanted} but expected: {found}"
                        )

    def batched(self):
        """Gradients for a batch of weights against those for one after the other."""
        for o, y in enumerate(self.outputs):
            weights = [randn_like(y) for _ in range(2)]
            single = [gradients((y,), self.variables, (w,), retain_graph=True) for w in weights]
            try:
                together = _autograd.grad(
                    (y,), self.variables, (stack(weights),), retain_graph=True, allow_unused=True, is_grads_batched=True
                )
            except RuntimeError as error:
                raise GradcheckError(f"While computing batched gradients, got: {error}") from error
            for i, grads in enumerate(together):
                if grads is not None and not grads.allclose(stack([row[i] for row in single])):
                    raise GradcheckError(f"For output {o} and input {i}: batched gradients differ from single ones")

    def batched_forward(self):
        """Tangents for a batch of directions against those for one after the other."""
        from ferrograd._vmap import vmap  # seldom needed

        for i, x in zip(self.places, self.variables):
            tangents = partial(self._all_tangents, i)
            directions = [randn_like(x) for _ in range(2)]
            single = [stack(parts) for parts in zip(*map(tangents, directions))]
            try:
                together = vmap(tangents)(stack(directions))
            except RuntimeError as error:
                raise GradcheckError(f"While computing batched gradients, got: {error}") from error
            for o, (found, wanted) in enumerate(zip(together, single)):
                if not found.allclose(wanted):
                    raise GradcheckError(
                        f"For output {o} and input {i}:\n\nbatched tangents differ from single ones\n\nGot:\n{found}\n\n"
                        f"Expected:\n{wanted}"
                    )

    def _all_tangents(self, place, direction):
        """The tangents of all outputs for that of one input. Functions of the user's need not know of ``vmap``."""
        with active(()), forward_ad.dual_level():
            inputs = [x.detach() if isinstance(x, Tensor) else x for x in self.inputs]
            inputs[place] = forward_ad.make_dual(inputs[place], direction)
            unpacked = [forward_ad.unpack_dual(y) for y in _tuple(self.func(*inputs)) if y is not None]
            return tuple(zeros_like(y) if tangent is None else tangent for y, tangent in unpacked)

    def scaled_by_the_gradient(self):
        """Zeros must give zeros."""
        for grad, x in zip(gradients(self.outputs, self.variables, [zeros_like(y) for y in self.outputs], retain_graph=True), self.variables):
            if grad is None:
                continue
            if not grad.eq(0).all():
                raise GradcheckError("backward not multiplied by grad_output")
            if grad.dtype != x.dtype:
                raise GradcheckError("grad is incorrect type")
            if grad.shape != x.shape:
                raise GradcheckError("grad is incorrect size")

    def undefined(self):
        """Gradients that are None, all or one of them, count as zeros."""
        count = len(self.outputs)
        for missing in [range(count)] + [[o] for o in range(count) if count > 1]:
            outputs = _differentiable(self.func(*self.inputs))
            outputs = [_Undefined.apply(y) if o in missing else y for o, y in enumerate(outputs)]
            try:
                grads = gradients(outputs, self.variables, [zeros_like(y) for y in outputs])
            except RuntimeError as error:
                _warn_of_undefined()
                raise GradcheckError("Expected backward function to handle undefined output grads.") from error
            if any(g is not None and not g.eq(0).all() for g in grads):
                _warn_of_undefined()
                raise GradcheckError(
                    "Expected all input grads to be undefined or zero when all output grads are undefined or zero."
                )


def _warn_of_undefined():
    warnings.warn(
        "Backwards compatibility: New undefined gradient support checking feature is enabled by default: a backward that cannot do "
        "with gradients that are None may need check_undefined_grad=False",
        stacklevel=3,
    )


def _difference(values, x, direction, eps):
    """The derivatives of values along a direction of one tensor that they depend on."""
    with no_grad():
        before = x.clone()
    sides = []
    try:
        for step in (-eps, eps):
            x.data.copy_(before + direction * step)
            sides.append(values())
    finally:
        x.data.copy_(before)
    for low, high in zip(*sides):
        if low.shape != high.shape or low.dtype != high.dtype:
            raise AssertionError(
                f"Expected `func` to return outputs with the same shape and dtype when inputs are perturbed by {eps}, "
                f"but got: {low.shape}, {low.dtype} and {high.shape}, {high.dtype}."
            )
    return [(high - low) / (2 * eps) for low, high in zip(*sides)]


def _unit_like(x, generator):
    """A random tensor of length 1; of complex ones, each part is."""
    parts = [rand(x.numel(), generator=generator).to(x.dtype.to_real()).view(x.shape) for _ in range(1 + x.is_complex())]
    parts = [part / part.norm() for part in parts]
    return parts[0] + 1j * parts[1] if x.is_complex() else parts[0]


def _units(x):
    """A basis of the shape of a tensor: for complex ones, of the parts."""
    parts = (1, 1j) if x.is_complex() else (1,)
    return [unit * part for part in parts for unit in basis(x.shape, x)]


def _inner(a, b):
    """The inner product of two tensors, their parts taken for real numbers."""
    return (a.conj() * b).real.sum()


class _Undefined(Function):
    """Passes a tensor on, but no gradient back."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return None


def _matrix(rows, dtype):
    if not rows or not rows[0]:
        return zeros(0, dtype=dtype)
    with no_grad():
        return stack([stack([item.to(dtype) for item in row]) for row in rows])
