"""Work so small that what counts is the cost of a call."""

from ..registry import need, workload


@workload("tiny add 4x4{grad}", grad=["", " grad"])
def tiny_add(lib, grad):
    a, b = tiny_operands(lib, grad)
    return lambda: a + b


@workload("tiny mul by number 4x4{grad}", grad=["", " grad"])
def tiny_mul_number(lib, grad):
    a, _ = tiny_operands(lib, grad)
    return lambda: a * 0.5


@workload("tiny mm 4x4{grad}", grad=["", " grad"])
def tiny_mm(lib, grad):
    a, b = tiny_operands(lib, grad)
    return lambda: a @ b


@workload("tiny view chain 4x4{grad}", grad=["", " grad"])
def tiny_views(lib, grad):
    a, _ = tiny_operands(lib, grad)
    need(hasattr(a, "permute"), "no views with torch's names")
    return lambda: a.view(16).view(2, 8).t()[1:]


@workload("tiny in-place add 4x4")
def tiny_add_in_place(lib):
    need(lib.gradients == "tape", "no in-place ops")
    a, b = lib.array(4, 4), lib.numbers(4, 4) * 0
    b = lib.from_numpy(b)
    return lambda: a.add_(b)


@workload("tiny backward")
def tiny_backward(lib):
    """Five ops forward and backward; the gradient of the factor."""
    a, b, c = (lib.numbers(4, 4, seed=i) for i in range(3))

    def on_tape():
        w.grad = None
        loss = (x.mm(w).clamp(min=0) - y).pow(2).sum()
        loss.backward()
        return w.grad

    if lib.gradients == "tape":
        x, w, y = (lib.from_numpy(v) for v in (a, b, c))
        w.requires_grad_()
        return on_tape
    need(lib.gradients == "function", "no derivatives")
    x, w, y = (lib.array(4, 4, seed=i) for i in range(3))
    gradient = lib.gradient(lambda w: ((lib.relu(x @ w) - y) ** 2).sum(), 0)

    def of_function():
        g = gradient(w)
        lib.finish(g)
        return g

    return of_function


@workload("scalar chain of 100 {how}", how=["forward", "forward recorded", "forward and backward"])
def scalar_chain(lib, how):
    need(lib.gradients == "tape", "no tape")
    x = lib.array(grad=how != "forward")

    def forward():
        y = x
        for _ in range(50):
            y = y * 0.99 + x
        return y

    def both():
        x.grad = None
        forward().backward()
        return x.grad

    return both if how.endswith("backward") else forward


def tiny_operands(lib, grad):
    need(not grad or lib.gradients == "tape", "no tape")
    options = {"grad": True} if grad else {}
    return lib.array(4, 4, **options), lib.array(4, 4, seed=1, **options)
